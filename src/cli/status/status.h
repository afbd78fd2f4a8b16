/* latchkey status: what its files share. */
#ifndef LK_CLI_STATUS_STATUS_H
#define LK_CLI_STATUS_STATUS_H

#include "cli/fleet.h"
#include "cli/survey.h"

typedef struct state {
    survey s;
    fleet h;
    /* of all nodes together: */
    uint64_t sessions, peak, revocations;
    size_t errors, warnings, notices; /* findings about their settings */
    unsigned refusing;                /* nodes that refuse writes, and */
    char refusal[280];                /* why the first of them does */
    size_t unleased;                  /* instances whose lease has lapsed, or that have none, at any node */
    char unheard[256];                /* why no instance could be listened to; or "" */
} state;

bool status_healthy(const state *s);

/* print.c. False: no memory. */
bool status_print(const state *s);
void status_print_json(const state *s);

#endif

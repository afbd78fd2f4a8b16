/* SPDX-License-Identifier: MIT
 *
 * The inside of clients.c, for calls.c: the processes, and what they call.
 */
#ifndef LATCHKEY_SIM_CLIENTS_INSIDE_H
#define LATCHKEY_SIM_CLIENTS_INSIDE_H

#include "clients.h"
#include "latchkey.h"
#include "truth.h"

enum { CLIENTS_MAX = 12, LOOPS_MAX = 2, OUTSTANDING_MAX = 32 };

typedef struct submitted {
    uint64_t tag; /* 0: none */
    asking asking;
    int64_t gap_us; /* the longest time without a reap */
    bool proof;     /* must be admitted */
} submitted;

typedef struct process {
    machine *on;
    latchkey *lk;
    task *main, *client[CLIENTS_MAX], *loop[LOOPS_MAX];
    bool restart, end, loop_proved, settled;
    unsigned proved; /* how many partitions */
    submitted submitted[OUTSTANDING_MAX];
    uint64_t tags;
    int64_t reaped_us; /* when it was reaped last */
    int64_t lie_us;    /* 0: nothing is to lie */
} process;

void clients_wake(void); /* all that rest */

/* calls.c: */
extern workload calls_load;
extern bool calls_end_all; /* the next call is that */
void calls_begin(const workload *load);
uint64_t calls_new_user(void);
void calls_act(process *p); /* one call of an application, and what it means judged */
bool calls_create(process *p, int64_t idle_ms, int64_t lifetime_ms, uint64_t user, char token[LATCHKEY_TOKEN_SIZE]);
int calls_revoke(process *p, known *s);
void calls_validate(process *p, known *s);
void calls_revoke_all(process *p, known *s, known *keep); /* of its user; keep: or NULL */
void calls_favour_some(known *s);                         /* the others come to it, sometimes */
void calls_list(process *p, known *s);
latchkey_draft calls_draft_of(uint64_t user);

/* calls_more.c: */
void calls_set_access(process *p, known *s);
void calls_set_user_access(process *p, known *s);
void calls_section(process *p, known *s);
void calls_import(process *p, known *s);
void calls_revoke_everyone(process *p, known *s);
void calls_crowd(process *p, known *s);
void calls_flood(process *p, known *s);

#endif

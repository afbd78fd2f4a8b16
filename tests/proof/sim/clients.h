/* SPDX-License-Identifier: MIT
 *
 * The instances of the library, one to a machine, and their clients, which call what an application calls.
 */
#ifndef LATCHKEY_SIM_CLIENTS_H
#define LATCHKEY_SIM_CLIENTS_H

#include "world.h"

typedef struct workload {
    char config[512];
    bool l1; /* it holds something */
    unsigned partitions;
    int clients, loops; /* to a machine: those who wait for their answers, and those who submit and reap */
    int in_flight;
    int64_t idle_ms, lifetime_ms; /* of most sessions */
    unsigned everyone_ppm;        /* how often a client ends all sessions */
    bool foreign;                 /* sessions move in */
    bool small;                   /* the memories of the library */
    bool late;                    /* many do, and scripts arrive late */
    bool second_database;         /* another deployment, with the same prefix, beside them */
    bool crowds;                  /* users with more than 1,000 sessions */
    bool floods;                  /* an outage, with thousands of invented tokens at logout */
    bool logins;                  /* and little else: nothing is announced for long */
    bool old_keeps;               /* revoke_user is told to keep an old token */
    bool dense;                   /* what was lost is changed, and ended */
    bool changes;                 /* many, of what sessions give their users */
    int64_t busy_rest_us;         /* between two calls of a client while it is busy, at most */
} workload;

void clients_begin(const workload *load);
void clients_busy(int64_t us);               /* they call without much pause for so long */
void clients_let_lie(int which, int64_t us); /* answers lie unread for so long, and the machine is cut off meanwhile */
void clients_restart(int which);             /* the process ends in good order, and another one begins */
void clients_end_all(void);                  /* the next one that calls ends all sessions */
bool clients_walled(void);                   /* a machine does not reach some servers now */
bool clients_deaf(void);                     /* or misses what is said to it */
bool clients_all_serve(int64_t within_us);   /* every instance creates, validates and revokes; fails otherwise */
void clients_end(void);                      /* all processes end; fails if one does not */

#endif

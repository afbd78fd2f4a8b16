/* SPDX-License-Identifier: MIT
 *
 * The truth about every session, as the world knows it and no machine does, and the judgement of every answer by it.
 */
#ifndef LATCHKEY_SIM_TRUTH_H
#define LATCHKEY_SIM_TRUTH_H

#include "latchkey.h"
#include "store.h"
#include "world.h"

enum { SESSIONS_MAX = 48, NEVER = 0 };

typedef struct known {
    uint64_t life; /* which session this place holds; 0: none */
    char selector[LATCHKEY_SELECTOR_LENGTH + 1], key[80];
    char token[LATCHKEY_TOKEN_SIZE]; /* "": create has not returned it */
    uint64_t user;
    int64_t created_us; /* the script ran */
    int64_t until_us;   /* the latest that a server would let it live, idle or absolute */
    int64_t absolute_us;
    int64_t ended_us;   /* a call that ends it returned OK, somewhere */
    int64_t deleted_us; /* a script deleted it on the acting primary */
    int64_t lost_us;    /* the acting primary forgot that it was ended */
    struct {
        int64_t asked_us;                 /* a revoke was begun here */
        int64_t denied_us;                /* a revoke returned OK or PENDING here */
        int64_t made_us;                  /* a revoke returned OK here */
        int64_t heard_us;                 /* the process wrote it down, to assert it again */
        uint64_t purge_begun, purge_done; /* in steps */
    } on[MACHINES_MAX];
} known;

typedef struct tally {
    uint64_t validates[12]; /* by status + 8 */
    uint64_t revokes, creates, hits, fills, refused_fills, empties, purges, beats, excused, missed, replayed, lapses;
    uint64_t refreshes, refreshes_dropped, dead_refused;
    uint64_t behind, handed_over, left, lost_together; /* callers on a line that others drove; ... */
    uint64_t submitted, reaped, reaped_late, dropped;  /* late: after deadline_ms, by whosever fault */
    uint64_t twice; /* beats that an older subscription of the same instance heard too: it had connected twice */
} tally;
extern tally totals;

typedef struct promise { /* of the configuration that the machines share */
    int64_t staleness_us, grace_us, deadline_us;
    int durability;
} promise;

void truth_begin(const promise *p);

/* ------------------------------------------------------------------------------------- told by the servers -- */
void truth_script(const word *words, bool there, bool there_now, int64_t expiry_ms, int64_t clock_us, bool acting);
void truth_deleted(const char *key);
void truth_acting_changed(bool failover);

/* -------------------------------------------------------------------------------------- told by the clients -- */
known *truth_any(bool ended); /* one that has a token, alive or not any more; NULL: there is none */
void truth_favour(known *s);  /* everybody asks about it for a while */
known *truth_find(const char *selector);
void truth_created(const char *token, uint64_t user);

typedef struct asking { /* one call under way */
    machine *on;
    uint64_t life;
    known *about;
    char token[LATCHKEY_TOKEN_SIZE];
    int64_t began_us, paused_us;
    int64_t looked_us; /* when it was decided, at the earliest; 0: at the task's last look at a clock */
} asking;
asking truth_asks(machine *m, known *about);
void truth_answer(const asking *a, int status, const latchkey_entry *entry); /* of validate and the like */
/* The same for one that was submitted: an OK counts as of the call of reap, a "no" as of the call of submit. */
void truth_reaped(const asking *submitted, int64_t reap_us, int status, const latchkey_entry *entry);
/* Guarantee G for one that was submitted and is answered, or not yet, after a reap. gap_us: the longest that nobody reaped. */
void truth_reaped_in_time(const asking *submitted, int64_t gap_us, bool answered);
void truth_revoked(const asking *a, int status);
void truth_in_time(const asking *a, const char *what); /* guarantee G */
void truth_restarted(const machine *m);                /* its process knows nothing any more */
void truth_at_the_end(void);

#endif

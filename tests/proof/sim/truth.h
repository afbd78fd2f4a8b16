/* SPDX-License-Identifier: MIT
 *
 * The truth about every session, as the world knows it and no machine does, and the judgement of every answer by it.
 */
#ifndef LATCHKEY_SIM_TRUTH_H
#define LATCHKEY_SIM_TRUTH_H

#include "latchkey.h"
#include "store.h"
#include "world.h"

#define TRUTH_CROWDS (UINT64_C(1) << 40) /* users from there on have so many sessions that a few are looked after */

enum { SESSIONS_MAX = 48, NEVER = 0, KEY_SIZE = 160, TOKEN_ROOM = 64 };

/* A token. One that is exchanged for another goes on being one of the same session. */
typedef struct known {
    uint64_t life;   /* which token this place holds; 0: none */
    uint64_t family; /* which session it is of */
    char selector[LATCHKEY_SELECTOR_LENGTH + 1], key[KEY_SIZE];
    char token[TOKEN_ROOM]; /* "": create has not returned it. A foreign one has another length */
    bool imported;          /* under this name, */
    bool again;             /* and not for the first time: whoever remembers that it was ended refuses it for a while */
    uint64_t user;
    uint32_t device;
    int64_t idle_us;
    int64_t born_us;    /* the session was made, and perhaps exchanged since */
    int64_t created_us; /* the script ran */
    int64_t
        heir_us; /* it, or one before it of its session, was made by an exchange within the bound after a loss of data: then */
    int64_t exchanged_us; /* a script exchanged it for another on the acting primary, */
    int64_t over_us;      /* and its grace ends then */
    bool exchange_told;   /* rotate returned OK */
    int64_t reused_us;    /* it was refused after its grace, and its session went on until then */
    int64_t until_us;     /* the latest that a server would let it live, idle or absolute */
    int64_t absolute_us;
    int64_t ended_us;      /* a call that ends it returned OK, somewhere */
    int64_t deleted_us;    /* a script deleted it on the acting primary, */
    int deleted_by;        /* called by this machine; */
    bool deleted_by_sweep; /* and that was revoke_user's */
    bool idled;            /* by a clock that was ahead its time was up once, so Redis may have forgotten whose it is */
    int64_t lost_us;       /* the acting primary forgot that it was ended, */
    bool lost_in_place;    /* and it is the same server: no connection was cut */
    bool lost_twice;       /* within the bound, so the second time before a beat showed what the first one had lost */
    bool came_back;        /* it was lost so, at any time */
    int64_t unmade_us;     /* the acting primary's data were replaced in place by some that do not have it yet, */
    bool unseen;           /* and no beat need have told of it before */
    bool end_asked;        /* somebody called what ends its session, anywhere */
    bool
        set_back; /* what it was, or that it was over, is not what the acting primary has since, or another server was told */
    uint64_t value;                   /* what the acting primary has of it: a hash */
    char number[24], lost_number[24]; /* of its last change there; of the last one that was lost */
    struct {
        int64_t asked_us;                 /* a revoke was begun here */
        int64_t denied_us;                /* a revoke returned OK or PENDING here */
        int64_t made_us;                  /* a revoke returned OK here */
        int64_t exchanged_us;             /* rotate returned OK here */
        int64_t heard_us;                 /* the process wrote it down, to assert it again */
        uint64_t purge_begun, purge_done; /* in steps */
    } on[MACHINES_MAX];
} known;

typedef struct tally {
    uint64_t validates[12]; /* by status + 8 */
    uint64_t revokes, exchanges, reuses, users_ended, crowds, floods, everyone, imported, changed, kept, logins_refused,
        lists, listed, creates, hits, fills, refused_fills, empties, purges, beats, excused, missed, replayed, lapses;
    uint64_t refreshes, refreshes_dropped, renewed, dead_refused, looked_at, no_place, forgotten;
    uint64_t behind, handed_over, left, lost_together; /* callers on a line that others drove; ... */
    uint64_t submitted, reaped, reaped_late, dropped;  /* late: after deadline_ms, by whosever fault */
    uint64_t twice; /* beats that an older subscription of the same instance heard too: it had connected twice */
} tally;
extern tally totals;

typedef struct promise { /* of the configuration that the machines share */
    int64_t staleness_us, grace_us, deadline_us;
    int durability;
    int max_sessions, max_per_device;
} promise;

void truth_begin(const promise *p);

/* ------------------------------------------------------------------------------------- told by the servers -- */
void truth_command_begins(const machine *caller, const char *script_sha); /* NULL: it is no script */
void truth_wrote(int server, const char *key, bool made);
void truth_renamed(int server, const char *from, const char *to);
void truth_deleted(int server, const char *key);
void truth_command_ends(int server);
/* replaced_us: the same server goes on with the data that it had then; FOREVER: it does not. */
void truth_acting_changed(int server, bool failover, int64_t replaced_us);

/* --------------------------------------------------------------------------------------- told by the hooks -- */
void truth_token_made(const machine *m, const char *selector);
void truth_disowned(const char *selector); /* the link is to end its session */
void truth_no_place(const char *selector); /* there is no place for it among what is to be ended */
/* The memory of recent ends and changes, of that process: it holds the newest of so many; 0: it is never full. */
void memory_begin(unsigned places);
void memory_takes(const machine *m, const char *selector);

/* -------------------------------------------------------------------------------------- told by the clients -- */
known *truth_any(bool ended);                  /* one that has a token, alive or not any more; NULL: there is none */
void truth_favour(known *s);                   /* all clients ask about it for a while */
void truth_favour_later(known *s, int64_t us); /* so long after the bound */
known *truth_find(const char *selector);
known *truth_of_user(uint64_t user); /* one whose token is known; NULL: none */
void truth_created(const char *token, uint64_t user);
void truth_token_given(bool given); /* the call that this task made returned its token, or did not */

typedef struct asking { /* one call under way */
    machine *on;
    uint64_t life;
    known *about;
    uint64_t user, family;
    /* revoke_user: the family to be spared; its token, if it lives and no other call uses it, and that one's life: an heir
     * may take its place; how many such calls began before */
    uint64_t kept, keeps_life, sweeps;
    known *keeps;
    char token[TOKEN_ROOM];
    int64_t began_us, paused_us;
    int64_t looked_us; /* when it was decided, at the earliest; 0: at the task's last look at a clock */
} asking;
asking truth_asks(machine *m, known *about);
asking truth_asks_end(machine *m, known *about);                             /* by a call that ends it */
void truth_answer(const asking *a, int status, const latchkey_entry *entry); /* of validate and the like */
/* The same for one that was submitted: an OK counts as of the call of reap, a "no" as of the call of submit. */
void truth_reaped(const asking *submitted, int64_t reap_us, int status, const latchkey_entry *entry);
/* Guarantee G for one that was submitted and is answered, or not yet, after a reap. gap_us: the longest time without a reap. */
void truth_reaped_in_time(const asking *submitted, int64_t gap_us, bool answered);
void truth_revoked(const asking *a, int status);
void truth_rotated(const asking *a, int status, const char *new_token);
asking truth_asks_all(machine *m, known *about, known *keep); /* of its user; keep: or NULL */
void truth_user_revoked(const asking *a, int status);         /* all sessions of a->about's user */
asking truth_asks_everyone(machine *m, known *about);
void truth_everyone_revoked(const asking *a, int status);
void truth_imported(const asking *a, int status, uint64_t user, const char *foreign);
/* Its role was to become that number; of all its user's sessions, or of it alone. Returns the number. */
unsigned truth_changes(const asking *a, bool all);
void truth_changed(const asking *a, unsigned number, int status);
void truth_named_revoked(const asking *a, int status); /* by its selector */
/* The user's generation was read, between the two; then a session was to be made with it. */
void truth_login(const asking *read, int64_t read_us, int64_t create_us, int status, const char *token);
void truth_listed(const asking *a, const latchkey_session_info *infos, size_t count, size_t total);
/* All clients ask about one that was to live on when the acting primary's clock was set forward by so much, and is over by it. */
void truth_favour_over(int64_t set_us, int64_t forward_us);
void truth_favour_lost(void);   /* one that is there again, or gone, since data were lost */
void truth_favour_denied(void); /* one that was revoked, and whose revocation is pending somewhere */
void truth_clock_set(void);     /* the acting primary's, a moment ago or in a moment */
void truth_expects_service(int64_t from_us, int64_t until_us); /* nothing is in the way then */
void truth_in_time(const asking *a, const char *what);         /* guarantee G */
void truth_restarted(const machine *m);                        /* its process knows nothing any more */
void truth_at_the_end(void);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The inside of truth.c, for truth_life.c: what is known of sessions, and what is promised of them.
 */
#ifndef LATCHKEY_SIM_TRUTH_INSIDE_H
#define LATCHKEY_SIM_TRUTH_INSIDE_H

#include "server.h"
#include "truth.h"

enum { USERS_MAX = 512, IMPORTED_MAX = 256 };

typedef struct user_known { /* whose sessions were all ended, lately */
    uint64_t id;
    char key[KEY_SIZE];    /* of the generation */
    int64_t generation;    /* as the acting primary has it, */
    int64_t moved_us;      /* since then; NEVER: that was lost */
    int64_t moved_told_us; /* and revoke_user returned OK */
    int64_t swept_from_us; /* the last call of revoke_user that was OK began, */
    int64_t swept_us;      /* and returned: NEVER: what it did was lost */
    int64_t tried_us;      /* a script ran that moves it, on whatever server */
    bool unsure;           /* one may still be on its way */
} user_known;

typedef struct imported { /* a session that moved in */
    char selector[LATCHKEY_SELECTOR_LENGTH];
    uint64_t life;   /* 0: this place is free */
    bool ended;      /* by a script */
    int64_t once_us; /* it has its name, or was ended: so it is not made again; NEVER: neither */
} imported;

typedef struct inside {
    promise promise;
    known session[SESSIONS_MAX];
    known *favourite[2]; /* of each database */
    uint64_t lives;
    uint64_t empty_begun[MACHINES_MAX], empty_done[MACHINES_MAX];
    imported imported[IMPORTED_MAX]; /* the newest, a ring */
    unsigned imports;
    user_known user[USERS_MAX];
    unsigned users;
    int64_t everyone_tried_us[2];                /* a script ran that ends all sessions, on any server */
    int64_t everyone_from_us[2], everyone_us[2]; /* the last such call that was OK began, and returned */
    int64_t lost_us;                             /* something that was written may have been lost, or undone */
    int64_t service_from_us, service_until_us;
    unsigned unserved[MACHINES_MAX]; /* answers that were UNAVAILABLE meanwhile, one after the other */
    uint64_t sweeps, sweeping;       /* calls of revoke_user: in all, under way */
} inside;
extern inside truth_in;

#define FOR_SESSIONS(s) for (known *s = truth_in.session; s < truth_in.session + SESSIONS_MAX; s++)

int truth_database(const known *s);
bool truth_acting_holds(const known *s);
bool truth_alive(const known *s);                   /* it would be admitted by the acting primary */
bool truth_is_rotated(int server, const char *key); /* what it holds is an old token's record */
bool truth_is_over(int server, const char *key);    /* it was made before all of its partition were ended */
bool truth_same(const asking *a);                   /* the token asked about is still the one in that place */
int64_t truth_bound_us(void);
int64_t truth_slack_us(void);  /* of times by the servers' clocks */
int64_t truth_unsure_us(void); /* a process knows the server's clock to half a round trip of a beat */
bool truth_calm(const asking *a);
bool truth_excused(const known *s, const asking *a);
bool truth_unnamed(const asking *a); /* it is asked about by a foreign token, and what that means may be lost */
bool truth_astray(const asking *a);  /* its machine may have been answered by a deposed primary */
known *truth_place(const known *but);
known *truth_heir(const known *s); /* the token that its session has now; NULL: not known */

/* truth_keys.c, for the others: */
void keys_not_again(const known *s, bool ended); /* no import makes it any more */

/* truth_life.c, for truth.c: */
void life_moved(uint64_t user, const char *key, int server); /* a generation was written */
void life_acting_changed(bool failover);
void life_judge_ok(const asking *a);
void life_judge_no(const asking *a, int status);
void life_ended_here(known *s, const asking *a);
void life_ended(known *s, const asking *a); /* a call that ends it returned OK: so is its family */

bool truth_swept(uint64_t user); /* somebody began to end all of that user's sessions, some time */

/* truth_reason.c, for the others: */
void reason_wrote(int server, const char *key); /* a session's; or it was deleted */
void reason_acting_changed(void);
bool reason_came_again(const known *s); /* a later change has the number of the one that was lost */
void reason_end_asked(const asking *a);
void reason_judge(const known *s, const char *script,
                  int machine); /* it is deleted on the acting primary, by that machine's call */

/* truth_memory.c, for the others: */
bool memory_lost(int m, int64_t us); /* what it remembered then it may have forgotten, for something newer */
void memory_restarted(const machine *m);

/* truth_left.c, for the others: */
void left_begin(void);
void left_ran(const char *selector, bool graced, bool moved_in); /* the acting primary made its session */
void left_gone(const char *selector);                            /* and ended it */
void left_restarted(const machine *m);
void left_judge(void); /* at the end */

/* truth_change.c, for the others: */
void change_begin(void);
void change_judge_ok(const asking *a, const latchkey_entry *entry);
void change_lost(void); /* what the acting primary was told last may be lost */
void change_restarted(const machine *m);

#endif

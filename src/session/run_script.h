/* A write to Redis, and what its outcome means: the one place for both. Every script that a verb runs on one partition
 * goes through here.
 *
 *   script --> reply --> its meaning (the table in run_script.c) --> take: the verb's own part --> durable? --> leased? --> status
 *
 * A script is sent to the server that has the lease. If connections lead to another server, that one is met first,
 * within the deadline. So no call fails because a server is just being met. An answer counts only if
 *   1. it is one that the script can give,
 *   2. `durability` replicas hold what was written,
 *   3. the server that gave it has the lease. A deposed primary goes on answering, but what it writes is lost, and it does not
 *      know what was made since,
 *   4. the link has not begun to meet a server since the script was sent: the data set that it ran on may be gone, replaced in
 *      place.
 * Otherwise the call is UNAVAILABLE: it may have been done, or not. */
#ifndef LK_SESSION_RUN_SCRIPT_H
#define LK_SESSION_RUN_SCRIPT_H

#include "base/outcome.h"
#include "session/handle.h"

typedef struct lk_script_answer {
    lk_reply *reply; /* freed afterwards; if `take` keeps it, it leaves NULL here */
    lk_source source;
    bool durable;
    bool awaits_beat; /* `take` sets it: OK only under a lease whose beat was sent after the answer */
} lk_script_answer;

typedef struct lk_script_run {
    enum lk_script_id script;
    unsigned partition;
    const char *selector; /* of the session; or LK_NOBODY */
    const lk_token
        /* the token that means the session, if there is one: a reuse that the script found is dealt with */
        *token;
    const lk_span *words; /* the words behind the selector */
    size_t count;
    bool anywhere; /* a server without a lease may run it too: it must be done, and is repeated */
    bool reads;    /* it writes nothing that replicas would have to hold */
    /* The verb's own part: it may change the status that the answer means. NULL: there is none. */
    int (*take)(latchkey *lk, void *context, lk_script_answer *answer, int status);
    void *context;
    bool *unanswered; /* if not NULL: set if it was sent, and no answer came: it may have run */
} lk_script_run;

/* A script on the session of the caller's token, whose answer needs only the table. */
static inline lk_script_run lk_script_on(const lk_token *token, enum lk_script_id script, const lk_span *words,
                                         size_t count)
{
    return (lk_script_run){.script = script,
                           .partition = token->partition,
                           .selector = token->text,
                           .token = token,
                           .words = words,
                           .count = count};
}

/* A public status; or, if nothing was done, LK_OUTCOME_CHANGED, LK_OUTCOME_TAKEN or LK_OUTCOME_TRIM. */
int lk_run_script(latchkey *lk, const lk_script_run *run, int64_t deadline_ms);

#endif

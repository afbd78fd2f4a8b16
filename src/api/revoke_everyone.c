/* latchkey_revoke_everyone: ends all sessions of all users, without enumerating them.
 *
 *   in each partition, by one script: a cut-off (cutoff.h) --> counted, logged, published --> every other instance's link
 *                                                          \--> this handle's next beat: cut-off, L1 emptied, lease
 *
 * A session that was made up to its partition's cut-off is over, in every script and for every instance that knows the
 * cut-off. Its keys stay until they expire.
 *
 * The link keeps the promise. This waits, at each node, for a beat that was sent after the last script's answer, to the
 * server that gave that answer; a beat reads all cut-offs. So its lease says that they are known and that L1 was emptied (B); the
 * next beat of every other instance says the same there (C). Nothing is denied beforehand and nothing is retried: as
 * with latchkey_revoke_user, UNAVAILABLE promises nothing. */
#include "base/outcome.h"
#include "session/visit.h"
#include "session/vouched_read.h"
#include "base/argument.h"
#include "base/reason.h"
#include "observe/events.h"
#include "session/handle.h"

#include <stdlib.h>

typedef struct ending {
    latchkey *lk;
    int64_t deadline_ms;
    size_t count; /* of partitions; for each of them: */
    struct ended {
        bool done, tried;     /* its script has run; it was asked for in this round */
        int64_t cutoff;       /* what it answered */
        uint64_t incarnation; /* the server that ran it */
    } * of;
} ending;

/* This partition and the next ones that its node owns and that are not done, as many as go into one round trip. */
static size_t of_one_node(const ending *e, unsigned first, unsigned partitions[LK_L2_TOGETHER])
{
    size_t count = 0;
    const lk_node *node = lk_l2_owner(&e->lk->l2, first);
    partitions[count++] = first;
    for (unsigned p = first + 1; p < e->count && count < LK_L2_TOGETHER; p++)
        if (!e->of[p].done && !e->of[p].tried && lk_l2_owner(&e->lk->l2, p) == node) partitions[count++] = p;
    return count;
}

/* A partition that has moved, or moves, is not done. */
static int end_some(ending *e, unsigned first)
{
    latchkey *lk = e->lk;
    lk_reply *replies[LK_L2_TOGETHER];
    unsigned partitions[LK_L2_TOGETHER];
    uint64_t answered = 0;
    size_t count = of_one_node(e, first, partitions);
    lk_node *node = lk_l2_owner(&lk->l2, first);
    int status =
        lk_l2_scripts(&lk->l2, LK_SCRIPT_REVOKE_EVERYONE, partitions, count, e->deadline_ms, replies, &answered);
    for (size_t i = 0; i < count; i++) e->of[partitions[i]].tried = true;
    if (status && status != LK_OUTCOME_NOT_DURABLE) return status;
    if (status) status = LATCHKEY_UNAVAILABLE;
    for (size_t i = 0; i < count; i++) {
        struct ended *of = &e->of[partitions[i]];
        if (!replies[i]) continue;
        if (!status && replies[i]->type == LK_REPLY_ERROR) status = lk_l2_refused(&lk->l2, node, replies[i]);
        else if (!status && replies[i]->integer <= 0) status = LATCHKEY_UNAVAILABLE;
        *of = (struct ended){.done = true, .tried = true, .cutoff = replies[i]->integer, .incarnation = answered};
        lk_reply_free(replies[i]);
    }
    return status;
}

/* Every partition that is not done, once. */
static int end_the_rest(ending *e)
{
    int status = LATCHKEY_OK;
    for (unsigned p = 0; p < e->count; p++) e->of[p].tried = false;
    for (unsigned p = 0; p < e->count && !status; p++)
        if (!e->of[p].done && !e->of[p].tried) status = end_some(e, p);
    return status;
}

/* The lease of every partition has to be of a beat that was sent after its script ran, to the server that ran it: then
 * the cut-off is known as that server has it. If another server has the lease by now, the script runs there too. */
static int await_leases(ending *e)
{
    lk_book *book = e->lk->book;
    int64_t since_ms = lk_now_ms();
    for (unsigned p = 0; p < e->count; p++) {
        int status = lk_lease_covers_since(book, p, e->of[p].incarnation, since_ms, e->deadline_ms);
        e->of[p].done = status != LK_OUTCOME_OTHER_SERVER || !e->lk->config.cluster;
        if (status && e->of[p].done) return lk_unleased(e->lk, p);
        /* If the cut-off is missing, the data set that had it is gone. */
        if (!status && lk_cutoffs_known(book->cutoffs, p) < e->of[p].cutoff) return LATCHKEY_UNAVAILABLE;
    }
    return LATCHKEY_OK;
}

static bool all_done(const ending *e)
{
    bool all = true;
    for (unsigned p = 0; p < e->count; p++) all &= e->of[p].done;
    return all;
}

static int end_all(ending *e)
{
    for (;;) {
        int status = end_the_rest(e);
        if (!status && all_done(e)) status = await_leases(e);
        if (status || all_done(e)) return status;
        if (!lk_l2_await_change(&e->lk->l2, e->deadline_ms))
            return lk_reason(LATCHKEY_UNAVAILABLE, "partitions of the cluster moved until deadline_ms");
    }
}

int latchkey_revoke_everyone(latchkey *lk)
{
    if (!lk) return lk_bad_argument("revoke_everyone: the handle is NULL");
    LK_VISIT(visit);
    int status = lk_visit_begin(lk, &visit);
    if (status) return status;
    ending e = {.lk = lk, .deadline_ms = visit.deadline_ms, .count = (size_t)lk->config.partitions};
    e.of = calloc(e.count, sizeof *e.of);
    if (!e.of) return LATCHKEY_NO_MEMORY;
    status = end_all(&e);
    free(e.of);
    if (!status) lk_event_everyone(&lk->config);
    return status;
}

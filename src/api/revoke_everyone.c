/* latchkey_revoke_everyone: ends all sessions of all users, without enumerating them.
 *
 *   in each partition, by one script: a cut-off (cutoff.h) --> counted, logged, published --> every other instance's link
 *                                                          \--> this handle's next beat: cut-off, L1 emptied, lease
 *
 * A session that was made up to its partition's cut-off is over, in every script and for every instance that knows the
 * cut-off. Its keys stay until they expire.
 *
 * The link keeps the promise. This waits for a beat that was sent after the last script's answer, to the server that
 * gave that answer; a beat reads all cut-offs. So its lease says that they are known and that L1 was emptied (B); the
 * next beat of every other instance says the same there (C). Nothing is denied beforehand and nothing is retried: as
 * with latchkey_revoke_user, UNAVAILABLE promises nothing. */
#include "base/outcome.h"
#include "session/visit.h"
#include "session/vouched_read.h"
#include "base/argument.h"
#include "observe/events.h"
#include "session/handle.h"

#include <stdlib.h>

/* How many partitions, from `first` on, go into one round trip: at most LK_L2_TOGETHER, all of one node. */
static size_t together(const latchkey *lk, unsigned first)
{
    size_t count = 1, left = (size_t)lk->config.partitions - first;
    while (count < left && count < LK_L2_TOGETHER &&
           lk_l2_owner(&lk->l2, first + (unsigned)count) == lk_l2_owner(&lk->l2, first))
        count++;
    return count;
}

/* The server that answers must be the one that answered for the others of its node. */
static int end_some(latchkey *lk, lk_node *node, unsigned first, size_t count, int64_t deadline_ms,
                    uint64_t *incarnation, int64_t *cutoffs)
{
    lk_reply *replies[LK_L2_TOGETHER];
    uint64_t answered = 0;
    int status = lk_l2_scripts(&lk->l2, LK_SCRIPT_REVOKE_EVERYONE, first, count, deadline_ms, replies, &answered);
    if (status && status != LK_OUTCOME_NOT_DURABLE) return status;
    if (status || (*incarnation && *incarnation != answered)) status = LATCHKEY_UNAVAILABLE;
    *incarnation = answered;
    for (size_t i = 0; i < count; i++) {
        if (!status && replies[i]->type == LK_REPLY_ERROR) status = lk_l2_refused(&lk->l2, node, replies[i]);
        else if (!status && replies[i]->type != LK_REPLY_INTEGER) status = LATCHKEY_UNAVAILABLE;
        cutoffs[first + i] = replies[i]->integer;
        lk_reply_free(replies[i]);
    }
    return status;
}

/* The cut-offs as the beat read them. If one is missing, the data set that had it is gone. */
static bool all_known(const latchkey *lk, const lk_node *node, const int64_t *cutoffs)
{
    bool known = true;
    for (unsigned p = 0; p < (unsigned)lk->config.partitions; p++)
        if (lk_l2_owner(&lk->l2, p) == node) known &= lk_cutoffs_known(lk->book->cutoffs, p) >= cutoffs[p];
    return known;
}

/* All partitions of a node; then waits for a lease whose beat read the cut-offs. */
static int end_node(latchkey *lk, lk_node *node, int64_t deadline_ms, int64_t *cutoffs)
{
    uint64_t incarnation = 0;
    int status = LATCHKEY_OK;
    size_t count;
    unsigned first = 0;
    while (first < (unsigned)lk->config.partitions && lk_l2_owner(&lk->l2, first) != node) first++;
    if (first == (unsigned)lk->config.partitions) return LATCHKEY_OK;
    for (unsigned p = first; p < (unsigned)lk->config.partitions && !status; p += (unsigned)count) {
        count = together(lk, p);
        if (lk_l2_owner(&lk->l2, p) == node) status = end_some(lk, node, p, count, deadline_ms, &incarnation, cutoffs);
    }
    if (status) return status;
    if (lk_lease_covers_since(lk->book, first, incarnation, lk_now_ms(), deadline_ms)) return lk_unleased(lk, first);
    return all_known(lk, node, cutoffs) ? LATCHKEY_OK : LATCHKEY_UNAVAILABLE;
}

int latchkey_revoke_everyone(latchkey *lk)
{
    if (!lk) return lk_bad_argument("revoke_everyone: the handle is NULL");
    LK_VISIT(visit);
    int status = lk_visit_begin(lk, &visit);
    if (status) return status;
    int64_t *cutoffs = calloc((size_t)lk->config.partitions, sizeof *cutoffs);
    if (!cutoffs) return LATCHKEY_NO_MEMORY;
    lk_node *node;
    for (unsigned i = 0; !status && (node = lk_topology_node(&lk->l2.topology, i)); i++)
        status = end_node(lk, node, visit.deadline_ms, cutoffs);
    free(cutoffs);
    if (!status) lk_event_everyone(&lk->config);
    return status;
}

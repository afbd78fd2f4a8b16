/* latchkey_revoke_everyone: ends all sessions of all users, without going through them.
 *
 *   in each partition, by one script: an epoch (cutoff.h) --> counted, logged, published --> every other instance's link
 *                                                        \--> this handle's next beat: epoch, L1 emptied, lease
 *
 * A session that was made up to its partition's epoch is over, in every script and for every instance that knows the
 * epoch. Its keys stay until they expire.
 *
 * What it promises here it has from the link: the beat that is waited for was sent after the last script's answer, to the
 * server that gave it, and reads all epochs. So its lease says that they are known and that L1 was emptied behind that
 * (B), as the next beat's says in every other instance (C). Nothing is denied beforehand and nothing is retried: as with
 * latchkey_revoke_user, UNAVAILABLE promises nothing. */
#include "base/outcome.h"
#include "observe/events.h"
#include "session/handle.h"

/* One go. The server that answered must be that of the others. */
static int end_some(latchkey *lk, unsigned first, size_t count, int64_t deadline_ms, uint64_t *incarnation)
{
    lk_reply *replies[LK_L2_TOGETHER];
    lk_node *node = lk_l2_owner(&lk->l2, first);
    uint64_t answered = 0;
    int status = lk_l2_scripts(&lk->l2, LK_SCRIPT_REVOKE_EVERYONE, first, count, deadline_ms, replies, &answered);
    if (status && status != LK_OUTCOME_NOT_DURABLE) return status;
    if (status || (*incarnation && *incarnation != answered)) status = LATCHKEY_UNAVAILABLE;
    *incarnation = answered;
    for (size_t i = 0; i < count; i++) {
        if (!status && replies[i]->type == LK_REPLY_ERROR) status = lk_l2_refused(&lk->l2, node, replies[i]);
        else if (!status && replies[i]->type != LK_REPLY_INTEGER) status = LATCHKEY_UNAVAILABLE;
        lk_reply_free(replies[i]);
    }
    return status;
}

int latchkey_revoke_everyone(latchkey *lk)
{
    if (!lk) return LATCHKEY_BAD_ARGUMENT;
    if (lk_forked(lk)) return LATCHKEY_FORKED;
    int64_t deadline_ms = lk_now_ms() + lk->config.deadline_ms;
    uint64_t incarnation = 0;
    unsigned partitions = (unsigned)lk->config.partitions;
    int status = LATCHKEY_OK;
    for (unsigned p = 0; p < partitions && !status; p += LK_L2_TOGETHER) {
        size_t count = partitions - p < LK_L2_TOGETHER ? partitions - p : LK_L2_TOGETHER;
        status = end_some(lk, p, count, deadline_ms, &incarnation);
    }
    if (status) return status;
    if (lk_node_lease_covers_since(lk_l2_owner(&lk->l2, 0), incarnation, lk_now_ms(), deadline_ms))
        return LATCHKEY_UNAVAILABLE;
    lk_event_everyone(&lk->config);
    return LATCHKEY_OK;
}

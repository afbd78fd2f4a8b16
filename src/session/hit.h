/* What L1 answers. The order in lk_hit is what guarantee C rests on: the lease is read first, since every purge that it vouches
 * for was applied before it was stored; then the slot; the clock last, so that a process that was paused in between finds the
 * lease lapsed. lk_hit is inlined into latchkey_validate: it is the way of every request. */
#ifndef LK_SESSION_HIT_H
#define LK_SESSION_HIT_H

#include "session/handle.h"

#include <string.h>

/* An entry that is there, and does not simply stand: may it be answered? Off the way of every request. OK, EXPIRED, or AGAIN:
 * Redis has to be asked. Where it is due for a question it is looked at once more, by a later clock: then found->due_ms is
 * until when it may be given, and *entry what is there by then. */
int lk_hit_judge(latchkey *lk, const char *token, lk_l1_found *found, int64_t lease_until, int64_t now,
                 latchkey_entry *entry);

/* Of the partition that a token names, if it is one. 0: never leased; or a forked child, where L1 reads as zeros and is not to be
 * looked into (J). */
static inline int64_t lk_hit_lease(const latchkey *lk, const char *token)
{
    return atomic_load_explicit(&lk->leases->of[lk_token_partition(token)].until_ms, memory_order_acquire);
}

/* Good, and there is nothing to ask about it yet. */
static inline bool lk_hit_stands(const lk_l1_found *found, int64_t lease_until, int64_t now)
{
    return now < found->due_ms && now < lease_until && !found->first_use;
}

/* OK, EXPIRED, or AGAIN: L1 cannot tell. */
static inline __attribute__((always_inline)) int lk_hit(latchkey *lk, const char *token, size_t token_len,
                                                        latchkey_entry *entry, lk_l1_found *found)
{
    if (token_len != LATCHKEY_TOKEN_LENGTH) return LATCHKEY_AGAIN;
    int64_t lease_until = lk_hit_lease(lk, token);
    if (__builtin_expect(!lease_until, 0)) return LATCHKEY_AGAIN;
    if (!lk_l1_get(lk->l1, token, found, entry)) return LATCHKEY_AGAIN;
    int64_t now = lk_coarse_ms();
    if (__builtin_expect(!lk_hit_stands(found, lease_until, now), 0))
        return lk_hit_judge(lk, token, found, lease_until, now, entry);
    lk_count(&lk->counters, LK_L1_HITS, 1);
    return LATCHKEY_OK;
}

static inline int lk_hit_refuse(latchkey_entry *entry, int status)
{
    memset(entry, 0, sizeof *entry);
    return status;
}

/* The same under a lease that was confirmed at most max_age_ms ago; 0: never. By the fine clock. */
int lk_hit_fresh(latchkey *lk, const lk_token *token, int64_t max_age_ms, latchkey_entry *entry, int64_t *until_us);

/* What can be said without Redis. */

/* NOT_FOUND or EXPIRED where that is known of this very token (negative_cache.h), under the lease that L1 answers under; else
 * AGAIN. */
int lk_hit_dead(latchkey *lk, const char *token);

/* L1 was asked for the token as it came. What else is known: of a foreign one, by the token that it stands for; of a dead one
 * (negative_cache.h). AGAIN: nothing. */
int lk_hit_known(latchkey *lk, const lk_token *token, latchkey_entry *entry);

/* All of latchkey_try_validate that comes after L1 has said `status`: OK, MALFORMED, a "no", or AGAIN. */
int lk_hit_try(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry, int status);

/* The end of a verb that validates: the token is wiped, the entry is zero unless it is OK. */
int lk_hit_give(lk_token *token, int status, latchkey_entry *entry);

/* For submit: OK, with the entry and until when it may be given; a "no"; UNAVAILABLE: Redis is known to be lost, and
 * lk_validate_stale is all there is; or AGAIN. max_age_ms as above; INT64_MAX: as old as staleness_ms allows. */
int lk_validate_local(latchkey *lk, const lk_token *token, int64_t max_age_ms, latchkey_entry *entry,
                      int64_t *until_us);

/* With Redis lost L1 may answer for grace_ms more, and says so. */
bool lk_validate_stale(latchkey *lk, const lk_token *token, latchkey_entry *entry);

#endif

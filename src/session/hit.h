/* What L1 answers. Guarantee C rests on the order in lk_hit. It reads the lease first, since every purge that the lease
 * covers was applied before the lease was stored; then the slot; and the clock last, so that a process that was paused
 * in between finds the lease lapsed. lk_hit is inlined into latchkey_validate: every request runs it. */
#ifndef LK_SESSION_HIT_H
#define LK_SESSION_HIT_H

#include "session/handle.h"

#include <string.h>

/* For an entry that L1 has and lk_hit_stands does not accept: may it be answered? OK, EXPIRED, or AGAIN: Redis has to
 * be asked. If there is something to ask about it, the entry is looked at again, with a later clock. Then found->due_ms
 * is until when it may be given, and *entry is the entry as it is by then. */
int lk_hit_judge(latchkey *lk, const char *token, lk_l1_found *found, int64_t lease_until, int64_t now,
                 latchkey_entry *entry);

/* The lease of the partition that the token names, if it is a token. 0: there never was a lease; or this is a forked
 * child, which must not look into L1 (J). Acquire, with the release in lease.c: purges that the lease covers are seen. */
static inline int64_t lk_hit_lease(const latchkey *lk, const char *token)
{
    return atomic_load_explicit(&lk->leases->of[lk_token_partition(token)].until_ms, memory_order_acquire);
}

/* Is it good, and is there nothing to ask about it yet? */
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

/* The same under a lease that was confirmed at most max_age_ms ago; 0: under none. It uses the fine clock. */
int lk_hit_fresh(latchkey *lk, const lk_token *token, int64_t max_age_ms, latchkey_entry *entry, int64_t *until_us);

/* What can be answered without Redis. */

/* NOT_FOUND or EXPIRED if that is known of this very token (negative_cache.h), under the lease that L1 answers under.
 * Else AGAIN. */
int lk_hit_dead(latchkey *lk, const char *token);

/* Call it after L1 was asked for the token as it came. What else is known: of a foreign token, by the token that it
 * stands for; of a dead one, by negative_cache.h. AGAIN: nothing. */
int lk_hit_known(latchkey *lk, const lk_token *token, latchkey_entry *entry);

/* The part of latchkey_try_validate after L1 has answered `status`: OK, MALFORMED, a "no", or AGAIN. */
int lk_hit_try(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry, int status);

/* The end of a verb that validates: wipes the token, and zeroes the entry unless the status is OK. */
int lk_hit_give(lk_token *token, int status, latchkey_entry *entry);

/* For submit: OK, with the entry and until when it may be given; a "no"; UNAVAILABLE if Redis is known to be lost, and
 * then lk_validate_stale is what is left; or AGAIN. max_age_ms as above; INT64_MAX: as old as staleness_ms allows. */
int lk_validate_local(latchkey *lk, const lk_token *token, int64_t max_age_ms, latchkey_entry *entry,
                      int64_t *until_us);

/* With Redis lost, L1 may answer for grace_ms more, and flags the answer. */
bool lk_validate_stale(latchkey *lk, const lk_token *token, latchkey_entry *entry);

#endif

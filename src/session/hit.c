/* See hit.h. */
#include "session/touch.h"
#include "session/hit.h"

#include "session/begin.h"
#include "session/refresh.h"
#include "session/server_time.h"

#include <string.h>

int lk_hit_judge(latchkey *lk, const char *token, lk_l1_found *found, int64_t lease_until, int64_t now,
                 latchkey_entry *entry)
{
    lk_l1_times times = lk_l1_until(found->due_ms);
    bool due = now >= found->due_ms;
    if (due) {
        if (!lk_l1_look(lk->l1, token, &times, entry)) return LATCHKEY_AGAIN; /* it was removed meanwhile */
        now = lk_coarse_ms();
        found->due_ms = lk_l1_end(&times);
    }
    if (now >= found->due_ms) {
        /* The absolute expiry never moves, so EXPIRED can be answered without asking; see final_for. */
        int64_t server_now = lk_server_now_ms(lk, lk_token_partition(token), now * 1000);
        if (!server_now || entry->expires_at_ms > server_now) return LATCHKEY_AGAIN;
        lk_count(&lk->counters, LK_L1_HITS, 1);
        return LATCHKEY_EXPIRED;
    }
    if (now >= lease_until) {
        lk_count(&lk->counters, LK_LAPSES, 1);
        return LATCHKEY_AGAIN;
    }
    if (found->first_use) lk_session_touch_name(lk, token);
    if (due && now >= times.due_ms) lk_session_refresh(lk, token, times.idle_ms, now);
    lk_count(&lk->counters, LK_L1_HITS, 1);
    return LATCHKEY_OK;
}

int lk_hit_dead(latchkey *lk, const char *token)
{
    int64_t lease_until = lk_hit_lease(lk, token), now = lk_coarse_ms();
    int status = now < lease_until ? lk_negative_cache_find(lk->negative_cache, token, now) : LATCHKEY_AGAIN;
    if (status != LATCHKEY_AGAIN) lk_count(&lk->counters, LK_DEAD_REFUSED, 1);
    return status;
}

/* With Redis lost, L1 may answer for grace_ms more, and flags the answer. The order is lk_hit's: lease, slot, clock. A
 * session that was revoked on this handle is purged, or, if it could not be, denied. */
bool lk_validate_stale(latchkey *lk, const lk_token *token, latchkey_entry *entry)
{
    lk_l1_times times;
    int64_t lease_until = lk_hit_lease(lk, token->text);
    if (!lk->config.grace_ms || !lease_until || !lk_l1_look(lk->l1, token->text, &times, entry)) return false;
    int64_t now = lk_coarse_ms();
    if (now >= lk_l1_end(&times) || now >= lease_until + lk->config.grace_ms || lk_pending_has(lk->pending, token))
        return false;
    entry->flags |= LATCHKEY_FLAG_STALE;
    lk_count(&lk->counters, LK_STALE, 1);
    return true;
}

/* Redis is known to be lost, so waiting for it gains nothing. */
static bool redis_lost(const latchkey *lk, const lk_token *token)
{
    return lk->config.grace_ms && !lk_node_connected(lk_l2_owner(&lk->l2, token->partition));
}

/* An import that was interrupted leaves a session that no token leads to, and prewarming may put it into L1. If the import
 * is made again after that session's end, the session is a new one, of the same token: L1's EXPIRED is not final. */
static int final_for(const lk_token *token, int status)
{
    return status == LATCHKEY_EXPIRED && token->foreign ? LATCHKEY_AGAIN : status;
}

/* Call it after L1 was asked for the token as it came. What else is known without Redis: of a foreign token, by the
 * token that it stands for. AGAIN: nothing. */
int lk_hit_known(latchkey *lk, const lk_token *token, latchkey_entry *entry)
{
    lk_l1_found found;
    int status = LATCHKEY_AGAIN;
    if (token->foreign) status = final_for(token, lk_hit(lk, token->text, LATCHKEY_TOKEN_LENGTH, entry, &found));
    if (status == LATCHKEY_AGAIN) status = lk_hit_dead(lk, token->text);
    if (status == LATCHKEY_AGAIN && redis_lost(lk, token) && lk_validate_stale(lk, token, entry)) status = LATCHKEY_OK;
    return status;
}

int lk_hit_give(lk_token *token, int status, latchkey_entry *entry)
{
    if (!status && token->foreign) entry->flags |= LATCHKEY_FLAG_RENEW;
    lk_wipe(token, sizeof *token);
    return status ? lk_hit_refuse(entry, status) : LATCHKEY_OK;
}

int lk_hit_fresh(latchkey *lk, const lk_token *token, int64_t max_age_ms, latchkey_entry *entry, int64_t *until_us)
{
    lk_l1_found found;
    int64_t lease_until = lk_hit_lease(lk, token->text), confirmed = lease_until - lk->config.staleness_ms;
    if (!lease_until || !max_age_ms || !lk_l1_get(lk->l1, token->text, &found, entry)) return LATCHKEY_AGAIN;
    int64_t now = lk_now_ms();
    if (now - confirmed > max_age_ms) return LATCHKEY_AGAIN;
    int status = LATCHKEY_OK;
    if (lk_hit_stands(&found, lease_until, now)) lk_count(&lk->counters, LK_L1_HITS, 1);
    else status = lk_hit_judge(lk, token->text, &found, lease_until, now, entry);
    *until_us = found.due_ms * 1000;
    return final_for(token, status);
}

int lk_validate_local(latchkey *lk, const lk_token *token, int64_t max_age_ms, latchkey_entry *entry, int64_t *until_us)
{
    lk_l1_found found;
    bool fresh = max_age_ms < lk->config.staleness_ms;
    int status = fresh ? lk_hit_fresh(lk, token, max_age_ms, entry, until_us)
                       : final_for(token, lk_hit(lk, token->text, LATCHKEY_TOKEN_LENGTH, entry, &found));
    if (status == LATCHKEY_OK && !fresh) *until_us = found.due_ms * 1000;
    if (status == LATCHKEY_AGAIN) status = lk_hit_dead(lk, token->text);
    if (status == LATCHKEY_AGAIN && redis_lost(lk, token)) return LATCHKEY_UNAVAILABLE;
    return status;
}

/* The same without L2: MALFORMED, a "no", or AGAIN. */
int lk_hit_try(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry, int status)
{
    if (status != LATCHKEY_AGAIN) return lk_hit_refuse(entry, status);
    lk_token parsed;
    lk_foreign foreign;
    status = lk_begin_here(lk, token, token_len, &parsed, &foreign);
    if (status == LATCHKEY_MALFORMED) lk_count(&lk->counters, LK_MALFORMED, 1);
    if (status == LK_OUTCOME_ASK_REDIS) {
        lk_wipe(&foreign, sizeof foreign);
        status = LATCHKEY_AGAIN;
    }
    if (status) return lk_hit_refuse(entry, status);
    return lk_hit_give(&parsed, lk_hit_known(lk, &parsed, entry), entry);
}

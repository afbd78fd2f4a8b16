/* latchkey_validate: the way of every request.
 *
 *   lease, slot, clock  --hit-->  OK                                        (from_l1: no lock, no system call)
 *      |                     +-- near the entry's end: the link reads it again meanwhile      (refresh.c)
 *      | miss
 *   is it a token that we could have made?  --no-->  MALFORMED              (Redis is not asked)
 *      |
 *   is it known to be dead?  --yes-->  NOT_FOUND, EXPIRED                   (negative_cache.h; Redis is not asked again)
 *      |
 *   ticket, denied?, board a flight  --another is reading-->  its answer
 *      | lead
 *   HGET v, PTTL in one round trip on a pooled line --> judge --> fill L1 if the ticket is still good --> land
 *      |
 *   does the server that answered have the lease, and had it when it was asked?   (lk_node_lease_covers; waits for a beat)
 *      | no answer, Redis lost, and grace_ms
 *   L1 once more, without a lease: OK, and LATCHKEY_FLAG_STALE
 *
 * The order in from_l1 is what guarantee C rests on. The lease is read first: every purge that it vouches for was
 * applied before it was stored. The clock is read last: a process that was paused in between finds the lease lapsed.
 *
 * The order in from_l2 is what B and D rest on. Revoke denies (pending), then purges (which voids tickets). Who saw no
 * denial took his ticket before the purge, so what he reads is not filled after it. */
#include "redis/keys.h"
#include "session/resolve.h"

#include <string.h>

/* An entry that is there: may it be answered? Off the way of every request. */
static __attribute__((noinline)) int judge_hit(latchkey *lk, const char *token, const lk_l1_found *found,
                                               int64_t lease_until, int64_t now, const latchkey_entry *entry)
{
    if (now >= found->deadline_ms) {
        /* Its absolute expiry never moves, so that much can be said without asking. */
        int64_t server_now = lk_server_now_ms(lk, now * 1000);
        if (!server_now || entry->expires_at_ms > server_now) return LATCHKEY_AGAIN;
        lk_count(&lk->counters, LK_L1_HITS, 1);
        return LATCHKEY_EXPIRED;
    }
    if (now >= lease_until) {
        lk_count(&lk->counters, LK_LAPSES, 1);
        return LATCHKEY_AGAIN;
    }
    if (found->first_use) {
        lk_token parsed;
        if (lk_parse(lk, token, LATCHKEY_TOKEN_LENGTH, &parsed))
            lk_node_touch(lk_l2_owner(&lk->l2, parsed.partition), parsed.partition, token);
        lk_wipe(&parsed, sizeof parsed);
    }
    if (now + lk->refresh_ms >= found->deadline_ms) lk_session_refresh(lk, token, now);
    lk_count(&lk->counters, LK_L1_HITS, 1);
    return LATCHKEY_OK;
}

/* 0: never leased; or a forked child, where L1 reads as zeros and is not to be looked into (J). */
static inline int64_t read_lease(const latchkey *lk)
{
    return atomic_load_explicit(&lk->lease->until_ms, memory_order_acquire);
}

/* Good, and for so long that it need not be read again yet. */
static inline bool stands(const latchkey *lk, const lk_l1_found *found, int64_t lease_until, int64_t now)
{
    return now + lk->refresh_ms < found->deadline_ms && now < lease_until && !found->first_use;
}

static inline __attribute__((always_inline)) int from_l1(latchkey *lk, const char *token, size_t token_len,
                                                         latchkey_entry *entry, lk_l1_found *found)
{
    if (token_len != LATCHKEY_TOKEN_LENGTH) return LATCHKEY_AGAIN;
    int64_t lease_until = read_lease(lk);
    if (__builtin_expect(!lease_until, 0)) return LATCHKEY_AGAIN;
    if (!lk_l1_get(lk->l1, token, found, entry)) return LATCHKEY_AGAIN;
    int64_t now = lk_coarse_ms();
    if (__builtin_expect(!stands(lk, found, lease_until, now), 0))
        return judge_hit(lk, token, found, lease_until, now, entry);
    lk_count(&lk->counters, LK_L1_HITS, 1);
    return LATCHKEY_OK;
}

static int lead(latchkey *lk, const lk_token *token, uint64_t ticket, int64_t deadline_ms, latchkey_entry *entry,
                int64_t *until_us, uint64_t *incarnation)
{
    lk_question question;
    lk_question_words words;
    lk_reply *replies[LK_QUESTION_CALLS];
    lk_question_ask(lk, token, ticket, &question, &words);
    int status = lk_l2_pipeline(&lk->l2, lk_l2_owner(&lk->l2, token->partition), words.calls, LK_QUESTION_CALLS,
                                deadline_ms, replies, incarnation);
    bool reused = false;
    if (!status) status = lk_question_take(lk, token, &question, replies, incarnation, entry, until_us, &reused);
    if (reused) status = lk_session_reused(lk, token, deadline_ms, until_us);
    lk_histogram_add(&lk->counters.l2_read_us, (uint64_t)(lk_now_us() - question.asked_us));
    return status;
}

/* What Redis says, and which server it is that says so. */
static int ask_l2(latchkey *lk, const lk_token *token, int64_t deadline_ms, latchkey_entry *entry, int64_t *until_us,
                  uint64_t *incarnation)
{
    int status = LATCHKEY_UNAVAILABLE;
    lk_flight *flight;
    int64_t now_ms = lk_now_ms();
    uint64_t ticket = lk_l1_ticket(lk->l1, token->text);
    if (lk_pending_has(lk->pending, token)) return LATCHKEY_NOT_FOUND;
    switch (lk_singleflight_join(lk->singleflight, token->text, ticket, now_ms - lk->config.staleness_ms, deadline_ms,
                                 &flight, &status, entry, until_us, incarnation)) {
    case LK_FLIGHT_DONE: lk_count(&lk->counters, LK_JOINED, 1); break;
    case LK_FLIGHT_LATE: return LATCHKEY_UNAVAILABLE;
    case LK_FLIGHT_LEAD:
        status = lead(lk, token, ticket, deadline_ms, entry, until_us, incarnation);
        lk_singleflight_complete(lk->singleflight, flight, status, entry, *until_us, *incarnation);
    }
    return status;
}

/* What Redis says counts only under the lease of the server that said it. Where another one has it, that is asked, once.
 * What is denied here needs nobody's. */
static int from_l2(latchkey *lk, const lk_token *token, int64_t deadline_ms, latchkey_entry *entry)
{
    int status = LATCHKEY_AGAIN;
    for (int i = 0; i < 2 && status == LATCHKEY_AGAIN; i++) {
        uint64_t incarnation = 0, ticket = lk_negative_cache_ticket(lk->negative_cache);
        int64_t until_us = 0; /* the session may be admitted until then, on what Redis said */
        if (lk_pending_has(lk->pending, token)) return LATCHKEY_NOT_FOUND;
        int said = ask_l2(lk, token, deadline_ms, entry, &until_us, &incarnation);
        if (said < 0) return said;
        status = lk_node_lease_covers(lk_l2_owner(&lk->l2, token->partition), incarnation, deadline_ms);
        if (!status && said) lk_negative_cache_add(lk->negative_cache, ticket, token->text, said, lk_coarse_ms());
        if (!status) status = said ? said : lk_session_late(lk, token->partition, entry, until_us);
    }
    return status == LATCHKEY_AGAIN ? LATCHKEY_UNAVAILABLE : status;
}

static __attribute__((noinline)) int refuse(latchkey_entry *entry, int status)
{
    memset(entry, 0, sizeof *entry);
    return status;
}

/* With Redis lost L1 may answer for grace_ms more, and says so. The order is from_l1's: lease, slot, clock. What was
 * revoked on this handle is purged, or, where that was not possible, denied. */
bool lk_validate_stale(latchkey *lk, const lk_token *token, latchkey_entry *entry)
{
    lk_l1_found found;
    int64_t lease_until = read_lease(lk);
    if (!lk->config.grace_ms || !lease_until || !lk_l1_get(lk->l1, token->text, &found, entry)) return false;
    int64_t now = lk_coarse_ms();
    if (now >= found.deadline_ms || now >= lease_until + lk->config.grace_ms || lk_pending_has(lk->pending, token))
        return false;
    entry->flags |= LATCHKEY_FLAG_STALE;
    lk_count(&lk->counters, LK_STALE, 1);
    return true;
}

/* Known to be lost: nothing is gained by waiting for it. */
static bool lost(const latchkey *lk, const lk_token *token)
{
    return lk->config.grace_ms && !lk_node_connected(lk_l2_owner(&lk->l2, token->partition));
}

/* L1 was asked for the token as it came. What else can be said without Redis: of a foreign one, by the token that it stands
 * for. AGAIN: nothing. */
static int known(latchkey *lk, const lk_token *token, latchkey_entry *entry)
{
    lk_l1_found found;
    int status = token->foreign ? from_l1(lk, token->text, LATCHKEY_TOKEN_LENGTH, entry, &found) : (int)LATCHKEY_AGAIN;
    if (status == LATCHKEY_AGAIN) status = lk_session_dead(lk, token->text);
    if (status == LATCHKEY_AGAIN && lost(lk, token) && lk_validate_stale(lk, token, entry)) status = LATCHKEY_OK;
    return status;
}

static int give(lk_token *token, int status, latchkey_entry *entry)
{
    if (!status && token->foreign) entry->flags |= LATCHKEY_FLAG_RENEW;
    lk_wipe(token, sizeof *token);
    return status ? refuse(entry, status) : LATCHKEY_OK;
}

/* Whom lk_begin turned away. */
static void count_unanswered(latchkey *lk, int status)
{
    if (status == LATCHKEY_MALFORMED) lk_count(&lk->counters, LK_MALFORMED, 1);
    else if (status != LATCHKEY_FORKED) lk_count(&lk->counters, LK_L1_MISSES, 1); /* foreign, and asked for */
}

/* What L1 did not answer with OK. */
static __attribute__((noinline)) int miss(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry,
                                          int status)
{
    memset(entry, 0, sizeof *entry);
    if (status != LATCHKEY_AGAIN) return status;
    lk_token parsed;
    int64_t deadline_ms;
    status = lk_begin(lk, token, token_len, &parsed, &deadline_ms);
    if (status) {
        count_unanswered(lk, status);
        return status;
    }
    status = known(lk, &parsed, entry);
    if (status == LATCHKEY_AGAIN) {
        lk_count(&lk->counters, LK_L1_MISSES, 1);
        status = from_l2(lk, &parsed, deadline_ms, entry);
        if (status == LATCHKEY_UNAVAILABLE && lk_validate_stale(lk, &parsed, entry)) status = LATCHKEY_OK;
    }
    return give(&parsed, status, entry);
}

int latchkey_validate(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry)
{
    if (!entry) return LATCHKEY_BAD_ARGUMENT;
    lk_l1_found found;
    if (!lk || !token) return refuse(entry, LATCHKEY_BAD_ARGUMENT);
    int status = from_l1(lk, token, token_len, entry, &found);
    return __builtin_expect(status == LATCHKEY_OK, 1) ? LATCHKEY_OK : miss(lk, token, token_len, entry, status);
}

int lk_validate_local(latchkey *lk, const lk_token *token, latchkey_entry *entry, int64_t *until_us)
{
    lk_l1_found found;
    int status = from_l1(lk, token->text, LATCHKEY_TOKEN_LENGTH, entry, &found);
    if (status == LATCHKEY_OK) *until_us = found.deadline_ms * 1000;
    if (status == LATCHKEY_AGAIN) status = lk_session_dead(lk, token->text);
    if (status == LATCHKEY_AGAIN && lost(lk, token)) return LATCHKEY_UNAVAILABLE;
    return status;
}

/* The same without L2: MALFORMED, a no, or AGAIN. */
static __attribute__((noinline)) int without_l2(latchkey *lk, const char *token, size_t token_len,
                                                latchkey_entry *entry, int status)
{
    if (status != LATCHKEY_AGAIN) return refuse(entry, status);
    lk_token parsed;
    lk_foreign foreign;
    status = lk_begin_here(lk, token, token_len, &parsed, &foreign);
    if (status == LATCHKEY_MALFORMED) lk_count(&lk->counters, LK_MALFORMED, 1);
    if (status == LATCHKEY_AGAIN) lk_wipe(&foreign, sizeof foreign);
    if (status) return refuse(entry, status);
    return give(&parsed, known(lk, &parsed, entry), entry);
}

int latchkey_try_validate(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry)
{
    if (!entry) return LATCHKEY_BAD_ARGUMENT;
    lk_l1_found found;
    if (!lk || !token) return refuse(entry, LATCHKEY_BAD_ARGUMENT);
    int status = from_l1(lk, token, token_len, entry, &found);
    return __builtin_expect(status == LATCHKEY_OK, 1) ? LATCHKEY_OK : without_l2(lk, token, token_len, entry, status);
}

/* ------------------------------------------------------------------------------------------------- batches -- */

enum {
    TOGETHER = 32
}; /* as many round trips to memory as are under way at once, and more than the processor can keep */

/* Lease, slots, clock: the order of from_l1, for all of them at once. Each loop sends off what the next one waits for. */
static void group_from_l1(latchkey *lk, const char *const *tokens, const size_t *token_lens, size_t count,
                          latchkey_entry *entries, int *statuses)
{
    static const char nothing[LATCHKEY_TOKEN_LENGTH];
    const lk_l1_view *v = (const lk_l1_view *)(const void *)lk->l1;
    lk_l1_homes homes[TOGETHER];
    lk_l1_slot *slots[TOGETHER];
    lk_l1_found found[TOGETHER];
    const char *asked[TOGETHER];
    int64_t lease_until = read_lease(lk);
    for (size_t i = 0; i < count; i++) {
        statuses[i] = LATCHKEY_AGAIN;
        asked[i] = lease_until && tokens[i] && token_lens[i] == LATCHKEY_TOKEN_LENGTH ? tokens[i] : nothing;
        homes[i] = lk_l1_fetch(v, asked[i]);
    }
    for (size_t i = 0; i < count; i++) {
        slots[i] = lk_l1_choose(v, homes[i], asked[i]);
        lk_l1_fetch_rest(slots[i]);
    }
    for (size_t i = 0; i < count; i++)
        if (asked[i] != nothing && lk_l1_get_from(lk->l1, slots[i], asked[i], &found[i], &entries[i]))
            statuses[i] = LATCHKEY_OK;
    int64_t now = lk_coarse_ms();
    uint64_t hits = 0;
    for (size_t i = 0; i < count; i++) {
        if (statuses[i] != LATCHKEY_OK) continue;
        if (__builtin_expect(stands(lk, &found[i], lease_until, now), 1)) hits++;
        else statuses[i] = judge_hit(lk, asked[i], &found[i], lease_until, now, &entries[i]);
    }
    if (hits) lk_count(&lk->counters, LK_L1_HITS, hits);
}

int latchkey_try_validate_many(latchkey *lk, const char *const *tokens, const size_t *token_lens, size_t count,
                               latchkey_entry *entries, int *statuses)
{
    if (!lk || (count && (!tokens || !token_lens || !entries || !statuses))) return LATCHKEY_BAD_ARGUMENT;
    if (lk_forked(lk)) {
        for (size_t i = 0; i < count; i++) statuses[i] = refuse(&entries[i], LATCHKEY_FORKED);
        return LATCHKEY_FORKED;
    }
    for (size_t from = 0; from < count; from += TOGETHER) {
        size_t together = count - from < TOGETHER ? count - from : TOGETHER;
        group_from_l1(lk, tokens + from, token_lens + from, together, entries + from, statuses + from);
    }
    for (size_t i = 0; i < count; i++)
        if (statuses[i] != LATCHKEY_OK)
            statuses[i] = without_l2(lk, tokens[i], token_lens[i], &entries[i], statuses[i]);
    return LATCHKEY_OK;
}

/* latchkey_try_validate_many: many tokens at once, whose reads of memory overlap. */
#include "session/hit.h"
#include "base/argument.h"

enum { TOGETHER = 32 }; /* how many reads of memory are under way at once: more than the processor can keep */

/* Lease, slots, clock: the order of lk_hit, for all of them at once. Each loop requests what the next one waits for. */
static void group_from_l1(latchkey *lk, const char *const *tokens, const size_t *token_lens, size_t count,
                          latchkey_entry *entries, int *statuses)
{
    static const char nothing[LATCHKEY_TOKEN_LENGTH];
    const lk_l1_view *v = (const lk_l1_view *)(const void *)lk->l1;
    lk_l1_homes homes[TOGETHER];
    lk_l1_slot *slots[TOGETHER];
    lk_l1_found found[TOGETHER];
    const char *asked[TOGETHER];
    int64_t lease_until[TOGETHER];
    for (size_t i = 0; i < count; i++) {
        statuses[i] = LATCHKEY_AGAIN;
        asked[i] = tokens[i] && token_lens[i] == LATCHKEY_TOKEN_LENGTH ? tokens[i] : nothing;
        lease_until[i] = lk_hit_lease(lk, asked[i]);
        if (!lease_until[i]) asked[i] = nothing;
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
        if (__builtin_expect(lk_hit_stands(&found[i], lease_until[i], now), 1)) hits++;
        else statuses[i] = lk_hit_judge(lk, asked[i], &found[i], lease_until[i], now, &entries[i]);
    }
    if (hits) lk_count(&lk->counters, LK_L1_HITS, hits);
}

int latchkey_try_validate_many(latchkey *lk, const char *const *tokens, const size_t *token_lens, size_t count,
                               latchkey_entry *entries, int *statuses)
{
    if (!lk || (count && (!tokens || !token_lens || !entries || !statuses)))
        return lk_bad_argument("try_validate_many: the handle or an array is NULL");
    if (lk_forked(lk)) {
        for (size_t i = 0; i < count; i++) statuses[i] = lk_hit_refuse(&entries[i], LATCHKEY_FORKED);
        return LATCHKEY_FORKED;
    }
    for (size_t from = 0; from < count; from += TOGETHER) {
        size_t together = count - from < TOGETHER ? count - from : TOGETHER;
        group_from_l1(lk, tokens + from, token_lens + from, together, entries + from, statuses + from);
    }
    for (size_t i = 0; i < count; i++)
        if (statuses[i] != LATCHKEY_OK)
            statuses[i] = lk_hit_try(lk, tokens[i], token_lens[i], &entries[i], statuses[i]);
    return LATCHKEY_OK;
}

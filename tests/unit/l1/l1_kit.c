/* SPDX-License-Identifier: MIT
 *
 * See l1_kit.h.
 */
#include "l1_kit.h"
#include "base/token.h"

#include <stdio.h>

text token_of(unsigned session, unsigned verifier)
{
    text t;
    char selector[LATCHKEY_SELECTOR_LENGTH + 1];
    unit_selector(session, selector);
    snprintf(t.at, sizeof t.at, "%sverifier%010u____A", selector, verifier);
    return t;
}

latchkey_entry entry_of(uint64_t number)
{
    latchkey_entry e;
    unit_random r = {number};
    unit_fill(&r, &e, sizeof e);
    e.user_id = number;
    return e;
}

enum lk_l1_put put(lk_l1 *l1, text t, uint64_t ticket, uint64_t number, int64_t deadline_ms)
{
    latchkey_entry e = entry_of(number);
    return lk_l1_put(l1, ticket, t.at, t.at + LATCHKEY_SELECTOR_LENGTH, false, lk_l1_until(deadline_ms), NOW_MS, &e);
}

enum lk_l1_put put_hashed(lk_l1 *l1, text t, uint64_t ticket, uint64_t number, int64_t deadline_ms)
{
    latchkey_entry e = entry_of(number);
    uint8_t hash[LK_HASH_SIZE];
    assert_true(lk_verifier_text_hash(t.at + LATCHKEY_SELECTOR_LENGTH, hash));
    return lk_l1_put(l1, ticket, t.at, hash, true, lk_l1_until(deadline_ms), NOW_MS, &e);
}

enum lk_l1_put put_now(lk_l1 *l1, text t, uint64_t number)
{
    return put(l1, t, lk_l1_ticket(l1, t.at), number, LATER_MS);
}

uint64_t entries(const lk_l1 *l1) { return lk_l1_read_stats(l1).entries; }

/* SPDX-License-Identifier: MIT
 *
 * What the tests of L1 share: tokens by number, entries by number, and putting the one under the other.
 */
#ifndef LATCHKEY_TESTS_L1_KIT_H
#define LATCHKEY_TESTS_L1_KIT_H

#include "l1_got.h"
#include "unit.h"

enum { NOW_MS = 1000, LATER_MS = 2000 };

typedef struct text {
    char at[LATCHKEY_TOKEN_SIZE];
} text;

/* The token of a session, and others with the same selector and another verifier. All spelt as tokens are. */
text token_of(unsigned session, unsigned verifier);
latchkey_entry entry_of(uint64_t number); /* every byte of it follows from the number, which is its user_id */

enum lk_l1_put put(lk_l1 *l1, text t, uint64_t ticket, uint64_t number, int64_t deadline_ms);
enum lk_l1_put put_hashed(lk_l1 *l1, text t, uint64_t ticket, uint64_t number, int64_t deadline_ms); /* as prewarming */
enum lk_l1_put put_now(lk_l1 *l1, text t, uint64_t number); /* with a ticket taken now, and good for a while */

uint64_t entries(const lk_l1 *l1); /* how many it counts */

#endif

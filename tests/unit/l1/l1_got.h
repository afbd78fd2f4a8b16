/* SPDX-License-Identifier: MIT
 *
 * lk_l1_get with all that it answers in one place.
 */
#ifndef LATCHKEY_TESTS_L1_GOT_H
#define LATCHKEY_TESTS_L1_GOT_H

#include "l1/l1.h"

typedef struct l1_got {
    int64_t deadline_ms;
    bool first_use;
    latchkey_entry entry;
} l1_got;

static inline bool l1_get(lk_l1 *l1, const char *token, l1_got *got)
{
    lk_l1_found found;
    if (!lk_l1_get(l1, token, &found, &got->entry)) return false;
    got->deadline_ms = found.due_ms;
    got->first_use = found.first_use;
    return true;
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * What L1 takes from the layers below, without libsodium: so that it can be compiled alone, for a model and for another
 * machine.
 */
#ifndef LATCHKEY_TESTS_BELOW_H
#define LATCHKEY_TESTS_BELOW_H

#include "base/secure_memory.h"
#include "base/base64.c"

#include <stdlib.h>
#include <string.h>

size_t lk_map_size(size_t bytes) { return (bytes + 63) / 64 * 64; }

void *lk_map(size_t bytes, bool wiped)
{
    (void)wiped;
    void *at = aligned_alloc(64, lk_map_size(bytes));
    if (at) memset(at, 0, lk_map_size(bytes));
    return at;
}

void lk_unmap(void *at, size_t bytes)
{
    (void)bytes;
    free(at);
}

bool lk_equal(const void *a, const void *b, size_t size) { return memcmp(a, b, size) == 0; }
void lk_wipe(void *at, size_t size) { memset(at, 0, size); }

/* No prewarmed entries here. */
bool lk_verifier_text_hash(const char text[LK_VERIFIER_LENGTH], uint8_t hash[LK_HASH_SIZE])
{
    (void)text;
    (void)hash;
    return false;
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * The compact record, as Redis might hold it. Input: its bytes, sealed or not.
 *
 * Properties: what is accepted is 184 bytes of our format that encode again to the very same bytes, with times that can be
 * added to; cut or lengthened by a byte it is refused; only a newer format is called one. With keys nothing is accepted but
 * what was sealed with one: the corpus holds records sealed with the first of them. Sealed here, whatever is accepted opens
 * again, and not once a bit of it was changed; the same bytes as a field never open.
 */
#include "fuzz.h"
#include "base/record.h"

#define FAR INT64_C(100000000000000) /* record.c's end of time: far enough from INT64_MAX to add to */

static void check_good(const lk_record *r, const uint8_t *data, size_t size)
{
    uint8_t again[LK_RECORD_SIZE];
    HOLDS(size == LK_RECORD_SIZE);
    lk_record_encode(r, again);
    HOLDS(memcmp(again, data, size) == 0);
    int64_t duration = r->idle_ms + r->grace_until_ms; /* one of them is 0 */
    HOLDS(!r->idle_ms != !r->grace_until_ms && duration > 0 && duration < FAR && r->entry.expires_at_ms > 0 &&
          r->entry.expires_at_ms < FAR);
    HOLDS(r->entry.created_at_ms >= 0 && r->entry.created_at_ms <= r->entry.expires_at_ms);
}

/* The corpus was made with this key. */
static const lk_seal_keys *keys(bool plain)
{
    static lk_seal_keys strict, lax;
    if (!strict.count) {
        HOLDS(!lk_seal_keys_take(&strict, "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"));
        lax = strict;
        HOLDS(!lk_seal_keys_take(&lax, "plain"));
    }
    return plain ? &lax : &strict;
}

static void check_sealed(lk_record record, const uint8_t *data, size_t size)
{
    uint8_t sealed[LK_RECORD_SEALED_SIZE];
    lk_record back;
    record.sealed = true;
    memcpy(record.session, data, sizeof record.session);
    HOLDS(lk_record_seal(keys(false), &record, sealed) == sizeof sealed);
    HOLDS(lk_record_open(keys(false), sealed, sizeof sealed, &back) == LK_RECORD_GOOD);
    HOLDS(back.sealed && !memcmp(&back.entry, &record.entry, sizeof back.entry) && back.idle_ms == record.idle_ms &&
          !memcmp(back.session, record.session, sizeof back.session));
    sealed[data[size - 17] % sizeof sealed] ^= (uint8_t)(1u << data[size - 18] % 8);
    HOLDS(lk_record_open(keys(true), sealed, sizeof sealed, &back) != LK_RECORD_GOOD);
}

static void check_opened(const uint8_t *data, size_t size, enum lk_record_check plain)
{
    lk_record record;
    enum lk_record_check lax = lk_record_open(keys(true), data, size, &record),
                         strict = lk_record_open(keys(false), data, size, &record);
    bool sealed = size > 2 && data[2] > LK_RECORD_ROTATED && data[2] <= LK_RECORD_NEWEST;
    if (!sealed) HOLDS(lax == plain && strict == (plain == LK_RECORD_GOOD ? LK_RECORD_UNSEALED : plain));
    else HOLDS(lax == strict);
    if (strict == LK_RECORD_GOOD) {
        HOLDS(sealed && record.sealed && size == LK_RECORD_SEALED_SIZE);
        check_sealed(record, data, size);
    }
    if (plain == LK_RECORD_GOOD) check_sealed(record, data, size);
}

static void check_field(const uint8_t *data, size_t size)
{
    static const lk_seal_context home = {.user_id = 1};
    uint8_t *copy = malloc(size + 1);
    if (!copy) abort();
    memcpy(copy, data, size);
    HOLDS(lk_open_field(keys(true), &home, (lk_span){"ab", 2}, copy, &size) != LK_SEAL_GOOD);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lk_record record, other;
    uint8_t *exact = malloc(size + 1);
    if (!exact) abort();
    memcpy(exact, data, size);
    exact[size] = 0;
    enum lk_record_check check = lk_record_decode(data, size, &record);
    switch (check) {
    case LK_RECORD_GOOD:
        check_good(&record, data, size);
        HOLDS(lk_record_decode(exact, size - 1, &other) == LK_RECORD_BAD);
        HOLDS(lk_record_decode(exact, size + 1, &other) == LK_RECORD_BAD);
        break;
    case LK_RECORD_FUTURE: HOLDS(size > 2 && data[0] == 'L' && data[1] == 'K' && data[2] > LK_RECORD_ROTATED); break;
    case LK_RECORD_BAD: break;
    default: HOLDS(false); /* it knows of no seals */
    }
    free(exact);
    check_opened(data, size, check);
    check_field(data, size);
    return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * The compact record, as Redis might hold it. Input: its bytes.
 *
 * Properties: what is accepted is 184 bytes of our format that encode again to the very same bytes, with times that can be
 * added to; cut or lengthened by a byte it is refused; only a newer format is called one.
 */
#include "fuzz.h"
#include "record.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lk_record record, other;
    uint8_t *exact = malloc(size + 1);
    if (!exact) abort();
    memcpy(exact, data, size);
    exact[size] = 0;
    switch (lk_record_decode(data, size, &record)) {
    case LK_RECORD_GOOD:
        check_good(&record, data, size);
        HOLDS(lk_record_decode(exact, size - 1, &other) == LK_RECORD_BAD);
        HOLDS(lk_record_decode(exact, size + 1, &other) == LK_RECORD_BAD);
        break;
    case LK_RECORD_FUTURE: HOLDS(size > 2 && data[0] == 'L' && data[1] == 'K' && data[2] > LK_RECORD_ROTATED); break;
    case LK_RECORD_BAD: break;
    }
    free(exact);
    return 0;
}

/* Equal misses under way share one read of L2. The first to miss reads; others that miss on the same whole token
 * meanwhile wait for its answer.
 *
 * Joining needs the ticket (l1.h) that the first one has: a read that began before a purge must not answer a validate
 * that began after it (guarantees B and D). */
#ifndef LK_L1_SINGLEFLIGHT_H
#define LK_L1_SINGLEFLIGHT_H

#include "l1/buckets.h"
#include "latchkey.h"

typedef lk_buckets lk_singleflight;
typedef struct lk_flight lk_flight;

lk_singleflight *lk_singleflight_open(uint64_t seed); /* NULL: no memory; a forked child sees it empty */
void lk_singleflight_close(lk_singleflight *flights);

enum lk_flight_role {
    /* read L2, then call lk_singleflight_complete. *flight is NULL if all places are taken: then no other miss joins */
    LK_FLIGHT_LEAD,
    LK_FLIGHT_DONE, /* *status, *entry, *until_us and *incarnation are the answer of the one that read */
    LK_FLIGHT_LATE, /* deadline_ms passed before the answer came */
};

/* If an equal miss is reading, this blocks until its answer is there, or until deadline_ms (monotonic). A read that
 * began before oldest_ms is not joined: its answer would be older than the caller may serve. */
enum lk_flight_role lk_singleflight_join(lk_singleflight *flights, const char *token, uint64_t ticket,
                                         int64_t oldest_ms, int64_t deadline_ms, lk_flight **flight, int *status,
                                         latchkey_entry *entry, int64_t *until_us, uint64_t *incarnation);

/* until_us and incarnation are passed from the one that read to those that joined: how long the answer is good for, and
 * which server gave it. */
void lk_singleflight_complete(lk_singleflight *flights, lk_flight *flight, int status, const latchkey_entry *entry,
                              int64_t until_us, uint64_t incarnation);

#endif

/* See singleflight.h. A token hashes to a bucket of a few places (buckets.h). Each bucket also has a condition to wait
 * on.
 *
 *   free --join, first--> running --complete--> complete --the last waiting caller leaves--> free
 *
 * Nothing joins a complete flight: a miss that comes then reads anew. Lock: bucket.lock, and no other with it. */
#include "l1/singleflight.h"

#include "base/clock.h"
#include "base/crypto.h"

#include <string.h>

enum { FLIGHT_BUCKETS = 64, BUCKET_FLIGHTS = 8 };

struct lk_flight {
    enum { FLIGHT_FREE, FLIGHT_RUNNING, FLIGHT_COMPLETE } state; /* all guarded by bucket.lock */
    unsigned waiting;
    int status;
    int64_t began_ms, until_us;
    uint64_t ticket, incarnation;
    char token[LATCHKEY_TOKEN_LENGTH];
    latchkey_entry entry;
};

typedef struct flight_bucket {
    lk_bucket head;
    pthread_cond_t complete;
    lk_flight place[BUCKET_FLIGHTS];
} flight_bucket;

lk_singleflight *lk_singleflight_open(uint64_t seed)
{
    lk_singleflight *f = lk_buckets_open(FLIGHT_BUCKETS, sizeof(flight_bucket), seed); /* it holds live tokens */
    if (!f) return NULL;
    for (size_t i = 0; i < FLIGHT_BUCKETS; i++) lk_cond_init(&((flight_bucket *)lk_bucket_at(f, i))->complete);
    return f;
}

void lk_singleflight_close(lk_singleflight *f)
{
    if (!f) return;
    for (size_t i = 0; i < FLIGHT_BUCKETS; i++) pthread_cond_destroy(&((flight_bucket *)lk_bucket_at(f, i))->complete);
    lk_buckets_close(f);
}

static void leave_flight_locked(lk_flight *f)
{
    if (f->waiting || f->state == FLIGHT_RUNNING) return;
    lk_wipe(f, sizeof *f);
}

static enum lk_flight_role wait_flight_locked(flight_bucket *b, lk_flight *f, int64_t deadline_ms, int *status,
                                              latchkey_entry *entry, int64_t *until_us, uint64_t *incarnation)
{
    lk_lock_assert(&b->head.lock);
    int late = 0;
    f->waiting++;
    while (f->state == FLIGHT_RUNNING && !late) late = lk_lock_wait_until(&b->head.lock, &b->complete, deadline_ms);
    f->waiting--;
    enum lk_flight_role role = f->state == FLIGHT_COMPLETE ? LK_FLIGHT_DONE : LK_FLIGHT_LATE;
    if (role == LK_FLIGHT_DONE) {
        *status = f->status;
        *entry = f->entry;
        *until_us = f->until_us;
        *incarnation = f->incarnation;
    }
    leave_flight_locked(f);
    return role;
}

enum lk_flight_role lk_singleflight_join(lk_singleflight *flights, const char *token, uint64_t ticket,
                                         int64_t oldest_ms, int64_t deadline_ms, lk_flight **flight, int *status,
                                         latchkey_entry *entry, int64_t *until_us, uint64_t *incarnation)
{
    flight_bucket *b = lk_bucket_lock(flights, token, LATCHKEY_TOKEN_LENGTH);
    enum lk_flight_role role = LK_FLIGHT_LEAD;
    lk_flight *vacant = NULL, *equal = NULL;
    for (int i = 0; i < BUCKET_FLIGHTS; i++) {
        lk_flight *f = &b->place[i];
        if (f->state == FLIGHT_FREE) vacant = f;
        else if (f->state == FLIGHT_RUNNING && f->ticket == ticket && f->began_ms >= oldest_ms &&
                 lk_equal(f->token, token, sizeof f->token))
            equal = f;
    }
    *flight = NULL;
    if (equal) role = wait_flight_locked(b, equal, deadline_ms, status, entry, until_us, incarnation);
    else if (vacant) {
        *vacant = (lk_flight){.state = FLIGHT_RUNNING, .ticket = ticket, .began_ms = lk_now_ms()};
        memcpy(vacant->token, token, sizeof vacant->token);
        *flight = vacant;
    }
    lk_bucket_unlock(b);
    return role;
}

void lk_singleflight_complete(lk_singleflight *flights, lk_flight *flight, int status, const latchkey_entry *entry,
                              int64_t until_us, uint64_t incarnation)
{
    if (!flight) return;
    flight_bucket *b = lk_bucket_lock(flights, flight->token, LATCHKEY_TOKEN_LENGTH);
    flight->state = FLIGHT_COMPLETE;
    flight->status = status;
    flight->entry = *entry;
    flight->until_us = until_us;
    flight->incarnation = incarnation;
    if (flight->waiting) pthread_cond_broadcast(&b->complete);
    leave_flight_locked(flight);
    lk_bucket_unlock(b);
}

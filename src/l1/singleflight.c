/* See singleflight.h. A fixed table: a token hashes to a bucket of a few places, each bucket with its lock and its bell.
 *
 *   free --board, first--> flying --land--> landed --the last waiting passenger leaves--> free
 *
 * A landed flight takes no more passengers: who misses then, reads anew. Lock: bucket.lock alone. */
#include "l1/singleflight.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/hash.h"
#include "base/secure_memory.h"

#include <pthread.h>
#include <string.h>

enum { BUCKETS = 64, PLACES = 8 };

struct lk_flight {
    enum { FREE, FLYING, LANDED } state; /* all guarded by bucket.lock */
    unsigned waiting;
    int status;
    int64_t began_ms, until_us;
    uint64_t ticket, incarnation;
    char token[LATCHKEY_TOKEN_LENGTH];
    latchkey_entry entry;
};

typedef struct bucket {
    pthread_mutex_t lock;
    pthread_cond_t landed;
    lk_flight place[PLACES];
} bucket;

struct lk_singleflight {
    bucket bucket[BUCKETS];
};

lk_singleflight *lk_singleflight_open(void)
{
    lk_singleflight *f = lk_map(sizeof *f, true); /* it holds live tokens */
    if (!f) return NULL;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    for (int i = 0; i < BUCKETS; i++) {
        pthread_mutex_init(&f->bucket[i].lock, NULL);
        pthread_cond_init(&f->bucket[i].landed, &attr);
    }
    pthread_condattr_destroy(&attr);
    return f;
}

void lk_singleflight_close(lk_singleflight *f)
{
    if (!f) return;
    for (int i = 0; i < BUCKETS; i++) {
        pthread_mutex_destroy(&f->bucket[i].lock);
        pthread_cond_destroy(&f->bucket[i].landed);
    }
    lk_unmap(f, sizeof *f);
}

static bucket *bucket_of(lk_singleflight *f, const char *token)
{
    return &f->bucket[lk_hash(token, LATCHKEY_SELECTOR_LENGTH, 0) % BUCKETS];
}

static void leave_locked(lk_flight *f)
{
    if (f->waiting || f->state == FLYING) return;
    lk_wipe(f, sizeof *f);
}

static enum lk_flight_role wait_locked(bucket *b, lk_flight *f, int64_t deadline_ms, int *status, latchkey_entry *entry,
                                       int64_t *until_us, uint64_t *incarnation)
{
    struct timespec until = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    int late = 0;
    f->waiting++;
    while (f->state == FLYING && !late) late = pthread_cond_timedwait(&b->landed, &b->lock, &until);
    f->waiting--;
    enum lk_flight_role role = f->state == LANDED ? LK_FLIGHT_DONE : LK_FLIGHT_LATE;
    if (role == LK_FLIGHT_DONE) {
        *status = f->status;
        *entry = f->entry;
        *until_us = f->until_us;
        *incarnation = f->incarnation;
    }
    leave_locked(f);
    return role;
}

enum lk_flight_role lk_singleflight_join(lk_singleflight *flights, const char *token, uint64_t ticket,
                                         int64_t oldest_ms, int64_t deadline_ms, lk_flight **flight, int *status,
                                         latchkey_entry *entry, int64_t *until_us, uint64_t *incarnation)
{
    bucket *b = bucket_of(flights, token);
    enum lk_flight_role role = LK_FLIGHT_LEAD;
    lk_flight *vacant = NULL, *equal = NULL;
    pthread_mutex_lock(&b->lock);
    for (int i = 0; i < PLACES; i++) {
        lk_flight *f = &b->place[i];
        if (f->state == FREE) vacant = f;
        else if (f->state == FLYING && f->ticket == ticket && f->began_ms >= oldest_ms &&
                 lk_equal(f->token, token, sizeof f->token))
            equal = f;
    }
    *flight = NULL;
    if (equal) role = wait_locked(b, equal, deadline_ms, status, entry, until_us, incarnation);
    else if (vacant) {
        *vacant = (lk_flight){.state = FLYING, .ticket = ticket, .began_ms = lk_now_ms()};
        memcpy(vacant->token, token, sizeof vacant->token);
        *flight = vacant;
    }
    pthread_mutex_unlock(&b->lock);
    return role;
}

void lk_singleflight_complete(lk_singleflight *flights, lk_flight *flight, int status, const latchkey_entry *entry,
                              int64_t until_us, uint64_t incarnation)
{
    if (!flight) return;
    bucket *b = bucket_of(flights, flight->token);
    pthread_mutex_lock(&b->lock);
    flight->state = LANDED;
    flight->status = status;
    flight->entry = *entry;
    flight->until_us = until_us;
    flight->incarnation = incarnation;
    if (flight->waiting) pthread_cond_broadcast(&b->landed);
    leave_locked(flight);
    pthread_mutex_unlock(&b->lock);
}

/* A lock with a rank. A thread takes locks only in rising order of rank, so no two threads can wait for each other.
 *
 * Debug and sanitizer builds (LK_CHECK_LOCKS) keep the ranks that each thread holds. They check the order, and that a
 * function whose name ends in _locked is called under its lock. In release builds a lock is a mutex and nothing more. */
#ifndef LK_BASE_LOCK_H
#define LK_BASE_LOCK_H

#include "base/clock.h"

#include <assert.h>
#include <stdbool.h>

/* The order, from the first to be taken to the last; src/README.md says what each lock guards. Two locks of equal rank
 * are never held together. */
enum lk_rank {
    LK_RANK_ASYNC = 1,
    LK_RANK_WRITES,
    LK_RANK_BUCKET,
    LK_RANK_STRIPE,
    LK_RANK_PENDING,
    LK_RANK_RECENT,
    LK_RANK_REFRESH_QUEUE,
    LK_RANK_INBOX,
    LK_RANK_NODE,
    LK_RANK_POOL,
    LK_RANK_MUX,
    LK_RANK_TLS,
    LK_RANK_END
};

typedef struct lk_lock {
    pthread_mutex_t mutex;
    enum lk_rank rank;
} lk_lock;

#ifndef LK_CHECK_LOCKS
static inline void lk_lock_note(const lk_lock *lock, bool taken) { (void)lock, (void)taken; }
static inline bool lk_lock_is_held(const lk_lock *lock) { return lock != NULL; }
static inline bool lk_lock_may_take(const lk_lock *lock) { return lock != NULL; }
#else
extern _Thread_local const lk_lock *lk_locks_held[LK_RANK_END]; /* of this thread, by rank */
static inline void lk_lock_note(const lk_lock *lock, bool taken) { lk_locks_held[lock->rank] = taken ? lock : NULL; }
static inline bool lk_lock_is_held(const lk_lock *lock) { return lk_locks_held[lock->rank] == lock; }
static inline bool lk_lock_may_take(const lk_lock *lock)
{
    for (int rank = lock->rank; rank < LK_RANK_END; rank++)
        if (lk_locks_held[rank]) return false;
    return true;
}
#endif

/* Call it first in each function whose name ends in _locked. */
static inline void lk_lock_assert(const lk_lock *lock)
{
    (void)lock; /* without assert (NDEBUG) */
    assert(lk_lock_is_held(lock));
}

static inline void lk_lock_open(lk_lock *lock, enum lk_rank rank)
{
    lock->rank = rank;
    pthread_mutex_init(&lock->mutex, NULL);
}

static inline void lk_lock_close(lk_lock *lock) { pthread_mutex_destroy(&lock->mutex); }

static inline void lk_lock_take(lk_lock *lock)
{
    assert(lk_lock_may_take(lock));
    pthread_mutex_lock(&lock->mutex);
    lk_lock_note(lock, true);
}

static inline void lk_lock_give(lk_lock *lock)
{
    lk_lock_assert(lock);
    lk_lock_note(lock, false);
    pthread_mutex_unlock(&lock->mutex);
}

/* As lk_cond_wait_until. The lock is released while waiting, and this thread must hold no other. */
static inline int lk_lock_wait_until(lk_lock *lock, pthread_cond_t *cond, int64_t until_ms)
{
    lk_lock_assert(lock);
    return lk_cond_wait_until(cond, &lock->mutex, until_ms);
}

#endif

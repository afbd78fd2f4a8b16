/* The handle: what a latchkey consists of. Verb files include this; the layers below do not. */
#ifndef LK_SESSION_HANDLE_H
#define LK_SESSION_HANDLE_H

#include "base/clock.h"
#include "base/log.h"
#include "l1/singleflight.h"
#include "l1/l1.h"
#include "l2/l2.h"
#include "l2/marker.h"
#include "l1/alias_cache.h"
#include "l1/negative_cache.h"

enum { LK_QUEUES_MAX = LK_BELLS_MAX };
typedef struct lk_writes lk_writes; /* api/writes.h */

/* The histograms of the last seconds, for beats: quantiles count from the older of two marks, which is 5 to 10 s old. */
typedef struct lk_window {
    int64_t opened_ms; /* when the handle was opened */
    lk_lock lock;
    /* guarded by lock: */
    int64_t marked_ms; /* when the newer mark was made */
    unsigned older;    /* which of the two marks is the older */
    lk_histogram_mark read[2], lag[2];
} lk_window;

struct latchkey {
    lk_leases *leases; /* first, because validate reads it first. These three belong to the topology */
    lk_l1 *l1;
    int64_t refresh_ms; /* an entry that is hit this long before its end in L1 is read again: see lk_session_window */
    lk_counters counters;
    lk_singleflight *singleflight;
    lk_negative_cache *negative_cache;
    lk_alias_cache *alias_cache; /* NULL without foreign_until_ms */
    lk_l2 l2;
    lk_book *book;
    lk_pending *pending;
    lk_config config;
    lk_window window;
    _Atomic int64_t visits; /* seq_cst, see visit.h (1), as is `draining`: */
    _Atomic bool draining;
    /* NULL: not open. The first one is the handle's own, made when it is first needed. Release where it is set, acquire
     * where it is read: a thread that sees the queue sees all of it. */
    _Atomic(latchkey_queue *) queue[LK_QUEUES_MAX];
    lk_journal *journal;
    lk_marker marker;
    _Atomic bool log_watched; /* relaxed: at worst it looks once more than needed */
    /* NULL until a queue is first asked for a write. Release where it is set, acquire where it is read: a thread that
     * sees it sees all of it. */
    _Atomic(lk_writes *) writes;
};

/* In a child of the process that opened the handle, the leases read as zeros (guarantee J). Relaxed: it is written
 * while the process has one thread. */
static inline bool lk_forked(const latchkey *lk)
{
    return !atomic_load_explicit(&lk->leases->alive, memory_order_relaxed);
}

static inline bool lk_parse(const latchkey *lk, const char *token, size_t token_len, lk_token *parsed)
{
    return lk_token_parse(&lk->config.check_keys, (unsigned)lk->config.partitions, token, token_len, parsed);
}

#endif

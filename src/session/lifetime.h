/* How long an answer of Redis is good for: until the session idles out, until its absolute end, until L1 must ask again.
 *
 * Idle time, touches and L1. Redis is told of a session's use (a touch) once a twelfth of idle_ms has gone since it was told
 * last: LK_SESSION_TOUCH, and the same in touch.lua. L1 answers for as long as the session is sure to live, and a hit from that
 * twelfth on asks for a touch; its answer moves the entry on, without a read. So a session ends between eleven twelfths of idle_ms
 * and all of it after its last use, give or take the moment that a touch waits; if touches do not reach Redis, by as much
 * earlier. Under a lease they reach it.
 *
 * What else L1 holds is coherent under the lease, and is read again only at its own end: that of l1_ttl_ms, of the session, or
 * where the token is to be renewed. */
#ifndef LK_SESSION_LIFETIME_H
#define LK_SESSION_LIFETIME_H

#include "base/record.h"
#include "session/handle.h"

typedef struct lk_judged {
    lk_record record;
    int64_t until_us;  /* when the session ends if it is not used, on the monotonic clock */
    bool final;        /* the absolute expiry is what ends it */
    bool touch_due;    /* a twelfth of idle_ms has passed since Redis last heard of its use */
    int64_t touch_ms;  /* and passes then, on the coarse monotonic clock; INT64_MAX: none is ever due */
    lk_l1_times times; /* for how long L1 may keep it */
    bool renew;        /* the token is old: LATCHKEY_FLAG_RENEW */
    bool reused;       /* beside NOT_FOUND: an old token, exchanged, and its grace is over. See lk_session_reused */
} lk_judged;

enum { LK_SESSION_TOUCH = LK_L1_TOUCHES, LK_SESSION_WORTH = 10 };

/* For how long L1 may keep it by l1_ttl_ms: between nine tenths and all of it, so that what was filled together is not read
 * again together. */
int64_t lk_session_ttl(const latchkey *lk, const char *selector, int64_t asked_us);

/* What follows from durations as Redis counts them, asked for at asked_us: until_us, final, touch_due, touch_ms, times. ttl_ms is
 * how long L1 may keep it anyway, ahead_ms how long before that it is to be read again (half of it at most), left_ms until its
 * key expires, absolute_ms until its absolute expiry. */
void lk_session_times(int64_t ttl_ms, int64_t ahead_ms, int64_t idle_ms, int64_t left_ms, int64_t absolute_ms,
                      int64_t asked_us, lk_judged *judged);

/* Renewal at a set age: LATCHKEY_FLAG_RENEW, which is never stored in Redis, from when the token, age_ms old when it was asked
 * for, is renew_ms old (0: never). It is set LK_SESSION_EARLY_MS before. An answer that comes earlier still is kept no longer
 * than until then plus that: so the refresh in between brings the flag, and no request misses. */
enum { LK_SESSION_EARLY_MS = 1000 };
void lk_session_renewal(int64_t renew_ms, int64_t age_ms, int64_t asked_us, lk_judged *judged);
latchkey_entry lk_session_entry(const lk_judged *judged); /* the record's, and that flag: what is answered */

/* How long before its end in L1 an entry that is hit is read again: 45 of 100 parts of l1_ttl_ms, that is half of the shortest
 * time that an entry is given, and no more than half a minute, since each read ahead comes earlier than it must. 0 where that is
 * less than the clock can tell. (Measured: bench/README.md, "How long an entry lives".) */
enum { LK_SESSION_WINDOW_MS = 30000 };
int64_t lk_session_window(int64_t l1_ttl_ms);

#endif

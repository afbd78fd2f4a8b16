/* How long an answer of Redis is good for: until the session idles out, until its absolute end, until L1 must ask
 * again.
 *
 * Idle time, touches and L1. Redis is told of a session's use (a touch) when a twelfth of idle_ms has passed since it
 * was last told: LK_SESSION_TOUCH, and the same in touch.lua. L1 answers for as long as the session certainly lives.
 * From that twelfth on, a hit asks for a touch, and its answer moves the entry's time on, without a read. So a session
 * ends between eleven twelfths of idle_ms and all of it after its last use, give or take the time for which a touch waits.
 * A touch that is lost on its way is made again, for as long as L1 holds the entry (l2/node_side.c).
 *
 * Everything else that L1 holds is coherent under the lease. It is read again only at its own end: that of l1_ttl_ms,
 * of the session, or when the token is to be renewed. */
#ifndef LK_SESSION_LIFETIME_H
#define LK_SESSION_LIFETIME_H

#include "base/record.h"
#include "session/handle.h"

typedef struct lk_judged {
    lk_record record;
    int64_t until_us; /* when the session ends if it is not used, on the monotonic clock */
    bool final;       /* it ends by its absolute expiry */
    bool touch_due;   /* a twelfth of idle_ms has passed since Redis was last told of its use */
    /* when that twelfth will have passed, on the coarse monotonic clock; INT64_MAX: a touch is never due */
    int64_t touch_ms;
    lk_l1_times times; /* for how long L1 may keep it */
    bool renew;        /* the token is old: LATCHKEY_FLAG_RENEW */
    /* with NOT_FOUND: this is an old token, exchanged, and its grace is over. See lk_session_reused */
    bool reused;
} lk_judged;

enum { LK_SESSION_TOUCH = LK_L1_TOUCHES, LK_SESSION_WORTH = 10 };

/* How long l1_ttl_ms lets L1 keep it: between nine tenths and all of it, so that entries that were filled together are
 * not all read again together. */
int64_t lk_session_ttl(const latchkey *lk, const char *selector, int64_t asked_us);

/* Computes until_us, final, touch_due, touch_ms and times from durations that Redis counted, asked for at asked_us.
 * ttl_ms: how long L1 may keep it at most. ahead_ms: how long before that it is to be read again (half of it at most).
 * left_ms: until its key expires. absolute_ms: until its absolute expiry. */
void lk_session_times(int64_t ttl_ms, int64_t ahead_ms, int64_t idle_ms, int64_t left_ms, int64_t absolute_ms,
                      int64_t asked_us, lk_judged *judged);

/* Renewal at a set age. LATCHKEY_FLAG_RENEW, which is never stored in Redis, is set from when the token is renew_ms old
 * (0: never). The token was age_ms old when Redis was asked. The flag is set LK_SESSION_EARLY_MS early. An answer from
 * before that is kept no longer than LK_SESSION_EARLY_MS beyond that time: so the refresh in between brings the flag,
 * and no request misses. */
enum { LK_SESSION_EARLY_MS = 1000 };
void lk_session_renewal(int64_t renew_ms, int64_t age_ms, int64_t asked_us, lk_judged *judged);
latchkey_entry lk_session_entry(const lk_judged *judged); /* the record's entry with that flag: what is answered */

/* How long before its end in L1 an entry that is hit is read again: 45% of l1_ttl_ms, which is half of the shortest
 * time that an entry gets; and no more than half a minute, since each read ahead comes earlier than it must. 0 if that
 * is less than the clock can tell. (Measured: bench/README.md, "How long an entry lives".) */
enum { LK_SESSION_WINDOW_MS = 30000 };
int64_t lk_session_window(int64_t l1_ttl_ms);

#endif

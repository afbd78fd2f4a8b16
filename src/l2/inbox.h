/* The inbox of a node: what other threads ask its link's thread to do when it has time. It knows neither the node nor the link:
 * it has its lock and its rings, and raises the eventfd that it was given.
 *
 *   validate, touch --> touches (a ring) ------\
 *   an old token used after its grace --> reused > the link takes them, one at a time (link_jobs.c)
 *   a hit near its end in L1 --> refreshes -----/
 *
 * Invariants: every list has a limit, and what exceeds it is dropped (G). The entry in L1 remembers that a touch is
 * owed: the next use asks for it again, and so does the link, once it has time (node_side.c). The eventfd is raised when a
 * list that was empty gets something, or when a refresh cannot wait as long as the link will sleep.
 *
 * Lock: inbox.lock guards touches and reused tokens; nothing is called under it. Refreshes have their own
 * (refresh_queue.h). */
#ifndef LK_L2_INBOX_H
#define LK_L2_INBOX_H

#include "base/counters.h"
#include "l2/refresh_queue.h"
#include "revocation/pending.h"

/* A session that was used, and what the link must know to tell Redis by plain commands. */
typedef struct lk_touch {
    unsigned partition;
    char selector[LATCHKEY_SELECTOR_LENGTH];
    uint64_t user_id;
    int64_t idle_ms, expires_at_ms; /* 0: not known; then a script does it */
    int64_t age_ms;                 /* how long ago that was, at the most */
} lk_touch;

enum { LK_INBOX_TOUCHES = 4096, LK_INBOX_REUSED = 64 };

typedef struct lk_inbox lk_inbox;

lk_inbox *lk_inbox_open(lk_counters *counters, int wake_fd); /* NULL: no memory */
void lk_inbox_close(lk_inbox *inbox);

void lk_inbox_touch(lk_inbox *inbox, const lk_touch *touch);
bool lk_inbox_reused(lk_inbox *inbox, const lk_token *token); /* false: too many are waiting */
/* The same for what lk_inbox_take gave of another node. */
bool lk_inbox_pass_on(lk_inbox *inbox, const lk_pending_item *reused);
void lk_inbox_refresh(lk_inbox *inbox, const char *token, int64_t now_ms, int64_t patience_ms);

/* Called by the link's thread only: how long it may sleep, if it wanted to for wait_ms. While refreshes come, no longer
 * than they can wait: so the link looks by itself, and the hit that asks for one does not have to wake a thread, which
 * takes tens of microseconds; the hit itself takes a tenth of one. Only the first hit after LK_INBOX_LOOKS_MS of
 * silence wakes it. */
enum { LK_INBOX_LOOKS_MS = 10000 };
int64_t lk_inbox_nap(lk_inbox *inbox, int64_t now_ms, int64_t wait_ms);
/* What it takes: reused tokens first. *proven: it is a reused token, with the hash of its verifier. False: there is
 * nothing. */
bool lk_inbox_take(lk_inbox *inbox, lk_pending_item *item, lk_touch *touch, bool *proven);
lk_refresh_item *lk_inbox_take_refresh(lk_inbox *inbox, int64_t now_ms);

#endif

/* The revocations and changes of the last minutes that this instance made or received, kept for a server that does not
 * know of them. Such a server came back without its newest writes, or it is a replica that was promoted before it had them, or its data
 * set was replaced by an older one. Two kinds of things are remembered:
 *
 *   a session was ended      the server is told so again
 *   a session was changed    (another role, other rights, other key material): its number is remembered. If the server's log
 *                            does not have that change, the session is ended: what the server holds gives rights that were
 *                            taken away
 *
 * A session that is remembered as ended is denied on this handle whatever Redis says (lk_pending_has). A selector never
 * lives twice; and a replaced data set is noticed by the next beat, not by the next read (B).
 *
 * What this instance did itself comes back to it as an announcement, before the nonce of the next beat. If it does not
 * come, the data set that it was done in was replaced in place: then it is repeated to the server. It is also repeated
 * if a change is announced of a session that has ended.
 *
 * Allocated at open. It keeps the newest ones, as many as lk_recent_open was told; what is remembered anew is the newest again. The list for a new
 * server is what was new when the last server was last confirmed, not what is new when Redis returns: so a long outage
 * forgets nothing.
 *
 * Lock: recent.lock, taken under no other lock. */
#ifndef LK_REVOCATION_RECENT_H
#define LK_REVOCATION_RECENT_H

#include "base/partitions.h"
#include "latchkey.h"

#include <stdbool.h>
#include <stdint.h>

enum { LK_RECENT_MAX = 4096, LK_RECENT_MS = 5 * 60 * 1000 };

typedef struct lk_recent_item {
    int64_t at_ms;   /* on the monotonic clock */
    uint64_t change; /* the partition's number of the change; 0: the session was ended */
    unsigned partition;
    char selector[LATCHKEY_SELECTOR_LENGTH];
    bool unheard; /* made here, and not announced to us yet */
} lk_recent_item;

typedef struct lk_recent lk_recent;

lk_recent *lk_recent_open(uint64_t seed, unsigned most); /* at most LK_RECENT_MAX. NULL: no memory */
void lk_recent_close(lk_recent *recent);

/* A script that this instance ran ended it. */
void lk_recent_made(lk_recent *recent, unsigned partition, const char *selector, int64_t now_ms);
/* It was announced. True: that was not known. */
bool lk_recent_add(lk_recent *recent, unsigned partition, const char *selector, int64_t now_ms);
bool lk_recent_add_change(lk_recent *recent, unsigned partition, const char *selector, uint64_t number, int64_t now_ms);

/* Is this session remembered as ended? One load while no session is. */
bool lk_recent_ended(lk_recent *recent, const char *selector);

/* What happened in these partitions in the LK_RECENT_MS before then and since, ordered by partition. Returns how many. */
size_t lk_recent_list(lk_recent *recent, lk_partitions partitions, int64_t then_ms,
                      lk_recent_item items[LK_RECENT_MAX]);
/* Those that were made before then and are unheard: in the same way. And: their server was told of what was made before
 * then. */
size_t lk_recent_unheard(lk_recent *recent, lk_partitions partitions, int64_t before_ms,
                         lk_recent_item items[LK_RECENT_MAX]);
void lk_recent_told(lk_recent *recent, lk_partitions partitions, int64_t before_ms);

#endif

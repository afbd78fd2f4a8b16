/* The memory: what this instance made or heard of in the last minutes, for a server that does not know of it: one that came
 * back without its newest writes, a replica that was promoted before it had them, a data set that was replaced by an older
 * one. Two kinds are remembered:
 *
 *   a session was ended      the server is told so again
 *   a session was changed    (another role, other rights, other key material): remembered by its number. A server whose log
 *                            does not tell of that change ends the session: what it holds gives rights that were taken away
 *
 * And whatever Redis says, what is remembered as ended is denied on this handle (lk_pending_has): a selector never lives twice,
 * and a data set that was replaced is noticed by the next beat, not by the next read (B).
 *
 * A ring: taken at open, the newest LK_RECENT_MAX are kept. What is listed for a server is what was new when the last server
 * was last confirmed, not what is new when it returns: an outage, however long, forgets nothing.
 *
 * Lock: a lock of its own, called under no other. */
#ifndef LK_REVOCATION_RECENT_H
#define LK_REVOCATION_RECENT_H

#include "latchkey.h"

#include <stdbool.h>
#include <stdint.h>

enum { LK_RECENT_MAX = 4096, LK_RECENT_MS = 5 * 60 * 1000 };

typedef struct lk_recent_item {
    int64_t at_ms;   /* on the monotonic clock */
    uint64_t change; /* the partition's number of the change; 0: it was ended */
    unsigned partition;
    char selector[LATCHKEY_SELECTOR_LENGTH];
} lk_recent_item;

typedef struct lk_recent lk_recent;

lk_recent *lk_recent_open(uint64_t seed); /* NULL: no memory */
void lk_recent_close(lk_recent *recent);

void lk_recent_add(lk_recent *recent, unsigned partition, const char *selector, int64_t now_ms);
void lk_recent_add_change(lk_recent *recent, unsigned partition, const char *selector, uint64_t number, int64_t now_ms);

/* Is it remembered that this session was ended? One load while nothing was. */
bool lk_recent_ended(lk_recent *recent, const char *selector);

/* Those of the LK_RECENT_MS before then and since, a partition's one after another. How many. */
size_t lk_recent_list(lk_recent *recent, int64_t then_ms, lk_recent_item items[LK_RECENT_MAX]);

#endif

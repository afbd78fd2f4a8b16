/* The revocations that this instance made or heard of in the last minutes, for a server that does not know of them: one
 * that came back without its newest writes, or a replica that was promoted before it had them. A ring: taken at open,
 * the newest are kept. A lock of its own, called under no other. */
#ifndef LK_REVOCATION_RECENT_H
#define LK_REVOCATION_RECENT_H

#include "latchkey.h"

enum { LK_RECENT_MAX = 4096, LK_RECENT_MS = 5 * 60 * 1000 };

typedef struct lk_recent_item {
    int64_t at_ms; /* on the monotonic clock */
    unsigned partition;
    char selector[LATCHKEY_SELECTOR_LENGTH];
} lk_recent_item;

typedef struct lk_recent lk_recent;

lk_recent *lk_recent_open(void); /* NULL: no memory */
void lk_recent_close(lk_recent *recent);

void lk_recent_add(lk_recent *recent, unsigned partition, const char *selector, int64_t now_ms);

/* Those of the last LK_RECENT_MS, a partition's one after another. How many. */
size_t lk_recent_list(lk_recent *recent, int64_t now_ms, lk_recent_item items[LK_RECENT_MAX]);

#endif

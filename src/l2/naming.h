/* Which server the sentinels name as the primary. Without I/O: what each of them said goes in, a decision comes out.
 *
 *   One sentinel's word proves nothing. A sentinel that is cut off, or was started with an old file, goes on naming the old
 *   primary. More than half of those *listed in the configuration* decide. Two such majorities share a sentinel, and a sentinel
 *   never goes back to a primary that it has left. So if one instance was told of the new primary by a majority, it was told later
 *   than any instance that was told of the old one. The lease rests on that if `durability` is 0 (link_beat.c).
 *
 * A majority for another primary is believed at once. Without a majority, the last primary stays. */
#ifndef LK_L2_NAMING_H
#define LK_L2_NAMING_H

#include "base/config.h"

enum lk_said_what {
    LK_SAID_NOTHING, /* it cannot be reached, or has not answered yet: `why` */
    LK_SAID_PRIMARY,
    LK_SAID_UNKNOWN, /* it knows no primary of that name */
    LK_SAID_REFUSED, /* it answers with an error: `why` */
};

typedef struct lk_said {
    enum lk_said_what what;
    int64_t asked_ms; /* when it was asked what it answered */
    lk_host primary;
    char why[128];
    unsigned same_as; /* REFUSED, because it is the sentinel that is listed at same_as - 1; 0: it is another one */
    int64_t apart_since_ms; /* since when it names another one than the majority; 0: it does not */
    bool apart_told;
} lk_said;

typedef struct lk_naming {
    unsigned listed;
    lk_said said[LK_SENTINELS_MAX];
    bool known;
    lk_host primary; /* the one that the majority named last, if `known` */
} lk_naming;

/* Sentinel i said that; `apart_...` are not read. An answer counts for max_age_ms. True: the primary is another one. */
bool lk_naming_take(lk_naming *naming, unsigned i, const lk_said *said, int64_t now_ms, int64_t max_age_ms);

/* Have more than half of them, asked at since_ms or later, named the primary? */
bool lk_naming_vouched(const lk_naming *naming, int64_t since_ms);

/* Why they have not, with the first of them that did not name it. */
void lk_naming_doubt(const lk_naming *naming, const lk_config *config, int64_t since_ms, char *text, size_t size);

/* How many of them, asked since then, named it. */
unsigned lk_naming_agreeing(const lk_naming *naming, int64_t since_ms);

/* Why no primary is known: CONFIG if waiting cannot help, else UNAVAILABLE. */
int lk_naming_trouble(const lk_naming *naming, const lk_config *config, char *text, size_t size);

/* A sentinel that has named another primary for that long, which is reported once: its index, or -1. */
int lk_naming_apart(lk_naming *naming, int64_t now_ms, int64_t for_ms);

void lk_host_text(const lk_host *host, char *text, size_t size); /* host:port, [host]:port */

#endif

/* What is noted of a read before Redis is asked, and compared after it answered: see session/vouched_read.h. */
#ifndef LK_BASE_VOUCH_H
#define LK_BASE_VOUCH_H

#include <stdbool.h>
#include <stdint.h>

typedef struct lk_vouch {
    uint64_t ticket;      /* of the table that the answer may go into: L1 (l1.h), or alias_cache.h */
    uint64_t dead_ticket; /* negative_cache.h: for an answer that is a "no" */
    uint64_t leased;      /* the server that had the lease */
    int64_t asked_us;     /* when: durations in the answer count from here (guarantee H) */
    uint64_t server;      /* afterwards: the one that answered, if it had the lease when it was asked; else 0 */
    bool mixed;           /* afterwards: not all answers were of that one */
} lk_vouch;

#endif

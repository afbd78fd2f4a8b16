/* What is noted about a read before Redis is asked, and compared after it answered: see session/vouched_read.h. */
#ifndef LK_BASE_VOUCH_H
#define LK_BASE_VOUCH_H

#include <stdbool.h>
#include <stdint.h>

typedef struct lk_vouch {
    uint64_t ticket;      /* of the table that the answer may go into: L1 (l1.h) or the alias cache (alias_cache.h) */
    uint64_t dead_ticket; /* of the negative cache (negative_cache.h), for an answer that is a "no" */
    uint64_t leased;      /* the server that had the lease when Redis was asked */
    int64_t asked_us;     /* when Redis was asked: durations in the answer count from here (guarantee H) */
    uint64_t server;      /* set afterwards: the server that answered, if it had the lease when it was asked; else 0 */
    bool mixed;           /* set afterwards: the answers did not all come from that server */
    /* set afterwards: the answer counts only under a lease whose beat was sent later than this. 0: under any */
    int64_t since_ms;
} lk_vouch;

#endif

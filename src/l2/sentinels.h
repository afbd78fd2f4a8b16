/* The sentinels of a handle: a connection to each, over which it is asked for the primary's address, and what they
 * said.
 *
 *   the link's thread --tick: connect, ask--> sentinel 1, 2, 3 ... --fed: answers--> naming.h --> is the primary another one?
 *
 * Nothing here waits: connecting, looking up a host and reading go as far as they can. A sentinel is asked with every
 * beat, and LK_SENTINELS_ASKED times for each of them. There is no subscription: a sentinel's answers change before it
 * announces the change. A sentinel has a user and a password of its own; there is no SELECT. Once a connection it is asked
 * which sentinel it is (MYID), so that it counts once if two names lead to it; and which sentinels it knows, for the log
 * alone. There is no other command but those of a tool.
 *
 * Used by the link's thread only; no lock. */
#ifndef LK_L2_SENTINELS_H
#define LK_L2_SENTINELS_H

#include "l2/naming.h"
#include "redis/conn.h"

#include <poll.h>

enum { LK_SENTINELS_ASKED = 2 };

typedef struct lk_sentinels lk_sentinels;

lk_sentinels *lk_sentinels_open(const lk_config *config, int64_t now_ms); /* NULL: no memory */
void lk_sentinels_close(lk_sentinels *sentinels);                         /* NULL is allowed */
void lk_sentinels_abandon(
    lk_sentinels *sentinels); /* in a forked child: closes its copies of the descriptors, and no more */

lk_naming *lk_sentinels_naming(lk_sentinels *sentinels);

/* Continues what is under way. Asks all of them if it is time to, or if they were not asked since beat_ms. */
void lk_sentinels_tick(lk_sentinels *sentinels, int64_t beat_ms, int64_t now_ms);
int64_t lk_sentinels_wake_ms(const lk_sentinels *sentinels); /* call tick no later than this */

/* For poll: sends what can be sent, and says what to wait for. Returns how many, at most LK_SENTINELS_MAX. */
unsigned lk_sentinels_poll(lk_sentinels *sentinels, struct pollfd *poll_fd, int64_t now_ms);
/* Call it after poll. True: more than half name another primary than before. */
bool lk_sentinels_fed(lk_sentinels *sentinels, const struct pollfd *poll_fd, int64_t now_ms);

/* Has each of them answered, or failed to, at least once? */
bool lk_sentinels_heard_all(const lk_sentinels *sentinels);

/* For a tool: asks each of them, and waits until all have answered or failed to, until deadline_ms at most. NULL: no
 * memory. */
lk_sentinels *lk_sentinels_ask_all(const lk_config *config, int64_t deadline_ms);

/* After that: asks those that named a primary whether they could carry out a failover (SENTINEL CKQUORUM), and what they know of the
 * primary (MASTER); and waits until they have answered, until deadline_ms at most. */
enum { LK_SENTINEL_QUORUM, LK_SENTINEL_MASTER, LK_SENTINEL_EXAMS };
enum { LK_SENTINEL_ID_SIZE = 64 /* of 40 characters today */ };
typedef struct lk_sentinel_exam {
    bool asked;
    lk_reply *answer[LK_SENTINEL_EXAMS]; /* NULL: none came */
    char id[LK_SENTINEL_ID_SIZE]; /* which sentinel it is, also of one that was not asked; "": it does not tell */
} lk_sentinel_exam;
void lk_sentinels_examine(lk_sentinels *sentinels, int64_t deadline_ms, lk_sentinel_exam exam[LK_SENTINELS_MAX]);
void lk_sentinels_examined(lk_sentinel_exam exam[LK_SENTINELS_MAX]); /* frees the answers */

/* For a tool that makes its own connections: asks, and waits until more than half have named the primary; config->host
 * and port are that primary then. True also if there are no sentinels. False: `error` says why. */
bool lk_sentinels_find(lk_config *config, int64_t deadline_ms, char *error, size_t error_size);

#endif

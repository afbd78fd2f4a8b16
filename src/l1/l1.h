/* L1: the map in this process's memory from a token to its 120-byte entry. Bounded; reading takes no lock.
 *
 * Words
 *   slot     where an entry lies. Each selector has three slots where it may lie, its homes, all in one stripe
 *   stripe   a range of slots, and the lock that guards them
 *   ticket   an epoch, read before L2 is asked; a put is refused if a purge came after its ticket
 *
 * Guarantees kept here: D (tickets), E (the whole token is compared), G (memory is taken once), J (wiped in a child). */
#ifndef LK_L1_L1_H
#define LK_L1_L1_H

#include "base/entry_sample.h"
#include "base/partitions.h"
#include "l1/l1_read.h" /* lk_l1, lk_l1_get, and what that needs */

#include <stdbool.h>

typedef struct lk_l1_stats {
    uint64_t entries, evictions, bytes;
} lk_l1_stats;

/* NULL: no memory, or a kernel that cannot keep it from children. A capacity of 0 makes an L1 that holds nothing. */
lk_l1 *lk_l1_open(size_t capacity_entries, uint64_t seed);
void lk_l1_close(lk_l1 *l1);

/* Taken before L2 is asked. */
uint64_t lk_l1_ticket(const lk_l1 *l1, const char *selector);

enum lk_l1_put {
    LK_L1_STORED,
    LK_L1_LEFT_OUT, /* there is no room, or (hashed) the entry is there already */
    LK_L1_REFUSED,  /* a purge came after the ticket (guarantee D) */
};

/* How long an entry is good for, on the coarse monotonic clock. Where a touch of its session moves that on, `idle_ms` is the
 * session's idle time: then it is also good for no longer than eleven twelfths of that after due_ms, since the twelfth before
 * may have gone by when Redis last heard of a use. */
typedef struct lk_l1_times {
    int64_t due_ms;  /* from then on a hit is told that there is something to ask */
    int64_t end_ms;  /* from then on it is not to be served, whatever is asked */
    int64_t idle_ms; /* 0: no touch moves it on */
} lk_l1_times;

enum { LK_L1_TOUCHES = 12 }; /* a session is touched once that part of its idle time has gone by */

static inline lk_l1_times lk_l1_until(int64_t end_ms) { return (lk_l1_times){.due_ms = end_ms, .end_ms = end_ms}; }

/* Until when it is good. */
static inline int64_t lk_l1_end(const lk_l1_times *times)
{
    int64_t idle_end_ms = times->due_ms + times->idle_ms * (LK_L1_TOUCHES - 1) / LK_L1_TOUCHES;
    return times->idle_ms && idle_end_ms < times->end_ms ? idle_end_ms : times->end_ms;
}

/* Stores what L2 answered. `verifier` is the token's last 23 characters. With `hashed` it is the first 23 bytes of
 * their BLAKE2b-256, which is all that prewarming knows; then an entry that is there already is not replaced. If there
 * is no room, an entry that is dead at now_ms is replaced, or else one that is little used. */
enum lk_l1_put lk_l1_put(lk_l1 *l1, uint64_t ticket, const char *selector, const void *verifier, bool hashed,
                         lk_l1_times times, int64_t now_ms, const latchkey_entry *entry);

/* A touch was answered: the entry, if there is one that a touch moves on, is good for longer. Never beyond its own end, and
 * nothing is shortened. STORED; LEFT_OUT: no such entry, or it is good for as long already; REFUSED. `ahead_ms`: how long
 * before its end it is to be read again. */
enum lk_l1_put lk_l1_renew(lk_l1 *l1, uint64_t ticket, const char *selector, lk_l1_times times, int64_t ahead_ms);

/* The session was used, and a touch is due. The entry remembers that until a touch is answered (lk_l1_renew) or it is filled
 * anew: so a touch that is lost on the way can be made again. Does nothing where no touch moves the entry on. */
void lk_l1_owe(lk_l1 *l1, const char *selector, int64_t now_ms);
/* Looks at up to `most` slots from *at on, and leaves in *at where to go on; 0: that was the last one. True: it found an
 * entry that is good at now_ms and remembers that: its selector. It takes no lock. */
bool lk_l1_owed(const lk_l1 *l1, size_t *at, size_t most, int64_t now_ms, char selector[LATCHKEY_SELECTOR_LENGTH]);

/* As lk_l1_get, and for how long: off the way of every request. */
bool lk_l1_look(lk_l1 *l1, const char *token, lk_l1_times *times, latchkey_entry *entry);
/* The same by name alone, for a question to Redis: it admits no request. */
bool lk_l1_terms_of(lk_l1 *l1, const char *selector, lk_l1_times *times, latchkey_entry *entry);

bool lk_l1_holds(lk_l1 *l1, const char *token); /* compares the whole token; counts dead entries too */

/* also makes its tickets invalid, and those of some other selectors */
void lk_l1_purge(lk_l1 *l1, const char *selector);
void lk_l1_empty(lk_l1 *l1); /* the same for all selectors */
/* The entries of these partitions; the tickets of all selectors */
void lk_l1_empty_of(lk_l1 *l1, lk_partitions partitions);

/* For comparing L1 with Redis (consistency.h). lk_l1_sample takes a plain entry that is alive at now_ms: the first that
 * is found from a random slot on, as it stood there at one moment. False: the few slots that it looks at hold none. It
 * takes no lock. lk_l1_still: does L1 still hold that very fill? */
bool lk_l1_sample(const lk_l1 *l1, uint64_t random, int64_t now_ms, lk_entry_sample *out);
bool lk_l1_still(lk_l1 *l1, const lk_entry_sample *seen);

size_t lk_l1_entries(const lk_l1 *l1);
lk_l1_stats lk_l1_read_stats(const lk_l1 *l1);

#endif

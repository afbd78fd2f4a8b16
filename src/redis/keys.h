/* Names in Redis. All of a partition's keys share the hash tag {p}, so what one operation touches lies in one slot. */
#ifndef LK_REDIS_KEYS_H
#define LK_REDIS_KEYS_H

#include "latchkey.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

enum { LK_BASE_SIZE = 80, LK_KEY_SIZE = LK_BASE_SIZE + LATCHKEY_SELECTOR_LENGTH + 4 };

/* What stands in the place of the number of partitions while `latchkey move` is under way: at the target, and at the source,
 * behind which is the number. */
#define LK_PARTITIONS_MOVING "moving"
#define LK_PARTITIONS_MOVED "moved "

/* Takes a selector's place in a script's arguments if there is no selector. */
#define LK_NOBODY "--------------------"

/* "lk:{17}:" */
static inline void lk_key_base(char out[LK_BASE_SIZE], const char *prefix, unsigned partition)
{
    snprintf(out, LK_BASE_SIZE, "%.32s:{%u}:", prefix, partition);
}

/* The same with what scripts are told (common.lua): "lk:{17}: cluster events /1". A server of a cluster: the slot may be
 * moving, and messages go to sharded channels. Channels do not belong to a database, so a message from a database other
 * than 0 names it. */
static inline void lk_key_script_base(char out[LK_BASE_SIZE], const char *prefix, unsigned partition, bool sharded,
                                      bool events, int64_t database)
{
    int size = snprintf(out, LK_BASE_SIZE, "%.32s:{%u}:%s%s", prefix, partition, sharded ? " cluster" : "",
                        events ? " events" : "");
    if (database) snprintf(out + size, LK_BASE_SIZE - (size_t)size, " /%" PRId64, database);
}

/* "lk:{17}:s:<selector>": the session's hash. `selector` is 20 characters, not NUL-terminated. */
static inline void lk_key_session(char out[LK_KEY_SIZE], const char *prefix, unsigned partition, const char *selector)
{
    snprintf(out, LK_KEY_SIZE, "%.32s:{%u}:s:%.20s", prefix, partition, selector);
}

/* "lk:{17}:i:<name>": which session a foreign token means, see foreign_token.h. The name is as long as a selector. */
static inline void lk_key_foreign(char out[LK_KEY_SIZE], const char *prefix, unsigned partition, const char *name)
{
    snprintf(out, LK_KEY_SIZE, "%.32s:{%u}:i:%.20s", prefix, partition, name);
}

enum { LK_SECTION_KEY_SIZE = LK_KEY_SIZE + 1 + 64 };

/* "lk:{17}:s:<selector>:<section>". */
static inline void lk_key_section(char out[LK_SECTION_KEY_SIZE], const char *prefix, unsigned partition,
                                  const char *selector, const char *section)
{
    snprintf(out, LK_SECTION_KEY_SIZE, "%.32s:{%u}:s:%.20s:%.64s", prefix, partition, selector, section);
}

enum { LK_USER_KEY_SIZE = LK_BASE_SIZE + 2 + 20 + 1 + 20 };

/* "lk:{17}:u:<user>": the index of a user's sessions; behind a cut-off it has another name: see common.lua. */
static inline void lk_key_user(char out[LK_USER_KEY_SIZE], const char *prefix, unsigned partition, uint64_t user_id,
                               int64_t cutoff_ms)
{
    int size = snprintf(out, LK_USER_KEY_SIZE, "%.32s:{%u}:u:%" PRIu64, prefix, partition, user_id);
    if (cutoff_ms > 0) snprintf(out + size, LK_USER_KEY_SIZE - (size_t)size, ":%" PRId64, cutoff_ms);
}

/* "lk:{17}:g:<user>": how often the user's sessions were ended together. */
static inline void lk_key_generation(char out[LK_USER_KEY_SIZE], const char *prefix, unsigned partition,
                                     uint64_t user_id)
{
    snprintf(out, LK_USER_KEY_SIZE, "%.32s:{%u}:g:%" PRIu64, prefix, partition, user_id);
}

/* "lk:{17}:f:<name>": a rotation family, named by its first selector. */
static inline void lk_key_family(char out[LK_KEY_SIZE], const char *prefix, unsigned partition, const char *name)
{
    snprintf(out, LK_KEY_SIZE, "%.32s:{%u}:f:%.20s", prefix, partition, name);
}

/* "lk:{17}:q" and the like: one of the partition's own keys. */
static inline void lk_key_partition(char out[LK_KEY_SIZE], const char *prefix, unsigned partition, const char *which)
{
    snprintf(out, LK_KEY_SIZE, "%.32s:{%u}:%.3s", prefix, partition, which);
}

#endif

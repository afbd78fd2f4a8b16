/* The scripts: every write to Redis is one of these, atomic on the server. They are the Lua files in src/redis/lua. */
#ifndef LK_REDIS_SCRIPT_H
#define LK_REDIS_SCRIPT_H

#include "base/config.h"
#include "redis/conn.h"
#include "redis/keys.h"

#include <stddef.h>

/* All scripts: X(name in C, file). scripts.cmake makes the array from this list. */
#define LK_SCRIPTS(X)                                                                                                  \
    X(CREATE, create)                                                                                                  \
    X(TOUCH, touch)                                                                                                    \
    X(SET_FIELDS, set_fields)                                                                                          \
    X(REVOKE, revoke)                                                                                                  \
    X(REASSERT, reassert)                                                                                              \
    X(REVOKE_USER, revoke_user)                                                                                        \
    X(SESSIONS, sessions)                                                                                              \
    X(TRIM, trim)                                                                                                      \
    X(ROTATE, rotate)                                                                                                  \
    X(RECORDS, records)                                                                                                \
    X(SET_USER, set_user)                                                                                              \
    X(SECTION_PUT, section_put)                                                                                        \
    X(IMPORT, import)                                                                                                  \
    X(MAP, map)                                                                                                        \
    X(REVOKE_EVERYONE, revoke_everyone)                                                                                \
    X(PROBE, probe)

#define LK_SCRIPT_ID(name, file) LK_SCRIPT_##name,
enum lk_script_id { LK_SCRIPTS(LK_SCRIPT_ID) LK_SCRIPT_COUNT };
#undef LK_SCRIPT_ID

typedef struct lk_script {
    const char *name;
    const char *sha; /* SHA-1 in hexadecimal, the script's name for EVALSHA */
    const char *text;
    size_t size;
} lk_script;

extern const lk_script lk_scripts[LK_SCRIPT_COUNT];

/* The first words of a call: EVALSHA, the script's SHA-1, "1", KEYS[1], ARGV[1] (the base), ARGV[2] (the selector); see
 * common.lua. Returns how many words that is. Without a selector, KEYS[1] is one of the partition's keys, and there is
 * no ARGV[2]. The words point into `names` and `selector`. */
enum { LK_SCRIPT_HEAD = 6 };
typedef struct lk_script_names {
    char base[LK_BASE_SIZE], key[LK_KEY_SIZE];
} lk_script_names;
size_t lk_script_words(lk_script_names *names, lk_span *words, enum lk_script_id id, const lk_config *config,
                       unsigned partition, const char *selector, bool events);

/* Changes the words into a call for a server that does not know the script yet: EVAL, and the script's text. */
void lk_script_by_text(lk_span *words, enum lk_script_id id);

#endif

/* The scripts: every write to Redis is one of these, atomic on the server. Read as Lua files in src/redis/lua. */
#ifndef LK_REDIS_SCRIPT_H
#define LK_REDIS_SCRIPT_H

#include <stddef.h>

enum lk_script_id {
    LK_SCRIPT_CREATE,
    LK_SCRIPT_TOUCH,
    LK_SCRIPT_SET_FIELDS,
    LK_SCRIPT_REVOKE,
    LK_SCRIPT_REASSERT,
    LK_SCRIPT_REVOKE_USER,
    LK_SCRIPT_SESSIONS,
    LK_SCRIPT_ROTATE,
    LK_SCRIPT_RECORDS,
    LK_SCRIPT_SET_USER,
    LK_SCRIPT_SECTION_PUT,
    LK_SCRIPT_IMPORT,
    LK_SCRIPT_MAP,
    LK_SCRIPT_REVOKE_EVERYONE,
    LK_SCRIPT_COUNT
};

typedef struct lk_script {
    const char *name;
    const char *sha; /* SHA-1 in hexadecimal: the name that EVALSHA knows it by */
    const char *text;
    size_t size;
} lk_script;

extern const lk_script lk_scripts[LK_SCRIPT_COUNT];

#endif

/* SPDX-License-Identifier: MIT
 *
 * What the models of the scripts share: src/redis/lua/common.lua in C (common.c), and the words of a call.
 */
#ifndef LATCHKEY_SIM_SCRIPTS_H
#define LATCHKEY_SIM_SCRIPTS_H

#include "keyspace.h"

enum { SELECTOR = 20, NAME_ROOM = 32, AT_ONCE = 100 };

/* One call under way: the locals at the top of common.lua. */
typedef struct call {
    run *r;
    char session[KEY_ROOM], selector[NAME_ROOM];
} call;

/* ARGV[n], counted from 1 as in Lua; "" where there are fewer. */
word argv(const call *c, size_t n);
size_t argc(const call *c);
int64_t number(const call *c, size_t n);
bool is(word a, const char *text);

/* Selectors, in order. */
typedef struct names {
    char (*name)[NAME_ROOM];
    size_t count, room;
} names;
void names_add(names *n, const char *name);
void names_free(names *n);
void names_join(const names *n, size_t from, size_t to, buffer *out); /* "one another ...", NUL-terminated */

/* Keys of the partition: base .. kind .. name. */
object *find_key(const call *c, const char *kind, const char *name);
object *make_key(const call *c, const char *kind, const char *name, enum object_type type);
void delete_key(const call *c, const char *kind, const char *name);
object *find_user(const call *c, word user); /* u:... */

typedef struct loaded {
    char v[184]; /* the record */
    int64_t idle_ms, expires_ms;
    char user[24];
} loaded;
bool parse(const item *x, loaded *l);
bool matches(const item *v, word hash);
bool is_record(const item *v);
bool is_rotated(const item *v);
int64_t time_in(const char *v, size_t offset); /* little-endian */
void put_time(char *v, size_t offset, int64_t ms);

void family(const call *c, const char *f, names *out); /* all of them, the session's own last */
bool heir(const call *c, const item *f, char name[NAME_ROOM]);

/* True: there. Else 0, an error or whom a reuse ended was replied. */
bool load(call *c, word hash, loaded *l);
void live_until(const call *c, object *o, int64_t ms);
int64_t created_of(const char *v); /* a record */
void index_session(const call *c, const char *user, int64_t expiry, int64_t created);
void forget_dead(const call *c);
void announce(const call *c, const char *what, bool changed);
void finish(const call *c, const names *selectors, const char *user, names *ended); /* user, ended: or NULL */
void drop(const call *c, const char *one, const char *f);                           /* f: or NULL */

#endif

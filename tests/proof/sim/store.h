/* SPDX-License-Identifier: MIT
 *
 * A keyspace of Redis: strings, hashes, sorted sets and streams with expiry, the commands on them with their options, and
 * Lua scripts (EVAL, EVALSHA), with the replies that Redis gives. test_model.c holds it against a real server.
 *
 * Running a command is a function of the keyspace, the words and the time alone. A script's effects are the commands that
 * it ran and that wrote: they are told one by one, as Redis tells its replicas and its disk. Those are keyspaces on which
 * the same commands are run later, with the time at which they ran first.
 */
#ifndef LATCHKEY_SIM_STORE_H
#define LATCHKEY_SIM_STORE_H

#include "buffer.h"

typedef struct store store;

/* What the server hears that runs a command first. */
typedef struct store_events {
    void *context;
    unsigned (*publish)(void *context, word channel, word text, bool sharded);
    void (*effect)(void *context, const word *words, size_t count); /* a command that wrote something */
    /* What became of keys, for the checks. Deleted: by a command, not by its expiry. */
    void (*wrote)(void *context, const char *key, bool made);
    void (*deleted)(void *context, const char *key);
    void (*renamed)(void *context, const char *from, const char *to);
    bool replica; /* it deletes nothing that has expired, and refuses to write */
    const char *(*refuses)(void *context, const word *words,
                           size_t count); /* a script's command; NULL: there is no cluster */
} store_events;

store *store_open(void);
void store_close(store *s);
store *store_copy(const store *s);

/* Runs a command and writes its reply. False: there is no such command. */
bool store_run(store *s, const word *words, size_t count, int64_t now_us, const store_events *events, buffer *reply);
/* Runs again what was told as an effect. */
void store_run_again(store *s, const word *words, size_t count, int64_t now_us);

/* A key with its value and its expiry, as MIGRATE takes it. Of those that begin so, the first one of a bucket that is drawn. */
typedef struct object object;
object *store_take(store *s, const char *prefix, uint64_t random); /* NULL: there is none */
void store_put(store *s, object *o);                               /* which is the store's from then on */
object *store_copy_of(const object *o);
void store_free(object *o);
const char *store_key_of(const object *o);

/* Streams keep no more entries than that, whatever they are told; 0: as they are told. */
void store_streams_keep(int64_t most);

bool store_writes(word command); /* is it one that may write, and is none that runs a script? */

/* Scripts, by the number of their text; EVALSHA finds those that were ever compiled. -1: not known. */
enum { SCRIPTS_MAX = 128 };
int store_script(word sha);
int store_compile(word text); /* -1: it does not compile */
const char *store_script_sha(int script);

/* ---------------------------------------------------------------------------------------- for the checks -- */
bool store_has(store *s, const char *key); /* perhaps it has expired */
bool store_holds(store *s, const char *key, int64_t now_ms);
int64_t store_expiry_ms(store *s, const char *key); /* -1: none, or no key; as it is written, by whatever clock */
int64_t store_number(store *s, const char *key, int64_t now_ms); /* a string's; 0: there is none */
word store_field(store *s, const char *key, const char *field);  /* of a hash; NULL: there is none */
const char *store_member(store *s, const char *key,
                         size_t i); /* of a sorted set, in its order; NULL: there are no more */
void store_see_keys(const store *s, int64_t now_ms, void (*see)(void *context, const char *key),
                    void *context);                      /* alive */
int64_t store_next_end(const store *s, int64_t from_ms); /* of any key; INT64_MAX: none */

#endif

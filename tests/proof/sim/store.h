/* SPDX-License-Identifier: MIT
 *
 * A keyspace of Redis: strings, hashes, sorted sets and streams with expiry, and the commands and scripts that the
 * library uses, with their replies as Redis writes them. test_model.c holds it against a real server.
 *
 * Running a command is a function of the keyspace, the words and the time alone, so a replica and a disk are keyspaces on
 * which the same commands are run later.
 */
#ifndef LATCHKEY_SIM_STORE_H
#define LATCHKEY_SIM_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct word {
    const char *text; /* NUL-terminated behind its size */
    size_t size;
} word;

/* What is written grows here. */
typedef struct buffer {
    char *bytes;
    size_t size, room;
} buffer;
void buffer_add(buffer *b, const void *bytes, size_t size);
void buffer_print(buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buffer_bulk(buffer *b, const char *text, size_t size); /* "$5\r\n.....\r\n" */
void buffer_free(buffer *b);

typedef struct store store;

typedef struct store_events { /* of the server that runs the command first; not where it is run again */
    void *context;
    unsigned (*publish)(void *context, word channel, word text);
    void (*deleted)(void *context, const char *key);
} store_events;

store *store_open(void);
void store_close(store *s);
store *store_copy(const store *s);

/* True: it is one of the commands that are the keyspace's, and its reply was written (reply may be NULL). `wrote` says
 * whether anything may have changed, so that it must be run again elsewhere. */
bool store_run(store *s, const word *words, size_t count, int64_t now_us, const store_events *events, buffer *reply,
               bool *wrote);

/* ---------------------------------------------------------------------------------------- for the checks -- */
bool store_holds(store *s, const char *key, int64_t now_ms);
int64_t store_expiry_ms(store *s, const char *key); /* -1: none, or no key; as it is written, by whatever clock */
int64_t store_number(store *s, const char *key, int64_t now_ms); /* a string's; 0: there is none */
bool store_rotated(store *s, const char *key);                   /* a session's, exchanged for another */
int64_t store_next_end(const store *s, int64_t from_ms);         /* of any key or grace; INT64_MAX: none */

#endif

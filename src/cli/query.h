/* Asks a Redis server what the library has no words for: as the link does, with the same configuration, TLS and all. */
#ifndef LK_CLI_QUERY_H
#define LK_CLI_QUERY_H

#include "l2/pool.h"

typedef struct peek {
    lk_config config;
    lk_counters counters;
    lk_addresses addresses;
    lk_pool *pool;
    uint64_t incarnation; /* of the server that answered last */
} peek;

enum { PEEK_DEADLINE_MS = 10000 };

/* Looks into `database`, or into the one that the URL names. OK, and the server has answered; CONFIG, UNAVAILABLE or NO_MEMORY, and why. peek_close in any case. */
enum { PEEK_OF_THE_URL = -1 };
int peek_open(const char *url, int64_t database, peek *p, char *error, size_t error_size);
void peek_close(peek *p); /* wipes what it knows */

/* One command, or several in a row. OK: every reply is the caller's, errors of Redis among them. Else why not. */
int peek_ask(peek *p, const lk_call *calls, size_t count, lk_reply **replies, char *error, size_t error_size);

/* One command of words, the last of which is NULL. NULL: no answer. */
lk_reply *peek_say(peek *p, const char *const *words);
#define PEEK(p, ...) peek_say(p, (const char *const[]){__VA_ARGS__, NULL})

#endif

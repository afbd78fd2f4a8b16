/* Asks a Redis server what the library has no words for: as the link does, with the same configuration, TLS and all. */
#ifndef LK_CLI_QUERY_H
#define LK_CLI_QUERY_H

#include "l2/pool.h"

typedef struct query {
    lk_config config;
    lk_counters counters;
    lk_addresses addresses;
    lk_pool *pool;
    uint64_t incarnation; /* of the server that answered last */
} query;

enum { QUERY_DEADLINE_MS = 10000 };

enum { QUERY_OF_THE_URL = -1 };
/* Looks into `database`, or into the one that the URL names. OK, and the server has answered; CONFIG, UNAVAILABLE or NO_MEMORY, and
 * why. query_close in any case. */
int query_open(const char *url, int64_t database, query *p, char *error, size_t error_size);
void query_close(query *p); /* wipes what it knows */

/* One command, or several in a row. OK: every reply is the caller's, errors of Redis among them. Else why not. */
int query_ask(query *p, const lk_call *calls, size_t count, lk_reply **replies, char *error, size_t error_size);

/* One command of words, the last of which is NULL. NULL: no answer. */
lk_reply *query_say(query *p, const char *const *words);
#define QUERY(p, ...) query_say(p, (const char *const[]){__VA_ARGS__, NULL})

#endif

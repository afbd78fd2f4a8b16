/* Asks a Redis server what the library has no function for. It connects as the link does, with the same configuration
 * and TLS. */
#ifndef LK_CLI_QUERY_H
#define LK_CLI_QUERY_H

#include "l2/pool.h"

typedef struct query {
    lk_config config;
    lk_counters counters;
    lk_addresses addresses;
    lk_pool *pool;
    uint64_t incarnation; /* of the server that answered last */
    int64_t patience_ms;  /* for one answer: QUERY_PATIENT_MS after opening, until the caller changes it */
} query;

/* For what may take long, such as copying. What only looks must not hang where a server does: query_patience. */
enum { QUERY_PATIENT_MS = 10000 };
int64_t query_patience(const lk_config *config); /* deadline_ms, but 1 to 10 s */

enum { QUERY_OF_THE_URL = -1 };
/* Connects to `database`, or to the one that the URL names; of a cluster, to the first listed node that answers. OK: the
 * server has answered. CONFIG, UNAVAILABLE or NO_MEMORY: `error` says why. Call query_close in any case. */
int query_open(const char *url, int64_t database, int64_t patience_ms, query *p, char *error, size_t error_size);
/* The same at this node of a cluster; of the URL come the rights and TLS. patience_ms 0: query_patience. */
int query_open_at(const char *url, const lk_host *host, int64_t patience_ms, query *p, char *error, size_t error_size);
void query_close(query *p); /* wipes the password, too */

/* Runs one command, or several in one round trip. OK: the caller frees every reply; an error of Redis is a reply, too.
 * Any other status: `error` says why. */
int query_ask(query *p, const lk_call *calls, size_t count, lk_reply **replies, char *error, size_t error_size);

/* Runs one command of words; the last word is NULL. NULL: there was no answer. */
lk_reply *query_say(query *p, const char *const *words);
#define QUERY(p, ...) query_say(p, (const char *const[]){__VA_ARGS__, NULL})

#endif

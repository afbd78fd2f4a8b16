/* How a Redis server is set up, and which guarantees that weakens. A pure function: text in, findings out. The link
 * passes what INFO answers. A tool for operators, which may have more rights, also passes what CONFIG GET answers.
 *
 *   error    a guarantee does not hold as things are, without any fault
 *   warning  a guarantee should survive a fault, and this one fault would break it
 *   notice   there is no harm as things are; or it could not be found out
 *
 * No finding keeps a handle from opening. A setting can be changed while the handle is open, so a refusal would promise
 * more than it can keep. And it would turn a person's change on the server into an outage at the next restart. Only
 * handshake.c refuses a server: one of no use at all (its version, a cluster, a replica). */
#ifndef LK_REDIS_SERVER_CHECK_H
#define LK_REDIS_SERVER_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LK_FINDING_TEXT = 512, LK_FINDINGS_MAX = 12 };

typedef struct lk_server_check {
    const char *info; /* the text that INFO answers */
    const char
        /* lines "name:value" of what CONFIG GET answers to lk_server_check_asked; NULL: CONFIG GET was not asked */
        *config;
    int64_t durability;   /* as latchkey is configured */
    int64_t staleness_ms; /* as latchkey is configured */
    bool sentinels;       /* they, or a cluster, name the primary: a replica that takes over is followed */
    const char *where;    /* " host:port" of one server of several, for the log; else NULL or "" */
} lk_server_check;

typedef struct lk_finding {
    int level;        /* LATCHKEY_LOG_... */
    const char *name; /* for programs and manuals; it never changes. Static */
    char text[LK_FINDING_TEXT];
} lk_finding;

/* Returns how many findings there are. */
size_t lk_server_check_check(const lk_server_check *check, lk_finding findings[LK_FINDINGS_MAX]);

/* Logs the findings, unless they are the same as before. `said` is a number that the caller keeps for that, 0 at first. */
void lk_server_check_say(const lk_server_check *check, uint64_t *said);

extern const char
    /* the names to ask CONFIG GET for, with NULL at the end. None of their values is a secret */
    *const lk_server_check_asked[];

#endif

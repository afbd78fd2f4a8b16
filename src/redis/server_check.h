/* What a Redis server is set to, and which guarantees that weakens. A pure function: text in, findings out. The link
 * gives it what INFO answers; an operator's tool, which may have more rights, also what CONFIG GET answers.
 *
 * An error:   a guarantee does not hold as things are, without any fault.
 * A warning:  one fault that the guarantee is meant to survive, and it does not.
 * A notice:   harmless as things are; or it could not be found out.
 *
 * No finding keeps a handle from opening: what is set can be changed while it is open, so refusing would promise more
 * than can be kept, and would turn somebody's change on the server into an outage at the next restart. What makes a server
 * of no use at all (its version, a cluster, a replica) handshake.c refuses. */
#ifndef LK_REDIS_SERVER_CHECK_H
#define LK_REDIS_SERVER_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LK_FINDING_TEXT = 512, LK_FINDINGS_MAX = 12 };

typedef struct lk_server_check {
    const char *info; /* the text that INFO answers */
    const char
        *config; /* lines "name:value" of what CONFIG GET answers to lk_server_check_asked; NULL: it was not asked */
    int64_t durability;   /* as latchkey is configured */
    int64_t staleness_ms; /* the same */
} lk_server_check;

typedef struct lk_finding {
    int level;        /* LATCHKEY_LOG_... */
    const char *name; /* for machines and manuals; never changed. Static */
    char text[LK_FINDING_TEXT];
} lk_finding;

/* Returns how many there are. */
size_t lk_server_check_check(const lk_server_check *settings, lk_finding findings[LK_FINDINGS_MAX]);

/* Says them to the log unless they are those of `said`, a number that the caller keeps (0 at first). */
void lk_server_check_say(const lk_server_check *settings, uint64_t *said);

extern const char
    *const lk_server_check_asked[]; /* what to ask CONFIG GET for; ends with NULL. No secret is among them */

#endif

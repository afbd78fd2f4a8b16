/* SPDX-License-Identifier: MIT
 *
 * What the proxy does to which message. One rule is one line of text:
 *
 *   rule CONNECTIONS DIRECTION KIND TEXT ACTION [ARGUMENT [SKIP [COUNT]]]
 *
 *   CONNECTIONS  all | commands | subscription    (a connection is a subscription once it has asked for one)
 *   DIRECTION    up (to Redis) | down (to the client) | both
 *   KIND         any | message (published) | other
 *   TEXT         bytes that the head of the message holds, or -
 *   ACTION       hold     until the rules are cleared; what comes behind it waits too
 *                delay    by ARGUMENT ms
 *                drip     byte by byte, ARGUMENT ms apart
 *                drop     it never was
 *                twice    it comes twice
 *                cut      the connection is closed instead
 *                freeze   nothing is read from that side of the connection any more, and nothing written to the other
 *   SKIP, COUNT  the first SKIP messages that match pass, the next COUNT are treated (0: all)
 *
 * The first rule that matches decides.
 */
#ifndef LATCHKEY_FAULTS_RULES_H
#define LATCHKEY_FAULTS_RULES_H

#include <stdbool.h>
#include <stddef.h>

enum direction { UP, DOWN, DIRECTIONS };
typedef enum action { PASS, HOLD, DELAY, DRIP, DROP, TWICE, CUT, FREEZE, ACTIONS } action;

typedef struct rule {
    bool commands, subscriptions; /* of which connections */
    bool direction[DIRECTIONS];
    bool messages, others;
    char text[64]; /* "": any */
    action action;
    long argument, skip, count;
} rule;

typedef struct rules {
    rule rule[16];
    size_t size;
    unsigned long treated[ACTIONS]; /* messages, since the beginning */
} rules;

bool rules_add(rules *all, const char *line);
void rules_clear(rules *all);

/* What becomes of this message, and with what argument? Counts it. */
action rules_decide(rules *all, bool subscription, enum direction direction, const char *bytes, size_t size,
                    long *argument);

bool rules_freeze(const rules *all, bool subscription, enum direction direction);
/* Does everything that comes from there vanish? Then the end of the connection does, too. */
bool rules_swallow(const rules *all, bool subscription, enum direction direction);

#endif

/* SPDX-License-Identifier: MIT
 *
 * A wire whose server lies: between a handle and a real Redis, which does all that it is asked to, one reply is replaced,
 * whole or one of its elements, by other bytes. One thread, loopback TCP on both sides.
 */
#ifndef LATCHKEY_TESTS_LIAR_H
#define LATCHKEY_TESTS_LIAR_H

#include <stddef.h>

typedef enum liar_to {
    LIAR_CALLERS, /* replies to what callers ask */
    LIAR_LINK,    /* those to the link, its messages too */
    LIAR_HELLO,   /* those to INFO, on any connection */
} liar_to;

typedef struct lie {
    liar_to to;
    unsigned nth; /* the first of those replies is number 0 */
    int every;    /* and all that come after it */
    unsigned
        element; /* 0: the whole reply; else, of its elements in the order of their bytes, this one, modulo their number */
    const char *bytes; /* they must live until the next lie is armed */
    size_t size;
    int endless; /* the bytes come again and again, as many as are taken */
    int drips;   /* then one byte at a time, a few milliseconds apart, for ever */
} lie;

typedef struct liar liar;

liar *liar_start(int redis_port);
int liar_port(const liar *l);
void liar_arm(liar *l,
              const lie *what); /* NULL: the truth. When it returns, it holds for all that has not passed yet */
unsigned liar_passed(liar *l);  /* replies of that kind since it was armed, the replaced one among them */
void liar_end(liar *l);

#endif

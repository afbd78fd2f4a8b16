/* Outcomes that one part of the library tells another, and that no caller ever sees. A function that returns `int` and
 * says so returns a public status (latchkey.h) or one of these. They are below 0 and far from the public ones: if one
 * is passed on by mistake, it is "no answer" and admits no request (guarantee A). */
#ifndef LK_BASE_OUTCOME_H
#define LK_BASE_OUTCOME_H

#include "latchkey.h"

enum lk_outcome {
    LK_OUTCOME_ASK_REDIS = -100,    /* what this process knows is no answer: only Redis can tell */
    LK_OUTCOME_OTHER_SERVER = -101, /* another server has the lease: the answer does not count, ask that server */
    LK_OUTCOME_CHANGED = -102,      /* a script was to replace something, and it is not what was read: read it again */
    LK_OUTCOME_TAKEN = -103,        /* a script was to make something, and its name or time is taken: make it anew */
    LK_OUTCOME_NOT_DURABLE = -104,  /* the script ran, and its reply is here; too few replicas hold what it wrote */
    LK_OUTCOME_NOT_YET = -105,      /* nothing can be said yet: a beat or a reply is under way */
    LK_OUTCOME_TRIM = -106,         /* the user's index has more names than a login may look at: trim it first */
};

/* The public status of a call that ends with that outcome. */
static inline int lk_outcome_status(int outcome)
{
    return outcome <= LK_OUTCOME_ASK_REDIS ? (int)LATCHKEY_UNAVAILABLE : outcome;
}

#endif

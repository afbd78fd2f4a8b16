/* What one part of the library tells another, and no caller ever sees. A function that returns `int` and says so answers
 * one of the public statuses (latchkey.h) or one of these. They are far from the public ones, and below 0: an outcome that
 * is passed on by mistake is "no answer", and never admits anybody (guarantee A). */
#ifndef LK_BASE_OUTCOME_H
#define LK_BASE_OUTCOME_H

#include "latchkey.h"

enum lk_outcome {
    LK_OUTCOME_ASK_REDIS = -100,    /* what this process knows does not answer it: only Redis can */
    LK_OUTCOME_OTHER_SERVER = -101, /* another server has the lease: what was said does not count; ask that one */
    LK_OUTCOME_CHANGED = -102,      /* what a script was to swap is not what was read: read it again */
    LK_OUTCOME_TAKEN = -103,        /* what a script was to make has to be made anew: the name, or the time in it */
    LK_OUTCOME_NOT_DURABLE = -104,  /* the script ran, and its reply is here; too few replicas hold what it wrote */
    LK_OUTCOME_NOT_YET = -105,      /* nothing can be said yet: a beat, or a reply, is on its way */
};

/* What a caller is told where it ends with that outcome. */
static inline int lk_outcome_status(int outcome)
{
    return outcome <= LK_OUTCOME_ASK_REDIS ? (int)LATCHKEY_UNAVAILABLE : outcome;
}

#endif

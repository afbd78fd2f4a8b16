/* latchkey move: what its files share. */
#ifndef LK_CLI_MOVE_MOVE_H
#define LK_CLI_MOVE_MOVE_H

#include "cli/nodes.h"
#include "cli/subscriber.h"

#include "redis/keys.h"

enum { MOVE_MESSAGES = 1024, MOVE_CHANGES = 8192, MOVE_AT_ONCE = 128 };

typedef struct move {
    const cli *c;
    query from;
    nodes to;
    subscriber changes_from, tracker; /* what changed comes over the first, by order of the second */
    char mark[LK_KEY_SIZE];           /* the key that holds the number of partitions */
    char recorded[24];                /* that number */
    char was[40], now[40];            /* what it says at the source, before and after this run has marked it */
    char name[17];                    /* of this run, beside the marks: another run removes what this one has copied */
    uint64_t partitions, keys, changed;
    uint64_t from_is, is[NODES_MOST],
        evicted[NODES_MOST];          /* which servers they were, and what had been evicted, at first */
    uint64_t expected;                /* how many keys there are, perhaps; 0: not known */
    size_t at_once;                   /* how many keys are copied in one piece: fewer, if they are large */
    bool found;                       /* is_empty's */
    lk_reply *message[MOVE_MESSAGES]; /* not copied yet */
    lk_reply *change[MOVE_CHANGES];   /* the keys that they name */
    size_t messages, changes;
    char **large; /* keys that are to be carried by pages */
    size_t larges;
    uint64_t names; /* so many of theirs were carried */
    int64_t paused_ms, held_ms, paused_for_ms;
    bool marked, ended; /* the source is marked; it has no instances any more */
    bool ours, other;   /* this run has marked it; another one has */
    char error[400];
} move;

/* Notes why it failed; what was noted first stays. False. */
bool move_fail(move *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Takes the reply. True: it is no error. */
bool move_good(move *m, lk_reply *reply, const char *what);

/* Writes at the source rest from now on, or go on resting. False: perhaps they did not rest all the time. */
bool move_hold_pause(move *m);

/* copy.c: keys. The partition of a key of the library's; -1: it is another key, or the one with the mark. */
int move_partition(const move *m, const lk_reply *key);
/* Every page of the keys under the prefix at that server. False: it could not be read, and that is noted; or `take` said so. */
bool move_each_page(move *m, query *p, const char *what,
                    bool (*take)(move *m, query *p, lk_reply *const *keys, size_t count));
bool move_track(move *m);    /* from now on Redis says which keys change */
bool move_all_keys(move *m); /* and those that change meanwhile */
bool move_catch_up(move *m); /* all that was written until now is copied, or noted as large */
bool move_follow(move *m);   /* what Redis has said until now */

/* large.c: sorted sets that are carried by pages. Takes them out of the list, and notes them. */
bool move_note_large(move *m, lk_reply **keys, size_t *count);
bool move_carry_large(move *m); /* all that are noted */
void move_forget_large(move *m);

/* ends.c: source and target, before and after. NULL: what the source's URL accepts, the target's accepts too. Else what is to be done, so
 * that no session becomes invalid. */
const char *move_misfit(const lk_config *from, const lk_config *to);
bool move_look_at_source(move *m);
bool move_look_at_target(move *m);
/* In the place of `was`. *unsure: it may have been written, also if it failed. */
bool move_write_mark(move *m, query *p, const char *what, const char *was, const char *text, bool *unsure);
bool move_open_target(move *m);
bool move_kept(move *m);                        /* the target has not lost what was copied, as far as can be told */
bool move_source_marked(move *m, bool *marked); /* does it still refuse instances? */
bool move_compare(move *m);                     /* both ends have the same, and the target's replicas too */

#endif

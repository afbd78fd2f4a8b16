/* See sequence.h. */
#include "revocation/sequence.h"

static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

uint64_t lk_sequence_top(const lk_sequence *s)
{
    return most(most(s->applied, s->heard), most(s->lacking, s->counted));
}

void lk_sequence_join(lk_sequence *s)
{
    if (lk_sequence_gap(s) || s->heard <= s->applied) return;
    s->applied = s->heard;
    s->mark = s->heard_mark;
}

bool lk_sequence_message(lk_sequence *s, uint64_t number, uint64_t mark, uint64_t *missed)
{
    uint64_t known = most(s->applied, s->heard);
    *missed = number > known ? number - known - 1 : 0;
    if (number <= s->heard) return false;
    if (number - 1 > s->heard) s->lacking = number - 1;
    s->heard = number;
    s->heard_mark = mark;
    lk_sequence_join(s);
    return true;
}

bool lk_sequence_count(lk_sequence *s, uint64_t number)
{
    bool forwards = number >= s->counted && number >= s->at_beat;
    if (forwards) s->counted = number;
    return forwards;
}

uint64_t lk_sequence_settle(lk_sequence *s)
{
    uint64_t known = most(s->applied, s->heard);
    if (s->counted <= known) return 0;
    s->lacking = s->heard = s->counted;
    s->heard_mark = 0;
    return s->counted - known;
}

bool lk_sequence_logged(lk_sequence *s, uint64_t number, uint64_t mark)
{
    if (number == s->applied) return !s->mark || s->mark == mark;
    if (number < s->applied || number - s->applied != 1) return false;
    s->applied = number;
    s->mark = mark;
    return true;
}

static void take(lk_sequence *s, uint64_t number)
{
    s->applied = number;
    s->mark = number == s->heard ? s->heard_mark : 0;
    if (s->replay == LK_REPLAY_ASKED) s->replay = LK_REPLAY_VOID;
}

void lk_sequence_skip(lk_sequence *s) { take(s, lk_sequence_top(s)); }

void lk_sequence_restart(lk_sequence *s, uint64_t number)
{
    s->lacking = s->heard = 0; /* what comes next through the subscription is not known */
    s->counted = number;
    take(s, number);
}

void lk_sequence_resubscribe(lk_sequence *s)
{
    s->heard = most(s->applied, s->heard);
    s->heard_mark = 0;
    s->replay = LK_REPLAY_NONE;
}

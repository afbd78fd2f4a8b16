/* See sequence.h. */
#include "revocation/sequence.h"

static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

uint64_t lk_sequence_top(const lk_sequence *s)
{
    return most(most(s->applied, s->received), most(s->missing, s->counted));
}

void lk_sequence_join(lk_sequence *s)
{
    if (lk_sequence_gap(s) || s->received <= s->applied) return;
    s->applied = s->received;
    s->mark = s->received_mark;
}

bool lk_sequence_message(lk_sequence *s, uint64_t number, uint64_t mark, uint64_t *missed)
{
    uint64_t known = most(s->applied, s->received);
    *missed = number > known ? number - known - 1 : 0;
    if (number <= s->received) return false;
    if (number - 1 > s->received) s->missing = number - 1;
    s->received = number;
    s->received_mark = mark;
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
    uint64_t known = most(s->applied, s->received);
    if (s->counted <= known) return 0;
    s->missing = s->received = s->counted;
    s->received_mark = 0;
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

static void receive_number(lk_sequence *s, uint64_t number)
{
    s->applied = number;
    s->mark = number == s->received ? s->received_mark : 0;
    if (s->replay == LK_REPLAY_ASKED) s->replay = LK_REPLAY_VOID;
}

void lk_sequence_skip(lk_sequence *s) { receive_number(s, lk_sequence_top(s)); }

void lk_sequence_restart(lk_sequence *s, uint64_t number)
{
    s->missing = s->received = 0; /* it is not known which number comes next through the subscription */
    s->counted = number;
    receive_number(s, number);
}

void lk_sequence_resubscribe(lk_sequence *s)
{
    s->received = most(s->applied, s->received);
    s->received_mark = 0;
    s->replay = LK_REPLAY_NONE;
}

/* SPDX-License-Identifier: MIT
 *
 * The truth about changes: a role is a number, so an answer says which change it comes from. Once a change was OK, what was
 * there before it is an old entry: guarantee B on that handle, and C everywhere.
 */
#include "chaos.h"
#include "truth_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define in truth_in

enum { CHANGES = 256 };
#define REMEMBERED_US (290 * SECOND)

static struct {
    struct change {
        unsigned number;
        uint64_t family, user;     /* user: of all that were made before; else 0 */
        int64_t began_us, over_us; /* FOREVER: it may still be done */
        int64_t token_us;          /* when the token was made by which it was changed; of all: NEVER */
        int64_t told_us;           /* it was OK; NEVER: it was not */
        int64_t lost_us;     /* since then it may have been lost: the handle that made it tells the server again */
        bool lost_under_way; /* then its announcement may have been lost with it, and the handle knows nothing of it */
        int machine;         /* on that handle; -1: that is closed */
    } change[CHANGES];
    unsigned count;
} all;

#define FOR_CHANGES(c)                                                                                                 \
    for (struct change *c = all.change; c < all.change + CHANGES; c++)                                                 \
        if (c->number)

void change_begin(void) { memset(&all, 0, sizeof all); }

void change_lost(void)
{
    FOR_CHANGES(c)
    {
        c->lost_us = w.now_us;
        c->lost_under_way |= !c->told_us;
    }
}

void change_restarted(const machine *m) { FOR_CHANGES(c) if (c->machine == m->index) c->machine = -1; }

unsigned truth_changes(const asking *a, bool every)
{
    struct change *c = &all.change[all.count++ % CHANGES];
    *c = (struct change){
        .number = all.count, .family = a->family, .began_us = w.now_us, .over_us = FOREVER, .machine = a->on->index};
    if (every) c->user = a->user;
    else if (truth_same(a)) c->token_us = a->about->created_us;
    return c->number;
}

static struct change *find(unsigned number)
{
    struct change *c = &all.change[(number - 1) % CHANGES];
    return number && c->number == number ? c : NULL;
}

void truth_changed(const asking *a, unsigned number, int status)
{
    struct change *c = find(number);
    trace("m%d changes %.8s to r%u: %d", a->on->index, a->token, number, status);
    totals.changed += !status;
    if (!c || status < 0) return;
    c->over_us = w.now_us;
    if (status || truth_astray(a)) return;
    c->told_us = w.now_us;
    if (!truth_same(a) || !chaos_changed()) return;
    truth_favour(a->about);
    truth_favour_later(a->about, 2 * SECOND + truth_bound_us() / 10); /* it counts from then on */
}

/* One that idled may be in no index of its user any more: a change of all the user's sessions does not find it. */
static bool concerns(const struct change *c, const known *s)
{
    return c->user ? c->user == s->user && s->born_us < c->began_us && !s->idled : c->family == s->family;
}

/* A loss of data took the session away: L1 may have it for up to the bound after that, and no such change finds it. If the
 * session was made a moment before data were replaced in place, no beat tells an instance so. */
static bool is_gone(const struct change *c, const known *s, const asking *a)
{
    bool before_a_beat = in.lost_us && a->began_us <= in.lost_us + truth_bound_us();
    return c->user && !truth_acting_holds(s) && (before_a_beat || s->unseen);
}

/* Its token was exchanged in the older data, before an instance could see that they are older: the server is told of the old one. */
static bool is_heir_of_loss(const struct change *c, const known *s)
{
    return s->heir_us > c->lost_us && s->heir_us <= c->lost_us + truth_bound_us();
}

/* The exchange that made the token which was changed is lost with the change: the server is told of that token, and does not know it. */
static bool is_undone(const struct change *c, const known *s)
{
    return c->token_us > s->created_us && !s->exchanged_us;
}

void change_judge_ok(const asking *a, const latchkey_entry *entry)
{
    const known *s = a->about;
    char role[sizeof entry->role + 1] = "";
    memcpy(role, entry->role, sizeof entry->role);
    unsigned number = *role == 'r' ? (unsigned)strtoul(role + 1, NULL, 10) : 0;
    const struct change *shown = find(number);
    int64_t over_us = shown ? shown->over_us : 0; /* none that is remembered: long ago */
    FOR_CHANGES(c)
    {
        if (!c->told_us || !concerns(c, s) || c->began_us <= over_us || c->number == number || is_gone(c, s, a))
            continue;
        bool here = c->machine == a->on->index && a->began_us > c->told_us;
        if (c->lost_us && (c->lost_under_way || is_heir_of_loss(c, s) || is_undone(c, s) || reason_came_again(s) ||
                           !here || a->began_us <= c->lost_us + truth_bound_us() ||
                           c->told_us < c->lost_us - REMEMBERED_US || memory_lost(c->machine, c->began_us)))
            continue;
        if ((here || a->began_us > c->told_us + truth_bound_us()) && !truth_excused(s, a))
            fail("%s: m%d admits %s with the role '%s', %.3f s after r%u was OK", here ? "B" : "C", a->on->index,
                 s->selector, role, (double)(a->began_us - c->told_us) / 1e6, c->number);
    }
}

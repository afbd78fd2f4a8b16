/* SPDX-License-Identifier: MIT
 *
 * See truth.h. What is outside of the promise is excused in one place, excused(), and counted.
 */
#include "truth_inside.h"

#include "base/clock.h"
#include "chaos.h"
#include "shards.h"
#include "hooks.h"
#include "sentinels.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REMEMBERED_US (290 * SECOND)
enum { UNSERVED_MOST = 8 };
#define SETTLED_US (10 * SECOND)

tally totals;

inside truth_in;
#define in truth_in

void truth_begin(const promise *p)
{
    memset(&in, 0, sizeof in);
    in.promise = *p;
    change_begin();
    left_begin();
}

known *truth_find(const char *selector)
{
    for (known *s = in.session; s < in.session + SESSIONS_MAX; s++)
        if (s->life && !memcmp(s->selector, selector, LATCHKEY_SELECTOR_LENGTH)) return s;
    return NULL;
}

known *truth_of_user(uint64_t user)
{
    known *found = NULL;
    unsigned seen = 0;
    FOR_SESSIONS(s)
    if (s->life && *s->token && s->user == user && !draw(++seen)) found = s;
    return found;
}

int truth_database(const known *s) { return !strncmp(s->key, "1/", 2); }

/* And no call ended all of them since it was made. */
bool truth_acting_holds(const known *s)
{
    return server_holds(server_place(s->key), s->key) && !truth_is_over(server_place(s->key), s->key);
}

int64_t truth_slack_us(void) { return MS + servers_clock_spread_us(); }

int64_t truth_unsure_us(void) { return in.promise.staleness_us / 4 + 10 * MS; }

bool truth_alive(const known *s)
{
    bool over = s->exchanged_us && w.now_us > s->over_us - truth_unsure_us() - servers_clock_spread_us();
    return truth_acting_holds(s) && !over;
}

int64_t truth_bound_us(void) { return in.promise.staleness_us + in.promise.grace_us + LK_CLOCK_TICK_MS * MS + MS; }

known *truth_heir(const known *s)
{
    FOR_SESSIONS(other)
    if (other->life && other->family == s->family && !other->exchanged_us && other->created_us > s->created_us)
        return other;
    return NULL;
}

/* ------------------------------------------------------------------------------------- told by the servers -- */

/* The place of a session whose token is lost, or that has been dead for long enough to be of no interest, or
 * else of one that lives: it is not asked about any more. */
known *truth_place(const known *but)
{
    known *best = NULL;
    int64_t least = INT64_MAX;
    for (known *s = in.session; s < in.session + SESSIONS_MAX; s++) {
        int64_t dead = s->deleted_us && s->deleted_us < s->until_us ? s->deleted_us : s->until_us;
        int64_t use = dead < w.now_us ? dead + 4 * truth_bound_us() : w.now_us + draw_between(0, 1000);
        if (!s->life || (!*s->token && s->created_us < w.now_us - SECOND)) use = 0;
        if (use >= least || s == but) continue;
        least = use;
        best = s;
    }
    return best;
}

/* Again, perhaps: then what was not seen before is not seen now. */
static void unmade(known *s)
{
    if (!s->unmade_us) s->unseen = s->created_us > w.now_us - truth_bound_us();
    s->unmade_us = w.now_us;
}

/* Somewhere, by a revocation that was PENDING at least. */
static bool is_denied(const known *s)
{
    bool denied = false;
    for (int m = 0; m < w.machine_count; m++) denied |= s->on[m].denied_us != NEVER;
    return denied;
}

void truth_acting_changed(int server, bool failover, int64_t replaced_us)
{
    bool in_place = replaced_us != FOREVER;
    bool again = in_place && in.lost_us && w.now_us < in.lost_us + truth_bound_us();
    int down = 0;
    in.lost_us = w.now_us;
    in.service_until_us = NEVER; /* this is in the way: it is a failover that asks for service again */
    for (int i = 0; i < server_count(); i++) down += !server_up(i);
    for (known *s = in.session; s < in.session + SESSIONS_MAX; s++) {
        /* Also where it is not there: it was made and deleted since, and in the data that it has now neither happened. */
        bool here = s->life && server_place(s->key) == server;
        if (here && s->deleted_us > replaced_us) s->deleted_us = NEVER, in.favourite[truth_database(s)] = s;
        if (in_place && here && s->created_us > replaced_us && !truth_acting_holds(s)) unmade(s);
        if (!s->life || !truth_acting_holds(s)) continue;
        s->deleted_us = NEVER;
        if ((!s->ended_us && !is_denied(s)) || s->lost_us) continue;
        s->lost_us = w.now_us;
        s->came_back = true;
        s->lost_twice = again;
        s->lost_in_place = in_place;
        if (chance(300000)) in.favourite[truth_database(s)] = s; /* they try everything with it */
        trace("%.8s was ended, and is there again", s->selector);
        if (s->ended_us && failover && in.promise.durability && down <= 1)
            fail("C: the revocation of %s was OK with durability=%d, and a failover lost it", s->selector,
                 in.promise.durability);
    }
    life_acting_changed(failover && down <= 1);
    reason_acting_changed();
    if (!failover || !in.promise.durability || down > 1) change_lost();
}

/* ---------------------------------------------------------------------------------------- told by the hooks -- */

void truth_remembered(const machine *m, const char *selector)
{
    known *s = truth_find(selector);
    memory_takes(m, selector);
    if (s) s->on[m->index].heard_us = w.now_us;
}

void truth_purged(const machine *m, const char *selector, uint64_t begun)
{
    known *s = truth_find(selector);
    if (!s) return;
    s->on[m->index].purge_begun = begun;
    s->on[m->index].purge_done = ++w.step;
}

void truth_emptied(const machine *m, uint64_t begun)
{
    in.empty_begun[m->index] = begun;
    in.empty_done[m->index] = ++w.step;
}

void truth_filled(const machine *m, const char *selector, uint64_t asked, uint64_t begun)
{
    const known *s = truth_find(selector);
    int i = m->index;
    if (s && asked < s->on[i].purge_begun && s->on[i].purge_done < begun)
        fail("D: m%d fills L1 with %s, asked for before its purge", i, selector);
    if (asked < in.empty_begun[i] && in.empty_done[i] < begun)
        fail("D: m%d fills L1 with %.20s, asked for before L1 was emptied", i, selector);
}

void truth_renewed(const machine *m, const char *selector, uint64_t asked, uint64_t begun, bool vouched)
{
    const known *s = truth_find(selector);
    int i = m->index;
    totals.renewed++;
    if (!vouched) fail("C: m%d renews %.20s by the answer of a server without the lease", i, selector);
    if (s && asked < s->on[i].purge_begun && s->on[i].purge_done < begun)
        fail("D: m%d renews %s in L1 by a touch from before its purge", i, selector);
    if (asked < in.empty_begun[i] && in.empty_done[i] < begun)
        fail("D: m%d renews %.20s by a touch from before L1 was emptied", i, selector);
}

/* -------------------------------------------------------------------------------------- told by the clients -- */

known *truth_any(bool ended)
{
    int database = task_machine()->database;
    known *found = in.favourite[database];
    unsigned seen = 0;
    /* All clients ask about one session for a while, since calls meet only there. */
    if (chance(30000)) in.favourite[database] = NULL;
    else if (found && *found->token && truth_database(found) == database && chance(400000)) return found;
    found = NULL;
    for (known *s = in.session; s < in.session + SESSIONS_MAX; s++) {
        if (!s->life || !*s->token || truth_database(s) != database || s->until_us < w.now_us - 60 * SECOND) continue;
        bool dead = s->ended_us || s->deleted_us || s->until_us < w.now_us;
        if (dead != ended && !(ended && s->lost_us)) continue;
        if (!draw(++seen)) found = s;
    }
    if (!in.favourite[database]) in.favourite[database] = found;
    return found;
}

void truth_favour(known *s) { in.favourite[truth_database(s)] = s; }

static void favour_again(void *context, uint64_t life)
{
    known *s = context;
    if (s->life == life) truth_favour(s);
}

void truth_favour_later(known *s, int64_t us) { at(w.now_us + truth_bound_us() + us, favour_again, s, s->life); }

void truth_created(const char *token, uint64_t user)
{
    known *s = truth_find(token);
    if (!s) return;
    snprintf(s->token, sizeof s->token, "%s", token);
    s->user = user;
}

asking truth_asks(machine *m, known *about)
{
    asking a = {.on = m,
                .life = about->life,
                .about = about,
                .user = about->user,
                .family = about->family,
                .began_us = w.now_us,
                .paused_us = m->paused_us};
    memcpy(a.token, about->token, sizeof a.token);
    return a;
}

asking truth_asks_end(machine *m, known *about)
{
    asking a = truth_asks(m, about);
    reason_end_asked(&a);
    return a;
}

bool truth_same(const asking *a) { return a->about->life == a->life; }

/* Did this process make or hear of the revocation, lately enough to assert it again? */
static bool knows(const known *s, int m)
{
    int64_t at = s->on[m].heard_us > s->on[m].made_us ? s->on[m].heard_us : s->on[m].made_us;
    return at && at > s->lost_us - REMEMBERED_US && !memory_lost(m, s->on[m].heard_us);
}

bool truth_astray(const asking *a) { return a->on->astray_us && a->on->astray_us + truth_bound_us() >= a->began_us; }

/* What no configuration of this kind promises:
 *  - the acting primary lost an acknowledged revocation (no other server had it: durability was 0, or the disk was behind),
 *    and this process never knew of it; until an instance that knows asserts it again;
 *    or, where its data were replaced under it, until the bound after that;
 *  - durability is 0 and this process is connected to a primary that was deposed and does not know it yet, so that
 *    revocations go elsewhere; until its lease of that one is over. */
bool truth_excused(const known *s, const asking *a)
{
    bool unseen = s->lost_in_place && a->began_us <= s->lost_us + truth_bound_us(); /* a beat may see it until then */
    bool lost = s->lost_us && (unseen || !knows(s, a->on->index));
    bool astray = !in.promise.durability && !sentinels_there() && truth_astray(a);
    totals.excused += lost || astray;
    return lost || astray;
}

static bool same_partition(const known *a, const known *b)
{
    size_t base = strcspn(a->key, "}");
    return !strncmp(a->key, b->key, base + 1);
}

/* A lease of a beat that was sent after a loss: before it, the server was told of what this process knew. */
static void judge_told(const asking *a)
{
    int64_t long_ago = a->began_us - truth_bound_us();
    int m = a->on->index;
    FOR_SESSIONS(s)
    {
        if (!s->life || !s->lost_us || s->lost_twice || s->lost_us > long_ago || !same_partition(s, a->about) ||
            !knows(s, m))
            continue;
        if (s->on[m].heard_us > long_ago || s->on[m].made_us > long_ago || truth_astray(a)) continue;
        if (truth_acting_holds(s))
            fail("C: m%d has a lease, and has not told the server that %s was ended, %.3f s after that was lost", m,
                 s->selector, (double)(a->began_us - s->lost_us) / 1e6);
    }
}

static void judge_ok(const asking *a, const latchkey_entry *entry)
{
    const known *s = a->about;
    int m = a->on->index;
    int64_t dead = s->ended_us, slack = truth_slack_us();
    if (!dead || (s->deleted_us && s->deleted_us < dead)) dead = s->deleted_us;
    if (entry && entry->user_id != s->user) fail("I: m%d asked for %s and got another's entry", m, s->selector);
    bool forgot = s->came_back && memory_lost(m, s->on[m].heard_us); /* that it was ended */
    if (s->on[m].denied_us && s->on[m].denied_us < a->began_us && !forgot && !truth_excused(s, a))
        fail("B: m%d admits %s, %.3f s after revoke returned here", m, s->selector,
             (double)(a->began_us - s->on[m].denied_us) / 1e6);
    if (dead && a->began_us > dead + truth_bound_us() && !truth_excused(s, a))
        fail("C: m%d admits %s, %.3f s after its end; the bound is %.3f s", m, s->selector,
             (double)(a->began_us - dead) / 1e6, (double)truth_bound_us() / 1e6);
    /* L1 is emptied by a beat, or by the one after it if another instance sees first that the data are others. */
    if (s->unmade_us && !s->unseen && a->began_us > s->unmade_us + 2 * truth_bound_us())
        fail("C: m%d admits %s, %.3f s after data came back that do not have it", m, s->selector,
             (double)(a->began_us - s->unmade_us) / 1e6);
    /* By the last look at a clock: what was late when it was looked at must not be admitted. */
    int64_t looked_us = a->looked_us ? a->looked_us : task_notes()->clock_us;
    if (looked_us > s->until_us + slack)
        fail("H: m%d admits %s, %.3f s after it expired", m, s->selector, (double)(looked_us - s->until_us) / 1e6);
    if (looked_us > s->absolute_us + slack)
        fail("H: m%d admits %s, %.3f s after its absolute expiry", m, s->selector,
             (double)(looked_us - s->absolute_us) / 1e6);
    shards_note_ok(s->key, a->began_us - truth_bound_us());
    /* By Redis' own clock, some time after it was set. */
    int64_t late_us =
        server_clock_ms(server_place(s->key)) * MS - (w.now_us - looked_us) - (entry ? entry->expires_at_ms * MS : 0);
    bool same_clock =
        !servers_clock_spread_us() || shards_moved_us(s->key) < a->began_us - SETTLED_US - truth_bound_us();
    if (entry && truth_calm(a) && same_clock && late_us > truth_unsure_us())
        fail("H: m%d admits %s, %.3f s after its absolute expiry by Redis' clock", m, s->selector,
             (double)late_us / 1e6);
}

bool truth_calm(const asking *a)
{
    int64_t long_ago = a->began_us - SETTLED_US - truth_bound_us();
    return servers_calm_since_us() < long_ago && a->on->route_us < long_ago && a->on->astray_us < long_ago &&
           (a->on->route == server_acting() || shards_there());
}

void truth_favour_over(int64_t set_us, int64_t forward_us)
{
    unsigned seen = 0;
    FOR_SESSIONS(s)
    if (s->life && *s->token && s->created_us < set_us && !s->ended_us && !s->deleted_us && !s->exchanged_us &&
        s->absolute_us > w.now_us + SECOND && s->absolute_us < w.now_us + forward_us && !draw(++seen))
        truth_favour(s);
}

void truth_favour_lost(void)
{
    unsigned seen = 0;
    FOR_SESSIONS(s)
    if (s->life && *s->token && (s->lost_us || (s->unmade_us && !s->unseen)) && !draw(++seen)) truth_favour(s);
}

void truth_favour_denied(void)
{
    FOR_SESSIONS(s)
    if (s->life && *s->token && !s->ended_us && is_denied(s) && truth_alive(s)) truth_favour(s);
}

void truth_clock_set(void)
{
    FOR_SESSIONS(s)
    if (s->life && !s->deleted_us && !server_holds(server_place(s->key), s->key)) s->idled = true;
}

void truth_expects_service(int64_t from_us, int64_t until_us)
{
    in.service_from_us = from_us;
    in.service_until_us = until_us;
}

static bool must_serve(const asking *a)
{
    return w.faults && in.service_from_us && a->began_us >= in.service_from_us && w.now_us < in.service_until_us &&
           a->on->paused_us == a->paused_us && !in.promise.durability;
}

/* One call for each old connection may find out; then they are served. */
static void judge_service(const asking *a, int status)
{
    unsigned *unserved = &in.unserved[a->on->index];
    if (status != LATCHKEY_UNAVAILABLE || !must_serve(a)) *unserved = 0;
    else if (++*unserved > UNSERVED_MOST)
        fail("m%d is UNAVAILABLE %u times one after the other, last about %s, %.3f s after it should be served",
             a->on->index, *unserved, a->about->selector, (double)(a->began_us - in.service_from_us) / 1e6);
}

/* In a cluster the session may be on one node, and what the foreign token means on another, which lost data. */
bool truth_unnamed(const asking *a) { return shards_there() && in.lost_us && !strncmp(a->token, "s:", 2); }

static void judge_no(const asking *a, int status)
{
    const known *s = a->about;
    if (truth_unnamed(a) || !truth_calm(a) || s->created_us >= a->began_us || s->lost_us || s->again) return;
    if (status == LATCHKEY_NOT_FOUND && truth_alive(s) && !s->on[a->on->index].asked_us)
        fail("A: m%d says NOT_FOUND of %s, which is alive", a->on->index, s->selector);
    if (status == LATCHKEY_EXPIRED && !servers_clock_spread_us() && w.now_us < s->absolute_us - truth_unsure_us())
        fail("A: m%d says EXPIRED of %s, %.3f s before its absolute expiry", a->on->index, s->selector,
             (double)(s->absolute_us - w.now_us) / 1e6);
}

void truth_in_time(const asking *a, const char *what)
{
    int64_t took = w.now_us - a->began_us - (a->on->paused_us - a->paused_us), allowed = in.promise.deadline_us;
    /* For every step of the call that the scheduler may hold up, of this task and of those whose locks it awaits. */
    if (took > allowed + 150 * MS)
        fail("G: %s took %.3f s on m%d; the deadline is %.3f s", what, (double)took / 1e6, a->on->index,
             (double)allowed / 1e6);
}

/* What lay unread for too long may be asked anew, twice, and has its time again then. */
void truth_reaped_in_time(const asking *a, int64_t gap_us, bool answered)
{
    int64_t took = w.now_us - a->began_us - (a->on->paused_us - a->paused_us), allowed = in.promise.deadline_us;
    totals.reaped_late += answered && took > allowed + MS;
    if (took > 3 * (allowed + gap_us) + 150 * MS)
        fail("G: %.8s was submitted %.3f s ago on m%d, and is %s; the deadline is %.3f s", a->token, (double)took / 1e6,
             a->on->index, answered ? "answered now" : "not answered yet", (double)allowed / 1e6);
}

static void judge(const asking *no, const asking *ok, int status, const latchkey_entry *entry)
{
    trace("m%d %.8s %d", no->on->index, no->token, status);
    totals.validates[status + 8]++;
    if (!truth_same(no)) return;
    if (status == LATCHKEY_OK) {
        judge_ok(ok, entry);
        judge_told(ok);
        life_judge_ok(ok);
        if (entry) change_judge_ok(ok, entry);
    } else if (status > 0) {
        judge_no(no, status);
        life_judge_no(no, status);
    }
    judge_service(no, status);
    if (status == LATCHKEY_CORRUPT || status == LATCHKEY_CONFIG || status == LATCHKEY_MALFORMED)
        fail("A: m%d answers %d about %s", no->on->index, status, no->about->selector);
}

void truth_answer(const asking *a, int status, const latchkey_entry *entry) { judge(a, a, status, entry); }

void truth_reaped(const asking *submitted, int64_t reap_us, int status, const latchkey_entry *entry)
{
    asking reaped = *submitted;
    reaped.began_us = reaped.looked_us = reap_us;
    judge(submitted, &reaped, status, entry);
}

void truth_revoked(const asking *a, int status)
{
    trace("m%d revokes %.8s %d", a->on->index, a->token, status);
    totals.revokes += status == LATCHKEY_OK;
    known *s = a->about;
    if (!truth_same(a) || (status != LATCHKEY_OK && status != LATCHKEY_PENDING)) return;
    if (!s->on[a->on->index].denied_us) s->on[a->on->index].denied_us = w.now_us;
    if (status == LATCHKEY_OK) life_ended(s, a);
    if (status == LATCHKEY_OK) chaos_ended(a->on, s->key);
}

void truth_restarted(const machine *m)
{
    for (known *s = in.session; s < in.session + SESSIONS_MAX; s++) memset(&s->on[m->index], 0, sizeof s->on[0]);
    in.empty_begun[m->index] = in.empty_done[m->index] = 0;
    change_restarted(m);
    left_restarted(m);
    memory_restarted(m);
}

void truth_at_the_end(void)
{
    for (known *s = in.session; s < in.session + SESSIONS_MAX; s++) {
        bool known_somewhere = false;
        for (int m = 0; m < w.machine_count; m++) known_somewhere |= knows(s, m);
        if (s->life && !s->lost_us && is_denied(s) && truth_alive(s) && !s->exchanged_us)
            fail("C: %s was revoked, by a call that was OK or PENDING, and is alive", s->selector);
        if (s->life && s->lost_us && !s->lost_twice && known_somewhere && truth_acting_holds(s))
            fail("C: %s was ended and lost; an instance knows of it, and none asserted it again", s->selector);
    }
    left_judge();
}

/* SPDX-License-Identifier: MIT
 *
 * The truth about the rest of a session's life: exchanges of its token, the ends of all of a user's sessions, logins that
 * take several steps, lists and limits; and the judgement of the calls that do these.
 */
#include "truth_inside.h"

#include "chaos.h"
#include "shards.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define in truth_in

static bool family_of(const known *s, const known *other) { return other->life && other->family == s->family; }

/* ---------------------------------------------------------------------------------- as the servers see it -- */

static user_known *find_user(uint64_t id)
{
    for (user_known *u = in.user; u < in.user + USERS_MAX; u++)
        if (u->id == id) return u;
    return NULL;
}

static user_known *get_user(uint64_t id)
{
    user_known *u = find_user(id);
    if (u) return u;
    u = &in.user[in.users++ % USERS_MAX];
    *u = (user_known){.id = id};
    return u;
}

bool truth_swept(uint64_t user) { return find_user(user) || in.users >= USERS_MAX; }

void life_moved(uint64_t user, const char *key, int server)
{
    user_known *u = get_user(user);
    snprintf(u->key, sizeof u->key, "%s", key);
    u->tried_us = w.now_us;
    if (!server_is_acting(server)) return;
    u->moved_us = w.now_us;
    u->generation = server_number(server, u->key);
}

static void forget_exchange(known *s, bool promised)
{
    if (!s->exchanged_us || !truth_acting_holds(s) || truth_is_rotated(server_place(s->key), s->key)) return;
    trace("the exchange of %.8s is undone", s->selector);
    if (promised && s->exchange_told && in.promise.durability)
        fail("C: the exchange of %s was OK with durability=%d, and a failover lost it", s->selector,
             in.promise.durability);
    s->exchanged_us = s->over_us = s->reused_us = NEVER;
    s->exchange_told = false;
    for (int m = 0; m < MACHINES_MAX; m++) s->on[m].exchanged_us = NEVER;
}

void life_acting_changed(bool promised)
{
    FOR_SESSIONS(s)
    if (s->life) forget_exchange(s, promised);
    for (user_known *u = in.user; u < in.user + USERS_MAX; u++) {
        if (!u->moved_us || server_number(server_place(u->key), u->key) >= u->generation) continue;
        /* No WAIT is sent for keys that a slot's move brings. */
        bool came = shards_moved_us(u->key) > w.now_us - 10 * truth_bound_us();
        if (promised && !came && u->moved_told_us >= u->moved_us && in.promise.durability)
            fail("C: revoke_user was OK for %" PRIu64 " with durability=%d, and a failover lost it", u->id,
                 in.promise.durability);
        u->moved_us = u->moved_told_us = u->swept_us = NEVER;
    }
    if (!promised) in.everyone_us[0] = in.everyone_us[1] = NEVER;
}

/* ------------------------------------------------------------------------------------------------- answers -- */

/* An old token: until its grace ends, or, if this process was not told, until the bound after the exchange. */
static void judge_old(const asking *a)
{
    const known *s = a->about;
    int m = a->on->index;
    bool told = s->on[m].exchanged_us && s->on[m].exchanged_us < a->began_us;
    int64_t told_us = told ? s->exchanged_us : s->exchanged_us + truth_bound_us();
    int64_t over_us = s->over_us + (s->over_us > s->exchanged_us ? truth_unsure_us() : 0); /* by its idea of the time */
    int64_t until_us = (told_us > over_us ? told_us : over_us) + truth_slack_us();
    if (a->began_us > until_us && !truth_excused(s, a))
        fail("C: m%d admits %s, which was exchanged %.3f s ago, %.3f s after its grace", m, s->selector,
             (double)(a->began_us - s->exchanged_us) / 1e6, (double)(a->began_us - s->over_us) / 1e6);
}

void life_judge_ok(const asking *a)
{
    const known *s = a->about;
    if (s->exchanged_us) judge_old(a);
    if (s->exchanged_us || s->lost_us || !truth_calm(a)) return;
    FOR_SESSIONS(old)
    if (family_of(s, old) && old->reused_us && old->reused_us < a->began_us - truth_bound_us() - 10 * SECOND)
        fail("reuse: m%d admits %s; %s, which was exchanged for it, was refused %.3f s ago", a->on->index, s->selector,
             old->selector, (double)(a->began_us - old->reused_us) / 1e6);
}

/* Who shows an old token after its grace ends its session, if the link has to do it a moment later. */
void life_judge_no(const asking *a, int status)
{
    known *s = a->about;
    const known *heir = s->exchanged_us && status == LATCHKEY_NOT_FOUND ? truth_heir(s) : NULL;
    if (!heir || a->began_us < s->over_us + truth_slack_us() || !truth_acting_holds(s) || !truth_acting_holds(heir) ||
        s->on[a->on->index].asked_us || s->lost_us || s->reused_us)
        return;
    totals.reuses++;
    s->reused_us = w.now_us;
}

/* --------------------------------------------------------------------------------------------------- ends -- */

static bool ended_by(const known *s, const asking *a)
{
    return s->deleted_us >= a->began_us && s->deleted_by == a->on->index;
}

/* A call that ends it returned OK on that machine. */
void life_ended_here(known *s, const asking *a)
{
    int m = a->on->index;
    if (truth_alive(s)) {
        if (in.promise.durability && truth_astray(a))
            fail("C: a deposed primary made an end of %s OK, with durability=%d", s->selector, in.promise.durability);
        if (servers_calm_since_us() < a->began_us && !truth_astray(a) && !s->idled)
            fail("C: m%d was told that %s has ended, and it has not", m, s->selector);
        if (!s->lost_us) s->lost_us = w.now_us; /* it was OK, and not where it counts */
        s->came_back = true;
    }
    if (!s->on[m].denied_us) s->on[m].denied_us = w.now_us;
    if (ended_by(s, a)) s->on[m].made_us = w.now_us;
    if (!s->ended_us) s->ended_us = w.now_us;
}

/* Those of its family that lived until then; what others ended before is theirs to promise. */
static void family_ended(const known *s, const asking *a, int64_t before_us)
{
    FOR_SESSIONS(other)
    if (other != s && family_of(s, other) && other->created_us < before_us &&
        (ended_by(other, a) || truth_alive(other)))
        life_ended_here(other, a);
}

void life_ended(known *s, const asking *a)
{
    s->on[a->on->index].made_us = w.now_us;
    life_ended_here(s, a);
    if (!s->lost_us) family_ended(s, a, FOREVER);
}

void truth_named_revoked(const asking *a, int status)
{
    trace("m%d revokes by name %.8s %d", a->on->index, a->token, status);
    totals.revokes += status == LATCHKEY_OK;
    if (!truth_same(a)) return;
    if (status == LATCHKEY_OK) life_ended(a->about, a);
    else if (status > 0 && !a->about->exchanged_us) truth_answer(a, status, NULL);
}

/* Of one database, which is all that the machine knows. */
asking truth_asks_everyone(machine *m, known *about) { return truth_asks(m, about); }

void truth_everyone_revoked(const asking *a, int status)
{
    trace("m%d ends all sessions: %d", a->on->index, status);
    if (status != LATCHKEY_OK) return;
    totals.everyone++;
    chaos_all_ended();
    int database = a->on->database;
    if (!truth_astray(a)) in.everyone_from_us[database] = a->began_us, in.everyone_us[database] = w.now_us;
    FOR_SESSIONS(s)
    if (s->life && truth_database(s) == database && s->created_us < a->began_us && (s->deleted_us || truth_alive(s)))
        life_ended_here(s, a);
}

asking truth_asks_all(machine *m, known *about, known *keep)
{
    asking a = truth_asks(m, about);
    get_user(a.user);
    if (keep && keep->user == a.user) {
        a.kept = keep->family;
        a.keeps_life = keep->life;
        if (!in.sweeping && !keep->exchanged_us && truth_acting_holds(keep)) a.keeps = keep;
    }
    a.sweeps = ++in.sweeps;
    in.sweeping++;
    return a;
}

/* No other call ended all of the user's sessions, and yet the one that was to be kept is gone by such a call. */
static void judge_kept(const asking *a, const user_known *u)
{
    const known *s = a->keeps;
    if (!s || s->life != a->keeps_life || in.sweeps != a->sweeps || u->unsure) return;
    if (s->exchanged_us && w.now_us >= s->over_us) return; /* shown after its grace, it spares no session */
    totals.kept += !s->deleted_us;
    if (s->deleted_us >= a->began_us && s->deleted_by_sweep)
        fail("revoke_user: m%d was to keep %s, and ended it", a->on->index, s->selector);
}

void truth_user_revoked(const asking *a, int status)
{
    user_known *u = get_user(a->user);
    trace("m%d ends all of user %d but family %d: %d", a->on->index, (int)a->user, (int)a->kept, status);
    in.sweeping--;
    u->unsure |= status != LATCHKEY_OK;
    if (status != LATCHKEY_OK) return;
    totals.users_ended++;
    judge_kept(a, u);
    if (u->moved_us) u->moved_told_us = w.now_us;
    if (!truth_astray(a)) u->swept_from_us = a->began_us, u->swept_us = w.now_us;
    FOR_SESSIONS(s)
    if (s->life && s->user == a->user && s->created_us < a->began_us && s->family != a->kept &&
        (s->deleted_us || truth_alive(s)))
        life_ended_here(s, a);
}

/* ------------------------------------------------------------------------------------------------ exchanges -- */

void truth_rotated(const asking *a, int status, const char *new_token)
{
    known *old = a->about, *made = status ? NULL : truth_find(new_token);
    trace("m%d exchanges %.8s for %.8s %d", a->on->index, a->token, new_token, status);
    totals.exchanges += !status;
    if (!truth_same(a)) return;
    if (status > 0 && status != LATCHKEY_REFUSED) truth_answer(a, status, NULL);
    if (status == LATCHKEY_REFUSED && !old->exchanged_us && truth_calm(a))
        fail("A: m%d says that %s was exchanged already", a->on->index, old->selector);
    if (status || !made) return;
    snprintf(made->token, sizeof made->token, "%s", new_token);
    if (!old->exchanged_us) { /* by a deposed primary, or that was lost */
        if (in.promise.durability && truth_astray(a))
            fail("C: a deposed primary made an exchange OK, with durability=%d", in.promise.durability);
        return;
    }
    if (!in.promise.durability && truth_astray(a)) return; /* it may be a second one, by a deposed primary */
    if (made->created_us < old->exchanged_us) return; /* one that was lost, and the token exchanged once more since */
    if (old->exchange_told) fail("m%d exchanges %s, which was exchanged already", a->on->index, old->selector);
    old->exchange_told = true;
    old->on[a->on->index].exchanged_us = w.now_us;
    if (old->over_us > old->exchanged_us) return;
    life_ended_here(old, a);
    family_ended(old, a, old->created_us);
}

/* -------------------------------------------------------------------------------------------------- logins -- */

/* Its user has no other session, so it is known by that. */
void truth_imported(const asking *a, int status, uint64_t user, const char *foreign)
{
    (void)a;
    totals.imported += !status;
    FOR_SESSIONS(s)
    {
        if (status || !s->life || s->user != user || *s->token) continue;
        snprintf(s->token, sizeof s->token, "%s", foreign);
        keys_not_again(s, false);
    }
}

void truth_login(const asking *read, int64_t read_us, int64_t create_us, int status, const char *token)
{
    int database = read->on->database;
    const user_known *u = find_user(read->user);
    const known *s = status ? NULL : truth_find(token);
    trace("m%d logs user %d in: %d", read->on->index, (int)read->user, status);
    totals.logins_refused += status == LATCHKEY_REFUSED;
    /* Where data were lost since, the generation that was read may have come again. */
    if (!status && s && u && u->swept_us && u->swept_from_us > read_us && u->swept_us < create_us &&
        read_us > in.lost_us && truth_acting_holds(s))
        fail("revoke_user: m%d makes %s for a login that began before all sessions of the user were ended",
             read->on->index, s->selector);
    if (!status && s && in.everyone_us[database] && in.everyone_from_us[database] > read_us &&
        in.everyone_us[database] < create_us && truth_acting_holds(s))
        fail("revoke_everyone: m%d makes %s for a login that began before", read->on->index, s->selector);
    if (status == LATCHKEY_REFUSED && in.everyone_tried_us[database] < read->began_us && (!u || !u->unsure) &&
        (!u || u->tried_us < read->began_us) && truth_calm(read) && in.users < USERS_MAX)
        fail("A: m%d refuses a login of user %" PRIu64 ", whose sessions were not ended", read->on->index, read->user);
}

/* --------------------------------------------------------------------------------------------------- lists -- */

static bool lists(const latchkey_session_info *infos, size_t count, const char *selector)
{
    size_t i = 0;
    while (i < count && memcmp(infos[i].selector, selector, LATCHKEY_SELECTOR_LENGTH)) i++;
    return i < count;
}

static void judge_listed(const asking *a, const latchkey_session_info *info)
{
    const known *s = truth_find(info->selector);
    if (!s) return;
    int64_t dead = s->deleted_us && (!s->ended_us || s->deleted_us < s->ended_us) ? s->deleted_us : s->ended_us;
    if (!dead) dead = s->exchanged_us;
    if (s->user != a->user) fail("I: m%d lists %s, which is another user's", a->on->index, s->selector);
    if (dead && a->began_us > dead + truth_bound_us() && !truth_excused(s, a))
        fail("C: m%d lists %s, %.3f s after its end", a->on->index, s->selector, (double)(a->began_us - dead) / 1e6);
    if (a->began_us > s->until_us + truth_slack_us())
        fail("H: m%d lists %s, %.3f s after it expired", a->on->index, s->selector,
             (double)(a->began_us - s->until_us) / 1e6);
    bool asks = a->family == s->family, gone = !truth_same(a) || a->about->deleted_us || !truth_acting_holds(a->about);
    if (truth_calm(a) && asks != (bool)info->current && !gone && !truth_unnamed(a) && s->created_us < a->began_us &&
        !s->exchanged_us)
        fail("sessions: m%d lists %s as %s that asks, which is %.20s", a->on->index, s->selector,
             info->current ? "the one" : "none", a->token);
}

void truth_listed(const asking *a, const latchkey_session_info *infos, size_t count, size_t total)
{
    size_t listed = 0;
    totals.lists++;
    while (listed < count && infos[listed].selector[0]) judge_listed(a, &infos[listed++]);
    totals.listed += listed;
    if (listed != (total < count ? total : count))
        fail("sessions: m%d lists %d of %d", a->on->index, (int)listed, (int)total);
    if (!truth_calm(a) || total > count || servers_clock_spread_us()) return;
    FOR_SESSIONS(s)
    if (s->life && s->user == a->user && s->created_us < a->began_us && !s->exchanged_us && truth_alive(s) &&
        !s->lost_us && !s->again && !s->on[a->on->index].asked_us && !lists(infos, listed, s->selector))
        fail("A: m%d does not list %s, which is alive", a->on->index, s->selector);
}

/* SPDX-License-Identifier: MIT
 *
 * The link to a node of a cluster whose slots come and go at random, with messages that are lost, connections that break, and
 * maps that come late or are wrong: no partition gets a lease before everything that was revoked in it, before the beat was
 * sent, was purged from L1, or L1 emptied of it. (Guarantee C.)
 */
#include "redis_model.h"

#include <stdio.h>
#include <string.h>

enum { PARTITIONS = 5, STEPS = 1500, WORLDS = 60, OPEN_MAX = 4096 };

/* HERE: the node has the slot. MOVING: it does not have all of its keys. AWAY: another node has it, and what is revoked
 * there is not announced here; the numbers and the log come back with the slot. */
enum place { HERE, MOVING, AWAY };

static struct world {
    redis_model *m;
    uint64_t random;
    enum place place[PARTITIONS];
    unsigned sets[2][PARTITIONS], set;
    size_t served; /* the size of the set that the link serves */
    unsigned made;
    struct {
        unsigned partition;
        char selector[24];
        int64_t at_ms;
    } open[OPEN_MAX]; /* revocations that L1 does not know of */
    size_t count;
    int64_t ended_ms[PARTITIONS]; /* all of a partition were ended up to then; 0: never */
    void (*lease)(void *, lk_partitions, int64_t, uint64_t, int64_t);
    void (*empty)(void *, lk_partitions);
    void (*purge)(void *, const char *);
} w;

static unsigned changes; /* of the set, on a link that lived on, in all worlds */

static unsigned below(unsigned n)
{
    w.random = w.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(w.random >> 33) % n;
}

static void forget(lk_partitions of, const char *selector)
{
    size_t kept = 0;
    for (size_t i = 0; i < w.count; i++) {
        bool gone = selector ? strncmp(w.open[i].selector, selector, LATCHKEY_SELECTOR_LENGTH) == 0
                             : lk_partitions_have(of, w.open[i].partition);
        if (!gone) w.open[kept++] = w.open[i];
    }
    w.count = kept;
}

static void on_purge(void *context, const char *selector)
{
    forget((lk_partitions){0}, selector);
    w.purge(context, selector);
}

static void on_empty(void *context, lk_partitions of)
{
    forget(of, NULL);
    w.empty(context, of);
}

static void on_lease(void *context, lk_partitions of, int64_t sent_ms, uint64_t incarnation, int64_t ahead_us)
{
    for (size_t i = 0; i < of.count; i++) {
        unsigned p = of.at[i];
        assert_true(lk_partitions_have(w.m->link.partitions, p));
        if (w.ended_ms[p] < sent_ms && lk_cutoffs_known(w.m->link.cutoffs, p) < w.ended_ms[p])
            fail_msg("partition %u: the cut-off of %d ms is not known, and the beat is of %d ms", p, (int)w.ended_ms[p],
                     (int)sent_ms);
        for (size_t k = 0; k < w.count; k++)
            if (w.open[k].partition == p && w.open[k].at_ms < sent_ms)
                fail_msg("partition %u: %.20s of %d ms is not known, and the beat is of %d ms", p, w.open[k].selector,
                         (int)w.open[k].at_ms, (int)sent_ms);
    }
    w.lease(context, of, sent_ms, incarnation, ahead_us);
}

/* `everyone`: all that were made up to now. */
static void revoke(bool everyone)
{
    unsigned p = below(PARTITIONS);
    if (w.place[p] == MOVING || w.count == OPEN_MAX) return;
    w.m->now_us += 1000;
    if (w.place[p] == AWAY) w.m->lose_messages = 1;
    if (everyone) {
        w.ended_ms[p] = model_ms(w.m);
        model_end_everyone(w.m, p, w.ended_ms[p]);
    } else {
        snprintf(w.open[w.count].selector, sizeof w.open[w.count].selector, "%020u", ++w.made);
        w.open[w.count].partition = p;
        w.open[w.count++].at_ms = model_ms(w.m);
        model_revoke(w.m, p, w.open[w.count - 1].selector);
    }
    if (w.place[p] == AWAY) w.m->lose_messages = 0;
    w.m->now_us += 1000;
}

static void move(void)
{
    static const char *const moving[] = {"ASK 5 other:1", "TRYAGAIN x", "CLUSTERDOWN x"};
    static const char *const only[] = {NULL, "}:e", "}:e", "}:q", "}:r"};
    unsigned p = below(PARTITIONS);
    w.place[p] = (enum place)below(3);
    w.m->elsewhere[p] = w.place[p] == HERE ? NULL : w.place[p] == AWAY ? "MOVED 5 other:1" : moving[below(3)];
    w.m->only = NULL;
    for (unsigned other = 0; other < PARTITIONS; other++)
        if (w.place[other] == AWAY) return; /* such a slot has no keys here at all */
    w.m->only = only[below(5)];
}

static void reconnect(bool another)
{
    static const char *const runs[] = {"run-1", "run-2", "run-3"};
    w.m->now_us += 1000;
    if (another) w.m->run_id[0] = w.m->run_id[1] = runs[below(3)];
    if (w.m->link.state > LK_LINK_CONNECTING) lk_link_lost(&w.m->link, model_ms(w.m), LATCHKEY_UNAVAILABLE, "cut");
    if (w.served) model_connect(w.m);
}

/* As the map says, which may be wrong. */
static void serve(void)
{
    w.set = !w.set;
    unsigned *at = w.sets[w.set];
    w.served = 0;
    for (unsigned p = 0; p < PARTITIONS; p++)
        if (below(4)) at[w.served++] = p;
    w.m->now_us += 1000;
    lk_partitions all = {at, w.served};
    static unsigned both[PARTITIONS];
    size_t kept = 0;
    for (size_t i = 0; i < all.count; i++)
        if (below(8) && lk_partitions_have(w.m->link.partitions, at[i])) both[kept++] = at[i];
    for (unsigned p = 0; p < PARTITIONS; p++)
        w.m->link.past->of[p].whole = below(2) ? w.m->link.handshake[0].incarnation : 0;
    bool lives = lk_link_rests(&w.m->link) && below(4);
    if (lives) lives = lk_link_change(&w.m->link, (lk_partitions){both, kept}, all, model_ms(w.m));
    else {
        lk_link_moved(&w.m->link, model_ms(w.m), "other partitions");
        lk_link_serve(&w.m->link, all);
    }
    changes += lives;
    w.m->link.past->agreed = below(8) != 0;
    if (w.served && !lives) model_connect(w.m);
}

static void deliver(void)
{
    int which = (int)below(2);
    model_serve(w.m, which);
    if (below(4)) model_deliver(w.m, which);
}

static void beat(void)
{
    if (w.m->link.state <= LK_LINK_CONNECTING && w.served && below(4) == 0) reconnect(false);
    model_run(w.m);
    if (w.m->link.state == LK_LINK_UP) model_tick(w.m, model_beat_due(w.m) > 0 ? model_beat_due(w.m) : 0);
    model_run(w.m);
}

static void one_world(uint64_t seed)
{
    memset(&w, 0, sizeof w);
    w.random = seed;
    w.m = model_open("redis+cluster://one:1?partitions=5&staleness_ms=1000&prefix=lk", seed);
    w.m->forgetful = true;
    w.lease = w.m->link.host.lease;
    w.empty = w.m->link.l1.empty;
    w.purge = w.m->link.l1.purge;
    w.m->link.host.lease = on_lease;
    w.m->link.l1.empty = on_empty;
    w.m->link.l1.purge = on_purge;
    serve();
    for (int i = 0; i < STEPS; i++) {
        switch (below(16)) {
        case 0: move(); break;
        case 1: w.m->lose_messages = below(3); break;
        case 2: w.m->lose_nonces = below(4) == 0; break;
        case 3:
            if (below(4) == 0) reconnect(below(2));
            break;
        case 4:
            if (below(4) == 0) serve();
            break;
        case 5:
            if (w.m->link.state == LK_LINK_UP)
                model_feed(w.m, 1, "*3\r\n$12\r\nsunsubscribe\r\n$10\r\nlk:{2}:rev\r\n:4\r\n");
            break;
        case 6: model_tick(w.m, below(50)); break;
        case 7:
            if (below(8) == 0) revoke(true);
            break;
        case 8:
            if (below(8) == 0) model_trim(w.m, below(PARTITIONS), 0);
            break;
        case 9:
        case 10: revoke(false); break;
        case 11:
        case 12: deliver(); break;
        default: beat();
        }
        model_clear(w.m);
    }
    /* At the end all is well, and all of it is served. */
    memset(w.m->elsewhere, 0, sizeof w.m->elsewhere);
    for (unsigned p = 0; p < PARTITIONS; p++) w.place[p] = HERE;
    w.m->lose_nonces = false;
    w.m->lose_messages = 0;
    w.m->run_id[0] = w.m->run_id[1] = "run-4";
    while (w.served != PARTITIONS) serve();
    w.m->link.past->agreed = true;
    int64_t from_ms = model_ms(w.m);
    for (int i = 0; i < 60; i++) {
        if (w.m->link.state <= LK_LINK_CONNECTING) reconnect(false);
        beat();
        model_clear(w.m);
    }
    for (unsigned p = 0; p < PARTITIONS; p++) assert_true(w.m->leased_ms[p] > from_ms);
    assert_true(w.m->leases > 10);
    model_close(w.m);
}

static void no_lease_before_what_was_revoked_is_known(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < WORLDS; seed++) one_world(unit_seed() + seed);
    assert_true(changes > WORLDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_lease_before_what_was_revoked_is_known)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

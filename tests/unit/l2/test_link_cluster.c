/* SPDX-License-Identifier: MIT
 *
 * The link to a node of a Redis Cluster, against a model: which partitions a beat gives a lease, what is a sign for whoever
 * has the map, and what becomes of partitions that come and go. (Guarantees A and C.)
 */
#include "redis_model.h"
#include "l2/link_parts.h"

#include <stdio.h>
#include <string.h>

#define A "aaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccc"

static const unsigned all[4] = {0, 1, 2, 3};

#define FOUR "redis+cluster://one:1,two:2?partitions=4&staleness_ms=2000&prefix=lk"

static redis_model *opened(const char *more)
{
    char config[256];
    snprintf(config, sizeof config, FOUR "%s", more);
    redis_model *m = model_open(config, 7);
    return m;
}

static redis_model *opened_up(void)
{
    redis_model *m = opened("");
    model_up(m);
    model_clear(m);
    return m;
}

static bool leased(const redis_model *m, unsigned p) { return m->leased_ms[p] == m->link.beat.sent_ms; }

static void leased_but(const redis_model *m, unsigned but)
{
    for (unsigned p = 0; p < 4; p++)
        if (leased(m, p) != (p != but)) fail_msg("partition %u", p);
}

/* As a node is told of another set. */
static void serve(redis_model *m, const unsigned *at, size_t count)
{
    m->now_us += 1000;
    lk_link_moved(&m->link, model_ms(m), "other partitions");
    lk_link_serve(&m->link, (lk_partitions){at, count});
}

static void speaks_in_shards(void **state)
{
    (void)state;
    redis_model *m = opened("");
    model_up(m);
    char own[80], line[120];
    snprintf(own, sizeof own, "lk:{0}:beat:%016llx", (unsigned long long)m->link.past->instance);
    assert_string_equal(m->link.heartbeat, own);
    snprintf(line, sizeof line, "1 SSUBSCRIBE %s\n", own);
    model_expect(m, "1 SSUBSCRIBE lk:{0}:rev\n", "1 SSUBSCRIBE lk:{3}:rev\n", line, NULL);
    model_expect(m, "0 GET lk:{0}:q\n", "0 GET lk:{0}:e\n", "0 GET lk:{3}:q\n", "0 GET lk:{3}:e\n", "0 TIME\n",
                 "0 INFO replication\n", "0 SPUBLISH lk:{0}:beat:", "0 SPUBLISH lk:{0}:pulse ", "= lease ", NULL);
    snprintf(line, sizeof line, "0 SPUBLISH %s %016llx\n", own, (unsigned long long)m->link.beat.nonce);
    assert_true(model_saw(m, line)); /* the nonce alone */
    snprintf(line, sizeof line, "0 SPUBLISH lk:{0}:pulse %016llx v=", (unsigned long long)m->link.past->instance);
    assert_true(model_saw(m, line));
    assert_false(model_saw(m, "MGET") || model_saw(m, "EXISTS") || model_saw(m, " PUBLISH"));
    for (unsigned p = 0; p < 4; p++) assert_true(leased(m, p)); /* GET q was nil everywhere */
    assert_int_equal(m->signs, 0);
    model_close(m);
}

/* Whatever says so, of whichever key. The others have their lease, and the next beat asks again. */
static void one_slot_is_elsewhere(void **state)
{
    (void)state;
    static const char *const answers[] = {"MOVED 5 other:1", "ASK 5 other:1", "TRYAGAIN Multiple keys",
                                          "CLUSTERDOWN x"};
    static const char *const keys[] = {NULL, "}:q", "}:e"};
    for (size_t i = 0; i < UNIT_COUNT(answers) * UNIT_COUNT(keys); i++) {
        redis_model *m = opened_up();
        m->elsewhere[2] = answers[i % UNIT_COUNT(answers)];
        m->only = keys[i / UNIT_COUNT(answers)];
        bool no_cutoff = m->only && strcmp(m->only, "}:e") == 0 && strncmp(m->elsewhere[2], "ASK", 3) == 0;
        model_beat(m);
        leased_but(m, no_cutoff ? 4 : 2); /* it is as counted: nothing was ever ended */
        assert_true(m->signs > 0);
        assert_string_equal(m->sign, m->elsewhere[2]);
        assert_int_equal(m->link.state, LK_LINK_UP);
        m->elsewhere[2] = NULL;
        unsigned empties = m->empties;
        model_beat(m);
        leased_but(m, 4);
        assert_int_equal(m->empties, empties);
        model_close(m);
    }
}

/* With cluster-allow-reads-when-down a node that is cut off answers all that reads, without end. */
static void a_node_that_takes_no_writes(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    m->command = "DEL";
    m->answer = "-CLUSTERDOWN The cluster is down\r\n";
    for (int i = 0; i < 2; i++) {
        model_beat(m);
        for (unsigned p = 0; p < 4; p++) assert_false(leased(m, p));
        assert_int_equal(m->link.state, LK_LINK_UP);
    }
    assert_true(m->signs > 0);
    m->answer = "-OOM command not allowed when used memory > 'maxmemory'.\r\n"; /* this says nothing about its place */
    model_beat(m);
    leased_but(m, 4);
    m->command = NULL;
    model_beat(m);
    leased_but(m, 4);
    model_close(m);
}

/* Idle or not: from Redis 7.2 on, the WAIT behind it asks for what its own connection wrote, and messages of a cluster are not among
 * that. A node whose replicas stand still would give leases. */
static void each_beat_writes_for_durability(void **state)
{
    (void)state;
    redis_model *m = opened("&durability=1");
    m->command = "WAIT";
    m->answer = ":1\r\n";
    model_up(m);
    for (int i = 0; i < 2 * LK_LINK_QUIET_BEATS; i++) {
        model_clear(m);
        model_beat(m);
        model_expect(m, "0 INCR lk:{0}:w\n", "0 WAIT 1 ", "= lease ", NULL);
    }
    model_close(m);
}

/* Its revocations are not lost: the beat that finds it again reads them in the log. */
static void what_was_missed_is_read(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    m->elsewhere[2] = "ASK 5 other:1";
    m->lose_messages = 1;
    model_revoke(m, 2, A);
    model_beat(m);
    assert_false(model_saw(m, "= purge " A));
    m->elsewhere[2] = NULL;
    model_beat(m);
    model_expect(m, "0 XRANGE lk:{2}:r", "= purge " A, "= lease ", NULL);
    leased_but(m, 4);
    /* The log itself is elsewhere: nothing is emptied, and only that partition waits. */
    unsigned empties = m->empties;
    model_clear(m);
    m->lose_messages = 1;
    model_revoke(m, 2, B);
    m->elsewhere[2] = "TRYAGAIN x";
    m->only = "}:r";
    model_beat(m);
    leased_but(m, 2);
    assert_int_equal(m->empties, empties);
    m->elsewhere[2] = NULL;
    model_beat(m);
    model_expect(m, "= purge " B, "= lease ", NULL);
    leased_but(m, 4);
    model_close(m);
}

/* The slot is being moved, and the number is still here: what a beat cannot read then has not changed. */
static void a_cut_off_that_did_not_change(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    model_revoke(m, 2, A);
    model_beat(m);
    model_revoke(m, 2, B); /* its message says all that the number counts */
    model_run(m);
    m->elsewhere[2] = "ASK 5 other:1";
    m->only = "}:e";
    for (int i = 0; i < 20; i++) {
        model_beat(m);
        leased_but(m, 4);
    }
    assert_string_equal(m->sign, m->elsewhere[2]); /* the map is looked at all the same */
    /* An answer that is not the one of a node that still has the slot. */
    static const char *const others[] = {"MOVED 5 other:1", "CLUSTERDOWN x"};
    for (size_t i = 0; i < UNIT_COUNT(others); i++) {
        m->elsewhere[2] = others[i];
        model_beat(m);
        leased_but(m, 2);
    }
    /* The number is elsewhere too. */
    m->elsewhere[2] = "ASK 5 other:1";
    m->only = NULL;
    model_beat(m);
    leased_but(m, 2);
    model_close(m);
}

/* It may have: the message was lost. Each beat asks again. What is missing is read when the slot has stopped moving. */
static void a_cut_off_that_may_have_changed(void **state)
{
    (void)state;
    for (int trimmed = 0; trimmed < 2; trimmed++) {
        redis_model *m = opened_up();
        model_revoke(m, 2, A);
        model_beat(m);
        m->lose_messages = 1;
        model_end_everyone(m, 2, 5000);
        if (trimmed) model_trim(m, 2, 0);
        m->elsewhere[2] = "ASK 5 other:1";
        m->only = "}:e";
        for (int i = 0; i < 5; i++) {
            model_beat(m);
            leased_but(m, 2);
        }
        /* Another partition's log does not reach back, and L1 is emptied of all: that says nothing of the cut-off. */
        m->lose_messages = 1;
        model_revoke(m, 1, B);
        model_trim(m, 1, 0);
        unsigned empties = m->empties;
        for (int i = 0; i < 5; i++) {
            model_beat(m);
            leased_but(m, 2);
        }
        assert_true(m->empties > empties);
        assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 2, 1), LATCHKEY_OK); /* it was not known */
        m->elsewhere[2] = NULL;
        model_beat(m); /* the server is told what the log did not have, so one more is sent */
        model_beat(m);
        leased_but(m, 4);
        assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 2, 5000), LATCHKEY_NOT_FOUND);
        model_close(m);
    }
}

/* Of a partition that is met, it is not known before the first beat has read it, whatever messages say. */
static void a_cut_off_that_was_never_read(void **state)
{
    (void)state;
    redis_model *m = opened("");
    m->elsewhere[2] = "ASK 5 other:1";
    m->only = "}:e";
    model_end_everyone(m, 2, 5000);
    model_up(m);
    leased_but(m, 2);
    model_revoke(m, 2, A);
    for (int i = 0; i < 3; i++) {
        model_beat(m);
        leased_but(m, 2);
    }
    /* A cut-off in doubt, or one that is older than the known one, is not known either. */
    static const char *const others[] = {"no time", "4000"};
    m->elsewhere[2] = NULL;
    model_beat(m);
    leased_but(m, 4);
    for (size_t i = 0; i < UNIT_COUNT(others); i++) {
        m->epoch[2] = others[i];
        m->command = "EVAL"; /* so that the older one stays */
        m->answer = ":0\r\n";
        model_beat(m);
        m->elsewhere[2] = "ASK 5 other:1";
        model_beat(m);
        leased_but(m, 2);
        m->elsewhere[2] = NULL;
        m->epoch[2] = "5000";
        model_beat(m);
        leased_but(m, 4);
    }
    /* Nor is what another server held. */
    m->command = NULL;
    m->run_id[0] = m->run_id[1] = "another";
    m->epoch[2] = "6000";
    m->elsewhere[2] = "ASK 5 other:1";
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut");
    model_connect(m);
    for (int i = 0; i < 8; i++) {
        model_run(m);
        model_beat(m);
        assert_false(leased(m, 2));
    }
    leased_but(m, 2);
    model_close(m);
}

static void all_slots_are_elsewhere(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    unsigned leases = m->leases;
    for (int p = 0; p < 4; p++) m->elsewhere[p] = "CLUSTERDOWN The cluster is down";
    model_beat(m);
    assert_int_equal(m->leases, leases);
    assert_int_equal(m->link.state, LK_LINK_UP);
    assert_non_null(strstr(m->trouble, "no lease"));
    for (int p = 0; p < 4; p++) m->elsewhere[p] = NULL;
    model_beat(m);
    leased_but(m, 4);
    model_close(m);
}

/* The instance's own channel is in the slot of its first partition. */
static void the_nonce_cannot_be_published(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    unsigned leases = m->leases;
    m->elsewhere[0] = "MOVED 5 other:1";
    model_beat(m);
    assert_int_equal(m->leases, leases);
    assert_int_equal(m->link.state, LK_LINK_UP);
    model_beat(m);
    assert_int_equal(m->leases, leases);
    serve(m, all + 1, 3);
    model_up(m);
    assert_non_null(strstr(m->link.heartbeat, "{1}"));
    leased_but(m, 0);
    model_close(m);
}

static void a_subscription_is_ended_unasked(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    model_feed(m, 1, "*3\r\n$12\r\nsunsubscribe\r\n$10\r\nlk:{2}:rev\r\n:4\r\n");
    assert_int_equal(m->signs, 1);
    assert_int_equal(m->link.state, LK_LINK_UP);
    m->lose_messages = 1;
    model_revoke(m, 2, A); /* it is deaf there */
    model_beat(m);
    model_expect(m, "1 SSUBSCRIBE lk:{2}:rev\n", "= purge " A, "= lease ", NULL);
    leased_but(m, 4);
    model_clear(m);
    model_revoke(m, 2, B);
    model_run(m);
    assert_true(model_saw(m, "= purge " B));
    model_beat(m);
    assert_false(model_saw(m, "SSUBSCRIBE"));
    model_close(m);
}

/* On the way up: the others are served, and it is asked for again. */
static void a_channel_is_elsewhere(void **state)
{
    (void)state;
    redis_model *m = opened("");
    m->elsewhere[0] = "MOVED 5 other:1";
    m->only = ":rev";
    model_up(m);
    assert_true(m->signs > 0);
    assert_non_null(strstr(m->link.heartbeat, "{1}"));
    leased_but(m, 4);
    m->elsewhere[0] = NULL;
    model_clear(m);
    model_beat(m);
    assert_true(model_saw(m, "1 SSUBSCRIBE lk:{0}:rev\n"));
    model_revoke(m, 0, A);
    model_run(m);
    assert_true(model_saw(m, "= purge " A));
    for (int p = 0; p < 4; p++) m->elsewhere[p] = "MOVED 5 other:1";
    m->only = ":rev";
    lk_link_moved(&m->link, model_ms(m), "again");
    model_connect(m);
    model_run(m);
    assert_int_equal(m->link.state, LK_LINK_DOWN); /* it has none of them */
    model_close(m);
}

static void foreign_keys_in_our_places(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    m->epoch[1] = "LIST";
    model_beat(m);
    assert_int_equal(m->trouble_status, LATCHKEY_CORRUPT);
    assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 1, 1), LATCHKEY_CORRUPT);
    assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 2, 1), LATCHKEY_OK);
    leased_but(m, 4);
    m->epoch[1] = "5000";
    model_beat(m);
    assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 1, 1), LATCHKEY_NOT_FOUND);
    assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 1, 6000), LATCHKEY_OK);
    /* A counter that is none: as one that is lost. */
    model_revoke(m, 3, A);
    model_beat(m);
    model_clear(m);
    m->command = "GET";
    m->answer = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    model_tick(m, model_beat_due(m));
    model_serve(m, 0);
    m->command = NULL;
    model_deliver(m, 0);
    assert_true(model_saw(m, "= empty"));
    assert_int_equal(m->link.state, LK_LINK_REASSERTING);
    model_run(m);
    assert_int_equal(m->link.state, LK_LINK_UP);
    model_close(m);
}

/* What the link had goes on: nothing of it is emptied, and what was missed is read. What is new is met. */
static void partitions_come(void **state)
{
    (void)state;
    redis_model *m = opened("");
    lk_link_serve(&m->link, (lk_partitions){all, 2});
    for (unsigned p = 0; p < 4; p++) model_revoke(m, p, p == 3 ? C : A); /* before anything */
    model_up(m);
    assert_int_equal(m->leased_ms[2], 0);
    lk_recent_made(m->link.recent, 3, B, model_ms(m));
    unsigned emptied = m->emptied[0], met = m->met_of[0], signs = m->signs;
    serve(m, all, 4);
    assert_int_equal(m->signs, signs); /* whoever has the map knows */
    m->lose_messages = 1;
    model_revoke(m, 1, A);
    model_clear(m);
    model_up(m);
    leased_but(m, 4);
    assert_int_equal(m->emptied[0], emptied);
    assert_int_equal(m->met_of[0], met);
    assert_int_equal(m->met_of[3], 1);
    assert_true(m->emptied[3] > 0);
    model_expect(m, "0 EVAL reassert 1 lk:{3}:s:" B " lk:{3}: cluster " B, "= empty", "= purge " A, "= lease ", NULL);
    assert_true(model_saw(m, "0 XRANGE lk:{1}:r"));
    assert_false(model_saw(m, "XRANGE lk:{3}"));
    model_close(m);
}

/* It may have been served elsewhere meanwhile, by a server with another past. */
static void partitions_go_and_come_back(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    model_revoke(m, 3, A);
    model_run(m);
    model_beat(m);
    serve(m, all, 3);
    model_up(m);
    leased_but(m, 3);
    unsigned emptied = m->emptied[3], kept = m->emptied[2];
    model_clear(m);
    serve(m, all, 4);
    int64_t met_ms = model_ms(m);
    model_connect(m);
    model_run(m);
    assert_true(m->emptied[3] > emptied);
    assert_int_equal(m->met_of[3], 2);
    model_expect(m, "= met", "= empty", "lk:{3}: cluster " A " #1\n", NULL); /* and the number that was known */
    /* Other instances tell what they know of it before it is served; that is nothing to the others. */
    while (m->leased_ms[2] < met_ms) model_beat(m);
    assert_true(m->leased_ms[3] < met_ms);
    while (m->leased_ms[3] < met_ms) model_beat(m);
    assert_true(m->leased_ms[3] >= met_ms + m->config.staleness_ms / 4);
    assert_int_equal(m->emptied[2], kept);
    /* Without any, it sleeps. */
    serve(m, all, 0);
    model_tick(m, 60000);
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    model_close(m);
}

/* As a node is told of another set while its link is up. */
static void change(redis_model *m, const unsigned *kept, size_t kept_count, const unsigned *at, size_t count)
{
    m->now_us += 1000;
    assert_true(lk_link_rests(&m->link));
    assert_true(lk_link_change(&m->link, (lk_partitions){kept, kept_count}, (lk_partitions){at, count}, model_ms(m)));
}

static uint64_t incarnation(const redis_model *m) { return m->link.handshake[0].incarnation; }

/* The connections live on, and the leases of the others. What is new is emptied, told, subscribed to and read, and then
 * served: at once if nothing can have been lost, else when others have had the time to tell. */
static void partitions_come_to_a_link_that_lives(void **state)
{
    (void)state;
    for (int whole = 0; whole <= 1; whole++) {
        redis_model *m = opened_up();
        change(m, all, 2, all, 2);
        model_run(m);
        model_beat(m);
        lk_recent_made(m->link.recent, 3, B, model_ms(m));
        m->link.past->of[2].whole = m->link.past->of[3].whole = whole ? incarnation(m) : 77;
        unsigned emptied[4] = {m->emptied[0], m->emptied[1], m->emptied[2], m->emptied[3]}, met = m->met_of[0];
        m->lose_messages = 1;
        model_revoke(m, 1, A);
        model_clear(m);
        int64_t came_ms = model_ms(m);
        change(m, all, 2, all, 4);
        assert_int_equal(m->link.state, LK_LINK_REASSERTING);
        model_run(m);
        assert_int_equal(m->link.state, LK_LINK_UP);
        model_tick(m, 5);
        model_run(m);
        assert_true(m->leased_ms[1] > came_ms); /* without a wait */
        assert_int_equal(m->leased_ms[3] > came_ms, whole);
        while (m->leased_ms[3] <= came_ms) model_beat(m);
        assert_true(whole || m->leased_ms[3] >= came_ms + m->config.staleness_ms / 4);
        leased_but(m, 4);
        model_expect(m, "1 SSUBSCRIBE lk:{2}:rev\n", "1 SSUBSCRIBE lk:{3}:rev\n", NULL);
        model_expect(m, "= met", "= empty", "reassert 1 lk:{3}:s:" B " lk:{3}: cluster " B, "0 GET lk:{0}:q\n",
                     "= purge " A, "= lease ", NULL);
        assert_false(model_saw(m, "HSETNX") || model_saw(m, "SSUBSCRIBE lk:{1}") || model_saw(m, "beat:0 "));
        for (unsigned p = 0; p < 4; p++) assert_int_equal(m->emptied[p] - emptied[p], p > 1 ? 2 : 0);
        assert_int_equal(m->met_of[0], met);
        model_clear(m);
        model_revoke(m, 3, C);
        model_run(m);
        assert_true(model_saw(m, "= purge " C)); /* it is heard */
        assert_int_equal(m->signs, 0);
        model_close(m);
    }
}

/* The others go on. The instance's own channel is in another slot from then on, and no beat is sent before that is heard. */
/* It has no server before the new node has answered for it. So the node is asked again soon, and not only by the next regular
 * beat; but ever more rarely, where the slot goes on moving. */
static void a_partition_that_came_is_not_here_yet(void **state)
{
    (void)state;
    static const char *const answers[] = {"MOVED 5 other:1", "TRYAGAIN the slot of lk:{3}: is moving"};
    static const char *const only[] = {NULL, B}; /* what is told of it; B: the script names it */
    for (size_t i = 0; i < UNIT_COUNT(answers); i++) {
        redis_model *m = opened_up();
        change(m, all, 3, all, 3);
        model_run(m);
        model_beat(m);
        lk_recent_made(m->link.recent, 3, B, model_ms(m));
        m->link.past->of[3].whole = incarnation(m);
        m->elsewhere[3] = answers[i];
        m->only = only[i];
        int64_t came_ms = model_ms(m), regular_ms = m->config.staleness_ms / 4;
        change(m, all, 3, all, 4);
        model_run(m);
        model_beat(m);
        assert_true(m->leased_ms[2] > came_ms);
        assert_true(m->leased_ms[3] < came_ms);
        assert_in_range(model_beat_due(m), 5, regular_ms / 4);
        model_beat(m);
        m->elsewhere[3] = NULL;
        for (int k = 0; k < 3 && m->leased_ms[3] < came_ms; k++) model_beat(m);
        assert_in_range(m->leased_ms[3], came_ms + 1, came_ms + regular_ms - 1);
        assert_int_equal(model_beat_due(m), regular_ms);
        /* Without end. */
        change(m, all, 3, all, 3);
        model_run(m);
        model_beat(m);
        m->elsewhere[3] = answers[i];
        came_ms = model_ms(m);
        change(m, all, 3, all, 4);
        model_run(m);
        int beats = 0;
        for (; model_ms(m) < came_ms + 20 * regular_ms; beats++) model_beat(m);
        assert_in_range(beats, 20, 30 * (i + 1)); /* the second kind is told in vain before each */
        model_close(m);
    }
}

/* A caller that waits for a beat does not ask again before there is news. */
static void a_beat_is_wanted_while_one_is_out(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    for (int wanted = 0; wanted < 2; wanted++) {
        model_tick(m, model_beat_due(m));
        assert_true(m->link.beat.out);
        m->elsewhere[0] = "MOVED 5 other:1"; /* its own channel's slot: no partition gets a lease */
        if (wanted) lk_link_beat_now(&m->link, model_ms(m));
        model_run(m);
        assert_false(m->link.beat.out);
        for (unsigned p = 0; p < 4; p++) assert_false(leased(m, p));
        if (wanted) assert_in_range(model_beat_due(m), 0, 5);
        else assert_int_equal(model_beat_due(m), 500);
        m->elsewhere[0] = NULL;
        model_beat(m);
        leased_but(m, 4);
    }
    model_close(m);
}

static void partitions_leave_a_link_that_lives(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    unsigned empties = m->empties;
    model_clear(m);
    change(m, all + 1, 3, all + 1, 3);
    assert_non_null(strstr(m->link.heartbeat, "{1}"));
    model_tick(m, 5);
    model_serve(m, 0);
    assert_false(model_saw(m, "GET"));
    model_run(m);
    model_tick(m, 0);
    model_run(m);
    leased_but(m, 0);
    assert_true(model_saw(m, "1 SSUBSCRIBE lk:{1}:beat:") && !model_saw(m, ":rev") && !model_saw(m, "HSETNX"));
    assert_int_equal(m->empties, empties);
    /* What Redis says of the slot that has left, and what is said there, is nothing to this link. */
    model_feed(m, 1, "*3\r\n$12\r\nsunsubscribe\r\n$10\r\nlk:{0}:rev\r\n:4\r\n");
    model_clear(m);
    model_revoke(m, 0, A);
    model_run(m);
    assert_false(model_saw(m, "= purge"));
    assert_int_equal(m->signs, 0);
    model_beat(m);
    leased_but(m, 0);
    /* With none that it had before, it connects anew. */
    m->now_us += 1000;
    assert_false(lk_link_change(&m->link, (lk_partitions){all, 0}, (lk_partitions){all, 1}, model_ms(m)));
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    model_connect(m);
    model_run(m);
    assert_int_equal(m->link.state, LK_LINK_UP);
    model_close(m);
}

/* Redis ends the instance's own channel, as its slot has left: another one is found before the map is known. */
static void its_own_channel_leaves(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    char text[160];
    m->elsewhere[0] = "MOVED 5 other:1";
    m->elsewhere[1] = "MOVED 6 other:1"; /* which has not been said yet */
    snprintf(text, sizeof text, "*3\r\n$12\r\nsunsubscribe\r\n$%zu\r\n%s\r\n:4\r\n", strlen(m->link.heartbeat),
             m->link.heartbeat);
    model_feed(m, 1, text);
    assert_true(m->signs > 0);
    assert_string_equal(m->sign, LK_LINK_SLOT_LEFT);
    assert_non_null(strstr(m->link.heartbeat, "{1}"));
    model_run(m);
    assert_non_null(strstr(m->link.heartbeat, "{2}"));
    assert_int_equal(m->link.state, LK_LINK_UP);
    model_tick(m, 5);
    model_run(m);
    assert_true(leased(m, 2) && leased(m, 3) && !leased(m, 0) && !leased(m, 1));
    /* It is never answered: the link gives up. */
    snprintf(text, sizeof text, "*3\r\n$12\r\nsunsubscribe\r\n$%zu\r\n%s\r\n:4\r\n", strlen(m->link.heartbeat),
             m->link.heartbeat);
    model_feed(m, 1, text);
    model_tick(m, model_beat_due(m));
    assert_int_equal(m->link.state, LK_LINK_REASSERTING);
    assert_true(lk_link_wake_ms(&m->link) > model_ms(m));
    model_tick(m, lk_link_wake_ms(&m->link) - model_ms(m));
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    model_close(m);
}

/* What was asked of the log of a partition that has left, and is back, says nothing about it. */
static void a_replay_of_a_partition_that_left(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    model_revoke(m, 2, A);
    model_beat(m);
    m->lose_messages = 1;
    model_revoke(m, 2, B);
    model_revoke(m, 2, C); /* which shows the gap */
    model_deliver(m, 1);
    assert_int_equal(m->link.replays, 1);
    model_serve(m, 0);
    static const unsigned others[3] = {0, 1, 3};
    change(m, others, 3, others, 3);
    model_serve(m, 1);
    model_tick(m, 0);
    m->link.past->of[2].whole = incarnation(m);
    change(m, others, 3, all, 4);
    unsigned emptied = m->emptied[2];
    model_run(m);
    assert_int_equal(m->link.replays, 0);
    model_tick(m, 5);
    model_run(m);
    assert_int_equal(m->emptied[2], emptied + 1); /* with its first beat, and for no other reason */
    leased_but(m, 4);
    assert_int_equal(m->link.part[2].sequence.applied, 3);
    model_close(m);
}

/* While a beat is out, or the server is told of something, it does not change. */
static void it_changes_when_it_rests(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    assert_true(lk_link_rests(&m->link));
    model_tick(m, model_beat_due(m));
    assert_false(lk_link_rests(&m->link));
    model_run(m);
    assert_true(lk_link_rests(&m->link));
    lk_recent_made(m->link.recent, 2, A, model_ms(m));
    change(m, all, 2, all, 3);
    assert_false(lk_link_rests(&m->link));
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut");
    assert_true(lk_link_rests(&m->link));
    model_close(m);
}

/* The slot moves while its server is to be told: that partition alone waits, until the server was told. */
static void a_slot_moves_while_it_is_told(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    model_revoke(m, 2, A);
    model_revoke(m, 3, B);
    model_run(m);
    model_beat(m);
    m->run_id[0] = m->run_id[1] = "run-2";
    m->elsewhere[2] = "TRYAGAIN the slot of lk:{2}: is moving";
    m->only = A; /* the script names it */
    m->now_us += 1000;
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "it was restarted");
    int64_t lost_ms = model_ms(m);
    model_connect(m);
    model_run(m);
    for (int i = 0; i < 8; i++) model_beat(m);
    assert_true(m->leased_ms[3] > lost_ms);
    assert_true(m->leased_ms[2] < lost_ms);
    m->elsewhere[2] = NULL;
    model_clear(m);
    for (int i = 0; i < 3; i++) model_beat(m);
    model_expect(m, "reassert 1 lk:{2}:s:" A, "= lease ", NULL);
    assert_false(model_saw(m, "reassert 1 lk:{3}"));
    leased_but(m, 4);
    model_close(m);
}

static void tick_twice(redis_model *m)
{
    for (int i = 0; i < 2; i++) {
        model_tick(m, 10);
        model_run(m);
    }
}

/* One node tells the number: that is enough for all. */
static void it_is_agreed_how_many_partitions_there_are(void **state)
{
    (void)state;
    redis_model *m = opened("");
    lk_link_serve(&m->link, (lk_partitions){all + 1, 3});
    model_up(m);
    assert_true(m->link.past->agreed);
    leased_but(m, 0);
    assert_false(model_saw(m, "{0}"));
    /* Each partition gets it, so that it can tell too; and a counter of its own. */
    model_expect(m, "= lease ", "0 HSETNX lk:{1}:m partitions 4\n", "0 SET lk:{1}:q 0 NX\n",
                 "0 HSETNX lk:{2}:m partitions 4\n", "0 HSETNX lk:{3}:m partitions 4\n", "0 SET lk:{3}:q 0 NX\n", NULL);
    model_clear(m);
    model_beat(m);
    assert_false(model_saw(m, "HSETNX")); /* once a connection */
    model_close(m);
    /* Another number is refused, whichever node tells it. */
    m = opened("");
    strcpy(m->recorded, "8");
    lk_link_serve(&m->link, (lk_partitions){all + 1, 3});
    model_connect(m);
    model_run(m);
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    assert_int_equal(m->trouble_status, LATCHKEY_CONFIG);
    assert_non_null(strstr(m->trouble, "8 partitions"));
    model_close(m);
    /* Where it is asked for, the slot may be moving: once it is known, the others need not wait for that. */
    m = opened("");
    m->elsewhere[0] = "ASK 5 other:1";
    m->only = "}:m";
    model_connect(m);
    model_run(m);
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    m->link.past->agreed = true;
    model_up(m);
    leased_but(m, 4);
    model_close(m);
}

/* No node has it. Only once all were asked is it recorded, by the one that has partition 0. */
static void no_node_has_the_number(void **state)
{
    (void)state;
    redis_model *m = opened("");
    m->recorded[0] = 0;
    lk_link_serve(&m->link, (lk_partitions){all + 1, 3});
    model_connect(m);
    model_run(m);
    for (int i = 0; i < 3; i++) { /* the beats go on, and say why there is no lease */
        model_tick(m, model_beat_due(m));
        model_run(m);
        model_tick(m, 2000);
    }
    assert_int_equal(m->leases, 0);
    assert_int_equal(m->link.state, LK_LINK_UP);
    assert_non_null(strstr(m->trouble, "how many partitions"));
    assert_false(model_saw(m, "HSETNX"));
    for (unsigned p = 1; p < 4; p++) assert_true(m->link.past->of[p].blank);
    assert_true(lk_link_wake_ms(&m->link) <= model_ms(m) + 20);
    m->link.past->agreed = true; /* another link says so */
    for (int i = 0; i < 3; i++) model_beat(m);
    assert_true(m->leases > 0);
    model_close(m);
    m = opened("");
    m->recorded[0] = 0;
    lk_link_serve(&m->link, (lk_partitions){all, 2});
    model_connect(m);
    model_run(m);
    tick_twice(m);
    assert_int_equal(m->leases, 0);
    assert_false(model_saw(m, "HSETNX")); /* the other node may know it */
    m->link.past->of[2].blank = m->link.past->of[3].blank = true;
    tick_twice(m);
    model_expect(m, "0 HSETNX lk:{0}:m partitions 4\n", "0 HGET lk:{0}:m partitions\n", "= lease ", NULL);
    assert_true(m->leases > 0 && m->link.past->agreed);
    model_close(m);
    /* Another instance was quicker, with another number. */
    m = opened("");
    m->recorded[0] = 0;
    model_connect(m);
    model_run(m);
    strcpy(m->recorded, "8");
    tick_twice(m);
    assert_int_equal(m->leases, 0);
    assert_int_equal(m->trouble_status, LATCHKEY_CONFIG);
    model_close(m);
}

/* All keys are gone: the number is recorded again at once, and compared. */
static void the_number_is_lost(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        redis_model *m = i ? model_open("one?partitions=4&staleness_ms=2000&prefix=lk", 7) : opened("");
        model_up(m);
        model_revoke(m, 2, A);
        model_beat(m);
        model_clear(m);
        m->number[2] = 0;
        m->recorded[0] = 0;
        for (int beat = 0; beat < 3; beat++) model_beat(m);
        model_expect(m, "0 HSETNX lk:{0}:m partitions 4\n", "0 HGET lk:{0}:m partitions\n", "= lease ", NULL);
        assert_string_equal(m->recorded, "4");
        model_revoke(m, 2, B);
        model_beat(m);
        m->number[2] = 0;
        strcpy(m->recorded, "8"); /* another instance was quicker */
        model_beat(m);
        assert_int_equal(m->trouble_status, LATCHKEY_CONFIG);
        assert_int_equal(m->link.state, LK_LINK_DOWN);
        model_close(m);
    }
}

static void a_loss_is_a_sign(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "the connection broke");
    assert_int_equal(m->signs, 1);
    assert_string_equal(m->sign, ""); /* it is asked for the map last */
    m->role = "slave";
    model_connect(m);
    model_run(m);
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    assert_int_equal(m->signs, 3);                                 /* what it said, and the loss */
    assert_true(model_saw(m, "= sign the node is a replica now")); /* it knows its primary */
    assert_int_equal(m->trouble_status, LATCHKEY_UNAVAILABLE);
    m->role = "master";
    model_up(m);
    m->role = "slave"; /* it was emptied, and follows another node now */
    unsigned leases = m->leases;
    model_beat(m);
    assert_int_equal(m->leases, leases);
    assert_int_equal(m->signs, 4);
    model_close(m);
}

/* The address leads to another node, perhaps of another cluster: it is given nothing, and asked for nothing. */
static void another_node_is_at_the_address(void **state)
{
    (void)state;
    redis_model *m = opened("");
    m->link.expected = (lk_node_id){"1111111111111111111111111111111111111111"};
    model_connect(m);
    model_run(m);
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    assert_non_null(strstr(m->trouble, "another node"));
    assert_int_equal(m->trouble_status, LATCHKEY_UNAVAILABLE);
    assert_true(m->signs > 0);
    assert_false(model_saw(m, "{") || model_saw(m, "= met"));
    m->link.expected = (lk_node_id){""}; /* where the map names no id, any will do */
    model_up(m);
    snprintf(m->link.expected.text, sizeof m->link.expected.text, "%s", m->node);
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "the connection broke");
    model_up(m);
    model_close(m);
}

/* A revocation stays pending, and a touch says nothing about its session. */
static void jobs_in_a_slot_that_moves(void **state)
{
    (void)state;
    redis_model *m = opened_up();
    m->elsewhere[1] = "TRYAGAIN the slot of lk:{1}: is moving";
    model_job(m, LK_JOB_REVOKE, 1, A);
    model_job(m, LK_JOB_REVOKE, 2, B);
    model_tick(m, 1);
    model_run(m);
    model_expect(m, "= done " A " -3\n", "= done " B " 0\n", NULL);
    assert_true(m->signs > 0);
    model_clear(m);
    static const char *const answers[] = {"MOVED 5 other:1", "ASK 5 other:1", "TRYAGAIN x"};
    for (size_t i = 0; i < 2 * UNIT_COUNT(answers); i++) {
        m->elsewhere[1] = answers[i / 2];
        m->only = i % 2 ? NULL : "}:u:0"; /* the session's own key is there, and the user's is not */
        model_job(m, LK_JOB_TOUCH, 1, C);
        lk_job *job = &m->jobs[(m->job_first + m->job_count - 1) % MODEL_JOBS_MAX];
        job->touch = (lk_touch){.partition = 1, .idle_ms = 60000, .expires_at_ms = INT64_C(9999999999999)};
        memcpy(job->touch.selector, C, LATCHKEY_SELECTOR_LENGTH);
        model_tick(m, 1);
        model_run(m);
    }
    model_expect(m, "= done " C " -3\n", "= done " C " -3\n", "= done " C " -3\n", "= done " C " -3\n",
                 "= done " C " -3\n", "= done " C " -3\n", NULL);
    assert_false(model_saw(m, "= purge") || model_saw(m, "= touched"));
    /* Nor does the session live longer than the index that names it. */
    assert_false(model_saw(m, "PEXPIRE lk:{1}:s:"));
    m->elsewhere[1] = NULL;
    model_job(m, LK_JOB_TOUCH, 1, C);
    lk_job *job = &m->jobs[(m->job_first + m->job_count - 1) % MODEL_JOBS_MAX];
    job->touch = (lk_touch){.partition = 1, .idle_ms = 60000, .expires_at_ms = INT64_C(9999999999999)};
    memcpy(job->touch.selector, C, LATCHKEY_SELECTOR_LENGTH);
    model_tick(m, 1);
    model_run(m);
    model_expect(m, "0 PEXPIRE lk:{1}:u:0 120000 GT\n", "0 PEXPIRE lk:{1}:s:" C " 60000 GT\n", "= touched " C,
                 "= done " C " 0\n", NULL);
    assert_int_equal(m->link.state, LK_LINK_UP);
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speaks_in_shards),
        cmocka_unit_test(one_slot_is_elsewhere),
        cmocka_unit_test(a_node_that_takes_no_writes),
        cmocka_unit_test(each_beat_writes_for_durability),
        cmocka_unit_test(what_was_missed_is_read),
        cmocka_unit_test(a_cut_off_that_did_not_change),
        cmocka_unit_test(a_cut_off_that_may_have_changed),
        cmocka_unit_test(a_cut_off_that_was_never_read),
        cmocka_unit_test(all_slots_are_elsewhere),
        cmocka_unit_test(the_nonce_cannot_be_published),
        cmocka_unit_test(a_subscription_is_ended_unasked),
        cmocka_unit_test(a_channel_is_elsewhere),
        cmocka_unit_test(foreign_keys_in_our_places),
        cmocka_unit_test(partitions_come),
        cmocka_unit_test(partitions_go_and_come_back),
        cmocka_unit_test(partitions_come_to_a_link_that_lives),
        cmocka_unit_test(a_partition_that_came_is_not_here_yet),
        cmocka_unit_test(a_beat_is_wanted_while_one_is_out),
        cmocka_unit_test(partitions_leave_a_link_that_lives),
        cmocka_unit_test(its_own_channel_leaves),
        cmocka_unit_test(a_replay_of_a_partition_that_left),
        cmocka_unit_test(it_changes_when_it_rests),
        cmocka_unit_test(a_slot_moves_while_it_is_told),
        cmocka_unit_test(it_is_agreed_how_many_partitions_there_are),
        cmocka_unit_test(no_node_has_the_number),
        cmocka_unit_test(the_number_is_lost),
        cmocka_unit_test(a_loss_is_a_sign),
        cmocka_unit_test(another_node_is_at_the_address),
        cmocka_unit_test(jobs_in_a_slot_that_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

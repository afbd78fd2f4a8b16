/* SPDX-License-Identifier: MIT
 *
 * The auditor: what differs is suspected, what differs for longer than the bound is counted, once, and said. The link with
 * a small Redis, in virtual time; L1 is the real one.
 */
#include "base/clock.h"
#include "redis_model.h"
#include "l2/link_parts.h"

#include <stdio.h>
#include <string.h>

enum { SESSIONS = 200, STALENESS_MS = 400, BOUND_MS = STALENESS_MS + LK_CLOCK_TICK_MS, LONG_MS = 1000000 };
#define OPTIONS "h?partitions=4&staleness_ms=400"

static model_record session[SESSIONS];
static char said[4096];

static void on_log(void *context, int level, const char *text)
{
    (void)context;
    size_t used = strlen(said);
    if (strncmp(text, "audit: ", 7)) return; /* the link's own ups and downs */
    assert_int_equal(level, LATCHKEY_LOG_ERROR);
    snprintf(said + used, sizeof said - used, "%s\n", text);
}

static unsigned count(const char *text, const char *part)
{
    unsigned n = 0;
    for (; (text = strstr(text, part)); text += strlen(part)) n++;
    return n;
}

static lk_record record_of(unsigned i)
{
    lk_record r = {.idle_ms = 1000, .entry = {.user_id = i, .role = "sixteen_letters_", .expires_at_ms = 9999}};
    r.selector[0] = 1 << 4;
    r.selector[1] = (uint8_t)(i % 4);
    memcpy(r.selector + 2, (uint64_t[]){(i + 1) * UINT64_C(0x9e3779b97f4a7c15)}, 8);
    return r;
}

/* Redis holds the first `count` sessions. */
static void hold(redis_model *m, unsigned sessions)
{
    m->records = NULL;
    for (unsigned i = 0; i < sessions; i++) {
        lk_record r = record_of(i);
        lk_record_encode(&r, session[i].bytes);
        lk_base64_encode(r.selector, sizeof r.selector, session[i].selector, sizeof session[i].selector);
        session[i].next = m->records;
        m->records = &session[i];
    }
}

/* By hand: it is not announced. */
static void delete_last(redis_model *m) { m->records = m->records->next; }

static void fill(redis_model *m, unsigned i, int64_t deadline_ms)
{
    latchkey_entry e = record_of(i).entry;
    assert_int_equal(lk_l1_put(m->l1, lk_l1_ticket(m->l1, session[i].selector), session[i].selector,
                               "verifier_verifier_verif", false, lk_l1_until(deadline_ms), model_ms(m), &e),
                     LK_L1_STORED);
}

/* An L1 that holds what Redis holds, under a lease. */
static redis_model *up(const char *options, unsigned sessions)
{
    redis_model *m = model_open(options, unit_seed());
    m->l1 = lk_l1_open(SESSIONS, unit_seed());
    assert_non_null(m->l1);
    if (m->config.durability) {
        m->command = "WAIT";
        m->answer = ":1\r\n";
    }
    model_up(m);
    hold(m, sessions);
    for (unsigned i = 0; i < sessions; i++) fill(m, i, LONG_MS);
    model_clear(m);
    said[0] = 0;
    latchkey_set_log(on_log, NULL);
    return m;
}

static void down(redis_model *m)
{
    latchkey_set_log(NULL, NULL);
    model_close(m);
}

static void go(redis_model *m, int64_t ms)
{
    for (; ms > 0; ms -= 5) {
        model_tick(m, ms < 5 ? ms : 5);
        model_run(m);
        model_clear(m);
    }
}

static uint64_t audited(const redis_model *m) { return model_counted(m, LK_AUDITED); }
static uint64_t suspicions(const redis_model *m) { return model_counted(m, LK_AUDIT_SUSPICIONS_SEEN); }
static uint64_t disagreements(const redis_model *m) { return model_counted(m, LK_AUDIT_DISAGREEMENTS); }

/* Until it is suspected; then as of when. */
static int64_t until_suspected(redis_model *m, uint64_t how_many)
{
    for (int i = 0; suspicions(m) < how_many; i++) {
        assert_true(i < 1000);
        go(m, 5);
    }
    return model_ms(m);
}

/* ------------------------------------------------------------------------------------------- when all is well -- */

static void test_off_it_asks_nothing(void **state)
{
    (void)state;
    redis_model *m = up(OPTIONS, 10);
    for (int i = 0; i < LK_LINK_QUIET_BEATS - 3; i++) {
        model_beat(m);
        assert_false(model_saw(m, "HGET"));
        assert_int_equal(model_beat_due(m), STALENESS_MS / 4); /* and wakes for nothing else */
        model_clear(m);
    }
    assert_int_equal(audited(m), 0);
    down(m);
}

static void test_agreement_counts_nothing(void **state)
{
    (void)state;
    redis_model *m = up(OPTIONS "&audit_per_s=100", SESSIONS);
    model_tick(m, 10);
    model_serve(m, 0);
    bool asked = false;
    for (int i = 0; i < SESSIONS && !asked; i++) {
        char line[96];
        snprintf(line, sizeof line, "0 HGET lk:{%d}:s:%.20s v\n", i % 4, session[i].selector);
        asked = model_saw(m, line);
    }
    assert_true(asked);
    model_run(m);
    go(m, 10000);
    assert_in_range(audited(m), 900, 1010);
    assert_int_equal(suspicions(m), 0);
    assert_int_equal(disagreements(m), 0);
    assert_int_equal(model_counted(m, LK_L2_READS), 0);
    assert_string_equal(said, "");
    down(m);
}

/* Driven by wake_ms alone: it keeps the pace, wakes the thread not much more often than needed, and never at once again. */
static void test_pace(void **state)
{
    (void)state;
    const unsigned rates[] = {1, 3, 7, 100, 150, 999, 1000};
    for (size_t i = 0; i < UNIT_COUNT(rates); i++) {
        char options[96];
        snprintf(options, sizeof options, OPTIONS "&audit_per_s=%u", rates[i]);
        redis_model *m = up(options, SESSIONS);
        int64_t end = model_ms(m) + 20000;
        unsigned wakings = 0;
        for (; model_ms(m) < end; wakings++) {
            assert_true(model_beat_due(m) >= (wakings ? 1 : 0));
            model_tick(m, model_beat_due(m));
            model_run(m);
            model_clear(m);
        }
        assert_in_range(audited(m), rates[i] * 20 * 95 / 100, rates[i] * 20 + rates[i] / 50 + 1);
        assert_true(wakings <= 20000 / 9 + 20000 / (STALENESS_MS / 4) * 3 + 10);
        assert_true(rates[i] > 10 || wakings <= rates[i] * 20 + 20000 / (STALENESS_MS / 4) * 3 + 10);
        down(m);
    }
}

static void test_no_burst_after_a_pause(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=4&staleness_ms=60000&audit_per_s=1000", SESSIONS);
    model_tick(m, 10000);
    model_serve(m, 0);
    assert_int_equal(count(m->log, "HGET"), 1);
    model_run(m);
    model_clear(m);
    model_tick(m, 50);
    model_serve(m, 0);
    assert_int_equal(count(m->log, "HGET"), LK_LINK_JOBS);
    model_run(m);
    model_tick(m, 0); /* what found no room is not asked for later */
    model_serve(m, 0);
    assert_int_equal(count(m->log, "HGET"), LK_LINK_JOBS);
    down(m);
}

static void test_nothing_to_compare(void **state)
{
    (void)state;
    redis_model *m = up(OPTIONS "&audit_per_s=1000", 0);
    go(m, 1000);
    assert_int_equal(audited(m), 0);
    down(m);
}

static void test_everything_else_goes_first(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=4&staleness_ms=60000&audit_per_s=1000", 10);
    m->scripts_known = true;
    for (unsigned i = 0; i < LK_LINK_JOBS + 3; i++) model_job(m, LK_JOB_TOUCH, 0, session[0].selector);
    model_tick(m, 50);
    model_serve(m, 0);
    assert_int_equal(count(m->log, "0 EVALSHA touch"), LK_LINK_JOBS);
    assert_int_equal(count(m->log, "HGET"), 0);
    model_deliver(m, 0);
    model_tick(m, 50);
    model_serve(m, 0);
    assert_int_equal(count(m->log, "0 EVALSHA touch"), LK_LINK_JOBS + 3);
    assert_int_equal(count(m->log, "HGET"), LK_LINK_JOBS - 3);
    const char *first = strstr(m->log, "HGET");
    assert_null(strstr(first, "EVALSHA"));
    down(m);
}

/* ------------------------------------------------------------------------------------- suspicions that come to nothing -- */

static void test_revocation_under_way_is_no_disagreement(void **state)
{
    (void)state;
    redis_model *m = up(OPTIONS "&audit_per_s=1000", 1);
    delete_last(m); /* the script ran; the message is on its way */
    int64_t since = until_suspected(m, 1);
    go(m, BOUND_MS - 50);
    assert_int_equal(disagreements(m), 0);
    model_revoke(m, 0, session[0].selector);
    go(m, 20 * BOUND_MS);
    assert_true(model_ms(m) > since + BOUND_MS);
    assert_int_equal(suspicions(m), 1);
    assert_int_equal(disagreements(m), 0);
    assert_string_equal(said, "");
    down(m);
}

static void test_lost_message_is_no_disagreement(void **state)
{
    (void)state;
    redis_model *m = up(OPTIONS "&audit_per_s=1000", 1);
    m->lose_messages = 1;
    delete_last(m);
    model_revoke(m, 0, session[0].selector);
    until_suspected(m, 1); /* before the next beat finds it */
    go(m, 20 * BOUND_MS);
    assert_int_equal(model_counted(m, LK_REPLAYED), 1);
    assert_int_equal(suspicions(m), 1);
    assert_int_equal(disagreements(m), 0);
    down(m);
}

/* The very same bytes, of a later answer of Redis': the old suspicion was of another fill. */
static void test_filled_anew_is_no_disagreement(void **state)
{
    (void)state;
    redis_model *m = up(OPTIONS "&audit_per_s=1000", 1);
    const model_record *all = m->records;
    delete_last(m);
    until_suspected(m, 1);
    m->records = all;
    fill(m, 0, LONG_MS + 1);
    go(m, 10 * BOUND_MS);
    assert_int_equal(disagreements(m), 0);
    down(m);
}

/* It expired in Redis; L1's own deadline comes within the bound. */
static void test_past_its_deadline_is_no_disagreement(void **state)
{
    (void)state;
    redis_model *m = up(OPTIONS "&audit_per_s=1000", 1);
    fill(m, 0, model_ms(m) + BOUND_MS);
    delete_last(m);
    until_suspected(m, 1);
    go(m, 10 * BOUND_MS);
    assert_int_equal(suspicions(m), 1);
    assert_int_equal(disagreements(m), 0);
    down(m);
}

static void test_errors_are_no_comparisons(void **state)
{
    (void)state;
    redis_model *m = up(OPTIONS "&audit_per_s=1000", 1);
    m->command = "HGET";
    m->answer = "-LOADING Redis is loading\r\n";
    go(m, 1000);
    assert_int_equal(audited(m), 0);
    assert_int_equal(suspicions(m), 0);
    assert_in_range(model_counted(m, LK_L2_ERRORS), 900, 1010);
    assert_int_equal(m->trouble_status, LATCHKEY_UNAVAILABLE);
    assert_int_equal(m->link.state, LK_LINK_UP);
    down(m);
}

/* The connection was lost in between: what was suspected before it says nothing, and is suspected anew. */
static void test_lost_link_begins_anew(void **state)
{
    (void)state;
    redis_model *m = up(OPTIONS "&audit_per_s=1000", 1);
    delete_last(m);
    int64_t since = until_suspected(m, 1);
    go(m, BOUND_MS - 100);
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut");
    model_up(m);
    go(m, since + BOUND_MS + 20 - model_ms(m));
    assert_int_equal(disagreements(m), 0);
    assert_int_equal(suspicions(m), 2);
    go(m, BOUND_MS);
    assert_int_equal(disagreements(m), 1);
    down(m);
}

/* Up, but too few replicas: the lease lapses. L1 answers nothing then, so there is nothing to compare, nor to count. */
static void test_without_a_lease_nothing_is_compared(void **state)
{
    (void)state;
    redis_model *m = up(OPTIONS "&audit_per_s=1000&durability=1", 1);
    m->link.look_at_ms = INT64_MAX; /* nor does it connect anew */
    go(m, 500);
    m->answer = ":0\r\n";
    go(m, STALENESS_MS - 150);
    delete_last(m);
    until_suspected(m, 1);
    go(m, 200);
    uint64_t before = audited(m);
    assert_true(before > 500);
    go(m, 3 * BOUND_MS);
    assert_int_equal(m->link.state, LK_LINK_UP);
    assert_int_equal(audited(m), before);
    assert_int_equal(disagreements(m), 0);
    m->answer = ":1\r\n";
    go(m, BOUND_MS / 2);
    assert_int_equal(suspicions(m), 2);
    assert_int_equal(disagreements(m), 0);
    go(m, BOUND_MS);
    assert_int_equal(disagreements(m), 1);
    down(m);
}

/* ---------------------------------------------------------------------------------------------- disagreements -- */

static void test_deleted_by_hand_is_a_disagreement(void **state)
{
    (void)state;
    const struct {
        const char *options;
        int64_t bound_ms;
    } rows[] = {{OPTIONS "&audit_per_s=1000", BOUND_MS}, {OPTIONS "&audit_per_s=1000&grace_ms=300", BOUND_MS + 300}};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        redis_model *m = up(rows[i].options, 1);
        delete_last(m);
        int64_t since = until_suspected(m, 1);
        go(m, since + rows[i].bound_ms - model_ms(m));
        assert_int_equal(disagreements(m), 0);
        assert_string_equal(said, "");
        go(m, 1);
        assert_int_equal(disagreements(m), 1);
        char line[160];
        snprintf(line, sizeof line,
                 "audit: Redis has not held session %.20s for longer than the bound of %d ms, and L1",
                 session[0].selector, (int)rows[i].bound_ms);
        assert_non_null(strstr(said, line));
        assert_null(strstr(said, "verifier"));
        go(m, 20 * BOUND_MS); /* it is found again and again, and counted once */
        assert_int_equal(suspicions(m), 1);
        assert_int_equal(disagreements(m), 1);
        assert_int_equal(count(said, "\n"), 1);
        down(m);
    }
}

/* Also across a lost connection, which L1 survives. */
static void test_it_is_counted_once(void **state)
{
    (void)state;
    redis_model *m = up(OPTIONS "&audit_per_s=1000", 1);
    delete_last(m);
    go(m, 2 * BOUND_MS);
    assert_int_equal(disagreements(m), 1);
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut");
    model_up(m);
    go(m, 5 * BOUND_MS);
    assert_int_equal(disagreements(m), 1);
    down(m);
}

static void test_changed_by_hand_is_a_disagreement(void **state)
{
    (void)state;
    for (int what = 0; what < 5; what++) {
        redis_model *m = up(OPTIONS "&audit_per_s=1000", 1);
        lk_record r = record_of(0);
        if (what == 0) r.entry.user_id++;
        else if (what == 1) r.entry.flags ^= 1; /* the entry's last bytes */
        else if (what == 2) r.selector[14] ^= 1;
        lk_record_encode(&r, session[0].bytes);
        if (what == 3) session[0].bytes[0] = 'X';
        else if (what == 4) session[0].bytes[2] = LK_RECORD_NEWEST + 1;
        go(m, 3 * BOUND_MS);
        assert_int_equal(suspicions(m), 1);
        assert_int_equal(disagreements(m), 1);
        assert_non_null(strstr(said, "audit: Redis has held something else for session"));
        down(m);
    }
}

/* What has no room among the suspicions is let go, and the log is not flooded. */
static void test_many_at_once(void **state)
{
    (void)state;
    redis_model *m = up(OPTIONS "&audit_per_s=1000", SESSIONS);
    for (int i = 0; i < SESSIONS; i++) delete_last(m);
    go(m, 9000);
    assert_int_equal(suspicions(m), LK_AUDIT_SUSPICIONS);
    assert_int_equal(disagreements(m), LK_AUDIT_SUSPICIONS);
    assert_int_equal(count(said, "\n"), 1);
    go(m, 12000);
    assert_int_equal(count(said, "\n"), 2);
    unsigned long long first = 0, second = 0;
    sscanf(strstr(said, "answers it; ") + 12, "%llu", &first);
    sscanf(strstr(strchr(said, '\n'), "answers it; ") + 12, "%llu", &second);
    assert_int_equal(first + second, LK_AUDIT_SUSPICIONS);
    go(m, 20000);
    assert_int_equal(count(said, "\n"), 2);
    down(m);
}

/* Once L1 cannot hold it any more, there is room for others. */
static void test_places_are_given_back(void **state)
{
    (void)state;
    redis_model *m = up(OPTIONS "&audit_per_s=1000", 2 * LK_AUDIT_SUSPICIONS);
    int64_t end = model_ms(m) + 20 * BOUND_MS;
    lk_l1_empty(m->l1);
    for (unsigned i = 0; i < LK_AUDIT_SUSPICIONS; i++) fill(m, i, end);
    m->records = NULL;
    go(m, 19 * BOUND_MS);
    assert_int_equal(disagreements(m), LK_AUDIT_SUSPICIONS);
    go(m, 2 * BOUND_MS);
    for (unsigned i = LK_AUDIT_SUSPICIONS; i < 2 * LK_AUDIT_SUSPICIONS; i++) fill(m, i, LONG_MS);
    go(m, 20 * BOUND_MS);
    assert_int_equal(disagreements(m), 2 * LK_AUDIT_SUSPICIONS);
    down(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_off_it_asks_nothing),
        cmocka_unit_test(test_agreement_counts_nothing),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_no_burst_after_a_pause),
        cmocka_unit_test(test_nothing_to_compare),
        cmocka_unit_test(test_everything_else_goes_first),
        cmocka_unit_test(test_revocation_under_way_is_no_disagreement),
        cmocka_unit_test(test_lost_message_is_no_disagreement),
        cmocka_unit_test(test_filled_anew_is_no_disagreement),
        cmocka_unit_test(test_past_its_deadline_is_no_disagreement),
        cmocka_unit_test(test_errors_are_no_comparisons),
        cmocka_unit_test(test_lost_link_begins_anew),
        cmocka_unit_test(test_without_a_lease_nothing_is_compared),
        cmocka_unit_test(test_deleted_by_hand_is_a_disagreement),
        cmocka_unit_test(test_it_is_counted_once),
        cmocka_unit_test(test_changed_by_hand_is_a_disagreement),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_places_are_given_back),
    };
    return cmocka_run_group_tests_name("audit", tests, unit_setup, NULL);
}

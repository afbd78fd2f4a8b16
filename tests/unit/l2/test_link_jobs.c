/* SPDX-License-Identifier: MIT
 *
 * What the link does for others in the background: each job ends exactly once, with the answer to that job and no other,
 * whatever happens to the connection.
 */
#include "redis_model.h"

#include <stdio.h>
#include <string.h>

#define TOUCHED "ttttttttttttttttttt1"
#define REVOKED "rvvvvvvvvvvvvvvvvvv1"
#define HELD "hvvvvvvvvvvvvvvvvvv1"

static redis_model *up(void)
{
    redis_model *m = model_open("h?partitions=4&staleness_ms=60000", 1);
    model_up(m);
    m->scripts_known = true;
    model_clear(m);
    return m;
}

static const char *numbered(char text[LATCHKEY_SELECTOR_LENGTH + 1], unsigned i)
{
    snprintf(text, LATCHKEY_SELECTOR_LENGTH + 1, "job%017u", i);
    return text;
}

static unsigned count(const redis_model *m, const char *part)
{
    unsigned n = 0;
    for (const char *at = m->log; (at = strstr(at, part)); at += strlen(part)) n++;
    return n;
}

static void test_a_touch_and_revocations(void **state)
{
    (void)state;
    redis_model *m = up();
    model_job(m, LK_JOB_TOUCH, 3, TOUCHED);
    model_job(m, LK_JOB_REVOKE, 1, REVOKED);
    model_job(m, LK_JOB_REVOKE, 2, HELD);
    model_tick(m, 0);
    model_run(m);
    model_expect(m, "0 EVALSHA touch 1 lk:{3}:s:" TOUCHED " lk:{3}: " TOUCHED " ''\n",
                 "0 EVALSHA revoke 1 lk:{1}:s:" REVOKED " lk:{1}: " REVOKED " (v...) 0 '' '' 1\n",
                 "0 EVALSHA revoke 1 lk:{2}:s:" HELD " lk:{2}: " HELD " (v...) 1 '' '' 1\n", NULL);
    model_expect(m, "= done " TOUCHED " 0\n", "= done " REVOKED " 0\n", "= done " HELD " 0\n", NULL);
    assert_int_equal(count(m, "= done"), 3);
    assert_int_equal(model_counted(m, LK_L2_WRITES), 3);
    assert_int_equal(model_counted(m, LK_PURGES),
                     2); /* they come back through the subscription, as to every instance */
    assert_int_equal(m->number[1], 1);
    model_close(m);
}

/* All that a plain touch must know. Ends in an hour, by the server's clock. */
static void plain_touch(redis_model *m, int64_t idle_ms)
{
    model_job(m, LK_JOB_TOUCH, 3, TOUCHED);
    lk_job *job = &m->jobs[(m->job_first + m->job_count - 1) % MODEL_JOBS_MAX];
    job->touch = (lk_touch){.partition = 3, .user_id = 7, .idle_ms = idle_ms};
    job->touch.expires_at_ms = model_ms(m) + m->clock_ahead_us / 1000 + 3600000;
    memcpy(job->touch.selector, TOUCHED, LATCHKEY_SELECTOR_LENGTH);
    model_tick(m, 0);
    model_run(m);
}

static void test_a_touch_is_commands_that_create_nothing(void **state)
{
    (void)state;
    redis_model *m = up();
    plain_touch(m, 600000);
    model_expect(m, "0 PEXPIRE lk:{3}:s:" TOUCHED " 600000 GT\n", "0 ZADD lk:{3}:a XX GT ",
                 "0 PEXPIRE lk:{3}:a 810000 GT\n", "0 PEXPIRE lk:{3}:u:7 660000 GT\n", "= done " TOUCHED " 0\n", NULL);
    assert_int_equal(count(m, "EVAL"), 0);
    model_clear(m);
    model_tick(m, 100000);
    plain_touch(m, 600000);
    assert_int_equal(count(m, "lk:{3}:a 7"), 0); /* the index of the partition lives for long enough */
    assert_int_equal(count(m, "= done " TOUCHED " 0\n"), 1);
    model_clear(m);
    plain_touch(m, 7200000); /* no longer than its absolute end */
    model_expect(m, "0 PEXPIRE lk:{3}:s:" TOUCHED " 3600000 GT\n", "0 PEXPIRE lk:{3}:u:7 3660000 GT\n", NULL);
    model_close(m);
}

/* 0: it is gone, or its clock went back, or its user's index is lost: the script says. */
static void test_a_touch_that_moved_nothing_is_looked_at_by_the_script(void **state)
{
    (void)state;
    redis_model *m = up();
    m->prolonged = ":0\r\n";
    plain_touch(m, 600000);
    assert_int_equal(count(m, "0 EVALSHA touch 1 lk:{3}:s:" TOUCHED " lk:{3}: " TOUCHED " '' 0\n"), 1);
    assert_int_equal(count(m, "= done " TOUCHED " 0\n"), 1);
    assert_int_equal(count(m, "= purge"), 0);
    m->command = "EVALSHA";
    m->answer = ":0\r\n";
    plain_touch(m, 600000);
    assert_int_equal(count(m, "= purge " TOUCHED), 1); /* it is gone */
    m->command = NULL;
    m->prolonged = NULL;
    model_clear(m);
    plain_touch(m, 600000); /* plain commands are tried again */
    assert_int_equal(count(m, "EVAL"), 0);
    model_close(m);
}

/* Redis 6.2 has no GT here. It is tried once. */
static void test_a_server_without_gt_is_touched_by_scripts(void **state)
{
    (void)state;
    redis_model *m = up();
    m->prolonged = "-ERR wrong number of arguments for 'pexpire' command\r\n";
    plain_touch(m, 600000);
    assert_int_equal(count(m, "0 EVALSHA touch"), 1);
    assert_int_equal(count(m, "= done " TOUCHED " 0\n"), 1);
    model_clear(m);
    plain_touch(m, 600000);
    assert_int_equal(count(m, "PEXPIRE"), 0);
    assert_int_equal(count(m, "0 EVALSHA touch"), 1);
    model_close(m);
}

/* What it may not do it says, and does not try by another way. */
static void test_a_touch_that_is_refused_is_told(void **state)
{
    (void)state;
    redis_model *m = up();
    m->prolonged = "-NOPERM this user has no permissions to run the 'pexpire' command\r\n";
    plain_touch(m, 600000);
    assert_int_equal(count(m, "EVAL"), 0);
    assert_int_equal(count(m, "= done " TOUCHED " 0\n"), 0);
    assert_int_equal(count(m, "= done " TOUCHED), 1);
    assert_non_null(strstr(m->trouble, "pexpire"));
    model_close(m);
}

/* The first of the calls whose answers were lost is the number that a run logs, and it begins with it (revoke.lua): or the
 * next run, where this one's answer is lost too, would not know it again. */
static void test_a_revocation_brings_the_calls_that_were_lost(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=4&staleness_ms=60000&events=1", 1);
    model_up(m);
    m->scripts_known = true;
    model_clear(m);
    model_job(m, LK_JOB_REVOKE, 1, REVOKED);
    strcpy(m->jobs[m->job_first].of.calls, " 00112233aabbccdd ffffffffffffffff");
    model_job(m, LK_JOB_REVOKE, 1, HELD);
    model_tick(m, 0);
    model_run(m);
    model_expect(m, "lk:{1}: events " REVOKED " (v...) 0 '' 00112233aabbccdd ffffffffffffffff 1\n",
                 "lk:{1}: events " HELD " (v...) 1 '' '' 1\n", NULL);
    model_close(m);
}

static void test_nothing_is_started_before_it_is_up(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=4", 1);
    model_job(m, LK_JOB_TOUCH, 0, TOUCHED);
    model_tick(m, 0);
    model_connect(m);
    model_tick(m, 0);
    for (int i = 0; i < 2; i++) { /* hello, then the partitions' number */
        model_serve(m, 0);
        model_serve(m, 1);
        model_tick(m, 0);
        model_deliver(m, 0);
        model_deliver(m, 1);
    }
    assert_int_equal(m->link.state, LK_LINK_SUBSCRIBING);
    model_tick(m, 0);
    assert_int_equal(m->job_count, 1);
    model_run(m);
    model_tick(m, 0);
    assert_int_equal(m->job_count, 0);
    model_close(m);
}

static void test_a_script_that_is_not_known_is_sent_whole(void **state)
{
    (void)state;
    redis_model *m = up();
    m->scripts_known = false; /* SCRIPT FLUSH, a restart */
    model_job(m, LK_JOB_REVOKE, 1, REVOKED);
    model_tick(m, 0);
    model_run(m);
    model_expect(m, "0 EVALSHA revoke 1 lk:{1}:s:" REVOKED,
                 "0 EVAL revoke 1 lk:{1}:s:" REVOKED " lk:{1}: " REVOKED " (v...) 0 '' '' 1\n",
                 "= done " REVOKED " 0\n", NULL);
    assert_int_equal(m->number[1], 1);
    assert_int_equal(count(m, "= done"), 1);
    assert_false(model_saw(m, "trouble"));
    model_close(m);
}

static void test_errors_are_told(void **state)
{
    (void)state;
    const struct {
        const char *answer, *done, *trouble;
    } rows[] = {
        {"-OOM command not allowed\r\n", "= done " REVOKED " -3\n", "= trouble -3\n"},
        {"-WRONGTYPE Operation\r\n", "= done " REVOKED " -4\n", "= trouble -4\n"},
        {"-LKCORRUPT the record\r\n", "= done " REVOKED " -4\n", "= trouble -4\n"},
        {"-NOPERM this user\r\n", "= done " REVOKED " -6\n", "= trouble -6\n"},
        {"-ERR whatever\r\n", "= done " REVOKED " -3\n", "= trouble -3\n"},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        redis_model *m = up();
        m->command = "EVALSHA";
        m->answer = rows[i].answer;
        model_job(m, LK_JOB_REVOKE, 1, REVOKED);
        model_tick(m, 0);
        model_run(m);
        model_expect(m, rows[i].trouble, rows[i].done, NULL);
        assert_int_equal(model_counted(m, LK_L2_ERRORS), 1);
        assert_int_equal(m->link.state, LK_LINK_UP);
        m->command = NULL;
        model_clear(m);
        model_job(m, LK_JOB_TOUCH, 1, TOUCHED); /* the place is free again */
        model_tick(m, 0);
        model_run(m);
        assert_int_equal(count(m, "= done " TOUCHED " 0\n"), 1);
        model_close(m);
    }
}

/* A server that says NOSCRIPT to the script itself must not be asked for ever. */
static void test_noscript_to_the_whole_script_ends(void **state)
{
    (void)state;
    redis_model *m = up();
    m->scripts_known = false;
    m->command = "EVAL";
    m->answer = "-NOSCRIPT no\r\n";
    model_job(m, LK_JOB_REVOKE, 1, REVOKED);
    model_tick(m, 0);
    for (int i = 0; i < 20; i++) {
        model_serve(m, 0);
        model_deliver(m, 0);
    }
    assert_true(model_saw(m, "= done " REVOKED " -"));
    model_close(m);
}

static void test_at_most_so_many_are_under_way(void **state)
{
    (void)state;
    redis_model *m = up();
    char name[LATCHKEY_SELECTOR_LENGTH + 1];
    for (unsigned i = 0; i < LK_LINK_JOBS + 10; i++) model_job(m, LK_JOB_TOUCH, 0, numbered(name, i));
    model_tick(m, 0);
    assert_int_equal(m->job_count, 10);
    model_tick(m, 1);
    assert_int_equal(m->job_count, 10);
    model_serve(m, 0);
    assert_int_equal(count(m, "0 EVALSHA touch"), LK_LINK_JOBS);
    model_deliver(m, 0);
    assert_int_equal(count(m, "= done"), LK_LINK_JOBS);
    model_tick(m, 0);
    assert_int_equal(m->job_count, 0);
    model_run(m);
    for (unsigned i = 0; i < LK_LINK_JOBS + 10; i++) {
        char done[64];
        snprintf(done, sizeof done, "= done %s 0\n", numbered(name, i));
        assert_int_equal(count(m, done), 1);
    }
    model_close(m);
}

static void test_all_under_way_end_with_the_connection(void **state)
{
    (void)state;
    for (int when = 0; when < 3; when++) {
        redis_model *m = up();
        char name[LATCHKEY_SELECTOR_LENGTH + 1];
        for (unsigned i = 0; i < 5; i++) model_job(m, i % 2 ? LK_JOB_TOUCH : LK_JOB_REVOKE, 0, numbered(name, i));
        model_tick(m, 0);
        if (when > 0) model_serve(m, 0); /* Redis did it, and its answer is lost */
        if (when > 1) {                  /* one is answered before the end */
            m->byte_by_byte = true;
            m->side[0].used = 4;
            model_deliver(m, 0);
        }
        lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut");
        assert_int_equal(count(m, "= done"), 5);
        for (unsigned i = 0; i < 5; i++) {
            char done[64];
            snprintf(done, sizeof done, "= done %s %s\n", numbered(name, i), when > 1 && !i ? "0" : "-3");
            assert_int_equal(count(m, done), 1);
        }
        model_clear(m);
        model_up(m); /* and their late answers answer no job */
        assert_int_equal(count(m, "= done"), 0);
        for (int i = 0; i < LK_LINK_JOBS; i++) assert_int_equal(m->link.job[i].kind, LK_JOB_NONE);
        model_close(m);
    }
}

/* Jobs' answers and beats' answers come down one connection, in the order of the questions (guarantee I). */
static void test_answers_find_their_jobs_among_beats(void **state)
{
    (void)state;
    unit_random r = unit_random_new(1);
    redis_model *m = model_open("h?partitions=4&staleness_ms=100", 1);
    model_up(m);
    model_clear(m);
    char name[LATCHKEY_SELECTOR_LENGTH + 1], done[64];
    unsigned given = 0, reads = 0, leases = m->leases;
    for (uint64_t i = unit_rounds(3000); i; i--) {
        for (uint64_t n = unit_below(&r, 3); n && m->job_count < 20; n--) {
            static const int kinds[] = {LK_JOB_TOUCH, LK_JOB_REVOKE, LK_JOB_REFRESH};
            model_job(m, kinds[unit_below(&r, 3)], given % 4, numbered(name, given));
            given++;
        }
        if (unit_chance(&r, 10)) m->scripts_known = false;
        model_tick(m, (int64_t)unit_below(&r, 30));
        if (unit_chance(&r, 70)) model_serve(m, 0);
        model_deliver(m, (int)unit_below(&r, 2));
        if (i % 64 == 1) {
            for (int k = 0; k < 3; k++) {
                model_run(m);
                model_tick(m, 0);
            }
            model_run(m);
            assert_int_equal(m->link.state, LK_LINK_UP);
            for (unsigned k = 0; k < given; k++) {
                snprintf(done, sizeof done, "= done %s 0\n", numbered(name, k));
                assert_int_equal(count(m, done), 1);
            }
            for (const char *at = m->log; (at = strstr(at, "= read job")); at++) /* the number is its own */
                assert_int_equal(atoll(at + 10), atoll(strchr(at + 10, ' ') + 3));
            reads += count(m, "= read");
            given = 0;
            model_clear(m);
        }
    }
    assert_true(m->leases > leases);
    assert_true(reads > 10);
    assert_false(model_saw(m, "trouble"));
    model_close(m);
}

/* ---------------------------------------------------------------------------------------- refreshes -- */

static void test_a_refresh_asks_two_questions_and_tells_both_answers(void **state)
{
    (void)state;
    redis_model *m = up();
    const model_record there = {.selector = "job00000000000000007"};
    m->records = &there;
    model_job(m, LK_JOB_REFRESH, 3, "job00000000000000007");
    model_job(m, LK_JOB_REFRESH, 1, "job00000000000000008"); /* is no more */
    model_tick(m, 0);
    model_run(m);
    model_expect(m, "0 HGET lk:{3}:s:job00000000000000007 v\n0 PTTL lk:{3}:s:job00000000000000007\n",
                 "0 HGET lk:{1}:s:job00000000000000008 v\n0 PTTL lk:{1}:s:job00000000000000008\n",
                 "= read job00000000000000007 2 7 leased\n= done job00000000000000007 0\n",
                 "= read job00000000000000008 0 8 leased\n= done job00000000000000008 0\n", NULL);
    assert_int_equal(count(m, "= read"), 2);
    assert_int_equal(count(m, "= done"), 2);
    assert_int_equal(model_counted(m, LK_L2_WRITES), 0);
    model_close(m);
}

/* Errors are the host's to judge, as a miss' are: the link goes on. */
static void test_errors_of_a_refresh_are_handed_on(void **state)
{
    (void)state;
    static const char *const commands[] = {"HGET", "PTTL"};
    for (size_t i = 0; i < UNIT_COUNT(commands); i++) {
        redis_model *m = up();
        m->command = commands[i];
        m->answer = "-OOM no\r\n";
        model_job(m, LK_JOB_REFRESH, 3, "job00000000000000007");
        model_tick(m, 0);
        model_run(m);
        model_expect(m, i ? "= read job00000000000000007 0 0 leased\n" : "= read job00000000000000007 4 7 leased\n",
                     "= done job00000000000000007 0\n", NULL);
        assert_int_equal(m->link.state, LK_LINK_UP);
        model_close(m);
    }
}

/* A refresh runs no script, so there is none to be sent: its end is its end, and its first answer is no leak. */
static void test_a_refresh_that_is_told_of_a_script(void **state)
{
    (void)state;
    redis_model *m = up();
    m->command = "PTTL";
    m->answer = "-NOSCRIPT no\r\n";
    model_job(m, LK_JOB_REFRESH, 3, "job00000000000000007");
    model_tick(m, 0);
    model_run(m);
    assert_int_equal(count(m, "= read"), 1);
    assert_int_equal(count(m, "= done"), 1);
    assert_int_equal(count(m, "HGET"), 1); /* asked once */
    assert_int_equal(model_counted(m, LK_L2_WRITES), 0);
    assert_int_equal(m->link.state, LK_LINK_UP);
    model_close(m);
}

/* The connection ends before, between and behind the two answers: one end for each, and the first answer is no leak. */
static void test_a_refresh_ends_with_the_connection(void **state)
{
    (void)state;
    for (size_t bytes = 0; bytes < 12; bytes++) {
        redis_model *m = up();
        for (unsigned i = 0; i < 3; i++) {
            char name[LATCHKEY_SELECTOR_LENGTH + 1];
            model_job(m, LK_JOB_REFRESH, 0, numbered(name, i));
        }
        model_tick(m, 0);
        model_serve(m, 0);
        m->side[0].used = bytes; /* "$-1", ":0": of the first job, and the first of the second */
        model_deliver(m, 0);
        lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut");
        assert_int_equal(count(m, "= done"), 3);
        assert_int_equal(count(m, "= read"), bytes >= 9);
        assert_int_equal(count(m, " -3\n"), bytes >= 9 ? 3 : 4); /* and one of the trouble */
        model_clear(m);
        model_up(m);
        assert_int_equal(count(m, "= done"), 0);
        if (bytes == 11) { /* the link itself is closed in the middle of one */
            model_job(m, LK_JOB_REFRESH, 0, REVOKED);
            model_tick(m, 0);
            model_serve(m, 0);
            m->side[0].used = 5;
            model_deliver(m, 0);
        }
        model_close(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_touch_and_revocations),
        cmocka_unit_test(test_a_touch_is_commands_that_create_nothing),
        cmocka_unit_test(test_a_touch_that_moved_nothing_is_looked_at_by_the_script),
        cmocka_unit_test(test_a_server_without_gt_is_touched_by_scripts),
        cmocka_unit_test(test_a_touch_that_is_refused_is_told),
        cmocka_unit_test(test_a_revocation_brings_the_calls_that_were_lost),
        cmocka_unit_test(test_nothing_is_started_before_it_is_up),
        cmocka_unit_test(test_a_script_that_is_not_known_is_sent_whole),
        cmocka_unit_test(test_errors_are_told),
        cmocka_unit_test(test_noscript_to_the_whole_script_ends),
        cmocka_unit_test(test_at_most_so_many_are_under_way),
        cmocka_unit_test(test_all_under_way_end_with_the_connection),
        cmocka_unit_test(test_answers_find_their_jobs_among_beats),
        cmocka_unit_test(test_a_refresh_asks_two_questions_and_tells_both_answers),
        cmocka_unit_test(test_errors_of_a_refresh_are_handed_on),
        cmocka_unit_test(test_a_refresh_that_is_told_of_a_script),
        cmocka_unit_test(test_a_refresh_ends_with_the_connection),
    };
    return cmocka_run_group_tests_name("link_jobs", tests, unit_setup, NULL);
}

/* SPDX-License-Identifier: MIT
 *
 * The log of a process with handles: Redis' going and coming, what becomes of L1 and of records, nothing secret (F), and
 * a log function that is changed while handles come and go.
 */
#include "fake.h"
#include "test_handle.h"
#include "logbook.h"
#include "threads.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#define PASSWORD "p@ss:w/rd?&=%#$5"
#define PASSWORD_ESCAPED "p%40ss%3Aw%2Frd%3F%26%3D%25%23%245"
#define GOOD "--appendonly", "yes"

static redis *good;

/* The lines are exactly these, each given by its beginning; "" ends them. */
static void assert_lines(const char *const *starts)
{
    char *text = logbook_text(), *rest = text, *line;
    size_t i = 0;
    while ((line = strsep(&rest, "\n")) && *line) {
        if (!*starts[i] || strncmp(line, starts[i], strlen(starts[i])))
            fail_msg("line %zu is '%s', wanted '%s...'", i, line, starts[i]);
        i++;
    }
    if (*starts[i]) fail_msg("nothing was said that begins with '%s'", starts[i]);
    free(text);
}

/* A link that cannot be had is tried again and again, and said once. */
static void test_down_is_said_once_and_up_once(void **state)
{
    (void)state;
    static const fake_script loading = {.answer = "-LOADING Redis is loading the dataset in memory\r\n"};
    fake *f = fake_start(&loading);
    logbook_open();
    latchkey *lk = handle_open_at(fake_port(f), "lazy=1");
    wait_for(fake_commands(f) >= 8);
    const char *const once[] = {"4 link: down: Redis is loading its data set (-LOADING)", ""};
    assert_lines(once);
    handle_close(lk);
    fake_end(f);

    logbook_clear();
    lk = handle_open(good, "staleness_ms=1000");
    assert_int_equal(logbook_lines(), 0);
    redis_freeze(good); /* seen at the next beat */
    wait_for(logbook_has("4 link: down: "));
    redis_thaw(good);
    wait_for(logbook_has("5 link: up after "));
    handle_close(lk);
    logbook_close();
}

static void test_open_that_fails_says_why(void **state)
{
    (void)state;
    char config[256], error[256];
    latchkey *lk;
    logbook_open();
    snprintf(config, sizeof config, "redis://127.0.0.1:%d?deadline_ms=10000&partitions=8", good->port);
    latchkey *first = handle_open(good, "partitions=64");
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &lk, error, sizeof error));
    assert_contains(error, "64 partitions");
    const char *const lines[] = {"3 link: down: partitions=8, but Redis holds sessions in 64 partitions", ""};
    assert_lines(lines);
    handle_close(first);
    logbook_close();
}

static void set_number(latchkey *lk, int number)
{
    redis_do(good, "SET lk:{3}:q %d", number);
    uint64_t beats = stats_of(lk).beats; /* one may be under way */
    wait_for(stats_of(lk).beats >= beats + 2);
}

static void test_l1_emptied_for_a_reason(void **state)
{
    (void)state;
    latchkey *lk = handle_open(good, "staleness_ms=1000&partitions=64");
    int64_t limit = check_now_ms() + CHECK_PATIENCE_MS;
    logbook_open();
    /* As if a thousand had been published while the link was away, and then forgotten. Again, where the link was lost at
     * the wrong moment, since a new connection takes the numbers as they are. */
    while (!logbook_has("4 l1: the messages of ") || !logbook_has("4 l1: emptied: Redis counts its revocations anew")) {
        assert_true(check_now_ms() < limit);
        set_number(lk, 1000);
        set_number(lk, 1);
    }
    handle_close(lk);
    logbook_close();
}

/* Another server's L1 is emptied, which is no news; that Redis lost count would be. */
static void test_a_restart_is_no_lost_count(void **state)
{
    (void)state;
    latchkey *lk = handle_open(good, "staleness_ms=1000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token)); /* so that there is a count */
    logbook_open();
    uint64_t empties = stats_of(lk).empties, beats = stats_of(lk).beats;
    redis_kill(good);
    redis_boot(good);
    wait_for(logbook_has("5 link: up after ") && stats_of(lk).empties > empties && stats_of(lk).beats >= beats + 3);
    assert_false(logbook_has("l1: emptied"));
    handle_close(lk);
    logbook_close();
}

static void test_damaged_records(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    latchkey *maker = handle_open(good, ""), *lk = handle_open(good, "staleness_ms=400");
    make_session(maker, 1, token);
    handle_close(maker);
    redis_do(good, "HSET %s v nonsense", session_key(good, token, key));
    logbook_open();
    for (int i = 0; i < 3; i++) assert_status(lk, LATCHKEY_CORRUPT, validate(lk, token));
    wait_for(logbook_has("3 records: "));
    handle_close(lk);
    logbook_close();
}

/* ---------------------------------------------------------------------------------------------- no secret -- */

/* All that was said since the last time. */
static void assert_no_secret(const char *token)
{
    const char *const secrets[] = {
        PASSWORD, PASSWORD_ESCAPED, "wrong-secret", "other-secret", token, token + LATCHKEY_SELECTOR_LENGTH};
    char *text = logbook_text();
    assert_true(*text);
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) assert_lacks(text, secrets[i]);
    free(text);
    logbook_clear();
}

static void test_F_no_secret_in_any_line(void **state)
{
    (void)state;
    char config[512], wrong[512], error[512], token[LATCHKEY_TOKEN_SIZE], key[128];
    latchkey *lk, *none;
    redis *guarded = redis_start("--requirepass", PASSWORD);
    snprintf(config, sizeof config, "redis://:%s@127.0.0.1:%d?deadline_ms=10000&staleness_ms=400", PASSWORD_ESCAPED,
             guarded->port);
    snprintf(wrong, sizeof wrong, "redis://:wrong-secret@127.0.0.1:%d?deadline_ms=10000", guarded->port);
    logbook_open();
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(wrong, &none, error, sizeof error));
    assert_true(logbook_has("3 link: down: Redis refuses the user or password"));
    assert_status(NULL, LATCHKEY_OK, latchkey_open(config, &lk, error, sizeof error));
    make_session(lk, 1, token);
    warm(lk, token);
    redis_do(guarded, "HSET %s v nonsense", session_key(guarded, token, key));
    redis_do(guarded, "PUBLISH lk:{%u}:rev %s", token_partition(token), token); /* a token where a selector should be */
    assert_status_in(lk, load(lk, token), LATCHKEY_CORRUPT);
    wait_for(logbook_has("3 records: "));
    assert_no_secret(token);
    /* The password is changed under it. */
    redis_do(guarded, "CONFIG SET requirepass other-secret");
    guarded->password = "other-secret";
    redis_do(guarded, "CLIENT KILL TYPE pubsub");
    wait_for(logbook_has("3 link: down: Redis refuses the user or password"));
    latchkey_close(lk);
    assert_no_secret(token);
    logbook_close();
    redis_end(guarded);
}

/* ------------------------------------------------------------------------------------------------ threads -- */

static _Atomic unsigned long heard, odd;
static int here, there;
static void hear(void *context, int level, const char *text)
{
    atomic_fetch_add(&heard, 1);
    if ((context != &here && context != &there) || level < LATCHKEY_LOG_ERROR || !strchr(text, ':'))
        atomic_fetch_add(&odd, 1);
}

/* Thread 0 changes the function; the others open handles on a server of which there is something to say. */
static void open_and_set(crew_member *member)
{
    char config[256];
    _Atomic int *failed = member->shared;
    handle_config(server, 0, "", config, sizeof config);
    while (member->index == 0 && !crew_stopped(member)) {
        latchkey_set_log(hear, &here);
        latchkey_set_log(hear, &there);
        latchkey_set_log(NULL, NULL);
        sched_yield();
    }
    for (int i = 0; member->index && i < 10; i++) {
        latchkey *lk;
        int status = latchkey_open(config, &lk, NULL, 0);
        if (status && status != LATCHKEY_UNAVAILABLE) *failed = status; /* a slow machine may be late */
        latchkey_close(lk);
    }
    if (member->index == 1) crew_stop(member->crew);
}

static void test_set_while_handles_come_and_go(void **state)
{
    (void)state;
    _Atomic int failed = 0;
    heard = odd = 0;
    for (int i = 0; i < 100 && !heard; i++) crew_run(3, open_and_set, &failed);
    latchkey_set_log(NULL, NULL);
    assert_int_equal(failed, 0);
    assert_true(heard > 0);
    assert_int_equal(odd, 0);
}

static int start_both(void **state)
{
    int failed = server_start(state);
    good = redis_start(GOOD);
    return failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_down_is_said_once_and_up_once),
        TEST(test_open_that_fails_says_why),
        TEST(test_l1_emptied_for_a_reason),
        TEST(test_a_restart_is_no_lost_count),
        TEST(test_damaged_records),
        TEST(test_F_no_secret_in_any_line),
        TEST(test_set_while_handles_come_and_go),
    };
    return cmocka_run_group_tests(tests, start_both, server_end);
}

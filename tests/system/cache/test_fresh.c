/* SPDX-License-Identifier: MIT
 *
 * latchkey_validate_fresh and latchkey_submit_fresh: L1 answers under a lease that is young enough for the caller, else Redis
 * is asked. What ends a session is done by hand, and not announced: what L1 says is then told from what Redis says.
 */
#include "test_handle.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { AGE_MAX = 60000 }; /* staleness_ms: beats are so rare that none comes between two calls by itself */
#define RARE "staleness_ms=60000"

static int fresh(latchkey *lk, const char *token, int64_t max_age_ms)
{
    latchkey_entry entry, zeros;
    memset(&entry, 0xff, sizeof entry);
    memset(&zeros, 0, sizeof zeros);
    int status = latchkey_validate_fresh(lk, token, strlen(token), max_age_ms, &entry);
    if (status) assert_memory_equal(&entry, &zeros, sizeof entry);
    else assert_int_equal(entry.user_id, 8);
    return status;
}

static latchkey_answer reap_one(latchkey *lk)
{
    latchkey_answer answer = {.status = 99};
    while (!latchkey_reap(lk, &answer, 1)) {
        struct pollfd ready = {.fd = latchkey_fd(lk), .events = POLLIN};
        assert_int_equal(poll(&ready, 1, 30000), 1);
    }
    return answer;
}

static int fresh_later(latchkey *lk, const char *token, int64_t max_age_ms)
{
    assert_status(lk, LATCHKEY_OK, latchkey_submit_fresh(lk, token, strlen(token), max_age_ms, 7));
    latchkey_answer answer = reap_one(lk);
    assert_int_equal(answer.tag, 7);
    return answer.status;
}

static void hide(const char *token)
{
    char key[128];
    session_key(server, token, key);
    redis_do(server, "RENAME %s away", key);
}

static void test_0_always_asks(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(server, RARE);
    make_session(lk, 8, token);
    warm(lk, token);
    uint64_t before = stats_of(lk).l2_reads;
    for (int i = 0; i < 20; i++) assert_status(lk, LATCHKEY_OK, fresh(lk, token, 0));
    assert_int_equal(stats_of(lk).l2_reads - before, 20);
    for (int i = 0; i < 20; i++) assert_status(lk, LATCHKEY_OK, fresh_later(lk, token, 0));
    assert_int_equal(stats_of(lk).l2_reads - before, 40);
    hide(token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token)); /* L1 does not know */
    assert_status(lk, LATCHKEY_OK, fresh(lk, token, AGE_MAX));
    assert_status(lk, LATCHKEY_OK, fresh_later(lk, token, AGE_MAX));
    assert_status(lk, LATCHKEY_NOT_FOUND, fresh(lk, token, 0));
}

static void test_0_always_asks_when_submitted(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(server, RARE);
    make_session(lk, 8, token);
    warm(lk, token);
    hide(token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, fresh_later(lk, token, 0));
}

/* The lease is confirmed by open, and then not for 15 s. */
static void test_the_age_is_the_leases(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(server, RARE);
    make_session(lk, 8, token);
    warm(lk, token);
    usleep(60000);
    uint64_t before = stats_of(lk).l2_reads;
    assert_status(lk, LATCHKEY_OK, fresh(lk, token, AGE_MAX));
    assert_status(lk, LATCHKEY_OK, fresh(lk, token, INT64_MAX));
    assert_status(lk, LATCHKEY_OK, fresh_later(lk, token, AGE_MAX));
    assert_status(lk, LATCHKEY_OK, fresh_later(lk, token, INT64_MAX));
    assert_int_equal(stats_of(lk).l2_reads, before);
    hide(token);
    assert_status(lk, LATCHKEY_NOT_FOUND, fresh(lk, token, 40));
}

/* ----------------------------------------------------------------------------------------------- cut-offs -- */

/* As latchkey_revoke_everyone of an instance whose message is lost: the session was made up to then. */
static void cut_off(const char *token, int64_t created_at_ms)
{
    redis_do(server, "SET lk:{%u}:e %lld", token_partition(token), (long long)created_at_ms);
}

static int64_t made_at(latchkey *lk, const char *token)
{
    latchkey_entry entry;
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry));
    return entry.created_at_ms;
}

static void ends_by_a_cutoff(int (*ask)(latchkey *lk, const char *token, int64_t max_age_ms))
{
    char token[LATCHKEY_TOKEN_SIZE], later[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(server, RARE "&partitions=1");
    make_session(lk, 8, token);
    int64_t made_ms = made_at(lk, token);
    warm(lk, token);
    do make_session(lk, 8, later);
    while (made_at(lk, later) == made_ms);
    cut_off(token, made_ms - 1);
    assert_status(lk, LATCHKEY_OK, ask(lk, token, 0));
    cut_off(token, made_ms);
    assert_status(lk, LATCHKEY_NOT_FOUND, ask(lk, token, 0));
    assert_status(lk, LATCHKEY_OK, ask(lk, later, 0));
    wait_for(try_validate(lk, token) != LATCHKEY_OK); /* and now L1 knows */
    cut_off(token, made_ms - 1);                      /* an older one than is known */
    assert_status(lk, LATCHKEY_NOT_FOUND, ask(lk, token, 0));
}

static void test_C_a_cutoff_that_was_not_heard(void **state)
{
    (void)state;
    ends_by_a_cutoff(fresh);
}

static void test_C_a_cutoff_that_was_not_heard_when_submitted(void **state)
{
    (void)state;
    ends_by_a_cutoff(fresh_later);
}

static void test_A_what_is_no_cutoff_is_no_answer(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(server, RARE "&partitions=1");
    make_session(lk, 8, token);
    redis_do(server, "SET lk:{0}:e junk");
    assert_status(lk, LATCHKEY_CORRUPT, fresh(lk, token, 0));
    assert_status(lk, LATCHKEY_CORRUPT, fresh_later(lk, token, 0));
    redis_do(server, "RPUSH list junk");
    redis_do(server, "RENAME list lk:{0}:e");
    assert_status(lk, LATCHKEY_CORRUPT, fresh(lk, token, 0));
    assert_status(lk, LATCHKEY_CORRUPT, fresh_later(lk, token, 0));
}

/* Of a queue: a plain question that was asked already does not answer a fresh one, however old an answer may be; one that
 * waits for the connection reads the cut-off for both. */
static void test_C_a_fresh_question_joins_no_plain_one(void **state)
{
    (void)state;
    for (int connected = 0; connected < 2; connected++) {
        char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE];
        latchkey *lk = handle_open(server, RARE "&l1_capacity=0");
        make_session(lk, 8, token);
        make_session(lk, 8, other);
        int64_t made_ms = made_at(lk, token);
        if (connected) assert_status(lk, LATCHKEY_OK, fresh_later(lk, other, INT64_MAX));
        cut_off(token, made_ms);
        assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, token, LATCHKEY_TOKEN_LENGTH, 1));
        assert_status(lk, LATCHKEY_OK, latchkey_submit_fresh(lk, token, LATCHKEY_TOKEN_LENGTH, AGE_MAX - 1, 2));
        for (int i = 0; i < 2; i++) {
            latchkey_answer answer = reap_one(lk);
            if (answer.tag == 2) assert_status(lk, LATCHKEY_NOT_FOUND, answer.status);
        }
        redis_do(server, "DEL lk:{%u}:e", token_partition(token));
    }
}

static void test_plain_misses_read_no_cutoff(void **state)
{
    (void)state;
    enum { READS = 40 };
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(server, RARE "&l1_capacity=0");
    make_session(lk, 8, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    long long gets = redis_calls(server, "get"), hgets = redis_calls(server, "hget");
    for (int i = 0; i < READS; i++)
        assert_status(lk, LATCHKEY_OK, i % 2 ? validate(lk, token) : fresh_later(lk, token, INT64_MAX));
    assert_int_equal(redis_calls(server, "hget") - hgets, READS);
    assert_in_range(redis_calls(server, "get") - gets, 0, READS / 4); /* those of beats */
}

/* --------------------------------------------------------------------------------------------------------- */

/* Callers at once do not join a read that began before their call. */
enum { THREADS = 8, CALLS = 40 };
typedef struct caller {
    latchkey *lk;
    const char *token;
    int wrong;
} caller;

static void *ask(void *shared)
{
    caller *c = shared;
    latchkey_entry entry;
    for (int i = 0; i < CALLS; i++)
        c->wrong += latchkey_validate_fresh(c->lk, c->token, LATCHKEY_TOKEN_LENGTH, 0, &entry) != LATCHKEY_OK;
    return NULL;
}

static void test_each_caller_asks_for_itself(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(server, RARE);
    make_session(lk, 8, token);
    warm(lk, token);
    uint64_t before = stats_of(lk).l2_reads;
    caller callers[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (caller){lk, token, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].wrong, 0);
    }
    assert_int_equal(stats_of(lk).l2_reads - before, THREADS * CALLS);
}

/* With Redis lost an answer of before is no fresh one, whatever grace_ms is. */
static void test_A_redis_lost_is_no_answer(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    redis *own = redis_start(NULL);
    latchkey *lk = handle_open(own, "staleness_ms=400&grace_ms=600000&deadline_ms=300");
    make_session(lk, 8, token);
    warm(lk, token);
    redis_kill(own);
    latchkey_entry entry;
    wait_for(latchkey_validate(lk, token, strlen(token), &entry) == LATCHKEY_OK && (entry.flags & LATCHKEY_FLAG_STALE));
    assert_status(lk, LATCHKEY_UNAVAILABLE, fresh(lk, token, 0));
    assert_status(lk, LATCHKEY_UNAVAILABLE, fresh(lk, token, INT64_MAX));
    assert_status(lk, LATCHKEY_UNAVAILABLE, fresh_later(lk, token, INT64_MAX - 1));
    handle_close(lk);
    redis_end(own);
}

static void test_arguments(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_entry entry;
    latchkey *lk = handle_open(server, "");
    make_session(lk, 8, token);
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, fresh(lk, token, -1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_validate_fresh(NULL, token, 43, 0, &entry));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_validate_fresh(lk, NULL, 43, 0, &entry));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_validate_fresh(lk, token, 43, 0, NULL));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_submit_fresh(lk, token, 43, -1, 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_submit_fresh(NULL, token, 43, 1, 1));
    assert_status(lk, LATCHKEY_MALFORMED, fresh(lk, "short", 0));
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_submit_fresh(lk, "short", 5, 0, 1));
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, fresh(lk, token, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_0_always_asks),
        TEST(test_0_always_asks_when_submitted),
        TEST(test_the_age_is_the_leases),
        TEST(test_each_caller_asks_for_itself),
        TEST(test_C_a_cutoff_that_was_not_heard),
        TEST(test_C_a_cutoff_that_was_not_heard_when_submitted),
        TEST(test_A_what_is_no_cutoff_is_no_answer),
        TEST(test_C_a_fresh_question_joins_no_plain_one),
        TEST(test_plain_misses_read_no_cutoff),
        TEST(test_A_redis_lost_is_no_answer),
        TEST(test_arguments),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

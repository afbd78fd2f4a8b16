/* SPDX-License-Identifier: MIT
 *
 * Queues: a request of each kind has one result, on the queue that it was submitted to, as the blocking function would answer it;
 * and nothing waits.
 */
#include "test_handle.h"
#include "threads.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int readable(latchkey_queue *q, int wait_ms)
{
    struct pollfd p = {.fd = latchkey_queue_fd(q), .events = POLLIN};
    return poll(&p, 1, wait_ms) == 1;
}

static size_t collect(latchkey_queue *q, latchkey_result *results, size_t wanted)
{
    size_t got = 0;
    int64_t until = check_now_ms() + CHECK_PATIENCE_MS;
    while (got < wanted && check_now_ms() < until)
        if (readable(q, 1000)) got += latchkey_queue_reap(q, results + got, sizeof *results, wanted - got);
    return got;
}

static latchkey_request request_of(int kind, const char *token)
{
    static uint64_t tag;
    latchkey_request r = {.size = sizeof r, .kind = kind, .tag = ++tag, .token = token};
    r.token_len = token ? strlen(token) : 0;
    return r;
}

/* Submitted, and its result; the status is the result's. */
static int ask(latchkey *lk, latchkey_queue *q, const latchkey_request *r, latchkey_result *out)
{
    assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(q, r));
    assert_int_equal(collect(q, out, 1), 1);
    assert_int_equal(out->tag, r->tag);
    assert_int_equal(out->kind, r->kind);
    return out->status;
}

static void test_validations(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "");
    latchkey_queue *q = latchkey_queue_open(lk), *own = latchkey_queue_own(lk);
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_result result;
    latchkey_answer answer;
    make_session(maker, 77, token);
    assert_non_null(q);
    assert_non_null(own);
    assert_ptr_not_equal(q, own);
    assert_ptr_equal(latchkey_queue_own(lk), own);
    latchkey_request r = request_of(LATCHKEY_VALIDATE, token);
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    assert_int_equal(result.entry.user_id, 77);
    assert_string_equal(result.token, "");
    assert_null(result.record);
    r.fresh = 1;
    uint64_t reads = stats_of(lk).l2_reads;
    assert_status(lk, LATCHKEY_OK, ask(lk, own, &r, &result)); /* of age 0: Redis is asked */
    assert_int_equal(stats_of(lk).l2_reads, reads + 1);
    assert_status(lk, LATCHKEY_OK, end_session(maker, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, ask(lk, q, &r, &result));
    r.max_age_ms = -1;
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_queue_submit(q, &r));
    r = request_of(LATCHKEY_VALIDATE, "x");
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_queue_submit(q, &r));
    /* The short form is the own queue's. */
    assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, token, strlen(token), 5));
    assert_int_equal(latchkey_fd(lk), latchkey_queue_fd(own));
    assert_int_equal(collect(own, &result, 1), 1);
    assert_int_equal(result.tag, 5);
    assert_int_equal(latchkey_reap(lk, &answer, 1), 0);
    latchkey_queue_close(q);
    latchkey_queue_close(NULL);
    latchkey_queue_close(own); /* stays */
    assert_int_equal(latchkey_fd(lk), latchkey_queue_fd(own));
}

static void test_arguments(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    latchkey_queue *q = latchkey_queue_own(lk);
    latchkey_result result;
    char text[256], token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    latchkey_request r = request_of(LATCHKEY_VALIDATE, token);
    struct {
        latchkey_request known;
        char more[16];
    } newer = {.known = r};
    assert_null(latchkey_queue_open(NULL));
    assert_null(latchkey_queue_own(NULL));
    assert_int_equal(latchkey_queue_fd(NULL), LATCHKEY_BAD_ARGUMENT);
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_queue_submit(NULL, &r));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_queue_submit(q, NULL));
    r.size--;
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_queue_submit(q, &r));
    assert_status(lk, LATCHKEY_OK, latchkey_error_text(lk, text, sizeof text));
    assert_contains(text, "request.size");
    /* A newer program's: what this version does not know must be zeros. */
    newer.known.size = sizeof newer;
    newer.more[3] = 1;
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_queue_submit(q, &newer.known));
    newer.more[3] = 0;
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &newer.known, &result));
    r = request_of(99, token);
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_queue_submit(q, &r));
    r.kind = -1;
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_queue_submit(q, &r));
    assert_int_equal(latchkey_queue_reap(NULL, &result, sizeof result, 1), 0);
    assert_int_equal(latchkey_queue_reap(q, NULL, sizeof result, 1), 0);
    assert_int_equal(latchkey_queue_reap(q, &result, sizeof result - 1, 1), 0);
    assert_int_equal(latchkey_queue_reap(q, &result, sizeof result, 0), 0);
}

/* A program of a newer version has larger results: they stand that far apart, and zeros fill their ends. */
static void test_larger_results(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    latchkey_queue *q = latchkey_queue_own(lk);
    char token[LATCHKEY_TOKEN_SIZE];
    struct larger {
        latchkey_result known;
        char more[24];
    } results[3];
    make_session(lk, 9, token);
    memset(results, 0xff, sizeof results);
    for (int i = 0; i < 3; i++) {
        latchkey_request r = request_of(LATCHKEY_VALIDATE, token);
        assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(q, &r));
    }
    size_t got = 0;
    while (got < 3 && readable(q, 10000)) got += latchkey_queue_reap(q, &results[got].known, sizeof *results, 3 - got);
    assert_int_equal(got, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(results[i].known.entry.user_id, 9);
        for (size_t k = 0; k < sizeof results[i].more; k++) assert_int_equal(results[i].more[k], 0);
    }
}

static void test_at_most_64(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "in_flight=1");
    latchkey_queue *q[63];
    char text[256];
    for (int i = 0; i < 63; i++) assert_non_null(q[i] = latchkey_queue_open(lk));
    assert_null(latchkey_queue_open(lk));
    assert_status(lk, LATCHKEY_OK, latchkey_error_text(lk, text, sizeof text));
    assert_contains(text, "64");
    latchkey_queue_close(q[7]);
    assert_non_null(latchkey_queue_open(lk)); /* the others are closed with the handle */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_validations),
        TEST(test_arguments),
        TEST(test_larger_results),
        TEST(test_at_most_64),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

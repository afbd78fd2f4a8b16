/* SPDX-License-Identifier: MIT
 *
 * Queues: a request of each kind has one result, on the queue that it was submitted to, as the blocking function would answer it;
 * and nothing waits.
 */
#include "test_handle.h"
#include "threads.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
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

/* ---------------------------------------------------------------------------------------- all other kinds -- */

static latchkey_draft draft_of(uint64_t user_id)
{
    return (latchkey_draft){.size = sizeof(latchkey_draft), .user_id = user_id, .role = "member"};
}

static int create(latchkey *lk, latchkey_queue *q, uint64_t user_id, latchkey_result *out)
{
    latchkey_draft draft = draft_of(user_id);
    latchkey_request r = request_of(LATCHKEY_CREATE, NULL);
    r.draft = &draft;
    return ask(lk, q, &r, out);
}

static void test_a_login_and_a_logout(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *other = handle_open(server, "");
    latchkey_queue *q = latchkey_queue_open(lk);
    latchkey_result made, result;
    latchkey_entry entry;
    assert_status(lk, LATCHKEY_OK, create(lk, q, 42, &made));
    assert_int_equal(strlen(made.token), LATCHKEY_TOKEN_LENGTH);
    assert_status(lk, LATCHKEY_OK, latchkey_validate(other, made.token, LATCHKEY_TOKEN_LENGTH, &entry));
    assert_memory_equal(&entry, &made.entry, sizeof entry);
    assert_int_equal(entry.user_id, 42);
    assert_status(lk, LATCHKEY_OK, try_validate(lk, made.token));
    latchkey_request r = request_of(LATCHKEY_TOUCH, made.token);
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    r = request_of(LATCHKEY_REVOKE, made.token);
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    wait_for(validate(other, made.token) == LATCHKEY_NOT_FOUND);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, made.token));
    assert_status(lk, LATCHKEY_NOT_FOUND, ask(lk, q, &r, &result));
    r.kind = LATCHKEY_TOUCH;
    assert_status(lk, LATCHKEY_NOT_FOUND, ask(lk, q, &r, &result));
    /* With a token that was made before. */
    latchkey_draft draft = draft_of(42);
    char token[LATCHKEY_TOKEN_SIZE];
    assert_status(lk, LATCHKEY_OK, latchkey_token_new(lk, 42, token));
    r = request_of(LATCHKEY_CREATE, token);
    r.draft = &draft;
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    assert_string_equal(result.token, token);
    assert_status(lk, LATCHKEY_REFUSED, ask(lk, q, &r, &result));
    assert_string_equal(result.token, "");
    assert_int_equal(result.entry.user_id, 0);
    r.token = "not a token";
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_queue_submit(q, &r));
}

static void test_an_exchange(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    latchkey_queue *q = latchkey_queue_own(lk);
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_result result;
    make_session(lk, 5, token);
    latchkey_request r = request_of(LATCHKEY_ROTATE, token);
    r.grace_ms = 60000;
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    assert_string_not_equal(result.token, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, result.token));
    assert_status(lk, LATCHKEY_REFUSED, ask(lk, q, &r, &result));
    assert_string_equal(result.token, "");
    r.grace_ms = 3600001;
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, ask(lk, q, &r, &result));
    assert_status(lk, LATCHKEY_OK, validate(lk, token)); /* in its grace */
}

/* Everything is copied: what the request pointed to is scribbled over before it runs. */
static void test_fields(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    latchkey_queue *q = latchkey_queue_own(lk);
    char token[LATCHKEY_TOKEN_SIZE], name[2][16] = {"colour", "pq.key"}, data[2][16] = {"red", "material"},
                                     role[8] = "boss";
    latchkey_field fields[2] = {{name[0], data[0], 3}, {name[1], data[1], 8}};
    latchkey_draft draft = draft_of(5);
    latchkey_result result;
    size_t size;
    draft.role = role;
    draft.fields = fields;
    draft.field_count = 2;
    latchkey_request r = request_of(LATCHKEY_CREATE, NULL);
    r.draft = &draft;
    assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(q, &r));
    memset(name, 'x', sizeof name);
    memset(data, 'x', sizeof data);
    memset(role, 'x', sizeof role);
    memset(fields, 0xff, sizeof fields);
    memset(&draft, 0xff, sizeof draft);
    assert_int_equal(collect(q, &result, 1), 1);
    assert_status(lk, LATCHKEY_OK, result.status);
    assert_string_equal(result.entry.role, "boss");
    memcpy(token, result.token, sizeof token);

    r = request_of(LATCHKEY_LOAD, token);
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    assert_memory_equal(latchkey_record_field(result.record, "pq.key", &size), "material", 8);
    assert_int_equal(size, 8);
    latchkey_record_free(result.record);

    const char *const names[] = {"colour", "nothing"};
    r = request_of(LATCHKEY_GET_FIELDS, token);
    r.names = names;
    r.count = 2;
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    assert_memory_equal(latchkey_record_field(result.record, "colour", &size), "red", 3);
    uint64_t version = latchkey_record_version(result.record, "colour");
    assert_null(latchkey_record_field(result.record, "pq.key", &size));
    latchkey_record_free(result.record);

    latchkey_change change = {"colour", "green", 5, version};
    r = request_of(LATCHKEY_CHANGE_FIELDS, token);
    r.changes = &change;
    r.count = 1;
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    assert_status(lk, LATCHKEY_REFUSED, ask(lk, q, &r, &result));
    const latchkey_field gone = {"colour", NULL, 0};
    r = request_of(LATCHKEY_SET_FIELDS, token);
    r.fields = &gone;
    r.count = 1;
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    r = request_of(LATCHKEY_GET_FIELDS, token);
    r.names = names;
    r.count = 1;
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    assert_null(latchkey_record_field(result.record, "colour", &size));
    latchkey_record_free(result.record);

    const latchkey_access access = {.size = sizeof access, .role = "clerk"};
    r = request_of(LATCHKEY_SET_ACCESS, token);
    r.access = &access;
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    r = request_of(LATCHKEY_VALIDATE, token);
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    assert_string_equal(result.entry.role, "clerk");
    /* Of a session that is not there. */
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    const int kinds[] = {LATCHKEY_GET_FIELDS, LATCHKEY_LOAD,       LATCHKEY_CHANGE_FIELDS,
                         LATCHKEY_SET_FIELDS, LATCHKEY_SET_ACCESS, LATCHKEY_ROTATE};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        r = (latchkey_request){.size = sizeof r, .kind = kinds[i], .token = token, .token_len = LATCHKEY_TOKEN_LENGTH};
        r.names = names;
        r.changes = &change;
        r.fields = &gone;
        r.access = &access;
        r.count = 1;
        assert_status(lk, LATCHKEY_NOT_FOUND, ask(lk, q, &r, &result));
        assert_null(result.record);
    }
}

/* Tokens of another store, of any length: by a handle that knows which session they mean, and by one that does not yet. */
static void test_foreign_tokens(void **state)
{
    (void)state;
    static const char *const foreign[] = {"sess:0123456789abcdef", "sess:fedcba98765432100123456789"};
    latchkey *lk = handle_open(server, "foreign_until_ms=99999999999999");
    latchkey *cold = handle_open(server, "foreign_until_ms=99999999999999");
    latchkey_queue *q = latchkey_queue_own(lk), *other = latchkey_queue_own(cold);
    latchkey_draft draft = draft_of(6);
    latchkey_result result;
    for (int i = 0; i < 2; i++)
        assert_status(lk, LATCHKEY_OK, latchkey_import(lk, foreign[i], strlen(foreign[i]), &draft, 0, 0));
    latchkey_request r = request_of(LATCHKEY_VALIDATE, foreign[0]);
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    assert_true(result.entry.flags & LATCHKEY_FLAG_RENEW);
    r = request_of(LATCHKEY_ROTATE, foreign[0]);
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    assert_status(lk, LATCHKEY_OK, validate(lk, result.token));
    for (int i = 0; i < 2; i++) { /* known here; not known there */
        r = request_of(LATCHKEY_REVOKE, i ? foreign[1] : result.token);
        assert_status(lk, LATCHKEY_OK, i ? ask(cold, other, &r, &result) : ask(lk, q, &r, &result));
    }
    r = request_of(LATCHKEY_TOUCH, foreign[1]);
    assert_status(lk, LATCHKEY_NOT_FOUND, ask(lk, q, &r, &result));
    assert_status(cold, LATCHKEY_NOT_FOUND, ask(cold, other, &r, &result));
}

static void test_all_sessions_of_a_user(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=1000");
    latchkey_queue *q = latchkey_queue_own(lk);
    char token[3][LATCHKEY_TOKEN_SIZE];
    latchkey_result result;
    for (int i = 0; i < 3; i++) make_session(lk, 8, token[i]);
    latchkey_request r = request_of(LATCHKEY_REVOKE_USER, token[1]);
    r.user_id = 8;
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    assert_int_equal(result.count, 2);
    assert_status(lk, LATCHKEY_OK, validate(lk, token[1]));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token[0]));
    r.token = NULL;
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_queue_submit(q, &r)); /* token_len is left */
    r.token_len = 0;
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, &result));
    assert_int_equal(result.count, 1);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token[1]));
}

static void test_what_is_wrong_is_refused_at_once(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    latchkey_queue *q = latchkey_queue_own(lk);
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_result result;
    const latchkey_field bad[] = {{"x", "1", 1}, {"name", "1", 70000}, {"name", NULL, 1}};
    const char *const bad_names[] = {"x"};
    make_session(lk, 5, token);
    for (int kind = LATCHKEY_CREATE; kind <= LATCHKEY_LOAD; kind++) {
        latchkey_request r = request_of(kind, NULL); /* without all that it needs */
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_queue_submit(q, &r));
        r.token = "x";
        r.token_len = 1;
        r.names = bad_names;
        r.fields = bad;
        r.count = 1;
        assert_status_in(lk, latchkey_queue_submit(q, &r), LATCHKEY_MALFORMED, LATCHKEY_BAD_ARGUMENT);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const latchkey_change change = {bad[i].name, bad[i].data, bad[i].size, 0};
        latchkey_draft draft = draft_of(1);
        draft.fields = &bad[i];
        draft.field_count = 1;
        latchkey_request r = request_of(LATCHKEY_SET_FIELDS, token);
        r.fields = &bad[i];
        r.changes = &change;
        r.draft = &draft;
        r.count = 1;
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_queue_submit(q, &r));
        r.kind = LATCHKEY_CHANGE_FIELDS;
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_queue_submit(q, &r));
        r = request_of(LATCHKEY_CREATE, NULL);
        r.draft = &draft;
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_queue_submit(q, &r));
    }
    assert_int_equal(latchkey_queue_reap(q, &result, sizeof result, 1), 0);
    assert_int_equal(stats_of(lk).shed, 0);
}

/* --------------------------------------------------------------------------------------------- no server -- */

/* A (fail closed), B (a revocation denies from submit on), G (all are answered in time, and only once). */
static void test_ABG_a_server_that_says_nothing(void **state)
{
    (void)state;
    enum { SOME = 40 };
    static latchkey_result results[SOME + 1];
    static char tokens[SOME][LATCHKEY_TOKEN_SIZE];
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "deadline_ms=700&connections=2");
    latchkey_queue *q = latchkey_queue_open(lk);
    for (int i = 0; i < SOME; i++) {
        make_session(maker, (uint64_t)i + 1, tokens[i]);
        warm(lk, tokens[i]);
    }
    redis_freeze(server);
    int64_t began_ms = check_now_ms();
    for (int i = 0; i < SOME; i++) {
        latchkey_draft draft = draft_of(1);
        latchkey_request r = request_of(i % 4 == 0   ? LATCHKEY_REVOKE
                                        : i % 4 == 1 ? LATCHKEY_CREATE
                                        : i % 4 == 2 ? LATCHKEY_ROTATE
                                                     : LATCHKEY_LOAD,
                                        i % 4 == 1 ? NULL : tokens[i]);
        r.tag = (uint64_t)i;
        r.draft = &draft;
        assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(q, &r));
        if (r.kind == LATCHKEY_REVOKE)
            assert_status_in(lk, try_validate(lk, tokens[i]), LATCHKEY_AGAIN, LATCHKEY_NOT_FOUND);
    }
    assert_int_equal(collect(q, results, SOME), SOME);
    assert_true(check_now_ms() - began_ms >= 650); /* nothing was invented before */
    unsigned char seen[SOME] = {0};
    for (int i = 0; i < SOME; i++) {
        assert_in_range(results[i].tag, 0, SOME - 1);
        assert_int_equal(seen[results[i].tag]++, 0);
        assert_status(lk, results[i].kind == LATCHKEY_REVOKE ? LATCHKEY_PENDING : LATCHKEY_UNAVAILABLE,
                      results[i].status);
        assert_null(results[i].record);
        assert_string_equal(results[i].token, "");
    }
    assert_int_equal(latchkey_queue_reap(q, results, sizeof *results, SOME + 1), 0);
    assert_int_equal(stats_of(lk).pending, SOME / 4);
    redis_thaw(server);
    wait_for(stats_of(lk).pending == 0);
    wait_for(try_validate(maker, tokens[0]) != LATCHKEY_OK);
    for (int i = 0; i < SOME; i++) {
        int want = i % 4 == 0 ? LATCHKEY_NOT_FOUND : LATCHKEY_OK;
        wait_for(validate(lk, tokens[i]) == want || i % 4 == 2); /* an exchange may have been made */
    }
}

static void test_in_flight(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "in_flight=5&deadline_ms=60000");
    latchkey_queue *q = latchkey_queue_open(lk), *other = latchkey_queue_open(lk);
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_result results[6];
    make_session(maker, 1, token);
    redis_freeze(server);
    latchkey_request r = request_of(LATCHKEY_TOUCH, token);
    for (int i = 0; i < 5; i++) assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(q, &r));
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_queue_submit(q, &r));
    assert_int_equal(stats_of(lk).shed, 1);
    r.kind = LATCHKEY_REVOKE; /* refused: it denies nothing */
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_queue_submit(q, &r));
    r.kind = LATCHKEY_TOUCH;
    assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(other, &r)); /* each has its own */
    redis_thaw(server);
    assert_int_equal(collect(other, results, 1), 1);
    assert_int_equal(collect(q, results, 5), 5);
    for (int i = 0; i < 5; i++) assert_status(lk, LATCHKEY_OK, results[i].status);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    assert_status(lk, LATCHKEY_OK, ask(lk, q, &r, results)); /* what was reaped is free */
}

/* ---------------------------------------------------------------------------------------------- closing -- */

static void test_writes_outlive_their_queue(void **state)
{
    (void)state;
    enum { SOME = 20 };
    char tokens[SOME][LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(server, ""), *other = handle_open(server, "");
    latchkey_queue *q = latchkey_queue_open(lk);
    latchkey_result result;
    for (int i = 0; i < SOME; i++) make_session(lk, 3, tokens[i]);
    for (int i = 0; i < SOME; i++) {
        latchkey_request r = request_of(LATCHKEY_REVOKE, tokens[i]), load = request_of(LATCHKEY_LOAD, tokens[i]);
        assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(q, &load));
        assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(q, &r));
    }
    assert_int_equal(collect(q, &result, 1), 1);
    latchkey_record_free(result.record);
    latchkey_queue_close(q);
    for (int i = 0; i < SOME; i++) wait_for(validate(other, tokens[i]) == LATCHKEY_NOT_FOUND);
    assert_non_null(q = latchkey_queue_open(lk));
    latchkey_request r = request_of(LATCHKEY_TOUCH, tokens[0]);
    assert_status(lk, LATCHKEY_NOT_FOUND, ask(lk, q, &r, &result));
}

/* Of a login whose result is never reaped nothing is left, whether it was done already or not. */
static void test_close_ends_what_nothing_else_can_end(void **state)
{
    (void)state;
    enum { SOME = 10, USER = 8100 };
    latchkey *lk = handle_open(server, "");
    latchkey_draft draft = draft_of(USER);
    latchkey_request r = request_of(LATCHKEY_CREATE, NULL);
    char token[LATCHKEY_TOKEN_SIZE];
    r.draft = &draft;
    for (int done = 0; done < 2; done++) {
        latchkey_queue *q = latchkey_queue_open(lk);
        uint64_t purged = stats_of(lk).purges;
        for (int i = 0; i < SOME; i++) assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(q, &r));
        if (done) wait_for(sessions_of(lk, USER) == SOME);
        latchkey_queue_close(q);
        wait_for(stats_of(lk).purges >= purged + SOME);
        wait_for(sessions_of(lk, USER) == 0);
    }
    /* Also if the handle is closed at once. */
    for (int done = 0; done < 2; done++) {
        latchkey *last = handle_open(server, "deadline_ms=10000");
        latchkey_queue *q = latchkey_queue_open(last);
        for (int i = 0; i < SOME; i++) assert_status(last, LATCHKEY_OK, latchkey_queue_submit(q, &r));
        if (done) wait_for(sessions_of(lk, USER) == SOME);
        latchkey_queue_close(q);
        handle_close(last);
        assert_int_equal(sessions_of(lk, USER), 0);
    }
    /* An exchange without a grace has ended the old token. */
    latchkey_queue *q = latchkey_queue_open(lk);
    make_session(lk, USER, token);
    r = request_of(LATCHKEY_ROTATE, token);
    assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(q, &r));
    latchkey_queue_close(q);
    wait_for(sessions_of(lk, USER) == 0);
    /* The application has this token from before. */
    q = latchkey_queue_open(lk);
    assert_status(lk, LATCHKEY_OK, latchkey_token_new(lk, USER, token));
    r = request_of(LATCHKEY_CREATE, token);
    r.draft = &draft;
    assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(q, &r));
    latchkey_queue_close(q);
    wait_for(validate(lk, token) == LATCHKEY_OK);
}

static void test_close_carries_out_what_was_accepted(void **state)
{
    (void)state;
    enum { SOME = 30 };
    char tokens[SOME][LATCHKEY_TOKEN_SIZE];
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "");
    latchkey_queue *q = latchkey_queue_open(lk), *own = latchkey_queue_own(lk);
    for (int i = 0; i < SOME; i++) make_session(maker, 3, tokens[i]);
    for (int i = 0; i < SOME; i++) {
        latchkey_request r = request_of(LATCHKEY_REVOKE, tokens[i]), load = request_of(LATCHKEY_LOAD, tokens[i]);
        assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(own, &load));
        assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(i % 2 ? q : own, &r));
    }
    handle_close(lk);
    for (int i = 0; i < SOME; i++) wait_for(validate(maker, tokens[i]) == LATCHKEY_NOT_FOUND);
    /* Without a server it ends in time. */
    lk = handle_open(server, "deadline_ms=500");
    q = latchkey_queue_open(lk);
    latchkey_draft draft = draft_of(3);
    latchkey_request r = request_of(LATCHKEY_CREATE, NULL);
    r.draft = &draft;
    redis_freeze(server);
    for (int i = 0; i < SOME; i++) assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(q, &r));
    int64_t began_ms = check_now_ms();
    handle_close(lk);
    assert_true(check_now_ms() - began_ms < CHECK_PATIENCE_MS / 2);
    redis_thaw(server);
}

/* ------------------------------------------------------------------------------------------- two threads -- */

enum { ROUNDS = 200 };

typedef struct loop {
    latchkey *lk;
    char token[LATCHKEY_TOKEN_SIZE];
    int wrong;
} loop;

static void go_round(crew_member *m)
{
    loop *l = &((loop *)m->shared)[m->index];
    latchkey_queue *q = latchkey_queue_open(l->lk);
    if (!q) l->wrong = 1;
    for (uint64_t i = 0; i < ROUNDS && !l->wrong; i++) {
        latchkey_request r = {.size = sizeof r, .tag = m->index << 32 | i, .token = l->token};
        r.kind = i % 3 == 0 ? LATCHKEY_VALIDATE : i % 3 == 1 ? LATCHKEY_TOUCH : LATCHKEY_ROTATE;
        r.fresh = i % 2;
        r.token_len = LATCHKEY_TOKEN_LENGTH;
        latchkey_result result;
        if (latchkey_queue_submit(q, &r)) l->wrong = 2;
        while (!l->wrong && !latchkey_queue_reap(q, &result, sizeof result, 1)) readable(q, 1000);
        if (l->wrong || result.tag != r.tag || result.kind != r.kind || result.status) l->wrong = 3;
        if (r.kind == LATCHKEY_ROTATE) memcpy(l->token, result.token, sizeof l->token);
        if (r.kind == LATCHKEY_VALIDATE && result.entry.user_id != m->index + 1) l->wrong = 4;
    }
    latchkey_queue_close(q);
}

/* Each reaps its own, and nothing of the other's. */
static void test_a_queue_for_each_thread(void **state)
{
    (void)state;
    enum { LOOPS = 3 };
    loop loops[LOOPS];
    latchkey *lk = handle_open(server, "");
    for (int i = 0; i < LOOPS; i++) {
        loops[i] = (loop){.lk = lk};
        make_session(lk, (uint64_t)i + 1, loops[i].token);
    }
    crew_run(LOOPS, go_round, loops);
    for (int i = 0; i < LOOPS; i++) assert_int_equal(loops[i].wrong, 0);
}

/* Results of writes and of validations, in small pieces: each once, and the descriptor falls silent at the end. */
static void test_in_pieces(void **state)
{
    (void)state;
    enum { SOME = 60 };
    latchkey *lk = handle_open(server, "");
    latchkey_queue *own = latchkey_queue_own(lk);
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_result results[SOME];
    latchkey_answer answers[SOME];
    unsigned char seen[SOME] = {0};
    make_session(lk, 1, token);
    for (uint64_t i = 0; i < SOME; i++) {
        latchkey_request r = request_of(i % 2 ? LATCHKEY_VALIDATE : LATCHKEY_TOUCH, token);
        r.fresh = 1;
        r.tag = i;
        assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(own, &r));
    }
    /* The short form takes the validations, and leaves the rest: of that the descriptor goes on telling. */
    size_t got = 0, half = 0;
    int64_t until_ms = check_now_ms() + CHECK_PATIENCE_MS;
    while (half < SOME / 2 && check_now_ms() < until_ms)
        if (readable(own, 1000)) half += latchkey_reap(lk, answers + half, 7);
    assert_int_equal(half, SOME / 2);
    while (got < SOME / 2 && check_now_ms() < until_ms)
        if (readable(own, 1000)) got += latchkey_queue_reap(own, results + got, sizeof *results, 1);
    assert_int_equal(got, SOME / 2);
    for (size_t i = 0; i < SOME / 2; i++) {
        assert_int_equal(answers[i].tag % 2, 1);
        assert_int_equal(results[i].tag % 2, 0);
        assert_status(lk, LATCHKEY_OK, results[i].status);
        assert_int_equal(seen[answers[i].tag]++, 0);
        assert_int_equal(seen[results[i].tag]++, 0);
    }
    assert_int_equal(latchkey_queue_reap(own, results, sizeof *results, SOME), 0);
    wait_for(!latchkey_queue_reap(own, results, sizeof *results, 1) && !readable(own, 0));
}

/* -------------------------------------------------------------------------------------------------- fork -- */

static int child(latchkey *lk, latchkey_queue *q, latchkey_queue *own, const char *token)
{
    latchkey_result result;
    latchkey_request r = {.size = sizeof r, .kind = LATCHKEY_TOUCH, .token = token, .token_len = LATCHKEY_TOKEN_LENGTH};
    char text[64], made[LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = draft_of(1);
    if (latchkey_queue_submit(q, &r) != LATCHKEY_FORKED) return 1;
    r.kind = LATCHKEY_VALIDATE;
    if (latchkey_queue_submit(own, &r) != LATCHKEY_FORKED) return 2;
    if (latchkey_queue_reap(q, &result, sizeof result, 1)) return 3;
    if (latchkey_queue_fd(q) != LATCHKEY_FORKED) return 4;
    if (latchkey_queue_open(lk) || latchkey_queue_own(lk)) return 5;
    if (latchkey_log_read(lk, NULL, text, sizeof text) != LATCHKEY_FORKED) return 6;
    if (latchkey_drain(lk) != LATCHKEY_FORKED) return 7;
    if (latchkey_token_new(lk, 1, made) != LATCHKEY_FORKED) return 8;
    if (latchkey_create_with(lk, &draft, token, LATCHKEY_TOKEN_LENGTH) != LATCHKEY_FORKED) return 9;
    latchkey_queue_close(q);
    latchkey_close(lk);
    return 0;
}

static void test_J_a_child_has_none_of_it(void **state)
{
    (void)state;
    enum { SOME = 30 };
    latchkey *lk = handle_open(server, "deadline_ms=60000");
    latchkey_queue *q = latchkey_queue_open(lk), *own = latchkey_queue_own(lk);
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_result results[SOME];
    make_session(lk, 1, token);
    latchkey_request r = request_of(LATCHKEY_TOUCH, token);
    redis_freeze(server); /* so that they are under way */
    for (int i = 0; i < SOME; i++) assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(i % 2 ? q : own, &r));
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 1; i < 32; i++) signal(i, SIG_DFL);
        _exit(child(lk, q, own, token));
    }
    int status;
    redis_thaw(server);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(collect(q, results, SOME / 2), SOME / 2);
    assert_int_equal(collect(own, results, SOME / 2), SOME / 2);
    for (int i = 0; i < SOME / 2; i++) assert_status(lk, LATCHKEY_OK, results[i].status);
}

/* ------------------------------------------------------------------------------------------------- drain -- */

static void work_until_drained(crew_member *m)
{
    loop *l = m->shared;
    latchkey_entry entry;
    while (!crew_stopped(m)) {
        int status = latchkey_validate_fresh(l->lk, l->token, LATCHKEY_TOKEN_LENGTH, 0, &entry);
        if (status == LATCHKEY_UNAVAILABLE) break;
        if (status) l->wrong = status;
    }
}

static void test_drain(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *slow = handle_open(server, "deadline_ms=400");
    latchkey_queue *q = latchkey_queue_open(lk);
    loop l = {.lk = lk};
    latchkey_result results[2];
    char text[256];
    make_session(lk, 1, l.token);
    crew *c = crew_start(3, work_until_drained, &l);
    wait_for(stats_of(lk).l2_reads > 20);
    latchkey_request r = request_of(LATCHKEY_TOUCH, l.token);
    assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(q, &r));
    assert_status(lk, LATCHKEY_OK, latchkey_drain(lk));
    crew_join(c); /* each has been refused */
    assert_int_equal(l.wrong, 0);
    assert_status(lk, LATCHKEY_OK, try_validate(lk, l.token));
    assert_status(lk, LATCHKEY_OK, validate(lk, l.token)); /* a hit */
    assert_status(lk, LATCHKEY_UNAVAILABLE, touch(lk, l.token));
    assert_status(lk, LATCHKEY_OK, latchkey_error_text(lk, text, sizeof text));
    assert_contains(text, "drained");
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_queue_submit(q, &r));
    r.kind = LATCHKEY_VALIDATE;
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_queue_submit(q, &r));
    assert_int_equal(collect(q, results, 1), 1); /* accepted before */
    assert_status(lk, LATCHKEY_OK, results[0].status);
    assert_status(lk, LATCHKEY_OK, latchkey_drain(lk));
    assert_status(NULL, LATCHKEY_BAD_ARGUMENT, latchkey_drain(NULL));
    /* What is accepted is carried out, also where it waits for its turn meanwhile. */
    latchkey_queue *slow_q = latchkey_queue_own(slow);
    redis_freeze(server);
    r = request_of(LATCHKEY_REVOKE, l.token);
    for (int i = 0; i < 20; i++) assert_status(slow, LATCHKEY_OK, latchkey_queue_submit(slow_q, &r));
    wait_for(latchkey_drain(slow) == LATCHKEY_OK);
    redis_thaw(server);
    wait_for(stats_of(slow).pending == 0);
    handle_close(slow);
    handle_close(lk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_validations),
        TEST(test_arguments),
        TEST(test_larger_results),
        TEST(test_at_most_64),
        TEST(test_a_login_and_a_logout),
        TEST(test_an_exchange),
        TEST(test_fields),
        TEST(test_foreign_tokens),
        TEST(test_all_sessions_of_a_user),
        TEST(test_what_is_wrong_is_refused_at_once),
        TEST(test_ABG_a_server_that_says_nothing),
        TEST(test_in_flight),
        TEST(test_writes_outlive_their_queue),
        TEST(test_close_ends_what_nothing_else_can_end),
        TEST(test_close_carries_out_what_was_accepted),
        TEST(test_a_queue_for_each_thread),
        TEST(test_in_pieces),
        TEST(test_J_a_child_has_none_of_it),
        TEST(test_drain),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

/* SPDX-License-Identifier: MIT
 *
 * latchkey_try_validate_many: for each token what latchkey_try_validate would answer, whatever stands beside it.
 */
#include "test_handle.h"

#include <string.h>

enum { LENGTH = LATCHKEY_TOKEN_LENGTH, MOST = 100 };

typedef struct batch {
    size_t count;
    const char *tokens[MOST];
    size_t lens[MOST];
    latchkey_entry entries[MOST];
    int statuses[MOST];
} batch;

static void add(batch *b, const char *token, size_t len)
{
    b->tokens[b->count] = token;
    b->lens[b->count++] = len;
}

/* Asks for all at once and for each alone: the same answers, and nothing written behind the last. */
static void check(latchkey *lk, batch *b)
{
    latchkey_entry alone;
    memset(b->entries, 0xee, sizeof b->entries);
    memset(b->statuses, 0x55, sizeof b->statuses);
    assert_status(lk, LATCHKEY_OK,
                  latchkey_try_validate_many(lk, b->tokens, b->lens, b->count, b->entries, b->statuses));
    for (size_t i = 0; i < b->count; i++) {
        assert_status(lk, latchkey_try_validate(lk, b->tokens[i], b->lens[i], &alone), b->statuses[i]);
        assert_memory_equal(&alone, &b->entries[i], sizeof alone);
    }
    if (b->count < MOST) {
        assert_int_equal(b->statuses[b->count], 0x55555555);
        assert_int_equal(((unsigned char *)&b->entries[b->count])[0], 0xee);
    }
}

static void test_answers_are_those_of_single_calls(void **state)
{
    (void)state;
    static char tokens[40][LATCHKEY_TOKEN_SIZE];
    static const size_t counts[] = {0, 1, 2, 31, 32, 33, 64, 65, MOST};
    char unknown[LATCHKEY_TOKEN_SIZE], revoked[LATCHKEY_TOKEN_SIZE], cold[LATCHKEY_TOKEN_SIZE],
        wrong[LATCHKEY_TOKEN_SIZE];
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "staleness_ms=60000");
    for (int i = 0; i < 40; i++) {
        make_session(maker, 100 + (uint64_t)i, tokens[i]);
        warm(lk, tokens[i]);
    }
    make_session(maker, 1, cold);
    make_session(maker, 2, revoked);
    warm(lk, revoked);
    assert_status(lk, LATCHKEY_OK, end_session(lk, revoked));
    memcpy(unknown, cold, sizeof unknown); /* half of it another's */
    memcpy(unknown + 20, tokens[0] + 20, 23);
    memcpy(wrong, tokens[0], sizeof wrong);
    wrong[42] = wrong[42] == 'A' ? 'B' : 'A';

    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        batch b = {.count = 0};
        for (size_t i = 0; b.count < counts[c]; i++) {
            const char *odd[] = {unknown, revoked, cold, wrong, NULL, "", tokens[0]};
            if (i % 3) add(&b, tokens[i % 40], LENGTH);
            else add(&b, odd[i / 3 % 7], i / 3 % 7 == 5 ? 0 : i % 2 ? LENGTH : LENGTH - (i / 3 % 7 == 6));
        }
        check(lk, &b);
    }
}

static void test_every_token_gets_its_own_entry(void **state)
{
    (void)state;
    static char tokens[MOST][LATCHKEY_TOKEN_SIZE];
    batch b = {.count = 0};
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "staleness_ms=60000");
    for (size_t i = 0; i < MOST; i++) {
        make_session(maker, 1000 + i, tokens[i]);
        warm(lk, tokens[i]);
        add(&b, tokens[i], LENGTH);
    }
    uint64_t hits = stats_of(lk).l1_hits;
    check(lk, &b);
    for (size_t i = 0; i < MOST; i++) assert_int_equal(b.entries[i].user_id, 1000 + i);
    assert_int_equal(stats_of(lk).l1_hits, hits + 2 * MOST);
}

/* Without a lease nothing is admitted, and what is malformed is still said to be. */
static void test_nothing_is_admitted_without_a_lease(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(server, "staleness_ms=500&deadline_ms=500");
    make_session(lk, 1, token);
    warm(lk, token);
    batch b = {.count = 0};
    add(&b, token, LENGTH);
    add(&b, "no token", 8);
    redis_freeze(server);
    wait_for(try_validate(lk, token) == LATCHKEY_AGAIN);
    check(lk, &b);
    redis_thaw(server);
    assert_status(lk, LATCHKEY_AGAIN, b.statuses[0]);
    assert_int_equal(b.entries[0].user_id, 0);
    assert_status(lk, LATCHKEY_MALFORMED, b.statuses[1]);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    batch b = {.count = 0};
    add(&b, "x", 1);
    assert_status(lk, LATCHKEY_BAD_ARGUMENT,
                  latchkey_try_validate_many(NULL, b.tokens, b.lens, 1, b.entries, b.statuses));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_try_validate_many(lk, NULL, b.lens, 1, b.entries, b.statuses));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_try_validate_many(lk, b.tokens, NULL, 1, b.entries, b.statuses));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_try_validate_many(lk, b.tokens, b.lens, 1, NULL, b.statuses));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_try_validate_many(lk, b.tokens, b.lens, 1, b.entries, NULL));
    assert_status(lk, LATCHKEY_OK, latchkey_try_validate_many(lk, NULL, NULL, 0, NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_answers_are_those_of_single_calls),
        TEST(test_every_token_gets_its_own_entry),
        TEST(test_nothing_is_admitted_without_a_lease),
        TEST(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

/* SPDX-License-Identifier: MIT
 *
 * The table of what was submitted: tokens that an attacker made for one bucket do not lie in one; equal ones are found, and
 * nothing else is. (Guarantees E and G.)
 */
#include "session/async_table.h"

#include "base/crypto.h"
#include "base/hash.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

enum { SLOTS = 256, TICKET = 5 };

static lk_async async;

static int setup(void **state)
{
    (void)state;
    memset(&async, 0, sizeof async);
    return !lk_async_table_open(&async, SLOTS);
}

static int teardown(void **state)
{
    (void)state;
    lk_async_table_close(&async);
    return 0;
}

static lk_async_slot *add(const char *token)
{
    lk_async_slot *p = lk_async_first(&async, LK_ASYNC_FREE);
    if (!p) return NULL;
    memcpy(p->token.text, token, LATCHKEY_TOKEN_SIZE);
    lk_async_remember(&async, p);
    lk_async_move(&async, p, LK_ASYNC_QUEUED);
    return p;
}

static void take_out(lk_async_slot *p)
{
    lk_async_forget(&async, p);
    lk_async_free(&async, p);
}

static void token_of(uint64_t number, char token[LATCHKEY_TOKEN_SIZE])
{
    char selector[21];
    unit_selector(number, selector);
    snprintf(token, LATCHKEY_TOKEN_SIZE, "%.20s%023llu", selector, (unsigned long long)number);
}

static size_t longest_chain(void)
{
    size_t longest = 0;
    for (unsigned i = 0; i < LK_ASYNC_BUCKETS; i++) {
        size_t length = 0;
        for (lk_async_slot *p = lk_async_at(&async, async.bucket[i]); p; p = lk_async_at(&async, p->same)) length++;
        if (length > longest) longest = length;
    }
    return longest;
}

/* `hash` is one that anyone can compute. 256 in 1,024 buckets: five in one are likely, twenty are not. */
static void fill_bucket(uint64_t (*hash)(const char *token))
{
    char token[LATCHKEY_TOKEN_SIZE];
    unsigned made = 0;
    for (uint64_t n = 0; made < SLOTS; n++) {
        token_of(n, token);
        if (hash(token) % LK_ASYNC_BUCKETS) continue;
        assert_non_null(add(token));
        made++;
    }
    assert_true(longest_chain() < 20);
}

static uint64_t by_selector(const char *token) { return lk_hash(token, LATCHKEY_SELECTOR_LENGTH, 0); }
static uint64_t by_token(const char *token) { return lk_hash(token, LATCHKEY_TOKEN_LENGTH, 0); }

static void test_tokens_made_for_one_bucket_are_spread(void **state)
{
    (void)state;
    fill_bucket(by_selector);
}

static void test_nor_by_the_whole_token(void **state)
{
    (void)state;
    fill_bucket(by_token);
}

/* Who knows a selector can make up verifiers. */
static void test_tokens_of_one_selector_are_spread(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    for (unsigned i = 0; i < SLOTS; i++) {
        snprintf(token, sizeof token, "%020u%023u", 7u, i);
        assert_non_null(add(token));
    }
    assert_null(add(token)); /* bounded (G) */
    assert_true(longest_chain() < 20);
}

static void test_two_tables_have_two_seeds(void **state)
{
    (void)state;
    lk_async other = {0};
    char token[LATCHKEY_TOKEN_SIZE];
    unsigned same = 0;
    assert_true(lk_async_table_open(&other, 1));
    for (uint64_t n = 0; n < 200; n++) {
        token_of(n, token);
        same += lk_async_bucket(&async, token) == lk_async_bucket(&other, token);
    }
    assert_true(same < 10);
    lk_async_table_close(&other);
}

static void test_E_an_equal_one_is_found_and_no_other(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    lk_async_slot *slots[SLOTS / 2];
    for (uint64_t n = 0; n < SLOTS / 2; n++) {
        token_of(n, token);
        slots[n] = add(token);
    }
    lk_async_slot like = {.state = LK_ASYNC_FREE};
    for (uint64_t n = 0; n < SLOTS / 2; n++) {
        token_of(n, like.token.text);
        assert_ptr_equal(lk_async_find_equal(&async, &like, TICKET, 0), slots[n]);
        for (size_t at = 0; at < LATCHKEY_TOKEN_LENGTH; at++) {
            like.token.text[at] ^= 1;
            assert_ptr_not_equal(lk_async_find_equal(&async, &like, TICKET, 0), slots[n]);
            like.token.text[at] ^= 1;
        }
        take_out(slots[n]);
        assert_null(lk_async_find_equal(&async, &like, TICKET, 0));
        const char zeros[LATCHKEY_TOKEN_SIZE] = "";
        assert_memory_equal(slots[n]->token.text, zeros, sizeof zeros); /* nothing of it stays (F) */
    }
}

/* One that was asked before a purge, or too long ago, is not joined (B, D). */
static void test_D_one_that_was_asked_with_another_ticket_is_not_joined(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    token_of(1, token);
    lk_async_slot *p = add(token), like = *p;
    assert_ptr_equal(lk_async_find_equal(&async, &like, TICKET, 0), p); /* it has yet to be asked */
    lk_async_move(&async, p, LK_ASYNC_ASKED);
    p->vouch.ticket = TICKET;
    p->vouch.asked_us = 1000;
    assert_ptr_equal(lk_async_find_equal(&async, &like, TICKET, 1000), p);
    assert_null(lk_async_find_equal(&async, &like, TICKET + 1, 1000));
    assert_null(lk_async_find_equal(&async, &like, TICKET, 1001));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tokens_made_for_one_bucket_are_spread),
        TEST(test_nor_by_the_whole_token),
        TEST(test_tokens_of_one_selector_are_spread),
        TEST(test_two_tables_have_two_seeds),
        TEST(test_E_an_equal_one_is_found_and_no_other),
        TEST(test_D_one_that_was_asked_with_another_ticket_is_not_joined),
    };
    return cmocka_run_group_tests_name("async_table", tests, unit_setup, NULL);
}

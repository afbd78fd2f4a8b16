/* SPDX-License-Identifier: MIT
 *
 * grace_ms: with Redis lost L1 answers for a while longer, says so, and not a moment beyond the sum of both times.
 */
#include "test_handle.h"

#include <string.h>

static int validate_flags(latchkey *lk, const char *token, uint32_t *flags)
{
    latchkey_entry entry;
    int status = latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry);
    *flags = entry.flags;
    return status;
}

static void test_stale_answers_say_so_and_end(void **state)
{
    (void)state;
    enum { STALENESS = 500, GRACE = 1500 };
    char token[LATCHKEY_TOKEN_SIZE];
    uint32_t flags = 0;
    latchkey *lk = handle_open(server, "staleness_ms=500&grace_ms=1500&deadline_ms=200");
    make_session(lk, 1, token);
    warm(lk, token);
    assert_status(lk, LATCHKEY_OK, validate_flags(lk, token, &flags));
    assert_int_equal(flags & LATCHKEY_FLAG_STALE, 0);
    redis_kill(server);
    int64_t lost_at = check_now_ms(), last = 0;
    wait_for(validate_flags(lk, token, &flags) == LATCHKEY_OK && flags & LATCHKEY_FLAG_STALE);
    assert_status(lk, LATCHKEY_OK, try_validate(lk, token));
    assert_true(stats_of(lk).stale >= 1);
    for (int status = LATCHKEY_OK; status == LATCHKEY_OK; check_pause()) {
        int64_t before = check_now_ms();
        status = validate_flags(lk, token, &flags);
        if (status == LATCHKEY_OK) last = before;
        else assert_status(lk, LATCHKEY_UNAVAILABLE, status);
        if (check_now_ms() > lost_at + 60000) fail_msg("L1 goes on and on");
    }
    assert_int_equal(flags, 0);
    assert_true(last <= lost_at + STALENESS + GRACE + 20); /* two ticks of the clock */
    assert_status(lk, LATCHKEY_AGAIN, try_validate(lk, token));
    redis_boot(server);
}

/* The lease comes back: the flag goes. */
static void test_the_flag_goes_when_redis_is_back(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    uint32_t flags = 0;
    latchkey *lk = handle_open(server, "staleness_ms=400&grace_ms=60000&deadline_ms=400");
    make_session(lk, 1, token);
    warm(lk, token);
    redis_freeze(server);
    wait_for(validate_flags(lk, token, &flags) == LATCHKEY_OK && flags & LATCHKEY_FLAG_STALE);
    redis_thaw(server);
    wait_for(validate_flags(lk, token, &flags) == LATCHKEY_OK && !(flags & LATCHKEY_FLAG_STALE));
}

/* What is denied here stays denied, grace or not. */
static void test_B_revoked_here_is_not_admitted_in_the_grace(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE];
    uint32_t flags = 0;
    latchkey *lk = handle_open(server, "staleness_ms=400&grace_ms=60000&deadline_ms=300");
    make_session(lk, 1, token);
    make_session(lk, 2, other);
    warm(lk, token);
    warm(lk, other);
    redis_freeze(server);
    wait_for(validate_flags(lk, other, &flags) == LATCHKEY_OK && flags & LATCHKEY_FLAG_STALE);
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    assert_int_not_equal(validate(lk, token), LATCHKEY_OK);
    assert_int_not_equal(try_validate(lk, token), LATCHKEY_OK);
    assert_status(lk, LATCHKEY_OK, validate_flags(lk, other, &flags));
    redis_thaw(server);
}

static void test_without_grace_there_are_no_stale_answers(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    uint32_t flags = 0;
    latchkey *lk = handle_open(server, "staleness_ms=400&deadline_ms=300");
    make_session(lk, 1, token);
    warm(lk, token);
    redis_freeze(server);
    wait_for(validate_flags(lk, token, &flags) == LATCHKEY_UNAVAILABLE);
    assert_int_equal(stats_of(lk).stale, 0);
    redis_thaw(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stale_answers_say_so_and_end),
        TEST(test_the_flag_goes_when_redis_is_back),
        TEST(test_B_revoked_here_is_not_admitted_in_the_grace),
        TEST(test_without_grace_there_are_no_stale_answers),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

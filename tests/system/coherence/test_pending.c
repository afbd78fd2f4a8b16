/* SPDX-License-Identifier: MIT
 *
 * B without Redis: a revocation that Redis cannot confirm is PENDING, refuses here at once, and becomes true in Redis
 * as soon as that is back.
 */
#include "test_handle.h"
#include "logbook.h"
#include "proxy.h"
#include "threads.h"

#include <stdio.h>
#include <string.h>

/* Each write is in the kernel's hands before it is answered, and a killed process takes nothing from there. */
static redis *start_lasting(void) { return redis_start("--appendonly", "yes", "--appendfsync", "no"); }

/* Refused here, whatever is asked; and not by a guess: the answer is "no", or "no answer". */
static void assert_denied_here(latchkey *lk, const char *token)
{
    assert_int_not_equal(try_validate(lk, token), LATCHKEY_OK);
    assert_status_in(lk, validate(lk, token), LATCHKEY_NOT_FOUND, LATCHKEY_UNAVAILABLE);
    assert_int_not_equal(try_validate(lk, token), LATCHKEY_OK);
}

static void test_B_revoke_while_redis_stands_still_is_pending(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "deadline_ms=1000&staleness_ms=60000");
    latchkey *other = handle_open(server, "l1_capacity=0");
    char token[LATCHKEY_TOKEN_SIZE], untouched[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(lk, 1, token);
    make_session(lk, 2, untouched);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    assert_status(lk, LATCHKEY_OK, validate(lk, untouched));
    redis_freeze(server);
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    assert_denied_here(lk, token);
    assert_int_equal(stats_of(lk).pending, 1);
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token)); /* again: still one */
    assert_int_equal(stats_of(lk).pending, 1);
    /* The lease may last; what was not revoked goes on. */
    assert_status_in(lk, validate(lk, untouched), LATCHKEY_OK, LATCHKEY_UNAVAILABLE);
    redis_thaw(server);
    wait_for(stats_of(lk).pending == 0);
    assert_string_equal(session_key(server, token, key), "");
    assert_status(other, LATCHKEY_NOT_FOUND, validate(other, token));
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
    wait_for(validate(lk, untouched) == LATCHKEY_OK);
}

static void test_B_revoke_while_redis_is_dead_is_pending_and_survives_its_return(void **state)
{
    (void)state;
    redis *on = start_lasting();
    latchkey *lk = handle_open(on, "deadline_ms=1000&staleness_ms=1000");
    enum { SESSIONS = 20 };
    char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE], key[128];
    for (int i = 0; i < SESSIONS; i++) {
        make_session(lk, 1 + (uint64_t)i, tokens[i]);
        assert_status(lk, LATCHKEY_OK, validate(lk, tokens[i]));
    }
    redis_kill(on);
    for (int i = 0; i < SESSIONS; i++) {
        assert_status(lk, LATCHKEY_PENDING, end_session(lk, tokens[i]));
        assert_denied_here(lk, tokens[i]);
    }
    assert_int_equal(stats_of(lk).pending, SESSIONS);
    redis_boot(on);
    /* From before Redis has heard of it until after: never admitted here. */
    while (stats_of(lk).pending) {
        for (int i = 0; i < SESSIONS; i++) assert_denied_here(lk, tokens[i]);
        check_pause();
    }
    latchkey *fresh = handle_open(on, "");
    for (int i = 0; i < SESSIONS; i++) {
        assert_status(fresh, LATCHKEY_NOT_FOUND, validate(fresh, tokens[i]));
        assert_string_equal(session_key(on, tokens[i], key), "");
    }
    handle_close(fresh);
    handle_close(lk);
    redis_end(on);
}

/* The pending revocation reaches the others as any revocation does. */
static void test_C_pending_revocation_is_announced_when_it_gets_through(void **state)
{
    (void)state;
    redis *on = start_lasting();
    latchkey *lk = handle_open(on, "deadline_ms=1000&staleness_ms=1000");
    latchkey *other = handle_open(on, "staleness_ms=1000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    assert_status(other, LATCHKEY_OK, validate(other, token));
    redis_freeze(on);
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    redis_thaw(on);
    wait_for(stats_of(lk).pending == 0);
    wait_for(try_validate(other, token) != LATCHKEY_OK);
    wait_for(validate(other, token) == LATCHKEY_NOT_FOUND);
    assert_int_equal(redis_integer(on, "EXISTS lk:{%d}:q", (int)token_partition(token)), 1);
    handle_close(lk);
    handle_close(other);
    redis_end(on);
}

/* The reply to a revocation is lost, not the revocation. */
static void test_revoke_whose_reply_was_lost_is_done_once_it_is_known(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "deadline_ms=1000&staleness_ms=60000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    redis_freeze(server);
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    redis_thaw(server);
    wait_for(stats_of(lk).pending == 0);
    assert_status(lk, LATCHKEY_NOT_FOUND, end_session(lk, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
}

/* G: the queue of pending revocations has a limit, and says so. */
enum { LIMIT = 4096, THREADS = 16 };

typedef struct flood {
    latchkey *lk;
    char (*tokens)[LATCHKEY_TOKEN_SIZE];
    atomic_int next, pending, unavailable, odd, admitted;
} flood;

static void revoke_many(crew_member *member)
{
    flood *f = member->shared;
    int i;
    while ((i = atomic_fetch_add(&f->next, 1)) < LIMIT + THREADS) {
        int status = end_session(f->lk, f->tokens[i]);
        if (status == LATCHKEY_PENDING && try_validate(f->lk, f->tokens[i]) == LATCHKEY_OK)
            atomic_fetch_add(&f->admitted, 1);
        atomic_fetch_add(status == LATCHKEY_PENDING       ? &f->pending
                         : status == LATCHKEY_UNAVAILABLE ? &f->unavailable
                                                          : &f->odd,
                         1);
    }
}

static void test_G_pending_revocations_have_a_limit(void **state)
{
    (void)state;
    redis *on = start_lasting();
    latchkey *maker = handle_open(on, "");
    flood f = {.lk = handle_open(on, "deadline_ms=100&staleness_ms=1000")};
    f.tokens = calloc(LIMIT + THREADS, sizeof *f.tokens);
    assert_non_null(f.tokens);
    for (int i = 0; i < LIMIT + THREADS; i++) make_session(maker, 1 + (uint64_t)i, f.tokens[i]);
    char real[LATCHKEY_TOKEN_SIZE]; /* the only one that this handle has seen to be real */
    make_session(f.lk, 1, real);
    warm(f.lk, real);
    handle_close(maker);
    redis_kill(on);
    crew_run(THREADS, revoke_many, &f);
    assert_int_equal(atomic_load(&f.odd), 0);
    assert_int_equal(atomic_load(&f.admitted), 0);
    assert_int_equal(atomic_load(&f.pending), LIMIT);
    assert_int_equal(atomic_load(&f.unavailable), THREADS);
    assert_int_equal(stats_of(f.lk).pending, LIMIT);
    assert_status(f.lk, LATCHKEY_PENDING, end_session(f.lk, real)); /* what is proven finds a place all the same */
    assert_denied_here(f.lk, real);
    redis_boot(on);
    wait_for(stats_of(f.lk).pending == 0);
    assert_int_equal(redis_count_keys(on, "lk:*:s:*"), THREADS);
    free(f.tokens);
    handle_close(f.lk);
    redis_end(on);
}

/* A handle that is closed with pending revocations ends, leaks nothing (LeakSanitizer looks), and says what it gives up. */
static void test_close_with_pending_revocations(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "deadline_ms=1000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    redis_kill(on);
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    logbook_open();
    handle_close(lk);
    assert_true(logbook_has("3 close: 1 revocations that Redis has not confirmed are given up"));
    lk = handle_open(server, "");
    logbook_clear();
    handle_close(lk);
    assert_false(logbook_has("close: "));
    logbook_close();
    redis_end(on);
}

/* One handle's revocation waits; another one, which cannot know of it, exchanges the token meanwhile, again and again. The session
 * was to be ended, so it is, whatever its token is by now. Another one of the same partition is not. */
static void test_B_what_was_exchanged_meanwhile_is_ended(void **state)
{
    (void)state;
    char config[256], token[4][LATCHKEY_TOKEN_SIZE], other[2][LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(server, "partitions=1");
    redis_do(server, "ACL SETUSER mute on >secret +@all ~* &*");
    snprintf(config, sizeof config, "unix://mute:secret@%s?partitions=1&l1_capacity=0", server->socket);
    latchkey *mute = handle_open_config(config);
    make_session(lk, 1, token[0]);
    make_session(lk, 2, other[0]);
    redis_do(server, "ACL SETUSER mute -eval -evalsha");
    assert_status(mute, LATCHKEY_PENDING, end_session(mute, token[0]));
    for (int i = 0; i < 3; i++)
        assert_status(lk, LATCHKEY_OK,
                      latchkey_rotate(lk, token[i], strlen(token[i]), i == 1 ? 60000 : 0, token[i + 1]));
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, other[0], strlen(other[0]), 0, other[1]));
    assert_status(lk, LATCHKEY_OK, validate(lk, token[3]));
    redis_do(server, "ACL SETUSER mute +eval +evalsha");
    wait_for(stats_of(mute).pending == 0);
    wait_for(validate(lk, token[3]) == LATCHKEY_NOT_FOUND);
    assert_status(lk, LATCHKEY_OK, validate(lk, other[1]));
    assert_int_equal(sessions_of(lk, 1), 0);
    redis_do(server, "ACL DELUSER mute");
}

/* The next request of this wire that holds the bytes is carried out, and its answer does not come. */
static void lose_the_answer(proxy *wire, const char *bytes) { proxy_set(wire, PROXY_HOLD_ONE, bytes, strlen(bytes)); }

static void answer_again(proxy *wire)
{
    assert_true(proxy_holds_one(wire));
    proxy_set(wire, PROXY_RELAY, NULL, 0);
}

/* Nothing else would end those before they idle out, and until then they count as their users'. */
static void test_what_was_made_without_an_answer_is_ended(void **state)
{
    (void)state;
    proxy *wire = proxy_start(server->port);
    latchkey *lk = handle_open_at(proxy_port(wire), "deadline_ms=2000&staleness_ms=60000&max_sessions=1&limit=deny"),
             *other = handle_open(server, "");
    latchkey_draft draft = {.size = sizeof draft, .user_id = 2};
    char token[LATCHKEY_TOKEN_SIZE], renewed[LATCHKEY_TOKEN_SIZE], ended[LATCHKEY_TOKEN_SIZE];
    char selector[LATCHKEY_SELECTOR_LENGTH + 1] = "";
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token, strlen(token), 0, token)); /* Redis knows the script */
    lose_the_answer(wire, "\r\ndeny\r\n");
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_create(lk, &draft, renewed));
    answer_again(wire);
    wait_for(sessions_of(other, 2) == 0);
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, renewed));
    memcpy(selector, token, LATCHKEY_SELECTOR_LENGTH);
    lose_the_answer(wire, selector);
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_rotate(lk, token, strlen(token), 0, renewed));
    answer_again(wire);
    wait_for(sessions_of(other, 1) == 0);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    /* With a grace the user goes on with the old token; and a token of before is tried again. */
    make_session(lk, 3, token);
    memcpy(selector, token, LATCHKEY_SELECTOR_LENGTH);
    lose_the_answer(wire, selector);
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_rotate(lk, token, strlen(token), 60000, renewed));
    answer_again(wire);
    assert_status(lk, LATCHKEY_OK, latchkey_token_new(lk, 4, renewed));
    memcpy(selector, renewed, LATCHKEY_SELECTOR_LENGTH);
    draft.user_id = 4;
    lose_the_answer(wire, selector);
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_create_with(lk, &draft, renewed, strlen(renewed)));
    answer_again(wire);
    draft.user_id = 5; /* once this one is ended, all that was to be ended before it is */
    lose_the_answer(wire, "\r\ndeny\r\n");
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_create(lk, &draft, ended));
    answer_again(wire);
    wait_for(sessions_of(other, 5) == 0);
    draft.user_id = 4;
    assert_status(lk, LATCHKEY_REFUSED, latchkey_create_with(lk, &draft, renewed, strlen(renewed)));
    assert_status(lk, LATCHKEY_OK, validate(lk, renewed));
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    handle_close(lk);
    proxy_end(wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_B_revoke_while_redis_stands_still_is_pending),
        TEST(test_B_revoke_while_redis_is_dead_is_pending_and_survives_its_return),
        TEST(test_C_pending_revocation_is_announced_when_it_gets_through),
        TEST(test_revoke_whose_reply_was_lost_is_done_once_it_is_known),
        TEST(test_G_pending_revocations_have_a_limit),
        TEST(test_close_with_pending_revocations),
        TEST(test_B_what_was_exchanged_meanwhile_is_ended),
        TEST(test_what_was_made_without_an_answer_is_ended),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

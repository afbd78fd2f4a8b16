/* SPDX-License-Identifier: MIT
 *
 * B and D where threads meet. The dangerous interleavings are forced: a wire between the handle and Redis holds back
 * the reply that must come late. Beside them storms, for the interleavings that were not thought of (and for
 * ThreadSanitizer).
 */
#include "test_handle.h"
#include "proxy.h"
#include "threads.h"

#include <string.h>

/* ------------------------------------------------------------------------------- one reply is held back -- */

typedef struct late {
    latchkey *lk;
    const char *token;
    int status;
    latchkey_entry entry;
} late;

static void validate_late(crew_member *member)
{
    late *l = member->shared;
    l->status = latchkey_validate(l->lk, l->token, LATCHKEY_TOKEN_LENGTH, &l->entry);
}

static long long reads_of(redis *on)
{
    return redis_calls(on, "hget") + redis_calls(on, "hmget") + redis_calls(on, "hgetall");
}

/* A miss has read the record in Redis, and its reply is on the wire, held. */
static crew *hold_a_miss(proxy *wire, late *l)
{
    long long before = reads_of(server);
    proxy_set(wire, PROXY_HOLD_ONE, l->token, LATCHKEY_SELECTOR_LENGTH);
    crew *reader = crew_start(1, validate_late, l);
    wait_for(proxy_holds_one(wire));
    wait_for(reads_of(server) > before);
    return reader;
}

static void test_D_read_begun_before_a_revoke_does_not_fill_after_it(void **state)
{
    (void)state;
    proxy *wire = proxy_start(server->port);
    latchkey *lk = handle_open_at(proxy_port(wire), "deadline_ms=60000&staleness_ms=60000");
    latchkey *maker = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(maker, 1, token);
    late l = {.lk = lk, .token = token};
    crew *reader = hold_a_miss(wire, &l);

    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    /* Starts after the revoke returned: it must not be given the held reply either, by joining that miss. */
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    uint64_t fills = stats_of(lk).fills;

    proxy_set(wire, PROXY_RELAY, NULL, 0);
    crew_join(reader);
    assert_status_in(lk, l.status, LATCHKEY_OK, LATCHKEY_NOT_FOUND); /* it started before: both are right */
    assert_int_not_equal(try_validate(lk, token), LATCHKEY_OK);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    assert_int_equal(stats_of(lk).fills, fills);
    assert_true(stats_of(lk).fills_refused >= 1);
    handle_close(lk);
    proxy_end(wire);
}

static void test_D_read_begun_before_a_revoke_elsewhere_does_not_fill_after_it(void **state)
{
    (void)state;
    proxy *wire = proxy_start(server->port);
    latchkey *lk = handle_open_at(proxy_port(wire), "deadline_ms=60000&staleness_ms=60000");
    latchkey *other = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(other, 1, token);
    late l = {.lk = lk, .token = token};
    crew *reader = hold_a_miss(wire, &l);
    assert_status(other, LATCHKEY_OK, end_session(other, token));
    wait_for(stats_of(lk).purges >= 1); /* the message is here, the reply is not */
    proxy_set(wire, PROXY_RELAY, NULL, 0);
    crew_join(reader);
    assert_int_not_equal(try_validate(lk, token), LATCHKEY_OK);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    assert_true(stats_of(lk).fills_refused >= 1);
    handle_close(lk);
    proxy_end(wire);
}

static void test_D_read_begun_before_a_change_of_keys_does_not_fill_after_it(void **state)
{
    (void)state;
    proxy *wire = proxy_start(server->port);
    latchkey *lk = handle_open_at(proxy_port(wire), "deadline_ms=60000&staleness_ms=60000");
    latchkey *other = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    const latchkey_field next = {"pq.mlkem768", "next", 4};
    uint8_t hash[32];
    latchkey_entry entry;
    make_session(other, 1, token);
    late l = {.lk = lk, .token = token};
    crew *reader = hold_a_miss(wire, &l);
    assert_status(other, LATCHKEY_OK, latchkey_set_fields(other, token, LATCHKEY_TOKEN_LENGTH, &next, 1));
    wait_for(stats_of(lk).purges >= 1);
    proxy_set(wire, PROXY_RELAY, NULL, 0);
    crew_join(reader);
    latchkey_key_hash(&next, 1, hash);
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry));
    assert_memory_equal(entry.pq_key_hash, hash, 32);
    handle_close(lk);
    proxy_end(wire);
}

static void prewarm_late(crew_member *member)
{
    late *l = member->shared;
    l->status = latchkey_prewarm(l->lk, 100, NULL);
}

/* The same for prewarming: its batch is held back while a session of it is revoked. */
static void test_D_prewarming_does_not_bring_back_what_was_revoked_meanwhile(void **state)
{
    (void)state;
    proxy *wire = proxy_start(server->port);
    latchkey *lk = handle_open_at(proxy_port(wire), "deadline_ms=60000&staleness_ms=60000&partitions=1&prefix=p1");
    latchkey *other = handle_open(server, "partitions=1&prefix=p1");
    char tokens[5][LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 5; i++) make_session(other, 1 + (uint64_t)i, tokens[i]);
    late l = {.lk = lk};
    long long before = reads_of(server);
    proxy_set(wire, PROXY_HOLD_ONE, tokens[2], LATCHKEY_SELECTOR_LENGTH);
    crew *warmer = crew_start(1, prewarm_late, &l);
    wait_for(proxy_holds_one(wire));
    wait_for(reads_of(server) >= before + 5);
    assert_status(other, LATCHKEY_OK, end_session(other, tokens[2]));
    wait_for(stats_of(lk).purges >= 1);
    proxy_set(wire, PROXY_RELAY, NULL, 0);
    crew_join(warmer);
    assert_status(lk, LATCHKEY_OK, l.status);
    assert_int_not_equal(try_validate(lk, tokens[2]), LATCHKEY_OK);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, tokens[2]));
    handle_close(lk);
    proxy_end(wire);
}

static void revoke_late(crew_member *member)
{
    late *l = member->shared;
    l->status = end_session(l->lk, l->token);
}

/* The revocation is on its way to Redis, which therefore still has the session: whatever is read now must not be
 * served once the revocation has returned. The message of the revocation is held back, so it cannot help. */
static void read_while_revoking(int (*read_it)(latchkey *lk, const char *token))
{
    proxy *wire = proxy_start(server->port);
    latchkey *lk = handle_open_at(proxy_port(wire), "deadline_ms=60000&staleness_ms=60000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    late l = {.lk = lk, .token = token};
    proxy_set(wire, PROXY_HOLD_REQUEST, token, LATCHKEY_SELECTOR_LENGTH);
    crew *revoker = crew_start(1, revoke_late, &l);
    wait_for(proxy_holds_one(wire));
    int status = read_it(lk, token);
    proxy_set(wire, PROXY_HOLD_MESSAGES, NULL, 0);
    crew_join(revoker);
    int then = try_validate(lk, token), last = validate(lk, token);
    assert_status(lk, LATCHKEY_OK, l.status);
    assert_int_not_equal(then, LATCHKEY_OK);
    assert_status(lk, LATCHKEY_NOT_FOUND, last);
    assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_NOT_FOUND);
    handle_close(lk);
    proxy_end(wire);
}

static void test_B_validate_while_the_revocation_is_under_way(void **state)
{
    (void)state;
    read_while_revoking(validate);
}

static int prewarm_all(latchkey *lk, const char *token)
{
    (void)token;
    return latchkey_prewarm(lk, 100, NULL);
}

static void test_B_prewarm_while_the_revocation_is_under_way(void **state)
{
    (void)state;
    read_while_revoking(prewarm_all);
}

static void test_B_load_while_the_revocation_is_under_way(void **state)
{
    (void)state;
    read_while_revoking(load);
}

/* ------------------------------------------------------------------------------------------------ storms -- */

enum { READERS = 3, SESSIONS = 64 };

typedef struct storm {
    latchkey *lk;
    char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
    atomic_int revoked[SESSIONS]; /* set after latchkey_revoke returned */
    atomic_int at;                /* the session that is next */
    atomic_int seen_ok, broken, odd;
} storm;

static void read_round(crew_member *member)
{
    storm *s = member->shared;
    while (!crew_stopped(member)) {
        int near = atomic_load(&s->at);
        for (int i = near > 2 ? near - 2 : 0; i <= near + 1 && i < SESSIONS; i++) {
            int over = atomic_load(&s->revoked[i]);
            int status = validate(s->lk, s->tokens[i]);
            if (status == LATCHKEY_OK) atomic_fetch_add(over ? &s->broken : &s->seen_ok, 1);
            else if (status != LATCHKEY_NOT_FOUND) atomic_fetch_add(&s->odd, 1);
            if (try_validate(s->lk, s->tokens[i]) == LATCHKEY_OK && over) atomic_fetch_add(&s->broken, 1);
        }
    }
}

static void revocation_storm(const char *options)
{
    static storm s;
    memset(&s, 0, sizeof s);
    s.lk = handle_open(server, options);
    for (int i = 0; i < SESSIONS; i++) make_session(s.lk, 1 + (uint64_t)i, s.tokens[i]);
    crew *readers = crew_start(READERS, read_round, &s);
    int status = LATCHKEY_OK;
    for (int i = 0; i < SESSIONS && status == LATCHKEY_OK; i++) {
        atomic_store(&s.at, i);
        /* A call must be under way when it goes. */
        int seen = atomic_load(&s.seen_ok);
        for (int64_t limit = check_now_ms() + 5000; atomic_load(&s.seen_ok) < seen + 3 && check_now_ms() < limit;)
            check_pause();
        status = end_session(s.lk, s.tokens[i]);
        atomic_store(&s.revoked[i], 1);
    }
    crew_stop(readers);
    crew_join(readers);
    assert_status(s.lk, LATCHKEY_OK, status);
    assert_int_equal(atomic_load(&s.broken), 0);
    assert_int_equal(atomic_load(&s.odd), 0);
    for (int i = 0; i < SESSIONS; i++) assert_status(s.lk, LATCHKEY_NOT_FOUND, validate(s.lk, s.tokens[i]));
}

static void test_B_storm_of_hits_while_revoking(void **state)
{
    (void)state;
    revocation_storm("");
}

static void test_B_storm_of_misses_while_revoking(void **state)
{
    (void)state;
    revocation_storm("l1_ttl_ms=1");
}

static void test_B_storm_without_l1_while_revoking(void **state)
{
    (void)state;
    revocation_storm("l1_capacity=0");
}

static void test_B_storm_in_an_l1_that_is_too_small_while_revoking(void **state)
{
    (void)state;
    revocation_storm("l1_capacity=8");
}

static void test_B_revoke_then_validate_refuses(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 200; i++) {
        make_session(lk, 1, token);
        warm(lk, token);
        assert_status(lk, LATCHKEY_OK, end_session(lk, token));
        assert_int_not_equal(try_validate(lk, token), LATCHKEY_OK);
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    }
}

/* ------------------------------------------------------------- D: writes that race with the end of a session -- */

typedef struct duel {
    latchkey *handles[3];
    const char *token;
    atomic_int odd;
} duel;

static void fight(crew_member *member)
{
    duel *d = member->shared;
    latchkey *lk = d->handles[member->index];
    int status;
    if (member->index == 0) status = end_session(lk, d->token);
    else if (member->index == 1) status = touch(lk, d->token);
    else status = set_field(lk, d->token, "pq.k", "late");
    if (status != LATCHKEY_OK && status != LATCHKEY_NOT_FOUND) atomic_fetch_add(&d->odd, 1);
}

static void test_D_touch_and_set_fields_against_revoke(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    duel d = {.token = token};
    for (int i = 0; i < 3; i++) d.handles[i] = handle_open(server, "");
    for (int i = 0; i < 100; i++) {
        make_session(d.handles[0], 1, token);
        crew_run(3, fight, &d);
        assert_string_equal(session_key(server, token, key), "");
        assert_status(d.handles[0], LATCHKEY_NOT_FOUND, validate(d.handles[0], token));
    }
    assert_int_equal(atomic_load(&d.odd), 0);
    /* Nothing of them is left but counters and logs. */
    assert_int_equal(redis_count_keys(server, "lk:*:[sua]*"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_B_revoke_then_validate_refuses),
        TEST(test_B_validate_while_the_revocation_is_under_way),
        TEST(test_B_prewarm_while_the_revocation_is_under_way),
        TEST(test_B_load_while_the_revocation_is_under_way),
        TEST(test_B_storm_of_hits_while_revoking),
        TEST(test_B_storm_of_misses_while_revoking),
        TEST(test_B_storm_without_l1_while_revoking),
        TEST(test_B_storm_in_an_l1_that_is_too_small_while_revoking),
        TEST(test_D_read_begun_before_a_revoke_does_not_fill_after_it),
        TEST(test_D_read_begun_before_a_revoke_elsewhere_does_not_fill_after_it),
        TEST(test_D_read_begun_before_a_change_of_keys_does_not_fill_after_it),
        TEST(test_D_prewarming_does_not_bring_back_what_was_revoked_meanwhile),
        TEST(test_D_touch_and_set_fields_against_revoke),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

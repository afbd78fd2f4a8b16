/* SPDX-License-Identifier: MIT
 *
 * What is done with all sessions of a user: ending them, all or all but one, or one by its name; the generation that
 * stops a login which began before; the list.
 */
#include "test_handle.h"
#include "proxy.h"
#include "threads.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USER = 42, LENGTH = LATCHKEY_TOKEN_LENGTH };

static int revoke_all(latchkey *lk, uint64_t user, size_t *revoked)
{
    return latchkey_revoke_user(lk, user, NULL, 0, revoked);
}

/* ---------------------------------------------------------------------------------------------- ending all -- */

static void test_B_revoke_user_ends_all_sessions_of_the_user_and_no_other(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *other = handle_open(server, "");
    char mine[3][LATCHKEY_TOKEN_SIZE], theirs[LATCHKEY_TOKEN_SIZE];
    size_t revoked = 99;
    for (int i = 0; i < 3; i++) {
        make_session(other, USER, mine[i]);
        warm(lk, mine[i]);
        warm(other, mine[i]);
    }
    make_session(lk, USER + 1, theirs);
    assert_status(lk, LATCHKEY_OK, revoke_all(lk, USER, &revoked));
    for (int i = 0; i < 3; i++)
        assert_status_in(lk, try_validate(lk, mine[i]), LATCHKEY_AGAIN, LATCHKEY_NOT_FOUND); /* purged already */
    for (int i = 0; i < 3; i++) assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, mine[i]));
    assert_int_equal(revoked, 3);
    for (int i = 0; i < 3; i++) wait_for(try_validate(other, mine[i]) != LATCHKEY_OK);
    assert_status(lk, LATCHKEY_OK, validate(lk, theirs));
    assert_int_equal(sessions_of(lk, USER), 0);
    assert_int_equal(redis_count_keys(server, "lk:*:s:*"), 1);
    assert_int_equal(redis_count_keys(server, "lk:*:u:42"), 0);
    assert_status(lk, LATCHKEY_OK, revoke_all(lk, USER, &revoked));
    assert_int_equal(revoked, 0);
    assert_status(lk, LATCHKEY_OK, revoke_all(lk, USER, NULL));
}

/* Between two runs of the script for very many sessions there is a login, with the new generation: it stays. The script is
 * run as the library runs it for the second time. */
static void test_what_is_made_between_two_runs_stays(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&prefix=p1");
    char before[LATCHKEY_TOKEN_SIZE], after[LATCHKEY_TOKEN_SIZE], sha[64] = "";
    assert_status(lk, LATCHKEY_OK, revoke_all(lk, USER, NULL)); /* Redis has the script from now on */
    redis_watch *watch = redis_watch_start(server);
    assert_status(lk, LATCHKEY_OK, revoke_all(lk, USER, NULL));
    char *seen = redis_watch_end(watch, NULL), *at = strstr(seen, "\"EVALSHA\" \"");
    assert_non_null(at);
    snprintf(sha, sizeof sha, "%.40s", at + 11);
    free(seen);
    make_session(lk, USER, before);
    long long count = redis_integer(server, "INCR p1:{0}:g:42"); /* as the first run does */
    make_session(lk, USER, after);
    redis_do(server, "EVALSHA %s 1 p1:{0}:s:-------------------- p1:{0}: -------------------- 42 %b %lld", sha, "",
             (size_t)0, count);
    assert_int_equal(sessions_of(lk, USER), 1);
    assert_status(lk, LATCHKEY_OK, validate(lk, after));
    wait_for(validate(lk, before) == LATCHKEY_NOT_FOUND);
}

/* Ended by another instance a moment ago, or by a call whose answer was lost: the message is still on its way here. Then
 * there is nothing to end, and nothing to purge by name, and OK promises as much. */
static void test_B_revoke_user_answers_for_what_others_ended(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_ttl_ms=600000"), *other = handle_open(server, "");
    for (int i = 0; i < 300; i++) {
        char token[LATCHKEY_TOKEN_SIZE];
        make_session(other, USER, token);
        warm(lk, token);
        assert_status(other, LATCHKEY_OK, end_session(other, token));
        assert_status(lk, LATCHKEY_OK, revoke_all(lk, USER, NULL));
        assert_status_in(lk, try_validate(lk, token), LATCHKEY_AGAIN, LATCHKEY_NOT_FOUND);
    }
    /* Surely on its way: it is held. So it cannot be promised. */
    proxy *wire = proxy_start(server->port);
    latchkey *deaf = handle_open_at(proxy_port(wire), "l1_ttl_ms=600000&deadline_ms=300&staleness_ms=60000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(other, USER, token);
    warm(deaf, token);
    proxy_set(wire, PROXY_HOLD_MESSAGES, NULL, 0);
    assert_status(other, LATCHKEY_OK, revoke_all(other, USER, NULL));
    assert_status(deaf, LATCHKEY_UNAVAILABLE, revoke_all(deaf, USER, NULL));
    assert_status(deaf, LATCHKEY_OK, try_validate(deaf, token));
    proxy_set(wire, PROXY_RELAY, NULL, 0);
    wait_for(revoke_all(deaf, USER, NULL) == LATCHKEY_OK);
    assert_status_in(deaf, try_validate(deaf, token), LATCHKEY_AGAIN, LATCHKEY_NOT_FOUND);
    handle_close_all(NULL);
    proxy_end(wire);
}

static void test_revoke_user_keeps_the_current_session(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char kept[LATCHKEY_TOKEN_SIZE], gone[2][LATCHKEY_TOKEN_SIZE];
    size_t revoked;
    make_session(lk, USER, gone[0]);
    make_session(lk, USER, kept);
    make_session(lk, USER, gone[1]);
    warm(lk, kept);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, USER, kept, LENGTH, &revoked));
    assert_int_equal(revoked, 2);
    assert_status(lk, LATCHKEY_OK, try_validate(lk, kept));
    for (int i = 0; i < 2; i++) assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, gone[i]));
    assert_int_equal(sessions_of(lk, USER), 1);
    assert_status(lk, LATCHKEY_OK, touch(lk, kept));
}

/* What keeps nothing: another user's session, a selector with another secret, one that has ended. */
static void test_revoke_user_keeps_nothing_for_a_token_that_is_not_the_users(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&prefix=p1");
    char mine[LATCHKEY_TOKEN_SIZE], theirs[LATCHKEY_TOKEN_SIZE], forged[LATCHKEY_TOKEN_SIZE];
    size_t revoked;
    make_session(lk, USER + 1, theirs);
    make_session(lk, USER, mine);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, USER, theirs, LENGTH, &revoked));
    assert_int_equal(revoked, 1);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, mine));
    assert_status(lk, LATCHKEY_OK, validate(lk, theirs));
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, USER + 1, mine, LENGTH, &revoked));
    assert_int_equal(revoked, 1);
    make_session(lk, USER, mine);
    /* A forged one is refused before anything is done, by its check; where that is right, by the hash of its secret. */
    snprintf(forged, sizeof forged, "%s", mine);
    forged[25] = forged[25] == 'A' ? 'B' : 'A';
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_revoke_user(lk, USER, forged, LENGTH, &revoked));
    assert_int_equal(revoked, 0);
    assert_status(lk, LATCHKEY_OK, validate(lk, mine));
    char key[128], v[256];
    size_t size = redis_text(server, v, sizeof v, "HGET %s v", session_key(server, mine, key));
    v[140] = (char)(v[140] ^ 1);
    redis_do(server, "HSET %s v %b", key, v, size);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, USER, mine, LENGTH, &revoked));
    assert_int_equal(revoked, 1);
    assert_string_equal(session_key(server, mine, key), "");
}

/* C: the messages of thousands do not come one by one, and those that are lost are found. */
static void test_C_thousands_of_sessions_end_in_announcements_of_a_hundred(void **state)
{
    (void)state;
    enum { SESSIONS = 2350 };
    static char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
    proxy *wire = proxy_start(server->port);
    latchkey *lk = handle_open(server, "partitions=1&prefix=p1&l1_ttl_ms=600000"),
             *other = handle_open_at(proxy_port(wire), "partitions=1&prefix=p1&l1_ttl_ms=600000&staleness_ms=10000");
    char bystander[LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < SESSIONS; i++) make_session(lk, USER, tokens[i]);
    make_session(lk, USER + 1, bystander);
    warm(other, bystander);
    for (int i = 0; i < SESSIONS; i++) warm(other, tokens[i]);
    latchkey_stats before = stats_of(other);
    /* It is not known which message has a selector, so the first one is lost: "1 ...". */
    proxy_set(wire, PROXY_DROP_ONE, "p1:{0}:rev", 10);
    size_t revoked;
    assert_status(lk, LATCHKEY_OK, revoke_all(lk, USER, &revoked));
    assert_int_equal(revoked, SESSIONS);
    assert_int_equal(redis_integer(server, "GET p1:{0}:q"), 10 + 10 + 4);
    assert_int_equal(redis_count_keys(server, "p1:{0}:s:*"), 1);
    assert_int_equal(redis_count_keys(server, "p1:{0}:u:42"), 0);
    for (int i = 0; i < SESSIONS; i++) assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, tokens[i]));
    for (int i = 0; i < SESSIONS; i++) wait_for(try_validate(other, tokens[i]) != LATCHKEY_OK);
    latchkey_stats after = stats_of(other);
    assert_true(after.missed > before.missed && after.replayed > before.replayed);
    assert_int_equal(after.empties, before.empties);
    assert_status(other, LATCHKEY_OK, try_validate(other, bystander));
    handle_close_all(NULL);
    proxy_end(wire);
}

/* C: a server that forgot the revocations is told of each. */
static void test_C_sessions_that_come_back_with_an_old_snapshot_end_again(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "staleness_ms=2000"), *heard = handle_open(on, "staleness_ms=2000");
    char tokens[5][LATCHKEY_TOKEN_SIZE], kept[LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 5; i++) make_session(lk, USER, tokens[i]);
    make_session(lk, USER, kept);
    warm(heard, tokens[0]);
    redis_do(on, "SAVE");
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, USER, kept, LENGTH, NULL));
    wait_for(try_validate(heard, tokens[0]) != LATCHKEY_OK);
    for (int i = 0; i < 2; i++) { /* who made it alone, and who heard of it alone */
        latchkey *alone = i ? heard : lk;
        redis_kill(on);
        redis_boot(on);
        for (int j = 0; j < 5; j++) stays_dead(alone, tokens[j]);
        wait_for(redis_calls(on, "del") >= 5); /* they had come back */
        wait_for(validate(alone, kept) == LATCHKEY_OK);
        assert_int_equal(redis_count_keys(on, "lk:*:s:*"), 1);
        if (!i) handle_close(lk);
    }
    handle_close_all(NULL);
    redis_end(on);
}

static void test_revoke_user_works_at_maxmemory(void **state)
{
    (void)state;
    redis *on = redis_start("--maxmemory-policy", "noeviction");
    latchkey *lk = handle_open(on, "");
    char tokens[3][LATCHKEY_TOKEN_SIZE];
    uint64_t before, after;
    size_t revoked;
    for (int i = 0; i < 3; i++) make_session(lk, USER, tokens[i]);
    assert_status(lk, LATCHKEY_OK, revoke_all(lk, USER + 1, NULL)); /* its generation is not the first, then */
    redis_do(on, "CONFIG SET maxmemory 1mb");
    assert_status(lk, LATCHKEY_UNAVAILABLE, create_with(lk, USER, 0, tokens[2])); /* it is full, then */
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, USER, tokens[1], LENGTH, &revoked));
    assert_int_equal(revoked, 2);
    assert_status(lk, LATCHKEY_OK, validate(lk, tokens[1]));
    /* Also if there is no session to end, and only the generation moves. */
    assert_status(lk, LATCHKEY_OK, latchkey_user_generation(lk, USER + 1, &before));
    assert_status(lk, LATCHKEY_OK, revoke_all(lk, USER + 1, &revoked));
    assert_status(lk, LATCHKEY_OK, latchkey_user_generation(lk, USER + 1, &after));
    assert_int_equal(after, before + 1);
    assert_int_equal(sessions_of(lk, USER), 1);
    handle_close_all(NULL);
    redis_end(on);
}

static void test_revoke_user_without_redis_is_UNAVAILABLE_and_done_when_it_is_OK(void **state)
{
    (void)state;
    redis *on = redis_start("--appendonly", "yes", "--appendfsync", "always");
    latchkey *lk = handle_open(on, "deadline_ms=300&staleness_ms=60000&l1_ttl_ms=600000");
    char tokens[2][LATCHKEY_TOKEN_SIZE];
    uint64_t generation = 7;
    size_t revoked = 7, total = 7;
    latchkey_session_info info;
    for (int i = 0; i < 2; i++) make_session(lk, USER, tokens[i]);
    redis_kill(on);
    assert_status(lk, LATCHKEY_UNAVAILABLE, revoke_all(lk, USER, &revoked));
    assert_int_equal(revoked, 0);
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_user_generation(lk, USER, &generation));
    assert_int_equal(generation, 0);
    memset(&info, 'x', sizeof info);
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_sessions(lk, USER, NULL, 0, &info, 1, &total));
    assert_int_equal(total, 0);
    assert_int_equal(info.selector[0], 0);
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_revoke_selector(lk, USER, tokens[0]));
    redis_boot(on);
    wait_for(revoke_all(lk, USER, &revoked) == LATCHKEY_OK);
    for (int i = 0; i < 2; i++) assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, tokens[i]));
    handle_close_all(NULL);
    redis_end(on);
}

static void test_forgotten_scripts_and_damaged_keys(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&prefix=p1");
    char tokens[3][LATCHKEY_TOKEN_SIZE], key[128];
    uint64_t generation;
    size_t revoked, total;
    for (int i = 0; i < 3; i++) make_session(lk, USER, tokens[i]);
    redis_do(server, "SCRIPT FLUSH");
    assert_int_equal(sessions_of(lk, USER), 3);
    /* A session without its record, and one that is something else, end with the others. */
    redis_do(server, "HDEL %s v", session_key(server, tokens[0], key));
    redis_do(server, "DEL %s", session_key(server, tokens[1], key));
    redis_do(server, "SET %s junk", key);
    redis_do(server, "RPUSH p1:{0}:g:42 junk");
    assert_status(lk, LATCHKEY_CORRUPT, latchkey_user_generation(lk, USER, &generation));
    redis_do(server, "SCRIPT FLUSH");
    assert_status(lk, LATCHKEY_OK, revoke_all(lk, USER, &revoked));
    assert_int_equal(revoked, 3);
    assert_int_equal(redis_count_keys(server, "p1:{0}:s:*"), 0);
    assert_status(lk, LATCHKEY_OK, latchkey_user_generation(lk, USER, &generation));
    /* The index itself: nothing is known, nothing is done. */
    redis_do(server, "RPUSH p1:{0}:u:42 junk");
    assert_status(lk, LATCHKEY_CORRUPT, revoke_all(lk, USER, &revoked));
    assert_status(lk, LATCHKEY_CORRUPT, latchkey_sessions(lk, USER, NULL, 0, NULL, 0, &total));
    redis_do(server, "DEL p1:{0}:u:42");
    redis_do(server, "SET p1:{0}:g:42 minus-one");
    assert_status(lk, LATCHKEY_CORRUPT, latchkey_user_generation(lk, USER, &generation));
    assert_int_equal(generation, 0);
}

/* ---------------------------------------------------------------------------------------------- generation -- */

static void test_login_that_began_before_is_refused(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *other = handle_open(server, "");
    uint64_t generation, again;
    char token[LATCHKEY_TOKEN_SIZE], key[64];
    assert_status(lk, LATCHKEY_OK, latchkey_user_generation(lk, USER, &generation));
    assert_true(generation > 0);
    assert_status(lk, LATCHKEY_OK, create_with(lk, USER, generation, token));
    assert_status(other, LATCHKEY_OK, revoke_all(other, USER, NULL));
    assert_status(lk, LATCHKEY_REFUSED, create_with(lk, USER, generation, token));
    assert_status(lk, LATCHKEY_OK, latchkey_user_generation(lk, USER, &again));
    assert_true(again > generation);
    assert_status(lk, LATCHKEY_OK, create_with(lk, USER, again, token));
    assert_status(lk, LATCHKEY_OK, create_with(lk, USER + 1, generation, token)); /* another user's has not moved */
    assert_status(lk, LATCHKEY_OK, create_with(lk, USER, 0, token));              /* who does not ask */
    snprintf(key, sizeof key, "lk:{%d}:g:42", (int)token_partition(token));
    assert_true(redis_integer(server, "PTTL %s", key) > 29LL * 86400000);
}

typedef struct contest {
    latchkey *handles[4];
    struct {
        char token[LATCHKEY_TOKEN_SIZE];
        uint64_t generation;
    } made[4][200];
    size_t count[4];
    atomic_int odd;
} contest;

/* Three log in as they can, one ends everything again and again. */
static void log_in_or_end(crew_member *member)
{
    contest *c = member->shared;
    latchkey *lk = c->handles[member->index];
    for (int i = 0; i < 200; i++) {
        size_t *count = &c->count[member->index];
        uint64_t generation;
        if (member->index == 3) {
            if (i % 8 == 0 && latchkey_revoke_user(lk, USER, NULL, 0, NULL)) atomic_fetch_add(&c->odd, 1);
            continue;
        }
        if (latchkey_user_generation(lk, USER, &generation)) atomic_fetch_add(&c->odd, 1);
        int status = create_with(lk, USER, generation, c->made[member->index][*count].token);
        c->made[member->index][*count].generation = generation;
        if (!status) ++*count;
        else if (status != LATCHKEY_REFUSED) atomic_fetch_add(&c->odd, 1);
    }
}

static void test_D_no_login_survives_the_generation_that_it_began_with(void **state)
{
    (void)state;
    static contest c;
    memset(&c, 0, sizeof c);
    for (int i = 0; i < 4; i++) c.handles[i] = handle_open(server, "");
    /* So many that the first ending takes several runs of the script, and logins come between them. */
    for (int i = 0; i < 4000; i++) make_session(c.handles[0], USER, c.made[0][0].token);
    crew_run(4, log_in_or_end, &c);
    assert_int_equal(atomic_load(&c.odd), 0);
    uint64_t now;
    size_t living = 0;
    assert_status(c.handles[0], LATCHKEY_OK, latchkey_user_generation(c.handles[0], USER, &now));
    for (int i = 0; i < 3; i++)
        for (size_t j = 0; j < c.count[i]; j++) {
            int status = validate(c.handles[i], c.made[i][j].token);
            assert_status_in(c.handles[i], status, LATCHKEY_OK, LATCHKEY_NOT_FOUND);
            if ((status == LATCHKEY_OK) != (c.made[i][j].generation == now))
                fail_msg("made under %d of %d: %s", (int)c.made[i][j].generation, (int)now,
                         latchkey_status_text(status));
            living += status == LATCHKEY_OK;
        }
    assert_int_equal(sessions_of(c.handles[0], USER), living);
}

/* -------------------------------------------------------------------------------------------------- racing -- */

enum { STORM_SESSIONS = 24 };

typedef struct storm {
    latchkey *lk;
    char tokens[STORM_SESSIONS][LATCHKEY_TOKEN_SIZE];
    atomic_int round, late;
} storm;

/* Validates, loads and touches for as long as it goes; what starts after revoke_user returned admits no request. */
static void use(crew_member *member)
{
    storm *s = member->shared;
    for (int i = 0; !crew_stopped(member); i = (i + 1) % STORM_SESSIONS) {
        int ended = atomic_load(&s->round);
        int status = i % 7 ? validate(s->lk, s->tokens[i]) : touch(s->lk, s->tokens[i]);
        if (ended && status == LATCHKEY_OK) atomic_fetch_add(&s->late, 1);
    }
}

static void test_B_D_storm_of_hits_and_fills_while_all_are_ended(void **state)
{
    (void)state;
    static storm s;
    for (int round = 0; round < 20; round++) {
        memset(&s, 0, sizeof s);
        s.lk = handle_open(server, round % 2 ? "l1_ttl_ms=20" : "");
        for (int i = 0; i < STORM_SESSIONS; i++) make_session(s.lk, USER, s.tokens[i]);
        crew *users = crew_start(4, use, &s);
        for (int i = 0; i < STORM_SESSIONS; i++) wait_for(validate(s.lk, s.tokens[i]) == LATCHKEY_OK);
        size_t revoked;
        assert_status(s.lk, LATCHKEY_OK, revoke_all(s.lk, USER, &revoked));
        atomic_store(&s.round, 1);
        assert_int_equal(revoked, STORM_SESSIONS);
        for (int i = 0; i < STORM_SESSIONS; i++) assert_status(s.lk, LATCHKEY_NOT_FOUND, validate(s.lk, s.tokens[i]));
        crew_stop(users);
        crew_join(users);
        assert_int_equal(atomic_load(&s.late), 0);
        assert_int_equal(redis_count_keys(server, "lk:*:s:*"), 0); /* D: no touch brought one back */
        handle_close(s.lk);
    }
}

/* ------------------------------------------------------------------------------------------------ one by name -- */

static void test_B_revoke_selector_ends_the_users_own_alone(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&prefix=p1"),
             *other = handle_open(server, "partitions=1&prefix=p1");
    char mine[2][LATCHKEY_TOKEN_SIZE], theirs[LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 2; i++) make_session(lk, USER, mine[i]);
    make_session(lk, USER + 1, theirs);
    warm(lk, mine[0]);
    warm(other, mine[0]);
    assert_status(lk, LATCHKEY_NOT_FOUND, latchkey_revoke_selector(lk, USER, theirs));
    assert_status(lk, LATCHKEY_OK, validate(lk, theirs));
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_selector(lk, USER, mine[0]));
    assert_status_in(lk, try_validate(lk, mine[0]), LATCHKEY_AGAIN, LATCHKEY_NOT_FOUND);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, mine[0]));
    wait_for(try_validate(other, mine[0]) != LATCHKEY_OK);
    assert_status(lk, LATCHKEY_NOT_FOUND, latchkey_revoke_selector(lk, USER, mine[0]));
    assert_status(lk, LATCHKEY_OK, validate(lk, mine[1]));
    assert_int_equal(sessions_of(lk, USER), 1);
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_revoke_selector(lk, USER, "not a selector at al"));
    /* Of another partition than the user's: Redis is not asked. */
    latchkey *wide = handle_open(server, "prefix=p64");
    char far[LATCHKEY_TOKEN_SIZE];
    uint64_t user = USER + 1;
    do make_session(wide, user++, far);
    while (token_partition(far) == 0);
    uint64_t asked = stats_of(wide).l2_writes;
    for (uint64_t i = 0; i < 64; i++) {
        char near[LATCHKEY_TOKEN_SIZE];
        make_session(wide, i, near);
        if (token_partition(near) == token_partition(far)) continue;
        asked = stats_of(wide).l2_writes;
        assert_status(wide, LATCHKEY_NOT_FOUND, latchkey_revoke_selector(wide, i, far));
        assert_int_equal(stats_of(wide).l2_writes, asked);
    }
    assert_status(wide, LATCHKEY_OK, validate(wide, far));
}

/* ---------------------------------------------------------------------------------------------------- listing -- */

static const latchkey_session_info *find(const latchkey_session_info *list, size_t count, const char *token)
{
    for (size_t i = 0; i < count; i++)
        if (strncmp(list[i].selector, token, LATCHKEY_SELECTOR_LENGTH) == 0) return &list[i];
    return NULL;
}

static void test_sessions_are_listed_with_what_is_known_of_them(void **state)
{
    (void)state;
    bool sealed = getenv("LATCHKEY_TEST_OPTIONS") != NULL;
    latchkey *lk = handle_open(server, "");
    char tokens[3][LATCHKEY_TOKEN_SIZE], theirs[LATCHKEY_TOKEN_SIZE], key[128];
    latchkey_session_info list[5];
    latchkey_entry entry;
    size_t total;
    for (uint32_t i = 0; i < 3; i++) {
        latchkey_draft draft = {.size = sizeof draft, .user_id = USER, .device = 7 + i, .flags = 1 + i};
        draft.idle_ms = 100000 * (1 + i);
        draft.lifetime_ms = 1000000;
        assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, tokens[i]));
    }
    make_session(lk, USER + 1, theirs);
    memset(list, 'x', sizeof list);
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, USER, tokens[1], LENGTH, list, 5, &total));
    assert_int_equal(total, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const latchkey_session_info *info = find(list, 3, tokens[i]);
        assert_non_null(info);
        assert_int_equal(info->selector[20] | info->selector[21] | info->selector[22] | info->selector[23], 0);
        assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, tokens[i], LENGTH, &entry));
        assert_int_equal(info->created_at_ms, entry.created_at_ms);
        assert_int_equal(info->auth_at_ms, entry.auth_at_ms);
        assert_int_equal(info->expires_at_ms, entry.expires_at_ms);
        /* Redis reckons a script's expiries and its TIME from moments that a slow machine parts. */
        assert_in_range(info->idle_expires_at_ms - info->active_at_ms, 100000 * (1 + i) - 1000,
                        100000 * (1 + i) + 1000);
        /* A sealed record says a moment before the script ran. */
        assert_in_range(info->active_at_ms - entry.created_at_ms, 0, sealed ? 1000 : 0);
        assert_int_equal(info->device, 7 + i);
        assert_int_equal(info->flags, 1 + i);
        assert_int_equal(info->current, i == 1);
        assert_int_equal(info->reserved, 0);
    }
    static const latchkey_session_info none;
    for (int i = 3; i < 5; i++) assert_memory_equal(&list[i], &none, sizeof none);
    /* The last used comes first. */
    redis_do(server, "PEXPIRE %s 50000", session_key(server, tokens[0], key));
    int64_t now_ms = check_now_ms();
    wait_for(check_now_ms() > now_ms + 10);
    assert_status(lk, LATCHKEY_OK, touch(lk, tokens[0]));
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, USER, NULL, 0, list, 5, &total));
    assert_memory_equal(list[0].selector, tokens[0], LATCHKEY_SELECTOR_LENGTH);
    assert_true(list[0].active_at_ms > list[0].created_at_ms);
    for (int i = 0; i < 3; i++) assert_int_equal(list[i].current, 0);
    /* Less room than sessions. */
    memset(list, 'x', sizeof list);
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, USER, NULL, 0, list, 1, &total));
    assert_int_equal(total, 3);
    assert_int_equal(list[1].selector[0], 'x');
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, 99, NULL, 0, list, 5, &total));
    assert_int_equal(total, 0);
}

static void test_dead_and_damaged_sessions_are_not_listed(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&prefix=p1");
    char tokens[5][LATCHKEY_TOKEN_SIZE], key[128];
    latchkey_session_info list[8];
    size_t total;
    for (int i = 0; i < 4; i++) make_session(lk, USER, tokens[i]);
    make_session_with(lk, USER, 100, 0, NULL, 0, tokens[4]);
    wait_for(!*session_key(server, tokens[4], key));
    redis_do(server, "DEL %s", session_key(server, tokens[0], key));
    redis_do(server, "HSET %s v junk", session_key(server, tokens[1], key));
    assert_status(lk, LATCHKEY_OK, end_session(lk, tokens[2]));
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, USER, NULL, 0, list, 8, &total));
    assert_int_equal(total, 1);
    assert_memory_equal(list[0].selector, tokens[3], LATCHKEY_SELECTOR_LENGTH);
    assert_int_equal(list[1].selector[0], 0);
    assert_int_equal(stats_of(lk).corrupt, 1);
}

static void test_more_sessions_than_are_listed_are_counted(void **state)
{
    (void)state;
    enum { SESSIONS = LATCHKEY_SESSIONS_MAX + 30 };
    static latchkey_session_info list[SESSIONS];
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    size_t total, listed = 0;
    for (int i = 0; i < SESSIONS; i++) make_session(lk, USER, token);
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, USER, token, LENGTH, list, SESSIONS, &total));
    assert_int_equal(total, SESSIONS);
    while (listed < SESSIONS && list[listed].selector[0]) listed++;
    assert_int_equal(listed, LATCHKEY_SESSIONS_MAX);
    assert_non_null(find(list, listed, token));
    assert_int_equal(find(list, listed, token)->current, 1);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    latchkey_session_info info;
    uint64_t generation;
    size_t n = 7;
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, USER, token);
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_user_generation(NULL, 1, &generation));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_user_generation(lk, 1, NULL));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_revoke_user(NULL, USER, NULL, 0, &n));
    assert_int_equal(n, 0);
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_revoke_user(lk, USER, NULL, 43, &n));
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_revoke_user(lk, USER, "short", 5, &n));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_revoke_selector(NULL, USER, token));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_revoke_selector(lk, USER, NULL));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_sessions(NULL, USER, NULL, 0, &info, 1, &n));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_sessions(lk, USER, NULL, 0, &info, 1, NULL));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_sessions(lk, USER, NULL, 0, NULL, 1, &n));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_sessions(lk, USER, NULL, 43, &info, 1, &n));
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_sessions(lk, USER, "short", 5, &info, 1, &n));
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_B_revoke_user_ends_all_sessions_of_the_user_and_no_other),
        TEST(test_what_is_made_between_two_runs_stays),
        TEST(test_B_revoke_user_answers_for_what_others_ended),
        TEST(test_revoke_user_keeps_the_current_session),
        TEST(test_revoke_user_keeps_nothing_for_a_token_that_is_not_the_users),
        TEST(test_C_thousands_of_sessions_end_in_announcements_of_a_hundred),
        TEST(test_C_sessions_that_come_back_with_an_old_snapshot_end_again),
        TEST(test_revoke_user_works_at_maxmemory),
        TEST(test_revoke_user_without_redis_is_UNAVAILABLE_and_done_when_it_is_OK),
        TEST(test_forgotten_scripts_and_damaged_keys),
        TEST(test_login_that_began_before_is_refused),
        TEST(test_D_no_login_survives_the_generation_that_it_began_with),
        TEST(test_B_D_storm_of_hits_and_fills_while_all_are_ended),
        TEST(test_B_revoke_selector_ends_the_users_own_alone),
        TEST(test_sessions_are_listed_with_what_is_known_of_them),
        TEST(test_dead_and_damaged_sessions_are_not_listed),
        TEST(test_more_sessions_than_are_listed_are_counted),
        TEST(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

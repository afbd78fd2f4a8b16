/* SPDX-License-Identifier: MIT
 *
 * A new token for the same session: at once, or with a grace for the old one; and what an old token brings about after it.
 */
#include "test_handle.h"
#include "logbook.h"
#include "proxy.h"
#include "threads.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USER = 42, LENGTH = LATCHKEY_TOKEN_LENGTH, LONG = 600000, SHORT = 150 };

typedef char token_text[LATCHKEY_TOKEN_SIZE];

static int rotate(latchkey *lk, const char *token, int64_t grace_ms, token_text renewed)
{
    return latchkey_rotate(lk, token, LENGTH, grace_ms, renewed);
}

static void rotated(latchkey *lk, const char *token, int64_t grace_ms, token_text renewed)
{
    assert_status(lk, LATCHKEY_OK, rotate(lk, token, grace_ms, renewed));
    assert_int_equal(strlen(renewed), LENGTH);
    assert_int_not_equal(memcmp(renewed, token, LATCHKEY_SELECTOR_LENGTH), 0);
}

/* ------------------------------------------------------------------------------------------------- at once -- */

static void test_B_C_without_grace_the_old_token_dies_at_once(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_ttl_ms=600000"), *other = handle_open(server, "l1_ttl_ms=600000");
    token_text old, renewed;
    const latchkey_field fields[] = {{"pq.k", "key", 3}, {"theme", "dark", 4}};
    char key[128];
    make_session_with(lk, USER, 0, 0, fields, 2, old);
    latchkey_entry before = entry_of(lk, old);
    warm(lk, old);
    warm(other, old);
    uint64_t purges = stats_of(other).purges;
    rotated(lk, old, 0, renewed);
    assert_status_in(lk, try_validate(lk, old), LATCHKEY_AGAIN, LATCHKEY_NOT_FOUND); /* purged before it returned */
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, old));
    wait_for(try_validate(other, old) != LATCHKEY_OK);
    assert_int_equal(stats_of(other).purges, purges + 1);
    assert_status(other, LATCHKEY_NOT_FOUND, validate(other, old));
    latchkey_entry after = entry_of(other, renewed);
    assert_memory_equal(&before, &after, sizeof after);
    latchkey_record *record;
    size_t size;
    assert_status(lk, LATCHKEY_OK, latchkey_load(lk, renewed, LENGTH, &record));
    assert_memory_equal(latchkey_record_field(record, "theme", &size), "dark", 4);
    assert_memory_equal(latchkey_record_field(record, "pq.k", &size), "key", 3);
    latchkey_record_free(record);
    assert_int_equal(token_partition(old), token_partition(renewed));
    assert_int_equal(sessions_of(lk, USER), 1);
    assert_true(redis_integer(server, "PTTL %s", session_key(server, renewed, key)) > 0);
    /* Nothing is left of the old one, and showing it is no theft. */
    assert_int_equal(redis_count_keys(server, "lk:*:s:*"), 1);
    assert_int_equal(redis_count_keys(server, "lk:*:f:*"), 0);
    assert_int_equal(redis_integer(server, "ZCARD lk:{%d}:a", (int)token_partition(old)), 1);
    assert_status(lk, LATCHKEY_NOT_FOUND, touch(lk, old));
    assert_status(lk, LATCHKEY_OK, validate(lk, renewed));
    assert_status(lk, LATCHKEY_OK, rotate(lk, renewed, 0, renewed)); /* in place */
    assert_status(lk, LATCHKEY_OK, validate(lk, renewed));
    assert_status(lk, LATCHKEY_NOT_FOUND, rotate(lk, old, 0, old));
    assert_int_equal(old[0], 0);
    assert_int_equal(stats_of(lk).reuses, 0);
}

/* The old token comes back with an old snapshot, and ends again. */
static void test_C_without_grace_a_server_that_forgot_is_told(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "staleness_ms=2000");
    token_text old, renewed, kept;
    make_session(lk, USER, old);
    make_session(lk, USER + 1, kept);
    redis_do(on, "SAVE");
    rotated(lk, old, 0, renewed);
    redis_kill(on);
    redis_boot(on);
    stays_dead(lk, old);
    wait_for(validate(lk, kept) == LATCHKEY_OK);
    assert_int_equal(redis_count_keys(on, "lk:*:s:*"), 1);
    handle_close_all(NULL);
    redis_end(on);
}

/* -------------------------------------------------------------------------------------------------- in grace -- */

static void test_in_its_grace_the_old_token_is_as_good_as_the_new(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "max_sessions=1&limit=deny"), *other = handle_open(server, "");
    token_text old, renewed, none;
    const latchkey_field fields[] = {{"pq.k", "key", 3}, {"theme", "dark", 4}};
    make_session_with(lk, USER, 0, 0, fields, 2, old);
    warm(other, old);
    latchkey_entry before = entry_of(lk, old);
    rotated(lk, old, LONG, renewed);
    latchkey *handles[2] = {lk, other};
    const char *tokens[2] = {old, renewed};
    for (int i = 0; i < 4; i++) {
        latchkey_entry entry = entry_of(handles[i / 2], tokens[i % 2]);
        assert_memory_equal(&before, &entry, sizeof entry);
        warm(handles[i / 2], tokens[i % 2]);
        assert_status(lk, LATCHKEY_OK, touch(handles[i / 2], tokens[i % 2]));
        assert_status(lk, LATCHKEY_OK, load(handles[i / 2], tokens[i % 2]));
    }
    assert_int_equal(sessions_of(lk, USER), 1);
    latchkey_draft draft = {.size = sizeof draft, .user_id = USER};
    assert_status(lk, LATCHKEY_LIMIT, latchkey_create(lk, &draft, none));
    /* The list shows the session once, and knows it by either. */
    for (int i = 0; i < 2; i++) {
        latchkey_session_info info;
        size_t total;
        assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, USER, tokens[i], LENGTH, &info, 1, &total));
        assert_memory_equal(info.selector, renewed, LATCHKEY_SELECTOR_LENGTH);
        assert_int_equal(info.current, 1);
    }
    /* What the old one changes, the new one has; key material too, in both entries, on both handles. */
    assert_status(lk, LATCHKEY_OK, set_field(lk, old, "theme", "light"));
    assert_status(lk, LATCHKEY_OK, set_field(lk, old, "pq.k", "other"));
    latchkey_entry changed = entry_of(lk, renewed), again = entry_of(lk, old);
    assert_memory_equal(&changed, &again, sizeof changed);
    assert_int_not_equal(memcmp(&changed, &before, sizeof changed), 0);
    for (int i = 0; i < 2; i++) {
        latchkey_entry entry;
        wait_for(latchkey_validate(other, tokens[i], LENGTH, &entry) == LATCHKEY_OK &&
                 !memcmp(&entry, &changed, sizeof entry));
    }
    latchkey_record *record;
    size_t size;
    assert_status(lk, LATCHKEY_OK, latchkey_load(other, old, LENGTH, &record));
    assert_memory_equal(latchkey_record_field(record, "theme", &size), "light", 5);
    assert_memory_equal(latchkey_record_field(record, "pq.k", &size), "other", 5);
    assert_null(latchkey_record_field(record, "f", &size));
    latchkey_record_free(record);
    /* Exchanged already. */
    memset(none, 'x', sizeof none);
    assert_status(lk, LATCHKEY_REFUSED, rotate(lk, old, LONG, none));
    assert_int_equal(none[0], 0);
    assert_status(lk, LATCHKEY_REFUSED, rotate(other, old, 0, none));
    assert_status(lk, LATCHKEY_OK, validate(lk, renewed));
    assert_int_equal(stats_of(lk).reuses + stats_of(other).reuses, 0);
}

/* Every instance's L1 hears of the exchange: an entry that was there before does not outlive the grace. */
static void test_H_l1_does_not_outlive_the_grace(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_ttl_ms=600000"), *other = handle_open(server, "l1_ttl_ms=600000");
    token_text old, renewed;
    make_session(lk, USER, old);
    warm(other, old);
    uint64_t purges = stats_of(other).purges;
    rotated(lk, old, SHORT, renewed);
    wait_for(stats_of(other).purges > purges);
    validate(other, old); /* in its grace, perhaps, and so in L1, perhaps */
    check_outlive(SHORT);
    assert_int_not_equal(try_validate(other, old), LATCHKEY_OK);
    assert_int_not_equal(try_validate(lk, old), LATCHKEY_OK);
}

/* Here it does not depend on a message. */
static void test_B_l1_here_does_not_outlive_the_grace_without_messages(void **state)
{
    (void)state;
    proxy *wire = proxy_start(server->port);
    latchkey *deaf = handle_open_at(proxy_port(wire), "l1_ttl_ms=600000&staleness_ms=60000");
    token_text old, renewed;
    make_session(deaf, USER, old);
    warm(deaf, old);
    proxy_set(wire, PROXY_HOLD_MESSAGES, NULL, 0);
    rotated(deaf, old, SHORT, renewed);
    check_outlive(SHORT);
    assert_int_not_equal(try_validate(deaf, old), LATCHKEY_OK);
    assert_status(deaf, LATCHKEY_NOT_FOUND, validate(deaf, old));
    assert_int_not_equal(try_validate(deaf, renewed), LATCHKEY_OK);
    handle_close(deaf);
    proxy_end(wire);
}

static void test_absolute_and_idle_expiry_stay(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_capacity=0");
    token_text old, renewed, again;
    char key[128], name[64];
    make_session_with(lk, USER, 60000, 100000, NULL, 0, old);
    latchkey_entry entry = entry_of(lk, old);
    redis_do(server, "PEXPIRE %s 50000", session_key(server, old, key));
    rotated(lk, old, LONG, renewed);
    assert_true(redis_integer(server, "PTTL %s", session_key(server, renewed, key)) <= 60000);
    assert_true(redis_integer(server, "PTTL %s", key) > 50000); /* it was used */
    long long left = redis_integer(server, "PTTL %s", session_key(server, old, key));
    assert_true(left > 60000 && left <= 100000); /* the tripwire stays until the absolute expiry, and no longer */
    snprintf(name, sizeof name, "lk:{%d}:f:%.20s", (int)token_partition(old), old);
    left = redis_integer(server, "PTTL %s", name);
    assert_true(left > 60000 && left <= 100000);
    rotated(lk, renewed, 0, again);
    assert_int_equal(entry_of(lk, again).expires_at_ms, entry.expires_at_ms);
    assert_true(redis_integer(server, "PTTL %s", session_key(server, again, key)) <= 60000);
    /* The grace is no longer than the session may idle, so an old token never outlives its session. */
    make_session_with(lk, USER, 400, 0, NULL, 0, old);
    rotated(lk, old, LONG, renewed);
    check_outlive(400);
    assert_int_equal(*session_key(server, renewed, key), 0);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, old));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, renewed));
    assert_int_equal(stats_of(lk).reuses, 0); /* it was over anyway */
}

/* ---------------------------------------------------------------------------------------------- after the grace -- */

static int by_rotate(latchkey *lk, const char *token)
{
    token_text none;
    return rotate(lk, token, 0, none);
}
static int by_set_fields(latchkey *lk, const char *token) { return set_field(lk, token, "theme", "x"); }
static int by_keys(latchkey *lk, const char *token) { return set_field(lk, token, "pq.k", "x"); }

static void test_old_token_after_its_grace_ends_the_session_everywhere(void **state)
{
    (void)state;
    int (*const verbs[])(latchkey *, const char *) = {validate, touch, load, by_rotate, by_set_fields, by_keys};
    logbook_open();
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        latchkey *lk = handle_open(server, "l1_ttl_ms=600000"), *other = handle_open(server, "l1_ttl_ms=600000");
        token_text old, between, renewed, bystander;
        make_session(lk, USER, old);
        make_session(lk, USER, bystander);
        rotated(lk, old, SHORT, between);
        rotated(lk, between, LONG, renewed);
        check_outlive(SHORT);
        warm(lk, between);
        warm(lk, renewed);
        warm(other, between);
        warm(other, renewed);
        assert_status(lk, LATCHKEY_NOT_FOUND, verbs[i](lk, old));
        assert_status_in(lk, try_validate(lk, renewed), LATCHKEY_AGAIN, LATCHKEY_NOT_FOUND);
        assert_status_in(lk, try_validate(lk, between), LATCHKEY_AGAIN, LATCHKEY_NOT_FOUND);
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, renewed));
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, between));
        wait_for(try_validate(other, renewed) != LATCHKEY_OK && try_validate(other, between) != LATCHKEY_OK);
        assert_int_equal(stats_of(lk).reuses, 1);
        static char metrics[32768];
        size_t needed;
        assert_status(lk, LATCHKEY_OK, latchkey_metrics(lk, metrics, sizeof metrics, &needed));
        assert_contains(metrics, "\nlatchkey_reuses_total 1\n");
        char *text = logbook_text();
        assert_contains(text, "4 rotation: ");
        char selector[LATCHKEY_SELECTOR_LENGTH + 1] = "";
        memcpy(selector, old, LATCHKEY_SELECTOR_LENGTH);
        assert_contains(text, selector);
        assert_lacks(text, old + LATCHKEY_SELECTOR_LENGTH);
        assert_lacks(text, renewed);
        free(text);
        logbook_clear();
        /* Once: nothing is left to be ended, or to be said. */
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, old));
        assert_int_equal(stats_of(lk).reuses, 1);
        assert_int_equal(logbook_lines(), 0);
        assert_int_equal(redis_count_keys(server, "lk:*:s:*"), 1);
        assert_int_equal(redis_count_keys(server, "lk:*:f:*"), 0);
        assert_status(lk, LATCHKEY_OK, end_session(lk, bystander));
        handle_close(lk);
        handle_close(other);
    }
    logbook_close();
}

/* E: a selector without the secret ends no session. */
static void test_E_an_old_selector_with_another_secret_ends_nothing(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text old, renewed;
    char key[128], v[256];
    make_session(lk, USER, old);
    rotated(lk, old, SHORT, renewed);
    check_outlive(SHORT);
    size_t size = redis_text(server, v, sizeof v, "HGET %s v", session_key(server, old, key));
    v[140] = (char)(v[140] ^ 1);
    redis_do(server, "HSET %s v %b", key, v, size);
    int no =
        size == 184 ? LATCHKEY_NOT_FOUND : LATCHKEY_CORRUPT; /* a seal tells that it was we who changed the secret */
    assert_status(lk, no, validate(lk, old));
    assert_status(lk, LATCHKEY_NOT_FOUND, touch(lk, old));
    assert_status(lk, no, load(lk, old));
    assert_status(lk, LATCHKEY_NOT_FOUND, end_session(lk, old));
    assert_int_equal(stats_of(lk).reuses, 0);
    assert_status(lk, LATCHKEY_OK, validate(lk, renewed));
}

/* Prewarming reads records without a token: old ones are not sessions, and set off nothing. */
static void test_prewarm_passes_over_old_tokens(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&prefix=p1"),
             *fresh = handle_open(server, "partitions=1&prefix=p1");
    token_text old, renewed;
    size_t loaded;
    make_session(lk, USER, old);
    rotated(lk, old, SHORT, renewed);
    check_outlive(SHORT);
    redis_do(server, "ZADD p1:{0}:a 1 %b", old, (size_t)LATCHKEY_SELECTOR_LENGTH);
    assert_status(fresh, LATCHKEY_OK, latchkey_prewarm(fresh, 10, &loaded));
    assert_int_equal(loaded, 1);
    assert_status(fresh, LATCHKEY_OK, try_validate(fresh, renewed));
    assert_int_equal(stats_of(fresh).reuses, 0);
}

/* -------------------------------------------------------------------------------------------------- revoking -- */

static void test_B_revoking_either_token_ends_both(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        latchkey *lk = handle_open(server, "l1_ttl_ms=600000"), *other = handle_open(server, "l1_ttl_ms=600000");
        token_text old, renewed;
        size_t revoked;
        make_session(lk, USER, old);
        rotated(lk, old, i == 4 ? SHORT : LONG, renewed);
        if (i == 4) check_outlive(SHORT); /* a late logout is accepted too, and is not a theft */
        const char *tokens[2] = {renewed, i == 4 ? renewed : old};
        for (int j = 0; j < 2; j++) {
            warm(lk, tokens[j]);
            warm(other, tokens[j]);
        }
        if (i == 0 || i == 4) assert_status(lk, LATCHKEY_OK, end_session(lk, old));
        if (i == 1) assert_status(lk, LATCHKEY_OK, end_session(lk, renewed));
        if (i == 2) assert_status(lk, LATCHKEY_OK, latchkey_revoke_selector(lk, USER, renewed));
        if (i == 3) assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, USER, NULL, 0, &revoked));
        if (i == 3) assert_int_equal(revoked, 1);
        for (int j = 0; j < 2; j++)
            assert_status_in(lk, try_validate(lk, tokens[j]), LATCHKEY_AGAIN, LATCHKEY_NOT_FOUND);
        for (int j = 0; j < 2; j++) assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, tokens[j]));
        for (int j = 0; j < 2; j++) wait_for(try_validate(other, tokens[j]) != LATCHKEY_OK);
        assert_int_equal(redis_count_keys(server, "lk:*:s:*") + redis_count_keys(server, "lk:*:f:*"), 0);
        assert_int_equal(redis_count_keys(server, "lk:*:u:*") + redis_count_keys(server, "lk:*:a"), 0);
        assert_int_equal(stats_of(lk).reuses, 0);
        handle_close(lk);
        handle_close(other);
    }
}

static void test_revoke_user_keeps_the_session_of_an_old_token_in_its_grace(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text old, renewed, gone;
    size_t revoked;
    make_session(lk, USER, gone);
    make_session(lk, USER, old);
    rotated(lk, old, LONG, renewed);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, USER, old, LENGTH, &revoked));
    assert_int_equal(revoked, 1);
    assert_status(lk, LATCHKEY_OK, validate(lk, old));
    assert_status(lk, LATCHKEY_OK, validate(lk, renewed));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, gone));
}

/* C: who lost the revocation, and perhaps the exchange too, gets all of the session's tokens named. */
static void test_C_a_server_that_lost_exchange_and_revocation_admits_neither(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        redis *on = redis_start(NULL);
        latchkey *lk = handle_open(on, "staleness_ms=2000");
        token_text old, renewed, kept;
        make_session(lk, USER, old);
        make_session(lk, USER + 1, kept);
        if (i) redis_do(on, "SAVE");
        rotated(lk, old, LONG, renewed);
        if (!i) redis_do(on, "SAVE");
        assert_status(lk, LATCHKEY_OK, end_session(lk, renewed));
        redis_kill(on);
        redis_boot(on);
        stays_dead(lk, old);
        stays_dead(lk, renewed);
        wait_for(validate(lk, kept) == LATCHKEY_OK);
        assert_int_equal(redis_count_keys(on, "lk:*:s:*"), 1);
        handle_close_all(NULL);
        redis_end(on);
    }
}

/* ------------------------------------------------------------------------------------------------- generations -- */

static void test_G_old_tokens_are_remembered_up_to_a_number(void **state)
{
    (void)state;
    enum { GENERATIONS = 71 };
    static token_text tokens[GENERATIONS];
    latchkey *lk = handle_open(server, "");
    make_session(lk, USER, tokens[0]);
    for (int i = 1; i < GENERATIONS; i++) {
        rotated(lk, tokens[i - 1], LONG, tokens[i]);
        int64_t now_ms = check_now_ms();
        wait_for(check_now_ms() > now_ms + 1); /* so that no two graces end at once */
    }
    assert_int_equal(redis_count_keys(server, "lk:*:s:*"), 65);
    for (int i = 0; i < GENERATIONS; i++)
        assert_status(lk, i < GENERATIONS - 65 ? LATCHKEY_NOT_FOUND : LATCHKEY_OK, validate(lk, tokens[i]));
    assert_int_equal(sessions_of(lk, USER), 1);
    /* A change of privilege leaves the newest alone. */
    token_text last;
    rotated(lk, tokens[GENERATIONS - 1], 0, last);
    for (int i = 0; i < GENERATIONS; i++) assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, tokens[i]));
    assert_status(lk, LATCHKEY_OK, validate(lk, last));
    assert_int_equal(redis_count_keys(server, "lk:*:s:*"), 1);
    assert_int_equal(redis_count_keys(server, "lk:*:f:*"), 0);
    assert_int_equal(stats_of(lk).reuses, 0);
    assert_status(lk, LATCHKEY_OK, end_session(lk, last));
    assert_int_equal(redis_count_keys(server, "lk:*:s:*") + redis_count_keys(server, "lk:*:u:*") +
                         redis_count_keys(server, "lk:*:a"),
                     0);
}

/* One that was forgotten for being the oldest was not revoked. A server that comes back with it is not told so, or the
 * session, which lives, would be ended for that. */
static void test_D_the_oldest_is_forgotten_alone(void **state)
{
    (void)state;
    enum { KEPT = 65 };
    static token_text tokens[KEPT + 2];
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "staleness_ms=2000");
    make_session(lk, USER, tokens[0]);
    for (int i = 1; i < KEPT + 2; i++) {
        if (i == KEPT) redis_do(on, "SAVE");
        rotated(lk, tokens[i - 1], LONG, tokens[i]);
        int64_t now_ms = check_now_ms();
        wait_for(check_now_ms() > now_ms + 1);
    }
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, tokens[0]));
    redis_kill(on);
    redis_boot(on);
    wait_for(validate(lk, tokens[KEPT - 1]) == LATCHKEY_OK);
    latchkey *fresh = handle_open(on, "");
    assert_status(fresh, LATCHKEY_OK, validate(fresh, tokens[KEPT - 1]));
    handle_close_all(NULL);
    redis_end(on);
}

/* --------------------------------------------------------------------------------------------------- racing -- */

typedef struct race {
    latchkey *handles[4];
    token_text old, renewed[4];
    int64_t grace_ms;
    int statuses[4];
    atomic_int odd;
} race;

static void exchange(crew_member *member)
{
    race *r = member->shared;
    r->statuses[member->index] = rotate(r->handles[member->index], r->old, r->grace_ms, r->renewed[member->index]);
}

static void test_of_exchanges_at_once_one_wins(void **state)
{
    (void)state;
    race r = {.odd = 0};
    for (int i = 0; i < 4; i++) r.handles[i] = handle_open(server, "");
    for (int round = 0; round < 100; round++) {
        r.grace_ms = round % 2 ? LONG : 0;
        make_session(r.handles[0], USER, r.old);
        crew_run(4, exchange, &r);
        int winner = -1;
        for (int i = 0; i < 4; i++) {
            if (r.statuses[i] == LATCHKEY_OK) {
                assert_int_equal(winner, -1);
                winner = i;
                continue;
            }
            assert_status(r.handles[i], r.grace_ms ? LATCHKEY_REFUSED : LATCHKEY_NOT_FOUND, r.statuses[i]);
            assert_int_equal(r.renewed[i][0], 0);
        }
        assert_true(winner >= 0);
        assert_int_equal(sessions_of(r.handles[1], USER), 1);
        assert_status(r.handles[2], LATCHKEY_OK, validate(r.handles[2], r.renewed[winner]));
        assert_status(r.handles[3], LATCHKEY_OK, end_session(r.handles[3], r.renewed[winner]));
        assert_int_equal(redis_count_keys(server, "lk:*:s:*"), 0);
    }
}

/* One exchanges, one revokes the old token, two use it: whichever came first, what was revoked stays dead. */
static void exchange_revoke_use(crew_member *member)
{
    race *r = member->shared;
    latchkey *lk = r->handles[member->index];
    if (member->index == 0) r->statuses[0] = rotate(lk, r->old, r->grace_ms, r->renewed[0]);
    if (member->index == 1) r->statuses[1] = end_session(lk, r->old);
    for (int i = 0; member->index > 1 && i < 20; i++) {
        int status = i % 4 == 1   ? touch(lk, r->old)
                     : i % 4 == 2 ? set_field(lk, r->old, "pq.k", i % 8 == 2 ? "x" : "y")
                     : i % 4 == 3 ? load(lk, r->old)
                                  : validate(lk, r->old);
        if (status != LATCHKEY_OK && status != LATCHKEY_NOT_FOUND) {
            print_error("%d: %s\n", i, latchkey_status_text(status));
            atomic_fetch_add(&r->odd, 1);
        }
    }
}

static void test_D_an_exchange_does_not_bring_back_what_is_revoked(void **state)
{
    (void)state;
    race r = {.odd = 0};
    int first[2] = {0, 0};
    for (int i = 0; i < 4; i++) r.handles[i] = handle_open(server, "");
    for (int round = 0; round < 300; round++) {
        r.grace_ms = round % 2 ? LONG : 0;
        make_session(r.handles[0], USER, r.old);
        crew_run(4, exchange_revoke_use, &r);
        assert_status_in(r.handles[0], r.statuses[0], LATCHKEY_OK, LATCHKEY_NOT_FOUND);
        assert_status_in(r.handles[1], r.statuses[1], LATCHKEY_OK, LATCHKEY_NOT_FOUND);
        bool revoked = r.statuses[1] == LATCHKEY_OK;
        first[r.statuses[0] == LATCHKEY_OK]++;
        if (r.grace_ms) assert_true(revoked); /* the old token, in its grace, is the session's */
        else assert_true(revoked != (r.statuses[0] == LATCHKEY_OK));
        for (int i = 0; i < 4 && r.statuses[0] == LATCHKEY_OK; i++)
            if (revoked && i == 1)
                assert_status(r.handles[i], LATCHKEY_NOT_FOUND, validate(r.handles[i], r.renewed[0]));
        assert_int_equal(redis_count_keys(server, "lk:*:s:*"), !revoked);
        if (!revoked) assert_status(r.handles[0], LATCHKEY_OK, end_session(r.handles[0], r.renewed[0]));
        assert_int_equal(redis_count_keys(server, "lk:*:s:*") + redis_count_keys(server, "lk:*:f:*"), 0);
    }
    assert_int_equal(atomic_load(&r.odd), 0);
    assert_true(first[0] + first[1] == 300);
}

/* ------------------------------------------------------------------------------------------------------ faults -- */

static void test_at_maxmemory_a_change_of_privilege_passes_and_a_renewal_changes_nothing(void **state)
{
    (void)state;
    redis *on = redis_start("--maxmemory-policy", "noeviction");
    latchkey *lk = handle_open(on, "");
    token_text old, renewed;
    char key[128];
    make_session(lk, USER, old);
    redis_do(on, "CONFIG SET maxmemory 1mb");
    memset(renewed, 'x', sizeof renewed);
    assert_status(lk, LATCHKEY_UNAVAILABLE, rotate(lk, old, LONG, renewed));
    assert_int_equal(renewed[0], 0);
    assert_contains(stats_of(lk).last_error, "maxmemory");
    assert_int_equal(redis_count_keys(on, "lk:*:s:*"), 1);
    assert_int_equal(redis_count_keys(on, "lk:*:f:*"), 0);
    assert_int_equal(redis_integer(on, "HEXISTS %s f", session_key(on, old, key)), 0);
    assert_status(lk, LATCHKEY_OK, validate(lk, old));
    rotated(lk, old, 0, renewed);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, old));
    assert_status(lk, LATCHKEY_OK, validate(lk, renewed));
    redis_do(on, "CONFIG SET maxmemory 0");
    rotated(lk, renewed, SHORT, old);
    check_outlive(SHORT);
    redis_do(on, "CONFIG SET maxmemory 1mb");
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, renewed)); /* a thief is stopped then as well */
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, old));
    assert_int_equal(stats_of(lk).reuses, 1);
    handle_close_all(NULL);
    redis_end(on);
}

static void test_A_without_redis_nothing_is_exchanged_and_nobody_is_a_thief(void **state)
{
    (void)state;
    redis *on = redis_start("--appendonly", "yes", "--appendfsync", "always");
    latchkey *lk = handle_open(on, "deadline_ms=3000&staleness_ms=60000&l1_capacity=0");
    token_text old, renewed, none, plain;
    make_session(lk, USER, old);
    make_session(lk, USER, plain);
    rotated(lk, old, SHORT, renewed);
    redis_do(on, "SCRIPT FLUSH");
    check_outlive(SHORT);
    redis_kill(on);
    assert_status(lk, LATCHKEY_UNAVAILABLE, rotate(lk, plain, LONG, none));
    assert_int_equal(none[0], 0);
    assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, old));
    redis_boot(on);
    /* It can be read, and nothing can be written: the session is not ended, and that is no answer. */
    redis_do(on, "CONFIG SET min-replicas-to-write 1");
    wait_for(validate(lk, renewed) == LATCHKEY_OK);
    assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, old));
    assert_status(lk, LATCHKEY_UNAVAILABLE, rotate(lk, plain, LONG, none));
    assert_status(lk, LATCHKEY_OK, validate(lk, renewed));
    assert_int_equal(stats_of(lk).reuses, 0);
    redis_do(on, "CONFIG SET min-replicas-to-write 0");
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, old));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, renewed));
    assert_int_equal(stats_of(lk).reuses, 1);
    redis_do(on, "SCRIPT FLUSH");
    rotated(lk, plain, LONG, none);
    handle_close_all(NULL);
    redis_end(on);
}

/* A revocation that Redis has not confirmed gets through with the old token's name, and takes the new one with it. */
static void test_C_pending_revocation_of_an_old_token_ends_the_session(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "staleness_ms=60000"), *other = handle_open(on, "");
    token_text old, renewed;
    make_session(lk, USER, old);
    rotated(lk, old, LONG, renewed);
    warm(other, renewed);
    redis_do(on, "CONFIG SET min-replicas-to-write 1");
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, old));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, old));
    assert_status(lk, LATCHKEY_NOT_FOUND, rotate(lk, old, 0, old));
    redis_do(on, "CONFIG SET min-replicas-to-write 0");
    wait_for(stats_of(lk).pending == 0);
    wait_for(try_validate(other, renewed) != LATCHKEY_OK);
    assert_int_equal(redis_count_keys(on, "lk:*:s:*"), 0);
    handle_close_all(NULL);
    redis_end(on);
}

static void test_damaged_keys_stop_it_before_it_writes(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&prefix=p1");
    static const char *const keys[] = {"u:42", "a"};
    token_text old, renewed;
    char key[128], name[64];
    for (int i = 0; i < 4; i++) {
        make_session(lk, USER, old);
        redis_do(server, "DEL p1:{0}:%s", keys[i / 2]);
        redis_do(server, "SET p1:{0}:%s junk", keys[i / 2]);
        assert_status(lk, LATCHKEY_CORRUPT, rotate(lk, old, i % 2 ? LONG : 0, renewed));
        assert_status(lk, LATCHKEY_OK, validate(lk, old));
        redis_do(server, "DEL p1:{0}:%s", keys[i / 2]);
    }
    make_session(lk, USER, old);
    rotated(lk, old, LONG, renewed);
    snprintf(name, sizeof name, "p1:{0}:f:%.20s", old);
    redis_do(server, "SET %s junk", name);
    assert_status(lk, LATCHKEY_CORRUPT, rotate(lk, renewed, LONG, old));
    assert_status(lk, LATCHKEY_OK, validate(lk, renewed));
    /* The session ends all the same. */
    assert_status(lk, LATCHKEY_OK, end_session(lk, renewed));
    assert_string_equal(session_key(server, renewed, key), "");
}

static void test_bad_arguments(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text token, out;
    make_session(lk, USER, token);
    memset(out, 'x', sizeof out);
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, rotate(NULL, token, 0, out));
    assert_int_equal(out[0], 0);
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, rotate(lk, NULL, 0, out));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_rotate(lk, token, LENGTH, 0, NULL));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, rotate(lk, token, -1, out));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, rotate(lk, token, 3600001, out));
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_rotate(lk, token, 42, 0, out));
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    token_text same;
    memcpy(same, token, sizeof same);
    assert_status(lk, LATCHKEY_OK, rotate(lk, token, 3600000, out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_B_C_without_grace_the_old_token_dies_at_once),
        TEST(test_C_without_grace_a_server_that_forgot_is_told),
        TEST(test_in_its_grace_the_old_token_is_as_good_as_the_new),
        TEST(test_H_l1_does_not_outlive_the_grace),
        TEST(test_B_l1_here_does_not_outlive_the_grace_without_messages),
        TEST(test_absolute_and_idle_expiry_stay),
        TEST(test_old_token_after_its_grace_ends_the_session_everywhere),
        TEST(test_E_an_old_selector_with_another_secret_ends_nothing),
        TEST(test_prewarm_passes_over_old_tokens),
        TEST(test_B_revoking_either_token_ends_both),
        TEST(test_revoke_user_keeps_the_session_of_an_old_token_in_its_grace),
        TEST(test_C_a_server_that_lost_exchange_and_revocation_admits_neither),
        TEST(test_G_old_tokens_are_remembered_up_to_a_number),
        TEST(test_D_the_oldest_is_forgotten_alone),
        TEST(test_of_exchanges_at_once_one_wins),
        TEST(test_D_an_exchange_does_not_bring_back_what_is_revoked),
        TEST(test_at_maxmemory_a_change_of_privilege_passes_and_a_renewal_changes_nothing),
        TEST(test_A_without_redis_nothing_is_exchanged_and_nobody_is_a_thief),
        TEST(test_C_pending_revocation_of_an_old_token_ends_the_session),
        TEST(test_damaged_keys_stop_it_before_it_writes),
        TEST(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

/* SPDX-License-Identifier: MIT
 *
 * latchkey_import: a session moves in as it was, once, whatever interrupts or repeats the import; no user is logged out by
 * it, and no session that was ended is brought back.
 */
#include "foreign_kit.h"
#include "proxy.h"
#include "threads.h"

#include <stdbool.h>

/* ------------------------------------------------------------------------------------------- as it was -- */

static void test_what_it_was_it_is(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, TAKEN "&idle_ms=900000&lifetime_ms=100000"), *other = handle_open(server, TAKEN);
    foreign_text token;
    char key[128];
    foreign_of(1, token);
    const latchkey_field fields[] = {{"pq.k", "key", 3}, {"cart", "eggs", 4}};
    latchkey_draft draft = {.size = sizeof draft,
                            .user_id = 9,
                            .role = "sixteen-of-these",
                            .device = 77,
                            .flags = 0x1234,
                            .fields = fields,
                            .field_count = 2};
    memset(draft.permissions_hash, 0x5a, sizeof draft.permissions_hash);
    int64_t now = server_ms(), created = now - 86400000, expires = now + 864000000; /* longer than lifetime_ms */
    assert_status(lk, LATCHKEY_OK, latchkey_import(lk, token, strlen(token), &draft, created, expires));
    latchkey_record *record;
    size_t size;
    assert_status(other, LATCHKEY_OK, latchkey_load(other, token, strlen(token), &record));
    const latchkey_entry *e = latchkey_record_entry(record);
    assert_int_equal(e->user_id, 9);
    assert_memory_equal(e->role, "sixteen-of-these", 16);
    assert_int_equal(e->created_at_ms, created);
    assert_int_equal(e->auth_at_ms, created);
    assert_int_equal(e->expires_at_ms, expires);
    assert_int_equal(e->device, 77);
    assert_int_equal(e->flags & LATCHKEY_FLAGS_YOURS, 0x1234);
    assert_memory_equal(e->permissions_hash, draft.permissions_hash, 32);
    assert_status(NULL, LATCHKEY_OK, latchkey_check_keys(e, fields, 2));
    assert_memory_equal(latchkey_record_field(record, "cart", &size), "eggs", 4);
    latchkey_record_free(record);
    /* Idle from now on; the name as long as an import can be run; both in the indexes' partition as any. */
    assert_in_range(redis_integer(server, "PTTL %s", only_key(server, "lk:*:s:*", key)), 900000 - 60000, 900000);
    assert_int_equal(redis_integer(server, "PEXPIRETIME %s", only_key(server, "lk:*:i:*", key)),
                     INT64_C(4102444800000));
    assert_int_equal(sessions_of(lk, 9), 1);
    size_t loaded;
    assert_status(other, LATCHKEY_OK, latchkey_prewarm(other, 10, &loaded));
    assert_int_equal(loaded, 1);
}

static int move(latchkey *lk, unsigned number, const latchkey_draft *draft, int64_t created_ms, int64_t expires_ms)
{
    foreign_text token;
    foreign_of(number, token);
    return latchkey_import(lk, token, strlen(token), draft, created_ms, expires_ms);
}

static void test_times(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, TAKEN "&lifetime_ms=500000&idle_ms=600000");
    enum { NEAR = 5000 }; /* the library reckons Redis' time from its last beat; on a slow machine that was long ago */
    const int64_t year = INT64_C(31536000000);
    latchkey_draft draft = {.size = sizeof draft, .user_id = 1};
    latchkey_entry e;
    foreign_text token;
    char key[128];
    unsigned n = 0;
    int64_t before = server_ms();
    assert_status(lk, LATCHKEY_OK, move(lk, ++n, &draft, 0, 0)); /* now, and lifetime_ms from now */
    assert_status(lk, LATCHKEY_OK, f_validate(lk, foreign_of(n, token), &e));
    int64_t after = server_ms();
    assert_in_range(e.created_at_ms, before - NEAR, after + NEAR);
    assert_int_equal(e.expires_at_ms, e.created_at_ms + 500000);
    assert_in_range(redis_integer(server, "PTTL %s", only_key(server, "lk:*:s:*", key)), 1,
                    500000 + NEAR); /* not idle_ms */
    draft.lifetime_ms = 7000000;
    assert_status(lk, LATCHKEY_OK, move(lk, ++n, &draft, 0, 0));
    assert_status(lk, LATCHKEY_OK, f_validate(lk, foreign_of(n, token), &e));
    assert_int_equal(e.expires_at_ms, e.created_at_ms + 7000000);
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, move(lk, ++n, &draft, 0, before + year));
    draft.lifetime_ms = 0;
    assert_status(lk, LATCHKEY_OK, move(lk, ++n, &draft, before + year, before + 2 * year)); /* its clock was ahead */
    assert_status(lk, LATCHKEY_OK, f_validate(lk, foreign_of(n, token), &e));
    assert_in_range(e.created_at_ms, before - NEAR, server_ms() + NEAR);
    assert_status(lk, LATCHKEY_OK,
                  move(lk, ++n, &draft, 0, before + 1000 * year)); /* as good as never: cut to ten years */
    assert_status(lk, LATCHKEY_OK, f_validate(lk, foreign_of(n, token), &e));
    assert_in_range(e.expires_at_ms, before + 10 * year - NEAR, server_ms() + 10 * year + NEAR);
    assert_status(lk, LATCHKEY_OK, move(lk, ++n, &draft, 0, INT64_MAX));
    assert_status(lk, LATCHKEY_EXPIRED, move(lk, ++n, &draft, 0, before));
    assert_status(lk, LATCHKEY_EXPIRED, move(lk, ++n, &draft, 1, 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, move(lk, ++n, &draft, 2, 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, move(lk, ++n, &draft, -1, 0));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, move(lk, ++n, &draft, 0, -1));
    assert_int_equal(sessions_of(lk, 1), 5);
    assert_int_equal(redis_count_keys(server, "lk:*:i:*"), 5);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, TAKEN);
    foreign_text token;
    foreign_of(1, token);
    latchkey_draft good = {.size = sizeof good, .user_id = 1}, bad;
    const latchkey_field field = {"x", "too short a name", 16};
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_import(NULL, token, strlen(token), &good, 0, 0));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_import(lk, NULL, strlen(token), &good, 0, 0));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_import(lk, token, strlen(token), NULL, 0, 0));
#define REFUSES(what) (bad = good, bad.what, latchkey_import(lk, token, strlen(token), &bad, 0, 0))
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, REFUSES(size = 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, REFUSES(role = "seventeen letters"));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, REFUSES(flags = 0x10000));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, REFUSES(idle_ms = -1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, REFUSES(field_count = 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, (bad = good, bad.fields = &field, REFUSES(field_count = 1)));
    assert_int_equal(redis_count_keys(server, "lk:*:s:*") + redis_count_keys(server, "lk:*:i:*"), 0);
}

/* ------------------------------------------------------------------------------------------------- once -- */

static void test_it_moves_in_once(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, TAKEN), *other = handle_open(server, TAKEN);
    foreign_text token;
    foreign_of(1, token);
    assert_status(lk, LATCHKEY_OK, import_one(lk, token));
    char why[256];
    assert_status(lk, LATCHKEY_REFUSED, import_one(lk, token));
    assert_status(lk, LATCHKEY_OK, latchkey_error_text(lk, why, sizeof why));
    assert_contains(why, "moved in before");
    assert_status(other, LATCHKEY_REFUSED, import_one(other, token));
    assert_status(other, LATCHKEY_REFUSED, import_for(other, token, FOREIGN_USER + 1));
    assert_int_equal(sessions_of(lk, FOREIGN_USER), 1);
    assert_int_equal(sessions_of(lk, FOREIGN_USER + 1), 0);
    char renewed[LATCHKEY_TOKEN_SIZE];
    assert_status(lk, LATCHKEY_OK, f_rotate(lk, token, 600000, renewed));
    assert_status(lk, LATCHKEY_REFUSED, import_one(lk, token));
    assert_status(lk, LATCHKEY_OK, f_validate(lk, renewed, NULL));
}

/* Who has logged out, by whatever way, is not brought back by an import that runs again (D). */
static void test_D_what_has_ended_is_not_brought_back(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, TAKEN), *other = handle_open(server, TAKEN);
    foreign_text tokens[4];
    char renewed[LATCHKEY_TOKEN_SIZE], key[128];
    latchkey_session_info info;
    size_t total;
    for (unsigned i = 0; i < 4; i++) assert_status(lk, LATCHKEY_OK, import_for(lk, foreign_of(i, tokens[i]), i));
    assert_status(lk, LATCHKEY_OK, f_revoke(lk, tokens[0]));
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, 1, NULL, 0, NULL));
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, 2, NULL, 0, &info, 1, &total));
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_selector(lk, 2, info.selector));
    assert_status(lk, LATCHKEY_OK, f_rotate(lk, tokens[3], 0, renewed));
    for (unsigned i = 0; i < 4; i++) {
        assert_status(lk, LATCHKEY_REFUSED, import_for(lk, tokens[i], i));
        assert_status(other, LATCHKEY_REFUSED, import_for(other, tokens[i], i));
        assert_status(other, LATCHKEY_NOT_FOUND, f_validate(other, tokens[i], NULL));
    }
    assert_status(other, LATCHKEY_OK, f_validate(other, renewed, NULL));
    only_key(server, "lk:*:s:*", key); /* of the exchanged one; nothing else is there */
}

/* The same, where the session's own time is over: an import of a dump without ends, or whose ends roll on, makes it anew each
 * time it is run, but for what Redis remembers; and that has to last until foreign_until_ms, moved on or not. */
static void test_D_nor_after_its_own_time(void **state)
{
    (void)state;
    enum { SHORT_MS = 300, UNTIL_MS = 600000 };
    char options[96], later[96], key[128];
    int64_t now = server_ms();
    snprintf(options, sizeof options, "foreign_until_ms=%lld&lifetime_ms=1000", (long long)now + UNTIL_MS);
    snprintf(later, sizeof later, "foreign_until_ms=%lld&lifetime_ms=1000", (long long)now + 2 * UNTIL_MS);
    latchkey *lk = handle_open(server, options);
    foreign_text tokens[3];
    const latchkey_draft short_lived = {.size = sizeof short_lived, .user_id = 5, .lifetime_ms = SHORT_MS};
    const latchkey_draft draft = {.size = sizeof draft, .user_id = 5};
#define MOVE_ALL(handle, status)                                                                                       \
    do {                                                                                                               \
        const char *t0 = foreign_of(0, tokens[0]), *t1 = foreign_of(1, tokens[1]), *t2 = foreign_of(2, tokens[2]);     \
        assert_status(handle, status, latchkey_import(handle, t0, strlen(t0), &short_lived, 0, 0));                    \
        assert_status(handle, status, latchkey_import(handle, t1, strlen(t1), &draft, 0, server_ms() + SHORT_MS));     \
        assert_status(handle, status, latchkey_import(handle, t2, strlen(t2), &draft, 0, 0));                          \
    } while (0)
    MOVE_ALL(lk, LATCHKEY_OK);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, 5, NULL, 0, NULL));
    int64_t past_ms = server_ms() + 1200;
    wait_for(server_ms() > past_ms);
    MOVE_ALL(lk, LATCHKEY_REFUSED);
    for (unsigned i = 0; i < 3; i++) assert_status(lk, LATCHKEY_NOT_FOUND, f_validate(lk, tokens[i], NULL));
    assert_int_equal(sessions_of(lk, 5), 0);
    latchkey *longer = handle_open(server, later);
    MOVE_ALL(longer, LATCHKEY_REFUSED);
    MOVE_ALL(lk, LATCHKEY_REFUSED); /* and no instance that is behind takes it back */
    size_t count;
    char **keys = redis_keys(server, "lk:*:i:*", &count);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%s", keys[i]);
        assert_in_range(redis_integer(server, "PEXPIRETIME %s", key), now + 2 * UNTIL_MS, now + 2 * UNTIL_MS);
    }
    redis_free_keys(keys);
#undef MOVE_ALL
}

/* Killed between the two writes: the session is there, and no token leads to it. The same call completes it. */
static void test_an_interrupted_one_is_completed(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, TAKEN), *other = handle_open(server, TAKEN);
    foreign_text token;
    char session[128], again[128], name[128], x[64];
    foreign_of(1, token);
    assert_status(lk, LATCHKEY_OK, import_one(lk, token));
    only_key(server, "lk:*:s:*", session);
    redis_do(server, "DEL %s", only_key(server, "lk:*:i:*", name));
    redis_do(server, "PEXPIRE %s 5000", session);
    redis_do(server, "HSET %s x %s", session, "600000 4102444800000 4711"); /* what is there stays what it is */
    assert_status(other, LATCHKEY_NOT_FOUND, f_validate(other, token, NULL));
    assert_status(other, LATCHKEY_OK, import_one(other, token));
    assert_string_equal(only_key(server, "lk:*:s:*", again), session);
    assert_true(redis_integer(server, "PTTL %s", session) > 5000);
    redis_text(server, x, sizeof x, "HGET %s x", session);
    assert_string_equal(x, "600000 4102444800000 4711");
    assert_status(other, LATCHKEY_OK, f_validate(other, token, NULL));
    assert_status(other, LATCHKEY_REFUSED, import_one(other, token));
    assert_int_equal(sessions_of(lk, FOREIGN_USER), 1);
}

static void import_half(latchkey *lk, unsigned number, int64_t lifetime_ms)
{
    char key[128];
    const latchkey_draft draft = {.size = sizeof draft, .user_id = FOREIGN_USER, .lifetime_ms = lifetime_ms};
    assert_status(lk, LATCHKEY_OK, move(lk, number, &draft, 0, 0));
    redis_do(server, "DEL %s", only_key(server, "lk:*:i:*", key));
}

static latchkey_answer reap_one(latchkey *lk)
{
    latchkey_answer answer = {.status = 99};
    wait_for(latchkey_reap(lk, &answer, 1));
    return answer;
}

/* Another instance has the half of it in L1, by prewarming. That half is past its end when the import is made again. */
static void test_A_an_interrupted_one_is_made_again_after_its_end(void **state)
{
    (void)state;
    enum { VERBS = 4 };
    latchkey *lk = handle_open(server, TAKEN), *other;
    foreign_text tokens[VERBS];
    latchkey_entry e;
    size_t loaded = 0;
    for (int64_t lifetime_ms = 500; loaded < VERBS;
         lifetime_ms *= 2) { /* on a slow machine they end before they are loaded */
        other = handle_open(server, TAKEN);
        for (unsigned i = 0; i < VERBS; i++) import_half(lk, i, lifetime_ms);
        assert_status(other, LATCHKEY_OK, latchkey_prewarm(other, VERBS, &loaded));
        wait_for(redis_count_keys(server, "lk:*:s:*") == 0);
    }
    latchkey *last = handle_open(server, TAKEN);
    for (unsigned i = 0; i < VERBS; i++) assert_status(last, LATCHKEY_OK, import_one(last, foreign_of(i, tokens[i])));
    wait_for(f_try(other, tokens[0]) == LATCHKEY_AGAIN);
    assert_status(other, LATCHKEY_OK, f_validate(other, tokens[0], &e));
    assert_status(other, LATCHKEY_OK, f_try(other, tokens[0]));
    assert_status(other, LATCHKEY_OK, latchkey_validate_fresh(other, tokens[1], strlen(tokens[1]), 60000, &e));
    assert_status(other, LATCHKEY_OK, latchkey_submit(other, tokens[2], strlen(tokens[2]), 7));
    assert_int_equal(reap_one(other).status, LATCHKEY_OK);
    assert_status(other, LATCHKEY_OK, latchkey_submit_fresh(other, tokens[3], strlen(tokens[3]), 60000, 7));
    assert_int_equal(reap_one(other).status, LATCHKEY_OK);
}

/* The wire is cut or held at any place: UNAVAILABLE, and then the same call, until it is in. Each of them exactly once. The first
 * try alone has little time, and alone is cut off: a slow machine would not get beyond a second one that is. */
static void test_a_bad_wire_makes_no_second_one(void **state)
{
    (void)state;
    enum { SESSIONS = 60 };
    proxy *wire = proxy_start(server->port);
    latchkey *hasty = handle_open_at(proxy_port(wire), TAKEN "&deadline_ms=100&staleness_ms=60000&lazy=1");
    latchkey *lk = handle_open_at(proxy_port(wire), TAKEN "&deadline_ms=20000&staleness_ms=60000");
    static const char *const at[] = {"", "GET", "*13\r\n", "*8\r\n"};
    foreign_text token;
    int failed = 0;
    for (unsigned i = 0; i < SESSIONS; i++) {
        foreign_of(i, token);
        int status, tries = 0;
        do {
            /* Of the first try nothing passes, or no answer comes, from the question, the session's script or its name's on. */
            if (tries == 0 && i % 4)
                proxy_set(wire, i / 4 % 2 ? PROXY_HOLD_REQUEST : PROXY_HOLD_ONE, at[i % 4], strlen(at[i % 4]));
            status = import_one(tries == 0 ? hasty : lk, token);
            proxy_set(wire, PROXY_RELAY, NULL, 0);
            assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_REFUSED, LATCHKEY_UNAVAILABLE);
            if (status < 0 && tries == 0) proxy_drop_connections(wire);
            failed += status < 0;
            tries++;
        } while (status < 0);
    }
    assert_true(failed >= SESSIONS / 2); /* of three quarters; a link that connects again may be what was held */
    proxy_set(wire, PROXY_RELAY, NULL, 0);
    latchkey *other = handle_open(server, TAKEN);
    for (unsigned i = 0; i < SESSIONS; i++)
        assert_status(other, LATCHKEY_OK, f_validate(other, foreign_of(i, token), NULL));
    assert_int_equal(sessions_of(other, FOREIGN_USER), SESSIONS);
    assert_int_equal(redis_count_keys(server, "lk:*:i:*"), SESSIONS);
    handle_close(hasty);
    handle_close(lk);
    proxy_end(wire);
}

/* The session's script of one import is held up. Meanwhile another import makes the session, and it ends. The first may have been given up
 * by then: lost packets come again for a while, although nothing waits for the answer. */
static void test_D_what_has_ended_is_not_made_by_a_script_that_comes_late(void **state)
{
    (void)state;
    proxy *wire = proxy_start(server->port);
    latchkey *slow = handle_open_at(proxy_port(wire), TAKEN "&deadline_ms=200&staleness_ms=60000&lazy=1");
    latchkey *lk = handle_open(server, TAKEN);
    foreign_text token, first;
    foreign_of(2, token);
    wait_for(import_one(slow, foreign_of(1, first)) !=
             LATCHKEY_UNAVAILABLE); /* it has a lease, and the script is known */
    proxy_set(wire, PROXY_HOLD_REQUEST, "*13\r\n", 5);
    wait_for(import_one(slow, token) == LATCHKEY_UNAVAILABLE && proxy_holds_one(wire));
    assert_status(lk, LATCHKEY_OK, import_one(lk, token));
    assert_status(lk, LATCHKEY_OK, latchkey_revoke(lk, token, strlen(token)));
    long long calls = redis_calls(server, "evalsha");
    proxy_set(wire, PROXY_RELAY, NULL, 0);
    wait_for(redis_calls(server, "evalsha") > calls);
    assert_int_equal(redis_count_keys(server, "lk:*:s:*"), 1);
    latchkey *other = handle_open(server, TAKEN);
    assert_status(other, LATCHKEY_NOT_FOUND, f_validate(other, token, NULL));
    proxy_end(wire);
}

/* The same, and the session has idled out, so no log tells of its end. */
static void test_D_nor_what_has_idled_out(void **state)
{
    (void)state;
    proxy *wire = proxy_start(server->port);
    latchkey *slow = handle_open_at(proxy_port(wire), TAKEN "&deadline_ms=200&staleness_ms=60000&lazy=1");
    latchkey *lk = handle_open(server, TAKEN);
    latchkey_draft draft = {.size = sizeof draft, .user_id = FOREIGN_USER, .role = "member", .idle_ms = 2000};
    wait_for(move(slow, 1, &draft, 0, 0) != LATCHKEY_UNAVAILABLE);
    proxy_set(wire, PROXY_HOLD_REQUEST, "*13\r\n", 5);
    wait_for(move(slow, 2, &draft, 0, 0) == LATCHKEY_UNAVAILABLE && proxy_holds_one(wire));
    wait_for(move(lk, 2, &draft, 0, 0) == LATCHKEY_OK);
    wait_for(redis_count_keys(server, "lk:*:s:*") == 0);
    long long calls = redis_calls(server, "evalsha");
    proxy_set(wire, PROXY_RELAY, NULL, 0);
    wait_for(redis_calls(server, "evalsha") > calls);
    assert_int_equal(redis_count_keys(server, "lk:*:s:*"), 0);
    proxy_end(wire);
}

enum { CREW = 6, SHARED = 150 };
typedef struct shared_import {
    latchkey *lk[2];
    bool differ;
    _Atomic unsigned made[SHARED], refused[SHARED], odd;
} shared_import;

static void import_all(crew_member *m)
{
    shared_import *s = m->shared;
    latchkey_draft draft = {.size = sizeof draft, .user_id = 1000 + (s->differ ? m->index : 0)};
    foreign_text token;
    for (unsigned i = 0; i < SHARED; i++) {
        foreign_of(i, token);
        int status = latchkey_import(s->lk[m->index % 2], token, strlen(token), &draft, 0, 0);
        if (status == LATCHKEY_OK) atomic_fetch_add(&s->made[i], 1);
        else if (status == LATCHKEY_REFUSED) atomic_fetch_add(&s->refused[i], 1);
        else atomic_fetch_add(&s->odd, 1);
    }
}

static size_t all_sessions(latchkey *lk)
{
    size_t all = 0;
    for (uint64_t i = 0; i < CREW; i++) all += sessions_of(lk, 1000 + i);
    return all;
}

/* Many at once, of the same dump: one session each. And where they do not agree whose it is, one stands. */
static void test_many_at_once_make_one(void **state)
{
    (void)state;
    foreign_text token;
    for (int differ = 0; differ < 2; differ++) {
        redis_do(server, "FLUSHALL");
        shared_import s = {.lk = {handle_open(server, TAKEN), handle_open(server, TAKEN)}, .differ = differ};
        crew_run(CREW, import_all, &s);
        assert_int_equal(s.odd, 0);
        wait_for(all_sessions(s.lk[0]) == SHARED); /* where they differ the link ends what is too much */
        assert_int_equal(redis_count_keys(server, "lk:*:i:*"), SHARED);
        assert_int_equal(redis_count_keys(server, "lk:*:s:*"), SHARED);
        for (unsigned i = 0; i < SHARED; i++) {
            assert_int_equal(s.made[i], 1);
            assert_int_equal(s.made[i] + s.refused[i], CREW);
            assert_status(s.lk[0], LATCHKEY_OK, f_validate(s.lk[0], foreign_of(i, token), NULL));
        }
        handle_close(s.lk[0]);
        handle_close(s.lk[1]);
    }
}

/* ---------------------------------------------------------------------------------------------- and others -- */

static void test_limits_log_nobody_out(void **state)
{
    (void)state;
    const char *options[] = {TAKEN "&max_sessions=2&limit=deny", TAKEN "&max_sessions=2&max_per_device=1"};
    for (int k = 0; k < 2; k++) {
        redis_do(server, "FLUSHALL");
        latchkey *lk = handle_open(server, options[k]);
        latchkey_draft draft = {.size = sizeof draft, .user_id = FOREIGN_USER, .device = 3};
        foreign_text token;
        char own[LATCHKEY_TOKEN_SIZE];
        assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, own));
        for (unsigned i = 0; i < 8; i++) assert_status(lk, LATCHKEY_OK, import_one(lk, foreign_of(i, token)));
        for (unsigned i = 0; i < 8; i++) assert_status(lk, LATCHKEY_OK, f_validate(lk, foreign_of(i, token), NULL));
        assert_status(lk, LATCHKEY_OK, validate(lk, own));
        assert_status(lk, k ? LATCHKEY_OK : LATCHKEY_LIMIT,
                      latchkey_create(lk, &draft, own)); /* they count, from then on */
        handle_close(lk);
    }
}

static void test_a_moved_generation_refuses(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, TAKEN);
    foreign_text token;
    latchkey_draft draft = {.size = sizeof draft, .user_id = 5};
    foreign_of(1, token);
    assert_status(lk, LATCHKEY_OK, latchkey_user_generation(lk, 5, &draft.generation));
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, 5, NULL, 0, NULL));
    assert_status(lk, LATCHKEY_REFUSED, latchkey_import(lk, token, strlen(token), &draft, 0, 0));
    assert_int_equal(redis_count_keys(server, "lk:*:s:*") + redis_count_keys(server, "lk:*:i:*"), 0);
    assert_status(lk, LATCHKEY_NOT_FOUND, f_validate(lk, token, NULL));
    assert_status(lk, LATCHKEY_OK, latchkey_user_generation(lk, 5, &draft.generation));
    assert_status(lk, LATCHKEY_OK, latchkey_import(lk, token, strlen(token), &draft, 0, 0));
    assert_status(lk, LATCHKEY_OK, f_validate(lk, token, NULL));
}

static void test_what_lies_in_the_way_is_said_and_nothing_is_made(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, TAKEN "&partitions=1");
    foreign_text token;
    char session[128], name[128];
    foreign_of(1, token);
    const char *ways[] = {"SET lk:{0}:u:4711 x", "SET lk:{0}:a x"};
    for (int i = 0; i < 2; i++) {
        redis_do(server, ways[i]);
        assert_status(lk, LATCHKEY_CORRUPT, import_one(lk, token));
        assert_int_equal(redis_count_keys(server, "lk:*:s:*") + redis_count_keys(server, "lk:*:i:*"), 0);
        redis_do(server, "DEL lk:{0}:u:4711 lk:{0}:a");
    }
    /* Another session, or no session, where this one would be. */
    assert_status(lk, LATCHKEY_OK, import_one(lk, token));
    only_key(server, "lk:*:s:*", session);
    redis_do(server, "DEL %s", only_key(server, "lk:*:i:*", name));
    redis_do(server, "HSET %s v damaged", session);
    assert_status(lk, LATCHKEY_CORRUPT, import_one(lk, token));
    redis_do(server, "DEL %s", session);
    redis_do(server, "SET %s x", session);
    assert_status(lk, LATCHKEY_CORRUPT, import_one(lk, token));
    assert_int_equal(redis_count_keys(server, "lk:*:i:*"), 0);
    redis_do(server, "DEL %s", session);
    assert_status(lk, LATCHKEY_OK, import_one(lk, token));
}

static void test_full_it_is_no_answer_and_works_again(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, TAKEN);
    foreign_text token;
    foreign_of(1, token);
    redis_do(server, "CONFIG SET maxmemory 1");
    assert_status(lk, LATCHKEY_UNAVAILABLE, import_one(lk, token));
    redis_do(server, "CONFIG SET maxmemory 0");
    assert_status(lk, LATCHKEY_OK, import_one(lk, token));
    assert_status(lk, LATCHKEY_OK, f_validate(lk, token, NULL));
}

/* OK: both hold it. Not yet: the same call, until they do. */
static void test_with_durability_it_is_held_by_the_replica(void **state)
{
    (void)state;
    redis *primary = redis_start("--repl-diskless-sync-delay", "0"), *replica = redis_start(NULL);
    redis_do(replica, "REPLICAOF 127.0.0.1 %d", primary->port);
    wait_for(redis_integer(primary, "WAIT 1 100") == 1);
    latchkey *lk = handle_open(primary, TAKEN "&durability=1&deadline_ms=400&staleness_ms=60000");
    latchkey_draft draft = {.size = sizeof draft, .user_id = 5};
    foreign_text token, late;
    int status;
    foreign_of(1, token);
    foreign_of(2, late);
    wait_for((status = latchkey_import(lk, token, strlen(token), &draft, 0, 0)) != LATCHKEY_UNAVAILABLE);
    assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_REFUSED); /* REFUSED: it was tried before */
    assert_int_equal(redis_count_keys(replica, "lk:*:i:*"), 1);
    redis_freeze(replica);
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_import(lk, late, strlen(late), &draft, 0, 0));
    redis_thaw(replica);
    wait_for((status = latchkey_import(lk, late, strlen(late), &draft, 0, 0)) != LATCHKEY_UNAVAILABLE);
    assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_REFUSED);
    assert_int_equal(redis_count_keys(replica, "lk:*:i:*"), 2);
    assert_int_equal(redis_count_keys(replica, "lk:*:s:*"), 2);
    handle_close_all(NULL);
    redis_end(primary);
    redis_end(replica);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_it_was_it_is),
        TEST(test_times),
        TEST(test_bad_arguments),
        TEST(test_it_moves_in_once),
        TEST(test_D_what_has_ended_is_not_brought_back),
        TEST(test_D_nor_after_its_own_time),
        TEST(test_an_interrupted_one_is_completed),
        TEST(test_A_an_interrupted_one_is_made_again_after_its_end),
        TEST(test_a_bad_wire_makes_no_second_one),
        TEST(test_D_what_has_ended_is_not_made_by_a_script_that_comes_late),
        TEST(test_D_nor_what_has_idled_out),
        TEST(test_many_at_once_make_one),
        TEST(test_limits_log_nobody_out),
        TEST(test_a_moved_generation_refuses),
        TEST(test_what_lies_in_the_way_is_said_and_nothing_is_made),
        TEST(test_full_it_is_no_answer_and_works_again),
        TEST(test_with_durability_it_is_held_by_the_replica),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

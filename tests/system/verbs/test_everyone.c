/* SPDX-License-Identifier: MIT
 *
 * The panic button: all sessions of all users end, everywhere, and later logins are not affected.
 */
#include "test_handle.h"
#include "logbook.h"
#include "proxy.h"
#include "threads.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LENGTH = LATCHKEY_TOKEN_LENGTH, USERS = 40 };
#define ONE "partitions=1&prefix=p1"

/* Any "no": from memory, or from Redis once it can be asked. */
static void assert_dead(latchkey *lk, const char *token)
{
    assert_status_in(lk, try_validate(lk, token), LATCHKEY_AGAIN, LATCHKEY_NOT_FOUND);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
}

static int no_log_and_close_all(void **state)
{
    int bad = handle_close_all(state);
    logbook_close();
    return bad;
}

#define LOGGED(name) cmocka_unit_test_setup_teardown(name, server_clean, no_log_and_close_all)

/* ------------------------------------------------------------------------------------------------- all of them -- */

static void test_B_C_everyone_ends_all_sessions_of_all_users_everywhere(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *other = handle_open(server, "");
    static char tokens[USERS][LATCHKEY_TOKEN_SIZE];
    char old[LATCHKEY_TOKEN_SIZE], rotated[LATCHKEY_TOKEN_SIZE], next[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 7, old);
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, old, LENGTH, 600000, rotated));
    for (uint64_t i = 0; i < USERS; i++) {
        make_session(lk, i, tokens[i]);
        warm(lk, tokens[i]);
        warm(other, tokens[i]);
    }
    warm(other, old);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    for (int i = 0; i < USERS; i++) assert_dead(lk, tokens[i]);
    assert_dead(lk, old);
    assert_dead(lk, rotated);
    for (int i = 0; i < USERS; i++) wait_for(try_validate(other, tokens[i]) != LATCHKEY_OK);
    assert_dead(other, tokens[0]);
    wait_for(validate(other, old) == LATCHKEY_NOT_FOUND);
    /* In every other way of asking, too; and nothing of it is a theft. */
    assert_status(lk, LATCHKEY_NOT_FOUND, load(lk, tokens[0]));
    assert_status(lk, LATCHKEY_NOT_FOUND, load(lk, old));
    assert_status(lk, LATCHKEY_NOT_FOUND, touch(lk, tokens[0]));
    assert_status(lk, LATCHKEY_NOT_FOUND, touch(lk, old));
    assert_status(lk, LATCHKEY_NOT_FOUND, set_field(lk, tokens[0], "note", "x"));
    assert_status(lk, LATCHKEY_NOT_FOUND, set_field(lk, tokens[0], "pq.k", "x"));
    assert_status(lk, LATCHKEY_NOT_FOUND, latchkey_rotate(lk, rotated, LENGTH, 0, next));
    assert_status(lk, LATCHKEY_NOT_FOUND, latchkey_rotate(lk, tokens[1], LENGTH, 1000, next));
    latchkey_session_info info;
    latchkey_record *record;
    assert_status(lk, LATCHKEY_NOT_FOUND, latchkey_show(lk, tokens[0], &info, &record));
    assert_int_equal(stats_of(lk).reuses, 0);
    size_t loaded = 99;
    assert_status(lk, LATCHKEY_OK, latchkey_prewarm(lk, 1000, &loaded));
    assert_int_equal(loaded, 0);
    /* One who does not know yet, and has to learn it from Redis. */
    latchkey *fresh = handle_open(server, "");
    assert_dead(fresh, tokens[2]);
    assert_status(fresh, LATCHKEY_NOT_FOUND, load(fresh, rotated));
    assert_true(redis_count_keys(server, "lk:*:s:*") >= USERS); /* they were not enumerated */
}

static void test_logins_limits_and_lists_start_anew(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "max_sessions=2&limit=deny"), *other = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], before[LATCHKEY_TOKEN_SIZE];
    size_t revoked, loaded;
    for (int round = 0; round < 20; round++) { /* in the epoch's own millisecond, often */
        make_session(lk, 7, before);
        make_session(lk, 7, token);
        assert_status(lk, LATCHKEY_LIMIT, create_with(lk, 7, 0, token));
        assert_int_equal(sessions_of(lk, 7), 2);
        assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
        assert_int_equal(sessions_of(lk, 7), 0);
        make_session(lk, 7, token);
        assert_status(lk, LATCHKEY_OK, validate(lk, token));
        assert_status(other, LATCHKEY_OK, validate(other, token));
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, before));
        assert_int_equal(sessions_of(other, 7), 1);
        assert_status(other, LATCHKEY_OK, touch(other, token));
        assert_status(other, LATCHKEY_OK, latchkey_rotate(other, token, LENGTH, 0, token));
        assert_status(lk, LATCHKEY_OK, validate(lk, token));
        assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, 7, NULL, 0, &revoked));
        assert_int_equal(revoked, 1);
        assert_dead(lk, token);
        assert_int_equal(sessions_of(lk, 7), 0);
    }
    /* A kept session is found in the new index, one of before keeps nothing. */
    make_session(lk, 8, before);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    make_session(lk, 8, token);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, 8, token, LENGTH, &revoked));
    assert_int_equal(revoked, 0);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, 8, before, LENGTH, &revoked));
    assert_int_equal(revoked, 1);
    /* Prewarming finds the later sessions, and no others. */
    make_session(lk, 9, before);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    make_session(lk, 9, token);
    latchkey *fresh = handle_open(server, "");
    assert_status(fresh, LATCHKEY_OK, latchkey_prewarm(fresh, 1000, &loaded));
    assert_int_equal(loaded, 1);
    assert_status(fresh, LATCHKEY_OK, try_validate(fresh, token));
}

static void test_a_sample_counts_who_came_after(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ONE);
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_population seen;
    for (uint64_t i = 0; i < 6; i++) make_session(lk, i, token);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    assert_status(lk, LATCHKEY_OK, latchkey_sample(lk, 1000, &seen, sizeof seen));
    assert_int_equal(seen.sessions, 0);
    assert_int_equal(seen.unindexed, 0);
    for (uint64_t i = 0; i < 6; i++) make_session(lk, i % 2, token);
    assert_status(lk, LATCHKEY_OK, latchkey_sample(lk, 1000, &seen, sizeof seen));
    assert_int_equal(seen.sessions, 6);
    assert_int_equal(seen.users, 2);
}

static void test_the_evicting_limits_count_anew(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "max_sessions=2&max_per_device=1");
    char before[LATCHKEY_TOKEN_SIZE], token[3][LATCHKEY_TOKEN_SIZE];
    make_session(lk, 7, before);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    for (uint32_t i = 0; i < 3; i++) {
        latchkey_draft draft = {.size = sizeof draft, .user_id = 7, .device = i + 1, .idle_ms = 1000000 + 1000 * i};
        assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, token[i]));
        assert_int_equal(sessions_of(lk, 7), i < 2 ? i + 1 : 2);
    }
    wait_for(validate(lk, token[0]) == LATCHKEY_NOT_FOUND);
    assert_status(lk, LATCHKEY_OK, validate(lk, token[1]));
    latchkey_draft same = {.size = sizeof same, .user_id = 7, .device = 2};
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &same, token[0]));
    wait_for(validate(lk, token[1]) == LATCHKEY_NOT_FOUND);
    assert_status(lk, LATCHKEY_OK, validate(lk, token[2]));
    assert_status(lk, LATCHKEY_OK, validate(lk, token[0]));
}

static void test_login_that_began_before_is_REFUSED(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *other = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    uint64_t first, before, after, user = 42;
    assert_status(lk, LATCHKEY_OK, latchkey_user_generation(lk, user, &first));
    assert_int_equal(first, 1); /* Redis' number and one, if the button was never pressed */
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, user, NULL, 0, NULL));
    assert_status(lk, LATCHKEY_OK, latchkey_user_generation(lk, user, &before));
    assert_int_equal(before, 2);
    for (int i = 0; i < 3; i++) {
        assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(other));
        assert_status(lk, LATCHKEY_REFUSED, create_with(lk, user, first, token));
        assert_status(lk, LATCHKEY_REFUSED, create_with(lk, user, before, token));
        assert_status(other, LATCHKEY_OK, latchkey_user_generation(other, user, &after));
        assert_true(after > before);
        assert_status(lk, LATCHKEY_OK, create_with(lk, user, after, token));
        assert_status(lk, LATCHKEY_OK, validate(lk, token));
        /* A user's own moves as before. */
        assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, user, NULL, 0, NULL));
        assert_status(lk, LATCHKEY_REFUSED, create_with(lk, user, after, token));
        assert_status(lk, LATCHKEY_OK, latchkey_user_generation(lk, user, &before));
        assert_true(before > after);
        assert_status(lk, LATCHKEY_OK, create_with(lk, user, before, token));
    }
    assert_status(lk, LATCHKEY_OK, create_with(lk, user, 0, token));                /* not checked */
    assert_status(lk, LATCHKEY_OK, latchkey_user_generation(lk, user + 1, &after)); /* every user's moved */
    assert_int_not_equal(after, 1);
    assert_status(lk, LATCHKEY_REFUSED, create_with(lk, user + 1, 1, token));
    assert_status(lk, LATCHKEY_OK, create_with(lk, user + 1, after, token));
    /* Six digits of the user's own count. */
    redis_do(server, "SET lk:{%d}:g:42 999998", (int)token_partition(token));
    assert_status(lk, LATCHKEY_OK, create_with(lk, user, 0, token));
    redis_do(server, "SET lk:{%d}:g:42 999998", (int)token_partition(token));
    for (int i = 0; i < 3; i++) {
        assert_status(lk, LATCHKEY_OK, latchkey_user_generation(lk, user, &before));
        assert_status(lk, LATCHKEY_OK, create_with(lk, user, before, token));
        redis_do(server, "INCR lk:{%d}:g:42", (int)token_partition(token));
        assert_status(lk, LATCHKEY_REFUSED, create_with(lk, user, before, token));
    }
}

/* Sessions of another store: those that are here end, and those that were made before do not move in. */
static void test_foreign_sessions_end_too(void **state)
{
    (void)state;
    static const char moved[] = "s:a-token-of-another-store", late[] = "s:another-token-of-that-store";
    char options[64];
    snprintf(options, sizeof options, "foreign_until_ms=%lld", (long long)(time(NULL) + 3600) * 1000);
    latchkey *lk = handle_open(server, options);
    latchkey_draft draft = {.size = sizeof draft, .user_id = 5};
    latchkey_entry entry;
    int64_t before_ms = (int64_t)(time(NULL) - 60) * 1000;
    assert_status(lk, LATCHKEY_OK, latchkey_import(lk, moved, sizeof moved - 1, &draft, before_ms, 0));
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, moved, sizeof moved - 1, &entry));
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    assert_status(lk, LATCHKEY_NOT_FOUND, latchkey_validate(lk, moved, sizeof moved - 1, &entry));
    assert_status(lk, LATCHKEY_REFUSED, latchkey_import(lk, moved, sizeof moved - 1, &draft, before_ms, 0));
    char why[256];
    assert_status(lk, LATCHKEY_REFUSED, latchkey_import(lk, late, sizeof late - 1, &draft, before_ms, 0));
    assert_status(lk, LATCHKEY_OK, latchkey_error_text(lk, why, sizeof why));
    assert_contains(why, "before all sessions were ended");
    assert_status(lk, LATCHKEY_NOT_FOUND, latchkey_validate(lk, late, sizeof late - 1, &entry));
    int64_t now_ms = check_now_ms();
    wait_for(check_now_ms() > now_ms + 100); /* made after it: so says the other store */
    assert_status(lk, LATCHKEY_OK, latchkey_import(lk, late, sizeof late - 1, &draft, 0, 0));
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, late, sizeof late - 1, &entry));
    assert_int_equal(sessions_of(lk, 5), 1);
}

/* An answer that lies there, and is not reaped until it is over. */
static void test_B_unread_answer_is_not_given_after_it(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_capacity=0"), *other = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(other, 1, token);
    struct pollfd ready = {.fd = latchkey_fd(lk), .events = POLLIN};
    assert_true(ready.fd >= 0);
    for (int i = 0; i < 2; i++) {
        make_session(other, 1, token);
        assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, token, LENGTH, 5));
        assert_int_equal(poll(&ready, 1, CHECK_PATIENCE_MS), 1);
        assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(i ? other : lk));
        if (i) assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk)); /* so that it is known here */
        latchkey_answer answer = {0};
        while (!latchkey_reap(lk, &answer, 1)) poll(&ready, 1, CHECK_PATIENCE_MS);
        assert_status(lk, LATCHKEY_NOT_FOUND, answer.status);
        assert_int_equal(answer.entry.user_id, 0);
    }
}

/* --------------------------------------------------------------------------------------------------- racing -- */

/* Threads log in, validate, exchange, and end single users, while another presses the button. What must hold:
 *   a session whose login had ended before a press began is not admitted by a validate that starts after the press was OK:
 *   at once on the handle that pressed, and a bound later on every other;
 *   a session whose login began after a press was OK, with no other since, is not refused. */
enum { HANDLES = 3, WORKERS = 6, PRESSES = 60, KEPT = 16 };
#define BOUND_MS 400
#define BOUND_NS ((BOUND_MS + 10) * INT64_C(1000000))

typedef struct press {
    _Atomic int64_t began_ns, ok_ns;
} press;

typedef struct race {
    latchkey *handles[HANDLES];
    press presses[PRESSES];
    _Atomic int begun, over; /* presses */
    _Atomic int late, early, odd, admitted, refused;
} race;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* When the last press began that a call starting now on that handle must know. */
static int64_t must_know(race *r, size_t handle, int64_t start_ns)
{
    int64_t began_ns = 0;
    for (int i = 0, over = atomic_load(&r->over); i < over; i++) {
        int64_t ok_ns = atomic_load(&r->presses[i].ok_ns);
        if (ok_ns && ok_ns + (handle ? BOUND_NS : 0) < start_ns) began_ns = atomic_load(&r->presses[i].began_ns);
    }
    return began_ns;
}

typedef struct login {
    char token[LATCHKEY_TOKEN_SIZE];
    int64_t ended_ns;
    int presses; /* begun and over when it began; -1: one was under way */
} login;

static void log_in(race *r, latchkey *lk, uint64_t user, login *l)
{
    int over = atomic_load(&r->over), begun = atomic_load(&r->begun);
    l->presses = begun == over ? begun : -1;
    l->token[0] = 0;
    int status = create_with(lk, user, 0, l->token);
    if (status && status != LATCHKEY_UNAVAILABLE) atomic_fetch_add(&r->odd, 1);
    l->ended_ns = now_ns();
}

static void look(race *r, size_t handle, login *l, int how)
{
    char renewed[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = r->handles[handle];
    int64_t start_ns = now_ns(), known_ns = must_know(r, handle, start_ns);
    int status = how == 0   ? load(lk, l->token)
                 : how == 1 ? touch(lk, l->token)
                 : how == 2 ? latchkey_rotate(lk, l->token, LENGTH, 0, renewed)
                            : validate(lk, l->token);
    if (status == LATCHKEY_OK && l->ended_ns < known_ns) atomic_fetch_add(&r->late, 1);
    if (status == LATCHKEY_NOT_FOUND && l->presses == atomic_load(&r->begun)) atomic_fetch_add(&r->early, 1);
    if (status == LATCHKEY_OK) atomic_fetch_add(&r->admitted, 1);
    else if (status == LATCHKEY_NOT_FOUND) atomic_fetch_add(&r->refused, 1);
    else if (status != LATCHKEY_UNAVAILABLE) atomic_fetch_add(&r->odd, 1);
    if (how == 2 && status == LATCHKEY_OK) memcpy(l->token, renewed, sizeof renewed);
    /* Perhaps exchanged, without an answer. */
    if (how == 2 && status == LATCHKEY_UNAVAILABLE) l->token[0] = 0;
}

static void work(crew_member *m)
{
    race *r = m->shared;
    static _Thread_local login logins[KEPT];
    uint64_t user = 100 + m->index;
    memset(logins, 0, sizeof logins);
    for (unsigned i = 0; !crew_stopped(m); i++) {
        login *l = &logins[i * 7 % KEPT];
        size_t handle = (m->index + i) % HANDLES;
        if (!l->token[0] || i % 29 == 0) log_in(r, r->handles[handle], user, l);
        if (i % 1000 == 999) { /* his own */
            if (latchkey_revoke_user(r->handles[handle], user, NULL, 0, NULL) == LATCHKEY_OK)
                memset(logins, 0, sizeof logins);
            else
                for (int k = 0; k < KEPT; k++) logins[k].presses = -1;
        } else if (l->token[0]) look(r, handle, l, (int)(i % 17));
    }
}

static void test_B_C_D_logins_and_uses_race_with_the_button(void **state)
{
    (void)state;
    static race r;
    char options[64];
    memset(&r, 0, sizeof r);
    snprintf(options, sizeof options, "staleness_ms=%d&partitions=4&prefix=p4", BOUND_MS);
    for (int i = 0; i < HANDLES; i++) r.handles[i] = handle_open(server, options);
    crew *workers = crew_start(WORKERS, work, &r);
    int confirmed = 0;
    for (int i = 0; i < PRESSES; i++) {
        int admitted = atomic_load(&r.admitted);
        wait_for(atomic_load(&r.admitted) > admitted + 200);
        if (i % 5 == 4) check_pause();
        atomic_fetch_add(&r.begun, 1);
        atomic_store(&r.presses[i].began_ns, now_ns());
        int status = latchkey_revoke_everyone(r.handles[0]);
        if (status == LATCHKEY_OK) atomic_store(&r.presses[i].ok_ns, now_ns());
        confirmed += status == LATCHKEY_OK;
        if (status && status != LATCHKEY_UNAVAILABLE) atomic_fetch_add(&r.odd, 1);
        atomic_fetch_add(&r.over, 1);
    }
    int64_t last_ns = now_ns();
    wait_for(now_ns() > last_ns + BOUND_NS);
    crew_stop(workers);
    crew_join(workers);
    assert_int_equal(atomic_load(&r.late), 0);
    assert_int_equal(atomic_load(&r.early), 0);
    assert_int_equal(atomic_load(&r.odd), 0);
    assert_true(confirmed > PRESSES / 2 && atomic_load(&r.refused) > PRESSES);
}

static void test_C_storm_in_two_processes(void **state)
{
    (void)state;
    enum { SESSIONS = 48 };
    char config[512], tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
    handle_config(server, 0, "staleness_ms=500&deadline_ms=10000", config, sizeof config);
    peer *peers[2] = {peer_start(config), peer_start(config)};
    latchkey *lk = handle_open(server, "");
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < SESSIONS; i++) {
            make_session(lk, i, tokens[i]);
            for (int k = 0; k < 2; k++) peer_number(peers[k], "watch %s", tokens[i]);
        }
        for (int k = 0; k < 2; k++) peer_number(peers[k], "storm 2");
        for (int k = 0; k < 2; k++)
            for (int i = 0; i < SESSIONS; i++) wait_for(peer_number(peers[k], "lastok %d", round * SESSIONS + i) > 0);
        /* Pressed here, and there. */
        if (round == 1) wait_for(peer_number(peers[0], "everyone") == LATCHKEY_OK);
        else assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
        int64_t ok_ns = now_ns();
        wait_for(now_ns() > ok_ns + INT64_C(700000000));
        for (int k = 0; k < 2; k++) {
            peer_number(peers[k], "lull");
            for (int i = 0; i < SESSIONS; i++)
                assert_true(peer_number(peers[k], "lastok %d", round * SESSIONS + i) <= ok_ns + INT64_C(510000000));
            assert_int_equal(peer_number(peers[k], "odd"), 0);
        }
    }
    for (int k = 0; k < 2; k++) peer_end(peers[k]);
}

/* --------------------------------------------------------------------------------------------------- faults -- */

/* Lost messages: the next beat reads the epoch itself, whatever became of the log. */
static void test_C_lost_message(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        server_clean(state);
        proxy *wire = proxy_start(server->port);
        latchkey *lk = handle_open(server, ONE "&staleness_ms=2000"),
                 *deaf = handle_open_at(proxy_port(wire), ONE "&staleness_ms=10000&l1_ttl_ms=600000");
        char token[LATCHKEY_TOKEN_SIZE];
        make_session(lk, 1, token);
        warm(deaf, token);
        proxy_set(wire, PROXY_DROP_ONE, "p1:{0}:rev", 10);
        assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
        if (i) redis_do(server, "DEL p1:{0}:r");
        wait_for(proxy_holds_one(wire));
        wait_for(try_validate(deaf, token) != LATCHKEY_OK);
        assert_dead(deaf, token);
        make_session(lk, 1, token);
        assert_status(deaf, LATCHKEY_OK, validate(deaf, token));
        handle_close_all(NULL);
        proxy_end(wire);
    }
}

/* It cannot be promised by a handle that does not hear; nor where nothing is answered. And C for the one that is cut off. */
static void test_C_without_messages_or_without_redis_it_is_UNAVAILABLE(void **state)
{
    (void)state;
    proxy *wire = proxy_start(server->port);
    latchkey *lk = handle_open(server, "");
    latchkey *deaf = handle_open_at(proxy_port(wire), "l1_ttl_ms=600000&deadline_ms=400&staleness_ms=1000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    warm(deaf, token);
    proxy_set(wire, PROXY_HOLD_MESSAGES, NULL, 0);
    int64_t began_ms = check_now_ms();
    assert_status(deaf, LATCHKEY_UNAVAILABLE, latchkey_revoke_everyone(deaf));
    assert_true(check_now_ms() >= began_ms + 400);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    int64_t ok_ms = check_now_ms(), start_ms;
    do {
        start_ms = check_now_ms();
        int status = try_validate(deaf, token);
        if (start_ms > ok_ms + 1010) assert_status_in(deaf, status, LATCHKEY_AGAIN, LATCHKEY_NOT_FOUND);
    } while (start_ms < ok_ms + 1300);
    proxy_set(wire, PROXY_BLACKHOLE, NULL, 0);
    assert_status(deaf, LATCHKEY_UNAVAILABLE, latchkey_revoke_everyone(deaf));
    assert_status(deaf, LATCHKEY_UNAVAILABLE, validate(deaf, token));
    proxy_set(wire, PROXY_RELAY, NULL, 0);
    wait_for(latchkey_revoke_everyone(deaf) == LATCHKEY_OK);
    assert_dead(deaf, token);
    proxy_set(wire, PROXY_CUT, NULL, 0);
    assert_status(deaf, LATCHKEY_UNAVAILABLE, latchkey_revoke_everyone(deaf));
    handle_close_all(NULL);
    proxy_end(wire);
}

typedef struct waiter {
    latchkey *lk;
    char token[LATCHKEY_TOKEN_SIZE];
    int how, status;
} waiter;

static void wait_for_an_answer(crew_member *m)
{
    waiter *w = m->shared;
    w->status = w->how ? load(w->lk, w->token) : validate(w->lk, w->token);
}

/* Cut off from messages for longer than the bound: what Redis answers is read before the epoch is known, and given, if at all,
 * under a lease that knows it. Forced: the answer is there before the lease may come. */
static void test_C_answer_that_waits_for_a_lease_is_looked_at_again(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        proxy *wire = proxy_start(server->port);
        waiter w = {.lk = handle_open_at(proxy_port(wire), "staleness_ms=500"), .how = how};
        latchkey *lk = handle_open(server, "");
        make_session(lk, 1, w.token);
        proxy_set(wire, PROXY_HOLD_MESSAGES, NULL, 0);
        wait_for(stats_of(w.lk).lease_age_ms < 0 || stats_of(w.lk).lease_age_ms > 600);
        assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
        int64_t ok_ms = check_now_ms();
        wait_for(check_now_ms() > ok_ms + 510);
        uint64_t fills = stats_of(w.lk).fills;
        long long reads = redis_calls(server, "hgetall");
        crew *reader = crew_start(1, wait_for_an_answer, &w);
        if (how) wait_for(redis_calls(server, "hgetall") > reads && crew_asleep(reader));
        else wait_for(stats_of(w.lk).fills > fills); /* judged */
        proxy_set(wire, PROXY_RELAY, NULL, 0);
        crew_join(reader);
        assert_status_in(w.lk, w.status, LATCHKEY_NOT_FOUND, LATCHKEY_UNAVAILABLE);
        assert_dead(w.lk, w.token);
        handle_close_all(NULL);
        proxy_end(wire);
    }
}

static void test_C_killed_connections_lose_nothing(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *other = handle_open(server, "l1_ttl_ms=600000");
    char token[LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 10; i++) {
        make_session(lk, 1, token);
        warm(other, token);
        redis_do(server, "CLIENT KILL TYPE pubsub");
        wait_for(latchkey_revoke_everyone(lk) == LATCHKEY_OK);
        wait_for(try_validate(other, token) != LATCHKEY_OK);
        stays_dead(other, token);
    }
}

/* A server that forgot is told by who knows: who pressed, and who heard of it alone. The first who comes does it, and the
 * others leave it at that. */
static void test_C_server_that_comes_back_without_it_is_told(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "staleness_ms=2000"), *heard = handle_open(on, "staleness_ms=2000");
    char tokens[USERS][LATCHKEY_TOKEN_SIZE], after[LATCHKEY_TOKEN_SIZE];
    for (uint64_t i = 0; i < USERS; i++) make_session(lk, i, tokens[i]);
    warm(heard, tokens[0]);
    redis_do(on, "SAVE");
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    wait_for(try_validate(heard, tokens[0]) != LATCHKEY_OK);
    for (int i = 0; i < 2; i++) {
        latchkey *alone = i ? heard : lk;
        redis_kill(on);
        redis_boot(on);
        for (int k = 0; k < USERS; k++) stays_dead(alone, tokens[k]);
        assert_int_equal(redis_count_keys(on, "lk:{*}:e"), 64); /* each partition's */
        latchkey *fresh = handle_open(on, "");
        for (int k = 0; k < USERS; k++) assert_dead(fresh, tokens[k]);
        make_session(fresh, 1, after);
        assert_status(fresh, LATCHKEY_OK, validate(fresh, after));
        wait_for(validate(alone, after) == LATCHKEY_OK);
        assert_int_equal(sessions_of(fresh, 1), 1);
        handle_close(fresh);
        if (!i) handle_close(lk);
    }
    handle_close_all(NULL);
    redis_end(on);
}

static void test_C_promoted_replica_that_lacks_it_is_told(void **state)
{
    (void)state;
    char port[16], key[128], token[LATCHKEY_TOKEN_SIZE];
    redis *primary = redis_start(NULL);
    snprintf(port, sizeof port, "%d", primary->port);
    redis *replica = redis_start("--replicaof", "127.0.0.1", port);
    proxy *wire = proxy_start(primary->port);
    latchkey *lk = handle_open_at(proxy_port(wire), "staleness_ms=2000&deadline_ms=5000");
    make_session(lk, 1, token);
    wait_for(*session_key(replica, token, key));
    redis_do(replica, "REPLICAOF NO ONE"); /* from here on nothing reaches it */
    wait_for(latchkey_revoke_everyone(lk) == LATCHKEY_OK);
    assert_int_equal(redis_count_keys(replica, "lk:{*}:e"), 0);
    proxy_aim(wire, replica->port);
    redis_kill(primary);
    stays_dead(lk, token);
    assert_int_equal(redis_count_keys(replica, "lk:{*}:e"), 64);
    latchkey *fresh = handle_open(replica, "");
    assert_dead(fresh, token);
    handle_close_all(NULL);
    proxy_end(wire);
    redis_end(replica);
    redis_end(primary);
}

/* It lost the cut-off and nothing else: the same incarnation, and a session that a person brings back. */
static void test_C_epoch_that_is_deleted_or_set_back_is_made_once_more(void **state)
{
    (void)state;
    static const char *const ways[] = {"DEL p1:{0}:e", "SET p1:{0}:e 5", "RENAME p1:{0}:m p1:{0}:e", "FLUSHALL"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        server_clean(state);
        latchkey *lk = handle_open(server, ONE "&staleness_ms=1000");
        char token[LATCHKEY_TOKEN_SIZE], after[LATCHKEY_TOKEN_SIZE];
        make_session(lk, 1, token);
        assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
        long long epoch = redis_integer(server, "GET p1:{0}:e");
        make_session(lk, 1, after);
        redis_do(server, ways[i]);
        uint64_t beats = stats_of(lk).beats;
        redis_do(server, "HSET p1:{0}:m partitions 1");
        wait_for(stats_of(lk).beats > beats + 2);
        assert_true(redis_integer(server, "GET p1:{0}:e") >= epoch);
        latchkey *fresh = handle_open(server, ONE);
        assert_dead(fresh, token);
        assert_dead(lk, token);
        /* What was made meanwhile would be in no index: so it ended, too, and the user starts anew. */
        assert_dead(lk, after);
        make_session(lk, 1, after);
        assert_status(fresh, LATCHKEY_OK, validate(fresh, after));
        assert_int_equal(sessions_of(fresh, 1), 1);
        handle_close_all(NULL);
    }
}

static void test_works_at_maxmemory(void **state)
{
    (void)state;
    redis *on = redis_start("--maxmemory-policy", "noeviction");
    latchkey *lk = handle_open(on, "");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    for (int i = 0; i < 2; i++) { /* with nothing there yet, and with all of it */
        redis_do(on, "CONFIG SET maxmemory 1mb");
        assert_status(lk, LATCHKEY_UNAVAILABLE, create_with(lk, 1, 0, token)); /* it is full, then */
        if (!i) redis_do(on, "SCRIPT FLUSH");
        redis_do(on, "CONFIG SET maxmemory 0");
        make_session(lk, 1, token);
        redis_do(on, "CONFIG SET maxmemory 1mb");
        assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
        assert_dead(lk, token);
    }
    redis_do(on, "CONFIG SET maxmemory 0");
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    handle_close_all(NULL);
    redis_end(on);
}

/* It is not known which sessions it spares: no answer for those of that partition; the others are not affected. */
static void test_A_what_is_no_epoch_is_CORRUPT_until_it_is_replaced(void **state)
{
    (void)state;
    static const char *const strange[] = {"SET p2:{%d}:e junk", "SET p2:{%d}:e -1", "SET p2:{%d}:e 12345678901234",
                                          "RPUSH p2:{%d}:e junk", "SET p2:{%d}:e ''"};
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        server_clean(state);
        logbook_open();
        latchkey *lk = handle_open(server, "partitions=2&prefix=p2&staleness_ms=2000");
        char token[LATCHKEY_TOKEN_SIZE], elsewhere[LATCHKEY_TOKEN_SIZE], next[LATCHKEY_TOKEN_SIZE];
        uint64_t user = 1, generation, user_elsewhere;
        bool list = strncmp(strange[i], "RPUSH", 5) == 0;
        make_session(lk, user, token);
        user_elsewhere = user;
        do make_session(lk, ++user_elsewhere, elsewhere);
        while (token_partition(elsewhere) == token_partition(token));
        warm(lk, token);
        redis_do(server, strange[i], (int)token_partition(token));
        latchkey *fresh = handle_open(server, "partitions=2&prefix=p2&staleness_ms=2000");
        assert_status(fresh, LATCHKEY_CORRUPT, validate(fresh, token));
        assert_status(fresh, LATCHKEY_CORRUPT, load(fresh, token));
        assert_status(fresh, LATCHKEY_CORRUPT, touch(fresh, token));
        assert_status(fresh, LATCHKEY_CORRUPT, create_with(fresh, user, 0, next));
        assert_status(fresh, LATCHKEY_CORRUPT, latchkey_rotate(fresh, token, LENGTH, 0, next));
        assert_status(fresh, LATCHKEY_CORRUPT, latchkey_user_generation(fresh, user, &generation));
        assert_status(fresh, LATCHKEY_CORRUPT, latchkey_revoke_user(fresh, user, NULL, 0, NULL));
        size_t total;
        assert_status(fresh, LATCHKEY_CORRUPT, latchkey_sessions(fresh, user, NULL, 0, NULL, 0, &total));
        if (!list) { /* an instance that knew of none cannot tell a list from that */
            wait_for(try_validate(lk, token) != LATCHKEY_OK);
            wait_for(validate(lk, token) == LATCHKEY_CORRUPT);
            assert_status(lk, LATCHKEY_OK, validate(lk, elsewhere));
        } else { /* the other partition's is not there, and it cannot be told which of them it is */
            redis_do(server, "SET p2:{%d}:e 5", (int)token_partition(elsewhere));
            wait_for(validate(fresh, elsewhere) == LATCHKEY_OK);
            assert_status(fresh, LATCHKEY_CORRUPT, validate(fresh, token));
        }
        wait_for(logbook_has("records: "));
        assert_status(fresh, LATCHKEY_OK, end_session(fresh, token)); /* ending goes on */
        assert_status(fresh, LATCHKEY_OK, latchkey_revoke_everyone(fresh));
        make_session(fresh, user, next);
        assert_status(fresh, LATCHKEY_OK, validate(fresh, next));
        wait_for(validate(lk, next) == LATCHKEY_OK);
        assert_dead(fresh, elsewhere);
        no_log_and_close_all(NULL);
    }
}

/* Where a clock was set back, or another server's was ahead: later than any session that was seen. */
static void test_sessions_that_were_made_by_a_clock_ahead_end_too(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ONE "&staleness_ms=500");
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    latchkey_entry entry;
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LENGTH, &entry));
    /* An epoch an hour ahead, as of a server with such a clock: logins are made behind it, and end like all others. */
    redis_do(server, "SET p1:{0}:e %lld", (long long)entry.created_at_ms + 3600000);
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
    for (int i = 0; i < 3; i++) {
        make_session(lk, 1, token);
        assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LENGTH, &entry));
        assert_int_equal(entry.created_at_ms, redis_integer(server, "GET p1:{0}:e") + 1);
        assert_status(lk, LATCHKEY_OK, load(lk, token));
        /* Used later, by the clock as it is: its place among the active ones stays where it was. */
        redis_do(server, "PEXPIRE %s 50000", session_key(server, token, key));
        assert_status(lk, LATCHKEY_OK, touch(lk, token));
        assert_int_equal(redis_integer(server, "ZSCORE p1:{0}:a %b", token, (size_t)LATCHKEY_SELECTOR_LENGTH),
                         entry.created_at_ms);
        assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
        assert_dead(lk, token);
    }
    /* Also where it is known from its use alone. */
    redis_do(server, "DEL p1:{0}:e");
    wait_for(redis_integer(server, "GET p1:{0}:e") > 0);
    long long ahead = redis_integer(server, "GET p1:{0}:e") + 7200000;
    redis_do(server, "ZADD p1:{0}:a %lld AAAAAAAAAAAAAAAAAAAA", ahead);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    assert_int_equal(redis_integer(server, "GET p1:{0}:e"), ahead);
    /* What lies in the place of the index counts for nothing. */
    redis_do(server, "SET p1:{0}:a junk");
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    assert_int_equal(redis_integer(server, "GET p1:{0}:e"), ahead + 1);
    redis_do(server, "ZADD p1:{0}:a inf AAAAAAAAAAAAAAAAAAAA");
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    assert_int_equal(redis_integer(server, "GET p1:{0}:e"), ahead + 2);
    /* Beyond the last epoch that there can be: it says so, and changes nothing. */
    redis_do(server, "SET p1:{0}:e 9999999999999");
    assert_status(lk, LATCHKEY_CORRUPT, latchkey_revoke_everyone(lk));
    assert_int_equal(redis_integer(server, "GET p1:{0}:e"), 9999999999999);
}

static void test_durability(void **state)
{
    (void)state;
    redis *primary = redis_start("--repl-diskless-sync-delay", "0"),
          *replica = redis_start("--repl-diskless-sync-delay", "0");
    redis_do(replica, "REPLICAOF 127.0.0.1 %d", primary->port);
    wait_for(redis_integer(primary, "WAIT 1 100") == 1);
    latchkey *lk = handle_open(primary, "durability=1&deadline_ms=500&staleness_ms=2000");
    char token[LATCHKEY_TOKEN_SIZE];
    wait_for(create_with(lk, 1, 0, token) == LATCHKEY_OK);
    redis_freeze(replica);
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_revoke_everyone(lk));
    redis_thaw(replica);
    wait_for(latchkey_revoke_everyone(lk) == LATCHKEY_OK);
    assert_int_equal(redis_count_keys(replica, "lk:{*}:e"), 64); /* OK: it holds it */
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
    handle_close_all(NULL);
    redis_end(replica);
    redis_end(primary);
}

/* As many partitions as there can be: several goes, and L1 is not emptied thousands of times. */
static void test_every_partition_of_many(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=4096&prefix=p4096"),
             *other = handle_open(server, "partitions=4096&prefix=p4096");
    static char tokens[300][LATCHKEY_TOKEN_SIZE];
    for (uint64_t i = 0; i < 300; i++) make_session(other, i, tokens[i]);
    uint64_t empties = stats_of(other).empties;
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    assert_int_equal(redis_count_keys(server, "p4096:{*}:e"), 4096);
    for (int i = 0; i < 300; i++) assert_dead(lk, tokens[i]);
    for (int i = 0; i < 300; i++) wait_for(validate(other, tokens[i]) == LATCHKEY_NOT_FOUND);
    assert_true(stats_of(other).empties > empties && stats_of(other).empties < empties + 2048);
}

static void test_said_in_the_log_and_bad_arguments(void **state)
{
    (void)state;
    logbook_open();
    latchkey *lk = handle_open(server, "staleness_ms=2000");
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_revoke_everyone(NULL));
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    wait_for(logbook_has("l1: emptied: the sessions of all users were ended"));
    assert_false(logbook_has("Redis counts its revocations anew"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_B_C_everyone_ends_all_sessions_of_all_users_everywhere),
        TEST(test_logins_limits_and_lists_start_anew),
        TEST(test_a_sample_counts_who_came_after),
        TEST(test_the_evicting_limits_count_anew),
        TEST(test_login_that_began_before_is_REFUSED),
        TEST(test_foreign_sessions_end_too),
        TEST(test_B_unread_answer_is_not_given_after_it),
        TEST(test_B_C_D_logins_and_uses_race_with_the_button),
        TEST(test_C_storm_in_two_processes),
        TEST(test_C_lost_message),
        TEST(test_C_without_messages_or_without_redis_it_is_UNAVAILABLE),
        TEST(test_C_answer_that_waits_for_a_lease_is_looked_at_again),
        TEST(test_C_killed_connections_lose_nothing),
        TEST(test_C_server_that_comes_back_without_it_is_told),
        TEST(test_C_promoted_replica_that_lacks_it_is_told),
        TEST(test_C_epoch_that_is_deleted_or_set_back_is_made_once_more),
        TEST(test_works_at_maxmemory),
        LOGGED(test_A_what_is_no_epoch_is_CORRUPT_until_it_is_replaced),
        TEST(test_sessions_that_were_made_by_a_clock_ahead_end_too),
        TEST(test_durability),
        TEST(test_every_partition_of_many),
        LOGGED(test_said_in_the_log_and_bad_arguments),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

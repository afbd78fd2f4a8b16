/* SPDX-License-Identifier: MIT
 *
 * Servers that are there and cannot do what they should: a disk that is full, a data set that is still being loaded while
 * sessions are ended, a replica that comes and goes under load.
 */
#include "test_handle.h"
#include "threads.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

static int create_one(latchkey *lk, char token[LATCHKEY_TOKEN_SIZE])
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = 1};
    return latchkey_create(lk, &draft, token);
}

/* ------------------------------------------------------------------------------------------------ full disk -- */

/* No file of that process may grow beyond this: to it, that is a full disk. */
static void allow_bytes(const redis *on, rlim_t bytes)
{
    const struct rlimit limit = {bytes, RLIM_INFINITY};
    assert_int_equal(prlimit(on->pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

static redis *start_with_a_disk(void)
{
    void (*before)(int) =
        signal(SIGXFSZ, SIG_IGN); /* the server inherits it: a write that is too long is an error then */
    redis *on = redis_start("--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0");
    signal(SIGXFSZ, before);
    return on;
}

static void test_C_a_disk_that_is_full_and_has_room_again(void **state)
{
    (void)state;
    redis *on = start_with_a_disk();
    latchkey *lk = handle_open(on, "deadline_ms=2000"), *other = handle_open(on, "");
    char kept[LATCHKEY_TOKEN_SIZE], ended[LATCHKEY_TOKEN_SIZE], none[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, kept);
    make_session(lk, 2, ended);
    wait_for(validate(other, ended) == LATCHKEY_OK);
    allow_bytes(on, 1024);
    wait_for(create_one(lk, none) == LATCHKEY_UNAVAILABLE && strstr(stats_of(lk).last_error, "MISCONF"));
    assert_string_equal(none, "");
    assert_status(lk, LATCHKEY_UNAVAILABLE, set_field(lk, kept, "note", "x"));
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, ended));
    for (int i = 0; i < 20; i++) assert_int_not_equal(validate(lk, ended), LATCHKEY_OK); /* B */
    assert_status(lk, LATCHKEY_OK, validate(lk, kept));                                  /* reads and the lease go on */
    assert_status(lk, LATCHKEY_OK, load(lk, kept));
    allow_bytes(on, RLIM_INFINITY);
    wait_for(stats_of(lk).pending == 0);
    wait_for(validate(other, ended) == LATCHKEY_NOT_FOUND);
    wait_for(create_one(lk, none) == LATCHKEY_OK);
    assert_status(other, LATCHKEY_OK, validate(other, none));
    handle_close_all(NULL);
    redis_end(on);
}

/* -------------------------------------------------------------------------------------------------- loading -- */

/* What is ended while the data set is being loaded is in it, and comes back for a moment: to nobody. */
static void test_B_ended_while_the_server_is_loading(void **state)
{
    (void)state;
    redis *on = redis_start("--appendonly", "no", "--save", "", "--loading-process-events-interval-bytes", "1024",
                            "--rdbcompression", "no");
    latchkey *lk = handle_open(on, "deadline_ms=300&staleness_ms=1000");
    char kept[LATCHKEY_TOKEN_SIZE], ended[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, kept);
    make_session(lk, 2, ended);
    warm(lk, kept);
    warm(lk, ended);
    redis_do(on, "EVAL %s 0", "for i = 1, 1500 do redis.call('SET', 'filler:' .. i, string.rep('x', 1000)) end");
    redis_do(on, "SAVE");
    redis_kill(on);
    redis_add_argument(on, "--key-load-delay");
    redis_add_argument(on, "2000");
    redis_boot(on);
    assert_int_equal(redis_info(on, "persistence", "loading"), 1);
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, ended));
    for (int status = LATCHKEY_UNAVAILABLE; status != LATCHKEY_OK || redis_info(on, "persistence", "loading");) {
        int dead = validate(lk, ended);
        assert_int_not_equal(dead, LATCHKEY_OK);
        status = validate(lk, kept);
        assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_UNAVAILABLE);
        check_pause();
    }
    wait_for(stats_of(lk).pending == 0);
    latchkey *other = handle_open(on, "");
    assert_status(other, LATCHKEY_NOT_FOUND, validate(other, ended));
    assert_status(other, LATCHKEY_OK, validate(other, kept));
    handle_close_all(NULL);
    redis_end(on);
}

/* ------------------------------------------------------------------------------------------------ a replica -- */

enum { WORKERS = 4, MOST = 400 };

typedef struct life {
    char token[LATCHKEY_TOKEN_SIZE];
    int ended; /* the status of its revocation; 1: it was not revoked */
} life;

typedef struct lives {
    latchkey *lk;
    life made[WORKERS][MOST];
    size_t count[WORKERS];
    atomic_int done, wrong;
} lives;

static void live(crew_member *m)
{
    lives *l = m->shared;
    while (!crew_stopped(m) && l->count[m->index] < MOST) {
        life *one = &l->made[m->index][l->count[m->index]];
        if (create_one(l->lk, one->token) == LATCHKEY_OK) {
            one->ended = 1;
            if (l->count[m->index] % 2) one->ended = end_session(l->lk, one->token);
            if (one->ended != 1 && validate(l->lk, one->token) == LATCHKEY_OK) atomic_fetch_add(&l->wrong, 1); /* B */
            l->count[m->index]++;
        }
        atomic_fetch_add(&l->done, 1);
    }
}

static void after_some(lives *l)
{
    int before = atomic_load(&l->done);
    int64_t limit = check_now_ms() + CHECK_PATIENCE_MS;
    while (atomic_load(&l->done) < before + 2 * WORKERS && check_now_ms() < limit) check_pause();
}

static void come_and_go(lives *l, redis *replica)
{
    for (int i = 0; i < 4; i++) {
        after_some(l);
        redis_freeze(replica);
        after_some(l);
        redis_thaw(replica);
        after_some(l);
        redis_kill(replica);
        after_some(l);
        redis_boot(replica);
    }
    after_some(l);
}

/* Whatever was OK the replica holds in the end, when it alone is left; what was ended it does not hold. */
static void test_C_a_replica_that_comes_and_goes(void **state)
{
    (void)state;
    char key[128], port[16];
    redis *primary = redis_start("--repl-diskless-sync-delay", "0", "--repl-timeout", "60");
    snprintf(port, sizeof port, "%d", primary->port);
    redis *replica = redis_start("--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", port);
    wait_for(redis_integer(primary, "WAIT 1 100") == 1);
    lives *l = calloc(1, sizeof *l);
    l->lk = handle_open(primary, "durability=1&deadline_ms=400&staleness_ms=800");
    crew *c = crew_start(WORKERS, live, l);
    come_and_go(l, replica);
    crew_stop(c);
    crew_join(c);
    assert_int_equal(atomic_load(&l->wrong), 0);
    wait_for(stats_of(l->lk).pending == 0);
    wait_for(redis_integer(primary, "WAIT 1 100") == 1);
    redis_kill(primary);
    redis_do(replica, "REPLICAOF NO ONE");
    size_t lost = 0, back = 0, all = 0;
    for (size_t w = 0; w < WORKERS; w++)
        for (size_t i = 0; i < l->count[w]; i++, all++) {
            const life *one = &l->made[w][i];
            bool there = *session_key(replica, one->token, key);
            lost += one->ended == 1 && !there;
            back += one->ended != 1 && there;
        }
    assert_true(all > 0);
    assert_int_equal(lost, 0);
    assert_int_equal(back, 0);
    handle_close_all(NULL);
    free(l);
    redis_end(primary);
    redis_end(replica);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_C_a_disk_that_is_full_and_has_room_again, handle_close_all),
        cmocka_unit_test_teardown(test_B_ended_while_the_server_is_loading, handle_close_all),
        cmocka_unit_test_teardown(test_C_a_replica_that_comes_and_goes, handle_close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

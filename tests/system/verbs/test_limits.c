/* SPDX-License-Identifier: MIT
 *
 * How many sessions a user may have, a user's generation, and prewarming.
 */
#include "test_handle.h"
#include "threads.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int create_for(latchkey *lk, uint64_t user, uint64_t generation, char token[LATCHKEY_TOKEN_SIZE])
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = user, .generation = generation};
    return latchkey_create(lk, &draft, token);
}

static void test_max_sessions_denies(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "max_sessions=2&limit=deny");
    char tokens[3][LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, tokens[0]);
    make_session(lk, 1, tokens[1]);
    memset(tokens[2], 'x', sizeof tokens[2]);
    assert_status(lk, LATCHKEY_LIMIT, create_for(lk, 1, 0, tokens[2]));
    assert_int_equal(tokens[2][0], 0);
    assert_status(lk, LATCHKEY_OK, create_for(lk, 2, 0, tokens[2])); /* another user */
    assert_status(lk, LATCHKEY_OK, validate(lk, tokens[0]));
    assert_status(lk, LATCHKEY_OK, validate(lk, tokens[1]));
    assert_status(lk, LATCHKEY_OK, end_session(lk, tokens[0]));
    assert_status(lk, LATCHKEY_OK, create_for(lk, 1, 0, tokens[0]));
}

static void test_max_sessions_evicts_the_one_nearest_its_end(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "max_sessions=3&limit=evict"), *other = handle_open(server, "");
    char tokens[4][LATCHKEY_TOKEN_SIZE];
    const int64_t idle[3] = {600000, 60000, 900000};
    for (int i = 0; i < 3; i++) {
        make_session_with(lk, 1, idle[i], 0, NULL, 0, tokens[i]);
        assert_status(other, LATCHKEY_OK, validate(other, tokens[i]));
        assert_status(lk, LATCHKEY_OK, validate(lk, tokens[i]));
    }
    make_session(lk, 1, tokens[3]);
    /* Both handles hold the evicted one in L1; it leaves them as a revoked one does. */
    wait_for(validate(lk, tokens[1]) == LATCHKEY_NOT_FOUND);
    wait_for(validate(other, tokens[1]) == LATCHKEY_NOT_FOUND);
    for (int i = 0; i < 4; i++)
        if (i != 1) assert_status(lk, LATCHKEY_OK, validate(lk, tokens[i]));
}

static void test_dead_sessions_do_not_count(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "max_sessions=2&limit=deny&idle_ms=600");
    char tokens[2][LATCHKEY_TOKEN_SIZE], more[LATCHKEY_TOKEN_SIZE], key[128];
    make_session_with(lk, 1, 600000, 0, NULL, 0, tokens[0]);
    make_session(lk, 1, tokens[1]);
    wait_for(create_for(lk, 1, 0, more) == LATCHKEY_OK);
    wait_for(redis_integer(server, "EXISTS %s", session_key(server, tokens[1], key)) != 1);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, tokens[1]));
    assert_status(lk, LATCHKEY_OK, validate(lk, tokens[0]));
}

typedef struct rush {
    latchkey *handles[4];
    atomic_int made, limited, other;
} rush;

static void log_in(crew_member *member)
{
    rush *r = member->shared;
    for (int i = 0; i < 10; i++) {
        char token[LATCHKEY_TOKEN_SIZE];
        int status = create_for(r->handles[member->index], 1, 0, token);
        atomic_fetch_add(status == LATCHKEY_OK ? &r->made : status == LATCHKEY_LIMIT ? &r->limited : &r->other, 1);
    }
}

static void test_logins_at_once_do_not_slip_past_the_limit(void **state)
{
    (void)state;
    rush r = {.made = 0};
    for (int i = 0; i < 4; i++) r.handles[i] = handle_open(server, "max_sessions=5&limit=deny");
    crew_run(4, log_in, &r);
    assert_int_equal(atomic_load(&r.other), 0);
    assert_int_equal(atomic_load(&r.made), 5);
    assert_int_equal(atomic_load(&r.limited), 35);
}

/* ------------------------------------------------------------------------------------ by class of device -- */

enum { PHONE = 1, BROWSER = 2 };

static int log_in_from(latchkey *lk, uint64_t user, uint32_t device, int64_t idle_ms, char token[LATCHKEY_TOKEN_SIZE])
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = user, .device = device, .idle_ms = idle_ms};
    return latchkey_create(lk, &draft, token);
}

static void test_max_per_device_denies(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "max_per_device=2&limit=deny");
    char tokens[5][LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 2; i++) assert_status(lk, LATCHKEY_OK, log_in_from(lk, 1, PHONE, 0, tokens[i]));
    assert_status(lk, LATCHKEY_LIMIT, log_in_from(lk, 1, PHONE, 0, tokens[2]));
    assert_int_equal(tokens[2][0], 0);
    for (int i = 2; i < 4; i++) assert_status(lk, LATCHKEY_OK, log_in_from(lk, 1, BROWSER, 0, tokens[i]));
    assert_status(lk, LATCHKEY_LIMIT, log_in_from(lk, 1, BROWSER, 0, tokens[4]));
    assert_status(lk, LATCHKEY_OK, log_in_from(lk, 1, PHONE + 256 * BROWSER, 0, tokens[4])); /* all of its bits count */
    assert_status(lk, LATCHKEY_OK, log_in_from(lk, 2, PHONE, 0, tokens[4]));
    for (int i = 0; i < 4; i++) assert_status(lk, LATCHKEY_OK, validate(lk, tokens[i]));
    assert_status(lk, LATCHKEY_OK, end_session(lk, tokens[0]));
    assert_status(lk, LATCHKEY_OK, log_in_from(lk, 1, PHONE, 0, tokens[0]));
    /* A session that was exchanged counts once. */
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, tokens[0], LATCHKEY_TOKEN_LENGTH, 60000, tokens[4]));
    assert_status(lk, LATCHKEY_OK, end_session(lk, tokens[1]));
    assert_status(lk, LATCHKEY_OK, log_in_from(lk, 1, PHONE, 0, tokens[1]));
    assert_status(lk, LATCHKEY_LIMIT, log_in_from(lk, 1, PHONE, 0, tokens[1]));
}

static void test_max_per_device_evicts_of_that_device(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "max_per_device=2&max_sessions=4"), *other = handle_open(server, "");
    char phones[3][LATCHKEY_TOKEN_SIZE], browsers[3][LATCHKEY_TOKEN_SIZE], third[LATCHKEY_TOKEN_SIZE];
    assert_status(lk, LATCHKEY_OK, log_in_from(lk, 1, BROWSER, 10000, browsers[0])); /* nearest its end of all */
    for (int i = 0; i < 2; i++)
        assert_status(lk, LATCHKEY_OK, log_in_from(lk, 1, PHONE, 100000 - i * 10000, phones[i]));
    for (int i = 0; i < 2; i++) warm(other, phones[i]);
    warm(other, browsers[0]);
    assert_status(lk, LATCHKEY_OK, log_in_from(lk, 1, PHONE, 0, phones[2]));
    wait_for(try_validate(other, phones[1]) == LATCHKEY_AGAIN); /* announced */
    assert_status(other, LATCHKEY_NOT_FOUND, validate(other, phones[1]));
    assert_status(other, LATCHKEY_OK, validate(other, phones[0]));
    assert_status(other, LATCHKEY_OK, validate(other, browsers[0]));
    /* Both limits at once: one browser goes for the one, and none besides for the other. */
    assert_status(lk, LATCHKEY_OK, log_in_from(lk, 1, BROWSER, 0, browsers[1]));
    assert_status(lk, LATCHKEY_OK, log_in_from(lk, 1, BROWSER, 0, browsers[2]));
    wait_for(validate(other, browsers[0]) == LATCHKEY_NOT_FOUND);
    assert_status(other, LATCHKEY_OK, validate(other, browsers[1]));
    assert_status(other, LATCHKEY_OK, load(other, phones[0]));
    /* A third class finds no room but for the limit of all: the one nearest its end goes. */
    assert_status(lk, LATCHKEY_OK, log_in_from(lk, 1, 3, 0, third));
    wait_for(validate(other, phones[0]) == LATCHKEY_NOT_FOUND);
    const char *const living[] = {phones[2], browsers[1], browsers[2], third};
    for (int i = 0; i < 4; i++) assert_status(other, LATCHKEY_OK, validate(other, living[i]));
    size_t total;
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, 1, NULL, 0, NULL, 0, &total));
    assert_int_equal(total, 4);
}

/* Thousands of logins from threads and from other processes, while sessions end: never one more than the limits. */
enum { PROCESSES = 3, RACERS = 6, LOGINS = 400 };

typedef struct stampede {
    latchkey *handles[RACERS - PROCESSES];
    peer *peers[PROCESSES];
    atomic_int odd, made, running;
} stampede;

static void stampede_on(crew_member *member)
{
    stampede *s = member->shared;
    char token[LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < LOGINS; i++) {
        int status;
        if (member->index < PROCESSES) { /* of device 0 */
            status = (int)peer_number(s->peers[member->index], "create 1");
        } else {
            latchkey *lk = s->handles[member->index - PROCESSES];
            status = log_in_from(lk, 1, (uint32_t)i % 3, 0, token);
            if (!status && i % 5 == 0 && end_session(lk, token) > LATCHKEY_NOT_FOUND) atomic_fetch_add(&s->odd, 1);
        }
        if (status == LATCHKEY_OK) atomic_fetch_add(&s->made, 1);
        else if (status != LATCHKEY_LIMIT) atomic_fetch_add(&s->odd, 1);
    }
    atomic_fetch_sub(&s->running, 1);
}

static void stampede_within(const char *limit, bool deny)
{
    stampede s = {.running = RACERS};
    char config[512], options[128];
    snprintf(options, sizeof options, "max_sessions=7&max_per_device=3&limit=%s", limit);
    for (int i = 0; i < RACERS - PROCESSES; i++) s.handles[i] = handle_open(server, options);
    handle_config(server, 0, options, config, sizeof config);
    for (int i = 0; i < PROCESSES; i++) s.peers[i] = peer_start(config);
    latchkey *watcher = handle_open(server, "");
    crew *racers = crew_start(RACERS, stampede_on, &s);
    int looks = 0;
    do {
        latchkey_session_info list[20];
        size_t total, of[3] = {0};
        assert_status(watcher, LATCHKEY_OK, latchkey_sessions(watcher, 1, NULL, 0, list, 20, &total));
        for (size_t i = 0; i < total && i < 20; i++) of[list[i].device % 3]++;
        if (total > 7 || of[0] > 3 || of[1] > 3 || of[2] > 3)
            fail_msg("%zu sessions, by device %zu %zu %zu", total, of[0], of[1], of[2]);
        looks++;
    } while (atomic_load(&s.running));
    crew_join(racers);
    assert_int_equal(atomic_load(&s.odd), 0);
    assert_true(looks > 1);
    assert_true(redis_count_keys(server, "lk:*:s:*") <= 7);
    if (!deny) assert_int_equal(atomic_load(&s.made), RACERS * LOGINS);
    for (int i = 0; i < PROCESSES; i++) peer_end(s.peers[i]);
}

static void test_a_stampede_of_logins_is_denied_at_the_limits(void **state)
{
    (void)state;
    stampede_within("deny", true);
}

static void test_a_stampede_of_logins_evicts_down_to_the_limits(void **state)
{
    (void)state;
    stampede_within("evict", false);
}

static void test_generation_that_moved_refuses(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 6, token);
    unsigned p = token_partition(token);
    /* Never moved: 0 in Redis, 1 in the draft. */
    assert_status(lk, LATCHKEY_OK, create_for(lk, 6, 1, token));
    assert_status(lk, LATCHKEY_REFUSED, create_for(lk, 6, 2, token));
    assert_int_equal(token[0], 0);
    redis_do(server, "SET lk:{%d}:g:6 4", (int)p);
    assert_status(lk, LATCHKEY_OK, create_for(lk, 6, 5, token));
    assert_status(lk, LATCHKEY_REFUSED, create_for(lk, 6, 4, token));
    assert_status(lk, LATCHKEY_REFUSED, create_for(lk, 6, 1, token));
    assert_status(lk, LATCHKEY_OK, create_for(lk, 6, 0, token));
    assert_status(lk, LATCHKEY_OK, create_for(lk, 7, 1, token)); /* another user */
}

/* ------------------------------------------------------------------------------------------- prewarming -- */

/* Waits until Redis' clock has moved on a millisecond, so that no two sessions are equally recent. */
static void next_millisecond(void)
{
    long long start = -1, now;
    do {
        redisReply *time = redis_command(server, "TIME");
        now = atoll(time->element[0]->str) * 1000 + atoll(time->element[1]->str) / 1000;
        freeReplyObject(time);
        if (start < 0) start = now;
    } while (now <= start + 1);
}

static void test_prewarm_takes_the_most_recent_first(void **state)
{
    (void)state;
    enum { SESSIONS = 30, WANTED = 10 };
    latchkey *maker = handle_open(server, "partitions=8&prefix=p8"),
             *lk = handle_open(server, "partitions=8&prefix=p8");
    char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < SESSIONS; i++) {
        make_session(maker, 1 + (uint64_t)i, tokens[i]);
        next_millisecond();
    }
    size_t loaded = 0;
    assert_status(lk, LATCHKEY_OK, latchkey_prewarm(lk, WANTED, &loaded));
    assert_int_equal(loaded, WANTED);
    for (int i = 0; i < SESSIONS; i++) {
        latchkey_entry entry;
        int status = latchkey_try_validate(lk, tokens[i], LATCHKEY_TOKEN_LENGTH, &entry);
        assert_status(lk, i < SESSIONS - WANTED ? LATCHKEY_AGAIN : LATCHKEY_OK, status);
        if (status == LATCHKEY_OK) assert_int_equal(entry.user_id, 1 + i);
    }
}

static void test_prewarm_loads_thousands_in_batches(void **state)
{
    (void)state;
    enum { SESSIONS = 1700 };
    static char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "");
    for (int i = 0; i < SESSIONS; i++) make_session(maker, 1 + (uint64_t)i, tokens[i]);
    size_t loaded = 0;
    assert_status(lk, LATCHKEY_OK, latchkey_prewarm(lk, 100000, &loaded));
    assert_int_equal(loaded, SESSIONS);
    assert_int_equal(stats_of(lk).l1_entries, SESSIONS);
    for (int i = 0; i < SESSIONS; i++) assert_status(lk, LATCHKEY_OK, try_validate(lk, tokens[i]));
    /* What was prewarmed is as whole as what was validated: a wrong secret is no hit. */
    latchkey_stats stats = stats_of(lk);
    assert_int_equal(stats.l1_hits, SESSIONS);
}

typedef struct prewarming {
    latchkey *lk;
    int status;
    size_t loaded;
} prewarming;

static void prewarm_it(crew_member *m)
{
    prewarming *p = m->shared;
    p->status = latchkey_prewarm(p->lk, 100, &p->loaded);
}

/* As when many instances start at once: what does not come in time is asked for again. */
static void test_prewarm_goes_on_after_a_late_answer(void **state)
{
    (void)state;
    const char *options = "partitions=8&prefix=late&deadline_ms=1500&staleness_ms=60000";
    latchkey *maker = handle_open(server, options);
    prewarming p = {.lk = handle_open(server, options)};
    char token[LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 20; i++) make_session(maker, 1 + (uint64_t)i, token);
    redis_freeze(server);
    crew *one = crew_start(1, prewarm_it, &p);
    wait_for(stats_of(p.lk).l2_errors > 0);
    redis_thaw(server);
    crew_join(one);
    assert_status(p.lk, LATCHKEY_OK, p.status);
    assert_int_equal(p.loaded, 20);
}

/* No lease covers what is read: nothing is loaded, and that is not OK. */
static void test_prewarm_without_a_lease(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "lazy=1&durability=1&deadline_ms=3000");
    char token[LATCHKEY_TOKEN_SIZE];
    size_t loaded = 9;
    make_session(maker, 1, token);
    wait_for(strstr(stats_of(lk).last_error, "durability=1") != NULL);
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_prewarm(lk, 10, &loaded));
    assert_int_equal(loaded, 0);
}

static void test_prewarm_of_nothing(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    size_t loaded = 9;
    assert_status(lk, LATCHKEY_OK, latchkey_prewarm(lk, 1000, &loaded));
    assert_int_equal(loaded, 0);
    loaded = 9;
    assert_status(lk, LATCHKEY_OK, latchkey_prewarm(lk, 0, &loaded));
    assert_int_equal(loaded, 0);
    assert_status(lk, LATCHKEY_OK, latchkey_prewarm(lk, 10, NULL));
    latchkey *without = handle_open(server, "l1_capacity=0");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    assert_status(without, LATCHKEY_OK, latchkey_prewarm(without, 10, &loaded));
    assert_int_equal(loaded, 0);
}

static void test_prewarm_passes_over_what_is_no_session(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, "partitions=1&prefix=p1"),
             *lk = handle_open(server, "partitions=1&prefix=p1");
    char tokens[6][LATCHKEY_TOKEN_SIZE], key[128], v[256];
    for (int i = 0; i < 6; i++) make_session(maker, 1 + (uint64_t)i, tokens[i]);
    assert_status(maker, LATCHKEY_OK, end_session(maker, tokens[0]));
    redis_do(server, "DEL %s", session_key(server, tokens[1], key));
    redis_do(server, "HSET %s v short", session_key(server, tokens[2], key));
    redis_do(server, "PERSIST %s", session_key(server, tokens[3], key));
    size_t size = redis_text(server, v, sizeof v, "HGET %s v", session_key(server, tokens[5], key));
    redis_do(server, "HSET %s v %b", session_key(server, tokens[4], key), v, size);
    redis_do(server, "ZADD p1:{0}:a 9999999999999 no-selector-at-all 9999999999998 %s", "AAAAAAAAAAAAAAAAAAAA");
    size_t loaded;
    assert_status(lk, LATCHKEY_OK, latchkey_prewarm(lk, 100, &loaded));
    assert_int_equal(loaded, 1);
    for (int i = 0; i < 5; i++) assert_int_not_equal(try_validate(lk, tokens[i]), LATCHKEY_OK);
    assert_status(lk, LATCHKEY_OK, try_validate(lk, tokens[5]));
}

/* E: what prewarming put there is compared whole. */
static void test_E_prewarmed_entry_needs_the_whole_token(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], forged[LATCHKEY_TOKEN_SIZE];
    make_session(maker, 1, token);
    assert_status(lk, LATCHKEY_OK, latchkey_prewarm(lk, 10, NULL));
    memcpy(forged, token, sizeof forged);
    forged[25] = token[25] == 'A' ? 'B' : 'A';
    assert_int_not_equal(validate(lk, forged), LATCHKEY_OK);
    assert_status(lk, LATCHKEY_OK, try_validate(lk, token));
    assert_int_not_equal(try_validate(lk, forged), LATCHKEY_OK);
    assert_int_not_equal(validate(lk, forged), LATCHKEY_OK);
    assert_status(lk, LATCHKEY_OK, try_validate(lk, token));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_max_sessions_denies),
        TEST(test_max_sessions_evicts_the_one_nearest_its_end),
        TEST(test_dead_sessions_do_not_count),
        TEST(test_logins_at_once_do_not_slip_past_the_limit),
        TEST(test_max_per_device_denies),
        TEST(test_max_per_device_evicts_of_that_device),
        TEST(test_a_stampede_of_logins_is_denied_at_the_limits),
        TEST(test_a_stampede_of_logins_evicts_down_to_the_limits),
        TEST(test_generation_that_moved_refuses),
        TEST(test_prewarm_takes_the_most_recent_first),
        TEST(test_prewarm_loads_thousands_in_batches),
        TEST(test_prewarm_goes_on_after_a_late_answer),
        TEST(test_prewarm_without_a_lease),
        TEST(test_prewarm_of_nothing),
        TEST(test_prewarm_passes_over_what_is_no_session),
        TEST(test_E_prewarmed_entry_needs_the_whole_token),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

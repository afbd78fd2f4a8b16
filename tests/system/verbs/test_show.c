/* SPDX-License-Identifier: MIT
 *
 * A session by its name alone: what is shown of it, under which of its names, and when nothing is.
 */
#include "test_handle.h"
#include "proxy.h"
#include "threads.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USER = 42, LENGTH = LATCHKEY_TOKEN_LENGTH };

static int show(latchkey *lk, const char *selector)
{
    latchkey_record *record;
    latchkey_session_info info;
    static const latchkey_session_info none;
    int status = latchkey_show(lk, selector, &info, &record);
    if (status) {
        assert_null(record);
        assert_memory_equal(&info, &none, sizeof none);
    }
    latchkey_record_free(record);
    return status;
}

static void test_everything_but_the_secret(void **state)
{
    (void)state;
    static char key[4000];
    memset(key, 'k', sizeof key);
    latchkey *lk = handle_open(server, "");
    latchkey_field fields[] = {{"pq.k", key, sizeof key}, {"note", "x", 1}, {"empty", "", 0}};
    latchkey_draft draft = {.size = sizeof draft, .user_id = USER, .role = "admin", .device = 7, .flags = 3};
    draft.idle_ms = 100000;
    draft.lifetime_ms = 1000000;
    draft.fields = fields;
    draft.field_count = 3;
    char token[LATCHKEY_TOKEN_SIZE];
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, token));
    latchkey_record *record, *loaded;
    latchkey_session_info info, listed;
    size_t total, size;
    assert_status(lk, LATCHKEY_OK, latchkey_show(lk, token, &info, &record));
    assert_status(lk, LATCHKEY_OK, latchkey_load(lk, token, LENGTH, &loaded));
    assert_memory_equal(latchkey_record_entry(record), latchkey_record_entry(loaded), sizeof(latchkey_entry));
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, USER, token, LENGTH, &listed, 1, &total));
    int64_t apart = info.idle_expires_at_ms - listed.idle_expires_at_ms; /* worked out from what is left of it */
    assert_true(apart > -10000 && apart < 10000);
    listed.idle_expires_at_ms = info.idle_expires_at_ms;
    assert_memory_equal(&info, &listed, sizeof info);
    bool found[3] = {false};
    for (size_t i = 0; i < 3; i++) {
        const char *name = latchkey_record_field_name(record, i);
        assert_non_null(name);
        for (size_t k = 0; k < 3; k++) {
            if (strcmp(name, fields[k].name)) continue;
            assert_false(found[k]);
            found[k] = true;
            const void *data = latchkey_record_field(record, name, &size);
            assert_int_equal(size, fields[k].size);
            assert_memory_equal(data, fields[k].data, size);
        }
    }
    assert_true(found[0] && found[1] && found[2]);
    assert_null(latchkey_record_field_name(record, 3));
    assert_null(latchkey_record_field_name(record, SIZE_MAX));
    assert_null(latchkey_record_field_name(NULL, 0));
    latchkey_record_free(record);
    latchkey_record_free(loaded);
}

static void test_looking_is_no_use_and_fills_nothing(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    latchkey *lk = handle_open(server, ""), *other = handle_open(server, "");
    make_session_with(lk, USER, 1000000, 0, NULL, 0, token);
    redis_do(server, "PEXPIRE %s 500000", session_key(server, token, key)); /* a touch is due */
    for (int i = 0; i < 20; i++) assert_status(other, LATCHKEY_OK, show(other, token));
    assert_true(redis_integer(server, "PTTL %s", key) <= 500000);
    assert_int_equal(stats_of(other).touches, 0);
    assert_int_equal(stats_of(other).l1_entries, 0);
    assert_status(other, LATCHKEY_AGAIN, try_validate(other, token));
}

/* Its own name, those of exchanged tokens in their grace and after it, and of one that was revoked by its exchange. */
static void test_every_name_that_is_remembered_leads_to_it(void **state)
{
    (void)state;
    char first[LATCHKEY_TOKEN_SIZE], second[LATCHKEY_TOKEN_SIZE], third[LATCHKEY_TOKEN_SIZE],
        fourth[LATCHKEY_TOKEN_SIZE];
    latchkey_session_info info;
    latchkey_record *record;
    latchkey *lk = handle_open(server, "");
    make_session(lk, USER, first);
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, first, LENGTH, 1, second));
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, second, LENGTH, 600000, third));
    const char *names[] = {first, second, third};
    for (int i = 0; i < 3; i++) {
        assert_status(lk, LATCHKEY_OK, latchkey_show(lk, names[i], &info, &record));
        assert_memory_equal(info.selector, third, LATCHKEY_SELECTOR_LENGTH);
        assert_int_equal(info.current, i == 2);
        assert_int_equal(latchkey_record_entry(record)->user_id, USER);
        latchkey_record_free(record);
    }
    /* Looking at the first, whose grace is over, was no use of it: nothing has ended. */
    assert_status(lk, LATCHKEY_OK, validate(lk, third));
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, third, LENGTH, 0, fourth));
    for (int i = 0; i < 3; i++) assert_status(lk, LATCHKEY_NOT_FOUND, show(lk, names[i]));
    assert_status(lk, LATCHKEY_OK, show(lk, fourth));
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, fourth, LENGTH, 600000, first));
    assert_status(lk, LATCHKEY_OK, end_session(lk, first));
    assert_status(lk, LATCHKEY_NOT_FOUND, show(lk, fourth));
    assert_status(lk, LATCHKEY_NOT_FOUND, show(lk, first));
}

static void test_what_is_not_there(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    latchkey *lk = handle_open(server, "");
    latchkey_record *record;
    make_session(lk, USER, token);
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_show(NULL, token, NULL, &record));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_show(lk, NULL, NULL, &record));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_show(lk, token, NULL, NULL));
    assert_status(lk, LATCHKEY_MALFORMED, show(lk, "--------------------"));
    assert_status(lk, LATCHKEY_MALFORMED, show(lk, "\x1b[31mnot a selector, really"));
    assert_status(lk, LATCHKEY_OK, latchkey_show(lk, token, NULL, &record));
    latchkey_record_free(record);
    char other[LATCHKEY_SELECTOR_LENGTH + 1];
    memcpy(other, token, sizeof other);
    other[10] = other[10] == 'A' ? 'B' : 'A';
    assert_status(lk, LATCHKEY_NOT_FOUND, show(lk, other));
    redis_do(server, "HSET %s v damaged", session_key(server, token, key));
    assert_status(lk, LATCHKEY_CORRUPT, show(lk, token));
    redis_do(server, "DEL %s", key);
    assert_status(lk, LATCHKEY_NOT_FOUND, show(lk, token));
    redis_do(server, "SET %s string", key);
    assert_status(lk, LATCHKEY_CORRUPT, show(lk, token));
}

static void test_A_B_redis_away_and_a_revocation_that_waits(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], gone[LATCHKEY_TOKEN_SIZE], config[256];
    redis *on = redis_start(NULL);
    snprintf(config, sizeof config, "unix://%s?deadline_ms=300&staleness_ms=300", on->socket);
    latchkey *lk = handle_open_config(config);
    make_session(lk, USER, token);
    make_session(lk, USER, gone);
    redis_freeze(on);
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, gone));
    assert_status(lk, LATCHKEY_UNAVAILABLE, show(lk, token));
    int said = show(lk, gone);
    assert_true(said == LATCHKEY_UNAVAILABLE || said == LATCHKEY_NOT_FOUND);
    redis_thaw(on);
    wait_for(show(lk, token) == LATCHKEY_OK);
    for (int i = 0; i < 100; i++) assert_int_not_equal(show(lk, gone), LATCHKEY_OK);
    handle_close(lk);
    redis_end(on);
}

/* Redis takes no writes: what it is asked about lives there all the time. */
static void test_B_a_revocation_that_waits_hides_the_session_under_all_its_names(void **state)
{
    (void)state;
    char kept[LATCHKEY_TOKEN_SIZE], old[LATCHKEY_TOKEN_SIZE], gone[LATCHKEY_TOKEN_SIZE], key[128];
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "deadline_ms=1000");
    make_session(lk, USER, kept);
    make_session(lk, USER, old);
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, old, LENGTH, 600000, gone));
    redis_do(on, "CLIENT PAUSE 60000 WRITE");
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, gone));
    wait_for(show(lk, kept) == LATCHKEY_OK);
    assert_status(lk, LATCHKEY_NOT_FOUND, show(lk, gone));
    wait_for(show(lk, old) == LATCHKEY_NOT_FOUND);
    assert_true(*session_key(on, gone, key));
    redis_do(on, "CLIENT UNPAUSE");
    wait_for(stats_of(lk).pending == 0);
    handle_close(lk);
    redis_end(on);
}

/* An exchange in the middle of it: one name or the other, and never a "no" for a session that lives. */
typedef struct exchanging {
    latchkey *lk;
    char token[LATCHKEY_TOKEN_SIZE];
    atomic_int stop, failed;
} exchanging;

static void *exchange(void *context)
{
    exchanging *e = context;
    char next[LATCHKEY_TOKEN_SIZE];
    while (!atomic_load(&e->stop)) {
        if (latchkey_rotate(e->lk, e->token, LENGTH, 1000, next)) atomic_store(&e->failed, 1);
        if (atomic_load(&e->failed)) break;
        memcpy(e->token, next, sizeof next);
    }
    return NULL;
}

static void test_A_shown_while_it_is_exchanged_all_the_time(void **state)
{
    (void)state;
    pthread_t thread;
    exchanging e = {.lk = handle_open(server, "")};
    char first[LATCHKEY_SELECTOR_LENGTH + 1] = "";
    int shown = 0;
    make_session(e.lk, USER, e.token);
    memcpy(first, e.token, LATCHKEY_SELECTOR_LENGTH);
    assert_int_equal(pthread_create(&thread, NULL, exchange, &e), 0);
    for (int i = 0; i < 600; i++) {
        latchkey_session_info info;
        latchkey_record *record;
        int status = latchkey_show(e.lk, first, &info, &record);
        if (status == LATCHKEY_NOT_FOUND) { /* rightly: only the last 64 names are remembered */
            latchkey_session_info now;
            size_t total;
            assert_status(e.lk, LATCHKEY_OK, latchkey_sessions(e.lk, USER, NULL, 0, &now, 1, &total));
            assert_int_equal(total, 1);
            memcpy(first, now.selector, LATCHKEY_SELECTOR_LENGTH);
            continue;
        }
        assert_status(e.lk, LATCHKEY_OK, status);
        shown++;
        memcpy(first, info.selector, LATCHKEY_SELECTOR_LENGTH);
        latchkey_record_free(record);
    }
    atomic_store(&e.stop, 1);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&e.failed), 0);
    assert_true(shown > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_everything_but_the_secret),
        TEST(test_looking_is_no_use_and_fills_nothing),
        TEST(test_every_name_that_is_remembered_leads_to_it),
        TEST(test_what_is_not_there),
        TEST(test_A_B_redis_away_and_a_revocation_that_waits),
        TEST(test_B_a_revocation_that_waits_hides_the_session_under_all_its_names),
        TEST(test_A_shown_while_it_is_exchanged_all_the_time),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

/* SPDX-License-Identifier: MIT
 *
 * Sections: large attributes beside the session, which live, move and end with it, whatever else is done with it at the time.
 */
#include "test_handle.h"
#include "threads.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USER = 42, LENGTH = LATCHKEY_TOKEN_LENGTH, LONG = 600000, SHORT = 150, MOST = LATCHKEY_SECTION_SIZE_MAX };

typedef char token_text[LATCHKEY_TOKEN_SIZE];

static char bytes[MOST + 1];

static void fill_bytes(void)
{
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)((x = x * 1664525 + 1013904223) >> 24);
    memcpy(bytes, "\r\n\0$5\r\n", 8);
}

static int put(latchkey *lk, const char *token, const char *section, const void *data, size_t size)
{
    return latchkey_section_put(lk, token, LENGTH, section, data, size);
}

static int put_text(latchkey *lk, const char *token, const char *section, const char *text)
{
    return put(lk, token, section, text, text ? strlen(text) : 0);
}

static int get(latchkey *lk, const char *token, const char *section, size_t *size, int *found)
{
    static char data[MOST];
    return latchkey_section_get(lk, token, LENGTH, section, data, sizeof data, size, found);
}

static int status_of(latchkey *lk, const char *token, const char *section)
{
    size_t size = 7;
    int found = 7, status = get(lk, token, section, &size, &found);
    if (status) {
        assert_int_equal(size, 0);
        assert_int_equal(found, 0);
    }
    return status;
}

static void assert_section(latchkey *lk, const char *token, const char *section, const void *data, size_t size)
{
    static char got[MOST];
    size_t got_size = 7;
    int found = 7;
    assert_status(lk, LATCHKEY_OK,
                  latchkey_section_get(lk, token, LENGTH, section, got, sizeof got, &got_size, &found));
    assert_int_equal(found, data != NULL);
    assert_int_equal(got_size, size);
    if (size) assert_memory_equal(got, data, size);
}

static void assert_text(latchkey *lk, const char *token, const char *section, const char *text)
{
    assert_section(lk, token, section, text, text ? strlen(text) : 0);
}

static size_t sections_left(redis *on) { return redis_count_keys(on, "lk:*:s:*:*"); }

/* The section's key under this token's name. */
static char *section_key(const char *token, const char *section, char out[200])
{
    snprintf(out, 200, "lk:{%u}:s:%.20s:%s", token_partition(token), token, section);
    return out;
}

/* Each has its session's absolute expiry, however often that is touched; and none is there without one. */
static void assert_expiries(redis *on)
{
    size_t count;
    char **keys = redis_keys(on, "lk:*:s:*:*", &count);
    for (size_t i = 0; i < count; i++) {
        char session[200], x[96];
        snprintf(session, sizeof session, "%.*s", (int)(strrchr(keys[i], ':') - keys[i]), keys[i]);
        assert_true(redis_text(on, x, sizeof x, "HGET %s x", session));
        assert_int_equal(redis_integer(on, "PEXPIRETIME %s", keys[i]), atoll(strchr(x, ' ')));
    }
    redis_free_keys(keys);
}

/* ---------------------------------------------------------------------------------------------------------- one -- */

static void test_written_read_replaced_deleted(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *other = handle_open_tcp(server, "");
    token_text token;
    char key[200];
    make_session(lk, USER, token);
    assert_text(lk, token, "profile", NULL);
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "profile", "a"));
    assert_text(other, token, "profile", "a");
    assert_int_equal(redis_integer(server, "EXISTS %s", section_key(token, "profile", key)), 1);
    assert_status(other, LATCHKEY_OK, put_text(other, token, "history", "b"));
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "profile", "another"));
    assert_text(other, token, "profile", "another");
    assert_text(lk, token, "history", "b");
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "history", "")); /* empty, but there */
    assert_text(other, token, "history", "");
    assert_expiries(server);
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "profile", NULL));
    assert_text(other, token, "profile", NULL);
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "profile", NULL)); /* not there any more */
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "never", NULL));
    assert_text(lk, token, "history", "");
    assert_int_equal(sections_left(server), 1);
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "history", NULL));
    assert_int_equal(sections_left(server), 0);
    assert_int_equal(redis_integer(server, "HLEN %s", session_key(server, token, key)), 3); /* v, x, g */
    assert_status(lk, LATCHKEY_OK, load(lk, token));
}

static void test_sizes_up_to_a_mebibyte(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *over_tcp = handle_open_tcp(server, "");
    token_text token;
    make_session(lk, USER, token);
    static const size_t sizes[] = {0, 1, 8, 65536, 65537, MOST - 1, MOST};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_status(lk, LATCHKEY_OK, put(i % 2 ? lk : over_tcp, token, "blob", bytes, sizes[i]));
        assert_section(i % 2 ? over_tcp : lk, token, "blob", bytes, sizes[i]);
    }
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, put(lk, token, "blob", bytes, MOST + 1));
    assert_section(lk, token, "blob", bytes, MOST);

    /* Too little room is told apart from none. */
    size_t size = 0;
    int found = 0;
    char small[16] = "as it was";
    assert_status(lk, LATCHKEY_NO_MEMORY, latchkey_section_get(lk, token, LENGTH, "blob", NULL, 0, &size, &found));
    assert_int_equal(size, MOST);
    assert_int_equal(found, 1);
    assert_status(lk, LATCHKEY_NO_MEMORY,
                  latchkey_section_get(lk, token, LENGTH, "blob", small, sizeof small, &size, &found));
    assert_int_equal(size, MOST);
    assert_string_equal(small, "as it was");
    assert_status(lk, LATCHKEY_OK, latchkey_section_get(lk, token, LENGTH, "none", NULL, 0, &size, &found));
    assert_int_equal(size + (size_t)found, 0);
    latchkey_stats stats = stats_of(lk);
    assert_true(stats.section_size_p99_bytes >= MOST);
    assert_true(stats.section_writes >= 3 && stats.section_reads >= 3);
}

static void test_the_session_does_not_move_them(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=60000&l1_capacity=0");
    token_text token;
    make_session(lk, USER, token);
    assert_status(lk, LATCHKEY_OK, put(lk, token, "blob", bytes, MOST));
    long long before = redis_info(server, "stats", "total_net_output_bytes");
    for (int i = 0; i < 10; i++) {
        assert_status(lk, LATCHKEY_OK, load(lk, token));
        assert_status(lk, LATCHKEY_OK, validate(lk, token));
        assert_status(lk, LATCHKEY_OK, set_field(lk, token, "pq.k", "x"));
    }
    assert_true(redis_info(server, "stats", "total_net_output_bytes") - before < MOST / 2);
}

static void test_16_of_them_beside_256_fields(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text token, renewed;
    char name[24], longest[66];
    static char text[256][16];
    latchkey_field many[256];
    for (int i = 0; i < 256; i++) {
        snprintf(text[i], sizeof text[i], "f%d.", i);
        many[i] = (latchkey_field){text[i], "x", 1};
    }
    make_session_with(lk, USER, 0, 0, many, 255, token);
    memset(longest, 'n', 64);
    longest[64] = 0;
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, longest, "longest"));
    for (int i = 1; i < 16; i++) {
        snprintf(name, sizeof name, "section.%d", i);
        assert_status(lk, LATCHKEY_OK, put_text(lk, token, name, name));
    }
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, put_text(lk, token, "one.more", "x"));
    assert_text(lk, token, "one.more", NULL);
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "section.3", "again"));
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token, LENGTH, LONG, renewed));
    assert_status(lk, LATCHKEY_OK, latchkey_set_fields(lk, renewed, LENGTH, &many[255], 1)); /* the 256th */
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, set_field(lk, renewed, "one.more", "x"));
    assert_status(lk, LATCHKEY_OK, put_text(lk, renewed, "section.4", NULL));
    assert_status(lk, LATCHKEY_OK, put_text(lk, renewed, "one.more", "x"));
    assert_text(lk, token, longest, "longest");
    assert_text(lk, token, "section.3", "again");
    assert_int_equal(sections_left(server), 16);
    longest[64] = 'n';
    longest[65] = 0;
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, put_text(lk, token, longest, "x"));
}

static void test_bad_arguments(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text token;
    char data[8];
    size_t size;
    int found;
    make_session(lk, USER, token);
    static const char *const bad[] = {NULL, "", "v", "s", "a b", "a\nb", "a/b", "a*b", "{ab}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, put_text(lk, token, bad[i], "x"));
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, status_of(lk, token, bad[i]));
    }
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, put(lk, token, "name", NULL, 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, put(NULL, token, "name", "x", 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, put(lk, NULL, "name", "x", 1));
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_section_put(lk, token, LENGTH - 1, "name", "x", 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_section_get(NULL, token, LENGTH, "name", data, 8, &size, &found));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_section_get(lk, NULL, LENGTH, "name", data, 8, &size, &found));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_section_get(lk, token, LENGTH, "name", NULL, 8, &size, &found));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_section_get(lk, token, LENGTH, "name", data, 8, NULL, &found));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_section_get(lk, token, LENGTH, "name", data, 8, &size, NULL));
    assert_int_equal(sections_left(server), 0);
}

/* ------------------------------------------------------------------------------------- living and ending with it -- */

static void test_they_end_with_the_session_however_it_ends(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "max_sessions=2");
    token_text token, renewed, third;
    for (int way = 0; way < 7; way++) {
        make_session(lk, USER, token);
        assert_status(lk, LATCHKEY_OK, put_text(lk, token, "one", "x"));
        assert_status(lk, LATCHKEY_OK, put_text(lk, token, "two", "y"));
        assert_int_equal(sections_left(server), 2);
        switch (way) {
        case 0: assert_status(lk, LATCHKEY_OK, end_session(lk, token)); break;
        case 1: assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, USER, NULL, 0, NULL)); break;
        case 2: assert_status(lk, LATCHKEY_OK, latchkey_revoke_selector(lk, USER, token)); break;
        case 3: /* by the limit: the one that ends first, so not in the same millisecond */
            check_outlive(0);
            make_session(lk, USER, third);
            make_session(lk, USER, third);
            break;
        case 4: /* by the old token */
            assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token, LENGTH, LONG, renewed));
            assert_int_equal(sections_left(server), 2);
            assert_status(lk, LATCHKEY_OK, end_session(lk, token));
            break;
        case 5: /* by a theft */
            assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token, LENGTH, SHORT, renewed));
            check_outlive(SHORT);
            assert_status(lk, LATCHKEY_NOT_FOUND, status_of(lk, token, "one"));
            assert_int_equal(stats_of(lk).reuses, 1);
            break;
        default: /* by one who writes with it */
            assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token, LENGTH, SHORT, renewed));
            check_outlive(SHORT);
            assert_status(lk, LATCHKEY_NOT_FOUND, put_text(lk, token, "one", "stolen"));
        }
        assert_int_equal(sections_left(server), 0);
        assert_status(lk, LATCHKEY_NOT_FOUND, status_of(lk, token, "one"));
        assert_status(lk, LATCHKEY_NOT_FOUND, put_text(lk, token, "one", "x"));
        assert_int_equal(sections_left(server), 0);
        assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, USER, NULL, 0, NULL));
    }
}

/* A server that forgot, with an old past: it is told, and they go with it. */
static void test_C_they_end_again_on_a_server_that_forgot(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "staleness_ms=2000");
    token_text token;
    make_session(lk, USER, token);
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "one", "x"));
    redis_do(on, "SAVE");
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    redis_kill(on);
    redis_boot(on);
    wait_for(redis_count_keys(on, "lk:*:s:*") == 0);
    handle_close_all(NULL);
    redis_end(on);
}

static void test_H_kept_alive_and_idled_out_with_it(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text token, idle;
    char key[200];
    make_session_with(lk, USER, 600000, 0, NULL, 0, token);
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "one", "x"));
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "two", "x"));
    redis_do(server, "PEXPIRE %s 300000", session_key(server, token, key)); /* as if it were not used for a while */
    assert_status(lk, LATCHKEY_OK, touch(lk, token));
    assert_expiries(server);

    /* One that idles out leaves its sections, at most until its absolute expiry; no call gets them. */
    make_session_with(lk, USER, SHORT, 4 * SHORT, NULL, 0, idle);
    int status = put_text(lk, idle, "one", "x");
    assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_NOT_FOUND);
    check_outlive(2 * SHORT);
    assert_status(lk, LATCHKEY_NOT_FOUND, status_of(lk, idle, "one"));
    wait_for(redis_integer(server, "EXISTS %s", section_key(idle, "one", key)) == 0);
    assert_status(lk, LATCHKEY_NOT_FOUND, status_of(lk, idle, "one"));
}

static void test_exchanged_with_it(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text token[6];
    char key[200], text[16];
    make_session(lk, USER, token[0]);
    assert_status(lk, LATCHKEY_OK, put_text(lk, token[0], "one", "by 0"));
    assert_status(lk, LATCHKEY_OK, put(lk, token[0], "large", bytes, 100000));
    for (int i = 0; i < 5; i++) {
        bool grace = i != 2; /* after the third the tokens before it mean no session */
        assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token[i], LENGTH, grace ? LONG : 0, token[i + 1]));
        assert_int_equal(redis_integer(server, "EXISTS %s", section_key(token[i], "one", key)), 0);
        assert_int_equal(redis_integer(server, "EXISTS %s", section_key(token[i + 1], "one", key)), 1);
        assert_expiries(server);
        for (int j = 0; j <= i + 1; j++) {
            if (i >= 2 && j <= 2) assert_status(lk, LATCHKEY_NOT_FOUND, status_of(lk, token[j], "one"));
            else {
                assert_section(lk, token[j], "large", bytes, 100000);
                snprintf(text, sizeof text, "by %d", j);
                assert_status(lk, LATCHKEY_OK, put_text(lk, token[j], "one", text));
                assert_text(lk, token[i + 1], "one", text);
            }
        }
        assert_int_equal(sections_left(server), 2);
    }
    assert_int_equal(stats_of(lk).reuses, 0);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token[5]));
    assert_int_equal(redis_count_keys(server, "lk:*:s:*"), 0);
}

static void test_H_past_its_absolute_expiry_it_is_expired(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text token;
    char key[200];
    make_session_with(lk, USER, 0, SHORT, NULL, 0, token);
    redis_do(server, "PEXPIRE %s 600000", session_key(server, token, key)); /* somebody stretched it */
    check_outlive(SHORT);
    assert_status(lk, LATCHKEY_EXPIRED, put_text(lk, token, "one", "x"));
    assert_status(lk, LATCHKEY_EXPIRED, status_of(lk, token, "one"));
    assert_int_equal(sections_left(server), 0);
}

/* ------------------------------------------------------------------------------------------------------ faults -- */

static void test_damage_is_corrupt(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text token, renewed;
    char key[200], session[128];
    make_session(lk, USER, token);
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "one", "x"));
    section_key(token, "one", key);
    redis_do(server, "DEL %s", key); /* lost */
    assert_status(lk, LATCHKEY_CORRUPT, status_of(lk, token, "one"));
    redis_do(server, "LPUSH %s element", key); /* something else */
    assert_status(lk, LATCHKEY_CORRUPT, status_of(lk, token, "one"));
    assert_status(lk, LATCHKEY_CORRUPT, put_text(lk, token, "one", "y"));
    assert_int_equal(redis_integer(server, "LLEN %s", key), 1);       /* as it was */
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "one", NULL)); /* which helps */
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "one", "y"));
    assert_text(lk, token, "one", "y");
    redis_do(server, "SET %s foreign", section_key(token, "two", key)); /* not of the session's: not named by it */
    assert_text(lk, token, "two", NULL);
    redis_do(server, "DEL %s", key);
    redis_do(server, "DEL %s", section_key(token, "one", key));
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token, LENGTH, LONG, renewed)); /* a lost one does not matter */
    assert_status(lk, LATCHKEY_OK, validate(lk, renewed));
    assert_status(lk, LATCHKEY_CORRUPT, status_of(lk, renewed, "one"));
    assert_status(lk, LATCHKEY_OK, put_text(lk, renewed, "one", "z"));
    assert_text(lk, token, "one", "z");
    session_key(server, renewed, session);
    redis_do(server, "DEL %s", session);
    assert_status(lk, LATCHKEY_NOT_FOUND, put_text(lk, renewed, "two", "x"));
    redis_do(server, "SET %s text", session);
    assert_status(lk, LATCHKEY_CORRUPT, put_text(lk, renewed, "two", "x"));
    assert_status(lk, LATCHKEY_CORRUPT, status_of(lk, renewed, "two"));
}

static void test_at_maxmemory_deleting_works(void **state)
{
    (void)state;
    redis *on = redis_start("--maxmemory-policy", "noeviction");
    latchkey *lk = handle_open(on, "");
    token_text token;
    make_session(lk, USER, token);
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "one", "x"));
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "two", "y"));
    redis_do(on, "CONFIG SET maxmemory 1mb");
    assert_status(lk, LATCHKEY_UNAVAILABLE, put_text(lk, token, "three", "x"));
    assert_status(lk, LATCHKEY_UNAVAILABLE, put_text(lk, token, "one", "more than before"));
    assert_text(lk, token, "three", NULL);
    assert_text(lk, token, "one", "x");
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "one", NULL));
    assert_text(lk, token, "one", NULL);
    assert_text(lk, token, "two", "y");
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    assert_int_equal(redis_count_keys(on, "lk:*:s:*"), 0);
    handle_close_all(NULL);
    redis_end(on);
}

static void test_A_without_redis_there_is_no_answer(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "deadline_ms=300");
    token_text token;
    make_session(lk, USER, token);
    assert_status(lk, LATCHKEY_OK, put_text(lk, token, "one", "x"));
    redis_kill(on);
    assert_status(lk, LATCHKEY_UNAVAILABLE, status_of(lk, token, "one"));
    assert_status(lk, LATCHKEY_UNAVAILABLE, put_text(lk, token, "one", "y"));
    handle_close_all(NULL);
    redis_end(on);
}

/* ---------------------------------------------------------------------------------------------------------- races -- */

/* Sections are written while their session is exchanged and ended: none is left, and none is lost before. */
enum { THREADS = 4, LIVES = 150 };

typedef struct rush {
    latchkey *handle[THREADS];
    token_text token[LIVES];
    _Atomic int life; /* the session that is alive, or was just ended */
    atomic_int wrong, written, ready;
} rush;

static void write_sections(crew_member *member)
{
    rush *r = member->shared;
    latchkey *lk = r->handle[member->index];
    char name[16];
    snprintf(name, sizeof name, "by.%zu", member->index);
    while (!crew_stopped(member)) {
        int life = atomic_load(&r->life);
        if (life < 0) continue;
        int status = put(lk, r->token[life], name, bytes, 1 + 500 * member->index);
        if (status == LATCHKEY_OK) atomic_fetch_add(&r->written, 1);
        else if (status != LATCHKEY_NOT_FOUND) atomic_fetch_add(&r->wrong, 1);
        size_t size;
        int found, got = latchkey_section_get(lk, r->token[life], LENGTH, name, NULL, 0, &size, &found);
        bool there = got == LATCHKEY_NO_MEMORY && found;
        if (!there && got != LATCHKEY_NOT_FOUND) atomic_fetch_add(&r->wrong, 1); /* lost, or not exchanged */
        if (there && size != 1 + 500 * member->index) atomic_fetch_add(&r->wrong, 1);
        if (status == LATCHKEY_NOT_FOUND && there) atomic_fetch_add(&r->wrong, 1); /* it came back (D) */
    }
}

static void test_D_writing_beside_exchanges_and_ends_leaves_nothing(void **state)
{
    (void)state;
    static rush r;
    memset(&r, 0, sizeof r);
    atomic_store(&r.life, -1);
    for (int i = 0; i < THREADS; i++) r.handle[i] = handle_open(server, "deadline_ms=60000");
    latchkey *lk = handle_open(server, "deadline_ms=60000");
    crew *all = crew_start(THREADS, write_sections, &r);
    int failed = 0;
    for (int i = 0; i < LIVES; i++) {
        token_text now, next;
        make_session(lk, USER, r.token[i]);
        int before = atomic_load(&r.written);
        memcpy(now, r.token[i], sizeof now);
        atomic_store(&r.life, i);
        for (int j = 0; j < 5; j++) { /* the writers go on with the first token, in its grace */
            failed += latchkey_rotate(lk, now, LENGTH, LONG, next) != LATCHKEY_OK;
            memcpy(now, next, sizeof now);
        }
        int64_t until_ms = check_now_ms() + CHECK_PATIENCE_MS;
        while (atomic_load(&r.written) < before + 4 && check_now_ms() < until_ms) check_pause();
        failed += (i % 2 ? end_session(lk, i % 4 == 1 ? now : r.token[i])
                         : latchkey_revoke_user(lk, USER, NULL, 0, NULL)) != LATCHKEY_OK;
    }
    crew_stop(all);
    crew_join(all);
    assert_int_equal(failed, 0);
    assert_int_equal(atomic_load(&r.wrong), 0);
    assert_true(atomic_load(&r.written) >= 4 * LIVES);
    assert_int_equal(redis_count_keys(server, "lk:*:s:*"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_written_read_replaced_deleted),
        TEST(test_sizes_up_to_a_mebibyte),
        TEST(test_the_session_does_not_move_them),
        TEST(test_16_of_them_beside_256_fields),
        TEST(test_bad_arguments),
        TEST(test_they_end_with_the_session_however_it_ends),
        TEST(test_C_they_end_again_on_a_server_that_forgot),
        TEST(test_H_kept_alive_and_idled_out_with_it),
        TEST(test_exchanged_with_it),
        TEST(test_H_past_its_absolute_expiry_it_is_expired),
        TEST(test_damage_is_corrupt),
        TEST(test_at_maxmemory_deleting_works),
        TEST(test_A_without_redis_there_is_no_answer),
        TEST(test_D_writing_beside_exchanges_and_ends_leaves_nothing),
    };
    fill_bytes();
    return cmocka_run_group_tests(tests, server_start, server_end);
}

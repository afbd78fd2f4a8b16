/* SPDX-License-Identifier: MIT
 *
 * The indexes in Redis name what is there and nothing else: after thousands of logins, ends of every kind and expiries no
 * orphan is left in any, and in the end nothing but a few small keys for each partition.
 */
#include "test_handle.h"
#include "threads.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LENGTH = LATCHKEY_TOKEN_LENGTH,
    THREADS = 6,
    HANDLES = 3,
    ROUNDS = 700,
    USERS = 150,
    PARTITIONS = 4,
    LONG = 600000
};
#define OPTIONS "partitions=4&prefix=h4"

typedef char token_text[LATCHKEY_TOKEN_SIZE];

/* --------------------------------------------------------------------------------------------------- counting -- */

typedef struct census {
    size_t sessions, old;            /* keys: of sessions, of what old tokens left */
    size_t of_users, active, family; /* members of u:, a, f: */
    size_t dead_users, dead_active, dead_family;
    size_t missing; /* sessions that an index does not name */
    size_t other;   /* keys that are none of those, nor of the few that stay */
} census;

/* "h4:{3}:" in front of the key: its length, and a copy. */
static size_t base_of(const char *key) { return strcspn(key, "}") + 2; }

static const char *base(const char *key)
{
    static char text[32];
    assert_in_range(base_of(key), 3, sizeof text - 1);
    memcpy(text, key, base_of(key));
    text[base_of(key)] = 0;
    return text;
}

static void count_members(const char *key, size_t *members, size_t *dead)
{
    redisReply *all = redis_command(server, "ZRANGE %s 0 -1", key);
    assert_int_equal(all->type, REDIS_REPLY_ARRAY);
    *members += all->elements;
    for (size_t i = 0; i < all->elements; i++)
        *dead += redis_integer(server, "EXISTS %ss:%s", base(key), all->element[i]->str) == 0;
    freeReplyObject(all);
    assert_true(redis_integer(server, "PTTL %s", key) != -1); /* an index without an expiry would stay */
}

static void count_session(const char *key, census *c)
{
    const char *selector = key + base_of(key) + 2, *rest = strchr(selector, ':');
    char x[96];
    if (rest) { /* a part of a session */
        char whose[96];
        snprintf(whose, sizeof whose, "%.*s", (int)(rest - key), key);
        c->other += redis_integer(server, "EXISTS %s", whose) == 0;
        return;
    }
    assert_true(redis_integer(server, "PTTL %s", key) != -1);
    if (!redis_text(server, x, sizeof x, "HGET %s x", key)) {
        c->old += redis_integer(server, "EXISTS %s", key) == 1;
        return;
    }
    const char *user = strrchr(x, ' ') + 1;
    char score[64];
    c->sessions++;
    bool indexed = redis_text(server, score, sizeof score, "ZSCORE %su:%s %s", base(key), user, selector) &&
                   redis_text(server, score, sizeof score, "ZSCORE %sa %s", base(key), selector);
    c->missing += !indexed && redis_integer(server, "EXISTS %s", key) == 1;
}

static census take_census(void)
{
    census c = {0};
    size_t count;
    char **keys = redis_keys(server, "h4:*", &count);
    for (size_t i = 0; i < count; i++) {
        const char *kind = keys[i] + base_of(keys[i]);
        if (kind[0] == 's') count_session(keys[i], &c);
        else if (kind[0] == 'u') count_members(keys[i], &c.of_users, &c.dead_users);
        else if (kind[0] == 'f') count_members(keys[i], &c.family, &c.dead_family);
        else if (strcmp(kind, "a") == 0) count_members(keys[i], &c.active, &c.dead_active);
        else if (kind[0] == 'i') c.other += redis_integer(server, "PTTL %s", keys[i]) == -1;
        else if (!strchr("qrmegw", kind[0])) c.other++;
    }
    redis_free_keys(keys);
    return c;
}

/* Nothing has idled out: the indexes are exact. */
static void assert_exact(const census *c)
{
    assert_int_equal(c->dead_users + c->dead_active + c->dead_family + c->missing + c->other, 0);
    assert_int_equal(c->of_users, c->sessions);
    assert_int_equal(c->active, c->sessions);
    assert_true(c->family >= c->old); /* a family holds the session's own too */
}

/* ----------------------------------------------------------------------------------------------------- living -- */

typedef struct storm {
    latchkey *handles[HANDLES];
    int64_t idle_ms, lifetime_ms;
    atomic_int made, odd;
} storm;

static unsigned draw(unsigned *seed, unsigned below)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % below;
}

/* What becomes of a session that was just made. */
static int go_on(latchkey *lk, unsigned *seed, uint64_t user, token_text token)
{
    token_text renewed;
    size_t revoked;
    switch (draw(seed, 12)) {
    case 0: return end_session(lk, token);
    case 1: return latchkey_revoke_selector(lk, user, token);
    case 2: return latchkey_rotate(lk, token, LENGTH, 0, renewed);
    case 3:
    case 4: return latchkey_rotate(lk, token, LENGTH, draw(seed, 2) ? 1 : 60000, renewed);
    case 5: return touch(lk, token);
    case 6: return draw(seed, 8) ? LATCHKEY_OK : latchkey_revoke_user(lk, user, NULL, 0, &revoked);
    case 7: /* an old token is used after its grace, or in it */
        latchkey_rotate(lk, token, LENGTH, 1, renewed);
        return touch(lk, token);
    default: return LATCHKEY_OK;
    }
}

static void live(crew_member *member)
{
    storm *s = member->shared;
    latchkey *lk = s->handles[member->index % HANDLES];
    unsigned seed = (unsigned)member->index + 1;
    for (int i = 0; i < ROUNDS; i++) {
        token_text token;
        latchkey_draft draft = {.size = sizeof draft,
                                .user_id = draw(&seed, USERS),
                                .device = draw(&seed, 3),
                                .idle_ms = s->idle_ms,
                                .lifetime_ms = s->lifetime_ms};
        int status = latchkey_create(lk, &draft, token);
        if (status == LATCHKEY_OK) {
            atomic_fetch_add(&s->made, 1);
            status = go_on(lk, &seed, draft.user_id, token);
        }
        if (status < 0) atomic_store(&s->odd, status);
    }
}

static void storm_of(storm *s, int64_t idle_ms, int64_t lifetime_ms)
{
    s->idle_ms = idle_ms;
    s->lifetime_ms = lifetime_ms;
    crew_run(THREADS, live, s);
    if (atomic_load(&s->odd)) fail_msg("%s", latchkey_status_text(atomic_load(&s->odd)));
}

static void open_all(storm *s)
{
    *s = (storm){.made = 0};
    s->handles[0] = handle_open(server, OPTIONS "&max_sessions=9");
    s->handles[1] = handle_open(server, OPTIONS "&max_sessions=12&max_per_device=5");
    s->handles[2] = handle_open(server, OPTIONS "&max_sessions=8&limit=deny");
}

static void test_indexes_are_exact_whatever_ends_sessions(void **state)
{
    (void)state;
    storm s;
    open_all(&s);
    storm_of(&s, LONG, 0);
    census c = take_census();
    assert_true(atomic_load(&s.made) > 1000);
    assert_true(c.sessions > 100 && c.old > 10);
    assert_exact(&c);
    for (uint64_t user = 0; user < USERS; user++) {
        size_t revoked;
        assert_status(s.handles[0], LATCHKEY_OK, latchkey_revoke_user(s.handles[0], user, NULL, 0, &revoked));
    }
    c = take_census();
    assert_int_equal(c.sessions + c.old + c.of_users + c.active + c.family + c.other, 0);
}

/* Dead names stay in the partition's index until a session is made. Every fourth one looks at sixteen, here at eight that live
 * longest and at eight in a place drawn at random: so of D dead, when 2 D others have come, one in fifteen is expected to be left. */
static void test_the_dead_leave_the_indexes_as_others_come(void **state)
{
    (void)state;
    enum { SHORT = 700 };
    storm s;
    open_all(&s);
    latchkey *lk = handle_open(server, OPTIONS);
    token_text token;
    /* One for each partition that holds the index while the others die. */
    for (uint64_t user = 1000; user < 1000 + 8 * PARTITIONS; user++)
        make_session_with(lk, user, LONG, 0, NULL, 0, token);
    storm_of(&s, SHORT, 0);
    census c;
    do c = take_census();
    while (c.sessions > 8 * PARTITIONS);
    size_t dead = c.dead_active;
    assert_true(dead > 0);
    for (size_t i = 0; i < 2 * dead; i++) make_session_with(lk, 2000 + i, LONG, 0, NULL, 0, token);
    c = take_census();
    assert_true(c.dead_active * 4 < dead);
    assert_int_equal(c.sessions, 8 * PARTITIONS + 2 * dead);
    assert_int_equal(c.dead_users, 0); /* users' indexes end with their last session */
    assert_int_equal(c.missing + c.other, 0);
}

static size_t keys_left(const char *kinds)
{
    size_t count, left = 0;
    char **keys = redis_keys(server, "h4:*", &count);
    for (size_t i = 0; i < count; i++) left += strchr(kinds, keys[i][base_of(keys[i])]) != NULL;
    redis_free_keys(keys);
    return left;
}

/* Everything idles out or reaches its absolute expiry: nothing is left of any session. */
static void test_nothing_outlives_the_sessions(void **state)
{
    (void)state;
    enum { MOVED = 100 };
    storm s;
    open_all(&s);
    storm_of(&s, 500, 1500);
    latchkey *lk = handle_open(server, OPTIONS "&foreign_until_ms=9999999999999");
    for (int i = 0; i < MOVED; i++) {
        char foreign[48];
        latchkey_draft draft = {.size = sizeof draft, .user_id = (uint64_t)i, .idle_ms = 300, .lifetime_ms = 1000};
        snprintf(foreign, sizeof foreign, "4f1c7ac6a5f9d07e22c1a1f2b3d4%08d", i);
        assert_status(lk, LATCHKEY_OK, latchkey_import(lk, foreign, strlen(foreign), &draft, 0, 0));
    }
    wait_for(keys_left("suaf") == 0);
    assert_int_equal(keys_left("i"), MOVED); /* that they moved in is remembered until foreign_until_ms */
    assert_int_equal(take_census().other, 0);
    /* The counter, the log and the notes of each partition, what shows an older data set, and the users' generations, which
     * expire by themselves. */
    assert_true(keys_left("qrme") <= 4 * PARTITIONS);
    /* It counts what has expired, too, until that is cleared away. */
    wait_for(redis_integer(server, "DBSIZE") <= 4 * PARTITIONS + 1 + USERS + MOVED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_indexes_are_exact_whatever_ends_sessions),
        TEST(test_the_dead_leave_the_indexes_as_others_come),
        TEST(test_nothing_outlives_the_sessions),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

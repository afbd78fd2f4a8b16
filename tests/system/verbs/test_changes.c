/* SPDX-License-Identifier: MIT
 *
 * What a session may do, changed where it lies: of one session, of all of a user; beside everything else that is done with
 * sessions at the same time.
 */
#include "test_handle.h"
#include "proxy.h"
#include "threads.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USER = 42, LENGTH = LATCHKEY_TOKEN_LENGTH, LONG = 600000, SHORT = 150 };

typedef char token_text[LATCHKEY_TOKEN_SIZE];

static int set_access(latchkey *lk, const char *token, const latchkey_access *access)
{
    return latchkey_set_access(lk, token, LENGTH, access);
}

static int set_role(latchkey *lk, const char *token, const char *role)
{
    const latchkey_access access = {.size = sizeof access, .role = role};
    return set_access(lk, token, &access);
}

static int set_user_role(latchkey *lk, uint64_t user_id, const char *role, size_t *changed)
{
    const latchkey_access access = {.size = sizeof access, .role = role};
    return latchkey_set_user_access(lk, user_id, &access, changed);
}

static void assert_role(latchkey *lk, const char *token, const char *role)
{
    latchkey_entry entry = entry_of(lk, token);
    char is[17] = "";
    memcpy(is, entry.role, 16);
    assert_string_equal(is, role);
}

static void rotated(latchkey *lk, const char *token, int64_t grace_ms, token_text renewed)
{
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token, LENGTH, grace_ms, renewed));
}

static int64_t redis_now_ms(redis *on)
{
    redisReply *reply = redis_command(on, "TIME");
    int64_t ms = atoll(reply->element[0]->str) * 1000 + atoll(reply->element[1]->str) / 1000;
    freeReplyObject(reply);
    return ms;
}

/* ---------------------------------------------------------------------------------------------- one session -- */

static void test_B_C_each_member_changes_alone(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_ttl_ms=600000"), *other = handle_open(server, "l1_ttl_ms=600000");
    const latchkey_field fields[] = {{"pq.k", "key", 3}, {"theme", "dark", 4}};
    latchkey_draft draft = {.size = sizeof draft, .user_id = USER, .role = "member", .flags = 0x0ff0, .device = 7};
    draft.fields = fields;
    draft.field_count = 2;
    memset(draft.permissions_hash, 3, sizeof draft.permissions_hash);
    token_text token;
    uint8_t permissions[32];
    memset(permissions, 9, sizeof permissions);
    const latchkey_access changes[] = {
        {.size = sizeof *changes, .role = "administrator..."}, /* 16 bytes, all there may be */
        {.size = sizeof *changes, .permissions_hash = permissions},
        {.size = sizeof *changes, .flags = 0x8001, .flags_mask = 0x80f1},
        {.size = sizeof *changes, .authenticated = -1},
        {.size = sizeof *changes, .role = ""},
    };
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, token));
    latchkey_entry wanted = entry_of(lk, token);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        warm(lk, token);
        warm(other, token);
        int64_t before_ms = redis_now_ms(server);
        assert_status(lk, LATCHKEY_OK, set_access(lk, token, &changes[i]));
        assert_status(lk, LATCHKEY_AGAIN, try_validate(lk, token)); /* purged before it returned */
        latchkey_entry entry = entry_of(lk, token);
        if (i == 0) memcpy(wanted.role, "administrator...", 16);
        if (i == 1) memcpy(wanted.permissions_hash, permissions, 32);
        if (i == 2) wanted.flags = 0x8f01;
        if (i == 3) {
            assert_true(entry.auth_at_ms >= before_ms && entry.auth_at_ms <= redis_now_ms(server));
            wanted.auth_at_ms = entry.auth_at_ms;
        }
        if (i == 4) memset(wanted.role, 0, 16);
        assert_memory_equal(&entry, &wanted, sizeof entry);
        wait_for(try_validate(other, token) == LATCHKEY_AGAIN);
        entry = entry_of(other, token);
        assert_memory_equal(&entry, &wanted, sizeof entry);
        assert_status(other, LATCHKEY_OK, load(other, token)); /* the key material still fits */
    }
    assert_int_equal(stats_of(lk).reuses, 0);
}

static void test_what_may_not_be_set(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text token;
    uint8_t permissions[32] = {0};
    make_session(lk, USER, token);
    const latchkey_access bad[] = {
        {.size = sizeof *bad},                                    /* nothing */
        {.size = sizeof *bad - 1, .role = "x"},                   /* another version's */
        {.size = sizeof *bad, .role = "seventeen letters"},       /* too long */
        {.size = sizeof *bad, .flags = 1, .flags_mask = 0x10001}, /* ours */
        {.size = sizeof *bad, .flags = 3, .flags_mask = 1},       /* beside the mask */
        {.size = sizeof *bad, .flags = 1, .role = "x"},           /* without one */
        {.role = "x", .permissions_hash = permissions, .flags = 0},
    };
    size_t changed = 7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, set_access(lk, token, &bad[i]));
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_set_user_access(lk, USER, &bad[i], &changed));
        assert_int_equal(changed, 0);
    }
    const latchkey_access good = {.size = sizeof good, .role = "x"};
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, set_access(lk, token, NULL));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, set_access(lk, NULL, &good));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, set_access(NULL, token, &good));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_set_user_access(lk, USER, NULL, NULL));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_set_user_access(NULL, USER, &good, NULL));
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_set_access(lk, token, LENGTH - 1, &good));
    assert_role(lk, token, "member");
}

static void test_D_only_the_living_change(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *tiny = handle_open(server, "l1_capacity=0");
    token_text token, forged;
    char key[128];
    make_session(lk, USER, token);
    memcpy(forged, token, sizeof forged);
    forged[30] = forged[30] == 'A' ? 'B' : 'A';
    assert_status_in(lk, set_role(lk, forged, "thief"), LATCHKEY_MALFORMED, LATCHKEY_NOT_FOUND);
    assert_role(tiny, token, "member");
    session_key(server, token, key);
    redis_do(server, "HSET %s v short", key);
    assert_status(lk, LATCHKEY_CORRUPT, set_role(lk, token, "admin"));
    redis_do(server, "DEL %s", key);
    assert_status(lk, LATCHKEY_NOT_FOUND, set_role(lk, token, "admin"));
    assert_int_equal(redis_integer(server, "EXISTS %s", key), 0);
    redis_do(server, "SET %s text", key);
    assert_status(lk, LATCHKEY_CORRUPT, set_role(lk, token, "admin"));
    redis_do(server, "DEL %s", key);
    make_session(lk, USER, token);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, set_role(lk, token, "admin"));
    assert_status(lk, LATCHKEY_OK, set_user_role(lk, USER, "admin", NULL));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
}

static void test_H_past_its_absolute_expiry_it_is_expired(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text token;
    char key[128];
    make_session_with(lk, USER, 0, 200, NULL, 0, token);
    redis_do(server, "PEXPIRE %s 600000", session_key(server, token, key)); /* somebody stretched it */
    check_outlive(200);
    assert_status(lk, LATCHKEY_EXPIRED, set_role(lk, token, "admin"));
}

/* Old tokens in their grace answer out of records of their own. */
static void test_C_old_tokens_in_their_grace_change_too(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_ttl_ms=600000"), *other = handle_open(server, "l1_ttl_ms=600000");
    token_text token[4];
    const latchkey_field field = {"pq.k", "key", 3};
    make_session_with(lk, USER, 0, 0, &field, 1, token[0]);
    for (int i = 0; i < 3; i++) rotated(lk, token[i], LONG, token[i + 1]);
    for (int i = 0; i < 4; i++) {
        char role[16];
        snprintf(role, sizeof role, "r%d", i);
        for (int j = 0; j < 4; j++) {
            warm(lk, token[j]);
            warm(other, token[j]);
        }
        assert_status(lk, LATCHKEY_OK, set_role(lk, token[i], role)); /* by whichever of them */
        for (int j = 0; j < 4; j++) {
            assert_role(lk, token[j], role);
            wait_for(try_validate(other, token[j]) == LATCHKEY_AGAIN);
            assert_role(other, token[j], role);
        }
    }
    assert_status(lk, LATCHKEY_OK, set_field(lk, token[1], "pq.k", "another"));
    for (int j = 0; j < 4; j++) assert_status(other, LATCHKEY_OK, load(other, token[j]));
    size_t changed;
    assert_status(lk, LATCHKEY_OK, set_user_role(lk, USER, "all", &changed));
    assert_int_equal(changed, 1);
    for (int j = 0; j < 4; j++) assert_role(lk, token[j], "all");
    assert_int_equal(stats_of(lk).reuses, 0);
}

static void test_after_its_grace_it_is_a_theft(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text old, renewed;
    make_session(lk, USER, old);
    rotated(lk, old, SHORT, renewed);
    check_outlive(SHORT);
    assert_status(lk, LATCHKEY_NOT_FOUND, set_role(lk, old, "admin"));
    assert_int_equal(stats_of(lk).reuses, 1);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, renewed));
}

static void test_at_maxmemory_rights_are_taken_away(void **state)
{
    (void)state;
    redis *on = redis_start("--maxmemory-policy", "noeviction");
    latchkey *lk = handle_open(on, "");
    token_text token;
    make_session(lk, USER, token);
    redis_do(on, "CONFIG SET maxmemory 1mb");
    assert_status(lk, LATCHKEY_UNAVAILABLE, set_field(lk, token, "theme", "dark"));
    assert_status(lk, LATCHKEY_OK, set_role(lk, token, "none"));
    assert_role(lk, token, "none");
    assert_status(lk, LATCHKEY_OK, set_user_role(lk, USER, "less", NULL));
    assert_role(lk, token, "less");
    handle_close_all(NULL);
    redis_end(on);
}

static void test_A_without_redis_nothing_is_promised(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "deadline_ms=300");
    token_text token;
    size_t changed = 7;
    make_session(lk, USER, token);
    redis_kill(on);
    assert_status(lk, LATCHKEY_UNAVAILABLE, set_role(lk, token, "admin"));
    assert_status(lk, LATCHKEY_UNAVAILABLE, set_user_role(lk, USER, "admin", &changed));
    assert_int_equal(changed, 0);
    handle_close_all(NULL);
    redis_end(on);
}

/* B is not told: it finds out by the numbers, within the bound. */
static void test_C_a_lost_message_of_a_change_is_found(void **state)
{
    (void)state;
    proxy *wire = proxy_start(server->port);
    latchkey *lk = handle_open(server, "partitions=1&prefix=p1&l1_ttl_ms=600000"),
             *other = handle_open_at(proxy_port(wire), "partitions=1&prefix=p1&l1_ttl_ms=600000&staleness_ms=2000");
    token_text token;
    make_session(lk, USER, token);
    warm(other, token);
    proxy_set(wire, PROXY_DROP_ONE, "p1:{0}:rev", 10);
    assert_status(lk, LATCHKEY_OK, set_role(lk, token, "less"));
    int64_t ok_ms = check_now_ms(), started_ms;
    latchkey_entry entry;
    do {
        started_ms = check_now_ms();
        int status = latchkey_validate(other, token, LENGTH, &entry);
        assert_status_in(other, status, LATCHKEY_OK, LATCHKEY_UNAVAILABLE);
        if (status == LATCHKEY_OK && started_ms > ok_ms + 2000 + 10) assert_memory_equal(entry.role, "less", 5);
    } while (strcmp(entry.role, "less") || started_ms <= ok_ms + 2000 + 10);
    assert_true(stats_of(other).missed > 0);
    handle_close_all(NULL);
    proxy_end(wire);
}

/* ------------------------------------------------------------------------------------------------- all of a user -- */

static void test_all_of_a_users_and_nobody_elses(void **state)
{
    (void)state;
    enum { SESSIONS = 250 };
    static token_text token[SESSIONS];
    latchkey *lk = handle_open(server, "l1_ttl_ms=600000"), *other = handle_open(server, "l1_ttl_ms=600000");
    token_text bystander;
    size_t changed;
    for (int i = 0; i < SESSIONS; i++) make_session(lk, USER, token[i]);
    make_session(lk, USER + 64, bystander);
    for (int i = 0; i < SESSIONS; i++) warm(other, token[i]);
    warm(other, bystander);
    assert_status(lk, LATCHKEY_OK, set_user_role(lk, USER, "auditor", &changed));
    assert_int_equal(changed, SESSIONS);
    for (int i = 0; i < SESSIONS; i++) {
        assert_role(lk, token[i], "auditor");
        wait_for(try_validate(other, token[i]) == LATCHKEY_AGAIN);
        assert_role(other, token[i], "auditor");
    }
    assert_status(other, LATCHKEY_OK, try_validate(other, bystander));
    assert_status(lk, LATCHKEY_OK, set_user_role(lk, USER, "auditor", &changed)); /* so already */
    assert_int_equal(changed, 0);
    assert_status(other, LATCHKEY_OK, try_validate(other, token[0]));
    assert_status(lk, LATCHKEY_OK, set_user_role(lk, USER + 1, "auditor", &changed)); /* has none */
    assert_int_equal(changed, 0);
}

/* More than one script looks at. */
static void test_thousands_of_one_user(void **state)
{
    (void)state;
    enum { SESSIONS = 2300 };
    static token_text token[SESSIONS];
    latchkey *lk = handle_open(server, "deadline_ms=60000");
    size_t changed;
    for (int i = 0; i < SESSIONS; i++) make_session(lk, USER, token[i]);
    assert_status(lk, LATCHKEY_OK, set_user_role(lk, USER, "less", &changed));
    assert_int_equal(changed, SESSIONS);
    for (int i = 0; i < SESSIONS; i++) assert_role(lk, token[i], "less");
}

/* Many that end in the same millisecond: a page of the index that begins as it ends. */
static void test_more_at_one_moment_than_one_script_looks_at(void **state)
{
    (void)state;
    enum { SESSIONS = 1300 };
    static token_text token[SESSIONS];
    latchkey *lk = handle_open(server, "deadline_ms=60000&partitions=1&prefix=p1");
    for (int i = 0; i < SESSIONS; i++) make_session(lk, USER, token[i]);
    int64_t end_ms = redis_now_ms(server) + 1000000;
    for (int i = 0; i < 1100; i++)
        redis_do(server, "ZADD p1:{0}:u:42 %lld %b", (long long)end_ms, token[i], (size_t)LATCHKEY_SELECTOR_LENGTH);
    size_t changed;
    assert_status(lk, LATCHKEY_OK, set_user_role(lk, USER, "less", &changed));
    assert_int_equal(changed, SESSIONS);
    assert_status(lk, LATCHKEY_OK, set_user_role(lk, USER, "less", &changed));
    assert_int_equal(changed, 0);
}

static void test_a_damaged_session_keeps_the_others_from_nothing(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text token[4], renewed;
    char key[128];
    size_t changed;
    for (int i = 0; i < 4; i++) make_session(lk, USER, token[i]);
    rotated(lk, token[0], LONG, renewed);
    session_key(server, token[1], key);
    redis_do(server, "HSET %s v damaged", key);
    assert_status(lk, LATCHKEY_CORRUPT, set_user_role(lk, USER, "less", &changed));
    assert_int_equal(changed, 3);
    redis_do(server, "DEL %s", key);
    redis_do(server, "SET %s text", key);
    assert_status(lk, LATCHKEY_CORRUPT, set_user_role(lk, USER, "less", &changed));
    assert_int_equal(changed, 0);
    redis_do(server, "DEL %s", key); /* lost */
    /* The old token's record alone: its session changes all the same. */
    redis_do(server, "EVAL %s 1 %s",
             "local v = redis.call('HGET', KEYS[1], 'v') redis.call('HSET', KEYS[1], 'v', "
             "string.sub(v, 1, 4) .. 'xxxx' .. string.sub(v, 9))",
             session_key(server, token[0], key));
    assert_status(lk, LATCHKEY_CORRUPT, set_user_role(lk, USER, "least", &changed));
    assert_int_equal(changed, 3);
    assert_role(lk, renewed, "least");
    assert_role(lk, token[2], "least");
    redis_do(server, "DEL %s", session_key(server, token[0], key));
    assert_status(lk, LATCHKEY_OK, set_user_role(lk, USER, "none", &changed));
    assert_int_equal(changed, 3);
    token_text foreign; /* another user's session in this user's list */
    make_session(lk, USER + 1, foreign);
    char list[64];
    snprintf(list, sizeof list, "lk:{%u}:u:42", token_partition(renewed));
    if (token_partition(foreign) == token_partition(renewed)) {
        redis_do(server, "ZADD %s 9999999999999 %b", list, foreign, (size_t)LATCHKEY_SELECTOR_LENGTH);
        assert_status(lk, LATCHKEY_CORRUPT, set_user_role(lk, USER, "some", &changed));
        assert_role(lk, foreign, "member");
    }
    redis_do(server, "DEL %s", list);
    redis_do(server, "SET %s text", list);
    assert_status(lk, LATCHKEY_CORRUPT, set_user_role(lk, USER, "some", &changed));
}

/* ---------------------------------------------------------------------------------------------------------- races -- */

enum { INSTANCES = 3, ROUNDS = 4, BOUND_MS = 500, TICK_MS = 10 };

typedef struct stage {
    latchkey *handle[INSTANCES]; /* the first one changes */
    token_text token;
    atomic_int confirmed;         /* the last role that was OK */
    _Atomic int64_t since_ms[64]; /* when it was */
    atomic_int wrong, odd;
    atomic_llong validated;
} stage;

/* What was confirmed here before this validate started, or elsewhere longer ago than the bound, is the least it may say. */
static void watch_role(crew_member *member)
{
    stage *s = member->shared;
    latchkey *lk = s->handle[member->index % INSTANCES];
    bool here = member->index % INSTANCES == 0;
    while (!crew_stopped(member)) {
        int least = atomic_load(&s->confirmed);
        int64_t now_ms = check_now_ms();
        while (!here && least && atomic_load(&s->since_ms[least]) + BOUND_MS + TICK_MS >= now_ms) least--;
        latchkey_entry entry;
        int status = latchkey_validate(lk, s->token, LENGTH, &entry);
        if (status == LATCHKEY_OK) {
            char role[17] = "";
            memcpy(role, entry.role, 16);
            if (atoi(role) < least) atomic_fetch_add(&s->wrong, 1);
            atomic_fetch_add(&s->validated, 1);
        } else if (status != LATCHKEY_UNAVAILABLE) atomic_fetch_add(&s->odd, 1);
    }
}

/* Some in quick succession, then a rest that is longer than the bound, so that it is judged as well. */
static void test_B_C_nobody_sees_the_old_role_past_the_bound(void **state)
{
    (void)state;
    static stage s;
    memset(&s, 0, sizeof s);
    for (int i = 0; i < INSTANCES; i++) s.handle[i] = handle_open(server, "staleness_ms=500&l1_ttl_ms=600000");
    latchkey_draft draft = {.size = sizeof draft, .user_id = USER, .role = "0"};
    assert_status(s.handle[0], LATCHKEY_OK, latchkey_create(s.handle[0], &draft, s.token));
    crew *all = crew_start(2 * INSTANCES, watch_role, &s);
    int number = 0, failed = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 12; i++) {
            char role[16];
            snprintf(role, sizeof role, "%d", number + 1);
            int status = i % 3 ? set_role(s.handle[0], s.token, role) : set_user_role(s.handle[0], USER, role, NULL);
            if (status) {
                failed++;
                continue;
            }
            number++;
            atomic_store(&s.since_ms[number], check_now_ms());
            atomic_store(&s.confirmed, number);
        }
        check_outlive(BOUND_MS + TICK_MS);
    }
    crew_stop(all);
    crew_join(all);
    assert_int_equal(failed, 0);
    assert_int_equal(atomic_load(&s.wrong), 0);
    assert_int_equal(atomic_load(&s.odd), 0);
    assert_true(atomic_load(&s.validated) > 1000);
}

/* Each worker changes what is its own, of one session, by any token: no change is lost. */
enum { WORKERS = 4, CHANGES = 100 };

typedef struct mixture {
    latchkey *handle[WORKERS];
    token_text token[WORKERS * CHANGES + 1]; /* of the one that exchanges */
    atomic_int tokens, failures;
} mixture;

static void mix(crew_member *member)
{
    mixture *m = member->shared;
    latchkey *lk = m->handle[member->index];
    for (int i = 1; i <= CHANGES; i++) {
        const char *token = m->token[atomic_load(&m->tokens)];
        char text[16];
        uint8_t permissions[32];
        snprintf(text, sizeof text, "%d", i);
        memset(permissions, i, sizeof permissions);
        const latchkey_access flags = {.size = sizeof flags, .flags = (uint32_t)i, .flags_mask = 0xff};
        const latchkey_access rights = {.size = sizeof rights, .permissions_hash = permissions};
        int status, now = atomic_load(&m->tokens);
        switch (member->index) {
        case 0: status = set_role(lk, token, text); break;
        case 1: status = set_field(lk, token, i % 2 ? "pq.a" : "pq.b", text); break;
        case 2:
            status = i % 2 ? set_access(lk, token, &flags) : latchkey_set_user_access(lk, USER, &rights, NULL);
            break;
        default:
            status = i % 10 ? touch(lk, token) : latchkey_rotate(lk, token, LENGTH, LONG, m->token[now + 1]);
            if (!status && i % 10 == 0) atomic_store(&m->tokens, now + 1);
        }
        if (status) atomic_fetch_add(&m->failures, 1);
    }
}

static void test_D_concurrent_changes_of_a_record_lose_nothing(void **state)
{
    (void)state;
    static mixture m;
    memset(&m, 0, sizeof m);
    for (int i = 0; i < WORKERS; i++) m.handle[i] = handle_open(server, "deadline_ms=60000");
    make_session(m.handle[0], USER, m.token[0]);
    crew_run(WORKERS, mix, &m);
    assert_int_equal(atomic_load(&m.failures), 0);
    uint8_t permissions[32];
    memset(permissions, CHANGES, sizeof permissions);
    latchkey *fresh = handle_open(server, "");
    for (int i = 0; i <= atomic_load(&m.tokens); i++) { /* all of them in their grace, but the last */
        latchkey_entry entry = entry_of(fresh, m.token[i]);
        assert_string_equal(entry.role, "100");
        assert_int_equal(entry.flags & 0xff, CHANGES - 1);
        assert_memory_equal(entry.permissions_hash, permissions, 32);
        latchkey_record *record;
        assert_status(fresh, LATCHKEY_OK, latchkey_load(fresh, m.token[i], LENGTH, &record));
        size_t size;
        assert_memory_equal(latchkey_record_field(record, "pq.a", &size), "99", 2);
        assert_memory_equal(latchkey_record_field(record, "pq.b", &size), "100", 3);
        latchkey_record_free(record);
    }
    assert_int_equal(stats_of(fresh).corrupt, 0);
}

/* Sessions are made, exchanged and ended while all of the user's are changed: what was there when it began is changed when it
 * says so, and nothing that has ended comes back. */
typedef struct traffic {
    latchkey *handle[3];
    atomic_int wrong, rounds;
} traffic;

static void come_and_go(crew_member *member)
{
    traffic *t = member->shared;
    latchkey *lk = t->handle[member->index];
    while (!crew_stopped(member)) {
        token_text token, renewed;
        latchkey_draft draft = {.size = sizeof draft, .user_id = USER, .role = "r"};
        if (latchkey_create(lk, &draft, token)) continue;
        int64_t grace_ms = member->index == 1 ? LONG : 0;
        int rotation = latchkey_rotate(lk, token, LENGTH, grace_ms, renewed);
        if (rotation || latchkey_revoke(lk, renewed, LENGTH)) atomic_fetch_add(&t->wrong, 1);
        else if (validate(lk, token) != LATCHKEY_NOT_FOUND || validate(lk, renewed) != LATCHKEY_NOT_FOUND)
            atomic_fetch_add(&t->wrong, 1);
        atomic_fetch_add(&t->rounds, 1);
    }
}

static void test_D_changing_all_beside_logins_exchanges_and_ends(void **state)
{
    (void)state;
    enum { STAY = 20, TIMES = 60 };
    static token_text stay[STAY];
    traffic t = {0};
    for (int i = 0; i < 3; i++) t.handle[i] = handle_open(server, "deadline_ms=60000");
    for (int i = 0; i < STAY; i++) make_session(t.handle[0], USER, stay[i]);
    crew *all = crew_start(2, come_and_go, &t);
    for (int i = 0; i < TIMES; i++) {
        char role[24];
        snprintf(role, sizeof role, "role %d", i);
        int status = set_user_role(t.handle[2], USER, role, NULL);
        if (status) crew_stop(all);
        assert_status(t.handle[2], LATCHKEY_OK, status);
        for (int j = 0; j < STAY; j++) assert_role(t.handle[2], stay[j], role);
    }
    crew_stop(all);
    crew_join(all);
    assert_int_equal(atomic_load(&t.wrong), 0);
    assert_true(atomic_load(&t.rounds) > 10);
    size_t total;
    assert_status(t.handle[0], LATCHKEY_OK, latchkey_sessions(t.handle[0], USER, NULL, 0, NULL, 0, &total));
    assert_int_equal(total, STAY);
    assert_int_equal(redis_count_keys(server, "lk:*:s:*"), STAY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_B_C_each_member_changes_alone),
        TEST(test_what_may_not_be_set),
        TEST(test_D_only_the_living_change),
        TEST(test_H_past_its_absolute_expiry_it_is_expired),
        TEST(test_C_old_tokens_in_their_grace_change_too),
        TEST(test_after_its_grace_it_is_a_theft),
        TEST(test_at_maxmemory_rights_are_taken_away),
        TEST(test_A_without_redis_nothing_is_promised),
        TEST(test_C_a_lost_message_of_a_change_is_found),
        TEST(test_all_of_a_users_and_nobody_elses),
        TEST(test_thousands_of_one_user),
        TEST(test_more_at_one_moment_than_one_script_looks_at),
        TEST(test_a_damaged_session_keeps_the_others_from_nothing),
        TEST(test_B_C_nobody_sees_the_old_role_past_the_bound),
        TEST(test_D_concurrent_changes_of_a_record_lose_nothing),
        TEST(test_D_changing_all_beside_logins_exchanges_and_ends),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

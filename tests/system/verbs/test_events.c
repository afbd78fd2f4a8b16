/* SPDX-License-Identifier: MIT
 *
 * The audit trail, events=1: each fact once, by the instance that brought it about, when Redis had confirmed it; and the
 * events of all instances together are what happened.
 */
#include "test_handle.h"
#include "threads.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = LATCHKEY_TOKEN_LENGTH, SELECTOR = LATCHKEY_SELECTOR_LENGTH, USER = 42, LINES = 60000, LINE = 160 };

typedef char token_text[LATCHKEY_TOKEN_SIZE];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char line[LINES][LINE];
static size_t lines;

static void keep(void *context, int level, const char *text)
{
    (void)context;
    if (strncmp(text, "event: ", 7) || level != LATCHKEY_LOG_INFO) return;
    pthread_mutex_lock(&lock);
    if (lines < LINES) snprintf(line[lines++], LINE, "%s", text + 7);
    pthread_mutex_unlock(&lock);
}

static void forget_lines(void)
{
    pthread_mutex_lock(&lock);
    lines = 0;
    pthread_mutex_unlock(&lock);
}

static size_t said(void)
{
    pthread_mutex_lock(&lock);
    size_t count = lines;
    pthread_mutex_unlock(&lock);
    return count;
}

/* The newest line, and there is just one since the last call. */
#define ASSERT_SAID(...)                                                                                               \
    do {                                                                                                               \
        char wanted_[LINE];                                                                                            \
        snprintf(wanted_, sizeof wanted_, __VA_ARGS__);                                                                \
        wait_for(said() >= 1);                                                                                         \
        assert_string_equal(line[0], wanted_);                                                                         \
        assert_int_equal(said(), 1);                                                                                   \
        forget_lines();                                                                                                \
    } while (0)

static int begin(void **state)
{
    forget_lines();
    latchkey_set_log(keep, NULL);
    return server_clean(state);
}

static int finish(void **state)
{
    int failed = handle_close_all(state);
    latchkey_set_log(NULL, NULL);
    return failed;
}
#define EVENT_TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)

static int rotate(latchkey *lk, const char *token, int64_t grace_ms, token_text renewed)
{
    return latchkey_rotate(lk, token, LENGTH, grace_ms, renewed);
}

/* --------------------------------------------------------------------------------------------- fact by fact -- */

static void test_each_fact_is_one_line(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "events=1"), *silent = handle_open(server, "");
    token_text one, two, three;
    latchkey_draft draft = {.size = sizeof draft, .user_id = UINT64_MAX, .device = 3};
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, one));
    ASSERT_SAID("created selector=%.20s user=18446744073709551615 device=3", one);
    assert_status(lk, LATCHKEY_OK, set_field(lk, one, "theme", "dark"));
    assert_int_equal(said(), 0); /* no key material */
    assert_status(lk, LATCHKEY_OK, set_field(lk, one, "pq.k", "key"));
    ASSERT_SAID("changed selector=%.20s what=keys", one);
    assert_status(lk, LATCHKEY_OK, rotate(lk, one, 600000, two));
    ASSERT_SAID("rotated selector=%.20s new=%.20s user=18446744073709551615 grace_ms=600000", one, two);
    assert_status(lk, LATCHKEY_REFUSED, rotate(lk, one, 600000, three));
    assert_status(lk, LATCHKEY_OK, set_field(lk, one, "pq.k", "other")); /* by the old token, in its grace */
    ASSERT_SAID("changed selector=%.20s what=keys", two);
    assert_status(lk, LATCHKEY_OK, end_session(lk, one)); /* the session's end, by the name that it has */
    ASSERT_SAID("revoked selector=%.20s user=18446744073709551615 by=token", two);
    assert_status(lk, LATCHKEY_NOT_FOUND, end_session(lk, two));
    assert_status(lk, LATCHKEY_NOT_FOUND, end_session(lk, one));
    make_session(silent, USER, one);
    assert_int_equal(said(), 0);
    assert_status(lk, LATCHKEY_OK, rotate(lk, one, 0, two));
    ASSERT_SAID("rotated selector=%.20s new=%.20s user=42 grace_ms=0", one, two);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_selector(lk, USER, two));
    ASSERT_SAID("revoked selector=%.20s user=42 by=selector", two);
    assert_status(lk, LATCHKEY_NOT_FOUND, latchkey_revoke_selector(lk, USER, two));
    assert_status(lk, LATCHKEY_OK, validate(lk, two) ? LATCHKEY_OK : LATCHKEY_CORRUPT);
    make_session(silent, USER, one);
    assert_status(silent, LATCHKEY_OK, end_session(silent, one));
    assert_int_equal(said(), 0);
}

static void test_a_session_that_moves_in_is_told_once(void **state)
{
    (void)state;
    static const char foreign[] = "4f1c7ac6a5f9d07e22c1a1f2b3d4e5f6";
    latchkey *lk = handle_open(server, "events=1&foreign_until_ms=9999999999999");
    latchkey_draft draft = {.size = sizeof draft, .user_id = USER, .device = 2};
    assert_status(lk, LATCHKEY_OK, latchkey_import(lk, foreign, sizeof foreign - 1, &draft, 0, 0));
    assert_int_equal(said(), 1);
    assert_memory_equal(line[0], "imported selector=", 18);
    assert_string_equal(line[0] + 18 + SELECTOR, " user=42 device=2");
    assert_status(lk, LATCHKEY_REFUSED, latchkey_import(lk, foreign, sizeof foreign - 1, &draft, 0, 0));
    assert_int_equal(said(), 1);
    char own[SELECTOR + 1];
    snprintf(own, sizeof own, "%.20s", line[0] + 18);
    forget_lines();
    assert_status(lk, LATCHKEY_OK, latchkey_revoke(lk, foreign, sizeof foreign - 1));
    ASSERT_SAID("revoked selector=%.20s user=42 by=token", own);
}

static void test_changes_of_access_and_the_end_of_everyone(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "events=1"), *silent = handle_open(server, "");
    token_text one, two;
    const latchkey_access admin = {.size = sizeof admin, .role = "admin"},
                          guest = {.size = sizeof guest, .role = "guest"};
    size_t changed;
    make_session(silent, USER, one);
    make_session(silent, USER, two);
    assert_status(lk, LATCHKEY_OK, latchkey_set_access(lk, one, LENGTH, &admin));
    ASSERT_SAID("changed selector=%.20s what=access", one);
    assert_status(lk, LATCHKEY_OK, latchkey_set_user_access(lk, USER, &admin, &changed)); /* one is so already */
    ASSERT_SAID("changed selector=%.20s what=access", two);
    assert_status(lk, LATCHKEY_OK, latchkey_set_user_access(lk, USER, &guest, &changed));
    assert_int_equal(said(), 2);
    forget_lines();
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    ASSERT_SAID("revoked selector=* user=* by=everyone");
}

static void test_ends_of_many_are_a_line_each(void **state)
{
    (void)state;
    enum { MANY = 250 };
    latchkey *lk = handle_open(server, "events=1"), *silent = handle_open(server, "");
    token_text token, renewed;
    size_t revoked;
    for (int i = 0; i < MANY; i++) make_session(silent, USER, token);
    for (int i = 0; i < 5; i++) { /* with old tokens: they ended when they were exchanged */
        assert_status(silent, LATCHKEY_OK, rotate(silent, token, 600000, renewed));
        memcpy(token, renewed, sizeof token);
    }
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, USER, token, LENGTH, &revoked));
    assert_int_equal(revoked, MANY - 1);
    assert_int_equal(said(), MANY - 1);
    for (size_t i = 0; i < said(); i++) {
        assert_memory_equal(line[i], "revoked selector=", 17);
        assert_string_equal(line[i] + 17 + SELECTOR, " user=42 by=user");
        assert_int_not_equal(memcmp(line[i] + 17, token, SELECTOR), 0);
        for (size_t k = 0; k < i; k++) assert_string_not_equal(line[i], line[k]);
    }
    forget_lines();
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, USER, NULL, 0, &revoked));
    ASSERT_SAID("revoked selector=%.20s user=42 by=user", token);
}

static void test_limits_and_generations(void **state)
{
    (void)state;
    latchkey *deny = handle_open(server, "events=1&max_sessions=2&limit=deny"),
             *evict = handle_open(server, "events=1&max_sessions=2&max_per_device=1");
    token_text one, two, three;
    latchkey_draft draft = {.size = sizeof draft, .user_id = USER};
    make_session_with(deny, USER, 100000, 0, NULL, 0, one);
    draft.device = 1;
    assert_status(deny, LATCHKEY_OK, latchkey_create(deny, &draft, two));
    forget_lines();
    assert_status(deny, LATCHKEY_LIMIT, latchkey_create(deny, &draft, three));
    ASSERT_SAID("refused user=42 why=limit");
    draft.generation = 9;
    assert_status(deny, LATCHKEY_REFUSED, latchkey_create(deny, &draft, three));
    ASSERT_SAID("refused user=42 why=generation");
    draft.generation = 0;
    draft.device = 2;
    assert_status(evict, LATCHKEY_OK, latchkey_create(evict, &draft, three)); /* one is nearest its end */
    assert_int_equal(said(), 2);
    char wanted[LINE];
    snprintf(wanted, sizeof wanted, "revoked selector=%.20s user=42 by=limit", one);
    assert_string_equal(line[0], wanted);
    snprintf(wanted, sizeof wanted, "created selector=%.20s user=42 device=2", three);
    assert_string_equal(line[1], wanted);
    forget_lines();
    draft.device = 1; /* of that class two goes */
    assert_status(evict, LATCHKEY_OK, latchkey_create(evict, &draft, one));
    snprintf(wanted, sizeof wanted, "revoked selector=%.20s user=42 by=limit", two);
    assert_string_equal(line[0], wanted);
}

/* By each verb that may be shown it, by one that waits and by an event loop. */
static void test_reuse_is_told_with_the_end_that_it_brought(void **state)
{
    (void)state;
    enum { GRACE = 50, VERBS = 5 };
    latchkey *silent = handle_open(server, ""), *lk = handle_open(server, "events=1");
    for (int verb = 0; verb < VERBS; verb++) {
        token_text old, renewed, none;
        char wanted[LINE];
        latchkey_answer answer;
        make_session(silent, USER, old);
        assert_status(silent, LATCHKEY_OK, rotate(silent, old, GRACE, renewed));
        check_outlive(GRACE);
        if (verb == 0) assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, old));
        if (verb == 1) assert_status(lk, LATCHKEY_NOT_FOUND, touch(lk, old));
        if (verb == 2) assert_status(lk, LATCHKEY_NOT_FOUND, load(lk, old));
        if (verb == 3) assert_status(lk, LATCHKEY_NOT_FOUND, rotate(lk, old, 0, none));
        if (verb == 4) {
            assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, old, LENGTH, 1));
            wait_for(latchkey_reap(lk, &answer, 1) == 1);
            assert_status(lk, LATCHKEY_NOT_FOUND, answer.status);
        }
        wait_for(said() == 2);
        snprintf(wanted, sizeof wanted, "reuse selector=%.20s user=42", old);
        assert_string_equal(line[0], wanted);
        snprintf(wanted, sizeof wanted, "revoked selector=%.20s user=42 by=reuse", renewed);
        assert_string_equal(line[1], wanted);
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, renewed));
        assert_status(lk, LATCHKEY_NOT_FOUND, touch(lk, old));
        assert_int_equal(said(), 2);
        forget_lines();
    }
}

/* ------------------------------------------------------------------------------------------------- confirmed -- */

/* Redis stands still: the first call's command reaches it, and its answer is lost. */
static void test_a_revocation_whose_answer_was_lost_is_told_once(void **state)
{
    (void)state;
    enum { SESSIONS = 20 };
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "events=1&deadline_ms=300&staleness_ms=2000");
    static token_text token[SESSIONS];
    for (int i = 0; i < SESSIONS; i++) make_session(lk, USER, token[i]);
    forget_lines();
    redis_freeze(on);
    for (int i = 0; i < SESSIONS; i++) assert_status(lk, LATCHKEY_PENDING, end_session(lk, token[i]));
    assert_int_equal(said(), 0);
    redis_thaw(on);
    wait_for(stats_of(lk).pending == 0);
    for (int i = 0; i < SESSIONS; i++) {
        int found = 0;
        char wanted[LINE];
        snprintf(wanted, sizeof wanted, "revoked selector=%.20s user=42 by=token", token[i]);
        for (size_t k = 0; k < said(); k++) found += strcmp(line[k], wanted) == 0;
        assert_int_equal(found, 1);
    }
    assert_int_equal(said(), SESSIONS);
    handle_close(lk);
    redis_end(on);
}

static void test_without_its_replica_a_revocation_is_no_event_yet(void **state)
{
    (void)state;
    char port[16];
    redis *primary = redis_start(NULL);
    snprintf(port, sizeof port, "%d", primary->port);
    redis *replica = redis_start("--replicaof", "127.0.0.1", port);
    wait_for(redis_info(primary, "replication", "connected_slaves") == 1);
    latchkey *lk = handle_open(primary, "events=1&durability=1&deadline_ms=1000&staleness_ms=2000");
    token_text token, other;
    latchkey_draft draft = {.size = sizeof draft, .user_id = USER};
    while (latchkey_create(lk, &draft, token)) check_pause();
    wait_for(said() >= 1);
    wait_for(stats_of(lk).pending == 0);
    forget_lines();
    redis_freeze(replica);
    int status;
    while ((status = end_session(lk, token)) == LATCHKEY_UNAVAILABLE) check_pause();
    assert_status(lk, LATCHKEY_PENDING, status);
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_create(lk, &draft, other)); /* and its end is none either */
    assert_int_equal(said(), 0);
    redis_thaw(replica);
    wait_for(stats_of(lk).pending == 0);
    ASSERT_SAID("revoked selector=%.20s user=42 by=token", token);
    handle_close(lk);
    redis_end(replica);
    redis_end(primary);
}

/* ---------------------------------------------------------------------------------------------- all together -- */

enum { HANDLES = 4, THREADS = 8, ROUNDS = 1500, POOL = 96, USERS = 6 };

typedef struct storm {
    latchkey *handles[HANDLES];
    pthread_mutex_t lock;
    token_text pool[POOL]; /* guarded by lock: tokens, live and dead, that all threads use */
    atomic_int created, denied, refused, rotated, odd;
} storm;

static unsigned draw(unsigned *seed, unsigned below)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % below;
}

static void put(storm *s, unsigned at, const char *token)
{
    pthread_mutex_lock(&s->lock);
    memcpy(s->pool[at], token, LATCHKEY_TOKEN_SIZE);
    pthread_mutex_unlock(&s->lock);
}

static void get(storm *s, unsigned at, token_text token)
{
    pthread_mutex_lock(&s->lock);
    memcpy(token, s->pool[at], LATCHKEY_TOKEN_SIZE);
    pthread_mutex_unlock(&s->lock);
}

static void log_in(storm *s, latchkey *lk, unsigned *seed)
{
    token_text token;
    latchkey_draft draft = {.size = sizeof draft, .user_id = draw(seed, USERS), .device = draw(seed, 3)};
    if (draw(seed, 20) == 0) draft.generation = 1000000; /* no user's */
    int status = latchkey_create(lk, &draft, token);
    if (status == LATCHKEY_OK) atomic_fetch_add(&s->created, 1);
    else if (status > 0) atomic_fetch_add(status == LATCHKEY_LIMIT ? &s->denied : &s->refused, 1);
    else atomic_store(&s->odd, status);
    if (!status) put(s, draw(seed, POOL), token);
}

static void use(storm *s, latchkey *lk, unsigned *seed)
{
    token_text token, renewed;
    int status = LATCHKEY_OK;
    unsigned what = draw(seed, 10);
    get(s, draw(seed, POOL), token);
    if (!*token) return;
    if (what < 5) {
        status = rotate(lk, token, what < 2 ? 0 : what < 4 ? 20 : 60000, renewed);
        if (!status) atomic_fetch_add(&s->rotated, 1);
        if (!status) put(s, draw(seed, POOL), renewed);
    } else if (what < 8) status = end_session(lk, token);
    else if (what < 9) validate(lk, token); /* UNAVAILABLE, where a grace ends meanwhile */
    else status = latchkey_revoke_selector(lk, draw(seed, USERS), token);
    if (status < 0) atomic_store(&s->odd, status);
}

static void live(crew_member *member)
{
    storm *s = member->shared;
    latchkey *lk = s->handles[member->index % HANDLES];
    unsigned seed = (unsigned)member->index + 1;
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 200 == 199) {
            size_t revoked;
            int status = latchkey_revoke_user(lk, draw(&seed, USERS), NULL, 0, &revoked);
            if (status) atomic_store(&s->odd, status);
        } else if (draw(&seed, 2)) log_in(s, lk, &seed);
        else use(s, lk, &seed);
    }
}

/* Every selector that ever was, from the events. */
typedef struct fate {
    char selector[SELECTOR + 1];
    int began, ended;
} fate;

static int by_selector(const void *a, const void *b) { return strcmp(a, b); }

static fate *fate_of(fate *fates, size_t count, const char *selector)
{
    char key[SELECTOR + 1];
    snprintf(key, sizeof key, "%.20s", selector);
    return bsearch(key, fates, count, sizeof *fates, by_selector);
}

static size_t names_in(fate *fates)
{
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < lines; i++) {
        const char *at = strstr(line[i], "selector="), *new = strstr(line[i], " new=");
        if (at) snprintf(fates[count++].selector, SELECTOR + 1, "%.20s", at + 9);
        if (new) snprintf(fates[count++].selector, SELECTOR + 1, "%.20s", new + 5);
    }
    qsort(fates, count, sizeof *fates, by_selector);
    for (size_t i = 0; i < count; i++)
        if (!kept || strcmp(fates[i].selector, fates[kept - 1].selector)) fates[kept++] = fates[i];
    return kept;
}

/* Reads the trail; what it says of each selector must be possible. Returns how many there are. */
static size_t read_trail(fate *fates, size_t tally[5])
{
    static const char *const verbs[5] = {"created ", "rotated ", "revoked ", "refused ", "reuse "};
    size_t count = names_in(fates);
    memset(tally, 0, 5 * sizeof *tally);
    for (size_t i = 0; i < lines; i++) {
        const char *at = strstr(line[i], "selector="), *new = strstr(line[i], " new=");
        int verb = 0;
        while (verb < 5 && strncmp(line[i], verbs[verb], strlen(verbs[verb]))) verb++;
        if (verb == 5) fail_msg("no event: %s", line[i]);
        tally[verb]++;
        fate *f = at ? fate_of(fates, count, at + 9) : NULL;
        if (verb == 0) f->began++;
        if (verb == 1 || verb == 2) f->ended++;
        if (new) fate_of(fates, count, new + 5)->began++;
    }
    return count;
}

/* Is the session there, under this name: not as what an old token left? */
static bool lives(const char *selector)
{
    size_t keys;
    char pattern[64];
    snprintf(pattern, sizeof pattern, "lk:*:s:%.20s", selector);
    char **found = redis_keys(server, pattern, &keys);
    bool so = keys == 1 && redis_integer(server, "HEXISTS %s x", found[0]) == 1;
    redis_free_keys(found);
    return so;
}

static void test_the_events_of_all_instances_are_what_happened(void **state)
{
    (void)state;
    static storm s;
    static fate fates[2 * LINES];
    size_t tally[5], living = 0, keys, sessions = 0;
    memset(&s, 0, sizeof s);
    pthread_mutex_init(&s.lock, NULL);
    for (int i = 0; i < HANDLES; i++)
        s.handles[i] = handle_open(server, i % 2 ? "events=1&max_sessions=12&max_per_device=5"
                                                 : "events=1&max_sessions=14&limit=deny");
    crew_run(THREADS, live, &s);
    for (int i = 0; i < HANDLES; i++) handle_close(s.handles[i]); /* what the links were about is done, or is not */
    if (atomic_load(&s.odd)) fail_msg("%s", latchkey_status_text(atomic_load(&s.odd)));
    assert_true(said() < LINES);
    size_t count = read_trail(fates, tally);
    assert_int_equal(tally[0], atomic_load(&s.created));
    assert_int_equal(tally[1], atomic_load(&s.rotated));
    assert_int_equal(tally[3], atomic_load(&s.denied) + atomic_load(&s.refused));
    if (tally[0] < 1000 || tally[1] < 100 || tally[2] < 500 || tally[3] < 10)
        fail_msg("too little happened: %zu %zu %zu %zu %zu", tally[0], tally[1], tally[2], tally[3], tally[4]);
    for (size_t i = 0; i < count; i++) {
        if (fates[i].began != 1 || fates[i].ended > 1)
            fail_msg("%s began %d times and ended %d times", fates[i].selector, fates[i].began, fates[i].ended);
        living += !fates[i].ended;
        if (lives(fates[i].selector) != !fates[i].ended) fail_msg("%s lives, or does not", fates[i].selector);
    }
    char **found = redis_keys(server, "lk:*:s:*", &keys);
    for (size_t i = 0; i < keys; i++) sessions += redis_integer(server, "HEXISTS %s x", found[i]) == 1;
    redis_free_keys(found);
    assert_int_equal(sessions, living); /* none that no event told of */
    pthread_mutex_destroy(&s.lock);
}

/* The same sessions revoked by all instances at once, while connections are killed: answers are lost, calls are PENDING and
 * go on. Each end is logged once, by one of them. */
enum { DOOMED = 600 };

typedef struct doom {
    latchkey *handles[HANDLES];
    token_text token[DOOMED];
    atomic_int running, ok, pending, gone, odd;
} doom;

static void revoke_all(crew_member *member)
{
    doom *d = member->shared;
    for (int i = 0; i < DOOMED; i++) {
        int status = end_session(d->handles[member->index % HANDLES], d->token[i]);
        atomic_fetch_add(status == LATCHKEY_OK          ? &d->ok
                         : status == LATCHKEY_PENDING   ? &d->pending
                         : status == LATCHKEY_NOT_FOUND ? &d->gone
                                                        : &d->odd,
                         1);
    }
    atomic_fetch_sub(&d->running, 1);
}

static void test_no_event_is_lost_or_doubled_where_answers_are(void **state)
{
    (void)state;
    static doom d;
    static fate fates[2 * LINES];
    size_t tally[5];
    memset(&d, 0, sizeof d);
    latchkey *maker = handle_open(server, "");
    for (int i = 0; i < HANDLES; i++) d.handles[i] = handle_open_tcp(server, "events=1&staleness_ms=2000");
    for (int i = 0; i < DOOMED; i++) make_session(maker, (uint64_t)i % 5, d.token[i]);
    for (int i = 0; i < HANDLES; i++)
        for (int k = 0; k < DOOMED; k += 2)
            assert_status(d.handles[i], LATCHKEY_OK, validate(d.handles[i], d.token[k]));
    atomic_store(&d.running, THREADS);
    crew *revokers = crew_start(THREADS, revoke_all, &d);
    while (atomic_load(&d.running)) {
        redis_do(server, "CLIENT KILL TYPE normal SKIPME yes");
        check_pause();
    }
    crew_join(revokers);
    for (int i = 0; i < HANDLES; i++) wait_for(stats_of(d.handles[i]).pending == 0);
    assert_int_equal(atomic_load(&d.odd), 0);
    assert_true(atomic_load(&d.pending) > 0);
    size_t count = read_trail(fates, tally);
    for (size_t i = 0; i < count; i++)
        if (fates[i].ended != 1) fail_msg("%s ended %d times", fates[i].selector, fates[i].ended);
    assert_int_equal(count, DOOMED);
    assert_int_equal(tally[2], DOOMED);
}

static void test_F_no_token_is_in_any_line(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "events=1");
    token_text one, two;
    latchkey_draft draft = {.size = sizeof draft, .user_id = USER, .role = "x by=token\n"};
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, one));
    assert_status(lk, LATCHKEY_OK, rotate(lk, one, 0, two));
    assert_status(lk, LATCHKEY_OK, end_session(lk, two));
    assert_int_equal(said(), 3);
    for (size_t i = 0; i < said(); i++) {
        assert_null(strstr(line[i], one + SELECTOR));
        assert_null(strstr(line[i], two + SELECTOR));
        assert_null(strstr(line[i], "x by"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVENT_TEST(test_each_fact_is_one_line),
        EVENT_TEST(test_a_session_that_moves_in_is_told_once),
        EVENT_TEST(test_changes_of_access_and_the_end_of_everyone),
        EVENT_TEST(test_ends_of_many_are_a_line_each),
        EVENT_TEST(test_limits_and_generations),
        EVENT_TEST(test_reuse_is_told_with_the_end_that_it_brought),
        EVENT_TEST(test_a_revocation_whose_answer_was_lost_is_told_once),
        EVENT_TEST(test_without_its_replica_a_revocation_is_no_event_yet),
        EVENT_TEST(test_the_events_of_all_instances_are_what_happened),
        EVENT_TEST(test_no_event_is_lost_or_doubled_where_answers_are),
        EVENT_TEST(test_F_no_token_is_in_any_line),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

/* SPDX-License-Identifier: MIT
 *
 * A, G, I: a server that lies. Each reply to each call, whole or one of its elements, is replaced by every kind of reply that
 * there is, and by what is none: short, long, deep, endless. Whatever comes, the call returns, nothing is read that is not
 * there (run it under AddressSanitizer), a lie that does not say "no" makes no "no", and the truth is heard again afterwards.
 *
 * The limits asserted are many times the deadline: the machine may be slow. What matters is that calls end.
 */
#include "liar.h"
#include "test_handle.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { DEADLINE = 300, GENEROUS = 15000, LENGTH = LATCHKEY_TOKEN_LENGTH, USER = 7 };
#define SAME "l1_capacity=1000&partitions=4&events=1&foreign_until_ms=4102444800000"
#define OPTIONS "deadline_ms=300&staleness_ms=60000&" SAME
#define TWENTY "abcdefghijklmnopqrst"
#define FIVE(x) x x x x x

/* `no`: an honest server may mean "there is none" by it, or "it is over". `yes`: "it is done". */
static const struct untruth {
    const char *bytes;
    int no, yes;
} untruths[] = {
    {"$-1\r\n", 1, 0},
    {"*-1\r\n", 1, 0},
    {"*0\r\n", 1, 0},
    {":0\r\n", 1, 0},
    {":-1\r\n", 1, 0},
    {":-2\r\n", 1, 0},
    {":-9223372036854775808\r\n", 1, 0},
    {":1\r\n", 1, 1},
    {":9223372036854775807\r\n", 1, 1},
    {"$0\r\n\r\n", 0, 0},
    {"$5\r\nhello\r\n", 0, 0},
    {"$20\r\n" TWENTY "\r\n", 0, 1},
    {"$19\r\n9223372036854775807\r\n", 1, 0}, /* a time, by which everything is over */
    {"+OK\r\n", 0, 0},
    {"+QUEUED\r\n", 0, 0},
    {"+CHANGED\r\n", 0, 0}, /* these four mean something, but not of every script */
    {"+EXISTS\r\n", 0, 0},
    {"+TRIM\r\n", 0, 0},
    {"+CLOCK 1 2\r\n", 0, 0},
    {"-ERR lies\r\n", 0, 0},
    {"-NOSCRIPT No matching script\r\n", 1, 0},
    {"-NOPERM this user has no permissions to run the 'hget' command\r\n", 0, 0},
    {"-MOVED 1 127.0.0.1:1\r\n", 0, 0},
    {"-\r\n", 0, 0},
    {"*1\r\n$-1\r\n", 0, 0},
    {"*1\r\n*0\r\n", 0, 0},
    {"*1\r\n*20\r\n" FIVE(":1\r\n:2\r\n:3\r\n:4\r\n"), 0, 0}, /* as long as a selector, and no text */
    {"*20\r\n" FIVE("$1\r\na\r\n:1\r\n$-1\r\n*1\r\n:1\r\n"), 0, 0},
    {"*2\r\n$1\r\nv\r\n*1\r\n$1\r\nv\r\n", 0, 0},
    {"*2\r\n*1\r\n:1\r\n$5\r\nhello\r\n", 0, 0},
    {"*2\r\n:-1\r\n$5\r\nhello\r\n", 0, 0},
    {"*3\r\n:1\r\n:-1\r\n:1\r\n", 0, 0},
    {"*4\r\n:1\r\n:1\r\n:1\r\n*1\r\n$20\r\n" TWENTY "\r\n", 0, 0},
    {"*4\r\n:1\r\n*1\r\n:1\r\n:1\r\n$0\r\n\r\n", 0, 0},
    {"*6\r\n:1\r\n:9\r\n$20\r\n" TWENTY "\r\n*0\r\n$1\r\na\r\n$1\r\nb\r\n", 0, 0},
    {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", 0, 0},
    {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", 0, 0},
    {"_\r\n", 0, 0},
    {"%-1\r\n", 0, 0},
    {"#t\r\n", 0, 0},
    {",1.5\r\n", 0, 0},
    {">2\r\n+message\r\n:1\r\n", 0, 0},
    {"$-2\r\n", 0, 0},
    {"$9999999999\r\n", 0, 0},
    {"*9999999\r\n", 0, 0},
    {":\r\n", 0, 0},
    {"hello\r\n", 0, 0},
    {"$3\r\nhello\r\n", 0, 0},
    {":1\r\n:1\r\n", 1, 1}, /* one more than was asked for */
};
enum { UNTRUTHS = sizeof untruths / sizeof *untruths };

/* ---------------------------------------------------------------------------------------------- the calls -- */

typedef struct subject {
    char token[LATCHKEY_TOKEN_SIZE], foreign[LATCHKEY_TOKEN_SIZE];
    char selector[LATCHKEY_SELECTOR_LENGTH + 1];
} subject;

static latchkey *maker;
static unsigned made;

/* A session like any other, not used yet. */
static void make_subject(subject *s)
{
    const latchkey_field fields[] = {{"note", "text", 4}, {"pq.k", "material", 8}};
    latchkey_draft draft = {.size = sizeof draft, .user_id = 100000 + made};
    make_session_with(maker, USER, 600000, 600000, fields, 2, s->token);
    assert_status(maker, LATCHKEY_OK, latchkey_section_put(maker, s->token, LENGTH, "cart", "content", 7));
    memcpy(s->selector, s->token, LATCHKEY_SELECTOR_LENGTH);
    s->selector[LATCHKEY_SELECTOR_LENGTH] = 0;
    snprintf(s->foreign, sizeof s->foreign, "moved-in-%030u", made++);
    /* The clock may have to pass what revoke_everyone ended. */
    wait_for(latchkey_import(maker, s->foreign, strlen(s->foreign), &draft, 0, 0) == LATCHKEY_OK);
}

static int call_validate(latchkey *lk, subject *s) { return validate(lk, s->token); }
static int call_validate_foreign(latchkey *lk, subject *s)
{
    latchkey_entry entry;
    return latchkey_validate(lk, s->foreign, strlen(s->foreign), &entry);
}
static int call_submit(latchkey *lk, subject *s)
{
    latchkey_answer answer = {.status = LATCHKEY_UNAVAILABLE};
    int status = latchkey_submit(lk, s->token, LENGTH, 1);
    if (status) return status;
    for (int64_t until = check_now_ms() + GENEROUS; check_now_ms() < until && !latchkey_reap(lk, &answer, 1);) {
        struct pollfd p = {.fd = latchkey_fd(lk), .events = POLLIN};
        poll(&p, 1, 100);
    }
    return answer.status;
}
static int call_touch(latchkey *lk, subject *s) { return touch(lk, s->token); }
static int call_load(latchkey *lk, subject *s) { return load(lk, s->token); }
static int call_show(latchkey *lk, subject *s)
{
    latchkey_record *record;
    int status = latchkey_show(lk, s->selector, NULL, &record);
    latchkey_record_free(record);
    return status;
}
static int get(latchkey *lk, subject *s, const char *name)
{
    latchkey_record *record;
    size_t size;
    int status = latchkey_get_fields(lk, s->token, LENGTH, &name, 1, &record);
    if (!status) latchkey_record_field(record, name, &size);
    latchkey_record_free(record);
    return status;
}
static int call_get_fields(latchkey *lk, subject *s) { return get(lk, s, "note"); }
static int call_get_keys(latchkey *lk, subject *s) { return get(lk, s, "pq.k"); }
static int call_set_fields(latchkey *lk, subject *s) { return set_field(lk, s->token, "note", "x"); }
static int call_set_keys(latchkey *lk, subject *s) { return set_field(lk, s->token, "pq.k", "x"); }
static const latchkey_access access_to = {.size = sizeof access_to, .role = "clerk"};
static int call_set_access(latchkey *lk, subject *s) { return latchkey_set_access(lk, s->token, LENGTH, &access_to); }
static int call_set_user_access(latchkey *lk, subject *s)
{
    size_t changed;
    (void)s;
    return latchkey_set_user_access(lk, USER, &access_to, &changed);
}
static int call_section_put(latchkey *lk, subject *s)
{
    return latchkey_section_put(lk, s->token, LENGTH, "cart", "other", 5);
}
static int call_section_get(latchkey *lk, subject *s)
{
    char data[64];
    size_t size;
    int found, status = latchkey_section_get(lk, s->token, LENGTH, "cart", data, sizeof data, &size, &found);
    if (!status && found) assert_true(size <= sizeof data);
    return status;
}
static int call_sessions(latchkey *lk, subject *s)
{
    latchkey_session_info infos[8];
    size_t total;
    return latchkey_sessions(lk, USER, s->token, LENGTH, infos, 8, &total);
}
static int call_generation(latchkey *lk, subject *s)
{
    uint64_t generation;
    (void)s;
    return latchkey_user_generation(lk, USER, &generation);
}
static int call_create(latchkey *lk, subject *s)
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = USER};
    char token[LATCHKEY_TOKEN_SIZE];
    (void)s;
    return latchkey_create(lk, &draft, token);
}
static int call_rotate(latchkey *lk, subject *s)
{
    char token[LATCHKEY_TOKEN_SIZE];
    return latchkey_rotate(lk, s->token, LENGTH, 10000, token);
}
static int call_import(latchkey *lk, subject *s)
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = USER};
    char foreign[40];
    (void)s;
    snprintf(foreign, sizeof foreign, "to-move-%027u", made++);
    int status = latchkey_import(lk, foreign, strlen(foreign), &draft, 0, 0);
    return status == LATCHKEY_REFUSED ? LATCHKEY_OK : status; /* "it is here already", which a lie may say */
}
static int call_revoke(latchkey *lk, subject *s) { return end_session(lk, s->token); }
static int call_revoke_selector(latchkey *lk, subject *s) { return latchkey_revoke_selector(lk, USER, s->selector); }
static int call_revoke_user(latchkey *lk, subject *s)
{
    size_t ended;
    (void)s;
    return latchkey_revoke_user(lk, USER, NULL, 0, &ended);
}
static int call_prewarm(latchkey *lk, subject *s)
{
    size_t loaded;
    (void)s;
    return latchkey_prewarm(lk, 20, &loaded);
}
static int call_sample(latchkey *lk, subject *s)
{
    latchkey_population population;
    (void)s;
    return latchkey_sample(lk, 10, &population, sizeof population);
}
static int call_revoke_everyone(latchkey *lk, subject *s)
{
    (void)s;
    return latchkey_revoke_everyone(lk);
}

typedef struct call {
    const char *name;
    int (*run)(latchkey *lk, subject *s);
    bool ends; /* once it is OK, the session is over */
} call;

static const call calls[] = {
    {"validate", call_validate, false},
    {"validate, foreign", call_validate_foreign, false},
    {"submit", call_submit, false},
    {"touch", call_touch, false},
    {"load", call_load, false},
    {"show", call_show, false},
    {"get_fields", call_get_fields, false},
    {"get_fields, keys", call_get_keys, false},
    {"set_fields", call_set_fields, false},
    {"set_fields, keys", call_set_keys, false},
    {"set_access", call_set_access, false},
    {"set_user_access", call_set_user_access, false},
    {"section_put", call_section_put, false},
    {"section_get", call_section_get, false},
    {"sessions", call_sessions, false},
    {"user_generation", call_generation, false},
    {"create", call_create, false},
    {"rotate", call_rotate, false},
    {"import", call_import, false},
    {"revoke", call_revoke, true},
    {"revoke_selector", call_revoke_selector, true},
    {"revoke_user", call_revoke_user, true},
    {"prewarm", call_prewarm, false},
    {"sample", call_sample, false},
    {"revoke_everyone", call_revoke_everyone, true},
};
enum { CALLS = sizeof calls / sizeof *calls };

/* ---------------------------------------------------------------------------------------------- the lies -- */

static int rotated; /* half of them show a token that was exchanged: it leads to its session by more replies */

static bool live_in_redis(const char *token)
{
    latchkey_entry entry;
    return latchkey_validate_fresh(maker, token, LENGTH, 0, &entry) == LATCHKEY_OK;
}

/* Tells it while the call runs. Returns how many replies the call had. */
static unsigned run_lied_to(latchkey *lk, liar *wire, const call *c, const lie *what, int no, int yes)
{
    subject s;
    char other[LATCHKEY_TOKEN_SIZE];
    make_subject(&s);
    if (rotated++ % 2) assert_status(maker, LATCHKEY_OK, latchkey_rotate(maker, s.token, LENGTH, 600000, other));
    liar_arm(wire, what);
    int64_t start = check_now_ms();
    int status = c->run(lk, &s);
    int64_t took = check_now_ms() - start;
    unsigned passed = liar_passed(wire);
    liar_arm(wire, NULL);
    if (took > GENEROUS) fail_msg("%s took %lld ms for '%.60s'", c->name, (long long)took, what->bytes);
    if (status < LATCHKEY_AGAIN || status > LATCHKEY_REFUSED)
        fail_msg("%s, reply %u.%u '%.60s': the status %d", c->name, what->nth, what->element, what->bytes, status);
    if (status > 0 && !no && passed > what->nth && !(status == LATCHKEY_REFUSED && strstr(c->name, "rotate")))
        fail_msg("%s, reply %u.%u '%.60s': %s", c->name, what->nth, what->element, what->bytes,
                 latchkey_status_text(status));
    if (!status && c->ends && !yes && live_in_redis(s.token))
        fail_msg("%s, reply %u.%u '%.60s': OK, and the session lives", c->name, what->nth, what->element, what->bytes);
    return passed;
}

static latchkey *open_through(liar *wire)
{
    latchkey *lk = handle_open_at(liar_port(wire), OPTIONS);
    subject s;
    make_subject(&s);
    wait_for(validate(lk, s.token) == LATCHKEY_OK);
    return lk;
}

/* And the truth is heard again. */
static void assert_well(latchkey *lk)
{
    subject s;
    make_subject(&s);
    wait_for(validate(lk, s.token) == LATCHKEY_OK);
}

static uint32_t random_state = 20240229;
static unsigned below(unsigned most) { return (random_state = random_state * 1664525 + 1013904223) / 65536 % most; }

/* In the places of each second call in turn: every untruth instead of the whole reply, or some instead of one of its elements. */
static void every_place(int elements, size_t first)
{
    liar *wire = liar_start(server->port);
    maker = handle_open(server, SAME);
    latchkey *lk = open_through(wire);
    unsigned tries = elements ? 30 : UNTRUTHS, lied = 0, calls_made = 0;
    for (size_t c = first; c < CALLS; c += 2) {
        unsigned places = 1;
        calls_made++;
        for (unsigned i = 0; i < tries; i++) {
            const struct untruth *u = &untruths[elements ? below(UNTRUTHS) : i];
            lie what = {
                .to = LIAR_CALLERS, .nth = (i + below(2)) % places, .bytes = u->bytes, .size = strlen(u->bytes)};
            if (elements) what.element = 1 + below(12);
            unsigned had = run_lied_to(lk, wire, &calls[c], &what, u->no || elements, u->yes || elements);
            if (had > places && had <= 6) places = had;
            lied += had > what.nth;
        }
        assert_well(lk);
    }
    assert_true(lied > calls_made * tries / 2);
    handle_close(lk);
    liar_end(wire);
}

/* In two halves, which run side by side. */
static void test_A_G_every_reply_to_every_call_first_half(void **state)
{
    (void)state;
    every_place(0, 0);
}
static void test_A_G_every_reply_to_every_call_second_half(void **state)
{
    (void)state;
    every_place(0, 1);
}

/* For each name that is asked for Redis answers with a value, or nil. A list of another length is no answer, least of all a "no". */
static void test_A_another_number_of_values(void **state)
{
    (void)state;
    static const char *const lists[] = {"*0\r\n", "*1\r\n$-1\r\n", "*2\r\n$-1\r\n$-1\r\n",
                                        "*2\r\n$1\r\nx\r\n$1\r\ny\r\n"};
    liar *wire = liar_start(server->port);
    maker = handle_open(server, SAME);
    latchkey *lk = open_through(wire);
    const char *const name = "note";
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        subject s;
        latchkey_record *record;
        char data[8];
        size_t size;
        int found;
        make_subject(&s);
        lie what = {.to = LIAR_CALLERS, .bytes = lists[i], .size = strlen(lists[i])};
        liar_arm(wire, &what);
        assert_status(lk, LATCHKEY_CORRUPT, latchkey_get_fields(lk, s.token, LENGTH, &name, 1, &record));
        what.nth = 1; /* behind the section's GET */
        liar_arm(wire, &what);
        assert_status(lk, LATCHKEY_CORRUPT,
                      latchkey_section_get(lk, s.token, LENGTH, "cart", data, sizeof data, &size, &found));
        liar_arm(wire, NULL);
    }
    assert_well(lk);
    handle_close(lk);
    liar_end(wire);
}

static void test_A_G_elements_of_every_reply_first_half(void **state)
{
    (void)state;
    every_place(1, 0);
}
static void test_A_G_elements_of_every_reply_second_half(void **state)
{
    (void)state;
    every_place(1, 1);
}

/* What goes on for ever: longer than any deadline, if nothing looks at the clock. */
static void test_G_replies_without_an_end(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        int drips;
    } endless[] = {
        {"+x", 0},           {"-x", 0}, {"*1\r\n", 0},        {":1\r\n", 0},    {"$1\r\na\r\n", 0}, {"*2\r\n:1\r\n", 0},
        {"*9999999\r\n", 0}, {"1", 0},  {"$20000000\r\n", 1}, {"*8000\r\n", 1}, {"+x", 1}};
    liar *wire = liar_start(server->port);
    maker = handle_open(server, SAME);
    latchkey *lk = open_through(wire);
    for (size_t c = 0; c < CALLS; c++)
        for (unsigned i = 0; i < 3; i++) {
            unsigned which = (unsigned)(3 * c + i) % (sizeof endless / sizeof *endless);
            lie what = {.to = LIAR_CALLERS,
                        .bytes = endless[which].bytes,
                        .size = strlen(endless[which].bytes),
                        .endless = 1,
                        .drips = endless[which].drips};
            run_lied_to(lk, wire, &calls[c], &what, 1, 1);
        }
    assert_well(lk);
    handle_close(lk);
    liar_end(wire);
}

/* Pages without an end: each is well-formed, and there is always one more. */
static void test_G_pages_without_an_end(void **state)
{
    (void)state;
    static char page[1 << 16], scan[128], more[128];
    static const struct {
        const char *name;
        const char *bytes;
    } pages[] = {{"prewarm", page}, {"sample", scan}, {"revoke_user", more}, {"set_user_access", more}};
    size_t used = (size_t)snprintf(page, sizeof page, "*42\r\n");
    for (int i = 0; i < 21; i++)
        used += (size_t)snprintf(page + used, sizeof page - used, "$20\r\n" TWENTY "\r\n$4\r\n9%d\r\n", 100 + i);
    snprintf(scan, sizeof scan, "*2\r\n$1\r\n7\r\n*0\r\n");
    snprintf(more, sizeof more, "*4\r\n:1\r\n:1\r\n:1\r\n$0\r\n\r\n");
    liar *wire = liar_start(server->port);
    maker = handle_open(server, SAME);
    latchkey *lk = open_through(wire);
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        for (size_t c = 0; c < CALLS; c++) {
            if (strcmp(calls[c].name, pages[i].name)) continue;
            lie what = {.to = LIAR_CALLERS, .every = 1, .bytes = pages[i].bytes, .size = strlen(pages[i].bytes)};
            run_lied_to(lk, wire, &calls[c], &what, 1, 1);
        }
    assert_well(lk);
    handle_close(lk);
    liar_end(wire);
}

/* What an error hides is not taken for nothing: all is loaded and counted, or the status is not OK. */
static void test_A_what_an_error_hides_is_missed(void **state)
{
    (void)state;
    enum { SESSIONS = 20, REPLIES = 60 };
    static const char loading[] = "-LOADING Redis is loading the dataset in memory\r\n";
    char token[LATCHKEY_TOKEN_SIZE];
    size_t loaded;
    int complete = 0;
    redis_do(server, "FLUSHALL");
    maker = handle_open(server, SAME);
    for (int i = 0; i < SESSIONS; i++) make_session(maker, (uint64_t)i, token);
    liar *wire = liar_start(server->port);
    for (unsigned i = 0; i < 2 * REPLIES; i++) {
        lie what = {.to = LIAR_CALLERS, .nth = i % REPLIES, .bytes = loading, .size = sizeof loading - 1};
        latchkey *lk = handle_open_at(liar_port(wire), "staleness_ms=60000&" SAME);
        latchkey_population p = {0};
        liar_arm(wire, &what);
        int status = i < REPLIES ? latchkey_prewarm(lk, 1000, &loaded) : latchkey_sample(lk, 1000, &p, sizeof p);
        assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_UNAVAILABLE);
        if (!status) assert_int_equal(i < REPLIES ? loaded : p.sessions, SESSIONS);
        complete += !status;
        handle_close(lk);
    }
    assert_true(complete);
    liar_arm(wire, NULL);
    liar_end(wire);
}

/* The link gets lies, too, and so do new connections. They admit no request, and nothing stays broken. */
static void test_A_lies_to_the_link(void **state)
{
    (void)state;
    enum { ROUNDS = 60 };
    liar *wire = liar_start(server->port);
    maker = handle_open(server, SAME);
    latchkey *lk = handle_open_at(liar_port(wire), "deadline_ms=300&staleness_ms=400&" SAME);
    char dead[LATCHKEY_TOKEN_SIZE];
    make_session(maker, USER, dead);
    assert_status(maker, LATCHKEY_OK, end_session(maker, dead));
    for (int i = 0; i < ROUNDS; i++) {
        const struct untruth *u = &untruths[below(UNTRUTHS)];
        lie what = {.to = i % 5 ? LIAR_LINK : LIAR_HELLO,
                    .nth = below(10),
                    .element = below(2) ? 0 : 1 + below(8),
                    .bytes = u->bytes,
                    .size = strlen(u->bytes),
                    .endless = below(16) == 0};
        subject s;
        make_subject(&s);
        liar_arm(wire, &what);
        int64_t until = check_now_ms() + 3000;
        while (liar_passed(wire) <= what.nth && check_now_ms() < until) {
            validate(lk, s.token);
            touch(lk, s.token);
            if (validate(lk, dead) == LATCHKEY_OK) fail_msg("admitted after '%.60s'", u->bytes);
        }
        if (validate(lk, dead) == LATCHKEY_OK) fail_msg("admitted after '%.60s'", u->bytes);
        liar_arm(wire, NULL);
        if (i % 10 == 0) assert_well(lk);
    }
    assert_well(lk);
    handle_close(lk);
    liar_end(wire);
}

/* And it opens, or says why not. */
static void test_G_open_where_the_server_lies(void **state)
{
    (void)state;
    liar *wire = liar_start(server->port);
    char config[160];
    maker = handle_open(server, SAME);
    snprintf(config, sizeof config, "redis://127.0.0.1:%d?" OPTIONS, liar_port(wire));
    for (unsigned nth = 0; nth < 14; nth++)
        for (unsigned i = 0; i < UNTRUTHS; i += 3 + nth % 3) {
            lie what = {.to = nth < 4 ? LIAR_HELLO : LIAR_LINK,
                        .nth = nth < 4 ? nth : nth - 4,
                        .bytes = untruths[i].bytes,
                        .size = strlen(untruths[i].bytes)};
            latchkey *lk;
            char error[256] = "";
            liar_arm(wire, &what);
            int64_t start = check_now_ms();
            int status = latchkey_open(config, &lk, error, sizeof error);
            int64_t took = check_now_ms() - start;
            if (took > GENEROUS) fail_msg("open took %lld ms for '%.60s'", (long long)took, what.bytes);
            if (status) assert_true(error[0] && status < 0);
            else latchkey_close(lk);
            liar_arm(wire, NULL);
        }
    liar_end(wire);
}

int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    if (argc > 2) cmocka_set_skip_filter(argv[2]);
    const struct CMUnitTest tests[] = {
        TEST(test_A_G_every_reply_to_every_call_first_half),
        TEST(test_A_G_every_reply_to_every_call_second_half),
        TEST(test_A_another_number_of_values),
        TEST(test_A_G_elements_of_every_reply_first_half),
        TEST(test_A_G_elements_of_every_reply_second_half),
        TEST(test_G_replies_without_an_end),
        TEST(test_G_pages_without_an_end),
        TEST(test_A_what_an_error_hides_is_missed),
        TEST(test_A_lies_to_the_link),
        TEST(test_G_open_where_the_server_lies),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

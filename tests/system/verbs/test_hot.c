/* SPDX-License-Identifier: MIT
 *
 * A user with very many sessions stops nobody else: whatever is called for that user, no single command or script at Redis does more than
 * a bounded amount of work. Counted is what MONITOR shows, so a slow machine is no failure.
 */
#include "test_handle.h"
#include "threads.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    HOT = 7, /* the user with many sessions */
    OTHER = 8,
    DEVICE = 3, /* of the many sessions */
    MANY = 10000,
    WORK_MOST = 8000, /* keys and names in one run */
    BATCH = 500,
    SELECTOR = 20,
    RAW = 15,
    RECORD = 184,
    AT_EXPIRES = 40, /* base/record.h */
    AT_SELECTOR = 168,
    UNUSED_MS = 300,
    IDLE_MS = 36000000,
    LIFETIME_MS = 100000000,
};

static const char options[] = "partitions=1&deadline_ms=50000";

/* ------------------------------------------------------------------------------------------- many sessions -- */

typedef struct many {
    unsigned char v[RECORD]; /* of a session that the library made */
    int64_t now_ms, absolute_ms;
    int count;
    bool at_once; /* all end at the same moment; else two at each */
} many;

static void name_of(const many *m, int i, unsigned char raw[RAW], char text[SELECTOR + 1])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    memcpy(raw, m->v + AT_SELECTOR, RAW);
    unsigned mixed = (unsigned)i * 2654435761u; /* spread over all names */
    for (int b = 0; b < 4; b++) raw[2 + b] = (unsigned char)(mixed >> (8 * (3 - b)));
    for (int b = 0; b < 4; b++) raw[6 + b] = (unsigned char)((unsigned)i >> (8 * b));
    for (int g = 0; g < RAW / 3; g++) {
        unsigned three = (unsigned)raw[3 * g] << 16 | (unsigned)raw[3 * g + 1] << 8 | raw[3 * g + 2];
        for (int d = 0; d < 4; d++) text[4 * g + d] = digits[three >> (18 - 6 * d) & 63];
    }
    text[SELECTOR] = 0;
}

/* How long ago each was used: all differ, and they are in no order. */
static int64_t unused_ms(const many *m, int i) { return UNUSED_MS * ((int64_t)i * 7919 % m->count); }

static int64_t absolute_of(const many *m, int i) { return m->absolute_ms + (m->at_once ? 0 : i / 2); }

/* Copies of a session, as many scripts of BATCH each. */
static void make_many(latchkey *lk, int count, bool at_once, many *m)
{
    static const char copy[] =
        "local u, a = ARGV[1], ARGV[2] for i = 4, #ARGV, 5 do "
        "local key = ARGV[3] .. ARGV[i] "
        "redis.call('HSET', key, 'v', ARGV[i + 1], 'x', '36000000 ' .. ARGV[i + 2] .. ' 7', 'g', '0') "
        "redis.call('PEXPIREAT', key, ARGV[i + 3]) "
        "redis.call('ZADD', u, ARGV[i + 2], ARGV[i]) redis.call('ZADD', a, ARGV[i + 4], ARGV[i]) end "
        "redis.call('PERSIST', u) redis.call('PERSIST', a)";
    char token[LATCHKEY_TOKEN_SIZE], key[128], v[RECORD + 1];
    latchkey_draft draft = {.size = sizeof draft, .user_id = HOT, .device = DEVICE, .lifetime_ms = LIFETIME_MS};
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, token));
    assert_int_equal(redis_text(server, v, sizeof v, "HGET %s v", session_key(server, token, key)), RECORD);
    memcpy(m->v, v, RECORD);
    m->count = count;
    m->at_once = at_once;
    latchkey_entry entry = entry_of(lk, token);
    m->now_ms = entry.created_at_ms;
    m->absolute_ms = entry.expires_at_ms + 1000;
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));

    static const char *words[6 + 5 * BATCH];
    static size_t sizes[6 + 5 * BATCH];
    static char texts[BATCH][4][32];
    static unsigned char records[BATCH][RECORD];
    const char *const head[6] = {"EVAL", copy, "0", "lk:{0}:u:7", "lk:{0}:a", "lk:{0}:s:"};
    for (int first = 0; first < count; first += BATCH) {
        int used = 0;
        for (; used < 6; used++) words[used] = head[used], sizes[used] = strlen(head[used]);
        for (int i = first; i < first + BATCH && i < count; i++) {
            char(*text)[32] = texts[i - first];
            unsigned char *record = records[i - first], raw[RAW];
            int64_t used_ms = m->now_ms - unused_ms(m, i), absolute_ms = absolute_of(m, i);
            memcpy(record, m->v, RECORD);
            name_of(m, i, raw, text[0]);
            memcpy(record + AT_SELECTOR, raw, RAW);
            for (int b = 0; b < 8; b++) record[AT_EXPIRES + b] = (unsigned char)((uint64_t)absolute_ms >> (8 * b));
            snprintf(text[1], sizeof text[1], "%lld", (long long)absolute_ms);
            snprintf(text[2], sizeof text[2], "%lld", (long long)(used_ms + IDLE_MS));
            snprintf(text[3], sizeof text[3], "%lld", (long long)used_ms);
            const void *const five[5] = {text[0], record, text[1], text[2], text[3]};
            for (int w = 0; w < 5; w++, used++) {
                words[used] = five[w];
                sizes[used] = w == 1 ? (size_t)RECORD : strlen(five[w]);
            }
        }
        redisReply *reply = redisCommandArgv(server->control, used, words, sizes);
        if (!reply || reply->type == REDIS_REPLY_ERROR)
            fail_msg("the sessions were not made: %s", reply ? reply->str : "");
        freeReplyObject(reply);
    }
}

/* Some of them idled out; their names are left. */
static void lose_some(const many *m, int from, int to)
{
    for (int i = from; i < to; i++) {
        unsigned char raw[RAW];
        char name[SELECTOR + 1];
        name_of(m, i, raw, name);
        assert_int_equal(redisAppendCommand(server->control, "DEL lk:{0}:s:%s", name), REDIS_OK);
    }
    for (int i = from; i < to; i++) {
        redisReply *reply;
        assert_int_equal(redisGetReply(server->control, (void **)&reply), REDIS_OK);
        assert_int_equal(reply->integer, 1);
        freeReplyObject(reply);
    }
}

/* --------------------------------------------------------------------------------------------- what is done -- */

static long long word_number(const char *line, int at)
{
    for (const char *c = line; (c = strstr(c, at ? "\" \"" : "\"")); c += at ? 2 : 1)
        if (!at--) return atoll(c + (c[1] == ' ' ? 3 : 1));
    return 0;
}

/* The keys or names that one command of MONITOR's looks at. */
static long work_of(const char *line)
{
    long words = 0;
    for (const char *c = line; (c = strstr(c, "\" \"")); c += 2) words++;
    const char *limit = strstr(line, "\"LIMIT\" \"");
    if (!strncmp(line, "\"EXISTS\"", 8) || !strncmp(line, "\"DEL\"", 5) || !strncmp(line, "\"ZREM\"", 6)) return words;
    if (!strstr(line, ":u:") && !strstr(line, ":a\"")) return 1;
    if (!strncmp(line, "\"ZRANGE\"", 8) || !strncmp(line, "\"ZREVRANGE\"", 11)) {
        long long first = word_number(line, 2), last = word_number(line, 3);
        return last < 0 && first >= 0 ? (long)MANY : (long)(last - first + 1);
    }
    if (!strncmp(line, "\"ZRANGEBYSCORE\"", 15)) return limit ? atol(strstr(limit + 8, "\" \"") + 3) : (long)MANY;
    return 1;
}

/* A run is a command of a client, and what the script did that it called. Returns the most that one did; counts runs of scripts, and the
 * most keys that one deleted. */
typedef struct seen {
    long most, scripts, deleted;
    char what[200];
} seen;

static seen see(redis_watch *watch)
{
    seen s = {0};
    char *text = redis_watch_end(watch, NULL);
    long work = 0, deleted = 0;
    char run[sizeof s.what] = "";
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        bool inside = strstr(line, " lua] ");
        const char *what = strchr(line, '"');
        if (!what) continue;
        if (!inside) {
            work = deleted = 0;
            snprintf(run, sizeof run, "%s", what);
            if (!strncmp(what, "\"EVAL", 5)) {
                s.scripts++;
                continue; /* its words are what the script is told, and no work by themselves */
            }
        }
        work += work_of(what);
        deleted += !strncmp(what, "\"DEL\"", 5);
        if (work > s.most) {
            s.most = work;
            snprintf(s.what, sizeof s.what, "%s", run);
        }
        if (deleted > s.deleted) s.deleted = deleted;
    }
    free(text);
    return s;
}

/* A test that fails leaves them to its teardown; so what they use is not on its stack. */
static crew *at_work;
static redis_watch *watching;

static void begin_work(void (*work)(crew_member *), void *shared) { at_work = crew_start(1, work, shared); }

static void end_work(void)
{
    if (!at_work) return;
    crew_stop(at_work);
    crew_join(at_work);
    at_work = NULL;
}

static int end_test(void **state)
{
    end_work();
    if (watching) free(redis_watch_end(watching, NULL));
    watching = NULL;
    return handle_close_all(state);
}

/* Everything that Redis is asked, while another user of the partition logs in, makes requests and logs out all the while. */
typedef struct bystander {
    latchkey *lk;
    int rounds, status;
} bystander;

static void stand_by(crew_member *member)
{
    bystander *b = member->shared;
    while (!b->rounds || (!crew_stopped(member) && !b->status)) {
        char token[LATCHKEY_TOKEN_SIZE];
        latchkey_draft draft = {.size = sizeof draft, .user_id = OTHER};
        latchkey_entry entry;
        b->status = latchkey_create(b->lk, &draft, token);
        if (!b->status) b->status = latchkey_validate_fresh(b->lk, token, LATCHKEY_TOKEN_LENGTH, 0, &entry);
        if (!b->status) b->status = end_session(b->lk, token);
        b->rounds++;
        check_pause();
    }
}

static bystander other;

static void watch_begin(void)
{
    other = (bystander){.lk = handle_open(server, options)};
    watching = redis_watch_start(server);
    begin_work(stand_by, &other);
}

static seen watch_end(void)
{
    end_work();
    assert_status(other.lk, LATCHKEY_OK, other.status);
    redis_watch *watch = watching;
    watching = NULL;
    seen s = see(watch);
    if (s.most > WORK_MOST) fail_msg("%ld keys and names in one run of %s", s.most, s.what);
    assert_true(s.scripts > 0);
    return s;
}

/* ------------------------------------------------------------------------------------------------ the list -- */

static void assert_listed(const many *m, const latchkey_session_info *infos, size_t count)
{
    char *wanted = calloc((size_t)m->count, SELECTOR + 1);
    assert_non_null(wanted);
    for (int i = 0; i < m->count; i++) {
        unsigned char raw[RAW];
        name_of(m, i, raw,
                wanted + (unused_ms(m, i) / UNUSED_MS) * (SELECTOR + 1)); /* in the order of their last use */
    }
    /* When one idles out is told to some milliseconds: at the border, one of its neighbours may be there in its place. */
    for (size_t i = 0; i < count * 9 / 10; i++) assert_string_equal(infos[i].selector, wanted + i * (SELECTOR + 1));
    free(wanted);
}

static void test_sessions_are_listed_in_parts(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, options);
    latchkey_session_info *infos = calloc(LATCHKEY_SESSIONS_MAX, sizeof *infos);
    assert_non_null(infos);
    many m;
    make_many(lk, MANY, false, &m);
    watch_begin();
    static const size_t most[] = {LATCHKEY_SESSIONS_MAX, 10, 0};
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        size_t total = 0;
        assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, HOT, NULL, 0, infos, most[i], &total));
        assert_int_equal(total, MANY);
        assert_listed(&m, infos, most[i]);
    }
    watch_end();
    free(infos);
}

static void test_sessions_that_end_at_one_moment_are_listed_in_parts(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, options);
    latchkey_session_info infos[100];
    static const int counts[] = {999, 1000, 1001, 3000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        many m;
        size_t total;
        redis_do(server, "DEL lk:{0}:u:7");
        make_many(lk, counts[i], true, &m);
        assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, HOT, NULL, 0, infos, 100, &total));
        assert_int_equal(total, counts[i]);
        assert_listed(&m, infos, 100);
    }
}

/* Sessions whose tokens are exchanged all the while, so that their names move to other places of the index. */
enum { MOVERS = 20, LISTS = 20 };

typedef struct moving {
    latchkey *lk;
    char tokens[MOVERS][LATCHKEY_TOKEN_SIZE];
    atomic_int lists;
    int status;
} moving;

static void move_names(crew_member *member)
{
    moving *m = member->shared;
    for (int round = 0; !crew_stopped(member) && !m->status; round++) {
        char token[LATCHKEY_TOKEN_SIZE], *own = m->tokens[round % MOVERS];
        m->status = latchkey_rotate(m->lk, own, LATCHKEY_TOKEN_LENGTH, 0, token);
        memcpy(own, token, sizeof token);
        /* Not more often than there are lists: one is begun anew when the place where it goes on has moved. */
        while (!crew_stopped(member) && atomic_load(&m->lists) < round) check_pause();
    }
}

static void test_a_list_neither_loses_nor_repeats_a_session_that_moves(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, options);
    many crowd;
    static moving m;
    m = (moving){.lk = handle_open(server, options)};
    make_many(lk, 3500, true, &crowd);
    for (uint32_t i = 0; i < MOVERS; i++) {
        char key[128];
        latchkey_draft draft = {.size = sizeof draft,
                                .user_id = HOT,
                                .device = 100 + i,
                                .idle_ms = 2 * IDLE_MS,
                                .lifetime_ms = LIFETIME_MS};
        assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, m.tokens[i]));
        /* To the same moment as the others. */
        long long absolute_ms = crowd.absolute_ms;
        char x[64];
        snprintf(x, sizeof x, "%d %lld %d", 2 * IDLE_MS, absolute_ms, HOT);
        redis_do(server, "HSET %s x %s", session_key(server, m.tokens[i], key), x);
        redis_do(server, "ZADD lk:{0}:u:7 %lld %b", absolute_ms, m.tokens[i], (size_t)SELECTOR);
    }
    begin_work(move_names, &m);
    latchkey_session_info infos[200];
    int wrong = 0, status = 0;
    for (int l = 0; l < LISTS && !status; l++) {
        size_t total;
        int times[MOVERS] = {0};
        status = latchkey_sessions(lk, HOT, NULL, 0, infos, 200, &total);
        for (size_t i = 0; i < 200; i++)
            if (infos[i].device >= 100) times[infos[i].device - 100]++;
        for (int i = 0; i < MOVERS; i++) wrong += times[i] != 1;
        wrong += total != 3500 + MOVERS;
        atomic_fetch_add(&m.lists, 1);
    }
    end_work();
    assert_status(lk, LATCHKEY_OK, status);
    assert_status(m.lk, LATCHKEY_OK, m.status);
    assert_int_equal(wrong, 0);
}

/* ------------------------------------------------------------------------------------------------- a login -- */

static int log_in(latchkey *lk)
{
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = {.size = sizeof draft, .user_id = HOT, .device = DEVICE};
    return latchkey_create(lk, &draft, token);
}

static void test_a_login_at_a_limit_looks_at_a_thousand_sessions(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, options), *of[6];
    static const char *const limits[6] = {"max_sessions=10000&limit=deny", "max_sessions=10000&limit=evict",
                                          "max_sessions=50&limit=deny",    "max_sessions=9950&limit=evict",
                                          "max_per_device=5&limit=deny",   "max_per_device=5&max_sessions=50"};
    /* How many there are afterwards: at most 100 end for each limit, and one is made. */
    static const size_t left[6] = {MANY, MANY, MANY, MANY - 50, MANY - 50, MANY - 249};
    many m;
    make_many(lk, MANY, false, &m);
    for (int i = 0; i < 6; i++) {
        char with[200];
        snprintf(with, sizeof with, "%s&%s", options, limits[i]);
        of[i] = handle_open(server, with);
    }
    watch_begin();
    for (int i = 0; i < 6; i++) {
        assert_status(of[i], strstr(limits[i], "deny") ? LATCHKEY_LIMIT : LATCHKEY_OK, log_in(of[i]));
        assert_int_equal(redis_integer(server, "ZCARD lk:{0}:u:7"), left[i]);
    }
    watch_end();
}

/* Those that idled out do not count, wherever in the index their names are. */
static void test_a_login_at_a_limit_counts_only_the_living(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, options), *full, *room;
    many m;
    make_many(lk, 5000, false, &m);
    lose_some(&m, 1500, 3500);
    full = handle_open(server, "partitions=1&max_sessions=3000&limit=deny");
    room = handle_open(server, "partitions=1&max_sessions=3001&limit=deny");
    watch_begin();
    assert_status(full, LATCHKEY_LIMIT, log_in(full));
    assert_status(room, LATCHKEY_OK, log_in(room));
    assert_status(room, LATCHKEY_LIMIT, log_in(room));
    watch_end();
    assert_int_equal(redis_integer(server, "ZCARD lk:{0}:u:7"), 3001);
}

/* Of more than a thousand, the one that is nearest its end among the first and the last 500. */
static void test_a_login_at_a_limit_ends_the_one_nearest_its_end(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&max_sessions=1999");
    many m;
    make_many(lk, 2000, false, &m);
    int first = -1, second = -1;
    for (int i = 0; i < 2000; i++) {
        if (i >= 500 && i < 1500) continue;
        if (first < 0 || unused_ms(&m, i) > unused_ms(&m, first)) second = first, first = i;
        else if (second < 0 || unused_ms(&m, i) > unused_ms(&m, second)) second = i;
    }
    assert_status(lk, LATCHKEY_OK, log_in(lk));
    assert_int_equal(redis_integer(server, "ZCARD lk:{0}:u:7"), 1999);
    unsigned char raw[RAW];
    char name[SELECTOR + 1];
    for (int i = 0; i < 2; i++) {
        name_of(&m, i ? second : first, raw, name);
        assert_int_equal(redis_integer(server, "EXISTS lk:{0}:s:%s", name), 0);
    }
}

/* -------------------------------------------------------------------------------------------------- others -- */

static void test_a_users_sessions_end_a_thousand_at_a_time(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, options);
    for (int keeps = 0; keeps < 2; keeps++) {
        char keep[LATCHKEY_TOKEN_SIZE];
        many m;
        make_many(lk, MANY, false, &m);
        make_session(lk, HOT, keep);
        watch_begin();
        size_t ended = 0, total = 0;
        const char *token = keeps ? keep : NULL;
        assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, HOT, token, keeps ? LATCHKEY_TOKEN_LENGTH : 0, &ended));
        watch_end();
        assert_int_equal(ended, MANY + 1 - keeps);
        assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, HOT, NULL, 0, NULL, 0, &total));
        assert_int_equal(total, keeps);
        assert_status(lk, keeps ? LATCHKEY_OK : LATCHKEY_NOT_FOUND, validate(lk, keep));
    }
}

static void exchange(latchkey *lk, char token[LATCHKEY_TOKEN_SIZE], int64_t grace_ms)
{
    char made[LATCHKEY_TOKEN_SIZE];
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token, LATCHKEY_TOKEN_LENGTH, grace_ms, made));
    memcpy(token, made, sizeof made);
}

/* Each has old tokens and sections, which end with it. */
static void test_what_ends_with_sessions_counts(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, options);
    char token[LATCHKEY_TOKEN_SIZE], section[24];
    for (int i = 0; i < 40; i++) {
        make_session(lk, HOT, token);
        for (int r = 0; r < (i % 2 ? 64 : 0); r++) exchange(lk, token, 600000);
        for (int c = 0; c < 16; c++) {
            snprintf(section, sizeof section, "section%d", c);
            assert_status(lk, LATCHKEY_OK,
                          latchkey_section_put(lk, token, LATCHKEY_TOKEN_LENGTH, section, section, strlen(section)));
        }
    }
    watch_begin();
    size_t ended;
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, HOT, NULL, 0, &ended));
    seen s = watch_end();
    assert_int_equal(ended, 40);
    assert_in_range(s.deleted, 500, 1200);
    assert_int_equal(redis_count_keys(server, "lk:{0}:s:*"), 0);
    assert_int_equal(redis_count_keys(server, "lk:{0}:f:*"), 0);
}

static void test_nothing_else_grows_with_a_users_sessions(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, options);
    char token[LATCHKEY_TOKEN_SIZE];
    many m;
    make_many(lk, MANY, false, &m);
    watch_begin();
    uint64_t generation;
    size_t loaded;
    latchkey_population population = {0};
    latchkey_entry entry;
    make_session(lk, HOT, token);
    assert_status(lk, LATCHKEY_OK, latchkey_validate_fresh(lk, token, LATCHKEY_TOKEN_LENGTH, 0, &entry));
    assert_status(lk, LATCHKEY_OK, touch(lk, token));
    exchange(lk, token, 0);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_selector(lk, HOT, token));
    assert_status(lk, LATCHKEY_OK, latchkey_user_generation(lk, HOT, &generation));
    assert_status(lk, LATCHKEY_OK, create_with(lk, HOT, generation, token));
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    assert_status(lk, LATCHKEY_OK, latchkey_prewarm(lk, 5000, &loaded));
    assert_in_range(loaded, 4900, 5000); /* others come and go */
    assert_status(lk, LATCHKEY_OK, latchkey_sample(lk, 2000, &population, sizeof population));
    watch_end();
    watch_begin();
    end_work(); /* its sessions would end as well */
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    watch_end();
    size_t total;
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, HOT, NULL, 0, NULL, 0, &total));
    assert_int_equal(total, 0);
}

static void test_a_change_of_all_rights_goes_in_parts(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, options);
    many m;
    make_many(lk, 5000, false, &m);
    watch_begin();
    latchkey_access access = {.size = sizeof access, .role = "guest"};
    size_t changed;
    assert_status(lk, LATCHKEY_OK, latchkey_set_user_access(lk, HOT, &access, &changed));
    watch_end();
    assert_int_equal(changed, 5000);
}

#define HOT_TEST(name) cmocka_unit_test_setup_teardown(name, server_clean, end_test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOT_TEST(test_sessions_are_listed_in_parts),
        HOT_TEST(test_sessions_that_end_at_one_moment_are_listed_in_parts),
        HOT_TEST(test_a_list_neither_loses_nor_repeats_a_session_that_moves),
        HOT_TEST(test_a_login_at_a_limit_looks_at_a_thousand_sessions),
        HOT_TEST(test_a_login_at_a_limit_counts_only_the_living),
        HOT_TEST(test_a_login_at_a_limit_ends_the_one_nearest_its_end),
        HOT_TEST(test_a_users_sessions_end_a_thousand_at_a_time),
        HOT_TEST(test_what_ends_with_sessions_counts),
        HOT_TEST(test_nothing_else_grows_with_a_users_sessions),
        HOT_TEST(test_a_change_of_all_rights_goes_in_parts),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

/* SPDX-License-Identifier: MIT
 *
 * Scripts in a slot that moves from one node of a cluster to another: whichever keys have gone already, none of them
 * does anything, and each says that it is to be tried again. Once the slot is stable they do all of it. (Guarantee C.)
 *
 * The scripts are run as they are, without a handle: no other code can then hide what one of them did.
 */
#include "base/record.h"
#include "cluster.h"
#include "redis/script.h"

#include "check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SELECTOR "AAAAAAAAAAAAAAAAAAAA"
#define OTHER "BBBBBBBBBBBBBBBBBBBB"
#define BASE "lk:{5}:"

enum { WORDS_MAX = 24 };

typedef struct world {
    cluster *c;
    int slot, from, to;
    uint8_t record[LK_RECORD_SIZE];
    char state[1 << 14]; /* what both nodes held before */
} world;

typedef struct run {
    enum lk_script_id id;
    const char *selector; /* NULL: the script takes none */
    lk_span words[WORDS_MAX];
    size_t count;
} run;

#define TEXT(text)                                                                                                     \
    {                                                                                                                  \
        text, sizeof text - 1                                                                                          \
    }
#define EVERY(...) ((const lk_span[]){__VA_ARGS__})
#define RUN(id, selector, ...)                                                                                         \
    run_at(w, node, LK_SCRIPT_##id, selector, EVERY(__VA_ARGS__), sizeof EVERY(__VA_ARGS__) / sizeof(lk_span))

/* With the mark of a cluster; the reply is the caller's. */
static redisReply *run_at(const world *w, int node, enum lk_script_id id, const char *selector, const lk_span *more,
                          size_t count)
{
    static const lk_config config = {.prefix = "lk", .cluster = true};
    lk_span words[WORDS_MAX];
    const char *argv[WORDS_MAX];
    size_t sizes[WORDS_MAX];
    lk_script_names names;
    size_t used = lk_script_words(&names, words, id, &config, 5, selector, true);
    lk_script_by_text(words, id);
    for (size_t i = 0; i < count; i++) words[used++] = more[i];
    for (size_t i = 0; i < used; i++) {
        argv[i] = words[i].data;
        sizes[i] = words[i].size;
    }
    redis_do(w->c->node[node], "CLUSTER MYID"); /* there is a connection */
    redisReply *reply = redisCommandArgv(w->c->node[node]->control, (int)used, argv, sizes);
    assert_non_null(reply);
    return reply;
}

static redisReply *create(const world *w, int node, const char *selector)
{
    const uint8_t *v = w->record;
    return RUN(CREATE, selector, TEXT("7"), TEXT("3600000"), TEXT("7200000"), TEXT("0"), TEXT("0"), TEXT("evict"),
               TEXT("0"), {v, LK_RECORD_EXPIRES},
               {v + LK_RECORD_PERMISSIONS, LK_RECORD_CREATED - LK_RECORD_PERMISSIONS},
               {v + LK_RECORD_DEVICE, LK_RECORD_SIZE - LK_RECORD_DEVICE});
}

/* Everything that the two nodes hold. */
static void look(const world *w, char *out, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < 2; i++) {
        redis *at = w->c->node[i];
        size_t count;
        char **keys = redis_keys(at, "*", &count);
        for (size_t k = 0; k < count; k++) {
            redisReply *dump = redis_command(at, "DUMP %s", keys[k]);
            used += (size_t)snprintf(out + used, size - used, "%d %s ", i, keys[k]);
            for (size_t b = 0; dump->type == REDIS_REPLY_STRING && b < dump->len && used + 3 < size; b++)
                used += (size_t)snprintf(out + used, size - used, "%02x", (uint8_t)dump->str[b]);
            used += (size_t)snprintf(out + used, size - used, "\n");
            freeReplyObject(dump);
        }
        redis_free_keys(keys);
    }
    assert_true(used + 3 < size);
}

/* ASK and MOVED are Redis' own answers, to the key that the call names; the call is then not even begun. */
static void refused(world *w, const char *what, redisReply *reply)
{
    static char after[sizeof w->state];
    if (reply->type != REDIS_REPLY_ERROR) fail_msg("%s: no error", what);
    if (strncmp(reply->str, "TRYAGAIN ", 9) && strncmp(reply->str, "ASK ", 4) && strncmp(reply->str, "MOVED ", 6))
        fail_msg("%s: %s", what, reply->str);
    freeReplyObject(reply);
    look(w, after, sizeof after);
    if (strcmp(after, w->state)) fail_msg("%s changed\n%sto\n%s", what, w->state, after);
}

static void all_refused(world *w)
{
    const int node = w->from;
    const lk_span none = {"", 0};
    look(w, w->state, sizeof w->state);
    refused(w, "create", create(w, node, OTHER));
    refused(w, "create again", create(w, node, SELECTOR));
    refused(w, "touch", RUN(TOUCH, SELECTOR, none));
    refused(w, "set_fields", RUN(SET_FIELDS, SELECTOR, none, none, TEXT("1"), none, TEXT("name"), TEXT("value")));
    refused(w, "revoke", RUN(REVOKE, SELECTOR, none, TEXT("0"), none, TEXT("12")));
    refused(w, "revoke, held", RUN(REVOKE, SELECTOR, none, TEXT("1"), none, TEXT("12"), TEXT("1")));
    refused(w, "revoke, gone", RUN(REVOKE, OTHER, none, TEXT("1"), none, TEXT("12")));
    refused(w, "reassert", run_at(w, node, LK_SCRIPT_REASSERT, SELECTOR, EVERY(TEXT("#99")), 1));
    refused(w, "revoke_user", RUN(REVOKE_USER, SELECTOR, TEXT("7"), none, TEXT("0")));
    refused(w, "sessions", RUN(SESSIONS, SELECTOR, TEXT("7"), TEXT("10")));
    refused(w, "rotate", RUN(ROTATE, SELECTOR, none, TEXT(OTHER), {w->record, 32}, {w->record, 15}, TEXT("0")));
    refused(w, "rotate, grace", RUN(ROTATE, SELECTOR, none, TEXT(OTHER), {w->record, 32}, {w->record, 15}, TEXT("9")));
    refused(w, "records", RUN(RECORDS, SELECTOR, none, TEXT("1")));
    refused(w, "set_user", RUN(SET_USER, SELECTOR, TEXT("7"), none, none));
    refused(w, "section_put", RUN(SECTION_PUT, SELECTOR, none, TEXT("s"), TEXT("1"), TEXT("what")));
    refused(w, "import",
            RUN(IMPORT, OTHER, TEXT("7"), TEXT("9"), TEXT("9999999999999"), TEXT("0"), {w->record, 184}, TEXT("0"),
                TEXT("9999999999999")));
    refused(w, "map", RUN(MAP, OTHER, TEXT(SELECTOR), TEXT("9999999999999")));
    refused(w, "revoke_everyone", run_at(w, node, LK_SCRIPT_REVOKE_EVERYONE, NULL, NULL, 0));
    refused(w, "probe", run_at(w, node, LK_SCRIPT_PROBE, SELECTOR, NULL, 0));
}

/* A session, with a section, of a partition whose counter is at 1 and that has a cut-off of long ago. */
static void make(world *w)
{
    const int node = w->from;
    const lk_span none = {"", 0};
    redisReply *reply;
    redis_do(w->c->node[node], "SET " BASE "e 1");
    freeReplyObject(create(w, node, OTHER));
    reply = RUN(REVOKE, OTHER, none, TEXT("0"));
    assert_int_equal(reply->type, REDIS_REPLY_STRING);
    freeReplyObject(reply);
    reply = create(w, node, SELECTOR);
    assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
    freeReplyObject(reply);
    reply = RUN(SECTION_PUT, SELECTOR, none, TEXT("s"), TEXT("1"), TEXT("what"));
    assert_int_equal(reply->integer, 1);
    freeReplyObject(reply);
    assert_int_equal(redis_integer(w->c->node[node], "GET " BASE "q"), 1);
}

/* Whatever moved first, and also before anything has. */
static void nothing_is_done_while_the_slot_moves(void **state)
{
    world *w = *state;
    static const char *const first[] = {"",       BASE "q",     BASE "s:" SELECTOR, BASE "e",
                                        BASE "r", BASE "u:7:1", BASE "a",           BASE "s:" SELECTOR ":s"};
    make(w);
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        if (*first[i]) assert_int_equal(redis_integer(w->c->node[w->from], "EXISTS %s", first[i]), 1);
        cluster_move_begin(w->c, w->slot, w->from, w->to);
        if (*first[i]) cluster_move_key(w->c, first[i], w->from, w->to);
        all_refused(w);
        cluster_move_keys(w->c, w->slot, w->from, w->to, -1);
        all_refused(w);
        cluster_move_finish(w->c, w->slot, w->from, w->to);
        cluster_move_slot(w->c, w->slot, w->from);
    }
}

/* The same without a move, on both sides: it is done, and whoever listens to the sharded channel is told. */
static void all_is_done_where_the_slot_is_stable(void **state)
{
    world *w = *state;
    const lk_span none = {"", 0};
    for (int turn = 0; turn < 2; turn++) {
        int node = cluster_owner(w->c, w->slot);
        w->from = node;
        if (!turn) make(w);
        redisContext *ear = redisConnect("127.0.0.1", w->c->node[node]->port);
        redisReply *reply = redisCommand(ear, "SSUBSCRIBE " BASE "rev");
        assert_non_null(reply);
        freeReplyObject(reply);
        if (turn) reply = run_at(w, node, LK_SCRIPT_REVOKE_EVERYONE, NULL, NULL, 0);
        else reply = RUN(REVOKE, SELECTOR, none, TEXT("0"));
        assert_int_equal(reply->type, turn ? REDIS_REPLY_INTEGER : REDIS_REPLY_STRING);
        freeReplyObject(reply);
        assert_int_equal(redisGetReply(ear, (void **)&reply), REDIS_OK);
        assert_string_equal(reply->element[0]->str, "smessage");
        if (!turn) assert_int_equal(strncmp(reply->element[2]->str, "2 " SELECTOR " @", 24), 0);
        else assert_int_equal(strncmp(reply->element[2]->str, "3 *", 3), 0);
        freeReplyObject(reply);
        redisFree(ear);
        assert_int_equal(redis_count_keys(w->c->node[node], BASE "s:*"), 0);
        cluster_move_slot(w->c, w->slot, !node);
    }
}

/* A user who may not publish there: a revocation is not begun. */
static void what_may_not_be_said_is_not_begun(void **state)
{
    world *w = *state;
    const lk_span none = {"", 0};
    int node = w->from;
    make(w);
    redis_do(w->c->node[node], "ACL SETUSER default -spublish");
    redisReply *reply = RUN(REVOKE, SELECTOR, none, TEXT("0"));
    redis_do(w->c->node[node], "ACL SETUSER default +spublish");
    assert_int_equal(reply->type, REDIS_REPLY_ERROR);
    assert_non_null(strstr(reply->str, "spublish"));
    freeReplyObject(reply);
    assert_int_equal(redis_integer(w->c->node[node], "EXISTS " BASE "s:" SELECTOR), 1);
    assert_int_equal(redis_integer(w->c->node[node], "GET " BASE "q"), 1);
}

static int start(void **state)
{
    world *w = calloc(1, sizeof *w);
    const lk_record record = {.idle_ms = 3600000, .entry = {.user_id = 7, .expires_at_ms = INT64_C(9999999999999)}};
    if (!w) return -1;
    lk_record_encode(&record, w->record);
    w->c = cluster_start(&(cluster_plan){.primaries = 2});
    w->slot = cluster_slot(w->c, 5);
    w->from = cluster_owner(w->c, w->slot);
    w->to = !w->from;
    *state = w;
    return 0;
}

static int end(void **state)
{
    world *w = *state;
    cluster_end(w->c);
    free(w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_done_while_the_slot_moves, start, end),
        cmocka_unit_test_setup_teardown(all_is_done_where_the_slot_is_stable, start, end),
        cmocka_unit_test_setup_teardown(what_may_not_be_said_is_not_begun, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

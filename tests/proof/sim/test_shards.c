/* SPDX-License-Identifier: MIT
 *
 * Do the simulation's nodes of a cluster (shards.c) answer like real ones? Two real nodes and the model have the same keys; the slot of
 * partition 0 moves from one to the other, key by key; at each step both nodes of both are asked the same.
 *
 * What shards.c asks of the servers and of the world is answered here, with two keyspaces and no time.
 */
#include "sentinels.h"
#include "server.h"
#include "shards.h"

#include "check.h" /* behind world.h: cmocka has a macro that is called fail */
#include "cluster.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

enum { NODES = 2, WORDS = 12, EVENTS = 64 };

static cluster *real;
static store *model[NODES];
static const char *moves_next; /* the key */

/* ------------------------------------------------------------------------------------ the world of shards.c -- */

world w;
static struct {
    void (*happen)(void *context, uint64_t number);
    void *context;
    uint64_t number;
} event[EVENTS];
static int events;

void at(int64_t when_us, void (*happen)(void *context, uint64_t number), void *context, uint64_t number)
{
    (void)when_us;
    assert_true(events < EVENTS);
    event[events].happen = happen;
    event[events].context = context;
    event[events++].number = number;
}
uint64_t draw(uint64_t below) { return (void)below, 0; }
int64_t draw_scale(int64_t from, int64_t to) { return (void)to, from; }
bool chance(unsigned parts_of_a_million) { return (void)parts_of_a_million, false; }
void trace(const char *format, ...) { (void)format; }

int server_count(void) { return NODES; }
int server_acting_of(int shard) { return shard; }
bool server_is_acting(int which) { return (void)which, true; }
bool server_primary(int which) { return (void)which, true; }
bool server_up(int which) { return (void)which, true; }
bool server_answers(int which) { return (void)which, true; }
int server_replica_of(int which) { return (void)which, -1; }
int64_t server_down_since_us(int which) { return (void)which, 0; }
bool server_holds(int which, const char *key) { return store_has(model[which], key); }
bool server_has_key(int which, const char *key) { return store_has(model[which], key); }
void server_unsubscribe(int which, unsigned slot) { (void)which, (void)slot; }
bool server_move_key(int from, int to, const char *prefix)
{
    object *o = store_take(model[from], moves_next ? moves_next : prefix, 0);
    if (o) store_put(model[to], o);
    return o;
}

/* The events that wait, and not those that they make. */
static void time_goes_on(void)
{
    int count = events;
    for (int i = 0; i < count; i++) event[i].happen(event[i].context, event[i].number);
    memmove(event, event + count, sizeof *event * (size_t)(events - count));
    events -= count;
}

/* ------------------------------------------------------------------------------------------------ both sides -- */

/* Ports of the real nodes are written as those of the model. */
static void text_of(const redisReply *r, buffer *out)
{
    char port[8];
    for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i < r->elements; i++) text_of(r->element[i], out);
    if (r->type == REDIS_REPLY_INTEGER) buffer_print(out, "%lld ", r->integer);
    else if (r->type == REDIS_REPLY_NIL) buffer_print(out, "nil ");
    else if (r->type != REDIS_REPLY_ARRAY) {
        const char *colon = strstr(r->str, "127.0.0.1:");
        int which = -1;
        for (int i = 0; colon && i < NODES; i++) {
            snprintf(port, sizeof port, "%d", real->node[i]->port);
            if (!strcmp(colon + 10, port)) which = i;
        }
        if (which >= 0) buffer_print(out, "'%.*s%d' ", (int)(colon + 10 - r->str), r->str, SERVER_PORT + which);
        else buffer_print(out, "'%s' ", r->str);
    }
}

static unsigned publishes(void *context, word channel, word text, bool sharded)
{
    return (void)context, (void)channel, (void)text, (void)sharded, 0;
}
static void nothing(void *context, const word *words, size_t count) { (void)context, (void)words, (void)count; }
static void wrote(void *context, const char *key, bool made) { (void)context, (void)key, (void)made; }
static void deleted(void *context, const char *key) { (void)context, (void)key; }
static void renamed(void *context, const char *from, const char *to) { (void)context, (void)from, (void)to; }
static const char *refuses(void *context, const word *words, size_t count)
{
    return shards_refusal(*(const int *)context, words, count);
}

static void ask_model(int node, const word *words, size_t count, buffer *out)
{
    const store_events told = {&node, publishes, nothing, wrote, deleted, renamed, false, refuses};
    const char *no = shards_refusal(node, words, count);
    if (no) buffer_print(out, "-%s\r\n", no);
    else if (!store_run(model[node], words, count, INT64_C(1700000000) * SECOND, &told, out))
        fail_msg("no model of %s", words[0].text);
}

/* Words are parted by spaces; ~ stands for a space in one. */
static void both(int node, const char *command)
{
    char copy[256], *rest = copy;
    const char *texts[WORDS];
    size_t sizes[WORDS], count = 0;
    word words[WORDS];
    buffer bytes = {0}, ours = {0}, theirs = {0};
    snprintf(copy, sizeof copy, "%s", command);
    for (char *one; (one = strsep(&rest, " ")); count++) {
        for (char *c = one; *c; c++)
            if (*c == '~') *c = ' ';
        texts[count] = one;
        sizes[count] = strlen(one);
        words[count] = (word){one, sizes[count]};
    }
    ask_model(node, words, count, &bytes);
    redisReader *reader = redisReaderCreate();
    redisReply *reply = NULL;
    assert_int_equal(redisReaderFeed(reader, bytes.bytes, bytes.size), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, (void **)&reply), REDIS_OK);
    text_of(reply, &ours);
    freeReplyObject(reply);
    redisReaderFree(reader);
    redis_do(real->node[node], "PING"); /* it has its control connection */
    reply = redisCommandArgv(real->node[node]->control, (int)count, texts, sizes);
    text_of(reply, &theirs);
    freeReplyObject(reply);
    buffer_add(&ours, "", 1), buffer_add(&theirs, "", 1);
    if (strcmp(ours.bytes, theirs.bytes))
        fail_msg("node %d: %s\n  Redis: %s\n  model: %s", node, command, theirs.bytes, ours.bytes);
    buffer_free(&bytes), buffer_free(&ours), buffer_free(&theirs);
}

static const char *const commands[] = {"GET lk:{0}:q",
                                       "GET lk:{0}:e",
                                       "GET lk:{0}:none",
                                       "GET lk:{1}:q",
                                       "GET lk:{3}:none",
                                       "MGET lk:{0}:q lk:{0}:e",
                                       "MGET lk:{0}:q lk:{0}:none",
                                       "MGET lk:{0}:none lk:{0}:no",
                                       "MGET lk:{0}:q lk:{1}:q",
                                       "EXISTS lk:{0}:q lk:{0}:none",
                                       "HGET lk:{0}:s v",
                                       "HGET lk:{0}:none v",
                                       "PTTL lk:{0}:s",
                                       "SPUBLISH lk:{0}:rev text",
                                       "SPUBLISH lk:{1}:rev text",
                                       "EVAL return~1 1 lk:{0}:q",
                                       "EVAL return~1 1 lk:{0}:none",
                                       "EVAL return~1 2 lk:{0}:q lk:{0}:none",
                                       "EVAL return~1 2 lk:{0}:q lk:{1}:q",
                                       "EVAL return~redis.pcall('EXISTS','lk:{0}:!') 1 lk:{0}:q",
                                       "EVAL return~redis.pcall('EXISTS','lk:{0}:q') 1 lk:{0}:q",
                                       "EVAL return~redis.pcall('GET','lk:{0}:e') 1 lk:{0}:q",
                                       "EVAL return~redis.pcall('GET','lk:{1}:q') 1 lk:{0}:q",
                                       "EVAL return~redis.pcall('SPUBLISH','lk:{0}:rev','x') 1 lk:{0}:q",
                                       "EVAL return~redis.pcall('SPUBLISH','lk:{1}:rev','x') 1 lk:{0}:q",
                                       "EVAL return~redis.pcall('TIME')[3] 1 lk:{0}:q"};

/* Which node has the slot of each partition, as this one says. */
static void owners_of(const redisReply *slots, int owner[CLUSTER_PARTITIONS])
{
    for (int p = 0; p < CLUSTER_PARTITIONS; p++) {
        owner[p] = -1;
        for (size_t i = 0; i < slots->elements; i++) {
            redisReply **range = slots->element[i]->element;
            long long slot = cluster_slot(real, (unsigned)p), port = range[2]->element[1]->integer;
            if (slot < range[0]->integer || slot > range[1]->integer) continue;
            assert_int_equal(owner[p], -1);
            assert_string_equal(range[2]->element[0]->str, "127.0.0.1");
            owner[p] = port == SERVER_PORT || port == real->node[0]->port ? 0 : 1;
        }
    }
}

static void compare_slots(int node)
{
    int ours[CLUSTER_PARTITIONS], theirs[CLUSTER_PARTITIONS];
    buffer bytes = {0};
    redisReply *reply = NULL;
    shards_print_slots(node, &bytes);
    redisReader *reader = redisReaderCreate();
    assert_int_equal(redisReaderFeed(reader, bytes.bytes, bytes.size), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, (void **)&reply), REDIS_OK);
    owners_of(reply, ours);
    freeReplyObject(reply);
    redisReaderFree(reader);
    buffer_free(&bytes);
    reply = redis_command(real->node[node], "CLUSTER SLOTS");
    owners_of(reply, theirs);
    freeReplyObject(reply);
    assert_memory_equal(ours, theirs, sizeof ours);
}

static void compare(void)
{
    for (int node = 0; node < NODES; node++) {
        for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) both(node, commands[i]);
        compare_slots(node);
    }
}

/* ------------------------------------------------------------------------------------------------- the test -- */

static void write_both(int node, const char *set, const char *key, const char *rest)
{
    char command[128];
    snprintf(command, sizeof command, "%s %s %s", set, key, rest);
    both(node, command);
}

static void expect_sunsubscribe(redisContext *subscriber, const char *channel, long long left)
{
    redisReply *reply = NULL;
    assert_int_equal(redisGetReply(subscriber, (void **)&reply), REDIS_OK);
    assert_string_equal(reply->element[0]->str, "sunsubscribe");
    assert_string_equal(reply->element[1]->str, channel);
    assert_int_equal(reply->element[2]->integer, left);
    freeReplyObject(reply);
}

static redisContext *subscribe(const char *const channel[2])
{
    redisContext *c = redisConnectUnix(real->node[0]->socket);
    assert_true(c && !c->err);
    for (int i = 0; i < 2; i++) {
        redisReply *reply = redisCommand(c, "SSUBSCRIBE %s", channel[i]);
        assert_string_equal(reply->element[0]->str, "ssubscribe");
        assert_int_equal(reply->element[2]->integer, i + 1);
        freeReplyObject(reply);
    }
    return c;
}

static void test_nodes_answer_as_in_redis(void **state)
{
    (void)state;
    static const char *const keys[] = {"lk:{0}:q", "lk:{0}:e", "lk:{0}:s"}, *const channels[] = {"lk:{2}:rev",
                                                                                                 "lk:{0}:rev"};
    int slot = cluster_slot(real, 0);
    for (unsigned p = 0; p < CLUSTER_PARTITIONS; p++) cluster_move_slot(real, cluster_slot(real, p), (int)p % 2);
    write_both(0, "SET", keys[0], "7");
    write_both(0, "SET", keys[1], "1000");
    write_both(0, "HSET", keys[2], "v record");
    write_both(1, "SET", "lk:{1}:q", "3");
    compare();

    cluster_move_begin(real, slot, 0, 1);
    shards_move(MS, 0, NULL);
    compare();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) { /* the counter first */
        cluster_move_key(real, moves_next = keys[i], 0, 1);
        time_goes_on();
        compare();
    }
    redisContext *subscriber = subscribe(channels);
    cluster_move_finish(real, slot, 0, 1);
    moves_next = NULL;
    shards_heal();
    compare();
    expect_sunsubscribe(subscriber, "lk:{0}:rev", 1);
    redisFree(subscriber);
}

static int begin(void **state)
{
    (void)state;
    real = cluster_start(&(cluster_plan){.primaries = NODES});
    for (int i = 0; i < NODES; i++) model[i] = store_open();
    shards_begin(true);
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (int i = 0; i < NODES; i++) store_close(model[i]);
    cluster_end(real);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nodes_answer_as_in_redis)};
    return cmocka_run_group_tests(tests, begin, end);
}

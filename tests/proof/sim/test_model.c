/* SPDX-License-Identifier: MIT
 *
 * Is the simulation's Redis (store.c) like the real one? The same random commands, with their options, go to both, and
 * every reply is compared; so are the messages that they publish. The scripts are not written twice, so of them only
 * what lies between Lua and Redis is compared: arguments, conversions, errors, and what a failing script leaves.
 *
 * A third keyspace, a replica, is told the model's effects alone, and must hold the same in the end.
 *
 * The model's clock is the server's: it is told the time that the real one has just said. Nothing may end just when a
 * command comes, or one would see it and the other not: so each command waits for a time at which nothing does, and
 * where the machine stood still meanwhile, both begin anew.
 */
#include "check.h"
#include "redis.h"
#include "test_net.h"

#include "redis/resp.h"
#include "store.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { COMMANDS = 6000, APART_MS = 100, TOLERANCE_MS = 2 * APART_MS, WORDS = 32, WORD_ROOM = 512 };

static redis *server;
static int to_server = -1;
static store *model, *replica;
static uint64_t random_state;
static int64_t now_us; /* of the command under way */
static redisContext *subscriber;
static buffer published; /* by the model */

static uint64_t draw(uint64_t below)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (random_state >> 33) % below;
}

/* ----------------------------------------------------------------------------------------------- both sides -- */

static unsigned model_publishes(void *context, word channel, word text, bool sharded)
{
    (void)context, (void)sharded;
    buffer_print(&published, "%s %s\n", channel.text, text.text);
    return 0;
}

static void model_tells(void *context, const word *words, size_t count)
{
    (void)context;
    store_run_again(replica, words, count, now_us);
}
static void model_writes(void *context, const char *key, bool made) { (void)context, (void)key, (void)made; }
static void model_deletes(void *context, const char *key) { (void)context, (void)key; }
static void model_renames(void *context, const char *from, const char *to) { (void)context, (void)from, (void)to; }

static lk_reply *parse(lk_resp *resp, const char *bytes, size_t size)
{
    lk_reply *reply = NULL;
    assert_true(lk_resp_feed(resp, bytes, size));
    if (lk_resp_next(resp, &reply) < 0) fail_msg("not RESP: %.*s", (int)size, bytes);
    return reply;
}

static lk_reply *ask_server(const word *words, size_t count)
{
    static lk_resp *resp;
    char got[16384];
    lk_reply *reply = NULL;
    buffer out = {0};
    if (!resp) resp = lk_resp_open();
    buffer_header(&out, '*', (int64_t)count);
    for (size_t i = 0; i < count; i++) buffer_bulk(&out, words[i].text, words[i].size);
    assert_int_equal(send(to_server, out.bytes, out.size, 0), (ssize_t)out.size);
    buffer_free(&out);
    while (!reply) {
        ssize_t came = recv(to_server, got, sizeof got, 0);
        assert_true(came > 0);
        reply = parse(resp, got, (size_t)came);
    }
    return reply;
}

static int64_t server_us(void)
{
    lk_reply *reply = ask_server(&(word){"TIME", 4}, 1);
    int64_t us = atoll(reply->item[0]->text) * 1000000 + atoll(reply->item[1]->text);
    lk_reply_free(reply);
    return us;
}

static lk_reply *ask_store(store *s, const word *words, size_t count)
{
    static const store_events events = {NULL,          model_publishes, model_tells,     model_writes,
                                        model_deletes, model_renames,   .replica = false};
    buffer out = {0};
    if (!store_run(s, words, count, now_us, &events, &out)) fail_msg("no model of %s", words[0].text);
    lk_resp *resp = lk_resp_open();
    lk_reply *reply = parse(resp, out.bytes, out.size);
    assert_non_null(reply);
    assert_true(lk_resp_empty(resp));
    lk_resp_close(resp);
    buffer_free(&out);
    return reply;
}

/* What the real server published up to here; then both sides begin anew. */
static void compare_messages(void)
{
    buffer real = {0};
    bool heard = false;
    redisReply *message;
    redis_do(server, "PUBLISH channel up.to.here");
    while (!heard && redisGetReply(subscriber, (void **)&message) == REDIS_OK) {
        heard = !strcmp(message->element[2]->str, "up.to.here");
        if (!heard) buffer_print(&real, "%s %s\n", message->element[1]->str, message->element[2]->str);
        freeReplyObject(message);
    }
    assert_true(heard);
    assert_int_equal(real.size, published.size);
    if (real.size) assert_memory_equal(real.bytes, published.bytes, real.size);
    published.size = 0;
    buffer_free(&real);
}

/* --------------------------------------------------------------------------------------------- comparing -- */

/* What is left of a time moves by what passes between the two. */
static bool equal(const lk_reply *a, const lk_reply *b)
{
    if (a->type != b->type || (a->type == LK_REPLY_ARRAY && a->size != b->size)) return false;
    if (a->type == LK_REPLY_INTEGER)
        return a->integer == b->integer || (a->integer > 0 && llabs(a->integer - b->integer) <= TOLERANCE_MS);
    if (a->type == LK_REPLY_NIL) return true;
    if (a->type == LK_REPLY_ERROR) return !strncmp(a->text, b->text, strcspn(a->text, " ") + 1);
    if (a->type != LK_REPLY_ARRAY) return a->size == b->size && !memcmp(a->text, b->text, a->size);
    bool same = true;
    for (size_t i = 0; i < a->size && same; i++) same = equal(a->item[i], b->item[i]);
    return same;
}

static void show(const lk_reply *r, buffer *out)
{
    if (r->type == LK_REPLY_INTEGER) buffer_print(out, "%lld ", r->integer);
    else if (r->type == LK_REPLY_NIL) buffer_print(out, "nil ");
    else if (r->type == LK_REPLY_ARRAY) {
        buffer_print(out, "[");
        for (size_t i = 0; i < r->size; i++) show(r->item[i], out);
        buffer_print(out, "] ");
    } else buffer_print(out, "'%.200s' ", r->text);
}

static void must_equal(const lk_reply *real, const lk_reply *ours, const word *words, size_t count)
{
    if (equal(real, ours)) return;
    buffer a = {0}, b = {0}, asked = {0};
    for (size_t i = 0; i < count; i++) buffer_print(&asked, "%.300s ", words[i].text);
    show(real, &a);
    show(ours, &b);
    buffer_add(&a, "", 1), buffer_add(&b, "", 1), buffer_add(&asked, "", 1);
    fail_msg("%s\n  Redis: %s\n  model: %s", asked.bytes, a.bytes, b.bytes);
}

static void begin_anew(void)
{
    redis_do(server, "FLUSHALL");
    store_close(model);
    store_close(replica);
    model = store_open();
    replica = store_open();
}

/* A time at which nothing ends, nor did a moment ago, nor will. */
static int64_t quiet_us(void)
{
    int64_t us = server_us(), end;
    while ((end = store_next_end(model, us / 1000 - 2 * APART_MS)) <= us / 1000 + APART_MS) {
        usleep((useconds_t)(end + 2 * APART_MS + 1 - us / 1000) * 1000);
        us = server_us();
    }
    return us;
}

static void both_words(const word *words, size_t count)
{
    now_us = quiet_us();
    lk_reply *real = ask_server(words, count), *ours = ask_store(model, words, count);
    if (server_us() > now_us + APART_MS * 1000) begin_anew();
    else must_equal(real, ours, words, count);
    lk_reply_free(real);
    lk_reply_free(ours);
}

/* ------------------------------------------------------------------------------------------ random commands -- */

/* How long a key is to live. Hardly two are equal: GT and LT would depend on which of the two clocks was a moment later. */
static long long life_ms(void) { return draw(9) ? 60000 + 40000 * (long long)draw(4) + (long long)draw(20000) : 300; }

/* What a word of a template stands for; anything else stands for itself. */
static void fill_in(const char *what, char out[WORD_ROOM])
{
    static const char *const scores[] = {"0", "1", "2", "2.5", "-3", "1e3", "inf", "-inf", "0.1"};
    static const char *const bounds[] = {"0", "1", "(1", "2", "(2.5", "-inf", "+inf", "(inf", "1000", "x"};
    static const char *const values[] = {"", "a", "10", "-7", "abc", "9223372036854775807", "1.5", "user 7"};
    static int64_t ids = 1;
    char kind[3] = {what[0] == '$' ? what[1] : 0, 0};
    int64_t ms = now_us / 1000;
    switch (kind[0]) {
    case 's':
    case 'h':
    case 'z':
    case 'x': /* a key, mostly of that type */
        snprintf(out, WORD_ROOM, "%c%d", draw(20) ? kind[0] : "shzx"[draw(4)], (int)draw(3));
        break;
    case 'k': snprintf(out, WORD_ROOM, "%c%d", "shzx"[draw(4)], (int)draw(3)); break;
    case 'm': snprintf(out, WORD_ROOM, "m%d", (int)draw(6)); break; /* a field, a member */
    case 'v': snprintf(out, WORD_ROOM, "%s", values[draw(sizeof values / sizeof *values)]); break;
    case 'n': snprintf(out, WORD_ROOM, "%d", (int)draw(9) - 4); break;
    case 'c': snprintf(out, WORD_ROOM, "%s", scores[draw(sizeof scores / sizeof *scores)]); break;
    case 'b': snprintf(out, WORD_ROOM, "%s", bounds[draw(sizeof bounds / sizeof *bounds)]); break;
    case 't': snprintf(out, WORD_ROOM, "%lld", life_ms()); break;
    case 'T': snprintf(out, WORD_ROOM, "%lld", (long long)ms + life_ms()); break;
    case 'P': snprintf(out, WORD_ROOM, "%lld", (long long)ms - 5000); break; /* in the past */
    case 'i': snprintf(out, WORD_ROOM, "%lld-%d", (long long)(draw(9) ? ++ids : ids), (int)draw(2)); break;
    case 'I': snprintf(out, WORD_ROOM, "%s%d", draw(4) ? "" : "(", (int)draw((uint64_t)ids + 3)); break;
    default: snprintf(out, WORD_ROOM, "%s", what);
    }
}

static void both(const char *template)
{
    static char texts[WORDS][WORD_ROOM];
    word words[WORDS];
    char copy[WORD_ROOM], *rest = copy;
    size_t count = 0;
    now_us = server_us();
    snprintf(copy, sizeof copy, "%s", template);
    for (char *one; (one = strsep(&rest, " ")); count++) {
        fill_in(one, texts[count]);
        words[count] = (word){texts[count], strlen(texts[count])};
    }
    both_words(words, count);
}

static const char *const templates[] = {"SET $s $v",
                                        "SET $s $v NX",
                                        "SET $s $v XX GET",
                                        "SET $s $v PX $t",
                                        "SET $s $v PXAT $T",
                                        "SET $s $v EX 100 NX",
                                        "SET $s $v KEEPTTL",
                                        "SET $s $v GET",
                                        "SET $s $v PX 0",
                                        "SET $s $v NX XX",
                                        "SETNX $s $v",
                                        "GET $s",
                                        "MGET $s $k $s",
                                        "STRLEN $s",

                                        "GETDEL $s",
                                        "APPEND $s $v",
                                        "INCR $s",
                                        "INCR $s",
                                        "DECR $s",
                                        "INCRBY $s $n",
                                        "INCRBY $s $v",
                                        "DEL $k",
                                        "DEL $k $k",
                                        "UNLINK $k",
                                        "EXISTS $k $k",
                                        "TOUCH $k",
                                        "TYPE $k",
                                        "PERSIST $k",
                                        "EXPIRE $k 100",
                                        "PEXPIRE $k $t",
                                        "PEXPIRE $k $t NX",
                                        "PEXPIRE $k $t XX",
                                        "PEXPIRE $k $t GT",
                                        "PEXPIRE $k $t LT",
                                        "PEXPIREAT $k $T",
                                        "PEXPIREAT $k $T GT",
                                        "PEXPIREAT $k $P",
                                        "PEXPIRE $k $t GT LT",
                                        "PEXPIRE $k $t XX GT",
                                        "PEXPIRE $k x",
                                        "TTL $k",
                                        "PTTL $k",
                                        "PTTL $k",
                                        "EXPIRETIME $k",
                                        "PEXPIRETIME $k",
                                        "RENAME $k $k",
                                        "RENAME $s $s",
                                        "RENAMENX $h $h",
                                        "HSET $h $m $v",
                                        "HSET $h $m $v $m $v",
                                        "HSET $h $m",
                                        "HMSET $h $m $v",
                                        "HSETNX $h $m $v",
                                        "HGET $h $m",
                                        "HMGET $h $m $m $m",
                                        "HGETALL $h",
                                        "HKEYS $h",
                                        "HVALS $h",
                                        "HDEL $h $m",
                                        "HDEL $h $m $m",
                                        "HEXISTS $h $m",
                                        "HLEN $h",
                                        "HSTRLEN $h $m",
                                        "HINCRBY $h $m $n",
                                        "ZADD $z $c $m",
                                        "ZADD $z $c $m $c $m",
                                        "ZADD $z NX $c $m",
                                        "ZADD $z XX $c $m",
                                        "ZADD $z XX CH $c $m",
                                        "ZADD $z GT $c $m",
                                        "ZADD $z XX GT CH $c $m",
                                        "ZADD $z LT CH $c $m $c $m",
                                        "ZADD $z NX GT $c $m",
                                        "ZADD $z INCR $c $m",
                                        "ZADD $z XX INCR $c $m",
                                        "ZADD $z GT INCR $c $m",
                                        "ZADD $z $v $m",
                                        "ZINCRBY $z 2 $m",
                                        "ZCARD $z",
                                        "ZSCORE $z $m",
                                        "ZMSCORE $z $m $m",
                                        "ZRANK $z $m",
                                        "ZCOUNT $z $b $b",
                                        "ZRANGE $z $n $n",
                                        "ZRANGE $z $n $n WITHSCORES",
                                        "ZRANGE $z $n $n REV",
                                        "ZRANGE $z $b $b BYSCORE",
                                        "ZRANGE $z $b $b BYSCORE REV WITHSCORES",
                                        "ZRANGE $z $b $b BYSCORE LIMIT $n $n",
                                        "ZRANGE $z 0 1 LIMIT 0 1",
                                        "ZREVRANGE $z $n $n",
                                        "ZREVRANGE $z 0 -1 WITHSCORES",
                                        "ZRANGEBYSCORE $z $b $b",
                                        "ZRANGEBYSCORE $z $b $b WITHSCORES LIMIT $n $n",
                                        "ZREVRANGEBYSCORE $z $b $b",
                                        "ZREM $z $m",
                                        "ZREM $z $m $m",
                                        "ZREMRANGEBYSCORE $z $b $b",
                                        "ZREMRANGEBYRANK $z $n $n",
                                        "XADD $x $i a $v",
                                        "XADD $x $i a $v b $v",
                                        "XADD $x MAXLEN ~ 3 $i a $v",
                                        "XADD $x MAXLEN 3 $i a $v",
                                        "XADD $x MAXLEN = 5 $i a $v",
                                        "XADD $x NOMKSTREAM $i a $v",
                                        "XADD $x $i a",
                                        "XLEN $x",
                                        "XRANGE $x - +",
                                        "XRANGE $x $I +",
                                        "XRANGE $x $I $I COUNT 2",
                                        "XREVRANGE $x + -",
                                        "XREVRANGE $x + $I COUNT 1",
                                        "XTRIM $x MAXLEN 4",
                                        "XTRIM $x MAXLEN ~ 4",
                                        "PUBLISH channel $v",
                                        "GET",
                                        "ZADD $z 1"};

/* What is to be compared of every key. */
static const char *const all_of[] = {"TYPE", "PEXPIRETIME"};
static const char *const contents[][4] = {
    {"s", "GET"}, {"h", "HGETALL"}, {"z", "ZRANGE", "0", "-1"}, {"x", "XRANGE", "-", "+"}};

static void compare_replica(const word *words, size_t count)
{
    lk_reply *ours = ask_store(model, words, count), *its = ask_store(replica, words, count);
    if (!equal(ours, its)) fail_msg("%s %s: the replica holds something else", words[0].text, words[1].text);
    lk_reply_free(ours);
    lk_reply_free(its);
}

static void compare_all(void)
{
    compare_messages();
    char key[3] = "";
    for (size_t kind = 0; kind < 4; kind++)
        for (char number = '0'; number < '3'; number++) {
            key[0] = contents[kind][0][0];
            key[1] = number;
            for (size_t i = 0; i < 2; i++) {
                word words[] = {{all_of[i], strlen(all_of[i])}, {key, 2}};
                both_words(words, 2);
                compare_replica(words, 2);
            }
            for (size_t type = 0; type < 4; type++) { /* of the wrong type it is an error, here as there */
                word words[4] = {{contents[type][1], strlen(contents[type][1])}, {key, 2}};
                size_t count = 2;
                for (; count < 4 && contents[type][count]; count++)
                    words[count] = (word){contents[type][count], strlen(contents[type][count])};
                both_words(words, count);
                compare_replica(words, count);
            }
        }
}

static void test_commands_answer_as_in_redis(void **state)
{
    (void)state;
    begin_anew();
    for (int i = 0; i < COMMANDS; i++) {
        both(templates[draw(sizeof templates / sizeof *templates)]);
        if (i % 300 == 299) compare_all();
    }
}

/* A long log, cut where Redis cuts it. */
static void test_a_stream_is_cut_as_in_redis(void **state)
{
    (void)state;
    begin_anew();
    for (int i = 0; i < 1600; i++) {
        char id[24];
        snprintf(id, sizeof id, "%d-0", i + 1);
        word words[] = {{"XADD", 4}, {"log", 3},       {"MAXLEN", 6}, {"~", 1},
                        {"1000", 4}, {id, strlen(id)}, {"s", 1},      {"text", 4}};
        both_words(words, 8);
        if (i % 40 == 0) both("XLEN log");
    }
    both("XRANGE log - + COUNT 2");
}

/* ------------------------------------------------------------------------------------------------- scripts -- */

/* Each is run with the keys s0, h0 and z0, of which the first is a string, and the arguments below. */
static const char *const scripts[] = {
    "return 3.99",
    "return -3.99",
    "return 1e15",
    "return 9007199254740993",
    "return true",
    "return false",
    "return nil",
    "return",
    "return 'text'",
    "return {}",
    "return {1, 2, nil, 4}",
    "return {1, 'a', {2, 'b', {}}, false, true, 3.7}",
    "return {err = 'MINE it is'}",
    "return {ok = 'FINE'}",
    "return redis.error_reply('MINE it is')",
    "return redis.error_reply('WORD')",
    "return redis.error_reply('-DASH it is')",
    "return redis.status_reply('FINE')",
    "return {redis.status_reply('FINE'), redis.error_reply('MINE it is')}",
    "return KEYS",
    "return ARGV",
    "return {#KEYS, #ARGV, KEYS[4] == nil}",
    "return tostring(redis.call('GET', 'none'))",
    "return redis.call('GET', KEYS[1])",
    "return {redis.call('MGET', KEYS[1], 'none', KEYS[1])}",
    "return redis.call('SET', KEYS[1], 'b').ok",
    "return type(redis.call('SET', KEYS[1], 'b'))",
    "return redis.call('SET', KEYS[1], 'b')",
    "return redis.call('INCR', 'counter') + 0.9",
    "redis.call('SET', KEYS[1], 1.5) return redis.call('GET', KEYS[1])",
    "redis.call('SET', KEYS[1], 100000000000000) return redis.call('GET', KEYS[1])",
    "redis.call('SET', KEYS[1], 3) return redis.call('GET', KEYS[1])",
    "local r = redis.pcall('HGET', KEYS[1], 'f') return {type(r), string.match(r.err, '^%u+')}",
    "return redis.pcall('HGET', KEYS[1], 'f')",
    "return redis.call('HGET', KEYS[1], 'f')",
    "redis.call('SET', KEYS[1], 'kept') redis.call('HSET', KEYS[1], 'a', 'b') return 1",
    "return redis.call('GET', KEYS[1])",
    "return redis.call()",
    "return redis.call({})",
    "return redis.pcall('NOSUCH')",
    "return redis.pcall('EVAL', 'return 1', 0)",
    "return redis.pcall('GET')",
    "made = 1 return 1",
    "return missing",
    "return nil + 1",
    "error('text')",
    "error({err = 'MINE it is'})",
    "return redis.sha1hex('')",
    "return redis.sha1hex(ARGV[1])",
    "return string.format('%.0f %d %s', 12.0, 7, 'x')",
    "return string.format('%.0f', 1700000000123)",
    "return string.format('%.0f', -0.4)",
    "return string.format('%.0f', 1e20)",
    "return struct.pack('<i8I4i2c3', 1700000000123, 4294967295, -2, 'abcd')",
    "return struct.pack('>I2B', 258, 255)",
    "return {struct.unpack('<i8I4i2', struct.pack('<i8I4i2', -1700000000123, 4294967295, -2))}",
    "return {struct.unpack('<c2I2c0I2c0', 'ab' .. struct.pack('<I2', 3) .. 'xyz' .. struct.pack('<I2', 0))}",
    "return {struct.unpack('<i8', 'short')}",
    "return {struct.unpack('<I2', 'abcdef', 3)}",
    "redis.call('HSET', KEYS[2], 'a', 1, unpack(ARGV)) return redis.call('HGETALL', KEYS[2])",
    "return redis.call('ZADD', KEYS[3], 1700000000123, 'm', '+inf', 'n')",
    "return redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')",
    "return redis.call('ZSCORE', KEYS[3], 'm') + 1",
    "return redis.call('ZRANGEBYSCORE', KEYS[3], '(1', '+inf', 'LIMIT', 0, 1)",
    "return redis.call('PEXPIREAT', KEYS[2], redis.call('TIME')[1] * 1000 + 500000)",
    "return redis.call('PTTL', KEYS[2])",
    "redis.call('XADD', 'stream', '5-0', 's', 'a') return redis.pcall('XADD', 'stream', '5-0', 's', 'a').err ~= nil",
    "return redis.call('XRANGE', 'stream', '-', '+')[1][2][2]",
    "redis.call('PUBLISH', 'channel', 'from a script') return 1",
    "redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], 'stream', 'counter') return #redis.call('MGET', KEYS[1])",
    "local t = {} for i = 1, 300 do t[i] = tostring(i) end return #redis.call('MGET', unpack(t))",
    "return tostring(tonumber('0x10')) .. tostring(10 / 3)",
    "return table.concat({1, 2, 3}, ' ', 2, 3)",
    "this is no Lua"};

static void test_scripts_are_run_as_in_redis(void **state)
{
    (void)state;
    begin_anew();
    both("SET s0 a");
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        word words[] = {
            {"EVAL", 4},     {scripts[i], strlen(scripts[i])}, {"3", 1}, {"s0", 2}, {"h0", 2}, {"z0", 2}, {"b", 1},
            {"two words", 9}};
        both_words(words, 8);
        compare_all();
    }
    both("EVAL x 9 a");
    both("EVAL x -1 a");
    both("EVAL x y a");
    both("EVALSHA ffffffffffffffffffffffffffffffffffffffff 0");
}

static int begin(void **state)
{
    (void)state;
    server = redis_start(NULL);
    to_server = net_connect(server->port);
    assert_true(to_server >= 0);
    subscriber = redisConnectUnix(server->socket);
    assert_true(subscriber && !subscriber->err);
    freeReplyObject(redisCommand(subscriber, "SUBSCRIBE channel"));
    model = store_open();
    replica = store_open();
    random_state = (uint64_t)getpid() * 7919 + (uint64_t)check_now_ms();
    print_message("seed %llu\n", (unsigned long long)random_state);
    return 0;
}

static int end(void **state)
{
    (void)state;
    close(to_server);
    redisFree(subscriber);
    store_close(model);
    store_close(replica);
    buffer_free(&published);
    redis_end(server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_answer_as_in_redis),
        cmocka_unit_test(test_scripts_are_run_as_in_redis),
        cmocka_unit_test(test_a_stream_is_cut_as_in_redis),
    };
    return cmocka_run_group_tests(tests, begin, end);
}

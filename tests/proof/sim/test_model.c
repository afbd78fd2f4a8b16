/* SPDX-License-Identifier: MIT
 *
 * Is the simulation's Redis (store.c, scripts.c) like the real one? The same commands, worded by the library's own code,
 * go to both: random lives of a few sessions, by all scripts, with every reply compared, and at the end of each round
 * every key. The model's clock is the server's: it is told the time that the real one has just said.
 *
 * Times inside of replies move by what passes between the two; whom create.lua's random look at the partition's dead
 * finds cannot be equal. And nothing may end just when a command comes, or one would see it and the other not: so each
 * command waits for a time at which nothing does, and where the machine stood still meanwhile, both begin anew.
 */
#include "check.h"
#include "../support/test_net.h"
#include "redis.h"

#include "base/config.h"
#include "redis/keys.h"
#include "base/record.h"
#include "redis/resp.h"
#include "redis/script.h"
#include "store.h"
#include "base/token.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SESSIONS = 6, USERS = 3, COMMANDS = 3000, APART_MS = 100, TOLERANCE_MS = 2 * APART_MS, WORDS = 40 };

static redis *server;
static int to_server = -1;
static store *model;
static uint64_t random_state;
static lk_token token[SESSIONS];
static lk_check_keys keys;
static buffer published[2]; /* as the real server and the model published */
static redisContext *subscriber;

static uint64_t draw(uint64_t below)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (random_state >> 33) % below;
}

/* ----------------------------------------------------------------------------------------------- both sides -- */

static void heard_one(buffer *b, const char *channel, const char *text)
{
    buffer_add(b, channel, strlen(channel));
    buffer_add(b, " ", 1);
    buffer_add(b, text, strcspn(text, "@")); /* without the time */
    buffer_add(b, "\n", 1);
    if (strstr(text, " changed")) buffer_print(b, "changed\n");
}

static unsigned model_publishes(void *context, word channel, word text)
{
    (void)context;
    heard_one(&published[1], channel.text, text.text);
    return 1;
}

static void model_deletes(void *context, const char *key) { (void)context, (void)key; }

static lk_reply *parse(lk_resp *resp, const char *bytes, size_t size)
{
    lk_reply *reply = NULL;
    assert_true(lk_resp_feed(resp, bytes, size));
    if (lk_resp_next(resp, &reply) < 0) fail_msg("not RESP: %.*s", (int)size, bytes);
    return reply;
}

static lk_reply *ask_server(const lk_span *words, size_t count)
{
    static lk_resp *resp;
    char *bytes, got[16384];
    lk_reply *reply = NULL;
    if (!resp) resp = lk_resp_open();
    size_t size = lk_resp_format(words, count, &bytes);
    assert_int_equal(send(to_server, bytes, size, 0), (ssize_t)size);
    lk_resp_format_free(bytes, size);
    while (!reply) {
        ssize_t came = recv(to_server, got, sizeof got, 0);
        assert_true(came > 0);
        reply = parse(resp, got, (size_t)came);
    }
    return reply;
}

static int64_t server_us(void)
{
    lk_reply *reply = ask_server(&(lk_span){"TIME", 4}, 1);
    int64_t us = atoll(reply->item[0]->text) * 1000000 + atoll(reply->item[1]->text);
    lk_reply_free(reply);
    return us;
}

static lk_reply *ask_model(const lk_span *spans, size_t count, int64_t now_us)
{
    static const store_events events = {NULL, model_publishes, model_deletes};
    word words[WORDS] = {{0}};
    buffer out = {0};
    bool wrote;
    for (size_t i = 0; i < count; i++) { /* NUL-terminated, as a server has them */
        char *text = calloc(1, spans[i].size + 1);
        assert_non_null(text);
        if (spans[i].size) memcpy(text, spans[i].data, spans[i].size);
        words[i] = (word){text, spans[i].size};
    }
    if (!store_run(model, words, count, now_us, &events, &out, &wrote)) fail_msg("no model of %s", words[0].text);
    for (size_t i = 0; i < count; i++) free((char *)(uintptr_t)words[i].text);
    lk_resp *resp = lk_resp_open();
    lk_reply *reply = parse(resp, out.bytes, out.size);
    assert_non_null(reply);
    assert_true(lk_resp_empty(resp));
    lk_resp_close(resp);
    buffer_free(&out);
    return reply;
}

/* --------------------------------------------------------------------------------------------- comparing -- */

static bool is_time(long long a, long long b) { return a > 0 && b > 0 && llabs(a - b) <= TOLERANCE_MS; }

/* The record's times are at places of their own; x holds the absolute expiry in words. */
static bool equal_text(const char *a, size_t a_size, const char *b, size_t b_size)
{
    lk_record x, y;
    if (a_size == b_size && !memcmp(a, b, a_size)) return true;
    if (a_size == LK_RECORD_SIZE && b_size == LK_RECORD_SIZE && !lk_record_decode(a, a_size, &x) &&
        !lk_record_decode(b, b_size, &y)) {
        bool times = is_time(x.entry.created_at_ms, y.entry.created_at_ms) &&
                     is_time(x.entry.auth_at_ms, y.entry.auth_at_ms) &&
                     is_time(x.entry.expires_at_ms, y.entry.expires_at_ms) &&
                     llabs((long long)x.age_s - y.age_s) <= 1 + TOLERANCE_MS / 1000 &&
                     (x.grace_until_ms == y.grace_until_ms || is_time(x.grace_until_ms, y.grace_until_ms));
        y.grace_until_ms = x.grace_until_ms;
        y.age_s = x.age_s;
        y.entry.created_at_ms = x.entry.created_at_ms;
        y.entry.auth_at_ms = x.entry.auth_at_ms;
        y.entry.expires_at_ms = x.entry.expires_at_ms;
        uint8_t again[LK_RECORD_SIZE];
        lk_record_encode(&y, again);
        return times && !memcmp(a, again, sizeof again);
    }
    long long p, q, r, s, t, u;
    if (sscanf(a, "%lld %lld %lld", &p, &q, &r) == 3 && sscanf(b, "%lld %lld %lld", &s, &t, &u) == 3)
        return p == s && is_time(q, t) && r == u;
    return is_time(atoll(a), atoll(b)) && strspn(a, "0123456789") == a_size && strspn(b, "0123456789") == b_size;
}

static bool equal(const lk_reply *a, const lk_reply *b);

/* Fields of a large hash come in any order. */
static bool equal_fields(const lk_reply *a, const lk_reply *b)
{
    for (size_t i = 0; i < a->size; i += 2) {
        size_t j = 0;
        while (j < b->size && !equal(a->item[i], b->item[j])) j += 2;
        if (j >= b->size || !equal(a->item[i + 1], b->item[j + 1])) return false;
    }
    return true;
}

static bool equal(const lk_reply *a, const lk_reply *b)
{
    if (a->type != b->type || (a->type == LK_REPLY_ARRAY && a->size != b->size)) return false;
    if (a->type == LK_REPLY_INTEGER) return a->integer == b->integer || is_time(a->integer, b->integer);
    if (a->type == LK_REPLY_NIL) return true;
    if (a->type == LK_REPLY_ERROR) return !strncmp(a->text, b->text, strcspn(a->text, " "));
    if (a->type != LK_REPLY_ARRAY) return equal_text(a->text, a->size, b->text, b->size);
    bool same = true;
    for (size_t i = 0; i < a->size && same; i++) same = equal(a->item[i], b->item[i]);
    return same || (a->size % 2 == 0 && equal_fields(a, b));
}

static void show(const lk_reply *r, buffer *out)
{
    if (r->type == LK_REPLY_INTEGER) buffer_print(out, "%lld ", r->integer);
    else if (r->type == LK_REPLY_NIL) buffer_print(out, "nil ");
    else if (r->type == LK_REPLY_ARRAY) {
        buffer_print(out, "[");
        for (size_t i = 0; i < r->size; i++) show(r->item[i], out);
        buffer_print(out, "] ");
    } else if (r->size == LK_RECORD_SIZE) buffer_print(out, "(record) ");
    else buffer_print(out, "'%.200s' ", r->text);
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

/* What the real server published up to the message "text". */
static void hear(const char *text)
{
    bool heard = false;
    redisReply *message;
    while (!heard && redisGetReply(subscriber, (void **)&message) == REDIS_OK) {
        const char *said = message->element[2]->str;
        heard = !strcmp(said, text);
        if (!heard) heard_one(&published[0], message->element[1]->str, said);
        freeReplyObject(message);
    }
    assert_true(heard);
}

static void begin_anew(void)
{
    redis_do(server, "FLUSHALL");
    redis_do(server, "PUBLISH lk:{1}:rev anew");
    hear("anew");
    published[0].size = published[1].size = 0;
    store_close(model);
    model = store_open();
}

/* How often an exchange went well, was refused, and its old token ended the session: else nothing is proved. */
static struct {
    const char *says;
    unsigned times;
} seen[] = {{"OK", 0}, {"REFUSED", 0}, {"REUSED", 0}, {"LIMIT", 0}, {"EXISTS", 0}, {"CHANGED", 0}};

static bool exchanged; /* the last reply said so */

static void look_at(const lk_reply *reply)
{
    exchanged = lk_reply_is(reply, "OK ");
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++)
        if (reply->type == LK_REPLY_STRING || reply->type == LK_REPLY_STATUS)
            seen[i].times += !strncmp(reply->text, seen[i].says, strlen(seen[i].says));
}

/* Asks both, and compares. */
static void ask_both(const lk_span *words, const lk_span *model_words, size_t count, lk_reply **real, lk_reply **ours)
{
    int64_t now_us = quiet_us();
    *real = ask_server(words, count);
    *ours = ask_model(model_words, count, now_us);
    if (server_us() > now_us + APART_MS * 1000) begin_anew();
    else if (!equal(*real, *ours)) {
        buffer a = {0}, b = {0};
        show(*real, &a);
        show(*ours, &b);
        fail_msg("%s %.40s: Redis says %.*s, the model %.*s", (const char *)words[0].data, (const char *)words[1].data,
                 (int)a.size, a.bytes, (int)b.size, b.bytes);
    }
}

static void both_of(const lk_span *words, const lk_span *model_words, size_t count)
{
    lk_reply *real, *ours;
    ask_both(words, model_words, count, &real, &ours);
    look_at(real);
    lk_reply_free(real);
    lk_reply_free(ours);
}

static void both(const lk_span *words, size_t count) { both_of(words, words, count); }

/* ---------------------------------------------------------------------------------- what the library sends -- */

enum { FIXED = 6 };

static size_t put_script(enum lk_script_id id, const lk_token *t, const lk_span *more, size_t count, lk_span *words,
                         char base[LK_BASE_SIZE], char key[LK_KEY_SIZE])
{
    const lk_script *s = &lk_scripts[id];
    lk_key_base(base, "lk", t->partition);
    lk_key_session(key, "lk", t->partition, t->text);
    words[0] = lk_word("EVAL");
    words[1] = (lk_span){s->text, s->size};
    words[2] = lk_word("1");
    words[3] = lk_word(key);
    words[4] = lk_word(base);
    words[5] = (lk_span){t->text, LATCHKEY_SELECTOR_LENGTH};
    memcpy(words + FIXED, more, count * sizeof *more);
    return FIXED + count;
}

static void script(enum lk_script_id id, const lk_token *t, const lk_span *more, size_t count)
{
    char base[LK_BASE_SIZE], key[LK_KEY_SIZE];
    lk_span words[WORDS];
    both(words, put_script(id, t, more, count, words, base, key));
}

static void hash_of(const lk_token *t, uint8_t hash[LK_HASH_SIZE])
{
    lk_token_verifier_hash(t, hash);
    if (!draw(10)) hash[0] ^= 1; /* of somebody who guesses */
}

/* Ends are in the same order on both sides where their beginnings lie apart by more than what both clocks' ticks hide. */
static void a_moment(void) { usleep(2000); }

static void do_create(lk_token *t)
{
    uint8_t v[LK_RECORD_SIZE];
    char user[24], most[8], lifetime[24];
    static int made;
    lk_record record = {.idle_ms = 60000};
    if (draw(8)) lk_token_make(&keys, 1, t); /* else one that was made already: EXISTS, or as if it were new */
    record.entry.user_id = 1 + draw(USERS);
    /* The last user's sessions have a limit, and ends that lie apart and never move, since the nearest is evicted. */
    bool limited = record.entry.user_id == USERS;
    const char *idle = limited ? "6000000" : draw(30) ? "12000" : "150";
    snprintf(lifetime, sizeof lifetime, "%d", limited ? 60000 + 4 * APART_MS * ++made : draw(30) ? 6000000 : 150);
    record.entry.device = (uint32_t)draw(2);
    a_moment();
    memcpy(record.selector, t->raw, LK_SELECTOR_RAW);
    lk_token_verifier_hash(t, record.verifier_hash);
    lk_record_encode(&record, v);
    snprintf(user, sizeof user, "%d", (int)record.entry.user_id);
    snprintf(most, sizeof most, "%d", limited ? (int)draw(4) : 0);
    lk_span words[14] = {lk_word(user),
                         lk_word(idle),
                         lk_word(lifetime),
                         lk_word(draw(10)  ? "0"
                                 : draw(2) ? "1"
                                           : "2"),
                         lk_word(most),
                         lk_word(draw(3) ? "evict" : "deny"),
                         lk_word(limited && draw(2) ? "1" : "0"),
                         {v, LK_RECORD_EXPIRES},
                         {v + LK_RECORD_PERMISSIONS, LK_RECORD_CREATED - LK_RECORD_PERMISSIONS},
                         {v + LK_RECORD_DEVICE, LK_RECORD_SIZE - LK_RECORD_DEVICE},
                         lk_word("pq.key"),
                         lk_word("abc"),
                         lk_word("theme"),
                         lk_word("dark")};
    script(LK_SCRIPT_CREATE, t, words, 10 + 2 * draw(3));
}

static void do_touch(lk_token *t)
{
    uint8_t hash[LK_HASH_SIZE];
    hash_of(t, hash);
    a_moment();
    script(LK_SCRIPT_TOUCH, t, &(lk_span){hash, draw(2) ? sizeof hash : 0}, 1);
}

static void do_revoke(lk_token *t)
{
    uint8_t hash[LK_HASH_SIZE];
    hash_of(t, hash);
    script(LK_SCRIPT_REVOKE, t, (lk_span[]){{hash, sizeof hash}, lk_word(draw(4) ? "0" : "1")}, 2);
}

static void do_records(lk_token *t)
{
    uint8_t hash[LK_HASH_SIZE];
    hash_of(t, hash);
    script(LK_SCRIPT_RECORDS, t, (lk_span[]){{hash, sizeof hash}, lk_word(draw(2) ? "1" : "0")}, 2);
}

/* What the client makes of the records that it read (update.c). With another one than was read, or without the last. */
static void put_swaps(const lk_reply *records, uint8_t key_hash, bool other, bool less, buffer *out)
{
    size_t tokens = records->type == LK_REPLY_ARRAY ? (size_t)records->item[1]->integer : 0;
    for (size_t i = 0; i + less < tokens; i++) {
        const lk_reply *selector = records->item[2 + 2 * i], *v = records->item[3 + 2 * i];
        char was[LK_RECORD_SIZE], is[LK_RECORD_SIZE];
        const char size[2] = {(char)LK_RECORD_SIZE, 0};
        memcpy(was, v->text, sizeof was);
        if (other) was[LK_RECORD_KEY_HASH + 1] ^= 1;
        memcpy(is, was, sizeof is);
        is[LK_RECORD_KEY_HASH] = (char)key_hash;
        buffer_add(out, selector->text, LATCHKEY_SELECTOR_LENGTH);
        buffer_add(out, size, sizeof size);
        buffer_add(out, was, sizeof was);
        buffer_add(out, size, sizeof size);
        buffer_add(out, is, sizeof is);
    }
}

/* Their records differ by their times, so each is told of its own. */
static void do_set_fields(lk_token *t)
{
    uint8_t hash[LK_HASH_SIZE], key_hash = (uint8_t)draw(2);
    char base[LK_BASE_SIZE], key[LK_KEY_SIZE];
    buffer real = {0}, ours = {0};
    lk_span words[WORDS], model_words[WORDS];
    bool swaps = draw(2), other = !draw(6), less = !draw(6);
    hash_of(t, hash);
    size_t count =
        put_script(LK_SCRIPT_RECORDS, t, (lk_span[]){{hash, sizeof hash}, lk_word("0")}, 2, words, base, key);
    lk_reply *its, *mine;
    ask_both(words, words, count, &its, &mine);
    if (swaps) put_swaps(its, key_hash, other, less, &real);
    if (swaps) put_swaps(mine, key_hash, other, less, &ours);
    lk_reply_free(its);
    lk_reply_free(mine);
    const lk_span more[] = {
        {hash, sizeof hash}, {real.bytes, real.size}, lk_word("1"), lk_word(""), lk_word(draw(2) ? "theme" : "pq.key"),
        lk_word("light"),    lk_word("theme2")};
    count = put_script(LK_SCRIPT_SET_FIELDS, t, more, 6 + draw(2), words, base, key);
    memcpy(model_words, words, count * sizeof *words);
    model_words[FIXED + 1] = (lk_span){ours.bytes, ours.size};
    if (real.size == ours.size) both_of(words, model_words, count); /* else one of them has just ended */
    buffer_free(&real);
    buffer_free(&ours);
}

static void do_revoke_user(lk_token *t)
{
    uint8_t hash[LK_HASH_SIZE];
    char user[24];
    hash_of(t, hash);
    snprintf(user, sizeof user, "%d", 1 + (int)draw(USERS));
    script(LK_SCRIPT_REVOKE_USER, t, (lk_span[]){lk_word(user), {hash, draw(2) ? sizeof hash : 0}, lk_word("0")}, 3);
}

static void end_user(lk_token *t)
{
    if (!draw(3)) do_revoke_user(t); /* or nobody grows old */
}

static void rotate(const lk_token *t, const lk_token *made, const char *grace)
{
    uint8_t hash[LK_HASH_SIZE], new_hash[LK_HASH_SIZE];
    hash_of(t, hash);
    lk_token_verifier_hash(made, new_hash);
    a_moment();
    script(LK_SCRIPT_ROTATE, t,
           (lk_span[]){{hash, sizeof hash},
                       {made->text, LATCHKEY_SELECTOR_LENGTH},
                       {new_hash, sizeof new_hash},
                       {made->raw, LK_SELECTOR_RAW},
                       lk_word(grace)},
           5);
}

/* The session is known by the new token from then on; who holds the old one goes on with that, sometimes. */
static void do_rotate(lk_token *t)
{
    static const char *const graces[] = {"0", "5000", "60000"};
    lk_token made = token[draw(SESSIONS)];
    if (draw(20)) lk_token_make(&keys, 1, &made);
    rotate(t, &made, graces[draw(sizeof graces / sizeof *graces)]);
    if (draw(4)) token[draw(SESSIONS)] = made;
}

/* An old token is used after its grace. */
static void do_steal(lk_token *t)
{
    static void (*const uses[])(lk_token * t) = {do_touch, do_set_fields, do_revoke_user, do_rotate, do_touch};
    lk_token old = *t, made;
    if (draw(8)) return; /* it takes a while */
    lk_token_make(&keys, 1, &made);
    do_create(&old);
    rotate(&old, &made, "150");
    usleep(150000);
    for (int i = 0; i < 2; i++) uses[draw(sizeof uses / sizeof *uses)](&old);
    token[draw(SESSIONS)] = made;
}

static void do_revoke_selector(lk_token *t)
{
    char user[24];
    snprintf(user, sizeof user, "%d", 1 + (int)draw(USERS));
    script(LK_SCRIPT_REVOKE, t, (lk_span[]){{"", 0}, lk_word("0"), lk_word(user)}, 3);
}

static void do_sessions(lk_token *t)
{
    char user[24];
    snprintf(user, sizeof user, "%d", 1 + (int)draw(USERS));
    script(LK_SCRIPT_SESSIONS, t, (lk_span[]){lk_word(user), lk_word(draw(3) ? "1000" : "1")}, 2);
}

static void do_generation(lk_token *t)
{
    (void)t;
    both((lk_span[]){lk_word("GET"), lk_word(draw(2) ? "lk:{1}:g:1" : "lk:{1}:g:3")}, 2);
}

static void do_reassert(lk_token *t)
{
    lk_span words[SESSIONS];
    size_t count = draw(SESSIONS);
    for (size_t i = 0; i < count; i++) words[i] = (lk_span){token[draw(SESSIONS)].text, LATCHKEY_SELECTOR_LENGTH};
    script(LK_SCRIPT_REASSERT, t, words, count); /* `script` names t itself first */
}

static void do_read(lk_token *t)
{
    char key[LK_KEY_SIZE];
    lk_key_session(key, "lk", t->partition, t->text);
    both((lk_span[]){lk_word("HGET"), lk_word(key), lk_word("v")}, 3);
    both((lk_span[]){lk_word("HGETALL"), lk_word(key)}, 2);
    both((lk_span[]){lk_word("PTTL"), lk_word(key)}, 2);
    snprintf(key, sizeof key, "lk:{1}:f:%.20s", t->text);
    both((lk_span[]){lk_word("ZREVRANGE"), lk_word(key), lk_word("0"), lk_word("100"), lk_word("WITHSCORES")}, 5);
    both((lk_span[]){lk_word("PTTL"), lk_word(key)}, 2);
    both((lk_span[]){lk_word("ZRANGE"), lk_word(key), lk_word("-1"), lk_word("-1")}, 4);
}

static void do_beat(lk_token *t)
{
    (void)t;
    both((lk_span[]){lk_word("MGET"), lk_word("lk:{0}:q"), lk_word("lk:{1}:q")}, 3);
    both((lk_span[]){lk_word("EXISTS"), lk_word("lk:{0}:q"), lk_word("lk:{1}:e"), lk_word("lk:{1}:q")}, 4);
    both((lk_span[]){lk_word("HSETNX"), lk_word("lk:{0}:m"), lk_word("partitions"), lk_word("2")}, 4);
    both((lk_span[]){lk_word("HGET"), lk_word("lk:{0}:m"), lk_word("partitions")}, 3);
}

static void do_log(lk_token *t)
{
    char from[24];
    lk_reply *last = ask_model((lk_span[]){lk_word("GET"), lk_word("lk:{1}:q")}, 2, server_us());
    int64_t number = last->type == LK_REPLY_STRING ? atoll(last->text) : 0;
    lk_reply_free(last);
    (void)t;
    /* Where it is cut depends on bytes where entries are long: see below for the short ones. */
    snprintf(from, sizeof from, "%d-0", (int)(number > 900 ? number - (int64_t)draw(900) : (int64_t)draw(900)));
    both((lk_span[]){lk_word("XRANGE"), lk_word("lk:{1}:r"), lk_word(from), lk_word("+"), lk_word("COUNT"),
                     lk_word("20")},
         6);
}

static void compare_messages(void)
{
    redis_do(server, "PUBLISH lk:{1}:rev up.to.here");
    hear("up.to.here");
    assert_int_equal(published[0].size, published[1].size);
    if (published[0].size) assert_memory_equal(published[0].bytes, published[1].bytes, published[0].size);
    published[0].size = published[1].size = 0;
}

/* All that exists, but for the activity index, whose dead are found at random: so it may be empty, and begin anew, on one
 * side alone. */
static void compare_all(void)
{
    static const char *const fixed[] = {"lk:{1}:u:1", "lk:{1}:u:2", "lk:{1}:u:3"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        both((lk_span[]){lk_word("ZREVRANGE"), lk_word(fixed[i]), lk_word("0"), lk_word("100000"),
                         lk_word("WITHSCORES")},
             5);
        both((lk_span[]){lk_word("PTTL"), lk_word(fixed[i])}, 2);
    }
    both((lk_span[]){lk_word("PTTL"), lk_word("lk:{1}:q")}, 2);
}

/* ------------------------------------------------------------------------------------------------- tests -- */

static void test_model_answers_as_redis_does(void **state)
{
    static void (*const calls[])(lk_token * t) = {
        do_records,    do_create,          do_create,   do_create, do_touch,      do_touch, do_revoke, do_set_fields,
        do_set_fields, do_reassert,        do_rotate,   do_rotate, do_rotate,     do_read,  do_read,   do_beat,
        end_user,      do_revoke_selector, do_sessions, do_log,    do_generation, do_steal};
    (void)state;
    for (int i = 0; i < SESSIONS; i++) lk_token_make(&keys, 1, &token[i]);
    for (int i = 0; i < COMMANDS; i++) {
        calls[draw(sizeof calls / sizeof *calls)](&token[draw(SESSIONS)]);
        if (i % 50 == 49) compare_all();
        compare_messages();
    }
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++)
        if (!seen[i].times) fail_msg("Redis never said %s", seen[i].says);
}

static void test_log_is_cut_as_redis_cuts_it(void **state)
{
    (void)state;
    uint8_t hash[LK_HASH_SIZE] = {0};
    begin_anew();
    for (int i = 0; i < 2400; i++) {
        script(LK_SCRIPT_REVOKE, &token[0], (lk_span[]){{hash, sizeof hash}, lk_word("1")}, 2);
        compare_messages();
        if (i % 50) continue;
        both((lk_span[]){lk_word("XRANGE"), lk_word("lk:{1}:r"), lk_word("0-0"), lk_word("+"), lk_word("COUNT"),
                         lk_word("2")},
             6);
    }
}

static void create_for(const char *user, lk_token *t)
{
    uint8_t v[LK_RECORD_SIZE];
    lk_record record = {.idle_ms = 600000, .entry = {.user_id = strtoull(user, NULL, 10)}};
    lk_token_make(&keys, 1, t);
    memcpy(record.selector, t->raw, LK_SELECTOR_RAW);
    lk_token_verifier_hash(t, record.verifier_hash);
    lk_record_encode(&record, v);
    script(LK_SCRIPT_CREATE, t,
           (lk_span[]){lk_word(user),
                       lk_word("600000"),
                       lk_word("6000000"),
                       lk_word("0"),
                       lk_word("0"),
                       lk_word("evict"),
                       lk_word("0"),
                       {v, LK_RECORD_EXPIRES},
                       {v + LK_RECORD_PERMISSIONS, LK_RECORD_CREATED - LK_RECORD_PERMISSIONS},
                       {v + LK_RECORD_DEVICE, LK_RECORD_SIZE - LK_RECORD_DEVICE}},
           10);
}

/* More than one script ends; and what was made since the first of several. */
static void test_many_sessions_end_as_in_redis(void **state)
{
    (void)state;
    char since[24];
    lk_token made;
    for (int i = 0; i < 1150; i++) {
        a_moment();
        create_for("9", &made);
    }
    usleep(4 * APART_MS * 1000);
    snprintf(since, sizeof since, "%lld", (long long)server_us() / 1000);
    usleep(4 * APART_MS * 1000);
    for (int i = 0; i < 3; i++) {
        a_moment();
        create_for("9", &made);
    }
    for (int i = 0; i < 3; i++) {
        script(LK_SCRIPT_REVOKE_USER, &token[0], (lk_span[]){lk_word("9"), {"", 0}, lk_word(since)}, 3);
        compare_messages();
        both((lk_span[]){lk_word("ZREVRANGE"), lk_word("lk:{1}:u:9"), lk_word("0"), lk_word("9999"),
                         lk_word("WITHSCORES")},
             5);
    }
    script(LK_SCRIPT_SESSIONS, &token[0], (lk_span[]){lk_word("9"), lk_word("1000")}, 2);
    script(LK_SCRIPT_REVOKE_USER, &token[0], (lk_span[]){lk_word("9"), {"", 0}, lk_word("0")}, 3);
    compare_messages();
}

/* The 64 youngest old tokens are remembered. */
static void test_a_long_family_is_as_in_redis(void **state)
{
    (void)state;
    lk_token t, made;
    create_for("9", &token[0]);
    t = token[0];
    for (int i = 0; i < 80; i++) { /* some are refused, since they guess */
        lk_token_make(&keys, 1, &made);
        rotate(&t, &made, "60000");
        compare_messages();
        if (exchanged) t = made;
    }
    do_read(&token[0]);
    do_revoke(&t);
    do_read(&t);
    compare_messages();
}

static int begin(void **state)
{
    (void)state;
    server = redis_start(NULL);
    to_server = net_connect(server->port);
    assert_true(to_server >= 0);
    subscriber = redisConnectUnix(server->socket);
    assert_true(subscriber && !subscriber->err);
    freeReplyObject(redisCommand(subscriber, "SUBSCRIBE lk:{1}:rev"));
    model = store_open();
    assert_true(lk_crypto_init());
    lk_check_keys_public(&keys);
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
    buffer_free(&published[0]);
    buffer_free(&published[1]);
    redis_end(server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_answers_as_redis_does),
        cmocka_unit_test(test_many_sessions_end_as_in_redis),
        cmocka_unit_test(test_a_long_family_is_as_in_redis),
        cmocka_unit_test(test_log_is_cut_as_redis_cuts_it),
    };
    return cmocka_run_group_tests(tests, begin, end);
}

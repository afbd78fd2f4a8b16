/* SPDX-License-Identifier: MIT
 *
 * Tokens without a session, and what they cost Redis, the server that they are sent to, and other users. See parts.h.
 *
 *     invented     the check is wrong, all else is right: refused before Redis is asked (checked: not one read)
 *     dead         well-formed, of sessions that do not exist (any more), each sent once
 *     dead again   one of those, over and over
 *
 * The good traffic beside them is paced and its sessions are in L1. Two senders on a machine of two cores take
 * processor time whatever they do; so a row shows the same with as many threads that only count.
 */
#include "parts.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

enum { SENDERS_MAX = 32, BESIDE = 2, GOOD_THREADS = 2, GOOD_RATE = 5000 };

typedef char token_text[LATCHKEY_TOKEN_SIZE];

enum kind { NOTHING, COUNTING, INVENTED, DEAD, DEAD_AGAIN, KINDS };
static const struct {
    const char *name;
    int expected;
    bool once; /* each token is sent once; else one is, over and over */
} kinds[KINDS] = {{"nothing", 0, false},
                  {"counting", 0, false},
                  {"invented", LATCHKEY_MALFORMED, true},
                  {"dead", LATCHKEY_NOT_FOUND, true},
                  {"dead_again", LATCHKEY_NOT_FOUND, false}};

typedef struct sender {
    pthread_t thread;
    latchkey *lk;
    enum kind kind;
    const token_text *tokens;
    size_t first, span; /* which of the tokens are this thread's: sent again from the first when all were */
    uint64_t count;     /* to send */
    uint64_t end_ns;
    const atomic_int *stop; /* relaxed: the join orders everything */
    uint64_t sent, unavailable;
    volatile uint64_t counted; /* not read: so that counting is done */
} sender;

static void send_one(sender *f, uint64_t number)
{
    latchkey_entry entry;
    const char *token = f->tokens[kinds[f->kind].once ? f->first + number % f->span : 0];
    int status = latchkey_validate(f->lk, token, LATCHKEY_TOKEN_LENGTH, &entry);
    if (status == LATCHKEY_UNAVAILABLE) f->unavailable++;
    else if (status != kinds[f->kind].expected) wrong_answer("to a token without a session", status);
}

static void *send(void *argument)
{
    sender *f = argument;
    for (; f->sent < f->count; f->sent++) {
        if (f->sent % 64 == 0 && (atomic_load_explicit(f->stop, memory_order_relaxed) || bench_now_ns() > f->end_ns))
            break;
        if (f->kind == COUNTING) f->counted += f->sent;
        else send_one(f, f->sent);
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------- senders -- */

typedef struct crowd {
    sender senders[SENDERS_MAX];
    int count;
    atomic_int stop;
} crowd;

/* All of the tokens within longest_s; or, where that is 0, again and again until told to stop. */
static void crowd_start(crowd *c, int senders, enum kind kind, latchkey *lk, const token_text *tokens, size_t count,
                        double longest_s)
{
    memset(c, 0, sizeof *c);
    c->count = senders;
    for (int i = 0; i < senders; i++) {
        size_t each = count / (size_t)senders;
        c->senders[i] = (sender){.lk = lk,
                                 .kind = kind,
                                 .tokens = tokens,
                                 .first = each * (size_t)i,
                                 .span = each,
                                 .count = longest_s > 0 ? each : UINT64_MAX,
                                 .end_ns = longest_s > 0 ? bench_now_ns() + (uint64_t)(longest_s * 1e9) : UINT64_MAX,
                                 .stop = &c->stop};
        pthread_create(&c->senders[i].thread, NULL, send, &c->senders[i]);
    }
}

static void crowd_join(crowd *c, uint64_t *sent, uint64_t *unavailable)
{
    *sent = *unavailable = 0;
    for (int i = 0; i < c->count; i++) {
        pthread_join(c->senders[i].thread, NULL);
        *sent += c->senders[i].sent;
        *unavailable += c->senders[i].unavailable;
    }
}

/* --------------------------------------------------------------------------------------------------- alone -- */

/* Records asked for so far. Each miss sends one HGET, with a PTTL behind it; no script of the library has any. */
static double reads_of(const stage *st)
{
    static const char name[] = "cmdstat_hget:calls=";
    redisContext *redis = bench_server_connect(st->server);
    redisReply *reply = redisCommand(redis, "INFO commandstats");
    if (reply == NULL || reply->type != REDIS_REPLY_STRING) bench_die("INFO: %s", redis->errstr);
    const char *at = strstr(reply->str, name);
    double calls = at ? strtod(at + strlen(name), NULL) : 0;
    freeReplyObject(reply);
    redisFree(redis);
    return calls;
}

static size_t held(latchkey *lk, const stage *st)
{
    latchkey_entry entry;
    size_t count = 0;
    for (size_t i = 0; i < st->count; i++)
        count += latchkey_try_validate(lk, st->all[i].token, LATCHKEY_TOKEN_LENGTH, &entry) == LATCHKEY_OK;
    return count;
}

static void alone(bench_json *json, const settings *s, const stage *st, latchkey *lk, enum kind kind,
                  const token_text *tokens)
{
    static crowd c;
    uint64_t sent, unavailable;
    int senders = kind == DEAD ? SENDERS_MAX : 1; /* each of those waits for Redis */
    size_t held_before = held(lk, st);
    double reads = reads_of(st);
    uint64_t began = bench_now_ns();
    crowd_start(&c, senders, kind, lk, tokens, (size_t)s->tokens, s->flood_s);
    crowd_join(&c, &sent, &unavailable);
    double took_s = (double)(bench_now_ns() - began) / 1e9;
    reads = reads_of(st) - reads;
    if (kind == INVENTED && reads != 0) wrong_answer("Redis was asked about a token whose check is wrong", 0);
    bench_json_object(json, kinds[kind].name);
    bench_json_number(json, "senders", senders);
    bench_json_number(json, "sent", (double)sent);
    bench_json_number(json, "unavailable", (double)unavailable);
    bench_json_number(json, "seconds", took_s);
    bench_json_number(json, "reads", reads);
    bench_json_number(json, "held_before", (double)held_before);
    bench_json_number(json, "held_after", (double)held(lk, st));
    bench_json_end(json, '}');
}

/* -------------------------------------------------------------------------------------------------- beside -- */

static void beside(bench_json *json, const settings *s, const stage *st, latchkey *lk, token_text *const tokens[KINDS])
{
    static crowd c;
    way ways[GOOD_THREADS] = {{.lk = lk}, {.lk = lk}};
    drive *d = drive_start(&(drive_plan){.stage = st,
                                         .ways = ways,
                                         .threads = GOOD_THREADS,
                                         .rate = GOOD_RATE,
                                         .skew = 0.99,
                                         .phases = KINDS,
                                         .seed = (uint64_t)s->seed + 9000});
    double seconds[KINDS], rates[KINDS];
    for (int kind = NOTHING; kind < KINDS; kind++) {
        uint64_t sent, unavailable, began = bench_now_ns();
        crowd_start(&c, kind == NOTHING ? 0 : BESIDE, kind, lk, tokens[kind], (size_t)s->tokens, 0);
        drive_phase(d, kind);
        while (bench_now_ns() < began + (uint64_t)(s->beside_s * 1e9)) {
            bench_progress("floods beside good traffic", kind + (double)(bench_now_ns() - began) / 1e9 / s->beside_s,
                           KINDS);
            bench_sleep_until_ns(bench_now_ns() + 20000000u);
        }
        drive_phase(d, -1);
        seconds[kind] = (double)(bench_now_ns() - began) / 1e9;
        atomic_store_explicit(&c.stop, 1, memory_order_relaxed);
        crowd_join(&c, &sent, &unavailable);
        rates[kind] = (double)sent / seconds[kind];
    }
    bench_progress("floods beside good traffic", KINDS, KINDS);
    account *accounts = drive_end(d);
    for (int kind = NOTHING; kind < KINDS; kind++) {
        bench_json_object(json, kinds[kind].name);
        bench_json_number(json, "sent_per_s", rates[kind]);
        account_json(json, "good", &accounts[kind], seconds[kind]);
        bench_json_end(json, '}');
    }
    free(accounts);
}

/* ----------------------------------------------------------------------------------------------------- part -- */

static token_text *tokens_make(size_t count, bool check_right)
{
    token_text *tokens = bench_take(count * sizeof *tokens);
    for (size_t i = 0; i < count; i++) token_invent(tokens[i], check_right);
    return tokens;
}

void flood_run(bench_json *json, const settings *s, const stage *st)
{
    char text[96];
    size_t loaded, count = (size_t)s->tokens;
    /* Entries must not run out meanwhile: what is gone afterwards was evicted. */
    snprintf(text, sizeof text, "l1_capacity=%zu&l1_ttl_ms=3600000&idle_ms=%d", st->count, HALF_A_DAY_MS);
    latchkey *lk = open_at(bench_server_url(st->server), text);
    token_text *tokens[KINDS] = {0};
    tokens[INVENTED] = tokens_make(count, false);
    tokens[DEAD] = tokens_make(2 * count, true);
    tokens[DEAD_AGAIN] = tokens_make(1, true);
    for (int tries = 0; latchkey_prewarm(lk, st->count, &loaded) != LATCHKEY_OK && tries < 20;) tries++;
    bench_json_number(json, "sessions", (double)st->count);
    bench_json_object(json, "beside");
    beside(json, s, st, lk, tokens);
    bench_json_end(json, '}');
    bench_json_object(json, "alone");
    for (int kind = INVENTED; kind < KINDS; kind++) {
        bench_progress("floods alone", kind - INVENTED, KINDS - INVENTED);
        /* The second half: none that was sent beside good traffic. */
        alone(json, s, st, lk, kind, kind == DEAD ? tokens[kind] + count : tokens[kind]);
    }
    bench_progress("floods alone", 1, 1);
    bench_json_end(json, '}');
    for (int kind = 0; kind < KINDS; kind++) free(tokens[kind]);
    latchkey_close(lk);
}

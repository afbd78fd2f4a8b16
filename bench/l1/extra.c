/* SPDX-License-Identifier: MIT
 *
 * Hash flooding, and the memory table. See l1bench.h.
 */
#include "l1bench.h"

#include "l1/l1.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

/* ------------------------------------------------------------------------------------------ hash flooding -- */

/* What users choose when they log in (here: user ids that agree in their low 32 bits, one role, one class of device)
 * goes into the entry; the token, which places it, is drawn by the library. So the worst lookup is as far from the
 * median as in a table filled at random. Each session is looked up in several rounds, with all others in between, and
 * its least time counts: what is left above the median is the session's own, not an interruption's. */
enum { ROUNDS = 5 };

static latchkey *flooded(size_t sessions)
{
    latchkey *lk = latchkey_peer_open(sessions);
    for (size_t i = 0; i < sessions; i++) {
        record r = {.deadline_ms = lk_coarse_ms() + 3600 * 1000, .entry = {.user_id = (uint64_t)i << 32, .role = "x"}};
        token_text(i, r.text);
        peer_latchkey.put(lk, &r);
    }
    return lk;
}

static uint64_t timed_lookup(latchkey *lk, const char *text, bool *found)
{
    latchkey_entry entry;
    uint64_t began = bench_now_ns();
    *found = latchkey_try_validate(lk, text, LATCHKEY_TOKEN_LENGTH, &entry) == LATCHKEY_OK;
    return bench_now_ns() - began;
}

void flood_run(const options *o, results *r)
{
    size_t sessions = o->brief ? 20000 : 1000000, step = sessions > 200000 ? sessions / 200000 : 1;
    bench_progress("hash flooding", 0, 1);
    latchkey *lk = flooded(sessions);
    uint64_t *least = bench_take(sessions * sizeof *least);
    bench_histogram histogram;
    bench_histogram_clear(&histogram);
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < sessions; i += step) {
            char text[LATCHKEY_TOKEN_LENGTH];
            bool found;
            token_text(i, text);
            uint64_t took = timed_lookup(lk, text, &found);
            if (!found) least[i] = UINT64_MAX; /* evicted while it was filled to the brim */
            else if (!least[i] || took < least[i]) least[i] = took;
        }
    for (size_t i = 0; i < sessions; i += step)
        if (least[i] != UINT64_MAX) bench_histogram_add(&histogram, least[i]);
    r->flood.sessions = sessions;
    r->flood.median_ns = bench_histogram_quantile(&histogram, 0.5);
    r->flood.p999_ns = bench_histogram_quantile(&histogram, 0.999);
    r->flood.worst_ns = (double)histogram.max_ns;
    free(least);
    latchkey_close(lk);
    bench_progress("hash flooding", 1, 1);
}

/* ------------------------------------------------------------------------------------------------- memory -- */

static double usage(redisContext *redis, const char *key)
{
    redisReply *reply = redisCommand(redis, "MEMORY USAGE %s SAMPLES 0", key);
    double bytes = reply && reply->type == REDIS_REPLY_INTEGER ? (double)reply->integer : 0;
    freeReplyObject(reply);
    return bytes;
}

/* The article's record, as one string, and as a latchkey session with key material of the same sizes. */
static void measure_redis(results *r)
{
    static char bytes[4493];
    static const latchkey_field fields[] = {{"pq.mlkem768", bytes, 1184},
                                            {"pq.mldsa44", bytes, 1312},
                                            {"pq.slhdsa", bytes, 32},
                                            {"pq.attestation", bytes, 1869}};
    redisContext *redis = bench_server_connect(l1bench_server());
    bench_info info;
    bench_info_read(redis, &info);
    snprintf(r->redis_version, sizeof r->redis_version, "%s", info.version);
    freeReplyObject(redisCommand(redis, "SET l1bench-record %b", bytes, sizeof bytes));
    r->redis_string_bytes = usage(redis, "l1bench-record");

    latchkey *lk = latchkey_peer_open(0);
    latchkey_draft draft = {.size = sizeof draft, .user_id = 1, .fields = fields, .field_count = 4};
    char token[LATCHKEY_TOKEN_SIZE], pattern[64];
    if (latchkey_create(lk, &draft, token) != LATCHKEY_OK) bench_die("latchkey_create failed");
    snprintf(pattern, sizeof pattern, "lk:*:s:%.20s", token);
    redisReply *reply = redisCommand(redis, "KEYS %s", pattern); /* a Redis of our own: there KEYS does no harm */
    if (reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 1)
        r->redis_latchkey_bytes = usage(redis, reply->element[0]->str);
    freeReplyObject(reply);
    latchkey_close(lk);
    redisFree(redis);
}

void memory_run(const options *o, results *r)
{
    static const size_t sessions[MEMORY_ROWS] = {10000, 100000, 500000, 1000000};
    for (int i = 0; i < MEMORY_ROWS; i++) {
        size_t count = o->brief ? sessions[i] / 100 : sessions[i];
        lk_l1 *l1 = lk_l1_open(count, 1);
        if (!l1) bench_die("no memory for an L1 of %zu entries", count);
        r->memory[i].sessions = count;
        r->memory[i].l1_bytes = (double)lk_l1_read_stats(l1).bytes;
        lk_l1_close(l1);
    }
    measure_redis(r);
}

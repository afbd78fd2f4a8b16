/* SPDX-License-Identifier: MIT
 *
 * A server with sessions on it, and tokens without a session. See parts.h.
 */
#include "parts.h"

#include "redis/keys.h"
#include "base/token.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

bench_info info_of(const bench_server *server)
{
    redisContext *redis = bench_server_connect(server);
    bench_info info;
    bench_info_read(redis, &info);
    redisFree(redis);
    return info;
}

void stage_list(stage *st)
{
    lk_check_keys keys;
    session held;
    lk_check_keys_public(&keys);
    st->count = 0;
    for (size_t i = 0; i < st->world->count; i++) {
        lk_token parsed;
        if (!world_read(st->world, i, &held)) continue;
        if (!lk_token_parse(&keys, 4096, held.token, LATCHKEY_TOKEN_LENGTH, &parsed)) bench_die("a token is none");
        one *it = &st->all[st->count++];
        memcpy(it->token, held.token, sizeof it->token);
        it->user_id = held.user_id;
        char key[LK_KEY_SIZE];
        lk_key_session(key, "lk", parsed.partition, held.token);
        snprintf(it->key, sizeof it->key, "%.71s", key);
    }
}

stage *stage_make(const settings *s, bool keeping, double l1_ttl_ms, double idle_ms)
{
    char text[64];
    stage *st = bench_take(sizeof *st);
    st->options = (article_options){.sessions = s->sessions,
                                    .l1_capacity = s->sessions,
                                    .skew = 0.99,
                                    .threads = s->threads,
                                    .seed = s->seed,
                                    .l1_ttl_ms = l1_ttl_ms,
                                    .idle_ms = idle_ms,
                                    .tcp = true,
                                    .no_material = keeping,
                                    .short_run = s->short_run};
    st->server = keeping ? bench_server_start_keeping(true) : bench_server_start(true);
    snprintf(text, sizeof text, "l1_capacity=0&idle_ms=%.0f", idle_ms);
    latchkey *lk = open_at(bench_server_url(st->server), text);
    st->world = world_make(&st->options, lk, st->server);
    latchkey_close(lk);
    st->all = bench_take(st->world->count * sizeof *st->all);
    stage_list(st);
    return st;
}

void stage_free(stage *st)
{
    bench_server_stop(st->server);
    world_free(st->world);
    free(st->all);
    free(st);
}

void token_invent(char token[LATCHKEY_TOKEN_SIZE], bool check_right)
{
    lk_check_keys keys;
    lk_token made;
    lk_check_keys_public(&keys);
    /* What is well-formed in all but the check is refused last. */
    if (!check_right) keys.key[0][0] ^= 1;
    uint8_t draw;
    lk_random(&draw, 1);
    lk_token_make(&keys, draw % 64, &made);
    memcpy(token, made.text, LATCHKEY_TOKEN_SIZE);
}

/* SPDX-License-Identifier: MIT
 *
 * One session store behind the same calls: what people do today, one Redis string per session holding the whole
 * record and one GET per request; and latchkey. Both hold the same key material.
 */
#include "article.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

/* Sizes of real schemes; the last is an ML-DSA-44 signature, or what the article calls "signature / attestation". */
static const size_t part_sizes[4] = {1184, 1312, 32, 2420};
static const char *const part_names[4] = {"pq.mlkem768", "pq.mldsa44", "pq.slhdsa", "pq.attestation"};

static size_t part_size(const article_options *options, int part)
{
    return part == 3 && options->article_record ? 1869 : part_sizes[part];
}

size_t record_size(const article_options *options)
{
    size_t size = RECORD_CLASSICAL;
    for (int i = 0; i < 4; i++) size += part_size(options, i);
    return size;
}

void store_open(store *s, latchkey *lk, const bench_server *server, const article_options *options, uint64_t seed)
{
    *s = (store){.lk = lk, .options = options};
    bench_random_seed(&s->random, seed);
    if (lk == NULL) s->redis = bench_server_connect(server);
    size_t size = record_size(options);
    s->material = bench_take(size);
    for (size_t i = 0; i < size; i++) s->material[i] = (unsigned char)bench_random_next(&s->random);
}

void store_close(store *s)
{
    if (s->redis) redisFree(s->redis);
    free(s->material);
    *s = (store){0};
}

/* ------------------------------------------------------------------------------------------ plain strings -- */

static void invent_token(store *s, char token[LATCHKEY_TOKEN_SIZE])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (int i = 0; i < LATCHKEY_TOKEN_LENGTH; i++) token[i] = letters[bench_random_next(&s->random) >> 58];
    token[LATCHKEY_TOKEN_LENGTH] = 0;
}

/* The record, stamped with whose it is. */
static void stamp(store *s, uint64_t user_id, const char *token)
{
    uint64_t check = bench_mix(user_id);
    memcpy(s->material, token, LATCHKEY_TOKEN_LENGTH);
    memcpy(s->material + RECORD_ENTRY_AT, &user_id, 8);
    memcpy(s->material + RECORD_ENTRY_AT + 8, &check, 8);
}

/* Half an hour from login: a plain GET does not move it. */
static const char set_command[] = "SET sess:%s %b EX 1800";

static int plain_login(store *s, uint64_t user_id, char token[LATCHKEY_TOKEN_SIZE])
{
    invent_token(s, token);
    stamp(s, user_id, token);
    redisReply *reply = redisCommand(s->redis, set_command, token, s->material, record_size(s->options));
    int status = reply && reply->type == REDIS_REPLY_STATUS ? LATCHKEY_OK : LATCHKEY_UNAVAILABLE;
    freeReplyObject(reply);
    return status;
}

void store_login_append(store *s, uint64_t user_id, char token[LATCHKEY_TOKEN_SIZE])
{
    invent_token(s, token);
    stamp(s, user_id, token);
    redisAppendCommand(s->redis, set_command, token, s->material, record_size(s->options));
}

void store_loaded(store *s, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        void *reply = NULL;
        if (redisGetReply(s->redis, &reply) != REDIS_OK || ((redisReply *)reply)->type != REDIS_REPLY_STATUS)
            bench_die("loading: %s", reply ? ((redisReply *)reply)->str : s->redis->errstr);
        freeReplyObject(reply);
    }
}

static int plain_logout(store *s, const char *token)
{
    redisReply *reply = redisCommand(s->redis, "DEL sess:%s", token);
    int status = reply && reply->type == REDIS_REPLY_INTEGER ? LATCHKEY_OK : LATCHKEY_UNAVAILABLE;
    if (status == LATCHKEY_OK && reply->integer == 0) status = LATCHKEY_NOT_FOUND;
    freeReplyObject(reply);
    return status;
}

/* With plain_expires both commands go in one flush: as good as it can be done. */
static redisReply *plain_read(store *s, const char *token)
{
    redisReply *reply = NULL, *moved = NULL;
    if (!s->options->plain_expires) return redisCommand(s->redis, "GET sess:%s", token);
    redisAppendCommand(s->redis, "GET sess:%s", token);
    redisAppendCommand(s->redis, "EXPIRE sess:%s 1800", token);
    if (redisGetReply(s->redis, (void **)&reply) != REDIS_OK) return NULL;
    if (redisGetReply(s->redis, (void **)&moved) == REDIS_OK) {
        freeReplyObject(moved);
        return reply;
    }
    freeReplyObject(reply);
    return NULL;
}

static int plain_validate(store *s, const char *token, uint64_t *user_id, uint64_t *check,
                          unsigned char bytes[CHECKED_BYTES])
{
    redisReply *reply = plain_read(s, token);
    int status = LATCHKEY_UNAVAILABLE;
    if (reply && reply->type == REDIS_REPLY_NIL) status = LATCHKEY_NOT_FOUND;
    if (reply && reply->type == REDIS_REPLY_STRING) {
        bool mine = reply->len == record_size(s->options) && memcmp(reply->str, token, LATCHKEY_TOKEN_LENGTH) == 0;
        status = mine ? LATCHKEY_OK : LATCHKEY_CORRUPT;
    }
    if (status == LATCHKEY_OK) {
        memcpy(bytes, reply->str, CHECKED_BYTES);
        memcpy(user_id, bytes + RECORD_ENTRY_AT, 8);
        memcpy(check, bytes + RECORD_ENTRY_AT + 8, 8);
    }
    freeReplyObject(reply);
    return status;
}

/* ----------------------------------------------------------------------------------------------- latchkey -- */

static int latchkey_login(store *s, uint64_t user_id, char token[LATCHKEY_TOKEN_SIZE])
{
    latchkey_field fields[4];
    const unsigned char *at = s->material + RECORD_CLASSICAL;
    for (int i = 0; i < 4; i++) {
        size_t size = part_size(s->options, i);
        fields[i] = (latchkey_field){part_names[i], at, size};
        at += size;
    }
    memcpy(s->material + RECORD_CLASSICAL, &user_id, 8); /* so that no two sessions have the same keys */
    latchkey_draft draft = {.size = sizeof draft,
                            .user_id = user_id,
                            .role = "member",
                            .device = (uint32_t)user_id & 3,
                            .fields = fields,
                            .field_count = s->options->no_material ? 0 : 4};
    uint64_t check = bench_mix(user_id);
    memcpy(draft.permissions_hash, &check, 8);
    return latchkey_create(s->lk, &draft, token);
}

/* ---------------------------------------------------------------------------------------------- the calls -- */

int store_login(store *s, uint64_t user_id, char token[LATCHKEY_TOKEN_SIZE])
{
    return s->lk ? latchkey_login(s, user_id, token) : plain_login(s, user_id, token);
}

int store_logout(store *s, const char *token)
{
    return s->lk ? latchkey_revoke(s->lk, token, LATCHKEY_TOKEN_LENGTH) : plain_logout(s, token);
}

int store_validate(store *s, const char *token, uint64_t user_id, bool *right, uint64_t *sum)
{
    union {
        unsigned char bytes[CHECKED_BYTES];
        uint64_t words[CHECKED_BYTES / 8];
        latchkey_entry entry;
    } answer;
    uint64_t answered = 0, check = 0;
    int status;
    if (s->lk) {
        status = latchkey_validate(s->lk, token, LATCHKEY_TOKEN_LENGTH, &answer.entry);
        answered = answer.entry.user_id;
        memcpy(&check, answer.entry.permissions_hash, 8);
    } else {
        status = plain_validate(s, token, &answered, &check, answer.bytes);
    }
    if (status != LATCHKEY_OK) return status;
    for (int i = 0; i < CHECKED_BYTES / 8; i++) *sum += answer.words[i];
    *right = answered == user_id && check == bench_mix(user_id);
    return LATCHKEY_OK;
}

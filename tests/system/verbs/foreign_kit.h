/* SPDX-License-Identifier: MIT
 *
 * What test_foreign.c and test_import.c share: tokens as other stores make them, and the verbs on them.
 */
#ifndef LATCHKEY_TESTS_FOREIGN_KIT_H
#define LATCHKEY_TESTS_FOREIGN_KIT_H

#include "test_handle.h"

#include <stdio.h>
#include <string.h>

#define TAKEN "foreign_until_ms=4102444800000" /* for ever, as far as a test goes: the year 2100 */

enum { FOREIGN_USER = 4711, FOREIGN_IDLE_MS = 600000, FOREIGN_LIFE_MS = 3600000 };

typedef char foreign_text[64];

/* As connect-redis has them: 32 characters of base64url; the same for the same number. */
static inline const char *foreign_of(unsigned number, foreign_text out)
{
    snprintf(out, sizeof(foreign_text), "sid-%08x_%08xQ%08x-x", number * 2654435761u, ~number, number);
    return out;
}

static inline int64_t server_ms(void)
{
    redisReply *reply = redis_command(server, "TIME");
    int64_t ms = atoll(reply->element[0]->str) * 1000 + atoll(reply->element[1]->str) / 1000;
    freeReplyObject(reply);
    return ms;
}

static inline int import_for(latchkey *lk, const char *foreign, uint64_t user_id)
{
    latchkey_draft draft = {
        .size = sizeof draft, .user_id = user_id, .role = "member", .device = 3, .idle_ms = FOREIGN_IDLE_MS};
    int64_t now = server_ms();
    return latchkey_import(lk, foreign, strlen(foreign), &draft, now - 5000, now + FOREIGN_LIFE_MS);
}

static inline int import_one(latchkey *lk, const char *foreign) { return import_for(lk, foreign, FOREIGN_USER); }

static inline int f_validate(latchkey *lk, const char *token, latchkey_entry *entry)
{
    latchkey_entry unused;
    return latchkey_validate(lk, token, strlen(token), entry ? entry : &unused);
}
static inline int f_try(latchkey *lk, const char *token)
{
    latchkey_entry unused;
    return latchkey_try_validate(lk, token, strlen(token), &unused);
}
static inline int f_revoke(latchkey *lk, const char *token) { return latchkey_revoke(lk, token, strlen(token)); }
static inline int f_touch(latchkey *lk, const char *token) { return latchkey_touch(lk, token, strlen(token)); }
static inline int f_rotate(latchkey *lk, const char *token, int64_t grace_ms, char renewed[LATCHKEY_TOKEN_SIZE])
{
    return latchkey_rotate(lk, token, strlen(token), grace_ms, renewed);
}
static inline int f_set(latchkey *lk, const char *token, const char *name, const char *text)
{
    const latchkey_field field = {name, text, strlen(text)};
    return latchkey_set_fields(lk, token, strlen(token), &field, 1);
}
static inline int f_load(latchkey *lk, const char *token)
{
    latchkey_record *record;
    int status = latchkey_load(lk, token, strlen(token), &record);
    latchkey_record_free(record);
    return status;
}

/* The one key of that kind. */
static inline char *only_key(redis *on, const char *pattern, char out[128])
{
    size_t count;
    char **keys = redis_keys(on, pattern, &count);
    assert_int_equal(count, 1);
    snprintf(out, 128, "%s", keys[0]);
    redis_free_keys(keys);
    return out;
}

#endif

/* latchkey_set_fields: single fields, all or none, without rewriting the session.
 *
 * Key material is bound to the entry by a hash that Redis cannot compute. So where a "pq." field changes, the material
 * is read, the new hash computed here, and the script told both: it changes nothing if the old one is not there any
 * more, and then we start again. Other fields need no reading. */
#include "load.h"

#include <stdio.h>
#include <string.h>

static bool changes_keys(const latchkey_field *fields, size_t count)
{
    bool keys = false;
    for (size_t i = 0; i < count; i++) keys |= lk_field_is_key(fields[i].name, strlen(fields[i].name));
    return keys;
}

static const latchkey_field *change_of(const latchkey_field *fields, size_t count, const lk_reply *name)
{
    for (size_t i = 0; i < count; i++)
        if (lk_reply_is(name, fields[i].name)) return &fields[i];
    return NULL;
}

/* The hash of the key material as it will be: what is there and not changed, and what is set. */
static bool hash_after(const lk_reply *now, const latchkey_field *fields, size_t count, uint8_t hash[LK_HASH_SIZE])
{
    lk_named keys[LK_KEY_FIELDS_MAX];
    size_t used = 0;
    for (size_t i = 0; i + 1 < now->size; i += 2) {
        const lk_reply *name = now->item[i], *value = now->item[i + 1];
        if (!lk_field_is_key(name->text, name->size) || change_of(fields, count, name)) continue;
        if (used == LK_KEY_FIELDS_MAX) return false;
        keys[used++] = (lk_named){name->text, name->size, value->text, value->size};
    }
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(fields[i].name);
        if (!fields[i].data || !lk_field_is_key(fields[i].name, length)) continue;
        if (used == LK_KEY_FIELDS_MAX) return false;
        keys[used++] = (lk_named){fields[i].name, length, fields[i].data, fields[i].size};
    }
    return lk_key_hash(keys, used, hash);
}

/* One run of the script; AGAIN: other key material is there by now. */
static int run_script(latchkey *lk, const lk_token *token, const latchkey_field *fields, size_t count,
                      const uint8_t *before, const uint8_t *after, int64_t deadline_ms)
{
    lk_span words[4 + 2 * LK_FIELDS_MAX];
    uint8_t hash[LK_HASH_SIZE];
    char number[24];
    size_t used = 4, set = 0;
    lk_token_verifier_hash(token, hash);
    for (size_t i = 0; i < count; i++) {
        if (!fields[i].data) continue;
        words[used++] = (lk_span){fields[i].name, strlen(fields[i].name)};
        words[used++] = (lk_span){fields[i].data, fields[i].size};
        set++;
    }
    for (size_t i = 0; i < count; i++)
        if (!fields[i].data) words[used++] = (lk_span){fields[i].name, strlen(fields[i].name)};
    words[0] = (lk_span){hash, sizeof hash};
    words[1] = (lk_span){before, before ? LK_HASH_SIZE : 0};
    words[2] = (lk_span){after, after ? LK_HASH_SIZE : 0};
    words[3] = (lk_span){number, (size_t)snprintf(number, sizeof number, "%zu", set)};
    lk_reply *reply;
    uint64_t incarnation = 0;
    int status = lk_l2_script(&lk->l2, LK_SCRIPT_SET_FIELDS, token->partition, token->text, words, used, deadline_ms,
                              &reply, &incarnation);
    bool durable = !status;
    if (status && status != LATCHKEY_PENDING) return status;
    /* Several tokens' records changed: this one's, and those before it in their grace. */
    bool reused = lk_session_take_reused(lk, token, reply, incarnation),
         several = reply->type == LK_REPLY_STRING && !reused;
    if (several) lk_session_purge(lk, reply->text);
    status = reused                                                   ? LATCHKEY_NOT_FOUND
             : several                                                ? LATCHKEY_OK
             : reply->type == LK_REPLY_INTEGER && reply->integer > 0  ? LATCHKEY_OK
             : reply->type == LK_REPLY_INTEGER && reply->integer == 0 ? LATCHKEY_NOT_FOUND
             : reply->type == LK_REPLY_INTEGER                        ? LATCHKEY_EXPIRED
             : lk_reply_is(reply, "CHANGED")                          ? LATCHKEY_AGAIN
             : lk_reply_is(reply, "MANY")                             ? LATCHKEY_BAD_ARGUMENT
                                                                      : LATCHKEY_UNAVAILABLE;
    lk_reply_free(reply);
    if (!status && !durable) return LATCHKEY_UNAVAILABLE;
    return lk_session_no(lk, token->partition, incarnation, status, deadline_ms);
}

static int change_keys(latchkey *lk, const lk_token *token, const latchkey_field *fields, size_t count,
                       int64_t deadline_ms)
{
    int status;
    do {
        lk_judged judged;
        lk_reply *now;
        uint8_t after[LK_HASH_SIZE];
        status = lk_load(lk, token, deadline_ms, &judged, &now, NULL);
        if (status) return status;
        bool hashed = hash_after(now, fields, count, after);
        lk_reply_free(now);
        if (!hashed) return LATCHKEY_BAD_ARGUMENT;
        status = run_script(lk, token, fields, count, judged.record.entry.pq_key_hash, after, deadline_ms);
        lk_l1_purge(lk->l1, token->text); /* confirmed or not: the next validate asks Redis, and no older read fills */
    } while (status == LATCHKEY_AGAIN && lk_now_ms() < deadline_ms);
    return status == LATCHKEY_AGAIN ? LATCHKEY_UNAVAILABLE : status;
}

int latchkey_set_fields(latchkey *lk, const char *token, size_t token_len, const latchkey_field *fields,
                        size_t field_count)
{
    lk_token parsed;
    int64_t deadline_ms;
    int status = lk_begin(lk, token, token_len, &parsed, &deadline_ms);
    if (status) return status;
    if (!field_count || !lk_fields_good(fields, field_count, true)) return LATCHKEY_BAD_ARGUMENT;
    if (lk_pending_has(lk->pending, &parsed)) status = LATCHKEY_NOT_FOUND;
    else if (changes_keys(fields, field_count)) status = change_keys(lk, &parsed, fields, field_count, deadline_ms);
    else status = run_script(lk, &parsed, fields, field_count, NULL, NULL, deadline_ms);
    lk_wipe(&parsed, sizeof parsed);
    return status;
}

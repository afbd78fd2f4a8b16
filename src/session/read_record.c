/* See read_record.h. */
#include "session/read_record.h"

#include "base/field_version.h"
#include "redis/keys.h"
#include "session/token_reuse.h"
#include "session/vouched_read.h"
#include "session/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The "pq." fields of a hash's reply ([name, value, ...]), in the form that lk_key_hash takes. */
static size_t key_fields(const lk_reply *fields, lk_named out[LK_KEY_FIELDS_MAX + 1])
{
    size_t count = 0;
    for (size_t i = 0; i + 1 < fields->count && count <= LK_KEY_FIELDS_MAX; i += 2) {
        const lk_reply *name = fields->item[i], *value = fields->item[i + 1];
        if (lk_field_is_key(name->text, name->size))
            out[count++] = (lk_named){name->text, name->size, value->text, value->size};
    }
    return count;
}

const lk_reply *lk_find_field(const lk_reply *fields, const char *name)
{
    for (size_t i = 0; i + 1 < fields->count; i += 2)
        if (lk_reply_is(fields->item[i], name)) return fields->item[i + 1];
    return NULL;
}

int lk_open_value(latchkey *lk, lk_node *node, const lk_record *record, const char *name, lk_reply *value)
{
    if (!record->sealed) return LATCHKEY_OK;
    lk_seal_context home = lk_record_context(record);
    enum lk_seal_check check =
        lk_open_field(&lk->config.seal_keys, &home, lk_word(name), (uint8_t *)value->text, &value->size);
    if (check == LK_SEAL_UNKNOWN_KEY)
        return lk_l2_corrupt(&lk->l2, node, "a session's field is sealed, and no key in seal_key_file has its id");
    if (check) return lk_l2_corrupt(&lk->l2, node, "a session's field does not match its seal: it was changed");
    return LATCHKEY_OK;
}

static int open_fields(latchkey *lk, lk_node *node, const lk_record *record, const lk_reply *fields)
{
    int status = LATCHKEY_OK;
    for (size_t i = 0; i + 1 < fields->count && !status; i += 2)
        if (fields->item[i]->size > 1) /* names of one letter are the library's own */
            status = lk_open_value(lk, node, record, fields->item[i]->text, fields->item[i + 1]);
    return status;
}

/* The version is of what Redis holds, so this runs before the values are opened. */
static int note_versions(const lk_reply *fields)
{
    for (size_t i = 0; i + 1 < fields->count; i += 2) {
        lk_reply *value = fields->item[i + 1];
        if (fields->item[i]->size <= 1) continue;
        value->integer = (long long)lk_field_version(value->text, value->size);
        if (!value->integer) return LATCHKEY_NO_MEMORY;
    }
    return LATCHKEY_OK;
}

static int check_fields(latchkey *lk, lk_node *node, const lk_reply *fields, const lk_record *record)
{
    lk_named keys[LK_KEY_FIELDS_MAX + 1];
    uint8_t hash[LK_HASH_SIZE];
    size_t count = key_fields(fields, keys);
    if (lk_key_hash(keys, count, hash) && lk_equal(hash, record->entry.pq_key_hash, sizeof hash)) return LATCHKEY_OK;
    return lk_l2_corrupt(&lk->l2, node, "a session's key material is not what its record was made with");
}

static int judge_fields(latchkey *lk, lk_node *node, unsigned partition, const char *selector, const lk_token *token,
                        const lk_reply *fields, bool whole, const lk_reply *pttl, int64_t asked_us, lk_judged *judged)
{
    if (fields->type == LK_REPLY_ERROR) return lk_l2_refused(&lk->l2, node, fields);
    if (!lk_reply_shaped(fields, "(ss)"))
        return lk_l2_corrupt(&lk->l2, node, "Redis' answer to HGETALL is not a list of fields");
    if (!fields->count) return LATCHKEY_NOT_FOUND;
    const lk_reply *v = lk_find_field(fields, "v");
    if (!v) return lk_l2_corrupt(&lk->l2, node, "a session in Redis has no record");
    int status = lk_session_judge(lk, node, partition, selector, token, v, pttl, asked_us, judged);
    if (status || judged->record.grace_until_ms) return status; /* everything else is under the session's new name */
    status = note_versions(fields);
    if (!status) status = open_fields(lk, node, &judged->record, fields);
    if (!status && whole) status = check_fields(lk, node, fields, &judged->record);
    return status ? status : lk_session_late(lk, partition, &judged->record.entry, judged->until_us);
}

/* What is asked about one name. It must not move before it is sent. */
typedef struct name_question {
    char key[LK_KEY_SIZE], section_key[LK_SECTION_KEY_SIZE];
    lk_span read[5 + LK_FIELDS_MAX], pttl[2], get[2];
    size_t names;
    lk_call calls[3];
    size_t count;
} name_question;

enum { OWN = 3, BEFORE = 2 }; /* v, f and s, behind the command and the key */

/* A section is read before its session. So if both are there, the section was there when the session was read, or was
 * replaced by then. HGETALL, or HMGET of the library's own fields and those that are wanted. */
static void put_name_question(const latchkey *lk, unsigned partition, const char *selector, const lk_want *want,
                              name_question *q)
{
    lk_key_session(q->key, lk->config.prefix, partition, selector);
    lk_span key = lk_word(q->key), read[BEFORE + OWN] = {{0}, key, lk_word("v"), lk_word("f"), lk_word("s")};
    read[0] = lk_word(want->names ? "HMGET" : "HGETALL");
    memcpy(q->read, read, sizeof read);
    q->names = want->names ? OWN + want->count : 0;
    for (size_t i = 0; i < want->count; i++) q->read[BEFORE + OWN + i] = lk_word(want->names[i]);
    q->count = 0;
    if (want->section) {
        lk_key_section(q->section_key, lk->config.prefix, partition, selector, want->section);
        q->get[0] = lk_word("GET");
        q->get[1] = lk_word(q->section_key);
        q->calls[q->count++] = (lk_call){q->get, 2};
    }
    q->pttl[0] = lk_word("PTTL");
    q->pttl[1] = key;
    q->calls[q->count++] = (lk_call){q->read, BEFORE + q->names};
    q->calls[q->count++] = (lk_call){q->pttl, 2};
}

static int read_name(latchkey *lk, unsigned partition, const char *selector, const lk_token *token, const lk_want *want,
                     int64_t deadline_ms, lk_judged *judged, lk_reply **fields, lk_vouch *vouch)
{
    name_question q;
    lk_reply *reply[3];
    lk_node *node = lk_l2_owner(&lk->l2, partition);
    *fields = NULL;
    memset(judged, 0, sizeof *judged);
    put_name_question(lk, partition, selector, want, &q);
    int64_t asked_us = lk_now_us();
    lk_count(&lk->counters, LK_L2_READS, 1);
    int status = lk_vouch_ask(lk, partition, vouch, q.calls, q.count, deadline_ms, reply);
    if (status) return status;
    lk_reply *read = reply[q.count - 2], *pttl = reply[q.count - 1];
    /* Redis answers with a value, or nil, for each name, also where there is no such key: an empty list would be no "no". */
    if (want->names && read->type == LK_REPLY_ARRAY && read->count != q.names)
        status = lk_l2_corrupt(&lk->l2, node, "Redis' answer to HMGET is not as many values as were asked for");
    else if (want->names && !lk_reply_pair(read, q.read + BEFORE, q.names)) status = LATCHKEY_NO_MEMORY;
    if (!status)
        status = judge_fields(lk, node, partition, selector, token, read, !want->names, pttl, asked_us, judged);
    lk_reply_free(pttl);
    if (status) lk_reply_free(read);
    else *fields = read;
    if (!want->section) return status;
    if (status) lk_reply_free(reply[0]);
    else *want->value = reply[0];
    return status;
}

/* The name that the token of `old` was exchanged for, by the name of its family. */
static int current_name(latchkey *lk, unsigned partition, const lk_reply *old, int64_t deadline_ms,
                        char selector[LATCHKEY_SELECTOR_LENGTH + 1], lk_vouch *vouch)
{
    char key[LK_KEY_SIZE];
    const lk_reply *name = lk_find_field(old, "f");
    lk_node *node = lk_l2_owner(&lk->l2, partition);
    if (!name || name->size != LATCHKEY_SELECTOR_LENGTH)
        return lk_l2_corrupt(&lk->l2, node, "the record of an exchanged token names no rotation family");
    lk_key_family(key, lk->config.prefix, partition, name->text);
    const lk_span words[4] = {lk_word("ZRANGE"), lk_word(key), lk_word("-1"), lk_word("-1")};
    lk_reply *reply;
    int status = lk_vouch_ask(lk, partition, vouch, &(lk_call){words, 4}, 1, deadline_ms, &reply);
    if (status) return status;
    if (reply->type == LK_REPLY_ERROR) status = lk_l2_refused(&lk->l2, node, reply);
    else if (lk_reply_shaped(reply, "")) status = LATCHKEY_NOT_FOUND; /* the session ended in between */
    else if (!lk_reply_shaped(reply, "s") || lk_reply_at(reply, 0)->size != LATCHKEY_SELECTOR_LENGTH)
        status = lk_l2_corrupt(&lk->l2, node, "a rotation family in Redis names no session");
    else memcpy(selector, lk_reply_at(reply, 0)->text, LATCHKEY_SELECTOR_LENGTH + 1);
    lk_reply_free(reply);
    return status;
}

static void drop_fields(const lk_want *want, lk_reply **fields)
{
    lk_reply_free(*fields);
    *fields = NULL;
    if (!want->section) return;
    lk_reply_free(*want->value);
    *want->value = NULL;
}

/* Finds the session of a token that was exchanged, by its current name. Three reads, all from one server. */
static int load_current(latchkey *lk, unsigned partition, const lk_token *token,
                        char selector[LATCHKEY_SELECTOR_LENGTH + 1], const lk_want *want, int64_t deadline_ms,
                        lk_judged *judged, lk_reply **fields, lk_vouch *vouch)
{
    char before[LATCHKEY_SELECTOR_LENGTH + 1];
    lk_reply *old = *fields;
    const lk_record was = judged->record;
    int status;
    *fields = NULL;
    drop_fields(want, fields);
    do { /* until it is not exchanged while this looks */
        memcpy(before, selector, sizeof before);
        status = current_name(lk, partition, old, deadline_ms, selector, vouch);
        if (!status && !strcmp(selector, before)) status = LATCHKEY_NOT_FOUND; /* it was not exchanged: it is gone */
        /* By name, as for the first one. A caller with a token is denied for that token (guarantee B), and Redis knows
         * about its session. */
        if (!status && !token && lk_pending_names(lk->pending, selector)) status = LATCHKEY_NOT_FOUND;
        if (status) break;
        status = read_name(lk, partition, selector, NULL, want, deadline_ms, judged, fields, vouch);
        if (status == LATCHKEY_NOT_FOUND) status = LK_OUTCOME_CHANGED;
        if (status || !judged->record.grace_until_ms) continue;
        drop_fields(want, fields);
        status = LK_OUTCOME_CHANGED;
    } while (status == LK_OUTCOME_CHANGED && lk_now_ms() < deadline_ms);
    status = lk_outcome_status(status);
    /* No seal covers which session continues which; but both have the same session id. */
    const lk_record *is = &judged->record;
    if (!status && (is->sealed != was.sealed || memcmp(is->session, was.session, sizeof was.session))) {
        status = lk_l2_corrupt(&lk->l2, lk_l2_owner(&lk->l2, partition),
                               "the record of an exchanged token names another session");
        drop_fields(want, fields);
    }
    lk_reply_free(old);
    return status;
}

/* By a token, or by a name alone: then `token` is NULL. Afterwards `selector` is the session's name. */
static int load_session(latchkey *lk, unsigned partition, const lk_token *token,
                        char selector[LATCHKEY_SELECTOR_LENGTH + 1], const lk_want *want, int64_t deadline_ms,
                        lk_judged *judged, lk_reply **fields, lk_vouch *vouch)
{
    int status = read_name(lk, partition, selector, token, want, deadline_ms, judged, fields, vouch);
    if (status && judged->reused) {
        status = lk_session_reused(lk, token, deadline_ms, &judged->until_us);
        if (!status) status = LATCHKEY_UNAVAILABLE; /* it is good for a moment, which is too short for all of this */
    }
    if (!status && judged->record.grace_until_ms) {
        status = load_current(lk, partition, token, selector, want, deadline_ms, judged, fields, vouch);
        judged->renew = false; /* that would be for the new token, and this is the old one */
    }
    return status;
}

typedef struct loading {
    unsigned partition;
    const lk_token *token; /* NULL: by name alone */
    const char *name;
    const lk_want *want;
    lk_judged *judged;
    lk_reply **fields;
    char *selector;
} loading;

static int ask_record(latchkey *lk, void *context, lk_vouch *vouch, int64_t deadline_ms)
{
    loading *l = context;
    memcpy(l->selector, l->name, LATCHKEY_SELECTOR_LENGTH);
    l->selector[LATCHKEY_SELECTOR_LENGTH] = 0;
    return load_session(lk, l->partition, l->token, l->selector, l->want, deadline_ms, l->judged, l->fields, vouch);
}

static int keep_record(latchkey *lk, void *context, const lk_vouch *vouch, int said)
{
    const loading *l = context;
    (void)vouch;
    return said ? said : lk_session_late(lk, l->partition, &l->judged->record.entry, l->judged->until_us);
}

static void drop_record(void *context)
{
    const loading *l = context;
    drop_fields(l->want, l->fields);
}

static int load_vouched(latchkey *lk, loading *l, int64_t deadline_ms)
{
    const lk_vouched_read read = {.partition = l->partition,
                                  .token = l->token,
                                  .selector = l->name,
                                  .ask = ask_record,
                                  .keep = keep_record,
                                  .drop = drop_record,
                                  .context = l};
    return lk_read_vouched(lk, &read, deadline_ms);
}

int lk_load_vouched(latchkey *lk, const lk_token *token, const lk_want *want, int64_t deadline_ms, lk_judged *judged,
                    lk_reply **fields)
{
    char selector[LATCHKEY_SELECTOR_LENGTH + 1];
    loading l = {token->partition, token, token->text, want, judged, fields, selector};
    return load_vouched(lk, &l, deadline_ms);
}

int lk_load_named(latchkey *lk, unsigned partition, const char *name, int64_t deadline_ms, lk_judged *judged,
                  lk_reply **fields, char selector[LATCHKEY_SELECTOR_LENGTH + 1])
{
    loading l = {partition, NULL, name, &(lk_want){0}, judged, fields, selector};
    return load_vouched(lk, &l, deadline_ms);
}

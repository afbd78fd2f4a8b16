/* See update.h. */
#include "session/update.h"
#include "base/argument.h"

#include "base/sized.h"

#include "observe/events.h"
#include "session/read_record.h"
#include "session/run_script.h"
#include "session/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------- swaps -- */

int lk_access_take(const latchkey_access *given, latchkey_access *a)
{
    enum { FIRST = sizeof(latchkey_access) }; /* the size in version 0.1 */
    if (!lk_take_sized(a, sizeof *a, FIRST, given))
        return lk_bad_argument(
            "access: NULL, or access.size is wrong: sizeof(latchkey_access) is expected, and 0 in all "
            "members that this version does not have");
    if (a->flags_mask & ~LATCHKEY_FLAGS_YOURS) return lk_bad_argument("access.flags_mask: only LATCHKEY_FLAGS_YOURS");
    if (a->flags & ~a->flags_mask) return lk_bad_argument("access.flags: only bits of access.flags_mask");
    if (a->role && strnlen(a->role, 17) > 16) return lk_bad_argument("access.role: at most 16 bytes are expected");
    if (!a->role && !a->permissions_hash && !a->flags_mask && !a->authenticated)
        return lk_bad_argument("access: nothing in it is to be changed");
    return LATCHKEY_OK;
}

bool lk_access_apply(const latchkey_access *a, int64_t now_ms, latchkey_entry *entry)
{
    const latchkey_entry before = *entry;
    if (a->role) {
        memset(entry->role, 0, sizeof entry->role);
        memcpy(entry->role, a->role, strnlen(a->role, sizeof entry->role));
    }
    if (a->permissions_hash) memcpy(entry->permissions_hash, a->permissions_hash, sizeof entry->permissions_hash);
    entry->flags = (entry->flags & ~a->flags_mask) | a->flags;
    if (a->authenticated && entry->auth_at_ms < now_ms) entry->auth_at_ms = now_ms;
    return memcmp(&before, entry, sizeof before) != 0;
}

static uint8_t *put_text(uint8_t *at, const void *text, size_t size)
{
    at[0] = (uint8_t)size;
    at[1] = (uint8_t)(size >> 8);
    memcpy(at + 2, text, size);
    return at + 2 + size;
}

/* The selector, then both records, each with its length of two bytes in front. */
static bool add(lk_swaps *swaps, const char *selector, const lk_reply *was, const void *is, size_t is_size)
{
    size_t more = LATCHKEY_SELECTOR_LENGTH + 2 + was->size + 2 + is_size;
    if (was->size > UINT16_MAX) return false; /* the scripts return none that is longer than a record */
    if (swaps->size + more > swaps->room) {
        size_t room = 2 * (swaps->size + more);
        uint8_t *bytes = realloc(swaps->bytes, room);
        if (!bytes) return false;
        swaps->bytes = bytes;
        swaps->room = room;
    }
    uint8_t *at = swaps->bytes + swaps->size;
    memcpy(at, selector, LATCHKEY_SELECTOR_LENGTH);
    at = put_text(put_text(at + LATCHKEY_SELECTOR_LENGTH, was->text, was->size), is, is_size);
    swaps->size += more;
    return true;
}

bool lk_swaps_add(lk_swaps *swaps, const lk_seal_keys *keys, const char selector[LATCHKEY_SELECTOR_LENGTH],
                  const lk_reply *was, const lk_record *record)
{
    uint8_t is[LK_RECORD_SEALED_SIZE];
    return add(swaps, selector, was, is, lk_record_seal(keys, record, is));
}

bool lk_swaps_keep(lk_swaps *swaps, const char selector[LATCHKEY_SELECTOR_LENGTH], const lk_reply *was)
{
    return add(swaps, selector, was, was->text, was->size);
}

void lk_swaps_free(lk_swaps *swaps)
{
    free(swaps->bytes);
    *swaps = (lk_swaps){0};
}

/* ------------------------------------------------------------------------------------------- key material -- */

static bool changes_keys(const lk_update *change)
{
    bool keys = false;
    for (size_t i = 0; i < change->count; i++)
        keys |= lk_field_is_key(change->fields[i].name, strlen(change->fields[i].name));
    return keys;
}

static bool is_changed(const lk_update *change, const lk_reply *name)
{
    for (size_t i = 0; i < change->count; i++)
        if (lk_reply_is(name, change->fields[i].name)) return true;
    return false;
}

/* The key material as it is: names and values in turn. */
static bool hash_before(lk_reply *const *material, size_t count, uint8_t hash[LK_HASH_SIZE])
{
    lk_named keys[LK_KEY_FIELDS_MAX];
    if (count > 2 * LK_KEY_FIELDS_MAX) return false;
    for (size_t i = 0; i + 1 < count; i += 2)
        keys[i / 2] = (lk_named){material[i]->text, material[i]->size, material[i + 1]->text, material[i + 1]->size};
    return lk_key_hash(keys, count / 2, hash);
}

/* The key material as it will be: what is there and not changed, and what is set. False: it is too much. */
static bool hash_after(lk_reply *const *material, size_t count, const lk_update *change, uint8_t hash[LK_HASH_SIZE])
{
    lk_named keys[LK_KEY_FIELDS_MAX];
    size_t used = 0;
    for (size_t i = 0; i + 1 < count; i += 2) {
        if (is_changed(change, material[i])) continue;
        if (used == LK_KEY_FIELDS_MAX) return false;
        keys[used++] = (lk_named){material[i]->text, material[i]->size, material[i + 1]->text, material[i + 1]->size};
    }
    for (size_t i = 0; i < change->count; i++) {
        const latchkey_field *f = &change->fields[i];
        size_t length = strlen(f->name);
        if (!f->data || !lk_field_is_key(f->name, length)) continue;
        if (used == LK_KEY_FIELDS_MAX) return false;
        keys[used++] = (lk_named){f->name, length, f->data, f->size};
    }
    return lk_key_hash(keys, used, hash);
}

/* -------------------------------------------------------------------------------------------- the scripts -- */

/* The reply: [time, how many records, selector, record ..., name, value ...]. The caller gets it. */
static int keep_records(latchkey *lk, void *context, lk_script_answer *answer, int status)
{
    (void)lk;
    lk_reply **records = context, *reply = answer->reply;
    long long records_of = lk_reply_at(reply, 1)->integer;
    bool good = lk_reply_shaped(reply, "ii(ss)") && records_of > 0 && (size_t)records_of <= reply->count / 2 - 1;
    for (size_t i = 0; good && i < (size_t)records_of; i++)
        good = lk_reply_at(reply, 2 + 2 * i)->size == LATCHKEY_SELECTOR_LENGTH;
    if (!good) return status ? status : LATCHKEY_UNAVAILABLE;
    *records = reply;
    answer->reply = NULL;
    return LATCHKEY_OK;
}

/* On OK the caller frees the records. */
static int read_records(latchkey *lk, const lk_token *token, bool with_keys, int64_t deadline_ms, lk_reply **records)
{
    uint8_t hash[LK_HASH_SIZE];
    lk_token_verifier_hash(token, hash);
    const lk_span words[2] = {{hash, sizeof hash}, lk_word(with_keys ? "1" : "0")};
    lk_script_run run = lk_script_on(token, LK_SCRIPT_RECORDS, words, 2);
    run.reads = true;
    run.take = keep_records;
    run.context = records;
    *records = NULL;
    int status = lk_run_script(lk, &run, deadline_ms);
    if (!status) return LATCHKEY_OK;
    lk_reply_free(*records); /* read from a server that has no lease */
    *records = NULL;
    return status;
}

/* If the session is sealed, this also opens it. */
static int check_material(latchkey *lk, lk_node *node, lk_reply *const *material, size_t count, const lk_record *record)
{
    uint8_t hash[LK_HASH_SIZE];
    for (size_t i = 0; i + 1 < count; i += 2) {
        int status = lk_open_value(lk, node, record, material[i]->text, material[i + 1]);
        if (status) return status;
    }
    if (hash_before(material, count, hash) && lk_equal(hash, record->entry.pq_key_hash, sizeof hash))
        return LATCHKEY_OK;
    return lk_l2_corrupt(&lk->l2, node, "a session's key material is not what its record was made with");
}

/* What was read for a change, and what comes of it. */
typedef struct reading {
    lk_reply *const *token, *const *material; /* selector, record ...; name, value ... */
    size_t tokens, material_size;
    int64_t now_ms;
    lk_record record;       /* the session's own */
    lk_swaps swaps;         /* empty if no record changes */
    latchkey_field *sealed; /* the fields as Redis is to hold them, if the session is sealed */
} reading;

static void read_reply(const lk_reply *records, reading *r)
{
    r->now_ms = lk_reply_at(records, 0)->integer;
    r->tokens = (size_t)lk_reply_at(records, 1)->integer;
    r->token = records->item + 2;
    r->material = r->token + 2 * r->tokens;
    r->material_size = records->count - 2 - 2 * r->tokens;
}

/* Redis says which session these records belong to, and no seal covers that. But all records of a session have its id,
 * and the caller's own record must be among them. CHANGED: it is not, because its grace ended in between, or because a
 * person moved it. */
static int check_family(latchkey *lk, lk_node *node, const lk_token *token, const reading *r)
{
    bool among = false;
    for (size_t i = 0; i < r->tokens; i++) {
        lk_record record;
        const lk_reply *selector = r->token[2 * i];
        int status = lk_session_record(lk, node, selector->text, r->token[2 * i + 1], &record);
        if (status) return status;
        if (!record.sealed || memcmp(record.session, r->record.session, sizeof record.session))
            return lk_l2_corrupt(&lk->l2, node, "the records of one session in Redis are of several");
        among |= !strncmp(selector->text, token->text, LATCHKEY_SELECTOR_LENGTH);
    }
    return among ? LATCHKEY_OK : LK_OUTCOME_CHANGED;
}

/* Makes what replaces these records. */
static int prepare_swaps(latchkey *lk, lk_node *node, const lk_update *change, bool keys, reading *r)
{
    uint8_t after[LK_HASH_SIZE];
    int status = keys ? check_material(lk, node, r->material, r->material_size, &r->record) : LATCHKEY_OK;
    if (status) return status;
    if (keys && !hash_after(r->material, r->material_size, change, after))
        return lk_bad_argument("fields: a session has at most 64 of key material (pq.*)");
    for (size_t i = 0; i < r->tokens; i++) {
        lk_record record;
        const lk_reply *selector = r->token[2 * i], *was = r->token[2 * i + 1];
        status = lk_session_record(lk, node, selector->text, was, &record);
        if (status) return status;
        if (change->access) lk_access_apply(change->access, r->now_ms, &record.entry);
        if (keys) memcpy(record.entry.pq_key_hash, after, sizeof after);
        if (!lk_swaps_add(&r->swaps, &lk->config.seal_keys, selector->text, was, &record)) return LATCHKEY_NO_MEMORY;
    }
    return LATCHKEY_OK;
}

static int prepare(latchkey *lk, lk_node *node, const lk_token *token, const lk_update *change, reading *r)
{
    bool keys = changes_keys(change);
    int status = lk_session_record(lk, node, r->token[0]->text, r->token[1], &r->record);
    if (!status && r->record.sealed) status = check_family(lk, node, token, r);
    if (!status && (keys || change->access)) status = prepare_swaps(lk, node, change, keys, r);
    if (status || !r->record.sealed || !change->count) return status;
    r->sealed = lk_fields_seal(&lk->config.seal_keys, &r->record, change->fields, change->count);
    return r->sealed ? LATCHKEY_OK : LATCHKEY_NO_MEMORY;
}

/* The arguments of set_fields.lua behind the verifier's hash and the swaps: the fields that are set, then those that
 * are deleted, and their versions in the same order. Returns the number of words. */
static size_t put_fields(const lk_update *change, lk_span *words, char number[24], char *versions)
{
    size_t used = 2, set = 0;
    for (int deletes = false; deletes <= true; deletes++)
        for (size_t i = 0; i < change->count; i++) {
            const latchkey_field *f = &change->fields[i];
            if ((f->data == NULL) != deletes) continue;
            words[used++] = lk_word(f->name);
            if (f->data) words[used++] = (lk_span){f->data, f->size};
            set += f->data != NULL;
            if (change->versions) versions += sprintf(versions, "%016llx", (unsigned long long)change->versions[i]);
        }
    words[0] = (lk_span){number, (size_t)snprintf(number, 24, "%zu", set)};
    return used;
}

enum { FIXED_WORDS = 4, VERSION_DIGITS = 16 };

/* A change of records is announced. It is OK once the link has received the message, as every instance does, and so
 * remembers it: a server that forgets the change then ends the session (recent.h). */
static int await_announcement(latchkey *lk, void *context, lk_script_answer *answer, int status)
{
    (void)lk;
    (void)context;
    answer->awaits_beat = !status;
    return status;
}

/* CHANGED: a record is not what was read. */
static int write_change(latchkey *lk, const lk_token *token, const lk_update *change, const lk_swaps *swaps,
                        int64_t deadline_ms)
{
    lk_span words[FIXED_WORDS + 2 * LK_FIELDS_MAX];
    uint8_t hash[LK_HASH_SIZE];
    char number[24], versions[VERSION_DIGITS * LK_FIELDS_MAX + 1] = "";
    lk_token_verifier_hash(token, hash);
    words[0] = (lk_span){hash, sizeof hash};
    words[1] = (lk_span){swaps->bytes, swaps->size};
    size_t count = 2 + put_fields(change, words + 2, number, versions);
    words[3] = lk_word(versions);
    lk_script_run run = lk_script_on(token, LK_SCRIPT_SET_FIELDS, words, count);
    if (swaps->size) run.take = await_announcement;
    return lk_run_script(lk, &run, deadline_ms);
}

/* Whether it was confirmed or not: the next validate asks Redis, and no older read fills L1. */
static void purge(latchkey *lk, const lk_token *token, const reading *r)
{
    lk_l1_purge(lk->l1, token->text);
    for (size_t i = 0; i < r->tokens; i++) lk_l1_purge(lk->l1, r->token[2 * i]->text);
}

/* One try, with records. */
static int change_once(latchkey *lk, const lk_token *token, const lk_update *change, int64_t deadline_ms)
{
    reading r = {0};
    lk_reply *records = NULL;
    int status = read_records(lk, token, changes_keys(change), deadline_ms, &records);
    if (status) return status;
    read_reply(records, &r);
    status = prepare(lk, lk_l2_owner(&lk->l2, token->partition), token, change, &r);
    lk_update stored = *change;
    if (r.sealed) stored.fields = r.sealed;
    if (!status) {
        status = write_change(lk, token, &stored, &r.swaps, deadline_ms);
        if (r.swaps.size) purge(lk, token, &r);
        if (!status && change->access) lk_event_changed(&lk->config, r.token[0]->text, "access");
        if (!status && changes_keys(change)) lk_event_changed(&lk->config, r.token[0]->text, "keys");
    }
    lk_reply_free(records);
    lk_swaps_free(&r.swaps);
    free(r.sealed);
    return status;
}

int lk_update_read(latchkey *lk, const lk_token *token, int64_t deadline_ms, lk_record *record)
{
    lk_reply *records = NULL;
    int status = read_records(lk, token, false, deadline_ms, &records);
    if (status) return lk_outcome_status(status);
    const lk_reply *selector = lk_reply_at(records, 2);
    status = selector->size != LATCHKEY_SELECTOR_LENGTH
                 ? LATCHKEY_UNAVAILABLE
                 : lk_session_record(lk, lk_l2_owner(&lk->l2, token->partition), selector->text,
                                     lk_reply_at(records, 3), record);
    lk_reply_free(records);
    return status;
}

int lk_update_session(latchkey *lk, const lk_token *token, const lk_update *change, int64_t deadline_ms)
{
    static const lk_swaps none;
    if (lk_pending_has(lk->pending, token)) return LATCHKEY_NOT_FOUND;
    bool plain = !lk->config.seal_keys.count && !change->access && !changes_keys(change);
    if (plain) return write_change(lk, token, change, &none, deadline_ms);
    int status;
    do status = change_once(lk, token, change, deadline_ms);
    while (status == LK_OUTCOME_CHANGED && lk_now_ms() < deadline_ms);
    return lk_outcome_status(status);
}

/* latchkey_section_put and latchkey_section_get: what is too large for the session itself. It is a string of its own,
 * lk:{p}:s:<selector>:<section>, and is moved only when it is asked for. The session's field `s` names its sections:
 * only what is named there belongs to the session. A section is written under the session's current name and with its
 * expiry, in the script that checks that the session lives; it is exchanged, touched and ended with it (common.lua). */
#include "session/touch.h"
#include "session/update.h"
#include "base/argument.h"
#include "session/read_record.h"
#include "session/begin.h"
#include "session/judge.h"
#include "session/run_script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A section is sealed as a field, under a name that no field can have. */
enum { SEAL_NAME_SIZE = 1 + 64 + 1 };
static void seal_name(char out[SEAL_NAME_SIZE], const char *section)
{
    snprintf(out, SEAL_NAME_SIZE, "/%.64s", section);
}

static const char bad_name[] = "section: 2 to 64 characters of [A-Za-z0-9._:-] are expected";
static bool name_good(const char *section) { return section && lk_field_name_good(section, strlen(section)); }

/* ------------------------------------------------------------------------------------------------- writing -- */

static int run_put(latchkey *lk, const lk_token *token, const char *section, lk_span data, int64_t deadline_ms)
{
    uint8_t hash[LK_HASH_SIZE];
    lk_token_verifier_hash(token, hash);
    const lk_span words[4] = {{hash, sizeof hash}, lk_word(section), lk_word(data.data ? "1" : "0"), data};
    const lk_script_run run = lk_script_on(token, LK_SCRIPT_SECTION_PUT, words, 4);
    return lk_run_script(lk, &run, deadline_ms);
}

/* If there are seal keys, the session may be sealed. */
static int put_section(latchkey *lk, const lk_token *token, const char *section, lk_span data, int64_t deadline_ms)
{
    lk_record record = {.sealed = false};
    char name[SEAL_NAME_SIZE];
    if (lk_pending_has(lk->pending, token)) return LATCHKEY_NOT_FOUND;
    int status =
        data.data && lk->config.seal_keys.count ? lk_update_read(lk, token, deadline_ms, &record) : LATCHKEY_OK;
    if (status) return status;
    seal_name(name, section);
    const latchkey_field plain = {name, data.data, data.size};
    latchkey_field *sealed = record.sealed ? lk_fields_seal(&lk->config.seal_keys, &record, &plain, 1) : NULL;
    if (record.sealed && !sealed) return LATCHKEY_NO_MEMORY;
    if (sealed) data = (lk_span){sealed->data, sealed->size};
    status = run_put(lk, token, section, data, deadline_ms);
    free(sealed);
    return status;
}

int latchkey_section_put(latchkey *lk, const char *token, size_t token_len, const char *section, const void *data,
                         size_t size)
{
    lk_token parsed;
    LK_VISIT(visit);
    int status = lk_begin(lk, token, token_len, &parsed, &visit);
    if (status) return status;
    if (!name_good(section)) status = lk_bad_argument(bad_name);
    else if (size > LK_SECTION_SIZE_MAX) status = lk_bad_argument("section_put: size: at most 1 MiB is expected");
    else if (size && !data) status = lk_bad_argument("section_put: data is NULL, and size is not 0");
    else status = put_section(lk, &parsed, section, (lk_span){data, size}, visit.deadline_ms);
    lk_wipe(&parsed, sizeof parsed);
    if (status) return status;
    lk_count(&lk->counters, LK_SECTION_WRITES, 1);
    if (data) lk_histogram_add(&lk->counters.section_bytes, size);
    return LATCHKEY_OK;
}

/* ------------------------------------------------------------------------------------------------- reading -- */

static bool names_section(const lk_reply *fields, const char *section)
{
    const lk_reply *list = lk_find_field(fields, "s");
    size_t length = strlen(section);
    for (const char *at = list ? list->text : ""; *at; at += strspn(at, " ")) {
        size_t word = strcspn(at, " ");
        if (word == length && !memcmp(at, section, length)) return true;
        at += word;
    }
    return false;
}

/* Judges what was read of the section, with its session. AGAIN: it was written in between. */
static int judge(latchkey *lk, lk_node *node, const char *section, const lk_reply *fields, const lk_record *record,
                 lk_reply *value, bool *found)
{
    char name[SEAL_NAME_SIZE];
    *found = false;
    if (value->type == LK_REPLY_ERROR) return lk_l2_refused(&lk->l2, node, value);
    if (!names_section(fields, section)) return LATCHKEY_OK;
    if (value->type == LK_REPLY_NIL) return LATCHKEY_AGAIN;
    if (value->type != LK_REPLY_STRING) return lk_l2_corrupt(&lk->l2, node, "Redis' answer to GET is not a string");
    *found = true;
    seal_name(name, section);
    return lk_open_value(lk, node, record, name, value);
}

/* A named section stays named until it is deleted, so it cannot be missing again and again. */
enum { TRIES = 4 };

static int get(latchkey *lk, const lk_token *token, const char *section, int64_t deadline_ms, lk_reply **value,
               bool *found)
{
    static const char *const none[1];
    const lk_want want = {.names = none, .section = section, .value = value};
    lk_node *node = lk_l2_owner(&lk->l2, token->partition);
    int status = LATCHKEY_AGAIN;
    for (int i = 0; i < TRIES && status == LATCHKEY_AGAIN; i++) {
        lk_judged judged;
        lk_reply *fields = NULL;
        status = lk_load_vouched(lk, token, &want, deadline_ms, &judged, &fields);
        if (status) return status;
        if (judged.touch_due) lk_session_touch(lk, token->partition, &judged.record);
        status = judge(lk, node, section, fields, &judged.record, *value, found);
        lk_reply_free(fields);
        if (!status) return status;
        lk_reply_free(*value);
        *value = NULL;
    }
    return status == LATCHKEY_AGAIN ? lk_l2_corrupt(&lk->l2, node, "a session's section is lost") : status;
}

int latchkey_section_get(latchkey *lk, const char *token, size_t token_len, const char *section, void *data,
                         size_t capacity, size_t *size, int *found)
{
    if (size) *size = 0;
    if (found) *found = 0;
    lk_token parsed;
    LK_VISIT(visit);
    if (!size || !found || (capacity && !data)) return lk_bad_argument("section_get: size, found or data is NULL");
    if (!name_good(section)) return lk_bad_argument(bad_name);
    int status = lk_begin(lk, token, token_len, &parsed, &visit);
    if (status) return status;
    lk_reply *value = NULL;
    bool there = false;
    status = get(lk, &parsed, section, visit.deadline_ms, &value, &there);
    lk_wipe(&parsed, sizeof parsed);
    if (status) return status;
    lk_count(&lk->counters, LK_SECTION_READS, 1);
    if (there) {
        *found = 1;
        *size = value->size;
        lk_histogram_add(&lk->counters.section_bytes, value->size);
        if (value->size > capacity) status = LATCHKEY_NO_MEMORY;
        else if (value->size) memcpy(data, value->text, value->size);
    }
    lk_reply_free(value);
    return status;
}

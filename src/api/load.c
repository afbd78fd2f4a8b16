/* latchkey_load, and what can be read from a record: the whole session, with its key material, from Redis. */
#include "api/load.h"
#include "session/touch.h"
#include "session/begin.h"
#include "base/argument.h"

#include "session/lifetime.h"

#include <stdlib.h>
#include <string.h>

int lk_load_record(latchkey *lk, const char *token, size_t token_len, const lk_want *want, lk_visit *visit,
                   latchkey_record **out)
{
    lk_token parsed;
    lk_judged judged;
    int status = lk_begin(lk, token, token_len, &parsed, visit);
    if (status) return status;
    latchkey_record *record = calloc(1, sizeof *record);
    status =
        record ? lk_load_vouched(lk, &parsed, want, visit->deadline_ms, &judged, &record->fields) : LATCHKEY_NO_MEMORY;
    if (!status) {
        if (judged.touch_due) lk_session_touch(lk, parsed.partition, &judged.record);
        record->entry = lk_session_entry(&judged);
        if (parsed.foreign) record->entry.flags |= LATCHKEY_FLAG_RENEW;
        *out = record;
    } else free(record);
    lk_wipe(&parsed, sizeof parsed);
    return status;
}

int latchkey_load(latchkey *lk, const char *token, size_t token_len, latchkey_record **out)
{
    if (out) *out = NULL;
    else return lk_bad_argument("load: out is NULL");
    LK_VISIT(visit);
    int status = lk_load_record(lk, token, token_len, &(lk_want){0}, &visit, out);
    if (status) return status;
    const lk_reply *fields = (*out)->fields;
    uint64_t bytes = LK_RECORD_SIZE;
    for (size_t i = 0; i + 1 < fields->count; i += 2) /* x and the name of v are the library's own */
        if (fields->item[i]->size > 1) bytes += fields->item[i]->size + fields->item[i + 1]->size;
    lk_histogram_add(&lk->counters.session_bytes, bytes);
    return LATCHKEY_OK;
}

const latchkey_entry *latchkey_record_entry(const latchkey_record *record) { return record ? &record->entry : NULL; }

const void *latchkey_record_field(const latchkey_record *record, const char *name, size_t *size)
{
    if (size) *size = 0;
    if (!record || !name || !lk_field_name_good(name, strlen(name))) return NULL;
    const lk_reply *value = lk_find_field(record->fields, name);
    if (value && size) *size = value->size;
    return value ? value->text : NULL;
}

const char *latchkey_record_field_name(const latchkey_record *record, size_t index)
{
    for (size_t i = 0; record && i + 1 < record->fields->count; i += 2) {
        const lk_reply *name = record->fields->item[i];
        if (!lk_field_name_good(name->text, name->size)) continue; /* the library's own have one letter */
        if (!index--) return name->text;
    }
    return NULL;
}

void latchkey_record_free(latchkey_record *record)
{
    if (!record) return;
    lk_reply_free(record->fields);
    lk_wipe(record, sizeof *record);
    free(record);
}

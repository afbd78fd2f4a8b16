/* latchkey_show: a session by its name alone, for operators. Its answer must admit no request.
 *
 * A name that was exchanged (rotate.lua) leads to the session's current name, whether its grace is over or not. */
#include "redis/keys.h"
#include "session/visit.h"
#include "base/argument.h"
#include "session/read_record.h"
#include "session/server_time.h"

#include <stdlib.h>
#include <string.h>

/* When it was last used, from the activity index. */
static int read_activity(latchkey *lk, unsigned partition, const char *selector, int64_t deadline_ms,
                         int64_t *active_ms)
{
    char index[LK_KEY_SIZE];
    lk_reply *score;
    lk_key_partition(index, lk->config.prefix, partition, "a");
    const lk_span words[3] = {lk_word("ZSCORE"), lk_word(index), lk_word(selector)};
    int status = lk_l2_pipeline(&lk->l2, partition, &(lk_call){words, 3}, 1, 1, deadline_ms, &score, NULL);
    if (status) return status;
    /* Otherwise the index was lost; the next use makes it anew. */
    if (score->type == LK_REPLY_STRING && score->size && strspn(score->text, "0123456789") == score->size)
        *active_ms = strtoll(score->text, NULL, 10);
    lk_reply_free(score);
    return LATCHKEY_OK;
}

static void describe(const latchkey *lk, unsigned partition, const lk_judged *judged, latchkey_session_info *info)
{
    const latchkey_entry *entry = &judged->record.entry;
    int64_t now_us = lk_now_us(), ahead_ms = (judged->until_us - now_us) / 1000;
    info->created_at_ms = entry->created_at_ms;
    info->auth_at_ms = entry->auth_at_ms;
    info->active_at_ms = entry->created_at_ms;
    info->idle_expires_at_ms = lk_server_now_ms(lk, partition, now_us) + ahead_ms;
    info->expires_at_ms = entry->expires_at_ms;
    info->device = entry->device;
    info->flags = entry->flags;
}

int latchkey_show(latchkey *lk, const char selector[LATCHKEY_SELECTOR_LENGTH], latchkey_session_info *info,
                  latchkey_record **out)
{
    latchkey_session_info found = {0};
    unsigned partition;
    lk_judged judged;
    if (info) *info = found;
    if (out) *out = NULL;
    if (!lk || !selector || !out) return lk_bad_argument("show: the handle, selector or out is NULL");
    LK_VISIT(visit);
    int status = lk_visit_begin(lk, &visit);
    if (status) return status;
    if (!lk_selector_parse((unsigned)lk->config.partitions, selector, &partition)) return LATCHKEY_MALFORMED;
    latchkey_record *record = calloc(1, sizeof *record);
    if (!record) return LATCHKEY_NO_MEMORY;
    status = lk_load_named(lk, partition, selector, visit.deadline_ms, &judged, &record->fields, found.selector);
    if (!status) {
        record->entry = judged.record.entry;
        describe(lk, partition, &judged, &found);
        found.current = !strncmp(selector, found.selector, LATCHKEY_SELECTOR_LENGTH);
        status = read_activity(lk, partition, found.selector, visit.deadline_ms, &found.active_at_ms);
    }
    if (status) {
        latchkey_record_free(record);
        return status;
    }
    if (info) *info = found;
    *out = record;
    return LATCHKEY_OK;
}

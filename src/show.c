/* latchkey_show: a session by its name alone, for whoever looks after sessions. Nobody is admitted on what it answers.
 *
 * A name that was exchanged (rotate.lua) leads to the one that the session has now, whether its grace is over or not. */
#include "load.h"

#include <stdlib.h>
#include <string.h>

enum { NAMES = 4 }; /* that are themselves exchanged while we look */

typedef struct showing {
    latchkey *lk;
    lk_node *node;
    unsigned partition;
    int64_t deadline_ms;
    char selector[LATCHKEY_SELECTOR_LENGTH + 1];
    bool exchanged;
    uint64_t incarnation; /* that answered; 0: it was not one and the same */
    lk_judged judged;
    int64_t active_ms;
    lk_reply *fields;
} showing;

static int64_t active_at(const showing *s, const lk_reply *score)
{
    if (score->type != LK_REPLY_STRING || !score->size || strspn(score->text, "0123456789.e+") != score->size)
        return s->judged.record.entry.created_at_ms; /* the index was lost; it is made anew by the next use */
    return (int64_t)strtod(score->text, NULL);
}

static bool is_exchanged(const showing *s, const lk_reply *fields)
{
    lk_record record;
    const lk_reply *v = fields->type == LK_REPLY_ARRAY ? lk_find_field(fields, "v") : NULL;
    return v && v->type == LK_REPLY_STRING &&
           lk_record_open(&s->lk->config.seal_keys, v->text, v->size, &record) == LK_RECORD_GOOD &&
           record.grace_until_ms;
}

/* AGAIN: look under the name that stands in s->selector now. */
static int take(showing *s, lk_reply *const reply[3], int64_t asked_us)
{
    uint64_t incarnation = 0;
    if (is_exchanged(s, reply[0])) {
        int status = lk_load_heir_name(s->lk, s->partition, reply[0], s->deadline_ms, s->selector, &incarnation);
        if (incarnation != s->incarnation) s->incarnation = 0;
        s->exchanged = true;
        return status ? status : LATCHKEY_AGAIN;
    }
    int status =
        lk_load_judge(s->lk, s->node, s->partition, s->selector, NULL, reply[0], reply[1], asked_us, &s->judged);
    if (!status) s->active_ms = active_at(s, reply[2]);
    return status;
}

static int look(showing *s)
{
    char key[LK_KEY_SIZE], index[LK_KEY_SIZE];
    lk_key_session(key, s->lk->config.prefix, s->partition, s->selector);
    lk_key_partition(index, s->lk->config.prefix, s->partition, "a");
    const lk_span name = lk_word(key), zscore[3] = {lk_word("ZSCORE"), lk_word(index), lk_word(s->selector)};
    const lk_call calls[3] = {
        {(lk_span[]){lk_word("HGETALL"), name}, 2}, {(lk_span[]){lk_word("PTTL"), name}, 2}, {zscore, 3}};
    lk_reply *reply[3];
    uint64_t incarnation = 0;
    if (lk_pending_names(s->lk->pending, s->selector)) return LATCHKEY_NOT_FOUND; /* denied here, guarantee B */
    int64_t asked_us = lk_now_us();
    lk_count(&s->lk->counters, LK_L2_READS, 1);
    int status = lk_l2_pipeline(&s->lk->l2, s->node, calls, 3, s->deadline_ms, reply, &incarnation);
    if (status) return status;
    if (incarnation != s->incarnation) s->incarnation = 0;
    status = take(s, reply, asked_us);
    if (!status) {
        s->fields = reply[0];
        reply[0] = NULL;
    }
    for (int i = 0; i < 3; i++) lk_reply_free(reply[i]);
    return status;
}

/* Under the lease of the server that answered, as in load.c. AGAIN: another one has it. */
static int show(showing *s, const char *selector)
{
    int status = LATCHKEY_AGAIN;
    memcpy(s->selector, selector, LATCHKEY_SELECTOR_LENGTH);
    s->exchanged = false;
    s->incarnation = lk_node_leased(s->node);
    for (int i = 0; i < NAMES && status == LATCHKEY_AGAIN; i++) status = look(s);
    if (status == LATCHKEY_AGAIN) status = LATCHKEY_UNAVAILABLE;
    if (status < 0) return status;
    int counts = lk_node_vouch(s->node, s->incarnation, s->deadline_ms);
    if (!counts && !status) counts = lk_session_late(s->lk, s->partition, &s->judged.record.entry, s->judged.until_us);
    if (counts) status = counts;
    if (status) {
        lk_reply_free(s->fields);
        s->fields = NULL;
    }
    return status;
}

static void describe(const showing *s, latchkey_session_info *info)
{
    const latchkey_entry *entry = &s->judged.record.entry;
    int64_t now_us = lk_now_us(), ahead_ms = (s->judged.until_us - now_us) / 1000;
    memset(info, 0, sizeof *info);
    memcpy(info->selector, s->selector, LATCHKEY_SELECTOR_LENGTH);
    info->created_at_ms = entry->created_at_ms;
    info->auth_at_ms = entry->auth_at_ms;
    info->active_at_ms = s->active_ms;
    info->idle_expires_at_ms = lk_server_now_ms(s->lk, now_us) + ahead_ms;
    info->expires_at_ms = entry->expires_at_ms;
    info->device = entry->device;
    info->flags = entry->flags;
    info->current = !s->exchanged;
}

int latchkey_show(latchkey *lk, const char selector[LATCHKEY_SELECTOR_LENGTH], latchkey_session_info *info,
                  latchkey_record **out)
{
    if (info) memset(info, 0, sizeof *info);
    if (out) *out = NULL;
    if (!lk || !selector || !out) return LATCHKEY_BAD_ARGUMENT;
    if (lk_forked(lk)) return LATCHKEY_FORKED;
    showing s = {.lk = lk, .deadline_ms = lk_now_ms() + lk->config.deadline_ms};
    if (!lk_selector_parse((unsigned)lk->config.partitions, selector, &s.partition)) return LATCHKEY_MALFORMED;
    s.node = lk_l2_owner(&lk->l2, s.partition);
    latchkey_record *record = calloc(1, sizeof *record);
    int status = record ? LATCHKEY_AGAIN : LATCHKEY_NO_MEMORY;
    for (int i = 0; i < 2 && status == LATCHKEY_AGAIN; i++) status = show(&s, selector);
    if (status == LATCHKEY_AGAIN) status = LATCHKEY_UNAVAILABLE;
    if (status) {
        free(record);
        return status;
    }
    record->entry = s.judged.record.entry;
    record->fields = s.fields;
    if (info) describe(&s, info);
    *out = record;
    return LATCHKEY_OK;
}

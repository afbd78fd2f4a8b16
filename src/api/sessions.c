/* latchkey_sessions: the sessions of a user, for a page that lists them. */
#include "session/begin.h"
#include "base/argument.h"
#include "session/vouched_read.h"

#include "base/record.h"
#include "base/outcome.h"
#include "redis/keys.h"
#include "session/ended.h"
#include "session/listing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD = 3, ROW = 4 }; /* selector, record, when it idles out, when it was last used */
enum { FROM_SIZE = 64 };

/* NULL: it is good. Else what is wrong with it; it cannot be used. */
static const char *describe_row(const lk_seal_keys *keys, lk_reply *const row[ROW], uint64_t user_id,
                                latchkey_session_info *info)
{
    lk_record record;
    uint8_t raw[LK_SELECTOR_RAW];
    enum lk_record_check check = lk_record_open(keys, row[1]->text, row[1]->size, &record);
    if (check) return lk_record_fault(check);
    if (record.entry.user_id != user_id || !lk_base64_decode(row[0]->text, row[0]->size, raw, sizeof raw) ||
        memcmp(raw, record.selector, sizeof raw))
        return "a session in a user's list has another name, or belongs to another user";
    memset(info, 0, sizeof *info);
    memcpy(info->selector, row[0]->text, LATCHKEY_SELECTOR_LENGTH);
    info->created_at_ms = record.entry.created_at_ms;
    info->auth_at_ms = record.entry.auth_at_ms;
    info->active_at_ms = row[3]->integer;
    info->idle_expires_at_ms = row[2]->integer;
    info->expires_at_ms = record.entry.expires_at_ms;
    info->device = record.entry.device;
    info->flags = record.entry.flags;
    return NULL;
}

static void describe_damaged(lk_reply *const row[ROW], latchkey_session_info *info)
{
    *info = (latchkey_session_info){
        .active_at_ms = row[3]->integer, .idle_expires_at_ms = row[2]->integer, .reserved = LK_LISTED_DAMAGED};
    memcpy(info->selector, row[0]->text, LATCHKEY_SELECTOR_LENGTH);
}

static int last_used_first(const void *a, const void *b)
{
    const latchkey_session_info *x = a, *y = b;
    return (x->active_at_ms < y->active_at_ms) - (x->active_at_ms > y->active_at_ms);
}

static int idles_out_first(const void *a, const void *b)
{
    const latchkey_session_info *x = a, *y = b;
    return (x->idle_expires_at_ms > y->idle_expires_at_ms) - (x->idle_expires_at_ms < y->idle_expires_at_ms);
}

typedef struct listing {
    uint64_t user_id;
    unsigned partition;
    char current[LATCHKEY_SELECTOR_LENGTH]; /* LK_NOBODY if the caller named no session */
    /* Those that idle out last. Once there are `max`, none idles out before its parent, infos[(i - 1) / 2]. */
    latchkey_session_info *infos;
    size_t max, count, total;
    char from[FROM_SIZE]; /* where the next part of the user's index begins */
    bool damaged_too;
} listing;

static void begin_list(listing *l)
{
    l->count = l->total = 0;
    l->from[0] = 0;
    if (l->max) memset(l->infos, 0, l->max * sizeof *l->infos);
}

/* If there are more than `max`, those that idle out last stay. */
static void keep_latest(listing *l, const latchkey_session_info *info)
{
    latchkey_session_info *infos = l->infos;
    if (l->count < l->max) {
        infos[l->count++] = *info;
        if (l->count == l->max) qsort(infos, l->count, sizeof *infos, idles_out_first);
        return;
    }
    if (!l->max || info->idle_expires_at_ms <= infos[0].idle_expires_at_ms) return;
    size_t at = 0, child;
    while ((child = 2 * at + 1) < l->count) {
        if (child + 1 < l->count && infos[child + 1].idle_expires_at_ms < infos[child].idle_expires_at_ms) child++;
        if (info->idle_expires_at_ms <= infos[child].idle_expires_at_ms) break;
        infos[at] = infos[child];
        at = child;
    }
    infos[at] = *info;
}

/* [total, the current session's selector, where the next part begins, row, row ...] */
static int take_part(latchkey *lk, lk_node *node, listing *l, const lk_reply *reply)
{
    if (lk_reply_is(reply, "CHANGED")) {
        begin_list(l);
        return LK_OUTCOME_CHANGED;
    }
    if (!lk_reply_shaped(reply, "iss(ssii)") || lk_reply_at(reply, 0)->integer < 0) return LATCHKEY_UNAVAILABLE;
    const lk_reply *next = lk_reply_at(reply, 2);
    if (next->size >= FROM_SIZE) return LATCHKEY_UNAVAILABLE;
    memcpy(l->from, next->text, next->size + 1);
    l->total += (size_t)lk_reply_at(reply, 0)->integer;
    for (size_t i = HEAD, left = l->max; i < reply->count && left; i += ROW, left--) {
        latchkey_session_info info;
        if (reply->item[i]->size != LATCHKEY_SELECTOR_LENGTH) return LATCHKEY_UNAVAILABLE;
        const char *fault = describe_row(&lk->config.seal_keys, &reply->item[i], l->user_id, &info);
        if (fault) {
            lk_l2_corrupt(&lk->l2, node, fault);
            if (!l->damaged_too) {
                l->total -= l->total > 0;
                continue;
            }
            describe_damaged(&reply->item[i], &info);
        } else {
            info.current = lk_reply_is(lk_reply_at(reply, 1), info.selector);
        }
        keep_latest(l, &info);
    }
    return LATCHKEY_OK;
}

/* By a script that only reads, and looks at no more than a thousand sessions: of more, part after part. */
static int ask_part(latchkey *lk, listing *l, lk_vouch *vouch, int64_t deadline_ms)
{
    char user[24], most[24], later[24];
    bool full = l->max && l->count == l->max;
    snprintf(user, sizeof user, "%llu", (unsigned long long)l->user_id);
    snprintf(most, sizeof most, "%zu", l->max);
    snprintf(later, sizeof later, "%lld", full ? (long long)l->infos[0].idle_expires_at_ms : 0);
    const lk_span words[4] = {lk_word(user), lk_word(most), lk_word(l->from), lk_word(later)};
    lk_reply *reply;
    lk_source source = {.incarnation = 0};
    int status =
        lk_l2_script(&lk->l2, LK_SCRIPT_SESSIONS, l->partition, l->current, words, 4, deadline_ms, &reply, &source);
    if (status && status != LK_OUTCOME_NOT_DURABLE) return status; /* nothing was written */
    lk_vouch_answered(lk, l->partition, vouch, source.incarnation);
    status = take_part(lk, lk_l2_owner(&lk->l2, l->partition), l, reply);
    lk_reply_free(reply);
    return status;
}

/* All parts are of one server, or none counts. If the place where the next part begins is gone, the list is begun anew. */
static int ask_list(latchkey *lk, void *context, lk_vouch *vouch, int64_t deadline_ms)
{
    listing *l = context;
    int status;
    begin_list(l); /* also of what a server said whose answer did not count */
    do status = ask_part(lk, l, vouch, deadline_ms);
    while ((status == LK_OUTCOME_CHANGED || (!status && l->from[0])) && lk_now_ms() < deadline_ms);
    if (status || l->from[0]) return status ? lk_outcome_status(status) : (int)LATCHKEY_UNAVAILABLE;
    if (l->count) qsort(l->infos, l->count, sizeof *l->infos, last_used_first);
    return LATCHKEY_OK;
}

static int list_vouched(latchkey *lk, listing *l, int64_t deadline_ms, size_t *total)
{
    const lk_vouched_read read = {.partition = l->partition, .ask = ask_list, .context = l};
    int status = lk_read_vouched(lk, &read, deadline_ms);
    if (status && l->max) memset(l->infos, 0, l->max * sizeof *l->infos);
    if (!status) *total = l->total;
    return status;
}

int lk_list_sessions(latchkey *lk, uint64_t user_id, latchkey_session_info *sessions, size_t max, size_t *total)
{
    listing l = {.user_id = user_id, .partition = lk_partition_of_user(lk, user_id), .infos = sessions};
    l.max = max < LATCHKEY_SESSIONS_MAX ? max : LATCHKEY_SESSIONS_MAX;
    l.damaged_too = true;
    memcpy(l.current, LK_NOBODY, sizeof l.current);
    *total = 0;
    return list_vouched(lk, &l, lk_now_ms() + lk->config.deadline_ms, total);
}

int latchkey_sessions(latchkey *lk, uint64_t user_id, const char *current_token, size_t current_len,
                      latchkey_session_info *sessions, size_t max, size_t *total)
{
    if (total) *total = 0;
    if (max && sessions) memset(sessions, 0, max * sizeof *sessions);
    if (!lk || !total || (max && !sessions)) return lk_bad_argument("sessions: the handle, total or sessions is NULL");
    LK_VISIT(visit);
    int status = lk_visit_begin(lk, &visit);
    if (status) return status;
    listing l = {.user_id = user_id, .partition = lk_partition_of_user(lk, user_id), .infos = sessions};
    l.max = max < LATCHKEY_SESSIONS_MAX ? max : LATCHKEY_SESSIONS_MAX;
    memcpy(l.current, LK_NOBODY, sizeof l.current);
    lk_token current;
    status = current_token ? lk_begin(lk, current_token, current_len, &current, &visit)
             : current_len ? lk_bad_argument("sessions: current_token is NULL, and current_len is not 0")
                           : LATCHKEY_OK;
    if (status && status != LATCHKEY_NOT_FOUND)
        return status; /* a foreign token without a session belongs to no user */
    if (current_token && !status) {
        if (current.partition == l.partition) memcpy(l.current, current.text, sizeof l.current);
        lk_wipe(&current, sizeof current);
    }
    return list_vouched(lk, &l, visit.deadline_ms, total);
}

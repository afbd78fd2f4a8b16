/* latchkey_set_access, latchkey_set_user_access: change in place what a session may do. See update.h.
 *
 * All sessions of a user are changed by runs of one script (set_user.lua). Each run swaps the records that are still
 * what was read, and returns the others, until none is left. One run looks at up to a thousand. So the last run saw all
 * of them at one moment as they are to be, also those that were made, exchanged or changed since the first run.
 *
 * Older entries in L1 are handled as those of ended sessions in revoke_user.c: purged here once Redis has confirmed,
 * and by other instances upon the message. Then a beat is waited for, so that OK also covers what others changed a
 * moment ago. */
#include "redis/keys.h"
#include "base/argument.h"
#include "session/update.h"
#include "observe/events.h"
#include "session/run_script.h"
#include "session/begin.h"
#include "session/ended.h"
#include "session/judge.h"

#include <stdio.h>
#include <string.h>

int latchkey_set_access(latchkey *lk, const char *token, size_t token_len, const latchkey_access *given)
{
    latchkey_access access;
    lk_token parsed;
    LK_VISIT(visit);
    int status = lk_begin(lk, token, token_len, &parsed, &visit);
    if (status) return status;
    const lk_update change = {.access = &access};
    status = lk_access_take(given, &access);
    if (!status) status = lk_update_session(lk, &parsed, &change, visit.deadline_ms);
    lk_wipe(&parsed, sizeof parsed);
    return status;
}

enum { HEAD = 4, FROM_SIZE = 64 };

typedef struct crowd {
    uint64_t user_id;
    unsigned partition;
    const latchkey_access *access;
    int64_t since_ms;     /* when it began, by Redis' clock; 0: not yet */
    lk_swaps swaps;       /* of this part of the index */
    char from[FROM_SIZE]; /* where that part begins */
    size_t changed;
    bool corrupt, over;
} crowd;

static bool head_good(const lk_reply *reply)
{
    return lk_reply_shaped(reply, "isis(ss)") && lk_reply_at(reply, 1)->size < FROM_SIZE &&
           lk_reply_at(reply, 2)->integer >= 0;
}

/* The records that are not yet as they are to be. A damaged one admits no request here; but a newer version may have
 * written it. */
static int take_listed(latchkey *lk, lk_node *node, crowd *c, const lk_reply *reply)
{
    for (size_t i = HEAD; i < reply->count; i += 2) {
        const lk_reply *selector = lk_reply_at(reply, i), *was = lk_reply_at(reply, i + 1);
        lk_record record;
        if (selector->size != LATCHKEY_SELECTOR_LENGTH) return LATCHKEY_UNAVAILABLE;
        int status = lk_session_record(lk, node, selector->text, was, &record);
        if (!status && record.entry.user_id != c->user_id)
            status = lk_l2_corrupt(&lk->l2, node, "a session in a user's list belongs to another user");
        c->corrupt |= status != LATCHKEY_OK;
        bool right = status || !lk_access_apply(c->access, c->since_ms, &record.entry);
        if (!(right ? lk_swaps_keep(&c->swaps, selector->text, was)
                    : lk_swaps_add(&c->swaps, &lk->config.seal_keys, selector->text, was, &record)))
            return LATCHKEY_NO_MEMORY;
        lk_l1_purge(lk->l1, selector->text); /* also if it is right already: an earlier answer may have been lost */
    }
    return LATCHKEY_OK;
}

/* Goes on to the next part of the index, once nothing is left to do in this one. */
static int take_access(latchkey *lk, void *context, lk_script_answer *answer, int status)
{
    crowd *c = context;
    const lk_reply *reply = answer->reply;
    (void)status;
    if (!head_good(reply)) return LATCHKEY_UNAVAILABLE;
    if (!c->since_ms) c->since_ms = lk_reply_at(reply, 0)->integer;
    c->changed += (size_t)lk_reply_at(reply, 2)->integer;
    lk_session_purge(lk, lk_reply_at(reply, 3)->text);
    lk_event_changed_all(&lk->config, lk_reply_at(reply, 3)->text, "access");
    if (reply->count > HEAD) return take_listed(lk, lk_l2_owner(&lk->l2, c->partition), c, reply);
    memcpy(c->from, lk_reply_at(reply, 1)->text, lk_reply_at(reply, 1)->size + 1);
    c->over = !c->from[0];
    lk_swaps_free(&c->swaps);
    answer->awaits_beat = c->over;
    return LATCHKEY_OK;
}

static int run_once(latchkey *lk, crowd *c, int64_t deadline_ms)
{
    char user[24];
    const lk_span words[3] = {{user, (size_t)snprintf(user, sizeof user, "%llu", (unsigned long long)c->user_id)},
                              {c->swaps.bytes, c->swaps.size},
                              lk_word(c->from)};
    const lk_script_run run = {.script = LK_SCRIPT_SET_USER,
                               .partition = c->partition,
                               .selector = LK_NOBODY,
                               .words = words,
                               .count = 3,
                               .take = take_access,
                               .context = c};
    return lk_run_script(lk, &run, deadline_ms);
}

int latchkey_set_user_access(latchkey *lk, uint64_t user_id, const latchkey_access *given, size_t *changed)
{
    latchkey_access access;
    if (changed) *changed = 0;
    if (!lk) return lk_bad_argument("set_user_access: the handle is NULL");
    int status = lk_access_take(given, &access);
    if (status) return status;
    LK_VISIT(visit);
    status = lk_visit_begin(lk, &visit);
    if (status) return status;
    crowd c = {.user_id = user_id, .partition = lk_partition_of_user(lk, user_id), .access = &access};
    do status = run_once(lk, &c, visit.deadline_ms);
    while (!status && !c.over && lk_now_ms() < visit.deadline_ms);
    lk_swaps_free(&c.swaps);
    if (changed) *changed = c.changed;
    if (!status && !c.over) status = LATCHKEY_UNAVAILABLE;
    return !status && c.corrupt ? LATCHKEY_CORRUPT : status;
}

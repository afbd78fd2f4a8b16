/* See touch.h.
 *
 * Why an answer may renew an entry. As before any read (vouched_read.h), three things are noted before the touch is
 * sent: the ticket, the denials, the owner of the lease. The answer counts if that server gave it and still has the
 * lease, and if the ticket is still good: neither an end nor a change of the session was received since (B, D). Then
 * the entry is what a read would have brought, and the touch says how long the session lives (H). An answer that is not
 * "moved" renews nothing. */
#include "session/touch.h"

#include "session/lifetime.h"
#include "session/server_time.h"
#include "session/vouched_read.h"

#include <string.h>

enum { AHEAD_MS = 1000, OWED_SLOTS = 8192 };

lk_touch lk_touch_of(latchkey *lk, unsigned partition, const char *selector, const latchkey_entry *entry,
                     int64_t idle_ms)
{
    lk_touch touch = {
        .partition = partition, .user_id = entry->user_id, .idle_ms = idle_ms, .expires_at_ms = entry->expires_at_ms};
    /* Created at a time in the future: only Redis knows when it ends (create.lua). */
    if (entry->created_at_ms > lk_server_now_ms(lk, partition, lk_now_us()) + AHEAD_MS) touch.idle_ms = 0;
    memcpy(touch.selector, selector, sizeof touch.selector);
    return touch;
}

void lk_session_touch(latchkey *lk, unsigned partition, const lk_record *record)
{
    char selector[LATCHKEY_SELECTOR_LENGTH + 1];
    lk_base64_encode(record->selector, sizeof record->selector, selector, sizeof selector);
    lk_touch touch = lk_touch_of(lk, partition, selector, &record->entry, record->idle_ms);
    lk_l1_owe(lk->l1, selector, lk_coarse_ms());
    lk_node_touch(lk_l2_owner(&lk->l2, partition), &touch);
}

void lk_session_touch_name(latchkey *lk, const char *selector)
{
    lk_touch touch = {.partition = lk_token_partition(selector)};
    memcpy(touch.selector, selector, sizeof touch.selector);
    lk_l1_owe(lk->l1, selector, lk_coarse_ms());
    lk_node_touch(lk_l2_owner(&lk->l2, touch.partition), &touch);
}

bool lk_touch_owed(latchkey *lk, size_t *at, int64_t age_ms, lk_job *job)
{
    char selector[LATCHKEY_SELECTOR_LENGTH];
    lk_l1_times times;
    latchkey_entry entry;
    if (!lk_l1_owed(lk->l1, at, OWED_SLOTS, lk_coarse_ms(), selector)) return false;
    if (!lk_l1_terms_of(lk->l1, selector, &times, &entry) || age_ms >= times.idle_ms) return false;
    *job = (lk_job){.kind = LK_JOB_TOUCH, .of.partition = lk_token_partition(selector)};
    memcpy(job->of.selector, selector, sizeof job->of.selector);
    job->touch = lk_touch_of(lk, job->of.partition, selector, &entry, times.idle_ms);
    job->touch.age_ms = age_ms;
    return true;
}

void lk_touch_begin(latchkey *lk, lk_job *job)
{
    bool good = lk_vouch_named(lk, job->of.partition, job->of.selector, &job->vouch);
    job->vouch.mixed = !good; /* it is denied here: it renews nothing */
}

void lk_touch_end(latchkey *lk, const lk_job *job, uint64_t incarnation)
{
    lk_vouch vouch = job->vouch;
    lk_judged judged;
    int64_t server_now = lk_server_now_ms(lk, job->of.partition, vouch.asked_us), idle_ms = job->touch.idle_ms;
    lk_vouch_answered(lk, job->of.partition, &vouch, incarnation);
    if (!vouch.server || vouch.server != lk_lease_owner(lk->book, job->of.partition)) return;
    if (!server_now || idle_ms <= 0) return;
    int64_t absolute = job->touch.expires_at_ms - server_now;
    int64_t left_ms = idle_ms - job->touch.age_ms;
    if (left_ms <= 0) return;
    lk_session_times(INT64_MAX / 2000, lk->refresh_ms, idle_ms, left_ms, absolute, vouch.asked_us, &judged);
    lk_l1_renew(lk->l1, vouch.ticket, job->of.selector, judged.times, lk->refresh_ms);
}

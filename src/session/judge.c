/* See judge.h. */
#include "session/judge.h"

#include "observe/events.h"
#include "base/hash.h"
#include "observe/reuse.h"

#include <stdlib.h>
#include <string.h>

void lk_session_ask(lk_session_read *read, const char *key, lk_call calls[2])
{
    lk_span name = {key, strlen(key)};
    *read = (lk_session_read){.hget = {{"HGET", 4}, name, {"v", 1}}, .pttl = {{"PTTL", 4}, name}};
    calls[0] = (lk_call){read->hget, 3};
    calls[1] = (lk_call){read->pttl, 2};
}

int64_t lk_server_now_ms(const latchkey *lk, int64_t now_us)
{
    int64_t ahead_us = atomic_load_explicit(&lk->lease->server_ahead_us, memory_order_relaxed);
    return ahead_us ? (now_us + ahead_us) / 1000 : 0;
}

int64_t lk_session_guess_ms(const latchkey *lk)
{
    int64_t now_ms = lk_server_now_ms(lk, lk_now_us());
    return now_ms > LK_CLOCK_TICK_MS ? now_ms - LK_CLOCK_TICK_MS : 0;
}

int64_t lk_session_clock(const lk_reply *reply)
{
    bool is = reply->type == LK_REPLY_STATUS && strncmp(reply->text, "CLOCK ", 6) == 0;
    int64_t now_ms = is ? strtoll(reply->text + 6, NULL, 10) : 0;
    return now_ms > 0 && now_ms < INT64_C(100000000000000) ? now_ms : 0;
}

unsigned lk_partition_of_user(const latchkey *lk, uint64_t user_id)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(user_id >> (8 * i));
    return (unsigned)(lk_hash(bytes, sizeof bytes, 0) % (uint64_t)lk->config.partitions);
}

/* The next one, or NULL; *at moves past it. */
static const char *next_selector(const char **at)
{
    *at += strspn(*at, " ");
    const char *one = *at;
    *at += strcspn(one, " ");
    return *at - one == LATCHKEY_SELECTOR_LENGTH ? one : NULL;
}

void lk_session_purge(latchkey *lk, const char *selectors)
{
    for (const char *one = next_selector(&selectors); one; one = next_selector(&selectors)) lk_l1_purge(lk->l1, one);
}

bool lk_session_ended(latchkey *lk, unsigned partition, const char *selectors, uint64_t incarnation)
{
    bool remembered = true;
    lk_session_purge(lk, selectors);
    for (const char *one = next_selector(&selectors); one; one = next_selector(&selectors))
        remembered &= lk_node_remember(lk_l2_owner(&lk->l2, partition), partition, one, incarnation);
    return remembered;
}

static int judge_epoch(const latchkey *lk, unsigned partition, const latchkey_entry *entry)
{
    lk_node *node = lk_l2_owner(&lk->l2, partition);
    int status = lk_cutoffs_judge(lk_node_cutoffs(node), partition, entry->created_at_ms);
    if (status == LATCHKEY_CORRUPT) return lk_l2_corrupt(&lk->l2, node, "a partition's epoch in Redis is none");
    return status;
}

int lk_session_late(const latchkey *lk, unsigned partition, const latchkey_entry *entry, int64_t until_us)
{
    int64_t now_us = lk_now_us();
    if (now_us < until_us) return judge_epoch(lk, partition, entry);
    return entry->expires_at_ms <= lk_server_now_ms(lk, now_us) ? LATCHKEY_EXPIRED : LATCHKEY_UNAVAILABLE;
}

int lk_session_dead(latchkey *lk, const char *token)
{
    int64_t lease_until = atomic_load_explicit(&lk->lease->until_ms, memory_order_acquire), now = lk_coarse_ms();
    int status = now < lease_until ? lk_negative_cache_find(lk->negative_cache, token, now) : LATCHKEY_AGAIN;
    if (status != LATCHKEY_AGAIN) lk_count(&lk->counters, LK_DEAD_REFUSED, 1);
    return status;
}

int lk_session_no(latchkey *lk, unsigned partition, uint64_t incarnation, int status, int64_t deadline_ms)
{
    if (status <= 0) return status;
    return lk_node_lease_covers(lk_l2_owner(&lk->l2, partition), incarnation, deadline_ms) ? LATCHKEY_UNAVAILABLE
                                                                                           : status;
}

int lk_session_record(latchkey *lk, lk_node *node, const char *selector, const lk_reply *value, lk_record *record)
{
    if (value->type == LK_REPLY_ERROR) return lk_l2_refused(&lk->l2, node, value);
    if (value->type == LK_REPLY_NIL) return LATCHKEY_NOT_FOUND;
    if (value->type != LK_REPLY_STRING) return lk_l2_corrupt(&lk->l2, node, "Redis answers HGET with no string");
    enum lk_record_check check = lk_record_open(&lk->config.seal_keys, value->text, value->size, record);
    if (check) return lk_l2_corrupt(&lk->l2, node, lk_record_fault(check));
    uint8_t raw[LK_SELECTOR_RAW];
    if (!lk_base64_decode(selector, LATCHKEY_SELECTOR_LENGTH, raw, sizeof raw) ||
        memcmp(raw, record->selector, sizeof raw))
        return lk_l2_corrupt(&lk->l2, node, "a session's record in Redis names another session"); /* guarantee I */
    return LATCHKEY_OK;
}

static bool verified(const lk_token *token, const lk_record *record) /* guarantee E */
{
    uint8_t hash[LK_HASH_SIZE];
    if (!token) return true;
    lk_token_verifier_hash(token, hash);
    return lk_equal(hash, record->verifier_hash, sizeof hash);
}

/* Between nine tenths and all of l1_ttl_ms, so that what was filled together is not asked for together again. */
int64_t lk_session_ttl(const latchkey *lk, const char *selector, int64_t asked_us)
{
    int64_t ttl = lk->config.l1_ttl_ms;
    uint64_t random = lk_hash(selector, LATCHKEY_SELECTOR_LENGTH, (uint64_t)asked_us);
    return ttl - (int64_t)(random % (uint64_t)(ttl / 10 + 1));
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* An old token, which was exchanged: good until its grace ends, and no longer. Nobody touches it: its session was touched
 * when it was exchanged, and does not idle out before. */
static int judge_rotated(const latchkey *lk, const lk_token *token, int64_t left, int64_t server_now, int64_t asked_us,
                         lk_judged *judged)
{
    if (!token) return LATCHKEY_OK; /* the session is elsewhere */
    /* Where Redis' clock is not known yet, Redis is to say. */
    left = least(left, server_now ? judged->record.grace_until_ms - server_now : 0);
    judged->reused = left <= 0;
    if (judged->reused) return LATCHKEY_NOT_FOUND;
    judged->final = true;
    judged->until_us = asked_us + left * 1000;
    judged->l1_until_ms = asked_us / 1000 + least(left, lk_session_ttl(lk, token->text, asked_us)) - LK_CLOCK_TICK_MS;
    judged->again_ms = judged->l1_until_ms; /* it is not worth a read ahead */
    return LATCHKEY_OK;
}

int lk_session_judge(latchkey *lk, lk_node *node, unsigned partition, const char *selector, const lk_token *token,
                     const lk_reply *value, const lk_reply *pttl, int64_t asked_us, lk_judged *judged)
{
    memset(judged, 0, sizeof *judged);
    int status = lk_session_record(lk, node, selector, value, &judged->record);
    if (status) return status;
    if (!verified(token, &judged->record)) return LATCHKEY_NOT_FOUND;
    status = judge_epoch(lk, partition, &judged->record.entry);
    if (status) return status;
    if (pttl->type == LK_REPLY_ERROR) return lk_l2_refused(&lk->l2, node, pttl);
    if (pttl->type != LK_REPLY_INTEGER || pttl->integer == -1)
        return lk_l2_corrupt(&lk->l2, node, "a session's key in Redis has no expiry");
    if (pttl->integer < 0) return LATCHKEY_NOT_FOUND; /* it ended between the two commands */

    /* Its expiry of the key covers the absolute expiry as well; the record's own time is looked at in case somebody
     * stretched the key's. */
    int64_t left = pttl->integer, server_now = lk_server_now_ms(lk, asked_us);
    int64_t absolute = server_now ? judged->record.entry.expires_at_ms - server_now : INT64_MAX;
    if (absolute <= 0) return LATCHKEY_EXPIRED;
    if (judged->record.grace_until_ms)
        return judge_rotated(lk, token, least(left, absolute), server_now, asked_us, judged);
    lk_session_times(lk_session_ttl(lk, selector, asked_us), judged->record.idle_ms, left, absolute, asked_us, judged);
    int64_t made_ms = judged->record.entry.created_at_ms + (int64_t)judged->record.age_s * 1000;
    /* Where Redis' clock is not known yet nobody can tell: L1 keeps nothing. */
    int64_t age = server_now ? server_now - made_ms : lk->config.renew_ms - LK_SESSION_EARLY_MS - 1;
    lk_session_renewal(lk->config.renew_ms, age, asked_us, judged);
    return LATCHKEY_OK;
}

/* --------------------------------------------------------------------------------------------------- times -- */

void lk_session_times(int64_t ttl, int64_t idle, int64_t left, int64_t absolute, int64_t asked_us, lk_judged *judged)
{
    const int64_t tick = LK_CLOCK_TICK_MS, keep = idle / LK_SESSION_KEEP;
    left = least(left, absolute);
    judged->until_us = asked_us + left * 1000; /* from before it was asked: never too long */
    judged->final = absolute - left < keep; /* a touch could add less than that: the absolute expiry is what ends it */
    int64_t until_due = left - idle * (LK_SESSION_TOUCH - 1) / LK_SESSION_TOUCH, until_gone = left - (idle - keep);
    judged->touch_due = !judged->final && until_due <= 0;
    int64_t life = least(ttl, left), bound = until_gone;
    if (judged->touch_due) bound = keep; /* since it is asked for now */
    /* Never for less than two ticks: the last moments before a touch is due are not worth a read for every use. */
    else if (bound < 2 * tick) bound = least(2 * tick, keep);
    bool bounded = !judged->final && bound < life;
    if (bounded) life = bound;
    judged->l1_until_ms = asked_us / 1000 + life - tick;
    /* What ends with the session, or before the touch is due, would be given no more by another read. */
    judged->again_ms = asked_us / 1000 + life / 2;
    if (bounded && !judged->touch_due) judged->again_ms = most(judged->again_ms, asked_us / 1000 + until_due);
    if (judged->final && life == left) judged->again_ms = judged->l1_until_ms;
}

void lk_session_renewal(int64_t renew_ms, int64_t age_ms, int64_t asked_us, lk_judged *judged)
{
    if (!renew_ms) return;
    int64_t asked_ms = asked_us / 1000, left = renew_ms - age_ms, early = left - LK_SESSION_EARLY_MS;
    if (early <= 0) {
        judged->renew = true;
        return;
    }
    if (judged->l1_until_ms <= asked_ms + left - LK_CLOCK_TICK_MS) return;
    judged->l1_until_ms = asked_ms + left - LK_CLOCK_TICK_MS;
    judged->again_ms = asked_ms + early; /* before then a read would bring the same */
}

latchkey_entry lk_session_entry(const lk_judged *judged)
{
    latchkey_entry entry = judged->record.entry;
    if (judged->renew) entry.flags |= LATCHKEY_FLAG_RENEW;
    return entry;
}

int64_t lk_session_window(int64_t ttl, int64_t idle)
{
    int64_t window = least(ttl * 45 / 100, idle / LK_SESSION_KEEP - idle / LK_SESSION_TOUCH);
    return window < 2 * LK_CLOCK_TICK_MS ? 0 : window;
}

/* ------------------------------------------------------------------------------------------------ into L1 -- */

void lk_session_fill(latchkey *lk, const lk_token *token, uint64_t ticket, const lk_judged *judged,
                     uint64_t incarnation)
{
    int64_t now = lk_coarse_ms();
    /* A line to another incarnation of the server than the lease's proves nothing about revocations. */
    if (!incarnation || incarnation != atomic_load_explicit(&lk->lease->incarnation, memory_order_relaxed)) return;
    if (judged->l1_until_ms <= now || !lk->config.l1_capacity) return;
    latchkey_entry entry = lk_session_entry(judged);
    bool filled = lk_count_fill(lk, lk_l1_put(lk->l1, ticket, token->text, token->text + LATCHKEY_SELECTOR_LENGTH,
                                              false, judged->l1_until_ms, now, &entry));
    /* One whose life is shorter than the window was made for. */
    if (filled && judged->again_ms > judged->l1_until_ms - lk->refresh_ms + 2 * LK_CLOCK_TICK_MS)
        lk_refresh_queue_shut(lk->refresh_queue, token->text, now, judged->again_ms);
}

/* Half a second is soon enough where windows are seconds, and lets refreshes come together; asked for again after twice that,
 * whatever became of it. */
void lk_session_refresh(latchkey *lk, const char *token, int64_t now_ms)
{
    lk_token parsed;
    int64_t patience_ms = least(lk->refresh_ms / 4, 500);
    if (!lk->refresh_ms || !lk_refresh_queue_dedup(lk->refresh_queue, token, now_ms, 2 * patience_ms)) return;
    if (lk_parse(lk, token, LATCHKEY_TOKEN_LENGTH, &parsed))
        lk_node_refresh(lk_l2_owner(&lk->l2, parsed.partition), parsed.text, now_ms, patience_ms);
    lk_wipe(&parsed, sizeof parsed);
}

/* ----------------------------------------------------------------------------------------------- questions -- */

void lk_question_ask(latchkey *lk, const lk_token *token, uint64_t ticket, lk_question *question,
                     lk_question_words *words)
{
    lk_key_session(words->key, lk->config.prefix, token->partition, token->text);
    lk_session_ask(&words->read, words->key, words->calls);
    lk_count(&lk->counters, LK_L2_READS, 1);
    question->ticket = ticket;
    question->asked_us = lk_now_us();
    question->leased = lk_node_lease_owner(lk_l2_owner(&lk->l2, token->partition));
}

int lk_question_take(latchkey *lk, const lk_token *token, const lk_question *question,
                     lk_reply *replies[LK_QUESTION_CALLS], uint64_t *incarnation, latchkey_entry *entry,
                     int64_t *until_us, bool *reused)
{
    lk_judged judged;
    lk_node *node = lk_l2_owner(&lk->l2, token->partition);
    if (question->leased != *incarnation) *incarnation = 0;
    int status = lk_session_judge(lk, node, token->partition, token->text, token, replies[0], replies[1],
                                  question->asked_us, &judged);
    for (int i = 0; i < LK_QUESTION_CALLS; i++) lk_reply_free(replies[i]);
    *reused = status && judged.reused;
    if (*reused) *entry = judged.record.entry; /* in case that it has a moment left */
    if (status) return status;
    *until_us = judged.until_us;
    if (judged.touch_due) lk_node_touch(node, token->partition, token->text);
    lk_session_fill(lk, token, question->ticket, &judged, *incarnation);
    *entry = lk_session_entry(&judged);
    return LATCHKEY_OK;
}

int lk_question_answer(latchkey *lk, const lk_token *token, const lk_question *question,
                       lk_reply *replies[LK_QUESTION_CALLS], uint64_t *incarnation, latchkey_entry *entry,
                       int64_t *until_us)
{
    bool reused;
    int status = lk_question_take(lk, token, question, replies, incarnation, entry, until_us, &reused);
    if (reused) {
        memset(entry, 0, sizeof *entry);
        /* Not a word until its session is sure to be ended. */
        if (!lk_node_reused(lk_l2_owner(&lk->l2, token->partition), token)) status = LATCHKEY_UNAVAILABLE;
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------- reuse -- */

bool lk_session_take_reused(latchkey *lk, const lk_token *token, const lk_reply *reply, uint64_t incarnation)
{
    const char *ended = lk_reuse_ended(reply);
    if (!ended) return false;
    /* Where another server was met meanwhile that knows nothing of it: the next use of the old token tells that one. */
    lk_session_ended(lk, token->partition, ended, incarnation);
    lk_reuse_report(&lk->counters, token->text, lk_now_ms());
    lk_event_reused(&lk->config, token->text, ended);
    return true;
}

enum { MOMENT_US = 1000000 };

int lk_session_reused(latchkey *lk, const lk_token *token, int64_t deadline_ms, int64_t *until_us)
{
    uint8_t hash[LK_HASH_SIZE];
    lk_reply *reply;
    uint64_t incarnation = 0;
    lk_token_verifier_hash(token, hash);
    /* Touching with an old token is what ends its session: Redis' clock decides. */
    int status = lk_l2_script(&lk->l2, LK_SCRIPT_TOUCH, token->partition, token->text, &(lk_span){hash, sizeof hash}, 1,
                              deadline_ms, &reply, &incarnation);
    if (status && status != LATCHKEY_PENDING) return status;
    status = LATCHKEY_NOT_FOUND;
    if (!lk_session_take_reused(lk, token, reply, incarnation) && reply->type == LK_REPLY_INTEGER &&
        reply->integer > 0) {
        status = LATCHKEY_OK;
        *until_us = lk_now_us() + MOMENT_US;
    }
    lk_reply_free(reply);
    return status;
}

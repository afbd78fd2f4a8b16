/* See judge.h. */
#include "session/judge.h"

#include "session/server_time.h"
#include "session/lifetime.h"

#include <string.h>

static int no_cutoff(const latchkey *lk, lk_node *node)
{
    return lk_l2_corrupt(&lk->l2, node,
                         "a partition's cut-off in Redis is not a time: latchkey_revoke_everyone replaces it, and ends "
                         "all sessions");
}

int lk_session_cutoff(latchkey *lk, lk_node *node, const lk_reply *cutoff, int64_t *ms)
{
    *ms = 0;
    if (cutoff->type == LK_REPLY_ERROR) return lk_l2_refused(&lk->l2, node, cutoff);
    if (cutoff->type == LK_REPLY_NIL) return LATCHKEY_OK;
    bool good = cutoff->type == LK_REPLY_STRING && lk_cutoff_parse(cutoff->text, cutoff->size, ms);
    return good ? LATCHKEY_OK : no_cutoff(lk, node);
}

static int judge_cutoff(const latchkey *lk, unsigned partition, const latchkey_entry *entry)
{
    lk_node *node = lk_l2_owner(&lk->l2, partition);
    int status = lk_cutoffs_judge(lk->l2.topology.book.cutoffs, partition, entry->created_at_ms);
    return status == LATCHKEY_CORRUPT ? no_cutoff(lk, node) : status;
}

int lk_session_late(const latchkey *lk, unsigned partition, const latchkey_entry *entry, int64_t until_us)
{
    int64_t now_us = lk_now_us();
    if (now_us < until_us) return judge_cutoff(lk, partition, entry);
    return entry->expires_at_ms <= lk_server_now_ms(lk, partition, now_us) ? LATCHKEY_EXPIRED : LATCHKEY_UNAVAILABLE;
}

int lk_session_record(latchkey *lk, lk_node *node, const char *selector, const lk_reply *value, lk_record *record)
{
    if (value->type == LK_REPLY_ERROR) return lk_l2_refused(&lk->l2, node, value);
    if (value->type == LK_REPLY_NIL) return LATCHKEY_NOT_FOUND;
    if (value->type != LK_REPLY_STRING) return lk_l2_corrupt(&lk->l2, node, "Redis' answer to HGET is not a string");
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

static int64_t sooner(int64_t a, int64_t b) { return a < b ? a : b; }

/* An old token, which was exchanged: good until its grace ends, and no longer. It is not touched: its session was
 * touched when it was exchanged, and does not idle out before. */
static int judge_rotated(const latchkey *lk, const lk_token *token, int64_t left, int64_t server_now, int64_t asked_us,
                         lk_judged *judged)
{
    if (!token) return LATCHKEY_OK; /* the session has another name now */
    /* if Redis' clock is not known yet, Redis must decide */
    left = sooner(left, server_now ? judged->record.grace_until_ms - server_now : 0);
    judged->reused = left <= 0;
    if (judged->reused) return LATCHKEY_NOT_FOUND;
    judged->final = true;
    judged->until_us = asked_us + left * 1000;
    /* It is not worth a read ahead. */
    judged->times =
        lk_l1_until(asked_us / 1000 + sooner(left, lk_session_ttl(lk, token->text, asked_us)) - LK_CLOCK_TICK_MS);
    return LATCHKEY_OK;
}

int lk_session_judge(latchkey *lk, lk_node *node, unsigned partition, const char *selector, const lk_token *token,
                     const lk_reply *value, const lk_reply *pttl, int64_t asked_us, lk_judged *judged)
{
    memset(judged, 0, sizeof *judged);
    int status = lk_session_record(lk, node, selector, value, &judged->record);
    if (status) return status;
    if (!verified(token, &judged->record)) return LATCHKEY_NOT_FOUND;
    status = judge_cutoff(lk, partition, &judged->record.entry);
    if (status) return status;
    if (pttl->type == LK_REPLY_ERROR) return lk_l2_refused(&lk->l2, node, pttl);
    if (pttl->type != LK_REPLY_INTEGER || pttl->integer == -1)
        return lk_l2_corrupt(&lk->l2, node, "a session's key in Redis has no expiry");
    if (pttl->integer < 0) return LATCHKEY_NOT_FOUND; /* it ended between the two commands */

    /* The key's expiry covers the absolute expiry as well. The record's own time is compared in case a person made the
     * key live longer. */
    int64_t left = pttl->integer, server_now = lk_server_now_ms(lk, partition, asked_us);
    int64_t absolute = server_now ? judged->record.entry.expires_at_ms - server_now : INT64_MAX;
    if (absolute <= 0) return LATCHKEY_EXPIRED;
    if (judged->record.grace_until_ms)
        return judge_rotated(lk, token, sooner(left, absolute), server_now, asked_us, judged);
    lk_session_times(lk_session_ttl(lk, selector, asked_us), lk->refresh_ms, judged->record.idle_ms, left, absolute,
                     asked_us, judged);
    int64_t made_ms = judged->record.entry.created_at_ms + (int64_t)judged->record.age_s * 1000;
    /* If Redis' clock is not known yet, the age is not known: then L1 keeps nothing. */
    int64_t age = server_now ? server_now - made_ms : lk->config.renew_ms - LK_SESSION_EARLY_MS - 1;
    lk_session_renewal(lk->config.renew_ms, age, asked_us, judged);
    return LATCHKEY_OK;
}

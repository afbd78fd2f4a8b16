/* latchkey_rotate: a new token for the same session --> script in Redis --> the new token is handed out.
 *
 * With a grace, the old selector stays for that long, as a small record of its own that a miss reads like any other.
 * After that it serves to notice a reuse: see lk_session_reused. Without a grace it is gone, and so is every token
 * before it: that is a revocation, announced and remembered as any other. A denial beforehand, as in revoke, is not
 * needed: once Redis confirmed, no read finds the old token there, and then it is purged here. */
#include "observe/events.h"
#include "base/argument.h"
#include "base/reason.h"
#include "session/judge.h"
#include "session/begin.h"
#include "session/draft.h"
#include "session/ended.h"
#include "session/read.h"
#include "session/server_time.h"
#include "session/run_script.h"

#include <stdio.h>
#include <string.h>

enum { ATTEMPTS = 4, GRACE_MOST_MS = 3600000 };

typedef struct exchange {
    const lk_token *old, *made;
    int64_t grace_ms;
    int64_t now_ms;        /* Redis' time, if the guess was wrong; else 0 */
    bool done, unanswered; /* in Redis, whatever else becomes of the call; it may be */
} exchange;

/* "OK", and which sessions it ended. */
static int take_rotate(latchkey *lk, void *context, lk_script_answer *answer, int status)
{
    exchange *x = context;
    const lk_reply *reply = answer->reply;
    lk_session_clock(reply, &x->now_ms);
    if (reply->type != LK_REPLY_STRING || strncmp(reply->text, "OK ", 3) != 0) return status;
    x->done = true;
    lk_event_rotated(&lk->config, x->old->text, x->made->text, reply->text, x->grace_ms);
    lk_l1_purge(lk->l1, x->old->text); /* with a grace too: the entry may not stay longer than the grace */
    bool told = lk_session_ended(lk, x->old->partition, reply->text + 3, answer->source);
    return told ? LATCHKEY_OK : LATCHKEY_UNAVAILABLE;
}

/* ------------------------------------------------------------------------------------------------- sealed -- */

/* Sealed records, which no script can write: the current one, which the script compares; what it becomes; and what the
 * old token leaves. All are empty if the session is not sealed. */
typedef struct resealed {
    uint8_t was[LK_RECORD_SEALED_SIZE], becomes[LK_RECORD_SEALED_SIZE], leaves[LK_RECORD_SEALED_SIZE];
    size_t size;
} resealed;

static bool seals(const latchkey *lk) { return lk->config.seal_keys.count > 0; }

static void reseal(const latchkey *lk, lk_record *record, const lk_token *made, int64_t grace_ms, int64_t now_ms,
                   resealed *out)
{
    lk_record left = *record;
    memcpy(record->selector, made->raw, LK_SELECTOR_RAW);
    lk_token_verifier_hash(made, record->verifier_hash);
    /* Redis' time is not known before the first beat. With a grace the script says so; without one it stays as it was. */
    if (now_ms) record->age_s = lk_record_age_s(record, now_ms);
    out->size = lk_record_seal(&lk->config.seal_keys, record, out->becomes);
    left.grace_until_ms = now_ms + (grace_ms < left.idle_ms ? grace_ms : left.idle_ms);
    lk_record_seal(&lk->config.seal_keys, &left, out->leaves);
}

/* Reads the record. If it is missing, over, or exchanged already, the script will say so. */
static int prepare_exchange(latchkey *lk, const lk_token *old, const lk_token *made, int64_t grace_ms, int64_t now_ms,
                            int64_t deadline_ms, resealed *out)
{
    char key[LK_KEY_SIZE];
    lk_session_read read;
    lk_call calls[2];
    lk_reply *reply[2];
    lk_judged judged;
    lk_node *node = lk_l2_owner(&lk->l2, old->partition);
    int64_t asked_us = lk_now_us();
    lk_key_session(key, lk->config.prefix, old->partition, old->text);
    lk_session_ask(&read, key, calls);
    lk_count(&lk->counters, LK_L2_READS, 1);
    int status = lk_l2_pipeline(&lk->l2, old->partition, calls, 2, 2, deadline_ms, reply, NULL);
    if (status) return status;
    status = lk_session_judge(lk, node, old->partition, old->text, old, reply[0], reply[1], asked_us, &judged);
    if (!status && judged.record.sealed && !judged.record.grace_until_ms) {
        memcpy(out->was, reply[0]->text, sizeof out->was);
        reseal(lk, &judged.record, made, grace_ms, now_ms ? now_ms : lk_session_guess_ms(lk, old->partition), out);
    }
    lk_reply_free(reply[0]);
    lk_reply_free(reply[1]);
    return status < 0 ? status : LATCHKEY_OK;
}

/* -------------------------------------------------------------------------------------------- the exchange -- */

/* TAKEN or CHANGED: the new selector is taken, or the record is not the one that was read, or *now_ms (Redis' time, 0
 * at first) was guessed wrong. */
static int attempt_exchange(latchkey *lk, const lk_token *old, int64_t grace_ms, int64_t deadline_ms, int64_t *now_ms,
                            lk_token *made)
{
    uint8_t old_hash[LK_HASH_SIZE], new_hash[LK_HASH_SIZE];
    char grace[24];
    resealed sealed = {.size = 0};
    lk_token_make(&lk->config.check_keys, old->partition, made);
    lk_token_verifier_hash(old, old_hash);
    lk_token_verifier_hash(made, new_hash);
    int status = seals(lk) ? prepare_exchange(lk, old, made, grace_ms, *now_ms, deadline_ms, &sealed) : LATCHKEY_OK;
    if (status) return status;
    const lk_span words[8] = {{old_hash, sizeof old_hash},
                              {made->text, LATCHKEY_SELECTOR_LENGTH},
                              {new_hash, sizeof new_hash},
                              {made->raw, LK_SELECTOR_RAW},
                              {grace, (size_t)snprintf(grace, sizeof grace, "%lld", (long long)grace_ms)},
                              {sealed.was, sealed.size},
                              {sealed.becomes, sealed.size},
                              {sealed.leaves, sealed.size}};
    exchange x = {.old = old, .made = made, .grace_ms = grace_ms};
    lk_script_run run = lk_script_on(old, LK_SCRIPT_ROTATE, words, seals(lk) ? 8 : 5);
    run.take = take_rotate;
    run.context = &x;
    run.unanswered = &x.unanswered;
    status = lk_run_script(lk, &run, deadline_ms);
    *now_ms = x.now_ms;
    /* The new token is lost, and without a grace the old one is over: the session would live on, and count as one of its user's. */
    if (status && !grace_ms && (x.done || x.unanswered)) lk_disown(lk, made, x.done);
    return status;
}

static bool to_be_repeated(int status) { return status == LK_OUTCOME_TAKEN || status == LK_OUTCOME_CHANGED; }

int latchkey_rotate(latchkey *lk, const char *token, size_t token_len, int64_t grace_ms,
                    char new_token[LATCHKEY_TOKEN_SIZE])
{
    lk_token old, made;
    if (!new_token) return lk_bad_argument("rotate: new_token is NULL");
    LK_VISIT(visit);
    int status = grace_ms < 0 || grace_ms > GRACE_MOST_MS
                     ? lk_bad_argument("rotate: grace_ms: 0 to 3600000 is expected")
                     : lk_begin(lk, token, token_len, &old, &visit);
    memset(new_token, 0, LATCHKEY_TOKEN_SIZE); /* only now: it may be the same memory as the old token's */
    if (status) return status;
    status = lk_pending_has(lk->pending, &old) ? LATCHKEY_NOT_FOUND : LK_OUTCOME_TAKEN;
    int64_t now_ms = 0;
    for (int i = 0; to_be_repeated(status) && (i < ATTEMPTS || (seals(lk) && lk_now_ms() < visit.deadline_ms)); i++)
        status = attempt_exchange(lk, &old, grace_ms, visit.deadline_ms, &now_ms, &made);
    if (!status) memcpy(new_token, made.text, LATCHKEY_TOKEN_SIZE);
    lk_wipe(&old, sizeof old);
    lk_wipe(&made, sizeof made);
    if (status == LATCHKEY_REFUSED)
        return lk_reason(status, "this token was exchanged already, and is in its grace: go on with it");
    return lk_outcome_status(status);
}

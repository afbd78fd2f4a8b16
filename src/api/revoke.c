/* latchkey_revoke: deny here --> purge here --> script in Redis (delete, count, log, publish) --> every other instance.
 *
 * The denial comes first and ends last. So at no time can this handle read the session anew from a Redis that does not
 * know of the revocation yet (guarantee B): see from_l2 in validate.c. If Redis did not confirm, the denial stays, and
 * the link goes on trying. */
#include "api/revoke.h"

#include "observe/events.h"
#include "session/run_script.h"
#include "session/begin.h"
#include "session/ended.h"

#include <stdio.h>
#include <string.h>

static int take_revoke(latchkey *lk, void *context, lk_script_answer *answer, int status)
{
    lk_revocation *r = context;
    lk_pending_item *item = &r->item;
    const lk_reply *reply = answer->reply;
    item->calls[0] = 0;
    const char *told = reply->type == LK_REPLY_STRING ? lk_event_told(reply->text) : NULL;
    snprintf(item->told, sizeof item->told, "%s", told ? told : "");
    bool remembered = true;
    /* The session had several tokens: one that was exchanged, and is or was in its grace. */
    if (lk_session_names(reply)) {
        status = LATCHKEY_OK;
        remembered = lk_session_ended(lk, item->partition, reply->text, answer->source);
    }
    if (status) return status;
    remembered &= lk_book_remember(lk->book, item->partition, item->selector, answer->source);
    if (answer->durable) r->confirmed_by = answer->source.incarnation;
    return remembered ? LATCHKEY_OK
                      : LATCHKEY_UNAVAILABLE; /* that server is not the one any more, or its data set was replaced */
}

/* If no answer comes, item->calls has the number by which the log tells whether it ran (revoke.lua). */
static int run_revoke_script(latchkey *lk, lk_revocation *r, int64_t deadline_ms)
{
    lk_pending_item *item = &r->item;
    uint64_t number;
    lk_random(&number, sizeof number);
    snprintf(item->calls, sizeof item->calls, " %016llx", (unsigned long long)number);
    const lk_span words[4] = {
        {item->verifier_hash, LK_HASH_SIZE}, lk_word(item->held ? "1" : "0"), lk_word(""), lk_word(item->calls + 1)};
    const lk_script_run script = {.script = LK_SCRIPT_REVOKE,
                                  .partition = item->partition,
                                  .selector = item->selector,
                                  .words = words,
                                  .count = lk->config.events ? 4 : 2,
                                  .anywhere = true,
                                  .take = take_revoke,
                                  .context = r};
    return lk_run_script(lk, &script, deadline_ms);
}

void lk_revoke_deny(latchkey *lk, const lk_token *token, lk_revocation *r)
{
    *r = (lk_revocation){.item = {.partition = token->partition, .held = lk_l1_holds(lk->l1, token->text)}};
    lk_pending_item *item = &r->item;
    memcpy(item->selector, token->text, sizeof item->selector);
    memcpy(r->token, token->text, sizeof r->token);
    lk_token_verifier_hash(token, item->verifier_hash);
    r->ticket = lk_negative_cache_ticket(lk->negative_cache);
    r->denied = lk_pending_add(lk->pending, item);
    lk_l1_purge(lk->l1, item->selector);
}

/* Redis has not confirmed it: it is denied from now on, and the link continues. False: there is no place for it. */
static bool hand_over(latchkey *lk, lk_revocation *r)
{
    r->item.retry = true;
    if (!lk_pending_add(lk->pending, &r->item)) return false;
    if (!r->denied) lk_l1_purge(lk->l1, r->item.selector); /* denied only now, so it is purged once more */
    lk_node_wake(lk_l2_owner(&lk->l2, r->item.partition));
    return true;
}

int lk_revoke_later(latchkey *lk, lk_revocation *r)
{
    return hand_over(lk, r) ? LATCHKEY_PENDING : LATCHKEY_UNAVAILABLE;
}

int lk_revoke_confirm(latchkey *lk, lk_revocation *r, int64_t deadline_ms)
{
    lk_pending_item *item = &r->item;
    int status = run_revoke_script(
        lk, r, deadline_ms); /* UNAVAILABLE: it may have ended, but not for certain: the link takes over */
    /* the list of denials is full: a read in between may have filled L1 */
    if (!r->denied) lk_l1_purge(lk->l1, item->selector);
    if (!status) {
        lk_negative_cache_add(lk->negative_cache, r->ticket, r->token, LATCHKEY_NOT_FOUND, lk_coarse_ms());
        lk_pending_remove(lk->pending, item);
        lk_event_revoked(&lk->config, item->told, "token");
    } else if (status > 0 || status == LATCHKEY_CORRUPT) lk_pending_withdraw(lk->pending, item);
    /* An earlier revoke deleted it, but that one is not confirmed yet. */
    if (status > 0 && lk_pending_denies(lk->pending, item)) return LATCHKEY_PENDING;
    if (status >= 0 || status == LATCHKEY_CORRUPT) return status;
    if (!hand_over(lk, r)) return LATCHKEY_UNAVAILABLE;
    return lk_book_await_retry(lk->book, item, r->confirmed_by, deadline_ms) ? LATCHKEY_OK : LATCHKEY_PENDING;
}

int latchkey_revoke(latchkey *lk, const char *token, size_t token_len)
{
    lk_token parsed;
    lk_revocation r;
    LK_VISIT(visit);
    int status = lk_begin(lk, token, token_len, &parsed, &visit);
    if (status) return status;
    lk_revoke_deny(lk, &parsed, &r);
    status = lk_revoke_confirm(lk, &r, visit.deadline_ms);
    lk_wipe(&parsed, sizeof parsed);
    lk_wipe(&r, sizeof r);
    return status;
}

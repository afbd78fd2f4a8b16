/* See resolve.h. */
#include "session/resolve.h"

#include "session/server_time.h"

#include <string.h>

bool lk_foreign_taken(const latchkey *lk)
{
    if (!lk->config.foreign_until_ms) return false;
    return lk_server_now_ms(lk, lk_now_us()) < lk->config.foreign_until_ms;
}

void lk_resolve_ask(latchkey *lk, const lk_foreign *foreign, lk_resolving *resolving, lk_resolving_words *words)
{
    lk_key_foreign(words->key, lk->config.prefix, foreign->partition, foreign->name);
    words->words[0] = lk_word("GET");
    words->words[1] = lk_word(words->key);
    words->call = (lk_call){words->words, 2};
    lk_count(&lk->counters, LK_FOREIGN_READS, 1);
    resolving->ticket = lk_alias_cache_ticket(lk->alias_cache);
    resolving->leased = lk_node_lease_owner(lk_l2_owner(&lk->l2, foreign->partition));
}

static int judge_alias(latchkey *lk, const lk_foreign *foreign, const lk_reply *reply, lk_token *token)
{
    lk_node *node = lk_l2_owner(&lk->l2, foreign->partition);
    if (reply->type == LK_REPLY_ERROR) return lk_l2_refused(&lk->l2, node, reply);
    if (reply->type == LK_REPLY_NIL) return LATCHKEY_NOT_FOUND;
    if (reply->type != LK_REPLY_STRING ||
        !lk_foreign_token((unsigned)lk->config.partitions, foreign, reply->text, reply->size, token))
        return lk_l2_corrupt(&lk->l2, node, "what Redis holds for a foreign token names no session");
    return LATCHKEY_OK;
}

int lk_resolve_take(latchkey *lk, const lk_foreign *foreign, const lk_resolving *resolving, lk_reply *reply,
                    uint64_t *incarnation, lk_token *token)
{
    if (resolving->leased != *incarnation) *incarnation = 0;
    int status = judge_alias(lk, foreign, reply, token);
    lk_reply_free(reply);
    return status;
}

void lk_resolve_remember(latchkey *lk, const lk_foreign *foreign, const lk_resolving *resolving, const lk_token *token)
{
    lk_alias_cache_add(lk->alias_cache, resolving->ticket, foreign->name, token->text);
}

int lk_resolve(latchkey *lk, const lk_foreign *foreign, int64_t deadline_ms, lk_token *token)
{
    lk_node *node = lk_l2_owner(&lk->l2, foreign->partition);
    int status = LATCHKEY_AGAIN;
    for (int i = 0; i < 2 && status == LATCHKEY_AGAIN; i++) {
        lk_resolving resolving;
        lk_resolving_words words;
        lk_reply *reply;
        uint64_t incarnation = 0;
        lk_resolve_ask(lk, foreign, &resolving, &words);
        status = lk_l2_pipeline(&lk->l2, node, &words.call, 1, deadline_ms, &reply, &incarnation);
        if (status) return status;
        int said = lk_resolve_take(lk, foreign, &resolving, reply, &incarnation, token);
        if (said < 0) return said;
        status = lk_node_lease_covers(node, incarnation, deadline_ms);
        if (status) continue;
        if (!said) lk_resolve_remember(lk, foreign, &resolving, token);
        return said;
    }
    return status == LATCHKEY_AGAIN ? LATCHKEY_UNAVAILABLE : status;
}

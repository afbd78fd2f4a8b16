/* See resolve.h. */
#include "session/resolve.h"

#include "session/server_time.h"

#include <string.h>

bool lk_foreign_taken(const latchkey *lk, const lk_foreign *foreign)
{
    return lk_server_now_ms(lk, foreign->partition, lk_now_us()) < lk->config.foreign_until_ms;
}

void lk_resolve_ask(latchkey *lk, const lk_foreign *foreign, lk_vouch *vouch, lk_resolving_words *words)
{
    lk_key_foreign(words->key, lk->config.prefix, foreign->partition, foreign->name);
    words->words[0] = lk_word("GET");
    words->words[1] = lk_word(words->key);
    words->call = (lk_call){words->words, 2};
    lk_count(&lk->counters, LK_FOREIGN_READS, 1);
    uint64_t ticket = lk_alias_cache_ticket(lk->alias_cache);
    *vouch = lk_vouch_partition(lk, foreign->partition);
    vouch->ticket = ticket;
}

static int judge_alias(latchkey *lk, const lk_foreign *foreign, const lk_reply *reply, lk_token *token)
{
    lk_node *node = lk_l2_owner(&lk->l2, foreign->partition);
    if (reply->type == LK_REPLY_ERROR) return lk_l2_refused(&lk->l2, node, reply);
    if (reply->type == LK_REPLY_NIL) return LATCHKEY_NOT_FOUND;
    if (reply->type != LK_REPLY_STRING ||
        !lk_foreign_token((unsigned)lk->config.partitions, foreign, reply->text, reply->size, token))
        return lk_l2_corrupt(&lk->l2, node, "the key of a foreign token in Redis names no session");
    return LATCHKEY_OK;
}

int lk_resolve_take(latchkey *lk, const lk_foreign *foreign, lk_reply *reply, lk_token *token)
{
    int status = judge_alias(lk, foreign, reply, token);
    lk_reply_free(reply);
    return status;
}

void lk_resolve_remember(latchkey *lk, const lk_foreign *foreign, const lk_vouch *vouch, const lk_token *token)
{
    lk_alias_cache_add(lk->alias_cache, vouch->ticket, foreign->name, token->text);
}

typedef struct resolving {
    const lk_foreign *foreign;
    lk_token *token;
} resolving;

static int ask_alias(latchkey *lk, void *context, lk_vouch *vouch, int64_t deadline_ms)
{
    const resolving *r = context;
    lk_resolving_words words;
    lk_reply *reply;
    lk_resolve_ask(lk, r->foreign, vouch, &words);
    int status = lk_vouch_ask(lk, r->foreign->partition, vouch, &words.call, 1, deadline_ms, &reply);
    return status ? status : lk_resolve_take(lk, r->foreign, reply, r->token);
}

static int keep_alias(latchkey *lk, void *context, const lk_vouch *vouch, int said)
{
    const resolving *r = context;
    if (!said) lk_resolve_remember(lk, r->foreign, vouch, r->token);
    return said;
}

int lk_resolve(latchkey *lk, const lk_foreign *foreign, int64_t deadline_ms, lk_token *token)
{
    resolving r = {foreign, token};
    const lk_vouched_read read = {.partition = foreign->partition, .ask = ask_alias, .keep = keep_alias, .context = &r};
    return lk_read_vouched(lk, &read, deadline_ms);
}

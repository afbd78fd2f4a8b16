/* latchkey_user_generation: a number that changes whenever all sessions of a user are ended. */
#include "session/ended.h"
#include "session/judge.h"
#include "session/visit.h"
#include "base/argument.h"
#include "session/vouched_read.h"

#include "redis/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int take_count(latchkey *lk, lk_node *node, const lk_reply *reply, uint64_t *count)
{
    if (reply->type == LK_REPLY_ERROR) return lk_l2_refused(&lk->l2, node, reply);
    if (reply->type == LK_REPLY_NIL) return LATCHKEY_OK;
    if (reply->type != LK_REPLY_STRING || !reply->size || reply->size > 18 ||
        strspn(reply->text, "0123456789") != reply->size)
        return lk_l2_corrupt(&lk->l2, node, "a user's generation in Redis is not a number: something else wrote it");
    *count = strtoull(reply->text, NULL, 10);
    return LATCHKEY_OK;
}

/* The user's count plus one, so that it is not 0. With a cut-off, the cut-off in front of the count's last six digits.
 * The same is in create.lua. */
static uint64_t generation_of(uint64_t count, int64_t cutoff_ms)
{
    return cutoff_ms ? (uint64_t)cutoff_ms * 1000000 + (count + 1) % 1000000 : count + 1;
}

typedef struct generation_read {
    uint64_t user_id, *generation;
    unsigned partition;
} generation_read;

static int ask_generation(latchkey *lk, void *context, lk_vouch *vouch, int64_t deadline_ms)
{
    const generation_read *g = context;
    char key[LK_USER_KEY_SIZE], epoch_key[LK_KEY_SIZE];
    lk_node *node = lk_l2_owner(&lk->l2, g->partition);
    lk_key_generation(key, lk->config.prefix, g->partition, g->user_id);
    lk_key_partition(epoch_key, lk->config.prefix, g->partition, "e");
    const lk_span words[2][2] = {{lk_word("GET"), lk_word(key)}, {lk_word("GET"), lk_word(epoch_key)}};
    const lk_call calls[2] = {{words[0], 2}, {words[1], 2}};
    lk_reply *replies[2];
    uint64_t count = 0;
    int64_t cutoff_ms = 0;
    int status = lk_vouch_ask(lk, g->partition, vouch, calls, 2, deadline_ms, replies);
    if (status) return status;
    status = take_count(lk, node, replies[0], &count);
    if (!status) status = lk_session_cutoff(lk, node, replies[1], &cutoff_ms);
    *g->generation = generation_of(count, cutoff_ms);
    for (int i = 0; i < 2; i++) lk_reply_free(replies[i]);
    return status;
}

uint64_t latchkey_user_id(const void *name, size_t size) { return name && size ? lk_user_of_name(name, size) : 0; }

int latchkey_user_generation(latchkey *lk, uint64_t user_id, uint64_t *generation)
{
    if (generation) *generation = 0;
    if (!lk || !generation) return lk_bad_argument("user_generation: the handle or generation is NULL");
    LK_VISIT(visit);
    int status = lk_visit_begin(lk, &visit);
    if (status) return status;
    generation_read g = {user_id, generation, lk_partition_of_user(lk, user_id)};
    const lk_vouched_read read = {.partition = g.partition, .ask = ask_generation, .context = &g};
    status = lk_read_vouched(lk, &read, visit.deadline_ms);
    if (status) *generation = 0;
    return status;
}

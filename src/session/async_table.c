/* See async_table.h. */
#include "session/async_table.h"

#include "base/crypto.h"
#include "base/hash.h"
#include "base/secure_memory.h"

#include <string.h>

static void unlist_slot(lk_async *a, lk_async_slot *p)
{
    lk_async_list *l = &a->of[p->state];
    if (p->state == LK_ASYNC_JOINED) return; /* the slot that it joined takes care of it */
    if (p->before == LK_ASYNC_NOBODY) l->first = p->next;
    else a->slots[p->before].next = p->next;
    if (p->next == LK_ASYNC_NOBODY) l->last = p->before;
    else a->slots[p->next].before = p->before;
}

static void enlist_slot(lk_async *a, lk_async_slot *p, enum lk_async_state state)
{
    lk_async_list *l = &a->of[state];
    p->state = state;
    p->next = p->before = LK_ASYNC_NOBODY;
    if (state == LK_ASYNC_JOINED) return;
    p->before = l->last;
    if (l->last == LK_ASYNC_NOBODY) l->first = lk_async_index(a, p);
    else a->slots[l->last].next = lk_async_index(a, p);
    l->last = lk_async_index(a, p);
}

void lk_async_move(lk_async *a, lk_async_slot *p, enum lk_async_state state)
{
    if (p->state == LK_ASYNC_ASKED) a->asked[p->line]--;
    unlist_slot(a, p);
    enlist_slot(a, p, state);
    if (state == LK_ASYNC_ASKED) a->asked[p->line]++;
}

uint32_t lk_async_bucket(const lk_async *a, const char *token)
{
    return (uint32_t)(lk_hash(token, LATCHKEY_TOKEN_LENGTH, a->seed) % LK_ASYNC_BUCKETS);
}

static uint32_t *bucket_of_slot(lk_async *a, const lk_async_slot *p)
{
    return &a->bucket[lk_async_bucket(a, p->token.text)];
}

void lk_async_forget(lk_async *a, lk_async_slot *p)
{
    for (uint32_t *i = bucket_of_slot(a, p); *i != LK_ASYNC_NOBODY; i = &a->slots[*i].same)
        if (*i == lk_async_index(a, p)) {
            *i = p->same;
            return;
        }
}

void lk_async_remember(lk_async *a, lk_async_slot *p)
{
    uint32_t *i = bucket_of_slot(a, p);
    p->same = *i;
    *i = lk_async_index(a, p);
}

void lk_async_free(lk_async *a, lk_async_slot *p)
{
    lk_wipe(&p->token, sizeof p->token);
    lk_wipe(&p->foreign, sizeof p->foreign);
    memset(&p->entry, 0, sizeof p->entry);
    lk_async_move(a, p, LK_ASYNC_FREE);
}

lk_async_slot *lk_async_find_equal(lk_async *a, const lk_async_slot *p, uint64_t ticket, int64_t oldest_us)
{
    for (lk_async_slot *q = lk_async_at(a, *bucket_of_slot(a, p)); q; q = lk_async_at(a, q->same)) {
        bool older = q->vouch.ticket != ticket || q->vouch.asked_us < oldest_us;
        if (q->state == LK_ASYNC_ASKED && (older || (p->fresh && !q->fresh))) continue;
        if (lk_equal(q->token.text, p->token.text, LATCHKEY_TOKEN_LENGTH)) return q;
    }
    return NULL;
}

bool lk_async_table_open(lk_async *a, uint32_t count)
{
    a->count = count;
    a->bytes = count * sizeof(lk_async_slot);
    a->slots = lk_map(a->bytes, true); /* it holds tokens */
    if (!a->slots) return false;
    lk_random(&a->seed, sizeof a->seed);
    a->soonest_ms = INT64_MAX;
    for (enum lk_async_state s = LK_ASYNC_FREE; s <= LK_ASYNC_ANSWERED; s++)
        a->of[s] = (lk_async_list){LK_ASYNC_NOBODY, LK_ASYNC_NOBODY};
    for (uint32_t i = 0; i < LK_ASYNC_BUCKETS; i++) a->bucket[i] = LK_ASYNC_NOBODY;
    for (uint32_t i = 0; i < a->count; i++) {
        a->slots[i].joined = LK_ASYNC_NOBODY;
        enlist_slot(a, &a->slots[i], LK_ASYNC_FREE);
    }
    return true;
}

void lk_async_table_close(lk_async *a)
{
    for (uint32_t i = 0; i < a->count; i++)
        for (unsigned k = 0; k < a->slots[i].got; k++) lk_reply_free(a->slots[i].replies[k]);
    lk_unmap(a->slots, a->bytes);
}

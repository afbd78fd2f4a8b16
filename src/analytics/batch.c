/* See batch.h. */
#include "analytics/batch.h"

#include "redis/errors.h"
#include "session/visit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REST_MOST_US = 50000 };
_Static_assert((int)LK_BATCH_CALLS <= (int)LK_L2_SPREAD, "a batch is asked for at once");

void lk_batch_ask(lk_batch *q, const char *const *words)
{
    lk_span *to = q->words[q->asked];
    size_t count = 0;
    for (; words[count]; count++) to[count] = lk_word(words[count]);
    q->calls[q->asked++] = (lk_call){to, count};
}

static void rest(int64_t since_us)
{
    int64_t us = lk_now_us() - since_us;
    nanosleep(&(struct timespec){.tv_nsec = (us < REST_MOST_US ? us : REST_MOST_US) * 1000}, NULL);
}

static int ask(lk_batch *q, int64_t deadline_ms)
{
    lk_l2 *l2 = &q->lk->l2;
    if (q->node) return lk_l2_at(l2, q->node, q->calls, q->asked, deadline_ms, q->replies, NULL);
    return lk_l2_spread(l2, q->partitions, q->calls, q->asked, deadline_ms, q->replies, NULL);
}

/* An error that passes says nothing about sessions: neither that there are none, nor that one is over. */
static int judge_errors(lk_batch *q)
{
    char text[160];
    for (size_t i = 0; i < q->asked; i++) {
        const lk_reply *reply = q->replies[i];
        if (reply->type != LK_REPLY_ERROR || lk_known_error(reply, text, sizeof text) != LATCHKEY_UNAVAILABLE) continue;
        lk_l2 *l2 = &q->lk->l2;
        lk_l2_refused(l2, q->node ? q->node : lk_l2_owner(l2, q->partitions[i]), reply);
        for (i = 0; i < q->asked; i++) lk_reply_free(q->replies[i]);
        return LATCHKEY_UNAVAILABLE;
    }
    return LATCHKEY_OK;
}

int lk_batch_go(lk_batch *q)
{
    int status;
    do {
        int64_t now_us = lk_now_us();
        status = ask(q, now_us / 1000 + q->lk->config.deadline_ms);
        if (!status) status = judge_errors(q);
        rest(now_us);
    } while (status == LATCHKEY_UNAVAILABLE && q->tries && q->tries-- && !lk_visit_draining(q->lk));
    if (!status && lk_visit_draining(q->lk)) {
        lk_batch_end(q);
        status = LATCHKEY_UNAVAILABLE;
    }
    if (status) q->asked = 0;
    return status;
}

void lk_batch_end(lk_batch *q)
{
    while (q->asked) lk_reply_free(q->replies[--q->asked]);
}

int64_t lk_decimal(const lk_reply *reply)
{
    return reply->type == LK_REPLY_STRING && strspn(reply->text, "0123456789") ? strtoll(reply->text, NULL, 10) : 0;
}

char *lk_batch_partition_key(lk_batch *q, unsigned partition, const char *which)
{
    char *text = lk_batch_text(q, 0);
    q->partitions[q->asked] = partition;
    lk_key_partition(text, q->lk->config.prefix, partition, which);
    return text;
}

char *lk_batch_session_key(lk_batch *q, const lk_member *m)
{
    char *text = lk_batch_text(q, 0);
    q->partitions[q->asked] = m->partition;
    lk_key_session(text, q->lk->config.prefix, m->partition, m->selector);
    return text;
}

char *lk_batch_user_key(lk_batch *q, unsigned partition, uint64_t user_id, int64_t cutoff_ms)
{
    char *text = lk_batch_text(q, 0);
    _Static_assert((int)LK_USER_KEY_SIZE <= (int)LK_BATCH_TEXT, "the key fits");
    q->partitions[q->asked] = partition;
    lk_key_user(text, q->lk->config.prefix, partition, user_id, cutoff_ms);
    return text;
}

/* See batch.h. */
#include "analytics/batch.h"

#include "session/visit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REST_MOST_US = 50000 };

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

int lk_batch_go(lk_batch *q)
{
    int status;
    do {
        int64_t now_us = lk_now_us();
        status = lk_l2_pipeline(&q->lk->l2, q->node, q->calls, q->asked, now_us / 1000 + q->lk->config.deadline_ms,
                                q->replies, NULL);
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
    lk_key_partition(text, q->lk->config.prefix, partition, which);
    return text;
}

char *lk_batch_session_key(lk_batch *q, const lk_member *m)
{
    char *text = lk_batch_text(q, 0);
    lk_key_session(text, q->lk->config.prefix, m->partition, m->selector);
    return text;
}

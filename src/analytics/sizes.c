/* See sizes.h. */
#include "analytics/sizes.h"

#include <string.h>

enum { EACH = 3, AT_ONCE = 32 };

typedef struct group {
    lk_sampling *s;
    const lk_member *members;
    lk_weight *weights;
    size_t count;
    lk_reply *names[AT_ONCE];
    size_t of[LK_BATCH_CALLS]; /* the session whose length is asked for */
    bool unknown[AT_ONCE];
} group;

static int ask_names(group *g)
{
    lk_batch *q = &g->s->q;
    for (size_t i = 0; i < g->count; i++) {
        LK_ASK(q, "MEMORY", "USAGE", lk_batch_session_key(q, &g->members[i]), "SAMPLES", "0");
        LK_ASK(q, "HLEN", lk_batch_session_key(q, &g->members[i]));
        LK_ASK(q, "HKEYS", lk_batch_session_key(q, &g->members[i]));
    }
    int status = lk_batch_go(q);
    for (size_t i = 0; i < g->count && !status; i++) {
        g->weights[i] = (lk_weight){.record_bytes = g->members[i].record_size,
                                    .redis_bytes = (uint64_t)lk_integer(q->replies[EACH * i]),
                                    .fields = (uint64_t)lk_integer(q->replies[EACH * i + 1])};
        g->names[i] = q->replies[EACH * i + 2]; /* kept as long as the words of the question point into it */
        q->replies[EACH * i + 2] = NULL;
    }
    lk_batch_end(q);
    return status;
}

static int take_lengths(group *g)
{
    lk_batch *q = &g->s->q;
    int status = q->asked ? lk_batch_go(q) : LATCHKEY_OK;
    for (size_t i = 0; i < q->asked; i++) {
        g->weights[g->of[i]].session_bytes += (uint64_t)lk_integer(q->replies[i]);
        g->unknown[g->of[i]] |= q->replies[i]->type != LK_REPLY_INTEGER;
    }
    lk_batch_end(q);
    return status;
}

/* The questions about one session. If they are more than one round trip takes, several are made. */
static int ask_lengths(group *g, size_t i)
{
    lk_batch *q = &g->s->q;
    const lk_reply *names = g->names[i];
    g->unknown[i] = names->type != LK_REPLY_ARRAY;
    int status = LATCHKEY_OK;
    for (size_t k = 0; !g->unknown[i] && k < names->count && !status; k++) {
        const lk_reply *name = lk_reply_at(names, k);
        if (name->type != LK_REPLY_STRING) continue;
        if (q->asked == LK_BATCH_CALLS) status = take_lengths(g);
        g->weights[i].session_bytes += name->size;
        g->weights[i].fields -= name->size == 1 && g->weights[i].fields; /* a name of one letter is the library's own */
        g->of[q->asked] = i;
        LK_ASK(q, "HSTRLEN", lk_batch_session_key(q, &g->members[i]), name->text);
    }
    return status;
}

static int weigh(group *g)
{
    int status = ask_names(g);
    if (status) return status;
    for (size_t i = 0; i < g->count && !status; i++) status = ask_lengths(g, i);
    if (!status) status = take_lengths(g);
    g->s->q.asked = 0;
    for (size_t i = 0; i < g->count; i++) {
        lk_reply_free(g->names[i]);
        if (g->unknown[i]) g->weights[i].session_bytes = 0;
    }
    return status;
}

int lk_sampling_sizes(lk_sampling *s)
{
    int status = LATCHKEY_OK;
    while (s->weighed < s->chosen_count && !status) {
        size_t left = s->chosen_count - s->weighed;
        group g = {.s = s,
                   .members = &s->chosen[s->weighed],
                   .weights = &s->weights[s->weighed],
                   .count = left < AT_ONCE ? left : AT_ONCE};
        status = weigh(&g);
        s->weighed += g.count;
    }
    return status;
}

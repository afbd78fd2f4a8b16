/* See scan.h. */
#include "analytics/scan.h"

#include "analytics/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "lk:{17}:s:<selector>" */
static bool session_of_key(const lk_sampling *s, const lk_reply *key, lk_member *m)
{
    char name[LK_KEY_SIZE];
    const lk_config *config = &s->q.lk->config;
    const char *brace = key->type == LK_REPLY_STRING ? strchr(key->text, '{') : NULL;
    if (!brace || key->size < LATCHKEY_SELECTOR_LENGTH) return false;
    unsigned long p = strtoul(brace + 1, NULL, 10);
    if (p >= (unsigned long)config->partitions) return false;
    m->partition = (unsigned)p;
    memcpy(m->selector, key->text + key->size - LATCHKEY_SELECTOR_LENGTH, LATCHKEY_SELECTOR_LENGTH);
    m->selector[LATCHKEY_SELECTOR_LENGTH] = 0;
    lk_key_session(name, config->prefix, m->partition, m->selector);
    return strcmp(name, key->text) == 0;
}

static int look_up(lk_sampling *s)
{
    enum { EACH = LK_SAMPLE_CALLS + 1 };
    lk_batch *q = &s->q;
    if (!s->member_count) return LATCHKEY_OK;
    for (size_t i = 0; i < s->member_count; i++) {
        lk_sampling_ask_session(s, &s->members[i]);
        LK_ASK(q, "ZSCORE", lk_batch_partition_key(q, s->members[i].partition, "a"), s->members[i].selector);
    }
    int status = lk_batch_go(q);
    for (size_t i = 0; i < q->asked / EACH; i++) {
        lk_found found = lk_sampling_judge(s, &s->members[i], &q->replies[EACH * i]);
        s->population->old_tokens += found.rotated;
        s->population->unindexed += found.lives && q->replies[EACH * i + LK_SAMPLE_CALLS]->type != LK_REPLY_STRING;
    }
    lk_batch_end(q);
    return status;
}

/* [cursor, [key ...]]; anything else: the user has no right to SCAN. */
static int step(lk_sampling *s, lk_node *node, char cursor[24], bool *allowed)
{
    lk_batch *q = &s->q;
    q->node = node;
    LK_ASK(q, "SCAN", cursor, "COUNT", "64");
    int status = lk_batch_go(q);
    q->node = NULL;
    if (status) return status;
    lk_reply *reply = q->replies[0];
    q->asked = 0; /* the reply is kept until its keys were looked up */
    *allowed = lk_reply_shaped(reply, "sa");
    const lk_reply *keys = lk_reply_at(reply, 1);
    for (size_t at = 0; *allowed && at < keys->count && !status;) {
        for (s->member_count = 0; at < keys->count && s->member_count < LK_SAMPLE_BATCH; at++)
            s->member_count += session_of_key(s, lk_reply_at(keys, at), &s->members[s->member_count]);
        status = look_up(s);
    }
    if (*allowed) snprintf(cursor, 24, "%s", lk_reply_at(reply, 0)->text);
    if (*allowed) s->population->scanned += keys->count;
    lk_reply_free(reply);
    return status;
}

static uint64_t scaled(uint64_t count, double scale) { return (uint64_t)((double)count * scale + 0.5); }

/* The keys of one node, which stand for all that it has. */
static int scan_node(lk_sampling *s, const lk_sampled_node *of, size_t most)
{
    latchkey_population *p = s->population;
    const latchkey_population before = *p;
    char cursor[24] = "0";
    bool allowed, whole;
    int status;
    size_t steps = 0; /* most steps bring some keys; a limit, so that a walk that brings none ends */
    do {
        status = step(s, of->node, cursor, &allowed);
        whole = strcmp(cursor, "0") == 0;
    } while (!status && allowed && !whole && p->scanned - before.scanned < most && ++steps < most);
    uint64_t scanned = p->scanned - before.scanned;
    double scale = scanned && !whole ? (double)of->keys / (double)scanned : 1;
    p->unindexed = before.unindexed + scaled(p->unindexed - before.unindexed, scale);
    p->old_tokens = before.old_tokens + scaled(p->old_tokens - before.old_tokens, scale);
    return status;
}

/* Of each node as many as its share of all keys. */
int lk_sampling_scan(lk_sampling *s, size_t most)
{
    int status = LATCHKEY_OK;
    for (size_t i = 0; i < s->node_count && !status; i++) {
        uint64_t all = s->population->keys, keys = s->nodes[i].keys;
        status = scan_node(s, &s->nodes[i], all ? (size_t)((most * keys + all - 1) / all) : most);
    }
    return status;
}

/* See l2.h. */
#include "l2/l2.h"

#include "base/clock.h"
#include "base/outcome.h"
#include "base/reason.h"
#include "l2/l2_parts.h"
#include "l2/naming.h"
#include "redis/errors.h"
#include "redis/keys.h"

#include <stdio.h>
#include <string.h>

enum { MOMENT_MS = 10 };

int lk_l2_unavailable(const lk_l2 *l2, lk_node *node, int status, const char *text)
{
    lk_count(l2->counters, LK_L2_ERRORS, 1);
    lk_node_trouble(node, status, text);
    /* whatever the reason is, there is no answer */
    status = status == LATCHKEY_NO_MEMORY ? status : LATCHKEY_UNAVAILABLE;
    return lk_reason(status, "%s", text);
}

int lk_l2_refused(const lk_l2 *l2, lk_node *node, const lk_reply *reply)
{
    char text[160];
    int status = lk_error_status(reply, text, sizeof text);
    if (status == LATCHKEY_CORRUPT) return lk_l2_corrupt(l2, node, text);
    return lk_l2_unavailable(l2, node, status, text);
}

int lk_l2_corrupt(const lk_l2 *l2, lk_node *node, const char *text)
{
    lk_count(l2->counters, LK_CORRUPT_RECORDS, 1);
    lk_node_trouble(node, LATCHKEY_CORRUPT, text);
    return lk_reason(LATCHKEY_CORRUPT, "%s", text);
}

/* --------------------------------------------------------------------------------------------- elsewhere -- */

bool lk_l2_elsewhere(lk_l2 *l2, lk_node *node, unsigned partition, lk_reply *const *replies, size_t firm, size_t count,
                     char text[LK_L2_TEXT])
{
    char what[112], at[112] = "a node";
    lk_host host;
    const lk_reply *said = NULL;
    for (size_t i = 0; i < count && l2->config->cluster && !said; i++)
        if (lk_error_is_elsewhere(replies[i]) && (i < firm || !lk_error_is_ask(replies[i]))) said = replies[i];
    if (!said) return false;
    lk_error_status(said, what, sizeof what);
    if (lk_node_host(node, &host)) lk_host_text(&host, at, sizeof at);
    snprintf(text, LK_L2_TEXT, "partition %u at %s: %s", partition, at, what);
    lk_node_trouble(node, LATCHKEY_UNAVAILABLE, text);
    lk_topology_sign(&l2->topology, node, said->text);
    return true;
}

bool lk_l2_moved(lk_l2 *l2, lk_node *node, unsigned partition, lk_reply *const *replies, size_t firm, size_t count)
{
    char text[LK_L2_TEXT];
    return lk_l2_elsewhere(l2, node, partition, replies, firm, count, text);
}

bool lk_l2_await_change(lk_l2 *l2, int64_t until_ms)
{
    int64_t now_ms = lk_now_ms();
    if (now_ms + MOMENT_MS >= until_ms) return false; /* there is no time left for an answer */
    lk_topology_await_change(&l2->topology, lk_topology_version(&l2->topology), now_ms + MOMENT_MS);
    return true;
}

/* The owner did not answer. Another node owns the partition by now, so that one can be asked. */
static bool has_moved(const lk_l2 *l2, lk_node *from, unsigned partition, int status, int64_t deadline_ms)
{
    return status == LATCHKEY_UNAVAILABLE && lk_l2_owner(l2, partition) != from && lk_now_ms() < deadline_ms;
}

/* ------------------------------------------------------------------------------------------------- reads -- */

int lk_l2_ask(lk_l2 *l2, lk_node *node, const lk_ask *a, lk_reply **replies, uint64_t *incarnation)
{
    char error[LK_L2_TEXT] = "no memory";
    uint64_t answered;
    int status = lk_pool_ask(lk_node_pool(node), a, replies, &answered, error, sizeof error);
    if (status == LK_OUTCOME_OTHER_SERVER && incarnation) *incarnation = answered;
    if (status == LK_OUTCOME_OTHER_SERVER) return status;
    if (status) return lk_l2_unavailable(l2, node, status, error);
    if (incarnation) *incarnation = answered;
    lk_node_suspect(node, answered); /* whatever was asked: the link learns at once that another server answers here */
    return LATCHKEY_OK;
}

int lk_l2_at(lk_l2 *l2, lk_node *node, const lk_call *calls, size_t count, int64_t deadline_ms, lk_reply **replies,
             uint64_t *incarnation)
{
    return lk_l2_ask(l2, node, &(lk_ask){.calls = calls, .count = count, .deadline_ms = deadline_ms, .again = true},
                     replies, incarnation);
}

int lk_l2_pipeline(lk_l2 *l2, unsigned partition, const lk_call *calls, size_t firm, size_t count, int64_t deadline_ms,
                   lk_reply **replies, uint64_t *incarnation)
{
    char text[LK_L2_TEXT] = "";
    for (;;) {
        lk_node *node = lk_l2_owner(l2, partition);
        int status = lk_l2_at(l2, node, calls, count, deadline_ms, replies, incarnation);
        if (status && has_moved(l2, node, partition, status, deadline_ms)) continue;
        if (status && *text) return lk_reason(status, "%s", text); /* its time went by with that */
        if (status || !lk_l2_elsewhere(l2, node, partition, replies, firm, count, text)) return status;
        for (size_t i = 0; i < count; i++) lk_reply_free(replies[i]);
        if (!lk_l2_await_change(l2, deadline_ms)) return lk_l2_unavailable(l2, node, LATCHKEY_UNAVAILABLE, text);
    }
}

/* ------------------------------------------------------------------------------- reads of several partitions -- */

/* Calls that have no reply yet. */
typedef struct spread {
    lk_l2 *l2;
    const unsigned *partitions;
    const lk_call *calls;
    size_t count;
    int64_t deadline_ms;
    lk_reply **replies; /* NULL: none yet */
    uint64_t *incarnations;
    bool tried[LK_L2_SPREAD]; /* in this round */
    size_t left;              /* of those: they have to be asked again */
    char text[LK_L2_TEXT];    /* why */
    lk_node *node;            /* and what node said it */
} spread;

/* All that belongs to the owner of this call's partition, and was not tried. */
static int ask_owner(spread *s, size_t first)
{
    lk_call calls[LK_L2_SPREAD];
    lk_reply *replies[LK_L2_SPREAD];
    size_t of[LK_L2_SPREAD], count = 0;
    uint64_t incarnation = 0;
    lk_node *node = lk_l2_owner(s->l2, s->partitions[first]);
    for (size_t i = first; i < s->count; i++) {
        if (s->tried[i] || s->replies[i] || lk_l2_owner(s->l2, s->partitions[i]) != node) continue;
        s->tried[i] = true;
        of[count] = i;
        calls[count++] = s->calls[i];
    }
    if (!count) return LATCHKEY_OK; /* its owner has just changed: the next round asks */
    int status = lk_l2_at(s->l2, node, calls, count, s->deadline_ms, replies, &incarnation);
    if (status && !has_moved(s->l2, node, s->partitions[first], status, s->deadline_ms)) return status;
    for (size_t i = 0; i < count; i++) {
        bool moved = status || lk_l2_elsewhere(s->l2, node, s->partitions[of[i]], &replies[i], 1, 1, s->text);
        if (moved && !status) lk_reply_free(replies[i]);
        if (moved) s->node = node;
        else s->replies[of[i]] = replies[i];
        if (s->incarnations && !moved) s->incarnations[of[i]] = incarnation;
    }
    return LATCHKEY_OK;
}

/* Each owner once. */
static int ask_owners(spread *s)
{
    int status = LATCHKEY_OK;
    memset(s->tried, 0, sizeof s->tried);
    for (size_t i = 0; i < s->count && !status; i++)
        if (!s->tried[i] && !s->replies[i]) status = ask_owner(s, i);
    s->left = 0;
    for (size_t i = 0; i < s->count; i++) s->left += !s->replies[i];
    return status;
}

int lk_l2_spread(lk_l2 *l2, const unsigned *partitions, const lk_call *calls, size_t count, int64_t deadline_ms,
                 lk_reply **replies, uint64_t *incarnations)
{
    spread s = {.l2 = l2,
                .partitions = partitions,
                .calls = calls,
                .count = count,
                .deadline_ms = deadline_ms,
                .replies = replies,
                .incarnations = incarnations,
                .text = "the nodes of the cluster change"};
    memset(replies, 0, count * sizeof *replies);
    int status;
    do status = ask_owners(&s);
    while (!status && s.left && lk_l2_await_change(l2, deadline_ms));
    if (!status && !s.left) return LATCHKEY_OK;
    for (size_t i = 0; i < count; i++) lk_reply_free(replies[i]);
    return status
               ? status
               : lk_l2_unavailable(l2, s.node ? s.node : lk_l2_owner(l2, partitions[0]), LATCHKEY_UNAVAILABLE, s.text);
}

/* ------------------------------------------------------------------------------------------------- nodes -- */

size_t lk_l2_nodes(lk_l2 *l2, lk_node *nodes[LK_NODES_MAX])
{
    size_t count = 0;
    lk_node *node;
    for (unsigned i = 0; (node = lk_topology_node(&l2->topology, i)) && count < LK_NODES_MAX; i++)
        if (lk_node_owns(node)) nodes[count++] = node;
    return count;
}

bool lk_l2_connected(lk_l2 *l2)
{
    lk_node *nodes[LK_NODES_MAX];
    size_t count = lk_l2_nodes(l2, nodes);
    bool all = count > 0;
    for (size_t i = 0; i < count; i++) all &= lk_node_connected(nodes[i]);
    return all;
}

void lk_l2_last_trouble(lk_l2 *l2, char *text, size_t size)
{
    lk_node *node;
    int64_t newest_ms = -1;
    *text = 0;
    for (unsigned i = 0; (node = lk_topology_node(&l2->topology, i)); i++) {
        char of[LK_L2_TEXT];
        lk_host host;
        /* Before there was a map, the first node said so. */
        if (l2->config->cluster && !lk_node_owns(node) && !lk_node_host(node, &host)) continue;
        int64_t at_ms = lk_node_last_trouble(node, of, sizeof of);
        if (!*of || at_ms <= newest_ms) continue;
        newest_ms = at_ms;
        snprintf(text, size, "%s", of);
    }
}

static int probe_owner(lk_l2 *l2, unsigned partition, int64_t deadline_ms, char *error, size_t error_size)
{
    enum { CALLS = 8 };
    const lk_script *script = &lk_scripts[LK_SCRIPT_PROBE];
    char base[LK_BASE_SIZE], key[LK_KEY_SIZE], text[160];
    lk_key_script_base(base, l2->config->prefix, partition, l2->config->cluster, false, l2->config->database);
    lk_key_session(key, l2->config->prefix, partition, LK_NOBODY);
    const lk_span whole = {script->text, script->size}, one = lk_word("1"), of = lk_word(key),
                  no_selector = {LK_NOBODY, LATCHKEY_SELECTOR_LENGTH};
    const lk_span eval[6] = {lk_word("EVAL"), whole, one, of, lk_word(base), no_selector},
                  evalsha[6] = {lk_word("EVALSHA"), lk_word(script->sha), one, of, lk_word(base), no_selector},
                  hget[3] = {lk_word("HGET"), of, lk_word("v")}, pttl[2] = {lk_word("PTTL"), of},
                  hmget[3] = {lk_word("HMGET"), of, lk_word("v")}, hgetall[2] = {lk_word("HGETALL"), of};
    /* A touch's commands. Without GT: if the server does not know GT, a script touches (link_jobs.c). */
    const lk_span pexpire[3] = {lk_word("PEXPIRE"), of, one}, zadd[5] = {lk_word("ZADD"), of, lk_word("XX"), one, one};
    const lk_call calls[CALLS] = {{eval, 6},  {evalsha, 6}, {hget, 3},    {pttl, 2},
                                  {hmget, 3}, {hgetall, 2}, {pexpire, 3}, {zadd, 5}};
    lk_reply *replies[CALLS];
    const lk_ask ask = {.calls = calls, .count = CALLS, .deadline_ms = deadline_ms, .again = true};
    lk_node *node = lk_l2_owner(l2, partition);
    int status = lk_pool_ask(lk_node_pool(node), &ask, replies, NULL, text, sizeof text);
    if (status == LATCHKEY_CONFIG) lk_node_name(node, text, error, error_size);
    if (status) return status == LATCHKEY_CONFIG ? status : LATCHKEY_OK;
    for (size_t i = 0; i < CALLS; i++) {
        if (!status && replies[i]->type == LK_REPLY_ERROR &&
            lk_error_status(replies[i], text, sizeof text) == LATCHKEY_CONFIG) {
            status = LATCHKEY_CONFIG;
            lk_node_name(node, text, error, error_size);
        }
        lk_reply_free(replies[i]);
    }
    return status;
}

/* Each node by the first of its partitions. */
int lk_l2_probe(lk_l2 *l2, int64_t deadline_ms, char *error, size_t error_size)
{
    const lk_node *probed[LK_NODES_MAX] = {NULL};
    size_t count = 0;
    int status = LATCHKEY_OK;
    for (unsigned p = 0; p < (unsigned)l2->config->partitions && !status && count < LK_NODES_MAX; p++) {
        const lk_node *node = lk_l2_owner(l2, p);
        size_t i = 0;
        while (i < count && probed[i] != node) i++;
        if (i < count || !lk_node_connected(node)) continue;
        probed[count++] = node;
        status = probe_owner(l2, p, deadline_ms, error, error_size);
    }
    return status;
}

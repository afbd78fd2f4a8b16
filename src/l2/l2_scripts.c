/* Scripts: see l2.h. */
#include "base/clock.h"
#include "base/outcome.h"
#include "base/reason.h"
#include "l2/l2_parts.h"
#include "redis/errors.h"
#include "redis/keys.h"

#include <stdio.h>
#include <string.h>

enum { SCRIPT_WORDS_MAX = 2 * 256 + 32 };

static int not_durable(const lk_l2 *l2, lk_node *node, const lk_reply *held)
{
    char text[160];
    long long most = (long long)l2->config->durability;
    if (held->type == LK_REPLY_INTEGER && held->integer >= most) return LATCHKEY_OK;
    if (held->type == LK_REPLY_ERROR) lk_error_status(held, text, sizeof text);
    else
        snprintf(text, sizeof text, "written, but only %lld of the %lld replicas that durability asks for hold it",
                 held->type == LK_REPLY_INTEGER ? (long long)held->integer : 0, most);
    lk_l2_unavailable(l2, node, LATCHKEY_UNAVAILABLE, text);
    return LK_OUTCOME_NOT_DURABLE;
}

static bool any_ran(lk_reply *const *replies, size_t count)
{
    bool ran = false;
    for (size_t i = 0; i < count; i++) ran |= replies[i]->type != LK_REPLY_ERROR;
    return ran;
}

/* The server does not know the script: it did not run. */
static bool is_unknown(const lk_reply *reply)
{
    return reply->type == LK_REPLY_ERROR && strncmp(reply->text, "NOSCRIPT", 8) == 0;
}

/* One call of scripts: what is sent where, and who answered. */
typedef struct script_run {
    lk_node *node;      /* that was asked last: the partition's owner of that moment */
    unsigned partition; /* of the first one */
    int64_t deadline_ms;
    bool leased; /* only the server that has the lease may run it */
    lk_source source;
} script_run;

/* Sends scripts and, on the same connection, WAIT for the replicas: so WAIT is about what the scripts wrote. A script that
 * finds its work done writes nothing, and who did it may not be durable yet. From Redis 7.2 and Valkey 8 on, WAIT asks only for
 * what its own connection wrote: so a message that no connection listens to goes first. In a cluster replicas get messages another way,
 * so a count is moved there (link_numbers.c); Redis refuses that at maxmemory. */
static int send_scripts(lk_l2 *l2, script_run *run, const lk_call *scripts, size_t count, lk_reply **replies)
{
    lk_node *node = run->node = lk_l2_owner(l2, run->partition);
    int64_t deadline_ms = run->deadline_ms;
    lk_call calls[LK_L2_TOGETHER + 2];
    lk_reply *all[LK_L2_TOGETHER + 2];
    bool waits = l2->config->durability != 0;
    memcpy(calls, scripts, count * sizeof *calls);
    run->source.meetings = lk_leases_meetings(l2->topology.book.leases, run->partition);
    char replicas[24], wait_ms[24], moved[LK_KEY_SIZE];
    int64_t left_ms = deadline_ms - lk_now_ms();
    snprintf(replicas, sizeof replicas, "%lld", (long long)l2->config->durability);
    /* Redis checks WAIT's time every 100 ms, and the answer must be here in time. 0 would mean for ever. */
    left_ms = left_ms > 240 ? left_ms - 120 : left_ms / 2;
    snprintf(wait_ms, sizeof wait_ms, "%lld", (long long)(left_ms > 1 ? left_ms : 1));
    bool sent = false;
    lk_key_partition(moved, l2->config->prefix, run->partition, "w");
    const lk_span write[3] = {lk_word(l2->config->cluster ? "INCR" : "PUBLISH"), lk_word(moved), lk_word("")},
                  wait[3] = {lk_word("WAIT"), lk_word(replicas), lk_word(wait_ms)};
    calls[count] = (lk_call){write, l2->config->cluster ? 2 : 3};
    calls[count + 1] = (lk_call){wait, 3};
    int status = lk_l2_ask(l2, node,
                           &(lk_ask){.calls = calls,
                                     .count = count + 2 * waits,
                                     .deadline_ms = deadline_ms,
                                     .alone = waits,
                                     .bound = run->leased,
                                     .to = lk_lease_owner(&l2->topology.book, run->partition),
                                     .sent = &sent},
                           all, &run->source.incarnation);
    run->source.unanswered = status == LATCHKEY_UNAVAILABLE && sent;
    if (status) return status;
    memcpy(replies, all, count * sizeof *all);
    if (!waits) return LATCHKEY_OK;
    if (any_ran(replies, count)) status = not_durable(l2, node, all[count + 1]);
    lk_reply_free(all[count]);
    lk_reply_free(all[count + 1]);
    return status;
}

/* LK_OUTCOME_OTHER_SERVER: nothing was sent, since the server has no lease; the link may be about to meet it. */
static int run_scripts(lk_l2 *l2, script_run *run, const lk_call *scripts, size_t count, lk_reply **replies)
{
    int status;
    do status = send_scripts(l2, run, scripts, count, replies);
    while (status == LK_OUTCOME_OTHER_SERVER &&
           lk_lease_moves(&l2->topology.book, run->partition, run->source.incarnation, run->deadline_ms));
    if (status != LK_OUTCOME_OTHER_SERVER) return status;
    char text[LK_L2_TEXT] =
        "connections reach a server that the link did not reach within deadline_ms: nothing was sent to it";
    if (l2->config->cluster)
        snprintf(
            text, sizeof text,
            "partition %u is moving, or the link did not reach its server within deadline_ms: nothing was sent to it",
            run->partition);
    return lk_l2_unavailable(l2, run->node, LATCHKEY_UNAVAILABLE, text);
}

/* By its name; where the node may not know it, by its text. */
static int run_known(lk_l2 *l2, script_run *run, enum lk_script_id id, lk_span *words, size_t count, lk_reply **reply)
{
    const lk_call call = {words, count};
    lk_node *node = lk_l2_owner(l2, run->partition);
    uint64_t leased = lk_lease_owner(&l2->topology.book, run->partition);
    /* If the server does not know the script, it would not run, but the WAIT behind it would still take its time. */
    bool whole = l2->config->durability && lk_node_ran_on(node, id) != leased;
    if (whole) lk_script_by_text(words, id);
    int status = run_scripts(l2, run, &call, 1, reply);
    if (!status && !whole && is_unknown(*reply)) {
        lk_reply_free(*reply);
        *reply = NULL;
        lk_script_by_text(words, id); /* the server has the script from then on */
        status = run_scripts(l2, run, &call, 1, reply);
    }
    if (status == LATCHKEY_OK || status == LK_OUTCOME_NOT_DURABLE)
        lk_node_note_ran(run->node, id, run->source.incarnation);
    return status;
}

/* A script of which a node says that another one has its partition, or may have it soon, has done nothing: so it is
 * sent again, to the owner of that moment. */
static int run_followed(lk_l2 *l2, script_run *run, enum lk_script_id id, lk_span *words, size_t count,
                        lk_reply **reply)
{
    char text[LK_L2_TEXT] = "";
    for (;;) {
        int status = run_known(l2, run, id, words, count, reply);
        if (status == LATCHKEY_UNAVAILABLE && *text)
            return lk_reason(status, "%s", text); /* its time went by with that */
        if (status != LATCHKEY_OK && status != LK_OUTCOME_NOT_DURABLE) return status;
        if (!lk_l2_elsewhere(l2, run->node, run->partition, reply, 1, 1, text)) return status;
        lk_reply_free(*reply);
        *reply = NULL;
        if (!lk_l2_await_change(l2, run->deadline_ms))
            return lk_l2_unavailable(l2, run->node, LATCHKEY_UNAVAILABLE, text);
    }
}

static int run_script(lk_l2 *l2, bool leased, enum lk_script_id id, unsigned partition, const char *selector,
                      const lk_span *words, size_t count, int64_t deadline_ms, lk_reply **reply, lk_source *source)
{
    script_run run = {.partition = partition, .deadline_ms = deadline_ms, .leased = leased};
    lk_script_names names;
    lk_span all[SCRIPT_WORDS_MAX + LK_SCRIPT_HEAD];
    if (count > SCRIPT_WORDS_MAX) return LATCHKEY_BAD_ARGUMENT;
    size_t head = lk_script_words(&names, all, id, l2->config, partition, selector, l2->config->events);
    memcpy(all + head, words, count * sizeof *words);
    lk_count(l2->counters, LK_L2_WRITES, 1);
    int status = run_followed(l2, &run, id, all, head + count, reply);
    if (source) *source = run.source;
    if (status != LATCHKEY_OK && status != LK_OUTCOME_NOT_DURABLE) return status;
    if ((*reply)->type != LK_REPLY_ERROR) return status;
    status = lk_l2_refused(l2, run.node, *reply);
    lk_reply_free(*reply);
    *reply = NULL;
    return status;
}

int lk_l2_script(lk_l2 *l2, enum lk_script_id id, unsigned partition, const char *selector, const lk_span *words,
                 size_t count, int64_t deadline_ms, lk_reply **reply, lk_source *source)
{
    return run_script(l2, false, id, partition, selector, words, count, deadline_ms, reply, source);
}

int lk_l2_script_leased(lk_l2 *l2, enum lk_script_id id, unsigned partition, const char *selector, const lk_span *words,
                        size_t count, int64_t deadline_ms, lk_reply **reply, lk_source *source)
{
    return run_script(l2, true, id, partition, selector, words, count, deadline_ms, reply, source);
}

/* The first call sends the script's text; the others find it there, unless the first one's partition has moved. */
int lk_l2_scripts(lk_l2 *l2, enum lk_script_id id, const unsigned *partitions, size_t count, int64_t deadline_ms,
                  lk_reply *replies[LK_L2_TOGETHER], uint64_t *incarnation)
{
    lk_script_names names[LK_L2_TOGETHER];
    lk_span words[LK_L2_TOGETHER][LK_SCRIPT_HEAD];
    lk_call calls[LK_L2_TOGETHER];
    for (unsigned i = 0; i < count; i++) {
        size_t head = lk_script_words(&names[i], words[i], id, l2->config, partitions[i], NULL, false);
        if (!i) lk_script_by_text(words[i], id);
        calls[i] = (lk_call){words[i], head};
    }
    lk_count(l2->counters, LK_L2_WRITES, count);
    script_run run = {.partition = partitions[0], .deadline_ms = deadline_ms, .leased = true};
    int status = run_scripts(l2, &run, calls, count, replies);
    *incarnation = run.source.incarnation;
    for (size_t i = 0; i < count && (status == LATCHKEY_OK || status == LK_OUTCOME_NOT_DURABLE); i++) {
        bool not_run = lk_l2_moved(l2, run.node, partitions[i], &replies[i], 1, 1);
        if (!not_run && !(l2->config->cluster && is_unknown(replies[i]))) continue;
        lk_reply_free(replies[i]);
        replies[i] = NULL;
    }
    return status;
}

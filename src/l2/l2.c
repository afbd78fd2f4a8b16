/* See l2.h. */
#include "l2/l2.h"

#include "base/clock.h"
#include "base/outcome.h"
#include "base/reason.h"
#include "redis/errors.h"
#include "redis/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int unavailable(const lk_l2 *l2, lk_node *node, int status, const char *text)
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
    return unavailable(l2, node, status, text);
}

int lk_l2_corrupt(const lk_l2 *l2, lk_node *node, const char *text)
{
    lk_count(l2->counters, LK_CORRUPT_RECORDS, 1);
    lk_node_trouble(node, LATCHKEY_CORRUPT, text);
    return lk_reason(LATCHKEY_CORRUPT, "%s", text);
}

static int ask_pool(const lk_l2 *l2, lk_node *node, const lk_ask *a, lk_reply **replies, uint64_t *incarnation)
{
    char error[160] = "no memory";
    uint64_t answered;
    int status = lk_pool_ask(lk_node_pool(node), a, replies, &answered, error, sizeof error);
    if (status == LK_OUTCOME_OTHER_SERVER && incarnation) *incarnation = answered;
    if (status == LK_OUTCOME_OTHER_SERVER) return status;
    if (status) return unavailable(l2, node, status, error);
    if (incarnation) *incarnation = answered;
    lk_node_suspect(node, answered); /* whatever was asked: the link learns at once that another server answers here */
    return LATCHKEY_OK;
}

int lk_l2_pipeline(const lk_l2 *l2, lk_node *node, const lk_call *calls, size_t count, int64_t deadline_ms,
                   lk_reply **replies, uint64_t *incarnation)
{
    return ask_pool(l2, node, &(lk_ask){.calls = calls, .count = count, .deadline_ms = deadline_ms, .again = true},
                    replies, incarnation);
}

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
    unavailable(l2, node, LATCHKEY_UNAVAILABLE, text);
    return LK_OUTCOME_NOT_DURABLE;
}

static bool any_ran(lk_reply *const *replies, size_t count)
{
    bool ran = false;
    for (size_t i = 0; i < count; i++) ran |= replies[i]->type != LK_REPLY_ERROR;
    return ran;
}

/* One call of scripts: what is sent where, and who answered. */
typedef struct script_run {
    unsigned partition; /* of the first one */
    lk_node *node;      /* that was asked last */
    int64_t deadline_ms;
    bool leased; /* only the server that has the lease may run it */
    lk_source source;
} script_run;

/* Sends scripts and, on the same connection, WAIT for the replicas: so WAIT is about what the scripts wrote. */
static int send_scripts(lk_l2 *l2, script_run *run, const lk_call *scripts, size_t count, lk_reply **replies)
{
    lk_node *node = run->node = lk_l2_owner(l2, run->partition);
    int64_t deadline_ms = run->deadline_ms;
    lk_call calls[LK_L2_TOGETHER + 1];
    lk_reply *all[LK_L2_TOGETHER + 1];
    bool waits = l2->config->durability != 0;
    memcpy(calls, scripts, count * sizeof *calls);
    run->source.meetings = lk_leases_meetings(l2->topology.book.leases, run->partition);
    char replicas[24], wait_ms[24];
    int64_t left_ms = deadline_ms - lk_now_ms();
    snprintf(replicas, sizeof replicas, "%lld", (long long)l2->config->durability);
    /* Redis checks WAIT's time every 100 ms, and the answer must be here in time. 0 would mean for ever. */
    left_ms = left_ms > 240 ? left_ms - 120 : left_ms / 2;
    snprintf(wait_ms, sizeof wait_ms, "%lld", (long long)(left_ms > 1 ? left_ms : 1));
    const lk_span wait[3] = {lk_word("WAIT"), lk_word(replicas), lk_word(wait_ms)};
    calls[count] = (lk_call){wait, 3};
    int status = ask_pool(l2, node,
                          &(lk_ask){.calls = calls,
                                    .count = count + waits,
                                    .deadline_ms = deadline_ms,
                                    .alone = waits,
                                    .bound = run->leased,
                                    .to = lk_lease_owner(&l2->topology.book, run->partition)},
                          all, &run->source.incarnation);
    if (status) return status;
    memcpy(replies, all, count * sizeof *all);
    if (!waits) return LATCHKEY_OK;
    if (any_ran(replies, count)) status = not_durable(l2, node, all[count]);
    lk_reply_free(all[count]);
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
    return unavailable(l2, run->node, LATCHKEY_UNAVAILABLE,
                       "connections lead to a server that was not met within deadline_ms: nothing was sent to it");
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
    lk_call call = {all, head + count};
    lk_count(l2->counters, LK_L2_WRITES, 1);
    uint64_t lease = lk_lease_owner(&l2->topology.book, partition);
    /* If the server does not know the script, it would not run, but the WAIT behind it would still take its time. */
    bool whole = l2->config->durability && atomic_load_explicit(&l2->ran_on[id], memory_order_relaxed) != lease;
    if (whole) lk_script_by_text(all, id);
    int status = run_scripts(l2, &run, &call, 1, reply);
    if (!status && !whole && (*reply)->type == LK_REPLY_ERROR && strncmp((*reply)->text, "NOSCRIPT", 8) == 0) {
        lk_reply_free(*reply);
        *reply = NULL;
        lk_script_by_text(all, id); /* the server has the script from then on */
        status = run_scripts(l2, &run, &call, 1, reply);
    }
    if (status != LATCHKEY_OK && status != LK_OUTCOME_NOT_DURABLE) return status;
    atomic_store_explicit(&l2->ran_on[id], run.source.incarnation, memory_order_relaxed);
    if (source) *source = run.source;
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

/* The first call sends the script's text; the others find it there. */
int lk_l2_scripts(lk_l2 *l2, enum lk_script_id id, unsigned first, size_t count, int64_t deadline_ms,
                  lk_reply *replies[LK_L2_TOGETHER], uint64_t *incarnation)
{
    lk_script_names names[LK_L2_TOGETHER];
    lk_span words[LK_L2_TOGETHER][LK_SCRIPT_HEAD];
    lk_call calls[LK_L2_TOGETHER];
    for (unsigned i = 0; i < count; i++) {
        size_t head = lk_script_words(&names[i], words[i], id, l2->config, first + i, NULL, false);
        if (!i) lk_script_by_text(words[i], id);
        calls[i] = (lk_call){words[i], head};
    }
    lk_count(l2->counters, LK_L2_WRITES, count);
    script_run run = {.partition = first, .deadline_ms = deadline_ms, .leased = true};
    int status = run_scripts(l2, &run, calls, count, replies);
    *incarnation = run.source.incarnation;
    return status;
}

int lk_l2_probe(const lk_l2 *l2, unsigned partition, int64_t deadline_ms, char *error, size_t error_size)
{
    enum { CALLS = 8 };
    const lk_script *script = &lk_scripts[LK_SCRIPT_PROBE];
    char base[LK_BASE_SIZE], key[LK_KEY_SIZE], text[160];
    lk_key_script_base(base, l2->config->prefix, partition, false, l2->config->database);
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
    int status = lk_pool_ask(lk_node_pool(lk_l2_owner(l2, partition)), &ask, replies, NULL, text, sizeof text);
    if (status == LATCHKEY_CONFIG) snprintf(error, error_size, "%s", text);
    if (status) return status == LATCHKEY_CONFIG ? status : LATCHKEY_OK;
    for (size_t i = 0; i < CALLS; i++) {
        if (!status && replies[i]->type == LK_REPLY_ERROR &&
            lk_error_status(replies[i], text, sizeof text) == LATCHKEY_CONFIG) {
            status = LATCHKEY_CONFIG;
            snprintf(error, error_size, "%s", text);
        }
        lk_reply_free(replies[i]);
    }
    return status;
}

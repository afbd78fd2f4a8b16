/* See link_state.h: what the parts of the link share. How a link begins, how it is lost, and how it ends. */
#include "l2/link_parts.h"

#include "base/backoff.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BACKOFF_MIN_MS = 20, BACKOFF_MAX_MS = 1000 };

uint64_t lk_link_random(lk_link *link) { return link->random = lk_hash(&link->random, sizeof link->random, 1); }

void lk_link_enter(lk_link *link, enum lk_link_state state, int64_t now_ms)
{
    link->state = state;
    link->since_ms = now_ms;
}

bool lk_link_open(lk_link *link, const lk_config *config, lk_partitions partitions, lk_link_known known,
                  const lk_link_host *host, const lk_l1_side *l1, lk_counters *counters, uint64_t seed, int64_t now_ms)
{
    memset(link, 0, sizeof *link);
    link->config = config;
    link->partitions = partitions;
    link->host = *host;
    link->l1 = *l1;
    link->counters = counters;
    link->random = seed;
    link->retry_at_ms = now_ms;
    lk_link_log_open(&link->link_log, now_ms);
    lk_consistency_open(&link->consistency, config, counters);
    snprintf(link->heartbeat, sizeof link->heartbeat, "%.32s:beat:%016llx", config->prefix,
             (unsigned long long)lk_link_random(link));
    link->part = calloc((size_t)config->partitions, sizeof *link->part);
    link->some = calloc((size_t)config->partitions, sizeof *link->some);
    link->cutoffs = known.cutoffs;
    link->recent = known.recent;
    link->past = known.past;
    link->assertion = calloc(LK_RECENT_MAX, sizeof *link->assertion);
    return link->part && link->some && link->assertion;
}

void lk_link_close(lk_link *link)
{
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) lk_conn_close(&link->conn[i]);
    for (int i = 0; i < LK_LINK_JOBS; i++) lk_reply_free(link->job[i].value);
    free(link->part);
    free(link->some);
    free(link->assertion);
    link->part = NULL;
    link->some = NULL;
    link->assertion = NULL;
}

void lk_link_serve(lk_link *link, lk_partitions partitions)
{
    for (unsigned p = 0; p < (unsigned)link->config->partitions; p++) {
        if (lk_partitions_have(partitions, p)) continue;
        lk_link_note_most(link, p);
        link->fresh -= link->part[p].fresh;
        /* The answer to a replay may still come, on a connection that lives on. */
        bool asked = link->part[p].sequence.replay != LK_REPLAY_NONE;
        link->part[p] = (lk_link_part){.sequence.replay = asked ? LK_REPLAY_VOID : LK_REPLAY_NONE};
    }
    link->partitions = partitions;
}

lk_partitions lk_link_those(lk_link *link, bool (*are)(const lk_link *link, unsigned partition))
{
    size_t count = 0;
    for (size_t i = 0; i < link->partitions.count; i++)
        if (are(link, link->partitions.at[i])) link->some[count++] = link->partitions.at[i];
    return (lk_partitions){link->some, count};
}

void lk_link_end_job(lk_link *link, lk_job *job, int status)
{
    lk_reply_free(job->value);
    job->value = NULL;
    link->host.job_done(link->host.context, job, status);
    job->kind = LK_JOB_NONE;
}

void lk_link_missed(lk_link *link, uint64_t revocations)
{
    lk_count(link->counters, LK_MISSED, revocations);
    link->link_log.missed += revocations;
}

void lk_link_emptied(lk_link *link)
{
    lk_count(link->counters, LK_EMPTIES, 1);
    link->link_log.empties++;
}

/* Cut-offs of many partitions come together: L1 is emptied once for all that have come, before anything else. */
void lk_link_end_everyone(lk_link *link)
{
    if (!link->everyone) return;
    link->everyone = false;
    link->link_log.everyone = true;
    link->link_log.expected++;
    link->l1.everyone(link->l1.context);
    lk_link_emptied(link);
}

void lk_link_sign(lk_link *link, const char *text)
{
    if (link->config->cluster) link->host.sign(link->host.context, text);
}

void lk_link_let_go(lk_link *link, int64_t now_ms, int status, const char *text)
{
    if (link->state == LK_LINK_DOWN) return;
    lk_link_end_everyone(link);
    for (size_t i = 0; link->config->cluster && i < link->partitions.count; i++)
        lk_link_note_most(link, link->partitions.at[i]);
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) lk_conn_close(&link->conn[i]);
    lk_link_enter(link, LK_LINK_DOWN, now_ms);
    link->retry_at_ms = now_ms + lk_backoff_ms(link->failures++, BACKOFF_MIN_MS, BACKOFF_MAX_MS, lk_link_random(link));
    memset(&link->beat, 0, sizeof link->beat);
    lk_consistency_leased(&link->consistency, 0);
    for (int i = 0; i < LK_LINK_JOBS; i++)
        if (link->job[i].kind) lk_link_end_job(link, &link->job[i], LATCHKEY_UNAVAILABLE);
    link->host.trouble(link->host.context, status, text);
}

void lk_link_lost(lk_link *link, int64_t now_ms, int status, const char *text)
{
    if (link->state == LK_LINK_DOWN) return;
    lk_link_let_go(link, now_ms, status, text);
    lk_link_log_lost(&link->link_log, now_ms, status, text);
    lk_link_sign(link, ""); /* it is asked for the map last */
}

void lk_link_no_memory(lk_link *link, int64_t now_ms)
{
    lk_link_lost(link, now_ms, LATCHKEY_UNAVAILABLE, "no memory for the link's commands");
}

void lk_link_refused(lk_link *link, const lk_reply *reply, int64_t now_ms, const char *text)
{
    char why[160];
    int status = LATCHKEY_UNAVAILABLE;
    snprintf(why, sizeof why, "%s", text);
    if (reply->type == LK_REPLY_ERROR) status = lk_error_status(reply, why, sizeof why);
    lk_link_lost(link, now_ms, status, why);
}

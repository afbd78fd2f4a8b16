/* What a link tells its node, and what it asks of it: the other side of link_state.h's lk_link_host. All of it runs in
 * the link's thread. */
#include "l2/node_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "observe/events.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)LK_REFRESH_QUEUE_HANDS >= (int)LK_LINK_JOBS, "a place for each refresh in flight");

static void on_emptying(void *context, lk_partitions partitions) { lk_lease_void(context, partitions); }

/* A revocation that was retried is done. `told` is what its last run said, if that run ended the session. */
static void tell(lk_node *node, const lk_pending_item *was, const char *told)
{
    lk_book *book = node->book;
    lk_lock_take(&book->lock);
    book->retried++;
    pthread_cond_broadcast(&book->changed);
    lk_lock_give(&book->lock);
    if (!was->silent) lk_event_revoked(node->config, *told ? told : was->told, "token");
}

static void settle(lk_node *node, int64_t sent_ms)
{
    lk_pending_item was;
    while (lk_pending_settle(node->book->pending, sent_ms, node, &was)) tell(node, &was, "");
}

static void say_refusal(lk_node *node)
{
    char text[sizeof node->refusal];
    lk_lock_take(&node->lock);
    memcpy(text, node->refusal, sizeof text);
    node->refusal[0] = 0;
    lk_lock_give(&node->lock);
    if (*text) lk_log(LATCHKEY_LOG_ERROR, "redis: %s", text);
}

/* A primary that is deposed also answers, and does not know a session that was made at the new one. So a revocation that
 * the link made again counts once a later beat has given the server the lease. One server alone cannot be deposed. */
static bool counts_with_a_beat(const lk_node *node)
{
    return node->config->durability || node->config->sentinels || node->config->cluster;
}

static void on_lease(void *context, lk_partitions partitions, int64_t sent_ms, uint64_t incarnation,
                     int64_t server_ahead_us)
{
    lk_node *node = context;
    bool back = !atomic_exchange_explicit(&node->connected, true, memory_order_relaxed);
    if (atomic_load_explicit(&node->holds, memory_order_relaxed) != incarnation || back) lk_pool_renew(node->pool);
    if (counts_with_a_beat(node)) settle(node, sent_ms);
    lk_lease_confirm(node, partitions, sent_ms, incarnation, server_ahead_us);
    lk_lock_take(&node->lock);
    node->leased = true;
    node->withheld[0] = 0;
    pthread_cond_broadcast(&node->changed);
    lk_lock_give(&node->lock);
    say_refusal(node);
}

static void on_trouble(void *context, int status, const char *text)
{
    lk_node *node = context;
    lk_node_trouble(node, status, text);
}

static void on_withheld(void *context, const char *text)
{
    lk_node *node = context;
    lk_lock_take(&node->lock);
    snprintf(node->withheld, sizeof node->withheld, "%s", text);
    lk_lock_give(&node->lock);
    lk_node_trouble(node, LATCHKEY_UNAVAILABLE, text);
}

/* Called before the link lists the recent revocations, under their lock: a revocation that is added after that sees
 * this. */
static void on_met(void *context, uint64_t incarnation, lk_partitions partitions)
{
    lk_node *node = context;
    atomic_store_explicit(&node->met, incarnation, memory_order_relaxed);
    for (size_t i = 0; i < partitions.count; i++)
        atomic_fetch_add_explicit(&node->book->leases->of[partitions.at[i]].meetings, 1, memory_order_release);
}

static bool owns(const lk_node *node, unsigned partition) { return lk_book_owner(node->book, partition) == node; }

/* Begins it. False: there is nothing to ask, or the partition is another node's by now. The entry is used until its time
 * is up. */
static bool begin_refresh(lk_node *node, lk_refresh_item *item, lk_job *job)
{
    memset(job, 0, sizeof *job);
    if (owns(node, lk_token_partition(item->token)) && node->l1.refresh(node->l1.context, item, job)) return true;
    lk_refresh_queue_done(item);
    lk_count(node->counters, LK_REFRESHES_DROPPED, 1);
    return false;
}

static bool next_refresh(lk_node *node, int64_t now_ms, lk_job *job)
{
    lk_refresh_item *item;
    do item = lk_inbox_take_refresh(node->inbox, now_ms);
    while (item && !begin_refresh(node, item, job));
    if (!item) {
        job->kind = LK_JOB_NONE;
        return false;
    }
    if (job->kind == LK_JOB_REFRESH) job->item = item;
    else {
        lk_refresh_queue_done(item);
        lk_count(node->counters, LK_TOUCHES, 1);
    }
    return true;
}

/* Another node owns the partition by now. A touch is dropped, and found in L1 by that one. */
static void pass_on(lk_node *node, const lk_pending_item *of, bool proven)
{
    if (!proven || !lk_inbox_pass_on(lk_book_owner(node->book, of->partition)->inbox, of))
        lk_count(node->counters, LK_TOUCHES_DROPPED, 1);
}

/* Touches that were dropped since L1 was last looked through: because too many waited, because the link was lost, or
 * because the slot moved. It is looked through once there is nothing else to do, a part at a time. A use that was not told
 * is from after the last time at which none was missing: so no session lives for longer than idle_ms after its last use. */
static bool next_owed(lk_node *node, int64_t now_ms, lk_job *job)
{
    uint64_t dropped =
        lk_counted(node->counters, LK_TOUCHES_DROPPED) + lk_counted(node->counters, LK_REFRESHES_DROPPED);
    if (!node->collects && dropped == node->dropped) node->none_dropped_ms = now_ms;
    if (!node->collects && (dropped == node->dropped || now_ms < node->owed_at_ms)) return false;
    if (!node->collects) node->dropped = dropped;
    node->collects = true;
    bool found = node->l1.owed && node->l1.owed(node->l1.context, &node->owed_at, now_ms - node->none_dropped_ms, job);
    if (!node->owed_at) {
        node->collects = false;
        node->owed_at_ms = now_ms + LK_NODE_OWED_APART_MS;
    }
    if (!found || !owns(node, job->of.partition)) return false;
    node->l1.touching(node->l1.context, job);
    return true;
}

static bool next_of_inbox(lk_node *node, int64_t now_ms, lk_job *job)
{
    lk_pending_item of;
    lk_touch touch;
    bool proven, found;
    while ((found = lk_inbox_take(node->inbox, &of, &touch, &proven)) && !owns(node, of.partition))
        pass_on(node, &of, proven);
    if (!found) return next_refresh(node, now_ms, job) || next_owed(node, now_ms, job);
    *job = (lk_job){.kind = LK_JOB_TOUCH, .proven = proven, .of = of, .touch = touch};
    if (!proven) node->l1.touching(node->l1.context, job);
    return true;
}

/* Ends early where it was given a partition just now: the thread is about to notice. */
void lk_node_clear_inbox(lk_node *node)
{
    lk_pending_item of;
    lk_touch touch;
    lk_refresh_item *item;
    bool proven, own = false;
    while (!own && lk_inbox_take(node->inbox, &of, &touch, &proven)) {
        own = owns(node, of.partition);
        pass_on(node, &of, proven);
    }
    while ((item = lk_inbox_take_refresh(node->inbox, lk_now_ms()))) {
        lk_refresh_queue_done(item);
        lk_count(node->counters, LK_REFRESHES_DROPPED, 1);
    }
}

static bool next_revocation(lk_node *node, lk_pending_item *item)
{
    bool found;
    do found = lk_pending_next(node->book->pending, &node->pending_cursor, item);
    while (found && !owns(node, item->partition));
    return found;
}

/* Revocations first. They are taken in rounds, some time apart. */
static bool on_next_job(void *context, int64_t now_ms, lk_job *job)
{
    lk_node *node = context;
    if (lk_pending_retries(node->book->pending) && now_ms >= node->pending_retry_ms) {
        memset(job, 0, sizeof *job);
        if (next_revocation(node, &job->of)) {
            job->kind = LK_JOB_REVOKE;
            return true;
        }
        node->pending_cursor = 0;
        node->pending_retry_ms = now_ms + LK_NODE_PENDING_RETRY_MS;
    }
    return next_of_inbox(node, now_ms, job);
}

static void on_job_done(void *context, const lk_job *job, int status)
{
    lk_node *node = context;
    /* If another node owns the partition by now, that one makes it once more. */
    if (job->kind == LK_JOB_REVOKE && status == LATCHKEY_OK && owns(node, job->of.partition)) {
        lk_pending_item was;
        if (counts_with_a_beat(node)) {
            lk_pending_ran(node->book->pending, &job->of, lk_now_ms(), node);
            lk_link_beat_now(&node->link, lk_now_ms());
        } else if (lk_pending_done(node->book->pending, &job->of, &was)) tell(node, &was, job->of.told);
    }
    /* A touch that failed is found in L1 (next_owed). */
    if (job->kind == LK_JOB_TOUCH && status) lk_count(node->counters, LK_TOUCHES_DROPPED, 1);
    if (job->kind != LK_JOB_REFRESH) return;
    if (status) lk_count(node->counters, LK_REFRESHES_DROPPED, 1);
    lk_refresh_queue_done(job->item);
}

static int64_t callers_of_all(const lk_topology *topology)
{
    int64_t callers = 0;
    lk_node *node;
    for (unsigned i = 0; (node = lk_topology_node(topology, i)); i++) callers += lk_pool_callers(node->pool);
    return callers;
}

static int64_t older(int64_t age_ms, int64_t other_ms)
{
    return age_ms < 0 || other_ms < 0 ? -1 : lk_later(age_ms, other_ms);
}

/* The oldest lease of all, and of each node's partitions: so a node that fails is seen at the one that tells the numbers. */
static void tell_leases(const lk_node *node, lk_beat_stats *stats)
{
    const lk_node *owner[LK_BEAT_NODES];
    int64_t now_ms = lk_now_ms();
    for (unsigned p = 0; p < (unsigned)node->config->partitions; p++) {
        const lk_node *has = lk_topology_owner(node->topology, p);
        int64_t until_ms = atomic_load_explicit(&node->book->leases->of[p].until_ms, memory_order_relaxed);
        int64_t age_ms = until_ms ? now_ms - (until_ms - node->config->staleness_ms) : -1;
        size_t i = 0;
        stats->lease_age_ms = older(stats->lease_age_ms, age_ms);
        while (i < stats->nodes && owner[i] != has) i++;
        if (!node->config->cluster || i == LK_BEAT_NODES) continue;
        owner[i] = has;
        if (i == stats->nodes) stats->node[stats->nodes++] = (lk_beat_node){p, 0};
        stats->node[i].lease_age_ms = older(stats->node[i].lease_age_ms, age_ms);
    }
}

static void on_node_stats(void *context, lk_beat_stats *stats)
{
    lk_node *node = context;
    tell_leases(node, stats);
    stats->in_flight = callers_of_all(node->topology);
    stats->pending = (int64_t)lk_pending_sure(node->book->pending);
}

/* Without durability, more than half of the sentinels must name this primary, asked with the beat. With durability, the
 * replicas that hold what was written show the same, and the sentinels may be away. */
static bool on_vouched(void *context, int64_t since_ms, char *why, size_t why_size)
{
    lk_node *node = context;
    const lk_naming *naming = lk_sentinels_naming(node->sentinels);
    if (node->config->durability || lk_naming_vouched(naming, since_ms)) return true;
    if (why) lk_naming_doubt(naming, node->config, since_ms, why, why_size);
    return false;
}

static void on_sign(void *context, const char *text)
{
    lk_node *node = context;
    lk_topology_sign(node->topology, node, text);
}

lk_link_host lk_node_side(lk_node *node)
{
    return (lk_link_host){.context = node,
                          .emptying = on_emptying,
                          .lease = on_lease,
                          .trouble = on_trouble,
                          .withheld = on_withheld,
                          .met = on_met,
                          .next_job = on_next_job,
                          .job_done = on_job_done,
                          .stats = on_node_stats,
                          .vouched = node->config->sentinels ? on_vouched : NULL,
                          .sign = on_sign};
}

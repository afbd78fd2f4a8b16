/* latchkey_stats_read: counters summed, gauges read. */
#include "api/stats.h"
#include "base/argument.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static double ms(uint64_t us) { return (double)us / 1000.0; }

/* -1: a partition has no lease. */
static int64_t oldest_lease_ms(const latchkey *lk)
{
    int64_t until_ms = INT64_MAX;
    for (int64_t p = 0; p < lk->config.partitions; p++)
        until_ms = lk_earlier(until_ms, atomic_load_explicit(&lk->leases->of[p].until_ms, memory_order_acquire));
    return until_ms ? lk_now_ms() - (until_ms - lk->config.staleness_ms) : -1;
}

void lk_stats_gather(latchkey *lk, latchkey_stats *s)
{
    const lk_counters *c = &lk->counters;
    memset(s, 0, sizeof *s);
#define SUM(name, field, help) s->field = lk_counted(c, name);
    LK_COUNTERS(SUM)
#undef SUM
    s->validates = s->l1_hits + s->l1_misses + s->malformed + s->dead_refused;
    s->pending = lk_pending_sure(lk->pending);
    lk_l1_stats l1 = lk_l1_read_stats(lk->l1);
    s->evictions = l1.evictions;
    s->l1_entries = l1.entries;
    s->l1_bytes = l1.bytes;
    s->l1_capacity = (uint64_t)lk->config.l1_capacity;
    s->connected = lk_l2_connected(&lk->l2);
    s->lease_age_ms = oldest_lease_ms(lk);
    uint64_t asked = s->l1_hits + s->l1_misses;
    s->hit_rate = asked ? (double)s->l1_hits / (double)asked : 0;
    s->l2_read_amplification = s->validates ? (double)s->l2_reads / (double)s->validates : 0;
    s->revocations_heard = lk_histogram_count(&c->revocation_us);
    s->revocation_p50_ms = ms(lk_histogram_quantile(&c->revocation_us, 0.5));
    s->revocation_p99_ms = ms(lk_histogram_quantile(&c->revocation_us, 0.99));
    s->session_size_p50_bytes = lk_histogram_quantile(&c->session_bytes, 0.5);
    s->session_size_p99_bytes = lk_histogram_quantile(&c->session_bytes, 0.99);
    s->l2_read_p50_ms = ms(lk_histogram_quantile(&c->l2_read_us, 0.5));
    s->l2_read_p99_ms = ms(lk_histogram_quantile(&c->l2_read_us, 0.99));
    s->section_size_p50_bytes = lk_histogram_quantile(&c->section_bytes, 0.5);
    s->section_size_p99_bytes = lk_histogram_quantile(&c->section_bytes, 0.99);
    lk_l2_last_trouble(&lk->l2, s->last_error, sizeof s->last_error);
}

/* Quantiles since open would hardly move after a while, so those of the last seconds are shown. */
enum { WINDOW_MS = 5000 };

static void move_window_locked(latchkey *lk, lk_window *w, int64_t now_ms)
{
    lk_lock_assert(&w->lock);
    if (now_ms - w->marked_ms < WINDOW_MS) return;
    w->marked_ms = now_ms;
    lk_histogram_keep(&lk->counters.l2_read_us, &w->read[w->older]);
    lk_histogram_keep(&lk->counters.revocation_us, &w->lag[w->older]);
    w->older = !w->older;
}

void lk_stats_beat(latchkey *lk, lk_beat_stats *p)
{
    const lk_counters *c = &lk->counters;
    lk_window *w = &lk->window;
    int64_t now_ms = lk_now_ms();
    snprintf(p->version, sizeof p->version, "%s", latchkey_version());
    snprintf(p->name, sizeof p->name, "%s", lk->config.name);
    if (gethostname(p->host, sizeof p->host - 1)) p->host[0] = 0; /* a longer one is cut */
    p->host[sizeof p->host - 1] = 0;
    p->pid = getpid();
    p->uptime_ms = now_ms - w->opened_ms;
    p->hits = (int64_t)lk_counted(c, LK_L1_HITS);
    p->misses = (int64_t)lk_counted(c, LK_L1_MISSES);
    p->refused = (int64_t)(lk_counted(c, LK_MALFORMED) + lk_counted(c, LK_DEAD_REFUSED));
    p->reads = (int64_t)lk_counted(c, LK_L2_READS);
    p->writes = (int64_t)lk_counted(c, LK_L2_WRITES);
    p->errors = (int64_t)lk_counted(c, LK_L2_ERRORS);
    p->shed = (int64_t)lk_counted(c, LK_SHED);
    p->purges = (int64_t)lk_counted(c, LK_PURGES);
    p->reconnects = (int64_t)lk_counted(c, LK_RECONNECTS);
    p->entries = (int64_t)lk_l1_entries(lk->l1);
    p->capacity = lk->config.l1_capacity;
    lk_lock_take(&w->lock);
    p->read_p50_us = (int64_t)lk_histogram_quantile_since(&c->l2_read_us, &w->read[w->older], 0.5);
    p->read_p99_us = (int64_t)lk_histogram_quantile_since(&c->l2_read_us, &w->read[w->older], 0.99);
    p->lag_p50_us = (int64_t)lk_histogram_quantile_since(&c->revocation_us, &w->lag[w->older], 0.5);
    p->lag_p99_us = (int64_t)lk_histogram_quantile_since(&c->revocation_us, &w->lag[w->older], 0.99);
    move_window_locked(lk, w, now_ms);
    lk_lock_give(&w->lock);
}

int latchkey_stats_read(latchkey *lk, latchkey_stats *stats, size_t stats_size)
{
    if (stats && stats_size) memset(stats, 0, stats_size);
    if (!lk || !stats || !stats_size)
        return lk_bad_argument("stats_read: the handle or stats is NULL, or stats_size is 0");
    if (lk_forked(lk)) return LATCHKEY_FORKED;
    latchkey_stats all;
    lk_stats_gather(lk, &all);
    /* A caller that was built with an older header has a smaller struct, with a newer header a larger one: zeros at its
     * end. */
    memcpy(stats, &all, stats_size < sizeof all ? stats_size : sizeof all);
    return LATCHKEY_OK;
}

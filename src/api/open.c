/* latchkey_open and latchkey_close: from a configuration to a handle whose link holds a lease. */

#include "base/secure_memory.h"
#include "base/argument.h"
#include "base/journal.h"
#include "base/reason.h"
#include "api/stats.h"
#include "api/writes.h"
#include "session/lifetime.h"
#include "session/refresh.h"
#include "session/touch.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void on_purge(void *context, const char *selector) { lk_l1_purge(((latchkey *)context)->l1, selector); }
static void on_made(void *context, const char *selector)
{
    lk_negative_cache_forget(((latchkey *)context)->negative_cache, selector);
}
/* L1 first: so if a call joins another one, its ticket of L1 is not older than its ticket of the negative cache. */
static void on_empty(void *context, lk_partitions partitions)
{
    latchkey *lk = context;
    if (partitions.count == (size_t)lk->config.partitions) lk_l1_empty(lk->l1);
    else lk_l1_empty_of(lk->l1, partitions);
    lk_negative_cache_empty(lk->negative_cache);
    lk_alias_cache_empty(lk->alias_cache);
}
/* The negative cache is kept: dead tokens stay dead, and are asked for most now. */
static void on_everyone(void *context) { lk_l1_empty(((latchkey *)context)->l1); }
static void on_stats(void *context, lk_beat_stats *stats) { lk_stats_beat(context, stats); }
static bool on_sample(void *context, uint64_t random, int64_t now_ms, lk_entry_sample *out)
{
    return lk_l1_sample(((latchkey *)context)->l1, random, now_ms, out);
}
static bool on_refresh(void *context, lk_refresh_item *item, lk_job *job)
{
    return lk_refresh_begin(context, item, job);
}
static void on_refreshed(void *context, const lk_refresh_item *item, const lk_reply *value, const lk_reply *pttl,
                         uint64_t incarnation)
{
    lk_refresh_end(context, item, value, pttl, incarnation);
}
static void on_touching(void *context, lk_job *job) { lk_touch_begin(context, job); }
static bool on_owed(void *context, size_t *at, int64_t age_ms, lk_job *job)
{
    return lk_touch_owed(context, at, age_ms, job);
}
static void on_touched(void *context, const lk_job *job, uint64_t incarnation)
{
    lk_touch_end(context, job, incarnation);
}
static bool on_still(void *context, const lk_entry_sample *seen)
{
    return lk_l1_still(((latchkey *)context)->l1, seen);
}

static int build_handle(latchkey *lk, char *error, size_t error_size)
{
    uint64_t seed[4];
    const bool foreign = lk->config.foreign_until_ms != 0;
    lk_random(seed, sizeof seed);
    lk->l1 = lk_l1_open((size_t)lk->config.l1_capacity, seed[0]);
    lk->singleflight = lk_singleflight_open(seed[3]);
    lk->negative_cache = lk_negative_cache_open(seed[1], LK_NEGATIVE_CACHE_PLACES);
    if (foreign) lk->alias_cache = lk_alias_cache_open((size_t)lk->config.l1_capacity, seed[2]);
    lk_l1_side l1 = {lk,       on_purge,   on_made,      on_empty,    on_everyone, on_stats, on_sample,
                     on_still, on_refresh, on_refreshed, on_touching, on_touched,  on_owed};
    lk->window.opened_ms = lk_now_ms();
    lk_lock_open(&lk->window.lock, LK_RANK_NODE);
    lk->refresh_ms = lk_session_window(lk->config.l1_ttl_ms);
    bool good = lk->l1 && lk->singleflight && lk->negative_cache && (lk->alias_cache || !foreign);
    if (!good) return LATCHKEY_NO_MEMORY;
    int status = lk_topology_open(&lk->l2.topology, &lk->config, &lk->counters, &l1, error, error_size);
    if (status) return status;
    lk->book = &lk->l2.topology.book;
    lk->leases = lk->book->leases;
    lk->pending = lk->book->pending;
    lk->l2.config = &lk->config;
    lk->l2.counters = &lk->counters;
    return LATCHKEY_OK;
}

/* What connections are made from, as it is now: files may change while the handle is open. */
static int build_sources(lk_config *config, lk_journal *journal, char *error, size_t error_size)
{
    config->journal = journal;
    const char *file = config->password_file;
    if (!(config->notices = lk_notices_open())) return LATCHKEY_NO_MEMORY;
    if (*file && !(config->password_now = lk_password_open(file, config->password, config->notices)))
        return LATCHKEY_NO_MEMORY;
    file = config->sentinel_password_file;
    if (*file && !(config->sentinel_password_now = lk_password_open(file, config->sentinel_password, config->notices)))
        return LATCHKEY_NO_MEMORY;
    return config->tls ? lk_tls_context_open(config, &config->tls_context, error, error_size) : LATCHKEY_OK;
}

static int open_handle(latchkey *lk, const char *config, char *error, size_t error_size)
{
    int status = lk_config_parse(config, &lk->config, error, error_size);
    if (!status) status = build_sources(&lk->config, lk->journal, error, error_size);
    if (!status) status = build_handle(lk, error, error_size);
    int64_t deadline_ms = lk_now_ms() + (status ? 0 : lk->config.deadline_ms);
    if (!status && !lk->config.lazy) status = lk_topology_wait(&lk->l2.topology, deadline_ms, error, error_size);
    if (!status && !lk->config.lazy) status = lk_l2_probe(&lk->l2, deadline_ms, error, error_size);
    return status;
}

/* Memory for a handle and for its lines. NULL: there is none. */
static latchkey *new_handle(void)
{
    latchkey *lk = lk_map(sizeof *lk, false); /* it holds the password; a child must find `leases` */
    if (!lk) return NULL;
    if ((lk->journal = lk_journal_open())) {
        lk_marker_open(&lk->marker);
        return lk;
    }
    lk_unmap(lk, sizeof *lk);
    return NULL;
}

int latchkey_open(const char *config, latchkey **out, char *error, size_t error_size)
{
    char unheard[160] = "";
    if (!error || !error_size) {
        error = unheard;
        error_size = sizeof unheard;
    }
    *error = 0;
    if (!out) return lk_bad_argument("open: out is NULL");
    *out = NULL;
    if (!config) {
        snprintf(error, error_size, "no configuration was given");
        return lk_bad_argument("open: config is NULL");
    }
    lk_reason_clear(NULL);
    if (!lk_crypto_init()) {
        snprintf(error, error_size, "libsodium finds no source of randomness");
        return lk_reason(LATCHKEY_CONFIG, "%s", error);
    }
    snprintf(error, error_size, "no memory");
    latchkey *lk = new_handle();
    if (!lk) return lk_reason(LATCHKEY_NO_MEMORY, "%s", error);
    lk_journal *before = lk_log_to(lk->journal);
    int status = open_handle(lk, config, error, error_size);
    if (status) {
        lk_reason_clear(NULL);
        lk_reason(status, "%s", error);
        latchkey_close(lk); /* this logs the link's lines, in this thread */
    } else {
        *error = 0;
        *out = lk;
        lk_journal_opened(lk->journal);
    }
    lk_log_to(before);
    return status;
}

/* What the links have still to end in Redis, while Redis answers: revocations that were PENDING, and the sessions of logins whose
 * queue was closed. */
static void end_pending(latchkey *lk, int64_t until_ms)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    while (lk->pending && lk_pending_retries(lk->pending) && lk_l2_connected(&lk->l2) && lk_now_ms() < until_ms)
        nanosleep(&moment, NULL);
}

void latchkey_close(latchkey *lk)
{
    if (!lk) return;
    if (lk->leases && lk_forked(lk)) {
        /* Another thread of the parent may have been in the middle of anything, so this process' copy of its memory is
         * neither used nor freed. It goes with the process. */
        if (!lk_marker_stands(&lk->marker)) return;
        lk_topology_abandon(&lk->l2.topology);
        lk_queues_abandon(lk);
        lk_journal_abandon(lk->journal);
        lk_marker_close(&lk->marker);
        return;
    }
    int64_t until_ms = lk_now_ms() + lk->config.deadline_ms;
    lk_writes_finish(lk);
    end_pending(lk, until_ms);
    lk_topology_close(&lk->l2.topology); /* before the others: its threads use them */
    lk_queues_close(lk);
    lk_writes_close(lk);
    lk_singleflight_close(lk->singleflight);
    lk_negative_cache_close(lk->negative_cache);
    lk_alias_cache_close(lk->alias_cache);
    lk_l1_close(lk->l1);
    lk_tls_context_close(lk->config.tls_context);
    lk_password_close(lk->config.password_now);
    lk_password_close(lk->config.sentinel_password_now);
    lk_notices_say(lk->config.notices);
    lk_notices_close(lk->config.notices);
    lk_journal_close(lk->journal);
    lk_marker_close(&lk->marker);
    if (lk->window.opened_ms) lk_lock_close(&lk->window.lock);
    lk_unmap(lk, sizeof *lk);
}

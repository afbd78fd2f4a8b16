/* See query.h. */
#include "cli/query.h"

#include "base/clock.h"
#include "l2/sentinels.h"
#include "redis/lookup.h"

#include <stdio.h>
#include <string.h>

int64_t query_patience(const lk_config *config)
{
    enum { LEAST_MS = 1000 };
    return lk_earlier(lk_later(config->deadline_ms, LEAST_MS), QUERY_PATIENT_MS);
}

int query_ask(query *p, const lk_call *calls, size_t count, lk_reply **replies, char *error, size_t error_size)
{
    const lk_ask ask = {.calls = calls, .count = count, .deadline_ms = lk_now_ms() + p->patience_ms, .again = true};
    return lk_pool_ask(p->pool, &ask, replies, &p->incarnation, error, error_size);
}

lk_reply *query_say(query *p, const char *const *words)
{
    enum { MOST = 8 };
    lk_span spans[MOST];
    char error[160];
    lk_reply *reply;
    size_t count = 0;
    for (; words[count] && count < MOST; count++) spans[count] = lk_word(words[count]);
    return query_ask(p, &(lk_call){spans, count}, 1, &reply, error, sizeof error) ? NULL : reply;
}

/* Behind sentinels the URL does not say which server it is. */
static void name_primary(const query *p, char *error, size_t error_size)
{
    char why[400], at[112];
    lk_host host = {.name = ""};
    snprintf(host.name, sizeof host.name, "%s", p->config.host);
    snprintf(host.port, sizeof host.port, "%s", p->config.port);
    lk_host_text(&host, at, sizeof at);
    snprintf(why, sizeof why, "%s", error);
    snprintf(error, error_size, "%s, which the sentinels name: %s", at, why);
}

/* The configuration says where. */
static int connect_and_ask(query *p, int64_t patience_ms, char *error, size_t error_size)
{
    p->patience_ms = patience_ms ? patience_ms : query_patience(&p->config);
    int status =
        p->config.tls ? lk_tls_context_open(&p->config, &p->config.tls_context, error, error_size) : LATCHKEY_OK;
    if (status) return status;
    if (!lk_sentinels_find(&p->config, lk_now_ms() + p->patience_ms, error, error_size)) return LATCHKEY_UNAVAILABLE;
    if (!lk_lookup_now(&p->config, NULL, lk_now_ms() + p->patience_ms, &p->addresses, error, error_size))
        return LATCHKEY_UNAVAILABLE;
    p->pool = lk_pool_open(&p->config, &p->counters);
    if (!p->pool) return LATCHKEY_NO_MEMORY;
    lk_pool_addresses(p->pool, &p->addresses);
    const lk_span time = lk_word("TIME");
    lk_reply *reply;
    status = query_ask(p, &(lk_call){&time, 1}, 1, &reply, error, error_size);
    if (!status) lk_reply_free(reply);
    else if (p->config.sentinels && !strstr(error, p->config.port)) name_primary(p, error, error_size);
    return status;
}

static void lead_to(lk_config *config, const lk_host *host)
{
    snprintf(config->host, sizeof config->host, "%s", host->name);
    snprintf(config->port, sizeof config->port, "%s", host->port);
}

int query_open_at(const char *url, const lk_host *host, int64_t patience_ms, query *p, char *error, size_t error_size)
{
    memset(p, 0, sizeof *p);
    int status = lk_config_parse(url, &p->config, error, error_size);
    if (status) return status;
    if (*host->name) lead_to(&p->config, host);
    return connect_and_ask(p, patience_ms, error, error_size);
}

int query_open(const char *url, int64_t database, int64_t patience_ms, query *p, char *error, size_t error_size)
{
    for (unsigned i = 0;; i++) { /* of a cluster, the first listed node that answers */
        memset(p, 0, sizeof *p);
        int status = lk_config_parse(url, &p->config, error, error_size);
        if (status) return status;
        if (database != QUERY_OF_THE_URL) p->config.database = database;
        bool last = i + 1 >= p->config.seeds;
        if (p->config.cluster) {
            const lk_host host = p->config.seed[i];
            lead_to(&p->config, &host);
        }
        status = connect_and_ask(p, patience_ms, error, error_size);
        if (!status || last) return status;
        query_close(p);
    }
}

void query_close(query *p)
{
    lk_pool_close(p->pool);
    lk_tls_context_close(p->config.tls_context);
    lk_wipe(p, sizeof *p);
}

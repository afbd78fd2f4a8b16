/* SPDX-License-Identifier: MIT */
/* What a handle tells without asking Redis: a new token, why a call failed, its statistics. */
#include "addon.h"

#include <stddef.h>
#include <stdlib.h>

static handle *handle_of(napi_env env, napi_callback_info info, napi_value *argument)
{
    void *data = NULL;
    size_t given = 1;
    napi_get_cb_info(env, info, &given, argument, NULL, &data);
    return data;
}

napi_value handle_token_new(napi_env env, napi_callback_info info)
{
    napi_value argument[1];
    handle *h = handle_of(env, info, argument);
    if (h->closing) return make_integer(env, HANDLE_CLOSED);
    arena a = {0};
    char token[LATCHKEY_TOKEN_SIZE];
    uint64_t user_id = read_number(env, &a, argument[0]);
    int status = a.failed ? LATCHKEY_BAD_ARGUMENT : latchkey_token_new(h->lk, user_id, token);
    return status ? make_integer(env, status) : make_text(env, token);
}

napi_value handle_reason(napi_env env, napi_callback_info info)
{
    napi_value argument[1];
    char text[ERROR_SIZE] = "";
    handle *h = handle_of(env, info, argument);
    if (!h->closing) latchkey_error_text(h->lk, text, sizeof text);
    return make_text(env, text);
}

/* The counters that are of use to a program; latchkey_metrics has all of them. */
#define COUNTER(name, member)                                                                                          \
    {                                                                                                                  \
        name, offsetof(latchkey_stats, member)                                                                         \
    }
static const struct {
    const char *name;
    size_t at;
} counters[] = {
    COUNTER("validates", validates), COUNTER("l1Hits", l1_hits),      COUNTER("l1Misses", l1_misses),
    COUNTER("malformed", malformed), COUNTER("l2Reads", l2_reads),    COUNTER("l2Writes", l2_writes),
    COUNTER("l2Errors", l2_errors),  COUNTER("joined", joined),       COUNTER("fills", fills),
    COUNTER("purges", purges),       COUNTER("evictions", evictions), COUNTER("missed", missed),
    COUNTER("replayed", replayed),   COUNTER("empties", empties),     COUNTER("reconnects", reconnects),
    COUNTER("lapses", lapses),       COUNTER("shed", shed),           COUNTER("stale", stale),
    COUNTER("pending", pending),     COUNTER("reuses", reuses),       COUNTER("l1Entries", l1_entries),
    COUNTER("l1Bytes", l1_bytes),    COUNTER("connected", connected),
};

napi_value handle_stats(napi_env env, napi_callback_info info)
{
    napi_value argument[1], object;
    latchkey_stats stats;
    handle *h = handle_of(env, info, argument);
    if (h->closing) return make_integer(env, HANDLE_CLOSED);
    int status = latchkey_stats_read(h->lk, &stats, sizeof stats);
    if (status) return make_integer(env, status);
    napi_create_object(env, &object);
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        const uint64_t *counter = (const void *)((const char *)&stats + counters[i].at);
        napi_set_named_property(env, object, counters[i].name, make_integer(env, (int64_t)*counter));
    }
    napi_value hit_rate;
    napi_create_double(env, stats.hit_rate, &hit_rate);
    napi_set_named_property(env, object, "hitRate", hit_rate);
    napi_set_named_property(env, object, "leaseAgeMs", make_integer(env, stats.lease_age_ms));
    napi_set_named_property(env, object, "lastError", make_text(env, stats.last_error));
    return object;
}

napi_value handle_metrics(napi_env env, napi_callback_info info)
{
    napi_value argument[1];
    handle *h = handle_of(env, info, argument);
    if (h->closing) return make_integer(env, HANDLE_CLOSED);
    size_t size = 65536;
    for (;;) {
        char *text = malloc(size);
        if (!text) return make_integer(env, LATCHKEY_NO_MEMORY);
        size_t needed = 0;
        int status = latchkey_metrics(h->lk, text, size, &needed);
        napi_value value = status ? make_integer(env, status) : make_text(env, text);
        free(text);
        if (status != LATCHKEY_NO_MEMORY || needed <= size) return value;
        size = needed + 1024; /* it may have grown */
    }
}

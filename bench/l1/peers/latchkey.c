/* SPDX-License-Identifier: MIT
 *
 * latchkey as users call it: latchkey_try_validate on a handle that was opened on a real Redis and holds a real lease.
 * Only the filling goes past Redis, straight into L1, because a million logins would take minutes.
 */
#include "l1bench.h"

#include "session/handle.h"

void *latchkey_peer_open(size_t capacity)
{
    char config[256], error[160];
    latchkey *lk;
    /* The longest staleness, so that the link's beats, which wake a thread, are rare; they still come. */
    snprintf(config, sizeof config, "%s?l1_capacity=%zu&staleness_ms=60000&deadline_ms=5000",
             bench_server_url(l1bench_server()), capacity);
    if (latchkey_open(config, &lk, error, sizeof error) != LATCHKEY_OK) bench_die("latchkey_open: %s", error);
    return lk;
}

static void peer_close(void *map) { latchkey_close(map); }

static bool get(void *map, const request *asked, latchkey_entry *entry)
{
    return latchkey_try_validate(map, asked->text, LATCHKEY_TOKEN_LENGTH, entry) == LATCHKEY_OK;
}

static void put(void *map, const record *r)
{
    lk_l1 *l1 = ((latchkey *)map)->l1;
    lk_l1_put(l1, lk_l1_ticket(l1, r->text), r->text, r->text + LATCHKEY_SELECTOR_LENGTH, false,
              lk_l1_until(r->deadline_ms), lk_coarse_ms(), &r->entry);
}

static void drop(void *map, const record *r) { lk_l1_purge(((latchkey *)map)->l1, r->text); }

static size_t bytes(void *map)
{
    latchkey_stats stats;
    if (latchkey_stats_read(map, &stats, sizeof stats) != LATCHKEY_OK) bench_die("latchkey_stats_read failed");
    return (size_t)stats.l1_bytes;
}

/* The batch call, once the header has it: CMake looks. */
#ifdef LATCHKEY_HAS_MANY
enum { MANY = 64 };
static size_t many(void *map, const request *asked, size_t count, latchkey_entry *entries)
{
    const char *tokens[MANY] = {0};
    size_t lengths[MANY] = {0}, found = 0;
    int status[MANY];
    for (size_t i = 0; i < count; i++) tokens[i] = asked[i].text, lengths[i] = LATCHKEY_TOKEN_LENGTH;
    latchkey_try_validate_many(map, tokens, lengths, count, entries, status);
    for (size_t i = 0; i < count; i++) found += status[i] == LATCHKEY_OK;
    return found;
}
#else
#define many NULL
#endif

const peer peer_latchkey = {.name = "latchkey",
                            .where = "this library",
                            .ours = true,
                            .evicts = true,
                            .open = latchkey_peer_open,
                            .close = peer_close,
                            .get = get,
                            .put = put,
                            .drop = drop,
                            .bytes = bytes,
                            .get_many = many};

/* What the lease costs: latchkey_try_validate (validate.c) without its load and its comparison, and all else as there. No
 * contender: what it answers may have been revoked an hour ago. */
static __attribute__((noinline)) int try_without_lease(latchkey *lk, const char *token, size_t token_len,
                                                       latchkey_entry *entry)
{
    lk_l1_found found;
    if (!entry || !lk || !token || token_len != LATCHKEY_TOKEN_LENGTH) return LATCHKEY_AGAIN;
    if (!lk_l1_get(lk->l1, token, &found, entry)) return LATCHKEY_AGAIN;
    if (lk_coarse_ms() >= found.due_ms || found.first_use) return LATCHKEY_AGAIN;
    lk_count(&lk->counters, LK_L1_HITS, 1);
    return LATCHKEY_OK;
}

static bool get_without_lease(void *map, const request *asked, latchkey_entry *entry)
{
    return try_without_lease(map, asked->text, LATCHKEY_TOKEN_LENGTH, entry) == LATCHKEY_OK;
}

const peer peer_latchkey_leaseless = {.name = "latchkey without its lease",
                                      .where = "this library",
                                      .ours = true,
                                      .evicts = true,
                                      .open = latchkey_peer_open,
                                      .close = peer_close,
                                      .get = get_without_lease,
                                      .put = put,
                                      .drop = drop,
                                      .bytes = bytes};

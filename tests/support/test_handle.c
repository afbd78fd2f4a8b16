/* SPDX-License-Identifier: MIT */
#include "test_handle.h"
#include "threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HANDLES 64

redis *server;

int server_start(void **state)
{
    (void)state;
    server = redis_start(NULL);
    return 0;
}

int server_end(void **state)
{
    (void)state;
    redis_end(server);
    return 0;
}

int server_clean(void **state)
{
    (void)state;
    redis_thaw(server); /* a test that failed may have left it frozen */
    redis_do(server, "FLUSHALL");
    if (server->alone) redis_do(server, "CONFIG SET cluster-announce-port 0");
    return 0;
}

static latchkey *handles[MAX_HANDLES];

static void keep(latchkey *lk)
{
    for (int i = 0; i < MAX_HANDLES; i++) {
        if (handles[i]) continue;
        handles[i] = lk;
        return;
    }
    fail_msg("a test opened more than %d handles", MAX_HANDLES);
}

latchkey *handle_open_config(const char *config)
{
    char error[512];
    latchkey *lk = NULL;
    int status;
    int64_t limit = check_now_ms() + CHECK_PATIENCE_MS;
    do status = latchkey_open(config, &lk, error, sizeof error);
    while (status == LATCHKEY_UNAVAILABLE && check_now_ms() < limit);
    if (status != LATCHKEY_OK) fail_msg("open %s: %s: %s", config, latchkey_status_text(status), error);
    assert_non_null(lk);
    keep(lk);
    return lk;
}

static const char *unless_given(const char *options, const char *name, const char *setting)
{
    return strstr(options, name) ? "" : setting;
}

void handle_config_options(const char *options, char *out, size_t out_size)
{
    const char *deadline = unless_given(options, "deadline_ms=", "deadline_ms=10000&");
    const char *staleness = unless_given(options, "staleness_ms=", "staleness_ms=20000&");
    const char *more = getenv("LATCHKEY_TEST_OPTIONS");
    snprintf(out, out_size, "?%s%s%s%s", more ? more : "", deadline, staleness, options);
    size_t length = strlen(out);
    if (out[length - 1] == '&' || out[length - 1] == '?') out[length - 1] = 0;
}

void handle_config(const redis *on, int tcp, const char *options, char *out, size_t out_size)
{
    if (on->alone) snprintf(out, out_size, "redis+cluster://127.0.0.1:%d", on->port);
    else if (tcp) snprintf(out, out_size, "redis://127.0.0.1:%d", on->port);
    else snprintf(out, out_size, "unix://%s", on->socket);
    size_t used = strlen(out);
    handle_config_options(options, out + used, out_size - used);
}

latchkey *handle_open(redis *on, const char *options)
{
    char config[512];
    handle_config(on, 0, options, config, sizeof config);
    return handle_open_config(config);
}

latchkey *handle_open_tcp(redis *on, const char *options)
{
    char config[512];
    handle_config(on, 1, options, config, sizeof config);
    return handle_open_config(config);
}

latchkey *handle_open_at(int port, const char *options)
{
    redis stub = {.port = port, .alone = server && server->alone};
    /* A cluster's nodes are where they say. server_clean takes it back. */
    if (stub.alone) redis_do(server, "CONFIG SET cluster-announce-port %d", port);
    return handle_open_tcp(&stub, options);
}

void handle_close(latchkey *lk)
{
    for (int i = 0; i < MAX_HANDLES; i++)
        if (handles[i] == lk) handles[i] = NULL;
    latchkey_close(lk);
}

int handle_close_all(void **state)
{
    (void)state;
    if (crew_end_all()) return -1; /* and the handles stay open: what failed is printed only after this */
    for (int i = 0; i < MAX_HANDLES; i++) {
        latchkey_close(handles[i]);
        handles[i] = NULL;
    }
    return 0;
}

void make_session_with(latchkey *lk, uint64_t user_id, int64_t idle_ms, int64_t lifetime_ms,
                       const latchkey_field *fields, size_t field_count, char token[LATCHKEY_TOKEN_SIZE])
{
    latchkey_draft draft = {.size = sizeof draft,
                            .user_id = user_id,
                            .role = "member",
                            .device = 3,
                            .flags = 5,
                            .idle_ms = idle_ms,
                            .lifetime_ms = lifetime_ms,
                            .fields = fields,
                            .field_count = field_count};
    memset(draft.permissions_hash, 0xa5, sizeof draft.permissions_hash);
    /* A server becomes another one in the eyes of a handle when its first replica comes: a login in that moment is UNAVAILABLE. */
    int status = latchkey_create(lk, &draft, token);
    for (int64_t until_ms = check_now_ms() + 20000; status == LATCHKEY_UNAVAILABLE && check_now_ms() < until_ms;) {
        check_pause();
        status = latchkey_create(lk, &draft, token);
    }
    assert_status(lk, LATCHKEY_OK, status);
    assert_int_equal(strlen(token), LATCHKEY_TOKEN_LENGTH);
}

void make_session(latchkey *lk, uint64_t user_id, char token[LATCHKEY_TOKEN_SIZE])
{
    make_session_with(lk, user_id, 0, 0, NULL, 0, token);
}

void warm(latchkey *lk, const char *token)
{
    wait_for(validate(lk, token) == LATCHKEY_OK && try_validate(lk, token) == LATCHKEY_OK);
}

int validate(latchkey *lk, const char *token)
{
    latchkey_entry entry;
    return latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry);
}

int try_validate(latchkey *lk, const char *token)
{
    latchkey_entry entry;
    return latchkey_try_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry);
}

int end_session(latchkey *lk, const char *token) { return latchkey_revoke(lk, token, LATCHKEY_TOKEN_LENGTH); }

int touch(latchkey *lk, const char *token) { return latchkey_touch(lk, token, LATCHKEY_TOKEN_LENGTH); }

int load(latchkey *lk, const char *token)
{
    latchkey_record *record = NULL;
    int status = latchkey_load(lk, token, LATCHKEY_TOKEN_LENGTH, &record);
    latchkey_record_free(record);
    return status;
}

int set_field(latchkey *lk, const char *token, const char *name, const char *text)
{
    latchkey_field field = {name, text, strlen(text)};
    return latchkey_set_fields(lk, token, LATCHKEY_TOKEN_LENGTH, &field, 1);
}

latchkey_stats stats_of(latchkey *lk)
{
    latchkey_stats stats;
    assert_status(lk, LATCHKEY_OK, latchkey_stats_read(lk, &stats, sizeof stats));
    return stats;
}

latchkey_entry entry_of(latchkey *lk, const char *token)
{
    latchkey_entry entry;
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry));
    return entry;
}

size_t sessions_of(latchkey *lk, uint64_t user_id)
{
    size_t total = SIZE_MAX;
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, user_id, NULL, 0, NULL, 0, &total));
    return total;
}

int create_with(latchkey *lk, uint64_t user_id, uint64_t generation, char token[LATCHKEY_TOKEN_SIZE])
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = user_id, .generation = generation};
    return latchkey_create(lk, &draft, token);
}

void stays_dead(latchkey *lk, const char *token)
{
    int status;
    do {
        status = validate(lk, token);
        assert_status_in(lk, status, LATCHKEY_NOT_FOUND, LATCHKEY_UNAVAILABLE);
        check_pause();
    } while (status != LATCHKEY_NOT_FOUND || !stats_of(lk).connected);
}

char *session_key(redis *on, const char *token, char out[128])
{
    char pattern[64];
    snprintf(pattern, sizeof pattern, "*:s:%.20s", token);
    /* '-' and '_' are ordinary in a pattern outside of brackets. */
    char **keys = redis_keys(on, pattern, NULL);
    snprintf(out, 128, "%s", keys[0] ? keys[0] : "");
    redis_free_keys(keys);
    return out;
}

static unsigned digit(char c)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *found = strchr(alphabet, c);
    if (!c || !found) fail_msg("'%c' is no base64url", c);
    return (unsigned)(found - alphabet);
}

void token_bytes(const char *token, unsigned char out[32])
{
    unsigned bits = 0, held = 0;
    size_t n = 0;
    for (int i = 0; i < LATCHKEY_TOKEN_LENGTH; i++) {
        bits = (bits << 6 | digit(token[i])) & 0xffff;
        held += 6;
        if (held < 8) continue;
        held -= 8;
        out[n++] = (unsigned char)(bits >> held);
    }
}

unsigned token_partition(const char *token)
{
    unsigned char bytes[32];
    token_bytes(token, bytes);
    return (unsigned)(bytes[0] & 15) << 8 | bytes[1];
}

/* SPDX-License-Identifier: MIT
 *
 * A session's life on a real Redis: opened over every transport, made, validated, read whole, changed, ended.
 */
#include "test_handle.h"

#include <stdio.h>
#include <string.h>

static void live(latchkey *lk)
{
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_entry entry;
    make_session(lk, 42, token);
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry));
    assert_int_equal(entry.user_id, 42);
    assert_string_equal(entry.role, "member");
    assert_int_equal(entry.device, 3);
    assert_int_equal(entry.flags & LATCHKEY_FLAGS_YOURS, 5);
    assert_status(lk, LATCHKEY_OK, touch(lk, token));
    assert_status(lk, LATCHKEY_OK, set_field(lk, token, "note", "hello"));
    assert_status(lk, LATCHKEY_OK, load(lk, token));
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, touch(lk, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, set_field(lk, token, "note", "again"));
    assert_status(lk, LATCHKEY_NOT_FOUND, load(lk, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, end_session(lk, token));
}

static void test_life_over_tcp(void **state)
{
    (void)state;
    live(handle_open_tcp(server, ""));
}

static void test_life_over_unix_socket(void **state)
{
    (void)state;
    live(handle_open(server, ""));
}

static void test_life_by_host_name(void **state)
{
    (void)state;
    char config[256], error[256];
    latchkey *lk;
    snprintf(config, sizeof config, "redis://localhost:%d/?deadline_ms=10000", server->port);
    assert_status(NULL, LATCHKEY_OK, latchkey_open(config, &lk, error, sizeof error));
    live(lk);
    latchkey_close(lk);
}

static void test_life_without_l1(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_capacity=0");
    live(lk);
    assert_int_equal(stats_of(lk).l1_hits, 0);
}

static void test_life_with_one_connection_and_one_partition(void **state)
{
    (void)state;
    live(handle_open(server, "connections=1&partitions=1"));
}

static void test_life_with_the_most_partitions(void **state)
{
    (void)state;
    live(handle_open(server, "partitions=4096&prefix=p4096"));
}

static void test_database_number_is_used(void **state)
{
    (void)state;
    char config[256], error[256], token[LATCHKEY_TOKEN_SIZE];
    latchkey *tcp, *local;
    snprintf(config, sizeof config, "redis://127.0.0.1:%d/3?deadline_ms=10000", server->port);
    assert_status(NULL, LATCHKEY_OK, latchkey_open(config, &tcp, error, sizeof error));
    snprintf(config, sizeof config, "unix://%s?db=3&deadline_ms=10000", server->socket);
    assert_status(NULL, LATCHKEY_OK, latchkey_open(config, &local, error, sizeof error));
    make_session(tcp, 1, token);
    assert_status(local, LATCHKEY_OK, validate(local, token));
    assert_int_equal(redis_integer(server, "DBSIZE"), 0);
    redis_do(server, "SELECT 3");
    assert_true(redis_integer(server, "DBSIZE") > 0);
    redis_do(server, "SELECT 0");
    latchkey_close(tcp);
    latchkey_close(local);
}

static void test_prefixes_keep_deployments_apart(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *one = handle_open(server, "prefix=one"), *two = handle_open(server, "prefix=two");
    make_session(one, 1, token);
    assert_status(two, LATCHKEY_NOT_FOUND, validate(two, token));
    assert_status(two, LATCHKEY_NOT_FOUND, end_session(two, token));
    assert_status(one, LATCHKEY_OK, validate(one, token));
}

static void test_draft_is_what_the_entry_says(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_entry entry;
    latchkey_draft draft = {.size = sizeof draft,
                            .user_id = UINT64_MAX,
                            .role = "sixteen_bytes_ok",
                            .device = UINT32_MAX,
                            .flags = LATCHKEY_FLAGS_YOURS,
                            .lifetime_ms = 3600000};
    for (size_t i = 0; i < 32; i++) draft.permissions_hash[i] = (uint8_t)(255 - i);
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, token));
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry));
    assert_true(entry.user_id == UINT64_MAX);
    assert_memory_equal(entry.role, "sixteen_bytes_ok", 16);
    assert_int_equal(entry.device, UINT32_MAX);
    assert_int_equal(entry.flags, LATCHKEY_FLAGS_YOURS);
    assert_memory_equal(entry.permissions_hash, draft.permissions_hash, 32);
    assert_int_equal(entry.expires_at_ms - entry.created_at_ms, 3600000);
    assert_int_equal(entry.auth_at_ms, entry.created_at_ms);
    static const uint8_t none[32];
    assert_memory_equal(entry.pq_key_hash, none, 32);
}

static void test_role_may_be_absent(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    static const char none[16];
    latchkey_entry entry;
    latchkey_draft draft = {.size = sizeof draft, .user_id = 0};
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, token));
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry));
    assert_int_equal(entry.user_id, 0);
    assert_memory_equal(entry.role, none, 16);
}

static void test_tokens_are_new_each_time(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char tokens[64][LATCHKEY_TOKEN_SIZE];
    for (size_t i = 0; i < 64; i++) {
        make_session(lk, 1, tokens[i]);
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(tokens[i], tokens[j], LATCHKEY_SELECTOR_LENGTH);
            assert_memory_not_equal(tokens[i] + 20, tokens[j] + 20, 23);
        }
    }
    for (size_t i = 0; i < 64; i++) assert_status(lk, LATCHKEY_OK, validate(lk, tokens[i]));
}

static void test_token_needs_no_nul(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], cookie[128];
    make_session(lk, 1, token);
    snprintf(cookie, sizeof cookie, "%s; Path=/", token);
    assert_status(lk, LATCHKEY_OK, validate(lk, cookie));
    assert_status(lk, LATCHKEY_OK, touch(lk, cookie));
    assert_status(lk, LATCHKEY_OK, load(lk, cookie));
    assert_status(lk, LATCHKEY_OK, end_session(lk, cookie));
}

static void test_check_key_file_makes_and_accepts(void **state)
{
    (void)state;
    static const char first[] = "00112233445566778899aabbccddeeff\n", second[] = "ffeeddccbbaa99887766554433221100\n";
    char path[2][160], options[256], both[80], old[LATCHKEY_TOKEN_SIZE], new[LATCHKEY_TOKEN_SIZE];
    check_temp_path("first.key", path[0], sizeof path[0]);
    check_temp_path("both.key", path[1], sizeof path[1]);
    check_write_file(path[0], first, strlen(first));
    snprintf(both, sizeof both, "%s%s", second, first);
    check_write_file(path[1], both, strlen(both));

    snprintf(options, sizeof options, "check_key_file=%s", path[0]);
    latchkey *before = handle_open(server, options);
    snprintf(options, sizeof options, "check_key_file=%s", path[1]);
    latchkey *after = handle_open(server, options);
    latchkey *keyless = handle_open(server, "");
    make_session(before, 1, old);
    make_session(after, 1, new);
    assert_status(after, LATCHKEY_OK, validate(after, old));
    assert_status(after, LATCHKEY_OK, validate(after, new));
    assert_status(before, LATCHKEY_MALFORMED, validate(before, new));
    assert_status(keyless, LATCHKEY_MALFORMED, validate(keyless, old));
    assert_int_equal(stats_of(keyless).l2_reads, 0);
}

static void test_many_handles_in_one_process(void **state)
{
    (void)state;
    latchkey *handles[8];
    char token[LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 8; i++) handles[i] = handle_open(server, "connections=1");
    make_session(handles[0], 1, token);
    for (int i = 0; i < 8; i++) assert_status(handles[i], LATCHKEY_OK, validate(handles[i], token));
    assert_status(handles[3], LATCHKEY_OK, end_session(handles[3], token));
    for (int i = 0; i < 8; i++) wait_for(validate(handles[i], token) == LATCHKEY_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_life_over_tcp),
        TEST(test_life_over_unix_socket),
        TEST(test_life_by_host_name),
        TEST(test_life_without_l1),
        TEST(test_life_with_one_connection_and_one_partition),
        TEST(test_life_with_the_most_partitions),
        TEST(test_database_number_is_used),
        TEST(test_prefixes_keep_deployments_apart),
        TEST(test_draft_is_what_the_entry_says),
        TEST(test_role_may_be_absent),
        TEST(test_tokens_are_new_each_time),
        TEST(test_token_needs_no_nul),
        TEST(test_check_key_file_makes_and_accepts),
        TEST(test_many_handles_in_one_process),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

/* SPDX-License-Identifier: MIT
 *
 * latchkey_check_config: what latchkey_open would refuse for its own sake is refused, in the same words, and nothing is connected.
 * latchkey_error_text: why the last call of this thread failed.
 */
#include "test_handle.h"
#include "pki.h"
#include "threads.h"

#include <stdio.h>
#include <string.h>

static void assert_refused(const char *config, const char *part)
{
    char error[256] = "?", text[256], short_one[8];
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_check_config(config, error, sizeof error));
    assert_contains(error, part);
    assert_status(NULL, LATCHKEY_OK, latchkey_error_text(NULL, text, sizeof text));
    assert_string_equal(text, error);
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_check_config(config, NULL, 0));
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_check_config(config, short_one, sizeof short_one));
    assert_int_equal(strlen(short_one), 7);
    /* As open says it. */
    latchkey *lk;
    char opened[256];
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &lk, opened, sizeof opened));
    assert_string_equal(opened, error);
}

/* No process listens at port 1: it is not asked. */
static void test_what_is_wrong_is_named(void **state)
{
    (void)state;
    char error[256] = "?";
    assert_status(NULL, LATCHKEY_OK,
                  latchkey_check_config("redis://127.0.0.1:1/0?staleness_ms=500", error, sizeof error));
    assert_string_equal(error, "");
    assert_status(NULL, LATCHKEY_OK, latchkey_check_config("redis://no-such-host.invalid", NULL, 0));
    assert_status(NULL, LATCHKEY_OK, latchkey_check_config("unix:///no/such/socket", NULL, 0));
    assert_status(NULL, LATCHKEY_BAD_ARGUMENT, latchkey_check_config(NULL, error, sizeof error));
    assert_refused("http://x", "must start with redis://");
    assert_refused("redis://x?colour=red", "unknown option 'colour'");
    assert_refused("redis://x?l1_capacity=many", "l1_capacity");
    assert_refused("redis://x?staleness_ms=99", "staleness_ms");
    assert_refused("redis://x?limit=maybe", "limit");
    assert_refused("redis://x?renew_ms=5", "renew_ms");
    assert_refused("redis://x?prefix=a%20b", "prefix");
    assert_refused("redis://x:99999", "port");
    assert_refused("redis://x?ca_file=/tmp/x.pem", "only with rediss://");
    assert_refused("unix://relative.sock", "absolute");
}

static void test_files_are_read(void **state)
{
    (void)state;
    static const char *const options[] = {"password_file", "check_key_file", "seal_key_file"};
    char path[256], config[600];
    check_temp_path("file", path, sizeof path);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        snprintf(config, sizeof config, "redis://127.0.0.1:1?%s=/no/such/file", options[i]);
        assert_refused(config, options[i]);
        check_write_file(path, "", 0);
        snprintf(config, sizeof config, "redis://127.0.0.1:1?%s=%s", options[i], path);
        assert_refused(config, options[i]);
    }
    check_write_file(path, "secret-of-the-house\n", 20);
    snprintf(config, sizeof config, "redis://127.0.0.1:1?password_file=%s", path);
    assert_status(NULL, LATCHKEY_OK, latchkey_check_config(config, NULL, 0));
    snprintf(config, sizeof config, "redis://127.0.0.1:1?check_key_file=%s", path);
    char error[256];
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_check_config(config, error, sizeof error));
    assert_contains(error, "line 1");
    assert_lacks(error, "secret-of-the-house");
    static const char *const tls[] = {"ca_file", "cert_file", "key_file"};
    for (size_t i = 0; i < sizeof tls / sizeof *tls; i++) {
        snprintf(config, sizeof config, "rediss://127.0.0.1:1?%s=%s%s%s", tls[i], path,
                 i == 1   ? "&key_file="
                 : i == 2 ? "&cert_file="
                          : "",
                 i ? path : "");
        assert_refused(config, i == 0 ? "ca_file" : "_file");
    }
    snprintf(config, sizeof config, "rediss://127.0.0.1:1?cert_file=%s", path);
    assert_refused(config, "cert_file is given without key_file");
}

static void reason(latchkey *lk, char text[256]) { assert_status(lk, LATCHKEY_OK, latchkey_error_text(lk, text, 256)); }

static void test_why_the_last_call_failed(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "deadline_ms=300&max_sessions=1&limit=deny"), *none;
    char token[LATCHKEY_TOKEN_SIZE], text[256], error[256], small[5];
    latchkey_draft draft = {.size = sizeof draft, .user_id = 1, .role = "a role that is far too long"};
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create(lk, &draft, token));
    reason(lk, text);
    assert_contains(text, "draft.role: at most 16 bytes");
    assert_status(lk, LATCHKEY_OK, latchkey_error_text(lk, small, sizeof small));
    assert_string_equal(small, "draf");
    draft.role = NULL;
    wait_for(latchkey_create(lk, &draft, token) == LATCHKEY_OK);
    char other[LATCHKEY_TOKEN_SIZE];
    assert_status(lk, LATCHKEY_LIMIT, latchkey_create(lk, &draft, other));
    reason(lk, text);
    assert_contains(text, "max_sessions");
    draft = (latchkey_draft){.size = sizeof draft, .user_id = 2, .generation = 99};
    assert_status(lk, LATCHKEY_REFUSED, latchkey_create(lk, &draft, other));
    reason(lk, text);
    assert_contains(text, "generation");
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_touch(lk, "x", 1)); /* the status says it all */
    reason(lk, text);
    assert_string_equal(text, "");
    /* Nor is it the text of a call before, or of another function. */
    draft = (latchkey_draft){.size = sizeof draft, .user_id = 2, .role = "a role that is far too long"};
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create(lk, &draft, other));
    draft.role = NULL;
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_create_with(lk, &draft, "x", 1));
    reason(lk, text);
    assert_string_equal(text, "");
    draft.role = "a role that is far too long";
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create(lk, &draft, other));
    size_t needed;
    assert_status(lk, LATCHKEY_NO_MEMORY, latchkey_metrics(lk, small, sizeof small, &needed));
    reason(lk, text);
    assert_string_equal(text, "");
    for (int i = 0; i < 17; i++) {
        snprintf(text, sizeof text, "cart.%d", i);
        assert_status(lk, i < 16 ? LATCHKEY_OK : LATCHKEY_BAD_ARGUMENT,
                      latchkey_section_put(lk, token, strlen(token), text, "x", 1));
    }
    reason(lk, text);
    assert_contains(text, "16 sections");
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_error_text(lk, NULL, 5));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_error_text(lk, text, 0));
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open("redis://x?colour=red", &none, error, sizeof error));
    reason(NULL, text);
    assert_string_equal(text, error);
}

static void test_why_redis_gave_no_answer(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "deadline_ms=500"), *other = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], renewed[LATCHKEY_TOKEN_SIZE], text[256], key[128];
    make_session(other, 1, token);
    redis_freeze(server);
    assert_status(lk, LATCHKEY_UNAVAILABLE, touch(lk, token));
    reason(lk, text);
    assert_contains(text, "Redis");
    reason(other, text); /* another handle's call */
    assert_string_equal(text, "");
    assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, token));
    reason(lk, text);
    assert_true(strlen(text) > 10);
    redis_thaw(server);
    assert_status(other, LATCHKEY_OK, latchkey_rotate(other, token, strlen(token), 60000, renewed));
    assert_status(other, LATCHKEY_REFUSED, latchkey_rotate(other, token, strlen(token), 60000, renewed));
    reason(other, text);
    assert_contains(text, "exchanged already");
    redis_do(server, "HSET %s v damaged", session_key(server, token, key));
    assert_status(other, LATCHKEY_CORRUPT, load(other, token));
    reason(other, text);
    assert_contains(text, "record");
    assert_lacks(text, token);
}

static void fail_once(crew_member *m)
{
    char text[256], token[LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = {.size = sizeof draft, .role = "a role that is far too long"};
    int *wrong = m->shared;
    for (int i = 0; i < 200; i++) {
        if (m->index) latchkey_create(NULL, NULL, token);
        else latchkey_create(NULL, &draft, NULL);
        latchkey_touch(NULL, NULL, 0);
        if (m->index) latchkey_rotate(NULL, token, 43, 5, NULL);
        latchkey_error_text(NULL, text, sizeof text);
        if (strncmp(text, m->index ? "rotate:" : "the handle", 7)) *wrong = 1;
    }
}

static void test_each_thread_has_its_own(void **state)
{
    (void)state;
    int wrong = 0;
    crew_run(2, fail_once, &wrong);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_wrong_is_named),   TEST(test_files_are_read),          TEST(test_why_the_last_call_failed),
        TEST(test_why_redis_gave_no_answer), TEST(test_each_thread_has_its_own),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

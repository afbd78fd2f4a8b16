/* SPDX-License-Identifier: MIT
 *
 * Callers' mistakes: NULL and values out of range are BAD_ARGUMENT, outputs are zeroed, nothing crashes.
 */
#include "test_handle.h"
#include "logbook.h"

#include <string.h>

enum { LENGTH = LATCHKEY_TOKEN_LENGTH };

static void test_NULL_arguments_are_BAD_ARGUMENT(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *out = (latchkey *)(uintptr_t)1;
    char token[LATCHKEY_TOKEN_SIZE], text[64], error[64];
    latchkey_draft draft = {.size = sizeof draft};
    latchkey_entry entry;
    latchkey_record *record;
    latchkey_stats stats;
    const latchkey_field field = {"note", "x", 1};
    uint8_t hash[32];
    size_t size;
    make_session(lk, 1, token);

    assert_status(NULL, LATCHKEY_BAD_ARGUMENT, latchkey_open(NULL, &out, error, sizeof error));
    assert_null(out);
    assert_status(NULL, LATCHKEY_BAD_ARGUMENT, latchkey_open("redis://127.0.0.1", NULL, error, sizeof error));
    assert_status(NULL, LATCHKEY_BAD_ARGUMENT, latchkey_open(NULL, NULL, NULL, 0));
    latchkey_close(NULL);

    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create(NULL, &draft, text));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create(lk, NULL, text));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create(lk, &draft, NULL));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_validate(NULL, token, LENGTH, &entry));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_validate(lk, NULL, LENGTH, &entry));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_validate(lk, token, LENGTH, NULL));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_try_validate(NULL, token, LENGTH, &entry));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_try_validate(lk, NULL, LENGTH, &entry));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_try_validate(lk, token, LENGTH, NULL));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_touch(NULL, token, LENGTH));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_touch(lk, NULL, LENGTH));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_revoke(NULL, token, LENGTH));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_revoke(lk, NULL, LENGTH));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_load(NULL, token, LENGTH, &record));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_load(lk, NULL, LENGTH, &record));
    assert_null(record);
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_load(lk, token, LENGTH, NULL));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_set_fields(NULL, token, LENGTH, &field, 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_set_fields(lk, NULL, LENGTH, &field, 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_set_fields(lk, token, LENGTH, NULL, 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_prewarm(NULL, 1, &size));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_stats_read(NULL, &stats, sizeof stats));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_stats_read(lk, NULL, sizeof stats));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_metrics(NULL, text, sizeof text, &size));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_metrics(lk, NULL, 10, &size));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_metrics(lk, text, sizeof text, NULL));

    assert_status(NULL, LATCHKEY_BAD_ARGUMENT, latchkey_key_hash(NULL, 1, hash));
    assert_status(NULL, LATCHKEY_BAD_ARGUMENT, latchkey_key_hash(&field, 1, NULL));
    assert_status(NULL, LATCHKEY_BAD_ARGUMENT, latchkey_check_keys(NULL, &field, 1));
    memset(&entry, 0, sizeof entry);
    assert_status(NULL, LATCHKEY_BAD_ARGUMENT, latchkey_check_keys(&entry, NULL, 1));

    assert_null(latchkey_record_entry(NULL));
    size = 7;
    assert_null(latchkey_record_field(NULL, "note", &size));
    assert_int_equal(size, 0);
    assert_null(latchkey_record_field(NULL, NULL, NULL));
    latchkey_record_free(NULL);
    assert_status(lk, LATCHKEY_OK, latchkey_load(lk, token, LENGTH, &record));
    assert_null(latchkey_record_field(record, NULL, &size));
    assert_null(latchkey_record_field(record, "", &size));
    assert_null(latchkey_record_field(record, "v", &size)); /* the record itself is no field */
    assert_null(latchkey_record_field(record, "x", &size));
    latchkey_record_free(record);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
}

/* Each by its name and with what is allowed, once in a while however often the mistake is made. */
static void test_the_log_names_the_argument(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], text[LATCHKEY_TOKEN_SIZE];
    const latchkey_draft good = {.size = sizeof good, .user_id = 1};
    const latchkey_access access = {.size = sizeof access}, sizeless = {.authenticated = 1};
    latchkey_entry entry;
    make_session(lk, 1, token);
    logbook_open();
    for (int i = 0; i < 3; i++) {
        latchkey_draft bad[6];
        for (size_t k = 0; k < 6; k++) bad[k] = good;
        bad[0].size = 8;
        bad[1].role = "seventeen bytes!!";
        bad[2].flags = 0x10000;
        bad[3].idle_ms = -1;
        bad[4].lifetime_ms = INT64_MAX;
        bad[5].field_count = 257;
        for (size_t k = 0; k < 6; k++) assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create(lk, &bad[k], text));
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_validate(lk, NULL, LENGTH, &entry));
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_rotate(lk, token, LENGTH, -1, text));
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_set_access(lk, token, LENGTH, &access));
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_set_access(lk, token, LENGTH, &sizeless));
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_section_put(lk, token, LENGTH, "?", "x", 1));
    }
    static const char *const said[] = {"draft.size: sizeof(latchkey_draft) is expected",
                                       "draft.role: at most 16 bytes",
                                       "draft.flags: ",
                                       "draft.idle_ms: 0 to 315360000000",
                                       "draft.lifetime_ms: 0 to 315360000000",
                                       "fields: at most 256",
                                       "validate: the handle or token is NULL",
                                       "rotate: grace_ms: 0 to 3600000",
                                       "access: nothing in it",
                                       "access: NULL, or access.size is wrong",
                                       "section: 2 to 64 characters"};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        char line[128];
        snprintf(line, sizeof line, "%d argument: %s", LATCHKEY_LOG_INFO, said[i]);
        if (!logbook_has(line)) fail_msg("not said: %s", line);
    }
    logbook_close();
}

static void test_bad_drafts_are_BAD_ARGUMENT(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    const latchkey_field field = {"note", NULL, 3};
    const latchkey_draft good = {.size = sizeof good, .user_id = 1};
    latchkey_draft bad[12];
    for (size_t i = 0; i < 12; i++) bad[i] = good;
    bad[0].size = 0;
    bad[1].size = 8;
    bad[2].role = "seventeen bytes!!";
    bad[3].flags = 0x10000;
    bad[4].flags = 0xffffffff;
    bad[5].idle_ms = -1;
    bad[6].lifetime_ms = -1;
    bad[7].idle_ms = INT64_MIN;
    bad[8].lifetime_ms = INT64_MAX;
    bad[9].idle_ms = INT64_MAX;
    bad[10].field_count = 1; /* without fields */
    bad[11].fields = &field; /* without data */
    bad[11].field_count = 1;
    for (size_t i = 0; i < 12; i++) {
        memset(token, 'x', sizeof token);
        int status = latchkey_create(lk, &bad[i], token);
        if (status != LATCHKEY_BAD_ARGUMENT) fail_msg("draft %zu: %s", i, latchkey_status_text(status));
        assert_int_equal(token[0], 0);
    }
    assert_int_equal(redis_count_keys(server, "lk:*:s:*"), 0);
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &good, token));
}

static void test_failures_zero_their_outputs(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_entry entry;
    static const latchkey_entry zero;
    latchkey_record *record = (latchkey_record *)(uintptr_t)1;
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    memset(&entry, 0xee, sizeof entry);
    assert_status(lk, LATCHKEY_NOT_FOUND, latchkey_validate(lk, token, LENGTH, &entry));
    assert_memory_equal(&entry, &zero, sizeof entry);
    memset(&entry, 0xee, sizeof entry);
    assert_status_in(lk, latchkey_try_validate(lk, token, LENGTH, &entry), LATCHKEY_NOT_FOUND, LATCHKEY_AGAIN);
    assert_memory_equal(&entry, &zero, sizeof entry);
    assert_status(lk, LATCHKEY_NOT_FOUND, latchkey_load(lk, token, LENGTH, &record));
    assert_null(record);
    latchkey_session_info info = {.current = 1};
    size_t total = 1;
    int level = 1;
    char text[2] = "x";
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_sessions(NULL, 1, NULL, 0, &info, 1, &total));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_log_read(NULL, &level, text, sizeof text));
    assert_true(info.current == 0 && total == 0 && level == 0 && text[0] == 0);
}

static void test_set_fields_of_nothing(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    /* Nothing to do: OK, or a mistake of the caller's; never anything else. */
    assert_status_in(lk, latchkey_set_fields(lk, token, LENGTH, NULL, 0), LATCHKEY_OK, LATCHKEY_BAD_ARGUMENT);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
}

static void test_every_status_has_a_text(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *name;
    } known[] = {{LATCHKEY_OK, "OK"},
                 {LATCHKEY_NOT_FOUND, "NOT_FOUND"},
                 {LATCHKEY_EXPIRED, "EXPIRED"},
                 {LATCHKEY_MALFORMED, "MALFORMED"},
                 {LATCHKEY_LIMIT, "LIMIT"},
                 {LATCHKEY_REFUSED, "REFUSED"},
                 {LATCHKEY_BAD_ARGUMENT, "BAD_ARGUMENT"},
                 {LATCHKEY_NO_MEMORY, "NO_MEMORY"},
                 {LATCHKEY_UNAVAILABLE, "UNAVAILABLE"},
                 {LATCHKEY_CORRUPT, "CORRUPT"},
                 {LATCHKEY_PENDING, "PENDING"},
                 {LATCHKEY_CONFIG, "CONFIG"},
                 {LATCHKEY_FORKED, "FORKED"},
                 {LATCHKEY_AGAIN, "AGAIN"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const char *text = latchkey_status_text(known[i].status);
        assert_non_null(text);
        if (strncmp(text, known[i].name, strlen(known[i].name)) || text[strlen(known[i].name)] != ':')
            fail_msg("%d: '%s'", known[i].status, text);
    }
    /* They stand behind the name of any call: of a logout, a change of fields. */
    assert_null(strstr(latchkey_status_text(LATCHKEY_OK), "session is valid"));
    assert_null(strstr(latchkey_status_text(LATCHKEY_REFUSED), "login"));
    assert_null(strstr(latchkey_status_text(LATCHKEY_CORRUPT), "record of this session"));
    const int unknown[] = {6, 100, -9, -100, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        const char *text = latchkey_status_text(unknown[i]);
        assert_non_null(text);
        assert_true(text[0] != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_log_names_the_argument),  TEST(test_NULL_arguments_are_BAD_ARGUMENT),
        TEST(test_bad_drafts_are_BAD_ARGUMENT), TEST(test_failures_zero_their_outputs),
        TEST(test_set_fields_of_nothing),       TEST(test_every_status_has_a_text),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

/* SPDX-License-Identifier: MIT
 *
 * Every constant is also a function, for bindings; here the two are compared. And the layout that is frozen.
 */
#include "check.h"

#include <stdio.h>
#include <string.h>

static void test_constants_equal_their_functions(void **state)
{
    (void)state;
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", LATCHKEY_VERSION_MAJOR, LATCHKEY_VERSION_MINOR,
             LATCHKEY_VERSION_PATCH);
    assert_string_equal(latchkey_version(), version);
    assert_int_equal(latchkey_token_size(), LATCHKEY_TOKEN_SIZE);
    assert_int_equal(latchkey_token_size(), LATCHKEY_TOKEN_LENGTH + 1);
    assert_int_equal(latchkey_entry_size(), LATCHKEY_ENTRY_SIZE);
    assert_int_equal(latchkey_entry_size(), sizeof(latchkey_entry));
    assert_int_equal(latchkey_stats_size(), sizeof(latchkey_stats));
    assert_int_equal(latchkey_population_size(), sizeof(latchkey_population));
    assert_int_equal(latchkey_draft_size(), sizeof(latchkey_draft));
    assert_int_equal(latchkey_section_size_max(), LATCHKEY_SECTION_SIZE_MAX);
    assert_int_equal(latchkey_access_size(), sizeof(latchkey_access));
    assert_int_equal(latchkey_session_info_size(), sizeof(latchkey_session_info));
    assert_int_equal(latchkey_sessions_max(), LATCHKEY_SESSIONS_MAX);
    assert_int_equal(latchkey_answer_size(), sizeof(latchkey_answer));
    assert_int_equal(latchkey_request_size(), sizeof(latchkey_request));
    assert_int_equal(latchkey_result_size(), sizeof(latchkey_result));
    assert_int_equal(latchkey_field_size(), sizeof(latchkey_field));
    assert_int_equal(latchkey_change_size(), sizeof(latchkey_change));
    assert_int_equal(latchkey_device_count_size(), sizeof(latchkey_device_count));
    assert_int_equal(latchkey_sample_max(), LATCHKEY_SAMPLE_MAX);
    assert_int_equal(latchkey_sample_devices(), LATCHKEY_SAMPLE_DEVICES);
    assert_int_equal(latchkey_spans(), LATCHKEY_SPANS);
    const int64_t spans[LATCHKEY_SPANS] = LATCHKEY_SPANS_MS;
    for (size_t i = 0; i < LATCHKEY_SPANS; i++) assert_true(latchkey_span_ms(i) == spans[i]);
    assert_int_equal(latchkey_span_ms(LATCHKEY_SPANS), 0);
    assert_int_equal(latchkey_flags_yours(), LATCHKEY_FLAGS_YOURS);
    assert_int_equal(latchkey_flag_stale(), LATCHKEY_FLAG_STALE);
    assert_int_equal(latchkey_flag_renew(), LATCHKEY_FLAG_RENEW);
    assert_int_equal(LATCHKEY_FLAGS_YOURS & (LATCHKEY_FLAG_STALE | LATCHKEY_FLAG_RENEW), 0);
}

static void test_statuses_keep_their_numbers(void **state)
{
    (void)state;
    const int statuses[] = {LATCHKEY_OK,          LATCHKEY_NOT_FOUND, LATCHKEY_EXPIRED,      LATCHKEY_MALFORMED,
                            LATCHKEY_LIMIT,       LATCHKEY_REFUSED,   LATCHKEY_BAD_ARGUMENT, LATCHKEY_NO_MEMORY,
                            LATCHKEY_UNAVAILABLE, LATCHKEY_CORRUPT,   LATCHKEY_PENDING,      LATCHKEY_CONFIG,
                            LATCHKEY_FORKED,      LATCHKEY_AGAIN};
    const int numbers[] = {0, 1, 2, 3, 4, 5, -1, -2, -3, -4, -5, -6, -7, -8};
    const enum latchkey_status named[] = {
        LATCHKEY_STATUS_OK,          LATCHKEY_STATUS_NOT_FOUND, LATCHKEY_STATUS_EXPIRED,      LATCHKEY_STATUS_MALFORMED,
        LATCHKEY_STATUS_LIMIT,       LATCHKEY_STATUS_REFUSED,   LATCHKEY_STATUS_BAD_ARGUMENT, LATCHKEY_STATUS_NO_MEMORY,
        LATCHKEY_STATUS_UNAVAILABLE, LATCHKEY_STATUS_CORRUPT,   LATCHKEY_STATUS_PENDING,      LATCHKEY_STATUS_CONFIG,
        LATCHKEY_STATUS_FORKED,      LATCHKEY_STATUS_AGAIN};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        assert_int_equal(statuses[i], numbers[i]);
        assert_int_equal(named[i], numbers[i]);
    }
}

static void test_entry_layout_is_frozen(void **state)
{
    (void)state;
    assert_int_equal(offsetof(latchkey_entry, user_id), 0);
    assert_int_equal(offsetof(latchkey_entry, role), 8);
    assert_int_equal(offsetof(latchkey_entry, expires_at_ms), 24);
    assert_int_equal(offsetof(latchkey_entry, permissions_hash), 32);
    assert_int_equal(offsetof(latchkey_entry, pq_key_hash), 64);
    assert_int_equal(offsetof(latchkey_entry, created_at_ms), 96);
    assert_int_equal(offsetof(latchkey_entry, auth_at_ms), 104);
    assert_int_equal(offsetof(latchkey_entry, device), 112);
    assert_int_equal(offsetof(latchkey_entry, flags), 116);
    assert_int_equal(sizeof(latchkey_entry), 120);
}

static void test_session_info_layout_is_frozen(void **state)
{
    (void)state;
    assert_int_equal(offsetof(latchkey_session_info, selector), 0);
    assert_int_equal(offsetof(latchkey_session_info, created_at_ms), 24);
    assert_int_equal(offsetof(latchkey_session_info, auth_at_ms), 32);
    assert_int_equal(offsetof(latchkey_session_info, active_at_ms), 40);
    assert_int_equal(offsetof(latchkey_session_info, idle_expires_at_ms), 48);
    assert_int_equal(offsetof(latchkey_session_info, expires_at_ms), 56);
    assert_int_equal(offsetof(latchkey_session_info, device), 64);
    assert_int_equal(offsetof(latchkey_session_info, flags), 68);
    assert_int_equal(offsetof(latchkey_session_info, current), 72);
    assert_int_equal(offsetof(latchkey_session_info, reserved), 76);
    assert_int_equal(sizeof(latchkey_session_info), 80);
}

/* They grow at the end alone: what stands in them now stays where it is. */
static void test_requests_and_results_keep_their_places(void **state)
{
    (void)state;
    const enum latchkey_kind kinds[] = {LATCHKEY_VALIDATE,      LATCHKEY_CREATE,     LATCHKEY_REVOKE,
                                        LATCHKEY_ROTATE,        LATCHKEY_TOUCH,      LATCHKEY_GET_FIELDS,
                                        LATCHKEY_CHANGE_FIELDS, LATCHKEY_SET_FIELDS, LATCHKEY_LOAD,
                                        LATCHKEY_SET_ACCESS,    LATCHKEY_REVOKE_USER};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) assert_int_equal(kinds[i], i);
    const size_t request[] = {offsetof(latchkey_request, size),      offsetof(latchkey_request, kind) + 4,
                              offsetof(latchkey_request, tag),       offsetof(latchkey_request, token),
                              offsetof(latchkey_request, token_len), offsetof(latchkey_request, max_age_ms),
                              offsetof(latchkey_request, grace_ms),  offsetof(latchkey_request, draft),
                              offsetof(latchkey_request, names),     offsetof(latchkey_request, fields),
                              offsetof(latchkey_request, changes),   offsetof(latchkey_request, count),
                              offsetof(latchkey_request, access),    offsetof(latchkey_request, user_id)};
    const size_t at[] = {0, 12, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) assert_int_equal(request[i], at[i]);
    assert_int_equal(offsetof(latchkey_request, fresh), 12);
    assert_int_equal(offsetof(latchkey_result, tag), 0);
    assert_int_equal(offsetof(latchkey_result, kind), 8);
    assert_int_equal(offsetof(latchkey_result, status), 12);
    assert_int_equal(offsetof(latchkey_result, entry), 16);
    assert_int_equal(offsetof(latchkey_result, token), 136);
    assert_int_equal(offsetof(latchkey_result, count), 184);
    assert_int_equal(offsetof(latchkey_result, record), 192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constants_equal_their_functions),
        cmocka_unit_test(test_statuses_keep_their_numbers),
        cmocka_unit_test(test_entry_layout_is_frozen),
        cmocka_unit_test(test_session_info_layout_is_frozen),
        cmocka_unit_test(test_requests_and_results_keep_their_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

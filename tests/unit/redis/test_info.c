/* SPDX-License-Identifier: MIT
 *
 * The text of INFO: a line is found by its whole name, and what does not fit is not there.
 */
#include "redis/info.h"
#include "latchkey.h"
#include "unit.h"

#include <stdio.h>

static void test_names_are_whole_and_at_the_beginning_of_a_line(void **state)
{
    (void)state;
    char value[16];
    const char *text =
        "xmaxmemory:1\r\nmaxmemory_policy:2\r\nmaxmemor:3\r\n maxmemory:4\r\n#maxmemory:5\r\nmaxmemory:6";
    assert_true(lk_info_value(text, "maxmemory", value, sizeof value));
    assert_string_equal(value, "6");
    assert_true(lk_info_value("a:\r\nb:x y:z\r\n", "a", value, sizeof value));
    assert_string_equal(value, "");
    assert_true(lk_info_value("a:\r\nb:x y:z\r\n", "b", value, sizeof value));
    assert_string_equal(value, "x y:z");
    assert_false(lk_info_value("a:1", "b", value, sizeof value));
    assert_false(lk_info_value("a", "a", value, sizeof value));
    assert_false(lk_info_value("a\n:1", "a", value, sizeof value));
    assert_false(lk_info_value("a:0123456789abcdef\n", "a", value, sizeof value)); /* one too many */
    assert_true(lk_info_value("a:0123456789abcde\n", "a", value, sizeof value));
}

static int replication_of(lk_reply reply, uint64_t *id)
{
    char text[160] = "";
    int status = lk_info_replication(&reply, id, text, sizeof text);
    if (status) assert_true(*text);
    return status;
}

static int replication_of_text(const char *info, uint64_t *id)
{
    char copy[300];
    size_t size = (size_t)snprintf(copy, sizeof copy, "%s", info);
    return replication_of((lk_reply){.type = LK_REPLY_STRING, .text = copy, .size = size}, id);
}

static void test_a_primary_and_its_history(void **state)
{
    (void)state;
    uint64_t one = 0, other = 0;
    assert_int_equal(replication_of_text("role:master\r\nmaster_replid:8c1\r\n", &one), LATCHKEY_OK);
    assert_int_equal(replication_of_text("role:master\r\nmaster_replid:8c2\r\n", &other), LATCHKEY_OK);
    assert_true(one != other);
    const char *bad[] = {"",
                         "role:master",
                         "role:master\r\nmaster_replid:\r\n",
                         "master_replid:8c1",
                         "role:\nmaster_replid:1",
                         "role:slave\r\nmaster_replid:8c1\r\n"};
    for (size_t i = 0; i < UNIT_COUNT(bad); i++) assert_int_equal(replication_of_text(bad[i], &other), LATCHKEY_CONFIG);
    assert_int_equal(replication_of((lk_reply){.type = LK_REPLY_INTEGER}, &other), LATCHKEY_CONFIG);
    assert_int_equal(replication_of((lk_reply){.type = LK_REPLY_NIL}, &other), LATCHKEY_CONFIG);
    assert_int_equal(replication_of((lk_reply){.type = LK_REPLY_ARRAY}, &other), LATCHKEY_CONFIG);
    char loading[] = "LOADING x";
    assert_int_equal(replication_of((lk_reply){.type = LK_REPLY_ERROR, .text = loading, .size = 9}, &other),
                     LATCHKEY_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_whole_and_at_the_beginning_of_a_line),
        cmocka_unit_test(test_a_primary_and_its_history),
    };
    return cmocka_run_group_tests_name("info", tests, unit_setup, NULL);
}

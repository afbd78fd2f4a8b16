/* SPDX-License-Identifier: MIT
 *
 * The lines of events, to the letter; and that nothing which lies in Redis can look like one.
 */
#include "observe/events.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

#define ONE "AAAAAAAAAAAAAAAAAAAA"
#define TWO "bbbb-bbbb_bbbbbbbbb2"

static char said[4096];

static void keep(void *context, int level, const char *text)
{
    (void)context;
    assert_int_equal(level, LATCHKEY_LOG_INFO);
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%s\n", text);
}

static const lk_config on = {.events = 1}, off = {.events = 0};

static void say_all(const lk_config *c)
{
    said[0] = 0;
    lk_event_created(c, ONE "the rest of a token", UINT64_MAX, 3);
    lk_event_imported(c, TWO, 1, UINT32_MAX);
    lk_event_refused(c, 7, "limit");
    lk_event_changed(c, ONE, "keys");
    lk_event_rotated(c, ONE, TWO, "OK  : 17 ", 30000);
    lk_event_rotated(c, ONE, TWO, "OK " ONE, 0);
    lk_event_revoked(c, ONE " " TWO " : 18446744073709551615 " TWO, "token");
    lk_event_revoked(c, ONE " " TWO " : 5 " ONE " " TWO, "user");
    lk_event_revoked(c, ONE, "token"); /* it was not logged */
    lk_event_reused(c, ONE, ONE " " TWO " : 9 " TWO);
    lk_event_evicted(c, ONE " " TWO, 8);
    lk_event_changed_all(c, ONE " " TWO " : 9 " TWO " " ONE, "access");
    lk_event_everyone(c);
}

static void test_every_line(void **state)
{
    (void)state;
    latchkey_set_log(keep, NULL);
    say_all(&off);
    assert_string_equal(said, "");
    say_all(&on);
    assert_string_equal(said, "event: created selector=" ONE " user=18446744073709551615 device=3\n"
                              "event: imported selector=" TWO " user=1 device=4294967295\n"
                              "event: refused user=7 why=limit\n"
                              "event: changed selector=" ONE " what=keys\n"
                              "event: rotated selector=" ONE " new=" TWO " user=17 grace_ms=30000\n"
                              "event: rotated selector=" ONE " new=" TWO " user=? grace_ms=0\n"
                              "event: revoked selector=" TWO " user=18446744073709551615 by=token\n"
                              "event: revoked selector=" ONE " user=5 by=user\n"
                              "event: revoked selector=" TWO " user=5 by=user\n"
                              "event: reuse selector=" ONE " user=9\n"
                              "event: revoked selector=" TWO " user=9 by=reuse\n"
                              "event: revoked selector=" ONE " user=8 by=limit\n"
                              "event: revoked selector=" TWO " user=8 by=limit\n"
                              "event: changed selector=" TWO " what=access\n"
                              "event: changed selector=" ONE " what=access\n"
                              "event: revoked selector=* user=* by=everyone\n");
    latchkey_set_log(NULL, NULL);
}

/* Members of indexes, and users, that other programs wrote. */
static void test_nothing_forges_a_line(void **state)
{
    (void)state;
    latchkey_set_log(keep, NULL);
    said[0] = 0;
    lk_event_revoked(&on, "x : 1=2 " ONE, "token");
    lk_event_revoked(&on, "x :  " ONE, "token");
    lk_event_revoked(&on, "x : - " ONE, "token");
    lk_event_revoked(&on, "x : 123456789012345678901 " ONE, "token");
    assert_string_equal(said, "event: revoked selector=" ONE " user=? by=token\n"
                              "event: revoked selector=" ONE " user=? by=token\n"
                              "event: revoked selector=" ONE " user=? by=token\n"
                              "event: revoked selector=" ONE " user=? by=token\n");
    said[0] = 0;
    lk_event_evicted(&on, "user=1=by=user=2=by= short AAAAAAAAAAAAAAAAAAA\n " ONE "A " ONE, 1);
    assert_string_equal(said, "event: revoked selector=? user=1 by=limit\n"
                              "event: revoked selector=? user=1 by=limit\n"
                              "event: revoked selector=" ONE " user=1 by=limit\n");
    unit_random r = unit_random_new(1);
    for (uint64_t i = unit_rounds(20000); i; i--) {
        static const char bytes[] = " :0123456789AAAAAA\n=-";
        char text[120];
        size_t size = unit_below(&r, sizeof text);
        for (size_t k = 0; k < size; k++) text[k] = bytes[unit_below(&r, sizeof bytes - 1)];
        text[size] = 0;
        said[0] = 0;
        lk_event_revoked(&on, text, "user");
        lk_event_rotated(&on, ONE, TWO, text, 1);
        lk_event_reused(&on, ONE, text);
        for (char *line = said; *line; line = strchr(line, '\n') + 1) {
            assert_memory_equal(line, "event: ", 7);
            assert_null(memchr(line + 7, ':', strcspn(line, "\n") - 7));
        }
    }
    latchkey_set_log(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_line),
        cmocka_unit_test(test_nothing_forges_a_line),
    };
    return cmocka_run_group_tests_name("event", tests, unit_setup, NULL);
}

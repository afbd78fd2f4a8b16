/* SPDX-License-Identifier: MIT
 *
 * Whom the sentinels name: more than half of those that are listed decide, and one that is wrong changes nothing.
 */
#include "l2/naming.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

enum { AGE_MS = 1000 };

static lk_said names(const char *host, int64_t asked_ms)
{
    lk_said said = {.what = LK_SAID_PRIMARY, .asked_ms = asked_ms, .primary = {.port = "6379"}};
    snprintf(said.primary.name, sizeof said.primary.name, "%s", host);
    return said;
}

static bool say(lk_naming *n, unsigned i, const char *host, int64_t at_ms)
{
    lk_said said = names(host, at_ms);
    return lk_naming_take(n, i, &said, at_ms, AGE_MS);
}

static void other(lk_naming *n, unsigned i, enum lk_said_what what, const char *why)
{
    lk_said said = {.what = what, .asked_ms = 10};
    snprintf(said.why, sizeof said.why, "%s", why);
    assert_false(lk_naming_take(n, i, &said, 10, AGE_MS));
}

static void test_more_than_half_of_those_listed(void **state)
{
    (void)state;
    for (unsigned listed = 1; listed <= LK_SENTINELS_MAX; listed++) {
        lk_naming n = {.listed = listed};
        for (unsigned i = 0; i < listed; i++) {
            bool news = say(&n, i, "a", 10);
            assert_int_equal(news, i == listed / 2);
            assert_int_equal(n.known, 2 * (i + 1) > listed);
        }
        assert_string_equal(n.primary.name, "a");
    }
}

static void test_a_minority_changes_nothing(void **state)
{
    (void)state;
    lk_naming n = {.listed = 3};
    for (unsigned i = 0; i < 3; i++) say(&n, i, "a", 10);
    assert_false(say(&n, 0, "b", 20));
    assert_string_equal(n.primary.name, "a");
    assert_true(lk_naming_vouched(&n, 10));
    assert_true(say(&n, 1, "b", 30));
    assert_string_equal(n.primary.name, "b");
    assert_false(say(&n, 2, "a", 40)); /* it is late */
    assert_string_equal(n.primary.name, "b");
    /* Another port is another server. */
    lk_said said = names("b", 50);
    snprintf(said.primary.port, sizeof said.primary.port, "6380");
    assert_false(lk_naming_take(&n, 0, &said, 50, AGE_MS));
    assert_true(lk_naming_take(&n, 1, &said, 50, AGE_MS));
    assert_string_equal(n.primary.port, "6380");
}

/* What was said long ago, by one that has been silent since, makes no majority with what is said now. */
static void test_old_answers_decide_nothing(void **state)
{
    (void)state;
    lk_naming n = {.listed = 3};
    say(&n, 0, "a", 10);
    say(&n, 1, "a", 10);
    say(&n, 2, "b", 10);
    assert_false(say(&n, 0, "b", 11 + AGE_MS));
    assert_true(say(&n, 2, "b", 12 + AGE_MS));
}

/* The lease: each of them must have been asked with the beat, or later. */
static void test_vouched_since(void **state)
{
    (void)state;
    lk_naming n = {.listed = 3};
    assert_false(lk_naming_vouched(&n, 0));
    for (unsigned i = 0; i < 3; i++) say(&n, i, "a", 10);
    assert_true(lk_naming_vouched(&n, 10));
    assert_false(lk_naming_vouched(&n, 11));
    say(&n, 0, "a", 11);
    assert_false(lk_naming_vouched(&n, 11));
    say(&n, 1, "b", 12);
    assert_false(lk_naming_vouched(&n, 11));
    say(&n, 2, "a", 11);
    assert_true(lk_naming_vouched(&n, 11));
    assert_int_equal(lk_naming_agreeing(&n, 11), 2);
}

static lk_config three_listed(void)
{
    lk_config config = {.sentinels = 3, .service = "mymaster"};
    for (unsigned i = 0; i < 3; i++) {
        snprintf(config.sentinel[i].name, sizeof config.sentinel[i].name, "h%u", i);
        snprintf(config.sentinel[i].port, sizeof config.sentinel[i].port, "26379");
    }
    return config;
}

static void test_why_none_is_known(void **state)
{
    (void)state;
    char text[160];
    lk_config config = three_listed();
    lk_naming n = {.listed = 3};
    other(&n, 1, LK_SAID_NOTHING, "refused");
    other(&n, 2, LK_SAID_NOTHING, "refused");
    say(&n, 0, "a", 10);
    assert_int_equal(lk_naming_trouble(&n, &config, text, sizeof text), LATCHKEY_UNAVAILABLE);
    assert_non_null(strstr(text, "1 of 3"));
    assert_non_null(strstr(text, "h2:26379: refused"));
    say(&n, 1, "b", 10);
    other(&n, 2, LK_SAID_UNKNOWN, "");
    assert_int_equal(lk_naming_trouble(&n, &config, text, sizeof text), LATCHKEY_UNAVAILABLE);
    assert_non_null(strstr(text, "do not agree"));
    other(&n, 1, LK_SAID_UNKNOWN, "");
    assert_int_equal(lk_naming_trouble(&n, &config, text, sizeof text), LATCHKEY_CONFIG);
    assert_non_null(strstr(text, "'mymaster'"));
    other(&n, 0, LK_SAID_REFUSED, "no");
    other(&n, 1, LK_SAID_REFUSED, "it wants a password");
    assert_int_equal(lk_naming_trouble(&n, &config, text, sizeof text), LATCHKEY_CONFIG);
    assert_non_null(strstr(text, "h1:26379: it wants a password"));
}

static void test_why_there_is_no_majority_now(void **state)
{
    (void)state;
    char text[160];
    lk_config config = three_listed();
    lk_naming n = {.listed = 3};
    for (unsigned i = 0; i < 3; i++) say(&n, i, "a", 10);
    lk_naming_doubt(&n, &config, 11, text, sizeof text);
    assert_non_null(strstr(text, "no lease (h0:26379: it has not answered for a while)"));
    say(&n, 0, "a", 11);
    other(&n, 1, LK_SAID_UNKNOWN, "");
    lk_naming_doubt(&n, &config, 11, text, sizeof text);
    assert_non_null(strstr(text, "(h1:26379: it knows no 'mymaster')"));
    other(&n, 1, LK_SAID_REFUSED, "it wants a password");
    lk_naming_doubt(&n, &config, 11, text, sizeof text);
    assert_non_null(strstr(text, "(h1:26379: it wants a password)"));
    say(&n, 1, "b", 11);
    lk_naming_doubt(&n, &config, 11, text, sizeof text);
    assert_non_null(strstr(text, "(h1:26379: it named b:6379)"));
}

static void test_one_that_stays_apart_is_said_once(void **state)
{
    (void)state;
    lk_naming n = {.listed = 3};
    for (unsigned i = 0; i < 3; i++) say(&n, i, i ? "a" : "b", 10);
    assert_int_equal(lk_naming_apart(&n, 1009, 1000), -1);
    say(&n, 0, "b", 1009);
    assert_int_equal(lk_naming_apart(&n, 1010, 1000), 0);
    say(&n, 0, "b", 1011);
    assert_int_equal(lk_naming_apart(&n, 9999, 1000), -1);
    say(&n, 0, "a", 10000); /* it came round, and left again */
    say(&n, 0, "b", 10001);
    assert_int_equal(lk_naming_apart(&n, 11000, 1000), -1);
    assert_int_equal(lk_naming_apart(&n, 11001, 1000), 0);
}

static void test_how_a_host_is_written(void **state)
{
    (void)state;
    char text[112];
    lk_host_text(&(lk_host){"h", "1"}, text, sizeof text);
    assert_string_equal(text, "h:1");
    lk_host_text(&(lk_host){"::1", "6379"}, text, sizeof text);
    assert_string_equal(text, "[::1]:6379");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_more_than_half_of_those_listed),
        cmocka_unit_test(test_a_minority_changes_nothing),
        cmocka_unit_test(test_old_answers_decide_nothing),
        cmocka_unit_test(test_vouched_since),
        cmocka_unit_test(test_why_none_is_known),
        cmocka_unit_test(test_why_there_is_no_majority_now),
        cmocka_unit_test(test_one_that_stays_apart_is_said_once),
        cmocka_unit_test(test_how_a_host_is_written),
    };
    return cmocka_run_group_tests_name("naming", tests, unit_setup, NULL);
}

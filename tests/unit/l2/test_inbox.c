/* SPDX-License-Identifier: MIT
 *
 * What other threads ask the link's thread to do, and when they wake it for that: a hit near its entry's end pays for waking a
 * thread only after a time of silence. All times are the test's.
 */
#include "l2/inbox.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { PATIENCE = 400, LONG = 60000, NOW = 1000000 };

static lk_counters counters;
static lk_inbox *inbox;
static int wake_fd;

static int setup(void **state)
{
    (void)state;
    wake_fd = eventfd(0, EFD_NONBLOCK);
    inbox = lk_inbox_open(&counters, wake_fd);
    return wake_fd < 0 || !inbox;
}

static int teardown(void **state)
{
    (void)state;
    lk_inbox_close(inbox);
    close(wake_fd);
    return 0;
}

static bool woken(void)
{
    uint64_t times = 0;
    return read(wake_fd, &times, sizeof times) == (ssize_t)sizeof times;
}

static void refresh(unsigned number, int64_t now_ms)
{
    char token[LATCHKEY_TOKEN_SIZE];
    snprintf(token, sizeof token, "%043u", number);
    lk_inbox_refresh(inbox, token, now_ms, PATIENCE);
}

/* The link takes what is there, and sleeps. */
static int64_t nap(int64_t now_ms)
{
    lk_refresh_item *item;
    while ((item = lk_inbox_take_refresh(inbox, now_ms))) lk_refresh_queue_done(item);
    return lk_inbox_nap(inbox, now_ms, LONG);
}

static void test_steady_use_wakes_nobody(void **state)
{
    (void)state;
    assert_int_equal(nap(NOW), LONG); /* nothing is asked for, so nothing is looked for */
    refresh(1, NOW);
    assert_true(woken()); /* it would have slept for a minute */
    unsigned wakes = 0;
    int64_t now = NOW;
    for (unsigned i = 2; i < 300; i++) { /* two a second, or so: two minutes and more */
        int64_t slept = nap(now);
        assert_in_range(slept, 1, PATIENCE);
        refresh(i, now);
        refresh(1000 + i, now + slept / 2);
        refresh(2000 + i, now + slept - 1);
        wakes += woken();
        now += slept;
    }
    assert_int_equal(wakes, 0);
}

/* After a time without any it sleeps as long as it likes; then the next one wakes it, once. */
static void test_silence_lets_it_sleep(void **state)
{
    (void)state;
    nap(NOW);
    refresh(1, NOW);
    assert_true(woken());
    assert_in_range(nap(NOW + LK_INBOX_LOOKS_MS - 1), 1, PATIENCE);
    assert_int_equal(nap(NOW + LK_INBOX_LOOKS_MS), LONG);
    refresh(2, NOW + LK_INBOX_LOOKS_MS + 1);
    assert_true(woken());
    refresh(3, NOW + LK_INBOX_LOOKS_MS + 2);
    assert_false(woken()); /* it is on its way */
}

/* One that has something to do sooner is left alone. */
static void test_a_short_sleep_stays_short(void **state)
{
    (void)state;
    assert_int_equal(lk_inbox_nap(inbox, NOW, 5), 5);
    refresh(1, NOW);
    assert_false(woken());
    assert_int_equal(lk_inbox_nap(inbox, NOW, 5), 5);
    assert_int_equal(lk_inbox_nap(inbox, NOW, -3), -3); /* it is due */
}

static void test_G_touches_are_bounded_and_the_first_wakes(void **state)
{
    (void)state;
    lk_pending_item item;
    lk_touch touch;
    bool proven;
    lk_inbox_touch(inbox, &(lk_touch){.partition = 3, .selector = "selector-of-20-char", .idle_ms = 7});
    assert_true(woken());
    for (int i = 0; i < 10000; i++) lk_inbox_touch(inbox, &(lk_touch){.partition = 4});
    assert_false(woken());
    assert_true(lk_inbox_take(inbox, &item, &touch, &proven));
    assert_int_equal(item.partition, 3);
    assert_int_equal(touch.idle_ms, 7);
    assert_false(proven);
    size_t left = 0;
    while (lk_inbox_take(inbox, &item, &touch, &proven)) left++;
    assert_in_range(left, 1, 4095);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_steady_use_wakes_nobody),
        TEST(test_silence_lets_it_sleep),
        TEST(test_a_short_sleep_stays_short),
        TEST(test_G_touches_are_bounded_and_the_first_wakes),
    };
    return cmocka_run_group_tests_name("inbox", tests, unit_setup, NULL);
}

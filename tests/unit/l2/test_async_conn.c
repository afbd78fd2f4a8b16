/* SPDX-License-Identifier: MIT
 *
 * A channel: it never waits, its descriptor is readable when there is something to go on with, and whatever the other side
 * does it is UP or it is lost and says so once. (Guarantees G and I.)
 *
 * The other side is a socket of the test's own, in the same thread: so every step is the test's, and the clock too.
 */
#include "l2/async_conn.h"

#include "base/clock.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static const char hello[] = "$62\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:abcdef01\r\n\r\n"
                            "$33\r\nrole:master\r\nmaster_replid:112233\r\n";

static lk_config config;
static lk_counters counters;
static lk_pool *pool;
static lk_async_desk desk;
static lk_async_conn channel;
static int listener = -1, peer = -1;
static int64_t now_ms;

/* --------------------------------------------------------------------------------------------------- kit -- */

static void address_of(lk_addresses *to, unsigned i, const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    memcpy(&to->address[i].at, &at, sizeof at);
    to->address[i].size = sizeof at;
    if (to->count < i + 1) to->count = i + 1;
}

static void listen_at(const char *path)
{
    lk_addresses a = {0};
    address_of(&a, 0, path);
    unlink(path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listener, (const void *)&a.address[0].at, a.address[0].size), 0);
    assert_int_equal(listen(listener, 5), 0);
}

static char here[90], nowhere[100];

static int setup(void **state)
{
    (void)state;
    char error[160];
    lk_addresses addresses = {0};
    assert_int_equal(lk_config_parse("unix:///x?deadline_ms=250", &config, error, sizeof error), 0);
    snprintf(here, sizeof here, "%s", unit_file("socket", "", 0));
    snprintf(nowhere, sizeof nowhere, "%s-not", here);
    listen_at(here);
    pool = lk_pool_open(&config, &counters);
    address_of(&addresses, 0, here);
    lk_pool_addresses(pool, &addresses);
    now_ms = lk_now_ms() + 3600 * 1000; /* the test moves it: no timer that is set by it fires by itself */
    if (!pool || !lk_async_desk_open(&desk)) return 1;
    lk_async_conn_open(&channel, &desk, &config, pool);
    return 0;
}

static void hang_up(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static int teardown(void **state)
{
    (void)state;
    lk_async_conn_close(&channel);
    lk_async_desk_close(&desk);
    lk_pool_close(pool);
    hang_up(&peer);
    hang_up(&listener);
    unlink(here);
    return 0;
}

static bool readable(void)
{
    struct pollfd p = {.fd = desk.epoll_fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void accept_it(void)
{
    hang_up(&peer);
    peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(peer >= 0);
}

static void say(const char *bytes, size_t size) { assert_int_equal(send(peer, bytes, size, MSG_NOSIGNAL), size); }

/* How many commands have come since the last time. */
static unsigned heard(void)
{
    char bytes[65536];
    unsigned commands = 0;
    for (ssize_t size; (size = read(peer, bytes, sizeof bytes)) > 0;)
        for (ssize_t i = 0; i < size; i++) commands += bytes[i] == '*';
    return commands;
}

static void begin(void)
{
    assert_true(lk_async_conn_wanted(&channel, now_ms));
    assert_int_equal(channel.state, LK_ASYNC_CONN_CONNECTING);
    assert_true(readable());
    assert_true(lk_async_conn_drive(&channel, now_ms));
    assert_int_equal(channel.state, LK_ASYNC_CONN_HANDSHAKE);
    accept_it();
    assert_int_equal(heard(), 2);
    assert_false(readable());
}

static void go_up(void)
{
    begin();
    say(hello, sizeof hello - 1);
    assert_true(readable());
    assert_true(lk_async_conn_drive(&channel, now_ms));
    assert_int_equal(channel.state, LK_ASYNC_CONN_UP);
    assert_false(readable());
}

static bool ask(uint32_t tag) { return lk_conn_send(&channel.conn, tag, (const lk_span[]){{"GET", 3}, {"x", 1}}, 2); }

static void assert_reply(uint32_t tag, long long integer)
{
    lk_reply *reply = NULL;
    assert_int_equal(lk_async_conn_next(&channel, now_ms, &reply), 1);
    assert_int_equal(reply->tag, tag);
    assert_int_equal(reply->integer, integer);
    lk_reply_free(reply);
}

static void assert_none(void)
{
    lk_reply *reply;
    assert_int_equal(lk_async_conn_next(&channel, now_ms, &reply), 0);
}

static void assert_lost(void)
{
    assert_int_equal(channel.state, LK_ASYNC_CONN_DOWN);
    assert_true(channel.error[0]);
    assert_int_equal(channel.socket.fd, -1);
    assert_null(channel.conn.resp);
}

/* ------------------------------------------------------------------------------------------- well-behaved -- */

static void test_the_greeting_cut_at_every_byte(void **state)
{
    for (size_t at = 1; at < sizeof hello - 1; at++) {
        if (at > 1) setup(state);
        begin();
        say(hello, at);
        assert_true(lk_async_conn_drive(&channel, now_ms));
        assert_int_equal(channel.state, LK_ASYNC_CONN_HANDSHAKE);
        assert_false(readable());
        say(hello + at, sizeof hello - 1 - at);
        assert_true(lk_async_conn_drive(&channel, now_ms));
        assert_int_equal(channel.state, LK_ASYNC_CONN_UP);
        if (at < sizeof hello - 2) teardown(state);
    }
}

static void test_replies_cut_at_every_byte(void **state)
{
    (void)state;
    static const char bytes[] = ":70\r\n:71\r\n:72\r\n";
    enum { SIZE = sizeof bytes - 1 };
    go_up();
    for (size_t at = 1; at < SIZE; at++) {
        for (uint32_t i = 0; i < 3; i++) assert_true(ask(at % 2 ? 7 + i : 9 - i));
        assert_true(lk_async_conn_send(&channel, now_ms));
        assert_int_equal(heard(), 3);
        say(bytes, at);
        assert_true(lk_async_conn_drive(&channel, now_ms));
        uint32_t first = (uint32_t)at / 5;
        for (uint32_t i = 0; i < first; i++) assert_reply(at % 2 ? 7 + i : 9 - i, 70 + i);
        assert_none();
        assert_false(readable());
        say(bytes + at, SIZE - at);
        assert_true(readable());
        assert_true(lk_async_conn_drive(&channel, now_ms));
        for (uint32_t i = first; i < 3; i++) assert_reply(at % 2 ? 7 + i : 9 - i, 70 + i);
        assert_none();
    }
}

/* More than the socket takes: it waits for the other side, and for no longer than it has to. */
static void test_what_does_not_fit_is_sent_when_it_does(void **state)
{
    (void)state;
    static char big[64 * 1024];
    unsigned asked = 0, came = 0;
    go_up();
    while (!channel.writes) {
        assert_true(lk_conn_send(&channel.conn, asked++, (const lk_span[]){{"GET", 3}, {big, sizeof big}}, 2));
        assert_true(lk_async_conn_send(&channel, now_ms));
    }
    assert_false(readable());
    for (int i = 0; i < 10000 && channel.writes; i++) {
        came += heard();
        assert_true(readable()); /* there is room now */
        assert_true(lk_async_conn_drive(&channel, now_ms));
    }
    assert_false(channel.writes);
    assert_int_equal(came + heard(), asked);
    assert_false(readable());
}

/* ------------------------------------------------------------------------------------------------- broken -- */

static void test_nobody_listens(void **state)
{
    (void)state;
    hang_up(&listener);
    int64_t least = 5;
    for (int i = 0; i < 12; i++, least *= 2) {
        if (least > 250) least = 250;
        assert_false(lk_async_conn_wanted(&channel, now_ms));
        assert_lost();
        assert_in_range(channel.retry_at_ms - now_ms, least / 2, least);
        assert_int_equal(channel.failures, i + 1);
        /* It does not even try yet; a blip is waited out by who asks, and no more than that. */
        assert_int_equal(lk_async_conn_wanted(&channel, channel.retry_at_ms - 1), i + 1 <= LK_POOL_BLIPS);
        assert_int_equal(channel.failures, i + 1);
        now_ms = channel.retry_at_ms;
    }
    listen_at(here);
    go_up();
    assert_int_equal(channel.failures, 0);
}

static void test_the_next_address_is_tried(void **state)
{
    (void)state;
    lk_addresses addresses = {0};
    address_of(&addresses, 0, here);
    address_of(&addresses, 1, nowhere);
    address_of(&addresses, 2, here);
    lk_pool_addresses(pool, &addresses);
    begin(); /* of three, each has its share of the time */
    assert_in_range(channel.until_ms - now_ms, 300, 340);
    hang_up(&peer);
    hang_up(&listener);
    assert_false(lk_async_conn_drive(&channel, now_ms));
    assert_lost();
}

static void test_no_address_is_known(void **state)
{
    (void)state;
    lk_pool_addresses(pool, &(lk_addresses){0});
    assert_false(lk_async_conn_wanted(&channel, now_ms));
    assert_true(channel.error[0]);
    assert_true(channel.retry_at_ms > now_ms);
}

static void test_it_is_silent(void **state)
{
    (void)state;
    begin();
    lk_async_desk_wake_at(&desk, now_ms + 10); /* for something else */
    lk_async_desk_hear(&desk, now_ms + 10);
    assert_true(lk_async_conn_drive(&channel, now_ms + 10));
    assert_int_equal(desk.armed_ms, channel.until_ms); /* and it is not forgotten by that */
    assert_true(lk_async_conn_drive(&channel, channel.until_ms - 1));
    assert_false(lk_async_conn_drive(&channel, channel.until_ms));
    assert_lost();
    assert_true(channel.retry_at_ms > channel.until_ms);
}

static void test_it_closes_midway(void **state)
{
    static const char bytes[] = ":70\r\n:71\r\n";
    for (size_t at = 0; at < sizeof bytes - 1; at++) {
        if (at) setup(state);
        go_up();
        assert_true(ask(1) && ask(2));
        assert_true(lk_async_conn_send(&channel, now_ms));
        say(bytes, at);
        hang_up(&peer);
        assert_true(readable());
        bool good = lk_async_conn_drive(&channel, now_ms);
        if (good && at >= 5) assert_reply(1, 70);
        for (int i = 0; i < 3 && good; i++) good = lk_async_conn_drive(&channel, now_ms);
        assert_false(good);
        assert_lost();
        assert_int_equal(channel.retry_at_ms, now_ms); /* it had worked: at once */
        go_up();
        if (at + 1 < sizeof bytes - 1) teardown(state);
    }
}

static void test_it_is_no_redis(void **state)
{
    static const char *const words[] = {"HTTP/1.1 400 Bad Request\r\n", "-LOADING\r\n", "-ERR unknown\r\n",
                                        "$3\r\nfoo\r\n", "*1000000000\r\n"};
    for (size_t i = 0; i < UNIT_COUNT(words); i++) {
        if (i) setup(state);
        begin();
        say(words[i], strlen(words[i]));
        assert_false(lk_async_conn_drive(&channel, now_ms));
        assert_lost();
        assert_true(channel.retry_at_ms > now_ms);
        if (i + 1 < UNIT_COUNT(words)) teardown(state);
    }
}

static void test_it_answers_more_than_it_was_asked(void **state)
{
    (void)state;
    lk_reply *reply;
    go_up();
    assert_true(ask(5));
    assert_true(lk_async_conn_send(&channel, now_ms));
    say(":1\r\n:2\r\n", 8);
    assert_true(lk_async_conn_drive(&channel, now_ms));
    assert_reply(5, 1);
    assert_int_equal(lk_async_conn_next(&channel, now_ms, &reply), -1);
    assert_lost();
}

/* ------------------------------------------------------------------------------------------ bell and timer -- */

static void *ring_from_outside(void *unused)
{
    uint64_t one = 1;
    (void)unused;
    return write(desk.bell_fd, &one, sizeof one) == sizeof one ? NULL : &channel;
}

static void test_the_bell(void **state)
{
    (void)state;
    assert_false(readable());
    for (int i = 0; i < 3; i++) {
        lk_async_desk_ring(&desk);
        lk_async_desk_ring(&desk);
        assert_true(readable());
        lk_async_desk_hush(&desk);
        assert_false(readable());
    }
    pthread_t other;
    void *failed;
    assert_int_equal(pthread_create(&other, NULL, ring_from_outside, NULL), 0);
    pthread_join(other, &failed);
    assert_null(failed);
    assert_true(readable());
    lk_async_desk_ring(&desk);
    lk_async_desk_hush(&desk); /* both */
    assert_false(readable());
}

static void test_the_timer(void **state)
{
    (void)state;
    now_ms = lk_now_ms();
    lk_async_desk_wake_at(&desk, now_ms + 1000000);
    assert_false(readable());
    lk_async_desk_wake_at(&desk, now_ms - 1);
    lk_async_desk_wake_at(&desk, now_ms + 2000000); /* later: the earlier one stands */
    assert_true(readable());
    lk_async_desk_hear(&desk, now_ms);
    assert_false(readable());
    assert_int_equal(desk.armed_ms, 0);
}

static unsigned descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void test_no_descriptor_is_left(void **state)
{
    unsigned before = descriptors();
    for (int i = 0; i < 3; i++) {
        if (i == 0) go_up();
        if (i == 1) begin();
        lk_async_conn_close(&channel);
        lk_async_desk_close(&desk);
        hang_up(&peer);
        assert_int_equal(descriptors(), before - 3); /* epoll, bell, timer */
        assert_true(lk_async_desk_open(&desk));
        lk_async_conn_open(&channel, &desk, &config, pool);
        assert_int_equal(descriptors(), before);
    }
    go_up();
    lk_async_conn_abandon(&channel);
    lk_async_desk_abandon(&desk); /* as a forked child does it: closes, frees nothing, says nothing */
    assert_int_equal(heard(), 0);
    hang_up(&peer);
    assert_int_equal(descriptors(), before - 3);
    channel.socket = LK_NO_SOCKET;
    desk.epoll_fd = desk.bell_fd = desk.timer_fd = -1;
    (void)state;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_greeting_cut_at_every_byte),
        TEST(test_replies_cut_at_every_byte),
        TEST(test_what_does_not_fit_is_sent_when_it_does),
        TEST(test_nobody_listens),
        TEST(test_the_next_address_is_tried),
        TEST(test_no_address_is_known),
        TEST(test_it_is_silent),
        TEST(test_it_closes_midway),
        TEST(test_it_is_no_redis),
        TEST(test_it_answers_more_than_it_was_asked),
        TEST(test_the_bell),
        TEST(test_the_timer),
        TEST(test_no_descriptor_is_left),
    };
    return cmocka_run_group_tests(tests, unit_setup, NULL);
}

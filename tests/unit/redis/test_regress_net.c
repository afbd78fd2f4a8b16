/* SPDX-License-Identifier: MIT
 *
 * Bugs that were: a first address that is silent used up the time of the second; and bytes after a reply stayed in the
 * connection, where they answered the next command.
 */
#include "base/clock.h"
#include "redis/net.h"
#include "unit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int listen_at(int backlog, lk_addresses *to)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    memcpy(&to->address[to->count].at, &at, size);
    to->address[to->count++].size = size;
    return fd;
}

static int port_of(int fd)
{
    struct sockaddr_in at = {0};
    socklen_t size = sizeof at;
    getpeername(fd, (struct sockaddr *)&at, &size);
    return at.sin_port;
}

static void test_silent_first_address_leaves_time_for_the_second(void **state)
{
    (void)state;
    enum { FILLERS = 4, DEADLINE = 3000 };
    lk_addresses both = {0};
    char error[160] = "";
    int filler[FILLERS];
    int silent = listen_at(0, &both), good = listen_at(16, &both);
    const void *first = &both.address[0].at, *second = &both.address[1].at;
    for (int i = 0; i < FILLERS; i++) {
        filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(filler[i], first, both.address[0].size); /* its backlog is full */
    }
    int64_t deadline_ms = lk_now_ms() + DEADLINE;
    lk_socket out;
    bool connected = lk_net_connect(&both, deadline_ms, -1, &out, error, sizeof error);
    int64_t left_ms = deadline_ms - lk_now_ms();
    if (!connected) fail_msg("%s", error);
    assert_int_equal(port_of(out.fd), ((const struct sockaddr_in *)second)->sin_port);
    assert_true(left_ms > 0); /* half of it, on an idle machine */
    lk_net_close(&out);
    for (int i = 0; i < FILLERS; i++) close(filler[i]);
    close(silent);
    close(good);
}

static void ask(lk_conn *conn) { assert_true(lk_conn_send(conn, 0, &(lk_span){"PING", 4}, 1)); }

static void test_connection_with_stray_bytes_is_not_quiet(void **state)
{
    (void)state;
    static const char *const strays[] = {":1\r\n", ":", "$5\r\nhel", "*1\r\n", "+OK\r\n:2\r\n"};
    for (size_t i = 0; i < UNIT_COUNT(strays); i++) {
        lk_conn conn = {0};
        lk_reply *reply;
        assert_true(lk_conn_open(&conn));
        assert_true(lk_conn_quiet(&conn));
        ask(&conn);
        assert_false(lk_conn_quiet(&conn));
        assert_true(lk_conn_feed(&conn, ":0\r\n", 4));
        assert_true(lk_conn_feed(&conn, strays[i], strlen(strays[i])));
        assert_int_equal(lk_conn_next(&conn, &reply), 1);
        assert_int_equal(reply->integer, 0);
        lk_reply_free(reply);
        assert_false(lk_conn_quiet(&conn));
        lk_conn_close(&conn);
    }
}

static void test_connection_whose_replies_were_all_asked_for_is_quiet(void **state)
{
    (void)state;
    lk_conn conn = {0};
    lk_reply *reply;
    assert_true(lk_conn_open(&conn));
    for (int i = 0; i < 3; i++) {
        ask(&conn);
        ask(&conn);
        assert_true(lk_conn_feed(&conn, "*2\r\n:1\r\n$-1\r\n:", 14));
        assert_int_equal(lk_conn_next(&conn, &reply), 1);
        lk_reply_free(reply);
        assert_int_equal(lk_conn_next(&conn, &reply), 0);
        assert_false(lk_conn_quiet(&conn));
        assert_true(lk_conn_feed(&conn, "7\r\n", 3));
        assert_int_equal(lk_conn_next(&conn, &reply), 1);
        lk_reply_free(reply);
        assert_true(lk_conn_quiet(&conn));
    }
    lk_conn_close(&conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silent_first_address_leaves_time_for_the_second),
        cmocka_unit_test(test_connection_with_stray_bytes_is_not_quiet),
        cmocka_unit_test(test_connection_whose_replies_were_all_asked_for_is_quiet),
    };
    return cmocka_run_group_tests(tests, unit_setup, NULL);
}

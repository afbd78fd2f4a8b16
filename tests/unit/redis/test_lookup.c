/* SPDX-License-Identifier: MIT
 *
 * Looking a host up keeps no one waiting for longer than they want, and what was known goes on being used while it cannot be
 * had. Of many addresses the one that works is found in time, and remembered. (Guarantee G.)
 *
 * getaddrinfo is the test's: it answers at once, or not before it is told.
 */
#include "redis/lookup.h"

#include "base/clock.h"
#include "unit.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool silent;       /* the name server does not answer */
static _Atomic int asked; /* also read without the lock */
static int answered;
static int says; /* 0: the addresses of `numbers`; or an EAI_ code */
static const char *numbers[4];

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list)
{
    if (hints->ai_flags & AI_NUMERICHOST) return __real_getaddrinfo(host, port, hints, list);
    pthread_mutex_lock(&lock);
    asked++;
    while (silent) pthread_cond_wait(&changed, &lock);
    int code = says;
    struct addrinfo **end = list, number = *hints;
    number.ai_flags |= AI_NUMERICHOST;
    *list = NULL;
    for (int i = 0; !code && i < 4 && numbers[i]; i++) {
        code = __real_getaddrinfo(numbers[i], port, &number, end);
        while (*end) end = &(*end)->ai_next;
    }
    answered++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return code;
}

static void be(bool is_silent, int code, const char *number)
{
    pthread_mutex_lock(&lock);
    silent = is_silent;
    says = code;
    numbers[0] = number;
    numbers[1] = NULL;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_answered(int count)
{
    pthread_mutex_lock(&lock);
    while (answered < count) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void parse(const char *text, lk_config *config)
{
    char error[160];
    assert_int_equal(lk_config_parse(text, config, error, sizeof error), 0);
}

static int setup(void **state)
{
    (void)state;
    be(false, 0, "127.0.0.1");
    asked = answered = 0;
    return 0;
}

static enum lk_net_io ask(lk_lookup **lookup, const lk_config *config, int64_t patience_ms, lk_addresses *out,
                          char error[160])
{
    return lk_lookup_ask(lookup, config, NULL, lk_now_ms() + patience_ms, -1, out, error, 160);
}

static void test_a_name_and_a_number(void **state)
{
    (void)state;
    lk_config config;
    lk_addresses found;
    lk_lookup *lookup = NULL;
    char error[160] = "";
    parse("redis://redis.test:6380", &config);
    assert_int_equal(ask(&lookup, &config, 60000, &found, error), LK_NET_DONE);
    assert_null(lookup);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.host, "redis.test");
    assert_int_equal(asked, 1);
    parse("redis://[::1]:6380", &config);
    assert_int_equal(ask(&lookup, &config, 0, &found, error), LK_NET_DONE);
    assert_int_equal(asked, 1); /* and no thread */
}

static void test_a_name_server_that_is_silent_keeps_no_one(void **state)
{
    (void)state;
    lk_config config;
    lk_addresses found;
    lk_lookup *lookup = NULL;
    char error[160] = "";
    parse("redis://redis.test", &config);
    be(true, 0, "127.0.0.1");
    assert_int_equal(ask(&lookup, &config, 20, &found, error), LK_NET_LATER);
    assert_non_null(strstr(error, "redis.test"));
    assert_int_equal(ask(&lookup, &config, 20, &found, error), LK_NET_LATER);
    int cancel_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_int_equal(
        lk_lookup_ask(&lookup, &config, NULL, lk_now_ms() + 600000, cancel_fd, &found, error, sizeof error),
        LK_NET_LATER);
    close(cancel_fd);
    assert_int_equal(asked, 1); /* one thread, however often it is asked */
    be(false, 0, "127.0.0.1");
    assert_int_equal(ask(&lookup, &config, 600000, &found, error), LK_NET_DONE);
    assert_int_equal(found.count, 1);
    /* Given up: the thread ends by itself. */
    be(true, 0, "127.0.0.1");
    assert_int_equal(ask(&lookup, &config, 0, &found, error), LK_NET_LATER);
    lk_lookup_leave(&lookup);
    assert_null(lookup);
    be(false, 0, "127.0.0.1");
    wait_answered(2);
}

/* The command asks once, and waits no longer than it says. */
static void test_one_that_asks_once_is_not_kept(void **state)
{
    (void)state;
    lk_config config;
    lk_addresses found;
    char error[160];
    parse("redis://app.example", &config);
    be(true, 0, "127.0.0.1");
    assert_false(lk_lookup_now(&config, NULL, lk_now_ms() + 20, &found, error, sizeof error));
    assert_non_null(strstr(error, "name server does not answer"));
    int before = answered;
    be(false, 0, "127.0.0.1");
    wait_answered(before + 1);
    assert_true(lk_lookup_now(&config, NULL, lk_now_ms() + 60000, &found, error, sizeof error));
    assert_int_equal(found.count, 1);
}

static void test_what_is_wrong_is_said(void **state)
{
    (void)state;
    static const int codes[] = {EAI_NONAME, EAI_AGAIN, EAI_FAIL, EAI_MEMORY, EAI_SYSTEM};
    lk_config config;
    parse("redis://redis.test", &config);
    for (size_t i = 0; i < UNIT_COUNT(codes); i++) {
        lk_addresses found;
        lk_lookup *lookup = NULL;
        char error[160] = "";
        be(false, codes[i], NULL);
        assert_int_equal(ask(&lookup, &config, 600000, &found, error), LK_NET_LOST);
        assert_null(lookup);
        assert_non_null(strstr(error, "redis.test"));
    }
}

/* --------------------------------------------------------------------------------------- many addresses -- */

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

enum { SILENT = 40, FILLERS = 4 };

static void test_the_last_of_many_is_found_and_remembered(void **state)
{
    (void)state;
    lk_addresses all = {0};
    int silents[SILENT], filler[SILENT][FILLERS];
    char error[160] = "";
    lk_socket out;
    for (int i = 0; i < SILENT; i++) {
        silents[i] = listen_at(0, &all);
        for (int k = 0; k < FILLERS; k++) { /* its backlog is full: what comes is swallowed */
            filler[i][k] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
            (void)!connect(filler[i][k], (const void *)&all.address[i].at, all.address[i].size);
        }
    }
    int good = listen_at(16, &all);
    if (!lk_net_connect(&all, lk_now_ms() + 20000, -1, &out, error, sizeof error)) fail_msg("%s", error);
    assert_int_equal(all.first, SILENT);
    lk_net_close(&out);
    /* With what was learnt no other is even tried: a deadline that has passed is enough for it. */
    lk_addresses found = all;
    found.first = 0;
    lk_net_renew(&all, &found);
    assert_int_equal(all.first, SILENT);
    if (!lk_net_connect(&all, lk_now_ms() + 20000, -1, &out, error, sizeof error)) fail_msg("%s", error);
    assert_int_equal(all.first, SILENT);
    lk_net_close(&out);
    /* It is not among the new ones. */
    found.count--;
    lk_net_renew(&all, &found);
    assert_int_equal(all.first, 0);
    close(good);
    for (int i = 0; i < SILENT; i++) {
        close(silents[i]);
        for (int k = 0; k < FILLERS; k++) close(filler[i][k]);
    }
}

/* --------------------------------------------------------------------------------------------- the handle -- */

/* Open answers within its deadline, and closing waits for nothing. */
static void test_a_handle_whose_name_server_is_silent(void **state)
{
    (void)state;
    latchkey *lk = NULL;
    char error[256] = "";
    be(true, 0, "127.0.0.1");
    assert_int_equal(latchkey_open("redis://redis.test?deadline_ms=50", &lk, error, sizeof error),
                     LATCHKEY_UNAVAILABLE);
    assert_null(lk);
    assert_int_equal(latchkey_open("redis://redis.test?deadline_ms=50&lazy=1", &lk, error, sizeof error), LATCHKEY_OK);
    latchkey_close(lk);
    be(false, 0, "127.0.0.1");
    wait_answered(asked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_name_and_a_number, setup),
        cmocka_unit_test_setup(test_a_name_server_that_is_silent_keeps_no_one, setup),
        cmocka_unit_test_setup(test_one_that_asks_once_is_not_kept, setup),
        cmocka_unit_test_setup(test_what_is_wrong_is_said, setup),
        cmocka_unit_test_setup(test_the_last_of_many_is_found_and_remembered, setup),
        cmocka_unit_test_setup(test_a_handle_whose_name_server_is_silent, setup),
    };
    return cmocka_run_group_tests(tests, unit_setup, NULL);
}

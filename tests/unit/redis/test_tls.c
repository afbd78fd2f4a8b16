/* SPDX-License-Identifier: MIT
 *
 * TLS over a socket pair, both ends in one thread, step by step: the other end is OpenSSL's own server. What a real Redis
 * does is in system/server/test_tls.c; here is what cannot be forced there.
 */
#include "redis/net.h"
#include "redis/tls_guard.h"
#include "../../support/pki.h"
#include "base/log.h"
#include "unit.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Has a certificate's date passed? As told. */
static bool all_expired;
int __real_X509_cmp_current_time(const ASN1_TIME *time);
int __wrap_X509_cmp_current_time(const ASN1_TIME *time);
int __wrap_X509_cmp_current_time(const ASN1_TIME *time)
{
    return all_expired ? -1 : __real_X509_cmp_current_time(time);
}

/* OpenSSL's own memory: the nth allocation fails while `short_of_memory`. */
static bool short_of_memory;
static long until_failure, failures;

static bool fails(void)
{
    if (!short_of_memory || --until_failure) return false;
    failures++;
    return true;
}

/* Or this thread stays in it: at its nth allocation, for some milliseconds or until it is let go. */
static _Thread_local long until_stop;
static _Atomic bool stopped_in_openssl, in_the_middle, may_go_on, waits_for_leave;

static void stop_there(void)
{
    if (!until_stop || --until_stop) return;
    stopped_in_openssl = in_the_middle = true;
    for (int i = 0; waits_for_leave ? !may_go_on : i < 20; i++) usleep(1000);
    in_the_middle = false;
}

static void *take_memory(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    stop_there();
    return fails() ? NULL : malloc(size);
}

static void *take_more_memory(void *old, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : realloc(old, size);
}

static void give_memory(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    free(memory);
}

/* ---------------------------------------------------------------------------------------------- both ends -- */

typedef struct ends {
    lk_socket client;
    lk_conn conn;
    SSL *server;
    int server_fd;
    char error[160];
} ends;

static SSL_CTX *server_context;
static lk_tls_context *context;

static int setup(void **state)
{
    char text[600], error[256] = "";
    lk_config config;
    (void)state;
    all_expired = false;
    server_context = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate_file(server_context, pki_crt("server"), SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(server_context, pki_key("server"), SSL_FILETYPE_PEM), 1);
    snprintf(text, sizeof text, "rediss://h?ca_file=%s", pki_crt("ca"));
    assert_int_equal(lk_config_parse(text, &config, error, sizeof error), LATCHKEY_OK);
    if (lk_tls_context_open(&config, &context, error, sizeof error)) fail_msg("%s", error);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lk_tls_context_close(context);
    SSL_CTX_free(server_context);
    ERR_clear_error();
    return 0;
}

static void pair_up(ends *e)
{
    int fd[2];
    memset(e, 0, sizeof *e);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    e->client.fd = fd[0];
    e->server_fd = fd[1];
    e->server = SSL_new(server_context);
    SSL_set_fd(e->server, fd[1]);
    SSL_set_accept_state(e->server);
    assert_true(lk_conn_open(&e->conn));
}

static void connect_ends(ends *e, const char *host)
{
    lk_addresses addresses = {.tls = context};
    snprintf(addresses.host, sizeof addresses.host, "%s", host);
    pair_up(e);
    assert_true(lk_net_secure(&e->client, &addresses));
}

static void drop_ends(ends *e)
{
    lk_net_close(&e->client);
    lk_conn_close(&e->conn);
    if (e->server) SSL_free(e->server);
    if (e->server_fd >= 0) close(e->server_fd);
    ERR_clear_error();
}

static enum lk_net_io fill(ends *e) { return lk_net_fill(&e->client, &e->conn, e->error, sizeof e->error); }
static enum lk_net_io flush(ends *e) { return lk_net_flush(&e->client, &e->conn, e->error, sizeof e->error); }

static void ask(ends *e) { assert_true(lk_conn_send(&e->conn, 0, &(lk_span){"PING", 4}, 1)); }

/* The server takes in what came; what it says to itself (the handshake, tickets) goes out. */
static int server_reads(ends *e, char *bytes, size_t size)
{
    ERR_clear_error();
    int got = SSL_read(e->server, bytes, (int)size);
    ERR_clear_error();
    return got;
}

/* Until the server has the whole question. False: the client gave up. */
static bool shake(ends *e)
{
    char got[64];
    ask(e);
    for (int i = 0; i < 20; i++) {
        if (flush(e) == LK_NET_LOST || fill(e) == LK_NET_LOST) return false;
        if (server_reads(e, got, sizeof got) > 0) return true;
    }
    fail_msg("no end of the handshake");
    return false;
}

static void server_says(ends *e, const char *text, size_t size)
{
    assert_int_equal(SSL_write(e->server, text, (int)size), (int)size);
}

static void take_reply(ends *e, long long integer)
{
    lk_reply *reply;
    assert_int_equal(lk_conn_next(&e->conn, &reply), 1);
    assert_true(reply->type == LK_REPLY_INTEGER && reply->integer == integer);
    lk_reply_free(reply);
}

static void answer(ends *e)
{
    server_says(e, ":7\r\n", 4);
    assert_int_equal(fill(e), LK_NET_DONE);
    take_reply(e, 7);
}

static void whole(ends *e, const char *host)
{
    connect_ends(e, host);
    if (!shake(e)) fail_msg("%s", e->error);
    answer(e);
}

static void once(const char *host)
{
    ends e;
    whole(&e, host);
    drop_ends(&e);
}

/* ----------------------------------------------------------------------------------------------- sessions -- */

static void limit_version(int version)
{
    assert_true(SSL_CTX_set_min_proto_version(server_context, version));
    assert_true(SSL_CTX_set_max_proto_version(server_context, version));
}

static void test_later_handshakes_resume(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (int i = 0; i < 2; i++) {
        uint64_t before = lk_tls_resumed(context);
        limit_version(versions[i]);
        once(i ? "b.test" : "a.test");
        assert_true(lk_tls_resumed(context) == before);
        for (unsigned n = 1; n <= 3; n++) {
            once(i ? "b.test" : "a.test");
            assert_true(lk_tls_resumed(context) == before + n);
        }
    }
}

static void test_session_is_for_the_name_that_was_verified(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (int i = 0; i < 2; i++) {
        ends e;
        limit_version(versions[i]);
        once("a.test");
        uint64_t before = lk_tls_resumed(context);
        once("b.test");
        assert_true(lk_tls_resumed(context) == before);
        /* One that the certificate does not hold is refused, session or not. */
        connect_ends(&e, "c.test");
        assert_false(shake(&e));
        assert_true(e.client.refused);
        assert_non_null(strstr(e.error, "not for 'c.test'"));
        drop_ends(&e);
    }
}

static void test_session_ends_with_the_certificate(void **state)
{
    (void)state;
    once("a.test");
    all_expired = true;
    once("a.test"); /* the certificate itself is looked at by OpenSSL, from within */
    assert_true(lk_tls_resumed(context) == 0);
    all_expired = false;
    once("a.test");
    assert_true(lk_tls_resumed(context) == 1);
}

static void test_ticket_of_tls_1_3_is_used_once(void **state)
{
    (void)state;
    ends e[3];
    SSL_CTX_set_num_tickets(server_context, 1);
    once("a.test");
    for (int i = 0; i < 3; i++) connect_ends(&e[i], "a.test");
    for (int i = 0; i < 3; i++) assert_true(shake(&e[i]));
    assert_true(lk_tls_resumed(context) == 1);
    for (int i = 0; i < 3; i++) drop_ends(&e[i]);
}

static void test_session_that_failed_is_dropped(void **state)
{
    (void)state;
    ends e;
    limit_version(TLS1_2_VERSION);
    once("a.test");
    once("a.test");
    assert_true(lk_tls_resumed(context) == 1);
    connect_ends(&e, "a.test");
    close(e.server_fd);
    e.server_fd = -1;
    ask(&e);
    while (flush(&e) != LK_NET_LOST && fill(&e) != LK_NET_LOST) continue;
    assert_false(e.client.refused);
    drop_ends(&e);
    once("a.test");
    assert_true(lk_tls_resumed(context) == 1);
}

/* A broken wire is no fault of the session's. */
static void test_session_outlives_a_broken_connection(void **state)
{
    (void)state;
    ends e;
    SSL_CTX_set_num_tickets(server_context, 1);
    whole(&e, "a.test");
    close(e.server_fd);
    e.server_fd = -1;
    assert_int_equal(fill(&e), LK_NET_LOST);
    assert_non_null(strstr(e.error, "closed by the server"));
    drop_ends(&e);
    once("a.test");
    assert_true(lk_tls_resumed(context) == 1);
}

static void test_many_sessions_have_a_limit(void **state)
{
    (void)state;
    SSL_CTX_set_num_tickets(server_context, 5);
    for (int i = 0; i < 5; i++) once(i % 2 ? "a.test" : "b.test");
    assert_true(lk_tls_resumed(context) == 3);
}

/* --------------------------------------------------------------------------------------------------- floods -- */

static size_t left_to_read(const ends *e)
{
    int left = 0;
    assert_int_equal(ioctl(e->client.fd, FIONREAD, &left), 0);
    return (size_t)left;
}

/* What one call takes of a flood is bounded, and the rest is still there: so the caller can look at the clock. Returns how often it was
 * called. */
static unsigned drain(ends *e)
{
    unsigned calls = 0;
    for (size_t left = left_to_read(e), now; left; left = now, calls++) {
        assert_int_equal(fill(e), LK_NET_LATER);
        now = left_to_read(e);
        assert_in_range(left - now, 1, 64 * 1024);
    }
    return calls;
}

/* Messages that a client passes over at any time before the server's first one. They need no certificate. */
static void test_G_a_flood_before_the_handshake_is_taken_in_parts(void **state)
{
    (void)state;
    ends e;
    static const unsigned char begin[5] = {22, 3, 3, 0x40, 0};
    static unsigned char record[5 + 0x4000];
    memcpy(record, begin, sizeof begin);
    connect_ends(&e, "a.test");
    while (write(e.server_fd, record, sizeof record) == sizeof record) continue;
    assert_true(left_to_read(&e) > 128 * 1024);
    assert_true(drain(&e) >= 3);
    drop_ends(&e);
}

static void test_G_a_flood_of_tickets_is_taken_in_parts(void **state)
{
    (void)state;
    ends e;
    whole(&e, "a.test");
    BIO *wire = BIO_new(BIO_s_mem()); /* small writes fill a socket's buffer sooner */
    SSL_set0_wbio(e.server, wire);
    while (BIO_pending(wire) < 160 * 1024)
        assert_true(SSL_new_session_ticket(e.server) == 1 && SSL_do_handshake(e.server) == 1);
    char *bytes;
    long size = BIO_get_mem_data(wire, &bytes);
    assert_int_equal(write(e.server_fd, bytes, (size_t)size), size);
    assert_true(left_to_read(&e) > 128 * 1024);
    assert_true(drain(&e) >= 3);
    drop_ends(&e);
}

/* --------------------------------------------------------------------------------------------------- idle -- */

static void test_tickets_on_an_idle_connection_are_not_unasked_data(void **state)
{
    (void)state;
    ends e;
    SSL_CTX_set_num_tickets(server_context, 0);
    whole(&e, "a.test");
    assert_true(lk_net_idle_good(&e.client));
    for (int i = 0; i < 3; i++) {
        struct pollfd readable = {.fd = e.client.fd, .events = POLLIN};
        assert_int_equal(SSL_new_session_ticket(e.server), 1);
        assert_int_equal(SSL_do_handshake(e.server), 1);
        assert_int_equal(poll(&readable, 1, 0), 1);
        assert_true(lk_net_idle_good(&e.client));
        assert_int_equal(poll(&readable, 1, 0), 0);
    }
    assert_int_equal(SSL_key_update(e.server, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(e.server), 1);
    assert_int_equal(fill(&e), LK_NET_LATER);
    assert_true(lk_net_idle_good(&e.client));
    ask(&e);
    assert_int_equal(flush(&e), LK_NET_DONE);
    char got[64];
    assert_int_equal(server_reads(&e, got, sizeof got), 14);
    answer(&e);
    drop_ends(&e);
}

static void test_idle_connection_with_something_to_read_is_not_good(void **state)
{
    (void)state;
    ends e;
    for (int i = 0; i < 4; i++) {
        whole(&e, "a.test");
        if (i == 0) server_says(&e, ":1\r\n", 4);
        if (i == 1) assert_int_equal(write(e.server_fd, "\x17\x03\x03", 3), 3); /* a piece of a record */
        if (i == 2) SSL_shutdown(e.server);
        if (i == 3) close(e.server_fd);
        if (i == 3) e.server_fd = -1;
        assert_false(lk_net_idle_good(&e.client));
        drop_ends(&e);
    }
}

/* ---------------------------------------------------------------------------------------- reading and writing -- */

static void test_nothing_stays_in_openssl_while_the_socket_is_silent(void **state)
{
    (void)state;
    ends e;
    static char record[16384];
    whole(&e, "a.test");
    ask(&e);
    assert_int_equal(flush(&e), LK_NET_DONE);
    memset(record, 'x', sizeof record);
    memcpy(record, "$16372\r\n", 8);
    memcpy(record + 8 + 16372, "\r\n:", 3); /* one byte short of a second reply */
    ask(&e);
    assert_int_equal(flush(&e), LK_NET_DONE);
    server_says(&e, record, 8 + 16372 + 3);
    assert_int_equal(fill(&e), LK_NET_DONE);
    assert_false(lk_tls_buffered(e.client.tls));
    lk_reply *reply;
    assert_int_equal(lk_conn_next(&e.conn, &reply), 1);
    assert_true(reply->type == LK_REPLY_STRING && reply->size == 16372);
    lk_reply_free(reply);
    assert_int_equal(lk_conn_next(&e.conn, &reply), 0);
    server_says(&e, "5\r\n", 3);
    assert_int_equal(fill(&e), LK_NET_DONE);
    take_reply(&e, 5);
    drop_ends(&e);
}

/* More than the socket takes, and more yet while it is full: all of it arrives, once and in order. */
static void test_partial_writes(void **state)
{
    (void)state;
    enum { SIZE = 700000 };
    ends e;
    static char value[SIZE], got[2 * SIZE + 1000];
    size_t total = 0;
    whole(&e, "a.test");
    for (size_t i = 0; i < SIZE; i++) value[i] = (char)('a' + i % 23);
    assert_true(lk_conn_send(&e.conn, 0, &(lk_span){value, SIZE}, 1));
    assert_int_equal(flush(&e), LK_NET_LATER);
    assert_int_equal(lk_net_events(&e.client, LK_NET_LATER), POLLIN | POLLOUT);
    assert_true(lk_conn_send(&e.conn, 0, &(lk_span){value, SIZE}, 1)); /* the buffer grows, and moves */
    for (enum lk_net_io sent = LK_NET_LATER; sent != LK_NET_DONE;) {
        int more;
        while ((more = server_reads(&e, got + total, sizeof got - total)) > 0) total += (size_t)more;
        sent = flush(&e);
        assert_int_not_equal(sent, LK_NET_LOST);
    }
    for (int more; (more = server_reads(&e, got + total, sizeof got - total)) > 0;) total += (size_t)more;
    static const char head[] = "*1\r\n$700000\r\n";
    size_t one = sizeof head - 1 + SIZE + 2;
    assert_int_equal(total, 2 * one);
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(got + (size_t)i * one, head, sizeof head - 1);
        assert_memory_equal(got + (size_t)i * one + sizeof head - 1, value, SIZE);
    }
    drop_ends(&e);
}

/* Waiting for the socket to be writable while TLS waits for the server would go round and round. */
static void test_handshake_waits_for_the_server_to_speak(void **state)
{
    (void)state;
    ends e;
    connect_ends(&e, "a.test");
    ask(&e);
    assert_int_equal(flush(&e), LK_NET_LATER);
    assert_int_equal(lk_net_events(&e.client, LK_NET_LATER), POLLIN);
    assert_false(lk_net_wait(&e.client, POLLIN | POLLOUT, 0, -1));
    assert_true(shake(&e));
    drop_ends(&e);
}

/* -------------------------------------------------------------------------------------------------- endings -- */

static void test_close_says_goodbye(void **state)
{
    (void)state;
    ends e;
    char got[64];
    whole(&e, "a.test");
    lk_net_close(&e.client);
    assert_false(lk_net_is_open(&e.client));
    assert_int_equal(SSL_read(e.server, got, sizeof got), 0);
    assert_int_equal(SSL_get_error(e.server, 0), SSL_ERROR_ZERO_RETURN);
    drop_ends(&e);
    connect_ends(&e, "a.test"); /* in the middle of a handshake there is nothing to be said */
    drop_ends(&e);
}

static void test_goodbye_of_the_server(void **state)
{
    (void)state;
    ends e;
    whole(&e, "a.test");
    SSL_shutdown(e.server);
    assert_int_equal(fill(&e), LK_NET_LOST);
    assert_non_null(strstr(e.error, "closed by the server"));
    assert_false(e.client.refused);
    assert_int_equal(fill(&e), LK_NET_LOST); /* and it stays so */
    assert_int_equal(flush(&e), LK_NET_DONE);
    ask(&e);
    assert_int_equal(flush(&e), LK_NET_LOST);
    drop_ends(&e);
}

/* What the server said before it closed is heard, also by who finds that nothing can be written any more. */
static void test_last_words_are_heard_and_no_signal_is_raised(void **state)
{
    (void)state;
    ends e;
    assert_int_not_equal(signal(SIGPIPE, SIG_DFL), SIG_ERR);
    limit_version(TLS1_3_VERSION);
    SSL_CTX_set_verify(server_context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    connect_ends(&e, "a.test");
    assert_int_equal(flush(&e), LK_NET_DONE);
    (void)server_reads(&e, e.error, sizeof e.error);
    ask(&e);
    assert_int_equal(flush(&e), LK_NET_DONE); /* for the client the handshake is done */
    (void)server_reads(&e, e.error, sizeof e.error);
    close(e.server_fd);
    e.server_fd = -1;
    ask(&e);
    assert_int_equal(flush(&e), LK_NET_LATER); /* a broken pipe */
    assert_true(lk_net_wait(&e.client, POLLIN | POLLOUT, 0, -1) || true);
    assert_int_equal(fill(&e), LK_NET_LOST);
    assert_non_null(strstr(e.error, "demands a client certificate"));
    assert_true(e.client.refused);
    drop_ends(&e);
    SSL_CTX_set_verify(server_context, SSL_VERIFY_NONE, NULL);
    whole(&e, "a.test");
    close(e.server_fd);
    e.server_fd = -1;
    for (int i = 0; i < 3; i++) {
        ask(&e);
        if (flush(&e) == LK_NET_LOST) break;
        assert_true(i < 2);
    }
    drop_ends(&e);
}

/* The application's own errors, as a thread that is in the middle of something of its own has them. */
static void leave_errors(void)
{
    ERR_clear_error();
    ERR_raise_data(ERR_LIB_USER, 7, "about %s", "a file");
    ERR_raise(ERR_LIB_USER, 8);
}

static void assert_errors_left(const char *after)
{
    const char *file, *function, *data;
    int line, flags;
    unsigned long code = ERR_get_error_all(&file, &line, &function, &data, &flags);
    if (ERR_GET_LIB(code) != ERR_LIB_USER || ERR_GET_REASON(code) != 7) fail_msg("%s: the first error is gone", after);
    assert_string_equal(data, "about a file");
    assert_string_equal(function, "leave_errors");
    assert_non_null(strstr(file, "test_tls.c"));
    assert_true(line > 0);
    code = ERR_get_error();
    if (ERR_GET_LIB(code) != ERR_LIB_USER || ERR_GET_REASON(code) != 8) fail_msg("%s: the second error is gone", after);
    if (ERR_peek_error()) fail_msg("%s: an error of ours is left", after);
}

/* None of ours is left in it, and none of the application's is taken for ours, or lost. */
static void test_queue_of_errors_is_left_as_it_was(void **state)
{
    (void)state;
    ends e;
    leave_errors();
    connect_ends(&e, "c.test");
    assert_errors_left("open");
    assert_false(shake(&e));
    assert_int_equal(ERR_peek_error(), 0);
    leave_errors();
    lk_net_close(&e.client);
    assert_errors_left("close");
    drop_ends(&e);
    connect_ends(&e, "a.test");
    leave_errors();
    ask(&e);
    assert_int_equal(flush(&e), LK_NET_LATER);
    assert_errors_left("the handshake's beginning");
    leave_errors();
    assert_int_equal(fill(&e), LK_NET_LATER);
    assert_errors_left("the handshake");
    assert_true(shake(&e));
    ERR_clear_error();
    answer(&e);
    leave_errors();
    assert_int_equal(fill(&e), LK_NET_LATER);
    assert_errors_left("a read");
    leave_errors();
    assert_true(lk_net_idle_good(&e.client));
    assert_errors_left("a look at an idle connection");
    leave_errors();
    lk_net_close(&e.client);
    assert_errors_left("the end");
    drop_ends(&e);
}

/* The file that is named is not there, or is no certificate: those errors are ours. */
static void test_a_context_leaves_the_queue_as_it_was(void **state)
{
    (void)state;
    const char *const files[] = {"/dev/null", "/etc/hostname", "/nowhere"};
    for (size_t i = 0; i < UNIT_COUNT(files); i++) {
        lk_config config = {.tls = true};
        lk_tls_context *made = NULL;
        char error[160];
        snprintf(config.ca_file, sizeof config.ca_file, "%s", files[i]);
        leave_errors();
        assert_int_equal(lk_tls_context_open(&config, &made, error, sizeof error), LATCHKEY_CONFIG);
        assert_errors_left(files[i]);
    }
}

/* --------------------------------------------------------------------------------------------- who it is -- */

static void server_presents(const char *name)
{
    assert_int_equal(SSL_CTX_use_certificate_file(server_context, pki_crt(name), SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(server_context, pki_key(name), SSL_FILETYPE_PEM), 1);
}

static void refused(const char *host, const char *why)
{
    ends e;
    connect_ends(&e, host);
    assert_false(shake(&e));
    assert_true(e.client.refused);
    if (!strstr(e.error, why)) fail_msg("'%s' lacks '%s'", e.error, why);
    drop_ends(&e);
}

/* RFC 6125: where a certificate has a subjectAltName of any kind, its common name does not count. */
static void test_the_common_name_counts_only_without_other_names(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (int i = 0; i < 2; i++) {
        limit_version(versions[i]);
        server_presents("plain.test");
        once("plain.test");
        refused("a.test", "not for 'a.test'");
        server_presents("numbered.test");
        refused("numbered.test", "not for 'numbered.test'");
        once("127.0.0.1");
        once("127.1");
        server_presents("mail.test");
        refused("mail.test", "not for 'mail.test'");
    }
}

static void test_hosts_as_people_write_them(void **state)
{
    (void)state;
    const struct {
        const char *host, *certificate, *sni; /* NULL: none is sent */
    } rows[] = {
        {"a.test", "server", "a.test"},       {"a.test.", "server", "a.test"},
        {"A.Test", "server", "A.Test"},       {"::1", "numbered.test", NULL},
        {"[::1]", "numbered.test", NULL},     {"fe80::1%eth0", "numbered.test", NULL},
        {"127.0.0.1", "numbered.test", NULL}, {"0x7f.1", "numbered.test", NULL},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        ends e;
        server_presents(rows[i].certificate);
        whole(&e, rows[i].host);
        const char *sni = SSL_get_servername(e.server, TLSEXT_NAMETYPE_host_name);
        assert_int_equal(sni != NULL, rows[i].sni != NULL);
        if (sni) assert_string_equal(sni, rows[i].sni);
        drop_ends(&e);
    }
    server_presents("server");
    refused("a.test%x", "not for 'a.test%x'"); /* a zone is of addresses alone */
    refused("a.test..", "not for 'a.test.'");
}

/* -------------------------------------------------------------------------------------- files that change -- */

static char changing[300];
static lk_notices *notices;
static char heard[LK_LOG_LINE];
static int lines;

static void hear(void *nothing, int level, const char *line)
{
    (void)nothing, (void)level;
    snprintf(heard, sizeof heard, "%s", line);
    lines++;
}

static void put_files(const char *first, const char *second)
{
    char bytes[9000];
    size_t size = 0;
    const char *names[2] = {first, second};
    for (int i = 0; i < 2; i++) {
        FILE *file = names[i] ? fopen(names[i], "r") : NULL;
        if (!file) continue;
        size += fread(bytes + size, 1, sizeof bytes - size, file);
        fclose(file);
    }
    snprintf(changing, sizeof changing, "%s", unit_file("changing", bytes, size));
}

static int said(const char *part)
{
    lines = 0;
    latchkey_set_log(hear, NULL);
    lk_notices_say(notices);
    latchkey_set_log(NULL, NULL);
    if (part && lines != 1) fail_msg("%d lines", lines);
    if (part && !strstr(heard, part)) fail_msg("'%s' lacks '%s'", heard, part);
    return lines;
}

static void open_changing(const char *options)
{
    char text[900], error[256];
    lk_config config;
    lk_tls_context_close(context);
    context = NULL;
    snprintf(text, sizeof text, "rediss://h?%s", options);
    assert_int_equal(lk_config_parse(text, &config, error, sizeof error), LATCHKEY_OK);
    config.notices = notices = lk_notices_open();
    if (lk_tls_context_open(&config, &context, error, sizeof error)) fail_msg("%s", error);
}

static void test_certificates_of_cas_that_change(void **state)
{
    (void)state;
    char options[400];
    ends open;
    put_files(pki_crt("ca"), NULL);
    snprintf(options, sizeof options, "ca_file=%s", changing);
    open_changing(options);
    whole(&open, "a.test");
    once("a.test");
    assert_int_equal(lk_tls_resumed(context), 1);
    assert_int_equal(said(NULL), 0);
    put_files(pki_crt("other-ca"), NULL);
    refused("a.test", "not trusted here"); /* and no session of before goes on */
    said("were read again");
    server_presents("other");
    once("a.test");
    ask(&open); /* what is open stays so */
    assert_int_equal(flush(&open), LK_NET_DONE);
    assert_int_equal(lk_tls_resumed(context), 1);
    /* What cannot be used changes nothing, and is told once. */
    const struct {
        const char *first, *second, *why;
    } rows[] = {{"/dev/null", NULL, "is empty"},
                {pki_key("ca"), NULL, "begins a PRIVATE KEY"},
                {pki_crt("ca"), pki_key("ca"), "only certificates"}};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        put_files(rows[i].first, rows[i].second);
        for (int n = 0; n < 3; n++) once("a.test");
        said(rows[i].why);
        assert_non_null(strstr(heard, "what was read before is used"));
    }
    unlink(changing);
    for (int n = 0; n < 3; n++) once("a.test");
    said("cannot open");
    put_files(pki_crt("ca"), pki_crt("other-ca"));
    once("a.test");
    server_presents("server");
    once("a.test");
    said("were read again");
    drop_ends(&open);
    lk_tls_context_close(context);
    lk_notices_close(notices);
    context = NULL;
}

static const char *client_of(ends *e)
{
    static char name[100];
    X509 *peer = SSL_get0_peer_certificate(e->server);
    assert_non_null(peer);
    X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, name, sizeof name);
    return name;
}

static void shown_to_the_server(const char *name)
{
    ends e;
    whole(&e, "a.test");
    assert_string_equal(client_of(&e), name);
    drop_ends(&e);
}

static void test_a_certificate_of_our_own_that_changes(void **state)
{
    (void)state;
    char options[900];
    assert_int_equal(SSL_CTX_load_verify_locations(server_context, pki_crt("ca"), NULL), 1);
    SSL_CTX_set_verify(server_context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_session_id_context(server_context, (const unsigned char *)"x", 1);
    put_files(pki_crt("server"), pki_key("server")); /* both in one file, so that they change together */
    snprintf(options, sizeof options, "ca_file=%s&cert_file=%s&key_file=%s", pki_crt("ca"), changing, changing);
    open_changing(options);
    shown_to_the_server("server");
    put_files(pki_crt("plain.test"), pki_key("server")); /* in the middle of being replaced */
    shown_to_the_server("server");
    said("is not the key");
    put_files(pki_crt("plain.test"), pki_key("plain.test"));
    shown_to_the_server("plain.test");
    said("were read again");
    lk_tls_context_close(context);
    lk_notices_close(notices);
    context = NULL;
}

/* -------------------------------------------------------------------------------------------------- forks -- */

/* What a child makes of a handle's own part in TLS: 0 or what was wrong. It is ended if it hangs. */
static int open_in_a_child(int expected, const char *part)
{
    pid_t child = fork();
    if (!child) {
        char text[400], error[256] = "";
        lk_config config;
        lk_tls_context *made = NULL;
        alarm(60);
        if (in_the_middle && !part) _exit(5); /* any lock may be taken there */
        snprintf(text, sizeof text, "rediss://h?ca_file=%s&deadline_ms=%d", pki_crt("ca"), part ? 300 : 50000);
        if (lk_config_parse(text, &config, error, sizeof error)) _exit(1);
        if (lk_tls_context_open(&config, &made, error, sizeof error) != expected) _exit(2);
        if (part && !strstr(error, part)) _exit(3);
        if (expected) _exit(0);
        lk_tls *tls = lk_tls_open(made, "a.test", -1);
        if (!tls) _exit(4);
        lk_tls_close(tls);
        lk_tls_context_close(made);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

static void *open_and_stop(void *nth)
{
    char text[400], error[256];
    lk_config config;
    lk_tls_context *made = NULL;
    snprintf(text, sizeof text, "rediss://h?ca_file=%s", pki_crt("ca"));
    if (lk_config_parse(text, &config, error, sizeof error)) return NULL;
    until_stop = *(const long *)nth;
    if (!lk_tls_context_open(&config, &made, error, sizeof error)) {
        lk_tls *tls = lk_tls_open(made, "a.test", -1);
        if (tls) lk_tls_close(tls);
    }
    lk_tls_context_close(made);
    bool reached = !until_stop;
    until_stop = 0;
    stopped_in_openssl = true;
    lk_tls_end_thread(); /* as the library's threads do: else OpenSSL takes its lock at the thread's end, beside a fork */
    return reached ? made : NULL;
}

/* Children are forked while a thread of ours is in the middle of OpenSSL, wherever that is. */
__attribute__((unused)) static void test_no_child_finds_openssl_locked_by_us(void **state)
{
    (void)state;
    int wrong = 0;
    bool reached = true;
    for (long nth = 1; reached && !wrong; nth += 1 + nth / 12) {
        pthread_t thread;
        void *result;
        stopped_in_openssl = false;
        assert_int_equal(pthread_create(&thread, NULL, open_and_stop, &nth), 0);
        while (!stopped_in_openssl) usleep(100);
        wrong = open_in_a_child(LATCHKEY_OK, NULL);
        pthread_join(thread, &result);
        reached = result != NULL;
    }
    assert_int_equal(wrong, 0);
}

static void *be_the_application(void *unused)
{
    until_stop = 1;
    CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL_CTX, 0, NULL, NULL, NULL,
                            NULL); /* allocates under a lock of OpenSSL's */
    return unused;
}

/* What the application's own threads do with OpenSSL is not ours to hold: then open answers. */
static void test_a_child_that_finds_openssl_locked_is_told(void **state)
{
    (void)state;
    pthread_t thread;
    stopped_in_openssl = may_go_on = false;
    waits_for_leave = true;
    assert_int_equal(pthread_create(&thread, NULL, be_the_application, NULL), 0);
    while (!stopped_in_openssl) usleep(100);
    int wrong = open_in_a_child(LATCHKEY_UNAVAILABLE, "forked process");
    may_go_on = true;
    pthread_join(thread, NULL);
    waits_for_leave = false;
    assert_int_equal(wrong, 0);
    assert_int_equal(open_in_a_child(LATCHKEY_OK, NULL), 0);
}

/* ---------------------------------------------------------------------------------------------- no memory -- */

static void begin_shortage(long nth)
{
    short_of_memory = true;
    until_failure = nth;
    failures = 0;
}

static bool end_shortage(void)
{
    short_of_memory = false;
    return failures > 0;
}

static void test_context_without_memory(void **state)
{
    (void)state;
    char text[900], error[256] = "";
    lk_config config;
    int refused = 0;
    snprintf(text, sizeof text, "rediss://h?ca_file=%s&cert_file=%s&key_file=%s", pki_crt("ca"), pki_crt("server"),
             pki_key("server"));
    assert_int_equal(lk_config_parse(text, &config, error, sizeof error), LATCHKEY_OK);
    for (long nth = 1;; nth += 1 + nth / 50) { /* most of them are for each of some hundred names in tables */
        lk_tls_context *made = NULL;
        begin_shortage(nth);
        int status = lk_tls_context_open(&config, &made, error, sizeof error);
        bool failed = end_shortage();
        assert_true(status == LATCHKEY_OK || status == LATCHKEY_NO_MEMORY || status == LATCHKEY_CONFIG);
        assert_int_equal(status == LATCHKEY_OK, made != NULL);
        lk_tls_context_close(made);
        refused += status != LATCHKEY_OK;
        if (!failed) break;
    }
    assert_true(refused > 10);
}

/* Whatever fails on our side: lost or alive, and never a connection that was not verified. */
static void test_connections_without_memory(void **state)
{
    (void)state;
    int lost = 0;
    for (long nth = 1;; nth++) {
        ends e;
        char got[64];
        lk_addresses addresses = {.tls = context, .host = "c.test"};
        if (nth % 2) snprintf(addresses.host, sizeof addresses.host, "a.test");
        pair_up(&e);
        begin_shortage((nth + 1) / 2);
        bool good = lk_net_secure(&e.client, &addresses), answered = false;
        short_of_memory = false;
        ask(&e);
        for (int i = 0; i < 20 && good && !answered; i++) {
            short_of_memory = true;
            good = flush(&e) != LK_NET_LOST && fill(&e) != LK_NET_LOST;
            short_of_memory = false;
            answered = server_reads(&e, got, sizeof got) > 0;
        }
        bool failed = end_shortage();
        if (!(nth % 2)) assert_false(answered);
        if (answered) answer(&e);
        lost += !answered;
        drop_ends(&e);
        if (!failed && !(nth % 2)) break;
    }
    assert_true(lost > 20);
    once("a.test");
}

/* A process may open more handles in its life than there are numbers for kinds of BIO. */
static void test_many_contexts(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        teardown(NULL);
        setup(NULL);
    }
    once("a.test");
}

static int group_setup(void **state)
{
    unit_setup(state);
    pki_make(&(pki_card){.name = "ca", .ca = 1});
    pki_make(&(pki_card){.name = "server", .for_names = "DNS:a.test,DNS:b.test", .issuer = "ca"});
    pki_make(&(pki_card){.name = "plain.test", .issuer = "ca"});
    pki_make(&(pki_card){.name = "numbered.test", .for_names = "IP:127.0.0.1,IP:::1,IP:fe80::1", .issuer = "ca"});
    pki_make(&(pki_card){.name = "mail.test", .for_names = "email:a@mail.test", .issuer = "ca"});
    pki_make(&(pki_card){.name = "other-ca", .ca = 1});
    pki_make(&(pki_card){.name = "other", .for_names = "DNS:a.test", .issuer = "other-ca"});
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_later_handshakes_resume),
        TEST(test_session_is_for_the_name_that_was_verified),
        TEST(test_session_ends_with_the_certificate),
        TEST(test_ticket_of_tls_1_3_is_used_once),
        TEST(test_session_that_failed_is_dropped),
        TEST(test_session_outlives_a_broken_connection),
        TEST(test_many_sessions_have_a_limit),
        TEST(test_G_a_flood_before_the_handshake_is_taken_in_parts),
        TEST(test_G_a_flood_of_tickets_is_taken_in_parts),
        TEST(test_tickets_on_an_idle_connection_are_not_unasked_data),
        TEST(test_idle_connection_with_something_to_read_is_not_good),
        TEST(test_nothing_stays_in_openssl_while_the_socket_is_silent),
        TEST(test_partial_writes),
        TEST(test_handshake_waits_for_the_server_to_speak),
        TEST(test_close_says_goodbye),
        TEST(test_goodbye_of_the_server),
        TEST(test_last_words_are_heard_and_no_signal_is_raised),
        TEST(test_queue_of_errors_is_left_as_it_was),
        TEST(test_a_context_leaves_the_queue_as_it_was),
        TEST(test_the_common_name_counts_only_without_other_names),
        TEST(test_hosts_as_people_write_them),
        TEST(test_certificates_of_cas_that_change),
        TEST(test_a_certificate_of_our_own_that_changes),
#ifndef __SANITIZE_ADDRESS__ /* its allocator may be locked in such a child */
        TEST(test_no_child_finds_openssl_locked_by_us),
#endif
        TEST(test_a_child_that_finds_openssl_locked_is_told),
        TEST(test_many_contexts),
        TEST(test_context_without_memory),
        TEST(test_connections_without_memory),
    };
    if (!CRYPTO_set_mem_functions(take_memory, take_more_memory, give_memory)) return 1; /* before its first use */
    return cmocka_run_group_tests(tests, group_setup, NULL);
}

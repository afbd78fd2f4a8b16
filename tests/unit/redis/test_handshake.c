/* SPDX-License-Identifier: MIT
 *
 * Who is there? Servers that cannot keep the guarantees are refused by what they say of themselves, and what they say
 * never brings a password into a text. (Guarantees C and F.)
 */
#include "redis/handshake.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static const char run_id[] = "0123456789abcdef0123456789abcdef01234567";

static lk_config config_of(const char *text)
{
    lk_config config;
    char error[160];
    if (lk_config_parse(text, &config, error, sizeof error)) fail_msg("%s: %s", text, error);
    return config;
}

static const char *info_server(const char *version, const char *mode, const char *id)
{
    static char text[512];
    snprintf(text, sizeof text,
             "# Server\r\nredis_version:%s\r\nredis_git_sha1:00000000\r\nredis_mode:%s\r\nos:Linux\r\nrun_id:%s\r\n"
             "tcp_port:6379\r\n",
             version, mode, id);
    return text;
}

static const char primary[] = "# Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_replid:8c1\r\n";

#define MYID "07c37dfeb235213a872192d90877d0cd55635b91"

static void feed_bulk(lk_conn *conn, const char *text)
{
    char header[32];
    snprintf(header, sizeof header, "$%zu\r\n", strlen(text));
    assert_true(lk_conn_feed(conn, header, strlen(header)) && lk_conn_feed(conn, text, strlen(text)) &&
                lk_conn_feed(conn, "\r\n", 2));
}

/* Takes what was fed; true where that was the end of it. */
static bool take_all(lk_handshake *hello, lk_conn *conn)
{
    lk_reply *reply;
    bool done = false;
    while (!done && lk_conn_next(conn, &reply) > 0) {
        done = lk_handshake_take(hello, reply);
        lk_reply_free(reply);
    }
    return done;
}

/* A greeting of a server that answers these two to INFO. */
static lk_handshake greet_by(const char *url, const char *server, const char *replication)
{
    lk_config config = config_of(url);
    lk_conn conn;
    lk_handshake hello;
    assert_true(lk_conn_open(&conn) && lk_handshake_send(&hello, &config, &conn));
    feed_bulk(&conn, server);
    feed_bulk(&conn, replication);
    if (config.cluster) feed_bulk(&conn, MYID);
    assert_true(take_all(&hello, &conn));
    lk_conn_close(&conn);
    return hello;
}

static lk_handshake greet(const char *server, const char *replication)
{
    return greet_by("redis://h", server, replication);
}

/* The same, where every reply is this line. */
static lk_handshake greet_raw(const char *url, const char *line)
{
    lk_config config = config_of(url);
    lk_conn conn;
    lk_handshake hello;
    assert_true(lk_conn_open(&conn) && lk_handshake_send(&hello, &config, &conn));
    for (unsigned i = hello.answers; i; i--) assert_true(lk_conn_feed(&conn, line, strlen(line)));
    assert_true(take_all(&hello, &conn));
    lk_conn_close(&conn);
    return hello;
}

static void assert_refused(const lk_handshake *hello, int status, const char *named)
{
    if (hello->status != status || !strstr(hello->error, named))
        fail_msg("%d '%s', wanted %d '%s'", hello->status, hello->error, status, named);
}

/* --------------------------------------------------------------------------------------------- what is sent -- */

static void assert_sent(const char *url, const char *expected, unsigned answers)
{
    lk_config config = config_of(url);
    lk_conn conn;
    lk_handshake hello;
    lk_resp *resp = lk_resp_open();
    lk_reply *command;
    const char *bytes;
    char words[256] = "";
    assert_true(lk_conn_open(&conn) && lk_handshake_send(&hello, &config, &conn));
    assert_int_equal(hello.answers, answers);
    assert_int_equal(conn.waiting, answers);
    size_t size = lk_conn_unsent(&conn, &bytes);
    assert_true(lk_resp_feed(resp, bytes, size));
    while (lk_resp_next(resp, &command) > 0) {
        for (size_t i = 0; i < command->size; i++) {
            strcat(words, command->item[i]->text);
            strcat(words, i + 1 < command->size ? " " : "; ");
        }
        lk_reply_free(command);
    }
    assert_string_equal(words, expected);
    lk_resp_close(resp);
    lk_conn_close(&conn);
}

static void test_what_is_said_first(void **state)
{
    (void)state;
    assert_sent("redis://h", "INFO server; INFO replication; ", 2);
    assert_sent("redis://:pw@h", "AUTH pw; INFO server; INFO replication; ", 3);
    assert_sent("redis://u:p%20w@h", "AUTH u p w; INFO server; INFO replication; ", 3);
    assert_sent("redis://h/3", "SELECT 3; INFO server; INFO replication; ", 3);
    assert_sent("unix://u:pw@/s?db=3", "AUTH u pw; SELECT 3; INFO server; INFO replication; ", 4);
}

/* --------------------------------------------------------------------------------------------- who answers -- */

static void test_versions(void **state)
{
    (void)state;
    const struct {
        const char *version;
        bool good;
    } rows[] = {{"6.2.0", true},   {"6.2", true},        {"6.10.1", true},      {"7.0.15", true},  {"7.4.1", true},
                {"8.0.0", true},   {"10.0.0", true},     {"255.255.255", true}, {"6.1.99", false}, {"6.0.16", false},
                {"5.0.14", false}, {"2.8.24", false},    {"0.0.0", false},      {"", false},       {"x", false},
                {"7", false},      {"seven.two", false}, {"-7.9", false}};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        lk_handshake hello = greet(info_server(rows[i].version, "standalone", run_id), primary);
        if (rows[i].good) assert_int_equal(hello.status, LATCHKEY_OK);
        else assert_int_equal(hello.status, LATCHKEY_CONFIG);
    }
    lk_handshake hello = greet(info_server("5.0.14", "standalone", run_id), primary);
    assert_refused(&hello, LATCHKEY_CONFIG, "5.0.14");
    hello = greet(info_server("5.0\033[31m\x07", "standalone", run_id), primary);
    assert_refused(&hello, LATCHKEY_CONFIG, "5.0?"); /* and nothing for a terminal to obey */
    assert_null(strchr(hello.error, '\033'));
}

#define VALKEY "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n"

static void test_what_is_not_a_primary_alone(void **state)
{
    (void)state;
    lk_handshake hello = greet(info_server("7.2.0", "cluster", run_id), primary);
    assert_refused(&hello, LATCHKEY_CONFIG, "Cluster");
    hello = greet(info_server("7.2.0", "sentinel", run_id), primary);
    assert_refused(&hello, LATCHKEY_CONFIG, "Sentinel");
    /* Valkey names the field otherwise. */
    const struct {
        const char *mode, *named;
    } modes[] = {{"cluster", "Cluster"}, {"sentinel", "Sentinel"}, {"", "redis_mode"}, {"new", "redis_mode"}};
    char text[300];
    for (size_t i = 0; i < UNIT_COUNT(modes); i++) {
        snprintf(text, sizeof text, VALKEY "server_mode:%s\r\nrun_id:%s\r\n", modes[i].mode, run_id);
        hello = greet(text, primary);
        assert_refused(&hello, LATCHKEY_CONFIG, modes[i].named);
    }
    snprintf(text, sizeof text, VALKEY "server_mode:standalone\r\nrun_id:%s\r\n", run_id);
    hello = greet(text, primary);
    assert_int_equal(hello.status, LATCHKEY_OK);
    hello = greet(info_server("7.2.0", "standalone", run_id), "# Replication\r\nrole:slave\r\nmaster_host:x\r\n");
    assert_refused(&hello, LATCHKEY_CONFIG, "replica");
    hello = greet(info_server("7.2.0", "standalone", run_id), "role:replica\r\n");
    assert_refused(&hello, LATCHKEY_CONFIG, "replica");
}

static void test_nodes_of_a_cluster(void **state)
{
    (void)state;
    const char url[] = "redis+cluster://h,g", replica[] = "role:slave\r\nmaster_host:x\r\nmaster_replid:8c1\r\n";
    lk_handshake hello = greet_by(url, info_server("7.0.15", "cluster", run_id), primary);
    assert_int_equal(hello.status, LATCHKEY_OK);
    hello = greet_by(url, VALKEY "server_mode:cluster\r\nrun_id:1\r\n", primary);
    assert_int_equal(hello.status, LATCHKEY_OK);
    hello = greet_by(url, info_server("6.2.14", "cluster", run_id), primary);
    assert_refused(&hello, LATCHKEY_CONFIG, "7.0 or newer");
    hello = greet_by(url, info_server("7.0.15", "standalone", run_id), primary);
    assert_refused(&hello, LATCHKEY_CONFIG, "use redis://");
    hello = greet_by(url, info_server("7.0.15", "sentinel", run_id), primary);
    assert_refused(&hello, LATCHKEY_CONFIG, "Sentinel");
    /* A node that is a replica now is not a wrong configuration: the primary is looked for. */
    hello = greet_by(url, info_server("7.0.15", "cluster", run_id), replica);
    assert_refused(&hello, LATCHKEY_UNAVAILABLE, "replica now");
    hello = greet(info_server("7.0.15", "cluster", run_id), primary);
    assert_refused(&hello, LATCHKEY_CONFIG, "use redis+cluster://");
}

static void test_what_is_not_redis(void **state)
{
    (void)state;
    /* Which field is missing is said; none is taken for its harmless value. */
    const struct {
        const char *server, *named;
    } servers[] = {{"", "redis_version"},
                   {"# Server\r\n", "redis_version"},
                   {"redis_version:7.2.0\r\nredis_mode:standalone\r\n", "run_id"},
                   {"run_id:abc\r\nredis_mode:standalone\r\n", "redis_version"},
                   {"redis_version:7.2.0\r\nrun_id:\r\n", "run_id"},
                   {"redis_version:7.2.0\r\nrun_id:abc\r\n", "redis_mode"},
                   {"redis_version\r\nrun_id:abc\r\n", "redis_version"},
                   {"xredis_version:7.2.0\r\nxrun_id:abc\r\n", "redis_version"}};
    for (size_t i = 0; i < UNIT_COUNT(servers); i++) {
        lk_handshake hello = greet(servers[i].server, primary);
        assert_refused(&hello, LATCHKEY_CONFIG, servers[i].named);
    }
    lk_handshake hello = greet(info_server("7.2.0", "standalone", run_id), "# Replication\r\n");
    assert_refused(&hello, LATCHKEY_CONFIG, "no role");
    hello = greet(info_server("7.2.0", "standalone", run_id), "role:master\r\n");
    assert_refused(&hello, LATCHKEY_CONFIG, "no master_replid");
    const char *lines[] = {"+OK\r\n", ":1\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "*1\r\n$4\r\nrole\r\n", "$0\r\n\r\n"};
    for (size_t i = 0; i < UNIT_COUNT(lines); i++) {
        hello = greet_raw("redis://h", lines[i]);
        assert_refused(&hello, LATCHKEY_CONFIG, "INFO");
    }
}

/* INFO's lines in another order, without CR, with values of any length. */
static void test_info_is_read_by_name(void **state)
{
    (void)state;
    char text[3000], filler[1000];
    memset(filler, 'y', sizeof filler - 1);
    filler[sizeof filler - 1] = 0;
    snprintf(text, sizeof text, "%s:%s\nrun_id:%s\n\n\nrun_id_2:zzz\nredis_mode:standalone\nredis_version:7.2.0",
             filler, filler, run_id);
    lk_handshake hello = greet(text, "x:role:slave\nrole:master\nmaster_replid2:0\nmaster_replid:8c1");
    assert_int_equal(hello.status, LATCHKEY_OK);
    lk_handshake other = greet(info_server("7.2.0", "standalone", run_id), primary);
    assert_true(hello.incarnation == other.incarnation);
    const char *fields[] = {"run_id", "redis_version", "redis_mode"};
    for (size_t i = 0; i < UNIT_COUNT(fields); i++) { /* a value that does not fit is not one that is cut */
        snprintf(text, sizeof text, "%s:%s\nrun_id:%s\nredis_version:7.2.0\nredis_mode:standalone\n", fields[i], filler,
                 run_id);
        hello = greet(text, "role:master\nmaster_replid:8c1");
        assert_refused(&hello, LATCHKEY_CONFIG, fields[i]);
    }
}

static void test_incarnations_differ(void **state)
{
    (void)state;
    char id[sizeof run_id];
    memcpy(id, run_id, sizeof id);
    lk_handshake first = greet(info_server("7.2.0", "standalone", id), primary);
    assert_true(first.incarnation != 0);
    for (size_t at = 0; at < sizeof id - 1; at++) {
        memcpy(id, run_id, sizeof id);
        id[at] = 'f' - (id[at] == 'f');
        lk_handshake hello = greet(info_server("7.2.0", "standalone", id), primary);
        assert_true(hello.incarnation != 0 && hello.incarnation != first.incarnation);
    }
    lk_handshake promoted = greet(info_server("7.2.0", "standalone", run_id), "role:master\r\nmaster_replid:8c2\r\n");
    assert_int_equal(promoted.status, LATCHKEY_OK);
    assert_true(promoted.incarnation != first.incarnation && promoted.replication != first.replication);
    lk_handshake nameless = greet(info_server("7.2.0", "standalone", run_id), "role:master\r\nmaster_replid:\r\n");
    assert_refused(&nameless, LATCHKEY_CONFIG, "INFO");
}

/* -------------------------------------------------------------------------------------------------- errors -- */

static void test_errors_are_told_in_words(void **state)
{
    (void)state;
    const struct {
        const char *url, *line, *named;
        int status;
    } rows[] = {
        {"redis://h", "-NOAUTH Authentication required.\r\n", "password", LATCHKEY_CONFIG},
        {"redis://h", "-LOADING Redis is loading the dataset in memory\r\n", "LOADING", LATCHKEY_UNAVAILABLE},
        {"redis://h", "-NOPERM User x has no permissions to run the 'info' command\r\n", "ACL", LATCHKEY_CONFIG},
        {"redis://h", "-MASTERDOWN Link with MASTER is down\r\n", "MASTERDOWN", LATCHKEY_UNAVAILABLE},
        {"redis://h", "-ERR max number of clients reached\r\n", "max number of clients", LATCHKEY_UNAVAILABLE},
        {"redis://h", "-whatever\r\n", "whatever", LATCHKEY_UNAVAILABLE},
        {"redis://:p@h", "-WRONGPASS invalid username-password pair or user is disabled.\r\n", "password",
         LATCHKEY_CONFIG},
        {"redis://:p@h", "-ERR invalid password\r\n", "password", LATCHKEY_CONFIG},
        {"redis://:p@h", "-ERR Client sent AUTH, but no password is set\r\n", "password", LATCHKEY_CONFIG},
        {"redis://:p@h", "-LOADING Redis is loading the dataset in memory\r\n", "LOADING", LATCHKEY_UNAVAILABLE},
        {"redis://h/99", "-ERR DB index is out of range\r\n", "database", LATCHKEY_CONFIG},
        {"redis://h/99", "-ERR invalid DB index\r\n", "database", LATCHKEY_CONFIG},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        lk_handshake hello = greet_raw(rows[i].url, rows[i].line);
        assert_refused(&hello, rows[i].status, rows[i].named);
    }
}

/* A server that is full says so before it reads AUTH: that is no refusal of the password, and waiting mends it. */
static void test_a_full_server_does_not_refuse_the_password(void **state)
{
    (void)state;
    lk_handshake hello = greet_raw("redis://:p@h", "-ERR max number of clients reached\r\n");
    assert_int_equal(hello.status, LATCHKEY_UNAVAILABLE);
}

/* Something that is nearly Redis may repeat what it was sent. */
static void test_auth_errors_that_echo_the_password(void **state)
{
    (void)state;
    const char *lines[] = {
        "-ERR unknown command 'AUTH', with args beginning with: 'u' 's3cret'\r\n",
        "-ERR unknown command `AUTH`, with args beginning with: `s3cret`, \r\n",
        "-WRONGPASS s3cret is not the password\r\n",
        "-s3cret\r\n",
        "-NOPERM s3cret\r\n",
        "-LOADING s3cret\r\n",
        "-ERR DENIED s3cret\r\n",
    };
    const char *urls[] = {"redis://u:s3cret@h", "redis://:s3cret@h", "redis://:s3cret@h/3"};
    for (size_t i = 0; i < UNIT_COUNT(lines); i++) {
        for (size_t k = 0; k < UNIT_COUNT(urls); k++) {
            lk_handshake hello = greet_raw(urls[k], lines[i]);
            assert_int_not_equal(hello.status, LATCHKEY_OK);
            if (strstr(hello.error, "s3cret")) fail_msg("the text gives it away: %s", hello.error);
        }
    }
}

static void test_the_first_error_is_the_cause(void **state)
{
    (void)state;
    lk_config config = config_of("redis://:p@h/3");
    lk_conn conn;
    lk_handshake hello;
    lk_reply *reply;
    const char lines[] = "-WRONGPASS x\r\n-NOAUTH x\r\n-NOAUTH x\r\n-NOAUTH x\r\n";
    assert_true(lk_conn_open(&conn) && lk_handshake_send(&hello, &config, &conn));
    assert_true(lk_conn_feed(&conn, lines, strlen(lines)));
    while (lk_conn_next(&conn, &reply) > 0) { /* all are taken, as the pool does */
        assert_true(lk_handshake_take(&hello, reply));
        lk_reply_free(reply);
    }
    assert_refused(&hello, LATCHKEY_CONFIG, "AUTH");
    assert_int_equal(hello.answers, 0);
    lk_conn_close(&conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_said_first),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_what_is_not_a_primary_alone),
        cmocka_unit_test(test_nodes_of_a_cluster),
        cmocka_unit_test(test_what_is_not_redis),
        cmocka_unit_test(test_info_is_read_by_name),
        cmocka_unit_test(test_incarnations_differ),
        cmocka_unit_test(test_errors_are_told_in_words),
        cmocka_unit_test(test_a_full_server_does_not_refuse_the_password),
        cmocka_unit_test(test_auth_errors_that_echo_the_password),
        cmocka_unit_test(test_the_first_error_is_the_cause),
    };
    return cmocka_run_group_tests_name("handshake", tests, unit_setup, NULL);
}

/* SPDX-License-Identifier: MIT
 *
 * rediss://: a real Redis behind TLS. The whole life of a session; every way in which the two do not fit together is
 * refused with a text that says which; faults on the wire are no answers.
 */
#include "fake.h"
#include "test_handle.h"
#include "logbook.h"
#include "pki.h"
#include "proxy.h"
#include "threads.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LONG = 20000, SHORT = 700 };

/* ----------------------------------------------------------------------------------- certificates and servers -- */

#define LOCAL "DNS:localhost,IP:127.0.0.1"

static const pki_card cards[] = {
    {.name = "ca", .ca = 1},
    {.name = "other-ca", .ca = 1},
    {.name = "good", .for_names = LOCAL, .issuer = "ca"},
    {.name = "named", .for_names = "DNS:redis.internal,DNS:*.redis.example", .issuer = "ca"},
    {.name = "numbered", .for_names = "IP:127.0.0.1", .issuer = "ca"},
    {.name = "expired", .for_names = LOCAL, .issuer = "ca", .from_s = -7200, .until_s = -3600},
    {.name = "early", .for_names = LOCAL, .issuer = "ca", .from_s = 3600, .until_s = 7200},
    {.name = "self", .for_names = LOCAL},
    {.name = "stranger", .for_names = LOCAL, .issuer = "other-ca"},
    {.name = "client", .issuer = "ca"},
    {.name = "foreign-client", .issuer = "other-ca"},
    {.name = "locked", .issuer = "ca", .passphrase = "hunter2secret"},
    {.name = "redis.cn", .issuer = "ca"}, /* no subjectAltName */
};

static int group_start(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++) pki_make(&cards[i]);
    server = redis_start("--tls-cert-file", pki_crt("good"), "--tls-key-file", pki_key("good"), "--tls-ca-cert-file",
                         pki_crt("ca"), "--tls-auth-clients", "no");
    return 0;
}

static void present(const char *name)
{
    redis_do(server, "CONFIG SET tls-cert-file %s tls-key-file %s", pki_crt(name), pki_key(name));
}

static int clean(void **state)
{
    server_clean(state);
    present("good");
    redis_do(server, "CONFIG SET tls-auth-clients no tls-protocols %s tls-ciphers %s", "TLSv1.2 TLSv1.3", "DEFAULT");
    return 0;
}

static int leave(void **state)
{
    logbook_close();
    return handle_close_all(state);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, clean, leave)

static void copy_file(const char *from, const char *to)
{
    static char bytes[20000];
    FILE *file = fopen(from, "r");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    check_write_file(to, bytes, size);
}

/* The configuration of a handle that trusts our CA; with generous times unless others are given. */
static const char *config_at(const char *host, int port, const char *options)
{
    static char config[1024];
    snprintf(config, sizeof config, "rediss://%s:%d?ca_file=%s%s%s%s%s", host, port, pki_crt("ca"),
             strstr(options, "deadline_ms=") ? "" : "&deadline_ms=10000",
             strstr(options, "staleness_ms=") ? "" : "&staleness_ms=20000", *options ? "&" : "", options);
    return config;
}

static const char *client_options(const char *certificate, const char *key)
{
    static char options[600];
    snprintf(options, sizeof options, "cert_file=%s&key_file=%s", pki_crt(certificate), pki_key(key));
    return options;
}

static latchkey *open_tls(const char *options)
{
    return handle_open_config(config_at("localhost", server->port, options));
}

static void expect(const char *config, int status, const char *part)
{
    char error[256] = "";
    latchkey *lk = NULL;
    int got = latchkey_open(config, &lk, error, sizeof error);
    if (got == LATCHKEY_OK) latchkey_close(lk);
    if (got != status) print_error("%s\n  %s\n", config, error);
    assert_status(NULL, status, got);
    if (part) assert_contains(error, part);
    assert_true(strlen(error) < 160); /* what last_error and the log have room for */
}

static void expect_refused(const char *part)
{
    expect(config_at("localhost", server->port, ""), LATCHKEY_CONFIG, part);
}

/* ------------------------------------------------------------------------------------------------ at its best -- */

static void test_whole_life(void **state)
{
    (void)state;
    latchkey *a = open_tls(""), *b = open_tls("staleness_ms=1000");
    char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE];
    make_session(a, 1, token);
    make_session(a, 2, other);
    warm(a, token);
    warm(b, token);
    assert_status(a, LATCHKEY_OK, set_field(a, token, "note", "text"));
    assert_status(b, LATCHKEY_OK, load(b, token));
    assert_status(b, LATCHKEY_OK, touch(b, token));
    size_t loaded = 0;
    latchkey *c = open_tls("");
    assert_status(c, LATCHKEY_OK, latchkey_prewarm(c, 10, &loaded));
    assert_int_equal(loaded, 2);
    assert_status(c, LATCHKEY_OK, try_validate(c, other));
    assert_status(a, LATCHKEY_OK, end_session(a, token));
    assert_status(a, LATCHKEY_NOT_FOUND, validate(a, token));
    wait_for(try_validate(b, token) != LATCHKEY_OK && try_validate(c, token) != LATCHKEY_OK); /* they heard of it */
    assert_status(b, LATCHKEY_NOT_FOUND, validate(b, token));
    assert_status(b, LATCHKEY_OK, validate(b, other));
    assert_true(stats_of(b).purges > 0);
}

static void test_schemes(void **state)
{
    (void)state;
    static const char *const schemes[] = {"REDISS", "Rediss", "valkeys", "VALKEYS"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        char config[1024];
        snprintf(config, sizeof config, "%s%s", schemes[i],
                 config_at("localhost", server->port, "") + strlen("rediss"));
        handle_close(handle_open_config(config));
    }
}

static void test_both_versions_of_tls(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    static const char *const versions[] = {"TLSv1.2", "TLSv1.3"};
    for (int i = 0; i < 2; i++) {
        redis_do(server, "CONFIG SET tls-protocols %s", versions[i]);
        latchkey *lk = open_tls("l1_capacity=0");
        make_session(lk, 1, token);
        for (int n = 0; n < 20; n++) assert_status(lk, LATCHKEY_OK, validate(lk, token));
    }
}

static void test_addresses_and_names(void **state)
{
    (void)state;
    handle_open_config(config_at("127.0.0.1", server->port, ""));
    present("numbered");
    handle_open_config(config_at("127.0.0.1", server->port, ""));
    expect_refused("not for 'localhost'");
    present("named");
    expect(config_at("127.0.0.1", server->port, ""), LATCHKEY_CONFIG, "not for '127.0.0.1'");
    /* server_name says what is verified instead. */
    handle_open_config(config_at("127.0.0.1", server->port, "server_name=redis.internal"));
    handle_open_config(config_at("127.0.0.1", server->port, "server_name=REDIS.internal"));
    handle_open_config(config_at("127.0.0.1", server->port, "server_name=a.redis.example"));
    expect(config_at("127.0.0.1", server->port, "server_name=a.b.redis.example"), LATCHKEY_CONFIG, "a.b.redis.example");
    expect(config_at("127.0.0.1", server->port, "server_name=redis.internal.evil"), LATCHKEY_CONFIG,
           "redis.internal.evil");
    expect(config_at("localhost", server->port, "server_name=127.0.0.1"), LATCHKEY_CONFIG, "not for '127.0.0.1'");
    expect(config_at("127.0.0.1", server->port, "server_name=numbered"), LATCHKEY_CONFIG, "not for 'numbered'");
    present("numbered"); /* its common name does not count, since it has a subjectAltName */
    expect(config_at("127.0.0.1", server->port, "server_name=numbered"), LATCHKEY_CONFIG, "not for 'numbered'");
    present("good");
    handle_open_config(config_at("localhost.", server->port, ""));
    handle_open_config(
        config_at("127.0.0.1", server->port, "server_name=localhost.")); /* one name with or without the dot */
    handle_open_config(config_at("127.1", server->port, ""));
    present("redis.cn");
    handle_open_config(config_at("127.0.0.1", server->port, "server_name=redis.cn"));
}

/* Until `count` answers are there: how many of them have this status. The others are no answers. */
static size_t reap_all(latchkey *lk, size_t count, int status)
{
    size_t as_wanted = 0;
    latchkey_answer answers[64];
    struct pollfd ready = {.fd = latchkey_fd(lk), .events = POLLIN};
    assert_true(ready.fd >= 0);
    while (count) {
        assert_int_equal(poll(&ready, 1, CHECK_PATIENCE_MS), 1);
        size_t got = latchkey_reap(lk, answers, 64);
        for (size_t i = 0; i < got; i++) {
            assert_status_in(lk, answers[i].status, status, LATCHKEY_UNAVAILABLE);
            as_wanted += answers[i].status == status;
        }
        assert_true(got <= count);
        count -= got;
    }
    /* Tickets, and what a handshake waits for, do not keep the loop busy. */
    wait_for(latchkey_reap(lk, answers, 64) == 0 && poll(&ready, 1, 0) == 0);
    return as_wanted;
}

static size_t ask_one(latchkey *lk, const char *token, int status)
{
    assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, token, LATCHKEY_TOKEN_LENGTH, 0));
    return reap_all(lk, 1, status);
}

static void test_event_loop(void **state)
{
    (void)state;
    enum { SESSIONS = 300 };
    static char token[SESSIONS][LATCHKEY_TOKEN_SIZE];
    latchkey *maker = handle_open(server, ""), *lk = open_tls("l1_capacity=0");
    for (int i = 0; i < SESSIONS; i++) make_session(maker, 1 + (uint64_t)i, token[i]);
    for (int round = 0; round < 4; round++) {
        for (uint64_t i = 0; i < SESSIONS; i++)
            assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, token[i], LATCHKEY_TOKEN_LENGTH, i));
        assert_int_equal(reap_all(lk, SESSIONS, LATCHKEY_OK), SESSIONS);
        redis_do(server, "CLIENT KILL TYPE normal SKIPME yes");
        wait_for(ask_one(lk, token[0], LATCHKEY_OK)); /* over a new connection */
    }
    assert_status_in(maker, end_session(maker, token[0]), LATCHKEY_OK,
                     LATCHKEY_PENDING); /* its connections were killed, too */
    wait_for(ask_one(lk, token[0], LATCHKEY_NOT_FOUND));
}

/* Key material of all sizes that a record has, both ways, and more than sockets hold while the server stands still. */
static void test_large_records(void **state)
{
    (void)state;
    enum { FIELDS = 32, SIZE = 60000 };
    static unsigned char bytes[FIELDS][SIZE];
    latchkey_field fields[FIELDS];
    char names[FIELDS][16], token[LATCHKEY_TOKEN_SIZE];
    proxy *wire = proxy_start(server->port);
    latchkey *lk = handle_open_config(config_at("localhost", proxy_port(wire), "connections=2"));
    for (size_t count = 1; count <= FIELDS; count *= 2) {
        for (size_t i = 0; i < count; i++) {
            snprintf(names[i], sizeof *names, "pq.%zu", i);
            for (size_t n = 0; n < SIZE; n++) bytes[i][n] = (unsigned char)(i * 31 + n * 7 + n / 251);
            fields[i] = (latchkey_field){names[i], bytes[i], count == 1 ? 4500 : SIZE};
        }
        make_session_with(lk, 7, 0, 0, fields, count, token);
        latchkey_record *record;
        assert_status(lk, LATCHKEY_OK, latchkey_load(lk, token, LATCHKEY_TOKEN_LENGTH, &record));
        for (size_t i = 0; i < count; i++) {
            size_t size;
            const void *got = latchkey_record_field(record, names[i], &size);
            assert_int_equal(size, fields[i].size);
            assert_memory_equal(got, bytes[i], size);
        }
        latchkey_record_free(record);
    }
    proxy_end(wire);
}

/* -------------------------------------------------------------------------------------------- what is refused -- */

static void test_wrong_certificates_are_named(void **state)
{
    (void)state;
    present("expired");
    expect_refused("has expired");
    present("early");
    expect_refused("not valid yet");
    present("self");
    expect_refused("self-signed");
    present("stranger");
    expect_refused("issuer that is not trusted");
    present("named");
    expect_refused("not for 'localhost'");
    present("good");
    /* The system's CAs do not know ours. */
    char config[256];
    snprintf(config, sizeof config, "rediss://localhost:%d?deadline_ms=%d", server->port, LONG);
    expect(config, LATCHKEY_CONFIG, "ca_file");
    /* A self-signed one that is given is trusted; for its names. */
    present("self");
    snprintf(config, sizeof config, "rediss://localhost:%d?deadline_ms=%d&ca_file=%s", server->port, LONG,
             pki_crt("self"));
    handle_open_config(config);
    snprintf(config, sizeof config, "rediss://localhost:%d?deadline_ms=%d&ca_file=%s&server_name=x", server->port, LONG,
             pki_crt("self"));
    expect(config, LATCHKEY_CONFIG, "not for 'x'");
}

static void test_client_certificates(void **state)
{
    (void)state;
    static const char *const versions[] = {"TLSv1.2", "TLSv1.3"};
    for (int i = 0; i < 2; i++) {
        redis_do(server, "CONFIG SET tls-auth-clients yes tls-protocols %s", versions[i]);
        for (int n = 0; n < 10; n++) expect_refused("demands a client certificate");
        open_tls(client_options("client", "client"));
        for (int n = 0; n < 10; n++)
            expect(config_at("localhost", server->port, client_options("foreign-client", "foreign-client")),
                   LATCHKEY_CONFIG, "refuses the client certificate");
    }
    redis_do(server, "CONFIG SET tls-auth-clients optional tls-protocols %s", "TLSv1.2 TLSv1.3");
    open_tls("");
}

static void test_no_version_or_cipher_in_common(void **state)
{
    (void)state;
    redis_do(server, "CONFIG SET tls-protocols TLSv1.1 tls-ciphers DEFAULT@SECLEVEL=0");
    expect_refused("TLS 1.2 or newer");
    redis_do(server, "CONFIG SET tls-protocols TLSv1.2 tls-ciphers NULL-SHA256:@SECLEVEL=0");
    expect_refused("no cipher in common");
}

static void test_files_that_are_of_no_use(void **state)
{
    (void)state;
    char text[256], noise[256], torn[256], config[1024];
    check_temp_path("text", text, sizeof text);
    check_temp_path("torn", torn, sizeof torn);
    check_write_file(text, "hello, hunter2secret\n", 21);
    static const char bad[] = "-----BEGIN CERTIFICATE-----\nTm90IHJlYWxseSBvbmU=\n-----END CERTIFICATE-----\n";
    check_write_file(torn, bad, sizeof bad - 1);
    snprintf(noise, sizeof noise, "%s", pki_key("ca"));
    const struct {
        const char *ca, *certificate, *key, *named, *why;
    } rows[] = {
        {text, NULL, NULL, text, "ca_file: there is no certificate"},
        {noise, NULL, NULL, noise, "begins a PRIVATE KEY"},
        {torn, NULL, NULL, torn, "ca_file: certificate 1"},
        {NULL, text, "key", text, "cert_file: there is no certificate"},
        {NULL, torn, "key", torn, "cert_file: certificate 1"},
        {NULL, "crt", text, text, "key_file: there is no private key"},
        {NULL, "crt", torn, torn, "begins a CERTIFICATE: only a private key"},
        {NULL, "crt", "crt", "client.crt", "key_file: there is no private key"},
        {NULL, "crt", noise, noise, "key_file"},
        {NULL, "crt", noise, "client.crt", "is not the key of the certificate"},
        {NULL, "crt", "/nowhere/at/all", "/nowhere/at/all", "key_file: cannot open"},
        {NULL, "crt", "/", "'/'", "key_file: cannot read"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *certificate = rows[i].certificate, *key = rows[i].key;
        if (certificate && !strcmp(certificate, "crt")) certificate = pki_crt("client");
        if (key && !strcmp(key, "key")) key = pki_key("client");
        if (key && !strcmp(key, "crt")) key = pki_crt("client");
        int n = snprintf(config, sizeof config, "rediss://:hunter2@localhost:%d?ca_file=%s", server->port,
                         rows[i].ca ? rows[i].ca : pki_crt("ca"));
        if (certificate) snprintf(config + n, sizeof config - (size_t)n, "&cert_file=%s&key_file=%s", certificate, key);
        char error[512] = "";
        latchkey *lk;
        assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &lk, error, sizeof error));
        assert_contains(error, rows[i].named);
        assert_contains(error, rows[i].why);
        assert_lacks(error, "hunter2");
    }
    expect(config_at("localhost", server->port, client_options("locked", "locked")), LATCHKEY_CONFIG, "is encrypted");
}

static void test_plaintext_behind_rediss(void **state)
{
    (void)state;
    redis *plain = redis_start(NULL), *guarded = redis_start("--requirepass", "hunter2secret");
    expect(config_at("localhost", plain->port, ""), LATCHKEY_CONFIG, "does not speak TLS");
    expect(config_at("localhost", guarded->port, ""), LATCHKEY_CONFIG, "does not speak TLS");
    /* Also within the deadline that a handle has if none is given. */
    char config[512];
    snprintf(config, sizeof config, "rediss://localhost:%d?ca_file=%s&deadline_ms=3000", plain->port, pki_crt("ca"));
    expect(config, LATCHKEY_CONFIG, "does not speak TLS");
    redis_end(plain);
    redis_end(guarded);
    static const char *const greetings[] = {"SSH-2.0-OpenSSH_9.2p1\r\n", "220 mail ESMTP\r\n", "+PONG\r\n",
                                            "-ERR max number of clients reached\r\n",
                                            "HTTP/1.1 400 Bad Request\r\n\r\n"};
    for (size_t i = 0; i < sizeof greetings / sizeof *greetings; i++) {
        const fake_script script = {.greeting = greetings[i]};
        fake *f = fake_start(&script);
        expect(config_at("localhost", fake_port(f), ""), LATCHKEY_CONFIG, "does not speak TLS");
        fake_end(f);
    }
}

static void test_tls_behind_redis(void **state)
{
    (void)state;
    char config[256];
    snprintf(config, sizeof config, "redis://localhost:%d?deadline_ms=%d", server->port, SHORT);
    expect(config, LATCHKEY_UNAVAILABLE, "rediss://"); /* Redis closes without a word */
    /* Others say it, in TLS. */
    const fake_script script = {.answer = "\x15\x03\x01\x00\x02\x02\x46", .answer_size = 7, .close_after_answer = 1};
    fake *f = fake_start(&script);
    snprintf(config, sizeof config, "redis://localhost:%d?deadline_ms=%d", fake_port(f), LONG);
    expect(config, LATCHKEY_CONFIG, "use rediss://");
    fake_end(f);
}

static void test_servers_that_say_nothing(void **state)
{
    (void)state;
    char config[512];
    const fake_script mute = {0}, closes = {.close_at_once = 1};
    const fake_script *scripts[] = {&mute, &closes};
    for (int i = 0; i < 2; i++) {
        fake *f = fake_start(scripts[i]);
        snprintf(config, sizeof config, "rediss://localhost:%d?deadline_ms=%d", fake_port(f), SHORT);
        expect(config, LATCHKEY_UNAVAILABLE, NULL);
        fake_end(f);
    }
    /* A real one, in the middle of nothing. */
    redis_freeze(server);
    snprintf(config, sizeof config, "rediss://localhost:%d?ca_file=%s&deadline_ms=%d", server->port, pki_crt("ca"),
             SHORT);
    expect(config, LATCHKEY_UNAVAILABLE, NULL);
    snprintf(config, sizeof config, "rediss://localhost:%d?ca_file=%s&lazy=1", server->port, pki_crt("ca"));
    latchkey *lk = handle_open_config(config);
    wait_for(strstr(stats_of(lk).last_error, "does not answer")); /* it was given up, and is tried again */
    redis_thaw(server);
    wait_for(stats_of(lk).connected);
}

/* ----------------------------------------------------------------------------------------- faults while it runs -- */

static void test_A_server_dies_and_comes_back(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    redis *mortal =
        redis_start("--tls-cert-file", pki_crt("good"), "--tls-key-file", pki_key("good"), "--tls-ca-cert-file",
                    pki_crt("ca"), "--tls-auth-clients", "no", "--appendonly", "yes", "--appendfsync", "always");
    latchkey *lk = handle_open_config(config_at("localhost", mortal->port, "l1_capacity=0&staleness_ms=1000"));
    make_session(lk, 1, token);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(signal(SIGPIPE, SIG_DFL), SIG_DFL); /* it is not caught */
        redis_kill(mortal);
        for (int n = 0; n < 20; n++) assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, token));
        redis_boot(mortal);
        wait_for(validate(lk, token) == LATCHKEY_OK);
    }
    assert_true(stats_of(lk).reconnects > 0);
    redis_end(mortal);
}

static void test_G_calls_end_while_the_server_stands_still(void **state)
{
    (void)state;
    enum { SIZE = 65536, FIELDS = 64 };
    static unsigned char bytes[SIZE];
    latchkey_field fields[FIELDS];
    char names[FIELDS][16], token[LATCHKEY_TOKEN_SIZE], lost[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = open_tls("deadline_ms=500&l1_capacity=0");
    wait_for((make_session(lk, 1, token), validate(lk, token) == LATCHKEY_OK));
    for (size_t i = 0; i < FIELDS; i++) {
        snprintf(names[i], sizeof *names, "field%zu", i);
        fields[i] = (latchkey_field){names[i], bytes, SIZE};
    }
    latchkey_draft draft = {.size = sizeof draft, .user_id = 2, .fields = fields, .field_count = FIELDS};
    redis_freeze(server);
    int64_t start_ms = check_now_ms();
    assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, token));               /* on a connection that was there */
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_create(lk, &draft, lost)); /* more than sockets hold */
    for (int i = 0; i < 3; i++) assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, token));
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    assert_true(check_now_ms() - start_ms < 30000); /* at all, not to the millisecond */
    redis_thaw(server);
    wait_for(stats_of(lk).pending == 0);
    assert_status_in(lk, validate(lk, token), LATCHKEY_NOT_FOUND, LATCHKEY_UNAVAILABLE);
}

static void test_A_corrupted_bytes_are_no_answers(void **state)
{
    (void)state;
    static const size_t where[] = {0, 1, 3, 4, 5, 20, 40, 100000};
    char token[LATCHKEY_TOKEN_SIZE];
    proxy *wire = proxy_start(server->port);
    latchkey *lk = handle_open_config(
        config_at("localhost", proxy_port(wire), "l1_capacity=0&deadline_ms=600&staleness_ms=1000&lazy=1"));
    latchkey *maker = open_tls("");
    make_session(maker, 1, token);
    for (size_t i = 0; i < sizeof where / sizeof *where; i++) {
        wait_for(validate(lk, token) == LATCHKEY_OK);
        proxy_set(wire, PROXY_FLIP, NULL, where[i]);
        for (int n = 0; n < 5; n++) assert_status_in(lk, validate(lk, token), LATCHKEY_UNAVAILABLE);
        proxy_set(wire, PROXY_RELAY, NULL, 0);
    }
    /* And pieces of nothing. */
    static const char *const pieces[] = {"\x15\x03\x03\x00\x02\x02\x28", "\x17\x03\x03\x00\x05hello", "$5\r\nhello\r\n",
                                         "\x16\x03\x03\xff\xff"};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        wait_for(validate(lk, token) == LATCHKEY_OK);
        proxy_set(wire, PROXY_REPLACE, pieces[i], 5 + (i < 2) * 2);
        for (int n = 0; n < 3; n++) assert_status_in(lk, validate(lk, token), LATCHKEY_UNAVAILABLE);
        proxy_set(wire, PROXY_TRUNCATE, NULL, 3 + i);
        for (int n = 0; n < 3; n++) assert_status_in(lk, validate(lk, token), LATCHKEY_UNAVAILABLE);
        proxy_set(wire, PROXY_RELAY, NULL, 0);
    }
    wait_for(validate(lk, token) == LATCHKEY_OK);
    proxy_end(wire);
}

/* Another server answers at the address from now on: no answer, and above all no "no". */
static void test_A_another_server_in_its_place_is_no_answer(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    logbook_open();
    redis *impostor = redis_start("--tls-cert-file", pki_crt("self"), "--tls-key-file", pki_key("self"),
                                  "--tls-ca-cert-file", pki_crt("ca"), "--tls-auth-clients", "no");
    redis *plain = redis_start(NULL);
    proxy *wire = proxy_start(server->port);
    latchkey *lk =
        handle_open_config(config_at("localhost", proxy_port(wire), "l1_capacity=0&staleness_ms=1000&deadline_ms=800"));
    make_session(lk, 1, token);
    const struct {
        redis *on;
        const char *why;
    } others[] = {{impostor, "self-signed"}, {plain, "does not speak TLS"}};
    for (int i = 0; i < 2; i++) {
        proxy_aim(wire, others[i].on->port);
        proxy_drop_connections(wire);
        for (int n = 0; n < 10; n++) assert_status_in(lk, validate(lk, token), LATCHKEY_UNAVAILABLE);
        wait_for(logbook_has(others[i].why));
        assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, token));
        proxy_aim(wire, server->port);
        proxy_drop_connections(wire);
        wait_for(validate(lk, token) == LATCHKEY_OK);
    }
    assert_int_equal(redis_integer(impostor, "DBSIZE"), 0); /* it was told nothing */
    proxy_end(wire);
    redis_end(impostor);
    redis_end(plain);
}

/* Many threads on few connections: they pipeline behind each other, and each TLS connection is one thread's at a time. */
static void storm(crew_member *me)
{
    latchkey *const *lk = me->shared;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = {.size = sizeof draft, .user_id = 100 + me->index, .role = "member"};
    for (int i = 0; i < 60; i++) {
        latchkey_entry entry;
        if (latchkey_create(*lk, &draft, token) != LATCHKEY_OK) continue;
        int status = latchkey_validate(*lk, token, LATCHKEY_TOKEN_LENGTH, &entry);
        if (status == LATCHKEY_OK && entry.user_id != draft.user_id) abort();
        if (status > 0) abort();
        latchkey_revoke(*lk, token, LATCHKEY_TOKEN_LENGTH);
    }
}

static void test_I_many_threads_on_few_connections(void **state)
{
    (void)state;
    latchkey *lk = open_tls("connections=2&l1_capacity=0");
    crew_run(8, storm, &lk);
    assert_int_equal(stats_of(lk).l2_errors, 0);
}

static void test_J_child_leaves_the_connections_unharmed(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = open_tls("l1_capacity=0");
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    long long before = redis_info(server, "stats", "total_connections_received");
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            int status = validate(lk, token);
            latchkey_close(lk);
            _exit(status == LATCHKEY_FORKED ? 0 : 1);
        }
        int ended;
        assert_int_equal(waitpid(child, &ended, 0), child);
        assert_true(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
        assert_status(lk, LATCHKEY_OK, validate(lk, token));
        assert_status(lk, LATCHKEY_OK, load(lk, token));
    }
    assert_int_equal(redis_info(server, "stats", "total_connections_received"), before);
    assert_int_equal(stats_of(lk).reconnects, 0);
}

/* Files that change while a handle is open: new connections go by the new ones. */
static void test_files_that_change(void **state)
{
    (void)state;
    static const char *const parts[] = {"ca", "crt", "key"};
    char path[3][200], config[1024], token[LATCHKEY_TOKEN_SIZE];
    const char *const first[3] = {pki_crt("ca"), pki_crt("client"), pki_key("client")};
    for (int i = 0; i < 3; i++) {
        snprintf(config, sizeof config, "changing.%s", parts[i]);
        check_temp_path(config, path[i], sizeof *path);
        copy_file(first[i], path[i]);
    }
    logbook_open();
    redis_do(server, "CONFIG SET tls-auth-clients %s", "yes");
    snprintf(
        config, sizeof config,
        "rediss://localhost:%d?deadline_ms=10000&staleness_ms=2000&l1_capacity=0&ca_file=%s&cert_file=%s&key_file=%s",
        server->port, path[0], path[1], path[2]);
    latchkey *lk = handle_open_config(config);
    make_session(lk, 1, token);
    /* Everything is of the other CA now. */
    redis_do(server, "CONFIG SET tls-ca-cert-file %s tls-cert-file %s tls-key-file %s", pki_crt("other-ca"),
             pki_crt("stranger"), pki_key("stranger"));
    copy_file(pki_key("foreign-client"), path[2]);
    redis_do(server, "CLIENT KILL TYPE normal SKIPME yes");
    redis_do(server, "CLIENT KILL TYPE pubsub");
    wait_for(logbook_has("is not the key of the certificate")); /* half of the new ones: the old ones stay */
    wait_for(logbook_has("not trusted here"));
    assert_true(validate(lk, token) < 0);
    copy_file(pki_crt("foreign-client"), path[1]);
    copy_file(pki_crt("other-ca"), path[0]);
    wait_for(logbook_has("6 tls: a file has changed: all were read again"));
    wait_for(validate(lk, token) == LATCHKEY_OK);
    wait_for(ask_one(lk, token, LATCHKEY_OK));
    logbook_close();
    redis_do(server, "CONFIG SET tls-ca-cert-file %s tls-auth-clients no", pki_crt("ca"));
}

/* A child may open a handle of its own, over TLS too. */
static void test_J_child_opens_its_own(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], error[256];
    latchkey *lk = open_tls("");
    make_session(lk, 1, token);
    const char *config = config_at("localhost", server->port, "");
    pid_t child = fork();
    if (child == 0) {
        latchkey *own;
        int good =
            latchkey_open(config, &own, error, sizeof error) == LATCHKEY_OK && validate(own, token) == LATCHKEY_OK;
        if (good) latchkey_close(own);
        _exit(good ? 0 : 1);
    }
    int ended;
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_true(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_whole_life),
        TEST(test_schemes),
        TEST(test_both_versions_of_tls),
        TEST(test_addresses_and_names),
        TEST(test_event_loop),
        TEST(test_large_records),
        TEST(test_wrong_certificates_are_named),
        TEST(test_client_certificates),
        TEST(test_no_version_or_cipher_in_common),
        TEST(test_files_that_are_of_no_use),
        TEST(test_plaintext_behind_rediss),
        TEST(test_tls_behind_redis),
        TEST(test_servers_that_say_nothing),
        TEST(test_A_server_dies_and_comes_back),
        TEST(test_G_calls_end_while_the_server_stands_still),
        TEST(test_A_corrupted_bytes_are_no_answers),
        TEST(test_A_another_server_in_its_place_is_no_answer),
        TEST(test_I_many_threads_on_few_connections),
        TEST(test_J_child_leaves_the_connections_unharmed),
        TEST(test_files_that_change),
        TEST(test_J_child_opens_its_own),
    };
    return cmocka_run_group_tests(tests, group_start, server_end);
}

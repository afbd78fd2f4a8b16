/* SPDX-License-Identifier: MIT
 *
 * Sessions of TLS, with a real Redis: a handle's later connections go on with what its earlier ones agreed upon. That is
 * nothing that an answer shows, so the library's own count is asked, which is why this program is linked with its insides.
 */
#include "test_handle.h"
#include "pki.h"

#include <stdio.h>

/* After handle.h: the library's struct latchkey. */
#include "session/handle.h"

static int group_start(void **state)
{
    (void)state;
    pki_make(&(pki_card){.name = "ca", .ca = 1});
    pki_make(&(pki_card){.name = "good", .for_names = "DNS:localhost", .issuer = "ca"});
    server = redis_start("--tls-cert-file", pki_crt("good"), "--tls-key-file", pki_key("good"), "--tls-ca-cert-file",
                         pki_crt("ca"), "--tls-auth-clients", "no");
    return 0;
}

static latchkey *open_tls(void)
{
    char config[512];
    snprintf(config, sizeof config,
             "rediss://localhost:%d?ca_file=%s&deadline_ms=10000&staleness_ms=2000&l1_capacity=0", server->port,
             pki_crt("ca"));
    return handle_open_config(config);
}

static uint64_t resumed(const latchkey *lk) { return lk_tls_resumed(lk->config.tls_context); }

static void lose_connections(latchkey *lk)
{
    uint64_t before = stats_of(lk).reconnects;
    redis_do(server, "CLIENT KILL TYPE normal SKIPME yes");
    redis_do(server, "CLIENT KILL TYPE pubsub");
    wait_for(stats_of(lk).reconnects > before && stats_of(lk).connected);
}

static void resume_over(const char *version)
{
    char token[LATCHKEY_TOKEN_SIZE];
    redis_do(server, "CONFIG SET tls-protocols %s", version);
    latchkey *lk = open_tls();
    make_session(lk, 1, token); /* a third connection, behind the link's two */
    uint64_t first = resumed(lk);
    assert_true(first > 0);
    for (int i = 0; i < 3; i++) {
        uint64_t before = resumed(lk);
        lose_connections(lk);
        wait_for(validate(lk, token) == LATCHKEY_OK);
        assert_true(resumed(lk) > before);
    }
    handle_close(lk);
}

static void test_later_connections_resume_with_tls_1_3(void **state)
{
    (void)state;
    resume_over("TLSv1.3");
}

static void test_later_connections_resume_with_tls_1_2(void **state)
{
    (void)state;
    resume_over("TLSv1.2");
}

/* A server that was restarted knows none of the tickets: they cost nothing but themselves. */
static void test_tickets_of_yesterday_do_no_harm(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    redis_do(server, "CONFIG SET tls-protocols %s", "TLSv1.2 TLSv1.3");
    latchkey *lk = open_tls();
    for (int i = 0; i < 2; i++) {
        redis_kill(server);
        redis_boot(server);
        wait_for(stats_of(lk).reconnects > (uint64_t)i && stats_of(lk).connected);
        make_session(lk, 1, token);
        wait_for(validate(lk, token) == LATCHKEY_OK);
    }
    uint64_t before = resumed(lk);
    lose_connections(lk);
    wait_for(validate(lk, token) == LATCHKEY_OK && resumed(lk) > before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_later_connections_resume_with_tls_1_3),
        TEST(test_later_connections_resume_with_tls_1_2),
        TEST(test_tickets_of_yesterday_do_no_harm),
    };
    return cmocka_run_group_tests(tests, group_start, server_end);
}

/* SPDX-License-Identifier: MIT
 *
 * The auditor on a real Redis: it sees nothing while the promise of guarantee C is kept, whatever comes and goes; it sees
 * what a person does to Redis; and where it is off, it is off.
 */
#include "test_handle.h"
#include "logbook.h"
#include "proxy.h"
#include "threads.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------- the promise kept -- */

enum { SESSIONS = 3000, CHURNERS = 2 };

typedef struct churn {
    latchkey *audited, *other;
    char token[SESSIONS][LATCHKEY_TOKEN_SIZE];
    atomic_ulong revoked, changed, failed;
} churn;

/* Each has sessions of his own. What is revoked or changed there is held here, and made or read anew. */
static void come_and_go(crew_member *member)
{
    churn *c = member->shared;
    for (size_t i = 0; !crew_stopped(member); i++) {
        char *token = c->token[(i * 7 * CHURNERS + member->index) % SESSIONS];
        const char text[2] = {(char)('a' + i % 26)};
        latchkey_draft draft = {.size = sizeof draft, .user_id = i, .role = "user"};
        if (i % 3 == 0) {
            const latchkey_field field = {"pq.key", text, 1};
            c->failed += latchkey_set_fields(c->other, token, LATCHKEY_TOKEN_LENGTH, &field, 1) != LATCHKEY_OK;
            c->changed++;
        } else {
            latchkey *by = i % 3 == 1 ? c->other : c->audited;
            c->failed += latchkey_revoke(by, token, LATCHKEY_TOKEN_LENGTH) != LATCHKEY_OK;
            c->failed += latchkey_create(c->other, &draft, token) != LATCHKEY_OK;
            c->revoked++;
        }
        c->failed += latchkey_validate(c->audited, token, LATCHKEY_TOKEN_LENGTH, &(latchkey_entry){0}) != LATCHKEY_OK;
    }
}

static void test_C_nothing_disagrees_while_thousands_come_and_go(void **state)
{
    (void)state;
    static churn c;
    memset(&c, 0, sizeof c);
    c.other = handle_open(server, "staleness_ms=1000");
    c.audited = handle_open(server, "staleness_ms=1000&l1_capacity=4000&l1_ttl_ms=600000&audit_per_s=1000");
    for (unsigned i = 0; i < SESSIONS; i++) {
        make_session(c.other, i, c.token[i]);
        assert_status(c.audited, LATCHKEY_OK, validate(c.audited, c.token[i]));
    }
    uint64_t before = stats_of(c.audited).audited;
    crew *workers = crew_start(CHURNERS, come_and_go, &c);
    wait_for(stats_of(c.audited).audited >= before + 2000 && c.revoked >= 1000 && c.changed >= 500);
    crew_stop(workers);
    crew_join(workers);
    before = stats_of(c.audited).audited;
    wait_for(stats_of(c.audited).audited >= before + 2000); /* more than a bound later */
    latchkey_stats stats = stats_of(c.audited);
    print_message("%lu revoked, %lu changed; %llu audited, %llu suspicions\n", (unsigned long)c.revoked,
                  (unsigned long)c.changed, (unsigned long long)stats.audited,
                  (unsigned long long)stats.audit_suspicions);
    assert_int_equal(c.failed, 0);
    assert_true(stats.l1_entries >= SESSIONS / 2); /* a message that comes later than the fill takes it out again */
    assert_int_equal(stats.audit_disagreements, 0);
    assert_int_equal(stats_of(c.other).audited, 0);
}

/* The message is held up, within the bound. Again where the machine was so slow that a beat was missed over it. */
static int revoked_but_not_heard(latchkey *lk, latchkey *other, proxy *wire)
{
    char token[LATCHKEY_TOKEN_SIZE];
    uint64_t before = stats_of(lk).audit_suspicions;
    make_session(other, 8, token);
    warm(lk, token);
    proxy_set(wire, PROXY_HOLD_MESSAGES, NULL, 0);
    assert_status(other, LATCHKEY_OK, end_session(other, token));
    int64_t until = check_now_ms() + 800;
    while (stats_of(lk).audit_suspicions == before && check_now_ms() < until) check_pause();
    proxy_set(wire, PROXY_RELAY, NULL, 0);
    return stats_of(lk).audit_suspicions > before;
}

static void test_C_revocation_under_way_is_suspected_and_no_more(void **state)
{
    (void)state;
    proxy *wire = proxy_start(server->port);
    latchkey *other = handle_open(server, "");
    latchkey *lk =
        handle_open_at(proxy_port(wire), "staleness_ms=2000&deadline_ms=2000&l1_capacity=100&audit_per_s=100");
    int tries = 1;
    while (!revoked_but_not_heard(lk, other, wire)) assert_true(tries++ < 50);
    uint64_t beats = stats_of(lk).beats;
    wait_for(stats_of(lk).beats > beats + 6); /* four a bound */
    assert_true(stats_of(lk).audit_suspicions > 0);
    assert_int_equal(stats_of(lk).audit_disagreements, 0);
    handle_close(lk);
    proxy_end(wire);
}

/* They end in Redis by themselves, and in L1 before that. */
static void test_H_idle_expiry_is_no_disagreement(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=100&l1_capacity=300&l1_ttl_ms=600000&audit_per_s=1000");
    for (int round = 0; round < 3; round++) {
        char token[LATCHKEY_TOKEN_SIZE];
        for (unsigned i = 0; i < 200; i++) {
            make_session_with(lk, i, i % 2 ? 1000 : 600000, i % 2 ? 0 : 1000, NULL, 0, token);
            assert_status_in(lk, validate(lk, token), LATCHKEY_OK, LATCHKEY_NOT_FOUND, LATCHKEY_EXPIRED);
        }
        wait_for(redis_count_keys(server, "lk:{*}:s:*") == 0);
    }
    uint64_t beats = stats_of(lk).beats;
    wait_for(stats_of(lk).beats > beats + 8);
    assert_true(stats_of(lk).audited > 0);
    assert_int_equal(stats_of(lk).audit_disagreements, 0);
}

/* ------------------------------------------------------------------------------------------ somebody's hand -- */

static void assert_metric(latchkey *lk, const char *line)
{
    static char text[64 * 1024];
    size_t needed;
    assert_status(lk, LATCHKEY_OK, latchkey_metrics(lk, text, sizeof text, &needed));
    assert_contains(text, line);
}

static void test_C_session_deleted_by_hand_is_a_disagreement(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE], key[128], line[160];
    logbook_open();
    latchkey *lk = handle_open(server, "staleness_ms=300&l1_capacity=100&l1_ttl_ms=3600000&audit_per_s=100");
    make_session(lk, 8, token);
    make_session(lk, 9, other);
    warm(lk, token);
    warm(lk, other);
    wait_for(stats_of(lk).audited > 20);
    assert_int_equal(stats_of(lk).audit_suspicions, 0);

    int64_t from = check_now_ms();
    redis_do(server, "DEL %s", session_key(server, token, key));
    wait_for(stats_of(lk).audit_disagreements == 1);
    assert_true(check_now_ms() - from >= 300);
    assert_status(lk, LATCHKEY_OK, try_validate(lk, token)); /* which is what it says */
    snprintf(line, sizeof line, "3 audit: Redis has not held session %.20s for longer than the bound of ", token);
    wait_for(logbook_has(line));
    assert_metric(lk, "\nlatchkey_audit_disagreements_total 1\n");
    assert_metric(lk, "\nlatchkey_audit_suspicions_total 1\n");

    uint64_t audited = stats_of(lk).audited;
    wait_for(stats_of(lk).audited > audited + 100); /* counted once, however often it is found */
    assert_int_equal(stats_of(lk).audit_disagreements, 1);
    char *text = logbook_text();
    assert_lacks(text, token);
    assert_lacks(text, token + LATCHKEY_SELECTOR_LENGTH);
    free(text);
    logbook_close();
}

static void test_C_record_changed_by_hand_is_a_disagreement(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE], key[128], from[128];
    logbook_open();
    latchkey *lk = handle_open(server, "staleness_ms=300&l1_capacity=100&l1_ttl_ms=3600000&audit_per_s=100");
    make_session(lk, 8, token);
    make_session(lk, 9, other);
    warm(lk, token);
    /* The whole of another's, under this one's name. */
    redis_do(server, "COPY %s %s REPLACE", session_key(server, other, from), session_key(server, token, key));
    wait_for(stats_of(lk).audit_disagreements == 1);
    wait_for(logbook_has("3 audit: Redis has held something else for session "));
    logbook_close();
}

/* ------------------------------------------------------------------------------------------------------ off -- */

static void test_off_it_asks_nothing(void **state)
{
    (void)state;
    enum { HELD = 50 };
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(server, "staleness_ms=200&l1_capacity=100&l1_ttl_ms=3600000");
    for (unsigned i = 0; i < HELD; i++) make_session(lk, i, token);
    long long before = redis_calls(server, "hget");
    warm(lk, token);
    uint64_t beats = stats_of(lk).beats;
    wait_for(stats_of(lk).beats > beats + 20);
    latchkey_stats stats = stats_of(lk);
    assert_int_equal(redis_calls(server, "hget") - before, stats.l2_reads);
    assert_int_equal(stats.audited, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_C_nothing_disagrees_while_thousands_come_and_go),
        TEST(test_C_revocation_under_way_is_suspected_and_no_more),
        TEST(test_H_idle_expiry_is_no_disagreement),
        TEST(test_C_session_deleted_by_hand_is_a_disagreement),
        TEST(test_C_record_changed_by_hand_is_a_disagreement),
        TEST(test_off_it_asks_nothing),
    };
    return cmocka_run_group_tests_name("audit", tests, server_start, server_end);
}

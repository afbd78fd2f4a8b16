/* SPDX-License-Identifier: MIT
 *
 * Each verb on a cluster of three primaries, for sessions of every node.
 */
#include "three_nodes.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { LENGTH = LATCHKEY_TOKEN_LENGTH };

static void change(latchkey *lk, const char *token)
{
    latchkey_record *record;
    const char *const names[] = {"cart"};
    assert_status(lk, LATCHKEY_OK, set_field(lk, token, "cart", "eggs"));
    assert_status(lk, LATCHKEY_OK, latchkey_get_fields(lk, token, LENGTH, names, 1, &record));
    const latchkey_change more = {"cart", "milk", 4, latchkey_record_version(record, "cart")};
    latchkey_record_free(record);
    assert_status(lk, LATCHKEY_OK, latchkey_change_fields(lk, token, LENGTH, &more, 1));
    assert_status(lk, LATCHKEY_REFUSED, latchkey_change_fields(lk, token, LENGTH, &more, 1));
    assert_status(lk, LATCHKEY_OK, set_field(lk, token, "pq.k", "key"));
    const latchkey_access access = {.size = sizeof access, .role = "admin"};
    assert_status(lk, LATCHKEY_OK, latchkey_set_access(lk, token, LENGTH, &access));
    assert_string_equal(entry_of(lk, token).role, "admin");
}

static void put_away(latchkey *lk, latchkey *other, const char *token)
{
    char data[16];
    size_t size;
    int found;
    assert_status(lk, LATCHKEY_OK, latchkey_section_put(lk, token, LENGTH, "papers", "a few", 5));
    assert_status(other, LATCHKEY_OK,
                  latchkey_section_get(other, token, LENGTH, "papers", data, sizeof data, &size, &found));
    assert_int_equal(found, 1);
    assert_memory_equal(data, "a few", 5);
}

static void look(latchkey *lk, const char *token)
{
    latchkey_record *record;
    latchkey_session_info info;
    size_t size;
    assert_status(lk, LATCHKEY_OK, latchkey_load(lk, token, LENGTH, &record));
    assert_memory_equal(latchkey_record_field(record, "cart", &size), "milk", 4);
    latchkey_record_free(record);
    assert_status(lk, LATCHKEY_OK, latchkey_show(lk, token, &info, &record));
    latchkey_record_free(record);
    assert_true(info.active_at_ms >= info.created_at_ms);
}

/* The life of a session, on each node, seen by two instances. */
static void test_each_verb_on_each_node(void **state)
{
    (void)state;
    latchkey *lk = cluster_open(nodes, ""), *other = cluster_open(nodes, "");
    for (int node = 0; node < NODES; node++) {
        char token[LATCHKEY_TOKEN_SIZE], renewed[LATCHKEY_TOKEN_SIZE], second[LATCHKEY_TOKEN_SIZE];
        latchkey_session_info infos[4];
        size_t total, count;
        uint64_t user = user_on(nodes, lk, node, 1), generation;
        make_session(lk, user, token);
        assert_int_equal(node_of(nodes, token), node);
        assert_status(lk, LATCHKEY_OK, try_validate(lk, token)); /* it is in L1 */
        assert_status(other, LATCHKEY_OK, validate(other, token));
        warm(other, token);
        assert_status(lk, LATCHKEY_OK, touch(lk, token));
        change(lk, token);
        put_away(lk, other, token);
        look(other, token);
        assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token, LENGTH, 60000, renewed));
        assert_status(other, LATCHKEY_OK, validate(other, renewed));
        assert_status(other, LATCHKEY_OK, validate(other, token)); /* in its grace */
        make_session(other, user, second);
        assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, user, renewed, LENGTH, infos, 4, &total));
        assert_int_equal(total, 2);
        const latchkey_access access = {.size = sizeof access, .role = "guest"};
        assert_status(lk, LATCHKEY_OK, latchkey_set_user_access(lk, user, &access, &count));
        assert_int_equal(count, 2);
        wait_for(!strcmp(entry_of(other, second).role, "guest"));
        assert_status(lk, LATCHKEY_OK, latchkey_revoke_selector(lk, user, second));
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, second));
        wait_for(validate(other, second) == LATCHKEY_NOT_FOUND);
        assert_status(lk, LATCHKEY_OK, end_session(lk, renewed));
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, renewed));
        wait_for(validate(other, renewed) == LATCHKEY_NOT_FOUND);
        make_session(lk, user, token);
        make_session(lk, user, second);
        assert_status(lk, LATCHKEY_OK, latchkey_user_generation(lk, user, &generation));
        assert_status(other, LATCHKEY_OK, latchkey_revoke_user(other, user, second, LENGTH, &count));
        assert_int_equal(count, 1);
        assert_status(other, LATCHKEY_NOT_FOUND, validate(other, token));
        assert_status(other, LATCHKEY_OK, validate(other, second));
        assert_status(lk, LATCHKEY_REFUSED, create_with(lk, user, generation, token));
    }
    assert_int_equal(stats_of(lk).connected, 1);
}

static void test_limits(void **state)
{
    (void)state;
    latchkey *evicts = cluster_open(nodes, "max_sessions=2"),
             *denies = cluster_open(nodes, "max_sessions=2&limit=deny");
    for (int node = 0; node < NODES; node++) {
        char token[3][LATCHKEY_TOKEN_SIZE], more[LATCHKEY_TOKEN_SIZE];
        uint64_t user = user_on(nodes, evicts, node, 1);
        for (int i = 0; i < 3; i++) {
            make_session(evicts, user, token[i]);
            check_pause(); /* the first one is the oldest, in milliseconds */
        }
        assert_int_equal(sessions_of(evicts, user), 2);
        wait_for(validate(evicts, token[0]) == LATCHKEY_NOT_FOUND); /* L1 learns of it by the message */
        assert_status(denies, LATCHKEY_LIMIT, create_with(denies, user, 0, more));
    }
}

/* Every partition of every node, and each instance knows. */
static void test_BC_everyone(void **state)
{
    (void)state;
    enum { MANY = 60 };
    static char tokens[MANY][LATCHKEY_TOKEN_SIZE];
    latchkey *lk = cluster_open(nodes, ""), *other = cluster_open(nodes, "staleness_ms=400");
    int seen[NODES] = {0};
    for (int i = 0; i < MANY; i++) {
        make_session(lk, (uint64_t)i + 1, tokens[i]);
        warm(other, tokens[i]);
        seen[node_of(nodes, tokens[i])]++;
    }
    for (int node = 0; node < NODES; node++) assert_true(seen[node] > 0);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    int64_t done_ms = check_now_ms();
    for (int i = 0; i < MANY; i++) assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, tokens[i]));
    while (check_now_ms() < done_ms + 420) check_pause();
    for (int i = 0; i < MANY; i++)
        assert_status_in(other, validate(other, tokens[i]), LATCHKEY_NOT_FOUND, LATCHKEY_UNAVAILABLE);
    for (int i = 0; i < MANY; i++) wait_for(validate(other, tokens[i]) == LATCHKEY_NOT_FOUND);
    make_session(lk, 1, tokens[0]);
    assert_status(other, LATCHKEY_OK, validate(other, tokens[0]));
}

/* The newest of all nodes together, and no older ones. */
static void test_prewarm_takes_the_newest_of_all(void **state)
{
    (void)state;
    enum { MANY = 40, NEWEST = 15 };
    static char tokens[MANY][LATCHKEY_TOKEN_SIZE];
    latchkey *lk = cluster_open(nodes, "");
    int seen[NODES] = {0};
    for (int i = 0; i < MANY; i++) {
        make_session(lk, (uint64_t)i + 1, tokens[i]);
        if (i >= MANY - NEWEST) seen[node_of(nodes, tokens[i])]++;
        check_pause(); /* activity is kept in milliseconds */
    }
    for (int node = 0; node < NODES; node++) assert_true(seen[node] > 0);
    latchkey *cold = cluster_open(nodes, "");
    size_t loaded;
    assert_status(cold, LATCHKEY_OK, latchkey_prewarm(cold, NEWEST, &loaded));
    assert_int_equal(loaded, NEWEST);
    for (int i = 0; i < MANY; i++)
        assert_status(cold, i < MANY - NEWEST ? LATCHKEY_AGAIN : LATCHKEY_OK, try_validate(cold, tokens[i]));
}

static long long keys_of_all(void)
{
    long long keys = 0;
    for (int i = 0; i < NODES; i++) keys += redis_integer(nodes->node[i], "DBSIZE");
    return keys;
}

static void test_sample_adds_the_nodes_up(void **state)
{
    (void)state;
    enum { MANY = 50 };
    char token[LATCHKEY_TOKEN_SIZE], key[64], selector[21];
    latchkey_population p;
    latchkey *lk = cluster_open(nodes, "");
    for (int i = 0; i < MANY; i++) make_session(lk, (uint64_t)(i / 2) + 1, token);
    long long keys = keys_of_all();
    assert_status(lk, LATCHKEY_OK, latchkey_sample(lk, 1000, &p, sizeof p));
    assert_int_equal(p.exact, 1);
    assert_int_equal(p.sessions, MANY);
    assert_int_equal(p.users, MANY / 2);
    assert_int_equal(p.sized, MANY);
    assert_in_range(p.keys, keys, keys_of_all()); /* first beats add some */
    assert_int_equal(p.scanned, p.keys);
    assert_int_equal(p.unindexed, 0);
    /* One that its index does not know. */
    snprintf(key, sizeof key, "lk:{%u}:a", token_partition(token));
    snprintf(selector, sizeof selector, "%.20s", token);
    redis_do(nodes->node[node_of(nodes, token)], "ZREM %s %s", key, selector);
    assert_status(lk, LATCHKEY_OK, latchkey_sample(lk, 1000, &p, sizeof p));
    assert_int_equal(p.sessions, MANY - 1);
    assert_int_equal(p.unindexed, 1);
}

/* Its name and its session are on different nodes. */
static void test_foreign_tokens(void **state)
{
    (void)state;
    latchkey *lk = cluster_open(nodes, "foreign_until_ms=4102444800000"),
             *other = cluster_open(nodes, "foreign_until_ms=4102444800000");
    latchkey_entry entry;
    latchkey_answer answer;
    for (int i = 0; i < 12; i++) {
        char foreign[64], renewed[LATCHKEY_TOKEN_SIZE];
        snprintf(foreign, sizeof foreign, "sid-%08x_%08xQ%08x-x", (unsigned)i * 2654435761u, ~(unsigned)i, i);
        const latchkey_draft draft = {.size = sizeof draft, .user_id = (uint64_t)(i % NODES) + 1};
        assert_status(lk, LATCHKEY_OK, latchkey_import(lk, foreign, strlen(foreign), &draft, 0, 0));
        assert_status(lk, LATCHKEY_REFUSED, latchkey_import(lk, foreign, strlen(foreign), &draft, 0, 0));
        if (i % 2) assert_status(other, LATCHKEY_OK, latchkey_validate(other, foreign, strlen(foreign), &entry));
        else {
            assert_status(other, LATCHKEY_OK, latchkey_submit(other, foreign, strlen(foreign), 7));
            wait_for(latchkey_reap(other, &answer, 1) == 1);
            assert_status(other, LATCHKEY_OK, answer.status);
            entry = answer.entry;
        }
        assert_int_equal(entry.user_id, draft.user_id);
        assert_int_equal(entry.flags & LATCHKEY_FLAG_RENEW, LATCHKEY_FLAG_RENEW);
        assert_status(other, LATCHKEY_OK, latchkey_rotate(other, foreign, strlen(foreign), 0, renewed));
        assert_status(lk, LATCHKEY_NOT_FOUND, latchkey_validate(lk, foreign, strlen(foreign), &entry));
        assert_status(lk, LATCHKEY_OK, validate(lk, renewed));
    }
}

/* Misses and hits of all nodes at once, each answered once; a descriptor tells when. */
static void test_submit(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static char tokens[MANY][LATCHKEY_TOKEN_SIZE];
    static latchkey_answer answers[2 * MANY];
    static int seen[2 * MANY];
    latchkey *maker = cluster_open(nodes, ""), *lk = cluster_open(nodes, "");
    for (int i = 0; i < MANY; i++) make_session(maker, (uint64_t)i + 1, tokens[i]);
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < 2 * MANY; i++)
        assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, tokens[i % MANY], LENGTH, (uint64_t)i));
    struct pollfd p = {.fd = latchkey_fd(lk), .events = POLLIN};
    size_t got = 0;
    while (got < 2 * MANY && poll(&p, 1, CHECK_PATIENCE_MS) == 1)
        got += latchkey_reap(lk, answers + got, 2 * MANY - got);
    assert_int_equal(got, 2 * MANY);
    for (size_t i = 0; i < got; i++) {
        assert_status(lk, LATCHKEY_OK, answers[i].status);
        assert_int_equal(answers[i].entry.user_id, answers[i].tag % MANY + 1);
        assert_int_equal(seen[answers[i].tag]++, 0);
    }
    for (int i = 0; i < MANY; i++) assert_status(lk, LATCHKEY_OK, try_validate(lk, tokens[i])); /* L1 was filled */
}

static latchkey_result of_queue(latchkey *lk, latchkey_request r)
{
    latchkey_result result;
    latchkey_queue *q = latchkey_queue_own(lk);
    r.size = sizeof r;
    r.token_len = r.token ? strlen(r.token) : 0;
    assert_status(lk, LATCHKEY_OK, latchkey_queue_submit(q, &r));
    wait_for(latchkey_queue_reap(q, &result, sizeof result, 1) == 1);
    return result;
}

static void test_requests_of_queues(void **state)
{
    (void)state;
    latchkey *lk = cluster_open(nodes, ""), *other = cluster_open(nodes, "");
    for (int node = 0; node < NODES; node++) {
        const latchkey_draft draft = {.size = sizeof draft, .user_id = user_on(nodes, lk, node, 1)};
        latchkey_result made = of_queue(lk, (latchkey_request){.kind = LATCHKEY_CREATE, .draft = &draft});
        assert_status(lk, LATCHKEY_OK, made.status);
        assert_int_equal(node_of(nodes, made.token), node);
        latchkey_request r = {.kind = LATCHKEY_VALIDATE, .token = made.token, .fresh = 1};
        latchkey_result result = of_queue(other, r);
        assert_status(other, LATCHKEY_OK, result.status);
        assert_int_equal(result.entry.user_id, draft.user_id);
        r = (latchkey_request){.kind = LATCHKEY_ROTATE, .token = made.token};
        latchkey_result renewed = of_queue(other, r);
        assert_status(other, LATCHKEY_OK, renewed.status);
        r = (latchkey_request){.kind = LATCHKEY_REVOKE, .token = renewed.token};
        assert_status(lk, LATCHKEY_OK, of_queue(lk, r).status);
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, renewed.token));
        r = (latchkey_request){.kind = LATCHKEY_REVOKE_USER, .user_id = draft.user_id};
        assert_status(lk, LATCHKEY_OK, of_queue(lk, r).status);
    }
}

/* A right that is missing at one node is found at open, though the others have it. */
static void test_every_node_is_tried_at_open(void **state)
{
    (void)state;
    char config[512], error[512];
    latchkey *lk;
    cluster_config(nodes, "", config, sizeof config);
    for (int node = 0; node < NODES; node++) {
        redis_do(nodes->node[node], "ACL SETUSER default -hgetall");
        int status = latchkey_open(config, &lk, error, sizeof error);
        redis_do(nodes->node[node], "ACL SETUSER default +hgetall");
        assert_status(NULL, LATCHKEY_CONFIG, status);
        assert_contains(error, "+hgetall");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_NODES(test_each_verb_on_each_node),
        ON_NODES(test_limits),
        ON_NODES(test_BC_everyone),
        ON_NODES(test_prewarm_takes_the_newest_of_all),
        ON_NODES(test_sample_adds_the_nodes_up),
        ON_NODES(test_foreign_tokens),
        ON_NODES(test_submit),
        ON_NODES(test_requests_of_queues),
        ON_NODES(test_every_node_is_tried_at_open),
    };
    return cmocka_run_group_tests(tests, start_nodes, end_nodes);
}

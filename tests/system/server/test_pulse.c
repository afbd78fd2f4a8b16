/* SPDX-License-Identifier: MIT
 *
 * The numbers that every instance publishes with its beats, as a listener to all of them gets them: they are those of
 * latchkey_stats, they are few bytes, and there is nothing secret in them.
 */
#include "test_handle.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TOKENS = 50 };

static redisContext *listen_to_beats(void)
{
    const struct timeval patience = {.tv_sec = CHECK_PATIENCE_MS / 1000};
    redisContext *context = redisConnectUnixWithTimeout(server->socket, patience);
    assert_non_null(context);
    redisSetTimeout(context, patience);
    redisReply *reply = redisCommand(context, "PSUBSCRIBE lk:beat:*");
    assert_non_null(reply);
    freeReplyObject(reply);
    return context;
}

/* The next beat of any instance: its channel and its message. */
static void hear(redisContext *context, char channel[64], char message[512])
{
    redisReply *reply;
    assert_int_equal(redisGetReply(context, (void **)&reply), REDIS_OK);
    assert_int_equal(reply->elements, 4); /* pmessage, pattern, channel, message */
    assert_true(reply->element[3]->len < 400);
    snprintf(channel, 64, "%s", reply->element[2]->str);
    snprintf(message, 512, "%s", reply->element[3]->str);
    freeReplyObject(reply);
}

/* " name=123"; what is 0 is left out. */
static long long number(const char *message, const char *name)
{
    char sought[32];
    snprintf(sought, sizeof sought, " %s=", name);
    const char *at = strstr(message, sought);
    return at ? atoll(at + strlen(sought)) : 0;
}

static void test_beats_tell_what_the_statistics_tell(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "staleness_ms=400&l1_capacity=5000");
    char token[TOKENS][LATCHKEY_TOKEN_SIZE], channel[64], message[512];
    redisContext *ear = listen_to_beats();
    for (int i = 0; i < TOKENS; i++) {
        make_session(maker, (uint64_t)i, token[i]);
        warm(lk, token[i]);
        assert_status(lk, LATCHKEY_OK, validate(lk, token[i]));
    }
    latchkey_entry entry;
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_validate(lk, "x", 1, &entry));
    for (int i = 0; i < 10; i++) assert_status(lk, LATCHKEY_OK, end_session(lk, token[i]));
    wait_for(stats_of(lk).purges >= 10);
    latchkey_stats stats = stats_of(lk);
    do hear(ear, channel, message);
    while (number(message, "hit") != (long long)stats.l1_hits || number(message, "rev") != (long long)stats.purges);
    assert_int_equal(number(message, "miss"), stats.l1_misses);
    assert_int_equal(number(message, "no"), 1);
    assert_int_equal(number(message, "rd"), stats.l2_reads);
    assert_int_equal(number(message, "wr"), stats.l2_writes);
    assert_int_equal(number(message, "l1"), stats.l1_entries);
    assert_int_equal(number(message, "cap"), 5000);
    assert_true(number(message, "r50") > 0 && number(message, "r50") <= number(message, "r99"));
    assert_true(number(message, "up") > 0);
    assert_true(number(message, "age") > 0);
    char version[32];
    snprintf(version, sizeof version, " v=%s ", latchkey_version());
    assert_non_null(strstr(message, version));
    assert_int_equal(number(message, "pid"), getpid());
    assert_contains(message, " host=");
    assert_lacks(message, " name=");
    redisFree(ear);
}

/* Guarantee F, and more: a listener does not learn which users are there. Sessions of well-known users, with well-known fields. */
static void test_F_no_secret_in_any_beat(void **state)
{
    (void)state;
    char token[TOKENS][LATCHKEY_TOKEN_SIZE], channel[64], message[512];
    latchkey *lk[2] = {handle_open(server, "staleness_ms=400"), handle_open_tcp(server, "staleness_ms=400")};
    redisContext *ear = listen_to_beats();
    for (int i = 0; i < TOKENS; i++) {
        make_session(lk[i % 2], 7777777777777777, token[i]);
        assert_status(lk[0], LATCHKEY_OK, validate(lk[0], token[i]));
        assert_status(lk[1], LATCHKEY_OK, validate(lk[1], token[i]));
        assert_status(lk[0], LATCHKEY_OK, set_field(lk[0], token[i], "pq.k", "sesame"));
        if (i % 5 == 0) assert_status(lk[1], LATCHKEY_OK, end_session(lk[1], token[i]));
    }
    for (int beat = 0; beat < 20; beat++) {
        hear(ear, channel, message);
        assert_int_equal(strlen(channel), strlen("lk:beat:0123456789abcdef"));
        for (int i = 0; i < TOKENS; i++) {
            char part[7];
            for (size_t at = 0; at + 6 <= LATCHKEY_TOKEN_LENGTH; at++) { /* no six characters of it */
                memcpy(part, token[i] + at, 6);
                part[6] = 0;
                assert_lacks(message, part);
            }
        }
        assert_lacks(message, "7777777777777777");
        assert_lacks(message, "sesame");
        /* Nothing but short words of letters, digits, '=', '.', '-' and blanks can be in it. */
        assert_int_equal(strspn(message, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789=._:- "),
                         strlen(message));
    }
    redisFree(ear);
}

/* An operator finds an instance by its name: in its beats, and in the server's list of its clients. */
static void test_it_has_a_name(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "name=check-out:7&staleness_ms=400");
    char channel[64], message[512], clients[16384], token[LATCHKEY_TOKEN_SIZE];
    redisContext *ear = listen_to_beats();
    do hear(ear, channel, message);
    while (!strstr(message, " name="));
    assert_contains(message, " name=check-out:7 ");
    redisFree(ear);
    make_session(lk, 1, token);
    redis_text(server, clients, sizeof clients, "CLIENT LIST");
    unsigned named = 0;
    for (const char *at = clients; (at = strstr(at, " name=check-out:7 ")); at++) named++;
    assert_true(named >= 3); /* the link's two, and the one that made the session */
    /* A user without that right: it is no error. */
    redis_do(server, "ACL SETUSER app on >pw allkeys allchannels +@all -client");
    latchkey *other = handle_open(server, "name=other&staleness_ms=400");
    handle_close(other);
    char config[512];
    snprintf(config, sizeof config, "unix://app:pw@%s?name=quiet&deadline_ms=10000", server->socket);
    other = handle_open_config(config);
    make_session(other, 1, token);
    assert_status(other, LATCHKEY_OK, validate(other, token));
    assert_string_equal(stats_of(other).last_error, "");
    redis_text(server, clients, sizeof clients, "CLIENT LIST");
    assert_null(strstr(clients, " name=quiet "));
    handle_close(other);
    redis_do(server, "ACL DELUSER app");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_beats_tell_what_the_statistics_tell),
        TEST(test_F_no_secret_in_any_beat),
        TEST(test_it_has_a_name),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

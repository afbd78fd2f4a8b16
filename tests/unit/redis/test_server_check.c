/* SPDX-License-Identifier: MIT
 *
 * What servers are set to: the lines that are read of the INFO of real ones, recorded by info/record.sh, with what CONFIG GET would add; and texts that
 * no server would answer. What is found is compared by name, level and number, so nothing is found too much either.
 */
#include "base/log.h"
#include "redis/server_check.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

enum { INFO_SIZE = 1024 };

static char *recorded(const char *name, char text[INFO_SIZE])
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.txt", LATCHKEY_INFO, name);
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("%s cannot be read", path);
    size_t size = fread(text, 1, INFO_SIZE - 1, file);
    fclose(file);
    assert_true(size > 300 && size < INFO_SIZE - 1);
    text[size] = 0;
    return text;
}

/* "level name; " of each. */
static const char *found(const lk_finding *findings, size_t count)
{
    static char line[512];
    size_t used = 0;
    line[0] = 0;
    assert_true(count <= LK_FINDINGS_MAX);
    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(line + used, sizeof line - used, "%d %s; ", findings[i].level, findings[i].name);
        assert_true(used < sizeof line);
        assert_true(findings[i].text[0] && strlen(findings[i].text) < LK_FINDING_TEXT - 1); /* nothing was cut off */
    }
    return line;
}

#define ERR(name) "3 " name "; "
#define WARN(name) "4 " name "; "
#define NOTE(name) "5 " name "; "

/* ------------------------------------------------------------------------------------------- real servers -- */

typedef struct row {
    const char *info;
    int64_t durability;
    const char *config, *found;
    const char *says[3]; /* in the first text */
} row;

static const row rows[] = {
    {"good", 0, NULL, "", {0}},
    {"good", 0, "appendfsync:always\r\nsave:3600 1\r\ntimeout:0\r\n", "", {0}},
    {"good", 0, "appendfsync:everysec\n", NOTE("appendfsync"), {"everysec", "C", "always"}},
    {"good", 0, "appendfsync:no\n", WARN("appendfsync"), {"no", "C", "everysec"}},
    {"good",
     0,
     "appendfsync:always\nno-appendfsync-on-rewrite:yes\n",
     WARN("no-appendfsync-on-rewrite"),
     {"yes", "(C)", "Set no-appendfsync-on-rewrite no"}},
    {"good", 0, "appendfsync:no\nno-appendfsync-on-rewrite:yes\n", WARN("appendfsync"), {"no"}},
    {"good", 0, "appendfsync:always\nno-appendfsync-on-rewrite:no\n", "", {0}},
    {"nothing-kept", 0, "no-appendfsync-on-rewrite:yes\n", WARN("appendonly"), {"no"}},
    {"nothing-kept", 0, NULL, WARN("appendonly"), {"no", "C", "Set appendonly yes"}},
    {"nothing-kept", 0, "save:\r\nappendfsync:no\r\n", WARN("appendonly"), {"no snapshots", "A", "Set appendonly yes"}},
    {"nothing-kept", 0, "save:3600 1\n", WARN("appendonly"), {"no", "C", "Set appendonly yes"}},
    {"snapshots", 0, NULL, WARN("appendonly"), {"no", "snapshot", "Set appendonly yes"}},
    {"snapshot-failed", 0, NULL, WARN("appendonly") WARN("rdb_last_bgsave_status"), {0}},
    {"write-failed", 0, NULL, ERR("aof_last_write_status"), {"err", "UNAVAILABLE", "disk"}},
    {"allkeys-lru", 0, NULL, ERR("maxmemory-policy"), {"allkeys-lru", "counters", "Set maxmemory-policy noeviction"}},
    {"volatile-ttl",
     0,
     NULL,
     ERR("maxmemory-policy"),
     {"104857600", "(A)", "latchkey_revoke_user leaves some alive (C)"}},
    {"unlimited-volatile-ttl", 0, NULL, NOTE("maxmemory-policy"), {"harmless", "maxmemory is 0", "(guarantee A)"}},
    {"one-replica", 0, NULL, WARN("durability"), {"0", "1 replica", "C"}},
    {"one-replica", 1, NULL, WARN("min-replicas-to-write"), {"0", "durability 1", "min-replicas-to-write 1"}},
    {"one-replica", 2, NULL, ERR("replicas") WARN("min-replicas-to-write"), {"1 online", "durability is 2", "C"}},
    {"one-replica-min", 1, NULL, "", {0}},
    {"one-replica-min", 1, "min-replicas-to-write:1\n", "", {0}},
    {"one-replica-min", 0, NULL, WARN("durability"), {0}},
    {"one-replica-min", 2, "min-replicas-to-write:1\n", ERR("replicas") WARN("min-replicas-to-write"), {0}},
    /* A maximal lag of 0 switches it off, and INFO does not show it then. */
    {"one-replica", 1, "min-replicas-to-write:1\n", WARN("min-replicas-to-write"), {"1,", "max-lag"}},
    {"one-of-two-replicas", 0, NULL, WARN("durability"), {"2 replicas"}},
    {"one-of-two-replicas", 1, NULL, "", {0}},
    {"one-of-two-replicas", 2, NULL, ERR("replicas"), {"1 online"}},
    {"good", 1, NULL, ERR("replicas") WARN("min-replicas-to-write"), {"0 online"}},
    {"good",
     0,
     "client-output-buffer-limit:normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60\n",
     "",
     {0}},
    {"good", 0, "client-output-buffer-limit:normal 0 0 0 slave 1 1 60 pubsub 0 0 0\n", "", {0}},
    {"good",
     0,
     "client-output-buffer-limit:normal 0 0 0 slave 0 0 0 pubsub 65536 8192 1\n",
     NOTE("client-output-buffer-limit"),
     {"65536", "32mb"}},
    {"good", 0, "timeout:1\n", WARN("timeout"), {"1 s", "4000"}},
    {"good", 0, "timeout:2\n", "", {0}},
    {"good", 0, "lazyfree-lazy-expire:no\n", NOTE("lazyfree-lazy-expire"), {"no", "Set lazyfree-lazy-expire yes"}},
    {"good", 0, "lazyfree-lazy-expire:yes\n", "", {0}},
};

static size_t check(const row *r, const char *info, lk_finding findings[LK_FINDINGS_MAX])
{
    lk_server_check settings = {.info = info, .config = r->config, .durability = r->durability, .staleness_ms = 4000};
    return lk_server_check_check(&settings, findings);
}

static void test_recorded_servers(void **state)
{
    (void)state;
    char info[INFO_SIZE];
    lk_finding findings[LK_FINDINGS_MAX];
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        size_t count = check(&rows[i], recorded(rows[i].info, info), findings);
        if (strcmp(found(findings, count), rows[i].found))
            fail_msg("row %zu, %s: found '%s', wanted '%s'", i, rows[i].info, found(findings, count), rows[i].found);
        for (size_t k = 0; k < UNIT_COUNT(rows[i].says) && rows[i].says[k]; k++)
            if (!strstr(findings[0].text, rows[i].says[k]))
                fail_msg("row %zu, %s: '%s' is not in '%s'", i, rows[i].info, rows[i].says[k], findings[0].text);
    }
}

/* Every name that can be found was found above: no finding is without a server that shows it. */
static void test_every_finding_has_a_server(void **state)
{
    (void)state;
    static const char *const names[] = {
        "maxmemory-policy",           "appendonly", "appendfsync",          "aof_last_write_status",
        "rdb_last_bgsave_status",     "replicas",   "durability",           "min-replicas-to-write",
        "client-output-buffer-limit", "timeout",    "lazyfree-lazy-expire", "no-appendfsync-on-rewrite"};
    for (size_t i = 0; i < UNIT_COUNT(names); i++) {
        char word[64];
        bool there = false;
        snprintf(word, sizeof word, " %s;", names[i]);
        for (size_t k = 0; k < UNIT_COUNT(rows); k++) there |= strstr(rows[k].found, word) != NULL;
        if (!there) fail_msg("%s", names[i]);
    }
}

/* ------------------------------------------------------------------------------------------ odd answers -- */

static void assert_found(const char *info, const char *wanted, const char *says)
{
    lk_finding findings[LK_FINDINGS_MAX];
    lk_server_check settings = {.info = info, .staleness_ms = 2000};
    size_t count = lk_server_check_check(&settings, findings);
    assert_string_equal(found(findings, count), wanted);
    if (says && !strstr(findings[count - 1].text, says))
        fail_msg("'%s' is not in '%s'", says, findings[count - 1].text);
}

/* A server that shows less: what is not shown is said to be unknown, once, and nothing is made of it. */
static void test_unknown_is_said_as_unknown(void **state)
{
    (void)state;
    assert_found("", NOTE("info"),
                 "maxmemory_policy, maxmemory, aof_enabled, rdb_last_bgsave_status, connected_slaves:");
    assert_found("# Server\r\nredis_version:7.2.0\r\n", NOTE("info"), "not known");
    assert_found("maxmemory:5\r\naof_enabled:1\r\nrdb_last_bgsave_status:ok\r\nconnected_slaves:0\r\n"
                 "aof_last_write_status:ok\r\n",
                 NOTE("info"), "show maxmemory_policy:");
    /* What is known is still said. */
    assert_found("aof_enabled:0\nmaxmemory_policy:noeviction\nmaxmemory:0\nconnected_slaves:0\n",
                 WARN("appendonly") NOTE("info"), "show rdb_last_bgsave_status:");
    /* Redis 7 while it is loading an append-only file. */
    assert_found("loading:1\naof_enabled:0\nmaxmemory_policy:noeviction\nmaxmemory:0\nconnected_slaves:0\n"
                 "rdb_last_bgsave_status:ok\n",
                 NOTE("info"), "show aof_enabled:");
    /* connected_slaves alone, without a list of them. */
    assert_found("aof_enabled:1\naof_last_write_status:ok\nmaxmemory_policy:noeviction\nmaxmemory:0\n"
                 "rdb_last_bgsave_status:ok\nconnected_slaves:3\n",
                 WARN("durability"), "3 replicas");
}

static void check_fence(int64_t replicas, int64_t durability, bool sentinels, const char *want)
{
    char info[256], got[160] = "";
    snprintf(info, sizeof info,
             "aof_enabled:1\naof_last_write_status:ok\nmaxmemory_policy:noeviction\nmaxmemory:0\n"
             "rdb_last_bgsave_status:ok\nconnected_slaves:%d\nmin_slaves_good_slaves:%d\n",
             (int)replicas, (int)replicas);
    lk_finding findings[LK_FINDINGS_MAX];
    lk_server_check check = {.info = info, .durability = durability, .staleness_ms = 4000, .sentinels = sentinels};
    size_t count = lk_server_check_check(&check, findings);
    for (size_t i = 0; i < count; i++) snprintf(got + strlen(got), sizeof got - strlen(got), "%s ", findings[i].name);
    assert_string_equal(got, want);
}

/* Two servers must never both find as many replicas as durability asks for. */
static void test_more_than_half_must_hold_what_is_durable(void **state)
{
    (void)state;
    check_fence(1, 1, false, "");
    check_fence(2, 1, false, "");
    check_fence(3, 1, false, "durability-fence ");
    check_fence(3, 2, true, "");
    check_fence(4, 1, true, "durability-fence ");
    check_fence(4, 2, true, "");
    /* Sentinels name who is served from, and what is lost is told: that is no fault of the settings. */
    check_fence(2, 0, false, "durability ");
    check_fence(2, 0, true, "");
}

static const char whole[] = "aof_enabled:%s\nmaxmemory_policy:%s\nmaxmemory:%s\nconnected_slaves:%s\n"
                            "rdb_last_bgsave_status:%s\naof_last_write_status:ok\n";

/* Values that no server gives are as good as none; they are not repeated. */
static void test_values_that_are_none(void **state)
{
    (void)state;
    static const char *const odd[] = {"",    "-1",       " 1", "1 ", "0x1", "+1", "1e3", "99999999999999999999",
                                      "yes", "\033[31m", "1:1"};
    char info[512];
    for (size_t i = 0; i < UNIT_COUNT(odd); i++) {
        snprintf(info, sizeof info, whole, "1", "noeviction", odd[i], "0", "ok");
        assert_found(info, NOTE("info"), "show maxmemory:");
        snprintf(info, sizeof info, whole, "1", "noeviction", "0", odd[i], "ok");
        assert_found(info, NOTE("info"), "show connected_slaves:");
    }
    static const char *const words[] = {"",           "no eviction",
                                        "\033[31m",   "allkeys\xff",
                                        "NOEVICTION", "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"};
    for (size_t i = 0; i < UNIT_COUNT(words); i++) {
        snprintf(info, sizeof info, whole, "1", words[i], "100", "0", "ok");
        assert_found(info, NOTE("info"), "show maxmemory_policy:");
    }
    snprintf(info, sizeof info, whole, "1", "noeviction", "9223372036854775807", "0", "ok");
    assert_found(info, "", NULL);
    snprintf(info, sizeof info, whole, "1", "allkeys-random", "9223372036854775807", "0", "ok");
    assert_found(info, ERR("maxmemory-policy"), "9223372036854775807");
}

/* An unknown policy of a later version is taken to evict. */
static void test_new_policy_is_told(void **state)
{
    (void)state;
    char info[512];
    snprintf(info, sizeof info, whole, "1", "volatile-lrm", "100", "0", "ok");
    assert_found(info, ERR("maxmemory-policy"), "volatile-lrm");
}

/* Cut anywhere, and with any byte changed: nothing is read that is not there, and nothing unprintable is said. */
static void test_damaged_answers(void **state)
{
    (void)state;
    char info[INFO_SIZE];
    lk_finding findings[LK_FINDINGS_MAX];
    unit_random random = unit_random_new(7);
    size_t size = strlen(recorded("one-of-two-replicas", info));
    const row r = {.config = "timeout:1\nsave:", .durability = 2};
    for (uint64_t i = 0; i < unit_rounds(4000); i++) {
        size_t cut = unit_below(&random, size + 1);
        char *copy = unit_copy(info, cut + 1);
        copy[cut] = 0;
        for (uint64_t k = unit_below(&random, 20); k && cut; k--)
            copy[unit_below(&random, cut)] = (char)unit_next(&random);
        copy[cut] = 0;
        size_t count = check(&r, copy, findings);
        free(copy);
        found(findings, count);
        for (size_t k = 0; k < count; k++)
            for (const char *c = findings[k].text; *c; c++) assert_true(*c >= ' ' && *c <= '~');
    }
}

/* ------------------------------------------------------------------------------------------------ saying -- */

static char lines[4096];
static void keep(void *context, int level, const char *text)
{
    size_t used = strlen(lines);
    snprintf(lines + used, sizeof lines - used, "%s%d %.40s\n", (const char *)context, level, text);
}

static void test_said_once_until_it_is_otherwise(void **state)
{
    (void)state;
    char bad[INFO_SIZE], worse[INFO_SIZE], good[INFO_SIZE];
    lk_server_check one = {.info = recorded("nothing-kept", bad)}, two = {.info = recorded("allkeys-lru", worse)},
                    none = {.info = recorded("good", good)};
    uint64_t said = 0, other = 0;
    char sign[] = "> ";
    lines[0] = 0;
    latchkey_set_log(keep, sign);
    lk_server_check_say(&one, &said);
    assert_int_equal(strncmp(lines, "> 4 setting appendonly: no: ", 28), 0);
    lines[0] = 0;
    lk_server_check_say(&one, &said);
    assert_string_equal(lines, "");
    lk_server_check_say(&two, &said);
    assert_int_equal(strncmp(lines, "> 3 setting maxmemory-policy: allkeys-lru", 40), 0);
    lines[0] = 0;
    lk_server_check_say(&none, &said);
    lk_server_check_say(&none, &other);
    assert_string_equal(lines, "");
    lk_server_check_say(&two, &said);
    assert_true(lines[0] != 0);
    latchkey_set_log(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_servers),
        cmocka_unit_test(test_every_finding_has_a_server),
        cmocka_unit_test(test_unknown_is_said_as_unknown),
        cmocka_unit_test(test_values_that_are_none),
        cmocka_unit_test(test_new_policy_is_told),
        cmocka_unit_test(test_damaged_answers),
        cmocka_unit_test(test_more_than_half_must_hold_what_is_durable),
        cmocka_unit_test(test_said_once_until_it_is_otherwise),
    };
    return cmocka_run_group_tests_name("server_check", tests, unit_setup, NULL);
}

/* SPDX-License-Identifier: MIT
 *
 * The configuration string: what it means, what is refused, by which name, and never with a secret in the text.
 */
#include "base/config.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/stat.h>

static char error[160];

static int parse(const char *text, lk_config *config)
{
    memset(error, 0, sizeof error);
    char *exact = unit_copy(text, strlen(text) + 1);
    int status = lk_config_parse(exact, config, error, sizeof error);
    free(exact);
    return status;
}

static void assert_good(const char *text, lk_config *config)
{
    int status = parse(text, config);
    if (status) fail_msg("%s: %d %s", text, status, error);
}

/* Refused, with a text that holds `named`. */
static void assert_bad(const char *text, const char *named)
{
    lk_config config;
    int status = parse(text, &config);
    if (status != LATCHKEY_CONFIG) fail_msg("%s: %d", text, status);
    if (!strstr(error, named)) fail_msg("%s: '%s' does not name '%s'", text, error, named);
}

/* -------------------------------------------------------------------------------------------------- where -- */

static void test_urls(void **state)
{
    (void)state;
    const struct {
        const char *text, *host, *port, *path, *user, *password;
        int64_t database;
    } rows[] = {
        {"redis://h", "h", "6379", "", "", "", 0},
        {"redis://h/", "h", "6379", "", "", "", 0},
        {"redis://h?", "h", "6379", "", "", "", 0},
        {"redis://127.0.0.1:1/15", "127.0.0.1", "1", "", "", "", 15},
        {"redis://h:65535", "h", "65535", "", "", "", 0},
        {"redis://h:6379/0?lazy=1", "h", "6379", "", "", "", 0},
        {"redis://[::1]", "::1", "6379", "", "", "", 0},
        {"redis://[fe80::1%25eth0]:7/3", "fe80::1%eth0", "7", "", "", "", 3},
        {"redis://u:p@h:7", "h", "7", "", "u", "p", 0},
        {"redis://:p@h", "h", "6379", "", "", "p", 0},
        {"redis://:p:q@h", "h", "6379", "", "", "p:q", 0},
        {"redis://:p@q@h", "h", "6379", "", "", "p@q", 0},
        {"redis://:p/q@h/2", "h", "6379", "", "", "p/q", 2},
        {"redis://u%3a:%3F%40%2f%25%26@h", "h", "6379", "", "u:", "?@/%&", 0},
        {"redis://%68%6F%73%74", "host", "6379", "", "", "", 0},
        {"redis://@h", "h", "6379", "", "", "", 0},
        {"REDIS://H", "H", "6379", "", "", "", 0},
        {"Valkey://u:p@h:7/1", "h", "7", "", "u", "p", 1},
        {"RedisS://h", "h", "6379", "", "", "", 0},
        {"valkeys://h", "h", "6379", "", "", "", 0},
        {"redis://:p%0a@a-b_c.d", "a-b_c.d", "6379", "", "", "p\n", 0},
        {"redis://[fe80::1%25eth0]:7", "fe80::1%eth0", "7", "", "", "", 0},
        {"redis://name.", "name.", "6379", "", "", "", 0}, /* looked up as it stands */
        {"UNIX:///S", "", "", "/S", "", "", 0},
        {"unix:///run/redis.sock", "", "", "/run/redis.sock", "", "", 0},
        {"unix://u:p@/s?db=4", "", "", "/s", "u", "p", 4},
        {"unix:///a%20b%3F", "", "", "/a b?", "", "", 0},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        lk_config c;
        assert_good(rows[i].text, &c);
        assert_string_equal(c.host, rows[i].host);
        assert_string_equal(c.port, rows[i].port);
        assert_string_equal(c.path, rows[i].path);
        assert_string_equal(c.user, rows[i].user);
        assert_string_equal(c.password, rows[i].password);
        assert_int_equal(c.has_password, *rows[i].password != 0);
        assert_true(c.database == rows[i].database);
        assert_int_equal(c.tls,
                         strncasecmp(rows[i].text, "rediss", 6) == 0 || strncmp(rows[i].text, "valkeys", 7) == 0);
    }
}

static void test_sentinels(void **state)
{
    (void)state;
    lk_config c;
    assert_good("redis+sentinel://u:p@h1,h2:7,[::1]:8,[::2]/my%20master/3?staleness_ms=500", &c);
    assert_int_equal(c.sentinels, 4);
    const char *const at[][2] = {{"h1", "26379"}, {"h2", "7"}, {"::1", "8"}, {"::2", "26379"}};
    for (int i = 0; i < 4; i++) {
        assert_string_equal(c.sentinel[i].name, at[i][0]);
        assert_string_equal(c.sentinel[i].port, at[i][1]);
    }
    assert_string_equal(c.service, "my master");
    assert_string_equal(c.user, "u");
    assert_string_equal(c.password, "p");
    assert_true(c.database == 3 && c.staleness_ms == 500 && !c.tls);
    assert_true(!c.host[0] && !c.path[0] && !c.has_sentinel_password);
    assert_good("RedisS+Sentinel://h/m?server_name=x", &c);
    assert_true(c.tls && c.sentinels == 1);
    assert_good("valkeys+sentinel://h/m/", &c);
    assert_true(c.tls && !c.database);
    assert_good("redis://h", &c);
    assert_int_equal(c.sentinels, 0);
    char text[600], password[LK_PASSWORD_SIZE];
    snprintf(text, sizeof text, "redis+sentinel://h/m?sentinel_user=u%%26&sentinel_password_file=%s",
             unit_file("sentinel", "s3cret\n", 7));
    assert_good(text, &c);
    assert_string_equal(c.sentinel_user, "u&");
    lk_config_sentinel_password(&c, password);
    assert_string_equal(password, "s3cret");
    assert_false(c.has_password); /* it is another one */
}

static void test_clusters(void **state)
{
    (void)state;
    lk_config c;
    assert_good("redis+cluster://u:p@h1,h2:7,[::1]:8,[::2]?staleness_ms=500&durability=1&grace_ms=7", &c);
    assert_true(c.cluster && c.seeds == 4);
    const char *const at[][2] = {{"h1", "6379"}, {"h2", "7"}, {"::1", "8"}, {"::2", "6379"}};
    for (int i = 0; i < 4; i++) {
        assert_string_equal(c.seed[i].name, at[i][0]);
        assert_string_equal(c.seed[i].port, at[i][1]);
    }
    assert_string_equal(c.user, "u");
    assert_string_equal(c.password, "p");
    assert_true(c.staleness_ms == 500 && c.durability == 1 && c.grace_ms == 7 && !c.tls);
    assert_true(!c.host[0] && !c.path[0] && !c.sentinels && !c.database);
    const char *const ends[] = {"redis+cluster://h/", "redis+cluster://h/0", "RedisS+Cluster://h/?server_name=x",
                                "valkeys+cluster://h,g"};
    for (size_t i = 0; i < UNIT_COUNT(ends); i++) {
        assert_good(ends[i], &c);
        assert_true(c.cluster && c.tls == (i >= 2));
    }
    assert_good("redis+sentinel://h/m", &c);
    assert_true(!c.cluster && !c.seeds);
    assert_good("redis://h", &c);
    assert_true(!c.cluster && !c.seeds);
}

static void test_bad_urls_are_named(void **state)
{
    (void)state;
    const char *rows[][2] = {
        {"", "redis://"},
        {"localhost", "redis://"},
        {"redis:/h", "redis://"},
        {" redis://h", "redis://"},
        {"rediss:/h", "rediss://"},
        {"rediss://", "host"},
        {"valkeyss://h", "redis://"},
        {"redis ://h", "redis://"},
        {"unix:/s", "unix://"},
        {"redis+sentinel://", "host"},
        {"redis+sentinel:///m", "host"},
        {"redis+sentinel://h,/m", "host"},
        {"redis+sentinel://,h/m", "host"},
        {"redis+sentinel://h,g", "name"},
        {"Valkey+Sentinel://h/", "name"},
        {"redis+sentinel://h//1", "name"},
        {"redis+sentinel://h:0/m", "port"},
        {"redis+sentinel://h,h:26379/m", "twice"},
        {"redis+sentinel://h,H/m", "twice"},
        {"redis+sentinel://h/m/x", "database"},
        {"redis+sentinel://h/m/1/2", "database"},
        {"redis+sentinel://::1/m", "[::1]"},
        {"redis+sentinel://h/m%zz", "name"},
        {"redis+sentinel://a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q/m", "16"},
        {"redis+sentinel://h/m?sentinel_user=u", "sentinel_password_file"},
        {"redis+sentinel://h/m?sentinel_user=", "sentinel_user"},
        {"redis+sentinel://h/m?sentinel_password_file=/nowhere", "sentinel_password_file"},
        {"redis://h?sentinel_user=u", "redis+sentinel://"},
        {"redis+sentinel://h/m?server_name=x", "rediss://"},
        {"redis+cluster://", "node has none"},
        {"redis+cluster://h,", "node has none"},
        {"redis+cluster://,h", "HOST[:PORT]..."},
        {"redis+cluster:///0", "host"},
        {"redis+cluster://h:0", "port"},
        {"redis+cluster://h,h:6379", "twice"},
        {"redis+cluster://h,g/1", "database 0 alone"},
        {"redis+cluster://h/mymaster", "no name"},
        {"redis+cluster://h/00", "database 0 alone"},
        {"redis+cluster://h?db=0", "database 0 alone"},
        {"redis+cluster://::1", "[::1]"},
        {"valkey+cluster://a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", "16 nodes"},
        {"redis+cluster://h?sentinel_user=u", "redis+sentinel://. A cluster has none"},
        {"redis+cluster://h?sentinel_password_file=/dev/null", "sentinel_password_file"},
        {"redis+cluster://h?server_name=x", "rediss://"},
        {"redis://h,g", "redis+cluster://"},
        {"redis://h:1,g:2/0", "redis+cluster://"},
        {"redis://", "host"},
        {"redis://:6379", "host"},
        {"redis:///3", "host"},
        {"redis://u:p@", "host"},
        {"redis://h:", "port"},
        {"redis://h:0", "port"},
        {"redis://h:65536", "port"},
        {"redis://h:-1", "port"},
        {"redis://h:+1", "port"},
        {"redis://h: 1", "port"},
        {"redis://h:99999999999999999999", "port"},
        {"redis://h:6379x", "port"},
        {"redis://::1", "[::1]"},
        {"redis://[::1", "]"},
        {"redis://[::1]6379", ":port"},
        {"redis://[::1]:", "port"},
        {"redis://h/x", "database"},
        {"redis://h/-1", "database"},
        {"redis://h/1000001", "database"},
        {"redis://h/1/2", "database"},
        {"redis://h%", "host"},
        {"redis://h%4", "host"},
        {"redis://h%zz", "host"},
        {"redis://h%00", "host"},
        {"redis://h#x", "host: only letters"},
        {"redis://h#0/1", "host: only letters"},
        {"redis://h%23", "host: only letters"},
        {"redis://h%0a", "host: only letters"},
        {"redis://h ", "host: only letters"},
        {"redis://h%20", "host: only letters"},
        {"redis://h\\x", "host: only letters"},
        {"redis://h\xc3\xa9.example", "xn--"},
        {"redis://[::1%20]", "host: only letters"},
        {"redis+sentinel://g,h#/m", "host: only letters"},
        {"redis+cluster://g,h%7f", "host: only letters"},
        {"rediss://h?server_name=h%20", "server_name: only letters"},
        {"rediss://h?server_name=h%0a", "server_name: only letters"},
        {"redis://h\n", "byte 10 of the configuration"},
        {"redis://h/0\r\n", "byte 12"},
        {"redis://h?limit=deny\n", "line end"},
        {"redis://:p\t@h", "byte 11"},
        {"\nredis://h", "byte 1 "},
        {"unix:///s\x7f", "byte 10"},
        {"redis://u%:p@h", "user"},
        {"redis://u:p%@h", "password"},
        {"redis://u:p%00@h", "password"},
        {"redis://u@h", "password"},
        {"redis://u:@h", "password"},
        {"redis://:a?b@h", "'?'"},
        {"unix://s", "absolute"},
        {"unix://", "absolute"},
        {"unix:///s%00", "path"},
        {"unix:///s?db=x", "db"},
        {"unix:///s?db=-1", "db"},
        {"redis://h?db=1", "db"},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) assert_bad(rows[i][0], rows[i][1]);
}

static void test_texts_that_are_too_long(void **state)
{
    (void)state;
    const struct {
        const char *before, *after, *named;
        size_t fits;
    } rows[] = {{"redis://", "", "host", 255},
                {"unix:///", "", "path", 106},
                {"redis://", ":p@h", "user", 127},
                {"redis://:", "@h", "password", 4096},
                {"redis://h?prefix=", "", "prefix", 32},
                {"redis://h?limit=", "", "limit", 0},
                {"redis://h?", "=1", "unknown option", 0}};
    static char text[40000];
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        for (size_t length = rows[i].fits; length < rows[i].fits + 17000; length += length < 600 ? 1 : 977) {
            lk_config c;
            size_t at = strlen(strcpy(text, rows[i].before));
            memset(text + at, 'y', length);
            strcpy(text + at + length, rows[i].after);
            if (length && length == rows[i].fits) assert_good(text, &c);
            else if (length && strlen(text) < 16384) assert_bad(text, rows[i].named);
            else if (length) assert_bad(text, "16,383");
        }
    }
}

/* ------------------------------------------------------------------------------------------------ options -- */

static void test_numbers_and_their_ranges(void **state)
{
    (void)state;
    const int64_t day = 86400000;
    const struct {
        const char *name;
        size_t at;
        int64_t usual, least, most;
    } rows[] = {
        {"l1_capacity", offsetof(lk_config, l1_capacity), 100000, 0, 100000000},
        {"l1_ttl_ms", offsetof(lk_config, l1_ttl_ms), 300000, 1, day},
        {"staleness_ms", offsetof(lk_config, staleness_ms), 2000, 100, 60000},
        {"deadline_ms", offsetof(lk_config, deadline_ms), 250, 1, 60000},
        {"idle_ms", offsetof(lk_config, idle_ms), 1800000, 100, 3650 * day},
        {"lifetime_ms", offsetof(lk_config, lifetime_ms), 43200000, 100, 3650 * day},
        {"connections", offsetof(lk_config, connections), 8, 1, 64},
        {"in_flight", offsetof(lk_config, in_flight), 1024, 1, 65536},
        {"partitions", offsetof(lk_config, partitions), 64, 1, 4096},
        {"max_sessions", offsetof(lk_config, max_sessions), 0, 0, 1000000},
        {"max_per_device", offsetof(lk_config, max_per_device), 0, 0, 1000000},
        {"audit_per_s", offsetof(lk_config, audit_per_s), 0, 0, 1000},
        {"lazy", offsetof(lk_config, lazy), 0, 0, 1},
        {"foreign_until_ms", offsetof(lk_config, foreign_until_ms), 0, 0, 99999999999999},
        {"events", offsetof(lk_config, events), 0, 0, 1},
    };
    const char *bad[] = {"", "x", "-1", "+1", " 1", "1 ", "1.0", "0x10", "1e3", "99999999999999999999", "%31%00", "%"};
    lk_config usual, c;
    char text[128];
    assert_good("redis://h", &usual);
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        int64_t value;
        memcpy(&value, (char *)&usual + rows[i].at, sizeof value);
        assert_true(value == rows[i].usual);
        for (int64_t n = -1; n <= 1; n++) {
            const int64_t tried[2] = {rows[i].least + n, rows[i].most + n};
            for (int k = 0; k < 2; k++) {
                snprintf(text, sizeof text, "redis://h?%s=%lld", rows[i].name, (long long)tried[k]);
                if (tried[k] < rows[i].least || tried[k] > rows[i].most) {
                    assert_bad(text, rows[i].name);
                    continue;
                }
                assert_good(text, &c);
                memcpy(&value, (char *)&c + rows[i].at, sizeof value);
                assert_true(value == tried[k]);
                memcpy((char *)&c + rows[i].at, &rows[i].usual, sizeof value);
                assert_memory_equal(&c, &usual, sizeof c); /* and nothing else moved */
            }
        }
        for (size_t k = 0; k < UNIT_COUNT(bad); k++) {
            snprintf(text, sizeof text, "redis://h?%s=%s", rows[i].name, bad[k]);
            assert_bad(text, rows[i].name);
        }
        snprintf(text, sizeof text, "redis://h?%s=1&%s=1", rows[i].name, rows[i].name);
        assert_bad(text, rows[i].name);
        snprintf(text, sizeof text, "redis://h?%s", rows[i].name);
        assert_bad(text, rows[i].name);
    }
}

static void test_other_options(void **state)
{
    (void)state;
    lk_config c;
    assert_good("redis://h", &c);
    assert_string_equal(c.prefix, "lk");
    assert_false(c.limit_deny);
    assert_int_equal(c.renew_ms, 0);
    assert_good("redis://h?renew_ms=10000", &c);
    assert_int_equal(c.renew_ms, 10000);
    assert_good("redis://h?renew_ms=0", &c);
    assert_int_equal(c.check_keys.count, 1);
    assert_good("redis://h?limit=deny&prefix=A-z_0.9&idle_ms=1%30%30&", &c);
    assert_string_equal(c.prefix, "A-z_0.9");
    assert_true(c.limit_deny);
    assert_true(c.idle_ms == 100);
    const char *rows[][2] = {
        {"limit=", "limit"},
        {"limit=Deny", "limit"},
        {"limit=denyy", "limit"},
        {"prefix=", "prefix"},
        {"prefix=a:b", "prefix"},
        {"prefix=a{b}", "prefix"},
        {"prefix=a b", "prefix"},
        {"prefix=a&prefix=b", "prefix"},
        {"unheard_of=1", "unheard_of"},
        {"L1_CAPACITY=1", "L1_CAPACITY"},
        {"=1", "unknown option"},
        {"&lazy=1", "no value"},
        {"lazy=1&&", "no value"},
        {"durability=101", "durability"},
        {"grace_ms=-1", "grace_ms"},
        {"renew_ms=-1", "renew_ms"},
        {"renew_ms=1", "renew_ms"},
        {"renew_ms=9999", "renew_ms"},
        {"renew_ms=315360000001", "renew_ms"},
        {"renew_ms=0x2710", "renew_ms"},
        {"seal_key_file=/x", "seal_key_file"},
        {"ca_file=/x", "rediss://"},
        {"cert_file=/x", "rediss://"},
        {"key_file=/x", "rediss://"},
        {"server_name=x", "rediss://"},
        {"lazy=1?lazy=1", "lazy"},
        {"password=p", "password"},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        char text[128];
        snprintf(text, sizeof text, "redis://h?%s", rows[i][0]);
        assert_bad(text, rows[i][1]);
    }
}

static void test_tls_options(void **state)
{
    (void)state;
    lk_config c;
    assert_good("redis://h", &c);
    assert_false(c.tls);
    assert_good("unix:///s", &c);
    assert_false(c.tls);
    assert_good("rediss://u:p@[::1]:6380/3", &c);
    assert_true(c.tls);
    assert_string_equal(c.host, "::1");
    assert_string_equal(c.port, "6380");
    assert_true(c.database == 3);
    assert_null(c.tls_context); /* no file is read yet */
    assert_string_equal(c.ca_file, "");
    assert_good("rediss://h?ca_file=/a%20b&cert_file=c&key_file=k&server_name=redis.internal", &c);
    assert_string_equal(c.ca_file, "/a b");
    assert_string_equal(c.cert_file, "c");
    assert_string_equal(c.key_file, "k");
    assert_string_equal(c.server_name, "redis.internal");
    assert_bad("rediss://h?cert_file=c", "key_file");
    assert_bad("rediss://h?key_file=k", "cert_file");
    assert_bad("rediss://h?ca_file=", "ca_file");
    assert_bad("rediss://h?server_name=", "server_name");
    assert_bad("rediss://h?server_name", "server_name");
    assert_bad("rediss://h?ca_file=a&ca_file=a", "twice");
    assert_bad("redis://h?key_file=k&cert_file=c", "rediss://");
    assert_bad("unix:///s?ca_file=a", "rediss://");
    char text[512];
    snprintf(text, sizeof text, "rediss://h?ca_file=%0255d", 7);
    assert_good(text, &c);
    snprintf(text, sizeof text, "rediss://h?ca_file=%0256d", 7);
    assert_bad(text, "ca_file");
}

/* -------------------------------------------------------------------------------------------------- files -- */

static const char *with_file(const char *option, const void *bytes, size_t size)
{
    static char text[256];
    snprintf(text, sizeof text, "redis://h?%s=%s", option, unit_file("option", bytes, size));
    return text;
}

static void test_password_file(void **state)
{
    (void)state;
    const struct {
        const char *bytes;
        size_t size;
        const char *password; /* NULL: refused */
    } rows[] = {{"pass word", 9, "pass word"},
                {"pw\n", 3, "pw"},
                {"pw\r\n", 4, "pw"},
                {" pw ", 4, " pw "},
                {"%41", 3, "%41"},
                {"", 0, NULL},
                {"\n", 1, NULL},
                {"\r\n", 2, NULL},
                {"p\0w", 3, NULL},
                {"pw\0", 3, NULL},
                {"\0", 1, NULL},
                {"\xef\xbb\xbfpw\n", 6, "pw"}, /* a byte order mark is no part of it */
                {"\xef\xbb\xbf", 3, NULL},
                {"\xff\xfep\0w\0", 6, NULL}};
    lk_config c;
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        const char *text = with_file("password_file", rows[i].bytes, rows[i].size);
        if (!rows[i].password) {
            assert_bad(text, "password_file");
            continue;
        }
        assert_good(text, &c);
        assert_true(c.has_password);
        assert_string_equal(c.password, rows[i].password);
    }
    char large[5000];
    memset(large, 'y', sizeof large);
    assert_good(with_file("password_file", large, 4096), &c);
    assert_int_equal(strlen(c.password), 4096);
    large[4096] = '\r';
    large[4097] = '\n';
    assert_good(with_file("password_file", large, 4098), &c);
    assert_int_equal(strlen(c.password), 4096);
    memset(large, 'y', sizeof large);
    assert_bad(with_file("password_file", large, 4097), "password_file");
    assert_bad(with_file("password_file", large, sizeof large), "password_file");

    char text[256];
    const char *path = unit_file("pw", "pw\n", 3);
    snprintf(text, sizeof text, "redis://u@h?password_file=%s", path);
    assert_good(text, &c);
    assert_string_equal(c.user, "u");
    assert_string_equal(c.password, "pw");
    snprintf(text, sizeof text, "redis://u:other@h?password_file=%s", path);
    assert_bad(text, "password_file");
    snprintf(text, sizeof text, "redis://h?password_file=%s&password_file=%s", path, path);
    assert_bad(text, "password_file");
    assert_bad("redis://h?password_file=/nowhere/at/all", "/nowhere/at/all");
    assert_bad("redis://h?password_file=/", "password_file"); /* a directory opens, and cannot be read */
    assert_bad("redis://h?password_file=", "password_file");
}

#define KEY_1 "00112233445566778899aabbccddeeff"
#define KEY_2 "FFEEDDCCBBAA99887766554433221100"

static void test_check_key_file(void **state)
{
    (void)state;
    const struct {
        const char *bytes;
        unsigned count; /* 0: refused */
    } rows[] = {
        {KEY_1, 1},
        {KEY_1 "\n", 1},
        {KEY_1 "\r\n" KEY_2 "\r\n", 2},
        {KEY_1 "\r" KEY_2 "\r\n", 0}, /* the second must not be passed over */
        {KEY_1 "\r" KEY_2 "\r", 0},
        {KEY_1 "\r\r\n", 0},
        {"\xef\xbb\xbf" KEY_1 "\n" KEY_2, 2},
        {KEY_1 "\n\xef\xbb\xbf" KEY_2, 0},
        {"# old and new\n\n" KEY_1 "\n#" KEY_1 "\n" KEY_2, 2},
        {"\n\n\n" KEY_1 "\n\n", 1},
        {"", 0},
        {"\n", 0},
        {"# none\n", 0},
        {KEY_1 "0\n", 0},
        {"0" KEY_1 "\n", 0},
        {"0011223344556677\n", 0},
        {" " KEY_1 "\n", 0},
        {KEY_1 " \n", 0},
        {KEY_1 KEY_2 "\n", 0},
        {KEY_1 "\n0011\n", 0},
        {"0x112233445566778899aabbccddeeff\n", 0},
        {"0g112233445566778899aabbccddeeff\n", 0},
    };
    lk_config c;
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        const char *text = with_file("check_key_file", rows[i].bytes, strlen(rows[i].bytes));
        if (!rows[i].count) {
            assert_bad(text, "check_key_file");
            assert_null(strstr(error, "22334455")); /* keys are secrets too */
            continue;
        }
        assert_good(text, &c);
        assert_int_equal(c.check_keys.count, rows[i].count);
        assert_memory_equal(c.check_keys.key[0], "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff",
                            16);
        if (rows[i].count == 2) assert_int_equal(c.check_keys.key[1][0], 0xff);
    }
    assert_bad(with_file("check_key_file", "# 1\n" KEY_1 "\nwrong\n", 43), "line 3");
    assert_bad(with_file("check_key_file", KEY_1 "\n\0", 34), "NUL");
    assert_bad("redis://h?check_key_file=/nowhere", "/nowhere");

    char many[5000] = "";
    for (int i = 0; i < LK_CHECK_KEYS_MAX; i++) strcat(many, KEY_1 "\n");
    assert_good(with_file("check_key_file", many, strlen(many)), &c);
    assert_int_equal(c.check_keys.count, LK_CHECK_KEYS_MAX);
    strcat(many, KEY_1 "\n");
    assert_bad(with_file("check_key_file", many, strlen(many)), "check_key_file");
    memset(many, '#', sizeof many);
    assert_bad(with_file("check_key_file", many, sizeof many), "larger");
}

#define SEAL_1 KEY_1 KEY_1
#define SEAL_2 KEY_2 KEY_2

static char logged[512];

static void keep_log(void *context, int level, const char *text)
{
    (void)context;
    snprintf(logged + strlen(logged), sizeof logged - strlen(logged), "%d %s\n", level, text);
}

static void test_seal_key_file(void **state)
{
    (void)state;
    const struct {
        const char *bytes, *fault; /* NULL: it is good */
        unsigned count;
        bool plain, plain_new;
    } rows[] = {
        {SEAL_1, NULL, 1, false, false},
        {SEAL_1 "\n" SEAL_2 "\n", NULL, 2, false, false},
        {"# new, old\r\n" SEAL_1 "\r\n\r\n" SEAL_2 "\r\nplain\r\n", NULL, 2, true, false},
        {"#\nplain\n" SEAL_1 "\n", NULL, 1, true, true},
        {"", "no key", 0, false, false},
        {"plain\n", "no key", 0, false, false},
        {"# " SEAL_1 "\n", "no key", 0, false, false},
        {KEY_1 "\n", "line 1", 0, false, false}, /* that of check_key_file */
        {SEAL_1 "\n\n" SEAL_2 "0\n", "line 3", 0, false, false},
        {SEAL_1 "\n " SEAL_2 "\n", "line 2", 0, false, false},
        {SEAL_1 " plain\n", "line 1", 0, false, false},
        {SEAL_1 "\nPLAIN\n", "neither 64 hexadecimal digits nor plain", 0, false, false},
        {SEAL_1 "\n" SEAL_2 "\n" SEAL_1 "\n", "line 3", 0, false, false},
        {"plain\n" SEAL_1 "\nplain\n", "line 3", 0, false, false},
    };
    lk_config c;
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        const char *text = with_file("seal_key_file", rows[i].bytes, strlen(rows[i].bytes));
        if (rows[i].fault) {
            assert_bad(text, "seal_key_file");
            assert_bad(text, rows[i].fault);
            assert_null(strstr(error, "22334455"));
            continue;
        }
        assert_good(text, &c);
        assert_true(c.seal_keys.count == rows[i].count && c.seal_keys.plain == rows[i].plain);
        assert_true(c.seal_keys.plain_new == rows[i].plain_new);
        assert_memory_equal(c.seal_keys.key[0] + 12, "\xcc\xdd\xee\xff\x00\x11", 6);
    }
    assert_good("redis://h", &c);
    assert_int_equal(c.seal_keys.count, 0);
    assert_bad("redis://h?seal_key_file=/nowhere", "/nowhere");
    assert_bad("redis://h?seal_key_file=", "seal_key_file");
    assert_bad("redis://h?seal_key_file=/", "seal_key_file");
}

/* Said, and no reason to refuse: it can be put right while the handle is open. */
static void test_a_seal_key_file_that_everybody_can_read(void **state)
{
    (void)state;
    const char *path = unit_file("seal", SEAL_1, strlen(SEAL_1));
    char text[256];
    lk_config c;
    snprintf(text, sizeof text, "redis://h?seal_key_file=%s", path);
    const struct {
        mode_t mode;
        bool said;
    } rows[] = {{0600, false}, {0640, false}, {0660, false}, {0604, true}, {0644, true}, {0602, true}};
    latchkey_set_log(keep_log, NULL);
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        *logged = 0;
        assert_int_equal(chmod(path, rows[i].mode), 0);
        assert_good(text, &c);
        assert_int_equal(strncmp(logged, "4 seal: ", 8) == 0, rows[i].said);
        assert_int_equal(strstr(logged, path) != NULL, rows[i].said);
        assert_null(strstr(logged, "2233"));
    }
    latchkey_set_log(NULL, NULL);
}

/* ------------------------------------------------------------------------------------------------ secrets -- */

static void assert_no_secret(const char *text, const char *secret)
{
    lk_config c;
    parse(text, &c);
    if (strstr(error, secret)) fail_msg("%s gives away the secret: %s", text, error);
}

static void test_no_password_in_any_text(void **state)
{
    (void)state;
    const char *rows[] = {
        "s3cret",
        "redis:s3cret@h",
        "redis:/u:s3cret@h",
        "redis//u:s3cret@h",
        "REDIS://u:s3cret@h",
        "rediss://u:s3cret@h:",
        "rediss://u:s3cret@h?key_file=x",
        "redis+sentinel://:s3cret@h",
        "redis+sentinel://:s3cret@,h/m",
        "redis+sentinel://u:s3cret,h/m",
        "redis+cluster://:s3cret@h,",
        "redis+cluster://:s3cret@h,h",
        "redis+cluster://u:s3cret,h",
        "redis+cluster://u:s3cret@h/s3cret",
        "redis://u:s3cret,h",
        "http://u:s3cret@h",
        "redis://u:s3cret",
        "redis://:s3cret",
        "redis://u:s3cret/0",
        "redis://u:s3cret@",
        "redis://u:s3cret@h:x",
        "redis://u:s3cret@h:0",
        "redis://u:s3cret@h:6379:1",
        "redis://u:s3cret@[h",
        "redis://u:s3cret@[h]x",
        "redis://u:s3cret@h/x",
        "redis://u:s3cret@h/@",
        "redis://u:s3cret@h@",
        "redis://u:s3cret%@h",
        "redis://u:s3cret%zz@h",
        "redis://u:%zzs3cret@h",
        "redis://u:s3cret%00@h",
        "redis://u%:s3cret@h",
        "redis://u:s3cret?@h",
        "redis://u:?s3cret@h",
        "redis://u:?s3cret=1@h",
        "redis://u:?a=b&s3cret@h",
        "redis://:?s3cret&x=1@h?lazy=1",
        "redis://u:s3cret#@h:6379:6379",
        "redis://u:/s3cret",
        "redis://h:6379/s3cret",
        "redis://h:s3cret",
        "redis://h:6379:s3cret",
        "redis://s3cret@h",
        "redis://s3cret:@h",
        "redis://s3cret%@h",
        "redis://u:s3cret@h?x=1",
        "redis://u:s3cret@h?l1_capacity=x",
        "redis://u:s3cret@h?l1_capacity",
        "redis://u:s3cret@h?db=1",
        "redis://u:s3cret@h?password_file=/nowhere",
        "redis://u:s3cret@h?check_key_file=/nowhere",
        "redis://u:s3cret@h?seal_key_file=/nowhere",
        "redis://h?password=s3cret",
        "redis://h?pass=s3cret",
        "redis://h?db=s3cret",
        "redis://h?lazy=s3cret",
        "redis://h?prefix=s3cret%20",
        "redis://h?limit=s3cret",
        "redis://h?lazy=s3cret%",
        "unix://u:s3cret@s",
        "unix://u:s3cret/s",
        "unix://u:s3cret@/s?db=x",
        "unix://s3cret@/s",
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) assert_no_secret(rows[i], "s3cret");
}

static void test_no_secret_of_a_file_in_any_text(void **state)
{
    (void)state;
    const char *contents[] = {"s3cret\0x", "s3cret\n", "s3cret\ns3cret\ns3cret\n"};
    for (size_t i = 0; i < UNIT_COUNT(contents); i++) {
        char text[256];
        const char *path = unit_file("secret", contents[i], 8);
        snprintf(text, sizeof text, "redis://u:p@h?password_file=%s", path);
        assert_no_secret(text, "s3cret");
        snprintf(text, sizeof text, "redis://h?check_key_file=%s", path);
        assert_no_secret(text, "s3cret");
        snprintf(text, sizeof text, "redis://h?seal_key_file=%s", path);
        assert_no_secret(text, "s3cret");
    }
}

/* Any cut of a configuration that holds a password, and any byte put into it or changed. Of a password that was changed
 * itself, the longer half must not show. */
static void test_no_password_in_the_text_of_a_broken_url(void **state)
{
    (void)state;
    static const char good[] = "redis://user:s3cret@[::1]:6379/5?l1_capacity=10&limit=deny&prefix=a&lazy=1";
    static const char instead[] = "@:/?&=%#[] \n\x80x0";
    const char *secret = strstr(good, "s3cret");
    lk_config c;
    assert_good(good, &c);
    for (size_t at = 0; good[at]; at++) {
        char text[sizeof good + 1], left[8] = "s3cret";
        snprintf(text, at + 1, "%s", good);
        assert_no_secret(text, "s3cret");
        size_t in = (size_t)(good + at - secret);
        if (in < 3) snprintf(left, sizeof left, "%.5s", secret + in + 1);
        if (in < 6) left[in < 3 ? 5 - in : in] = 0;
        for (const char *byte = instead; *byte; byte++) {
            memcpy(text, good, sizeof good);
            text[at] = *byte;
            assert_no_secret(text, left);
            text[at] = good[at];
            memmove(text + at + 1, text + at, sizeof good - at);
            text[at] = *byte;
            assert_no_secret(text, in - 1 < 5 ? left : "s3cret");
        }
    }
}

static void test_random_texts(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "redis://", "unix://",     "@",      ":",    "/", "?",     "&",    "=",   "%",    "%41", "[",  "]",    "lazy",
        "1",        "l1_capacity", "prefix", "user", "h", "limit", "deny", "%00", "6379", "::1", "/s", "\xff", "db"};
    unit_random r = unit_random_new(1);
    for (uint64_t i = unit_rounds(200000); i; i--) {
        char text[256];
        lk_config c;
        size_t used = 0;
        memcpy(text, "redis://", 9);
        if (i % 8) used = 8;
        for (uint64_t n = unit_below(&r, 20); n; n--) {
            const char *piece = pieces[unit_below(&r, UNIT_COUNT(pieces))];
            memcpy(text + used, piece, strlen(piece));
            used += strlen(piece);
        }
        text[used] = 0;
        int status = parse(text, &c);
        assert_true(status == LATCHKEY_OK || (status == LATCHKEY_CONFIG && *error));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_sentinels),
        cmocka_unit_test(test_clusters),
        cmocka_unit_test(test_bad_urls_are_named),
        cmocka_unit_test(test_texts_that_are_too_long),
        cmocka_unit_test(test_numbers_and_their_ranges),
        cmocka_unit_test(test_other_options),
        cmocka_unit_test(test_tls_options),
        cmocka_unit_test(test_password_file),
        cmocka_unit_test(test_check_key_file),
        cmocka_unit_test(test_seal_key_file),
        cmocka_unit_test(test_a_seal_key_file_that_everybody_can_read),
        cmocka_unit_test(test_no_password_in_any_text),
        cmocka_unit_test(test_no_secret_of_a_file_in_any_text),
        cmocka_unit_test(test_no_password_in_the_text_of_a_broken_url),
        cmocka_unit_test(test_random_texts),
    };
    return cmocka_run_group_tests_name("config", tests, unit_setup, NULL);
}

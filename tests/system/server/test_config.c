/* SPDX-License-Identifier: MIT
 *
 * Bad input: what is written wrongly in the configuration. CONFIG, a text that names the culprit, no password in it,
 * and nothing is asked of any server.
 */
#include "test_handle.h"

#include <stdio.h>
#include <string.h>

#define SECRET "hunter2secret"

typedef struct wrong {
    const char *config;
    const char *named; /* stands in the text */
} wrong;

static const wrong wrongs[] = {
    {"", "redis://"},
    {"nonsense", "redis://"},
    {"http://127.0.0.1", "redis://"},
    {"redis:127.0.0.1", "redis://"},
    {"redis:/127.0.0.1", "redis://"},
    {" redis://127.0.0.1", "redis://"},
    {"REDIS//127.0.0.1", "redis://"},
    {"127.0.0.1:6379", "redis://"},
    {"redis://", "host"},
    {"redis://:6379", "host"},
    {"redis://:" SECRET "@", "host"},
    {"redis://:" SECRET "@:6379", "host"},
    {"redis://127.0.0.1:0", "port"},
    {"redis://127.0.0.1:65536", "port"},
    {"redis://127.0.0.1:-1", "port"},
    {"redis://127.0.0.1:six", "port"},
    {"redis://127.0.0.1: 6379", "port"},
    {"redis://127.0.0.1:6379x", "port"},
    {"redis://127.0.0.1:", "port"},
    {"redis://127.0.0.1:99999999999999999999", "port"},
    {"redis://127.0.0.1:6379/x", "database"},
    {"redis://127.0.0.1:6379/-1", "database"},
    {"redis://127.0.0.1:6379/1/2", "database"},
    {"redis://127.0.0.1:6379/99999999999999999999", "database"},
    {"redis://[::1", "]"},
    {"redis://::1:6379", "[::1]"},
    {"unix://relative/path.sock", "absolute"},
    {"unix://", "path"},
    {"unix:///tmp/x.sock?db=x", "db"},
    {"unix:///tmp/x.sock?db=-1", "db"},
    {"redis://127.0.0.1?db=1", "db"},
    {"redis://us%er:" SECRET "@127.0.0.1", "user"},
    {"redis://user:" SECRET "%zz@127.0.0.1", "password"},
    {"redis://user:" SECRET "%@127.0.0.1", "password"},
    {"redis://user:" SECRET "%00@127.0.0.1", "password"},
    {"redis://user@127.0.0.1", "password"},
    {"redis://user:" SECRET "@127.0.0.1?nonsense=1", "nonsense"},
    {"redis://user:" SECRET "@127.0.0.1?deadline_ms", "no value"},
    {"redis://user:" SECRET "@127.0.0.1?deadline_ms=", "deadline_ms"},
    {"redis://user:" SECRET "@127.0.0.1?deadline_ms=abc", "deadline_ms"},
    {"redis://user:" SECRET "@127.0.0.1?deadline_ms=1.5", "deadline_ms"},
    {"redis://user:" SECRET "@127.0.0.1?deadline_ms=+5", "deadline_ms"},
    {"redis://user:" SECRET "@127.0.0.1?deadline_ms= 5", "deadline_ms"},
    {"redis://user:" SECRET "@127.0.0.1?deadline_ms=0x10", "deadline_ms"},
    {"redis://user:" SECRET "@127.0.0.1?deadline_ms=5s", "deadline_ms"},
    {"redis://user:" SECRET "@127.0.0.1?deadline_ms=5&deadline_ms=6", "deadline_ms"},
    {"redis://user:" SECRET "@127.0.0.1?Deadline_ms=5", "option"},
    {"redis://user:" SECRET "@127.0.0.1?deadlinems=5", "deadlinems"},
    {"redis://127.0.0.1?prefix=lk&bogus=" SECRET, "bogus"},
    {"redis://127.0.0.1?bogus_without_value", "no value"},
    {"redis://127.0.0.1?" SECRET, "no value"},
    {"redis://" SECRET "@127.0.0.1", "password"}, /* as a person writes who forgot the colon */
    {"redis://127.0.0.1?deadline_ms=0", "deadline_ms"},
    {"redis://127.0.0.1?deadline_ms=60001", "deadline_ms"},
    {"redis://127.0.0.1?deadline_ms=99999999999999999999", "deadline_ms"},
    {"redis://127.0.0.1?l1_capacity=-1", "l1_capacity"},
    {"redis://127.0.0.1?l1_capacity=100000001", "l1_capacity"},
    {"redis://127.0.0.1?l1_ttl_ms=0", "l1_ttl_ms"},
    {"redis://127.0.0.1?staleness_ms=99", "staleness_ms"},
    {"redis://127.0.0.1?staleness_ms=60001", "staleness_ms"},
    {"redis://127.0.0.1?idle_ms=0", "idle_ms"},
    {"redis://127.0.0.1?idle_ms=-5", "idle_ms"},
    {"redis://127.0.0.1?lifetime_ms=0", "lifetime_ms"},
    {"redis://127.0.0.1?connections=0", "connections"},
    {"redis://127.0.0.1?connections=65", "connections"},
    {"redis://127.0.0.1?in_flight=0", "in_flight"},
    {"redis://127.0.0.1?in_flight=65537", "in_flight"},
    {"redis://127.0.0.1?partitions=0", "partitions"},
    {"redis://127.0.0.1?partitions=4097", "partitions"},
    {"redis://127.0.0.1?max_sessions=-1", "max_sessions"},
    {"redis://127.0.0.1?max_per_device=1000001", "max_per_device"},
    {"redis://127.0.0.1?renew_ms=9999", "renew_ms"},
    {"redis://127.0.0.1?renew_ms=-1", "renew_ms"},
    {"redis://127.0.0.1?events=2", "events"},
    {"redis://127.0.0.1?renew_ms=315360000001", "renew_ms"},
    {"redis://127.0.0.1?limit=both", "limit"},
    {"redis://127.0.0.1?limit=", "limit"},
    {"redis://127.0.0.1?prefix=", "prefix"},
    {"redis://127.0.0.1?prefix=123456789012345678901234567890123", "prefix"},
    {"redis://127.0.0.1?prefix=a{b}", "prefix"},
    {"redis://127.0.0.1?prefix=a*", "prefix"},
    {"redis://127.0.0.1?prefix=a:b", "prefix"},
    {"redis://127.0.0.1?prefix=a%20b", "prefix"},
    {"redis://127.0.0.1?lazy=2", "lazy"},
    {"redis://127.0.0.1?lazy=yes", "lazy"},
    {"redis://127.0.0.1?foreign_until_ms=-1", "foreign_until_ms"},
    {"redis://127.0.0.1?foreign_until_ms=tomorrow", "foreign_until_ms"},
    {"redis://127.0.0.1?foreign_until_ms=100000000000000", "foreign_until_ms"},
    {"redis://127.0.0.1?password_file=/nowhere/at/all", "password_file"},
    {"redis://127.0.0.1?password_file=/", "password_file"},
    {"redis://127.0.0.1?password_file=", "password_file"},
    {"redis://127.0.0.1?check_key_file=/nowhere/at/all", "check_key_file"},
    {"redis://127.0.0.1?check_key_file=/", "check_key_file"},
    {"redis://127.0.0.1?seal_key_file=/nowhere/at/all", "seal_key_file"},
    {"redis://127.0.0.1?seal_key_file=/", "seal_key_file"},
    {"redis://127.0.0.1?seal_key_file=", "seal_key_file"},
    {"redis://:" SECRET "@127.0.0.1?password_file=/dev/null", "password_file"},
    {"redis+sentinel://127.0.0.1:26379", "NAME"},
    {"redis+cluster://127.0.0.1:7000/3", "database 0"},
    {"redis://127.0.0.1?durability=101", "durability"},
    {"redis://127.0.0.1?durability=-1", "durability"},
    {"redis://127.0.0.1?grace_ms=3600001", "grace_ms"},
    /* For TLS alone; and wrong there, too. */
    {"redis://127.0.0.1?ca_file=/x", "rediss://"},
    {"redis://127.0.0.1?cert_file=/x", "rediss://"},
    {"unix:///tmp/x.sock?key_file=/x", "rediss://"},
    {"redis://:" SECRET "@127.0.0.1?server_name=x", "server_name"},
    {"rediss://", "host"},
    {"rediss://:" SECRET "@127.0.0.1?ca_file=", "ca_file"},
    {"rediss://:" SECRET "@127.0.0.1?server_name=", "server_name"},
    {"rediss://:" SECRET "@127.0.0.1?cert_file=/x", "key_file"},
    {"rediss://:" SECRET "@127.0.0.1?key_file=/x", "cert_file"},
    {"rediss://127.0.0.1?ca_file=/nowhere/at/all", "ca_file: cannot open '/nowhere/at/all'"},
    {"rediss://127.0.0.1?ca_file=/", "ca_file: cannot read '/'"},
    {"rediss://127.0.0.1?ca_file=/dev/null", "ca_file: cannot read '/dev/null': it is empty"},
    {"rediss://127.0.0.1?cert_file=/nowhere/at/all&key_file=/x", "cert_file: cannot open"},
};

static void refused(const char *config, const char *named)
{
    char error[512];
    memset(error, 'e', sizeof error);
    latchkey *lk = (latchkey *)(uintptr_t)1;
    int status = latchkey_open(config, &lk, error, sizeof error);
    if (status != LATCHKEY_CONFIG) fail_msg("'%s': %s", config, latchkey_status_text(status));
    assert_null(lk);
    if (!memchr(error, 0, sizeof error)) fail_msg("'%s': the text has no end", config);
    if (strlen(error) < 10) fail_msg("'%s': '%s' says nothing", config, error);
    if (!strstr(error, named)) fail_msg("'%s': '%s' does not name '%s'", config, error, named);
    if (strstr(error, "hunter2")) fail_msg("'%s': the password stands in '%s'", config, error);
}

static void test_wrong_configurations_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) refused(wrongs[i].config, wrongs[i].named);
}

static void test_error_text_is_optional_and_cut_to_size(void **state)
{
    (void)state;
    latchkey *lk = (latchkey *)(uintptr_t)1;
    char error[12];
    memset(error, 'e', sizeof error);
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open("redis://h?nonsense=1", &lk, NULL, 0));
    assert_null(lk);
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open("redis://h?nonsense=1", &lk, error, 0));
    assert_int_equal(error[0], 'e');
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open("redis://h?nonsense=1", &lk, error, 1));
    assert_int_equal(error[0], 0);
    assert_int_equal(error[1], 'e');
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open("redis://h?nonsense=1", &lk, error, 10));
    assert_int_equal(strlen(error), 9);
    assert_int_equal(error[10], 'e');
}

static void test_long_configurations_are_refused(void **state)
{
    (void)state;
    static char config[100000];
    latchkey *lk;
    char error[512];
    const char *starts[] = {
        "redis://", "redis://:" SECRET "@", "unix:///", "redis://h?prefix=", "redis://h?password_file=/", "redis://h?",
        SECRET};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        for (size_t length = 200; length < sizeof config; length *= 3) {
            memset(config, 'a', length);
            config[length] = 0;
            memcpy(config, starts[i], strlen(starts[i]));
            int status = latchkey_open(config, &lk, error, sizeof error);
            assert_status_in(NULL, status, LATCHKEY_CONFIG,
                             LATCHKEY_UNAVAILABLE); /* a long host name may be looked up */
            assert_null(lk);
            assert_lacks(error, "hunter2");
        }
    }
}

static void test_check_key_files_that_are_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
    } files[] = {
        {"", 0},
        {"\n\n", 2},
        {"0011223344556677\n", 17},                       /* half a key */
        {"00112233445566778899aabbccddeefg\n", 33},       /* not hexadecimal */
        {"00112233445566778899aabbccddeeff00\n", 35},     /* too long */
        {"00112233445566778899aabbccddee\0f\n", 33},      /* a NUL */
        {"00112233445566778899aabbccddeeff\nnext\n", 38}, /* the second line */
    };
    char path[160], config[256];
    check_temp_path("check.key", path, sizeof path);
    snprintf(config, sizeof config, "redis://127.0.0.1?check_key_file=%s", path);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        check_write_file(path, files[i].text, files[i].size);
        refused(config, "check_key_file");
    }
    /* What is in it is a secret as well. */
    check_write_file(path, SECRET "\n", strlen(SECRET) + 1);
    refused(config, "check_key_file");
}

#define KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void test_seal_key_files_that_are_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *where;
    } files[] = {
        {"", "no key"},
        {"plain\n", "no key"},
        {"00112233445566778899aabbccddeeff\n", "line 1"},
        {KEY "\n" KEY "\n", "line 2"},
        {KEY "\n# a comment\n\n" KEY "0\n", "line 4"},
        {SECRET "\n", "line 1"},
    };
    char path[160], config[256];
    check_temp_path("seal.key", path, sizeof path);
    snprintf(config, sizeof config, "redis://127.0.0.1?seal_key_file=%s", path);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        check_write_file(path, files[i].text, strlen(files[i].text));
        refused(config, "seal_key_file");
        refused(config, files[i].where);
    }
}

static void test_password_files_that_are_wrong(void **state)
{
    (void)state;
    static char large[200000];
    char path[160], config[256];
    check_temp_path("password", path, sizeof path);
    snprintf(config, sizeof config, "redis://127.0.0.1?password_file=%s", path);
    check_write_file(path, "", 0);
    refused(config, "password_file");
    memset(large, 'p', sizeof large);
    check_write_file(path, large, sizeof large);
    refused(config, "password_file");
    check_write_file(path, SECRET "\0more", strlen(SECRET) + 5);
    refused(config, "password_file");
    snprintf(config, sizeof config, "redis://user:" SECRET "@127.0.0.1?password_file=%s", path);
    check_write_file(path, SECRET, strlen(SECRET));
    refused(config, "password_file");
}

static void test_configuration_may_be_anything(void **state)
{
    (void)state;
    /* Every byte in every place of a good configuration, and every shortening of it: an answer, never a crash. The
     * host is one that is refused at once. */
    char config[128] = ""; /* zeros behind it, for when its own NUL is what is changed */
    static const char good[] = "redis://u:" SECRET "@127.0.0.1:1/3?lazy=0&deadline_ms=1&prefix=a%41";
    for (size_t i = 0; i < sizeof good; i++) {
        static const char odd[] = "\x01\xff%@:/?&=#[]{} \n-09aZ";
        for (size_t j = 0; j < sizeof odd; j++) { /* the NUL at its end shortens */
            latchkey *lk;
            char error[512];
            memcpy(config, good, sizeof good);
            config[i] = odd[j];
            /* A changed host would be looked up in the network; that is not what is tested. */
            if (!strstr(config, "@127.0.0.1:1")) continue;
            int status = latchkey_open(config, &lk, error, sizeof error);
            assert_status_in(NULL, status, LATCHKEY_CONFIG, LATCHKEY_UNAVAILABLE, LATCHKEY_OK);
            assert_lacks(error, "hunter2");
            latchkey_close(lk);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_configurations_are_named),
        cmocka_unit_test(test_error_text_is_optional_and_cut_to_size),
        cmocka_unit_test(test_long_configurations_are_refused),
        cmocka_unit_test(test_check_key_files_that_are_wrong),
        cmocka_unit_test(test_seal_key_files_that_are_wrong),
        cmocka_unit_test(test_password_files_that_are_wrong),
        cmocka_unit_test(test_configuration_may_be_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT
 *
 * What may stand in the files of TLS: all that does counts, or is refused by its line and its name. And who a certificate is
 * for, as people write hosts.
 */
#include "redis/tls_context.h"
#include "../../support/pki.h"
#include "base/log.h"
#include "unit.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

static char ca[4096], other[4096], old[4096], leaf[4096], key[4096], second_key[4096], locked[4096];
static char line[LK_LOG_LINE];
static int lines;

static void hear(void *context, int level, const char *text)
{
    (void)context, (void)level;
    snprintf(line, sizeof line, "%s", text);
    lines++;
}

static void load(const char *path, char *out)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    out[fread(out, 1, 4095, file)] = 0;
    fclose(file);
}

/* Room for the texts of a test. */
static char arena[400000];
static size_t taken;

static char *room(size_t size)
{
    assert_true(taken + size <= sizeof arena);
    taken += size;
    return arena + taken - size;
}

static int begin(void **state)
{
    (void)state;
    taken = 0;
    return 0;
}

/* Another label for the same bytes. */
static const char *labelled(const char *pem, const char *label)
{
    const char *body = strchr(pem, '\n') + 1, *end = strstr(body, "-----END");
    size_t size = (size_t)(end - body), whole = size + 2 * strlen(label) + 40;
    char *out = room(whole), copy[4096];
    assert_true(size < sizeof copy);
    memcpy(copy, body, size);
    copy[size] = 0;
    snprintf(out, whole, "-----BEGIN %s-----\n%s-----END %s-----\n", label, copy, label);
    return out;
}

/* Two texts, one behind the other. */
static const char *both(const char *a, const char *b)
{
    size_t first = strlen(a), second = strlen(b);
    char *out = room(first + second + 1);
    memcpy(out, a, first);
    memcpy(out + first, b, second + 1);
    return out;
}

static const char *without(const char *pem, const char *part)
{
    const char *at = strstr(pem, part);
    assert_non_null(at);
    size_t before = (size_t)(at - pem), behind = strlen(at + strlen(part)) + 1;
    char *out = room(before + behind);
    memcpy(out, pem, before);
    memcpy(out + before, at + strlen(part), behind);
    return out;
}

static int open_with(const char *options, char error[256])
{
    char text[1200];
    lk_config config;
    lk_tls_context *context = NULL;
    snprintf(text, sizeof text, "rediss://h?%s", options);
    assert_int_equal(lk_config_parse(text, &config, error, 256), LATCHKEY_OK);
    config.notices = lk_notices_open();
    *error = 0;
    int status = lk_tls_context_open(&config, &context, error, 256);
    assert_int_equal(status == LATCHKEY_OK, context != NULL);
    lk_tls_context_close(context);
    lines = 0;
    latchkey_set_log(hear, NULL);
    lk_notices_say(config.notices);
    latchkey_set_log(NULL, NULL);
    lk_notices_close(config.notices);
    return status;
}

/* `why` NULL: it is good. */
static void expect(const char *options, const char *what, const char *why)
{
    char error[256];
    int status = open_with(options, error);
    if (!why && status) fail_msg("%s: %s", what, error);
    if (why && status != LATCHKEY_CONFIG) fail_msg("%s: %d", what, status);
    if (why && !strstr(error, why)) fail_msg("%s: '%s' lacks '%s'", what, error, why);
    if (why && strlen(error) >= 160 + 60) fail_msg("%s: '%s' is long", what, error);
}

static void test_files_of_cas(void **state)
{
    (void)state;
    const struct {
        const char *what, *bytes, *why;
    } rows[] = {
        {"one", ca, NULL},
        {"two", both(ca, other), NULL},
        {"the same twice", both(ca, ca), NULL},
        {"text before", both("# our CA\n\nSubject: CN=ca\n=====\n-----\n--------\n", ca), NULL},
        {"text behind", both(ca, "\nthat is all -- really\n"), NULL},
        {"a mark at the beginning", both("\xef\xbb\xbf", ca), NULL},
        {"an old label", labelled(ca, "X509 CERTIFICATE"), NULL},
        {"no end of the last line", both(ca, without(other, "\n-----END CERTIFICATE-----\n")), "its end is missing"},
        {"trusted", both(ca, labelled(other, "TRUSTED CERTIFICATE")), "begins a TRUSTED CERTIFICATE"},
        {"trusted alone", labelled(other, "TRUSTED CERTIFICATE"), "line 1 of"},
        {"revocations", both(ca, labelled(other, "X509 CRL")), "begins a X509 CRL"},
        {"pkcs7", labelled(ca, "PKCS7"), "begins a PKCS7"},
        {"a private key", both(ca, key), "begins a PRIVATE KEY"},
        {"a private key alone", key, "begins a PRIVATE KEY"},
        {"damaged", labelled("x\nTm90IHJlYWxseSBvbmU=\n-----END", "CERTIFICATE"), "certificate 1 of"},
        {"damaged second", both(ca, labelled("x\nTm90IHJlYWxseSBvbmU=\n-----END", "CERTIFICATE")), "certificate 2 of"},
        {"not base64", both(ca, labelled("x\n&&&&\n-----END", "CERTIFICATE")), "certificate 2 of"},
        {"empty block", both(ca, labelled("x\n-----END", "CERTIFICATE")), "certificate 2 of"},
        {"a piece of the first marker", both(ca, without(other, "-----BEGIN CERT")), "is a piece of a block"},
        {"four dashes", both(ca, without(other, "-")), "is a piece of a block"},
        {"spaces before", both(both(ca, "  "), other), "is a piece of a block"},
        {"no first marker", both(ca, without(other, "-----BEGIN CERTIFICATE-----\n")), "is a piece of a block"},
        {"no last marker", both(without(ca, "-----END CERTIFICATE-----\n"), other), "its end is missing"},
        {"another last marker", without(labelled(ca, "CERTIFICATE"), "END CERT"), "its end is missing"},
        {"in one line", "-----BEGIN CERTIFICATE-----MIIB-----END CERTIFICATE-----\n", "is a piece of a block"},
        {"text alone", "hello\n", "there is no certificate"},
        {"utf-16", NULL, "is not text"},
        {"der", NULL, "DER form"},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        unsigned char der[16] = {0x30, 0x82, 0x01, 0x80}, wide[8] = {0xff, 0xfe, '-', 0, '-', 0};
        const void *bytes = rows[i].bytes;
        size_t size = bytes ? strlen(bytes) : !strcmp(rows[i].what, "der") ? sizeof der : sizeof wide;
        if (!bytes) bytes = size == sizeof der ? der : wide;
        char options[400];
        snprintf(options, sizeof options, "ca_file=%s", unit_file("ca", bytes, size));
        expect(options, rows[i].what, rows[i].why);
        assert_int_equal(lines, 0);
    }
    expect("ca_file=/", "a directory", "cannot read");
}

static void test_files_of_our_own(void **state)
{
    (void)state;
    const struct {
        const char *what, *certificate, *key, *why; /* key NULL: it stands in the same file */
    } rows[] = {
        {"plain", leaf, key, NULL},
        {"with its chain", both(leaf, ca), key, NULL},
        {"in one file", both(leaf, key), NULL, NULL},
        {"in one file, the key first", both(key, both(leaf, ca)), NULL, NULL},
        {"parameters before the key", leaf,
         both("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n", key), NULL},
        {"a key that is not read", both(leaf, key), key, "cert_file: line"},
        {"a certificate that is not read", leaf, both(key, leaf), "begins a CERTIFICATE"},
        {"two keys", leaf, both(key, second_key), "only one private key"},
        {"another's key", leaf, second_key, "is not the key"},
        {"the chain before it", both(ca, leaf), key, "is not the key"},
        {"trusted in the chain", both(leaf, labelled(ca, "TRUSTED CERTIFICATE")), key, "begins a TRUSTED"},
        {"a damaged chain", both(leaf, labelled("x\nTm90\n-----END", "CERTIFICATE")), key, "certificate 2 of"},
        {"no certificate", "hello\n", key, "there is no certificate"},
        {"no key", leaf, "hello\n", "there is no private key"},
        {"a damaged key", leaf, labelled("x\nTm90\n-----END", "PRIVATE KEY"), "the PRIVATE KEY in"},
        {"half a key", leaf, without(key, "\n-----END PRIVATE KEY-----\n"), "its end is missing"},
        {"a key of ssh", leaf, labelled(key, "OPENSSH PRIVATE KEY"), "the OPENSSH PRIVATE KEY in"},
        {"a key with a passphrase", leaf, locked, "is encrypted"},
        {"a request", leaf, labelled(key, "CERTIFICATE REQUEST"), "begins a CERTIFICATE REQUEST"},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        char options[900], certificate[300];
        snprintf(certificate, sizeof certificate, "%s",
                 unit_file("crt", rows[i].certificate, strlen(rows[i].certificate)));
        const char *beside = rows[i].key ? unit_file("key", rows[i].key, strlen(rows[i].key)) : certificate;
        snprintf(options, sizeof options, "ca_file=%s&cert_file=%s&key_file=%s", pki_crt("ca"), certificate, beside);
        expect(options, rows[i].what, rows[i].why);
    }
}

static void test_expired_ones_are_told(void **state)
{
    (void)state;
    char options[400], error[256];
    const char *text = both(both(ca, old), old);
    snprintf(options, sizeof options, "ca_file=%s", unit_file("ca", text, strlen(text)));
    assert_int_equal(open_with(options, error), LATCHKEY_OK);
    assert_int_equal(lines, 1);
    assert_non_null(strstr(line, "2 of the 3 certificates"));
    assert_non_null(strstr(line, "CN=old"));
    snprintf(options, sizeof options, "ca_file=%s", pki_crt("ca"));
    assert_int_equal(open_with(options, error), LATCHKEY_OK);
    assert_int_equal(lines, 0);
}

/* ---------------------------------------------------------------------------------------------------- names -- */

static void test_names(void **state)
{
    (void)state;
    const struct {
        const char *host, *name;
        bool address;
    } rows[] = {
        {"redis.internal", "redis.internal", false},
        {"redis.internal.", "redis.internal", false},
        {"redis.internal%x", "redis.internal%x", false}, /* no zone: no other name */
        {"::1", "::1", true},
        {"[::1]", "::1", true},
        {"fe80::1%eth0", "fe80::1", true},
        {"[fe80::1%eth0]", "fe80::1", true},
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1.", "127.0.0.1", true},
        {"127.1", "127.0.0.1", true},
        {"0x7f000001", "127.0.0.1", true},
        {"2130706433", "127.0.0.1", true},
        {"127.0.0.1 x", "127.0.0.1 x", false},
        {"beef", "beef", false},
        {"", NULL, false},
        {".", NULL, false},
        {"[redis]", NULL, false},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        char name[LK_TLS_NAME_SIZE] = "";
        bool address = false;
        assert_int_equal(lk_tls_name(rows[i].host, name, &address), rows[i].name != NULL);
        if (!rows[i].name) continue;
        assert_string_equal(name, rows[i].name);
        assert_int_equal(address, rows[i].address);
    }
    char text[400];
    memset(text, 'y', 256);
    text[256] = 0;
    char name[LK_TLS_NAME_SIZE];
    bool address;
    assert_false(lk_tls_name(text, name, &address));
    snprintf(text, sizeof text, "ca_file=%s&server_name=.", pki_crt("ca"));
    expect(text, "a dot", "server_name: '.' is not a name");
}

static int group_setup(void **state)
{
    unit_setup(state);
    pki_make(&(pki_card){.name = "ca", .ca = 1});
    pki_make(&(pki_card){.name = "other", .ca = 1});
    pki_make(&(pki_card){.name = "old", .ca = 1, .from_s = -7200, .until_s = -3600});
    pki_make(&(pki_card){.name = "leaf", .for_names = "DNS:a.test", .issuer = "ca"});
    pki_make(&(pki_card){.name = "second", .issuer = "ca"});
    pki_make(&(pki_card){.name = "locked", .issuer = "ca", .passphrase = "hunter2secret"});
    load(pki_crt("ca"), ca);
    load(pki_crt("other"), other);
    load(pki_crt("old"), old);
    load(pki_crt("leaf"), leaf);
    load(pki_key("leaf"), key);
    load(pki_key("second"), second_key);
    load(pki_key("locked"), locked);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_files_of_cas, begin),
        cmocka_unit_test_setup(test_files_of_our_own, begin),
        cmocka_unit_test_setup(test_expired_ones_are_told, begin),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests_name("tls_files", tests, group_setup, NULL);
}

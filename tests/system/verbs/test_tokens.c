/* SPDX-License-Identifier: MIT
 *
 * E, from outside: whatever a client sends in the place of a token. Only the exact token admits, and what this
 * deployment cannot have made is refused without asking Redis.
 */
#include "test_handle.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void refused(latchkey *lk, const char *token, size_t length, const char *what)
{
    latchkey_entry entry;
    static const latchkey_entry zero;
    latchkey_record *record = (latchkey_record *)(uintptr_t)1;
    const latchkey_field field = {"note", "x", 1};
    memset(&entry, 0xee, sizeof entry);
    int status = latchkey_validate(lk, token, length, &entry);
    if (status != LATCHKEY_MALFORMED) fail_msg("%s: validate: %s", what, latchkey_status_text(status));
    assert_memory_equal(&entry, &zero, sizeof entry);
    memset(&entry, 0xee, sizeof entry);
    status = latchkey_try_validate(lk, token, length, &entry);
    /* L1 alone cannot always tell; it may say AGAIN, never OK. */
    if (status != LATCHKEY_MALFORMED && status != LATCHKEY_AGAIN)
        fail_msg("%s: try_validate: %s", what, latchkey_status_text(status));
    assert_memory_equal(&entry, &zero, sizeof entry);
    if (latchkey_touch(lk, token, length) != LATCHKEY_MALFORMED) fail_msg("%s: touch", what);
    if (latchkey_load(lk, token, length, &record) != LATCHKEY_MALFORMED) fail_msg("%s: load", what);
    assert_null(record);
    if (latchkey_set_fields(lk, token, length, &field, 1) != LATCHKEY_MALFORMED) fail_msg("%s: set_fields", what);
    if (latchkey_revoke(lk, token, length) != LATCHKEY_MALFORMED) fail_msg("%s: revoke", what);
}

static void test_E_tokens_of_every_length(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=60000");
    char token[LATCHKEY_TOKEN_SIZE], text[128];
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    memset(text, 'A', sizeof text);
    memcpy(text, token, LATCHKEY_TOKEN_LENGTH);
    uint64_t reads = stats_of(lk).l2_reads, writes = stats_of(lk).l2_writes;
    for (size_t length = 0; length <= 100; length++) {
        if (length != LATCHKEY_TOKEN_LENGTH) refused(lk, text, length, "a prefix of the token, or more than it");
        char same[128];
        memset(same, 'A', sizeof same);
        refused(lk, same, length, "letters");
        memset(same, 0, sizeof same);
        refused(lk, same, length, "zeros");
        memset(same, 0xff, sizeof same);
        refused(lk, same, length, "high bytes");
    }
    assert_int_equal(stats_of(lk).l2_reads, reads);
    assert_int_equal(stats_of(lk).l2_writes, writes);
    assert_true(stats_of(lk).malformed > 0);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
}

/* Nothing behind the given length is read: the buffer ends there (AddressSanitizer and valgrind look). */
static void test_E_tokens_are_not_read_past_their_length(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    for (size_t length = 1; length <= 100; length++) {
        char *exact = malloc(length);
        assert_non_null(exact);
        memset(exact, 'A', length);
        memcpy(exact, token, length < LATCHKEY_TOKEN_LENGTH ? length : LATCHKEY_TOKEN_LENGTH);
        latchkey_entry entry;
        int status = latchkey_validate(lk, exact, length, &entry);
        assert_status(lk, length == LATCHKEY_TOKEN_LENGTH ? LATCHKEY_OK : LATCHKEY_MALFORMED, status);
        free(exact);
    }
}

static void every_mutation(latchkey *lk, const char *token)
{
    uint64_t reads = stats_of(lk).l2_reads;
    for (size_t at = 0; at < LATCHKEY_TOKEN_LENGTH; at++) {
        char changed[LATCHKEY_TOKEN_SIZE];
        memcpy(changed, token, sizeof changed);
        for (const char *c = alphabet; *c; c++) {
            if (*c == token[at]) continue;
            changed[at] = *c;
            latchkey_entry entry;
            int status = latchkey_validate(lk, changed, LATCHKEY_TOKEN_LENGTH, &entry);
            if (status != LATCHKEY_MALFORMED)
                fail_msg("character %zu as '%c': %s", at, *c, latchkey_status_text(status));
            status = latchkey_try_validate(lk, changed, LATCHKEY_TOKEN_LENGTH, &entry);
            if (status == LATCHKEY_OK) fail_msg("character %zu as '%c': try_validate admits", at, *c);
        }
    }
    assert_int_equal(stats_of(lk).l2_reads, reads);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
}

static void test_E_every_changed_character_is_refused_beside_a_hit(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=60000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    assert_status(lk, LATCHKEY_OK, try_validate(lk, token));
    every_mutation(lk, token);
}

static void test_E_every_changed_character_is_refused_on_a_miss(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_capacity=0&staleness_ms=60000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    every_mutation(lk, token);
}

static void test_E_characters_outside_the_alphabet_are_refused(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=60000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    for (size_t at = 0; at < LATCHKEY_TOKEN_LENGTH; at += 6) {
        for (int c = 0; c < 256; c++) {
            if (c && strchr(alphabet, c)) continue;
            char changed[LATCHKEY_TOKEN_SIZE];
            memcpy(changed, token, sizeof changed);
            changed[at] = (char)c;
            assert_status(lk, LATCHKEY_MALFORMED, validate(lk, changed));
        }
    }
}

/* The last character carries four bits; the other spellings of the same 32 bytes are no tokens. */
static void test_E_only_the_canonical_spelling_is_a_token(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=60000");
    char token[LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 20; i++) {
        make_session(lk, 1, token);
        assert_status(lk, LATCHKEY_OK, validate(lk, token));
        const char *last = strchr(alphabet, token[42]);
        assert_int_equal((last - alphabet) % 4, 0);
        for (int spare = 1; spare < 4; spare++) {
            char other[LATCHKEY_TOKEN_SIZE];
            memcpy(other, token, sizeof other);
            other[42] = last[spare];
            assert_status(lk, LATCHKEY_MALFORMED, validate(lk, other));
            assert_int_not_equal(try_validate(lk, other), LATCHKEY_OK);
        }
    }
}

/* Two real tokens, halves exchanged: the selector of one with the secret of the other. */
static void test_E_exchanged_halves_are_refused(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=60000");
    char one[LATCHKEY_TOKEN_SIZE], two[LATCHKEY_TOKEN_SIZE], mixed[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, one);
    make_session(lk, 2, two);
    assert_status(lk, LATCHKEY_OK, validate(lk, one));
    assert_status(lk, LATCHKEY_OK, validate(lk, two));
    for (size_t cut = 1; cut < LATCHKEY_TOKEN_LENGTH; cut++) {
        memcpy(mixed, one, sizeof mixed);
        memcpy(mixed + cut, two + cut, LATCHKEY_TOKEN_LENGTH - cut);
        if (memcmp(mixed, one, LATCHKEY_TOKEN_LENGTH) == 0 || memcmp(mixed, two, LATCHKEY_TOKEN_LENGTH) == 0) continue;
        assert_status(lk, LATCHKEY_MALFORMED, validate(lk, mixed));
        assert_int_not_equal(try_validate(lk, mixed), LATCHKEY_OK);
    }
}

/* A token of a deployment with more partitions names one that this has not. */
static void test_partition_out_of_range_is_malformed(void **state)
{
    (void)state;
    latchkey *many = handle_open(server, "partitions=4096&prefix=many"), *few = handle_open(server, "partitions=2");
    char token[LATCHKEY_TOKEN_SIZE];
    for (uint64_t user = 1; user <= 30; user++) {
        make_session(many, user, token);
        assert_status_in(few, validate(few, token), LATCHKEY_MALFORMED, LATCHKEY_NOT_FOUND);
        if (token_partition(token) >= 2) assert_status(few, LATCHKEY_MALFORMED, validate(few, token));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_E_tokens_of_every_length),
        TEST(test_E_tokens_are_not_read_past_their_length),
        TEST(test_E_every_changed_character_is_refused_beside_a_hit),
        TEST(test_E_every_changed_character_is_refused_on_a_miss),
        TEST(test_E_characters_outside_the_alphabet_are_refused),
        TEST(test_E_only_the_canonical_spelling_is_a_token),
        TEST(test_E_exchanged_halves_are_refused),
        TEST(test_partition_out_of_range_is_malformed),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

/* SPDX-License-Identifier: MIT
 *
 * Structs that begin with their size: those of programs that were built with an older or a newer header.
 */
#include "test_handle.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { LONGER = 64 };

/* A copy of exactly `size` bytes, so that a tool sees one that is read behind it; what is behind `known` is zeros. */
static void *sized(const void *at, size_t known, size_t size)
{
    void *copy = calloc(1, size);
    assert_non_null(copy);
    memcpy(copy, at, size < known ? size : known);
    memcpy(copy, &size, sizeof size);
    return copy;
}

static int create_sized(latchkey *lk, size_t size, size_t at, char value)
{
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = {.size = sizeof draft, .user_id = 8, .role = "reader"};
    char *copy = sized(&draft, sizeof draft, size);
    if (at) copy[at] = value;
    int status = latchkey_create(lk, (latchkey_draft *)(void *)copy, token);
    free(copy);
    if (!status) {
        latchkey_entry entry = entry_of(lk, token);
        assert_int_equal(entry.user_id, 8);
        assert_memory_equal(entry.role, "reader", 7);
    }
    return status;
}

/* Up to what version 0.1 knew: shorter is a mistake, longer up to now is a program of that time. */
static void test_draft(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    const size_t first = offsetof(latchkey_draft, field_count) + sizeof(size_t);
    assert_status(lk, LATCHKEY_OK, create_sized(lk, first, 0, 0));
    assert_status(lk, LATCHKEY_OK, create_sized(lk, sizeof(latchkey_draft), 0, 0));
    assert_status(lk, LATCHKEY_OK, create_sized(lk, sizeof(latchkey_draft) + LONGER, 0, 0));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, create_sized(lk, first - 1, 0, 0));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, create_sized(lk, sizeof(size_t), 0, 0));
    /* What we do not know, and would not do. */
    size_t behind = sizeof(latchkey_draft);
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, create_sized(lk, behind + LONGER, behind, 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, create_sized(lk, behind + LONGER, behind + LONGER - 1, 1));
}

static int import_sized(latchkey *lk, const char *foreign, size_t size, size_t at)
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = 8};
    char *copy = sized(&draft, sizeof draft, size);
    if (at) copy[at] = 1;
    int status = latchkey_import(lk, foreign, strlen(foreign), (latchkey_draft *)(void *)copy, 0, 0);
    free(copy);
    return status;
}

static void test_draft_of_an_import(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "foreign_until_ms=99999999999999");
    const size_t first = offsetof(latchkey_draft, field_count) + sizeof(size_t), behind = sizeof(latchkey_draft);
    assert_status(lk, LATCHKEY_OK, import_sized(lk, "an old store's token, the first", first, 0));
    assert_status(lk, LATCHKEY_OK, import_sized(lk, "an old store's token, the second", behind + LONGER, 0));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, import_sized(lk, "an old store's token, the third", first - 1, 0));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT,
                  import_sized(lk, "an old store's token, the third", behind + LONGER, behind));
}

static int access_sized(latchkey *lk, const char *token, size_t size, size_t at)
{
    latchkey_access access = {.size = sizeof access, .role = token ? "writer" : "owner"};
    char *copy = sized(&access, sizeof access, size);
    size_t changed = 0;
    if (at) copy[at] = 1;
    const latchkey_access *given = (latchkey_access *)(void *)copy;
    int status = token ? latchkey_set_access(lk, token, LATCHKEY_TOKEN_LENGTH, given)
                       : latchkey_set_user_access(lk, 8, given, &changed);
    free(copy);
    return status;
}

static void test_access(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(server, "");
    const size_t size = sizeof(latchkey_access);
    make_session(lk, 8, token);
    const char *of[] = {token, NULL};
    for (int i = 0; i < 2; i++) {
        assert_status(lk, LATCHKEY_OK, access_sized(lk, of[i], size, 0));
        assert_status(lk, LATCHKEY_OK, access_sized(lk, of[i], size + LONGER, 0));
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, access_sized(lk, of[i], size - 1, 0));
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, access_sized(lk, of[i], size + LONGER, size));
    }
}

/* The caller's buffer for what is read may be shorter or longer. */
static void test_stats(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    unsigned char bytes[sizeof(latchkey_stats) + LONGER];
    const size_t sizes[] = {8, sizeof(latchkey_stats) - 8, sizeof(latchkey_stats), sizeof(latchkey_stats) + LONGER};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memset(bytes, 0xaa, sizeof bytes);
        assert_status(lk, LATCHKEY_OK, latchkey_stats_read(lk, (latchkey_stats *)(void *)bytes, sizes[i]));
        if (sizes[i] < sizeof bytes) assert_int_equal(bytes[sizes[i]], 0xaa);
        for (size_t k = sizeof(latchkey_stats); k < sizes[i]; k++) assert_int_equal(bytes[k], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_draft),
        TEST(test_draft_of_an_import),
        TEST(test_access),
        TEST(test_stats),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

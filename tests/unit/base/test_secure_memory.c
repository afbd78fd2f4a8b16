/* SPDX-License-Identifier: MIT
 *
 * Memory for secrets: pages of its own, zeroed, outside core dumps; where asked for, zeros in a child. (Guarantee J.)
 */
#include "base/secure_memory.h"
#include "unit.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const size_t sizes[] = {1, 8, 4095, 4096, 4097, 100000, 2097152, 4194304, 4194305, 5000000, 20000000};

static bool all_are(const unsigned char *bytes, size_t size, unsigned char value)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != value) return false;
    return true;
}

static void test_zeroed_aligned_and_ours(void **state)
{
    (void)state;
    for (size_t i = 0; i < UNIT_COUNT(sizes); i++) {
        unsigned char *at = lk_map(sizes[i], i % 2);
        size_t whole = lk_map_size(sizes[i]);
        assert_non_null(at);
        assert_true(whole >= sizes[i] && whole < sizes[i] + 4096 && whole % 4096 == 0);
        assert_true((uintptr_t)at % 4096 == 0);
        assert_true(all_are(at, whole, 0));
        memset(at, 0xaa, whole); /* to the last byte */
        lk_unmap(at, sizes[i]);
    }
    lk_unmap(NULL, 4096);
}

static void test_kept_from_dumps_and_where_asked_from_children(void **state)
{
    (void)state;
    for (size_t i = 0; i < UNIT_COUNT(sizes); i++) {
        for (int wiped = 0; wiped < 2; wiped++) {
            unsigned char *at = lk_map(sizes[i], wiped);
            assert_non_null(at);
            const unsigned char *ends[2] = {at, at + lk_map_size(sizes[i]) - 1};
            for (int k = 0; k < 2; k++) {
                assert_true(unit_mapping_has(ends[k], "dd"));
                assert_int_equal(unit_mapping_has(ends[k], "wf"), wiped);
            }
            lk_unmap(at, sizes[i]);
        }
    }
}

static void test_a_child_sees_zeros_where_asked(void **state)
{
    (void)state;
    enum { SIZE = 5000000 };
    unsigned char *wiped = lk_map(SIZE, true), *kept = lk_map(SIZE, false);
    assert_true(wiped && kept);
    memset(wiped, 0xaa, SIZE);
    memset(kept, 0xbb, SIZE);
    pid_t child = fork();
    if (!child) _exit(!(all_are(wiped, SIZE, 0) && all_are(kept, SIZE, 0xbb)));
    int status = -1;
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(all_are(wiped, SIZE, 0xaa));
    lk_unmap(wiped, SIZE);
    lk_unmap(kept, SIZE);
}

static void test_what_is_beyond_reach_is_refused(void **state)
{
    (void)state;
    assert_null(lk_map((size_t)1 << 60, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zeroed_aligned_and_ours),
        cmocka_unit_test(test_kept_from_dumps_and_where_asked_from_children),
        cmocka_unit_test(test_a_child_sees_zeros_where_asked),
        cmocka_unit_test(test_what_is_beyond_reach_is_refused),
    };
    return cmocka_run_group_tests_name("memory", tests, unit_setup, NULL);
}

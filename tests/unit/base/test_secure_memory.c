/* SPDX-License-Identifier: MIT
 *
 * Memory for secrets: pages of its own, zeroed, outside core dumps; where asked for, zeros in a child. (Guarantee J.)
 */
#include "base/secure_memory.h"
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Kernels as they are: some refuse advice, and some take it and do nothing. */
static enum { AS_IT_IS, REFUSES, SWALLOWS } kernel;
int __real_madvise(void *at, size_t bytes, int advice);
int __wrap_madvise(void *at, size_t bytes, int advice);
int __wrap_madvise(void *at, size_t bytes, int advice)
{
    if (kernel == AS_IT_IS) return __real_madvise(at, bytes, advice);
    if (kernel == SWALLOWS) return 0;
    errno = EINVAL;
    return -1;
}

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

/* What a child and its own child see of pages of both kinds: 0, or which of them were wrong. */
static int wrong_in_a_child(unsigned char *wiped, unsigned char *kept, size_t size)
{
    pid_t child = fork();
    if (child < 0) return 100;
    if (!child) {
        int wrong = !all_are(wiped, size, 0) + 2 * !all_are(kept, size, 0xbb);
        memset(wiped, 0xcc, size); /* its own now */
        pid_t grandchild = wrong ? -1 : fork();
        if (!grandchild) _exit(all_are(wiped, size, 0) ? 0 : 4);
        int status = 0;
        if (grandchild > 0 && (waitpid(grandchild, &status, 0) != grandchild || status)) wrong = 4;
        _exit(wrong);
    }
    int status = -1;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 101;
}

/* On a kernel of one kind, in a process that has not met another kind: 0, or what was wrong. */
static int life_of_pages(void)
{
    enum { SIZE = 5000000 };
    unsigned char *first = lk_map(SIZE, true), *kept = lk_map(SIZE, false), *second = lk_map(SIZE, true);
    unsigned char *gone = lk_map(SIZE, true);
    if (!first || !second || !kept || !gone) return 50;
    memset(first, 0xaa, SIZE);
    memset(second, 0xaa, SIZE);
    memset(kept, 0xbb, SIZE);
    lk_unmap(gone, SIZE);
    int wrong = wrong_in_a_child(first, kept, SIZE);
    if (!wrong) wrong = wrong_in_a_child(second, kept, SIZE);
    if (!all_are(first, SIZE, 0xaa) || !all_are(second, SIZE, 0xaa)) return 51; /* the parent's stay */
    return wrong;
}

/* The first test of all: its children have not asked the kernel for anything yet. */
static void test_J_zeros_also_where_the_kernel_does_not_wipe(void **state)
{
    (void)state;
    for (int kind = AS_IT_IS; kind <= SWALLOWS; kind++) {
        pid_t child = fork();
        if (!child) {
            kernel = kind;
            _exit(life_of_pages());
        }
        int status = -1;
        assert_true(waitpid(child, &status, 0) == child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

/* Containers may refuse any advice: memory is still to be had. */
static void test_refused_advice_is_not_a_lack_of_memory(void **state)
{
    (void)state;
    kernel = REFUSES;
    for (size_t i = 0; i < UNIT_COUNT(sizes); i++) {
        unsigned char *at = lk_map(sizes[i], i % 2);
        assert_non_null(at);
        lk_unmap(at, sizes[i]);
    }
    kernel = AS_IT_IS;
}

static void test_what_is_beyond_reach_is_refused(void **state)
{
    (void)state;
    assert_null(lk_map((size_t)1 << 60, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_J_zeros_also_where_the_kernel_does_not_wipe),
        cmocka_unit_test(test_zeroed_aligned_and_ours),
        cmocka_unit_test(test_kept_from_dumps_and_where_asked_from_children),
        cmocka_unit_test(test_a_child_sees_zeros_where_asked),
        cmocka_unit_test(test_refused_advice_is_not_a_lack_of_memory),
        cmocka_unit_test(test_what_is_beyond_reach_is_refused),
    };
    return cmocka_run_group_tests_name("memory", tests, unit_setup, NULL);
}

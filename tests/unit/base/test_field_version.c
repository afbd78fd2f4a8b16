/* SPDX-License-Identifier: MIT
 *
 * Versions of fields: the beginning of SHA-1.
 */
#include "unit.h"

#include "base/field_version.h"

#include <string.h>

/* RFC 3174, 7.3, and sha1sum's. */
static void test_it_is_the_beginning_of_sha1(void **state)
{
    (void)state;
    static char million[1000000];
    memset(million, 'a', sizeof million);
    assert_true(lk_field_version("abc", 3) == UINT64_C(0xa9993e364706816a));
    assert_true(lk_field_version("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56) ==
                UINT64_C(0x84983e441c3bd26e));
    assert_true(lk_field_version(million, sizeof million) == UINT64_C(0x34aa973cd4c4daa4));
    assert_true(lk_field_version("", 0) == UINT64_C(0xda39a3ee5e6b4b0d));
    assert_true(lk_field_version(NULL, 0) == UINT64_C(0xda39a3ee5e6b4b0d));
}

/* Of "aa...", at every length where the padding changes: 55, 56, 63, 64, 119, 120 bytes. */
static void test_lengths_about_a_block(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        uint64_t version;
    } known[] = {
        {1, UINT64_C(0x86f7e437faa5a7fc)},   {55, UINT64_C(0xc1c8bbdc22796e28)},  {56, UINT64_C(0xc2db330f6083854c)},
        {63, UINT64_C(0x03f09f5b158a7a8c)},  {64, UINT64_C(0x0098ba824b5c1642)},  {65, UINT64_C(0x11655326c708d703)},
        {119, UINT64_C(0xee971065aaa017e0)}, {120, UINT64_C(0xf34c1488385346a5)}, {128, UINT64_C(0xad5b3fdbcb526778)}};
    char text[128];
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_true(lk_field_version(text, known[i].size) == known[i].version);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_the_beginning_of_sha1),
        cmocka_unit_test(test_lengths_about_a_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

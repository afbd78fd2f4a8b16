/* SPDX-License-Identifier: MIT
 *
 * A reply of another type than was asked for: looking at it is harmless, and its shape says that it is another.
 */
#include "redis/reply.h"
#include "redis/resp.h"
#include "unit.h"

#include <string.h>

static void test_reply_is(void **state)
{
    (void)state;
    lk_reply reply = {.type = LK_REPLY_STRING, .text = (char[]){"ab\0c"}, .size = 4};
    assert_false(lk_reply_is(&reply, "ab"));
    reply.size = 2;
    assert_true(lk_reply_is(&reply, "ab"));
    assert_false(lk_reply_is(&reply, "a"));
    assert_false(lk_reply_is(&reply, "abc"));
    reply.type = LK_REPLY_ERROR; /* an error says nothing */
    assert_false(lk_reply_is(&reply, "ab"));
    assert_false(lk_reply_is(NULL, ""));
    assert_false(lk_reply_is(&(lk_reply){.type = LK_REPLY_NIL}, ""));
}

static lk_reply *parsed(const char *text)
{
    lk_resp *resp = lk_resp_open();
    lk_reply *reply;
    assert_true(lk_resp_feed(resp, text, strlen(text)));
    if (lk_resp_next(resp, &reply) != 1) fail_msg("not taken: %s", text);
    lk_resp_close(resp);
    return reply;
}

static const char *const kinds[] = {"$-1\r\n", "*-1\r\n",    ":5\r\n", "$5\r\nhello\r\n",    "$0\r\n\r\n",
                                    "+OK\r\n", "-ERR x\r\n", "*0\r\n", "*2\r\n:1\r\n:2\r\n", "*1\r\n*1\r\n$1\r\na\r\n"};

/* As text, and as an array: of every type, without a look at it. What a sanitizer finds is a failure. */
static void test_any_reply_can_be_looked_at(void **state)
{
    (void)state;
    for (size_t i = 0; i < UNIT_COUNT(kinds); i++) {
        lk_reply *reply = parsed(kinds[i]);
        char copy[64];
        assert_non_null(reply->text);
        assert_true(reply->size < sizeof copy);
        memcpy(copy, reply->text, reply->size);
        assert_int_equal(reply->text[reply->size], 0);
        for (size_t k = 0; k < 4; k++) {
            const lk_reply *item = lk_reply_at(reply, k);
            assert_non_null(item);
            assert_non_null(item->text);
            if (k >= reply->count) assert_int_equal(item->type, LK_REPLY_NIL);
            assert_non_null(lk_reply_at(item, k)->text);
        }
        if (reply->type != LK_REPLY_ARRAY) assert_int_equal(reply->count, 0);
        lk_reply_free(reply);
    }
}

static void test_shapes(void **state)
{
    (void)state;
    const struct {
        const char *text, *shape;
        bool is;
    } rows[] = {
        {"*0\r\n", "", true},
        {"*0\r\n", "(s)", true},
        {"*0\r\n", "(ss)", true},
        {"*0\r\n", "s", false},
        {"*-1\r\n", "", false},
        {"$-1\r\n", "(s)", false},
        {"$2\r\nis\r\n", "is", false},
        {":2\r\n", "", false},
        {"-ERR\r\n", "", false},
        {"*2\r\n:1\r\n$1\r\na\r\n", "is", true},
        {"*2\r\n:1\r\n$1\r\na\r\n", "i*", true},
        {"*2\r\n:1\r\n$1\r\na\r\n", "si", false},
        {"*2\r\n:1\r\n$1\r\na\r\n", "i", false},
        {"*2\r\n:1\r\n$1\r\na\r\n", "iss", false},
        {"*2\r\n:1\r\n$1\r\na\r\n", "is(ss)", true},
        {"*2\r\n:1\r\n$1\r\na\r\n", "i(s)", true},
        {"*2\r\n:1\r\n$1\r\na\r\n", "(i)", false},
        {"*2\r\n:1\r\n+a\r\n", "is", false},
        {"*2\r\n:1\r\n-a\r\n", "is", false},
        {"*2\r\n:1\r\n$-1\r\n", "is", false},
        {"*2\r\n:1\r\n$-1\r\n", "**", true},
        {"*2\r\n:1\r\n*0\r\n", "is", false},
        {"*2\r\n:1\r\n*0\r\n", "ia", true},
        {"*3\r\n:1\r\n$1\r\na\r\n$1\r\nb\r\n", "i(ss)", true},
        {"*3\r\n:1\r\n$1\r\na\r\n$1\r\nb\r\n", "(ss)", false},
        {"*3\r\n:1\r\n$1\r\na\r\n:1\r\n", "i(ss)", false},
        {"*3\r\n:1\r\n$1\r\na\r\n:1\r\n", "i(si)", true},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        lk_reply *reply = parsed(rows[i].text);
        if (lk_reply_shaped(reply, rows[i].shape) != rows[i].is)
            fail_msg("%s is shaped %s?", rows[i].text, rows[i].shape);
        lk_reply_free(reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reply_is),
        cmocka_unit_test(test_any_reply_can_be_looked_at),
        cmocka_unit_test(test_shapes),
    };
    return cmocka_run_group_tests_name("reply", tests, unit_setup, NULL);
}

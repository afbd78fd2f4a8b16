/* SPDX-License-Identifier: MIT
 *
 * Slots of a cluster: the hash is Redis', the map is read as it is given, and an answer that no node of a cluster gives
 * names no server. (Guarantee I.)
 */
#include "redis/resp.h"
#include "redis/slots.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static void test_the_slot_is_redis_own(void **state)
{
    (void)state;
    /* What CLUSTER KEYSLOT says; the first is the check value of CRC16/XMODEM. */
    const struct {
        const char *tag;
        unsigned slot;
    } rows[] = {{"123456789", 0x31c3}, {"foo", 12182}, {"06S", 0}, {"0", 13907}, {"1", 9842}, {"", 0}};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++)
        assert_int_equal(lk_slot_of(rows[i].tag, strlen(rows[i].tag)), rows[i].slot);
    assert_int_equal(lk_slot_of("\0\xff", 2), 0x1ef0 % LK_SLOTS);
    assert_int_equal(lk_slot_of_partition(0), 13907);
    assert_int_equal(lk_slot_of_partition(4095), lk_slot_of("4095", 4));
    for (unsigned p = 0; p < LK_PARTITIONS_MAX; p++) assert_true(lk_slot_of_partition(p) < LK_SLOTS);
}

static const lk_host asked = {"asked.here", "7000"};
static lk_reply *reply;
static lk_slots slots;

/* Is this a map? What `text` says stays in `slots` until the next one. '|' stands for a line's end. */
static bool reads(const char *text)
{
    char *copy = unit_copy(text, strlen(text) + 1), *bytes = malloc(2 * strlen(text) + 1);
    size_t size = 0;
    for (char *c = copy; *c; c++) {
        if (*c != '|') bytes[size++] = *c;
        else bytes[size++] = '\r', bytes[size++] = '\n';
    }
    lk_resp *resp = lk_resp_open();
    lk_reply_free(reply);
    reply = NULL;
    assert_true(lk_resp_feed(resp, bytes, size));
    if (lk_resp_next(resp, &reply) != 1) fail_msg("no reply: %s", text);
    lk_resp_close(resp);
    free(copy), free(bytes);
    return lk_slots_read(&slots, reply, &asked);
}

static void has(unsigned slot, const char *name, const char *port)
{
    lk_host host;
    if (!name) return assert_false(lk_slots_primary(&slots, slot, &host));
    assert_true(lk_slots_primary(&slots, slot, &host));
    assert_string_equal(host.name, name);
    assert_string_equal(host.port, port);
}

#define NODE(host, port) "*4|" host ":" port "|$2|id|*0|"
#define ONE(host, port) "*1|*3|:0|:16383|" NODE(host, port)

static void test_a_map(void **state)
{
    (void)state;
    assert_true(
        reads("*3|*4|:0|:5460|" NODE("$9|127.0.0.1|", "7001") NODE("$9|127.0.0.1|", "7004") "*3|:5461|:5461|" NODE(
            "$3|::1|", "7002") "*4|:10000|:16383|" NODE("$12|n-3.internal|", "7003") NODE("$9|127.0.0.1|", "7004")));
    has(0, "127.0.0.1", "7001");
    has(5460, "127.0.0.1", "7001");
    has(5461, "::1", "7002");
    has(5462, NULL, NULL); /* no node has it */
    has(9999, NULL, NULL);
    has(10000, "n-3.internal", "7003");
    has(16383, "n-3.internal", "7003");
    lk_host node[8];
    assert_int_equal(lk_slots_nodes(&slots, node, 8), 4);
    const char *const ports[] = {"7001", "7002", "7003", "7004"};
    for (int i = 0; i < 4; i++) assert_string_equal(node[i].port, ports[i]);
    assert_int_equal(lk_slots_nodes(&slots, node, 2), 2);
    assert_int_equal(lk_slots_nodes(&slots, node, 0), 0);
    assert_true(reads("*0|")); /* no slot was given to a node yet */
    has(0, NULL, NULL);
    assert_int_equal(lk_slots_nodes(&slots, node, 8), 0);
}

#define ID(c) c c c c c c c c c c
#define A ID("aaaa")
#define B ID("bbbb")
#define C ID("cccc")
#define D ID("dddd")
#define E ID("eeee")
#define F ID("ffff")
#define MEMBER(id) "*4|$1|h|:1|$40|" id "|*0|"
#define SHARD(from, to, id, replica) "*4|:" from "|:" to "|" MEMBER(id) MEMBER(replica)

static lk_members members_of(const char *map)
{
    lk_members members;
    assert_true(reads(map));
    lk_slots_members(&slots, &members);
    return members;
}

static void test_who_is_in_it(void **state)
{
    (void)state;
    lk_members m = members_of("*3|" SHARD("0", "9", A, B) SHARD("10", "19", C, D) SHARD("20", "29", A, B));
    assert_int_equal(m.count, 4);
    assert_int_equal(m.primaries, 2);
    const char *const ids[] = {A, C, B, D};
    for (int i = 0; i < 4; i++) assert_string_equal(m.id[i].text, ids[i]);
    assert_true(lk_members_have(&m, &(lk_node_id){D}));
    assert_false(lk_members_have(&m, &(lk_node_id){E}));
    assert_string_equal(lk_slots_primary_id(&slots, 12).text, C);
    assert_string_equal(lk_slots_primary_id(&slots, 30).text, "");
    /* What is no id is none. */
    const char *const bad[] = {"*0|",
                               "*1|*3|:0|:9|*3|$1|h|:1|$0||",
                               "*1|*3|:0|:9|*3|$1|h|:1|:7|",
                               "*1|*3|:0|:9|*2|$1|h|:1|",
                               "*1|*3|:0|:9|*3|$1|h|:1|$3|x/y|",
                               "*1|*3|:0|:9|*3|$1|h|:1|$41|" A "a|",
                               "*1|*2|:0|:9|"};
    for (size_t i = 0; i < UNIT_COUNT(bad); i++) assert_int_equal(members_of(bad[i]).count, 0);
}

static void test_is_it_the_same_cluster(void **state)
{
    (void)state;
    lk_members before = members_of("*3|" SHARD("0", "9", A, D) SHARD("10", "19", B, E) SHARD("20", "29", C, F));
    const struct {
        const char *map;
        bool same;
    } rows[] = {
        {"*3|" SHARD("0", "9", A, D) SHARD("10", "19", B, E) SHARD("20", "29", C, F), true},
        /* All failed over, and those before are gone. */
        {"*3|*3|:0|:9|" MEMBER(D) "*3|:10|:19|" MEMBER(E) "*3|:20|:29|" MEMBER(F), true},
        /* One is replaced; four are added; two are left. */
        {"*3|" SHARD("0", "9", A, D) SHARD("10", "19", B, E) SHARD("20", "29", ID("1111"), ID("2222")), true},
        {"*7|" SHARD("0", "1", A, D) SHARD("2", "3", B, E) SHARD("4", "5", C, F) SHARD("6", "7", ID("1111"), D)
             SHARD("8", "9", ID("2222"), D) SHARD("10", "11", ID("3333"), D) SHARD("12", "13", ID("4444"), D),
         true},
        {"*2|" SHARD("0", "9", A, D) SHARD("10", "29", B, E), true},
        /* Another cluster; also with one node that was in this one. */
        {"*3|" SHARD("0", "9", ID("1111"), ID("2222")) SHARD("10", "19", ID("3333"), ID("4444"))
             SHARD("20", "29", ID("5555"), ID("6666")),
         false},
        {"*3|" SHARD("0", "9", A, ID("2222")) SHARD("10", "19", ID("3333"), ID("4444"))
             SHARD("20", "29", ID("5555"), ID("6666")),
         false},
        {"*1|" SHARD("0", "29", ID("1111"), A), false},
        {"*0|", false},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        lk_members now = members_of(rows[i].map);
        if (lk_members_agree(&before, &now) != rows[i].same) fail_msg("row %zu", i);
        assert_int_equal(lk_members_agree(&now, &before), rows[i].same);
    }
}

static void test_a_node_without_a_host_is_the_one_that_was_asked(void **state)
{
    (void)state;
    const char *const maps[] = {ONE("$-1|", "7"), ONE("$0||", "7"), ONE("$1|?|", "7"),
                                "*1|*3|:0|:16383|*4|$1|?|:7|$2|id|*2|$2|ip|$0||"};
    for (size_t i = 0; i < UNIT_COUNT(maps); i++) {
        assert_true(reads(maps[i]));
        has(77, "asked.here", "7");
    }
    /* Names were wanted and this node has none: its address stands behind it. */
    assert_true(reads("*1|*3|:0|:16383|*4|$1|?|:7|$2|id|*4|$8|hostname|$0||$2|ip|$8|10.0.0.7|"));
    has(77, "10.0.0.7", "7");
    assert_true(reads("*1|*3|:0|:16383|*4|$4|name|:7|$2|id|*2|$2|ip|$8|10.0.0.7|"));
    has(77, "name", "7");
    assert_true(reads("*1|*3|:0|:16383|*2|$8|10.0.0.7|:7|")); /* of old servers */
    has(77, "10.0.0.7", "7");
}

static void test_a_node_that_cannot_be_connected_to_is_none(void **state)
{
    (void)state;
    char text[700], longest[300];
    const char *const maps[] = {ONE("$4|a b |", "7"),
                                ONE("$3|a\\b|", "7"),
                                ONE("$3|a/b|", "7"),
                                ONE("$3|a@b|", "7"),
                                ONE("$4|a\033[m|", "7"),
                                ONE("$9|127.0.0.1|", "0"),
                                ONE("$1|a|", "65536"),
                                ONE("$1|a|", "-1"),
                                ONE(":5|", "7"),
                                ONE("*0|", "7"),
                                ONE("+a|", "7"),
                                ONE("-ERR|", "7"),
                                "*1|*3|:0|:16383|*0|",
                                "*1|*3|:0|:16383|$-1|",
                                "*1|*2|:0|:16383|",
                                "*1|*3|:0|:16383|:7|",
                                "*1|*3|:0|:16383|*1|$1|a|",
                                "*1|*3|:0|:16383|*2|$1|a|$1|7|"};
    for (size_t i = 0; i < UNIT_COUNT(maps); i++) {
        assert_true(reads(maps[i]));
        has(0, NULL, NULL);
        lk_host node[4];
        assert_int_equal(lk_slots_nodes(&slots, node, 4), 0);
    }
    memset(longest, 'a', sizeof longest);
    for (int size = 254; size <= 257; size++) {
        snprintf(text, sizeof text, "*1|*3|:0|:16383|*4|$%d|%.*s|:7|$2|id|*0|", size, size, longest);
        assert_true(reads(text));
        lk_host host;
        assert_int_equal(lk_slots_primary(&slots, 1, &host), size <= 255);
    }
}

static void test_what_is_no_map(void **state)
{
    (void)state;
    const char *const rows[] = {"-ERR This instance has cluster support disabled|", "-CLUSTERDOWN x|", "+OK|", ":1|",
                                "$-1|", "*-1|", "$0||", "*1|:1|", "*1|*0|", "*1|*3|$1|0|:16383|" NODE("$1|a|", "7"),
                                "*1|*3|:-1|:16383|" NODE("$1|a|", "7"), "*1|*3|:0|:16384|" NODE("$1|a|", "7"),
                                "*1|*3|:5|:4|" NODE("$1|a|", "7"), "*1|*3|:0|:9223372036854775807|" NODE("$1|a|", "7"),
                                "*1|*3|:-9223372036854775808|:5|" NODE("$1|a|", "7"),
                                /* a slot has one primary */
                                "*2|*3|:0|:9|" NODE("$1|a|", "7") "*3|:9|:16383|" NODE("$1|b|", "7")};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++)
        if (reads(rows[i])) fail_msg("taken: %s", rows[i]);
}

/* Every slot in a range of its own, the most that there can be: more elements than other answers may have. */
static void test_a_map_in_pieces(void **state)
{
    (void)state;
    lk_resp *resp = lk_resp_open();
    lk_resp_allow(resp, 16 * LK_SLOTS);
    char text[160];
    assert_true(lk_resp_feed(resp, text, (size_t)snprintf(text, sizeof text, "*%d\r\n", LK_SLOTS)));
    for (int slot = 0; slot < LK_SLOTS; slot++)
        assert_true(
            lk_resp_feed(resp, text,
                         (size_t)snprintf(text, sizeof text,
                                          "*3\r\n:%d\r\n:%d\r\n*4\r\n$9\r\n127.0.0.1\r\n:%d\r\n$2\r\nid\r\n*0\r\n",
                                          slot, slot, 7000 + slot % 2)));
    lk_reply_free(reply);
    assert_int_equal(lk_resp_next(resp, &reply), 1);
    assert_true(lk_slots_read(&slots, reply, &asked));
    has(0, "127.0.0.1", "7000");
    has(16383, "127.0.0.1", "7001");
    lk_host node[4];
    assert_int_equal(lk_slots_nodes(&slots, node, 4), 2);
    lk_resp_close(resp);
}

static void test_moved(void **state)
{
    (void)state;
    const struct {
        const char *error, *name, *port;
    } rows[] = {
        {"MOVED 3999 127.0.0.1:6381", "127.0.0.1", "6381"},
        {"-MOVED 3999 127.0.0.1:6381", "127.0.0.1", "6381"},
        {"MOVED 3999 ::1:6381", "::1", "6381"},
        {"MOVED 3999 2001:db8::7:6381", "2001:db8::7", "6381"},
        {"MOVED 3999 n3.internal:6381", "n3.internal", "6381"},
        {"MOVED 3999 :6381", "asked.here", "6381"},
        {"MOVED 3999 ?:6381", "asked.here", "6381"},
        {"ERR Error running script (call to f_5fad): @user_script: 1: -MOVED 3 a:1 x", "a", "1"},
        {"MOVED 3999 127.0.0.1:6381\r\n", "127.0.0.1", "6381"},
        {"MOVED 3999 127.0.0.1:0", NULL, NULL},
        {"MOVED 3999 127.0.0.1:65536", NULL, NULL},
        {"MOVED 3999 127.0.0.1:99999999999999999999999", NULL, NULL},
        {"MOVED 3999 127.0.0.1:", NULL, NULL},
        {"MOVED 3999 127.0.0.1", NULL, NULL},
        {"MOVED 3999 a:-7", NULL, NULL},
        {"MOVED 3999 a/b:7", NULL, NULL},
        {"MOVED 3999 a\033:7", NULL, NULL},
        {"MOVED 3999", NULL, NULL},
        {"MOVED 3999 ", NULL, NULL},
        {"MOVED  127.0.0.1:6381", "127.0.0.1", "6381"}, /* the slot is not looked at */
        {"MOVED x 127.0.0.1:6381", NULL, NULL},
        {"MOVED ", NULL, NULL},
        {"MOVED", NULL, NULL},
        {"REMOVED 1 a:7", NULL, NULL},
        {"ASK 3999 127.0.0.1:6381", NULL, NULL}, /* that one does not have the slot yet */
        {"", NULL, NULL},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        lk_host to;
        char *text = unit_copy(rows[i].error, strlen(rows[i].error) + 1);
        bool good = lk_moved_to(text, &asked, &to);
        if (good != (rows[i].name != NULL)) fail_msg("%s: %d", rows[i].error, good);
        if (good) assert_string_equal(to.name, rows[i].name);
        if (good) assert_string_equal(to.port, rows[i].port);
        free(text);
    }
}

/* Whatever a node answers: of what is in the limits of the protocol nothing is read that is not there. */
static void test_any_answer_can_be_read(void **state)
{
    (void)state;
    unit_random r = unit_random_new(1);
    const char *const pieces[] = {"*1|",  "*3|", "*4|", ":0|",  ":16383|", ":7|",  "$1|a|", "$-1|",
                                  "$0||", "*0|", "-E|", "+OK|", ":-1|",    "*-1|", "$1|?|", "*2|"};
    for (uint64_t i = unit_rounds(20000); i; i--) {
        lk_resp *resp = lk_resp_open();
        lk_reply *any = NULL;
        for (int got = 0; !got;) {
            const char *piece = pieces[unit_below(&r, UNIT_COUNT(pieces))];
            char text[32];
            size_t size = 0;
            for (const char *c = piece; *c; c++) {
                if (*c != '|') text[size++] = *c;
                else text[size++] = '\r', text[size++] = '\n';
            }
            assert_true(lk_resp_feed(resp, text, size));
            got = lk_resp_next(resp, &any);
        }
        if (any && lk_slots_read(&slots, any, &asked)) {
            lk_host node[8];
            unsigned count = lk_slots_nodes(&slots, node, 8);
            for (unsigned slot = 0; slot < LK_SLOTS; slot += 1023)
                if (lk_slots_primary(&slots, slot, &node[7])) assert_true(count && node[7].name[0] && node[7].port[0]);
        }
        lk_reply_free(any);
        lk_resp_close(resp);
    }
}

static int done(void **state)
{
    (void)state;
    lk_reply_free(reply);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_slot_is_redis_own),
        cmocka_unit_test(test_a_map),
        cmocka_unit_test(test_who_is_in_it),
        cmocka_unit_test(test_is_it_the_same_cluster),
        cmocka_unit_test(test_a_node_without_a_host_is_the_one_that_was_asked),
        cmocka_unit_test(test_a_node_that_cannot_be_connected_to_is_none),
        cmocka_unit_test(test_what_is_no_map),
        cmocka_unit_test(test_a_map_in_pieces),
        cmocka_unit_test(test_moved),
        cmocka_unit_test(test_any_answer_can_be_read),
    };
    return cmocka_run_group_tests(tests, unit_setup, done);
}

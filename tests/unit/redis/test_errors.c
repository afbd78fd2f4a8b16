/* SPDX-License-Identifier: MIT
 *
 * What Redis' errors mean, in every spelling of its versions, and that nothing of them reaches a terminal as it is. (Guarantee F.)
 */
#include "redis/errors.h"
#include "redis/script.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static void test_error_statuses(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int status;
    } rows[] = {
        {"OOM command not allowed when used memory > 'maxmemory'.", LATCHKEY_UNAVAILABLE},
        {"ERR user_script:1: OOM command not allowed", LATCHKEY_UNAVAILABLE},
        {"-OOM x", LATCHKEY_UNAVAILABLE},
        {"READONLY You can't write against a read only replica.", LATCHKEY_UNAVAILABLE},
        {"WRONGTYPE Operation against a key holding the wrong kind of value", LATCHKEY_CORRUPT},
        {"ERR Error running script: WRONGTYPE Operation against a key", LATCHKEY_CORRUPT},
        {"LKCORRUPT the record of a session is damaged", LATCHKEY_CORRUPT},
        {"NOAUTH Authentication required.", LATCHKEY_CONFIG},
        {"ERR notWRONGTYPE", LATCHKEY_UNAVAILABLE},
        {"MOVED 3999 127.0.0.1:6381", LATCHKEY_UNAVAILABLE},
        {"", LATCHKEY_UNAVAILABLE},
        {"something new", LATCHKEY_UNAVAILABLE},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        char text[160], copy[128];
        snprintf(copy, sizeof copy, "%s", rows[i].text);
        lk_reply reply = {.type = LK_REPLY_ERROR, .text = copy, .size = strlen(copy)};
        assert_int_equal(lk_error_status(&reply, text, sizeof text), rows[i].status);
        assert_true(*text);
    }
    char text[32], wild[300];
    memset(wild, '\033', sizeof wild - 1);
    wild[sizeof wild - 1] = 0;
    lk_reply reply = {.type = LK_REPLY_ERROR, .text = wild, .size = sizeof wild - 1};
    lk_error_status(&reply, text, sizeof text);
    for (const char *c = text; *c; c++) assert_true(*c >= ' ' && *c <= '~');
}

static void test_another_node_has_it(void **state)
{
    (void)state;
    const struct {
        const char *text;
        bool elsewhere;
    } rows[] = {
        {"MOVED 3999 127.0.0.1:6381", true},
        {"ASK 3999 127.0.0.1:6381", true},
        {"TRYAGAIN Multiple keys request during rehashing of slot", true},
        {"TRYAGAIN a slot is being moved script: 5fad2843, on @user_script:1.", true},
        {"ERR Error running script (call to f_5fad): @user_script: 1: -TRYAGAIN x", true},
        {"CLUSTERDOWN The cluster is down", true},
        {"READONLY You can't write against a read only replica.", true},
        {"CROSSSLOT Keys in request don't hash to the same slot", false},
        {"LOADING Redis is loading the dataset in memory", false},
        {"ERR REMOVED 1", false},
        {"MOVED", false},
        {"", false},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        char text[160], copy[128];
        snprintf(copy, sizeof copy, "%s", rows[i].text);
        lk_reply reply = {.type = LK_REPLY_ERROR, .text = copy, .size = strlen(copy)};
        assert_int_equal(lk_error_is_elsewhere(&reply), rows[i].elsewhere);
        if (rows[i].elsewhere) assert_int_equal(lk_error_status(&reply, text, sizeof text), LATCHKEY_UNAVAILABLE);
        reply.type = LK_REPLY_STRING; /* what somebody stored is no error */
        assert_false(lk_error_is_elsewhere(&reply));
    }
}

/* Of Redis 6.2 to 7.2, outside scripts and inside; what our scripts say (common.lua); and what is no command's name. */
static void test_a_refused_command_is_named(void **state)
{
    (void)state;
    const struct {
        const char *text, *said;
    } rows[] = {
        {"NOPERM this user has no permissions to run the 'hget' command or its subcommand", "lacks the right +hget "},
        {"NOPERM User app has no permissions to run the 'config|get' command", "lacks the right +config|get "},
        {"ERR ACL failure in script: User app has no permissions to run the 'hset' command", "lacks the right +hset "},
        {"ERR LKNORIGHT hset script: 5fad2843, on @user_script:1.", "lacks the right +hset "},
        {"ERR Error running script (call to f_5fad): @user_script: 1: LKNORIGHT zadd", "lacks the right +zadd "},
        {"ERR LKNOKEY get script: 5fad2843, on @user_script:1.", "may not use our keys"},
        {"ERR LKNOCHANNEL publish script: 5fad2843, on @user_script:1.", "may not use our channels"},
        {"NOPERM this user has no permissions to access one of the keys used as arguments", "may not use our keys, ~"},
        {"NOPERM No permissions to access a key", "may not use our keys, ~"},
        {"NOPERM this user has no permissions to access one of the channels used as arguments", "our channels, &"},
        {"NOPERM No permissions to access a channel", "may not use our channels, &"},
        {"ERR unknown command 'hsetnx', with args beginning with: 's3cret'", "does not know the command hsetnx:"},
        {"ERR unknown command `WAIT`, with args beginning with: `s3cret`, ", "does not know the command WAIT:"},
        {"ERR LKUNKNOWN zrandmember script: 5fad2843", "does not know the command zrandmember:"},
        {"NOPERM run the '\033[2J' command", "doctor"},
        {"NOPERM run the 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'",
         "doctor"},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        char text[160], copy[160];
        snprintf(copy, sizeof copy, "%s", rows[i].text);
        lk_reply reply = {.type = LK_REPLY_ERROR, .text = copy, .size = strlen(copy)};
        assert_int_equal(lk_error_status(&reply, text, sizeof text), LATCHKEY_CONFIG);
        if (!strstr(text, rows[i].said)) fail_msg("%s: %s", rows[i].text, text);
        if (strstr(text, "s3cret") || strchr(text, '\033')) fail_msg("%s: %s", rows[i].text, text);
        assert_true(strlen(text) < sizeof text - 1); /* nothing was cut */
    }
}

/* What Redis 6.2 and 7.0 say of a command in a script does not name it: the line does, in which it stands. */
static void test_a_command_is_found_in_its_script(void **state)
{
    (void)state;
    static const struct {
        const char *before, *between, *after; /* SHA-1 and line */
        const char *said;
    } rows[] = {
        {"ERR The user executing the script can't run this command or subcommand script: ", ", on @user_script:", ".",
         "lacks the right +hset "},
        {"ERR Error running script (call to f_", "): @user_script:7: @user_script: ",
         ": The user executing the script can't run this command or subcommand", "lacks the right +hset "},
        {"ERR The user executing the script can't access at least one of the keys mentioned in the command arguments "
         "script: ",
         ", on @user_script:", ".", "may not use our keys (-NOPERM of hset)"},
        {"ERR Unknown Redis command called from script script: ", ", on @user_script:", ".",
         "does not know the command hset:"},
    };
    const lk_script *script = &lk_scripts[LK_SCRIPT_CREATE];
    const char *at = strstr(script->text, "\ncall('HSET', session");
    assert_non_null(at);
    int line = 2;
    for (const char *c = script->text; c < at; c++) line += *c == '\n';
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        for (int off = 0; off < 2; off++) {
            char text[160], said[256];
            snprintf(said, sizeof said, "%s%s%s%d%s", rows[i].before, script->sha, rows[i].between,
                     off ? 1000000 : line, rows[i].after);
            lk_reply reply = {.type = LK_REPLY_ERROR, .text = said, .size = strlen(said)};
            int status = lk_error_status(&reply, text, sizeof text);
            if (off) assert_null(strstr(text, "hset")); /* there is no such line */
            else assert_int_equal(status, LATCHKEY_CONFIG);
            if (!off && !strstr(text, rows[i].said)) fail_msg("%s: %s", said, text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_statuses),
        cmocka_unit_test(test_another_node_has_it),
        cmocka_unit_test(test_a_refused_command_is_named),
        cmocka_unit_test(test_a_command_is_found_in_its_script),
    };
    return cmocka_run_group_tests_name("errors", tests, unit_setup, NULL);
}

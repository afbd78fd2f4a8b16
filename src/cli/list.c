/* latchkey list: the sessions of a user. */
#include "cli/cli.h"
#include "session/listing.h"

#include <inttypes.h>
#include <stdlib.h>

static const char *user_text;

static bool is_damaged(const latchkey_session_info *info) { return info->reserved == LK_LISTED_DAMAGED; }

static void print_sessions_json(uint64_t user, const latchkey_session_info *infos, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json j = {0};
        json_open(&j, NULL, '{');
        json_uint(&j, "user", user);
        cli_json_session(&j, &infos[i]);
        json_bool(&j, "damaged", is_damaged(&infos[i]));
        json_close(&j, '}');
    }
}

static bool print_sessions(latchkey *lk, uint64_t user, const latchkey_session_info *infos, size_t count)
{
    static const char *const headings[] = {"SELECTOR", "LAST USED", "CREATED", "IDLES OUT", ">DEVICE", ">FLAGS", NULL};
    int64_t now_ms = cli_now_ms(lk, user);
    table *t = table_open(headings);
    for (size_t i = 0; i < count; i++) {
        const latchkey_session_info *info = &infos[i];
        char text[CLI_TIME_SIZE];
        table_cell(t, info->selector);
        table_cell(t, cli_time(text, info->active_at_ms, now_ms));
        table_cell(t, is_damaged(info) ? "damaged" : cli_time(text, info->created_at_ms, now_ms));
        table_cell(t, cli_since(text, info->idle_expires_at_ms, now_ms));
        snprintf(text, sizeof text, "%" PRIu32, info->device);
        table_cell(t, text);
        snprintf(text, sizeof text, "0x%" PRIx32, info->flags);
        table_cell(t, text);
    }
    return table_print(t);
}

static int list(const cli *c, latchkey *lk, uint64_t user, latchkey_session_info *infos)
{
    size_t total;
    int status = lk_list_sessions(lk, user, infos, LATCHKEY_SESSIONS_MAX, &total);
    if (status) return cli_status(c, lk, status, "list");
    size_t shown = 0, damaged = 0;
    while (shown < LATCHKEY_SESSIONS_MAX && infos[shown].selector[0]) damaged += is_damaged(&infos[shown++]);
    if (!shown && !c->json) cli_say(stdout, "User %" PRIu64 " has no sessions.\n", user);
    else if (c->json) print_sessions_json(user, infos, shown);
    else if (!print_sessions(lk, user, infos, shown)) return cli_fail(c, CLI_FAILED, "no memory");
    char why[CLI_WHY_SIZE];
    if (damaged && !cli_damage(lk, why))
        cli_say(stderr, "latchkey: %zu of them cannot be read here: %s\n", damaged, why);
    else if (damaged)
        cli_say(stderr,
                "latchkey: %zu of them are damaged: %s. They cannot be used. To end one: latchkey revoke SELECTOR "
                "--user %" PRIu64 "\n",
                damaged, why, user);
    if (total > shown) cli_say(stderr, "latchkey: %zu of %zu are shown\n", shown, total);
    return shown ? CLI_DONE : CLI_NO;
}

static int run_list(const cli *c)
{
    uint64_t user;
    latchkey *lk;
    if (c->count == (user_text != NULL)) return cli_fail(c, CLI_USAGE, "usage: latchkey %s", c->command->arguments);
    int exit = cli_user(c, user_text ? user_text : c->arguments[0], &user);
    if (exit) return exit;
    latchkey_session_info *infos = calloc(LATCHKEY_SESSIONS_MAX, sizeof *infos);
    if (!infos) return cli_fail(c, CLI_FAILED, "no memory");
    exit = cli_open(c, &lk);
    if (!exit) exit = list(c, lk, user, infos);
    latchkey_close(lk);
    free(infos);
    return exit;
}

static const cli_option options[] = {
    {.name = "user", .value = "USER", .text = &user_text, .help = "the same as USER alone"},
    {0},
};

const cli_command cli_list = {
    .name = "list",
    .arguments = "list USER | list --user USER",
    .summary = "the sessions of a user",
    .help = "Lists the live sessions of a user, the last used first, at most 1,000. Exit 1: there are none.\n"
            "USER is the number that draft.user_id is, or a name, for which latchkey_user_id makes the number; write\n"
            "name=NAME if a name looks like a number.\n"
            "With --json, one object a line; times are Unix milliseconds by Redis' clock.",
    .options = options,
    .most = 1,
    .run = run_list,
};

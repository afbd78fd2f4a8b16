/* latchkey revoke: ends a session, all sessions of a user, or all sessions. It asks first. */
#include "cli/cli.h"

#include "session/handle.h"
#include "session/visit.h"

#include <inttypes.h>
#include <stdio.h>

enum { TRIES = 5 };

static bool by_user, everyone;
static const char *user_text;
static uint64_t user;

static int tell_ended(const cli *c, size_t revoked, const char *what)
{
    if (c->json) {
        json j = {0};
        json_open(&j, NULL, '{');
        json_uint(&j, "revoked", revoked);
        json_close(&j, '}');
    } else cli_say(stdout, "%s\n", what);
    return CLI_DONE;
}

/* Whose session is it, and what is its current name? */
static int look_up_session(const cli *c, latchkey *lk, char selector[LATCHKEY_SELECTOR_LENGTH + 1])
{
    latchkey_session_info info;
    latchkey_record *record;
    char used[CLI_TIME_SIZE];
    int status = latchkey_show(lk, selector, &info, &record);
    if (status) return cli_session_status(c, lk, status, "revoke");
    user = latchkey_record_entry(record)->user_id;
    latchkey_record_free(record);
    snprintf(selector, LATCHKEY_SELECTOR_LENGTH + 1, "%.20s", info.selector);
    return cli_ask(c, "End the session %s of user %" PRIu64 ", last used %s?", selector, user,
                   cli_since(used, info.active_at_ms, cli_now_ms(lk, user)));
}

static int revoke_one(const cli *c, latchkey *lk, char selector[LATCHKEY_SELECTOR_LENGTH + 1])
{
    int exit = by_user ? cli_ask(c, "End the session %s of user %" PRIu64 "?", selector, user)
                       : look_up_session(c, lk, selector);
    if (exit) return exit;
    int status = LATCHKEY_UNAVAILABLE, tries = 0;
    for (; tries < TRIES && status == LATCHKEY_UNAVAILABLE; tries++)
        status = latchkey_revoke_selector(lk, user, selector);
    bool gone = status == LATCHKEY_NOT_FOUND && tries > 1;
    if (gone && lk->config.durability)
        return cli_fail(c, CLI_AWAY,
                        "revoke: an answer was lost. The session is gone, but whether enough replicas know is "
                        "not certain");
    if (gone) return tell_ended(c, 1, "It is over: an answer was lost, and there is no such session now.");
    return status ? cli_status(c, lk, status, "revoke") : tell_ended(c, 1, "Ended.");
}

/* Without sessions it runs all the same: logins that are under way are refused from then on. So it does where there are too many to be
 * counted within deadline_ms: they are ended by the thousand, and the next try goes on where this one stopped. */
static int revoke_user(const cli *c, latchkey *lk)
{
    size_t total, revoked, all = 0;
    char text[96];
    bool lost = false;
    int status = latchkey_sessions(lk, user, NULL, 0, NULL, 0, &total);
    bool uncounted = status == LATCHKEY_UNAVAILABLE;
    if (status && !uncounted) return cli_status(c, lk, status, "revoke");
    int exit = CLI_DONE;
    if (uncounted) exit = cli_ask(c, "End all sessions of user %" PRIu64 "? They could not be counted.", user);
    else if (total == 1) exit = cli_ask(c, "End the one session of user %" PRIu64 "?", user);
    else if (total) exit = cli_ask(c, "End all %zu sessions of user %" PRIu64 "?", total, user);
    if (exit) return exit;
    for (int i = 0; i == 0 || (i < TRIES && status == LATCHKEY_UNAVAILABLE); i++) {
        status = latchkey_revoke_user(lk, user, NULL, 0, &revoked);
        all += revoked;
        lost |= status == LATCHKEY_UNAVAILABLE;
        if (status) cli_progress(uncounted ? "%zu are ended" : "%zu of %zu are ended", all, total);
    }
    cli_progress(NULL);
    if (lost && all < total) all = total; /* an answer that was lost may have ended them */
    if (status) return cli_status(c, lk, status, "not all are ended for sure: give it again");
    snprintf(text, sizeof text, "Ended: %zu %s of user %" PRIu64 ".", all, all == 1 ? "session" : "sessions", user);
    return tell_ended(c, all, text);
}

/* Says how many sessions that would end, by a sample. With --yes it does not: the caller may be in a hurry. */
static int ask_everyone(const cli *c, latchkey *lk)
{
    latchkey_population seen = {0};
    int status = c->yes ? LATCHKEY_OK : latchkey_sample(lk, 1000, &seen, sizeof seen);
    if (status || !seen.sessions) return cli_ask(c, "End ALL sessions of ALL users, everywhere?");
    return cli_ask(c, "End ALL %s%" PRIu64 " sessions of ALL users, everywhere?", seen.exact ? "" : "of about ",
                   seen.sessions);
}

/* A script runs for each partition, so deadline_ms may be too short for thousands of them: each has a millisecond. */
static int end_everyone(latchkey *lk)
{
    lk_visit_at(lk_now_ms() + lk_later(lk->config.deadline_ms, lk->config.partitions));
    int status = latchkey_revoke_everyone(lk);
    lk_visit_at(0);
    return status;
}

static int revoke_everyone(const cli *c, latchkey *lk)
{
    int exit = ask_everyone(c, lk), status = LATCHKEY_UNAVAILABLE;
    if (exit) return exit;
    for (int i = 0; i < TRIES && status == LATCHKEY_UNAVAILABLE; i++) status = end_everyone(lk);
    if (status) return cli_status(c, lk, status, "not all are ended for sure: give it again");
    if (c->json) {
        json j = {0};
        json_open(&j, NULL, '{');
        json_bool(&j, "everyone", true);
        json_close(&j, '}');
    } else cli_say(stdout, "Ended: all sessions of all users.\n");
    return CLI_DONE;
}

static int run_revoke(const cli *c)
{
    char selector[LATCHKEY_SELECTOR_LENGTH + 1];
    latchkey *lk;
    if (everyone ? by_user || c->count : !c->count && !by_user)
        return cli_fail(c, CLI_USAGE, "usage: latchkey %s", c->command->arguments);
    int exit = c->count ? cli_selector(c, c->arguments[0], selector) : CLI_DONE;
    if (!exit && by_user) exit = cli_user(c, user_text, &user);
    if (!exit) exit = cli_open(c, &lk);
    if (exit) return exit;
    exit = everyone ? revoke_everyone(c, lk) : c->count ? revoke_one(c, lk, selector) : revoke_user(c, lk);
    latchkey_close(lk);
    return exit;
}

static const cli_option options[] = {
    {.name = "user",
     .value = "USER",
     .given = &by_user,
     .text = &user_text,
     .help = "all sessions of this user, by number or name; with a SELECTOR: that one, if it is this user's"},
    {.name = "everyone", .given = &everyone, .help = "all sessions of all users, at once"},
    {0},
};

const cli_command cli_revoke = {
    .name = "revoke",
    .arguments = "revoke SELECTOR [--user USER] | revoke --user USER | revoke --everyone",
    .summary = "ends a session, all of a user's, or everyone's",
    .help =
        "Ends sessions. They are refused everywhere within staleness_ms (guarantees B and C). It cannot be undone, so\n"
        "the command asks first; without a terminal, --yes is needed. With --user alone, logins of that user that are\n"
        "under way are refused too (draft.generation). Exit 3: it is not certain that they ended; run it again.",
    .options = options,
    .most = 1,
    .run = run_revoke,
};

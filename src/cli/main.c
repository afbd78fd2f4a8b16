/* The command `latchkey`: the table of its commands, and what they share. */
#include "cli/cli.h"

#include <fcntl.h>
#include <string.h>

static const cli_command *const commands[] = {
    &cli_status_of,      &cli_top,    &cli_sample, &cli_list,   &cli_show, &cli_revoke, &cli_prewarm, &cli_doctor,
    &cli_failover_check, &cli_import, &cli_move,   &cli_keygen, NULL};

static const char usage[] = "usage: latchkey COMMAND [OPTION...]\n"
                            "       latchkey --help | --version\n";

static void help(void)
{
    cli_say(stdout, "%s", usage);
    cli_say(stdout, "\nLooks after the sessions that latchkey keeps in Redis.\n\nCommands:\n");
    for (const cli_command *const *c = commands; *c; c++) cli_say(stdout, "  %-15s %s\n", (*c)->name, (*c)->summary);
    cli_say(stdout,
            "\n`latchkey COMMAND --help` says more, and latchkey(1) all of it.\n\n"
            "Which Redis: --config URL, or the variable LATCHKEY_CONFIG, which `ps` does not show. The URL is the one "
            "that the\n"
            "application gives to latchkey_open, for example\n"
            "  LATCHKEY_CONFIG='redis://app@redis.internal:6379/0?password_file=/etc/latchkey/password'\n\n"
            "Exit: 0 done or healthy; 1 the answer is no; 2 the command line is wrong; 3 no answer from Redis;\n"
            "      4 the configuration cannot be used; 5 this machine failed, or Redis holds what is damaged.\n");
}

/* All output must have arrived: a pipe may be closed, a disk full. */
static int finish(cli *c, int exit)
{
    cli_options_drop(c);
    if (fflush(stdout) == 0 && !ferror(stdout)) return exit;
    cli_say(stderr, "latchkey: the output could not be written\n");
    return exit == CLI_DONE || exit == CLI_NO ? CLI_FAILED : exit;
}

/* Where the caller has closed a standard stream, a connection to Redis would get its number, and would be sent what is printed.
 * /dev/null is opened the wrong way round, so that reading or writing there fails as it did. */
static bool hold_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd) return false;
    return true;
}

int main(int argc, char **argv)
{
    cli c = {0};
    bool wants_help = false, wants_version = false;
    if (!hold_streams()) return CLI_FAILED;
    int exit = cli_options_take(&c, argc, argv, commands, &wants_help, &wants_version);
    if (exit) return finish(&c, exit);
    if (wants_version) cli_say(stdout, "latchkey %s\n", latchkey_version());
    else if (wants_help && c.command) cli_options_help(c.command);
    else if (wants_help) help();
    else if (!c.command) {
        cli_say(stderr, "%s", usage);
        cli_say(stderr, "`latchkey --help` lists the commands\n");
        exit = CLI_USAGE;
    } else exit = c.command->run(&c);
    return finish(&c, exit);
}

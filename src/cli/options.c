/* The command line. See cli.h. */
#include "cli/cli.h"

#include "base/crypto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct taking {
    cli *c;
    int argc, at;
    char **argv;
    const cli_option *common;
    bool ended;                  /* by "--" */
    const cli_option *taken[16]; /* those of the command that have a value */
    size_t taken_count;
} taking;

bool cli_number(const char *text, uint64_t least, uint64_t most, uint64_t *number)
{
    char *end;
    if (*text < '0' || *text > '9') return false; /* strtoull accepts spaces and signs */
    errno = 0;
    *number = strtoull(text, &end, 10);
    return !*end && !errno && *number >= least && *number <= most;
}

static const cli_option *option_named(const cli_option *options, const char *name, size_t length)
{
    for (; options && options->name; options++)
        if (strlen(options->name) == length && strncmp(options->name, name, length) == 0) return options;
    return NULL;
}

/* The copy is kept, and the original is overwritten, so that `ps` does not show it. (For a moment it did: a variable or
 * password_file are better.) */
static const char *take_out(cli *c, char *value)
{
    char *copy = strdup(value);
    memset(value, '*', strlen(value));
    if (!copy) return value;
    c->copies[c->copy_count++] = copy;
    return copy;
}

/* Of `revoke --user A --user B` the last would be the user, and A's sessions would go on. */
static int take_cli_once(taking *t, const cli_option *o)
{
    for (size_t i = 0; i < t->taken_count; i++)
        if (t->taken[i] == o)
            return cli_fail(t->c, CLI_USAGE, "--%s is given twice: run the command once for each", o->name);
    if (t->taken_count < sizeof t->taken / sizeof *t->taken) t->taken[t->taken_count++] = o;
    return CLI_DONE;
}

static int take_cli_value(taking *t, const cli_option *o, char *value)
{
    if (o->given) *o->given = true;
    if (o->text) *o->text = o->secret ? take_out(t->c, value) : value;
    if (o->number && !cli_number(value, o->least, o->most, o->number))
        return cli_fail(t->c, CLI_USAGE, "--%s: a whole number from %llu to %llu is expected", o->name,
                        (unsigned long long)o->least, (unsigned long long)o->most);
    return CLI_DONE;
}

static int take_cli_option(taking *t)
{
    char *name = t->argv[t->at] + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const cli_option *o = option_named(t->common, name, length);
    if (!o && t->c->command) o = option_named(t->c->command->options, name, length);
    if (!o && !t->c->command)
        return cli_fail(t->c, CLI_USAGE,
                        "word %d is not an option of all commands: put the options of a command behind its name",
                        t->at);
    if (!o)
        return cli_fail(t->c, CLI_USAGE, "word %d is not an option of this command: see latchkey %s --help", t->at,
                        t->c->command->name);
    if (!o->value && equals) return cli_fail(t->c, CLI_USAGE, "--%s takes no value", o->name);
    if (!o->value) return take_cli_value(t, o, NULL);
    if (!option_named(t->common, o->name, length) && take_cli_once(t, o)) return CLI_USAGE;
    if (equals) return take_cli_value(t, o, equals + 1);
    /* The next option is no value: of `revoke --user $WHO --yes` with an empty WHO, --yes would be the user. */
    if (t->at + 1 == t->argc || strncmp(t->argv[t->at + 1], "--", 2) == 0)
        return cli_fail(t->c, CLI_USAGE, "--%s needs a value: %s", o->name, o->value);
    return take_cli_value(t, o, t->argv[++t->at]);
}

static int take_command(taking *t, const char *name, const cli_command *const *commands)
{
    for (; *commands; commands++)
        if (strcmp((*commands)->name, name) == 0) {
            t->c->command = *commands;
            return CLI_DONE;
        }
    return cli_fail(t->c, CLI_USAGE, "word %d is not a command: see latchkey --help", t->at);
}

static int take_words(taking *t, const cli_command *const *commands)
{
    int exit = CLI_DONE;
    for (; !exit && t->at < t->argc; t->at++) {
        const char *word = t->argv[t->at];
        if (!t->ended && strcmp(word, "--") == 0) t->ended = true;
        else if (!t->ended && strcmp(word, "-h") == 0)
            exit = take_cli_value(t, option_named(t->common, "help", 4), NULL);
        else if (!t->ended && strncmp(word, "--", 2) == 0) exit = take_cli_option(t);
        else if (!t->ended && word[0] == '-' && word[1])
            exit = cli_fail(t->c, CLI_USAGE, "options are written out, with two dashes: see latchkey --help");
        else if (!t->c->command) exit = take_command(t, word, commands);
        else t->c->arguments[t->c->count++] = word;
    }
    return exit;
}

int cli_options_take(cli *c, int argc, char **argv, const cli_command *const *commands, bool *help, bool *version)
{
    const cli_option common[] = {
        {.name = "config", .value = "URL", .text = &c->config, .secret = true},
        {.name = "json", .given = &c->json},
        {.name = "yes", .given = &c->yes},
        {.name = "verbose", .given = &c->verbose},
        {.name = "help", .given = help},
        {.name = "version", .given = version},
        {0},
    };
    /* Taken first, so that an error in an earlier argument is printed as JSON too. */
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) c->json |= strcmp(argv[i], "--json") == 0;
    c->arguments = calloc((size_t)argc + 1, sizeof *c->arguments);
    c->copies = calloc((size_t)argc + 1, sizeof *c->copies);
    if (!c->arguments || !c->copies) return cli_fail(c, CLI_FAILED, "no memory");
    taking t = {.c = c, .argc = argc, .at = 1, .argv = argv, .common = common};
    int exit = take_words(&t, commands);
    if (!c->config) c->config = getenv("LATCHKEY_CONFIG");
    if (c->config && !*c->config) c->config = NULL;
    if (exit || *help || *version || !c->command) return exit;
    if (c->count < c->command->least || c->count > c->command->most)
        return cli_fail(c, CLI_USAGE, "usage: latchkey %s", c->command->arguments);
    return CLI_DONE;
}

void cli_options_drop(cli *c)
{
    for (int i = 0; i < c->copy_count; i++) {
        lk_wipe(c->copies[i], strlen(c->copies[i]));
        free(c->copies[i]);
    }
    free(c->copies);
    free(c->arguments);
}

void cli_options_help(const cli_command *command)
{
    cli_say(stdout, "usage: latchkey %s\n\n%s\n", command->arguments, command->help);
    if (command->options) cli_say(stdout, "\nOptions:\n");
    for (const cli_option *o = command->options; o && o->name; o++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        cli_say(stdout, "  %-18s %s\n", left, o->help);
    }
    cli_say(stdout,
            "\nOptions of every command:\n"
            "  --config URL       which Redis; without it the variable LATCHKEY_CONFIG, which `ps` does not show\n"
            "  --json             for machines: one object, or one a line where there are many\n"
            "  --yes              answers yes to every question\n"
            "  --verbose          what the library says to its log goes to stderr\n"
            "  --help             this\n");
}

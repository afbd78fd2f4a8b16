/* The command `latchkey`: what all of its commands share. One file a command; main.c has the table of them.
 *
 *   options.c   the command line        text.c    what may be shown: escapes, times, sizes
 *   json.c      --json                  table.c   aligned columns for people
 *   handle.c    open, and what a status means to the shell; the question before what cannot be undone
 *
 * Nothing secret is ever written: no token (the command never has one), no password, no key but the one that `keygen` was
 * asked for. A word of the command line that is not understood is not repeated: it may be one. What is said may hold any byte,
 * from Redis or from elsewhere, so it goes through cli_say or json.c, and no terminal obeys it. */
#ifndef LK_CLI_CLI_H
#define LK_CLI_CLI_H

#include "latchkey.h"

#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

/* What the shell is told. In the manual page; never renumbered. */
enum cli_exit {
    CLI_DONE = 0,   /* done; healthy; found */
    CLI_NO = 1,     /* the answer is no: not found, findings, the question was answered no */
    CLI_USAGE = 2,  /* the command line is not right; nothing was done */
    CLI_AWAY = 3,   /* no answer: Redis is away, or did not confirm in time */
    CLI_CONFIG = 4, /* the configuration, or the server that it names, cannot be used as it is */
    CLI_FAILED =
        5, /* this machine: no memory, a file or the output cannot be written; or Redis holds what is damaged */
};

/* ------------------------------------------------------------------------------------------- the command line -- */

typedef struct cli_option {
    const char *name;  /* without the dashes; NULL ends the list */
    const char *value; /* what the help calls its value; NULL: it has none */
    const char *help;
    bool *given;       /* set; may be NULL */
    const char **text; /* where the value goes as it is, or */
    uint64_t *number;  /* as a number, */
    uint64_t least, most;
    bool secret; /* overwritten where `ps` finds it */
} cli_option;

typedef struct cli {
    const char *config; /* --config, else the environment's; NULL: neither */
    bool json, yes, verbose;
    int count; /* what stands behind the command's name and is no option */
    const char **arguments;
    const struct cli_command *command;
} cli;

typedef struct cli_command {
    const char *name, *arguments; /* as in its usage: "list USER" */
    const char *summary;          /* a line */
    const char *help;             /* paragraphs */
    const cli_option *options;    /* beside those of all commands; NULL: none */
    int least, most;              /* arguments */
    int (*run)(const cli *c);     /* enum cli_exit */
} cli_command;

/* Its text explains itself in its help. Every command is a row of the table in main.c. */
extern const cli_command cli_doctor, cli_import, cli_keygen, cli_list, cli_prewarm, cli_revoke, cli_show;
extern const cli_command cli_sample, cli_status_of, cli_top;

/* Takes argv apart: options may stand anywhere, "--" ends them. CLI_DONE, with c->command NULL where there was none, or the
 * usage is not right and that has been said. *help: --help was there. What holds a password is overwritten in argv. */
int cli_options_take(cli *c, int argc, char **argv, const cli_command *const *commands, bool *help, bool *version);
void cli_options_help(const cli_command *command);

/* A number that stands where one is expected, all of it: "--last" and the like are not. */
bool cli_number(const char *text, uint64_t least, uint64_t most, uint64_t *number);

/* ------------------------------------------------------------------------------------------------- outcomes -- */

/* Says "latchkey: ..." to stderr, and with --json an object {"error": ..., "exit": ...} to stdout. Returns `exit`. */
int cli_fail(const cli *c, int exit, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* What a status that is not OK means to the shell, said: "latchkey: what: STATUS: ...". */
int cli_status(const cli *c, latchkey *lk, int status, const char *what);

/* A user from the command line: the number that draft.user_id is; else a name, whose number latchkey_user_id makes. "name=" before
 * it says that it is one, whatever it looks like. CLI_DONE; or CLI_USAGE, said without repeating it. */
int cli_user(const cli *c, const char *text, uint64_t *user);

/* What made a session's record of no use, as the handle tells. True: damage, which nothing mends, so that it may be ended. */
enum { CLI_WHY_SIZE = 160 };
bool cli_damage(latchkey *lk, char why[CLI_WHY_SIZE]);

/* cli_status for a call about one session, which may be damaged: then how to end it. */
int cli_session_status(const cli *c, latchkey *lk, int status, const char *what);

/* A selector from the command line: 20 characters. CLI_DONE; or CLI_USAGE, said without repeating it: it may be a token. */
int cli_selector(const cli *c, const char *text, char selector[LATCHKEY_SELECTOR_LENGTH + 1]);

/* Opens a handle by c->config. CLI_DONE; else what was wrong is said. */
int cli_open(const cli *c, latchkey **lk);

/* Asks on the terminal; --yes has answered. CLI_DONE: yes; CLI_NO; CLI_USAGE: there is no terminal, so --yes is needed. */
int cli_ask(const cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Where a file that is to be replaced lies: what a symbolic link leads to, so that the link stays. A file that is not there is
 * itself. False: errno says why; a link that leads nowhere is none. */
bool cli_file_of(const char *path, char file[PATH_MAX]);

/* The clock of Redis, Unix milliseconds, as the handle knows it. */
int64_t cli_now_ms(latchkey *lk);

/* A line to stderr that replaces itself, on a terminal alone: the progress of what takes long. NULL ends it. */
void cli_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ----------------------------------------------------------------------------------------------------- text -- */

enum { CLI_TIME_SIZE = 64, CLI_SIZE_SIZE = 24, CLI_PATH_SIZE = 256 };

/* The one way to a terminal: printable ASCII and ends of lines are written, every other byte as \xNN, whoever it came from: a
 * server, another instance, a file, the command line. (json.c writes ASCII by itself.) */
void cli_say(FILE *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_say_list(FILE *to, const char *format, va_list list) __attribute__((format(printf, 2, 0)));

/* A path from the command line, to be said. What may be a URL, a token or a key that was typed in its place is not. */
const char *cli_path(char out[CLI_PATH_SIZE], const char *path);

/* Printable ASCII stays, every other byte is \xNN: at most size - 1 characters. Returns `out`. */
const char *cli_text(char *out, size_t size, const void *bytes, size_t length);
/* "2026-11-22 10:45:03Z (3 min ago)"; "-" for 0. */
const char *cli_time(char out[CLI_TIME_SIZE], int64_t ms, int64_t now_ms);
/* "3 min ago", "in 12 h". */
const char *cli_since(char out[CLI_TIME_SIZE], int64_t ms, int64_t now_ms);
const char *cli_bytes(char out[CLI_SIZE_SIZE], uint64_t bytes); /* "4.4 KiB" */

/* ----------------------------------------------------------------------------------------------------- json -- */

/* Writes one value to stdout, as ASCII. Names are NULL inside arrays. */
typedef struct json {
    bool comma;
    int depth;
} json;
void json_open(json *j, const char *name, char bracket);     /* '{' or '[' */
void json_close(json *j, char bracket);                      /* '}' or ']'; the outermost ends the line */
void json_text(json *j, const char *name, const char *text); /* NULL is null */
void json_bytes(json *j, const char *name, const void *bytes,
                size_t size); /* not UTF-8: U+FFFD in place of what is none */
void json_int(json *j, const char *name, int64_t value);
void json_uint(json *j, const char *name, uint64_t value);
void json_real(json *j, const char *name, double value);
void json_bool(json *j, const char *name, bool value);
void cli_json_session(json *j, const latchkey_session_info *info); /* its members, all but `current` */
bool json_is_text(const void *bytes, size_t size);                 /* is it UTF-8 without NUL? */

/* ---------------------------------------------------------------------------------------------------- table -- */

/* Cells are copied; printed at the end, each column as wide as its widest cell. A heading that starts with '>' stands, with
 * its column, on the right. */
typedef struct table table;
table *table_open(const char *const *headings); /* ends with NULL. NULL: no memory, and table_print says so */
void table_cell(table *t, const char *text);    /* printable already */
bool table_print(table *t);                     /* and frees. False: no memory, nothing was printed */

#endif

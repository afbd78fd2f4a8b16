/* The command `latchkey`: what its commands share. Each command is one file; main.c has the table of them.
 *
 *   options.c   the command line        text.c    what may be shown: escapes, times, sizes
 *   json.c      --json                  table.c   aligned columns for people
 *   handle.c    what a status means to the shell; the question before what cannot be undone
 *   open.c      opening a handle
 *
 * No secret is ever written: no token (the command never has one), no password, and no key but the one that `keygen`
 * was asked for. A word of the command line that is not understood is not repeated: it may be a secret. What is printed
 * may hold any byte, from Redis or from elsewhere. So it goes through cli_say or json.c, and no escape sequence reaches
 * a terminal. */
#ifndef LK_CLI_CLI_H
#define LK_CLI_CLI_H

#include "latchkey.h"

#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

/* The exit statuses. They are in the manual page, and are never renumbered. */
enum cli_exit {
    CLI_DONE = 0,   /* done; healthy; found */
    CLI_NO = 1,     /* the answer is no: not found, there are findings, or the question was answered no */
    CLI_USAGE = 2,  /* the command line is wrong; nothing was done */
    CLI_AWAY = 3,   /* no answer: Redis is away, or did not confirm in time */
    CLI_CONFIG = 4, /* the configuration, or the server that it names, cannot be used as it is */
    CLI_FAILED =
        5, /* this machine: no memory, or a file or the output cannot be written; or what Redis holds is damaged */
};

/* ------------------------------------------------------------------------------------------- the command line -- */

typedef struct cli_option {
    const char *name;  /* without the dashes; NULL ends the list */
    const char *value; /* what the help calls its value; NULL: it takes none */
    const char *help;
    bool *given;       /* set to true; may be NULL */
    const char **text; /* where the value goes as it is, or */
    uint64_t *number;  /* as a number */
    uint64_t least, most;
    bool secret; /* the value is overwritten, so that `ps` does not show it */
} cli_option;

typedef struct cli {
    const char *config; /* from --config, or else from the environment; NULL: neither is set */
    bool json, yes, verbose;
    int count; /* how many words there are behind the command's name that are no options */
    const char **arguments;
    char **copies; /* of values that hold a password */
    int copy_count;
    const struct cli_command *command;
} cli;

typedef struct cli_command {
    const char *name, *arguments; /* as in its usage line: "list USER" */
    const char *summary;          /* one line */
    const char *help;             /* paragraphs */
    const cli_option *options;    /* in addition to those of all commands; NULL: none */
    int least, most;              /* how many arguments it takes */
    int (*run)(const cli *c);     /* returns an enum cli_exit */
} cli_command;

/* The commands. Each one's help explains it. Each is a row of the table in main.c. */
extern const cli_command cli_doctor, cli_import, cli_keygen, cli_list, cli_move, cli_prewarm, cli_revoke, cli_show;
extern const cli_command cli_sample, cli_status_of, cli_top, cli_failover_check;

/* Takes argv apart. Options may come anywhere; "--" ends them. CLI_DONE; c->command is NULL if no command was given, or
 * if the usage is wrong, which has been printed. *help: --help was given. A value that holds a password is overwritten
 * in argv. */
int cli_options_take(cli *c, int argc, char **argv, const cli_command *const *commands, bool *help, bool *version);
void cli_options_drop(cli *c); /* frees what it holds, and wipes the copies */
void cli_options_help(const cli_command *command);

/* The whole text must be a number: so "--last" in a number's place is an error. */
bool cli_number(const char *text, uint64_t least, uint64_t most, uint64_t *number);

/* ------------------------------------------------------------------------------------------------- outcomes -- */

/* Prints "latchkey: ..." to stderr, and with --json an object {"error": ..., "exit": ...} to stdout. Returns `exit`. */
int cli_fail(const cli *c, int exit, const char *format, ...) __attribute__((format(printf, 3, 4)));

int cli_exit_of(int status);

/* For a status that is not OK: prints "latchkey: what: STATUS: ...", and returns the exit status. */
int cli_status(const cli *c, latchkey *lk, int status, const char *what);

/* A user from the command line: the number that draft.user_id is, or a name, for which latchkey_user_id makes the
 * number. "name=" before it says that it is a name, whatever it looks like. CLI_DONE; or CLI_USAGE, printed without
 * repeating the text. */
int cli_user(const cli *c, const char *text, uint64_t *user);

/* Why a session's record cannot be used, as the handle tells. True: it is damaged for good, so the session may be
 * ended. */
enum { CLI_WHY_SIZE = 160 };
bool cli_damage(latchkey *lk, char why[CLI_WHY_SIZE]);

/* cli_status for a call about one session, which may be damaged: then it also says how to end it. */
int cli_session_status(const cli *c, latchkey *lk, int status, const char *what);

/* A selector from the command line: 20 characters. CLI_DONE; or CLI_USAGE, printed without repeating it: it may be a
 * token. */
int cli_selector(const cli *c, const char *text, char selector[LATCHKEY_SELECTOR_LENGTH + 1]);

/* There is no c->config: prints what to do. Returns the exit status. */
int cli_no_config(const cli *c);

/* Opens a handle with c->config. CLI_DONE; else the reason has been printed. Of a cluster, some nodes of which do not serve,
 * the rest will do: it says so on stderr. */
int cli_open(const cli *c, latchkey **lk);

/* Asks on the terminal, unless --yes is given. CLI_DONE: yes. CLI_NO. CLI_USAGE: there is no terminal, so --yes is
 * needed. */
int cli_ask(const cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The place of a file that is to be replaced: what a symbolic link leads to, so that the link stays. A path without a
 * file stays as it is. False: errno says why; also for a link that leads nowhere. */
bool cli_file_of(const char *path, char file[PATH_MAX]);

/* The clock of the server that has this user's sessions, in Unix milliseconds, as the handle knows it. */
int64_t cli_now_ms(latchkey *lk, uint64_t user);

/* Progress of something that takes long: a line on stderr that replaces itself, if stderr is a terminal. NULL ends it. */
void cli_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ----------------------------------------------------------------------------------------------------- text -- */

enum { CLI_TIME_SIZE = 64, CLI_SIZE_SIZE = 24, CLI_PATH_SIZE = 256 };

/* The only way to a terminal: printable ASCII and line ends are written as they are, every other byte as \xNN, wherever
 * it came from: a server, another instance, a file, the command line. (json.c writes ASCII by itself.) */
void cli_say(FILE *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_say_list(FILE *to, const char *format, va_list list) __attribute__((format(printf, 2, 0)));

/* A path from the command line, for a message. If it may be a URL, a token or a key that was typed in its place, it is
 * not shown. */
const char *cli_path(char out[CLI_PATH_SIZE], const char *path);

/* Printable ASCII stays, every other byte becomes \xNN: at most size - 1 characters. Returns `out`. */
const char *cli_text(char *out, size_t size, const void *bytes, size_t length);
/* "2026-11-22 10:45:03Z (3 min ago)"; "-" for 0. */
const char *cli_time(char out[CLI_TIME_SIZE], int64_t ms, int64_t now_ms);
/* "3 min ago", "in 12 h". */
const char *cli_since(char out[CLI_TIME_SIZE], int64_t ms, int64_t now_ms);
const char *cli_bytes(char out[CLI_SIZE_SIZE], uint64_t bytes); /* "4.4 KiB" */

/* ----------------------------------------------------------------------------------------------------- json -- */

/* Writes one value to stdout, as ASCII. Inside arrays, `name` is NULL. */
typedef struct json {
    bool comma;
    int depth;
} json;
void json_open(json *j, const char *name, char bracket);     /* '{' or '[' */
void json_close(json *j, char bracket);                      /* '}' or ']'; the outermost ends the line */
void json_text(json *j, const char *name, const char *text); /* NULL is null */
void json_bytes(json *j, const char *name, const void *bytes,
                size_t size); /* if it is not UTF-8: with U+FFFD in place of what is not */
void json_int(json *j, const char *name, int64_t value);
void json_uint(json *j, const char *name, uint64_t value);
void json_real(json *j, const char *name, double value);
void json_bool(json *j, const char *name, bool value);
void cli_json_session(json *j, const latchkey_session_info *info); /* its members except `current` */
bool json_is_text(const void *bytes, size_t size);                 /* is it UTF-8 without NUL? */

/* ---------------------------------------------------------------------------------------------------- table -- */

/* Cells are copied, and printed at the end: each column is as wide as its widest cell. A heading that starts with '>'
 * is on the right, with its column. */
typedef struct table table;
table *table_open(const char *const *headings); /* ends with NULL. NULL: no memory; table_print then says so */
void table_cell(table *t, const char *text);    /* the text must be printable */
bool table_print(table *t);                     /* also frees it. False: no memory, nothing was printed */

#endif

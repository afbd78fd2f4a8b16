/* What a status means to the shell, and what the commands ask of their arguments. See cli.h. */
#include "cli/cli.h"

#include "base/config.h"
#include "base/crypto.h"
#include "base/token.h"
#include "session/ended.h"
#include "session/server_time.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool progress_shown;

void cli_progress(const char *format, ...)
{
    if (!isatty(STDERR_FILENO)) return;
    if (progress_shown) fputs("\r\033[K", stderr);
    progress_shown = format != NULL;
    if (format) {
        va_list list;
        va_start(list, format);
        cli_say_list(stderr, format, list);
        va_end(list);
    }
    fflush(stderr);
}

int cli_fail(const cli *c, int exit, const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    for (char *at = text; *at; at++)
        if (*at == '\n') *at = ' '; /* one line, whatever the text quotes */
    cli_progress(NULL);
    cli_say(stderr, "latchkey: %s\n", text);
    if (c->json) {
        json j = {0};
        json_open(&j, NULL, '{');
        json_text(&j, "error", text);
        json_int(&j, "exit", exit);
        json_close(&j, '}');
    }
    return exit;
}

int cli_exit_of(int status)
{
    switch (status) {
    case LATCHKEY_NOT_FOUND:
    case LATCHKEY_EXPIRED:
    case LATCHKEY_LIMIT:
    case LATCHKEY_REFUSED: return CLI_NO;
    case LATCHKEY_MALFORMED:
    case LATCHKEY_BAD_ARGUMENT: return CLI_USAGE;
    case LATCHKEY_UNAVAILABLE:
    case LATCHKEY_PENDING: return CLI_AWAY;
    case LATCHKEY_CONFIG: return CLI_CONFIG;
    default: return CLI_FAILED;
    }
}

/* A record that needs a missing key or a newer version is not damaged. */
bool cli_damage(latchkey *lk, char why[CLI_WHY_SIZE])
{
    latchkey_stats stats;
    *why = 0;
    if (latchkey_stats_read(lk, &stats, sizeof stats) == LATCHKEY_OK)
        snprintf(why, CLI_WHY_SIZE, "%s", stats.last_error);
    return !strstr(why, "seal_key_file") && !strstr(why, "upgrade");
}

int cli_session_status(const cli *c, latchkey *lk, int status, const char *what)
{
    char why[CLI_WHY_SIZE];
    if (status != LATCHKEY_CORRUPT || !cli_damage(lk, why)) return cli_status(c, lk, status, what);
    return cli_fail(
        c, cli_exit_of(status),
        "%s: %s: %s. The session cannot be used. To end it: latchkey revoke SELECTOR --user USER (see `latchkey list "
        "USER`)",
        what, latchkey_status_text(status), why);
}

int cli_status(const cli *c, latchkey *lk, int status, const char *what)
{
    latchkey_stats stats;
    const char *why = "";
    if (status < 0 && latchkey_stats_read(lk, &stats, sizeof stats) == LATCHKEY_OK) why = stats.last_error;
    return cli_fail(c, cli_exit_of(status), "%s: %s%s%s", what, latchkey_status_text(status), *why ? ": " : "", why);
}

int cli_selector(const cli *c, const char *text, char selector[LATCHKEY_SELECTOR_LENGTH + 1])
{
    size_t length = strlen(text);
    if (length == LATCHKEY_TOKEN_LENGTH)
        return cli_fail(
            c, CLI_USAGE,
            "that is as long as a whole token, which is a secret: give its first 20 characters, and end the "
            "session, since the shell may have kept it");
    if (length != LATCHKEY_SELECTOR_LENGTH)
        return cli_fail(c, CLI_USAGE, "SELECTOR is the first 20 characters of a token, as `latchkey list` shows them");
    memcpy(selector, text, LATCHKEY_SELECTOR_LENGTH + 1);
    return CLI_DONE;
}

int cli_ask(const cli *c, const char *format, ...)
{
    char question[256], answer[16] = "";
    va_list list;
    if (c->yes) return CLI_DONE;
    va_start(list, format);
    vsnprintf(question, sizeof question, format, list);
    va_end(list);
    if (!isatty(STDIN_FILENO))
        return cli_fail(c, CLI_USAGE, "there is no terminal to ask at: %s Give --yes, since this cannot be undone",
                        question);
    cli_say(stderr, "%s [y/N] ", question);
    fflush(stderr);
    if (!fgets(answer, sizeof answer, stdin)) answer[0] = 0;
    if (strcmp(answer, "y\n") == 0 || strcmp(answer, "Y\n") == 0 || strcmp(answer, "yes\n") == 0) return CLI_DONE;
    return cli_fail(c, CLI_NO, "nothing was done");
}

/* Something else in a name's place: half a number, a token, its selector, or the URL. */
enum { NAME_LEAST = 3, NAME_MOST = 1024 }; /* the most that import takes */
static bool is_no_name(const char *text)
{
    unsigned partition;
    size_t length = strlen(text);
    return length < NAME_LEAST || length == LATCHKEY_TOKEN_LENGTH || strstr(text, "://") ||
           strspn(text, "0123456789 +-.,") == length ||
           (length == LATCHKEY_SELECTOR_LENGTH && lk_selector_parse(LK_PARTITIONS_MAX, text, &partition));
}

int cli_user(const cli *c, const char *text, uint64_t *user)
{
    bool zeros = text[0] == '0' && text[1]; /* "07" may be another user's name, and is not 7 */
    if (!zeros && cli_number(text, 0, UINT64_MAX, user)) return CLI_DONE;
    bool said = strncmp(text, "name=", 5) == 0;
    if (said) text += 5;
    if (!*text || strlen(text) > NAME_MOST || (!said && is_no_name(text)))
        return cli_fail(c, CLI_USAGE,
                        "USER is a number, as in draft.user_id, or a name of at most 1024 bytes, for latchkey_user_id; "
                        "name=NAME says that it is one, whatever it looks like");
    *user = lk_user_of_name(text, strlen(text));
    return CLI_DONE;
}

bool cli_file_of(const char *path, char file[PATH_MAX])
{
    struct stat there;
    if (realpath(path, file)) return true;
    if (errno != ENOENT || lstat(path, &there) == 0 || errno != ENOENT) return false;
    if (snprintf(file, PATH_MAX, "%s", path) < PATH_MAX) return true;
    errno = ENAMETOOLONG;
    return false;
}

int64_t cli_now_ms(latchkey *lk, uint64_t user)
{
    return lk_server_now_ms(lk, lk_partition_of_user(lk, user), lk_now_us());
}

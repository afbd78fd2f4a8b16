/* What may be shown. See cli.h. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void cli_say_list(FILE *to, const char *format, va_list list)
{
    char *text;
    if (vasprintf(&text, format, list) < 0) return;
    for (const char *at = text; *at; at++)
        if (*at == '\n' || (*at >= ' ' && *at <= '~')) putc(*at, to);
        else fprintf(to, "\\x%02x", (unsigned char)*at);
    free(text);
}

void cli_say(FILE *to, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    cli_say_list(to, format, list);
    va_end(list);
}

const char *cli_path(char out[CLI_PATH_SIZE], const char *path)
{
    enum { KEY_LEAST = 32 };
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
    bool secret = strstr(path, "://") || strchr(path, '@');
    for (const char *at = path; *at && !secret; at += strcspn(at, letters)) {
        size_t run = strspn(at, letters);
        secret = run >= KEY_LEAST;
        at += run;
    }
    snprintf(out, CLI_PATH_SIZE, secret ? "(what was given as the file's name)" : "'%.200s'", path);
    return out;
}

const char *cli_text(char *out, size_t size, const void *bytes, size_t length)
{
    const uint8_t *from = bytes;
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        bool plain = from[i] >= ' ' && from[i] <= '~' && from[i] != '\\';
        size_t wants = plain ? 1 : 4;
        if (used + wants >= size) break;
        if (plain) out[used] = (char)from[i];
        else snprintf(out + used, 5, "\\x%02x", from[i]);
        used += wants;
    }
    out[used] = 0;
    return out;
}

const char *cli_since(char out[CLI_TIME_SIZE], int64_t ms, int64_t now_ms)
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}};
    if (ms < 0) ms = 0; /* a record may hold anything */
    if (ms > INT64_MAX / 2) ms = INT64_MAX / 2;
    int64_t far = ms < now_ms ? now_ms - ms : ms - now_ms;
    size_t unit = 0;
    while (unit < 3 && far < 2 * units[unit].ms) unit++;
    if (far < 1000) snprintf(out, CLI_TIME_SIZE, "now");
    else
        snprintf(out, CLI_TIME_SIZE, "%s%" PRId64 " %s%s", ms > now_ms ? "in " : "", far / units[unit].ms,
                 units[unit].name, ms > now_ms ? "" : " ago");
    return out;
}

const char *cli_time(char out[CLI_TIME_SIZE], int64_t ms, int64_t now_ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    char since[CLI_TIME_SIZE];
    if (ms <= 0 || !gmtime_r(&seconds, &utc)) {
        strcpy(out, "-");
        return out;
    }
    size_t used = strftime(out, CLI_TIME_SIZE, "%Y-%m-%d %H:%M:%SZ", &utc);
    snprintf(out + used, CLI_TIME_SIZE - used, " (%.32s)", cli_since(since, ms, now_ms));
    return out;
}

const char *cli_bytes(char out[CLI_SIZE_SIZE], uint64_t bytes)
{
    if (bytes < 1024) snprintf(out, CLI_SIZE_SIZE, "%" PRIu64 " B", bytes);
    else if (bytes < 1024 * 1024) snprintf(out, CLI_SIZE_SIZE, "%.1f KiB", (double)bytes / 1024);
    else snprintf(out, CLI_SIZE_SIZE, "%.1f MiB", (double)bytes / 1024 / 1024);
    return out;
}

/* What may be shown. See cli.h. */
#include "cli/cli.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

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

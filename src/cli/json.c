/* --json: one value, in ASCII only, so that no escape sequence reaches a terminal. See cli.h. json_read.c reads it.
 *
 * A number beyond 2^53 is written in quotes: JavaScript, and other programs that read numbers as doubles, would read
 * another one. User ids have up to 20 digits. */
#include "cli/cli.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define EXACT_MAX INT64_C(9007199254740991) /* 2^53 - 1: the last integer that no double confuses with its neighbour */

/* The character at `at`, and how many bytes it takes. 0: it is not UTF-8. (RFC 3629: no surrogates, nothing overlong.) */
static size_t utf8(const uint8_t *at, size_t left, uint32_t *character)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = *at < 0x80 ? 1 : *at >> 5 == 6 ? 2 : *at >> 4 == 14 ? 3 : *at >> 3 == 30 ? 4 : 0;
    if (!size || size > left) return 0;
    *character = size == 1 ? *at : *at & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++) {
        if (at[i] >> 6 != 2) return 0;
        *character = *character << 6 | (at[i] & 0x3f);
    }
    bool good = *character >= least[size] && *character <= 0x10ffff && (*character < 0xd800 || *character > 0xdfff);
    return good ? size : 0;
}

bool json_is_text(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    uint32_t character;
    for (size_t i = 0, used; i < size; i += used)
        if (!(used = utf8(at + i, size - i, &character)) || !character) return false;
    return true;
}

static void write_character(uint32_t c)
{
    if (c == '"' || c == '\\') printf("\\%c", (int)c);
    else if (c >= ' ' && c <= '~') putchar((int)c);
    else if (c < 0x10000) printf("\\u%04x", c);
    else printf("\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
}

static void write_text(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    putchar('"');
    for (size_t i = 0; i < size;) {
        uint32_t character = 0xfffd;
        size_t used = utf8(at + i, size - i, &character);
        if (!used) character = 0xfffd;
        write_character(character);
        i += used ? used : 1;
    }
    putchar('"');
}

static void begin_value(json *j, const char *name)
{
    if (j->comma) putchar(',');
    j->comma = true;
    if (!name) return;
    write_text(name, strlen(name));
    putchar(':');
}

void json_open(json *j, const char *name, char bracket)
{
    begin_value(j, name);
    putchar(bracket);
    j->comma = false;
    j->depth++;
}

void json_close(json *j, char bracket)
{
    putchar(bracket);
    j->comma = --j->depth > 0;
    if (!j->depth) putchar('\n');
}

void json_text(json *j, const char *name, const char *text)
{
    if (text) {
        json_bytes(j, name, text, strlen(text));
        return;
    }
    begin_value(j, name);
    fputs("null", stdout);
}

void json_bytes(json *j, const char *name, const void *bytes, size_t size)
{
    begin_value(j, name);
    write_text(bytes, size);
}

void json_int(json *j, const char *name, int64_t value)
{
    const char *quote = value > EXACT_MAX || value < -EXACT_MAX ? "\"" : "";
    begin_value(j, name);
    printf("%s%" PRId64 "%s", quote, value, quote);
}

void json_uint(json *j, const char *name, uint64_t value)
{
    const char *quote = value > EXACT_MAX ? "\"" : "";
    begin_value(j, name);
    printf("%s%" PRIu64 "%s", quote, value, quote);
}

void json_real(json *j, const char *name, double value)
{
    begin_value(j, name);
    if (isfinite(value)) printf("%.6g", value);
    else fputs("null", stdout);
}

void json_bool(json *j, const char *name, bool value)
{
    begin_value(j, name);
    fputs(value ? "true" : "false", stdout);
}

void cli_json_session(json *j, const latchkey_session_info *info)
{
    json_text(j, "selector", info->selector);
    json_int(j, "created_at_ms", info->created_at_ms);
    json_int(j, "auth_at_ms", info->auth_at_ms);
    json_int(j, "active_at_ms", info->active_at_ms);
    json_int(j, "idle_expires_at_ms", info->idle_expires_at_ms);
    json_int(j, "expires_at_ms", info->expires_at_ms);
    json_uint(j, "device", info->device);
    json_uint(j, "flags", info->flags);
}

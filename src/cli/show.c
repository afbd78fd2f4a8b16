/* latchkey show: everything about one session except its secret. */
#include "cli/cli.h"

#include "base/crypto.h"
#include "base/record.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool values, keys;

static bool is_pq_field(const char *name) { return lk_field_is_key(name, strlen(name)); }
static bool is_shown(const char *name) { return is_pq_field(name) ? keys : values; }

/* ------------------------------------------------------------------------------------------------- machines -- */

static bool json_value(json *j, const void *data, size_t size)
{
    if (json_is_text(data, size)) {
        json_bytes(j, "value", data, size);
        return true;
    }
    char *hex = malloc(2 * size + 1);
    if (!hex) return false;
    lk_hex_encode(data, size, hex);
    json_text(j, "value_hex", hex);
    free(hex);
    return true;
}

static bool json_fields(json *j, const latchkey_record *record)
{
    const char *name;
    bool good = true;
    json_open(j, "fields", '[');
    for (size_t i = 0; (name = latchkey_record_field_name(record, i)); i++) {
        size_t size;
        const void *data = latchkey_record_field(record, name, &size);
        json_open(j, NULL, '{');
        json_text(j, "name", name);
        json_uint(j, "size", size);
        json_bool(j, "key_material", is_pq_field(name));
        if (is_shown(name)) good &= json_value(j, data, size);
        json_close(j, '}');
    }
    json_close(j, ']');
    return good;
}

static bool print_session_json(const char *asked, const latchkey_session_info *info, const latchkey_record *record)
{
    const latchkey_entry *entry = latchkey_record_entry(record);
    char hex[65];
    json j = {0};
    json_open(&j, NULL, '{');
    json_uint(&j, "user", entry->user_id);
    cli_json_session(&j, info);
    json_text(&j, "asked_for", asked);
    json_bool(&j, "exchanged", !info->current);
    json_bytes(&j, "role", entry->role, strnlen(entry->role, sizeof entry->role));
    lk_hex_encode(entry->permissions_hash, 32, hex);
    json_text(&j, "permissions_hash", hex);
    lk_hex_encode(entry->pq_key_hash, 32, hex);
    json_text(&j, "pq_key_hash", hex);
    bool good = json_fields(&j, record);
    json_close(&j, '}');
    return good;
}

/* --------------------------------------------------------------------------------------------------- people -- */

static void line(const char *name, const char *text) { cli_say(stdout, "%-14s %s\n", name, text); }

static void print_times(const latchkey_session_info *info, int64_t now_ms)
{
    char text[CLI_TIME_SIZE];
    line("created", cli_time(text, info->created_at_ms, now_ms));
    if (info->auth_at_ms != info->created_at_ms) line("authenticated", cli_time(text, info->auth_at_ms, now_ms));
    line("last used", cli_time(text, info->active_at_ms, now_ms));
    line("idles out", cli_time(text, info->idle_expires_at_ms, now_ms));
    line("ends", cli_time(text, info->expires_at_ms, now_ms));
}

static void print_hash(const char *name, const uint8_t hash[32])
{
    static const uint8_t none[32];
    char hex[65];
    lk_hex_encode(hash, 32, hex);
    line(name, memcmp(hash, none, sizeof none) ? hex : "none");
}

static bool print_fields(const latchkey_record *record)
{
    static const char *const headings[] = {"FIELD", ">SIZE", "VALUE", NULL};
    const char *name;
    if (!latchkey_record_field_name(record, 0)) return true;
    table *t = table_open(headings);
    for (size_t i = 0; (name = latchkey_record_field_name(record, i)); i++) {
        size_t size;
        const void *data = latchkey_record_field(record, name, &size);
        char text[CLI_SIZE_SIZE], shown[128], *value = is_shown(name) ? malloc(4 * size + 1) : NULL;
        table_cell(t, cli_text(shown, sizeof shown, name, strlen(name)));
        table_cell(t, cli_bytes(text, size));
        table_cell(t, value ? cli_text(value, 4 * size + 1, data, size) : is_pq_field(name) ? "(key material)" : "");
        free(value);
    }
    cli_say(stdout, "\n");
    return table_print(t);
}

static bool print_session(latchkey *lk, const char *asked, const latchkey_session_info *info,
                          const latchkey_record *record)
{
    const latchkey_entry *entry = latchkey_record_entry(record);
    char text[80];
    line("session", info->selector);
    if (!info->current) {
        snprintf(text, sizeof text, "%s, a name that it had before: its token was exchanged", asked);
        line("asked for", text);
    }
    snprintf(text, sizeof text, "%" PRIu64, entry->user_id);
    line("user", text);
    line("role", cli_text(text, sizeof text, entry->role, strnlen(entry->role, sizeof entry->role)));
    snprintf(text, sizeof text, "%" PRIu32, entry->device);
    line("device", text);
    snprintf(text, sizeof text, "0x%" PRIx32, entry->flags);
    line("flags", text);
    print_times(info, cli_now_ms(lk, entry->user_id));
    print_hash("permissions", entry->permissions_hash);
    print_hash("key material", entry->pq_key_hash);
    return print_fields(record);
}

static int run_show(const cli *c)
{
    char selector[LATCHKEY_SELECTOR_LENGTH + 1];
    latchkey_session_info info;
    latchkey_record *record;
    latchkey *lk;
    int exit = cli_selector(c, c->arguments[0], selector);
    if (!exit) exit = cli_open(c, &lk);
    if (exit) return exit;
    int status = latchkey_show(lk, selector, &info, &record);
    if (status) exit = cli_session_status(c, lk, status, "show");
    else if (!(c->json ? print_session_json(selector, &info, record) : print_session(lk, selector, &info, record)))
        exit = cli_fail(c, CLI_FAILED, "no memory");
    latchkey_record_free(record);
    latchkey_close(lk);
    return exit;
}

static const cli_option options[] = {
    {.name = "values", .given = &values, .help = "the fields' values, too, but for key material"},
    {.name = "keys", .given = &keys, .help = "the key material (fields named pq.*), too"},
    {0},
};

const cli_command cli_show = {
    .name = "show",
    .arguments = "show SELECTOR [--values] [--keys]",
    .summary = "everything about a session but its secret",
    .help = "Shows a session by its selector: the first 20 characters of its token, which logs and `list` show. It\n"
            "prints the user, the times, and the fields by name and size. The selector of a token that was exchanged\n"
            "leads to the session too. Showing a session does not count as a use of it.",
    .options = options,
    .least = 1,
    .most = 1,
    .run = run_show,
};

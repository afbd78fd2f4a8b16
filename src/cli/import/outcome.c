/* What became of the lines. See import.h. */
#include "cli/import/import.h"

#include <inttypes.h>

static const char *const texts[IMPORT_REASONS] = {
    [IMPORT_NOT_JSON] = "not JSON",
    [IMPORT_NOT_OBJECT] = "not an object",
    [IMPORT_UNKNOWN_MEMBER] = "has a member that is not known",
    [IMPORT_TOKEN] = "token: 16 to 256 bytes, as text or as {\"base64\": ...}, are expected",
    [IMPORT_USER] = "user_id: a whole number, from 0 on, is expected",
    [IMPORT_NUMBER] = "created_at_ms, expires_at_ms, idle_ms, device or flags: a whole number in its range is expected",
    [IMPORT_ROLE] = "role: a text of at most 16 bytes is expected",
    [IMPORT_PERMISSIONS] = "permissions_hash: 64 hexadecimal digits are expected",
    [IMPORT_FIELDS] = "fields: an object of at most 256 texts or {\"base64\": ...} is expected",
    [IMPORT_TOO_LONG] = "longer than 8 MiB",
    [IMPORT_ARGUMENT] = "fields, times or idle_ms: out of the ranges that latchkey.h gives",
    [IMPORT_MALFORMED] = "token: it is one of latchkey's own",
    [IMPORT_CORRUPT] = "what Redis holds in its place is damaged or another's",
};

void import_tally_refuse(import_tally *t, enum import_reason reason, uint64_t line)
{
    t->refused++;
    uint64_t *shown = t->of[reason].line;
    if (++t->of[reason].count > IMPORT_LINES_SHOWN && line > shown[IMPORT_LINES_SHOWN - 1]) return;
    for (int i = 0; i < IMPORT_LINES_SHOWN; i++) { /* in its place, and the last falls off */
        if (shown[i] && shown[i] < line) continue;
        uint64_t later = shown[i];
        shown[i] = line;
        if (!later) return;
        line = later;
    }
}

static void print_json(const import_tally *t, uint64_t first_line, double seconds, bool complete)
{
    json j = {0};
    json_open(&j, NULL, '{');
    json_bool(&j, "complete", complete);
    json_uint(&j, "from_line", first_line);
    json_uint(&j, "lines", t->lines);
    json_uint(&j, "moved", t->moved);
    json_uint(&j, "here_already", t->here);
    json_uint(&j, "expired", t->expired);
    json_uint(&j, "refused", t->refused);
    json_open(&j, "reasons", '[');
    for (int r = 0; r < IMPORT_REASONS; r++) {
        if (!t->of[r].count) continue;
        json_open(&j, NULL, '{');
        json_text(&j, "reason", texts[r]);
        json_uint(&j, "count", t->of[r].count);
        json_open(&j, "first_lines", '[');
        for (int i = 0; i < IMPORT_LINES_SHOWN && t->of[r].line[i]; i++) json_uint(&j, NULL, t->of[r].line[i]);
        json_close(&j, ']');
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_real(&j, "seconds", seconds);
    json_close(&j, '}');
}

void import_tally_print(const cli *c, const import_tally *t, uint64_t first_line, double seconds, bool complete)
{
    if (c->json) {
        print_json(t, first_line, seconds, complete);
        return;
    }
    printf("%" PRIu64 " lines from line %" PRIu64 " on, in %.1f s%s\n", t->lines, first_line, seconds,
           complete ? "" : "; not all of them");
    printf("moved in      %" PRIu64 "\nhere already  %" PRIu64 "\nexpired       %" PRIu64 "\nrefused       %" PRIu64
           "\n",
           t->moved, t->here, t->expired, t->refused);
    for (int r = 0; r < IMPORT_REASONS; r++) {
        if (!t->of[r].count) continue;
        printf("  %" PRIu64 ": %s (line", t->of[r].count, texts[r]);
        for (int i = 0; i < IMPORT_LINES_SHOWN && t->of[r].line[i]; i++) printf(" %" PRIu64, t->of[r].line[i]);
        printf("%s)\n", t->of[r].count > IMPORT_LINES_SHOWN ? " ..." : "");
    }
}

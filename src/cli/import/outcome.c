/* What became of the lines. See import.h. */
#include "cli/import/import.h"

#include <inttypes.h>

static const char *const texts[IMPORT_REASONS] = {
    [IMPORT_NOT_JSON] = "not JSON",
    [IMPORT_NOT_OBJECT] = "not an object",
    [IMPORT_UNKNOWN_MEMBER] = "has a member that is not known",
    [IMPORT_MEMBER_TWICE] = "has a member twice",
    [IMPORT_TOKEN] = "token: 16 to 256 bytes, as text or as {\"base64\": ...}, are expected",
    [IMPORT_USER] =
        "user_id: a whole number from 0 to 18446744073709551615 is expected; or user: a name of 1 to 1024 bytes",
    [IMPORT_EXPIRES] = "expires_at_ms: a number, from 0 on, is expected",
    [IMPORT_TOO_LONG] = "longer than 8 MiB",
    [IMPORT_NAME] = "user: another name has the same number: one of the two needs a user_id of its own",
    [IMPORT_ARGUMENT] = "fields, times or idle_ms: out of the ranges that latchkey.h gives",
    [IMPORT_MALFORMED] = "token: it is one of latchkey's own",
    [IMPORT_CORRUPT] = "what Redis holds in its place is damaged or another's",
};

static const char *const changes[IMPORT_CHANGES] = {
    [IMPORT_FIELD_SIZE] = "a field is larger than 64 KiB: left out",
    [IMPORT_FIELD_NAME] = "a field's name is not 2 to 64 of A-Z a-z 0-9 . _ : -: left out",
    [IMPORT_FIELD_TWICE] = "a field stands twice: the later one left out",
    [IMPORT_FIELD_VALUE] = "a field is neither a text nor {\"base64\": ...}: left out",
    [IMPORT_FIELD_COUNT] = "more than 256 fields, or 64 named pq.*: the others left out",
    [IMPORT_FIELDS] = "fields is not an object: left out",
    [IMPORT_ROLE] = "role is not a text of at most 16 bytes: left out",
    [IMPORT_PERMISSIONS] = "permissions_hash is not 64 hexadecimal digits: left out",
    [IMPORT_DEVICE] = "device is not a whole number from 0 to 4294967295: left out",
    [IMPORT_FLAGS] = "flags is not a whole number from 0 to 65535: left out",
    [IMPORT_CREATED] = "created_at_ms is not a time before expires_at_ms: created now",
    [IMPORT_IDLE] = "idle_ms is not a time from 0 to ten years: ten years, or the configuration's",
    [IMPORT_LIFETIME] = "expires_at_ms is more than ten years from now: ten years",
    [IMPORT_TEXT] = "half a surrogate pair in a text: U+FFFD in its place",
};

/* Counts it, and keeps the line's number if it is one of the first. */
static void count(import_counted *of, uint64_t line)
{
    if (++of->count > IMPORT_LINES_SHOWN && line > of->line[IMPORT_LINES_SHOWN - 1]) return;
    for (int i = 0; i < IMPORT_LINES_SHOWN; i++) { /* put in its place; the last one is dropped */
        if (of->line[i] && of->line[i] < line) continue;
        uint64_t later = of->line[i];
        of->line[i] = line;
        if (!later) return;
        line = later;
    }
}

static void add_counted(import_counted *all, const import_counted *some)
{
    uint64_t shown = 0;
    while (shown < IMPORT_LINES_SHOWN && some->line[shown]) count(all, some->line[shown++]);
    all->count += some->count - shown;
}

void import_tally_refuse(import_tally *t, enum import_reason reason, uint64_t line)
{
    t->refused++;
    count(&t->of[reason], line);
}

void import_tally_change(import_tally *t, const bool changed[IMPORT_CHANGES], uint64_t line)
{
    bool any = false;
    for (int i = 0; i < IMPORT_CHANGES; i++) {
        if (changed[i]) count(&t->changes[i], line);
        any |= changed[i];
    }
    t->changed += any;
}

void import_tally_add(import_tally *all, const import_tally *some)
{
    all->lines += some->lines;
    all->moved += some->moved;
    all->here += some->here;
    all->over += some->over;
    all->expired += some->expired;
    all->refused += some->refused;
    all->changed += some->changed;
    all->skipped += some->skipped;
    for (int i = 0; i < IMPORT_REASONS; i++) add_counted(&all->of[i], &some->of[i]);
    for (int i = 0; i < IMPORT_CHANGES; i++) add_counted(&all->changes[i], &some->changes[i]);
}

/* ------------------------------------------------------------------------------------------------ printing -- */

static void print_counted_json(json *j, const char *name, const import_counted *of, const char *const *reasons,
                               int count)
{
    json_open(j, name, '[');
    for (int i = 0; i < count; i++) {
        if (!of[i].count) continue;
        json_open(j, NULL, '{');
        json_text(j, "reason", reasons[i]);
        json_uint(j, "count", of[i].count);
        json_open(j, "first_lines", '[');
        for (int k = 0; k < IMPORT_LINES_SHOWN && of[i].line[k]; k++) json_uint(j, NULL, of[i].line[k]);
        json_close(j, ']');
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void print_outcome_json(const import_tally *t, uint64_t first_line, double seconds, bool complete)
{
    json j = {0};
    json_open(&j, NULL, '{');
    json_bool(&j, "complete", complete);
    json_uint(&j, "from_line", first_line);
    json_uint(&j, "lines", t->lines);
    json_uint(&j, "moved", t->moved);
    json_uint(&j, "here_already", t->here);
    json_uint(&j, "ended_for_everyone", t->over);
    json_uint(&j, "expired", t->expired);
    json_uint(&j, "refused", t->refused);
    print_counted_json(&j, "reasons", t->of, texts, IMPORT_REASONS);
    json_uint(&j, "changed", t->changed);
    print_counted_json(&j, "changes", t->changes, changes, IMPORT_CHANGES);
    json_uint(&j, "skipped_by_exporter", t->skipped);
    json_real(&j, "seconds", seconds);
    json_close(&j, '}');
}

static void print_counted(const import_counted *of, const char *const *reasons, int count)
{
    for (int i = 0; i < count; i++) {
        if (!of[i].count) continue;
        cli_say(stdout, "  %" PRIu64 ": %s (line", of[i].count, reasons[i]);
        for (int k = 0; k < IMPORT_LINES_SHOWN && of[i].line[k]; k++) cli_say(stdout, " %" PRIu64, of[i].line[k]);
        cli_say(stdout, "%s)\n", of[i].count > IMPORT_LINES_SHOWN ? " ..." : "");
    }
}

void import_tally_print(const cli *c, const import_tally *t, uint64_t first_line, double seconds, bool complete)
{
    if (c->json) {
        print_outcome_json(t, first_line, seconds, complete);
        return;
    }
    cli_say(stdout, "%" PRIu64 " lines from line %" PRIu64 " on, in %.1f s%s\n", t->lines, first_line, seconds,
            complete ? "" : "; not all of them");
    cli_say(stdout, "moved in      %" PRIu64 "\n", t->moved);
    if (t->changed) cli_say(stdout, "  %" PRIu64 " of them not with all that they had\n", t->changed);
    print_counted(t->changes, changes, IMPORT_CHANGES);
    cli_say(stdout, "here already  %" PRIu64 "\nexpired       %" PRIu64 "\n", t->here, t->expired);
    if (t->over) cli_say(stdout, "ended         %" PRIu64 "  created before all sessions were ended\n", t->over);
    cli_say(stdout, "refused       %" PRIu64 "\n", t->refused);
    print_counted(t->of, texts, IMPORT_REASONS);
    if (t->skipped) cli_say(stdout, "skipped       %" PRIu64 "  by the exporter, which says why\n", t->skipped);
}

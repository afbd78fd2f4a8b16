/* latchkey top: what is shown of the instances. */
#include "cli/node_rows.h"
#include "cli/top/top.h"

#include <inttypes.h>
#include <math.h>

/* -------------------------------------------------------------------------------------------------- cells -- */

enum { CELL = 32 };

static const char *number_text(char out[CELL], double value)
{
    static const char units[] = " kMGT";
    size_t unit = 0;
    for (; value >= 9999.5 && units[unit + 1]; unit++) value /= 1000;
    if (unit) snprintf(out, CELL, "%.1f%c", value, units[unit]);
    else snprintf(out, CELL, "%.*f", value > 0 && value < 9.95 ? 1 : 0, value);
    return out;
}

static const char *duration_us(char out[CELL], int64_t us)
{
    if (us <= 0) snprintf(out, CELL, "-");
    else if (us < 10000) snprintf(out, CELL, "%.2f", (double)us / 1000);
    else snprintf(out, CELL, "%.0f", (double)us / 1000);
    return out;
}

static const char *uptime_text(char out[CELL], int64_t ms)
{
    int64_t s = ms / 1000;
    if (ms < 0) snprintf(out, CELL, "?");
    else if (s >= 86400) snprintf(out, CELL, "%" PRId64 "d%02" PRId64 "h", s / 86400, s / 3600 % 24);
    else if (s >= 3600) snprintf(out, CELL, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
    else snprintf(out, CELL, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    return out;
}

static void rate_cell(table *t, const fleet_instance *i, double value)
{
    char text[CELL];
    table_cell(t, i->rated ? number_text(text, value) : "-");
}

static void share_cell(table *t, double share)
{
    char text[CELL] = "-";
    /* Less than all is not shown as 100. */
    if (share >= 0) snprintf(text, sizeof text, "%.2f", share < 1 && share > 0.9999 ? 99.99 : share * 100);
    table_cell(t, text);
}

static const char *const headings[] = {
    "INSTANCE",   "HOST",     ">PID",     "NAME",      ">UP",   ">REQ/S", ">HIT %", ">MISS/S", ">P50 ms", ">P99 ms",
    ">REVOKED/S", ">LAG P50", ">LAG P99", ">LEASE ms", ">L1 %", ">WAIT",  ">ERR/S", "",        NULL};
enum { COLUMNS = sizeof headings / sizeof *headings - 1 };

static const char *remark(char out[CELL], const fleet_instance *i, const survey *s, int64_t now_ms)
{
    *out = 0;
    if (i->heard_ms && now_ms - i->heard_ms > 3000 && now_ms - i->heard_ms > 3 * i->silent_ms)
        snprintf(out, CELL, "silent for %" PRId64 " s", (now_ms - i->heard_ms) / 1000);
    else if (!i->tells) snprintf(out, CELL, "no numbers");
    else if (fleet_lease_ms(i->now.lease_age_ms, s->config.staleness_ms) < 0) snprintf(out, CELL, "NO LEASE");
    else if (i->now.pending) snprintf(out, CELL, "%" PRId64 " pending", i->now.pending);
    return out;
}

static void instance_row(table *t, const fleet_instance *i, const survey *s, int64_t now_ms)
{
    char text[CELL];
    const lk_beat_stats *p = &i->now;
    table_cell(t, i->name);
    fleet_cells(t, i);
    if (i->tells) {
        table_cell(t, uptime_text(text, p->uptime_ms));
        rate_cell(t, i, i->rates.validates);
        share_cell(t, i->rated ? fleet_hit_share(&i->rates) : -1);
        rate_cell(t, i, i->rates.misses);
        table_cell(t, duration_us(text, p->read_p50_us));
        table_cell(t, duration_us(text, p->read_p99_us));
        rate_cell(t, i, i->rates.purges);
        table_cell(t, duration_us(text, p->lag_p50_us));
        table_cell(t, duration_us(text, p->lag_p99_us));
        snprintf(text, sizeof text, "%" PRId64, p->lease_age_ms);
        table_cell(t, p->lease_age_ms < 0 ? "none" : text);
        share_cell(t, p->capacity ? (double)p->entries / (double)p->capacity : -1);
        table_cell(t, number_text(text, (double)p->in_flight));
        rate_cell(t, i, i->rates.errors);
    } else
        for (int k = 0; k < COLUMNS - 5; k++) table_cell(t, "-");
    table_cell(t, remark(text, i, s, now_ms));
}

bool rows_print(const fleet *h, const survey *s, int64_t now_ms, size_t most)
{
    fleet_instance total;
    fleet_total(h, &total);
    table *t = table_open(headings);
    if (!t) return false;
    instance_row(t, &total, s, now_ms);
    for (size_t i = 0; i < h->count && i < most; i++) instance_row(t, &h->instance[i], s, now_ms);
    bool printed = table_print(t);
    if (h->count > most) cli_say(stdout, "... and %zu more\n", h->count - most);
    return printed;
}

/* --------------------------------------------------------------------------------------------------- json -- */

static void json_instance(json *j, const char *name, const fleet_instance *i, const survey *s, int64_t now_ms)
{
    lk_beat_stats numbers = i->now;
    json_open(j, name, '{');
    json_text(j, "instance", i->name);
    json_int(j, "heard_ms_ago", i->heard_ms ? now_ms - i->heard_ms : 0);
    json_bool(j, "tells", i->tells);
    json_text(j, "host", numbers.host);
    json_text(j, "name", numbers.name);
    if (i->tells) {
        json_text(j, "version", numbers.version);
        json_real(j, "validates_per_s", i->rates.validates);
        json_real(j, "hit_rate", fleet_hit_share(&i->rates) < 0 ? NAN : fleet_hit_share(&i->rates));
        json_real(j, "misses_per_s", i->rates.misses);
        json_real(j, "refused_per_s", i->rates.refused);
        json_real(j, "l2_reads_per_s", i->rates.reads);
        json_real(j, "l2_writes_per_s", i->rates.writes);
        json_real(j, "errors_per_s", i->rates.errors);
        json_real(j, "revocations_per_s", i->rates.purges);
        for (size_t k = 0; k < lk_beat_number_count; k++)
            json_int(j, lk_beat_numbers[k].json, *lk_beat_number_of(&numbers, &lk_beat_numbers[k]));
    }
    if (i->heard_ms) node_rows_json_of(j, s, i); /* the total has none */
    json_close(j, '}');
}

void rows_json(json *j, const fleet *h, const survey *s, int64_t now_ms)
{
    fleet_instance total;
    fleet_total(h, &total);
    json_open(j, "instances", '[');
    for (size_t i = 0; i < h->count; i++) json_instance(j, NULL, &h->instance[i], s, now_ms);
    json_close(j, ']');
    json_instance(j, "total", &total, s, now_ms);
}

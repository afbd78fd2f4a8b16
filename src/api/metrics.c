/* latchkey_metrics: Prometheus' text exposition format, version 0.0.4. */
#include "api/stats.h"
#include "base/argument.h"
#include "base/reason.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct text {
    char *at;
    size_t size, used; /* used may exceed size: it counts the bytes that would be needed */
} text;

__attribute__((format(printf, 2, 3))) static void print_line(text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bool room = t->used < t->size;
    int size = vsnprintf(room ? t->at + t->used : NULL, room ? t->size - t->used : 0, format, args);
    va_end(args);
    if (size > 0) t->used += (size_t)size;
}

/* The same bytes in every locale: Prometheus does not read a decimal comma, and one sample that it cannot read costs
 * all of them. A locale only changes the decimal point, which may be several bytes. */
typedef struct decimal_text {
    char text[40];
} decimal_text;

static const char *decimal(decimal_text *out, double value)
{
    char written[40];
    size_t used = 0;
    snprintf(written, sizeof written, "%.15g", value);
    for (const char *c = written; *c; c++) {
        bool plain = strchr("0123456789+-einfa", *c) != NULL;
        if (plain || !used || out->text[used - 1] != '.') out->text[used++] = plain ? *c : '.';
    }
    out->text[used] = 0;
    return out->text;
}

static void head(text *t, const char *name, const char *type, const char *help)
{
    print_line(t, "# HELP latchkey_%s %s\n# TYPE latchkey_%s %s\n", name, help, name, type);
}

static void print_number(text *t, const char *name, const char *type, const char *help, double value)
{
    head(t, name, type, help);
    decimal_text shown;
    print_line(t, "latchkey_%s %s\n", name, decimal(&shown, value));
}

/* Buckets at `edges`, in the histogram's unit; shown divided by `unit`. */
static void histogram(text *t, const char *name, const char *help, const lk_histogram *h, const uint64_t *edges,
                      size_t count, double unit)
{
    decimal_text shown;
    head(t, name, "histogram", help);
    /* Counted once, before the buckets: so a value that comes in between cannot make a bucket exceed the total. */
    uint64_t total = lk_histogram_count(h);
    for (size_t i = 0; i < count; i++) {
        uint64_t below = lk_histogram_below(h, edges[i]);
        print_line(t, "latchkey_%s_bucket{le=\"%s\"} %llu\n", name, decimal(&shown, (double)edges[i] / unit),
                   (unsigned long long)(below < total ? below : total));
    }
    print_line(t, "latchkey_%s_bucket{le=\"+Inf\"} %llu\n", name, (unsigned long long)total);
    print_line(t, "latchkey_%s_sum %s\n", name,
               decimal(&shown, (double)atomic_load_explicit(&h->sum, memory_order_relaxed) / unit));
    print_line(t, "latchkey_%s_count %llu\n", name, (unsigned long long)total);
}

static void counters(text *t, const latchkey_stats *s)
{
    print_number(t, "validates_total", "counter", "Validations answered.", (double)s->validates);
    print_number(t, "evictions_total", "counter", "Live entries that made room for others.", (double)s->evictions);
#define SHOW(name, field, help) print_number(t, #field "_total", "counter", help, (double)s->field);
    LK_COUNTERS(SHOW)
#undef SHOW
}

static void gauges(text *t, const latchkey_stats *s)
{
    print_number(t, "l1_hit_ratio", "gauge", "Hits among hits and misses since open.", s->hit_rate);
    print_number(t, "l2_read_amplification", "gauge", "Records read in Redis for each validation.",
                 s->l2_read_amplification);
    print_number(t, "l1_entries", "gauge", "Entries held in memory.", (double)s->l1_entries);
    print_number(t, "l1_capacity", "gauge", "Entries that memory has room for.", (double)s->l1_capacity);
    print_number(t, "l1_bytes", "gauge", "Memory that L1 takes, all of it.", (double)s->l1_bytes);
    print_number(t, "pending_revocations", "gauge", "Revocations waiting for Redis.", (double)s->pending);
    print_number(t, "connected", "gauge", "1 while the link is subscribed; in a cluster, that of every node.",
                 (double)s->connected);
    print_number(t, "lease_age_seconds", "gauge",
                 "Time since the beat that confirmed the lease was sent; -1 without a lease.",
                 s->lease_age_ms < 0 ? -1 : (double)s->lease_age_ms / 1000);
    print_number(t, "section_size_p50_bytes", "gauge", "Median size of sections written or read.",
                 (double)s->section_size_p50_bytes);
    print_number(t, "section_size_p99_bytes", "gauge", "99th percentile of the size of sections written or read.",
                 (double)s->section_size_p99_bytes);
    print_number(t, "session_size_p50_bytes", "gauge", "Median size of sessions created or loaded.",
                 (double)s->session_size_p50_bytes);
    print_number(t, "session_size_p99_bytes", "gauge", "99th percentile of the size of sessions created or loaded.",
                 (double)s->session_size_p99_bytes);
}

static void histograms(text *t, const lk_counters *c)
{
    static const uint64_t us[] = {50,    100,   200,   500,    1000,   2000,   5000,
                                  10000, 20000, 50000, 100000, 200000, 500000, 1000000};
    static const uint64_t bytes[] = {256, 512, 1024, 2048, 4096, 6144, 8192, 16384, 65536, 262144, 1048576};
    enum { US = sizeof us / sizeof *us, BYTES = sizeof bytes / sizeof *bytes };
    histogram(t, "revocation_latency_seconds", "From publish in Redis to purge here.", &c->revocation_us, us, US, 1e6);
    histogram(t, "l2_read_seconds", "A miss, as its caller saw it.", &c->l2_read_us, us, US, 1e6);
    histogram(t, "section_size_bytes", "Sections of sessions, written or read.", &c->section_bytes, bytes, BYTES, 1);
    histogram(t, "session_size_bytes", "Sessions created or loaded: record and fields.", &c->session_bytes, bytes,
              BYTES, 1);
}

int latchkey_metrics(latchkey *lk, char *buffer, size_t buffer_size, size_t *needed)
{
    if (needed) *needed = 0;
    if (buffer && buffer_size) *buffer = 0;
    if (!lk || !needed || (buffer_size && !buffer))
        return lk_bad_argument("metrics: the handle, needed or the text is NULL");
    if (lk_forked(lk)) return LATCHKEY_FORKED;
    lk_reason_clear(lk);
    latchkey_stats stats;
    lk_stats_gather(lk, &stats);
    text t = {buffer, buffer_size, 0};
    counters(&t, &stats);
    gauges(&t, &stats);
    histograms(&t, &lk->counters);
    *needed = t.used + 1;
    if (t.used < buffer_size) return LATCHKEY_OK;
    if (buffer_size) *buffer = 0;
    return LATCHKEY_NO_MEMORY;
}

/* latchkey_metrics: Prometheus' text exposition format, version 0.0.4. */
#include "api/stats.h"
#include "base/argument.h"

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
    const struct {
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        {"validates_total", "Validations answered.", s->validates},
        {"l1_hits_total", "Validations answered from memory.", s->l1_hits},
        {"l1_misses_total", "Validations of well-formed tokens that memory could not answer.", s->l1_misses},
        {"malformed_total", "Tokens refused before anything was asked.", s->malformed},
        {"dead_refused_total", "Validations of tokens that were known to be dead.", s->dead_refused},
        {"l2_reads_total", "Records asked for in Redis.", s->l2_reads},
        {"l2_writes_total", "Scripts run in Redis.", s->l2_writes},
        {"l2_errors_total", "Round trips to Redis without an answer, or with an error.", s->l2_errors},
        {"joined_total", "Misses that shared the read of another.", s->joined},
        {"fills_total", "Entries put into memory.", s->fills},
        {"fills_refused_total", "Answers not kept because a revocation came in between.", s->fills_refused},
        {"evictions_total", "Live entries that made room for others.", s->evictions},
        {"purges_total", "Revocations applied to memory.", s->purges},
        {"empties_total", "Times that memory was emptied, after another server was met, and after gaps.", s->empties},
        {"missed_total", "Revocations whose message was lost, found by their number.", s->missed},
        {"replayed_total", "Revocations read in the log, where their messages did not come.", s->replayed},
        {"reconnects_total", "Reconnections of the link.", s->reconnects},
        {"refreshes_total", "Entries in use that were to be renewed before their time in memory was up.", s->refreshes},
        {"refreshes_dropped_total", "Refreshes shed, or without an answer.", s->refreshes_dropped},
        {"touches_total", "Touches asked for by validations.", s->touches},
        {"touches_dropped_total", "Touches shed or refused.", s->touches_dropped},
        {"beats_total", "Leases confirmed.", s->beats},
        {"shed_total", "Calls refused because in_flight of them waited for Redis already.", s->shed},
        {"retries_total", "Reads repeated because a connection broke.", s->retries},
        {"stale_total", "Validations answered without a lease, under grace_ms.", s->stale},
        {"lapses_total", "Validations that found the lease lapsed.", s->lapses},
        {"corrupt_total", "Records refused as corrupt.", s->corrupt},
        {"audited_total", "Entries of memory that the auditor compared with Redis.", s->audited},
        {"audit_suspicions_total", "Entries that differed, as they do while a revocation is under way.",
         s->audit_suspicions},
        {"audit_disagreements_total", "Entries that differed for longer than the bound: should be 0.",
         s->audit_disagreements},
        {"section_reads_total", "Sections of sessions read, or found not to be there.", s->section_reads},
        {"section_writes_total", "Sections of sessions written or deleted.", s->section_writes},
        {"reuses_total", "Old tokens used after their grace: their sessions were ended.", s->reuses},
        {"foreign_reads_total", "Foreign tokens that Redis was asked about.", s->foreign_reads},
        {"foreign_unknown_total", "Foreign tokens that mean no session.", s->foreign_unknown},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        print_number(t, rows[i].name, "counter", rows[i].help, (double)rows[i].value);
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
    print_number(t, "connected", "gauge", "1 while the link is subscribed.", (double)s->connected);
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

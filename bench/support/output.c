/* SPDX-License-Identifier: MIT
 *
 * Progress, JSON and the description of the machine. See harness.h.
 */
#include "harness.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

void bench_die(const char *format, ...)
{
    va_list arguments;
    bench_progress_end();
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

double bench_number(const char *name, const char *text, double least, double most)
{
    char *end;
    double value = text ? strtod(text, &end) : 0;
    if (text == NULL || *text == 0 || *end || !(value >= least && value <= most))
        bench_die("%s takes a number from %g to %g", name, least, most);
    return value;
}

bool bench_option_read(const bench_option *known, size_t count, char **arguments, int *at)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(arguments[*at], known[i].name) != 0) continue;
        *known[i].value = bench_number(known[i].name, arguments[*at + 1], known[i].least, known[i].most);
        ++*at;
        return true;
    }
    return false;
}

void *bench_take(size_t size)
{
    size = (size + 63) / 64 * 64;
    void *memory = aligned_alloc(64, size ? size : 64);
    if (memory == NULL) bench_die("no memory for %zu bytes", size);
    memset(memory, 0, size);
    return memory;
}

/* --------------------------------------------------------------------------------------------- progress -- */

static struct {
    char what[96];
    uint64_t began_ns, shown_ns;
    bool open;  /* a line stands on the terminal without its newline */
    bool ended; /* its 100% has been shown */
} progress;

void bench_progress(const char *what, double done, double total)
{
    uint64_t now = bench_now_ns();
    bool terminal = isatty(STDERR_FILENO), ended = total > 0 && done >= total;
    if (strcmp(what, progress.what) != 0) {
        bench_progress_end();
        snprintf(progress.what, sizeof progress.what, "%s", what);
        progress.ended = false;
        progress.began_ns = now;
        progress.shown_ns = terminal ? 0 : now;
    }
    if (progress.ended) return;
    progress.ended = ended;
    if (!ended && now - progress.shown_ns < (terminal ? 100000000u : 3000000000u)) return;
    progress.shown_ns = now;
    double spent = (double)(now - progress.began_ns) / 1e9;
    fprintf(stderr, "%s%-44s", terminal ? "\r\033[K" : "", what);
    if (total > 0) fprintf(stderr, " %5.1f%%", 100 * fmin(1, done / total));
    if (total > 0 && !ended && done > 0) fprintf(stderr, ", %.0f s left", ceil(spent * (total - done) / done));
    if (ended) fprintf(stderr, " in %.1f s", spent);
    if (!terminal) fputc('\n', stderr);
    progress.open = terminal;
    fflush(stderr);
    if (ended) bench_progress_end();
}

void bench_progress_end(void)
{
    if (progress.open) fputc('\n', stderr);
    progress.open = false;
}

/* ------------------------------------------------------------------------------------------------- JSON -- */

static void quote(FILE *file, const char *text)
{
    fputc('"', file);
    for (const char *at = text; *at; at++) {
        if (*at == '"' || *at == '\\') fputc('\\', file);
        if ((unsigned char)*at < 0x20) fprintf(file, "\\u%04x", (unsigned)*at);
        else fputc(*at, file);
    }
    fputc('"', file);
}

static void before_value(bench_json *json, const char *key)
{
    if (!json->first && json->depth > 0) fputc(',', json->file);
    if (json->depth > 0 && !json->flat) fprintf(json->file, "\n%*s", json->depth * 2, "");
    else if (!json->first) fputc(' ', json->file);
    json->first = false;
    if (key == NULL) return;
    quote(json->file, key);
    fputs(": ", json->file);
}

static void open_bracket(bench_json *json, const char *key, char bracket)
{
    before_value(json, key);
    fputc(bracket, json->file);
    json->depth++;
    json->first = true;
}

void bench_json_object(bench_json *json, const char *key) { open_bracket(json, key, '{'); }
void bench_json_array(bench_json *json, const char *key) { open_bracket(json, key, '['); }

void bench_json_row(bench_json *json, const char *key)
{
    open_bracket(json, key, '[');
    json->flat = true;
}

void bench_json_end(bench_json *json, char bracket)
{
    json->depth--;
    if (!json->flat && !json->first) fprintf(json->file, "\n%*s", json->depth * 2, "");
    fputc(bracket, json->file);
    json->flat = false;
    json->first = false;
    if (json->depth == 0) fputc('\n', json->file);
}

void bench_json_number(bench_json *json, const char *key, double value)
{
    before_value(json, key);
    if (!isfinite(value)) fputs("null", json->file);
    else if (value == floor(value) && fabs(value) < 1e15) fprintf(json->file, "%.0f", value);
    else fprintf(json->file, "%.6g", value);
}

void bench_json_text(bench_json *json, const char *key, const char *value)
{
    before_value(json, key);
    quote(json->file, value);
}

void bench_json_flag(bench_json *json, const char *key, bool value)
{
    before_value(json, key);
    fputs(value ? "true" : "false", json->file);
}

static void curve_point(bench_json *json, const bench_histogram *histogram, double quantile)
{
    bench_json_row(json, NULL);
    bench_json_number(json, NULL, quantile);
    bench_json_number(json, NULL, bench_histogram_quantile(histogram, quantile));
    bench_json_end(json, ']');
}

void bench_json_histogram(bench_json *json, const char *key, const bench_histogram *histogram, bool curve)
{
    static const struct {
        const char *name;
        double quantile;
    } usual[] = {{"p50_ns", 0.5}, {"p90_ns", 0.9}, {"p99_ns", 0.99}, {"p999_ns", 0.999}, {"p9999_ns", 0.9999}};
    bench_json_object(json, key);
    bench_json_number(json, "count", (double)histogram->count);
    bench_json_number(json, "mean_ns", bench_histogram_mean(histogram));
    bench_json_number(json, "min_ns", histogram->count ? (double)histogram->min_ns : 0);
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        bench_json_number(json, usual[i].name, bench_histogram_quantile(histogram, usual[i].quantile));
    bench_json_number(json, "max_ns", (double)histogram->max_ns);
    if (curve) {
        /* Even steps below, then 20 to each further nine, as far as there are ten values beyond. */
        bench_json_array(json, "curve");
        for (int i = 0; i < 45; i++) curve_point(json, histogram, i / 50.0);
        for (double rest = 0.1; rest > 1e-7 && rest * (double)histogram->count >= 10; rest *= pow(10, -1 / 20.0))
            curve_point(json, histogram, 1 - rest);
        bench_json_end(json, ']');
    }
    bench_json_end(json, '}');
}

/* ---------------------------------------------------------------------------------------------- machine -- */

static void processor(char *name, size_t size)
{
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(name, size, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        const char *value = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (value == NULL) continue;
        snprintf(name, size, "%s", value + 2);
        name[strcspn(name, "\n")] = 0;
        break;
    }
    if (file) fclose(file);
}

void bench_json_machine(bench_json *json, const char *server_version)
{
    struct utsname kernel;
    char name[256];
    processor(name, sizeof name);
    uname(&kernel);
    bench_json_object(json, "machine");
    bench_json_text(json, "processor", name);
    bench_json_number(json, "cores", (double)sysconf(_SC_NPROCESSORS_ONLN));
    bench_json_number(json, "cache_l2_bytes", (double)sysconf(_SC_LEVEL2_CACHE_SIZE));
    bench_json_number(json, "cache_l3_bytes", (double)sysconf(_SC_LEVEL3_CACHE_SIZE));
    bench_json_number(json, "memory_bytes", (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE));
    bench_json_text(json, "kernel", kernel.release);
    bench_json_text(json, "architecture", kernel.machine);
#if defined(__clang__)
    bench_json_text(json, "compiler", __VERSION__);
#else
    bench_json_text(json, "compiler", "gcc " __VERSION__);
#endif
    bench_json_text(json, "build", BENCH_BUILD);
    bench_json_text(json, "hiredis", BENCH_HIREDIS);
    bench_json_text(json, "libsodium", BENCH_SODIUM);
    bench_json_text(json, "xxhash", BENCH_XXHASH);
    bench_json_text(json, "redis", server_version);
    bench_json_end(json, '}');
}

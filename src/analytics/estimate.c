/* See estimate.h. */
#include "analytics/estimate.h"

#include <stdlib.h>
#include <string.h>

static const int64_t spans_ms[LATCHKEY_SPANS] = LATCHKEY_SPANS_MS;

static uint64_t rounded(double value) { return value > 0 ? (uint64_t)(value + 0.5) : 0; }

/* Newton's method: no need to link libm for this. */
static double root(double value)
{
    double r = 1;
    for (int i = 0; i < 60; i++) r = (r + value / r) / 2;
    return r;
}

void lk_estimate_live(uint64_t indexed, uint64_t looked_at, uint64_t living, latchkey_population *population)
{
    double share = looked_at ? (double)living / (double)looked_at : 0;
    population->sessions = population->exact ? living : rounded((double)indexed * share);
    if (population->exact || !looked_at) return;
    /* Wilson 1927: it holds also if all of them were alive, or none. */
    double z = 1.96, n = (double)looked_at;
    double half = z / (1 + z * z / n) * root(share * (1 - share) / n + z * z / (4 * n * n));
    population->sessions_margin = (uint64_t)((double)indexed * half) + 1;
}

/* ------------------------------------------------------------------------------------------------ quantiles -- */

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* By the nearest rank. */
static int64_t sorted_quantile(const int64_t *sorted, size_t count, unsigned percent)
{
    return count ? sorted[(count * percent + 99) / 100 - 1] : 0;
}

static double mean(const int64_t *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)values[i];
    return count ? sum / (double)count : 0;
}

/* The last span has no end. */
static void spread(const int64_t *values, size_t count, double scale, uint64_t span[LATCHKEY_SPANS])
{
    size_t in[LATCHKEY_SPANS] = {0};
    for (size_t i = 0; i < count; i++) {
        size_t s = 0;
        while (s + 1 < LATCHKEY_SPANS && values[i] >= spans_ms[s]) s++;
        in[s]++;
    }
    for (size_t s = 0; s < LATCHKEY_SPANS; s++) span[s] = rounded((double)in[s] * scale);
}

/* ------------------------------------------------------------------------------------------------- devices -- */

static int by_device(const void *a, const void *b)
{
    const lk_sight *x = a, *y = b;
    return (x->device > y->device) - (x->device < y->device);
}

static void keep_largest(latchkey_population *population, latchkey_device_count found)
{
    size_t at = LATCHKEY_SAMPLE_DEVICES;
    while (at && population->device[at - 1].sessions < found.sessions) at--;
    if (at == LATCHKEY_SAMPLE_DEVICES) return;
    memmove(&population->device[at + 1], &population->device[at], (LATCHKEY_SAMPLE_DEVICES - at - 1) * sizeof found);
    population->device[at] = found;
}

static void count_devices(lk_sight *sights, size_t count, double scale, latchkey_population *population)
{
    if (count) qsort(sights, count, sizeof *sights, by_device);
    for (size_t i = 0, same; i < count; i += same) {
        for (same = 1; i + same < count && sights[i + same].device == sights[i].device;) same++;
        population->devices++;
        keep_largest(population,
                     (latchkey_device_count){.device = sights[i].device, .sessions = rounded((double)same * scale)});
    }
}

/* -------------------------------------------------------------------------------------------------- sights -- */

static void copy(const lk_sight *sights, size_t count, size_t offset, int64_t *values)
{
    for (size_t i = 0; i < count; i++) memcpy(&values[i], (const char *)&sights[i] + offset, sizeof *values);
    if (count) qsort(values, count, sizeof *values, ascending);
}

void lk_estimate_sights(lk_sight *sights, size_t count, double scale, latchkey_population *population)
{
    int64_t *values = count ? malloc(count * sizeof *values) : NULL;
    if (!values) return;
    copy(sights, count, offsetof(lk_sight, age_ms), values);
    population->age_mean_ms = (int64_t)mean(values, count);
    population->age_p50_ms = sorted_quantile(values, count, 50);
    population->age_p99_ms = sorted_quantile(values, count, 99);
    spread(values, count, scale, population->age);
    copy(sights, count, offsetof(lk_sight, used_ms), values);
    population->used_mean_ms = (int64_t)mean(values, count);
    copy(sights, count, offsetof(lk_sight, idle_ms), values);
    population->idle_mean_ms = (int64_t)mean(values, count);
    population->idle_p50_ms = sorted_quantile(values, count, 50);
    population->idle_p99_ms = sorted_quantile(values, count, 99);
    spread(values, count, scale, population->idle);
    free(values);
    double users = 0;
    for (size_t i = 0; i < count; i++) users += sights[i].of_user;
    population->users = rounded(users * scale);
    count_devices(sights, count, scale, population);
}

int64_t lk_estimate_duration(const lk_sight *sights, size_t count, int64_t window_ms)
{
    enum { ENOUGH = 30 };
    size_t young = 0, old = 0;
    for (size_t i = 0; i < count; i++) {
        young += sights[i].age_ms < window_ms;
        old += sights[i].age_ms >= 2 * window_ms;
    }
    return young >= ENOUGH && old ? (int64_t)((double)count / (double)young * (double)window_ms) : 0;
}

/* ------------------------------------------------------------------------------------------------- weights -- */

static size_t column(const lk_weight *weights, size_t count, size_t offset, int64_t *values)
{
    size_t known = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&weights[i] + offset, sizeof value);
        if (value) values[known++] = (int64_t)value;
    }
    if (known) qsort(values, known, sizeof *values, ascending);
    return known;
}

void lk_estimate_weights(const lk_weight *weights, size_t count, latchkey_population *p)
{
    int64_t *values = count ? malloc(count * sizeof *values) : NULL;
    if (!values) return;
    p->sized = count;
    size_t known = column(weights, count, offsetof(lk_weight, record_bytes), values);
    p->record_p50_bytes = (uint64_t)sorted_quantile(values, known, 50);
    known = column(weights, count, offsetof(lk_weight, session_bytes), values);
    p->session_p50_bytes = (uint64_t)sorted_quantile(values, known, 50);
    p->session_p99_bytes = (uint64_t)sorted_quantile(values, known, 99);
    known = column(weights, count, offsetof(lk_weight, redis_bytes), values);
    p->redis_p50_bytes = (uint64_t)sorted_quantile(values, known, 50);
    p->redis_p99_bytes = (uint64_t)sorted_quantile(values, known, 99);
    p->redis_mean_bytes = (uint64_t)mean(values, known);
    for (size_t i = 0; i < count; i++) values[i] = (int64_t)weights[i].fields; /* none is a number, too */
    qsort(values, count, sizeof *values, ascending);
    p->fields_p50 = (uint64_t)sorted_quantile(values, count, 50);
    p->fields_p99 = (uint64_t)sorted_quantile(values, count, 99);
    free(values);
}

/* SPDX-License-Identifier: MIT
 *
 * Clock, random numbers, Zipf and the histogram. See harness.h.
 */
#include "harness.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

/* ------------------------------------------------------------------------------------------------ clock -- */

uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void bench_sleep_until_ns(uint64_t when_ns)
{
    struct timespec when = {.tv_sec = (time_t)(when_ns / 1000000000u), .tv_nsec = (long)(when_ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR) continue;
}

/* ----------------------------------------------------------------------------------------------- random -- */

uint64_t bench_mix(uint64_t value)
{
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

void bench_random_seed(bench_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) random->state[i] = bench_mix(seed + (uint64_t)i * 0x9e3779b97f4a7c15u);
}

static uint64_t rotate(uint64_t value, int by) { return value << by | value >> (64 - by); }

uint64_t bench_random_next(bench_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3];
    s[2] ^= t, s[3] = rotate(s[3], 45);
    return result;
}

/* High half of a product instead of a remainder: no division, and a bias below 2^-32 that no figure here can show. */
uint64_t bench_random_below(bench_random *random, uint64_t bound)
{
    return (bench_random_next(random) >> 32) * bound >> 32;
}

double bench_random_unit(bench_random *random) { return (double)(bench_random_next(random) >> 11) * 0x1p-53; }

double bench_random_exponential(bench_random *random, double mean) { return -log1p(-bench_random_unit(random)) * mean; }

void bench_random_shuffle(bench_random *random, uint32_t *numbers, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t other = bench_random_below(random, i);
        uint32_t kept = numbers[i - 1];
        numbers[i - 1] = numbers[other];
        numbers[other] = kept;
    }
}

/* ------------------------------------------------------------------------------------------------- zipf -- */

/* The paper's H(x), the integral of the weight x^-exponent, and its inverse, in the forms that stay exact where the
 * exponent is near 1: expm1(x)/x and log1p(x)/x, by their series around 0. */
static double expm1_over(double x) { return fabs(x) > 1e-8 ? expm1(x) / x : 1 + x / 2; }
static double log1p_over(double x) { return fabs(x) > 1e-8 ? log1p(x) / x : 1 - x / 2; }

static double weight(double exponent, double x) { return exp(-exponent * log(x)); }
static double integral(double exponent, double x) { return expm1_over((1 - exponent) * log(x)) * log(x); }

static double inverse(double exponent, double y)
{
    double t = y * (1 - exponent);
    if (t < -1) t = -1; /* rounding at the far end */
    return exp(log1p_over(t) * y);
}

void bench_zipf_init(bench_zipf *zipf, uint64_t items, double exponent)
{
    zipf->items = items;
    zipf->exponent = exponent;
    zipf->h_first = integral(exponent, 1.5) - 1;
    zipf->h_last = integral(exponent, (double)items + 0.5);
    zipf->shortcut = 2 - inverse(exponent, integral(exponent, 2.5) - weight(exponent, 2));
}

uint64_t bench_zipf_next(const bench_zipf *zipf, bench_random *random)
{
    for (;;) {
        double u = zipf->h_last + bench_random_unit(random) * (zipf->h_first - zipf->h_last);
        double x = inverse(zipf->exponent, u);
        double k = floor(x + 0.5);
        if (k < 1) k = 1;
        if (k > (double)zipf->items) k = (double)zipf->items;
        if (k - x <= zipf->shortcut || u >= integral(zipf->exponent, k + 0.5) - weight(zipf->exponent, k))
            return (uint64_t)k - 1;
    }
}

double bench_zipf_top_share(uint64_t items, double exponent, uint64_t top)
{
    double all = 0, part = 0;
    for (uint64_t k = 1; k <= items; k++) {
        if (k == top + 1) part = all;
        all += pow((double)k, -exponent);
    }
    return top >= items ? 1 : part / all;
}

/* -------------------------------------------------------------------------------------------- histogram -- */

/* Where a value lies: below 256 in a bucket of its own; above, its top eight bits and how far they were shifted. */
static size_t bucket_of(uint64_t value)
{
    if (value > (uint64_t)1 << 42) value = (uint64_t)1 << 42;
    if (value < 256) return (size_t)value;
    int shift = 63 - __builtin_clzll(value) - 7;
    size_t bucket = (size_t)shift * 128 + (size_t)(value >> shift);
    return bucket < BENCH_HISTOGRAM_BUCKETS ? bucket : BENCH_HISTOGRAM_BUCKETS - 1;
}

/* The middle of a bucket. */
static double value_of(size_t bucket)
{
    if (bucket < 256) return (double)bucket;
    size_t shift = bucket / 128 - 1;
    return ldexp((double)(bucket - shift * 128) + 0.5, (int)shift);
}

void bench_histogram_clear(bench_histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
    histogram->min_ns = UINT64_MAX;
}

void bench_histogram_add(bench_histogram *histogram, uint64_t value_ns)
{
    histogram->count++;
    histogram->sum_ns += value_ns;
    if (value_ns < histogram->min_ns) histogram->min_ns = value_ns;
    if (value_ns > histogram->max_ns) histogram->max_ns = value_ns;
    histogram->buckets[bucket_of(value_ns)]++;
}

void bench_histogram_merge(bench_histogram *into, const bench_histogram *from)
{
    into->count += from->count;
    into->sum_ns += from->sum_ns;
    if (from->min_ns < into->min_ns) into->min_ns = from->min_ns;
    if (from->max_ns > into->max_ns) into->max_ns = from->max_ns;
    for (size_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) into->buckets[i] += from->buckets[i];
}

double bench_histogram_quantile(const bench_histogram *histogram, double quantile)
{
    uint64_t wanted = (uint64_t)ceil(quantile * (double)histogram->count), seen = 0;
    if (histogram->count == 0) return 0;
    if (wanted < 1) return (double)histogram->min_ns;
    if (wanted >= histogram->count) return (double)histogram->max_ns;
    for (size_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted) return value_of(i);
    }
    return (double)histogram->max_ns;
}

double bench_histogram_mean(const bench_histogram *histogram)
{
    return histogram->count ? (double)histogram->sum_ns / (double)histogram->count : 0;
}

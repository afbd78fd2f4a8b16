/* See beat_stats.h. */
#include "observe/beat_stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 13 digits: three hundred years in milliseconds, or a year of 300,000 a second */
#define NUMBER_MOST INT64_C(9999999999999)

static const struct {
    const char *name;
    size_t offset;
} numbers[] = {
    {"db", offsetof(lk_beat_stats, database)},     {"up", offsetof(lk_beat_stats, uptime_ms)},
    {"hit", offsetof(lk_beat_stats, hits)},        {"miss", offsetof(lk_beat_stats, misses)},
    {"no", offsetof(lk_beat_stats, refused)},      {"rd", offsetof(lk_beat_stats, reads)},
    {"wr", offsetof(lk_beat_stats, writes)},       {"err", offsetof(lk_beat_stats, errors)},
    {"shed", offsetof(lk_beat_stats, shed)},       {"fly", offsetof(lk_beat_stats, in_flight)},
    {"r50", offsetof(lk_beat_stats, read_p50_us)}, {"r99", offsetof(lk_beat_stats, read_p99_us)},
    {"rev", offsetof(lk_beat_stats, purges)},      {"g50", offsetof(lk_beat_stats, lag_p50_us)},
    {"g99", offsetof(lk_beat_stats, lag_p99_us)},  {"age", offsetof(lk_beat_stats, lease_age_ms)},
    {"l1", offsetof(lk_beat_stats, entries)},      {"cap", offsetof(lk_beat_stats, capacity)},
    {"re", offsetof(lk_beat_stats, reconnects)},   {"pend", offsetof(lk_beat_stats, pending)},
};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

static int64_t *at(lk_beat_stats *pulse, size_t i) { return (int64_t *)(void *)((char *)pulse + numbers[i].offset); }

/* Zeros are left out, and so are numbers at the end for which there is no more room: the first ones matter most. */
size_t lk_beat_stats_write(const lk_beat_stats *pulse, char text[LK_BEAT_STATS_SIZE])
{
    lk_beat_stats copy = *pulse;
    size_t used = (size_t)snprintf(text, LK_BEAT_STATS_SIZE, "v=%.15s", pulse->version);
    for (size_t i = 0; i < NUMBERS; i++) {
        int64_t value = *at(&copy, i);
        if (!value) continue;
        if (value > NUMBER_MOST) value = NUMBER_MOST;
        char word[32];
        size_t size = (size_t)snprintf(word, sizeof word, " %s=%" PRId64, numbers[i].name, value < 0 ? -1 : value);
        if (used + size >= LK_BEAT_STATS_SIZE) break;
        memcpy(text + used, word, size + 1);
        used += size;
    }
    return used;
}

static bool take_version(const char *value, size_t length, lk_beat_stats *pulse)
{
    if (!length || length >= sizeof pulse->version || strspn(value, "0123456789.") < length) return false;
    memcpy(pulse->version, value, length);
    return true;
}

static bool take_number(const char *name, size_t name_length, const char *value, size_t length, lk_beat_stats *pulse)
{
    size_t sign = *value == '-';
    if (length == sign || length - sign > 13 || strspn(value + sign, "0123456789") < length - sign) return false;
    for (size_t i = 0; i < NUMBERS; i++)
        if (strlen(numbers[i].name) == name_length && memcmp(numbers[i].name, name, name_length) == 0)
            *at(pulse, i) = sign ? -1 : strtoll(value, NULL, 10);
    return true; /* also if a newer version says more */
}

bool lk_beat_stats_read(const char *text, lk_beat_stats *pulse)
{
    memset(pulse, 0, sizeof *pulse);
    bool good = true;
    for (text += strspn(text, " "); good && *text; text += strspn(text, " ")) {
        size_t size = strcspn(text, " "), name = strcspn(text, "= ");
        const char *value = text + name + 1;
        if (name >= size) good = false;
        else if (name == 1 && *text == 'v') good = take_version(value, size - name - 1, pulse);
        else good = take_number(text, name, value, size - name - 1, pulse);
        text += size;
    }
    good = good && pulse->version[0];
    if (!good) memset(pulse, 0, sizeof *pulse);
    return good;
}

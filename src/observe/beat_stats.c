/* See beat_stats.h. */
#include "observe/beat_stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MOST INT64_C(9999999999999) /* 13 digits: three hundred years in ms, a year of 300,000 a second */

static const struct {
    const char *name;
    size_t offset;
} numbers[] = {
    {"up", offsetof(lk_pulse, uptime_ms)},     {"hit", offsetof(lk_pulse, hits)},
    {"miss", offsetof(lk_pulse, misses)},      {"no", offsetof(lk_pulse, refused)},
    {"rd", offsetof(lk_pulse, reads)},         {"wr", offsetof(lk_pulse, writes)},
    {"err", offsetof(lk_pulse, errors)},       {"shed", offsetof(lk_pulse, shed)},
    {"fly", offsetof(lk_pulse, in_flight)},    {"r50", offsetof(lk_pulse, read_p50_us)},
    {"r99", offsetof(lk_pulse, read_p99_us)},  {"rev", offsetof(lk_pulse, purges)},
    {"g50", offsetof(lk_pulse, lag_p50_us)},   {"g99", offsetof(lk_pulse, lag_p99_us)},
    {"age", offsetof(lk_pulse, lease_age_ms)}, {"l1", offsetof(lk_pulse, entries)},
    {"cap", offsetof(lk_pulse, capacity)},     {"re", offsetof(lk_pulse, reconnects)},
    {"pend", offsetof(lk_pulse, pending)},
};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

static int64_t *at(lk_pulse *pulse, size_t i) { return (int64_t *)(void *)((char *)pulse + numbers[i].offset); }

/* Zeros are left out, as is what would not fit any more: the first ones matter most. */
size_t lk_pulse_write(const lk_pulse *pulse, char text[LK_PULSE_SIZE])
{
    lk_pulse copy = *pulse;
    size_t used = (size_t)snprintf(text, LK_PULSE_SIZE, "v=%.15s", pulse->version);
    for (size_t i = 0; i < NUMBERS; i++) {
        int64_t value = *at(&copy, i);
        if (!value) continue;
        if (value > NUMBER_MOST) value = NUMBER_MOST;
        char word[32];
        size_t size = (size_t)snprintf(word, sizeof word, " %s=%" PRId64, numbers[i].name, value < 0 ? -1 : value);
        if (used + size >= LK_PULSE_SIZE) break;
        memcpy(text + used, word, size + 1);
        used += size;
    }
    return used;
}

static bool take_version(const char *value, size_t length, lk_pulse *pulse)
{
    if (!length || length >= sizeof pulse->version || strspn(value, "0123456789.") < length) return false;
    memcpy(pulse->version, value, length);
    return true;
}

static bool take_number(const char *name, size_t name_length, const char *value, size_t length, lk_pulse *pulse)
{
    size_t sign = *value == '-';
    if (length == sign || length - sign > 13 || strspn(value + sign, "0123456789") < length - sign) return false;
    for (size_t i = 0; i < NUMBERS; i++)
        if (strlen(numbers[i].name) == name_length && memcmp(numbers[i].name, name, name_length) == 0)
            *at(pulse, i) = sign ? -1 : strtoll(value, NULL, 10);
    return true; /* also where a newer version says more */
}

bool lk_pulse_read(const char *text, lk_pulse *pulse)
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

/* See beat_stats.h. */
#include "observe/beat_stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 13 digits: three hundred years in milliseconds, or a year of 300,000 a second */
#define NUMBER_MOST INT64_C(9999999999999)

#define NUMBER(field, word, json, total) {word, json, offsetof(lk_beat_stats, field), LK_BEAT_##total},
const lk_beat_number lk_beat_numbers[] = {LK_BEAT_NUMBERS(NUMBER)};
enum { NUMBERS = sizeof lk_beat_numbers / sizeof *lk_beat_numbers };
const size_t lk_beat_number_count = NUMBERS;

/* They are shown on terminals: nothing else may stand in them. */
#define WORD "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-"
enum { WORD_MOST = 32, PARTITION_MOST = 4095 };

static size_t write_word(char text[LK_BEAT_STATS_SIZE], size_t used, const char *name, const char *value)
{
    size_t length = strnlen(value, WORD_MOST);
    if (!length) return used;
    int size = snprintf(text + used, LK_BEAT_STATS_SIZE - used, " %s=%.*s", name, (int)length, value);
    char *from = text + used + strlen(name) + 2;
    for (char *c = from; *c; c++)
        if (!strchr(WORD, *c)) *c = '-';
    return used + (size_t)size;
}

/* False: there is no more room. */
static bool write_number(char text[LK_BEAT_STATS_SIZE], size_t *used, const char *name, int64_t value)
{
    char word[48];
    if (value > NUMBER_MOST) value = NUMBER_MOST;
    size_t size = (size_t)snprintf(word, sizeof word, " %s=%" PRId64, name, value < 0 ? -1 : value);
    if (*used + size >= LK_BEAT_STATS_SIZE) return false;
    memcpy(text + *used, word, size + 1);
    *used += size;
    return true;
}

/* Zeros are left out, and so are numbers at the end for which there is no more room: the first ones matter most. */
size_t lk_beat_stats_write(const lk_beat_stats *stats, char text[LK_BEAT_STATS_SIZE])
{
    bool room = true;
    lk_beat_stats copy = *stats;
    size_t used = (size_t)snprintf(text, LK_BEAT_STATS_SIZE, "v=%.15s", stats->version);
    used = write_word(text, used, "host", stats->host);
    used = write_word(text, used, "name", stats->name);
    for (size_t i = 0; room && i < NUMBERS; i++) {
        int64_t value = *lk_beat_number_of(&copy, &lk_beat_numbers[i]);
        room = !value || write_number(text, &used, lk_beat_numbers[i].word, value);
    }
    for (size_t i = 0; room && i < stats->nodes; i++) {
        char name[24];
        snprintf(name, sizeof name, "n%" PRId64, stats->node[i].partition);
        room = write_number(text, &used, name, stats->node[i].lease_age_ms);
    }
    return used;
}

static bool take_version(const char *value, size_t length, lk_beat_stats *stats)
{
    if (!length || length >= sizeof stats->version || strspn(value, "0123456789.") < length) return false;
    memcpy(stats->version, value, length);
    return true;
}

/* Is it this word? Then it is taken, or nonsense (*good). */
static bool take_word(const char *word, const char *name, const char *value, size_t length, char out[40], bool *good)
{
    if (strncmp(word, name, strlen(name)) != 0 || word[strlen(name)] != '=') return false;
    *good = length && length <= WORD_MOST && strspn(value, WORD) >= length;
    if (*good) memcpy(out, value, length);
    return true;
}

/* n<partition>=<age> */
static void take_lease(const char *name, size_t name_length, int64_t age_ms, lk_beat_stats *stats)
{
    size_t i = 0;
    if (name_length < 2 || name_length > 5 || *name != 'n' || strspn(name + 1, "0123456789") != name_length - 1) return;
    int64_t partition = strtoll(name + 1, NULL, 10);
    while (i < stats->nodes && stats->node[i].partition != partition) i++;
    if (partition > PARTITION_MOST || i == LK_BEAT_NODES) return;
    stats->node[i] = (lk_beat_node){partition, age_ms};
    if (i == stats->nodes) stats->nodes++;
}

static bool take_beat_number(const char *name, size_t name_length, const char *value, size_t length,
                             lk_beat_stats *stats)
{
    size_t sign = *value == '-';
    if (length == sign || length - sign > 13 || strspn(value + sign, "0123456789") < length - sign) return false;
    int64_t number = sign ? -1 : strtoll(value, NULL, 10);
    for (size_t i = 0; i < NUMBERS; i++)
        if (strlen(lk_beat_numbers[i].word) == name_length && memcmp(lk_beat_numbers[i].word, name, name_length) == 0)
            *lk_beat_number_of(stats, &lk_beat_numbers[i]) = number;
    take_lease(name, name_length, number, stats);
    return true; /* also if a newer version says more */
}

bool lk_beat_stats_read(const char *text, lk_beat_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    bool good = true;
    for (text += strspn(text, " "); good && *text; text += strspn(text, " ")) {
        size_t size = strcspn(text, " "), name = strcspn(text, "= ");
        const char *value = text + name + 1;
        if (name >= size) good = false;
        else if (name == 1 && *text == 'v') good = take_version(value, size - name - 1, stats);
        else if (!take_word(text, "host", value, size - name - 1, stats->host, &good) &&
                 !take_word(text, "name", value, size - name - 1, stats->name, &good))
            good = take_beat_number(text, name, value, size - name - 1, stats);
        text += size;
    }
    good = good && stats->version[0];
    if (!good) memset(stats, 0, sizeof *stats);
    return good;
}

/* SPDX-License-Identifier: MIT
 *
 * See buffer.h.
 */
#include "buffer.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ------------------------------------------------------------------------------------------------ words -- */

bool word_is(word w, const char *text) { return !strcasecmp(w.text, text); }

bool word_integer(word w, int64_t *out)
{
    char *end;
    errno = 0;
    if (!w.size || w.size > 20 || strspn(w.text, "-0123456789") != w.size) return false;
    *out = strtoll(w.text, &end, 10);
    return !*end && !errno;
}

bool word_score(word w, double *out, bool *apart)
{
    const char *text = w.text;
    char *end;
    if (apart) *apart = *text == '(';
    text += apart && *text == '(';
    if (!*text || *text == ' ') return false;
    *out = strtod(text, &end);
    return !*end && !isnan(*out);
}

/* ---------------------------------------------------------------------------------------------- buffers -- */

void buffer_add(buffer *b, const void *bytes, size_t size)
{
    if (b->size + size > b->room) {
        while (b->room < b->size + size) b->room = b->room ? 2 * b->room : 256;
        b->bytes = realloc(b->bytes, b->room);
        if (!b->bytes) abort();
    }
    if (size) memcpy(b->bytes + b->size, bytes, size);
    b->size += size;
}

void buffer_print(buffer *b, const char *format, ...)
{
    char text[512];
    va_list list;
    va_start(list, format);
    int size = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (size < 0 || size >= (int)sizeof text) abort();
    buffer_add(b, text, (size_t)size);
}

void buffer_free(buffer *b)
{
    free(b->bytes);
    *b = (buffer){0};
}

void buffer_header(buffer *b, char type, int64_t value)
{
    char text[1 + NUMBER_ROOM + 2] = {type};
    size_t size = 1 + number_print(text + 1, value);
    memcpy(text + size, "\r\n", 2);
    buffer_add(b, text, size + 2);
}

void buffer_bulk(buffer *b, const char *text, size_t size)
{
    buffer_header(b, '$', (int64_t)size);
    buffer_add(b, text, size);
    buffer_add(b, "\r\n", 2);
}

/* ---------------------------------------------------------------------------------------------- numbers -- */

/* By hand, since printf takes most of a command's time otherwise. */
size_t number_print(char out[NUMBER_ROOM], int64_t value)
{
    char digits[NUMBER_ROOM];
    size_t count = 0, size = 0;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do digits[count++] = (char)('0' + left % 10);
    while (left /= 10);
    if (value < 0) out[size++] = '-';
    while (count) out[size++] = digits[--count];
    out[size] = 0;
    return size;
}

size_t score_print(char out[NUMBER_ROOM], double value)
{
    if (isinf(value)) return (size_t)snprintf(out, NUMBER_ROOM, value > 0 ? "inf" : "-inf");
    if (fabs(value) < 1e15 && value == (double)(int64_t)value) return number_print(out, (int64_t)value);
    return (size_t)snprintf(out, NUMBER_ROOM, "%.17g", value);
}

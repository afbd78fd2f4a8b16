/* SPDX-License-Identifier: MIT */
#include "message.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DEPTH_MAX = 8, HEAD_MAX = 512 };

static long line_length(const char *bytes, size_t size)
{
    const char *end = memchr(bytes, '\n', size);
    return end ? end - bytes + 1 : MESSAGE_NOT_WHOLE;
}

static long length_at(const char *bytes, size_t size, int depth);

static long array_length(const char *bytes, size_t size, long count, long line, int depth)
{
    long length = line;
    for (long i = 0; i < count; i++) {
        long item = length_at(bytes + length, size - (size_t)length, depth + 1);
        if (item <= 0) return item;
        length += item;
    }
    return length;
}

static long length_at(const char *bytes, size_t size, int depth)
{
    long line = line_length(bytes, size);
    if (line <= 0) return MESSAGE_NOT_WHOLE;
    if (depth > DEPTH_MAX) return MESSAGE_NOT_RESP;
    long number = strtol(bytes + 1, NULL, 10);
    switch (bytes[0]) {
    case '+':
    case '-':
    case ':': return line;
    case '$':
        if (number < 0) return line;
        return (size_t)(line + number + 2) <= size ? line + number + 2 : MESSAGE_NOT_WHOLE;
    case '*': return array_length(bytes, size, number, line, depth);
    default: return depth ? MESSAGE_NOT_RESP : line;
    }
}

long message_length(const char *bytes, size_t size) { return size ? length_at(bytes, size, 0) : MESSAGE_NOT_WHOLE; }

bool message_is_push(const char *bytes, size_t size)
{
    static const char head[] = "*3\r\n$7\r\nmessage\r\n";
    return size > sizeof head && memcmp(bytes, head, sizeof head - 1) == 0;
}

bool message_is_subscribe(const char *bytes, size_t size)
{
    const char *word = memchr(bytes, '$', size < 32 ? size : 32);
    static const char head[] = "$9\r\nSUBSCRIBE\r\n";
    return word && size - (size_t)(word - bytes) >= sizeof head - 1 && strncasecmp(word, head, sizeof head - 1) == 0;
}

bool message_contains(const char *bytes, size_t size, const char *text)
{
    return memmem(bytes, size < HEAD_MAX ? size : HEAD_MAX, text, strlen(text)) != NULL;
}

/* SPDX-License-Identifier: MIT
 *
 * Words of a command, and a buffer in which a reply is written as Redis writes it (RESP2).
 */
#ifndef LATCHKEY_SIM_BUFFER_H
#define LATCHKEY_SIM_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct word {
    const char *text; /* a NUL stands behind its size */
    size_t size;
} word;

bool word_is(word w, const char *text);            /* in either case, as command names and options are written */
bool word_integer(word w, int64_t *out);           /* false: it is no integer of 64 bits */
bool word_score(word w, double *out, bool *apart); /* apart: it begins with "(", so it is excluded itself; or NULL */

typedef struct buffer {
    char *bytes;
    size_t size, room;
} buffer;
void buffer_add(buffer *b, const void *bytes, size_t size);
void buffer_print(buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buffer_free(buffer *b);

/* RESP2. */
void buffer_bulk(buffer *b, const char *text, size_t size); /* "$5\r\n.....\r\n" */
void buffer_header(buffer *b, char type, int64_t value);    /* ":5\r\n", "*5\r\n" */

/* A number as Redis prints it. Returns its length. */
enum { NUMBER_ROOM = 32 };
size_t number_print(char out[NUMBER_ROOM], int64_t value);
size_t score_print(char out[NUMBER_ROOM], double value);

#endif

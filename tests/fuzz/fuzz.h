/* SPDX-License-Identifier: MIT
 *
 * What every fuzz target includes: properties that end the program, and input taken piece by piece.
 */
#ifndef LATCHKEY_TESTS_FUZZ_H
#define LATCHKEY_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert it holds in every kind of build. libFuzzer writes the input to a file when the program aborts. */
#define HOLDS(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

typedef struct fuzz_input {
    const uint8_t *at;
    size_t left;
} fuzz_input;

static inline uint8_t fuzz_byte(fuzz_input *in) /* 0 where nothing is left */
{
    if (!in->left) return 0;
    in->left--;
    return *in->at++;
}

/* At most `most` bytes, in memory that ends where they end and with a NUL behind them; to be freed. */
static inline char *fuzz_text(fuzz_input *in, size_t most, size_t *size)
{
    *size = in->left < most ? in->left : most;
    char *text = malloc(*size + 1);
    if (!text) abort();
    if (*size) memcpy(text, in->at, *size);
    text[*size] = 0;
    in->at += *size;
    in->left -= *size;
    return text;
}

/* Error texts reach logs and terminals: there is one, it ends, and it holds no control characters. */
static inline void fuzz_check_text(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    HOLDS(length && length < size);
    for (size_t i = 0; i < length; i++) HOLDS((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
}

#endif

/* Letters, whatever the process' locale is: in the Turkish one, 'i' is not the small letter of 'I'. */
#ifndef LK_BASE_LETTERS_H
#define LK_BASE_LETTERS_H

#include <stdbool.h>
#include <stddef.h>

static inline char lk_small_letter(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* Are so many bytes the same but for capitals? Both texts may end sooner. */
static inline bool lk_same_letters(const char *a, const char *b, size_t size)
{
    size_t i = 0;
    while (i < size && a[i] && lk_small_letter(a[i]) == lk_small_letter(b[i])) i++;
    return i == size || (!a[i] && !b[i]);
}

#endif

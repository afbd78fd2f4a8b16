/* Public structs that begin with their size, so that they can grow at the end. A program that was built with an older
 * header passes a shorter one, a program that was built with a newer header a longer one. */
#ifndef LK_BASE_SIZED_H
#define LK_BASE_SIZED_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Copies the part that this library knows, with zeros for what a shorter struct lacks. False: `given` is NULL, or
 * shorter than the first version (`first` bytes), or longer than ours (`known` bytes) with something set there, which
 * we would ignore. */
static inline bool lk_take_sized(void *copy, size_t known, size_t first, const void *given)
{
    size_t size;
    if (!given) return false;
    memcpy(&size, given, sizeof size);
    if (size < first || size > known + 4096) return false;
    const unsigned char *bytes = given;
    for (size_t i = known; i < size; i++)
        if (bytes[i]) return false;
    memset(copy, 0, known);
    memcpy(copy, given, size < known ? size : known);
    memcpy(copy, &known, sizeof known);
    return true;
}

#endif

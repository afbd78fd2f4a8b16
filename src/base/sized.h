/* Public structs that begin with their size, so that they can grow at the end: a program that was built with an older header
 * passes a shorter one, one that was built with a newer header a longer one. */
#ifndef LK_BASE_SIZED_H
#define LK_BASE_SIZED_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Copies what is known of it, with zeros for what a shorter one lacks. False: it is shorter than its first version (`first`
 * bytes), or it is longer than ours (`known` bytes) and says something there, which we would not do. `given` may be NULL: false. */
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

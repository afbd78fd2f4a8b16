/* Memory that holds secrets: pages of its own, outside core dumps where the kernel can do that, zeroed when taken. */
#ifndef LK_BASE_SECURE_MEMORY_H
#define LK_BASE_SECURE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* `wiped`: a forked child sees zeros there (guarantee J). Starts on a huge page where it is large enough to gain from
 * one. NULL: no memory. */
void *lk_map(size_t bytes, bool wiped);
void lk_unmap(void *at, size_t bytes);
size_t lk_map_size(size_t bytes); /* what a mapping of so many bytes takes */

/* In a child, while it has one thread, before anything else looks there: zeros, where the kernel did not see to it (fork.c). */
void lk_map_forked(void);

#endif

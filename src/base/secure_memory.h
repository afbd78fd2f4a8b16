/* Memory that holds secrets: pages of its own, left out of core dumps if the kernel can do that, and zeros at first. */
#ifndef LK_BASE_SECURE_MEMORY_H
#define LK_BASE_SECURE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* `wiped`: a forked child reads zeros there (guarantee J). If it is large enough to gain from huge pages, it begins on
 * one. NULL: no memory. */
void *lk_map(size_t bytes, bool wiped);
void lk_unmap(void *at, size_t bytes);
size_t lk_map_size(size_t bytes); /* what a mapping for so many bytes takes */

/* Runs in a child, while it has one thread, before anything else reads the mappings: it puts zeros there if the kernel
 * did not (fork.c). */
void lk_map_forked(void);

#endif

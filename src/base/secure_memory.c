/* See secure_memory.h. */
#include "base/secure_memory.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, HUGE_PAGE = 2 * 1024 * 1024 };

size_t lk_map_size(size_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }

void *lk_map(size_t bytes, bool wiped)
{
    bytes = lk_map_size(bytes);
    size_t align = bytes >= 2 * (size_t)HUGE_PAGE ? HUGE_PAGE : PAGE, all = bytes + align - PAGE;
    char *at = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return NULL;
    size_t before = (align - (uintptr_t)at % align) % align;
    if (before) munmap(at, before);
    if (all - before > bytes) munmap(at + before + bytes, all - before - bytes);
    at += before;
    if (madvise(at, bytes, MADV_DONTDUMP) || (wiped && madvise(at, bytes, MADV_WIPEONFORK))) {
        munmap(at, bytes);
        return NULL;
    }
    if (align == HUGE_PAGE) madvise(at, bytes, MADV_HUGEPAGE); /* a wish: without it lookups are slower, not wrong */
    memset(at, 0, bytes);                                      /* taken now, not when it is first needed */
    return at;
}

void lk_unmap(void *at, size_t bytes)
{
    if (at) munmap(at, lk_map_size(bytes)); /* the kernel hands these pages to nobody unwiped */
}

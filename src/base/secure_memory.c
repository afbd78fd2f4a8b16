/* See secure_memory.h.
 *
 * Zeros in a child. Kernels from 4.14 on wipe pages that were marked for it (MADV_WIPEONFORK). Older ones refuse the
 * mark; systems that only look like Linux (gVisor, qemu) may accept it and do nothing. So all such mappings are in a
 * list, and there is one more page with known contents: the probe. A child reads the probe. If the probe was not wiped,
 * or a mapping's mark was refused, the child replaces that mapping with fresh pages. That takes no time, however large
 * it is.
 *
 * Lock: map_lock, for the list and the probe. It is only taken between lk_fork_enter and lk_fork_leave, so no child
 * finds it taken. */
#include "base/secure_memory.h"

#include "base/fork.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, HUGE_PAGE = 2 * 1024 * 1024 };

typedef struct wiped_map {
    char *at;
    size_t bytes;
    bool marked; /* the kernel accepted the mark */
    struct wiped_map *next;
} wiped_map;

static pthread_mutex_t map_lock = PTHREAD_MUTEX_INITIALIZER;
static wiped_map *maps;      /* guarded by map_lock, as is `probe` */
static volatile char *probe; /* 1; 0 in a child if the kernel wiped it */

size_t lk_map_size(size_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }

static char *map_pages(size_t bytes)
{
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void make_probe_locked(void)
{
    if (probe || !(probe = map_pages(PAGE))) return; /* without a probe the child takes no page for wiped */
    madvise((void *)(uintptr_t)probe, PAGE, MADV_WIPEONFORK);
    *probe = 1;
}

/* False: no memory. */
static bool list_map(char *at, size_t bytes)
{
    wiped_map *m = malloc(sizeof *m);
    if (!m) return false;
    lk_fork_enter();
    pthread_mutex_lock(&map_lock);
    make_probe_locked();
    *m = (wiped_map){at, bytes, madvise(at, bytes, MADV_WIPEONFORK) == 0, maps};
    maps = m;
    pthread_mutex_unlock(&map_lock);
    lk_fork_leave();
    return true;
}

static void unlist_map(const char *at)
{
    wiped_map *found = NULL;
    lk_fork_enter();
    pthread_mutex_lock(&map_lock);
    for (wiped_map **m = &maps; *m && !found; m = &(*m)->next) {
        if ((*m)->at != at) continue;
        found = *m;
        *m = found->next;
        break;
    }
    if (!maps && probe) { /* it goes with the last mapping, so that nothing is left behind */
        munmap((void *)(uintptr_t)probe, PAGE);
        probe = NULL;
    }
    pthread_mutex_unlock(&map_lock);
    lk_fork_leave();
    free(found);
}

void lk_map_forked(void)
{
    const int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    bool wipes = probe && !*probe;
    for (const wiped_map *m = maps; m; m = m->next) {
        if (wipes && m->marked) continue;
        if (mmap(m->at, m->bytes, PROT_READ | PROT_WRITE, how, -1, 0) == MAP_FAILED) memset(m->at, 0, m->bytes);
        madvise(m->at, m->bytes, MADV_DONTDUMP);
    }
    if (probe) *probe = 1; /* for this child's own children */
}

void *lk_map(size_t bytes, bool wiped)
{
    bytes = lk_map_size(bytes);
    size_t align = bytes >= 2 * (size_t)HUGE_PAGE ? HUGE_PAGE : PAGE, all = bytes + align - PAGE;
    char *at = map_pages(all);
    if (!at) return NULL;
    size_t before = (align - (uintptr_t)at % align) % align;
    if (before) munmap(at, before);
    if (all - before > bytes) munmap(at + before + bytes, all - before - bytes);
    at += before;
    madvise(at, bytes, MADV_DONTDUMP); /* if the kernel refuses, core dumps hold this memory */
    if (wiped && !list_map(at, bytes)) {
        munmap(at, bytes);
        return NULL;
    }
    /* only a hint: without it lookups are slower, not wrong */
    if (align == HUGE_PAGE) madvise(at, bytes, MADV_HUGEPAGE);
    memset(at, 0, bytes); /* takes the memory now, not when it is first used */
    return at;
}

void lk_unmap(void *at, size_t bytes)
{
    if (!at) return;
    unlist_map(at);
    munmap(at, lk_map_size(bytes)); /* the kernel wipes these pages before it gives them to another process */
}

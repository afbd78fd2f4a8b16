/* SPDX-License-Identifier: MIT
 *
 * See unit.h.
 */
#include "unit.h"
#include "base/crypto.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLOWER = 8 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
enum { SLOWER = 8 };
#else
enum { SLOWER = 1 };
#endif
#else
enum { SLOWER = 1 };
#endif

int unit_setup(void **state)
{
    (void)state;
    print_message("LATCHKEY_SEED=%llu\n", (unsigned long long)unit_seed());
    return !lk_crypto_init();
}

/* ------------------------------------------------------------------------------------------------ numbers -- */

uint64_t unit_seed(void)
{
    const char *text = getenv("LATCHKEY_SEED");
    return text && *text ? strtoull(text, NULL, 0) : 20240229;
}

unit_random unit_random_new(uint64_t stream)
{
    unit_random r = {unit_seed() * UINT64_C(0x9e3779b97f4a7c15) + stream};
    unit_next(&r);
    return r;
}

/* SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). */
uint64_t unit_next(unit_random *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t unit_below(unit_random *r, uint64_t end) { return unit_next(r) % end; }
bool unit_chance(unit_random *r, unsigned percent) { return unit_below(r, 100) < percent; }

void unit_fill(unit_random *r, void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) ((unsigned char *)bytes)[i] = (unsigned char)unit_next(r);
}

uint64_t unit_rounds(uint64_t usual)
{
    const char *text = getenv("LATCHKEY_SCALE");
    double scaled = (double)usual * (text && *text ? strtod(text, NULL) : 1) / SLOWER;
    return scaled < 1 ? 1 : (uint64_t)scaled;
}

/* ------------------------------------------------------------------------------------------------ threads -- */

typedef struct crew {
    pthread_barrier_t start;
    void (*work)(void *, unsigned);
    void *shared;
} crew;

typedef struct member {
    crew *crew;
    unsigned index;
} member;

static void *run(void *argument)
{
    member *m = argument;
    pthread_barrier_wait(&m->crew->start);
    m->crew->work(m->crew->shared, m->index);
    return NULL;
}

void unit_threads(unsigned count, void (*work)(void *, unsigned), void *shared)
{
    crew c = {.work = work, .shared = shared};
    pthread_t thread[128];
    member members[UNIT_COUNT(thread)];
    assert_true(count <= UNIT_COUNT(thread));
    pthread_barrier_init(&c.start, NULL, count);
    for (unsigned i = 0; i < count; i++) {
        members[i] = (member){&c, i};
        if (pthread_create(&thread[i], NULL, run, &members[i])) {
            print_error("a thread cannot be made\n");
            abort();
        }
    }
    for (unsigned i = 0; i < count; i++) pthread_join(thread[i], NULL);
    pthread_barrier_destroy(&c.start);
}

void unit_selector(uint64_t number, char selector[21])
{
    /* Each step can be undone (Steele et al., splitmix64), so two numbers never have the same one. */
    uint64_t mixed = number + UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    mixed ^= mixed >> 31;
    snprintf(selector, 21, "%016llxsess", (unsigned long long)mixed);
}

/* -------------------------------------------------------------------------------------------------- files -- */

void *unit_copy(const void *bytes, size_t size)
{
    void *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    if (size) memcpy(copy, bytes, size);
    return copy;
}

enum { FILES_MAX = 32 };
static char directory[96], file_path[FILES_MAX][128];
static unsigned files;

static void remove_files(void)
{
    for (unsigned i = 0; i < files; i++) unlink(file_path[i]);
    rmdir(directory);
}

const char *unit_file(const char *name, const void *bytes, size_t size)
{
    const char *root = getenv("TMPDIR");
    char path[sizeof *file_path];
    unsigned i = 0;
    if (!directory[0]) {
        snprintf(directory, sizeof directory, "%.64s/lk-unit-XXXXXX", root && *root ? root : "/tmp");
        if (!mkdtemp(directory)) fail_msg("%s: %s", directory, strerror(errno));
        atexit(remove_files);
    }
    snprintf(path, sizeof path, "%s/%.24s", directory, name);
    while (i < files && strcmp(file_path[i], path)) i++;
    assert_true(i < FILES_MAX);
    memcpy(file_path[i], path, sizeof path);
    if (i == files) files++;
    FILE *file = fopen(path, "w");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) fail_msg("%s: %s", path, strerror(errno));
    return file_path[i];
}

/* ------------------------------------------------------------------------------------------------- memory -- */

bool unit_mapping_has(const void *at, const char *flag)
{
    FILE *file = fopen("/proc/self/smaps", "r");
    char line[512], word[8];
    bool inside = false, found = false;
    assert_non_null(file);
    snprintf(word, sizeof word, " %s", flag);
    while (fgets(line, sizeof line, file)) {
        uintptr_t from, to;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
            inside = (uintptr_t)at >= from && (uintptr_t)at < to;
        if (inside && strncmp(line, "VmFlags:", 8) == 0) found = strstr(line, word) != NULL;
    }
    fclose(file);
    return found;
}

/* SPDX-License-Identifier: MIT
 *
 * Readers beside writers for as long as one likes: every entry carries a checksum over itself, its token's number and its
 * deadline, so that a read that was put together from two shows. The real code, compiled alone, so that it also runs on
 * another machine, or under an emulator of one.
 *
 *   stress [--seconds N] [--readers N] [--writers N]
 */
#include "below.h"
#include "l1/l1_table.c"
#include "l1/l1_evict.c"
#include "l1/l1.c"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { SESSIONS = 3000, CAPACITY = 1500, THREADS_MAX = 64, WORDS = LATCHKEY_ENTRY_SIZE / 8 };

static lk_l1 *l1;
static char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
static _Atomic int stop;
static _Atomic uint64_t hits, misses, writes, torn;

static uint64_t mix(uint64_t v)
{
    v += UINT64_C(0x9e3779b97f4a7c15);
    v = (v ^ v >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
    return v ^ v >> 31;
}

static int64_t deadline_of(uint64_t number) { return 1000 + (int64_t)(number & 0xffffff); }

static uint64_t checksum(unsigned session, const uint64_t words[WORDS], int64_t deadline_ms)
{
    uint64_t sum = mix(session) ^ (uint64_t)deadline_ms;
    for (int i = 0; i < WORDS - 1; i++) sum = mix(sum ^ words[i]);
    return sum;
}

static latchkey_entry entry_of(unsigned session, uint64_t number)
{
    uint64_t words[WORDS];
    latchkey_entry e;
    for (int i = 0; i < WORDS - 1; i++) words[i] = mix(number + (uint64_t)i);
    words[WORDS - 1] = checksum(session, words, deadline_of(number));
    memcpy(&e, words, sizeof e);
    return e;
}

static bool whole(unsigned session, const lk_l1_found *found, const latchkey_entry *e)
{
    uint64_t words[WORDS];
    memcpy(words, e, sizeof words);
    return words[WORDS - 1] == checksum(session, words, found->due_ms);
}

static void *read_on(void *seed)
{
    uint64_t random = (uintptr_t)seed, hit = 0, miss = 0, bad = 0;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        random = mix(random);
        unsigned session = (unsigned)(random % SESSIONS);
        lk_l1_found found;
        latchkey_entry e;
        if (!lk_l1_get(l1, tokens[session], &found, &e)) miss++;
        else if (whole(session, &found, &e)) hit++;
        else bad++;
    }
    atomic_fetch_add(&hits, hit);
    atomic_fetch_add(&misses, miss);
    atomic_fetch_add(&torn, bad);
    return NULL;
}

static void *write_on(void *seed)
{
    uint64_t random = (uintptr_t)seed, count = 0;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        random = mix(random);
        unsigned session = (unsigned)(random % SESSIONS);
        const char *t = tokens[session];
        latchkey_entry e = entry_of(session, random);
        if (random >> 40 & 3)
            lk_l1_put(l1, lk_l1_ticket(l1, t), t, t + LATCHKEY_SELECTOR_LENGTH, false, lk_l1_until(deadline_of(random)),
                      1, &e);
        else lk_l1_purge(l1, t);
        count++;
    }
    atomic_fetch_add(&writes, count);
    return NULL;
}

static long number(const char *text, long least, long most)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (*text && !*end && n >= least && n <= most) return n;
    fprintf(stderr, "%s is not a number from %ld to %ld\n", text, least, most);
    exit(2);
}

int main(int argc, char **argv)
{
    long seconds = 2, readers = 2, writers = 2;
    for (int i = 1; i < argc; i += 2) {
        long *what = !strcmp(argv[i], "--seconds")   ? &seconds
                     : !strcmp(argv[i], "--readers") ? &readers
                     : !strcmp(argv[i], "--writers") ? &writers
                                                     : NULL;
        if (!what || i + 1 == argc) {
            fputs("usage: stress [--seconds N] [--readers N] [--writers N]\n", stderr);
            return 2;
        }
        *what = number(argv[i + 1], 1, what == &seconds ? 1000000 : THREADS_MAX / 2);
    }
    for (unsigned i = 0; i < SESSIONS; i++)
        snprintf(tokens[i], sizeof *tokens, "%016llxsess%023u", (unsigned long long)mix(i), i);
    l1 = lk_l1_open(CAPACITY, 4711);
    if (!l1) return 2;
    pthread_t thread[THREADS_MAX];
    for (long i = 0; i < readers + writers; i++)
        if (pthread_create(&thread[i], NULL, i < readers ? read_on : write_on, (void *)(uintptr_t)(i + 1))) return 2;
    for (long s = 0; s < seconds; s++) {
        sleep(1);
        if (isatty(1)) {
            printf("\r%ld of %ld s ", s + 1, seconds);
            fflush(stdout);
        }
    }
    atomic_store(&stop, 1);
    for (long i = 0; i < readers + writers; i++) pthread_join(thread[i], NULL);
    uint64_t held = 0;
    for (unsigned i = 0; i < SESSIONS; i++) held += lk_l1_holds(l1, tokens[i]);
    bool counted = held == lk_l1_read_stats(l1).entries;
    printf("%llu reads found an entry, %llu did not, beside %llu writes; %llu torn; %llu held%s\n",
           (unsigned long long)hits, (unsigned long long)misses, (unsigned long long)writes, (unsigned long long)torn,
           (unsigned long long)held, counted ? "" : ", which is not what is counted");
    lk_l1_close(l1);
    return torn || !counted || !hits || !writes;
}

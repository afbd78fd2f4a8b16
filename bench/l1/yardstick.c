/* SPDX-License-Identifier: MIT
 *
 * What the bare machine takes, in the same run: a figure of a lookup means something only beside these.
 */
#include "l1bench.h"

#include <sodium.h>

const char *const yardstick_names[YARDSTICKS] = {"random read of 1 line, dependent",
                                                 "random read of 3 lines, dependent",
                                                 "random read of 1 line, independent",
                                                 "random read of 3 lines, independent",
                                                 "XXH3-64 of 20 bytes, dependent",
                                                 "the coarse clock",
                                                 "copy of 120 bytes",
                                                 "sodium_memcmp of 32 bytes"};

static volatile uint64_t sink, zero;

enum { ROUND = 512, SLOT = 192 };

/* Places are drawn by a multiplication, so that drawing them costs no memory. `rest` is what the address waits for. */
static inline uint64_t draw(uint64_t *state, size_t slots, uint64_t rest)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407) + rest;
    return (*state >> 32) * slots >> 32;
}

static inline uint64_t word_at(const char *memory, size_t at)
{
    uint64_t word;
    memcpy(&word, memory + at, sizeof word);
    return word;
}

static inline uint64_t slot_sum(const char *memory, size_t at, int lines)
{
    uint64_t sum = 0;
    for (int k = 0; k < lines; k++) sum += word_at(memory, at * SLOT + (size_t)k * 64);
    return sum;
}

static void reads_dependent(const char *memory, size_t slots, int lines, uint64_t *state)
{
    uint64_t sum = 0, all = ~zero;
    for (int i = 0; i < ROUND; i++) sum += slot_sum(memory, draw(state, slots, sum & all), lines);
    sink = sum;
}

static void reads_independent(const char *memory, size_t slots, int lines, uint64_t *state)
{
    uint64_t sum = 0;
    for (int i = 0; i < ROUND; i++) sum += slot_sum(memory, draw(state, slots, 0), lines);
    sink = sum;
}

static void hashes(uint64_t waits)
{
    char text[LATCHKEY_TOKEN_LENGTH];
    uint64_t sum = 0;
    token_text(1, text);
    for (int i = 0; i < ROUND; i++) sum = text_hash(text + (sum & waits));
    sink = sum;
}

static void clocks(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < ROUND; i++) sum += (uint64_t)lk_coarse_ms();
    sink = sum;
}

static void copies(void)
{
    static latchkey_entry from, to;
    for (int i = 0; i < ROUND; i++) {
        __asm__ volatile("" : : "r"(&from), "r"(&to) : "memory"); /* else all but the last are left out */
        memcpy(&to, &from, sizeof to);
    }
}

static void compares(void)
{
    static unsigned char a[32], b[32];
    uint64_t sum = 0;
    for (int i = 0; i < ROUND; i++) sum += (uint64_t)sodium_memcmp(a, b, sizeof a);
    sink = sum;
}

static void run_one(enum yardstick which, const char *memory, size_t slots, uint64_t *state)
{
    switch (which) {
    case READ_1: reads_dependent(memory, slots, 1, state); break;
    case READ_3: reads_dependent(memory, slots, 3, state); break;
    case READ_1_INDEPENDENT: reads_independent(memory, slots, 1, state); break;
    case READ_3_INDEPENDENT: reads_independent(memory, slots, 3, state); break;
    case HASH: hashes(zero); break;
    case CLOCK: clocks(); break;
    case COPY: copies(); break;
    case COMPARE: compares(); break;
    case YARDSTICKS: break;
    }
}

void yardsticks_run(results *r, int size, size_t entries, double seconds)
{
    char *memory = take_huge(entries * SLOT);
    uint64_t state = 1;
    static bench_histogram rounds; /* the median over rounds, as for the contenders */
    pin_to_core(0);
    for (int which = 0; which < YARDSTICKS; which++) {
        bench_histogram_clear(&rounds);
        for (int warm = 0; warm < 16; warm++) run_one((enum yardstick)which, memory, entries, &state);
        uint64_t now = bench_now_ns(), end = now + (uint64_t)(seconds * 1e9);
        while (now < end) {
            uint64_t began = now;
            run_one((enum yardstick)which, memory, entries, &state);
            now = bench_now_ns();
            bench_histogram_add(&rounds, now - began);
        }
        cell_add(&r->yard[size][which], bench_histogram_quantile(&rounds, 0.5) / ROUND);
    }
    release_huge(memory, entries * SLOT);
}

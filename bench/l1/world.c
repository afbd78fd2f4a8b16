/* SPDX-License-Identifier: MIT
 *
 * Records and streams of requests. See l1bench.h.
 */
#include "l1bench.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 * 1024 * 1024 };

static size_t rounded(size_t size) { return (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE; }

void *take_huge(size_t size)
{
    size = rounded(size);
    char *at = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) bench_die("no memory for %zu bytes", size);
    size_t before = (HUGE_PAGE - (uintptr_t)at % HUGE_PAGE) % HUGE_PAGE;
    if (before) munmap(at, before);
    munmap(at + before + size, HUGE_PAGE - before);
    madvise(at + before, size, MADV_HUGEPAGE);
    memset(at + before, 0, size);
    return at + before;
}

void release_huge(void *memory, size_t size) { munmap(memory, rounded(size)); }

/* As a token of this library looks: format and partition first, the last character without spare bits. */
void token_text(uint64_t number, char text[LATCHKEY_TOKEN_LENGTH])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint64_t state = bench_mix(number), bits = 0;
    for (int i = 0; i < LATCHKEY_TOKEN_LENGTH; i++) {
        if (i % 10 == 0) bits = state = bench_mix(state);
        text[i] = letters[bits & 63];
        bits >>= 6;
    }
    text[0] = 'E';
    text[1] = 'A';
    text[LATCHKEY_TOKEN_LENGTH - 1] = letters[(bits & 15) << 2];
}

static void make_record(record *r, uint64_t seed, uint32_t index)
{
    uint64_t random = bench_mix(seed ^ bench_mix(index));
    *r = (record){.deadline_ms = lk_coarse_ms() + 24 * 3600 * 1000, .index = index, .entry = {.user_id = index}};
    token_text(seed + index, r->text);
    memcpy(r->entry.role, "member", 6);
    for (size_t i = 0; i < sizeof r->entry.permissions_hash; i += 8) {
        random = bench_mix(random);
        memcpy(r->entry.permissions_hash + i, &random, 8);
    }
}

void world_open(world *w, size_t entries, uint64_t seed)
{
    size_t others = entries / 10;
    w->entries = entries;
    w->residents = entries - others / 2;
    w->total = w->residents + others;
    w->records = take_huge(w->total * sizeof *w->records);
    for (size_t i = 0; i < w->total; i++) make_record(&w->records[i], seed, (uint32_t)i);
}

void world_close(world *w) { release_huge(w->records, w->total * sizeof *w->records); }

void stream_open(stream *s, const world *w, enum distribution d, size_t count, const bool *usable, uint64_t seed)
{
    bench_random random;
    bench_zipf zipf;
    bench_random_seed(&random, seed);
    bench_zipf_init(&zipf, w->residents, d == ZIPF ? 0.99 : 0);
    /* Which record has which rank is left to chance, so that popular ones are not neighbours. */
    uint32_t *of_rank = take_huge(w->residents * sizeof *of_rank);
    for (size_t i = 0; i < w->residents; i++) of_rank[i] = (uint32_t)i;
    bench_random_shuffle(&random, of_rank, w->residents);
    s->count = count;
    s->asked = take_huge(count * sizeof *s->asked);
    s->sums = take_huge((count + 1) * sizeof *s->sums);
    for (size_t i = 0; i < count; i++) {
        uint32_t index;
        do index = of_rank[bench_zipf_next(&zipf, &random)];
        while (usable && !usable[index]);
        const record *r = &w->records[index];
        request *asked = &s->asked[i];
        memcpy(asked->text, r->text, sizeof asked->text);
        asked->index = index;
        asked->index_hashed = index ^ folded_hash(r->text);
        s->sums[i + 1] = s->sums[i] + fold(&r->entry);
    }
    release_huge(of_rank, w->residents * sizeof *of_rank);
}

void stream_close(stream *s)
{
    release_huge(s->asked, s->count * sizeof *s->asked);
    release_huge(s->sums, (s->count + 1) * sizeof *s->sums);
}

/* SPDX-License-Identifier: MIT
 *
 * The benchmark of L1: what a hit costs, beside an ideal, beside what users would pick instead, beside the bare
 * machine; and how well it keeps what is in use.
 *
 *     main.c        options, and which part runs when
 *     world.c       records, streams of requests
 *     measure.c     the timed loops: one reader, two, a reader beside a writer, a batch
 *     grid.c        every contender in every mode at every size, interleaved
 *     yardstick.c   memory, hash, clock, copy, comparison
 *     evict.c       hit ratios on traces, beside LRU, SIEVE and S3-FIFO (policy.c)
 *     extra.c       hash flooding; the memory table
 *     goals.c       what was to be reached, and was it
 *     report.c      JSON and Markdown
 *     peers/        the contenders, a file each behind peer.h
 */
#ifndef LATCHKEY_BENCH_L1_H
#define LATCHKEY_BENCH_L1_H

#include "harness.h"
#include "peer.h"

enum { SIZES = 3, PEERS_MAX = 20, REPEATS_MAX = 25, CHUNK = 512, BATCH = 32 };

enum distribution { UNIFORM, ZIPF, DISTRIBUTIONS };

/* Before WRITERS no thread writes, and every lookup must hit. */
enum mode {
    LATENCY,         /* a lookup cannot begin before the one before it has ended */
    THROUGHPUT,      /* back to back */
    TWO_READERS,     /* back to back, in two threads; nanoseconds for each */
    BATCHED,         /* back to back in calls of BATCH, by those who can */
    WRITERS,         /* from here on: */
    ALONE = WRITERS, /* throughput again, in turn with the two that follow */
    BESIDE_CHURN,    /* beside a writer that replaces a session for every 100 lookups */
    BESIDE_WRITER,   /* beside a writer that never pauses */
    MODES
};
extern const char *const mode_names[MODES], *const distribution_names[DISTRIBUTIONS];

typedef struct options {
    size_t sizes[SIZES];
    int repeats;
    double cell_s; /* how long one measurement takes */
    bool brief;
    const char *json, *markdown;
    bool chosen[PEERS_MAX];
} options;

/* ------------------------------------------------------------------------------------------------- world -- */

/* `entries` are held at all times: the residents, which readers ask for, and half of the others, which a writer drops and
 * puts in turn. */
typedef struct world {
    size_t entries, residents, total;
    record *records;
} world;

/* Requests in the order in which they are made; sums[i] is what the entries of the first i add up to. */
typedef struct stream {
    size_t count; /* a multiple of CHUNK */
    request *asked;
    uint64_t *sums;
} stream;

void world_open(world *w, size_t entries, uint64_t seed);
void world_close(world *w);
void token_text(uint64_t number, char text[LATCHKEY_TOKEN_LENGTH]); /* of a made-up session */

/* Of residents that `usable` (may be NULL) allows. */
void stream_open(stream *s, const world *w, enum distribution d, size_t count, const bool *usable, uint64_t seed);
void stream_close(stream *s);

/* An entry consumed, every byte of it, in words of 8 bytes, as its fields are: wider loads would wait for the stores
 * in words. */
static inline uint64_t fold(const latchkey_entry *entry)
{
    const volatile uint64_t *word = (const volatile uint64_t *)(const volatile void *)entry;
    return word[0] ^ word[1] ^ word[2] ^ word[3] ^ word[4] ^ word[5] ^ word[6] ^ word[7] ^ word[8] ^ word[9] ^
           word[10] ^ word[11] ^ word[12] ^ word[13] ^ word[14];
}
_Static_assert(sizeof(latchkey_entry) == 15 * 8, "fold is written out for 15 words");

/* ----------------------------------------------------------------------------------------------- measure -- */

typedef struct measured {
    double ns; /* a lookup */
    uint64_t lookups, missed, writes;
    bool sound; /* what was answered adds up to what was stored */
} measured;

measured measure(const peer *p, void *map, const world *w, const stream *s, enum mode mode, double seconds);
void pin_to_core(int core);

/* --------------------------------------------------------------------------------------------- what comes out -- */

typedef struct cell {
    double value[REPEATS_MAX];
    int count;
} cell;

void cell_add(cell *c, double value);
double cell_median(const cell *c); /* NAN where it is empty */
double cell_least(const cell *c);
double cell_most(const cell *c);

enum yardstick { READ_1, READ_3, READ_1_INDEPENDENT, READ_3_INDEPENDENT, HASH, CLOCK, COPY, COMPARE, YARDSTICKS };
extern const char *const yardstick_names[YARDSTICKS];

enum { EXPONENTS = 3, POLICIES = 4, MEMORY_ROWS = 4, TRACES = 2 };
extern const char *const policy_names[POLICIES], *const trace_names[TRACES];
extern const double exponents[EXPONENTS];

typedef struct results {
    cell ns[SIZES][DISTRIBUTIONS][MODES][PEERS_MAX];
    cell yard[SIZES][YARDSTICKS];
    double bytes[SIZES][PEERS_MAX];  /* an entry */
    double refused[SIZES];           /* of what latchkey was given at full capacity: the part that it does not hold */
    double missed[SIZES][PEERS_MAX]; /* the part of lookups beside a writer */
    char unsound[160];               /* the first check that failed, "" if none */
    uint64_t lookups;
    double hit_ratio[TRACES][EXPONENTS][POLICIES];
    size_t evict_sessions, evict_capacity, evict_requests;
    struct {
        size_t sessions;
        double median_ns, p999_ns, worst_ns;
    } flood;
    struct {
        size_t sessions;
        double l1_bytes;
    } memory[MEMORY_ROWS];
    double redis_string_bytes, redis_latchkey_bytes;
    char redis_version[32];
    double took_s;
} results;

void grid_run(const options *o, results *r);
void yardsticks_run(results *r, int size, size_t entries, double seconds);
void evict_run(const options *o, results *r);
void flood_run(const options *o, results *r);
void memory_run(const options *o, results *r);

typedef struct goal {
    char text[160];
    double value, limit;
    bool at_most, known, met;
} goal;
enum { GOALS_MAX = 160 };
int goals_judge(const options *o, const results *r, goal goals[GOALS_MAX]); /* how many */

void report_markdown(FILE *file, const options *o, const results *r);
void report_json(FILE *file, const options *o, const results *r);

bench_server *l1bench_server(void); /* the one private Redis, started when first asked for */
void *latchkey_peer_open(size_t capacity);
extern const peer peer_latchkey;
int peer_find(const char *name); /* in peers; -1 */

#endif

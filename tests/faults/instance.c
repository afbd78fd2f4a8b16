/* SPDX-License-Identifier: MIT
 *
 * One instance of an application under load: threads that validate, and one that creates, revokes and touches. Each
 * thread writes down what it did, in a file of its own, one line a call:
 *
 *   START END NAME OPERATION SESSION STATUS LIFETIME_MS     times in ns of CLOCK_MONOTONIC, which processes share
 *
 * SESSION is a number; "17f" is a token that was never given out: session 17's with another secret part.
 *
 *   latchkey_fault_instance CONFIG NAME BOARD DIRECTORY THREADS
 *
 * It prints "open STATUS TEXT", and then answers lines on standard input with one line each:
 *   stat         the statistics that the driver looks at, as NAME=NUMBER ...
 *   quiet        for how many ms the newest UNAVAILABLE (or the start) is past
 *   halt         the threads stop; the histories are whole; then as `stat`
 * and ends with its input.
 */
#include "board.h"
#include "latchkey.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS_MAX = 16, MINE_MAX = 4096, KEPT = 40, LEAST = 5, OPENS_MOST = 100, SHORT_LIFE_MS = 1500 };
enum { VALIDATE_PAUSE_US = 1000, CHURN_PAUSE_US = 40000 };

typedef struct worker {
    pthread_t thread;
    FILE *history;
    unsigned random;
} worker;

static latchkey *lk;
static board *shared;
static const char *name;
static atomic_bool stop;
static _Atomic int64_t last_unavailable_ns;
static worker workers[THREADS_MAX + 1];
static int worker_count;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void pause_us(long us)
{
    struct timespec t = {.tv_nsec = us * 1000};
    nanosleep(&t, NULL);
}

static unsigned random_next(worker *w) { return (unsigned)rand_r(&w->random) << 8 ^ (unsigned)rand_r(&w->random); }

static void note(worker *w, int64_t start, int64_t end, const char *operation, int number, const char *forged,
                 int status, int64_t lifetime_ms)
{
    fprintf(w->history, "%lld %lld %s %s %d%s %d %lld\n", (long long)start, (long long)end, name, operation, number,
            forged, status, (long long)lifetime_ms);
    if (status == LATCHKEY_UNAVAILABLE && strcmp(operation, "validate") == 0) atomic_store(&last_unavailable_ns, end);
}

/* ---------------------------------------------------------------------------------------------- validate -- */

static void validate_one(worker *w)
{
    latchkey_entry entry;
    unsigned random = random_next(w);
    int number = board_choose(shared, random);
    if (number < 0) return;
    char token[LATCHKEY_TOKEN_SIZE];
    memcpy(token, shared->session[number].token, sizeof token);
    bool forge = random % 64 == 63;
    if (forge) token[30] = token[30] == 'A' ? 'B' : 'A';
    int64_t start = now_ns();
    int status = latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry);
    note(w, start, now_ns(), "validate", number, forge ? "f" : "", status, 0);
}

static void *validate_all_the_time(void *context)
{
    worker *w = context;
    while (!atomic_load(&stop)) {
        validate_one(w);
        pause_us(VALIDATE_PAUSE_US);
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------- churn -- */

/* The lifetime is noted with the session; 0: longer than any run. */
static int make_one(worker *w, int64_t lifetime_ms)
{
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = {.size = sizeof draft, .user_id = random_next(w) % 1000, .lifetime_ms = lifetime_ms};
    int64_t start = now_ns();
    int status = latchkey_create(lk, &draft, token);
    int64_t end = now_ns();
    int number = status ? -1 : board_add(shared, token);
    note(w, start, end, "create", number, "", status, lifetime_ms);
    return number;
}

static void call_on(worker *w, const char *operation, int number,
                    int (*call)(latchkey *handle, const char *token, size_t length))
{
    int64_t start = now_ns();
    int status = call(lk, shared->session[number].token, LATCHKEY_TOKEN_LENGTH);
    note(w, start, now_ns(), operation, number, "", status, 0);
}

/* Now and then: prewarming reads much at once, and must not bring back what is ended meanwhile (D). */
static void maybe_prewarm(worker *w)
{
    if (random_next(w) % 8 == 0) latchkey_prewarm(lk, 100, NULL);
}

static void *churn(void *context)
{
    worker *w = context;
    int mine[MINE_MAX], count = 0;
    bool filled = false;
    while (!atomic_load(&stop)) {
        if (count < MINE_MAX) {
            int number = make_one(w, random_next(w) % 6 ? 0 : SHORT_LIFE_MS);
            if (number >= 0) mine[count++] = number;
        }
        if (count) call_on(w, "touch", mine[random_next(w) % (unsigned)count], latchkey_touch);
        filled = filled || count > KEPT;
        if (filled && count > LEAST) { /* also while nothing can be made */
            /* Every other one is ended soon after it was made, when others are about to read it for the first time. */
            unsigned i =
                random_next(w) % 2 ? (unsigned)count - 1 - random_next(w) % 3 : random_next(w) % (unsigned)count;
            call_on(w, "revoke", mine[i], latchkey_revoke);
            board_end(shared, (unsigned)mine[i]);
            mine[i] = mine[--count];
        }
        maybe_prewarm(w);
        pause_us(filled ? CHURN_PAUSE_US : VALIDATE_PAUSE_US);
    }
    return NULL;
}

static worker presser; /* the main thread, when it is told to */

static void end_everyone(void)
{
    int64_t start = now_ns();
    int status = latchkey_revoke_everyone(lk);
    note(&presser, start, now_ns(), "everyone", -1, "", status, 0);
}

/* --------------------------------------------------------------------------------------------- the frame -- */

static FILE *open_history(const char *directory, int number)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.%d.history", directory, name, number);
    FILE *file = fopen(path, "w");
    if (!file) abort();
    return file;
}

static void start(const char *directory, int threads)
{
    for (int i = 0; i <= threads; i++) {
        worker *w = &workers[i];
        w->history = open_history(directory, i);
        w->random = (unsigned)now_ns() + (unsigned)i;
        if (pthread_create(&w->thread, NULL, i ? validate_all_the_time : churn, w)) abort();
    }
    worker_count = threads + 1;
    presser.history = open_history(directory, worker_count);
}

static void halt(void)
{
    atomic_store(&stop, true);
    for (int i = 0; i < worker_count; i++) {
        pthread_join(workers[i].thread, NULL);
        if (fclose(workers[i].history)) abort();
    }
    if (worker_count && fclose(presser.history)) abort();
    worker_count = 0;
}

static void show(void)
{
    latchkey_stats s;
    latchkey_stats_read(lk, &s, sizeof s);
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    printf("wall_ms=%lld monotonic_ms=%lld connected=%llu empties=%llu fills=%llu l1_hits=%llu lapses=%llu missed=%llu "
           "pending=%llu purges=%llu "
           "reconnects=%llu trouble=%s\n",
           (long long)wall.tv_sec * 1000 + wall.tv_nsec / 1000000, (long long)(now_ns() / 1000000),
           (unsigned long long)s.connected, (unsigned long long)s.empties, (unsigned long long)s.fills,
           (unsigned long long)s.l1_hits, (unsigned long long)s.lapses, (unsigned long long)s.missed,
           (unsigned long long)s.pending, (unsigned long long)s.purges, (unsigned long long)s.reconnects, s.last_error);
}

static void obey(const char *line)
{
    if (strcmp(line, "quiet\n") == 0) {
        printf("%lld\n", (long long)((now_ns() - atomic_load(&last_unavailable_ns)) / 1000000));
        return;
    }
    if (strcmp(line, "halt\n") == 0) halt();
    if (strcmp(line, "everyone\n") == 0) end_everyone();
    show();
}

int main(int argc, char **argv)
{
    char line[64], error[512];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 6 || atoi(argv[5]) < 1 || atoi(argv[5]) > THREADS_MAX) {
        fprintf(stderr, "usage: %s CONFIG NAME BOARD DIRECTORY THREADS\n", argv[0]);
        return 2;
    }
    name = argv[2];
    shared = board_open(argv[3]);
    if (!shared) {
        perror(argv[3]);
        return 1;
    }
    int status, tries = 0; /* within a short deadline a slow machine may not manage it */
    do status = latchkey_open(argv[1], &lk, error, sizeof error);
    while (status == LATCHKEY_UNAVAILABLE && ++tries < OPENS_MOST);
    printf("open %d %s\n", status, status ? error : "");
    if (status) return 1;
    atomic_store(&last_unavailable_ns, now_ns());
    start(argv[4], atoi(argv[5]));
    while (fgets(line, sizeof line, stdin)) obey(line);
    halt();
    latchkey_close(lk);
    return 0;
}

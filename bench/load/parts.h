/* SPDX-License-Identifier: MIT
 *
 * latchkey-bench-server: what a server sees of latchkey, good days and bad ones.
 *
 *     main.c      options, and which part runs when
 *     miss.c      a miss beside bare hiredis, by number of callers        evented.c  the same through submit and reap
 *     steady.c    the article's load, L1 of all
 *     outage.c    Redis killed under load, and back again
 *     cold.c      ten instances, cold at once
 *     flood.c     tokens without a session
 *     drive.c     threads that ask about sessions, and what they saw      series.c   Redis and L1 over time
 *     stage.c     a server with sessions on it
 *
 * The C side measures and checks; report_server.py compares with the goals.
 */
#ifndef LATCHKEY_BENCH_SERVER_PARTS_H
#define LATCHKEY_BENCH_SERVER_PARTS_H

#include "article.h"

enum part { MISS, STEADY, OUTAGE, COLD, FLOOD, PARTS };

/* Numbers as they were given on the command line; the counts among them are whole. */
typedef struct settings {
    const char *json_path;
    bool parts[PARTS], short_run;
    double sessions, repeat, seed, threads;
    double cell_s;             /* of each measurement of a miss */
    double rate;               /* of the steady state */
    double l1_ttl_ms, idle_ms; /* in the steady state */
    double steady_s;           /* the same, warming included */
    double outage_rate;        /* while Redis is killed */
    double settle_s;           /* before that */
    double before_s;           /* measured then */
    double down_s;             /* how long it is away */
    double after_s;            /* measured after the first second */
    double cold_s;             /* each of the cold starts */
    double tokens;             /* of each flood */
    double flood_s;            /* the longest that a flood may take */
    double beside_s;           /* of good traffic beside it */
} settings;

/* ------------------------------------------------------------------------------------------------ stage -- */

/* A session as the parts see it that make and end none. */
typedef struct one {
    char token[LATCHKEY_TOKEN_SIZE];
    char key[72]; /* in Redis, for those who ask it by themselves */
    uint64_t user_id;
} one;

typedef struct stage {
    bench_server *server;
    world *world;
    article_options options; /* for article_clients.c */
    size_t count;
    one *all; /* in order of popularity; what `world` held when they were listed */
} stage;

enum { HALF_A_DAY_MS = 43200000 };

/* `keeping`: the server writes all to a file, and sessions are without key material, so that it is read fast. */
stage *stage_make(const settings *s, bool keeping, double l1_ttl_ms, double idle_ms);
void stage_list(stage *st); /* anew, after clients logged in and out */
void stage_free(stage *st);

/* ------------------------------------------------------------------------------------------------ drive -- */

/* How one thread asks. `lk`, or where that is NULL `redis`: HGET of the compact record, and with `pttl` a PTTL in the
 * same round trip, which is what latchkey asks for. */
typedef struct way {
    latchkey *lk;
    struct redisContext *redis;
    bool pttl;
} way;

/* By status, from -8 to 5. */
enum { STATUS_LEAST = -8, STATUSES = 14 };

typedef struct account {
    uint64_t by_status[STATUSES];
    uint64_t stale; /* among the OK: without a lease, under grace_ms */
    uint64_t shed;  /* fell due while calls waited, and were not made */
    bench_histogram call;
} account;

typedef struct drive_plan {
    const stage *stage;
    const way *ways; /* one for each thread */
    int threads;
    double rate; /* of all threads; calls are made when they are due. 0: one after the other */
    double skew; /* 0: uniform */
    int phases;
    uint64_t seed;
    size_t prewarm; /* sessions, by each thread, before it asks */
} drive_plan;

typedef struct drive drive;

/* Starts the threads; nothing is counted until a phase is named. */
drive *drive_start(const drive_plan *plan);
void drive_phase(drive *d, int phase); /* what begins from now on counts there; -1: nowhere */
/* When the first answer that Redis stood behind came after this; 0: none yet. */
void drive_await(drive *d);
uint64_t drive_awaited_ns(drive *d);
uint64_t drive_loaded(drive *d);                                    /* sessions prewarmed so far, by all threads */
void drive_totals(drive *d, uint64_t *answered, uint64_t *refused); /* since the start, in all phases */
account *drive_end(drive *d);                                       /* of each phase; the caller frees it */

account *accounts_take(int count);
void account_note(account *a, int status, bool stale, uint64_t took_ns);
uint64_t account_of(const account *a, int status);
void account_json(bench_json *json, const char *key, const account *a, double seconds);

/* Fails the run, and says so. */
void wrong_answer(const char *what, int status);
/* Every session here lives: anything but its own entry, or no answer at all, is wrong. */
void answer_check(const one *it, int status, const latchkey_entry *entry);
uint64_t wrong_answers(void);

/* A token without a session: the check wrong, or right. */
void token_invent(char token[LATCHKEY_TOKEN_SIZE], bool check_right);

/* ----------------------------------------------------------------------------------------------- series -- */

enum { TICK_MS = 100 };

typedef struct series series;

/* Watches a server, the handles and a drive (may be set later) from now on, in steps of TICK_MS; and shows progress. */
series *series_start(const char *what, const bench_server *server, latchkey *const *handles, int handle_count,
                     double expected_s);
void series_watch(series *s, drive *d);
double series_now_s(const series *s);
void series_until(series *s, double at_s); /* goes on until then */
void series_step(series *s);               /* takes a row if it is due, without waiting */
void series_json(bench_json *json, const char *key, const series *s);
void series_free(series *s);

/* ------------------------------------------------------------------------------------------------ parts -- */

/* Into an object that the caller opened. */
void miss_run(bench_json *json, const settings *s, const stage *st);
void steady_run(bench_json *json, const settings *s, stage *st);
void outage_run(bench_json *json, const settings *s, stage *st);
void cold_run(bench_json *json, const settings *s, const stage *st);
void flood_run(bench_json *json, const settings *s, const stage *st);

/* One measurement of miss.c: answers, and what Redis did for them. */
typedef struct cell {
    account *account;
    bench_info redis;
    double seconds;
} cell;

/* One thread, an event loop, so many submitted at once. */
enum { IN_FLIGHT = 256 };
cell evented_run(latchkey *lk, const stage *st, double seconds, uint64_t seed);

/* What INFO counts around a stretch of time, on a connection that is closed again. */
bench_info info_of(const bench_server *server);

#endif

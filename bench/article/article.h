/* SPDX-License-Identifier: MIT
 *
 * The pieces of the read/write benchmark.
 *
 *     article.c           the order of the phases
 *     article_options.c   the command line
 *     article_store.c     one session store behind four calls: plain Redis strings, or latchkey
 *     article_world.c     the sessions that exist at a moment, shared by the client threads
 *     article_clients.c   threads that read and write sessions, closed loop or paced, and what they measured
 *     article_result.c    that, as JSON
 *     article_probes.c    yardsticks, memory, prewarming, revocation
 *
 * Words. A *slot* is a place for one session; its number is its Zipf rank, so slot 0 is the busiest. A session comes
 * and goes, the slot stays: popularity does not change while sessions churn.
 */
#ifndef LATCHKEY_BENCH_ARTICLE_H
#define LATCHKEY_BENCH_ARTICLE_H

#include "harness.h"
#include <latchkey.h>

#include <pthread.h>
#include <stdatomic.h>

/* Numbers as they were given on the command line; the counts among them are whole. */
typedef struct article_options {
    const char *json_path;
    double sessions, l1_capacity, prewarm, threads, revocations, repeat, seed;
    double skew;         /* Zipf exponent */
    double rate;         /* paced, the same for every column; 0: a third of what plain GETs reached */
    double article_rate; /* paced, for the columns with an L1 */
    double warm_s;       /* before each measured phase */
    double seconds;      /* of each measured phase */
    double steady_s;     /* of each run at article_rate, cold start included */
    double curve_s;      /* of the prewarmed run */
    double l1_ttl_ms, idle_ms;
    bool tcp, article_record, short_run;
    bool plain_expires; /* a plain read moves the idle expiry too: GET and EXPIRE, in one round trip */
    bool no_material;   /* sessions without key material, for other benchmarks that use these pieces */
} article_options;

void options_read(int count, char **arguments, article_options *o); /* ends the process where they are wrong */
void options_json(bench_json *json, const article_options *o);

/* ------------------------------------------------------------------------------------------------ store -- */

/* One thread's way to the sessions. Either `lk` is set, or `redis` is: this thread's own connection, with the whole
 * record as a string under "sess:<token>". */
typedef struct store {
    latchkey *lk;
    struct redisContext *redis;
    const article_options *options;
    bench_random random;
    unsigned char *material; /* this thread's key material, stamped anew for each session */
} store;

#define RECORD_CLASSICAL 96 /* id 32, user 8, expiry and metadata 56: the article's session without key material */
#define RECORD_ENTRY_AT 48  /* where a plain record's user id and check stand, after the token */
#define CHECKED_BYTES 120   /* what every answer's consumer reads, of a record and of an entry alike */

size_t record_size(const article_options *options);
void store_open(store *s, latchkey *lk, const bench_server *server, const article_options *options, uint64_t seed);
void store_close(store *s);
/* All answer a latchkey status; UNAVAILABLE where Redis did not answer. */
int store_login(store *s, uint64_t user_id, char token[LATCHKEY_TOKEN_SIZE]);
int store_logout(store *s, const char *token);
/* On OK *right says whether the answer is that user's, and *sum has the copied bytes added. */
int store_validate(store *s, const char *token, uint64_t user_id, bool *right, uint64_t *sum);
/* Only for plain records: appends without waiting, for loading many; then store_loaded reads the replies. */
void store_login_append(store *s, uint64_t user_id, char token[LATCHKEY_TOKEN_SIZE]);
void store_loaded(store *s, size_t count);

/* ------------------------------------------------------------------------------------------------ world -- */

typedef struct session {
    char token[LATCHKEY_TOKEN_SIZE];
    uint32_t used_s; /* when it was last read, on the monotonic clock */
    uint64_t user_id;
} session;

typedef struct slot {
    atomic_uint busy; /* a spin lock, held only while `it` is copied; acquire to take, release to give back */
    unsigned live;    /* guarded by busy */
    session it;       /* guarded by busy */
} __attribute__((aligned(64))) slot;

typedef struct world {
    size_t count;
    slot *slots;
    _Atomic uint64_t users; /* the last user id given out; relaxed: only has to be unique */
    pthread_mutex_t lock;
    uint32_t *vacant; /* slots whose session was logged out; guarded by lock, as is the number */
    size_t vacant_count;
    double load_s;              /* what making all sessions took */
    bench_histogram *create_ns; /* latchkey: one login each */
} world;

world *world_make(const article_options *options, latchkey *lk, const bench_server *server);
void world_free(world *w);
/* False: there is no session there. used_s is that of the read before this one. */
bool world_read(world *w, size_t index, session *out);
bool world_holds(world *w, size_t index, const session *it); /* is it still this session? */
/* Takes a session out of its slot, which then is the caller's until world_put or world_leave. */
bool world_take(world *w, size_t index, session *out);
void world_put(world *w, size_t index, const session *it);
void world_leave(world *w, size_t index); /* logged out: the next login gets it */
/* A vacant slot, or where none is, one whose session is abandoned (it ends by idling, as a fifth of them do). */
size_t world_vacancy(world *w, bench_random *random);

/* ---------------------------------------------------------------------------------------------- clients -- */

typedef struct tally {
    uint64_t reads, logins, logouts;
    uint64_t raced;       /* refused because another thread logged the session out meanwhile */
    uint64_t idled;       /* refused because its idle time was over */
    uint64_t unavailable; /* no answer in time: refused, as it must be, but not wrong */
    uint64_t wrong;       /* another user's answer, a dead session admitted, a live one refused */
    uint64_t dead_checked;
    uint64_t sum; /* of all bytes answered, so that no copy can be left out */
} tally;

typedef struct sample {
    double at_s;
    uint64_t hits, misses;
} sample;

typedef struct result {
    char name[48];
    double asked_rate, seconds;
    tally counted;
    bench_histogram validate, write, overslept;
    bench_histogram call; /* validate alone, without the waiting that `validate` counts when it is paced */
    bench_info redis;
    latchkey_stats stats; /* counters: the difference over the phase; gauges: at its end */
    sample *samples;
    size_t sample_count;
} result;

/* Runs the clients at `rate` requests a second (0: each thread back to back) for skip_s + seconds, and measures the
 * last `seconds`. lk NULL: plain GETs. The hit rate is sampled from the very start. */
result *clients_run(const char *name, world *w, latchkey *lk, const bench_server *server,
                    const article_options *options, double rate, double skip_s, double seconds);
void result_free(result *r);
void result_json(bench_json *json, const result *r);

/* ----------------------------------------------------------------------------------------------- probes -- */

latchkey *open_at(const char *url, const char *options); /* never NULL */
latchkey *open_latchkey(const bench_server *server, const article_options *options, size_t capacity);
void probe_yardsticks(bench_json *json, const bench_server *server, const article_options *options);
void probe_memory_read(bench_json *json, size_t bytes);
void probe_harness(bench_json *json, world *w, const article_options *options);
void probe_hit(bench_json *json, const bench_server *server, world *w, const article_options *options, size_t capacity);
/* The mean MEMORY USAGE of the keys that match. */
double probe_key_bytes(const bench_server *server, const char *pattern);
/* How many commands Redis runs for a login and for a logout, those inside scripts included. */
void probe_script_commands(bench_json *json, const bench_server *server, const article_options *options);
void probe_prewarm(bench_json *json, const bench_server *server, const article_options *options);
void probe_revocation(bench_json *json, const bench_server *server, const article_options *options);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The simulated world: virtual time, a queue of events, random numbers from the seed, machines with tasks (what the
 * library takes for threads), and a trace whose hash says whether two runs were the same. Nothing here reads a clock, an
 * address or anything else that another run would see otherwise.
 */
#ifndef LATCHKEY_SIM_WORLD_H
#define LATCHKEY_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MACHINES_MAX = 4, NEVER_MS = -1 };
#define FOREVER INT64_MAX
#define MS INT64_C(1000) /* in microseconds, the unit of virtual time */
#define SECOND (1000 * MS)

/* A computer with one process: an instance of the library and its clients. */
typedef struct machine {
    int index;
    int database;         /* of the servers, that its process uses */
    int64_t clock_us;     /* of its monotonic clock when the world began */
    int64_t tick_us;      /* of its coarse clock */
    int64_t paused_until; /* its tasks stand still */
    int64_t paused_us;    /* for how long in all; up to paused_until */
    int route;            /* the server that a new connection reaches, */
    int64_t route_us;     /* and since when */
    int64_t cut_until;    /* no new connection gets through */
    int64_t deaf_until;   /* what is said to its link's subscription is lost */
    int64_t walled_until; /* it does not reach those: */
    uint64_t walled;      /* servers and sentinels, by wire_bit */
    int64_t slow_us;      /* what a new connection takes longer */
    int64_t astray_us;    /* when it was last answered by a primary that is not the acting one */
} machine;

typedef struct task task;

typedef struct world {
    uint64_t seed, random;
    int64_t now_us;
    uint64_t step;  /* moves with everything that happens: what came first, at the same microsecond */
    uint64_t trace; /* hash of everything that happened */
    bool print_trace;
    machine machines[MACHINES_MAX];
    int machine_count;
    /* what tasks suffer at their steps, in parts of a million */
    unsigned delay_ppm, pause_ppm;
    int64_t pause_most_us;
    bool faults; /* on until the end, when everything is healed */
    char failure[1024];
} world;

extern world w;

void world_begin(uint64_t seed);
void world_end(void);
/* Runs events until virtual time, or until something failed; true: nothing did. */
bool world_run(int64_t until_us);

/* A guarantee was broken (or the simulation itself is): the first one counts. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Into the trace's hash, and with --trace onto the terminal. */
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
void trace_number(uint64_t number); /* the hash alone */

/* ----------------------------------------------------------------------------------------------- random -- */
uint64_t draw(uint64_t below);
int64_t draw_between(int64_t from, int64_t to); /* both included */
int64_t draw_scale(int64_t from, int64_t to);   /* every order of magnitude as likely as the next */
bool chance(unsigned parts_of_a_million);
void random_bytes(void *out, size_t size);

/* ----------------------------------------------------------------------------------------------- events -- */
void at(int64_t when_us, void (*happen)(void *context, uint64_t number), void *context, uint64_t number);

/* ------------------------------------------------------------------------------------------------ tasks -- */
task *task_start(machine *on, const char *name, void *(*body)(void *), void *argument);
task *task_current(void); /* NULL: outside of the tasks, where nothing may wait */
machine *task_machine(void);
unsigned task_number(const task *t);
task *task_of(unsigned number);
bool task_done(const task *t);

bool task_wait(const void *on, int64_t until_us); /* true: woken; false: the time came */
void task_wake(const void *on, bool all);
void task_sleep(int64_t us);
void task_step(void); /* here others may come in between, or the whole machine may be paused */
void machine_pause(machine *m, int64_t us);

/* What a task did last, for the checks. */
typedef struct task_note {
    uint64_t asked_step; /* of its last bytes sent on a connection; of a caller of the pool: when its exchange began */
    bool vouched;        /* of the touch that ends: by the server that had the lease and has it */
    bool exchanging;
    bool held;        /* by L1, when a revoke looked */
    int64_t clock_us; /* when it looked at a clock last */
    char making[20];  /* the selector of the token that its call has made; "": none */
} task_note;
task_note *task_notes(void);

#endif

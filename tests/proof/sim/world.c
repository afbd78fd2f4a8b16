/* SPDX-License-Identifier: MIT
 *
 * See world.h. One queue of events, ordered by time and then by the order in which they were made.
 */
#include "world.h"

#include "fiber.h"
#include "base/counters.h"
#include "base/hash.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TASKS_MAX = 160 };

typedef struct event {
    int64_t when_us;
    uint64_t order, number;
    void (*happen)(void *context, uint64_t number);
    void *context;
} event;

struct task {
    fiber_context *fiber; /* kept for the next task that takes this place */
    machine *on;
    const char *name;
    void *(*body)(void *);
    void *argument;
    enum { TASK_FREE, TASK_READY, TASK_WAITING, TASK_DONE } state;
    const void *waits_on;
    uint64_t wait; /* counts waits: an event of an older one is void */
    bool woken;
    task_note note;
};

world w;

static struct {
    event *heap;
    size_t count, room;
    uint64_t order;
    task task[TASKS_MAX];
    task *current;
} in;

/* ----------------------------------------------------------------------------------------------- random -- */

static uint64_t next(void) /* splitmix64, Steele 2014 */
{
    uint64_t z = w.random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t draw(uint64_t below) { return below ? next() % below : 0; }
int64_t draw_between(int64_t from, int64_t to)
{
    return to <= from ? from : from + (int64_t)draw((uint64_t)(to - from + 1));
}

int64_t draw_scale(int64_t from, int64_t to)
{
    int64_t low = from > 0 ? from : 1;
    int doublings = 0;
    while (doublings < 62 && low << doublings < to) doublings++;
    int64_t top = low << draw((uint64_t)doublings + 1);
    int64_t value = draw_between(top / 2, top);
    return value < from ? from : value > to ? to : value;
}

bool chance(unsigned parts) { return parts && next() % 1000000 < parts; }

void random_bytes(void *out, size_t size)
{
    uint8_t *bytes = out;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = next();
        memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
    }
}

/* ------------------------------------------------------------------------------------------------ trace -- */

void trace_number(uint64_t number)
{
    uint64_t mixed[3] = {w.trace, (uint64_t)w.now_us, number};
    w.trace = lk_hash(mixed, sizeof mixed, 0);
}

void trace(const char *format, ...)
{
    /* Two runs that draw the same numbers at the same steps are the same; the words would only take time. */
    trace_number(w.random + w.step);
    if (!w.print_trace) return;
    va_list list;
    va_start(list, format);
    printf("%14.6f  ", (double)w.now_us / 1e6);
    vprintf(format, list);
    putchar('\n');
    va_end(list);
}

void fail(const char *format, ...)
{
    if (w.failure[0]) return;
    va_list list;
    va_start(list, format);
    vsnprintf(w.failure, sizeof w.failure, format, list);
    va_end(list);
    trace("FAILURE %s", w.failure);
}

/* ----------------------------------------------------------------------------------------------- events -- */

static bool before(const event *a, const event *b)
{
    return a->when_us != b->when_us ? a->when_us < b->when_us : a->order < b->order;
}

void at(int64_t when_us, void (*happen)(void *, uint64_t), void *context, uint64_t number)
{
    if (in.count == in.room) {
        in.room = in.room ? 2 * in.room : 1024;
        in.heap = realloc(in.heap, in.room * sizeof *in.heap);
        if (!in.heap) abort();
    }
    event e = {when_us < w.now_us ? w.now_us : when_us, in.order++, number, happen, context};
    size_t i = in.count++;
    for (; i && before(&e, &in.heap[(i - 1) / 2]); i = (i - 1) / 2) in.heap[i] = in.heap[(i - 1) / 2];
    in.heap[i] = e;
}

static event take(void)
{
    event first = in.heap[0], last = in.heap[--in.count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= in.count) break;
        if (child + 1 < in.count && before(&in.heap[child + 1], &in.heap[child])) child++;
        if (!before(&in.heap[child], &last)) break;
        in.heap[i] = in.heap[child];
        i = child;
    }
    in.heap[i] = last;
    return first;
}

bool world_run(int64_t until_us)
{
    while (in.count && in.heap[0].when_us <= until_us && !w.failure[0]) {
        event e = take();
        w.now_us = e.when_us;
        w.step++;
        e.happen(e.context, e.number);
    }
    if (w.failure[0]) return false;
    if (w.now_us < until_us) w.now_us = until_us;
    return true;
}

/* ------------------------------------------------------------------------------------------------ tasks -- */

static void live(void *context)
{
    task *t = context;
    for (;;) {
        t->body(t->argument);
        t->state = TASK_DONE;
        task_wake(t, true);
        fiber_leave(t->fiber);
    }
}

static void go_on(void *context, uint64_t wait)
{
    task *t = context;
    if (t->wait != wait || (t->state != TASK_READY && t->state != TASK_WAITING)) return;
    if (t->on->paused_until > w.now_us) {
        at(t->on->paused_until, go_on, t, wait);
        return;
    }
    t->state = TASK_READY;
    t->waits_on = NULL;
    t->wait++;
    in.current = t;
    trace_number((uint64_t)(t - in.task));
    fiber_enter(t->fiber);
    in.current = NULL;
}

task *task_start(machine *on, const char *name, void *(*body)(void *), void *argument)
{
    task *t = in.task;
    while (t < in.task + TASKS_MAX && t->state != TASK_FREE) t++;
    if (t == in.task + TASKS_MAX) {
        fail("the simulation has no room for another task");
        return NULL;
    }
    /* A thread that ends gives its stripe of the counters back, and the next one takes it. */
    if (t->fiber) fiber_renew(t->fiber, &lk_thread_stripe, sizeof lk_thread_stripe);
    else t->fiber = fiber_context_open(live, t);
    t->on = on;
    t->name = name;
    t->body = body;
    t->argument = argument;
    t->state = TASK_READY;
    t->note = (task_note){0};
    at(w.now_us + draw_between(10, 200), go_on, t, ++t->wait);
    return t;
}

task *task_current(void) { return in.current; }
machine *task_machine(void) { return in.current ? in.current->on : NULL; }
unsigned task_number(const task *t) { return (unsigned)(t - in.task); }
task *task_of(unsigned number) { return &in.task[number]; }
task_note *task_notes(void) { return &in.current->note; }

/* Also gives the place back: asked once, by who waits for the end. */
bool task_done(const task *t)
{
    if (t->state != TASK_DONE) return false;
    in.task[t - in.task].state = TASK_FREE;
    return true;
}

bool task_wait(const void *on, int64_t until_us)
{
    task *t = in.current;
    t->state = TASK_WAITING;
    t->waits_on = on;
    t->woken = false;
    if (until_us != FOREVER) at(until_us, go_on, t, t->wait);
    fiber_leave(t->fiber);
    return t->woken;
}

void task_wake(const void *on, bool all)
{
    for (task *t = in.task; t < in.task + TASKS_MAX; t++) {
        if (t->state != TASK_WAITING || t->waits_on != on) continue;
        t->waits_on = NULL;
        t->woken = true;
        t->state = TASK_READY;
        at(w.now_us + draw_between(2, 100), go_on, t, ++t->wait);
        if (!all) return;
    }
}

void task_sleep(int64_t us) { task_wait(NULL, w.now_us + us); }

void machine_pause(machine *m, int64_t us)
{
    if (m->paused_until > w.now_us) return;
    m->paused_until = w.now_us + us;
    m->paused_us += us;
    trace("m%d paused for %.3f s", m->index, (double)us / 1e6);
}

void task_step(void)
{
    if (!in.current) return;
    w.step++;
    if (w.pause_ppm && chance(w.pause_ppm)) machine_pause(in.current->on, draw_scale(MS, w.pause_most_us));
    if (in.current->on->paused_until > w.now_us || chance(w.delay_ppm)) task_sleep(draw_scale(1, 3 * MS));
}

/* ----------------------------------------------------------------------------------------- begin and end -- */

void world_begin(uint64_t seed)
{
    bool print_trace = w.print_trace;
    memset(&w, 0, sizeof w);
    w.print_trace = print_trace;
    w.seed = w.random = seed;
    in.count = 0;
    in.order = 0;
}

void world_end(void)
{
    for (task *t = in.task; t < in.task + TASKS_MAX; t++) {
        /* One that is in the middle of something cannot be entered by another. */
        if (t->fiber && t->state != TASK_FREE && t->state != TASK_DONE) {
            fiber_context_close(t->fiber);
            t->fiber = NULL;
        }
        t->state = TASK_FREE;
        t->wait = 0;
    }
    in.count = 0;
}

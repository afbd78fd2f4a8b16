/* SPDX-License-Identifier: MIT
 *
 * Threads that ask about sessions, and what they saw. See parts.h.
 *
 * Every answer is compared with the session that was asked for. What is timed is the call alone. Where calls are paced,
 * one that is late is made at once, up to BACKLOG_NS; what fell due before that is shed and counted, as a server would
 * refuse what it cannot get to: else the end of an outage would show the generator catching up.
 */
#include "parts.h"

#include "base/record.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG_NS 50000000u

typedef struct caller {
    drive *drive;
    pthread_t thread;
    way way;
    bench_random random;
    account *accounts;
    /* Written by this thread alone; relaxed: an observer may be a request behind. */
    _Atomic uint64_t answered, refused;
} __attribute__((aligned(64))) caller;

struct drive {
    drive_plan plan;
    bench_zipf zipf;
    atomic_int phase;        /* relaxed: a request more or less at an edge does not matter */
    atomic_int stop;         /* relaxed: the join orders everything */
    atomic_int awaiting;     /* relaxed: as phase */
    _Atomic uint64_t came;   /* relaxed: the first who sets it wins, and it publishes nothing else */
    _Atomic uint64_t loaded; /* relaxed: a count */
    caller *callers;
};

/* ---------------------------------------------------------------------------------------------- one answer -- */

static _Atomic uint64_t wrong;

void wrong_answer(const char *what, int status)
{
    if (atomic_fetch_add(&wrong, 1) < 5) fprintf(stderr, "\nWRONG: %s (%s)\n", what, latchkey_status_text(status));
}

uint64_t wrong_answers(void) { return atomic_load(&wrong); }

/* The record as Redis gives it: whose is it? */
static int judge_bare(const redisReply *value, latchkey_entry *entry)
{
    lk_record record;
    if (value == NULL || value->type == REDIS_REPLY_ERROR) return LATCHKEY_UNAVAILABLE;
    if (value->type != REDIS_REPLY_STRING) return LATCHKEY_NOT_FOUND;
    if (lk_record_decode(value->str, value->len, &record) != LK_RECORD_GOOD) return LATCHKEY_CORRUPT;
    *entry = record.entry;
    return LATCHKEY_OK;
}

static int ask_bare(redisContext *redis, const one *it, latchkey_entry *entry)
{
    redisReply *reply = redisCommand(redis, "HGET %s v", it->key);
    int status = judge_bare(reply, entry);
    freeReplyObject(reply);
    return status;
}

static int ask_both(redisContext *redis, const one *it, latchkey_entry *entry)
{
    void *value = NULL, *left = NULL;
    redisAppendCommand(redis, "HGET %s v", it->key);
    redisAppendCommand(redis, "PTTL %s", it->key);
    redisGetReply(redis, &value);
    redisGetReply(redis, &left);
    int status = judge_bare(value, entry);
    if (left == NULL || ((redisReply *)left)->type != REDIS_REPLY_INTEGER) status = LATCHKEY_UNAVAILABLE;
    else if (status == LATCHKEY_OK && ((redisReply *)left)->integer <= 0) status = LATCHKEY_EXPIRED;
    freeReplyObject(value);
    freeReplyObject(left);
    return status;
}

static int ask(const way *w, const one *it, latchkey_entry *entry)
{
    if (w->lk) return latchkey_validate(w->lk, it->token, LATCHKEY_TOKEN_LENGTH, entry);
    return w->pttl ? ask_both(w->redis, it, entry) : ask_bare(w->redis, it, entry);
}

void answer_check(const one *it, int status, const latchkey_entry *entry)
{
    uint64_t stamp;
    memcpy(&stamp, entry->permissions_hash, sizeof stamp);
    if (status == LATCHKEY_OK && (entry->user_id != it->user_id || stamp != bench_mix(it->user_id)))
        wrong_answer("another user's answer", status);
    if (status != LATCHKEY_OK && status != LATCHKEY_UNAVAILABLE) wrong_answer("a live session was refused", status);
}

void account_note(account *a, int status, bool stale, uint64_t took)
{
    a->by_status[status - STATUS_LEAST]++;
    a->stale += stale;
    bench_histogram_add(&a->call, took);
}

static void more(_Atomic uint64_t *count)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
}

static void note(caller *c, int phase, int status, bool stale, uint64_t took)
{
    drive *d = c->drive;
    more(status == LATCHKEY_OK ? &c->answered : &c->refused);
    if (status == LATCHKEY_OK && !stale && atomic_load_explicit(&d->awaiting, memory_order_relaxed)) {
        uint64_t none = 0;
        atomic_compare_exchange_strong(&d->came, &none, bench_now_ns());
        atomic_store_explicit(&d->awaiting, 0, memory_order_relaxed);
    }
    if (phase >= 0) account_note(&c->accounts[phase], status, stale, took);
}

/* ---------------------------------------------------------------------------------------------- the threads -- */

/* Waits until the next call is due; the phase that the wait ended in counts what was shed. */
static void pace(caller *c, uint64_t *due, double gap_ns)
{
    *due += (uint64_t)bench_random_exponential(&c->random, gap_ns);
    uint64_t now = bench_now_ns();
    if (*due > now) {
        bench_sleep_until_ns(*due);
    } else if (now - *due > BACKLOG_NS) {
        int phase = atomic_load_explicit(&c->drive->phase, memory_order_relaxed);
        uint64_t shed = (uint64_t)((double)(now - BACKLOG_NS - *due) / gap_ns);
        if (phase >= 0) c->accounts[phase].shed += shed;
        *due = now - BACKLOG_NS;
    }
}

static void *call(void *argument)
{
    caller *c = argument;
    drive *d = c->drive;
    const drive_plan *plan = &d->plan;
    double gap_ns = plan->rate > 0 ? 1e9 * plan->threads / plan->rate : 0;
    size_t loaded = 0;
    if (plan->prewarm) {
        latchkey_prewarm(c->way.lk, plan->prewarm, &loaded);
        atomic_fetch_add_explicit(&d->loaded, loaded, memory_order_relaxed);
    }
    uint64_t due = bench_now_ns();
    while (!atomic_load_explicit(&d->stop, memory_order_relaxed)) {
        size_t index =
            plan->skew > 0 ? bench_zipf_next(&d->zipf, &c->random) : bench_random_below(&c->random, plan->stage->count);
        const one *it = &plan->stage->all[index];
        latchkey_entry entry = {0};
        if (gap_ns > 0) pace(c, &due, gap_ns);
        int phase = atomic_load_explicit(&d->phase, memory_order_relaxed);
        uint64_t began = bench_now_ns();
        int status = ask(&c->way, it, &entry);
        uint64_t took = bench_now_ns() - began;
        answer_check(it, status, &entry);
        note(c, phase, status, (entry.flags & LATCHKEY_FLAG_STALE) != 0, took);
        if (c->way.redis && c->way.redis->err) bench_die("Redis went away: %s", c->way.redis->errstr);
    }
    return NULL;
}

account *accounts_take(int count)
{
    account *accounts = bench_take((size_t)count * sizeof *accounts);
    for (int i = 0; i < count; i++) bench_histogram_clear(&accounts[i].call);
    return accounts;
}

drive *drive_start(const drive_plan *plan)
{
    drive *d = bench_take(sizeof *d);
    d->plan = *plan;
    atomic_init(&d->phase, -1);
    bench_zipf_init(&d->zipf, plan->stage->count, plan->skew);
    d->callers = bench_take((size_t)plan->threads * sizeof *d->callers);
    for (int i = 0; i < plan->threads; i++) {
        caller *c = &d->callers[i];
        c->drive = d;
        c->way = plan->ways[i];
        c->accounts = accounts_take(plan->phases);
        bench_random_seed(&c->random, plan->seed + (uint64_t)i);
        if (pthread_create(&c->thread, NULL, call, c) != 0) bench_die("no more threads");
    }
    return d;
}

void drive_phase(drive *d, int phase) { atomic_store_explicit(&d->phase, phase, memory_order_relaxed); }

void drive_await(drive *d)
{
    atomic_store_explicit(&d->came, 0, memory_order_relaxed);
    atomic_store_explicit(&d->awaiting, 1, memory_order_relaxed);
}

uint64_t drive_awaited_ns(drive *d) { return atomic_load_explicit(&d->came, memory_order_relaxed); }

uint64_t drive_loaded(drive *d) { return atomic_load_explicit(&d->loaded, memory_order_relaxed); }

void drive_totals(drive *d, uint64_t *answered, uint64_t *refused)
{
    *answered = *refused = 0;
    for (int i = 0; i < d->plan.threads; i++) {
        *answered += atomic_load_explicit(&d->callers[i].answered, memory_order_relaxed);
        *refused += atomic_load_explicit(&d->callers[i].refused, memory_order_relaxed);
    }
}

static void account_add(account *into, const account *from)
{
    for (int i = 0; i < STATUSES; i++) into->by_status[i] += from->by_status[i];
    into->stale += from->stale;
    into->shed += from->shed;
    bench_histogram_merge(&into->call, &from->call);
}

account *drive_end(drive *d)
{
    account *all = accounts_take(d->plan.phases);
    atomic_store_explicit(&d->stop, 1, memory_order_relaxed);
    for (int i = 0; i < d->plan.threads; i++) {
        pthread_join(d->callers[i].thread, NULL);
        for (int phase = 0; phase < d->plan.phases; phase++) account_add(&all[phase], &d->callers[i].accounts[phase]);
        free(d->callers[i].accounts);
    }
    free(d->callers);
    free(d);
    return all;
}

/* ------------------------------------------------------------------------------------------------ accounts -- */

uint64_t account_of(const account *a, int status) { return a->by_status[status - STATUS_LEAST]; }

void account_json(bench_json *json, const char *key, const account *a, double seconds)
{
    bench_json_object(json, key);
    bench_json_number(json, "seconds", seconds);
    bench_json_number(json, "calls", (double)a->call.count);
    bench_json_number(json, "shed", (double)a->shed);
    bench_json_number(json, "stale", (double)a->stale);
    bench_json_object(json, "by_status");
    for (int i = 0; i < STATUSES; i++) {
        char name[24] = "";
        if (a->by_status[i] == 0) continue;
        sscanf(latchkey_status_text(i + STATUS_LEAST), "%23[A-Z_]", name);
        bench_json_number(json, name, (double)a->by_status[i]);
    }
    bench_json_end(json, '}');
    bench_json_histogram(json, "call", &a->call, false);
    bench_json_end(json, '}');
}

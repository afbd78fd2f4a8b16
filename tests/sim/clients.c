/* SPDX-License-Identifier: MIT
 *
 * See clients.h. On every machine a process opens the handle and starts the clients; when it is to end it waits for them,
 * closes the handle, and, where it is a restart, begins again.
 */
#include "clients.h"

#include "latchkey.h"
#include "truth.h"

#include <stdio.h>
#include <string.h>

enum { CLIENTS_MAX = 6 };

typedef struct process {
    machine *on;
    latchkey *lk;
    task *main, *client[CLIENTS_MAX];
    bool restart, end, proved;
} process;

static struct {
    workload load;
    process process[MACHINES_MAX];
    int64_t busy_until_us;
    uint64_t users;
    bool prove; /* everything is healed: show that it serves */
} in;

/* ----------------------------------------------------------------------------------------------- calls -- */

static bool create(process *p, int64_t idle_ms, int64_t lifetime_ms, uint64_t user, char token[LATCHKEY_TOKEN_SIZE])
{
    latchkey_draft draft = {.size = sizeof draft, .role = "user"};
    latchkey_field keys = {"pq.mlkem768", "key", 3};
    draft.user_id = user;
    draft.idle_ms = idle_ms;
    draft.lifetime_ms = lifetime_ms;
    draft.fields = &keys;
    draft.field_count = chance(300000);
    int status = latchkey_create(p->lk, &draft, token);
    trace("m%d creates %.8s %d", p->on->index, token, status);
    if (!status) truth_created(token, user);
    totals.creates += !status;
    return !status;
}

static void do_create(process *p, known *unused)
{
    char token[LATCHKEY_TOKEN_SIZE];
    int64_t idle = in.load.idle_ms, lifetime = in.load.lifetime_ms;
    (void)unused;
    if (chance(200000)) idle = draw_scale(200, 60000); /* one that ends soon */
    if (chance(200000)) lifetime = draw_scale(500, 120000);
    create(p, idle, lifetime, chance(700000) ? ++in.users : 1 + draw(in.users + 1), token);
}

static void do_validate(process *p, known *s)
{
    latchkey_entry entry;
    int times = chance(200000) ? (int)draw_between(2, 12) : 1;
    uint64_t life = s->life;
    for (int i = 0; i < times && s->life == life; i++) {
        asking a = truth_asks(p->on, s);
        int status = latchkey_validate(p->lk, a.token, LATCHKEY_TOKEN_LENGTH, &entry);
        truth_in_time(&a, "validate");
        truth_answer(&a, status, &entry);
        if (chance(100000)) task_sleep(draw_scale(1, 20 * MS));
    }
}

static void do_try(process *p, known *s)
{
    latchkey_entry entry;
    asking a = truth_asks(p->on, s);
    int status = latchkey_try_validate(p->lk, a.token, LATCHKEY_TOKEN_LENGTH, &entry);
    truth_answer(&a, status, &entry);
}

static void do_load(process *p, known *s)
{
    latchkey_record *record = NULL;
    asking a = truth_asks(p->on, s);
    int status = latchkey_load(p->lk, a.token, LATCHKEY_TOKEN_LENGTH, &record);
    truth_in_time(&a, "load");
    truth_answer(&a, status, latchkey_record_entry(record));
    latchkey_record_free(record);
}

static void do_touch(process *p, known *s)
{
    asking a = truth_asks(p->on, s);
    trace("m%d touches %.8s %d", p->on->index, a.token, latchkey_touch(p->lk, a.token, LATCHKEY_TOKEN_LENGTH));
    truth_in_time(&a, "touch");
}

static void do_set_fields(process *p, known *s)
{
    latchkey_field field = {"theme", "another", draw(8)};
    if (chance(500000)) field.name = "pq.mldsa44";
    asking a = truth_asks(p->on, s);
    int status = latchkey_set_fields(p->lk, a.token, LATCHKEY_TOKEN_LENGTH, &field, 1);
    trace("m%d changes %.8s %d", p->on->index, a.token, status);
    truth_in_time(&a, "set_fields");
}

static int revoke(process *p, known *s)
{
    if (!s->on[p->on->index].asked_us) s->on[p->on->index].asked_us = w.now_us;
    asking a = truth_asks(p->on, s);
    int status = latchkey_revoke(p->lk, a.token, LATCHKEY_TOKEN_LENGTH);
    truth_in_time(&a, "revoke");
    truth_revoked(&a, status);
    return status;
}

/* Others come in just then, and who ended it looks whether it did end. */
static void do_revoke(process *p, known *s)
{
    uint64_t life = s->life;
    if (chance(500000)) {
        truth_favour(s);
        task_wake(&in, true);
        if (chance(500000)) task_sleep(draw_scale(1, 5 * MS));
    }
    if (s->life == life) revoke(p, s);
    if (s->life == life && chance(500000)) do_validate(p, s);
}

static void do_prewarm(process *p, known *s)
{
    size_t loaded;
    (void)s;
    trace("m%d prewarms %d", p->on->index, latchkey_prewarm(p->lk, 20, &loaded));
}

static void act(process *p)
{
    static const struct {
        unsigned parts;
        void (*call)(process *p, known *s);
    } calls[] = {{600, do_validate}, {70, do_try},        {30, do_load},   {50, do_create},
                 {40, do_touch},     {30, do_set_fields}, {90, do_revoke}, {10, do_prewarm}};
    known *s = truth_any(chance(350000));
    unsigned dice = (unsigned)draw(920), i = 0;
    while (dice >= calls[i].parts) dice -= calls[i++].parts;
    if (!s) do_create(p, NULL);
    else calls[i].call(p, s);
}

/* --------------------------------------------------------------------------------------------- processes -- */

static void rest(void)
{
    int64_t us = draw_between(SECOND, 300 * SECOND);
    if (in.busy_until_us > w.now_us)
        us = chance(300000) ? draw_scale(20, in.load.busy_rest_us) : draw_between(1, in.load.busy_rest_us);
    task_wait(&in, w.now_us + us);
}

/* One validation of a session that this client just made; false also where the truth looks after it no more. */
static bool answers(process *p, known *s, uint64_t life, int expected)
{
    latchkey_entry entry;
    if (s->life != life) return false;
    asking a = truth_asks(p->on, s);
    int status = latchkey_validate(p->lk, a.token, LATCHKEY_TOKEN_LENGTH, &entry);
    truth_answer(&a, status, &entry);
    return status == expected;
}

/* Once everything is healed: a session is made, admitted, also from L1 (so there is a lease), ended and refused. */
static bool prove(process *p)
{
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_entry entry;
    if (!create(p, 600000, 3600000, ++in.users, token)) return false;
    known *s = truth_find(token);
    if (!s) return false;
    uint64_t life = s->life;
    if (!answers(p, s, life, LATCHKEY_OK)) return false;
    if (in.load.l1 && latchkey_try_validate(p->lk, token, LATCHKEY_TOKEN_LENGTH, &entry)) return false;
    if (s->life != life || revoke(p, s)) return false;
    return answers(p, s, life, LATCHKEY_NOT_FOUND);
}

static void *client(void *context)
{
    process *p = context;
    while (!p->end && !p->restart) {
        rest();
        if (p->end || p->restart) break;
        if (!in.prove) act(p);
        else if (!p->proved) p->proved = prove(p);
    }
    return NULL;
}

static void count(process *p)
{
    latchkey_stats s;
    if (latchkey_stats_read(p->lk, &s, sizeof s)) return;
    totals.hits += s.l1_hits;
    totals.fills += s.fills;
    totals.refused_fills += s.fills_refused;
    totals.empties += s.empties;
    totals.purges += s.purges;
    totals.beats += s.beats;
    totals.missed += s.missed;
    totals.replayed += s.replayed;
    totals.lapses += s.lapses;
    totals.refreshes += s.refreshes;
    totals.refreshes_dropped += s.refreshes_dropped;
    totals.dead_refused += s.dead_refused;
    if (in.prove && s.pending) fail("m%d never got rid of %d pending revocations", p->on->index, (int)s.pending);
}

static void live_once(process *p)
{
    char error[200], config[512];
    snprintf(config, sizeof config, "%s", in.load.config);
    int status = latchkey_open(config, &p->lk, error, sizeof error);
    if (status) {
        fail("open: %d %s (%s)", status, error, config);
        return;
    }
    p->restart = false;
    for (int i = 0; i < in.load.clients; i++) p->client[i] = task_start(p->on, "client", client, p);
    for (int i = 0; i < in.load.clients; i++)
        while (p->client[i] && !task_done(p->client[i])) task_wait(p->client[i], FOREVER);
    count(p);
    latchkey_close(p->lk);
    p->lk = NULL;
}

static void *process_main(void *context)
{
    process *p = context;
    do {
        live_once(p);
        trace("m%d's process ended", p->on->index);
        truth_restarted(p->on);
    } while (!p->end && !w.failure[0]);
    return NULL;
}

void clients_begin(const workload *load)
{
    memset(&in, 0, sizeof in);
    in.load = *load;
    for (int i = 0; i < w.machine_count; i++) {
        in.process[i].on = &w.machines[i];
        in.process[i].main = task_start(&w.machines[i], "process", process_main, &in.process[i]);
    }
}

void clients_busy(int64_t us)
{
    if (in.busy_until_us < w.now_us + us) in.busy_until_us = w.now_us + us;
    task_wake(&in, true);
}

void clients_restart(int which)
{
    trace("m%d's process is to restart", which);
    in.process[which].restart = true;
    task_wake(&in, true);
}

bool clients_all_serve(int64_t within_us)
{
    in.prove = true;
    int64_t until_us = w.now_us + within_us;
    bool all = false;
    while (!all && w.now_us < until_us) {
        clients_busy(10 * SECOND);
        if (!world_run(w.now_us + 200 * MS)) return false;
        all = true;
        for (int i = 0; i < w.machine_count; i++) all = all && in.process[i].proved;
    }
    for (int i = 0; i < w.machine_count; i++)
        if (!in.process[i].proved)
            fail("m%d does not serve again, %.1f s after the last fault", i, (double)within_us / 1e6);
    return all;
}

void clients_end(void)
{
    for (int i = 0; i < w.machine_count; i++) in.process[i].end = true;
    task_wake(&in, true);
    if (!world_run(w.now_us + 300 * SECOND)) return;
    for (int i = 0; i < w.machine_count; i++)
        if (!task_done(in.process[i].main)) fail("m%d's process does not end", i);
}

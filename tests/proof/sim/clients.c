/* SPDX-License-Identifier: MIT
 *
 * See clients.h. On every machine a process opens the handle and starts the clients; when it is to end it waits for them,
 * closes the handle, and, where it is a restart, begins again.
 */
#include "clients_inside.h"

#include "hooks.h"
#include "wire.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { SPINS_MAX = 200 };

static struct {
    workload load;
    process process[MACHINES_MAX];
    int64_t busy_until_us;
    bool prove; /* everything is healed: show that it serves */
} in;

/* --------------------------------------------------------------------------------------------- processes -- */

static void rest(void)
{
    int64_t us = draw_between(SECOND, 300 * SECOND);
    if (in.busy_until_us > w.now_us)
        us = chance(300000) ? draw_scale(20, in.load.busy_rest_us) : draw_between(1, in.load.busy_rest_us);
    task_wait(&in, w.now_us + (in.prove ? us / 4 : us));
}

/* One validation of a session that this client just made; false also where the truth looks after it no more. */
static bool answers(process *p, known *s, uint64_t life, int expected)
{
    latchkey_entry entry;
    if (s->life != life) return false;
    asking a = truth_asks(p->on, s);
    int status = latchkey_validate(p->lk, a.token, strlen(a.token), &entry);
    truth_answer(&a, status, &entry);
    return status == expected;
}

/* Once everything is healed, in that partition: a session is made, and admitted, also from L1 (so there is a lease); in the
 * first one, it is ended and refused as well. */
static bool prove(process *p, unsigned partition)
{
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_entry entry;
    uint64_t user;
    do user = calls_new_user();
    while (hooks_partition(p->lk, user) != partition);
    if (!calls_create(p, 600000, 3600000, user, token)) return false;
    known *s = truth_find(token);
    if (!s) return false;
    uint64_t life = s->life;
    if (!answers(p, s, life, LATCHKEY_OK)) return false;
    if (in.load.l1 && latchkey_try_validate(p->lk, token, LATCHKEY_TOKEN_LENGTH, &entry)) return false;
    if (partition) return true;
    if (s->life != life || calls_revoke(p, s)) return false;
    return answers(p, s, life, LATCHKEY_NOT_FOUND);
}

static void prove_next(process *p)
{
    unsigned partition = p->proved;
    bool proved = prove(p, partition);
    if (proved && p->proved == partition) p->proved++;
}

static void *client(void *context)
{
    process *p = context;
    latchkey_stats s;
    while (!p->end && !p->restart) {
        rest();
        if (p->end || p->restart) break;
        if (!in.prove) calls_act(p);
        else if (p->proved < in.load.partitions) prove_next(p);
        else p->settled = !latchkey_stats_read(p->lk, &s, sizeof s) && !s.pending;
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------- loops: submit and reap -- */

static submitted *find_tag(process *p, uint64_t tag)
{
    submitted *o = p->submitted;
    while (o < p->submitted + OUTSTANDING_MAX && o->tag != tag) o++;
    return o < p->submitted + OUTSTANDING_MAX ? o : NULL;
}

static int outstanding(const process *p)
{
    int count = 0;
    for (int i = 0; i < OUTSTANDING_MAX; i++) count += p->submitted[i].tag != 0;
    return count;
}

/* It is on the list before it is submitted: another loop may reap it before submit returns. */
static void submit(process *p, known *s, bool proof)
{
    submitted *o = find_tag(p, 0);
    if (!o) return;
    uint64_t tag = ++p->tags;
    *o = (submitted){.tag = tag, .asking = truth_asks(p->on, s), .proof = proof};
    int before = outstanding(p) - 1;
    int status = latchkey_submit(p->lk, o->asking.token, strlen(o->asking.token), tag);
    trace("m%d submits %.8s as %d: %d", p->on->index, s->token, (int)tag, status);
    totals.submitted += !status;
    if (!status) return;
    if (status != LATCHKEY_UNAVAILABLE) fail("A: m%d: submit returns %d", p->on->index, status);
    int most = before + (int)(p->tags - tag); /* and what others submitted meanwhile */
    if (most < in.load.in_flight) fail("m%d: submit refuses what there is a place for", p->on->index);
    if (o->tag != tag) fail("m%d: a tag that was refused is answered", p->on->index);
    else o->tag = 0;
}

static void take(process *p, const latchkey_answer *a, int64_t reap_us)
{
    static const latchkey_entry nothing;
    submitted *o = a->tag ? find_tag(p, a->tag) : NULL;
    if (!o) {
        fail("m%d reaps the tag %d, which is not outstanding", p->on->index, (int)a->tag);
        return;
    }
    totals.reaped++;
    truth_reaped(&o->asking, reap_us, a->status, &a->entry);
    truth_reaped_in_time(&o->asking, o->gap_us, true);
    if (a->status && memcmp(&a->entry, &nothing, sizeof nothing)) fail("an answer that is none has an entry");
    p->loop_proved |= o->proof && !a->status;
    o->tag = 0;
}

static bool readable(process *p, int wait_ms)
{
    struct pollfd fd = {.fd = latchkey_fd(p->lk), .events = POLLIN};
    return poll(&fd, 1, wait_ms) > 0;
}

/* One call of reap. What it gives must have shown on the descriptor before. */
static size_t reap_once(process *p, size_t max)
{
    latchkey_answer answers[4];
    int fd = latchkey_fd(p->lk);
    uint64_t stirred = wire_stirred(fd);
    bool shown = readable(p, 0);
    for (submitted *o = p->submitted; o < p->submitted + OUTSTANDING_MAX; o++) {
        int64_t since = o->asking.began_us > p->reaped_us ? o->asking.began_us : p->reaped_us;
        if (o->tag && w.now_us - since > o->gap_us) o->gap_us = w.now_us - since;
    }
    int64_t began_us = w.now_us;
    size_t count = latchkey_reap(p->lk, answers, max);
    p->reaped_us = w.now_us;
    if (count && !shown && stirred == wire_stirred(fd))
        fail("m%d reaps an answer that the descriptor did not tell of", p->on->index);
    for (size_t i = 0; i < count; i++) take(p, &answers[i], began_us);
    return count;
}

static size_t reap(process *p)
{
    size_t max = (size_t)draw_between(1, 4), count = 0, more;
    uint64_t newest = p->tags;
    int64_t began_us = w.now_us;
    do count += more = reap_once(p, max);
    while (more == max);
    for (submitted *o = p->submitted; o < p->submitted + OUTSTANDING_MAX; o++)
        if (o->tag && o->tag <= newest && o->asking.began_us <= began_us)
            truth_reaped_in_time(&o->asking, o->gap_us + w.now_us - began_us, false);
    return count;
}

/* As an event loop does it. A descriptor that stays readable though there is nothing would keep it turning. */
static void serve_until(process *p, int64_t until_us)
{
    int spins = 0;
    int64_t since_us = w.now_us;
    while ((outstanding(p) || w.now_us < until_us) && !p->end && !p->restart && !w.failure[0]) {
        bool idle = !readable(p, 1000) || reap(p) || w.now_us > since_us + 20 * MS;
        spins = idle ? 0 : spins + 1;
        if (idle) since_us = w.now_us;
        if (spins > SPINS_MAX) fail("m%d: the descriptor is readable and there is nothing to reap", p->on->index);
    }
}

/* Without looking at the descriptor; seldom, sometimes. */
static void serve_by_the_clock(process *p, int64_t most_us)
{
    while (outstanding(p) && !p->end && !p->restart && !w.failure[0]) {
        task_sleep(draw_scale(100, most_us));
        if (!p->end && !p->restart) reap(p);
    }
}

/* The answers are there, or will be, and lie for so long that the lease may lapse, while others end what they are about. */
static void let_lie(process *p)
{
    for (submitted *o = p->submitted; o < p->submitted + OUTSTANDING_MAX; o++)
        if (o->tag && o->asking.about->life == o->asking.life) truth_favour(o->asking.about);
    int64_t us = p->lie_us ? p->lie_us : draw_between(0, 24 * in.load.busy_rest_us);
    if (readable(p, 1000)) task_wake(&in, true);
    if (p->lie_us && w.faults) wire_hold_all(p->on, us);
    p->lie_us = 0;
    task_wait(&in.prove, w.now_us + (us > MS ? us - (int64_t)draw(MS) : us)); /* or until it is to be proved */
    serve_until(p, 0);
}

static void submit_some(process *p)
{
    for (uint64_t i = 1 + draw(6); i && !p->end && !p->restart; i--) {
        known *s = truth_any(chance(300000));
        if (s) submit(p, s, false);
        if (chance(300000)) task_sleep(draw_scale(1, 5 * MS));
    }
}

static void prove_loop(process *p)
{
    char token[LATCHKEY_TOKEN_SIZE];
    if (!calls_create(p, 600000, 3600000, calls_new_user(), token)) return;
    known *s = truth_find(token);
    if (s) submit(p, s, true);
    serve_until(p, 0);
}

static void *loop(void *context)
{
    process *p = context;
    while (!p->end && !p->restart && !w.failure[0]) {
        rest();
        if (p->end || p->restart) break;
        if (in.prove) {
            if (!p->loop_proved) prove_loop(p);
            continue;
        }
        submit_some(p);
        uint64_t manner = p->lie_us ? 1 : draw(4);
        if (manner == 0) serve_by_the_clock(p, 20 * MS);
        else if (manner == 1) let_lie(p);
        else serve_until(p, w.now_us + draw_scale(MS, 8 * in.load.busy_rest_us));
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
    char error[200], config[sizeof in.load.config + 8];
    snprintf(config, sizeof config, "%s%s", in.load.config, p->on->database ? "&db=1" : "");
    int status = latchkey_open(config, &p->lk, error, sizeof error);
    if (status) {
        fail("open: %d %s (%s)", status, error, config);
        return;
    }
    p->restart = false;
    for (int i = 0; i < in.load.clients; i++) p->client[i] = task_start(p->on, "client", client, p);
    for (int i = 0; i < in.load.loops; i++) p->loop[i] = task_start(p->on, "loop", loop, p);
    for (int i = 0; i < in.load.loops; i++)
        while (p->loop[i] && !task_done(p->loop[i])) task_wait(p->loop[i], FOREVER);
    for (int i = 0; i < in.load.clients; i++)
        while (p->client[i] && !task_done(p->client[i])) task_wait(p->client[i], FOREVER);
    count(p);
    latchkey_close(p->lk);
    p->lk = NULL;
    totals.dropped += (uint64_t)outstanding(p);
    memset(p->submitted, 0, sizeof p->submitted);
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
    calls_begin(load);
    if (load->second_database) w.machines[w.machine_count - 1].database = 1;
    for (int i = 0; i < w.machine_count; i++) {
        in.process[i].on = &w.machines[i];
        in.process[i].main = task_start(&w.machines[i], "process", process_main, &in.process[i]);
    }
}

void clients_wake(void) { task_wake(&in, true); }

void clients_busy(int64_t us)
{
    if (in.busy_until_us < w.now_us + us) in.busy_until_us = w.now_us + us;
    task_wake(&in, true);
}

void clients_end_all(void)
{
    trace("all sessions are to be ended");
    calls_end_all = true;
    task_wake(&in, true);
}

void clients_let_lie(int which, int64_t us)
{
    trace("m%d's answers are to lie unread for %.3f s", which, (double)us / 1e6);
    in.process[which].lie_us = us;
    task_wake(&in, true);
}

void clients_restart(int which)
{
    trace("m%d's process is to restart", which);
    in.process[which].restart = true;
    task_wake(&in, true);
}

bool clients_walled(void)
{
    bool any = false;
    for (int i = 0; i < w.machine_count; i++) any |= w.machines[i].walled_until > w.now_us;
    return any;
}

bool clients_deaf(void)
{
    bool any = false;
    for (int i = 0; i < w.machine_count; i++) any |= w.machines[i].deaf_until > w.now_us;
    return any;
}

/* And Redis has what was revoked meanwhile. */
static bool serves(const process *p)
{
    return p->proved == in.load.partitions && p->settled && (p->loop_proved || !in.load.loops);
}

bool clients_all_serve(int64_t within_us)
{
    in.prove = true;
    task_wake(&in.prove, true);
    int64_t until_us = w.now_us + within_us;
    bool all = false;
    while (!all && w.now_us < until_us) {
        clients_busy(10 * SECOND);
        if (!world_run(w.now_us + 200 * MS)) return false;
        all = true;
        for (int i = 0; i < w.machine_count; i++) all = all && serves(&in.process[i]);
    }
    for (int i = 0; i < w.machine_count; i++)
        if (!serves(&in.process[i]))
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

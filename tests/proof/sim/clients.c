/* SPDX-License-Identifier: MIT
 *
 * See clients.h. On every machine a process opens the handle and starts the clients; when it is to end it waits for them,
 * closes the handle, and, where it is a restart, begins again.
 */
#include "clients.h"

#include "latchkey.h"
#include "truth.h"
#include "wire.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { CLIENTS_MAX = 12, LOOPS_MAX = 2, OUTSTANDING_MAX = 32, SPINS_MAX = 200 };

typedef struct submitted {
    uint64_t tag; /* 0: none */
    asking asking;
    int64_t gap_us; /* the longest time for which nobody reaped */
    bool proof;     /* must be admitted */
} submitted;

typedef struct process {
    machine *on;
    latchkey *lk;
    task *main, *client[CLIENTS_MAX], *loop[LOOPS_MAX];
    bool restart, end, proved, loop_proved;
    submitted submitted[OUTSTANDING_MAX];
    uint64_t tags;
    int64_t reaped_us; /* when it was reaped last */
    int64_t lie_us;    /* 0: nothing is to lie */
} process;

static struct {
    workload load;
    process process[MACHINES_MAX];
    int64_t busy_until_us;
    uint64_t users;
    bool prove; /* everything is healed: show that it serves */
} in;

/* ----------------------------------------------------------------------------------------------- calls -- */

static latchkey_draft draft_of(uint64_t user)
{
    latchkey_draft draft = {.size = sizeof draft, .role = "user", .user_id = user};
    draft.device = (uint32_t)draw(2);
    draft.idle_ms = in.load.idle_ms;
    draft.lifetime_ms = in.load.lifetime_ms;
    if (chance(200000)) draft.idle_ms = draw_scale(200, 60000); /* one that ends soon */
    if (chance(200000)) draft.lifetime_ms = draw_scale(500, 120000);
    return draft;
}

static int create_from(process *p, latchkey_draft *draft, char token[LATCHKEY_TOKEN_SIZE])
{
    static const latchkey_field keys = {"pq.mlkem768", "key", 3};
    draft->fields = &keys;
    draft->field_count = chance(300000);
    int status = latchkey_create(p->lk, draft, token);
    trace("m%d creates %.8s %d", p->on->index, token, status);
    if (!status) truth_created(token, draft->user_id);
    totals.creates += !status;
    return status;
}

static bool create(process *p, int64_t idle_ms, int64_t lifetime_ms, uint64_t user, char token[LATCHKEY_TOKEN_SIZE])
{
    latchkey_draft draft = draft_of(user);
    draft.idle_ms = idle_ms;
    draft.lifetime_ms = lifetime_ms;
    return !create_from(p, &draft, token);
}

static void do_create(process *p, known *s)
{
    char token[LATCHKEY_TOKEN_SIZE];
    bool again = s && chance(400000); /* one more of a user's */
    latchkey_draft draft = draft_of(again ? s->user : ++in.users);
    create_from(p, &draft, token);
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

static void favour_some(known *s)
{
    if (chance(500000)) truth_favour(s);
    if (chance(500000)) task_wake(&in, true);
}

/* With the old token somebody goes on, in its grace and after it. */
static void do_rotate(process *p, known *s)
{
    char token[LATCHKEY_TOKEN_SIZE] = "";
    int64_t grace_ms = chance(350000) ? 0 : draw_scale(20, in.load.idle_ms < 3600000 ? in.load.idle_ms : 3600000);
    uint64_t life = s->life;
    if (chance(500000)) favour_some(s);
    asking a = truth_asks(p->on, s);
    int status = latchkey_rotate(p->lk, a.token, LATCHKEY_TOKEN_LENGTH, grace_ms, token);
    truth_in_time(&a, "rotate");
    truth_rotated(&a, status, token);
    if (s->life == life && chance(700000)) do_validate(p, s);
    if (s->life != life || !chance(300000)) return;
    if (grace_ms && grace_ms < 5000) task_sleep(grace_ms * MS + draw_scale(1, SECOND));
    if (s->life == life) do_validate(p, s);
}

/* Of all sessions of its user; it is kept itself, or another's token is given, or none. */
static void do_revoke_user(process *p, known *s)
{
    known *keep = chance(200000) ? truth_any(false) : chance(500000) ? s : NULL;
    char token[LATCHKEY_TOKEN_SIZE] = "";
    size_t ended;
    if (chance(500000)) favour_some(s);
    if (keep) memcpy(token, keep->token, sizeof token);
    asking a = truth_asks_all(p->on, s, keep);
    int status = latchkey_revoke_user(p->lk, a.user, keep ? token : NULL, strlen(token), &ended);
    truth_in_time(&a, "revoke_user");
    truth_user_revoked(&a, status);
    for (int i = 0; i < 2 && s->life == a.life && chance(500000); i++) do_validate(p, s);
}

static void do_revoke_selector(process *p, known *s)
{
    bool foreign = chance(150000);
    asking a = truth_asks(p->on, s);
    int status = latchkey_revoke_selector(p->lk, a.user + foreign, s->selector);
    truth_in_time(&a, "revoke_selector");
    if (!foreign) truth_named_revoked(&a, status);
    else if (!status) fail("m%d ends %s in another user's name", p->on->index, a.token);
    if (chance(500000) && s->life == a.life) do_validate(p, s);
}

/* A login of two steps, between which the user's sessions may be ended. */
static void do_login(process *p, known *s)
{
    char token[LATCHKEY_TOKEN_SIZE] = "";
    asking a = truth_asks(p->on, s);
    latchkey_draft draft = draft_of(a.user);
    int status = latchkey_user_generation(p->lk, a.user, &draft.generation);
    truth_in_time(&a, "user_generation");
    if (status) return;
    int64_t read_us = w.now_us;
    if (chance(400000) && a.life == s->life) do_revoke_user(p, s);
    else if (chance(700000)) task_sleep(draw_scale(1, SECOND));
    int64_t create_us = w.now_us;
    status = create_from(p, &draft, token);
    truth_login(&a, read_us, create_us, status, token);
}

static void do_list(process *p, known *s)
{
    latchkey_session_info infos[64];
    size_t total, max = chance(100000) ? draw(4) : 64;
    asking a = truth_asks(p->on, s);
    int status = latchkey_sessions(p->lk, a.user, a.token, LATCHKEY_TOKEN_LENGTH, infos, max, &total);
    truth_in_time(&a, "sessions");
    if (!status) truth_listed(&a, infos, max, total);
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
    } calls[] = {{600, do_validate},  {70, do_try},    {30, do_load},           {50, do_create}, {40, do_touch},
                 {30, do_set_fields}, {90, do_revoke}, {10, do_prewarm},        {60, do_rotate}, {15, do_revoke_user},
                 {15, do_login},      {15, do_list},   {15, do_revoke_selector}};
    known *s = truth_any(chance(350000));
    unsigned dice = (unsigned)draw(1040), i = 0;
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
    int status = latchkey_submit(p->lk, o->asking.token, LATCHKEY_TOKEN_LENGTH, tag);
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
    if (!create(p, 600000, 3600000, ++in.users, token)) return;
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
    char error[200], config[512];
    snprintf(config, sizeof config, "%s", in.load.config);
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

static bool serves(const process *p) { return p->proved && (p->loop_proved || !in.load.loops); }

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

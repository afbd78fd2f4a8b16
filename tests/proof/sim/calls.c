/* SPDX-License-Identifier: MIT
 *
 * What clients call, as an application would, and how the truth is told of it.
 */
#include "clients_inside.h"

#include "chaos.h"

#include <stdio.h>
#include <string.h>

workload calls_load;
bool calls_end_all;
static uint64_t users;

void calls_begin(const workload *load)
{
    calls_load = *load;
    calls_end_all = false;
    users = 0;
}

uint64_t calls_new_user(void) { return ++users; }

/* ----------------------------------------------------------------------------------------------- calls -- */

latchkey_draft calls_draft_of(uint64_t user)
{
    latchkey_draft draft = {.size = sizeof draft, .role = "user", .user_id = user};
    draft.device = (uint32_t)draw(2);
    draft.idle_ms = calls_load.idle_ms;
    draft.lifetime_ms = calls_load.lifetime_ms;
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
    truth_token_given(!status);
    if (!status) truth_created(token, draft->user_id);
    /* What is made while some are cut off, those show to the wrong server. */
    known *made = status ? NULL : truth_find(token);
    if (calls_load.dense && made && clients_walled() && chance(300000)) truth_favour(made);
    totals.creates += !status;
    return status;
}

bool calls_create(process *p, int64_t idle_ms, int64_t lifetime_ms, uint64_t user, char token[LATCHKEY_TOKEN_SIZE])
{
    latchkey_draft draft = calls_draft_of(user);
    draft.idle_ms = idle_ms;
    draft.lifetime_ms = lifetime_ms;
    return !create_from(p, &draft, token);
}

static void do_create(process *p, known *s)
{
    char token[LATCHKEY_TOKEN_SIZE];
    bool again = s && chance(400000); /* one more of a user's */
    latchkey_draft draft = calls_draft_of(again ? s->user : calls_new_user());
    create_from(p, &draft, token);
}

void calls_validate(process *p, known *s)
{
    latchkey_entry entry;
    int times = chance(200000) ? (int)draw_between(2, 12) : 1;
    uint64_t life = s->life;
    for (int i = 0; i < times && s->life == life; i++) {
        asking a = truth_asks(p->on, s);
        int status = latchkey_validate(p->lk, a.token, strlen(a.token), &entry);
        truth_in_time(&a, "validate");
        truth_answer(&a, status, &entry);
        if (chance(100000)) task_sleep(draw_scale(1, 20 * MS));
    }
}

static void do_try(process *p, known *s)
{
    latchkey_entry entry;
    asking a = truth_asks(p->on, s);
    int status = latchkey_try_validate(p->lk, a.token, strlen(a.token), &entry);
    truth_answer(&a, status, &entry);
}

static void do_load(process *p, known *s)
{
    latchkey_record *record = NULL;
    asking a = truth_asks(p->on, s);
    int status = latchkey_load(p->lk, a.token, strlen(a.token), &record);
    truth_in_time(&a, "load");
    truth_answer(&a, status, latchkey_record_entry(record));
    latchkey_record_free(record);
}

static void do_touch(process *p, known *s)
{
    asking a = truth_asks(p->on, s);
    trace("m%d touches %.8s %d", p->on->index, a.token, latchkey_touch(p->lk, a.token, strlen(a.token)));
    truth_in_time(&a, "touch");
}

static void do_set_fields(process *p, known *s)
{
    latchkey_field field = {"theme", "another", draw(8)};
    if (chance(500000)) field.name = "pq.mldsa44";
    asking a = truth_asks(p->on, s);
    int status = latchkey_set_fields(p->lk, a.token, strlen(a.token), &field, 1);
    trace("m%d changes %.8s %d", p->on->index, a.token, status);
    truth_in_time(&a, "set_fields");
}

int calls_revoke(process *p, known *s)
{
    if (!s->on[p->on->index].asked_us) s->on[p->on->index].asked_us = w.now_us;
    asking a = truth_asks_end(p->on, s);
    int status = latchkey_revoke(p->lk, a.token, strlen(a.token));
    truth_in_time(&a, "revoke");
    truth_revoked(&a, status);
    return status;
}

/* It is asked about again as soon as nobody may admit it any more. */
static void revoke_and_see(process *p, known *s)
{
    uint64_t life = s->life;
    if (!calls_revoke(p, s) && s->life == life) truth_favour_later(s, draw_scale(1, 16 * calls_load.busy_rest_us));
}

/* Others come in just then, and who ended it looks whether it did end. */
static void do_revoke(process *p, known *s)
{
    uint64_t life = s->life;
    if (calls_load.dense && chance(300000)) { /* once all have it */
        truth_favour(s);
        task_sleep(draw_between(0, 4 * calls_load.busy_rest_us));
        if (s->life == life) revoke_and_see(p, s);
        return;
    }
    if (chance(500000)) {
        truth_favour(s);
        clients_wake();
        if (chance(500000)) task_sleep(draw_scale(1, 5 * MS));
    }
    if (s->life == life) calls_revoke(p, s);
    if (s->life == life && chance(500000)) calls_validate(p, s);
}

void calls_favour_some(known *s)
{
    if (chance(500000)) truth_favour(s);
    if (chance(500000)) clients_wake();
}

/* A client goes on with the old token, in its grace and after it. */
static void do_rotate(process *p, known *s)
{
    char token[LATCHKEY_TOKEN_SIZE] = "";
    int64_t grace_ms = chance(350000) ? 0 : draw_scale(20, calls_load.idle_ms < 3600000 ? calls_load.idle_ms : 3600000);
    uint64_t life = s->life;
    if (chance(500000)) calls_favour_some(s);
    asking a = truth_asks(p->on, s);
    int status = latchkey_rotate(p->lk, a.token, strlen(a.token), grace_ms, token);
    truth_in_time(&a, "rotate");
    truth_token_given(!status);
    truth_rotated(&a, status, token);
    if (s->life == life && chance(700000)) calls_validate(p, s);
    if (s->life != life || !chance(300000)) return;
    if (grace_ms && grace_ms < 5000) task_sleep(grace_ms * MS + draw_scale(1, SECOND));
    if (s->life == life) calls_validate(p, s);
}

void calls_revoke_all(process *p, known *s, known *keep)
{
    char token[TOKEN_ROOM] = "";
    size_t ended;
    if (keep) memcpy(token, keep->token, sizeof token);
    asking a = truth_asks_all(p->on, s, keep);
    int status = latchkey_revoke_user(p->lk, a.user, keep ? token : NULL, strlen(token), &ended);
    truth_in_time(&a, "revoke_user");
    truth_user_revoked(&a, status);
}

/* It is kept itself, or another's token is given, or none. */
static void do_revoke_user(process *p, known *s)
{
    known *keep = chance(200000) ? truth_any(false) : chance(500000) ? s : NULL;
    if (keep && keep->exchanged_us && keep->user != s->user && !calls_load.old_keeps) keep = NULL;
    uint64_t life = s->life;
    if (chance(500000)) calls_favour_some(s);
    calls_revoke_all(p, s, keep);
    for (int i = 0; i < 2 && s->life == life && chance(500000); i++) calls_validate(p, s);
}

static void do_revoke_selector(process *p, known *s)
{
    bool foreign = chance(150000);
    asking a = truth_asks_end(p->on, s);
    char selector[sizeof s->selector]; /* another client may put another session into *s while the call runs */
    memcpy(selector, s->selector, sizeof selector);
    int status = latchkey_revoke_selector(p->lk, a.user + foreign, selector);
    truth_in_time(&a, "revoke_selector");
    if (!foreign) truth_named_revoked(&a, status);
    else if (!status) fail("m%d ends %s in another user's name", p->on->index, a.token);
    if (chance(500000) && s->life == a.life) calls_validate(p, s);
}

/* A login of two steps, between which the user's sessions may be ended. */
static void do_login(process *p, known *s)
{
    char token[LATCHKEY_TOKEN_SIZE] = "";
    asking a = truth_asks(p->on, s);
    latchkey_draft draft = calls_draft_of(a.user);
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

void calls_list(process *p, known *s)
{
    latchkey_session_info infos[64];
    size_t total, max = chance(100000) ? draw(4) : 64;
    asking a = truth_asks(p->on, s);
    int status = latchkey_sessions(p->lk, a.user, a.token, strlen(a.token), infos, max, &total);
    truth_in_time(&a, "sessions");
    if (!status) truth_listed(&a, infos, max, total);
}

static void do_prewarm(process *p, known *s)
{
    size_t loaded;
    (void)s;
    trace("m%d prewarms %d", p->on->index, latchkey_prewarm(p->lk, 20, &loaded));
}

static void do_end(process *p, known *s)
{
    uint64_t life = s->life;
    if (chance(500000)) { /* once others have it */
        truth_favour(s);
        task_sleep(draw_between(0, calls_load.busy_rest_us));
    }
    if (s->life == life) revoke_and_see(p, s);
}

/* In an outage users log out, until there is no place for more. */
static void do_revoke_some(process *p, known *s)
{
    for (int i = 0; s && i < 12 && calls_revoke(p, s) == LATCHKEY_PENDING; i++) s = truth_any(false);
    if (s) truth_favour(s);
}

/* Hardly a beat has told of the loss yet. */
static bool is_news(const known *s) { return w.now_us < s->lost_us + 2 * calls_load.busy_rest_us; }

void calls_act(process *p)
{
    static const struct {
        unsigned parts;
        void (*call)(process *p, known *s);
        bool quiet; /* it announces nothing */
    } calls[] = {{600, calls_validate, true},
                 {70, do_try, true},
                 {30, do_load, true},
                 {50, do_create, true},
                 {40, do_touch, true},
                 {30, do_set_fields, false},
                 {90, do_revoke, false},
                 {10, do_prewarm, true},
                 {60, do_rotate, false},
                 {15, do_revoke_user, false},
                 {15, do_login, false},
                 {15, calls_list, true},
                 {15, do_revoke_selector, false},
                 {20, calls_set_access, false},
                 {6, calls_set_user_access, false},
                 {8, calls_section, false},
                 {1, calls_revoke_everyone, false}};
    enum { CALLS = sizeof calls / sizeof *calls };
    known *s = truth_any(chance(350000));
    unsigned all = 0, i = 0;
    for (unsigned n = 0; n < CALLS; n++) all += calls[n].parts;
    unsigned dice = (unsigned)draw(all);
    while (dice >= calls[i].parts) dice -= calls[i++].parts;
    if (calls_load.logins && !calls[i].quiet && !chance(1000)) i = 0;
    if (!s) do_create(p, NULL);
    else if (calls_load.foreign && chance(calls_load.late ? 60000 : 10000)) calls_import(p, s);
    else if (calls_load.crowds && chance(400)) calls_crowd(p, s);
    else if (calls_load.floods && w.faults && chance(400)) calls_flood(p, s);
    else if (calls_end_all) calls_revoke_everyone(p, s);
    else if (chaos_awaits_end() && chance(400000)) do_end(p, s);
    else if (calls_load.dense && clients_deaf() && chance(300000)) revoke_and_see(p, s);
    else if (calls_load.small && chance(20000)) do_revoke_some(p, s);
    else if (calls_load.changes && chance(60000)) calls_set_access(p, s);
    else if (calls_load.dense && s->lost_us && chance(is_news(s) ? 700000 : 200000)) calls_set_access(p, s);
    else calls[i].call(p, s);
}

/* SPDX-License-Identifier: MIT
 *
 * Threads that make, use and end sessions while Redis comes and goes. See soak.h. Statuses that a lost Redis explains
 * are counted; what it cannot explain is wrong.
 */
#include "soak.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

const char *const doing_names[DOINGS] = {"create", "validate", "try_many", "touch",   "revoke", "load",
                                         "set",    "prewarm",  "stats",    "metrics", "submit"};

typedef struct owned {
    char token[LATCHKEY_TOKEN_SIZE]; /* "": none */
    uint64_t user_id;
    int64_t used_ms; /* the last time that Redis said yes to it */
} owned;

typedef struct worker {
    soak *soak;
    crew_member *self;
    uint64_t random, users;
    owned sessions[SESSIONS / WORKERS];
} worker;

uint64_t fixed_user(size_t index) { return 1000000 + index; }

static uint64_t draw(worker *w, uint64_t below)
{
    w->random ^= w->random << 13, w->random ^= w->random >> 7, w->random ^= w->random << 17; /* xorshift64 */
    return w->random % below;
}

static void add(_Atomic uint64_t *count) { atomic_fetch_add_explicit(count, 1, memory_order_relaxed); }

static void wrong(soak *s, enum doing what, int status, const char *why)
{
    if (atomic_fetch_add(&s->wrong, 1) < 10)
        fprintf(stderr, "WRONG: %s: %s: %s\n", doing_names[what], latchkey_status_text(status), why);
}

/* OK counts, no answer counts apart, and "no" is wrong unless the session may have idled out while Redis was away. */
static void judge(soak *s, enum doing what, int status, owned *it)
{
    if (status == LATCHKEY_OK) {
        add(&s->done[what]);
        if (it) it->used_ms = check_now_ms();
    } else if (status == LATCHKEY_UNAVAILABLE || status == LATCHKEY_PENDING) {
        add(&s->unanswered[what]);
        if (what != SUBMIT) check_pause(); /* as a server's user would before he tries again */
    } else {
        if (!it || status != LATCHKEY_NOT_FOUND || check_now_ms() - it->used_ms < 30000)
            wrong(s, what, status, "for a session that lives");
        if (it) it->token[0] = 0;
    }
}

static void login(worker *w, latchkey *lk, owned *it)
{
    static const char material[1184];
    const latchkey_field fields[] = {{"pq.mlkem768", material, sizeof material}, {"note", "first", 5}};
    latchkey_draft draft = {.size = sizeof draft, .fields = fields, .field_count = 2};
    it->user_id = draft.user_id = 1 + w->self->index + WORKERS * w->users++;
    int status = latchkey_create(lk, &draft, it->token);
    judge(w->soak, CREATE, status, NULL);
    it->used_ms = check_now_ms();
}

static void use(worker *w, latchkey *lk, owned *it)
{
    latchkey_entry entry;
    int status = latchkey_validate(lk, it->token, LATCHKEY_TOKEN_LENGTH, &entry);
    if (status == LATCHKEY_OK && entry.user_id != it->user_id) wrong(w->soak, VALIDATE, status, "another's entry");
    judge(w->soak, VALIDATE, status, it);
}

static void use_many(worker *w, latchkey *lk)
{
    enum { MANY = 16 };
    const char *tokens[MANY];
    size_t lengths[MANY];
    latchkey_entry entries[MANY];
    int statuses[MANY];
    for (int i = 0; i < MANY; i++) {
        tokens[i] = w->soak->fixed[draw(w, FIXED)];
        lengths[i] = LATCHKEY_TOKEN_LENGTH;
    }
    judge(w->soak, TRY_MANY, latchkey_try_validate_many(lk, tokens, lengths, MANY, entries, statuses), NULL);
}

/* Guarantee B: from the return on, the session is not admitted on this handle. */
static void logout(worker *w, latchkey *lk, owned *it)
{
    latchkey_entry entry;
    int status = latchkey_revoke(lk, it->token, LATCHKEY_TOKEN_LENGTH);
    judge(w->soak, REVOKE, status, it);
    bool denied = status == LATCHKEY_OK || status == LATCHKEY_PENDING;
    if (denied && latchkey_validate(lk, it->token, LATCHKEY_TOKEN_LENGTH, &entry) == LATCHKEY_OK)
        wrong(w->soak, REVOKE, status, "and admitted afterwards");
    it->token[0] = 0;
}

static void read_whole(worker *w, latchkey *lk, owned *it)
{
    latchkey_record *record;
    int status = latchkey_load(lk, it->token, LATCHKEY_TOKEN_LENGTH, &record);
    if (status == LATCHKEY_OK && latchkey_record_entry(record)->user_id != it->user_id)
        wrong(w->soak, LOAD, status, "another's record");
    latchkey_record_free(record);
    judge(w->soak, LOAD, status, it);
}

static void change(worker *w, latchkey *lk, owned *it)
{
    static const char material[1184] = {1};
    const latchkey_field key = {"pq.mlkem768", material, sizeof material}, note = {"note", "second", 6};
    judge(w->soak, SET_FIELDS, latchkey_set_fields(lk, it->token, LATCHKEY_TOKEN_LENGTH, draw(w, 4) ? &note : &key, 1),
          it);
}

static void look(worker *w, latchkey *lk)
{
    latchkey_stats stats;
    static _Thread_local char text[65536];
    size_t needed;
    judge(w->soak, STATS, latchkey_stats_read(lk, &stats, sizeof stats), NULL);
    judge(w->soak, METRICS, latchkey_metrics(lk, text, sizeof text, &needed), NULL);
}

static void one_turn(worker *w)
{
    latchkey *lk = w->soak->handles[draw(w, HANDLES)];
    owned *it = &w->sessions[draw(w, SESSIONS / WORKERS)];
    uint64_t chance = draw(w, 1000);
    if (!it->token[0]) login(w, lk, it);
    else if (chance < 800) use(w, lk, it);
    else if (chance < 850) use_many(w, lk);
    else if (chance < 880) judge(w->soak, TOUCH, latchkey_touch(lk, it->token, LATCHKEY_TOKEN_LENGTH), it);
    else if (chance < 920) read_whole(w, lk, it);
    else if (chance < 950) change(w, lk, it);
    else if (chance < 970) look(w, lk);
    else if (chance < 972) judge(w->soak, PREWARM, latchkey_prewarm(lk, 200, NULL), NULL);
    else logout(w, lk, it);
}

void work(crew_member *self)
{
    worker *w = calloc(1, sizeof *w);
    w->soak = self->shared, w->self = self;
    w->random = 0x9e3779b97f4a7c15u * (w->soak->seed + self->index + 1) | 1;
    while (!crew_stopped(self)) one_turn(w);
    free(w);
}

/* ------------------------------------------------------------------------------------------ the event loop -- */

typedef struct loop {
    soak *soak;
    uint64_t turn;
    bool asked[EVENTED_IN_FLIGHT]; /* an answer with this tag is owed */
    size_t about[EVENTED_IN_FLIGHT], owed;
} loop;

/* Tags that could not be submitted, with Redis away, are tried again in the next turn. */
static void submit_free(loop *l)
{
    soak *s = l->soak;
    for (uint64_t tag = 0; tag < EVENTED_IN_FLIGHT; tag++) {
        if (l->asked[tag]) continue;
        l->about[tag] = l->turn++ * 31 % FIXED;
        int status = latchkey_submit(s->handles[0], s->fixed[l->about[tag]], LATCHKEY_TOKEN_LENGTH, tag);
        l->asked[tag] = status == LATCHKEY_OK;
        l->owed += l->asked[tag];
        if (status != LATCHKEY_OK) {
            judge(s, SUBMIT, status, NULL);
            return;
        }
    }
}

static void take(loop *l, const latchkey_answer *answer)
{
    uint64_t tag = answer->tag;
    if (tag >= EVENTED_IN_FLIGHT || !l->asked[tag]) {
        wrong(l->soak, SUBMIT, answer->status, "a tag that was not given, or twice");
        return;
    }
    l->asked[tag] = false;
    l->owed--;
    judge(l->soak, SUBMIT, answer->status, NULL);
    if (answer->status == LATCHKEY_OK && answer->entry.user_id != fixed_user(l->about[tag]))
        wrong(l->soak, SUBMIT, answer->status, "another's entry");
}

void evented(crew_member *self)
{
    loop l = {.soak = self->shared, .turn = ((soak *)self->shared)->seed};
    latchkey *lk = l.soak->handles[0];
    latchkey_answer answers[16];
    struct pollfd watched = {latchkey_fd(lk), POLLIN, 0};
    int64_t answered_ms = check_now_ms();
    if (watched.fd < 0) wrong(l.soak, SUBMIT, watched.fd, "latchkey_fd");
    while (watched.fd >= 0 && (l.owed || !crew_stopped(self))) {
        if (!crew_stopped(self)) submit_free(&l);
        poll(&watched, 1, 10);
        size_t got = latchkey_reap(lk, answers, 16);
        for (size_t i = 0; i < got; i++) take(&l, &answers[i]);
        if (got || !l.owed) answered_ms = check_now_ms();
        if (check_now_ms() - answered_ms < CHECK_PATIENCE_MS) continue;
        wrong(l.soak, SUBMIT, LATCHKEY_OK, "and never answered");
        return;
    }
}

/* SPDX-License-Identifier: MIT
 *
 * See hooks.h. Each of these is also a step, so that others come in between.
 */
#include "hooks.h"

#include "l1/l1.h"
#include "l1/negative_cache.h"
#include "l2/mux.h"
#include "revocation/pending.h"
#include "revocation/recent.h"
#include "session/draft.h"
#include "session/ended.h"
#include "session/read.h"
#include "session/refresh.h"
#include "session/touch.h"
#include "truth.h"

uint64_t __real_lk_l1_ticket(const lk_l1 *l1, const char *selector);
uint64_t __wrap_lk_l1_ticket(const lk_l1 *l1, const char *selector);
uint64_t __wrap_lk_l1_ticket(const lk_l1 *l1, const char *selector)
{
    task_step();
    uint64_t ticket = __real_lk_l1_ticket(l1, selector);
    task_step();
    return ticket;
}

/* What happens on the lines that callers share, for the report. */
static void count_line(const lk_mux *line, bool behind, enum lk_mux_end end)
{
    totals.behind += behind;
    totals.left += behind && end == LK_MUX_LATE && !line->lost;
    totals.lost_together += (end == LK_MUX_LOST || end == LK_MUX_LATE) && line->lost && line->users > 1;
}

/* What a caller asks may be sent by another: at the earliest now. */
enum lk_mux_end __real_lk_mux_exchange(lk_mux *line, lk_exchange *x, char *error, size_t error_size);
enum lk_mux_end __wrap_lk_mux_exchange(lk_mux *line, lk_exchange *x, char *error, size_t error_size);
enum lk_mux_end __wrap_lk_mux_exchange(lk_mux *line, lk_exchange *x, char *error, size_t error_size)
{
    bool behind = line->driver;
    task_notes()->exchanging = true;
    task_notes()->asked_step = ++w.step;
    enum lk_mux_end end = __real_lk_mux_exchange(line, x, error, error_size);
    task_notes()->exchanging = false;
    count_line(line, behind, end);
    return end;
}

/* A question that was submitted is sent by one task and may be answered in another: when it was asked is kept beside it,
 * for as long as it can matter. The library took the ticket before. */
enum { QUESTIONS_MAX = 1024 };
static struct {
    const lk_vouch *question;
    uint64_t asked_step;
} questions_of[MACHINES_MAX][QUESTIONS_MAX];
static unsigned questions_next;

static unsigned find_question(const lk_vouch *question)
{
    unsigned i = 0;
    while (i < QUESTIONS_MAX && questions_of[task_machine()->index][i].question != question) i++;
    return i;
}

void __real_lk_question_ask(latchkey *lk, const lk_token *token, const lk_vouch *question, bool fresh,
                            lk_question_words *words);
void __wrap_lk_question_ask(latchkey *lk, const lk_token *token, const lk_vouch *question, bool fresh,
                            lk_question_words *words);
void __wrap_lk_question_ask(latchkey *lk, const lk_token *token, const lk_vouch *question, bool fresh,
                            lk_question_words *words)
{
    __real_lk_question_ask(lk, token, question, fresh, words);
    unsigned i = find_question(question);
    if (i < QUESTIONS_MAX) questions_of[task_machine()->index][i].question = NULL; /* that place asked before */
    i = questions_next++ % QUESTIONS_MAX; /* the oldest, which is not answered any more */
    questions_of[task_machine()->index][i].question = question;
    questions_of[task_machine()->index][i].asked_step = ++w.step;
}

int __real_lk_question_answer(latchkey *lk, const lk_token *token, lk_vouch *question,
                              lk_reply *replies[LK_QUESTION_CALLS], int64_t begun_us, latchkey_entry *entry,
                              int64_t *until_us);
int __wrap_lk_question_answer(latchkey *lk, const lk_token *token, lk_vouch *question,
                              lk_reply *replies[LK_QUESTION_CALLS], int64_t begun_us, latchkey_entry *entry,
                              int64_t *until_us);
int __wrap_lk_question_answer(latchkey *lk, const lk_token *token, lk_vouch *question,
                              lk_reply *replies[LK_QUESTION_CALLS], int64_t begun_us, latchkey_entry *entry,
                              int64_t *until_us)
{
    unsigned i = find_question(question);
    if (i < QUESTIONS_MAX) task_notes()->asked_step = questions_of[task_machine()->index][i].asked_step;
    return __real_lk_question_answer(lk, token, question, replies, begun_us, entry, until_us);
}

enum lk_l1_put __real_lk_l1_put(lk_l1 *l1, uint64_t ticket, const char *selector, const void *verifier, bool hashed,
                                lk_l1_times times, int64_t now_ms, const latchkey_entry *entry);
enum lk_l1_put __wrap_lk_l1_put(lk_l1 *l1, uint64_t ticket, const char *selector, const void *verifier, bool hashed,
                                lk_l1_times times, int64_t now_ms, const latchkey_entry *entry);
enum lk_l1_put __wrap_lk_l1_put(lk_l1 *l1, uint64_t ticket, const char *selector, const void *verifier, bool hashed,
                                lk_l1_times times, int64_t now_ms, const latchkey_entry *entry)
{
    task_step();
    uint64_t begun = ++w.step;
    enum lk_l1_put put = __real_lk_l1_put(l1, ticket, selector, verifier, hashed, times, now_ms, entry);
    if (put == LK_L1_STORED) truth_filled(task_machine(), selector, task_notes()->asked_step, begun);
    return put;
}

/* An entry that is renewed by a touch is to be what a read would have brought that was begun when the touch was. */
enum lk_l1_put __real_lk_l1_renew(lk_l1 *l1, uint64_t ticket, const char *selector, lk_l1_times times,
                                  int64_t ahead_ms);
enum lk_l1_put __wrap_lk_l1_renew(lk_l1 *l1, uint64_t ticket, const char *selector, lk_l1_times times,
                                  int64_t ahead_ms);
enum lk_l1_put __wrap_lk_l1_renew(lk_l1 *l1, uint64_t ticket, const char *selector, lk_l1_times times, int64_t ahead_ms)
{
    task_step();
    uint64_t begun = ++w.step;
    enum lk_l1_put put = __real_lk_l1_renew(l1, ticket, selector, times, ahead_ms);
    if (put == LK_L1_STORED)
        truth_renewed(task_machine(), selector, task_notes()->asked_step, begun, task_notes()->vouched);
    return put;
}

bool __real_lk_l1_holds(lk_l1 *l1, const char *token);
bool __wrap_lk_l1_holds(lk_l1 *l1, const char *token);
bool __wrap_lk_l1_holds(lk_l1 *l1, const char *token) { return task_notes()->held = __real_lk_l1_holds(l1, token); }

void __real_lk_l1_purge(lk_l1 *l1, const char *selector);
void __wrap_lk_l1_purge(lk_l1 *l1, const char *selector);
void __wrap_lk_l1_purge(lk_l1 *l1, const char *selector)
{
    task_step();
    uint64_t begun = ++w.step;
    __real_lk_l1_purge(l1, selector);
    truth_purged(task_machine(), selector, begun);
    task_step();
}

void __real_lk_l1_empty(lk_l1 *l1);
void __wrap_lk_l1_empty(lk_l1 *l1);
void __wrap_lk_l1_empty(lk_l1 *l1)
{
    uint64_t begun = ++w.step;
    __real_lk_l1_empty(l1);
    truth_emptied(task_machine(), begun);
    task_step();
}

bool __real_lk_recent_add(lk_recent *recent, unsigned partition, const char *selector, int64_t now_ms);
bool __wrap_lk_recent_add(lk_recent *recent, unsigned partition, const char *selector, int64_t now_ms);
bool __wrap_lk_recent_add(lk_recent *recent, unsigned partition, const char *selector, int64_t now_ms)
{
    task_step();
    bool news = __real_lk_recent_add(recent, partition, selector, now_ms);
    truth_remembered(task_machine(), selector);
    task_step();
    return news;
}

void __real_lk_recent_made(lk_recent *recent, unsigned partition, const char *selector, int64_t now_ms);
void __wrap_lk_recent_made(lk_recent *recent, unsigned partition, const char *selector, int64_t now_ms);
void __wrap_lk_recent_made(lk_recent *recent, unsigned partition, const char *selector, int64_t now_ms)
{
    task_step();
    __real_lk_recent_made(recent, partition, selector, now_ms);
    truth_remembered(task_machine(), selector);
    task_step();
}

/* A change takes a place in it as well. */
bool __real_lk_recent_add_change(lk_recent *recent, unsigned partition, const char *selector, uint64_t number,
                                 int64_t now_ms);
bool __wrap_lk_recent_add_change(lk_recent *recent, unsigned partition, const char *selector, uint64_t number,
                                 int64_t now_ms);
bool __wrap_lk_recent_add_change(lk_recent *recent, unsigned partition, const char *selector, uint64_t number,
                                 int64_t now_ms)
{
    bool news = __real_lk_recent_add_change(recent, partition, selector, number, now_ms);
    memory_takes(task_machine(), selector);
    return news;
}

/* ------------------------------------------------------------------------------------------- small memories -- */

static memories small;
void hooks_memories(const memories *m)
{
    small = *m;
    memory_begin(m->recent);
}

lk_recent *__real_lk_recent_open(uint64_t seed, unsigned most);
lk_recent *__wrap_lk_recent_open(uint64_t seed, unsigned most);
lk_recent *__wrap_lk_recent_open(uint64_t seed, unsigned most)
{
    return __real_lk_recent_open(seed, small.recent ? small.recent : most);
}

lk_pending *__real_lk_pending_open(lk_recent *recent, unsigned unproven);
lk_pending *__wrap_lk_pending_open(lk_recent *recent, unsigned unproven);
lk_pending *__wrap_lk_pending_open(lk_recent *recent, unsigned unproven)
{
    return __real_lk_pending_open(recent, small.pending ? small.pending : unproven);
}

bool __real_lk_pending_add(lk_pending *pending, const lk_pending_item *item);
bool __wrap_lk_pending_add(lk_pending *pending, const lk_pending_item *item);
bool __wrap_lk_pending_add(lk_pending *pending, const lk_pending_item *item)
{
    bool room = __real_lk_pending_add(pending, item);
    if (!room) truth_no_place(item->selector);
    return room;
}

lk_negative_cache *__real_lk_negative_cache_open(uint64_t seed, size_t places);
lk_negative_cache *__wrap_lk_negative_cache_open(uint64_t seed, size_t places);
lk_negative_cache *__wrap_lk_negative_cache_open(uint64_t seed, size_t places)
{
    return __real_lk_negative_cache_open(seed, small.negative ? small.negative : places);
}

/* ------------------------------------------------------------------------------------ refreshes and touches -- */

/* The link has many questions under way at once, so that its last bytes say nothing about one of them: a refresh, or a touch, was
 * asked for when it was begun. What is purged from then on it must not fill or renew. */
enum { BEGUN = 4096 };
static struct {
    const void *what;
    uint64_t step, leased; /* and which server had the lease then */
} begun[BEGUN];            /* the newest, a ring */
static size_t begun_count;

static void note_begun(latchkey *lk, unsigned partition, const void *what)
{
    begun[begun_count % BEGUN].what = what;
    begun[begun_count % BEGUN].leased = lk_lease_owner(lk->book, partition);
    begun[begun_count++ % BEGUN].step = ++w.step;
}

static size_t begun_at(const void *what)
{
    for (size_t i = begun_count; i && i + BEGUN > begun_count; i--)
        if (begun[(i - 1) % BEGUN].what == what) return (i - 1) % BEGUN;
    fail("sim: a refresh or a touch ends that was not begun");
    return 0;
}

void __real_lk_touch_begin(latchkey *lk, lk_job *job);
void __wrap_lk_touch_begin(latchkey *lk, lk_job *job);
void __wrap_lk_touch_begin(latchkey *lk, lk_job *job)
{
    __real_lk_touch_begin(lk, job);
    note_begun(lk, job->of.partition, job);
    task_step();
}

void __real_lk_touch_end(latchkey *lk, const lk_job *job, uint64_t incarnation);
void __wrap_lk_touch_end(latchkey *lk, const lk_job *job, uint64_t incarnation);
void __wrap_lk_touch_end(latchkey *lk, const lk_job *job, uint64_t incarnation)
{
    uint64_t asked = task_notes()->asked_step, owner = lk_lease_owner(lk->book, job->of.partition);
    size_t at = begun_at(job);
    task_notes()->asked_step = begun[at].step;
    task_notes()->vouched = begun[at].leased == incarnation && owner == incarnation;
    task_step();
    __real_lk_touch_end(lk, job, incarnation);
    task_notes()->asked_step = asked;
}

bool __real_lk_refresh_begin(latchkey *lk, lk_refresh_item *item, lk_job *job);
bool __wrap_lk_refresh_begin(latchkey *lk, lk_refresh_item *item, lk_job *job);
bool __wrap_lk_refresh_begin(latchkey *lk, lk_refresh_item *item, lk_job *job)
{
    bool ask = __real_lk_refresh_begin(lk, item, job);
    if (ask) note_begun(lk, job->of.partition, job->kind == LK_JOB_TOUCH ? (const void *)job : item);
    task_step();
    return ask;
}

void __real_lk_refresh_end(latchkey *lk, const lk_refresh_item *item, const lk_reply *value, const lk_reply *pttl,
                           uint64_t incarnation);
void __wrap_lk_refresh_end(latchkey *lk, const lk_refresh_item *item, const lk_reply *value, const lk_reply *pttl,
                           uint64_t incarnation);
void __wrap_lk_refresh_end(latchkey *lk, const lk_refresh_item *item, const lk_reply *value, const lk_reply *pttl,
                           uint64_t incarnation)
{
    uint64_t asked = task_notes()->asked_step;
    task_notes()->asked_step = begun[begun_at(item)].step;
    task_step();
    __real_lk_refresh_end(lk, item, value, pttl, incarnation);
    task_notes()->asked_step = asked;
}

/* ---------------------------------------------------------------------------------------------------- tokens -- */

void __real_lk_token_make(const lk_check_keys *keys, unsigned partition, lk_token *token);
void __wrap_lk_token_make(const lk_check_keys *keys, unsigned partition, lk_token *token);
void __wrap_lk_token_make(const lk_check_keys *keys, unsigned partition, lk_token *token)
{
    __real_lk_token_make(keys, partition, token);
    truth_token_made(task_machine(), token->text);
}

void __real_lk_disown(latchkey *lk, const lk_token *token, bool certain);
void __wrap_lk_disown(latchkey *lk, const lk_token *token, bool certain);
void __wrap_lk_disown(latchkey *lk, const lk_token *token, bool certain)
{
    truth_disowned(token->text);
    __real_lk_disown(lk, token, certain);
    task_step();
}

unsigned hooks_partition(const latchkey *lk, uint64_t user) { return lk_partition_of_user(lk, user); }

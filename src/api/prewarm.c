/* latchkey_prewarm: the most recently active sessions --> L1, before the requests come.
 *
 *   1. every partition's index of activity, page by page, until the newest `count` are certainly among what was read
 *   2. their compact records, in pipelined batches, newest first
 *
 * Redis only knows the hash of a verifier, so a prewarmed entry holds that. The first request with the token proves it,
 * and from then on the entry is as any other (l1.c, reveal). Prewarming does not count as a use of a session: nothing
 * is touched until that first request. */
#include "redis/keys.h"
#include "session/visit.h"
#include "base/argument.h"
#include "session/judge.h"
#include "session/lifetime.h"
#include "session/read.h"
#include "session/vouched_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 128, TRIES = 3, PAGE_LEAST = 16, PAGE_MOST = 2048, PARTITIONS_AT_ONCE = 8 };

typedef struct candidate {
    int64_t active_ms;
    unsigned partition;
    char selector[LATCHKEY_SELECTOR_LENGTH];
} candidate;

typedef struct shelf { /* how far a partition's index was read */
    size_t read;
    int64_t oldest_ms;
    bool exhausted;
} shelf;

typedef struct prewarming {
    latchkey *lk;
    size_t count, page;
    shelf *shelves;
    candidate *found;
    size_t used, size;
    int tries, missed; /* OK, or why some were not loaded that may be alive */
} prewarming;

static int newest_first(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    return (x->active_ms < y->active_ms) - (x->active_ms > y->active_ms);
}

static int take_page(prewarming *w, unsigned partition, const lk_reply *page)
{
    shelf *s = &w->shelves[partition];
    lk_node *node = lk_l2_owner(&w->lk->l2, partition);
    if (page->type == LK_REPLY_ERROR) {
        /* if something else is in the index' place, only that partition is left out; else it is asked again */
        s->exhausted = lk_l2_refused(&w->lk->l2, node, page) == LATCHKEY_CORRUPT;
        return s->exhausted ? LATCHKEY_OK : LATCHKEY_UNAVAILABLE;
    }
    if (!lk_reply_shaped(page, "(ss)")) return LATCHKEY_UNAVAILABLE; /* not that command's */
    size_t rows = page->count / 2;
    if (rows > w->page) rows = w->page; /* no more than were asked for */
    if (w->used + rows > w->size) {
        size_t size = (w->used + rows) * 2;
        candidate *more = realloc(w->found, size * sizeof *more);
        if (!more) return LATCHKEY_NO_MEMORY;
        w->found = more;
        w->size = size;
    }
    for (size_t i = 0; i < rows; i++) {
        const lk_reply *selector = lk_reply_at(page, 2 * i), *score = lk_reply_at(page, 2 * i + 1);
        if (selector->size != LATCHKEY_SELECTOR_LENGTH) continue;
        candidate *c = &w->found[w->used++];
        c->active_ms = s->oldest_ms = atoll(score->text);
        c->partition = partition;
        memcpy(c->selector, selector->text, sizeof c->selector);
    }
    s->read += rows;
    s->exhausted = rows < w->page || s->read >= w->count; /* no index has more than that among the newest */
    return LATCHKEY_OK;
}

/* Reads the next page of some partitions' indexes, in one round trip to each node. */
static int read_pages(prewarming *w, const unsigned *partitions, size_t count)
{
    char key[PARTITIONS_AT_ONCE][LK_KEY_SIZE], from[PARTITIONS_AT_ONCE][24], to[PARTITIONS_AT_ONCE][24];
    lk_span words[PARTITIONS_AT_ONCE][5];
    lk_call calls[PARTITIONS_AT_ONCE];
    lk_reply *replies[PARTITIONS_AT_ONCE];
    for (size_t i = 0; i < count; i++) {
        size_t first = w->shelves[partitions[i]].read;
        lk_key_partition(key[i], w->lk->config.prefix, partitions[i], "a");
        int from_size = snprintf(from[i], sizeof from[i], "%zu", first);
        int to_size = snprintf(to[i], sizeof to[i], "%zu", first + w->page - 1);
        words[i][0] = (lk_span){"ZREVRANGE", 9};
        words[i][1] = (lk_span){key[i], strlen(key[i])};
        words[i][2] = (lk_span){from[i], (size_t)from_size};
        words[i][3] = (lk_span){to[i], (size_t)to_size};
        words[i][4] = (lk_span){"WITHSCORES", 10};
        calls[i] = (lk_call){words[i], 5};
    }
    if (lk_visit_draining(w->lk)) return LATCHKEY_UNAVAILABLE;
    int64_t deadline_ms = lk_now_ms() + w->lk->config.deadline_ms;
    int status = lk_l2_spread(&w->lk->l2, partitions, calls, count, deadline_ms, replies, NULL);
    if (status) return status;
    for (size_t i = 0; i < count; i++) {
        if (!status) status = take_page(w, partitions[i], replies[i]);
        lk_reply_free(replies[i]);
    }
    return status;
}

/* A session that was active before this cannot be among the newest `count` of those read so far. */
static int64_t threshold(prewarming *w)
{
    if (w->used < w->count) return INT64_MIN;
    qsort(w->found, w->used, sizeof *w->found, newest_first);
    w->used = w->count; /* the others are not needed any more */
    return w->found[w->count - 1].active_ms;
}

/* Many instances may prewarm at once while Redis is busy: what comes too late is asked for again, until TRIES answers were
 * late. What was read until then stays. */
static int again(prewarming *w, int status)
{
    return status == LATCHKEY_UNAVAILABLE && --w->tries ? (int)LATCHKEY_OK : status;
}

static int find_members(prewarming *w)
{
    for (;;) {
        unsigned needed[PARTITIONS_AT_ONCE];
        size_t count = 0;
        bool any = false;
        int64_t below = threshold(w);
        int status = LATCHKEY_OK;
        for (unsigned p = 0; p < (unsigned)w->lk->config.partitions && !status; p++) {
            const shelf *s = &w->shelves[p];
            if (s->exhausted || (s->read && s->oldest_ms <= below)) continue;
            needed[count++] = p;
            any = true;
            if (count < PARTITIONS_AT_ONCE) continue;
            status = again(w, read_pages(w, needed, count));
            count = 0;
        }
        if (!status && count) status = again(w, read_pages(w, needed, count));
        if (status || !any) return status;
    }
}

/* ------------------------------------------------------------------------------------------------- filling -- */

typedef struct batch {
    char key[BATCH][LK_KEY_SIZE];
    lk_vouch vouch[BATCH];
    bool denied[BATCH];
    lk_session_read read[BATCH];
    lk_call calls[2 * BATCH];
    unsigned partitions[2 * BATCH]; /* of each call, as the next two */
    lk_reply *replies[2 * BATCH];
    uint64_t incarnations[2 * BATCH];
} batch;

_Static_assert((int)LK_L2_SPREAD >= 2 * (int)BATCH, "a batch is asked for at once");

/* OK also if there is no such session, or if it is damaged. UNAVAILABLE: it may be alive. */
static int fill(latchkey *lk, const candidate *c, const lk_vouch *vouch, lk_reply *const reply[2], size_t *loaded)
{
    lk_judged judged;
    lk_node *node = lk_l2_owner(&lk->l2, c->partition);
    if (!vouch->server || vouch->server != lk_lease_owner(lk->book, c->partition)) return lk_unleased(lk, c->partition);
    int status =
        lk_session_judge(lk, node, c->partition, c->selector, NULL, reply[0], reply[1], vouch->asked_us, &judged);
    if (status) return status == LATCHKEY_UNAVAILABLE ? status : LATCHKEY_OK;
    int64_t now = lk_coarse_ms();
    if (lk_l1_end(&judged.times) <= now) return LATCHKEY_OK;
    latchkey_entry entry = lk_session_entry(&judged);
    *loaded += lk_count_fill(lk, lk_l1_put(lk->l1, vouch->ticket, c->selector, judged.record.verifier_hash, true,
                                           judged.times, now, &entry));
    return LATCHKEY_OK;
}

static int fill_batch(prewarming *w, batch *b, const candidate *c, size_t count, size_t *loaded)
{
    latchkey *lk = w->lk;
    for (size_t i = 0; i < count; i++) {
        b->partitions[2 * i] = b->partitions[2 * i + 1] = c[i].partition;
        b->denied[i] = !lk_vouch_named(lk, c[i].partition, c[i].selector, &b->vouch[i]);
        lk_key_session(b->key[i], lk->config.prefix, c[i].partition, c[i].selector);
        lk_session_ask(&b->read[i], b->key[i], &b->calls[2 * i]);
    }
    int64_t asked_us = lk_now_us();
    lk_count(&lk->counters, LK_L2_READS, count);
    int status = lk_l2_spread(&lk->l2, b->partitions, b->calls, 2 * count, asked_us / 1000 + lk->config.deadline_ms,
                              b->replies, b->incarnations);
    if (status) return status;
    for (size_t i = 0; i < count; i++) {
        /* The two calls may have been asked for at different nodes, if the partition moved in between. */
        lk_vouch_answered(lk, c[i].partition, &b->vouch[i], b->incarnations[2 * i]);
        lk_vouch_answered(lk, c[i].partition, &b->vouch[i], b->incarnations[2 * i + 1]);
        int filled = b->denied[i] ? LATCHKEY_OK : fill(lk, &c[i], &b->vouch[i], &b->replies[2 * i], loaded);
        if (filled) w->missed = filled;
        lk_reply_free(b->replies[2 * i]);
        lk_reply_free(b->replies[2 * i + 1]);
    }
    return LATCHKEY_OK;
}

static int fill_all(prewarming *w, size_t *loaded)
{
    batch *b = malloc(sizeof *b);
    if (!b) return LATCHKEY_NO_MEMORY;
    size_t count = w->used < w->count ? w->used : w->count;
    int status = LATCHKEY_OK;
    for (size_t i = 0; i < count && !status;) {
        size_t some = count - i < BATCH ? count - i : BATCH;
        int filled = LATCHKEY_UNAVAILABLE;
        if (!lk_visit_draining(w->lk)) filled = fill_batch(w, b, w->found + i, some, loaded);
        status = again(w, filled);
        if (!filled) i += some;
    }
    free(b);
    return status ? status : w->missed;
}

int latchkey_prewarm(latchkey *lk, size_t count, size_t *loaded)
{
    size_t unheard;
    if (!loaded) loaded = &unheard;
    *loaded = 0;
    if (!lk) return lk_bad_argument("prewarm: the handle is NULL");
    LK_VISIT(visit);
    int status = lk_visit_begin(lk, &visit);
    if (status) return status;
    if (count > (size_t)lk->config.l1_capacity) count = (size_t)lk->config.l1_capacity;
    if (!count) return LATCHKEY_OK;
    size_t page = count / (size_t)lk->config.partitions + PAGE_LEAST;
    prewarming w = {.lk = lk, .count = count, .page = page < PAGE_MOST ? page : PAGE_MOST, .tries = TRIES};
    w.shelves = calloc((size_t)lk->config.partitions, sizeof *w.shelves);
    status = w.shelves ? find_members(&w) : LATCHKEY_NO_MEMORY;
    if (!status && w.used) {
        qsort(w.found, w.used, sizeof *w.found, newest_first);
        status = fill_all(&w, loaded);
    }
    free(w.shelves);
    free(w.found);
    return status;
}

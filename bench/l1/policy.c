/* SPDX-License-Identifier: MIT
 *
 * LRU; SIEVE (Zhang et al., "SIEVE is simpler than LRU", NSDI 2024); S3-FIFO (Yang et al., "FIFO queues are all you
 * need for cache eviction", SOSP 2023: a small queue of a tenth, a main one, a ghost queue of as many as the main one
 * holds); and the real L1.
 */
#include "policy.h"

#include "l1/l1.h"
#include "l1bench.h"

#include <stdlib.h>

/* Lists of sessions, linked by number plus one, so that 0 is no session. New ones enter at the head. */
typedef struct list {
    uint32_t head, tail;
    size_t size;
} list;

typedef struct node {
    uint32_t next, before; /* next: towards the tail */
    uint8_t in, uses;      /* which list, 0 for none; how often it was asked for since it entered */
} node;

enum { NOWHERE, MAIN, SMALL, GHOST, LISTS };

struct policy {
    enum policy_kind kind;
    size_t capacity;
    node *nodes;
    list lists[LISTS];
    uint32_t hand; /* of SIEVE */
    lk_l1 *l1;
};

static void enter(policy *p, int which, uint32_t n)
{
    list *l = &p->lists[which];
    p->nodes[n].in = (uint8_t)which;
    p->nodes[n].before = 0;
    p->nodes[n].next = l->head;
    if (l->head) p->nodes[l->head].before = n;
    else l->tail = n;
    l->head = n;
    l->size++;
}

static void leave(policy *p, uint32_t n)
{
    node *at = &p->nodes[n];
    list *l = &p->lists[at->in];
    if (at->before) p->nodes[at->before].next = at->next;
    else l->head = at->next;
    if (at->next) p->nodes[at->next].before = at->before;
    else l->tail = at->before;
    at->in = NOWHERE;
    l->size--;
}

static bool ask_lru(policy *p, uint32_t n)
{
    bool held = p->nodes[n].in == MAIN;
    if (held) leave(p, n);
    else if (p->lists[MAIN].size == p->capacity) leave(p, p->lists[MAIN].tail);
    enter(p, MAIN, n);
    return held;
}

static void evict_sieve(policy *p)
{
    uint32_t n = p->hand ? p->hand : p->lists[MAIN].tail;
    while (p->nodes[n].uses) {
        p->nodes[n].uses = 0;
        n = p->nodes[n].before ? p->nodes[n].before : p->lists[MAIN].tail;
    }
    p->hand = p->nodes[n].before;
    leave(p, n);
}

static bool ask_sieve(policy *p, uint32_t n)
{
    if (p->nodes[n].in == MAIN) {
        p->nodes[n].uses = 1;
        return true;
    }
    if (p->lists[MAIN].size == p->capacity) evict_sieve(p);
    enter(p, MAIN, n);
    p->nodes[n].uses = 0;
    return false;
}

static void evict_main(policy *p)
{
    for (;;) {
        uint32_t n = p->lists[MAIN].tail;
        leave(p, n);
        if (!p->nodes[n].uses) return;
        p->nodes[n].uses--;
        enter(p, MAIN, n);
    }
}

static void evict_s3(policy *p)
{
    size_t small = p->capacity / 10;
    while (p->lists[SMALL].size && (p->lists[SMALL].size >= small || !p->lists[MAIN].size)) {
        uint32_t n = p->lists[SMALL].tail;
        leave(p, n);
        if (p->nodes[n].uses <= 1) {
            if (p->lists[GHOST].size >= p->capacity - small) leave(p, p->lists[GHOST].tail);
            enter(p, GHOST, n);
            return;
        }
        p->nodes[n].uses = 0;
        enter(p, MAIN, n);
        if (p->lists[MAIN].size > p->capacity - small) {
            evict_main(p);
            return;
        }
    }
    evict_main(p);
}

static bool ask_s3(policy *p, uint32_t n)
{
    node *at = &p->nodes[n];
    if (at->in == MAIN || at->in == SMALL) {
        if (at->uses < 3) at->uses++;
        return true;
    }
    bool ghost = at->in == GHOST;
    if (ghost) leave(p, n);
    if (p->lists[MAIN].size + p->lists[SMALL].size >= p->capacity) evict_s3(p);
    at->uses = 0;
    enter(p, ghost ? MAIN : SMALL, n);
    return false;
}

/* As validate does: get, and on a miss put what Redis would have answered. */
static bool ask_l1(policy *p, uint32_t n)
{
    char text[LATCHKEY_TOKEN_LENGTH];
    latchkey_entry entry = {.user_id = n};
    token_text(n, text);
    if (lk_l1_holds(p->l1, text)) return true;
    lk_l1_put(p->l1, lk_l1_ticket(p->l1, text), text, text + LATCHKEY_SELECTOR_LENGTH, false, lk_l1_until(INT64_MAX), 0,
              &entry);
    return false;
}

bool policy_ask(policy *p, uint32_t session)
{
    switch (p->kind) {
    case LRU: return ask_lru(p, session + 1);
    case SIEVE: return ask_sieve(p, session + 1);
    case S3_FIFO: return ask_s3(p, session + 1);
    case LATCHKEY_L1: break;
    }
    return ask_l1(p, session);
}

policy *policy_open(enum policy_kind kind, size_t capacity, size_t sessions)
{
    policy *p = bench_take(sizeof *p);
    p->kind = kind;
    p->capacity = capacity;
    if (kind == LATCHKEY_L1) {
        p->l1 = lk_l1_open(capacity, 1);
        if (!p->l1) bench_die("no memory for an L1 of %zu entries", capacity);
    } else p->nodes = bench_take((sessions + 1) * sizeof *p->nodes);
    return p;
}

void policy_close(policy *p)
{
    lk_l1_close(p->l1);
    free(p->nodes);
    free(p);
}

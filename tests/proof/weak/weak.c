/* SPDX-License-Identifier: MIT
 *
 * L1's lock-free reads on a weakly ordered machine: the real code, with C11's atomics replaced by ones that
 * let a reader see everything that C11 allows it to see, and an exhaustive search through all of that.
 *
 * The writer runs first, and each of its atomic stores goes to a log. (Writers hold a lock, so there is one at a time;
 * and no writer waits for a reader, so whatever a reader sees, the log could have been complete.) Then the reader runs
 * again and again, and each of its loads takes another one of the values that the location ever had, as long as C11
 * allows it:
 *   coherence   never an older value of a location than this reader has already seen of it
 *   acquire     of a release store: from then on no older value of any location than the writer had stored by then
 * This is the view of memory of Kang et al., "A promising semantics for relaxed-memory concurrency" (POPL 2017), without
 * promises, which need a store of the reader's that a writer reads. Of several stores of one value the oldest is enough:
 * it binds the reader least. x86's 16-byte loads, torn anyhow, see less than this.
 *
 *   weak SCENARIO      one of those below; exits with 1, and the reads that led there, where a promise was broken
 *   weak --list
 */
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t weak_load(const volatile void *at, size_t size, memory_order order);
static void weak_store(volatile void *at, size_t size, uint64_t value, memory_order order);
static uint64_t weak_add(volatile void *at, size_t size, uint64_t by, memory_order order);

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub_explicit
#define atomic_load_explicit(at, order) weak_load((at), sizeof *(at), (order))
#define atomic_store_explicit(at, value, order) weak_store((at), sizeof *(at), (uint64_t)(value), (order))
#define atomic_fetch_add_explicit(at, by, order) weak_add((at), sizeof *(at), (uint64_t)(by), (order))
#define atomic_fetch_sub_explicit(at, by, order) weak_add((at), sizeof *(at), -(uint64_t)(by), (order))
#define LK_L1_COPY_C11 1

#include "below.h"
#include "l1/l1_table.c"
#include "l1/l1_evict.c"
#include "l1/l1.c"

/* ------------------------------------------------------------------------------------------------- memory -- */

enum { LOG_MAX = 8192, PLACES_MAX = 1024, LOADS_MAX = 200, NEVER = -1 };

typedef struct stored {
    size_t place;
    uint64_t value;
    bool release;
    long before; /* the store to the same place before this one; NEVER */
} stored;

static struct {
    stored log[LOG_MAX];
    long count;
    struct {
        uintptr_t at;
        uint64_t first; /* before the log begins */
        long last;      /* the newest store */
    } place[PLACES_MAX];
    size_t places;
    bool logging;
} memory;

static uint64_t get_bytes(uintptr_t at, size_t size)
{
    uint64_t value = 0;
    memcpy(&value, (const void *)at, size);
    return value;
}

static size_t place_of(const volatile void *at, size_t size)
{
    for (size_t i = 0; i < memory.places; i++)
        if (memory.place[i].at == (uintptr_t)at) return i;
    if (memory.places == PLACES_MAX) abort();
    memory.place[memory.places].at = (uintptr_t)at;
    memory.place[memory.places].first = get_bytes((uintptr_t)at, size);
    memory.place[memory.places].last = NEVER;
    return memory.places++;
}

/* ------------------------------------------------------------------------------------------------- reader -- */

static struct {
    bool running;
    long acquired;         /* every store up to this one is known */
    long seen[PLACES_MAX]; /* the newest store that was seen of a place */
    struct {
        unsigned taken, of;
        size_t place;
        uint64_t value;
    } choice[LOADS_MAX];
    size_t choices, replayed;
    uint64_t runs, given_up;
    bool slowly;
    jmp_buf give_up;
} reader;

/* A second try by the reader shows nothing new: it knows more than the first, so all that it may see the first may see
 * as well. It is a second try when a version or `moves` is looked at for the second time (R3 aside, which is relaxed), a
 * version is odd, or the slow look follows the quick one. */
static bool second_try(uintptr_t at, memory_order order);

/* The values that a place may show, newest first, each value once: as the oldest store of it. */
static unsigned candidates(size_t place, long out[LOG_MAX])
{
    unsigned count = 0;
    for (long i = memory.place[place].last;; i = memory.log[i].before) {
        uint64_t value = i == NEVER ? memory.place[place].first : memory.log[i].value;
        unsigned k = 0;
        while (k < count && (out[k] == NEVER ? memory.place[place].first : memory.log[out[k]].value) != value) k++;
        out[k] = i;
        if (k == count) count++;
        if (i == NEVER || i <= reader.acquired || i <= reader.seen[place]) return count;
    }
}

static uint64_t weak_load(const volatile void *at, size_t size, memory_order order)
{
    if (!reader.running) return get_bytes((uintptr_t)at, size);
    static long out[LOG_MAX];
    size_t place = place_of(at, size);
    unsigned count = candidates(place, out);
    if (reader.replayed == LOADS_MAX) abort();
    if (reader.replayed == reader.choices) {
        reader.choice[reader.choices].of = count;
        reader.choice[reader.choices].taken = 0;
        reader.choice[reader.choices++].place = place;
    }
    if (reader.choice[reader.replayed].of != count) abort(); /* the search is not repeatable */
    long i = out[reader.choice[reader.replayed].taken];
    uint64_t value = i == NEVER ? memory.place[place].first : memory.log[i].value;
    reader.choice[reader.replayed++].value = value;
    if (second_try((uintptr_t)at, order)) longjmp(reader.give_up, 1);
    if (i > reader.seen[place]) reader.seen[place] = i;
    if (i != NEVER && memory.log[i].release && order == memory_order_acquire && i > reader.acquired)
        reader.acquired = i;
    return value;
}

static void weak_store(volatile void *at, size_t size, uint64_t value, memory_order order)
{
    if (reader.running) return; /* the mark of use: no reader and no placing depends on it */
    if (memory.logging) {
        if (memory.count == LOG_MAX) abort();
        size_t place = place_of(at, size);
        memory.log[memory.count] = (stored){place, value, order == memory_order_release, memory.place[place].last};
        memory.place[place].last = memory.count++;
    }
    memcpy((void *)(uintptr_t)at, &value, size);
}

static uint64_t weak_add(volatile void *at, size_t size, uint64_t by, memory_order order)
{
    uint64_t value = get_bytes((uintptr_t)at, size);
    weak_store(at, size, value + by, order);
    return value;
}

/* ---------------------------------------------------------------------------------------------- scenarios -- */

enum { NOW = 1, LATER = 1000 };

typedef struct name {
    char text[LATCHKEY_TOKEN_SIZE];
} name;

static lk_l1 *l1;

static bool homes_differ(const char *text)
{
    lk_l1_homes h = lk_l1_homes_of_token(&l1->view, text);
    return h.at[0] != h.at[1] && h.at[0] != h.at[2] && h.at[1] != h.at[2];
}

static name make_token(unsigned session, unsigned verifier)
{
    name t;
    uint64_t mixed = (session + 1) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 31) * UINT64_C(0xbf58476d1ce4e5b9);
    snprintf(t.text, sizeof t.text, "%016llxsess%c................%06u", (unsigned long long)(mixed ^ mixed >> 29),
             'A' + (char)verifier, verifier);
    return t;
}

/* The session's number among those whose three homes are three: a slot that is looked at twice would be taken for a second
 * try. */
static name token(unsigned session, unsigned verifier)
{
    name t;
    for (unsigned n = 0;; n++) {
        t = make_token(n, verifier);
        if (homes_differ(t.text) && session-- == 0) return t;
    }
}

/* Three of the fifteen words differ: the first, the middle, the last. The rest would only make the search longer. */
static latchkey_entry entry(uint64_t number)
{
    latchkey_entry e;
    uint64_t words[LATCHKEY_ENTRY_SIZE / 8] = {[0] = number, [7] = 100 + number, [14] = 200 + number};
    memcpy(&e, words, sizeof e);
    return e;
}

static bool whole(const latchkey_entry *e)
{
    latchkey_entry same = entry(e->user_id);
    return !memcmp(e, &same, sizeof same);
}

static void put(name t, uint64_t number)
{
    latchkey_entry e = entry(number);
    lk_l1_put(l1, lk_l1_ticket(l1, t.text), t.text, t.text + LATCHKEY_SELECTOR_LENGTH, false,
              lk_l1_until(LATER + (int64_t)number), NOW, &e);
}

static bool second_try(uintptr_t at, memory_order order)
{
    bool moves = at == (uintptr_t)&lk_l1_stripes(l1)->moves, version = false;
    uintptr_t slots = (uintptr_t)lk_l1_slot_at(l1, l1->view.slots_at);
    if (at >= slots) version = (at - slots) % sizeof(lk_l1_slot) == 0;
    if (!moves && !version) return false;
    if (moves && !reader.slowly) return true;
    if (order != memory_order_acquire && reader.replayed > 1) return false;
    for (size_t i = 0; i + 1 < reader.replayed; i++)
        if (memory.place[reader.choice[i].place].at == at) return true;
    return false;
}

static void fail_with(const char *what)
{
    printf("BROKEN: %s\n", what);
    for (size_t i = 0; i < reader.replayed; i++) {
        uintptr_t at = memory.place[reader.choice[i].place].at;
        printf("  read %zu at +%llu: %llx%s\n", i, (unsigned long long)(at - (uintptr_t)l1),
               (unsigned long long)reader.choice[i].value, reader.choice[i].taken ? "  (not the newest)" : "");
    }
    exit(1);
}

/* Every way in which the reader can look for the token; `judge` says what is wrong with an answer, or NULL. */
static void search(name t, bool slowly, const char *(*judge)(bool found, int64_t deadline_ms, const latchkey_entry *e))
{
    reader.choices = 0;
    for (bool more = true; more;) {
        lk_l1_found found = {0};
        latchkey_entry e;
        memset(&e, 0, sizeof e);
        reader.running = true;
        reader.slowly = slowly;
        reader.acquired = NEVER;
        reader.replayed = 0;
        for (size_t i = 0; i < PLACES_MAX; i++) reader.seen[i] = NEVER;
        reader.runs++;
        if (setjmp(reader.give_up) == 0) {
            bool there = slowly ? lk_l1_get_slowly(l1, t.text, &found, &e) : lk_l1_get(l1, t.text, &found, &e);
            const char *wrong = judge(there, found.due_ms, &e);
            if (wrong) fail_with(wrong);
        } else reader.given_up++;
        reader.running = false;
        while (reader.choices && reader.choice[reader.choices - 1].taken + 1 == reader.choice[reader.choices - 1].of)
            reader.choices--;
        more = reader.choices > 0;
        if (more) reader.choice[reader.choices - 1].taken++;
    }
}

static uint64_t allowed; /* a bit for each number that the token may be answered with; bit 63: it may be missed */
static uint64_t met;

static const char *judge(bool found, int64_t deadline_ms, const latchkey_entry *e)
{
    if (!found) {
        met |= UINT64_C(1) << 63;
        return allowed >> 63 ? NULL : "what was held all the time was missed";
    }
    if (!whole(e)) return "an entry was put together from two";
    if (deadline_ms != LATER + (int64_t)e->user_id) return "an entry was answered with another's deadline";
    met |= UINT64_C(1) << e->user_id;
    return allowed >> e->user_id & 1 ? NULL : "an entry was answered that is not this token's, or that was purged";
}

#define MAY(number) (UINT64_C(1) << (number))
#define MAY_MISS MAY(63)

/* Whether the search met all that may happen: else it proves little. */
static void ask(name t, bool slowly, uint64_t may, uint64_t must_meet)
{
    allowed = may;
    met = 0;
    search(t, slowly, judge);
    if ((met & must_meet) != must_meet) {
        printf("VACUOUS: met %llx of %llx\n", (unsigned long long)met, (unsigned long long)must_meet);
        exit(1);
    }
}

static void both(name t, uint64_t may, uint64_t must_meet)
{
    ask(t, false, may, must_meet & ~MAY_MISS); /* a miss is the slow look's to say */
    ask(t, true, may, must_meet);
}

/* The entry is replaced under the reader's eyes, twice. */
static void replaced(void)
{
    name t = token(1, 0);
    put(t, 1);
    memory.logging = true;
    put(t, 2);
    put(t, 3);
    both(t, MAY(1) | MAY(2) | MAY(3) | MAY_MISS, MAY(1) | MAY(2) | MAY(3));
}

/* A session that would be put where t is, if t were not. */
static name rival_of(name t)
{
    for (unsigned n = 100;; n++) {
        name u = token(n, 0);
        if (lk_l1_homes_of_token(&l1->view, u.text).at[0] == lk_l1_homes_of_token(&l1->view, t.text).at[0]) return u;
    }
}

/* Another session takes the slot, then the first comes back. */
static void taken_over(void)
{
    name t = token(1, 0), u = rival_of(t);
    put(t, 1);
    memory.logging = true;
    lk_l1_purge(l1, t.text);
    put(u, 2);
    lk_l1_purge(l1, u.text);
    put(t, 3);
    both(t, MAY(1) | MAY(3) | MAY_MISS, MAY(1) | MAY(3) | MAY_MISS);
    both(u, MAY(2) | MAY_MISS, MAY(2) | MAY_MISS);
}

/* The same selector with another verifier: one never answers for the other. */
static void other_verifier(void)
{
    name t = token(1, 0), u = token(1, 1);
    put(t, 1);
    memory.logging = true;
    put(u, 2);
    both(t, MAY(1) | MAY_MISS, MAY(1) | MAY_MISS);
    both(u, MAY(2) | MAY_MISS, MAY(2) | MAY_MISS);
}

/* What was purged before the reader began is not answered (guarantee B), whatever came before and after. */
static void purged_before(void)
{
    name t = token(1, 0), u = rival_of(t);
    put(t, 1);
    put(t, 2);
    lk_l1_purge(l1, t.text);
    memory.logging = true;
    put(u, 3);
    lk_l1_purge(l1, u.text);
    both(t, MAY_MISS, MAY_MISS);
}

/* Which of its homes the session lies in; -1: none. */
static int home_of(name t)
{
    lk_l1_homes h = lk_l1_homes_of_token(&l1->view, t.text);
    for (int i = 0; i < LK_L1_HOMES; i++)
        if (names_locked(lk_l1_slot_at(l1, h.at[i]), t.text)) return i;
    return -1;
}

/* One session more moves some of those that stay from home to home: none of them is ever missed. Who moves to a home that
 * is looked at earlier is the one that is in danger; so they come and go until that happens. */
static void moved(void)
{
    enum { MOST = 200, HELD = 27 };
    int before[MOST];
    for (unsigned next = 0; next < MOST; next++) {
        bool back = false;
        memory.count = 0; /* the log begins with this put */
        memory.places = 0;
        for (unsigned i = 0; i < next; i++) before[i] = home_of(token(i, 0));
        memory.logging = true;
        put(token(next, 0), next % 60);
        memory.logging = false;
        for (unsigned i = 0; i < next; i++) back = back || (before[i] > 0 && home_of(token(i, 0)) < before[i]);
        if (lk_l1_stripes(l1)->evictions) break;
        if (back) {
            for (unsigned i = 0; i < next; i++)
                if (before[i] >= 0) both(token(i, 0), MAY(i % 60), MAY(i % 60));
            both(token(next, 0), MAY(next % 60) | MAY_MISS, MAY(next % 60) | MAY_MISS);
            return;
        }
        if (next >= HELD) lk_l1_purge(l1, token(next - HELD, 0).text);
    }
    printf("VACUOUS: no entry was moved to an earlier home\n");
    exit(1);
}

static const struct {
    const char *name;
    size_t capacity;
    void (*run)(void);
} scenarios[] = {{"replaced", 1, replaced},
                 {"taken-over", 1, taken_over},
                 {"other-verifier", 1, other_verifier},
                 {"purged-before", 1, purged_before},
                 {"moved", 30, moved}};
enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

int main(int argc, char **argv)
{
    for (int i = 0; i < SCENARIOS; i++) {
        if (argc == 2 && !strcmp(argv[1], "--list")) puts(scenarios[i].name);
        if (argc != 2 || strcmp(argv[1], scenarios[i].name)) continue;
        l1 = lk_l1_open(scenarios[i].capacity, 4711);
        if (!l1) return 2;
        scenarios[i].run();
        printf("holds: %llu ways of reading, %llu of them given up at the second try\n",
               (unsigned long long)reader.runs, (unsigned long long)reader.given_up);
        lk_l1_close(l1);
        return 0;
    }
    if (argc == 2 && !strcmp(argv[1], "--list")) return 0;
    fprintf(stderr, "usage: weak --list | SCENARIO\n");
    return 2;
}

/* SPDX-License-Identifier: MIT
 *
 * What L1 promises, one by one: room, eviction, tickets, exact tokens, prewarmed entries, memory that no other process sees.
 * (Guarantees D, E, G and J; at random in test_l1_model.c, under threads in test_l1_race.c.)
 */
#include "base/token.h"
#include "l1/l1_table.h"
#include "l1_kit.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static bool get(lk_l1 *l1, text t, l1_got *found)
{
    char *exact = unit_copy(t.at, LATCHKEY_TOKEN_LENGTH); /* no NUL behind it */
    bool hit = l1_get(l1, exact, found);
    assert_int_equal(lk_l1_holds(l1, exact), hit);
    free(exact);
    return hit;
}

static bool holds(lk_l1 *l1, unsigned session)
{
    l1_got found;
    return get(l1, token_of(session, 0), &found);
}

static uint64_t evictions(const lk_l1 *l1) { return lk_l1_read_stats(l1).evictions; }

static lk_l1 *open_l1(size_t capacity)
{
    lk_l1 *l1 = lk_l1_open(capacity, unit_seed());
    assert_non_null(l1);
    assert_true(entries(l1) == 0);
    return l1;
}

/* ------------------------------------------------------------------------------------------------------- room -- */

/* Where the sessions are fewer than the capacity, all of them are held. */
static void test_holds_what_it_has_room_for(void **state)
{
    (void)state;
    const size_t capacities[] = {1, 2, 10, 28, 29, 100, 1000, 10000, 100000};
    for (size_t i = 0; i < UNIT_COUNT(capacities); i++) {
        lk_l1 *l1 = open_l1(capacities[i]);
        uint64_t lost = 0;
        for (unsigned n = 0; n < capacities[i]; n++) assert_int_equal(put_now(l1, token_of(n, 0), n), LK_L1_STORED);
        for (unsigned n = 0; n < capacities[i]; n++) lost += !holds(l1, n);
        assert_true(lost == 0 && evictions(l1) == 0);
        assert_true(entries(l1) == capacities[i]);
        lk_l1_close(l1);
    }
}

static void test_never_more_than_the_capacity(void **state)
{
    (void)state;
    const size_t capacities[] = {0, 1, 2, 24, 28, 100, 1000, 5000};
    for (size_t i = 0; i < UNIT_COUNT(capacities); i++) {
        size_t capacity = capacities[i];
        lk_l1 *l1 = open_l1(capacity);
        uint64_t bytes = lk_l1_read_stats(l1).bytes, held = 0;
        unsigned count = (unsigned)(3 * capacity + 10);
        for (unsigned n = 0; n < count; n++) {
            put_now(l1, token_of(n, 0), n);
            assert_true(entries(l1) <= capacity);
        }
        for (unsigned n = 0; n < count; n++) held += holds(l1, n);
        assert_true(held == entries(l1));
        assert_true(held >= capacity - capacity / 50);
        assert_true(lk_l1_read_stats(l1).bytes == bytes); /* G: taken at open, never grown */
        lk_l1_close(l1);
    }
}

/* Tickets are of use without entries: flights are joined by them. */
static void test_capacity_0_holds_nothing_and_moves_tickets(void **state)
{
    (void)state;
    lk_l1 *l1 = open_l1(0);
    text t = token_of(1, 0);
    uint64_t first = lk_l1_ticket(l1, t.at);
    assert_int_equal(put(l1, t, first, 1, LATER_MS), LK_L1_LEFT_OUT);
    assert_int_equal(put_hashed(l1, t, first, 1, LATER_MS), LK_L1_LEFT_OUT);
    assert_false(holds(l1, 1));
    lk_l1_purge(l1, t.at);
    uint64_t second = lk_l1_ticket(l1, t.at);
    assert_true(second != first);
    lk_l1_empty(l1);
    assert_true(lk_l1_ticket(l1, t.at) != second && lk_l1_ticket(l1, t.at) != first);
    assert_int_not_equal(put(l1, t, first, 1, LATER_MS), LK_L1_STORED);
    assert_false(holds(l1, 1));
    assert_true(entries(l1) == 0);
    lk_l1_close(l1);
}

/* --------------------------------------------------------------------------------------------------- eviction -- */

/* Dead entries make room before living ones, wherever they lie and however often they were read. */
static void test_the_dead_make_room_first(void **state)
{
    (void)state;
    enum { CAPACITY = 20 }; /* few enough slots for one sweep */
    for (unsigned dead = 0; dead < CAPACITY; dead++) {
        lk_l1 *l1 = open_l1(CAPACITY);
        for (unsigned n = 0; n < CAPACITY; n++) {
            text t = token_of(n, 0);
            assert_int_equal(put(l1, t, lk_l1_ticket(l1, t.at), n, n == dead ? NOW_MS : LATER_MS), LK_L1_STORED);
        }
        assert_true(holds(l1, dead));
        assert_int_equal(put_now(l1, token_of(100, 0), 100), LK_L1_STORED);
        assert_true(evictions(l1) == 0);
        assert_false(holds(l1, dead));
        assert_int_equal(put_now(l1, token_of(101, 0), 101), LK_L1_STORED);
        assert_true(evictions(l1) == 1);
        assert_true(entries(l1) == CAPACITY);
        lk_l1_close(l1);
    }
}

/* What is read again and again stays, however much passes by that is read once. */
static void test_what_is_read_stays(void **state)
{
    (void)state;
    enum { CAPACITY = 1000, HOT = 100, FLOOD = 20 * CAPACITY };
    lk_l1 *l1 = open_l1(CAPACITY);
    unsigned stayed = 0, hot_evictions = 0;
    for (unsigned n = 0; n < HOT; n++) put_now(l1, token_of(n, 0), n);
    for (unsigned n = 0; n < FLOOD; n++) {
        put_now(l1, token_of(HOT + n, 0), n);
        if (n % 100) continue;
        for (unsigned h = 0; h < HOT; h++) {
            if (holds(l1, h)) continue;
            hot_evictions++;
            put_now(l1, token_of(h, 0), h);
        }
    }
    for (unsigned h = 0; h < HOT; h++) stayed += holds(l1, h);
    assert_true(stayed > HOT * 8 / 10);
    assert_true(hot_evictions < 6 * HOT); /* some 220; a victim chosen by lot would be a hot one 2,000 times */
    lk_l1_close(l1);
}

/* An entry that is not read goes once it is dead, each of them: no slot is skipped for ever. */
static void test_the_dead_go_all_of_them(void **state)
{
    (void)state;
    const unsigned capacities[] = {10, 28, 140, 1000, 5000, 50000};
    for (size_t i = 0; i < UNIT_COUNT(capacities); i++) {
        unsigned capacity = capacities[i], left = 0;
        lk_l1 *l1 = open_l1(capacity);
        for (unsigned n = 0; n < 3 * capacity; n++) {
            text t = token_of(n, 0);
            assert_int_equal(put(l1, t, lk_l1_ticket(l1, t.at), n, n < capacity ? NOW_MS : LATER_MS), LK_L1_STORED);
        }
        for (unsigned n = 0; n < capacity; n++) left += holds(l1, n);
        assert_true(left <= capacity / 50);
        assert_true(entries(l1) == capacity);
        lk_l1_close(l1);
    }
}

/* Others are in use from now on than were before: they get the room, though the old ones are not dead. */
static void test_a_new_working_set_takes_over(void **state)
{
    (void)state;
    enum { CAPACITY = 2000, NEW = CAPACITY / 2, ROUNDS = 12 };
    lk_l1 *l1 = open_l1(CAPACITY);
    unsigned missed = 0;
    for (unsigned n = 0; n < CAPACITY; n++) put_now(l1, token_of(n, 0), n);
    for (unsigned round = 0; round < ROUNDS; round++) {
        missed = 0;
        for (unsigned n = CAPACITY; n < CAPACITY + NEW; n++) {
            if (holds(l1, n)) continue;
            missed++;
            put_now(l1, token_of(n, 0), n);
        }
    }
    assert_true(missed <= NEW / 50);
    lk_l1_close(l1);
}

/* What comes once and never again does not push out what was there before, though that was not read lately either. */
static void test_a_scan_leaves_the_rest_alone(void **state)
{
    (void)state;
    enum { CAPACITY = 2000 };
    lk_l1 *l1 = open_l1(CAPACITY);
    unsigned stayed = 0;
    for (unsigned n = 0; n < CAPACITY; n++) put_now(l1, token_of(n, 0), n);
    for (unsigned n = CAPACITY; n < 20 * CAPACITY; n++) put_now(l1, token_of(n, 0), n);
    for (unsigned n = 0; n < CAPACITY; n++) stayed += holds(l1, n);
    assert_true(stayed > CAPACITY * 8 / 10);
    lk_l1_close(l1);
}

static void test_readers_of_everything_do_not_stop_eviction(void **state)
{
    (void)state;
    lk_l1 *l1 = open_l1(20);
    for (unsigned n = 0; n < 200; n++) {
        assert_int_equal(put_now(l1, token_of(n, 0), n), LK_L1_STORED);
        for (unsigned k = 0; k <= n; k++) holds(l1, k);
    }
    assert_true(entries(l1) == 20);
    lk_l1_close(l1);
}

/* ---------------------------------------------------------------------------------------------------- tickets -- */

static void test_an_old_ticket_is_refused(void **state)
{
    (void)state;
    lk_l1 *l1 = open_l1(100);
    text t = token_of(1, 0);
    uint64_t before = lk_l1_ticket(l1, t.at);
    assert_int_equal(put(l1, t, before, 1, LATER_MS), LK_L1_STORED);
    assert_int_equal(put(l1, t, before, 2, LATER_MS), LK_L1_STORED); /* good until there is a purge */
    lk_l1_purge(l1, t.at);
    assert_false(holds(l1, 1));
    assert_int_equal(put(l1, t, before, 3, LATER_MS), LK_L1_REFUSED);
    assert_int_equal(put_hashed(l1, t, before, 3, LATER_MS), LK_L1_REFUSED);
    assert_int_equal(put(l1, t, before + 2, 3, LATER_MS), LK_L1_REFUSED); /* nor one from the future */
    assert_false(holds(l1, 1));
    assert_int_equal(put_now(l1, t, 4), LK_L1_STORED);
    uint64_t between = lk_l1_ticket(l1, t.at);
    lk_l1_empty(l1);
    assert_int_equal(put(l1, t, between, 5, LATER_MS), LK_L1_REFUSED);
    assert_false(holds(l1, 1));
    lk_l1_close(l1);
}

/* A purge of what is not there voids tickets too: it may be on its way. */
static void test_purging_what_is_not_there_voids_tickets(void **state)
{
    (void)state;
    lk_l1 *l1 = open_l1(5000);
    for (unsigned n = 0; n < 300; n++) {
        text t = token_of(n, 0);
        uint64_t ticket = lk_l1_ticket(l1, t.at);
        lk_l1_purge(l1, t.at);
        assert_int_equal(put(l1, t, ticket, n, LATER_MS), LK_L1_REFUSED);
        assert_false(holds(l1, n));
    }
    lk_l1_close(l1);
}

/* A refused put leaves what is there alone. */
static void test_a_refused_put_changes_nothing(void **state)
{
    (void)state;
    lk_l1 *l1 = open_l1(100);
    l1_got found;
    text t = token_of(1, 0);
    uint64_t old = lk_l1_ticket(l1, t.at);
    lk_l1_purge(l1, t.at);
    put_now(l1, t, 7);
    assert_int_equal(put(l1, token_of(1, 1), old, 8, LATER_MS), LK_L1_REFUSED);
    assert_true(get(l1, t, &found) && found.entry.user_id == 7);
    assert_true(entries(l1) == 1);
    lk_l1_close(l1);
}

/* ----------------------------------------------------------------------------------------------- exact tokens -- */

static void test_any_other_token_misses(void **state)
{
    (void)state;
    for (int hashed = 0; hashed < 2; hashed++) {
        lk_l1 *l1 = open_l1(28);
        l1_got found;
        text t = token_of(1, 0);
        if (hashed) put_hashed(l1, t, lk_l1_ticket(l1, t.at), 1, LATER_MS);
        else put_now(l1, t, 1);
        for (size_t at = 0; at < LATCHKEY_TOKEN_LENGTH; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                text other = t;
                other.at[at] = (char)byte;
                if (other.at[at] != t.at[at]) assert_false(get(l1, other, &found));
            }
        }
        for (unsigned v = 1; v < 1000; v++) assert_false(get(l1, token_of(1, v), &found));
        assert_true(get(l1, t, &found));
        assert_int_equal(found.first_use, hashed);
        lk_l1_close(l1);
    }
}

/* The same selector with another verifier is an older or a newer answer for the same session: one place for both. */
static void test_a_selector_has_one_place(void **state)
{
    (void)state;
    lk_l1 *l1 = open_l1(1000);
    l1_got found;
    for (unsigned v = 0; v < 50; v++) {
        put_now(l1, token_of(1, v), v);
        assert_true(entries(l1) == 1);
        for (unsigned k = 0; k < v; k++) assert_false(get(l1, token_of(1, k), &found));
        assert_true(get(l1, token_of(1, v), &found) && found.entry.user_id == v);
    }
    text t = token_of(1, 0);
    lk_l1_purge(l1, t.at); /* by selector: whatever the verifier */
    assert_false(get(l1, token_of(1, 49), &found));
    assert_true(entries(l1) == 0);
    lk_l1_close(l1);
}

static void test_random_bytes_miss(void **state)
{
    (void)state;
    unit_random r = unit_random_new(9);
    lk_l1 *l1 = open_l1(1000);
    l1_got found;
    for (unsigned n = 0; n < 1000; n++) put_now(l1, token_of(n, 0), n);
    for (uint64_t i = unit_rounds(100000); i; i--) {
        text t;
        unit_fill(&r, t.at, sizeof t.at);
        if (i % 2) memcpy(t.at, token_of((unsigned)unit_below(&r, 1000), 0).at, LATCHKEY_SELECTOR_LENGTH);
        assert_false(get(l1, t, &found));
    }
    lk_l1_close(l1);
}

/* -------------------------------------------------------------------------------------------------- prewarmed -- */

static void test_a_prewarmed_entry_is_revealed_by_its_token(void **state)
{
    (void)state;
    lk_l1 *l1 = open_l1(100);
    l1_got found;
    text t = token_of(1, 0);
    latchkey_entry e = entry_of(77);
    assert_int_equal(put_hashed(l1, t, lk_l1_ticket(l1, t.at), 77, LATER_MS), LK_L1_STORED);
    char *exact = unit_copy(t.at, LATCHKEY_TOKEN_LENGTH);
    for (int use = 0; use < 3; use++) {
        assert_true(l1_get(l1, exact, &found));
        assert_int_equal(found.first_use, use == 0);
        assert_true(found.deadline_ms == LATER_MS);
        assert_memory_equal(&found.entry, &e, sizeof e);
    }
    assert_true(entries(l1) == 1 && evictions(l1) == 0);
    lk_l1_purge(l1, t.at);
    assert_false(l1_get(l1, exact, &found));
    free(exact);
    lk_l1_close(l1);
}

/* What Redis knows is no token (guarantee F): the stored hash, given in the verifier's place, is of no use. */
static void test_the_hash_is_no_verifier(void **state)
{
    (void)state;
    lk_l1 *l1 = open_l1(100);
    l1_got found;
    text t = token_of(1, 0), stolen = t;
    uint8_t hash[LK_HASH_SIZE];
    assert_true(lk_verifier_text_hash(t.at + LATCHKEY_SELECTOR_LENGTH, hash));
    memcpy(stolen.at + LATCHKEY_SELECTOR_LENGTH, hash, LK_VERIFIER_LENGTH);
    put_hashed(l1, t, lk_l1_ticket(l1, t.at), 1, LATER_MS);
    assert_false(get(l1, stolen, &found));
    memset(stolen.at + LATCHKEY_SELECTOR_LENGTH, 0, LK_VERIFIER_LENGTH);
    assert_false(get(l1, stolen, &found));
    for (const char *last = digits; *last; last++) { /* another spelling of the right verifier */
        text other = t;
        other.at[LATCHKEY_TOKEN_LENGTH - 1] = *last;
        if (*last != 'A') assert_false(get(l1, other, &found));
    }
    assert_true(l1_get(l1, t.at, &found) && found.first_use);
    lk_l1_close(l1);
}

static void test_a_prewarmed_entry_replaces_nothing(void **state)
{
    (void)state;
    lk_l1 *l1 = open_l1(100);
    l1_got found;
    text t = token_of(1, 0);
    put_now(l1, t, 1);
    assert_int_equal(put_hashed(l1, t, lk_l1_ticket(l1, t.at), 2, LATER_MS), LK_L1_LEFT_OUT);
    assert_int_equal(put_hashed(l1, token_of(1, 1), lk_l1_ticket(l1, t.at), 2, LATER_MS), LK_L1_LEFT_OUT);
    assert_true(get(l1, t, &found) && found.entry.user_id == 1 && !found.first_use);
    assert_false(get(l1, token_of(1, 1), &found));
    lk_l1_purge(l1, t.at);
    assert_int_equal(put_hashed(l1, t, lk_l1_ticket(l1, t.at), 3, LATER_MS), LK_L1_STORED);
    assert_int_equal(put_hashed(l1, t, lk_l1_ticket(l1, t.at), 4, LATER_MS), LK_L1_LEFT_OUT);
    assert_int_equal(put_now(l1, t, 5), LK_L1_STORED); /* an answer of L2 does replace it */
    assert_true(l1_get(l1, t.at, &found) && found.entry.user_id == 5 && !found.first_use);
    assert_true(entries(l1) == 1);
    lk_l1_close(l1);
}

/* ----------------------------------------------------------------------------------------------------- memory -- */

static void test_memory_is_kept_from_dumps_and_children(void **state)
{
    (void)state;
    const size_t capacities[] = {0, 1, 1000, 100000};
    for (size_t i = 0; i < UNIT_COUNT(capacities); i++) {
        lk_l1 *l1 = open_l1(capacities[i]);
        size_t bytes = lk_l1_read_stats(l1).bytes;
        const char *first = (const char *)l1, *last = first + bytes - 1;
        assert_true(unit_mapping_has(first, "dd") && unit_mapping_has(last, "dd"));
        assert_true(unit_mapping_has(first, "wf") && unit_mapping_has(last, "wf"));
        int here = 0;
        assert_false(unit_mapping_has(&here, "wf")); /* or the look at smaps is worth nothing */
        lk_l1_close(l1);
    }
}

static void test_a_child_sees_zeros(void **state)
{
    (void)state;
    lk_l1 *l1 = open_l1(1000);
    size_t bytes = lk_l1_read_stats(l1).bytes;
    for (unsigned n = 0; n < 1000; n++) put_now(l1, token_of(n, 0), n);
    pid_t child = fork();
    if (!child) {
        const volatile unsigned char *at = (const volatile unsigned char *)l1;
        unsigned char all = 0;
        for (size_t i = 0; i < bytes; i++) all |= at[i];
        lk_l1_close(l1); /* is allowed there */
        _exit(all ? 1 : 0);
    }
    int status = -1;
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(holds(l1, 999) || evictions(l1)); /* and the parent lost nothing */
    assert_true(entries(l1) >= 980);
    lk_l1_close(l1);
}

/* Wiped when it goes: not a byte of a token is left in the memory. */
static void test_what_goes_is_wiped(void **state)
{
    (void)state;
    lk_l1 *l1 = open_l1(100);
    text t = token_of(4711, 0);
    size_t bytes = lk_l1_read_stats(l1).bytes;
    put_now(l1, t, 1);
    assert_non_null(memmem(l1, bytes, t.at + 8, 12)); /* or the search is worth nothing */
    lk_l1_purge(l1, t.at);
    assert_null(memmem(l1, bytes, t.at + 8, 12));
    put_now(l1, t, 1);
    lk_l1_empty(l1);
    assert_null(memmem(l1, bytes, t.at + 8, 12));
    lk_l1_close(l1);
    lk_l1_close(NULL);
}

/* -------------------------------------------------------------------------------------------------- sampling -- */

static unsigned number_of(const lk_entry_sample *seen)
{
    latchkey_entry e = entry_of(seen->entry.user_id);
    assert_memory_equal(&e, &seen->entry, sizeof e);
    assert_memory_equal(seen->selector, token_of((unsigned)e.user_id, 0).at, LATCHKEY_SELECTOR_LENGTH);
    return (unsigned)e.user_id;
}

/* Every entry is found now and then, and nothing but what is there. */
static void test_samples_find_all(void **state)
{
    (void)state;
    enum { MOST = 1000 };
    const unsigned counts[] = {1, 7, 100, MOST};
    unit_random r = unit_random_new(9);
    for (size_t i = 0; i < UNIT_COUNT(counts); i++) {
        lk_l1 *l1 = open_l1(counts[i]);
        static bool seen[MOST];
        unsigned found = 0;
        memset(seen, 0, sizeof seen);
        for (unsigned n = 0; n < counts[i]; n++) put_now(l1, token_of(n, 0), n);
        for (unsigned k = 0; found < counts[i]; k++) {
            lk_entry_sample s;
            assert_true(k < 200 * MOST);
            assert_true(lk_l1_sample(l1, unit_next(&r), NOW_MS, &s));
            unsigned n = number_of(&s);
            assert_true(n < counts[i]);
            assert_int_equal(s.deadline_ms, LATER_MS);
            assert_true(lk_l1_still(l1, &s));
            found += !seen[n];
            seen[n] = true;
        }
        assert_true(entries(l1) == counts[i] && evictions(l1) == 0);
        lk_l1_close(l1);
    }
}

static void test_samples_are_alive_and_plain(void **state)
{
    (void)state;
    lk_l1 *l1 = open_l1(100);
    unit_random r = unit_random_new(10);
    for (unsigned n = 0; n < 60; n++) {
        text t = token_of(n, 0);
        if (n % 3 == 0) put(l1, t, lk_l1_ticket(l1, t.at), n, LATER_MS);
        else if (n % 3 == 1) put(l1, t, lk_l1_ticket(l1, t.at), n, NOW_MS + 1);
        else put_hashed(l1, t, lk_l1_ticket(l1, t.at), n, LATER_MS);
    }
    unsigned dying = 0;
    for (unsigned k = 0; k < 10000; k++) {
        lk_entry_sample s;
        assert_true(lk_l1_sample(l1, unit_next(&r), NOW_MS, &s));
        unsigned n = number_of(&s);
        assert_true(n % 3 != 2);
        dying += n % 3 == 1;
        assert_true(lk_l1_sample(l1, unit_next(&r), NOW_MS + 1, &s));
        assert_int_equal(number_of(&s) % 3, 0);
    }
    assert_true(dying > 0);
    l1_got got;
    assert_true(get(l1, token_of(2, 0), &got)); /* revealed, so it is plain */
    bool revealed = false;
    for (unsigned k = 0; k < 100000 && !revealed; k++) {
        lk_entry_sample s;
        assert_true(lk_l1_sample(l1, unit_next(&r), NOW_MS, &s));
        revealed = number_of(&s) == 2;
    }
    assert_true(revealed);
    lk_l1_close(l1);
}

static void test_samples_of_nothing(void **state)
{
    (void)state;
    const size_t capacities[] = {0, 1, 100, 100000};
    const uint64_t numbers[] = {0, 1, UINT64_MAX, UINT64_C(1) << 63, 12345678901234567};
    for (size_t i = 0; i < UNIT_COUNT(capacities); i++) {
        lk_l1 *l1 = open_l1(capacities[i]);
        lk_entry_sample s;
        for (size_t k = 0; k < UNIT_COUNT(numbers); k++) assert_false(lk_l1_sample(l1, numbers[k], NOW_MS, &s));
        put_now(l1, token_of(1, 0), 1);
        lk_l1_empty(l1);
        for (size_t k = 0; k < UNIT_COUNT(numbers); k++) assert_false(lk_l1_sample(l1, numbers[k], NOW_MS, &s));
        lk_l1_close(l1);
    }
}

/* "Still" is of that very fill. */
static void test_still_is_exact(void **state)
{
    (void)state;
    lk_l1 *l1 = open_l1(10);
    lk_entry_sample s, other;
    text t = token_of(5, 0);
    put_now(l1, t, 5);
    assert_true(lk_l1_sample(l1, 0, NOW_MS, &s));
    assert_true(lk_l1_still(l1, &s));
    for (size_t at = 0; at < sizeof s.entry; at++) {
        other = s;
        ((uint8_t *)&other.entry)[at] ^= 1;
        assert_false(lk_l1_still(l1, &other));
    }
    for (size_t at = 0; at < sizeof s.selector; at++) {
        other = s;
        other.selector[at] ^= 1;
        assert_false(lk_l1_still(l1, &other));
    }
    put(l1, t, lk_l1_ticket(l1, t.at), 5, LATER_MS + 1);
    assert_false(lk_l1_still(l1, &s));
    put_now(l1, t, 5);
    assert_true(lk_l1_still(l1, &s));
    lk_l1_purge(l1, t.at);
    assert_false(lk_l1_still(l1, &s));
    lk_l1_close(l1);
}

static text in_partition(text t, unsigned partition)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    t.at[0] = letters[4 + (partition >> 10)]; /* format 1 */
    t.at[1] = letters[partition >> 4 & 63];
    t.at[2] = letters[(partition & 15) << 2];
    assert_int_equal(lk_token_partition(t.at), partition);
    return t;
}

/* A server was lost that had some of the partitions: the entries of the others stay, and no older ticket is good. */
static void test_emptying_some_partitions_keeps_the_others(void **state)
{
    (void)state;
    enum { COUNT = 600 };
    static const unsigned lost[] = {0, 5, 63, 64, 4095};
    static const unsigned all[] = {0, 1, 5, 62, 63, 64, 65, 1024, 4095};
    lk_l1 *l1 = open_l1(10 * COUNT);
    uint64_t ticket[COUNT];
    text t[COUNT];
    for (unsigned n = 0; n < COUNT; n++) {
        t[n] = in_partition(token_of(n, 0), all[n % UNIT_COUNT(all)]);
        ticket[n] = lk_l1_ticket(l1, t[n].at);
        assert_int_equal(put(l1, t[n], ticket[n], n, LATER_MS), LK_L1_STORED);
    }
    lk_l1_empty_of(l1, (lk_partitions){lost, UNIT_COUNT(lost)});
    unsigned kept = 0;
    for (unsigned n = 0; n < COUNT; n++) {
        bool gone = lk_partitions_have((lk_partitions){lost, UNIT_COUNT(lost)}, all[n % UNIT_COUNT(all)]);
        assert_int_equal(lk_l1_holds(l1, t[n].at), !gone);
        assert_int_equal(put(l1, t[n], ticket[n], n, LATER_MS), LK_L1_REFUSED);
        kept += !gone;
    }
    assert_int_equal(entries(l1), kept);
    lk_l1_close(l1);
}

/* Where there is no entry, none is looked for: with many millions of places that takes longer than a beat may, and a handle could not
 * be opened. What is looked at here would crash. */
static void test_emptying_an_empty_one_looks_at_no_place(void **state)
{
    (void)state;
    enum { PAGE = 4096 };
    static const unsigned lost[] = {0};
    lk_l1 *l1 = open_l1(100000);
    const lk_stripe *last = &lk_l1_stripes(l1)[l1->view.stripes - 1];
    uintptr_t from = ((uintptr_t)lk_l1_row(l1, lk_l1_stripes(l1), 0) + PAGE - 1) / PAGE * PAGE;
    size_t size = ((uintptr_t)lk_l1_row(l1, last, l1->view.rows) - from) / PAGE * PAGE;
    assert_int_equal(mprotect((void *)from, size, PROT_NONE), 0);
    lk_l1_empty(l1);
    lk_l1_empty_of(l1, (lk_partitions){lost, UNIT_COUNT(lost)});
    assert_int_equal(mprotect((void *)from, size, PROT_READ | PROT_WRITE), 0);
    assert_int_equal(put_now(l1, token_of(1, 0), 1), LK_L1_STORED);
    lk_l1_empty(l1);
    assert_false(holds(l1, 1));
    lk_l1_close(l1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holds_what_it_has_room_for),
        cmocka_unit_test(test_never_more_than_the_capacity),
        cmocka_unit_test(test_capacity_0_holds_nothing_and_moves_tickets),
        cmocka_unit_test(test_the_dead_make_room_first),
        cmocka_unit_test(test_what_is_read_stays),
        cmocka_unit_test(test_the_dead_go_all_of_them),
        cmocka_unit_test(test_a_new_working_set_takes_over),
        cmocka_unit_test(test_a_scan_leaves_the_rest_alone),
        cmocka_unit_test(test_readers_of_everything_do_not_stop_eviction),
        cmocka_unit_test(test_an_old_ticket_is_refused),
        cmocka_unit_test(test_purging_what_is_not_there_voids_tickets),
        cmocka_unit_test(test_a_refused_put_changes_nothing),
        cmocka_unit_test(test_any_other_token_misses),
        cmocka_unit_test(test_a_selector_has_one_place),
        cmocka_unit_test(test_random_bytes_miss),
        cmocka_unit_test(test_a_prewarmed_entry_is_revealed_by_its_token),
        cmocka_unit_test(test_the_hash_is_no_verifier),
        cmocka_unit_test(test_a_prewarmed_entry_replaces_nothing),
        cmocka_unit_test(test_memory_is_kept_from_dumps_and_children),
        cmocka_unit_test(test_a_child_sees_zeros),
        cmocka_unit_test(test_what_goes_is_wiped),
        cmocka_unit_test(test_samples_find_all),
        cmocka_unit_test(test_samples_are_alive_and_plain),
        cmocka_unit_test(test_samples_of_nothing),
        cmocka_unit_test(test_still_is_exact),
        cmocka_unit_test(test_emptying_some_partitions_keeps_the_others),
        cmocka_unit_test(test_emptying_an_empty_one_looks_at_no_place),
    };
    return cmocka_run_group_tests_name("l1", tests, unit_setup, NULL);
}

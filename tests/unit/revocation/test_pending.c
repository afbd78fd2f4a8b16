/* SPDX-License-Identifier: MIT
 *
 * Revocations that Redis has not confirmed: they deny one token and no other, up to a limit. (Guarantees B and G.)
 */
#include "revocation/pending.h"
#include "unit.h"

#include <stdatomic.h>
#include <string.h>

static lk_pending *pending;
static const void *const LINK = &pending; /* what stands for a link */

static lk_token make_token(void)
{
    lk_check_keys keys;
    lk_token token;
    lk_check_keys_public(&keys);
    lk_token_make(&keys, 9, &token);
    return token;
}

static lk_pending_item item_of(const lk_token *token)
{
    lk_pending_item item = {.partition = token->partition};
    memcpy(item.selector, token->text, sizeof item.selector);
    lk_token_verifier_hash(token, item.verifier_hash);
    return item;
}

/* A token with the selector of one and the verifier of another: what a person who saw a log can make. */
static lk_token crossed(const lk_token *selector, const lk_token *verifier)
{
    lk_token token = *selector;
    memcpy(token.text + LATCHKEY_SELECTOR_LENGTH, verifier->text + LATCHKEY_SELECTOR_LENGTH, LK_VERIFIER_LENGTH);
    memcpy(token.raw + LK_SELECTOR_RAW, verifier->raw + LK_SELECTOR_RAW, LK_VERIFIER_RAW);
    return token;
}

static int setup(void **state)
{
    (void)state;
    pending = lk_pending_open(NULL, LK_PENDING_UNPROVEN_MAX);
    return !pending;
}

static int teardown(void **state)
{
    (void)state;
    lk_pending_close(pending);
    return 0;
}

static bool named(const lk_token *token)
{
    char *exact = unit_copy(token->text, LATCHKEY_SELECTOR_LENGTH);
    bool is = lk_pending_names(pending, exact);
    free(exact);
    return is;
}

static void settle_all(lk_pending *p, int64_t before_ms)
{
    lk_pending_item was;
    while (lk_pending_settle(p, before_ms, LINK, &was)) assert_true(was.ran_ms && was.ran_ms < before_ms);
}

static void test_denies_the_very_token(void **state)
{
    (void)state;
    lk_token a = make_token(), b = make_token();
    lk_pending_item item = item_of(&a);
    assert_false(lk_pending_has(pending, &a));
    assert_false(named(&a));
    assert_true(lk_pending_add(pending, &item));
    assert_true(lk_pending_has(pending, &a));
    assert_false(lk_pending_has(pending, &b));
    lk_token forged = crossed(&a, &b), other = crossed(&b, &a);
    assert_false(lk_pending_has(pending, &forged));
    assert_false(lk_pending_has(pending, &other));
    assert_true(named(&forged)); /* who knows no verifier asks by selector */
    assert_false(named(&other));
    lk_pending_remove(pending, &item);
    assert_false(lk_pending_has(pending, &a));
    assert_false(named(&a));
}

/* Revoking with a made-up verifier must deny no session, and must not remove a true denial. */
static void test_a_forged_item_touches_nobody(void **state)
{
    (void)state;
    lk_token a = make_token(), b = make_token(), forged = crossed(&a, &b);
    lk_pending_item real = item_of(&a), false_one = item_of(&forged);
    assert_true(lk_pending_add(pending, &false_one));
    assert_false(lk_pending_has(pending, &a));
    assert_true(lk_pending_add(pending, &real));
    lk_pending_remove(pending, &false_one);
    assert_true(lk_pending_has(pending, &a));
    assert_false(lk_pending_has(pending, &forged));
    lk_pending_remove(pending, &false_one);
    lk_pending_withdraw(pending, &false_one);
    assert_true(lk_pending_has(pending, &a));
}

/* Denied while its call is under way; to be retried once that gave up. Another call that is answered meanwhile withdraws
 * its own denial, and not the one that is retried. */
static void test_who_withdraws_leaves_what_is_retried(void **state)
{
    (void)state;
    lk_token a = make_token();
    lk_pending_item item = item_of(&a);
    assert_true(lk_pending_add(pending, &item));
    assert_int_equal(lk_pending_retries(pending), 0);
    lk_pending_withdraw(pending, &item);
    assert_false(lk_pending_has(pending, &a));

    assert_true(lk_pending_add(pending, &item));
    item.retry = true;
    assert_true(lk_pending_add(pending, &item));
    assert_int_equal(lk_pending_retries(pending), 1);
    item.retry = false;
    assert_true(lk_pending_add(pending, &item)); /* a second call joins, and does not take the retry away */
    assert_int_equal(lk_pending_retries(pending), 1);
    lk_pending_withdraw(pending, &item);
    assert_true(lk_pending_has(pending, &a));
    lk_pending_remove(pending, &item);
    assert_false(lk_pending_has(pending, &a));
    assert_int_equal(lk_pending_retries(pending), 0);
}

static void test_the_same_twice_is_one(void **state)
{
    (void)state;
    lk_token a = make_token();
    lk_pending_item item = item_of(&a), got;
    size_t cursor = 0;
    item.retry = true;
    assert_true(lk_pending_add(pending, &item));
    item.held = true; /* one call held it, so it has to be announced */
    assert_true(lk_pending_add(pending, &item));
    item.held = false;
    assert_true(lk_pending_add(pending, &item));
    assert_int_equal(lk_pending_retries(pending), 1);
    assert_true(lk_pending_next(pending, &cursor, &got));
    assert_true(got.held && got.retry);
    assert_int_equal(got.partition, 9);
    assert_memory_equal(got.selector, item.selector, sizeof got.selector);
    assert_memory_equal(got.verifier_hash, item.verifier_hash, sizeof got.verifier_hash);
    assert_false(lk_pending_next(pending, &cursor, &got));
    lk_pending_remove(pending, &item);
    assert_false(lk_pending_has(pending, &a));
}

static void test_is_bounded(void **state)
{
    (void)state;
    lk_token tokens[2] = {make_token(), make_token()};
    lk_pending_item first = item_of(&tokens[0]), item = first, last = item_of(&tokens[1]);
    for (unsigned i = 0; i < LK_PENDING_UNPROVEN_MAX; i++) {
        memcpy(item.selector, &i, sizeof i);
        item.retry = i % 2;
        assert_true(lk_pending_add(pending, i ? &item : &first));
    }
    assert_int_equal(lk_pending_retries(pending), LK_PENDING_UNPROVEN_MAX / 2);
    assert_false(lk_pending_add(pending, &last));
    assert_false(lk_pending_has(pending, &tokens[1]));
    last.retry = true;
    assert_false(lk_pending_add(pending, &last));
    assert_int_equal(lk_pending_retries(pending), LK_PENDING_UNPROVEN_MAX / 2);
    first.retry = true; /* is in there already: what it may still become */
    assert_true(lk_pending_add(pending, &first));
    assert_int_equal(lk_pending_retries(pending), LK_PENDING_UNPROVEN_MAX / 2 + 1);
    lk_pending_remove(pending, &item);
    assert_true(lk_pending_add(pending, &last));
    assert_true(lk_pending_has(pending, &tokens[0]));
    assert_true(lk_pending_has(pending, &tokens[1]));
}

/* Of logins that were not answered only some are ended: logouts need the places. */
static void test_what_may_not_be_there_has_few_places(void **state)
{
    (void)state;
    lk_token token = make_token();
    lk_pending_item item = item_of(&token);
    item.silent = item.doubtful = true;
    for (unsigned i = 0; i < LK_PENDING_DOUBTFUL_MAX; i++) {
        memcpy(item.selector, &i, sizeof i);
        assert_true(lk_pending_add(pending, &item));
    }
    lk_pending_item one = item;
    memset(one.selector, 'x', sizeof one.selector);
    assert_false(lk_pending_add(pending, &one));
    lk_pending_remove(pending, &item);
    assert_true(lk_pending_add(pending, &one));
    memset(one.selector, 'y', sizeof one.selector);
    assert_false(lk_pending_add(pending, &one));
    one.silent = one.doubtful = false;
    assert_true(lk_pending_add(pending, &one));
}

/* What nothing has proven takes no more than its half: what L1 held, or was made here, finds a place. */
static void test_places_are_kept_for_what_is_proven(void **state)
{
    (void)state;
    lk_token token = make_token();
    lk_pending_item item = item_of(&token);
    unsigned n = 0;
    for (;; n++) {
        memcpy(item.selector, &n, sizeof n);
        if (!lk_pending_add(pending, &item)) break;
    }
    assert_int_equal(n, LK_PENDING_UNPROVEN_MAX);
    lk_pending_item real = item, made = item;
    for (unsigned i = 0; i < LK_PENDING_MAX - LK_PENDING_UNPROVEN_MAX; i++, n++) {
        lk_pending_item *one = i % 2 ? &real : &made;
        memcpy(one->selector, &n, sizeof n);
        real.held = made.silent = true;
        assert_true(lk_pending_add(pending, one));
        assert_true(lk_pending_names(pending, one->selector));
    }
    memcpy(real.selector, &n, sizeof n);
    assert_false(lk_pending_add(pending, &real)); /* and there is an end to that */
    /* One of the others leaves: its place is free for all. One that turns out to be proven makes room for another. */
    unsigned first = 0, second = 1;
    memcpy(item.selector, &first, sizeof first);
    lk_pending_remove(pending, &item);
    memcpy(item.selector, &second, sizeof second);
    item.held = true;
    assert_true(lk_pending_add(pending, &item));
    item.held = false;
    memcpy(item.selector, &n, sizeof n);
    assert_true(lk_pending_add(pending, &item));
}

static void test_next_goes_through_all_that_are_retried(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    unsigned seen[COUNT] = {0}, which;
    lk_pending_item item = {0}, got;
    size_t cursor = 0;
    assert_false(lk_pending_next(pending, &cursor, &got));
    for (which = 0; which < COUNT; which++) {
        memcpy(item.selector, &which, sizeof which);
        item.retry = which % 3 == 0;
        assert_true(lk_pending_add(pending, &item));
    }
    while (lk_pending_next(pending, &cursor, &got)) {
        memcpy(&which, got.selector, sizeof which);
        seen[which]++;
    }
    for (which = 0; which < COUNT; which++) assert_int_equal(seen[which], which % 3 == 0);
    assert_false(lk_pending_next(pending, &cursor, &got)); /* stays at the end until it is put back */
    while (lk_pending_retries(pending)) {                  /* and meets removals on its way */
        cursor = 0;
        assert_true(lk_pending_next(pending, &cursor, &got));
        lk_pending_remove(pending, &got);
    }
    cursor = 0;
    assert_false(lk_pending_next(pending, &cursor, &got));
}

/* ------------------------------------------------------------------------------------------------ threads -- */

typedef struct shared {
    lk_token always, never;
    uint64_t rounds;
    atomic_uint wrong;
} shared;

static void work(void *argument, unsigned index)
{
    shared *s = argument;
    lk_pending_item mine = {.partition = index};
    for (uint64_t i = 0; i < s->rounds; i++) {
        lk_pending_item got;
        size_t cursor = 0;
        memset(mine.selector, (int)('a' + index), sizeof mine.selector);
        memcpy(mine.selector, &(uint32_t){(uint32_t)(i % 7)}, 4);
        mine.retry = i % 5 == 0;
        s->wrong += !lk_pending_add(pending, &mine);
        s->wrong += !lk_pending_has(pending, &s->always);
        s->wrong += lk_pending_has(pending, &s->never);
        s->wrong += !named(&s->always);
        s->wrong += !lk_pending_next(pending, &cursor, &got) || !got.retry;
        if (i % 3 == 1) lk_pending_remove(pending, &mine);
        if (i % 3 == 2) lk_pending_withdraw(pending, &mine);
    }
    for (uint32_t i = 0; i < 7; i++) {
        memcpy(mine.selector, &i, 4);
        lk_pending_remove(pending, &mine);
    }
}

/* durability: what the link's script has done is passed over, and denied until the replicas have it. */
static void test_what_ran_is_settled_by_a_later_beat_only(void **state)
{
    (void)state;
    enum { ITEMS = 4 };
    lk_token token[ITEMS];
    lk_pending_item item[ITEMS], next;
    for (int i = 0; i < ITEMS; i++) {
        token[i] = make_token();
        item[i] = item_of(&token[i]);
        item[i].retry = true;
        assert_true(lk_pending_add(pending, &item[i]));
        if (i < 3) lk_pending_ran(pending, &item[i], 1000 + i, LINK);
    }
    size_t cursor = 0;
    assert_true(lk_pending_next(pending, &cursor, &next));
    assert_memory_equal(next.selector, item[3].selector, sizeof next.selector);
    assert_false(lk_pending_next(pending, &cursor, &next));

    settle_all(pending, 1001); /* a beat sent then proves what ran before, not what ran at the same time */
    assert_false(lk_pending_has(pending, &token[0]));
    assert_true(lk_pending_has(pending, &token[1]) && lk_pending_denies(pending, &item[1]));
    assert_true(lk_pending_has(pending, &token[2]) && lk_pending_has(pending, &token[3]));
    assert_int_equal(lk_pending_retries(pending), 3);

    lk_pending_unsettle(pending, LINK); /* another connection: all of them again */
    settle_all(pending, 9999);
    assert_int_equal(lk_pending_retries(pending), 3);
    cursor = 0;
    for (int i = 0; i < 3; i++) assert_true(lk_pending_next(pending, &cursor, &next));
    assert_false(lk_pending_next(pending, &cursor, &next));
}

/* What one link ran, another link's beat does not prove; and if its connection is gone, the other's goes on. */
static void test_each_link_settles_what_it_ran(void **state)
{
    (void)state;
    const void *other = &state;
    lk_token a = make_token(), b = make_token();
    lk_pending_item here = item_of(&a), there = item_of(&b), was;
    here.retry = there.retry = true;
    assert_true(lk_pending_add(pending, &here) && lk_pending_add(pending, &there));
    lk_pending_ran(pending, &here, 1000, LINK);
    lk_pending_ran(pending, &there, 1000, other);
    assert_true(lk_pending_settle(pending, 2000, LINK, &was));
    assert_memory_equal(was.selector, here.selector, sizeof was.selector);
    assert_false(lk_pending_settle(pending, 2000, LINK, &was));
    lk_pending_unsettle(pending, LINK);
    assert_true(lk_pending_settle(pending, 2000, other, &was));
    assert_memory_equal(was.selector, there.selector, sizeof was.selector);
    assert_int_equal(lk_pending_retries(pending), 0);
}

/* A call whose answer is lost while the link runs for an earlier one: the run did not look for it, and it may have been the
 * one that ended the session. So it is looked for by another run, and its event is not lost. */
static void test_a_call_that_came_during_the_run_is_looked_for_by_another(void **state)
{
    (void)state;
    lk_token a = make_token();
    lk_pending_item item = item_of(&a), run, was;
    item.retry = true;
    strcpy(item.calls, " 1111111111111111");
    for (int durable = 0; durable < 2; durable++) {
        size_t cursor = 0;
        assert_true(lk_pending_add(pending, &item));
        assert_true(lk_pending_next(pending, &cursor, &run));
        lk_pending_item later = item;
        strcpy(later.calls, " 2222222222222222");
        assert_true(lk_pending_add(pending, &later));
        if (durable) lk_pending_ran(pending, &run, 1000, LINK);
        else assert_false(lk_pending_done(pending, &run, &was));
        cursor = 0;
        assert_true(lk_pending_next(pending, &cursor, &run)); /* still to be run */
        assert_string_equal(run.calls, " 1111111111111111 2222222222222222");
        strcpy(run.told, " : 7 AAAAAAAAAAAAAAAAAAAA");
        if (durable) lk_pending_ran(pending, &run, 2000, LINK);
        else assert_true(lk_pending_done(pending, &run, &was));
        if (durable) assert_true(lk_pending_settle(pending, 2001, LINK, &was));
        assert_false(lk_pending_has(pending, &a));
        assert_int_equal(lk_pending_retries(pending), 0);
        assert_false(lk_pending_done(pending, &run, &was)); /* another run's answer: what is to be told was told */
    }
    /* And one that comes after a run that waits for its replicas. */
    size_t cursor = 0;
    assert_true(lk_pending_add(pending, &item));
    assert_true(lk_pending_next(pending, &cursor, &run));
    lk_pending_ran(pending, &run, 3000, LINK);
    strcpy(item.calls, " 3333333333333333");
    assert_true(lk_pending_add(pending, &item));
    assert_false(lk_pending_settle(pending, 9000, LINK, &was));
}

static void test_threads_do_not_lose_each_others(void **state)
{
    (void)state;
    shared s = {.always = make_token(), .never = make_token(), .rounds = unit_rounds(8000)};
    lk_pending_item item = item_of(&s.always);
    item.retry = true;
    assert_true(lk_pending_add(pending, &item));
    unit_threads(4, work, &s);
    assert_int_equal(s.wrong, 0);
    assert_int_equal(lk_pending_retries(pending), 1);
    assert_true(lk_pending_has(pending, &s.always));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_denies_the_very_token, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_forged_item_touches_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_withdraws_leaves_what_is_retried, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_same_twice_is_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_may_not_be_there_has_few_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places_are_kept_for_what_is_proven, setup, teardown),
        cmocka_unit_test_setup_teardown(test_next_goes_through_all_that_are_retried, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_link_settles_what_it_ran, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_ran_is_settled_by_a_later_beat_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_call_that_came_during_the_run_is_looked_for_by_another, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads_do_not_lose_each_others, setup, teardown),
    };
    return cmocka_run_group_tests_name("pending", tests, unit_setup, NULL);
}

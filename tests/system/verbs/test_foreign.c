/* SPDX-License-Identifier: MIT
 *
 * Foreign tokens: every verb takes them, for as long as foreign_until_ms says; they are asked for once, and are then as
 * fast, as safe and as dead as any other; and what is wrong in Redis is said, and admits no request.
 */
#include "base/foreign_token.h"
#include "foreign_kit.h"
#include "proxy.h"
#include "threads.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

static latchkey_answer submitted(latchkey *lk, const char *token)
{
    latchkey_answer a = {.status = 99};
    struct pollfd p = {.fd = latchkey_fd(lk), .events = POLLIN};
    assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, token, strlen(token), 7));
    while (!latchkey_reap(lk, &a, 1)) assert_true(poll(&p, 1, CHECK_PATIENCE_MS) == 1);
    assert_int_equal(a.tag, 7);
    return a;
}

/* What all verbs say of one token, submit and reap included: one and the same. */
static void all_say(latchkey *lk, int status, const char *token)
{
    latchkey_entry entry, zero = {0};
    char renewed[LATCHKEY_TOKEN_SIZE];
    assert_status(lk, status, f_validate(lk, token, &entry));
    assert_memory_equal(&entry, &zero, sizeof entry);
    assert_status(lk, status, f_touch(lk, token));
    assert_status(lk, status, f_load(lk, token));
    assert_status(lk, status, f_set(lk, token, "note", "x"));
    assert_status(lk, status, f_set(lk, token, "pq.k", "x"));
    assert_status(lk, status, f_rotate(lk, token, 0, renewed));
    assert_status(lk, status, f_revoke(lk, token));
    if (status == LATCHKEY_MALFORMED) {
        assert_status(lk, status, f_try(lk, token));
        assert_status(lk, status, latchkey_submit(lk, token, strlen(token), 1));
    } else {
        latchkey_answer a = submitted(lk, token);
        assert_status(lk, status, a.status);
        assert_memory_equal(&a.entry, &zero, sizeof zero);
    }
}

/* -------------------------------------------------------------------------------------------- the whole life -- */

static void test_it_is_taken_as_any_other(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, TAKEN), *lk = handle_open(server, TAKEN "&l1_ttl_ms=600000");
    foreign_text token;
    foreign_of(1, token);
    latchkey_entry entry;
    assert_status(maker, LATCHKEY_OK, import_one(maker, token));
    assert_status(lk, LATCHKEY_AGAIN, f_try(lk, token));
    assert_status(lk, LATCHKEY_OK, f_validate(lk, token, &entry));
    assert_int_equal(entry.user_id, FOREIGN_USER);
    assert_string_equal(entry.role, "member");
    assert_int_equal(entry.flags & LATCHKEY_FLAG_RENEW, LATCHKEY_FLAG_RENEW);
    latchkey_stats before = stats_of(lk);
    assert_int_equal(before.foreign_reads, 1);
    assert_int_equal(before.l2_reads, 1);
    for (int i = 0; i < 1000; i++) {
        assert_status(lk, LATCHKEY_OK, latchkey_try_validate(lk, token, strlen(token), &entry));
        assert_int_equal(entry.user_id, FOREIGN_USER);
        assert_int_equal(entry.flags & LATCHKEY_FLAG_RENEW, LATCHKEY_FLAG_RENEW);
    }
    const char *tokens[2] = {token, "somebody-elses-or-nobodys"};
    const size_t lens[2] = {strlen(token), strlen(tokens[1])};
    latchkey_entry entries[2];
    int statuses[2];
    assert_status(lk, LATCHKEY_OK, latchkey_try_validate_many(lk, tokens, lens, 2, entries, statuses));
    assert_status(lk, LATCHKEY_OK, statuses[0]);
    assert_int_equal(entries[0].flags & LATCHKEY_FLAG_RENEW, LATCHKEY_FLAG_RENEW);
    assert_status(lk, LATCHKEY_AGAIN, statuses[1]);
    latchkey_stats after = stats_of(lk);
    assert_int_equal(after.foreign_reads, 1); /* from memory, all of it */
    assert_int_equal(after.l2_reads, 1);
    assert_int_equal(after.l1_hits, before.l1_hits + 1001);
    assert_status(lk, LATCHKEY_OK, f_touch(lk, token));
    assert_status(lk, LATCHKEY_OK, f_set(lk, token, "note", "hello"));
    assert_status(lk, LATCHKEY_OK, f_set(lk, token, "pq.k", "material"));
    latchkey_record *record;
    size_t size;
    assert_status(maker, LATCHKEY_OK, latchkey_load(maker, token, strlen(token), &record));
    assert_memory_equal(latchkey_record_field(record, "note", &size), "hello", 5);
    assert_memory_equal(latchkey_record_field(record, "pq.k", &size), "material", 8);
    assert_int_equal(latchkey_record_entry(record)->flags & LATCHKEY_FLAG_RENEW, LATCHKEY_FLAG_RENEW);
    latchkey_record_free(record);
    const char *const names[] = {"note"};
    assert_status(maker, LATCHKEY_OK, latchkey_get_fields(maker, token, strlen(token), names, 1, &record));
    assert_int_equal(latchkey_record_entry(record)->flags & LATCHKEY_FLAG_RENEW, LATCHKEY_FLAG_RENEW);
    latchkey_record_free(record);
    latchkey_session_info info;
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, FOREIGN_USER, token, strlen(token), &info, 1, &size));
    assert_int_equal(size, 1);
    assert_int_equal(info.current, 1);
    assert_status(lk, LATCHKEY_OK, f_revoke(lk, token));
    all_say(lk, LATCHKEY_NOT_FOUND, token);
    wait_for(f_try(maker, token) != LATCHKEY_OK);
    all_say(maker, LATCHKEY_NOT_FOUND, token);
    assert_int_equal(stats_of(lk).foreign_unknown, 0);
}

static void test_an_exchange_makes_it_an_old_token(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, TAKEN), *other = handle_open(server, TAKEN);
    foreign_text at_once, graced;
    char renewed[LATCHKEY_TOKEN_SIZE], more[LATCHKEY_TOKEN_SIZE];
    latchkey_entry entry;
    assert_status(lk, LATCHKEY_OK, import_one(lk, foreign_of(1, at_once)));
    assert_status(lk, LATCHKEY_OK, import_one(lk, foreign_of(2, graced)));
    assert_status(other, LATCHKEY_OK, f_validate(other, at_once, NULL));
    assert_status(lk, LATCHKEY_OK, f_rotate(lk, at_once, 0, renewed));
    wait_for(f_try(other, at_once) != LATCHKEY_OK);
    all_say(other, LATCHKEY_NOT_FOUND, at_once);
    assert_status(other, LATCHKEY_OK, f_validate(other, renewed, &entry));
    assert_int_equal(entry.flags & LATCHKEY_FLAG_RENEW, 0);
    assert_int_equal(stats_of(lk).reuses + stats_of(other).reuses, 0);

    /* With a grace: good for so long, then a tripwire. */
    assert_status(lk, LATCHKEY_OK, f_rotate(lk, graced, 600000, renewed));
    assert_status(lk, LATCHKEY_REFUSED, f_rotate(lk, graced, 600000, more));
    assert_status(other, LATCHKEY_OK, f_validate(other, graced, &entry));
    assert_int_equal(entry.flags & LATCHKEY_FLAG_RENEW, LATCHKEY_FLAG_RENEW);
    assert_status(other, LATCHKEY_OK, f_set(other, graced, "note", "x"));
    assert_status(other, LATCHKEY_OK, f_load(other, graced));
    assert_status(lk, LATCHKEY_OK, f_revoke(lk, graced));
    wait_for(f_validate(other, renewed, NULL) == LATCHKEY_NOT_FOUND);

    assert_status(lk, LATCHKEY_OK, import_one(lk, foreign_of(3, graced)));
    assert_status(lk, LATCHKEY_OK, f_rotate(lk, graced, 1, renewed));
    wait_for(f_validate(other, graced, NULL) == LATCHKEY_NOT_FOUND);
    wait_for(f_validate(lk, renewed, NULL) == LATCHKEY_NOT_FOUND);
    wait_for(stats_of(other).reuses + stats_of(lk).reuses == 1);
}

static void test_revoke_user_keeps_it_or_ends_it(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, TAKEN), *other = handle_open(server, TAKEN);
    foreign_text kept, ended, nobodys;
    char own[LATCHKEY_TOKEN_SIZE];
    size_t revoked;
    assert_status(lk, LATCHKEY_OK, import_one(lk, foreign_of(1, kept)));
    assert_status(lk, LATCHKEY_OK, import_one(lk, foreign_of(2, ended)));
    make_session(lk, FOREIGN_USER, own);
    assert_int_equal(sessions_of(lk, FOREIGN_USER), 3);
    assert_status(other, LATCHKEY_OK, latchkey_revoke_user(other, FOREIGN_USER, kept, strlen(kept), &revoked));
    assert_int_equal(revoked, 2);
    assert_status(other, LATCHKEY_OK, f_validate(other, kept, NULL));
    assert_status(other, LATCHKEY_NOT_FOUND, f_validate(other, ended, NULL));
    assert_status(other, LATCHKEY_NOT_FOUND, validate(other, own));
    /* One without a session keeps nothing, and marks nothing. */
    latchkey_session_info info;
    foreign_of(9, nobodys);
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, FOREIGN_USER, nobodys, strlen(nobodys), &info, 1, &revoked));
    assert_int_equal(info.current, 0);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, FOREIGN_USER, nobodys, strlen(nobodys), &revoked));
    assert_int_equal(revoked, 1);
    assert_status(lk, LATCHKEY_NOT_FOUND, f_validate(lk, kept, NULL));
}

/* ---------------------------------------------------------------------------------------- which, and until when -- */

static long long gets(void) { return redis_calls(server, "get"); }

static void test_off_by_default(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, TAKEN), *lk = handle_open(server, "");
    foreign_text token;
    latchkey_session_info info;
    size_t total;
    assert_status(maker, LATCHKEY_OK, import_one(maker, foreign_of(1, token)));
    long long before = gets();
    all_say(lk, LATCHKEY_MALFORMED, token);
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_sessions(lk, FOREIGN_USER, token, strlen(token), &info, 1, &total));
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_revoke_user(lk, FOREIGN_USER, token, strlen(token), &total));
    assert_status(lk, LATCHKEY_CONFIG, import_one(lk, token));
    assert_int_equal(gets(), before);
    assert_int_equal(stats_of(lk).foreign_reads, 0);
    assert_status(maker, LATCHKEY_OK, f_validate(maker, token, NULL));
}

static void test_after_its_time_it_is_malformed_and_nothing_is_asked(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, TAKEN);
    foreign_text token, another;
    char options[80];
    assert_status(maker, LATCHKEY_OK, import_one(maker, foreign_of(1, token)));
    int64_t until = server_ms() + 400;
    snprintf(options, sizeof options, "foreign_until_ms=%lld", (long long)until);
    latchkey *lk = handle_open(server, options);
    int status;
    do {
        int64_t before = server_ms();
        status = f_validate(lk, token, NULL);
        assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_MALFORMED);
        if (status == LATCHKEY_OK) assert_true(before < until + 50); /* clocks are compared once a beat */
    } while (status == LATCHKEY_OK);
    assert_true(server_ms() >= until - 50);
    long long before = gets();
    all_say(lk, LATCHKEY_MALFORMED, token);
    assert_status(lk, LATCHKEY_MALFORMED, import_one(lk, foreign_of(2, another)));
    assert_int_equal(gets(), before);
    /* From the start, also where the clock is not heard yet. */
    latchkey *late = handle_open(server, "foreign_until_ms=1"),
             *lazy = handle_open(server, "foreign_until_ms=1&lazy=1");
    all_say(late, LATCHKEY_MALFORMED, token);
    wait_for((status = f_validate(lazy, token, NULL)) != LATCHKEY_UNAVAILABLE);
    assert_status(lazy, LATCHKEY_MALFORMED, status);
    assert_status(maker, LATCHKEY_OK, f_validate(maker, token, NULL));
}

static void test_lengths_and_bytes(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, TAKEN), *other = handle_open(server, TAKEN);
    latchkey_draft draft = {.size = sizeof draft, .user_id = 5};
    char bytes[257], own[LATCHKEY_TOKEN_SIZE];
    latchkey_entry entry;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7);
    const size_t good[] = {16, 17, 20, 32, 42, 43, 44, 64, 128, 255, 256}, bad[] = {0, 1, 15, 257};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        draft.user_id = 100 + i;
        assert_status(lk, LATCHKEY_OK, latchkey_import(lk, bytes, good[i], &draft, 0, 0));
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) { /* the one is the other's beginning, and not the other */
        assert_status(other, LATCHKEY_OK, latchkey_validate(other, bytes, good[i], &entry));
        assert_int_equal(entry.user_id, 100 + i);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(lk, LATCHKEY_MALFORMED, latchkey_import(lk, bytes, bad[i], &draft, 0, 0));
        assert_status(lk, LATCHKEY_MALFORMED, latchkey_validate(lk, bytes, bad[i], &entry));
    }
    /* As long as ours and of the same alphabet, also one that begins like ours; but not one of ours. */
    make_session(lk, 1, own);
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_import(lk, own, LATCHKEY_TOKEN_LENGTH, &draft, 0, 0));
    own[30] = own[30] == 'A' ? 'B' : 'A';
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, own));
    assert_status(lk, LATCHKEY_OK, latchkey_import(lk, own, LATCHKEY_TOKEN_LENGTH, &draft, 0, 0));
    assert_status(other, LATCHKEY_OK, validate(other, own));
}

/* The whole token counts (E), beside a hit and on a miss. */
static void test_E_every_changed_character_is_refused(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, TAKEN);
    foreign_text token, changed;
    assert_status(lk, LATCHKEY_OK, import_one(lk, foreign_of(1, token)));
    assert_status(lk, LATCHKEY_OK, f_validate(lk, token, NULL));
    for (size_t i = 0; i < strlen(token); i++)
        for (int bit = 0; bit < 8; bit++) {
            strcpy(changed, token);
            changed[i] = (char)(changed[i] ^ 1 << bit);
            if (changed[i]) assert_status(lk, LATCHKEY_NOT_FOUND, f_validate(lk, changed, NULL));
        }
    assert_status(lk, LATCHKEY_OK, f_validate(lk, token, NULL));
}

/* Without a session: asked for each time, since it may move in at any moment; then it is there at once. */
static void test_one_that_moves_in_late_is_seen_at_once(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, TAKEN), *maker = handle_open(server, TAKEN);
    foreign_text token;
    for (unsigned i = 0; i < 200; i++) {
        foreign_of(i, token);
        assert_status(lk, LATCHKEY_NOT_FOUND, f_validate(lk, token, NULL));
        assert_status(lk, LATCHKEY_NOT_FOUND, submitted(lk, token).status);
        assert_status(maker, LATCHKEY_OK, import_one(maker, token));
        assert_status(lk, LATCHKEY_OK, i % 2 ? submitted(lk, token).status : f_validate(lk, token, NULL));
    }
    assert_int_equal(stats_of(lk).foreign_unknown, 400);
    assert_int_equal(stats_of(lk).foreign_reads, 600);
}

/* ------------------------------------------------------------------------------------------------ what is wrong -- */

static void test_a_damaged_name_is_corrupt(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, TAKEN);
    foreign_text token;
    char key[128];
    assert_status(maker, LATCHKEY_OK, import_one(maker, foreign_of(1, token)));
    only_key(server, "lk:*:i:*", key);
    const char *wrong[] = {
        "", "garbage", "AAAAAAAAAAAAAAAAAAAA", "H___________________", "EAAAAAAAAAAAAAAAAA=A", "EAAAAAAAAAAAAAAAAAAAA"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        latchkey *lk = handle_open(server, TAKEN);
        redis_do(server, "SET %s %b", key, wrong[i], strlen(wrong[i]));
        all_say(lk, LATCHKEY_CORRUPT, token);
        assert_status(lk, LATCHKEY_CORRUPT, import_one(lk, token));
        assert_true(stats_of(lk).corrupt > 0);
        assert_lacks(stats_of(lk).last_error, token);
        handle_close(lk);
    }
    redis_do(server, "DEL %s", key);
    redis_do(server, "LPUSH %s x", key);
    latchkey *lk = handle_open(server, TAKEN);
    all_say(lk, LATCHKEY_CORRUPT, token);
    assert_status(lk, LATCHKEY_CORRUPT, import_one(lk, token));
}

/* An attacker who writes to Redis lets a token mean another user's session: the verifier does not match. */
static void test_E_a_name_that_means_another_session_admits_nobody(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, TAKEN);
    foreign_text mine;
    char key[128], theirs[LATCHKEY_TOKEN_SIZE];
    make_session(maker, 1, theirs);
    assert_status(maker, LATCHKEY_OK, import_one(maker, foreign_of(1, mine)));
    redis_do(server, "SET %s %b", only_key(server, "lk:*:i:*", key), theirs, (size_t)20);
    latchkey *lk = handle_open(server, TAKEN);
    assert_status(lk, LATCHKEY_OK, validate(lk, theirs)); /* it is in L1 */
    all_say(lk, LATCHKEY_NOT_FOUND, mine);
    assert_status(lk, LATCHKEY_OK, validate(lk, theirs));
}

static void test_a_name_without_a_session_is_not_found(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, TAKEN), *lk = handle_open(server, TAKEN);
    foreign_text token;
    char key[128];
    assert_status(maker, LATCHKEY_OK, import_one(maker, foreign_of(1, token)));
    redis_do(server, "DEL %s", only_key(server, "lk:*:s:*", key));
    all_say(lk, LATCHKEY_NOT_FOUND, token);
}

static void test_A_without_redis_there_is_no_answer(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, TAKEN "&deadline_ms=300&staleness_ms=60000"),
             *graced = handle_open(on, TAKEN "&deadline_ms=300&staleness_ms=400&grace_ms=3600000&l1_ttl_ms=600000");
    foreign_text known, unknown;
    latchkey_draft draft = {.size = sizeof draft, .user_id = 1};
    latchkey_entry entry;
    foreign_of(1, known);
    foreign_of(2, unknown);
    wait_for(latchkey_import(lk, known, strlen(known), &draft, 0, 0) >= 0);
    wait_for(latchkey_import(lk, unknown, strlen(unknown), &draft, 0, 0) >= 0);
    wait_for(f_validate(lk, known, NULL) == LATCHKEY_OK);
    wait_for(f_validate(graced, known, NULL) == LATCHKEY_OK && f_try(graced, known) == LATCHKEY_OK); /* in L1 */
    redis_kill(on);
    all_say(graced, LATCHKEY_UNAVAILABLE, unknown);
    wait_for(stats_of(graced).lease_age_ms > 500 && !stats_of(graced).connected);
    assert_status(graced, LATCHKEY_OK, f_validate(graced, known, &entry));
    assert_int_equal(entry.flags & LATCHKEY_FLAG_STALE, LATCHKEY_FLAG_STALE);
    assert_int_equal(entry.flags & LATCHKEY_FLAG_RENEW, LATCHKEY_FLAG_RENEW);
    latchkey_answer a = submitted(graced, known);
    assert_status(graced, LATCHKEY_OK, a.status);
    assert_int_equal(a.entry.flags & LATCHKEY_FLAG_RENEW, LATCHKEY_FLAG_RENEW);
    assert_status(graced, LATCHKEY_PENDING, f_revoke(graced, known)); /* of the one that it knows it can deny */
    assert_status(graced, LATCHKEY_NOT_FOUND, f_validate(graced, known, NULL));
    redis_boot(on); /* with nothing: what was known of names is forgotten with it */
    wait_for(f_validate(lk, unknown, NULL) == LATCHKEY_NOT_FOUND);
    uint64_t asked = stats_of(lk).foreign_unknown;
    wait_for(f_validate(lk, known, NULL) == LATCHKEY_NOT_FOUND && stats_of(lk).foreign_unknown > asked);
    handle_close_all(NULL);
    redis_end(on);
}

static void test_J_a_child_is_told_so(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, TAKEN);
    foreign_text token;
    assert_status(lk, LATCHKEY_OK, import_one(lk, foreign_of(1, token)));
    assert_status(lk, LATCHKEY_OK, f_validate(lk, token, NULL));
    pid_t child = fork();
    if (child == 0) {
        latchkey_draft draft = {.size = sizeof draft};
        bool good = f_validate(lk, token, NULL) == LATCHKEY_FORKED && f_try(lk, token) == LATCHKEY_FORKED &&
                    f_revoke(lk, token) == LATCHKEY_FORKED && f_load(lk, token) == LATCHKEY_FORKED &&
                    latchkey_submit(lk, token, strlen(token), 1) == LATCHKEY_FORKED &&
                    latchkey_import(lk, token, strlen(token), &draft, 0, 0) == LATCHKEY_FORKED;
        _exit(good ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_status(lk, LATCHKEY_OK, f_validate(lk, token, NULL));
}

/* --------------------------------------------------------------------------------------------- event loops -- */

static void collect(latchkey *lk, latchkey_answer *answers, size_t wanted)
{
    struct pollfd p = {.fd = latchkey_fd(lk), .events = POLLIN};
    for (size_t got = 0; got < wanted;) {
        assert_true(poll(&p, 1, CHECK_PATIENCE_MS) == 1);
        got += latchkey_reap(lk, answers + got, wanted - got);
    }
}

static void test_submit_asks_once_for_many(void **state)
{
    (void)state;
    enum { MANY = 300 };
    latchkey *maker = handle_open(server, TAKEN), *lk = handle_open(server, TAKEN);
    foreign_text token;
    latchkey_answer answers[MANY];
    assert_status(maker, LATCHKEY_OK, import_one(maker, foreign_of(1, token)));
    for (uint64_t i = 0; i < MANY; i++) assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, token, strlen(token), i));
    collect(lk, answers, MANY);
    bool seen[MANY] = {false};
    for (int i = 0; i < MANY; i++) {
        assert_status(lk, LATCHKEY_OK, answers[i].status);
        assert_int_equal(answers[i].entry.user_id, FOREIGN_USER);
        assert_int_equal(answers[i].entry.flags & LATCHKEY_FLAG_RENEW, LATCHKEY_FLAG_RENEW);
        assert_true(answers[i].tag < MANY && !seen[answers[i].tag]);
        seen[answers[i].tag] = true;
    }
    assert_int_equal(stats_of(lk).foreign_reads, 1);
    assert_int_equal(stats_of(lk).l2_reads, 1);
    assert_status(lk, LATCHKEY_OK, f_try(lk, token)); /* it is known now, and in L1 */
}

/* Answers that lie unread, of the one that asked whose it is and of those who joined it: not given once it was ended (B). */
static void test_B_unread_answers_are_not_given_after_a_revocation(void **state)
{
    (void)state;
    enum { MANY = 40 };
    latchkey *maker = handle_open(server, TAKEN), *lk = handle_open(server, TAKEN);
    foreign_text token;
    latchkey_answer answers[MANY];
    for (unsigned round = 0; round < 20; round++) {
        assert_status(maker, LATCHKEY_OK, import_one(maker, foreign_of(round, token)));
        for (uint64_t i = 0; i < MANY; i++)
            assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, token, strlen(token), i));
        collect(lk, answers, 1); /* one is given: the others are answered, too */
        assert_status(lk, LATCHKEY_OK, answers[0].status);
        assert_status(lk, LATCHKEY_OK, f_revoke(lk, token));
        collect(lk, answers, MANY - 1);
        for (int i = 0; i < MANY - 1; i++) assert_status(lk, LATCHKEY_NOT_FOUND, answers[i].status);
    }
}

/* Own and foreign, living, ended and unknown ones, each many times, at once, with connections that are killed: each is
 * answered by what it is, or not at all. */
static void test_submit_keeps_them_apart(void **state)
{
    (void)state;
    enum { TOKENS = 120, ROUNDS = 12, EACH = TOKENS * 2 };
    latchkey *maker = handle_open(server, TAKEN), *lk = handle_open(server, TAKEN "&l1_capacity=0&in_flight=1024");
    static char tokens[TOKENS][64];
    static latchkey_answer answers[EACH];
    size_t answered = 0;
    for (unsigned i = 0; i < TOKENS; i++) {
        foreign_of(i, tokens[i]);
        if (i % 4 == 1) make_session(maker, i, tokens[i]);
        else if (i % 4 != 3) assert_status(maker, LATCHKEY_OK, import_for(maker, tokens[i], i));
        if (i % 4 == 2) assert_status(maker, LATCHKEY_OK, f_revoke(maker, tokens[i]));
    }
    for (int round = 0; round < ROUNDS; round++) {
        if (round % 3 == 2) redis_do(server, "CLIENT KILL TYPE normal");
        for (uint64_t i = 0; i < EACH; i++) {
            const char *token = tokens[i * 7 % TOKENS];
            assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, token, strlen(token), i * 7 % TOKENS));
        }
        collect(lk, answers, EACH);
        for (int i = 0; i < EACH; i++) {
            uint64_t which = answers[i].tag;
            if (answers[i].status == LATCHKEY_UNAVAILABLE) continue;
            answered++;
            assert_status(lk, which % 4 < 2 ? LATCHKEY_OK : LATCHKEY_NOT_FOUND, answers[i].status);
            if (which % 4 < 2) assert_int_equal(answers[i].entry.user_id, which);
        }
    }
    assert_true(answered > EACH * ROUNDS / 2);
}

/* ------------------------------------------------------------------------------------------------- races -- */

enum { RACERS = 3, RACES = 250 };
typedef struct race {
    latchkey *lk, *other;
    foreign_text token;
    _Atomic bool over, go;
    _Atomic unsigned admitted, odd, ready;
} race;

static void race_on(crew_member *m)
{
    race *r = m->shared;
    latchkey *lk = m->index ? r->lk : r->other;
    atomic_fetch_add(&r->ready, 1);
    while (!atomic_load(&r->go)) continue;
    for (bool over = false; !over;) {
        over = atomic_load(&r->over);
        int status = m->index == 2 ? f_touch(lk, r->token) : f_validate(lk, r->token, NULL);
        if (status != LATCHKEY_OK && status != LATCHKEY_NOT_FOUND) atomic_fetch_add(&r->odd, 1);
        if (over && lk == r->lk && status == LATCHKEY_OK) atomic_fetch_add(&r->admitted, 1);
    }
}

/* While other threads resolve, read or exchange it: after it was ended on a handle, it is not admitted there (B). */
static void test_B_resolving_against_revoking_and_exchanging(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, TAKEN);
    race r = {.lk = handle_open(server, TAKEN), .other = handle_open(server, TAKEN)};
    for (unsigned i = 0; i < RACES; i++) {
        char renewed[LATCHKEY_TOKEN_SIZE];
        r.over = r.go = false;
        r.ready = 0;
        assert_status(maker, LATCHKEY_OK, import_one(maker, foreign_of(i, r.token)));
        crew *racers = crew_start(RACERS, race_on, &r);
        while (atomic_load(&r.ready) < RACERS) continue;
        atomic_store(&r.go, true);
        int status = i % 2 ? f_revoke(r.lk, r.token) : f_rotate(r.lk, r.token, 0, renewed);
        atomic_store(&r.over, true);
        crew_join(racers);
        assert_status(r.lk, LATCHKEY_OK, status);
        assert_int_equal(r.admitted, 0);
        assert_int_equal(r.odd, 0);
        assert_status(r.lk, LATCHKEY_NOT_FOUND, f_validate(r.lk, r.token, NULL));
        if (i % 2 == 0) assert_status(r.lk, LATCHKEY_OK, validate(r.lk, renewed));
        wait_for(f_validate(r.other, r.token, NULL) == LATCHKEY_NOT_FOUND);
    }
}

/* ------------------------------------------------------------------------------------------------- at rest -- */

static void lacks(const char *where, const void *bytes, size_t size, const char *foreign)
{
    lk_foreign f;
    lk_token token;
    assert_true(lk_foreign_parse(64, foreign, strlen(foreign), &f));
    lk_foreign_stand_in(&f, &token);
    if (check_find(bytes, size, foreign, strlen(foreign))) fail_msg("%s: the token", where);
    if (check_find(bytes, size, f.verifier, sizeof f.verifier)) fail_msg("%s: its verifier", where);
    if (check_find(bytes, size, token.text + LATCHKEY_SELECTOR_LENGTH, LK_VERIFIER_LENGTH))
        fail_msg("%s: its verifier, as text", where);
}

static void test_F_neither_it_nor_its_verifier_is_in_redis(void **state)
{
    (void)state;
    redis *kept = redis_start("--appendonly", "yes", "--appendfsync", "always", "--aof-use-rdb-preamble", "no",
                              "--rdbcompression", "no", "--loglevel", "debug");
    redis_watch *watch = redis_watch_start(kept);
    latchkey *lk = handle_open(kept, TAKEN);
    static char metrics[65536];
    foreign_text tokens[6];
    char renewed[LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = {.size = sizeof draft, .user_id = 1};
    size_t size;
    for (unsigned i = 0; i < 6; i++) {
        foreign_of(i, tokens[i]);
        assert_status(lk, LATCHKEY_NOT_FOUND, f_validate(lk, tokens[i], NULL));
        assert_status(lk, LATCHKEY_OK, latchkey_import(lk, tokens[i], strlen(tokens[i]), &draft, 0, 0));
        assert_status(lk, LATCHKEY_OK, f_validate(lk, tokens[i], NULL));
        assert_status(lk, LATCHKEY_OK, f_load(lk, tokens[i]));
        assert_status(lk, LATCHKEY_OK, f_touch(lk, tokens[i]));
        if (i % 3 == 1) assert_status(lk, LATCHKEY_OK, f_rotate(lk, tokens[i], 5000, renewed));
        if (i % 3 == 2) assert_status(lk, LATCHKEY_OK, f_revoke(lk, tokens[i]));
    }
    char *seen = redis_watch_end(watch, &size);
    assert_non_null(strstr(seen, ":i:"));
    for (int i = 0; i < 6; i++) lacks("MONITOR", seen, size, tokens[i]);
    free(seen);
    redis_do(kept, "SAVE");
    unsigned char *files = redis_files(kept, &size);
    assert_true(check_find(files, size, ":i:", 3));
    for (int i = 0; i < 6; i++) lacks("RDB, AOF or log", files, size, tokens[i]);
    free(files);
    assert_status(lk, LATCHKEY_OK, latchkey_metrics(lk, metrics, sizeof metrics, &size));
    assert_contains(metrics, "\nlatchkey_foreign_reads_total 18\n"); /* unknown; import; known */
    assert_contains(metrics, "\nlatchkey_foreign_unknown_total 6\n");
    handle_close_all(NULL);
    redis_end(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_it_is_taken_as_any_other),
        TEST(test_an_exchange_makes_it_an_old_token),
        TEST(test_revoke_user_keeps_it_or_ends_it),
        TEST(test_off_by_default),
        TEST(test_after_its_time_it_is_malformed_and_nothing_is_asked),
        TEST(test_lengths_and_bytes),
        TEST(test_E_every_changed_character_is_refused),
        TEST(test_one_that_moves_in_late_is_seen_at_once),
        TEST(test_a_damaged_name_is_corrupt),
        TEST(test_E_a_name_that_means_another_session_admits_nobody),
        TEST(test_a_name_without_a_session_is_not_found),
        TEST(test_A_without_redis_there_is_no_answer),
        TEST(test_J_a_child_is_told_so),
        TEST(test_submit_asks_once_for_many),
        TEST(test_B_unread_answers_are_not_given_after_a_revocation),
        TEST(test_submit_keeps_them_apart),
        TEST(test_B_resolving_against_revoking_and_exchanging),
        TEST(test_F_neither_it_nor_its_verifier_is_in_redis),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

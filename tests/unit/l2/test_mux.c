/* SPDX-License-Identifier: MIT
 *
 * A shared connection: each caller on it gets its own replies, or is told that there are none, whichever drives or leaves, and wherever
 * the bytes are cut. (Guarantees G and I.)
 *
 * The other end is the test. Which caller waits behind which is seen under the lock; nothing is guessed from time.
 */
#include "l2/mux.h"

#include "base/clock.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 1000, CALLERS = 8 };
static const int64_t EVER_MS = 100000;

/* --------------------------------------------------------------------------------------------------- kit -- */

static lk_mux *line;
static int peer; /* the other end */

static int setup(void **state)
{
    (void)state;
    int pair[2];
    line = calloc(1, sizeof *line);
    if (!line || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) return -1;
    lk_lock_open(&line->lock, LK_RANK_MUX);
    line->socket = LK_NO_SOCKET;
    line->socket.fd = pair[0];
    peer = pair[1];
    return fcntl(pair[0], F_SETFL, O_NONBLOCK) || !lk_conn_open(&line->conn);
}

static int teardown(void **state)
{
    (void)state;
    lk_mux_close(line);
    if (peer >= 0) close(peer);
    return 0;
}

/* A caller, who asks for the numbers from `from` on, and what became of him. */
typedef struct caller {
    pthread_t thread;
    unsigned from, count;
    int64_t deadline_ms;
    enum lk_mux_end end;
    lk_exchange x;
    lk_reply *replies[MOST];
    char number[MOST][12];
    lk_span words[MOST][2];
    lk_call calls[MOST];
    char error[160];
    _Atomic bool done;
} caller;

static void ask(caller *c)
{
    c->x = (lk_exchange){.calls = c->calls, .count = c->count, .replies = c->replies, .deadline_ms = c->deadline_ms};
    for (unsigned i = 0; i < c->count; i++) {
        int size = snprintf(c->number[i], sizeof c->number[i], "%u", c->from + i);
        c->words[i][0] = (lk_span){"ECHO", 4};
        c->words[i][1] = (lk_span){c->number[i], (size_t)size};
        c->calls[i] = (lk_call){c->words[i], 2};
    }
    c->end = lk_mux_exchange(line, &c->x, c->error, sizeof c->error);
}

/* His own replies, all of them, in order; freed. */
static bool has_his_own(caller *c)
{
    bool good = c->x.got == c->count;
    for (unsigned i = 0; i < c->x.got; i++) {
        lk_reply *r = c->replies[i];
        good = good && r->type == LK_REPLY_INTEGER && r->integer == (long long)c->from + i;
        lk_reply_free(r);
    }
    return good;
}

static void *run(void *context)
{
    caller *c = context;
    ask(c);
    c->done = true;
    return NULL;
}

static unsigned waiting(void)
{
    lk_lock_take(&line->lock);
    unsigned count = lk_conn_waiting(&line->conn);
    lk_lock_give(&line->lock);
    return count;
}

static bool drives(const caller *c)
{
    lk_lock_take(&line->lock);
    bool is = line->driver == &c->x;
    lk_lock_give(&line->lock);
    return is;
}

#define wait_for(condition)                                                                                            \
    do {                                                                                                               \
        int64_t until_ms = lk_now_ms() + EVER_MS;                                                                      \
        while (!(condition) && lk_now_ms() < until_ms) sched_yield();                                                  \
        assert_true(condition);                                                                                        \
    } while (0)

/* Returns once what it asks is appended. */
static caller *start(unsigned from, unsigned count, int64_t within_ms)
{
    caller *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->from = from;
    c->count = count;
    c->deadline_ms = lk_now_ms() + within_ms;
    unsigned before = waiting();
    assert_int_equal(pthread_create(&c->thread, NULL, run, c), 0);
    wait_for(c->done || waiting() == before + count);
    return c;
}

static enum lk_mux_end join(caller *c)
{
    pthread_join(c->thread, NULL);
    enum lk_mux_end end = c->end;
    if (end == LK_MUX_DONE) assert_true(has_his_own(c));
    else assert_int_equal(c->x.got, 0);
    free(c);
    return end;
}

/* Reads until that many commands have come in all. */
static void hear(unsigned commands)
{
    char bytes[4096];
    for (unsigned heard = 0; heard < commands;) {
        ssize_t size = read(peer, bytes, sizeof bytes);
        assert_true(size > 0);
        for (ssize_t i = 0; i < size; i++) heard += bytes[i] == '*';
    }
}

static void say(const char *bytes, size_t size)
{
    while (size) {
        ssize_t wrote = write(peer, bytes, size);
        assert_true(wrote > 0);
        bytes += wrote;
        size -= (size_t)wrote;
    }
}

static void say_numbers(unsigned from, unsigned count)
{
    char text[16];
    for (unsigned i = 0; i < count; i++) say(text, (size_t)snprintf(text, sizeof text, ":%u\r\n", from + i));
}

static bool all_read(void)
{
    int left = 0;
    return ioctl(line->socket.fd, FIONREAD, &left) == 0 && left == 0;
}

/* Three, whose commands have gone out together: they came while another one waited for his answer. */
static void start_three(caller *three[3], unsigned count)
{
    caller *before = start(1, 1, EVER_MS);
    for (unsigned i = 0; i < 3; i++) three[i] = start(10 * (i + 1), count, EVER_MS);
    hear(1);
    say_numbers(1, 1);
    assert_int_equal(join(before), LK_MUX_DONE);
    hear(3 * count);
    wait_for(drives(three[0]));
}

/* ------------------------------------------------------------------------------------------- well-behaved -- */

static void test_one_to_a_thousand_commands(void **state)
{
    (void)state;
    static const unsigned counts[] = {1, 2, 3, 7, 64, 500, 999, MOST};
    for (size_t i = 0; i < UNIT_COUNT(counts); i++) {
        unsigned count = counts[i];
        caller *c = start(7, count, EVER_MS);
        hear(count);
        say_numbers(7, count);
        assert_int_equal(join(c), LK_MUX_DONE);
        assert_true(lk_mux_good(line));
    }
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    static const char bytes[] = ":10\r\n:11\r\n:20\r\n:21\r\n:30\r\n:31\r\n";
    enum { SIZE = sizeof bytes - 1 };
    for (unsigned at = 1; at < SIZE; at++) {
        caller *three[3];
        start_three(three, 2);
        say(bytes, at);
        wait_for(all_read());
        say(bytes + at, SIZE - at);
        for (int i = 0; i < 3; i++) assert_int_equal(join(three[i]), LK_MUX_DONE);
        assert_true(lk_mux_good(line));
    }
}

/* Who is answered hands over to who is next; what was appended meanwhile was sent before. */
static void test_the_role_is_handed_on(void **state)
{
    (void)state;
    caller *a = start(10, 1, EVER_MS), *b = start(20, 2, EVER_MS), *c = start(30, 1, EVER_MS);
    assert_true(drives(a));
    hear(1);
    say_numbers(10, 1);
    assert_int_equal(join(a), LK_MUX_DONE);
    hear(3); /* both */
    wait_for(drives(b));
    say_numbers(20, 1);
    wait_for(waiting() == 2);
    assert_true(drives(b)); /* he has but one of two */
    say_numbers(21, 1);
    assert_int_equal(join(b), LK_MUX_DONE);
    wait_for(drives(c));
    say_numbers(30, 1);
    assert_int_equal(join(c), LK_MUX_DONE);
    assert_true(lk_mux_good(line));
}

/* ------------------------------------------------------------------------------------------- leaving late -- */

/* A caller's replies come when it is gone, whole or in part, and answer no other; its slot is not given away until then. */
static void test_who_is_late_behind_others_leaves(void **state)
{
    (void)state;
    for (unsigned came = 0; came < 3; came++) {
        caller *a = start(10, 1, EVER_MS), *b = start(20, 3, 50);
        assert_int_equal(join(b), LK_MUX_LATE);
        caller *c = start(30, 2, EVER_MS), *d = start(40, 1, EVER_MS);
        assert_int_equal(waiting(), 7);
        hear(1);
        say_numbers(10, 1);
        assert_int_equal(join(a), LK_MUX_DONE);
        hear(6);
        wait_for(drives(c)); /* not b, who has left */
        say_numbers(20, came);
        wait_for(waiting() == 6 - came);
        caller *e = start(50, 2, EVER_MS);
        say_numbers(20 + came, 3 - came);
        say_numbers(30, 2);
        assert_int_equal(join(c), LK_MUX_DONE);
        hear(2);
        say_numbers(40, 1);
        say_numbers(50, 2);
        assert_int_equal(join(d), LK_MUX_DONE);
        assert_int_equal(join(e), LK_MUX_DONE);
        assert_true(lk_mux_good(line));
    }
}

/* No caller is left to read what is still to come: the connection cannot be used. */
static void test_a_line_that_all_left_is_lost(void **state)
{
    (void)state;
    caller *a = start(10, 1, EVER_MS), *b = start(20, 1, 30);
    assert_int_equal(join(b), LK_MUX_LATE);
    hear(1);
    say_numbers(10, 1);
    assert_int_equal(join(a), LK_MUX_DONE);
    assert_false(lk_mux_good(line));
    caller *c = start(30, 1, EVER_MS);
    assert_int_equal(join(c), LK_MUX_GONE);
}

static void test_late_in_front_is_lost_for_all(void **state)
{
    (void)state;
    caller *a = start(10, 2, 300), *b = start(20, 2, EVER_MS), *c = start(30, 1, EVER_MS);
    assert_true(drives(a));
    say_numbers(10, 1); /* one of two */
    assert_int_equal(join(a), LK_MUX_LATE);
    assert_int_equal(join(b), LK_MUX_LOST); /* at once, not at their deadline */
    assert_int_equal(join(c), LK_MUX_LOST);
    assert_false(lk_mux_good(line));
}

/* ------------------------------------------------------------------------------------------------- broken -- */

static void test_the_other_side_closes_midway(void **state)
{
    (void)state;
    static const char bytes[] = ":10\r\n:11\r\n:20\r\n:21\r\n";
    for (size_t at = 0; at < sizeof bytes - 1; at++) {
        if (at) setup(state);
        caller *three[3];
        start_three(three, 2);
        say(bytes, at);
        close(peer);
        peer = -1;
        assert_int_equal(join(three[0]), at >= 10 ? LK_MUX_DONE : LK_MUX_LOST);
        assert_int_equal(join(three[1]), LK_MUX_LOST);
        assert_int_equal(join(three[2]), LK_MUX_LOST);
        assert_false(lk_mux_good(line));
        if (at + 1 < sizeof bytes - 1) teardown(state);
    }
}

static void test_it_answers_more_than_it_was_asked(void **state)
{
    (void)state;
    caller *a = start(10, 2, EVER_MS);
    hear(2);
    say(":10\r\n:11\r\n:12\r\n", 15);
    assert_int_equal(join(a), LK_MUX_DONE); /* his were there */
    assert_false(lk_mux_good(line));
    caller *b = start(20, 1, EVER_MS);
    assert_int_equal(join(b), LK_MUX_GONE);
}

static void test_it_says_something_to_nobody(void **state)
{
    (void)state;
    say(":1\r\n", 4);
    assert_false(lk_mux_good(line));
}

static void test_what_it_says_is_no_reply(void **state)
{
    (void)state;
    caller *a = start(10, 2, EVER_MS), *b = start(20, 1, EVER_MS);
    hear(2);
    say(":10\r\n?\r\n", 8);
    assert_int_equal(join(a), LK_MUX_LOST);
    assert_int_equal(join(b), LK_MUX_LOST);
}

/* ------------------------------------------------------------------------------------------------- limits -- */

static void test_no_slot_and_no_room(void **state)
{
    (void)state;
    caller *a = start(10, 1, EVER_MS);
    lk_lock_take(&line->lock);
    for (unsigned i = 1; i < LK_MUX_SLOTS - 1; i++) line->taken[i] = true; /* as by so many callers */
    lk_lock_give(&line->lock);
    caller *b = start(20, 1, EVER_MS), *c = start(30, 1, EVER_MS);
    assert_int_equal(join(c), LK_MUX_FULL);
    hear(1);
    say_numbers(10, 1);
    assert_int_equal(join(a), LK_MUX_DONE);
    hear(1);
    say_numbers(20, 1);
    assert_int_equal(join(b), LK_MUX_DONE);
    memset(line->taken, 0, sizeof line->taken);
    caller *d = start(40, MOST, EVER_MS), *e = start(2000, MOST, EVER_MS), *f = start(4000, 49, EVER_MS);
    assert_int_equal(join(f), LK_MUX_FULL); /* 2048 replies may be awaited */
    caller *g = start(5000, 48, EVER_MS);
    hear(MOST);
    say_numbers(40, MOST);
    assert_int_equal(join(d), LK_MUX_DONE);
    hear(MOST + 48);
    say_numbers(2000, MOST);
    say_numbers(5000, 48);
    assert_int_equal(join(e), LK_MUX_DONE);
    assert_int_equal(join(g), LK_MUX_DONE);
}

/* ------------------------------------------------------------------------------------------------- at random -- */

typedef struct crowd {
    caller caller[CALLERS];
    _Atomic unsigned done, others, foreign, inside;
    uint64_t round;
} crowd;

static void call_again_and_again(crowd *k, unsigned index)
{
    caller *c = &k->caller[index];
    unit_random r = unit_random_new(k->round * 100 + index);
    for (unsigned i = 0; i < 40; i++) {
        c->from = index * 1000000 + i * 1000;
        c->count = 1 + (unsigned)unit_below(&r, unit_chance(&r, 10) ? 200 : 4);
        c->deadline_ms = lk_now_ms() + (unit_chance(&r, 20) ? (int64_t)unit_below(&r, 3) : 5000);
        ask(c);
        if (c->end == LK_MUX_DONE) {
            if (has_his_own(c)) k->done++;
            else k->foreign++;
        } else k->others++;
        if (c->end == LK_MUX_GONE) return;
    }
}

/* Answers what it is asked, in its own time and in pieces of its own; sometimes it stops in the middle. */
static void answer_all(crowd *k)
{
    unit_random r = unit_random_new(k->round * 100 + 99);
    char in[64 * 1024], out[64 * 1024];
    size_t used = 0;
    uint64_t most = unit_chance(&r, 50) ? UINT64_MAX : unit_below(&r, 600);
    for (uint64_t answered = 0; answered < most;) {
        ssize_t size = read(peer, in + used, sizeof in - used - 1);
        if (size <= 0) break;
        used += (size_t)size;
        in[used] = 0;
        char *at = in, *word;
        size_t said = 0;
        unsigned number;
        int taken;
        while (answered < most && said < sizeof out - 16 && (word = strstr(at, "ECHO\r\n")) &&
               strstr(word + 6, "\r\n") && sscanf(word + 6, "$%*u %u%n", &number, &taken) == 1 &&
               word[6 + taken] == '\r') {
            at = word + 6 + taken;
            said += (size_t)snprintf(out + said, 16, ":%u\r\n", number);
            answered++;
        }
        used -= (size_t)(at - in);
        memmove(in, at, used);
        if (unit_chance(&r, 10)) usleep((unsigned)unit_below(&r, 3000));
        for (size_t from = 0; from < said;) {
            size_t piece = unit_chance(&r, 50) ? said - from : 1 + (size_t)unit_below(&r, said - from);
            ssize_t wrote = send(peer, out + from, piece, MSG_NOSIGNAL);
            if (wrote <= 0) break;
            from += (size_t)wrote;
        }
    }
    shutdown(peer, SHUT_RDWR);
}

static void work(void *shared, unsigned index)
{
    crowd *k = shared;
    if (index == CALLERS) {
        answer_all(k);
        return;
    }
    call_again_and_again(k, index);
    if (--k->inside == 0) shutdown(line->socket.fd, SHUT_RDWR); /* so that the other end hears of it */
}

static void test_a_crowd(void **state)
{
    unsigned done = 0, others = 0;
    for (uint64_t i = 0, rounds = unit_rounds(60); i < rounds; i++) {
        if (i) setup(state);
        crowd *k = calloc(1, sizeof *k);
        assert_non_null(k);
        k->round = i;
        k->inside = CALLERS;
        unit_threads(CALLERS + 1, work, k);
        assert_int_equal(k->foreign, 0);
        done += k->done;
        others += k->others;
        free(k);
        if (i + 1 < rounds) teardown(state);
    }
    print_message("%u answered, %u not\n", done, others);
    assert_true(done > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* There is always something more to read: the deadline passes all the same. What is there is taken once more, and no longer. */
static void test_an_answer_that_goes_on_coming(void **state)
{
    (void)state;
    enum { SIZE = 100000 };
    static const char begins[] = "$100000\r\n";
    static char bytes[SIZE];
    say(begins, sizeof begins - 1);
    say(bytes, sizeof bytes);
    say("\r\n", 2);
    caller *c = start(1, 1, -1);
    assert_int_equal(join(c), LK_MUX_LATE);
    assert_false(lk_mux_good(line)); /* what is still to come answers no call (guarantee I) */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_to_a_thousand_commands),    TEST(test_cut_at_every_byte),
        TEST(test_the_role_is_handed_on),         TEST(test_who_is_late_behind_others_leaves),
        TEST(test_a_line_that_all_left_is_lost),  TEST(test_late_in_front_is_lost_for_all),
        TEST(test_the_other_side_closes_midway),  TEST(test_it_answers_more_than_it_was_asked),
        TEST(test_it_says_something_to_nobody),   TEST(test_what_it_says_is_no_reply),
        TEST(test_no_slot_and_no_room),           TEST(test_a_crowd),
        TEST(test_an_answer_that_goes_on_coming), TEST(test_a_crowd),
    };
    return cmocka_run_group_tests(tests, unit_setup, NULL);
}

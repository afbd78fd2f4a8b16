/* SPDX-License-Identifier: MIT
 *
 * See sentinels.h.
 */
#include "sentinels.h"

#include "server.h"

#include <stdio.h>
#include <string.h>

/* What the library asks: of whatever pieces it comes in. */
enum { ADDRESS, OTHERS, ID, QUESTIONS };
static const char *const questions[QUESTIONS] = {
    "*3\r\n$8\r\nSENTINEL\r\n$23\r\nGET-MASTER-ADDR-BY-NAME\r\n$3\r\nsim\r\n",
    "*3\r\n$8\r\nSENTINEL\r\n$9\r\nSENTINELS\r\n$3\r\nsim\r\n", "*2\r\n$8\r\nSENTINEL\r\n$4\r\nMYID\r\n"};

static struct {
    bool there, twins;
    int names[SENTINELS];
    uint64_t learns[SENTINELS]; /* a number for each thing that is to be learnt: an older one is void */
    bool down[SENTINELS], stale[SENTINELS];
    size_t heard[CONNECTIONS_MAX]; /* bytes of a question that is not whole */
    int which[CONNECTIONS_MAX];    /* which question that may be */
} in;

void sentinels_begin(bool there, bool twins)
{
    memset(&in, 0, sizeof in);
    in.there = there;
    in.twins = there && twins;
    for (int i = 0; i < SENTINELS; i++) in.names[i] = server_acting();
}

bool sentinels_there(void) { return in.there; }

const char *sentinels_config(void)
{
    return in.twins ? "redis+sentinel://127.0.0.1:26380,127.0.0.1:26381,127.0.0.1:26383/sim"
                    : "redis+sentinel://127.0.0.1:26380,127.0.0.1:26381,127.0.0.1:26382/sim";
}

int sentinel_at(int port) { return SENTINEL_FIRST + (port - SENTINEL_PORT) % SENTINELS; }

/* Which question it may be, of those that begin with these bytes. -1: none does. */
static int question_of(int which, size_t heard, char next)
{
    for (int k = 0; k < QUESTIONS; k++)
        if (!strncmp(questions[k], questions[which], heard) && questions[k][heard] == next) return k;
    return -1;
}

bool sentinel_accepts(int sentinel) { return !in.down[sentinel - SENTINEL_FIRST]; }

void sentinel_accepted(wire *c) { in.heard[c->index] = 0; }

void sentinel_fed(wire *c, const char *bytes, size_t size)
{
    int i = c->server - SENTINEL_FIRST;
    if (in.down[i]) return; /* paused */
    for (size_t k = 0; k < size; k++) {
        size_t *at = &in.heard[c->index];
        int *which = &in.which[c->index];
        if ((*which = question_of(*which, *at, bytes[k])) < 0) {
            fail("a sentinel is asked what it does not know");
            return;
        }
        if (questions[*which][++*at]) continue;
        *at = 0;
        char answer[64] = "*0\r\n"; /* it knows no others */
        if (*which == ID) snprintf(answer, sizeof answer, "$40\r\n%040d\r\n", i);
        if (*which == ADDRESS)
            snprintf(answer, sizeof answer, "*2\r\n$9\r\n127.0.0.1\r\n$4\r\n%d\r\n", SERVER_PORT + in.names[i]);
        wire_send(c, answer, strlen(answer));
    }
}

/* Once more than half name it, that is where machines are led to. */
static void note_majority(void)
{
    int count = 0;
    for (int i = 0; i < (in.twins ? SENTINELS - 1 : SENTINELS); i++) count += in.names[i] == server_acting();
    if (2 * count <= SENTINELS) return;
    for (int i = 0; i < w.machine_count; i++) {
        if (w.machines[i].route == server_acting()) continue;
        w.machines[i].route = server_acting();
        w.machines[i].route_us = w.now_us;
    }
}

static void learn(void *context, uint64_t number)
{
    int i = (int)(number % SENTINELS);
    (void)context;
    if (in.learns[i] != number || in.stale[i]) return;
    in.names[i] = server_acting();
    trace("sentinel %d names r%d", i, in.names[i]);
    note_majority();
}

static void learn_later(int i, int64_t us)
{
    static uint64_t numbers;
    in.learns[i] = ++numbers * SENTINELS + (uint64_t)i;
    at(w.now_us + us, learn, NULL, in.learns[i]);
}

void sentinels_learn(int64_t within_us)
{
    for (int i = 0; i < SENTINELS; i++) learn_later(i, draw_scale(MS, within_us));
}

static void recover(void *context, uint64_t i)
{
    (void)context;
    in.down[i] = in.stale[i] = false;
    learn_later((int)i, draw_scale(MS, SECOND));
}

/* One at a time: with two of three the promise is another one. */
void sentinels_trouble(int64_t us)
{
    int i = (int)draw(SENTINELS);
    for (int k = 0; k < SENTINELS; k++)
        if (in.down[k] || in.stale[k]) return;
    if (chance(500000)) in.down[i] = true;
    else in.stale[i] = true;
    if (in.stale[i] && chance(300000)) in.names[i] = (int)draw((uint64_t)server_count());
    trace("sentinel %d is %s", i, in.down[i] ? "away" : "wrong");
    at(w.now_us + us, recover, NULL, (uint64_t)i);
}

int sentinels_cut_off(int64_t us)
{
    int i = (int)draw(SENTINELS);
    for (int k = 0; k < SENTINELS; k++)
        if (in.down[k] || in.stale[k]) return -1;
    in.stale[i] = true;
    at(w.now_us + us, recover, NULL, (uint64_t)i);
    return SENTINEL_FIRST + i;
}

void sentinels_heal(void)
{
    for (int i = 0; i < SENTINELS; i++) {
        in.down[i] = in.stale[i] = false;
        learn_later(i, draw_scale(MS, SECOND));
    }
}

/* See mux.h. Lock: mux.lock, and no other with it. Sending under it does not block; the driver waits and receives
 * without it. */
#include "l2/mux.h"

#include "base/clock.h"
#include "base/lock.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char late_text[] = "Redis did not answer within deadline_ms";

/* ------------------------------------------------------------------------------------------------- slots -- */

static void change_locked(lk_mux *line, lk_exchange *x, int state)
{
    lk_lock_assert(&line->lock);
    atomic_store_explicit(&x->state, state, memory_order_release);
    if (x == line->driver) return; /* it looks by itself */
    x->next = line->telling;
    line->telling = x;
}

/* A caller that was woken may be gone at once, and its exchange with it. */
static void unlock_and_tell(lk_mux *line)
{
    lk_exchange *x = line->telling;
    line->telling = NULL;
    lk_lock_give(&line->lock);
    while (x) {
        lk_exchange *next = x->next;
        lk_park_wake(&x->told);
        x = next;
    }
}

static void lose_locked(lk_mux *line, const char *why)
{
    lk_lock_assert(&line->lock);
    if (!line->lost) snprintf(line->error, sizeof line->error, "%s", why);
    line->lost = true;
    for (unsigned i = 0; i < LK_MUX_SLOTS; i++) {
        lk_exchange *x = line->slot[i];
        if (!x) continue;
        line->slot[i] = NULL;
        change_locked(line, x, LK_EXCHANGE_LOST);
    }
}

/* DONE, or FULL, or NO_MEMORY. */
static enum lk_mux_end append_locked(lk_mux *line, lk_exchange *x)
{
    lk_lock_assert(&line->lock);
    unsigned slot = 0;
    while (slot < LK_MUX_SLOTS && line->taken[slot]) slot++;
    if (slot == LK_MUX_SLOTS || lk_conn_room(&line->conn) < x->count) return LK_MUX_FULL;
    for (size_t i = 0; i < x->count; i++) {
        if (lk_conn_send(&line->conn, slot, x->calls[i].words, x->calls[i].count)) continue;
        if (i) lose_locked(line, "no memory for a command"); /* otherwise others would send half of it */
        return LK_MUX_NO_MEMORY;
    }
    line->slot[slot] = x;
    line->taken[slot] = true;
    return LK_MUX_DONE;
}

/* Takes the caller's name off its slot: the answers will come, and are dropped. */
static void leave_locked(lk_mux *line, const lk_exchange *x)
{
    lk_lock_assert(&line->lock);
    for (unsigned i = 0; i < LK_MUX_SLOTS; i++)
        if (line->slot[i] == x) line->slot[i] = NULL;
}

/* ----------------------------------------------------------------------------------------------- driving -- */

/* Gives one reply to its caller. A slot is free again when nothing that it asked for is awaited any more. */
static void give_locked(lk_mux *line, lk_reply *reply)
{
    lk_lock_assert(&line->lock);
    unsigned slot = reply->tag;
    lk_exchange *x = line->slot[slot];
    if (x) x->replies[x->got++] = reply;
    else lk_reply_free(reply);
    if (lk_conn_waiting(&line->conn) && lk_conn_tag(&line->conn, 0) == slot) return;
    line->taken[slot] = false;
    line->slot[slot] = NULL;
    if (x) change_locked(line, x, LK_EXCHANGE_DONE);
}

static void take_replies_locked(lk_mux *line)
{
    lk_lock_assert(&line->lock);
    lk_reply *reply;
    int got;
    while ((got = lk_conn_next(&line->conn, &reply)) > 0) give_locked(line, reply);
    if (got == 0) return;
    char error[160];
    const char *why = lk_resp_error(line->conn.resp);
    snprintf(error, sizeof error, "the server is not usable: %s",
             *why ? why : "it sends answers that were not asked for");
    lose_locked(line, error);
}

/* Sends what the socket takes, and waits for more to read. The lock is not held while waiting: others append. */
static void drive_once_locked(lk_mux *line, int64_t deadline_ms)
{
    lk_lock_assert(&line->lock);
    char error[160];
    snprintf(error, sizeof error, "%s", late_text);
    enum lk_net_io sent = lk_net_flush(&line->socket, &line->conn, error, sizeof error), got = LK_NET_LOST;
    if (sent != LK_NET_LOST) {
        short events = POLLIN | (sent == LK_NET_LATER ? POLLOUT : 0);
        unlock_and_tell(line);
        if (lk_net_wait(&line->socket, events, deadline_ms, -1))
            got = lk_net_fill(&line->socket, &line->conn, error, sizeof error);
        lk_lock_take(&line->lock);
    }
    if (got == LK_NET_LOST) lose_locked(line, error);
    else take_replies_locked(line);
}

/* Sends what was appended meanwhile before the next caller wakes. */
static void hand_over_locked(lk_mux *line)
{
    lk_lock_assert(&line->lock);
    char error[160];
    line->driver = NULL;
    if (line->lost || !lk_conn_waiting(&line->conn)) return;
    lk_exchange *next = NULL;
    for (unsigned i = 0; !next && i < lk_conn_waiting(&line->conn); i++) next = line->slot[lk_conn_tag(&line->conn, i)];
    if (!next) {
        lose_locked(line, "an answer did not come in time: the connection is closed");
        return;
    }
    if (lk_net_flush(&line->socket, &line->conn, error, sizeof error) == LK_NET_LOST) {
        lose_locked(line, error);
        return;
    }
    change_locked(line, next, LK_EXCHANGE_DRIVES);
    line->driver = next;
}

static void drive_locked(lk_mux *line, lk_exchange *x)
{
    lk_lock_assert(&line->lock);
    while (atomic_load_explicit(&x->state, memory_order_relaxed) == LK_EXCHANGE_DRIVES) {
        bool late = lk_now_ms() >= x->deadline_ms;
        drive_once_locked(line, x->deadline_ms);
        /* Takes what is there already; does not wait for what is still to come. */
        if (late && atomic_load_explicit(&x->state, memory_order_relaxed) == LK_EXCHANGE_DRIVES)
            lose_locked(line, late_text);
    }
    hand_over_locked(line);
}

/* Until the answer is there, or it is this caller's turn to drive, or it is too late. */
static void wait(lk_mux *line, lk_exchange *x)
{
    bool told = lk_park_wait(&x->told, x->deadline_ms);
    if (told && atomic_load_explicit(&x->state, memory_order_acquire) != LK_EXCHANGE_DRIVES) return;
    lk_lock_take(&line->lock);
    int state = atomic_load_explicit(&x->state, memory_order_relaxed);
    if (state == LK_EXCHANGE_WAITS) leave_locked(line, x);
    if (state == LK_EXCHANGE_DRIVES) drive_locked(line, x);
    unlock_and_tell(line);
    /* It is being woken, but noticed its deadline first: the waking thread has released the lock and is about to wake
     * it. */
    if (!told && state != LK_EXCHANGE_WAITS) lk_park_wait(&x->told, LK_PARK_FOREVER);
}

/* ---------------------------------------------------------------------------------------------- exchange -- */

static enum lk_mux_end outcome_of(lk_mux *line, lk_exchange *x, char *error, size_t error_size)
{
    int state = atomic_load_explicit(&x->state, memory_order_relaxed);
    if (state == LK_EXCHANGE_DONE) return LK_MUX_DONE;
    bool lost = state == LK_EXCHANGE_LOST;
    snprintf(error, error_size, "%s", lost ? line->error : late_text);
    while (x->got) lk_reply_free(x->replies[--x->got]);
    return lost && lk_now_ms() < x->deadline_ms ? LK_MUX_LOST : LK_MUX_LATE;
}

enum lk_mux_end lk_mux_exchange(lk_mux *line, lk_exchange *x, char *error, size_t error_size)
{
    x->got = 0;
    lk_lock_take(&line->lock);
    enum lk_mux_end appended = line->lost ? LK_MUX_GONE : append_locked(line, x);
    if (line->lost) appended = LK_MUX_GONE;
    if (appended != LK_MUX_DONE) {
        unlock_and_tell(line);
        return appended;
    }
    bool behind = line->driver;
    atomic_init(&x->state, behind ? LK_EXCHANGE_WAITS : LK_EXCHANGE_DRIVES);
    if (behind) {
        x->told = (lk_park){0};
        unlock_and_tell(line);
        wait(line, x);
    } else {
        line->driver = x;
        drive_locked(line, x);
        unlock_and_tell(line);
    }
    return outcome_of(line, x, error, error_size);
}

bool lk_mux_good(lk_mux *line)
{
    lk_lock_take(&line->lock);
    /* Another caller may have come meanwhile. */
    bool idle = !line->driver;
    bool good = !line->lost && (!idle || (lk_conn_quiet(&line->conn) && lk_net_idle_good(&line->socket)));
    lk_lock_give(&line->lock);
    return good;
}

/* ------------------------------------------------------------------------------------------ open and close -- */

static bool hear(lk_mux *line, lk_handshake *hello, int64_t deadline_ms, char *error, size_t error_size)
{
    lk_reply *reply;
    int got = 0;
    enum lk_net_io sent = lk_net_flush(&line->socket, &line->conn, error, error_size);
    if (sent == LK_NET_LOST) return false;
    snprintf(error, error_size, "%s", late_text);
    if (!lk_net_wait(&line->socket, POLLIN | (sent == LK_NET_LATER ? POLLOUT : 0), deadline_ms, -1)) return false;
    if (lk_net_fill(&line->socket, &line->conn, error, error_size) == LK_NET_LOST) return false;
    while ((got = lk_conn_next(&line->conn, &reply)) > 0) {
        lk_handshake_take(hello, reply);
        lk_reply_free(reply);
    }
    if (got < 0) snprintf(error, error_size, "the server is not usable: %s", lk_resp_error(line->conn.resp));
    return got == 0;
}

static int greet_mux(const lk_config *config, lk_mux *line, int64_t deadline_ms, char *error, size_t error_size)
{
    lk_handshake hello;
    if (!lk_conn_open(&line->conn) || !lk_handshake_send(&hello, config, &line->conn)) return LATCHKEY_NO_MEMORY;
    while (hello.answers && !hello.status) {
        bool late = lk_now_ms() >= deadline_ms;
        if (!hear(line, &hello, deadline_ms, error, error_size)) return LATCHKEY_UNAVAILABLE;
        if (!late || !hello.answers || hello.status) continue;
        snprintf(error, error_size, "%s", late_text);
        return LATCHKEY_UNAVAILABLE;
    }
    if (hello.status) snprintf(error, error_size, "%s", hello.error);
    line->incarnation = hello.incarnation;
    return hello.status;
}

int lk_mux_open(const lk_config *config, lk_addresses *addresses, int64_t deadline_ms, lk_mux **out, char *error,
                size_t error_size)
{
    lk_mux *line = calloc(1, sizeof *line);
    if (!line) return LATCHKEY_NO_MEMORY;
    lk_lock_open(&line->lock, LK_RANK_MUX);
    bool connected = lk_net_connect(addresses, deadline_ms, -1, &line->socket, error, error_size);
    int status = connected ? greet_mux(config, line, deadline_ms, error, error_size) : LATCHKEY_UNAVAILABLE;
    if (status) lk_mux_close(line);
    else *out = line;
    return status;
}

void lk_mux_close(lk_mux *line)
{
    lk_net_close(&line->socket);
    lk_conn_close(&line->conn);
    lk_lock_close(&line->lock);
    free(line);
}

/* See line.h. Lock: line.lock alone. Sending under it does not block; waiting and receiving are done without it, by the
 * driver. */
#include "line.h"

#include "clock.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------- slots -- */

static void lose_locked(lk_line *line, const char *why)
{
    if (!line->lost) snprintf(line->error, sizeof line->error, "%s", why);
    line->lost = true;
    for (unsigned i = 0; i < LK_LINE_SLOTS; i++) {
        lk_exchange *x = line->slot[i];
        if (!x || x->state != LK_EXCHANGE_WAITS) continue;
        x->state = LK_EXCHANGE_LOST;
        line->slot[i] = NULL;
        if (x != line->driver) pthread_cond_signal(&x->changed);
    }
}

static bool append_locked(lk_line *line, lk_exchange *x)
{
    unsigned slot = 0;
    while (slot < LK_LINE_SLOTS && line->taken[slot]) slot++;
    if (slot == LK_LINE_SLOTS || lk_conn_room(&line->conn) < x->count) return false;
    for (size_t i = 0; i < x->count; i++) {
        if (lk_conn_send(&line->conn, slot, x->calls[i].words, x->calls[i].count)) continue;
        if (i) lose_locked(line, "no memory for a command"); /* half of it would be sent by others */
        return false;
    }
    line->slot[slot] = x;
    line->taken[slot] = true;
    return true;
}

/* His name off the slot: what was asked is answered, and nobody listens. */
static void leave_locked(lk_line *line, const lk_exchange *x)
{
    for (unsigned i = 0; i < LK_LINE_SLOTS; i++)
        if (line->slot[i] == x) line->slot[i] = NULL;
}

/* ----------------------------------------------------------------------------------------------- driving -- */

/* One reply, to whom it belongs. A slot is free again when nothing that it asked for is awaited any more. */
static void give_locked(lk_line *line, lk_reply *reply)
{
    unsigned slot = reply->tag;
    lk_exchange *x = line->slot[slot];
    if (x) x->replies[x->got++] = reply;
    else lk_reply_free(reply);
    if (lk_conn_waiting(&line->conn) && lk_conn_tag(&line->conn, 0) == slot) return;
    line->taken[slot] = false;
    line->slot[slot] = NULL;
    if (!x) return;
    x->state = LK_EXCHANGE_DONE;
    if (x != line->driver) pthread_cond_signal(&x->changed);
}

static void take_replies_locked(lk_line *line)
{
    lk_reply *reply;
    int got;
    while ((got = lk_conn_next(&line->conn, &reply)) > 0) give_locked(line, reply);
    if (got == 0) return;
    char error[160];
    const char *why = lk_resp_error(line->conn.resp);
    snprintf(error, sizeof error, "the server is not usable: %s", *why ? why : "it answers more than it was asked");
    lose_locked(line, error);
}

/* Sends as the socket takes it and waits for more to read. The lock is not held while waiting: others append. */
static void drive_once_locked(lk_line *line, int64_t deadline_ms)
{
    char error[160] = "Redis did not answer within deadline_ms";
    enum lk_net_io sent = lk_net_flush(&line->socket, &line->conn, error, sizeof error), got = LK_NET_LOST;
    if (sent != LK_NET_LOST) {
        short events = POLLIN | (sent == LK_NET_LATER ? POLLOUT : 0);
        pthread_mutex_unlock(&line->lock);
        if (lk_net_wait(&line->socket, events, deadline_ms, -1))
            got = lk_net_fill(&line->socket, &line->conn, error, sizeof error);
        pthread_mutex_lock(&line->lock);
    }
    if (got == LK_NET_LOST) lose_locked(line, error);
    else take_replies_locked(line);
}

/* What was appended meanwhile is on its way before the next one wakes. */
static void hand_over_locked(lk_line *line)
{
    char error[160];
    line->driver = NULL;
    if (line->lost || !lk_conn_waiting(&line->conn)) return;
    lk_exchange *next = NULL;
    for (unsigned i = 0; !next && i < lk_conn_waiting(&line->conn); i++) next = line->slot[lk_conn_tag(&line->conn, i)];
    if (!next) {
        lose_locked(line, "an answer did not come in time, and nobody waits for it any more");
        return;
    }
    if (lk_net_flush(&line->socket, &line->conn, error, sizeof error) == LK_NET_LOST) {
        lose_locked(line, error);
        return;
    }
    line->driver = next;
    pthread_cond_signal(&next->changed);
}

static void drive_locked(lk_line *line, lk_exchange *x)
{
    line->driver = x;
    while (x->state == LK_EXCHANGE_WAITS) drive_once_locked(line, x->deadline_ms);
    hand_over_locked(line);
}

/* Until the answer is there, or it is this caller's turn to drive, or it is too late. */
static void wait_locked(lk_line *line, lk_exchange *x)
{
    struct timespec until = {.tv_sec = x->deadline_ms / 1000, .tv_nsec = x->deadline_ms % 1000 * 1000000};
    int late = 0;
    while (x->state == LK_EXCHANGE_WAITS && line->driver != x && !late)
        late = pthread_cond_timedwait(&x->changed, &line->lock, &until);
    if (x->state == LK_EXCHANGE_WAITS && line->driver == x) drive_locked(line, x);
}

/* ---------------------------------------------------------------------------------------------- exchange -- */

static enum lk_line_end end_locked(lk_line *line, lk_exchange *x, char *error, size_t error_size)
{
    if (x->state == LK_EXCHANGE_DONE) return LK_LINE_DONE;
    bool lost = x->state == LK_EXCHANGE_LOST;
    snprintf(error, error_size, "%s", lost ? line->error : "Redis did not answer within deadline_ms");
    leave_locked(line, x);
    while (x->got) lk_reply_free(x->replies[--x->got]);
    return lost && lk_now_ms() < x->deadline_ms ? LK_LINE_LOST : LK_LINE_LATE;
}

static enum lk_line_end exchange_locked(lk_line *line, lk_exchange *x, char *error, size_t error_size)
{
    if (line->lost) return LK_LINE_GONE;
    x->got = 0;
    x->state = LK_EXCHANGE_WAITS;
    if (!append_locked(line, x)) return LK_LINE_FULL;
    if (!line->driver) {
        drive_locked(line, x);
        return end_locked(line, x, error, error_size);
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&x->changed, &attr);
    pthread_condattr_destroy(&attr);
    wait_locked(line, x);
    enum lk_line_end end = end_locked(line, x, error, error_size);
    pthread_cond_destroy(&x->changed); /* who signals, holds the lock */
    return end;
}

enum lk_line_end lk_line_exchange(lk_line *line, lk_exchange *x, char *error, size_t error_size)
{
    pthread_mutex_lock(&line->lock);
    enum lk_line_end end = exchange_locked(line, x, error, error_size);
    pthread_mutex_unlock(&line->lock);
    return end;
}

bool lk_line_good(lk_line *line)
{
    pthread_mutex_lock(&line->lock);
    bool good = !line->lost && lk_conn_quiet(&line->conn) && lk_net_idle_good(&line->socket);
    pthread_mutex_unlock(&line->lock);
    return good;
}

/* ------------------------------------------------------------------------------------------ open and close -- */

static bool hear(lk_line *line, lk_hello *hello, int64_t deadline_ms, char *error, size_t error_size)
{
    lk_reply *reply;
    int got = 0;
    enum lk_net_io sent = lk_net_flush(&line->socket, &line->conn, error, error_size);
    if (sent == LK_NET_LOST) return false;
    snprintf(error, error_size, "Redis did not answer within deadline_ms");
    if (!lk_net_wait(&line->socket, POLLIN | (sent == LK_NET_LATER ? POLLOUT : 0), deadline_ms, -1)) return false;
    if (lk_net_fill(&line->socket, &line->conn, error, error_size) == LK_NET_LOST) return false;
    while ((got = lk_conn_next(&line->conn, &reply)) > 0) {
        lk_hello_take(hello, reply);
        lk_reply_free(reply);
    }
    if (got < 0) snprintf(error, error_size, "the server is not usable: %s", lk_resp_error(line->conn.resp));
    return got == 0;
}

static int greet(const lk_config *config, lk_line *line, int64_t deadline_ms, char *error, size_t error_size)
{
    lk_hello hello;
    if (!lk_conn_open(&line->conn) || !lk_hello_send(&hello, config, &line->conn)) return LATCHKEY_NO_MEMORY;
    while (hello.answers && !hello.status)
        if (!hear(line, &hello, deadline_ms, error, error_size)) return LATCHKEY_UNAVAILABLE;
    if (hello.status) snprintf(error, error_size, "%s", hello.error);
    line->incarnation = hello.incarnation;
    return hello.status;
}

int lk_line_open(const lk_config *config, const lk_addresses *addresses, int64_t deadline_ms, lk_line **out,
                 char *error, size_t error_size)
{
    lk_line *line = calloc(1, sizeof *line);
    if (!line) return LATCHKEY_NO_MEMORY;
    pthread_mutex_init(&line->lock, NULL);
    bool connected = lk_net_connect(addresses, deadline_ms, -1, &line->socket, error, error_size);
    int status = connected ? greet(config, line, deadline_ms, error, error_size) : LATCHKEY_UNAVAILABLE;
    if (status) lk_line_close(line);
    else *out = line;
    return status;
}

void lk_line_close(lk_line *line)
{
    lk_net_close(&line->socket);
    lk_conn_close(&line->conn);
    pthread_mutex_destroy(&line->lock);
    free(line);
}

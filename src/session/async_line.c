/* See async_line.h. */
#include "session/async_line.h"

#include "session/begin.h"

#include <stdlib.h>

enum { SENT_TOGETHER = 32, AHEAD_MOST_MS = 1000, MOMENT_MS = 10 };
_Static_assert((int)LK_NODES_MAX <= 64, "a bit for each line");

/* ---------------------------------------------------------------------------------------- open and close -- */

static lk_async_line *add_line(latchkey *lk, lk_async *a, lk_node *node)
{
    lk_async_line *line = calloc(1, sizeof *line);
    if (!line) return NULL;
    line->node = node;
    line->at = (uint8_t)a->lines;
    lk_async_conn_open(&line->conn, &a->desk, &lk->config, lk_node_pool(node));
    return a->line[a->lines++] = line;
}

/* To the owner of that moment. NULL: no memory. */
static lk_async_line *line_of(latchkey *lk, lk_async *a, unsigned partition)
{
    if (!lk->config.cluster) return a->line[0];
    lk_node *node = lk_l2_owner(&lk->l2, partition);
    for (unsigned i = 0; i < a->lines; i++)
        if (a->line[i]->node == node) return a->line[i];
    return add_line(lk, a, node);
}

bool lk_async_lines_open(latchkey *lk, lk_async *a)
{
    return lk->config.cluster || add_line(lk, a, lk_topology_node(&lk->l2.topology, 0));
}

void lk_async_lines_close(lk_async *a)
{
    for (unsigned i = 0; i < a->lines; i++) {
        lk_async_conn_close(&a->line[i]->conn);
        free(a->line[i]);
    }
    a->lines = 0;
}

void lk_async_lines_abandon(lk_async *a)
{
    for (unsigned i = 0; i < a->lines; i++) lk_async_conn_abandon(&a->line[i]->conn);
}

void lk_async_want_line(latchkey *lk, lk_async *a)
{
    if (!lk->config.cluster) lk_async_conn_wanted(&a->line[0]->conn, lk_now_ms());
}

/* ----------------------------------------------------------------------------------------------- a loss -- */

/* Its time is not over, and it was not asked in vain too often; or another node owns its partition by now. */
static bool may_ask_again(latchkey *lk, const lk_async_line *line, const lk_async_slot *p, int64_t now_ms)
{
    if (now_ms >= p->deadline_ms) return false;
    if (lk->config.cluster && lk_l2_owner(&lk->l2, p->token.partition) != line->node) return true;
    return p->asks <= 1 && lk_pool_may_repeat(lk_node_pool(line->node));
}

/* The connection is gone. What was asked is asked once more, as far as the budget allows. */
static void take_loss(latchkey *lk, lk_async *a, lk_async_line *line, int64_t now_ms)
{
    line->unsent = 0;
    a->lost = true;
    for (lk_async_slot *p = lk_async_first(a, LK_ASYNC_ASKED), *next; p; p = next) {
        next = lk_async_at(a, p->next);
        if (p->line != line->at) continue;
        if (may_ask_again(lk, line, p, now_ms)) lk_async_queue(a, p);
        else lk_async_no_answer(lk, a, p, line->conn.error);
    }
}

void lk_async_give_up(latchkey *lk, lk_async *a, uint64_t lines, int64_t now_ms, const char *why)
{
    for (unsigned i = 0; i < a->lines; i++) {
        if (!(lines >> i & 1)) continue;
        lk_async_conn_lose(&a->line[i]->conn, now_ms, why);
        take_loss(lk, a, a->line[i], now_ms);
    }
}

/* ----------------------------------------------------------------------------------------------- asking -- */

static void wait_for_lease(latchkey *lk, lk_async *a, unsigned partition, int64_t most_ms)
{
    a->desk.shared = true;
    lk_lease_await(lk->book, partition, a->desk.bell_fd);
    lk_async_desk_wake_at(&a->desk, most_ms);
}

/* On a connection to a server without the lease, asking gains nothing. If that server once had the lease, another
 * server has it now: a new connection leads there. If it never had it, the link is behind, and is told to look; a new
 * connection would lead to the same server. */
static void leave_the_old(latchkey *lk, lk_async *a, lk_async_line *line, unsigned partition, int64_t now_ms)
{
    uint64_t leased = lk_lease_owner(lk->book, partition), server = line->conn.hello.incarnation;
    line->ahead = false;
    if (line->conn.state != LK_ASYNC_CONN_UP || !leased) return;
    if (server == leased) line->served = server;
    if (server == leased) return;
    lk_lease_suspect(lk->book, partition, server);
    if (line->served != server && now_ms - line->conn.up_ms < AHEAD_MOST_MS) {
        line->ahead = true;
        if (lk_async_first(a, LK_ASYNC_QUEUED)) wait_for_lease(lk, a, partition, line->conn.up_ms + AHEAD_MOST_MS);
        return;
    }
    line->served = 0;
    lk_async_conn_lose(&line->conn, now_ms, "the server is another one now");
    take_loss(lk, a, line, now_ms);
}

/* In a cluster a partition may be on its way to another server, and before that one has the lease, its answers do not
 * count. One slot of a node waits for the bell, for all. */
static bool is_early(latchkey *lk, lk_async *a, lk_async_line *line, const lk_async_slot *p, int64_t now_ms)
{
    if (!lk->config.cluster) return false;
    if (p->not_before_ms > now_ms) {
        lk_async_desk_wake_at(&a->desk, p->not_before_ms);
        return true;
    }
    if (lk_lease_owner(lk->book, p->token.partition)) {
        leave_the_old(lk, a, line, p->token.partition, now_ms);
        return false;
    }
    if (!line->waits) wait_for_lease(lk, a, p->token.partition, now_ms + MOMENT_MS);
    line->waits = true;
    return true;
}

static void send_slot(lk_async *a, lk_async_line *line, lk_async_slot *p, const lk_call *calls, unsigned count)
{
    p->asks++;
    p->line = line->at;
    lk_async_move(a, p, LK_ASYNC_ASKED);
    line->unsent++;
    for (unsigned i = 0; i < count; i++)
        if (!lk_conn_send(&line->conn.conn, lk_async_index(a, p), calls[i].words, calls[i].count)) {
            /* half a question may be in the buffer */
            lk_async_conn_lose(&line->conn, lk_now_ms(), "no memory for a command");
            return;
        }
}

static void ask_alias_slot(latchkey *lk, lk_async *a, lk_async_line *line, lk_async_slot *p)
{
    lk_resolving_words words;
    lk_resolve_ask(lk, &p->foreign, &p->vouch, &words);
    send_slot(a, line, p, &words.call, 1);
}

static void ask_session(latchkey *lk, lk_async *a, lk_async_line *line, lk_async_slot *p)
{
    lk_question_words words;
    if (!lk_vouch_session(lk, &p->token, &p->vouch)) {
        p->vouch.server = p->vouch.leased;
        lk_async_answer(a, p, LATCHKEY_NOT_FOUND, lk_pending_holds(lk->pending, &p->token));
        return;
    }
    p->replies[LK_QUESTION_CUTOFF] = NULL;
    lk_question_ask(lk, &p->token, &p->vouch, p->fresh, &words);
    send_slot(a, line, p, words.calls, lk_question_calls(p->fresh));
}

/* A server may close a connection on which nothing is asked: that is found out first, so no question is lost by it. */
static void look_at_idle(lk_async *a, lk_async_line *line, int64_t now_ms)
{
    if (line->conn.state == LK_ASYNC_CONN_UP && !a->asked[line->at]) lk_async_conn_drive(&line->conn, now_ms);
}

/* On the line if there is one; if there cannot be one, it does not wait for it. */
static void ask_slot(latchkey *lk, lk_async *a, lk_async_slot *p, int64_t now_ms)
{
    lk_async_line *line = line_of(lk, a, p->token.partition);
    if (!line) {
        lk_async_no_answer(lk, a, p, "no memory for a connection");
        return;
    }
    if (is_early(lk, a, line, p, now_ms)) return;
    look_at_idle(a, line, now_ms);
    if (!lk_async_conn_wanted(&line->conn, now_ms)) {
        lk_async_no_answer(lk, a, p, line->conn.error);
        return;
    }
    if (line->conn.state != LK_ASYNC_CONN_UP || line->ahead || lk_conn_room(&line->conn.conn) < LK_QUESTION_CALLS)
        return;
    if (p->unresolved) ask_alias_slot(lk, a, line, p);
    else ask_session(lk, a, line, p);
}

void lk_async_ask_queued(latchkey *lk, lk_async *a, int64_t now_ms)
{
    if (!lk->config.cluster) leave_the_old(lk, a, a->line[0], 0, now_ms);
    do {
        a->lost = false; /* what was asked on a line that is lost is QUEUED behind the others */
        for (unsigned i = 0; i < a->lines; i++) a->line[i]->waits = false;
        for (lk_async_slot *p = lk_async_first(a, LK_ASYNC_QUEUED), *next; p; p = next) {
            next = lk_async_at(a, p->next);
            ask_slot(lk, a, p, now_ms);
            if (!lk->config.cluster && p->state == LK_ASYNC_QUEUED) break; /* and so would all others be */
        }
    } while (a->lost);
}

void lk_async_ask_new(latchkey *lk, lk_async *a, lk_async_slot *p, int64_t now_ms)
{
    a->lost = false;
    if (!lk->config.cluster) leave_the_old(lk, a, a->line[0], 0, now_ms);
    if (p->state == LK_ASYNC_QUEUED) ask_slot(lk, a, p, now_ms);
    if (a->lost) lk_async_ask_queued(lk, a, now_ms);
}

/* Questions that are asked while others are under way are sent when answers come, or when there are some more of them. */
static void send_line(latchkey *lk, lk_async *a, lk_async_line *line, int64_t now_ms, bool now)
{
    if (!line->unsent) return;
    bool lost = line->conn.state != LK_ASYNC_CONN_UP; /* while asking */
    if (!lost && !now && a->asked[line->at] != line->unsent && line->unsent < SENT_TOGETHER) return;
    line->unsent = 0;
    if (lost || !lk_async_conn_send(&line->conn, now_ms)) take_loss(lk, a, line, now_ms);
}

void lk_async_send_asked(latchkey *lk, lk_async *a, int64_t now_ms, bool now)
{
    for (unsigned i = 0; i < a->lines; i++) send_line(lk, a, a->line[i], now_ms, now);
}

/* ---------------------------------------------------------------------------------------------- reading -- */

/* The slot moves; or the server that answered does not have the lease yet, or not any more. */
static bool comes_too_early(latchkey *lk, lk_async *a, lk_async_line *line, lk_async_slot *p, int64_t now_ms)
{
    if (!lk->config.cluster) return false;
    unsigned partition = p->token.partition;
    bool moved = lk_l2_moved(&lk->l2, line->node, partition, p->replies, LK_QUESTION_FIRM, p->got);
    if (!moved) lk_vouch_answered(lk, partition, &p->vouch, line->conn.hello.incarnation);
    if (!moved && p->vouch.server) return false;
    p->asks--;
    p->not_before_ms = now_ms + MOMENT_MS;
    lk_async_queue(a, p);
    return true;
}

/* False: there is nothing more to read now. *heard: an answer came. */
static bool read_line(latchkey *lk, lk_async *a, lk_async_line *line, int64_t now_ms, bool *heard)
{
    lk_reply *reply;
    bool whole = lk_async_conn_drive(&line->conn, now_ms);
    int got = 0;
    while (whole && line->conn.state == LK_ASYNC_CONN_UP &&
           (got = lk_async_conn_next(&line->conn, now_ms, &reply)) > 0) {
        lk_async_slot *p = lk_async_at(a, reply->tag);
        p->replies[p->got++] = reply;
        *heard = true;
        if (p->got == lk_async_calls(p) && !comes_too_early(lk, a, line, p, now_ms))
            lk_async_take(lk, a, p, line->conn.hello.incarnation);
    }
    if (!whole || got < 0) take_loss(lk, a, line, now_ms);
    return whole && got == 0 && line->conn.more;
}

/* In a cluster most lines have nothing to say to one question: a read of each would cost as much as that of the answer. So
 * lines on which nothing is asked are read, to see whether they were closed, when no other one has brought an answer: else
 * the descriptor would stay readable. */
static bool read_lines(latchkey *lk, lk_async *a, int64_t now_ms, bool idle, bool *heard)
{
    bool more = false;
    for (unsigned i = 0; i < a->lines; i++) {
        lk_async_line *line = a->line[i];
        bool is_idle = line->conn.state == LK_ASYNC_CONN_UP && !a->asked[i];
        if (line->conn.state != LK_ASYNC_CONN_DOWN && is_idle == idle) more |= read_line(lk, a, line, now_ms, heard);
    }
    return more;
}

bool lk_async_read(latchkey *lk, lk_async *a, int64_t now_ms, bool *heard)
{
    bool more = read_lines(lk, a, now_ms, false, heard);
    if (!*heard) more |= read_lines(lk, a, now_ms, true, heard);
    for (unsigned i = 0; i < a->lines; i++) {
        lk_async_line *line = a->line[i];
        bool used = !lk->config.cluster || a->asked[i] || lk_node_owns(line->node);
        if (!used && line->conn.state != LK_ASYNC_CONN_DOWN)
            lk_async_conn_lose(&line->conn, now_ms, "its node has no partition any more");
    }
    return more;
}

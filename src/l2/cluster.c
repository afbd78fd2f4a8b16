/* See cluster.h. One thread; what is its own needs no lock. */
#include "l2/cluster_parts.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/errno_text.h"
#include "base/log.h"
#include "base/wake.h"
#include "redis/tls_guard.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    EVERY_MS = 10000,
    APART_MS = 100,
    SOON_MS = 10, /* after the last question, if a node says that it knows better */
    APART_MAX_MS = 500,
    AGAIN_MS = 200,
    QUIET_MS = 2000, /* after so long without a sign, the next one is a new matter */
};

uint64_t lk_cluster_chance(lk_cluster *c)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return c->random;
}

/* -------------------------------------------------------------------------------------------------- the thread -- */

/* The first node is the placeholder that owns what no server is known to have: it tells callers why. */
static void say_outcome(lk_cluster *c, int status)
{
    lk_node *first = lk_topology_node(c->topology, 0);
    if (status && lk_node_owns(first)) lk_node_trouble(first, status, c->error);
    else if (!c->mapped) lk_node_trouble(first, LATCHKEY_OK, ""); /* it said that no server has answered yet */
    c->mapped |= !lk_node_owns(first);
    if (!status && *c->said) lk_log(LATCHKEY_LOG_NOTICE, "cluster: the nodes answer again");
    /* Once, whichever node is the last to be asked in vain; what a person has to change, whenever it is another thing. */
    if (status && (!*c->said || (status == LATCHKEY_CONFIG && strcmp(c->error, c->said)))) {
        lk_log(LATCHKEY_LOG_WARNING, "cluster: %s", c->error);
        memcpy(c->said, c->error, sizeof c->said);
    }
    if (!status) c->said[0] = 0;
}

/* It names the new owner; or it is the old one, and has let a slot go. */
static bool knows_better(const lk_sign *sign)
{
    lk_host to;
    const lk_host none = {"", ""};
    return lk_moved_to(sign->text, &none, &to) || strcmp(sign->text, LK_LINK_SLOT_LEFT) == 0;
}

static void ask_now(lk_cluster *c)
{
    c->vain++; /* unless the map changes */
    int status = lk_cluster_round(c);
    if (lk_cluster_stopping(c)) return;
    c->is_signed = false;
    c->failed = c->answered ? 0 : c->failed + 1;
    say_outcome(c, status);
    c->asked_ms = lk_now_ms();
    bool calm = !status && (!c->vain || c->asked_ms - c->signed_ms > QUIET_MS);
    c->next_ms = c->asked_ms + (calm ? EVERY_MS * 3 / 4 + (int64_t)(lk_cluster_chance(c) % (EVERY_MS / 2))
                                     : lk_backoff_ms(c->vain, AGAIN_MS, EVERY_MS, lk_cluster_chance(c)));
}

/* When the newest sign is to be followed: soon if a node knows better. A slot that is being moved, or a node that is away,
 * gives many signs that change nothing. */
static int64_t sign_due_ms(lk_cluster *c)
{
    if (!c->asked_ms) return 0;
    if (knows_better(&c->sign))
        return c->asked_ms + lk_earlier((int64_t)SOON_MS << (c->misled < 4 ? c->misled : 4), APART_MS);
    return c->asked_ms + lk_earlier((int64_t)APART_MS << (c->vain < 3 ? c->vain : 3), APART_MAX_MS);
}

static void take_sign(lk_cluster *c)
{
    int64_t now_ms = lk_now_ms();
    lk_sign sign;
    if (!lk_topology_signed(c->topology, &sign)) return;
    if (now_ms - c->signed_ms > QUIET_MS) c->vain = c->misled = 0;
    if (!c->is_signed || knows_better(&sign) || !knows_better(&c->sign)) c->sign = sign;
    c->is_signed = true;
    c->signed_ms = now_ms;
    c->next_ms = lk_earlier(c->next_ms, sign_due_ms(c));
}

/* Until it is time to ask, a sign comes, or the end. */
static void wait_for_sign(lk_cluster *c)
{
    struct pollfd poll_fd[2] = {{.fd = c->stop_fd, .events = POLLIN}, {.fd = c->topology->sign_fd, .events = POLLIN}};
    int64_t wait_ms = c->next_ms - lk_now_ms();
    uint64_t times;
    if (wait_ms <= 0 || !lk_poll(poll_fd, 2, wait_ms) || !poll_fd[1].revents) return;
    ssize_t got = read(c->topology->sign_fd, &times, sizeof times);
    (void)got; /* nothing to read: another look finds no sign */
}

static void *run_cluster(void *context)
{
    lk_cluster *c = context;
    lk_log_to(c->config->journal);
    while (!lk_cluster_stopping(c)) {
        lk_notices_say(c->config->notices);
        take_sign(c);
        if (lk_now_ms() >= c->next_ms) ask_now(c);
        else wait_for_sign(c);
    }
    if (c->config->tls) lk_tls_end_thread();
    return NULL;
}

/* The application's signals are its own: none is ever delivered to this thread. */
static int start_thread(lk_cluster *c, char *error, size_t error_size)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&c->thread, NULL, run_cluster, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    c->started = !failed;
    if (c->started) pthread_setname_np(c->thread, "latchkey-map");
    else snprintf(error, error_size, "no thread is left for the cluster: %s (see ulimit -u)", lk_errno_text(failed));
    return failed ? LATCHKEY_UNAVAILABLE : LATCHKEY_OK;
}

int lk_cluster_open(lk_topology *topology, lk_cluster **out, char *error, size_t error_size)
{
    lk_cluster *c = calloc(1, sizeof *c);
    if (!c) return LATCHKEY_NO_MEMORY;
    c->topology = topology;
    c->config = topology->config;
    c->stop_fd = -1;
    c->next_ms = lk_now_ms();
    lk_random(&c->random, sizeof c->random);
    c->random |= 1;
    int status = lk_book_descriptor(&c->stop_fd, error, error_size);
    lk_cluster_ask_open(&c->ask, c->config, c->stop_fd);
    if (!status) status = start_thread(c, error, error_size);
    if (status) lk_cluster_close(c);
    else *out = c;
    return status;
}

void lk_cluster_close(lk_cluster *c)
{
    if (!c) return;
    if (c->started) {
        atomic_store_explicit(&c->stop, true, memory_order_release);
        lk_raise(c->stop_fd);
        pthread_join(c->thread, NULL);
    }
    lk_cluster_ask_close(&c->ask);
    if (c->stop_fd >= 0) close(c->stop_fd);
    free(c);
}

void lk_cluster_abandon(lk_cluster *c)
{
    if (!c) return;
    if (c->ask.socket.fd >= 0) close(c->ask.socket.fd);
    if (c->stop_fd >= 0) close(c->stop_fd);
}

/* See cluster.h. One thread; what is its own needs no lock. */
#include "l2/cluster.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/errno_text.h"
#include "base/log.h"
#include "base/wake.h"
#include "l2/cluster_ask.h"
#include "l2/naming.h"
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
    PATIENCE_MIN_MS = 100,
    PATIENCE_MAX_MS = 2000,
    NODES_MAX = 2 * LK_NODES_MAX
};

struct lk_cluster {
    lk_topology *topology;
    const lk_config *config;
    pthread_t thread;
    bool started;
    _Atomic bool stop; /* release by close, acquire by the thread */
    int stop_fd;       /* an eventfd: the same, for what blocks */

    /* used by the thread only: */
    lk_cluster_ask ask;
    lk_sign sign; /* the newest one, while is_signed */
    bool is_signed;
    bool mapped;       /* every partition has had a server */
    bool answered;     /* a node answered the last question, with a map */
    int64_t asked_ms;  /* when the last question was over */
    int64_t next_ms;   /* when it is time without a sign */
    int64_t signed_ms; /* when the last sign came */
    unsigned vain;     /* how many questions in a row failed, or changed nothing; */
    unsigned misled;   /* and how many of those were asked because a node said that it knows better */
    unsigned failed;   /* how many in a row failed */
    uint64_t random;
    lk_host node[NODES_MAX]; /* as the last answer names them: the primaries, then the replicas */
    unsigned nodes;
    lk_slots slots;
    lk_server_map map;
    char error[160], said[160]; /* why the last question failed; and the last such line in the log */
};

static uint64_t chance(lk_cluster *c)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return c->random;
}

static bool stopping(const lk_cluster *c) { return atomic_load_explicit(&c->stop, memory_order_acquire); }

/* -------------------------------------------------------------------------------------------------- the map -- */

/* The server's place in the map; LK_NO_SERVER: there is none left. */
static uint8_t place_of(lk_server_map *map, const lk_host *server)
{
    for (unsigned i = 0; i < map->servers; i++)
        if (lk_host_same(&map->server[i], server)) return (uint8_t)i;
    if (map->servers == LK_NODES_MAX) return LK_NO_SERVER;
    map->server[map->servers] = *server;
    return (uint8_t)map->servers++;
}

/* False: a partition has no server; `error` says which and why. */
static bool make_map(lk_cluster *c)
{
    bool whole = true;
    c->map.servers = 0;
    for (unsigned p = 0; p < c->config->partitions; p++) {
        lk_host server;
        unsigned slot = lk_slot_of_partition(p);
        bool found = lk_slots_primary(&c->slots, slot, &server);
        c->map.of[p] = found ? place_of(&c->map, &server) : LK_NO_SERVER;
        if (c->map.of[p] != LK_NO_SERVER || !whole) continue;
        whole = false;
        if (found) snprintf(c->error, sizeof c->error, "more than %d primaries have partitions", LK_NODES_MAX);
        else snprintf(c->error, sizeof c->error, "no node of the cluster has slot %u, of partition %u", slot, p);
    }
    return whole;
}

static void say_map(const lk_cluster *c, const lk_host *asked)
{
    char at[112];
    lk_host_text(asked, at, sizeof at);
    lk_log(LATCHKEY_LOG_NOTICE,
           "cluster: partitions have other servers, as node %s says: %u primaries have all of them", at,
           c->map.servers);
}

/* OK: every partition has a server. */
static int take_answer(lk_cluster *c, const lk_reply *reply, const lk_host *asked)
{
    char at[112];
    lk_host_text(asked, at, sizeof at);
    if (!lk_slots_read(&c->slots, reply, asked)) {
        snprintf(c->error, sizeof c->error, "node %.60s: its answer to CLUSTER SLOTS is not one of Redis", at);
        return LATCHKEY_UNAVAILABLE;
    }
    uint64_t before = lk_topology_version(c->topology);
    bool whole = make_map(c);
    int status =
        c->map.servers ? lk_topology_apply(c->topology, &c->map, c->error, sizeof c->error) : LATCHKEY_UNAVAILABLE;
    c->answered = c->map.servers > 0; /* else another node may know more */
    if (c->answered) c->nodes = lk_slots_nodes(&c->slots, c->node, NODES_MAX);
    if (lk_topology_version(c->topology) != before) {
        c->vain = c->misled = 0;
        say_map(c, asked);
    }
    return status ? status : whole ? LATCHKEY_OK : LATCHKEY_UNAVAILABLE;
}

/* ---------------------------------------------------------------------------------------------- who is asked -- */

typedef struct candidates {
    lk_host host[NODES_MAX + LK_SEEDS_MAX + 2];
    unsigned count;
    lk_host from;        /* the node that a sign is from, */
    const lk_host *last; /* to be asked after all others; NULL: none */
} candidates;

static void add_candidate(candidates *k, const lk_host *host)
{
    for (unsigned i = 0; i < k->count; i++)
        if (lk_host_same(&k->host[i], host)) return;
    k->host[k->count++] = *host;
}

/* All of these, beginning anywhere: so the instances of a deployment do not all ask the same node. */
static void add_candidates(lk_cluster *c, candidates *k, const lk_host *host, unsigned count)
{
    unsigned first = count ? (unsigned)(chance(c) % count) : 0;
    for (unsigned i = 0; i < count; i++) {
        const lk_host *one = &host[(first + i) % count];
        if (!k->last || !lk_host_same(one, k->last)) add_candidate(k, one);
    }
}

/* A node that is cut off has an old map without end. So replicas come after primaries, and one that says CLUSTERDOWN last. */
static void list_candidates(lk_cluster *c, candidates *k)
{
    lk_host to;
    memset(k, 0, sizeof *k);
    bool named = c->is_signed && c->sign.from && lk_node_host(c->sign.from, &k->from);
    const lk_host *from = named ? &k->from : NULL;
    if (from && lk_moved_to(c->sign.text, from, &to)) add_candidate(k, &to);
    if (from && c->sign.text[0] && !strstr(c->sign.text, "CLUSTERDOWN")) add_candidate(k, from);
    else k->last = from;
    add_candidates(c, k, c->map.server, c->map.servers);
    add_candidates(c, k, c->node, c->nodes);
    add_candidates(c, k, c->config->seed, c->config->seeds);
    if (k->last) add_candidate(k, k->last);
}

/* A node that hangs costs this much. It grows as long as no node answers, for those that are far away or busy. */
static int64_t patience_ms(const lk_cluster *c)
{
    int64_t first = lk_later(PATIENCE_MIN_MS, lk_earlier(c->config->deadline_ms / (1 + c->config->seeds), 250));
    return lk_earlier(first << (c->failed < 5 ? c->failed : 5), PATIENCE_MAX_MS);
}

static int ask_one(lk_cluster *c, const lk_host *host)
{
    lk_reply *reply = NULL;
    int status = lk_cluster_slots(&c->ask, host, patience_ms(c), &reply, c->error, sizeof c->error);
    if (!status) status = take_answer(c, reply, host);
    lk_reply_free(reply);
    return status;
}

/* CONFIG if a node said so, and no other one did better: a wrong password is wrong, whatever else is away. */
static int ask_until_one_knows(lk_cluster *c)
{
    candidates *k = malloc(sizeof *k);
    char refused[sizeof c->error] = "";
    int status = LATCHKEY_UNAVAILABLE;
    if (!k) return LATCHKEY_NO_MEMORY;
    list_candidates(c, k);
    c->answered = false;
    for (unsigned i = 0; !c->answered && i < k->count && !stopping(c); i++) {
        status = ask_one(c, &k->host[i]);
        if (status == LATCHKEY_CONFIG && !*refused) memcpy(refused, c->error, sizeof refused);
    }
    free(k);
    if (c->answered || !*refused) return status;
    memcpy(c->error, refused, sizeof refused);
    return LATCHKEY_CONFIG;
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
    c->misled += c->is_signed && knows_better(&c->sign);
    int status = ask_until_one_knows(c);
    if (stopping(c)) return;
    c->is_signed = false;
    c->failed = c->answered ? 0 : c->failed + 1;
    say_outcome(c, status);
    c->asked_ms = lk_now_ms();
    bool calm = !status && (!c->vain || c->asked_ms - c->signed_ms > QUIET_MS);
    c->next_ms = c->asked_ms + (calm ? EVERY_MS * 3 / 4 + (int64_t)(chance(c) % (EVERY_MS / 2))
                                     : lk_backoff_ms(c->vain, AGAIN_MS, EVERY_MS, chance(c)));
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
    if (wait_ms <= 0 || poll(poll_fd, 2, (int)wait_ms) <= 0 || !poll_fd[1].revents) return;
    ssize_t got = read(c->topology->sign_fd, &times, sizeof times);
    (void)got; /* nothing to read: another look finds no sign */
}

static void *run_cluster(void *context)
{
    lk_cluster *c = context;
    lk_log_to(c->config->journal);
    while (!stopping(c)) {
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

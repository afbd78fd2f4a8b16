/* Which nodes are asked for the map, and in which order.
 *
 *   no map yet   all hosts of the URL, as far as a third of deadline_ms reaches: they must be of one cluster
 *   later        one after the other, until a map is taken: the node that knows better, the primaries, their replicas, the
 *                hosts of the URL; last, the node whose link was lost */
#include "l2/cluster_parts.h"

#include "base/clock.h"
#include "l2/naming.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_MIN_MS = 100, PATIENCE_MAX_MS = 2000 };

/* ---------------------------------------------------------------------------------------------- who is asked -- */

typedef struct candidates {
    lk_host host[LK_CLUSTER_HOSTS_MAX + LK_SEEDS_MAX + 2];
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
    unsigned first = count ? (unsigned)(lk_cluster_chance(c) % count) : 0;
    for (unsigned i = 0; i < count; i++) {
        const lk_host *one = &host[(first + i) % count];
        if (!k->last || !lk_host_same(one, k->last)) add_candidate(k, one);
    }
}

static void add_servers(lk_cluster *c, candidates *k)
{
    lk_host at[LK_NODES_MAX];
    for (unsigned i = 0; i < c->map.servers; i++) at[i] = c->map.server[i].at;
    add_candidates(c, k, at, c->map.servers);
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
    add_servers(c, k);
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

/* OK: it has been read. `answer` is freed by the caller. */
static int ask_one(lk_cluster *c, const lk_host *host, lk_cluster_answer *answer)
{
    *answer = (lk_cluster_answer){.from = *host};
    int status =
        lk_cluster_slots(&c->ask, host, patience_ms(c), &answer->reply, &answer->self, c->error, sizeof c->error);
    if (status) return status;
    return lk_cluster_read(c, answer) ? LATCHKEY_OK : LATCHKEY_UNAVAILABLE;
}

/* --------------------------------------------------------------------------------------------- the first map -- */

typedef struct first_map {
    lk_cluster_answer answer; /* the first; its reply is NULL: there is none yet */
    lk_members members;
    int64_t until_ms; /* the others are waited for until then */
} first_map;

/* A node that the first one names is of its cluster. (What is at its address now, its link looks at.) */
static bool is_named(lk_cluster *c, const lk_host *host)
{
    unsigned i = 0;
    while (i < c->nodes && !lk_host_same(&c->node[i], host)) i++;
    return i < c->nodes;
}

static bool is_another(const lk_cluster *c, const first_map *m, const lk_cluster_answer *answer)
{
    return !lk_members_agree(&m->members, &c->members) && !lk_members_have(&m->members, &answer->self) &&
           !lk_members_have(&c->members, &m->answer.self);
}

static int say_different(lk_cluster *c, const lk_host *a, const lk_host *b)
{
    char one[112], other[112];
    lk_host_text(a, one, sizeof one);
    lk_host_text(b, other, sizeof other);
    snprintf(c->error, sizeof c->error, "the nodes %.44s and %.44s belong to different clusters: list nodes of one",
             one, other);
    return LATCHKEY_CONFIG;
}

/* CONFIG: it is of another cluster than the first. */
static int take_seed(lk_cluster *c, first_map *m, lk_cluster_answer *answer)
{
    int status = LATCHKEY_OK;
    if (m->answer.reply) {
        if (is_another(c, m, answer)) status = say_different(c, &m->answer.from, &answer->from);
        lk_reply_free(answer->reply);
        return status;
    }
    m->answer = *answer;
    m->members = c->members;
    m->until_ms = lk_now_ms() + c->config->deadline_ms / 3;
    c->nodes = lk_slots_nodes(&c->slots, c->node, LK_CLUSTER_HOSTS_MAX);
    return LATCHKEY_OK;
}

static int ask_seeds(lk_cluster *c, candidates *k, first_map *m, char refused[sizeof c->error])
{
    int status = LATCHKEY_UNAVAILABLE;
    for (unsigned i = 0; i < k->count && !lk_cluster_stopping(c); i++) {
        lk_cluster_answer answer;
        if (m->answer.reply && (is_named(c, &k->host[i]) || lk_now_ms() >= m->until_ms)) continue;
        int asked = ask_one(c, &k->host[i], &answer);
        if (!asked && (status = take_seed(c, m, &answer))) return status;
        if (!asked) continue;
        if (asked == LATCHKEY_CONFIG && !*refused) memcpy(refused, c->error, sizeof c->error);
        if (!m->answer.reply) status = asked;
        lk_reply_free(answer.reply);
    }
    return status;
}

static int take_first(lk_cluster *c, candidates *k, char refused[sizeof c->error])
{
    first_map *m = calloc(1, sizeof *m);
    if (!m) return LATCHKEY_NO_MEMORY;
    int status = ask_seeds(c, k, m, refused);
    if (status == LATCHKEY_CONFIG && m->answer.reply) memcpy(refused, c->error, sizeof c->error);
    else if (m->answer.reply && lk_cluster_read(c, &m->answer)) status = lk_cluster_take(c, &m->answer);
    lk_reply_free(m->answer.reply);
    free(m);
    return status;
}

/* ------------------------------------------------------------------------------------------------- later maps -- */

/* OK: every partition has a server. Another status: as c->error says, or as the map is. */
static int take_if_ours(lk_cluster *c, const lk_cluster_answer *answer, lk_host *perhaps)
{
    enum lk_cluster_kin kin = lk_cluster_judge(c, answer);
    if (kin == LK_CLUSTER_OURS) return lk_cluster_take(c, answer);
    if (kin == LK_CLUSTER_STRANGE) lk_cluster_refuse(c, answer);
    else *perhaps = answer->from;
    return LATCHKEY_UNAVAILABLE;
}

/* No other node has a better map. The cluster has changed a lot since the last one: for long no node was reached. */
static int take_perhaps(lk_cluster *c, const lk_host *host)
{
    lk_cluster_answer answer;
    int status = ask_one(c, host, &answer);
    if (!status && lk_cluster_judge(c, &answer) == LK_CLUSTER_STRANGE) status = LATCHKEY_UNAVAILABLE;
    if (!status) status = lk_cluster_take(c, &answer);
    lk_reply_free(answer.reply);
    return status;
}

static int take_next(lk_cluster *c, candidates *k, char refused[sizeof c->error])
{
    int status = LATCHKEY_UNAVAILABLE;
    lk_host perhaps = {"", ""};
    for (unsigned i = 0; !c->answered && i < k->count && !lk_cluster_stopping(c); i++) {
        lk_cluster_answer answer;
        status = ask_one(c, &k->host[i], &answer);
        if (!status) status = take_if_ours(c, &answer, &perhaps);
        if (status == LATCHKEY_CONFIG && !*refused) memcpy(refused, c->error, sizeof c->error);
        lk_reply_free(answer.reply);
    }
    if (!c->answered && perhaps.name[0] && !lk_cluster_stopping(c)) status = take_perhaps(c, &perhaps);
    return status;
}

int lk_cluster_round(lk_cluster *c)
{
    candidates *k = malloc(sizeof *k);
    char refused[sizeof c->error] = "";
    if (!k) return LATCHKEY_NO_MEMORY;
    list_candidates(c, k);
    c->answered = false;
    int status = c->known.count ? take_next(c, k, refused) : take_first(c, k, refused);
    free(k);
    if (c->answered || !*refused) return status;
    memcpy(c->error, refused, sizeof refused);
    return LATCHKEY_CONFIG;
}

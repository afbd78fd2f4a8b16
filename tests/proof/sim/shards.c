/* SPDX-License-Identifier: MIT
 *
 * See shards.h. The rules are those of Redis 7.0; test_model.c holds them against real nodes.
 *
 *   slot of a partition: its shard's --begins to move--> MIGRATING at the source, IMPORTING at the target: keys go one by one
 *        --the last is gone--> the target's; the source learns of it within 11 ms, the others within a second
 *
 * A move is given up before a key has gone, or not at all. Some rest for long on the way.
 */
#include "shards.h"

#include "sentinels.h"
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEARNS_US SECOND /* a node that has nothing to do with it learns of a change within that */
#define SOURCE_LEARNS_US (11 * MS)
#define AWAY_US SECOND /* a shard without a primary for so long stops all nodes, if they are to cover all slots */

uint64_t shards_moves, shards_moved_keys, shards_given_up, shards_rests, shards_late_oks;

static struct {
    bool there, full_coverage;
    unsigned slot[CLUSTER_PARTITIONS];
    int shard_of[CLUSTER_PARTITIONS];              /* by partition: who has it */
    int view[CLUSTER_SERVERS][CLUSTER_PARTITIONS]; /* which server has it, as that one sees it */
    struct move {                                  /* by partition */
        bool on;
        const char *first; /* the key that goes before all others: "q", "e"; NULL: any */
        int to;
        uint64_t number;                     /* steps of an older one are void */
        int64_t pause_us, began_us, rest_us; /* rest_us: once, when so many keys have gone; 0: no more */
        unsigned gone, rests_after;
    } move[CLUSTER_PARTITIONS];
    int64_t moved_us[CLUSTER_PARTITIONS]; /* when it got another owner last, or began to */
} in;

/* ------------------------------------------------------------------------------------------------- slots -- */

/* CRC16 as XMODEM has it, of what stands between the first brace and the next closing one, if anything does; else of all. */
unsigned shards_slot(word key)
{
    const char *open = memchr(key.text, '{', key.size), *end = key.text + key.size;
    const char *shut = open ? memchr(open, '}', (size_t)(end - open)) : NULL;
    bool tagged = shut && shut > open + 1;
    unsigned crc = 0;
    for (const char *at = tagged ? open + 1 : key.text; at < (tagged ? shut : end); at++) {
        crc ^= (unsigned)(unsigned char)*at << 8;
        for (int bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff;
    }
    return crc % 16384;
}

/* -1: of none that is used. */
static int partition_of_slot(unsigned slot)
{
    int p = 0;
    while (p < CLUSTER_PARTITIONS && in.slot[p] != slot) p++;
    return p < CLUSTER_PARTITIONS ? p : -1;
}

int shards_partition(const char *key) { return partition_of_slot(shards_slot((word){key, strlen(key)})); }

bool shards_there(void) { return in.there; }
int shard_of_server(int server) { return in.there ? server % SHARDS : 0; }
int shard_of_partition(int partition) { return in.shard_of[partition]; }
bool shards_has(int server, int partition) { return in.shard_of[partition] == shard_of_server(server); }

static int owner_of(int partition) { return server_acting_of(in.shard_of[partition]); }
/* Who has a slot that no partition has: nobody looks. */
static int seen_owner(int server, int partition) { return partition < 0 ? 0 : in.view[server][partition]; }

int shards_place(const char *key)
{
    int p = shards_partition(key);
    if (p < 0) return server_acting_of(0);
    bool moved = in.move[p].on && server_has_key(server_acting_of(in.move[p].to), key);
    return moved ? server_acting_of(in.move[p].to) : owner_of(p);
}

int64_t shards_moved_us(const char *key)
{
    int p = in.there ? shards_partition(key) : -1;
    return p < 0 ? INT64_MIN : in.move[p].on ? w.now_us : in.moved_us[p];
}

/* ----------------------------------------------------------------------------------------------- refusals -- */

static bool is(word a, const char *text) { return !strcmp(a.text, text); }

static bool is_one_of(word a, const char *const *names)
{
    while (*names && !is(a, *names)) names++;
    return *names;
}

/* The command's keys: the first, and how many. */
static size_t keys_of(const word *words, size_t count, size_t *first)
{
    static const char *const none[] = {"INFO",  "TIME", "PING",    "ROLE",      "CLUSTER", "WAIT",   "SELECT", "AUTH",
                                       "HELLO", "ECHO", "PUBLISH", "SUBSCRIBE", "SCRIPT",  "CLIENT", NULL};
    static const char *const all[] = {"MGET", "DEL", "UNLINK", "EXISTS", "TOUCH", "SSUBSCRIBE", NULL};
    *first = 1;
    if (is_one_of(words[0], none) || count < 2) return 0;
    if (is_one_of(words[0], all)) return count - 1;
    if (is(words[0], "EVAL") || is(words[0], "EVALSHA")) {
        size_t keys = count > 2 ? strtoull(words[2].text, NULL, 10) : 0;
        *first = 3;
        return keys <= count - 3 ? keys : 0;
    }
    return is(words[0], "RENAME") || is(words[0], "RENAMENX") ? 2 : 1;
}

static const char *redirect(const char *how, unsigned slot, int server)
{
    static char text[80];
    snprintf(text, sizeof text, "%s %u 127.0.0.1:%d", how, slot, SERVER_PORT + server);
    return text;
}

static bool down(void)
{
    bool any = false;
    for (int shard = 0; shard < SHARDS; shard++) {
        int64_t since_us = server_down_since_us(server_acting_of(shard));
        any |= since_us && w.now_us > since_us + AWAY_US;
    }
    return any && in.full_coverage;
}

static const char *refusal_of_missing(int server, const word *keys, size_t count, unsigned slot, int target)
{
    size_t missing = 0;
    for (size_t i = 0; i < count; i++) missing += !server_holds(server, keys[i].text);
    if (!missing) return NULL;
    return missing < count ? "TRYAGAIN Multiple keys request during rehashing of slot" : redirect("ASK", slot, target);
}

const char *shards_refusal(int server, const word *words, size_t count)
{
    size_t first, keys = keys_of(words, count, &first);
    if (!keys) return NULL;
    unsigned slot = shards_slot(words[first]);
    int p = partition_of_slot(slot), owner = seen_owner(server, p);
    bool sharded = is(words[0], "SPUBLISH") || is(words[0], "SSUBSCRIBE");
    for (size_t i = 1; i < keys; i++)
        if (shards_slot(words[first + i]) != slot) return "CROSSSLOT Keys in request don't hash to the same slot";
    if (down() && !sharded) return "CLUSTERDOWN The cluster is down";
    if (owner != server) return redirect("MOVED", slot, owner);
    bool left = p >= 0 && shard_of_server(server) != in.shard_of[p]; /* and has not learnt of it */
    bool moves = left || (p >= 0 && in.move[p].on);
    int target = left ? owner_of(p) : moves ? server_acting_of(in.move[p].to) : -1;
    return moves && !sharded ? refusal_of_missing(server, words + first, keys, slot, target) : NULL;
}

/* ------------------------------------------------------------------------------------------ CLUSTER SLOTS -- */

void shards_print_id(int server, buffer *out) { buffer_print(out, "$40\r\n%040d\r\n", server); }

static void print_node(int server, buffer *out)
{
    buffer_print(out, "*4\r\n$9\r\n127.0.0.1\r\n:%d\r\n", SERVER_PORT + server);
    shards_print_id(server, out);
    buffer_print(out, "*0\r\n");
}

static void print_range(unsigned from, unsigned to, int server, buffer *out)
{
    int replicas = 0;
    for (int i = 0; i < server_count(); i++) replicas += server_replica_of(i) == server;
    buffer_print(out, "*%d\r\n:%u\r\n:%u\r\n", 3 + replicas, from, to);
    print_node(server, out);
    for (int i = 0; i < server_count(); i++)
        if (server_replica_of(i) == server) print_node(i, out);
}

/* What no partition has is shown as the first shard's. */
void shards_print_slots(int server, buffer *out)
{
    buffer ranges = {0};
    unsigned count = 0, from = 0;
    for (;;) {
        int next = -1; /* the partition with the lowest slot from there on */
        for (int p = 0; p < CLUSTER_PARTITIONS; p++)
            if (in.slot[p] >= from && (next < 0 || in.slot[p] < in.slot[next])) next = p;
        unsigned upto = next < 0 ? 16384 : in.slot[next];
        if (upto > from) print_range(from, upto - 1, server_acting_of(0), &ranges), count++;
        if (next < 0) break;
        print_range(upto, upto, in.view[server][next], &ranges), count++;
        from = upto + 1;
    }
    buffer_print(out, "*%u\r\n", count);
    buffer_add(out, ranges.bytes, ranges.size);
    buffer_free(&ranges);
}

/* -------------------------------------------------------------------------------------------- who knows what -- */

/* A node that has lost a slot tells its subscribers. */
static void see(int server, int partition, int owner)
{
    bool lost = in.view[server][partition] == server && owner != server;
    in.view[server][partition] = owner;
    if (lost) server_unsubscribe(server, in.slot[partition]);
}

/* One that is deposed, and has not been told that it is, believes in itself. */
static void learn(void *context, uint64_t server)
{
    (void)context;
    bool deposed = server_primary((int)server) && !server_is_acting((int)server);
    if (!server_up((int)server) || deposed) return;
    for (int p = 0; p < CLUSTER_PARTITIONS; p++) see((int)server, p, owner_of(p));
}

static void all_learn(void)
{
    for (int i = 0; i < server_count(); i++) at(w.now_us + draw_scale(MS, LEARNS_US), learn, NULL, (uint64_t)i);
}

void shards_promoted(int server)
{
    if (!in.there) return;
    for (int p = 0; p < CLUSTER_PARTITIONS; p++) see(server, p, owner_of(p));
    all_learn();
}

void shards_demoted(int server)
{
    if (!in.there) return;
    for (int p = 0; p < CLUSTER_PARTITIONS; p++) see(server, p, owner_of(p));
}

/* ------------------------------------------------------------------------------------------------ a move -- */

static void finish(int p)
{
    int source = owner_of(p), target = server_acting_of(in.move[p].to);
    trace("partition %d is r%d's", p, target);
    in.shard_of[p] = in.move[p].to;
    in.move[p].on = false;
    in.moved_us[p] = w.now_us;
    see(target, p, target);
    at(w.now_us + draw_scale(100, SOURCE_LEARNS_US), learn, NULL, (uint64_t)source);
    all_learn();
}

/* False: there was none left. */
static bool move_a_key(int p)
{
    char prefix[24];
    int source = owner_of(p), target = server_acting_of(in.move[p].to);
    snprintf(prefix, sizeof prefix, "lk:{%d}:%s", p, in.move[p].first ? in.move[p].first : "");
    bool moved = in.move[p].first && server_move_key(source, target, prefix);
    snprintf(prefix, sizeof prefix, "lk:{%d}:", p);
    if (!moved && !server_move_key(source, target, prefix)) return false;
    shards_moved_keys++;
    return true;
}

/* Steps of the partition's move: its number, behind which is the partition's. */
static int under_way(uint64_t number)
{
    int p = (int)(number % CLUSTER_PARTITIONS);
    return in.move[p].on && in.move[p].number == number ? p : -1;
}

static void move_on(void *context, uint64_t number)
{
    int p = under_way(number);
    (void)context;
    if (p < 0) return;
    bool answer = server_answers(owner_of(p)) && server_answers(server_acting_of(in.move[p].to));
    struct move *m = &in.move[p];
    bool rests = m->rest_us && m->gone == m->rests_after;
    if (rests) {
        trace("the move of partition %d rests for %.3f s", p, (double)m->rest_us / 1e6);
        shards_rests++;
        at(w.now_us + m->rest_us, move_on, NULL, number);
        m->rest_us = 0;
        return;
    }
    m->gone += answer;
    if (answer && !move_a_key(p)) finish(p);
    else at(w.now_us + draw_scale(10, in.move[p].pause_us), move_on, NULL, number);
}

static void give_up(void *context, uint64_t number)
{
    int p = under_way(number);
    (void)context;
    if (p < 0) return;
    trace("partition %d stays", p);
    shards_given_up++;
    in.move[p].on = false;
    in.moved_us[p] = w.now_us;
}

static void begin(int p, int64_t pause_us, int64_t rest_most_us, const char *first)
{
    static uint64_t numbers;
    struct move *m = &in.move[p];
    if (m->on) return;
    *m =
        (struct move){.on = true, .first = first, .to = 1 - in.shard_of[p], .pause_us = pause_us, .began_us = w.now_us};
    if (rest_most_us && chance(300000)) m->rest_us = rest_most_us / 4 + (int64_t)draw((uint64_t)rest_most_us * 3 / 4);
    if (m->rest_us) m->rests_after = (unsigned)draw(4);
    m->number = ++numbers * CLUSTER_PARTITIONS + (uint64_t)p;
    trace("partition %d is being moved from r%d", p, owner_of(p));
    shards_moves++;
    at(w.now_us + draw_scale(10, 10 * pause_us), chance(200000) ? give_up : move_on, NULL, m->number);
}

void shards_move(int64_t pause_us, int64_t rest_most_us, const char *first)
{
    begin((int)draw(CLUSTER_PARTITIONS), pause_us, rest_most_us, first);
}

void shards_move_at_once(int partition, const char *first, int64_t rest_us)
{
    if (in.move[partition].on) return;
    begin(partition, MS, 0, first);
    in.move[partition].rest_us = rest_us;
    in.move[partition].rests_after = 1;
}

void shards_note_ok(const char *key, int64_t since_us)
{
    int p = in.there ? shards_partition(key) : -1;
    shards_late_oks += p >= 0 && in.move[p].on && in.move[p].began_us < since_us;
}

void shards_empty(int64_t pause_us, int64_t rest_most_us, const char *first)
{
    int shard = (int)draw(SHARDS);
    trace("a node is being emptied");
    for (int p = 0; p < CLUSTER_PARTITIONS; p++)
        if (in.shard_of[p] == shard) begin(p, pause_us, rest_most_us, first);
}

void shards_settle(void)
{
    for (int p = 0; in.there && p < CLUSTER_PARTITIONS; p++) {
        while (in.move[p].on && move_a_key(p)) {
        }
        if (in.move[p].on) finish(p);
    }
}

void shards_heal(void)
{
    if (!in.there) return;
    shards_settle();
    for (int i = 0; i < server_count(); i++)
        for (int p = 0; p < CLUSTER_PARTITIONS; p++) see(i, p, owner_of(p));
}

void shards_begin(bool there)
{
    memset(&in, 0, sizeof in);
    in.there = there;
    if (!there) return;
    in.full_coverage = chance(500000);
    for (int p = 0; p < CLUSTER_PARTITIONS; p++) {
        char tag[8];
        in.slot[p] = shards_slot((word){tag, (size_t)snprintf(tag, sizeof tag, "{%d}", p)});
        in.shard_of[p] = p % SHARDS;
        in.moved_us[p] = INT64_MIN;
        for (int i = 0; i < server_count(); i++) in.view[i][p] = owner_of(p);
    }
}

/* The link to a node of a Redis Cluster: what differs from a server alone.
 *
 *   channels   are sharded: one SSUBSCRIBE each, since every slot is a command of its own. The instance's own channel is
 *              in the slot of a partition that the node has, and is subscribed to last. If that slot leaves, another one
 *              takes its place; no beat is sent before it is subscribed to. Redis itself ends what is subscribed to in a
 *              slot that leaves
 *   numbers    GET q and GET e of each partition, one behind the other: so each partition has an answer of its own
 *   a sign     is given for everything that may mean that another node has a partition now (lk_link_sign)
 *   pulse      what this instance says about itself, on one channel of the cluster, by the node that has partition 0
 *
 * A partition whose answer says that its slot is elsewhere, or moves, is unsure: the beat gives the others their leases,
 * and this one none (I1: a lease is confirmed only by a node that answered for that very partition in that beat). An
 * answer that is a value or nil is one of the slot's owner: Redis answers nothing else for a key that has gone.
 *
 * While a slot moves, ASK is the answer to GET e in nearly every partition, since most have no cut-off. That alone is no
 * reason to withhold the lease: see is_as_counted.
 *
 * A partition whose channel is not subscribed to is deaf. That is no danger, only slow: each beat compares the numbers,
 * and what was missed is read in the log. */
#include "l2/link_parts.h"

#include "redis/keys.h"

#include <stdio.h>
#include <string.h>

enum { ROOM_LEFT = 512 }; /* on the command connection, for answers to what is not the beat's */

bool lk_link_disagrees(const lk_link *link) { return link->config->cluster && !lk_past_agreed(link->past); }

/* ---------------------------------------------------------------------------------------------------- channels -- */

static bool is_deaf(const lk_link *link, unsigned p) { return link->part[p].deaf; }
static bool is_heard(const lk_link *link, unsigned p) { return !link->part[p].deaf; }

/* Each is answered, in this order. */
static bool subscribe(lk_link *link, const char *channel)
{
    const lk_span words[2] = {lk_word("SSUBSCRIBE"), lk_word(channel)};
    link->subscriptions++;
    return lk_conn_send(&link->conn[LK_LINK_SUBSCRIPTION], 0, words, 2);
}

static bool subscribe_to(lk_link *link, unsigned p)
{
    char name[LK_KEY_SIZE];
    lk_key_partition(name, link->config->prefix, p, "rev");
    return subscribe(link, name);
}

bool lk_link_send_shards(lk_link *link)
{
    bool sent = true;
    link->conn[LK_LINK_SUBSCRIPTION].pushes = true;
    link->subscriptions = 0;
    link->heartbeat[0] = 0;
    link->own_heard = false;
    for (size_t i = 0; sent && i < link->partitions.count; i++) {
        link->part[link->partitions.at[i]].deaf = true;
        sent = subscribe_to(link, link->partitions.at[i]);
    }
    return sent;
}

/* The instance's own channel, in a slot that the node has. False: it knows of none; then the channel stays as it is. */
static bool subscribe_to_own(lk_link *link, int64_t now_ms)
{
    char base[LK_BASE_SIZE];
    lk_partitions heard = lk_link_those(link, is_heard);
    if (!heard.count) return false;
    link->own = heard.at[0];
    link->own_heard = false;
    link->before_own = link->subscriptions;
    lk_key_base(base, link->config->prefix, link->own);
    snprintf(link->heartbeat, sizeof link->heartbeat, "%.40sbeat:%016llx", base,
             (unsigned long long)link->past->instance);
    if (!subscribe(link, link->heartbeat)) lk_link_no_memory(link, now_ms);
    return true;
}

static void need_own(lk_link *link, int64_t now_ms)
{
    if (!subscribe_to_own(link, now_ms))
        lk_link_lost(link, now_ms, LATCHKEY_UNAVAILABLE, "the node has none of the slots that it was thought to have");
}

void lk_link_subscribe_more(lk_link *link, int64_t now_ms)
{
    bool sent = true;
    for (size_t i = 0; sent && i < link->partitions.count; i++) {
        lk_link_part *part = &link->part[link->partitions.at[i]];
        if (part->met) continue;
        part->deaf = true;
        sent = subscribe_to(link, link->partitions.at[i]);
    }
    if (!sent) lk_link_no_memory(link, now_ms);
    else if (!lk_partitions_have(link->partitions, link->own)) need_own(link, now_ms);
}

/* A SSUBSCRIBE was answered. */
static void take_subscription(lk_link *link, bool subscribed, int64_t now_ms)
{
    bool own = link->heartbeat[0] && !link->own_heard && !link->before_own;
    if (link->before_own) link->before_own--;
    if (link->subscriptions) link->subscriptions--;
    if (own && !subscribed) {
        link->part[link->own].deaf = true;
        need_own(link, now_ms);
        return;
    }
    link->own_heard |= own;
    if (!own && link->state == LK_LINK_SUBSCRIBING && !link->subscriptions) need_own(link, now_ms);
    else if (own && link->state == LK_LINK_SUBSCRIBING) lk_link_subscribed(link, now_ms);
    else if (own && link->state == LK_LINK_REASSERTING) lk_link_assert(link, now_ms);
    else if (own) lk_link_beat_now(link, now_ms);
}

/* Unasked: the link never asks for it. What is not its own any more, the map says already. */
static void take_unsubscribed(lk_link *link, const lk_reply *channel, int64_t now_ms)
{
    bool own = lk_reply_is(channel, link->heartbeat);
    int64_t p = own ? (int64_t)link->own : lk_link_partition_of(link, channel);
    if (p < 0 || !lk_partitions_have(link->partitions, (unsigned)p)) return;
    link->part[p].deaf = true;
    lk_link_sign(link, LK_LINK_SLOT_LEFT);
    if (own && link->own_heard) subscribe_to_own(link, now_ms);
}

bool lk_link_take_shard(lk_link *link, const lk_reply *push, int64_t now_ms)
{
    const lk_reply *kind = lk_reply_at(push, 0), *channel = lk_reply_at(push, 1);
    bool elsewhere = lk_error_is_elsewhere(push), added = lk_reply_is(kind, "ssubscribe");
    if (!elsewhere && (!lk_reply_shaped(push, "ssi") || (!added && !lk_reply_is(kind, "sunsubscribe")))) return false;
    int64_t p = added ? lk_link_partition_of(link, channel) : -1;
    if (p >= 0) link->part[p].deaf = false;
    if (elsewhere || added) take_subscription(link, added, now_ms);
    else take_unsubscribed(link, channel, now_ms);
    return true;
}

/* ----------------------------------------------------------------------------------------------------- numbers -- */

static bool ask_number(lk_link *link, unsigned p)
{
    char number[LK_KEY_SIZE], cutoff[LK_KEY_SIZE];
    lk_conn *conn = &link->conn[LK_LINK_COMMANDS];
    lk_key_partition(number, link->config->prefix, p, "q");
    lk_key_partition(cutoff, link->config->prefix, p, "e");
    lk_span first[2] = {lk_word("GET"), lk_word(number)}, second[2] = {lk_word("GET"), lk_word(cutoff)};
    link->beat.answers += 2;
    link->beat.numbers += 2;
    return lk_conn_send(conn, TAG_NUMBER + p, first, 2) && lk_conn_send(conn, TAG_CUTOFF + p, second, 2);
}

/* In this order, so that a cut-off that was counted is read. As many as there is room for; the answers to those make
 * room for the next ones. */
bool lk_link_ask_numbers(lk_link *link)
{
    lk_beat *beat = &link->beat;
    bool sent = true;
    if (!beat->asked) {
        link->doubtful = false;
        lk_partitions deaf = lk_link_those(link, is_deaf);
        for (size_t i = 0; sent && i < deaf.count; i++) sent = subscribe_to(link, deaf.at[i]);
    }
    while (sent && beat->asked < link->partitions.count && lk_conn_room(&link->conn[LK_LINK_COMMANDS]) > ROOM_LEFT) {
        sent = ask_number(link, link->partitions.at[beat->asked++]);
        if (sent && beat->asked == link->partitions.count) return lk_link_send_rest(link);
    }
    return sent;
}

/* WRONGTYPE is what is there, as far as we are concerned: MGET says nil then. */
static bool is_of_another_type(const lk_reply *reply)
{
    return reply->type == LK_REPLY_ERROR && strncmp(reply->text, "WRONGTYPE", 9) == 0;
}

/* The cut-off is not here (ASK): there is none, or it has moved already. The number is here, as the beat has read it just
 * before; so this node has the slot, and no script has run in it elsewhere. Every write of a cut-off is counted, in the same
 * script. So if the cut-off is known as of that number, it has not changed. */
static bool is_as_counted(const lk_link_part *part, const lk_reply *reply)
{
    return lk_error_is_ask(reply) && part->sequence.counted < part->cutoff_below;
}

void lk_link_take_beat_part(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    lk_beat *beat = &link->beat;
    bool cutoff = reply->tag >= TAG_CUTOFF, stranger = is_of_another_type(reply);
    unsigned p = reply->tag - (cutoff ? TAG_CUTOFF : TAG_NUMBER);
    if (!beat->out) return; /* the beat was given up for an assertion, which is answered behind this */
    if (lk_error_is_elsewhere(reply)) link->part[p].unsure |= !cutoff || !is_as_counted(&link->part[p], reply);
    else if (reply->type == LK_REPLY_ERROR && !stranger) {
        lk_link_refused(link, reply, now_ms, "");
        return;
    } else if (cutoff) lk_link_take_cutoff(link, p, reply, stranger);
    else beat->backwards |= !lk_link_take_number(link, p, reply);
    if (!lk_link_ask_numbers(link)) {
        lk_link_no_memory(link, now_ms);
        return;
    }
    bool all = !--beat->numbers && beat->asked == link->partitions.count;
    if (!all || lk_link_took_state(link, !beat->backwards, now_ms)) lk_link_answered(link, now_ms);
}

/* ------------------------------------------------------------------------------------------------------- pulse -- */

/* There is no pattern for sharded channels, so all instances use one. */
bool lk_link_send_pulse(lk_link *link, const char *stats, size_t size)
{
    char channel[LK_BASE_SIZE + 8], text[24 + LK_BEAT_STATS_SIZE];
    if (!lk_partitions_have(link->partitions, 0)) return true;
    lk_key_base(channel, link->config->prefix, 0);
    strcat(channel, "pulse");
    int length =
        snprintf(text, sizeof text, "%016llx %.*s", (unsigned long long)link->past->instance, (int)size, stats);
    lk_span words[3] = {lk_word("SPUBLISH"), lk_word(channel), {text, (size_t)length}};
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_INDEXED, words, 3);
}

/* The link on its way up: from two open sockets to a server that may be used.
 *
 *   HANDSHAKE     which server is this? Both connections must have reached the same incarnation
 *   SETUP         the number of partitions, recorded by the first instance, must be ours; wrong settings are logged. In a
 *                 cluster no node gives a lease before one has told it, or all have said that there is none yet
 *   SUBSCRIBING   one channel for each partition of the link, and the instance's own for the nonce of its beats
 *   REASSERTING   a server that was not met before is told of the recent revocations and the cut-offs that it lacks
 *                 (link_tell.c)
 *   UP            the first beat is due at once
 *
 * Invariant: no beat is sent before every assertion was answered. An error ends the connection: a server that cannot be
 * told is not used. (In a cluster, if the error says that a slot moves, that partition alone is not.) */
#include "l2/link_parts.h"

#include "redis/keys.h"
#include "redis/script.h"
#include "redis/server_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void lk_link_connected(lk_link *link, int64_t now_ms)
{
    lk_link_enter(link, LK_LINK_HANDSHAKE, now_ms);
    link->handshakes = LK_LINK_CONNECTIONS;
    bool sent = true;
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++)
        sent = sent && lk_conn_open(&link->conn[i]) &&
               lk_handshake_send(&link->handshake[i], link->config, &link->conn[i]);
    if (!sent) lk_link_no_memory(link, now_ms);
}

/* Where the number of partitions is. In a cluster every partition has it, so that each node can tell, and one that lost its
 * keys is contradicted by the others. */
static void key_of_number(const lk_link *link, char key[LK_KEY_SIZE])
{
    bool first = !link->config->cluster || lk_partitions_have(link->partitions, 0);
    lk_key_partition(key, link->config->prefix, first ? 0 : link->partitions.at[0], "m");
}

static bool send_record(lk_link *link, uint32_t tag, const char *key)
{
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)link->config->partitions);
    const lk_span record[4] = {lk_word("HSETNX"), lk_word(key), lk_word("partitions"), lk_word(number)};
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], tag, record, 4);
}

static bool send_number(lk_link *link, bool records)
{
    char key[LK_KEY_SIZE];
    key_of_number(link, key);
    const lk_span read[3] = {lk_word("HGET"), lk_word(key), lk_word("partitions")};
    return (!records || send_record(link, TAG_RECORD_PARTITIONS, key)) &&
           lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_READ_PARTITIONS, read, 3);
}

/* The number of partitions is part of every key's name: the first instance records it, and it must be equal in all. In a
 * cluster it is recorded once all nodes have been asked in vain (lk_link_may_record). */
static void send_setup(lk_link *link, int64_t now_ms)
{
    lk_link_enter(link, LK_LINK_SETUP, now_ms);
    link->records = false;
    link->recorded = 0;
    if (!send_number(link, !link->config->cluster)) lk_link_no_memory(link, now_ms);
}

/* Another instance may record another number at the same time: so partition 0 decides, and only then the others get it. */
void lk_link_may_record(lk_link *link, int64_t now_ms)
{
    if (link->records || !lk_partitions_have(link->partitions, 0)) return;
    for (unsigned p = 0; p < (unsigned)link->config->partitions; p++)
        if (!atomic_load_explicit(&link->past->of[p].blank, memory_order_relaxed)) return;
    link->records = true;
    if (!send_number(link, true)) lk_link_no_memory(link, now_ms);
}

/* The counter of a partition in which nothing was ended yet: so that the node has an answer of its own for it while the
 * slot moves (link_cluster.c). */
static bool send_counter(lk_link *link, unsigned p)
{
    char key[LK_KEY_SIZE];
    lk_key_partition(key, link->config->prefix, p, "q");
    const lk_span start[4] = {lk_word("SET"), lk_word(key), lk_word("0"), lk_word("NX")};
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_INDEXED, start, 4);
}

/* Not more at a time than there is room for beside the rest. */
void lk_link_record(lk_link *link, int64_t now_ms)
{
    bool sent = true;
    while (sent && link->recorded < link->partitions.count &&
           lk_conn_room(&link->conn[LK_LINK_COMMANDS]) > LK_CONN_WAITING_MAX / 2) {
        unsigned p = link->partitions.at[link->recorded++];
        char key[LK_KEY_SIZE];
        lk_key_partition(key, link->config->prefix, p, "m");
        sent = send_record(link, TAG_INDEXED, key) && send_counter(link, p);
    }
    /* What comes later comes with its record. */
    if (link->recorded >= link->partitions.count) link->recorded = SIZE_MAX;
    if (!sent) lk_link_no_memory(link, now_ms);
}

void lk_link_record_again(lk_link *link, int64_t now_ms)
{
    link->recorded = 0;
    if (!lk_link_disagrees(link) && !send_number(link, true)) lk_link_no_memory(link, now_ms);
}

/* Asked of a server that was not met before, once it has answered a read: while Redis is loading, INFO shows no
 * append-only file. The answer comes before the first beat's. */
static bool ask_settings(lk_link *link)
{
    lk_span info[2] = {lk_word("INFO"), lk_word("default")};
    return link->settings_of == link->handshake[0].incarnation ||
           lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_SETTINGS, info, 2);
}

/* Findings are logged, and do not keep the server from being used: see server_check.h. */
static void take_settings(lk_link *link, const lk_reply *reply)
{
    lk_server_check settings = {.info = reply->type == LK_REPLY_STRING ? reply->text : "",
                                .durability = link->config->durability,
                                .staleness_ms = link->config->staleness_ms,
                                .sentinels = link->config->sentinels || link->config->cluster,
                                .where = link->link_log.where};
    lk_server_check_say(&settings, &link->settings_said);
    link->settings_of = link->handshake[0].incarnation;
}

/* In a cluster: the address leads to another node than the one that has the slots. It may be of another cluster. */
static bool is_another_node(const lk_link *link)
{
    return link->expected.text[0] && !lk_node_id_same(&link->expected, &link->handshake[LK_LINK_COMMANDS].node);
}

void lk_link_take_handshake(lk_link *link, int which, const lk_reply *reply, int64_t now_ms)
{
    lk_handshake *handshake = &link->handshake[which];
    if (!lk_handshake_take(handshake, reply)) return;
    if (handshake->status) {
        lk_link_sign(link, handshake->error); /* a replica knows its primary */
        lk_link_lost(link, now_ms, handshake->status, handshake->error);
        return;
    }
    if (--link->handshakes) return;
    if (link->handshake[0].incarnation != link->handshake[1].incarnation)
        lk_link_lost(link, now_ms, LATCHKEY_UNAVAILABLE, "two connections reached two servers: trying again");
    else if (is_another_node(link))
        lk_link_lost(link, now_ms, LATCHKEY_UNAVAILABLE,
                     "another node of a cluster is at this address: asking the others who has its slots");
    else send_setup(link, now_ms);
}

static bool send_channels(lk_link *link)
{
    size_t channels = link->partitions.count + 1, i;
    lk_span *words = calloc(channels + 1, sizeof *words);
    char(*names)[LK_KEY_SIZE] = calloc(channels, sizeof *names);
    bool sent = words && names;
    if (sent) {
        words[0] = lk_word("SUBSCRIBE");
        for (i = 0; i + 1 < channels; i++) {
            lk_key_partition(names[i], link->config->prefix, link->partitions.at[i], "rev");
            words[1 + i] = lk_word(names[i]);
        }
        words[channels] = lk_word(link->heartbeat);
        link->conn[LK_LINK_SUBSCRIPTION].pushes = true;
        sent = lk_conn_send(&link->conn[LK_LINK_SUBSCRIPTION], 0, words, channels + 1);
    }
    free(words);
    free(names);
    link->subscriptions = (unsigned)channels;
    return sent;
}

static void send_subscribe(lk_link *link, int64_t now_ms)
{
    bool sent = link->config->cluster ? lk_link_send_shards(link) : send_channels(link);
    lk_link_enter(link, LK_LINK_SUBSCRIBING, now_ms);
    if (!sent) lk_link_no_memory(link, now_ms);
}

/* An error here matters only if the number turns out not to be there: at maxmemory it can still be read. */
static void take_recorded(lk_link *link, const lk_reply *reply)
{
    link->setup_status = LATCHKEY_UNAVAILABLE;
    snprintf(link->setup_error, sizeof link->setup_error, "the number of partitions could not be recorded in Redis");
    if (reply->type == LK_REPLY_ERROR)
        link->setup_status = lk_error_status(reply, link->setup_error, sizeof link->setup_error);
}

/* The number is ours, or another node tells it. */
static void go_on(lk_link *link, int64_t now_ms)
{
    if (link->state == LK_LINK_UP) lk_link_complete_beat(link, now_ms);
    if (link->state != LK_LINK_SETUP) return;
    if (ask_settings(link)) send_subscribe(link, now_ms);
    else lk_link_no_memory(link, now_ms);
}

static void set_blank(lk_link *link, bool blank)
{
    for (size_t i = 0; i < link->partitions.count; i++)
        atomic_store_explicit(&link->past->of[link->partitions.at[i]].blank, blank, memory_order_relaxed);
}

/* There is no number: none was recorded yet, or the node has lost its keys. */
static void take_blank(lk_link *link, int64_t now_ms)
{
    bool asked = link->config->cluster && link->state == LK_LINK_SETUP;
    if (!asked) {
        lk_link_lost(link, now_ms, link->setup_status, link->setup_error);
        return;
    }
    set_blank(link, true);
    go_on(link, now_ms);
}

static void take_partition_count(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    char text[160];
    if (lk_reply_is(reply, LK_PARTITIONS_MOVING)) {
        lk_link_lost(link, now_ms, LATCHKEY_UNAVAILABLE,
                     "sessions are being moved to this server: it is open when latchkey move has ended");
    } else if (!strncmp(reply->text, LK_PARTITIONS_MOVED, strlen(LK_PARTITIONS_MOVED))) {
        lk_link_lost(link, now_ms, LATCHKEY_CONFIG,
                     "the sessions have moved to another server (latchkey move): give this instance its URL");
    } else if (!reply->size || strspn(reply->text, "0123456789") != reply->size) {
        lk_link_lost(link, now_ms, LATCHKEY_CONFIG,
                     "the number of partitions in Redis is not a number: something else writes under our prefix");
    } else if (atoll(reply->text) != link->config->partitions) {
        snprintf(text, sizeof text, "partitions=%lld, but Redis holds sessions in %.20s partitions: use that number",
                 (long long)link->config->partitions, reply->text);
        lk_link_lost(link, now_ms, LATCHKEY_CONFIG, text);
    } else {
        atomic_store_explicit(&link->past->agreed, true, memory_order_relaxed);
        go_on(link, now_ms);
    }
}

static void take_partitions(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    char text[160];
    set_blank(link, false);
    /* The slot of that key may be moving. That is nothing to the other partitions, once the number is known. */
    if (link->config->cluster && lk_error_is_elsewhere(reply) && lk_past_agreed(link->past)) go_on(link, now_ms);
    else if (reply->type == LK_REPLY_ERROR) {
        int status = lk_error_status(reply, text, sizeof text);
        lk_link_lost(link, now_ms, status == LATCHKEY_CORRUPT ? LATCHKEY_CONFIG : status, text);
    } else if (reply->type != LK_REPLY_STRING) take_blank(link, now_ms);
    else take_partition_count(link, reply, now_ms);
}

bool lk_link_take_setup(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    switch (reply->tag) {
    case TAG_RECORD_PARTITIONS: take_recorded(link, reply); return true;
    case TAG_READ_PARTITIONS: take_partitions(link, reply, now_ms); return true;
    case TAG_SETTINGS: take_settings(link, reply); return true;
    default: return false;
    }
}

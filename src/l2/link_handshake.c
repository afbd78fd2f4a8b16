/* The link on its way up: from two open sockets to a server that may be used.
 *
 *   HANDSHAKE     which server is this? Both connections must have reached the same incarnation
 *   SETUP         the number of partitions, recorded by the first instance, must be ours; wrong settings are logged
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

/* In a cluster one node has that key; of the others only something of their own is read. */
static bool has_record(const lk_link *link)
{
    return !link->config->cluster || lk_partitions_have(link->partitions, 0);
}

/* The number of partitions is part of every key's name: the first instance records it, and it must be equal in all. */
static void send_setup(lk_link *link, int64_t now_ms)
{
    char key[LK_KEY_SIZE], number[24];
    bool records = has_record(link);
    lk_key_partition(key, link->config->prefix, records ? 0 : link->partitions.at[0], "m");
    snprintf(number, sizeof number, "%lld", (long long)link->config->partitions);
    lk_span record[4] = {lk_word("HSETNX"), lk_word(key), lk_word("partitions"), lk_word(number)};
    lk_span read[3] = {lk_word("HGET"), lk_word(key), lk_word("partitions")};
    lk_conn *conn = &link->conn[LK_LINK_COMMANDS];
    lk_link_enter(link, LK_LINK_SETUP, now_ms);
    if ((records && !lk_conn_send(conn, TAG_RECORD_PARTITIONS, record, 4)) ||
        !lk_conn_send(conn, TAG_READ_PARTITIONS, read, 3))
        lk_link_no_memory(link, now_ms);
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

/* In a cluster the slot of that key may be moving. That is nothing to the other partitions, once the number is known. */
static bool is_known_anyway(const lk_link *link, const lk_reply *reply)
{
    bool elsewhere = link->config->cluster && lk_error_is_elsewhere(reply);
    return (elsewhere && lk_past_agreed(link->past)) ||
           (!has_record(link) && (elsewhere || reply->type != LK_REPLY_ERROR));
}

static void take_partitions(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    char text[160];
    bool known = is_known_anyway(link, reply);
    if (known) {
        if (ask_settings(link)) send_subscribe(link, now_ms);
        else lk_link_no_memory(link, now_ms);
    } else if (reply->type == LK_REPLY_ERROR) {
        int status = lk_error_status(reply, text, sizeof text);
        lk_link_lost(link, now_ms, status == LATCHKEY_CORRUPT ? LATCHKEY_CONFIG : status, text);
    } else if (reply->type != LK_REPLY_STRING) {
        lk_link_lost(link, now_ms, link->setup_status, link->setup_error);
    } else if (lk_reply_is(reply, LK_PARTITIONS_MOVING)) {
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
    } else if (ask_settings(link)) {
        atomic_store_explicit(&link->past->agreed, true, memory_order_relaxed);
        send_subscribe(link, now_ms);
    } else lk_link_no_memory(link, now_ms);
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

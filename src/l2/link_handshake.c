/* The link on its way up: from two open sockets to a server that may be used.
 *
 *   HANDSHAKE     which server is this? Both connections must have reached the same incarnation
 *   SETUP         the number of partitions, recorded by the first instance, must be ours; wrong settings are logged
 *   SUBSCRIBING   one channel for each partition of the link, and the instance's own for the nonce of its beats
 *   REASSERTING   a server that was not met before is told of the recent revocations and the cut-offs that it lacks
 *   UP            the first beat is due at once
 *
 * Invariant: no beat is sent before every assertion was answered. An error ends the connection: a server that cannot be
 * told is not used. */
#include "l2/link_parts.h"

#include "redis/keys.h"
#include "redis/script.h"
#include "redis/server_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASSERTED_BY_ONE = 64, ASSERTIONS_AT_ONCE = 32, ASSERTION_SIZE = 48 };

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

/* The number of partitions is part of every key's name: the first instance records it, and it must be equal in all. */
static void send_setup(lk_link *link, int64_t now_ms)
{
    char key[LK_KEY_SIZE], number[24];
    lk_key_partition(key, link->config->prefix, 0, "m");
    snprintf(number, sizeof number, "%lld", (long long)link->config->partitions);
    lk_span record[4] = {lk_word("HSETNX"), lk_word(key), lk_word("partitions"), lk_word(number)};
    lk_span read[3] = {lk_word("HGET"), lk_word(key), lk_word("partitions")};
    lk_conn *conn = &link->conn[LK_LINK_COMMANDS];
    lk_link_enter(link, LK_LINK_SETUP, now_ms);
    if (!lk_conn_send(conn, TAG_RECORD_PARTITIONS, record, 4) || !lk_conn_send(conn, TAG_READ_PARTITIONS, read, 3))
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
                                .sentinels = link->config->sentinels != 0};
    lk_server_check_say(&settings, &link->settings_said);
    link->settings_of = link->handshake[0].incarnation;
}

void lk_link_take_handshake(lk_link *link, int which, const lk_reply *reply, int64_t now_ms)
{
    lk_handshake *handshake = &link->handshake[which];
    if (!lk_handshake_take(handshake, reply)) return;
    if (handshake->status) {
        lk_link_lost(link, now_ms, handshake->status, handshake->error);
        return;
    }
    if (--link->handshakes) return;
    if (link->handshake[0].incarnation != link->handshake[1].incarnation)
        lk_link_lost(link, now_ms, LATCHKEY_UNAVAILABLE, "two connections reached two servers: trying again");
    else send_setup(link, now_ms);
}

static void send_subscribe(lk_link *link, int64_t now_ms)
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

static void take_partitions(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    char text[160];
    if (reply->type == LK_REPLY_ERROR) {
        int status = lk_error_status(reply, text, sizeof text);
        lk_link_lost(link, now_ms, status == LATCHKEY_CORRUPT ? LATCHKEY_CONFIG : status, text);
    } else if (reply->type != LK_REPLY_STRING) {
        lk_link_lost(link, now_ms, link->setup_status, link->setup_error);
    } else if (!reply->size || strspn(reply->text, "0123456789") != reply->size) {
        lk_link_lost(link, now_ms, LATCHKEY_CONFIG,
                     "the number of partitions in Redis is not a number: something else writes under our prefix");
    } else if (atoll(reply->text) != link->config->partitions) {
        snprintf(text, sizeof text, "partitions=%lld, but Redis holds sessions in %.20s partitions: use that number",
                 (long long)link->config->partitions, reply->text);
        lk_link_lost(link, now_ms, LATCHKEY_CONFIG, text);
    } else if (ask_settings(link)) send_subscribe(link, now_ms);
    else lk_link_no_memory(link, now_ms);
}

/* As reassert.lua reads it: the selector, or "*" and a cut-off; behind a change, its number. */
static size_t write_assertion(const lk_recent_item *item, char text[ASSERTION_SIZE])
{
    int size = snprintf(text, ASSERTION_SIZE, "%.*s", LATCHKEY_SELECTOR_LENGTH, item->selector);
    if (item->change) size += snprintf(text + size, ASSERTION_SIZE - (size_t)size, ":%" PRIu64, item->change);
    return (size_t)size;
}

/* One call, for some items of one partition, and the number that was known there. The first call sends the script's text; the others find it there. */
static bool send_assertion(lk_link *link)
{
    const lk_recent_item *first = &link->assertion[link->asserted];
    lk_script_names names;
    char text[ASSERTED_BY_ONE + 1][ASSERTION_SIZE];
    lk_span words[LK_SCRIPT_HEAD + ASSERTED_BY_ONE + 1];
    size_t count = 0, head = LK_SCRIPT_HEAD - 1; /* it takes only selectors */
    lk_script_words(&names, words, LK_SCRIPT_REASSERT, link->config, first->partition, first->selector, false);
    if (!link->asserted) lk_script_by_text(words, LK_SCRIPT_REASSERT);
    for (; count < ASSERTED_BY_ONE && link->asserted < link->assertions; count++, link->asserted++) {
        const lk_recent_item *item = &link->assertion[link->asserted];
        if (item->partition != first->partition) break;
        words[head + count] = (lk_span){text[count], write_assertion(item, text[count])};
    }
    uint64_t most = link->most[first->partition];
    int size = snprintf(text[count], ASSERTION_SIZE, "#%" PRIu64, most);
    if (most) words[head + count] = (lk_span){text[count], (size_t)size};
    count += most != 0;
    lk_count(link->counters, LK_L2_WRITES, 1);
    link->assertions_out++;
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_REASSERTED, words, head + count);
}

void lk_link_assert(lk_link *link, int64_t now_ms)
{
    bool sent = true;
    while (sent && link->asserted < link->assertions && link->assertions_out < ASSERTIONS_AT_ONCE)
        sent = send_assertion(link);
    if (!sent) {
        lk_link_no_memory(link, now_ms);
    } else if (!link->assertions_out) {
        lk_recent_told(link->recent, link->partitions, link->listed_ms);
        link->next_beat_ms = lk_later(now_ms, link->beat.sent_ms + LK_LINK_BEAT_APART_MS);
        lk_link_enter(link, LK_LINK_UP, now_ms);
    }
}

/* Nothing is served before all of them were done: after an error it does not go on without them. */
static void take_assertion(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    if (reply->type != LK_REPLY_INTEGER) {
        lk_link_refused(link, reply, now_ms,
                        "Redis gave an unexpected answer when recent revocations were re-asserted");
        return;
    }
    link->assertions_out--;
    lk_link_assert(link, now_ms);
}

void lk_link_note_most(lk_link *link, unsigned p)
{
    uint64_t top = lk_sequence_top(&link->sequence[p]);
    if (top > link->most[p]) link->most[p] = top;
}

/* The server's past is another one. The host is told first. Reason: a revocation that the server before answered, and
 * that is added to the recent ones from now on, may come too late for the list below. Its caller then makes it again. */
static void meet(lk_link *link, bool unheard)
{
    for (size_t i = 0; i < link->partitions.count; i++) lk_link_note_most(link, link->partitions.at[i]);
    link->met = link->handshake[0].incarnation;
    link->baseline = true;
    link->unheard = unheard;
    link->meetings++;
    link->host.met(link->host.context, link->met, link->partitions);
}

/* What has to be made again: what was new when a server was last confirmed. */
static void list_assertions(lk_link *link, int64_t now_ms)
{
    int64_t then_ms = link->confirmed_ms ? link->confirmed_ms : now_ms;
    link->asserted = 0;
    link->heard = false;
    link->listed_ms = now_ms;
    link->assertions = lk_recent_list(link->recent, link->partitions, then_ms, link->assertion);
}

static void tell_recent(lk_link *link, int64_t now_ms)
{
    list_assertions(link, now_ms);
    /* The answers to the beat that is out are from before this, too. They come before the answer to an assertion: so
     * there is at least one assertion, which may name no session. */
    if (!link->assertions) {
        link->assertion[0] = (lk_recent_item){.partition = link->partitions.at[0]};
        memcpy(link->assertion[0].selector, LK_NOBODY, LATCHKEY_SELECTOR_LENGTH);
        link->assertions = 1;
    }
    link->beat.out = false;
    lk_link_enter(link, LK_LINK_REASSERTING, now_ms);
    lk_link_assert(link, now_ms);
}

void lk_link_tell(lk_link *link, size_t count, int64_t listed_ms, int64_t now_ms)
{
    link->beat.out = false;
    link->assertions = count;
    link->asserted = link->assertions_out = 0;
    link->listed_ms = listed_ms;
    lk_link_enter(link, LK_LINK_REASSERTING, now_ms);
    lk_link_assert(link, now_ms);
}

bool lk_link_tell_unheard(lk_link *link, int64_t now_ms)
{
    int64_t before_ms = link->beat.sent_ms;
    size_t count = lk_recent_unheard(link->recent, link->partitions, before_ms, link->assertion);
    if (count) lk_link_tell(link, count, before_ms, now_ms);
    return count;
}

void lk_link_forgot(lk_link *link, int64_t now_ms, bool heard_all)
{
    if (link->baseline) return; /* it is being met already */
    link->host.trouble(link->host.context, LATCHKEY_UNAVAILABLE,
                       "Redis counts its revocations anew: its data set was lost or replaced");
    meet(link, !heard_all);
    lk_link_empty(link);
    for (size_t i = 0; i < link->partitions.count; i++) {
        lk_sequence *s = &link->sequence[link->partitions.at[i]];
        /* The answer to a replay that is under way is from before this. */
        *s = (lk_sequence){.replay = s->replay == LK_REPLAY_NONE ? LK_REPLAY_NONE : LK_REPLAY_VOID};
    }
    tell_recent(link, now_ms);
}

bool lk_link_tell_heard(lk_link *link, int64_t now_ms)
{
    bool more = link->unheard && link->heard;
    link->unheard = false;
    if (more) list_assertions(link, now_ms);
    if (!more || !link->assertions) return false;
    tell_recent(link, now_ms);
    return true;
}

/* From here on every revocation arrives. The first beat finds what was missed before. */
void lk_link_subscribed(lk_link *link, int64_t now_ms)
{
    if (link->was_up) lk_count(link->counters, LK_RECONNECTS, 1);
    link->was_up = true;
    bool first = !link->met;
    if (link->met != link->handshake[0].incarnation) {
        meet(link, false);
        if (!first) lk_link_empty_for_another(link);
        if (!first && link->config->sentinels) link->serve_ms = now_ms + lk_link_told_ms(link->config);
    }
    link->replays = 0;
    for (size_t i = 0; i < link->partitions.count; i++) {
        lk_sequence *s = &link->sequence[link->partitions.at[i]];
        if (link->baseline) *s = (lk_sequence){0};
        lk_sequence_resubscribe(s);
    }
    link->scripts_alone = false;
    memset(link->prolonged_ms, 0, sizeof link->prolonged_ms);
    link->server_ahead_us = 0; /* it may be another server */
    link->asserted = link->assertions = link->assertions_out = 0;
    link->listed_ms = 0;
    /* Until its first beat came back, a server may still have to be told: the connection broke in the middle of that. */
    if (link->baseline) list_assertions(link, now_ms);
    lk_link_enter(link, LK_LINK_REASSERTING, now_ms);
    lk_link_assert(link, now_ms);
}

bool lk_link_take_setup(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    switch (reply->tag) {
    case TAG_RECORD_PARTITIONS: take_recorded(link, reply); return true;
    case TAG_READ_PARTITIONS: take_partitions(link, reply, now_ms); return true;
    case TAG_SETTINGS: take_settings(link, reply); return true;
    case TAG_REASSERTED: take_assertion(link, reply, now_ms); return true;
    default: return false;
    }
}

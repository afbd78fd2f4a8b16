/* See link.h. Hands the bytes that came to the part that they belong to; a tick does what is due. Owned by one thread
 * (the node's, or a simulation's); it takes no lock. */
#include "l2/link_parts.h"

#include "base/backoff.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HANDSHAKE_MIN_MS = 500, LOOK_MIN_MS = 200, LOOK_MAX_MS = 5000, LOOKS_FORGOTTEN_MS = 30000 };

static void take_message(lk_link *link, const lk_reply *channel, const lk_reply *payload, int64_t now_us)
{
    if (strcmp(channel->text, link->heartbeat) == 0) {
        uint64_t nonce = strtoull(payload->text, NULL, 16);
        if (!link->beat.out || nonce != link->beat.nonce) return; /* it belongs to an older beat */
        link->beat.received = true;
        lk_link_complete_beat(link, now_us / 1000);
        return;
    }
    int64_t p = lk_link_partition_of(link, channel);
    if (p >= 0) lk_link_take_revocation(link, p, payload->text, now_us);
}

static void take_push(lk_link *link, const lk_reply *reply, int64_t now_ms, int64_t now_us)
{
    bool sharded = link->config->cluster;
    if (sharded && lk_link_take_shard(link, reply, now_ms)) return;
    if (reply->type == LK_REPLY_ERROR) {
        lk_link_refused(link, reply, now_ms, "");
        return;
    }
    const lk_reply *kind = lk_reply_at(reply, 0), *channel = lk_reply_at(reply, 1);
    if (lk_reply_shaped(reply, "ssi") && lk_reply_is(kind, "subscribe") && link->state == LK_LINK_SUBSCRIBING) {
        if (link->subscriptions && !--link->subscriptions) lk_link_subscribed(link, now_ms);
    } else if (lk_reply_shaped(reply, "sss") && lk_reply_is(kind, sharded ? "smessage" : "message")) {
        /* A message of a channel that is confirmed may come before the last confirmation: the first beat finds it. */
        if (link->state >= LK_LINK_REASSERTING) take_message(link, channel, lk_reply_at(reply, 2), now_us);
    } else
        lk_link_lost(link, now_ms, LATCHKEY_UNAVAILABLE,
                     "the subscription was ended, or sent an answer that was not asked for");
}

static void take_reply_of(lk_link *link, int which, const lk_reply *reply, int64_t now_ms, int64_t now_us)
{
    uint32_t tag = reply->tag;
    if (tag >= LK_HANDSHAKE_TAG) lk_link_take_handshake(link, which, reply, now_ms);
    else if (which == LK_LINK_SUBSCRIPTION) take_push(link, reply, now_ms, now_us);
    else if (tag >= TAG_NUMBER) lk_link_take_beat_part(link, reply, now_ms);
    else if (tag >= TAG_ASSERTED) lk_link_take_assertion(link, tag - TAG_ASSERTED, reply, now_ms);
    else if (tag >= TAG_LOG) lk_link_take_log(link, tag - TAG_LOG, reply, now_ms);
    else if (tag >= TAG_JOB) lk_link_take_job(link, tag - TAG_JOB, reply, now_ms);
    else if (tag != TAG_INDEXED && !lk_link_take_beat(link, reply, now_us)) lk_link_take_setup(link, reply, now_ms);
}

void lk_link_fed(lk_link *link, int which, int64_t now_us)
{
    int64_t now_ms = now_us / 1000;
    lk_reply *reply;
    int got = 0;
    while (link->state > LK_LINK_CONNECTING && (got = lk_conn_next(&link->conn[which], &reply)) > 0) {
        if (reply->type == LK_REPLY_ERROR && link->config->cluster && lk_error_is_elsewhere(reply))
            lk_link_sign(link, reply->text);
        if (lk_link_keep(link, which, reply)) continue;
        take_reply_of(link, which, reply, now_ms, now_us);
        lk_reply_free(reply);
    }
    lk_link_end_everyone(link);
    if (got >= 0 || link->state <= LK_LINK_CONNECTING) return;
    char text[160];
    const char *why = lk_resp_error(link->conn[which].resp);
    snprintf(text, sizeof text, "the server is not usable: %s",
             *why ? why : "it sends answers that were not asked for");
    /* A peer that never spoke RESP is not Redis; one that stops to is broken. */
    bool foreign = link->state == LK_LINK_HANDSHAKE && !lk_resp_no_memory(link->conn[which].resp);
    lk_link_lost(link, now_ms, foreign ? LATCHKEY_CONFIG : LATCHKEY_UNAVAILABLE, text);
}

static int64_t handshake_end(const lk_link *link)
{
    return link->since_ms + lk_later(link->config->deadline_ms, HANDSHAKE_MIN_MS);
}

void lk_link_suspect(lk_link *link, uint64_t incarnation) { link->suspect = incarnation; }

static bool suspicious(const lk_link *link)
{
    return link->suspect && link->suspect != link->handshake[LK_LINK_COMMANDS].incarnation;
}

void lk_link_look(lk_link *link, int64_t now_ms, const char *why)
{
    if (now_ms - link->looked_ms > LOOKS_FORGOTTEN_MS) link->looks = 0;
    link->looked_ms = now_ms;
    link->look_at_ms = now_ms + lk_backoff_ms(link->looks++, LOOK_MIN_MS, LOOK_MAX_MS, lk_link_random(link));
    link->suspect = 0;
    lk_link_lost(link, now_ms, LATCHKEY_UNAVAILABLE, why);
}

void lk_link_moved(lk_link *link, int64_t now_ms, const char *text)
{
    bool lost = link->state != LK_LINK_DOWN && !link->config->cluster;
    lk_link_let_go(link, now_ms, LATCHKEY_UNAVAILABLE, text);
    if (lost) lk_link_log_lost(&link->link_log, now_ms, LATCHKEY_UNAVAILABLE, text);
    else if (link->config->cluster) lk_link_log_moved(&link->link_log);
    link->failures = 0;
    link->suspect = 0;
    link->retry_at_ms = now_ms;
}

bool lk_link_rests(const lk_link *link)
{
    return link->state != LK_LINK_REASSERTING && (link->state != LK_LINK_UP || !link->beat.out);
}

/* The number of partitions is asked for only on the way up. */
bool lk_link_change(lk_link *link, lk_partitions kept, lk_partitions all, int64_t now_ms)
{
    if (link->state != LK_LINK_UP || !kept.count || lk_link_disagrees(link))
        lk_link_moved(link, now_ms, "the server has other partitions now: connecting again");
    lk_link_serve(link, kept); /* what was another node's for a while is met anew */
    lk_link_serve(link, all);
    if (link->state == LK_LINK_UP) lk_link_meet_more(link, now_ms);
    return link->state != LK_LINK_DOWN;
}

void lk_link_vouched(lk_link *link, int64_t now_ms)
{
    if (link->state == LK_LINK_UP) lk_link_complete_beat(link, now_ms);
}

/* Other nodes of the cluster are asked for the number of partitions. It does not take long. */
static void await_agreement(lk_link *link, int64_t now_ms)
{
    enum { AGREE_MS = 10 };
    if (lk_link_disagrees(link)) {
        link->agree_at_ms = now_ms + AGREE_MS;
        lk_link_may_record(link, now_ms);
    } else if (link->agree_at_ms) {
        link->agree_at_ms = 0;
        lk_link_complete_beat(link, now_ms);
    }
}

void lk_link_tick(lk_link *link, int64_t now_us)
{
    int64_t now_ms = now_us / 1000;
    if (link->state == LK_LINK_DOWN && now_ms >= link->retry_at_ms && link->partitions.count)
        lk_link_enter(link, LK_LINK_CONNECTING, now_ms);
    else if (link->state > LK_LINK_CONNECTING && link->state < LK_LINK_UP && now_ms >= handshake_end(link))
        lk_link_lost(link, now_ms, LATCHKEY_UNAVAILABLE, "Redis accepts the connection but does not answer");
    if (link->state != LK_LINK_UP) return;
    await_agreement(link, now_ms);
    if (link->state != LK_LINK_UP) return;
    if (suspicious(link) && now_ms >= link->look_at_ms) {
        lk_link_look(link, now_ms,
                     "another server answers at the same address: connecting again, to see which one it is now");
        return;
    }
    if (link->beat.out && now_ms >= lk_link_beat_end(link) && !lk_link_await_vouch(link, now_ms)) {
        lk_link_lost(link, now_ms, LATCHKEY_UNAVAILABLE, "a beat did not come back through the subscription in time");
        return;
    }
    if (!link->beat.out && now_ms >= link->next_beat_ms) {
        /* A nonce that is published before the subscription does not come back. */
        if (link->own_heard) lk_link_send_beat(link, now_ms, now_us);
        else lk_link_enter(link, LK_LINK_REASSERTING, now_ms);
    }
    if (link->config->audit_per_s) lk_consistency_recheck(&link->consistency, now_ms, link->l1.still, link->l1.context);
    if (link->state == LK_LINK_UP) lk_link_start_jobs(link, now_ms, now_us);
    lk_consistency_rest(&link->consistency, now_us);
}

int64_t lk_link_wake_ms(const lk_link *link)
{
    if (!link->partitions.count) return INT64_MAX; /* it has nothing to do */
    if (link->state == LK_LINK_DOWN) return link->retry_at_ms;
    if (link->state == LK_LINK_CONNECTING) return link->since_ms;
    if (link->state != LK_LINK_UP) return handshake_end(link);
    int64_t beat_ms = link->beat.out ? lk_link_beat_end(link) : link->next_beat_ms;
    int64_t look_ms = suspicious(link) ? link->look_at_ms : INT64_MAX;
    if (link->agree_at_ms) look_ms = lk_earlier(look_ms, link->agree_at_ms);
    return lk_earlier(lk_earlier(beat_ms, look_ms), lk_consistency_wake_ms(&link->consistency));
}

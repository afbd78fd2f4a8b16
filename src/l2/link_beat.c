/* The beat: what is asked, what each answer must be, and when the lease is confirmed.
 *
 *   EXISTS e (if in doubt) --> MGET q and e of every partition --> TIME --> INFO replication --> GET or INCR w
 *   |                                                                                                |
 *   the numbers are compared                                                                 PUBLISH nonce --> WAIT
 *                                                                                                |
 *                                                         the nonce comes back through the subscription
 *
 * In a cluster the numbers are asked for one by one (link_cluster.c). A partition gets its lease by itself then: not if
 * an answer about it said that its slot is elsewhere or moves, and not before its server has been told what it has to
 * know (lk_link_counts).
 *
 * Invariants: the numbers are read before the nonce is published. The lease is confirmed last, as of the time at which
 * the beat was sent, and only when every answer came, the nonce was received, and no gap is open. One beat at a time. */
#include "l2/link_parts.h"

#include "base/backoff.h"
#include "redis/info.h"
#include "redis/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BEAT_TIMEOUT_MIN_MS = 250, SET_FORWARD_US = 100000 };

/* How many replicas hold what this server wrote so far? An isolated primary has none, and gets no lease. */
static bool send_wait(lk_link *link)
{
    char replicas[24], wait_ms[24];
    if (!link->config->durability) return true;
    snprintf(replicas, sizeof replicas, "%lld", (long long)link->config->durability);
    /* Short, since nothing else is answered on this connection meanwhile. */
    int64_t least_ms = link->config->staleness_ms / 8 < 250 ? link->config->staleness_ms / 8 : 250;
    snprintf(wait_ms, sizeof wait_ms, "%lld", (long long)lk_later(least_ms, 20));
    const lk_span wait[3] = {lk_word("WAIT"), lk_word(replicas), lk_word(wait_ms)};
    link->beat.answers++;
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_HELD, wait, 3);
}

/* This instance was asked for nothing for a while. Beats then come half as often. Every second one asks for the time, and
 * the others for the count that shows an older data set. What a beat proves stays the same, and the lease never lapses because of it. */
static bool is_idle(lk_link *link)
{
    static const enum lk_counter uses[] = {LK_L1_HITS, LK_L1_MISSES, LK_DEAD_REFUSED, LK_L2_READS, LK_L2_WRITES};
    uint64_t used = 0;
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) used += lk_counted(link->counters, uses[i]);
    link->quiet = used == link->used ? link->quiet + 1 : 0;
    link->used = used;
    return link->quiet >= LK_LINK_QUIET_BEATS && !link->fresh;
}

static bool send_time(lk_link *link)
{
    const lk_span time[1] = {lk_word("TIME")};
    if (link->beat.idle && link->server_ahead_us && link->quiet % 2) return true;
    link->beat.answers++;
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_TIME, time, 1);
}

/* The nonce, and behind it what this instance says about itself. In a cluster no other instance hears the nonce, so that is
 * said elsewhere. */
static bool send_nonce(lk_link *link)
{
    bool sharded = link->config->cluster;
    char message[24 + LK_BEAT_STATS_SIZE];
    lk_beat_stats stats = {.version = ""};
    link->l1.stats(link->l1.context, &stats);
    link->host.stats(link->host.context, &stats);
    stats.database = link->config->database;
    size_t nonce = (size_t)snprintf(message, 24, "%016llx ", (unsigned long long)link->beat.nonce);
    size_t size = nonce + lk_beat_stats_write(&stats, message + nonce);
    lk_span publish[3] = {
        lk_word(sharded ? "SPUBLISH" : "PUBLISH"), lk_word(link->heartbeat), {message, sharded ? nonce - 1 : size}};
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_PUBLISHED, publish, 3) &&
           (!sharded || lk_link_send_pulse(link, message + nonce, size - nonce));
}

/* A node of a cluster that is cut off goes on answering reads and SPUBLISH, without end, where
 * cluster-allow-reads-when-down is yes. A write is what it refuses: of a key that never exists. */
static bool send_write(lk_link *link)
{
    char never[LK_KEY_SIZE];
    if (!link->config->cluster) return true;
    lk_key_partition(never, link->config->prefix, link->partitions.at[0], "!");
    const lk_span del[2] = {lk_word("DEL"), lk_word(never)};
    link->beat.answers++;
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_WRITABLE, del, 2);
}

bool lk_link_send_rest(lk_link *link)
{
    lk_span replication[2] = {lk_word("INFO"), lk_word("replication")};
    return send_time(link) && lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_REPLICATION, replication, 2) &&
           lk_link_send_witness(link) && send_write(link) && send_nonce(link) && send_wait(link);
}

void lk_link_send_beat(lk_link *link, int64_t now_ms, int64_t now_us)
{
    link->beat =
        (lk_beat){.out = true, .sent_ms = now_ms, .sent_us = now_us, .nonce = lk_link_random(link), .answers = 1};
    link->beat.idle = is_idle(link);
    link->next_beat_ms = now_ms + link->config->staleness_ms / (link->beat.idle ? 2 : 4);
    for (size_t i = 0; i < link->partitions.count; i++) {
        lk_sequence *s = &link->part[link->partitions.at[i]].sequence;
        s->at_beat = lk_sequence_top(s);
    }
    /* The order matters: the numbers are read before the nonce is published. */
    bool sent =
        link->config->cluster ? lk_link_ask_numbers(link) : lk_link_send_numbers(link) && lk_link_send_rest(link);
    if (!sent) lk_link_no_memory(link, now_ms);
}

static bool came_back(const lk_link *link)
{
    return link->beat.out && !link->beat.answers && (link->beat.received || link->beat.mute);
}

/* A deposed primary that does not know it answers all that a beat asks. If sentinels name the primary, more than half
 * of them must name this one, asked when the beat was sent or later (naming.h). */
static bool vouched(const lk_link *link)
{
    if (lk_link_disagrees(link)) return false;
    return !link->host.vouched || link->host.vouched(link->host.context, link->beat.sent_ms, NULL, 0);
}

/* A server that is met in place of another may lack revocations. Every instance that knows of them tells the server as
 * soon as it has met it. No answer of the server is used before they have had the time for that. */
static bool comes_early(const lk_link *link, unsigned p) { return link->beat.sent_ms < link->part[p].serve_ms; }

/* In a cluster: partitions that came to this node, and that it does not serve yet. Calls wait for that, whatever the lease
 * before says. A node may not know yet that a slot is its own, or may still have to be told. The next beats come soon, then
 * ever later: the slot may go on moving for long. */
static void hurry(lk_link *link, int64_t now_ms)
{
    bool unserved = false;
    for (size_t i = 0; link->fresh && i < link->partitions.count; i++) {
        unsigned p = link->partitions.at[i];
        unserved |= link->part[p].fresh && !comes_early(link, p);
    }
    if (!unserved) return;
    int64_t most_ms = link->config->staleness_ms / 2; /* in the end the regular beat comes first */
    int64_t wait_ms = lk_backoff_ms(link->vain++, LK_LINK_HURRY_MS, most_ms, lk_link_random(link));
    link->next_beat_ms = lk_earlier(link->next_beat_ms, now_ms + wait_ms);
}

/* The beat gives no lease, or no more than it gave. What was unsure in it is asked again by the next one. */
static void end_beat(lk_link *link, int64_t now_ms)
{
    link->beat.out = false;
    if (!link->config->cluster) return;
    for (size_t i = 0; i < link->partitions.count; i++) link->part[link->partitions.at[i]].unsure = false;
    hurry(link, now_ms);
}

/* The beat came back, but it gives no lease. This is no reason to connect anew: the next beat tries again. */
static void withhold(lk_link *link, int64_t now_ms, const char *why)
{
    end_beat(link, now_ms);
    if (link->beat.wanted) lk_link_beat_now(link, now_ms);
    link->host.withheld(link->host.context, why);
    lk_link_log_withheld(&link->link_log, now_ms, link->config->staleness_ms, why);
}

bool lk_link_await_vouch(lk_link *link, int64_t now_ms)
{
    char why[160] = "it is not known how many partitions the cluster holds: no node that answers has it, and not all "
                    "answer";
    if (!came_back(link) || vouched(link)) return false;
    link->next_beat_ms = lk_earlier(link->next_beat_ms, now_ms);
    if (!lk_link_disagrees(link)) link->host.vouched(link->host.context, link->beat.sent_ms, why, sizeof why);
    withhold(link, now_ms, why);
    return true;
}

bool lk_link_counts(const lk_link *link, unsigned p)
{
    return !link->part[p].unsure && !link->part[p].untold && !comes_early(link, p);
}

static bool is_settling(const lk_link *link, unsigned p) { return link->part[p].fresh && lk_link_counts(link, p); }

/* The next beat is not later than when the first of those may be served. */
static bool await_early(lk_link *link)
{
    lk_partitions early = lk_link_those(link, comes_early);
    for (size_t i = 0; i < early.count; i++)
        link->next_beat_ms = lk_earlier(link->next_beat_ms, link->part[early.at[i]].serve_ms);
    return early.count;
}

/* No partition gets a lease from this beat. */
static bool is_for_nothing(lk_link *link, int64_t now_ms)
{
    if (link->beat.mute) {
        withhold(link, now_ms, "the slot of this instance's own channel is elsewhere: no lease");
        return true;
    }
    if (link->beat.cut_off) {
        withhold(link, now_ms, "the node takes no writes (-CLUSTERDOWN): it may be cut off: no lease");
        return true;
    }
    if (lk_link_those(link, lk_link_counts).count) return false;
    if (await_early(link)) end_beat(link, now_ms);
    else withhold(link, now_ms, "the slots of all partitions are elsewhere, or move: no lease");
    return true;
}

/* The first beat of a server takes the numbers as they are, so L1 must keep nothing that was read before. Emptying it
 * also makes the tickets of reads under way invalid. */
static void settle_fresh(lk_link *link)
{
    lk_partitions fresh = lk_link_those(link, is_settling);
    if (fresh.count) lk_link_empty_for_another(link, fresh);
    for (size_t i = 0; i < fresh.count; i++) link->part[fresh.at[i]].fresh = false;
    link->fresh -= fresh.count;
}

static void confirm(lk_link *link, int64_t now_ms)
{
    int64_t sent_ms = link->beat.sent_ms;
    await_early(link);
    link->confirmed_ms = sent_ms;
    lk_partitions counted = lk_link_those(link, lk_link_counts);
    for (size_t i = 0; i < counted.count; i++)
        atomic_store_explicit(&link->past->of[counted.at[i]].confirmed_ms, sent_ms, memory_order_relaxed);
    end_beat(link, now_ms);
    /* Last: a thread that reads this lease sees an L1 to which everything was applied. */
    link->host.lease(link->host.context, counted, sent_ms, link->handshake[0].incarnation, link->server_ahead_us);
}

/* Every number that the beat read must have been applied by now; otherwise messages were lost. */
void lk_link_complete_beat(lk_link *link, int64_t now_ms)
{
    if (!came_back(link) || !vouched(link)) return;
    if (lk_link_tell_heard(link, now_ms)) return;
    if (is_for_nothing(link, now_ms)) return;
    settle_fresh(link);
    for (size_t i = 0; i < link->partitions.count; i++) {
        unsigned p = link->partitions.at[i];
        if (!lk_link_counts(link, p)) continue;
        lk_link_missed(link, lk_sequence_settle(&link->part[p].sequence));
    }
    lk_link_end_everyone(link);
    if (!lk_link_complete(link, now_ms)) return; /* continued when the log was read */
    if (lk_link_tell_unheard(link, now_ms)) return;
    link->failures = 0;
    lk_count(link->counters, LK_BEATS, 1);
    int64_t sent_ms = link->beat.sent_ms;
    confirm(link, now_ms);
    if (link->config->cluster) lk_link_record(link, now_ms);
    lk_consistency_leased(&link->consistency, sent_ms + link->config->staleness_ms);
    /* Of several links, one tells what is counted for all of them. */
    bool tells = !link->config->cluster || lk_partitions_have(link->partitions, 0);
    lk_link_log_lease(&link->link_log, sent_ms, link->config->staleness_ms,
                      tells ? lk_counted(link->counters, LK_CORRUPT_RECORDS) : link->link_log.corrupt);
}

void lk_link_answered(lk_link *link, int64_t now_ms)
{
    link->beat.answers--;
    lk_link_complete_beat(link, now_ms);
}

/* A primary that was made a replica keeps its run id, its connections and its subscriptions, and goes on answering all
 * that a beat asks. Revocations then go elsewhere. If it was made a replica and a primary again since the last beat,
 * only its replication id shows it; what it holds now is another history of writes. */
static void take_replication(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    char text[160];
    uint64_t replication;
    int status = lk_info_replication(reply, &replication, text, sizeof text);
    if (!status && replication == link->handshake[0].replication) {
        lk_link_answered(link, now_ms);
        return;
    }
    if (!status) snprintf(text, sizeof text, "the server's replication id changed: it is treated as another server");
    if (status == LATCHKEY_CONFIG && reply->type == LK_REPLY_STRING)
        snprintf(text, sizeof text, "the server became a replica: name its primary");
    /* The next handshake says why it is refused, if it is. */
    lk_link_lost(link, now_ms, reply->type == LK_REPLY_ERROR ? status : LATCHKEY_UNAVAILABLE, text);
}

/* L1 counts by this machine's clock, and holds sessions that are over by the new time: it is emptied before the next lease
 * (H). A clock that drifts gains less than SET_FORWARD_US from beat to beat. */
static void empty_if_set_forward(lk_link *link, int64_t gained_us)
{
    if (link->fresh || gained_us < SET_FORWARD_US) return;
    link->link_log.forward_ms += gained_us / 1000;
    link->link_log.expected++;
    link->l1.everyone(link->l1.context);
    lk_link_emptied(link);
}

/* Redis' time is known to half a round trip, so the shortest of the recent ones is used (Cristian 1989). Its worth
 * fades, since clocks drift. A difference that the round trips do not explain is a clock that was set: it is taken at
 * once. */
static void set_server_time(lk_link *link, int64_t server_us, int64_t round_us)
{
    int64_t ahead_us = server_us - (link->beat.sent_us + round_us / 2), off = ahead_us - link->server_ahead_us;
    link->best_round_us += link->best_round_us / 8 + 1;
    bool explained = link->server_ahead_us && (off < 0 ? -off : off) <= round_us + link->best_round_us;
    if (explained && round_us > link->best_round_us) return;
    if (!explained && link->server_ahead_us) empty_if_set_forward(link, off - round_us - link->best_round_us);
    link->best_round_us = round_us;
    link->server_ahead_us = ahead_us;
}

static void take_time(lk_link *link, const lk_reply *reply, int64_t now_us)
{
    if (reply->type == LK_REPLY_ERROR) {
        lk_link_refused(link, reply, now_us / 1000, "");
        return;
    }
    bool two = lk_reply_shaped(reply, "ss");
    long long seconds = two ? atoll(lk_reply_at(reply, 0)->text) : 0;
    long long micros = two ? atoll(lk_reply_at(reply, 1)->text) : 0;
    /* A time that no set clock shows is ignored: the lease does not depend on it. */
    if (seconds > 0 && seconds < LK_LINK_TIME_MAX_US / 1000000 && micros >= 0 && micros < 1000000)
        set_server_time(link, seconds * 1000000 + micros, now_us - link->beat.sent_us);
    lk_link_answered(link, now_us / 1000);
}

static void take_published(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    if (reply->type == LK_REPLY_INTEGER && reply->integer > 0) return;
    if (link->config->cluster && lk_error_is_elsewhere(reply)) {
        link->beat.mute = true;
        lk_link_complete_beat(link, now_ms);
        return;
    }
    lk_link_refused(link, reply, now_ms, "Redis does not know our subscription any more");
}

/* There was no lease for so long that L1 answers nothing any more. The address may lead to another server by now, while
 * our connections stay with a primary that lost its replicas. */
static bool may_be_deposed(const lk_link *link, int64_t now_ms)
{
    return link->confirmed_ms && now_ms - link->confirmed_ms > link->config->staleness_ms && now_ms >= link->look_at_ms;
}

/* Too few replicas: this beat proves nothing, and the next one tries again. */
static void take_held(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    char text[160];
    if (reply->type == LK_REPLY_INTEGER && reply->integer >= link->config->durability) {
        lk_link_answered(link, now_ms);
        return;
    }
    if (reply->type == LK_REPLY_ERROR) {
        lk_link_refused(link, reply, now_ms, "");
        return;
    }
    snprintf(text, sizeof text, "durability=%lld, but %lld replicas hold what was written: no lease",
             (long long)link->config->durability, reply->type == LK_REPLY_INTEGER ? (long long)reply->integer : 0);
    withhold(link, now_ms, text);
    if (may_be_deposed(link, now_ms)) lk_link_look(link, now_ms, text);
}

/* Any other answer is that of a node that is not cut off, whatever else hinders the write. */
static void take_writable(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    if (reply->type == LK_REPLY_ERROR && strncmp(reply->text, "CLUSTERDOWN ", 12) == 0) {
        link->beat.cut_off = true;
        lk_link_sign(link, ""); /* it is asked for the map last */
    }
    lk_link_answered(link, now_ms);
}

int64_t lk_link_beat_end(const lk_link *link)
{
    return link->beat.sent_ms + lk_later(link->config->staleness_ms / 2, BEAT_TIMEOUT_MIN_MS);
}

void lk_link_beat_now(lk_link *link, int64_t now_ms)
{
    /* Not sooner than this, however many callers ask: a beat that was just answered would have served them. */
    int64_t soonest_ms = lk_later(now_ms, link->beat.sent_ms + LK_LINK_BEAT_APART_MS);
    link->beat.wanted = true; /* one that is out may give no lease */
    if (link->state == LK_LINK_UP && !link->beat.out && link->next_beat_ms > soonest_ms)
        link->next_beat_ms = soonest_ms;
}

bool lk_link_take_beat(lk_link *link, const lk_reply *reply, int64_t now_us)
{
    int64_t now_ms = now_us / 1000;
    switch (reply->tag) {
    case TAG_NUMBERS: lk_link_take_numbers(link, reply, now_ms); return true;
    case TAG_CUTOFF_KEYS: lk_link_take_cutoff_keys(link, reply, now_ms); return true;
    case TAG_TIME: take_time(link, reply, now_us); return true;
    case TAG_WITNESS: lk_link_take_witness(link, reply, now_ms); return true;
    case TAG_REPLICATION: take_replication(link, reply, now_ms); return true;
    case TAG_PUBLISHED: take_published(link, reply, now_ms); return true;
    case TAG_WRITABLE: take_writable(link, reply, now_ms); return true;
    case TAG_HELD: take_held(link, reply, now_ms); return true;
    default: return false;
    }
}

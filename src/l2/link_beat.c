/* The beat: what is asked, what each answer must be, and when the lease is confirmed.
 *
 *   EXISTS e (if in doubt) --> MGET q and e of every partition --> TIME --> INFO replication --> PUBLISH nonce --> WAIT
 *   |                                                                                             |
 *   the numbers are compared                                the nonce comes back through the subscription
 *
 * Invariants: the numbers are read before the nonce is published. The lease is confirmed last, as of the time at which
 * the beat was sent, and only when every answer came, the nonce was received, and no gap is open. One beat at a time. */
#include "l2/link_parts.h"

#include "redis/info.h"
#include "redis/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BEAT_TIMEOUT_MIN_MS = 250, SET_FORWARD_US = 100000 };

/* One command, such as MGET, for these keys of each partition: all of the first kind, then all of the second, if there
 * is one. */
static bool send_for_all(lk_link *link, uint32_t tag, const char *command, const char *const which[2])
{
    size_t each = link->partitions.count, count = each * (which[1] ? 2 : 1);
    lk_span *words = calloc(count + 1, sizeof *words);
    char(*keys)[LK_KEY_SIZE] = calloc(count, sizeof *keys);
    bool sent = words && keys;
    if (sent) {
        words[0] = lk_word(command);
        for (size_t i = 0; i < count; i++) {
            lk_key_partition(keys[i], link->config->prefix, link->partitions.at[i % each], which[i / each]);
            words[1 + i] = lk_word(keys[i]);
        }
        sent = lk_conn_send(&link->conn[LK_LINK_COMMANDS], tag, words, count + 1);
    }
    free(words);
    free(keys);
    return sent;
}

/* Numbers and cut-offs are read at one moment, so that a cut-off that was counted is read. MGET treats a key of another
 * type as missing. If we would then take it for no cut-off, EXISTS is asked before: a cut-off never disappears. */
static bool send_numbers(lk_link *link)
{
    static const char *const cutoffs[2] = {"e", NULL}, *const both[2] = {"q", "e"};
    link->cutoff_keys = 0;
    bool count = link->baseline || link->doubtful;
    link->beat.answers += 1 + count;
    return (!count || send_for_all(link, TAG_CUTOFF_KEYS, "EXISTS", cutoffs)) &&
           send_for_all(link, TAG_NUMBERS, "MGET", both);
}

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

/* This instance was asked for nothing for a while. Beats then come half as often, and every second one asks for the
 * time. What a beat proves stays the same, and the lease never lapses because of it. */
static bool is_idle(lk_link *link)
{
    static const enum lk_counter uses[] = {LK_L1_HITS, LK_L1_MISSES, LK_DEAD_REFUSED, LK_L2_READS, LK_L2_WRITES};
    uint64_t used = 0;
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) used += lk_counted(link->counters, uses[i]);
    link->quiet = used == link->used ? link->quiet + 1 : 0;
    link->used = used;
    return link->quiet >= LK_LINK_QUIET_BEATS && !link->baseline;
}

static bool send_time(lk_link *link, bool idle)
{
    const lk_span time[1] = {lk_word("TIME")};
    if (idle && link->server_ahead_us && link->quiet % 2) return true;
    link->beat.answers++;
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_TIME, time, 1);
}

void lk_link_send_beat(lk_link *link, int64_t now_ms, int64_t now_us)
{
    lk_conn *conn = &link->conn[LK_LINK_COMMANDS];
    link->beat =
        (lk_beat){.out = true, .sent_ms = now_ms, .sent_us = now_us, .nonce = lk_link_random(link), .answers = 1};
    bool idle = is_idle(link);
    link->next_beat_ms = now_ms + link->config->staleness_ms / (idle ? 2 : 4);
    for (size_t i = 0; i < link->partitions.count; i++) {
        lk_sequence *s = &link->sequence[link->partitions.at[i]];
        s->at_beat = lk_sequence_top(s);
    }
    char message[24 + LK_BEAT_STATS_SIZE];
    lk_beat_stats stats = {.version = ""};
    link->l1.stats(link->l1.context, &stats);
    link->host.stats(link->host.context, &stats);
    stats.database = link->config->database;
    size_t nonce = (size_t)snprintf(message, 24, "%016llx ", (unsigned long long)link->beat.nonce);
    size_t size = nonce + lk_beat_stats_write(&stats, message + nonce);
    lk_span replication[2] = {lk_word("INFO"), lk_word("replication")};
    lk_span publish[3] = {lk_word("PUBLISH"), lk_word(link->heartbeat), {message, size}};
    /* The order matters: the numbers are read before the nonce is published. */
    if (!send_numbers(link) || !send_time(link, idle) || !lk_conn_send(conn, TAG_REPLICATION, replication, 2) ||
        !lk_conn_send(conn, TAG_PUBLISHED, publish, 3) || !send_wait(link))
        lk_link_no_memory(link, now_ms);
}

static bool came_back(const lk_link *link) { return link->beat.out && !link->beat.answers && link->beat.received; }

/* A deposed primary that does not know it answers all that a beat asks. If sentinels name the primary, more than half
 * of them must name this one, asked when the beat was sent or later (naming.h). */
static bool vouched(const lk_link *link)
{
    return !link->host.vouched || link->host.vouched(link->host.context, link->beat.sent_ms);
}

/* The beat came back, but it gives no lease. This is no reason to connect anew: the next beat tries again. */
static void withhold(lk_link *link, int64_t now_ms, const char *why)
{
    link->beat.out = false;
    link->host.withheld(link->host.context, why);
    lk_link_log_withheld(&link->link_log, now_ms, link->config->staleness_ms, why);
}

bool lk_link_await_vouch(lk_link *link, int64_t now_ms)
{
    if (!came_back(link) || vouched(link)) return false;
    link->next_beat_ms = lk_earlier(link->next_beat_ms, now_ms);
    withhold(link, now_ms, "no more than half of the listed sentinels name this primary now: no lease");
    return true;
}

/* A server that is met in place of another may lack revocations. Every instance that knows of them tells the server as
 * soon as it has met it. No answer of the server is used before they have had the time for that. */
static bool too_early(lk_link *link)
{
    if (link->beat.sent_ms >= link->serve_ms) return false;
    link->beat.out = false;
    link->next_beat_ms = lk_earlier(link->next_beat_ms, link->serve_ms);
    return true;
}

/* Every number that the beat read must have been applied by now; otherwise messages were lost. */
void lk_link_complete_beat(lk_link *link, int64_t now_ms)
{
    if (!came_back(link) || !vouched(link)) return;
    if (lk_link_tell_heard(link, now_ms)) return;
    if (too_early(link)) return;
    /* The first beat of a server takes the numbers as they are, so L1 must keep nothing that was read before. Emptying
     * it also makes the tickets of reads under way invalid. */
    if (link->baseline) lk_link_empty_for_another(link);
    link->baseline = false;
    for (size_t i = 0; i < link->partitions.count; i++)
        lk_count(link->counters, LK_MISSED, lk_sequence_settle(&link->sequence[link->partitions.at[i]]));
    lk_link_end_everyone(link);
    if (!lk_link_complete(link, now_ms)) return; /* continued when the log was read */
    if (lk_link_tell_unheard(link, now_ms)) return;
    link->failures = 0;
    lk_count(link->counters, LK_BEATS, 1);
    int64_t sent_ms = link->beat.sent_ms;
    link->beat.out = false;
    link->confirmed_ms = sent_ms;
    /* Last: a thread that reads this lease sees an L1 to which everything was applied. */
    link->host.lease(link->host.context, link->partitions, sent_ms, link->handshake[0].incarnation,
                     link->server_ahead_us);
    lk_consistency_leased(&link->consistency, sent_ms + link->config->staleness_ms);
    lk_link_log_lease(&link->link_log, sent_ms, link->config->staleness_ms, link->counters);
}

static void answered(lk_link *link, int64_t now_ms)
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
        answered(link, now_ms);
        return;
    }
    if (!status) snprintf(text, sizeof text, "the server's replication id changed: it is treated as another server");
    if (status == LATCHKEY_CONFIG && reply->type == LK_REPLY_STRING)
        snprintf(text, sizeof text, "the server became a replica: name its primary");
    /* The next handshake says why it is refused, if it is. */
    lk_link_lost(link, now_ms, reply->type == LK_REPLY_ERROR ? status : LATCHKEY_UNAVAILABLE, text);
}

/* False: Redis lost its count. The number is less than at the last beat, or than what was known when this one was sent;
 * or a number that was taken before was not its own. */
static bool take_numbers(lk_link *link, const lk_reply *reply)
{
    bool forwards = true;
    for (size_t i = 0; i < link->partitions.count; i++) {
        const lk_reply *item = lk_reply_at(reply, i);
        lk_sequence *s = &link->sequence[link->partitions.at[i]];
        uint64_t number = item->type == LK_REPLY_STRING ? strtoull(item->text, NULL, 10) : 0;
        if (lk_sequence_count(s, number)) continue;
        forwards = false;
        lk_link_note_most(link, link->partitions.at[i]);
        lk_sequence_restart(s, number);
    }
    return forwards;
}

static void take_cutoff_keys(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    if (reply->type != LK_REPLY_INTEGER) {
        lk_link_refused(link, reply, now_ms, "Redis does not answer EXISTS as expected");
        return;
    }
    link->cutoff_keys = reply->integer;
    answered(link, now_ms);
}

static void doubt(lk_link *link, unsigned p)
{
    char text[160];
    link->doubtful = true;
    if (!lk_cutoffs_doubt(link->cutoffs, p)) return;
    link->everyone = true; /* it is not known which sessions it spares */
    lk_count(link->counters, LK_CORRUPT_RECORDS, 1);
    snprintf(text, sizeof text,
             "the cut-off of partition %u (%.32s:{%u}:e) is not a time: latchkey_revoke_everyone replaces it, and ends "
             "all sessions",
             p, link->config->prefix, p);
    link->host.trouble(link->host.context, LATCHKEY_CORRUPT, text);
}

/* What the server holds as the partition's cut-off. False: it knows less than this instance. */
static bool take_cutoff(lk_link *link, unsigned p, const lk_reply *item, bool strangers)
{
    int64_t ms = 0, known = lk_cutoffs_known(link->cutoffs, p);
    bool there = item->type == LK_REPLY_STRING;
    if (there ? !lk_cutoff_parse(item->text, item->size, &ms) : !known && strangers) {
        doubt(link, p);
        return true;
    }
    if (ms < known) return false;
    link->everyone |= lk_cutoffs_set(link->cutoffs, p, ms);
    return true;
}

/* If the server does not know a cut-off, it was restarted, promoted or emptied since, or a person deleted the key.
 * Returns how many it does not know; it is told of them. */
static size_t take_cutoffs(lk_link *link, const lk_reply *reply)
{
    const size_t count = link->partitions.count;
    long long texts = 0;
    size_t missing = 0;
    for (size_t i = 0; i < count; i++) texts += lk_reply_at(reply, count + i)->type == LK_REPLY_STRING;
    bool strangers = link->cutoff_keys > texts;
    link->doubtful = false;
    for (size_t i = 0; i < count; i++) {
        unsigned p = link->partitions.at[i];
        if (take_cutoff(link, p, lk_reply_at(reply, count + i), strangers)) continue;
        char word[LATCHKEY_SELECTOR_LENGTH + 4];
        lk_recent_item *item = &link->assertion[missing++];
        snprintf(word, sizeof word, "*%019lld", (long long)lk_cutoffs_known(link->cutoffs, p));
        *item = (lk_recent_item){.partition = p};
        memcpy(item->selector, word, sizeof item->selector);
    }
    return missing;
}

static void take_state(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    if (reply->count != 2 * link->partitions.count) {
        lk_link_refused(link, reply, now_ms, "Redis does not answer MGET as expected");
        return;
    }
    /* It is not known what the server forgot, so nothing from before counts. For a server that is just being met
     * nothing does anyway. */
    if (!take_numbers(link, reply) && !link->baseline) {
        lk_link_forgot(link, now_ms, false);
        return;
    }
    size_t missing = take_cutoffs(link, reply);
    if (missing) lk_link_tell(link, missing, 0, now_ms);
    else answered(link, now_ms);
}

/* L1 counts by this machine's clock, and holds sessions that are over by the new time: it is emptied before the next lease
 * (H). A clock that drifts gains less than SET_FORWARD_US from beat to beat. */
static void empty_if_set_forward(lk_link *link, int64_t gained_us)
{
    if (link->baseline || gained_us < SET_FORWARD_US) return;
    link->link_log.forward_ms += gained_us / 1000;
    link->link_log.expected++;
    link->l1.everyone(link->l1.context);
    lk_count(link->counters, LK_EMPTIES, 1);
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
    answered(link, now_us / 1000);
}

static void take_published(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    if (reply->type == LK_REPLY_INTEGER && reply->integer > 0) return;
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
        answered(link, now_ms);
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

int64_t lk_link_beat_end(const lk_link *link)
{
    return link->beat.sent_ms + lk_later(link->config->staleness_ms / 2, BEAT_TIMEOUT_MIN_MS);
}

void lk_link_beat_now(lk_link *link, int64_t now_ms)
{
    /* Not sooner than this, however many callers ask: a beat that was just answered would have served them. */
    int64_t soonest_ms = lk_later(now_ms, link->beat.sent_ms + LK_LINK_BEAT_APART_MS);
    if (link->state == LK_LINK_UP && !link->beat.out && link->next_beat_ms > soonest_ms)
        link->next_beat_ms = soonest_ms;
}

bool lk_link_take_beat(lk_link *link, const lk_reply *reply, int64_t now_us)
{
    int64_t now_ms = now_us / 1000;
    switch (reply->tag) {
    case TAG_NUMBERS: take_state(link, reply, now_ms); return true;
    case TAG_CUTOFF_KEYS: take_cutoff_keys(link, reply, now_ms); return true;
    case TAG_TIME: take_time(link, reply, now_us); return true;
    case TAG_REPLICATION: take_replication(link, reply, now_ms); return true;
    case TAG_PUBLISHED: take_published(link, reply, now_ms); return true;
    case TAG_HELD: take_held(link, reply, now_ms); return true;
    default: return false;
    }
}

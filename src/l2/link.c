/* See link.h. Owned by one thread (the link's, or a simulation's); it locks nothing itself. */
#include "l2/link.h"

#include "observe/events.h"
#include "base/hash.h"
#include "redis/errors.h"
#include "redis/info.h"
#include "redis/keys.h"
#include "redis/script.h"
#include "redis/server_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum tag {
    TAG_RECORD_PARTITIONS = 1,
    TAG_READ_PARTITIONS,
    TAG_SETTINGS,
    TAG_NUMBERS,
    TAG_EPOCH_KEYS,
    TAG_EPOCHS,
    TAG_TIME,
    TAG_REPLICATION,
    TAG_PUBLISHED,
    TAG_HELD,
    TAG_REASSERTED,
    TAG_JOB,            /* + the job's place */
    TAG_VALUE = 0x8000, /* + the job's place: the first of two replies */
    TAG_LOG = 0x10000,  /* + the partition */
};

#define TIME_MAX_US INT64_C(100000000000000000) /* the year 5138 */

enum { REPLAYS_AT_ONCE = 64, REPLAY_ENTRIES = 512, ASSERTED_BY_ONE = 64, ASSERTIONS_AT_ONCE = 32 };
enum {
    BACKOFF_LEAST_MS = 20,
    BACKOFF_MOST_MS = 1000,
    BEAT_TIMEOUT_LEAST_MS = 250,
    BEAT_APART_MS = 5,
    HANDSHAKE_LEAST_MS = 500
};

static uint64_t random_next(lk_link *link) { return link->random = lk_hash(&link->random, sizeof link->random, 1); }

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void enter(lk_link *link, enum lk_link_state state, int64_t now_ms)
{
    link->state = state;
    link->since_ms = now_ms;
}

bool lk_link_open(lk_link *link, const lk_config *config, const lk_link_host *host, lk_counters *counters,
                  uint64_t seed, int64_t now_ms)
{
    memset(link, 0, sizeof *link);
    link->config = config;
    link->host = *host;
    link->counters = counters;
    link->random = seed;
    link->retry_at_ms = now_ms;
    lk_link_log_open(&link->link_log, now_ms);
    lk_consistency_open(&link->consistency, config, counters);
    snprintf(link->heartbeat, sizeof link->heartbeat, "%.32s:beat:%016llx", config->prefix,
             (unsigned long long)random_next(link));
    link->series = calloc((size_t)config->partitions, sizeof *link->series);
    link->cutoffs = lk_cutoffs_open((size_t)config->partitions);
    link->recent = lk_recent_open();
    link->assertion = calloc(LK_RECENT_MAX, sizeof *link->assertion);
    return link->series && link->cutoffs && link->recent && link->assertion;
}

void lk_link_close(lk_link *link)
{
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) lk_conn_close(&link->conn[i]);
    for (int i = 0; i < LK_LINK_JOBS; i++) lk_reply_free(link->job[i].value);
    free(link->series);
    free(link->assertion);
    lk_cutoffs_close(link->cutoffs);
    lk_recent_close(link->recent);
    link->series = NULL;
    link->cutoffs = NULL;
    link->assertion = NULL;
    link->recent = NULL;
}

static void end_job(lk_link *link, lk_job *job, int status)
{
    lk_reply_free(job->value);
    job->value = NULL;
    link->host.job_done(link->host.context, job, status);
    job->kind = LK_JOB_NONE;
}

/* Many partitions' epochs come together: emptied once for all that have come, before anything else is done. */
static void end_everyone(lk_link *link)
{
    if (!link->everyone) return;
    link->everyone = false;
    link->link_log.everyone = true;
    link->link_log.expected++;
    link->host.everyone(link->host.context);
    lk_count(link->counters, LK_EMPTIES, 1);
}

void lk_link_lost(lk_link *link, int64_t now_ms, int status, const char *text)
{
    if (link->state == LK_LINK_DOWN) return;
    end_everyone(link);
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) lk_conn_close(&link->conn[i]);
    enter(link, LK_LINK_DOWN, now_ms);
    /* Doubling, then a random half of it: instances that lost a server together do not come back together. */
    int64_t wait = BACKOFF_LEAST_MS << (link->failures < 6 ? link->failures : 6);
    if (wait > BACKOFF_MOST_MS) wait = BACKOFF_MOST_MS;
    link->retry_at_ms = now_ms + wait / 2 + (int64_t)(random_next(link) % (uint64_t)(wait / 2 + 1));
    link->failures++;
    memset(&link->beat, 0, sizeof link->beat);
    lk_consistency_leased(&link->consistency, 0);
    for (int i = 0; i < LK_LINK_JOBS; i++)
        if (link->job[i].kind) end_job(link, &link->job[i], LATCHKEY_UNAVAILABLE);
    link->host.trouble(link->host.context, status, text);
    lk_link_log_lost(&link->link_log, now_ms, status, text);
}

static void no_memory(lk_link *link, int64_t now_ms)
{
    lk_link_lost(link, now_ms, LATCHKEY_UNAVAILABLE, "no memory for the link's commands");
}

/* --------------------------------------------------------------------------------------- towards being up -- */

void lk_link_connected(lk_link *link, int64_t now_ms)
{
    enter(link, LK_LINK_HANDSHAKE, now_ms);
    link->handshakes = LK_LINK_CONNECTIONS;
    bool sent = true;
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++)
        sent = sent && lk_conn_open(&link->conn[i]) &&
               lk_handshake_send(&link->handshake[i], link->config, &link->conn[i]);
    if (!sent) no_memory(link, now_ms);
}

/* The number of partitions is part of every key's name: recorded by the first instance, equal in all. */
static void send_setup(lk_link *link, int64_t now_ms)
{
    char key[LK_KEY_SIZE], number[24];
    lk_key_partition(key, link->config->prefix, 0, "m");
    snprintf(number, sizeof number, "%lld", (long long)link->config->partitions);
    lk_span record[4] = {lk_word("HSETNX"), lk_word(key), lk_word("partitions"), lk_word(number)};
    lk_span read[3] = {lk_word("HGET"), lk_word(key), lk_word("partitions")};
    lk_conn *conn = &link->conn[LK_LINK_COMMANDS];
    enter(link, LK_LINK_SETUP, now_ms);
    if (!lk_conn_send(conn, TAG_RECORD_PARTITIONS, record, 4) || !lk_conn_send(conn, TAG_READ_PARTITIONS, read, 3))
        no_memory(link, now_ms);
}

/* Of a server that was not met before, and that answered a read: while Redis is loading, INFO says that there is no
 * append-only file. The answer comes before that of the first beat. */
static bool ask_settings(lk_link *link)
{
    lk_span info[2] = {lk_word("INFO"), lk_word("default")};
    return link->settings_of == link->handshake[0].incarnation ||
           lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_SETTINGS, info, 2);
}

/* What it is set to is said, and keeps nobody from using it: see server_check.h. */
static void take_settings(lk_link *link, const lk_reply *reply)
{
    lk_server_check settings = {.info = reply->type == LK_REPLY_STRING ? reply->text : "",
                                .durability = link->config->durability,
                                .staleness_ms = link->config->staleness_ms};
    lk_server_check_say(&settings, &link->settings_said);
    link->settings_of = link->handshake[0].incarnation;
}

static void take_hello(lk_link *link, int which, const lk_reply *reply, int64_t now_ms)
{
    lk_handshake *hello = &link->handshake[which];
    if (!lk_handshake_take(hello, reply)) return;
    if (hello->status) {
        lk_link_lost(link, now_ms, hello->status, hello->error);
        return;
    }
    if (--link->handshakes) return;
    if (link->handshake[0].incarnation != link->handshake[1].incarnation)
        lk_link_lost(link, now_ms, LATCHKEY_UNAVAILABLE, "two connections reached two servers: trying again");
    else send_setup(link, now_ms);
}

static void send_subscribe(lk_link *link, int64_t now_ms)
{
    size_t channels = (size_t)link->config->partitions + 1, i;
    lk_span *words = calloc(channels + 1, sizeof *words);
    char(*names)[LK_KEY_SIZE] = calloc(channels, sizeof *names);
    bool sent = words && names;
    if (sent) {
        words[0] = lk_word("SUBSCRIBE");
        for (i = 0; i + 1 < channels; i++) {
            lk_key_partition(names[i], link->config->prefix, (unsigned)i, "rev");
            words[1 + i] = lk_word(names[i]);
        }
        words[channels] = lk_word(link->heartbeat);
        link->conn[LK_LINK_SUBSCRIPTION].pushes = true;
        sent = lk_conn_send(&link->conn[LK_LINK_SUBSCRIPTION], 0, words, channels + 1);
    }
    free(words);
    free(names);
    link->subscriptions = (unsigned)channels;
    enter(link, LK_LINK_SUBSCRIBING, now_ms);
    if (!sent) no_memory(link, now_ms);
}

/* An error here matters only if the number turns out not to be there: at maxmemory it can be read all the same. */
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
                     "the number of partitions in Redis is none: something else writes under our prefix");
    } else if (atoll(reply->text) != link->config->partitions) {
        snprintf(text, sizeof text, "partitions=%lld, but Redis holds sessions in %.20s partitions: use that number",
                 (long long)link->config->partitions, reply->text);
        lk_link_lost(link, now_ms, LATCHKEY_CONFIG, text);
    } else if (ask_settings(link)) send_subscribe(link, now_ms);
    else no_memory(link, now_ms);
}

/* Then every revocation that is known of is applied, whatever became of its message. */
static void empty(lk_link *link)
{
    link->host.empty(link->host.context);
    lk_count(link->counters, LK_EMPTIES, 1);
    for (int64_t p = 0; p < link->config->partitions; p++) lk_sequence_skip(&link->series[p]);
}

/* What is in it is of another server: no news for the log. */
static void empty_for_another(lk_link *link)
{
    link->link_log.expected++;
    empty(link);
}

/* One call: some of one partition's. The first brings the script; the others find it there. */
static bool send_assertion(lk_link *link)
{
    const lk_script *script = &lk_scripts[LK_SCRIPT_REASSERT];
    const lk_recent_item *first = &link->assertion[link->asserted];
    char base[LK_BASE_SIZE], key[LK_KEY_SIZE];
    lk_span words[5 + ASSERTED_BY_ONE];
    size_t count = 0;
    bool whole_script = !link->asserted;
    lk_key_base(base, link->config->prefix, first->partition);
    lk_key_session(key, link->config->prefix, first->partition, first->selector);
    words[0] = lk_word(whole_script ? "EVAL" : "EVALSHA");
    words[1] = whole_script ? (lk_span){script->text, script->size} : lk_word(script->sha);
    words[2] = lk_word("1");
    words[3] = lk_word(key);
    words[4] = lk_word(base);
    for (; count < ASSERTED_BY_ONE && link->asserted < link->assertions; count++, link->asserted++) {
        const lk_recent_item *item = &link->assertion[link->asserted];
        if (item->partition != first->partition) break;
        words[5 + count] = (lk_span){item->selector, LATCHKEY_SELECTOR_LENGTH};
    }
    lk_count(link->counters, LK_L2_WRITES, 1);
    link->assertions_out++;
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_REASSERTED, words, 5 + count);
}

static void go_on_asserting(lk_link *link, int64_t now_ms)
{
    bool sent = true;
    while (sent && link->asserted < link->assertions && link->assertions_out < ASSERTIONS_AT_ONCE)
        sent = send_assertion(link);
    if (!sent) {
        no_memory(link, now_ms);
    } else if (!link->assertions_out) {
        link->next_beat_ms = most(now_ms, link->beat.sent_ms + BEAT_APART_MS);
        enter(link, LK_LINK_UP, now_ms);
    }
}

/* Nothing is served before all of them were taken: an error is no reason to go on without. */
static void take_assertion(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    char text[160] = "Redis does not answer the revocations that are made once more as expected";
    int status = LATCHKEY_UNAVAILABLE;
    if (reply->type == LK_REPLY_INTEGER) {
        link->assertions_out--;
        go_on_asserting(link, now_ms);
        return;
    }
    if (reply->type == LK_REPLY_ERROR) status = lk_error_status(reply, text, sizeof text);
    lk_link_lost(link, now_ms, status, text);
}

/* Its past is not ours. Who revokes from now on, and is answered by the server before, is told so by the host: what he
 * adds to the recent ones may come too late for us. */
static void meet(lk_link *link)
{
    bool first = !link->met;
    link->met = link->handshake[0].incarnation;
    link->baseline = true;
    link->host.met(link->host.context, link->met);
    if (!first) empty_for_another(link);
}

/* From here on every revocation reaches us. What was missed before, the first beat finds. */
static void subscribed(lk_link *link, int64_t now_ms)
{
    size_t partitions = (size_t)link->config->partitions;
    if (link->was_up) lk_count(link->counters, LK_RECONNECTS, 1);
    link->was_up = true;
    if (link->met != link->handshake[0].incarnation) meet(link);
    link->replays = 0;
    if (link->baseline) memset(link->series, 0, partitions * sizeof *link->series);
    for (size_t p = 0; p < partitions; p++) lk_sequence_resubscribe(&link->series[p]);
    link->server_ahead_us = 0; /* it may be another server */
    link->asserted = link->assertions_out = 0;
    /* Until its first beat came back, a server may still have to be told: the connection broke in the middle of it. */
    link->assertions = link->baseline ? lk_recent_list(link->recent, now_ms, link->assertion) : 0;
    enter(link, LK_LINK_REASSERTING, now_ms);
    go_on_asserting(link, now_ms);
}

/* ------------------------------------------------------------------------------------------------- beats -- */

/* MGET, say, of one key of each partition. */
static bool send_for_all(lk_link *link, uint32_t tag, const char *command, const char *which)
{
    size_t count = (size_t)link->config->partitions, i;
    lk_span *words = calloc(count + 1, sizeof *words);
    char(*keys)[LK_KEY_SIZE] = calloc(count, sizeof *keys);
    bool sent = words && keys;
    if (sent) {
        words[0] = lk_word(command);
        for (i = 0; i < count; i++) {
            lk_key_partition(keys[i], link->config->prefix, (unsigned)i, which);
            words[1 + i] = lk_word(keys[i]);
        }
        sent = lk_conn_send(&link->conn[LK_LINK_COMMANDS], tag, words, count + 1);
    }
    free(words);
    free(keys);
    return sent;
}

/* The epochs behind the numbers, so that whoever was counted in those is in these. To MGET a key of another type is not
 * there; where we would take that for no epoch, it is asked how many there are, before: no epoch ever goes. */
static bool send_numbers(lk_link *link)
{
    link->epoch_keys = 0;
    bool count = link->baseline || link->doubtful;
    link->beat.answers += 2 + count;
    return send_for_all(link, TAG_NUMBERS, "MGET", "q") &&
           (!count || send_for_all(link, TAG_EPOCH_KEYS, "EXISTS", "e")) && send_for_all(link, TAG_EPOCHS, "MGET", "e");
}

/* Behind all that this server wrote before: how many replicas hold it? An isolated primary has none, and no lease. */
static bool send_wait(lk_link *link)
{
    char replicas[24], wait_ms[24];
    if (!link->config->durability) return true;
    snprintf(replicas, sizeof replicas, "%lld", (long long)link->config->durability);
    /* Short, since nothing else is answered on this connection meanwhile. */
    int64_t least_ms = link->config->staleness_ms / 8 < 250 ? link->config->staleness_ms / 8 : 250;
    snprintf(wait_ms, sizeof wait_ms, "%lld", (long long)most(least_ms, 20));
    const lk_span wait[3] = {lk_word("WAIT"), lk_word(replicas), lk_word(wait_ms)};
    link->beat.answers++;
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_HELD, wait, 3);
}

static void send_beat(lk_link *link, int64_t now_ms, int64_t now_us)
{
    lk_conn *conn = &link->conn[LK_LINK_COMMANDS];
    link->beat = (lk_beat){.out = true, .sent_ms = now_ms, .sent_us = now_us, .nonce = random_next(link), .answers = 2};
    link->next_beat_ms = now_ms + link->config->staleness_ms / 4;
    for (int64_t p = 0; p < link->config->partitions; p++) link->series[p].at_beat = lk_sequence_top(&link->series[p]);
    char message[24 + LK_BEAT_STATS_SIZE];
    lk_beat_stats pulse = {.version = ""};
    link->host.pulse(link->host.context, &pulse);
    size_t nonce = (size_t)snprintf(message, 24, "%016llx ", (unsigned long long)link->beat.nonce);
    size_t size = nonce + lk_beat_stats_write(&pulse, message + nonce);
    lk_span time[1] = {lk_word("TIME")}, replication[2] = {lk_word("INFO"), lk_word("replication")};
    lk_span publish[3] = {lk_word("PUBLISH"), lk_word(link->heartbeat), {message, size}};
    /* The order matters: the numbers are read before the nonce is published. */
    if (!send_numbers(link) || !lk_conn_send(conn, TAG_TIME, time, 1) ||
        !lk_conn_send(conn, TAG_REPLICATION, replication, 2) || !lk_conn_send(conn, TAG_PUBLISHED, publish, 3) ||
        !send_wait(link))
        no_memory(link, now_ms);
}

static bool send_replay(lk_link *link, int64_t p)
{
    lk_sequence *s = &link->series[p];
    char key[LK_KEY_SIZE], from[40], most[16];
    lk_key_partition(key, link->config->prefix, (unsigned)p, "r");
    /* From the last one applied on, where we know whom it revoked: so a log that was started anew shows. */
    snprintf(from, sizeof from, "%llu-0", (unsigned long long)(s->applied + !s->mark));
    snprintf(most, sizeof most, "%d", REPLAY_ENTRIES);
    lk_span words[6] = {lk_word("XRANGE"), lk_word(key), lk_word(from), lk_word("+"), lk_word("COUNT"), lk_word(most)};
    s->target = s->lacking;
    s->replay = LK_REPLAY_ASKED;
    link->replays++;
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_LOG + (uint32_t)p, words, 6);
}

/* Asks the log for what is missing. True: nothing is. */
static bool whole(lk_link *link, int64_t now_ms)
{
    bool gap = false, sent = true;
    for (int64_t p = 0; p < link->config->partitions && sent; p++) {
        if (!lk_sequence_gap(&link->series[p])) continue;
        gap = true;
        if (link->series[p].replay == LK_REPLAY_NONE && link->replays < REPLAYS_AT_ONCE) sent = send_replay(link, p);
    }
    if (!sent) no_memory(link, now_ms);
    return !gap;
}

/* Every number that the beat read must have been applied by now; else messages were lost. */
static void complete_beat(lk_link *link, int64_t now_ms)
{
    if (!link->beat.out || link->beat.answers || !link->beat.heard) return;
    /* The first beat of a server takes the numbers as they are, so L1 may keep nothing that was read before: emptying it
     * also voids the tickets of reads that are under way. */
    if (link->baseline) empty_for_another(link);
    link->baseline = false;
    for (int64_t p = 0; p < link->config->partitions; p++)
        lk_count(link->counters, LK_MISSED, lk_sequence_settle(&link->series[p]));
    end_everyone(link);
    if (!whole(link, now_ms)) return; /* goes on when the log was read */
    link->failures = 0;
    lk_count(link->counters, LK_BEATS, 1);
    int64_t sent_ms = link->beat.sent_ms;
    link->beat.out = false;
    /* Last: whoever reads this lease sees an L1 to which everything was applied. */
    link->host.lease(link->host.context, sent_ms, link->handshake[0].incarnation, link->server_ahead_us);
    lk_consistency_leased(&link->consistency, sent_ms + link->config->staleness_ms);
    lk_link_log_lease(&link->link_log, sent_ms, link->config->staleness_ms, link->counters);
}

static void answered(lk_link *link, int64_t now_ms)
{
    link->beat.answers--;
    complete_beat(link, now_ms);
}

/* A primary that was made a replica keeps its run id, its connections and its subscriptions, and goes on answering all
 * that a beat asks. Revocations go elsewhere then. One that was made a replica and a primary again since the last beat
 * shows it by its replication id alone; what it holds now is somebody else's history of writes. */
static void take_replication(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    char text[160];
    uint64_t replication;
    int status = lk_info_replication(reply, &replication, text, sizeof text);
    if (!status && replication == link->handshake[0].replication) {
        answered(link, now_ms);
        return;
    }
    if (!status) snprintf(text, sizeof text, "the server's replication id changed: it is met anew");
    if (status == LATCHKEY_CONFIG && reply->type == LK_REPLY_STRING)
        snprintf(text, sizeof text, "the server became a replica: name its primary");
    /* What it is refused for, if it is, the next hello says. */
    lk_link_lost(link, now_ms, reply->type == LK_REPLY_ERROR ? status : LATCHKEY_UNAVAILABLE, text);
}

/* Of MGET. */
static bool one_for_each(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    char text[160] = "Redis does not answer MGET as expected";
    int status = LATCHKEY_UNAVAILABLE;
    if (reply->type == LK_REPLY_ARRAY && reply->size == (size_t)link->config->partitions) return true;
    if (reply->type == LK_REPLY_ERROR) status = lk_error_status(reply, text, sizeof text);
    lk_link_lost(link, now_ms, status, text);
    return false;
}

static void take_numbers(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    if (!one_for_each(link, reply, now_ms)) return;
    bool backwards = false;
    for (size_t p = 0; p < reply->size; p++) {
        const lk_reply *item = reply->item[p];
        uint64_t number = item->type == LK_REPLY_STRING ? strtoull(item->text, NULL, 10) : 0;
        /* Less than at the last beat, or than what was known when this one was sent: Redis lost its count, or a number
         * that we took was not its. */
        if (lk_sequence_count(&link->series[p], number)) continue;
        backwards = true;
        lk_sequence_restart(&link->series[p], number);
    }
    if (backwards) empty(link); /* the server forgot: what it forgot is not known, so nothing from before counts */
    answered(link, now_ms);
}

static void take_epoch_keys(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    char text[160] = "Redis does not answer EXISTS as expected";
    int status = LATCHKEY_UNAVAILABLE;
    if (reply->type == LK_REPLY_INTEGER) {
        link->epoch_keys = reply->integer;
        answered(link, now_ms);
        return;
    }
    if (reply->type == LK_REPLY_ERROR) status = lk_error_status(reply, text, sizeof text);
    lk_link_lost(link, now_ms, status, text);
}

static void doubt(lk_link *link, unsigned p)
{
    char text[160];
    link->doubtful = true;
    if (!lk_cutoffs_doubt(link->cutoffs, p)) return;
    link->everyone = true; /* whom it spares is not known */
    lk_count(link->counters, LK_CORRUPT_RECORDS, 1);
    snprintf(text, sizeof text, "%.32s:{%u}:e is no epoch: latchkey_revoke_everyone replaces it", link->config->prefix,
             p);
    link->host.trouble(link->host.context, LATCHKEY_CORRUPT, text);
}

/* What the server holds as the partition's epoch. False: it knows less than we do. */
static bool take_epoch(lk_link *link, unsigned p, const lk_reply *item, bool strangers)
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

/* It was restarted, promoted or emptied since, or somebody deleted it. This beat is of no use then. */
static void tell_epochs(lk_link *link, size_t count, int64_t now_ms)
{
    link->beat.out = false;
    link->assertions = count;
    link->asserted = link->assertions_out = 0;
    enter(link, LK_LINK_REASSERTING, now_ms);
    go_on_asserting(link, now_ms);
}

static void take_epochs(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    if (!one_for_each(link, reply, now_ms)) return;
    long long texts = 0;
    size_t lacking = 0;
    for (size_t p = 0; p < reply->size; p++) texts += reply->item[p]->type == LK_REPLY_STRING;
    bool strangers = link->epoch_keys > texts;
    link->doubtful = false;
    for (unsigned p = 0; p < reply->size; p++) {
        if (take_epoch(link, p, reply->item[p], strangers)) continue;
        char word[LATCHKEY_SELECTOR_LENGTH + 4];
        lk_recent_item *item = &link->assertion[lacking++];
        snprintf(word, sizeof word, "*%019lld", (long long)lk_cutoffs_known(link->cutoffs, p));
        item->partition = p;
        memcpy(item->selector, word, sizeof item->selector);
    }
    if (lacking) tell_epochs(link, lacking, now_ms);
    else answered(link, now_ms);
}

/* Good to half a round trip, so the shortest of the recent ones is believed (Cristian 1989); what it is worth fades,
 * since clocks drift. A difference that the round trips do not explain is a clock that was set: believed at once. */
static void set_server_time(lk_link *link, int64_t server_us, int64_t round_us)
{
    int64_t ahead_us = server_us - (link->beat.sent_us + round_us / 2), off = ahead_us - link->server_ahead_us;
    link->best_round_us += link->best_round_us / 8 + 1;
    bool explained = link->server_ahead_us && (off < 0 ? -off : off) <= round_us + link->best_round_us;
    if (explained && round_us > link->best_round_us) return;
    link->best_round_us = round_us;
    link->server_ahead_us = ahead_us;
}

static void take_time(lk_link *link, const lk_reply *reply, int64_t now_us)
{
    if (reply->type == LK_REPLY_ERROR) {
        char text[160];
        int status = lk_error_status(reply, text, sizeof text);
        lk_link_lost(link, now_us / 1000, status, text);
        return;
    }
    bool two = reply->type == LK_REPLY_ARRAY && reply->size == 2 && reply->item[0]->type == LK_REPLY_STRING &&
               reply->item[1]->type == LK_REPLY_STRING;
    long long seconds = two ? atoll(reply->item[0]->text) : 0, micros = two ? atoll(reply->item[1]->text) : 0;
    /* A time that no clock shows is left alone: nothing that the lease is for depends on it. */
    if (seconds > 0 && seconds < TIME_MAX_US / 1000000 && micros >= 0 && micros < 1000000)
        set_server_time(link, seconds * 1000000 + micros, now_us - link->beat.sent_us);
    answered(link, now_us / 1000);
}

static void take_published(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    char text[160] = "Redis does not know our subscription any more";
    if (reply->type == LK_REPLY_INTEGER && reply->integer > 0) return;
    int status = reply->type == LK_REPLY_ERROR ? lk_error_status(reply, text, sizeof text) : LATCHKEY_UNAVAILABLE;
    lk_link_lost(link, now_ms, status, text);
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
        int status = lk_error_status(reply, text, sizeof text);
        lk_link_lost(link, now_ms, status, text);
        return;
    }
    link->beat.out = false;
    snprintf(text, sizeof text, "durability=%lld, but %lld replicas hold what was written: no lease",
             (long long)link->config->durability, reply->type == LK_REPLY_INTEGER ? (long long)reply->integer : 0);
    link->host.trouble(link->host.context, LATCHKEY_UNAVAILABLE, text);
}

/* -------------------------------------------------------------------------------------------------- jobs -- */

static bool send_audit(lk_link *link, unsigned place)
{
    const lk_job *job = &link->job[place];
    char key[LK_KEY_SIZE];
    lk_key_session(key, link->config->prefix, job->of.partition, job->of.selector);
    lk_span words[3] = {lk_word("HGET"), lk_word(key), lk_word("v")};
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_JOB + place, words, 3);
}

/* As a miss asks (judge.c). */
static bool send_refresh(lk_link *link, unsigned place)
{
    const lk_job *job = &link->job[place];
    char key[LK_KEY_SIZE];
    lk_key_session(key, link->config->prefix, job->of.partition, job->of.selector);
    lk_span hget[3] = {lk_word("HGET"), lk_word(key), lk_word("v")}, pttl[2] = {lk_word("PTTL"), lk_word(key)};
    lk_conn *conn = &link->conn[LK_LINK_COMMANDS];
    return lk_conn_send(conn, TAG_VALUE + place, hget, 3) && lk_conn_send(conn, TAG_JOB + place, pttl, 2);
}

static bool send_job(lk_link *link, unsigned place)
{
    const lk_job *job = &link->job[place];
    if (job->kind == LK_JOB_AUDIT) return send_audit(link, place);
    if (job->kind == LK_JOB_REFRESH) return send_refresh(link, place);
    const lk_script *script = &lk_scripts[job->kind == LK_JOB_TOUCH ? LK_SCRIPT_TOUCH : LK_SCRIPT_REVOKE];
    char base[LK_BASE_SIZE], key[LK_KEY_SIZE];
    lk_key_script_base(base, link->config->prefix, job->of.partition, link->config->events);
    lk_key_session(key, link->config->prefix, job->of.partition, job->of.selector);
    bool revoke = job->kind == LK_JOB_REVOKE, whole_script = job->whole_script;
    lk_span words[] = {lk_word(whole_script ? "EVAL" : "EVALSHA"),
                       whole_script ? (lk_span){script->text, script->size} : lk_word(script->sha),
                       lk_word("1"),
                       lk_word(key),
                       lk_word(base),
                       {job->of.selector, LATCHKEY_SELECTOR_LENGTH},
                       {job->of.verifier_hash, revoke || job->proven ? LK_HASH_SIZE : 0},
                       lk_word(job->of.held ? "1" : "0"),
                       lk_word(""),
                       lk_word(job->of.calls[0] ? job->of.calls + 1 : ""),
                       lk_word("1")};
    size_t count = !revoke ? 7 : link->config->events && job->of.calls[0] ? 11 : 8;
    lk_count(link->counters, LK_L2_WRITES, 1);
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_JOB + place, words, count);
}

/* As a token begins: see token.h. */
static unsigned partition_in(const uint8_t raw[LK_SELECTOR_RAW]) { return (raw[0] & 0x0fu) << 8 | raw[1]; }

/* The last of all jobs. */
static bool next_audit(lk_link *link, int64_t now_us, lk_job *job)
{
    memset(job, 0, sizeof *job);
    while (lk_consistency_due(&link->consistency, now_us)) {
        uint8_t raw[LK_SELECTOR_RAW];
        if (!link->host.sample(link->host.context, random_next(link), now_us / 1000, &job->seen) ||
            !lk_base64_decode(job->seen.selector, sizeof job->seen.selector, raw, sizeof raw))
            continue;
        job->kind = LK_JOB_AUDIT;
        job->of.partition = partition_in(raw);
        memcpy(job->of.selector, job->seen.selector, sizeof job->of.selector);
        return true;
    }
    return false;
}

static void start_jobs(lk_link *link, int64_t now_ms, int64_t now_us)
{
    for (unsigned i = 0; i < LK_LINK_JOBS && link->state == LK_LINK_UP; i++) {
        if (link->job[i].kind) continue;
        if (!link->host.next_job(link->host.context, now_ms, &link->job[i]) && !next_audit(link, now_us, &link->job[i]))
            return;
        if (!send_job(link, i)) no_memory(link, now_ms);
    }
}

static void take_job(lk_link *link, unsigned place, const lk_reply *reply, int64_t now_ms)
{
    lk_job *job = &link->job[place];
    int status = LATCHKEY_OK;
    if (reply->type == LK_REPLY_ERROR && strncmp(reply->text, "NOSCRIPT", 8) == 0 && !job->whole_script) {
        job->whole_script = true;
        if (!send_job(link, place)) no_memory(link, now_ms);
        return;
    }
    if (job->kind == LK_JOB_REFRESH) {
        link->host.refreshed(link->host.context, job, job->value, reply, link->handshake[0].incarnation);
    } else if (reply->type == LK_REPLY_ERROR) {
        char text[160];
        lk_count(link->counters, LK_L2_ERRORS, 1);
        status = lk_error_status(reply, text, sizeof text);
        link->host.trouble(link->host.context, status, text);
    } else if (job->kind == LK_JOB_AUDIT) lk_consistency_judge(&link->consistency, &job->seen, reply, now_ms);
    else if (reply->type != LK_REPLY_INTEGER && reply->type != LK_REPLY_STRING)
        status = LATCHKEY_UNAVAILABLE; /* not what our scripts answer */
    else if (job->kind == LK_JOB_TOUCH && lk_reuse_ended(reply)) {
        lk_reuse_report(link->counters, job->of.selector, now_ms);
        lk_event_reused(link->config, job->of.selector, lk_reuse_ended(reply));
    } else if (job->kind == LK_JOB_REVOKE && (reply->integer || reply->type == LK_REPLY_STRING)) { /* it is ended */
        const char *told = reply->type == LK_REPLY_STRING ? lk_event_told(reply->text) : NULL;
        snprintf(job->of.told, sizeof job->of.told, "%s", told ? told : "");
        lk_recent_add(link->recent, job->of.partition, job->of.selector, now_ms);
    }
    end_job(link, job, status);
}

/* ------------------------------------------------------------------------------------------ subscription -- */

/* "lk:{17}:rev" names a partition of ours, or -1. */
static int64_t partition_of(const lk_link *link, const lk_reply *channel)
{
    char name[LK_KEY_SIZE];
    const char *brace = strchr(channel->text, '{');
    if (!brace) return -1;
    long long p = atoll(brace + 1);
    if (p < 0 || p >= link->config->partitions) return -1;
    lk_key_partition(name, link->config->prefix, (unsigned)p, "rev");
    return strcmp(name, channel->text) ? -1 : p;
}

static bool selector_good(const char *text, size_t length)
{
    return length == LATCHKEY_SELECTOR_LENGTH &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") >= length;
}

/* Whom a revocation names, in short: its first word. */
static uint64_t mark_of(const char *text)
{
    size_t length = strcspn(text, " ");
    return lk_hash(text, length < LATCHKEY_SELECTOR_LENGTH ? length : LATCHKEY_SELECTOR_LENGTH, 0) | 1;
}

/* One word of a message, or of an entry of the log: "selector", or "*epoch". One that changed only is not ended. */
static void apply(lk_link *link, int64_t p, const char *word, size_t length, bool changed, int64_t now_ms)
{
    int64_t ms;
    if (*word == '*' && lk_cutoff_parse(word + 1, length - 1, &ms))
        link->everyone |= lk_cutoffs_set(link->cutoffs, (unsigned)p, ms);
    if (!selector_good(word, length)) return;
    if (!changed) lk_recent_add(link->recent, (unsigned)p, word, now_ms);
    link->host.purge(link->host.context, word);
    lk_count(link->counters, LK_PURGES, 1);
}

/* "@time in us" */
static void take_time_of_message(lk_link *link, const char *word, int64_t now_us)
{
    int64_t said_us = atoll(word + 1);
    if (!link->server_ahead_us || said_us <= 0 || said_us >= TIME_MAX_US) return;
    int64_t late_us = now_us + link->server_ahead_us - said_us;
    lk_histogram_add(&link->counters->revocation_us, late_us > 0 ? (uint64_t)late_us : 0);
}

static void take_number(lk_link *link, int64_t p, uint64_t number, uint64_t mark)
{
    lk_sequence *s = &link->series[p];
    uint64_t missed;
    /* Before the first beat nothing is compared: that empties. */
    if (!link->baseline && lk_sequence_message(s, number, mark, &missed)) {
        lk_count(link->counters, LK_MISSED, missed);
        return;
    }
    if (!link->baseline) empty(link);
    lk_sequence_restart(s, number - 1);
    lk_sequence_message(s, number, mark, &missed);
}

/* "number selector... [@time in us] [changed]", or "number *epoch @time in us" */
static void take_revocation(lk_link *link, int64_t p, const char *text, int64_t now_us)
{
    char *at;
    uint64_t number = strtoull(text, &at, 10);
    if (at == text || *at != ' ' || !number) {
        link->host.trouble(link->host.context, LATCHKEY_CORRUPT, "a foreign message on a revocation channel");
        return;
    }
    take_number(link, p, number, mark_of(at + 1));
    bool changed = strstr(at, " changed") != NULL;
    while (*at == ' ') {
        const char *start = ++at;
        size_t length = strcspn(start, " ");
        at += length;
        if (*start == '@') take_time_of_message(link, start, now_us);
        else apply(link, p, start, length, changed, now_us / 1000);
    }
    if (lk_sequence_gap(&link->series[p])) whole(link, now_us / 1000);
}

/* ------------------------------------------------------------------------------------------------ the log -- */

/* [["7-0", ["s", "selector...", "c", "1"]], ...]: applies them in turn. False where they do not go on from what was applied. */
static bool take_entry(lk_link *link, int64_t p, const lk_reply *entry, int64_t now_ms)
{
    lk_sequence *s = &link->series[p];
    bool pair = entry->type == LK_REPLY_ARRAY && entry->size == 2 && entry->item[0]->type == LK_REPLY_STRING &&
                entry->item[1]->type == LK_REPLY_ARRAY && entry->item[1]->size >= 2;
    const lk_reply *what = pair ? entry->item[1]->item[1] : NULL;
    if (!what || what->type != LK_REPLY_STRING || !lk_reply_is(entry->item[1]->item[0], "s")) return false;
    char *end;
    uint64_t number = strtoull(entry->item[0]->text, &end, 10), before = s->applied;
    if (strcmp(end, "-0") || !lk_sequence_logged(s, number, mark_of(what->text))) return false;
    if (number == before) return true; /* applied long ago */
    bool changed = entry->item[1]->size > 2 && lk_reply_is(entry->item[1]->item[2], "c");
    for (const char *at = what->text; *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        apply(link, p, at, length, changed, now_ms);
        at += length;
    }
    lk_count(link->counters, LK_REPLAYED, 1);
    return true;
}

/* True: what was asked for is there, or more of it may be. */
static bool take_entries(lk_link *link, int64_t p, const lk_reply *reply, int64_t now_ms)
{
    lk_sequence *s = &link->series[p];
    if (reply->type != LK_REPLY_ARRAY) return false;
    for (size_t i = 0; i < reply->size; i++)
        if (!take_entry(link, p, reply->item[i], now_ms)) return false;
    lk_sequence_join(s);
    return s->applied >= s->target || reply->size == REPLAY_ENTRIES;
}

static void take_log(lk_link *link, uint32_t p, const lk_reply *reply, int64_t now_ms)
{
    lk_sequence *s = &link->series[p];
    bool overtaken = s->replay == LK_REPLAY_VOID;
    s->replay = LK_REPLAY_NONE;
    link->replays--;
    if (reply->type == LK_REPLY_ERROR) {
        char text[160];
        int status = lk_error_status(reply, text, sizeof text);
        link->host.trouble(link->host.context, status, text);
    }
    /* One that was asked for before the numbers were started anew tells nothing: the gap, if there is one, is another. */
    if (!overtaken && !take_entries(link, p, reply, now_ms)) empty(link);
    if (whole(link, now_ms)) complete_beat(link, now_ms);
}

static void take_message(lk_link *link, const lk_reply *channel, const lk_reply *payload, int64_t now_us)
{
    if (strcmp(channel->text, link->heartbeat) == 0) {
        uint64_t nonce = strtoull(payload->text, NULL, 16);
        if (!link->beat.out || nonce != link->beat.nonce) return; /* of an older beat */
        link->beat.heard = true;
        complete_beat(link, now_us / 1000);
        return;
    }
    int64_t p = partition_of(link, channel);
    if (p >= 0) take_revocation(link, p, payload->text, now_us);
}

static void take_push(lk_link *link, const lk_reply *reply, int64_t now_ms, int64_t now_us)
{
    if (reply->type == LK_REPLY_ERROR) {
        char text[160];
        int status = lk_error_status(reply, text, sizeof text);
        lk_link_lost(link, now_ms, status, text);
        return;
    }
    bool three = reply->type == LK_REPLY_ARRAY && reply->size == 3 && reply->item[1]->type == LK_REPLY_STRING;
    if (three && lk_reply_is(reply->item[0], "subscribe") && link->state == LK_LINK_SUBSCRIBING) {
        if (link->subscriptions && !--link->subscriptions) subscribed(link, now_ms);
    } else if (three && lk_reply_is(reply->item[0], "message") && reply->item[2]->type == LK_REPLY_STRING) {
        /* One of a channel that was confirmed may come before the last confirmation: the first beat finds it. */
        if (link->state >= LK_LINK_REASSERTING) take_message(link, reply->item[1], reply->item[2], now_us);
    } else lk_link_lost(link, now_ms, LATCHKEY_UNAVAILABLE, "the subscription was ended or answered unasked");
}

/* ------------------------------------------------------------------------------------------------- events -- */

/* The first reply of a job that has two waits for the other. */
static bool keep(lk_link *link, int which, lk_reply *reply)
{
    if (which != LK_LINK_COMMANDS || reply->tag < TAG_VALUE || reply->tag >= TAG_LOG) return false;
    link->job[reply->tag - TAG_VALUE].value = reply;
    return true;
}

static void take(lk_link *link, int which, const lk_reply *reply, int64_t now_ms, int64_t now_us)
{
    uint32_t tag = reply->tag;
    if (tag >= LK_HANDSHAKE_TAG) take_hello(link, which, reply, now_ms);
    else if (which == LK_LINK_SUBSCRIPTION) take_push(link, reply, now_ms, now_us);
    else if (tag == TAG_READ_PARTITIONS) take_partitions(link, reply, now_ms);
    else if (tag == TAG_SETTINGS) take_settings(link, reply);
    else if (tag == TAG_NUMBERS) take_numbers(link, reply, now_ms);
    else if (tag == TAG_EPOCH_KEYS) take_epoch_keys(link, reply, now_ms);
    else if (tag == TAG_EPOCHS) take_epochs(link, reply, now_ms);
    else if (tag == TAG_TIME) take_time(link, reply, now_us);
    else if (tag == TAG_REPLICATION) take_replication(link, reply, now_ms);
    else if (tag == TAG_REASSERTED) take_assertion(link, reply, now_ms);
    else if (tag == TAG_RECORD_PARTITIONS) take_recorded(link, reply);
    else if (tag >= TAG_LOG) take_log(link, tag - TAG_LOG, reply, now_ms);
    else if (tag >= TAG_JOB) take_job(link, tag - TAG_JOB, reply, now_ms);
    else if (tag == TAG_PUBLISHED) take_published(link, reply, now_ms);
    else if (tag == TAG_HELD) take_held(link, reply, now_ms);
}

void lk_link_fed(lk_link *link, int which, int64_t now_us)
{
    int64_t now_ms = now_us / 1000;
    lk_reply *reply;
    int got = 0;
    while (link->state > LK_LINK_CONNECTING && (got = lk_conn_next(&link->conn[which], &reply)) > 0) {
        if (keep(link, which, reply)) continue;
        take(link, which, reply, now_ms, now_us);
        lk_reply_free(reply);
    }
    end_everyone(link);
    if (got >= 0 || link->state <= LK_LINK_CONNECTING) return;
    char text[160];
    const char *why = lk_resp_error(link->conn[which].resp);
    snprintf(text, sizeof text, "the server is not usable: %s", *why ? why : "it answers more than it was asked");
    /* What never spoke RESP is not Redis; what stops to, is broken. */
    bool foreign = link->state == LK_LINK_HANDSHAKE && !lk_resp_no_memory(link->conn[which].resp);
    lk_link_lost(link, now_ms, foreign ? LATCHKEY_CONFIG : LATCHKEY_UNAVAILABLE, text);
}

static int64_t handshake_end(const lk_link *link)
{
    return link->since_ms + most(link->config->deadline_ms, HANDSHAKE_LEAST_MS);
}
static int64_t beat_end(const lk_link *link)
{
    return link->beat.sent_ms + most(link->config->staleness_ms / 2, BEAT_TIMEOUT_LEAST_MS);
}

void lk_link_beat_now(lk_link *link, int64_t now_ms)
{
    /* Not faster than this, however many ask: a beat that was just answered would have served them. */
    int64_t soonest_ms = most(now_ms, link->beat.sent_ms + BEAT_APART_MS);
    if (link->state == LK_LINK_UP && !link->beat.out && link->next_beat_ms > soonest_ms)
        link->next_beat_ms = soonest_ms;
}

void lk_link_tick(lk_link *link, int64_t now_us)
{
    int64_t now_ms = now_us / 1000;
    if (link->state == LK_LINK_DOWN && now_ms >= link->retry_at_ms) enter(link, LK_LINK_CONNECTING, now_ms);
    else if (link->state > LK_LINK_CONNECTING && link->state < LK_LINK_UP && now_ms >= handshake_end(link))
        lk_link_lost(link, now_ms, LATCHKEY_UNAVAILABLE, "Redis takes the connection but does not answer");
    if (link->state != LK_LINK_UP) return;
    if (link->beat.out && now_ms >= beat_end(link)) {
        lk_link_lost(link, now_ms, LATCHKEY_UNAVAILABLE, "a beat did not come back through the subscription in time");
        return;
    }
    if (!link->beat.out && now_ms >= link->next_beat_ms) send_beat(link, now_ms, now_us);
    if (link->config->audit_per_s)
        lk_consistency_recheck(&link->consistency, now_ms, link->host.still, link->host.context);
    if (link->state == LK_LINK_UP) start_jobs(link, now_ms, now_us);
    lk_consistency_rest(&link->consistency, now_us);
}

int64_t lk_link_wake_ms(const lk_link *link)
{
    if (link->state == LK_LINK_DOWN) return link->retry_at_ms;
    if (link->state == LK_LINK_CONNECTING) return link->since_ms;
    if (link->state != LK_LINK_UP) return handshake_end(link);
    return least(link->beat.out ? beat_end(link) : link->next_beat_ms, lk_consistency_wake_ms(&link->consistency));
}

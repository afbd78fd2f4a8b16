/* What is applied to L1: the messages of the subscription, the entries of the log that fill a gap, and the emptying if
 * neither has everything.
 *
 *   message "7 selector... @us" --number expected?--> purge
 *                                  \--no: XRANGE from the last one applied--> purge, in order
 *                                                       \--the log does not go on from there--> empty
 *
 * Invariants: a number counts as applied only once its selectors were purged, or L1 was emptied after it (sequence.h). */
#include "l2/link_parts.h"

#include "base/hash.h"
#include "redis/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLAYS_AT_ONCE = 64, REPLAY_ENTRIES = 512 };

/* Then every known revocation is applied, whatever became of its message. */
void lk_link_empty(lk_link *link, lk_partitions of)
{
    link->host.emptying(link->host.context, of);
    link->l1.empty(link->l1.context, of);
    lk_link_emptied(link);
    for (size_t i = 0; i < of.count; i++) lk_sequence_skip(&link->part[of.at[i]].sequence);
}

/* What is in L1 comes from another server: that is nothing to log. */
void lk_link_empty_for_another(lk_link *link, lk_partitions of)
{
    link->link_log.expected++;
    lk_link_empty(link, of);
}

static bool send_replay(lk_link *link, int64_t p)
{
    lk_sequence *s = &link->part[p].sequence;
    char key[LK_KEY_SIZE], from[40], max[16];
    lk_key_partition(key, link->config->prefix, (unsigned)p, "r");
    /* From the last one applied, if it is known what that one revoked: so a log that was started anew shows. */
    snprintf(from, sizeof from, "%llu-0", (unsigned long long)(s->applied + !s->mark));
    snprintf(max, sizeof max, "%d", REPLAY_ENTRIES);
    lk_span words[6] = {lk_word("XRANGE"), lk_word(key), lk_word(from), lk_word("+"), lk_word("COUNT"), lk_word(max)};
    s->target = s->missing;
    s->replay = LK_REPLAY_ASKED;
    link->replays++;
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_LOG + (uint32_t)p, words, 6);
}

/* Asks the log for what is missing. True: nothing is missing. */
bool lk_link_complete(lk_link *link, int64_t now_ms)
{
    bool gap = false, sent = true;
    for (size_t i = 0; i < link->partitions.count && sent; i++) {
        const lk_link_part *part = &link->part[link->partitions.at[i]];
        if (!lk_sequence_gap(&part->sequence) || part->unsure) continue;
        gap = true;
        if (part->sequence.replay == LK_REPLAY_NONE && link->replays < REPLAYS_AT_ONCE)
            sent = send_replay(link, link->partitions.at[i]);
    }
    if (!sent) lk_link_no_memory(link, now_ms);
    return !gap;
}

/* The partition of this link that "lk:{17}:rev" names, or -1. */
int64_t lk_link_partition_of(const lk_link *link, const lk_reply *channel)
{
    char name[LK_KEY_SIZE];
    const char *brace = strchr(channel->text, '{');
    if (!brace) return -1;
    long long p = atoll(brace + 1);
    if (p < 0 || p >= LK_PARTITIONS_MAX || !lk_partitions_have(link->partitions, (unsigned)p)) return -1;
    lk_key_partition(name, link->config->prefix, (unsigned)p, "rev");
    return strcmp(name, channel->text) ? -1 : p;
}

/* What happened to the sessions that an announcement names: they ended; they only changed; what they give their
 * users changed; or they were made, with a token that was known before. */
enum change { CHANGE_ENDED, CHANGE_ONLY, CHANGE_RIGHTS, CHANGE_MADE };

/* A hash of the first selector that an announcement names, and of what happened to it: data that were replaced may give the number of a
 * session's change to its end. */
static uint64_t mark_of(const char *text, enum change change)
{
    size_t length = strcspn(text, " ");
    return lk_hash(text, length < LATCHKEY_SELECTOR_LENGTH ? length : LATCHKEY_SELECTOR_LENGTH, (uint64_t)change) | 1;
}

/* Applies one word of the announcement with that number: "selector", or "*cutoff". */
static void apply(lk_link *link, int64_t p, const char *word, size_t length, enum change change, uint64_t number,
                  int64_t now_ms)
{
    int64_t ms;
    if (*word == '*' && lk_cutoff_parse(word + 1, length - 1, &ms))
        link->everyone |= lk_cutoffs_set(link->cutoffs, (unsigned)p, ms);
    if (length != LATCHKEY_SELECTOR_LENGTH || !lk_selector_spelled(word)) return;
    if (change == CHANGE_MADE) {
        link->l1.made(link->l1.context, word);
        return;
    }
    if (change == CHANGE_ENDED) link->heard |= lk_recent_add(link->recent, (unsigned)p, word, now_ms);
    if (change == CHANGE_RIGHTS) link->heard |= lk_recent_add_change(link->recent, (unsigned)p, word, number, now_ms);
    link->l1.purge(link->l1.context, word);
    lk_count(link->counters, LK_PURGES, 1);
}

/* "@time in us" */
static void take_time_of_message(lk_link *link, const char *word, int64_t now_us)
{
    int64_t said_us = atoll(word + 1);
    if (!link->server_ahead_us || said_us <= 0 || said_us >= LK_LINK_TIME_MAX_US) return;
    int64_t late_us = now_us + link->server_ahead_us - said_us;
    lk_histogram_add(&link->counters->revocation_us, late_us > 0 ? (uint64_t)late_us : 0);
}

static void take_number(lk_link *link, int64_t p, uint64_t number, uint64_t mark, int64_t now_ms)
{
    lk_sequence *s = &link->part[p].sequence;
    uint64_t missed;
    /* Before the first beat nothing is compared: that beat empties L1. */
    if (!link->part[p].fresh) {
        if (lk_sequence_message(s, number, mark, &missed)) {
            lk_link_missed(link, missed);
            return;
        }
        lk_link_forgot(link, now_ms, true);
    }
    lk_sequence_restart(s, number - 1);
    lk_sequence_message(s, number, mark, &missed);
}

/* Redis' channels do not belong to a database: two deployments with one prefix, in two databases of a server, receive
 * each other's messages. So a message names its database behind " /"; a message without one is of database 0, as are
 * all messages of older versions. An older instance in another database is not understood: the next beat finds what it
 * revokes, by its number. */
static bool of_our_database(const lk_link *link, const char *text)
{
    const char *name = strstr(text, " /");
    return (name ? atoll(name + 2) : 0) == link->config->database;
}

/* "number selector... [@time in us] [changed [rights|made]] [/database]", or "number *cutoff @time in us [/database]" */
void lk_link_take_revocation(lk_link *link, int64_t p, const char *text, int64_t now_us)
{
    char *at;
    if (!of_our_database(link, text)) return;
    uint64_t number = strtoull(text, &at, 10);
    if (at == text || *at != ' ' || !number) {
        link->host.trouble(link->host.context, LATCHKEY_CORRUPT, "a foreign message on a revocation channel");
        return;
    }
    enum change change = strstr(at, " changed rights") ? CHANGE_RIGHTS
                         : strstr(at, " changed made") ? CHANGE_MADE
                         : strstr(at, " changed")      ? CHANGE_ONLY
                                                       : CHANGE_ENDED;
    take_number(link, p, number, mark_of(at + 1, change), now_us / 1000);
    while (*at == ' ') {
        const char *start = ++at;
        size_t length = strcspn(start, " ");
        at += length;
        if (*start == '@') take_time_of_message(link, start, now_us);
        else apply(link, p, start, length, change, number, now_us / 1000);
    }
    lk_link_note_applied(link, (unsigned)p, number);
    if (lk_sequence_gap(&link->part[p].sequence)) lk_link_complete(link, now_us / 1000);
}

enum log_says { LOG_GOES_ON, LOG_TOO_SHORT, LOG_IS_ANOTHER };

static enum change logged_change(const lk_reply *fields)
{
    if (!lk_reply_is(lk_reply_at(fields, 2), "c")) return CHANGE_ENDED;
    if (lk_reply_is(lk_reply_at(fields, 3), "3")) return CHANGE_MADE;
    return lk_reply_is(lk_reply_at(fields, 3), "2") ? CHANGE_RIGHTS : CHANGE_ONLY;
}

/* An entry is ["7-0", ["s", "selector...", "c", "1"]], with "2" if rights changed, "3" if it was made. It is applied if it continues what
 * was applied before. If the entry that was applied last names another session, this is not the log that was followed:
 * the data set was replaced. If that entry has gone, this is not known: then the log is too short, although it may go on from there. */
static enum log_says take_entry(lk_link *link, int64_t p, const lk_reply *entry, bool first, int64_t now_ms)
{
    lk_sequence *s = &link->part[p].sequence;
    const lk_reply *fields = lk_reply_at(entry, 1), *what = lk_reply_at(fields, 1);
    if (!lk_reply_shaped(entry, "sa") || !lk_reply_shaped(fields, "ss(ss)")) return LOG_TOO_SHORT;
    if (!lk_reply_is(lk_reply_at(fields, 0), "s")) return LOG_TOO_SHORT;
    char *end;
    uint64_t number = strtoull(lk_reply_at(entry, 0)->text, &end, 10), before = s->applied;
    if (strcmp(end, "-0") || (first && s->mark && number > before)) return LOG_TOO_SHORT;
    enum change change = logged_change(fields);
    if (!lk_sequence_logged(s, number, mark_of(what->text, change)))
        return number == before ? LOG_IS_ANOTHER : LOG_TOO_SHORT;
    if (number == before) return LOG_GOES_ON; /* it was applied before */
    for (const char *at = what->text; *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        apply(link, p, at, length, change, number, now_ms);
        at += length;
    }
    lk_link_note_applied(link, (unsigned)p, number);
    lk_count(link->counters, LK_REPLAYED, 1);
    return LOG_GOES_ON;
}

/* LOG_GOES_ON: what was asked for is there, or there may be more. */
static enum log_says take_entries(lk_link *link, int64_t p, const lk_reply *reply, int64_t now_ms)
{
    lk_sequence *s = &link->part[p].sequence;
    if (reply->type != LK_REPLY_ARRAY) return LOG_TOO_SHORT;
    for (size_t i = 0; i < reply->count; i++) {
        enum log_says says = take_entry(link, p, lk_reply_at(reply, i), !i, now_ms);
        if (says != LOG_GOES_ON) return says;
    }
    lk_sequence_join(s);
    return s->applied >= s->target || reply->count == REPLAY_ENTRIES ? LOG_GOES_ON : LOG_TOO_SHORT;
}

void lk_link_take_log(lk_link *link, uint32_t p, const lk_reply *reply, int64_t now_ms)
{
    lk_sequence *s = &link->part[p].sequence;
    bool overtaken = s->replay == LK_REPLAY_VOID;
    bool elsewhere = link->config->cluster && lk_error_is_elsewhere(reply);
    s->replay = LK_REPLAY_NONE;
    link->replays--;
    if (reply->type == LK_REPLY_ERROR) {
        char text[160];
        int status = lk_error_status(reply, text, sizeof text);
        link->host.trouble(link->host.context, status, text);
    }
    /* A reply that was asked for before the numbers were started anew tells nothing: the gap, if there is one, is
     * another. */
    if (elsewhere) link->part[p].unsure = true; /* the gap stays, for a later beat */
    enum log_says says = overtaken || elsewhere ? LOG_GOES_ON : take_entries(link, p, reply, now_ms);
    if (says == LOG_TOO_SHORT) {
        lk_link_empty(link, link->partitions);
        link->unheard = link->heard = true;
    }
    if (says == LOG_IS_ANOTHER && !link->part[p].fresh) lk_link_forgot(link, now_ms, false);
    if (lk_link_complete(link, now_ms)) lk_link_complete_beat(link, now_ms);
}

/* What a server is told of revocations that it may not know, and when a server counts as another one.
 *
 *   meet    a partition's server is another one, or its data set is: the partition is fresh until the first beat after
 *           that has brought its numbers
 *   tell    what is remembered (recent.h) is made again there, by reassert.lua; so are cut-offs that are newer
 *
 * Invariants: a partition gets no lease before its server was told. L1 is emptied of a partition when its server is met
 * and again when its numbers are taken (link.h). In a cluster, an answer may say that a partition's slot moves: then
 * that partition alone waits for a later beat, and is told again.
 *
 * In a cluster, a partition that this link did not have a moment ago is met as on a new server, also if the slot was
 * moved with all of its keys: the node that had it may have done so while another one took over. But if it is known that
 * the slot was moved as a whole (past.h), nothing is lost, and other instances need no time to tell. */
#include "l2/link_parts.h"

#include "redis/script.h"

#include <stdio.h>
#include <string.h>

enum { ASSERTED_BY_ONE = 64, ASSERTIONS_AT_ONCE = 32, ASSERTION_SIZE = 48 };

/* ------------------------------------------------------------------------------------------- which partitions -- */

static bool is_fresh(const lk_link *link, unsigned p) { return link->part[p].fresh; }
static bool is_listed(const lk_link *link, unsigned p) { return link->part[p].listed && !link->part[p].unsure; }
static bool is_untold(const lk_link *link, unsigned p) { return link->part[p].untold && !link->part[p].unsure; }
static bool is_new(const lk_link *link, unsigned p)
{
    return link->part[p].met != link->handshake[LK_LINK_COMMANDS].incarnation;
}

/* Was it met before, by this link or another one of this handle? */
static bool was_met(const lk_link *link, unsigned p)
{
    return link->part[p].met || lk_past_confirmed_ms(link->past, p);
}

/* ------------------------------------------------------------------------------------------------- assertions -- */

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
    if (!link->asserted || link->assert_by_text) lk_script_by_text(words, LK_SCRIPT_REASSERT);
    for (; count < ASSERTED_BY_ONE && link->asserted < link->assertions; count++, link->asserted++) {
        const lk_recent_item *item = &link->assertion[link->asserted];
        if (item->partition != first->partition) break;
        words[head + count] = (lk_span){text[count], write_assertion(item, text[count])};
    }
    /* If only logins were lost, the number did not go back. It moves all the same, so that every other instance, whose own
     * count may be reached again by the next beat, sees a gap. */
    uint64_t most = lk_past_most(link->past, first->partition) + link->lost;
    int size = snprintf(text[count], ASSERTION_SIZE, "#%" PRIu64, most);
    if (most) words[head + count] = (lk_span){text[count], (size_t)size};
    count += most != 0;
    lk_count(link->counters, LK_L2_WRITES, 1);
    link->assertions_out++;
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_ASSERTED + first->partition, words, head + count);
}

static void note_told(lk_link *link)
{
    lk_recent_told(link->recent, lk_link_those(link, is_listed), link->listed_ms);
    for (size_t i = 0; i < link->partitions.count; i++) {
        lk_link_part *part = &link->part[link->partitions.at[i]];
        part->untold &= !part->listed || part->unsure;
        part->listed = false;
    }
}

void lk_link_assert(lk_link *link, int64_t now_ms)
{
    bool sent = true;
    while (sent && link->asserted < link->assertions && link->assertions_out < ASSERTIONS_AT_ONCE)
        sent = send_assertion(link);
    if (!sent) {
        lk_link_no_memory(link, now_ms);
    } else if (!link->assertions_out && link->own_heard) {
        note_told(link);
        link->lost = false;
        link->next_beat_ms = lk_later(now_ms, link->beat.sent_ms + LK_LINK_BEAT_APART_MS);
        lk_link_enter(link, LK_LINK_UP, now_ms);
    }
}

/* The slot moves, or is gone. In a cluster, a server also may not know the script, if the call that brought its text
 * was for such a slot; then all calls bring it. */
static bool is_put_off(lk_link *link, const lk_reply *reply)
{
    if (!link->config->cluster || reply->type != LK_REPLY_ERROR) return false;
    bool unknown = strncmp(reply->text, "NOSCRIPT", 8) == 0;
    link->assert_by_text |= unknown;
    return unknown || lk_error_is_elsewhere(reply);
}

/* Nothing is served before all of them were done: after an error it does not go on without them. */
void lk_link_take_assertion(lk_link *link, unsigned p, const lk_reply *reply, int64_t now_ms)
{
    if (is_put_off(link, reply)) {
        link->part[p].unsure = true;
    } else if (reply->type != LK_REPLY_INTEGER) {
        lk_link_refused(link, reply, now_ms,
                        "Redis gave an unexpected answer when recent revocations were re-asserted");
        return;
    }
    link->assertions_out--;
    lk_link_assert(link, now_ms);
}

/* ----------------------------------------------------------------------------------------------------- telling -- */

void lk_link_note_most(lk_link *link, unsigned p)
{
    lk_past_note(link->past, p, lk_sequence_top(&link->part[p].sequence));
}

/* What has to be made again in these partitions: what was new when a server was last confirmed. */
static void list_assertions(lk_link *link, lk_partitions of, int64_t now_ms)
{
    int64_t least_ms = now_ms;
    size_t count, kept = 0;
    for (size_t i = 0; i < of.count; i++) {
        int64_t then_ms = lk_past_confirmed_ms(link->past, of.at[i]);
        if (then_ms) least_ms = lk_earlier(least_ms, then_ms);
        link->part[of.at[i]].listed = true;
    }
    link->asserted = 0;
    link->heard = false;
    link->listed_ms = now_ms;
    count = lk_recent_list(link->recent, of, least_ms, link->assertion);
    for (size_t i = 0; i < count; i++) {
        int64_t then_ms = lk_past_confirmed_ms(link->past, link->assertion[i].partition);
        if (link->assertion[i].at_ms > (then_ms ? then_ms : now_ms) - LK_RECENT_MS)
            link->assertion[kept++] = link->assertion[i];
    }
    link->assertions = kept;
}

static void tell_recent(lk_link *link, int64_t now_ms)
{
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
    lk_partitions counted = lk_link_those(link, lk_link_counts);
    size_t count = lk_recent_unheard(link->recent, counted, before_ms, link->assertion);
    if (!count) return false;
    for (size_t i = 0; i < counted.count; i++) link->part[counted.at[i]].listed = true;
    lk_link_tell(link, count, before_ms, now_ms);
    return true;
}

bool lk_link_tell_heard(lk_link *link, int64_t now_ms)
{
    bool more = link->unheard && link->heard;
    link->unheard = false;
    for (size_t i = 0; more && i < link->partitions.count; i++) link->part[link->partitions.at[i]].untold = true;
    lk_partitions untold = lk_link_those(link, is_untold);
    if (!untold.count) return false;
    list_assertions(link, untold, now_ms);
    if (link->assertions) tell_recent(link, now_ms);
    else note_told(link);
    return link->assertions;
}

/* ----------------------------------------------------------------------------------------------------- meeting -- */

/* Their server's past is another one. The host is told first. Reason: a revocation that the server before answered, and
 * that is added to the recent ones from now on, may come too late for the list below. Its caller then makes it again. */
static void meet(lk_link *link, lk_partitions of, bool unheard)
{
    uint64_t incarnation = link->handshake[LK_LINK_COMMANDS].incarnation;
    for (size_t i = 0; i < of.count; i++) {
        lk_link_part *part = &link->part[of.at[i]];
        lk_link_note_most(link, of.at[i]);
        link->fresh += !part->fresh;
        part->met = incarnation;
        part->cutoff_below = 0;
        part->fresh = part->untold = true;
    }
    link->unheard = unheard || (link->unheard && of.count < link->partitions.count);
    link->meetings++;
    link->vain = 0;
    link->host.met(link->host.context, incarnation, of);
}

void lk_link_forgot(lk_link *link, int64_t now_ms, bool heard_all)
{
    link->host.trouble(link->host.context, LATCHKEY_UNAVAILABLE,
                       "Redis counts its revocations anew: its data set was lost or replaced");
    lk_link_record_again(link, now_ms);
    if (link->state == LK_LINK_DOWN) return;
    meet(link, link->partitions, !heard_all);
    link->witness_of = 0; /* the next beat takes the count as it is */
    lk_link_empty(link, link->partitions);
    for (size_t i = 0; i < link->partitions.count; i++) {
        lk_sequence *s = &link->part[link->partitions.at[i]].sequence;
        /* The answer to a replay that is under way is from before this. */
        *s = (lk_sequence){.replay = s->replay == LK_REPLAY_NONE ? LK_REPLAY_NONE : LK_REPLAY_VOID};
    }
    list_assertions(link, link->partitions, now_ms);
    tell_recent(link, now_ms);
}

/* L1 may hold something of them, unless none was ever met. */
static void meet_new(lk_link *link, int64_t now_ms)
{
    lk_partitions new = lk_link_those(link, is_new);
    bool first = true, waits = link->config->sentinels || link->config->cluster;
    for (size_t i = 0; i < new.count; i++) first &= !was_met(link, new.at[i]);
    if (!new.count) return;
    meet(link, new, false);
    if (first) return;
    lk_link_empty_for_another(link, new);
    for (size_t i = 0; waits && i < new.count; i++)
        if (lk_past_whole(link->past, new.at[i]) != link->handshake[LK_LINK_COMMANDS].incarnation)
            link->part[new.at[i]].serve_ms = now_ms + lk_link_told_ms(link->config);
}

/* From here on every revocation arrives. The first beat finds what was missed before. */
void lk_link_subscribed(lk_link *link, int64_t now_ms)
{
    if (link->was_up) lk_count(link->counters, LK_RECONNECTS, 1);
    link->was_up = link->own_heard = true;
    meet_new(link, now_ms);
    link->replays = 0;
    for (size_t i = 0; i < link->partitions.count; i++) {
        lk_link_part *part = &link->part[link->partitions.at[i]];
        if (part->fresh) part->sequence = (lk_sequence){0};
        part->listed = part->unsure = false;
        lk_sequence_resubscribe(&part->sequence);
    }
    link->scripts_alone = link->assert_by_text = false;
    memset(link->prolonged_ms, 0, sizeof link->prolonged_ms);
    link->server_ahead_us = 0; /* it may be another server */
    link->asserted = link->assertions = link->assertions_out = 0;
    link->listed_ms = 0;
    link->witnessed = 0; /* whether the last beat moved the count is not known */
    link->lost = false;
    /* Until its first beat came back, a server may still have to be told: the connection broke in the middle of that. */
    if (link->fresh) list_assertions(link, lk_link_those(link, is_fresh), now_ms);
    lk_link_enter(link, LK_LINK_REASSERTING, now_ms);
    lk_link_assert(link, now_ms);
}

/* The partitions that it had are as they were. */
void lk_link_meet_more(lk_link *link, int64_t now_ms)
{
    bool heard = link->heard;
    lk_link_subscribe_more(link, now_ms);
    if (link->state != LK_LINK_UP) return;
    meet_new(link, now_ms);
    link->assertions = link->asserted = 0;
    lk_partitions untold = lk_link_those(link, is_untold);
    if (untold.count) list_assertions(link, untold, now_ms);
    link->heard |= heard;
    lk_link_enter(link, LK_LINK_REASSERTING, now_ms);
    lk_link_assert(link, now_ms);
}

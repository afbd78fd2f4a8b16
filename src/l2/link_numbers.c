/* What a beat reads: each partition's number of the last revocation, and its cut-off; and the count that shows an older
 * data set. How a server alone is asked; and what the answers mean, also to a node of a cluster (link_cluster.c). */
#include "l2/link_parts.h"

#include "redis/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
bool lk_link_send_numbers(lk_link *link)
{
    static const char *const cutoffs[2] = {"e", NULL}, *const both[2] = {"q", "e"};
    link->cutoff_keys = 0;
    bool count = link->fresh || link->doubtful;
    link->beat.answers += 1 + count;
    return (!count || send_for_all(link, TAG_CUTOFF_KEYS, "EXISTS", cutoffs)) &&
           send_for_all(link, TAG_NUMBERS, "MGET", both);
}

/* Redis lost its count if the number is less than at the last beat, or than what was known when this one was sent; or a
 * number that was taken before was not its own. For a server that is just being met nothing from before counts anyway. */
bool lk_link_take_number(lk_link *link, unsigned p, const lk_reply *item)
{
    lk_sequence *s = &link->part[p].sequence;
    uint64_t number = item->type == LK_REPLY_STRING ? strtoull(item->text, NULL, 10) : 0;
    if (lk_sequence_count(s, number)) return true;
    lk_link_note_most(link, p);
    lk_sequence_restart(s, number);
    return link->part[p].fresh;
}

void lk_link_take_cutoff_keys(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    if (reply->type != LK_REPLY_INTEGER) {
        lk_link_refused(link, reply, now_ms, "Redis does not answer EXISTS as expected");
        return;
    }
    link->cutoff_keys = reply->integer;
    lk_link_answered(link, now_ms);
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

/* What the server holds as the partition's cut-off. It was read behind the number that was counted. */
void lk_link_take_cutoff(lk_link *link, unsigned p, const lk_reply *item, bool stranger)
{
    lk_link_part *part = &link->part[p];
    int64_t ms = 0, known = lk_cutoffs_known(link->cutoffs, p);
    bool there = item->type == LK_REPLY_STRING;
    bool in_doubt = there ? !lk_cutoff_parse(item->text, item->size, &ms) : !known && stranger;
    part->behind = !in_doubt && ms < known;
    if (in_doubt) doubt(link, p);
    else if (!part->behind) link->everyone |= lk_cutoffs_set(link->cutoffs, p, ms);
    if (in_doubt || part->behind) part->cutoff_below = 0;
    else if (part->cutoff_below <= part->sequence.counted) part->cutoff_below = part->sequence.counted + 1;
}

void lk_link_note_applied(lk_link *link, unsigned p, uint64_t number)
{
    lk_link_part *part = &link->part[p];
    if (part->cutoff_below && number == part->cutoff_below) part->cutoff_below++;
}

/* If the server does not know a cut-off, it was restarted, promoted or emptied since, or a person deleted the key. */
static bool is_behind(const lk_link *link, unsigned p) { return link->part[p].behind && !link->part[p].unsure; }

bool lk_link_took_state(lk_link *link, bool forwards, int64_t now_ms)
{
    /* It is not known what the server forgot, so nothing from before counts. */
    if (!forwards) {
        lk_link_forgot(link, now_ms, false);
        return false;
    }
    lk_partitions behind = lk_link_those(link, is_behind);
    for (size_t i = 0; i < behind.count; i++) {
        char word[LATCHKEY_SELECTOR_LENGTH + 4];
        lk_recent_item *item = &link->assertion[i];
        snprintf(word, sizeof word, "*%019lld", (long long)lk_cutoffs_known(link->cutoffs, behind.at[i]));
        *item = (lk_recent_item){.partition = behind.at[i]};
        memcpy(item->selector, word, sizeof item->selector);
    }
    if (behind.count) lk_link_tell(link, behind.count, 0, now_ms);
    return !behind.count;
}

void lk_link_take_numbers(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    const size_t count = link->partitions.count;
    bool forwards = true;
    long long texts = 0;
    if (reply->count != 2 * count) {
        lk_link_refused(link, reply, now_ms, "Redis does not answer MGET as expected");
        return;
    }
    for (size_t i = 0; i < count; i++)
        forwards &= lk_link_take_number(link, link->partitions.at[i], lk_reply_at(reply, i));
    for (size_t i = 0; i < count; i++) texts += lk_reply_at(reply, count + i)->type == LK_REPLY_STRING;
    bool strangers = link->cutoff_keys > texts;
    if (forwards) link->doubtful = false;
    for (size_t i = 0; forwards && i < count; i++)
        lk_link_take_cutoff(link, link->partitions.at[i], lk_reply_at(reply, count + i), strangers);
    if (lk_link_took_state(link, forwards, now_ms)) lk_link_answered(link, now_ms);
}

/* Numbers do not go back where only logins were lost. L1 would go on admitting sessions that Redis does not have, and that a
 * call for all of a user's sessions does not find. So after a session was made or put into L1, the next beat moves a count. In
 * a data set from before that, the count is lower than an instance has read it. In a cluster with durability it is what WAIT asks
 * for (l2_scripts.c): messages go another way there. */
bool lk_link_send_witness(lk_link *link)
{
    char key[LK_KEY_SIZE];
    uint64_t uses = lk_counted(link->counters, LK_FILLS) + lk_counted(link->counters, LK_L2_WRITES);
    lk_key_partition(key, link->config->prefix, link->partitions.at[0], "w");
    link->beat.moves = uses != link->witnessed || (link->config->cluster && link->config->durability);
    link->witnessed = uses;
    if (link->beat.idle && !link->beat.moves && !(link->quiet % 2)) return true;
    link->beat.answers++;
    const lk_span words[2] = {lk_word(link->beat.moves ? "INCR" : "GET"), lk_word(key)};
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_WITNESS, words, 2);
}

/* An error says nothing: Redis is full, another type lies there, or the slot moves. */
void lk_link_take_witness(lk_link *link, const lk_reply *reply, int64_t now_ms)
{
    uint64_t incarnation = link->handshake[LK_LINK_COMMANDS].incarnation;
    unsigned in = link->partitions.at[0];
    bool same = link->witness_of == incarnation && link->witness_in == in;
    uint64_t count = reply->type == LK_REPLY_INTEGER  ? (uint64_t)reply->integer
                     : reply->type == LK_REPLY_STRING ? strtoull(reply->text, NULL, 10)
                                                      : 0;
    if (!link->beat.out) return; /* it was given up for something else: the next one reads it again */
    bool older = same && count < link->witness + link->beat.moves;
    if (reply->type == LK_REPLY_ERROR) {
        lk_link_answered(link, now_ms);
        return;
    }
    link->witness = count;
    link->witness_of = incarnation;
    link->witness_in = in;
    if (!older) {
        lk_link_answered(link, now_ms);
        return;
    }
    link->lost = true;
    lk_link_forgot(link, now_ms, false);
}

/* latchkey move: keys. Redis says which of them change (CLIENT TRACKING, broadcast): they are copied once more. What is
 * copied is what was read last, and whatever is written later is told later: so no change is missed, in whatever order. */
#include "cli/move/move.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { FEW = 256, ROUNDS = 50 };

/* Sessions may be large. So many bytes at once are read and written: no more, by about a half. */
#define MUCH (4u * 1024 * 1024)

/* The partition of a key of the library's; -1: it is another key, or the one with the mark. The number must be spelled as
 * the library spells it: {05} is another slot than {5}. */
int move_partition(const move *m, const lk_reply *key)
{
    const char *prefix = m->from.config.prefix;
    size_t length = strlen(prefix);
    unsigned partition;
    char base[LK_KEY_SIZE];
    if (strncmp(key->text, prefix, length) || sscanf(key->text + length, ":{%4u}:", &partition) != 1) return -1;
    lk_key_partition(base, prefix, partition, "");
    bool ours = strncmp(key->text, base, strlen(base)) == 0 && key->text[strlen(base)];
    return !ours || partition >= m->partitions || !strcmp(key->text, m->mark) ? -1 : (int)partition;
}

/* RESTORE of some keys of one node, or DEL of those that are gone. */
static bool restore_some(move *m, query *to, lk_reply *const *keys, lk_reply *const *read, size_t count)
{
    lk_span words[MOVE_AT_ONCE][6];
    lk_call calls[MOVE_AT_ONCE];
    lk_reply *replies[MOVE_AT_ONCE];
    char expiry[MOVE_AT_ONCE][24], error[160];
    for (size_t i = 0; i < count; i++) {
        const lk_reply *dump = read[2 * i], *at = read[2 * i + 1];
        const lk_span key = {keys[i]->text, keys[i]->size};
        snprintf(expiry[i], sizeof expiry[i], "%lld", at->integer > 0 ? at->integer : 0);
        bool gone = dump->type == LK_REPLY_NIL || at->integer == -2;
        words[i][0] = lk_word(gone ? "DEL" : "RESTORE");
        words[i][1] = key;
        words[i][2] = lk_word(expiry[i]);
        words[i][3] = (lk_span){dump->text, dump->size};
        words[i][4] = lk_word("REPLACE");
        words[i][5] = lk_word("ABSTTL");
        calls[i] = (lk_call){words[i], gone ? 2 : 6};
    }
    if (query_ask(to, calls, count, replies, error, sizeof error)) return move_fail(m, "the target: %s", error);
    bool all = true;
    for (size_t i = 0; i < count; i++) all &= move_good(m, replies[i], "the target refused a key");
    return all;
}

/* Some keys, whichever node they belong to. */
static bool copy_some(move *m, lk_reply **keys, size_t count)
{
    lk_span words[2 * MOVE_AT_ONCE][2];
    lk_call calls[2 * MOVE_AT_ONCE] = {0};
    lk_reply *read[2 * MOVE_AT_ONCE], *theirs[MOVE_AT_ONCE], *dumps[2 * MOVE_AT_ONCE];
    char error[160];
    if (!move_note_large(m, keys, &count)) return false;
    if (!count) return true;
    for (size_t i = 0; i < 2 * count; i++) {
        words[i][0] = lk_word(i % 2 ? "PEXPIRETIME" : "DUMP");
        words[i][1] = (lk_span){keys[i / 2]->text, keys[i / 2]->size};
        calls[i] = (lk_call){words[i], 2};
    }
    if (query_ask(&m->from, calls, 2 * count, read, error, sizeof error)) return move_fail(m, "the source: %s", error);
    bool all = true;
    size_t bytes = 0;
    for (size_t i = 0; i < 2 * count; i++) {
        bytes += read[i]->size;
        if (read[i]->type == LK_REPLY_ERROR)
            all = move_fail(m, "the source, which must be Redis 7.0 or newer: %.200s", read[i]->text);
    }
    if (bytes > MUCH && m->at_once > 1) m->at_once /= 2;
    else if (bytes < MUCH / 4 && m->at_once < MOVE_AT_ONCE) m->at_once *= 2;
    for (unsigned n = 0; all && n < m->to.count; n++) {
        size_t some = 0;
        for (size_t i = 0; i < count; i++) {
            if (nodes_of(&m->to, (unsigned)move_partition(m, keys[i])) != m->to.node[n]) continue;
            theirs[some] = keys[i];
            dumps[2 * some] = read[2 * i];
            dumps[2 * some++ + 1] = read[2 * i + 1];
        }
        all = !some || restore_some(m, m->to.node[n], theirs, dumps, some);
    }
    for (size_t i = 0; i < 2 * count; i++) lk_reply_free(read[i]);
    return all;
}

/* Those of a list that are the library's. */
static bool copy_list(move *m, lk_reply *const *key, size_t count, uint64_t *copied)
{
    lk_reply *some[MOVE_AT_ONCE];
    size_t taken = 0;
    for (size_t i = 0; i < count; i++) {
        if (move_partition(m, key[i]) >= 0) some[taken++] = key[i];
        if (taken < m->at_once && i + 1 < count) continue;
        if (!copy_some(m, some, taken)) return false;
        *copied += taken;
        taken = 0;
    }
    return true;
}

static int by_text(const void *a, const void *b)
{
    const lk_reply *const *x = a, *const *y = b;
    return strcmp((*x)->text, (*y)->text);
}

/* What changed is copied, each key once. */
static bool copy_changes(move *m)
{
    size_t count = 0;
    qsort(m->change, m->changes, sizeof *m->change, by_text);
    for (size_t i = 0; i < m->changes; i++)
        if (!count || by_text(&m->change[count - 1], &m->change[i])) m->change[count++] = m->change[i];
    bool copied = copy_list(m, m->change, count, &m->changed);
    while (m->messages) lk_reply_free(m->message[--m->messages]);
    m->changes = 0;
    return copied;
}

/* A message of Redis about keys that changed. It is freed later. */
static bool take_change(move *m, lk_reply *push)
{
    const lk_reply *keys = lk_reply_at(push, 2);
    bool of_keys = keys->type == LK_REPLY_ARRAY, any = lk_reply_is(lk_reply_at(push, 0), "message");
    if (!any || !of_keys) lk_reply_free(push);
    if (any && !of_keys) return move_fail(m, "the source was emptied meanwhile");
    if (!any) return true;
    if ((m->messages == MOVE_MESSAGES || m->changes + keys->count > MOVE_CHANGES) && !copy_changes(m)) return false;
    m->message[m->messages++] = push;
    for (size_t i = 0; i < keys->count; i++) m->change[m->changes++] = keys->item[i];
    return true;
}

static bool lost_changes(move *m)
{
    return move_fail(m, "the source ended the connection that says what changes: %.150s", m->changes_from.error);
}

/* What Redis has said until now; no more than fits, or writers could keep it busy for ever. */
bool move_follow(move *m)
{
    lk_reply *push;
    int got = 0;
    while (m->messages < MOVE_MESSAGES && (got = subscriber_next(&m->changes_from, &push)) > 0)
        if (!take_change(m, push)) return false;
    return got < 0 ? lost_changes(m) : copy_changes(m);
}

/* And what it says until it answers: all that was written before. The tracker, without which nothing is said, must live. */
bool move_catch_up(move *m)
{
    lk_reply *push = subscriber_ask(&m->changes_from, (const char *const[]){"PING", NULL});
    for (; push && !lk_reply_is(lk_reply_at(push, 0), "pong"); push = subscriber_take(&m->changes_from))
        if (!take_change(m, push)) return false;
    if (!push) return lost_changes(m);
    lk_reply_free(push);
    return copy_changes(m) && move_good(m, subscriber_ask(&m->tracker, (const char *const[]){"PING", NULL}),
                                        "the source does not track changes any more");
}

bool move_each_page(move *m, query *p, const char *what,
                    bool (*take)(move *m, query *p, lk_reply *const *keys, size_t count))
{
    char pattern[64], cursor[24] = "0";
    snprintf(pattern, sizeof pattern, "%s:{*}:*", m->from.config.prefix);
    do {
        lk_reply *page = QUERY(p, "SCAN", cursor, "MATCH", pattern, "COUNT", "1000");
        bool taken = page && lk_reply_shaped(page, "sa") && lk_reply_shaped(lk_reply_at(page, 1), "(s)");
        if (!taken) move_fail(m, "SCAN at %s: %.200s", what, page ? page->text : "no answer");
        else {
            snprintf(cursor, sizeof cursor, "%.20s", lk_reply_at(page, 0)->text);
            taken = take(m, p, lk_reply_at(page, 1)->item, lk_reply_at(page, 1)->count);
        }
        lk_reply_free(page);
        if (!taken) return false;
    } while (strcmp(cursor, "0"));
    return true;
}

static bool copy_page(move *m, query *p, lk_reply *const *keys, size_t count)
{
    (void)p;
    bool copied = copy_list(m, keys, count, &m->keys) && move_follow(m);
    if (m->expected > m->keys)
        cli_progress("%" PRIu64 " of about %" PRIu64 " keys copied; %" PRIu64 " that changed meanwhile, once more",
                     m->keys, m->expected, m->changed);
    else cli_progress("%" PRIu64 " keys copied; %" PRIu64 " that changed meanwhile, once more", m->keys, m->changed);
    return copied;
}

/* All keys of the database: others' as well, so it is no more than a hint. */
static uint64_t count_keys(query *p)
{
    lk_reply *reply = QUERY(p, "DBSIZE"); /* not every user may */
    uint64_t count = reply && reply->type == LK_REPLY_INTEGER && reply->integer > 0 ? (uint64_t)reply->integer : 0;
    lk_reply_free(reply);
    return count;
}

bool move_all_keys(move *m)
{
    m->at_once = MOVE_AT_ONCE;
    m->expected = count_keys(&m->from);
    if (!move_each_page(m, &m->from, "the source", copy_page)) return false;
    for (uint64_t round = 0, before = 0; round < ROUNDS && (!round || m->changed - before > FEW); round++) {
        before = m->changed;
        if (!move_catch_up(m)) return false;
    }
    return move_carry_large(m) && move_catch_up(m);
}

/* Redis says from now on which keys change. */
bool move_track(move *m)
{
    char id[24], prefix[64];
    snprintf(prefix, sizeof prefix, "%s:{", m->from.config.prefix);
    lk_reply *reply = subscriber_ask(&m->changes_from, (const char *const[]){"CLIENT", "ID", NULL});
    snprintf(id, sizeof id, "%lld", reply ? reply->integer : 0);
    if (!move_good(m, reply, "CLIENT ID at the source") ||
        !move_good(m,
                   subscriber_ask(&m->changes_from, (const char *const[]){"SUBSCRIBE", "__redis__:invalidate", NULL}),
                   "SUBSCRIBE at the source"))
        return false;
    m->changes_from.conn.pushes = true;
    return move_good(m,
                     subscriber_ask(&m->tracker, (const char *const[]){"CLIENT", "TRACKING", "ON", "REDIRECT", id,
                                                                       "BCAST", "PREFIX", prefix, NULL}),
                     "CLIENT TRACKING at the source");
}

/* latchkey move: sorted sets of more than a page: the indexes of partitions and users. They have up to millions of names, and
 * change all the time. As one piece, each change would copy all of them, and there is a size that no server takes. So
 * they are only noted, and carried page by page: once while they change, and once more while writes rest, where they have
 * changed since. The first gives most of the names in time, the second gives all of them: nothing moves between its pages. */
#include "cli/move/move.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 2000 }; /* names: some 100 KB */

static bool is_index(const move *m, const lk_reply *key)
{
    const char *kind = strchr(key->text + strlen(m->from.config.prefix), '}') + 2;
    return strlen(key->text) == key->size && (!strcmp(kind, "a") || !strncmp(kind, "u:", 2));
}

/* Each is noted once. */
static bool note(move *m, const char *key)
{
    for (size_t i = 0; i < m->larges; i++)
        if (!strcmp(m->large[i], key)) return true;
    char **large = realloc(m->large, (m->larges + 1) * sizeof *large);
    if (large) m->large = large;
    if (!large || !(large[m->larges] = strdup(key))) return move_fail(m, "no memory");
    m->larges++;
    return true;
}

bool move_note_large(move *m, lk_reply **keys, size_t *count)
{
    lk_span words[MOVE_AT_ONCE][2];
    lk_call calls[MOVE_AT_ONCE];
    lk_reply *replies[MOVE_AT_ONCE];
    size_t asked = 0, kept = 0, answer = 0;
    char error[160];
    for (size_t i = 0; i < *count; i++) {
        if (!is_index(m, keys[i])) continue;
        words[asked][0] = lk_word("ZCARD");
        words[asked][1] = (lk_span){keys[i]->text, keys[i]->size};
        calls[asked] = (lk_call){words[asked], 2};
        asked++;
    }
    if (asked && query_ask(&m->from, calls, asked, replies, error, sizeof error))
        return move_fail(m, "the source: %s", error);
    bool noted = true;
    for (size_t i = 0; i < *count; i++) {
        const lk_reply *names = is_index(m, keys[i]) ? replies[answer++] : NULL;
        /* An error is of another type of key, which is copied as any other. */
        if (!names || names->type != LK_REPLY_INTEGER || names->integer <= PAGE) keys[kept++] = keys[i];
        else noted = noted && note(m, keys[i]->text);
    }
    for (size_t i = 0; i < asked; i++) lk_reply_free(replies[i]);
    *count = kept;
    return noted;
}

void move_forget_large(move *m)
{
    while (m->larges) free(m->large[--m->larges]);
    free(m->large);
    m->large = NULL;
}

/* What is said meanwhile must be heard meanwhile, or Redis ends the connection; and a pause must go on. */
static bool between_pages(move *m)
{
    if (m->names % (100 * PAGE) < PAGE) cli_progress("%" PRIu64 " names of large indexes copied", m->names);
    return m->paused_ms ? move_hold_pause(m) : move_follow(m);
}

static int64_t count_names(move *m, query *p, const char *key)
{
    lk_reply *reply = QUERY(p, "ZCARD", key);
    int64_t count = reply && reply->type == LK_REPLY_INTEGER ? reply->integer : -1;
    if (count < 0) move_fail(m, "ZCARD %s: %.200s", key, reply ? reply->text : "no answer");
    lk_reply_free(reply);
    return count;
}

/* A page by rank, so equal scores do not matter. NULL: that is noted. */
static lk_reply *read_page(move *m, query *p, const char *key, int64_t rank, int64_t count, bool scores)
{
    char from[24], to[24];
    snprintf(from, sizeof from, "%" PRId64, rank);
    snprintf(to, sizeof to, "%" PRId64, rank + count - 1);
    lk_reply *page = QUERY(p, "ZRANGE", key, from, to, scores ? "WITHSCORES" : NULL);
    if (page && lk_reply_shaped(page, scores ? "(ss)" : "(s)")) return page;
    move_fail(m, "ZRANGE %s: %.200s", key, page ? page->text : "no answer");
    lk_reply_free(page);
    return NULL;
}

/* A command of a key and `count` words more, for which words[2] and on have been set. */
static bool tell_target(move *m, query *to, lk_span *words, size_t count, const char *command, const char *key)
{
    lk_reply *reply = NULL;
    char error[160];
    if (!count) return true;
    words[0] = lk_word(command);
    words[1] = lk_word(key);
    if (query_ask(to, &(lk_call){words, 2 + count}, 1, &reply, error, sizeof error))
        return move_fail(m, "the target: %s", error);
    return move_good(m, reply, "the target refused a page of an index");
}

/* Every name of the source, with its score. Where the source goes on growing, it ends at the length that it had. */
static bool add_names(move *m, query *to, const char *key)
{
    lk_span words[2 + 2 * PAGE];
    int64_t count = count_names(m, &m->from, key);
    for (int64_t rank = 0; rank < count; rank += PAGE) {
        lk_reply *page = read_page(m, &m->from, key, rank, PAGE, true);
        if (!page) return false;
        for (size_t i = 0; i < page->count; i++) /* a score stands behind its name, and ZADD takes it before */
            words[2 + i] = (lk_span){page->item[i ^ 1]->text, page->item[i ^ 1]->size};
        bool added = tell_target(m, to, words, page->count, "ZADD", key);
        m->names += page->count / 2;
        lk_reply_free(page);
        if (!added || !between_pages(m)) return false;
    }
    return count >= 0;
}

/* Do both have the same name at this rank? false: it could not be read, which is noted. */
static bool compare_at(move *m, query *to, const char *key, int64_t rank, bool *same)
{
    lk_reply *here = read_page(m, &m->from, key, rank, 1, false), *there = read_page(m, to, key, rank, 1, false);
    bool read = here && there;
    *same = read && here->count && lk_reply_is(lk_reply_at(there, 0), here->item[0]->text);
    lk_reply_free(here);
    lk_reply_free(there);
    return read;
}

/* Of the page of the target's at this rank, what is not in the source's. -1: it failed. */
static int64_t remove_some(move *m, query *to, const char *key, int64_t rank, int64_t *looked_at)
{
    lk_span words[2 + PAGE];
    size_t gone = 0, next = 0;
    lk_reply *here = read_page(m, &m->from, key, rank, PAGE, false), *there = read_page(m, to, key, rank, PAGE, false);
    for (size_t i = 0; here && there && i < there->count; i++)
        if (lk_reply_is(lk_reply_at(here, next), there->item[i]->text)) next++;
        else words[2 + gone++] = (lk_span){there->item[i]->text, there->item[i]->size};
    bool removed = here && there && there->count && tell_target(m, to, words, gone, "ZREM", key);
    *looked_at = removed ? (int64_t)there->count : 0;
    lk_reply_free(here);
    lk_reply_free(there);
    return removed ? (int64_t)gone : -1;
}

/* While nothing changes. The target has all names of the source, in the same order; what it has besides has ended at the source.
 * There is none of these before a rank where both have the same. */
static bool remove_names(move *m, query *to, const char *key)
{
    int64_t here = count_names(m, &m->from, key), there = count_names(m, to, key), rank = 0;
    while (here >= 0 && there > here) {
        int64_t looked_at = PAGE, removed = 0;
        bool same;
        if (!compare_at(m, to, key, rank + PAGE - 1, &same)) return false;
        if (!same) removed = remove_some(m, to, key, rank, &looked_at);
        if (removed < 0 || !between_pages(m)) break;
        rank += looked_at - removed;
        there -= removed;
    }
    return here == there ||
           move_fail(m, "%s has %" PRId64 " names at the source, and %" PRId64 " at the target", key, here, there);
}

static bool copy_expiry(move *m, query *to, const char *key)
{
    lk_reply *reply = QUERY(&m->from, "PEXPIRETIME", key);
    int64_t at_ms = reply && reply->type == LK_REPLY_INTEGER ? reply->integer : 0;
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, at_ms);
    if (!at_ms) move_fail(m, "PEXPIRETIME %s: %.200s", key, reply ? reply->text : "no answer");
    lk_reply_free(reply);
    if (!at_ms) return false;
    reply = at_ms > 0     ? QUERY(to, "PEXPIREAT", key, text)
            : at_ms == -1 ? QUERY(to, "PERSIST", key)
                          : QUERY(to, "DEL", key);
    return move_good(m, reply, "the target refused an expiry");
}

/* What the target has of it may be of an earlier time: so it is carried from nothing, or compared. */
static bool carry_index(move *m, query *to, const char *key)
{
    if (!m->paused_ms && !move_good(m, QUERY(to, "UNLINK", key), "UNLINK at the target")) return false;
    return add_names(m, to, key) && (!m->paused_ms || remove_names(m, to, key)) && copy_expiry(m, to, key);
}

bool move_carry_large(move *m)
{
    char **key = m->large;
    size_t count = m->larges;
    bool all = true;
    m->large = NULL; /* what changes meanwhile is noted anew */
    m->larges = 0;
    for (size_t i = 0; i < count; i++) {
        const lk_reply name = {.type = LK_REPLY_STRING, .text = key[i], .size = strlen(key[i])};
        all = all && carry_index(m, nodes_of(&m->to, (unsigned)move_partition(m, &name)), key[i]);
        free(key[i]);
    }
    free(key);
    return all;
}

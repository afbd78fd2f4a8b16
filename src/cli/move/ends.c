/* latchkey move: both ends, before anything is copied and after all is. */
#include "cli/move/move.h"

#include "base/clock.h"
#include "redis/info.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { APART_MS = 1000, COMPARED = 4 };

static bool has_key(const void *keys, unsigned count, size_t size, const void *key)
{
    for (unsigned i = 0; i < count; i++)
        if (memcmp((const uint8_t *)keys + i * size, key, size) == 0) return true;
    return false;
}

/* More than the source accepts does no harm: the target may begin to seal, or have a new key beside the old ones. */
const char *move_misfit(const lk_config *from, const lk_config *to)
{
    const lk_check_keys *checks = &to->check_keys;
    const lk_seal_keys *seals = &to->seal_keys;
    bool checked = true, opened = true, unsealed = !from->seal_keys.count || from->seal_keys.plain;
    for (unsigned i = 0; i < from->check_keys.count; i++)
        checked &= has_key(checks->key, checks->count, LK_CHECK_KEY_SIZE, from->check_keys.key[i]);
    for (unsigned i = 0; i < from->seal_keys.count; i++)
        opened &= has_key(seals->key, seals->count, LK_AEAD_KEY_SIZE, from->seal_keys.key[i]);
    if (strcmp(to->prefix, from->prefix)) return "--from and --to must have the same prefix";
    if (!checked)
        return "the check_key_file of --to must have all keys of --from, else tokens of --from are MALFORMED there. If "
               "--from has no check_key_file, --to must have none";
    if (!opened)
        return "the seal_key_file of --to must have all keys of --from, else sessions of --from are CORRUPT there";
    if (unsealed && seals->count && !seals->plain)
        return "the seal_key_file of --to must have the line plain, else sessions of --from that are not sealed are "
               "CORRUPT there";
    if (from->foreign_until_ms > to->foreign_until_ms &&
        from->foreign_until_ms > lk_clock_read(CLOCK_REALTIME, 1000000))
        return "the foreign_until_ms of --to must be that of --from, else tokens of another store that --from accepts "
               "are MALFORMED there";
    return NULL;
}

/* What `partitions` says at one end; "": nothing. */
static bool read_mark(move *m, query *p, const char *what, char *out, size_t size)
{
    lk_reply *reply = QUERY(p, "HGET", m->mark, "partitions");
    bool read = reply && reply->type != LK_REPLY_ERROR;
    snprintf(out, size, "%s", read ? reply->text : "");
    if (!read) move_fail(m, "%s: %.200s", what, reply ? reply->text : "no answer");
    lk_reply_free(reply);
    return read;
}

/* In a script, and a command that may run goes first: a server that is full takes no HSET alone, and is to be left. Only in the place of
 * `was`, or of what this run has written already: two that run at once must not take back what the other has done. */
static lk_reply *say_mark(const move *m, query *p, const char *was, const char *text)
{
    static const char script[] =
        "local is, by = redis.call('HGET', KEYS[1], 'partitions') or '', redis.call('HGET', KEYS[1], 'mover') or '' "
        "local done = is == ARGV[2] and by == ARGV[3] "
        "if not done and (is ~= ARGV[1] or ARGV[4] ~= '' and by ~= ARGV[4]) then return redis.error_reply('LKOTHER') "
        "end "
        "redis.call('HDEL', KEYS[1], 'mover') redis.call('HSET', KEYS[1], 'partitions', ARGV[2]) "
        "if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'mover', ARGV[3]) end return 1";
    bool last = !strcmp(text, m->recorded); /* only where this run was the last to write */
    return QUERY(p, "EVAL", script, "1", m->mark, was, text, last ? "" : m->name, last ? m->name : "");
}

bool move_write_mark(move *m, query *p, const char *what, const char *was, const char *text, bool *unsure)
{
    lk_reply *reply = say_mark(m, p, was, text);
    *unsure = !reply || reply->type != LK_REPLY_ERROR;
    if (reply && reply->type == LK_REPLY_ERROR && strstr(reply->text, "LKOTHER")) {
        m->other = true;
        move_fail(m, "%s: another latchkey move has begun meanwhile. This one has changed nothing there", what);
    }
    return move_good(m, reply, what);
}

bool move_look_at_source(move *m)
{
    char text[40];
    if (!read_mark(m, &m->from, "the source", text, sizeof text)) return false;
    m->from_is = m->from.incarnation;
    const char *number =
        strncmp(text, LK_PARTITIONS_MOVED, strlen(LK_PARTITIONS_MOVED)) ? text : text + strlen(LK_PARTITIONS_MOVED);
    if (!*text) return move_fail(m, "the source has no sessions under the prefix %s", m->from.config.prefix);
    if (!cli_number(number, 1, LK_PARTITIONS_MAX, &m->partitions))
        return move_fail(m, "the source does not know how many partitions it has");
    if ((uint64_t)m->to.node[0]->config.partitions != m->partitions) /* no instance with that URL would open there */
        return move_fail(m,
                         "the source has %" PRIu64
                         " partitions: --to, which is the application's new URL, must say partitions=%" PRIu64,
                         m->partitions, m->partitions);
    m->marked = number != text; /* an earlier run was ended in the middle */
    snprintf(m->recorded, sizeof m->recorded, "%" PRIu64, m->partitions);
    snprintf(m->was, sizeof m->was, "%s", text);
    return true;
}

/* Of what an earlier run that did not come to its end has left at a node. */
static bool unlink_page(move *m, query *p, lk_reply *const *key, size_t count)
{
    lk_span words[MOVE_AT_ONCE][2];
    lk_call calls[MOVE_AT_ONCE] = {0};
    lk_reply *replies[MOVE_AT_ONCE];
    char error[160];
    bool all = true;
    for (size_t i = 0, some; all && i < count; i += some) {
        size_t taken = 0;
        for (some = 0; i + some < count && taken < MOVE_AT_ONCE; some++) {
            if (move_partition(m, key[i + some]) < 0) continue;
            words[taken][0] = lk_word("UNLINK");
            words[taken][1] = (lk_span){key[i + some]->text, key[i + some]->size};
            calls[taken] = (lk_call){words[taken], 2};
            taken++;
        }
        if (taken && query_ask(p, calls, taken, replies, error, sizeof error))
            return move_fail(m, "the target: %s", error);
        for (size_t k = 0; k < taken; k++) all &= move_good(m, replies[k], "UNLINK at the target");
    }
    return all;
}

/* One is enough. */
static bool find_any_key(move *m, query *p, lk_reply *const *key, size_t count)
{
    (void)p;
    (void)key;
    m->found |= count != 0;
    return !m->found;
}

static bool is_empty(move *m, query *p)
{
    m->found = false;
    if (move_each_page(m, p, "the target", find_any_key)) return true;
    return m->found &&
           move_fail(m, "the target has keys under the prefix %s: it must have none", m->from.config.prefix);
}

static bool clock_of(query *p, int64_t *ahead_ms)
{
    int64_t before = lk_clock_read(CLOCK_REALTIME, 1000000);
    lk_reply *reply = QUERY(p, "TIME");
    bool read = reply && lk_reply_shaped(reply, "ss");
    *ahead_ms =
        read ? atoll(lk_reply_at(reply, 0)->text) * 1000 + atoll(lk_reply_at(reply, 1)->text) / 1000 - before : 0;
    lk_reply_free(reply);
    return read;
}

/* How many keys it has evicted. False: it does not say. */
static bool count_evicted(query *p, uint64_t *count)
{
    char text[24] = "";
    lk_reply *info = QUERY(p, "INFO", "stats");
    bool read =
        info && lk_info_value(info->text, "evicted_keys", text, sizeof text) && cli_number(text, 0, UINT64_MAX, count);
    lk_reply_free(info);
    return read;
}

/* What was copied is there only if these are the servers that it was copied to, and none of them was emptied, or has thrown
 * keys away. */
bool move_kept(move *m)
{
    char text[40];
    for (unsigned i = 0; i < m->to.count; i++) {
        uint64_t evicted = 0;
        bool read = count_evicted(m->to.node[i], &evicted);
        if (read && m->to.node[i]->incarnation != m->is[i])
            return move_fail(m, "the target is another server now, or was restarted: it may lack what was copied");
        if (read && evicted != m->evicted[i])
            return move_fail(m, "the target is full and evicts keys: set maxmemory-policy noeviction there, and raise "
                                "maxmemory");
        if (!read) return move_fail(m, "the target does not answer INFO");
    }
    if (!read_mark(m, nodes_of(&m->to, 0), "the target", text, sizeof text)) return false;
    if (strcmp(text, LK_PARTITIONS_MOVING)) return move_fail(m, "the target was emptied: it lacks what was copied");
    lk_reply *mover = QUERY(nodes_of(&m->to, 0), "HGET", m->mark, "mover");
    bool ours = mover && lk_reply_is(mover, m->name);
    lk_reply_free(mover);
    return ours || move_fail(m, "another latchkey move to this target has begun, and removed what was copied");
}

bool move_source_marked(move *m, bool *marked)
{
    char text[40];
    if (!read_mark(m, &m->from, "the source", text, sizeof text)) return false;
    *marked = !strncmp(text, LK_PARTITIONS_MOVED, strlen(LK_PARTITIONS_MOVED));
    return true;
}

/* Nothing but what an earlier run has left; and clocks that agree, since records hold times. */
bool move_look_at_target(move *m)
{
    char text[40];
    int64_t ahead_ms, there_ms;
    query *first = nodes_of(&m->to, 0);
    for (unsigned i = 0; i < m->to.count; i++)
        if (m->to.node[i]->incarnation == m->from.incarnation)
            return move_fail(
                m, "--from and --to are the same server: its writes rest while it is moved, so nothing can be "
                   "copied to it. The target must be another server");
    if (!read_mark(m, first, "the target", text, sizeof text)) return false;
    bool left = !strcmp(text, LK_PARTITIONS_MOVING);
    if (*text && !left)
        return move_fail(m, "the target has sessions of its own under the prefix %s: it must have none",
                         m->from.config.prefix);
    if (!clock_of(&m->from, &ahead_ms)) return move_fail(m, "the source does not tell the time");
    for (unsigned i = 0; i < m->to.count; i++) {
        query *p = m->to.node[i];
        if (!left && !is_empty(m, p)) return false;
        if (!clock_of(m->to.node[i], &there_ms) || llabs(there_ms - ahead_ms) > APART_MS)
            return move_fail(
                m, "the clocks of source and target are %.1f s apart: records hold times; NTP on both machines",
                (double)llabs(there_ms - ahead_ms) / 1000);
        if (!count_evicted(p, &m->evicted[i])) return move_fail(m, "the target does not answer INFO");
        m->is[i] = p->incarnation;
    }
    bool unsure, all = move_write_mark(m, first, "the target", text, LK_PARTITIONS_MOVING, &unsure);
    /* From now on no other run opens it: what one has left is removed. */
    for (unsigned i = 0; left && all && i < m->to.count; i++)
        all = move_each_page(m, m->to.node[i], "the target", unlink_page);
    return all;
}

bool move_open_target(move *m)
{
    bool unsure;
    return move_write_mark(m, nodes_of(&m->to, 0), "the target", LK_PARTITIONS_MOVING, m->recorded, &unsure);
}

/* Both ends have the same: q (number of the last revocation or change), e (cut-off), the length of the log and of the index. */
static bool ask_numbers(move *m, query *p, unsigned partition, char out[COMPARED][40])
{
    static const char *const what[COMPARED][2] = {{"GET", "q"}, {"GET", "e"}, {"XLEN", "r"}, {"ZCARD", "a"}};
    char key[COMPARED][LK_KEY_SIZE], error[160];
    lk_span words[COMPARED][2];
    lk_call calls[COMPARED];
    lk_reply *replies[COMPARED];
    for (int i = 0; i < COMPARED; i++) {
        lk_key_partition(key[i], m->from.config.prefix, partition, what[i][1]);
        words[i][0] = lk_word(what[i][0]);
        words[i][1] = lk_word(key[i]);
        calls[i] = (lk_call){words[i], 2};
    }
    if (query_ask(p, calls, COMPARED, replies, error, sizeof error)) return move_fail(m, "%s", error);
    bool all = true;
    for (int i = 0; i < COMPARED; i++) {
        snprintf(out[i], 40, "%.20s %lld", replies[i]->text, replies[i]->integer);
        all &= move_good(m, replies[i], "what partitions hold cannot be compared");
    }
    return all;
}

static bool same_numbers(move *m)
{
    char here[COMPARED][40], there[COMPARED][40];
    for (unsigned p = 0; p < m->partitions; p++) {
        if (!ask_numbers(m, &m->from, p, here) || !ask_numbers(m, nodes_of(&m->to, p), p, there)) return false;
        for (int i = 0; i < COMPARED; i++)
            if (strcmp(here[i], there[i]))
                return move_fail(m, "partition %u is not the same at both ends: %s, %s", p, here[i], there[i]);
    }
    return true;
}

/* The mark's key has more than the mark. */
static bool copy_rest_of_mark(move *m)
{
    lk_reply *all = QUERY(&m->from, "HGETALL", m->mark);
    bool copied = all && lk_reply_shaped(all, "(ss)");
    for (size_t i = 0; copied && i < all->count; i += 2)
        if (!lk_reply_is(all->item[i], "partitions"))
            copied =
                move_good(m, QUERY(nodes_of(&m->to, 0), "HSET", m->mark, all->item[i]->text, all->item[i + 1]->text),
                          "the target");
    lk_reply_free(all);
    return copied || move_fail(m, "the source: %s cannot be read", m->mark);
}

/* As many replicas as the target's URL asks for have it all. */
static bool wait_for_replicas(move *m)
{
    int64_t wanted = m->to.node[0]->config.durability;
    char number[24];
    snprintf(number, sizeof number, "%" PRId64, wanted);
    for (unsigned i = 0; wanted && i < m->to.count; i++) {
        lk_reply *reply = QUERY(m->to.node[i], "WAIT", number, "8000");
        bool enough = reply && reply->type == LK_REPLY_INTEGER && reply->integer >= wanted;
        lk_reply_free(reply);
        if (!enough)
            return move_fail(
                m, "fewer than %s replicas (durability) of %s:%s hold what was copied: see INFO replication there",
                number, m->to.host[i].name, m->to.host[i].port);
    }
    return true;
}

bool move_compare(move *m) { return copy_rest_of_mark(m) && same_numbers(m) && wait_for_replicas(m); }

/* What is done with all sessions of a user: latchkey_user_generation, latchkey_revoke_user, latchkey_revoke_selector,
 * latchkey_sessions.
 *
 * Whom they end is known only once Redis has said it. So, unlike revoke, they deny nothing beforehand and leave nothing
 * behind to be retried: where Redis does not confirm they are UNAVAILABLE, and promise nothing. What Redis did end is
 * purged here before they return (guarantee B): who reads from then on finds it gone.
 *
 * All of a user's sessions are over for this handle once it has heard of every end up to then, and not of its own alone:
 * another may have ended some a moment ago, or a call before this one, whose answer was lost. So revoke_user waits for a
 * beat. */
#include "observe/events.h"
#include "redis/keys.h"
#include "session/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct decimal {
    char text[24];
} decimal;

static lk_span decimal_of(decimal *d, uint64_t value)
{
    return (lk_span){d->text, (size_t)snprintf(d->text, sizeof d->text, "%llu", (unsigned long long)value)};
}

/* --------------------------------------------------------------------------------------------- generation -- */

static int judge_count(latchkey *lk, lk_node *node, const lk_reply *reply, uint64_t *count)
{
    if (reply->type == LK_REPLY_ERROR) return lk_l2_refused(&lk->l2, node, reply);
    if (reply->type == LK_REPLY_NIL) return LATCHKEY_OK;
    if (reply->type != LK_REPLY_STRING || !reply->size || reply->size > 18 ||
        strspn(reply->text, "0123456789") != reply->size)
        return lk_l2_corrupt(&lk->l2, node, "a user's generation in Redis is none");
    *count = strtoull(reply->text, NULL, 10);
    return LATCHKEY_OK;
}

static int judge_epoch(latchkey *lk, lk_node *node, const lk_reply *reply, int64_t *epoch)
{
    if (reply->type == LK_REPLY_ERROR) return lk_l2_refused(&lk->l2, node, reply);
    if (reply->type == LK_REPLY_NIL) return LATCHKEY_OK;
    if (reply->type != LK_REPLY_STRING || !lk_cutoff_parse(reply->text, reply->size, epoch))
        return lk_l2_corrupt(&lk->l2, node, "a partition's epoch in Redis is none");
    return LATCHKEY_OK;
}

/* The user's count plus one, so that it is not 0; once there is an epoch, that in front of the count's last six digits. The
 * same in create.lua. */
static uint64_t generation_of(uint64_t count, int64_t epoch)
{
    return epoch ? (uint64_t)epoch * 1000000 + (count + 1) % 1000000 : count + 1;
}

/* AGAIN: another server has the lease; see lk_node_lease_covers. */
static int read_generation(latchkey *lk, uint64_t user_id, int64_t deadline_ms, uint64_t *generation)
{
    char key[LK_BASE_SIZE + 24], epoch_key[LK_KEY_SIZE];
    unsigned partition = lk_partition_of_user(lk, user_id);
    lk_node *node = lk_l2_owner(&lk->l2, partition);
    lk_key_base(key, lk->config.prefix, partition);
    snprintf(key + strlen(key), 24, "g:%llu", (unsigned long long)user_id);
    lk_key_partition(epoch_key, lk->config.prefix, partition, "e");
    const lk_span words[2][2] = {{lk_word("GET"), lk_word(key)}, {lk_word("GET"), lk_word(epoch_key)}};
    const lk_call calls[2] = {{words[0], 2}, {words[1], 2}};
    lk_reply *replies[2];
    uint64_t incarnation = 0, leased = lk_node_lease_owner(node), count = 0;
    int64_t epoch = 0;
    int status = lk_l2_pipeline(&lk->l2, node, calls, 2, deadline_ms, replies, &incarnation);
    if (status) return status;
    status = judge_count(lk, node, replies[0], &count);
    if (!status) status = judge_epoch(lk, node, replies[1], &epoch);
    *generation = generation_of(count, epoch);
    for (int i = 0; i < 2; i++) lk_reply_free(replies[i]);
    return status ? status : lk_node_lease_covers(node, leased == incarnation ? incarnation : 0, deadline_ms);
}

int latchkey_user_generation(latchkey *lk, uint64_t user_id, uint64_t *generation)
{
    if (generation) *generation = 0;
    if (!lk || !generation) return LATCHKEY_BAD_ARGUMENT;
    if (lk_forked(lk)) return LATCHKEY_FORKED;
    int64_t deadline_ms = lk_now_ms() + lk->config.deadline_ms;
    int status = read_generation(lk, user_id, deadline_ms, generation);
    if (status == LATCHKEY_AGAIN) status = read_generation(lk, user_id, deadline_ms, generation);
    if (status) *generation = 0;
    return status == LATCHKEY_AGAIN ? LATCHKEY_UNAVAILABLE : status;
}

/* ------------------------------------------------------------------------------------------ ending them all -- */

typedef struct sweep {
    uint64_t user_id;
    unsigned partition;
    char keep[LATCHKEY_SELECTOR_LENGTH];
    uint8_t keep_hash[LK_HASH_SIZE];
    bool keeps;
    uint64_t since_ms; /* by Redis' clock, 0: not begun */
    size_t ended;
    bool more;
} sweep;

/* [time, how many, more?, selectors] */
static int take_swept(latchkey *lk, sweep *s, const lk_reply *reply, uint64_t incarnation)
{
    bool good = reply->type == LK_REPLY_ARRAY && reply->size == 4 && reply->item[0]->type == LK_REPLY_INTEGER &&
                reply->item[1]->type == LK_REPLY_INTEGER && reply->item[2]->type == LK_REPLY_INTEGER &&
                reply->item[3]->type == LK_REPLY_STRING;
    s->more = false;
    if (!good) return LATCHKEY_UNAVAILABLE;
    s->since_ms = (uint64_t)reply->item[0]->integer;
    s->ended += (size_t)reply->item[1]->integer;
    s->more = reply->item[2]->integer != 0;
    lk_event_revoked(&lk->config, reply->item[3]->text, "user");
    return lk_session_ended(lk, s->partition, reply->item[3]->text, incarnation) ? LATCHKEY_OK : LATCHKEY_UNAVAILABLE;
}

/* One run of the script. With durability, what only some replicas hold is ended here all the same, but not promised. */
static int run_sweep(latchkey *lk, sweep *s, int64_t deadline_ms)
{
    decimal user, since;
    const lk_span words[3] = {
        decimal_of(&user, s->user_id), {s->keep_hash, s->keeps ? LK_HASH_SIZE : 0}, decimal_of(&since, s->since_ms)};
    lk_reply *reply;
    uint64_t incarnation = 0;
    int status = lk_l2_script(&lk->l2, LK_SCRIPT_REVOKE_USER, s->partition, s->keeps ? s->keep : LK_NOBODY, words, 3,
                              deadline_ms, &reply, &incarnation);
    if (status && status != LATCHKEY_PENDING) return status;
    bool durable = !status;
    status = take_swept(lk, s, reply, incarnation);
    lk_reply_free(reply);
    if (status || !durable) return LATCHKEY_UNAVAILABLE;
    return lk_node_lease_covers_since(lk_l2_owner(&lk->l2, s->partition), incarnation,
                                      s->more ? INT64_MIN : lk_now_ms(), deadline_ms)
               ? LATCHKEY_UNAVAILABLE
               : LATCHKEY_OK;
}

static int prepare(latchkey *lk, uint64_t user_id, const char *keep_token, size_t keep_len, sweep *s,
                   int64_t *deadline_ms)
{
    lk_token keep;
    *s = (sweep){.user_id = user_id, .partition = lk_partition_of_user(lk, user_id)};
    if (!keep_token) return keep_len ? LATCHKEY_BAD_ARGUMENT : LATCHKEY_OK;
    int status = lk_begin(lk, keep_token, keep_len, &keep, deadline_ms);
    if (status == LATCHKEY_NOT_FOUND) return LATCHKEY_OK; /* a foreign token without a session */
    if (status) return status;
    s->keeps = keep.partition == s->partition; /* else it is nobody's of this user */
    memcpy(s->keep, keep.text, sizeof s->keep);
    lk_token_verifier_hash(&keep, s->keep_hash);
    lk_wipe(&keep, sizeof keep);
    return LATCHKEY_OK;
}

int latchkey_revoke_user(latchkey *lk, uint64_t user_id, const char *keep_token, size_t keep_len, size_t *revoked)
{
    if (revoked) *revoked = 0;
    if (!lk) return LATCHKEY_BAD_ARGUMENT;
    if (lk_forked(lk)) return LATCHKEY_FORKED;
    sweep s;
    int64_t deadline_ms = lk_now_ms() + lk->config.deadline_ms;
    int status = prepare(lk, user_id, keep_token, keep_len, &s, &deadline_ms);
    if (status) return status;
    do status = run_sweep(lk, &s, deadline_ms);
    while (!status && s.more);
    if (revoked) *revoked = s.ended;
    return status;
}

/* ------------------------------------------------------------------------------------------- ending one by name -- */

int latchkey_revoke_selector(latchkey *lk, uint64_t user_id, const char selector[LATCHKEY_SELECTOR_LENGTH])
{
    if (!lk || !selector) return LATCHKEY_BAD_ARGUMENT;
    if (lk_forked(lk)) return LATCHKEY_FORKED;
    unsigned partition;
    if (!lk_selector_parse((unsigned)lk->config.partitions, selector, &partition)) return LATCHKEY_MALFORMED;
    if (partition != lk_partition_of_user(lk, user_id)) return LATCHKEY_NOT_FOUND;
    char name[LATCHKEY_SELECTOR_LENGTH + 1] = "";
    memcpy(name, selector, LATCHKEY_SELECTOR_LENGTH);
    decimal user;
    const lk_span words[3] = {{"", 0}, lk_word("0"), decimal_of(&user, user_id)};
    lk_reply *reply;
    uint64_t incarnation = 0;
    int64_t deadline_ms = lk_now_ms() + lk->config.deadline_ms;
    int status = lk_l2_script(&lk->l2, LK_SCRIPT_REVOKE, partition, name, words, 3, deadline_ms, &reply, &incarnation);
    if (status && status != LATCHKEY_PENDING) return status;
    bool durable = !status, several = reply->type == LK_REPLY_STRING,
         ended = several || (reply->type == LK_REPLY_INTEGER && reply->integer);
    status = ended ? LATCHKEY_OK : reply->type == LK_REPLY_INTEGER ? LATCHKEY_NOT_FOUND : LATCHKEY_UNAVAILABLE;
    if (several) lk_event_revoked(&lk->config, reply->text, "selector");
    if (ended && (!lk_session_ended(lk, partition, several ? reply->text : name, incarnation) || !durable))
        status = LATCHKEY_UNAVAILABLE;
    lk_reply_free(reply);
    return lk_session_no(lk, partition, incarnation, status, deadline_ms);
}

/* ------------------------------------------------------------------------------------------------- listing -- */

enum { HEAD = 2, ROW = 4 }; /* selector, record, when it idles out, when it was used */

static bool row_good(lk_reply *const row[ROW])
{
    return row[0]->type == LK_REPLY_STRING && row[0]->size == LATCHKEY_SELECTOR_LENGTH &&
           row[1]->type == LK_REPLY_STRING && row[2]->type == LK_REPLY_INTEGER && row[3]->type == LK_REPLY_INTEGER;
}

/* False: it is not what it should be, and nobody can use it. */
static bool describe(const lk_seal_keys *keys, lk_reply *const row[ROW], uint64_t user_id, latchkey_session_info *info)
{
    lk_record record;
    uint8_t raw[LK_SELECTOR_RAW];
    if (lk_record_open(keys, row[1]->text, row[1]->size, &record) || record.entry.user_id != user_id ||
        !lk_base64_decode(row[0]->text, row[0]->size, raw, sizeof raw) || memcmp(raw, record.selector, sizeof raw))
        return false;
    memset(info, 0, sizeof *info);
    memcpy(info->selector, row[0]->text, LATCHKEY_SELECTOR_LENGTH);
    info->created_at_ms = record.entry.created_at_ms;
    info->auth_at_ms = record.entry.auth_at_ms;
    info->active_at_ms = row[3]->integer;
    info->idle_expires_at_ms = row[2]->integer;
    info->expires_at_ms = record.entry.expires_at_ms;
    info->device = record.entry.device;
    info->flags = record.entry.flags;
    return true;
}

static int last_used_first(const void *a, const void *b)
{
    const latchkey_session_info *x = a, *y = b;
    return (x->active_at_ms < y->active_at_ms) - (x->active_at_ms > y->active_at_ms);
}

typedef struct listing {
    uint64_t user_id;
    unsigned partition;
    char current[LATCHKEY_SELECTOR_LENGTH]; /* LK_NOBODY, where the caller did not say */
    latchkey_session_info *infos;
    size_t max, count, total;
} listing;

/* [total, the current session's selector, row, row ...] */
static int take_list(latchkey *lk, lk_node *node, listing *l, const lk_reply *reply)
{
    l->count = l->total = 0;
    if (l->max) memset(l->infos, 0, l->max * sizeof *l->infos); /* of a server that did not count */
    if (reply->type != LK_REPLY_ARRAY || reply->size < HEAD || (reply->size - HEAD) % ROW ||
        reply->item[0]->type != LK_REPLY_INTEGER || reply->item[1]->type != LK_REPLY_STRING)
        return LATCHKEY_UNAVAILABLE;
    l->total = (size_t)reply->item[0]->integer;
    for (size_t i = HEAD; i < reply->size && l->count < l->max; i += ROW) {
        latchkey_session_info *info = &l->infos[l->count];
        if (!row_good(&reply->item[i])) return LATCHKEY_UNAVAILABLE;
        if (describe(&lk->config.seal_keys, &reply->item[i], l->user_id, info)) {
            info->current = lk_reply_is(reply->item[1], info->selector);
            l->count++;
        } else {
            lk_l2_corrupt(&lk->l2, node, "a session in a user's list is damaged or somebody else's");
            l->total--;
        }
    }
    if (l->count) qsort(l->infos, l->count, sizeof *l->infos, last_used_first);
    return LATCHKEY_OK;
}

/* AGAIN: another server has the lease. */
static int read_list(latchkey *lk, listing *l, int64_t deadline_ms)
{
    decimal user, most;
    lk_node *node = lk_l2_owner(&lk->l2, l->partition);
    const lk_span words[2] = {decimal_of(&user, l->user_id), decimal_of(&most, l->max)};
    lk_reply *reply;
    uint64_t incarnation = 0, leased = lk_node_lease_owner(node);
    int status = lk_l2_script(&lk->l2, LK_SCRIPT_SESSIONS, l->partition, l->current, words, 2, deadline_ms, &reply,
                              &incarnation);
    if (status && status != LATCHKEY_PENDING) return status; /* PENDING: nothing was written */
    status = take_list(lk, node, l, reply);
    lk_reply_free(reply);
    return status ? status : lk_node_lease_covers(node, leased == incarnation ? incarnation : 0, deadline_ms);
}

int latchkey_sessions(latchkey *lk, uint64_t user_id, const char *current_token, size_t current_len,
                      latchkey_session_info *sessions, size_t max, size_t *total)
{
    if (total) *total = 0;
    if (!lk || !total || (max && !sessions)) return LATCHKEY_BAD_ARGUMENT;
    if (max) memset(sessions, 0, max * sizeof *sessions);
    if (lk_forked(lk)) return LATCHKEY_FORKED;
    listing l = {.user_id = user_id, .partition = lk_partition_of_user(lk, user_id), .infos = sessions};
    l.max = max < LATCHKEY_SESSIONS_MAX ? max : LATCHKEY_SESSIONS_MAX;
    memcpy(l.current, LK_NOBODY, sizeof l.current);
    lk_token current;
    int64_t deadline_ms = lk_now_ms() + lk->config.deadline_ms;
    int status = current_token ? lk_begin(lk, current_token, current_len, &current, &deadline_ms)
                 : current_len ? LATCHKEY_BAD_ARGUMENT
                               : LATCHKEY_OK;
    if (status && status != LATCHKEY_NOT_FOUND) return status; /* a foreign token without a session is nobody's */
    if (current_token && !status) {
        if (current.partition == l.partition) memcpy(l.current, current.text, sizeof l.current);
        lk_wipe(&current, sizeof current);
    }
    status = read_list(lk, &l, deadline_ms);
    if (status == LATCHKEY_AGAIN) status = read_list(lk, &l, deadline_ms);
    if (status && max) memset(sessions, 0, max * sizeof *sessions);
    if (!status) *total = l.total;
    return status == LATCHKEY_AGAIN ? LATCHKEY_UNAVAILABLE : status;
}

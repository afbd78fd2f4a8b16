/* What is done with all sessions of a user: latchkey_revoke_user, latchkey_revoke_selector.
 *
 * Only Redis knows which sessions the user has. So, unlike revoke, these verbs deny nothing beforehand and leave
 * nothing to be retried: if Redis does not confirm, they are UNAVAILABLE, and promise nothing. What Redis did end is
 * purged here before they return (guarantee B): a read that begins after that finds it gone.
 *
 * All of a user's sessions are over for this handle once it has heard of every end up to then, not only of its own:
 * another instance may have ended some a moment ago, or an earlier call whose answer was lost. So revoke_user waits for
 * a beat. */
#include "observe/events.h"
#include "base/argument.h"
#include "redis/keys.h"
#include "session/begin.h"
#include "session/ended.h"
#include "session/run_script.h"
#include "session/token_reuse.h"

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

/* ------------------------------------------------------------------------------------------ ending them all -- */

typedef struct sweep {
    uint64_t user_id;
    unsigned partition;
    char keep[LATCHKEY_SELECTOR_LENGTH];
    uint8_t keep_hash[LK_HASH_SIZE];
    bool keeps;
    uint64_t count; /* the number of this end among the ends of all the user's sessions; 0: not begun */
    size_t ended;
    bool more;
} sweep;

/* [count, how many, more?, selectors, reuse]. With durability, sessions whose end only some replicas hold are ended
 * here all the same, but it is not promised. */
static int take_swept(latchkey *lk, void *context, lk_script_answer *answer, int status)
{
    sweep *s = context;
    const lk_reply *reply = answer->reply;
    bool good = lk_reply_shaped(reply, "iiiss") && lk_reply_at(reply, 1)->integer >= 0;
    s->more = false;
    (void)status;
    if (!good) return LATCHKEY_UNAVAILABLE;
    s->count = (uint64_t)lk_reply_at(reply, 0)->integer;
    s->ended += (size_t)lk_reply_at(reply, 1)->integer;
    s->more = lk_reply_at(reply, 2)->integer != 0;
    lk_event_revoked(&lk->config, lk_reply_at(reply, 3)->text, "user");
    answer->awaits_beat = !s->more;
    lk_session_take_reused(lk, s->partition, s->keep, lk_reply_at(reply, 4), answer->source);
    bool told = lk_session_ended(lk, s->partition, lk_reply_at(reply, 3)->text, answer->source);
    return told ? LATCHKEY_OK : LATCHKEY_UNAVAILABLE;
}

static int run_sweep(latchkey *lk, sweep *s, int64_t deadline_ms)
{
    decimal user, count;
    const lk_span words[3] = {
        decimal_of(&user, s->user_id), {s->keep_hash, s->keeps ? LK_HASH_SIZE : 0}, decimal_of(&count, s->count)};
    const lk_script_run run = {.script = LK_SCRIPT_REVOKE_USER,
                               .partition = s->partition,
                               .selector = s->keeps ? s->keep : LK_NOBODY,
                               .words = words,
                               .count = 3,
                               .take = take_swept,
                               .context = s};
    return lk_run_script(lk, &run, deadline_ms);
}

static int begin_sweep(latchkey *lk, uint64_t user_id, const char *keep_token, size_t keep_len, sweep *s,
                       lk_visit *visit)
{
    lk_token keep;
    *s = (sweep){.user_id = user_id, .partition = lk_partition_of_user(lk, user_id)};
    if (!keep_token)
        return keep_len ? lk_bad_argument("revoke_user: keep_token is NULL, and keep_len is not 0") : LATCHKEY_OK;
    int status = lk_begin(lk, keep_token, keep_len, &keep, visit);
    if (status == LATCHKEY_NOT_FOUND) return LATCHKEY_OK; /* a foreign token without a session */
    if (status) return status;
    s->keeps = keep.partition == s->partition; /* else it is not a session of this user */
    memcpy(s->keep, keep.text, sizeof s->keep);
    lk_token_verifier_hash(&keep, s->keep_hash);
    lk_wipe(&keep, sizeof keep);
    return LATCHKEY_OK;
}

int latchkey_revoke_user(latchkey *lk, uint64_t user_id, const char *keep_token, size_t keep_len, size_t *revoked)
{
    if (revoked) *revoked = 0;
    if (!lk) return lk_bad_argument("revoke_user: the handle is NULL");
    LK_VISIT(visit);
    int status = lk_visit_begin(lk, &visit);
    if (status) return status;
    sweep s;
    status = begin_sweep(lk, user_id, keep_token, keep_len, &s, &visit);
    if (status) return status;
    do status = run_sweep(lk, &s, visit.deadline_ms);
    while (!status && s.more && lk_now_ms() < visit.deadline_ms);
    if (!status && s.more) status = LATCHKEY_UNAVAILABLE;
    if (revoked) *revoked = s.ended;
    return status;
}

/* ------------------------------------------------------------------------------------------- ending one by name -- */

typedef struct ending {
    unsigned partition;
    const char *selector;
} ending;

static int take_ended(latchkey *lk, void *context, lk_script_answer *answer, int status)
{
    const ending *e = context;
    bool several = lk_session_names(answer->reply);
    if (several) lk_event_revoked(&lk->config, answer->reply->text, "selector");
    if (status && !several) return lk_outcome_status(status);
    const char *ended = several ? answer->reply->text : e->selector;
    return lk_session_ended(lk, e->partition, ended, answer->source) ? LATCHKEY_OK : LATCHKEY_UNAVAILABLE;
}

int latchkey_revoke_selector(latchkey *lk, uint64_t user_id, const char selector[LATCHKEY_SELECTOR_LENGTH])
{
    if (!lk || !selector) return lk_bad_argument("revoke_selector: the handle or selector is NULL");
    LK_VISIT(visit);
    int status = lk_visit_begin(lk, &visit);
    if (status) return status;
    unsigned partition;
    if (!lk_selector_parse((unsigned)lk->config.partitions, selector, &partition)) return LATCHKEY_MALFORMED;
    if (partition != lk_partition_of_user(lk, user_id)) return LATCHKEY_NOT_FOUND;
    char name[LATCHKEY_SELECTOR_LENGTH + 1] = "";
    memcpy(name, selector, LATCHKEY_SELECTOR_LENGTH);
    decimal user;
    const lk_span words[3] = {{"", 0}, lk_word("0"), decimal_of(&user, user_id)};
    ending e = {partition, name};
    const lk_script_run run = {.script = LK_SCRIPT_REVOKE,
                               .partition = partition,
                               .selector = name,
                               .words = words,
                               .count = 3,
                               .take = take_ended,
                               .context = &e};
    return lk_run_script(lk, &run, visit.deadline_ms);
}

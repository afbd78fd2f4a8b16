/* See draft.h. */
#include "session/draft.h"

#include "session/ended.h"
#include "base/argument.h"

#include "base/crypto.h"
#include "base/log.h"
#include "base/sized.h"
#include "session/server_time.h"

#include <inttypes.h>
#include <string.h>

#define TEN_YEARS_MS INT64_C(315360000000)

int lk_draft_take(const latchkey_draft *given, latchkey_draft *draft)
{
    enum { FIRST = offsetof(latchkey_draft, field_count) + sizeof(size_t) }; /* the size in version 0.1 */
    if (!lk_take_sized(draft, sizeof *draft, FIRST, given))
        return lk_bad_argument(
            "draft.size: sizeof(latchkey_draft) is expected, and 0 in all members that this version does not have");
    if (!draft->user_name != !draft->user_name_size)
        return lk_bad_argument("draft.user_name: NULL and 0, or a name and its size");
    if (!draft->user_name) return LATCHKEY_OK;
    uint64_t id = latchkey_user_id(draft->user_name, draft->user_name_size);
    if (draft->user_id && draft->user_id != id)
        return lk_bad_argument("draft.user_id: 0 or latchkey_user_id of draft.user_name");
    draft->user_id = id;
    return LATCHKEY_OK;
}

size_t lk_draft_name(const latchkey_draft *draft, lk_span words[2], uint8_t hash[LK_HASH_SIZE])
{
    if (!draft->user_name) return 0;
    lk_blake2b(&(lk_span){draft->user_name, draft->user_name_size}, 1, hash);
    words[0] = (lk_span){"n", 1};
    words[1] = (lk_span){hash, LK_HASH_SIZE};
    return 2;
}

bool lk_draft_collides(const latchkey_draft *draft, const lk_reply *reply)
{
    if (!lk_reply_is(reply, "NAME")) return false;
    lk_log(LATCHKEY_LOG_ERROR,
           "users: two names have the user id %" PRIu64
           ": the login under the second was refused. One of the two needs "
           "another name, or a user id of its own",
           draft->user_id);
    return true;
}

int64_t lk_draft_lifetime(const latchkey *lk, const latchkey_draft *d)
{
    return d->lifetime_ms ? d->lifetime_ms : lk->config.lifetime_ms;
}

void lk_draft_times(const latchkey *lk, const latchkey_draft *d, lk_record *record, int64_t made_ms, int64_t now_ms)
{
    int64_t end_ms = now_ms + lk_draft_lifetime(lk, d);
    record->entry.created_at_ms = record->entry.auth_at_ms = made_ms;
    record->entry.expires_at_ms = end_ms > made_ms ? end_ms : made_ms;
    record->age_s = lk_record_age_s(record, now_ms);
}

int lk_draft_record(const latchkey *lk, const latchkey_draft *d, lk_record *record)
{
    size_t role = d->role ? strnlen(d->role, 17) : 0;
    if (role > 16) return lk_bad_argument("draft.role: at most 16 bytes are expected");
    if (d->flags & ~LATCHKEY_FLAGS_YOURS) return lk_bad_argument("draft.flags: only LATCHKEY_FLAGS_YOURS");
    if (d->idle_ms < 0 || d->idle_ms > TEN_YEARS_MS)
        return lk_bad_argument("draft.idle_ms: 0 to 315360000000 (ten years) is expected");
    if (d->lifetime_ms < 0 || d->lifetime_ms > TEN_YEARS_MS)
        return lk_bad_argument("draft.lifetime_ms: 0 to 315360000000 (ten years) is expected");
    int status = lk_fields_check(d->fields, d->field_count, false);
    if (status) return status;
    memset(record, 0, sizeof *record);
    latchkey_entry *e = &record->entry;
    e->user_id = d->user_id;
    if (role) memcpy(e->role, d->role, role);
    memcpy(e->permissions_hash, d->permissions_hash, sizeof e->permissions_hash);
    e->device = d->device;
    e->flags = d->flags;
    record->idle_ms = d->idle_ms ? d->idle_ms : lk->config.idle_ms;
    record->sealed = lk->config.seal_keys.count && !lk->config.seal_keys.plain_new;
    if (record->sealed) {
        lk_random(record->session, sizeof record->session);
        int64_t now_ms = lk_session_guess_ms(lk, lk_partition_of_user(lk, d->user_id));
        lk_draft_times(lk, d, record, now_ms, now_ms);
    }
    return latchkey_key_hash(d->fields, d->field_count, e->pq_key_hash);
}

void lk_disown(latchkey *lk, const lk_token *token, bool certain)
{
    lk_pending_item item = {.partition = token->partition, .retry = true, .silent = true, .doubtful = !certain};
    memcpy(item.selector, token->text, sizeof item.selector);
    lk_token_verifier_hash(token, item.verifier_hash);
    if (lk_pending_add(lk->pending, &item)) lk_node_wake(lk_l2_owner(&lk->l2, item.partition));
}

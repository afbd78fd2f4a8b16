/* latchkey_set_fields and latchkey_change_fields: change single fields, all or none, without rewriting the session; the
 * second one only if they are still what was read. See update.h and field_version.h. */
#include "session/update.h"
#include "base/argument.h"
#include "session/begin.h"

static int begin_and_change(latchkey *lk, const char *token, size_t token_len, const lk_update *change)
{
    lk_token parsed;
    LK_VISIT(visit);
    int status = lk_begin(lk, token, token_len, &parsed, &visit);
    if (status) return status;
    status = change->count ? lk_fields_check(change->fields, change->count, true)
                           : lk_bad_argument("fields: at least one is expected");
    if (!status) status = lk_update_session(lk, &parsed, change, visit.deadline_ms);
    lk_wipe(&parsed, sizeof parsed);
    return status;
}

int latchkey_set_fields(latchkey *lk, const char *token, size_t token_len, const latchkey_field *fields,
                        size_t field_count)
{
    return begin_and_change(lk, token, token_len, &(lk_update){.fields = fields, .count = field_count});
}

int latchkey_change_fields(latchkey *lk, const char *token, size_t token_len, const latchkey_change *changes,
                           size_t count)
{
    latchkey_field fields[LK_FIELDS_MAX];
    uint64_t versions[LK_FIELDS_MAX];
    if (!changes || count > LK_FIELDS_MAX)
        return lk_bad_argument("change_fields: changes is NULL, or they are more than 256");
    for (size_t i = 0; i < count; i++) {
        fields[i] = (latchkey_field){changes[i].name, changes[i].data, changes[i].size};
        versions[i] = changes[i].version;
    }
    return begin_and_change(lk, token, token_len, &(lk_update){.fields = fields, .count = count, .versions = versions});
}

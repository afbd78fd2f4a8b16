/* latchkey_set_fields: single fields, all or none, without rewriting the session. See change.h. */
#include "change.h"

int latchkey_set_fields(latchkey *lk, const char *token, size_t token_len, const latchkey_field *fields,
                        size_t field_count)
{
    lk_token parsed;
    int64_t deadline_ms;
    int status = lk_begin(lk, token, token_len, &parsed, &deadline_ms);
    if (status) return status;
    const lk_change change = {.fields = fields, .count = field_count};
    status = field_count && lk_fields_good(fields, field_count, true)
                 ? lk_change_session(lk, &parsed, &change, deadline_ms)
                 : LATCHKEY_BAD_ARGUMENT;
    lk_wipe(&parsed, sizeof parsed);
    return status;
}

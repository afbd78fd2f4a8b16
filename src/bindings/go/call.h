/* SPDX-License-Identifier: MIT */
/* What cgo calls. Results come by value, so that no Go memory has to be made for them; a request is put together here, since Go
 * may not pass memory that points to other memory of Go. */
#ifndef LATCHKEY_GO_CALL_H
#define LATCHKEY_GO_CALL_H

#include <latchkey.h>
#include <stdlib.h>
#include <string.h>

typedef struct lkgo_answer {
    int status;
    latchkey_entry entry;
} lkgo_answer;

static inline lkgo_answer lkgo_try_validate(uintptr_t lk, const char *token, size_t token_len)
{
    lkgo_answer answer;
    answer.status = latchkey_try_validate((latchkey *)lk, token, token_len, &answer.entry);
    return answer;
}

/* What a request needs beside its token, in memory of C. */
typedef struct lkgo_detail {
    int64_t max_age_ms, grace_ms;
    const latchkey_draft *draft;
    const char *const *names;
    const latchkey_field *fields;
    const latchkey_change *changes;
    size_t count;
    const latchkey_access *access;
    uint64_t user_id;
} lkgo_detail;

static inline int lkgo_submit(latchkey_queue *q, int kind, uint64_t tag, const char *token, size_t token_len,
                              int64_t max_age_ms, const lkgo_detail *detail)
{
    latchkey_request request = {
        .size = sizeof request, .kind = kind, .tag = tag, .token = token, .token_len = token_len};
    request.fresh = max_age_ms >= 0;
    request.max_age_ms = request.fresh ? max_age_ms : 0;
    if (detail) {
        request.grace_ms = detail->grace_ms;
        request.draft = detail->draft;
        request.names = detail->names;
        request.fields = detail->fields;
        request.changes = detail->changes;
        request.count = detail->count;
        request.access = detail->access;
        request.user_id = detail->user_id;
    }
    return latchkey_queue_submit(q, &request);
}

static inline void lkgo_wipe(void *memory, size_t size) { explicit_bzero(memory, size); }

#endif

/* A line that `latchkey import` reads: a session, or the beginning or end of an export. See import.h. */
#ifndef LK_CLI_IMPORT_LINE_H
#define LK_CLI_IMPORT_LINE_H

#include "latchkey.h"

#include <stdbool.h>

enum {
    IMPORT_LINE_MOST = 8 * 1024 * 1024,
    IMPORT_FIELDS_MOST = 256,
    IMPORT_KEY_FIELDS_MOST = 64,
    IMPORT_USER_MOST = 1024
};

/* Why a session did not move in. The texts are in outcome.c. */
enum import_reason {
    IMPORT_GOOD,
    IMPORT_NOT_JSON,
    IMPORT_NOT_OBJECT,
    IMPORT_UNKNOWN_MEMBER,
    IMPORT_MEMBER_TWICE,
    IMPORT_TOKEN,
    IMPORT_USER,
    IMPORT_EXPIRES,
    IMPORT_TOO_LONG,
    /* latchkey_import gives these reasons: */
    IMPORT_NAME,
    IMPORT_ARGUMENT,
    IMPORT_MALFORMED,
    IMPORT_CORRUPT,
    IMPORT_REASONS
};

/* What a session that moved in had to leave behind, or what was cut. No user is logged out by that. */
enum import_change {
    IMPORT_FIELD_SIZE,
    IMPORT_FIELD_NAME,
    IMPORT_FIELD_TWICE,
    IMPORT_FIELD_VALUE,
    IMPORT_FIELD_COUNT,
    IMPORT_FIELDS,
    IMPORT_ROLE,
    IMPORT_PERMISSIONS,
    IMPORT_DEVICE,
    IMPORT_FLAGS,
    IMPORT_CREATED,
    IMPORT_IDLE,
    IMPORT_LIFETIME,
    IMPORT_TEXT,
    IMPORT_CHANGES
};

enum import_kind { IMPORT_SESSION, IMPORT_BEGIN, IMPORT_END };

typedef struct import_session {
    enum import_kind kind;
    uint64_t skipped, promised; /* IMPORT_END: sessions that the exporter could not read, and that it wrote */
    const char *token;
    size_t token_size;
    latchkey_draft draft;
    int64_t created_at_ms, expires_at_ms;
    bool changed[IMPORT_CHANGES];
    /* what the fields above point into: */
    latchkey_field fields[IMPORT_FIELDS_MOST];
    char *room;
    size_t room_size;
} import_session;

/* Takes one line without its line end. IMPORT_GOOD: the caller frees *session. Else there is nothing to free. now_ms is
 * Redis' clock. *no_memory is set if that was the reason. */
enum import_reason import_line_take(const char *line, size_t size, int64_t now_ms, import_session *session,
                                    bool *no_memory);
void import_line_free(import_session *session);

#endif

/* A line of what `latchkey import` reads. See import.h. Without cli.h, which has names of jansson's. */
#ifndef LK_CLI_IMPORT_LINE_H
#define LK_CLI_IMPORT_LINE_H

#include "latchkey.h"

#include <stdbool.h>

enum { IMPORT_LINE_MOST = 8 * 1024 * 1024, IMPORT_FIELDS_MOST = 256 };

/* What is wrong with a line, or with what it says. Their texts are in import_tally.c. */
enum import_reason {
    IMPORT_GOOD,
    IMPORT_NOT_JSON,
    IMPORT_NOT_OBJECT,
    IMPORT_UNKNOWN_MEMBER,
    IMPORT_TOKEN,
    IMPORT_USER,
    IMPORT_NUMBER,
    IMPORT_ROLE,
    IMPORT_PERMISSIONS,
    IMPORT_FIELDS,
    IMPORT_TOO_LONG,
    /* these the library says: */
    IMPORT_ARGUMENT,
    IMPORT_MALFORMED,
    IMPORT_CORRUPT,
    IMPORT_REASONS
};

typedef struct import_session {
    const char *token;
    size_t token_size;
    latchkey_draft draft;
    int64_t created_at_ms, expires_at_ms;
    /* what those point into: */
    latchkey_field fields[IMPORT_FIELDS_MOST];
    void *document;
    uint8_t *room;
    size_t room_size, room_used;
} import_session;

/* One line without its end. IMPORT_GOOD: *session is to be freed; else there is nothing to free. *no_memory is set where that
 * is what was missing. */
enum import_reason import_line_take(const char *line, size_t size, import_session *session, bool *no_memory);
void import_line_free(import_session *session);

#endif

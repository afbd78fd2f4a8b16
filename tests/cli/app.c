/* SPDX-License-Identifier: MIT
 *
 * An application with sessions, for the tests of the command: does what it is told on standard input, a line an order, and
 * answers a line each.
 *
 *   create USER IDLE_MS LIFETIME_MS DEVICE ROLE [NAME VALUE]...   (ROLE and VALUE in hexadecimal, - for none)   STATUS TOKEN
 *   rotate TOKEN GRACE_MS                                                                                    STATUS TOKEN
 *   validate TOKEN                                                                                           STATUS
 *   entry TOKEN                                                  STATUS USER ROLE CREATED_MS EXPIRES_MS DEVICE FLAGS
 *   field TOKEN NAME                                                                            STATUS HEXADECIMAL
 *   end USER                                                                                     STATUS HOW_MANY
 *   revoke TOKEN                                                                                             STATUS
 */
#include "latchkey.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 600 };

/* In place; what was hexadecimal is bytes, and a NUL behind them. */
static size_t unhex(char *text)
{
    size_t size = 0;
    unsigned byte;
    if (strcmp(text, "-") == 0) *text = 0;
    for (const char *at = text; sscanf(at, "%2x", &byte) == 1; at += 2) text[size++] = (char)byte;
    text[size] = 0;
    return size;
}

static int create(latchkey *lk, char **word, int count, char token[LATCHKEY_TOKEN_SIZE])
{
    static latchkey_field fields[WORDS / 2];
    latchkey_draft draft = {.size = sizeof draft, .user_id = strtoull(word[1], NULL, 10), .fields = fields};
    draft.idle_ms = atoll(word[2]);
    draft.lifetime_ms = atoll(word[3]);
    draft.device = (uint32_t)strtoul(word[4], NULL, 10);
    unhex(word[5]);
    draft.role = word[5];
    for (int i = 6; i + 1 < count; i += 2) {
        size_t size = unhex(word[i + 1]);
        fields[draft.field_count++] = (latchkey_field){word[i], word[i + 1], size};
    }
    return latchkey_create(lk, &draft, token);
}

static int entry_of(latchkey *lk, const char *token, char *out, size_t size)
{
    latchkey_entry e;
    int status = latchkey_validate(lk, token, strlen(token), &e);
    snprintf(out, size, "%" PRIu64 " %.16s %" PRId64 " %" PRId64 " %" PRIu32 " %" PRIu32, e.user_id,
             *e.role ? e.role : "-", e.created_at_ms, e.expires_at_ms, e.device, e.flags);
    return status;
}

static int field_of(latchkey *lk, const char *token, const char *name, char *out, size_t size)
{
    latchkey_record *record;
    size_t length = 0;
    int status = latchkey_load(lk, token, strlen(token), &record);
    const unsigned char *data = latchkey_record_field(record, name, &length);
    for (size_t i = 0; i < length && 2 * i + 3 <= size; i++) snprintf(out + 2 * i, 3, "%02x", data[i]);
    latchkey_record_free(record);
    return status;
}

static int end_all(latchkey *lk, const char *user, char *out, size_t size)
{
    size_t ended;
    int status = latchkey_revoke_user(lk, strtoull(user, NULL, 10), NULL, 0, &ended);
    snprintf(out, size, "%zu", ended);
    return status;
}

int main(int argc, char **argv)
{
    char error[256], *line = NULL, *word[WORDS];
    size_t size = 0;
    latchkey *lk;
    if (argc != 2 || latchkey_open(argv[1], &lk, error, sizeof error)) {
        fprintf(stderr, "app: %s\n", argc == 2 ? error : "usage: latchkey_cli_app CONFIG");
        return 1;
    }
    while (getline(&line, &size, stdin) > 0) {
        char token[4096] = "", *rest = line;
        int count = 0, status = LATCHKEY_BAD_ARGUMENT;
        line[strcspn(line, "\n")] = 0;
        while (count < WORDS && (word[count] = strsep(&rest, " "))) count++;
        latchkey_entry entry;
        if (strcmp(word[0], "create") == 0 && count >= 6) status = create(lk, word, count, token);
        else if (strcmp(word[0], "rotate") == 0 && count == 3)
            status = latchkey_rotate(lk, word[1], strlen(word[1]), atoll(word[2]), token);
        else if (strcmp(word[0], "validate") == 0 && count == 2)
            status = latchkey_validate(lk, word[1], strlen(word[1]), &entry);
        else if (strcmp(word[0], "entry") == 0 && count == 2) status = entry_of(lk, word[1], token, sizeof token);
        else if (strcmp(word[0], "field") == 0 && count == 3)
            status = field_of(lk, word[1], word[2], token, sizeof token);
        else if (strcmp(word[0], "revoke") == 0 && count == 2) status = latchkey_revoke(lk, word[1], strlen(word[1]));
        else if (strcmp(word[0], "end") == 0 && count == 2) status = end_all(lk, word[1], token, sizeof token);
        printf("%d %s\n", status, token);
        fflush(stdout);
    }
    free(line);
    latchkey_close(lk);
    return 0;
}

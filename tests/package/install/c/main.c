/* SPDX-License-Identifier: MIT
 *
 * A stranger's project: it has nothing of ours but what was installed. Argument: the configuration. */
#include <latchkey.h>

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    latchkey *lk;
    latchkey_entry entry;
    latchkey_draft draft;
    char token[LATCHKEY_TOKEN_SIZE], error[256];
    int status;

    if (argc != 2) return 2;
    memset(&draft, 0, sizeof draft);
    draft.size = sizeof draft;
    draft.user_id = 42;
    status = latchkey_open(argv[1], &lk, error, sizeof error);
    if (status != LATCHKEY_OK) {
        fprintf(stderr, "open: %s: %s\n", latchkey_status_text(status), error);
        return 1;
    }
    status = latchkey_create(lk, &draft, token);
    if (status == LATCHKEY_OK) status = latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry);
    if (status == LATCHKEY_OK && entry.user_id != 42) status = LATCHKEY_CORRUPT;
    if (status == LATCHKEY_OK) status = latchkey_revoke(lk, token, LATCHKEY_TOKEN_LENGTH);
    if (status == LATCHKEY_OK && latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry) != LATCHKEY_NOT_FOUND)
        status = LATCHKEY_CORRUPT;
    latchkey_close(lk);
    printf("%s %s\n", latchkey_version(), latchkey_status_text(status));
    return status == LATCHKEY_OK ? 0 : 1;
}

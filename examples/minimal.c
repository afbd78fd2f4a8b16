/* SPDX-License-Identifier: MIT
 *
 * The shortest whole program: a session is made, validated, revoked, and validated again.
 *
 *     latchkey-minimal [redis://127.0.0.1:6379]
 */
#include <inttypes.h>
#include <stdio.h>
#include <latchkey.h>

int main(int argc, char **argv)
{
    latchkey *lk;
    latchkey_entry entry;
    latchkey_draft draft = {.size = sizeof draft, .user_id = 42, .role = "member"};
    char token[LATCHKEY_TOKEN_SIZE], error[256];

    if (latchkey_open(argc > 1 ? argv[1] : "redis://127.0.0.1:6379", &lk, error, sizeof error) != LATCHKEY_OK) {
        fprintf(stderr, "latchkey-minimal: %s\n", error);
        return 1;
    }
    int status = latchkey_create(lk, &draft, token);
    if (status == LATCHKEY_OK) status = latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry);
    if (status == LATCHKEY_OK) {
        printf("valid: user %" PRIu64 ", role %.16s\n", entry.user_id, entry.role);
        status = latchkey_revoke(lk, token, LATCHKEY_TOKEN_LENGTH);
    }
    if (status == LATCHKEY_OK) status = latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry);
    printf("%s\n", latchkey_status_text(status)); /* NOT_FOUND, because the session was revoked */
    latchkey_close(lk);
    return status == LATCHKEY_NOT_FOUND ? 0 : 1;
}

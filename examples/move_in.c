/* SPDX-License-Identifier: MIT
 *
 * A session of another store moves in, and its own token is exchanged for one of ours.
 *
 *     latchkey-move-in [redis://127.0.0.1:6379]
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <latchkey.h>

int main(int argc, char **argv)
{
    static const char old[] = "dGhpcyBpcyBhIHNlc3Npb24gaWQg"; /* what stands in the user's cookie */
    char config[512], error[256], token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk;
    latchkey_entry entry;
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    const char *where = argc > 1 ? argv[1] : "redis://127.0.0.1:6379";
    snprintf(config, sizeof config, "%s%cforeign_until_ms=%lld", where, strchr(where, '?') ? '&' : '?',
             (long long)now_ms + 7 * 86400000LL); /* a week, on every instance */
    if (latchkey_open(config, &lk, error, sizeof error) != LATCHKEY_OK) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    latchkey_draft draft = {.size = sizeof draft, .user_id = 42, .role = "member"};
    int status = latchkey_import(lk, old, strlen(old), &draft, now_ms - 3600000, now_ms + 86400000);
    if (status == LATCHKEY_REFUSED) status = LATCHKEY_OK; /* it moved in before: run the import as often as you like */
    if (status == LATCHKEY_OK) status = latchkey_validate(lk, old, strlen(old), &entry); /* and for each request */
    if (status == LATCHKEY_OK && entry.flags & LATCHKEY_FLAG_RENEW)
        status = latchkey_rotate(lk, old, strlen(old), 60000, token); /* for the answer's cookie */
    printf("%s\n", latchkey_status_text(status));
    latchkey_close(lk);
    return status == LATCHKEY_OK ? 0 : 1;
}

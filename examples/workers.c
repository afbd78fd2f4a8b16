/* SPDX-License-Identifier: MIT
 *
 * The shortest prefork: each worker opens a handle of its own, after the fork.
 *
 *     latchkey-workers [redis://127.0.0.1:6379]
 */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <latchkey.h>

static int worker(const char *config)
{
    latchkey *lk;
    char token[LATCHKEY_TOKEN_SIZE], error[256];
    latchkey_draft draft = {.size = sizeof draft, .user_id = (uint64_t)getpid()};
    latchkey_entry entry;
    if (latchkey_open(config, &lk, error, sizeof error) != LATCHKEY_OK) {
        fprintf(stderr, "worker %d: %s\n", (int)getpid(), error);
        return 1;
    }
    int status = latchkey_create(lk, &draft, token); /* here it would accept and serve */
    if (status == LATCHKEY_OK) status = latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry);
    printf("worker %d: %s\n", (int)getpid(), latchkey_status_text(status));
    latchkey_close(lk);
    return status == LATCHKEY_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *config = argc > 1 ? argv[1] : "redis://127.0.0.1:6379";
    int failed = 0, status;
    for (int i = 0; i < 4; i++) {
        pid_t child = fork(); /* before any latchkey_open */
        if (child == 0) return worker(config);
        failed += child < 0;
    }
    while (wait(&status) > 0) failed += status != 0;
    return failed ? 1 : 0;
}

/* SPDX-License-Identifier: MIT
 *
 * The shortest event loop: poll, latchkey_try_validate, latchkey_submit, latchkey_reap.
 *
 *     latchkey-event-loop [redis://127.0.0.1:6379]
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <latchkey.h>

static latchkey *lk;
static unsigned answered;

static void answer(uint64_t tag, int status, const latchkey_entry *entry)
{
    printf("request %" PRIu64 ": %s, user %" PRIu64 "\n", tag, latchkey_status_text(status), entry->user_id);
    answered++;
}

static void request_came(uint64_t tag, const char *token)
{
    latchkey_entry entry;
    int status = latchkey_try_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry);
    if (status == LATCHKEY_AGAIN) {
        status = latchkey_submit(lk, token, LATCHKEY_TOKEN_LENGTH, tag);
        if (status == LATCHKEY_OK) return; /* answers_came goes on with it */
    }
    answer(tag, status, &entry); /* a hit, a "no", or no answer to be had */
}

static void answers_came(void) /* latchkey_fd is readable */
{
    latchkey_answer answers[64];
    size_t count;
    do {
        count = latchkey_reap(lk, answers, 64);
        for (size_t i = 0; i < count; i++) answer(answers[i].tag, answers[i].status, &answers[i].entry);
    } while (count == 64);
}

int main(int argc, char **argv)
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = 42};
    char token[LATCHKEY_TOKEN_SIZE], error[256];
    if (latchkey_open(argc > 1 ? argv[1] : "redis://127.0.0.1:6379", &lk, error, sizeof error) != LATCHKEY_OK) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    if (latchkey_create(lk, &draft, token) != LATCHKEY_OK) return 1; /* a login blocks: give it to another thread */

    struct pollfd loop = {.fd = latchkey_fd(lk), .events = POLLIN}; /* and your listening socket, and your clients */
    for (uint64_t tag = 0; tag < 8; tag++) request_came(tag, token);
    while (answered < 8 && poll(&loop, 1, 10000) > 0) answers_came();
    latchkey_close(lk);
    return answered == 8 ? 0 : 1;
}

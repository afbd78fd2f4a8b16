/* SPDX-License-Identifier: MIT
 *
 * The shortest event loop: poll, and a queue. A login, eight requests, a logout; nothing waits.
 *
 *     latchkey-event-loop [redis://127.0.0.1:6379]
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <latchkey.h>

enum { LOGIN = 100, LOGOUT = 101 }; /* tags; yours are numbers of your requests */

static latchkey *lk;
static latchkey_queue *queue; /* of this loop; another loop of the process opens another */
static char token[LATCHKEY_TOKEN_SIZE];
static unsigned answered;

/* Not OK: no result will come. */
static int ask(int kind, uint64_t tag, const latchkey_draft *draft)
{
    latchkey_request r = {.size = sizeof r, .kind = kind, .tag = tag, .draft = draft, .grace_ms = 300000};
    if (kind != LATCHKEY_CREATE) r.token = token, r.token_len = strlen(token);
    return latchkey_queue_submit(queue, &r); /* all that it points to is copied */
}

static void answer(uint64_t tag, int status, const latchkey_entry *entry)
{
    printf("request %" PRIu64 ": %s, user %" PRIu64 "\n", tag, latchkey_status_text(status), entry->user_id);
    if (++answered == 8 && ask(LATCHKEY_REVOKE, LOGOUT, NULL) != LATCHKEY_OK) answered = 9;
}

static void request_came(uint64_t tag)
{
    latchkey_entry entry;
    int status = latchkey_try_validate(lk, token, strlen(token), &entry);
    if (status == LATCHKEY_AGAIN && (status = ask(LATCHKEY_VALIDATE, tag, NULL)) == LATCHKEY_OK) return;
    answer(tag, status, &entry); /* a hit, a "no", or no answer to be had */
}

static void result_came(latchkey_result *r)
{
    if (r->tag == LOGIN) {
        memcpy(token, r->token, sizeof token); /* "" unless it is OK. It goes to the client, as a cookie */
        for (uint64_t tag = 0; tag < 8; tag++) request_came(tag);
    } else if (r->tag == LOGOUT) {
        printf("logout: %s\n", latchkey_status_text(r->status)); /* from submit on, the session was denied here */
        answered++;
    } else if (r->kind == LATCHKEY_ROTATE) { /* send r->token with the answer, unless it is "" */
    } else {
        answer(r->tag, r->status, &r->entry);
        /* The option renew_ms: the token is to be exchanged. A server holds its answer back until the new one is there. */
        if (r->status == LATCHKEY_OK && r->entry.flags & LATCHKEY_FLAG_RENEW) ask(LATCHKEY_ROTATE, r->tag, NULL);
    }
}

static void results_came(void) /* the queue's descriptor is readable */
{
    latchkey_result results[64];
    size_t count;
    do {
        count = latchkey_queue_reap(queue, results, sizeof *results, 64);
        for (size_t i = 0; i < count; i++) result_came(&results[i]);
    } while (count == 64);
}

int main(int argc, char **argv)
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = 42};
    char error[256];
    if (latchkey_open(argc > 1 ? argv[1] : "redis://127.0.0.1:6379", &lk, error, sizeof error) != LATCHKEY_OK ||
        !(queue = latchkey_queue_open(lk)) || ask(LATCHKEY_CREATE, LOGIN, &draft) != LATCHKEY_OK) {
        if (lk) latchkey_error_text(lk, error, sizeof error);
        fprintf(stderr, "latchkey-event-loop: %s\n", error);
        return 1;
    }
    /* And your listening socket, and your clients. */
    struct pollfd loop = {.fd = latchkey_queue_fd(queue), .events = POLLIN};
    while (answered < 9 && poll(&loop, 1, 10000) > 0) results_came();
    latchkey_queue_close(queue);
    latchkey_close(lk);
    return answered == 9 ? 0 : 1;
}

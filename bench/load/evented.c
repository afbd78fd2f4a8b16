/* SPDX-License-Identifier: MIT
 *
 * Misses through an event loop: one thread, latchkey_fd in poll, IN_FLIGHT tokens submitted at any time. See parts.h.
 *
 * Checked: each tag is answered exactly once, with the entry of the session that was submitted under it.
 */
#include "parts.h"

#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdlib.h>

#define PATIENCE_MS 10000 /* far beyond deadline_ms, within which an answer is promised */

typedef struct asked {
    const one *it; /* NULL: this tag is free */
    uint64_t began_ns;
} asked;

typedef struct loop {
    latchkey *lk;
    const stage *stage;
    bench_random random;
    struct pollfd watched;
    asked asked[IN_FLIGHT];
    account *account;
    bool recording;
} loop;

static void submit(loop *l, uint64_t tag)
{
    asked *a = &l->asked[tag];
    a->it = &l->stage->all[bench_random_below(&l->random, l->stage->count)];
    a->began_ns = bench_now_ns();
    int status = latchkey_submit(l->lk, a->it->token, LATCHKEY_TOKEN_LENGTH, tag);
    if (status != LATCHKEY_OK) bench_die("latchkey_submit: %s", latchkey_status_text(status));
}

static void take(loop *l, const latchkey_answer *answer)
{
    if (answer->tag >= IN_FLIGHT || l->asked[answer->tag].it == NULL) bench_die("an answer that was not asked for");
    asked *a = &l->asked[answer->tag];
    answer_check(a->it, answer->status, &answer->entry);
    if (l->recording) account_note(l->account, answer->status, false, bench_now_ns() - a->began_ns);
    a->it = NULL;
}

/* One turn of an event loop: waits, takes what is there, and asks anew under each tag where `more`. Answers taken. */
static size_t turn(loop *l, bool more)
{
    latchkey_answer answers[64];
    size_t taken = 0, got;
    if (poll(&l->watched, 1, PATIENCE_MS) == 0) bench_die("no answer of latchkey_submit in %d ms", PATIENCE_MS);
    do {
        got = latchkey_reap(l->lk, answers, sizeof answers / sizeof *answers);
        for (size_t i = 0; i < got; i++) {
            take(l, &answers[i]);
            if (more) submit(l, answers[i].tag);
        }
        taken += got;
    } while (got == sizeof answers / sizeof *answers);
    return taken;
}

cell evented_run(latchkey *lk, const stage *st, double seconds, uint64_t seed)
{
    loop *l = bench_take(sizeof *l);
    redisContext *redis = bench_server_connect(st->server);
    bench_info before, after;
    *l = (loop){.lk = lk, .stage = st, .account = accounts_take(1), .watched = {latchkey_fd(lk), POLLIN, 0}};
    if (l->watched.fd < 0) bench_die("latchkey_fd: %s", latchkey_status_text(l->watched.fd));
    bench_random_seed(&l->random, seed);
    for (uint64_t tag = 0; tag < IN_FLIGHT; tag++) submit(l, tag);
    for (uint64_t until = bench_now_ns() + (uint64_t)(seconds * 0.2e9); bench_now_ns() < until;) turn(l, true);

    bench_info_read(redis, &before);
    uint64_t began = bench_now_ns(), now;
    l->recording = true;
    do turn(l, true);
    while ((now = bench_now_ns()) < began + (uint64_t)(seconds * 1e9));
    l->recording = false;
    bench_info_read(redis, &after);
    for (size_t left = IN_FLIGHT; left > 0;) left -= turn(l, false);

    cell c = {l->account, bench_info_since(&before, &after), (double)(now - began) / 1e9};
    redisFree(redis);
    free(l);
    return c;
}

/* See sentinels.h. What a tool asks the sentinels, and waits for. */
#include "base/clock.h"
#include "l2/sentinels_parts.h"

#include <stdio.h>
#include <string.h>

/* Until all have answered; or, if `primary` is all that is asked for, until it is known or cannot be. */
static void converse(lk_sentinels *s, bool primary, int64_t deadline_ms)
{
    char why[160];
    for (int64_t now_ms = lk_now_ms(); now_ms < deadline_ms; now_ms = lk_now_ms()) {
        struct pollfd poll_fd[LK_SENTINELS_MAX];
        bool all = lk_sentinels_heard_all(s);
        if (primary ? s->naming.known : all) return;
        if (all && lk_naming_trouble(&s->naming, s->config, why, sizeof why) == LATCHKEY_CONFIG) return;
        lk_sentinels_tick(s, 0, now_ms);
        unsigned count = lk_sentinels_poll(s, poll_fd, now_ms);
        int64_t wait_ms = lk_earlier(lk_sentinels_wake_ms(s), deadline_ms) - now_ms;
        if (poll(poll_fd, count, wait_ms > 0 ? (int)wait_ms : 0) > 0) lk_sentinels_fed(s, poll_fd, lk_now_ms());
    }
}

lk_sentinels *lk_sentinels_ask_all(const lk_config *config, int64_t deadline_ms)
{
    lk_sentinels *s = lk_sentinels_open(config, lk_now_ms());
    if (s) converse(s, false, deadline_ms);
    return s;
}

/* ----------------------------------------------------------------------------------------------- an exam -- */

bool lk_sentinel_examined(lk_sentinel *at, lk_reply *reply)
{
    unsigned which = reply->tag - LK_SENTINEL_EXAM;
    if (!at->exam || which >= LK_SENTINEL_EXAMS || at->exam->answer[which]) return false;
    at->exam->answer[which] = reply;
    return true;
}

static bool send_exam(const lk_sentinels *s, lk_sentinel *at)
{
    static const char *const asked[LK_SENTINEL_EXAMS] = {"CKQUORUM", "MASTER"};
    bool sent = true;
    for (unsigned which = 0; which < LK_SENTINEL_EXAMS && sent; which++) {
        const lk_span words[3] = {lk_word("SENTINEL"), lk_word(asked[which]), lk_word(s->config->service)};
        sent = lk_conn_send(&at->conn, LK_SENTINEL_EXAM + which, words, 3);
    }
    return sent;
}

static bool is_complete(const lk_sentinel *at)
{
    bool all = true;
    for (unsigned which = 0; which < LK_SENTINEL_EXAMS; which++) all = all && at->exam->answer[which];
    return all;
}

void lk_sentinels_examine(lk_sentinels *s, int64_t deadline_ms, lk_sentinel_exam exam[LK_SENTINELS_MAX])
{
    bool waiting = false;
    memset(exam, 0, LK_SENTINELS_MAX * sizeof *exam);
    for (unsigned i = 0; i < s->naming.listed; i++) {
        lk_sentinel *at = &s->at[i];
        exam[i].asked = at->state == LK_SENTINEL_UP && s->naming.said[i].what == LK_SAID_PRIMARY && send_exam(s, at);
        at->exam = &exam[i];
        memcpy(exam[i].id, at->id, sizeof at->id);
        waiting |= exam[i].asked;
    }
    for (int64_t now_ms = lk_now_ms(); waiting && now_ms < deadline_ms; now_ms = lk_now_ms()) {
        struct pollfd poll_fd[LK_SENTINELS_MAX];
        unsigned count = lk_sentinels_poll(s, poll_fd, now_ms);
        if (poll(poll_fd, count, (int)(deadline_ms - now_ms)) > 0) lk_sentinels_fed(s, poll_fd, lk_now_ms());
        waiting = false;
        for (unsigned i = 0; i < s->naming.listed; i++)
            waiting |= exam[i].asked && s->at[i].state == LK_SENTINEL_UP && !is_complete(&s->at[i]);
    }
    for (unsigned i = 0; i < s->naming.listed; i++) s->at[i].exam = NULL;
}

void lk_sentinels_examined(lk_sentinel_exam exam[LK_SENTINELS_MAX])
{
    for (unsigned i = 0; i < LK_SENTINELS_MAX; i++)
        for (unsigned which = 0; which < LK_SENTINEL_EXAMS; which++) lk_reply_free(exam[i].answer[which]);
}

/* --------------------------------------------------------------------------------------------- the primary -- */

bool lk_sentinels_find(lk_config *config, int64_t deadline_ms, char *error, size_t error_size)
{
    if (!config->sentinels) return true;
    lk_sentinels *s = lk_sentinels_open(config, lk_now_ms());
    snprintf(error, error_size, "no memory");
    if (!s) return false;
    converse(s, true, deadline_ms);
    bool found = s->naming.known;
    if (found) {
        memcpy(config->host, s->naming.primary.name, sizeof config->host);
        memcpy(config->port, s->naming.primary.port, sizeof config->port);
    } else lk_naming_trouble(&s->naming, config, error, error_size);
    lk_sentinels_close(s);
    return found;
}

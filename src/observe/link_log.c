/* See link_log.h. */
#include "observe/link_log.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void lk_link_log_open(lk_link_log *log, int64_t now_ms)
{
    *log = (lk_link_log){.lines = LK_LINK_LOG_AT_ONCE, .refilled_ms = now_ms};
}

/* A token bucket: may one more line be logged? */
static bool room(lk_link_log *t, int64_t now_ms)
{
    int64_t more = (now_ms - t->refilled_ms) / LK_LINK_LOG_EVERY_MS;
    t->refilled_ms += more * LK_LINK_LOG_EVERY_MS;
    t->lines = t->lines + more < LK_LINK_LOG_AT_ONCE ? t->lines + more : LK_LINK_LOG_AT_ONCE;
    if (t->lines <= 0) return false;
    t->lines--;
    return true;
}

static void go_down(lk_link_log *t, int64_t since_ms)
{
    if (t->down) return;
    t->down = true;
    t->down_ms = since_ms;
    t->lease_ms = 0;
    t->losses++;
}

static void say_why(lk_link_log *t, int64_t now_ms, int level, const char *what, const char *why)
{
    char before[sizeof t->why];
    memcpy(before, t->why, sizeof before);
    snprintf(t->why, sizeof t->why, "%s", why);
    if (strcmp(t->why, before)) t->said_down = false;
    if (t->said_down || !room(t, now_ms)) return;
    t->said_down = true;
    lk_log(level, "link%s: %s: %s", t->where, what, t->why);
}

void lk_link_log_lost(lk_link_log *t, int64_t now_ms, int status, const char *why)
{
    go_down(t, now_ms);
    say_why(t, now_ms, status == LATCHKEY_CONFIG ? LATCHKEY_LOG_ERROR : LATCHKEY_LOG_WARNING, "down", why);
}

void lk_link_log_withheld(lk_link_log *t, int64_t now_ms, int64_t staleness_ms, const char *why)
{
    int64_t end_ms = t->lease_ms ? t->lease_ms + staleness_ms : now_ms;
    if (now_ms < end_ms) return;
    go_down(t, end_ms);
    say_why(t, now_ms, LATCHKEY_LOG_WARNING, "Redis cannot be used", why);
}

static void say_up(lk_link_log *t, int64_t now_ms)
{
    if (!t->losses || !room(t, now_ms)) return;
    char times[sizeof t->why + 64] = "";
    if (t->losses > 1)
        snprintf(times, sizeof times, "; it was down %u times, the last because of this: %s", t->losses, t->why);
    lk_log(LATCHKEY_LOG_NOTICE, "link%s: up after %" PRId64 " ms%s", t->where, t->away_ms, times);
    t->said_down = false;
    t->losses = 0;
}

static void say_lapse(lk_link_log *t, int64_t now_ms)
{
    if (!t->lapse_ms || !room(t, now_ms)) return;
    lk_log(LATCHKEY_LOG_WARNING,
           "lease%s: it had lapsed for %" PRId64 " ms: this process, or its machine, was paused or too busy", t->where,
           t->lapse_ms);
    t->lapse_ms = 0;
}

/* If messages were lost but the log of revocations had them all, L1 was not emptied. */
static void say_l1(lk_link_log *t, int64_t now_ms)
{
    bool lost_some = t->missed, emptied = t->empties > t->expected;
    if ((lost_some || emptied) && !room(t, now_ms)) return;
    if (lost_some)
        lk_log(emptied ? LATCHKEY_LOG_WARNING : LATCHKEY_LOG_NOTICE,
               "l1: the messages of %" PRIu64 " revocations were lost, as their numbers show%s", t->missed,
               emptied ? "; it was emptied" : "");
    else if (emptied)
        lk_log(LATCHKEY_LOG_WARNING, "l1: emptied: Redis counts its revocations anew: it lost some, or something else "
                                     "writes under our prefix");
    t->missed = t->empties = t->expected = 0;
}

static void say_everyone(lk_link_log *t, int64_t now_ms)
{
    if (!t->everyone || !room(t, now_ms)) return;
    lk_log(LATCHKEY_LOG_NOTICE, "l1: emptied: the sessions of all users were ended (latchkey_revoke_everyone)");
    t->everyone = false;
}

static void say_forward(lk_link_log *t, int64_t now_ms)
{
    if (!t->forward_ms || !room(t, now_ms)) return;
    lk_log(LATCHKEY_LOG_WARNING,
           "l1: emptied: Redis' clock was set forward by %" PRId64 " ms (or this machine slept): sessions may be over",
           t->forward_ms);
    t->forward_ms = 0;
}

static void say_corrupt(lk_link_log *t, int64_t now_ms, uint64_t corrupt)
{
    if (corrupt == t->corrupt || !room(t, now_ms)) return;
    lk_log(LATCHKEY_LOG_ERROR,
           "records: %" PRIu64 " answers were CORRUPT: damage, or something else writes under our prefix",
           corrupt - t->corrupt);
    t->corrupt = corrupt;
}

void lk_link_log_moved(lk_link_log *t) { t->lease_ms = 0; }

void lk_link_log_lease(lk_link_log *t, int64_t sent_ms, int64_t staleness_ms, uint64_t corrupt)
{
    int64_t lapse_ms = t->lease_ms ? sent_ms - t->lease_ms - staleness_ms : 0;
    if (lapse_ms > t->lapse_ms) t->lapse_ms = lapse_ms;
    if (t->down) t->away_ms = sent_ms - t->down_ms;
    t->down = false;
    t->lease_ms = sent_ms;
    say_up(t, sent_ms);
    say_lapse(t, sent_ms);
    say_l1(t, sent_ms);
    say_everyone(t, sent_ms);
    say_forward(t, sent_ms);
    say_corrupt(t, sent_ms, corrupt);
}

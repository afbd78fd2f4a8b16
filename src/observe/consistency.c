/* See consistency.h. It belongs to the link's thread, and takes no lock. */
#include "observe/consistency.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/record.h"

#include <inttypes.h>
#include <string.h>

enum {
    SECOND_US = 1000000,
    TOGETHER_US = 9000, /* a comparison may wait this long for others, so that they are sent at one waking */
    DEBT_US = 100000,   /* a comparison that was due longer ago is dropped: so there is no burst after a pause */
    SAY_EVERY_MS = 10000,
};

void lk_consistency_open(lk_consistency *a, const lk_config *config, lk_counters *counters)
{
    memset(a, 0, sizeof *a);
    a->config = config;
    a->counters = counters;
}

/* Suspicions that were counted stay: so they are neither looked at nor counted again. */
static void forget(lk_consistency *a)
{
    for (int i = 0; i < LK_AUDIT_SUSPICIONS; i++)
        if (!a->suspicion[i].counted) a->suspicion[i].why = NULL;
}

void lk_consistency_leased(lk_consistency *a, int64_t until_ms) { a->leased_until_ms = until_ms; }

/* ------------------------------------------------------------------------------------------------- pacing -- */

bool lk_consistency_due(lk_consistency *a, int64_t now_us)
{
    if (!a->config->audit_per_s || now_us / 1000 >= a->leased_until_ms || now_us < a->next_us) return false;
    if (now_us - a->next_us > DEBT_US) a->next_us = now_us;
    a->next_us += SECOND_US / a->config->audit_per_s;
    return true;
}

void lk_consistency_rest(lk_consistency *a, int64_t now_us)
{
    if (a->config->audit_per_s && a->next_us <= now_us) a->next_us = now_us + SECOND_US / a->config->audit_per_s;
}

int64_t lk_consistency_wake_ms(const lk_consistency *a)
{
    return a->config->audit_per_s ? (a->next_us + TOGETHER_US) / 1000 : INT64_MAX;
}

/* ------------------------------------------------------------------------------------------------ judging -- */

static bool same_fill(const lk_entry_sample *a, const lk_entry_sample *b)
{
    return !memcmp(a->selector, b->selector, sizeof a->selector) && a->deadline_ms == b->deadline_ms &&
           !memcmp(&a->entry, &b->entry, sizeof a->entry);
}

/* Compares all but the flags that are not in the record: those were set when the record was judged (judge.c). */
static bool same_entry(const latchkey_entry *seen, const latchkey_entry *stored)
{
    latchkey_entry plain = *seen;
    plain.flags &= LATCHKEY_FLAGS_YOURS;
    return !memcmp(&plain, stored, sizeof plain);
}

/* How the two differ. NULL: Redis holds what L1 holds. */
static const char *differs(const lk_consistency *a, const lk_entry_sample *seen, const lk_reply *reply)
{
    lk_record record;
    uint8_t raw[LK_SELECTOR_RAW];
    if (reply->type == LK_REPLY_NIL) return "has not held";
    bool equal = reply->type == LK_REPLY_STRING &&
                 lk_record_open(&a->config->seal_keys, reply->text, reply->size, &record) == LK_RECORD_GOOD &&
                 lk_base64_decode(seen->selector, sizeof seen->selector, raw, sizeof raw) &&
                 !memcmp(raw, record.selector, sizeof raw) && same_entry(&seen->entry, &record.entry);
    return equal ? NULL : "has held something else for";
}

void lk_consistency_judge(lk_consistency *a, const lk_entry_sample *seen, const lk_reply *reply, int64_t now_ms)
{
    const char *why = differs(a, seen, reply);
    lk_suspicion *free = NULL;
    lk_count(a->counters, LK_AUDITED, 1);
    if (!why) return;
    for (int i = 0; i < LK_AUDIT_SUSPICIONS; i++) {
        lk_suspicion *s = &a->suspicion[i];
        if (!s->why) free = s;
        else if (same_fill(&s->seen, seen)) return; /* it is known already, and its time runs */
    }
    if (!free) return;
    *free = (lk_suspicion){.seen = *seen, .why = why, .since_ms = now_ms};
    lk_count(a->counters, LK_AUDIT_SUSPICIONS_SEEN, 1);
}

/* -------------------------------------------------------------------------------------------- looking again -- */

static int64_t bound_ms(const lk_consistency *a)
{
    return a->config->staleness_ms + a->config->grace_ms + LK_CLOCK_TICK_MS;
}

static void disagreement(lk_consistency *a, lk_suspicion *s)
{
    s->counted = true;
    a->last = *s;
    a->unsaid++;
    lk_count(a->counters, LK_AUDIT_DISAGREEMENTS, 1);
}

static void say(lk_consistency *a, int64_t now_ms)
{
    if (!a->unsaid || now_ms < a->say_ms) return;
    lk_log(LATCHKEY_LOG_ERROR,
           "audit: Redis %s session %.20s for longer than the bound of %" PRId64
           " ms, and L1 still answers it; %" PRIu64 " such since this was last said",
           a->last.why, a->last.seen.selector, bound_ms(a), a->unsaid);
    a->unsaid = 0;
    a->say_ms = now_ms + SAY_EVERY_MS;
}

void lk_consistency_recheck(lk_consistency *a, int64_t now_ms, bool (*held)(void *context, const lk_entry_sample *seen),
                            void *context)
{
    if (now_ms >= a->leased_until_ms) forget(a); /* without a lease L1 answers nothing */
    for (int i = 0; i < LK_AUDIT_SUSPICIONS; i++) {
        lk_suspicion *s = &a->suspicion[i];
        if (!s->why) continue;
        if (now_ms >= s->seen.deadline_ms) *s = (lk_suspicion){.why = NULL};
        else if (s->counted || now_ms - s->since_ms <= bound_ms(a)) continue;
        else if (held(context, &s->seen)) disagreement(a, s);
        else s->why = NULL;
    }
    say(a, now_ms);
}

/* See events.h. */
#include "observe/events.h"

#include "base/log.h"
#include "base/token.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LENGTH = LATCHKEY_SELECTOR_LENGTH };

const char *lk_event_told(const char *reply) { return strstr(reply, " : "); }

/* The text came from Redis, so it is checked: what is not a selector is printed as "?". */
static const char *name(const char *selector) { return lk_selector_spelled(selector) ? selector : "?"; }

static void user_text(uint64_t user_id, char out[24]) { snprintf(out, 24, "%" PRIu64, user_id); }

/* The user in a piece (lk_event_told), or "?" if it is not known. Returns the text behind it. */
static const char *take_user(const char *told, char out[24])
{
    const char *user = told + 3;
    size_t size = strspn(user, "0123456789");
    bool good = size && size <= 20 && (!user[size] || user[size] == ' ');
    snprintf(out, 24, "%.*s", good ? (int)size : 1, good ? user : "?");
    return user + strcspn(user, " ");
}

/* The next selector at or behind `at`, or NULL. */
static const char *next(const char *at)
{
    for (at += strspn(at, " "); *at && strcspn(at, " ") != LENGTH; at += strspn(at, " ")) at += strcspn(at, " ");
    return *at ? at : NULL;
}

static void revoked(const char *selectors, const char *user, const char *by)
{
    for (const char *one = next(selectors); one; one = next(one + LENGTH))
        lk_log(LATCHKEY_LOG_INFO, "event: revoked selector=%.20s user=%s by=%s", name(one), user, by);
}

static void began(const lk_config *config, const char *how, const char *selector, uint64_t user_id, uint32_t device)
{
    if (config->events)
        lk_log(LATCHKEY_LOG_INFO, "event: %s selector=%.20s user=%" PRIu64 " device=%" PRIu32, how, name(selector),
               user_id, device);
}

void lk_event_created(const lk_config *config, const char *selector, uint64_t user_id, uint32_t device)
{
    began(config, "created", selector, user_id, device);
}

void lk_event_imported(const lk_config *config, const char *selector, uint64_t user_id, uint32_t device)
{
    began(config, "imported", selector, user_id, device);
}

void lk_event_refused(const lk_config *config, uint64_t user_id, const char *why)
{
    if (config->events) lk_log(LATCHKEY_LOG_INFO, "event: refused user=%" PRIu64 " why=%s", user_id, why);
}

void lk_event_changed(const lk_config *config, const char *selector, const char *what)
{
    if (config->events) lk_log(LATCHKEY_LOG_INFO, "event: changed selector=%.20s what=%s", name(selector), what);
}

void lk_event_changed_all(const lk_config *config, const char *text, const char *what)
{
    char user[24];
    const char *told = config->events ? lk_event_told(text) : NULL;
    const char *one = told ? next(take_user(told, user)) : NULL;
    for (; one; one = next(one + LENGTH)) lk_event_changed(config, one, what);
}

void lk_event_everyone(const lk_config *config)
{
    if (config->events) lk_log(LATCHKEY_LOG_INFO, "event: revoked selector=* user=* by=everyone");
}

void lk_event_rotated(const lk_config *config, const char *old_selector, const char *new_selector, const char *text,
                      int64_t grace_ms)
{
    char user[24] = "?";
    const char *told = lk_event_told(text);
    if (!config->events) return;
    if (told) take_user(told, user);
    lk_log(LATCHKEY_LOG_INFO, "event: rotated selector=%.20s new=%.20s user=%s grace_ms=%" PRId64, name(old_selector),
           name(new_selector), user, grace_ms);
}

void lk_event_revoked(const lk_config *config, const char *text, const char *by)
{
    char user[24];
    const char *told = config->events ? lk_event_told(text) : NULL;
    if (!told) return;
    const char *selectors = take_user(told, user);
    revoked(selectors, user, by);
}

void lk_event_reused(const lk_config *config, const char *old_selector, const char *text)
{
    char user[24] = "?";
    const char *told = lk_event_told(text);
    if (!config->events) return;
    if (told) take_user(told, user);
    lk_log(LATCHKEY_LOG_INFO, "event: reuse selector=%.20s user=%s", name(old_selector), user);
    lk_event_revoked(config, text, "reuse");
}

void lk_event_evicted(const lk_config *config, const char *selectors, uint64_t user_id)
{
    char user[24];
    user_text(user_id, user);
    if (config->events) revoked(selectors, user, "limit");
}

const char *lk_reuse_ended(const lk_reply *reply)
{
    static const char word[] = "REUSED ";
    bool is = reply->type == LK_REPLY_STRING && strncmp(reply->text, word, sizeof word - 1) == 0;
    return is ? reply->text + sizeof word - 1 : NULL;
}

void lk_reuse_report(lk_counters *counters, const char *selector, int64_t now_ms)
{
    lk_count(counters, LK_REUSES, 1);
    atomic_fetch_add_explicit(&counters->reuses_unsaid, 1, memory_order_relaxed);
    int64_t next_ms = atomic_load_explicit(&counters->reuse_say_ms, memory_order_relaxed);
    /* The thread that moves the time logs the line. Relaxed: at worst a line comes late (counters.h). */
    if (now_ms < next_ms ||
        !atomic_compare_exchange_strong_explicit(&counters->reuse_say_ms, &next_ms, now_ms + LK_REUSE_EVERY_MS,
                                                 memory_order_relaxed, memory_order_relaxed))
        return;
    uint64_t unsaid = atomic_exchange_explicit(&counters->reuses_unsaid, 0, memory_order_relaxed);
    lk_log(LATCHKEY_LOG_WARNING,
           "rotation: the old token of selector %.20s was used after its grace, and its session was ended: a theft, or "
           "the "
           "answer with the new token was lost; %" PRIu64 " such since this was last said",
           selector, unsaid);
}

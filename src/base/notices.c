/* See notices.h. Lock: notices.lock; no other lock is taken under it. */
#include "base/notices.h"

#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAITING_MAX = 8 };

struct lk_notices {
    /* written under lock. lk_notices_say reads it without the lock, to be cheap. Relaxed: if it reads a stale 0, the
     * line is logged at the next call */
    _Atomic unsigned waiting;
    pthread_mutex_t lock;
    /* guarded by lock: */
    int level[WAITING_MAX];
    char text[WAITING_MAX][LK_LOG_LINE];
};

static unsigned waiting(const lk_notices *n) { return atomic_load_explicit(&n->waiting, memory_order_relaxed); }

static void set_waiting(lk_notices *n, unsigned count)
{
    atomic_store_explicit(&n->waiting, count, memory_order_relaxed);
}

lk_notices *lk_notices_open(void)
{
    lk_notices *notices = calloc(1, sizeof *notices);
    if (notices) pthread_mutex_init(&notices->lock, NULL);
    return notices;
}

void lk_notices_close(lk_notices *notices)
{
    if (!notices) return;
    pthread_mutex_destroy(&notices->lock);
    free(notices);
}

void lk_notices_add(lk_notices *notices, int level, const char *format, ...)
{
    if (!notices) return;
    va_list list;
    va_start(list, format);
    pthread_mutex_lock(&notices->lock);
    unsigned at = waiting(notices);
    if (at < WAITING_MAX) {
        notices->level[at] = level;
        vsnprintf(notices->text[at], sizeof notices->text[at], format, list);
        set_waiting(notices, at + 1);
    }
    pthread_mutex_unlock(&notices->lock);
    va_end(list);
}

/* Takes the oldest line. "": there is none. */
static int take_notice(lk_notices *notices, char text[LK_LOG_LINE])
{
    pthread_mutex_lock(&notices->lock);
    unsigned count = waiting(notices);
    int level = notices->level[0];
    memcpy(text, count ? notices->text[0] : "", count ? LK_LOG_LINE : 1);
    if (count) {
        memmove(notices->level, notices->level + 1, (count - 1) * sizeof *notices->level);
        memmove(notices->text, notices->text + 1, (count - 1) * sizeof *notices->text);
        set_waiting(notices, count - 1);
    }
    pthread_mutex_unlock(&notices->lock);
    return level;
}

void lk_notices_say(lk_notices *notices)
{
    char text[LK_LOG_LINE];
    while (notices && waiting(notices)) {
        int level = take_notice(notices, text);
        if (*text) lk_log(level, "%s", text);
    }
}

/* See journal.h. Lock: journal.lock; no other lock is taken under it, and the log function does not run under it. */
#include "base/journal.h"

#include "base/wake.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

typedef struct line {
    int level;
    char text[LK_LOG_LINE];
} line;

struct lk_journal {
    pthread_mutex_t lock;
    /* guarded by lock: */
    bool opening;
    size_t first, count; /* of those that were not read, the oldest first */
    size_t unsaid;       /* the newest of those: they are yet to be said */
    uint64_t dropped;    /* since this was last read */
    int fd;              /* -1: not made */
    line lines[LK_JOURNAL_LINES];
};

lk_journal *lk_journal_open(void)
{
    lk_journal *j = calloc(1, sizeof *j);
    if (!j) return NULL;
    pthread_mutex_init(&j->lock, NULL);
    j->opening = true;
    j->fd = -1;
    return j;
}

static line *line_at(lk_journal *j, size_t i) { return &j->lines[(j->first + i) % LK_JOURNAL_LINES]; }

static void drop_oldest(lk_journal *j)
{
    j->first++;
    j->count--;
    if (j->unsaid > j->count) j->unsaid = j->count;
}

bool lk_journal_add(lk_journal *j, int level, const char *text)
{
    pthread_mutex_lock(&j->lock);
    if (j->count == LK_JOURNAL_LINES) {
        drop_oldest(j);
        j->dropped++;
    }
    line *l = line_at(j, j->count++);
    l->level = level;
    snprintf(l->text, sizeof l->text, "%s", text);
    bool later = j->opening;
    j->unsaid += later;
    if (j->fd >= 0) lk_raise(j->fd);
    pthread_mutex_unlock(&j->lock);
    return later;
}

/* The oldest that was not said. False: there is none, and from now on each is said at once. */
static bool take_unsaid(lk_journal *j, line *out)
{
    pthread_mutex_lock(&j->lock);
    bool more = j->unsaid > 0;
    if (more) *out = *line_at(j, j->count - j->unsaid--);
    else j->opening = false;
    pthread_mutex_unlock(&j->lock);
    return more;
}

void lk_journal_opened(lk_journal *j)
{
    line l;
    while (take_unsaid(j, &l)) lk_log_say(l.level, l.text);
}

void lk_journal_close(lk_journal *j)
{
    if (!j) return;
    lk_journal_opened(j);
    lk_journal_abandon(j);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

void lk_journal_abandon(lk_journal *j)
{
    if (j->fd >= 0) close(j->fd);
}

static void read_oldest(lk_journal *j, int *level, char *text, size_t size)
{
    const line *l = line_at(j, 0);
    *level = l->level;
    snprintf(text, size, "%s", l->text);
    drop_oldest(j);
}

bool lk_journal_read(lk_journal *j, int *level, char *text, size_t size)
{
    uint64_t times;
    *text = 0;
    pthread_mutex_lock(&j->lock);
    bool some = j->count > 0;
    if (some && j->dropped) {
        *level = LATCHKEY_LOG_WARNING;
        snprintf(text, size, "log: %llu lines were dropped", (unsigned long long)j->dropped);
        j->dropped = 0;
    } else if (some) read_oldest(j, level, text, size);
    if (!j->count && j->fd >= 0)
        while (read(j->fd, &times, sizeof times) < 0 && errno == EINTR) continue;
    pthread_mutex_unlock(&j->lock);
    return some;
}

int lk_journal_fd(lk_journal *j)
{
    pthread_mutex_lock(&j->lock);
    if (j->fd < 0) j->fd = eventfd(j->count > 0, EFD_CLOEXEC | EFD_NONBLOCK);
    int fd = j->fd;
    pthread_mutex_unlock(&j->lock);
    return fd;
}

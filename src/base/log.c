/* See log.h. log.lock is held only to copy two words, never while the application's function runs: that function may
 * wait for a lock of the application's, and another thread may hold that lock while it sets a log function or forks. A
 * fork waits until the lock is free (fork.h). */
#include "base/log.h"

#include "base/fork.h"
#include "base/journal.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static latchkey_log log_function; /* guarded by lock, as is log_context */
static void *log_context;

static void take_lock(void)
{
    lk_fork_enter();
    pthread_mutex_lock(&lock);
}

static void give_lock(void)
{
    pthread_mutex_unlock(&lock);
    lk_fork_leave();
}

void latchkey_set_log(latchkey_log function, void *context)
{
    take_lock();
    log_function = function;
    log_context = context;
    give_lock();
}

static _Thread_local lk_journal *journal_here;

lk_journal *lk_log_to(lk_journal *journal)
{
    lk_journal *before = journal_here;
    journal_here = journal;
    return before;
}

static latchkey_log function_now(void **context)
{
    take_lock();
    latchkey_log function = log_function;
    *context = log_context;
    give_lock();
    return function;
}

void lk_log_say(int level, const char *line)
{
    void *context;
    latchkey_log function = function_now(&context);
    if (function) function(context, level, line);
}

void lk_log(int level, const char *format, ...)
{
    char line[LK_LOG_LINE];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    for (char *c = line; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
    if (!journal_here || !lk_journal_add(journal_here, level, line)) lk_log_say(level, line);
}

/* See log.h. log.lock is held only to copy two words, never while the application's function runs: that function may
 * wait for a lock of the application's, and another thread may hold that lock while it sets a log function or forks. A
 * fork waits until the lock is free (fork.h). */
#include "base/log.h"

#include "base/fork.h"

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

void lk_log(int level, const char *format, ...)
{
    take_lock();
    latchkey_log function = log_function;
    void *context = log_context;
    give_lock();
    if (!function) return;
    char line[LK_LOG_LINE];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    for (char *c = line; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
    function(context, level, line);
}

/* latchkey_log_read: the log, for programs that do not want to be called. See base/journal.h. */
#include "api/queue.h"
#include "base/argument.h"
#include "base/journal.h"

/* From the first call on, the own queue's descriptor is also readable while lines wait. If there was no descriptor for
 * that, the next call tries again. */
static void watch_lines(latchkey *lk)
{
    latchkey_queue *q;
    if (atomic_load_explicit(&lk->log_watched, memory_order_relaxed) || lk_queue_own(lk, &q)) return;
    int fd = lk_journal_fd(lk->journal);
    if (fd >= 0 && lk_async_watch(q->async, fd)) atomic_store_explicit(&lk->log_watched, true, memory_order_relaxed);
}

int latchkey_log_read(latchkey *lk, int *level, char *text, size_t size)
{
    int unheard;
    if (!level) level = &unheard;
    *level = 0;
    if (text && size) *text = 0;
    if (!lk || !text || !size) return lk_bad_argument("log_read: the handle or text is NULL, or size is 0");
    if (lk_forked(lk)) return LATCHKEY_FORKED;
    watch_lines(lk);
    return lk_journal_read(lk->journal, level, text, size) ? LATCHKEY_OK : LATCHKEY_NOT_FOUND;
}

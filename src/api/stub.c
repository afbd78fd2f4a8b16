#include "base/argument.h"
#include "session/handle.h"
int latchkey_log_read(latchkey *lk, int *level, char *text, size_t size)
{
    if (!lk || !text || !size) return lk_bad_argument("log_read: the handle or text is NULL, or size is 0");
    if (level) *level = 0;
    *text = 0;
    return lk_forked(lk) ? LATCHKEY_FORKED : LATCHKEY_NOT_FOUND;
}

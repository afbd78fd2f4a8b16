/* See reason.h. Each thread has its own: nothing is locked. */
#include "base/reason.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local struct {
    const void *handle; /* NULL: of no handle, or not known */
    char text[LK_REASON_SIZE];
} reason;

void lk_reason_clear(const void *handle)
{
    reason.handle = handle;
    reason.text[0] = 0;
}

int lk_reason(int status, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(reason.text, sizeof reason.text, format, list);
    va_end(list);
    return status;
}

const char *lk_reason_text(const void *handle)
{
    return handle && reason.handle && handle != reason.handle ? "" : reason.text;
}

/* An errno's meaning, in English whatever the process' locale is: logs are searched for these texts. */
#ifndef LK_BASE_ERRNO_TEXT_H
#define LK_BASE_ERRNO_TEXT_H

#include <string.h>

static inline const char *lk_errno_text(int number)
{
    const char *text = strerrordesc_np(number);
    return text ? text : "an error without a name";
}

#endif

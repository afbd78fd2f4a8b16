/* What an errno means, in English whatever the process' locale: our texts are one language, and logs are searched for them. */
#ifndef LK_BASE_ERRNO_TEXT_H
#define LK_BASE_ERRNO_TEXT_H

#include <string.h>

static inline const char *lk_errno_text(int number)
{
    const char *text = strerrordesc_np(number);
    return text ? text : "an error without a name";
}

#endif

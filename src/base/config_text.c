/* See config_text.h. */
#include "base/config_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int lk_config_decode(lk_config_parser *p, const char *what, const char *from, char *to, size_t size)
{
    size_t used = 0;
    for (; *from; from++) {
        unsigned byte = (unsigned char)*from;
        if (*from == '%') {
            uint8_t raw;
            if (!from[1] || !from[2] || !lk_hex_decode(from + 1, 2, &raw, 1) || !raw)
                return LK_CONFIG_FAIL(
                    p, "%s: '%%' must be followed by two hexadecimal digits, not 00 (a plain %% is %%25)", what);
            byte = raw;
            from += 2;
        }
        if (used + 1 >= size) return LK_CONFIG_FAIL(p, "%s: longer than %zu bytes", what, size - 1);
        to[used++] = (char)byte;
    }
    to[used] = 0;
    return LATCHKEY_OK;
}

int lk_config_number(lk_config_parser *p, const char *what, const char *text, int64_t least, int64_t most, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool digits = *text && strspn(text, "0123456789") == strlen(text);
    /* The text is not shown: in a misspelt URL, the characters in a number's place may be a password. */
    if (!digits || errno || value < least || value > most)
        return LK_CONFIG_FAIL(p, "%s: a whole number from %lld to %lld is expected", what, (long long)least,
                              (long long)most);
    *out = value;
    return LATCHKEY_OK;
}

/* What the parts of the configuration's parser share, for config.c and config_options.c alone: where an error's text goes, and
 * the pieces of which everything is made. */
#ifndef LK_BASE_CONFIG_TEXT_H
#define LK_BASE_CONFIG_TEXT_H

#include "base/config.h"

#include <stdio.h>

typedef struct lk_config_parser {
    lk_config *config;
    char *error;
    size_t error_size;
} lk_config_parser;

/* The value of a return statement. */
#define LK_CONFIG_FAIL(p, ...) (snprintf((p)->error, (p)->error_size, __VA_ARGS__), LATCHKEY_CONFIG)

/* OK or CONFIG, as all functions of the parser. `what` stands in front of the error's text. */
int lk_config_decode(lk_config_parser *p, const char *what, const char *from, char *to, size_t size); /* %XX */
int lk_config_number(lk_config_parser *p, const char *what, const char *text, int64_t least, int64_t most,
                     int64_t *out);

#endif

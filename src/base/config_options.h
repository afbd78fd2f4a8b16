/* The options of the configuration: name=value&name=value. */
#ifndef LK_BASE_CONFIG_OPTIONS_H
#define LK_BASE_CONFIG_OPTIONS_H

#include "base/config_text.h"

void lk_config_usual(lk_config *config); /* what holds unless an option says otherwise */
int lk_config_take_options(lk_config_parser *p, char *text);
/* The name of an option that is for TLS alone and was given. NULL: there is none. */
const char *lk_config_tls_option(const lk_config *config);

#endif

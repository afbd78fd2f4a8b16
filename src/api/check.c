/* latchkey_check_config, latchkey_error_text: say what is wrong, for checks at start-up and for bindings. */
#include "base/argument.h"
#include "base/reason.h"
#include "base/secure_memory.h"
#include "redis/tls.h"

#include <stdio.h>
#include <string.h>

/* Reads the files of TLS as open does. */
static int check(const char *text, lk_config *config, char *error, size_t size)
{
    if (!lk_crypto_init()) {
        snprintf(error, size, "libsodium finds no source of randomness");
        return LATCHKEY_CONFIG;
    }
    int status = lk_config_parse(text, config, error, size);
    if (!status && config->tls) status = lk_tls_context_open(config, &config->tls_context, error, size);
    lk_tls_context_close(config->tls_context);
    return status;
}

int latchkey_check_config(const char *config, char *error, size_t size)
{
    char why[LK_REASON_SIZE] = "no memory";
    if (error && size) *error = 0;
    if (!config) {
        if (error) snprintf(error, size, "no configuration was given");
        return lk_bad_argument("check_config: config is NULL");
    }
    lk_reason_clear(NULL);
    lk_config *parsed = lk_map(sizeof *parsed, false); /* it holds the password */
    int status = parsed ? check(config, parsed, why, sizeof why) : LATCHKEY_NO_MEMORY;
    lk_unmap(parsed, sizeof *parsed);
    if (!status) return LATCHKEY_OK;
    if (error && size) snprintf(error, size, "%s", why);
    return lk_reason(status, "%s", why);
}

int latchkey_error_text(latchkey *lk, char *buffer, size_t size)
{
    if (!buffer || !size) return lk_bad_argument("error_text: buffer is NULL, or size is 0");
    snprintf(buffer, size, "%s", lk_reason_text(lk));
    return LATCHKEY_OK;
}

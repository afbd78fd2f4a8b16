/* The configuration string: one text that nginx, a shell and any FFI can hold. Parsing reads files (check keys,
 * password) but opens no connection. Every error text names the option and never shows a secret. */
#ifndef LK_BASE_CONFIG_H
#define LK_BASE_CONFIG_H

#include "base/password.h"
#include "base/seal.h"
#include "base/token.h"

#include <stdbool.h>

enum { LK_PARTITIONS_MAX = 4096 };

typedef struct lk_config {
    /* where */
    char host[256]; /* empty for a unix socket */
    char port[8];
    char path[108];                  /* of the unix socket; empty for TCP */
    char user[128];                  /* empty: the default user */
    char password[LK_PASSWORD_SIZE]; /* as it was at open: see lk_config_password */
    char password_file[600];         /* "": it stood in the text */
    bool has_password;
    int64_t database;
    bool tls; /* rediss:// */
    char ca_file[256], cert_file[256], key_file[256],
        server_name[256]; /* empty: not given; lk_tls_context_open reads them */
    /* made of those by latchkey_open, and the handle's: */
    struct lk_tls_context *tls_context; /* NULL: no TLS */
    lk_password *password_now;          /* NULL: it does not change */
    lk_notices *notices;
    /* options, see latchkey_open */
    int64_t l1_capacity, l1_ttl_ms, staleness_ms, deadline_ms, idle_ms, lifetime_ms, connections, in_flight, partitions;
    int64_t max_sessions, max_per_device, grace_ms, durability, audit_per_s, lazy, renew_ms, foreign_until_ms, events;
    bool limit_deny;
    char prefix[33];
    lk_check_keys check_keys;
    lk_seal_keys seal_keys;
} lk_config;

/* OK or CONFIG; on CONFIG `error` says what was wrong. The caller wipes `config` when done (it holds a password). */
int lk_config_parse(const char *text, lk_config *config, char *error, size_t error_size);

/* The password for a connection that is being made, "" where there is none. From any thread; to be wiped by the caller. */
void lk_config_password(const lk_config *config, char password[LK_PASSWORD_SIZE]);

/* What the documents say of an option: its name, its default, which values it takes, and what it is for, in Markdown. */
typedef struct lk_option_text {
    const char *name, *usual, *range, *about;
} lk_option_text;

const lk_option_text *lk_config_option(size_t index); /* from 0 on; NULL behind the last */

#endif

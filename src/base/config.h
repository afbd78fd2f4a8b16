/* The configuration string: one text, so that nginx, a shell script and any foreign
 * function interface can pass it on. Parsing reads files (check keys, seal
 * keys, the password) but opens no connection. Every error text names the option and never shows a secret. */
#ifndef LK_BASE_CONFIG_H
#define LK_BASE_CONFIG_H

#include "base/password.h"
#include "base/seal.h"
#include "base/token.h"

#include <stdbool.h>

enum { LK_PARTITIONS_MAX = LK_TOKEN_PARTITIONS, LK_SENTINELS_MAX = 16, LK_SEEDS_MAX = 16 };

typedef struct lk_host {
    char name[256], port[8];
} lk_host;

bool lk_host_same(const lk_host *a, const lk_host *b);

typedef struct lk_config {
    /* where the server is */
    char host[256]; /* empty for a unix socket */
    char port[8];
    char path[108];                  /* of the unix socket; empty for TCP */
    char user[128];                  /* empty: Redis' default user */
    char password[LK_PASSWORD_SIZE]; /* as it was at open: see lk_config_password */
    char password_file[600];         /* "": the password was in the text */
    bool has_password;
    int64_t database;
    bool tls; /* rediss:// */
    /* With sentinels, host, port and path are empty: the sentinels are asked where the server is. */
    lk_host sentinel[LK_SENTINELS_MAX];
    unsigned sentinels; /* how many; 0: there are none */
    char service[128];  /* the sentinels' name for the primary */
    char sentinel_user[128], sentinel_password[LK_PASSWORD_SIZE], sentinel_password_file[600];
    bool has_sentinel_password;
    /* With a cluster they are empty as well: the nodes that are listed are asked which nodes there are. */
    bool cluster;
    lk_host seed[LK_SEEDS_MAX];
    unsigned seeds; /* how many; at least 1 with a cluster, else 0 */
    char ca_file[256], cert_file[256], key_file[256],
        server_name[256]; /* empty: not given; lk_tls_context_open reads these files */
    /* made by latchkey_open from the fields above; they belong to the handle: */
    struct lk_tls_context *tls_context; /* NULL: no TLS */
    lk_password *password_now;          /* NULL: the password does not change */
    lk_password *sentinel_password_now; /* the same for the sentinels' password */
    lk_notices *notices;
    struct lk_journal *journal;
    /* options; latchkey_open documents them */
    int64_t l1_capacity, l1_ttl_ms, staleness_ms, deadline_ms, idle_ms, lifetime_ms, connections, in_flight, partitions;
    int64_t max_sessions, max_per_device, grace_ms, durability, audit_per_s, lazy, renew_ms, foreign_until_ms, events;
    bool limit_deny;
    char prefix[33];
    char name[33]; /* this instance's name; "": it has none */
    lk_check_keys check_keys;
    lk_seal_keys seal_keys;
} lk_config;

/* OK, CONFIG or NO_MEMORY. On CONFIG `error` says what was wrong. The caller wipes `config` when it is done with it: it
 * holds a password. */
int lk_config_parse(const char *text, lk_config *config, char *error, size_t error_size);

/* The password for a new connection, or "" if there is none. May be called from any thread. The caller wipes it. */
void lk_config_password(const lk_config *config, char password[LK_PASSWORD_SIZE]);
void lk_config_sentinel_password(const lk_config *config, char password[LK_PASSWORD_SIZE]);

/* What the documents say about an option: its name, its default, the values that it takes, and what it is for, in
 * Markdown. */
typedef struct lk_option_text {
    const char *name, *usual, *range, *about;
} lk_option_text;

const lk_option_text *lk_config_option(size_t index); /* counts from 0; NULL behind the last */

#endif

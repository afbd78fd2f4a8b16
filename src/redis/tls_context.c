/* See tls_context.h.
 *
 * Files that change. Before each connection, each file's identity (file.h) is compared with the identity that it had
 * when it was read. If one differs, all files are read again into a new SSL_CTX: by one thread, while the others go on
 * with the old one. Open connections keep what they began with. The kept sessions are dropped: they were verified by
 * the certificates that were trusted then.
 *
 * Sessions. A server sends tickets after a handshake; each spares a later handshake the certificates and their
 * verification. So a session is offered only for the name that was verified with it, and not after the certificate that
 * it began with has expired. A session of TLS 1.3 is used once (RFC 8446, C.4), one of TLS 1.2 until a handshake with
 * it fails.
 *
 * Children. Nothing protects the application's own use of OpenSSL from a fork. So in a forked child a thread tries
 * OpenSSL first, and open waits for it only until its deadline.
 *
 * Lock: context.lock. Nothing blocks under it, and only notices.lock is taken under it. */
#include "redis/tls_context.h"

#include "base/clock.h"
#include "base/fork.h"
#include "base/log.h"
#include "redis/tls_files.h"
#include "redis/tls_guard.h"
#include "base/lock.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SESSIONS_MAX = 8 };

typedef struct kept_session {
    SSL_SESSION *session;
    char name[LK_TLS_NAME_SIZE]; /* the name that was verified */
} kept_session;

struct lk_tls_context {
    BIO_METHOD *wire;
    char path[LK_TLS_FILES][256], server_name[LK_TLS_NAME_SIZE];
    lk_notices *notices;
    _Atomic uint64_t resumed; /* relaxed: a count, which orders nothing */
    lk_lock lock;
    /* guarded by lock: */
    SSL_CTX *ssl;
    lk_file_id seen[LK_TLS_FILES]; /* as of when the files were last read, whether they were good or not */
    bool renewing;
    kept_session kept[SESSIONS_MAX]; /* the newest is the last */
    unsigned keeps;
};

/* -------------------------------------------------------------------------------------------------- names -- */

static bool is_address(char name[LK_TLS_NAME_SIZE])
{
    struct in6_addr six;
    struct in_addr four;
    char *zone = strchr(name, '%');
    if (zone) *zone = 0;
    if (inet_pton(AF_INET6, name, &six) == 1) return true;
    if (zone) *zone = '%'; /* it was not a zone */
    bool digits = strspn(name, "0123456789abcdefABCDEFxX.") == strlen(name);
    if (!digits || !inet_aton(name, &four)) return false;
    inet_ntop(AF_INET, &four, name, LK_TLS_NAME_SIZE); /* 127.1 becomes 127.0.0.1, the address that connect would use */
    return true;
}

bool lk_tls_name(const char *host, char name[LK_TLS_NAME_SIZE], bool *address)
{
    size_t length = strlen(host);
    bool brackets = length > 2 && host[0] == '[' && host[length - 1] == ']';
    if (brackets) {
        host++;
        length -= 2;
    } else if (length && host[length - 1] == '.') length--;
    if (!length || length >= LK_TLS_NAME_SIZE) return false;
    memcpy(name, host, length);
    name[length] = 0;
    *address = is_address(name);
    return *address || !brackets;
}

/* ----------------------------------------------------------------------------------------------- sessions -- */

static void drop_kept_locked(lk_tls_context *context, unsigned i)
{
    lk_lock_assert(&context->lock);
    SSL_SESSION_free(context->kept[i].session);
    context->keeps--;
    memmove(&context->kept[i], &context->kept[i + 1], (context->keeps - i) * sizeof *context->kept);
}

bool lk_tls_context_keep(lk_tls_context *context, const SSL *ssl, SSL_SESSION *session, const char *name)
{
    lk_lock_take(&context->lock);
    bool current = SSL_get_SSL_CTX(ssl) == context->ssl;
    if (current) {
        if (context->keeps == SESSIONS_MAX) drop_kept_locked(context, 0);
        kept_session *kept = &context->kept[context->keeps++];
        kept->session = session;
        snprintf(kept->name, sizeof kept->name, "%s", name);
    }
    lk_lock_give(&context->lock);
    return current;
}

/* Has the certificate expired that this session was verified with? */
static bool outdated(const SSL_SESSION *session)
{
    X509 *peer = SSL_SESSION_get0_peer((SSL_SESSION *)(uintptr_t)session);
    return !SSL_SESSION_is_resumable(session) || !peer || X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0;
}

SSL_SESSION *lk_tls_context_session(lk_tls_context *context, const char *name)
{
    SSL_SESSION *found = NULL;
    lk_lock_take(&context->lock);
    for (unsigned i = context->keeps; i-- && !found;) {
        SSL_SESSION *session = context->kept[i].session;
        if (strcmp(context->kept[i].name, name)) continue;
        if (!outdated(session) && SSL_SESSION_up_ref(session)) found = session;
        if (!found || SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION) drop_kept_locked(context, i);
    }
    lk_lock_give(&context->lock);
    return found;
}

void lk_tls_context_forget(lk_tls_context *context, const SSL_SESSION *session)
{
    lk_lock_take(&context->lock);
    for (unsigned i = context->keeps; i--;)
        if (context->kept[i].session == session) drop_kept_locked(context, i);
    lk_lock_give(&context->lock);
}

/* -------------------------------------------------------------------------------------------- the contents -- */

static SSL_CTX *new_ssl(void)
{
    SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());
    if (!ssl) return NULL;
    if (!SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION)) {
        SSL_CTX_free(ssl);
        return NULL;
    }
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
    /* Bytes that were not written yet are in a buffer that may grow and move meanwhile: see lk_conn. */
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    lk_tls_equip(ssl);
    return ssl;
}

/* Makes an SSL_CTX from the bytes that were read. */
static int make_ssl(const lk_tls_context *context, const lk_tls_files *files, SSL_CTX **out, char *error,
                    size_t error_size)
{
    SSL_CTX *ssl = new_ssl();
    if (!ssl) return lk_tls_says("OpenSSL cannot be used as it is set up here", error, error_size);
    int status = lk_tls_files_load(files, ssl, context->notices, error, error_size);
    if (status) SSL_CTX_free(ssl);
    else *out = ssl;
    return status;
}

static void identify_files(const lk_tls_context *context, lk_file_id now[LK_TLS_FILES])
{
    for (int i = 0; i < LK_TLS_FILES; i++) now[i] = lk_file_identify(context->path[i]);
}

static lk_tls_files files_of(const lk_tls_context *context)
{
    lk_tls_files files;
    memset(&files, 0, sizeof files);
    for (int i = 0; i < LK_TLS_FILES; i++) files.path[i] = context->path[i];
    return files;
}

static void swap_ssl(lk_tls_context *context, SSL_CTX *ssl)
{
    lk_lock_take(&context->lock);
    SSL_CTX *old = context->ssl;
    context->ssl = ssl;
    while (context->keeps) drop_kept_locked(context, context->keeps - 1);
    lk_lock_give(&context->lock);
    SSL_CTX_free(old);
}

static void renew(lk_tls_context *context)
{
    char error[256] = "no memory";
    SSL_CTX *ssl = NULL;
    lk_tls_files files = files_of(context);
    int status = lk_tls_files_read(&files, true, error, sizeof error);
    if (!status) {
        lk_tls_errors *theirs = lk_tls_enter();
        status = make_ssl(context, &files, &ssl, error, sizeof error);
        if (!status) swap_ssl(context, ssl);
        lk_tls_leave(theirs);
    }
    lk_tls_files_close(&files);
    if (status) lk_notices_add(context->notices, LATCHKEY_LOG_ERROR, "tls: %s; what was read before is used", error);
    else lk_notices_add(context->notices, LATCHKEY_LOG_INFO, "tls: a file has changed: all were read again");
}

void lk_tls_context_look(lk_tls_context *context)
{
    lk_file_id now[LK_TLS_FILES];
    identify_files(context, now);
    lk_lock_take(&context->lock);
    bool changed = !context->renewing && memcmp(now, context->seen, sizeof now) != 0;
    if (changed) {
        context->renewing = true;
        memcpy(context->seen, now, sizeof now);
    }
    lk_lock_give(&context->lock);
    if (!changed) return;
    renew(context);
    lk_lock_take(&context->lock);
    context->renewing = false;
    lk_lock_give(&context->lock);
}

SSL_CTX *lk_tls_context_now(lk_tls_context *context)
{
    lk_lock_take(&context->lock);
    SSL_CTX *ssl = context->ssl;
    SSL_CTX_up_ref(ssl);
    lk_lock_give(&context->lock);
    return ssl;
}

BIO_METHOD *lk_tls_context_wire(const lk_tls_context *context) { return context->wire; }
const char *lk_tls_context_server_name(const lk_tls_context *context) { return context->server_name; }

void lk_tls_context_count_resumed(lk_tls_context *context)
{
    atomic_fetch_add_explicit(&context->resumed, 1, memory_order_relaxed);
}

uint64_t lk_tls_resumed(const lk_tls_context *context)
{
    return atomic_load_explicit(&context->resumed, memory_order_relaxed);
}

/* ------------------------------------------------------------------------------------------ open and close -- */

static int begin_openssl(lk_tls_context *context, const lk_tls_files *files, char *error, size_t error_size)
{
    lk_tls_errors *theirs = lk_tls_enter();
    bool good = OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL) && (context->wire = lk_tls_make_wire());
    int status = good ? make_ssl(context, files, &context->ssl, error, error_size)
                      : lk_tls_says("OpenSSL cannot be used as it is set up here", error, error_size);
    lk_tls_leave(theirs);
    return status;
}

static int open_context(lk_tls_context *context, char *error, size_t error_size)
{
    lk_tls_files files = files_of(context);
    identify_files(context, context->seen);
    int status = lk_tls_files_read(&files, false, error, error_size);
    if (!status) status = begin_openssl(context, &files, error, error_size);
    lk_tls_files_close(&files);
    return status;
}

/* Checks the names in the configuration. A name that sentinels or a cluster give is checked when it is connected to. */
static int check_name(const lk_config *config, char *error, size_t error_size)
{
    char name[LK_TLS_NAME_SIZE];
    bool address, good = true;
    const char *host = config->server_name[0] ? config->server_name : config->host;
    for (unsigned i = 0; good && !config->server_name[0] && i < config->sentinels; i++)
        good = lk_tls_name(host = config->sentinel[i].name, name, &address);
    for (unsigned i = 0; good && !config->server_name[0] && i < config->seeds; i++)
        good = lk_tls_name(host = config->seed[i].name, name, &address);
    if (good && (!*host || lk_tls_name(host, name, &address))) return LATCHKEY_OK;
    snprintf(error, error_size, "%s: '%.60s' is not a name that a certificate can hold",
             config->server_name[0] ? "server_name" : "host", host);
    return LATCHKEY_CONFIG;
}

static lk_tls_context *new_context(const lk_config *config)
{
    lk_tls_context *context = calloc(1, sizeof *context);
    if (!context) return NULL;
    const char *path[LK_TLS_FILES] = {config->ca_file, config->cert_file, config->key_file};
    for (int i = 0; i < LK_TLS_FILES; i++) snprintf(context->path[i], sizeof context->path[i], "%s", path[i]);
    snprintf(context->server_name, sizeof context->server_name, "%s", config->server_name);
    context->notices = config->notices;
    lk_lock_open(&context->lock, LK_RANK_TLS);
    return context;
}

void lk_tls_context_close(lk_tls_context *context)
{
    if (!context) return;
    lk_tls_errors *theirs = lk_tls_enter();
    swap_ssl(context, NULL);
    BIO_meth_free(context->wire);
    lk_tls_leave(theirs);
    lk_lock_close(&context->lock);
    free(context);
}

/* ----------------------------------------------------------------------------------------------- children -- */

/* A try of OpenSSL by a thread, while open waits. The last of the two to leave frees it. */
typedef struct attempt {
    lk_tls_context *context;
    int status;
    char error[256];
    lk_lock lock;
    pthread_cond_t changed;
    /* guarded by lock: */
    bool done, left;
} attempt;

static void end_attempt(attempt *a)
{
    pthread_cond_destroy(&a->changed);
    lk_lock_close(&a->lock);
    free(a);
}

/* Does all that a connection needs, as far as that goes without a server. */
static void *try_openssl(void *arg)
{
    attempt *a = arg;
    a->status = open_context(a->context, a->error, sizeof a->error);
    if (!a->status) lk_tls_close(lk_tls_open(a->context, "localhost", -1));
    lk_lock_take(&a->lock);
    a->done = true;
    bool left = a->left;
    pthread_cond_signal(&a->changed);
    lk_lock_give(&a->lock);
    if (left) {
        lk_tls_context_close(a->context);
        end_attempt(a);
    }
    lk_tls_end_thread();
    return NULL;
}

static bool start_attempt(attempt *a)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, NULL, try_openssl, a) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started) pthread_detach(thread);
    return started;
}

/* If this returns UNAVAILABLE, the context belongs to the attempt. */
static int open_in_child(lk_tls_context **context, int64_t deadline_ms, char *error, size_t error_size)
{
    attempt *a = calloc(1, sizeof *a);
    if (!a) return LATCHKEY_NO_MEMORY;
    lk_notices *notices = (*context)->notices;
    (*context)->notices = NULL; /* they belong to the handle, which may be gone before the thread returns */
    a->context = *context;
    snprintf(a->error, sizeof a->error, "%s", error);
    lk_lock_open(&a->lock, LK_RANK_TLS);
    lk_cond_init(&a->changed);
    if (!start_attempt(a)) {
        snprintf(error, error_size, "cannot start a thread: there are too many");
        end_attempt(a);
        return LATCHKEY_UNAVAILABLE;
    }
    lk_lock_take(&a->lock);
    int late = 0;
    while (!a->done && !late) late = lk_lock_wait_until(&a->lock, &a->changed, deadline_ms);
    bool done = a->done;
    a->left = !done;
    lk_lock_give(&a->lock);
    if (!done) {
        *context = NULL;
        snprintf(error, error_size,
                 "OpenSSL does not return in this forked process: fork before other threads use it, or exec");
        return LATCHKEY_UNAVAILABLE;
    }
    int status = a->status;
    (*context)->notices = notices;
    snprintf(error, error_size, "%s", a->error);
    end_attempt(a);
    return status;
}

int lk_tls_context_open(const lk_config *config, lk_tls_context **out, char *error, size_t error_size)
{
    int status = check_name(config, error, error_size);
    if (status) return status;
    lk_tls_context *context = new_context(config);
    if (!context) return LATCHKEY_NO_MEMORY;
    status = lk_fork_is_child() ? open_in_child(&context, lk_now_ms() + config->deadline_ms, error, error_size)
                                : open_context(context, error, error_size);
    if (status) lk_tls_context_close(context);
    else *out = context;
    return status;
}

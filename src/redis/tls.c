/* See tls.h. The only file with OpenSSL.
 *
 *   lk_conn ── bytes ──> SSL_write ──┐                 ┌── send, recv of the socket
 *                                    ├── SSL ── wire ──┤   (a BIO of our own: OpenSSL's would raise SIGPIPE)
 *   lk_conn <── bytes ── SSL_read ───┘                 └── what broke, and the first byte that came
 *
 * Verified are the chain of certificates, up to one of ca_file or of the system's, and the name: a peer that fails in
 * either is refused in the handshake, before a byte of ours, the password above all, went out.
 *
 * Sessions. A server hands out tickets after a handshake; each spares a later one the certificates and their verification.
 * So a session is offered to the name that was verified with it alone, and not once the certificate it began with has
 * expired. One of TLS 1.3 is used once (RFC 8446, C.4); one of TLS 1.2 until a handshake with it fails.
 *
 * Lock: tls.lock, for the sessions kept; nothing blocks under it, and no other lock is taken. An lk_tls has one owner at a time. */
#include "redis/tls.h"

#include "base/errno_text.h"
#include "redis/openssl_errors.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { SESSIONS_MAX = 8, NAME_SIZE = 256, CLOSED = -1, NAME_FLAGS = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS };

typedef struct kept_session {
    SSL_SESSION *session;
    char name[NAME_SIZE]; /* that was verified */
} kept_session;

struct lk_tls_context {
    SSL_CTX *ssl;
    BIO_METHOD *wire;
    char server_name[NAME_SIZE]; /* empty: the host's */
    _Atomic uint64_t resumed;    /* relaxed: a count */
    pthread_mutex_t lock;
    /* guarded by lock: */
    kept_session kept[SESSIONS_MAX]; /* the newest last */
    unsigned keeps;
};

struct lk_tls {
    lk_tls_context *context;
    SSL *ssl;
    int fd;
    char name[NAME_SIZE];
    SSL_SESSION *offered;
    bool address; /* `name` is one */
    bool done;    /* the handshake, and the name is right */
    bool waits_to_write, certificate_wanted, write_failed, failed, refused;
    bool heard; /* something came, and it began with: */
    unsigned char first;
    int broke; /* the wire: an errno, or CLOSED; 0: it did not */
    char error[160];
};

/* ---------------------------------------------------------------------------------------------- the wire -- */

/* An error is told when it comes twice. The server may have said why it closed, and that is still to be read: until it
 * was, the socket is said to be full. It is readable from then on, so nobody waits for long. */
static int wire_write(BIO *wire, const char *bytes, int size)
{
    lk_tls *tls = BIO_get_data(wire);
    ssize_t wrote;
    BIO_clear_retry_flags(wire);
    do wrote = send(tls->fd, bytes, (size_t)size, MSG_NOSIGNAL);
    while (wrote < 0 && errno == EINTR);
    if (wrote >= 0) return (int)wrote;
    bool full = errno == EAGAIN || errno == EWOULDBLOCK;
    if (full || !tls->write_failed) BIO_set_retry_write(wire);
    else tls->broke = errno;
    if (!full) tls->write_failed = true;
    return -1;
}

static int wire_read(BIO *wire, char *bytes, int size)
{
    lk_tls *tls = BIO_get_data(wire);
    ssize_t got;
    BIO_clear_retry_flags(wire);
    do got = recv(tls->fd, bytes, (size_t)size, 0);
    while (got < 0 && errno == EINTR);
    if (got > 0 && !tls->heard) {
        tls->heard = true;
        tls->first = (unsigned char)*bytes;
    }
    if (got > 0) return (int)got;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) BIO_set_retry_read(wire);
    else tls->broke = got ? errno : CLOSED;
    return (int)got;
}

static long wire_control(BIO *wire, int command, long number, void *pointer)
{
    (void)wire, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *make_wire(void)
{
    BIO_METHOD *wire = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "latchkey"); /* numbers of types run out */
    if (wire && BIO_meth_set_write(wire, wire_write) && BIO_meth_set_read(wire, wire_read) &&
        BIO_meth_set_ctrl(wire, wire_control))
        return wire;
    BIO_meth_free(wire);
    return NULL;
}

/* ---------------------------------------------------------------------------------------------- sessions -- */

static void drop_kept_locked(lk_tls_context *context, unsigned i)
{
    SSL_SESSION_free(context->kept[i].session);
    context->keeps--;
    memmove(&context->kept[i], &context->kept[i + 1], (context->keeps - i) * sizeof *context->kept);
}

/* Called by OpenSSL when a ticket came, or in TLS 1.2 at the end of the handshake. 1: the reference is ours. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    const lk_tls *tls = SSL_get_app_data(ssl);
    lk_tls_context *context = tls->context;
    pthread_mutex_lock(&context->lock);
    if (context->keeps == SESSIONS_MAX) drop_kept_locked(context, 0);
    kept_session *kept = &context->kept[context->keeps++];
    kept->session = session;
    memcpy(kept->name, tls->name, sizeof kept->name);
    pthread_mutex_unlock(&context->lock);
    return 1;
}

/* What it was verified by would be refused today. */
static bool outdated(const SSL_SESSION *session)
{
    X509 *peer = SSL_SESSION_get0_peer((SSL_SESSION *)(uintptr_t)session);
    return !SSL_SESSION_is_resumable(session) || !peer || X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0;
}

static SSL_SESSION *take_session(lk_tls_context *context, const char *name)
{
    SSL_SESSION *found = NULL;
    pthread_mutex_lock(&context->lock);
    for (unsigned i = context->keeps; i-- && !found;) {
        SSL_SESSION *session = context->kept[i].session;
        if (strcmp(context->kept[i].name, name)) continue;
        if (!outdated(session) && SSL_SESSION_up_ref(session)) found = session;
        if (!found || SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION) drop_kept_locked(context, i);
    }
    pthread_mutex_unlock(&context->lock);
    return found;
}

static void forget_session(lk_tls_context *context, const SSL_SESSION *session)
{
    pthread_mutex_lock(&context->lock);
    for (unsigned i = context->keeps; i--;)
        if (context->kept[i].session == session) drop_kept_locked(context, i);
    pthread_mutex_unlock(&context->lock);
}

/* ----------------------------------------------------------------------------------------------- context -- */

typedef struct source {
    const char *option, *path;
    char *error;
    size_t error_size;
} source;

#define FAIL(s, ...) (snprintf((s)->error, (s)->error_size, __VA_ARGS__), LATCHKEY_CONFIG)

static const char *openssl_says(unsigned long code)
{
    const char *reason = ERR_reason_error_string(code);
    return reason ? reason : "no reason is given";
}

static BIO *cannot(const source *s, const char *what, const char *why)
{
    snprintf(s->error, s->error_size, "%s: cannot %s '%.100s': %s", s->option, what, s->path, why);
    return NULL;
}

static BIO *open_pem(const source *s)
{
    FILE *file = fopen(s->path, "re");
    if (!file) return cannot(s, "open", lk_errno_text(errno));
    setvbuf(file, NULL, _IONBF, 0); /* no second copy of a private key in a buffer of stdio's */
    errno = 0;
    int c = getc(file);
    BIO *bio = c != EOF && ungetc(c, file) == c ? BIO_new_fp(file, BIO_CLOSE) : NULL;
    if (!bio) {
        cannot(s, "read", errno ? lk_errno_text(errno) : "it is empty");
        fclose(file);
    }
    return bio;
}

typedef bool (*take_certificate)(SSL_CTX *ssl, X509 *certificate, bool first);

static bool trust(SSL_CTX *ssl, X509 *certificate, bool first)
{
    (void)first;
    return X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), certificate);
}

/* Our own first, then those that lead from it towards the server's CA. */
static bool present(SSL_CTX *ssl, X509 *certificate, bool first)
{
    return first ? SSL_CTX_use_certificate(ssl, certificate) : SSL_CTX_add1_chain_cert(ssl, certificate);
}

static int read_certificates(const source *s, SSL_CTX *ssl, take_certificate take)
{
    BIO *bio = open_pem(s);
    if (!bio) return LATCHKEY_CONFIG;
    unsigned count = 0;
    X509 *certificate = NULL;
    bool taken = true;
    while (taken && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        taken = take(ssl, certificate, !count++);
        X509_free(certificate);
    }
    unsigned long why = ERR_peek_last_error();
    BIO_free(bio);
    if (!taken) return FAIL(s, "%s: '%.100s' cannot be used: %s", s->option, s->path, openssl_says(why));
    if (ERR_GET_REASON(why) != PEM_R_NO_START_LINE)
        return FAIL(s, "%s: certificate %u of '%.100s' is damaged: %s", s->option, count + 1, s->path,
                    openssl_says(why));
    if (!count) return FAIL(s, "%s: there is no certificate in PEM form in '%.100s'", s->option, s->path);
    return LATCHKEY_OK;
}

static int refuse_passphrase(char *out, int size, int writing, void *asked)
{
    (void)out, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static int read_key(const source *s, SSL_CTX *ssl, const char *certificate_path)
{
    BIO *bio = open_pem(s);
    if (!bio) return LATCHKEY_CONFIG;
    bool asked = false;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &asked);
    int status = LATCHKEY_OK;
    BIO_free(bio);
    if (!key && asked)
        status = FAIL(s, "%s: '%.100s' is encrypted: a key without a passphrase is needed", s->option, s->path);
    else if (!key) status = FAIL(s, "%s: there is no private key in PEM form in '%.100s'", s->option, s->path);
    else if (!X509_check_private_key(SSL_CTX_get0_certificate(ssl), key))
        status =
            FAIL(s, "%s: '%.100s' is not the key of the certificate in '%.100s'", s->option, s->path, certificate_path);
    else if (!SSL_CTX_use_PrivateKey(ssl, key))
        status = FAIL(s, "%s: '%.100s' cannot be used: %s", s->option, s->path, openssl_says(ERR_peek_last_error()));
    EVP_PKEY_free(key);
    return status;
}

static int read_files(SSL_CTX *ssl, const lk_config *config, char *error, size_t error_size)
{
    source ca = {"ca_file", config->ca_file, error, error_size};
    source certificate = {"cert_file", config->cert_file, error, error_size};
    source key = {"key_file", config->key_file, error, error_size};
    int status = LATCHKEY_OK;
    if (config->ca_file[0]) status = read_certificates(&ca, ssl, trust);
    else if (!SSL_CTX_set_default_verify_paths(ssl))
        status = FAIL(&ca, "the system's certificates cannot be read: give ca_file");
    if (!status && config->cert_file[0]) status = read_certificates(&certificate, ssl, present);
    if (!status && config->key_file[0]) status = read_key(&key, ssl, config->cert_file);
    return status;
}

/* Asked for where the server wants a certificate and we have none: whether it insists, it says later. */
static int on_certificate_wanted(SSL *ssl, X509 **certificate, EVP_PKEY **key)
{
    (void)certificate, (void)key;
    lk_tls *tls = SSL_get_app_data(ssl);
    tls->certificate_wanted = true;
    return 0;
}

static bool set_up(lk_tls_context *context)
{
    /* Without OpenSSL's cleaning up at exit: an application may exit without closing its handles, while the link's
     * thread is in the middle of something. */
    if (!OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL)) return false;
    context->wire = make_wire();
    SSL_CTX *ssl = context->ssl = SSL_CTX_new(TLS_client_method());
    if (!context->wire || !ssl || !SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION)) return false;
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
    /* What was not written is kept in a buffer that may grow and move meanwhile: see lk_conn. */
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ssl, on_session);
    SSL_CTX_set_client_cert_cb(ssl, on_certificate_wanted);
    return true;
}

int lk_tls_context_open(const lk_config *config, lk_tls_context **out, char *error, size_t error_size)
{
    lk_tls_context *context = calloc(1, sizeof *context);
    if (!context) return LATCHKEY_NO_MEMORY;
    pthread_mutex_init(&context->lock, NULL);
    memcpy(context->server_name, config->server_name, sizeof context->server_name);
    lk_openssl_errors *theirs = lk_openssl_errors_set_aside();
    int status = set_up(context) ? read_files(context->ssl, config, error, error_size) : LATCHKEY_NO_MEMORY;
    lk_openssl_errors_put_back(theirs);
    if (status) lk_tls_context_close(context);
    else *out = context;
    return status;
}

void lk_tls_context_close(lk_tls_context *context)
{
    if (!context) return;
    while (context->keeps) drop_kept_locked(context, context->keeps - 1);
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->wire);
    pthread_mutex_destroy(&context->lock);
    free(context);
}

uint64_t lk_tls_resumed(const lk_tls_context *context)
{
    return atomic_load_explicit(&context->resumed, memory_order_relaxed);
}

/* -------------------------------------------------------------------------------------------- connection -- */

/* The name that the certificate has to show; an address is not sent, since SNI is for names. */
static bool expect_name(lk_tls *tls, const char *name)
{
    size_t length = strcspn(name, "%"); /* without the zone of an IPv6 address */
    if (length >= sizeof tls->name) return false;
    memcpy(tls->name, name, length);
    X509_VERIFY_PARAM *expected = SSL_get0_param(tls->ssl);
    tls->address = X509_VERIFY_PARAM_set1_ip_asc(expected, tls->name);
    if (tls->address) return true;
    X509_VERIFY_PARAM_set_hostflags(expected, NAME_FLAGS);
    return X509_VERIFY_PARAM_set1_host(expected, tls->name, 0) && SSL_set_tlsext_host_name(tls->ssl, tls->name);
}

static bool prepare_tls(lk_tls *tls, const char *name)
{
    tls->ssl = SSL_new(tls->context->ssl);
    BIO *wire = tls->ssl ? BIO_new(tls->context->wire) : NULL;
    if (!wire) return false;
    BIO_set_data(wire, tls);
    BIO_set_init(wire, 1);
    SSL_set_bio(tls->ssl, wire, wire);
    if (!SSL_set_app_data(tls->ssl, tls) || !expect_name(tls, name)) return false;
    tls->offered = take_session(tls->context, tls->name);
    SSL_set_connect_state(tls->ssl);
    return !tls->offered || SSL_set_session(tls->ssl, tls->offered);
}

/* ------------------------------------------------------------------------------------- what went wrong -- */

#define SAY(tls, ...) (snprintf((tls)->error, sizeof(tls)->error, __VA_ARGS__))

static void say_unverified(lk_tls *tls)
{
    long why = SSL_get_verify_result(tls->ssl);
    switch (why) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        SAY(tls, "the server's certificate is not for '%.60s': use a name that it holds, or server_name", tls->name);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        SAY(tls, "the server's certificate, or its CA's, has expired: renew it (or this machine's clock is wrong)");
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        SAY(tls, "the server's certificate, or its CA's, is not valid yet: is this machine's clock right?");
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        SAY(tls, "the server's certificate, or its CA's, is self-signed and not trusted here: give it as ca_file");
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        SAY(tls, "the server's certificate is of an issuer that is not trusted here: give its CA's as ca_file");
        break;
    default: SAY(tls, "the server's certificate is refused: %.100s", X509_verify_cert_error_string(why));
    }
}

/* True: no other attempt will end otherwise. */
static bool say_alert(lk_tls *tls, int alert)
{
    bool have_one = SSL_CTX_get0_certificate(tls->context->ssl) != NULL;
    const char *text = SSL_alert_desc_string_long(alert);
    switch (alert) {
    case SSL_AD_CERTIFICATE_REQUIRED:
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
        if (tls->certificate_wanted) SAY(tls, "the server demands a client certificate: give cert_file and key_file");
        else if (have_one && alert != SSL_AD_HANDSHAKE_FAILURE)
            SAY(tls, "the server refuses the client certificate of cert_file (TLS alert: %.40s)", text);
        else SAY(tls, "the server refuses the TLS handshake (alert: %.40s): no cipher in common?", text);
        return true;
    case SSL_AD_PROTOCOL_VERSION:
        SAY(tls, "the server speaks no TLS that is new enough: TLS 1.2 or newer is needed");
        return true;
    case SSL_AD_UNRECOGNIZED_NAME:
        SAY(tls, "the server does not know the name '%.60s' (TLS alert): see server_name", tls->name);
        return true;
    default: SAY(tls, "the connection to Redis broke: TLS alert: %.60s", text); return false;
    }
}

static bool foreign(const lk_tls *tls)
{
    return !tls->done && tls->heard && tls->first != SSL3_RT_HANDSHAKE && tls->first != SSL3_RT_ALERT;
}

/* The first error in the queue is the cause of those that follow it. */
static void explain(lk_tls *tls)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
    if (foreign(tls)) {
        SAY(tls, "the server does not speak TLS: use redis://, or the port that is for TLS");
        tls->refused = true;
    } else if (!tls->done && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        say_unverified(tls);
        tls->refused = true;
    } else if (reason > SSL_AD_REASON_OFFSET) tls->refused = say_alert(tls, reason - SSL_AD_REASON_OFFSET);
    else if (!tls->done && reason == SSL_R_UNSUPPORTED_PROTOCOL) tls->refused = say_alert(tls, SSL_AD_PROTOCOL_VERSION);
    else if (tls->broke)
        SAY(tls, "the connection to Redis broke: %s%s",
            tls->broke == CLOSED ? "closed by the server" : lk_errno_text(tls->broke),
            tls->done ? "" : " in the TLS handshake");
    else if (!code) SAY(tls, "the connection to Redis broke: closed by the server"); /* with TLS' own farewell */
    else SAY(tls, "the connection to Redis broke: TLS: %.100s", openssl_says(code));
}

/* What a call of OpenSSL came to: 1, 0 (later) or -1. */
static int outcome(lk_tls *tls, int success)
{
    int why = SSL_get_error(tls->ssl, success);
    tls->waits_to_write = why == SSL_ERROR_WANT_WRITE;
    int result = success ? 1 : why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
    if (result < 0) {
        tls->failed = true;
        explain(tls);
        if (!tls->done && tls->offered) forget_session(tls->context, tls->offered);
    }
    ERR_clear_error();
    return result;
}

/* -------------------------------------------------------------------------------------------- the handshake -- */

/* OpenSSL has looked at the name already, unless memory ran out while it copied what to look for: then it looks at none. */
static bool right_name(const lk_tls *tls)
{
    X509 *peer = SSL_get0_peer_certificate(tls->ssl);
    if (!peer || SSL_get_verify_result(tls->ssl) != X509_V_OK) return false;
    return tls->address ? X509_check_ip_asc(peer, tls->name, 0) == 1
                        : X509_check_host(peer, tls->name, 0, NAME_FLAGS, NULL) == 1;
}

/* 1: it is done, and we know who is there; 0 or -1 as usual. Nothing of ours is sent before. */
static int shake_hands(lk_tls *tls)
{
    if (tls->failed) return -1;
    ERR_clear_error();
    if (tls->done) return 1;
    int result = outcome(tls, SSL_do_handshake(tls->ssl) == 1);
    if (result <= 0) return result;
    if (!right_name(tls)) {
        tls->failed = true;
        SAY(tls, "the server's certificate could not be verified for '%.60s'", tls->name);
        return -1;
    }
    tls->done = true;
    if (SSL_session_reused(tls->ssl)) atomic_fetch_add_explicit(&tls->context->resumed, 1, memory_order_relaxed);
    return 1;
}

/* ------------------------------------------------------------------------------ open, write, read, close -- */

lk_tls *lk_tls_open(lk_tls_context *context, const char *host, int fd)
{
    lk_tls *tls = calloc(1, sizeof *tls);
    if (!tls) return NULL;
    tls->context = context;
    tls->fd = fd;
    lk_openssl_errors *theirs = lk_openssl_errors_set_aside();
    bool prepared = prepare_tls(tls, context->server_name[0] ? context->server_name : host);
    /* The first words go out, so that the server's are under way. What went wrong, the first write or read tells. */
    if (prepared) shake_hands(tls);
    lk_openssl_errors_put_back(theirs);
    if (prepared) return tls;
    lk_tls_close(tls);
    return NULL;
}

ssize_t lk_tls_write(lk_tls *tls, const char *bytes, size_t size)
{
    size_t wrote = 0;
    lk_openssl_errors *theirs = lk_openssl_errors_set_aside();
    int result = shake_hands(tls);
    if (result > 0) result = outcome(tls, SSL_write_ex(tls->ssl, bytes, size, &wrote));
    lk_openssl_errors_put_back(theirs);
    return result > 0 ? (ssize_t)wrote : result;
}

ssize_t lk_tls_read(lk_tls *tls, char *bytes, size_t size)
{
    size_t got = 0;
    lk_openssl_errors *theirs = lk_openssl_errors_set_aside();
    int result = shake_hands(tls);
    if (result > 0) result = outcome(tls, SSL_read_ex(tls->ssl, bytes, size, &got));
    lk_openssl_errors_put_back(theirs);
    return result > 0 ? (ssize_t)got : result;
}

bool lk_tls_buffered(const lk_tls *tls) { return SSL_pending(tls->ssl) > 0; }

bool lk_tls_quiet(lk_tls *tls)
{
    char byte;
    size_t got;
    lk_openssl_errors *theirs = lk_openssl_errors_set_aside();
    /* Peeking takes in the tickets that came meanwhile. A piece of a record may be anything. */
    bool quiet =
        shake_hands(tls) > 0 && outcome(tls, SSL_peek_ex(tls->ssl, &byte, 1, &got)) == 0 && !SSL_has_pending(tls->ssl);
    lk_openssl_errors_put_back(theirs);
    return quiet;
}

void lk_tls_close(lk_tls *tls)
{
    if (!tls) return;
    lk_openssl_errors *theirs = lk_openssl_errors_set_aside();
    if (tls->done && !tls->failed) SSL_shutdown(tls->ssl);
    /* A wire that broke is no reason to handshake at length the next time: else OpenSSL takes the session for bad. */
    else if (tls->broke) SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(tls->ssl);
    SSL_SESSION_free(tls->offered);
    lk_openssl_errors_put_back(theirs);
    free(tls);
}

bool lk_tls_waits_to_write(const lk_tls *tls) { return tls->waits_to_write; }
const char *lk_tls_error(const lk_tls *tls) { return tls->error; }
bool lk_tls_refused(const lk_tls *tls) { return tls->refused; }

/* See tls.h. Connections; what they have in common is in tls_context.c.
 *
 *   lk_conn ── bytes ──> SSL_write ──┐                 ┌── send, recv of the socket
 *                                    ├── SSL ── wire ──┤   (a BIO of our own: OpenSSL's would raise SIGPIPE)
 *   lk_conn <── bytes ── SSL_read ───┘                 └── what broke, and the first byte that came
 *
 * Two things are verified: the chain of certificates, up to one of ca_file or of the system's, and the name. If either
 * fails, the peer is refused during the handshake. No byte of the library's has been sent by then, and no password.
 *
 * No lock: an lk_tls has one owner at a time. */
#include "redis/tls_context.h"

#include "base/errno_text.h"
#include "redis/tls_guard.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { CLOSED = -1, TAKEN_MOST = 32 * 1024 };

struct lk_tls {
    lk_tls_context *context;
    SSL *ssl;
    int fd;
    char name[LK_TLS_NAME_SIZE]; /* the name that the certificate must hold */
    SSL_SESSION *offered;
    bool address; /* `name` is an address */
    bool done;    /* the handshake is done, and the name is right */
    bool waits_to_write, certificate_wanted, write_failed, failed, refused;
    bool heard; /* something was received, and this was its first byte: */
    unsigned char first;
    int broke;   /* why the wire broke: an errno, or CLOSED; 0: it did not */
    int to_take; /* so many bytes may be received in this call */
    char error[160];
};

/* ---------------------------------------------------------------------------------------------- the wire -- */

/* An error is reported when it comes a second time. The server may have said why it closed, and that has yet to be
 * read: until it is, wire_write says that the socket is full. The socket is readable then, so the wait is short. */
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

/* OpenSSL reads on as long as what comes is its own: tickets, or, before there is any certificate, messages that it passes over. A peer
 * that sends those without end would keep it here beyond every deadline (G). So it gets no more than TAKEN_MOST in one call; then the
 * caller looks at the clock, and comes back. */
static int wire_read(BIO *wire, char *bytes, int size)
{
    lk_tls *tls = BIO_get_data(wire);
    ssize_t got;
    BIO_clear_retry_flags(wire);
    if (!tls->to_take) {
        BIO_set_retry_read(wire);
        return -1;
    }
    if (size > tls->to_take) size = tls->to_take;
    do got = recv(tls->fd, bytes, (size_t)size, 0);
    while (got < 0 && errno == EINTR);
    if (got > 0 && !tls->heard) {
        tls->heard = true;
        tls->first = (unsigned char)*bytes;
    }
    if (got > 0) tls->to_take -= (int)got;
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

BIO_METHOD *lk_tls_make_wire(void)
{
    /* OpenSSL has few numbers for types, so this takes none */
    BIO_METHOD *wire = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "latchkey");
    if (wire && BIO_meth_set_write(wire, wire_write) && BIO_meth_set_read(wire, wire_read) &&
        BIO_meth_set_ctrl(wire, wire_control))
        return wire;
    BIO_meth_free(wire);
    return NULL;
}

/* -------------------------------------------------------------------------------------------- callbacks -- */

/* A ticket came, or in TLS 1.2 the handshake ended. Returns 1 if it keeps the reference. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    const lk_tls *tls = SSL_get_app_data(ssl);
    return lk_tls_context_keep(tls->context, ssl, session, tls->name);
}

/* Called if the server wants a certificate and we have none. Whether it insists will show later. */
static int on_certificate_wanted(SSL *ssl, X509 **certificate, EVP_PKEY **key)
{
    (void)certificate, (void)key;
    lk_tls *tls = SSL_get_app_data(ssl);
    tls->certificate_wanted = true;
    return 0;
}

/* Names are in the subjectAltName. The common name counts only if the certificate has no subjectAltName at all (RFC
 * 6125, 6.4.4); OpenSSL also accepts it if there are only addresses. */
static bool holds_name(const lk_tls *tls, X509 *peer)
{
    bool named = X509_get_ext_by_NID(peer, NID_subject_alt_name, -1) >= 0;
    unsigned flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | (named ? X509_CHECK_FLAG_NEVER_CHECK_SUBJECT : 0);
    return tls->address ? X509_check_ip_asc(peer, tls->name, 0) == 1
                        : X509_check_host(peer, tls->name, 0, flags, NULL) == 1;
}

/* Called for each certificate that OpenSSL finds good; the server's own is the last. */
static int on_certificate(int good, X509_STORE_CTX *chain)
{
    if (!good || X509_STORE_CTX_get_error_depth(chain)) return good;
    const SSL *ssl = X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx());
    const lk_tls *tls = SSL_get_app_data(ssl);
    if (holds_name(tls, X509_STORE_CTX_get_current_cert(chain))) return 1;
    X509_STORE_CTX_set_error(chain, tls->address ? X509_V_ERR_IP_ADDRESS_MISMATCH : X509_V_ERR_HOSTNAME_MISMATCH);
    return 0;
}

void lk_tls_equip(SSL_CTX *ssl)
{
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, on_certificate);
    SSL_CTX_sess_set_new_cb(ssl, on_session);
    SSL_CTX_set_client_cert_cb(ssl, on_certificate_wanted);
}

/* -------------------------------------------------------------------------------------------- connection -- */

/* OpenSSL compares the name during the handshake, and so does holds_name. An address is not sent: SNI is for names. */
static bool expect_name(lk_tls *tls, const char *host)
{
    if (!lk_tls_name(host, tls->name, &tls->address)) return false;
    X509_VERIFY_PARAM *expected = SSL_get0_param(tls->ssl);
    if (tls->address) return X509_VERIFY_PARAM_set1_ip_asc(expected, tls->name);
    X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(expected, tls->name, 0) && SSL_set_tlsext_host_name(tls->ssl, tls->name);
}

static bool prepare_tls(lk_tls *tls, const char *name)
{
    SSL_CTX *ssl = lk_tls_context_now(tls->context);
    tls->ssl = SSL_new(ssl);
    SSL_CTX_free(ssl);
    BIO *wire = tls->ssl ? BIO_new(lk_tls_context_wire(tls->context)) : NULL;
    if (!wire) return false;
    BIO_set_data(wire, tls);
    BIO_set_init(wire, 1);
    SSL_set_bio(tls->ssl, wire, wire);
    if (!SSL_set_app_data(tls->ssl, tls) || !expect_name(tls, name)) return false;
    tls->offered = lk_tls_context_session(tls->context, tls->name);
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
        SAY(tls,
            "the server's certificate has an issuer that is not trusted here: give its CA's certificate as ca_file");
        break;
    default: SAY(tls, "the server's certificate is refused: %.100s", X509_verify_cert_error_string(why));
    }
}

/* True: another attempt would end the same way. */
static bool say_alert(lk_tls *tls, int alert)
{
    bool have_one = SSL_get_certificate(tls->ssl) != NULL;
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
    case SSL_AD_PROTOCOL_VERSION: SAY(tls, "the server's TLS is too old: TLS 1.2 or newer is needed"); return true;
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

/* The first error in the queue is the cause of those behind it. */
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
    else if (!code) SAY(tls, "the connection to Redis broke: closed by the server"); /* with TLS' own closing message */
    else {
        const char *text = ERR_reason_error_string(code);
        SAY(tls, "the connection to Redis broke: TLS: %.100s", text ? text : "no reason is given");
    }
}

/* The result of an OpenSSL call: 1, 0 (later) or -1. */
static int outcome(lk_tls *tls, int success)
{
    int why = SSL_get_error(tls->ssl, success);
    tls->waits_to_write = why == SSL_ERROR_WANT_WRITE;
    int result = success ? 1 : why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
    if (result < 0) {
        tls->failed = true;
        explain(tls);
        if (!tls->done && tls->offered) lk_tls_context_forget(tls->context, tls->offered);
    }
    ERR_clear_error();
    return result;
}

/* -------------------------------------------------------------------------------------------- the handshake -- */

/* Checks once more what the callback checked. A session that continues calls no callback, and this also sees any
 * failure in between. */
static bool right_name(const lk_tls *tls)
{
    X509 *peer = SSL_get0_peer_certificate(tls->ssl);
    if (!peer || SSL_get_verify_result(tls->ssl) != X509_V_OK) return false;
    return holds_name(tls, peer);
}

/* Each call of the library begins here. 1: the handshake is done and the peer is verified; 0 or -1 as usual. Nothing of the library's is
 * sent before. */
static int shake_hands(lk_tls *tls)
{
    if (tls->failed) return -1;
    ERR_clear_error();
    tls->to_take = TAKEN_MOST;
    if (tls->done) return 1;
    int result = outcome(tls, SSL_do_handshake(tls->ssl) == 1);
    if (result <= 0) return result;
    if (!right_name(tls)) {
        tls->failed = true;
        SAY(tls, "the server's certificate could not be verified for '%.60s'", tls->name);
        return -1;
    }
    tls->done = true;
    if (SSL_session_reused(tls->ssl)) lk_tls_context_count_resumed(tls->context);
    return 1;
}

/* ------------------------------------------------------------------------------ open, write, read, close -- */

static void end_tls(lk_tls *tls)
{
    if (tls->done && !tls->failed) SSL_shutdown(tls->ssl);
    /* OpenSSL takes the session for bad if the wire broke. That is no reason for a full handshake the next time. */
    else if (tls->broke) SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(tls->ssl);
    SSL_SESSION_free(tls->offered);
    free(tls);
}

lk_tls *lk_tls_open(lk_tls_context *context, const char *host, int fd)
{
    lk_tls *tls = calloc(1, sizeof *tls);
    if (!tls) return NULL;
    lk_tls_context_look(context);
    tls->context = context;
    tls->fd = fd;
    const char *server_name = lk_tls_context_server_name(context);
    lk_tls_errors *theirs = lk_tls_enter();
    /* Sends the first message, so that the server's answer is on its way. If it fails, the first write or read says so. */
    if (prepare_tls(tls, server_name[0] ? server_name : host)) shake_hands(tls);
    else {
        end_tls(tls);
        tls = NULL;
    }
    lk_tls_leave(theirs);
    return tls;
}

ssize_t lk_tls_write(lk_tls *tls, const char *bytes, size_t size)
{
    size_t wrote = 0;
    lk_tls_errors *theirs = lk_tls_enter();
    int result = shake_hands(tls);
    if (result > 0) result = outcome(tls, SSL_write_ex(tls->ssl, bytes, size, &wrote));
    lk_tls_leave(theirs);
    return result > 0 ? (ssize_t)wrote : result;
}

ssize_t lk_tls_read(lk_tls *tls, char *bytes, size_t size)
{
    size_t got = 0;
    lk_tls_errors *theirs = lk_tls_enter();
    int result = shake_hands(tls);
    if (result > 0) result = outcome(tls, SSL_read_ex(tls->ssl, bytes, size, &got));
    lk_tls_leave(theirs);
    return result > 0 ? (ssize_t)got : result;
}

bool lk_tls_buffered(const lk_tls *tls) { return SSL_pending(tls->ssl) > 0; }

bool lk_tls_quiet(lk_tls *tls)
{
    char byte;
    size_t got;
    lk_tls_errors *theirs = lk_tls_enter();
    /* Peeking takes in the tickets that came meanwhile. A part of a record may be anything, so it is not quiet. */
    bool quiet =
        shake_hands(tls) > 0 && outcome(tls, SSL_peek_ex(tls->ssl, &byte, 1, &got)) == 0 && !SSL_has_pending(tls->ssl);
    lk_tls_leave(theirs);
    return quiet;
}

void lk_tls_close(lk_tls *tls)
{
    if (!tls) return;
    lk_tls_errors *theirs = lk_tls_enter();
    end_tls(tls);
    lk_tls_leave(theirs);
}

bool lk_tls_waits_to_write(const lk_tls *tls) { return tls->waits_to_write; }
const char *lk_tls_error(const lk_tls *tls) { return tls->error; }
bool lk_tls_refused(const lk_tls *tls) { return tls->refused; }

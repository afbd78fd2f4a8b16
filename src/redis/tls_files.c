/* See tls_files.h. The lines are read here, because OpenSSL skips what it does not look for: a block of another kind,
 * or one whose first line is damaged. OpenSSL then reads the blocks, one at a time. */
#include "redis/tls_files.h"

#include "base/log.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MOST = 4 * 1024 * 1024, LABEL_SIZE = 40, PEM_LINE = 64 };

static const char *const options[LK_TLS_FILES] = {"ca_file", "cert_file", "key_file"};

#define FAIL(s, ...) (snprintf((s)->error, (s)->error_size, __VA_ARGS__), LATCHKEY_CONFIG)

int lk_tls_says(const char *what, char *error, size_t error_size)
{
    unsigned long code;
    const char *reason = "no reason is given";
    bool memory = false;
    while ((code = ERR_get_error())) { /* the first error is the cause of the others */
        if (!strcmp(reason, "no reason is given") && ERR_reason_error_string(code))
            reason = ERR_reason_error_string(code);
        memory = memory || ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    }
    if (memory) return LATCHKEY_NO_MEMORY;
    snprintf(error, error_size, "%s: %.80s", what, reason);
    return LATCHKEY_CONFIG;
}

/* ------------------------------------------------------------------------------------------------- reading -- */

static int read_tls_file(lk_tls_files *files, int which, bool again, char *error, size_t error_size)
{
    if (!files->path[which][0]) return LATCHKEY_OK;
    char *bytes = malloc(FILE_MOST + 1);
    if (!bytes) return LATCHKEY_NO_MEMORY;
    ssize_t got = lk_file_read(options[which], files->path[which], again, bytes, FILE_MOST + 1, error, error_size);
    files->bytes[which] = bytes;
    files->size[which] = got < 0 ? FILE_MOST : (size_t)got;
    if (got < 0) return LATCHKEY_CONFIG;
    bytes[got] = 0;
    if (got) return LATCHKEY_OK;
    snprintf(error, error_size, "%s: cannot read '%.100s': it is empty", options[which], files->path[which]);
    return LATCHKEY_CONFIG;
}

int lk_tls_files_read(lk_tls_files *files, bool again, char *error, size_t error_size)
{
    int status = LATCHKEY_OK;
    for (int i = 0; !status && i < LK_TLS_FILES; i++) status = read_tls_file(files, i, again, error, error_size);
    return status;
}

void lk_tls_files_close(lk_tls_files *files)
{
    for (int i = 0; i < LK_TLS_FILES; i++) {
        if (files->bytes[i]) lk_wipe(files->bytes[i], files->size[i]); /* it may be a private key */
        free(files->bytes[i]);
        files->bytes[i] = NULL;
    }
}

/* -------------------------------------------------------------------------------------------------- blocks -- */

typedef struct scan {
    const char *option, *path, *next; /* the line to look at next */
    unsigned line;                    /* its number */
    char *error;
    size_t error_size;
    lk_notices *notices;
    /* the block that was found: */
    char label[LABEL_SIZE];
    const char *begin;
    size_t size;
    unsigned begin_line;
} scan;

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* Takes one line without its line end, and moves *from behind it. */
static size_t next_line(const char **from, const char **line)
{
    *line = *from;
    const char *end = strchr(*from, '\n');
    *from = end ? end + 1 : *from + strlen(*from);
    size_t length = (size_t)(*from - *line);
    while (length && is_space((*line)[length - 1])) length--;
    return length;
}

/* Is the line "-----BEGIN LABEL-----", or END, as OpenSSL knows them? */
static bool is_marker(const char *line, size_t length, const char *word, char label[LABEL_SIZE])
{
    size_t before = strlen(word);
    if (length < before + 6 || length - before - 5 >= LABEL_SIZE || memcmp(line, word, before) ||
        memcmp(line + length - 5, "-----", 5))
        return false;
    memcpy(label, line + before, length - before - 5);
    label[length - before - 5] = 0;
    return true;
}

/* Is this text between blocks that looks like a part of a block? */
static bool is_debris(const char *line, size_t length)
{
    char text[128];
    size_t copied = length < sizeof text - 1 ? length : sizeof text - 1;
    memcpy(text, line, copied);
    text[copied] = 0;
    if (strstr(text, "--") && (strstr(text, "BEGIN") || strstr(text, "END"))) return true;
    return copied >= PEM_LINE &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") == copied;
}

/* 1: a block; 0: there is no further block; or CONFIG, and `error` says why. */
static int next_block(scan *s)
{
    char label[LABEL_SIZE];
    bool inside = false;
    while (*s->next) {
        const char *line;
        size_t length = next_line(&s->next, &line);
        unsigned number = s->line++;
        if (!inside && is_marker(line, length, "-----BEGIN ", s->label)) {
            inside = true;
            s->begin = line;
            s->begin_line = number;
        } else if (inside && is_marker(line, length, "-----END ", label) && !strcmp(label, s->label)) {
            s->size = (size_t)(s->next - s->begin);
            return 1;
        } else if (inside && length >= 5 && !memcmp(line, "-----", 5)) break;
        else if (!inside && is_debris(line, length))
            return FAIL(s, "%s: line %u of '%.80s' is a piece of a block, which is damaged", s->option, number,
                        s->path);
    }
    if (!inside) return 0;
    return FAIL(s, "%s: the block that begins in line %u of '%.80s' is damaged: its end is missing", s->option,
                s->begin_line, s->path);
}

static int begin_scan(const lk_tls_files *files, enum lk_tls_file which, lk_notices *notices, char *error,
                      size_t error_size, scan *s)
{
    *s = (scan){options[which], files->path[which], files->bytes[which], 1, error, error_size, notices, "", "", 0, 0};
    const unsigned char *bytes = (const unsigned char *)files->bytes[which];
    if (bytes[0] == 0x30 && bytes[1] & 0x80)
        return FAIL(s, "%s: '%.80s' is in DER form: write it in PEM form (openssl x509, or pkey, -inform DER)",
                    s->option, s->path);
    if (memchr(bytes, 0, files->size[which]))
        return FAIL(s, "%s: '%.80s' is not text: PEM form is expected", s->option, s->path);
    s->next = lk_file_text(files->bytes[which]);
    return LATCHKEY_OK;
}

static int is_foreign(const scan *s, const char *expected)
{
    return FAIL(s, "%s: line %u of '%.70s' begins a %s: only %s expected there", s->option, s->begin_line, s->path,
                s->label, expected);
}

static bool is_certificate(const scan *s)
{
    return !strcmp(s->label, PEM_STRING_X509) || !strcmp(s->label, PEM_STRING_X509_OLD);
}

/* "EC PARAMETERS", which openssl ecparam writes before a key, is skipped: the key has them too. */
static bool is_key(const scan *s)
{
    static const char end[] = "PRIVATE KEY";
    size_t length = strlen(s->label);
    return (length >= sizeof end - 1 && !strcmp(s->label + length - (sizeof end - 1), end)) ||
           !strcmp(s->label, PEM_STRING_ECPARAMETERS);
}

/* -------------------------------------------------------------------------------------------- certificates -- */

/* NULL: it is damaged. */
static X509 *decode(const scan *s)
{
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    long size = 0;
    X509 *certificate = NULL;
    BIO *bio = BIO_new_mem_buf(s->begin, (int)s->size);
    if (bio && PEM_read_bio(bio, &name, &header, &data, &size)) {
        const unsigned char *at = data;
        certificate = d2i_X509(NULL, &at, size);
        if (certificate && at != data + size) { /* there is more than one certificate in it */
            X509_free(certificate);
            certificate = NULL;
        }
    }
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
    BIO_free(bio);
    return certificate;
}

/* The first is our own; the next ones lead from it towards the server's CA. */
static bool take_certificate(SSL_CTX *ssl, X509 *certificate, bool trusted, bool first)
{
    if (trusted) return X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), certificate);
    return first ? SSL_CTX_use_certificate(ssl, certificate) : SSL_CTX_add1_chain_cert(ssl, certificate);
}

typedef struct expired_ones {
    unsigned count, line;
    char subject[120];
} expired_ones;

static void look_at_date(const scan *s, const X509 *certificate, expired_ones *expired)
{
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0 || expired->count++) return;
    expired->line = s->begin_line;
    X509_NAME_oneline(X509_get_subject_name(certificate), expired->subject, sizeof expired->subject);
}

static int bad_certificate(const scan *s, unsigned number, const char *what)
{
    char text[200];
    snprintf(text, sizeof text, "%s: certificate %u of '%.80s', in line %u, %s", s->option, number, s->path,
             s->begin_line, what);
    return lk_tls_says(text, s->error, s->error_size);
}

/* `with_key`: the file may also hold a private key, which is read separately. */
static int read_certificates(scan *s, SSL_CTX *ssl, bool trusted, bool with_key)
{
    unsigned count = 0;
    expired_ones expired = {0, 0, ""};
    int found, status = LATCHKEY_OK;
    while (!status && (found = next_block(s)) != 0) {
        if (found < 0) return found;
        if (with_key && is_key(s)) continue;
        if (!is_certificate(s)) return is_foreign(s, with_key ? "certificates and their key are" : "certificates are");
        X509 *certificate = decode(s);
        if (!certificate) return bad_certificate(s, count + 1, "is damaged");
        look_at_date(s, certificate, &expired);
        if (!take_certificate(ssl, certificate, trusted, !count++))
            status = bad_certificate(s, count, "cannot be used");
        X509_free(certificate);
    }
    if (!status && !count) status = FAIL(s, "%s: there is no certificate in PEM form in '%.100s'", s->option, s->path);
    if (!status && expired.count)
        lk_notices_add(s->notices, LATCHKEY_LOG_WARNING,
                       "tls: %s: %u of the %u certificates in '%.100s' have expired, the first in line %u: %s",
                       s->option, expired.count, count, s->path, expired.line, expired.subject);
    return status;
}

/* ----------------------------------------------------------------------------------------------------- key -- */

static int refuse_passphrase(char *out, int size, int writing, void *asked)
{
    (void)out, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static int take_key(const scan *s, SSL_CTX *ssl, const char *certificate_path)
{
    bool asked = false;
    BIO *bio = BIO_new_mem_buf(s->begin, (int)s->size);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &asked) : NULL;
    char text[200];
    snprintf(text, sizeof text, "%s: the %s in '%.90s' cannot be used", s->option, s->label, s->path);
    int status = LATCHKEY_OK;
    BIO_free(bio);
    if (!key && asked)
        status = FAIL(s, "%s: '%.100s' is encrypted: a key without a passphrase is needed", s->option, s->path);
    else if (!key) status = lk_tls_says(text, s->error, s->error_size);
    else if (!X509_check_private_key(SSL_CTX_get0_certificate(ssl), key))
        status = FAIL(s, "%s: '%.60s' is not the key of the certificate in '%.60s' (the first one)", s->option, s->path,
                      certificate_path);
    else if (!SSL_CTX_use_PrivateKey(ssl, key)) status = lk_tls_says(text, s->error, s->error_size);
    EVP_PKEY_free(key);
    return status;
}

static int read_key(scan *s, SSL_CTX *ssl, const char *certificate_path)
{
    bool with_certificates = !strcmp(s->path, certificate_path);
    unsigned count = 0;
    int found, status = LATCHKEY_OK;
    while (!status && (found = next_block(s)) != 0) {
        if (found < 0) return found;
        if (with_certificates && is_certificate(s)) continue;
        if (!is_key(s)) return is_foreign(s, "a private key is");
        if (!strcmp(s->label, PEM_STRING_ECPARAMETERS)) continue;
        if (count++) return is_foreign(s, "one private key is");
        status = take_key(s, ssl, certificate_path);
    }
    if (status || count) return status;
    return FAIL(s, "%s: there is no private key in PEM form in '%.100s'", s->option, s->path);
}

/* -------------------------------------------------------------------------------------------------- all of it -- */

int lk_tls_files_load(const lk_tls_files *files, SSL_CTX *ssl, lk_notices *notices, char *error, size_t error_size)
{
    scan s;
    int status = LATCHKEY_OK;
    /* Each given certificate is trusted as it is, also an issuer in the middle of a chain, or the server's own
     * certificate. */
    X509_STORE_set_flags(SSL_CTX_get_cert_store(ssl), X509_V_FLAG_PARTIAL_CHAIN);
    if (files->bytes[LK_TLS_CA]) {
        status = begin_scan(files, LK_TLS_CA, notices, error, error_size, &s);
        if (!status) status = read_certificates(&s, ssl, true, false);
    } else if (!SSL_CTX_set_default_verify_paths(ssl))
        status = lk_tls_says("ca_file: give one, the system's certificates cannot be read", error, error_size);
    const char *certificate = files->path[LK_TLS_CERTIFICATE];
    if (!status && files->bytes[LK_TLS_CERTIFICATE]) {
        status = begin_scan(files, LK_TLS_CERTIFICATE, notices, error, error_size, &s);
        if (!status) status = read_certificates(&s, ssl, false, !strcmp(certificate, files->path[LK_TLS_KEY]));
    }
    if (!status && files->bytes[LK_TLS_KEY]) {
        status = begin_scan(files, LK_TLS_KEY, notices, error, error_size, &s);
        if (!status) status = read_key(&s, ssl, certificate);
    }
    return status;
}

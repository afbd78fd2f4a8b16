/* SPDX-License-Identifier: MIT */
#include "pki.h"
#include "check.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

enum { DAY_S = 86400 };

static const char *path_of(const char *name, const char *suffix)
{
    static char paths[8][256];
    static unsigned next;
    char file[128];
    char *path = paths[next++ % 8];
    snprintf(file, sizeof file, "%s.%s", name, suffix);
    check_temp_path(file, path, sizeof *paths);
    return path;
}

const char *pki_crt(const char *name) { return path_of(name, "crt"); }
const char *pki_key(const char *name) { return path_of(name, "key"); }

static FILE *file_of(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);
    if (!file) fail_msg("cannot open %s", path);
    return file;
}

static void must(int good)
{
    if (!good) fail_msg("OpenSSL makes no certificate");
}

static EVP_PKEY *make_key(const pki_card *card)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *file = file_of(pki_key(card->name), "w");
    must(key && PEM_write_PrivateKey(file, key, card->passphrase ? EVP_aes_256_cbc() : NULL, NULL, 0, NULL,
                                     (void *)(uintptr_t)card->passphrase));
    fclose(file);
    return key;
}

static void add_extension(X509 *certificate, X509V3_CTX *context, int which, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, context, which, value);
    must(extension && X509_add_ext(certificate, extension, -1));
    X509_EXTENSION_free(extension);
}

static X509 *make_certificate(const pki_card *card, EVP_PKEY *key, X509 *issuer)
{
    X509 *certificate = X509_new();
    X509V3_CTX context;
    uint32_t serial = 0;
    int always = !card->from_s && !card->until_s;
    must(certificate && RAND_bytes((unsigned char *)&serial, sizeof serial));
    X509_NAME *name = X509_get_subject_name(certificate);
    must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)card->name, -1, -1, 0));
    must(X509_set_version(certificate, X509_VERSION_3) && X509_set_pubkey(certificate, key));
    must(ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial));
    must(X509_set_issuer_name(certificate, X509_get_subject_name(issuer ? issuer : certificate)));
    X509_gmtime_adj(X509_getm_notBefore(certificate), always ? -DAY_S : card->from_s);
    X509_gmtime_adj(X509_getm_notAfter(certificate), always ? DAY_S : card->until_s);
    X509V3_set_ctx(&context, issuer ? issuer : certificate, certificate, NULL, NULL, 0);
    add_extension(certificate, &context, NID_basic_constraints, card->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (card->for_names) add_extension(certificate, &context, NID_subject_alt_name, card->for_names);
    return certificate;
}

void pki_make(const pki_card *card)
{
    X509 *issuer = NULL;
    EVP_PKEY *key = make_key(card), *signing = key;
    if (card->issuer) {
        FILE *file = file_of(pki_crt(card->issuer), "r");
        must((issuer = PEM_read_X509(file, NULL, NULL, NULL)) != NULL);
        fclose(file);
        file = file_of(pki_key(card->issuer), "r");
        must((signing = PEM_read_PrivateKey(file, NULL, NULL, NULL)) != NULL);
        fclose(file);
    }
    X509 *certificate = make_certificate(card, key, issuer);
    FILE *file = file_of(pki_crt(card->name), "w");
    must(X509_sign(certificate, signing, EVP_sha256()) && PEM_write_X509(file, certificate));
    fclose(file);
    X509_free(certificate);
    X509_free(issuer);
    if (signing != key) EVP_PKEY_free(signing);
    EVP_PKEY_free(key);
}

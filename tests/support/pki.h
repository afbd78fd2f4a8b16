/* SPDX-License-Identifier: MIT
 *
 * Certificates and keys, made when they are needed and good or bad on purpose; P-256, in PEM files that are removed at exit.
 */
#ifndef LATCHKEY_TESTS_PKI_H
#define LATCHKEY_TESTS_PKI_H

typedef struct pki_card {
    const char *name;       /* of the files, NAME.crt and NAME.key, and of the subject */
    const char *for_names;  /* "DNS:localhost,IP:127.0.0.1"; NULL: none */
    const char *issuer;     /* the name of one that was made before; NULL: itself */
    long from_s, until_s;   /* from now; both 0: since yesterday, until tomorrow */
    int ca;                 /* may it issue others? */
    const char *passphrase; /* of the key; NULL: none */
} pki_card;

void pki_make(const pki_card *card);

/* The path of a file; valid until 8 others were asked for. */
const char *pki_crt(const char *name);
const char *pki_key(const char *name);

#endif

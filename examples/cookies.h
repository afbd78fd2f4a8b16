/* SPDX-License-Identifier: MIT
 *
 * The tokens that a request carries. A browser sends every cookie that fits, so there may be several of one name: one for
 * another path, one for the whole domain, one that an earlier version of the site set. Their order says nothing about which
 * one is alive. So all of them are read, and each is tried (app_validate, app_logout).
 *
 * On a site served by https alone, give the cookie a name that begins with "__Host-": a browser then takes it only from this
 * host, with Secure and Path=/, so no other host of the domain can plant one.
 */
#ifndef EXAMPLES_COOKIES_H
#define EXAMPLES_COOKIES_H

#include <stdbool.h>
#include <stddef.h>

enum {
    COOKIES_MOST = 8,
    TOKEN_MOST = 256 /* the longest token of another store that latchkey takes (latchkey_import); its own have 43 */
};

/* A copy: not every HTTP library keeps the headers for as long as the request waits. */
typedef struct cookie {
    size_t length;
    char token[TOKEN_MOST + 1]; /* no NUL; a longer one is cut to TOKEN_MOST + 1, which latchkey refuses as MALFORMED */
} cookie;

typedef struct cookies {
    size_t count;
    bool
        too_many; /* there were more than COOKIES_MOST: refuse the request, since the one that is alive may be missing */
    cookie at[COOKIES_MOST];
} cookies;

void cookies_begin(cookies *c);

/* Adds the cookies named sid of one Cookie header, in their order. NULL is a request without one. */
void cookies_add(cookies *c, const char *header);

#endif

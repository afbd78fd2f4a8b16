/* SPDX-License-Identifier: MIT */
#include "cookies.h"

#include <string.h>

void cookies_begin(cookies *c)
{
    c->count = 0;
    c->too_many = false;
}

static void add(cookies *c, const char *token, size_t length)
{
    if (c->count == COOKIES_MOST) {
        c->too_many = true;
        return;
    }
    cookie *one = &c->at[c->count++];
    one->length = length < sizeof one->token ? length : sizeof one->token;
    memcpy(one->token, token, one->length);
}

void cookies_add(cookies *c, const char *header)
{
    for (const char *at = header; at && *at;) {
        at += strspn(at, "; \t");
        size_t size = strcspn(at, "; \t");
        if (strncmp(at, "sid=", 4) == 0) add(c, at + 4, size - 4);
        at += size;
    }
}

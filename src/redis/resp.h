/* The wire: Redis' protocol (RESP2), formatted and parsed by hiredis, with limits on everything that a peer sends. The
 * one face of hiredis. No I/O: bytes in, replies out. */
#ifndef LK_REDIS_RESP_H
#define LK_REDIS_RESP_H

#include "base/crypto.h" /* lk_span */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline lk_span lk_word(const char *text) { return (lk_span){text, strlen(text)}; }

enum lk_reply_type { LK_REPLY_NIL, LK_REPLY_INTEGER, LK_REPLY_STRING, LK_REPLY_STATUS, LK_REPLY_ERROR, LK_REPLY_ARRAY };

typedef struct lk_reply {
    enum lk_reply_type type;
    uint32_t tag;           /* of the command that this answers; set by lk_conn_next */
    long long integer;      /* of an INTEGER; load.c notes a field's version there */
    size_t size;            /* bytes of text, or elements */
    char *text;             /* NUL-terminated behind `size` bytes; never NULL for STRING, STATUS, ERROR */
    struct lk_reply **item; /* of an ARRAY: `size` of them, none NULL once it was handed out */
} lk_reply;

void lk_reply_free(lk_reply *reply); /* wipes; NULL is allowed */
/* HMGET's answer to these names becomes HGETALL's: a name before each value, and none where there is none. Anything else stays
 * as it is. False: no memory. */
bool lk_reply_pair(lk_reply *values, const lk_span *names, size_t count);
bool lk_reply_is(const lk_reply *reply, const char *text); /* a string or status that says exactly this */

enum {
    LK_RESP_ELEMENTS_MAX = 8192,          /* of all arrays of one reply together */
    LK_RESP_BYTES_MAX = 24 * 1024 * 1024, /* of one reply: 256 fields of 64 KiB, and change */
};

typedef struct lk_resp lk_resp;
lk_resp *lk_resp_open(void);
void lk_resp_close(lk_resp *resp);

/* False: no memory, or more bytes than any reply may have. The parser is of no use afterwards. */
bool lk_resp_feed(lk_resp *resp, const char *bytes, size_t size);

/* 1: *reply is the caller's. 0: more bytes are needed. -1: not RESP, or beyond a limit; see lk_resp_error. */
int lk_resp_next(lk_resp *resp, lk_reply **reply);
bool lk_resp_empty(const lk_resp *resp); /* every byte that was fed came out in a reply */
const char *lk_resp_error(const lk_resp *resp);
bool lk_resp_no_memory(const lk_resp *resp); /* that was the error: our want, not the peer's fault */

/* A command as bytes, to be given back with lk_resp_format_free; 0: no memory. */
size_t lk_resp_format(const lk_span *words, size_t count, char **bytes);
void lk_resp_format_free(char *bytes, size_t size); /* wipes */

#endif

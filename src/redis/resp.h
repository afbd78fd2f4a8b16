/* Redis' protocol (RESP2), with limits on everything that a peer sends. No I/O: bytes in, replies out.
 *
 * Replies are parsed here and not by hiredis. So depth, length and number are checked before memory is taken for them,
 * whichever version of hiredis is installed; each byte is looked at once; and what was parsed is wiped. hiredis formats
 * the commands, and only resp.c uses it. */
#ifndef LK_REDIS_RESP_H
#define LK_REDIS_RESP_H

#include "redis/reply.h"

#include <string.h>

static inline lk_span lk_word(const char *text) { return (lk_span){text, strlen(text)}; }

enum {
    LK_RESP_DEPTH_MAX = 7,                /* arrays in arrays; the library's own commands need 3 */
    LK_RESP_ELEMENTS_MAX = 8192,          /* of all arrays in one reply together */
    LK_RESP_LINE_MAX = 16 * 1024,         /* of a status or an error */
    LK_RESP_BYTES_MAX = 24 * 1024 * 1024, /* of one reply: 256 fields of 64 KiB, and some room */
    /* Of one that is larger, or has more elements: another program has written to a key, and the connection can do nothing for
     * it. It is read to its end, without being kept, and this error stands in its place. */
    LK_RESP_DROPPED_MAX = 256 * 1024 * 1024,
};
#define LK_RESP_TOO_LARGE "LKLARGE"

typedef struct lk_resp lk_resp;
lk_resp *lk_resp_open(void); /* NULL: no memory */
void lk_resp_close(lk_resp *resp);
void lk_resp_allow(lk_resp *resp, size_t elements); /* so many in one reply, instead of LK_RESP_ELEMENTS_MAX */

/* False: no memory. The parser is useless afterwards. Between two calls every reply that is there must be taken. */
bool lk_resp_feed(lk_resp *resp, const char *bytes, size_t size);

/* 1: *reply is there, and the caller frees it. 0: more bytes are needed. -1: this is not RESP2, or it is beyond a
 * limit; see lk_resp_error. */
int lk_resp_next(lk_resp *resp, lk_reply **reply);
bool lk_resp_empty(const lk_resp *resp); /* every byte that was fed came out in a reply */
const char *lk_resp_error(const lk_resp *resp);
/* the error was that this process has no memory, not that the peer did something wrong */
bool lk_resp_no_memory(const lk_resp *resp);

/* Formats a command as bytes. Free them with lk_resp_format_free. 0: no memory. */
size_t lk_resp_format(const lk_span *words, size_t count, char **bytes);
void lk_resp_format_free(char *bytes, size_t size); /* wipes them first */

#endif

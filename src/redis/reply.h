/* A reply of Redis. Reading it is always safe: a reply without text has an empty one, a reply that is not an
 * array has no elements, and a missing element is a nil. So if Redis sends another type than expected and no code
 * checks it, the answer may be wrong, but nothing is read that is not there. */
#ifndef LK_REDIS_REPLY_H
#define LK_REDIS_REPLY_H

#include "base/crypto.h" /* lk_span */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lk_reply_type { LK_REPLY_NIL, LK_REPLY_INTEGER, LK_REPLY_STRING, LK_REPLY_STATUS, LK_REPLY_ERROR, LK_REPLY_ARRAY };

typedef struct lk_reply {
    enum lk_reply_type type;
    uint32_t tag;      /* of the command that this reply answers; lk_conn_next sets it */
    long long integer; /* of an INTEGER; read_record.c keeps a field's version here */
    size_t size;       /* bytes of `text`; of an ARRAY, as many zero bytes as it has elements */
    size_t count;      /* elements of an ARRAY; else 0 */
    /* of a STRING, STATUS or ERROR, with a NUL behind `size` bytes; of other types it is empty or zeros */
    char *text;
    struct lk_reply **item; /* `count` elements, none of them NULL. Read them by lk_reply_at */
} lk_reply;

lk_reply *lk_reply_new(enum lk_reply_type type, const char *text, size_t size); /* NULL: no memory */
lk_reply *lk_reply_new_array(size_t count); /* the caller puts in the elements; NULL: no memory */
void lk_reply_free(lk_reply *reply);        /* wipes it first; NULL is allowed */

/* The i-th element; if there is none, a nil. Never NULL. */
const lk_reply *lk_reply_at(const lk_reply *reply, size_t i);

/* Is it an array of exactly these elements? One letter each: i an integer, s a string, a an array, * anything. A part
 * in brackets at the end may come any number of times, or not at all: "is(ss)". */
bool lk_reply_shaped(const lk_reply *reply, const char *shape);

bool lk_reply_is(const lk_reply *reply, const char *text); /* is it a string or status with exactly this text? */

/* Turns the reply of HMGET for these names into one like HGETALL's: a name before each value, and neither if there is
 * no value. Any other reply stays as it is. False: no memory. */
bool lk_reply_pair(lk_reply *values, const lk_span *names, size_t count);

#endif

/* A reply of Redis. Whatever came, looking at it is harmless: what has no text has an empty one, what is no array has no
 * elements, and an element that is not there is a nil. So a reply of another type than was asked for can give a wrong answer
 * where nobody looks at the type, but it cannot make anybody read what is not his. */
#ifndef LK_REDIS_REPLY_H
#define LK_REDIS_REPLY_H

#include "base/crypto.h" /* lk_span */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lk_reply_type { LK_REPLY_NIL, LK_REPLY_INTEGER, LK_REPLY_STRING, LK_REPLY_STATUS, LK_REPLY_ERROR, LK_REPLY_ARRAY };

typedef struct lk_reply {
    enum lk_reply_type type;
    uint32_t tag;           /* of the command that this answers; set by lk_conn_next */
    long long integer;      /* of an INTEGER; read_record.c notes a field's version there */
    size_t size;            /* bytes of text; of an ARRAY as many zeros as it has elements */
    size_t count;           /* elements of an ARRAY: 0 of anything else */
    char *text;             /* of a STRING, STATUS or ERROR, NUL-terminated behind `size` bytes; of anything else "" */
    struct lk_reply **item; /* `count` of them, none NULL. Read them by lk_reply_at */
} lk_reply;

lk_reply *lk_reply_new(enum lk_reply_type type, const char *text, size_t size); /* NULL: no memory */
lk_reply *lk_reply_new_array(size_t count); /* whose elements the caller puts in; the same */
void lk_reply_free(lk_reply *reply);        /* wipes; NULL is allowed */

/* The i-th element; a nil where there is none. Never NULL. */
const lk_reply *lk_reply_at(const lk_reply *reply, size_t i);

/* Is it an array of just these? A letter an element: i an integer, s a string, a an array, * anything. What stands in brackets
 * at the end may come any number of times, or not at all: "is(ss)". */
bool lk_reply_shaped(const lk_reply *reply, const char *shape);

bool lk_reply_is(const lk_reply *reply, const char *text); /* a string or status that says exactly this */

/* HMGET's answer to these names becomes HGETALL's: a name before each value, and none where there is none. Anything else stays
 * as it is. False: no memory. */
bool lk_reply_pair(lk_reply *values, const lk_span *names, size_t count);

#endif

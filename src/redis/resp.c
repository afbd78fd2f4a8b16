/* See resp.h. The only file that includes hiredis; it builds with 0.14 and with 1.x.
 *
 *   bytes   [ taken ........ scanned ........ used )
 *            returned        looked at        fed
 *
 * scan() goes over each byte once and finds where a reply ends. It is a state machine, so it can stop at any byte. Only
 * then does build() make the reply, from bytes that are known to be complete and within the limits. */
#include "redis/resp.h"

#include <hiredis/hiredis.h>
#include <hiredis/alloc.h>
#include <stdlib.h>

/* ------------------------------------------------------------------------------------------ one hiredis, not two -- */

/* The headers of one version and the library of another have different types and functions. Then this must not compile
 * (pkg-config's version is compared with the header's), or not link: each version has a function that the other one
 * lacks. */
_Static_assert(HIREDIS_MAJOR == LATCHKEY_HIREDIS_MAJOR && HIREDIS_MINOR == LATCHKEY_HIREDIS_MINOR,
               "the headers of hiredis are of another version than its library (pkg-config)");
#if HIREDIS_MAJOR >= 1
#define ONLY_HERE hiredisAllocFns
#else
#define ONLY_HERE hi_malloc
#endif
__attribute__((used)) static const void *const only_here = (const void *)&ONLY_HERE;

/* -------------------------------------------------------------------------------------------------- buffer -- */

enum { ROOM_LEAST = 1024, ROOM_KEPT = 64 * 1024 }; /* a larger buffer is freed once it is empty */

struct lk_resp {
    char *bytes;
    size_t taken, scanned, used, room;
    /* about the reply that is being scanned: */
    size_t line;                    /* where the current line begins */
    size_t body;                    /* how many bytes of a string and its line end are still to come */
    size_t left[LK_RESP_DEPTH_MAX]; /* how many elements of each open array are still to come */
    unsigned depth;                 /* how many arrays are open */
    size_t elements;                /* of all its arrays together */
    size_t elements_max;
    bool too_large; /* it is read to its end and not kept */
    size_t dropped; /* how many bytes of it are gone already */
    const char *error;
    bool no_memory;
};

lk_resp *lk_resp_open(void)
{
    lk_resp *resp = calloc(1, sizeof(lk_resp));
    if (resp) resp->elements_max = LK_RESP_ELEMENTS_MAX;
    return resp;
}

void lk_resp_allow(lk_resp *resp, size_t elements) { resp->elements_max = elements; }

static void free_room(lk_resp *resp)
{
    if (resp->bytes) lk_wipe(resp->bytes, resp->used);
    free(resp->bytes);
    resp->bytes = NULL;
    resp->room = 0;
}

void lk_resp_close(lk_resp *resp)
{
    if (!resp) return;
    free_room(resp);
    free(resp);
}

static void out_of_memory(lk_resp *resp)
{
    resp->error = "no memory for a reply";
    resp->no_memory = true;
}

/* Drops the replies that were returned. */
static void drop_taken(lk_resp *resp)
{
    size_t gone = resp->taken;
    if (!gone) return;
    if (resp->used > gone) memmove(resp->bytes, resp->bytes + gone, resp->used - gone);
    resp->taken = 0;
    resp->scanned -= gone;
    resp->line -= gone;
    resp->used -= gone;
    lk_wipe(resp->bytes + resp->used, gone);
    if (!resp->used && resp->room > ROOM_KEPT) free_room(resp);
}

/* Not realloc: it would leave the old bytes behind. */
static bool reserve(lk_resp *resp, size_t more)
{
    if (resp->used + more <= resp->room) return true;
    size_t room = resp->room ? resp->room : ROOM_LEAST;
    while (room < resp->used + more) room *= 2;
    char *bytes = malloc(room);
    if (!bytes) return false;
    if (resp->used) memcpy(bytes, resp->bytes, resp->used);
    free_room(resp);
    resp->bytes = bytes;
    resp->room = room;
    return true;
}

bool lk_resp_feed(lk_resp *resp, const char *bytes, size_t size)
{
    if (resp->error) return false;
    drop_taken(resp);
    if (!reserve(resp, size)) out_of_memory(resp);
    else {
        if (size) memcpy(resp->bytes + resp->used, bytes, size);
        resp->used += size;
    }
    return !resp->error;
}

bool lk_resp_empty(const lk_resp *resp) { return !resp->error && resp->taken == resp->used; }
bool lk_resp_no_memory(const lk_resp *resp) { return resp->no_memory; }
const char *lk_resp_error(const lk_resp *resp) { return resp->error ? resp->error : ""; }

/* -------------------------------------------------------------------------------------------------- scanning -- */

enum { NUMBER_MAX = 1 + 20 + 2 }; /* a line of a type, a number and its end */

/* Nothing that the peer wrote is shown. */
static int refuse(lk_resp *resp, const char *error)
{
    resp->error = error;
    return -1;
}
static int not_resp(lk_resp *resp) { return refuse(resp, "its answer is not in the protocol of Redis"); }
static int beyond(lk_resp *resp)
{
    return refuse(resp, "its reply has more parts, or longer lines, than any answer to this library");
}

/* Only a number as Redis writes it, which must fill the line behind its type. */
static bool number(const char *at, const char *end, long long *value)
{
    bool negative = at < end && *at == '-';
    at += negative;
    if (at == end || (*at == '0' && (negative || end - at > 1))) return false;
    unsigned long long sum = 0, most = (unsigned long long)INT64_MAX + negative;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9') return false;
        unsigned digit = (unsigned)(*at - '0');
        if (sum > (most - digit) / 10) return false;
        sum = sum * 10 + digit;
    }
    *value = negative ? (long long)(0 - sum) : (long long)sum;
    return true;
}

/* The element that was scanned last is complete. Returns 1 if the reply is complete too. */
static int element_end(lk_resp *resp)
{
    resp->line = resp->scanned;
    while (resp->depth && !--resp->left[resp->depth - 1]) resp->depth--;
    if (resp->depth) return 0;
    resp->elements = 0;
    return 1;
}

static int array_begins(lk_resp *resp, size_t count)
{
    enum { LEAST = 4 }; /* bytes of an element */
    if (count > LK_RESP_DROPPED_MAX / LEAST || resp->depth == LK_RESP_DEPTH_MAX) return beyond(resp);
    if (count > resp->elements_max - resp->elements) resp->too_large = true;
    if (!resp->too_large) resp->elements += count;
    resp->left[resp->depth++] = count;
    resp->line = resp->scanned;
    return 0;
}

/* A line is there. Returns 1 if it ends a reply. */
static int take_line(lk_resp *resp)
{
    const char *line = resp->bytes + resp->line, *end = resp->bytes + resp->scanned - 2;
    long long value;
    if (end <= line || *end != '\r') return not_resp(resp);
    if (*line == '+' || *line == '-') return element_end(resp);
    if (!number(line + 1, end, &value)) return not_resp(resp);
    if (*line == ':' || value == -1) return element_end(resp);
    if (value < 0) return not_resp(resp);
    if (*line == '*') return value ? array_begins(resp, (size_t)value) : element_end(resp);
    if (value > LK_RESP_DROPPED_MAX) return beyond(resp);
    if (value > LK_RESP_BYTES_MAX) resp->too_large = true;
    resp->body = (size_t)value + 2;
    return 0;
}

static int scan_line(lk_resp *resp)
{
    char type = resp->bytes[resp->line];
    bool text = type == '+' || type == '-';
    if (!text && type != ':' && type != '$' && type != '*') return not_resp(resp); /* RESP3 was not asked for */
    const char *end = memchr(resp->bytes + resp->scanned, '\n', resp->used - resp->scanned);
    resp->scanned = end ? (size_t)(end - resp->bytes) + 1 : resp->used;
    size_t length = resp->scanned - resp->line;
    if (length > (text ? (size_t)LK_RESP_LINE_MAX : (size_t)NUMBER_MAX)) return text ? beyond(resp) : not_resp(resp);
    return end ? take_line(resp) : 0;
}

static int scan_body(lk_resp *resp)
{
    size_t there = resp->used - resp->scanned, step = there < resp->body ? there : resp->body;
    resp->scanned += step;
    resp->body -= step;
    if (resp->body) return 0;
    return memcmp(resp->bytes + resp->scanned - 2, "\r\n", 2) ? not_resp(resp) : element_end(resp);
}

/* What the scanner does not need any more: of a string, all but the two bytes that may be its line end. */
static int drop_scanned(lk_resp *resp)
{
    if (resp->body) resp->line = resp->scanned - 2;
    resp->taken = resp->line;
    resp->dropped += resp->taken;
    drop_taken(resp);
    return resp->dropped > LK_RESP_DROPPED_MAX ? beyond(resp) : 0;
}

static int scan(lk_resp *resp)
{
    int end = 0;
    while (!end && resp->scanned < resp->used) end = resp->body ? scan_body(resp) : scan_line(resp);
    if (!end && resp->used - resp->taken > LK_RESP_BYTES_MAX) resp->too_large = true;
    return !end && resp->too_large ? drop_scanned(resp) : end;
}

/* -------------------------------------------------------------------------------------------------- building -- */

/* Builds one reply, from bytes that were scanned, and moves *at behind it. NULL: no memory. Recursive, at most
 * LK_RESP_DEPTH_MAX deep. */
static lk_reply *build(const char **at, const char *stop)
{
    const char *line = *at + 1, *end = (const char *)memchr(line, '\n', (size_t)(stop - line)) - 1;
    char type = **at;
    long long value = 0;
    *at = end + 2;
    if (type == '+' || type == '-')
        return lk_reply_new(type == '+' ? LK_REPLY_STATUS : LK_REPLY_ERROR, line, (size_t)(end - line));
    number(line, end, &value);
    if (type == ':') {
        lk_reply *reply = lk_reply_new(LK_REPLY_INTEGER, "", 0);
        if (reply) reply->integer = value;
        return reply;
    }
    if (value < 0) return lk_reply_new(LK_REPLY_NIL, "", 0);
    if (type == '$') {
        const char *body = *at;
        *at += value + 2;
        return lk_reply_new(LK_REPLY_STRING, body, (size_t)value);
    }
    lk_reply *reply = lk_reply_new_array((size_t)value);
    for (size_t i = 0; reply && i < reply->count; i++) {
        if ((reply->item[i] = build(at, stop))) continue;
        lk_reply_free(reply);
        reply = NULL;
    }
    return reply;
}

/* An error that errors.c knows, in the place of a reply that was too large. */
static lk_reply *say_too_large(lk_resp *resp)
{
    resp->too_large = false;
    resp->dropped = 0;
    return lk_reply_new(LK_REPLY_ERROR, LK_RESP_TOO_LARGE, sizeof LK_RESP_TOO_LARGE - 1);
}

int lk_resp_next(lk_resp *resp, lk_reply **reply)
{
    *reply = NULL;
    if (resp->error) return -1;
    int end = scan(resp);
    if (end <= 0) return end;
    const char *at = resp->bytes + resp->taken;
    *reply = resp->too_large ? say_too_large(resp) : build(&at, resp->bytes + resp->scanned);
    if (!*reply) {
        out_of_memory(resp);
        return -1;
    }
    resp->taken = resp->scanned;
    if (resp->taken == resp->used) drop_taken(resp);
    return 1;
}

/* ------------------------------------------------------------------------------------------------ formatting -- */

static size_t format(const lk_span *words, size_t count, const char **text, size_t *size, char **bytes)
{
    for (size_t i = 0; i < count; i++) {
        text[i] = words[i].data ? words[i].data : "";
        size[i] = words[i].size;
    }
    long long length = redisFormatCommandArgv(bytes, (int)count, text, size);
    return length > 0 ? (size_t)length : 0;
}

size_t lk_resp_format(const lk_span *words, size_t count, char **bytes)
{
    enum { FEW = 32 };
    const char *few_text[FEW];
    size_t few_size[FEW], length = 0;
    *bytes = NULL;
    if (count <= FEW) return format(words, count, few_text, few_size, bytes);
    const char **text = malloc(count * sizeof *text);
    size_t *size = malloc(count * sizeof *size);
    if (text && size) length = format(words, count, text, size, bytes);
    free(text);
    free(size);
    return length;
}

void lk_resp_format_free(char *bytes, size_t size)
{
    if (!bytes) return;
    lk_wipe(bytes, size);
    redisFreeCommand(bytes);
}

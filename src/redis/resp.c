/* See resp.h. The only file that includes hiredis; builds with 0.14 and with 1.x. */
#include "redis/resp.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#if HIREDIS_MAJOR >= 1
typedef size_t count_type;
#else
typedef int count_type;
#endif

struct lk_resp {
    redisReader *reader;
    size_t since_reply; /* bytes fed since the last whole reply */
    size_t elements;    /* of all arrays of the reply being parsed */
    bool refused;       /* by us, not for want of memory: hiredis calls both out of memory */
    const char *error;
    bool no_memory;
};

static lk_reply *reply_new(enum lk_reply_type type, size_t text_size, const redisReadTask *task)
{
    lk_reply *reply = calloc(1, sizeof *reply + text_size);
    if (!reply) return NULL;
    reply->type = type;
    if (text_size) reply->text = (char *)(reply + 1);
    if (task->parent) ((lk_reply *)task->parent->obj)->item[task->idx] = reply;
    return reply;
}

static void *make_string(const redisReadTask *task, char *text, size_t size)
{
    enum lk_reply_type type = task->type == REDIS_REPLY_ERROR    ? LK_REPLY_ERROR
                              : task->type == REDIS_REPLY_STATUS ? LK_REPLY_STATUS
                                                                 : LK_REPLY_STRING;
    lk_reply *reply = reply_new(type, size + 1, task);
    if (!reply) return NULL;
    memcpy(reply->text, text, size);
    reply->size = size;
    return reply;
}

/* hiredis passes on the count that the peer sent: the limit stands before the allocation. */
static void *make_array(const redisReadTask *task, count_type count)
{
    lk_resp *resp = task->privdata;
    resp->elements += (size_t)count;
    resp->refused = (size_t)count > LK_RESP_ELEMENTS_MAX || resp->elements > LK_RESP_ELEMENTS_MAX;
    if (resp->refused) return NULL;
    lk_reply **item = calloc((size_t)count + 1, sizeof *item);
    lk_reply *reply = item ? reply_new(LK_REPLY_ARRAY, 0, task) : NULL;
    if (!reply) {
        free(item);
        return NULL;
    }
    reply->item = item;
    reply->size = (size_t)count;
    return reply;
}

static void *make_integer(const redisReadTask *task, long long value)
{
    lk_reply *reply = reply_new(LK_REPLY_INTEGER, 0, task);
    if (reply) reply->integer = value;
    return reply;
}

static void *make_nil(const redisReadTask *task) { return reply_new(LK_REPLY_NIL, 0, task); }
static void free_object(void *reply) { lk_reply_free(reply); }

#if HIREDIS_MAJOR >= 1
/* RESP3, which was not asked for: refused, as an allocation that fails. */
static void *refuse(const redisReadTask *task)
{
    ((lk_resp *)task->privdata)->refused = true;
    return NULL;
}
static void *make_double(const redisReadTask *task, double value, char *text, size_t size)
{
    (void)value, (void)text, (void)size;
    return refuse(task);
}
static void *make_bool(const redisReadTask *task, int value)
{
    (void)value;
    return refuse(task);
}
#endif

static redisReplyObjectFunctions functions = {
    .createString = make_string,
    .createArray = make_array,
    .createInteger = make_integer,
    .createNil = make_nil,
    .freeObject = free_object,
#if HIREDIS_MAJOR >= 1
    .createDouble = make_double,
    .createBool = make_bool,
#endif
};

static lk_reply *name_new(const lk_span *name)
{
    lk_reply *reply = calloc(1, sizeof *reply + name->size + 1);
    if (!reply) return NULL;
    reply->type = LK_REPLY_STRING;
    reply->text = memcpy(reply + 1, name->data, name->size);
    reply->size = name->size;
    return reply;
}

bool lk_reply_pair(lk_reply *values, const lk_span *names, size_t count)
{
    if (values->type != LK_REPLY_ARRAY || values->size != count) return true;
    lk_reply **item = calloc(2 * count + 1, sizeof *item);
    size_t used = 0;
    bool enough = item != NULL;
    for (size_t i = 0; i < count && enough; i++) {
        if (values->item[i]->type == LK_REPLY_NIL) continue;
        enough = (item[used] = name_new(&names[i])) != NULL;
        if (!enough) break;
        item[used + 1] = values->item[i];
        used += 2;
    }
    if (!enough) {
        for (size_t i = 0; i < used; i += 2) lk_reply_free(item[i]);
        free(item);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        if (values->item[i]->type == LK_REPLY_NIL) lk_reply_free(values->item[i]);
    free(values->item);
    values->item = item;
    values->size = used;
    return true;
}

void lk_reply_free(lk_reply *reply)
{
    if (!reply) return;
    if (reply->type == LK_REPLY_ARRAY) {
        for (size_t i = 0; i < reply->size; i++) lk_reply_free(reply->item[i]);
        free(reply->item);
    }
    if (reply->text) lk_wipe(reply->text, reply->size);
    free(reply);
}

bool lk_reply_is(const lk_reply *reply, const char *text)
{
    return reply && (reply->type == LK_REPLY_STATUS || reply->type == LK_REPLY_STRING) && reply->size == strlen(text) &&
           memcmp(reply->text, text, reply->size) == 0;
}

lk_resp *lk_resp_open(void)
{
    lk_resp *resp = calloc(1, sizeof *resp);
    if (!resp) return NULL;
    resp->reader = redisReaderCreateWithFunctions(&functions);
    if (!resp->reader) {
        free(resp);
        return NULL;
    }
    resp->reader->privdata = resp;
    return resp;
}

void lk_resp_close(lk_resp *resp)
{
    if (!resp) return;
    redisReaderFree(resp->reader);
    free(resp);
}

static void out_of_memory(lk_resp *resp)
{
    resp->error = "no memory for a reply";
    resp->no_memory = true;
}

bool lk_resp_feed(lk_resp *resp, const char *bytes, size_t size)
{
    if (resp->error) return false;
    resp->since_reply += size;
    if (resp->since_reply > LK_RESP_BYTES_MAX) resp->error = "a reply larger than any that was asked for";
    else if (redisReaderFeed(resp->reader, bytes, size) != REDIS_OK) out_of_memory(resp);
    return !resp->error;
}

bool lk_resp_empty(const lk_resp *resp)
{
    const redisReader *r = resp->reader;
    return !resp->error && r->pos == r->len && r->ridx == -1; /* nothing left over, nothing half parsed */
}

int lk_resp_next(lk_resp *resp, lk_reply **reply)
{
    void *object = NULL;
    *reply = NULL;
    if (resp->error) return -1;
    if (lk_resp_empty(resp)) return 0; /* hiredis would take the next reply for begun */
    if (redisReaderGetReply(resp->reader, &object) != REDIS_OK) {
        /* Not hiredis' own words: they show the bytes that the peer sent. */
        if (resp->refused) resp->error = "a reply beyond the limits";
        else if (resp->reader->err == REDIS_ERR_OOM) out_of_memory(resp);
        else resp->error = "what it answers is not Redis' protocol";
        return -1;
    }
    if (!object) return 0;
    resp->since_reply = resp->reader->len - resp->reader->pos;
    resp->elements = 0;
    *reply = object;
    return 1;
}

bool lk_resp_no_memory(const lk_resp *resp) { return resp->no_memory; }
const char *lk_resp_error(const lk_resp *resp) { return resp->error ? resp->error : ""; }

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

/* See reply.h. */
#include "redis/reply.h"

#include <stdlib.h>
#include <string.h>

lk_reply *lk_reply_new(enum lk_reply_type type, const char *text, size_t size)
{
    lk_reply *reply = calloc(1, sizeof *reply + size + 1);
    if (!reply) return NULL;
    reply->type = type;
    reply->text = (char *)(reply + 1);
    reply->size = size;
    if (text && size) memcpy(reply->text, text, size);
    return reply;
}

lk_reply *lk_reply_new_array(size_t count)
{
    lk_reply *reply = lk_reply_new(LK_REPLY_ARRAY, NULL, count);
    if (!reply) return NULL;
    reply->item = calloc(count + 1, sizeof *reply->item);
    reply->count = count;
    if (reply->item) return reply;
    free(reply);
    return NULL;
}

/* Recursive: as deep as a reply may be (LK_RESP_DEPTH_MAX). */
void lk_reply_free(lk_reply *reply)
{
    if (!reply) return;
    for (size_t i = 0; i < reply->count; i++) lk_reply_free(reply->item[i]);
    free(reply->item);
    lk_wipe(reply->text, reply->size);
    free(reply);
}

const lk_reply *lk_reply_at(const lk_reply *reply, size_t i)
{
    static char empty[1];
    static const lk_reply none = {.type = LK_REPLY_NIL, .text = empty};
    return i < reply->count ? reply->item[i] : &none;
}

static bool is_of(const lk_reply *reply, char letter)
{
    switch (letter) {
    case 'i': return reply->type == LK_REPLY_INTEGER;
    case 's': return reply->type == LK_REPLY_STRING;
    case 'a': return reply->type == LK_REPLY_ARRAY;
    default: return letter == '*';
    }
}

bool lk_reply_shaped(const lk_reply *reply, const char *shape)
{
    size_t head = strcspn(shape, "("), row = shape[head] ? strcspn(shape + head + 1, ")") : 0;
    if (reply->type != LK_REPLY_ARRAY || reply->count < head) return false;
    if (row ? (reply->count - head) % row != 0 : reply->count != head) return false;
    for (size_t i = 0; i < reply->count; i++)
        if (!is_of(reply->item[i], i < head ? shape[i] : shape[head + 1 + (i - head) % row])) return false;
    return true;
}

bool lk_reply_is(const lk_reply *reply, const char *text)
{
    return reply && (reply->type == LK_REPLY_STATUS || reply->type == LK_REPLY_STRING) && reply->size == strlen(text) &&
           memcmp(reply->text, text, reply->size) == 0;
}

bool lk_reply_pair(lk_reply *values, const lk_span *names, size_t count)
{
    if (values->type != LK_REPLY_ARRAY || values->count != count) return true;
    lk_reply **item = calloc(2 * count + 1, sizeof *item);
    size_t used = 0;
    bool enough = item != NULL;
    for (size_t i = 0; i < count && enough; i++) {
        if (values->item[i]->type == LK_REPLY_NIL) continue;
        enough = (item[used] = lk_reply_new(LK_REPLY_STRING, names[i].data, names[i].size)) != NULL;
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
    values->count = used;
    return true;
}

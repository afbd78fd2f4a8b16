/* See conn.h. */
#include "redis/conn.h"

#include <stdlib.h>
#include <string.h>

enum { OUT_KEPT = 64 * 1024 }; /* a larger buffer is freed once it is written */

bool lk_conn_open(lk_conn *conn)
{
    memset(conn, 0, sizeof *conn);
    conn->resp = lk_resp_open();
    conn->tag = calloc(LK_CONN_WAITING_MAX, sizeof *conn->tag);
    if (conn->resp && conn->tag) return true;
    lk_conn_close(conn);
    return false;
}

void lk_conn_close(lk_conn *conn)
{
    lk_resp_close(conn->resp);
    free(conn->tag);
    if (conn->out) lk_wipe(conn->out, conn->size); /* the password went through it */
    free(conn->out);
    memset(conn, 0, sizeof *conn);
}

static bool reserve_call(lk_conn *conn, size_t more)
{
    if (conn->used + more <= conn->size) return true;
    size_t size = conn->size ? conn->size : 1024;
    while (size < conn->used + more) size *= 2;
    char *out = malloc(size); /* not realloc: it would leave the old bytes behind unwiped */
    if (!out) return false;
    if (conn->out) {
        memcpy(out, conn->out, conn->used);
        lk_wipe(conn->out, conn->size);
        free(conn->out);
    }
    conn->out = out;
    conn->size = size;
    return true;
}

bool lk_conn_send(lk_conn *conn, uint32_t tag, const lk_span *words, size_t count)
{
    if (conn->waiting == LK_CONN_WAITING_MAX) return false;
    char *bytes;
    size_t size = lk_resp_format(words, count, &bytes);
    if (!size) return false;
    bool kept = reserve_call(conn, size);
    if (kept) {
        memcpy(conn->out + conn->used, bytes, size);
        conn->used += size;
        if (!conn->pushes) conn->tag[(conn->first + conn->waiting++) % LK_CONN_WAITING_MAX] = tag;
    }
    lk_resp_format_free(bytes, size);
    return kept;
}

void lk_conn_wrote(lk_conn *conn, size_t size)
{
    conn->sent += size;
    if (conn->sent < conn->used) return;
    lk_wipe(conn->out, conn->used);
    conn->sent = conn->used = 0;
    if (conn->size <= OUT_KEPT) return;
    free(conn->out);
    conn->out = NULL;
    conn->size = 0;
}

bool lk_conn_feed(lk_conn *conn, const char *bytes, size_t size) { return lk_resp_feed(conn->resp, bytes, size); }

int lk_conn_next(lk_conn *conn, lk_reply **reply)
{
    int got = lk_resp_next(conn->resp, reply);
    if (got <= 0 || conn->pushes) return got;
    if (!conn->waiting) {
        lk_reply_free(*reply);
        *reply = NULL;
        return -1;
    }
    (*reply)->tag = conn->tag[conn->first];
    conn->first = (conn->first + 1) % LK_CONN_WAITING_MAX;
    conn->waiting--;
    return 1;
}

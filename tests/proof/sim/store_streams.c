/* SPDX-License-Identifier: MIT
 *
 * The store's commands on streams. Redis keeps entries in nodes of up to 100 and lets go of whole ones where the limit is
 * said to be about (~). It also ends a node at 4096 bytes; that is not modelled.
 */
#include "keyspace.h"

#include <string.h>

enum { NODE_ENTRIES = 100 };

typedef struct stream_id {
    int64_t ms, seq;
} stream_id;

static bool later(stream_id a, stream_id b) { return a.ms != b.ms ? a.ms > b.ms : a.seq > b.seq; }

/* "5-1", or "5" with that second part. */
static bool word_id(const char *text, int64_t seq, stream_id *out)
{
    const char *dash = strchr(text, '-');
    char first[NUMBER_ROOM] = "";
    size_t size = dash ? (size_t)(dash - text) : strlen(text);
    if (!size || size >= sizeof first) return false;
    memcpy(first, text, size);
    out->seq = seq;
    return word_integer((word){first, size}, &out->ms) && out->ms >= 0 &&
           (!dash || (word_integer((word){dash + 1, strlen(dash + 1)}, &out->seq) && out->seq >= 0));
}

static int64_t keep_most;

void store_streams_keep(int64_t most) { keep_most = most; }

static void trim(object *o, int64_t most, bool about)
{
    if (keep_most && keep_most < most) most = keep_most, about = false;
    while ((int64_t)o->count > most) {
        size_t node = NODE_ENTRIES - o->trimmed % NODE_ENTRIES, over = o->count - (size_t)most;
        if (about && over < node) return;
        size_t gone = about ? node : over;
        remove_items(o, 0, gone);
        o->trimmed += gone;
    }
}

/* XADD key [NOMKSTREAM] [MAXLEN [~ | =] most] id field value ... */
static void run_xadd(run *r)
{
    object *o;
    bool only_if_there = false, about = false;
    int64_t most = -1;
    size_t i = 2;
    for (; i < r->count; i++) {
        if (word_is(r->words[i], "NOMKSTREAM")) only_if_there = true;
        else if (word_is(r->words[i], "MAXLEN") && i + 2 < r->count) {
            about = word_is(r->words[i + 1], "~");
            i += about || word_is(r->words[i + 1], "=");
            if (!take_integer(r, r->words[++i], &most)) return;
        } else break;
    }
    if (i + 3 > r->count || (r->count - i) % 2 == 0) {
        reply_error(r, "ERR wrong number of arguments for 'xadd' command");
        return;
    }
    if (!get(r, r->words[1], A_STREAM, &o)) return;
    stream_id id, last = {o ? o->last_ms : 0, o ? o->last_seq : 0};
    if (word_is(r->words[i], "*")) {
        id = (stream_id){r->now_ms, 0};
        if (!later(id, last)) id = (stream_id){last.ms, last.seq + 1};
    } else if (!word_id(r->words[i].text, 0, &id)) {
        reply_error(r, "ERR Invalid stream ID specified as stream command argument");
        return;
    }
    if (!later(id, last)) {
        reply_error(r, "ERR The ID specified in XADD is equal or smaller than the target stream top item");
        return;
    }
    if (!o && only_if_there) {
        reply_nil(r);
        return;
    }
    buffer fields = {0};
    buffer_header(&fields, '*', (int64_t)(r->count - i - 1));
    for (size_t n = i + 1; n < r->count; n++) buffer_bulk(&fields, r->words[n].text, r->words[n].size);
    o = get_or_make(r, o, r->words[1], A_STREAM);
    *insert_item(o, o->count) = (item){.ms = id.ms, .seq = id.seq, .value = fields.bytes, .value_size = fields.size};
    o->last_ms = id.ms;
    o->last_seq = id.seq;
    if (most >= 0) trim(o, most, about);
    wrote(r, o);
    char text[2 * NUMBER_ROOM];
    size_t size = number_print(text, id.ms);
    text[size++] = '-';
    size += number_print(text + size, id.seq);
    reply_bulk(r, text, size);
}

static void run_xlen(run *r)
{
    object *o;
    if (get(r, r->words[1], A_STREAM, &o)) reply_integer(r, o ? (int64_t)o->count : 0);
}

static bool take_id(run *r, word w, bool end, stream_id *out)
{
    bool apart = *w.text == '(';
    if (word_is(w, "-")) *out = (stream_id){0, 0};
    else if (word_is(w, "+")) *out = (stream_id){INT64_MAX, INT64_MAX};
    else if (!word_id(w.text + apart, end ? INT64_MAX : 0, out)) {
        reply_error(r, "ERR Invalid stream ID specified as stream command argument");
        return false;
    }
    if (apart) out->seq += end ? -1 : 1;
    return true;
}

static void reply_entry(run *r, const item *i)
{
    char text[2 * NUMBER_ROOM];
    size_t size = number_print(text, i->ms);
    text[size++] = '-';
    size += number_print(text + size, i->seq);
    reply_array(r, 2);
    reply_bulk(r, text, size);
    reply_raw(r, i->value, i->value_size);
}

static void reply_range(run *r, bool backwards)
{
    object *o;
    stream_id from, to;
    int64_t most = INT64_MAX;
    if (!take_id(r, r->words[backwards ? 3 : 2], false, &from) || !take_id(r, r->words[backwards ? 2 : 3], true, &to))
        return;
    if (r->count == 6 && word_is(r->words[4], "COUNT")) {
        if (!take_integer(r, r->words[5], &most)) return;
    } else if (r->count != 4) {
        no_syntax(r);
        return;
    }
    if (!get(r, r->words[1], A_STREAM, &o)) return;
    size_t first = 0, end = 0;
    while (o && first < o->count && later(from, (stream_id){o->item[first].ms, o->item[first].seq})) first++;
    for (end = first; o && end < o->count; end++)
        if (later((stream_id){o->item[end].ms, o->item[end].seq}, to)) break;
    size_t count = end - first;
    if (most < 0) most = 0;
    if ((int64_t)count > most) count = (size_t)most;
    reply_array(r, count);
    for (size_t i = 0; i < count; i++) reply_entry(r, &o->item[backwards ? end - 1 - i : first + i]);
}
static void run_xrange(run *r) { reply_range(r, false); }
static void run_xrevrange(run *r) { reply_range(r, true); }

/* XTRIM key MAXLEN [~ | =] most */
static void run_xtrim(run *r)
{
    object *o;
    int64_t most;
    bool about = word_is(r->words[3], "~");
    size_t i = 3 + (about || word_is(r->words[3], "="));
    if (!word_is(r->words[2], "MAXLEN") || i + 1 != r->count) {
        no_syntax(r);
        return;
    }
    if (!take_integer(r, r->words[i], &most) || !get(r, r->words[1], A_STREAM, &o)) return;
    size_t before = o ? o->count : 0;
    if (o) trim(o, most, about);
    if (o && o->count < before) wrote(r, o);
    reply_integer(r, o ? (int64_t)(before - o->count) : 0);
}

const command stream_commands[] = {{"XADD", run_xadd, 5, 0, true},      {"XLEN", run_xlen, 2, 2, false},
                                   {"XRANGE", run_xrange, 4, 6, false}, {"XREVRANGE", run_xrevrange, 4, 6, false},
                                   {"XTRIM", run_xtrim, 4, 5, true},    {0}};

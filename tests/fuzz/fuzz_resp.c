/* SPDX-License-Identifier: MIT
 *
 * Bytes from a server, fed in pieces. Input: how many replies are awaited, a seed for the sizes of the pieces, the bytes.
 *
 * Properties: the pieces do not matter; replies are within the limits and carry the tags in the order of the commands;
 * what is unasked or no RESP is an error that stays one; no more memory is taken than the limits allow, whatever counts
 * and sizes the peer names; nothing leaks (LeakSanitizer).
 */
#include "fuzz.h"
#include "redis/conn.h"
#include "base/hash.h"

#include <sanitizer/allocator_interface.h>

/* What one connection may take: the elements of one reply, what its bytes stand for, and itself. */
enum { DEPTH_MAX = LK_RESP_DEPTH_MAX, ITSELF = 64 * 1024, FOR_EACH_BYTE = 64 };

static bool watching;
static size_t taken, taken_most; /* in all: what was given back meanwhile counts as well */

static void on_malloc(const volatile void *at, size_t size)
{
    (void)at;
    if (!watching) return;
    taken += size;
    HOLDS(taken <= taken_most);
}

static void on_free(const volatile void *at) { (void)at; }

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    HOLDS(__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free));
    return !lk_crypto_init();
}

/* What came out, in one number, and its elements counted. */
static uint64_t sum_of(const lk_reply *r, size_t *elements, unsigned depth)
{
    uint64_t sum = lk_hash(&r->type, sizeof r->type, depth);
    HOLDS(depth <= DEPTH_MAX);
    if (r->type == LK_REPLY_INTEGER) return lk_hash(&r->integer, sizeof r->integer, sum);
    if (r->type == LK_REPLY_NIL) return sum;
    if (r->type != LK_REPLY_ARRAY) {
        HOLDS(r->text && r->text[r->size] == 0);
        return lk_hash(r->text, r->size, sum);
    }
    *elements += r->size;
    for (size_t i = 0; i < r->size; i++) {
        HOLDS(r->item[i]);
        uint64_t next = sum_of(r->item[i], elements, depth + 1);
        sum = lk_hash(&next, sizeof next, sum);
    }
    return sum;
}

typedef struct outcome {
    uint64_t sum;
    unsigned replies;
    bool failed;
    char error[80];
} outcome;

static void take_replies(lk_conn *conn, outcome *o, unsigned asked)
{
    lk_reply *reply = NULL;
    int got;
    while ((got = lk_conn_next(conn, &reply)) > 0) {
        size_t elements = 0;
        uint64_t sum = sum_of(reply, &elements, 0);
        HOLDS(elements <= LK_RESP_ELEMENTS_MAX);
        HOLDS(reply->tag == o->replies + 1 && o->replies < asked);
        o->sum = lk_hash(&sum, sizeof sum, o->sum);
        o->replies++;
        lk_reply_free(reply);
    }
    HOLDS(!reply);
    if (got == 0) return;
    o->failed = true;
    snprintf(o->error, sizeof o->error, "%s", lk_resp_error(conn->resp));
    if (o->error[0]) HOLDS(lk_conn_next(conn, &reply) == -1 && !lk_conn_feed(conn, "+OK\r\n", 5));
}

/* Mostly tiny pieces, now and then a large one; with seed 0 all at once. */
static size_t next_piece(uint64_t *seed, size_t left)
{
    if (!*seed) return left;
    *seed = lk_hash(seed, sizeof *seed, 1) | 1;
    size_t piece = 1 + (size_t)((*seed >> 8) % (*seed & 64 ? 300 : 4));
    return piece < left ? piece : left;
}

static outcome feed(const uint8_t *data, size_t size, unsigned asked, uint64_t seed)
{
    outcome o = {0};
    lk_conn conn;
    const char *bytes;
    taken = 0;
    taken_most = LK_RESP_ELEMENTS_MAX * sizeof(void *) + ITSELF + FOR_EACH_BYTE * size;
    watching = true;
    HOLDS(lk_conn_open(&conn));
    for (uint32_t i = 1; i <= asked; i++) HOLDS(lk_conn_send(&conn, i, (lk_span[]){{"PING", 4}}, 1));
    lk_conn_wrote(&conn, lk_conn_unsent(&conn, &bytes));
    while (size && !o.failed) {
        size_t piece = next_piece(&seed, size);
        char *exact = malloc(piece);
        if (!exact) abort();
        memcpy(exact, data, piece);
        HOLDS(lk_conn_feed(&conn, exact, piece));
        free(exact);
        take_replies(&conn, &o, asked);
        data += piece;
        size -= piece;
    }
    HOLDS(o.failed || !lk_conn_quiet(&conn) || o.replies == asked);
    lk_conn_close(&conn);
    watching = false;
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    unsigned asked = fuzz_byte(&in) % 32;
    uint64_t seed = fuzz_byte(&in) + 1u;
    outcome pieces = feed(in.at, in.left, asked, seed), whole = feed(in.at, in.left, asked, 0);
    HOLDS(pieces.sum == whole.sum && pieces.replies == whole.replies && pieces.failed == whole.failed);
    HOLDS(strcmp(pieces.error, whole.error) == 0);
    return 0;
}

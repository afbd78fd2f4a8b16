/* SPDX-License-Identifier: MIT
 *
 * The link (subscription messages, replies to beats, the handshake) against the small Redis of tests/unit/l2/redis_model.h.
 * Input: a byte of choices, then steps: the server's bytes arrive in pieces, time passes, sessions are revoked, messages
 * and nonces get lost, connections break, jobs come; and the server lies: any bytes at all, as a message, as the reply to
 * a command, or raw.
 *
 * Properties, whatever was done:
 *   - what is purged is a well-formed selector
 *   - a lease is as of the time at which its beat was sent, and the beat's nonce came back through the subscription
 *   - before the first lease of a server that is another one L1 was emptied
 *   - while the server does not lie: every session revoked before the beat was sent was purged, or L1 emptied, before
 *     the lease (guarantee C), however many messages were lost; so was the end of all sessions, by its cut-off
 *   - no lease while L1 has yet to be emptied for an epoch
 */
#include "fuzz.h"
#include "redis_model.h"

#include <ctype.h>
#include <inttypes.h>

#define UNASKED "*3\r\n$12\r\nsunsubscribe\r\n$10\r\nlk:{1}:rev\r\n:2\r\n"

enum { STEPS_MAX = 200, HEARD_MAX = 128 * 1024, OPEN_MAX = 256, PIECE_MAX = 255 };

static struct watch {
    redis_model *m;
    bool honest, emptied;
    char replication[24];
    unsigned servers;
    char nonce[17];
    int64_t beat_ms; /* when the nonce was published, or -1 */
    char heard[HEARD_MAX];
    size_t heard_size; /* bytes of the subscription since then */
    struct {
        char letter;
        bool before_beat;
    } open[OPEN_MAX]; /* revocations that L1 has not been told of */
    size_t open_count;
    int64_t ended[MODEL_PARTITIONS_MAX]; /* by partition: the epoch as of the beat */
    char *answer;
} w;

/* ------------------------------------------------------------------------------ what the link told its host -- */

static void purged(const char *selector, size_t size)
{
    HOLDS(size == LATCHKEY_SELECTOR_LENGTH);
    for (size_t i = 0; i < size; i++) HOLDS(isalnum((unsigned char)selector[i]) || strchr("-_", selector[i]));
    size_t kept = 0;
    for (size_t i = 0; i < w.open_count; i++) {
        bool same = true;
        for (size_t k = 0; k < size; k++) same &= selector[k] == w.open[i].letter;
        if (!same) w.open[kept++] = w.open[i];
    }
    w.open_count = kept;
}

/* Leading zeros may have been left out, and case does not matter: it is read as a number. */
static bool nonce_was_heard(void)
{
    const char *digits = w.nonce + strspn(w.nonce, "0");
    size_t size = strlen(digits);
    for (size_t i = 0; i + size <= w.heard_size; i++)
        if (strncasecmp(w.heard + i, digits, size) == 0) return true;
    return false;
}

static void leased(int64_t sent_ms)
{
    HOLDS(w.beat_ms >= 0 && sent_ms == w.beat_ms && sent_ms <= model_ms(w.m));
    HOLDS(nonce_was_heard());
    HOLDS(!w.m->link.everyone);
    if (w.m->config.cluster) { /* what belongs to which partition: test_link_moves.c */
        w.beat_ms = -1;
        return;
    }
    HOLDS(w.emptied);
    for (unsigned p = 0; p < (unsigned)w.m->config.partitions && w.honest; p++)
        HOLDS(lk_cutoffs_known(w.m->link.cutoffs, p) >= w.ended[p]);
    for (size_t i = 0; i < w.open_count && w.honest; i++) HOLDS(!w.open[i].before_beat);
    w.beat_ms = -1; /* a lease each */
}

static void beat_was_sent(const char *words)
{
    char channel[80];
    if (sscanf(words, "%79s %16s", channel, w.nonce) != 2 || !strstr(channel, ":beat:")) return;
    w.beat_ms = model_ms(w.m);
    w.heard_size = 0;
    for (unsigned p = 0; p < MODEL_PARTITIONS_MAX; p++) w.ended[p] = w.m->epoch[p] ? atoll(w.m->epoch[p]) : 0;
    for (size_t i = 0; i < w.open_count; i++) w.open[i].before_beat = true;
}

/* Reads the log of the step: see redis_model.h. */
static void look(void)
{
    for (char *line = w.m->log, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        HOLDS(end);
        *end = 0;
        if (strncmp(line, "= purge ", 8) == 0) purged(line + 8, strlen(line + 8));
        else if (strcmp(line, "= empty") == 0) {
            w.emptied = true;
            w.open_count = 0;
        } else if (strcmp(line, "= everyone") == 0) w.open_count = 0;
        else if (strncmp(line, "= lease ", 8) == 0) leased(strtoll(line + 8, NULL, 10));
        else if (strncmp(line, "0 PUBLISH ", 10) == 0) beat_was_sent(line + 10);
        else if (strncmp(line, "0 SPUBLISH ", 11) == 0) beat_was_sent(line + 11);
    }
    model_clear(w.m);
}

/* ------------------------------------------------------------------------------------------------ the wire -- */

static bool alive(void) { return w.m->link.state > LK_LINK_CONNECTING; }

static void serve(void)
{
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) model_serve(w.m, i);
    look();
}

static void feed(int which, const char *bytes, size_t size)
{
    if (!alive() || !size) return;
    if (which == LK_LINK_SUBSCRIPTION) {
        HOLDS(w.heard_size + size <= HEARD_MAX);
        memcpy(w.heard + w.heard_size, bytes, size);
        w.heard_size += size;
    }
    char *exact = unit_copy(bytes, size);
    bool fed = lk_conn_feed(&w.m->link.conn[which], exact, size);
    free(exact);
    if (fed) lk_link_fed(&w.m->link, which, w.m->now_us);
    else lk_link_lost(&w.m->link, model_ms(w.m), LATCHKEY_UNAVAILABLE, "not taken");
    model_tick(w.m, 0); /* and where it is DOWN, the server hears of it */
    serve();
}

static void deliver(int which, size_t most)
{
    static char bytes[MODEL_BUFFER];
    model_side *side = &w.m->side[which];
    size_t size = side->used < most ? side->used : most;
    memcpy(bytes, side->replies, size);
    memmove(side->replies, side->replies + size, side->used - size);
    side->used -= size;
    feed(which, bytes, size);
}

static void answer_with(const char *command, char *answer)
{
    free(w.answer);
    w.answer = answer;
    w.m->command = command;
    w.m->answer = answer;
}

/* A new connection. If to another server, whatever was lied by the last one is of no account, since L1 is emptied after the
 * first beat; else what was believed goes on being believed. */
static void reconnect(bool another)
{
    lk_link_lost(&w.m->link, model_ms(w.m), LATCHKEY_UNAVAILABLE, "cut");
    look();
    answer_with(NULL, NULL);
    if (another) {
        /* Never one that was there before: to that L1 may rightly be kept. */
        snprintf(w.replication, sizeof w.replication, "replid-%u", 2 + w.servers++);
        w.m->replication = w.replication;
        w.honest = true;
        w.emptied = false;
    }
    model_connect(w.m);
    w.beat_ms = -1;
    w.m->recorded[0] = 0;
    serve();
}

/* ---------------------------------------------------------------------------------------------------- steps -- */

static char *piece(fuzz_input *in, size_t *size) { return fuzz_text(in, fuzz_byte(in), size); }

static void revoke(fuzz_input *in)
{
    uint8_t choice = fuzz_byte(in);
    char selector[LATCHKEY_SELECTOR_LENGTH + 1], letter = (char)('A' + choice % 26);
    if (w.open_count == OPEN_MAX) return;
    memset(selector, letter, sizeof selector - 1);
    selector[sizeof selector - 1] = 0;
    w.open[w.open_count].letter = letter;
    w.open[w.open_count++].before_beat = false;
    model_revoke(w.m, choice % (unsigned)w.m->config.partitions, selector);
}

/* All sessions of a partition; or its cut-off is lost, and is told again. */
static void end_everyone(fuzz_input *in)
{
    uint8_t choice = fuzz_byte(in);
    unsigned p = choice % (unsigned)w.m->config.partitions;
    w.m->forgetful = true;
    if (choice & 128) w.m->epoch[p] = NULL;
    else model_end_everyone(w.m, p, model_ms(w.m) + choice);
}

static void job(fuzz_input *in)
{
    uint8_t choice = fuzz_byte(in);
    if (w.m->job_count == MODEL_JOBS_MAX) return;
    /* A revocation counts in the model when its script runs, as a revocation of the letter 'h' or 't'. */
    model_job(w.m, choice & 1 ? LK_JOB_REVOKE : LK_JOB_TOUCH, choice % (unsigned)w.m->config.partitions,
              choice & 2 ? "hhhhhhhhhhhhhhhhhhhh" : "tttttttttttttttttttt");
}

/* In a cluster: a slot is elsewhere, moves, or is here again; a subscription ends unasked; or other partitions are
 * served. */
static void move_slot(fuzz_input *in)
{
    static const char *const answers[] = {NULL, "MOVED 5 other:1", "ASK 5 other:1", "TRYAGAIN x"};
    static const char *const only[] = {NULL, "}:q", "}:e", "}:r"};
    static const unsigned all[] = {0, 1, 2};
    uint8_t choice = fuzz_byte(in);
    if (!w.m->config.cluster) return;
    if (choice & 128) {
        lk_link_moved(&w.m->link, model_ms(w.m), "others");
        lk_link_serve(&w.m->link, (lk_partitions){all, choice % 3u + 1});
        reconnect(false);
        return;
    }
    if (choice & 64 && w.m->link.state == LK_LINK_UP) feed(LK_LINK_SUBSCRIPTION, UNASKED, sizeof UNASKED - 1);
    w.m->elsewhere[choice % 3u] = answers[choice >> 2 & 3];
    w.m->only = only[choice >> 4 & 3];
}

static void lie(fuzz_input *in, int kind)
{
    static const char *const commands[] = {"MGET", "TIME",     "ROLE",       "PUBLISH", "INFO",   "HSETNX",
                                           "HGET", "AUTH",     "EVAL",       "EVALSHA", "SELECT", "SUBSCRIBE",
                                           "GET",  "SPUBLISH", "SSUBSCRIBE", "EXISTS"};
    char channel[64];
    uint8_t choice = fuzz_byte(in);
    size_t size;
    char *text = piece(in, &size);
    w.honest = false;
    if (kind == 0) feed(choice & 1, text, size);
    else if (kind == 1) {
        snprintf(channel, sizeof channel, "lk:{%d}:rev", choice % 5 - 1);
        model_publish(w.m, choice & 64 ? text : channel, text);
    } else if (kind == 2) model_publish(w.m, w.m->link.heartbeat, text);
    else {
        answer_with(commands[choice % UNIT_COUNT(commands)], text);
        return; /* the text is kept */
    }
    free(text);
}

static void step(fuzz_input *in)
{
    uint8_t what = fuzz_byte(in);
    int which = what >> 7;
    switch (what % 16) {
    case 0: deliver(which, SIZE_MAX); break;
    case 1: deliver(which, 1u + fuzz_byte(in)); break;
    case 2: model_tick(w.m, fuzz_byte(in)); break;
    case 3: model_tick(w.m, fuzz_byte(in) * 64); break;
    case 4:
        if (alive() && model_beat_due(w.m) > 0) model_tick(w.m, model_beat_due(w.m));
        break;
    case 5: revoke(in); break;
    case 6: end_everyone(in); break;
    case 7:
        if (what & 64) move_slot(in);
        else w.m->lose_messages = what >> 4;
        break;
    case 8: w.m->lose_nonces = which; break;
    case 9: job(in); break;
    case 10: reconnect(what & 64); break;
    case 11: w.m->run_id[which] = what & 64 ? "run-2" : "run-1"; break;
    case 12: lie(in, 0); break;
    case 13: lie(in, 1); break;
    case 14: lie(in, 2); break;
    case 15: lie(in, 3); break;
    }
    serve();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return !lk_crypto_init();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const options[] = {"h?partitions=1", "h?partitions=2&staleness_ms=400", "h/3?partitions=3",
                                          ":secret@h?partitions=2&deadline_ms=1"};
    fuzz_input in = {data, size};
    uint8_t choices = fuzz_byte(&in);
    memset(&w, 0, sizeof w);
    w.m = model_open(choices & 8 ? "redis+cluster://h:1?partitions=3&staleness_ms=400" : options[choices & 3], 7);
    reconnect(true);
    if (choices & 4) { /* the handshake is done; else it is the input's to let it happen */
        for (int i = 0; i < 8; i++) {
            deliver(LK_LINK_COMMANDS, SIZE_MAX);
            deliver(LK_LINK_SUBSCRIPTION, SIZE_MAX);
        }
        HOLDS(w.m->link.state == LK_LINK_UP && w.m->leases == 1);
    }
    for (int i = 0; i < STEPS_MAX && in.left; i++) step(&in);
    answer_with(NULL, NULL);
    model_close(w.m);
    return 0;
}

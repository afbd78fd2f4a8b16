/* latchkey import: sessions of another store, as lines of JSON, move in. See import.h, and latchkey_import.
 *
 *   reading (this thread) --> chunks, in order --> threads: a line, latchkey_import, a line ... --> counts
 *                                  |                                                    chunk done
 *                                  +-- all chunks from the beginning that are done: the state, saved once a second
 *
 * A session that has moved in already is left alone. So a run that was interrupted is simply run again: with --state
 * from the point up to which all lines are done, without it from the beginning.
 *
 * Lock: importer.lock, held for a few operations on the list and the counts; nothing is asked of Redis under it. */
#include "cli/import/import.h"

#include "base/clock.h"
#include "base/hash.h"
#include "session/draft.h"
#include "session/server_time.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    THREADS_MOST = 64,
    AHEAD = 4,
    PAUSE_MS = 100,
    STOP_INTERRUPTED = -1,
    STOP_CUT = -2,
    STOP_LOST = -3,
    STOP_SERVER = -4
};

static bool wants_progress, wants_end;
static uint64_t threads = 16, patience_s = 60;
static const char *state_path;
static volatile sig_atomic_t interrupted;

typedef struct importer {
    const cli *c;
    latchkey *lk;
    import_reader reader;
    uint64_t first_line, began_at;      /* where this run begins */
    uint64_t server[LK_PARTITIONS_MAX]; /* that had the lease of each partition then */
    int64_t began_us, said_us;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* guarded by lock: */
    /* a list, in the file's order; free_to_take is the first chunk that no thread has taken */
    import_chunk *oldest, *newest, *free_to_take;
    unsigned chunks;
    bool ended; /* no more chunks will come */
    import_state dealt_with;
    import_tally tally;
    /* The first reason to stop. Sequentially consistent, the default: a weaker order would gain nothing here. */
    _Atomic int stop; /* an enum cli_exit, or one of the values below */
} importer;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

static void stop(importer *m, int why)
{
    int none = 0;
    atomic_compare_exchange_strong(&m->stop, &none, why);
}

/* ------------------------------------------------------------------------------------------------ the threads -- */

/* Tries until there is an answer, or until patience_s has passed. */
static int move_session_in(importer *m, const import_session *s, enum lk_import_refusal *why)
{
    int64_t until_ms = lk_now_ms() + (int64_t)patience_s * 1000;
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    for (;;) {
        int status = lk_import(m->lk, s->token, s->token_size, &s->draft, s->created_at_ms, s->expires_at_ms, why);
        if (status != LATCHKEY_UNAVAILABLE) return status;
        if (lk_now_ms() >= until_ms) stop(m, CLI_AWAY);
        if (atomic_load(&m->stop)) return status;
        nanosleep(&pause, NULL);
    }
}

static enum import_reason reason_of(int status)
{
    return status == LATCHKEY_REFUSED        ? IMPORT_NAME
           : status == LATCHKEY_BAD_ARGUMENT ? IMPORT_ARGUMENT
           : status == LATCHKEY_MALFORMED    ? IMPORT_MALFORMED
                                             : IMPORT_CORRUPT;
}

/* Moves one session in, and counts the outcome. False: it is not done. */
static bool deal_with_session(importer *m, const import_session *s, import_tally *tally, uint64_t number)
{
    enum lk_import_refusal why = LK_IMPORT_HERE;
    int status = move_session_in(m, s, &why);
    if (status == LATCHKEY_MALFORMED && why == LK_IMPORT_LATE) status = LATCHKEY_CONFIG;
    if (status == LATCHKEY_NO_MEMORY) stop(m, CLI_FAILED);
    if (status == LATCHKEY_CONFIG) stop(m, CLI_CONFIG);
    if (status == LATCHKEY_NO_MEMORY || status == LATCHKEY_UNAVAILABLE || status == LATCHKEY_CONFIG) return false;
    tally->lines++;
    if (status == LATCHKEY_OK) tally->moved++;
    else if (status == LATCHKEY_REFUSED && why == LK_IMPORT_HERE) tally->here++;
    else if (status == LATCHKEY_REFUSED && why == LK_IMPORT_OVER) tally->over++;
    else if (status == LATCHKEY_EXPIRED) tally->expired++;
    else import_tally_refuse(tally, reason_of(status), number);
    if (status == LATCHKEY_OK) import_tally_change(tally, s->changed, number);
    return true;
}

static bool deal_with(importer *m, import_chunk *c, const char *line, size_t size, import_tally *tally, uint64_t number)
{
    import_session s;
    bool no_memory = false, good = true;
    enum import_reason reason = import_line_take(line, size, lk_server_any_now_ms(m->lk, lk_now_us()), &s, &no_memory);
    if (no_memory) return stop(m, CLI_FAILED), false;
    if (reason) {
        tally->lines++;
        import_tally_refuse(tally, reason, number);
        c->torn = reason == IMPORT_NOT_JSON && line + size == c->text + c->size;
        return true;
    }
    if (s.kind == IMPORT_SESSION) good = deal_with_session(m, &s, tally, number);
    else import_marks_add(&c->marks, s.kind, s.promised);
    tally->skipped += s.skipped;
    import_line_free(&s);
    return good;
}

static bool is_blank(const char *line, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!strchr(" \t\r", line[i]) || !line[i]) return false;
    return true;
}

static bool deal_with_chunk(importer *m, import_chunk *c, import_tally *tally)
{
    uint64_t number = c->first_line;
    if (c->too_long) {
        tally->lines++;
        import_tally_refuse(tally, IMPORT_TOO_LONG, number);
        return true;
    }
    for (size_t at = 0; at < c->size; number++) {
        const char *line = c->text + at, *end = memchr(line, '\n', c->size - at);
        size_t size = end ? (size_t)(end - line) : c->size - at;
        at += size + 1;
        if (size >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) line += 3, size -= 3; /* a byte order mark */
        if (is_blank(line, size)) continue;
        if (size > IMPORT_LINE_MOST) {
            tally->lines++;
            import_tally_refuse(tally, IMPORT_TOO_LONG, number);
        } else if (atomic_load(&m->stop) || !deal_with(m, c, line, size, tally, number)) return false;
    }
    return true;
}

/* Chunks that are done leave the list, as far as all before them are done too. */
static void finish_chunk_locked(importer *m, import_chunk *c, const import_tally *tally, bool done)
{
    import_tally_add(&m->tally, tally);
    c->marks.sessions = tally->lines;
    c->done = done;
    while ((c = m->oldest) && c->done) {
        if (!c->torn) { /* a torn one is a part of a line, and nothing else */
            m->dealt_with.offset = c->end;
            m->dealt_with.line = c->lines;
            m->dealt_with.hash = c->hash;
            import_marks_join(&m->dealt_with.marks, &c->marks);
        }
        m->oldest = c->next;
        if (!m->oldest) m->newest = NULL;
        m->chunks--;
        import_chunk_free(c);
    }
    pthread_cond_broadcast(&m->changed);
}

static void *work(void *context)
{
    importer *m = context;
    pthread_mutex_lock(&m->lock);
    for (;;) {
        while (!m->free_to_take && !m->ended) pthread_cond_wait(&m->changed, &m->lock);
        import_chunk *c = m->free_to_take;
        if (!c || atomic_load(&m->stop)) break;
        m->free_to_take = c->next;
        pthread_mutex_unlock(&m->lock);
        import_tally tally = {0};
        bool done = deal_with_chunk(m, c, &tally);
        pthread_mutex_lock(&m->lock);
        finish_chunk_locked(m, c, &tally, done);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* ------------------------------------------------------------------------------------------- the reading thread -- */

static void say_progress(importer *m, const import_tally *t, const import_state *at)
{
    double seconds = (double)(lk_now_us() - m->began_us) / 1e6;
    char more[64] = "";
    if (m->reader.size > m->began_at) {
        double part = (double)(at->offset - m->began_at) / (double)(m->reader.size - m->began_at);
        snprintf(more, sizeof more, ", %.1f%%, %.0f s left", 100 * part, part > 0 ? seconds / part * (1 - part) : 0);
    }
    char line[256];
    snprintf(line, sizeof line,
             "%" PRIu64 " lines, %.0f a second%s: %" PRIu64 " moved in, %" PRIu64 " here already, %" PRIu64
             " expired, %" PRIu64 " refused",
             t->lines, (double)t->lines / (seconds + 1e-6), more, t->moved, t->here, t->expired, t->refused);
    if (isatty(STDERR_FILENO)) cli_progress("%s", line);
    else cli_say(stderr, "%s\n", line);
}

/* Once a second: shows the progress and saves the state. */
static void look_after(importer *m, bool last)
{
    int64_t now_us = lk_now_us();
    if (interrupted) stop(m, STOP_INTERRUPTED);
    if (!last && now_us - m->said_us < 1000000) return;
    m->said_us = now_us;
    pthread_mutex_lock(&m->lock);
    import_state at = m->dealt_with;
    import_tally tally = m->tally;
    pthread_mutex_unlock(&m->lock);
    if (wants_progress) say_progress(m, &tally, &at);
    if (state_path && !import_state_save(state_path, &at)) {
        cli_fail(m->c, CLI_FAILED, "--state: %s", strerror(errno));
        stop(m, CLI_FAILED);
    }
}

static void wait_a_moment_locked(importer *m)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += PAUSE_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&m->changed, &m->lock, &until);
}

/* Waits while there are more than `most` chunks, and calls look_after meanwhile. */
static void wait_for_room(importer *m, unsigned most)
{
    pthread_mutex_lock(&m->lock);
    while (m->chunks > most && !atomic_load(&m->stop)) {
        wait_a_moment_locked(m);
        pthread_mutex_unlock(&m->lock);
        look_after(m, false);
        pthread_mutex_lock(&m->lock);
    }
    pthread_mutex_unlock(&m->lock);
}

static void append_bytes(importer *m, import_chunk *c)
{
    pthread_mutex_lock(&m->lock);
    if (m->newest) m->newest->next = c;
    else m->oldest = c;
    m->newest = c;
    if (!m->free_to_take) m->free_to_take = c;
    m->chunks++;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static void read_chunks(importer *m)
{
    const char *fault = NULL;
    import_chunk *c;
    while (!atomic_load(&m->stop) && (c = import_reader_next(&m->reader, &fault))) {
        append_bytes(m, c);
        wait_for_room(m, (unsigned)threads * AHEAD);
        look_after(m, false);
    }
    if (interrupted) stop(m, STOP_INTERRUPTED);
    else if (fault) {
        cli_fail(m->c, CLI_FAILED, "%s", fault);
        stop(m, CLI_FAILED);
    }
    wait_for_room(m, 0);
    pthread_mutex_lock(&m->lock);
    m->ended = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

/* A server that was restarted, or took over, may lack sessions that another one had confirmed. */
static bool is_another_server(const importer *m)
{
    bool another = false;
    for (unsigned p = 0; p < (unsigned)m->lk->config.partitions; p++) {
        uint64_t now = lk_lease_owner(m->lk->book, p);
        another |= m->server[p] && now && m->server[p] != now;
    }
    return another;
}

/* Is something missing? An export began and did not end; or --end asks for an end and there was none. */
static bool is_cut(const import_marks *marks)
{
    return marks->cut || marks->last == IMPORT_BEGIN || (wants_end && marks->last != IMPORT_END);
}

static int run_all(importer *m)
{
    pthread_t thread[THREADS_MOST];
    unsigned started = 0;
    while (started < threads && pthread_create(&thread[started], NULL, work, m) == 0) started++;
    if (!started) return cli_fail(m->c, CLI_FAILED, "no thread can be had");
    read_chunks(m);
    for (unsigned i = 0; i < started; i++) pthread_join(thread[i], NULL);
    const import_marks *marks = &m->dealt_with.marks;
    if (!atomic_load(&m->stop) && is_cut(marks)) stop(m, STOP_CUT);
    if (!atomic_load(&m->stop) && marks->promised > marks->sessions) stop(m, STOP_LOST);
    if (is_another_server(m)) {
        stop(m, STOP_SERVER);
        /* from the first line on: nothing is known any more */
        m->dealt_with = (import_state){.where = m->dealt_with.where};
    }
    bool complete = !atomic_load(&m->stop);
    look_after(m, true);
    cli_progress(NULL);
    while (m->oldest) { /* taken by a thread and not done, or never taken */
        import_chunk *c = m->oldest;
        m->oldest = c->next;
        import_chunk_free(c);
    }
    import_tally_print(m->c, &m->tally, m->first_line, (double)(lk_now_us() - m->began_us) / 1e6, complete);
    return complete ? CLI_DONE : atomic_load(&m->stop);
}

/* ------------------------------------------------------------------------------------------------- the command -- */

/* Tells people how it ended; with --json the counts have said everything. */
static int conclude(importer *m, int exit)
{
    if (exit == CLI_DONE) return m->tally.refused || m->tally.skipped ? CLI_NO : CLI_DONE;
    if (exit == STOP_CUT) {
        cli_say(stderr,
                "latchkey: the end of the export is missing, so sessions may be missing. Look at what the exporter "
                "said, and export and import once more: what moved in is left alone\n");
        return CLI_NO;
    }
    if (exit == STOP_SERVER) {
        cli_say(stderr, "latchkey: Redis was restarted, or another server took over, while sessions moved in: it may "
                        "have lost some. "
                        "The same command again begins anew: what is there is left alone\n");
        return CLI_NO;
    }
    if (exit == STOP_LOST) {
        cli_say(stderr,
                "latchkey: %" PRIu64 " sessions were exported, and %" PRIu64
                " came: some were lost on the way. Export and import "
                "once more: what moved in is left alone\n",
                m->dealt_with.marks.promised, m->dealt_with.marks.sessions);
        return CLI_NO;
    }
    const char *why = exit == STOP_INTERRUPTED ? "interrupted"
                      : exit == CLI_AWAY       ? "Redis took nothing for as long as --patience says"
                      : exit == CLI_CONFIG     ? "foreign_until_ms is past"
                                               : "it cannot go on";
    latchkey_stats stats = {0};
    if (exit == CLI_AWAY) latchkey_stats_read(m->lk, &stats, sizeof stats);
    cli_say(stderr, "latchkey: %s%s%s; the same command again goes on where this one stopped\n", why,
            stats.last_error[0] ? ": " : "", stats.last_error);
    return exit == STOP_INTERRUPTED ? CLI_NO : exit;
}

/* Another server, prefix or database, or the same one restarted, may lack what the state says is there. */
static uint64_t where_of(const importer *m)
{
    const lk_config *config = &m->lk->config;
    uint64_t hash = lk_hash(config->prefix, strlen(config->prefix), (uint64_t)config->database);
    for (unsigned p = 0; p < (unsigned)config->partitions; p++)
        if (!m->server[p]) return 0;
    return lk_hash(m->server, sizeof *m->server * (size_t)config->partitions, hash) | 1;
}

static int import_into(const cli *c, latchkey *lk)
{
    import_state resume = {0};
    importer m = {.c = c, .lk = lk, .began_us = lk_now_us()};
    if (lk_server_any_now_ms(lk, lk_now_us()) >= lk->config.foreign_until_ms)
        return cli_fail(c, CLI_CONFIG,
                        "foreign_until_ms is not set in the configuration, or is past: the tokens that move in would "
                        "not be accepted");
    const char *fault = state_path ? import_state_load(state_path, &resume) : NULL;
    if (fault) return cli_fail(c, CLI_FAILED, "--state: %s", fault);
    for (unsigned p = 0; p < (unsigned)lk->config.partitions; p++) m.server[p] = lk_lease_owner(lk->book, p);
    const uint64_t where = where_of(&m);
    if (resume.offset && (!where || where != resume.where)) {
        cli_say(stderr, "latchkey: the state is of another Redis, or it was restarted since: this run begins at the "
                        "first line; what is there is left alone\n");
        memset(&resume, 0, sizeof resume);
    }
    fault = import_reader_open(&m.reader, c->arguments[0], &resume, &interrupted);
    m.reader.at.where = where;
    int exit = CLI_FAILED;
    if (fault && interrupted) exit = cli_fail(c, CLI_NO, "interrupted, and nothing has moved in");
    else if (fault) cli_fail(c, CLI_FAILED, "FILE: %s", fault);
    else if (state_path && !import_state_save(state_path, &m.reader.at))
        cli_fail(c, CLI_FAILED, "--state: %s", strerror(errno));
    else {
        m.said_us = m.began_us;
        m.dealt_with = m.reader.at;
        m.first_line = resume.line + 1;
        m.began_at = resume.offset;
        pthread_mutex_init(&m.lock, NULL);
        pthread_cond_init(&m.changed, NULL);
        exit = conclude(&m, run_all(&m));
    }
    import_reader_close(&m.reader);
    return exit;
}

static int run_import(const cli *c)
{
    latchkey *lk;
    const struct sigaction act = {.sa_handler = on_signal};
    int exit = cli_open(c, &lk);
    if (exit) return exit;
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    exit = import_into(c, lk);
    latchkey_close(lk);
    return exit;
}

static const cli_option options[] = {
    {.name = "progress", .given = &wants_progress, .help = "says each second how far it is, to stderr"},
    {.name = "state",
     .value = "FILE",
     .text = &state_path,
     .help = "keeps there how far it is, and goes on from there"},
    {.name = "end", .given = &wants_end, .help = "FILE must end with a line {\"end\": ...}, as the exporters write it"},
    {.name = "threads",
     .value = "N",
     .number = &threads,
     .least = 1,
     .most = THREADS_MOST,
     .help = "sessions that move in at once (16)"},
    {.name = "patience",
     .value = "S",
     .number = &patience_s,
     .least = 0,
     .most = 86400,
     .help = "seconds that Redis may be away before it is given up (60)"},
    {0},
};

const cli_command cli_import = {
    .name = "import",
    .arguments = "import [--progress] [--end] [--state FILE] [--threads N] [--patience S] FILE|-",
    .summary = "moves in sessions of another store, with their own tokens",
    .help =
        "FILE, or - for standard input, holds one session a line, as JSON:\n"
        "\n"
        "  {\"token\": \"...\", \"user_id\": 17, \"role\": \"member\", \"permissions_hash\": \"64 hex digits\", "
        "\"device\": 1,\n"
        "   \"flags\": 0, \"created_at_ms\": 0, \"expires_at_ms\": 0, \"idle_ms\": 0, \"fields\": {\"name\": "
        "\"text\"}}\n"
        "\n"
        "token (16 to 256 bytes) and user_id must be there. For users that have names (UUIDs, addresses) instead of\n"
        "numbers it is \"user\": \"name\" in place of user_id; the id is then latchkey_user_id of the name. null is "
        "the\n"
        "same as leaving a member out. A number may be in quotes. Bytes that are not text are {\"base64\": \"...\"}.\n"
        "A session moves in if its token, user and end are known. What else does not fit is left out or cut, and\n"
        "counted: a field over 64 KiB, a role over 16 bytes. The configuration needs the application's "
        "foreign_until_ms.\n"
        "\n"
        "A session that has moved in already is left alone: so the command may be run again, from the start, or, with\n"
        "--state, from the point up to which all lines are done. At the end it prints how many sessions moved in, "
        "were\n"
        "here already, had expired, or were created before all sessions were ended; and how many were refused, why,\n"
        "and the first lines of each. No token is ever shown.\n"
        "\n"
        "An exporter may begin with {\"begin\": \"its name\"}. Then {\"end\": {\"sessions\": N, \"skipped\": 0}} must "
        "follow; if\n"
        "it does not, or fewer than N sessions came, the stream was cut.\n"
        "\n"
        "Exit 1: sessions were refused or skipped, the stream was cut, Redis was restarted, or the command was\n"
        "interrupted.",
    .options = options,
    .least = 1,
    .most = 1,
    .run = run_import,
};

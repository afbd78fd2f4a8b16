/* latchkey move: all sessions from one server to another, or to a cluster, while they are in use.
 *
 *   mark the target        no handle opens there: `partitions` is "moving"
 *   listen, copy           DUMP and RESTORE of every key, with its expiry; what changes meanwhile Redis says (CLIENT TRACKING,
 *                          broadcast), and it is copied once more; large indexes by pages (large.c)
 *   mark the source        no link is set up there any more: `partitions` is "moved N"
 *   pause its writes       CLIENT PAUSE WRITE: what was changed last is copied; then nothing changes
 *   compare                the numbers of revocations, the cut-offs, the logs and the indexes of every partition
 *   end the source         CLIENT KILL: every instance loses its link, its lease runs out within staleness_ms
 *   open the target        after staleness_ms: `partitions` is N; in a cluster then in every partition, as instances would do it
 *
 * C holds, since a revocation is OK only at the source before it is paused, and then it is copied; or at the target after it is
 * open, and then no instance has a lease of the source. In between every revocation is PENDING. Before the source is
 * ended, everything can be taken back, and is, whatever fails. */
#include "cli/move/move.h"

#include "base/clock.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAUSE_MS = 60000, PAUSED_MS = 40000, HELD_MS = 10000, MARGIN_MS = 100 };

static const char *from_url, *to_url;

bool move_fail(move *m, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    if (!m->error[0]) vsnprintf(m->error, sizeof m->error, format, list);
    va_end(list);
    size_t length = strlen(m->error);
    if (length && m->error[length - 1] == '.') m->error[length - 1] = 0; /* Redis' own; more follows */
    return false;
}

bool move_good(move *m, lk_reply *reply, const char *what)
{
    bool is_good = reply && reply->type != LK_REPLY_ERROR;
    if (!is_good) move_fail(m, "%s: %.200s", what, reply ? reply->text : "no answer");
    lk_reply_free(reply);
    return is_good;
}

/* ---------------------------------------------------------------------------------------------- the switch -- */

/* The pause outlasts every lease of the source: what an instance with a lease wrote there at the end would not be copied. */
bool move_hold_pause(move *m)
{
    int64_t now_ms = lk_now_ms();
    char pause[24];
    if (m->held_ms && now_ms - m->held_ms > PAUSED_MS)
        return move_fail(m, "a step took too long while writes were paused: run it again");
    if (m->held_ms && now_ms - m->held_ms < HELD_MS) return true;
    snprintf(pause, sizeof pause, "%" PRId64, PAUSE_MS + m->from.config.staleness_ms);
    m->held_ms = now_ms;
    return move_good(m, QUERY(&m->from, "CLIENT", "PAUSE", pause, "WRITE"), "CLIENT PAUSE at the source");
}

/* Until the source is ended, every step can be taken back. */
static bool end_source(move *m)
{
    snprintf(m->now, sizeof m->now, LK_PARTITIONS_MOVED "%s", m->recorded);
    /* An earlier run that did not come to its end may have left the writes resting, and the mark is one. */
    if (m->marked) lk_reply_free(QUERY(&m->from, "CLIENT", "UNPAUSE"));
    bool good = move_write_mark(m, &m->from, "the source", m->was, m->now, &m->ours);
    m->marked |= m->ours;
    if (!good) return false;
    m->paused_ms = lk_now_ms();
    if (!move_hold_pause(m) || !move_catch_up(m) || !move_carry_large(m) || !move_compare(m) || !move_kept(m) ||
        !move_hold_pause(m))
        return false;
    if (m->from.incarnation != m->from_is) return move_fail(m, "the source was restarted, or is another server now");
    if (!move_good(m, QUERY(&m->from, "CLIENT", "KILL", "TYPE", "pubsub"), "CLIENT KILL at the source")) return false;
    m->ended = true;
    return move_good(m, QUERY(&m->from, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
                     "CLIENT KILL at the source");
}

/* The source as it was: of what this run has done. */
static void take_back(move *m)
{
    bool unsure;
    if (m->held_ms) lk_reply_free(QUERY(&m->from, "CLIENT", "UNPAUSE"));
    if (m->ours && move_write_mark(m, &m->from, "the source", m->now, m->recorded, &unsure)) m->marked = false;
}

/* In a cluster every partition says it, so that each node can. Where this fails, the next instance does it. */
static void record_everywhere(move *m)
{
    for (unsigned p = 1; m->to.node[0]->config.cluster && p < m->partitions; p++) {
        char key[LK_KEY_SIZE];
        lk_key_partition(key, m->from.config.prefix, p, "m");
        lk_reply_free(QUERY(nodes_of(&m->to, p), "HSET", key, "partitions", m->recorded));
    }
}

/* A source that dies now is not missed. But one that has forgotten its mark, because it came back from an older snapshot, serves
 * instances again: then the target must not. */
static bool source_rests(move *m)
{
    bool marked = true;
    lk_reply *reply = QUERY(&m->from, "TIME");
    bool answers = reply != NULL;
    lk_reply_free(reply);
    if (!answers || (move_source_marked(m, &marked) && marked)) return true;
    if (!marked) m->ended = m->marked = false;
    return move_fail(m, "the source was restarted from an older snapshot, or emptied, at the last moment");
}

static bool open_target(move *m)
{
    int64_t wait_ms = m->from.config.staleness_ms + MARGIN_MS;
    cli_progress("every lease of the source runs out: %" PRId64 " ms", wait_ms);
    for (int64_t until_ms = lk_now_ms() + wait_ms; lk_now_ms() < until_ms;) usleep(10000);
    if (!source_rests(m) || !move_kept(m)) return false;
    if (!move_open_target(m)) return false;
    m->paused_for_ms = lk_now_ms() - m->paused_ms;
    lk_reply_free(QUERY(&m->from, "CLIENT", "UNPAUSE"));
    record_everywhere(m);
    return true;
}

/* ----------------------------------------------------------------------------------------------- the command -- */

static int print_move(move *m)
{
    cli_progress(NULL);
    if (m->c->json) {
        json j = {0};
        json_open(&j, NULL, '{');
        json_uint(&j, "keys", m->keys);
        json_uint(&j, "changed", m->changed);
        json_uint(&j, "partitions", m->partitions);
        json_uint(&j, "nodes", m->to.count);
        json_int(&j, "unavailable_ms", m->paused_for_ms);
        json_close(&j, '}');
        return CLI_DONE;
    }
    cli_say(stdout, "%" PRIu64 " keys of %s partitions are on %u node%s; %" PRIu64 " of them changed meanwhile.\n",
            m->keys, m->recorded, m->to.count, m->to.count == 1 ? "" : "s", m->changed);
    cli_say(
        stdout,
        "For %.2f s neither end took a write. Instances with the new URL are served now; those with the old one are\n"
        "UNAVAILABLE until they are started again. What answered PENDING meanwhile must be revoked again.\n",
        (double)m->paused_for_ms / 1000);
    return CLI_DONE;
}

static int report_failure(move *m)
{
    cli_progress(NULL);
    if (m->other) return cli_fail(m->c, CLI_AWAY, "%s", m->error);
    if (!m->marked) return cli_fail(m->c, CLI_AWAY, "%s. The source goes on as before", m->error);
    if (!m->ended)
        return cli_fail(
            m->c, CLI_AWAY,
            "%s. The source may refuse instances: run latchkey move again, or go back to it by HSET %s partitions %s",
            m->error, m->mark, m->recorded);
    return cli_fail(m->c, CLI_AWAY,
                    "%s. No instance is served at the source any more: run latchkey move again, or go back to it by "
                    "HSET %s partitions %s",
                    m->error, m->mark, m->recorded);
}

static int connect_all(move *m)
{
    int status = query_open(from_url, QUERY_OF_THE_URL, QUERY_PATIENT_MS, &m->from, m->error, sizeof m->error);
    if (status) return cli_fail(m->c, status == LATCHKEY_CONFIG ? CLI_CONFIG : CLI_AWAY, "--from: %s", m->error);
    if (m->from.config.cluster)
        return cli_fail(m->c, CLI_USAGE,
                        "--from must be one server, or behind sentinels: a cluster grows by resharding");
    status = nodes_open(to_url, QUERY_PATIENT_MS, &m->to, m->error, sizeof m->error);
    if (status) return cli_fail(m->c, status == LATCHKEY_CONFIG ? CLI_CONFIG : CLI_AWAY, "--to: %s", m->error);
    const char *misfit = move_misfit(&m->from.config, &m->to.node[0]->config);
    if (misfit) return cli_fail(m->c, CLI_USAGE, "%s", misfit);
    int exit = subscriber_open(&m->changes_from, from_url, NULL);
    if (exit) return cli_fail(m->c, exit, "--from: %s", m->changes_from.error);
    exit = subscriber_open(&m->tracker, from_url, NULL);
    if (exit) subscriber_close(&m->changes_from);
    return exit ? cli_fail(m->c, exit, "--from: %s", m->tracker.error) : CLI_DONE;
}

/* Between the mark and the end no instance can be started, and a part of the time nothing is written: control-C, or a terminal that is
 * closed, must not leave it like that. All that is done there has a limit. */
static void hold_signals(void)
{
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGQUIT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGHUP);
    sigprocmask(SIG_BLOCK, &held, NULL);
}

static int move_between(move *m)
{
    uint64_t name;
    lk_random(&name, sizeof name);
    snprintf(m->name, sizeof m->name, "%016" PRIx64, name);
    lk_key_partition(m->mark, m->from.config.prefix, 0, "m");
    bool done = move_look_at_source(m) && move_look_at_target(m) && move_track(m) && move_all_keys(m);
    if (done) hold_signals();
    if (done && !(done = end_source(m)) && !m->ended) take_back(m);
    done = done && open_target(m);
    return done ? print_move(m) : report_failure(m);
}

static int run_move(const cli *c)
{
    if (!from_url || !to_url) return cli_fail(c, CLI_USAGE, "--from URL and --to URL are both needed");
    int exit = cli_ask(c, "Copy all sessions, and end every instance at the source?");
    if (exit) return exit;
    move *m = calloc(1, sizeof *m);
    if (!m || !lk_crypto_init()) {
        free(m);
        return cli_fail(c, CLI_FAILED, "no memory");
    }
    m->c = c;
    exit = connect_all(m);
    m->error[0] = 0; /* of an address that failed before another did not */
    if (!exit) {
        exit = move_between(m);
        subscriber_close(&m->tracker);
        subscriber_close(&m->changes_from);
    }
    while (m->messages) lk_reply_free(m->message[--m->messages]);
    move_forget_large(m);
    nodes_close(&m->to);
    query_close(&m->from);
    free(m);
    return exit;
}

static const cli_option options[] = {
    {.name = "from",
     .value = "URL",
     .text = &from_url,
     .secret = true,
     .help = "the URL of the application now, with a user that may do it"},
    {.name = "to",
     .value = "URL",
     .text = &to_url,
     .secret = true,
     .help = "the new URL, redis+cluster:// or another server; empty"},
    {0},
};

const cli_command cli_move = {
    .name = "move",
    .arguments = "move --from URL --to URL",
    .summary = "all sessions to another server, or to a cluster, in use",
    .help =
        "Copies every key under the prefix, with its expiry, while the instances go on; what changes meanwhile is\n"
        "copied again. Then it ends the source: writes are paused, the last changes are copied, the numbers of\n"
        "revocations are compared, every connection is closed, and staleness_ms of --from later the target is open.\n"
        "Instances with the new URL may be started as soon as this has begun, with lazy=1, and not before; they are\n"
        "served as soon as the target is open. No user is logged out, and no revoked session is admitted. Other\n"
        "programs at the source lose their connections once. If it fails before the end, the source goes on as\n"
        "before. The manual page says which rights both users need.",
    .options = options,
    .run = run_move,
};

/* latchkey top: the nodes and every instance at work, by the numbers in its beats. The instances are not asked, and they open
 * no port: Redis carries their beats anyway. On a terminal it draws a screen, elsewhere it prints lines, and objects with
 * --json. */
#include "cli/top/top.h"

#include "cli/node_rows.h"
#include "cli/subscriber.h"

#include "base/clock.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DRAW_MS = 1000, DRAW_LEAST_MS = 200, FORGET_MS = 60000, LISTEN_LEAST_MS = 1500, WAIT_MS = 100, AGAIN_MS = 1000 };

static bool once;
static uint64_t seconds;
static volatile sig_atomic_t ended;

static void end_it(int signal)
{
    (void)signal;
    ended = 1;
}

typedef struct view {
    const cli *c;
    watch *watch;
    fleet h;
    subscriber beats;
    bool listening;
    lk_host at;        /* where */
    char unheard[256]; /* why it is not */
    int64_t again_ms;  /* when it is tried again */
} view;

/* ------------------------------------------------------------------------------------------------- drawing -- */

static void draw_json(const view *v, const survey *s, int64_t now_ms)
{
    json j = {0};
    json_open(&j, NULL, '{');
    if (s->config.sentinels) {
        json_uint(&j, "sentinels", s->config.sentinels);
        json_uint(&j, "sentinels_agreeing", s->agreeing);
    }
    node_rows_json(&j, s, &v->h);
    rows_json(&j, &v->h, s, now_ms);
    json_text(&j, "unheard", v->listening ? NULL : v->unheard);
    json_close(&j, '}');
}

static bool draw_people(const view *v, const survey *s, int64_t now_ms)
{
    size_t rows = screen_is_on() ? screen_rows() : 0, most = SIZE_MAX, instances = FLEET_MOST;
    if (rows) { /* the nodes take no more than half of the screen */
        size_t left = rows > 10 ? rows - 10 : 2, all = s->count;
        for (unsigned i = 0; !s->config.cluster && i < s->count; i++) all += s->node[i].listed;
        most = all < left / 2 ? all : left / 2;
        instances = left - most;
        fputs("\033[H\033[J", stdout);
        cli_say(stdout, "%zu instance%s; q ends\n\n", v->h.count, v->h.count == 1 ? "" : "s");
    }
    if (v->h.full) cli_say(stdout, "THERE ARE MORE INSTANCES, WHICH ARE NOT LOOKED AT\n");
    if (s->config.sentinels && 2 * s->agreeing <= s->config.sentinels)
        cli_say(stdout, "ONLY %u OF %u SENTINELS NAME THE PRIMARY\n", s->agreeing, s->config.sentinels);
    if (!survey_covered(s)) cli_say(stdout, "%u SLOTS HAVE NO NODE\n", s->uncovered);
    bool printed = node_rows_print(s, &v->h, most);
    cli_say(stdout, "\n");
    if (!v->listening) cli_say(stdout, "the instances are not heard: %s\n", v->unheard);
    if (v->h.count) return rows_print(&v->h, s, now_ms, instances) && printed;
    if (v->listening) cli_say(stdout, "no instance is heard yet\n");
    return printed;
}

static int draw(const view *v, int64_t now_ms)
{
    const survey *s = watch_newest(v->watch);
    bool good = true;
    if (v->c->json) draw_json(v, s, now_ms);
    else good = draw_people(v, s, now_ms);
    if (fflush(stdout) || !good) return cli_fail(v->c, CLI_FAILED, good ? "the output cannot be written" : "no memory");
    return CLI_DONE;
}

/* ---------------------------------------------------------------------------------------------- the beats -- */

static void stop_listening(view *v, const char *why)
{
    snprintf(v->unheard, sizeof v->unheard, "%s", why);
    if (v->listening) subscriber_close(&v->beats);
    v->listening = false;
    v->again_ms = lk_now_ms() + AGAIN_MS;
}

/* At the node that has partition 0, whose channel carries them in a cluster; or at the primary. CLI_DONE also if that is away:
 * then it is tried again, unless there is only one server, ever. */
static int start_listening(view *v, const survey *s)
{
    unsigned at = survey_owner(s, 0);
    char text[256];
    bool away = at >= s->count || !s->node[at].answers;
    if (at >= s->count) snprintf(text, sizeof text, "no node has partition 0, whose channel carries their beats");
    else snprintf(text, sizeof text, "their beats come over %s, which does not serve", s->node[at].at);
    if (away) return stop_listening(v, text), CLI_DONE;
    int exit = subscriber_open(&v->beats, s->url, &s->host[at]);
    if (!exit && (exit = subscriber_listen(&v->beats))) subscriber_close(&v->beats);
    v->listening = !exit;
    v->at = s->host[at];
    if (!exit) return CLI_DONE;
    stop_listening(v, v->beats.error);
    return exit == CLI_AWAY && (s->config.cluster || s->config.sentinels) ? CLI_DONE : exit;
}

static bool take_beats(view *v, bool *heard)
{
    lk_reply *reply;
    int got;
    while ((got = subscriber_next(&v->beats, &reply)) > 0) {
        *heard |= fleet_take(&v->h, reply, lk_now_ms());
        lk_reply_free(reply);
    }
    return got == 0;
}

/* The connection may be lost; or, silently, lead to a server that is not the one any more. */
static int follow_beats(view *v, bool *heard)
{
    if (v->listening && !take_beats(v, heard)) {
        bool alone = !v->beats.config.cluster && !v->beats.config.sentinels;
        stop_listening(v, v->beats.error);
        if (alone) return CLI_AWAY;
    }
    if (lk_now_ms() < v->again_ms) return CLI_DONE;
    v->again_ms = lk_now_ms() + AGAIN_MS;
    const survey *s = watch_newest(v->watch);
    unsigned at = survey_owner(s, 0);
    bool moved = at < s->count && s->node[at].answers && !lk_host_same(&v->at, &s->host[at]);
    if (v->listening && !moved) return CLI_DONE;
    if (v->listening) stop_listening(v, "another server is the primary");
    return start_listening(v, s);
}

static int watch_fleet(view *v, int64_t until_ms)
{
    int64_t drawn_ms = 0;
    bool heard = false;
    int exit = CLI_DONE;
    while (!exit && !ended) {
        if ((exit = follow_beats(v, &heard))) return screen_leave(), cli_fail(v->c, exit, "%s", v->unheard);
        int64_t now_ms = lk_now_ms();
        if (until_ms && now_ms >= until_ms) break;
        int64_t apart_ms = heard && screen_is_on() ? DRAW_LEAST_MS : DRAW_MS;
        if (!once && now_ms - drawn_ms >= apart_ms) {
            fleet_forget(&v->h, now_ms, FORGET_MS);
            exit = draw(v, now_ms);
            drawn_ms = now_ms;
            heard = false;
        }
        if (screen_wait(v->listening ? v->beats.socket.fd : -1, WAIT_MS)) ended = 1;
    }
    screen_leave();
    return exit || !once ? exit : draw(v, lk_now_ms());
}

/* Long enough for three beats of every instance, and for rates. */
static int64_t listen_ms(const survey *s)
{
    int64_t beats_ms = s->config.staleness_ms / 2 * 3 + 500;
    if (seconds) return (int64_t)seconds * 1000;
    return !once ? 0 : beats_ms > LISTEN_LEAST_MS ? beats_ms : LISTEN_LEAST_MS;
}

static int watch_all(view *v)
{
    const survey *s = watch_newest(v->watch);
    struct sigaction before, action = {.sa_handler = end_it};
    /* Another primary may be named soon, and nodes of a cluster are shown whether they serve or not. */
    bool may_serve = (s->config.sentinels && s->status != LATCHKEY_CONFIG) || (s->config.cluster && s->count);
    if (s->status && !may_serve)
        return cli_fail(v->c, s->status == LATCHKEY_CONFIG ? CLI_CONFIG : CLI_AWAY, "%s", s->error);
    if (!fleet_open(&v->h, s->config.prefix, s->config.database)) return cli_fail(v->c, CLI_FAILED, "no memory");
    int64_t ms = listen_ms(s);
    int exit = start_listening(v, s);
    if (exit) return cli_fail(v->c, exit, "%s", v->unheard);
    static const int signals[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) /* as nohup has it */
            sigaction(signals[i], &action, NULL);
    if (!once && !v->c->json && isatty(STDOUT_FILENO)) screen_enter();
    exit = watch_fleet(v, ms ? lk_now_ms() + ms : 0);
    screen_leave();
    return !exit && once && !v->h.count ? CLI_NO : exit;
}

static int run_top(const cli *c)
{
    char error[256];
    int status, exit;
    if (!c->config) return cli_no_config(c);
    view *v = calloc(1, sizeof *v);
    if (!v || !lk_crypto_init()) {
        free(v);
        return cli_fail(c, CLI_FAILED, "no memory");
    }
    v->c = c;
    v->watch = watch_open(c->config, &status, error, sizeof error);
    if (!v->watch) exit = cli_fail(c, status == LATCHKEY_CONFIG ? CLI_CONFIG : CLI_FAILED, "%s", error);
    else {
        exit = watch_all(v);
        if (v->listening) subscriber_close(&v->beats);
        watch_close(v->watch);
    }
    fleet_close(&v->h);
    free(v);
    return exit;
}

static const cli_option options[] = {
    {.name = "once",
     .given = &once,
     .help = "listens for three beats, prints its tables, and ends; exit 1: no instance was heard"},
    {.name = "seconds",
     .value = "N",
     .number = &seconds,
     .least = 1,
     .most = 1000000000,
     .help = "ends after so long; with --once, listens for so long"},
    {0},
};

const cli_command cli_top = {
    .name = "top",
    .arguments = "top [--once] [--seconds N]",
    .summary = "all nodes and instances at work, live",
    .help =
        "The first table shows the nodes: one server; or the primary that the sentinels name, and its replicas; or "
        "each\n"
        "primary of a cluster. Of each: its partitions, its sessions, the commands that it runs a second, how long a\n"
        "round trip takes, the memory that it uses, how far its replicas are behind, and the oldest lease that an\n"
        "instance has of it. A node that does not serve comes first, and says why; so does one of which an instance\n"
        "has no lease.\n"
        "\n"
        "The second table shows each instance, by host, process and name, and the numbers in its beats (one every\n"
        "staleness_ms / 4, or / 2 while it is idle): requests, the share that L1 answered, misses and how long they\n"
        "took, revocations and how long they took to arrive, the age of the oldest lease, how full L1 is, callers "
        "that\n"
        "wait for Redis, errors. Rates are of the last second, times of the last five to ten seconds. The first line\n"
        "is all instances together: sums, and the worst of the times.\n"
        "\n"
        "q or control-C ends it. Without a terminal it prints the tables each second, with --json an object. It "
        "follows\n"
        "a failover. The instances are asked nothing; the Redis user needs +psubscribe, in a cluster +ssubscribe. An\n"
        "instance of an older version shows \"no numbers\".",
    .options = options,
    .run = run_top,
};

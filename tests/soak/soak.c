/* SPDX-License-Identifier: MIT
 *
 * latchkey-soak: options, the server and its restarts, the verdict. See soak.h.
 */
#include "soak.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

typedef struct settings {
    double seconds, restart_s, slack_kb;
    unsigned seed;
} settings;

static void usage(FILE *file)
{
    fputs("usage: latchkey-soak [--seconds N] [--restart-seconds N] [--slack-kb N] [--seed N] [--help]\n\n"
          "Two handles under mixed load from five threads, handles opened and closed beside them, and a Redis that is\n"
          "killed and restarted now and then; every so often the memory, descriptors and threads of this process.\n\n"
          "  --seconds N           how long (20; at least 10)\n"
          "  --restart-seconds N   how often Redis is killed (a tenth of the time, at least 3, at most 60)\n"
          "  --slack-kb N          by how much resident memory may grow after the warm-up (1024)\n"
          "  --seed N              of what the threads do (1)\n\n"
          "Exit status 1: something grew, an answer was wrong, or something was never done.\n",
          file);
}

static double number(const char *name, const char *text, double least, double most)
{
    char *end = NULL;
    double value = text ? strtod(text, &end) : 0;
    if (!text || end == text || *end || value < least || value > most) {
        fprintf(stderr, "%s takes a number from %g to %g\n", name, least, most);
        exit(2);
    }
    return value;
}

static settings read_settings(int count, char **arguments)
{
    settings s = {.seconds = 20, .slack_kb = 1024, .seed = 1};
    for (int i = 1; i < count; i += 2) {
        const char *name = arguments[i], *value = i + 1 < count ? arguments[i + 1] : NULL;
        if (!strcmp(name, "--help")) usage(stdout), exit(0);
        else if (!strcmp(name, "--seconds")) s.seconds = number(name, value, 10, 1e6);
        else if (!strcmp(name, "--restart-seconds")) s.restart_s = number(name, value, 1, 1e6);
        else if (!strcmp(name, "--slack-kb")) s.slack_kb = number(name, value, 0, 1e9);
        else if (!strcmp(name, "--seed")) s.seed = (unsigned)number(name, value, 0, 1e9);
        else usage(stderr), exit(2);
    }
    if (s.restart_s == 0) s.restart_s = s.seconds / 10 < 3 ? 3 : s.seconds / 10 > 60 ? 60 : s.seconds / 10;
    return s;
}

/* ---------------------------------------------------------------------------------------------- the course -- */

/* Sessions may idle out while no call uses them, so much later than any restart lasts. Few connections, so that all of
 * them are in use and their number says something. */
#define COMMON "idle_ms=120000&l1_ttl_ms=1000&l1_capacity=5000&connections=2&staleness_ms=1000&deadline_ms=250&lazy=1"

static void open_and_close(redis *on)
{
    char config[512], error[256];
    latchkey *lk;
    handle_config(on, 0, COMMON, config, sizeof config);
    int status = latchkey_open(config, &lk, error, sizeof error);
    if (status != LATCHKEY_OK) fail_msg("open: %s: %s", latchkey_status_text(status), error);
    latchkey_validate(lk, "short", 5, &(latchkey_entry){0});
    latchkey_close(lk);
}

/* By a handle that has the time which a slow machine takes. */
static void make_fixed(soak *s, redis *on)
{
    latchkey *maker = handle_open(on, "idle_ms=120000");
    for (size_t i = 0; i < FIXED; i++) make_session(maker, fixed_user(i), s->fixed[i]);
    handle_close(maker);
}

typedef struct course {
    redis *server;
    double seconds, restart_s, next_restart_s, next_look_s;
    int64_t began_ms;
    gauge *gauges;
    size_t count, room;
    int restarts;
} course;

static double now_s(const course *c) { return (double)(check_now_ms() - c->began_ms) / 1000; }

static void pause_ms(int ms)
{
    for (int64_t until = check_now_ms() + ms; check_now_ms() < until;) check_pause();
}

static void look(course *c)
{
    static const char *const wheel = "|/-\\";
    open_and_close(c->server);
    if (c->count == c->room) fail_msg("more looks than were planned");
    gauge now = c->gauges[c->count++] = gauge_read(now_s(c));
    fprintf(stderr, "%c %6.0f of %.0f s: %8.0f kB, %d descriptors, %d threads, %d restarts\n", wheel[c->count % 4],
            now.at_s, c->seconds, now.resident_kb, now.descriptors, now.threads, c->restarts);
}

/* A second without Redis, and two more before the next look: what is open then is what load needs. */
static void restart(course *c)
{
    redis_kill(c->server);
    pause_ms(1000);
    redis_boot(c->server);
    c->restarts++;
    if (c->next_look_s < now_s(c) + 2) c->next_look_s = now_s(c) + 2;
}

static void run(course *c)
{
    double look_s = c->seconds / 60 < 0.2 ? 0.2 : c->seconds / 60 > 20 ? 20 : c->seconds / 60;
    c->next_restart_s = c->restart_s;
    c->room = (size_t)(c->seconds / look_s) + 8;
    c->gauges = calloc(c->room, sizeof *c->gauges);
    while (now_s(c) < c->seconds) {
        /* Not at the very end: the last looks are at a process that is served. */
        if (now_s(c) >= c->next_restart_s && now_s(c) < c->seconds - 4) {
            restart(c);
            c->next_restart_s = now_s(c) + c->restart_s;
        }
        if (now_s(c) >= c->next_look_s) {
            c->next_look_s = now_s(c) + look_s;
            look(c);
        }
        pause_ms(20);
    }
}

static bool all_done(const soak *s)
{
    bool all = true;
    printf("%-12s %12s %12s\n", "", "answered", "unanswered");
    for (int i = 0; i < DOINGS; i++) {
        bool some = s->done[i] > 0;
        printf("%-12s %12llu %12llu%s\n", doing_names[i], (unsigned long long)s->done[i],
               (unsigned long long)s->unanswered[i], some ? "" : "  NEVER DONE");
        all = all && some;
    }
    return all;
}

int main(int count, char **arguments)
{
    settings wanted = read_settings(count, arguments);
    mallopt(M_ARENA_MAX, 2); /* arenas that come into use one by one would look like growth */
    /* What Redis acknowledged survives SIGKILL: it is in the kernel's pages by then. Not so with `everysec`: while its
     * fsync runs, Redis answers first and writes up to two seconds later. */
    course c = {.server = redis_start("--appendonly", "yes", "--appendfsync", "no"),
                .seconds = wanted.seconds,
                .restart_s = wanted.restart_s};
    soak *s = calloc(1, sizeof *s);
    s->seed = wanted.seed;
    s->handles[0] = handle_open(c.server, COMMON);
    s->handles[1] = handle_open_tcp(c.server, COMMON "&grace_ms=500&audit_per_s=20");
    make_fixed(s, c.server);
    c.began_ms = check_now_ms();
    crew *workers = crew_start(WORKERS, work, s), *loop = crew_start(1, evented, s);
    run(&c);
    crew_stop(workers);
    crew_stop(loop);
    crew_join(workers);
    crew_join(loop);
    handle_close_all(NULL);

    bool whole = all_done(s);
    bool steady = gauges_judge(c.gauges, c.count, wanted.slack_kb);
    printf("%d restarts of Redis, %zu looks, %llu answers wrong\n", c.restarts, c.count, (unsigned long long)s->wrong);
    bool good = whole && steady && s->wrong == 0 && c.restarts > 0;
    printf("%s\n", good ? "nothing grew" : "FAILED");
    redis_end(c.server);
    free(c.gauges);
    free(s);
    return good ? 0 : 1;
}

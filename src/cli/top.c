/* latchkey top: every instance at work, by the numbers in its beats. The instances are not asked, and they open no
 * port: Redis carries their beats anyway. On a terminal it uses plain ANSI sequences, elsewhere it prints lines, and
 * objects with --json. */
#include "cli/fleet.h"
#include "cli/subscriber.h"

#include "base/clock.h"

#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { DRAW_MS = 1000, DRAW_LEAST_MS = 200, FORGET_MS = 60000, LISTEN_LEAST_MS = 1500, WAIT_MS = 100 };

static bool once;
static uint64_t seconds;
static volatile sig_atomic_t ended;

/* ------------------------------------------------------------------------------------------- the terminal -- */

static struct termios before;
static bool on_screen, keys_changed;

static void end_it(int signal)
{
    (void)signal;
    ended = 1;
}

static void enter_screen(void)
{
    on_screen = true;
    keys_changed = tcgetattr(STDIN_FILENO, &before) == 0;
    if (keys_changed) {
        struct termios raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 0;
        raw.c_cc[VTIME] = 0;
        raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* a stopped program would leave the terminal like this */
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    fputs("\033[?1049h\033[?25l", stdout); /* a separate screen, without a cursor */
}

static void leave_screen(void)
{
    if (!on_screen) return;
    on_screen = false;
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    if (keys_changed) tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

static int screen_rows(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row ? size.ws_row : 24;
}

/* -------------------------------------------------------------------------------------------------- cells -- */

enum { CELL = 32 };

static const char *number_text(char out[CELL], double value)
{
    static const char units[] = " kMGT";
    size_t unit = 0;
    for (; value >= 9999.5 && units[unit + 1]; unit++) value /= 1000;
    if (unit) snprintf(out, CELL, "%.1f%c", value, units[unit]);
    else snprintf(out, CELL, "%.*f", value > 0 && value < 9.95 ? 1 : 0, value);
    return out;
}

static const char *duration_us(char out[CELL], int64_t us)
{
    if (us <= 0) snprintf(out, CELL, "-");
    else if (us < 10000) snprintf(out, CELL, "%.2f", (double)us / 1000);
    else snprintf(out, CELL, "%.0f", (double)us / 1000);
    return out;
}

static const char *uptime_text(char out[CELL], int64_t ms)
{
    int64_t s = ms / 1000;
    if (ms < 0) snprintf(out, CELL, "?");
    else if (s >= 86400) snprintf(out, CELL, "%" PRId64 "d%02" PRId64 "h", s / 86400, s / 3600 % 24);
    else if (s >= 3600) snprintf(out, CELL, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
    else snprintf(out, CELL, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    return out;
}

static void rate_cell(table *t, const fleet_instance *i, double value)
{
    char text[CELL];
    table_cell(t, i->rated ? number_text(text, value) : "-");
}

static void share_cell(table *t, double share)
{
    char text[CELL] = "-";
    /* Less than all is not shown as 100. */
    if (share >= 0) snprintf(text, sizeof text, "%.2f", share < 1 && share > 0.9999 ? 99.99 : share * 100);
    table_cell(t, text);
}

static const char *const headings[] = {
    "INSTANCE",   "HOST",     ">PID",     "NAME",      ">UP",   ">REQ/S", ">HIT %", ">MISS/S", ">P50 ms", ">P99 ms",
    ">REVOKED/S", ">LAG P50", ">LAG P99", ">LEASE ms", ">L1 %", ">WAIT",  ">ERR/S", "",        NULL};
enum { COLUMNS = sizeof headings / sizeof *headings - 1 };

static const char *remark(char out[CELL], const fleet_instance *i, int64_t now_ms)
{
    *out = 0;
    if (i->heard_ms && now_ms - i->heard_ms > 3000 && now_ms - i->heard_ms > 3 * i->silent_ms)
        snprintf(out, CELL, "silent for %" PRId64 " s", (now_ms - i->heard_ms) / 1000);
    else if (!i->tells) snprintf(out, CELL, "no numbers");
    else if (i->now.lease_age_ms < 0) snprintf(out, CELL, "no lease");
    else if (i->now.pending) snprintf(out, CELL, "%" PRId64 " pending", i->now.pending);
    return out;
}

static void instance_row(table *t, const fleet_instance *i, int64_t now_ms)
{
    char text[CELL];
    const lk_beat_stats *p = &i->now;
    table_cell(t, i->name);
    fleet_cells(t, i);
    if (i->tells) {
        table_cell(t, uptime_text(text, p->uptime_ms));
        rate_cell(t, i, i->rates.validates);
        share_cell(t, i->rated ? fleet_hit_share(&i->rates) : -1);
        rate_cell(t, i, i->rates.misses);
        table_cell(t, duration_us(text, p->read_p50_us));
        table_cell(t, duration_us(text, p->read_p99_us));
        rate_cell(t, i, i->rates.purges);
        table_cell(t, duration_us(text, p->lag_p50_us));
        table_cell(t, duration_us(text, p->lag_p99_us));
        snprintf(text, sizeof text, "%" PRId64, p->lease_age_ms);
        table_cell(t, p->lease_age_ms < 0 ? "none" : text);
        share_cell(t, p->capacity ? (double)p->entries / (double)p->capacity : -1);
        table_cell(t, number_text(text, (double)p->in_flight));
        rate_cell(t, i, i->rates.errors);
    } else
        for (int k = 0; k < COLUMNS - 5; k++) table_cell(t, "-");
    table_cell(t, remark(text, i, now_ms));
}

static bool print_fleet(const fleet *h, int64_t now_ms, size_t most)
{
    fleet_instance total;
    fleet_total(h, &total);
    table *t = table_open(headings);
    if (!t) return false;
    instance_row(t, &total, now_ms);
    for (size_t i = 0; i < h->count && i < most; i++) instance_row(t, &h->instance[i], now_ms);
    bool printed = table_print(t);
    if (h->count > most) cli_say(stdout, "... and %zu more\n", h->count - most);
    return printed;
}

/* --------------------------------------------------------------------------------------------------- json -- */

static void json_instance(json *j, const char *name, const fleet_instance *i, int64_t now_ms)
{
    lk_beat_stats numbers = i->now;
    json_open(j, name, '{');
    json_text(j, "instance", i->name);
    json_int(j, "heard_ms_ago", i->heard_ms ? now_ms - i->heard_ms : 0);
    json_bool(j, "tells", i->tells);
    json_text(j, "host", numbers.host);
    json_text(j, "name", numbers.name);
    if (i->tells) {
        json_text(j, "version", numbers.version);
        json_real(j, "validates_per_s", i->rates.validates);
        json_real(j, "hit_rate", fleet_hit_share(&i->rates) < 0 ? NAN : fleet_hit_share(&i->rates));
        json_real(j, "misses_per_s", i->rates.misses);
        json_real(j, "refused_per_s", i->rates.refused);
        json_real(j, "l2_reads_per_s", i->rates.reads);
        json_real(j, "l2_writes_per_s", i->rates.writes);
        json_real(j, "errors_per_s", i->rates.errors);
        json_real(j, "revocations_per_s", i->rates.purges);
        for (size_t k = 0; k < lk_beat_number_count; k++)
            json_int(j, lk_beat_numbers[k].json, *lk_beat_number_of(&numbers, &lk_beat_numbers[k]));
    }
    json_close(j, '}');
}

static void print_fleet_json(const fleet *h, int64_t now_ms)
{
    fleet_instance total;
    json j = {0};
    fleet_total(h, &total);
    json_open(&j, NULL, '{');
    json_open(&j, "instances", '[');
    for (size_t i = 0; i < h->count; i++) json_instance(&j, NULL, &h->instance[i], now_ms);
    json_close(&j, ']');
    json_instance(&j, "total", &total, now_ms);
    json_close(&j, '}');
}

/* --------------------------------------------------------------------------------------------------- loop -- */

static int draw(const cli *c, const fleet *h, int64_t now_ms)
{
    bool good = true;
    size_t most = on_screen && screen_rows() > 5 ? (size_t)screen_rows() - 5 : on_screen ? 1 : FLEET_MOST;
    if (on_screen) {
        fputs("\033[H\033[J", stdout);
        cli_say(stdout, "%zu instance%s; q ends\n\n", h->count, h->count == 1 ? "" : "s");
    }
    if (c->json) print_fleet_json(h, now_ms);
    else if (!h->count) cli_say(stdout, "no instance is heard yet\n");
    else good = print_fleet(h, now_ms, most);
    if (fflush(stdout) || !good) return cli_fail(c, CLI_FAILED, good ? "the output cannot be written" : "no memory");
    return CLI_DONE;
}

/* Waits until a message comes, a key is pressed, or a moment has passed. */
static void wait_a_moment(subscriber *w)
{
    struct pollfd fd[2] = {{.fd = w->socket.fd, .events = POLLIN},
                           {.fd = on_screen ? STDIN_FILENO : -1, .events = POLLIN}};
    char key;
    if (poll(fd, 2, WAIT_MS) <= 0 || !fd[1].revents) return;
    ssize_t got = read(STDIN_FILENO, &key, 1);
    if (got <= 0 || key == 'q' || key == 'Q' || key == 3 || key == 4) ended = 1; /* or the terminal is gone */
}

static bool take_beats(subscriber *w, fleet *h, bool *heard)
{
    lk_reply *reply;
    int got;
    while ((got = subscriber_next(w, &reply)) > 0) {
        *heard |= fleet_take(h, reply, lk_now_ms());
        lk_reply_free(reply);
    }
    return got == 0;
}

/* In a cluster the channel may go to another node: it is followed there. */
static bool follow_channel(subscriber *w)
{
    const cli *c = w->c;
    if (!w->config.cluster || ended) return false;
    subscriber_close(w);
    return !subscriber_open(w, c) && !subscriber_listen(w);
}

static int watch_fleet(const cli *c, subscriber *w, fleet *h, int64_t until_ms)
{
    int64_t drawn_ms = 0;
    bool heard = false;
    int exit = CLI_DONE;
    while (!exit && !ended) {
        if (!take_beats(w, h, &heard) && !follow_channel(w))
            return leave_screen(), cli_fail(c, CLI_AWAY, "%s", w->error);
        int64_t now_ms = lk_now_ms();
        if (until_ms && now_ms >= until_ms) break;
        int64_t apart_ms = heard && on_screen ? DRAW_LEAST_MS : DRAW_MS;
        if (!once && now_ms - drawn_ms >= apart_ms) {
            fleet_forget(h, now_ms, FORGET_MS);
            exit = draw(c, h, now_ms);
            drawn_ms = now_ms;
            heard = false;
        }
        wait_a_moment(w);
    }
    leave_screen();
    return exit || !once ? exit : draw(c, h, lk_now_ms());
}

/* Long enough for three beats of every instance, and for rates. */
static int64_t listen_ms(const subscriber *w)
{
    int64_t beats_ms = w->config.staleness_ms / 2 * 3 + 500;
    if (seconds) return (int64_t)seconds * 1000;
    return !once ? 0 : beats_ms > LISTEN_LEAST_MS ? beats_ms : LISTEN_LEAST_MS;
}

static int watch_all(const cli *c, subscriber *w)
{
    fleet h;
    struct sigaction action = {.sa_handler = end_it};
    if (!fleet_open(&h, w->config.prefix, w->config.database)) return cli_fail(c, CLI_FAILED, "no memory");
    int exit = subscriber_listen(w);
    if (!exit) {
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        sigaction(SIGHUP, &action, NULL);
        if (!once && !c->json && isatty(STDOUT_FILENO)) enter_screen();
        int64_t ms = listen_ms(w);
        exit = watch_fleet(c, w, &h, ms ? lk_now_ms() + ms : 0);
        leave_screen();
    }
    if (!exit && once && !h.count) exit = CLI_NO;
    fleet_close(&h);
    return exit;
}

static int run_top(const cli *c)
{
    subscriber *w = malloc(sizeof *w);
    if (!w) return cli_fail(c, CLI_FAILED, "no memory");
    int exit = subscriber_open(w, c);
    if (!exit) {
        exit = watch_all(c, w);
        subscriber_close(w);
    }
    free(w);
    return exit;
}

static const cli_option options[] = {
    {.name = "once",
     .given = &once,
     .help = "listens for three beats, prints one table, and ends; exit 1: no instance was heard"},
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
    .summary = "all instances at work, live",
    .help =
        "Shows each instance, by host, process and name, and the numbers in its beats (one every staleness_ms / 4, or "
        "/ 2\n"
        "while idle): requests, the share that L1\n"
        "answered, misses and how long they took, revocations and how long they took to arrive, the age of the\n"
        "lease, how full L1 is, callers that wait for Redis, errors. Rates are of the last second, times of the last\n"
        "five to ten seconds. The first line is all instances together: sums, and the worst of the times.\n"
        "\n"
        "q or control-C ends it. Without a terminal it prints a table each second, with --json an object. It listens\n"
        "to Redis and asks the instances nothing; the Redis user needs +psubscribe, in a cluster +ssubscribe. An\n"
        "instance of an older version shows \"no numbers\".",
    .options = options,
    .run = run_top,
};

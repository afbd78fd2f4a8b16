/* The way to Redis: whether it is private, whether it is short enough for the deadlines, and whether both clocks agree. */
#include "cli/doctor/doctor.h"

#include "base/clock.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 33 };
#define SECONDS_MOST UINT64_C(999999999999) /* thirty thousand years: a larger time cannot be right */

static bool is_loopback(const struct sockaddr_storage *at)
{
    if (at->ss_family == AF_UNIX) return true;
    if (at->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)at)->sin_addr.s_addr) >> 24 == 127;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)at)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == 127);
}

static void look_at_privacy(doctor *d)
{
    const query *p = d->app;
    bool local = true;
    for (unsigned i = 0; i < p->addresses.count; i++) local &= is_loopback(&p->addresses.address[i].at);
    if (!p->config.tls && !local)
        doctor_fix(
            doctor_find(d, LATCHKEY_LOG_WARNING, "tls", "A C E",
                        "off, and Redis is on another machine: an attacker in the network can read the password, and "
                        "can answer in place of Redis: admit any session, and hide revocations"),
            "rediss:// in the URL, with ca_file; tls-port, tls-cert-file and tls-key-file in redis.conf");
    if (!p->config.has_password)
        doctor_fix(
            doctor_find(
                d, LATCHKEY_LOG_WARNING, "password", "A C E",
                "none: everyone who reaches the port or the socket of Redis can make, read and end sessions, and "
                "put revoked ones back"),
            "a user of its own for the application (see acl-excess), or: CONFIG SET requirepass PASSWORD; and "
            "password_file in the URL");
}

static int by_value(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The server's clock less ours, by the shortest of the rounds; and the rounds' median. */
static bool measure_rounds(doctor *d, int64_t *median_us, int64_t *ahead_us)
{
    int64_t took[ROUNDS], shortest = INT64_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        int64_t before = lk_clock_read(CLOCK_REALTIME, 1000), began = lk_now_us();
        lk_reply *reply = QUERY(d->app, "TIME");
        took[i] = lk_now_us() - began;
        uint64_t s, us;
        bool good = reply && lk_reply_shaped(reply, "ss") &&
                    cli_number(lk_reply_at(reply, 0)->text, 0, SECONDS_MOST, &s) &&
                    cli_number(lk_reply_at(reply, 1)->text, 0, 999999, &us);
        if (good && took[i] < shortest) {
            shortest = took[i];
            *ahead_us = (int64_t)(s * 1000000 + us) - before - took[i] / 2;
        }
        lk_reply_free(reply);
        if (!good) return false;
    }
    qsort(took, ROUNDS, sizeof *took, by_value);
    *median_us = took[ROUNDS / 2];
    return true;
}

void doctor_wire(doctor *d)
{
    enum { APART_MS = 2000 };
    int64_t median_us, ahead_us = 0, deadline_ms = d->app->config.deadline_ms, bound_ms = d->app->config.staleness_ms;
    look_at_privacy(d);
    if (!measure_rounds(d, &median_us, &ahead_us)) return;
    d->round_trip_ms = (double)median_us / 1000;
    d->clock_ahead_ms = (double)ahead_us / 1000;
    if (median_us > deadline_ms * 1000 / 4)
        doctor_fix(doctor_find(d, LATCHKEY_LOG_WARNING, "deadline", "G",
                               "a round trip takes %.1f ms, more than a quarter of deadline_ms (%" PRId64
                               "): calls that miss answer UNAVAILABLE whenever Redis or the wire is a little slower",
                               d->round_trip_ms, deadline_ms),
                   "deadline_ms=%" PRId64 " or more in the URL, or Redis nearer", 10 * median_us / 1000 + 1);
    if (median_us > bound_ms * 1000 / 16)
        doctor_fix(doctor_find(d, LATCHKEY_LOG_WARNING, "beat", "C",
                               "a round trip takes %.1f ms, more than a quarter of the time between two beats "
                               "(staleness_ms/4 = %" PRId64
                               " ms): the lease lapses easily, and then every call asks Redis",
                               d->round_trip_ms, bound_ms / 4),
                   "staleness_ms=%" PRId64 " or more in the URL, or Redis nearer", 32 * median_us / 1000 + 1);
    if (llabs(ahead_us) > APART_MS * 1000)
        doctor_fix(
            doctor_find(d, LATCHKEY_LOG_NOTICE, "clock", "",
                        "that of Redis is %.1f s %s of this machine's: sessions live and die by Redis' clock alone "
                        "(H), but times in entries, logs and certificates do not fit together",
                        (double)llabs(ahead_us) / 1e6, ahead_us > 0 ? "ahead" : "behind"),
            "NTP on both machines");
}

/* See sentinels.h. What a handle does with its sentinels; sentinels_tool.c is what a tool does. */
#include "base/backoff.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "l2/sentinels_parts.h"
#include "redis/errors.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ASKED_MOST_MS = 250,   /* between two questions */
    ANSWER_LEAST_MS = 500, /* no beat waits for an answer for longer than half of staleness_ms: by then */
    ANSWER_MOST_MS = 1000, /* a connection that does not answer is dropped, not sooner and not later than these */
    CONNECT_MOST_MS = 500,
    LOOKUP_AGAIN_MS = 10,
    BACKOFF_MIN_MS = 50,
    BACKOFF_MAX_MS = 1000,
    APART_MS = 15000 /* during a failover, sentinels disagree for some seconds */
};
enum { TAG_AUTH = 1, TAG_ID, TAG_QUESTION, TAG_OTHERS };

lk_sentinels *lk_sentinels_open(const lk_config *config, int64_t now_ms)
{
    lk_sentinels *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->config = config;
    s->naming.listed = config->sentinels;
    s->patience_ms = lk_earlier(lk_later(config->staleness_ms / 2, ANSWER_LEAST_MS), ANSWER_MOST_MS);
    s->apart_ms = lk_earlier(config->staleness_ms / 4 / LK_SENTINELS_ASKED, ASKED_MOST_MS);
    lk_random(&s->random, sizeof s->random);
    for (unsigned i = 0; i < s->naming.listed; i++) {
        s->at[i].socket = LK_NO_SOCKET;
        s->at[i].retry_at_ms = now_ms;
        snprintf(s->naming.said[i].why, sizeof s->naming.said[i].why, "it has not answered yet");
    }
    return s;
}

void lk_sentinels_close(lk_sentinels *s)
{
    if (!s) return;
    for (unsigned i = 0; i < s->naming.listed; i++) {
        lk_net_close(&s->at[i].socket);
        lk_conn_close(&s->at[i].conn);
        lk_lookup_leave(&s->at[i].lookup);
    }
    free(s);
}

void lk_sentinels_abandon(lk_sentinels *s)
{
    for (unsigned i = 0; s && i < s->naming.listed; i++)
        if (s->at[i].socket.fd >= 0) close(s->at[i].socket.fd);
}

lk_naming *lk_sentinels_naming(lk_sentinels *s) { return &s->naming; }

bool lk_sentinels_heard_all(const lk_sentinels *s)
{
    bool all = true;
    for (unsigned i = 0; i < s->naming.listed; i++) all = all && s->at[i].tried;
    return all;
}

/* ------------------------------------------------------------------------------------------- one sentinel -- */

static void take_said(lk_sentinels *s, unsigned i, const lk_said *said, int64_t now_ms)
{
    s->at[i].tried = true;
    s->news |= lk_naming_take(&s->naming, i, said, now_ms, s->config->staleness_ms);
}

static void lose(lk_sentinels *s, unsigned i, int64_t now_ms, const char *why)
{
    lk_sentinel *at = &s->at[i];
    /* Its last answer counts while it is young: the end of a connection says nothing about the primary. */
    lk_said said = s->naming.said[i];
    if (at->socket.refused) {
        said = (lk_said){.what = LK_SAID_REFUSED}; /* its certificate, for example: waiting does not help */
        snprintf(said.why, sizeof said.why, "%s", why);
    } else if (said.what == LK_SAID_PRIMARY || said.what == LK_SAID_NOTHING) {
        if (now_ms - said.asked_ms > s->config->staleness_ms) said.what = LK_SAID_NOTHING;
        snprintf(said.why, sizeof said.why, "%s", why);
    }
    take_said(s, i, &said, now_ms);
    s->random = lk_hash(&now_ms, sizeof now_ms, s->random);
    at->retry_at_ms = now_ms + lk_backoff_ms(at->failures++, BACKOFF_MIN_MS, BACKOFF_MAX_MS, s->random);
    at->state = LK_SENTINEL_DOWN;
    at->address++; /* another address may be better */
    at->first = at->out = 0;
    lk_net_close(&at->socket);
    lk_conn_close(&at->conn);
}

/* An IPv4 address may be written as an IPv6 address, ::ffff:a.b.c.d: it is the same sentinel. */
static struct sockaddr_storage peer_of(const struct sockaddr_storage *address)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
    struct sockaddr_storage peer = {0};
    struct sockaddr_in *four = (struct sockaddr_in *)&peer;
    if (address->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) return *address;
    four->sin_family = AF_INET;
    four->sin_port = six->sin6_port;
    memcpy(&four->sin_addr, six->sin6_addr.s6_addr + 12, sizeof four->sin_addr);
    return peer;
}

static bool same_peer(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family) return false;
    if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)a, *y = (const struct sockaddr_in6 *)b;
        return x->sin6_port == y->sin6_port && x->sin6_scope_id == y->sin6_scope_id &&
               !memcmp(&x->sin6_addr, &y->sin6_addr, sizeof x->sin6_addr);
    }
    const struct sockaddr_in *x = (const struct sockaddr_in *)a, *y = (const struct sockaddr_in *)b;
    return a->ss_family == AF_INET && x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
}

static bool send_auth(const lk_config *config, lk_conn *conn)
{
    if (!config->has_sentinel_password) return true;
    char password[LK_PASSWORD_SIZE];
    lk_config_sentinel_password(config, password);
    lk_span auth[3] = {lk_word("AUTH"), lk_word(config->sentinel_user), lk_word(password)};
    bool user = config->sentinel_user[0];
    if (!user) auth[1] = auth[2];
    bool sent = lk_conn_send(conn, TAG_AUTH, auth, user ? 3 : 2);
    lk_wipe(password, sizeof password);
    return sent;
}

static void ask_sentinel(lk_sentinels *s, unsigned i, int64_t now_ms)
{
    lk_sentinel *at = &s->at[i];
    const lk_span words[3] = {lk_word("SENTINEL"), lk_word("GET-MASTER-ADDR-BY-NAME"), lk_word(s->config->service)};
    if (at->state != LK_SENTINEL_UP || at->out == LK_SENTINEL_QUESTIONS) return;
    if (!lk_conn_send(&at->conn, TAG_QUESTION, words, 3)) {
        lose(s, i, now_ms, "no memory for a command");
        return;
    }
    at->asked_ms[(at->first + at->out++) % LK_SENTINEL_QUESTIONS] = now_ms;
}

/* Once a connection, before it is asked for the primary: so its id is known when its word comes. */
static bool ask_for_id(lk_conn *conn)
{
    const lk_span words[2] = {lk_word("SENTINEL"), lk_word("MYID")};
    return lk_conn_send(conn, TAG_ID, words, 2);
}

/* Once a connection: an answer only serves the log, so a refusal of it does not matter. */
static bool ask_for_others(const lk_sentinels *s, lk_conn *conn)
{
    const lk_span words[3] = {lk_word("SENTINEL"), lk_word("SENTINELS"), lk_word(s->config->service)};
    return lk_conn_send(conn, TAG_OTHERS, words, 3);
}

static void greet_sentinel(lk_sentinels *s, unsigned i, int64_t now_ms)
{
    lk_sentinel *at = &s->at[i];
    at->state = LK_SENTINEL_UP;
    at->auth_why[0] = 0;
    if (lk_conn_open(&at->conn) && send_auth(s->config, &at->conn) && ask_for_id(&at->conn)) ask_sentinel(s, i, now_ms);
    else lose(s, i, now_ms, "no memory for a connection");
    if (at->state == LK_SENTINEL_UP && !ask_for_others(s, &at->conn)) lose(s, i, now_ms, "no memory for a command");
}

/* Two names may lead to one sentinel, and its word counts once: else it could be a majority by itself. It is one if its address
 * is the same, which is known before it is asked; or, since it may have several addresses, its id (`by_id`), which it
 * tells if its user may ask (SENTINEL MYID). True: another name has a connection to it, so this one gets none. What another
 * name was told there before counts no more. */
static bool is_twin(lk_sentinels *s, unsigned i, bool by_id, int64_t now_ms)
{
    char other[112];
    bool twin = false;
    const lk_sentinel *at = &s->at[i];
    for (unsigned j = 0; j < s->naming.listed && !twin; j++) {
        const lk_sentinel *before = &s->at[j];
        bool same = by_id ? *at->id && !strcmp(at->id, before->id) : same_peer(&at->peer, &before->peer);
        if (j == i || !same) continue;
        twin = before->state == LK_SENTINEL_UP || (before->state == LK_SENTINEL_CONNECTING && !by_id);
        lk_host_text(&s->config->sentinel[twin ? j : i], other, sizeof other);
        lk_said said = {.what = twin ? LK_SAID_REFUSED : LK_SAID_NOTHING, .same_as = twin ? j + 1 : 0};
        snprintf(said.why, sizeof said.why, "it is the same as %.60s: list each sentinel once", other);
        take_said(s, twin ? i : j, &said, now_ms);
    }
    if (twin) lose(s, i, now_ms, s->naming.said[i].why);
    return twin;
}

static void begin_connection(lk_sentinels *s, unsigned i, int64_t now_ms)
{
    lk_sentinel *at = &s->at[i];
    char error[160];
    at->state = LK_SENTINEL_LOOKING_UP;
    at->retry_at_ms = now_ms + LOOKUP_AGAIN_MS;
    enum lk_net_io found =
        lk_lookup_ask(&at->lookup, s->config, &s->config->sentinel[i], now_ms, -1, &at->addresses, error, sizeof error);
    if (found == LK_NET_LATER) snprintf(s->naming.said[i].why, sizeof s->naming.said[i].why, "%.120s", error);
    if (found == LK_NET_LATER) return;
    bool begun = found == LK_NET_DONE && at->addresses.count;
    at->addresses.sentinel = true;
    if (begun) {
        at->peer = peer_of(&at->addresses.address[at->address % at->addresses.count].at);
        if (is_twin(s, i, false, now_ms)) return;
        begun = lk_net_begin(&at->addresses, at->address % at->addresses.count, &at->socket, error, sizeof error);
    }
    if (!begun) {
        lose(s, i, now_ms, error);
        return;
    }
    at->state = LK_SENTINEL_CONNECTING;
    at->until_ms = now_ms + CONNECT_MOST_MS;
}

/* A whole decimal number from 1 to 65535; 0: it is none. The reply may hold any bytes. */
static uint16_t port_of(const lk_reply *reply)
{
    unsigned number = 0;
    if (reply->type != LK_REPLY_STRING || !reply->size || reply->size > 5) return 0;
    for (size_t i = 0; i < reply->size; i++) {
        if (reply->text[i] < '0' || reply->text[i] > '9') return 0;
        number = number * 10 + (unsigned)(reply->text[i] - '0');
    }
    return number < 65536 ? (uint16_t)number : 0;
}

/* A name or an address: visible ASCII alone, since it is looked up, compared and logged. */
static bool is_host(const lk_reply *reply, size_t most)
{
    if (reply->type != LK_REPLY_STRING || !reply->size || reply->size > most) return false;
    for (size_t i = 0; i < reply->size; i++)
        if (reply->text[i] < 0x21 || reply->text[i] > 0x7e) return false;
    return true;
}

static void take_address(lk_said *said, const lk_reply *reply)
{
    const lk_reply *host = reply->item[0];
    uint16_t port = port_of(reply->item[1]);
    if (!port || !is_host(host, sizeof said->primary.name - 1)) {
        said->what = LK_SAID_REFUSED;
        snprintf(said->why, sizeof said->why, "it names a primary without an address");
        return;
    }
    said->what = LK_SAID_PRIMARY;
    memcpy(said->primary.name, host->text, host->size);
    snprintf(said->primary.port, sizeof said->primary.port, "%u", port);
}

static bool is_in_list(const lk_sentinels *s, const lk_host *host)
{
    struct sockaddr_storage peer = {0};
    struct sockaddr_in *four = (struct sockaddr_in *)&peer;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&peer;
    in_port_t port = htons((in_port_t)atoi(host->port));
    if (inet_pton(AF_INET, host->name, &four->sin_addr) == 1) four->sin_family = AF_INET, four->sin_port = port;
    else if (inet_pton(AF_INET6, host->name, &six->sin6_addr) == 1) six->sin6_family = AF_INET6, six->sin6_port = port;
    for (unsigned i = 0; i < s->naming.listed; i++)
        if (lk_host_same(&s->config->sentinel[i], host) || same_peer(&s->at[i].peer, &peer)) return true;
    return false;
}

/* One of the sentinels that a sentinel knows, as names and values in turn. False: it has no address. */
static bool take_other(const lk_reply *map, lk_host *host)
{
    const lk_reply *name = NULL, *port = NULL;
    for (size_t k = 0; map->type == LK_REPLY_ARRAY && k + 1 < map->size; k += 2) {
        if (lk_reply_is(map->item[k], "ip")) name = map->item[k + 1];
        if (lk_reply_is(map->item[k], "port")) port = map->item[k + 1];
    }
    if (!name || !port || !port_of(port) || !is_host(name, sizeof host->name - 1)) return false;
    *host = (lk_host){0};
    memcpy(host->name, name->text, name->size);
    memcpy(host->port, port->text, port->size);
    return true;
}

/* Sentinels that are not listed are not asked. So if there are more than are listed, the configuration is out of date, or was
 * never whole. The sentinels go on counting one that is gone until SENTINEL RESET. If they know no more than are listed, all
 * are listed, perhaps by other addresses. */
static void say_others(lk_sentinels *s, unsigned i, const lk_reply *others)
{
    char at[112], text[112];
    lk_host host;
    if (others->type != LK_REPLY_ARRAY || others->size < s->naming.listed || others->size > LK_SENTINELS_MAX) return;
    for (size_t k = 0; k < others->size; k++) {
        if (!take_other(others->item[k], &host) || is_in_list(s, &host)) continue;
        uint64_t mark = lk_hash(&host, sizeof host, 0) | 1;
        if (s->said_other == mark) return;
        s->said_other = mark;
        lk_host_text(&s->config->sentinel[i], at, sizeof at);
        lk_host_text(&host, text, sizeof text);
        lk_log(LATCHKEY_LOG_INFO,
               "sentinel %s knows %zu others, and %u are listed: %s is not, so it is not asked. List it; or, if it is "
               "gone, "
               "make the sentinels forget it (SENTINEL RESET)",
               at, others->size, s->naming.listed, text);
        return;
    }
}

/* Without an id, two names of it are known by their addresses alone. */
static void take_id(lk_sentinels *s, unsigned i, const lk_reply *reply, int64_t now_ms)
{
    lk_sentinel *at = &s->at[i];
    memset(at->id, 0, sizeof at->id);
    if (!is_host(reply, sizeof at->id - 1)) return;
    memcpy(at->id, reply->text, reply->size);
    is_twin(s, i, true, now_ms);
}

/* What the error means. *passes: it may pass by itself, as -LOADING does; else a person has to change something. */
static const char *refusal(const lk_reply *reply, bool *passes, char *text, size_t size)
{
    static const struct {
        const char *begins, *text;
    } known[] = {
        {"NOAUTH", "it wants a password: give sentinel_password_file"},
        {"WRONGPASS", "it refuses sentinel_user or the password of sentinel_password_file"},
        {"ERR AUTH", "it has no password: leave out sentinel_password_file, or set requirepass there"},
        {"ERR Client sent AUTH", "it has no password: leave out sentinel_password_file"},
        {"NOPERM", "its user may not ask it: the ACL needs +sentinel|get-master-addr-by-name"},
        {"ERR unknown command",
         "it does not know SENTINEL: name the sentinels, port 26379, not Redis; or it was renamed there"},
        {"DENIED", "it is in protected mode: give it a password, or set protected-mode no there"},
    };
    *passes = false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(reply->text, known[i].begins, strlen(known[i].begins)) == 0) return known[i].text;
    *passes = lk_known_error(reply, text, size) == LATCHKEY_UNAVAILABLE;
    lk_error_status(reply, text, size);
    return text;
}

/* A sentinel without a password refuses the one that it is given, and answers all the same. A question that was refused
 * is asked again on a new connection, since a password may have changed. */
static void take_reply(lk_sentinels *s, unsigned i, const lk_reply *reply, int64_t now_ms)
{
    lk_sentinel *at = &s->at[i];
    char text[160];
    bool passes = false;
    lk_said said = {.what = LK_SAID_UNKNOWN};
    if (reply->tag == TAG_OTHERS) {
        say_others(s, i, reply);
        return;
    }
    if (reply->tag == TAG_ID) {
        take_id(s, i, reply, now_ms);
        return;
    }
    if (reply->tag == TAG_QUESTION) {
        said.asked_ms = at->asked_ms[at->first];
        at->first = (at->first + 1) % LK_SENTINEL_QUESTIONS;
        at->out--;
    } else {
        const char *why = reply->type == LK_REPLY_ERROR ? refusal(reply, &passes, text, sizeof text) : "";
        if (!passes) snprintf(at->auth_why, sizeof at->auth_why, "%.120s", why);
        return;
    }
    if (reply->type == LK_REPLY_ERROR) {
        const char *why = at->auth_why[0] ? at->auth_why : refusal(reply, &passes, text, sizeof text);
        said.what = passes ? LK_SAID_NOTHING : LK_SAID_REFUSED;
        snprintf(said.why, sizeof said.why, "%.120s", why);
    } else if (reply->type == LK_REPLY_ARRAY && reply->size == 2) take_address(&said, reply);
    else if (reply->type != LK_REPLY_NIL) {
        said.what = LK_SAID_REFUSED;
        snprintf(said.why, sizeof said.why, "it does not answer as a Sentinel does");
    }
    take_said(s, i, &said, now_ms);
    if (said.what == LK_SAID_REFUSED || passes) lose(s, i, now_ms, said.why);
    else at->failures = 0;
}

static void read_one(lk_sentinels *s, unsigned i, int64_t now_ms)
{
    lk_sentinel *at = &s->at[i];
    char error[160];
    lk_reply *reply;
    int got = 0;
    enum lk_net_io io = lk_net_fill(&at->socket, &at->conn, error, sizeof error);
    if (io != LK_NET_DONE) {
        if (io == LK_NET_LOST) lose(s, i, now_ms, error);
        return;
    }
    while (at->state == LK_SENTINEL_UP && (got = lk_conn_next(&at->conn, &reply)) > 0) {
        bool kept = reply->tag >= LK_SENTINEL_EXAM && lk_sentinel_examined(at, reply);
        if (reply->tag < LK_SENTINEL_EXAM) take_reply(s, i, reply, now_ms);
        if (!kept) lk_reply_free(reply);
    }
    if (got < 0) lose(s, i, now_ms, "it does not answer as a Sentinel does");
}

/* ------------------------------------------------------------------------------------------------ all of them -- */

static void say_apart(lk_sentinels *s, int64_t now_ms)
{
    char at[112], named[112], most[112];
    int i = lk_naming_apart(&s->naming, now_ms, APART_MS);
    if (i < 0) return;
    lk_host_text(&s->config->sentinel[i], at, sizeof at);
    lk_host_text(&s->naming.said[i].primary, named, sizeof named);
    lk_host_text(&s->naming.primary, most, sizeof most);
    lk_log(LATCHKEY_LOG_WARNING, "sentinel %s names %s, more than half name %s: it is cut off, or its file is old", at,
           named, most);
}

static void tick_one(lk_sentinels *s, unsigned i, int64_t now_ms)
{
    lk_sentinel *at = &s->at[i];
    if ((at->state == LK_SENTINEL_DOWN || at->state == LK_SENTINEL_LOOKING_UP) && now_ms >= at->retry_at_ms)
        begin_connection(s, i, now_ms);
    else if (at->state == LK_SENTINEL_CONNECTING && now_ms >= at->until_ms)
        lose(s, i, now_ms, "cannot connect: it does not answer");
    else if (at->state == LK_SENTINEL_UP && at->out && now_ms - at->asked_ms[at->first] > s->patience_ms)
        lose(s, i, now_ms,
             at->socket.tls && !at->socket.heard ? "it takes the connection and does not answer: does it speak TLS?"
                                                 : "it takes the connection and does not answer");
}

void lk_sentinels_tick(lk_sentinels *s, int64_t beat_ms, int64_t now_ms)
{
    for (unsigned i = 0; i < s->naming.listed; i++) tick_one(s, i, now_ms);
    say_apart(s, now_ms);
    if (now_ms - s->asked_ms < s->apart_ms && s->asked_ms >= beat_ms) return;
    s->asked_ms = now_ms;
    for (unsigned i = 0; i < s->naming.listed; i++) ask_sentinel(s, i, now_ms);
}

int64_t lk_sentinels_wake_ms(const lk_sentinels *s)
{
    int64_t wake_ms = s->asked_ms + s->apart_ms;
    for (unsigned i = 0; i < s->naming.listed; i++) {
        const lk_sentinel *at = &s->at[i];
        wake_ms =
            lk_earlier(wake_ms, at->state == LK_SENTINEL_DOWN || at->state == LK_SENTINEL_LOOKING_UP ? at->retry_at_ms
                                : at->state == LK_SENTINEL_CONNECTING                                ? at->until_ms
                                                                                                     : wake_ms);
    }
    return wake_ms;
}

unsigned lk_sentinels_poll(lk_sentinels *s, struct pollfd *poll_fd, int64_t now_ms)
{
    char error[160];
    for (unsigned i = 0; i < s->naming.listed; i++) {
        lk_sentinel *at = &s->at[i];
        enum lk_net_io sent = LK_NET_LATER;
        if (at->state == LK_SENTINEL_UP) sent = lk_net_flush(&at->socket, &at->conn, error, sizeof error);
        if (sent == LK_NET_LOST) lose(s, i, now_ms, error);
        poll_fd[i] = (struct pollfd){.fd = at->socket.fd, .events = POLLIN};
        if (at->state == LK_SENTINEL_CONNECTING) poll_fd[i].events = POLLOUT;
        else if (at->state == LK_SENTINEL_UP) poll_fd[i].events = lk_net_events(&at->socket, sent);
    }
    return s->naming.listed;
}

bool lk_sentinels_fed(lk_sentinels *s, const struct pollfd *poll_fd, int64_t now_ms)
{
    char error[160];
    for (unsigned i = 0; i < s->naming.listed; i++) {
        lk_sentinel *at = &s->at[i];
        if (!poll_fd[i].revents || poll_fd[i].fd != at->socket.fd) continue;
        if (at->state == LK_SENTINEL_UP) read_one(s, i, now_ms);
        else if (at->state == LK_SENTINEL_CONNECTING) {
            enum lk_net_io io = lk_net_begun(&at->socket, &at->addresses, error, sizeof error);
            if (io == LK_NET_DONE) greet_sentinel(s, i, now_ms);
            else if (io == LK_NET_LOST) lose(s, i, now_ms, error);
        }
    }
    bool news = s->news;
    s->news = false;
    return news;
}

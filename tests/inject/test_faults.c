/* SPDX-License-Identifier: MIT
 *
 * The nth call of a kind fails, for n = 1, 2, 3 ... until a whole scenario passes without an nth call: on a real Redis,
 * with the real library. Whatever failed: only the statuses that the header allows, never a wrong yes and never a wrong
 * no (guarantee A), a revocation that holds (B), no leak, no hang; and afterwards the same handle works.
 *
 *   LATCHKEY_INJECT=long  also in bursts of several lengths, from every n, over TLS too; more random faults
 *   LATCHKEY_INJECT=4+K   n = 1, and of the others every fourth alone: which ones, K says. K = 0, 1, 2, 3 together are all of them
 *   LATCHKEY_SEED         of the random faults; printed at the start
 */
#include "check.h"
#include "inject.h"
#include "pki.h"
#include "redis.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HANG_S = 120, SLOW_MS = 2000, BURST = 3 };

static redis *server, *plain, *secured; /* the one in use, without TLS and with it */
static latchkey *lk;
static uint64_t seed;
static uint64_t stride = 1, offset; /* LATCHKEY_INJECT=stride+offset */
static bool lengthy, over_unix;
static char plan_text[160];  /* for people who read a failure */
static inject_held at_first; /* by an earlier scenario that failed, and left things behind */

static const uint64_t user = 42, other_user = 43;
static const char material[] = "not a key, but as long as one might be", note[] = "hello";

/* --------------------------------------------------------------------------------------------- what may come -- */

#define NO_ANSWER LATCHKEY_UNAVAILABLE, LATCHKEY_NO_MEMORY

#define allow(got, ...)                                                                                                \
    allowed((got), (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int), #got)
static int allowed(int got, const int *among, size_t count, const char *call)
{
    for (size_t i = 0; i < count; i++)
        if (got == among[i]) return got;
    print_error("%s\n", plan_text);
    check_status_in(lk, got, among, count, call, __FILE__, __LINE__);
    return got;
}

#define holds(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) fail_msg("%s: does not hold: %s", plan_text, #condition);                                    \
    } while (0)

/* Interrupted, not now, one byte only: no call of the library may fail for that. */
static bool harmless;
static int first_answer(int status, const char *call)
{
    if (status && harmless) fail_msg("%s: %s: %s", plan_text, call, latchkey_status_text(status));
    return status;
}

/* What open may say besides: CONFIG, where a file cannot be read. */
static int unread = LATCHKEY_UNAVAILABLE;

/* Until it is OK: a call fails for as long as the fault and its aftermath last, and no longer. */
#define insist(call) wait_for(first_answer(allow((call), LATCHKEY_OK, NO_ANSWER), #call) == LATCHKEY_OK)

static latchkey_stats stats(void)
{
    latchkey_stats s;
    allow(latchkey_stats_read(lk, &s, sizeof s), LATCHKEY_OK);
    return s;
}

/* ------------------------------------------------------------------------------------------------- the calls -- */

static int open_handle(void)
{
    char config[640], error[200] = "", where[160], ca[300] = "";
    if (over_unix) snprintf(where, sizeof where, "unix://%s", server->socket);
    else snprintf(where, sizeof where, "%s://127.0.0.1:%d", server->tls ? "rediss" : "redis", server->port);
    if (server->tls) snprintf(ca, sizeof ca, "&ca_file=%s", pki_crt("server"));
    snprintf(config, sizeof config,
             "%s?deadline_ms=20000&staleness_ms=4000&l1_capacity=64&partitions=2&connections=2%s", where, ca);
    int status = latchkey_open(config, &lk, error, sizeof error);
    holds((status == LATCHKEY_OK) == (lk != NULL));
    holds((status == LATCHKEY_OK) == !error[0]);
    return status;
}

static int create(char token[LATCHKEY_TOKEN_SIZE])
{
    const latchkey_field fields[] = {{"pq.mlkem768", material, sizeof material}, {"note", note, sizeof note}};
    latchkey_draft draft = {.size = sizeof draft, .user_id = user, .role = "r", .fields = fields, .field_count = 2};
    int status = latchkey_create(lk, &draft, token);
    holds(strlen(token) == (status ? 0 : LATCHKEY_TOKEN_LENGTH));
    return status;
}

static int judged(int status, const latchkey_entry *entry)
{
    static const latchkey_entry nothing;
    if (status) holds(memcmp(entry, &nothing, sizeof nothing) == 0);
    else holds((entry->user_id == user || entry->user_id == other_user) && entry->role[0] == 'r');
    return status;
}

static int validate(const char *token)
{
    latchkey_entry entry;
    return judged(latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry), &entry);
}

static int try_validate(const char *token)
{
    latchkey_entry entry;
    return judged(latchkey_try_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry), &entry);
}

static int touch(const char *token) { return latchkey_touch(lk, token, LATCHKEY_TOKEN_LENGTH); }

static int set(const char *token, const char *name, const char *text)
{
    latchkey_field field = {name, text, strlen(text)};
    return latchkey_set_fields(lk, token, LATCHKEY_TOKEN_LENGTH, &field, 1);
}

/* No other thread writes it: so what was read a moment ago is never another version. */
static int change_note(const char *token)
{
    static const char *const names[] = {"note"};
    latchkey_record *record = NULL;
    int status = latchkey_get_fields(lk, token, LATCHKEY_TOKEN_LENGTH, names, 1, &record);
    holds((status == LATCHKEY_OK) == (record != NULL));
    if (status) return status;
    const latchkey_change change = {"note", "by version", 10, latchkey_record_version(record, "note")};
    holds(change.version && !latchkey_record_field(record, "pq.mlkem768", NULL));
    latchkey_record_free(record);
    return latchkey_change_fields(lk, token, LATCHKEY_TOKEN_LENGTH, &change, 1);
}

/* Once it is OK no call answers with the old role (B). */
static int promote(const char *token)
{
    const latchkey_access access = {.size = sizeof access, .role = "r, promoted"};
    latchkey_entry entry;
    int status = latchkey_set_access(lk, token, LATCHKEY_TOKEN_LENGTH, &access);
    if (status == LATCHKEY_OK && latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry) == LATCHKEY_OK)
        holds(!strcmp(entry.role, access.role));
    return status;
}

static int put_section(const char *token)
{
    return latchkey_section_put(lk, token, LATCHKEY_TOKEN_LENGTH, "s1", note, sizeof note);
}

static int get_section(const char *token)
{
    char data[sizeof note] = "";
    size_t size = 0;
    int found = 0,
        status = latchkey_section_get(lk, token, LATCHKEY_TOKEN_LENGTH, "s1", data, sizeof data, &size, &found);
    holds(status ? !size && !found : found && size == sizeof note && !memcmp(data, note, sizeof note));
    return status;
}

static int promote_all(void)
{
    const latchkey_access access = {.size = sizeof access, .role = "r, promoted"};
    size_t changed;
    return latchkey_set_user_access(lk, other_user, &access, &changed);
}

/* Loads, and compares one field, where the session is there. */
static int load(const char *token, const char *name, const char *text, size_t text_size)
{
    latchkey_record *record = NULL;
    size_t size = 0;
    int status = latchkey_load(lk, token, LATCHKEY_TOKEN_LENGTH, &record);
    holds((status == LATCHKEY_OK) == (record != NULL));
    if (status) return status;
    const void *data = latchkey_record_field(record, name, &size);
    bool same = data && size == text_size && memcmp(data, text, size) == 0;
    latchkey_record_free(record);
    holds(same);
    return status;
}

static int prewarm(void)
{
    size_t loaded = 0;
    int status = latchkey_prewarm(lk, 10, &loaded);
    holds(loaded <= 10);
    return status;
}

static void observe(void)
{
    char text[32 * 1024];
    size_t needed = 0;
    allow(latchkey_metrics(lk, text, sizeof text, &needed), LATCHKEY_OK);
    holds(needed == strlen(text) + 1);
}

/* -------------------------------------------------------------------------------------- submitted, and many -- */

enum { TAGS = 6, THREADS = 4 };

static int descriptor(void)
{
    int fd = latchkey_fd(lk);
    if (fd < 0) first_answer(allow(fd, NO_ANSWER), "fd");
    return fd;
}

static void take(const latchkey_answer *a, unsigned *outstanding, bool alive)
{
    holds(a->tag < TAGS && *outstanding & 1u << a->tag); /* one that was submitted, and once */
    *outstanding &= ~(1u << a->tag);
    int status = judged(a->status, &a->entry);
    if (alive) first_answer(allow(status, LATCHKEY_OK, NO_ANSWER), "reap");
    else allow(status, LATCHKEY_NOT_FOUND, NO_ANSWER);
}

/* The same session several times: some of them share a read. The descriptor is not relied upon: where its timer or what it
 * watches could not be set, it does not tell. */
static void submit_and_reap(const char *token, bool alive)
{
    unsigned outstanding = 0;
    latchkey_answer answers[2];
    wait_for(descriptor() >= 0);
    for (uint64_t tag = 0; tag < TAGS; tag++) {
        int status = allow(latchkey_submit(lk, token, LATCHKEY_TOKEN_LENGTH, tag), LATCHKEY_OK, NO_ANSWER);
        if (!first_answer(status, "submit")) outstanding |= 1u << tag;
    }
    while (outstanding) { /* or until the alarm goes off */
        struct pollfd p = {.fd = latchkey_fd(lk), .events = POLLIN};
        poll(&p, 1, 50);
        for (size_t n = latchkey_reap(lk, answers, 2), i = 0; i < n; i++) take(&answers[i], &outstanding, alive);
    }
    holds(latchkey_reap(lk, answers, 2) == 0);
}

typedef struct reader {
    pthread_t thread;
    const char *token;
    int status;
    bool same; /* the session that was asked for */
} reader;

static void *read_record(void *context)
{
    reader *r = context;
    latchkey_record *record = NULL;
    r->status = latchkey_load(lk, r->token, LATCHKEY_TOKEN_LENGTH, &record);
    r->same = r->status ? !record : latchkey_record_entry(record)->user_id == user;
    latchkey_record_free(record);
    return NULL;
}

/* On two connections. */
static void load_together(const char *token)
{
    reader readers[THREADS] = {{.token = token}, {.token = token}, {.token = token}, {.token = token}};
    for (int i = 0; i < THREADS; i++) holds(!pthread_create(&readers[i].thread, NULL, read_record, &readers[i]));
    for (int i = 0; i < THREADS; i++) pthread_join(readers[i].thread, NULL);
    for (int i = 0; i < THREADS; i++) {
        first_answer(allow(readers[i].status, LATCHKEY_OK, NO_ANSWER), "load");
        holds(readers[i].same);
    }
}

/* -------------------------------------------------------------------------------------------------- scenario -- */

/* The link does a touch: the first use of a prewarmed entry asks for one. */
static void use_prewarmed(const char *token)
{
    latchkey_stats before = stats();
    if (allow(try_validate(token), LATCHKEY_OK, LATCHKEY_AGAIN) || stats().touches == before.touches) return;
    wait_for(stats().l2_writes > before.l2_writes || stats().touches_dropped > before.touches_dropped);
}

static bool in_redis(const char *token)
{
    char pattern[64];
    snprintf(pattern, sizeof pattern, "*:s:%.20s*", token); /* with its sections */
    return redis_count_keys(server, pattern) > 0;
}

/* The link hears of it, or loses its connection and empties L1 instead; or beats, at the latest. */
static void let_it_be_heard(const latchkey_stats *before)
{
    wait_for(stats().purges > before->purges || stats().empties > before->empties || stats().beats > before->beats);
}

static void end_session(const char *token)
{
    latchkey_stats before = stats();
    int status = allow(latchkey_revoke(lk, token, LATCHKEY_TOKEN_LENGTH), LATCHKEY_OK, LATCHKEY_PENDING);
    first_answer(status, "revoke");
    allow(try_validate(token), LATCHKEY_NOT_FOUND, LATCHKEY_AGAIN);
    allow(validate(token), LATCHKEY_NOT_FOUND, NO_ANSWER);
    if (status == LATCHKEY_OK) holds(!in_redis(token)); /* else the link goes on until it is so */
    wait_for(stats().pending == 0);
    let_it_be_heard(&before);
    holds(!in_redis(token));
    wait_for(allow(validate(token), LATCHKEY_NOT_FOUND, NO_ANSWER) == LATCHKEY_NOT_FOUND);
    allow(try_validate(token), LATCHKEY_NOT_FOUND, LATCHKEY_AGAIN);
}

/* Where the answer was lost, and with it the new token, the old one is REFUSED from then on, and goes on in its grace. */
static int exchange(char token[LATCHKEY_TOKEN_SIZE])
{
    char renewed[LATCHKEY_TOKEN_SIZE];
    int status = allow(latchkey_rotate(lk, token, LATCHKEY_TOKEN_LENGTH, 600000, renewed), LATCHKEY_OK,
                       LATCHKEY_REFUSED, NO_ANSWER);
    holds((status == LATCHKEY_OK) == (renewed[0] != 0));
    if (status == LATCHKEY_OK) memcpy(token, renewed, sizeof renewed);
    return first_answer(status, "rotate") == LATCHKEY_REFUSED ? LATCHKEY_OK : status;
}

/* One request, and its result. */
static int through(latchkey_queue *q, const latchkey_request *r, latchkey_result *result)
{
    int status = allow(latchkey_queue_submit(q, r), LATCHKEY_OK, NO_ANSWER);
    if (first_answer(status, "queue_submit")) return status;
    while (!latchkey_queue_reap(q, result, sizeof *result, 1)) { /* or until the alarm goes off */
        struct pollfd p = {.fd = latchkey_queue_fd(q), .events = POLLIN};
        poll(&p, 1, 20);
    }
    holds(result->tag == r->tag && result->kind == r->kind);
    holds(!result->token[0] == (result->status || (r->kind != LATCHKEY_CREATE && r->kind != LATCHKEY_ROTATE)));
    holds(!result->record == (result->status || r->kind != LATCHKEY_GET_FIELDS));
    return result->status;
}

/* A session of another user through a queue: made, exchanged, looked at, ended. */
static void live_in_a_queue(void)
{
    static const char *const names[] = {"note"};
    char token[LATCHKEY_TOKEN_SIZE];
    const latchkey_field field = {"note", note, sizeof note};
    latchkey_draft draft = {
        .size = sizeof draft, .user_id = other_user, .role = "r", .fields = &field, .field_count = 1};
    latchkey_result result;
    latchkey_queue *q;
    wait_for((q = latchkey_queue_open(lk)) != NULL);
    latchkey_request r = {.size = sizeof r, .kind = LATCHKEY_CREATE, .tag = 1, .draft = &draft};
    insist(through(q, &r, &result));
    memcpy(token, result.token, sizeof token);
    r = (latchkey_request){.size = sizeof r, .tag = 2, .token = token, .token_len = LATCHKEY_TOKEN_LENGTH};
    r.kind = LATCHKEY_ROTATE;
    r.grace_ms = 600000;
    int status;
    wait_for((status = allow(through(q, &r, &result), LATCHKEY_OK, LATCHKEY_REFUSED, NO_ANSWER)) >= 0);
    if (!status) memcpy(token, result.token, sizeof token); /* else the answer with the new one was lost */
    r.kind = LATCHKEY_GET_FIELDS;
    r.names = names;
    r.count = 1;
    insist(through(q, &r, &result));
    holds(latchkey_record_entry(result.record)->user_id == other_user);
    latchkey_record_free(result.record);
    r.kind = LATCHKEY_REVOKE;
    wait_for((status = allow(through(q, &r, &result), LATCHKEY_OK, LATCHKEY_PENDING, NO_ANSWER)) == LATCHKEY_OK ||
             status == LATCHKEY_PENDING);
    allow(validate(token), LATCHKEY_NOT_FOUND, NO_ANSWER);
    wait_for(stats().pending == 0);
    r.kind = LATCHKEY_LOAD;
    allow(latchkey_queue_submit(q, &r), LATCHKEY_OK, NO_ANSWER); /* its result is left behind */
    latchkey_queue_close(q);
}

/* Two sessions of another user: listed, exchanged, all ended. */
static void live_as_one_of_many(void)
{
    char token[2][LATCHKEY_TOKEN_SIZE], first[LATCHKEY_TOKEN_SIZE];
    latchkey_session_info list[3];
    uint64_t generation;
    size_t total, revoked;
    for (int i = 0; i < 2; i++) {
        insist(latchkey_user_generation(lk, other_user, &generation));
        latchkey_draft draft = {.size = sizeof draft, .user_id = other_user, .role = "r", .generation = generation};
        insist(latchkey_create(lk, &draft, token[i]));
    }
    memcpy(first, token[0], sizeof first);
    wait_for(exchange(token[0]) == LATCHKEY_OK);
    insist(validate(first));
    insist(validate(token[0]));
    insist(promote_all());
    insist(latchkey_sessions(lk, other_user, token[1], LATCHKEY_TOKEN_LENGTH, list, 3, &total));
    holds(total >= 2 && list[0].current + list[1].current + list[2].current == 1); /* more: whose token was lost */
    latchkey_population population;
    insist(latchkey_sample(lk, 100, &population, sizeof population));
    holds(population.exact && population.sessions >= 2 && !population.damaged);
    insist(latchkey_revoke_user(lk, other_user, NULL, 0, &revoked));
    allow(validate(first), LATCHKEY_NOT_FOUND, NO_ANSWER);
    for (int i = 0; i < 2; i++) allow(validate(token[i]), LATCHKEY_NOT_FOUND, NO_ANSWER);
    holds(!in_redis(first) && !in_redis(token[0]) && !in_redis(token[1]));
}

static void live(void)
{
    char a[LATCHKEY_TOKEN_SIZE], b[LATCHKEY_TOKEN_SIZE], forged[LATCHKEY_TOKEN_SIZE];
    insist(create(a));
    insist(create(b));
    memcpy(forged, a, sizeof forged);
    forged[LATCHKEY_TOKEN_LENGTH - 1] = a[LATCHKEY_TOKEN_LENGTH - 1] == 'A' ? 'E' : 'A';
    allow(validate(forged), LATCHKEY_MALFORMED);
    insist(validate(a));
    allow(try_validate(a), LATCHKEY_OK, LATCHKEY_AGAIN); /* L1 is emptied where the link had to connect again */
    insist(validate(a));
    insist(touch(a));
    insist(promote(a));
    insist(change_note(a));
    insist(put_section(a));
    insist(get_section(a));
    insist(set(a, "note", "changed"));
    insist(load(a, "note", "changed", 7));
    insist(set(a, "pq.mlkem768", "other material"));
    insist(load(a, "pq.mlkem768", "other material", 14));
    insist(validate(a)); /* a miss: the change took it out of L1 */
    insist(load(b, "pq.mlkem768", material, sizeof material));
    latchkey_stats before = stats();
    insist(set(b, "pq.mlkem768", "other material")); /* out of L1, so that prewarming brings it */
    let_it_be_heard(&before);
    insist(set(b, "pq.mldsa44", "more material")); /* which purges it */
    uint64_t reads = stats().l2_reads;
    submit_and_reap(b, true);
    if (!inject_failed()) holds(stats().l2_reads > reads);
    submit_and_reap(b, true); /* from L1 */
    load_together(b);
    insist(prewarm());
    use_prewarmed(b);
    observe();
    live_as_one_of_many();
    live_in_a_queue();
    end_session(a);
    allow(load(a, "note", "", 0), LATCHKEY_NOT_FOUND, NO_ANSWER);
    allow(touch(a), LATCHKEY_NOT_FOUND, NO_ANSWER);
    submit_and_reap(a, false);
    insist(validate(b));
    insist(latchkey_revoke_everyone(lk));
    allow(validate(b), LATCHKEY_NOT_FOUND, NO_ANSWER);
    insist(create(b));
    insist(validate(b));
    if (harmless && stats().last_error[0]) fail_msg("%s: trouble: %s", plan_text, stats().last_error);
}

/* The fault is over, and the handle is as good as new: it connects, answers, fills and revokes. */
static void recover(void)
{
    char c[LATCHKEY_TOKEN_SIZE];
    wait_for(stats().connected && stats().lease_age_ms >= 0);
    insist(create(c));
    wait_for(allow(validate(c), LATCHKEY_OK, NO_ANSWER) == LATCHKEY_OK && try_validate(c) == LATCHKEY_OK);
    submit_and_reap(c, true);
    end_session(c);
}

static void close_handle(void)
{
    latchkey_close(lk);
    lk = NULL;
    inject_held held = inject_holds();
    if (memcmp(&held, &at_first, sizeof held))
        fail_msg("%s: left behind: %ld allocations, %ld mapped bytes, %ld descriptors", plan_text,
                 held.allocations - at_first.allocations, held.mapped_bytes - at_first.mapped_bytes,
                 held.descriptors - at_first.descriptors);
}

/* From open to close, and the faults that were planned on the way. */
static void scenario(void)
{
    alarm(HANG_S);
    int64_t began_ms = check_now_ms();
    at_first = inject_holds();
    redis_do(server, "FLUSHALL");
    while (first_answer(allow(open_handle(), LATCHKEY_OK, NO_ANSWER, unread), "open")) close_handle();
    live();
    if (inject_failed()) {
        inject_stop();
        recover();
    }
    close_handle(); /* under the plan, where its turn has not come yet */
    inject_stop();
    alarm(0);
    int64_t took_ms = check_now_ms() - began_ms;
    if (took_ms > SLOW_MS) print_message("%s: took %" PRId64 " ms\n", plan_text, took_ms);
}

/* ---------------------------------------------------------------------------------------------------- rounds -- */

static void on_hang(int signal_number)
{
    (void)signal_number;
    static const char text[] = ": hangs\n";
    if (write(2, plan_text, strlen(plan_text)) < 0 || write(2, text, sizeof text - 1) < 0) _exit(1);
    abort();
}

static void begin(const inject_plan *p)
{
    harmless = p->how == EINTR || p->how == INJECT_SHORT ||
               (p->how == EAGAIN && p->call != INJECT_CONNECT && p->call != INJECT_THREAD);
    snprintf(plan_text, sizeof plan_text, "%s, %s of the %s's thread, from call %" PRIu64 " on %" PRIu64 " times",
             inject_call_name(p->call), inject_how_name(p->call, p->how), p->thread == INJECT_LINK ? "link" : "caller",
             p->nth, p->count);
    unread = p->call == INJECT_OPEN ? LATCHKEY_CONFIG : LATCHKEY_UNAVAILABLE;
    inject_begin(p);
}

typedef struct round {
    const char *name;
    enum inject_thread thread;
    enum inject_call call;
} round;

static round rounds[] = {
    {"caller_alloc", INJECT_CALLER, INJECT_ALLOC},
    {"caller_mmap", INJECT_CALLER, INJECT_MMAP},
    {"caller_madvise", INJECT_CALLER, INJECT_MADVISE},
    {"caller_thread", INJECT_CALLER, INJECT_THREAD},
    {"caller_eventfd", INJECT_CALLER, INJECT_EVENTFD},
    {"caller_socket", INJECT_CALLER, INJECT_SOCKET},
    {"caller_connect", INJECT_CALLER, INJECT_CONNECT},
    {"caller_getsockopt", INJECT_CALLER, INJECT_SOCKET_ERROR},
    {"caller_poll", INJECT_CALLER, INJECT_POLL},
    {"caller_recv", INJECT_CALLER, INJECT_RECV},
    {"caller_send", INJECT_CALLER, INJECT_SEND},
    {"caller_write", INJECT_CALLER, INJECT_WRITE},
    {"caller_read", INJECT_CALLER, INJECT_READ},
    {"caller_epoll_create", INJECT_CALLER, INJECT_EPOLL},
    {"caller_epoll_ctl", INJECT_CALLER, INJECT_WATCH},
    {"caller_timerfd_create", INJECT_CALLER, INJECT_TIMER},
    {"caller_timerfd_settime", INJECT_CALLER, INJECT_SET_TIMER},
    {"link_alloc", INJECT_LINK, INJECT_ALLOC},
    {"link_resolve", INJECT_LINK, INJECT_RESOLVE},
    {"link_socket", INJECT_LINK, INJECT_SOCKET},
    {"link_connect", INJECT_LINK, INJECT_CONNECT},
    {"link_getsockopt", INJECT_LINK, INJECT_SOCKET_ERROR},
    {"link_poll", INJECT_LINK, INJECT_POLL},
    {"link_recv", INJECT_LINK, INJECT_RECV},
    {"link_send", INJECT_LINK, INJECT_SEND},
    {"link_read", INJECT_LINK, INJECT_READ},
};

static uint64_t calls_without_a_fault(const round *r)
{
    snprintf(plan_text, sizeof plan_text, "nothing fails");
    harmless = true;
    inject_begin(&(inject_plan){.count = 0});
    scenario();
    return inject_count(r->thread, r->call);
}

/* Every way of failing, n by n, or `step` by `step`, until the nth call is not reached: the first one always, and then from
 * where `offset` says. Says how many scenarios had a failed call. */
static unsigned every_nth(const round *r, uint64_t burst, uint64_t step)
{
    unsigned reached = 0;
    step *= stride;
    for (const int *how = inject_hows(r->call); *how; how++) {
        inject_plan plan = {r->thread, r->call, *how, 1, burst};
        for (;; plan.nth += plan.nth == 1 ? 1 + offset % step : step) {
            begin(&plan);
            scenario();
            if (!inject_failed()) break;
            reached++;
        }
    }
    return reached;
}

static void test_every_nth(void **state)
{
    const round *r = *state;
    uint64_t total = calls_without_a_fault(r);
    unsigned reached = every_nth(r, 1, 1);
    print_message("%" PRIu64 " calls; %u scenarios with a failed one\n", total, reached);
    holds(reached > 0); /* else the scenario does not get to this kind of call at all */
}

/* The whole scenario a byte at a time. */
static void test_one_byte_at_a_time(void **state)
{
    (void)state;
    for (int thread = 0; thread < INJECT_THREADS; thread++) {
        for (int call = INJECT_RECV; call <= INJECT_SEND; call++) {
            inject_plan plan = {thread, call, INJECT_SHORT, 1, UINT64_MAX};
            begin(&plan);
            scenario();
            holds(inject_failed() > 100);
        }
    }
}

/* Several in a row, as when memory or descriptors are used up for a while. */
static void test_bursts(void **state)
{
    (void)state;
    over_unix = true;
    for (size_t i = 0; i < sizeof rounds / sizeof *rounds; i++) {
        if (rounds[i].call == INJECT_RESOLVE || rounds[i].call == INJECT_SOCKET_ERROR) continue; /* TCP's alone */
        holds(every_nth(&rounds[i], BURST, lengthy ? 1 : BURST) > 0); /* so that each call fails once */
        if (lengthy) every_nth(&rounds[i], 1, 1), every_nth(&rounds[i], 2 * BURST, 1);
    }
}

static void test_random_faults(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < (lengthy ? 2000 : 60); i++) {
        unsigned odds = 100u << i % 4;
        over_unix = i % 2;
        harmless = false;
        snprintf(plan_text, sizeof plan_text, "random faults, 1 in %u, LATCHKEY_SEED=%" PRIu64, odds, seed + i);
        inject_begin_random(seed + i, odds);
        scenario();
    }
}

/* What TLS has between: its own reads and writes, more of them, its own memory, and its files. */
static void test_over_tls(void **state)
{
    (void)state;
    server = secured;
    for (size_t i = 0; i < sizeof rounds / sizeof *rounds; i++) {
        enum inject_call call = rounds[i].call;
        if (call != INJECT_RECV && call != INJECT_SEND && call != INJECT_POLL && call != INJECT_ALLOC) continue;
        holds(every_nth(&rounds[i], 1, lengthy ? 1 : BURST) > 0);
        if (lengthy) every_nth(&rounds[i], BURST, 1);
    }
    holds(every_nth(&(round){.thread = INJECT_CALLER, .call = INJECT_OPEN}, 1, 1) > 0);
    test_one_byte_at_a_time(NULL);
}

static int setup(void **state)
{
    (void)state;
    const char *text = getenv("LATCHKEY_SEED");
    seed = text && *text ? strtoull(text, NULL, 0) : 20240229;
    text = getenv("LATCHKEY_INJECT");
    lengthy = text && strcmp(text, "long") == 0;
    if (text && *text && !lengthy) {
        char *rest;
        stride = strtoull(text, &rest, 10);
        offset = *rest == '+' ? strtoull(rest + 1, NULL, 0) : 0;
        assert_true(stride > 0);
    }
    print_message("LATCHKEY_SEED=%" PRIu64 " LATCHKEY_INJECT=%s\n", seed, text ? text : "");
    signal(SIGALRM, on_hang);
    pki_make(&(pki_card){.name = "server", .for_names = "IP:127.0.0.1"});
    secured = redis_start("--tls-cert-file", pki_crt("server"), "--tls-key-file", pki_key("server"),
                          "--tls-ca-cert-file", pki_crt("server"), "--tls-auth-clients", "no");
    server = plain = redis_start(NULL);
    return 0;
}

static int close_after_failure(void **state)
{
    (void)state;
    inject_stop();
    latchkey_close(lk);
    lk = NULL;
    over_unix = false;
    server = plain;
    return 0;
}

static int end(void **state)
{
    (void)state;
    redis_end(plain);
    redis_end(secured);
    return 0;
}

/* inject_faults [PATTERN [WITHOUT]]: the tests whose names match the one and not the other. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    if (argc > 2) cmocka_set_skip_filter(argv[2]);
    enum { ROUNDS = sizeof rounds / sizeof *rounds };
    struct CMUnitTest tests[ROUNDS + 4] = {
        cmocka_unit_test_teardown(test_one_byte_at_a_time, close_after_failure),
        cmocka_unit_test_teardown(test_bursts, close_after_failure),
        cmocka_unit_test_teardown(test_random_faults, close_after_failure),
        cmocka_unit_test_teardown(test_over_tls, close_after_failure),
    };
    for (size_t i = 0; i < ROUNDS; i++)
        tests[4 + i] = (struct CMUnitTest){rounds[i].name, test_every_nth, NULL, close_after_failure, &rounds[i]};
    return cmocka_run_group_tests_name("faults", tests, setup, end);
}

/* SPDX-License-Identifier: MIT
 *
 * The second process of the two-process tests: opens a handle with the given configuration and does what it is told in
 * lines on standard input, answering each with one line. It ends with its input.
 *
 *   validate T | try T | revoke T | touch T | load T    the status as a number
 *   everyone                                            the status
 *   create USER                                         the status and the token
 *   set T NAME TEXT                                     the status
 *   prewarm N                                           the status and the number loaded
 *   stat NAME                                           one number out of the statistics
 *   watch T                                             adds a token to the storm's list
 *   storm THREADS                                       threads validate the listed tokens, with a short rest behind each
 *                                                       round that leaves the processor to the servers, until
 *   lull                                                they are told to stop: the number of validations
 *   lastok N                                            when the last validation that admitted the Nth token started,
 *                                                       in ns of CLOCK_MONOTONIC; 0: never
 *   odd                                                 validations that were none of OK, NOT_FOUND, UNAVAILABLE
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "latchkey.h"

#define MAX_WATCHED 1024
#define MAX_THREADS 16

static latchkey *lk;
static char watched[MAX_WATCHED][LATCHKEY_TOKEN_SIZE];
static _Atomic int64_t last_ok[MAX_WATCHED];
static size_t watched_count, thread_count;
static pthread_t threads[MAX_THREADS];
static atomic_int storming;
static atomic_llong validations, odd;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void note_ok(size_t i, int64_t started)
{
    int64_t seen = atomic_load(&last_ok[i]);
    while (started > seen && !atomic_compare_exchange_weak(&last_ok[i], &seen, started)) continue;
}

static void *storm(void *unused)
{
    const struct timespec rest = {.tv_nsec = 1000000};
    (void)unused;
    while (atomic_load(&storming)) {
        for (size_t i = 0; i < watched_count; i++) {
            latchkey_entry entry;
            int64_t started = now_ns();
            int status = latchkey_validate(lk, watched[i], LATCHKEY_TOKEN_LENGTH, &entry);
            if (status == LATCHKEY_OK) note_ok(i, started);
            else if (status != LATCHKEY_NOT_FOUND && status != LATCHKEY_UNAVAILABLE) atomic_fetch_add(&odd, 1);
            atomic_fetch_add(&validations, 1);
        }
        nanosleep(&rest, NULL);
    }
    return NULL;
}

static void start_storm(size_t count)
{
    atomic_store(&storming, 1);
    for (thread_count = 0; thread_count < count && thread_count < MAX_THREADS; thread_count++)
        if (pthread_create(&threads[thread_count], NULL, storm, NULL)) abort();
}

static void end_storm(void)
{
    atomic_store(&storming, 0);
    while (thread_count) pthread_join(threads[--thread_count], NULL);
}

static unsigned long long statistic(const char *name)
{
    static const struct {
        const char *name;
        size_t at;
    } known[] = {
#define ROW(field) {#field, offsetof(latchkey_stats, field)}
        ROW(validates), ROW(l1_hits),          ROW(l1_misses), ROW(l2_reads),  ROW(fills),
        ROW(purges),    ROW(empties),          ROW(missed),    ROW(pending),   ROW(reconnects),
        ROW(connected), ROW(l1_entries),       ROW(lapses),    ROW(l2_errors), ROW(touches),
        ROW(beats),     ROW(revocations_heard)};
    latchkey_stats stats;
    uint64_t value = 0;
    latchkey_stats_read(lk, &stats, sizeof stats);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, name) == 0) memcpy(&value, (const char *)&stats + known[i].at, sizeof value);
    return value;
}

static void create(const char *user)
{
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = {.size = sizeof draft, .user_id = strtoull(user, NULL, 10)};
    int status = latchkey_create(lk, &draft, token);
    printf("%d %s\n", status, token);
}

static void load(const char *token)
{
    latchkey_record *record;
    int status = latchkey_load(lk, token, strlen(token), &record);
    latchkey_record_free(record);
    printf("%d\n", status);
}

static void set(const char *token, const char *name, const char *text)
{
    latchkey_field field = {name, text, strlen(text)};
    printf("%d\n", latchkey_set_fields(lk, token, strlen(token), &field, 1));
}

static void prewarm(const char *count)
{
    size_t loaded;
    int status = latchkey_prewarm(lk, strtoul(count, NULL, 10), &loaded);
    printf("%d %zu\n", status, loaded);
}

static void watch(const char *token)
{
    if (watched_count < MAX_WATCHED) snprintf(watched[watched_count++], LATCHKEY_TOKEN_SIZE, "%s", token);
    printf("%zu\n", watched_count);
}

static void obey(char *line)
{
    latchkey_entry entry;
    char *verb = strtok(line, " \n"), *one = strtok(NULL, " \n"), *two = strtok(NULL, " \n"),
         *three = strtok(NULL, " \n");
    if (!verb) verb = line;
    if (!one) one = line + strlen(line);
    if (strcmp(verb, "validate") == 0) printf("%d\n", latchkey_validate(lk, one, strlen(one), &entry));
    else if (strcmp(verb, "try") == 0) printf("%d\n", latchkey_try_validate(lk, one, strlen(one), &entry));
    else if (strcmp(verb, "revoke") == 0) printf("%d\n", latchkey_revoke(lk, one, strlen(one)));
    else if (strcmp(verb, "everyone") == 0) printf("%d\n", latchkey_revoke_everyone(lk));
    else if (strcmp(verb, "touch") == 0) printf("%d\n", latchkey_touch(lk, one, strlen(one)));
    else if (strcmp(verb, "load") == 0) load(one);
    else if (strcmp(verb, "create") == 0) create(one);
    else if (strcmp(verb, "set") == 0 && two && three) set(one, two, three);
    else if (strcmp(verb, "prewarm") == 0) prewarm(one);
    else if (strcmp(verb, "stat") == 0) printf("%llu\n", statistic(one));
    else if (strcmp(verb, "watch") == 0) watch(one);
    else if (strcmp(verb, "storm") == 0) start_storm(strtoul(one, NULL, 10)), puts("0");
    else if (strcmp(verb, "lull") == 0) end_storm(), printf("%lld\n", atomic_load(&validations));
    else if (strcmp(verb, "lastok") == 0) printf("%lld\n", (long long)atomic_load(&last_ok[strtoul(one, NULL, 10)]));
    else if (strcmp(verb, "odd") == 0) printf("%lld\n", atomic_load(&odd));
    else printf("what is '%s'?\n", verb);
}

int main(int argc, char **argv)
{
    char line[4096], error[512];
    if (argc != 2) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    int status = latchkey_open(argv[1], &lk, error, sizeof error);
    if (status) {
        printf("open %d %s\n", status, error);
        return 1;
    }
    puts("open 0");
    while (fgets(line, sizeof line, stdin)) obey(line);
    end_storm();
    latchkey_close(lk);
    return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * Statistics as a struct and as text for Prometheus, which Prometheus' own promtool judges.
 */
#include "test_handle.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static char *metrics_of(latchkey *lk)
{
    size_t needed = 0, again = 0;
    assert_status(lk, LATCHKEY_NO_MEMORY, latchkey_metrics(lk, NULL, 0, &needed));
    assert_true(needed > 100);
    char *text = malloc(2 * needed);
    assert_non_null(text);
    assert_status(lk, LATCHKEY_OK, latchkey_metrics(lk, text, 2 * needed, &again));
    assert_int_equal(strlen(text) + 1, again);
    return text;
}

/* The value of a sample without labels; -1 where there is none. */
static double sample(const char *text, const char *name)
{
    char wanted[128];
    snprintf(wanted, sizeof wanted, "\n%s ", name);
    const char *line = strstr(text, wanted);
    return line ? atof(line + strlen(wanted)) : -1;
}

static void judge(const char *text)
{
    char path[160], command[256];
    check_temp_path("metrics.txt", path, sizeof path);
    check_write_file(path, text, strlen(text));
    snprintf(command, sizeof command, "promtool check metrics < %s 2>&1", path);
    FILE *tool = popen(command, "r");
    assert_non_null(tool);
    char line[512];
    while (fgets(line, sizeof line, tool)) print_error("promtool: %s", line);
    int status = pclose(tool);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) fail_msg("promtool is missing: package prometheus");
    assert_int_equal(status, 0);
}

static void use_everything(latchkey *lk)
{
    char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE];
    static const char material[2420];
    const latchkey_field field = {"pq.attestation", material, sizeof material};
    for (int i = 0; i < 20; i++) {
        make_session_with(lk, 1, 0, 0, &field, 1, token);
        make_session(lk, 2, other);
        validate(lk, token);
        validate(lk, token);
        touch(lk, token);
        load(lk, token);
        set_field(lk, token, "note", "x");
        size_t size;
        int found;
        assert_status(lk, LATCHKEY_OK, latchkey_section_put(lk, token, LATCHKEY_TOKEN_LENGTH, "large", material, 2000));
        assert_status(lk, LATCHKEY_NO_MEMORY,
                      latchkey_section_get(lk, token, LATCHKEY_TOKEN_LENGTH, "large", NULL, 0, &size, &found));
        set_field(lk, token, "pq.mlkem768", "x"); /* out of L1 */
        validate(lk, token);
        latchkey_validate(lk, "short", 5, &(latchkey_entry){0});
        end_session(lk, other);
        validate(lk, other);
    }
    latchkey_prewarm(lk, 10, NULL);
}

static void test_promtool_accepts_the_metrics(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char *fresh = metrics_of(lk);
    judge(fresh);
    free(fresh);
    use_everything(lk);
    wait_for(stats_of(lk).revocations_heard >= 20);
    char *used = metrics_of(lk);
    judge(used);
    free(used);
}

static void test_promtool_accepts_the_metrics_without_redis(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    redis_kill(on);
    latchkey *lk = handle_open(on, "lazy=1&deadline_ms=300");
    char token[LATCHKEY_TOKEN_SIZE] = "";
    latchkey_draft draft = {.size = sizeof draft};
    latchkey_create(lk, &draft, token);
    char *text = metrics_of(lk);
    judge(text);
    free(text);
    handle_close(lk);
    redis_end(on);
}

static void test_metrics_and_statistics_say_the_same(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=60000");
    use_everything(lk);
    wait_for(stats_of(lk).revocations_heard >= 20);
    char *text = metrics_of(lk);
    latchkey_stats stats = stats_of(lk);
    assert_true(stats.validates > 0 && stats.l1_hits > 0 && stats.l1_misses > 0 && stats.dead_refused > 0 &&
                stats.malformed == 20);
    /* Every counter of the struct is somewhere in the text, by value: look for the ones with telling values. */
    const struct {
        const char *name;
        uint64_t value;
    } pairs[] = {{"latchkey_validates_total", stats.validates},
                 {"latchkey_l1_hits_total", stats.l1_hits},
                 {"latchkey_l1_misses_total", stats.l1_misses},
                 {"latchkey_malformed_total", stats.malformed},
                 {"latchkey_dead_refused_total", stats.dead_refused},
                 {"latchkey_refreshes_total", stats.refreshes},
                 {"latchkey_refreshes_dropped_total", stats.refreshes_dropped},
                 {"latchkey_l2_reads_total", stats.l2_reads},
                 {"latchkey_l2_writes_total", stats.l2_writes},
                 {"latchkey_purges_total", stats.purges},
                 {"latchkey_evictions_total", stats.evictions},
                 {"latchkey_reconnects_total", stats.reconnects},
                 {"latchkey_l1_entries", stats.l1_entries},
                 {"latchkey_section_reads_total", stats.section_reads},
                 {"latchkey_section_writes_total", stats.section_writes},
                 {"latchkey_section_size_bytes_count", stats.section_reads + stats.section_writes},
                 {"latchkey_section_size_p50_bytes", stats.section_size_p50_bytes},
                 {"latchkey_section_size_p99_bytes", stats.section_size_p99_bytes},
                 {"latchkey_l1_bytes", stats.l1_bytes}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        double value = sample(text, pairs[i].name);
        if (value < 0) fail_msg("%s is missing in:\n%s", pairs[i].name, text);
        if (value != (double)pairs[i].value)
            fail_msg("%s: %g, not %llu", pairs[i].name, value, (unsigned long long)pairs[i].value);
    }
    assert_contains(text, "# HELP latchkey_l2_writes_total Scripts run in Redis, and touches.");
    assert_true(sample(text, "latchkey_revocation_latency_seconds_count") >= 20);
    assert_true(sample(text, "latchkey_session_size_bytes_count") >= 40);
    free(text);

    assert_true(stats.revocation_p50_ms >= 0 && stats.revocation_p99_ms >= stats.revocation_p50_ms);
    assert_true(stats.session_size_p99_bytes >= 2420 && stats.session_size_p99_bytes >= stats.session_size_p50_bytes);
    assert_true(stats.session_size_p99_bytes < 4000);
    assert_true(stats.section_reads == 20 && stats.section_writes == 20);
    assert_true(stats.section_size_p50_bytes >= 2000 && stats.section_size_p99_bytes < 2200);
    assert_true(stats.l2_read_p50_ms > 0 && stats.l2_read_p99_ms >= stats.l2_read_p50_ms);
    assert_true(stats.hit_rate > 0 && stats.hit_rate < 1);
}

/* Where numbers have a decimal comma, and in others: the same bytes, but for what is counted meanwhile. Made here, since a
 * machine may have no locale but its own. */
static void test_metrics_are_the_same_in_every_locale(void **state)
{
    (void)state;
    static char text[1 << 16];
    char directory[128], command[400];
    size_t needed;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    for (int i = 0; i < 10; i++) validate(lk, token);
    check_temp_path("locales", directory, sizeof directory);
    snprintf(command, sizeof command, "mkdir -p %s && localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8", directory,
             directory);
    if (system(command) || setenv("LOCPATH", directory, 1) || !setlocale(LC_ALL, "de_DE.UTF-8"))
        fail_msg("no German locale can be made (packages locales and libc-bin)");
    char comma[8];
    snprintf(comma, sizeof comma, "%.1f", 0.5);
    assert_string_equal(comma, "0,5");
    assert_status(lk, LATCHKEY_OK, latchkey_metrics(lk, text, sizeof text, &needed));
    setlocale(LC_ALL, "C");
    unsigned fractions = 0;
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        *end = 0;
        if (*line == '#') continue;
        char *value = strrchr(line, ' '), *rest;
        assert_non_null(value);
        strtod(value + 1, &rest);
        if (*rest || strchr(line, ',')) fail_msg("%s", line);
        fractions += strchr(line, '.') != NULL;
    }
    assert_true(fractions > 5);
    handle_close(lk);
}

static void test_metrics_say_how_much_they_need(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    size_t needed = 0, size = 1;
    int status;
    char *text = NULL;
    /* The text may grow between two calls (a counter's next digit): ask until it fits, as a caller would. */
    while ((status = latchkey_metrics(lk, text, text ? size : 0, &needed)) == LATCHKEY_NO_MEMORY) {
        if (text) assert_true(needed > size);
        size = needed;
        text = realloc(text, size + 1);
        assert_non_null(text);
        text[size] = '\x7f';
    }
    assert_status(lk, LATCHKEY_OK, status);
    assert_int_equal(text[size], '\x7f');
    assert_true(strlen(text) < size);

    /* Too small by all, by half, by one: nothing is written behind the end. */
    for (size_t part = 0; part < size; part += part < 3 ? 1 : size / 3) {
        memset(text, '\x7f', size);
        status = latchkey_metrics(lk, part ? text : NULL, part, &needed);
        assert_status(lk, LATCHKEY_NO_MEMORY, status);
        assert_true(needed > part);
        for (size_t i = part; i < size; i++) assert_int_equal(text[i], '\x7f');
    }
    free(text);
}

static void test_shorter_statistics_of_an_older_caller(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    use_everything(lk);
    unsigned char bytes[sizeof(latchkey_stats) + 8];
    assert_int_equal(latchkey_stats_size(), sizeof(latchkey_stats));
    for (size_t size = 8; size <= sizeof(latchkey_stats); size += 40) {
        memset(bytes, 0xee, sizeof bytes);
        assert_status(lk, LATCHKEY_OK, latchkey_stats_read(lk, (latchkey_stats *)(void *)bytes, size));
        uint64_t validates;
        memcpy(&validates, bytes, sizeof validates);
        assert_true(validates >= 60);
        for (size_t i = size; i < sizeof bytes; i++) assert_int_equal(bytes[i], 0xee);
    }
}

static void test_statistics_of_a_newer_caller_are_zero_filled_or_refused(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    unsigned char bytes[sizeof(latchkey_stats) + 64];
    memset(bytes, 0xee, sizeof bytes);
    int status = latchkey_stats_read(lk, (latchkey_stats *)(void *)bytes, sizeof bytes);
    assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_BAD_ARGUMENT);
    for (size_t i = sizeof(latchkey_stats); status == LATCHKEY_OK && i < sizeof bytes; i++)
        assert_int_equal(bytes[i], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_promtool_accepts_the_metrics),
        TEST(test_promtool_accepts_the_metrics_without_redis),
        TEST(test_metrics_and_statistics_say_the_same),
        TEST(test_metrics_are_the_same_in_every_locale),
        TEST(test_metrics_say_how_much_they_need),
        TEST(test_shorter_statistics_of_an_older_caller),
        TEST(test_statistics_of_a_newer_caller_are_zero_filled_or_refused),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}

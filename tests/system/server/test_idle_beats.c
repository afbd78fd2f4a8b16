/* SPDX-License-Identifier: MIT
 *
 * What an instance asks of Redis while nobody asks it for anything.
 */
#include "test_handle.h"

enum { QUIET_BEATS = 22, COUNTED_BEATS = 10, MOST_FOR_A_BEAT = 4 };

static uint64_t beats_of(latchkey *lk) { return stats_of(lk).beats; }
static long long commands(void) { return redis_info(server, "stats", "total_commands_processed"); }

/* Two beats to a staleness_ms then: with the default, 2,000, at most four commands a second. */
static void test_an_idle_instance_sends_few_commands(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=400");
    uint64_t beats = beats_of(lk);
    wait_for(beats_of(lk) >= beats + QUIET_BEATS);
    long long before = commands();
    beats = beats_of(lk);
    wait_for(beats_of(lk) >= beats + COUNTED_BEATS);
    long long sent = commands() - before - 1; /* that of the test itself */
    beats = beats_of(lk) - beats + 1;         /* one may have been under way */
    if (sent > (long long)beats * MOST_FOR_A_BEAT) fail_msg("%lld commands in %d beats", sent, (int)beats);
    if (stats_of(lk).lapses) fail_msg("the lease lapsed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_an_idle_instance_sends_few_commands)};
    return cmocka_run_group_tests(tests, server_start, server_end);
}

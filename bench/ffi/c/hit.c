/* SPDX-License-Identifier: MIT
 *
 * What a hit costs in C, through the shared library: the yardstick of the bindings.
 */
#include <latchkey.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    char config[512], token[LATCHKEY_TOKEN_SIZE], error[256];
    latchkey *lk;
    latchkey_entry entry;
    latchkey_draft draft = {.size = sizeof draft, .user_id = 42, .role = "member"};
    double rounds[5];
    long calls = atol(getenv("LATCHKEY_CALLS"));
    snprintf(config, sizeof config, "unix://%s?deadline_ms=10000", getenv("LATCHKEY_REDIS_SOCKET"));
    if (latchkey_open(config, &lk, error, sizeof error) || latchkey_create(lk, &draft, token)) return 1;
    for (int round = 0; round < 5; round++) {
        double began = now_ns();
        for (long i = 0; i < calls; i++)
            if (latchkey_try_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry) || entry.user_id != 42) return 1;
        rounds[round] = (now_ns() - began) / (double)calls;
    }
    qsort(rounds, 5, sizeof *rounds, by_size);
    printf("row\tlatchkey_try_validate\t%.1f\t-\t-\tlatchkey %s\n", rounds[2], latchkey_version());
    latchkey_close(lk);
    return 0;
}

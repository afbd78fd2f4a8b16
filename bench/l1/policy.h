/* SPDX-License-Identifier: MIT
 *
 * Eviction policies, simulated: which of the last sessions asked for would be held? Sessions are small numbers.
 */
#ifndef LATCHKEY_BENCH_L1_POLICY_H
#define LATCHKEY_BENCH_L1_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum policy_kind { LRU, SIEVE, S3_FIFO, LATCHKEY_L1 };

typedef struct policy policy;

policy *policy_open(enum policy_kind kind, size_t capacity, size_t sessions); /* numbers below `sessions` */
bool policy_ask(policy *p, uint32_t session);                                 /* held? From now on it is */
void policy_close(policy *p);

#endif

/* Which hits may ask for a refresh (refresh.c). The gate is a lossy table without locks: 16,384 buckets of four words.
 * Each word is the mark of a token, and the time until which it need not be asked for again. If a bucket holds four
 * others, the gate is shut: a collision costs a miss, as without the gate, and never another read. Two
 * threads may find it open for one token at the same time: that costs one read.
 *
 * A hash places a mark and decides nothing else (E): a hit that is wrongly let through, or not let through, is answered
 * from L1 all the same. */
#ifndef LK_L2_REFRESH_GATE_H
#define LK_L2_REFRESH_GATE_H

#include "latchkey.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct lk_refresh_gate lk_refresh_gate;

lk_refresh_gate *lk_refresh_gate_open(uint64_t seed); /* NULL: no memory; a forked child sees it empty */
void lk_refresh_gate_close(lk_refresh_gate *gate);

/* True: it was not asked for in the last apart_ms, and now it has been. */
bool lk_refresh_gate_dedup(lk_refresh_gate *gate, const char *token, int64_t now_ms, int64_t apart_ms);
void lk_refresh_gate_shut(lk_refresh_gate *gate, const char *token, int64_t now_ms, int64_t until_ms);

#endif

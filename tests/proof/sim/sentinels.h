/* SPDX-License-Identifier: MIT
 *
 * Three sentinels that name the acting primary: each late in its own way, one of them wrongly or not at all now and then. To the wire
 * they are servers, from SENTINEL_FIRST on.
 */
#ifndef LATCHKEY_SIM_SENTINELS_H
#define LATCHKEY_SIM_SENTINELS_H

#include "wire.h"

enum { SENTINELS = 3, SENTINEL_FIRST = 100, SENTINEL_PORT = 26380, SERVER_PORT = 6380 };

/* `there` is false: this world has none. `twins`: the third name that is listed leads to the first sentinel. */
void sentinels_begin(bool there, bool twins);
const char *sentinels_config(void);
int sentinel_at(int port);
bool sentinels_there(void);

bool sentinel_accepts(int sentinel);
void sentinel_accepted(wire *c);
void sentinel_fed(wire *c, const char *bytes, size_t size);

/* The acting primary is another one. Each names it after a while of its own; one of them perhaps only when all is healed. */
void sentinels_learn(int64_t within_us);
void sentinels_trouble(int64_t us); /* one of them cannot be reached, or names somebody else, for so long */
void sentinels_heal(void);
int sentinels_cut_off(
    int64_t us); /* one of them, which goes on naming whom it names for so long. -1: another one is wrong */

#endif

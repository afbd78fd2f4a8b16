/* SPDX-License-Identifier: MIT
 *
 * What a small memory of recent ends and changes may have forgotten: it holds the newest, and what is remembered anew is the newest again.
 * So only what was remembered before the oldest one that is still there may be gone.
 */
#include "truth_inside.h"

#include <string.h>

enum { PLACES_MAX = 64 };

static struct {
    unsigned places;
    struct {
        char selector[PLACES_MAX][LATCHKEY_SELECTOR_LENGTH];
        int64_t at_us[PLACES_MAX]; /* the newest first */
        unsigned used;
        int64_t forgot_us; /* the newest one that it has forgotten was remembered then; NEVER: none was forgotten */
    } of[MACHINES_MAX];
} all;

void memory_begin(unsigned places)
{
    memset(&all, 0, sizeof all);
    all.places = places < PLACES_MAX ? places : PLACES_MAX;
}

void memory_restarted(const machine *m) { memset(&all.of[m->index], 0, sizeof all.of[0]); }

bool memory_lost(int m, int64_t us) { return all.of[m].forgot_us && us <= all.of[m].forgot_us; }

void memory_takes(const machine *m, const char *selector)
{
    unsigned i = 0, used = all.of[m->index].used;
    char(*selectors)[LATCHKEY_SELECTOR_LENGTH] = all.of[m->index].selector;
    int64_t *at_us = all.of[m->index].at_us;
    if (!all.places) return;
    while (i < used && memcmp(selectors[i], selector, LATCHKEY_SELECTOR_LENGTH)) i++;
    totals.forgotten += i == all.places;
    if (i == all.places) all.of[m->index].forgot_us = at_us[--i];
    if (i == used) all.of[m->index].used++;
    memmove(selectors[1], selectors[0], i * sizeof selectors[0]);
    memmove(at_us + 1, at_us, i * sizeof *at_us);
    memcpy(selectors[0], selector, LATCHKEY_SELECTOR_LENGTH);
    at_us[0] = w.now_us;
}

/* An entry as L1 holds it, to be compared with L2 (consistency.h). The verifier is not in it. */
#ifndef LK_BASE_ENTRY_SAMPLE_H
#define LK_BASE_ENTRY_SAMPLE_H

#include "latchkey.h"

typedef struct lk_entry_sample {
    char selector[LATCHKEY_SELECTOR_LENGTH];
    int64_t deadline_ms; /* the end of the entry; it tells two fills of the same session apart */
    latchkey_entry entry;
} lk_entry_sample;

#endif

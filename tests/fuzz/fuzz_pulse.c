/* SPDX-License-Identifier: MIT
 *
 * The text behind the nonce of a beat, as anyone may publish it. Input: the text.
 *
 * Properties: what is taken has a version of digits and points, and says the same again once it was written anew; what is
 * refused leaves zeros.
 */
#include "fuzz.h"
#include "observe/beat_stats.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    lk_beat_stats read, again, zero;
    char written[LK_BEAT_STATS_SIZE];
    memset(&zero, 0, sizeof zero);
    memset(&read, 0xff, sizeof read);
    char *text = fuzz_text(&in, in.left, &size);
    if (lk_beat_stats_read(text, &read)) {
        HOLDS(read.version[0] && strspn(read.version, "0123456789.") == strlen(read.version));
        HOLDS(lk_beat_stats_write(&read, written) == strlen(written));
        HOLDS(lk_beat_stats_read(written, &again));
        /* Shortened only where all numbers are huge. */
        HOLDS(strlen(written) > LK_BEAT_STATS_SIZE - 24 || memcmp(&read, &again, sizeof read) == 0);
    } else HOLDS(memcmp(&read, &zero, sizeof read) == 0);
    free(text);
    return 0;
}

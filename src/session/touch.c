/* See touch.h. */
#include "session/touch.h"

#include "session/server_time.h"

#include <string.h>

enum { AHEAD_MS = 1000 };

void lk_session_touch(latchkey *lk, unsigned partition, const lk_record *record)
{
    lk_touch touch = {.partition = partition,
                      .user_id = record->entry.user_id,
                      .idle_ms = record->idle_ms,
                      .expires_at_ms = record->entry.expires_at_ms};
    /* Created in time to come: only Redis knows when it ends (create.lua). */
    if (record->entry.created_at_ms > lk_server_now_ms(lk, lk_now_us()) + AHEAD_MS) touch.idle_ms = 0;
    char selector[LATCHKEY_SELECTOR_LENGTH + 1];
    lk_base64_encode(record->selector, sizeof record->selector, selector, sizeof selector);
    memcpy(touch.selector, selector, sizeof touch.selector);
    lk_node_touch(lk_l2_owner(&lk->l2, partition), &touch);
}

void lk_session_touch_name(latchkey *lk, unsigned partition, const char *selector)
{
    lk_touch touch = {.partition = partition};
    memcpy(touch.selector, selector, sizeof touch.selector);
    lk_node_touch(lk_l2_owner(&lk->l2, partition), &touch);
}

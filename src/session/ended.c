/* See ended.h. */
#include "session/ended.h"

#include "base/hash.h"
#include "base/token.h"

#include <string.h>

unsigned lk_partition_of_user(const latchkey *lk, uint64_t user_id)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(user_id >> (8 * i));
    return (unsigned)(lk_hash(bytes, sizeof bytes, 0) % (uint64_t)lk->config.partitions);
}

/* The next one, or NULL. *at moves past it. */
static const char *next_selector(const char **at)
{
    *at += strspn(*at, " ");
    const char *one = *at;
    *at += strcspn(one, " ");
    return *at - one == LATCHKEY_SELECTOR_LENGTH ? one : NULL;
}

bool lk_session_names(const lk_reply *reply)
{
    const char *at = reply->text, *one = reply->type == LK_REPLY_STRING ? next_selector(&at) : NULL;
    return one && lk_selector_spelled(one);
}

void lk_session_purge(latchkey *lk, const char *selectors)
{
    for (const char *one = next_selector(&selectors); one; one = next_selector(&selectors)) lk_l1_purge(lk->l1, one);
}

bool lk_session_ended(latchkey *lk, unsigned partition, const char *selectors, lk_source source)
{
    bool remembered = true;
    lk_session_purge(lk, selectors);
    for (const char *one = next_selector(&selectors); one; one = next_selector(&selectors))
        remembered &= lk_book_remember(lk->book, partition, one, source);
    return remembered;
}

/* See vouched_read.h. */
#include "session/vouched_read.h"

#include "base/reason.h"

enum { ASKS = 2 };

lk_vouch lk_vouch_partition(latchkey *lk, unsigned partition)
{
    lk_vouch vouch = {.leased = lk_lease_owner(lk->book, partition)};
    vouch.asked_us = lk_now_us();
    return vouch;
}

static void note_tickets(latchkey *lk, unsigned partition, uint64_t ticket, uint64_t dead_ticket, lk_vouch *vouch)
{
    *vouch = lk_vouch_partition(lk, partition);
    vouch->ticket = ticket;
    vouch->dead_ticket = dead_ticket;
}

bool lk_vouch_session(latchkey *lk, const lk_token *token, lk_vouch *vouch)
{
    uint64_t dead_ticket = lk_negative_cache_ticket(lk->negative_cache);
    uint64_t ticket = lk_l1_ticket(lk->l1, token->text);
    bool denied = lk_pending_has(lk->pending, token);
    note_tickets(lk, token->partition, ticket, dead_ticket, vouch);
    return !denied;
}

bool lk_vouch_named(latchkey *lk, unsigned partition, const char *selector, lk_vouch *vouch)
{
    uint64_t dead_ticket = lk_negative_cache_ticket(lk->negative_cache);
    uint64_t ticket = lk_l1_ticket(lk->l1, selector);
    bool denied = lk_pending_names(lk->pending, selector);
    note_tickets(lk, partition, ticket, dead_ticket, vouch);
    return !denied;
}

void lk_vouch_answered(latchkey *lk, unsigned partition, lk_vouch *vouch, uint64_t incarnation)
{
    bool other = vouch->leased != incarnation;
    vouch->mixed |= other;
    vouch->server = vouch->mixed ? 0 : incarnation;
    if (other) lk_lease_suspect(lk->book, partition, incarnation);
}

int lk_vouch_ask(latchkey *lk, unsigned partition, lk_vouch *vouch, const lk_call *calls, size_t count,
                 int64_t deadline_ms, lk_reply **replies)
{
    uint64_t incarnation = 0;
    int status = lk_l2_pipeline(&lk->l2, partition, calls, count, count, deadline_ms, replies, &incarnation);
    if (!status) lk_vouch_answered(lk, partition, vouch, incarnation);
    return status;
}

int lk_unleased(latchkey *lk, unsigned partition)
{
    char trouble[160];
    lk_node_last_trouble(lk_l2_owner(&lk->l2, partition), trouble, sizeof trouble);
    return lk_reason(LATCHKEY_UNAVAILABLE, "no lease covers what Redis answered%s%s", *trouble ? ": " : "", trouble);
}

static bool begin_read(latchkey *lk, const lk_vouched_read *read, lk_vouch *vouch)
{
    if (read->token) return lk_vouch_session(lk, read->token, vouch);
    if (read->selector) return lk_vouch_named(lk, read->partition, read->selector, vouch);
    *vouch = lk_vouch_partition(lk, read->partition);
    return true;
}

static bool denied(latchkey *lk, const lk_vouched_read *read)
{
    if (read->token) return lk_pending_has(lk->pending, read->token);
    return read->selector && lk_pending_names(lk->pending, read->selector);
}

/* It was denied before it was asked for. */
static int denial(latchkey *lk, const lk_vouched_read *read, const lk_vouch *vouch, int64_t deadline_ms)
{
    if (!read->token || lk_pending_holds(lk->pending, read->token)) return LATCHKEY_NOT_FOUND;
    uint64_t leased = lk_lease_owner(lk->book, read->partition); /* 0: a server is being met, and told of it */
    if (!leased) return LATCHKEY_NOT_FOUND;
    if (lk_lease_covers(lk->book, read->partition, leased, deadline_ms)) return lk_unleased(lk, read->partition);
    return read->keep ? read->keep(lk, read->context, vouch, LATCHKEY_NOT_FOUND) : LATCHKEY_NOT_FOUND;
}

/* Another server has the lease: is it asked? Partitions of a cluster may move more than once. */
static bool asks_again(latchkey *lk, int asked, int64_t deadline_ms)
{
    if (asked < ASKS) return true;
    return lk->config.cluster && lk_l2_await_change(&lk->l2, deadline_ms);
}

int lk_read_vouched(latchkey *lk, const lk_vouched_read *read, int64_t deadline_ms)
{
    int status = LK_OUTCOME_OTHER_SERVER;
    for (int i = 0; status == LK_OUTCOME_OTHER_SERVER && asks_again(lk, i, deadline_ms); i++) {
        lk_vouch vouch;
        if (!begin_read(lk, read, &vouch)) return denial(lk, read, &vouch, deadline_ms);
        int said = read->ask(lk, read->context, &vouch, deadline_ms);
        if (said < 0) return said;
        status = lk_lease_covers_since(lk->book, read->partition, vouch.server, vouch.since_ms, deadline_ms);
        /* If the session was ended while it was asked for, it is remembered by now: the answer may be from before that,
         * or from a data set that was replaced by an older one. */
        if (!status && !said && denied(lk, read)) status = LATCHKEY_NOT_FOUND;
        else if (!status) status = read->keep ? read->keep(lk, read->context, &vouch, said) : said;
        if (status && !said && read->drop) read->drop(read->context);
    }
    status = lk_outcome_status(status);
    return status == LATCHKEY_UNAVAILABLE ? lk_unleased(lk, read->partition) : status;
}

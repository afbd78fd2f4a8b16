/* See run_script.h. */
#include "session/run_script.h"
#include "base/argument.h"

#include "session/server_time.h"
#include "session/token_reuse.h"
#include "session/vouched_read.h"

static int too_many(const lk_script_run *run)
{
    return lk_bad_argument(run->script == LK_SCRIPT_SECTION_PUT ? "section_put: a session has at most 16 sections"
                                                                : "fields: a session has at most 256");
}

/* What all scripts answer. A number above 0: done. 0: there is no such session. Below 0: it is past its absolute
 * expiry. Or a word. */
static int meaning(const lk_script_run *run, const lk_reply *reply)
{
    static const struct {
        const char *word;
        int status;
    } words[] = {{"CHANGED", LK_OUTCOME_CHANGED}, {"EXISTS", LK_OUTCOME_TAKEN},    {"REFUSED", LATCHKEY_REFUSED},
                 {"OVER", LATCHKEY_REFUSED},      {"VERSION", LATCHKEY_REFUSED},   {"NAME", LATCHKEY_REFUSED},
                 {"LIMIT", LATCHKEY_LIMIT},       {"MANY", LATCHKEY_BAD_ARGUMENT}, {"TRIM", LK_OUTCOME_TRIM}};
    if (reply->type == LK_REPLY_INTEGER)
        return reply->integer > 0 ? LATCHKEY_OK : reply->integer ? LATCHKEY_EXPIRED : LATCHKEY_NOT_FOUND;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (lk_reply_is(reply, words[i].word))
            return words[i].status == LATCHKEY_BAD_ARGUMENT ? too_many(run) : words[i].status;
    int64_t now_ms;
    return lk_session_clock(reply, &now_ms) ? LK_OUTCOME_TAKEN : LATCHKEY_UNAVAILABLE;
}

static int taken(latchkey *lk, const lk_script_run *run, lk_script_answer *answer)
{
    if (run->token && lk_session_take_reused(lk, run->partition, run->selector, answer->reply, answer->source))
        return LATCHKEY_NOT_FOUND;
    int status = meaning(run, answer->reply);
    return run->take ? run->take(lk, run->context, answer, status) : lk_outcome_status(status);
}

int lk_run_script(latchkey *lk, const lk_script_run *run, int64_t deadline_ms)
{
    lk_script_answer answer = {.reply = NULL};
    int status = (run->anywhere ? lk_l2_script : lk_l2_script_leased)(&lk->l2, run->script, run->partition,
                                                                      run->selector, run->words, run->count,
                                                                      deadline_ms, &answer.reply, &answer.source);
    if (run->unanswered) *run->unanswered = answer.source.unanswered;
    if (status && status != LK_OUTCOME_NOT_DURABLE) return status;
    answer.durable = !status || run->reads;
    status = taken(lk, run, &answer);
    lk_reply_free(answer.reply);
    if (status < 0) return status;
    if (!status && !answer.durable) return LATCHKEY_UNAVAILABLE;
    int64_t since_ms = !status && answer.awaits_beat ? lk_now_ms() : INT64_MIN;
    if (lk_lease_covers_since(lk->book, run->partition, answer.source.incarnation, since_ms, deadline_ms))
        return lk_unleased(lk, run->partition);
    uint64_t met = lk_leases_meetings(lk->leases, run->partition);
    return met == answer.source.meetings ? status : LATCHKEY_UNAVAILABLE;
}

/* latchkey_create, latchkey_create_with, latchkey_token_new: draft --> token, record, script --> a session in Redis -->
 * L1 --> the token is handed out. Randomness, times and place are decided here and by Redis, never by a client. */
#include "api/create.h"
#include "session/visit.h"

#include "base/argument.h"
#include "base/reason.h"

#include "observe/events.h"
#include "session/run_script.h"
#include "session/ended.h"
#include "session/read.h"
#include "session/server_time.h"
#include "session/lifetime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ATTEMPTS = 4, AHEAD_MS = 1000, FIXED_WORDS = 11, WORDS_MAX = FIXED_WORDS + 3 + 2 * LK_FIELDS_MAX };

/* Puts the session into L1: its first request is likely to come here, and soon. What a read would say is known, the
 * record and how long it lives. The rules are those for any answer of Redis (lk_session_fill). */
static void keep(latchkey *lk, const lk_token *token, const lk_vouch *vouch, const lk_record *record, int64_t made_ms)
{
    /* All sessions up to a time in the future were ended, by a clock that was ahead: only Redis knows how long this one
     * lives. */
    if (made_ms > lk_server_now_ms(lk, token->partition, lk_now_us()) + AHEAD_MS) return;
    lk_judged judged = {.record = *record};
    int64_t absolute = record->entry.expires_at_ms - made_ms;
    int64_t left = record->idle_ms < absolute ? record->idle_ms : absolute;
    lk_session_times(lk_session_ttl(lk, token->text, vouch->asked_us), lk->refresh_ms, record->idle_ms, left, absolute,
                     vouch->asked_us, &judged);
    lk_session_renewal(lk->config.renew_ms, 0, vouch->asked_us, &judged);
    lk_session_fill(lk, token, vouch, &judged);
}

/* When it was made, in ms; and, if events are told, the sessions that the limits ended. 0: it was not made. */
static int64_t take_made(latchkey *lk, const latchkey_draft *d, const lk_reply *reply)
{
    const lk_reply *made_ms = reply;
    if (reply->type == LK_REPLY_ARRAY) {
        if (!lk_reply_shaped(reply, "is")) return 0;
        lk_event_evicted(&lk->config, lk_reply_at(reply, 1)->text, d->user_id);
        made_ms = lk_reply_at(reply, 0);
    }
    return made_ms->type == LK_REPLY_INTEGER && lk_session_is_time(made_ms->integer) ? made_ms->integer : 0;
}

typedef struct making {
    const latchkey_draft *draft;
    lk_record *record;
    const lk_token *token;
    lk_vouch vouch;
    bool given;      /* the token was made before, and may have been shown before */
    bool named;      /* the id belongs to another name */
    bool exists;     /* there is a session of this token, or it was ended recently */
    bool made;       /* it is in Redis, whatever else becomes of the call */
    bool unanswered; /* it may be */
} making;

static int take_create(latchkey *lk, void *context, lk_script_answer *answer, int status)
{
    making *m = context;
    int64_t now_ms, made_at_ms = lk_session_clock(answer->reply, &now_ms);
    if (made_at_ms && m->record->sealed) lk_draft_times(lk, m->draft, m->record, made_at_ms, now_ms);
    m->named = lk_draft_collides(m->draft, answer->reply);
    m->exists = lk_reply_is(answer->reply, "EXISTS");
    int64_t made_ms = take_made(lk, m->draft, answer->reply);
    if (!made_ms) return status && answer->reply->type != LK_REPLY_INTEGER ? status : LATCHKEY_UNAVAILABLE;
    m->made = true;
    if (m->given) lk_negative_cache_forget(lk->negative_cache, m->token->text);
    lk_vouch_answered(lk, m->token->partition, &m->vouch, answer->source.incarnation);
    if (!m->record->sealed) lk_draft_times(lk, m->draft, m->record, made_ms, made_ms);
    if (answer->durable) keep(lk, m->token, &m->vouch, m->record, made_ms);
    return LATCHKEY_OK;
}

static const char used[] = "a session of this token exists, or was ended lately";

static int say_why_not(const making *m, int status)
{
    if (status == LATCHKEY_LIMIT)
        return lk_reason(status, "the user has as many sessions as max_sessions or max_per_device allows");
    if (status != LATCHKEY_REFUSED) return status;
    return m->named ? lk_reason(status, "another user's name has this user id")
                    : lk_reason(status, "the user's generation has moved since it was read: the sessions were ended");
}

static int take_trimmed(latchkey *lk, void *context, lk_script_answer *answer, int status)
{
    int64_t *from = context;
    (void)lk;
    (void)status;
    if (answer->reply->type != LK_REPLY_INTEGER || answer->reply->integer < 0) return LATCHKEY_UNAVAILABLE;
    *from = answer->reply->integer;
    return LATCHKEY_OK;
}

/* Removes from a user's index the names of sessions that idled out, in parts. */
static int trim_user(latchkey *lk, uint64_t user_id, int64_t deadline_ms)
{
    char user[24], place[24];
    int64_t from = 0;
    snprintf(user, sizeof user, "%llu", (unsigned long long)user_id);
    lk_span words[2] = {lk_word(user)};
    const lk_script_run run = {.script = LK_SCRIPT_TRIM,
                               .partition = lk_partition_of_user(lk, user_id),
                               .selector = LK_NOBODY,
                               .words = words,
                               .count = 2,
                               .reads = true, /* a name that comes back is trimmed again */
                               .take = take_trimmed,
                               .context = &from};
    int status;
    do {
        snprintf(place, sizeof place, "%lld", (long long)from);
        words[1] = lk_word(place);
        status = lk_run_script(lk, &run, deadline_ms);
    } while (!status && from && lk_now_ms() < deadline_ms);
    return status || !from ? status : (int)LATCHKEY_UNAVAILABLE;
}

/* One attempt, with a new token or with the given one. OK, or what the script says; TAKEN: try again with another
 * token, or with another time. TRIM: trim the user's index, and try again. `fields` are the draft's as Redis is to hold them. */
static int attempt_create(latchkey *lk, const latchkey_draft *d, const latchkey_field *fields, lk_record *record,
                          lk_token *token, bool given, bool trimmed, int64_t deadline_ms)
{
    uint8_t v[LK_RECORD_SEALED_SIZE];
    char user[24], idle[24], lifetime[24], generation[24], most[24], of_device[24];
    lk_span words[WORDS_MAX];
    size_t count = 0;
    if (!given) lk_token_make(&lk->config.check_keys, lk_partition_of_user(lk, d->user_id), token);
    memcpy(record->selector, token->raw, LK_SELECTOR_RAW);
    lk_token_verifier_hash(token, record->verifier_hash);
    size_t size = lk_record_seal(&lk->config.seal_keys, record, v);
#define DECIMAL(text, format, value)                                                                                   \
    words[count++] = (lk_span){text, (size_t)snprintf(text, sizeof text, format, value)}
    DECIMAL(user, "%llu", (unsigned long long)d->user_id);
    DECIMAL(idle, "%lld", (long long)record->idle_ms);
    DECIMAL(lifetime, "%lld", (long long)lk_draft_lifetime(lk, d));
    DECIMAL(generation, "%llu", (unsigned long long)d->generation);
    DECIMAL(most, "%lld", (long long)lk->config.max_sessions);
    words[count++] = lk_word(lk->config.limit_deny ? "deny" : "evict");
    DECIMAL(of_device, "%lld", (long long)lk->config.max_per_device);
    /* The record around its times, which the script fills in by Redis' clock; or, sealed, the whole record. */
    bool s = record->sealed;
    words[count++] = (lk_span){v, s ? size : LK_RECORD_EXPIRES};
    words[count++] = (lk_span){v + LK_RECORD_PERMISSIONS, s ? 0 : LK_RECORD_CREATED - LK_RECORD_PERMISSIONS};
    words[count++] = (lk_span){v + LK_RECORD_DEVICE, s ? 0 : LK_RECORD_SIZE - LK_RECORD_DEVICE};
    words[count++] = lk_word(trimmed ? "trimmed" : "");
    uint8_t name[LK_HASH_SIZE];
    if (given) words[count++] = (lk_span){"o", 1}; /* "once": not after it was ended, either */
    count += lk_draft_name(d, words + count, name);
    for (size_t i = 0; i < d->field_count; i++) {
        words[count++] = (lk_span){fields[i].name, strlen(fields[i].name)};
        words[count++] = (lk_span){fields[i].data, fields[i].size};
    }
    making m = {.draft = d, .record = record, .token = token, .given = given};
    if (!lk_vouch_session(lk, token, &m.vouch)) m.exists = true;
    if (m.exists) return given ? lk_reason(LATCHKEY_REFUSED, "%s", used) : (int)LK_OUTCOME_TAKEN;
    const lk_script_run run = {.script = LK_SCRIPT_CREATE,
                               .partition = token->partition,
                               .selector = token->text,
                               .words = words,
                               .count = count,
                               .take = take_create,
                               .context = &m,
                               .unanswered = &m.unanswered};
    int status = lk_run_script(lk, &run, deadline_ms);
    if (!status) lk_event_created(&lk->config, token->text, d->user_id, d->device);
    if (status > 0)
        lk_event_refused(&lk->config, d->user_id, status == LATCHKEY_LIMIT ? "limit" : m.named ? "name" : "generation");
    /* Its token is not handed out, since a failover may lose the session. If no answer came, only a given token can still be used: by the
     * same call, made again. */
    if (status && (m.made || (m.unanswered && !given))) lk_disown(lk, token, m.made);
    if (m.exists && given) return lk_reason(LATCHKEY_REFUSED, "%s", used);
    return say_why_not(&m, status);
}

int lk_create(latchkey *lk, const latchkey_draft *draft, bool given, lk_token *token, latchkey_entry *entry)
{
    lk_record record;
    LK_VISIT(visit);
    int status = lk_visit_begin(lk, &visit);
    if (!status) status = lk_draft_record(lk, draft, &record);
    if (status) return status;
    latchkey_field *sealed = NULL;
    if (record.sealed) sealed = lk_fields_seal(&lk->config.seal_keys, &record, draft->fields, draft->field_count);
    if (record.sealed && !sealed) return LATCHKEY_NO_MEMORY;
    const latchkey_field *fields = sealed ? sealed : draft->fields;
    bool trimmed = false;
    status = LK_OUTCOME_TAKEN;
    for (int i = 0; i < ATTEMPTS && (status == LK_OUTCOME_TAKEN || status == LK_OUTCOME_TRIM); i++) {
        if (status == LK_OUTCOME_TRIM) {
            status = trim_user(lk, draft->user_id, visit.deadline_ms);
            if (status) break;
            trimmed = true;
        }
        status = attempt_create(lk, draft, fields, &record, token, given, trimmed, visit.deadline_ms);
    }
    free(sealed);
    status = lk_outcome_status(status); /* four times, 64 random bits were taken already */
    if (status) return status;
    size_t bytes = LK_RECORD_SIZE;
    for (size_t i = 0; i < draft->field_count; i++) bytes += strlen(draft->fields[i].name) + draft->fields[i].size;
    lk_histogram_add(&lk->counters.session_bytes, bytes);
    *entry = record.entry;
    return LATCHKEY_OK;
}

int latchkey_create(latchkey *lk, const latchkey_draft *given, char token[LATCHKEY_TOKEN_SIZE])
{
    latchkey_draft draft;
    latchkey_entry entry;
    lk_token made;
    if (token) memset(token, 0, LATCHKEY_TOKEN_SIZE);
    if (!lk || !given || !token) return lk_bad_argument("create: the handle, draft or token is NULL");
    int status = lk_draft_take(given, &draft);
    if (status) return status;
    status = lk_create(lk, &draft, false, &made, &entry);
    if (!status) memcpy(token, made.text, LATCHKEY_TOKEN_SIZE);
    lk_wipe(&made, sizeof made);
    return status;
}

/* --------------------------------------------------------------------------------- with a token of before -- */

int latchkey_token_new(latchkey *lk, uint64_t user_id, char token[LATCHKEY_TOKEN_SIZE])
{
    if (token) memset(token, 0, LATCHKEY_TOKEN_SIZE);
    if (!lk || !token) return lk_bad_argument("token_new: the handle or token is NULL");
    if (lk_forked(lk)) return LATCHKEY_FORKED;
    lk_token made;
    lk_token_make(&lk->config.check_keys, lk_partition_of_user(lk, user_id), &made);
    memcpy(token, made.text, LATCHKEY_TOKEN_SIZE);
    lk_wipe(&made, sizeof made);
    return LATCHKEY_OK;
}

int lk_create_given(const latchkey *lk, const latchkey_draft *draft, const char *token, size_t token_len,
                    lk_token *parsed)
{
    lk_reason_clear(lk);
    if (!lk_parse(lk, token, token_len, parsed)) return LATCHKEY_MALFORMED;
    if (parsed->partition == lk_partition_of_user(lk, draft->user_id)) return LATCHKEY_OK;
    lk_wipe(parsed, sizeof *parsed);
    return lk_bad_argument(
        "create_with: the token was made for another user: call latchkey_token_new with the draft's user_id");
}

int latchkey_create_with(latchkey *lk, const latchkey_draft *given, const char *token, size_t token_len)
{
    latchkey_draft draft;
    latchkey_entry entry;
    lk_token parsed;
    if (!lk || !given || !token) return lk_bad_argument("create_with: the handle, draft or token is NULL");
    int status = lk_draft_take(given, &draft);
    if (status) return status;
    if (lk_forked(lk)) return LATCHKEY_FORKED;
    status = lk_create_given(lk, &draft, token, token_len, &parsed);
    if (status) return status;
    status = lk_create(lk, &draft, true, &parsed, &entry);
    lk_wipe(&parsed, sizeof parsed);
    return status;
}

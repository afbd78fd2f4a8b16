/* latchkey_import: a session of another store moves in under its own token.
 *
 *   is it here already? --yes--> REFUSED
 *      | no
 *   1. the session, in its user's partition, with the selector and verifier that follow from the token   (import.lua)
 *   2. its name, by which the token will be looked up, with the session that it means                    (map.lua)
 *
 * Two partitions, so two scripts. The session comes first; the name decides. If the name is there, the session was made
 * once, and is not made again, however often the import is run. So a user who has logged out in between stays logged
 * out (D), and a "no" to such a session may be remembered as any other (l1/negative_cache.h).
 *
 * The name must last as long as an import can be run, whatever the session's own end was: until foreign_until_ms, or
 * until the session's end if that is later. An import that is run again makes it last until that run's
 * foreign_until_ms. So the time may be moved on, as long as it has not passed.
 *
 * The first script may run late: its packets were lost and are repeated, or this process stood still. By then the call may have been made
 * again, and the session may have ended. So the number of the last revocation is read before anything else, and the script looks in the log
 * for what came after it. A session that idled out is in no log. So Redis' time is read as well: what was made since then has not idled out
 * before idle_ms have passed, and after that the script makes nothing.
 *
 * An interruption between the two scripts leaves a session that no token leads to. The same call, made again, finds it
 * by its verifier and completes it; otherwise it idles out. Until then the token belongs to the old store, as if
 * nothing had happened.
 *
 * Two processes that import the same token at once make the same session, and the one that adds the name gets OK. Only
 * if they differ (in the user, or in the first check key) there are two sessions: the first name stays, and the other
 * session is ended. */
#include "session/draft.h"
#include "session/visit.h"
#include "base/argument.h"
#include "base/reason.h"
#include "observe/events.h"
#include "session/resolve.h"
#include "session/run_script.h"
#include "session/ended.h"
#include "session/server_time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIXED_WORDS = 7, WORDS_MAX = FIXED_WORDS + 2 + 2 * LK_FIELDS_MAX };

#define LATEST_MS INT64_C(315360000000) /* ten years from now, as for lifetime_ms */

typedef struct moving {
    const latchkey_draft *draft;
    lk_foreign foreign;
    lk_record record;
    lk_token token;
    char number[24];  /* of the last revocation in the user's partition, before the token was looked up */
    int64_t asked_ms; /* when that was read, by Redis' clock */
    int64_t deadline_ms;
    enum lk_import_refusal why;
} moving;

/* By the clock of the user's server. It is known once that server has had the lease. */
static int set_times(latchkey *lk, moving *m, int64_t created_at_ms, int64_t expires_at_ms)
{
    latchkey_entry *e = &m->record.entry;
    int64_t now_ms = lk_server_now_ms(lk, lk_partition_of_user(lk, m->draft->user_id), lk_now_us());
    int64_t lifetime_ms = m->draft->lifetime_ms ? m->draft->lifetime_ms : lk->config.lifetime_ms;
    if (!now_ms) return LATCHKEY_UNAVAILABLE;
    e->expires_at_ms = expires_at_ms ? expires_at_ms : now_ms + lifetime_ms;
    if (e->expires_at_ms <= now_ms) return LATCHKEY_EXPIRED;
    if (e->expires_at_ms > now_ms + LATEST_MS) e->expires_at_ms = now_ms + LATEST_MS;
    e->created_at_ms = created_at_ms && created_at_ms < now_ms ? created_at_ms : now_ms;
    e->auth_at_ms = e->created_at_ms;
    return LATCHKEY_OK;
}

static int take_import(latchkey *lk, void *context, lk_script_answer *answer, int status)
{
    moving *m = context;
    if (lk_reply_is(answer->reply, "OVER")) m->why = LK_IMPORT_OVER;
    if (lk_draft_collides(m->draft, answer->reply)) m->why = LK_IMPORT_NAME;
    if (!lk_reply_is(answer->reply, "EXISTS")) return status;
    return lk_l2_corrupt(&lk->l2, lk_l2_owner(&lk->l2, m->token.partition),
                         "another session is stored under the name of an imported one");
}

/* `fields` are the draft's as Redis is to hold them. */
static int make_session(latchkey *lk, moving *m, const latchkey_field *fields)
{
    const latchkey_draft *d = m->draft;
    uint8_t v[LK_RECORD_SEALED_SIZE];
    char user[24], idle[24], expires[24], generation[24], idles[24];
    lk_span words[WORDS_MAX];
    size_t count = 0;
    lk_foreign_make(&lk->config.check_keys, lk_partition_of_user(lk, d->user_id), &m->foreign, &m->token);
    memcpy(m->record.selector, m->token.raw, LK_SELECTOR_RAW);
    lk_token_verifier_hash(&m->token, m->record.verifier_hash);
    size_t size = lk_record_seal(&lk->config.seal_keys, &m->record, v);
    snprintf(user, sizeof user, "%llu", (unsigned long long)d->user_id);
    snprintf(idle, sizeof idle, "%lld", (long long)m->record.idle_ms);
    snprintf(expires, sizeof expires, "%lld", (long long)m->record.entry.expires_at_ms);
    snprintf(generation, sizeof generation, "%llu", (unsigned long long)d->generation);
    snprintf(idles, sizeof idles, "%lld", (long long)(m->asked_ms + m->record.idle_ms));
    words[count++] = lk_word(user);
    words[count++] = lk_word(idle);
    words[count++] = lk_word(expires);
    words[count++] = lk_word(generation);
    words[count++] = (lk_span){v, size};
    words[count++] = lk_word(m->number);
    words[count++] = lk_word(idles);
    uint8_t name[LK_HASH_SIZE];
    count += lk_draft_name(d, words + count, name);
    for (size_t i = 0; i < d->field_count; i++) {
        words[count++] = lk_word(fields[i].name);
        words[count++] = (lk_span){fields[i].data, fields[i].size};
    }
    const lk_script_run run = {.script = LK_SCRIPT_IMPORT,
                               .partition = m->token.partition,
                               .selector = m->token.text,
                               .words = words,
                               .count = count,
                               .take = take_import,
                               .context = m};
    return lk_run_script(lk, &run, m->deadline_ms);
}

static int make(latchkey *lk, moving *m)
{
    const latchkey_draft *d = m->draft;
    if (!m->record.sealed) return make_session(lk, m, d->fields);
    latchkey_field *sealed = lk_fields_seal(&lk->config.seal_keys, &m->record, d->fields, d->field_count);
    if (!sealed) return LATCHKEY_NO_MEMORY;
    int status = make_session(lk, m, sealed);
    free(sealed);
    return status;
}

/* 1: it has its name now; 0: it had it before; EXISTS: the token means another session. */
static int take_named(latchkey *lk, void *context, lk_script_answer *answer, int status)
{
    const moving *m = context;
    if (lk_reply_is(answer->reply, "EXISTS")) {
        lk_disown(lk, &m->token, true);
        return LATCHKEY_REFUSED;
    }
    return status == LATCHKEY_NOT_FOUND ? LATCHKEY_REFUSED : status;
}

/* Until when the name lasts, by the clock of its own server. The session's end is by the clock of the session's. */
static int64_t end_of_name(const latchkey *lk, const moving *m)
{
    unsigned user = lk_partition_of_user(lk, m->draft->user_id);
    int64_t now_us = lk_now_us(), end_ms = m->record.entry.expires_at_ms;
    end_ms += lk_server_now_ms(lk, m->foreign.partition, now_us) - lk_server_now_ms(lk, user, now_us);
    return end_ms > lk->config.foreign_until_ms ? end_ms : lk->config.foreign_until_ms;
}

/* OK or REFUSED: see take_named. */
static int name_it(latchkey *lk, moving *m)
{
    int64_t until_ms = m->record.entry.expires_at_ms ? end_of_name(lk, m) : lk->config.foreign_until_ms;
    char until[24];
    snprintf(until, sizeof until, "%lld", (long long)until_ms);
    const lk_span words[2] = {{m->token.text, LATCHKEY_SELECTOR_LENGTH}, lk_word(until)};
    const lk_script_run run = {.script = LK_SCRIPT_MAP,
                               .partition = m->foreign.partition,
                               .selector = m->foreign.name,
                               .words = words,
                               .count = 2,
                               .take = take_named,
                               .context = m};
    return lk_run_script(lk, &run, m->deadline_ms);
}

static int refuse_late(moving *m)
{
    m->why = LK_IMPORT_LATE;
    return LATCHKEY_MALFORMED;
}

/* What is no number or no time counts as 0, as in the script: then the next revocation replaces it, or the script makes nothing. */
static int take_number_and_time(latchkey *lk, unsigned p, moving *m, const lk_reply *number, const lk_reply *time)
{
    if (number->type == LK_REPLY_STRING) snprintf(m->number, sizeof m->number, "%.23s", number->text);
    m->asked_ms = atoll(lk_reply_at(time, 0)->text) * 1000 + atoll(lk_reply_at(time, 1)->text) / 1000;
    const lk_reply *refused = number->type == LK_REPLY_ERROR && strncmp(number->text, "WRONGTYPE", 9) != 0 ? number
                              : time->type == LK_REPLY_ERROR                                               ? time
                                                                                                           : NULL;
    return refused ? lk_l2_refused(&lk->l2, lk_l2_owner(&lk->l2, p), refused) : LATCHKEY_OK;
}

static int read_asked(latchkey *lk, moving *m)
{
    unsigned p = lk_partition_of_user(lk, m->draft->user_id);
    char key[LK_KEY_SIZE];
    lk_key_partition(key, lk->config.prefix, p, "q");
    const lk_span time = lk_word("TIME"), get[2] = {lk_word("GET"), lk_word(key)};
    const lk_call calls[2] = {{&time, 1}, {get, 2}};
    lk_reply *replies[2];
    int status = lk_l2_pipeline(&lk->l2, p, calls, 2, 2, m->deadline_ms, replies, NULL);
    if (status) return status;
    status = take_number_and_time(lk, p, m, replies[1], replies[0]);
    lk_reply_free(replies[0]);
    lk_reply_free(replies[1]);
    return status;
}

static int move_in(latchkey *lk, moving *m, int64_t created_at_ms, int64_t expires_at_ms)
{
    if (!lk_foreign_taken(lk, &m->foreign)) return refuse_late(m);
    int asked = read_asked(lk, m);
    if (asked) return asked;
    int found = lk_resolve(lk, &m->foreign, m->deadline_ms, &m->token);
    if (found != LATCHKEY_OK && found != LATCHKEY_NOT_FOUND) return found;
    if (!lk_foreign_taken(lk, &m->foreign)) return refuse_late(m); /* the clock was not known before */
    if (found == LATCHKEY_OK) { /* it is here: its name is made to last, and to be durable */
        int status = name_it(lk, m);
        return status ? status : LATCHKEY_REFUSED;
    }
    int status = set_times(lk, m, created_at_ms, expires_at_ms);
    if (!status) status = make(lk, m);
    if (!status) status = name_it(lk, m);
    if (!status) lk_event_imported(&lk->config, m->token.text, m->draft->user_id, m->draft->device);
    return status;
}

int lk_import(latchkey *lk, const char *foreign, size_t foreign_len, const latchkey_draft *given, int64_t created_at_ms,
              int64_t expires_at_ms, enum lk_import_refusal *why)
{
    latchkey_draft known;
    const latchkey_draft *draft = &known;
    moving m = {.draft = draft};
    *why = LK_IMPORT_HERE;
    if (!lk || !foreign || !given) return lk_bad_argument("import: the handle, the token or draft is NULL");
    int status = lk_draft_take(given, &known);
    if (status) return status;
    if (created_at_ms < 0 || expires_at_ms < 0)
        return lk_bad_argument("import: created_at_ms or expires_at_ms is below 0");
    if (expires_at_ms && created_at_ms > expires_at_ms)
        return lk_bad_argument("import: created_at_ms is later than expires_at_ms");
    if (expires_at_ms && draft->lifetime_ms)
        return lk_bad_argument("import: only one of expires_at_ms and draft.lifetime_ms");
    LK_VISIT(visit);
    if ((status = lk_visit_begin(lk, &visit))) return status;
    if (!lk->config.foreign_until_ms) return lk_reason(LATCHKEY_CONFIG, "import: foreign_until_ms is not set");
    status = lk_draft_record(lk, draft, &m.record);
    if (status) return status;
    m.deadline_ms = visit.deadline_ms;
    bool ours = lk_parse(lk, foreign, foreign_len, &m.token);
    if (ours || !lk_foreign_parse((unsigned)lk->config.partitions, foreign, foreign_len, &m.foreign))
        status = LATCHKEY_MALFORMED;
    if (!status) status = move_in(lk, &m, created_at_ms, expires_at_ms);
    *why = m.why;
    lk_wipe(&m, sizeof m);
    return lk_outcome_status(status);
}

int latchkey_import(latchkey *lk, const char *foreign, size_t foreign_len, const latchkey_draft *draft,
                    int64_t created_at_ms, int64_t expires_at_ms)
{
    static const char *const texts[] = {
        [LK_IMPORT_HERE] = "import: it moved in before, or the user's generation has moved since it was read",
        [LK_IMPORT_OVER] =
            "import: it was created before all sessions were ended (latchkey_revoke_everyone), by Redis' clock",
        [LK_IMPORT_NAME] = "import: another user's name has this user id"};
    enum lk_import_refusal why;
    int status = lk_import(lk, foreign, foreign_len, draft, created_at_ms, expires_at_ms, &why);
    return status == LATCHKEY_REFUSED ? lk_reason(status, "%s", texts[why]) : status;
}

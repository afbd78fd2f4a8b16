/* What the link does in the background, between its beats: revocations that are retried, touches, refreshes, and last
 * the comparisons of the consistency check. At most LK_LINK_JOBS are under way. */
#include "l2/link_parts.h"

#include "observe/events.h"
#include "redis/keys.h"
#include "redis/script.h"

#include <stdio.h>
#include <string.h>

static bool send_audit(lk_link *link, unsigned place)
{
    const lk_job *job = &link->job[place];
    char key[LK_KEY_SIZE];
    lk_key_session(key, link->config->prefix, job->of.partition, job->of.selector);
    lk_span words[3] = {lk_word("HGET"), lk_word(key), lk_word("v")};
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_JOB + place, words, 3);
}

/* Asks as a miss does (judge.c). */
static bool send_refresh(lk_link *link, unsigned place)
{
    const lk_job *job = &link->job[place];
    char key[LK_KEY_SIZE];
    lk_key_session(key, link->config->prefix, job->of.partition, job->of.selector);
    lk_span hget[3] = {lk_word("HGET"), lk_word(key), lk_word("v")}, pttl[2] = {lk_word("PTTL"), lk_word(key)};
    lk_conn *conn = &link->conn[LK_LINK_COMMANDS];
    return lk_conn_send(conn, TAG_VALUE + place, hget, 3) && lk_conn_send(conn, TAG_JOB + place, pttl, 2);
}

/* A touch is plain commands, none of which creates anything (D). Two of them answer 1 if all is well: the session's own
 * key lives longer now, and so does the user's index. GT, because two things must not shorten a life: a clock that went
 * back, and an old token's selector, whose key lives until the absolute end. If an answer is not 1, a script looks at
 * it: touch.lua.
 *
 *   PEXPIRE s:<selector> idle_ms GT   ZADD a XX GT now <selector>   (PEXPIRE a ...)   PEXPIRE u:<user> idle_ms + 60 s GT
 *
 * The partition's index is prolonged for longer than one touch needs, so that the next touches need not do it.
 *
 * In a cluster, keys of a slot that moves are at two nodes, so one command may do its work and the next one be refused.
 * The session's own is sent last, once the user's index lives longer: else that would end before the session, and
 * latchkey_revoke_user would not find it. Each time counts from when its command arrives, and a slow network may carry the session's one
 * much later: so the index gets a minute more. */
enum { SLACK_MS = 60000 };

typedef struct plain_touch {
    char session[LK_KEY_SIZE], user[LK_USER_KEY_SIZE], activity[LK_KEY_SIZE];
    char idle[24], used_at[24], user_idle[24], longer[24];
    bool prolongs; /* the partition's index */
} plain_touch;

/* False: a script has to do it. Near its absolute end, a session gets what is left. */
static bool prepare_touch(lk_link *link, const lk_touch *t, int64_t now_us, plain_touch *p)
{
    int64_t now_ms = now_us / 1000, server_ms = (now_us + link->server_ahead_us) / 1000;
    int64_t idle_ms = lk_earlier(t->idle_ms - t->age_ms, t->expires_at_ms - server_ms), cutoff_ms;
    if (t->idle_ms <= 0 || !link->server_ahead_us || idle_ms <= 0) return false;
    cutoff_ms = lk_cutoffs_known(link->cutoffs, t->partition);
    if (cutoff_ms < 0) return false;
    int64_t *prolonged_ms = &link->prolonged_ms[t->partition % LK_LINK_PROLONGED];
    p->prolongs = now_ms + t->idle_ms > *prolonged_ms;
    if (p->prolongs) *prolonged_ms = now_ms + t->idle_ms + t->idle_ms / 4;
    lk_key_session(p->session, link->config->prefix, t->partition, t->selector);
    lk_key_partition(p->activity, link->config->prefix, t->partition, "a");
    lk_key_user(p->user, link->config->prefix, t->partition, t->user_id, cutoff_ms);
    snprintf(p->idle, sizeof p->idle, "%lld", (long long)idle_ms);
    snprintf(p->used_at, sizeof p->used_at, "%lld", (long long)(server_ms - t->age_ms));
    snprintf(p->user_idle, sizeof p->user_idle, "%lld", (long long)(idle_ms + SLACK_MS));
    snprintf(p->longer, sizeof p->longer, "%lld", (long long)(t->idle_ms + t->idle_ms / 4 + SLACK_MS));
    return true;
}

static bool send_session(lk_link *link, uint32_t tag, const plain_touch *p)
{
    const lk_span words[4] = {{"PEXPIRE", 7}, lk_word(p->session), lk_word(p->idle), {"GT", 2}};
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], tag, words, 4);
}

static bool send_touch(lk_link *link, unsigned place, const plain_touch *p)
{
    lk_conn *conn = &link->conn[LK_LINK_COMMANDS];
    const lk_span gt = {"GT", 2}, pexpire = {"PEXPIRE", 7},
                  selector = {link->job[place].touch.selector, LATCHKEY_SELECTOR_LENGTH};
    lk_span used[] = {{"ZADD", 4}, lk_word(p->activity), {"XX", 2}, gt, lk_word(p->used_at), selector};
    lk_span activity[] = {pexpire, lk_word(p->activity), lk_word(p->longer), gt};
    lk_span user[] = {pexpire, lk_word(p->user), lk_word(p->user_idle), gt};
    if (link->job[place].indexed) return send_session(link, TAG_JOB + place, p);
    lk_count(link->counters, LK_L2_WRITES, 1);
    return (link->config->cluster || send_session(link, TAG_VALUE + place, p)) &&
           lk_conn_send(conn, TAG_INDEXED, used, 6) && (!p->prolongs || lk_conn_send(conn, TAG_INDEXED, activity, 4)) &&
           lk_conn_send(conn, TAG_JOB + place, user, 4);
}

static bool is_one(const lk_reply *reply) { return reply->type == LK_REPLY_INTEGER && reply->integer == 1; }

/* Was that all? False: a script has to do it, or it failed, and *status says why. There is one reply in a cluster: the
 * session's, or the user's, which was not 1. */
static bool touched(lk_link *link, const lk_job *job, const lk_reply *reply, int *status)
{
    const lk_reply *first = job->value, *refused = first && reply->type != LK_REPLY_ERROR ? first : reply;
    bool done = is_one(reply) && (!first || is_one(first));
    if (done || refused->type != LK_REPLY_ERROR) return done;
    bool old = strstr(refused->text, "wrong number of arguments") || strstr(refused->text, "Unsupported option");
    link->scripts_alone |= old;
    if (!old) *status = LATCHKEY_UNAVAILABLE;
    return false;
}

static bool send_job(lk_link *link, unsigned place, int64_t now_us)
{
    lk_job *job = &link->job[place];
    plain_touch plain;
    if (job->kind == LK_JOB_AUDIT) return send_audit(link, place);
    if (job->kind == LK_JOB_REFRESH) return send_refresh(link, place);
    job->by_script |= job->kind != LK_JOB_TOUCH || job->proven || link->scripts_alone ||
                      !prepare_touch(link, &job->touch, now_us, &plain);
    if (!job->by_script) return send_touch(link, place, &plain);
    bool revoke = job->kind == LK_JOB_REVOKE;
    enum lk_script_id script = revoke ? LK_SCRIPT_REVOKE : LK_SCRIPT_TOUCH;
    lk_script_names names;
    lk_span words[LK_SCRIPT_HEAD + 5];
    size_t count =
        lk_script_words(&names, words, script, link->config, job->of.partition, job->of.selector, link->config->events);
    if (job->whole_script) lk_script_by_text(words, script);
    words[count++] = (lk_span){job->of.verifier_hash, revoke || job->proven ? LK_HASH_SIZE : 0};
    if (revoke || job->looks) words[count++] = lk_word(job->of.held ? "1" : "0");
    if (revoke) {
        job->meetings = link->meetings;
        words[count++] = lk_word("");
        words[count++] = lk_word(job->of.calls[0] ? job->of.calls + 1 : "");
        words[count++] = lk_word("1"); /* this is a retry */
    }
    lk_count(link->counters, LK_L2_WRITES, 1);
    return lk_conn_send(&link->conn[LK_LINK_COMMANDS], TAG_JOB + place, words, count);
}

/* From the beginning of a token: see token.h. */
static unsigned partition_in(const uint8_t raw[LK_SELECTOR_RAW]) { return (raw[0] & 0x0fu) << 8 | raw[1]; }

/* The last of all jobs. */
static bool next_audit(lk_link *link, int64_t now_us, lk_job *job)
{
    memset(job, 0, sizeof *job);
    while (lk_consistency_due(&link->consistency, now_us)) {
        uint8_t raw[LK_SELECTOR_RAW];
        if (!link->l1.sample(link->l1.context, lk_link_random(link), now_us / 1000, &job->seen) ||
            !lk_base64_decode(job->seen.selector, sizeof job->seen.selector, raw, sizeof raw))
            continue;
        job->of.partition = partition_in(raw);
        if (!lk_partitions_have(link->partitions, job->of.partition)) continue; /* another node's */
        job->kind = LK_JOB_AUDIT;
        memcpy(job->of.selector, job->seen.selector, sizeof job->of.selector);
        return true;
    }
    return false;
}

void lk_link_start_jobs(lk_link *link, int64_t now_ms, int64_t now_us)
{
    for (unsigned i = 0; i < LK_LINK_JOBS && link->state == LK_LINK_UP; i++) {
        if (link->job[i].kind) continue;
        if (!link->host.next_job(link->host.context, now_ms, &link->job[i]) && !next_audit(link, now_us, &link->job[i]))
            return;
        if (!send_job(link, i, now_us)) lk_link_no_memory(link, now_ms);
    }
}

void lk_link_take_job(lk_link *link, unsigned place, const lk_reply *reply, int64_t now_ms)
{
    lk_job *job = &link->job[place];
    int status = LATCHKEY_OK;
    bool runs_script = job->kind == LK_JOB_TOUCH || job->kind == LK_JOB_REVOKE;
    if (runs_script && reply->type == LK_REPLY_ERROR && strncmp(reply->text, "NOSCRIPT", 8) == 0 &&
        !job->whole_script) {
        job->whole_script = true;
        if (!send_job(link, place, now_ms * 1000)) lk_link_no_memory(link, now_ms);
        return;
    }
    if (job->kind == LK_JOB_TOUCH && !job->by_script) {
        if (link->config->cluster && !job->indexed && is_one(reply)) {
            job->indexed = true;
            if (!send_job(link, place, now_ms * 1000)) lk_link_no_memory(link, now_ms);
            return;
        }
        if (touched(link, job, reply, &status)) {
            link->l1.touched(link->l1.context, job, link->handshake[0].incarnation);
            lk_link_end_job(link, job, LATCHKEY_OK);
            return;
        }
        if (!status) {
            job->by_script = job->looks = true;
            if (!send_job(link, place, now_ms * 1000)) lk_link_no_memory(link, now_ms);
            return;
        }
        if (reply->type != LK_REPLY_ERROR) reply = job->value; /* the first command was refused */
    }
    if (job->kind == LK_JOB_REFRESH) {
        link->l1.refreshed(link->l1.context, job->item, job->value, reply, link->handshake[0].incarnation);
    } else if (reply->type == LK_REPLY_ERROR) {
        char text[160];
        lk_count(link->counters, LK_L2_ERRORS, 1);
        status = lk_error_status(reply, text, sizeof text);
        link->host.trouble(link->host.context, status, text);
    } else if (job->kind == LK_JOB_AUDIT) lk_consistency_judge(&link->consistency, &job->seen, reply, now_ms);
    else if (reply->type != LK_REPLY_INTEGER && reply->type != LK_REPLY_STRING)
        status = LATCHKEY_UNAVAILABLE; /* our scripts do not answer this */
    else if (job->kind == LK_JOB_TOUCH && lk_reuse_ended(reply)) {
        lk_reuse_report(link->counters, job->of.selector, now_ms);
        lk_event_reused(link->config, job->of.selector, lk_reuse_ended(reply));
    } else if (job->kind == LK_JOB_TOUCH && reply->type == LK_REPLY_INTEGER && reply->integer <= 0) {
        link->l1.purge(link->l1.context, job->of.selector); /* the session is gone */
    } else if (job->kind == LK_JOB_TOUCH && !job->proven && reply->integer == 2) {
        link->l1.touched(link->l1.context, job, link->handshake[0].incarnation);
        /* the session is ended */
    } else if (job->kind == LK_JOB_REVOKE && (reply->integer || reply->type == LK_REPLY_STRING)) {
        const char *told = reply->type == LK_REPLY_STRING ? lk_event_told(reply->text) : NULL;
        snprintf(job->of.told, sizeof job->of.told, "%s", told ? told : "");
        lk_recent_made(link->recent, job->of.partition, job->of.selector, now_ms);
        /* it ran in a data set that is gone: again */
        if (job->meetings != link->meetings) status = LATCHKEY_UNAVAILABLE;
    }
    lk_link_end_job(link, job, status);
}

/* If a job has two replies, the first waits for the other. */
bool lk_link_keep(lk_link *link, int which, lk_reply *reply)
{
    if (which != LK_LINK_COMMANDS || reply->tag < TAG_VALUE || reply->tag >= TAG_LOG) return false;
    lk_job *job = &link->job[reply->tag - TAG_VALUE];
    lk_reply_free(job->value);
    job->value = reply;
    return true;
}

/* What each sentinel says when it is asked more than the primary's address: whether it could carry out a failover, what it
 * takes the primary for, and which sentinel it is. */
#include "cli/doctor/doctor.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "redis/lookup.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

/* Instances repeat the revocations of five minutes. Sentinel promotes a replica that has been without its primary for ten
 * times down-after-milliseconds, and no longer. */
enum { ANSWER_MS = 2000, DOWN_AFTER_MOST_MS = 30000 };

static const char *at_of(const lk_config *config, unsigned i, char at[112])
{
    lk_host_text(&config->sentinel[i], at, 112);
    return at;
}

static bool is_denied(const lk_reply *answer)
{
    return answer && answer->type == LK_REPLY_ERROR && !strncmp(answer->text, "NOPERM", 6);
}

/* ------------------------------------------------------------------------------------------------ the quorum -- */

static const char *meaning_of(const char *answer)
{
    bool few = strstr(answer, "reach the specified quorum") != NULL;
    if (!*answer) return "whether it could carry out a failover is not known";
    if (strstr(answer, "reach the majority"))
        return few ? "it sees too few others to find the primary down, and too few to be elected to promote a replica"
                   : "most sentinels that it knows of are out of its reach, so none is elected to promote a replica";
    return few ? "fewer sentinels than the quorum see each other, so the primary is never found to be down"
               : "it could not carry out a failover";
}

static const char *said_of(const lk_sentinel_exam *exam)
{
    const lk_reply *answer = exam->answer[LK_SENTINEL_QUORUM];
    return answer ? answer->text : "";
}

/* There is nothing to be said of it. */
static bool is_well(const lk_sentinel_exam *exam)
{
    return !exam->asked || !strncmp(said_of(exam), "OK", 2) || is_denied(exam->answer[LK_SENTINEL_QUORUM]);
}

/* Those that give the same answer are said together. */
static void find_answer(doctor *d, const lk_config *config, const lk_sentinel_exam *exam, unsigned first, bool fatal)
{
    char list[200] = "", at[112], answer[256] = "did not answer SENTINEL CKQUORUM";
    const char *said = said_of(&exam[first]);
    for (unsigned i = 0; i < first; i++)
        if (!is_well(&exam[i]) && !strcmp(said_of(&exam[i]), said)) return;
    for (unsigned i = first; i < config->sentinels; i++)
        if (!is_well(&exam[i]) && !strcmp(said_of(&exam[i]), said))
            doctor_append(list, sizeof list, at_of(config, i, at));
    if (*said) snprintf(answer, sizeof answer, "answers %.230s", said);
    doctor_fix(doctor_find(d, fatal ? LATCHKEY_LOG_ERROR : LATCHKEY_LOG_WARNING, "sentinel-quorum", "A",
                           "%.180s %s. That means: %s", list, answer, meaning_of(said)),
               "SENTINEL SENTINELS %.60s there lists those that it knows of: start them. SENTINEL RESET %.60s, if some "
               "are gone for good; SENTINEL SET %.60s quorum N, if it is more than there are",
               config->service, config->service, config->service);
}

static void look_at_quorum(doctor *d, const lk_config *config, const lk_sentinel_exam *exam)
{
    unsigned good = 0;
    for (unsigned i = 0; i < config->sentinels; i++) good += exam[i].asked && is_well(&exam[i]);
    for (unsigned i = 0; i < config->sentinels; i++)
        if (!is_well(&exam[i])) find_answer(d, config, exam, i, !good);
}

/* ----------------------------------------------------------------------------------- what it knows of the primary -- */

/* A value of SENTINEL MASTER, an array of names and values. */
static const char *value_of(const lk_reply *answer, const char *name)
{
    if (!answer || answer->type != LK_REPLY_ARRAY) return "";
    for (size_t i = 0; i + 1 < answer->count; i += 2)
        if (lk_reply_is(lk_reply_at(answer, i), name)) {
            const lk_reply *value = lk_reply_at(answer, i + 1);
            return value->type == LK_REPLY_STRING ? value->text : "";
        }
    return "";
}

static uint64_t master_number(const lk_reply *answer, const char *name)
{
    uint64_t number;
    return cli_number(value_of(answer, name), 0, INT32_MAX, &number) ? number : 0;
}

static void look_at_masters(doctor *d, const lk_config *config, const lk_sentinel_exam *exam)
{
    char down[200] = "", patient[200] = "", at[112];
    uint64_t after_ms = 0, known = 0;
    for (unsigned i = 0; i < config->sentinels; i++) {
        const lk_reply *master = exam[i].answer[LK_SENTINEL_MASTER];
        uint64_t ms = master_number(master, "down-after-milliseconds"),
                 others = master_number(master, "num-other-sentinels");
        if (strstr(value_of(master, "flags"), "_down")) doctor_append(down, sizeof down, at_of(config, i, at));
        if (ms > DOWN_AFTER_MOST_MS) doctor_append(patient, sizeof patient, at_of(config, i, at));
        after_ms = ms > after_ms ? ms : after_ms;
        known = others + 1 > known ? others + 1 : known;
    }
    if (*down)
        doctor_fix(
            doctor_find(d, LATCHKEY_LOG_WARNING, "sentinel-down", "A",
                        "%s: takes the primary for down, although it answers here: its password for the primary is "
                        "wrong, or it does not reach it. Failovers may be begun for no reason, or fail",
                        down),
            "SENTINEL SET %.60s auth-pass PASSWORD (and auth-user USER) there; the sentinel's log", config->service);
    if (*patient)
        doctor_fix(
            doctor_find(d, LATCHKEY_LOG_WARNING, "sentinel-down-after", "C",
                        "down-after-milliseconds is %u at %s: a replica may take over that was without its primary for "
                        "ten times as long. Instances repeat to it the revocations of five minutes, so older ones may "
                        "be lost",
                        (unsigned)after_ms, patient),
            "SENTINEL SET %.60s down-after-milliseconds %d, at every sentinel", config->service, DOWN_AFTER_MOST_MS);
    if (known > config->sentinels)
        doctor_fix(
            doctor_find(d, LATCHKEY_LOG_NOTICE, "sentinel-unlisted", "A",
                        "%u sentinels know of each other, and the URL lists %u: only those are asked, and more "
                        "than half of them must answer",
                        (unsigned)known, config->sentinels),
            "list all of them in every instance, one more at a time; or SENTINEL RESET %.60s, if some are gone for "
            "good",
            config->service);
}

/* ------------------------------------------------------------------------------------------ is it one sentinel? -- */

static bool are_two(const lk_sentinel_exam *one, const lk_sentinel_exam *other)
{
    return *one->id && *other->id && strcmp(one->id, other->id);
}

static void find_several(doctor *d, const char *at)
{
    doctor_fix(doctor_find(d, LATCHKEY_LOG_ERROR, "sentinel-several", "C",
                           "%s leads to several sentinels: two instances may be told of two primaries by one of them "
                           "each, and both believe it",
                           at),
               "list each sentinel by a name or address of its own, in every instance; not the name or the balancer of "
               "them all");
}

/* Asked once more on new connections: a balancer leads those elsewhere. */
static bool examine_again(const lk_config *config, lk_sentinel_exam exam[LK_SENTINELS_MAX])
{
    lk_sentinels *s = lk_sentinels_ask_all(config, lk_now_ms() + ANSWER_MS);
    if (!s) return false;
    lk_sentinels_examine(s, lk_now_ms() + ANSWER_MS, exam);
    lk_sentinels_close(s);
    return true;
}

/* The addresses of a name, as if each of them were listed. */
static bool has_several(const lk_config *config, unsigned i)
{
    lk_sentinel_exam exam[LK_SENTINELS_MAX];
    lk_addresses found = {.count = 0};
    char error[160];
    lk_config *each = malloc(sizeof *each);
    bool several = false;
    if (!each) return false;
    *each = *config;
    each->sentinels = 0;
    if (!lk_lookup_now(config, &config->sentinel[i], lk_now_ms() + query_patience(config), &found, error, sizeof error))
        found.count = 0;
    for (unsigned k = 0; k < found.count && k < LK_SENTINELS_MAX; k++) {
        lk_host *host = &each->sentinel[each->sentinels++];
        if (getnameinfo((const struct sockaddr *)(const void *)&found.address[k].at, found.address[k].size, host->name,
                        sizeof host->name, host->port, sizeof host->port, NI_NUMERICHOST | NI_NUMERICSERV))
            each->sentinels--;
    }
    if (each->sentinels > 1 && examine_again(each, exam)) {
        for (unsigned a = 0; a < each->sentinels; a++)
            for (unsigned b = a + 1; b < each->sentinels; b++) several |= are_two(&exam[a], &exam[b]);
        lk_sentinels_examined(exam);
    }
    lk_wipe(each, sizeof *each);
    free(each);
    return several;
}

static void look_for_several(doctor *d, const lk_config *config, const lk_sentinel_exam *exam)
{
    lk_sentinel_exam again[LK_SENTINELS_MAX];
    char at[112];
    if (!examine_again(config, again)) return;
    for (unsigned i = 0; i < config->sentinels; i++)
        if (are_two(&exam[i], &again[i]) || has_several(config, i)) find_several(d, at_of(config, i, at));
    lk_sentinels_examined(again);
}

void doctor_examine_sentinels(doctor *d, lk_sentinels *s)
{
    static const char *const rights[LK_SENTINEL_EXAMS] = {"SENTINEL CKQUORUM", "SENTINEL MASTER"};
    const lk_config *config = &d->app->config;
    lk_sentinel_exam exam[LK_SENTINELS_MAX];
    lk_sentinels_examine(s, lk_now_ms() + ANSWER_MS, exam);
    for (unsigned which = 0; which < LK_SENTINEL_EXAMS; which++) {
        bool denied = false;
        for (unsigned i = 0; i < config->sentinels; i++) denied |= is_denied(exam[i].answer[which]);
        if (denied) doctor_unseen(d, rights[which]);
    }
    bool nameless = false;
    for (unsigned i = 0; i < config->sentinels; i++) nameless |= exam[i].asked && !*exam[i].id;
    if (nameless) doctor_unseen(d, "SENTINEL MYID");
    look_at_quorum(d, config, exam);
    look_at_masters(d, config, exam);
    look_for_several(d, config, exam);
    lk_sentinels_examined(exam);
}

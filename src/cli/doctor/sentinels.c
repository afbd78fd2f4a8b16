/* The sentinels, each asked on a connection of its own. Without sentinels in the configuration it finds nothing. */
#include "cli/doctor/doctor.h"

#include "base/clock.h"
#include "l2/sentinels.h"

#include <string.h>

enum { ASKED_MS = 2000, FEW = 3 };

static void append_sentinel(char *list, size_t size, const char *one)
{
    size_t used = strlen(list);
    snprintf(list + used, size - used, "%s%s", used ? ", " : "", one);
}

/* Sentinels that do not answer, and those that name another primary than the majority. */
static void look_at_answers(doctor *d, const lk_config *config, const lk_naming *n)
{
    char silent[300] = "", apart[300] = "", why[128] = "", at[112];
    unsigned silents = 0, aparts = 0;
    for (unsigned i = 0; i < n->listed; i++) {
        const lk_said *said = &n->said[i];
        bool agrees = said->what == LK_SAID_PRIMARY && !strcmp(said->primary.name, n->primary.name) &&
                      !strcmp(said->primary.port, n->primary.port);
        lk_host_text(&config->sentinel[i], at, sizeof at);
        if (agrees) continue;
        bool answers = said->what == LK_SAID_PRIMARY || said->what == LK_SAID_UNKNOWN;
        append_sentinel(answers ? apart : silent, sizeof apart, at);
        if (!answers) snprintf(why, sizeof why, "%s", said->why);
        silents += !answers;
        aparts += answers;
    }
    bool fatal = 2 * lk_naming_agreeing(n, 0) <= n->listed;
    if (silents)
        doctor_fix(
            doctor_find(d, fatal ? LATCHKEY_LOG_ERROR : LATCHKEY_LOG_WARNING, "sentinels", fatal ? "A C" : "A",
                        "%u of %u do not answer: %.200s (%.100s). More than half must, or there is no new primary, and "
                        "without durability no lease",
                        silents, n->listed, silent, why),
            "start them, or list those that there are, in every instance");
    if (aparts)
        doctor_fix(
            doctor_find(
                d, fatal ? LATCHKEY_LOG_ERROR : LATCHKEY_LOG_WARNING, "sentinel-apart", "A",
                "%u of %u name another primary, or none of that name: %.300s. It is cut off, or its file is old, "
                "or a failover is under way",
                aparts, n->listed, apart),
            "redis-cli -p 26379 sentinel ckquorum %.60s, on each", config->service);
}

static void look_at_count(doctor *d, const lk_config *config)
{
    if (config->sentinels >= FEW) return;
    doctor_fix(doctor_find(d, LATCHKEY_LOG_WARNING, "sentinel-count", "A",
                           "%u: more than half of those listed must answer, so the loss of one is the loss of all",
                           config->sentinels),
               "three sentinels, on three machines, all of them in the URL");
}

void doctor_sentinels(doctor *d)
{
    const lk_config *config = &d->app->config;
    if (!config->sentinels) return;
    lk_sentinels *s = lk_sentinels_ask_all(config, lk_now_ms() + ASKED_MS);
    if (!s) return;
    look_at_answers(d, config, lk_sentinels_naming(s));
    lk_sentinels_close(s);
    look_at_count(d, config);
}

/* -------------------------------------------------------------------------------------------------- a quorum -- */

static const char *meaning_of(const char *answer)
{
    bool few = strstr(answer, "reach the specified quorum") != NULL;
    if (strstr(answer, "reach the majority"))
        return few ? "it sees too few others to find the primary down, and too few to be elected to promote a replica"
                   : "most sentinels that it knows of are out of its reach, so none is elected to promote a replica";
    return few ? "fewer sentinels than the quorum see each other, so the primary is never found to be down"
               : "it could not carry out a failover";
}

/* Those that give the same answer are said together. */
static void find_answer(doctor *d, const lk_config *config, const char answer[][LK_SENTINEL_ANSWER], unsigned first,
                        bool fatal)
{
    char list[200] = "", at[112];
    for (unsigned i = 0; i < first; i++)
        if (!strcmp(answer[i], answer[first])) return;
    for (unsigned i = first; i < config->sentinels; i++) {
        lk_host_text(&config->sentinel[i], at, sizeof at);
        if (!strcmp(answer[i], answer[first])) append_sentinel(list, sizeof list, at);
    }
    doctor_fix(doctor_find(d, fatal ? LATCHKEY_LOG_ERROR : LATCHKEY_LOG_WARNING, "sentinel-quorum", "A",
                           "%.180s answers %.230s. That means: %s", list, answer[first], meaning_of(answer[first])),
               "SENTINEL SENTINELS %.60s there lists those that it knows of: start them. SENTINEL RESET %.60s, if some "
               "are gone for good; SENTINEL SET %.60s quorum N, if it is more than there are",
               config->service, config->service, config->service);
}

void doctor_quorum(doctor *d)
{
    const lk_config *config = &d->app->config;
    char answer[LK_SENTINELS_MAX][LK_SENTINEL_ANSWER];
    unsigned good = 0;
    lk_sentinels *s = config->sentinels ? lk_sentinels_ask_all(config, lk_now_ms() + ASKED_MS) : NULL;
    if (!s) return;
    lk_sentinels_ask_quorum(s, lk_now_ms() + ASKED_MS, answer);
    lk_sentinels_close(s);
    bool denied = false;
    for (unsigned i = 0; i < config->sentinels; i++) {
        bool is_denied = !strncmp(answer[i], "NOPERM", 6), is_good = !strncmp(answer[i], "OK", 2);
        denied |= is_denied;
        good += is_good || is_denied;
        if (is_good || is_denied) answer[i][0] = 0; /* there is nothing to say of it */
    }
    if (denied) doctor_unseen(d, "SENTINEL CKQUORUM");
    for (unsigned i = 0; i < config->sentinels; i++)
        if (answer[i][0]) find_answer(d, config, answer, i, !good);
}

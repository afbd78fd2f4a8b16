/* The sentinels, each asked on a connection of its own. Without sentinels in the configuration it finds nothing. */
#include "cli/doctor/doctor.h"

#include "base/clock.h"
#include "l2/sentinels.h"

#include <string.h>

enum { ASKED_MS = 2000, FEW = 3 };

void doctor_append(char *list, size_t size, const char *one)
{
    size_t used = strlen(list);
    snprintf(list + used, size - used, "%s%s", used ? ", " : "", one);
}

static void find_twin(doctor *d, const lk_config *config, unsigned a, unsigned b)
{
    char at[112], other[112];
    lk_host_text(&config->sentinel[a < b ? a : b], at, sizeof at);
    lk_host_text(&config->sentinel[a < b ? b : a], other, sizeof other);
    doctor_fix(doctor_find(d, LATCHKEY_LOG_ERROR, "sentinel-twice", "A C",
                           "%s and %s are one sentinel: it counts once, and more than half of all that are listed must "
                           "answer. Where its user may not ask SENTINEL MYID it counts twice, and may be a majority by "
                           "itself",
                           at, other),
               "list each sentinel once, in every instance");
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
        if (said->same_as) {
            find_twin(d, config, i, said->same_as - 1);
            continue;
        }
        bool answers = said->what == LK_SAID_PRIMARY || said->what == LK_SAID_UNKNOWN;
        doctor_append(answers ? apart : silent, sizeof apart, at);
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
            doctor_find(d, fatal ? LATCHKEY_LOG_ERROR : LATCHKEY_LOG_WARNING, "sentinel-apart", "A",
                        "%u of %u name another primary, or none of that name: %.300s. It is cut off, its file is old, "
                        "it was RESET in the middle of a failover, or a failover is under way",
                        aparts, n->listed, apart),
            "if it does not pass within a minute: SENTINEL REMOVE %.60s there, then SENTINEL MONITOR %.60s HOST PORT "
            "QUORUM "
            "with the primary that the others name, and auth-pass and the other settings again",
            config->service, config->service);
}

static void look_at_count(doctor *d, const lk_config *config)
{
    if (config->sentinels >= FEW) return;
    doctor_fix(doctor_find(d, LATCHKEY_LOG_WARNING, "sentinel-count", "A",
                           "%u: more than half of those listed must answer, so the loss of one is the loss of all",
                           config->sentinels),
               "three sentinels, on three machines, all of them in the URL");
}

void doctor_sentinels(doctor *d, bool examine)
{
    const lk_config *config = &d->app->config;
    if (!config->sentinels) return;
    lk_sentinels *s = lk_sentinels_ask_all(config, lk_now_ms() + ASKED_MS);
    if (!s) return;
    look_at_answers(d, config, lk_sentinels_naming(s));
    look_at_count(d, config);
    if (examine) doctor_examine_sentinels(d, s);
    lk_sentinels_close(s);
}

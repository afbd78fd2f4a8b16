/* See naming.h. */
#include "l2/naming.h"

#include <stdio.h>
#include <string.h>

void lk_host_text(const lk_host *host, char *text, size_t size)
{
    bool six = strchr(host->name, ':') != NULL;
    snprintf(text, size, "%s%.90s%s:%s", six ? "[" : "", host->name, six ? "]" : "", host->port);
}

static bool names_it(const lk_said *said, const lk_host *primary, int64_t since_ms)
{
    return said->what == LK_SAID_PRIMARY && said->asked_ms >= since_ms && lk_host_same(&said->primary, primary);
}

static unsigned naming_it(const lk_naming *n, const lk_host *primary, int64_t since_ms)
{
    unsigned count = 0;
    for (unsigned i = 0; i < n->listed; i++) count += names_it(&n->said[i], primary, since_ms);
    return count;
}

static bool is_majority(const lk_naming *n, unsigned count) { return 2 * count > n->listed; }

static void note_apart(lk_naming *n, int64_t now_ms)
{
    for (unsigned i = 0; i < n->listed; i++) {
        lk_said *said = &n->said[i];
        bool apart = n->known && said->what == LK_SAID_PRIMARY && !lk_host_same(&said->primary, &n->primary);
        if (!apart) said->apart_told = false;
        said->apart_since_ms = !apart ? 0 : said->apart_since_ms ? said->apart_since_ms : now_ms;
    }
}

bool lk_naming_take(lk_naming *n, unsigned i, const lk_said *said, int64_t now_ms, int64_t max_age_ms)
{
    lk_said *at = &n->said[i];
    int64_t apart_since_ms = at->apart_since_ms;
    bool told = at->apart_told && lk_host_same(&at->primary, &said->primary);
    *at = *said;
    at->apart_since_ms = apart_since_ms;
    at->apart_told = told;
    bool news = said->what == LK_SAID_PRIMARY && !(n->known && lk_host_same(&said->primary, &n->primary)) &&
                is_majority(n, naming_it(n, &said->primary, now_ms - max_age_ms));
    if (news) {
        n->primary = said->primary;
        n->known = true;
    }
    note_apart(n, now_ms);
    return news;
}

unsigned lk_naming_agreeing(const lk_naming *n, int64_t since_ms)
{
    return n->known ? naming_it(n, &n->primary, since_ms) : 0;
}

bool lk_naming_vouched(const lk_naming *n, int64_t since_ms) { return is_majority(n, lk_naming_agreeing(n, since_ms)); }

static void say_what(const lk_said *said, const lk_config *config, char *text, size_t size)
{
    char at[112];
    if (said->what == LK_SAID_UNKNOWN) snprintf(text, size, "it knows no '%.40s'", config->service);
    else if (said->what != LK_SAID_PRIMARY || said->why[0]) snprintf(text, size, "%s", said->why);
    else {
        lk_host_text(&said->primary, at, sizeof at);
        snprintf(text, size, "it named %s", at);
    }
}

void lk_naming_doubt(const lk_naming *n, const lk_config *config, int64_t since_ms, char *text, size_t size)
{
    char at[112] = "", what[128] = "";
    for (unsigned i = 0; i < n->listed && !*at; i++) {
        const lk_said *said = &n->said[i];
        if (n->known && names_it(said, &n->primary, since_ms)) continue;
        lk_host_text(&config->sentinel[i], at, sizeof at);
        if (n->known && said->what == LK_SAID_PRIMARY && !said->why[0] && lk_host_same(&said->primary, &n->primary))
            snprintf(what, sizeof what, "it has not answered for a while");
        else say_what(said, config, what, sizeof what);
    }
    snprintf(text, size, "no more than half of the listed sentinels name this primary now: no lease (%.60s: %s)", at,
             what);
}

static unsigned those(const lk_naming *n, enum lk_said_what what, unsigned *last)
{
    unsigned count = 0;
    for (unsigned i = 0; i < n->listed; i++) {
        if (n->said[i].what != what) continue;
        *last = i;
        count++;
    }
    return count;
}

int lk_naming_trouble(const lk_naming *n, const lk_config *config, char *text, size_t size)
{
    char at[112];
    unsigned one = 0, unknown = those(n, LK_SAID_UNKNOWN, &one);
    if (is_majority(n, unknown)) {
        snprintf(text, size,
                 "the sentinels know no primary named '%.40s': see `sentinel monitor` in their configuration",
                 config->service);
        return LATCHKEY_CONFIG;
    }
    unsigned refused = those(n, LK_SAID_REFUSED, &one);
    if (is_majority(n, refused)) {
        lk_host_text(&config->sentinel[one], at, sizeof at);
        snprintf(text, size, "sentinel %.60s: %s", at, n->said[one].why);
        return LATCHKEY_CONFIG;
    }
    unsigned named = those(n, LK_SAID_PRIMARY, &one), silent = those(n, LK_SAID_NOTHING, &one);
    if (!is_majority(n, n->listed - silent)) {
        lk_host_text(&config->sentinel[one], at, sizeof at);
        snprintf(text, size, "%u of %u sentinels answer, and more than half must: sentinel %.40s: %.70s",
                 n->listed - silent, n->listed, at, n->said[one].why);
    } else
        snprintf(text, size,
                 "the sentinels do not agree: of %u, %u name a primary, %u know none of that name, %u refuse",
                 n->listed, named, unknown, refused);
    return LATCHKEY_UNAVAILABLE;
}

int lk_naming_apart(lk_naming *n, int64_t now_ms, int64_t for_ms)
{
    for (unsigned i = 0; i < n->listed; i++) {
        lk_said *said = &n->said[i];
        if (said->apart_told || !said->apart_since_ms || now_ms - said->apart_since_ms < for_ms) continue;
        said->apart_told = true;
        return (int)i;
    }
    return -1;
}

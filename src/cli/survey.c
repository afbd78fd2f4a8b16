/* See survey.h. Here: which nodes there are, and the rounds; survey_node.c has what each of them says. */
#include "cli/survey_parts.h"

#include "base/clock.h"
#include "l2/sentinels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIND_MS = 5000, SENTINELS_MS = 2000 };

/* Where it is; a socket's path; or, as long as it is not known where the primary is, its name. */
static void name_node(survey *s, unsigned i)
{
    const lk_config *config = &s->config;
    const lk_host given = s->nodes->host[i];
    survey_node *n = &s->node[i];
    lk_host host = given;
    if (!*host.name) {
        snprintf(host.name, sizeof host.name, "%s", config->host);
        snprintf(host.port, sizeof host.port, "%s", config->port);
    }
    if (*given.name || (!config->sentinels && !*config->path)) lk_host_text(&host, n->at, sizeof n->at);
    else
        snprintf(n->at, sizeof n->at, "%.*s", (int)sizeof n->at - 1,
                 config->sentinels ? config->service : config->path);
}

/* What was known of a node is kept from one map to the next, for its rates. */
static void take_found(survey *s)
{
    survey_node *before = malloc(sizeof s->node);
    unsigned count = s->count;
    if (before) memcpy(before, s->node, sizeof s->node);
    memset(s->node, 0, sizeof s->node);
    s->count = s->nodes->count;
    s->named = s->nodes->named;
    s->uncovered = s->nodes->uncovered;
    memcpy(s->host, s->nodes->host, sizeof s->host);
    memcpy(s->owner, s->nodes->owner, sizeof s->owner);
    for (unsigned i = 0; i < s->count; i++) {
        survey_node *n = &s->node[i];
        name_node(s, i);
        n->commands_per_s = NAN;
        for (unsigned k = 0; before && k < count; k++)
            if (!strcmp(before[k].at, n->at)) *n = before[k];
    }
    free(before);
}

static void ask_sentinels(survey *s)
{
    lk_sentinels *asked = s->config.sentinels ? lk_sentinels_ask_all(&s->config, lk_now_ms() + SENTINELS_MS) : NULL;
    s->agreeing = asked ? lk_naming_agreeing(lk_sentinels_naming(asked), 0) : 0;
    lk_sentinels_close(asked);
}

static void find_nodes(survey *s)
{
    nodes_close(s->nodes);
    s->error[0] = 0;
    s->status = nodes_open(s->url, s->patience_ms, s->nodes, s->error, sizeof s->error);
    s->found_ms = lk_now_ms();
    take_found(s);
    ask_sentinels(s);
}

static void begin_survey(survey *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        survey_node *n = &s->node[i];
        n->answers = s->nodes->node[i] != NULL;
        n->refused[0] = 0;
        n->partitions = 0;
        if (!n->answers) snprintf(n->why, sizeof n->why, "%s", s->nodes->why[i]);
    }
    survey_read_count(s);
    for (int64_t p = 0; p < (int64_t)s->partitions; p++)
        if (survey_owner(s, p) < s->count) s->node[survey_owner(s, p)].partitions++;
}

typedef struct asking {
    survey *s;
    bool sessions;
} asking;

static void ask_in_survey(void *context, unsigned i)
{
    const asking *a = context;
    survey_ask_node(a->s, i, a->sessions);
}

void survey_ask(survey *s, bool sessions)
{
    asking a = {.s = s, .sessions = sessions};
    if (!s->found_ms || s->silent || lk_now_ms() - s->found_ms > FIND_MS) find_nodes(s);
    begin_survey(s);
    nodes_each(s->nodes, ask_in_survey, &a);
    s->silent = 0;
    for (unsigned i = 0; i < s->count; i++) s->silent += !s->node[i].answers;
    if (s->silent < s->count) s->status = LATCHKEY_OK;
    else if (!s->error[0] && s->count) snprintf(s->error, sizeof s->error, "%s", s->node[0].why);
    if (s->silent == s->count && !s->status) s->status = LATCHKEY_UNAVAILABLE;
    if (!s->count) s->silent = 1; /* look for them again */
}

unsigned survey_owner(const survey *s, int64_t partition)
{
    if (!s->config.cluster) return 0;
    if (partition < 0 || partition >= LK_PARTITIONS_MAX) return NODES_MOST;
    return s->owner[partition];
}

bool survey_covered(const survey *s) { return !s->config.cluster || (s->count && !s->uncovered); }

int survey_open(survey *s, const char *url)
{
    memset(s, 0, sizeof *s);
    s->url = url;
    s->nodes = calloc(1, sizeof *s->nodes);
    if (!s->nodes) return LATCHKEY_NO_MEMORY;
    int status = lk_config_parse(url, &s->config, s->error, sizeof s->error);
    if (!status && s->config.tls && s->config.sentinels)
        status = lk_tls_context_open(&s->config, &s->config.tls_context, s->error, sizeof s->error);
    return status;
}

void survey_close(survey *s)
{
    if (s->nodes) nodes_close(s->nodes);
    free(s->nodes);
    lk_tls_context_close(s->config.tls_context);
    lk_wipe(&s->config, sizeof s->config); /* it holds the password */
    s->nodes = NULL;
}

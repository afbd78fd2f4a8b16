/* Opening a handle. See cli.h. */
#include "cli/cli.h"

#include "session/handle.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void say_log(void *context, int level, const char *text)
{
    (void)context;
    static const char *const levels[] = {"", "", "", "error", "warning", "notice", "info"};
    cli_say(stderr, "%s: %s\n", level >= 3 && level <= 6 ? levels[level] : "log", text);
}

/* With events=1. The trail is complete only with what this instance does. */
static void say_event(void *context, int level, const char *text)
{
    if (strncmp(text, "event: ", 7) == 0) say_log(context, level, text);
}

int cli_no_config(const cli *c)
{
    return cli_fail(c, CLI_USAGE,
                    "which Redis? Give --config URL, or set LATCHKEY_CONFIG to the text that the application gives to "
                    "latchkey_open, for example redis://127.0.0.1:6379 (put a password into the file of "
                    "?password_file=/path: arguments are visible to others)");
}

/* ------------------------------------------------------------------------- a cluster of which a part is away -- */

typedef struct waited {
    unsigned serve, others; /* nodes that have a lease; those that have none, and */
    int status;             /* what stands in the way at the first of them */
    char why[600];          /* at all of them */
} waited;

/* `why` names the node. */
static void add_trouble(waited *w, int status, const char *why)
{
    size_t used = strlen(w->why);
    if (!w->others++) w->status = status;
    snprintf(w->why + used, sizeof w->why - used, "%s%s", used ? "; " : "", why);
}

static void wait_for_nodes(latchkey *lk, int64_t deadline_ms, waited *w)
{
    lk_topology *t = &lk->l2.topology;
    lk_node *node;
    uint64_t seen;
    do {
        seen = lk_topology_version(t);
        memset(w, 0, sizeof *w);
        for (unsigned i = 0; (node = lk_topology_node(t, i)); i++) {
            char why[200];
            if (!lk_node_owns(node)) continue;
            int status = lk_node_wait(node, deadline_ms, why, sizeof why);
            if (status) add_trouble(w, status, why);
            else w->serve += lk_node_owns(node);
        }
    } while (lk_topology_version(t) != seen && lk_now_ms() < deadline_ms);
}

/* latchkey_open waits for every node of a cluster, and not at all with lazy=1. Here what serves is enough: the sessions of
 * those nodes can be listed and ended. NULL: the URL says by itself whether it waits, or there is no memory. */
static char *lazy_url(const char *url)
{
    const char *options = strchr(url, '?');
    if (options && (strstr(options, "?lazy=") || strstr(options, "&lazy="))) return NULL;
    size_t length = strlen(url) + sizeof "&lazy=1";
    char *lazy = malloc(length);
    if (lazy) snprintf(lazy, length, "%s%slazy=1", url, options ? "&" : "?");
    return lazy;
}

/* Of any scheme, in any case. */
static bool is_cluster(const char *url)
{
    static const char kind[] = "+cluster";
    const char *end = strstr(url, "://");
    size_t length = sizeof kind - 1;
    return end && (size_t)(end - url) >= length && !strncasecmp(end - length, kind, length);
}

/* What latchkey_open would have done without lazy=1, but for the nodes that do not serve. */
static int await_handle(const cli *c, latchkey *lk)
{
    char error[200];
    waited w;
    int64_t deadline_ms = lk_now_ms() + lk->config.deadline_ms;
    wait_for_nodes(lk, deadline_ms, &w);
    if (!w.serve) return cli_fail(c, cli_exit_of(w.status ? w.status : LATCHKEY_UNAVAILABLE), "%s", w.why);
    if (w.others)
        cli_say(stderr,
                "latchkey: a part of the cluster does not serve: its sessions can be neither read nor ended now. %s\n",
                w.why);
    int status = w.others ? LATCHKEY_OK : lk_l2_probe(&lk->l2, deadline_ms, error, sizeof error);
    return status ? cli_fail(c, cli_exit_of(status), "%s", error) : CLI_DONE;
}

int cli_open(const cli *c, latchkey **lk)
{
    char error[512];
    *lk = NULL;
    if (!c->config) return cli_no_config(c);
    latchkey_set_log(c->verbose ? say_log : say_event, NULL);
    char *lazy = is_cluster(c->config) ? lazy_url(c->config) : NULL;
    int status = latchkey_open(lazy ? lazy : c->config, lk, error, sizeof error);
    if (lazy) lk_wipe(lazy, strlen(lazy)); /* it holds the password */
    free(lazy);
    if (status) return cli_fail(c, cli_exit_of(status), "%s", *error ? error : latchkey_status_text(status));
    int exit = (*lk)->config.lazy ? await_handle(c, *lk) : CLI_DONE;
    if (!exit) return CLI_DONE;
    latchkey_close(*lk);
    *lk = NULL;
    return exit;
}

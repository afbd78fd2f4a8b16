/* Opening a handle. See cli.h. */
#include "cli/cli.h"

#include "l2/naming.h"
#include "session/handle.h"

#include <stdlib.h>
#include <string.h>

static void say_log(void *context, int level, const char *text)
{
    (void)context;
    static const char *const levels[] = {"", "", "", "error", "warning", "notice", "info"};
    cli_say(stderr, "%s: %s\n", level >= 3 && level <= 6 ? levels[level] : "log", text);
}

int cli_no_config(const cli *c)
{
    return cli_fail(c, CLI_USAGE,
                    "which Redis? Give --config URL, or set LATCHKEY_CONFIG to the text that the application gives to "
                    "latchkey_open, for example redis://127.0.0.1:6379 (put a password into the file of "
                    "?password_file=/path: arguments are visible to others)");
}

/* ------------------------------------------------------------------------- a cluster of which a part is away -- */

/* The nodes that serve, and what stands in the way at the others. */
static unsigned wait_for_nodes(latchkey *lk, int64_t deadline_ms, char *trouble, size_t size)
{
    lk_topology *t = &lk->l2.topology;
    lk_node *node;
    unsigned serve = 0;
    uint64_t seen;
    do {
        seen = lk_topology_version(t);
        serve = 0;
        *trouble = 0;
        for (unsigned i = 0; (node = lk_topology_node(t, i)); i++) {
            char why[200], at[112];
            lk_host host;
            size_t used = strlen(trouble);
            if (!lk_node_owns(node)) continue;
            if (!lk_node_wait(node, deadline_ms, why, sizeof why)) serve += lk_node_owns(node);
            else if (lk_node_host(node, &host)) {
                lk_host_text(&host, at, sizeof at);
                snprintf(trouble + used, size - used, "%s%s: %s", used ? "; " : "", at, why);
            }
        }
    } while (lk_topology_version(t) != seen && lk_now_ms() < deadline_ms);
    return serve;
}

/* latchkey_open waits for every node. Here the sessions of the others can still be listed and ended. */
static bool open_part(const char *url, latchkey **lk, char *trouble, size_t size)
{
    char text[256];
    lk_config *config = calloc(1, sizeof *config);
    bool cluster = config && !lk_config_parse(url, config, text, sizeof text) && config->cluster && !config->lazy;
    if (config) lk_wipe(config, sizeof *config);
    free(config);
    if (!cluster) return false;
    size_t length = strlen(url) + sizeof "&lazy=1";
    char *lazy = malloc(length);
    if (!lazy) return false;
    snprintf(lazy, length, "%s%slazy=1", url, strchr(url, '?') ? "&" : "?");
    bool open = !latchkey_open(lazy, lk, text, sizeof text);
    lk_wipe(lazy, length);
    free(lazy);
    if (open && wait_for_nodes(*lk, lk_now_ms() + (*lk)->config.deadline_ms, trouble, size)) return true;
    latchkey_close(*lk);
    *lk = NULL;
    return false;
}

int cli_open(const cli *c, latchkey **lk)
{
    char error[512], trouble[600] = "";
    *lk = NULL;
    if (!c->config) return cli_no_config(c);
    if (c->verbose) latchkey_set_log(say_log, NULL);
    int status = latchkey_open(c->config, lk, error, sizeof error);
    if (!status) return CLI_DONE;
    if (!open_part(c->config, lk, trouble, sizeof trouble))
        return cli_fail(c, cli_exit_of(status), "%s", *trouble ? trouble : *error ? error : latchkey_status_text(status));
    if (*trouble)
        cli_say(stderr,
                "latchkey: a part of the cluster does not serve, and its sessions can be neither read nor ended now: %s\n",
                trouble);
    return CLI_DONE;
}

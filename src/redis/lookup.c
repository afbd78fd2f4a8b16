/* See lookup.h. A lookup is shared by its caller and its thread; the last of the two to leave frees it. */
#include "redis/lookup.h"

#include "base/wake.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct lk_lookup {
    _Atomic int sharers; /* acquire and release in one (acq_rel): the last to leave frees what the other wrote */
    int done_fd;         /* readable once the rest is there: wakes the caller */
    _Atomic bool done;   /* release by the thread, acquire by the caller: if it is true, the caller may read the rest */
    char host[sizeof((lk_config *)0)->host], port[sizeof((lk_config *)0)->port];
    /* the thread writes these before `done`: */
    bool good;
    lk_addresses addresses;
    char error[160];
};

static void leave(lk_lookup *l)
{
    if (atomic_fetch_sub_explicit(&l->sharers, 1, memory_order_acq_rel) > 1) return;
    close(l->done_fd);
    free(l);
}

static void *resolve_host(void *context)
{
    lk_lookup *l = context;
    l->good = lk_net_look_up(l->host, l->port, false, &l->addresses, l->error, sizeof l->error);
    atomic_store_explicit(&l->done, true, memory_order_release);
    lk_raise(l->done_fd);
    leave(l);
    return NULL;
}

static bool start_lookup(lk_lookup *l)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attr)) return false;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all); /* no signal of the application's is handled in this thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, &attr, resolve_host, l) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return started;
}

static lk_lookup *begin_lookup(const char *host, const char *port)
{
    lk_lookup *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    atomic_store_explicit(&l->sharers, 2, memory_order_relaxed); /* the thread begins after this */
    snprintf(l->host, sizeof l->host, "%s", host);
    snprintf(l->port, sizeof l->port, "%s", port);
    l->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->done_fd >= 0 && start_lookup(l)) return l;
    if (l->done_fd >= 0) close(l->done_fd);
    free(l);
    return NULL;
}

enum lk_net_io lk_lookup_ask(lk_lookup **lookup, const lk_config *config, const lk_host *host, int64_t deadline_ms,
                             int cancel_fd, lk_addresses *out, char *error, size_t error_size)
{
    const char *name = host ? host->name : config->host;
    if (!*lookup) {
        if (lk_net_at_hand(config, host, out)) return LK_NET_DONE;
        *lookup = begin_lookup(name, host ? host->port : config->port);
    }
    if (!*lookup) {
        snprintf(error, error_size, "host '%.100s': no thread or descriptor is left to look it up", name);
        return LK_NET_LOST;
    }
    if (!lk_net_wait_for((*lookup)->done_fd, POLLIN, deadline_ms, cancel_fd) ||
        !atomic_load_explicit(&(*lookup)->done, memory_order_acquire)) {
        snprintf(error, error_size, "host '%.100s' is still being looked up: the name server does not answer", name);
        return LK_NET_LATER;
    }
    bool good = (*lookup)->good;
    if (good) lk_net_name(config, host, &(*lookup)->addresses);
    if (good) *out = (*lookup)->addresses;
    else snprintf(error, error_size, "%s", (*lookup)->error);
    lk_lookup_leave(lookup);
    return good ? LK_NET_DONE : LK_NET_LOST;
}

bool lk_lookup_now(const lk_config *config, const lk_host *host, int64_t deadline_ms, lk_addresses *out, char *error,
                   size_t error_size)
{
    lk_lookup *lookup = NULL;
    enum lk_net_io how = lk_lookup_ask(&lookup, config, host, deadline_ms, -1, out, error, error_size);
    lk_lookup_leave(&lookup);
    return how == LK_NET_DONE;
}

void lk_lookup_leave(lk_lookup **lookup)
{
    if (*lookup) leave(*lookup);
    *lookup = NULL;
}

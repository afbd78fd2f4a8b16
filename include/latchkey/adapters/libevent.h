/* SPDX-License-Identifier: MIT
 *
 * latchkey on libevent (2.x), from C and from C++: `ready` is called in the loop whenever the descriptor of a queue is readable.
 *
 *     static void ready(void *queue) { ... latchkey_queue_reap(queue, ...) until it returns less than max ... }
 *     struct latchkey_libevent watch;
 *     latchkey_libevent_watch(&watch, base, latchkey_queue_fd(queue), ready, queue);
 *     latchkey_libevent_unwatch(&watch);            before latchkey_queue_close
 *
 * In C++, `ready` is latchkey::queue::on_ready, and its context the latchkey::queue. Its callbacks must not throw here: the loop is C,
 * an exception would leave it in the middle, and it may refuse to run again.
 */
#ifndef LATCHKEY_ADAPTERS_LIBEVENT_H
#define LATCHKEY_ADAPTERS_LIBEVENT_H

#include <event2/event.h>

struct latchkey_libevent {
    struct event *event;
    void (*ready)(void *context);
    void *context;
};

static inline void latchkey_libevent_readable(evutil_socket_t fd, short what, void *arg)
{
    struct latchkey_libevent *watch = (struct latchkey_libevent *)arg;
    (void)fd;
    (void)what;
    watch->ready(watch->context);
}

/* Begins. `watch` stays where it is until it is unwatched. -1: there is no memory. */
static inline int latchkey_libevent_watch(struct latchkey_libevent *watch, struct event_base *base, int fd,
                                          void (*ready)(void *context), void *context)
{
    watch->ready = ready;
    watch->context = context;
    watch->event = event_new(base, fd, EV_READ | EV_PERSIST, latchkey_libevent_readable, watch);
    if (!watch->event) return -1;
    if (event_add(watch->event, NULL) == 0) return 0;
    event_free(watch->event);
    watch->event = NULL;
    return -1;
}

/* Ends, at once. */
static inline void latchkey_libevent_unwatch(struct latchkey_libevent *watch)
{
    if (watch->event) event_free(watch->event);
    watch->event = NULL;
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * latchkey on libuv (1.x), from C and from C++: `ready` is called in the loop whenever the descriptor of a queue is readable.
 *
 *     static void ready(void *queue) { ... latchkey_queue_reap(queue, ...) until it returns less than max ... }
 *     struct latchkey_libuv watch;
 *     latchkey_libuv_watch(&watch, loop, latchkey_queue_fd(queue), ready, queue);
 *     latchkey_libuv_unwatch(&watch, closed);       before latchkey_queue_close
 *
 * In C++, `ready` is latchkey::queue::on_ready, and its context the latchkey::queue. Its callbacks must not throw here: the loop is C,
 * an exception would leave it in the middle, and it may refuse to run again.
 */
#ifndef LATCHKEY_ADAPTERS_LIBUV_H
#define LATCHKEY_ADAPTERS_LIBUV_H

#include <stddef.h>
#include <uv.h>

struct latchkey_libuv {
    uv_poll_t poll;
    void (*ready)(void *context);
    void *context;
    void (*closed)(struct latchkey_libuv *watch);
};

static inline void latchkey_libuv_readable(uv_poll_t *poll, int status, int events)
{
    struct latchkey_libuv *watch = (struct latchkey_libuv *)poll->data;
    (void)status;
    (void)events;
    watch->ready(watch->context);
}

static inline void latchkey_libuv_is_closed(uv_handle_t *poll)
{
    struct latchkey_libuv *watch = (struct latchkey_libuv *)poll->data;
    if (watch->closed) watch->closed(watch);
}

/* Begins. `watch` stays where it is until it is closed. 0, or an error of libuv; then there is nothing to end. */
static inline int latchkey_libuv_watch(struct latchkey_libuv *watch, uv_loop_t *loop, int fd,
                                       void (*ready)(void *context), void *context)
{
    int error = uv_poll_init(loop, &watch->poll, fd);
    if (error) return error;
    watch->poll.data = watch;
    watch->ready = ready;
    watch->context = context;
    watch->closed = NULL;
    return uv_poll_start(&watch->poll, UV_READABLE, latchkey_libuv_readable);
}

/* Ends: `ready` is not called any more. The memory of `watch` is free once `closed` (may be NULL) was called by the loop. */
static inline void latchkey_libuv_unwatch(struct latchkey_libuv *watch, void (*closed)(struct latchkey_libuv *watch))
{
    watch->closed = closed;
    uv_poll_stop(&watch->poll);
    uv_close((uv_handle_t *)&watch->poll, latchkey_libuv_is_closed);
}

#endif

/* SPDX-License-Identifier: MIT */
#include "blocking.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { THREADS = 64 };

struct blocking {
    pthread_mutex_t lock;
    pthread_cond_t more;
    task *first, **last, *done; /* guarded by lock, as is stop */
    bool stop;
    int fd;
    unsigned threads;
    pthread_t thread[THREADS];
};

static task *next(blocking *b)
{
    pthread_mutex_lock(&b->lock);
    while (!b->first && !b->stop) pthread_cond_wait(&b->more, &b->lock);
    task *t = b->first;
    if (t && !(b->first = t->next)) b->last = &b->first;
    pthread_mutex_unlock(&b->lock);
    return t;
}

static void hand_back(blocking *b, task *t)
{
    pthread_mutex_lock(&b->lock);
    t->next = b->done;
    b->done = t;
    pthread_mutex_unlock(&b->lock);
    eventfd_write(b->fd, 1);
}

static void *work(void *context)
{
    blocking *b = context;
    for (task *t; (t = next(b));) {
        t->run(t);
        hand_back(b, t);
    }
    return NULL;
}

blocking *blocking_start(unsigned threads)
{
    blocking *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->more, NULL);
    b->last = &b->first;
    b->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    while (b->fd >= 0 && b->threads < threads && b->threads < THREADS)
        if (pthread_create(&b->thread[b->threads], NULL, work, b) == 0) b->threads++;
        else break;
    if (b->threads == threads) return b;
    blocking_stop(b);
    return NULL;
}

int blocking_fd(const blocking *b) { return b->fd; }

void blocking_put(blocking *b, task *t)
{
    t->next = NULL;
    pthread_mutex_lock(&b->lock);
    *b->last = t;
    b->last = &t->next;
    pthread_cond_signal(&b->more);
    pthread_mutex_unlock(&b->lock);
}

task *blocking_take(blocking *b)
{
    eventfd_t count;
    eventfd_read(b->fd, &count); /* first, so that what comes after it makes the descriptor readable again */
    pthread_mutex_lock(&b->lock);
    task *done = b->done;
    b->done = NULL;
    pthread_mutex_unlock(&b->lock);
    return done;
}

void blocking_stop(blocking *b)
{
    if (!b) return;
    pthread_mutex_lock(&b->lock);
    b->stop = true;
    pthread_cond_broadcast(&b->more);
    pthread_mutex_unlock(&b->lock);
    for (unsigned i = 0; i < b->threads; i++) pthread_join(b->thread[i], NULL);
    if (b->fd >= 0) close(b->fd);
    pthread_cond_destroy(&b->more);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

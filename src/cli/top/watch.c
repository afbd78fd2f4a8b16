/* latchkey top: the nodes, asked once a second by a thread of its own. */
#include "cli/top/top.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { ROUND_MS = 1000, PATIENCE_MS = 1000, FEW = 256, SELDOM = 5 };

struct watch {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* guarded by lock: */
    bool stop;
    unsigned rounds;
    survey newest;
    /* of the thread: */
    survey asked;
    /* of the caller: */
    survey shown;
};

static void take_copy(survey *to, const survey *from)
{
    memcpy(to, from, sizeof *to);
    to->nodes = NULL; /* the connections stay where they are */
    to->config.tls_context = NULL;
}

static void publish_round(watch *w)
{
    pthread_mutex_lock(&w->lock);
    take_copy(&w->newest, &w->asked);
    w->rounds++;
    pthread_cond_broadcast(&w->changed);
    int64_t until_ms = lk_now_ms() + ROUND_MS;
    while (!w->stop && lk_now_ms() < until_ms) lk_cond_wait_until(&w->changed, &w->lock, until_ms);
    pthread_mutex_unlock(&w->lock);
}

static bool is_over(watch *w)
{
    pthread_mutex_lock(&w->lock);
    bool over = w->stop;
    pthread_mutex_unlock(&w->lock);
    return over;
}

/* What partitions hold is counted seldom if they are many. */
static void *run_watch(void *of)
{
    watch *w = of;
    for (unsigned round = 0; !is_over(w); round++) {
        survey_ask(&w->asked, round % SELDOM == 0 || w->asked.partitions <= FEW);
        publish_round(w);
    }
    return NULL;
}

watch *watch_open(const char *url, int *status, char *error, size_t error_size)
{
    watch *w = calloc(1, sizeof *w);
    *status = w ? survey_open(&w->asked, url) : LATCHKEY_NO_MEMORY;
    snprintf(error, error_size, "%s", w && *status ? w->asked.error : "no memory");
    if (!*status) {
        w->asked.patience_ms = lk_later(PATIENCE_MS, lk_earlier(w->asked.config.deadline_ms, QUERY_PATIENT_MS));
        pthread_mutex_init(&w->lock, NULL);
        lk_cond_init(&w->changed);
        if (pthread_create(&w->thread, NULL, run_watch, w)) *status = LATCHKEY_NO_MEMORY;
    }
    if (!*status) return w;
    if (w) survey_close(&w->asked);
    free(w);
    return NULL;
}

const survey *watch_newest(watch *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->rounds) pthread_cond_wait(&w->changed, &w->lock);
    take_copy(&w->shown, &w->newest);
    pthread_mutex_unlock(&w->lock);
    return &w->shown;
}

void watch_close(watch *w)
{
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    survey_close(&w->asked);
    survey_close(&w->newest);
    survey_close(&w->shown);
    free(w);
}

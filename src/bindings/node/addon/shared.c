/* SPDX-License-Identifier: MIT */
/* The shared handles of this process, by their configuration. The list's lock is taken for moments; `opening` is held while a
 * handle is opened, and whoever wants the same one waits for it there, on libuv's pool. Order: never one inside the other. */
#include "addon.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct shared {
    latchkey *lk;
    char *config;
    char error[ERROR_SIZE]; /* written once, under `opening`, as `status` is */
    int status;
    pthread_mutex_t opening;
    unsigned users; /* guarded by list_lock, as are the three below */
    bool listed, logs;
    shared *next;
};

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static shared *list; /* guarded by list_lock */

static void unlist_locked(shared *s)
{
    if (!s->listed) return;
    shared **at = &list;
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    s->listed = false;
}

static void destroy(shared *s)
{
    latchkey_close(s->lk);
    explicit_bzero(s->config, strlen(s->config));
    free(s->config);
    pthread_mutex_destroy(&s->opening);
    free(s);
}

void shared_release(shared *s)
{
    pthread_mutex_lock(&list_lock);
    bool last = --s->users == 0;
    if (last) unlist_locked(s);
    pthread_mutex_unlock(&list_lock);
    if (last) destroy(s);
}

static shared *shared_make(const char *config)
{
    shared *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->config = strdup(config);
    if (!s->config) {
        free(s);
        return NULL;
    }
    pthread_mutex_init(&s->opening, NULL);
    s->users = 1;
    return s;
}

/* Finds the handle of this configuration, or makes it. *made: the caller has to open it, and holds `opening`. */
static shared *find_or_make(const char *config, bool apart, bool *made)
{
    *made = false;
    pthread_mutex_lock(&list_lock);
    shared *s = apart ? NULL : list;
    while (s && strcmp(s->config, config) != 0) s = s->next;
    if (s) {
        s->users++;
    } else if ((s = shared_make(config)) != NULL) {
        *made = true;
        pthread_mutex_lock(&s->opening); /* nobody else knows it yet, so this does not wait */
        if (!apart) {
            s->next = list;
            list = s;
            s->listed = true;
        }
    }
    pthread_mutex_unlock(&list_lock);
    return s;
}

int shared_open(const char *config, bool apart, shared **out, char *error, size_t error_size)
{
    bool made;
    *out = NULL;
    error[0] = '\0';
    shared *s = find_or_make(config, apart, &made);
    if (!s) return LATCHKEY_NO_MEMORY;
    if (made) s->status = latchkey_open(config, &s->lk, s->error, sizeof s->error);
    else pthread_mutex_lock(&s->opening);
    pthread_mutex_unlock(&s->opening);
    int status = s->status;
    if (!status) {
        *out = s;
        return status;
    }
    strncpy(error, s->error, error_size - 1);
    error[error_size - 1] = '\0';
    /* Who asks from now on tries again. */
    pthread_mutex_lock(&list_lock);
    unlist_locked(s);
    pthread_mutex_unlock(&list_lock);
    shared_release(s);
    return status;
}

latchkey *shared_latchkey(const shared *s) { return s->lk; }

bool shared_take_log(shared *s)
{
    pthread_mutex_lock(&list_lock);
    bool free_yet = !s->logs;
    s->logs = true;
    pthread_mutex_unlock(&list_lock);
    return free_yet;
}

void shared_give_log(shared *s)
{
    pthread_mutex_lock(&list_lock);
    s->logs = false;
    pthread_mutex_unlock(&list_lock);
}

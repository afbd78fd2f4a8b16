/* SPDX-License-Identifier: MIT */
#include "logbook.h"
#include "check.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char text[LOGBOOK_SIZE];
static size_t used; /* beyond LOGBOOK_SIZE: something was not kept */

static void keep(void *context, int level, const char *line)
{
    (void)context;
    pthread_mutex_lock(&lock);
    size_t room = used < sizeof text ? sizeof text - used : 0;
    used += (size_t)snprintf(text + (room ? used : 0), room, "%d %s\n", level, line);
    pthread_mutex_unlock(&lock);
}

void logbook_clear(void)
{
    pthread_mutex_lock(&lock);
    used = 0;
    text[0] = 0;
    pthread_mutex_unlock(&lock);
}

void logbook_open(void)
{
    logbook_clear();
    latchkey_set_log(keep, NULL);
}

void logbook_close(void) { latchkey_set_log(NULL, NULL); }

char *logbook_text(void)
{
    pthread_mutex_lock(&lock);
    char *copy = strdup(text);
    size_t size = used;
    pthread_mutex_unlock(&lock);
    if (size >= sizeof text) fail_msg("more was said than the logbook holds");
    assert_non_null(copy);
    return copy;
}

int logbook_has(const char *part)
{
    char *copy = logbook_text();
    int has = strstr(copy, part) != NULL;
    free(copy);
    return has;
}

size_t logbook_lines(void)
{
    char *copy = logbook_text();
    size_t lines = 0;
    for (const char *c = copy; *c; c++) lines += *c == '\n';
    free(copy);
    return lines;
}

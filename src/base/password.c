/* See password.h. password.lock guards the copy; the file is read without it. */
#include "base/password.h"

#include "base/crypto.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secure_memory.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct lk_password {
    char path[600];
    bool changes; /* it is a regular file; anything else, such as a pipe, is read once */
    lk_notices *notices;
    pthread_mutex_t lock;
    /* guarded by lock: */
    char last[LK_PASSWORD_SIZE];
    char said[400]; /* the last problem with the file that was logged; "": none since it was good */
};

bool lk_password_read(const char *path, bool again, char password[LK_PASSWORD_SIZE], char *error, size_t error_size)
{
    static const char option[] = "password_file";
    char text[LK_PASSWORD_SIZE + 2]; /* with room for the line end */
    bool good = false;
    ssize_t got = lk_file_read(option, path, again, text, sizeof text, error, error_size);
    if (got >= 0) {
        text[got] = 0;
        bool whole = strlen(text) == (size_t)got;
        const char *line = lk_file_text(text);
        text[strcspn(text, "\r\n")] = 0;
        size_t length = strlen(line);
        if (!whole) snprintf(error, error_size, "%s: '%.100s' holds a NUL byte: a text file is expected", option, path);
        else if (!length) snprintf(error, error_size, "%s: '%.100s' is empty", option, path);
        else if (length >= LK_PASSWORD_SIZE)
            snprintf(error, error_size, "%s: the password in '%.100s' is longer than %d bytes", option, path,
                     LK_PASSWORD_SIZE - 1);
        else {
            memcpy(password, line, length + 1);
            good = true;
        }
    }
    lk_wipe(text, sizeof text);
    return good;
}

lk_password *lk_password_open(const char *path, const char *first, lk_notices *notices)
{
    static const lk_file_id none;
    lk_password *p = lk_map(sizeof *p, true);
    if (!p) return NULL;
    lk_file_id id = lk_file_identify(path);
    pthread_mutex_init(&p->lock, NULL);
    snprintf(p->path, sizeof p->path, "%s", path);
    snprintf(p->last, sizeof p->last, "%s", first);
    p->changes = memcmp(&id, &none, sizeof id) != 0;
    p->notices = notices;
    return p;
}

void lk_password_close(lk_password *p)
{
    if (!p) return;
    pthread_mutex_destroy(&p->lock);
    lk_wipe(p, sizeof *p);
    lk_unmap(p, sizeof *p);
}

static void note_locked(lk_password *p, bool good, const char *error)
{
    if (good && p->said[0])
        lk_notices_add(p->notices, LATCHKEY_LOG_NOTICE, "password_file: '%.100s' can be read again", p->path);
    else if (!good && strcmp(p->said, error))
        lk_notices_add(p->notices, LATCHKEY_LOG_ERROR, "%s; the last known password is used", error);
    snprintf(p->said, sizeof p->said, "%s", good ? "" : error);
}

void lk_password_now(lk_password *p, char password[LK_PASSWORD_SIZE])
{
    char error[400] = "";
    bool good = p->changes && lk_password_read(p->path, true, password, error, sizeof error);
    pthread_mutex_lock(&p->lock);
    if (p->changes) note_locked(p, good, error);
    if (good) memcpy(p->last, password, LK_PASSWORD_SIZE);
    else memcpy(password, p->last, LK_PASSWORD_SIZE);
    pthread_mutex_unlock(&p->lock);
}

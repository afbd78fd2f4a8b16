/* SPDX-License-Identifier: MIT
 *
 * latchkey from Python: what the files of this extension share. It sees the library through its public header alone.
 *
 *   module.c   the module: types, errors, constants, functions that need no handle
 *   handle.c   Handle: open, close, fork, the log; validate, which is written for the hit
 *   verbs.c    each kind of request once: its arguments, the blocking call, its answer
 *   users.c    Handle: what concerns a user, and observation
 *   queue.c    Queue: the same requests without waiting
 *   entry.c    Entry: 120 bytes that are decoded when a member is read
 *   record.c   Record: a whole record
 *
 * THE LOCK OF THE INTERPRETER guards every member here. It is kept for what does not wait (a hit, submit, reap), and released
 * for what does. Everything that a released call reads is held by a reference, or is a copy.
 */
#ifndef LATCHKEY_PY_H
#define LATCHKEY_PY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include <latchkey.h>

#define LK_PY_LINE 640 /* the longest line of the log, and more than any error text */

struct lk_py_queue;

/* One open handle of the library. It outlives the object that opened it for as long as a call or a queue uses it. */
struct lk_py_opened {
    latchkey *lk;
    pid_t pid;    /* the process that opened it */
    size_t refs;  /* the object's, each call's, each queue's */
    size_t calls; /* calls that run without the interpreter's lock; changed under `lock` too */
    pthread_mutex_t lock;
    pthread_cond_t idle; /* calls has become 0 */
    struct lk_py_queue *queues;
};

typedef struct {
    PyObject_HEAD struct lk_py_opened *now; /* NULL: closed */
    char *config;                           /* for the process that finds itself to be a child; holds a password */
    PyObject *log;                          /* callable(level, text), or NULL */
    unsigned hits;                          /* since the log was last looked at */
    bool logging;                           /* the log function is running: it is not called from within itself */
} lk_py_handle;

typedef struct lk_py_queue {
    PyObject_HEAD lk_py_handle *handle;
    struct lk_py_opened *opened; /* NULL: closed */
    latchkey_queue *queue;
    struct lk_py_queue *next; /* in opened->queues */
} lk_py_queue;

/* A request and what keeps its bytes alive; its result. */
struct lk_py_call {
    latchkey_request request;
    latchkey_result result;
    latchkey_draft draft;
    latchkey_access access;
    PyObject *held; /* a list of all objects whose bytes are pointed to, or NULL */
    void *array;    /* of names, fields or changes, or NULL */
    char why[LK_PY_LINE];
};

/* module.c */
extern PyObject *lk_py_again;        /* the answer of try_validate that only Redis can give */
extern PyObject *lk_py_error_closed; /* the class of "the handle is closed" */
PyObject *lk_py_fail(int status, const char *why);
extern PyType_Spec lk_py_entry_spec, lk_py_record_spec, lk_py_handle_spec, lk_py_queue_spec;
extern PyTypeObject *lk_py_entry_type, *lk_py_record_type, *lk_py_handle_type, *lk_py_session_type;

/* entry.c */
PyObject *lk_py_entry_new(const latchkey_entry *entry);

/* record.c: the record is the object's from now on, also where this fails */
PyObject *lk_py_record_new(latchkey_record *record);
uint64_t lk_py_record_version(PyObject *record, const char *name);

/* handle.c */
struct lk_py_opened *lk_py_enter(lk_py_handle *self); /* NULL, with an error set: closed, or it cannot be opened here */
bool lk_py_leave(lk_py_handle *self, struct lk_py_opened *opened, int *status, char why[LK_PY_LINE]); /* false: again */
void lk_py_release(struct lk_py_opened *opened);
bool lk_py_handle_methods(void); /* before the type is made */
void lk_py_read_log(lk_py_handle *self);

/* Runs CALL, an expression that uses `lk` and gives a status, without the interpreter's lock. In a forked child the handle is
 * opened anew first. -100 with an error set: there is no handle. */
#define LK_PY_NO_HANDLE (-100)
#define LK_PY_BLOCKING(self, status, why, CALL)                                                                        \
    do {                                                                                                               \
        struct lk_py_opened *opened_ = lk_py_enter(self);                                                              \
        if (!opened_) {                                                                                                \
            (status) = LK_PY_NO_HANDLE;                                                                                \
            break;                                                                                                     \
        }                                                                                                              \
        latchkey *lk = opened_->lk;                                                                                    \
        Py_BEGIN_ALLOW_THREADS;                                                                                        \
        (status) = (CALL);                                                                                             \
        Py_END_ALLOW_THREADS;                                                                                          \
        if (lk_py_leave(self, opened_, &(status), why)) break;                                                         \
    } while (1)

/* verbs.c */
extern PyMethodDef lk_py_verbs[]; /* the blocking form of each kind, for Handle */
bool lk_py_parse(struct lk_py_call *call, int kind, PyObject *args, PyObject *kwargs);
void lk_py_call_clear(struct lk_py_call *call);
PyObject *lk_py_answer(latchkey_result *result, const char *why);
bool lk_py_text(PyObject *object, const char **text, size_t *size); /* a token, as the client sent it */
bool lk_py_number(PyObject *object, const char *name, uint64_t max, uint64_t *number);
bool lk_py_user(struct lk_py_call *call, PyObject *user);
bool lk_py_access(struct lk_py_call *call, PyObject *role, PyObject *permissions, PyObject *flags, PyObject *mask,
                  int authenticated);
bool lk_py_fields(struct lk_py_call *call, PyObject *mapping);

/* users.c */
extern PyMethodDef lk_py_users[];

#endif

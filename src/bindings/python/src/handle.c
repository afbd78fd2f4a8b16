/* SPDX-License-Identifier: MIT
 *
 * Handle: opened once per process, and again, at the first call, in a process that was forked from it. A hit is answered under the
 * interpreter's lock; what waits for Redis runs without it.
 *
 * Invariant: an lk_py_opened is freed when its last reference goes, and latchkey_close runs once, when no call is inside.
 */
#include "latchkey_py.h"

PyTypeObject *lk_py_handle_type;

#define HITS_PER_LOOK 1024 /* after so many hits it is looked whether the library has something to say */

/* ------------------------------------------------------------------------------------------- open and close -- */

static struct lk_py_opened *open_config(const char *config)
{
    struct lk_py_opened *opened = calloc(1, sizeof *opened);
    if (!opened) return (void)PyErr_NoMemory(), NULL;
    char error[LK_PY_LINE] = "";
    int status;
    Py_BEGIN_ALLOW_THREADS;
    status = latchkey_open(config, &opened->lk, error, sizeof error);
    Py_END_ALLOW_THREADS;
    if (status != LATCHKEY_OK) {
        free(opened);
        return (void)lk_py_fail(status, error), NULL;
    }
    opened->pid = getpid();
    opened->refs = 1;
    pthread_mutex_init(&opened->lock, NULL);
    pthread_cond_init(&opened->idle, NULL);
    return opened;
}

void lk_py_release(struct lk_py_opened *opened)
{
    if (--opened->refs == 0) free(opened);
}

/* Closes its queues. What is outstanding there is not asked for any more. */
static void end_queues(struct lk_py_opened *opened, bool ours)
{
    while (opened->queues) {
        lk_py_queue *queue = opened->queues;
        opened->queues = queue->next;
        if (ours) latchkey_queue_close(queue->queue);
        queue->queue = NULL;
        queue->opened = NULL;
        lk_py_release(opened);
    }
}

/* Ends an opened handle, of which the object holds the last reference to come. `wait`: not from a destructor, which is the only one
 * that still knows the handle. */
static void end(struct lk_py_opened *opened, bool wait)
{
    bool ours = opened->pid == getpid();
    end_queues(opened, ours);
    if (wait) {
        Py_BEGIN_ALLOW_THREADS;
        if (ours) { /* the calls of a parent's threads never come back here */
            pthread_mutex_lock(&opened->lock);
            while (opened->calls) pthread_cond_wait(&opened->idle, &opened->lock);
            pthread_mutex_unlock(&opened->lock);
        }
        latchkey_close(opened->lk);
        Py_END_ALLOW_THREADS;
    } else {
        latchkey_close(opened->lk);
    }
    lk_py_release(opened);
}

static PyObject *handle_close(PyObject *object, PyObject *unused)
{
    (void)unused;
    lk_py_handle *self = (lk_py_handle *)object;
    if (self->now && self->now->pid == getpid()) lk_py_read_log(self);
    struct lk_py_opened *opened = self->now;
    self->now = NULL;
    if (opened) end(opened, true);
    Py_RETURN_NONE;
}

static void forget_config(lk_py_handle *self)
{
    if (!self->config) return;
    volatile char *secret = self->config;
    while (*secret) *secret++ = 0;
    free(self->config);
    self->config = NULL;
}

static void handle_dealloc(PyObject *object)
{
    lk_py_handle *self = (lk_py_handle *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->now) end(self->now, false);
    self->now = NULL;
    forget_config(self);
    Py_CLEAR(self->log);
    freefunc release = PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static int handle_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((lk_py_handle *)object)->log);
    return 0;
}

static int handle_clear(PyObject *object)
{
    Py_CLEAR(((lk_py_handle *)object)->log);
    return 0;
}

static int handle_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"config", "log", NULL};
    lk_py_handle *self = (lk_py_handle *)object;
    const char *config;
    PyObject *log = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "s|O:Handle", names, &config, &log)) return -1;
    if (self->config) return PyErr_SetString(PyExc_TypeError, "a handle is opened once"), -1;
    size_t size = strlen(config) + 1;
    self->config = malloc(size);
    if (!self->config) return (void)PyErr_NoMemory(), -1;
    memcpy(self->config, config, size);
    self->log = log == Py_None ? NULL : Py_NewRef(log);
    self->now = open_config(self->config);
    if (!self->now) return -1;
    lk_py_read_log(self);
    return 0;
}

/* -------------------------------------------------------------------------------------------- calls and forks -- */

static struct lk_py_opened *current(lk_py_handle *self)
{
    if (!self->now) PyErr_SetString(lk_py_error_closed, "the handle is closed");
    return self->now;
}

struct lk_py_opened *lk_py_enter(lk_py_handle *self)
{
    struct lk_py_opened *opened = current(self);
    if (!opened) return NULL;
    opened->refs++;
    pthread_mutex_lock(&opened->lock);
    opened->calls++;
    pthread_mutex_unlock(&opened->lock);
    return opened;
}

/* `old` is of a parent process: opens a handle here. Of several threads that do so at once the first one's is kept. */
static bool reopen(lk_py_handle *self, struct lk_py_opened *old)
{
    if (self->now != old) return current(self) != NULL;
    struct lk_py_opened *opened = open_config(self->config);
    if (!opened) return false;
    if (self->now == old) {
        self->now = opened;
        end(old, true);
        return true;
    }
    end(opened, true);
    return current(self) != NULL;
}

bool lk_py_leave(lk_py_handle *self, struct lk_py_opened *opened, int *status, char why[LK_PY_LINE])
{
    why[0] = 0;
    if (*status < 0) latchkey_error_text(opened->lk, why, LK_PY_LINE);
    bool forked = *status == LATCHKEY_FORKED;
    bool again = forked && reopen(self, opened);
    if (forked && !again) *status = LK_PY_NO_HANDLE;
    if (!forked) {
        pthread_mutex_lock(&opened->lock);
        if (--opened->calls == 0) pthread_cond_broadcast(&opened->idle);
        pthread_mutex_unlock(&opened->lock);
    }
    lk_py_release(opened);
    if (!forked) lk_py_read_log(self);
    return !again;
}

/* ------------------------------------------------------------------------------------------------- the log -- */

/* Hands the lines that wait to the log function. Its errors are not those of the call that happens to be under way. */
void lk_py_read_log(lk_py_handle *self)
{
    char line[LK_PY_LINE];
    int level;
    self->hits = 0;
    if (!self->log || self->logging) return;
    self->logging = true;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    while (self->now && latchkey_log_read(self->now->lk, &level, line, sizeof line) == LATCHKEY_OK) {
        PyObject *said = PyObject_CallFunction(self->log, "is", level, line);
        if (!said) PyErr_WriteUnraisable(self->log);
        Py_XDECREF(said);
    }
    PyErr_Restore(type, value, trace);
    self->logging = false;
}

static PyObject *read_log(PyObject *self, PyObject *unused)
{
    (void)unused;
    lk_py_read_log((lk_py_handle *)self);
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------------------------------------ validate -- */

/* What L1 can tell: its status; LK_PY_NO_HANDLE with an error set. */
static int from_memory(lk_py_handle *self, PyObject *token, const char **text, size_t *size, latchkey_entry *entry)
{
    if (!current(self) || !lk_py_text(token, text, size)) return LK_PY_NO_HANDLE;
    if (++self->hits >= HITS_PER_LOOK) {
        lk_py_read_log(self);
        if (!current(self)) return LK_PY_NO_HANDLE;
    }
    int status = latchkey_try_validate(self->now->lk, *text, *size, entry);
    while (status == LATCHKEY_FORKED) {
        if (!reopen(self, self->now)) return LK_PY_NO_HANDLE;
        status = latchkey_try_validate(self->now->lk, *text, *size, entry);
    }
    return status;
}

static PyObject *answer(int status, const latchkey_entry *entry, const char *why)
{
    if (status == LATCHKEY_OK) return lk_py_entry_new(entry);
    if (status > 0) Py_RETURN_NONE;
    return lk_py_fail(status, why);
}

static PyObject *validate(PyObject *object, PyObject *token)
{
    lk_py_handle *self = (lk_py_handle *)object;
    const char *text;
    size_t size;
    latchkey_entry entry;
    char why[LK_PY_LINE] = "";
    int status = from_memory(self, token, &text, &size, &entry);
    if (status == LATCHKEY_OK) return lk_py_entry_new(&entry);
    if (status == LATCHKEY_AGAIN) LK_PY_BLOCKING(self, status, why, latchkey_validate(lk, text, size, &entry));
    return status == LK_PY_NO_HANDLE ? NULL : answer(status, &entry, why);
}

static PyObject *try_validate(PyObject *object, PyObject *token)
{
    const char *text;
    size_t size;
    latchkey_entry entry;
    int status = from_memory((lk_py_handle *)object, token, &text, &size, &entry);
    if (status == LK_PY_NO_HANDLE) return NULL;
    return status == LATCHKEY_AGAIN ? Py_NewRef(lk_py_again) : answer(status, &entry, "");
}

static PyObject *validate_fresh(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"token", "max_age_ms", NULL};
    PyObject *token;
    long long max_age_ms = 0;
    const char *text;
    size_t size;
    latchkey_entry entry;
    char why[LK_PY_LINE];
    int status;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|L:validate_fresh", names, &token, &max_age_ms) ||
        !lk_py_text(token, &text, &size))
        return NULL;
    LK_PY_BLOCKING((lk_py_handle *)object, status, why, latchkey_validate_fresh(lk, text, size, max_age_ms, &entry));
    return status == LK_PY_NO_HANDLE ? NULL : answer(status, &entry, why);
}

/* --------------------------------------------------------------------------------------------------- type -- */

static PyObject *get_closed(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(!((lk_py_handle *)self)->now);
}

/* The descriptor that is readable when a line of the log waits; of the handle's own queue, which nothing else is asked of here. */
static PyObject *get_log_fd(PyObject *object, void *unused)
{
    (void)unused;
    lk_py_handle *self = (lk_py_handle *)object;
    if (!current(self)) return NULL;
    int fd = latchkey_fd(self->now->lk);
    return fd < 0 ? lk_py_fail(fd, "") : PyLong_FromLong(fd);
}

static PyObject *to_text(PyObject *self)
{
    return PyUnicode_FromFormat("<latchkey handle, %s>", ((lk_py_handle *)self)->now ? "open" : "closed");
}

static PyGetSetDef members[] = {{"closed", get_closed, NULL, "Was it closed?", NULL},
                                {"_log_fd", get_log_fd, NULL, "Readable when a line of the log waits.", NULL},
                                {NULL, NULL, NULL, NULL, NULL}};

static PyMethodDef methods[] = {
    {"validate", validate, METH_O, "validate(token)\n--\n\nWhose session this is: an Entry, or None."},
    {"try_validate", try_validate, METH_O, "try_validate(token)\n--\n\nFrom memory alone: an Entry, None, or AGAIN."},
    {"validate_fresh", (PyCFunction)(void (*)(void))validate_fresh, METH_VARARGS | METH_KEYWORDS,
     "validate_fresh(token, max_age_ms=0)\n--\n\nFor a sensitive request: Redis is asked if memory is older than "
     "max_age_ms."},
    {"close", handle_close, METH_NOARGS, "close()\n--\n\nWaits for calls under way. A second close does nothing."},
    {"read_log", read_log, METH_NOARGS, "read_log()\n--\n\nHands lines that wait to the log."},
    {NULL, NULL, 0, NULL}};

#define METHODS_MAX 64
static PyMethodDef all[METHODS_MAX]; /* those above, of verbs.c and of users.c */

static PyType_Slot slots[] = {{Py_tp_doc, "A handle of latchkey. Open it with latchkey.open()."},
                              {Py_tp_init, handle_init},
                              {Py_tp_dealloc, handle_dealloc},
                              {Py_tp_traverse, handle_traverse},
                              {Py_tp_clear, handle_clear},
                              {Py_tp_getset, members},
                              {Py_tp_methods, all},
                              {Py_tp_repr, to_text},
                              {0, NULL}};

PyType_Spec lk_py_handle_spec = {"latchkey._latchkey.Handle", sizeof(lk_py_handle), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

bool lk_py_handle_methods(void)
{
    size_t count = 0;
    PyMethodDef *parts[] = {methods, lk_py_verbs, lk_py_users};
    for (size_t part = 0; part < sizeof parts / sizeof *parts; part++)
        for (PyMethodDef *method = parts[part]; method->ml_name; method++) {
            if (count == METHODS_MAX - 1) return PyErr_SetString(PyExc_SystemError, "too many methods"), false;
            all[count++] = *method;
        }
    return true;
}

/* SPDX-License-Identifier: MIT
 *
 * Queue: requests without waiting, for one event loop. latchkey.aio is what an application uses.
 *
 * submit and reap never wait, so they keep the interpreter's lock. A queue is closed with its handle, or in a forked child by the
 * first call that opens the handle anew: then `opened` is NULL.
 */
#include "latchkey_py.h"

#define REAPED_AT_ONCE 64

static bool is_open(lk_py_queue *self)
{
    if (!self->opened) PyErr_SetString(lk_py_error_closed, "the queue is closed");
    return self->opened != NULL;
}

static void end(lk_py_queue *self)
{
    struct lk_py_opened *opened = self->opened;
    if (!opened) return;
    for (lk_py_queue **at = &opened->queues; *at; at = &(*at)->next)
        if (*at == self) {
            *at = self->next;
            break;
        }
    if (opened->pid == getpid()) latchkey_queue_close(self->queue);
    self->queue = NULL;
    self->opened = NULL;
    lk_py_release(opened);
}

static int queue_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"handle", NULL};
    lk_py_queue *self = (lk_py_queue *)object;
    PyObject *handle;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!:Queue", names, lk_py_handle_type, &handle)) return -1;
    if (self->handle) return PyErr_SetString(PyExc_TypeError, "a queue is opened once"), -1;
    self->handle = (lk_py_handle *)Py_NewRef(handle);
    int status;
    char why[LK_PY_LINE];
    /* This opens the handle in a forked child, where that did not happen yet. */
    LK_PY_BLOCKING(self->handle, status, why, latchkey_queue_own(lk) ? LATCHKEY_OK : LATCHKEY_FORKED);
    if (status == LK_PY_NO_HANDLE) return -1;
    struct lk_py_opened *opened = self->handle->now;
    if (!opened) return PyErr_SetString(lk_py_error_closed, "the handle is closed"), -1;
    self->queue = latchkey_queue_open(opened->lk);
    if (!self->queue) {
        latchkey_error_text(opened->lk, why, sizeof why);
        return (void)lk_py_fail(LATCHKEY_UNAVAILABLE, why), -1;
    }
    opened->refs++;
    self->opened = opened;
    self->next = opened->queues;
    opened->queues = self;
    return 0;
}

static void queue_dealloc(PyObject *object)
{
    lk_py_queue *self = (lk_py_queue *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    end(self);
    Py_CLEAR(self->handle);
    freefunc release = PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static int queue_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((lk_py_queue *)object)->handle);
    return 0;
}

static int queue_clear(PyObject *object)
{
    lk_py_queue *self = (lk_py_queue *)object;
    end(self);
    Py_CLEAR(self->handle);
    return 0;
}

static PyObject *queue_close(PyObject *object, PyObject *unused)
{
    (void)unused;
    end((lk_py_queue *)object);
    Py_RETURN_NONE;
}

static PyObject *get_fd(PyObject *object, void *unused)
{
    (void)unused;
    lk_py_queue *self = (lk_py_queue *)object;
    if (!is_open(self)) return NULL;
    int fd = latchkey_queue_fd(self->queue);
    return fd < 0 ? lk_py_fail(fd, "") : PyLong_FromLong(fd);
}

static PyObject *get_closed(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(!((lk_py_queue *)object)->opened);
}

/* submit(tag, kind, args, kwargs): AGAIN where reap will give the answer; else the answer is there already. */
static PyObject *submit(PyObject *object, PyObject *all)
{
    lk_py_queue *self = (lk_py_queue *)object;
    unsigned long long tag;
    int kind;
    PyObject *args, *kwargs, *answer = NULL;
    struct lk_py_call call;
    if (!PyArg_ParseTuple(all, "KiO!O!:submit", &tag, &kind, &PyTuple_Type, &args, &PyDict_Type, &kwargs) ||
        !is_open(self))
        return NULL;
    if (lk_py_parse(&call, kind, args, kwargs) && is_open(self)) {
        call.request.tag = tag;
        call.result.kind = kind;
        call.result.status = latchkey_queue_submit(self->queue, &call.request);
        if (call.result.status < 0) latchkey_error_text(self->opened->lk, call.why, sizeof call.why);
        answer = call.result.status == LATCHKEY_OK ? Py_NewRef(lk_py_again) : lk_py_answer(&call.result, call.why);
    }
    lk_py_call_clear(&call);
    return answer;
}

/* The pair (tag, answer); where the answer is an error, (tag, error, True). */
static PyObject *reaped(latchkey_result *result)
{
    PyObject *answer = lk_py_answer(result, "");
    memset(result->token, 0, sizeof result->token);
    if (answer) return Py_BuildValue("(KN)", (unsigned long long)result->tag, answer);
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    Py_XDECREF(type);
    Py_XDECREF(trace);
    return value ? Py_BuildValue("(KNO)", (unsigned long long)result->tag, value, Py_True) : NULL;
}

/* reap(): a list of what is answered, as `reaped` says. */
static PyObject *reap(PyObject *object, PyObject *unused)
{
    (void)unused;
    lk_py_queue *self = (lk_py_queue *)object;
    latchkey_result results[REAPED_AT_ONCE];
    size_t count = REAPED_AT_ONCE;
    if (!is_open(self)) return NULL;
    PyObject *list = PyList_New(0);
    while (list && self->queue && count == REAPED_AT_ONCE) {
        count = latchkey_queue_reap(self->queue, results, sizeof *results, REAPED_AT_ONCE);
        for (size_t i = 0; i < count; i++) {
            PyObject *one = list ? reaped(&results[i]) : NULL;
            if (!list) latchkey_record_free(results[i].record);
            if (list && (!one || PyList_Append(list, one))) Py_CLEAR(list);
            Py_XDECREF(one);
        }
    }
    return list;
}

static PyGetSetDef members[] = {{"fd", get_fd, NULL, "Readable when there is something to reap.", NULL},
                                {"closed", get_closed, NULL, "Was it closed, or its handle?", NULL},
                                {NULL, NULL, NULL, NULL, NULL}};

static PyMethodDef methods[] = {
    {"submit", submit, METH_VARARGS, "submit(tag, kind, args, kwargs)"},
    {"reap", reap, METH_NOARGS, "reap()\n--\n\nA list of (tag, answer) and (tag, error, True)."},
    {"close", queue_close, METH_NOARGS, "What is outstanding is not answered."},
    {NULL, NULL, 0, NULL}};

static PyType_Slot slots[] = {{Py_tp_doc, "Requests without waiting, for one event loop. See latchkey.aio."},
                              {Py_tp_init, queue_init},
                              {Py_tp_dealloc, queue_dealloc},
                              {Py_tp_traverse, queue_traverse},
                              {Py_tp_clear, queue_clear},
                              {Py_tp_getset, members},
                              {Py_tp_methods, methods},
                              {0, NULL}};

PyType_Spec lk_py_queue_spec = {"latchkey._latchkey.Queue", sizeof(lk_py_queue), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};

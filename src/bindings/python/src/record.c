/* SPDX-License-Identifier: MIT
 *
 * Record: what Redis holds of a session, as a mapping from the names of its fields to their bytes.
 */
#include "latchkey_py.h"

typedef struct {
    PyObject_HEAD latchkey_record *record;
} record_object;

PyTypeObject *lk_py_record_type;

#define RECORD(self) (((record_object *)(self))->record)

PyObject *lk_py_record_new(latchkey_record *record)
{
    record_object *self = PyObject_New(record_object, lk_py_record_type);
    if (self) self->record = record;
    else latchkey_record_free(record);
    return (PyObject *)self;
}

uint64_t lk_py_record_version(PyObject *record, const char *name)
{
    return latchkey_record_version(RECORD(record), name);
}

static void dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    latchkey_record_free(RECORD(self));
    PyObject_Free(self);
    Py_DECREF(type);
}

static Py_ssize_t length(PyObject *self)
{
    size_t count = 0;
    while (latchkey_record_field_name(RECORD(self), count)) count++;
    return (Py_ssize_t)count;
}

/* The field's bytes in the record; NULL without an error where there is none. No field has a name with a NUL in it. */
static const void *find(PyObject *self, PyObject *name, size_t *size)
{
    Py_ssize_t length = 0;
    const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8AndSize(name, &length) : NULL;
    if (!text) PyErr_Clear();
    return text && strlen(text) == (size_t)length ? latchkey_record_field(RECORD(self), text, size) : NULL;
}

static PyObject *field(PyObject *self, PyObject *name)
{
    size_t size;
    const void *data = find(self, name, &size);
    return data ? PyBytes_FromStringAndSize(data, (Py_ssize_t)size) : NULL;
}

static PyObject *subscript(PyObject *self, PyObject *name)
{
    PyObject *value = field(self, name);
    if (!value && !PyErr_Occurred()) PyErr_SetObject(PyExc_KeyError, name);
    return value;
}

static PyObject *get(PyObject *self, PyObject *args)
{
    PyObject *name, *otherwise = Py_None;
    if (!PyArg_ParseTuple(args, "O|O:get", &name, &otherwise)) return NULL;
    PyObject *value = field(self, name);
    if (value || PyErr_Occurred()) return value;
    return Py_NewRef(otherwise);
}

static int contains(PyObject *self, PyObject *name) { return find(self, name, NULL) != NULL; }

static PyObject *keys(PyObject *self, PyObject *unused)
{
    (void)unused;
    PyObject *list = PyList_New(0);
    const char *name;
    for (size_t i = 0; list && (name = latchkey_record_field_name(RECORD(self), i)); i++) {
        PyObject *text = PyUnicode_FromString(name);
        if (!text || PyList_Append(list, text)) Py_CLEAR(list);
        Py_XDECREF(text);
    }
    return list;
}

static PyObject *iterate(PyObject *self)
{
    PyObject *list = keys(self, NULL);
    PyObject *iterator = list ? PyObject_GetIter(list) : NULL;
    Py_XDECREF(list);
    return iterator;
}

static PyObject *get_entry(PyObject *self, void *unused)
{
    (void)unused;
    return lk_py_entry_new(latchkey_record_entry(RECORD(self)));
}

static PyObject *to_text(PyObject *self)
{
    return PyUnicode_FromFormat("<latchkey.Record user_id=%llu fields=%zd>",
                                (unsigned long long)latchkey_record_entry(RECORD(self))->user_id, length(self));
}

static PyGetSetDef members[] = {{"entry", get_entry, NULL, "The session's entry.", NULL},
                                {NULL, NULL, NULL, NULL, NULL}};

static PyMethodDef methods[] = {{"get", get, METH_VARARGS, "The bytes of a field, or `default`."},
                                {"keys", keys, METH_NOARGS, "The names of the fields, in no order."},
                                {NULL, NULL, 0, NULL}};

static PyType_Slot slots[] = {{Py_tp_doc, "What Redis holds of a session: field names and their bytes."},
                              {Py_tp_dealloc, dealloc},
                              {Py_tp_getset, members},
                              {Py_tp_methods, methods},
                              {Py_tp_repr, to_text},
                              {Py_tp_iter, iterate},
                              {Py_mp_length, length},
                              {Py_mp_subscript, subscript},
                              {Py_sq_contains, contains},
                              {0, NULL}};

PyType_Spec lk_py_record_spec = {"latchkey.Record", sizeof(record_object), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

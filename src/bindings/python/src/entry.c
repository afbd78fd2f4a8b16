/* SPDX-License-Identifier: MIT
 *
 * Entry: whose session it is. The 120 bytes of latchkey_entry are copied, and decoded when a member is read.
 */
#include "latchkey_py.h"

typedef struct {
    PyObject_HEAD latchkey_entry entry;
} entry_object;

PyTypeObject *lk_py_entry_type;

#define ENTRY(self) (&((entry_object *)(self))->entry)

PyObject *lk_py_entry_new(const latchkey_entry *entry)
{
    entry_object *self = PyObject_New(entry_object, lk_py_entry_type);
    if (self) memcpy(&self->entry, entry, sizeof *entry);
    return (PyObject *)self;
}

static void dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *get_role(PyObject *self, void *unused)
{
    (void)unused;
    const char *role = ENTRY(self)->role;
    return PyUnicode_DecodeUTF8(role, (Py_ssize_t)strnlen(role, sizeof ENTRY(self)->role), "replace");
}

static PyObject *get_hash(PyObject *self, void *offset)
{
    return PyBytes_FromStringAndSize((const char *)ENTRY(self) + (size_t)offset, 32);
}

static PyObject *get_flag(PyObject *self, void *flag)
{
    return PyBool_FromLong((ENTRY(self)->flags & (uint32_t)(uintptr_t)flag) != 0);
}

static PyObject *get_flags(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(ENTRY(self)->flags & LATCHKEY_FLAGS_YOURS);
}

static PyObject *get_user_id(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(ENTRY(self)->user_id);
}

static PyObject *get_time(PyObject *self, void *offset)
{
    int64_t time;
    memcpy(&time, (const char *)ENTRY(self) + (size_t)offset, sizeof time);
    return PyLong_FromLongLong(time);
}

static PyObject *get_device(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(ENTRY(self)->device);
}

static PyObject *to_bytes(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBytes_FromStringAndSize((const char *)ENTRY(self), sizeof *ENTRY(self));
}

static PyObject *to_text(PyObject *self)
{
    PyObject *role = get_role(self, NULL);
    if (!role) return NULL;
    PyObject *text = PyUnicode_FromFormat("<latchkey.Entry user_id=%llu role=%R device=%u%s%s>",
                                          (unsigned long long)ENTRY(self)->user_id, role, ENTRY(self)->device,
                                          ENTRY(self)->flags & LATCHKEY_FLAG_STALE ? " stale" : "",
                                          ENTRY(self)->flags & LATCHKEY_FLAG_RENEW ? " renew" : "");
    Py_DECREF(role);
    return text;
}

static PyObject *compare(PyObject *self, PyObject *other, int how)
{
    if (Py_TYPE(other) != lk_py_entry_type || (how != Py_EQ && how != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
    bool equal = memcmp(ENTRY(self), ENTRY(other), sizeof *ENTRY(self)) == 0;
    return PyBool_FromLong(equal == (how == Py_EQ));
}

static Py_hash_t hash(PyObject *self)
{
    Py_hash_t value = (Py_hash_t)(ENTRY(self)->user_id * 0x9e3779b97f4a7c15u ^ (uint64_t)ENTRY(self)->created_at_ms);
    return value == -1 ? -2 : value;
}

#define AT(member) ((void *)offsetof(latchkey_entry, member))

static PyGetSetDef members[] = {
    {"user_id", get_user_id, NULL, "The number of the user.", NULL},
    {"role", get_role, NULL, "The role, at most 16 bytes.", NULL},
    {"permissions_hash", get_hash, NULL, "32 bytes of the application.", AT(permissions_hash)},
    {"pq_key_hash", get_hash, NULL,
     "The hash of the session's key material; zeros where the session has no key material.", AT(pq_key_hash)},
    {"expires_at_ms", get_time, NULL, "The absolute expiry, Unix milliseconds.", AT(expires_at_ms)},
    {"created_at_ms", get_time, NULL, "When the session was made, Unix milliseconds.", AT(created_at_ms)},
    {"auth_at_ms", get_time, NULL, "When the user last proved who they are, Unix milliseconds.", AT(auth_at_ms)},
    {"device", get_device, NULL, "The application's class of device.", NULL},
    {"flags", get_flags, NULL, "The 16 bits of the application.", NULL},
    {"stale", get_flag, NULL, "Answered while Redis is lost, under grace_ms.", (void *)(uintptr_t)LATCHKEY_FLAG_STALE},
    {"renew", get_flag, NULL, "The token is old: rotate it, and send the new one.",
     (void *)(uintptr_t)LATCHKEY_FLAG_RENEW},
    {NULL, NULL, NULL, NULL, NULL}};

static PyMethodDef methods[] = {{"__bytes__", to_bytes, METH_NOARGS, "The 120 bytes of latchkey_entry."},
                                {NULL, NULL, 0, NULL}};

static PyType_Slot slots[] = {{Py_tp_doc, "Whose session it is. Immutable. Times are those of Redis."},
                              {Py_tp_dealloc, dealloc},
                              {Py_tp_getset, members},
                              {Py_tp_methods, methods},
                              {Py_tp_repr, to_text},
                              {Py_tp_richcompare, compare},
                              {Py_tp_hash, hash},
                              {0, NULL}};

PyType_Spec lk_py_entry_spec = {"latchkey.Entry", sizeof(entry_object), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

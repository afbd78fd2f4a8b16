/* SPDX-License-Identifier: MIT
 *
 * latchkey._latchkey: types, errors, constants, and the functions that need no handle.
 */
#include "latchkey_py.h"

PyObject *lk_py_again, *lk_py_error_closed;

/* --------------------------------------------------------------------------------------------------- errors -- */

static PyObject *error, *unavailable, *pending, *corrupt, *config_error, *limit, *refused;

static PyObject *class_of(int status)
{
    switch (status) {
    case LATCHKEY_BAD_ARGUMENT:
    case LATCHKEY_MALFORMED: return PyExc_ValueError;
    case LATCHKEY_NO_MEMORY: return PyExc_MemoryError;
    case LATCHKEY_UNAVAILABLE:
    case LATCHKEY_FORKED: return unavailable;
    case LATCHKEY_PENDING: return pending;
    case LATCHKEY_CORRUPT: return corrupt;
    case LATCHKEY_CONFIG: return config_error;
    case LATCHKEY_LIMIT: return limit;
    case LATCHKEY_REFUSED: return refused;
    default: return error;
    }
}

/* Raises what a status means; `why` are the words of the library, or "". Always NULL. */
PyObject *lk_py_fail(int status, const char *why)
{
    PyObject *class = class_of(status);
    const char *text = latchkey_status_text(status);
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(text, ":"), text);
    PyObject *words = *why ? PyUnicode_FromFormat("%s: %s", name, why) : PyUnicode_FromString(text);
    PyObject *raised = words ? PyObject_CallFunctionObjArgs(class, words, NULL) : NULL;
    PyObject *number = PyLong_FromLong(status);
    if (raised && number && PyObject_SetAttrString(raised, "status", number) == 0) PyErr_SetObject(class, raised);
    Py_XDECREF(number);
    Py_XDECREF(raised);
    Py_XDECREF(words);
    return NULL;
}

static bool make_error(PyObject *module, PyObject **class, const char *name, PyObject *base, const char *text)
{
    char full[64];
    snprintf(full, sizeof full, "latchkey.%s", name);
    *class = PyErr_NewExceptionWithDoc(full, text, base, NULL);
    return *class && PyModule_AddObjectRef(module, name, *class) == 0;
}

static bool make_errors(PyObject *module)
{
    if (!make_error(module, &error, "Error", NULL,
                    "The base of all errors of latchkey. `status` is the library's number.") ||
        !make_error(module, &unavailable, "Unavailable", error,
                    "There was no answer: neither yes nor no. Answer 503, and leave the cookie alone.") ||
        !make_error(module, &pending, "Pending", unavailable,
                    "revoke: denied on this handle from now on; Redis did not confirm it, and is being retried.") ||
        !make_error(module, &corrupt, "Corrupt", unavailable, "What Redis holds is not a record of this session.") ||
        !make_error(module, &lk_py_error_closed, "Closed", unavailable, "The handle was closed.") ||
        !make_error(module, &limit, "LimitReached", error, "create: the user has as many sessions as are allowed.") ||
        !make_error(module, &refused, "Refused", error,
                    "create: the user's generation moved, or the name is another user's."))
        return false;
    PyObject *bases = PyTuple_Pack(2, error, PyExc_ValueError);
    bool good = bases && make_error(module, &config_error, "ConfigError", bases,
                                    "The configuration, or the server that it names, cannot be used as it is.");
    Py_XDECREF(bases);
    return good;
}

/* ------------------------------------------------------------------------------------------------- functions -- */

static PyObject *user_id(PyObject *module, PyObject *name)
{
    (void)module;
    struct lk_py_call call = {0};
    if (PyLong_Check(name)) return PyErr_SetString(PyExc_TypeError, "a name is str or bytes"), NULL;
    PyObject *number = lk_py_user(&call, name) ? PyLong_FromUnsignedLongLong(call.draft.user_id) : NULL;
    lk_py_call_clear(&call);
    return number;
}

static PyObject *key_hash(PyObject *module, PyObject *mapping)
{
    (void)module;
    struct lk_py_call call = {0};
    uint8_t hash[32];
    PyObject *bytes = NULL;
    if (lk_py_fields(&call, mapping)) {
        int status = latchkey_key_hash(call.request.fields, call.request.count, hash);
        bytes = status == LATCHKEY_OK ? PyBytes_FromStringAndSize((char *)hash, sizeof hash) : lk_py_fail(status, "");
    }
    lk_py_call_clear(&call);
    return bytes;
}

static PyObject *check_config(PyObject *module, PyObject *args)
{
    (void)module;
    const char *config;
    char why[LK_PY_LINE] = "";
    if (!PyArg_ParseTuple(args, "s:check_config", &config)) return NULL;
    int status = latchkey_check_config(config, why, sizeof why);
    if (status != LATCHKEY_OK) return lk_py_fail(status, why);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"user_id", user_id, METH_O, "user_id(name)\n--\n\nThe number that stands for a user's name."},
    {"key_hash", key_hash, METH_O, "key_hash(fields)\n--\n\nThe hash that binds key material to an entry."},
    {"check_config", check_config, METH_VARARGS,
     "check_config(config)\n--\n\nRaises ConfigError, and connects nowhere."},
    {NULL, NULL, 0, NULL}};

/* ---------------------------------------------------------------------------------------------------- module -- */

static PyStructSequence_Field session_fields[] = {{"selector", "names the session; it is no secret"},
                                                  {"created_at_ms", NULL},
                                                  {"auth_at_ms", NULL},
                                                  {"active_at_ms", "last used"},
                                                  {"idle_expires_at_ms", "when it ends if it is not used"},
                                                  {"expires_at_ms", NULL},
                                                  {"device", NULL},
                                                  {"flags", NULL},
                                                  {"current", "is it that of the token that was given?"},
                                                  {NULL, NULL}};
static PyStructSequence_Desc session_desc = {"latchkey.Session", "One of a user's sessions.", session_fields, 9};

static bool make_type(PyObject *module, PyTypeObject **type, PyType_Spec *spec)
{
    *type = (PyTypeObject *)PyType_FromSpec(spec);
    return *type && PyModule_AddType(module, *type) == 0;
}

static bool make_constants(PyObject *module)
{
    static const struct {
        const char *name;
        int value;
    } kinds[] = {{"VALIDATE", LATCHKEY_VALIDATE},
                 {"CREATE", LATCHKEY_CREATE},
                 {"REVOKE", LATCHKEY_REVOKE},
                 {"ROTATE", LATCHKEY_ROTATE},
                 {"TOUCH", LATCHKEY_TOUCH},
                 {"GET_FIELDS", LATCHKEY_GET_FIELDS},
                 {"CHANGE_FIELDS", LATCHKEY_CHANGE_FIELDS},
                 {"SET_FIELDS", LATCHKEY_SET_FIELDS},
                 {"LOAD", LATCHKEY_LOAD},
                 {"SET_ACCESS", LATCHKEY_SET_ACCESS},
                 {"REVOKE_USER", LATCHKEY_REVOKE_USER}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (PyModule_AddIntConstant(module, kinds[i].name, kinds[i].value)) return false;
    return PyModule_AddStringConstant(module, "LIBRARY_VERSION", latchkey_version()) == 0;
}

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "latchkey._latchkey", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__latchkey(void)
{
    /* The layouts are those of the header; a library that is older than it has smaller ones. */
    if (latchkey_entry_size() != sizeof(latchkey_entry) || latchkey_token_size() != LATCHKEY_TOKEN_SIZE ||
        latchkey_result_size() < sizeof(latchkey_result) || latchkey_stats_size() < sizeof(latchkey_stats))
        return PyErr_Format(PyExc_ImportError, "the installed liblatchkey, %s, is older than this binding",
                            latchkey_version());
    PyObject *module = PyModule_Create(&definition);
    if (!module) return NULL;
    lk_py_again = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type);
    lk_py_session_type = PyStructSequence_NewType(&session_desc);
    if (lk_py_again && PyModule_AddObjectRef(module, "AGAIN", lk_py_again) == 0 && lk_py_session_type &&
        PyModule_AddType(module, lk_py_session_type) == 0 && make_errors(module) && lk_py_handle_methods() &&
        make_type(module, &lk_py_entry_type, &lk_py_entry_spec) &&
        make_type(module, &lk_py_record_type, &lk_py_record_spec) &&
        make_type(module, &lk_py_handle_type, &lk_py_handle_spec)) {
        PyTypeObject *queue;
        if (make_type(module, &queue, &lk_py_queue_spec) && make_constants(module)) return module;
    }
    Py_DECREF(module);
    return NULL;
}

/* SPDX-License-Identifier: MIT
 *
 * Each kind of request once: how its arguments are read, which call of the library it is, and what its result is in Python. Handle
 * has the blocking form, Queue the one that does not wait.
 */
#include "latchkey_py.h"

/* ---------------------------------------------------------------------------------------------- arguments -- */

/* A client may send anything: what cannot be text is a token that does not exist, and so is None. */
bool lk_py_text(PyObject *object, const char **text, size_t *size)
{
    Py_ssize_t length = 0;
    char *bytes = NULL;
    if (PyUnicode_Check(object)) {
        *text = PyUnicode_AsUTF8AndSize(object, &length);
        if (!*text) PyErr_Clear();
    } else if (PyBytes_Check(object)) {
        if (PyBytes_AsStringAndSize(object, &bytes, &length)) return false;
        *text = bytes;
    } else if (object == Py_None) {
        *text = NULL;
    } else {
        return PyErr_Format(PyExc_TypeError, "a token is str, bytes or None, not %R", Py_TYPE(object)), false;
    }
    if (!*text) *text = "", length = 0;
    *size = (size_t)length;
    return true;
}

bool lk_py_number(PyObject *object, const char *name, uint64_t max, uint64_t *number)
{
    if (!PyLong_Check(object))
        return PyErr_Format(PyExc_TypeError, "%s is a number, not %R", name, Py_TYPE(object)), false;
    *number = PyLong_AsUnsignedLongLong(object);
    bool fits = !PyErr_Occurred() && *number <= max;
    if (!fits) PyErr_Format(PyExc_ValueError, "%s is not a number from 0 to %llu", name, (unsigned long long)max);
    return fits;
}

static bool hold(struct lk_py_call *call, PyObject *object)
{
    if (!call->held) call->held = PyList_New(0);
    return call->held && PyList_Append(call->held, object) == 0;
}

/* A string for the library, without a NUL in it. NULL where it is none, with an error. */
static const char *string(struct lk_py_call *call, PyObject *object, const char *name)
{
    Py_ssize_t size;
    if (!PyUnicode_Check(object))
        return PyErr_Format(PyExc_TypeError, "%s is str, not %R", name, Py_TYPE(object)), NULL;
    const char *text = PyUnicode_AsUTF8AndSize(object, &size);
    if (text && strlen(text) != (size_t)size) return PyErr_Format(PyExc_ValueError, "%s holds a NUL", name), NULL;
    return text && hold(call, object) ? text : NULL;
}

/* The bytes of a value; of what is like bytes, a copy. */
static bool bytes(struct lk_py_call *call, PyObject *value, const char *name, const void **data, size_t *size)
{
    PyObject *view = PyMemoryView_FromObject(value); /* without it a list of numbers would be bytes too */
    if (!view) return PyErr_Format(PyExc_TypeError, "%s is bytes, not %R", name, Py_TYPE(value)), false;
    PyObject *copy = PyBytes_Check(value) ? Py_NewRef(value) : PyBytes_FromObject(view);
    Py_DECREF(view);
    char *start = NULL;
    Py_ssize_t length = 0;
    bool good = copy && hold(call, copy) && PyBytes_AsStringAndSize(copy, &start, &length) == 0;
    Py_XDECREF(copy);
    *data = start;
    *size = (size_t)length;
    return good;
}

static bool hash32(struct lk_py_call *call, PyObject *value, const void **data)
{
    size_t size;
    if (!bytes(call, value, "permissions_hash", data, &size)) return false;
    if (size != 32) PyErr_SetString(PyExc_ValueError, "permissions_hash has 32 bytes");
    return size == 32;
}

static bool token(struct lk_py_call *call, PyObject *object)
{
    return hold(call, object) && lk_py_text(object, &call->request.token, &call->request.token_len);
}

/* A user is a number, or a name (str or bytes). */
bool lk_py_user(struct lk_py_call *call, PyObject *user)
{
    if (PyLong_Check(user)) {
        if (!lk_py_number(user, "user", UINT64_MAX, &call->draft.user_id)) return false;
    } else {
        const char *name = PyUnicode_Check(user) ? string(call, user, "user") : NULL;
        const void *data = name;
        size_t size = name ? strlen(name) : 0;
        if (!name && (PyErr_Occurred() || !bytes(call, user, "user", &data, &size))) {
            if (PyErr_ExceptionMatches(PyExc_TypeError))
                PyErr_Format(PyExc_TypeError, "user is int, str or bytes, not %R", Py_TYPE(user));
            return false;
        }
        if (!size) return PyErr_SetString(PyExc_ValueError, "user is an empty name"), false;
        call->draft.user_name = data;
        call->draft.user_name_size = size;
        call->draft.user_id = latchkey_user_id(data, size);
    }
    call->request.user_id = call->draft.user_id;
    return true;
}

/* The items of a mapping from names to bytes; each is put into the array by `put`. */
static bool items(struct lk_py_call *call, PyObject *mapping, size_t item_size,
                  bool (*put)(void *item, PyObject *record, const char *name, const void *data, size_t size),
                  PyObject *record)
{
    PyObject *list = PyMapping_Items(mapping);
    if (!list) return false;
    Py_ssize_t count = PyList_Size(list);
    bool good = hold(call, list);
    call->array = calloc(count ? (size_t)count : 1, item_size);
    if (!call->array) good = false, PyErr_NoMemory();
    for (Py_ssize_t i = 0; good && i < count; i++) {
        PyObject *name, *value;
        const void *data = NULL;
        size_t size = 0;
        good = PyArg_ParseTuple(PyList_GetItem(list, i), "OO", &name, &value);
        const char *text = good ? string(call, name, "the name of a field") : NULL;
        good = text && (value == Py_None || bytes(call, value, text, &data, &size)) &&
               put((char *)call->array + (size_t)i * item_size, record, text, data, size);
    }
    call->request.count = (size_t)count;
    Py_DECREF(list);
    return good;
}

static bool put_field(void *item, PyObject *record, const char *name, const void *data, size_t size)
{
    (void)record;
    *(latchkey_field *)item = (latchkey_field){name, data, size};
    return true;
}

static bool put_change(void *item, PyObject *record, const char *name, const void *data, size_t size)
{
    *(latchkey_change *)item = (latchkey_change){name, data, size, lk_py_record_version(record, name)};
    return true;
}

bool lk_py_fields(struct lk_py_call *call, PyObject *mapping)
{
    bool good = items(call, mapping, sizeof(latchkey_field), put_field, NULL);
    call->request.fields = call->array;
    return good;
}

bool lk_py_access(struct lk_py_call *call, PyObject *role, PyObject *permissions, PyObject *flags, PyObject *mask,
                  int authenticated)
{
    latchkey_access *access = &call->access;
    uint64_t number = 0;
    const void *data = NULL;
    *access = (latchkey_access){.size = sizeof *access, .authenticated = authenticated};
    if (role && role != Py_None && !(access->role = string(call, role, "role"))) return false;
    if (permissions && permissions != Py_None && !hash32(call, permissions, &data)) return false;
    access->permissions_hash = data;
    if (flags && flags != Py_None) {
        if (!lk_py_number(flags, "flags", LATCHKEY_FLAGS_YOURS, &number)) return false;
        access->flags = (uint32_t)number;
        access->flags_mask = LATCHKEY_FLAGS_YOURS;
    }
    if (mask && mask != Py_None) {
        if (!lk_py_number(mask, "flags_mask", LATCHKEY_FLAGS_YOURS, &number)) return false;
        access->flags_mask = (uint32_t)number;
    }
    return true;
}

static bool parse_create(struct lk_py_call *call, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"user",        "role",       "permissions_hash", "device", "flags", "idle_ms",
                            "lifetime_ms", "generation", "fields",           "token",  NULL};
    PyObject *user, *role = NULL, *permissions = NULL, *device = NULL, *flags = NULL, *idle = NULL, *lifetime = NULL;
    PyObject *generation = NULL, *fields = NULL, *own = NULL;
    latchkey_draft *draft = &call->draft;
    uint64_t number[4] = {0};
    const void *hash = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O$OOOOOOOO:create", names, &user, &role, &permissions, &device,
                                     &flags, &idle, &lifetime, &generation, &fields, &own) ||
        !lk_py_user(call, user) || (role && !(draft->role = string(call, role, "role"))) ||
        (permissions && permissions != Py_None && !hash32(call, permissions, &hash)) ||
        (device && !lk_py_number(device, "device", UINT32_MAX, &number[0])) ||
        (flags && !lk_py_number(flags, "flags", LATCHKEY_FLAGS_YOURS, &number[1])) ||
        (idle && !lk_py_number(idle, "idle_ms", INT64_MAX, &number[2])) ||
        (lifetime && !lk_py_number(lifetime, "lifetime_ms", INT64_MAX, &number[3])) ||
        (generation && !lk_py_number(generation, "generation", UINT64_MAX, &draft->generation)) ||
        (fields && fields != Py_None && !lk_py_fields(call, fields)) || (own && own != Py_None && !token(call, own)))
        return false;
    if (hash) memcpy(draft->permissions_hash, hash, 32);
    draft->size = sizeof *draft;
    draft->device = (uint32_t)number[0];
    draft->flags = (uint32_t)number[1];
    draft->idle_ms = (int64_t)number[2];
    draft->lifetime_ms = (int64_t)number[3];
    draft->fields = call->array;
    draft->field_count = call->request.count;
    call->request.draft = draft;
    return true;
}

static bool parse_names(struct lk_py_call *call, PyObject *args)
{
    Py_ssize_t count = PyTuple_Size(args);
    if (count < 2) return PyErr_SetString(PyExc_TypeError, "fields(token, name, ...): at least one name"), false;
    const char **array = calloc((size_t)count, sizeof *array);
    if (!array) return (void)PyErr_NoMemory(), false;
    call->array = array;
    for (Py_ssize_t i = 1; i < count; i++)
        if (!(array[i - 1] = string(call, PyTuple_GetItem(args, i), "the name of a field"))) return false;
    call->request.names = array;
    call->request.count = (size_t)count - 1;
    return token(call, PyTuple_GetItem(args, 0));
}

static bool parse_change(struct lk_py_call *call, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"token", "record", "changes", NULL};
    PyObject *text, *record, *changes;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!O:change_fields", names, &text, lk_py_record_type, &record,
                                     &changes) ||
        !token(call, text) || !items(call, changes, sizeof(latchkey_change), put_change, record))
        return false;
    call->request.changes = call->array;
    return true;
}

static bool parse_access(struct lk_py_call *call, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"token", "role", "permissions_hash", "flags", "flags_mask", "authenticated", NULL};
    PyObject *text, *role = NULL, *permissions = NULL, *flags = NULL, *mask = NULL;
    int authenticated = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OOOOp:set_access", names, &text, &role, &permissions, &flags,
                                     &mask, &authenticated))
        return false;
    call->request.access = &call->access;
    return token(call, text) && lk_py_access(call, role, permissions, flags, mask, authenticated);
}

/* Reads the arguments of a kind. Whatever it says, the call is to be cleared. */
bool lk_py_parse(struct lk_py_call *call, int kind, PyObject *args, PyObject *kwargs)
{
    static char *token_names[] = {"token", NULL}, *rotate_names[] = {"token", "grace_ms", NULL};
    static char *fields_names[] = {"token", "changes", NULL}, *user_names[] = {"user", "keep", NULL};
    static char *validate_names[] = {"token", "max_age_ms", NULL};
    latchkey_request *request = &call->request;
    PyObject *text, *other = NULL;
    long long number = -1;
    memset(call, 0, sizeof *call);
    request->size = sizeof *request;
    request->kind = kind;
    switch (kind) {
    case LATCHKEY_VALIDATE:
        if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|L:validate", validate_names, &text, &number)) return false;
        request->fresh = number >= 0;
        request->max_age_ms = number;
        return token(call, text);
    case LATCHKEY_CREATE: return parse_create(call, args, kwargs);
    case LATCHKEY_ROTATE:
        number = 0;
        if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|L:rotate", rotate_names, &text, &number)) return false;
        request->grace_ms = number;
        return token(call, text);
    case LATCHKEY_GET_FIELDS: return parse_names(call, args);
    case LATCHKEY_CHANGE_FIELDS: return parse_change(call, args, kwargs);
    case LATCHKEY_SET_FIELDS:
        return PyArg_ParseTupleAndKeywords(args, kwargs, "OO:set_fields", fields_names, &text, &other) &&
               token(call, text) && lk_py_fields(call, other);
    case LATCHKEY_SET_ACCESS: return parse_access(call, args, kwargs);
    case LATCHKEY_REVOKE_USER:
        return PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:revoke_user", user_names, &text, &other) &&
               lk_py_user(call, text) && (!other || other == Py_None || token(call, other));
    default: return PyArg_ParseTupleAndKeywords(args, kwargs, "O", token_names, &text) && token(call, text);
    }
}

void lk_py_call_clear(struct lk_py_call *call)
{
    Py_CLEAR(call->held);
    free(call->array);
    memset(call->result.token, 0, sizeof call->result.token);
    call->array = NULL;
}

/* -------------------------------------------------------------------------------------- calls and answers -- */

static int run(latchkey *lk, struct lk_py_call *call)
{
    const latchkey_request *r = &call->request;
    latchkey_result *result = &call->result;
    size_t count = 0;
    int status = LATCHKEY_BAD_ARGUMENT;
    switch (r->kind) {
    case LATCHKEY_CREATE:
        status = r->token ? latchkey_create_with(lk, r->draft, r->token, r->token_len)
                          : latchkey_create(lk, r->draft, result->token);
        if (r->token && status == LATCHKEY_OK) memcpy(result->token, r->token, LATCHKEY_TOKEN_LENGTH);
        break;
    case LATCHKEY_REVOKE: return latchkey_revoke(lk, r->token, r->token_len);
    case LATCHKEY_ROTATE: return latchkey_rotate(lk, r->token, r->token_len, r->grace_ms, result->token);
    case LATCHKEY_TOUCH: return latchkey_touch(lk, r->token, r->token_len);
    case LATCHKEY_GET_FIELDS:
        return latchkey_get_fields(lk, r->token, r->token_len, r->names, r->count, &result->record);
    case LATCHKEY_CHANGE_FIELDS: return latchkey_change_fields(lk, r->token, r->token_len, r->changes, r->count);
    case LATCHKEY_SET_FIELDS: return latchkey_set_fields(lk, r->token, r->token_len, r->fields, r->count);
    case LATCHKEY_LOAD: return latchkey_load(lk, r->token, r->token_len, &result->record);
    case LATCHKEY_SET_ACCESS: return latchkey_set_access(lk, r->token, r->token_len, r->access);
    case LATCHKEY_REVOKE_USER:
        status = latchkey_revoke_user(lk, r->user_id, r->token, r->token_len, &count);
        result->count = count;
        break;
    default: break;
    }
    return status;
}

/* What a result is in Python: a "no" is None or False; no answer is raised. The result's record is taken. */
PyObject *lk_py_answer(latchkey_result *result, const char *why)
{
    int status = result->status;
    if (status < 0) return lk_py_fail(status, why);
    switch (result->kind) {
    case LATCHKEY_VALIDATE:
        if (status) Py_RETURN_NONE;
        return lk_py_entry_new(&result->entry);
    case LATCHKEY_CREATE: return status ? lk_py_fail(status, why) : PyUnicode_FromString(result->token);
    case LATCHKEY_ROTATE:
        if (status == LATCHKEY_REFUSED) Py_RETURN_FALSE;
        if (status) Py_RETURN_NONE;
        return PyUnicode_FromString(result->token);
    case LATCHKEY_CHANGE_FIELDS:
        if (status == LATCHKEY_REFUSED) Py_RETURN_FALSE;
        if (status) Py_RETURN_NONE;
        Py_RETURN_TRUE;
    case LATCHKEY_GET_FIELDS:
    case LATCHKEY_LOAD:
        if (status) Py_RETURN_NONE;
        return lk_py_record_new(result->record);
    case LATCHKEY_REVOKE_USER: return status ? lk_py_fail(status, why) : PyLong_FromUnsignedLongLong(result->count);
    default: return PyBool_FromLong(status == LATCHKEY_OK);
    }
}

static PyObject *blocking(PyObject *object, int kind, PyObject *args, PyObject *kwargs)
{
    struct lk_py_call call;
    PyObject *answer = NULL;
    if (lk_py_parse(&call, kind, args, kwargs)) {
        int status;
        LK_PY_BLOCKING((lk_py_handle *)object, status, call.why, run(lk, &call));
        call.result.kind = kind;
        call.result.status = status;
        answer = status == LK_PY_NO_HANDLE ? NULL : lk_py_answer(&call.result, call.why);
    }
    lk_py_call_clear(&call);
    return answer;
}

#define VERB(name, kind)                                                                                               \
    static PyObject *call_##name(PyObject *self, PyObject *args, PyObject *kwargs)                                     \
    {                                                                                                                  \
        return blocking(self, kind, args, kwargs);                                                                     \
    }
VERB(create, LATCHKEY_CREATE)
VERB(revoke, LATCHKEY_REVOKE)
VERB(rotate, LATCHKEY_ROTATE)
VERB(touch, LATCHKEY_TOUCH)
VERB(fields, LATCHKEY_GET_FIELDS)
VERB(change_fields, LATCHKEY_CHANGE_FIELDS)
VERB(set_fields, LATCHKEY_SET_FIELDS)
VERB(load, LATCHKEY_LOAD)
VERB(set_access, LATCHKEY_SET_ACCESS)
VERB(revoke_user, LATCHKEY_REVOKE_USER)

#define METHOD(name, text)                                                                                             \
    {                                                                                                                  \
#name, (PyCFunction)(void (*)(void))call_##name, METH_VARARGS | METH_KEYWORDS, text                            \
    }
PyMethodDef lk_py_verbs[] = {
    METHOD(create, "Makes a session of a user (a number, or a name), and gives its token."),
    METHOD(
        revoke,
        "Ends the session. False: there was nothing to end. Pending: denied here, and Redis did not confirm it yet."),
    METHOD(rotate,
           "Exchanges the token. None: no session. False: exchanged already, go on with the old one for its grace."),
    METHOD(touch, "The session was used now. False: there is no such session."),
    METHOD(fields, "Reads some fields: a Record with these, or None."),
    METHOD(change_fields, "Sets fields if each is as the record has it. False: another was first. None: no session."),
    METHOD(set_fields, "Sets fields, or deletes those that are None. False: no session."),
    METHOD(load, "Reads the whole record: a Record, or None."),
    METHOD(set_access, "Changes role, permissions_hash, flags or the time of the last proof. False: no session."),
    METHOD(revoke_user, "Ends all sessions of a user, but for the one of the token `keep`. Says how many."),
    {NULL, NULL, 0, NULL}};

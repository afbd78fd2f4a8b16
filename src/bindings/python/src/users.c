/* SPDX-License-Identifier: MIT
 *
 * Handle: what concerns a user or everyone, sections, and observation.
 */
#include "latchkey_py.h"

PyTypeObject *lk_py_session_type;

/* The answer of a call that is yes or nothing; raised else. */
static PyObject *yes(int status, const char *why)
{
    if (status == LK_PY_NO_HANDLE) return NULL;
    if (status != LATCHKEY_OK) return lk_py_fail(status, why);
    Py_RETURN_NONE;
}

/* One latchkey_session_info as a named tuple. */
static PyObject *session(const latchkey_session_info *info)
{
    PyObject *made = PyStructSequence_New(lk_py_session_type);
    if (!made) return NULL;
    PyObject *items[] = {PyUnicode_FromString(info->selector),
                         PyLong_FromLongLong(info->created_at_ms),
                         PyLong_FromLongLong(info->auth_at_ms),
                         PyLong_FromLongLong(info->active_at_ms),
                         PyLong_FromLongLong(info->idle_expires_at_ms),
                         PyLong_FromLongLong(info->expires_at_ms),
                         PyLong_FromUnsignedLong(info->device),
                         PyLong_FromUnsignedLong(info->flags),
                         PyBool_FromLong(info->current != 0)};
    bool good = true;
    for (Py_ssize_t i = 0; i < (Py_ssize_t)(sizeof items / sizeof *items); i++) {
        good = good && items[i];
        PyStructSequence_SetItem(made, i, items[i]);
    }
    if (!good) Py_CLEAR(made);
    return made;
}

static PyObject *sessions(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"user", "current", NULL};
    struct lk_py_call call = {0};
    PyObject *user, *current = Py_None, *list = NULL;
    const char *text = NULL;
    size_t size = 0, total = 0;
    int status = LK_PY_NO_HANDLE;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:sessions", names, &user, &current)) return NULL;
    latchkey_session_info *infos = calloc(LATCHKEY_SESSIONS_MAX, sizeof *infos);
    if (!infos) return PyErr_NoMemory();
    if (lk_py_user(&call, user) && (current == Py_None || lk_py_text(current, &text, &size))) {
        LK_PY_BLOCKING((lk_py_handle *)object, status, call.why,
                       latchkey_sessions(lk, call.draft.user_id, text, size, infos, LATCHKEY_SESSIONS_MAX, &total));
        if (status != LATCHKEY_OK) yes(status, call.why);
    }
    if (status == LATCHKEY_OK) {
        if (total > LATCHKEY_SESSIONS_MAX) total = LATCHKEY_SESSIONS_MAX;
        list = PyList_New(0);
        for (size_t i = 0; list && i < total; i++) {
            PyObject *one = session(&infos[i]);
            if (!one || PyList_Append(list, one)) Py_CLEAR(list);
            Py_XDECREF(one);
        }
    }
    lk_py_call_clear(&call);
    free(infos);
    return list;
}

static PyObject *revoke_selector(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"user", "selector", NULL};
    struct lk_py_call call = {0};
    PyObject *user, *answer = NULL;
    const char *selector;
    Py_ssize_t size;
    int status;
    if (PyArg_ParseTupleAndKeywords(args, kwargs, "Os#:revoke_selector", names, &user, &selector, &size) &&
        lk_py_user(&call, user)) {
        char whole[LATCHKEY_SELECTOR_LENGTH] = {0}; /* any other length is a selector that does not exist */
        if (size == LATCHKEY_SELECTOR_LENGTH) memcpy(whole, selector, sizeof whole);
        LK_PY_BLOCKING((lk_py_handle *)object, status, call.why,
                       latchkey_revoke_selector(lk, call.draft.user_id, whole));
        if (status != LK_PY_NO_HANDLE)
            answer = status < 0 ? lk_py_fail(status, call.why) : PyBool_FromLong(status == LATCHKEY_OK);
    }
    lk_py_call_clear(&call);
    return answer;
}

static PyObject *revoke_everyone(PyObject *object, PyObject *unused)
{
    (void)unused;
    char why[LK_PY_LINE];
    int status;
    LK_PY_BLOCKING((lk_py_handle *)object, status, why, latchkey_revoke_everyone(lk));
    return yes(status, why);
}

static PyObject *set_user_access(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"user", "role", "permissions_hash", "flags", "flags_mask", "authenticated", NULL};
    struct lk_py_call call = {0};
    PyObject *user, *role = NULL, *permissions = NULL, *flags = NULL, *mask = NULL, *answer = NULL;
    int status, authenticated = 0;
    size_t changed = 0;
    if (PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OOOOp:set_user_access", names, &user, &role, &permissions, &flags,
                                    &mask, &authenticated) &&
        lk_py_user(&call, user) && lk_py_access(&call, role, permissions, flags, mask, authenticated)) {
        LK_PY_BLOCKING((lk_py_handle *)object, status, call.why,
                       latchkey_set_user_access(lk, call.draft.user_id, &call.access, &changed));
        answer = status == LATCHKEY_OK ? PyLong_FromSize_t(changed) : yes(status, call.why);
    }
    lk_py_call_clear(&call);
    return answer;
}

static PyObject *user_generation(PyObject *object, PyObject *user)
{
    struct lk_py_call call = {0};
    PyObject *answer = NULL;
    uint64_t generation = 0;
    int status;
    if (lk_py_user(&call, user)) {
        LK_PY_BLOCKING((lk_py_handle *)object, status, call.why,
                       latchkey_user_generation(lk, call.draft.user_id, &generation));
        answer = status == LATCHKEY_OK ? PyLong_FromUnsignedLongLong(generation) : yes(status, call.why);
    }
    lk_py_call_clear(&call);
    return answer;
}

static PyObject *token_new(PyObject *object, PyObject *user)
{
    struct lk_py_call call = {0};
    char text[LATCHKEY_TOKEN_SIZE];
    PyObject *answer = NULL;
    int status;
    if (lk_py_user(&call, user)) {
        LK_PY_BLOCKING((lk_py_handle *)object, status, call.why, latchkey_token_new(lk, call.draft.user_id, text));
        answer = status == LATCHKEY_OK ? PyUnicode_FromString(text) : yes(status, call.why);
    }
    lk_py_call_clear(&call);
    return answer;
}

static PyObject *import_session(PyObject *object, PyObject *args, PyObject *kwargs)
{
    /* The first argument is the foreign token, the last two are times; what is between them is a draft. */
    struct lk_py_call call = {0};
    PyObject *answer = NULL, *rest = NULL, *draft = NULL;
    const char *text;
    size_t size;
    long long times[2] = {0, 0};
    static const char *const named[] = {"created_at_ms", "expires_at_ms"};
    int status;
    if (PyTuple_Size(args) < 2)
        return PyErr_SetString(PyExc_TypeError, "import_session(foreign, user, role='', ...)"), NULL;
    draft = PyDict_New();
    if (!draft || (kwargs && PyDict_Update(draft, kwargs))) goto out;
    for (int i = 0; i < 2; i++) {
        PyObject *time = PyDict_GetItemString(draft, named[i]);
        if (!time) continue;
        times[i] = PyLong_AsLongLong(time);
        if (PyErr_Occurred() || PyDict_DelItemString(draft, named[i])) goto out;
    }
    rest = PyTuple_GetSlice(args, 1, PyTuple_Size(args));
    if (!rest || !lk_py_text(PyTuple_GetItem(args, 0), &text, &size) ||
        !lk_py_parse(&call, LATCHKEY_CREATE, rest, draft))
        goto out;
    LK_PY_BLOCKING((lk_py_handle *)object, status, call.why,
                   latchkey_import(lk, text, size, &call.draft, times[0], times[1]));
    if (status == LATCHKEY_OK || status == LATCHKEY_REFUSED) answer = PyBool_FromLong(status == LATCHKEY_OK);
    else yes(status, call.why);
out:
    Py_XDECREF(rest);
    Py_XDECREF(draft);
    lk_py_call_clear(&call);
    return answer;
}

static PyObject *put_section(PyObject *object, PyObject *args)
{
    PyObject *token;
    const char *name, *text, *data;
    Py_ssize_t length;
    size_t size;
    char why[LK_PY_LINE];
    int status;
    if (!PyArg_ParseTuple(args, "Osz#:put_section", &token, &name, &data, &length) || !lk_py_text(token, &text, &size))
        return NULL;
    LK_PY_BLOCKING((lk_py_handle *)object, status, why,
                   latchkey_section_put(lk, text, size, name, data, (size_t)length));
    if (status == LK_PY_NO_HANDLE) return NULL;
    return status < 0 ? lk_py_fail(status, why) : PyBool_FromLong(status == LATCHKEY_OK);
}

static PyObject *section(PyObject *object, PyObject *args)
{
    PyObject *token, *answer = NULL;
    const char *name, *text;
    char why[LK_PY_LINE], *data = NULL;
    size_t size, room = 0, length = 0;
    int status, found = 0;
    if (!PyArg_ParseTuple(args, "Os:section", &token, &name) || !lk_py_text(token, &text, &size)) return NULL;
    do { /* another may write a larger one in between */
        free(data);
        room = length ? length : 4096;
        data = malloc(room);
        if (!data) return PyErr_NoMemory();
        LK_PY_BLOCKING((lk_py_handle *)object, status, why,
                       latchkey_section_get(lk, text, size, name, data, room, &length, &found));
    } while (status == LATCHKEY_NO_MEMORY && found && length > room);
    if (status == LATCHKEY_OK && found) answer = PyBytes_FromStringAndSize(data, (Py_ssize_t)length);
    else if (status >= 0) answer = Py_NewRef(Py_None);
    else yes(status, why);
    free(data);
    return answer;
}

static PyObject *prewarm(PyObject *object, PyObject *number)
{
    uint64_t count;
    size_t loaded = 0;
    char why[LK_PY_LINE];
    int status;
    if (!lk_py_number(number, "count", SIZE_MAX, &count)) return NULL;
    LK_PY_BLOCKING((lk_py_handle *)object, status, why, latchkey_prewarm(lk, count, &loaded));
    return status == LATCHKEY_OK ? PyLong_FromSize_t(loaded) : yes(status, why);
}

/* ------------------------------------------------------------------------------------------- observation -- */

enum sort { COUNT, SIGNED, REAL };
#define COUNTER(name)                                                                                                  \
    {                                                                                                                  \
#name, offsetof(latchkey_stats, name), COUNT                                                                   \
    }
static const struct {
    const char *name;
    size_t offset;
    enum sort sort;
} counters[] = {
    COUNTER(validates),
    COUNTER(l1_hits),
    COUNTER(l1_misses),
    COUNTER(malformed),
    COUNTER(l2_reads),
    COUNTER(l2_writes),
    COUNTER(l2_errors),
    COUNTER(joined),
    COUNTER(fills),
    COUNTER(fills_refused),
    COUNTER(evictions),
    COUNTER(purges),
    COUNTER(empties),
    COUNTER(missed),
    COUNTER(reconnects),
    COUNTER(touches),
    COUNTER(touches_dropped),
    COUNTER(beats),
    COUNTER(lapses),
    COUNTER(corrupt),
    COUNTER(pending),
    COUNTER(l1_entries),
    COUNTER(l1_capacity),
    COUNTER(l1_bytes),
    COUNTER(connected),
    COUNTER(revocations_heard),
    COUNTER(session_size_p50_bytes),
    COUNTER(session_size_p99_bytes),
    COUNTER(replayed),
    COUNTER(stale),
    COUNTER(audited),
    COUNTER(audit_suspicions),
    COUNTER(audit_disagreements),
    COUNTER(shed),
    COUNTER(retries),
    COUNTER(dead_refused),
    COUNTER(refreshes),
    COUNTER(refreshes_dropped),
    COUNTER(reuses),
    COUNTER(foreign_reads),
    COUNTER(foreign_unknown),
    COUNTER(section_reads),
    COUNTER(section_writes),
    COUNTER(section_size_p50_bytes),
    COUNTER(section_size_p99_bytes),
    {"lease_age_ms", offsetof(latchkey_stats, lease_age_ms), SIGNED},
    {"hit_rate", offsetof(latchkey_stats, hit_rate), REAL},
    {"l2_read_amplification", offsetof(latchkey_stats, l2_read_amplification), REAL},
    {"revocation_p50_ms", offsetof(latchkey_stats, revocation_p50_ms), REAL},
    {"revocation_p99_ms", offsetof(latchkey_stats, revocation_p99_ms), REAL},
    {"l2_read_p50_ms", offsetof(latchkey_stats, l2_read_p50_ms), REAL},
    {"l2_read_p99_ms", offsetof(latchkey_stats, l2_read_p99_ms), REAL},
};

static PyObject *stats(PyObject *object, PyObject *unused)
{
    (void)unused;
    latchkey_stats read;
    char why[LK_PY_LINE];
    int status;
    LK_PY_BLOCKING((lk_py_handle *)object, status, why, latchkey_stats_read(lk, &read, sizeof read));
    if (status != LATCHKEY_OK) return yes(status, why);
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && i < sizeof counters / sizeof *counters; i++) {
        const char *at = (const char *)&read + counters[i].offset;
        PyObject *value = counters[i].sort == COUNT    ? PyLong_FromUnsignedLongLong(*(const uint64_t *)at)
                          : counters[i].sort == SIGNED ? PyLong_FromLongLong(*(const int64_t *)at)
                                                       : PyFloat_FromDouble(*(const double *)at);
        if (!value || PyDict_SetItemString(dict, counters[i].name, value)) Py_CLEAR(dict);
        Py_XDECREF(value);
    }
    PyObject *error = dict ? PyUnicode_FromString(read.last_error) : NULL;
    if (dict && (!error || PyDict_SetItemString(dict, "last_error", error))) Py_CLEAR(dict);
    Py_XDECREF(error);
    return dict;
}

static PyObject *metrics(PyObject *object, PyObject *unused)
{
    (void)unused;
    size_t room = 16384, needed = 0;
    char why[LK_PY_LINE], *text = NULL;
    int status;
    do { /* the text may grow by a digit in between */
        free(text);
        if (needed > room) room = needed + 64;
        text = malloc(room);
        if (!text) return PyErr_NoMemory();
        LK_PY_BLOCKING((lk_py_handle *)object, status, why, latchkey_metrics(lk, text, room, &needed));
    } while (status == LATCHKEY_NO_MEMORY && needed > room);
    PyObject *answer = status == LATCHKEY_OK ? PyUnicode_FromString(text) : yes(status, why);
    free(text);
    return answer;
}

#define METHOD(name, text)                                                                                             \
    {                                                                                                                  \
#name, (PyCFunction)(void (*)(void))name, METH_VARARGS | METH_KEYWORDS, text                                   \
    }
PyMethodDef lk_py_users[] = {
    METHOD(sessions, "The live sessions of a user, the last used first, at most 1,000."),
    METHOD(revoke_selector, "Ends one session of a user by its selector. False: there is no such session."),
    METHOD(set_user_access, "Changes all sessions of a user as set_access does. Says how many."),
    METHOD(import_session, "A session of another store moves in. False: it moved in already."),
    {"revoke_everyone", revoke_everyone, METH_NOARGS, "Ends all sessions of all users."},
    {"user_generation", user_generation, METH_O, "For a login that takes several steps: see create's `generation`."},
    {"token_new", token_new, METH_O, "A token for a session of this user that create(token=...) will make."},
    {"put_section", put_section, METH_VARARGS, "Writes a section, or deletes it (None). False: no session."},
    {"section", section, METH_VARARGS, "Reads a section: its bytes; None where the session has no such section."},
    {"prewarm", prewarm, METH_O, "Fills memory with the `count` most recently used sessions. Says how many."},
    {"stats", stats, METH_NOARGS, "The statistics, by the names of latchkey.h."},
    {"metrics", metrics, METH_NOARGS, "The statistics as Prometheus text."},
    {NULL, NULL, 0, NULL}};

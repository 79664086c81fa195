/* The backend: a thread that runs mlxforge.service.embedded, and what it calls back. */
#define _GNU_SOURCE
#include "python.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STACK_BYTES                                                                                \
    ((size_t)16 << 20) /* Python's main thread usually has 8 MiB; macOS's 512 KiB                  \
                        */

static bool is_host; /* the process ran Python before us; written before host_known */
static atomic_bool host_known;
static bool is_serving; /* of the Python thread alone: commands are polled */
static python_place place;

/* ---- What Python calls: plain functions of integers, bytes and strings */

static PyObject *new_none(void) {
    py.Py_IncRef(py.none);
    return py.none;
}

static PyObject *payload_or_none(const message *m) {
    return m == NULL ? new_none() : py.PyBytes_FromStringAndSize(m->data, (ssize_t)m->size);
}

/* poll() -> (kind, call, engine, request_codec, response_codec, timeout_ms, method, payload) */
static PyObject *host_poll(PyObject *self, PyObject *arguments) {
    (void)self, (void)arguments;
    command c;
    bridge_poll(&c);
    if (c.kind == COMMAND_NONE) {
        return new_none();
    }
    PyObject *items[] = {
        py.PyLong_FromLongLong(c.kind),
        py.PyLong_FromUnsignedLongLong(c.call),
        py.PyLong_FromUnsignedLongLong(c.engine),
        py.PyLong_FromLongLong(c.request_codec),
        py.PyLong_FromLongLong(c.response_codec),
        py.PyLong_FromLongLong(c.kind == COMMAND_LOG ? c.level : c.timeout_ms),
        c.method == NULL ? new_none()
                         : py.PyBytes_FromStringAndSize(c.method, (ssize_t)strlen(c.method)),
        payload_or_none(c.payload),
    };
    command_release(&c);
    const ssize_t count = sizeof items / sizeof *items;
    PyObject *tuple = py.PyTuple_New(count);
    for (ssize_t i = 0; tuple != NULL && i < count; i++) {
        py.PyTuple_SetItem(tuple, i, items[i]); /* takes the reference; NULL ends in an error */
    }
    if (py.PyErr_Occurred() != NULL && tuple != NULL) {
        py.Py_DecRef(tuple);
        return NULL;
    }
    return tuple;
}

static bool unsigned_argument(PyObject *arguments, ssize_t i, uint64_t *out) {
    PyObject *item = py.PyTuple_GetItem(arguments, i);
    *out = item == NULL ? 0 : py.PyLong_AsUnsignedLongLong(item);
    return item != NULL && py.PyErr_Occurred() == NULL;
}

static bool bytes_argument(PyObject *arguments, ssize_t i, char **out, ssize_t *size) {
    PyObject *item = py.PyTuple_GetItem(arguments, i);
    return item != NULL && py.PyBytes_AsStringAndSize(item, out, size) == 0;
}

static bool text_argument(PyObject *arguments, ssize_t i, const char **out) {
    PyObject *item = py.PyTuple_GetItem(arguments, i);
    *out = item == NULL ? NULL : py.PyUnicode_AsUTF8AndSize(item, NULL);
    return *out != NULL;
}

/* message(call, payload: bytes) -> int, a `room` */
static PyObject *host_message(PyObject *self, PyObject *arguments) {
    (void)self;
    uint64_t call_id;
    char *data;
    ssize_t size;
    if (!unsigned_argument(arguments, 0, &call_id) || !bytes_argument(arguments, 1, &data, &size)) {
        return NULL;
    }
    return py.PyLong_FromLongLong(bridge_message(call_id, data, (size_t)size));
}

/* finish(call, code, message: str, status: bytes); code 0: well */
static PyObject *host_finish(PyObject *self, PyObject *arguments) {
    (void)self;
    uint64_t call_id, code;
    const char *text;
    char *status;
    ssize_t size;
    if (!unsigned_argument(arguments, 0, &call_id) || !unsigned_argument(arguments, 1, &code) ||
        !text_argument(arguments, 2, &text) || !bytes_argument(arguments, 3, &status, &size)) {
        return NULL;
    }
    error *e = code == 0 ? NULL : error_of_status((int32_t)code, text, status, (size_t)size);
    bridge_finish(call_id, e);
    return new_none();
}

/* taken(call, size): the method took a request of the host's stream */
static PyObject *host_taken(PyObject *self, PyObject *arguments) {
    (void)self;
    uint64_t call_id, size;
    if (!unsigned_argument(arguments, 0, &call_id) || !unsigned_argument(arguments, 1, &size)) {
        return NULL;
    }
    bridge_taken(call_id, (size_t)size);
    return new_none();
}

/* log(level, source: str, text: str) */
static PyObject *host_log(PyObject *self, PyObject *arguments) {
    (void)self;
    uint64_t level;
    const char *source, *text;
    if (!unsigned_argument(arguments, 0, &level) || !text_argument(arguments, 1, &source) ||
        !text_argument(arguments, 2, &text)) {
        return NULL;
    }
    log_write((int32_t)level, source, text);
    return new_none();
}

/* serving(): commands are polled from now on */
static PyObject *host_serving(PyObject *self, PyObject *arguments) {
    (void)self, (void)arguments;
    is_serving = true;
    runtime_serving(NULL);
    return new_none();
}

/* ---- The thread */

/* What the pending Python exception says, as an error; clears it. */
static error *python_error(const char *doing) {
    PyObject *type = NULL, *value = NULL, *trace = NULL;
    py.PyErr_Fetch(&type, &value, &trace);
    py.PyErr_NormalizeException(&type, &value, &trace);
    PyObject *name = type == NULL ? NULL : py.PyObject_GetAttrString(type, "__name__");
    PyObject *text = value == NULL ? NULL : py.PyObject_Str(value);
    const char *name_utf8 = name == NULL ? NULL : py.PyUnicode_AsUTF8AndSize(name, NULL);
    const char *text_utf8 = text == NULL ? NULL : py.PyUnicode_AsUTF8AndSize(text, NULL);
    error *e = error_new(
        MLXFORGE_STATUS_FAILED_PRECONDITION, "PYTHON_FAILED", "%s: %s: %s (Python: %s)", doing,
        name_utf8 ? name_utf8 : "error", text_utf8 ? text_utf8 : "",
        is_host ? "this process's own" : place.executable);
    py.Py_DecRef(name);
    py.Py_DecRef(text);
    py.Py_DecRef(type);
    py.Py_DecRef(value);
    py.Py_DecRef(trace);
    py.PyErr_Clear();
    return e;
}

/* The folder of packages that this library came in, when Python does not look there itself. */
static void add_packages(void) {
    PyObject *path = place.packages[0] != '\0' ? py.PySys_GetObject("path") : NULL;
    PyObject *folder = path == NULL ? NULL : py.PyUnicode_DecodeFSDefault(place.packages);
    if (folder != NULL && py.PyList_Append(path, folder) != 0) {
        py.PyErr_Clear();
    }
    py.Py_DecRef(folder);
}

#if defined(MLXFORGE_TESTING)
/* The tests' build only: MLXFORGE_EMBEDDED_MODULE=FOLDER/MODULE runs in place of our own. */
static const char *embedded_module(void) {
    const char *path = getenv("MLXFORGE_EMBEDDED_MODULE");
    const char *slash = path == NULL ? NULL : strrchr(path, '/');
    if (slash == NULL) {
        return "mlxforge.service.embedded";
    }
    snprintf(place.packages, sizeof place.packages, "%.*s", (int)(slash - path), path);
    return slash + 1;
}
#else
static const char *embedded_module(void) {
    return "mlxforge.service.embedded";
}
#endif

/* mlxforge.service.embedded.run(owns, fd, poll, message, finish, taken, log, serving) */
static error *run_embedded(void) {
    static py_method methods[] = {
        {"poll", host_poll, 1, NULL},     {"message", host_message, 1, NULL},
        {"finish", host_finish, 1, NULL}, {"taken", host_taken, 1, NULL},
        {"log", host_log, 1, NULL},       {"serving", host_serving, 1, NULL},
    };
    enum { COUNT = sizeof methods / sizeof *methods };
    const char *name = embedded_module();
    add_packages();
    PyObject *module = py.PyImport_ImportModule(name);
    PyObject *run = module == NULL ? NULL : py.PyObject_GetAttrString(module, "run");
    if (run == NULL) {
        return python_error("cannot import mlxforge");
    }
    PyObject *arguments = py.PyTuple_New(COUNT + 2);
    py.PyTuple_SetItem(arguments, 0, py.PyLong_FromLongLong(!is_host));
    py.PyTuple_SetItem(arguments, 1, py.PyLong_FromLongLong(bridge_fd()));
    for (int i = 0; i < COUNT; i++) {
        py.PyTuple_SetItem(arguments, i + 2, py.PyCFunction_NewEx(&methods[i], NULL, NULL));
    }
    PyObject *result = py.PyObject_Call(run, arguments, NULL);
    error *e = result == NULL ? python_error("mlxforge has stopped") : NULL;
    py.Py_DecRef(result);
    return e;
}

static void *python_main(void *unused) {
    (void)unused;
    error *e = NULL;
    int state = 0;
    if (is_host) {
        state = py.PyGILState_Ensure();
    } else if ((e = python_initialize(&place)) != NULL) {
        runtime_serving(e);
        return NULL;
    }
    e = run_embedded();
    if (!is_serving) {
        runtime_serving(
            e != NULL ? e
                      : error_new(MLXFORGE_STATUS_INTERNAL, "INTERNAL", "mlxforge did not start"));
    } else if (e != NULL) {
        log_write(MLXFORGE_LOG_ERROR, "mlxforge.capi", e->message);
        error_destroy(e);
    }
    runtime_stopped();
    if (is_host) {
        py.PyGILState_Release(state);
        return NULL;
    }
    /* Never finalised: numpy and MLX cannot be started twice. The lock is kept, so that no thread
     * runs Python beneath the destructors of the libraries that it would use. */
    for (;;) {
        pause();
    }
}

/*
 * The host's signals are not for this thread and those that Python starts from it. What reports
 * a fault stays open, here and in processes started from here, which inherit the mask.
 */
static void hosts_signals(sigset_t *set) {
    static const int faults[] = {SIGSEGV, SIGBUS,  SIGFPE, SIGILL,
                                 SIGABRT, SIGTRAP, SIGSYS, SIGXCPU};
    sigfillset(set);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        sigdelset(set, faults[i]);
    }
}

error *backend_start(void) {
    error *e = python_load(&place, &is_host);
    if (e != NULL) {
        return e;
    }
    atomic_store(&host_known, true);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigset_t blocked, before;
    hosts_signals(&blocked);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    pthread_t thread;
    int failed = pthread_create(&thread, &attributes, python_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return failed ? error_new(
                        MLXFORGE_STATUS_RESOURCE_EXHAUSTED, "NO_THREADS",
                        "cannot start a thread: %s", strerror(failed))
                  : NULL;
}

/*
 * A host that is Python may call with the interpreter's lock held (ctypes.PyDLL, an extension
 * module). Until the first engine is open it is not known whether the process has a Python, so
 * it is looked up each time.
 */
void *backend_enter_wait(void) {
    bool python = atomic_load(&host_known) ? is_host : false;
    if (!atomic_load(&host_known)) {
        int (*initialized)(void);
        *(void **)&initialized = dlsym(RTLD_DEFAULT, "Py_IsInitialized");
        python = initialized != NULL && initialized();
    }
    if (!python) {
        return NULL;
    }
    void *(*own_state)(void);
    int (*check)(void);
    void *(*save)(void);
    *(void **)&own_state = dlsym(RTLD_DEFAULT, "PyGILState_GetThisThreadState");
    *(void **)&check = dlsym(RTLD_DEFAULT, "PyGILState_Check");
    *(void **)&save = dlsym(RTLD_DEFAULT, "PyEval_SaveThread");
    return own_state && check && save && own_state() != NULL && check() ? save() : NULL;
}

void backend_leave_wait(void *token) {
    if (token != NULL) {
        void (*restore)(void *);
        *(void **)&restore = dlsym(RTLD_DEFAULT, "PyEval_RestoreThread");
        restore(token);
    }
}

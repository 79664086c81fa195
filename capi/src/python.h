/*
 * CPython, found and loaded at run time.
 *
 * libpython is not linked but opened with dlopen, and its functions are looked up by name. So one
 * libmlxforge, and one wheel, serves every CPython from 3.11 on; a missing Python is an error
 * message instead of a process that does not start; and since it is opened with RTLD_GLOBAL,
 * extension modules find its symbols also when the host loaded this library with RTLD_LOCAL.
 * Only functions of the stable ABI are used, and the few of the initialisation interface named
 * in python_load.c.
 */
#ifndef MLXFORGE_PYTHON_H
#define MLXFORGE_PYTHON_H

#include "internal.h"

#include <sys/types.h>

#define PATH_SIZE 4096

/* ---- python_find.c */

typedef struct python_place {
    char executable[PATH_SIZE]; /* bin/python3 of the environment: decides where packages are */
    char library[PATH_SIZE];    /* libpython */
    char packages[PATH_SIZE];   /* a further folder of packages, which this library is in, or "" */
} python_place;

/* NULL, or an error that names all that was looked for. */
error *python_find(python_place *place);

/* ---- python_load.c */

typedef struct PyObject PyObject;
typedef PyObject *(*py_function)(PyObject *self, PyObject *arguments);

/* PyMethodDef of the stable ABI. */
typedef struct py_method {
    const char *name;
    py_function function;
    int flags; /* 1: METH_VARARGS */
    const char *doc;
} py_method;

#define PYTHON_FUNCTIONS(X)                                                                        \
    X(int, Py_IsInitialized, (void))                                                               \
    X(const char *, Py_GetVersion, (void))                                                         \
    X(int, PyGILState_Ensure, (void))                                                              \
    X(void, PyGILState_Release, (int))                                                             \
    X(PyObject *, PyImport_ImportModule, (const char *))                                           \
    X(PyObject *, PySys_GetObject, (const char *))                                                 \
    X(PyObject *, PyObject_GetAttrString, (PyObject *, const char *))                              \
    X(PyObject *, PyObject_Call, (PyObject *, PyObject *, PyObject *))                             \
    X(PyObject *, PyObject_Str, (PyObject *))                                                      \
    X(PyObject *, PyCFunction_NewEx, (py_method *, PyObject *, PyObject *))                        \
    X(PyObject *, PyTuple_New, (ssize_t))                                                          \
    X(int, PyTuple_SetItem, (PyObject *, ssize_t, PyObject *))                                     \
    X(PyObject *, PyTuple_GetItem, (PyObject *, ssize_t))                                          \
    X(int, PyList_Append, (PyObject *, PyObject *))                                                \
    X(PyObject *, PyBytes_FromStringAndSize, (const char *, ssize_t))                              \
    X(int, PyBytes_AsStringAndSize, (PyObject *, char **, ssize_t *))                              \
    X(PyObject *, PyUnicode_DecodeFSDefault, (const char *))                                       \
    X(PyObject *, PyUnicode_FromString, (const char *))                                            \
    X(const char *, PyUnicode_AsUTF8AndSize, (PyObject *, ssize_t *))                              \
    X(PyObject *, PyLong_FromLongLong, (long long))                                                \
    X(PyObject *, PyLong_FromUnsignedLongLong, (unsigned long long))                               \
    X(long long, PyLong_AsLongLong, (PyObject *))                                                  \
    X(unsigned long long, PyLong_AsUnsignedLongLong, (PyObject *))                                 \
    X(PyObject *, PyErr_Occurred, (void))                                                          \
    X(void, PyErr_Clear, (void))                                                                   \
    X(void, PyErr_Fetch, (PyObject **, PyObject **, PyObject **))                                  \
    X(void, PyErr_NormalizeException, (PyObject **, PyObject **, PyObject **))                     \
    X(void, Py_IncRef, (PyObject *))                                                               \
    X(void, Py_DecRef, (PyObject *))

// NOLINTNEXTLINE(bugprone-macro-parentheses): a declaration takes none
#define PYTHON_FIELD(type, name, parameters) type(*name) parameters;
typedef struct python_table {
    PYTHON_FUNCTIONS(PYTHON_FIELD)
    PyObject *none;
} python_table;
#undef PYTHON_FIELD

extern python_table py;

/* Finds the process's Python, or loads the place's libpython. NULL, or what is wrong. */
error *python_load(python_place *place, bool *is_host);
/* Starts the interpreter on the calling thread, which then holds its lock. */
error *python_initialize(const python_place *place);

#endif

/* Loading libpython and starting the interpreter. */
#define _GNU_SOURCE
#include "python.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

python_table py;

static error *no_python(const char *what, const char *why) {
    return error_new(
        MLXFORGE_STATUS_FAILED_PRECONDITION, "NO_PYTHON", "%.1024s: %.512s", what,
        why == NULL ? "unknown" : why);
}

/* Fills the table. NULL, or the name of what is missing. */
static const char *look_up(void *library) {
#define PYTHON_LOOK_UP(type, name, parameters)                                                     \
    *(void **)&py.name = dlsym(library, #name);                                                    \
    if (py.name == NULL) {                                                                         \
        return #name;                                                                              \
    }
    PYTHON_FUNCTIONS(PYTHON_LOOK_UP)
#undef PYTHON_LOOK_UP
    py.none = dlsym(library, "_Py_NoneStruct");
    return py.none == NULL ? "_Py_NoneStruct" : NULL;
}

static error *check_version(const char *where) {
    char *dot;
    const long major = strtol(py.Py_GetVersion(), &dot, 10);
    const long minor = *dot == '.' ? strtol(dot + 1, NULL, 10) : 0;
    if (major != 3 || minor < 11) {
        return no_python(where, "is older than Python 3.11");
    }
    return NULL;
}

error *python_load(python_place *place, bool *is_host) {
    *is_host = false;
    int (*initialized)(void);
    *(void **)&initialized = dlsym(RTLD_DEFAULT, "Py_IsInitialized");
    if (initialized != NULL && initialized()) {
        *is_host = true;
        const char *missing = look_up(RTLD_DEFAULT);
        return missing != NULL ? no_python("this process's Python lacks", missing)
                               : check_version("this process's Python");
    }
    error *e = python_find(place);
    if (e != NULL) {
        return e;
    }
    void *library = dlopen(place->library, RTLD_NOW | RTLD_GLOBAL);
    if (library == NULL) {
        return no_python("cannot load libpython", dlerror());
    }
    const char *missing = look_up(library);
    if (missing != NULL) {
        return no_python(place->library, missing);
    }
    *is_host = py.Py_IsInitialized() != 0; /* a host that had loaded it with RTLD_LOCAL */
    return check_version(place->library);
}

/* PyStatus, PyPreConfig as CPython 3.11 to 3.14 declare them (cpython/initconfig.h). */
typedef struct py_status {
    int type; /* 0: well */
    const char *function, *message;
    int exit_code;
} py_status;

typedef struct py_preconfig {
    int config_init, parse_argv, isolated, use_environment, configure_locale, coerce_c_locale,
        coerce_c_locale_warn, utf8_mode, dev_mode, allocator;
    int room_for_later_versions[54];
} py_preconfig;

/* PyConfig is only passed through, so its layout does not matter: 416 bytes in 3.11. */
typedef union py_config {
    char bytes[8192];
    long double alignment;
} py_config;

typedef struct py_start {
    void (*PyPreConfig_InitIsolatedConfig)(py_preconfig *);
    py_status (*Py_PreInitialize)(const py_preconfig *);
    void (*PyConfig_InitIsolatedConfig)(py_config *);
    py_status (*PyConfig_SetBytesArgv)(py_config *, ssize_t, char *const *);
    py_status (*Py_InitializeFromConfig)(const py_config *);
    void (*PyConfig_Clear)(py_config *);
} py_start;

static bool look_up_start(void *library, py_start *s) {
    *(void **)&s->PyPreConfig_InitIsolatedConfig = dlsym(library, "PyPreConfig_InitIsolatedConfig");
    *(void **)&s->Py_PreInitialize = dlsym(library, "Py_PreInitialize");
    *(void **)&s->PyConfig_InitIsolatedConfig = dlsym(library, "PyConfig_InitIsolatedConfig");
    *(void **)&s->PyConfig_SetBytesArgv = dlsym(library, "PyConfig_SetBytesArgv");
    *(void **)&s->Py_InitializeFromConfig = dlsym(library, "Py_InitializeFromConfig");
    *(void **)&s->PyConfig_Clear = dlsym(library, "PyConfig_Clear");
    return s->PyPreConfig_InitIsolatedConfig && s->Py_PreInitialize &&
           s->PyConfig_InitIsolatedConfig && s->PyConfig_SetBytesArgv &&
           s->Py_InitializeFromConfig && s->PyConfig_Clear;
}

/*
 * The isolated configuration: no environment variables, no user site, no signal handlers, C's
 * stdio and locale left alone. Text is UTF-8 whatever the host's locale. argv[0] is the
 * environment's executable, and Python derives its folders from it (Modules/getpath.py): that
 * finds a venv by its pyvenv.cfg, and a bundle wherever it has been moved to.
 */
error *python_initialize(const python_place *place) {
    py_start start;
    void *library = dlopen(place->library, RTLD_NOW | RTLD_NOLOAD);
    if (library == NULL || !look_up_start(library, &start)) {
        return no_python(place->library, "has no PyConfig functions");
    }
    py_preconfig before = {0};
    start.PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
    py_status status = start.Py_PreInitialize(&before);
    if (status.type != 0) {
        return no_python("Python's pre-initialisation", status.message);
    }
    static py_config config;
    char *argv[] = {(char *)(uintptr_t)place->executable, NULL};
    start.PyConfig_InitIsolatedConfig(&config);
    status = start.PyConfig_SetBytesArgv(&config, 1, argv);
    if (status.type == 0) {
        status = start.Py_InitializeFromConfig(&config);
    }
    start.PyConfig_Clear(&config);
    return status.type == 0 ? NULL : no_python("Python's initialisation", status.message);
}

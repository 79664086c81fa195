/* Which Python to host: beside this library, or MLXFORGE_PYTHON. */
#define _GNU_SOURCE
#include "python.h"

#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What has been looked for, for the error message. */
typedef struct search {
    char tried[1536];
} search;

/* false: the path would be too long. */
__attribute__((format(printf, 2, 3))) static bool
path_format(char out[PATH_SIZE], const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(out, PATH_SIZE, format, arguments);
    va_end(arguments);
    return length >= 0 && length < PATH_SIZE;
}

static void note(search *s, const char *what) {
    size_t used = strlen(s->tried), length = strlen(what);
    if (used + length + 3 <= sizeof s->tried) {
        memcpy(s->tried + used, ", ", 2);
        used += used > 0 ? 2 : 0;
        memcpy(s->tried + used, what, length + 1);
    }
}

static bool look(search *s, const char *path) {
    if (access(path, F_OK) == 0) {
        return true;
    }
    note(s, path);
    return false;
}

/* Removes the last part of a path. */
static void to_parent(char *path) {
    char *slash = strrchr(path, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* The folder of this library, links resolved. */
static bool own_folder(char out[PATH_SIZE]) {
    Dl_info info;
    if (dladdr((void *)(uintptr_t)&python_find, &info) == 0 || info.dli_fname == NULL) {
        return false;
    }
    char *resolved = realpath(info.dli_fname, NULL);
    bool fits = resolved != NULL && path_format(out, "%s", resolved);
    free(resolved);
    to_parent(out);
    return fits;
}

/* In a bundle: ROOT/lib/libmlxforge.so with ROOT/python/bin/python3. */
static bool in_bundle(search *s, const char *folder, python_place *place) {
    char root[PATH_SIZE];
    if (!path_format(root, "%s", folder)) {
        return false;
    }
    to_parent(root);
    return path_format(place->executable, "%s/python/bin/python3", root) &&
           look(s, place->executable);
}

/* In a wheel: PREFIX/lib/python3.X/site-packages/mlxforge/lib/libmlxforge.so. */
static bool in_environment(search *s, const char *folder, python_place *place) {
    char at[PATH_SIZE];
    if (!path_format(at, "%s", folder)) {
        return false;
    }
    to_parent(at);
    to_parent(at);
    const char *name = last_part(at);
    if (strcmp(name, "site-packages") != 0 && strcmp(name, "dist-packages") != 0) {
        return false;
    }
    path_format(place->packages, "%s", at); /* for another Python, in case there is none here */
    for (int i = 0; i < 3; i++) {
        to_parent(at);
    }
    if (!path_format(place->executable, "%s/bin/python3", at) || !look(s, place->executable)) {
        return false;
    }
    place->packages[0] = '\0';
    return true;
}

static bool in_variable(search *s, python_place *place) {
    const char *value = getenv("MLXFORGE_PYTHON");
    if (value == NULL || value[0] == '\0') {
        note(s, "MLXFORGE_PYTHON (not set)");
        return false;
    }
    char inside[PATH_SIZE];
    if (path_format(inside, "%s/bin/python3", value) && access(inside, F_OK) == 0) {
        return path_format(place->executable, "%s", inside);
    }
    DIR *folder = opendir(value);
    if (folder != NULL) { /* a folder, but no environment */
        closedir(folder);
        return look(s, inside);
    }
    return path_format(place->executable, "%s", value) && look(s, place->executable);
}

/* "3.11" out of a name as libpython3.11.so or python3.11; false when there is none. */
static bool version_in(const char *name, char version[16]) {
    const char *at = strstr(name, "python3.");
    size_t length = 0;
    if (at == NULL) {
        return false;
    }
    at += strlen("python");
    while (length < 15 && (isdigit((unsigned char)at[length]) || at[length] == '.')) {
        length++;
    }
    while (length > 0 && at[length - 1] == '.') {
        length--;
    }
    memcpy(version, at, length);
    version[length] = '\0';
    return length > 2;
}

/* The one pythonX.Y folder of PREFIX/lib. */
static bool version_of_prefix(const char *prefix, char version[16]) {
    char path[PATH_SIZE];
    bool found = false;
    DIR *folder = path_format(path, "%s/lib", prefix) ? opendir(path) : NULL;
    if (folder == NULL) {
        return false;
    }
    for (struct dirent *entry; !found && (entry = readdir(folder)) != NULL;) {
        found = strncmp(entry->d_name, "python3.", 8) == 0 && version_in(entry->d_name, version);
    }
    closedir(folder);
    return found;
}

/* libpython of the interpreter that an executable (often a venv's link) stands for. */
static bool find_library(search *s, python_place *place) {
    char prefix[PATH_SIZE], base[PATH_SIZE], version[16];
    path_format(prefix, "%s", place->executable);
    to_parent(prefix);
    to_parent(prefix);
    char *resolved = realpath(place->executable, NULL);
    if (resolved == NULL || !path_format(base, "%s", resolved)) {
        free(resolved);
        return look(s, place->executable);
    }
    free(resolved);
    bool known = version_in(last_part(base), version);
    to_parent(base);
    to_parent(base);
    if (!known && !version_of_prefix(prefix, version) && !version_of_prefix(base, version)) {
        char *at = base + strlen(base);
        path_format(at, "/lib/python3.*");
        return look(s, base);
    }
    static const char *const forms[] = {
#if defined(__APPLE__) /* not run there by us: framework builds (python.org, Homebrew), others */
        "%s/Python",
        "%s/lib/libpython%s.dylib",
#else
        "%s/lib/libpython%s.so.1.0",
        "%s/lib/libpython%s.so",
        "%s/lib64/libpython%s.so.1.0",
#if defined(__aarch64__)
        "%s/lib/aarch64-linux-gnu/libpython%s.so.1.0",
#else
        "%s/lib/x86_64-linux-gnu/libpython%s.so.1.0",
#endif
#endif
    };
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (path_format(place->library, forms[i], base, version) && look(s, place->library)) {
            return true;
        }
    }
#pragma GCC diagnostic pop
    return false;
}

error *python_find(python_place *place) {
    search s = {""};
    char folder[PATH_SIZE];
    *place = (python_place){"", "", ""};
    bool found =
        own_folder(folder) && (in_bundle(&s, folder, place) || in_environment(&s, folder, place));
    if (!found && !in_variable(&s, place)) {
        return error_new(
            MLXFORGE_STATUS_FAILED_PRECONDITION, "NO_PYTHON",
            "no Python found; looked for %s. Set MLXFORGE_PYTHON to the python of an "
            "environment that has mlxforge installed",
            s.tried);
    }
    s.tried[0] = '\0';
    if (!find_library(&s, place)) {
        return error_new(
            MLXFORGE_STATUS_FAILED_PRECONDITION, "NO_PYTHON",
            "the Python at %.1024s has no shared library; looked for %s. Use a "
            "CPython built with --enable-shared",
            place->executable, s.tried);
    }
    return NULL;
}

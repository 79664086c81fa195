/*
 * LD_PRELOAD, Linux only: reads of files whose path contains MLXFORGE_TEST_EIO fail with EIO, those
 * of MLXFORGE_TEST_ABORT end the process.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int matches(const char *path, const char *variable) {
    const char *part = getenv(variable);
    return part != NULL && *part != '\0' && strstr(path, part) != NULL;
}

static int broken(int fd) {
    char link[64];
    char path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size <= 0) {
        return 0;
    }
    path[size] = '\0';
    if (matches(path, "MLXFORGE_TEST_ABORT")) {
        abort();
    }
    return matches(path, "MLXFORGE_TEST_EIO");
}

ssize_t read(int fd, void *data, size_t size) {
    ssize_t (*next)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
    if (broken(fd)) {
        errno = EIO;
        return -1;
    }
    return next(fd, data, size);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset) {
    ssize_t (*next)(int, void *, size_t, off_t) = dlsym(RTLD_NEXT, "pread");
    if (broken(fd)) {
        errno = EIO;
        return -1;
    }
    return next(fd, data, size, offset);
}

ssize_t pread64(int fd, void *data, size_t size, off_t offset) {
    return pread(fd, data, size, offset);
}

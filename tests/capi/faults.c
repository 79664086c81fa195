/*
 * System calls that fail, and starts that do: fault 27, and what the header says of fork and exit.
 * Each case has a process of its own, forked before the library has started.
 */
#define _GNU_SOURCE
#include "opened.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

int __real_pipe(int *fds);
int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
ssize_t __real_write(int fd, const void *data, size_t size);
void *__real_realloc(void *block, size_t size);

static atomic_int pipe_fails, threads_fail, tables_fail;
static atomic_int write_errors[2]; /* of the next writes */

int __wrap_pipe(int *fds) {
    errno = EMFILE;
    return pipe_fails ? -1 : __real_pipe(fds);
}

int __wrap_pthread_create(
    pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    return threads_fail ? EAGAIN : __real_pthread_create(thread, attributes, run, argument);
}

ssize_t __wrap_write(int fd, const void *data, size_t size) {
    for (int i = 0; i < 2; i++) {
        const int number = atomic_exchange(&write_errors[i], 0);
        if (number != 0) {
            errno = number;
            return -1;
        }
    }
    return __real_write(fd, data, size);
}

void *__wrap_realloc(void *block, size_t size) {
    return tables_fail ? NULL : __real_realloc(block, size);
}

static void expect_no_engine(int32_t code, const char *said) {
    mlxforge_error *error;
    size_t size;
    CHECK(mlxforge_engine_open("{}", &error) == NULL);
    CHECK(mlxforge_error_code(error) == code);
    CHECK(strstr(mlxforge_error_message(error), said) != NULL);
    CHECK(mlxforge_error_details(error, &size) != NULL && size > 0);
    mlxforge_error_free(error);
}

static void expect_an_engine(void) {
    open_double();
    mlxforge_call *call = start(ECHO, "{}");
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_MESSAGE);
    mlxforge_call_free(call);
    close_double();
}

static void no_descriptors(void) {
    pipe_fails = 1;
    expect_no_engine(MLXFORGE_STATUS_RESOURCE_EXHAUSTED, "file descriptors");
    pipe_fails = 0;
    expect_an_engine();
}

static void no_threads(void) {
    threads_fail = 1;
    expect_no_engine(MLXFORGE_STATUS_RESOURCE_EXHAUSTED, "memory");
    threads_fail = 0;
    expect_an_engine(); /* on the pipe that is there */
}

static void count_line(int32_t level, const char *source, const char *text, void *user_data) {
    (void)level, (void)source, (void)text;
    atomic_int *lines = user_data;
    ++*lines;
}

static void no_log_thread(void) {
    static atomic_int lines;
    threads_fail = 1;
    mlxforge_log_set(count_line, &lines, MLXFORGE_LOG_DEBUG);
    CHECK(log_level() == INT32_MAX);
    threads_fail = 0;
    mlxforge_log_set(count_line, &lines, MLXFORGE_LOG_DEBUG);
    log_write(MLXFORGE_LOG_INFO, "test", "line");
    while (lines == 0) {
        rest_ms(1);
    }
}

/* Python starts once: each open is told why it did not. */
static void refused_start(void) {
    double_refuse();
    for (int i = 0; i < 2; i++) {
        expect_no_engine(MLXFORGE_STATUS_FAILED_PRECONDITION, "refused");
    }
    CHECK(handle_count() == 0);
}

/* A wake-up that a signal interrupts is sent again; one that cannot be sent is, with the next. */
static void interrupted_wake_up(void) {
    open_double();
    const int errors[] = {EINTR, EAGAIN};
    for (int i = 0; i < 2; i++) {
        double_hold();
        write_errors[0] = errors[i];
        write_errors[1] = EINTR;
        mlxforge_call *first = start(ECHO, "{}"), *second = start(ECHO, "{}");
        CHECK(write_errors[0] == 0 && write_errors[1] == 0);
        double_release();
        CHECK(mlxforge_call_next(first, -1, NULL, NULL) == MLXFORGE_MESSAGE);
        CHECK(mlxforge_call_next(second, -1, NULL, NULL) == MLXFORGE_MESSAGE);
        mlxforge_call_free(first);
        mlxforge_call_free(second);
    }
    close_double();
}

/* The table of handles cannot grow, at each size that it has to. */
static void no_table(void) {
    static mlxforge_queue *queues[5000];
    size_t count = 0, refused = 0;
    while (count < 5000) {
        tables_fail = 1;
        queues[count] = mlxforge_queue_new();
        tables_fail = 0;
        if (queues[count] == NULL) {
            refused++;
            queues[count] = mlxforge_queue_new();
            CHECK(queues[count] != NULL);
        }
        count++;
    }
    CHECK(refused == 8 && handle_count() == count); /* 0, 64, 128, …, 4096 */
    while (count > 0) {
        mlxforge_queue_free(queues[--count]);
    }
    CHECK(handle_count() == 0);
}

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* The process ends while the backend serves a command that takes for ever. */
static void exit_while_busy(void) {
    open_double();
    double_hold();
}

/* A case's process. Returns how long it ran. */
static long long run(void (*test)(void)) {
    const long long start_ms = now_ms();
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        test();
        exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return now_ms() - start_ms;
}

int main(void) {
    run(no_descriptors);
    run(no_threads);
    run(no_log_thread);
    run(refused_start);
    run(interrupted_wake_up);
    run(no_table);
    CHECK(run(exit_while_busy) >= 900); /* gives up after a second */
    printf("ok\n");
    return 0;
}

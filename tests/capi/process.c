/*
 * The library and the process it is in: process SCENARIO CONFIG. Ends with 0 when all held.
 */
#define _GNU_SOURCE
#include "check.h"
#include "mlxforge.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define STREAM "mlxforge.v1.GenerationService/StreamGenerate"
#define LONG_REQUEST "{\"prompt\":\"Once upon a time\",\"max_tokens\":1000,\"ignore_eos\":true}"

static const char *config;

static mlxforge_engine *open_engine(void) {
    mlxforge_error *error;
    mlxforge_engine *engine = mlxforge_engine_open(config, &error);
    if (engine == NULL) {
        fprintf(stderr, "open: %s\n", mlxforge_error_message(error));
        exit(1);
    }
    return engine;
}

static mlxforge_call *start(mlxforge_engine *engine) {
    mlxforge_call *call = mlxforge_call_start(
        engine, STREAM, LONG_REQUEST, strlen(LONG_REQUEST), MLXFORGE_CODEC_JSON, -1, NULL);
    CHECK(call != NULL);
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_MESSAGE);
    return call;
}

static void *opened_elsewhere(void *unused) {
    (void)unused;
    return open_engine();
}

/* Everything answers with an error in a forked child, and the parent does not notice. */
static void in_child(mlxforge_engine *engine, mlxforge_call *call, mlxforge_queue *queue) {
    mlxforge_error *error = NULL;
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_ERROR);
    CHECK(mlxforge_error_code(mlxforge_call_error(call)) == MLXFORGE_STATUS_FAILED_PRECONDITION);
    CHECK(mlxforge_call_send(call, "{}", 2) == MLXFORGE_STATUS_FAILED_PRECONDITION);
    CHECK(mlxforge_call_start(engine, STREAM, "{}", 2, MLXFORGE_CODEC_JSON, -1, &error) == NULL);
    CHECK(strstr(mlxforge_error_message(error), "forked") != NULL);
    mlxforge_error_free(error);
    CHECK(mlxforge_engine_open(NULL, &error) == NULL);
    CHECK(mlxforge_error_code(error) == MLXFORGE_STATUS_FAILED_PRECONDITION);
    CHECK(mlxforge_queue_next(queue, -1, NULL) == MLXFORGE_ERROR);
    CHECK(mlxforge_queue_new() == NULL);
    CHECK(
        mlxforge_generate_text(engine, "x", NULL, -1, NULL, NULL, &error) ==
        MLXFORGE_STATUS_FAILED_PRECONDITION);
    mlxforge_queue_add(queue, call, NULL);
    mlxforge_log_set(NULL, NULL, 0);
    mlxforge_call_cancel(call);
    mlxforge_call_free(call);
    mlxforge_queue_free(queue);
    mlxforge_engine_close(engine);
    exit(7); /* by way of exit handlers */
}

static void scenario_fork(void) {
    mlxforge_engine *engine = open_engine();
    mlxforge_queue *queue = mlxforge_queue_new();
    mlxforge_call *call = start(engine);
    pid_t child = fork();
    if (child == 0) {
        in_child(engine, call, queue);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_MESSAGE);
    mlxforge_call_free(call);
    mlxforge_queue_free(queue);
    mlxforge_engine_close(engine);
}

/* A child made before the first open has a library of its own. */
static void scenario_fork_before(void) {
    pid_t child = fork();
    mlxforge_engine *engine = open_engine();
    mlxforge_call_free(start(engine));
    mlxforge_engine_close(engine);
    if (child == 0) {
        exit(7);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void *wait_for_good(void *call) {
    while (mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_MESSAGE) {
    }
    return NULL;
}

/* Ends the process while calls run and threads wait, with nothing freed. */
static void scenario_exit(void) {
    mlxforge_engine *engine = open_engine();
    pthread_t thread;
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&thread, NULL, wait_for_good, start(engine)) == 0);
    }
    CHECK(mlxforge_queue_new() != NULL);
    printf("exiting\n"); /* the test takes the time from here */
    fflush(stdout);
    exit(0);
}

/* Ends the process while an engine is being opened, at a moment the test gives. */
/* It opens, or is told that the process ends. */
static void *opened_at_the_end(void *unused) {
    mlxforge_error *error;
    if (mlxforge_engine_open(config, &error) == NULL &&
        strstr(mlxforge_error_message(error), "exiting") == NULL) {
        fprintf(stderr, "open: %s\n", mlxforge_error_message(error));
    }
    return unused;
}

static void scenario_exit_opening(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, opened_at_the_end, NULL) == 0);
    const char *wait_ms = getenv("EXIT_AFTER_MS");
    usleep((useconds_t)(wait_ms == NULL ? 0 : atoi(wait_ms)) * 1000);
    printf("exiting\n");
    fflush(stdout);
    exit(0);
}

static volatile sig_atomic_t received;
static pthread_t receiver;

static void handler(int number) {
    received = number;
    receiver = pthread_self();
}

/* The host's handlers stay, and its signals come to its own threads. */
static void scenario_signals(void) {
    const int mine[] = {SIGINT, SIGTERM, SIGUSR1, SIGHUP, SIGCHLD};
    struct sigaction action = {.sa_handler = handler}, before[NSIG], after;
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) {
        CHECK(sigaction(mine[i], &action, NULL) == 0);
    }
    for (int i = 1; i < NSIG; i++) {
        sigaction(i, NULL, &before[i]);
    }
    mlxforge_engine *engine = open_engine();
    mlxforge_call *call = start(engine);
    for (int i = 1; i < NSIG; i++) {
        sigaction(i, NULL, &after);
        CHECK(after.sa_handler == before[i].sa_handler && after.sa_flags == before[i].sa_flags);
    }
    for (int i = 0; i < 200; i++) {
        const int number = mine[i % 4];
        received = 0;
        CHECK(kill(getpid(), number) == 0);
        while (received != number) {
        }
        CHECK(pthread_equal(receiver, pthread_self()));
    }
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_MESSAGE);
    mlxforge_call_free(call);
    mlxforge_engine_close(engine);
}

static void *closed_elsewhere(void *engine) {
    mlxforge_engine_close(engine);
    return NULL;
}

/* Opened by a thread that is gone, used by this one, closed by a third. */
static void scenario_threads(void) {
    pthread_t thread;
    void *engine;
    CHECK(pthread_create(&thread, NULL, opened_elsewhere, NULL) == 0);
    CHECK(pthread_join(thread, &engine) == 0);
    mlxforge_call *call = start(engine);
    CHECK(pthread_create(&thread, NULL, closed_elsewhere, engine) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    while (mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_MESSAGE) {
    }
    CHECK(mlxforge_error_code(mlxforge_call_error(call)) == MLXFORGE_STATUS_CANCELLED);
    mlxforge_call_free(call);
}

static void *open_many(void *count) {
    for (int i = 0; i < *(int *)count; i++) {
        mlxforge_engine *engine = open_engine();
        mlxforge_call *call = start(engine);
        mlxforge_engine_close(engine);
        mlxforge_call_free(call);
    }
    return NULL;
}

/* Several engines at once, opened and closed by several threads. */
static void scenario_engines(void) {
    pthread_t threads[4];
    int count = 3;
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, open_many, &count) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void print_line(int32_t level, const char *source, const char *text, void *user_data) {
    (void)user_data;
    printf("%d %s %s\n", (int)level, source, text);
}

static void scenario_log(void) {
    mlxforge_log_set(print_line, NULL, MLXFORGE_LOG_INFO);
    mlxforge_engine *engine = open_engine();
    size_t count;
    CHECK(mlxforge_count_tokens(engine, "some words", NULL, -1, &count, NULL) == 0);
    mlxforge_engine_close(engine);
    usleep(200000); /* lines come from a thread of their own */
    mlxforge_log_set(NULL, NULL, 0);
}

/* The locale of the host is "C"; text must be UTF-8 all the same. */
static int32_t gather(const char *text, size_t size, void *user_data) {
    (void)size;
    strncat(user_data, text, 200);
    return 0;
}

static void scenario_text(void) {
    mlxforge_engine *engine = open_engine();
    char text[4096] = "";
    CHECK(
        mlxforge_generate_text(
            engine, "Grüße aus Köln 🎉", "{\"max_tokens\":4}", -1, gather, text, NULL) == 0);
    printf("%s\n", text);
    mlxforge_engine_close(engine);
}

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {
        {"fork", scenario_fork},       {"fork-before", scenario_fork_before},
        {"exit", scenario_exit},       {"signals", scenario_signals},
        {"threads", scenario_threads}, {"engines", scenario_engines},
        {"log", scenario_log},         {"exit-opening", scenario_exit_opening},
        {"text", scenario_text},
    };
    CHECK(count == 3);
    config = arguments[2];
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (strcmp(scenarios[i].name, arguments[1]) == 0) {
            scenarios[i].run();
            return 0;
        }
    }
    return 2;
}

/* Tests of the log. */
#define _POSIX_C_SOURCE 200809L
#include "opened.h"

#include <stdatomic.h>

typedef struct lines {
    pthread_mutex_t lock;
    int count;
    char last[64];
} lines;

static void keep(int32_t level, const char *source, const char *text, void *user_data) {
    lines *l = user_data;
    pthread_mutex_lock(&l->lock);
    CHECK(level == MLXFORGE_LOG_INFO && strcmp(source, "double") == 0);
    snprintf(l->last, sizeof l->last, "%s", text);
    l->count++;
    pthread_mutex_unlock(&l->lock);
}

/* A callback that calls the library, also to remove itself. */
static void reenter(int32_t level, const char *source, const char *text, void *user_data) {
    lines *l = user_data;
    (void)level, (void)source, (void)text;
    mlxforge_call *call = start(ECHO, "{}");
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_MESSAGE);
    mlxforge_call_free(call);
    mlxforge_log_set(NULL, NULL, 0);
    pthread_mutex_lock(&l->lock);
    l->count++;
    pthread_mutex_unlock(&l->lock);
}

static int count_of(lines *l) {
    pthread_mutex_lock(&l->lock);
    int count = l->count;
    pthread_mutex_unlock(&l->lock);
    return count;
}

static void open_and_close(const char *config) {
    mlxforge_engine *e = mlxforge_engine_open(config, NULL);
    CHECK(e != NULL);
    mlxforge_engine_close(e);
}

static void test_log(void) {
    static lines l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    mlxforge_log_set(keep, &l, MLXFORGE_LOG_INFO);
    open_and_close("{\"x\": 1}");
    while (count_of(&l) < 1) {
        rest_ms(1);
    }
    CHECK(strcmp(l.last, "{\"x\": 1}") == 0);
    mlxforge_log_set(keep, &l, MLXFORGE_LOG_ERROR);
    open_and_close("{}");
    mlxforge_log_set(reenter, &l, MLXFORGE_LOG_DEBUG);
    CHECK(count_of(&l) == 1);
    open_and_close("{}");
    while (count_of(&l) < 2) {
        rest_ms(1);
    }
    open_and_close("{}");
    mlxforge_log_set(NULL, NULL, 0);
    CHECK(count_of(&l) == 2);
}

typedef struct slow {
    pthread_mutex_t gate; /* no line is taken while the test holds it */
    atomic_int lines, dropped, inside;
} slow;

static void slow_line(int32_t level, const char *source, const char *text, void *user_data) {
    slow *s = user_data;
    (void)level, (void)source;
    s->inside++;
    pthread_mutex_lock(&s->gate);
    pthread_mutex_unlock(&s->gate);
    s->lines++;
    s->dropped += strcmp(text, "1975 lines of the log were dropped") == 0;
    rest_ms(20);
    s->inside--;
}

/* What the host does not take in time is dropped and counted; a new function waits for the old. */
static void test_slow_host(void) {
    static slow s = {.gate = PTHREAD_MUTEX_INITIALIZER};
    pthread_mutex_lock(&s.gate);
    mlxforge_log_set(slow_line, &s, MLXFORGE_LOG_INFO);
    log_write(MLXFORGE_LOG_INFO, "test", "line");
    while (s.inside == 0) {
        rest_ms(1);
    }
    for (int i = 1; i < 3000; i++) { /* 1,024 of them wait */
        log_write(MLXFORGE_LOG_INFO, "test", "line");
    }
    pthread_mutex_unlock(&s.gate);
    while (s.lines < 5) {
        rest_ms(1);
    }
    mlxforge_log_set(NULL, NULL, 0);
    CHECK(s.inside == 0 && s.dropped == 1);
    const int lines = s.lines;
    rest_ms(50);
    CHECK(s.lines == lines); /* those that waited went with the function */
}

/* Raises the level while a line below it waits. */
static void raise_level(int32_t level, const char *source, const char *text, void *user_data) {
    atomic_int *errors = user_data;
    (void)source, (void)text;
    CHECK(level == (*errors == 0 ? MLXFORGE_LOG_INFO : MLXFORGE_LOG_ERROR));
    log_write(MLXFORGE_LOG_INFO, "test", "below");
    mlxforge_log_set(raise_level, errors, MLXFORGE_LOG_ERROR);
    CHECK(log_level() == MLXFORGE_LOG_ERROR);
    ++*errors;
}

static void test_level(void) {
    static atomic_int lines;
    mlxforge_log_set(raise_level, &lines, MLXFORGE_LOG_INFO);
    log_write(MLXFORGE_LOG_INFO, "test", "first");
    while (lines < 1) {
        rest_ms(1);
    }
    log_write(MLXFORGE_LOG_ERROR, "test", "second");
    while (lines < 2) {
        rest_ms(1);
    }
    mlxforge_log_set(NULL, NULL, 0);
    CHECK(log_level() == INT32_MAX && lines == 2);
}

/* As when the process exits: nothing is delivered any more. */
static void test_stopped(void) {
    static lines l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    log_stop();
    mlxforge_log_set(keep, &l, MLXFORGE_LOG_INFO);
    log_write(MLXFORGE_LOG_INFO, "double", "late");
    rest_ms(100);
    CHECK(count_of(&l) == 0);
    mlxforge_log_set(NULL, NULL, 0);
}

int main(void) {
    open_double();
    test_log();
    test_slow_host();
    test_level();
    test_stopped();
    close_double();
    printf("ok\n");
    return 0;
}

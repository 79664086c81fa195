/* The log: lines from any thread, handed to the host by one thread of the library's own. */
#include "internal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_LINES 1024 /* waiting for the host */

typedef struct line {
    struct line *next;
    int32_t level;
    const char *source, *text; /* in the same block */
} line;

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t log_changed = PTHREAD_COND_INITIALIZER;
static pthread_t log_thread;
static bool thread_started, delivering, stopped;
static line *first_line, *last_line;
static size_t waiting_lines, dropped_lines;

static mlxforge_log_fn log_function;
static void *log_user_data;
static int32_t current_level = INT32_MAX;

int32_t log_level(void) {
    pthread_mutex_lock(&log_lock);
    int32_t level = current_level;
    pthread_mutex_unlock(&log_lock);
    return level;
}

static line *line_new(int32_t level, const char *source, const char *text) {
    size_t source_size = strlen(source) + 1, text_size = strlen(text) + 1;
    line *l = malloc(sizeof *l + source_size + text_size);
    if (l == NULL) {
        return NULL;
    }
    char *strings = (char *)(l + 1);
    memcpy(strings, source, source_size);
    memcpy(strings + source_size, text, text_size);
    *l = (line){.level = level, .source = strings, .text = strings + source_size};
    return l;
}

void log_write(int32_t level, const char *source, const char *text) {
    line *l = line_new(level, source, text);
    pthread_mutex_lock(&log_lock);
    if (l == NULL || waiting_lines >= MOST_LINES) {
        dropped_lines++;
    } else if (log_function != NULL && level >= current_level && !stopped) {
        if (last_line == NULL) {
            first_line = l;
        } else {
            last_line->next = l;
        }
        last_line = l;
        l = NULL;
        waiting_lines++;
        pthread_cond_broadcast(&log_changed);
    }
    pthread_mutex_unlock(&log_lock);
    free(l);
}

static line *take_line(void) {
    line *l = first_line;
    if (l != NULL) {
        first_line = l->next;
        last_line = first_line == NULL ? NULL : last_line;
        waiting_lines--;
    }
    return l;
}

/* Calls the host with one line, without the lock. */
static void deliver(line *l) {
    mlxforge_log_fn function = log_function;
    void *user_data = log_user_data;
    size_t dropped = dropped_lines;
    if (function == NULL || l->level < current_level) {
        return;
    }
    dropped_lines = 0;
    delivering = true;
    pthread_mutex_unlock(&log_lock);
    if (dropped > 0) {
        char text[64];
        snprintf(text, sizeof text, "%zu lines of the log were dropped", dropped);
        function(MLXFORGE_LOG_WARNING, "mlxforge.capi", text, user_data);
    }
    function(l->level, l->source, l->text, user_data);
    pthread_mutex_lock(&log_lock);
    delivering = false;
    pthread_cond_broadcast(&log_changed);
}

static void *log_main(void *unused) {
    (void)unused;
    pthread_mutex_lock(&log_lock);
    while (!stopped) {
        line *l = take_line();
        if (l == NULL) {
            pthread_cond_wait(&log_changed, &log_lock);
        } else {
            deliver(l);
            free(l);
        }
    }
    pthread_mutex_unlock(&log_lock);
    return NULL;
}

/* Starts the thread with all signals blocked: they are the host's. */
static bool start_thread(void) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&log_thread, NULL, log_main, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started) {
        pthread_detach(log_thread);
    }
    return started;
}

static void wait_for_delivery(void) {
    if (thread_started && pthread_equal(pthread_self(), log_thread)) {
        return; /* called from within the host's function */
    }
    while (delivering) {
        pthread_cond_wait(&log_changed, &log_lock);
    }
}

void mlxforge_log_set(mlxforge_log_fn function, void *user_data, int32_t level) {
    if (runtime_forked()) {
        return;
    }
    void *token = backend_enter_wait();
    pthread_mutex_lock(&log_lock);
    if (function != NULL && !thread_started) {
        thread_started = start_thread();
    }
    bool active = function != NULL && thread_started;
    log_function = active ? function : NULL;
    log_user_data = user_data;
    current_level = active ? level : INT32_MAX;
    level = current_level;
    wait_for_delivery();
    pthread_mutex_unlock(&log_lock);
    bridge_log_level(level);
    backend_leave_wait(token);
}

void log_stop(void) {
    pthread_mutex_lock(&log_lock);
    stopped = true;
    log_function = NULL;
    pthread_cond_broadcast(&log_changed);
    pthread_mutex_unlock(&log_lock);
}

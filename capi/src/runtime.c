/* The process: one interpreter, started once and never finalised; fork; exit. */
#include "internal.h"

#include <stdatomic.h>
#include <stdlib.h>

#define STOP_MS 1500 /* a process that exits without closing waits so long, at most */

static atomic_bool forked, stopped;
static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t start_changed = PTHREAD_COND_INITIALIZER;
static enum { NOT_STARTED, STARTING, SERVING, FAILED } phase;
static error *start_error; /* why it could not be started; kept, since Python starts only once */

bool runtime_forked(void) {
    return atomic_load_explicit(&forked, memory_order_relaxed);
}

bool runtime_is_stopped(void) {
    return atomic_load_explicit(&stopped, memory_order_acquire);
}

static void in_child(void) {
    if (phase != NOT_STARTED) {
        atomic_store(&forked, true);
    }
}

/* Runs when the library is loaded. */
__attribute__((constructor)) static void on_load(void) {
    error_statics_init();
    pthread_atfork(NULL, NULL, in_child);
}

/*
 * Runs at exit: loads are abandoned and engines still open are told to stop, so that the device
 * thread rests before the static objects of MLX are destroyed beneath it. What is registered last
 * runs first, so it is registered when MLX has made the first of them, for whoever exits while an
 * engine is being opened, and again when the first engine is open and all of them are made.
 */
static void on_exit_of_process(void) {
    if (runtime_forked()) {
        return;
    }
    log_stop();
    if (runtime_is_stopped()) {
        return;
    }
    bridge_stop();
    deadline d = deadline_after_ms(STOP_MS);
    struct timespec pause = {0, 2000000};
    while (!runtime_is_stopped() && deadline_left_ms(&d) > 0) {
        nanosleep(&pause, NULL);
    }
}

static void register_exit(void) {
    atexit(on_exit_of_process);
}

void runtime_serving(error *e) {
    pthread_mutex_lock(&start_lock);
    start_error = e;
    phase = e == NULL ? SERVING : FAILED;
    if (e == NULL) {
        register_exit();
    }
    pthread_cond_broadcast(&start_changed);
    pthread_mutex_unlock(&start_lock);
}

static void end_call(object *o) {
    call_finish_locked(
        (call *)o, error_new(MLXFORGE_STATUS_CANCELLED, "CANCELLED", "the process is exiting"));
}

void runtime_stopped(void) {
    pthread_mutex_lock(&state_lock);
    atomic_store_explicit(&stopped, true, memory_order_release);
    handle_each_locked(KIND_CALL, end_call);
    pthread_mutex_unlock(&state_lock);
}

void runtime_loaded(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_exit);
}

static error *copy_of(const error *e) {
    return error_of_status(e->code, e->message, e->details, e->details_size);
}

error *runtime_start(void) {
    error *e = NULL;
    pthread_mutex_lock(&start_lock);
    if (phase == NOT_STARTED) {
        if (!bridge_open()) {
            e = error_new(
                MLXFORGE_STATUS_RESOURCE_EXHAUSTED, "NO_FILE_DESCRIPTORS",
                "no file descriptors are left for the library's pipe");
        } else if ((e = backend_start()) == NULL) {
            phase = STARTING;
        }
    }
    while (phase == STARTING) {
        pthread_cond_wait(&start_changed, &start_lock);
    }
    if (e == NULL && phase == FAILED) {
        e = copy_of(start_error);
    }
    pthread_mutex_unlock(&start_lock);
    return e;
}

#ifndef MLXFORGE_VERSION
#error "MLXFORGE_VERSION must be defined by the build"
#endif

const char *mlxforge_version(void) {
    return MLXFORGE_VERSION;
}

uint32_t mlxforge_abi_version(void) {
    return MLXFORGE_ABI_VERSION;
}

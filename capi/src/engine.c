/* Engines: which calls run on one, opening and closing. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

void engine_add_call_locked(engine *e, call *c) {
    c->engine = e;
    c->engine_previous = NULL;
    c->engine_next = e->running;
    if (e->running != NULL) {
        e->running->engine_previous = c;
    }
    e->running = c;
}

void engine_remove_call_locked(call *c) {
    if (c->engine == NULL) {
        return;
    }
    if (c->engine_previous != NULL) {
        c->engine_previous->engine_next = c->engine_next;
    } else {
        c->engine->running = c->engine_next;
    }
    if (c->engine_next != NULL) {
        c->engine_next->engine_previous = c->engine_previous;
    }
    c->engine = NULL;
}

/* Waits for an operation on an engine to end. NULL, or the error, now the caller's. */
static error *wait_for(uint64_t call_id) {
    mlxforge_call *handle = HANDLE_POINTER(mlxforge_call, call_id);
    bool ended = mlxforge_call_next(handle, -1, NULL, NULL) == MLXFORGE_END;
    error *failure = ended ? NULL : call_take_error(call_id);
    mlxforge_call_free(handle);
    return failure;
}

static error *check_config(const char *config_json) {
    size_t size = strnlen(config_json, MLXFORGE_MAX_CONFIG_BYTES + 1);
    if (size > MLXFORGE_MAX_CONFIG_BYTES) {
        return error_new(
            MLXFORGE_STATUS_INVALID_ARGUMENT, "INVALID_REQUEST",
            "config_json: longer than %d bytes", MLXFORGE_MAX_CONFIG_BYTES);
    }
    const char *wrong = json_check_depth(config_json, size);
    if (wrong != NULL) {
        return error_new(
            MLXFORGE_STATUS_INVALID_ARGUMENT, "INVALID_REQUEST", "config_json: %s", wrong);
    }
    return NULL;
}

static void remove_engine(engine *e) {
    pthread_mutex_lock(&state_lock);
    handle_remove_locked(&e->base);
    pthread_mutex_unlock(&state_lock);
    free(e);
}

/* Registers an engine and has the interpreter load it. Its id, else 0 and *failure. */
static uint64_t open_engine(const char *config_json, error **failure) {
    engine *e = calloc(1, sizeof *e);
    pthread_mutex_lock(&state_lock);
    bool added = e != NULL && handle_add_locked(&e->base, KIND_ENGINE);
    uint64_t id = added ? e->base.id : 0;
    pthread_mutex_unlock(&state_lock);
    if (!added) {
        free(e);
        *failure = error_static(ERROR_NO_MEMORY);
        return 0;
    }
    uint64_t call_id = call_begin(
        OPERATION_OPEN, id, NULL, config_json, strlen(config_json), MLXFORGE_CODEC_JSON,
        MLXFORGE_CODEC_JSON, -1, failure);
    if (call_id != 0) {
        *failure = wait_for(call_id);
    }
    if (*failure != NULL) {
        remove_engine(e);
        return 0;
    }
    runtime_loaded();
    return id;
}

mlxforge_engine *mlxforge_engine_open(const char *config_json, mlxforge_error **error_out) {
    if (error_out != NULL) {
        *error_out = NULL;
    }
    const char *config = config_json == NULL ? "{}" : config_json;
    error *failure = runtime_forked() ? error_static(ERROR_FORKED) : check_config(config);
    uint64_t id = 0;
    if (failure == NULL) {
        void *token = backend_enter_wait();
        failure = runtime_start();
        if (failure == NULL) {
            id = open_engine(config, &failure);
        }
        backend_leave_wait(token);
    }
    if (failure != NULL) {
        error_give(error_out, failure);
        return NULL;
    }
    return HANDLE_POINTER(mlxforge_engine, id);
}

void mlxforge_engine_close(mlxforge_engine *handle) {
    if (handle == NULL || runtime_forked()) {
        return;
    }
    uint64_t id = HANDLE_ID(handle);
    pthread_mutex_lock(&state_lock);
    engine *e = (engine *)handle_get_locked(id, KIND_ENGINE);
    if (e != NULL) {
        while (e->running != NULL) {
            call_finish_locked(
                e->running,
                error_new(MLXFORGE_STATUS_CANCELLED, "CANCELLED", "the engine was closed"));
        }
        handle_remove_locked(&e->base);
    }
    pthread_mutex_unlock(&state_lock);
    if (e == NULL) {
        return;
    }
    free(e);
    error *failure = NULL;
    uint64_t call_id = call_begin(
        OPERATION_CLOSE, id, NULL, NULL, 0, MLXFORGE_CODEC_JSON, MLXFORGE_CODEC_JSON, -1, &failure);
    if (call_id != 0) {
        failure = wait_for(call_id);
    }
    if (failure != NULL) {
        log_write(MLXFORGE_LOG_WARNING, "mlxforge.capi", failure->message);
        error_destroy(failure);
    }
}

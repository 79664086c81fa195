/* Calls: RPCs in progress, and the same machinery for opening and closing engines. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define MOST_UNSENT 256 /* requests of a client stream kept for the engine, at most */
#define LONGEST_METHOD 255

/* ---- Life */

void call_unref_locked(call *c, call **dead) {
    if (object_unref_locked(&c->base)) {
        c->queue_next = *dead;
        *dead = c;
    }
}

void call_destroy_chain(call *dead) {
    while (dead != NULL) {
        call *next = dead->queue_next;
        message_list_free(dead->first);
        message_list_free(dead->current);
        message_list_free(dead->request);
        message_list_free(dead->sends);
        free(dead->method);
        error_destroy(dead->error);
        pthread_cond_destroy(&dead->changed);
        free(dead);
        dead = next;
    }
}

static void unlock_and_destroy(call *dead) {
    pthread_mutex_unlock(&state_lock);
    call_destroy_chain(dead);
}

static call *call_new(operation op, const char *method, const void *request, size_t size) {
    call *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->operation = op;
    c->start_pending = true;
    cond_init(&c->changed);
    if (method != NULL && (c->method = strdup(method)) == NULL) {
        call_destroy_chain(c);
        return NULL;
    }
    if (request != NULL && (c->request = message_new(request, size)) == NULL) {
        call_destroy_chain(c);
        return NULL;
    }
    return c;
}

/* NULL, or why the call cannot be started. */
static error *register_locked(call *c, uint64_t engine_id) {
    engine *e = (engine *)handle_get_locked(engine_id, KIND_ENGINE);
    if (e == NULL && c->operation == OPERATION_RPC) {
        return error_new(
            MLXFORGE_STATUS_INVALID_ARGUMENT, "INVALID_REQUEST",
            "engine: not an open mlxforge_engine (NULL, closed, or of another kind)");
    }
    if (runtime_is_stopped()) {
        return error_new(MLXFORGE_STATUS_UNAVAILABLE, "UNAVAILABLE", "the process is exiting");
    }
    if (!handle_add_locked(&c->base, KIND_CALL)) {
        return error_static(ERROR_NO_MEMORY);
    }
    c->engine_id = engine_id;
    if (c->operation == OPERATION_RPC) {
        engine_add_call_locked(e, c);
    }
    bridge_command_locked(c);
    return NULL;
}

uint64_t call_begin(
    operation op, uint64_t engine_id, const char *method, const void *request, size_t size,
    int32_t request_codec, int32_t response_codec, int64_t timeout_ms, error **failure) {
    call *c = call_new(op, method, request, size);
    if (c == NULL) {
        *failure = error_static(ERROR_NO_MEMORY);
        return 0;
    }
    c->request_codec = request_codec;
    c->response_codec = response_codec;
    c->deadline = deadline_after_ms(timeout_ms);
    pthread_mutex_lock(&state_lock);
    *failure = register_locked(c, engine_id);
    uint64_t id = c->base.id;
    pthread_mutex_unlock(&state_lock);
    if (*failure != NULL) {
        call_destroy_chain(c);
        return 0;
    }
    return id;
}

void call_finish_locked(call *c, error *e) {
    if (c->finished) {
        error_destroy(e);
        return;
    }
    c->finished = true;
    c->error = e;
    engine_remove_call_locked(c);
    pthread_cond_broadcast(&c->changed);
    queue_touch_locked(c);
}

error *call_take_error(uint64_t call_id) {
    pthread_mutex_lock(&state_lock);
    call *c = (call *)handle_get_locked(call_id, KIND_CALL);
    error *e = error_static(ERROR_BAD_CALL);
    if (c != NULL) {
        e = c->error;
        c->error = NULL;
    }
    pthread_mutex_unlock(&state_lock);
    return e;
}

bool call_has_event_locked(const call *c) {
    return c->first != NULL || (c->finished && !c->ended);
}

/* Ends a running call from the host's side: nothing more is wanted. */
static void cancel_locked(call *c) {
    if (c->finished) {
        return;
    }
    message_list_free(c->first);
    c->first = c->last = NULL;
    c->buffered = c->buffered_bytes = 0;
    c->cancel_pending = true;
    bridge_command_locked(c);
    call_finish_locked(
        c, error_new(MLXFORGE_STATUS_CANCELLED, "CANCELLED", "the call was cancelled"));
}

/* ---- The host's functions */

static error *check_request(const void *request, size_t size, int32_t codec) {
    if (request == NULL && size > 0) {
        return error_new(
            MLXFORGE_STATUS_INVALID_ARGUMENT, "INVALID_REQUEST", "request: NULL with a size of %zu",
            size);
    }
    if (size > MLXFORGE_MAX_REQUEST_BYTES) {
        return error_new(
            MLXFORGE_STATUS_INVALID_ARGUMENT, "INVALID_REQUEST",
            "size: %zu is above the limit of %d bytes", size, MLXFORGE_MAX_REQUEST_BYTES);
    }
    const char *wrong = codec == MLXFORGE_CODEC_JSON ? json_check_depth(request, size) : NULL;
    if (wrong != NULL) {
        return error_new(MLXFORGE_STATUS_INVALID_ARGUMENT, "INVALID_REQUEST", "request: %s", wrong);
    }
    return NULL;
}

static error *check_start(const char *method, const void *request, size_t size, int32_t codec) {
    if (runtime_forked()) {
        return error_static(ERROR_FORKED);
    }
    size_t length = method == NULL ? 0 : strnlen(method, LONGEST_METHOD + 1);
    if (length == 0 || length > LONGEST_METHOD || strchr(method, '/') == NULL) {
        return error_new(
            MLXFORGE_STATUS_INVALID_ARGUMENT, "INVALID_REQUEST",
            "method: must be as \"mlxforge.v1.GenerationService/Generate\"");
    }
    if (codec != MLXFORGE_CODEC_PROTOBUF && codec != MLXFORGE_CODEC_JSON) {
        return error_new(
            MLXFORGE_STATUS_INVALID_ARGUMENT, "INVALID_REQUEST", "codec: %d is no mlxforge_codec",
            (int)codec);
    }
    return check_request(request, size, codec);
}

mlxforge_call *mlxforge_call_start(
    mlxforge_engine *engine, const char *method, const void *request, size_t size,
    mlxforge_codec codec, int64_t timeout_ms, mlxforge_error **error_out) {
    if (error_out != NULL) {
        *error_out = NULL;
    }
    error *wrong = check_start(method, request, size, (int32_t)codec);
    uint64_t id = 0;
    if (wrong == NULL) {
        id = call_begin(
            OPERATION_RPC, HANDLE_ID(engine), method, request, size, (int32_t)codec, (int32_t)codec,
            timeout_ms, &wrong);
    }
    if (wrong != NULL) {
        error_give(error_out, wrong);
        return NULL;
    }
    return HANDLE_POINTER(mlxforge_call, id);
}

static void take_message_locked(call *c, const void **data, size_t *size) {
    message *m = c->first;
    c->first = m->next;
    m->next = NULL;
    if (c->first == NULL) {
        c->last = NULL;
    }
    c->buffered--;
    c->buffered_bytes -= m->size;
    c->current = m;
    if (data != NULL) {
        *data = m->data;
    }
    if (size != NULL) {
        *size = m->size;
    }
    if (c->paused && c->buffered <= MOST_BUFFERED / 2 &&
        c->buffered_bytes <= MOST_BUFFERED_BYTES / 2) {
        c->paused = false;
        c->resume_pending = true;
        bridge_command_locked(c);
    }
}

/* The next event of a call, which the caller holds a reference to. */
static mlxforge_event next_locked(call *c, const deadline *d, const void **data, size_t *size) {
    bool waiting = true;
    while (waiting && c->first == NULL && !c->finished) {
        waiting = cond_wait(&c->changed, &state_lock, d);
    }
    if (c->freed) { /* which finished it */
        return MLXFORGE_ERROR;
    }
    if (c->first == NULL && !c->finished) {
        return MLXFORGE_TIMEOUT;
    }
    mlxforge_event event = MLXFORGE_MESSAGE;
    if (c->first != NULL) {
        take_message_locked(c, data, size);
    } else {
        c->ended = true;
        event = c->error == NULL ? MLXFORGE_END : MLXFORGE_ERROR;
    }
    c->announced = false;
    queue_touch_locked(c);
    return event;
}

mlxforge_event
mlxforge_call_next(mlxforge_call *handle, int64_t timeout_ms, const void **data, size_t *size) {
    if (data != NULL) {
        *data = NULL;
    }
    if (size != NULL) {
        *size = 0;
    }
    if (runtime_forked()) {
        return MLXFORGE_ERROR;
    }
    deadline d = deadline_after_ms(timeout_ms);
    mlxforge_event event = MLXFORGE_ERROR;
    message *read = NULL;
    call *dead = NULL;
    void *token = backend_enter_wait();
    pthread_mutex_lock(&state_lock);
    call *c = (call *)handle_get_locked(HANDLE_ID(handle), KIND_CALL);
    if (c != NULL) {
        object_ref_locked(&c->base);
        read = c->current;
        c->current = NULL;
        event = next_locked(c, &d, data, size);
        call_unref_locked(c, &dead);
    }
    unlock_and_destroy(dead);
    message_list_free(read);
    backend_leave_wait(token);
    return event;
}

/* A request enters the call's stream, or the reason why it does not. */
static int32_t send_locked(call *c, message *m, size_t size) {
    if (c->finished) {
        return c->error == NULL ? MLXFORGE_STATUS_CANCELLED : c->error->code;
    }
    if (c->half_closed) {
        return MLXFORGE_STATUS_FAILED_PRECONDITION;
    }
    if (m->size == SIZE_MAX) {
        c->half_closed = true;
    } else if (
        c->unsent >= MOST_UNSENT ||
        (c->unsent > 0 && c->unsent_bytes + size > MLXFORGE_MAX_REQUEST_BYTES)) {
        return MLXFORGE_STATUS_RESOURCE_EXHAUSTED;
    } else {
        c->unsent++;
        c->unsent_bytes += size;
    }
    if (c->last_send == NULL) {
        c->sends = m;
    } else {
        c->last_send->next = m;
    }
    c->last_send = m;
    bridge_command_locked(c);
    return MLXFORGE_STATUS_OK;
}

int32_t mlxforge_call_send(mlxforge_call *handle, const void *request, size_t size) {
    if (runtime_forked()) {
        return MLXFORGE_STATUS_FAILED_PRECONDITION;
    }
    /* The codec is the call's own; JSON is checked for depth once the call is known. */
    error *wrong = check_request(request, request == NULL ? 0 : size, MLXFORGE_CODEC_PROTOBUF);
    if (wrong != NULL) {
        return error_give(NULL, wrong);
    }
    message *m = message_new(request, request == NULL ? 0 : size);
    if (m == NULL) {
        return MLXFORGE_STATUS_RESOURCE_EXHAUSTED;
    }
    if (request == NULL) {
        m->size = SIZE_MAX;
    }
    bool deep = request != NULL && json_check_depth(request, size) != NULL;
    int32_t status = MLXFORGE_STATUS_INVALID_ARGUMENT;
    pthread_mutex_lock(&state_lock);
    call *c = (call *)handle_get_locked(HANDLE_ID(handle), KIND_CALL);
    if (c != NULL && !(deep && c->request_codec == MLXFORGE_CODEC_JSON)) {
        status = send_locked(c, m, size);
    }
    pthread_mutex_unlock(&state_lock);
    if (status != MLXFORGE_STATUS_OK) {
        message_list_free(m);
    }
    return status;
}

const mlxforge_error *mlxforge_call_error(const mlxforge_call *handle) {
    if (runtime_forked()) {
        return HANDLE_POINTER(const mlxforge_error, error_static(ERROR_FORKED)->base.id);
    }
    uint64_t id = error_static(ERROR_BAD_CALL)->base.id;
    pthread_mutex_lock(&state_lock);
    call *c = (call *)handle_get_locked(HANDLE_ID(handle), KIND_CALL);
    if (c != NULL) {
        error *e = c->error;
        if (e != NULL && e->base.id == 0) {
            e->borrowed = true;
            if (!handle_add_locked(&e->base, KIND_ERROR)) {
                e = error_static(ERROR_NO_MEMORY);
            }
        }
        id = e == NULL ? 0 : e->base.id;
    }
    pthread_mutex_unlock(&state_lock);
    return HANDLE_POINTER(const mlxforge_error, id);
}

void mlxforge_call_cancel(mlxforge_call *handle) {
    if (handle == NULL || runtime_forked()) {
        return;
    }
    pthread_mutex_lock(&state_lock);
    call *c = (call *)handle_get_locked(HANDLE_ID(handle), KIND_CALL);
    if (c != NULL) {
        cancel_locked(c);
    }
    pthread_mutex_unlock(&state_lock);
}

void mlxforge_call_free(mlxforge_call *handle) {
    if (handle == NULL || runtime_forked()) {
        return;
    }
    call *dead = NULL;
    pthread_mutex_lock(&state_lock);
    call *c = (call *)handle_get_locked(HANDLE_ID(handle), KIND_CALL);
    if (c != NULL) {
        queue_detach_locked(c);
        cancel_locked(c);
        c->freed = true;
        pthread_cond_broadcast(&c->changed);
        if (c->error != NULL && handle_get_locked(c->error->base.id, KIND_ERROR) != NULL) {
            handle_remove_locked(&c->error->base); /* of mlxforge_call_error */
        }
        handle_remove_locked(&c->base);
        call_unref_locked(c, &dead);
    }
    unlock_and_destroy(dead);
}

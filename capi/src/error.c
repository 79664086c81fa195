/* Errors: a status code, a message for people, and a google.rpc.Status for programs. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ids of the static errors: positions that handle.c never gives out. */
#define STATIC_ID(which) ((uint64_t)KIND_ERROR << 44 | (0xffff0u + (unsigned)(which)))
#define STATIC_DETAILS 256

static error statics[STATIC_ERRORS];
static unsigned char static_details[STATIC_ERRORS][STATIC_DETAILS];

/* google.rpc.Status {code, message, details: [Any of ErrorInfo {reason, domain}]} */
static void put_status(wire_writer *w, int32_t code, const char *message, const char *reason) {
    static const char type[] = "type.googleapis.com/google.rpc.ErrorInfo";
    unsigned char info[96], any[192];
    wire_writer i = {info, 0}, a = {any, 0};
    wire_put_bytes(&i, 1, reason, strlen(reason));
    wire_put_bytes(&i, 2, "mlxforge", 8);
    wire_put_bytes(&a, 1, type, sizeof type - 1);
    wire_put_bytes(&a, 2, info, i.size);
    wire_put_varint(w, 1, (uint64_t)code);
    wire_put_bytes(w, 2, message, strlen(message));
    wire_put_bytes(w, 3, any, a.size);
}

void error_statics_init(void) {
    static const struct {
        int32_t code;
        const char *reason, *message;
    } texts[STATIC_ERRORS] = {
        [ERROR_NO_MEMORY] =
            {MLXFORGE_STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "memory allocation failed"},
        [ERROR_FORKED] =
            {MLXFORGE_STATUS_FAILED_PRECONDITION, "FORKED",
             "this process was forked after mlxforge had started: open engines in "
             "the child before the parent does, or exec"},
        [ERROR_BAD_CALL] =
            {MLXFORGE_STATUS_INVALID_ARGUMENT, "INVALID_REQUEST",
             "call: not a live mlxforge_call (NULL, freed, or of another kind)"},
        [ERROR_BAD_ERROR] =
            {MLXFORGE_STATUS_INVALID_ARGUMENT, "INVALID_REQUEST",
             "error: not a live mlxforge_error (freed, or of another kind)"},
    };
    for (int i = 0; i < STATIC_ERRORS; i++) {
        wire_writer w = {static_details[i], 0};
        put_status(&w, texts[i].code, texts[i].message, texts[i].reason);
        statics[i] = (error){
            .base = {.id = STATIC_ID(i), .kind = KIND_ERROR, .references = 1},
            .code = texts[i].code,
            .borrowed = true,
            .message = texts[i].message,
            .details = static_details[i],
            .details_size = w.size};
    }
}

error *error_static(static_error which) {
    return &statics[which];
}

static bool is_static(const error *e) {
    return (uintptr_t)e - (uintptr_t)statics < sizeof statics;
}

/* One block: the error, its message, its details. */
static error *allocate(
    int32_t code, size_t message_size, size_t details_size, char **message,
    unsigned char **details) {
    error *e = malloc(sizeof *e + message_size + 1 + details_size);
    if (e == NULL) {
        return NULL;
    }
    *message = (char *)(e + 1);
    (*message)[message_size] = '\0';
    *details = (unsigned char *)*message + message_size + 1;
    *e = (error){
        .code = code, .message = *message, .details = *details, .details_size = details_size};
    return e;
}

error *error_new(int32_t code, const char *reason, const char *format, ...) {
    char text[2048]; /* longer messages are cut */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    wire_writer w = {NULL, 0};
    put_status(&w, code, text, reason);
    char *message;
    unsigned char *details;
    error *e = allocate(code, strlen(text), w.size, &message, &details);
    if (e == NULL) {
        return error_static(ERROR_NO_MEMORY);
    }
    memcpy(message, text, strlen(text));
    w = (wire_writer){details, 0};
    put_status(&w, code, text, reason);
    return e;
}

error *error_of_status(int32_t code, const char *text, const void *status, size_t size) {
    char *message;
    unsigned char *details;
    error *e = allocate(code, strlen(text), size, &message, &details);
    if (e == NULL) {
        return error_static(ERROR_NO_MEMORY);
    }
    memcpy(message, text, strlen(text));
    if (size > 0) {
        memcpy(details, status, size);
    }
    return e;
}

void error_destroy(error *e) {
    if (e != NULL && !is_static(e)) {
        free(e);
    }
}

int32_t error_give(mlxforge_error **out, error *e) {
    int32_t code = e->code;
    if (out == NULL) {
        error_destroy(e);
        return code;
    }
    if (!is_static(e)) {
        pthread_mutex_lock(&state_lock);
        bool added = handle_add_locked(&e->base, KIND_ERROR);
        pthread_mutex_unlock(&state_lock);
        if (!added) {
            free(e);
            e = error_static(ERROR_NO_MEMORY);
        }
    }
    *out = HANDLE_POINTER(mlxforge_error, e->base.id);
    return code;
}

/* The error of a handle; its memory is valid as long as the handle is. */
static const error *find(const mlxforge_error *handle) {
    uint64_t id = HANDLE_ID(handle);
    for (int i = 0; i < STATIC_ERRORS; i++) {
        if (statics[i].base.id == id) {
            return &statics[i];
        }
    }
    if (runtime_forked()) {
        return error_static(ERROR_FORKED);
    }
    pthread_mutex_lock(&state_lock);
    object *o = handle_get_locked(id, KIND_ERROR);
    pthread_mutex_unlock(&state_lock);
    return o != NULL ? (const error *)o : error_static(ERROR_BAD_ERROR);
}

int32_t mlxforge_error_code(const mlxforge_error *handle) {
    return handle == NULL ? MLXFORGE_STATUS_OK : find(handle)->code;
}

const char *mlxforge_error_message(const mlxforge_error *handle) {
    return handle == NULL ? "" : find(handle)->message;
}

const void *mlxforge_error_details(const mlxforge_error *handle, size_t *size) {
    const error *e = handle == NULL ? NULL : find(handle);
    if (size != NULL) {
        *size = e == NULL ? 0 : e->details_size;
    }
    return e == NULL ? NULL : e->details;
}

void mlxforge_error_free(mlxforge_error *handle) {
    if (handle == NULL || runtime_forked()) {
        return;
    }
    pthread_mutex_lock(&state_lock);
    error *e = (error *)handle_get_locked(HANDLE_ID(handle), KIND_ERROR);
    bool owned = e != NULL && !e->borrowed;
    if (owned) {
        handle_remove_locked(&e->base);
    }
    pthread_mutex_unlock(&state_lock);
    if (owned) {
        error_destroy(e);
    }
}

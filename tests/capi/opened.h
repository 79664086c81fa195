/* An engine that is open on the double, and calls on it. */
#ifndef OPENED_H
#define OPENED_H

#include "check.h"
#include "double.h"
#include "internal.h"

#include <string.h>

#define GENERATE "mlxforge.v1.GenerationService/StreamGenerate"
#define EMBED_STREAM "mlxforge.v1.EmbeddingService/StreamEmbed"
#define HANG "mlxforge.v1.ModelService/LoadModel"
#define ECHO "mlxforge.v1.ModelService/ListModels"
#define JUNK(type) ((type *)(uintptr_t)0x1234567890)

static mlxforge_engine *opened;

static inline mlxforge_call *start(const char *method, const char *request) {
    mlxforge_error *error;
    mlxforge_call *call = mlxforge_call_start(
        opened, method, request, strlen(request), MLXFORGE_CODEC_JSON, -1, &error);
    CHECK(call != NULL && error == NULL);
    return call;
}

static inline int32_t error_of(const mlxforge_call *call) {
    return mlxforge_error_code(mlxforge_call_error(call));
}

static inline void rest_ms(long ms) {
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* Until the double has `count` streams. */
static inline void wait_for_streams(size_t count) {
    while (double_live() != count) {
        rest_ms(1);
    }
}

/* A response to a call that the double leaves alone. */
static inline room respond(mlxforge_call *call, const char *text) {
    return bridge_message(HANDLE_ID(call), text, strlen(text));
}

static inline void open_double(void) {
    opened = mlxforge_engine_open("{}", NULL);
    CHECK(opened != NULL);
}

/* Closes the engine; the tests have left nothing behind. */
static inline void close_double(void) {
    wait_for_streams(0);
    CHECK(handle_count() == 1);
    mlxforge_engine_close(opened);
    CHECK(handle_count() == 0 && double_engines() == 0);
}

#endif

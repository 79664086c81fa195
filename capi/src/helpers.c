/* Typed helpers for C programs, over the public functions. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static error *invalid(const char *what) {
    return error_new(MLXFORGE_STATUS_INVALID_ARGUMENT, "INVALID_REQUEST", "%s", what);
}

/* Starts a call with a JSON request, for protobuf responses. Its id, else 0 and *failure. */
static uint64_t start(
    mlxforge_engine *engine, const char *method, text_buffer *request, int64_t timeout_ms,
    error **failure) {
    const char *wrong = NULL;
    uint64_t id = 0;
    if (request->failed) {
        *failure = error_static(ERROR_NO_MEMORY);
    } else if (request->size > MLXFORGE_MAX_REQUEST_BYTES) {
        *failure = invalid("the texts and options_json are larger than 64 MiB");
    } else if ((wrong = json_check_depth(request->data, request->size)) != NULL) {
        *failure = error_new(
            MLXFORGE_STATUS_INVALID_ARGUMENT, "INVALID_REQUEST", "options_json: %s", wrong);
    } else {
        id = call_begin(
            OPERATION_RPC, HANDLE_ID(engine), method, request->data, request->size,
            MLXFORGE_CODEC_JSON, MLXFORGE_CODEC_PROTOBUF, timeout_ms, failure);
    }
    free(request->data);
    *request = (text_buffer){0};
    return id;
}

/* Waits for a call's one response. */
static error *wait_one(uint64_t call_id, const void **response, size_t *size) {
    mlxforge_call *handle = HANDLE_POINTER(mlxforge_call, call_id);
    switch (mlxforge_call_next(handle, -1, response, size)) {
    case MLXFORGE_MESSAGE:
        return NULL;
    case MLXFORGE_ERROR:
        return call_take_error(call_id);
    default:
        return error_new(MLXFORGE_STATUS_INTERNAL, "INTERNAL", "the call ended without a response");
    }
}

static int32_t give(mlxforge_error **out, error *failure) {
    if (out != NULL) {
        *out = NULL;
    }
    return failure == NULL ? MLXFORGE_STATUS_OK : error_give(out, failure);
}

static error *check(const char *options_json) {
    if (runtime_forked()) {
        return error_static(ERROR_FORKED);
    }
    if (options_json != NULL &&
        strnlen(options_json, MLXFORGE_MAX_CONFIG_BYTES + 1) > MLXFORGE_MAX_CONFIG_BYTES) {
        return invalid("options_json: longer than 1 MiB");
    }
    return NULL;
}

static bool put_options(text_buffer *request, const char *options_json, error **failure) {
    if (text_put_fields(request, options_json)) {
        return true;
    }
    free(request->data);
    *failure = invalid("options_json: must be a JSON object");
    return false;
}

/* ---- Text */

/* The text of a StreamGenerateResponse's delta (field 4, in it field 1), copied with an end. */
static char *delta_text(const void *response, size_t size, size_t *text_size) {
    wire_reader r = wire_read(response, size);
    for (wire_field field; wire_next(&r, &field);) {
        if (field.number != 4 || field.type != 2) {
            continue;
        }
        wire_reader delta = wire_read(field.data, field.size);
        for (wire_field inner; wire_next(&delta, &inner);) {
            if (inner.number == 1 && inner.type == 2 && inner.size > 0) {
                char *text = malloc(inner.size + 1);
                if (text != NULL) {
                    memcpy(text, inner.data, inner.size);
                    text[inner.size] = '\0';
                }
                *text_size = inner.size;
                return text;
            }
        }
    }
    *text_size = 0;
    return NULL;
}

/* Hands a response's text to the host. NULL, or why the call is to end. */
static error *
hand_text(const void *response, size_t size, mlxforge_text_fn function, void *user_data) {
    size_t text_size = 0;
    char *text = delta_text(response, size, &text_size);
    if (text == NULL) {
        return text_size > 0 ? error_static(ERROR_NO_MEMORY) : NULL;
    }
    bool stop = function != NULL && function(text, text_size, user_data) != 0;
    free(text);
    return stop ? error_new(MLXFORGE_STATUS_CANCELLED, "CANCELLED", "stopped by the text function")
                : NULL;
}

int32_t mlxforge_generate_text(
    mlxforge_engine *engine, const char *prompt, const char *options_json, int64_t timeout_ms,
    mlxforge_text_fn function, void *user_data, mlxforge_error **error_out) {
    error *failure = check(options_json);
    if (failure != NULL) {
        return give(error_out, failure);
    }
    text_buffer request = {0};
    text_put(&request, "{");
    if (prompt != NULL) {
        text_put(&request, "\"chat\":{\"messages\":[{\"role\":\"user\",\"content\":");
        text_put_quoted(&request, prompt);
        text_put(&request, "}]}");
    }
    if (!put_options(&request, options_json, &failure)) {
        return give(error_out, failure);
    }
    uint64_t id = start(
        engine, "mlxforge.v1.GenerationService/StreamGenerate", &request, timeout_ms, &failure);
    mlxforge_call *handle = HANDLE_POINTER(mlxforge_call, id);
    while (failure == NULL) {
        const void *response;
        size_t size;
        mlxforge_event event = mlxforge_call_next(handle, -1, &response, &size);
        if (event == MLXFORGE_END) {
            break;
        }
        failure = event == MLXFORGE_MESSAGE ? hand_text(response, size, function, user_data)
                                            : call_take_error(id);
    }
    mlxforge_call_free(handle);
    return give(error_out, failure);
}

/* ---- Embeddings */

/* Copies the values of an Embedding (field 2, packed f32) to `row`; how many there are. */
static size_t copy_values(const wire_field *embedding, float *row, size_t room) {
    wire_reader r = wire_read(embedding->data, embedding->size);
    size_t count = 0;
    for (wire_field field; wire_next(&r, &field);) {
        if (field.number == 2 && field.type == 2) {
            size_t here = field.size / sizeof(float); /* little-endian, as this machine is */
            if (row != NULL && count + here <= room) {
                memcpy(row + count, field.data, here * sizeof(float));
            }
            count += here;
        }
    }
    return count;
}

/* Copies all embeddings (field 3) of an EmbedResponse. */
static error *copy_vectors(
    const void *response, size_t size, size_t count, float *vectors, size_t capacity,
    size_t *dimensions) {
    wire_reader r = wire_read(response, size);
    size_t row = 0;
    for (wire_field field; wire_next(&r, &field);) {
        if (field.number != 3 || field.type != 2) {
            continue;
        }
        if (row == 0) {
            *dimensions = copy_values(&field, NULL, 0);
            if (vectors != NULL && (*dimensions == 0 || capacity / *dimensions < count)) {
                return error_new(
                    MLXFORGE_STATUS_OUT_OF_RANGE, "BUFFER_TOO_SMALL",
                    "capacity: %zu floats, and %zu vectors of %zu need more", capacity, count,
                    *dimensions);
            }
        }
        float *to = vectors != NULL && row < count ? vectors + row * *dimensions : NULL;
        if (copy_values(&field, to, *dimensions) != *dimensions) {
            return error_new(
                MLXFORGE_STATUS_INTERNAL, "INTERNAL", "vectors[%zu]: not as long as the first",
                row);
        }
        row++;
    }
    return row == count ? NULL
                        : error_new(
                              MLXFORGE_STATUS_INTERNAL, "INTERNAL",
                              "%zu texts were answered with %zu vectors", count, row);
}

static error *put_inputs(text_buffer *request, const char *const *texts, size_t count) {
    text_put(request, "{\"inputs\":[");
    for (size_t i = 0; i < count; i++) {
        if (texts[i] == NULL) {
            free(request->data);
            return error_new(
                MLXFORGE_STATUS_INVALID_ARGUMENT, "INVALID_REQUEST", "texts[%zu]: is NULL", i);
        }
        text_put(request, i == 0 ? "{\"text\":" : ",{\"text\":");
        text_put_quoted(request, texts[i]);
        text_put(request, "}");
    }
    text_put(request, "]");
    return NULL;
}

int32_t mlxforge_embed_texts(
    mlxforge_engine *engine, const char *const *texts, size_t count, const char *options_json,
    int64_t timeout_ms, float *vectors, size_t capacity, size_t *dimensions,
    mlxforge_error **error_out) {
    size_t ignored, *length = dimensions != NULL ? dimensions : &ignored;
    *length = 0;
    error *failure = check(options_json);
    if (failure == NULL && (texts == NULL || count == 0)) {
        failure = invalid("texts: there must be at least one");
    }
    if (failure == NULL && count > SIZE_MAX / sizeof(char *)) {
        failure = invalid("count: is no size of an array");
    }
    if (failure != NULL) {
        return give(error_out, failure);
    }
    text_buffer request = {0};
    const size_t asked = vectors == NULL ? 1 : count;
    failure = put_inputs(&request, texts, asked);
    if (failure != NULL || !put_options(&request, options_json, &failure)) {
        return give(error_out, failure);
    }
    const void *response;
    size_t size;
    uint64_t id =
        start(engine, "mlxforge.v1.EmbeddingService/Embed", &request, timeout_ms, &failure);
    failure = failure != NULL ? failure : wait_one(id, &response, &size);
    if (failure == NULL) {
        failure = copy_vectors(response, size, asked, vectors, capacity, length);
    }
    mlxforge_call_free(HANDLE_POINTER(mlxforge_call, id));
    return give(error_out, failure);
}

/* ---- Tokens */

int32_t mlxforge_count_tokens(
    mlxforge_engine *engine, const char *text, const char *options_json, int64_t timeout_ms,
    size_t *count, mlxforge_error **error_out) {
    if (text == NULL || count == NULL) {
        return give(error_out, invalid(text == NULL ? "text: is NULL" : "count: is NULL"));
    }
    *count = 0;
    error *failure = check(options_json);
    if (failure != NULL) {
        return give(error_out, failure);
    }
    text_buffer request = {0};
    text_put(&request, "{\"text\":");
    text_put_quoted(&request, text);
    if (!put_options(&request, options_json, &failure)) {
        return give(error_out, failure);
    }
    const void *response;
    size_t size;
    uint64_t id =
        start(engine, "mlxforge.v1.TokenizerService/Tokenize", &request, timeout_ms, &failure);
    failure = failure != NULL ? failure : wait_one(id, &response, &size);
    if (failure == NULL) {
        wire_reader r = wire_read(response, size);
        for (wire_field field; wire_next(&r, &field);) {
            if (field.number == 3 && field.type == 0) {
                *count = (size_t)field.value;
            }
        }
    }
    mlxforge_call_free(HANDLE_POINTER(mlxforge_call, id));
    return give(error_out, failure);
}

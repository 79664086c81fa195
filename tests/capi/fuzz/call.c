/* Calls with any method, payload, codec and order of functions, on the double. */
#include "../check.h"
#include "internal.h"

#include <string.h>

static const char *const methods[] = {
    "mlxforge.v1.GenerationService/StreamGenerate", "mlxforge.v1.EmbeddingService/StreamEmbed",
    "mlxforge.v1.EmbeddingService/Embed",           "mlxforge.v1.TokenizerService/Tokenize",
    "mlxforge.v1.ModelService/ListModels",          "mlxforge.v1.ModelService/LoadModel",
    "mlxforge.v1.ModelService/UnloadModel",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Does what the bytes say with a call: takes, sends, cancels, frees. */
static void drive(mlxforge_call *call, mlxforge_queue *queue, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        switch (data[i] % 8) {
        case 0:
            mlxforge_call_next(call, 0, NULL, NULL);
            break;
        case 1:
            mlxforge_call_send(call, data + i, size - i);
            break;
        case 2:
            mlxforge_call_send(call, NULL, 0);
            break;
        case 3:
            mlxforge_queue_add(queue, call, call);
            break;
        case 4:
            mlxforge_queue_next(queue, 0, NULL);
            break;
        case 5:
            mlxforge_error_message(mlxforge_call_error(call));
            break;
        case 6:
            mlxforge_call_cancel(call);
            break;
        default: /* a handle out of the input's bytes */
            if (size - i >= 8) {
                uint64_t id;
                memcpy(&id, data + i, 8);
                mlxforge_call_cancel(HANDLE_POINTER(mlxforge_call, id & 0x7fffffffffff));
                mlxforge_error_message(HANDLE_POINTER(mlxforge_error, id));
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static mlxforge_engine *engine;
    if (engine == NULL) {
        engine = mlxforge_engine_open("{}", NULL);
        CHECK(engine != NULL);
    }
    if (size < 4) {
        return 0;
    }
    char name[300] = "";
    const char *method = methods[data[0] % (sizeof methods / sizeof *methods)];
    const size_t name_size = data[1];
    if (data[0] >= 200 && name_size < size - 4) { /* a method out of the input's bytes */
        memcpy(name, data + 4, name_size);
        method = name;
    }
    const size_t steps = data[2] % 32 < size - 4 ? data[2] % 32 : 0;
    const size_t payload_size = size - 4 - steps;
    char *payload = malloc(payload_size); /* of its own, so that reads beyond it are seen */
    CHECK(payload_size == 0 || payload != NULL);
    memcpy(payload, data + 4, payload_size);
    mlxforge_error *error;
    mlxforge_queue *queue = mlxforge_queue_new();
    mlxforge_call *call = mlxforge_call_start(
        engine, method, payload, payload_size, (mlxforge_codec)(data[3] % 3),
        (int64_t)(data[3] / 3) - 1, &error);
    free(payload);
    CHECK((call == NULL) == (error != NULL));
    CHECK(error == NULL || mlxforge_error_message(error)[0] != '\0');
    mlxforge_error_free(error);
    drive(call, queue, data + size - steps, steps);
    mlxforge_call_free(call);
    mlxforge_queue_free(queue);
    CHECK(handle_count() == 1);
    return 0;
}

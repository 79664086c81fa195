/*
 * One call from the command line, for tests that compare answers:
 *
 *   driver CONFIG METHOD REQUEST [TIMEOUT_MS]
 *
 * Prints each response in JSON on a line, then "OK" or the status code and message.
 */
#include "mlxforge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const mlxforge_error *error) {
    printf("%d %s\n", (int)mlxforge_error_code(error), mlxforge_error_message(error));
    return 1;
}

int main(int count, char **arguments) {
    if (count < 4) {
        return 2;
    }
    mlxforge_error *error;
    mlxforge_engine *engine = mlxforge_engine_open(arguments[1], &error);
    if (engine == NULL) {
        return fail(error);
    }
    const long timeout_ms = count > 4 ? atol(arguments[4]) : -1;
    mlxforge_call *call = mlxforge_call_start(
        engine, arguments[2], arguments[3], strlen(arguments[3]), MLXFORGE_CODEC_JSON, timeout_ms,
        &error);
    if (call == NULL) {
        return fail(error);
    }
    const void *message;
    size_t size;
    mlxforge_event event;
    while ((event = mlxforge_call_next(call, -1, &message, &size)) == MLXFORGE_MESSAGE) {
        printf("%s\n", (const char *)message);
    }
    if (event == MLXFORGE_ERROR) {
        return fail(mlxforge_call_error(call));
    }
    printf("OK\n");
    mlxforge_call_free(call);
    mlxforge_engine_close(engine);
    return 0;
}

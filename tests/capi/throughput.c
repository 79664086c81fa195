/*
 * For bench/capi.py. As a program: opens an engine and prints the seconds that took. As a library:
 * throughput_run, calls through the C ABI taken by one thread through a queue.
 */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "mlxforge.h"

#include <string.h>
#include <time.h>

enum { MOST = 256 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static mlxforge_call *start(mlxforge_engine *engine, int number, int tokens) {
    char request[512];
    snprintf(
        request, sizeof request,
        "{\"prompt\":\"Number %d. Once upon a time in a land far away there lived\","
        "\"max_tokens\":%d,\"ignore_eos\":true,\"sampling_params\":{\"temperature\":0}}",
        number, tokens);
    mlxforge_call *call = mlxforge_call_start(
        engine, "mlxforge.v1.GenerationService/StreamGenerate", request, strlen(request),
        MLXFORGE_CODEC_JSON, -1, NULL);
    CHECK(call != NULL);
    return call;
}

double throughput_run(mlxforge_engine *engine, int count, int tokens);

/* Seconds until `count` StreamGenerate calls at once, of so many tokens each, have ended. */
double throughput_run(mlxforge_engine *engine, int count, int tokens) {
    CHECK(count > 0 && count <= MOST);
    mlxforge_call *calls[MOST];
    mlxforge_queue *queue = mlxforge_queue_new();
    const double begin = now();
    for (int i = 0; i < count; i++) {
        calls[i] = start(engine, i, tokens);
        mlxforge_queue_add(queue, calls[i], calls[i]);
    }
    for (int running = count; running > 0;) {
        void *call;
        const void *message;
        mlxforge_queue_next(queue, -1, &call);
        const mlxforge_event event = mlxforge_call_next(call, 0, &message, NULL);
        CHECK(event == MLXFORGE_MESSAGE || event == MLXFORGE_END);
        running -= event == MLXFORGE_END;
    }
    const double seconds = now() - begin;
    for (int i = 0; i < count; i++) {
        mlxforge_call_free(calls[i]);
    }
    mlxforge_queue_free(queue);
    return seconds;
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    const double begin = now();
    mlxforge_error *error;
    mlxforge_engine *engine = mlxforge_engine_open(arguments[1], &error);
    if (engine == NULL) {
        fprintf(stderr, "%s\n", mlxforge_error_message(error));
        return 1;
    }
    printf("%.4f\n", now() - begin);
    mlxforge_engine_close(engine);
    return 0;
}

/*
 * Many threads with calls of mixed kinds, half of them cancelled at random moments.
 *
 *   stress CONFIG THREADS CALLS ROUNDS SEED [TOKENS]
 *
 * Every call must end exactly once: in END unless it was cancelled, else in END or CANCELLED.
 * Prints one JSON line for each round: how calls ended, and what the process holds after it.
 * Uses the public functions only, so it runs on the double, on scripted engines and on models.
 */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "mlxforge.h"

#include <dirent.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct worker {
    pthread_t thread;
    mlxforge_engine *engine;
    unsigned seed;
    int calls;
    long tokens;
    long ended, cancelled, messages;
} worker;

static unsigned draw(unsigned *seed, unsigned below) {
    *seed = *seed * 1664525U + 1013904223U;
    return (*seed >> 8) % below;
}

static void pause_us(unsigned us) {
    struct timespec t = {0, (long)us * 1000};
    nanosleep(&t, NULL);
}

static mlxforge_call *start(worker *w, unsigned kind) {
    char request[256];
    const char *method;
    switch (kind) {
    case 0:
        method = "mlxforge.v1.EmbeddingService/Embed";
        snprintf(request, sizeof request, "{\"inputs\":[{\"text\":\"one\"},{\"text\":\"two\"}]}");
        break;
    case 1:
        method = "mlxforge.v1.TokenizerService/Tokenize";
        snprintf(request, sizeof request, "{\"text\":\"how many tokens is this\"}");
        break;
    case 2:
        method = "mlxforge.v1.ModelService/ListModels";
        snprintf(request, sizeof request, "{}");
        break;
    default:
        method = "mlxforge.v1.GenerationService/StreamGenerate";
        snprintf(
            request, sizeof request,
            "{\"prompt\":\"Once upon a time\",\"max_tokens\":%ld,"
            "\"sampling_params\":{\"seed\":%u}}",
            w->tokens, w->seed & 0xffffU);
    }
    mlxforge_error *error;
    mlxforge_call *call = mlxforge_call_start(
        w->engine, method, request, strlen(request), MLXFORGE_CODEC_JSON, 300000, &error);
    if (call == NULL) {
        fprintf(stderr, "start: %s\n", mlxforge_error_message(error));
        exit(1);
    }
    return call;
}

static void ended(worker *w, mlxforge_call *call, mlxforge_event event, int cancelled) {
    const mlxforge_error *error = mlxforge_call_error(call);
    if (event == MLXFORGE_ERROR &&
        !(cancelled && mlxforge_error_code(error) == MLXFORGE_STATUS_CANCELLED)) {
        fprintf(stderr, "call failed: %s\n", mlxforge_error_message(error));
        exit(1);
    }
    CHECK(mlxforge_call_next(call, 0, NULL, NULL) == event); /* asked again, the same again */
    w->ended++;
    w->cancelled += event == MLXFORGE_ERROR;
}

static void run_call(worker *w) {
    const unsigned kind = draw(&w->seed, 6);
    const int to_cancel = draw(&w->seed, 2) == 0;
    const int by_queue = draw(&w->seed, 2) == 0;
    const unsigned after = draw(&w->seed, 4);
    mlxforge_call *call = start(w, kind);
    mlxforge_queue *queue = by_queue ? mlxforge_queue_new() : NULL;
    if (by_queue) {
        mlxforge_queue_add(queue, call, w);
    }
    for (unsigned taken = 0;; taken++) {
        if (to_cancel && taken == after) {
            pause_us(draw(&w->seed, 3000));
            mlxforge_call_cancel(call);
        }
        void *tag = w;
        mlxforge_event told = by_queue ? mlxforge_queue_next(queue, -1, &tag) : MLXFORGE_MESSAGE;
        mlxforge_event event = mlxforge_call_next(call, by_queue ? 0 : -1, NULL, NULL);
        CHECK(tag == w && event != MLXFORGE_TIMEOUT && (!by_queue || told == event));
        if (event != MLXFORGE_MESSAGE) {
            ended(w, call, event, to_cancel && taken >= after);
            break;
        }
        w->messages++;
    }
    if (draw(&w->seed, 2) == 0) {
        mlxforge_queue_free(queue);
        mlxforge_call_free(call);
    } else {
        mlxforge_call_free(call);
        mlxforge_queue_free(queue);
    }
}

static void *work(void *argument) {
    worker *w = argument;
    for (int i = 0; i < w->calls; i++) {
        run_call(w);
    }
    return NULL;
}

static int entries(const char *folder) {
    int count = 0;
    DIR *open = opendir(folder);
    while (open != NULL && readdir(open) != NULL) {
        count++;
    }
    if (open != NULL) {
        closedir(open);
    }
    return count;
}

static long resident_kib(void) {
    long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        CHECK(fscanf(file, "%ld %ld", &total, &resident) == 2);
        fclose(file);
    }
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void run_round(mlxforge_engine *engine, int threads, int calls, unsigned seed, long tokens) {
    worker *workers = calloc((size_t)threads, sizeof *workers);
    CHECK(workers != NULL);
    for (int i = 0; i < threads; i++) {
        workers[i] = (worker){
            .engine = engine,
            .seed = seed * 7919U + (unsigned)i * 104729U,
            .calls = calls,
            .tokens = tokens};
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    worker sum = {0};
    for (int i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        sum.ended += workers[i].ended;
        sum.cancelled += workers[i].cancelled;
        sum.messages += workers[i].messages;
    }
    free(workers);
    printf(
        "{\"ended\": %ld, \"cancelled\": %ld, \"messages\": %ld, \"resident_kib\": %ld, "
        "\"fds\": %d, \"threads\": %d}\n",
        sum.ended, sum.cancelled, sum.messages, resident_kib(), entries("/proc/self/fd"),
        entries("/proc/self/task"));
    fflush(stdout);
}

int main(int count, char **arguments) {
    CHECK(count >= 6);
    mlxforge_error *error;
    mlxforge_engine *engine = mlxforge_engine_open(arguments[1], &error);
    if (engine == NULL) {
        fprintf(stderr, "open: %s\n", mlxforge_error_message(error));
        return 1;
    }
    const int rounds = atoi(arguments[4]);
    for (int i = 0; i < rounds; i++) {
        run_round(
            engine, atoi(arguments[2]), atoi(arguments[3]), (unsigned)(atoi(arguments[5]) + i),
            count > 6 ? atol(arguments[6]) : 16);
    }
    mlxforge_engine_close(engine);
    return 0;
}

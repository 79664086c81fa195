/*
 * The C runner: libmlxforge's JSON form, a thread for each call.
 * c_runner embedded CONFIG_JSON
 */
#define _POSIX_C_SOURCE 200809L
#include <mlxforge.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

typedef struct job {
    char id[32];
    char method[128];
    long timeout_ms;
    long cancel_after;
    size_t count;
    char **requests;
    pthread_t thread;
    struct job *next;
} job;

static mlxforge_engine *engine;
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

static void *must(void *memory) {
    if (memory == NULL) {
        fputs("no memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void say_message(const job *j, const void *message, size_t size) {
    pthread_mutex_lock(&output);
    printf("message %s %.*s\n", j->id, (int)size, (const char *)message);
    fflush(stdout);
    pthread_mutex_unlock(&output);
}

static void say_end(const job *j, const mlxforge_error *error) {
    pthread_mutex_lock(&output);
    if (error == NULL) {
        printf("end %s 0 {}\n", j->id);
    } else {
        size_t size;
        const unsigned char *details = mlxforge_error_details(error, &size);
        printf("end %s %d {\"status\":\"", j->id, (int)mlxforge_error_code(error));
        for (size_t i = 0; i < size; i++) {
            printf("%02x", details[i]);
        }
        puts("\"}");
    }
    fflush(stdout);
    pthread_mutex_unlock(&output);
}

static void read_responses(const job *j, mlxforge_call *call) {
    const void *message;
    size_t size;
    long taken = 0;
    if (j->cancel_after == 0) {
        mlxforge_call_cancel(call);
    }
    while (mlxforge_call_next(call, -1, &message, &size) == MLXFORGE_MESSAGE) {
        say_message(j, message, size);
        if (++taken == j->cancel_after) {
            mlxforge_call_cancel(call);
        }
    }
}

static void *run(void *argument) {
    const job *j = argument;
    mlxforge_error *error = NULL;
    const char *first = j->count > 0 ? j->requests[0] : NULL;
    size_t size = first == NULL ? 0 : strlen(first);
    mlxforge_call *call = mlxforge_call_start(
        engine, j->method, first, size, MLXFORGE_CODEC_JSON, j->timeout_ms, &error);
    if (call == NULL) {
        say_end(j, error);
        mlxforge_error_free(error);
        return NULL;
    }
    if (strstr(j->method, "/StreamEmbed") != NULL) { /* the one method that takes more */
        for (size_t i = 1; i < j->count; i++) {
            mlxforge_call_send(call, j->requests[i], strlen(j->requests[i]));
        }
        mlxforge_call_send(call, NULL, 0);
    }
    read_responses(j, call);
    say_end(j, mlxforge_call_error(call));
    mlxforge_call_free(call);
    return NULL;
}

/* A line of standard input without its end; NULL after the last. */
static char *read_line(void) {
    char *line = NULL;
    size_t room = 0;
    ssize_t length = getline(&line, &room, stdin);
    if (length < 0) {
        free(line);
        return NULL;
    }
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static job *read_job(void) {
    char *line = read_line();
    if (line == NULL) {
        return NULL;
    }
    job *j = must(calloc(1, sizeof *j));
    int found = sscanf(
        line, "call %31s %127s %ld %ld %zu", j->id, j->method, &j->timeout_ms, &j->cancel_after,
        &j->count);
    free(line);
    if (found != 5) {
        fputs("not a call\n", stderr);
        exit(1);
    }
    j->requests = must(calloc(j->count + 1, sizeof *j->requests));
    for (size_t i = 0; i < j->count; i++) {
        j->requests[i] = must(read_line());
    }
    return j;
}

static void finish(job *j) {
    pthread_join(j->thread, NULL);
    for (size_t i = 0; i < j->count; i++) {
        free(j->requests[i]);
    }
    free(j->requests);
    free(j);
}

int main(int argc, char **argv) {
    mlxforge_error *error = NULL;
    if (argc != 3 || strcmp(argv[1], "embedded") != 0) {
        fputs("usage: c_runner embedded CONFIG_JSON\n", stderr);
        return 2;
    }
    engine = mlxforge_engine_open(argv[2], &error);
    if (engine == NULL) {
        fprintf(stderr, "%s\n", mlxforge_error_message(error));
        return 1;
    }
    puts("ready");
    fflush(stdout);
    job *started = NULL;
    for (job *j; (j = read_job()) != NULL;) {
        j->next = started;
        started = j;
        if (pthread_create(&j->thread, NULL, run, j) != 0) {
            fputs("no thread\n", stderr);
            return 1;
        }
    }
    while (started != NULL) {
        job *j = started;
        started = j->next;
        finish(j);
    }
    mlxforge_engine_close(engine);
    return 0;
}

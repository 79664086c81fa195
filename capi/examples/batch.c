/*
 * Sixteen prompts at once from one thread: they run in one batch, and a queue says which of them
 * has something. batch [CONFIG_JSON]
 */
#include <mlxforge.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPTS = 16 };

static const char *const THINGS[PROMPTS] = {
    "France", "Japan", "Egypt",  "Peru", "Italy",  "Kenya", "Norway", "India",
    "Canada", "Spain", "Greece", "Cuba", "Poland", "Chile", "Turkey", "Iceland"};

typedef struct answer {
    mlxforge_call *call;
    char text[1024];
} answer;

static int fail(const mlxforge_error *error) {
    fprintf(stderr, "batch: %s\n", mlxforge_error_message(error));
    return 1;
}

/* Appends the "text" of a message's delta. A real program has a JSON library for this. */
static void append_text(answer *a, const char *json) {
    const char *at = strstr(json, "\"text\":\"");
    size_t used = strlen(a->text);
    for (at = at == NULL ? "" : at + 8; *at != '\0' && *at != '"'; at++) {
        if (used + 1 < sizeof a->text) {
            a->text[used++] = *at == '\\' ? *++at : *at;
        }
    }
    a->text[used] = '\0';
}

static mlxforge_call *ask(mlxforge_engine *engine, const char *thing, mlxforge_error **error) {
    char request[256];
    snprintf(
        request, sizeof request,
        "{\"chat\": {\"messages\": [{\"role\": \"user\", \"content\": "
        "\"What is the capital of %s?\"}]}, \"max_tokens\": 24,"
        " \"sampling_params\": {\"temperature\": 0}}",
        thing);
    return mlxforge_call_start(
        engine, "mlxforge.v1.GenerationService/StreamGenerate", request, strlen(request),
        MLXFORGE_CODEC_JSON, -1, error);
}

int main(int count, char **arguments) {
    static answer answers[PROMPTS];
    mlxforge_error *error;
    mlxforge_engine *engine = mlxforge_engine_open(count > 1 ? arguments[1] : NULL, &error);
    if (engine == NULL) {
        return fail(error);
    }
    mlxforge_queue *queue = mlxforge_queue_new();
    for (int i = 0; i < PROMPTS; i++) {
        answers[i].call = ask(engine, THINGS[i], &error);
        if (answers[i].call == NULL) {
            return fail(error);
        }
        mlxforge_queue_add(queue, answers[i].call, &answers[i]);
    }
    for (int running = PROMPTS; running > 0;) {
        void *tag;
        const void *message;
        mlxforge_event event = mlxforge_queue_next(queue, -1, &tag);
        answer *a = tag;
        if (event == MLXFORGE_MESSAGE) {
            mlxforge_call_next(a->call, 0, &message, NULL);
            append_text(a, message);
        } else if (event == MLXFORGE_END) {
            running--;
        } else {
            return fail(mlxforge_call_error(a->call));
        }
    }
    for (int i = 0; i < PROMPTS; i++) {
        printf("%-8s %s\n", THINGS[i], answers[i].text);
        mlxforge_call_free(answers[i].call);
    }
    mlxforge_queue_free(queue);
    mlxforge_engine_close(engine);
    return 0;
}

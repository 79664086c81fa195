/*
 * Data out of a text: the answer is JSON that keeps to a schema. extract ["TEXT"] [CONFIG_JSON]
 */
#include <mlxforge.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* JSON Schema as a JSON string, as GenerateRequest.json_schema wants it. */
#define SCHEMA                                                                                     \
    "{\\\"type\\\": \\\"object\\\", \\\"properties\\\": {"                                         \
    "\\\"name\\\": {\\\"type\\\": \\\"string\\\", \\\"maxLength\\\": 40},"                         \
    "\\\"age\\\": {\\\"type\\\": \\\"integer\\\", \\\"minimum\\\": 0, \\\"maximum\\\": 150}},"     \
    "\\\"required\\\": [\\\"name\\\", \\\"age\\\"], \\\"additionalProperties\\\": false}"

#define OPTIONS                                                                                    \
    "{\"max_tokens\": 100, \"sampling_params\": {\"temperature\": 0}, \"json_schema\": \"" SCHEMA  \
    "\"}"

typedef struct buffer {
    char text[1024];
    size_t size;
} buffer;

static int32_t gather(const char *text, size_t size, void *user_data) {
    buffer *b = user_data;
    if (b->size + size >= sizeof b->text) {
        return 1; /* stops the generation */
    }
    memcpy(b->text + b->size, text, size + 1);
    b->size += size;
    return 0;
}

static int fail(mlxforge_error *error) {
    fprintf(stderr, "extract: %s\n", mlxforge_error_message(error));
    mlxforge_error_free(error);
    return 1;
}

int main(int count, char **arguments) {
    char prompt[2048];
    buffer answer = {"", 0};
    snprintf(
        prompt, sizeof prompt, "Who is this about, and how old are they? %s",
        count > 1 ? arguments[1] : "Ada Lovelace was 36 when she died in London.");
    mlxforge_error *error;
    mlxforge_engine *engine = mlxforge_engine_open(count > 2 ? arguments[2] : NULL, &error);
    if (engine == NULL) {
        return fail(error);
    }
    int32_t status =
        mlxforge_generate_text(engine, prompt, OPTIONS, 60000, gather, &answer, &error);
    mlxforge_engine_close(engine);
    if (status != MLXFORGE_STATUS_OK) {
        return fail(error);
    }
    puts(answer.text);
    return 0;
}

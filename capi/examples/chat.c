/*
 * A question, answered as it is generated: chat "QUESTION" [CONFIG_JSON]
 *
 *   cc chat.c $(mlxforge config --cflags --libs) -o chat
 */
#include <mlxforge.h>
#include <stdio.h>

static int32_t print(const char *text, size_t size, void *user_data) {
    (void)user_data;
    fwrite(text, 1, size, stdout);
    fflush(stdout);
    return 0; /* anything else would stop the answer here */
}

static int fail(mlxforge_error *error) {
    fprintf(stderr, "chat: %s\n", mlxforge_error_message(error));
    mlxforge_error_free(error);
    return 1;
}

int main(int count, char **arguments) {
    const char *question = count > 1 ? arguments[1] : "What is the capital of France?";
    const char *config = count > 2 ? arguments[2] : NULL; /* NULL: the default models */
    mlxforge_error *error;
    mlxforge_engine *engine = mlxforge_engine_open(config, &error);
    if (engine == NULL) {
        return fail(error);
    }
    int32_t status = mlxforge_generate_text(
        engine, question, "{\"max_tokens\": 128, \"sampling_params\": {\"temperature\": 0}}", -1,
        print, NULL, &error);
    mlxforge_engine_close(engine);
    if (status != MLXFORGE_STATUS_OK) {
        return fail(error);
    }
    putchar('\n');
    return 0;
}

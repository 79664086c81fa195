/*
 * Search by meaning: texts and a question become vectors, the nearest text wins.
 * search ["QUESTION"] [CONFIG_JSON]
 */
#include <mlxforge.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const TEXTS[] = {
    "The cat sleeps on the warm window sill.",
    "Quarterly revenue rose by eight percent.",
    "Boil the pasta for nine minutes, then drain it.",
    "The train to Hamburg leaves from platform four.",
};
enum { COUNT = sizeof TEXTS / sizeof *TEXTS };

static int fail(mlxforge_error *error) {
    fprintf(stderr, "search: %s\n", mlxforge_error_message(error));
    mlxforge_error_free(error);
    return 1;
}

/* Vectors have length 1, so this is the cosine of their angle. */
static float similarity(const float *a, const float *b, size_t dimensions) {
    float sum = 0;
    for (size_t i = 0; i < dimensions; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

int main(int count, char **arguments) {
    const char *question = count > 1 ? arguments[1] : "How long does spaghetti take to cook?";
    size_t dimensions = 0;
    mlxforge_error *error;
    mlxforge_engine *engine = mlxforge_engine_open(count > 2 ? arguments[2] : NULL, &error);
    if (engine == NULL) {
        return fail(error);
    }
    /* Without a buffer the length of a vector is found out. */
    if (mlxforge_embed_texts(engine, &question, 1, NULL, -1, NULL, 0, &dimensions, &error)) {
        return fail(error);
    }
    float *vectors = malloc((COUNT + 1) * dimensions * sizeof *vectors);
    float *asked = vectors + COUNT * dimensions;
    if (vectors == NULL ||
        mlxforge_embed_texts(
            engine, TEXTS, COUNT, NULL, -1, vectors, COUNT * dimensions, &dimensions, &error) ||
        mlxforge_embed_texts(
            engine, &question, 1, NULL, -1, asked, dimensions, &dimensions, &error)) {
        return fail(error);
    }
    size_t best = 0;
    for (size_t i = 0; i < COUNT; i++) {
        float score = similarity(vectors + i * dimensions, asked, dimensions);
        printf("%6.3f  %s\n", score, TEXTS[i]);
        if (score > similarity(vectors + best * dimensions, asked, dimensions)) {
            best = i;
        }
    }
    printf("best: %s\n", TEXTS[best]);
    free(vectors);
    mlxforge_engine_close(engine);
    return 0;
}

/* Tests of the typed helpers: used well, used wrongly, and answered with what is no answer. */
#define _POSIX_C_SOURCE 200809L
#include "opened.h"

static int32_t gather(const char *text, size_t size, void *user_data) {
    char *all = user_data;
    CHECK(strlen(text) == size);
    strcat(all, text);
    return strlen(all) > 15;
}

static void test_text(void) {
    mlxforge_error *error;
    char text[64] = "";
    CHECK(mlxforge_generate_text(opened, "say \"a\"\n", NULL, -1, gather, text, &error) == 0);
    CHECK(error == NULL && strcmp(text, " word word word") == 0);
    text[0] = '\0';
    CHECK(
        mlxforge_generate_text(opened, NULL, " {\"max_tokens\":99} ", -1, gather, text, &error) ==
        MLXFORGE_STATUS_CANCELLED);
    CHECK(mlxforge_error_code(error) == MLXFORGE_STATUS_CANCELLED);
    mlxforge_error_free(error);
    CHECK(
        mlxforge_generate_text(opened, "x", "[]", -1, gather, text, NULL) ==
        MLXFORGE_STATUS_INVALID_ARGUMENT);
    CHECK(
        mlxforge_generate_text(NULL, "x", NULL, -1, NULL, NULL, NULL) ==
        MLXFORGE_STATUS_INVALID_ARGUMENT);
    CHECK(
        mlxforge_generate_text(opened, "x", "{\"a\":\"b\"}", 0, NULL, NULL, NULL) ==
        MLXFORGE_STATUS_DEADLINE_EXCEEDED);
    CHECK(mlxforge_generate_text(opened, "x", NULL, -1, NULL, NULL, NULL) == 0);
}

static void test_embeddings(void) {
    mlxforge_error *error;
    const char *texts[] = {"one", "two \t\x01", NULL};
    float vectors[6];
    size_t dimensions;
    CHECK(mlxforge_embed_texts(opened, texts, 2, NULL, -1, vectors, 6, &dimensions, &error) == 0);
    CHECK(dimensions == 3 && vectors[3] == 1.0F && vectors[5] == 3.0F);
    CHECK(
        mlxforge_embed_texts(opened, texts, 2, "{}", -1, vectors, 5, &dimensions, NULL) ==
        MLXFORGE_STATUS_OUT_OF_RANGE);
    CHECK(mlxforge_embed_texts(opened, texts, 2, NULL, -1, NULL, 0, &dimensions, NULL) == 0);
    CHECK(dimensions == 3);
    CHECK(
        mlxforge_embed_texts(opened, texts, 3, NULL, -1, vectors, 9, NULL, &error) ==
        MLXFORGE_STATUS_INVALID_ARGUMENT);
    CHECK(strstr(mlxforge_error_message(error), "texts[2]") != NULL);
    mlxforge_error_free(error);
    CHECK(mlxforge_embed_texts(opened, NULL, 2, NULL, -1, vectors, 6, NULL, NULL) != 0);
    CHECK(mlxforge_embed_texts(opened, texts, 0, NULL, -1, vectors, 6, NULL, NULL) != 0);
    CHECK(mlxforge_embed_texts(opened, texts, SIZE_MAX, NULL, -1, vectors, 6, NULL, NULL) != 0);
    CHECK(mlxforge_embed_texts(opened, texts, 2, "[]", -1, vectors, 6, NULL, &error) != 0);
    CHECK(strstr(mlxforge_error_message(error), "options_json") != NULL);
    mlxforge_error_free(error);
    CHECK(mlxforge_embed_texts(NULL, texts, 2, NULL, -1, vectors, 6, NULL, NULL) != 0);
}

static void test_tokens(void) {
    mlxforge_error *error;
    size_t count;
    CHECK(mlxforge_count_tokens(opened, "abc", NULL, -1, &count, &error) == 0);
    CHECK(count == strlen("{\"text\":\"abc\"}"));
    CHECK(mlxforge_count_tokens(opened, NULL, NULL, -1, &count, NULL) != 0);
    CHECK(mlxforge_count_tokens(opened, "abc", NULL, -1, NULL, NULL) != 0);
    CHECK(mlxforge_count_tokens(opened, "abc", "7", -1, &count, NULL) != 0);
    char deep[400] = "{\"a\":";
    memset(deep + 5, '[', 200);
    CHECK(mlxforge_count_tokens(opened, "abc", deep, -1, &count, &error) != 0);
    CHECK(strstr(mlxforge_error_message(error), "options_json") != NULL);
    mlxforge_error_free(error);
}

static void test_long_options(void) {
    mlxforge_error *error;
    const char *texts[] = {"one"};
    size_t count;
    char *large = malloc(MLXFORGE_MAX_CONFIG_BYTES + 2);
    CHECK(large != NULL);
    memset(large, ' ', MLXFORGE_MAX_CONFIG_BYTES + 1);
    large[MLXFORGE_MAX_CONFIG_BYTES + 1] = '\0';
    CHECK(mlxforge_generate_text(opened, "x", large, -1, NULL, NULL, &error) != 0);
    CHECK(strstr(mlxforge_error_message(error), "longer") != NULL);
    mlxforge_error_free(error);
    CHECK(mlxforge_embed_texts(opened, texts, 1, large, -1, NULL, 0, &count, NULL) != 0);
    CHECK(mlxforge_count_tokens(opened, "x", large, -1, &count, NULL) != 0);
    free(large);
}

/* Text of messages that hold none, or in an unusual form; `raw` as the double has it. */
static void test_text_of(const char *raw, const char *expected) {
    char options[128], text[64] = "";
    snprintf(options, sizeof options, "{\"raw\":[%s]}", raw);
    CHECK(mlxforge_generate_text(opened, "x", options, -1, gather, text, NULL) == 0);
    CHECK(strcmp(text, expected) == 0);
}

static void test_texts(void) {
    test_text_of("", "");                                /* no message at all */
    test_text_of("\"\"", "");                            /* an empty one */
    test_text_of("\"22030a0161\",\"22030a0162\"", "ab"); /* two */
    test_text_of("\"080122030a0161\"", "a");             /* after another field */
    test_text_of("\"2001\"", "");                        /* delta is a number */
    test_text_of("\"2200\"", "");                        /* delta is empty */
    test_text_of("\"22020a00\"", "");                    /* its text is empty */
    test_text_of("\"22020801\"", "");                    /* its text is a number */
    test_text_of("\"2203120161\"", "");                  /* it has another field */
    test_text_of("\"220a0a0161\"", "");                  /* cut off */
    test_text_of("\"ff\"", "");                          /* no protobuf */
}

/* Two texts' vectors, made of ones, in answers of all kinds. */
static void test_vectors_of(const char *raw, int32_t status, size_t expected) {
    static const char *const texts[] = {"one", "two"};
    char options[256];
    float vectors[4] = {0};
    size_t dimensions;
    snprintf(options, sizeof options, "{\"raw\":[%s]}", raw);
    CHECK(
        mlxforge_embed_texts(opened, texts, 2, options, -1, vectors, 4, &dimensions, NULL) ==
        status);
    CHECK(dimensions == expected);
    for (size_t i = 0; status == 0 && i < 2 * dimensions; i++) {
        CHECK(vectors[i] == 1.0F);
    }
}

#define ONE "0000803f"
#define VECTOR "1a061204" ONE

static void test_vectors(void) {
    const int32_t wrong = MLXFORGE_STATUS_INTERNAL, small = MLXFORGE_STATUS_OUT_OF_RANGE;
    test_vectors_of("\"" VECTOR VECTOR "\"", 0, 1);
    test_vectors_of("\"08011801" VECTOR VECTOR "\"", 0, 1); /* other fields */
    test_vectors_of(
        "\"1a081001"
        "1204" ONE "1a0b1d" ONE "1204" ONE "\"",
        0, 1);                                                                  /* inside too */
    test_vectors_of("\"1a0c1204" ONE "1204" ONE "1a0a1208" ONE ONE "\"", 0, 2); /* in pieces */
    test_vectors_of("", wrong, 0);                                              /* no response */
    test_vectors_of("\"\"", wrong, 0);                                          /* no vector */
    test_vectors_of("\"" VECTOR "\"", wrong, 1);                                /* too few */
    test_vectors_of("\"" VECTOR VECTOR VECTOR "\"", wrong, 1);                  /* too many */
    test_vectors_of("\"" VECTOR "1a0a1208" ONE ONE "\"", wrong, 1);             /* unequal ones */
    test_vectors_of("\"1a0a1208" ONE ONE VECTOR "\"", wrong, 2);
    test_vectors_of("\"1a0e120c" ONE ONE ONE VECTOR "\"", small, 3);
    test_vectors_of(
        "\"1a00"
        "1a00"
        "\"",
        small, 0);                                       /* empty ones */
    test_vectors_of("\"1a0512030000801a00\"", small, 0); /* part of a float */
}

static void test_count_of(const char *raw, int32_t status, size_t expected) {
    char options[64];
    size_t count;
    snprintf(options, sizeof options, "{\"raw\":[%s]}", raw);
    CHECK(mlxforge_count_tokens(opened, "x", options, -1, &count, NULL) == status);
    CHECK(count == expected);
}

static void test_counts(void) {
    test_count_of("\"1807\"", 0, 7);
    test_count_of("\"08091807\"", 0, 7);
    test_count_of("\"1a00\"", 0, 0); /* the count is no number */
    test_count_of("\"\"", 0, 0);
    test_count_of("", MLXFORGE_STATUS_INTERNAL, 0);
}

int main(void) {
    open_double();
    test_text();
    test_embeddings();
    test_tokens();
    test_long_options();
    test_texts();
    test_vectors();
    test_counts();
    close_double();
    printf("ok\n");
    return 0;
}

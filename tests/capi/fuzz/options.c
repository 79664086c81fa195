/* Configurations, options, texts and response bytes of any kind, on the double. */
#include "../check.h"
#include "internal.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int32_t stop(const char *text, size_t size, void *user_data) {
    (void)text, (void)size, (void)user_data;
    return 1;
}

static void read_wire(const uint8_t *data, size_t size, int depth) {
    wire_reader r = wire_read(data, size);
    size_t fields = 0;
    for (wire_field field; wire_next(&r, &field);) {
        CHECK(++fields <= size);
        if (field.type == 2) {
            CHECK(field.data >= data && field.data + field.size <= data + size);
            if (depth < 3) {
                read_wire(field.data, field.size, depth + 1);
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
    read_wire(data, size, 0);
    char *text = malloc(size + 1);
    CHECK(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    const char *rest = text + strlen(text) + (strlen(text) < size ? 1 : 0);
    const char *texts[2] = {text, rest};
    float vectors[8];
    size_t count;
    json_check_depth(text, size);
    mlxforge_count_tokens(engine, text, rest, 50, &count, NULL);
    mlxforge_embed_texts(engine, texts, 2, rest, 50, vectors, 8, &count, NULL);
    if (size % 8 == 0) { /* these two wait longer for the double */
        mlxforge_generate_text(engine, text, rest, 50, stop, NULL, NULL);
        mlxforge_engine_close(mlxforge_engine_open(text, NULL));
    }
    free(text);
    CHECK(handle_count() == 1);
    return 0;
}

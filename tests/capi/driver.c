#include <mlxforge.h>
#include <stdio.h>
#include <string.h>
static int32_t on_text(const char *t, size_t n, void *u) {
    (void)u;
    printf("[%.*s]", (int)n, t);
    return 0;
}
int main(void) {
    mlxforge_error *err;
    mlxforge_engine *e = mlxforge_engine_open("{}", &err);
    if (!e) {
        printf("open: %d %s\n", mlxforge_error_code(err), mlxforge_error_message(err));
        mlxforge_error_free(err);
        return 1;
    }
    printf("open ok\n");
    const char *q = "{\"prompt\":\"a b c\",\"max_tokens\":5}";
    mlxforge_call *c = mlxforge_call_start(
        e, "mlxforge.v1.GenerationService/StreamGenerate", q, strlen(q), MLXFORGE_CODEC_JSON, -1,
        &err);
    const void *m;
    size_t n;
    mlxforge_event ev;
    while ((ev = mlxforge_call_next(c, 5000, &m, &n)) == MLXFORGE_MESSAGE)
        printf("%s\n", (const char *)m);
    printf("ev %d %s\n", ev, mlxforge_error_message(mlxforge_call_error(c)));
    mlxforge_call_free(c);
    mlxforge_call_free(c);
    int32_t s = mlxforge_generate_text(e, "hello \"big\" world", NULL, -1, on_text, NULL, &err);
    printf("\nstatus %d %s\n", s, mlxforge_error_message(err));
    s = mlxforge_generate_text(e, "hello", "{\"max_tokens\":-1}", -1, on_text, NULL, &err);
    printf("status %d %s\n", s, mlxforge_error_message(err));
    mlxforge_error_free(err);
    float v[8];
    size_t d;
    const char *t[] = {"abc", "defg"};
    s = mlxforge_embed_texts(e, t, 2, NULL, -1, v, 8, &d, &err);
    printf("status %d dims %zu %f %f %s\n", s, d, v[0], v[4], mlxforge_error_message(err));
    size_t k;
    s = mlxforge_count_tokens(e, "a b c d", NULL, -1, &k, &err);
    printf("count %d %zu\n", s, k);
    mlxforge_engine_close(e);
    mlxforge_engine_close(e);
    return 0;
}

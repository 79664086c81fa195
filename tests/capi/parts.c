/* Tests of the C part's small pieces, and of what every function says in a forked child. */
#define _GNU_SOURCE
#include "opened.h"

#include <sys/wait.h>
#include <unistd.h>

static bool readable(const char *bytes, size_t size) {
    wire_reader r = wire_read(bytes, size);
    wire_field field;
    while (wire_next(&r, &field)) {
    }
    return r.at == r.end;
}

static void test_wire(void) {
    static const char message[] = "\x08\x96\x01"                          /* 1: 150 */
                                  "\x12\x02hi"                            /* 2: "hi" */
                                  "\x1d\x01\x02\x03\x04"                  /* 3: 32 bits */
                                  "\x21\x01\x00\x00\x00\x00\x00\x00\x80"; /* 4: 64 bits */
    wire_reader r = wire_read(message, sizeof message - 1);
    wire_field field;
    CHECK(wire_next(&r, &field) && field.number == 1 && field.value == 150);
    CHECK(wire_next(&r, &field) && field.size == 2 && memcmp(field.data, "hi", 2) == 0);
    CHECK(wire_next(&r, &field) && field.type == 5 && field.value == 0x04030201);
    CHECK(wire_next(&r, &field) && field.type == 1 && field.value == 0x8000000000000001);
    CHECK(!wire_next(&r, &field));
    CHECK(readable(NULL, 0));
    CHECK(!readable("\x0b", 1) || !readable("\x0b\x0c", 2)); /* a group */
    for (size_t size = 1; size < sizeof message - 1; size++) {
        readable(message, size); /* cut anywhere: no read beyond it */
    }
    static const char *const wrong[] = {
        "\x02x",
        "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        "\x12\x05hi",
        "\x1d\x01",
        "\x21\x01",
        "\xff",
        "\xf8\xff\xff\xff\x7f\x01" /* a field number of 32 bits */};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        wire_reader bad = wire_read(wrong[i], strlen(wrong[i]));
        CHECK(!wire_next(&bad, &field));
    }
    unsigned char room[32];
    wire_writer w = {room, 0}, counter = {NULL, 0};
    wire_put_bytes(&w, 2, "hi", 2);
    wire_put_varint(&w, 1, UINT64_MAX);
    wire_put_bytes(&counter, 2, "hi", 2);
    wire_put_varint(&counter, 1, UINT64_MAX);
    wire_put_bytes(&counter, 3, NULL, 0);
    CHECK(counter.size == 17);
    wire_put_bytes(&w, 3, "", 0);
    CHECK(w.size == 17 && memcmp(room, "\x12\x02hi\x08\xff", 6) == 0);
}

static void test_json(void) {
    CHECK(json_check_depth("{\"a\": \"[[[[\\\"[\"}", 16) == NULL);
    CHECK(json_check_depth("]]]]}}", 6) == NULL); /* wrong, but not deep: the parser's business */
    char deep[65];
    memset(deep, '[', sizeof deep);
    CHECK(json_check_depth(deep, 64) == NULL && json_check_depth(deep, 65) != NULL);
    text_buffer b = {0};
    text_put(&b, "{");
    text_put_quoted(&b, "a\"\\\n\x01ü");
    text_put(&b, ":1");
    CHECK(text_put_fields(&b, " {\"b\": 2}"));
    CHECK(strcmp(b.data, "{\"a\\u0022\\u005c\\u000a\\u0001ü\":1,\"b\": 2}") == 0);
    CHECK(!text_put_fields(&b, "") && !text_put_fields(&b, " [1]"));
    free(b.data);
}

static void test_deadlines(void) {
    deadline none = deadline_after_ms(-1), never = deadline_after_ms(INT64_MAX);
    deadline now = deadline_after_ms(0), later = deadline_after_ms(100999);
    CHECK(!none.set && !never.set && deadline_left_ms(&none) == -1);
    CHECK(deadline_left_ms(&now) == 0);
    CHECK(deadline_left_ms(&later) > 99000 && deadline_left_ms(&later) <= 100999);
    for (int i = 0; i < 2000; i++) { /* over the end of a second, too */
        deadline d = deadline_after_ms(10000 + i);
        CHECK(d.at.tv_nsec < 1000000000 && deadline_left_ms(&d) > 9000 + i);
    }
}

static void test_errors(void) {
    error *e = error_of_status(MLXFORGE_STATUS_NOT_FOUND, "no details", "", 0);
    mlxforge_error *given;
    CHECK(error_give(&given, e) == MLXFORGE_STATUS_NOT_FOUND);
    size_t size = 1;
    CHECK(mlxforge_error_details(given, &size) != NULL && size == 0);
    CHECK(strcmp(mlxforge_error_message(given), "no details") == 0);
    mlxforge_error_free(given);
    error_destroy(NULL);
    for (int i = 0; i < STATIC_ERRORS; i++) {
        error_destroy(error_static((static_error)i)); /* nothing */
    }
    CHECK(handle_count() == 0);
}

/* 64 MiB of text make a request that is larger still. */
static void test_largest_text(mlxforge_engine *engine) {
    mlxforge_error *error;
    size_t count;
    char *text = malloc(MLXFORGE_MAX_REQUEST_BYTES + 1);
    CHECK(text != NULL);
    memset(text, 'x', MLXFORGE_MAX_REQUEST_BYTES);
    text[MLXFORGE_MAX_REQUEST_BYTES] = '\0';
    CHECK(mlxforge_count_tokens(engine, text, NULL, -1, &count, &error) != 0);
    CHECK(strstr(mlxforge_error_message(error), "64 MiB") != NULL);
    mlxforge_error_free(error);
    free(text);
}

static bool forked;

/* LeakSanitizer asks at the end of a process. What a thread of the parent held by its stack
   alone is no leak of the child, which has no such thread. Exported, for a sanitizer in a
   library of its own finds it by that only. */
__attribute__((visibility("default"))) int
__lsan_is_turned_off(void); /* NOLINT(bugprone-reserved-identifier): its name */
int __lsan_is_turned_off(void) {
    return forked;
}

static void in_child(mlxforge_engine *engine, mlxforge_call *call, mlxforge_queue *queue) {
    mlxforge_error *error;
    float vector[3];
    size_t count;
    const char *texts[] = {"x"};
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_ERROR);
    CHECK(mlxforge_error_code(mlxforge_call_error(call)) == MLXFORGE_STATUS_FAILED_PRECONDITION);
    CHECK(
        mlxforge_error_code((const mlxforge_error *)(uintptr_t)0x77) ==
        MLXFORGE_STATUS_FAILED_PRECONDITION);
    CHECK(mlxforge_engine_open("{}", &error) == NULL && error != NULL);
    CHECK(mlxforge_call_start(engine, "a/b", "", 0, MLXFORGE_CODEC_JSON, -1, &error) == NULL);
    CHECK(mlxforge_call_send(call, "", 0) == MLXFORGE_STATUS_FAILED_PRECONDITION);
    CHECK(mlxforge_generate_text(engine, "x", NULL, -1, NULL, NULL, NULL) != 0);
    CHECK(mlxforge_embed_texts(engine, texts, 1, NULL, -1, vector, 3, &count, NULL) != 0);
    CHECK(mlxforge_count_tokens(engine, "x", NULL, -1, &count, NULL) != 0);
    CHECK(mlxforge_queue_new() == NULL && mlxforge_queue_next(queue, -1, NULL) == MLXFORGE_ERROR);
    mlxforge_queue_add(queue, call, NULL);
    mlxforge_call_cancel(call);
    mlxforge_error_free(error);
    mlxforge_log_set(NULL, NULL, 0);
    mlxforge_queue_free(queue);
    mlxforge_call_free(call);
    mlxforge_engine_close(engine);
    exit(7);
}

static void test_fork(mlxforge_engine *engine) {
    mlxforge_queue *queue = mlxforge_queue_new();
    mlxforge_call *call = mlxforge_call_start(
        engine, "mlxforge.v1.ModelService/LoadModel", "{}", 2, MLXFORGE_CODEC_JSON, -1, NULL);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        forked = true;
        in_child(engine, call, queue);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    mlxforge_queue_free(queue);
    mlxforge_call_free(call);
}

/* As when a Python host ends before its threads do: what runs is ended, nothing more starts. */
static void test_stopped(mlxforge_engine *engine) {
    mlxforge_error *error;
    mlxforge_call *call = mlxforge_call_start(
        engine, "mlxforge.v1.ModelService/LoadModel", "{}", 2, MLXFORGE_CODEC_JSON, -1, &error);
    CHECK(call != NULL);
    double_stop();
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_ERROR);
    CHECK(mlxforge_error_code(mlxforge_call_error(call)) == MLXFORGE_STATUS_CANCELLED);
    mlxforge_call_free(call);
    while (mlxforge_call_start(engine, "a/b", "", 0, MLXFORGE_CODEC_JSON, -1, &error) != NULL) {
    }
    CHECK(mlxforge_error_code(error) == MLXFORGE_STATUS_UNAVAILABLE);
    mlxforge_error_free(error);
    CHECK(mlxforge_engine_open("{}", &error) == NULL);
    mlxforge_error_free(error);
    mlxforge_engine_close(engine);
}

int main(void) {
    test_wire();
    test_json();
    test_deadlines();
    test_errors();
    mlxforge_engine *engine = mlxforge_engine_open("{}", NULL);
    CHECK(engine != NULL);
    test_largest_text(engine);
    test_fork(engine);
    test_stopped(engine);
    printf("ok\n");
    return 0;
}

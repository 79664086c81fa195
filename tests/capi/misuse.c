/* Tests of engines, calls and errors used wrongly: bad arguments, handles that are stale or used
   up, calls that are freed or closed beneath those who wait for them. */
#define _POSIX_C_SOURCE 200809L
#include "opened.h"

static void expect_start_error(
    mlxforge_engine *e, const char *method, const void *request, size_t size, int codec,
    const char *argument) {
    mlxforge_error *error = NULL;
    CHECK(mlxforge_call_start(e, method, request, size, (mlxforge_codec)codec, -1, &error) == NULL);
    CHECK(mlxforge_error_code(error) == MLXFORGE_STATUS_INVALID_ARGUMENT);
    CHECK(strstr(mlxforge_error_message(error), argument) == mlxforge_error_message(error));
    size_t details = 0;
    CHECK(mlxforge_error_details(error, &details) != NULL && details > 10);
    mlxforge_error_free(error);
    mlxforge_error_free(error);                                            /* twice: nothing */
    CHECK(mlxforge_error_code(error) == MLXFORGE_STATUS_INVALID_ARGUMENT); /* a stale handle */
    CHECK(mlxforge_call_start(e, method, request, size, (mlxforge_codec)codec, -1, NULL) == NULL);
}

static void test_open_errors(void) {
    mlxforge_error *error;
    CHECK(mlxforge_engine_open("{\"model\": \"fail\"}", &error) == NULL);
    CHECK(mlxforge_error_code(error) == MLXFORGE_STATUS_NOT_FOUND);
    CHECK(strcmp(mlxforge_error_message(error), "no such model") == 0);
    size_t size;
    CHECK(memcmp(mlxforge_error_details(error, &size), "\x08\x05", 2) == 0 && size == 2);
    mlxforge_error_free(error);
    char *large = malloc(MLXFORGE_MAX_CONFIG_BYTES + 2);
    CHECK(large != NULL);
    memset(large, ' ', MLXFORGE_MAX_CONFIG_BYTES + 1);
    large[MLXFORGE_MAX_CONFIG_BYTES + 1] = '\0';
    CHECK(mlxforge_engine_open(large, &error) == NULL);
    CHECK(strstr(mlxforge_error_message(error), "config_json") != NULL);
    mlxforge_error_free(error);
    memset(large, '[', 1000);
    large[1000] = '\0';
    CHECK(mlxforge_engine_open(large, &error) == NULL);
    CHECK(strstr(mlxforge_error_message(error), "nested") != NULL);
    mlxforge_error_free(error);
    CHECK(mlxforge_engine_open(large, NULL) == NULL);
    free(large);
}

static void test_start_errors(void) {
    char deep[200], long_method[400];
    memset(deep, '[', sizeof deep);
    memset(long_method, '/', sizeof long_method);
    long_method[sizeof long_method - 1] = '\0';
    expect_start_error(NULL, ECHO, "{}", 2, MLXFORGE_CODEC_JSON, "engine");
    expect_start_error(JUNK(mlxforge_engine), ECHO, "{}", 2, MLXFORGE_CODEC_JSON, "engine");
    expect_start_error(opened, NULL, "{}", 2, MLXFORGE_CODEC_JSON, "method");
    expect_start_error(opened, "", "{}", 2, MLXFORGE_CODEC_JSON, "method");
    expect_start_error(opened, "no slash", "{}", 2, MLXFORGE_CODEC_JSON, "method");
    expect_start_error(opened, long_method, "{}", 2, MLXFORGE_CODEC_JSON, "method");
    expect_start_error(opened, ECHO, NULL, 2, MLXFORGE_CODEC_JSON, "request");
    expect_start_error(opened, ECHO, "{}", SIZE_MAX, MLXFORGE_CODEC_JSON, "size");
    expect_start_error(opened, ECHO, "{}", MLXFORGE_MAX_REQUEST_BYTES + 1, 0, "size");
    expect_start_error(opened, ECHO, "{}", 2, 7, "codec");
    expect_start_error(opened, ECHO, "{}", 2, -1, "codec");
    expect_start_error(opened, ECHO, deep, sizeof deep, MLXFORGE_CODEC_JSON, "request");
    mlxforge_call *call = start("mlxforge.v1.Nothing/Nothing", "{}");
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_ERROR);
    CHECK(error_of(call) == MLXFORGE_STATUS_UNIMPLEMENTED);
    mlxforge_call_free(call);
}

static void test_wrong_handles(void) {
    mlxforge_call *call = start(HANG, "{}");
    mlxforge_queue *queue = mlxforge_queue_new();
    void *wrong[] = {NULL, JUNK(void), (void *)call, (void *)queue, (void *)opened, &call};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        void *tag = &tag;
        if (wrong[i] != (void *)call) {
            CHECK(mlxforge_call_next(wrong[i], -1, NULL, NULL) == MLXFORGE_ERROR);
            CHECK(error_of(wrong[i]) == MLXFORGE_STATUS_INVALID_ARGUMENT);
            CHECK(mlxforge_call_send(wrong[i], "", 0) == MLXFORGE_STATUS_INVALID_ARGUMENT);
            mlxforge_call_cancel(wrong[i]);
            mlxforge_call_free(wrong[i]);
        }
        if (wrong[i] != (void *)queue) {
            CHECK(mlxforge_queue_next(wrong[i], -1, &tag) == MLXFORGE_ERROR && tag == NULL);
            mlxforge_queue_add(wrong[i], call, NULL);
            mlxforge_queue_free(wrong[i]);
        }
        if (wrong[i] != (void *)opened) {
            mlxforge_engine_close(wrong[i]);
        }
        mlxforge_error_free(wrong[i]);
        CHECK(mlxforge_error_message(wrong[i]) != NULL);
    }
    CHECK(mlxforge_error_code(NULL) == MLXFORGE_STATUS_OK);
    CHECK(strcmp(mlxforge_error_message(NULL), "") == 0);
    size_t size = 1;
    CHECK(mlxforge_error_details(NULL, NULL) == NULL);
    CHECK(mlxforge_error_details(NULL, &size) == NULL && size == 0);
    mlxforge_queue_free(queue);
    mlxforge_call_free(call);
    CHECK(mlxforge_call_error(call) == mlxforge_call_error(NULL)); /* static */
    mlxforge_error_free((mlxforge_error *)(uintptr_t)mlxforge_call_error(NULL));
}

static void test_close_with_calls(void) {
    mlxforge_error *error;
    mlxforge_engine *second = mlxforge_engine_open(NULL, &error);
    CHECK(second != NULL && double_engines() == 2);
    mlxforge_call *calls[20];
    for (int i = 0; i < 20; i++) {
        calls[i] = mlxforge_call_start(
            second, i % 2 ? HANG : GENERATE, "{\"max_tokens\":1000000}", 22, MLXFORGE_CODEC_JSON,
            -1, &error);
        CHECK(calls[i] != NULL);
    }
    mlxforge_call *bystander = start(GENERATE, "{}");
    mlxforge_engine_close(second);
    mlxforge_engine_close(second);
    CHECK(double_engines() == 1);
    expect_start_error(second, ECHO, "{}", 2, MLXFORGE_CODEC_JSON, "engine");
    for (int i = 0; i < 20; i++) {
        mlxforge_event event;
        while ((event = mlxforge_call_next(calls[i], -1, NULL, NULL)) == MLXFORGE_MESSAGE) {
        }
        CHECK(event == MLXFORGE_ERROR && error_of(calls[i]) == MLXFORGE_STATUS_CANCELLED);
        mlxforge_call_free(calls[i]);
    }
    for (int i = 0; i < 3; i++) {
        CHECK(mlxforge_call_next(bystander, -1, NULL, NULL) == MLXFORGE_MESSAGE);
    }
    CHECK(mlxforge_call_next(bystander, -1, NULL, NULL) == MLXFORGE_END);
    mlxforge_call_free(bystander);
}

static void test_handles_run_out(void) {
    mlxforge_call *cancelled = start(HANG, "{}");
    mlxforge_call_cancel(cancelled);
    size_t count = 0, room = 1100000;
    mlxforge_queue **queues = calloc(room, sizeof *queues);
    CHECK(queues != NULL);
    while (count < room && (queues[count] = mlxforge_queue_new()) != NULL) {
        count++;
    }
    CHECK(count > 1000000 && count < room);
    mlxforge_error *error = NULL;
    CHECK(mlxforge_call_start(opened, ECHO, "", 0, MLXFORGE_CODEC_JSON, -1, &error) == NULL);
    CHECK(mlxforge_error_code(error) == MLXFORGE_STATUS_RESOURCE_EXHAUSTED);
    mlxforge_error_free(error);
    CHECK(mlxforge_call_start(opened, NULL, "", 0, MLXFORGE_CODEC_JSON, -1, &error) == NULL);
    CHECK(mlxforge_error_code(error) == MLXFORGE_STATUS_RESOURCE_EXHAUSTED);
    CHECK(mlxforge_engine_open("{}", &error) == NULL);
    CHECK(error_of(cancelled) == MLXFORGE_STATUS_RESOURCE_EXHAUSTED);
    mlxforge_call_free(cancelled);
    while (count > 0) {
        mlxforge_queue_free(queues[--count]);
    }
    free(queues);
}

static uint64_t found;

static void note(object *o) {
    found = o->id;
}

/* Frees the library's own call that another thread waits for, as a host with a wild handle may. */
static void free_stray(void) {
    found = 0;
    while (found == 0) {
        pthread_mutex_lock(&state_lock);
        handle_each_locked(KIND_CALL, note);
        pthread_mutex_unlock(&state_lock);
        rest_ms(1);
    }
    mlxforge_call_free(HANDLE_POINTER(mlxforge_call, found));
}

static void *open_strayed(void *error) {
    CHECK(mlxforge_engine_open("{}", error) == NULL);
    return NULL;
}

static void *generate_strayed(void *error) {
    CHECK(mlxforge_generate_text(opened, "x", NULL, -1, NULL, NULL, error) != 0);
    return NULL;
}

static void *count_strayed(void *error) {
    size_t count;
    CHECK(mlxforge_count_tokens(opened, "x", NULL, -1, &count, error) != 0);
    return NULL;
}

static void test_stray_free(void) {
    void *(*const waits[])(void *) = {open_strayed, generate_strayed, count_strayed};
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        mlxforge_error *error;
        pthread_t thread;
        double_hold();
        CHECK(pthread_create(&thread, NULL, waits[i], &error) == 0);
        free_stray();
        pthread_join(thread, NULL);
        double_release();
        CHECK(mlxforge_error_code(error) == MLXFORGE_STATUS_INVALID_ARGUMENT);
        mlxforge_error_free(error);
    }
}

int main(void) {
    mlxforge_log_set(NULL, NULL, 0);
    open_double();
    test_open_errors();
    test_start_errors();
    test_wrong_handles();
    test_close_with_calls();
    test_stray_free();
    test_handles_run_out();
    close_double();
    printf("ok\n");
    return 0;
}

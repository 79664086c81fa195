/* Tests of the C part on the double: every function, used well and used wrongly. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "double.h"
#include "internal.h"

#include <string.h>
#include <unistd.h>

#define GENERATE "mlxforge.v1.GenerationService/StreamGenerate"
#define EMBED_STREAM "mlxforge.v1.EmbeddingService/StreamEmbed"
#define HANG "mlxforge.v1.ModelService/LoadModel"
#define ECHO "mlxforge.v1.ModelService/ListModels"
#define JUNK(type) ((type *)(uintptr_t)0x1234567890)

static mlxforge_engine *opened;

static mlxforge_call *start(const char *method, const char *request) {
    mlxforge_error *error;
    mlxforge_call *call = mlxforge_call_start(
        opened, method, request, strlen(request), MLXFORGE_CODEC_JSON, -1, &error);
    CHECK(call != NULL && error == NULL);
    return call;
}

static int32_t error_of(const mlxforge_call *call) {
    return mlxforge_error_code(mlxforge_call_error(call));
}

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

static void wait_until_idle(void) {
    while (double_live() > 0) {
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
}

static void test_version(void) {
    CHECK(mlxforge_abi_version() == MLXFORGE_ABI_VERSION);
    CHECK(strchr(mlxforge_version(), '.') != NULL);
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

static void test_unary(void) {
    mlxforge_call *call = start(ECHO, "{\"a\":1}");
    const void *message;
    size_t size;
    CHECK(mlxforge_call_next(call, -1, &message, &size) == MLXFORGE_MESSAGE);
    CHECK(size == 7 && strcmp(message, "{\"a\":1}") == 0);
    CHECK(mlxforge_call_error(call) == NULL);
    CHECK(mlxforge_call_next(call, -1, &message, &size) == MLXFORGE_END);
    CHECK(message == NULL && size == 0);
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_END);
    mlxforge_call_cancel(call); /* it has ended: stays as it is */
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_END);
    CHECK(mlxforge_call_send(call, "{}", 2) == MLXFORGE_STATUS_CANCELLED);
    mlxforge_call_free(call);
    mlxforge_error *error;
    call = mlxforge_call_start(opened, ECHO, NULL, 0, MLXFORGE_CODEC_PROTOBUF, -1, &error);
    CHECK(mlxforge_call_next(call, -1, &message, &size) == MLXFORGE_MESSAGE && size == 0);
    mlxforge_call_free(call);
}

static void test_failed_call(void) {
    mlxforge_call *call = start("mlxforge.v1.ModelService/UnloadModel", "{}");
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_ERROR);
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_ERROR);
    const mlxforge_error *error = mlxforge_call_error(call);
    CHECK(error == mlxforge_call_error(call));
    mlxforge_error_free((mlxforge_error *)(uintptr_t)error); /* the call's own: nothing */
    CHECK(mlxforge_error_code(error) == MLXFORGE_STATUS_FAILED_PRECONDITION);
    CHECK(mlxforge_call_send(call, "{}", 2) == MLXFORGE_STATUS_FAILED_PRECONDITION);
    mlxforge_call_free(call);
    CHECK(mlxforge_error_code(error) == MLXFORGE_STATUS_INVALID_ARGUMENT); /* went with the call */
}

static void test_timeouts(void) {
    mlxforge_call *call = start(HANG, "{}");
    CHECK(mlxforge_call_next(call, 0, NULL, NULL) == MLXFORGE_TIMEOUT);
    CHECK(mlxforge_call_next(call, 20, NULL, NULL) == MLXFORGE_TIMEOUT);
    mlxforge_call_free(call);
    mlxforge_error *error;
    call = mlxforge_call_start(opened, HANG, "{}", 2, MLXFORGE_CODEC_JSON, 30, &error);
    CHECK(mlxforge_call_next(call, INT64_MAX, NULL, NULL) == MLXFORGE_ERROR);
    CHECK(error_of(call) == MLXFORGE_STATUS_DEADLINE_EXCEEDED);
    mlxforge_call_free(call);
}

static void test_back_pressure(void) {
    mlxforge_call *call = start(GENERATE, "{\"max_tokens\":1000}");
    struct timespec pause = {0, 300000000};
    nanosleep(&pause, NULL); /* the stream fills the buffer and is paused */
    CHECK(double_live() == 1);
    int messages = 0;
    mlxforge_event event;
    while ((event = mlxforge_call_next(call, -1, NULL, NULL)) == MLXFORGE_MESSAGE) {
        messages++;
    }
    CHECK(event == MLXFORGE_END && messages == 1000);
    mlxforge_call_free(call);
}

static void test_client_stream(void) {
    mlxforge_error *error;
    mlxforge_call *call =
        mlxforge_call_start(opened, EMBED_STREAM, NULL, 0, MLXFORGE_CODEC_JSON, -1, &error);
    char deep[100];
    memset(deep, '{', sizeof deep);
    for (int i = 0; i < 5; i++) {
        const void *message;
        CHECK(mlxforge_call_send(call, "[1]", 3) == MLXFORGE_STATUS_OK);
        CHECK(mlxforge_call_next(call, -1, &message, NULL) == MLXFORGE_MESSAGE);
        CHECK(strcmp(message, "[1]") == 0);
    }
    CHECK(mlxforge_call_send(call, deep, sizeof deep) == MLXFORGE_STATUS_INVALID_ARGUMENT);
    CHECK(mlxforge_call_send(call, "x", SIZE_MAX) == MLXFORGE_STATUS_INVALID_ARGUMENT);
    CHECK(mlxforge_call_send(call, NULL, 99) == MLXFORGE_STATUS_OK);
    CHECK(mlxforge_call_send(call, NULL, 0) != MLXFORGE_STATUS_OK);
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_END);
    mlxforge_call_free(call);
    call = start(HANG, "{}"); /* takes no requests: the backlog has a bound */
    int sent = 0;
    while (mlxforge_call_send(call, "{}", 2) == MLXFORGE_STATUS_OK) {
        sent++;
    }
    CHECK(sent == 256);
    CHECK(mlxforge_call_send(call, "{}", 2) == MLXFORGE_STATUS_RESOURCE_EXHAUSTED);
    mlxforge_call_free(call);
    CHECK(mlxforge_call_send(call, "{}", 2) == MLXFORGE_STATUS_INVALID_ARGUMENT);
}

static void test_cancel(void) {
    mlxforge_call *call = start(GENERATE, "{\"max_tokens\":1000000}");
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_MESSAGE);
    mlxforge_call_cancel(call);
    mlxforge_call_cancel(call);
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_ERROR);
    CHECK(error_of(call) == MLXFORGE_STATUS_CANCELLED);
    wait_until_idle();
    mlxforge_call_free(call);
    for (int i = 0; i < 200; i++) { /* many of them before the backend has seen the call */
        call = start(HANG, "{}");
        if (i % 2 == 0) {
            mlxforge_call_cancel(call);
        }
        mlxforge_call_free(call);
        mlxforge_call_free(call);
    }
    wait_until_idle();
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
    CHECK(mlxforge_error_details(NULL, NULL) == NULL);
    mlxforge_queue_free(queue);
    mlxforge_call_free(call);
    CHECK(mlxforge_call_error(call) == mlxforge_call_error(NULL)); /* static */
    mlxforge_error_free((mlxforge_error *)(uintptr_t)mlxforge_call_error(NULL));
}

static void test_queue(void) {
    mlxforge_queue *queue = mlxforge_queue_new();
    mlxforge_call *calls[8];
    int messages[8] = {0}, ended = 0;
    void *tag = &ended;
    CHECK(mlxforge_queue_next(queue, 0, &tag) == MLXFORGE_TIMEOUT && tag == NULL);
    CHECK(mlxforge_queue_next(queue, 10, NULL) == MLXFORGE_TIMEOUT);
    for (int i = 0; i < 8; i++) {
        calls[i] = start(i == 7 ? "mlxforge.v1.ModelService/UnloadModel" : GENERATE, "{}");
        mlxforge_queue_add(queue, calls[i], &messages[i]);
    }
    while (ended < 8) {
        mlxforge_event told = mlxforge_queue_next(queue, -1, &tag);
        const long i = (int *)tag - messages;
        CHECK(i >= 0 && i < 8 && told != MLXFORGE_TIMEOUT);
        CHECK(mlxforge_call_next(calls[i], 0, NULL, NULL) == told);
        messages[i] += told == MLXFORGE_MESSAGE;
        ended += told != MLXFORGE_MESSAGE;
        CHECK((told == MLXFORGE_ERROR) == (i == 7));
    }
    for (int i = 0; i < 8; i++) {
        CHECK(messages[i] == (i == 7 ? 0 : 3));
        mlxforge_call_free(calls[i]);
    }
    CHECK(mlxforge_queue_next(queue, 0, &tag) == MLXFORGE_TIMEOUT);
    mlxforge_queue_free(queue);
    mlxforge_queue_free(queue);
}

static void test_queue_misuse(void) {
    mlxforge_queue *queue = mlxforge_queue_new(), *other = mlxforge_queue_new();
    mlxforge_call *call = start(ECHO, "{}");
    int twice, bad;
    void *tag;
    mlxforge_queue_add(queue, JUNK(mlxforge_call), &bad);
    CHECK(mlxforge_queue_next(queue, -1, &tag) == MLXFORGE_ERROR && tag == &bad);
    mlxforge_queue_add(queue, call, &tag);
    mlxforge_queue_add(other, call, &twice);
    CHECK(mlxforge_queue_next(other, -1, &tag) == MLXFORGE_ERROR && tag == &twice);
    mlxforge_queue_add(other, NULL, &bad); /* not taken before the queue is freed */
    mlxforge_queue_free(other);
    CHECK(mlxforge_queue_next(queue, -1, &tag) == MLXFORGE_MESSAGE && tag == &tag);
    CHECK(mlxforge_queue_next(queue, 0, &tag) == MLXFORGE_TIMEOUT); /* not taken yet */
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_MESSAGE);
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_END); /* before it was told */
    CHECK(mlxforge_queue_next(queue, 0, &tag) == MLXFORGE_TIMEOUT);
    mlxforge_queue_free(queue);
    queue = mlxforge_queue_new(); /* an ended call can go on to another; its end was taken */
    mlxforge_queue_add(queue, call, &bad);
    CHECK(mlxforge_queue_next(queue, 0, &tag) == MLXFORGE_TIMEOUT);
    mlxforge_call_free(call);
    mlxforge_call *ready = start(ECHO, "{}");
    while (mlxforge_queue_next(queue, 0, &tag) == MLXFORGE_TIMEOUT) {
        mlxforge_queue_add(queue, ready, &bad);
    }
    mlxforge_call_free(ready); /* while told, or in the list of those to be told */
    mlxforge_queue_free(queue);
}

static void *wait_on_call(void *call) {
    return mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_ERROR ? call : NULL;
}

static void *wait_on_queue(void *queue) {
    void *tag;
    return mlxforge_queue_next(queue, -1, &tag) == MLXFORGE_ERROR && tag == NULL ? queue : NULL;
}

static void test_free_under_waiters(void) {
    for (int i = 0; i < 20; i++) {
        pthread_t threads[2];
        mlxforge_call *call = start(HANG, "{}");
        mlxforge_queue *queue = mlxforge_queue_new();
        CHECK(pthread_create(&threads[0], NULL, wait_on_call, call) == 0);
        CHECK(pthread_create(&threads[1], NULL, wait_on_queue, queue) == 0);
        struct timespec pause = {0, (i % 4) * 1000000L};
        nanosleep(&pause, NULL);
        mlxforge_call_free(call);
        mlxforge_queue_free(queue);
        for (int t = 0; t < 2; t++) {
            void *result;
            pthread_join(threads[t], &result);
            CHECK(result != NULL);
        }
    }
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

static int32_t gather(const char *text, size_t size, void *user_data) {
    char *all = user_data;
    CHECK(strlen(text) == size);
    strcat(all, text);
    return strlen(all) > 15;
}

static void test_helpers(void) {
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

typedef struct lines {
    pthread_mutex_t lock;
    int count;
    char last[64];
} lines;

static void keep(int32_t level, const char *source, const char *text, void *user_data) {
    lines *l = user_data;
    pthread_mutex_lock(&l->lock);
    CHECK(level == MLXFORGE_LOG_INFO && strcmp(source, "double") == 0);
    snprintf(l->last, sizeof l->last, "%s", text);
    l->count++;
    pthread_mutex_unlock(&l->lock);
}

/* A callback that calls the library, also to remove itself. */
static void reenter(int32_t level, const char *source, const char *text, void *user_data) {
    lines *l = user_data;
    (void)level, (void)source, (void)text;
    mlxforge_call *call = start(ECHO, "{}");
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_MESSAGE);
    mlxforge_call_free(call);
    mlxforge_log_set(NULL, NULL, 0);
    pthread_mutex_lock(&l->lock);
    l->count++;
    pthread_mutex_unlock(&l->lock);
}

static int count_of(lines *l) {
    pthread_mutex_lock(&l->lock);
    int count = l->count;
    pthread_mutex_unlock(&l->lock);
    return count;
}

static void open_and_close(const char *config) {
    mlxforge_engine *e = mlxforge_engine_open(config, NULL);
    CHECK(e != NULL);
    mlxforge_engine_close(e);
}

static void test_log(void) {
    static lines l = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct timespec pause = {0, 1000000};
    mlxforge_log_set(keep, &l, MLXFORGE_LOG_INFO);
    open_and_close("{\"x\": 1}");
    while (count_of(&l) < 1) {
        nanosleep(&pause, NULL);
    }
    CHECK(strcmp(l.last, "{\"x\": 1}") == 0);
    mlxforge_log_set(keep, &l, MLXFORGE_LOG_ERROR);
    open_and_close("{}");
    mlxforge_log_set(reenter, &l, MLXFORGE_LOG_DEBUG);
    CHECK(count_of(&l) == 1);
    open_and_close("{}");
    while (count_of(&l) < 2) {
        nanosleep(&pause, NULL);
    }
    open_and_close("{}");
    mlxforge_log_set(NULL, NULL, 0);
    CHECK(count_of(&l) == 2);
}

static void test_handles_run_out(void) {
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
    while (count > 0) {
        mlxforge_queue_free(queues[--count]);
    }
    free(queues);
}

int main(void) {
    mlxforge_log_set(NULL, NULL, 0);
    opened = mlxforge_engine_open("{}", NULL);
    CHECK(opened != NULL);
    test_version();
    test_open_errors();
    test_start_errors();
    test_unary();
    test_failed_call();
    test_timeouts();
    test_back_pressure();
    test_client_stream();
    test_cancel();
    test_wrong_handles();
    test_queue();
    test_queue_misuse();
    test_free_under_waiters();
    test_close_with_calls();
    test_helpers();
    test_log();
    test_handles_run_out();
    wait_until_idle();
    CHECK(handle_count() == 1);
    mlxforge_engine_close(opened);
    CHECK(handle_count() == 0);
    CHECK(double_engines() == 0);
    opened = mlxforge_engine_open("{}", NULL);
    mlxforge_call *call = start(HANG, "{}"); /* the process exits with all of it open */
    (void)call;
    printf("ok\n");
    return 0;
}

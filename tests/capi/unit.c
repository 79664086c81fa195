/* Tests of engines, calls and errors, used well; misuse.c has the rest. */
#define _POSIX_C_SOURCE 200809L
#include "opened.h"

static void test_version(void) {
    CHECK(mlxforge_abi_version() == MLXFORGE_ABI_VERSION);
    CHECK(strchr(mlxforge_version(), '.') != NULL);
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
    mlxforge_call *call = start(GENERATE, "{\"max_tokens\":200}");
    rest_ms(300); /* the stream fills the buffer and is paused */
    CHECK(double_live() == 1);
    int messages = 0;
    mlxforge_event event;
    while ((event = mlxforge_call_next(call, -1, NULL, NULL)) == MLXFORGE_MESSAGE) {
        messages++;
    }
    CHECK(event == MLXFORGE_END && messages == 200);
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
    call = start(HANG, "{}");
    CHECK(mlxforge_call_send(call, NULL, 0) == MLXFORGE_STATUS_OK);
    CHECK(mlxforge_call_send(call, NULL, 0) == MLXFORGE_STATUS_FAILED_PRECONDITION);
    mlxforge_call_free(call);
}

/* The backlog is bounded in bytes too, and depth is a matter of JSON. */
static void test_large_and_deep_requests(void) {
    const size_t size = MLXFORGE_MAX_REQUEST_BYTES / 2 + 1;
    char *request = malloc(size);
    CHECK(request != NULL);
    memset(request, '[', size);
    mlxforge_call *call =
        mlxforge_call_start(opened, HANG, NULL, 0, MLXFORGE_CODEC_PROTOBUF, -1, NULL);
    CHECK(mlxforge_call_send(call, request, size) == MLXFORGE_STATUS_OK);
    CHECK(mlxforge_call_send(call, request, size) == MLXFORGE_STATUS_RESOURCE_EXHAUSTED);
    mlxforge_call_free(call);
    free(request);
}

/* Until the double has served all that was asked before, the ends of freed calls too. */
static void wait_for_double(void) {
    mlxforge_call *last = start(ECHO, "{}");
    CHECK(mlxforge_call_next(last, -1, NULL, NULL) == MLXFORGE_MESSAGE);
    mlxforge_call_free(last);
}

/* The test in the interpreter's place: responses fill the room by number or by bytes. */
static void test_room(void) {
    const size_t size = MOST_BUFFERED_BYTES / 2 + 1;
    char *large = calloc(1, size);
    CHECK(large != NULL);
    wait_for_double(); /* a stream of the test before would pass for this one's */
    mlxforge_call *call = start(HANG, "{}");
    wait_for_streams(1);
    const uint64_t id = HANDLE_ID(call);
    CHECK(bridge_message(id, large, size) == ROOM_LEFT);
    CHECK(bridge_message(id, large, size) == ROOM_FULL);
    CHECK(bridge_message(id, large, size) == ROOM_FULL);
    for (int i = 0; i < 3; i++) { /* after the first, still more than half of the bytes */
        CHECK(mlxforge_call_next(call, 0, NULL, NULL) == MLXFORGE_MESSAGE);
    }
    free(large);
    for (int i = 1; i < MOST_BUFFERED; i++) {
        CHECK(respond(call, "x") == ROOM_LEFT);
    }
    CHECK(respond(call, "x") == ROOM_FULL);
    bridge_taken(id, 1); /* nothing was sent */
    CHECK(mlxforge_call_send(call, "{}", 2) == MLXFORGE_STATUS_OK);
    bridge_taken(id, 99); /* more than was sent */
    double_hold();        /* room again, and cancelled before the interpreter hears of it */
    for (int i = 0; i < MOST_BUFFERED / 2; i++) {
        CHECK(mlxforge_call_next(call, 0, NULL, NULL) == MLXFORGE_MESSAGE);
    }
    CHECK(mlxforge_call_send(call, "{}", 2) == MLXFORGE_STATUS_OK);
    mlxforge_call_cancel(call);
    double_release();
    CHECK(respond(call, "x") == ROOM_GONE);
    mlxforge_call_free(call);
    CHECK(respond(call, "x") == ROOM_GONE);
    bridge_taken(id, 1);
    bridge_finish(id, error_new(MLXFORGE_STATUS_INTERNAL, "INTERNAL", "too late"));
    wait_for_streams(0);
}

/* Calls that end before the interpreter has seen them: it hears nothing of them. */
static void test_unseen(void) {
    double_hold();
    mlxforge_call *calls[2];
    for (int i = 0; i < 2; i++) {
        calls[i] = start(HANG, "{}");
        CHECK(mlxforge_call_send(calls[i], "{}", 2) == MLXFORGE_STATUS_OK);
        mlxforge_call_cancel(calls[i]);
    }
    mlxforge_call_free(calls[0]);
    double_release();
    wait_for_double();
    CHECK(double_live() == 0);
    mlxforge_call_free(calls[1]);
}

static void test_cancel(void) {
    mlxforge_call *call = start(GENERATE, "{\"max_tokens\":1000000}");
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_MESSAGE);
    mlxforge_call_cancel(call);
    mlxforge_call_cancel(call);
    CHECK(mlxforge_call_next(call, -1, NULL, NULL) == MLXFORGE_ERROR);
    CHECK(error_of(call) == MLXFORGE_STATUS_CANCELLED);
    wait_for_streams(0);
    mlxforge_call_free(call);
    for (int i = 0; i < 200; i++) { /* many of them before the backend has seen the call */
        call = start(HANG, "{}");
        if (i % 2 == 0) {
            mlxforge_call_cancel(call);
        }
        mlxforge_call_free(call);
        mlxforge_call_free(call);
    }
    wait_for_streams(0);
}

int main(void) {
    mlxforge_log_set(NULL, NULL, 0);
    open_double();
    test_version();
    test_unary();
    test_failed_call();
    test_timeouts();
    test_back_pressure();
    test_client_stream();
    test_large_and_deep_requests();
    test_room();
    test_unseen();
    test_cancel();
    close_double();
    open_double();
    start(HANG, "{}"); /* the process exits with all of it open */
    printf("ok\n");
    return 0;
}

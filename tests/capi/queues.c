/* Tests of completion queues. */
#define _POSIX_C_SOURCE 200809L
#include "opened.h"

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
        rest_ms(i % 4);
        mlxforge_call_free(call);
        mlxforge_queue_free(queue);
        for (int t = 0; t < 2; t++) {
            void *result;
            pthread_join(threads[t], &result);
            CHECK(result != NULL);
        }
    }
}

/* Calls leave from the middle and the end of the lists, and those told of keep their turn. */
static void test_order(void) {
    mlxforge_queue *queue = mlxforge_queue_new();
    mlxforge_call *calls[5];
    void *tag;
    for (int i = 0; i < 5; i++) {
        calls[i] = start(HANG, "{}");
        mlxforge_queue_add(queue, calls[i], &calls[i]);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(respond(calls[i], "x") == ROOM_LEFT);
    }
    mlxforge_call_free(calls[1]);               /* from the middle */
    mlxforge_call_free(calls[3]);               /* the last */
    CHECK(respond(calls[4], "x") == ROOM_LEFT); /* after calls[2] */
    const int order[] = {0, 2, 4};
    for (int i = 0; i < 3; i++) {
        CHECK(mlxforge_queue_next(queue, 0, &tag) == MLXFORGE_MESSAGE && tag == &calls[order[i]]);
    }
    CHECK(mlxforge_call_next(calls[2], 0, NULL, NULL) == MLXFORGE_MESSAGE);
    CHECK(respond(calls[0], "y") == ROOM_LEFT); /* told already */
    CHECK(respond(calls[2], "y") == ROOM_LEFT);
    CHECK(mlxforge_queue_next(queue, 0, &tag) == MLXFORGE_MESSAGE && tag == &calls[2]);
    CHECK(mlxforge_queue_next(queue, 0, &tag) == MLXFORGE_TIMEOUT);
    for (int i = 0; i < 2; i++) {
        CHECK(
            mlxforge_call_next(calls[2], 0, NULL, NULL) ==
            (i == 0 ? MLXFORGE_MESSAGE : MLXFORGE_TIMEOUT));
    }
    CHECK(respond(calls[2], "z") == ROOM_LEFT);
    CHECK(mlxforge_call_next(calls[2], 0, NULL, NULL) == MLXFORGE_MESSAGE); /* before it is told */
    CHECK(mlxforge_queue_next(queue, 0, &tag) == MLXFORGE_TIMEOUT);
    for (int i = 0; i < 3; i++) {
        mlxforge_call_free(calls[order[i]]);
    }
    mlxforge_queue_free(queue);
}

int main(void) {
    open_double();
    test_queue();
    test_queue_misuse();
    test_free_under_waiters();
    test_order();
    close_double();
    printf("ok\n");
    return 0;
}

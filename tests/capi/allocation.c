/*
 * Every allocation of the C part fails once (fault 29): the Nth alone, for N = 1, 2, …, and then
 * all from the Nth on. Each time every function must answer with an error or go well, nothing may
 * leak, and all handles must be freeable.
 */
#include "check.h"
#include "double.h"
#include "internal.h"

#include <stdatomic.h>
#include <string.h>

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void __real_free(void *);

static atomic_long allocations, live;
static atomic_long failing = -1; /* the number that fails */
static atomic_bool all_after;
static long at_rest; /* live blocks while nothing goes on */

static bool fails(void) {
    long number = atomic_fetch_add(&allocations, 1) + 1;
    long bad = atomic_load(&failing);
    return bad >= 0 && (number == bad || (atomic_load(&all_after) && number > bad));
}

static void *counted(void *block) {
    if (block != NULL) {
        atomic_fetch_add(&live, 1);
    }
    return block;
}

void *__wrap_malloc(size_t size) {
    return fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size) {
    return fails() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *block, size_t size) {
    if (fails()) {
        return NULL;
    }
    void *larger = __real_realloc(block, size);
    return block == NULL ? counted(larger) : larger;
}

char *__wrap_strdup(const char *text) {
    char *copy = __wrap_malloc(strlen(text) + 1);
    return copy == NULL ? NULL : strcpy(copy, text);
}

void __wrap_free(void *block) {
    if (block != NULL) {
        atomic_fetch_sub(&live, 1);
    }
    __real_free(block);
}

static int32_t ignore(const char *text, size_t size, void *user_data) {
    (void)text, (void)size, (void)user_data;
    return 0;
}

static void log_line(int32_t level, const char *source, const char *text, void *user_data) {
    (void)level, (void)source, (void)text, (void)user_data;
}

/* All that can be asked of an error; frees it. */
static void read_error(mlxforge_error *error) {
    size_t size;
    CHECK(mlxforge_error_message(error) != NULL);
    CHECK((mlxforge_error_details(error, &size) == NULL) == (mlxforge_error_code(error) == 0));
    mlxforge_error_free(error);
}

/* Takes a call to its end. */
static void finish(mlxforge_call *call) {
    mlxforge_event event = MLXFORGE_MESSAGE;
    while (event == MLXFORGE_MESSAGE) {
        event = mlxforge_call_next(call, 20000, NULL, NULL);
    }
    CHECK(event != MLXFORGE_TIMEOUT);
    if (event == MLXFORGE_ERROR) {
        CHECK(mlxforge_error_message(mlxforge_call_error(call)) != NULL);
    }
    mlxforge_call_free(call);
}

static mlxforge_call *start(mlxforge_engine *engine, const char *method) {
    mlxforge_error *error;
    mlxforge_call *call =
        mlxforge_call_start(engine, method, "{}", 2, MLXFORGE_CODEC_JSON, -1, &error);
    CHECK((call == NULL) == (mlxforge_error_code(error) != 0));
    read_error(error);
    return call;
}

static void use_queue(mlxforge_engine *engine) {
    mlxforge_call *call = start(engine, "mlxforge.v1.GenerationService/StreamGenerate");
    mlxforge_queue *queue = mlxforge_queue_new();
    void *tag = NULL;
    mlxforge_queue_add(queue, call, &tag);
    if (queue != NULL && call != NULL) {
        CHECK(mlxforge_queue_next(queue, 20000, &tag) != MLXFORGE_TIMEOUT && tag == &tag);
    }
    mlxforge_queue_add(queue, NULL, NULL); /* a bad one */
    mlxforge_queue_next(queue, 0, &tag);
    finish(call);
    mlxforge_queue_free(queue);
}

static void use_calls(mlxforge_engine *engine) {
    mlxforge_call *call = start(engine, "mlxforge.v1.EmbeddingService/StreamEmbed");
    mlxforge_call_send(call, "{}", 2);
    if (mlxforge_call_send(call, NULL, 0) != MLXFORGE_STATUS_OK) {
        mlxforge_call_cancel(call);
    }
    finish(call);
    call = start(engine, "mlxforge.v1.ModelService/LoadModel");
    mlxforge_call_cancel(call);
    finish(call);
    finish(start(engine, "no/such"));
}

static void use_helpers(mlxforge_engine *engine) {
    mlxforge_error *error;
    const char *texts[] = {"one"};
    float vector[3];
    size_t count;
    mlxforge_generate_text(engine, "x", NULL, -1, ignore, NULL, &error);
    read_error(error);
    mlxforge_embed_texts(engine, texts, 1, "{}", -1, vector, 3, &count, &error);
    read_error(error);
    mlxforge_count_tokens(engine, "x", NULL, -1, &count, &error);
    read_error(error);
}

/* One of everything. */
static void scenario(mlxforge_engine *engine) {
    mlxforge_error *error;
    CHECK(mlxforge_abi_version() == MLXFORGE_ABI_VERSION && mlxforge_version() != NULL);
    mlxforge_log_set(log_line, NULL, MLXFORGE_LOG_INFO);
    mlxforge_engine *second = mlxforge_engine_open("{}", &error);
    CHECK((second == NULL) == (mlxforge_error_code(error) != 0));
    read_error(error);
    CHECK(mlxforge_engine_open("{\"model\": \"fail\"}", &error) == NULL);
    read_error(error);
    use_queue(second);
    use_calls(second);
    use_helpers(engine);
    mlxforge_engine_close(second);
    mlxforge_log_set(NULL, NULL, 0);
}

static void wait_for_quiet(void) {
    while (double_live() > 0) {
    }
}

/* Whether the failing allocation was reached. */
static bool run(mlxforge_engine *engine, long number, bool all) {
    atomic_store(&allocations, 0);
    atomic_store(&all_after, all);
    atomic_store(&failing, number);
    scenario(engine);
    const bool reached = atomic_load(&allocations) >= number;
    atomic_store(&failing, -1);
    wait_for_quiet();
    scenario(engine); /* all works again, and what was half done is forgotten */
    wait_for_quiet();
    CHECK(handle_count() == 1);
    for (int i = 0; i < 1000 && atomic_load(&live) != at_rest; i++) {
        struct timespec pause = {0, 1000000}; /* the double frees its last command */
        nanosleep(&pause, NULL);
    }
    if (atomic_load(&live) != at_rest) {
        fprintf(
            stderr, "allocation %ld: %ld blocks leaked\n", number, atomic_load(&live) - at_rest);
        exit(1);
    }
    return reached;
}

int main(void) {
    atomic_store(&failing, 1);
    CHECK(mlxforge_engine_open("{}", NULL) == NULL);
    atomic_store(&failing, -1);
    mlxforge_engine *engine = mlxforge_engine_open("{}", NULL);
    CHECK(engine != NULL);
    scenario(engine); /* grows the table of handles once for all */
    wait_for_quiet();
    nanosleep(&(struct timespec){0, 100000000}, NULL);
    at_rest = atomic_load(&live);
    long number = 1;
    while (run(engine, number, false)) {
        number++;
    }
    CHECK(number > 40);
    for (long i = 1; i < number; i++) {
        run(engine, i, true);
    }
    printf("%ld allocations failed, alone and with all after them\n", number - 1);
    mlxforge_engine_close(engine);
    return 0;
}

/*
 * libmlxforge: the mlxforge engine inside any program.
 *
 * What is asked and answered travels in the messages of the schema (package mlxforge.v1), as
 * protobuf or as its JSON form; this header only carries them. It is stable for good: functions
 * and constants are added, never changed.
 *
 * The rules that hold for every function here:
 *
 * Threads.    Every function may be called from any thread, also at the same time on the same
 *             handle. None needs the thread to be prepared or to be the one that opened the
 *             engine. No function of this library keeps another from returning.
 * Blocking.   Functions do not block unless their comment says so. A wait sleeps; it does not
 *             hold the interpreter's lock, and it does not spin.
 * Handles.    Engines, calls, queues and errors are opaque values, not addresses. A handle that
 *             is NULL, freed already, or of another kind is refused with an error code; freeing
 *             one does nothing. Handles may be freed in any order.
 * Text.       Strings are UTF-8 and end with a zero byte. Those passed in are copied.
 * Errors.     Where a function takes `mlxforge_error **error`, it sets `*error` to NULL when it
 *             succeeds and to a new error, which the caller frees, when it fails. `error` may be
 *             NULL. Functions that return `int32_t` return a mlxforge_status.
 * Process.    No signal handler is installed, nothing is written to stdout, and no C++ or Python
 *             exception crosses the boundary. Once started, the library stays in the process
 *             (dlclose does not unmap it). A process may exit without freeing anything.
 * fork.       A child made by fork after the first mlxforge_engine_open cannot use the library:
 *             every function answers MLXFORGE_STATUS_FAILED_PRECONDITION there, and freeing does
 *             nothing. fork followed by exec is safe, and so is fork before the first open.
 */
#ifndef MLXFORGE_H
#define MLXFORGE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#error "mlxforge runs on macOS and Linux"
#elif defined(__GNUC__)
#define MLXFORGE_API __attribute__((visibility("default")))
#else
#define MLXFORGE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this ABI; a library of a higher number has all of it, and more. */
#define MLXFORGE_ABI_VERSION 1

/* Limits. What exceeds them is refused with MLXFORGE_STATUS_INVALID_ARGUMENT. */
#define MLXFORGE_MAX_REQUEST_BYTES 67108864 /* one request message, 64 MiB */
#define MLXFORGE_MAX_CONFIG_BYTES 1048576   /* config_json, options_json */
#define MLXFORGE_MAX_JSON_DEPTH 64          /* nesting of a JSON request or configuration */

/* An engine with its models. */
typedef struct mlxforge_engine mlxforge_engine;
/* One RPC in progress. */
typedef struct mlxforge_call mlxforge_call;
/* A completion queue: one place to wait for many calls. */
typedef struct mlxforge_queue mlxforge_queue;
/* Why something failed. */
typedef struct mlxforge_error mlxforge_error;

/* Status codes, those of gRPC. */
typedef enum mlxforge_status {
    MLXFORGE_STATUS_OK = 0,
    MLXFORGE_STATUS_CANCELLED = 1, /* by mlxforge_call_cancel or mlxforge_engine_close */
    MLXFORGE_STATUS_UNKNOWN = 2,
    MLXFORGE_STATUS_INVALID_ARGUMENT = 3, /* the message names the field or the argument */
    MLXFORGE_STATUS_DEADLINE_EXCEEDED = 4,
    MLXFORGE_STATUS_NOT_FOUND = 5, /* the model */
    MLXFORGE_STATUS_ALREADY_EXISTS = 6,
    MLXFORGE_STATUS_PERMISSION_DENIED = 7,
    MLXFORGE_STATUS_RESOURCE_EXHAUSTED = 8,  /* queue full, no memory; details may say RetryInfo */
    MLXFORGE_STATUS_FAILED_PRECONDITION = 9, /* the model cannot; no usable Python; after fork */
    MLXFORGE_STATUS_ABORTED = 10,
    MLXFORGE_STATUS_OUT_OF_RANGE = 11,  /* a buffer is too small */
    MLXFORGE_STATUS_UNIMPLEMENTED = 12, /* no such method */
    MLXFORGE_STATUS_INTERNAL = 13,
    MLXFORGE_STATUS_UNAVAILABLE = 14,
    MLXFORGE_STATUS_DATA_LOSS = 15,
    MLXFORGE_STATUS_UNAUTHENTICATED = 16
} mlxforge_status;

/* How messages are spelled. */
typedef enum mlxforge_codec {
    MLXFORGE_CODEC_PROTOBUF = 0, /* the binary form */
    MLXFORGE_CODEC_JSON = 1      /* the JSON form, UTF-8; field names in either case are read,
                                    lowerCamelCase is written */
} mlxforge_codec;

/* What a wait found. */
typedef enum mlxforge_event {
    MLXFORGE_MESSAGE = 1, /* a response message */
    MLXFORGE_END = 2,     /* the call has ended well; there are no more messages */
    MLXFORGE_TIMEOUT = 3, /* nothing came in the time given */
    MLXFORGE_ERROR = 4    /* the call has failed; see mlxforge_call_error */
} mlxforge_event;

/* ---------------------------------------------------------------------- Version */

/* The library's version, "1.2.3". Static. */
MLXFORGE_API const char *mlxforge_version(void);

/* The ABI version of the library: at least the MLXFORGE_ABI_VERSION of the header it came with. */
MLXFORGE_API uint32_t mlxforge_abi_version(void);

/* ---------------------------------------------------------------------- Engine */

/*
 * Opens an engine and loads its models. config_json: an object with the names of the server's
 * settings, as {"model": "mlx-community/Qwen3-4B-4bit"}; NULL or "{}": the default models, which
 * come as Python packages.
 *
 * Blocks until the models are ready or cannot be had: the first open also starts Python. Several
 * engines may be open at once; they share one Python and one device thread.
 *
 * Python is looked for beside the library (a wheel in its environment, or a bundle), then in the
 * environment variable MLXFORGE_PYTHON (an interpreter or an environment's folder). In a process
 * that runs Python already, that Python is used, and it must have mlxforge installed.
 *
 * NULL on failure: INVALID_ARGUMENT (the configuration), FAILED_PRECONDITION (no usable Python:
 * the message names what was looked for; or a model that cannot be loaded), NOT_FOUND (no such
 * model), RESOURCE_EXHAUSTED (memory).
 */
MLXFORGE_API mlxforge_engine *mlxforge_engine_open(const char *config_json, mlxforge_error **error);

/*
 * Closes an engine. Its running calls end at once with CANCELLED; they stay valid until freed.
 * Blocks until the engine's memory is given back, one engine step and some time to free it.
 */
MLXFORGE_API void mlxforge_engine_close(mlxforge_engine *engine);

/* ---------------------------------------------------------------------- Calls */

/*
 * Starts an RPC. method: as "mlxforge.v1.GenerationService/StreamGenerate". request, size: the
 * request message in the codec's form (may be NULL when size is 0: an empty message, in JSON
 * "{}"), copied. For a method whose requests are a stream it is the first one, and NULL with size
 * 0 means that none is sent yet. timeout_ms: the call ends with DEADLINE_EXCEEDED after so long;
 * negative: never.
 *
 * Does not block, and does not wait for anything to be checked: an unknown method or a wrong
 * request becomes the call's error. The call belongs to the caller, who frees it.
 *
 * NULL on failure: INVALID_ARGUMENT (engine is not open, method is NULL or malformed, request is
 * NULL, too large, or JSON nested too deep, codec is unknown), RESOURCE_EXHAUSTED (memory),
 * FAILED_PRECONDITION (after fork).
 */
MLXFORGE_API mlxforge_call *mlxforge_call_start(
    mlxforge_engine *engine, const char *method, const void *request, size_t size,
    mlxforge_codec codec, int64_t timeout_ms, mlxforge_error **error);

/*
 * Waits for the call's next event, at most timeout_ms (0: looks only; negative: for good).
 *
 * MLXFORGE_MESSAGE: *message and *size are the response message, valid until the next
 * mlxforge_call_next on the call or its end by mlxforge_call_free; a zero byte follows it, so that
 * JSON can be read as a string. One thread at a time should take a call's messages. With any other
 * event they are NULL and 0. message and size may be NULL.
 * MLXFORGE_END and MLXFORGE_ERROR end the call; asked again, it answers the same again.
 * A handle that is not a live call: MLXFORGE_ERROR. So does a wait whose call is freed meanwhile.
 *
 * Messages not yet taken are kept, within a bound: generation slows down for a slow reader, and
 * what it missed comes in fewer, larger pieces.
 */
MLXFORGE_API mlxforge_event
mlxforge_call_next(mlxforge_call *call, int64_t timeout_ms, const void **message, size_t *size);

/*
 * Sends a further request of a client stream, copied; NULL: there are no more. Requests are kept
 * until the engine takes them, within a bound.
 *
 * OK; INVALID_ARGUMENT (not a live call, too large, JSON nested too deep);
 * RESOURCE_EXHAUSTED (the engine is behind: take responses, then send again; or no memory);
 * FAILED_PRECONDITION (the stream was ended by NULL; after fork);
 * the call's own status, when it has failed; CANCELLED, when it has ended well.
 */
MLXFORGE_API int32_t mlxforge_call_send(mlxforge_call *call, const void *request, size_t size);

/*
 * Why the call failed, after MLXFORGE_ERROR; NULL while it runs and when it ended well. Belongs to
 * the call: valid until mlxforge_call_free; mlxforge_error_free on it does nothing. For a handle
 * that is not a live call: a static error that says so.
 */
MLXFORGE_API const mlxforge_error *mlxforge_call_error(const mlxforge_call *call);

/*
 * Cancels the call: it ends at once with CANCELLED, messages not yet taken are dropped, and the
 * engine frees the request within one step. A call that has ended stays as it is.
 */
MLXFORGE_API void mlxforge_call_cancel(mlxforge_call *call);

/* Frees the call; cancels it when it is still running. NULL: nothing. */
MLXFORGE_API void mlxforge_call_free(mlxforge_call *call);

/* ---------------------------------------------------------------------- Completion queue */

/* A new queue, which the caller frees. NULL: no memory, or after fork. */
MLXFORGE_API mlxforge_queue *mlxforge_queue_new(void);

/*
 * Puts the call in the queue under the host's own tag. A call can be in one queue, once: adding it
 * again, or a handle that is not a live call, has the queue report MLXFORGE_ERROR with that tag.
 */
MLXFORGE_API void mlxforge_queue_add(mlxforge_queue *queue, mlxforge_call *call, void *tag);

/*
 * Waits until one of the queue's calls has something, at most timeout_ms (0: looks only; negative:
 * for good, also while the queue has no calls). Sets *tag and returns the event that
 * mlxforge_call_next(call, 0, …) then gives: MLXFORGE_MESSAGE, MLXFORGE_END or MLXFORGE_ERROR.
 *
 * The call is reported again once the host has taken that event and there is another; after
 * MLXFORGE_END or MLXFORGE_ERROR, not again. Calls take turns. Taking more than one event at a
 * time is fine. Meant for one waiting thread; with several, two may be told of one call.
 *
 * MLXFORGE_TIMEOUT: nothing came; *tag is NULL. MLXFORGE_ERROR with a NULL tag: not a live queue,
 * or it was freed meanwhile.
 */
MLXFORGE_API mlxforge_event
mlxforge_queue_next(mlxforge_queue *queue, int64_t timeout_ms, void **tag);

/* Frees the queue. Its calls go on and can be put in another. NULL: nothing. */
MLXFORGE_API void mlxforge_queue_free(mlxforge_queue *queue);

/* ---------------------------------------------------------------------- Errors */

/* The mlxforge_status. OK for NULL. */
MLXFORGE_API int32_t mlxforge_error_code(const mlxforge_error *error);

/* What is wrong and what to do, for people. Never NULL; valid until the error is freed. */
MLXFORGE_API const char *mlxforge_error_message(const mlxforge_error *error);

/*
 * The whole status: a serialized google.rpc.Status with BadRequest, ErrorInfo and RetryInfo as in
 * gRPC, always protobuf. Valid until the error is freed. NULL and 0 for a NULL error. size may be
 * NULL.
 */
MLXFORGE_API const void *mlxforge_error_details(const mlxforge_error *error, size_t *size);

/* Frees an error. NULL, and errors that belong to a call: nothing. */
MLXFORGE_API void mlxforge_error_free(mlxforge_error *error);

/* ---------------------------------------------------------------------- Log */

/* Levels of the log, as Python's. */
#define MLXFORGE_LOG_DEBUG 10
#define MLXFORGE_LOG_INFO 20
#define MLXFORGE_LOG_WARNING 30
#define MLXFORGE_LOG_ERROR 40

/*
 * Receives one line of the log: its level, the part that wrote it ("mlxforge.engine"), the text.
 * The strings are valid during the call only. Called from a thread of the library's own, one line
 * at a time, with no lock held: it may call any function of this library.
 */
typedef void (*mlxforge_log_fn)(
    int32_t level, const char *source, const char *text, void *user_data);

/*
 * Has lines of `level` and above go to `log`; NULL: no lines (the default). Once it has returned,
 * the function set before is not called any more: it blocks while that one is running, unless
 * called from within it. Lines that come faster than `log` takes them are dropped and counted.
 */
MLXFORGE_API void mlxforge_log_set(mlxforge_log_fn log, void *user_data, int32_t level);

/* ---------------------------------------------------------------------- Helpers for C
 *
 * The same calls, for programs that do without a protobuf or JSON library. Each blocks until its
 * call has ended. options_json: NULL, or a JSON object with further fields of the request message,
 * as {"max_tokens": 64, "sampling_params": {"temperature": 0}}. timeout_ms: as in
 * mlxforge_call_start. Each returns a mlxforge_status, which is also in *error.
 */

/*
 * Receives text as it is generated: whole characters, `size` bytes and a zero byte after them,
 * valid during the call only. Called from the thread that called mlxforge_generate_text, with no
 * lock held. Non-zero stops the generation.
 */
typedef int32_t (*mlxforge_text_fn)(const char *text, size_t size, void *user_data);

/*
 * Generates text with GenerationService/StreamGenerate. prompt: what the user says, given to the
 * model as one chat message; NULL: options_json is the whole GenerateRequest, with its own input.
 * CANCELLED when `text` has stopped it. With n above 1 the texts of all choices come mixed.
 */
MLXFORGE_API int32_t mlxforge_generate_text(
    mlxforge_engine *engine, const char *prompt, const char *options_json, int64_t timeout_ms,
    mlxforge_text_fn text, void *user_data, mlxforge_error **error);

/*
 * Embeds `count` texts with EmbeddingService/Embed. *dimensions becomes the length of a vector.
 * vectors: room for `capacity` floats, filled row by row: text i is at vectors + i * *dimensions.
 * NULL vectors: only *dimensions is found out, by embedding the first text alone.
 * OUT_OF_RANGE when capacity is below count * *dimensions; *dimensions is set then too.
 */
MLXFORGE_API int32_t mlxforge_embed_texts(
    mlxforge_engine *engine, const char *const *texts, size_t count, const char *options_json,
    int64_t timeout_ms, float *vectors, size_t capacity, size_t *dimensions,
    mlxforge_error **error);

/* Counts a text's tokens with TokenizerService/Tokenize. */
MLXFORGE_API int32_t mlxforge_count_tokens(
    mlxforge_engine *engine, const char *text, const char *options_json, int64_t timeout_ms,
    size_t *count, mlxforge_error **error);

#ifdef __cplusplus
}
#endif

#endif /* MLXFORGE_H */

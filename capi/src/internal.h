/*
 * What the library is made of inside.
 *
 *   host threads ── call.c, queue.c, engine.c ──► bridge.c ◄── python_*.c ── the loop thread
 *
 * The two sides share two queues in C memory: commands to the interpreter (a pipe wakes its loop)
 * and messages back to the calls (condition variables wake the hosts). So a host thread never
 * takes the interpreter's lock, and the interpreter never waits for a host.
 *
 * One mutex, `state_lock`, guards handles, engines, calls and queues. It is held for a few
 * assignments at a time, never while memory is copied, Python is entered or anything is waited
 * for. Functions named *_locked want it held.
 */
#ifndef MLXFORGE_INTERNAL_H
#define MLXFORGE_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "mlxforge.h"

/* ---- handle.c: handles are table positions with a generation, so that stale ones are known */

typedef enum kind { KIND_ENGINE = 1, KIND_CALL, KIND_QUEUE, KIND_ERROR } kind;

/* The head of everything a handle can name; references are counted under state_lock. */
typedef struct object {
    uint64_t id; /* 0: never in the table */
    kind kind;
    uint32_t references;
} object;

extern pthread_mutex_t state_lock;

/* Gives the object its id and the table's reference. false: no memory or too many handles. */
bool handle_add_locked(object *o, kind k);
/* The object of a live handle of that kind, else NULL. */
object *handle_get_locked(uint64_t id, kind k);
/* Takes the object out of the table, without dropping the table's reference. */
void handle_remove_locked(object *o);
/* Visits all live objects of a kind; visit must not add or remove handles. */
void handle_each_locked(kind k, void (*visit)(object *));
/* How many handles are live. */
size_t handle_count(void);
void object_ref_locked(object *o);
/* Drops a reference. true: it was the last; the caller destroys the object, after unlocking. */
bool object_unref_locked(object *o);

#define HANDLE_ID(pointer) ((uint64_t)(uintptr_t)(pointer))
#define HANDLE_POINTER(type, id) ((type *)(uintptr_t)(id))

/* ---- clock.c */

/* An absolute time on the monotonic clock, or none. */
typedef struct deadline {
    bool set;
    struct timespec at;
} deadline;

deadline deadline_after_ms(int64_t timeout_ms); /* negative: none */
int64_t deadline_left_ms(const deadline *d);    /* -1: none; 0: over */
void cond_init(pthread_cond_t *cond);
/* false: the deadline is over. */
bool cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, const deadline *d);

/* ---- error.c */

typedef struct error {
    object base;
    int32_t code;
    bool borrowed; /* belongs to a call */
    const char *message;
    const unsigned char *details; /* a serialized google.rpc.Status */
    size_t details_size;
} error;

/* Errors that need no memory. */
typedef enum static_error {
    ERROR_NO_MEMORY,
    ERROR_FORKED,
    ERROR_BAD_CALL,
    ERROR_BAD_ERROR,
    STATIC_ERRORS
} static_error;

void error_statics_init(void);
error *error_static(static_error which);
/* A new error without a handle; the static no-memory error when there is none. reason: the
   ErrorInfo's, UPPER_SNAKE. */
error *error_new(int32_t code, const char *reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same from a serialized google.rpc.Status. */
error *error_of_status(int32_t code, const char *message, const void *details, size_t size);
/* Hands an error to the host through *out, or frees it when out is NULL. Returns its code. */
int32_t error_give(mlxforge_error **out, error *e);
void error_destroy(error *e); /* NULL and static errors: nothing */

/* ---- wire.c: the little of protobuf's wire format that the library itself needs */

typedef struct wire_writer {
    unsigned char *data; /* NULL: only counts */
    size_t size;
} wire_writer;

void wire_put_varint(wire_writer *w, uint32_t field, uint64_t value);
void wire_put_bytes(wire_writer *w, uint32_t field, const void *data, size_t size);

typedef struct wire_field {
    uint32_t number;
    uint32_t type;             /* 0 varint, 1 64 bits, 2 bytes, 5 32 bits */
    uint64_t value;            /* of types 0, 1 and 5 */
    const unsigned char *data; /* of type 2 */
    size_t size;
} wire_field;

typedef struct wire_reader {
    const unsigned char *at, *end;
} wire_reader;

wire_reader wire_read(const void *data, size_t size);
/* The next field; false at the end and at bytes that are no protobuf. */
bool wire_next(wire_reader *r, wire_field *field);

/* ---- json.c */

/* NULL, or what is wrong with the nesting of a JSON text. Syntax is for the parser to judge. */
const char *json_check_depth(const char *text, size_t size);

/* A growing text; `failed` when memory ran out. */
typedef struct text_buffer {
    char *data;
    size_t size, capacity;
    bool failed;
} text_buffer;

void text_put(text_buffer *b, const char *text);
void text_put_quoted(text_buffer *b, const char *text); /* as a JSON string */
/* Appends the fields of a JSON object to one that is open, and closes it. false: no object. */
bool text_put_fields(text_buffer *b, const char *object_json);

/* ---- message.c */

typedef struct message {
    struct message *next;
    size_t size;
    char data[]; /* size bytes and a zero byte */
} message;

message *message_new(const void *data, size_t size); /* a copy; NULL: no memory */
void message_list_free(message *m);

/* ---- call.c */

struct engine;
struct queue;

/* Responses kept for the host, per call: beyond either, the engine is asked to wait. */
#define MOST_BUFFERED 64
#define MOST_BUFFERED_BYTES ((size_t)1 << 20)

typedef enum operation { OPERATION_RPC, OPERATION_OPEN, OPERATION_CLOSE } operation;

typedef struct call {
    object base;
    operation operation;
    uint64_t engine_id;
    int32_t request_codec, response_codec;
    deadline deadline;
    pthread_cond_t changed;
    bool freed; /* by the host; waiters leave */

    /* responses */
    message *first, *last, *current; /* current: what the host reads */
    size_t buffered, buffered_bytes;
    bool paused;   /* the interpreter waits for room */
    bool finished; /* ended, well or with `error`; set once */
    error *error;

    /* commands that the interpreter has not seen yet */
    bool commanded; /* in the command list, which holds a reference */
    struct call *next_command;
    bool start_pending, cancel_pending, resume_pending;
    char *method;                /* of the pending start */
    message *request;            /* of the pending start; NULL: none */
    message *sends, *last_send;  /* of size SIZE_MAX: the end of the stream */
    size_t unsent, unsent_bytes; /* given by the host, not yet taken by the method */
    bool half_closed;

    /* the engine's running calls */
    struct engine *engine;
    struct call *engine_previous, *engine_next;

    /* the host's queue */
    struct queue *queue;
    void *tag;
    struct call *queue_previous, *queue_next, *ready_next;
    bool ready;     /* in the queue's ready list */
    bool announced; /* reported, and not taken since */
    bool ended;     /* its end was taken */
} call;

/* Starts any operation. On success the handle's id, else 0 and *failure. */
uint64_t call_begin(
    operation op, uint64_t engine_id, const char *method, const void *request, size_t size,
    int32_t request_codec, int32_t response_codec, int64_t timeout_ms, error **failure);
/* Ends a call once; a second end is destroyed. */
void call_finish_locked(call *c, error *e);
/* The error of a call that has failed, now the caller's. That of a bad handle, when the host has
   freed a call that was not its own. */
error *call_take_error(uint64_t call_id);
bool call_has_event_locked(const call *c);
void call_unref_locked(call *c, call **dead); /* chains what is to be destroyed to *dead */
void call_destroy_chain(call *dead);          /* without the lock */

/* ---- queue.c */

typedef struct bad_add {
    struct bad_add *next;
    void *tag;
} bad_add;

typedef struct queue {
    object base;
    pthread_cond_t changed;
    bool freed;
    call *members;
    call *ready_first, *ready_last;
    bad_add *bad; /* tags of calls that could not be added */
} queue;

void queue_touch_locked(call *c);  /* the call may have something for its queue */
void queue_detach_locked(call *c); /* the call leaves its queue */

/* ---- engine.c */

typedef struct engine {
    object base;
    call *running;
} engine;

void engine_add_call_locked(engine *e, call *c);
void engine_remove_call_locked(call *c);

/* ---- bridge.c: the two queues between the hosts and the interpreter */

typedef enum command_kind {
    COMMAND_NONE,
    COMMAND_OPEN,   /* call, engine, payload: the configuration */
    COMMAND_CLOSE,  /* call, engine */
    COMMAND_START,  /* call, engine, codecs, timeout_ms, method, payload or NULL */
    COMMAND_SEND,   /* call, payload or NULL: the stream has ended */
    COMMAND_CANCEL, /* call */
    COMMAND_RESUME, /* call: there is room again */
    COMMAND_LOG,    /* level */
    COMMAND_STOP    /* the process exits: close everything */
} command_kind;

typedef struct command {
    command_kind kind;
    uint64_t call, engine;
    int32_t request_codec, response_codec;
    int64_t timeout_ms;
    int32_t level;
    char *method;     /* owned */
    message *payload; /* owned */
} command;

/* Makes the pipe. false: no file descriptors. */
bool bridge_open(void);
int bridge_fd(void);                 /* readable when there are commands */
void bridge_command_locked(call *c); /* the call has a command pending */
void bridge_log_level(int32_t level);
void bridge_stop(void);

/* The interpreter's side. */
void bridge_poll(command *out); /* the next command, or COMMAND_NONE */
void command_release(command *c);
typedef enum room { ROOM_GONE = -1, ROOM_FULL = 0, ROOM_LEFT = 1 } room;
/* Gives a call a response. ROOM_FULL: wait for COMMAND_RESUME; ROOM_GONE: nobody wants more. */
room bridge_message(uint64_t call_id, const void *data, size_t size);
void bridge_finish(uint64_t call_id, error *e);   /* NULL: well */
void bridge_taken(uint64_t call_id, size_t size); /* the method has taken a sent request */

/* ---- log.c */

int32_t log_level(void); /* INT32_MAX: no log is wanted */
void log_write(int32_t level, const char *source, const char *text);
void log_stop(void);

/* ---- runtime.c */

bool runtime_forked(void);
/* Starts the interpreter once. NULL, or what went wrong. */
error *runtime_start(void);
/* An engine is open: from now on the exit of the process stops it first. */
void runtime_loaded(void);
/* Called by the backend's thread: it serves commands now, or could not start (e). */
void runtime_serving(error *e);
/* Called by the backend's thread when it serves no more. */
void runtime_stopped(void);
bool runtime_is_stopped(void);

/* ---- the backend: python_*.c, or the tests' double in C */

error *backend_start(void); /* starts the thread that serves commands; NULL: it is under way */
/* Around every wait of a host thread: lets go of the interpreter's lock, if the thread has it. */
void *backend_enter_wait(void);
void backend_leave_wait(void *token);

#endif

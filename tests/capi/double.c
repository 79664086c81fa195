/*
 * A backend in C, in place of Python: serves commands on a thread of its own, so that the C part
 * can be run under sanitizers and fuzzers. It knows a few RPCs of the schema, by heart:
 *
 *   GenerationService/StreamGenerate  "max_tokens":N messages with the delta " word", then a finish
 *   EmbeddingService/Embed            a vector of 3 for each "text" in the request
 *   EmbeddingService/StreamEmbed      answers each request with itself
 *   TokenizerService/Tokenize         the request's size as the count
 *   ModelService/ListModels           the request itself
 *   ModelService/LoadModel            nothing, until it is cancelled
 *   ModelService/UnloadModel          FAILED_PRECONDITION
 *
 * A request with "raw":["0a00",…] is answered with these bytes instead, one message each.
 */
#include "double.h"
#include "internal.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

typedef struct stream {
    struct stream *next;
    uint64_t call, engine;
    long left; /* messages; -1: as long as nobody cancels */
    bool paused, client_streams;
    deadline deadline;
} stream;

static stream *streams;
static size_t engine_count;
static pthread_mutex_t count_lock = PTHREAD_MUTEX_INITIALIZER;
static size_t live_streams;
static pthread_mutex_t serve_lock = PTHREAD_MUTEX_INITIALIZER; /* held while commands are served */
static bool refusing;

static void count(size_t *counter, int change) {
    pthread_mutex_lock(&count_lock);
    *counter += (size_t)change;
    pthread_mutex_unlock(&count_lock);
}

static size_t counted(const size_t *counter) {
    pthread_mutex_lock(&count_lock);
    size_t value = *counter;
    pthread_mutex_unlock(&count_lock);
    return value;
}

size_t double_live(void) {
    return counted(&live_streams);
}

size_t double_engines(void) {
    return counted(&engine_count);
}

void double_stop(void) {
    bridge_stop();
}

void double_hold(void) {
    pthread_mutex_lock(&serve_lock);
}

void double_release(void) {
    pthread_mutex_unlock(&serve_lock);
}

void double_refuse(void) {
    refusing = true;
}

static void end(stream **link, error *e) {
    stream *s = *link;
    *link = s->next;
    bridge_finish(s->call, e);
    free(s);
    count(&live_streams, -1);
}

static stream **find(uint64_t call_id) {
    stream **link = &streams;
    while (*link != NULL && (*link)->call != call_id) {
        link = &(*link)->next;
    }
    return link;
}

static void add(const command *c, long left, bool client_streams) {
    stream *s = calloc(1, sizeof *s);
    if (s == NULL) {
        bridge_finish(c->call, error_static(ERROR_NO_MEMORY));
        return;
    }
    *s = (stream){
        .next = streams,
        .call = c->call,
        .engine = c->engine,
        .left = left,
        .client_streams = client_streams,
        .deadline = deadline_after_ms(c->timeout_ms)};
    streams = s;
    count(&live_streams, 1);
}

/* The number after "max_tokens": in a request; else 3. */
static long max_tokens(const message *payload) {
    const char *at = payload == NULL ? NULL : strstr(payload->data, "\"max_tokens\":");
    return at == NULL ? 3 : strtol(at + strlen("\"max_tokens\":"), NULL, 10);
}

static void answer(uint64_t call_id, const void *data, size_t size) {
    bridge_message(call_id, data, size);
    bridge_finish(call_id, NULL);
}

static void embed(const command *c) {
    static const float values[3] = {1.0F, 2.0F, 3.0F};
    unsigned char embedding[32], response[4096];
    wire_writer e = {embedding, 0}, r = {response, 0};
    wire_put_bytes(&e, 2, values, sizeof values);
    const char *at = c->payload == NULL ? "" : c->payload->data;
    while ((at = strstr(at, "\"text\":")) != NULL && r.size + 64 < sizeof response) {
        wire_put_bytes(&r, 3, embedding, e.size);
        at++;
    }
    answer(c->call, response, r.size);
}

static void tokenize(const command *c) {
    unsigned char response[16];
    wire_writer r = {response, 0};
    wire_put_varint(&r, 3, c->payload == NULL ? 0 : c->payload->size);
    answer(c->call, response, r.size);
}

static int digit(char c) {
    static const char digits[] = "0123456789abcdef";
    const char *found = c == '\0' ? NULL : strchr(digits, c);
    return found == NULL ? -1 : (int)(found - digits);
}

/* Answers with the bytes that the request spells. false: it spells none. */
static bool answer_raw(const command *c) {
    static const char key[] = "\"raw\":[";
    const char *at = c->payload == NULL ? NULL : strstr(c->payload->data, key);
    if (at == NULL) {
        return false;
    }
    for (at += strlen(key); *at == '"'; at += *at == ',') {
        unsigned char bytes[64];
        size_t size = 0;
        for (at++; size < sizeof bytes && digit(at[0]) >= 0 && digit(at[1]) >= 0; at += 2) {
            bytes[size++] = (unsigned char)(digit(at[0]) << 4 | digit(at[1]));
        }
        bridge_message(c->call, bytes, size);
        at += *at == '"';
    }
    bridge_finish(c->call, NULL);
    return true;
}

static void start(const command *c) {
    const char *slash = strrchr(c->method, '/'), *name = slash + 1;
    if (answer_raw(c)) {
        return;
    }
    if (strcmp(name, "StreamGenerate") == 0) {
        add(c, max_tokens(c->payload), false);
    } else if (strcmp(name, "LoadModel") == 0) {
        add(c, -1, false);
    } else if (strcmp(name, "StreamEmbed") == 0) {
        add(c, -1, true);
        if (c->payload != NULL) {
            bridge_message(c->call, c->payload->data, c->payload->size);
        }
    } else if (strcmp(name, "Embed") == 0) {
        embed(c);
    } else if (strcmp(name, "Tokenize") == 0) {
        tokenize(c);
    } else if (strcmp(name, "ListModels") == 0) {
        answer(
            c->call, c->payload == NULL ? "" : c->payload->data,
            c->payload == NULL ? 0 : c->payload->size);
    } else if (strcmp(name, "UnloadModel") == 0) {
        bridge_finish(
            c->call,
            error_new(
                MLXFORGE_STATUS_FAILED_PRECONDITION, "UNSUPPORTED", "the double cannot unload"));
    } else {
        bridge_finish(
            c->call, error_new(
                         MLXFORGE_STATUS_UNIMPLEMENTED, "UNIMPLEMENTED", "method: there is no %s",
                         c->method));
    }
}

static void open_engine(const command *c) {
    log_write(MLXFORGE_LOG_INFO, "double", c->payload->data);
    if (strstr(c->payload->data, "fail") != NULL) {
        bridge_finish(
            c->call, error_of_status(MLXFORGE_STATUS_NOT_FOUND, "no such model", "\x08\x05", 2));
        return;
    }
    count(&engine_count, 1);
    bridge_finish(c->call, NULL);
}

static void close_engine(const command *c) {
    for (stream **link = &streams; *link != NULL;) {
        if ((*link)->engine == c->engine) {
            end(link, NULL);
        } else {
            link = &(*link)->next;
        }
    }
    count(&engine_count, -1);
    bridge_finish(c->call, NULL);
}

static void send_request(const command *c) {
    stream **link = find(c->call);
    if (*link == NULL || !(*link)->client_streams) {
        return;
    }
    if (c->payload == NULL) {
        end(link, NULL);
    } else {
        bridge_taken(c->call, c->payload->size);
        bridge_message(c->call, c->payload->data, c->payload->size);
    }
}

/* false: told to stop. */
static bool serve(command *c) {
    stream **link = find(c->call);
    switch (c->kind) {
    case COMMAND_START:
        start(c);
        break;
    case COMMAND_OPEN:
        open_engine(c);
        break;
    case COMMAND_CLOSE:
        close_engine(c);
        break;
    case COMMAND_SEND:
        send_request(c);
        break;
    case COMMAND_CANCEL:
        if (*link != NULL) {
            end(link, NULL);
        }
        break;
    case COMMAND_RESUME:
        if (*link != NULL) {
            (*link)->paused = false;
        }
        break;
    default:
        break;
    }
    bool go_on = c->kind != COMMAND_STOP;
    command_release(c);
    return go_on;
}

/* One message of a stream. false: the stream has ended. */
static bool step(stream **link) {
    unsigned char delta[16], response[32];
    wire_writer d = {delta, 0}, r = {response, 0};
    stream *s = *link;
    if (deadline_left_ms(&s->deadline) == 0) {
        end(link, error_new(MLXFORGE_STATUS_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "out of time"));
        return false;
    }
    if (s->left < 0 || s->paused) {
        return true;
    }
    if (s->left == 0) {
        end(link, NULL);
        return false;
    }
    s->left--;
    wire_put_bytes(&d, 1, " word", 5);
    wire_put_bytes(&r, 4, delta, d.size);
    room left = bridge_message(s->call, response, r.size);
    s->paused = left == ROOM_FULL;
    if (left == ROOM_GONE) {
        end(link, NULL);
        return false;
    }
    return true;
}

static void *main_of_double(void *unused) {
    (void)unused;
    bool serving = true;
    if (refusing) {
        runtime_serving(error_new(MLXFORGE_STATUS_FAILED_PRECONDITION, "NO_PYTHON", "refused"));
        return NULL;
    }
    runtime_serving(NULL);
    while (serving) {
        command c;
        struct pollfd wait = {.fd = bridge_fd(), .events = POLLIN};
        poll(&wait, 1, streams == NULL ? 100 : 1);
        pthread_mutex_lock(&serve_lock);
        for (bridge_poll(&c); c.kind != COMMAND_NONE; bridge_poll(&c)) {
            serving &= serve(&c);
        }
        for (stream **link = &streams; *link != NULL;) {
            if (step(link)) {
                link = &(*link)->next;
            }
        }
        pthread_mutex_unlock(&serve_lock);
    }
    while (streams != NULL) { /* their calls are ended by the library */
        stream *next = streams->next;
        free(streams);
        streams = next;
    }
    runtime_stopped();
    return NULL;
}

error *backend_start(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, main_of_double, NULL) != 0) {
        return error_static(ERROR_NO_MEMORY);
    }
    pthread_detach(thread);
    return NULL;
}

void *backend_enter_wait(void) {
    return NULL;
}

void backend_leave_wait(void *token) {
    (void)token;
}

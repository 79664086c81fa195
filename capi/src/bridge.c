/* The two queues between host threads and the interpreter. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int pipe_fds[2] = {-1, -1};
static call *first_commanded, *last_commanded;
static bool woken; /* a byte is in the pipe */
static bool log_pending, stop_pending;
static int32_t pending_level;

bool bridge_open(void) {
    if (pipe_fds[0] >= 0) {
        return true;
    }
    int fds[2];
    if (pipe(fds) != 0) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
        fcntl(fds[i], F_SETFL, O_NONBLOCK);
    }
    pthread_mutex_lock(&state_lock);
    pipe_fds[0] = fds[0];
    pipe_fds[1] = fds[1];
    woken = false;
    pthread_mutex_unlock(&state_lock);
    return true;
}

int bridge_fd(void) {
    return pipe_fds[0];
}

static void wake_locked(void) {
    if (woken || pipe_fds[1] < 0) {
        return;
    }
    ssize_t written;
    do {
        written = write(pipe_fds[1], "", 1);
    } while (written < 0 && errno == EINTR);
    woken = written == 1;
}

void bridge_command_locked(call *c) {
    if (!c->commanded) {
        c->commanded = true;
        c->next_command = NULL;
        object_ref_locked(&c->base);
        if (last_commanded == NULL) {
            first_commanded = c;
        } else {
            last_commanded->next_command = c;
        }
        last_commanded = c;
    }
    wake_locked();
}

void bridge_log_level(int32_t level) {
    pthread_mutex_lock(&state_lock);
    log_pending = true;
    pending_level = level;
    wake_locked();
    pthread_mutex_unlock(&state_lock);
}

void bridge_stop(void) {
    pthread_mutex_lock(&state_lock);
    stop_pending = true;
    wake_locked();
    pthread_mutex_unlock(&state_lock);
}

/* ---- The interpreter's side */

static void drain_pipe_locked(void) {
    char bytes[16];
    // NOLINTNEXTLINE(clang-analyzer-unix.BlockInCriticalSection): the pipe does not block
    while (read(pipe_fds[0], bytes, sizeof bytes) > 0) {
    }
    woken = false;
}

static void start_command_locked(call *c, command *out) {
    static const command_kind kinds[] = {
        [OPERATION_RPC] = COMMAND_START,
        [OPERATION_OPEN] = COMMAND_OPEN,
        [OPERATION_CLOSE] = COMMAND_CLOSE};
    out->kind = kinds[c->operation];
    out->request_codec = c->request_codec;
    out->response_codec = c->response_codec;
    out->timeout_ms = deadline_left_ms(&c->deadline);
    out->method = c->method;
    out->payload = c->request;
    c->method = NULL;
    c->request = NULL;
}

static void send_command_locked(call *c, command *out) {
    message *m = c->sends;
    c->sends = m->next;
    if (c->sends == NULL) {
        c->last_send = NULL;
    }
    m->next = NULL;
    out->kind = COMMAND_SEND;
    if (m->size == SIZE_MAX) { /* the end of the stream */
        free(m);
    } else {
        out->payload = m;
    }
}

/* The oldest command of a call; COMMAND_NONE when it has none left. */
static void call_command_locked(call *c, command *out) {
    bool unseen = c->start_pending;
    *out = (command){.call = c->base.id, .engine = c->engine_id};
    c->start_pending = false;
    if (unseen && c->finished) { /* cancelled before it was seen: nobody hears of it */
        c->cancel_pending = c->resume_pending = false;
        message_list_free(c->sends);
        c->sends = c->last_send = NULL;
    } else if (unseen) {
        start_command_locked(c, out);
    } else if (c->cancel_pending) {
        out->kind = COMMAND_CANCEL;
        c->cancel_pending = false;
    } else if (c->sends != NULL && !c->finished) {
        send_command_locked(c, out);
    } else if (c->resume_pending && !c->finished) {
        out->kind = COMMAND_RESUME;
        c->resume_pending = false;
    }
}

void bridge_poll(command *out) {
    call *dead = NULL;
    *out = (command){.kind = COMMAND_NONE};
    pthread_mutex_lock(&state_lock);
    if (log_pending) {
        log_pending = false;
        *out = (command){.kind = COMMAND_LOG, .level = pending_level};
    }
    while (out->kind == COMMAND_NONE && first_commanded != NULL) {
        call *c = first_commanded;
        call_command_locked(c, out);
        if (out->kind == COMMAND_NONE) {
            first_commanded = c->next_command;
            last_commanded = first_commanded == NULL ? NULL : last_commanded;
            c->commanded = false;
            call_unref_locked(c, &dead);
        }
    }
    if (out->kind == COMMAND_NONE && stop_pending) {
        stop_pending = false;
        out->kind = COMMAND_STOP;
    }
    if (out->kind == COMMAND_NONE) {
        drain_pipe_locked();
    }
    pthread_mutex_unlock(&state_lock);
    call_destroy_chain(dead);
}

void command_release(command *c) {
    free(c->method);
    message_list_free(c->payload);
    *c = (command){.kind = COMMAND_NONE};
}

room bridge_message(uint64_t call_id, const void *data, size_t size) {
    message *m = message_new(data, size);
    room left = ROOM_GONE;
    pthread_mutex_lock(&state_lock);
    call *c = (call *)handle_get_locked(call_id, KIND_CALL);
    if (c != NULL && !c->finished && m == NULL) {
        c->cancel_pending = true; /* a message is lost: the call cannot go on */
        bridge_command_locked(c);
        call_finish_locked(c, error_static(ERROR_NO_MEMORY));
    } else if (c != NULL && !c->finished) {
        if (c->last == NULL) {
            c->first = m;
        } else {
            c->last->next = m;
        }
        c->last = m;
        m = NULL;
        c->buffered++;
        c->buffered_bytes += size;
        c->paused = c->buffered >= MOST_BUFFERED || c->buffered_bytes >= MOST_BUFFERED_BYTES;
        left = c->paused ? ROOM_FULL : ROOM_LEFT;
        pthread_cond_signal(&c->changed);
        queue_touch_locked(c);
    }
    pthread_mutex_unlock(&state_lock);
    message_list_free(m);
    return left;
}

void bridge_finish(uint64_t call_id, error *e) {
    pthread_mutex_lock(&state_lock);
    call *c = (call *)handle_get_locked(call_id, KIND_CALL);
    if (c != NULL) {
        call_finish_locked(c, e);
        e = NULL;
    }
    pthread_mutex_unlock(&state_lock);
    error_destroy(e);
}

void bridge_taken(uint64_t call_id, size_t size) {
    pthread_mutex_lock(&state_lock);
    call *c = (call *)handle_get_locked(call_id, KIND_CALL);
    if (c != NULL && c->unsent > 0) {
        c->unsent--;
        c->unsent_bytes -= size <= c->unsent_bytes ? size : c->unsent_bytes;
    }
    pthread_mutex_unlock(&state_lock);
}

/* Completion queues: which of many calls has something. */
#include "internal.h"

#include <stdlib.h>

static void push_ready_locked(queue *q, call *c) {
    c->ready = true;
    c->ready_next = NULL;
    if (q->ready_last == NULL) {
        q->ready_first = c;
    } else {
        q->ready_last->ready_next = c;
    }
    q->ready_last = c;
    pthread_cond_signal(&q->changed);
}

static void drop_ready_locked(queue *q, call *c) {
    call **link = &q->ready_first, *previous = NULL;
    while (*link != c) {
        previous = *link;
        link = &(*link)->ready_next;
    }
    *link = c->ready_next;
    if (q->ready_last == c) {
        q->ready_last = previous;
    }
    c->ready = false;
}

void queue_touch_locked(call *c) {
    if (c->queue != NULL && !c->ready && !c->announced && call_has_event_locked(c)) {
        push_ready_locked(c->queue, c);
    }
}

void queue_detach_locked(call *c) {
    queue *q = c->queue;
    if (q == NULL) {
        return;
    }
    if (c->ready) {
        drop_ready_locked(q, c);
    }
    if (c->queue_previous != NULL) {
        c->queue_previous->queue_next = c->queue_next;
    } else {
        q->members = c->queue_next;
    }
    if (c->queue_next != NULL) {
        c->queue_next->queue_previous = c->queue_previous;
    }
    c->queue = NULL;
    c->queue_previous = c->queue_next = NULL;
    c->announced = false;
}

static void attach_locked(queue *q, call *c, void *tag) {
    c->queue = q;
    c->tag = tag;
    c->queue_previous = NULL;
    c->queue_next = q->members;
    if (q->members != NULL) {
        q->members->queue_previous = c;
    }
    q->members = c;
    queue_touch_locked(c);
}

static void destroy(queue *q) {
    while (q->bad != NULL) {
        bad_add *next = q->bad->next;
        free(q->bad);
        q->bad = next;
    }
    pthread_cond_destroy(&q->changed);
    free(q);
}

static void unref_and_unlock(queue *q) {
    bool last = object_unref_locked(&q->base);
    pthread_mutex_unlock(&state_lock);
    if (last) {
        destroy(q);
    }
}

mlxforge_queue *mlxforge_queue_new(void) {
    queue *q = runtime_forked() ? NULL : calloc(1, sizeof *q);
    if (q == NULL) {
        return NULL;
    }
    cond_init(&q->changed);
    pthread_mutex_lock(&state_lock);
    bool added = handle_add_locked(&q->base, KIND_QUEUE);
    uint64_t id = q->base.id;
    pthread_mutex_unlock(&state_lock);
    if (!added) {
        destroy(q);
        return NULL;
    }
    return HANDLE_POINTER(mlxforge_queue, id);
}

void mlxforge_queue_add(mlxforge_queue *handle, mlxforge_call *call_handle, void *tag) {
    if (runtime_forked()) {
        return;
    }
    bad_add *bad = malloc(sizeof *bad); /* before the lock; nearly always given back */
    pthread_mutex_lock(&state_lock);
    queue *q = (queue *)handle_get_locked(HANDLE_ID(handle), KIND_QUEUE);
    call *c = (call *)handle_get_locked(HANDLE_ID(call_handle), KIND_CALL);
    if (q != NULL && c != NULL && c->queue == NULL) {
        attach_locked(q, c, tag);
    } else if (q != NULL && bad != NULL) {
        *bad = (bad_add){.next = q->bad, .tag = tag};
        q->bad = bad;
        bad = NULL;
        pthread_cond_signal(&q->changed);
    }
    pthread_mutex_unlock(&state_lock);
    free(bad);
}

/* What the queue has to report now; MLXFORGE_TIMEOUT: nothing. */
static mlxforge_event take_locked(queue *q, void **tag) {
    if (q->bad != NULL) {
        bad_add *bad = q->bad;
        q->bad = bad->next;
        *tag = bad->tag;
        free(bad);
        return MLXFORGE_ERROR;
    }
    while (q->ready_first != NULL) {
        call *c = q->ready_first;
        drop_ready_locked(q, c);
        if (!call_has_event_locked(c)) {
            continue; /* the host took it before it was told */
        }
        c->announced = true;
        *tag = c->tag;
        if (c->first != NULL) {
            return MLXFORGE_MESSAGE;
        }
        return c->error == NULL ? MLXFORGE_END : MLXFORGE_ERROR;
    }
    return MLXFORGE_TIMEOUT;
}

mlxforge_event mlxforge_queue_next(mlxforge_queue *handle, int64_t timeout_ms, void **tag_out) {
    void *ignored, **tag = tag_out != NULL ? tag_out : &ignored;
    *tag = NULL;
    if (runtime_forked()) {
        return MLXFORGE_ERROR;
    }
    deadline d = deadline_after_ms(timeout_ms);
    mlxforge_event event = MLXFORGE_ERROR;
    void *token = backend_enter_wait();
    pthread_mutex_lock(&state_lock);
    queue *q = (queue *)handle_get_locked(HANDLE_ID(handle), KIND_QUEUE);
    if (q == NULL) {
        pthread_mutex_unlock(&state_lock);
    } else {
        object_ref_locked(&q->base);
        bool waiting = true;
        event = take_locked(q, tag);
        while (event == MLXFORGE_TIMEOUT && waiting && !q->freed) {
            waiting = cond_wait(&q->changed, &state_lock, &d);
            event = take_locked(q, tag);
        }
        if (q->freed) {
            event = MLXFORGE_ERROR;
            *tag = NULL;
        }
        unref_and_unlock(q);
    }
    backend_leave_wait(token);
    return event;
}

void mlxforge_queue_free(mlxforge_queue *handle) {
    if (handle == NULL || runtime_forked()) {
        return;
    }
    pthread_mutex_lock(&state_lock);
    queue *q = (queue *)handle_get_locked(HANDLE_ID(handle), KIND_QUEUE);
    if (q == NULL) {
        pthread_mutex_unlock(&state_lock);
        return;
    }
    while (q->members != NULL) {
        queue_detach_locked(q->members);
    }
    q->freed = true;
    pthread_cond_broadcast(&q->changed);
    handle_remove_locked(&q->base);
    unref_and_unlock(q);
}

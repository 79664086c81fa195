/*
 * Handles: 47 bits of kind, generation and table position, spelled as a pointer.
 *
 * A handle is never an address, so that one used after its free, freed twice or of the wrong kind
 * finds no object instead of someone else's memory. A position is used again last-freed-last, and
 * each time under a new generation: a stale handle is taken for a live one after 2^24 reuses of
 * its position at the earliest. 47 bits, because hosts may keep pointers in a double (JavaScript)
 * or tag their upper bits.
 */
#include "internal.h"

#include <stdlib.h>

#define INDEX_BITS 20
#define GENERATION_BITS 24
#define MOST_HANDLES ((1u << INDEX_BITS) - 16) /* the last few are error.c's static errors */
#define INDEX_OF(id) ((uint32_t)((id) & ((1u << INDEX_BITS) - 1)))
#define NO_INDEX UINT32_MAX

typedef struct slot {
    object *object; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
} slot;

pthread_mutex_t state_lock = PTHREAD_MUTEX_INITIALIZER;

static slot *slots;
static uint32_t slot_count, slot_capacity;
static uint32_t first_free = NO_INDEX, last_free = NO_INDEX;
static size_t live;

static bool grow(void) {
    if (slot_capacity >= MOST_HANDLES) {
        return false;
    }
    uint32_t capacity = slot_capacity ? slot_capacity * 2 : 64;
    if (capacity > MOST_HANDLES) {
        capacity = MOST_HANDLES;
    }
    slot *larger = realloc(slots, capacity * sizeof *slots);
    if (larger == NULL) {
        return false;
    }
    slots = larger;
    slot_capacity = capacity;
    return true;
}

bool handle_add_locked(object *o, kind k) {
    uint32_t index = first_free;
    if (index != NO_INDEX) {
        first_free = slots[index].next_free;
        last_free = first_free == NO_INDEX ? NO_INDEX : last_free;
    } else {
        if (slot_count == slot_capacity && !grow()) {
            return false;
        }
        index = slot_count++;
        slots[index].generation = 0;
    }
    slot *s = &slots[index];
    s->object = o;
    s->generation = (s->generation + 1) & ((1u << GENERATION_BITS) - 1);
    o->kind = k;
    o->references = 1;
    o->id = (uint64_t)k << (INDEX_BITS + GENERATION_BITS) | (uint64_t)s->generation << INDEX_BITS |
            index;
    live++;
    return true;
}

object *handle_get_locked(uint64_t id, kind k) {
    uint32_t index = INDEX_OF(id);
    if (index >= slot_count) {
        return NULL;
    }
    object *o = slots[index].object;
    return o != NULL && o->id == id && o->kind == k ? o : NULL;
}

void handle_remove_locked(object *o) {
    uint32_t index = INDEX_OF(o->id);
    slots[index].object = NULL;
    slots[index].next_free = NO_INDEX;
    if (last_free == NO_INDEX) {
        first_free = index;
    } else {
        slots[last_free].next_free = index;
    }
    last_free = index;
    live--;
}

size_t handle_count(void) {
    pthread_mutex_lock(&state_lock);
    size_t count = live;
    pthread_mutex_unlock(&state_lock);
    return count;
}

void handle_each_locked(kind k, void (*visit)(object *)) {
    for (uint32_t i = 0; i < slot_count; i++) {
        if (slots[i].object != NULL && slots[i].object->kind == k) {
            visit(slots[i].object);
        }
    }
}

void object_ref_locked(object *o) {
    o->references++;
}

bool object_unref_locked(object *o) {
    return --o->references == 0;
}

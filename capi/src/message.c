/* Messages: requests and responses on their way, in lists. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

message *message_new(const void *data, size_t size) {
    message *m = malloc(sizeof *m + size + 1); /* no overflow: `size` bytes are there */
    if (m == NULL) {
        return NULL;
    }
    m->next = NULL;
    m->size = size;
    if (size > 0) {
        memcpy(m->data, data, size);
    }
    m->data[size] = '\0';
    return m;
}

void message_list_free(message *m) {
    while (m != NULL) {
        message *next = m->next;
        free(m);
        m = next;
    }
}

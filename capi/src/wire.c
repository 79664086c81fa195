/* Protobuf's wire format: https://protobuf.dev/programming-guides/encoding/ */
#include "internal.h"

#include <string.h>

static void put_byte(wire_writer *w, unsigned char byte) {
    if (w->data != NULL) {
        w->data[w->size] = byte;
    }
    w->size++;
}

static void put_raw_varint(wire_writer *w, uint64_t value) {
    while (value >= 0x80) {
        put_byte(w, (unsigned char)(value | 0x80));
        value >>= 7;
    }
    put_byte(w, (unsigned char)value);
}

void wire_put_varint(wire_writer *w, uint32_t field, uint64_t value) {
    put_raw_varint(w, (uint64_t)field << 3);
    put_raw_varint(w, value);
}

void wire_put_bytes(wire_writer *w, uint32_t field, const void *data, size_t size) {
    put_raw_varint(w, (uint64_t)field << 3 | 2);
    put_raw_varint(w, size);
    if (w->data != NULL && size > 0) {
        memcpy(w->data + w->size, data, size);
    }
    w->size += size;
}

wire_reader wire_read(const void *data, size_t size) {
    const unsigned char *start = data;
    return (wire_reader){start, size > 0 ? start + size : start};
}

static bool read_varint(wire_reader *r, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        unsigned char byte = *r->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

static bool read_fixed(wire_reader *r, unsigned bytes, uint64_t *value) {
    if ((size_t)(r->end - r->at) < bytes) {
        return false;
    }
    *value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        *value |= (uint64_t)r->at[i] << (8 * i);
    }
    r->at += bytes;
    return true;
}

bool wire_next(wire_reader *r, wire_field *field) {
    uint64_t key, size;
    *field = (wire_field){0};
    if (r->at == r->end || !read_varint(r, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff) {
        return false;
    }
    field->number = (uint32_t)(key >> 3);
    field->type = (uint32_t)(key & 7);
    switch (field->type) {
    case 0:
        return read_varint(r, &field->value);
    case 1:
        return read_fixed(r, 8, &field->value);
    case 5:
        return read_fixed(r, 4, &field->value);
    case 2:
        if (!read_varint(r, &size) || size > (uint64_t)(r->end - r->at)) {
            return false;
        }
        field->data = r->at;
        field->size = (size_t)size;
        r->at += size;
        return true;
    default: /* groups: not in this schema */
        return false;
    }
}

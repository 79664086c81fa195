/* The little of JSON that the library itself needs. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *json_check_depth(const char *text, size_t size) {
    unsigned depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                quoted = false;
            }
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > MLXFORGE_MAX_JSON_DEPTH) {
                return "JSON is nested deeper than 64 levels";
            }
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return NULL;
}

static void put_bytes(text_buffer *b, const char *bytes, size_t size) {
    if (b->failed) {
        return;
    }
    if (size >= b->capacity - b->size) { /* one byte stays for the end's zero */
        size_t capacity = (b->size + size + 1) * 2;
        char *larger = realloc(b->data, capacity);
        if (larger == NULL) {
            b->failed = true;
            return;
        }
        b->data = larger;
        b->capacity = capacity;
    }
    memcpy(b->data + b->size, bytes, size);
    b->size += size;
    b->data[b->size] = '\0';
}

void text_put(text_buffer *b, const char *text) {
    put_bytes(b, text, strlen(text));
}

void text_put_quoted(text_buffer *b, const char *text) {
    static const char escaped[] =
        "\"\\\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
        "\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f";
    put_bytes(b, "\"", 1);
    for (;; text++) {
        size_t plain = strcspn(text, escaped);
        put_bytes(b, text, plain);
        text += plain;
        if (*text == '\0') {
            break;
        }
        char escape[8];
        int length = snprintf(escape, sizeof escape, "\\u%04x", (unsigned char)*text);
        put_bytes(b, escape, (size_t)length);
    }
    put_bytes(b, "\"", 1);
}

static const char *skip_space(const char *at) {
    return at + strspn(at, " \t\r\n");
}

bool text_put_fields(text_buffer *b, const char *object_json) {
    const char *at = skip_space(object_json == NULL ? "{}" : object_json);
    if (*at != '{') {
        return false;
    }
    at = skip_space(at + 1);
    if (*at != '}' && b->size > 1) {
        put_bytes(b, ",", 1);
    }
    put_bytes(b, at, strlen(at)); /* ends with the object's own brace, or the parser refuses it */
    return true;
}

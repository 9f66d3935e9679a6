/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/kv/store.h"
#include "tools/say.h"

static void *extend(store *s, void *memory, size_t size)
{
    void *more = s->failed ? NULL : realloc(memory, size);
    s->failed |= !more;
    return more;
}

__attribute__((format(printf, 4, 5)))
static void print(store *s, char **text, size_t *size, const char *format, ...)
{
    char line[512];
    va_list list;

    va_start(list, format);
    const int n = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    char *more = extend(s, *text, *size + (size_t)n + 1);
    if (!more)
        return;
    *text = more;
    memcpy(more + *size, line, (size_t)n + 1);
    *size += (size_t)n;
}

void store_text(store *s, const char *key, const char *value)
{
    print(s, &s->texts, &s->text_size, "%s\"%s\":\"%s\"",
          s->texts ? "," : "", key, value);
}

static uint8_t *room(store *s, const char *name, const char *dtype, int rank,
                     const size_t *dims, size_t bytes)
{
    const size_t from = s->size;
    char shape[96];
    size_t at = 0;

    uint8_t *more = extend(s, s->data, from + bytes + 1);
    if (!more)
        return NULL;
    s->data = more;
    s->size += bytes;
    for (int i = 0; i < rank; i++)
        at += (size_t)snprintf(shape + at, sizeof shape - at, i ? ",%zu" : "%zu",
                               dims[i]);
    print(s, &s->tensors, &s->tensor_size, ",\"%s\":{\"dtype\":\"%s\",\"shape\""
          ":[%s],\"data_offsets\":[%zu,%zu]}", name, dtype, shape, from,
          s->size);
    return more + from;
}

void store_array(store *s, const char *name, const char *dtype, size_t element,
                 int rank, const size_t *dims, const void *data)
{
    size_t bytes = element;
    for (int i = 0; i < rank; i++)
        bytes *= dims[i];
    uint8_t *to = room(s, name, dtype, rank, dims, bytes);
    if (to && bytes)
        memcpy(to, data, bytes);
}

void store_tensor(store *s, const char *name, const char *dtype, size_t element,
                  size_t rows, size_t cols, const void *data)
{
    const size_t dims[2] = { rows, cols };
    store_array(s, name, dtype, element, cols ? 2 : 1, dims, data);
}

static uint16_t half(float value)
{
    uint32_t u;
    memcpy(&u, &value, sizeof u);
    const uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    const uint32_t size = u & 0x7fffffff;
    if (size >= 0x477ff000)                 /* rounds to over 65504 */
        return sign | 0x7c00;
    if (size < 0x38800000) {                /* below 2^-14: in units of 2^-24 */
        float small;
        memcpy(&small, &size, sizeof small);
        small += 0.5f;                      /* whose last bit is 2^-24 */
        memcpy(&u, &small, sizeof u);
        return (uint16_t)(sign | (u - 0x3f000000));
    }
    u = size + 0xfff + (size >> 13 & 1);
    return (uint16_t)(sign | ((u >> 13) - (112 << 10)));
}

void store_halves(store *s, const char *name, size_t rows, size_t cols,
                  const float *data)
{
    const size_t n = rows * (cols ? cols : 1);
    const size_t dims[2] = { rows, cols };
    uint8_t *to = room(s, name, "F16", cols ? 2 : 1, dims, 2 * n);
    for (size_t i = 0; to && i < n; i++) {
        const uint16_t h = half(data[i]);
        memcpy(to + 2 * i, &h, sizeof h);
    }
}

int store_write(const store *s, output *out)
{
    static const char spaces[8] = "        ";
    const size_t braces = strlen("{\"__metadata__\":{}}");
    uint64_t size = braces + s->text_size + s->tensor_size;
    const size_t pad = (size_t)(-(int64_t)size & 7);

    if (s->failed)
        return say_error(RC_MACHINE, NULL, "out of memory");
    size += pad;
    output_write(out, &size, sizeof size);
    output_write(out, "{\"__metadata__\":{", 17);
    output_write(out, s->texts, s->text_size);
    output_write(out, "}", 1);
    output_write(out, s->tensors, s->tensor_size);
    output_write(out, "}", 1);
    output_write(out, spaces, pad);
    output_write(out, s->data, s->size);
    return RC_OK;
}

void store_close(store *s)
{
    free(s->texts);
    free(s->tensors);
    free(s->data);
    memset(s, 0, sizeof *s);
}

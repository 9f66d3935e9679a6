/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/bytes.h"
#include "lib/model_write.h"
#include "lib/weights.h"

enum { ALIGN = 64, WIDEST = 8, NUMBER = 24 };

/* A header in the making; after a fault it stays as it is. */
typedef struct text {
    tsr_context *ctx;
    char *data;
    size_t used, room;
    tsr_error error;
} text;

static void add(text *t, const char *from, size_t n)
{
    if (!t->error)
        t->error = tsri_grow(t->ctx, &t->data, &t->room, t->used, n, 1);
    if (t->error)
        return;
    memcpy(t->data + t->used, from, n);
    t->used += n;
}

static void add_plain(text *t, const char *from)
{
    add(t, from, strlen(from));
}

static void add_string(text *t, const char *from)
{
    char escaped[8];

    add_plain(t, "\"");
    for (; *from; from++) {
        const unsigned char c = (unsigned char)*from;
        if (c >= ' ' && c != '"' && c != '\\') {
            add(t, from, 1);
            continue;
        }
        snprintf(escaped, sizeof escaped, "\\u%04x", c);
        add_plain(t, escaped);
    }
    add_plain(t, "\"");
}

static void add_number(text *t, uint64_t value, const char *after)
{
    char spelled[NUMBER];

    snprintf(spelled, sizeof spelled, "%llu", (unsigned long long)value);
    add_plain(t, spelled);
    add_plain(t, after);
}

static void add_pair(text *t, const char *key, const char *value)
{
    add_string(t, key);
    add_plain(t, ":");
    add_string(t, value);
}

static void add_metadata(text *t, const tsr_model *model, const char *hash)
{
    const char *key, *value;

    add_plain(t, "{\"__metadata__\":{");
    for (size_t i = 0; (key = tsri_model_meta_at(model, i, &value)); i++) {
        if (!strcmp(key, "tessera.sha256"))
            continue;
        add_pair(t, key, value);
        add_plain(t, ",");
    }
    add_pair(t, "tessera.sha256", hash);
    add_plain(t, "}");
}

static void add_tensor(text *t, const tsr_tensor *tensor, uint64_t offset)
{
    add_plain(t, ",");
    add_string(t, tensor->name);
    add_plain(t, ":{\"dtype\":");
    add_string(t, tsr_dtype_name(tensor->dtype));
    add_plain(t, ",\"shape\":[");
    for (int i = 0; i < tensor->rank; i++)
        add_number(t, tensor->dims[i], i + 1 < tensor->rank ? "," : "");
    add_plain(t, "],\"data_offsets\":[");
    add_number(t, offset, ",");
    add_number(t, offset + tensor->bytes, "]}");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const tsr_tensor *)a)->name, ((const tsr_tensor *)b)->name);
}

static void spell_hash(const tsr_tensor *tensors, size_t n, char *out)
{
    uint8_t digest[TSR_MODEL_HASH_BYTES];
    tsri_sha256 sum;

    tsri_sha256_start(&sum);
    for (size_t i = 0; i < n; i++)
        tsri_tensor_hash(&sum, &tensors[i]);
    tsri_sha256_end(&sum, digest);
    for (int i = 0; i < TSR_MODEL_HASH_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* The tensors with elements of this many bytes: their entries, or, with a sink,
 * their data. */
static tsr_error each(text *t, const tsr_tensor *tensors, size_t n, size_t size,
                      uint64_t *offset, const tsr_sink *sink)
{
    for (size_t i = 0; i < n; i++) {
        if (tsr_dtype_bytes(tensors[i].dtype) != size)
            continue;
        if (sink && tensors[i].bytes)
            TSR_TRY(sink->write(sink->cookie, tensors[i].data,
                                tensors[i].bytes));
        if (!sink)
            add_tensor(t, &tensors[i], *offset);
        *offset += tensors[i].bytes;
    }
    return t->error;
}

/* All of them, those with wide elements first. */
static tsr_error all(text *t, const tsr_tensor *tensors, size_t n,
                     const tsr_sink *sink)
{
    uint64_t offset = 0;

    for (size_t size = WIDEST; size; size /= 2)
        TSR_TRY(each(t, tensors, n, size, &offset, sink));
    return TSR_OK;
}

static tsr_error write_all(text *t, const tsr_tensor *tensors, size_t n,
                           const tsr_sink *sink)
{
    uint8_t length[8];

    TSR_TRY(all(t, tensors, n, NULL));
    add_plain(t, "}");
    while (!t->error && (8 + t->used) % ALIGN)
        add_plain(t, " ");
    TSR_TRY(t->error);
    tsri_put64(length, t->used);
    TSR_TRY(sink->write(sink->cookie, length, sizeof length));
    TSR_TRY(sink->write(sink->cookie, t->data, t->used));
    return all(t, tensors, n, sink);
}

tsr_error tsri_model_write(tsr_context *ctx, const tsr_model *model,
                           tsr_tensor *tensors, size_t n, const tsr_sink *sink)
{
    char hash[2 * TSR_MODEL_HASH_BYTES + 1];
    text t = { .ctx = ctx };
    tsr_error error;

    qsort(tensors, n, sizeof *tensors, by_name);
    spell_hash(tensors, n, hash);
    add_metadata(&t, model, hash);
    error = write_all(&t, tensors, n, sink);
    tsri_free(ctx, t.data);
    return t.error ? tsri_nomem(ctx) : error;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* CacheGen's arrays as LMCache pickles them: opcodes of protocol 4.  A tensor is
 * a call of PyTorch's _rebuild_tensor_v2 on a storage, a storage the bytes of a
 * torch.save() file in its older form. */
#include <string.h>
#include "codecs/kv/cachegen.h"
#include "codecs/kv/move.h"
#include "lib/bytes.h"

enum { ROOM = 512 };

/* Small parts are gathered; the first error stays. */
typedef struct writer {
    tsr_context *ctx;
    const tsr_sink *sink;
    tsr_error error;
    size_t used;
    uint8_t buffer[ROOM];
} writer;

static void flush(writer *w)
{
    if (!w->error && w->used)
        w->error = w->sink->write(w->sink->cookie, w->buffer, w->used);
    w->used = 0;
}

static void put(writer *w, const void *data, size_t size)
{
    if (size > ROOM - w->used)
        flush(w);
    if (size > ROOM) {
        if (!w->error)
            w->error = w->sink->write(w->sink->cookie, data, size);
        return;
    }
    memcpy(w->buffer + w->used, data, size);
    w->used += size;
}

/* Opcodes, or text, without the 0 at the end. */
#define OPS(w, text) put(w, text, sizeof text - 1)

static void put_text(writer *w, const char *text)
{
    const uint8_t head[2] = { 0x8c, (uint8_t)strlen(text) };
    put(w, head, 2);
    put(w, text, strlen(text));
}

static void put_number(writer *w, uint64_t value)
{
    uint8_t op[10] = { 0x8a, 8 };
    tsri_put64(op + 2, value);
    put(w, op, sizeof op);
}

static void put_name(writer *w, const char *module, const char *name)
{
    put_text(w, module);
    put_text(w, name);
    OPS(w, "\x93");
}

/* ---- tensors ---- */

typedef struct tensor {
    const char *storage;        /* its class */
    size_t element;
    int rank;
    uint64_t dims[3];
    const void *data;           /* little-endian */
} tensor;

static uint64_t count(const tensor *t)
{
    uint64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->dims[i];
    return n;
}

/* torch.save() of a storage. */
static void put_storage(writer *w, const tensor *t)
{
    static const char head[] =
        "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19."
        "\x80\x02M\xe9\x03."
        "\x80\x02}(X\x10\0\0\0protocol_versionM\xe9\x03"
        "X\x0d\0\0\0little_endian\x88u."
        "\x80\x02(X\x07\0\0\0storagec" "torch\n";
    static const char key[] = "\nX\x01\0\0\0" "0X\x06\0\0\0cuda:0";
    static const char keys[] = "NtQ.\x80\x02]X\x01\0\0\0" "0a.";
    const uint64_t bytes = count(t) * t->element;
    const uint64_t all = sizeof head - 1 + strlen(t->storage) + sizeof key - 1 +
                         10 + sizeof keys - 1 + 8 + bytes;
    uint8_t number[8];

    OPS(w, "\x8e"); /* bytes */
    tsri_put64(number, all);
    put(w, number, sizeof number);
    OPS(w, head);
    put(w, t->storage, strlen(t->storage));
    OPS(w, key);
    put_number(w, count(t));
    OPS(w, keys);
    tsri_put64(number, count(t));
    put(w, number, sizeof number);
    put(w, t->data, bytes);
}

static void put_tensor(writer *w, const char *name, const tensor *t)
{
    put_text(w, name);
    put_name(w, "torch._utils", "_rebuild_tensor_v2");
    OPS(w, "(");
    put_name(w, "torch.storage", "_load_from_bytes");
    put_storage(w, t);
    OPS(w, "\x85R" "K\0" "("); /* called; offset 0; dims */
    for (int i = 0; i < t->rank; i++)
        put_number(w, t->dims[i]);
    OPS(w, "t(");
    for (int i = 0; i < t->rank; i++) {
        uint64_t stride = 1;
        for (int k = i + 1; k < t->rank; k++)
            stride *= t->dims[k];
        put_number(w, stride);
    }
    OPS(w, "t\x89");
    put_name(w, "collections", "OrderedDict");
    OPS(w, ")RtR");
}

/* ---- the classes ---- */

static const char module[] =
    "lmcache.v1.storage_backend.naive_serde.cachegen_basics";

static void put_chunk(writer *w, const tsri_cachegen_shape *shape,
                      const tsri_cachegen *s, int i, size_t at,
                      const uint8_t *lengths)
{
    const uint64_t rows = 2 * (uint64_t)shape->layers;
    const uint64_t width = (uint64_t)shape->channels;
    const int left = shape->tokens - i * TSRI_CACHEGEN_CHUNK;
    const tensor bytes = { "ByteStorage", 1, 1, { s->chunk_size[i] },
                           s->bytes + at };
    const tensor length = { "IntStorage", 4, 2, { rows, width },
                            lengths + 4 * rows * width * (uint64_t)i };

    put_name(w, module, "CacheGenGPUBytestream");
    OPS(w, ")\x81}(");
    put_tensor(w, "bytestream", &bytes);
    put_tensor(w, "bytestream_lengths", &length);
    put_text(w, "ntokens");
    put_number(w, left < TSRI_CACHEGEN_CHUNK ? (uint64_t)left
                                             : TSRI_CACHEGEN_CHUNK);
    OPS(w, "ub");
}

static void put_scales(writer *w, const tsri_cachegen_shape *shape,
                       const char *storage, const tsri_cachegen *s)
{
    const size_t element = tsri_kv_dtype_bytes(shape->dtype);
    tensor t = { storage, element, 3,
                 { (uint64_t)shape->layers, (uint64_t)shape->tokens, 1 },
                 s->scale };

    put_tensor(w, "max_tensors_key", &t);
    t.data = s->scale + count(&t) * element;
    put_tensor(w, "max_tensors_value", &t);
}

static void put_all(writer *w, const tsri_cachegen_shape *shape,
                    const char *storage, int heads, const tsri_cachegen *s,
                    const uint8_t *lengths, const uint8_t *cdf)
{
    const tensor tables = { "ShortStorage", 2, 3,
                            { 2 * (uint64_t)shape->layers,
                              (uint64_t)shape->channels, (uint64_t)s->table },
                            cdf };
    size_t at = 0;

    OPS(w, "\x80\x04");
    put_name(w, module, "CacheGenGPUEncoderOutput");
    OPS(w, ")\x81}(");
    put_text(w, "data_chunks");
    OPS(w, "](");
    for (int i = 0; i < s->chunks; at += s->chunk_size[i++])
        put_chunk(w, shape, s, i, at, lengths);
    OPS(w, "e");
    put_tensor(w, "cdf", &tables);
    put_scales(w, shape, storage, s);
    put_text(w, "num_heads");
    put_number(w, (uint64_t)heads);
    put_text(w, "head_size");
    put_number(w, (uint64_t)(shape->channels / heads));
    OPS(w, "ub.");
    flush(w);
}

static const char *storage_of(tsr_kv_dtype dtype)
{
    return dtype == TSR_KV_F16 ? "HalfStorage"
         : dtype == TSR_KV_BF16 ? "BFloat16Storage"
         : dtype == TSR_KV_F32 ? "FloatStorage" : NULL;
}

tsr_error tsri_cachegen_save(tsr_context *ctx, const tsri_cachegen_shape *shape,
                             int heads, const tsri_cachegen *s,
                             const tsr_sink *sink)
{
    const size_t strings = 2 * (size_t)shape->layers * (size_t)shape->channels;
    const size_t lengths = strings * (size_t)s->chunks;
    const size_t tables = strings * (size_t)s->table;
    writer w = { .ctx = ctx, .sink = sink };

    if (!storage_of(shape->dtype))
        return tsri_fail(ctx, TSR_E_UNSUPPORTED, "CacheGen: no stream of 8-bit "
                         "floats");
    uint8_t *length = tsri_alloc(ctx, lengths, 4);
    uint8_t *cdf = tsri_alloc(ctx, tables, 2);
    if (length && cdf) {
        for (size_t i = 0; i < lengths; i++)
            tsri_put32(length + 4 * i, (uint32_t)s->lengths[i]);
        for (size_t i = 0; i < tables; i++)
            tsri_put16(cdf + 2 * i, s->cdf[i]);
        put_all(&w, shape, storage_of(shape->dtype), heads, s, length, cdf);
    } else {
        w.error = tsri_nomem(ctx);
    }
    tsri_free(ctx, length);
    tsri_free(ctx, cdf);
    return w.error;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* CacheGen's arrays in a safetensors file. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "codecs/kv/cachegen.h"
#include "codecs/kv/move.h"
#include "lib/bytes.h"
#include "lib/weights.h"

enum { LINE = 160, CHUNK = TSRI_CACHEGEN_CHUNK };

/* ---- writing ---- */

/* The file's head as it grows, and where the next tensor's data begin. */
typedef struct text {
    char *at;
    size_t used;
    uint64_t offset;
} text;

static void add(text *to, const char *name, const char *dtype,
                const char *shape, uint64_t bytes)
{
    to->used += (size_t)snprintf(to->at + to->used, LINE,
                                 ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],"
                                 "\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                                 name, dtype, shape, to->offset,
                                 to->offset + bytes);
    to->offset += bytes;
}

static const char *type_name(tsr_kv_dtype dtype)
{
    return dtype == TSR_KV_F16 ? "F16" : dtype == TSR_KV_BF16 ? "BF16"
         : dtype == TSR_KV_F32 ? "F32" : NULL;
}

static uint64_t scale_bytes(const tsri_cachegen_shape *shape)
{
    return (uint64_t)shape->layers * (uint64_t)shape->tokens *
           tsri_kv_dtype_bytes(shape->dtype);
}

static uint64_t length_bytes(const tsri_cachegen_shape *shape)
{
    return 8 * (uint64_t)shape->layers * (uint64_t)shape->channels;
}

static uint64_t cdf_bytes(const tsri_cachegen_shape *shape, int table)
{
    return 4 * (uint64_t)shape->layers * (uint64_t)shape->channels *
           (uint64_t)table;
}

/* The same order as of the data. */
static void write_head(const tsri_cachegen_shape *shape,
                       const tsri_cachegen *s, text *to)
{
    char name[32], dims[64];

    to->used = (size_t)snprintf(to->at, LINE, "{\"__metadata__\":{\"cachegen."
                                "level\":\"%d\"}", shape->level);
    snprintf(dims, sizeof dims, "%d,%d,%d", 2 * shape->layers, shape->channels,
             s->table);
    add(to, "cdf", "I16", dims, cdf_bytes(shape, s->table));
    snprintf(dims, sizeof dims, "%d,%d,1", shape->layers, shape->tokens);
    add(to, "max_tensors_key", type_name(shape->dtype), dims,
        scale_bytes(shape));
    add(to, "max_tensors_value", type_name(shape->dtype), dims,
        scale_bytes(shape));
    for (int i = 0; i < s->chunks; i++) {
        snprintf(name, sizeof name, "bytestream_lengths.%d", i);
        snprintf(dims, sizeof dims, "%d,%d", 2 * shape->layers,
                 shape->channels);
        add(to, name, "I32", dims, length_bytes(shape));
    }
    for (int i = 0; i < s->chunks; i++) {
        snprintf(name, sizeof name, "bytestream.%d", i);
        snprintf(dims, sizeof dims, "%zu", s->chunk_size[i]);
        add(to, name, "U8", dims, s->chunk_size[i]);
    }
    to->at[to->used++] = '}';
    while (to->used % 8)
        to->at[to->used++] = ' ';
}

tsr_error tsri_cachegen_save(tsr_context *ctx, const tsri_cachegen_shape *shape,
                             const tsri_cachegen *s, uint8_t **file,
                             size_t *size)
{
    const size_t words = 2 * (size_t)shape->layers * (size_t)shape->channels;
    const size_t scales = 2 * (size_t)scale_bytes(shape);
    text head = { 0 };
    uint8_t *p;

    *file = NULL;
    if (!type_name(shape->dtype))
        return tsri_fail(ctx, TSR_E_UNSUPPORTED, "CacheGen: no file of 8-bit "
                         "floats");
    head.at = tsri_alloc(ctx, 2 * (size_t)s->chunks + 6, LINE);
    if (!head.at)
        return tsri_nomem(ctx);
    write_head(shape, s, &head);
    *size = 8 + head.used + (size_t)head.offset;
    *file = p = tsri_alloc(ctx, *size, 1);
    if (p) {
        tsri_put64(p, head.used);
        memcpy(p + 8, head.at, head.used);
        p += 8 + head.used;
        for (size_t i = 0; i < words * (size_t)s->table; i++, p += 2)
            tsri_put16(p, s->cdf[i]);
        memcpy(p, s->scale, scales);
        p += scales;
        for (size_t i = 0; i < words * (size_t)s->chunks; i++, p += 4)
            tsri_put32(p, (uint32_t)s->lengths[i]);
        memcpy(p, s->bytes, s->size);
    }
    tsri_free(ctx, head.at);
    return p ? TSR_OK : tsri_nomem(ctx);
}

/* ---- reading ---- */

static tsr_kv_dtype type_of(const tsr_tensor *t)
{
    return t->dtype == TSR_F16 ? TSR_KV_F16 : t->dtype == TSR_BF16 ? TSR_KV_BF16
                                                                   : TSR_KV_F32;
}

/* Finds a tensor of such a type and shape, or fails. */
static tsr_error want(tsr_context *ctx, const tsr_model *model, const char *name,
                      int number, tsr_dtype dtype, int rank,
                      const uint64_t *dims, const tsr_tensor **t)
{
    if (number < 0)
        TSR_TRY(tsri_want(ctx, model, t, rank, dims, "%s", name));
    else
        TSR_TRY(tsri_want(ctx, model, t, rank, dims, "%s.%d", name, number));
    return (*t)->dtype == dtype
               ? TSR_OK : tsri_fail(ctx, TSR_E_SHAPE, "CacheGen: %s is %s",
                                    (*t)->name, tsr_dtype_name((*t)->dtype));
}

/* The shape, from the tables and the keys' scales. */
static tsr_error read_shape(tsr_context *ctx, const tsr_model *model,
                            tsri_cachegen_shape *shape, tsri_cachegen *out)
{
    const uint64_t any[3] = { TSRI_ANY, TSRI_ANY, TSRI_ANY };
    const char *level = tsr_model_meta(model, "cachegen.level");
    const tsr_tensor *cdf, *key;

    TSR_TRY(want(ctx, model, "cdf", -1, TSR_I16, 3, any, &cdf));
    TSR_TRY(tsri_want(ctx, model, &key, 3, any, "max_tensors_key"));
    if (!level || level[0] < '0' || level[0] > '4' || level[1] ||
        key->dtype > TSR_BF16 || key->dims[0] > 1024 ||
        key->dims[1] > 65535 || key->dims[2] != 1 ||
        cdf->dims[0] != 2 * key->dims[0] ||
        cdf->dims[1] > TSRI_KV_MAX_CHANNELS ||
        cdf->dims[2] > TSRI_CACHEGEN_BINS + 1)
        return tsri_fail(ctx, TSR_E_SHAPE, "CacheGen: tables or scales of a "
                         "wrong shape");
    *shape = (tsri_cachegen_shape){ (int)key->dims[0], (int)key->dims[1],
                                    (int)cdf->dims[1], level[0] - '0',
                                    type_of(key) };
    out->table = (int)cdf->dims[2];
    out->chunks = tsri_ceil_div(shape->tokens, CHUNK);
    return TSR_OK;
}

static tsr_error read_cdf(tsr_context *ctx, const tsr_model *model,
                          tsri_cachegen *out)
{
    const tsr_tensor *t = tsr_model_tensor(model, "cdf");
    const size_t n = tsri_tensor_count(t);

    out->cdf = tsri_alloc(ctx, n, sizeof *out->cdf);
    if (!out->cdf)
        return tsri_nomem(ctx);
    for (size_t i = 0; i < n; i++)
        out->cdf[i] = tsri_get16((const uint8_t *)t->data + 2 * i);
    return TSR_OK;
}

static tsr_error read_scales(tsr_context *ctx, const tsr_model *model,
                             const tsri_cachegen_shape *shape,
                             tsri_cachegen *out)
{
    const tsr_tensor *key = tsr_model_tensor(model, "max_tensors_key"), *value;
    const size_t n = (size_t)scale_bytes(shape);

    TSR_TRY(want(ctx, model, "max_tensors_value", -1, key->dtype, 3, key->dims,
                 &value));
    out->scale = tsri_alloc(ctx, n, 2);
    if (!out->scale)
        return tsri_nomem(ctx);
    memcpy(out->scale, key->data, n);
    memcpy(out->scale + n, value->data, n);
    return TSR_OK;
}

static tsr_error read_chunks(tsr_context *ctx, const tsr_model *model,
                             const tsri_cachegen_shape *shape,
                             tsri_cachegen *out)
{
    const uint64_t dims[2] = { 2 * (uint64_t)shape->layers,
                               (uint64_t)shape->channels };
    const uint64_t any[1] = { TSRI_ANY };
    const size_t n = (size_t)(dims[0] * dims[1]);
    const tsr_tensor *t;
    uint8_t *at;

    out->lengths = tsri_alloc(ctx, n * (size_t)out->chunks, 4);
    out->chunk_size = tsri_alloc(ctx, (size_t)out->chunks,
                                 sizeof *out->chunk_size);
    if (!out->lengths || !out->chunk_size)
        return tsri_nomem(ctx);
    for (int i = 0; i < out->chunks; i++) {
        TSR_TRY(want(ctx, model, "bytestream_lengths", i, TSR_I32, 2, dims,
                     &t));
        for (size_t k = 0; k < n; k++)
            out->lengths[(size_t)i * n + k] =
                (int32_t)tsri_get32((const uint8_t *)t->data + 4 * k);
        TSR_TRY(want(ctx, model, "bytestream", i, TSR_U8, 1, any, &t));
        out->chunk_size[i] = t->bytes;
        out->size += t->bytes;
    }
    out->bytes = at = tsri_alloc(ctx, out->size, 1);
    if (!at)
        return tsri_nomem(ctx);
    for (int i = 0; i < out->chunks; at += out->chunk_size[i++]) {
        TSR_TRY(want(ctx, model, "bytestream", i, TSR_U8, 1, any, &t));
        memcpy(at, t->data, t->bytes);
    }
    return TSR_OK;
}

tsr_error tsri_cachegen_load(tsr_context *ctx, const tsr_model *model,
                             tsri_cachegen_shape *shape, tsri_cachegen *out)
{
    tsr_error error;

    *out = (tsri_cachegen){ 0 };
    error = read_shape(ctx, model, shape, out);
    if (!error)
        error = read_cdf(ctx, model, out);
    if (!error)
        error = read_scales(ctx, model, shape, out);
    if (!error)
        error = read_chunks(ctx, model, shape, out);
    if (error)
        tsri_cachegen_free(out, ctx);
    return error;
}

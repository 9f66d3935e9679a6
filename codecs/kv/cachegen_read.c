/* SPDX-License-Identifier: BSD-2-Clause */
/* CacheGen's arrays in LMCache's pickles. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "codecs/kv/cachegen.h"
#include "codecs/kv/move.h"
#include "lib/bytes.h"
#include "lib/checkpoint.h"

enum { CHUNK = TSRI_CACHEGEN_CHUNK, NAME = 64 };

/* A pickle being read. */
typedef struct reader {
    tsr_context *ctx;
    tsri_checkpoint *cp;
    uint64_t left;              /* bytes that its arrays may still have */
} reader;

/* ---- fields ---- */

/* An array by its name; its number is *at. */
static tsr_error find(reader *r, const char *name, size_t *at,
                      const tsr_tensor **t)
{
    *at = tsri_checkpoint_find(r->cp, name);
    if (*at == SIZE_MAX)
        return tsri_fail(r->ctx, TSR_E_FORMAT, "a pickle, but not of a CacheGen "
                         "stream: no array '%s'", name);
    *t = tsri_checkpoint_at(r->cp, *at);
    /* Views of one storage could be larger than the file. */
    if ((*t)->bytes > r->left)
        return tsri_fail(r->ctx, TSR_E_LIMIT, "CacheGen: '%s' is larger than "
                         "the file", name);
    r->left -= (*t)->bytes;
    return TSR_OK;
}

/* The same of such a type and shape; its elements. */
static tsr_error want(reader *r, const char *name, tsr_dtype dtype, int rank,
                      const uint64_t *dims, const uint8_t **data)
{
    const tsr_tensor *t;
    const void *elements;
    size_t at;

    TSR_TRY(find(r, name, &at, &t));
    if (t->dtype != dtype || t->rank != rank ||
        memcmp(t->dims, dims, (size_t)rank * sizeof *dims))
        return tsri_fail(r->ctx, TSR_E_CORRUPT, "CacheGen: '%s' is not of the "
                         "type and size that the others call for", name);
    TSR_TRY(tsri_checkpoint_data(r->cp, at, &elements));
    *data = elements;
    return TSR_OK;
}

/* A whole number from 1 to `most`. */
static tsr_error number(reader *r, const char *name, long most, int *out)
{
    char text[NAME], *end;

    if (!tsri_checkpoint_text(r->cp, name, text, sizeof text))
        return tsri_fail(r->ctx, TSR_E_FORMAT, "a pickle, but not of a CacheGen "
                         "stream: no '%s'", name);
    const long value = strtol(text, &end, 10);
    if (*end || value < 1 || value > most)
        return tsri_fail(r->ctx, TSR_E_CORRUPT, "CacheGen: %s is no number from "
                         "1 to %ld", name, most);
    *out = (int)value;
    return TSR_OK;
}

/* ---- the shape ---- */

static tsr_kv_dtype type_of(tsr_dtype dtype)
{
    return dtype == TSR_F16 ? TSR_KV_F16 : dtype == TSR_BF16 ? TSR_KV_BF16
         : dtype == TSR_F32 ? TSR_KV_F32 : 0;
}

/* From the tables and the keys' scales. */
static tsr_error read_shape(reader *r, tsri_cachegen_shape *shape, int *heads,
                            int *table)
{
    const tsr_tensor *cdf, *key;
    int dim;
    size_t at;

    TSR_TRY(find(r, "cdf", &at, &cdf));
    TSR_TRY(find(r, "max_tensors_key", &at, &key));
    TSR_TRY(number(r, "num_heads", TSRI_KV_MAX_CHANNELS, heads));
    TSR_TRY(number(r, "head_size", TSRI_KV_MAX_CHANNELS, &dim));
    if (cdf->rank != 3 || key->rank != 3 || !type_of(key->dtype) ||
        key->dims[0] < 1 || key->dims[0] > 1024 || key->dims[1] < 1 ||
        key->dims[1] > 65535 || key->dims[2] != 1 ||
        cdf->dims[0] != 2 * key->dims[0] ||
        cdf->dims[1] > TSRI_KV_MAX_CHANNELS || cdf->dims[2] < 2 ||
        cdf->dims[1] != (uint64_t)*heads * (uint64_t)dim ||
        cdf->dims[2] > TSRI_CACHEGEN_BINS + 1)
        return tsri_fail(r->ctx, TSR_E_CORRUPT, "CacheGen: tables, scales and "
                         "heads that do not belong together");
    *shape = (tsri_cachegen_shape){ (int)key->dims[0], (int)key->dims[1],
                                    (int)cdf->dims[1], 0, type_of(key->dtype) };
    *table = (int)cdf->dims[2];
    return TSR_OK;
}

/* ---- arrays ---- */

static tsr_error read_cdf(reader *r, const tsri_cachegen_shape *shape,
                          tsri_cachegen *out)
{
    const uint64_t dims[3] = { 2 * (uint64_t)shape->layers,
                               (uint64_t)shape->channels,
                               (uint64_t)out->table };
    const size_t n = (size_t)(dims[0] * dims[1] * dims[2]);
    const uint8_t *data;

    TSR_TRY(want(r, "cdf", TSR_I16, 3, dims, &data));
    out->cdf = tsri_alloc(r->ctx, n, sizeof *out->cdf);
    if (!out->cdf)
        return tsri_nomem(r->ctx);
    for (size_t i = 0; i < n; i++)
        out->cdf[i] = tsri_get16(data + 2 * i);
    return TSR_OK;
}

static tsr_error read_scales(reader *r, const tsri_cachegen_shape *shape,
                             tsri_cachegen *out)
{
    const uint64_t dims[3] = { (uint64_t)shape->layers,
                               (uint64_t)shape->tokens, 1 };
    const size_t n = (size_t)(dims[0] * dims[1]) *
                     tsri_kv_dtype_bytes(shape->dtype);
    const tsr_dtype dtype = tsri_checkpoint_at(
        r->cp, tsri_checkpoint_find(r->cp, "max_tensors_key"))->dtype;
    const uint8_t *data;

    out->scale = tsri_alloc(r->ctx, n, 2);
    if (!out->scale)
        return tsri_nomem(r->ctx);
    TSR_TRY(want(r, "max_tensors_key", dtype, 3, dims, &data));
    memcpy(out->scale, data, n);
    TSR_TRY(want(r, "max_tensors_value", dtype, 3, dims, &data));
    memcpy(out->scale + n, data, n);
    return TSR_OK;
}

static tsr_error read_lengths(reader *r, const tsri_cachegen_shape *shape,
                              int i, tsri_cachegen *out)
{
    const uint64_t dims[2] = { 2 * (uint64_t)shape->layers,
                               (uint64_t)shape->channels };
    const size_t n = (size_t)(dims[0] * dims[1]);
    const uint8_t *data;
    char name[NAME];

    snprintf(name, sizeof name, "data_chunks/%d/bytestream_lengths", i);
    TSR_TRY(want(r, name, TSR_I32, 2, dims, &data));
    for (size_t k = 0; k < n; k++)
        out->lengths[(size_t)i * n + k] = (int32_t)tsri_get32(data + 4 * k);
    return TSR_OK;
}

/* Appends the strings of chunk i. */
static tsr_error read_bytes(reader *r, const tsri_cachegen_shape *shape, int i,
                            tsri_cachegen *out)
{
    const int left = shape->tokens - i * CHUNK;
    const tsr_tensor *t;
    const void *data;
    char name[NAME];
    size_t at;
    int tokens;

    snprintf(name, sizeof name, "data_chunks/%d/ntokens", i);
    TSR_TRY(number(r, name, CHUNK, &tokens));
    snprintf(name, sizeof name, "data_chunks/%d/bytestream", i);
    TSR_TRY(find(r, name, &at, &t));
    if (t->dtype != TSR_U8 || tokens != (left < CHUNK ? left : CHUNK))
        return tsri_fail(r->ctx, TSR_E_CORRUPT, "CacheGen: '%s' is no string of "
                         "bytes, or not of so many tokens", name);
    TSR_TRY(tsri_checkpoint_data(r->cp, at, &data));
    memcpy(out->bytes + out->size, data, t->bytes);
    out->chunk_size[i] = t->bytes;
    out->size += t->bytes;
    return TSR_OK;
}

static tsr_error read_chunks(reader *r, const tsri_cachegen_shape *shape,
                             size_t room, tsri_cachegen *out)
{
    const size_t n = 2 * (size_t)shape->layers * (size_t)shape->channels;

    /* Before room is made for them, all lengths must be there. */
    if (n * (size_t)out->chunks > r->left / 4)
        return tsri_fail(r->ctx, TSR_E_CORRUPT, "CacheGen: not enough lengths "
                         "for %d tokens", shape->tokens);
    out->lengths = tsri_alloc(r->ctx, n * (size_t)out->chunks, 4);
    out->chunk_size = tsri_alloc(r->ctx, (size_t)out->chunks,
                                 sizeof *out->chunk_size);
    out->bytes = tsri_alloc(r->ctx, room, 1);
    if (!out->lengths || !out->chunk_size || !out->bytes)
        return tsri_nomem(r->ctx);
    for (int i = 0; i < out->chunks; i++) {
        TSR_TRY(read_lengths(r, shape, i, out));
        TSR_TRY(read_bytes(r, shape, i, out));
    }
    return TSR_OK;
}

static tsr_error read_all(reader *r, size_t size, tsri_cachegen_shape *shape,
                          int *heads, tsri_cachegen *out)
{
    int table = 0;

    r->left = size;
    TSR_TRY(read_shape(r, shape, heads, &table));
    if (!out)
        return TSR_OK;
    r->left = size;
    out->table = table;
    out->chunks = tsri_ceil_div(shape->tokens, CHUNK);
    TSR_TRY(read_cdf(r, shape, out));
    TSR_TRY(read_scales(r, shape, out));
    return read_chunks(r, shape, size, out);
}

tsr_error tsri_cachegen_load(tsr_context *ctx, const uint8_t *data, size_t size,
                             tsri_cachegen_shape *shape, int *heads,
                             tsri_cachegen *out)
{
    reader r = { .ctx = ctx };

    if (out)
        *out = (tsri_cachegen){ 0 };
    if (!tsr_cachegen_is(data, size))
        return tsri_fail(ctx, TSR_E_FORMAT, "not a CacheGen stream: no pickle");
    tsr_error error = tsri_checkpoint_open_pickle(&r.cp, ctx, data, size,
                                                  "CacheGen");
    if (!error)
        error = read_all(&r, size, shape, heads, out);
    tsri_checkpoint_close(&r.cp);
    if (error && out)
        tsri_cachegen_free(out, ctx);
    return error;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "codecs/kv/cachegen.h"
#include "codecs/kv/move.h"
#include "entropy/torchac.h"

enum { CHUNK = TSRI_CACHEGEN_CHUNK };

/* ---- the quantiser ---- */

int tsri_cachegen_bins(int level, int layers, int layer, int plane)
{
    /* Layers below `first` have `fine` bins, the others `coarse`. */
    static const struct { int first[2], fine, coarse; } of[] = {
        { { 10, 2 }, 32, 16 },
        { { 20, 2 }, 16, 12 },
        { { 10, 2 }, 32, 16 },
        { { 0, 0 }, 32, 32 },
        { { 20, 20 }, 32, 16 }
    };

    if (level == 0 && layers < 10)
        return 32;
    return layer < of[level].first[plane] ? of[level].fine : of[level].coarse;
}

float tsri_cachegen_quantise(const float *x, size_t channels, int bins,
                             uint8_t *q)
{
    const float m = (float)(bins / 2 - 1);
    float s = 0;

    for (size_t c = 0; c < channels; c++)
        s = fabsf(x[c]) > s ? fabsf(x[c]) : s;
    /* Of the very least numbers m / s would be infinite. */
    const float factor = s > 1e-30f ? m / s : 0;
    for (size_t c = 0; c < channels; c++)
        q[c] = (uint8_t)lrintf(x[c] * factor + m);
    return s;
}

void tsri_cachegen_dequantise(const uint8_t *q, size_t channels, int bins,
                              float s, float *x)
{
    const int m = bins / 2 - 1;

    for (size_t c = 0; c < channels; c++)
        x[c] = (float)(q[c] - m) / (float)m * s;
}

/* ---- sizes ---- */

static size_t strings(const tsri_cachegen_shape *shape)
{
    return 2 * (size_t)shape->layers * (size_t)shape->channels;
}

static int bins_of(const tsri_cachegen_shape *shape, int i)
{
    return tsri_cachegen_bins(shape->level, shape->layers, i % shape->layers,
                              i / shape->layers);
}

static int table_of(const tsri_cachegen_shape *shape)
{
    int most = 0;

    for (int i = 0; i < 2 * shape->layers; i++)
        most = tsri_max(most, bins_of(shape, i));
    return most + 1;
}

static tsr_error check(tsr_context *ctx, const tsri_cachegen_shape *shape)
{
    if (shape->layers < 1 || shape->layers > 1024 || shape->tokens < 1 ||
        shape->tokens > 65535 || shape->channels < 1 ||
        shape->channels > TSRI_KV_MAX_CHANNELS || shape->level < 0 ||
        shape->level >= TSR_CACHEGEN_LEVELS ||
        !tsri_kv_dtype_bytes(shape->dtype))
        return tsri_fail(ctx, TSR_E_ARG, "CacheGen: %d layers, %d tokens, %d "
                         "channels, level %d", shape->layers, shape->tokens,
                         shape->channels, shape->level);
    return TSR_OK;
}

uint64_t tsri_cachegen_bytes(const tsri_cachegen_shape *shape,
                             const tsri_cachegen *stream)
{
    return stream->size + strings(shape) *
           (4 * (uint64_t)stream->chunks + 2 * (uint64_t)stream->table) +
           2 * (uint64_t)shape->layers * (uint64_t)shape->tokens *
           tsri_kv_dtype_bytes(shape->dtype);
}

/* ---- encoder ---- */

static tsr_error allocate(tsr_context *ctx, const tsri_cachegen_shape *shape,
                          tsri_cachegen *out)
{
    const size_t n = strings(shape);

    out->chunks = tsri_ceil_div(shape->tokens, CHUNK);
    out->table = table_of(shape);
    out->chunk_size = tsri_calloc(ctx, (size_t)out->chunks,
                                  sizeof *out->chunk_size);
    out->lengths = tsri_alloc(ctx, (size_t)out->chunks * n,
                              sizeof *out->lengths);
    out->cdf = tsri_alloc(ctx, n * (size_t)out->table, sizeof *out->cdf);
    out->scale = tsri_alloc(ctx, 2 * (size_t)shape->layers *
                            (size_t)shape->tokens, 4);
    return out->chunk_size && out->lengths && out->cdf && out->scale
               ? TSR_OK : tsri_nomem(ctx);
}

/* Symbols of a layer, [channel][token], its scales. */
static void quantise_layer(const tsri_cachegen_shape *shape, int i,
                           const float *x, uint8_t *row, uint16_t *sym,
                           uint8_t *scale)
{
    const size_t channels = (size_t)shape->channels;
    const size_t tokens = (size_t)shape->tokens;
    const size_t bytes = tsri_kv_dtype_bytes(shape->dtype);

    for (size_t t = 0; t < tokens; t++, x += channels) {
        const float s = tsri_cachegen_quantise(x, channels, bins_of(shape, i),
                                               row);
        tsri_kv_to_dtype(shape->dtype, 0, &s, 1,
                         scale + ((size_t)i * tokens + t) * bytes);
        for (size_t c = 0; c < channels; c++)
            sym[c * tokens + t] = row[c];
    }
}

static tsr_error make_table(const uint16_t *sym, int tokens, int symbols,
                            uint16_t *cdf)
{
    uint32_t count[TSRI_CACHEGEN_BINS] = { 0 };

    for (int t = 0; t < tokens; t++)
        count[sym[t]]++;
    return tsri_torchac_table(count, symbols, cdf);
}

/* The strings of a layer go behind those written. */
static tsr_error encode_layer(const tsri_cachegen_shape *shape, int i,
                              int chunk, const uint16_t *sym, uint8_t **at,
                              tsri_cachegen *out)
{
    const size_t first = (size_t)chunk * CHUNK, tokens = (size_t)shape->tokens;
    const size_t n = tokens - first < CHUNK ? tokens - first : CHUNK;
    const size_t row = (size_t)i * (size_t)shape->channels;

    for (size_t c = 0; c < (size_t)shape->channels; c++) {
        const tsri_torchac_tables tables = {
            out->cdf + (row + c) * (size_t)out->table, out->table - 1, 0
        };
        size_t used;
        TSR_TRY(tsri_torchac_encode(&tables, sym + c * tokens + first, n, *at,
                                    CHUNK, &used));
        out->lengths[(size_t)chunk * strings(shape) + row + c] = (int32_t)used;
        *at += used;
    }
    return TSR_OK;
}

/* All layers; sym holds one layer after another. */
static tsr_error encode_all(tsr_context *ctx, const tsri_cachegen_shape *shape,
                            const uint16_t *sym, tsri_cachegen *out)
{
    const size_t layer = (size_t)shape->tokens * (size_t)shape->channels;
    const size_t n = strings(shape);
    uint8_t *at;

    for (size_t s = 0; s < n; s++)
        TSR_TRY(make_table(sym + s * (size_t)shape->tokens, shape->tokens,
                           out->table - 1, out->cdf + s * (size_t)out->table));
    out->bytes = at = tsri_alloc(ctx, n * (size_t)out->chunks, CHUNK);
    if (!at)
        return tsri_nomem(ctx);
    for (int chunk = 0; chunk < out->chunks; chunk++) {
        uint8_t *const begin = at;
        for (int i = 0; i < 2 * shape->layers; i++)
            TSR_TRY(encode_layer(shape, i, chunk, sym + (size_t)i * layer, &at,
                                 out));
        out->chunk_size[chunk] = (size_t)(at - begin);
    }
    out->size = (size_t)(at - out->bytes);
    return TSR_OK;
}

tsr_error tsri_cachegen_encode(tsr_context *ctx,
                               const tsri_cachegen_shape *shape, const float *x,
                               tsri_cachegen *out)
{
    const size_t layer = (size_t)shape->tokens * (size_t)shape->channels;
    uint16_t *sym = NULL;
    uint8_t *row = NULL;

    *out = (tsri_cachegen){ 0 };
    TSR_TRY(check(ctx, shape));
    tsr_error error = allocate(ctx, shape, out);
    if (!error) {
        row = tsri_alloc(ctx, (size_t)shape->channels, 1);
        sym = tsri_alloc(ctx, 2 * (size_t)shape->layers * layer, sizeof *sym);
        error = row && sym ? TSR_OK : tsri_nomem(ctx);
    }
    for (int i = 0; !error && i < 2 * shape->layers; i++)
        quantise_layer(shape, i, x + (size_t)i * layer, row,
                       sym + (size_t)i * layer, out->scale);
    if (!error)
        error = encode_all(ctx, shape, sym, out);
    tsri_free(ctx, row);
    tsri_free(ctx, sym);
    if (error)
        tsri_cachegen_free(out, ctx);
    return error;
}

void tsri_cachegen_free(tsri_cachegen *stream, tsr_context *ctx)
{
    tsri_free(ctx, stream->bytes);
    tsri_free(ctx, stream->chunk_size);
    tsri_free(ctx, stream->lengths);
    tsri_free(ctx, stream->cdf);
    tsri_free(ctx, stream->scale);
    *stream = (tsri_cachegen){ 0 };
}

/* ---- decoder ---- */

/* One string: channel c of layer i, tokens of a chunk, to x[k][channels]. */
static tsr_error decode_string(const tsri_cachegen_shape *shape,
                               const tsri_cachegen *in, size_t s, size_t n,
                               const uint8_t *data, size_t size,
                               const float *scale, float *x)
{
    const int i = (int)(s / (size_t)shape->channels), bins = bins_of(shape, i);
    const tsri_torchac_tables tables = {
        in->cdf + s * (size_t)in->table, in->table - 1, 0
    };
    uint16_t sym[CHUNK];

    TSR_TRY(tsri_torchac_decode(&tables, data, size, sym, n, NULL));
    for (size_t k = 0; k < n; k++, x += shape->channels) {
        const uint8_t q = (uint8_t)sym[k];
        tsri_cachegen_dequantise(&q, 1, bins, scale[k], x);
    }
    return TSR_OK;
}

/* Where reading has come to. */
typedef struct place {
    const uint8_t *at;
    size_t left;
    const int32_t *length;
} place;

static tsr_error decode_layer(const tsri_cachegen_shape *shape,
                              const tsri_cachegen *in, int chunk, int i,
                              place *p, float *x)
{
    const size_t channels = (size_t)shape->channels;
    const size_t tokens = (size_t)shape->tokens, first = (size_t)chunk * CHUNK;
    const size_t n = tokens - first < CHUNK ? tokens - first : CHUNK;
    const uint8_t *scales = in->scale + ((size_t)i * tokens + first) *
                                            tsri_kv_dtype_bytes(shape->dtype);
    float scale[CHUNK];

    if (!tsri_kv_from_dtype(shape->dtype, 0, scales, n, scale))
        return TSR_E_CORRUPT;
    for (size_t c = 0; c < channels; c++) {
        const int32_t size = *p->length++;
        if (size < 0 || (size_t)size > p->left)
            return TSR_E_CORRUPT;
        TSR_TRY(decode_string(shape, in, (size_t)i * channels + c, n, p->at,
                              (size_t)size, scale, x + c));
        p->at += size;
        p->left -= (size_t)size;
    }
    return TSR_OK;
}

static tsr_error check_stream(tsr_context *ctx,
                              const tsri_cachegen_shape *shape,
                              const tsri_cachegen *in)
{
    TSR_TRY(check(ctx, shape));
    if (in->chunks != tsri_ceil_div(shape->tokens, CHUNK))
        return tsri_fail(ctx, TSR_E_ARG, "CacheGen: %d chunks of %d tokens",
                         in->chunks, shape->tokens);
    if (in->table != table_of(shape))
        return tsri_fail(ctx, TSR_E_MODEL, "CacheGen: its tables are of %d "
                         "bins, those of level %d of %d", in->table - 1,
                         shape->level, table_of(shape) - 1);
    return TSR_OK;
}

tsr_error tsri_cachegen_decode(tsr_context *ctx,
                               const tsri_cachegen_shape *shape,
                               const tsri_cachegen *in,
                               tsri_cachegen_take *take, void *cookie)
{
    place p = { in->bytes, in->size, in->lengths };
    tsr_error error = check_stream(ctx, shape, in);

    if (error)
        return error;
    float *x = tsri_alloc(ctx, (size_t)shape->channels, CHUNK * sizeof *x);
    if (!x)
        return tsri_nomem(ctx);
    for (int j = 0; !error && j < in->chunks * 2 * shape->layers; j++) {
        const int chunk = j / (2 * shape->layers), i = j % (2 * shape->layers);
        const size_t first = (size_t)chunk * CHUNK;
        const size_t left = (size_t)shape->tokens - first;
        error = decode_layer(shape, in, chunk, i, &p, x);
        if (error)
            error = tsri_fail(ctx, TSR_E_CORRUPT, "CacheGen: layer %d of chunk "
                              "%d is damaged", i, chunk);
        else
            take(cookie, i / shape->layers, i % shape->layers, first,
                 left < CHUNK ? left : CHUNK, x);
    }
    tsri_free(ctx, x);
    if (!error && p.left)
        error = tsri_fail(ctx, TSR_E_CORRUPT, "CacheGen: %zu bytes too many",
                          p.left);
    return error;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* CacheGen's quantiser; its symbols by our coder. */
#include "codecs/kv/cachegen.h"
#include "codecs/kv/method_list.h"

enum { LEVEL, BINS, PLAIN, OPTIONS };

static const tsri_kv_option options[OPTIONS] = {
    { "level", 0, TSR_CACHEGEN_LEVELS - 1, 1, 0, 1 },
    { "bins", 0, TSRI_CACHEGEN_BINS, 2, 0, 1 },     /* 0: the level's */
    { "plain", 0, 1, 1, 0, 1 }
};

static tsr_error settings(tsr_context *ctx, const tsr_kv_settings *s,
                          uint8_t params[40])
{
    TSR_TRY(tsri_kv_options_read(ctx, s, options, OPTIONS, params));
    return tsri_kv_option_at(params, BINS) == 2
               ? tsri_fail(ctx, TSR_E_ARG, "CacheGen needs 4 bins or more")
               : TSR_OK;
}

static tsr_error check(const uint8_t params[40], const tsr_kv_shape *shape)
{
    (void)shape;
    return tsri_kv_option_at(params, BINS) == 2
               ? TSR_E_CORRUPT
               : tsri_kv_options_check(options, OPTIONS, params);
}

static int bins_of(const tsri_kv_tile *tile)
{
    const int bins = tsri_kv_option_at(tile->params, BINS);

    return bins ? bins
                : tsri_cachegen_bins(tsri_kv_option_at(tile->params, LEVEL),
                                     tile->layers, tile->layer, tile->plane);
}

static size_t scales_size(const tsri_kv_tile *tile)
{
    return (size_t)tile->tokens * tsri_kv_dtype_bytes(tile->dtype);
}

static size_t bound(const tsri_kv_tile *tile)
{
    return scales_size(tile) +
           tsri_kv_codes_bound(tile->tokens, (int)tsri_kv_channels(tile), 256);
}

static size_t scratch(const tsri_kv_tile *tile)
{
    return tsri_kv_arena_room(tsri_kv_values(tile)) +
           tsri_kv_arena_room((size_t)tile->tokens * sizeof(float)) +
           tsri_kv_codes_scratch(tile->tokens, (int)tsri_kv_channels(tile));
}

/* Symbols 0..2 M. */
static tsri_kv_codes codes_of(const tsri_kv_tile *tile, tsri_kv_arena *arena)
{
    return (tsri_kv_codes){ tsri_kv_arena_take(arena, tsri_kv_values(tile)),
                            tile->tokens, (int)tsri_kv_channels(tile),
                            2 * (bins_of(tile) / 2 - 1) + 1 };
}

static size_t encode(const tsri_kv_tile *tile, unsigned cpu, void *x,
                     uint8_t *out, void *memory)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile));
    const tsri_kv_codes codes = codes_of(tile, &arena);
    const size_t channels = tsri_kv_channels(tile), n = (size_t)tile->tokens;
    float *scale = tsri_kv_arena_take(&arena, n * sizeof *scale);

    for (size_t t = 0; t < n; t++)
        scale[t] = tsri_cachegen_quantise((const float *)x + t * channels,
                                          channels, bins_of(tile),
                                          codes.code + t * channels);
    tsri_kv_to_dtype(tile->dtype, cpu, scale, n, out);
    return scales_size(tile) +
           tsri_kv_codes_put(&codes, tsri_kv_option_at(tile->params, PLAIN),
                             cpu, arena, out + scales_size(tile));
}

static tsr_error decode(const tsri_kv_tile *tile, unsigned cpu,
                        const uint8_t *data, size_t size, void *x, void *memory)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile));
    tsri_kv_reader in = { data, data + size };
    const tsri_kv_codes codes = codes_of(tile, &arena);
    const size_t channels = tsri_kv_channels(tile), n = (size_t)tile->tokens;
    float *scale = tsri_kv_arena_take(&arena, n * sizeof *scale);
    const uint8_t *scales = tsri_kv_take(&in, scales_size(tile));

    if (!scales)
        return TSR_E_CORRUPT;
    if (!tsri_kv_from_dtype(tile->dtype, cpu, scales, n, scale))
        return TSR_E_CORRUPT;
    TSR_TRY(tsri_kv_codes_get(&codes, cpu, arena, &in));
    for (size_t t = 0; t < n; t++)
        tsri_cachegen_dequantise(codes.code + t * channels, channels,
                                 bins_of(tile), scale[t],
                                 (float *)x + t * channels);
    return in.at == in.end ? TSR_OK : TSR_E_CORRUPT;
}

const tsri_kv_method tsri_kv_cachegen = {
    "cachegen", 1, false, false, 256, settings, check, bound, scratch, encode,
    decode
};

/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys by channel, values by token, in small groups; the newest tokens as they
 * are.
 *
 * Source: Liu et al., "KIVI: A Tuning-Free Asymmetric 2bit Quantization for KV
 * Cache", ICML 2024, and its code. */
#include "codecs/kv/method_list.h"

enum { BITS, GROUP, RESIDUAL, PLAIN, OPTIONS };

static const tsri_kv_option options[OPTIONS] = {
    { "bits", 2, 4, 2, 2, 1 }, { "group", 8, 256, 8, 32, 1 },
    { "residual", 0, 4096, 32, 128, 1 }, { "plain", 0, 1, 1, 0, 1 }
};

static tsr_error settings(tsr_context *ctx, const tsr_kv_settings *s,
                          uint8_t params[40])
{
    return tsri_kv_options_read(ctx, s, options, OPTIONS, params);
}

static tsr_error check(const uint8_t params[40], const tsr_kv_shape *shape)
{
    (void)shape;
    return tsri_kv_options_check(options, OPTIONS, params);
}

/* Tokens of the tile that are quantised.  Keys are when `residual` of them are
 * there, values when so many have followed. */
static int quantised(const tsri_kv_tile *tile)
{
    const uint64_t r = (uint64_t)tsri_kv_option_at(tile->params, RESIDUAL);
    const uint64_t kept = !r ? 0 : tile->plane == 0 ? tile->total % r
                        : r < tile->total ? r : tile->total;
    const uint64_t end = tile->total - kept;
    const uint64_t n = end > tile->first ? end - tile->first : 0;

    return n < (uint64_t)tile->tokens ? (int)n : tile->tokens;
}

static tsri_kv_grid grid_of(const tsri_kv_tile *tile, int tokens)
{
    const int group = tsri_kv_option_at(tile->params, GROUP);
    const bool keys = tile->plane == 0;

    return (tsri_kv_grid){
        .tokens = tokens, .channels = tile->heads * tile->dim,
        .segment = tile->dim, .token_group = keys ? group : 1,
        .channel_group = keys ? 1 : group,
        .bits = tsri_kv_option_at(tile->params, BITS)
    };
}

static size_t bound(const tsri_kv_tile *tile)
{
    const tsri_kv_grid grid = grid_of(tile, tile->tokens);
    const int raw = tsri_kv_option_at(tile->params, RESIDUAL);
    return tsri_kv_grid_bound(&grid) +
           tsri_kv_raw_bytes(tile, tsri_min(raw, tile->tokens));
}

static size_t scratch(const tsri_kv_tile *tile)
{
    const tsri_kv_grid grid = grid_of(tile, tile->tokens);
    return tsri_kv_grid_room(&grid) + tsri_kv_grid_scratch(&grid);
}

static size_t encode(const tsri_kv_tile *tile, unsigned cpu, void *x,
                     uint8_t *out, void *memory)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile));
    tsri_kv_grid grid = grid_of(tile, quantised(tile));
    const size_t first = (size_t)grid.tokens * tsri_kv_channels(tile);
    const size_t raw = tsri_kv_values(tile) - first;

    tsri_kv_grid_take(&grid, &arena);
    tsri_kv_to_dtype(tile->dtype, cpu, (float *)x + first, raw, out);
    out += raw * tsri_kv_dtype_bytes(tile->dtype);
    if (!tsri_kv_grid_quantise(&grid, x))
        return 0;
    return raw * tsri_kv_dtype_bytes(tile->dtype) +
           tsri_kv_grid_put(&grid, tsri_kv_option_at(tile->params, PLAIN), cpu,
                            arena, out);
}

static tsr_error decode(const tsri_kv_tile *tile, unsigned cpu,
                        const uint8_t *data, size_t size, void *x, void *memory)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile));
    tsri_kv_reader in = { data, data + size };
    tsri_kv_grid grid = grid_of(tile, quantised(tile));
    const size_t first = (size_t)grid.tokens * tsri_kv_channels(tile);

    tsri_kv_grid_take(&grid, &arena);
    TSR_TRY(tsri_kv_raw_get(tile, tile->tokens - grid.tokens, cpu, &in,
                            (float *)x + first));
    TSR_TRY(tsri_kv_grid_get(&grid, cpu, arena, &in));
    tsri_kv_grid_restore(&grid, x);
    return in.at == in.end ? TSR_OK : TSR_E_CORRUPT;
}

const tsri_kv_method tsri_kv_kivi = {
    "kivi", 2, false, false, 1024, settings, check, bound, scratch, encode,
    decode
};

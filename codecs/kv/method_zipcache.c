/* SPDX-License-Identifier: BSD-2-Clause */
/* Two classes of tokens, salient and others, with different bits.  Which are
 * salient only the attention knows: those that the caller boosts; without
 * boosts, all.
 *
 * ZipCache: keys by channel over all tokens of a class; values channel-separable
 * by token: divided by c = sqrt(max |x| of the channel), then by token.
 * MiKV: keys and values by token and head, channels divided by c as well (its
 * balancer needs queries, which a cache does not have).
 *
 * Source: He et al., "ZipCache: Accurate and Efficient KV Cache Quantization
 * with Salient Token Identification", NeurIPS 2024; Yang et al., "No Token Left
 * Behind: Reliable KV Cache Compression via Importance-Aware Mixed Precision
 * Quantization", arXiv:2402.18096. */
#include "codecs/kv/method_list.h"

enum { SALIENT, OTHERS, PLAIN, OPTIONS };

static const tsri_kv_option zipcache_options[OPTIONS] = {
    { "salient", 1, 8, 1, 4, 1 }, { "others", 1, 8, 1, 2, 1 },
    { "plain", 0, 1, 1, 0, 1 }
};
static const tsri_kv_option mikv_options[OPTIONS] = {
    { "salient", 1, 8, 1, 8, 1 }, { "others", 1, 8, 1, 2, 1 },
    { "plain", 0, 1, 1, 0, 1 }
};

static tsr_error zipcache_settings(tsr_context *ctx, const tsr_kv_settings *s,
                                   uint8_t params[40])
{
    return tsri_kv_options_read(ctx, s, zipcache_options, OPTIONS, params);
}

static tsr_error mikv_settings(tsr_context *ctx, const tsr_kv_settings *s,
                               uint8_t params[40])
{
    return tsri_kv_options_read(ctx, s, mikv_options, OPTIONS, params);
}

static tsr_error check(const uint8_t params[40], const tsr_kv_shape *shape)
{
    (void)shape;
    return tsri_kv_options_check(zipcache_options, OPTIONS, params);
}

/* Is token t of class k: 0 salient, 1 others? */
static bool is_of(const tsri_kv_tile *tile, int t, int k)
{
    return (!tile->boost || tile->boost[t]) == (k == 0);
}

static bool separable(const tsri_kv_tile *tile, bool mikv)
{
    return mikv || tile->plane == 1;
}

/* Tokens of a class. */
static int count(const tsri_kv_tile *tile, int k)
{
    int n = 0;

    for (int t = 0; t < tile->tokens; t++)
        n += is_of(tile, t, k);
    return n;
}

static tsri_kv_grid grid_of(const tsri_kv_tile *tile, bool mikv, int k,
                            int tokens)
{
    const int channels = tile->heads * tile->dim;
    const int width = mikv ? tile->dim : channels;
    const bool by_token = separable(tile, mikv);

    return (tsri_kv_grid){
        .tokens = tokens, .channels = channels, .segment = width,
        .token_group = by_token ? 1 : tile->tokens,
        .channel_group = by_token ? width : 1,
        .bits = tsri_kv_option_at(tile->params, SALIENT + k)
    };
}

/* All tokens may be of either class. */
static size_t bound(const tsri_kv_tile *tile, bool mikv)
{
    size_t n = tsri_kv_halves_bound(1, tsri_kv_channels(tile));

    for (int k = 0; k < 2; k++) {
        const tsri_kv_grid grid = grid_of(tile, mikv, k, tile->tokens);
        n += tsri_kv_grid_bound(&grid);
    }
    return n;
}

/* Codes and numbers of both classes, tokens of one, the channels' numbers. */
static size_t scratch(const tsri_kv_tile *tile, bool mikv)
{
    const size_t c = tsri_kv_channels(tile);
    size_t n = tsri_kv_arena_room(4 * tsri_kv_values(tile)) +
               tsri_kv_arena_room(2 * c) + tsri_kv_halves_scratch(1, c);

    for (int k = 0; k < 2; k++) {
        const tsri_kv_grid grid = grid_of(tile, mikv, k, tile->tokens);
        n += tsri_kv_grid_room(&grid) + tsri_kv_grid_scratch(&grid);
    }
    return n;
}

/* c of each channel; 1 where a channel is 0. */
static bool separate(const tsri_kv_tile *tile, float *x, uint16_t *half)
{
    const size_t channels = tsri_kv_channels(tile), n = tsri_kv_values(tile);

    for (size_t c = 0; c < channels; c++) {
        float most = 0;
        for (size_t i = c; i < n; i += channels)
            most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
        half[c] = tsri_kv_half(most > 0 ? sqrtf(most) : 1);
        const float s = tsri_half_to_float(half[c]);
        if (!tsri_kv_half_finite(half[c]) || s <= 0)
            return false;
        for (size_t i = c; i < n; i += channels)
            x[i] /= s;
    }
    return true;
}

static void join(const tsri_kv_tile *tile, const uint16_t *half, float *x)
{
    const size_t channels = tsri_kv_channels(tile);

    for (int t = 0; t < tile->tokens; t++, x += channels)
        for (size_t c = 0; c < channels; c++)
            x[c] *= tsri_half_to_float(half[c]);
}

/* Between the tile and its tokens of class k, one after another. */
static void move(const tsri_kv_tile *tile, int k, float *x, float *some,
                 bool gather)
{
    const size_t channels = tsri_kv_channels(tile);

    for (int t = 0; t < tile->tokens; t++, x += channels)
        if (is_of(tile, t, k)) {
            memcpy(gather ? some : x, gather ? x : some, channels * sizeof *x);
            some += channels;
        }
}

static size_t encode(const tsri_kv_tile *tile, unsigned cpu, float *x,
                     uint8_t *out, void *memory, bool mikv)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile, mikv));
    const bool plain = tsri_kv_option_at(tile->params, PLAIN);
    const size_t channels = tsri_kv_channels(tile);
    float *some = tsri_kv_arena_take(&arena, 4 * tsri_kv_values(tile));
    uint16_t *half = tsri_kv_arena_take(&arena, 2 * channels);
    size_t size = 0;

    if (separable(tile, mikv)) {
        if (!separate(tile, x, half))
            return 0;
        size = tsri_kv_halves_put(half, 1, channels, plain, cpu, arena, out);
    }
    for (int k = 0; k < 2; k++) {
        tsri_kv_grid grid = grid_of(tile, mikv, k, count(tile, k));
        tsri_kv_grid_take(&grid, &arena);
        move(tile, k, x, some, true);
        if (!tsri_kv_grid_quantise(&grid, some))
            return 0;
        size += tsri_kv_grid_put(&grid, plain, cpu, arena, out + size);
    }
    return size;
}

static tsr_error decode(const tsri_kv_tile *tile, unsigned cpu,
                        tsri_kv_reader in, float *x, void *memory, bool mikv)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile, mikv));
    const size_t channels = tsri_kv_channels(tile);
    float *some = tsri_kv_arena_take(&arena, 4 * tsri_kv_values(tile));
    uint16_t *half = tsri_kv_arena_take(&arena, 2 * channels);

    if (separable(tile, mikv))
        TSR_TRY(tsri_kv_halves_get(half, 1, channels, cpu, arena, &in));
    for (int k = 0; k < 2; k++) {
        tsri_kv_grid grid = grid_of(tile, mikv, k, count(tile, k));
        tsri_kv_grid_take(&grid, &arena);
        TSR_TRY(tsri_kv_grid_get(&grid, cpu, arena, &in));
        tsri_kv_grid_restore(&grid, some);
        move(tile, k, x, some, false);
    }
    if (separable(tile, mikv))
        join(tile, half, x);
    return in.at == in.end ? TSR_OK : TSR_E_CORRUPT;
}

static size_t zipcache_bound(const tsri_kv_tile *tile)
{
    return bound(tile, false);
}
static size_t zipcache_scratch(const tsri_kv_tile *tile)
{
    return scratch(tile, false);
}
static size_t zipcache_encode(const tsri_kv_tile *tile, unsigned cpu, void *x,
                              uint8_t *out, void *memory)
{
    return encode(tile, cpu, x, out, memory, false);
}
static tsr_error zipcache_decode(const tsri_kv_tile *tile, unsigned cpu,
                                 const uint8_t *data, size_t size, void *x,
                                 void *memory)
{
    const tsri_kv_reader in = { data, data + size };
    return decode(tile, cpu, in, x, memory, false);
}

static size_t mikv_bound(const tsri_kv_tile *tile)
{
    return bound(tile, true);
}
static size_t mikv_scratch(const tsri_kv_tile *tile)
{
    return scratch(tile, true);
}
static size_t mikv_encode(const tsri_kv_tile *tile, unsigned cpu, void *x,
                          uint8_t *out, void *memory)
{
    return encode(tile, cpu, x, out, memory, true);
}
static tsr_error mikv_decode(const tsri_kv_tile *tile, unsigned cpu,
                             const uint8_t *data, size_t size, void *x,
                             void *memory)
{
    const tsri_kv_reader in = { data, data + size };
    return decode(tile, cpu, in, x, memory, true);
}

const tsri_kv_method tsri_kv_zipcache = {
    "zipcache", 5, false, false, 4096, zipcache_settings, check, zipcache_bound,
    zipcache_scratch, zipcache_encode, zipcache_decode
};
const tsri_kv_method tsri_kv_mikv = {
    "mikv", 6, false, false, 4096, mikv_settings, check, mikv_bound,
    mikv_scratch, mikv_encode, mikv_decode
};

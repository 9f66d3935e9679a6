/* SPDX-License-Identifier: BSD-2-Clause */
/* Each head of a key is turned so that its values look Gaussian, and quantised
 * with the levels that are best for that; values are quantised evenly.
 *
 * With D dims (a power of two), random signs s and the Hadamard matrix H:
 *     y = H (s x) / |x|, x's length n = half(|x|);   code: nearest level
 *     x = s H (level[code]) n / D
 *
 * Source: Zandieh et al., "TurboQuant: Online Vector Quantization with
 * Near-optimal Distortion Rate", arXiv:2504.19874, as LMCache has it (its signs
 * come from another generator).  Levels: Max, IRE Trans. Inf. Theory 6(1),
 * 1960. */
#include "codecs/kv/method_list.h"

enum { KEYS, VALUES, SEED, PLAIN, OPTIONS };
enum { MAX_DIM = 2048 };

static const tsri_kv_option options[OPTIONS] = {
    { "keys", 2, 4, 1, 4, 1 }, { "values", 2, 4, 1, 4, 1 },
    { "seed", 0, 65535, 1, 42, 1 }, { "plain", 0, 1, 1, 0, 1 }
};

/* Of the normal distribution, those above 0. */
static const float levels[3][8] = {
    { 0.452780f, 1.510418f },
    { 0.245094f, 0.756005f, 1.343909f, 2.151946f },
    { 0.128395f, 0.388048f, 0.656759f, 0.942340f,
      1.256231f, 1.618046f, 2.069017f, 2.732589f }
};

static tsr_error settings(tsr_context *ctx, const tsr_kv_settings *s,
                          uint8_t params[40])
{
    const int dim = s->shape.dim[0];

    if (dim & (dim - 1))
        return tsri_fail(ctx, TSR_E_ARG, "TurboQuant needs heads of a power "
                         "of two, not %d", dim);
    return tsri_kv_options_read(ctx, s, options, OPTIONS, params);
}

static tsr_error check(const uint8_t params[40], const tsr_kv_shape *shape)
{
    return shape->dim[0] & (shape->dim[0] - 1)
               ? TSR_E_CORRUPT : tsri_kv_options_check(options, OPTIONS, params);
}

static int bits_of(const tsri_kv_tile *tile)
{
    return tsri_kv_option_at(tile->params, tile->plane ? VALUES : KEYS);
}

/* Values are this, and of keys the codes and the memory are as large. */
static tsri_kv_grid grid_of(const tsri_kv_tile *tile)
{
    return (tsri_kv_grid){
        .tokens = tile->tokens, .channels = tile->heads * tile->dim,
        .segment = tile->dim, .token_group = 1, .channel_group = tile->dim,
        .bits = bits_of(tile)
    };
}

static size_t bound(const tsri_kv_tile *tile)
{
    const tsri_kv_grid grid = grid_of(tile);
    return tsri_kv_grid_bound(&grid);
}

static size_t scratch(const tsri_kv_tile *tile)
{
    const tsri_kv_grid grid = grid_of(tile);
    return tsri_kv_grid_room(&grid) + tsri_kv_grid_scratch(&grid);
}

/* Sign d of a layer is bit d % 64 of its d / 64th SplitMix64 number. */
static void make_signs(const tsri_kv_tile *tile, float sign[MAX_DIM])
{
    uint64_t state = (uint64_t)tsri_kv_option_at(tile->params, SEED) +
                     1337 * (uint64_t)tile->layer;
    uint64_t z = 0;

    for (int d = 0; d < tile->dim; d++) {
        if (d % 64 == 0) {
            z = state += 0x9e3779b97f4a7c15u;
            z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
            z = (z ^ z >> 27) * 0x94d049bb133111ebu;
            z ^= z >> 31;
        }
        sign[d] = z >> d % 64 & 1 ? -1 : 1;
    }
}

/* Walsh and Hadamard's matrix, entries +-1. */
static void hadamard(float *x, int n)
{
    for (int step = 1; step < n; step *= 2)
        for (int i = 0; i < n; i += 2 * step)
            for (int k = i; k < i + step; k++) {
                const float a = x[k], b = x[k + step];
                x[k] = a + b;
                x[k + step] = a - b;
            }
}

static uint8_t nearest(float y, int bits)
{
    const float *level = levels[bits - 2], a = fabsf(y);
    const int half = 1 << (bits - 1);
    int i = 0;

    while (i < half - 1 && a > (level[i] + level[i + 1]) / 2)
        i++;
    return (uint8_t)(y < 0 ? half - 1 - i : half + i);
}

static float level_of(int code, int bits)
{
    const int half = 1 << (bits - 1);
    return code < half ? -levels[bits - 2][half - 1 - code]
                       : levels[bits - 2][code - half];
}

/* Returns the length; the code of a head of zeros does not matter. */
static uint16_t quantise(float *x, int dim, int bits, const float *sign,
                         uint8_t *code)
{
    double length = 0;

    for (int d = 0; d < dim; d++) {
        length += (double)x[d] * (double)x[d];
        x[d] *= sign[d];
    }
    hadamard(x, dim);
    const float scale = length > 0 ? (float)(1 / sqrt(length)) : 0;
    for (int d = 0; d < dim; d++)
        code[d] = nearest(x[d] * scale, bits);
    return tsri_kv_half((float)sqrt(length));
}

static void restore(const uint8_t *code, int dim, int bits, const float *sign,
                    float length, float *x)
{
    for (int d = 0; d < dim; d++)
        x[d] = level_of(code[d], bits);
    hadamard(x, dim);
    for (int d = 0; d < dim; d++)
        x[d] *= sign[d] * length / (float)dim;
}

static tsri_kv_codes codes_of(const tsri_kv_grid *g)
{
    return (tsri_kv_codes){ g->code, g->tokens, g->channels, 1 << g->bits };
}

static size_t put_keys(const tsri_kv_tile *tile, const tsri_kv_grid *grid,
                       unsigned cpu, float *x, tsri_kv_arena arena,
                       uint8_t *out)
{
    const size_t heads = (size_t)tile->tokens * (size_t)tile->heads;
    const bool plain = tsri_kv_option_at(tile->params, PLAIN);
    const tsri_kv_codes codes = codes_of(grid);
    float sign[MAX_DIM];
    size_t size;

    make_signs(tile, sign);
    for (size_t i = 0; i < heads; i++) {
        const size_t at = i * (size_t)tile->dim;
        grid->half[i] = quantise(x + at, tile->dim, grid->bits, sign,
                                 grid->code + at);
        if (!tsri_kv_half_finite(grid->half[i]))
            return 0;
    }
    size = tsri_kv_halves_put(grid->half, (size_t)tile->tokens,
                              (size_t)tile->heads, plain, cpu, arena, out);
    return size + tsri_kv_codes_put(&codes, plain, cpu, arena, out + size);
}

static tsr_error get_keys(const tsri_kv_tile *tile, const tsri_kv_grid *grid,
                          unsigned cpu, tsri_kv_arena arena, tsri_kv_reader *in,
                          float *x)
{
    const size_t heads = (size_t)tile->tokens * (size_t)tile->heads;
    const tsri_kv_codes codes = codes_of(grid);
    float sign[MAX_DIM];

    TSR_TRY(tsri_kv_halves_get(grid->half, (size_t)tile->tokens,
                               (size_t)tile->heads, cpu, arena, in));
    TSR_TRY(tsri_kv_codes_get(&codes, cpu, arena, in));
    make_signs(tile, sign);
    for (size_t i = 0; i < heads; i++) {
        const size_t at = i * (size_t)tile->dim;
        restore(grid->code + at, tile->dim, grid->bits, sign,
                tsri_half_to_float(grid->half[i]), x + at);
    }
    return TSR_OK;
}

static size_t encode(const tsri_kv_tile *tile, unsigned cpu, void *x,
                     uint8_t *out, void *memory)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile));
    tsri_kv_grid grid = grid_of(tile);

    tsri_kv_grid_take(&grid, &arena);
    if (tile->plane == 0)
        return put_keys(tile, &grid, cpu, x, arena, out);
    return tsri_kv_grid_quantise(&grid, x)
               ? tsri_kv_grid_put(&grid, tsri_kv_option_at(tile->params, PLAIN),
                                  cpu, arena, out) : 0;
}

static tsr_error decode(const tsri_kv_tile *tile, unsigned cpu,
                        const uint8_t *data, size_t size, void *x, void *memory)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile));
    tsri_kv_reader in = { data, data + size };
    tsri_kv_grid grid = grid_of(tile);

    tsri_kv_grid_take(&grid, &arena);
    if (tile->plane == 0) {
        TSR_TRY(get_keys(tile, &grid, cpu, arena, &in, x));
    } else {
        TSR_TRY(tsri_kv_grid_get(&grid, cpu, arena, &in));
        tsri_kv_grid_restore(&grid, x);
    }
    return in.at == in.end ? TSR_OK : TSR_E_CORRUPT;
}

const tsri_kv_method tsri_kv_turboquant = {
    "turboquant", 7, false, false, 1024, settings, check, bound, scratch,
    encode, decode
};

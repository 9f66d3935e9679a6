/* SPDX-License-Identifier: BSD-2-Clause */
/* Groups as KIVI's, what is far out by itself, and the error's strongest
 * directions in each head.
 *
 * Source: Kang et al., "GEAR: An Efficient KV Cache Compression Recipe for
 * Near-Lossless Generative Inference of LLM", arXiv:2403.05527, and its code. */
#include "codecs/kv/method_list.h"

enum { BITS, GROUP, RANK, SPARSE, PLAIN, OPTIONS };
enum { MAX_RANK = 32, ROUNDS = 3, BY_BITS = 65535 };

static const tsri_kv_option options[OPTIONS] = {
    { "bits", 2, 4, 2, 2, 1 },
    { "group", 0, BY_BITS, 1, BY_BITS, 1 },     /* 0: a whole vector */
    { "rank", 0, MAX_RANK, 1, 4, 1 },
    { "sparse", 0, 2000, 1, 200, 100 },         /* percent */
    { "plain", 0, 1, 1, 0, 1 }
};

static tsr_error settings(tsr_context *ctx, const tsr_kv_settings *s,
                          uint8_t params[40])
{
    TSR_TRY(tsri_kv_options_read(ctx, s, options, OPTIONS, params));
    if (tsri_kv_option_at(params, GROUP) == BY_BITS)
        tsri_put16(params + 2 * GROUP,
                   tsri_kv_option_at(params, BITS) == 2 ? 64 : 0);
    return TSR_OK;
}

static tsr_error check(const uint8_t params[40], const tsr_kv_shape *shape)
{
    (void)shape;
    return tsri_kv_option_at(params, GROUP) == BY_BITS
               ? TSR_E_CORRUPT
               : tsri_kv_options_check(options, OPTIONS, params);
}

static tsri_kv_grid grid_of(const tsri_kv_tile *tile)
{
    const int group = tsri_kv_option_at(tile->params, GROUP);
    const bool keys = tile->plane == 0;

    return (tsri_kv_grid){
        .tokens = tile->tokens, .channels = tile->heads * tile->dim,
        .segment = tile->dim,
        .token_group = !keys ? 1 : group ? group : tile->tokens,
        .channel_group = keys ? 1 : group ? group : tile->dim,
        .bits = tsri_kv_option_at(tile->params, BITS)
    };
}

static int rank_of(const tsri_kv_tile *tile)
{
    return tsri_min(tsri_kv_option_at(tile->params, RANK),
                    tsri_min(tile->tokens, tile->dim));
}

/* Numbers of the factors of a head: rank x (tokens + dim). */
static size_t factors_of(const tsri_kv_tile *tile)
{
    return (size_t)rank_of(tile) * (size_t)(tile->tokens + tile->dim);
}

static size_t bound(const tsri_kv_tile *tile)
{
    const tsri_kv_grid grid = grid_of(tile);
    return tsri_kv_grid_bound(&grid) +
           tsri_kv_sparse_bound(tsri_kv_values(tile)) +
           2 * (size_t)tile->heads * factors_of(tile);
}

static size_t scratch(const tsri_kv_tile *tile)
{
    const size_t n = tsri_kv_values(tile);
    const tsri_kv_grid grid = grid_of(tile);

    return tsri_kv_grid_room(&grid) + tsri_kv_grid_scratch(&grid) +
           tsri_kv_arena_room(n) + 2 * tsri_kv_arena_room(n * sizeof(float)) +
           tsri_kv_arena_room(factors_of(tile) * sizeof(float));
}

/* ---- far values ---- */

/* Marks those of a vector and puts its mean in their place. */
static void take_out(float *x, size_t n, size_t step, size_t few,
                     uint8_t *mask, float *work)
{
    double sum = 0;

    if (2 * few >= n)
        return;
    tsri_kv_sparse_mark(x, n, step, few, mask, work);
    for (size_t i = 0; i < n; i++)
        sum += mask[i * step] ? 0 : (double)x[i * step];
    for (size_t i = 0; i < n; i++)
        if (mask[i * step])
            x[i * step] = (float)(sum / (double)(n - 2 * few));
}

/* A vector is a channel of keys, a token's head of values. */
static void take_out_all(const tsri_kv_tile *tile, float *x, uint8_t *mask,
                         float *work)
{
    const size_t channels = tsri_kv_channels(tile);
    const bool keys = tile->plane == 0;
    const size_t n = (size_t)(keys ? tile->tokens : tile->dim);
    const size_t vectors = tsri_kv_values(tile) / n;
    const size_t few = (n * (size_t)tsri_kv_option_at(tile->params, SPARSE) +
                        10000) / 20000;

    memset(mask, 0, tsri_kv_values(tile));
    for (size_t i = 0; i < vectors; i++) {
        const size_t at = keys ? i : i * n;
        take_out(x + at, n, keys ? channels : 1, few, mask + at, work);
    }
}

/* ---- the error's directions ---- */

/* A head's error, e[t * pitch + d], and what it is about to be:
 * the sum of p[k][t] q[k][d]. */
typedef struct low_rank {
    const float *e;
    size_t pitch;
    int tokens, dim, rank;
    float *p, *q;
} low_rank;

static void project(const low_rank *l)      /* p = e q */
{
    for (int k = 0; k < l->rank; k++)
        for (int t = 0; t < l->tokens; t++) {
            const float *e = l->e + (size_t)t * l->pitch;
            float sum = 0;
            for (int d = 0; d < l->dim; d++)
                sum += e[d] * l->q[k * l->dim + d];
            l->p[k * l->tokens + t] = sum;
        }
}

static void project_back(const low_rank *l) /* q = e' p */
{
    memset(l->q, 0, (size_t)(l->rank * l->dim) * sizeof *l->q);
    for (int k = 0; k < l->rank; k++)
        for (int t = 0; t < l->tokens; t++) {
            const float *e = l->e + (size_t)t * l->pitch;
            const float p = l->p[k * l->tokens + t];
            for (int d = 0; d < l->dim; d++)
                l->q[k * l->dim + d] += e[d] * p;
        }
}

static double product(const float *a, const float *b, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Gram and Schmidt; a vector that is nothing becomes 0. */
static void orthonormalise(float *v, int count, int n)
{
    for (int k = 0; k < count; k++) {
        float *a = v + k * n;
        const double before = product(a, a, n);
        for (int i = 0; i < k; i++) {
            const double c = product(a, v + i * n, n);
            for (int t = 0; t < n; t++)
                a[t] = (float)(a[t] - c * (double)v[i * n + t]);
        }
        const double size = product(a, a, n);
        const double scale = size > 1e-10 * before ? 1 / sqrt(size) : 0;
        for (int t = 0; t < n; t++)
            a[t] = (float)(a[t] * scale);
    }
}

/* Power iteration from fixed numbers. */
static void find_directions(const low_rank *l)
{
    uint32_t random = 1;

    for (int i = 0; i < l->rank * l->dim; i++) {
        random = random * 1664525 + 1013904223;
        l->q[i] = (float)(int32_t)random * 0x1p-31f;
    }
    for (int round = 0; round < ROUNDS; round++) {
        project(l);
        orthonormalise(l->p, l->rank, l->tokens);
        project_back(l);
    }
}

static low_rank low_rank_of(const tsri_kv_tile *tile, const float *error,
                            int head, float *factors)
{
    const int rank = rank_of(tile);

    return (low_rank){ error ? error + head * tile->dim : NULL,
                       tsri_kv_channels(tile), tile->tokens, tile->dim, rank,
                       factors, factors + rank * tile->tokens };
}

/* Writes the factors of all heads; false: one is too large for 16 bits. */
static bool put_directions(const tsri_kv_tile *tile, const float *error,
                           float *factors, uint8_t *out)
{
    const size_t n = factors_of(tile);
    bool finite = true;

    for (int h = 0; h < tile->heads; h++) {
        const low_rank l = low_rank_of(tile, error, h, factors);
        find_directions(&l);
        for (size_t i = 0; i < n; i++, out += 2) {
            const uint16_t half = tsri_kv_half(factors[i]);
            finite &= tsri_kv_half_finite(half);
            tsri_put16(out, half);
        }
    }
    return finite;
}

static void add_directions(const tsri_kv_tile *tile, const uint8_t *halves,
                           float *factors, float *x)
{
    const size_t n = factors_of(tile), channels = tsri_kv_channels(tile);

    for (int h = 0; h < tile->heads; h++) {
        const low_rank l = low_rank_of(tile, NULL, h, factors);
        for (size_t i = 0; i < n; i++, halves += 2)
            factors[i] = tsri_half_to_float(tsri_get16(halves));
        for (int t = 0; t < tile->tokens; t++)
            for (int k = 0; k < l.rank; k++) {
                const float p = l.p[k * l.tokens + t];
                float *to = x + (size_t)t * channels + h * tile->dim;
                for (int d = 0; d < tile->dim; d++)
                    to[d] += p * l.q[k * l.dim + d];
            }
    }
}

/* ---- the method ---- */

/* Grid, mask, two matrices (one: of what is to be restored) and factors. */
typedef struct parts {
    tsri_kv_grid grid;
    uint8_t *mask;
    float *near, *work, *factors;
} parts;

static parts take_parts(const tsri_kv_tile *tile, tsri_kv_arena *arena)
{
    const size_t n = tsri_kv_values(tile);
    parts p = { .grid = grid_of(tile) };

    tsri_kv_grid_take(&p.grid, arena);
    p.mask = tsri_kv_arena_take(arena, n);
    p.near = tsri_kv_arena_take(arena, n * sizeof *p.near);
    p.work = tsri_kv_arena_take(arena, n * sizeof *p.work);
    p.factors = tsri_kv_arena_take(arena, factors_of(tile) *
                                   sizeof *p.factors);
    return p;
}

static size_t encode(const tsri_kv_tile *tile, unsigned cpu, void *data,
                     uint8_t *out, void *memory)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile));
    const size_t n = tsri_kv_values(tile);
    const parts p = take_parts(tile, &arena);
    float *x = data;
    size_t size;

    memcpy(p.near, x, n * sizeof *x);
    take_out_all(tile, p.near, p.mask, p.work);
    size = tsri_kv_sparse_put(x, p.mask, n, out);
    if (!size || !tsri_kv_grid_quantise(&p.grid, p.near))
        return 0;
    tsri_kv_grid_restore(&p.grid, x);
    for (size_t i = 0; i < n; i++)
        p.near[i] = p.mask[i] ? 0 : p.near[i] - x[i];
    if (!put_directions(tile, p.near, p.factors, out + size))
        return 0;
    size += 2 * (size_t)tile->heads * factors_of(tile);
    return size + tsri_kv_grid_put(&p.grid,
                                   tsri_kv_option_at(tile->params, PLAIN), cpu,
                                   arena, out + size);
}

static tsr_error decode(const tsri_kv_tile *tile, unsigned cpu,
                        const uint8_t *data, size_t size, void *x, void *memory)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile));
    const size_t n = tsri_kv_values(tile);
    const parts p = take_parts(tile, &arena);
    tsri_kv_reader in = { data, data + size };
    const size_t factors = (size_t)tile->heads * factors_of(tile);
    const uint8_t *values, *halves;

    TSR_TRY(tsri_kv_sparse_get(&in, p.mask, n, &values));
    halves = tsri_kv_take(&in, 2 * factors);
    if (!halves || !tsri_kv_halves_finite(halves, factors))
        return TSR_E_CORRUPT;
    TSR_TRY(tsri_kv_grid_get(&p.grid, cpu, arena, &in));
    tsri_kv_grid_restore(&p.grid, x);
    add_directions(tile, halves, p.factors, x);
    tsri_kv_sparse_set(values, p.mask, n, x);
    return in.at == in.end ? TSR_OK : TSR_E_CORRUPT;
}

const tsri_kv_method tsri_kv_gear = {
    "gear", 4, false, false, 4096, settings, check, bound, scratch, encode,
    decode
};

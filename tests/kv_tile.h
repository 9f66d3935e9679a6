/* SPDX-License-Identifier: BSD-2-Clause */
/* Tiles of made-up caches. */
#ifndef TSR_TESTS_KV_TILE_H
#define TSR_TESTS_KV_TILE_H
#include "tests/check.h"
#include <math.h>
#include "codecs/kv/method_list.h"

static inline tsri_kv_tile kv_tile(int heads, int dim, int tokens)
{
    return (tsri_kv_tile){ .layers = 12, .layer = 3, .heads = heads,
                           .dim = dim, .tokens = tokens,
                           .total = (uint64_t)tokens, .dtype = TSR_KV_F16 };
}

/* Like a cache: a mean and a spread for each channel. */
static inline float *kv_draw(check_rng *r, const tsri_kv_tile *tile)
{
    const size_t n = tsri_kv_values(tile), c = tsri_kv_channels(tile);
    float *x = malloc(n * sizeof *x), *mean = malloc(2 * c * sizeof *mean);

    assert_true(x && mean);
    for (size_t i = 0; i < c; i++) {
        mean[i] = 2 * check_float(r) * check_float(r);
        mean[c + i] = expf(2 * check_float(r));
    }
    for (size_t i = 0; i < n; i++) {
        const float v = mean[i % c] + mean[c + i % c] *
                        (check_float(r) + check_float(r) + check_float(r));
        x[i] = tsri_half_to_float(tsri_kv_half(v));
    }
    free(mean);
    return x;
}

/* The largest error over the largest value. */
static inline double kv_worst(const float *x, const float *y, size_t n)
{
    double error = 0, most = 1e-30;

    for (size_t i = 0; i < n; i++) {
        error = fmax(error, fabs((double)x[i] - (double)y[i]));
        most = fmax(most, fabs((double)x[i]));
    }
    return error / most;
}
#endif

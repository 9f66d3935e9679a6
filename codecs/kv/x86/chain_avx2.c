/* SPDX-License-Identifier: BSD-2-Clause */
/* Four tokens by 24 outputs are twelve chains, enough to hide the latency of
 * two fused multiply-adds a clock; 128 rows of 24 columns of b are copied side
 * by side, 12 KiB, and stay in the first cache for all tokens. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>
#include "codecs/kv/chain.h"

enum { TOKENS = 4, LANES = 8, VECTORS = 3, OUTS = LANES * VECTORS, ROWS = 128 };

/* c[T][8 V] += a[T][k] * b[k][OUTS]; T and V are constants, and the loops over
 * them are unrolled for the sums to stay in registers. */
static inline __attribute__((always_inline)) void
tile(const float *a, size_t a_pitch, int k, const float *b, float *c,
     size_t c_pitch, const int T, const int V)
{
    __m256 sum[TOKENS][VECTORS];

#pragma GCC unroll 4
    for (int t = 0; t < T; t++)
#pragma GCC unroll 3
        for (int v = 0; v < V; v++)
            sum[t][v] = _mm256_loadu_ps(c + (size_t)t * c_pitch + v * LANES);
    for (int i = 0; i < k; i++, b += OUTS) {
        __m256 w[VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < V; v++)
            w[v] = _mm256_load_ps(b + v * LANES);
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) {
            const __m256 x = _mm256_broadcast_ss(a + (size_t)t * a_pitch + i);
#pragma GCC unroll 3
            for (int v = 0; v < V; v++)
                sum[t][v] = _mm256_fmadd_ps(x, w[v], sum[t][v]);
        }
    }
#pragma GCC unroll 4
    for (int t = 0; t < T; t++)
#pragma GCC unroll 3
        for (int v = 0; v < V; v++)
            _mm256_storeu_ps(c + (size_t)t * c_pitch + v * LANES, sum[t][v]);
}

static inline __attribute__((always_inline)) void
tile_tokens(const float *a, size_t a_pitch, int tokens, int k, const float *b,
            float *c, size_t c_pitch, const int V)
{
    switch (tokens) {
    case 1: tile(a, a_pitch, k, b, c, c_pitch, 1, V); break;
    case 2: tile(a, a_pitch, k, b, c, c_pitch, 2, V); break;
    case 3: tile(a, a_pitch, k, b, c, c_pitch, 3, V); break;
    default: tile(a, a_pitch, k, b, c, c_pitch, 4, V); break;
    }
}

/* A tile of `outs` outputs, any number up to OUTS. */
static void tile_edge(const float *a, size_t a_pitch, int tokens, int k,
                      const float *b, int outs, float *c, size_t c_pitch)
{
    const size_t bytes = (size_t)outs * sizeof *c;
    float part[TOKENS * OUTS] = { 0 };

    for (int t = 0; t < tokens; t++)
        memcpy(part + t * OUTS, c + (size_t)t * c_pitch, bytes);
    switch ((outs + LANES - 1) / LANES) {
    case 1: tile_tokens(a, a_pitch, tokens, k, b, part, OUTS, 1); break;
    case 2: tile_tokens(a, a_pitch, tokens, k, b, part, OUTS, 2); break;
    default: tile_tokens(a, a_pitch, tokens, k, b, part, OUTS, 3); break;
    }
    for (int t = 0; t < tokens; t++)
        memcpy(c + (size_t)t * c_pitch, part + t * OUTS, bytes);
}

/* `outs` columns of k rows of b, zeros behind them. */
static void pack(const float *b, size_t b_pitch, int k, int outs, float *out)
{
    if (outs < OUTS)
        memset(out, 0, (size_t)k * OUTS * sizeof *out);
    for (int i = 0; i < k; i++, b += b_pitch, out += OUTS)
        if (outs == OUTS)
            for (int v = 0; v < VECTORS; v++)
                _mm256_store_ps(out + v * LANES, _mm256_loadu_ps(b + v * LANES));
        else
            memcpy(out, b, (size_t)outs * sizeof *out);
}

static void panel(const float *a, size_t a_pitch, int tokens, int k,
                  const float *b, int outs, float *c, size_t c_pitch)
{
    for (int t = 0; t < tokens; t += TOKENS) {
        const int some = tokens - t < TOKENS ? tokens - t : TOKENS;
        const float *from = a + (size_t)t * a_pitch;
        float *to = c + (size_t)t * c_pitch;
        if (outs == OUTS)
            tile_tokens(from, a_pitch, some, k, b, to, c_pitch, VECTORS);
        else
            tile_edge(from, a_pitch, some, k, b, outs, to, c_pitch);
    }
}

static void chain(const float *a, size_t a_pitch, int tokens, int k,
                  const float *b, size_t b_pitch, int outs, float *c,
                  size_t c_pitch)
{
    _Alignas(32) float packed[ROWS * OUTS];

    for (int i = 0; i < k; i += ROWS) {
        const int rows = k - i < ROWS ? k - i : ROWS;
        for (int o = 0; o < outs; o += OUTS) {
            const int some = outs - o < OUTS ? outs - o : OUTS;
            pack(b + (size_t)i * b_pitch + o, b_pitch, rows, some, packed);
            panel(a + i, a_pitch, tokens, rows, packed, some, c + o, c_pitch);
        }
    }
}

static void centre(const float *mean, const float *scale, int n, float *x)
{
    int i = 0;

    for (; i + LANES <= n; i += LANES) {
        __m256 v = _mm256_loadu_ps(x + i);
        if (mean)
            v = _mm256_sub_ps(v, _mm256_loadu_ps(mean + i));
        if (scale)
            v = _mm256_mul_ps(v, _mm256_loadu_ps(scale + i));
        _mm256_storeu_ps(x + i, v);
    }
    for (; i < n; i++) {
        x[i] = mean ? x[i] - mean[i] : x[i];
        x[i] = scale ? x[i] * scale[i] : x[i];
    }
}

static void uncentre(const float *mean, const float *scale, int n, float *x)
{
    int i = 0;

    for (; i + LANES <= n; i += LANES) {
        __m256 v = _mm256_loadu_ps(x + i);
        if (scale)
            v = _mm256_mul_ps(v, _mm256_loadu_ps(scale + i));
        if (mean)
            v = _mm256_add_ps(v, _mm256_loadu_ps(mean + i));
        _mm256_storeu_ps(x + i, v);
    }
    for (; i < n; i++) {
        x[i] = scale ? x[i] * scale[i] : x[i];
        x[i] = mean ? x[i] + mean[i] : x[i];
    }
}

/* Sums in the lanes without bit h of their number, differences in the others:
 * twin is the vector with lanes h apart exchanged, sign -0 where that bit is
 * set. */
static inline __m256 turn(__m256 v, __m256 twin, __m256 sign)
{
    return _mm256_add_ps(_mm256_xor_ps(v, sign), twin);
}

static inline __m256 turn_lanes(__m256 v)
{
    const __m256 s1 = _mm256_setr_ps(0, -0.f, 0, -0.f, 0, -0.f, 0, -0.f);
    const __m256 s2 = _mm256_setr_ps(0, 0, -0.f, -0.f, 0, 0, -0.f, -0.f);
    const __m256 s4 = _mm256_setr_ps(0, 0, 0, 0, -0.f, -0.f, -0.f, -0.f);
    v = turn(v, _mm256_permute_ps(v, 0xb1), s1);
    v = turn(v, _mm256_permute_ps(v, 0x4e), s2);
    return turn(v, _mm256_permute2f128_ps(v, v, 1), s4);
}

static void hadamard(float *x, int dim, float factor)
{
    const __m256 scale = _mm256_set1_ps(factor);

    for (int i = 0; i < dim; i += LANES)
        _mm256_storeu_ps(x + i, turn_lanes(_mm256_loadu_ps(x + i)));
    for (int h = LANES; h < dim; h *= 2)
        for (int i = 0; i < dim; i += LANES)
            if (!(i & h)) {
                const __m256 p = _mm256_loadu_ps(x + i);
                const __m256 q = _mm256_loadu_ps(x + i + h);
                _mm256_storeu_ps(x + i, _mm256_add_ps(p, q));
                _mm256_storeu_ps(x + i + h, _mm256_sub_ps(p, q));
            }
    for (int i = 0; i < dim; i += LANES)
        _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), scale));
}

const tsri_kv_kernels *tsri_kv_kernels_avx2(void)
{
    static const tsri_kv_kernels kernels = { chain, centre, uncentre, hadamard };
    return &kernels;
}

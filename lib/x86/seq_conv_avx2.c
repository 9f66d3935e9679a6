/* SPDX-License-Identifier: BSD-2-Clause */
/* Six outputs in time by a panel of sixteen are twelve sums in registers; each
 * weight vector is loaded once for the six and each input is broadcast.  A sum
 * is one chain of fused multiply-adds in the order of plain C, whatever the
 * tile, so tiles may be cut as it suits. */
#include <immintrin.h>
#include <string.h>
#include "lib/x86/seq_avx2.h"

enum {
    P = TSRI_CONV1D_PANEL,
    ROWS = 6,               /* of a tile */
    BATCH = 16 * ROWS,      /* outputs that share a block of weights */
    BLOCK = 384,            /* inputs a block: 24 KiB of weights stay in L1 */
    NARROW_ROWS = 8
};

/* The inputs of an output: `runs` pieces of `run` floats, `hop` apart. */
typedef struct span {
    size_t runs, run, hop;
    size_t step;            /* floats from one output's to the next one's */
} span;

static span whole(const tsri_conv1d *l, size_t xrow)
{
    const size_t in = (size_t)l->in, taps = (size_t)l->taps;
    const size_t step = (size_t)l->stride * xrow;

    if (l->dilation == 1 && xrow == in)
        return (span){ 1, taps * in, 0, step };
    return (span){ taps, in, (size_t)l->dilation * xrow, step };
}

/* Loops over sums must be unrolled, or they live in memory. */
#define UNROLL _Pragma("GCC unroll 8")
#define INLINE static inline __attribute__((always_inline))

/* Adds to `rows` x `panels` vectors of 16 sums: from (rows of `from_row`) to
 * `to`, plus `add`, both rows of `to_row`, panels of P.  Weights of one panel
 * are `next` floats from those of another. */
INLINE void tile(const span *s, const float *x, const float *w, size_t next,
                 const float *from, size_t from_row, const float *add, float *to,
                 size_t to_row, const int rows, const int panels)
{
    __m256 sum[ROWS][8];

    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int i = 0; i < 2 * panels; i++)
            sum[r][i] = _mm256_loadu_ps(from + (size_t)r * from_row +
                                        (size_t)i * 8);
    for (size_t j = 0; j < s->runs; j++, x += s->hop)
        for (size_t k = 0; k < s->run; k++, w += P) {
            __m256 v[8];
            UNROLL
            for (int i = 0; i < 2 * panels; i++)
                v[i] = _mm256_loadu_ps(w + (size_t)(i / 2) * next + i % 2 * 8);
            UNROLL
            for (int r = 0; r < rows; r++) {
                const __m256 a = _mm256_broadcast_ss(x + (size_t)r * s->step + k);
                UNROLL
                for (int i = 0; i < 2 * panels; i++)
                    sum[r][i] = _mm256_fmadd_ps(v[i], a, sum[r][i]);
            }
        }
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int i = 0; i < 2 * panels; i++) {
            const size_t at = (size_t)r * to_row + (size_t)i * 8;
            if (add)
                sum[r][i] = _mm256_add_ps(sum[r][i], _mm256_loadu_ps(add + at));
            _mm256_storeu_ps(to + at, sum[r][i]);
        }
}

/* One panel by n outputs. */
static void tiles(const span *s, const float *x, const float *w, int n,
                  const float *from, size_t from_row, const float *add, float *to,
                  size_t to_row)
{
    for (int rows; n > 0; n -= rows) {
        rows = n >= 2 * ROWS || n == ROWS ? ROWS : n > ROWS ? (n + 1) / 2 : n;
        switch (rows) {
        case 6: tile(s, x, w, 0, from, from_row, add, to, to_row, 6, 1); break;
        case 5: tile(s, x, w, 0, from, from_row, add, to, to_row, 5, 1); break;
        case 4: tile(s, x, w, 0, from, from_row, add, to, to_row, 4, 1); break;
        case 3: tile(s, x, w, 0, from, from_row, add, to, to_row, 3, 1); break;
        case 2: tile(s, x, w, 0, from, from_row, add, to, to_row, 2, 1); break;
        default: tile(s, x, w, 0, from, from_row, add, to, to_row, 1, 1);
        }
        x += (size_t)rows * s->step;
        from += (size_t)rows * from_row;
        to += (size_t)rows * to_row;
        add = add ? add + (size_t)rows * to_row : NULL;
    }
}

/* One panel by n <= BATCH outputs, in blocks of weights; sums wait in `to`
 * between them. */
static void blocks(const span *s, const float *x, const float *w, int n,
                   const float *bias, const float *add, float *to, size_t to_row)
{
    const bool cut = s->run > BLOCK;
    const size_t pieces = cut ? (s->run + BLOCK - 1) / BLOCK : 1;
    const size_t group = cut ? 1 : BLOCK / s->run;
    float wait[BATCH * P];
    const float *from = bias;
    size_t from_row = 0;

    for (size_t j = 0; j < s->runs; j += group)
        for (size_t i = 0; i < pieces; i++) {
            const size_t k = i * s->run / pieces, end = (i + 1) * s->run / pieces;
            const size_t left = s->runs - j;
            const span part = { left < group ? left : group, end - k, s->hop,
                                s->step };
            const bool last = j + group >= s->runs && i + 1 == pieces;
            tiles(&part, x + j * s->hop + k, w, n, from, from_row,
                  last ? add : NULL, last ? to : wait, last ? to_row : P);
            w += part.runs * part.run * P;
            from = wait;
            from_row = P;
        }
}

/* The panel at the end, of fewer outputs. */
static void odd_panel(const span *s, const float *x, const float *w, int n,
                      const float *bias, int count, const float *add, float *y,
                      size_t yrow)
{
    float sum[BATCH][P];

    blocks(s, x, w, n, bias, NULL, sum[0], P);
    for (int t = 0; t < n; t++)
        for (int o = 0; o < count; o++) {
            const size_t at = (size_t)t * yrow + (size_t)o;
            y[at] = add ? sum[t][o] + add[at] : sum[t][o];
        }
}

static __m256i mask(size_t count)
{
    static const int32_t bits[16] = { -1, -1, -1, -1, -1, -1, -1, -1 };
    return _mm256_loadu_si256((const void *)(bits + 8 - count));
}

/* Adds the eight lanes of eight vectors. */
static __m256 across(const __m256 *v)
{
    const __m256 a = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]),
                                    _mm256_hadd_ps(v[2], v[3]));
    const __m256 b = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]),
                                    _mm256_hadd_ps(v[6], v[7]));
    return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20),
                         _mm256_permute2f128_ps(a, b, 0x31));
}

/* Eight outputs in time of one channel: lane i adds up the inputs i, i + 8, ..
 * of each run. */
static __m256 dots(const span *s, const float *const *x, const float *w)
{
    const size_t tail = s->run % 8, even = s->run - tail;
    __m256 sum[NARROW_ROWS] = { _mm256_setzero_ps() };

    for (size_t j = 0, at = 0; j < s->runs; j++, at += s->hop, w += s->run) {
        for (size_t k = 0; k < even; k += 8) {
            const __m256 v = _mm256_loadu_ps(w + k);
            UNROLL
            for (int r = 0; r < NARROW_ROWS; r++)
                sum[r] = _mm256_fmadd_ps(v, _mm256_loadu_ps(x[r] + at + k), sum[r]);
        }
        if (tail) {
            const __m256i m = mask(tail);
            const __m256 v = _mm256_maskload_ps(w + even, m);
            UNROLL
            for (int r = 0; r < NARROW_ROWS; r++)
                sum[r] = _mm256_fmadd_ps(
                    v, _mm256_maskload_ps(x[r] + at + even, m), sum[r]);
        }
    }
    return across(sum);
}

static void narrow(const tsri_conv1d *l, const float *x, size_t xrow, int n,
                   const float *add, float *y, size_t yrow)
{
    span s = whole(l, xrow);

    /* A lane's channels must not depend on the row. */
    if (l->in % 8)
        s = (span){ (size_t)l->taps, (size_t)l->in, (size_t)l->dilation * xrow,
                    s.step };
    for (int t = 0; t < n; t += NARROW_ROWS)
        for (int o = 0; o < l->out; o++) {
            const float *from[NARROW_ROWS];
            float sum[NARROW_ROWS];
            for (int r = 0; r < NARROW_ROWS; r++) /* beyond n: the last again */
                from[r] = x + (size_t)tsri_min(t + r, n - 1) * s.step;
            _mm256_storeu_ps(sum, _mm256_add_ps(
                _mm256_set1_ps(l->bias[o]),
                dots(&s, from, l->packed + (size_t)o * (size_t)l->taps *
                                           (size_t)l->in)));
            for (int r = 0; r < tsri_min(NARROW_ROWS, n - t); r++) {
                const size_t at = (size_t)(t + r) * yrow + (size_t)o;
                y[at] = add ? sum[r] + add[at] : sum[r];
            }
        }
}

/* n <= 3: weights are read once, four or two panels at a time, for as many
 * sums as hide the latency of an addition. */
static int few(const span *s, const float *x, const float *w, size_t next, int n,
               int panels, const float *bias, const float *add, float *y,
               size_t yrow)
{
    if (n == 1 && panels >= 4) {
        tile(s, x, w, next, bias, 0, add, y, yrow, 1, 4);
        return 4;
    }
    if (n == 2 && panels >= 2) {
        tile(s, x, w, next, bias, 0, add, y, yrow, 2, 2);
        return 2;
    }
    if (n == 3 && panels >= 2) {
        tile(s, x, w, next, bias, 0, add, y, yrow, 3, 2);
        return 2;
    }
    return 0;
}

void tsri_conv1d_avx2(const tsri_conv1d *l, const float *x, size_t xrow, int n,
                      int first, int last, const float *add, float *y, size_t yrow)
{
    const span s = whole(l, xrow);
    const size_t next = (size_t)l->taps * (size_t)l->in * P;
    const int full = tsri_min(last, l->out / P);

    if (tsri_conv1d_narrow(l)) {
        if (first < last)
            narrow(l, x, xrow, n, add, y, yrow);
        return;
    }
    for (int t = 0, rows; t < n; t += rows) {
        const float *from = x + (size_t)t * s.step;
        rows = tsri_min(n - t, BATCH);
        for (int p = first, did; p < last; p += did) {
            const size_t at = (size_t)t * yrow + (size_t)p * P;
            const float *w = l->packed + (size_t)p * next, *bias = l->bias + p * P;
            const float *plus = add ? add + at : NULL;
            did = few(&s, from, w, next, rows, full - p, bias, plus, y + at, yrow);
            if (did)
                continue;
            did = 1;
            if (p < full)
                blocks(&s, from, w, rows, bias, plus, y + at, yrow);
            else
                odd_panel(&s, from, w, rows, bias, l->out - p * P, plus, y + at,
                          yrow);
        }
    }
}

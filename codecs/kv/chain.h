/* SPDX-License-Identifier: BSD-2-Clause */
/* The product of matrices that all transforms of the KV codec are, with the
 * order of its additions fixed. */
#ifndef TSR_CODECS_KV_CHAIN_H
#define TSR_CODECS_KV_CHAIN_H
#include <stddef.h>
#include <stdint.h>

/**
 * c[t][o] = fma(a[t][k - 1], b[k - 1][o], ... fma(a[t][0], b[0][o], c[t][o])):
 * every output is a chain of fused multiply-adds in rising order, so all
 * machines get the same and products may be cut along k.
 *
 * t < tokens, o < outs, k >= 0; pitches in floats; c overlaps neither a nor b.
 * 2 tokens k outs operations.
 */
void tsri_kv_chain(unsigned cpu, const float *a, size_t a_pitch, int tokens,
                   int k, const float *b, size_t b_pitch, int outs, float *c,
                   size_t c_pitch);

/** For x[0..n): x = (x - mean) * scale; NULL: 0, 1. */
void tsri_kv_centre(unsigned cpu, const float *mean, const float *scale, int n,
                    float *x);
/** The reverse: x = x * scale + mean, two roundings. */
void tsri_kv_uncentre(unsigned cpu, const float *mean, const float *scale,
                      int n, float *x);

/** Walsh and Hadamard's transform of x[0..dim), dim a power of two, times
 *  1 / sqrt(dim): for h = 1, 2, 4 ... of each pair x[i], x[i + h] the sum and
 *  the difference, then the products.  Its own inverse but for rounding. */
void tsri_kv_hadamard(unsigned cpu, float *x, int dim);

/** Kernels of the processor, NULL where this build has none. */
typedef struct tsri_kv_kernels {
    void (*chain)(const float *a, size_t a_pitch, int tokens, int k,
                  const float *b, size_t b_pitch, int outs, float *c,
                  size_t c_pitch);
    void (*centre)(const float *mean, const float *scale, int n, float *x);
    void (*uncentre)(const float *mean, const float *scale, int n, float *x);
    void (*hadamard)(float *x, int dim, float factor);  /* dim >= 8 */
} tsri_kv_kernels;
const tsri_kv_kernels *tsri_kv_kernels_avx2(void);
#endif

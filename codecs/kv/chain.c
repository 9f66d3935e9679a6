/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <tessera/context.h>
#include "codecs/kv/chain.h"

static const tsri_kv_kernels *fast(unsigned cpu)
{
    return cpu & TSR_CPU_AVX2 ? tsri_kv_kernels_avx2() : NULL;
}

void tsri_kv_chain(unsigned cpu, const float *a, size_t a_pitch, int tokens,
                   int k, const float *b, size_t b_pitch, int outs, float *c,
                   size_t c_pitch)
{
    const tsri_kv_kernels *kernels = fast(cpu);

    if (kernels) {
        kernels->chain(a, a_pitch, tokens, k, b, b_pitch, outs, c, c_pitch);
        return;
    }
    for (int t = 0; t < tokens; t++, a += a_pitch, c += c_pitch)
        for (int i = 0; i < k; i++) {
            const float *row = b + (size_t)i * b_pitch;
            for (int o = 0; o < outs; o++)
                c[o] = fmaf(a[i], row[o], c[o]);
        }
}

void tsri_kv_centre(unsigned cpu, const float *mean, const float *scale, int n,
                    float *x)
{
    const tsri_kv_kernels *kernels = fast(cpu);

    if (kernels) {
        kernels->centre(mean, scale, n, x);
        return;
    }
    for (int i = 0; mean && i < n; i++)
        x[i] -= mean[i];
    for (int i = 0; scale && i < n; i++)
        x[i] *= scale[i];
}

void tsri_kv_uncentre(unsigned cpu, const float *mean, const float *scale,
                      int n, float *x)
{
    const tsri_kv_kernels *kernels = fast(cpu);

    if (kernels) {
        kernels->uncentre(mean, scale, n, x);
        return;
    }
    for (int i = 0; scale && i < n; i++)
        x[i] *= scale[i];
    for (int i = 0; mean && i < n; i++)
        x[i] += mean[i];
}

void tsri_kv_hadamard(unsigned cpu, float *x, int dim)
{
    const tsri_kv_kernels *kernels = fast(cpu);
    const float factor = (float)(1 / sqrt((double)dim));

    if (kernels && dim >= 8) {
        kernels->hadamard(x, dim, factor);
        return;
    }
    for (int h = 1; h < dim; h *= 2)
        for (int i = 0; i < dim; i++)
            if (!(i & h)) {
                const float p = x[i], q = x[i + h];
                x[i] = p + q;
                x[i + h] = p - q;
            }
    for (int i = 0; i < dim; i++)
        x[i] *= factor;
}

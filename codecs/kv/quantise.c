/* SPDX-License-Identifier: BSD-2-Clause */
/* The uniform quantiser of rows and what is made of its numbers. */
#include <math.h>
#include <stdlib.h>
#include "codecs/kv/move_impl.h"

enum { SAMPLES = 32, MOST = 32767 };

bool tsri_kv_quantise_plain(const float *x, const float *m, float inverse,
                            size_t n, int16_t *q, uint32_t *sum)
{
    bool good = true;

    for (size_t i = 0; i < n; i++) {
        float v = (x[i] - (m ? m[i] : 0)) * inverse;
        good &= fabsf(v) < MOST + 0.5f;     /* false of a NaN, too */
        v = v > -MOST ? v : -MOST;
        v = v < MOST ? v : MOST;
        q[i] = (int16_t)lrintf(v);
        if (sum)
            sum[i] += (uint32_t)abs(q[i]);
    }
    return good;
}

void tsri_kv_dequantise_plain(const int16_t *q, const float *m, float step,
                              size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)q[i] * step + (m ? m[i] : 0);
}

void tsri_kv_coarsen_plain(int16_t *q, size_t n, int8_t *r)
{
    for (size_t i = 0; i < n; i++) {
        const int fine = q[i];
        const int coarse = (fine + (fine > 0 ? 1 : -1)) / 3;
        q[i] = (int16_t)coarse;
        r[i] = (int8_t)(fine - 3 * coarse);
    }
}

void tsri_kv_add_magnitudes_plain(const int16_t *q, size_t n, int boost,
                                  uint32_t *sum)
{
    for (size_t i = 0; i < n; i++)
        sum[i] += (uint32_t)(q[i] < 0 ? -q[i] : q[i]) >> boost;
}

/* The 16th smallest of 32. */
static float lower_median(const float *x, size_t pitch, size_t count)
{
    float v[SAMPLES];

    for (size_t i = 0; i < SAMPLES; i++) {
        const float one = x[i * count / SAMPLES * pitch];
        size_t k = i;
        for (; k && v[k - 1] > one; k--)
            v[k] = v[k - 1];
        v[k] = one;
    }
    return v[SAMPLES / 2 - 1];
}

void tsri_kv_centres_plain(const float *x, size_t pitch, size_t count, size_t n,
                           float inverse, int16_t *centre)
{
    for (size_t i = 0; i < n; i++) {
        float v = lower_median(x + i, pitch, count) * inverse;
        v = v > -MOST - 1 ? v : -MOST - 1;
        v = v < MOST ? v : MOST;
        centre[i] = (int16_t)lrintf(v);
    }
}

static const tsri_kv_moves *variant(unsigned cpu)
{
    return cpu & TSR_CPU_AVX2 ? tsri_kv_moves_avx2() : NULL;
}

bool tsri_kv_quantise(unsigned cpu, const float *x, const float *m,
                      float inverse, size_t n, int16_t *q, uint32_t *sum)
{
    const tsri_kv_moves *fast = variant(cpu);
    return fast ? fast->quantise(x, m, inverse, n, q, sum)
                : tsri_kv_quantise_plain(x, m, inverse, n, q, sum);
}

void tsri_kv_dequantise(unsigned cpu, const int16_t *q, const float *m,
                        float step, size_t n, float *x)
{
    const tsri_kv_moves *fast = variant(cpu);
    if (fast)
        fast->dequantise(q, m, step, n, x);
    else
        tsri_kv_dequantise_plain(q, m, step, n, x);
}

void tsri_kv_coarsen(unsigned cpu, int16_t *q, size_t n, int8_t *r)
{
    const tsri_kv_moves *fast = variant(cpu);
    if (fast)
        fast->coarsen(q, n, r);
    else
        tsri_kv_coarsen_plain(q, n, r);
}

void tsri_kv_add_magnitudes(unsigned cpu, const int16_t *q, size_t n, int boost,
                            uint32_t *sum)
{
    const tsri_kv_moves *fast = variant(cpu);
    if (fast)
        fast->add_magnitudes(q, n, boost, sum);
    else
        tsri_kv_add_magnitudes_plain(q, n, boost, sum);
}

void tsri_kv_centres(unsigned cpu, const float *x, size_t pitch, size_t count,
                     size_t n, float step, int16_t *centre)
{
    const tsri_kv_moves *fast = variant(cpu);
    const float inverse = 4 / step;

    if (!count)
        memset(centre, 0, n * sizeof *centre);
    else if (fast)
        fast->centres(x, pitch, count, n, inverse, centre);
    else
        tsri_kv_centres_plain(x, pitch, count, n, inverse, centre);
}

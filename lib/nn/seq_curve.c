/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "lib/nn/seq_kernels.h"

/* The product in double: a phase of many turns keeps its digits. */
static float snake(float x, float a)
{
    const double s = sin((double)a * x);
    return (float)(x + s * s / ((double)a + 1e-9));
}

void tsri_curve_plain(tsri_curve curve, float slope, const float *alpha,
                      const float *x, size_t n, int c, float *y)
{
    const size_t all = n * (size_t)c;

    switch (curve) {
    case TSRI_CURVE_NONE:
        if (y != x)
            memcpy(y, x, all * sizeof *y);
        break;
    case TSRI_CURVE_ELU:
        for (size_t i = 0; i < all; i++)
            y[i] = x[i] >= 0 ? x[i] : expm1f(x[i]);
        break;
    case TSRI_CURVE_LEAKY:
        for (size_t i = 0; i < all; i++)
            y[i] = x[i] >= 0 ? x[i] : slope * x[i];
        break;
    case TSRI_CURVE_SNAKE:
        for (size_t i = 0; i < all; i++)
            y[i] = snake(x[i], alpha[i % (size_t)c]);
        break;
    case TSRI_CURVE_TANH:
        for (size_t i = 0; i < all; i++)
            y[i] = tanhf(x[i]);
        break;
    }
}

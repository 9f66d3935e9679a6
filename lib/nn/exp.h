/* SPDX-License-Identifier: BSD-2-Clause */
/* The exponential that compilers vectorise. */
#ifndef TSR_LIB_NN_EXP_H
#define TSR_LIB_NN_EXP_H
#include <stdint.h>

/** e^x within 2 ulp for |x| <= 87, clamped beyond; NaN stays NaN.  Cody-Waite
 * reduction and the polynomial of Cephes' expf. */
static inline float tsri_exp(float x)
{
    const float shift = 12582912.0f;    /* 1.5 * 2^23: rounds to an integer */
    union { float f; uint32_t u; } n, scale;
    x = x > 87.0f ? 87.0f : x;
    x = x < -87.0f ? -87.0f : x;
    n.f = x * 1.44269504f + shift;
    scale.u = (n.u << 23) + 0x3f800000u;    /* the sum's low bits are the n */
    n.f -= shift;
    x = x - n.f * 0.693359375f;
    x = x - n.f * -2.12194440e-4f;
    const float p = ((((1.9875691500e-4f * x + 1.3981999507e-3f) * x +
                       8.3334519073e-3f) * x + 4.1665795894e-2f) * x +
                     1.6666665459e-1f) * x + 5.0000001201e-1f;
    return (p * x * x + x + 1.0f) * scale.f;
}
#endif

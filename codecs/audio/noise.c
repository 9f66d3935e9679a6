/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include "codecs/audio/noise.h"

void tsri_philox(const uint32_t counter[4], const uint32_t key[2],
                 uint32_t out[4])
{
    uint32_t c[4] = { counter[0], counter[1], counter[2], counter[3] };
    uint32_t k[2] = { key[0], key[1] };

    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)c[0] * 0xd2511f53u;
        const uint64_t b = (uint64_t)c[2] * 0xcd9e8d57u;
        c[0] = (uint32_t)(b >> 32) ^ c[1] ^ k[0];
        c[1] = (uint32_t)b;
        c[2] = (uint32_t)(a >> 32) ^ c[3] ^ k[1];
        c[3] = (uint32_t)a;
        k[0] += 0x9e3779b9u;
        k[1] += 0xbb67ae85u;
    }
    for (int i = 0; i < 4; i++)
        out[i] = c[i];
}

/* Polynomial of a degree, its highest coefficient first. */
static double polynomial(const double *c, int degree, double x)
{
    double sum = c[0];

    for (int i = 1; i <= degree; i++)
        sum = sum * x + c[i];
    return sum;
}

/* Of 0 < x < 1, by the series of the inverse hyperbolic tangent: the C library's
 * may differ from one machine to the next. */
static double logarithm(double x)
{
    int exponent;
    double m = frexp(x, &exponent), sum = 0;

    if (m < 0.70710678118654752) {
        m *= 2;
        exponent--;
    }
    const double s = (m - 1) / (m + 1), square = s * s;
    for (int k = 23; k >= 1; k -= 2)
        sum = sum * square + 1.0 / k;
    return 2 * s * sum + exponent * 0.69314718055994531;
}

/* Of 2^-33 .. 1 - 2^-33, so that the algorithm's last case never comes. */
static double quantile(double p)
{
    static const double middle[2][8] = {
        { 2509.0809287301226727, 33430.575583588128105, 67265.770927008700853,
          45921.953931549871457, 13731.693765509461125, 1971.5909503065514427,
          133.14166789178437745, 3.3871328727963666080 },
        { 5226.4952788528545610, 28729.085735721942674, 39307.895800092710610,
          21213.794301586595867, 5394.1960214247511077, 687.18700749205790830,
          42.313330701600911252, 1.0 } };
    static const double tail[2][8] = {
        { 7.7454501427834140764e-4, 0.0227238449892691845833,
          0.241780725177450611770, 1.27045825245236838258,
          3.64784832476320460504, 5.76949722146069140550,
          4.63033784615654529590, 1.42343711074968357734 },
        { 1.05075007164441684324e-9, 5.4759380849953449460e-4,
          0.0151986665636164571966, 0.148103976427480074590,
          0.689767334985100004550, 1.67638483018380384940,
          2.05319162663775882187, 1.0 } };
    const double q = p - 0.5;

    if (fabs(q) <= 0.425) {
        const double r = 0.180625 - q * q;
        return q * polynomial(middle[0], 7, r) / polynomial(middle[1], 7, r);
    }
    const double r = sqrt(-logarithm(q < 0 ? p : 1 - p)) - 1.6;
    const double x = polynomial(tail[0], 7, r) / polynomial(tail[1], 7, r);
    return q < 0 ? -x : x;
}

void tsri_noise(uint32_t seed, uint64_t window, uint32_t step, size_t n, float *x)
{
    const uint32_t key[2] = { seed, 0 };
    uint32_t v[4];

    for (size_t i = 0; i < n; i++) {
        const uint32_t counter[4] = { (uint32_t)(i / 4), step, (uint32_t)window,
                                      (uint32_t)(window >> 32) };
        if (i % 4 == 0)
            tsri_philox(counter, key, v);
        x[i] = (float)quantile(((double)v[i % 4] + 0.5) * 0x1p-32);
    }
}

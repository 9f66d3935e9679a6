/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_METRICS_H
#define TOOLS_METRICS_H
#include <tessera/image.h>

enum { METRICS_SCALES = 5 };

/** How far two pictures of the same size are apart.  Samples are taken on a
 *  scale of 0..255 whatever their bits; grey counts as equal R, G, B. */
typedef struct metrics {
    double mse;      /**< mean squared error over R, G, B */
    double psnr;     /**< 10 log10(255^2 / mse), dB; infinite if equal */
    double ms_ssim;  /**< 0..1, mean of the three channels */
    double ms_ssim_db; /**< -10 log10(1 - ms_ssim); infinite if equal */
    int scales;      /**< of ms_ssim: 5, fewer for a short side under 176,
                          0 under 11 (ms_ssim is not defined then) */
    int alpha;       /**< 1 both have alpha, or neither has; 0 one has */
    int alpha_equal; /**< the alpha planes agree; 1 if neither has one */
} metrics;

/**
 * Compares two pictures.
 *
 * MS-SSIM as in Wang, Simoncelli and Bovik, "Multi-scale structural
 * similarity for image quality assessment", Asilomar 2003: 11-tap Gaussian of
 * sigma 1.5, places where the window fits, 2x2 means between scales, the
 * paper's five exponents.  With fewer scales the exponents are multiplied so
 * that their sum stays the same.  A negative mean of a scale counts as 0.
 *
 * Returns TSR_OK; TSR_E_ARG different sizes; TSR_E_NOMEM.
 * Memory: 16 bytes per pixel.
 */
tsr_error metrics_compare(const tsr_image *a, const tsr_image *b, metrics *m);
#endif

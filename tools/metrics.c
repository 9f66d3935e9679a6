/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tools/metrics.h"

enum { TAPS = 11, FIELDS = 5 };

static const double sigma = 1.5;
static const double c1 = 0.01 * 255 * 0.01 * 255;
static const double c2 = 0.03 * 255 * 0.03 * 255;
static const double exponents[METRICS_SCALES] = { 0.0448, 0.2856, 0.3001,
                                                  0.2363, 0.1333 };

static int has_alpha(const tsr_image *image)
{
    return image->channels == 2 || image->channels == 4;
}

/* Sample (x, y) of a channel (0..2 R, G, B; 3 alpha) on a scale of 0..255. */
static double sample(const tsr_image *image, int x, int y, int channel)
{
    const uint8_t *row = (const uint8_t *)image->data +
                         (size_t)y * image->stride;
    const int colours = image->channels < 3 ? 1 : 3;
    const int c = channel == 3 ? colours : channel < colours ? channel : 0;
    const size_t i = (size_t)x * (size_t)image->channels + (size_t)c;
    if (image->bits == 16)
        return ((const uint16_t *)(const void *)row)[i] / 257.0;
    return row[i];
}

static void fill_plane(double *plane, const tsr_image *image, int channel)
{
    for (int y = 0; y < image->height; y++)
        for (int x = 0; x < image->width; x++)
            *plane++ = sample(image, x, y, channel);
}

static double squared_error(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

static int same_alpha(const tsr_image *a, const tsr_image *b)
{
    if (!has_alpha(a) && !has_alpha(b))
        return 1;
    if (has_alpha(a) != has_alpha(b))
        return 0;
    for (int y = 0; y < a->height; y++)
        for (int x = 0; x < a->width; x++)
            if (sample(a, x, y, 3) != sample(b, x, y, 3))
                return 0;
    return 1;
}

static void gaussian(double taps[TAPS])
{
    double sum = 0;
    for (int i = 0; i < TAPS; i++) {
        const double d = i - TAPS / 2;
        taps[i] = exp(-d * d / (2 * sigma * sigma));
        sum += taps[i];
    }
    for (int i = 0; i < TAPS; i++)
        taps[i] /= sum;
}

/* One row of the five filtered fields a, b, aa, bb, ab, field after field. */
static void filter_across(const double *a, const double *b, int width,
                          const double taps[TAPS], double *out)
{
    const int n = width - TAPS + 1;
    for (int x = 0; x < n; x++) {
        double s[FIELDS] = { 0 };
        for (int t = 0; t < TAPS; t++) {
            const double p = a[x + t], q = b[x + t], w = taps[t];
            s[0] += w * p;
            s[1] += w * q;
            s[2] += w * p * p;
            s[3] += w * q * q;
            s[4] += w * p * q;
        }
        for (int f = 0; f < FIELDS; f++)
            out[f * n + x] = s[f];
    }
}

/* Adds to sum[0] the ssim and to sum[1] the contrast-structure term of one row
 * of windows, whose filtered rows lie in a ring of TAPS rows. */
static void add_row(const double *ring, int first, int n,
                    const double taps[TAPS], double sum[2])
{
    for (int x = 0; x < n; x++) {
        double s[FIELDS] = { 0 };
        for (int t = 0; t < TAPS; t++) {
            const double *row = ring + (size_t)((first + t) % TAPS) *
                                           (size_t)(FIELDS * n);
            for (int f = 0; f < FIELDS; f++)
                s[f] += taps[t] * row[f * n + x];
        }
        const double aa = s[2] - s[0] * s[0], bb = s[3] - s[1] * s[1];
        const double ab = s[4] - s[0] * s[1];
        const double cs = (2 * ab + c2) / (aa + bb + c2);
        sum[0] += cs * (2 * s[0] * s[1] + c1) /
                  (s[0] * s[0] + s[1] * s[1] + c1);
        sum[1] += cs;
    }
}

/* Means over all windows: mean[0] ssim, mean[1] contrast-structure. */
static int one_scale(const double *a, const double *b, int width, int height,
                     double mean[2])
{
    const int n = width - TAPS + 1;
    const size_t row = (size_t)FIELDS * (size_t)n;
    double taps[TAPS];
    double *ring = malloc(TAPS * row * sizeof *ring);

    if (!ring)
        return -1;
    gaussian(taps);
    mean[0] = mean[1] = 0;
    for (int y = 0; y < height; y++) {
        const size_t at = (size_t)y * (size_t)width;
        filter_across(a + at, b + at, width, taps,
                      ring + (size_t)(y % TAPS) * row);
        if (y >= TAPS - 1)
            add_row(ring, (y + 1) % TAPS, n, taps, mean);
    }
    free(ring);
    mean[0] /= (double)n * (height - TAPS + 1);
    mean[1] /= (double)n * (height - TAPS + 1);
    return 0;
}

/* 2x2 means, in place; an odd last row or column is left out. */
static void halve(double *plane, int width, int height)
{
    double *out = plane;
    for (int y = 0; y + 1 < height; y += 2) {
        const double *row = plane + (size_t)y * (size_t)width;
        for (int x = 0; x + 1 < width; x += 2)
            *out++ = (row[x] + row[x + 1] + row[x + width] +
                      row[x + width + 1]) / 4;
    }
}

static int count_scales(int width, int height)
{
    int side = width < height ? width : height;
    int n = 0;
    for (; n < METRICS_SCALES && side >= TAPS; n++)
        side /= 2;
    return n;
}

/* What the exponents of the first `scales` scales are multiplied by, so that
 * their sum is that of all five (which is 1.0001, as published). */
static double exponent_gain(int scales)
{
    double all = 0, used = 0;
    for (int s = 0; s < METRICS_SCALES; s++) {
        all += exponents[s];
        used += s < scales ? exponents[s] : 0;
    }
    return scales ? all / used : 1;
}

/* Both planes are used up. */
static int plane_ms_ssim(double *a, double *b, int width, int height,
                         int scales, double *result)
{
    const double gain = exponent_gain(scales);
    double mean[2];

    *result = 1;
    for (int s = 0; s < scales; s++) {
        if (one_scale(a, b, width, height, mean))
            return -1;
        const double term = mean[s < scales - 1];
        *result *= pow(term > 0 ? term : 0, exponents[s] * gain);
        halve(a, width, height);
        halve(b, width, height);
        width /= 2;
        height /= 2;
    }
    return 0;
}

tsr_error metrics_compare(const tsr_image *a, const tsr_image *b, metrics *m)
{
    const size_t pixels = (size_t)a->width * (size_t)a->height;
    double *planes, value;
    int bad = 0;

    *m = (metrics){ 0 };
    if (a->width != b->width || a->height != b->height)
        return TSR_E_ARG;
    planes = pixels > SIZE_MAX / (2 * sizeof *planes)
        ? NULL : malloc(2 * pixels * sizeof *planes);
    if (!planes)
        return TSR_E_NOMEM;
    m->scales = count_scales(a->width, a->height);
    for (int c = 0; c < 3 && !bad; c++) {
        fill_plane(planes, a, c);
        fill_plane(planes + pixels, b, c);
        m->mse += squared_error(planes, planes + pixels, pixels) /
                  (3.0 * (double)pixels);
        bad = plane_ms_ssim(planes, planes + pixels, a->width, a->height,
                            m->scales, &value);
        m->ms_ssim += value / 3;
    }
    free(planes);
    /* Equal pictures are 1 exactly, not 1 less the rounding of the windows. */
    if (m->mse == 0 && m->scales)
        m->ms_ssim = 1;
    m->psnr = 10 * log10(255.0 * 255.0 / m->mse);
    m->ms_ssim_db = -10 * log10(1 - m->ms_ssim);
    m->alpha = has_alpha(a) == has_alpha(b);
    m->alpha_equal = same_alpha(a, b);
    return bad ? TSR_E_NOMEM : TSR_OK;
}

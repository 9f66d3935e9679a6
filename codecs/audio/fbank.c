/* SPDX-License-Identifier: BSD-2-Clause */
#include <complex.h>
#include <math.h>
#include "codecs/audio/fbank.h"

static const double pi = 3.14159265358979323846, emphasis = 0.97,
                    lowest = 20, least = 0x1p-23;

typedef double complex number;

/** Band b is the sum over i < count of weight[at + i] * power[first + i]. */
typedef struct band { int first, count, at; } band;

struct tsri_fbank {
    tsr_context *ctx;
    int width, shift, bands;
    int points;             /* of the transform */
    double *window;         /* [width] */
    number *turn;           /* [points / 2]: exp(-2 pi i k / points) */
    band *band;
    double *weight;
};

static double mel(double hertz)
{
    return 1127 * log(1 + hertz / 700);
}

/* Lays out the triangles; weight NULL: only counts.  Returns the weights. */
static int lay_out(tsri_fbank *f, int rate, double *weight)
{
    const double low = mel(lowest), step = (mel(rate / 2.0) - low) /
                                           (f->bands + 1);
    int at = 0;

    for (int b = 0; b < f->bands; b++) {
        band *to = &f->band[b];
        *to = (band){ .at = at };
        for (int k = 0; k < f->points / 2; k++) {
            const double place = (mel((double)k * rate / f->points) - low) /
                                 step - b;
            const double v = fmin(place, 2 - place);
            if (!(v > 0))
                continue;
            if (!to->count)
                to->first = k;
            if (weight)
                weight[at] = v;
            to->count++;
            at++;
        }
    }
    return at;
}

static tsr_error make(tsri_fbank *f, int rate)
{
    f->window = tsri_alloc(f->ctx, (size_t)f->width, sizeof *f->window);
    f->turn = tsri_alloc(f->ctx, (size_t)f->points, sizeof *f->turn);
    f->band = tsri_alloc(f->ctx, (size_t)f->bands, sizeof *f->band);
    if (!f->window || !f->turn || !f->band)
        return tsri_nomem(f->ctx);
    for (int t = 0; t < f->width; t++)
        f->window[t] = 0.5 - 0.5 * cos(2 * pi * t / (f->width - 1));
    for (int k = 0; k < f->points / 2; k++)
        f->turn[k] = cos(2 * pi * k / f->points) -
                     sin(2 * pi * k / f->points) * I;
    const int weights = lay_out(f, rate, NULL);
    f->weight = tsri_alloc(f->ctx, (size_t)weights + 1, sizeof *f->weight);
    if (!f->weight)
        return tsri_nomem(f->ctx);
    lay_out(f, rate, f->weight);
    return TSR_OK;
}

tsr_error tsri_fbank_open(tsri_fbank **fbank, tsr_context *ctx, int rate,
                          int width, int shift, int bands)
{
    *fbank = NULL;
    if (rate < 1000 || rate > 384000 || width < 2 ||
        width > TSRI_FBANK_WIDTH || shift < 1 || bands < 1 ||
        bands > TSRI_FBANK_BANDS)
        return tsri_fail(ctx, TSR_E_ARG, "%d bands of %d samples at %d Hz are "
                         "not possible", bands, width, rate);
    tsri_fbank *f = tsri_calloc(ctx, 1, sizeof *f);
    if (!f)
        return tsri_nomem(ctx);
    *f = (tsri_fbank){ .ctx = ctx, .width = width, .shift = shift,
                       .bands = bands, .points = 2 };
    while (f->points < width)
        f->points *= 2;
    const tsr_error error = make(f, rate);
    if (error)
        tsri_fbank_close(&f);
    *fbank = f;
    return error;
}

void tsri_fbank_close(tsri_fbank **fbank)
{
    tsri_fbank *f = fbank ? *fbank : NULL;
    if (!f)
        return;
    tsri_free(f->ctx, f->window);
    tsri_free(f->ctx, f->turn);
    tsri_free(f->ctx, f->band);
    tsri_free(f->ctx, f->weight);
    tsri_free(f->ctx, f);
    *fbank = NULL;
}

uint64_t tsri_fbank_frames(const tsri_fbank *f, uint64_t n)
{
    const uint64_t width = (uint64_t)f->width;
    return n < width ? 0 : (n - width) / (uint64_t)f->shift + 1;
}

/* The Fourier transform in place, n a power of two: decimation in frequency,
 * then the order of reversed bits is undone. */
static void transform(const tsri_fbank *f, number *z)
{
    const int n = f->points;

    for (int half = n / 2; half; half /= 2)
        for (int at = 0; at < n; at += 2 * half)
            for (int k = 0; k < half; k++) {
                const number a = z[at + k], b = z[at + half + k];
                const double re = creal(a) - creal(b), im = cimag(a) - cimag(b);
                const number w = f->turn[k * (n / 2 / half)];
                z[at + k] = a + b;
                z[at + half + k] = re * creal(w) - im * cimag(w) +
                                   (re * cimag(w) + im * creal(w)) * I;
            }
    for (int i = 0, j = 0; i < n; i++) {
        if (i < j) {
            const number t = z[i];
            z[i] = z[j];
            z[j] = t;
        }
        int bit = n / 2;
        for (; j & bit; bit /= 2)
            j ^= bit;
        j |= bit;
    }
}

/* A frame, ready for the transform. */
static void prepare(const tsri_fbank *f, const float *x, number *z)
{
    double mean = 0;

    for (int t = 0; t < f->width; t++)
        mean += (double)x[t];
    mean /= f->width;
    for (int t = 0; t < f->points; t++)
        z[t] = t < f->width ? (double)x[t] - mean : 0;
    for (int t = f->width - 1; t >= 0; t--)
        z[t] = (creal(z[t]) - emphasis * creal(z[t ? t - 1 : 0])) *
               f->window[t];
}

void tsri_fbank_run(const tsri_fbank *f, const float *x, int n, float *y)
{
    number z[TSRI_FBANK_WIDTH];
    double power[TSRI_FBANK_WIDTH / 2];

    for (int i = 0; i < n; i++, x += f->shift, y += f->bands) {
        prepare(f, x, z);
        transform(f, z);
        for (int k = 0; k < f->points / 2; k++)
            power[k] = creal(z[k]) * creal(z[k]) + cimag(z[k]) * cimag(z[k]);
        for (int b = 0; b < f->bands; b++) {
            const band *from = &f->band[b];
            double sum = 0;
            for (int k = 0; k < from->count; k++)
                sum += f->weight[from->at + k] * power[from->first + k];
            y[b] = (float)log(fmax(sum, least));
        }
    }
}

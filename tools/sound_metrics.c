/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tools/sound_metrics.h"

static const double pi = 3.14159265358979323846;
static const double floor_level = 1e-5;

/* One channel. */
typedef struct line {
    double xx, xd, dd;      /* sums over all samples */
    float *x, *y;           /* the last samples, up to a window */
} line;

struct sound_meter {
    int channels;
    size_t n;               /* samples of a window, a power of two */
    size_t have;            /* of them in each line's x and y */
    size_t fresh;           /* of them that no window has had yet */
    uint64_t samples, frames;
    double lsd, peak;
    line *lines;
    float *memory;
    double *re, *im, *cosine, *sine, *window;
};

/* Samples of a window at `rate`: see the header. */
static size_t window_size(int rate)
{
    const double wanted = rate * 64.0 / 3000;
    size_t n = 16;
    while ((double)n * 1.4142135623730951 < wanted)
        n *= 2;
    return n;
}

sound_meter *sound_meter_open(int rate, int channels)
{
    sound_meter *m = calloc(1, sizeof *m);
    const size_t n = window_size(rate), c = (size_t)channels;

    if (!m)
        return NULL;
    m->channels = channels;
    m->n = n;
    m->lines = calloc(c, sizeof *m->lines);
    m->memory = calloc(n * 2 * c, sizeof *m->memory);
    m->re = calloc(5 * n, sizeof *m->re);
    if (!m->lines || !m->memory || !m->re) {
        sound_meter_close(&m);
        return NULL;
    }
    for (size_t k = 0; k < c; k++) {
        m->lines[k].x = m->memory + n * 2 * k;
        m->lines[k].y = m->lines[k].x + n;
    }
    m->im = m->re + n;
    m->cosine = m->im + n;
    m->sine = m->cosine + n;
    m->window = m->sine + n;
    for (size_t i = 0; i < n; i++) {
        const double angle = 2 * pi * (double)i / (double)n;
        m->cosine[i] = cos(angle);
        m->sine[i] = sin(angle);
        m->window[i] = 0.5 - 0.5 * cos(angle);
    }
    return m;
}

void sound_meter_close(sound_meter **m)
{
    if (*m) {
        free((*m)->lines);
        free((*m)->memory);
        free((*m)->re);
        free(*m);
    }
    *m = NULL;
}

static void bit_reverse(double *re, double *im, size_t n)
{
    for (size_t i = 1, j = 0; i < n; i++) {
        size_t bit = n >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            const double r = re[i], s = im[i];
            re[i] = re[j];
            im[i] = im[j];
            re[j] = r;
            im[j] = s;
        }
    }
}

/* Radix-2 transform of m->re + i m->im, in place. */
static void transform(sound_meter *m)
{
    double *re = m->re, *im = m->im;

    bit_reverse(re, im, m->n);
    for (size_t half = 1; half < m->n; half *= 2) {
        const size_t step = m->n / (2 * half);
        for (size_t i = 0; i < m->n; i += 2 * half) {
            for (size_t k = 0; k < half; k++) {
                const double c = m->cosine[k * step], s = -m->sine[k * step];
                const size_t a = i + k, b = a + half;
                const double r = re[b] * c - im[b] * s;
                const double q = re[b] * s + im[b] * c;
                re[b] = re[a] - r;
                im[b] = im[a] - q;
                re[a] += r;
                im[a] += q;
            }
        }
    }
}

/* x is the real part, y the imaginary one: the spectra come apart by symmetry,
 * but for rounding, which equal windows must not see.  A sine of full scale has
 * n/4 at its bin: half of it on either side, half of that by the window. */
static double frame_distance(sound_meter *m, const line *l)
{
    const size_t n = m->n;
    const double scale = 4 / (double)n;
    double sum = 0;

    if (!memcmp(l->x, l->y, n * sizeof *l->x))
        return 0;
    for (size_t i = 0; i < n; i++) {
        m->re[i] = m->window[i] * (double)l->x[i];
        m->im[i] = m->window[i] * (double)l->y[i];
    }
    transform(m);
    for (size_t k = 0; k <= n / 2; k++) {
        const size_t o = (n - k) % n;
        const double xr = m->re[k] + m->re[o], xi = m->im[k] - m->im[o];
        const double yr = m->im[k] + m->im[o], yi = m->re[o] - m->re[k];
        const double x = scale * sqrt(xr * xr + xi * xi) / 2;
        const double y = scale * sqrt(yr * yr + yi * yi) / 2;
        const double gap = 20 * log10((x + floor_level) / (y + floor_level));
        sum += gap * gap;
    }
    return sqrt(sum / (double)(n / 2 + 1));
}

/* The window is full: its distance, and a quarter of it makes room. */
static void end_frame(sound_meter *m)
{
    const size_t hop = m->n / 4;
    for (int c = 0; c < m->channels; c++) {
        line *l = &m->lines[c];
        m->lsd += frame_distance(m, l);
        memmove(l->x, l->x + hop, (m->n - hop) * sizeof *l->x);
        memmove(l->y, l->y + hop, (m->n - hop) * sizeof *l->y);
    }
    m->frames++;
    m->have = m->n - hop;
    m->fresh = 0;
}

static void add_one(sound_meter *m, line *l, float x, float y)
{
    const double d = (double)y - (double)x;
    l->xx += (double)x * (double)x;
    l->xd += (double)x * d;
    l->dd += d * d;
    m->peak = fabs(d) > m->peak ? fabs(d) : m->peak;
    l->x[m->have] = x;
    l->y[m->have] = y;
}

void sound_meter_add(sound_meter *m, const float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (int c = 0; c < m->channels; c++)
            add_one(m, &m->lines[c], *x++, *y++);
        m->samples++;
        m->fresh++;
        if (++m->have == m->n)
            end_frame(m);
    }
}

static double decibels(double signal, double noise)
{
    if (signal < 0)
        return NAN;
    return noise > 0 ? 10 * log10(signal / noise) : INFINITY;
}

void sound_meter_result(sound_meter *m, sound_metrics *result)
{
    double xx = 0, dd = 0, target = 0, rest = 0;

    if (m->fresh) {
        for (int c = 0; c < m->channels; c++) {
            line *l = &m->lines[c];
            memset(l->x + m->have, 0, (m->n - m->have) * sizeof *l->x);
            memset(l->y + m->have, 0, (m->n - m->have) * sizeof *l->y);
        }
        end_frame(m);
    }
    /* y - a x = d - b x with b = a - 1: exact also where d is tiny. */
    for (int c = 0; c < m->channels; c++) {
        const line *l = &m->lines[c];
        const double b = l->xx > 0 ? l->xd / l->xx : 0;
        const double left = l->dd - b * l->xd;
        xx += l->xx;
        dd += l->dd;
        target += (1 + b) * (1 + b) * l->xx;
        rest += left > 0 ? left : 0;
    }
    *result = (sound_metrics){
        .samples = m->samples, .peak = m->peak,
        .snr = decibels(xx > 0 ? xx : -1, dd),
        .si_sdr = decibels(xx > 0 ? target : -1, rest),
        .lsd = m->frames ? m->lsd / ((double)m->frames * m->channels) : NAN
    };
    /* A y without any x in it, silence for one. */
    if (xx > 0 && !(target > 0))
        result->si_sdr = -INFINITY;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Coding one unit of "hyper", as hyper_predict.c foresees it. */
#include <math.h>
#include "codecs/image/cuda/hyper_gpu.h"
#include "codecs/image/hyper_units.h"

enum {
    SYMBOL_MAX = 239,           /* |128 * 239 + mean| fits int16 */
    ESCAPE_LENGTH_BITS = 3
};

/* ---- encoder ---- */

typedef struct putting {
    tsri_rans_enc *enc;
    const float *y;
    int16_t *fixed;
} putting;

/* The symbol for what is left of a value after its mean. */
static int nearest(float d)
{
    return d >= SYMBOL_MAX    ? SYMBOL_MAX
           : d > -SYMBOL_MAX  ? (int)rintf(d)
           : d <= -SYMBOL_MAX ? -SYMBOL_MAX
                              : 0; /* NaN */
}

/* |s| - radius >= 1 as length, rest and sign. */
tsr_error tsri_hyper_put_escape(tsri_rans_enc *enc, int s, int radius)
{
    const uint32_t rest = (uint32_t)((s < 0 ? -s : s) - radius);
    const int length = 31 - __builtin_clz(rest);

    TSR_TRY(tsri_rans_put_bits(enc, (uint32_t)length, ESCAPE_LENGTH_BITS));
    TSR_TRY(tsri_rans_put_bits(enc, rest - (1u << length), length));
    return tsri_rans_put_bits(enc, s < 0, 1);
}

static tsr_error put_pass(const tsri_hyper_pass *p, void *cookie)
{
    const putting *job = cookie;
    tsri_hyper_work *w = p->work;
    size_t coded = 0;

    for (int c = 0; c < p->group->channels; c++)
        TSRI_HYPER_POSITIONS(p, c, i, place) {
            const int class = w->class[i], mean = w->mean[i];
            int s = 0;
            if (class >= p->m->skip) {
                const int radius = p->m->radius[class];
                s = nearest(job->y[place] - (float)mean / TSRI_HYPER_ONE);
                w->coded_class[coded] = (uint16_t)class;
                w->symbol[coded++] = (uint16_t)(s < -radius || s > radius
                                                    ? 2 * radius + 1 : s + radius);
            }
            job->fixed[place] = (int16_t)(TSRI_HYPER_ONE * s + mean);
        }
    TSR_TRY(tsri_rans_put(job->enc, p->m->y_bank, w->coded_class, 0, w->symbol,
                          coded));
    for (int c = 0; c < p->group->channels; c++)
        TSRI_HYPER_POSITIONS(p, c, i, place) {
            const int radius = p->m->radius[w->class[i]];
            const int s = (job->fixed[place] - w->mean[i]) / TSRI_HYPER_ONE;
            if (s < -radius || s > radius)
                TSR_TRY(tsri_hyper_put_escape(job->enc, s, radius));
        }
    return TSR_OK;
}

/* The z symbols and their tables, channel by channel. */
static size_t z_classes(tsri_hyper_work *w, const tsri_hyper_model *m)
{
    const size_t plane = (size_t)w->hs[0].height * (size_t)w->hs[0].width;
    for (int c = 0; c < m->hyper_latents; c++)
        for (size_t i = 0; i < plane; i++)
            w->coded_class[(size_t)c * plane + i] = (uint16_t)c;
    return (size_t)m->hyper_latents * plane;
}

tsr_error tsri_hyper_put(tsri_hyper_work *w, const tsri_hyper_model *m,
                         tsri_rans_enc *enc, int height, int width, const int8_t *z,
                         const float *y, int16_t *fixed, uint32_t crc,
                         const uint8_t **data, size_t *size)
{
    putting job = { enc, y, fixed };
    size_t n;

    if (m->gpu)
        return tsri_hyper_gpu_put(m->gpu, enc, height, width, z, y, fixed, crc, data,
                                  size);
    tsri_hyper_resize(w, height, width);
    tsri_rans_enc_reset(enc);
    n = z_classes(w, m);
    for (size_t i = 0; i < n; i++)
        w->symbol[i] = (uint16_t)(z[i] + TSRI_HYPER_Z_LIMIT);
    TSR_TRY(tsri_rans_put(enc, m->z_bank, w->coded_class, 0, w->symbol, n));
    TSR_TRY(tsri_hyper_features(w, m, z));
    TSR_TRY(tsri_hyper_each_pass(w, m, put_pass, &job, fixed));
    return tsri_rans_finish(enc, crc, 0, data, size);
}

/* ---- decoder ---- */

typedef struct getting {
    tsri_rans_dec *dec;
    int16_t *fixed;
} getting;

tsr_error tsri_hyper_get_escape(tsri_rans_dec *dec, int radius, int *s)
{
    const int length = (int)tsri_rans_get_bits(dec, ESCAPE_LENGTH_BITS);
    const int rest = (int)(tsri_rans_get_bits(dec, length) | 1u << length);
    const int size = radius + rest;

    *s = tsri_rans_get_bits(dec, 1) ? -size : size;
    return size > SYMBOL_MAX || tsri_rans_cut(dec) ? TSR_E_CORRUPT : TSR_OK;
}

static tsr_error get_pass(const tsri_hyper_pass *p, void *cookie)
{
    const getting *job = cookie;
    tsri_hyper_work *w = p->work;
    const size_t all = (size_t)p->group->channels * (size_t)p->positions;
    size_t coded = 0;

    for (size_t i = 0; i < all; i++)
        if (w->class[i] >= p->m->skip)
            w->coded_class[coded++] = w->class[i];
    TSR_TRY(tsri_rans_get(job->dec, p->m->y_bank, w->coded_class, 0, w->symbol,
                          coded));
    coded = 0;
    for (int c = 0; c < p->group->channels; c++)
        TSRI_HYPER_POSITIONS(p, c, i, place) {
            int s = 0;
            if (w->class[i] >= p->m->skip) {
                const int radius = p->m->radius[w->class[i]];
                s = w->symbol[coded++] - radius;
                if (s > radius)
                    TSR_TRY(tsri_hyper_get_escape(job->dec, radius, &s));
            }
            job->fixed[place] = (int16_t)(TSRI_HYPER_ONE * s + w->mean[i]);
        }
    return TSR_OK;
}

tsr_error tsri_hyper_get(tsri_hyper_work *w, const tsri_hyper_model *m, int height,
                         int width, const uint8_t *data, size_t size, uint32_t crc,
                         int8_t *z, int16_t *fixed)
{
    tsri_rans_dec dec;
    getting job = { &dec, fixed };
    size_t n;

    if (m->gpu)
        return tsri_hyper_gpu_get(m->gpu, height, width, data, size, crc, z, fixed);
    tsri_hyper_resize(w, height, width);
    TSR_TRY(tsri_rans_dec_open(&dec, w->ctx, data, size, crc));
    n = z_classes(w, m);
    TSR_TRY(tsri_rans_get(&dec, m->z_bank, w->coded_class, 0, w->symbol, n));
    for (size_t i = 0; i < n; i++)
        z[i] = (int8_t)(w->symbol[i] - TSRI_HYPER_Z_LIMIT);
    TSR_TRY(tsri_hyper_features(w, m, z));
    TSR_TRY(tsri_hyper_each_pass(w, m, get_pass, &job, fixed));
    return tsri_rans_dec_end(&dec);
}

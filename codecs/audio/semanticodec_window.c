/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "codecs/audio/semanticodec.h"

static const float mel_mean = -4.2677393f, mel_spread = 2 * 4.5689974f;
static const double silent = 1e-7;

tsr_error tsri_semanticodec_work_open(tsri_semanticodec_work *w,
                                      const tsri_semanticodec *c)
{
    const size_t positions = (size_t)c->positions, dim = (size_t)c->dim;

    *w = (tsri_semanticodec_work){ 0 };
    w->mel = tsri_alloc(c->ctx, (size_t)c->vit.frames * (size_t)c->vit.bands,
                        sizeof *w->mel);
    w->patch = tsri_alloc(c->ctx, positions * dim, sizeof *w->patch);
    w->feature = tsri_alloc(c->ctx, positions * dim, sizeof *w->feature);
    w->both = tsri_alloc(c->ctx, positions * dim, 2 * sizeof *w->both);
    w->latent = tsri_alloc(c->ctx, positions * dim, sizeof *w->latent);
    w->scratch = tsri_alloc(c->ctx, tsri_vit_scratch(&c->front->vit),
                            sizeof *w->scratch);
    w->semantic = tsri_alloc(c->ctx, positions, sizeof *w->semantic);
    w->acoustic = tsri_alloc(c->ctx, positions, sizeof *w->acoustic);
    if (w->mel && w->patch && w->feature && w->both && w->latent &&
        w->scratch && w->semantic && w->acoustic)
        return TSR_OK;
    tsri_semanticodec_work_close(w, c);
    return tsri_nomem(c->ctx);
}

void tsri_semanticodec_work_close(tsri_semanticodec_work *w,
                                  const tsri_semanticodec *c)
{
    tsri_free(c->ctx, w->mel);
    tsri_free(c->ctx, w->patch);
    tsri_free(c->ctx, w->feature);
    tsri_free(c->ctx, w->both);
    tsri_free(c->ctx, w->latent);
    tsri_free(c->ctx, w->scratch);
    tsri_free(c->ctx, w->semantic);
    tsri_free(c->ctx, w->acoustic);
    *w = (tsri_semanticodec_work){ 0 };
}

/* Mel bands; missing frames are 0 before they are normalised. */
static void look(const tsri_semanticodec *c, const float *x, bool last,
                 float *mel)
{
    const size_t n = (size_t)c->vit.frames * (size_t)c->vit.bands;
    const uint64_t whole = tsri_fbank_frames(c->front->fbank, c->window);
    const int frames = last ? (int)whole : c->vit.frames;

    memset(mel, 0, n * sizeof *mel);
    tsri_fbank_run(c->front->fbank, x, frames, mel);
    for (size_t i = 0; i < n; i++)
        mel[i] = (mel[i] - mel_mean) / mel_spread;
}

static bool is_silent(const float *row, int n)
{
    double mean = 0, sum = 0;

    for (int i = 0; i < n; i++)
        mean += (double)row[i];
    mean /= n;
    for (int i = 0; i < n; i++)
        sum += ((double)row[i] - mean) * ((double)row[i] - mean);
    return sqrt(sum / (n - 1)) <= silent;
}

/* Frames up to the last one with sound.  A single one counts as none, unless it
 * is alone among frames that all have sound: so the published encoder does. */
static int sounding(const tsri_semanticodec *c, const float *mel)
{
    int end = 0, count = 0;

    for (int t = 0; t < c->vit.frames; t++)
        if (!is_silent(mel + t * c->vit.bands, c->vit.bands)) {
            end = t + 1;
            count++;
        }
    return count == 1 && c->vit.frames > 1 ? 0 : end;
}

/* Neighbours in time and mel behind each other, time outside. */
static void stack(const tsri_semanticodec *c, const float *patch, float *to)
{
    const int tall = c->vit.bands / c->vit.side;    /* patches of a time */
    const int times = c->stack == 4 ? 2 : 1, mels = c->stack > 1 ? 2 : 1;
    const size_t width = (size_t)c->vit.width;

    for (int t = 0; t < c->vit.patches / tall; t += times)
        for (int f = 0; f < tall; f += mels)
            for (int dt = 0; dt < times; dt++)
                for (int df = 0; df < mels; df++, to += width)
                    memcpy(to, patch + (size_t)((t + dt) * tall + f + df) *
                           width, width * sizeof *to);
}

/* Features beside their centroids; -1 from position `end` on. */
static void join(const tsri_semanticodec *c, int end,
                 tsri_semanticodec_work *w)
{
    const size_t dim = (size_t)c->dim;

    for (int p = 0; p < c->positions; p++) {
        float *to = w->both + (size_t)p * 2 * dim;
        memcpy(to, w->feature + (size_t)p * dim, dim * sizeof *to);
        memcpy(to + dim, c->centroid + (size_t)w->semantic[p] * dim,
               dim * sizeof *to);
        for (size_t i = 0; p >= end && i < 2 * dim; i++)
            to[i] = -1;
    }
}

tsr_error tsri_semanticodec_window(const tsri_semanticodec *c, const float *x,
                                   bool last, tsri_semanticodec_work *w)
{
    const size_t positions = (size_t)c->positions;

    look(c, x, last, w->mel);
    const int end = tsri_ceil_div(c->positions * sounding(c, w->mel),
                                  c->vit.frames);
    tsri_vit_run(&c->front->vit, w->mel, w->patch, w->scratch);
    stack(c, w->patch, w->feature);
    TSR_TRY(tsr_codebook_search(c->front->semantic, w->feature, positions, w->semantic,
                                NULL));
    join(c, end, w);
    TSR_TRY(tsri_bilstm_run(&c->front->branch, w->both, c->positions, w->latent));
    return tsr_codebook_search(c->front->acoustic, w->latent, positions, w->acoustic,
                               NULL);
}

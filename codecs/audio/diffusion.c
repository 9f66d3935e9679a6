/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include "codecs/audio/diffusion.h"
#include "codecs/audio/noise.h"

static const double first_beta = 0.0015, last_beta = 0.0195;

static void make_schedule(tsri_diffusion *d)
{
    const double low = sqrt(first_beta), high = sqrt(last_beta);
    double product = 1;

    for (int t = 0; t < TSRI_DIFFUSION_TIMES; t++) {
        const double root = low + (high - low) * t / (TSRI_DIFFUSION_TIMES - 1);
        product *= 1 - root * root;
        d->kept[t] = (float)product;
    }
}

static size_t count(const tsri_diffusion *d)
{
    return (size_t)d->rows * (size_t)d->wide *
           (size_t)tsri_unet_channels(d->unet);
}

tsr_error tsri_diffusion_open(tsri_diffusion *d, tsr_context *ctx,
                              const tsr_model *model, int rows, int wide,
                              int positions, int context, const float *none,
                              int steps, float guidance)
{
    *d = (tsri_diffusion){ .ctx = ctx, .rows = rows, .wide = wide, .steps = steps,
                           .guidance = guidance };
    make_schedule(d);
    TSR_TRY(tsri_unet_open(&d->unet, ctx, model, rows, wide, positions, context));
    float **const all[] = { &d->x, &d->noise, &d->v[0], &d->v[1] };
    for (int i = 0; i < 4; i++) {
        *all[i] = tsri_alloc(ctx, count(d), sizeof **all[i]);
        if (!*all[i])
            return tsri_nomem(ctx);
    }
    return tsri_unet_condition_open(&d->none, d->unet, none);
}

void tsri_diffusion_close(tsri_diffusion *d)
{
    if (!d->ctx)
        return;
    tsri_unet_condition_close(&d->none, d->unet);
    tsri_unet_close(&d->unet);
    tsri_free(d->ctx, d->x);
    tsri_free(d->ctx, d->noise);
    tsri_free(d->ctx, d->v[0]);
    tsri_free(d->ctx, d->v[1]);
    *d = (tsri_diffusion){ 0 };
}

/* What a step makes of x, v and noise: a sum of the three. */
typedef struct factors { float x, v, noise; } factors;

/* Step i of the schedule, counted from the signal; eta = 1. */
static factors factors_of(const tsri_diffusion *d, int i)
{
    const int jump = TSRI_DIFFUSION_TIMES / d->steps;
    const double now = (double)d->kept[1 + i * jump];
    const double then = (double)d->kept[i ? 1 + (i - 1) * jump : 0];
    const double spread = (1 - then) / (1 - now) * (1 - now / then);
    const double signal = sqrt(now), rest = sqrt(1 - now);
    const double toward = sqrt(fmax(1 - then - spread, 0));

    /* signal x - rest v is the latent, rest x + signal v the noise in it. */
    return (factors){ .x = (float)(sqrt(then) * signal + toward * rest),
                      .v = (float)(toward * signal - sqrt(then) * rest),
                      .noise = (float)sqrt(spread) };
}

/* Place in z of element i of a map whose channels stand side by side. */
static size_t place(const tsri_diffusion *d, size_t i)
{
    const size_t channels = (size_t)tsri_unet_channels(d->unet);
    return i % channels * ((size_t)d->rows * (size_t)d->wide) + i / channels;
}

static tsr_error steps(tsri_diffusion *d, const tsri_unet_condition *condition,
                       uint32_t seed, uint64_t window)
{
    const size_t n = count(d);

    for (int s = 1; s <= d->steps; s++) {
        const int i = d->steps - s, t = 1 + i * (TSRI_DIFFUSION_TIMES / d->steps);
        const factors f = factors_of(d, i);
        TSR_TRY(tsri_unet_run(d->unet, d->x, t, d->none, d->v[0]));
        TSR_TRY(tsri_unet_run(d->unet, d->x, t, condition, d->v[1]));
        tsri_noise(seed, window, (uint32_t)s, n, d->noise);
        for (size_t k = 0; k < n; k++) {
            const float v = d->v[0][k] + d->guidance * (d->v[1][k] - d->v[0][k]);
            d->x[k] = f.x * d->x[k] + f.v * v + f.noise * d->noise[place(d, k)];
        }
    }
    return TSR_OK;
}

tsr_error tsri_diffusion_run(tsri_diffusion *d, const float *context,
                             uint32_t seed, uint64_t window, float *z)
{
    const size_t n = count(d);
    tsri_unet_condition *condition;

    TSR_TRY(tsri_unet_condition_open(&condition, d->unet, context));
    tsri_noise(seed, window, 0, n, d->noise);
    for (size_t k = 0; k < n; k++)
        d->x[k] = d->noise[place(d, k)];
    const tsr_error error = steps(d, condition, seed, window);
    tsri_unet_condition_close(&condition, d->unet);
    for (size_t k = 0; k < n && !error; k++)
        z[place(d, k)] = d->x[k];
    return error == TSR_E_NOMEM ? tsri_nomem(d->ctx) : error;
}

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

/* Time of step i of the schedule, counted from the signal. */
static int time_of(const tsri_diffusion *d, int i)
{
    return 1 + i * (TSRI_DIFFUSION_TIMES / d->steps);
}

static tsr_error open_device(tsri_diffusion *d, const float *none)
{
    int time[TSRI_DIFFUSION_TIMES];

    for (int i = 0; i < d->steps; i++)
        time[i] = time_of(d, i);
    return tsri_unet_device_open(&d->device, d->unet, none, time, d->steps);
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
    TSR_TRY(open_device(d, none));
    return d->device ? TSR_OK : tsri_unet_condition_open(&d->none, d->unet, none);
}

void tsri_diffusion_close(tsri_diffusion *d)
{
    if (!d->ctx)
        return;
    tsri_unet_device_close(&d->device);
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

static tsr_error host_steps(tsri_diffusion *d, const tsri_unet_condition *condition,
                            uint32_t seed, uint64_t window)
{
    const size_t n = count(d);

    for (int s = 1; s <= d->steps; s++) {
        const int i = d->steps - s, t = time_of(d, i);
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

static tsr_error run_host(tsri_diffusion *d, const float *context, uint32_t seed,
                          uint64_t window)
{
    tsri_unet_condition *condition;

    TSR_TRY(tsri_unet_condition_open(&condition, d->unet, context));
    const tsr_error error = host_steps(d, condition, seed, window);
    tsri_unet_condition_close(&condition, d->unet);
    return error;
}

/* Noise of the next steps is made while the device works. */
static tsr_error run_device(tsri_diffusion *d, const float *context, uint32_t seed,
                            uint64_t window)
{
    const size_t n = count(d);

    TSR_TRY(tsri_unet_device_begin(d->device, context, d->x));
    for (int s = 1; s <= d->steps; s++) {
        const factors f = factors_of(d, d->steps - s);
        const tsri_unet_step step = { f.x, f.v, f.noise, d->guidance };
        float *noise;
        TSR_TRY(tsri_unet_device_noise(d->device, &noise));
        tsri_noise(seed, window, (uint32_t)s, n, d->noise);
        for (size_t k = 0; k < n; k++)
            noise[k] = d->noise[place(d, k)];
        TSR_TRY(tsri_unet_device_step(d->device, d->steps - s, &step));
    }
    return tsri_unet_device_end(d->device, d->x);
}

tsr_error tsri_diffusion_run(tsri_diffusion *d, const float *context,
                             uint32_t seed, uint64_t window, float *z)
{
    const size_t n = count(d);

    tsri_noise(seed, window, 0, n, d->noise);
    for (size_t k = 0; k < n; k++)
        d->x[k] = d->noise[place(d, k)];
    const tsr_error error = d->device ? run_device(d, context, seed, window)
                                      : run_host(d, context, seed, window);
    for (size_t k = 0; k < n && !error; k++)
        z[place(d, k)] = d->x[k];
    return error == TSR_E_NOMEM ? tsri_nomem(d->ctx) : error;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* A step for a cache of which nothing is known: a part of the spread of its
 * channels, looked at in a few tokens of every layer. */
#include <math.h>
#include "codecs/kv/kv_internal.h"
#include "lib/pool.h"

/* Steps over the root mean square of a plane without rotation and mean, and the
 * grid that they are rounded to: steps an octave. */
static const double part[2] = { 0.5, 0.875 };
enum { GRID = 4 };

/* Sum of the squares of a channel's samples around their mean. */
static double spread(const float *x, size_t pitch, int n)
{
    double sum = 0, squares = 0;

    for (int i = 0; i < n; i++) {
        const double v = x[(size_t)i * pitch];
        sum += v;
        squares += v * v;
    }
    return n > 1 ? squares - sum * sum / n : squares;
}

/* Mean square of a plane, from up to TSRI_KV_BLOCK of its tokens. */
static tsr_error measure(void *cookie, int i, int worker)
{
    const tsri_kv_work *work = cookie;
    const tsr_kv_shape *shape = &work->kv->settings.shape;
    const size_t sinks = work->head->sinks, rows = work->head->tokens - sinks;
    const int n = rows < TSRI_KV_BLOCK ? (int)rows : TSRI_KV_BLOCK;
    const int plane = i % shape->planes;
    const tsri_kv_plane at = { .layer = i / shape->planes, .plane = plane,
                               .heads = shape->heads[plane],
                               .dim = shape->dim[plane] };
    const size_t channels = (size_t)tsri_kv_channels(shape, plane);
    tsri_kv_worker *w = &work->worker[worker];
    double sum = 0;

    for (int k = 0; k < n; k++) {
        const size_t token = sinks + (size_t)k * rows / (size_t)n;
        float *x = w->x + (size_t)k * channels;
        if (!tsri_kv_gather(work->view, shape, work->kv->ctx->cpu, at.layer,
                            at.plane, token, 1, x, channels))
            return TSR_E_ARG;
        tsri_kv_turn(work, w, &at, token, 1, x, channels, false);
    }
    for (size_t c = 0; c < channels; c++)
        sum += spread(w->x + c, channels, n);
    work->energy[i] = n ? sum / n / (double)channels : 0;
    return TSR_OK;
}

static double rms(const tsri_kv_work *work, int plane)
{
    const tsr_kv_shape *shape = &work->kv->settings.shape;
    double sum = 0;

    for (int l = 0; l < shape->layers; l++)
        sum += work->energy[l * shape->planes + plane];
    return sqrt(sum / shape->layers);
}

/* On the grid; 1 where there is nothing to be seen. */
static double step_for(double spread_of, double of)
{
    const double step = spread_of * of;
    return step > 1e-20 && step < 1e20 ? exp2(rint(GRID * log2(step)) / GRID) : 1;
}

tsr_error tsri_kv_choose_step(tsr_kv *kv, const tsri_kv_work *work)
{
    const tsr_kv_settings *s = &kv->settings;
    const double coarse = s->levels == 1 ? 1 : s->levels == 2 ? 3 : 9;
    double step[2];

    TSR_TRY(tsri_pool_for(kv->ctx->pool, s->shape.layers * s->shape.planes,
                          measure, (void *)work));
    step[0] = step_for(rms(work, 0), part[0]);
    step[1] = s->shape.planes > 1 ? step_for(rms(work, 1), part[1]) : step[0];
    if (s->value_ratio != 0)
        step[1] = step[0] * s->value_ratio;
    if (s->step != 0) {
        step[1] *= s->step / step[0];
        step[0] = s->step;
    }
    for (int p = 0; p < 2; p++)
        kv->step[p] = tsri_kv_round_step(step[p] * coarse);
    return TSR_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>
#include "codecs/audio/bilstm.h"
#include "lib/pool.h"
#include "lib/weights.h"

enum { HIDDEN_MAX = 16384 };

static const char *const direction[] = { "", "_reverse" };

/* ---- loading ---- */

static void read_sizes(tsri_bilstm *b, tsri_loader *load)
{
    const uint64_t any[] = { TSRI_ANY, TSRI_ANY };
    const tsr_tensor *t;
    char name[TSRI_LOADER_NAME];

    if (!load->error)
        load->error = tsri_want(load->ctx, load->model, &t, 2, any,
                                "encoder.weight_hh_l0");
    if (load->error)
        return;
    if (t->dims[1] < 1 || t->dims[1] > HIDDEN_MAX) {
        tsri_loader_bad(load, t->name);
        return;
    }
    b->hidden = (int)t->dims[1];
    do {
        snprintf(name, sizeof name, "encoder.weight_hh_l%d", ++b->layers);
    } while (b->layers < TSRI_BILSTM_LAYERS &&
             tsr_model_tensor(load->model, name));
    for (int l = 0; l < b->layers; l++)
        b->macs += 8.0 * b->hidden * ((l ? 2.0 * b->hidden : b->in) + b->hidden);
    b->macs += 2.0 * b->hidden * b->out;
}

tsr_error tsri_bilstm_measure(tsri_bilstm *b, tsr_context *ctx,
                              const tsr_model *model, int in, int out)
{
    tsri_loader load = { .ctx = ctx, .model = model };

    *b = (tsri_bilstm){ .in = in, .out = out };
    read_sizes(b, &load);
    return load.error;
}

static void open_layer(tsri_bilstm *b, tsri_loader *load, int l, int way)
{
    const uint64_t h = (uint64_t)b->hidden;
    const uint64_t in = l ? 2 * h : (uint64_t)b->in;
    const uint64_t ih[] = { 4 * h, in }, hh[] = { 4 * h, h };
    const char *end = direction[way];
    const float *wi = tsri_loader_floats(load, 2, ih, "encoder.weight_ih_l%d%s",
                                         l, end);
    const float *wh = tsri_loader_floats(load, 2, hh, "encoder.weight_hh_l%d%s",
                                         l, end);
    const float *bi = tsri_loader_floats(load, 1, ih, "encoder.bias_ih_l%d%s",
                                         l, end);
    const float *bh = tsri_loader_floats(load, 1, ih, "encoder.bias_hh_l%d%s",
                                         l, end);

    if (!load->error)
        load->error = tsri_lstm_open(&b->lstm[l][way], load->ctx, (int)in,
                                     b->hidden, wi, wh, bi, bh);
    tsri_loader_drop(load);
}

tsr_error tsri_bilstm_open(tsri_bilstm *b, tsr_context *ctx,
                           const tsr_model *model, int in, int out)
{
    tsri_loader load = { .ctx = ctx, .model = model };

    TSR_TRY(tsri_bilstm_measure(b, ctx, model, in, out));
    b->ctx = ctx;
    b->kernels = tsri_seq_kernels_pick(ctx->cpu);
    for (int l = 0; l < b->layers && !load.error; l++)
        for (int way = 0; way < 2 && !load.error; way++)
            open_layer(b, &load, l, way);
    const uint64_t dims[] = { (uint64_t)out, 2 * (uint64_t)b->hidden };
    const float *w = tsri_loader_floats(&load, 2, dims,
                                        "encoder_output_linear.weight");
    if (!load.error)
        load.error = tsri_conv1d_open(&b->last, ctx, 2 * b->hidden, out, 1, 1, 1,
                                      w, NULL);
    tsri_loader_drop(&load);
    return load.error;
}

void tsri_bilstm_close(tsri_bilstm *b)
{
    if (!b->ctx)
        return;
    for (int l = 0; l < b->layers; l++)
        for (int way = 0; way < 2; way++)
            tsri_lstm_close(&b->lstm[l][way], b->ctx);
    tsri_conv1d_close(&b->last, b->ctx);
    *b = (tsri_bilstm){ 0 };
}

/* ---- running ---- */

/* One layer of a run: both ways. */
typedef struct pass {
    const tsri_bilstm *b;
    const tsri_lstm *lstm;
    const float *x;         /* [n][in] */
    float *y;               /* [n][2 hidden] */
    int n;
} pass;

static void reverse(float *rows, int n, size_t width, float *spare)
{
    for (int i = 0, j = n - 1; i < j; i++, j--) {
        float *a = rows + (size_t)i * width, *b = rows + (size_t)j * width;
        memcpy(spare, a, width * sizeof *a);
        memcpy(a, b, width * sizeof *a);
        memcpy(b, spare, width * sizeof *a);
    }
}

static tsr_error run_way(void *cookie, int way, int worker)
{
    const pass *p = cookie;
    const tsri_lstm *l = &p->lstm[way];
    const size_t hidden = (size_t)l->hidden, wide = 4 * hidden;
    const size_t n = (size_t)p->n;
    tsr_context *ctx = p->b->ctx;

    (void)worker;
    float *gates = tsri_alloc(ctx, n, wide * sizeof *gates);
    float *h = tsri_alloc(ctx, n + 2, hidden * sizeof *h);
    float *spare = tsri_alloc(ctx, wide, sizeof *spare);
    const bool good = gates && h && spare;
    if (good) {
        float *state = h + n * hidden;
        memset(state, 0, 2 * hidden * sizeof *state);
        p->b->kernels->conv1d(&l->input, p->x, (size_t)l->in, p->n, 0,
                              tsri_conv1d_panels(&l->input), NULL, gates, wide);
        if (way)
            reverse(gates, p->n, wide, spare);
        p->b->kernels->lstm(l, gates, p->n, state, h, hidden);
        if (way)
            reverse(h, p->n, hidden, spare);
        for (size_t i = 0; i < n; i++)
            memcpy(p->y + (2 * i + (size_t)way) * hidden, h + i * hidden,
                   hidden * sizeof *h);
    }
    tsri_free(ctx, spare);
    tsri_free(ctx, h);
    tsri_free(ctx, gates);
    return good ? TSR_OK : TSR_E_NOMEM;
}

tsr_error tsri_bilstm_run(const tsri_bilstm *b, const float *x, int n, float *y)
{
    const size_t floats = (size_t)n * 2 * (size_t)b->hidden;
    float *mid[2] = { tsri_alloc(b->ctx, floats, sizeof **mid),
                      tsri_alloc(b->ctx, floats, sizeof **mid) };
    tsr_error error = mid[0] && mid[1] ? TSR_OK : TSR_E_NOMEM;

    for (int l = 0; l < b->layers && !error; l++) {
        pass p = { b, b->lstm[l], l ? mid[(l - 1) % 2] : x, mid[l % 2], n };
        error = tsri_pool_for(b->ctx->pool, 2, run_way, &p);
    }
    if (!error)
        b->kernels->conv1d(&b->last, mid[(b->layers - 1) % 2],
                           2 * (size_t)b->hidden, n, 0,
                           tsri_conv1d_panels(&b->last), NULL, y,
                           (size_t)b->out);
    tsri_free(b->ctx, mid[0]);
    tsri_free(b->ctx, mid[1]);
    return error ? tsri_nomem(b->ctx) : TSR_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>
#include "codecs/audio/loader.h"
#include "codecs/audio/vit.h"
#include "lib/weights.h"

enum { HEAD = 64, AVERAGED = 3, SIDE_MAX = 64 };
#define MODEL "audiomae.model."
static const float eps = 1e-6f;

/* ---- loading ---- */

/* The dims of a tensor of any sides up to 16384. */
static const tsr_tensor *sized(tsri_loader *load, int rank, const char *name)
{
    const uint64_t any[] = { TSRI_ANY, TSRI_ANY, TSRI_ANY, TSRI_ANY };
    const tsr_tensor *t;

    if (!load->error)
        load->error = tsri_want(load->ctx, load->model, &t, rank, any, "%s",
                                name);
    for (int i = 0; !load->error && i < rank; i++)
        if (t->dims[i] > 4 * TSRI_FORMER_WIDTH)
            tsri_loader_bad(load, name);
    return load->error ? NULL : t;
}

static void read_sizes(tsri_vit *v, tsri_loader *load)
{
    const tsr_tensor *patch = sized(load, 4, MODEL "patch_embed.proj.weight");
    const tsr_tensor *place = sized(load, 3, MODEL "pos_embed");
    const tsr_tensor *up = sized(load, 2, MODEL "blocks.0.mlp.fc1.weight");

    if (load->error)
        return;
    v->width = (int)patch->dims[0];
    v->side = (int)patch->dims[3];
    v->patches = (int)place->dims[1] - 1;
    v->blocks = 1 + tsri_loader_last(load, MODEL "blocks");
    v->hidden = (int)up->dims[0];
    if (patch->dims[1] != 1 || patch->dims[2] != patch->dims[3] ||
        v->width < HEAD || v->width % HEAD || v->side > SIDE_MAX ||
        v->bands % v->side)
        tsri_loader_bad(load, patch->name);
    else if (v->patches < 1 || v->patches % (v->bands / v->side))
        tsri_loader_bad(load, place->name);
    else if (v->blocks < AVERAGED)
        tsri_loader_bad(load, MODEL "blocks");
    else
        v->frames = v->patches / (v->bands / v->side) * v->side;
    v->macs = (double)v->width * v->patches *
              (v->side * v->side + (double)v->blocks *
               (4.0 * v->width + 2.0 * v->hidden + 2.0 * v->patches));
}

tsr_error tsri_vit_measure(tsri_vit *v, tsr_context *ctx, const tsr_model *model,
                           int bands)
{
    tsri_loader load = { .ctx = ctx, .model = model };

    *v = (tsri_vit){ .bands = bands };
    read_sizes(v, &load);
    return load.error;
}

static float *copy(tsri_vit *v, tsri_loader *load, const float *from, size_t n)
{
    float *to = load->error ? NULL : tsri_alloc(v->ctx, n, sizeof *to);

    if (!to && !load->error)
        load->error = tsri_nomem(v->ctx);
    return to ? memcpy(to, from, n * sizeof *to) : NULL;
}

/* What is added to patches, the class token, the last norm. */
static void open_ends(tsri_vit *v, tsri_loader *load)
{
    const uint64_t width = (uint64_t)v->width, side = (uint64_t)v->side;
    const uint64_t all[] = { 1, (uint64_t)v->patches + 1, width };
    const uint64_t one[] = { 1, 1, width };
    const uint64_t kernel[] = { width, 1, side, side };
    const float *place = tsri_loader_floats(load, 3, all, MODEL "pos_embed");
    const float *class = tsri_loader_floats(load, 3, one, MODEL "cls_token");
    const float *w = tsri_loader_floats(load, 1, &width, MODEL "norm.weight");
    const float *b = tsri_loader_floats(load, 1, &width, MODEL "norm.bias");
    const float *patch = tsri_loader_floats(load, 4, kernel, MODEL
                                            "patch_embed.proj.weight");
    const float *bias = tsri_loader_floats(load, 1, &width, MODEL
                                           "patch_embed.proj.bias");

    v->place = copy(v, load, place, (size_t)(all[1] * width));
    v->norm = load->error ? NULL : tsri_alloc(v->ctx, 2 * (size_t)width,
                                              sizeof *v->norm);
    if (!v->norm && !load->error)
        load->error = tsri_nomem(v->ctx);
    if (load->error)
        return;
    for (uint64_t i = 0; i < width; i++)
        v->place[i] += class[i];
    memcpy(v->norm, w, (size_t)width * sizeof *w);
    memcpy(v->norm + width, b, (size_t)width * sizeof *b);
    load->error = tsri_conv1d_open(&v->patch, v->ctx, (int)(side * side),
                                   v->width, 1, 1, 1, patch, bias);
}

static void open_block(tsri_vit *v, tsri_loader *load, int i)
{
    static const char *const names[] = {
        "norm1.weight", "norm1.bias", "attn.qkv.weight", "attn.qkv.bias",
        "attn.proj.weight", "attn.proj.bias", "norm2.weight", "norm2.bias",
        "mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias"
    };
    const uint64_t w = (uint64_t)v->width, h = (uint64_t)v->hidden;
    const uint64_t dims[][2] = {
        { w, 0 }, { w, 0 }, { 3 * w, w }, { 3 * w, 0 }, { w, w }, { w, 0 },
        { w, 0 }, { w, 0 }, { h, w }, { h, 0 }, { w, h }, { w, 0 }
    };
    const float *p[sizeof names / sizeof *names];

    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        p[k] = tsri_loader_floats(load, dims[k][1] ? 2 : 1, dims[k],
                                  MODEL "blocks.%d.%s", i, names[k]);
    const tsri_former_weights weights = { p[0], p[1], p[2], p[3], NULL, p[4],
                                          p[5], p[6], p[7], p[8], p[9], p[10],
                                          p[11] };
    if (!load->error)
        load->error = tsri_former_set(v->former, i, &weights);
    tsri_loader_drop(load);
}

tsr_error tsri_vit_open(tsri_vit *v, tsr_context *ctx, const tsr_model *model,
                        int bands)
{
    tsri_loader load = { .ctx = ctx, .model = model };

    TSR_TRY(tsri_vit_measure(v, ctx, model, bands));
    v->ctx = ctx;
    v->kernels = tsri_seq_kernels_pick(ctx->cpu);
    const tsri_former_sizes sizes = { v->width, v->width / HEAD, v->hidden,
                                      v->blocks, v->patches + 1 };
    load.error = tsri_former_open_row(&v->former, ctx, &sizes, eps);
    if (load.error == TSR_E_ARG)
        tsri_fail(ctx, load.error = TSR_E_SHAPE, "%s: '" MODEL "blocks' does "
                  "not fit the network", tsr_model_path(model));
    open_ends(v, &load);
    tsri_loader_drop(&load);
    for (int i = 0; i < v->blocks && !load.error; i++)
        open_block(v, &load, i);
    return load.error;
}

void tsri_vit_close(tsri_vit *v)
{
    if (!v->ctx)
        return;
    tsri_former_close(&v->former);
    tsri_conv1d_close(&v->patch, v->ctx);
    tsri_free(v->ctx, v->place);
    tsri_free(v->ctx, v->norm);
    *v = (tsri_vit){ 0 };
}

/* ---- running ---- */

/* Positions, patches as rows and normed ones; each begins 64-byte aligned. */
static size_t state_floats(const tsri_vit *v)
{
    return ((size_t)v->patches + 1) * (size_t)v->width;
}

static size_t cut_floats(const tsri_vit *v)
{
    const size_t n = (size_t)v->patches * (size_t)(v->side * v->side);
    const size_t most = n > state_floats(v) ? n : state_floats(v);
    return (most + 15) / 16 * 16;
}

size_t tsri_vit_scratch(const tsri_vit *v)
{
    return state_floats(v) + cut_floats(v) + tsri_former_scratch(v->former);
}

/* Patches as rows, time by time. */
static void cut(const tsri_vit *v, const float *mel, float *row)
{
    const int side = v->side;

    for (int t = 0; t < v->frames; t += side)
        for (int f = 0; f < v->bands; f += side)
            for (int i = 0; i < side; i++, row += side)
                memcpy(row, mel + (t + i) * v->bands + f,
                       (size_t)side * sizeof *row);
}

void tsri_vit_run(const tsri_vit *v, const float *mel, float *y, float *scratch)
{
    const size_t width = (size_t)v->width, n = (size_t)v->patches * width;
    float *x = scratch, *rows = x + state_floats(v);
    float *rest = rows + cut_floats(v);

    cut(v, mel, rows);
    memcpy(x, v->place, width * sizeof *x);
    v->kernels->conv1d(&v->patch, rows, (size_t)v->patch.in, v->patches, 0,
                       tsri_conv1d_panels(&v->patch), v->place + width,
                       x + width, width);
    memset(y, 0, n * sizeof *y);
    for (int i = 0; i < v->blocks; i++) {
        tsri_former_block(v->former, v->kernels, i, 1, v->patches + 1, x, rest);
        if (i < v->blocks - AVERAGED)
            continue;
        tsri_layer_norm_eps(x + width, v->patches, v->width, eps, v->norm,
                            v->norm + width, rows);
        for (size_t k = 0; k < n; k++)
            y[k] += rows[k];
    }
    for (size_t k = 0; k < n; k++)
        y[k] /= AVERAGED;
}

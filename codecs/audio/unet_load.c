/* SPDX-License-Identifier: BSD-2-Clause */
/* From tensors to the blocks of a UNet. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "codecs/audio/unet_impl.h"
#include "lib/weights.h"

#define MODEL "model.diffusion_model."
enum { NAME = 128 };

typedef struct loading {
    tsri_loader load;
    tsri_unet *unet;
    int channels;               /* of the plane at this point */
} loading;

static void bad(loading *l, const char *name)
{
    tsri_loader_bad(&l->load, name);
}

/* The first dims of tensor `name`, of any rank; 0: it is not there, or absurd. */
static int side(const loading *l, const char *name, int axis)
{
    const tsr_tensor *t = tsr_model_tensor(l->load.model, name);

    return t && axis < t->rank && t->dims[axis] <= 8 * TSRI_PLANE_CHANNELS
               ? (int)t->dims[axis] : 0;
}

/* ---- layers ---- */

/* A layer of one tap; its weight has two dimensions, or four. */
static void linear(loading *l, tsri_conv1d *layer, int in, int out, bool bias,
                   const char *format, const char *name)
{
    char full[NAME], weight[NAME + 16];

    snprintf(full, sizeof full, format, name);
    snprintf(weight, sizeof weight, "%s.weight", full);
    const tsr_tensor *t = tsr_model_tensor(l->load.model, weight);
    const uint64_t dims[] = { (uint64_t)out, (uint64_t)in, 1, 1 };
    const float *w = tsri_loader_floats(&l->load, t && t->rank == 4 ? 4 : 2, dims,
                                        "%s", weight);
    const float *b = bias ? tsri_loader_floats(&l->load, 1, dims, "%s.bias", full)
                          : NULL;
    if (!l->load.error)
        l->load.error = tsri_conv1d_open(layer, l->load.ctx, in, out, 1, 1, 1, w,
                                         b);
}

static void conv(loading *l, tsri_plane_conv *to, int in, int out, int kernel,
                 const char *format, const char *name)
{
    const uint64_t dims[] = { (uint64_t)out, (uint64_t)in, (uint64_t)kernel,
                              (uint64_t)kernel };
    char full[NAME];

    snprintf(full, sizeof full, format, name);
    const float *w = tsri_loader_floats(&l->load, 4, dims, "%s.weight", full);
    const float *b = tsri_loader_floats(&l->load, 1, dims, "%s.bias", full);
    if (!l->load.error)
        l->load.error = tsri_plane_conv_open(to, l->load.ctx, in, out, kernel, w,
                                             b);
}

static void norm(loading *l, tsri_unet_norm *to, int channels, bool groups,
                 const char *format, const char *name)
{
    const uint64_t dims[] = { (uint64_t)channels };
    const size_t bytes = (size_t)channels * sizeof *to->weight;
    char full[NAME];

    snprintf(full, sizeof full, format, name);
    const float *w = tsri_loader_floats(&l->load, 1, dims, "%s.weight", full);
    const float *b = tsri_loader_floats(&l->load, 1, dims, "%s.bias", full);
    if (!l->load.error && channels % (groups ? TSRI_UNET_GROUPS : TSRI_PLANE_HEAD))
        bad(l, full);
    if (l->load.error)
        return;
    *to = (tsri_unet_norm){ channels, tsri_alloc(l->load.ctx, 2, bytes) };
    if (!to->weight) {
        l->load.error = tsri_nomem(l->load.ctx);
        return;
    }
    memcpy(to->weight, w, bytes);
    memcpy(to->weight + channels, b, bytes);
}

/* ---- parts ---- */

static void residual(loading *l, tsri_unet_residual *r, const char *name)
{
    char first[NAME + 32];

    snprintf(first, sizeof first, "%s.in_layers.2.weight", name);
    const int in = l->channels, out = side(l, first, 0), wide = 4 * l->unet->first;
    if (out < 1 || out > TSRI_PLANE_CHANNELS) {
        bad(l, first);
        return;
    }
    norm(l, &r->norm1, in, true, "%s.in_layers.0", name);
    conv(l, &r->conv1, in, out, 3, "%s.in_layers.2", name);
    linear(l, &r->time, wide, out, true, "%s.emb_layers.1", name);
    norm(l, &r->norm2, out, true, "%s.out_layers.0", name);
    conv(l, &r->conv2, out, out, 3, "%s.out_layers.3", name);
    r->changes = in != out;
    if (r->changes)
        conv(l, &r->skip, in, out, 1, "%s.skip_connection", name);
    l->channels = out;
}

/* to_q is divided by the root of a head's channels, as the sum will be. */
static void attention(loading *l, tsri_unet_attention *a, int context,
                      const char *name)
{
    const int c = l->channels;
    const float scale = 1 / sqrtf(TSRI_PLANE_HEAD);

    linear(l, &a->q, c, c, false, "%s.to_q", name);
    linear(l, &a->k, context, c, false, "%s.to_k", name);
    linear(l, &a->v, context, c, false, "%s.to_v", name);
    linear(l, &a->out, c, c, true, "%s.to_out.0", name);
    for (size_t i = 0; !l->load.error &&
         i < (size_t)tsri_conv1d_panels(&a->q) * TSRI_CONV1D_PANEL * (size_t)c; i++)
        a->q.packed[i] *= scale;
}

static void former(loading *l, tsri_unet_former *f, bool conditional,
                   const char *name)
{
    static const char *const norms[] = { "%s.norm1", "%s.norm2", "%s.norm3" };
    const int c = l->channels;
    char block[NAME], sub[NAME];

    if (snprintf(block, sizeof block, "%s.transformer_blocks.0", name) >=
            NAME - 32 ||
        tsri_loader_has(&l->load, "%s.transformer_blocks.1.", name)) {
        bad(l, name);
        return;
    }
    f->condition = conditional ? l->unet->conditions++ : -1;
    norm(l, &f->norm, c, true, "%s.norm", name);
    linear(l, &f->in, c, c, true, "%s.proj_in", name);
    for (int i = 0; i < 3; i++)
        norm(l, &f->norms[i], c, false, norms[i], block);
    for (int i = 0; i < 2; i++) {
        snprintf(sub, sizeof sub, "%.*s.attn%d", NAME - 8, block, i + 1);
        attention(l, &f->attention[i],
                  i && conditional ? l->unet->context : c, sub);
    }
    linear(l, &f->up, c, 8 * c, true, "%s.ff.net.0.proj", block);
    linear(l, &f->down, 4 * c, c, true, "%s.ff.net.2", block);
    linear(l, &f->out, c, c, true, "%s.proj_out", name);
}

/* A convolution that halves the plane or doubles it, or the first. */
static void resample(loading *l, tsri_plane_conv *to, const char *name)
{
    char weight[NAME];

    snprintf(weight, sizeof weight, "%.*s.weight", NAME - 8, name);
    const int out = side(l, weight, 0);
    if (out < 1 || out > TSRI_PLANE_CHANNELS) {
        bad(l, weight);
        return;
    }
    conv(l, to, l->channels, out, 3, "%s", name);
    l->channels = out;
}

/* ---- blocks ---- */

static bool has(const loading *l, const char *name, const char *tail)
{
    return tsri_loader_has(&l->load, "%s.%s", name, tail);
}

/* What part NAME is, told by its tensors. */
static void load_part(loading *l, tsri_unet_part *p, bool conditional,
                      const char *name)
{
    char sub[NAME];

    if (has(l, name, "in_layers.")) {
        p->kind = TSRI_UNET_RESIDUAL;
        p->residual = tsri_calloc(l->load.ctx, 1, sizeof *p->residual);
        if (p->residual)
            residual(l, p->residual, name);
        else
            l->load.error = tsri_nomem(l->load.ctx);
    } else if (has(l, name, "transformer_blocks.")) {
        p->kind = TSRI_UNET_FORMER;
        p->former = tsri_calloc(l->load.ctx, 1, sizeof *p->former);
        if (p->former)
            former(l, p->former, conditional, name);
        else
            l->load.error = tsri_nomem(l->load.ctx);
    } else {
        p->kind = TSRI_UNET_CONV;
        const bool halves = has(l, name, "op."), doubles = has(l, name, "conv.");
        snprintf(sub, sizeof sub, "%.*s%s", NAME - 8, name,
                 halves ? ".op" : doubles ? ".conv" : "");
        resample(l, &p->conv, sub);
        p->conv.stride = halves ? 2 : 1;
        p->conv.twice = !halves && doubles;
    }
    tsri_loader_drop(&l->load);
}

/* The second transformer of a block is the one that sees the condition. */
static void load_block(loading *l, tsri_unet_block *b, const char *name)
{
    int formers = 0;

    for (b->parts = 0; !l->load.error; b->parts++) {
        char sub[NAME];
        snprintf(sub, sizeof sub, "%.*s.%d", NAME - 16, name, b->parts);
        if (!has(l, sub, ""))
            break;
        if (b->parts == TSRI_UNET_PARTS) {
            bad(l, sub);
            break;
        }
        tsri_unet_part *p = &b->part[b->parts];
        load_part(l, p, formers > 0, sub);
        formers += p->kind == TSRI_UNET_FORMER;
    }
    if (!b->parts)
        bad(l, name);
}

static int count(loading *l, const char *name)
{
    const int n = tsri_loader_last(&l->load, name) + 1;

    if (n < 1 || n > TSRI_UNET_BLOCKS)
        bad(l, name);
    return n;
}

/* Channels that each block of the second half reads beside the plane. */
static void load_blocks(loading *l)
{
    tsri_unet *u = l->unet;
    int kept[TSRI_UNET_BLOCKS];
    char name[NAME];

    for (int i = 0; i < u->ins && !l->load.error; i++) {
        snprintf(name, sizeof name, MODEL "input_blocks.%d", i);
        load_block(l, &u->in[i], name);
        kept[i] = l->channels;
    }
    load_block(l, &u->middle, MODEL "middle_block");
    for (int i = 0; i < u->outs && !l->load.error; i++) {
        snprintf(name, sizeof name, MODEL "output_blocks.%d", i);
        l->channels += kept[u->ins - 1 - i];
        load_block(l, &u->out[i], name);
    }
}

tsr_error tsri_unet_load(tsri_unet *u, const tsr_model *model)
{
    loading l = { .load = { .ctx = u->ctx, .model = model }, .unet = u };

    u->ins = count(&l, MODEL "input_blocks");
    u->outs = count(&l, MODEL "output_blocks");
    u->first = side(&l, MODEL "input_blocks.0.0.weight", 0);
    u->channels = side(&l, MODEL "input_blocks.0.0.weight", 1);
    if (u->outs != u->ins || u->first < 1 || u->first % TSRI_UNET_GROUPS ||
        u->first > TSRI_PLANE_CHANNELS / 4 || u->channels < 1 ||
        u->channels > TSRI_PLANE_CHANNELS)
        bad(&l, MODEL "input_blocks");
    if (l.load.error)
        return l.load.error;
    linear(&l, &u->time[0], u->first, 4 * u->first, true, "%s",
           MODEL "time_embed.0");
    linear(&l, &u->time[1], 4 * u->first, 4 * u->first, true, "%s",
           MODEL "time_embed.2");
    l.channels = u->channels;
    load_blocks(&l);
    norm(&l, &u->last, l.channels, true, "%s", MODEL "out.0");
    conv(&l, &u->end, l.channels, u->channels, 3, "%s", MODEL "out.2");
    tsri_loader_drop(&l.load);
    return l.load.error;
}

/* ---- dropping ---- */

static void drop_residual(tsr_context *ctx, tsri_unet_residual *r)
{
    tsri_free(ctx, r->norm1.weight);
    tsri_free(ctx, r->norm2.weight);
    tsri_plane_conv_close(&r->conv1, ctx);
    tsri_plane_conv_close(&r->conv2, ctx);
    tsri_plane_conv_close(&r->skip, ctx);
    tsri_conv1d_close(&r->time, ctx);
    tsri_free(ctx, r);
}

static void drop_former(tsr_context *ctx, tsri_unet_former *f)
{
    tsri_free(ctx, f->norm.weight);
    for (int i = 0; i < 3; i++)
        tsri_free(ctx, f->norms[i].weight);
    for (int i = 0; i < 2; i++) {
        tsri_conv1d_close(&f->attention[i].q, ctx);
        tsri_conv1d_close(&f->attention[i].k, ctx);
        tsri_conv1d_close(&f->attention[i].v, ctx);
        tsri_conv1d_close(&f->attention[i].out, ctx);
    }
    tsri_conv1d_close(&f->in, ctx);
    tsri_conv1d_close(&f->out, ctx);
    tsri_conv1d_close(&f->up, ctx);
    tsri_conv1d_close(&f->down, ctx);
    tsri_free(ctx, f);
}

static void drop_block(tsr_context *ctx, tsri_unet_block *b)
{
    for (int i = 0; i < TSRI_UNET_PARTS; i++) {
        tsri_plane_conv_close(&b->part[i].conv, ctx);
        if (b->part[i].residual)
            drop_residual(ctx, b->part[i].residual);
        if (b->part[i].former)
            drop_former(ctx, b->part[i].former);
    }
}

void tsri_unet_unload(tsri_unet *u)
{
    for (int i = 0; i < TSRI_UNET_BLOCKS; i++) {
        drop_block(u->ctx, &u->in[i]);
        drop_block(u->ctx, &u->out[i]);
    }
    drop_block(u->ctx, &u->middle);
    tsri_conv1d_close(&u->time[0], u->ctx);
    tsri_conv1d_close(&u->time[1], u->ctx);
    tsri_free(u->ctx, u->last.weight);
    tsri_plane_conv_close(&u->end, u->ctx);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* What a window costs to draw, told by the shapes of tensors alone: who asks does
 * not want to wait for a gigabyte of weights. */
#include <stdlib.h>
#include <string.h>
#include "codecs/audio/loader.h"
#include "codecs/audio/semanticodec_decode.h"
#include "lib/bytes.h"

#define UNET "model.diffusion_model."
#define STAGE "first_stage_model."

enum { BLOCKS_MAX = 64, SHIFT_MAX = 15 };

typedef struct counter {
    tsri_loader load;           /* to look for names */
    int positions, context;     /* of a condition */
    int rows, wide;             /* of a latent */
    int deepest, levels;        /* halvings of the UNet; levels of the decoder */
    int frames;                 /* of bands */
    int blocks;                 /* residual blocks of a vocoder's rate */
    double passes;
} counter;

static bool begins(const char *name, const char *with)
{
    return !strncmp(name, with, strlen(with));
}

/* The number behind `with`, which the name begins with; -1: it does not, or the
 * number is none that a codec that opens would have. */
static int number(const char *name, const char *with)
{
    const long n = begins(name, with) ? strtol(name + strlen(with), NULL, 10) : -1;

    return n >= 0 && n < BLOCKS_MAX ? (int)n : -1;
}

/* Doublings of a side, whatever the names say. */
static int bounded(int doublings)
{
    return doublings < 0 ? 0 : doublings < SHIFT_MAX ? doublings : SHIFT_MAX;
}

/* Cells of the UNet's plane that is halved so many times. */
static double cells(const counter *c, int halvings)
{
    return (double)tsri_ceil_div(c->rows, 1 << halvings) *
           tsri_ceil_div(c->wide, 1 << halvings);
}

/* Blocks before number `i` that have such a layer. */
static int blocks_with(const counter *c, const char *blocks, const char *layer,
                       int i)
{
    int n = 0;

    for (int k = 0; k < i; k++)
        for (int part = 0; part < 4; part++)
            n += tsri_loader_has(&c->load, UNET "%s.%d.%d.%s.", blocks, k, part,
                                 layer);
    return n;
}

static int halvings(const counter *c, const char *name)
{
    const int in = number(name, UNET "input_blocks.");
    const int out = number(name, UNET "output_blocks.");

    if (in >= 0)
        return bounded(blocks_with(c, "input_blocks", "op", in + 1));
    if (out >= 0)
        return bounded(c->deepest - blocks_with(c, "output_blocks", "conv",
                                     out + (strstr(name, ".conv.") != NULL)));
    return begins(name, UNET "middle_block") ? c->deepest : 0;
}

/* Of a window: `weights` is the product of the tensor's sides, `row` the second. */
static double unet_macs(const counter *c, const char *name, double weights,
                        double row)
{
    const double n = cells(c, halvings(c, name));
    const bool other = strstr(name, ".2.transformer_blocks.") != NULL;

    if (strstr(name, "time_embed") || strstr(name, "emb_layers"))
        return c->passes * weights;
    if (other && (strstr(name, "attn2.to_k") || strstr(name, "attn2.to_v")))
        return c->positions * weights;  /* once, for all steps */
    if (strstr(name, "to_q"))           /* and scores, and sums of values */
        return c->passes * n * (weights + 2 * row *
                                (other && strstr(name, "attn2") ? c->positions
                                                                : n));
    return c->passes * n * weights;
}

static double bands_macs(const counter *c, const char *name, double weights,
                         double row)
{
    const int level = number(name, STAGE "decoder.up.");
    const bool last = begins(name, STAGE "decoder.conv_out");
    const int doublings = bounded(level >= 0 ? c->levels - 1 - level +
                                               (strstr(name, "upsample") != NULL)
                                             : last ? c->levels - 1 : 0);
    const double n = cells(c, 0) * (double)(1 << doublings) *
                     (double)(1 << doublings);

    return n * (weights + (strstr(name, "attn_1.q.") ? 2 * row * n : 0));
}

/* Samples behind so many rates. */
static double samples(const counter *c, int rates)
{
    double n = c->frames;

    for (int i = 0; i < rates && i < TSRI_LATENT_RATES; i++)
        n *= tsri_latent_rates[i];
    return n;
}

static double sound_macs(const counter *c, const char *name, double weights)
{
    const int up = number(name, STAGE "vocoder.ups.");
    const int block = number(name, STAGE "vocoder.resblocks.");

    return weights * samples(c, up >= 0 ? up :
                             block >= 0 && c->blocks ? block / c->blocks + 1 :
                             begins(name, STAGE "vocoder.conv_post")
                                 ? TSRI_LATENT_RATES : 0);
}

static bool measure(counter *c, const tsri_semanticodec *codec)
{
    const tsr_tensor *mel = NULL;
    static const char *const names[] = { STAGE "vocoder.conv_pre.weight",
                                         STAGE "vocoder.conv_pre.weight_v" };

    for (int i = 0; i < 2 && !mel; i++)
        mel = tsr_model_tensor(codec->model, names[i]);
    c->levels = 1 + tsri_loader_last(&c->load, STAGE "decoder.up");
    if (!mel || mel->rank != 3 || c->levels < 1 || c->levels > TSRI_LATENT_LEVELS)
        return false;
    c->wide = (int)(mel->dims[1] % (1 << 12)) >> (c->levels - 1);
    c->rows = c->frames >> (c->levels - 1);
    c->blocks = (1 + tsri_loader_last(&c->load, STAGE "vocoder.resblocks")) /
                TSRI_LATENT_RATES;
    const int ins = 1 + tsri_loader_last(&c->load, UNET "input_blocks");
    c->deepest = ins > BLOCKS_MAX ? 0 : blocks_with(c, "input_blocks", "op", ins);
    return c->deepest <= SHIFT_MAX;
}

/* Of a convolution or a layer; 0: the tensor is none. */
static double weights_of(const tsr_tensor *t)
{
    const char *end = strrchr(t->name, '.');
    double n = 1;

    if (t->rank < 2 || !end ||
        (strcmp(end, ".weight") && strcmp(end, ".weight_v")))
        return 0;
    for (int i = 0; i < t->rank; i++)
        n *= (double)t->dims[i];
    return n;
}

/* 0: impossible. */
static int steps_of(const tsri_semanticodec *codec)
{
    const tsr_tensor *t = tsr_model_tensor(codec->model,
                                           TSRI_SEMANTICODEC_SAMPLER);
    const uint32_t steps = t && t->bytes == 8 ? tsri_get32(t->data) : 0;

    return steps <= TSRI_DIFFUSION_TIMES ? (int)steps : 0;
}

double tsri_semanticodec_macs(const tsri_semanticodec *codec)
{
    counter c = { .load = { .ctx = codec->ctx, .model = codec->model },
                  .positions = codec->positions, .frames = codec->vit.frames };
    double macs = 0;

    c.passes = 2 * steps_of(codec);
    if (c.passes < 1 || !measure(&c, codec))
        return 0;
    for (size_t i = 0; i < tsr_model_tensor_count(codec->model); i++) {
        const tsr_tensor *t = tsr_model_tensor_at(codec->model, i);
        const double weights = weights_of(t);
        if (weights > 0 && begins(t->name, UNET))
            macs += unet_macs(&c, t->name, weights, (double)t->dims[1]);
        else if (weights > 0 && begins(t->name, STAGE "vocoder."))
            macs += sound_macs(&c, t->name, weights);
        else if (weights > 0 && (begins(t->name, STAGE "decoder.") ||
                                 begins(t->name, STAGE "post_quant_conv.")))
            macs += bands_macs(&c, t->name, weights, (double)t->dims[1]);
    }
    return macs;
}

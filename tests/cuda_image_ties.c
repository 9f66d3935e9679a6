/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"
#include <math.h>
#include "lib/weights.h"
#include "tests/cuda_image.h"

/* A picture as the encoder nets see it: in -1..1, continued by `at`. */
typedef struct padded {
    const tsr_image *image;
    int *ys, *xs;
} padded;

static tsr_error read_padded(void *cookie, tsri_rect r, tsri_fmap *dst)
{
    const padded *p = cookie;

    tsri_image_gather(p->image, p->ys + r.y0, p->xs + r.x0, dst);
    for (int c = 0; c < dst->channels; c++)
        for (int y = 0; y < dst->height; y++)
            for (int x = 0; x < dst->width; x++) {
                float *v = dst->data + (size_t)c * dst->plane +
                           (size_t)y * dst->row + (size_t)x;
                *v = *v * 2 - 1;
            }
    return TSR_OK;
}

/* The whole output of a net; free() its data. */
static tsri_fmap run(tsri_net *net, int height, int width, tsri_net_source source,
                     void *cookie)
{
    tsri_fmap map = { .channels = tsri_net_out_channels(net) };

    tsri_net_out_size(net, height, width, &map.height, &map.width);
    map.row = (size_t)map.width;
    map.plane = (size_t)map.height * map.row;
    map.data = malloc(map.plane * (size_t)map.channels * sizeof *map.data);
    assert_non_null(map.data);
    if (tsri_net_run(net, height, width, (tsri_rect){ 0, 0, map.height,
                     map.width }, source, cookie, &map))
        fail_msg("%s", token_message);
    tsri_net_free(&net);
    return map;
}

/* Channels c0..c0+dim-1 of z at a place: how far is it from the border between
 * words a and b, over its length? */
static double distance(const tsri_fmap *z, size_t at, int c0, int dim,
                       const float *a, const float *b)
{
    double da = 0, db = 0, between = 0, length = 0;

    for (int c = 0; c < dim; c++) {
        const double x = z->data[(size_t)(c0 + c) * z->plane + at];
        da += (x - a[c]) * (x - a[c]);
        db += (x - b[c]) * (x - b[c]);
        between += ((double)a[c] - b[c]) * ((double)a[c] - b[c]);
        length += x * x;
    }
    return fabs(db - da) / (2 * sqrt(between) * sqrt(length) + 1e-30);
}

/* Places of one group of codewords that differ. */
static void look(ties *t, const tsri_fmap *z, int c0, int dim, const float *words,
                 const int32_t *a, const int32_t *b)
{
    for (size_t i = 0; i < z->plane; i++) {
        if (a[i] == b[i])
            continue;
        const double d = distance(z, i, c0, dim, words + (size_t)a[i] *
                                  (size_t)dim, words + (size_t)b[i] * (size_t)dim);
        t->count++;
        t->worst = d > t->worst ? d : t->worst;
    }
}

static ties token_ties(tsr_context *ctx, tsr_model *model, const tsr_image *image,
                       const gpu_tokens *a, const gpu_tokens *b)
{
    const tsri_image_codec *codec;
    ties t = { 0, 0 };
    void *self;

    assert_int_equal(tsri_image_codec_of(ctx, model, &codec), TSR_OK);
    assert_int_equal(codec->open(&self, ctx, model), TSR_OK);
    const tsri_token_codec *k = tsri_token_of(codec, self);
    const int f = k->shape.factor;
    const int height = tsri_ceil_div(image->height, f) * f;
    const int width = tsri_ceil_div(image->width, f) * f;
    padded p = { image, tsri_image_padding(ctx, image->height, height, 0),
                 tsri_image_padding(ctx, image->width, width, 0) };
    tsri_net *net;

    assert_int_equal(tsri_token_net(&net, ctx, model, k->family, &k->shape,
                                    TSRI_TOKEN_ENCODER, NULL), TSR_OK);
    tsri_fmap z = run(net, height, width, read_padded, &p);
    look(&t, &z, 0, k->shape.dim, k->words, a->id, b->id);
    tsri_free(ctx, p.ys);
    tsri_free(ctx, p.xs);
    free(z.data);
    codec->close(&self);
    return t;
}

/* Of level 0, which depends on no other. */
static ties mcquic_ties(tsr_context *ctx, tsr_model *model, const tsr_image *image,
                        const gpu_tokens *a, const gpu_tokens *b)
{
    static const tsri_mcquic_part part[] = { TSRI_MCQUIC_ENCODER,
                                             TSRI_MCQUIC_STAGE,
                                             TSRI_MCQUIC_QUANT_HEAD };
    tsri_mcquic_shape s;
    const tsr_tensor *tensor;
    tsri_fmap z[3];
    ties t = { 0, 0 };
    float *words;

    assert_int_equal(tsri_mcquic_shape_read(ctx, model, &s), TSR_OK);
    const int step = 16 << s.levels, dim = s.channels / s.m;
    const int height = tsri_ceil_div(image->height, step) * step;
    const int width = tsri_ceil_div(image->width, step) * step;
    padded p = { image, tsri_image_padding(ctx, image->height, height,
                                           (height - image->height) / 2),
                 tsri_image_padding(ctx, image->width, width,
                                    (width - image->width) / 2) };
    for (int i = 0; i < 3; i++) {
        tsri_net *net;
        assert_int_equal(tsri_mcquic_net(&net, ctx, model, &s, part[i], 0, 999),
                         TSR_OK);
        z[i] = i ? run(net, z[i - 1].height, z[i - 1].width, tsri_map_source,
                       &z[i - 1])
                 : run(net, height, width, read_padded, &p);
    }
    tensor = tsr_model_tensor(model, "_quantizer._encoders.0._quantizer._codebook");
    assert_int_equal(tsri_tensor_floats(ctx, tensor, &words), TSR_OK);
    for (int g = 0; g < s.m; g++)
        look(&t, &z[2], g * dim, dim, words + (size_t)g * (size_t)s.k[0] *
             (size_t)dim, a->id + (size_t)g * z[2].plane,
             b->id + (size_t)g * z[2].plane);
    tsri_free(ctx, words);
    tsri_free(ctx, p.ys);
    tsri_free(ctx, p.xs);
    for (int i = 0; i < 3; i++)
        free(z[i].data);
    return t;
}

/* Latents times the gain of quality 100. */
static tsri_fmap hyper_latents(tsr_context *ctx, tsr_model *model,
                               const tsr_image *image)
{
    const int height = tsri_ceil_div(image->height, 16) * 16;
    const int width = tsri_ceil_div(image->width, 16) * 16;
    padded p = { image, calloc((size_t)height, sizeof *p.ys),
                 calloc((size_t)width, sizeof *p.xs) };
    float gain[TSRI_HYPER_LATENTS_MAX];
    tsri_hyper_nets nets;

    assert_true(p.ys && p.xs);
    for (int y = 0; y < height; y++)
        p.ys[y] = tsri_min(y, image->height - 1);
    for (int x = 0; x < width; x++)
        p.xs[x] = tsri_min(x, image->width - 1);
    assert_int_equal(tsri_hyper_nets_open(&nets, ctx, model), TSR_OK);
    tsri_fmap y = run(nets.enc, height, width, read_padded, &p);
    nets.enc = NULL;
    tsri_hyper_gain(&nets, nets.gain_enc, TSRI_HYPER_STEPS *
                                              (TSRI_HYPER_LEVELS - 1), gain);
    for (int c = 0; c < y.channels; c++)
        for (size_t i = 0; i < y.plane; i++)
            y.data[(size_t)c * y.plane + i] *= gain[c];
    tsri_hyper_nets_close(&nets, ctx);
    free(p.ys);
    free(p.xs);
    return y;
}

static ties hyper_ties(tsr_context *cpu, tsr_context *gpu, tsr_model *model,
                       const tsr_image *image)
{
    tsri_fmap a = hyper_latents(cpu, model, image);
    tsri_fmap b = hyper_latents(gpu, model, image);
    ties t = { a.plane * (size_t)a.channels, 0 };

    for (size_t i = 0; i < t.count; i++)
        t.worst = fmax(t.worst, fabs((double)a.data[i] - b.data[i]));
    free(a.data);
    free(b.data);
    return t;
}

ties cuda_image_ties(tsr_context *cpu, tsr_context *gpu, tsr_model *model,
                     const tsr_image *image, const gpu_tokens *a,
                     const gpu_tokens *b)
{
    const char *codec = tsr_model_codec(model);

    return !strcmp(codec, "hyper") ? hyper_ties(cpu, gpu, model, image) :
           !strcmp(codec, "mcquic") ? mcquic_ties(cpu, model, image, a, b) :
           token_ties(cpu, model, image, a, b);
}

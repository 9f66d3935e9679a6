/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>
#include "codecs/audio/hificodec.h"
#include "lib/weights.h"

enum { RATE_MAX = 256, DILATION_MAX = 256, NORM_CHANNELS = 16 };
static const float slope = 0.1f, last_slope = 0.01f, norm_eps = 1e-6f;

/* ---- sizes ---- */

static tsr_error bad(tsr_context *ctx, const tsr_model *model, const char *name)
{
    return tsri_fail(ctx, TSR_E_SHAPE, "%s: '%s' does not fit the network",
                     tsr_model_path(model), name);
}

/* An int32 tensor of n numbers, 1..limit each. */
static tsr_error read_ints(tsr_context *ctx, const tsr_model *model,
                           const tsr_tensor *tensor, int limit, int *out)
{
    bool good = true;
    int32_t *v;

    TSR_TRY(tsri_tensor_ints(ctx, tensor, &v));
    for (size_t i = 0; i < tsri_tensor_count(tensor); i++) {
        good = good && v[i] >= 1 && v[i] <= limit;
        out[i] = v[i];
    }
    tsri_free(ctx, v);
    return good ? TSR_OK : bad(ctx, model, tensor->name);
}

static tsr_error read_rates(tsr_context *ctx, const tsr_model *model, int hop,
                            tsri_hificodec_sizes *s)
{
    const uint64_t any[] = { TSRI_ANY };
    const tsr_tensor *tensor;
    int64_t product = 1;

    TSR_TRY(tsri_want(ctx, model, &tensor, 1, any, "tessera.hificodec.rates"));
    if (tensor->dims[0] > TSRI_HIFICODEC_STAGES)
        return bad(ctx, model, tensor->name);
    s->stages = (int)tensor->dims[0];
    TSR_TRY(read_ints(ctx, model, tensor, RATE_MAX, s->rate));
    for (int i = 0; i < s->stages && product <= hop; i++)
        product *= s->rate[i];
    return product == hop ? TSR_OK : bad(ctx, model, tensor->name);
}

/* How many residual blocks, of how many steps. */
static tsr_error read_blocks(tsr_context *ctx, const tsr_model *model,
                             tsri_hificodec_sizes *s)
{
    const tsri_loader load = { .ctx = ctx, .model = model };
    char name[TSRI_LOADER_NAME], convs[TSRI_LOADER_NAME];

    snprintf(name, sizeof name, "%s.resblocks", s->generator);
    const int blocks = tsri_loader_last(&load, name) + 1;
    s->pairs = tsri_loader_has(&load, "%s.resblocks.0.convs1.", s->generator);
    snprintf(convs, sizeof convs, "%s.resblocks.0.convs%s", s->generator,
             s->pairs ? "1" : "");
    s->steps = 1 + tsri_loader_last(&load, convs);
    s->kernels = blocks / s->stages;
    if (blocks % s->stages || s->kernels < 1 || s->steps < 1 ||
        s->kernels > TSRI_HIFICODEC_KERNELS || s->steps > TSRI_HIFICODEC_STEPS)
        return bad(ctx, model, name);
    return TSR_OK;
}

static tsr_error check_encoder(tsr_context *ctx, const tsr_model *model,
                               const tsri_hificodec_sizes *s)
{
    const tsri_loader load = { .ctx = ctx, .model = model };

    if (tsri_loader_last(&load, "encoder.resblocks") + 1 !=
        s->stages * s->kernels)
        return bad(ctx, model, "encoder.resblocks");
    return TSR_OK;
}

static tsr_error read_dilations(tsr_context *ctx, const tsr_model *model,
                                tsri_hificodec_sizes *s)
{
    static const char name[] = "tessera.hificodec.dilations";
    const uint64_t dims[] = { (uint64_t)s->kernels, (uint64_t)s->steps };
    int values[TSRI_HIFICODEC_KERNELS * TSRI_HIFICODEC_STEPS];
    const tsr_tensor *tensor;
    const bool given = tsr_model_tensor(model, name) != NULL;

    if (given) {
        TSR_TRY(tsri_want(ctx, model, &tensor, 2, dims, name));
        TSR_TRY(read_ints(ctx, model, tensor, DILATION_MAX, values));
    }
    for (int k = 0; k < s->kernels; k++)
        for (int i = 0; i < s->steps; i++)
            s->dilation[k][i] = given ? values[k * s->steps + i] : 1 + 2 * i;
    return TSR_OK;
}

tsr_error tsri_hificodec_sizes_read(tsr_context *ctx, const tsr_model *model,
                                    int hop, tsri_hificodec_sizes *sizes)
{
    *sizes = (tsri_hificodec_sizes){ .generator = "generator",
                                     .last_slope = slope };
    TSR_TRY(read_rates(ctx, model, hop, sizes));
    TSR_TRY(read_blocks(ctx, model, sizes));
    TSR_TRY(check_encoder(ctx, model, sizes));
    return read_dilations(ctx, model, sizes);
}

tsr_error tsri_hifigan_sizes_read(tsr_context *ctx, const tsr_model *model,
                                  const char *generator, const int *rate,
                                  int stages, tsri_hificodec_sizes *sizes)
{
    *sizes = (tsri_hificodec_sizes){ .generator = generator, .stages = stages,
                                     .last_slope = last_slope, .longer = true };
    memcpy(sizes->rate, rate, (size_t)stages * sizeof *rate);
    TSR_TRY(read_blocks(ctx, model, sizes));
    for (int k = 0; k < sizes->kernels; k++)
        for (int i = 0; i < sizes->steps; i++)
            sizes->dilation[k][i] = 1 + 2 * i;
    return TSR_OK;
}

/* ---- layers ---- */

typedef struct net {
    tsri_loader load;
    const tsri_hificodec_sizes *sizes;
    const char *until;
    int found;              /* node of `until`; -1: not yet */
    uint64_t jump;          /* input samples of one of the present node */
    uint64_t reach;         /* of the present node, in input samples */
} net;

/* Nothing more is to be made. */
static bool idle(const net *n)
{
    return n->load.error || n->found >= 0;
}

/* Is this what was asked for?  Passes the node on. */
static int layer(net *n, const char *name, int x)
{
    if (!idle(n) && n->until && !strcmp(name, n->until))
        n->found = x;
    return x;
}

/* A convolution that keeps the length. */
static int conv(net *n, int x, const char *name, int dilation)
{
    int sides[3];

    if (idle(n) || !tsri_loader_sides(&n->load, name, sides))
        return 0;
    const int total = (sides[2] - 1) * dilation;
    if (total % 2) {
        tsri_loader_bad(&n->load, name);
        return 0;
    }
    const tsri_seq_conv spec = {
        .stride = 1, .dilation = dilation, .left = total / 2,
        .right = total / 2, .pad = TSRI_SEQ_ZERO,
    };
    n->reach += n->jump * (uint64_t)(total / 2);
    return layer(n, name, tsri_loader_conv(&n->load, x, name, &spec));
}

static int act(net *n, int x, float leak)
{
    return idle(n) ? 0 : tsri_seq_act(n->load.seq, x, TSRI_CURVE_LEAKY, leak,
                                      NULL);
}

static int add(net *n, int x, int y, float scale)
{
    return idle(n) ? 0 : tsri_seq_add(n->load.seq, x, y, scale);
}

/* What a change of rate pads or trims; -1: a kernel that does not go with it. */
static int rate_pad(net *n, const char *name, int rate)
{
    int sides[3];

    if (idle(n) || !tsri_loader_sides(&n->load, name, sides))
        return -1;
    if (sides[2] >= rate && ((sides[2] - rate) % 2 == 0 || n->sizes->longer))
        return (sides[2] - rate) / 2;
    tsri_loader_bad(&n->load, name);
    return -1;
}

static int down(net *n, int x, int stage)
{
    const int rate = n->sizes->rate[n->sizes->stages - 1 - stage];
    char name[TSRI_LOADER_NAME];

    snprintf(name, sizeof name, "encoder.ups.%d", stage);
    const int pad = rate_pad(n, name, rate);
    if (pad < 0)
        return 0;
    const tsri_seq_conv spec = { .stride = rate, .dilation = 1, .left = pad,
                                 .right = pad, .pad = TSRI_SEQ_ZERO };
    n->reach += n->jump * (uint64_t)pad;
    n->jump *= (uint64_t)rate;
    return layer(n, name, tsri_loader_conv(&n->load, x, name, &spec));
}

static int up(net *n, int x, int stage)
{
    char name[TSRI_LOADER_NAME];

    snprintf(name, sizeof name, "%s.ups.%d", n->sizes->generator, stage);
    const int pad = rate_pad(n, name, n->sizes->rate[stage]);
    if (pad < 0)
        return 0;
    const tsri_seq_convtr spec = { .stride = n->sizes->rate[stage],
                                   .trim = n->sizes->longer ? 0 : pad,
                                   .full = n->sizes->longer };
    x = tsri_loader_convtr(&n->load, x, name, &spec);
    if (n->sizes->longer && !idle(n))
        x = tsri_seq_crop(n->load.seq, x, pad, pad);
    return layer(n, name, x);
}

/* Residual block `number`; active: act(x), which all blocks of a stage share.
 * Its convolutions have the dilations of kernel k. */
static int residual(net *n, int x, int active, const char *part, int number,
                    int k)
{
    const int channels = n->load.channels;
    char name[TSRI_LOADER_NAME];

    for (int i = 0; i < n->sizes->steps; i++) {
        snprintf(name, sizeof name, "%s.resblocks.%d.convs%s.%d", part, number,
                 n->sizes->pairs ? "1" : "", i);
        int y = conv(n, i ? act(n, x, slope) : active, name,
                     n->sizes->dilation[k][i]);
        if (n->sizes->pairs) {
            snprintf(name, sizeof name, "%s.resblocks.%d.convs2.%d", part,
                     number, i);
            y = conv(n, act(n, y, slope), name, 1);
        }
        if (!idle(n) && n->load.channels != channels)
            tsri_loader_bad(&n->load, name);
        x = add(n, x, y, 1);
    }
    snprintf(name, sizeof name, "%s.resblocks.%d", part, number);
    return layer(n, name, x);
}

static int group_norm(net *n, int x, int number)
{
    char name[TSRI_LOADER_NAME];

    snprintf(name, sizeof name, "encoder.normalize.%d", number);
    if (!idle(n) && n->load.channels % NORM_CHANNELS)
        tsri_loader_bad(&n->load, name);
    if (idle(n))
        return 0;
    return layer(n, name, tsri_loader_group_norm(&n->load, x, name,
                                                 n->load.channels /
                                                 NORM_CHANNELS, norm_eps));
}

/* ---- nets ---- */

/* Kernels run backward, and each sum is normalised before the next is added. */
static int encoder_blocks(net *n, int x, int stage)
{
    const int kernels = n->sizes->kernels, active = act(n, x, slope);
    const uint64_t reach = n->reach;
    uint64_t farthest = reach;
    int sum = 0;

    for (int j = 0; j < kernels; j++) {
        const int number = stage * kernels + j;
        n->reach = reach;
        const int y = residual(n, x, active, "encoder", number,
                               kernels - 1 - j);
        sum = group_norm(n, j ? add(n, sum, y, 1) : y, number);
        farthest = n->reach > farthest ? n->reach : farthest;
    }
    n->reach = farthest;
    return idle(n) ? 0 : tsri_seq_scale(n->load.seq, sum, 1 / (float)kernels);
}

static int decoder_blocks(net *n, int x, int stage)
{
    const int kernels = n->sizes->kernels, active = act(n, x, slope);
    int sum = 0;

    for (int j = 0; j < kernels; j++) {
        const int y = residual(n, x, active, n->sizes->generator,
                               stage * kernels + j, j);
        sum = j ? add(n, sum, y, j + 1 < kernels ? 1 : 1 / (float)kernels) : y;
    }
    return sum;
}

static tsr_error start(net *n, tsr_context *ctx, const tsr_model *model,
                       const tsri_hificodec_sizes *sizes, int channels,
                       const char *until)
{
    *n = (net){ .sizes = sizes, .until = until, .found = -1, .jump = 1 };
    tsri_loader_start(&n->load, ctx, model, channels);
    return n->load.error;
}

tsr_error tsri_hificodec_encoder(tsri_seq **seq, tsr_context *ctx,
                                 const tsr_model *model,
                                 const tsri_hificodec_sizes *sizes,
                                 const char *until, uint64_t *reach)
{
    net n;

    *seq = NULL;
    TSR_TRY(start(&n, ctx, model, sizes, 1, until));
    int x = conv(&n, 0, "encoder.conv_pre", 1);
    for (int i = 0; i < sizes->stages; i++) {
        x = down(&n, act(&n, x, slope), i);
        x = encoder_blocks(&n, x, i);
    }
    x = conv(&n, act(&n, x, last_slope), "encoder.conv_post", 1);
    if (reach)
        *reach = n.reach;
    return tsri_loader_finish(&n.load, n.found >= 0 ? n.found : x, seq);
}

tsr_error tsri_hificodec_decoder(tsri_seq **seq, tsr_context *ctx,
                                 const tsr_model *model,
                                 const tsri_hificodec_sizes *sizes, int latent,
                                 const char *until)
{
    net n;

    *seq = NULL;
    TSR_TRY(start(&n, ctx, model, sizes, latent, until));
    tsri_seq_decodes(n.load.seq);
    char name[TSRI_LOADER_NAME];

    snprintf(name, sizeof name, "%s.conv_pre", sizes->generator);
    int x = conv(&n, 0, name, 1);
    for (int i = 0; i < sizes->stages; i++) {
        x = up(&n, act(&n, x, slope), i);
        x = decoder_blocks(&n, x, i);
    }
    snprintf(name, sizeof name, "%s.conv_post", sizes->generator);
    x = conv(&n, act(&n, x, sizes->last_slope), name, 1);
    if (!idle(&n))
        x = tsri_seq_act(n.load.seq, x, TSRI_CURVE_TANH, 0, NULL);
    return tsri_loader_finish(&n.load, n.found >= 0 ? n.found : x, seq);
}

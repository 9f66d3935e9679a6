/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include "codecs/audio/latent.h"
#include "lib/weights.h"

#define STAGE "first_stage_model."
enum { GROUPS = 32, CHANNELS_MAX = 4096, LEVELS_MAX = TSRI_LATENT_LEVELS };
static const float eps = 1e-6f;
const int tsri_latent_rates[TSRI_LATENT_RATES] = { 5, 4, 2, 2, 2 };

/* ---- layers of a picture ---- */

typedef struct build {
    tsri_loader load;
    tsri_net *net;
    int channels;               /* of the node made last */
} build;

static int conv(build *b, int x, int kernel, const char *format, const char *name)
{
    const uint64_t any[] = { TSRI_ANY, (uint64_t)b->channels, (uint64_t)kernel,
                             (uint64_t)kernel };
    char full[TSRI_LOADER_NAME];
    const tsr_tensor *t;

    snprintf(full, sizeof full, format, name);
    if (!b->load.error)
        b->load.error = tsri_want(b->load.ctx, b->load.model, &t, 4, any,
                                  "%s.weight", full);
    if (!b->load.error && t->dims[0] > CHANNELS_MAX)
        tsri_loader_bad(&b->load, t->name);
    if (b->load.error)
        return 0;
    const tsri_conv spec = {
        .in = b->channels, .out = (int)t->dims[0], .kernel = kernel, .stride = 1,
        .weight = tsri_loader_floats(&b->load, 4, t->dims, "%s.weight", full),
        .bias = tsri_loader_floats(&b->load, 1, t->dims, "%s.bias", full) };
    b->channels = spec.out;
    return b->load.error ? 0 : tsri_net_conv(b->net, x, &spec);
}

static int norm(build *b, int x, bool active, const char *format, const char *name)
{
    const uint64_t dims[] = { (uint64_t)b->channels };
    char full[TSRI_LOADER_NAME];

    snprintf(full, sizeof full, format, name);
    const tsri_norm spec = {
        .groups = GROUPS, .eps = eps,
        .gamma = tsri_loader_floats(&b->load, 1, dims, "%s.weight", full),
        .beta = tsri_loader_floats(&b->load, 1, dims, "%s.bias", full) };
    if (!b->load.error && b->channels % GROUPS)
        tsri_loader_bad(&b->load, full);
    if (b->load.error)
        return 0;
    x = tsri_net_norm(b->net, x, &spec);
    return active ? tsri_net_act(b->net, x, TSRI_ACT_SILU) : x;
}

static int residual(build *b, int x, const char *name)
{
    const int in = b->channels;
    int y = norm(b, x, true, "%s.norm1", name);

    y = conv(b, y, 3, "%s.conv1", name);
    y = norm(b, y, true, "%s.norm2", name);
    y = conv(b, y, 3, "%s.conv2", name);
    const int out = b->channels;
    if (in != out) {
        b->channels = in;
        x = conv(b, x, 1, "%s.nin_shortcut", name);
    }
    if (!b->load.error && b->channels != out)
        tsri_loader_bad(&b->load, name);
    return b->load.error ? 0 : tsri_net_add(b->net, x, y);
}

static int attention(build *b, int x, const char *name)
{
    const int n = norm(b, x, false, "%s.norm", name);
    const int q = conv(b, n, 1, "%s.q", name), k = conv(b, n, 1, "%s.k", name);
    int v = conv(b, n, 1, "%s.v", name);

    if (!b->load.error)
        v = tsri_net_attention(b->net, q, k, v);
    v = conv(b, v, 1, "%s.proj_out", name);
    return b->load.error ? 0 : tsri_net_add(b->net, x, v);
}

/* One resolution, and the step to the next finer one. */
static int level(build *b, int x, int i)
{
    char name[TSRI_LOADER_NAME], blocks[TSRI_LOADER_NAME];

    snprintf(blocks, sizeof blocks, STAGE "decoder.up.%d.block", i);
    const int n = tsri_loader_last(&b->load, blocks) + 1;
    if (n < 1)
        tsri_loader_bad(&b->load, blocks);
    for (int k = 0; k < n && !b->load.error; k++) {
        snprintf(name, sizeof name, STAGE "decoder.up.%d.block.%d", i, k);
        x = residual(b, x, name);
    }
    if (i == 0 || b->load.error)
        return x;
    snprintf(name, sizeof name, STAGE "decoder.up.%d", i);
    return conv(b, tsri_net_upsample(b->net, x), 3, "%s.upsample.conv", name);
}

static int all_layers(build *b, int levels)
{
    int x = conv(b, 0, 1, "%s", STAGE "post_quant_conv");

    x = conv(b, x, 3, "%s", STAGE "decoder.conv_in");
    x = residual(b, x, STAGE "decoder.mid.block_1");
    x = attention(b, x, STAGE "decoder.mid.attn_1");
    x = residual(b, x, STAGE "decoder.mid.block_2");
    for (int i = levels - 1; i >= 0 && !b->load.error; i--)
        x = level(b, x, i);
    x = norm(b, x, true, "%s", STAGE "decoder.norm_out");
    x = conv(b, x, 3, "%s", STAGE "decoder.conv_out");
    if (!b->load.error && b->channels != 1)
        tsri_loader_bad(&b->load, STAGE "decoder.conv_out");
    return x;
}

/* ---- opening ---- */

static tsr_error open_bands(tsri_latent *l, const tsr_model *model)
{
    const uint64_t any[] = { TSRI_ANY, TSRI_ANY, 1, 1 };
    build b = { .load = { .ctx = l->ctx, .model = model } };
    const tsr_tensor *t;
    const int levels = tsri_loader_last(&b.load, STAGE "decoder.up") + 1;

    TSR_TRY(tsri_want(l->ctx, model, &t, 4, any, "%s",
                      STAGE "post_quant_conv.weight"));
    if (levels < 1 || levels > LEVELS_MAX || t->dims[1] > CHANNELS_MAX) {
        tsri_loader_bad(&b.load, STAGE "decoder.up");
        return b.load.error;
    }
    l->channels = b.channels = (int)t->dims[1];
    l->times = 1 << (levels - 1);
    b.load.error = tsri_net_new(&b.net, l->ctx, l->channels);
    const int last = b.load.error ? 0 : all_layers(&b, levels);
    if (!b.load.error)
        b.load.error = tsri_net_finish(b.net, last);
    tsri_loader_drop(&b.load);
    l->bands = b.net;
    return b.load.error;
}

static tsr_error open_vocoder(tsri_latent *l, const tsr_model *model)
{
    const uint64_t any[] = { TSRI_ANY, TSRI_ANY, TSRI_ANY };
    tsri_hificodec_sizes sizes;
    const tsr_tensor *t;

    TSR_TRY(tsri_want(l->ctx, model, &t, 3, any, "%s",
                      STAGE "vocoder.conv_pre.weight"));
    if (t->dims[1] > CHANNELS_MAX || t->dims[1] % (uint64_t)l->times)
        return tsri_fail(l->ctx, TSR_E_SHAPE, "%s: '%s' does not fit the network",
                         tsr_model_path(model), t->name);
    l->mel = (int)t->dims[1];
    l->wide = l->mel / l->times;
    TSR_TRY(tsri_hifigan_sizes_read(l->ctx, model, STAGE "vocoder",
                                    tsri_latent_rates, TSRI_LATENT_RATES, &sizes));
    TSR_TRY(tsri_hificodec_decoder(&l->vocoder, l->ctx, model, &sizes, l->mel,
                                   NULL));
    if (tsri_seq_out_channels(l->vocoder) != 1)
        return tsri_fail(l->ctx, TSR_E_SHAPE, "%s: '" STAGE "vocoder.conv_post' "
                         "does not fit the network", tsr_model_path(model));
    l->macs = tsri_seq_macs(l->vocoder);
    return TSR_OK;
}

tsr_error tsri_latent_open(tsri_latent *l, tsr_context *ctx,
                           const tsr_model *model)
{
    *l = (tsri_latent){ .ctx = ctx };
    TSR_TRY(open_bands(l, model));
    return open_vocoder(l, model);
}

void tsri_latent_close(tsri_latent *l)
{
    if (!l->ctx)
        return;
    tsri_net_free(&l->bands);
    tsri_seq_free(&l->vocoder);
    *l = (tsri_latent){ 0 };
}

/* ---- running ---- */

typedef struct source {
    const float *z;
    int rows, wide;
} source;

static tsr_error read_latent(void *cookie, tsri_rect r, tsri_fmap *to)
{
    const source *s = cookie;

    for (int c = 0; c < to->channels; c++)
        for (int y = r.y0; y < r.y1; y++)
            for (int x = r.x0; x < r.x1; x++)
                to->data[(size_t)c * to->plane +
                         (size_t)(y - r.y0) * to->row + (size_t)(x - r.x0)] =
                    s->z[((size_t)c * (size_t)s->rows + (size_t)y) *
                         (size_t)s->wide + (size_t)x];
    return TSR_OK;
}

tsr_error tsri_latent_bands(const tsri_latent *l, const float *z, int rows,
                            float *bands)
{
    const tsri_rect all = { 0, 0, rows * l->times, l->mel };
    source s = { z, rows, l->wide };
    tsri_fmap to = { bands, 1, all.y1, all.x1, (size_t)all.y1 * (size_t)all.x1,
                     (size_t)all.x1 };

    return tsri_net_run(l->bands, rows, l->wide, all, read_latent, &s, &to);
}

tsr_error tsri_latent_sound(const tsri_latent *l, const float *bands, int frames,
                            float *x, size_t n)
{
    tsri_seq_stream *stream;
    tsr_error error = tsri_seq_open(&stream, l->vocoder, l->ctx, false);

    if (!error)
        error = tsri_seq_push(stream, bands, (size_t)frames, true, true);
    if (!error && tsri_seq_take(stream, x, n) != n)
        error = tsri_fail(l->ctx, TSR_E_SHAPE, "the vocoder gives less sound than "
                          "tokens stand for");
    tsri_seq_close(&stream);
    return error;
}

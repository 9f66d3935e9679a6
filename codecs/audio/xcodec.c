/* SPDX-License-Identifier: BSD-2-Clause */
/* X-Codec, as far as it decodes: docs/codecs/xcodec.md.
 *
 * Source: Ye et al., "Codec does matter: exploring the semantic shortcoming of
 *         codec for audio language model", AAAI 2025; its decoder is that of Kumar
 *         et al., "High-fidelity audio compression with improved RVQGAN",
 *         NeurIPS 2023. */
#include <stdio.h>
#include "codecs/audio/flow.h"
#include "lib/weights.h"

enum { CODEC_NUMBER = 10, UNITS_MAX = 6 };

#define BLOCK "decoder_2.model.%d.block"

/* A layer over one sample at a time, whose weight has two dimensions. */
static int linear(tsri_loader *load, int x, const char *name)
{
    const uint64_t any[] = { TSRI_ANY, TSRI_ANY };
    const tsr_tensor *tensor;

    if (!load->error)
        load->error = tsri_want(load->ctx, load->model, &tensor, 2, any,
                                "%s.weight", name);
    if (load->error)
        return 0;
    if (tensor->dims[0] > TSR_VQ_MAX_DIM ||
        tensor->dims[1] != (uint64_t)load->channels)
        tsri_loader_bad(load, tensor->name);
    const tsri_seq_conv conv = {
        .in = load->channels, .out = (int)tensor->dims[0], .taps = 1,
        .stride = 1, .dilation = 1, .pad = TSRI_SEQ_ZERO,
        .weight = tsri_loader_floats(load, 2, tensor->dims, "%s.weight", name),
        .bias = tsri_loader_floats(load, 1, tensor->dims, "%s.bias", name),
    };
    load->channels = conv.out;
    return load->error ? 0 : tsri_seq_conv1d(load->seq, x, &conv);
}

static int snake(tsri_loader *load, int x, const char *name)
{
    const uint64_t dims[] = { 1, (uint64_t)load->channels, 1 };
    const float *alpha = tsri_loader_floats(load, 3, dims, "%s.alpha", name);

    return load->error ? 0 : tsri_seq_act(load->seq, x, TSRI_CURVE_SNAKE, 0,
                                          alpha);
}

/* A convolution that keeps the length. */
static int conv(tsri_loader *load, int x, const char *name, int dilation)
{
    int sides[3];

    if (!tsri_loader_sides(load, name, sides))
        return 0;
    if (sides[2] % 2 == 0)
        tsri_loader_bad(load, name);
    const int reach = sides[2] / 2 * dilation;
    const tsri_seq_conv spec = { .stride = 1, .dilation = dilation,
                                 .left = reach, .right = reach,
                                 .pad = TSRI_SEQ_ZERO };
    return tsri_loader_conv(load, x, name, &spec);
}

/* x + two convolutions, each behind a curve. */
static int residual(tsri_loader *load, int x, int layer, int unit, int dilation)
{
    const int channels = load->channels;
    char name[TSRI_LOADER_NAME];
    int y = x;

    for (int i = 0; i < 4; i += 2) {
        snprintf(name, sizeof name, BLOCK ".%d.block.%d", layer, unit, i);
        y = snake(load, y, name);
        snprintf(name, sizeof name, BLOCK ".%d.block.%d", layer, unit, i + 1);
        y = conv(load, y, name, i ? 1 : dilation);
    }
    if (!load->error && load->channels != channels)
        tsri_loader_bad(load, name);
    return load->error ? 0 : tsri_seq_add(load->seq, x, y, 1);
}

/* A stage: its factor is half of the kernel, and of what the kernel makes more
 * the front half, rounded up, is cut off. */
static int stage(tsri_loader *load, int x, int layer)
{
    char name[TSRI_LOADER_NAME];
    int sides[3], dilation = 1;

    snprintf(name, sizeof name, BLOCK, layer);
    const int last = tsri_loader_last(load, name);
    snprintf(name, sizeof name, BLOCK ".0", layer);
    x = snake(load, x, name);
    snprintf(name, sizeof name, BLOCK ".1", layer);
    if (!tsri_loader_sides(load, name, sides))
        return 0;
    if (sides[2] % 2 || last > 1 + UNITS_MAX)
        tsri_loader_bad(load, name);
    const int rate = sides[2] / 2;
    const tsri_seq_convtr spec = { .stride = rate, .trim = (rate + 1) / 2 };
    x = tsri_loader_convtr(load, x, name, &spec);
    for (int i = 2; i <= last && !load->error; i++, dilation *= 3)
        x = residual(load, x, layer, i, dilation);
    return x;
}

static tsr_error open_decoder(tsri_flow *flow)
{
    tsri_loader load;
    char name[TSRI_LOADER_NAME];

    tsri_loader_start(&load, flow->ctx, flow->model,
                      flow->quantiser.shape.dim);
    const int last = tsri_loader_last(&load, "decoder_2.model");
    int x = linear(&load, 0, "fc_post2");
    x = conv(&load, x, "decoder_2.model.0", 1);
    for (int i = 1; i < last - 1; i++)
        x = stage(&load, x, i);
    snprintf(name, sizeof name, "decoder_2.model.%d", last - 1);
    x = snake(&load, x, name);
    snprintf(name, sizeof name, "decoder_2.model.%d", last);
    x = conv(&load, x, name, 1);
    return tsri_loader_finish(&load, x, &flow->dec);
}

static tsr_error open_all(tsri_flow *flow)
{
    tsri_audio_form form;

    TSR_TRY(tsri_audio_form_read(flow->ctx, flow->model, &form));
    if (form.channels != 1 || form.causal || form.group_norm ||
        form.pad != TSRI_SEQ_ZERO || form.segment)
        return tsri_fail(flow->ctx, TSR_E_SHAPE, "%s: 'tessera.audio' is not "
                         "that of an X-Codec", tsr_model_path(flow->model));
    TSR_TRY(tsri_encodec_books(flow));
    TSR_TRY(open_decoder(flow));
    return tsri_flow_ready(flow, &form, tsri_quantiser_books(&flow->quantiser));
}

static tsr_error xcodec_open(void **self, tsr_context *ctx, tsr_model *model)
{
    return tsri_flow_open(self, ctx, model, open_all);
}

const tsri_audio_codec tsri_audio_codec_xcodec = {
    .id = "xcodec", .number = CODEC_NUMBER, .open = xcodec_open,
    TSRI_FLOW_FUNCTIONS
};

/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>
#include "codecs/audio/flow.h"
#include "codecs/audio/hificodec.h"
#include "lib/weights.h"

enum { CODEC_NUMBER = 8, LEVELS = 2 };

static const char *const book_names[LEVELS] = {
    "quantizer.quantizer_modules.%d.embedding.weight",
    "quantizer.quantizer_modules2.%d.embedding.weight",
};

static tsr_error books_shape(tsr_context *ctx, const tsr_model *model,
                             tsr_rvq_shape *shape)
{
    const uint64_t any[] = { TSRI_ANY, TSRI_ANY };
    const tsri_loader load = { .ctx = ctx, .model = model };
    const tsr_tensor *book;

    TSR_TRY(tsri_want(ctx, model, &book, 2, any,
                      "quantizer.quantizer_modules.0.embedding.weight"));
    const int groups = 1 + tsri_max(
        tsri_loader_last(&load, "quantizer.quantizer_modules"),
        tsri_loader_last(&load, "quantizer.quantizer_modules2"));
    if (book->dims[0] < 2 || book->dims[0] > 1 << 16 ||
        book->dims[1] > TSR_VQ_MAX_DIM || groups < 1 ||
        groups > TSR_AUDIO_MAX_BOOKS / LEVELS ||
        book->dims[1] * (uint64_t)groups > TSR_VQ_MAX_DIM)
        return tsri_fail(ctx, TSR_E_SHAPE, "%s: '%s' does not fit the network",
                         tsr_model_path(model), book->name);
    *shape = (tsr_rvq_shape){ groups, LEVELS, (int)book->dims[0],
                              (int)book->dims[1] };
    return TSR_OK;
}

/* Book of a group and level into its place in [groups][levels][k][dim]. */
static void copy_book(tsri_loader *load, const tsr_rvq_shape *shape, int group,
                      int level, float *words)
{
    const uint64_t dims[] = { (uint64_t)shape->k, (uint64_t)shape->dim };
    const size_t n = (size_t)shape->k * (size_t)shape->dim;
    char name[TSRI_LOADER_NAME];

    snprintf(name, sizeof name, book_names[level], group);
    const float *book = tsri_loader_floats(load, 2, dims, "%s", name);
    if (book)
        memcpy(words + (size_t)(group * LEVELS + level) * n, book,
               n * sizeof *words);
    tsri_loader_drop(load);
}

static tsr_error open_books(tsri_flow *flow)
{
    tsri_loader load = { .ctx = flow->ctx, .model = flow->model };
    tsr_rvq_shape shape;

    TSR_TRY(books_shape(flow->ctx, flow->model, &shape));
    float *words = tsri_alloc(flow->ctx, (size_t)shape.groups * LEVELS *
                                         (size_t)shape.k * (size_t)shape.dim,
                              sizeof *words);
    if (!words)
        return tsri_nomem(flow->ctx);
    for (int group = 0; group < shape.groups; group++)
        for (int level = 0; level < LEVELS; level++)
            copy_book(&load, &shape, group, level, words);
    if (!load.error)
        load.error = tsri_quantiser_open(&flow->quantiser, flow->ctx, &shape,
                                         words);
    tsri_free(flow->ctx, words);
    return load.error;
}

static tsr_error open_nets(tsri_flow *flow, int hop)
{
    const tsr_rvq_shape *q = &flow->quantiser.shape;
    tsri_hificodec_sizes sizes;
    uint64_t reach;

    TSR_TRY(tsri_hificodec_sizes_read(flow->ctx, flow->model, hop, &sizes));
    TSR_TRY(tsri_hificodec_encoder(&flow->enc, flow->ctx, flow->model, &sizes,
                                   NULL, &reach));
    const uint64_t frames = reach / (uint64_t)hop +
                            (reach % (uint64_t)hop != 0);
    if (frames > TSR_AUDIO_MAX_FRAMES)
        return tsri_fail(flow->ctx, TSR_E_SHAPE, "%s: the encoder reaches too "
                         "far", tsr_model_path(flow->model));
    flow->context = (int)frames;
    return tsri_hificodec_decoder(&flow->dec, flow->ctx, flow->model, &sizes,
                                  q->groups * q->dim, NULL);
}

static tsr_error open_all(tsri_flow *flow)
{
    tsri_audio_form form;

    TSR_TRY(tsri_audio_form_read(flow->ctx, flow->model, &form));
    if (form.channels != 1 || form.causal || form.group_norm ||
        form.pad != TSRI_SEQ_ZERO || form.segment)
        return tsri_fail(flow->ctx, TSR_E_SHAPE, "%s: 'tessera.audio' is not "
                         "that of a HiFi-Codec", tsr_model_path(flow->model));
    TSR_TRY(open_books(flow));
    TSR_TRY(open_nets(flow, form.hop));
    flow->shape.whole = true;
    flow->shape.drops_tail = true;
    return tsri_flow_ready(flow, &form, tsri_quantiser_books(&flow->quantiser));
}

static tsr_error hificodec_open(void **self, tsr_context *ctx,
                                tsr_model *model)
{
    return tsri_flow_open(self, ctx, model, open_all);
}

const tsri_audio_codec tsri_audio_codec_hificodec = {
    .id = "hificodec", .number = CODEC_NUMBER, .open = hificodec_open,
    TSRI_FLOW_FUNCTIONS
};

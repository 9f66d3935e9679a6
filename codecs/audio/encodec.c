/* SPDX-License-Identifier: BSD-2-Clause */
#include <limits.h>
#include <string.h>
#include "codecs/audio/encodec.h"
#include "codecs/audio/flow.h"
#include "lib/weights.h"

enum { CODEC_NUMBER = 9 };

#define BOOK "quantizer.vq.layers.%d._codebook.embed"

/* The sizes of all books, from the first and their number. */
static tsr_error books_shape(tsr_context *ctx, const tsr_model *model,
                             tsr_rvq_shape *shape)
{
    const uint64_t any[] = { TSRI_ANY, TSRI_ANY };
    const tsri_loader load = { .ctx = ctx, .model = model };
    const tsr_tensor *book;

    TSR_TRY(tsri_want(ctx, model, &book, 2, any, BOOK, 0));
    const int last = tsri_loader_last(&load, "quantizer.vq.layers");
    if (book->dims[0] < 2 || book->dims[0] > 1 << 16 ||
        book->dims[1] > TSR_VQ_MAX_DIM || last >= TSR_AUDIO_MAX_BOOKS)
        return tsri_fail(ctx, TSR_E_SHAPE, "%s: '%s' does not fit the network",
                         tsr_model_path(model), book->name);
    *shape = (tsr_rvq_shape){ 1, last + 1, (int)book->dims[0],
                              (int)book->dims[1] };
    return TSR_OK;
}

/* They are copied to [stages][k][dim]. */
tsr_error tsri_encodec_books(tsri_flow *flow)
{
    tsri_loader load = { .ctx = flow->ctx, .model = flow->model };
    tsr_rvq_shape shape;

    TSR_TRY(books_shape(flow->ctx, flow->model, &shape));
    const uint64_t dims[] = { (uint64_t)shape.k, (uint64_t)shape.dim };
    const size_t n = (size_t)shape.k * (size_t)shape.dim;
    float *words = tsri_alloc(flow->ctx, (size_t)shape.stages * n,
                              sizeof *words);
    if (!words)
        return tsri_nomem(flow->ctx);
    for (int i = 0; i < shape.stages; i++) {
        const float *book = tsri_loader_floats(&load, 2, dims, BOOK, i);
        if (book)
            memcpy(words + (size_t)i * n, book, n * sizeof *words);
        tsri_loader_drop(&load);
    }
    if (!load.error)
        load.error = tsri_quantiser_open(&flow->quantiser, flow->ctx, &shape,
                                         words);
    tsri_free(flow->ctx, words);
    return load.error;
}

static tsr_error open_all(tsri_flow *flow)
{
    tsri_audio_form form;

    TSR_TRY(tsri_audio_form_read(flow->ctx, flow->model, &form));
    if (form.group_norm && !form.segment)
        return tsri_fail(flow->ctx, TSR_E_SHAPE, "%s: 'tessera.audio' has group "
                         "normalisation without segments",
                         tsr_model_path(flow->model));
    TSR_TRY(tsri_encodec_encoder(&flow->enc, flow->ctx, flow->model, &form,
                                 INT_MAX));
    TSR_TRY(tsri_encodec_decoder(&flow->dec, flow->ctx, flow->model, &form,
                                 INT_MAX));
    TSR_TRY(tsri_encodec_books(flow));
    const int books = tsri_quantiser_books(&flow->quantiser);
    return tsri_flow_ready(flow, &form, form.rate == 24000
                                            ? tsri_min(4, books)
                                            : tsri_max(1, books / 2));
}

static tsr_error encodec_open(void **self, tsr_context *ctx, tsr_model *model)
{
    return tsri_flow_open(self, ctx, model, open_all);
}

const tsri_audio_codec tsri_audio_codec_encodec = {
    .id = "encodec", .number = CODEC_NUMBER, .open = encodec_open,
    TSRI_FLOW_FUNCTIONS
};

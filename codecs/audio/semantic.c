/* SPDX-License-Identifier: BSD-2-Clause */
/* Speech at 0.25 to 1.5 kbit/s: EnCodec's nets, padded on both sides, and a
 * quantiser in two parts.  Book 0 sees the first dimensions of the latent: its
 * codewords are clusters of what a speech recogniser makes of sound.  The other
 * books are a residual quantiser of the other dimensions.  docs/codecs/semantic.md.
 *
 * Source: the split is that of Defossez et al., "Moshi", arXiv 2410.00037, and
 * Liu et al., "SemantiCodec", arXiv 2405.00233. */
#include <limits.h>
#include <string.h>
#include "codecs/audio/encodec.h"
#include "codecs/audio/flow.h"
#include "lib/weights.h"

enum { CODEC_NUMBER = 16 };

#define SEMANTIC "quantizer.semantic.embed"
#define ACOUSTIC "quantizer.acoustic.layers.%d.embed"

/* Dimensions of the two parts. */
typedef struct parts {
    int semantic, acoustic;
} parts;

static tsr_error books_shape(tsr_context *ctx, const tsr_model *model,
                             parts *p, tsr_rvq_shape *shape)
{
    const uint64_t any[] = { TSRI_ANY, TSRI_ANY };
    const tsri_loader load = { .ctx = ctx, .model = model };
    const tsr_tensor *first, *second;

    TSR_TRY(tsri_want(ctx, model, &first, 2, any, SEMANTIC));
    TSR_TRY(tsri_want(ctx, model, &second, 2, any, ACOUSTIC, 0));
    const int last = tsri_loader_last(&load, "quantizer.acoustic.layers");
    if (first->dims[0] < 2 || first->dims[0] > 1 << 16 || first->dims[1] < 1 ||
        second->dims[1] < 1 || first->dims[1] > TSR_VQ_MAX_DIM ||
        second->dims[1] > TSR_VQ_MAX_DIM - first->dims[1] ||
        last + 2 > TSR_AUDIO_MAX_BOOKS)
        return tsri_fail(ctx, TSR_E_SHAPE, "%s: '%s' does not fit the network",
                         tsr_model_path(model), first->name);
    *p = (parts){ (int)first->dims[1], (int)second->dims[1] };
    *shape = (tsr_rvq_shape){ 1, last + 2, (int)first->dims[0],
                              p->semantic + p->acoustic };
    return TSR_OK;
}

/* A book of `dim` dimensions into rows of the whole latent, from column `at`. */
static void spread(const float *book, int k, int dim, int at, int width,
                   float *words)
{
    for (int i = 0; i < k; i++)
        memcpy(words + (size_t)i * (size_t)width + at,
               book + (size_t)i * (size_t)dim, (size_t)dim * sizeof *book);
}

/* All books over the whole latent: zeros where a book does not look.  So they
 * are one residual quantiser, whose searches of the two parts do not meet. */
static void copy_books(tsri_loader *load, const tsr_rvq_shape *shape,
                       const parts *p, float *words)
{
    const size_t n = (size_t)shape->k * (size_t)shape->dim;
    const uint64_t first[] = { (uint64_t)shape->k, (uint64_t)p->semantic };
    const uint64_t others[] = { (uint64_t)shape->k, (uint64_t)p->acoustic };
    const float *book = tsri_loader_floats(load, 2, first, SEMANTIC);

    if (book)
        spread(book, shape->k, p->semantic, 0, shape->dim, words);
    tsri_loader_drop(load);
    for (int i = 1; i < shape->stages; i++) {
        book = tsri_loader_floats(load, 2, others, ACOUSTIC, i - 1);
        if (book)
            spread(book, shape->k, p->acoustic, p->semantic, shape->dim,
                   words + (size_t)i * n);
        tsri_loader_drop(load);
    }
}

static tsr_error open_books(tsri_flow *flow)
{
    tsri_loader load = { .ctx = flow->ctx, .model = flow->model };
    tsr_rvq_shape shape;
    parts p = { 0, 0 };

    TSR_TRY(books_shape(flow->ctx, flow->model, &p, &shape));
    float *words = tsri_calloc(flow->ctx, (size_t)shape.stages *
                                          (size_t)shape.k * (size_t)shape.dim,
                               sizeof *words);
    if (!words)
        return tsri_nomem(flow->ctx);
    copy_books(&load, &shape, &p, words);
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
    if (form.channels != 1 || form.group_norm || form.segment)
        return tsri_fail(flow->ctx, TSR_E_SHAPE, "%s: 'tessera.audio' is not "
                         "that of a semantic codec", tsr_model_path(flow->model));
    TSR_TRY(tsri_encodec_encoder(&flow->enc, flow->ctx, flow->model, &form,
                                 INT_MAX));
    TSR_TRY(tsri_encodec_decoder(&flow->dec, flow->ctx, flow->model, &form,
                                 INT_MAX));
    TSR_TRY(open_books(flow));
    return tsri_flow_ready(flow, &form,
                           tsri_min(4, tsri_quantiser_books(&flow->quantiser)));
}

static tsr_error semantic_open(void **self, tsr_context *ctx, tsr_model *model)
{
    return tsri_flow_open(self, ctx, model, open_all);
}

/* A search that weighs bits would let the semantic codes depend on how many
 * other books there are: each code is the nearest one. */
static tsr_error semantic_enc_open(void **enc, const void *self,
                                   const tsri_audio_options *options)
{
    tsri_audio_options own = *options;

    own.beam = 0;
    return tsri_flow_enc_open(enc, self, &own);
}

const tsri_audio_codec tsri_audio_codec_semantic = {
    .id = "semantic", .number = CODEC_NUMBER, .semantic_books = 1,
    .open = semantic_open, .enc_open = semantic_enc_open, TSRI_FLOW_OTHER_FUNCTIONS
};

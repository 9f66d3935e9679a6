/* SPDX-License-Identifier: BSD-2-Clause */
/* McQuic, VQGAN-LC and its kin, SimVQ: what becomes of their tensors. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "codecs/import/import_impl.h"

enum { ALPHABET_MAX = 1 << 16 };

/* ---- McQuic ---- */

static const char *const mcquic_training[] = { NULL };

#define MCQUIC_BOOK "_quantizer._encoders.%d._quantizer._codebook"

/* The codebook's other names are the same tensor, or the file is not sound. */
static void mcquic_alias(tsr_import *im, int level, size_t book,
                         const char *form)
{
    char name[TSRI_IMPORT_NAME];
    const void *data;
    tsr_tensor a, b;

    snprintf(name, sizeof name, form, level);
    const size_t alias = tsri_import_find(im, "%s", name);
    if (alias == SIZE_MAX || im->error)
        return;
    const tsri_import_input *x = &im->input[book], *y = &im->input[alias];
    tsri_checkpoint *file = im->file[x->file].checkpoint;
    a = *tsri_import_tensor(im, book);
    b = *tsri_import_tensor(im, alias);
    bool same = x->file == y->file &&
                tsri_checkpoint_same(file, x->number, y->number);
    if (!same && a.bytes == b.bytes && a.dtype == b.dtype) {
        void *copy = tsri_alloc(im->ctx, a.bytes, 1);
        im->error = copy ? tsri_checkpoint_data(file, x->number, &data)
                         : tsri_nomem(im->ctx);
        if (!im->error)
            memcpy(copy, data, a.bytes);
        if (!im->error)
            im->error = tsri_checkpoint_data(im->file[y->file].checkpoint,
                                             y->number, &data);
        same = !im->error && !memcmp(copy, data, a.bytes);
        tsri_free(im->ctx, copy);
    }
    if (!same)
        tsri_import_fail(im, TSR_E_SHAPE, "'%s' is not the codebook that level "
                         "%d is coded with", b.name, level);
    tsri_import_drop(im, alias, "the codebook again");
}

/* Probabilities become tables of integers, which are the same everywhere. */
static void mcquic_table(tsr_import *im, int level, const tsr_tensor *book)
{
    char name[TSRI_IMPORT_NAME];

    snprintf(name, sizeof name, "_quantizer._entropyCoder._freqEMA.%d", level);
    const size_t ema = tsri_import_find(im, "%s", name);
    if (!tsri_import_want(im, ema, 2, name))
        return;
    const tsr_tensor *t = tsri_import_tensor(im, ema);
    const uint64_t dims[] = { t->dims[0], t->dims[1] + 1 };
    if (t->dims[0] != book->dims[0] || t->dims[1] != book->dims[1] ||
        t->dims[1] > ALPHABET_MAX)
        tsri_import_fail(im, TSR_E_SHAPE, "'%s' does not fit the codebook",
                         t->name);
    snprintf(name, sizeof name, "tessera.cdf.%d", level);
    const size_t out = tsri_import_new(im, TSRI_IMPORT_TABLES, name);
    if (out == SIZE_MAX)
        return;
    im->output[out].from[0] = ema;
    tsri_import_shape(im, out, TSR_U32, 2, dims);
    tsri_import_use(im, ema, out, TSR_IMPORT_USED, "frozen as integers");
}

/* One level; false: there is none. */
static bool mcquic_level(tsr_import *im, int level, char *sizes, size_t room)
{
    char name[TSRI_IMPORT_NAME];
    const size_t used = strlen(sizes);

    snprintf(name, sizeof name, MCQUIC_BOOK, level);
    const size_t book = tsri_import_find(im, "%s", name);
    if (book == SIZE_MAX && level > 0)
        return false;
    if (!tsri_import_want(im, book, 3, name))
        return false;
    const tsr_tensor *t = tsri_import_tensor(im, book);
    mcquic_alias(im, level, book,
                 "_quantizer._encoders.%d._dequantizer._codebook");
    mcquic_alias(im, level, book,
                 "_quantizer._decoders.%d._dequantizer._codebook");
    mcquic_table(im, level, t);
    tsri_import_drop(im, tsri_import_find(
        im, "_quantizer._encoders.%d._quantizer._temperature", level),
        "of training");
    tsri_import_drop(im, tsri_import_find(
        im, "_quantizer._encoders.%d._quantizer._bound.bound", level),
        "of training");
    snprintf(sizes + used, room - used, "%s%" PRIu64, level ? "," : "",
             t->dims[1]);
    return true;
}

/* What the file says of itself must be what its tensors say. */
static void mcquic_check(tsr_import *im, const char *key, uint64_t value)
{
    char path[128], text[64];

    snprintf(path, sizeof path, "config/model/params/%s", key);
    if (!im->error &&
        tsri_checkpoint_text(im->file[0].checkpoint, path, text, sizeof text) &&
        strtoull(text, NULL, 10) != value)
        tsri_import_fail(im, TSR_E_SHAPE, "it says %s = %s, but its tensors "
                         "say %" PRIu64, key, text, value);
}

void tsri_import_mcquic(tsr_import *im)
{
    char sizes[128] = "";
    int levels = 0;

    while (levels < 8 && !im->error &&
           mcquic_level(im, levels, sizes, sizeof sizes))
        levels++;
    for (size_t i = 0; i < im->inputs && !im->error; i++) {
        const char *core = tsri_import_core(im, i);
        if (core && !im->input[i].fate &&
            (tsri_import_starts(core, "_encoder.") ||
             tsri_import_starts(core, "_decoder.") ||
             tsri_import_starts(core, "_quantizer._encoders.") ||
             tsri_import_starts(core, "_quantizer._decoders.")))
            tsri_import_copy(im, i, core, "");
    }
    tsri_import_rest(im, mcquic_training);
    if (im->error)
        return;
    const tsr_tensor *book =
        tsri_import_tensor(im, tsri_import_find(im, MCQUIC_BOOK, 0));
    const uint64_t channels = book->dims[0] * book->dims[2];
    mcquic_check(im, "channel", channels);
    mcquic_check(im, "m", book->dims[0]);
    tsri_import_text(im, "mcquic.channel", "%" PRIu64, channels);
    tsri_import_text(im, "mcquic.m", "%" PRIu64, book->dims[0]);
    tsri_import_text(im, "mcquic.k", "%s", sizes);
}

/* ---- codebooks ---- */

/* tessera.codebook = rows matrix^T + addend. */
static void fold_book(tsr_import *im, size_t rows, size_t matrix,
                      size_t addend)
{
    if (!tsri_import_want(im, matrix, 2, "the codebook's projection (weight)") ||
        !tsri_import_want(im, addend, 1, "the codebook's projection (bias)") ||
        !tsri_import_want(im, rows, 2, "the codebook"))
        return;
    const tsr_tensor *e = tsri_import_tensor(im, rows);
    const tsr_tensor *w = tsri_import_tensor(im, matrix);
    const tsr_tensor *b = tsri_import_tensor(im, addend);
    const uint64_t dims[] = { e->dims[0], w->dims[0] };
    if (w->dims[1] != e->dims[1] || b->dims[0] != w->dims[0])
        tsri_import_fail(im, TSR_E_SHAPE, "'%s' does not fit '%s'", w->name,
                         e->name);
    const size_t out = tsri_import_new(im, TSRI_IMPORT_PROJECT,
                                       "tessera.codebook");
    const size_t from[] = { rows, matrix, addend };
    if (out == SIZE_MAX)
        return;
    tsri_import_shape(im, out, TSR_F32, 2, dims);
    for (int i = 0; i < 3 && !im->error; i++) {
        im->output[out].from[i] = from[i];
        tsri_import_use(im, from[i], out, TSR_IMPORT_USED,
                        "folded into the codebook");
    }
}

/* A codebook in a file of its own is its only tensor. */
static size_t lone_tensor(const tsr_import *im)
{
    for (int i = 0; i < im->files; i++)
        if (!im->file[i].prefix &&
            tsri_checkpoint_count(im->file[i].checkpoint) == 1)
            return im->file[i].first;
    return SIZE_MAX;
}

/* ---- VQGAN-LC, taming ---- */

static const char *const vqgan_training[] = {
    "discriminator.", "perceptual_loss.", "loss.", "model_ema.", NULL
};

/* All that the networks consist of. */
static void keep_networks(tsr_import *im)
{
    for (size_t i = 0; i < im->inputs && !im->error; i++) {
        const char *core = tsri_import_core(im, i);
        if (core && !im->input[i].fate &&
            (tsri_import_starts(core, "encoder.") ||
             tsri_import_starts(core, "decoder.") ||
             tsri_import_starts(core, "quant_conv.") ||
             tsri_import_starts(core, "post_quant_conv.")))
            tsri_import_copy(im, i, core, "");
    }
}

static void vqgan_text(tsr_import *im)
{
    for (size_t i = 0; i < im->outputs && !im->error; i++) {
        const tsri_import_output *out = &im->output[i];
        if (!strcmp(out->name, "encoder.conv_in.weight"))
            tsri_import_text(im, "vqgan.channels", "%" PRIu64,
                             out->tensor.dims[0]);
        else if (!strcmp(out->name, "tessera.codebook") ||
                 !strcmp(out->name, "quantize.embedding.weight"))
            tsri_import_text(im, "vqgan.codebook", "%" PRIu64 "x%" PRIu64,
                             out->tensor.dims[0], out->tensor.dims[1]);
    }
}

void tsri_import_vqgan(tsr_import *im)
{
    const size_t plain = tsri_import_find(im, "quantize.embedding.weight");
    const size_t own = tsri_import_find(im, "tok_embeddings.weight");
    const size_t lone = lone_tensor(im);

    tsri_import_want(im, tsri_import_find(im, "encoder.conv_in.weight"), 4,
                     "encoder.conv_in.weight");
    tsri_import_want(im, tsri_import_find(im, "decoder.conv_out.weight"), 4,
                     "decoder.conv_out.weight");
    if (own == SIZE_MAX && lone == SIZE_MAX && plain == SIZE_MAX)
        tsri_import_fail(im, TSR_E_SHAPE, "no codebook: neither "
                         "'tok_embeddings.weight' nor "
                         "'quantize.embedding.weight', nor a file of its own");
    if (own != SIZE_MAX || lone != SIZE_MAX)
        fold_book(im, own != SIZE_MAX ? own : lone,
                  tsri_import_find(im, "codebook_projection.weight"),
                  tsri_import_find(im, "codebook_projection.bias"));
    else if (tsri_import_want(im, plain, 2, "quantize.embedding.weight"))
        tsri_import_copy(im, plain, "quantize.embedding.weight", "");
    keep_networks(im);
    if (own != SIZE_MAX)
        tsri_import_drop(im, lone, "the model has a codebook");
    tsri_import_rest(im, vqgan_training);
    vqgan_text(im);
}

/* ---- SimVQ ---- */

static const char *const simvq_training[] = {
    "loss.", "model_ema.decay", "model_ema.num_updates", "discriminator.", NULL
};

/* The running average of a tensor, as its evaluation takes it: it is kept under
 * the tensor's name without dots. */
static size_t average_of(const tsr_import *im, const char *core)
{
    char name[TSRI_IMPORT_NAME];
    size_t n = 0;

    for (; *core && n + 1 < sizeof name; core++)
        if (*core != '.')
            name[n++] = *core;
    name[n] = 0;
    return tsri_import_find(im, "model_ema.%s", name);
}

/* The average if there is one, and then the tensor itself is left out. */
static size_t best_of(tsr_import *im, const char *core)
{
    const size_t own = tsri_import_find(im, "%s", core);
    const size_t average = average_of(im, core);

    if (average == SIZE_MAX || own == SIZE_MAX)
        return own;
    const tsr_tensor *a = tsri_import_tensor(im, average);
    const tsr_tensor *b = tsri_import_tensor(im, own);
    if (a->rank != b->rank || memcmp(a->dims, b->dims, sizeof a->dims))
        tsri_import_fail(im, TSR_E_SHAPE, "'%s' does not fit '%s'", a->name,
                         b->name);
    tsri_import_drop(im, own, "its running average is taken");
    return average;
}

void tsri_import_simvq(tsr_import *im)
{
    const bool averages =
        average_of(im, "encoder.conv_in.weight") != SIZE_MAX;

    fold_book(im, tsri_import_find(im, "quantize.embedding.weight"),
              best_of(im, "quantize.embedding_proj.weight"),
              best_of(im, "quantize.embedding_proj.bias"));
    for (size_t i = 0; i < im->inputs && !im->error; i++) {
        const char *core = tsri_import_core(im, i);
        if (!core || im->input[i].fate ||
            (!tsri_import_starts(core, "encoder.") &&
             !tsri_import_starts(core, "decoder.")))
            continue;
        const size_t best = best_of(im, core);
        tsri_import_copy(im, best, core, best == i
                         ? averages ? "it has no running average" : ""
                         : "the running average");
    }
    tsri_import_rest(im, simvq_training);
    for (size_t i = 0; i < im->outputs && !im->error; i++)
        if (!strcmp(im->output[i].name, "tessera.codebook"))
            tsri_import_text(im, "simvq.codebook", "%" PRIu64 "x%" PRIu64,
                             im->output[i].tensor.dims[0],
                             im->output[i].tensor.dims[1]);
}

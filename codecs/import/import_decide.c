/* SPDX-License-Identifier: BSD-2-Clause */
/* What architectures decide with: the fate of inputs, new outputs, texts. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "codecs/import/import_impl.h"
#include "lib/bytes.h"

void tsri_import_fail(tsr_import *im, tsr_error error, const char *format, ...)
{
    char why[TSRI_IMPORT_TEXT];
    va_list args;

    if (im->error)
        return;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    im->error = tsri_fail(im->ctx, error, "%s: %s",
                          tsri_checkpoint_path(im->file[0].checkpoint), why);
}

bool tsri_import_want(tsr_import *im, size_t input, int rank, const char *name)
{
    if (im->error)
        return false;
    if (input == SIZE_MAX) {
        tsri_import_fail(im, TSR_E_SHAPE, "no tensor '%s'", name);
        return false;
    }
    const tsr_tensor *t = tsri_import_tensor(im, input);
    if (t->rank != rank || t->dtype > TSR_F64 || !t->bytes)
        tsri_import_fail(im, TSR_E_SHAPE, "'%s' does not fit the network",
                         t->name);
    return !im->error;
}

void tsri_import_drop(tsr_import *im, size_t input, const char *why)
{
    if (input == SIZE_MAX || im->input[input].fate)
        return;
    im->input[input].fate = TSR_IMPORT_LEFT_OUT;
    im->input[input].note = why;
}

void tsri_import_use(tsr_import *im, size_t input, size_t target,
                     tsr_import_fate fate, const char *how)
{
    if (im->error || input == SIZE_MAX)
        return;
    im->input[input].fate = fate;
    im->input[input].target = target;
    im->input[input].note = how;
}

size_t tsri_import_new(tsr_import *im, tsri_import_way way, const char *name)
{
    tsri_import_output *out;

    if (!im->error && strlen(name) >= sizeof out->name)
        tsri_import_fail(im, TSR_E_SHAPE, "the name '%s' is too long", name);
    if (!im->error)
        im->error = tsri_grow(im->ctx, &im->output, &im->output_room,
                              im->outputs, 1, sizeof *im->output);
    if (im->error)
        return SIZE_MAX;
    out = &im->output[im->outputs];
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", name);
    out->way = way;
    for (int i = 0; i < 3; i++)
        out->from[i] = SIZE_MAX;
    return im->outputs++;
}

/* Floats are F32 in models, or F16: also where they are in the checkpoint. */
static tsr_dtype model_type(const tsr_import *im, tsr_dtype dtype, int rank)
{
    if (dtype > TSR_F64)
        return dtype;
    return dtype == TSR_F16 || (im->half && rank > 1) ? TSR_F16 : TSR_F32;
}

void tsri_import_shape(tsr_import *im, size_t output, tsr_dtype dtype, int rank,
                       const uint64_t *dims)
{
    size_t bytes;
    bool fits = true;

    if (im->error)
        return;
    tsri_import_output *out = &im->output[output];
    out->tensor.dtype = model_type(im, dtype, rank);
    out->tensor.rank = rank;
    bytes = tsr_dtype_bytes(out->tensor.dtype);
    for (int i = 0; i < rank; i++) {
        out->tensor.dims[i] = dims[i];
        fits = fits && tsri_mul(bytes, dims[i], &bytes);
    }
    if (!fits)
        tsri_import_fail(im, TSR_E_SHAPE, "'%s' is too large", out->name);
    out->tensor.bytes = bytes;
}

void tsri_import_copy(tsr_import *im, size_t input, const char *name,
                      const char *note)
{
    const size_t out = tsri_import_new(im, TSRI_IMPORT_COPY, name);

    if (out == SIZE_MAX)
        return;
    const tsr_tensor *t = tsri_import_tensor(im, input);
    im->output[out].from[0] = input;
    tsri_import_shape(im, out, t->dtype, t->rank, t->dims);
    tsri_import_use(im, input, out, TSR_IMPORT_KEPT, note);
}

void tsri_import_ints(tsr_import *im, const char *name, int rank,
                      const uint64_t *dims, const int32_t *values)
{
    const size_t out = tsri_import_new(im, TSRI_IMPORT_NUMBERS, name);

    if (out == SIZE_MAX)
        return;
    tsri_import_shape(im, out, TSR_I32, rank, dims);
    for (size_t i = 0; i < im->output[out].tensor.bytes / 4; i++)
        tsri_put32((uint8_t *)(im->output[out].ints + i), (uint32_t)values[i]);
}

void tsri_import_text(tsr_import *im, const char *key, const char *format, ...)
{
    tsri_import_meta *meta = &im->meta[im->metas];
    va_list args;

    if (im->metas == (int)(sizeof im->meta / sizeof *im->meta))
        return;
    snprintf(meta->key, sizeof meta->key, "%s", key);
    va_start(args, format);
    vsnprintf(meta->value, sizeof meta->value, format, args);
    va_end(args);
    im->metas++;
}

void tsri_import_rest(tsr_import *im, const char *const *training)
{
    size_t unknown = 0, first = 0;

    for (size_t i = 0; i < im->inputs; i++) {
        const char *core = tsri_import_core(im, i);
        if (im->input[i].fate)
            continue;
        if (!core) {
            tsri_import_drop(im, i, "beside the model's tensors");
            continue;
        }
        for (int t = 0; training[t]; t++)
            if (tsri_import_starts(core, training[t]))
                tsri_import_drop(im, i, "of training");
        if (!im->input[i].fate) {
            first = unknown++ ? first : i;
            tsri_import_drop(im, i, "unknown to the architecture");
        }
    }
    if (unknown && !im->error)
        tsri_log(im->ctx, TSR_LOG_WARNING, "%zu tensors are unknown to the "
                 "architecture %s and left out, '%s' and so on", unknown,
                 im->arch->name, tsri_import_tensor(im, first)->name);
}

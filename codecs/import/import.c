/* SPDX-License-Identifier: BSD-2-Clause */
/* The public functions: files in, decisions, a model file out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "codecs/import/import_impl.h"
#include "lib/safetensors.h"
#include "lib/sha256.h"
#include "lib/weights.h"

/* ---- open and close ---- */

void tsr_import_settings_init(tsr_import_settings *settings)
{
    *settings = (tsr_import_settings){ .size = sizeof *settings,
                                       .arch = "auto" };
}

static tsr_error open_file(tsr_import *im, const char *path)
{
    tsri_import_file *file = &im->file[im->files];

    TSR_TRY(tsri_checkpoint_open(&file->checkpoint, im->ctx, path));
    im->files++;
    const char *codec = tsri_checkpoint_codec(file->checkpoint);
    if (*codec)
        return tsri_fail(im->ctx, TSR_E_UNSUPPORTED, "%s: it is a model of codec "
                         "%s already, and can be used as it is", path, codec);
    const size_t count = tsri_checkpoint_count(file->checkpoint);
    file->first = im->inputs;
    TSR_TRY(tsri_grow(im->ctx, &im->input, &im->input_room, im->inputs, count,
                      sizeof *im->input));
    for (size_t i = 0; i < count; i++)
        im->input[im->inputs++] = (tsri_import_input){
            .file = im->files - 1, .number = i, .target = SIZE_MAX, .note = ""
        };
    return TSR_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const tsri_import_output *)a)->name,
                  ((const tsri_import_output *)b)->name);
}

/* Sorts the outputs, which inputs refer to by number. */
static tsr_error sort_outputs(tsr_import *im)
{
    size_t *moved = tsri_alloc(im->ctx, im->outputs, sizeof *moved);

    if (!moved)
        return tsri_nomem(im->ctx);
    for (size_t i = 0; i < im->outputs; i++)
        im->output[i].number = i;
    if (im->outputs)
        qsort(im->output, im->outputs, sizeof *im->output, by_name);
    for (size_t i = 0; i < im->outputs; i++) {
        moved[im->output[i].number] = i;
        im->output[i].tensor.name = im->output[i].name;
    }
    for (size_t i = 0; i < im->inputs; i++)
        if (im->input[i].target != SIZE_MAX)
            im->input[i].target = moved[im->input[i].target];
    tsri_free(im->ctx, moved);
    for (size_t i = 1; i < im->outputs; i++)
        if (!strcmp(im->output[i - 1].name, im->output[i].name))
            tsri_import_fail(im, TSR_E_SHAPE, "'%s' is there twice",
                             im->output[i].name);
    return im->error;
}

static void describe_source(tsr_import *im)
{
    char hex[65], key[64];
    uint8_t digest[32];

    for (int i = 0; i < im->files; i++) {
        const char *path = tsri_checkpoint_path(im->file[i].checkpoint);
        const char *slash = strrchr(path, '/');
        char which[16] = "";
        if (i)
            snprintf(which, sizeof which, ".%d", i + 1);
        snprintf(key, sizeof key, "source.file%s", which);
        tsri_import_text(im, key, "%s", slash ? slash + 1 : path);
        tsri_checkpoint_digest(im->file[i].checkpoint, digest);
        for (int d = 0; d < 32; d++)
            snprintf(hex + 2 * d, 3, "%02x", digest[d]);
        snprintf(key, sizeof key, "source.sha256%s", which);
        tsri_import_text(im, key, "%s", hex);
    }
}

static void describe(tsr_import *im, const tsr_import_settings *s)
{
    uint64_t count = 0;

    for (size_t i = 0; i < im->outputs; i++)
        if (im->output[i].tensor.dtype <= TSR_F64)
            count += im->output[i].tensor.bytes /
                     tsr_dtype_bytes(im->output[i].tensor.dtype);
    tsri_import_text(im, "tessera.codec", "%s", im->arch->codec);
    if (s->name)
        tsri_import_text(im, "tessera.name", "%s", s->name);
    if (s->licence)
        tsri_import_text(im, "license", "%s", s->licence);
    tsri_import_text(im, "architecture", "%s", im->arch->name);
    tsri_import_text(im, "parameters", "%llu", (unsigned long long)count);
    tsri_import_text(im, "source.format", "%s",
                     tsri_checkpoint_kind(im->file[0].checkpoint));
}

static tsr_error open_all(tsr_import *im, const char *const *files, int count,
                          const tsr_import_settings *s)
{
    im->rate = s->rate;
    im->half = s->half;
    for (int i = 0; i < count; i++)
        TSR_TRY(open_file(im, files[i]));
    TSR_TRY(tsri_import_recognise(im, s->arch));
    im->arch->decide(im);
    if (im->error)
        return im->error;
    TSR_TRY(sort_outputs(im));
    describe(im, s);
    return TSR_OK;
}

tsr_error tsr_import_open(tsr_import **import, tsr_context *ctx,
                          const char *const *files, int count,
                          const tsr_import_settings *settings)
{
    tsr_import_settings own;

    *import = NULL;
    if (count < 1 || count > TSRI_IMPORT_FILES)
        return tsri_fail(ctx, TSR_E_ARG, "%d files, not 1 to %d", count,
                         TSRI_IMPORT_FILES);
    tsr_import_settings_init(&own);
    if (settings)
        memcpy(&own, settings,
               settings->size < sizeof own ? settings->size : sizeof own);
    tsr_import *im = *import = tsri_calloc(ctx, 1, sizeof *im);
    if (!im)
        return tsri_nomem(ctx);
    im->ctx = ctx;
    const tsr_error error = open_all(im, files, count, &own);
    if (error)
        tsr_import_close(import);
    return error;
}

void tsr_import_close(tsr_import **import)
{
    tsr_import *im = import ? *import : NULL;
    if (!im)
        return;
    for (int i = 0; i < im->files; i++)
        tsri_checkpoint_close(&im->file[i].checkpoint);
    for (size_t i = 0; i < im->outputs; i++)
        tsri_free(im->ctx, im->output[i].made);
    tsri_free(im->ctx, im->input);
    tsri_free(im->ctx, im->output);
    tsri_free(im->ctx, im->scratch);
    tsri_free(im->ctx, im);
    *import = NULL;
}

/* ---- questions ---- */

const char *tsr_import_arch(const tsr_import *import)
{
    return import->arch->name;
}

size_t tsr_import_count(const tsr_import *import)
{
    return import->inputs;
}

void tsr_import_at(const tsr_import *import, size_t i, tsr_import_tensor *out)
{
    const tsri_import_input *in = &import->input[i];

    *out = (tsr_import_tensor){
        .file = tsri_checkpoint_path(import->file[in->file].checkpoint),
        .tensor = tsri_import_tensor(import, i),
        .fate = in->fate, .note = in->note,
        .target = in->target == SIZE_MAX ? NULL
                                         : import->output[in->target].name
    };
}

size_t tsr_import_results(const tsr_import *import)
{
    return import->outputs;
}

const tsr_tensor *tsr_import_result(const tsr_import *import, size_t i)
{
    return &import->output[i].tensor;
}

/* ---- writing ---- */

/* The hash of all outputs, as text. */
static tsr_error hash_all(tsr_import *im, const tsr_progress *progress,
                          char hex[65])
{
    uint8_t digest[32];
    tsri_sha256 s;

    tsri_sha256_start(&s);
    for (size_t i = 0; i < im->outputs; i++) {
        tsr_tensor t = im->output[i].tensor;
        TSR_TRY(tsri_import_make(im, i, &t.data));
        tsri_tensor_hash(&s, &t);
        if (progress && progress->report &&
            progress->report(progress->cookie, (double)i / (2.0 *
                                               (double)im->outputs)))
            return TSR_E_CANCELED;
    }
    tsri_sha256_end(&s, digest);
    for (int d = 0; d < 32; d++)
        snprintf(hex + 2 * d, 3, "%02x", digest[d]);
    return TSR_OK;
}

static tsr_error write_head(tsr_import *im, const char *hash,
                            const tsr_sink *sink)
{
    tsri_safetensors head = { .ctx = im->ctx };
    const void *data;
    size_t size;

    tsri_safetensors_text(&head, "tessera.sha256", hash);
    for (int i = 0; i < im->metas; i++)
        tsri_safetensors_text(&head, im->meta[i].key, im->meta[i].value);
    for (size_t i = 0; i < im->outputs; i++)
        tsri_safetensors_tensor(&head, &im->output[i].tensor);
    tsr_error error = tsri_safetensors_end(&head, &data, &size);
    if (!error)
        error = sink->write(sink->cookie, data, size);
    tsri_safetensors_free(&head);
    return error;
}

tsr_error tsr_import_write(tsr_import *im, const tsr_progress *progress,
                           const tsr_sink *sink)
{
    const int metas = im->metas;
    char hash[65];
    tsr_error error;

    TSR_TRY(hash_all(im, progress, hash));
    describe_source(im);
    error = write_head(im, hash, sink);
    im->metas = metas;
    for (size_t i = 0; !error && i < im->outputs; i++) {
        const void *data;
        error = tsri_import_make(im, i, &data);
        if (!error && im->output[i].tensor.bytes)
            error = sink->write(sink->cookie, data, im->output[i].tensor.bytes);
        if (!error && progress && progress->report &&
            progress->report(progress->cookie, 0.5 + (double)(i + 1) / (2.0 *
                                               (double)im->outputs)))
            error = TSR_E_CANCELED;
    }
    return error;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The public functions: files in, decisions, a model file out. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "codecs/import/import_impl.h"
#include "lib/bytes.h"
#include "lib/safetensors.h"
#include "lib/sha256.h"
#include "lib/weights.h"

/* ---- the architectures ---- */

static const char *const mcquic_prefixes[] = {
    "model/", "", "state_dict/", "trainer/_model/module._compressor.",
    "module._compressor.", NULL
};
static const char *const image_prefixes[] = {
    "model/", "state_dict/", "", "model/module.", "state_dict/module.",
    "module.", NULL
};
static const char *const audio_prefixes[] = {
    "", "module.", "state_dict/", "model/", "state_dict/module.", NULL
};
static const char *const mcquic_signature[] = {
    "_encoder.0.weight", "_quantizer._encoders.0._quantizer._codebook", NULL
};
static const char *const simvq_signature[] = {
    "encoder.conv_in.weight", "quantize.embedding_proj.weight", NULL
};
static const char *const vqgan_signature[] = {
    "encoder.conv_in.weight|decoder.conv_out.weight", "quant_conv.weight",
    "post_quant_conv.weight", NULL
};
static const char *const hificodec_signature[] = {
    "quantizer/quantizer_modules.0.embedding.weight|"
    "quantizer.quantizer_modules.0.embedding.weight", NULL
};
static const char *const encodec_signature[] = {
    "encoder.model.0.conv.conv.bias", "quantizer.vq.layers.0._codebook.embed",
    NULL
};
static const char *const xcodec_signature[] = {
    "fc_post2.weight", "quantizer.vq.layers.0._codebook.embed", NULL
};
static const char *const semanticodec_signature[] = {
    "audiomae.model.patch_embed.proj.weight|"
    "model.diffusion_model.time_embed.0.weight",
    "encoder_output_linear.weight|first_stage_model.post_quant_conv.weight", NULL
};

static const tsri_arch mcquic = {
    "mcquic", "mcquic", mcquic_prefixes, mcquic_signature, tsri_import_mcquic
}, simvq = {
    "simvq", "simvq", image_prefixes, simvq_signature, tsri_import_simvq
}, vqgan = {
    "vqgan", "vqgan", image_prefixes, vqgan_signature, tsri_import_vqgan
}, hificodec = {
    "hificodec", "hificodec", audio_prefixes, hificodec_signature,
    tsri_import_hificodec
}, encodec = {
    "encodec", "encodec", audio_prefixes, encodec_signature, tsri_import_encodec
}, academicodec = {
    "academicodec", "encodec", audio_prefixes, encodec_signature,
    tsri_import_academicodec
}, xcodec = {
    "xcodec", "xcodec", audio_prefixes, xcodec_signature, tsri_import_xcodec
}, semanticodec = {
    "semanticodec", "semanticodec", audio_prefixes, semanticodec_signature,
    tsri_import_semanticodec
};

const tsri_arch *const tsri_archs[] = {
    &mcquic, &simvq, &vqgan, &hificodec, &encodec, &academicodec, &xcodec,
    &semanticodec, NULL
};

/* ---- names ---- */

bool tsri_import_starts(const char *name, const char *prefix)
{
    return !strncmp(name, prefix, strlen(prefix));
}

bool tsri_import_ends(const char *name, const char *suffix)
{
    const size_t n = strlen(name), m = strlen(suffix);
    return n >= m && !strcmp(name + n - m, suffix);
}

const tsr_tensor *tsri_import_tensor(const tsr_import *im, size_t input)
{
    const tsri_import_input *in = &im->input[input];
    return tsri_checkpoint_at(im->file[in->file].checkpoint, in->number);
}

const char *tsri_import_core(const tsr_import *im, size_t input)
{
    const char *prefix = im->file[im->input[input].file].prefix;
    const char *name = tsri_import_tensor(im, input)->name;
    return prefix && tsri_import_starts(name, prefix) ? name + strlen(prefix)
                                                      : NULL;
}

static size_t find_in(const tsri_import_file *file, const char *prefix,
                      const char *core)
{
    char name[2 * TSRI_IMPORT_NAME];
    const int n = snprintf(name, sizeof name, "%s%s", prefix, core);
    return n < 0 || (size_t)n >= sizeof name
               ? SIZE_MAX : tsri_checkpoint_find(file->checkpoint, name);
}

size_t tsri_import_find(const tsr_import *im, const char *name, ...)
{
    char core[TSRI_IMPORT_NAME];
    va_list args;

    va_start(args, name);
    vsnprintf(core, sizeof core, name, args);
    va_end(args);
    for (int i = 0; i < im->files; i++) {
        const tsri_import_file *file = &im->file[i];
        const size_t found = file->prefix ? find_in(file, file->prefix, core)
                                          : SIZE_MAX;
        if (found != SIZE_MAX)
            return file->first + found;
    }
    return SIZE_MAX;
}

/* ---- recognising ---- */

/* Whether a file has one of the names that '|' joins. */
static bool has_any(const tsri_import_file *file, const char *prefix,
                    const char *names)
{
    char name[TSRI_IMPORT_NAME];

    for (size_t n; *names; names += n + (names[n] == '|')) {
        n = strcspn(names, "|");
        snprintf(name, sizeof name, "%.*s", (int)n, names);
        if (find_in(file, prefix, name) != SIZE_MAX)
            return true;
    }
    return false;
}

/* The prefix by which a file has the whole signature, or NULL. */
static const char *prefix_of(const tsri_import_file *file,
                             const tsri_arch *arch)
{
    for (int p = 0; arch->prefixes[p]; p++) {
        bool all = true;
        for (int s = 0; all && arch->signature[s]; s++)
            all = has_any(file, arch->prefixes[p], arch->signature[s]);
        if (all)
            return arch->prefixes[p];
    }
    return NULL;
}

static bool is_arch(tsr_import *im, const tsri_arch *arch)
{
    bool found = false;

    for (int i = 0; i < im->files; i++) {
        im->file[i].prefix = prefix_of(&im->file[i], arch);
        found |= im->file[i].prefix != NULL;
    }
    if (found)
        im->arch = arch;
    return found;
}

/* Damage comes before the question what a file is. */
static tsr_error unknown(tsr_import *im, const char *wanted)
{
    for (int i = 0; i < im->files; i++)
        TSR_TRY(tsri_checkpoint_verify(im->file[i].checkpoint));
    return tsri_fail(im->ctx, TSR_E_UNSUPPORTED, "%s: not a checkpoint of %s; "
                     "its first tensor is '%s'",
                     tsri_checkpoint_path(im->file[0].checkpoint), wanted,
                     tsri_checkpoint_at(im->file[0].checkpoint, 0)->name);
}

static tsr_error recognise(tsr_import *im, const char *wanted)
{
    const bool any = !wanted || !strcmp(wanted, "auto");
    bool known = any;

    for (int i = 0; tsri_archs[i]; i++) {
        const bool this = !any && !strcmp(wanted, tsri_archs[i]->name);
        known |= this;
        if ((any || this) && is_arch(im, tsri_archs[i]))
            return TSR_OK;
    }
    if (!known)
        return tsri_fail(im->ctx, TSR_E_ARG, "unknown architecture '%s'",
                         wanted);
    return unknown(im, any ? "an architecture that is known" : wanted);
}

/* ---- decisions ---- */

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
    TSR_TRY(recognise(im, s->arch));
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
    tsr_import_settings defaults;

    *import = NULL;
    if (count < 1 || count > TSRI_IMPORT_FILES)
        return tsri_fail(ctx, TSR_E_ARG, "%d files, not 1 to %d", count,
                         TSRI_IMPORT_FILES);
    tsr_import_settings_init(&defaults);
    tsr_import *im = *import = tsri_calloc(ctx, 1, sizeof *im);
    if (!im)
        return tsri_nomem(ctx);
    im->ctx = ctx;
    const tsr_error error = open_all(im, files, count,
                                     settings ? settings : &defaults);
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

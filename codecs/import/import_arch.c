/* SPDX-License-Identifier: BSD-2-Clause */
/* Which architecture a checkpoint is of, told by the names in it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "codecs/import/import_impl.h"

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

tsr_error tsri_import_recognise(tsr_import *im, const char *wanted)
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

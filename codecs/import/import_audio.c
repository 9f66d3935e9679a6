/* SPDX-License-Identifier: BSD-2-Clause */
/* HiFi-Codec and EnCodec: what becomes of their tensors.  Hyper-parameters that
 * the files do not hold are told by shapes, but for the sampling rate of some. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "codecs/import/import_impl.h"

enum { HOP_MAX = 4096, STAGES_MAX = 8, LAYERS_MAX = 64 };

/* ---- weight norm ---- */

static const struct { const char *v, *g; } norms[] = {
    { ".weight_v", ".weight_g" },
    { ".parametrizations.weight.original1",
      ".parametrizations.weight.original0" },
};

/* An output's name: parts of files are joined by points. */
static void spell(const char *core, size_t length, const char *tail,
                  char name[TSRI_IMPORT_NAME])
{
    snprintf(name, TSRI_IMPORT_NAME, "%.*s%s", (int)length, core, tail);
    for (char *p = name; *p; p++)
        *p = *p == '/' ? '.' : *p;
}

/* weight_g and weight_v become the weight. */
static void fold_norm(tsr_import *im, size_t v, size_t length, const char *tail)
{
    const char *core = tsri_import_core(im, v);
    char name[TSRI_IMPORT_NAME];

    snprintf(name, sizeof name, "%.*s%s", (int)length, core, tail);
    const size_t g = tsri_import_find(im, "%s", name);
    if (!tsri_import_want(im, g, 3, name) || !tsri_import_want(im, v, 3, core))
        return;
    const tsr_tensor *t = tsri_import_tensor(im, v);
    const tsr_tensor *length_of = tsri_import_tensor(im, g);
    if (length_of->dims[0] != t->dims[0] || length_of->dims[1] != 1 ||
        length_of->dims[2] != 1 || t->dims[0] > INT32_MAX)
        tsri_import_fail(im, TSR_E_SHAPE, "'%s' does not fit '%s'",
                         length_of->name, t->name);
    spell(core, length, ".weight", name);
    const size_t out = tsri_import_new(im, TSRI_IMPORT_WEIGHT_NORM, name);
    if (out == SIZE_MAX)
        return;
    im->output[out].from[0] = v;
    im->output[out].from[1] = g;
    tsri_import_shape(im, out, TSR_F32, t->rank, t->dims);
    tsri_import_use(im, v, out, TSR_IMPORT_USED, "weight norm folded");
    tsri_import_use(im, g, out, TSR_IMPORT_USED, "weight norm folded");
}

static void take(tsr_import *im, size_t input)
{
    const char *core = tsri_import_core(im, input);
    char name[TSRI_IMPORT_NAME];

    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) {
        const size_t n = strlen(core) - strlen(norms[i].v);
        if (tsri_import_ends(core, norms[i].v)) {
            fold_norm(im, input, n, norms[i].g);
            return;
        }
        if (tsri_import_ends(core, norms[i].g))
            return; /* taken with the other */
    }
    spell(core, strlen(core), "", name);
    tsri_import_copy(im, input, name, "");
}

/* All inputs that begin so; what ends in one of `without` is of training. */
static void take_all(tsr_import *im, const char *const *begin,
                     const char *const *without)
{
    for (size_t i = 0; i < im->inputs && !im->error; i++) {
        const char *core = tsri_import_core(im, i);
        if (!core || im->input[i].fate)
            continue;
        for (int w = 0; without[w]; w++)
            if (tsri_import_ends(core, without[w]))
                tsri_import_drop(im, i, "of training");
        for (int b = 0; begin[b] && !im->input[i].fate; b++)
            if (tsri_import_starts(core, begin[b])) {
                take(im, i);
                break;
            }
    }
}

/* The weight of a convolution, in whatever form it is there. */
static size_t find_weight(const tsr_import *im, const char *name)
{
    size_t found = tsri_import_find(im, "%s.weight", name);

    for (size_t i = 0; i < sizeof norms / sizeof *norms && found == SIZE_MAX;
         i++)
        found = tsri_import_find(im, "%s%s", name, norms[i].v);
    return found;
}

/* Side `axis` of the weight of a convolution; 0: there is none. */
static uint64_t side(const tsr_import *im, const char *name, int axis)
{
    const size_t weight = find_weight(im, name);
    if (weight == SIZE_MAX || tsri_import_tensor(im, weight)->rank != 3)
        return 0;
    return tsri_import_tensor(im, weight)->dims[axis];
}

/* ---- EnCodec ---- */

static const char *const encodec_begin[] = {
    "encoder.", "decoder.", "quantizer.vq.layers.", NULL
};
static const char *const encodec_training[] = {
    "._codebook.embed_avg", "._codebook.cluster_size", "._codebook.inited", NULL
};
static const char *const nothing[] = { NULL };

/* The product of the decoder's ratios, each half a kernel; 0: impossible. */
static int encodec_hop(const tsr_import *im)
{
    char name[TSRI_IMPORT_NAME];
    uint64_t hop = 1;

    for (int i = 0; i < LAYERS_MAX; i++) {
        snprintf(name, sizeof name, "decoder.model.%d.convtr.convtr", i);
        const uint64_t taps = side(im, name, 2);
        if (taps > 2 * HOP_MAX)
            return 0;
        hop *= taps ? taps / 2 : 1;
        if (hop > HOP_MAX)
            return 0;
    }
    return (int)hop;
}

/* causal: as far as the file does not tell. */
static void encodec(tsr_import *im, bool causal, int rate)
{
    const size_t norm =
        tsri_import_find(im, "encoder.model.0.conv.norm.weight");
    const bool segments = norm != SIZE_MAX; /* the published 48 kHz model */
    const uint64_t channels = side(im, "encoder.model.0.conv.conv", 1);
    const int hop = encodec_hop(im);
    const uint64_t dims[] = { 8 };

    if (channels < 1 || channels > 2)
        tsri_import_fail(im, TSR_E_SHAPE, "'encoder.model.0.conv.conv' does not "
                         "fit the network");
    if (hop < 1)
        tsri_import_fail(im, TSR_E_SHAPE, "the decoder's ratios do not fit the "
                         "network");
    rate = im->rate ? im->rate : segments ? 48000 : rate;
    const int32_t form[] = {
        rate, (int32_t)channels, hop, causal && !segments, segments, 0,
        segments ? rate : 0, segments ? (int32_t)((int64_t)rate * 99 / 100) : 0
    };
    take_all(im, encodec_begin, encodec_training);
    tsri_import_ints(im, "tessera.audio", 1, dims, form);
    tsri_import_rest(im, nothing);
    tsri_import_text(im, "encodec.rate", "%d", rate);
    tsri_import_text(im, "encodec.hop", "%d", hop);
    tsri_import_text(im, "encodec.causal", "%d", (int)form[3]);
}

/* The latent of AcademiCodec's has 512 dimensions. */
static bool is_academic(const tsr_import *im)
{
    const size_t book =
        tsri_import_find(im, "quantizer.vq.layers.0._codebook.embed");
    const tsr_tensor *t = tsri_import_tensor(im, book);
    return t->rank == 2 && t->dims[1] == 512;
}

void tsri_import_encodec(tsr_import *im)
{
    if (is_academic(im)) {
        for (int i = 0; tsri_archs[i]; i++)
            if (!strcmp(tsri_archs[i]->name, "academicodec"))
                im->arch = tsri_archs[i];
        tsri_import_academicodec(im);
        return;
    }
    encodec(im, true, 24000);
}

void tsri_import_academicodec(tsr_import *im)
{
    encodec(im, false, encodec_hop(im) == 320 ? 16000 : 24000);
}

/* ---- HiFi-Codec ---- */

static const char *const hificodec_begin[] = {
    "encoder", "generator", "quantizer", NULL
};

/* Rate i of the decoder: half of its kernel; 0: there is no such stage. */
static int32_t hificodec_rate(const tsr_import *im, int i)
{
    static const char separators[] = "/.";
    char name[TSRI_IMPORT_NAME];

    for (int s = 0; separators[s]; s++) {
        snprintf(name, sizeof name, "generator%cups.%d", separators[s], i);
        const uint64_t taps = side(im, name, 2);
        if (taps >= 2 && taps <= 512)
            return (int32_t)(taps / 2);
    }
    return 0;
}

/* 16 kHz or 24 kHz is in the published files' names only. */
static int hificodec_sampling(tsr_import *im, int hop)
{
    const char *path = tsri_checkpoint_path(im->file[0].checkpoint);
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    if (im->rate)
        return im->rate;
    if (strstr(name, "16k"))
        return 16000;
    if (strstr(name, "24k") || hop == 240)
        return 24000;
    tsri_import_fail(im, TSR_E_ARG, "the sampling rate is neither in "
                     "the file nor in its name; say it (-rate)");
    return 0;
}

void tsri_import_hificodec(tsr_import *im)
{
    int32_t rates[STAGES_MAX];
    int stages = 0, hop = 1;

    for (; stages < STAGES_MAX && hop <= HOP_MAX; stages++) {
        rates[stages] = hificodec_rate(im, stages);
        if (!rates[stages])
            break;
        hop *= rates[stages];
    }
    if (!stages || hop > HOP_MAX)
        tsri_import_fail(im, TSR_E_SHAPE, "'generator.ups' does not fit the "
                         "network");
    const int rate = hificodec_sampling(im, hop);
    const uint64_t dims[] = { 8 }, count[] = { (uint64_t)stages };
    const int32_t form[] = { rate, 1, hop, 0, 0, 1, 0, 0 };
    take_all(im, hificodec_begin, nothing);
    tsri_import_ints(im, "tessera.audio", 1, dims, form);
    tsri_import_ints(im, "tessera.hificodec.rates", 1, count, rates);
    tsri_import_rest(im, nothing);
    tsri_import_text(im, "hificodec.rate", "%d", rate);
    tsri_import_text(im, "hificodec.hop", "%d", hop);
}

/* ---- X-Codec ---- */

static const char *const xcodec_begin[] = {
    "decoder_2.", "fc_post2.", "quantizer.vq.layers.", NULL
};
static const char *const xcodec_encoder[] = {
    "semantic_model.", "encoder_semantic.", "encoder.", "fc_prior.", NULL
};
static const char *const xcodec_training[] = {
    "decoder_semantic.", "fc_post1.", NULL
};

void tsri_import_xcodec(tsr_import *im)
{
    char name[TSRI_IMPORT_NAME];
    int hop = 1;

    for (int i = 1; i < LAYERS_MAX && hop <= HOP_MAX; i++) {
        snprintf(name, sizeof name, "decoder_2.model.%d.block.1", i);
        const uint64_t taps = side(im, name, 2);
        hop *= taps > 1 && taps <= 2 * HOP_MAX ? (int)(taps / 2) : 1;
    }
    if (hop < 2 || hop > HOP_MAX)
        tsri_import_fail(im, TSR_E_SHAPE, "'decoder_2.model' does not fit the "
                         "network");
    const int rate = im->rate ? im->rate : 16000;
    const uint64_t dims[] = { 8 };
    const int32_t form[] = { rate, 1, hop, 0, 0, 1, 0, 0 };
    for (size_t i = 0; i < im->inputs; i++)
        for (int k = 0; xcodec_encoder[k] && tsri_import_core(im, i); k++)
            if (tsri_import_starts(tsri_import_core(im, i), xcodec_encoder[k]))
                tsri_import_drop(im, i, "of the encoder, which needs HuBERT");
    take_all(im, xcodec_begin, encodec_training);
    tsri_import_ints(im, "tessera.audio", 1, dims, form);
    tsri_import_rest(im, xcodec_training);
    tsri_import_text(im, "xcodec.rate", "%d", rate);
    tsri_import_text(im, "xcodec.hop", "%d", hop);
}

/* ---- SemantiCodec ---- */

static const char *const semanticodec_begin[] = {
    "audiomae.model.", "encoder.", "encoder_output_linear.",
    "quantizer._codebook.embed", "model.diffusion_model.",
    "first_stage_model.decoder.", "first_stage_model.post_quant_conv.",
    "first_stage_model.vocoder.", NULL
};
static const char *const semanticodec_training[] = {
    "._codebook.embed_avg", NULL
};
/* What the decoder's sampler keeps is made anew. */
static const char *const semanticodec_rest[] = {
    "quantizer.", "model_ema.", "betas", "alphas_cumprod", "sqrt_", "log_one_",
    "posterior_", "logvar", NULL
};
static const struct { const char *begin, *why; } semanticodec_dead[] = {
    { "audiomae.model.decoder_", "of AudioMAE's decoder" },
    { "audiomae.model.mask_token", "of AudioMAE's decoder" },
    { "first_stage_model.encoder.", "of the latent's encoder" },
    { "first_stage_model.quant_conv.", "of the latent's encoder" },
};
/* Steps, and guidance in 1/256, of the published program. */
static const int32_t semanticodec_sampler[] = { 50, 512 };

/* The centroids are a file of their own, whose tensor has no name; how many there
 * are is told by its header alone. */
static size_t find_centroids(const tsr_import *im)
{
    for (size_t i = 0; i < im->inputs; i++)
        if (!tsri_import_core(im, i) &&
            !strcmp(tsri_import_tensor(im, i)->name, "(root)"))
            return i;
    return SIZE_MAX;
}

/* The decoder's numbers that are no layer's. */
static void semanticodec_numbers(tsr_import *im)
{
    const uint64_t one[] = { 1 }, two[] = { 2 };
    const size_t scale = tsri_import_find(im, "scale_factor");

    if (tsri_import_find(im, "model.diffusion_model.time_embed.0.weight") ==
        SIZE_MAX)
        return;
    tsri_import_ints(im, "tessera.semanticodec.sampler", 1, two,
                     semanticodec_sampler);
    if (scale != SIZE_MAX && tsri_import_tensor(im, scale)->rank &&
        tsri_import_tensor(im, scale)->dims[0] != 1)
        tsri_import_fail(im, TSR_E_SHAPE, "'scale_factor' does not fit the "
                         "network");
    if (!tsri_import_want(im, scale, scale == SIZE_MAX ? 0 :
                          tsri_import_tensor(im, scale)->rank > 0, "scale_factor"))
        return;
    const size_t out = tsri_import_new(im, TSRI_IMPORT_COPY, "scale_factor");
    if (out == SIZE_MAX)
        return;
    im->output[out].from[0] = scale;
    tsri_import_shape(im, out, TSR_F32, 1, one);
    tsri_import_use(im, scale, out, TSR_IMPORT_KEPT, "");
}

void tsri_import_semanticodec(tsr_import *im)
{
    const size_t centroids = find_centroids(im);
    const size_t dead = sizeof semanticodec_dead / sizeof *semanticodec_dead;

    if (centroids == SIZE_MAX)
        tsri_import_fail(im, TSR_E_ARG, "the centroids are a file of their own: "
                         "give codebook_..._0.npy, too");
    for (size_t i = 0; i < im->inputs; i++)
        for (size_t k = 0; k < dead && tsri_import_core(im, i); k++)
            if (tsri_import_starts(tsri_import_core(im, i),
                                   semanticodec_dead[k].begin))
                tsri_import_drop(im, i, semanticodec_dead[k].why);
    semanticodec_numbers(im);
    take_all(im, semanticodec_begin, semanticodec_training);
    if (tsri_import_want(im, centroids, 2, "(root)"))
        tsri_import_copy(im, centroids, "semantic.centroids", "centroids");
    tsri_import_rest(im, semanticodec_rest);
}

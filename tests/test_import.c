/* SPDX-License-Identifier: BSD-2-Clause */
/* Published-like checkpoints become models: every tensor is accounted for, what
 * is kept is kept bit for bit, what is computed is what this file computes, and
 * the codec makes the same tokens of the model as of the published tensors. */
#include <math.h>
#include <unistd.h>
#include <tessera/audio.h>
#include <tessera/image.h>
#include <tessera/tokens.h>
#include "tests/check.h"
#include "tests/tensors.h"
#include "entropy/freq.h"
#include "lib/checkpoint.h"
#include "lib/weights.h"
#include "tests/import_case.h"

static int setup(void **state)
{
    tsr_context_settings s;
    (void)state;
    tsr_context_settings_init(&s);
    s.logger.log = keep;
    return tsr_context_open(&ctx, &s);
}

static int teardown(void **state)
{
    (void)state;
    tsr_context_close(&ctx);
    remove(model_path);
    remove(plain_path);
    remove(other_path);
    return 0;
}

/* ---- comparing ---- */

/* A tensor of a checkpoint as floats, which the caller frees. */
static float *floats_of(tsri_checkpoint *cp, const char *name)
{
    const size_t i = tsri_checkpoint_find(cp, name);
    float *values;

    if (i == SIZE_MAX)
        fail_msg("no '%s'", name);
    tsr_tensor t = *tsri_checkpoint_at(cp, i);
    assert_int_equal(tsri_checkpoint_data(cp, i, &t.data), TSR_OK);
    assert_int_equal(tsri_tensor_floats(ctx, &t, &values), TSR_OK);
    return values;
}

/* A tensor of the model is this tensor of the checkpoint. */
static void same_tensor(tsri_checkpoint *cp, const tsr_tensor *t,
                        const char *name)
{
    const size_t i = tsri_checkpoint_find(cp, name);
    const void *data;

    if (i == SIZE_MAX)
        fail_msg("no '%s'", name);
    const tsr_tensor *source = tsri_checkpoint_at(cp, i);
    assert_int_equal(t->dtype, source->dtype);
    assert_int_equal(t->rank, source->rank);
    assert_memory_equal(t->dims, source->dims, sizeof t->dims);
    assert_int_equal(tsri_checkpoint_data(cp, i, &data), TSR_OK);
    assert_memory_equal(t->data, data, t->bytes);
}

/* Every input is there once; every target exists; how many are left out. */
static void accounted(const char *name, const tsr_import_settings *settings,
                      const char *arch, size_t left_out)
{
    tsr_import *import;
    tsr_import_tensor t;
    size_t out = 0;

    assert_int_equal(open_import(&import, name, settings), TSR_OK);
    assert_string_equal(tsr_import_arch(import), arch);
    for (size_t i = 0; i < tsr_import_count(import); i++) {
        bool found = false;
        tsr_import_at(import, i, &t);
        assert_true(t.fate >= TSR_IMPORT_KEPT && t.fate <= TSR_IMPORT_LEFT_OUT);
        assert_true((t.fate == TSR_IMPORT_LEFT_OUT) == !t.target);
        assert_true(t.target || *t.note);
        for (size_t k = 0; t.target && k < tsr_import_results(import); k++)
            found |= !strcmp(tsr_import_result(import, k)->name, t.target);
        assert_true(found || !t.target);
        out += !t.target;
    }
    assert_int_equal(out, left_out);
    assert_string_equal(warning, "");
    tsr_import_close(&import);
}

static tsri_checkpoint *open_source(const char *name)
{
    tsri_checkpoint *cp;
    assert_int_equal(tsri_checkpoint_open(&cp, ctx, vector(name)), TSR_OK);
    return cp;
}

/* ---- codecs ---- */

enum { SIDE = 24, SAMPLES = 1000, ROOM = 4000 };

static tsr_image picture(void)
{
    static uint8_t pixels[SIDE * SIDE * 3];
    check_rng rng = { 5 };
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(check_u32(&rng) >> 24);
    return (tsr_image){ .width = SIDE, .height = SIDE, .channels = 3, .bits = 8,
                        .stride = SIDE * 3, .data = pixels };
}

/* What comes back of a picture: the caller frees. */
static tsr_image round_trip(tsr_model *model)
{
    tsr_image in = picture(), out;
    mem_file file = { 0 };
    const tsr_sink sink = { &file, mem_write };
    const tsr_source source = { &file, mem_read };

    assert_int_equal(tsr_image_encode(ctx, model, NULL, &in, &sink), TSR_OK);
    assert_int_equal(tsr_image_decode(ctx, model, NULL, &source, &out), TSR_OK);
    free(file.data);
    return out;
}

/* Two models make the same of a picture, and of its tokens if they have such. */
static void same_pictures(tsr_model *a, tsr_model *b)
{
    tsr_image x = round_trip(a), y = round_trip(b);

    for (int row = 0; row < SIDE; row++)
        assert_memory_equal((uint8_t *)x.data + (size_t)row * x.stride,
                            (uint8_t *)y.data + (size_t)row * y.stride,
                            SIDE * 3);
    tsr_image_free(ctx, &x);
    tsr_image_free(ctx, &y);
}

static void same_ids(tsr_model *a, tsr_model *b)
{
    const tsr_image in = picture();
    tsr_image_settings s;
    tsr_tokens x, y;

    tsr_image_settings_init(&s);
    assert_int_equal(tsr_tokens_from_image(ctx, a, &s, &in, &x), TSR_OK);
    assert_int_equal(tsr_tokens_from_image(ctx, b, &s, &in, &y), TSR_OK);
    assert_int_equal(x.width * x.height, y.width * y.height);
    assert_memory_equal(x.id, y.id, (size_t)(x.width * x.height) * 4);
    tsr_tokens_free(ctx, &x);
    tsr_tokens_free(ctx, &y);
}

/* The codes of noise; returns how many there are. */
static size_t codes_of(tsr_model *model, uint16_t *codes)
{
    static float sound[SAMPLES];
    tsr_audio_encoder *encoder;
    check_rng rng = { 7 };
    size_t n = 0, frames;

    for (size_t i = 0; i < SAMPLES; i++)
        sound[i] = check_float(&rng);
    if (tsr_audio_encoder_open(&encoder, ctx, model, NULL))
        fail_msg("%s", message);
    assert_int_equal(tsr_audio_encoder_push(encoder, sound, SAMPLES), TSR_OK);
    assert_int_equal(tsr_audio_encoder_finish(encoder), TSR_OK);
    do {
        const tsr_error error = tsr_audio_encoder_pull_codes(
            encoder, codes + n, (ROOM - n) / 4, &frames);
        assert_true(!error || error == TSR_E_EOF);
        n += frames;
    } while (frames);
    tsr_audio_encoder_close(&encoder);
    return n;
}

static void same_codes(tsr_model *a, tsr_model *b)
{
    static uint16_t x[ROOM], y[ROOM];
    const size_t n = codes_of(a, x);

    assert_true(n > 0);
    assert_int_equal(codes_of(b, y), n);
    assert_memory_equal(x, y, n * sizeof *x);
}

/* The published tensors below a prefix, as they are. */
static void add_plain(tsri_checkpoint *cp, const char *prefix, const char *skip,
                      check_tensors *more)
{
    for (size_t i = 0; i < tsri_checkpoint_count(cp); i++) {
        const tsr_tensor *t = tsri_checkpoint_at(cp, i);
        char name[CHECK_NAME];
        const void *data;
        if (strncmp(t->name, prefix, strlen(prefix)) ||
            (skip && strstr(t->name, skip)))
            continue;
        check_name(name, "%s", t->name + strlen(prefix));
        for (char *p = name; *p; p++)
            *p = *p == '/' ? '.' : *p;
        assert_int_equal(t->dtype, TSR_F32);
        assert_int_equal(tsri_checkpoint_data(cp, i, &data), TSR_OK);
        memcpy(check_tensors_add(more, name, "F32", 4, t->rank, t->dims), data,
               t->bytes);
    }
}

static tsr_model *open_plain(const char *codec, check_tensors *more)
{
    char meta[128];
    tsr_model *model;

    snprintf(meta, sizeof meta, "\"tessera.codec\":\"%s\"", codec);
    check_tensors_write(more, SIZE_MAX, meta, plain_path);
    check_tensors_free(more);
    assert_int_equal(tsr_model_open(&model, ctx, plain_path), TSR_OK);
    return model;
}

/* Both, and numbers more: a model that no importer made. */
static tsr_model *plain_model(tsri_checkpoint *cp, const char *prefix,
                              const char *skip, const char *codec,
                              check_tensors *more)
{
    add_plain(cp, prefix, skip, more);
    return open_plain(codec, more);
}

/* ---- McQuic ---- */

static void mcquic_table_is(tsri_checkpoint *cp, const tsr_tensor *t, int level)
{
    char name[64];
    const int k = (int)t->dims[1] - 1;
    uint32_t cdf[64];

    snprintf(name, sizeof name, "model/_quantizer._entropyCoder._freqEMA.%d",
             level);
    float *ema = floats_of(cp, name);
    for (int m = 0; m < (int)t->dims[0]; m++) {
        tsri_pmf_from_ema(ema + m * k, k, ema + m * k);
        assert_int_equal(tsri_cdf_from_pmf(ema + m * k, k, cdf), TSR_OK);
        for (int i = 0; i <= k; i++)
            assert_int_equal(cdf[i], tsri_get32((const uint8_t *)t->data +
                                                4 * (m * (k + 1) + i)));
    }
    tsri_free(ctx, ema);
}

static void test_mcquic(void **state)
{
    tsri_checkpoint *cp = open_source("tiny.mcquic");
    tsr_model *model = import_file("tiny.mcquic", NULL), *plain;
    check_tensors list = { 0 };
    int tables = 0;
    (void)state;

    accounted("tiny.mcquic", NULL, "mcquic", 12);
    assert_int_equal(tsr_model_tensor_count(model), 718 - 12);
    for (size_t i = 0; i < tsr_model_tensor_count(model); i++) {
        const tsr_tensor *t = tsr_model_tensor_at(model, i);
        char name[256];
        snprintf(name, sizeof name, "model/%s", t->name);
        if (strncmp(t->name, "tessera.cdf.", 12))
            same_tensor(cp, t, name);
        else
            mcquic_table_is(cp, t, tables++);
    }
    assert_int_equal(tables, 3);
    assert_string_equal(tsr_model_codec(model), "mcquic");
    assert_string_equal(tsr_model_meta(model, "mcquic.channel"), "4");
    assert_string_equal(tsr_model_meta(model, "mcquic.k"), "8,4,2");
    plain = plain_model(cp, "model/", NULL, "mcquic", &list);
    same_pictures(model, plain);
    tsr_model_unref(&plain);
    tsr_model_unref(&model);
    tsri_checkpoint_close(&cp);
}

/* ---- token codecs ---- */

/* tessera.codebook is E W^T + b. */
static void folded(tsri_checkpoint *cp, const tsr_model *model, const char *e,
                   const char *w, const char *b)
{
    const tsr_tensor *t = tsr_model_tensor(model, "tessera.codebook");
    float *rows = floats_of(cp, e), *matrix = floats_of(cp, w);
    float *addend = floats_of(cp, b);
    const size_t width = (size_t)tsri_checkpoint_at(
        cp, tsri_checkpoint_find(cp, e))->dims[1];

    assert_non_null(t);
    assert_int_equal(t->dtype, TSR_F32);
    for (size_t i = 0; i < t->dims[0]; i++)
        for (size_t j = 0; j < t->dims[1]; j++) {
            double sum = 0;
            for (size_t k = 0; k < width; k++)
                sum += (double)rows[i * width + k] *
                       (double)matrix[j * width + k];
            const float got = tsri_getf32((const uint8_t *)t->data +
                                          4 * (i * t->dims[1] + j));
            assert_true(got == (float)(sum + (double)addend[j]));
        }
    tsri_free(ctx, rows);
    tsri_free(ctx, matrix);
    tsri_free(ctx, addend);
}

static void test_vqgan(void **state)
{
    static const char file[] = "vqgan-lc-tiny-last.pth";
    tsri_checkpoint *cp = open_source(file);
    tsr_model *model = import_file(file, NULL), *plain;
    check_tensors list = { 0 };
    (void)state;

    /* 9 of the optimiser, the discriminator, the perceptual loss */
    accounted(file, NULL, "vqgan", 11);
    assert_int_equal(tsr_model_tensor_count(model), 136 - 11 - 2);
    for (size_t i = 0; i < tsr_model_tensor_count(model); i++) {
        const tsr_tensor *t = tsr_model_tensor_at(model, i);
        char name[256];
        snprintf(name, sizeof name, "model/%s", t->name);
        if (strcmp(t->name, "tessera.codebook"))
            same_tensor(cp, t, name);
    }
    folded(cp, model, "model/tok_embeddings.weight",
           "model/codebook_projection.weight", "model/codebook_projection.bias");
    plain = plain_model(cp, "model/", NULL, "vqgan", &list);
    same_ids(model, plain);
    tsr_model_unref(&plain);
    tsr_model_unref(&model);
    tsri_checkpoint_close(&cp);
    refused("vqgan-lc-tiny-statedict.pth", NULL, TSR_E_SHAPE,
            "no tensor 'encoder.conv_in.weight'");
}

/* The name of a running average. */
static void average_name(const char *name, char *out)
{
    out += sprintf(out, "state_dict/model_ema.");
    for (; *name; name++)
        if (*name != '.')
            *out++ = *name;
    *out = 0;
}

/* The tensors with their averages in their places, the codebook excepted, which
 * is projected when the model is opened. */
static tsr_model *averaged_model(tsri_checkpoint *cp)
{
    check_tensors list = { 0 };
    int replaced = 0;

    add_plain(cp, "state_dict/", "model_ema", &list);
    for (size_t i = 0; i < list.count; i++) {
        char name[256];
        average_name(list.tensor[i].name, name);
        if (!strcmp(list.tensor[i].name, "quantize.embedding.weight") ||
            tsri_checkpoint_find(cp, name) == SIZE_MAX)
            continue;
        float *average = floats_of(cp, name);
        memcpy(list.tensor[i].data, average, list.tensor[i].bytes);
        tsri_free(ctx, average);
        replaced++;
    }
    assert_true(replaced > 50);
    return open_plain("simvq", &list);
}

static void test_simvq(void **state)
{
    static const char file[] = "simvq_tiny.ckpt";
    tsri_checkpoint *cp = open_source(file);
    tsr_model *model = import_file(file, NULL), *plain;
    check_tensors list = { 0 };
    (void)state;

    for (size_t i = 0; i < tsr_model_tensor_count(model); i++) {
        const tsr_tensor *t = tsr_model_tensor_at(model, i);
        char name[256];
        average_name(t->name, name);
        if (strcmp(t->name, "tessera.codebook"))
            same_tensor(cp, t, name);
    }
    folded(cp, model, "state_dict/quantize.embedding.weight",
           "state_dict/model_ema.quantizeembedding_projweight",
           "state_dict/model_ema.quantizeembedding_projbias");
    /* 10 beside it, 2 of the averages, and what has an average */
    const size_t kept = tsr_model_tensor_count(model) - 1;
    accounted(file, NULL, "simvq", 10 + 2 + kept + 2);
    assert_int_equal(135, 10 + 2 + 2 * (kept + 2) + 1);
    /* The averages differ from the tensors themselves, and count. */
    plain = plain_model(cp, "state_dict/", "model_ema", "simvq", &list);
    const tsr_tensor *a = tsr_model_tensor(model, "encoder.conv_in.weight");
    const tsr_tensor *b = tsr_model_tensor(plain, "encoder.conv_in.weight");
    assert_memory_not_equal(a->data, b->data, a->bytes);
    tsr_model_unref(&plain);
    plain = averaged_model(cp);
    same_ids(model, plain);
    tsr_image out = round_trip(model);
    tsr_image_free(ctx, &out);
    tsr_model_unref(&plain);
    tsr_model_unref(&model);
    tsri_checkpoint_close(&cp);
}

/* ---- audio ---- */

/* weight = g v / |v|: within a rounding of what double says. */
static void normed(tsri_checkpoint *cp, const tsr_tensor *t, const char *stem)
{
    char name[CHECK_NAME];
    const size_t rows = (size_t)t->dims[0];
    const size_t cols = tsri_tensor_count(t) / rows;

    check_name(name, "%s_v", stem);
    float *v = floats_of(cp, name);
    check_name(name, "%s_g", stem);
    float *g = floats_of(cp, name);
    for (size_t i = 0; i < rows; i++) {
        double square = 0;
        for (size_t j = 0; j < cols; j++)
            square += (double)v[i * cols + j] * (double)v[i * cols + j];
        for (size_t j = 0; j < cols; j++) {
            const double want = (double)g[i] * (double)v[i * cols + j] /
                                sqrt(square);
            const double got = (double)tsri_getf32((const uint8_t *)t->data +
                                                   4 * (i * cols + j));
            assert_true(fabs(got - want) <= 0x1p-23 * fabs(want));
        }
    }
    tsri_free(ctx, v);
    tsri_free(ctx, g);
}

static void ints_are(const tsr_model *model, const char *name, int n,
                     const int32_t *values)
{
    const tsr_tensor *t = tsr_model_tensor(model, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, TSR_I32);
    assert_int_equal(t->bytes, 4 * n);
    for (int i = 0; i < n; i++)
        assert_int_equal((int32_t)tsri_get32((const uint8_t *)t->data + 4 * i),
                         values[i]);
}

/* A model of sound against its checkpoint; parts of names are joined by
 * `joint`. */
static void audio_is(const char *file, const tsr_model *model,
                     const char *prefix, char joint)
{
    tsri_checkpoint *cp = open_source(file);

    for (size_t i = 0; i < tsr_model_tensor_count(model); i++) {
        const tsr_tensor *t = tsr_model_tensor_at(model, i);
        char name[256], v[264];
        if (!strncmp(t->name, "tessera.", 8))
            continue;
        snprintf(name, sizeof name, "%s%s", prefix, t->name);
        *strchr(name + strlen(prefix), '.') = joint;
        snprintf(v, sizeof v, "%s_v", name);
        if (tsri_checkpoint_find(cp, v) == SIZE_MAX)
            same_tensor(cp, t, name);
        else
            normed(cp, t, name);
    }
    tsri_checkpoint_close(&cp);
}

static void test_encodec(void **state)
{
    static const struct { const char *file, *prefix; } files[] = {
        { "encodec_tiny.th", "" }, { "encodec_tiny_legacy.th", "" },
        { "encodec_tiny_module.pth", "module." },
    };
    static const int32_t form[] = { 24000, 1, 8, 1, 0, 0, 0, 0 };
    const uint64_t dims[] = { 8 };
    (void)state;
    for (int i = 0; i < 3; i++) {
        tsr_model *model = import_file(files[i].file, NULL);
        tsri_checkpoint *cp = open_source(files[i].file);
        check_tensors list = { 0 };
        accounted(files[i].file, NULL, "encodec", 6);
        audio_is(files[i].file, model, files[i].prefix, '.');
        ints_are(model, "tessera.audio", 8, form);
        memcpy(check_tensors_add(&list, "tessera.audio", "I32", 4, 1, dims),
               form, sizeof form);
        tsr_model *plain = plain_model(cp, files[i].prefix, NULL, "encodec",
                                       &list);
        same_codes(model, plain);
        tsr_model_unref(&plain);
        tsr_model_unref(&model);
        tsri_checkpoint_close(&cp);
    }
}

static void test_academicodec(void **state)
{
    static const int32_t form[] = { 22050, 1, 8, 0, 0, 0, 0, 0 };
    tsr_import_settings s;
    (void)state;
    tsr_import_settings_init(&s);
    s.arch = "academicodec";
    s.rate = 22050;
    tsr_model *model = import_file("encodec_tiny_module.pth", &s);
    assert_string_equal(tsr_model_codec(model), "encodec");
    assert_string_equal(tsr_model_meta(model, "architecture"), "academicodec");
    ints_are(model, "tessera.audio", 8, form);
    static uint16_t codes[ROOM];
    assert_true(codes_of(model, codes) > 0);
    tsr_model_unref(&model);
}

static void test_hificodec(void **state)
{
    static const char file[] = "HiFi-Codec-tiny";
    static const int32_t form[] = { 24000, 1, 16, 0, 0, 1, 0, 0 };
    static const int32_t rates[] = { 2, 2, 2, 2 };
    const uint64_t eight[] = { 8 }, four[] = { 4 };
    tsr_import_settings s;
    check_tensors list = { 0 };
    (void)state;

    refused(file, NULL, TSR_E_ARG, "-rate");
    tsr_import_settings_init(&s);
    s.rate = 24000;
    accounted(file, &s, "hificodec", 0);
    tsr_model *model = import_file(file, &s);
    audio_is(file, model, "", '/');
    ints_are(model, "tessera.audio", 8, form);
    ints_are(model, "tessera.hificodec.rates", 4, rates);
    tsri_checkpoint *cp = open_source(file);
    memcpy(check_tensors_add(&list, "tessera.audio", "I32", 4, 1, eight), form,
           sizeof form);
    memcpy(check_tensors_add(&list, "tessera.hificodec.rates", "I32", 4, 1,
                             four), rates, sizeof rates);
    tsr_model *plain = plain_model(cp, "", NULL, "hificodec", &list);
    same_codes(model, plain);
    tsr_model_unref(&plain);
    tsr_model_unref(&model);
    tsri_checkpoint_close(&cp);
}

/* ---- settings and texts ---- */

static void test_texts(void **state)
{
    tsr_import_settings s;
    uint8_t digest[32];
    char hex[65];
    (void)state;

    tsr_import_settings_init(&s);
    s.name = "n\"\xc3\xa9\\\n";
    s.licence = "Apache-2.0";
    tsr_model *model = import_file("tiny.mcquic", &s);
    tsri_checkpoint *cp = open_source("tiny.mcquic");
    tsri_checkpoint_digest(cp, digest);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(tsr_model_name(model), s.name);
    assert_string_equal(tsr_model_meta(model, "license"), "Apache-2.0");
    assert_string_equal(tsr_model_meta(model, "source.file"), "tiny.mcquic");
    assert_string_equal(tsr_model_meta(model, "source.sha256"), hex);
    assert_string_equal(tsr_model_meta(model, "source.format"),
                        "PyTorch (zip)");
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", tsr_model_hash(model)[i]);
    assert_string_equal(tsr_model_meta(model, "tessera.sha256"), hex);
    tsri_checkpoint_close(&cp);
    tsr_model_unref(&model);

    s.name = "\xff";
    refused_late("tiny.mcquic", &s, TSR_E_ARG, "UTF-8");
    s.name = NULL;
    s.arch = "nothing";
    refused("tiny.mcquic", &s, TSR_E_ARG, "unknown architecture 'nothing'");
    s.arch = "simvq";
    refused("tiny.mcquic", &s, TSR_E_UNSUPPORTED, "not a checkpoint of simvq");
    refused("views.pt", NULL, TSR_E_UNSUPPORTED, "its first tensor is");
    refused("crc_error.pt", NULL, TSR_E_CHECKSUM, "CRC");
    tsr_model *own = import_file("tiny.mcquic", NULL);
    refused(model_path, NULL, TSR_E_UNSUPPORTED, "codec mcquic already");
    tsr_model_unref(&own);
    refused("evil_os_system.pt", NULL, TSR_E_CORRUPT, "os.system");
    refused("./there/is/none", NULL, TSR_E_IO, "No such file");
}

/* Halves are the nearest, and what has one dimension stays as it is. */
static void test_half(void **state)
{
    tsr_import_settings s;
    (void)state;

    tsr_import_settings_init(&s);
    s.half = 1;
    tsri_checkpoint *cp = open_source("vqgan-lc-tiny-last.pth");
    tsr_model *model = import_file("vqgan-lc-tiny-last.pth", &s);
    for (size_t i = 0; i < tsr_model_tensor_count(model); i++) {
        const tsr_tensor *t = tsr_model_tensor_at(model, i);
        char name[256];
        assert_int_equal(t->dtype, t->rank > 1 ? TSR_F16 : TSR_F32);
        if (t->rank < 2 || !strcmp(t->name, "tessera.codebook"))
            continue;
        snprintf(name, sizeof name, "model/%s", t->name);
        float *x = floats_of(cp, name), *y;
        assert_int_equal(tsri_tensor_floats(ctx, t, &y), TSR_OK);
        for (size_t k = 0; k < tsri_tensor_count(t); k++)
            assert_true(fabsf(x[k] - y[k]) <=
                        fmaxf(0x1p-11f * fabsf(x[k]), 0x1p-25f));
        tsri_free(ctx, x);
        tsri_free(ctx, y);
    }
    tsr_image out = round_trip(model);
    tsr_image_free(ctx, &out);
    tsr_model_unref(&model);
    tsri_checkpoint_close(&cp);
}

/* ---- checkpoints of our own ---- */

static float *add(check_tensors *list, const char *name, int rank, uint64_t a,
                  uint64_t b, float value)
{
    const uint64_t dims[] = { a, b, 1, 1 };
    float *to = check_tensors_add(list, name, "F32", 4, rank, dims);
    for (size_t i = 0; i < check_dims(rank, dims); i++)
        to[i] = value;
    return to;
}

/* What makes a VQGAN, in a few numbers; values: of quant_conv.weight. */
static void tiny_vqgan(check_tensors *list, float value)
{
    add(list, "encoder.conv_in.weight", 4, 4, 3, 1);
    add(list, "decoder.conv_out.weight", 4, 3, 4, 1);
    add(list, "quant_conv.weight", 4, 2, 4, value);
    add(list, "post_quant_conv.weight", 4, 4, 2, 1);
}

static void put(check_tensors *list, const char *path)
{
    check_tensors_write(list, SIZE_MAX, NULL, path);
    check_tensors_free(list);
}

static void test_values(void **state)
{
    check_tensors list = { 0 };
    tsr_import_settings s;
    tsr_model *model;
    (void)state;

    tsr_import_settings_init(&s);
    tiny_vqgan(&list, 1);
    put(&list, other_path);
    refused(other_path, NULL, TSR_E_SHAPE, "no codebook");
    tiny_vqgan(&list, 1);
    add(&list, "quantize.embedding.weight", 2, 8, 2, 1);
    add(&list, "somebody.else", 1, 1, 0, 1);
    put(&list, other_path);
    model = import_file(other_path, NULL);
    assert_non_null(strstr(warning, "'somebody.else'"));
    assert_non_null(tsr_model_tensor(model, "quantize.embedding.weight"));
    assert_null(tsr_model_tensor(model, "somebody.else"));
    tsr_model_unref(&model);
    tiny_vqgan(&list, NAN);
    add(&list, "quantize.embedding.weight", 2, 8, 2, 1);
    put(&list, other_path);
    refused_late(other_path, NULL, TSR_E_SHAPE, "quant_conv.weight");
    tiny_vqgan(&list, 65520);
    add(&list, "quantize.embedding.weight", 2, 8, 2, 1);
    put(&list, other_path);
    s.half = 1;
    refused_late(other_path, &s, TSR_E_SHAPE, "too large for F16");
    tiny_vqgan(&list, 1);
    add(&list, "tok_embeddings.weight", 2, 8, 3, 1);
    add(&list, "codebook_projection.weight", 2, 2, 4, 1);
    add(&list, "codebook_projection.bias", 1, 2, 0, 1);
    put(&list, other_path);
    refused(other_path, NULL, TSR_E_SHAPE, "does not fit");
}

/* A codebook in a file of its own, of halves. */
static void test_two_files(void **state)
{
    const char *const files[] = { other_path, check_path(FOLDER
                                                         "codebook-tiny.pth") };
    check_tensors list = { 0 };
    tsr_import *import;
    tsr_model *model;
    (void)state;

    tiny_vqgan(&list, 1);
    add(&list, "codebook_projection.weight", 2, 2, 12, 1);
    add(&list, "codebook_projection.bias", 1, 2, 0, 0);
    put(&list, other_path);
    assert_int_equal(tsr_import_open(&import, ctx, files, 2, NULL), TSR_OK);
    write_import(import, model_path);
    tsr_import_close(&import);
    assert_int_equal(tsr_model_open(&model, ctx, model_path), TSR_OK);
    const tsr_tensor *t = tsr_model_tensor(model, "tessera.codebook");
    assert_non_null(t);
    assert_int_equal(t->dims[0], 20);
    assert_int_equal(t->dims[1], 2);
    assert_string_equal(tsr_model_meta(model, "source.file.2"),
                        "codebook-tiny.pth");
    tsri_checkpoint *cp = open_source("codebook-tiny.pth");
    float *rows = floats_of(cp, "(root)");
    for (size_t i = 0; i < 20; i++) {
        double sum = 0;
        for (size_t k = 0; k < 12; k++)
            sum += (double)rows[i * 12 + k];
        assert_true(tsri_getf32((const uint8_t *)t->data + 8 * i) ==
                    (float)sum);
    }
    tsri_free(ctx, rows);
    tsri_checkpoint_close(&cp);
    tsr_model_unref(&model);
    assert_int_equal(tsr_import_open(&import, ctx, files, 0, NULL), TSR_E_ARG);
}

/* A McQuic file whose codebooks are not one: refused. */
static void test_aliases(void **state)
{
    tsri_checkpoint *cp = open_source("tiny.mcquic");
    check_tensors list = { 0 };
    tsr_model *plain = plain_model(cp, "model/", NULL, "mcquic", &list);
    const char alias[] = "_quantizer._decoders.1._dequantizer._codebook";
    (void)state;

    for (size_t i = 0; i < tsr_model_tensor_count(plain); i++) {
        const tsr_tensor *t = tsr_model_tensor_at(plain, i);
        uint8_t *to = check_tensors_add(&list, t->name, "F32", 4, t->rank,
                                        t->dims);
        memcpy(to, t->data, t->bytes);
    }
    check_tensors_write(&list, SIZE_MAX, NULL, other_path);
    tsr_model *model = import_file(other_path, NULL);
    tsr_model_unref(&model);
    ((float *)check_tensors_find(&list, alias)->data)[1] += 1;
    check_tensors_write(&list, SIZE_MAX, NULL, other_path);
    refused(other_path, NULL, TSR_E_SHAPE, alias);
    check_tensors_free(&list);
    tsr_model_unref(&plain);
    tsri_checkpoint_close(&cp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mcquic), cmocka_unit_test(test_vqgan),
        cmocka_unit_test(test_simvq), cmocka_unit_test(test_encodec),
        cmocka_unit_test(test_academicodec), cmocka_unit_test(test_hificodec),
        cmocka_unit_test(test_texts), cmocka_unit_test(test_half),
        cmocka_unit_test(test_values), cmocka_unit_test(test_two_files),
        cmocka_unit_test(test_aliases),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

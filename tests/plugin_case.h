/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of plugins of sound share: a folder of tiny models, and what
 * the library makes of a sound by itself. */
#ifndef TSR_TESTS_PLUGIN_CASE_H
#define TSR_TESTS_PLUGIN_CASE_H
#include "tests/audio_case.h"
#include "tests/audio_model.h"
#include <dirent.h>
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLUGIN_ENCODEC(r, c) \
    .rate = r, .channels = c, .filters = 2, .decoder_filters = 2, \
    .ratio = { 8, 5, 4, 2 }, .ratios = 4, .residuals = 1, .lstms = 1, \
    .dim = 8, .codewords = 64

static const struct {
    const char *name;
    encodec_sizes sizes;
} plugin_encodec[] = {
    { "sound", { PLUGIN_ENCODEC(24000, 1), .books = 6, .causal = true,
                 .folded = true } },
    { "both", { PLUGIN_ENCODEC(48000, 2), .books = 2, .causal = true,
                .folded = true } },
    { "cut up.2", { PLUGIN_ENCODEC(48000, 2), .books = 2, .norm = true,
                    .segment = 4800, .step = 4752 } },
    { "gone", { PLUGIN_ENCODEC(8000, 1), .books = 2, .causal = true,
                .folded = true } },
};
static const hificodec_sizes plugin_hificodec = {
    .rate = 16000, .base = 8, .initial = 8, .up = { 4, 3 }, .taps = { 8, 5 },
    .ups = 2, .kernel = { 3, 5 }, .kernels = 2, .steps = 2, .pairs = true,
    .dim = 3, .codewords = 40 };

/** FOLDER/NAME.safetensors; one buffer, overwritten. */
static inline const char *plugin_path(const char *folder, const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    return path;
}

static inline void plugin_write(check_tensors *list, const char *folder,
                                const char *name, const char *codec)
{
    char meta[64];
    snprintf(meta, sizeof meta, "\"tessera.codec\":\"%s\"", codec);
    check_tensors_write(list, SIZE_MAX, meta, plugin_path(folder, name));
    check_tensors_free(list);
}

/** A new folder that holds these models, a picture's and two files that are
 *  none, and is the only place models are looked for in. */
static inline void plugin_models(const char *folder)
{
    check_tensors list;
    FILE *f;

    assert_true(!mkdir(folder, 0755));
    for (size_t i = 0; i < sizeof plugin_encodec / sizeof *plugin_encodec; i++) {
        list = encodec_model(&plugin_encodec[i].sizes, 7 + i);
        plugin_write(&list, folder, plugin_encodec[i].name, "encodec");
    }
    list = hificodec_model(&plugin_hificodec, 3);
    plugin_write(&list, folder, "speech", "hificodec");
    list = encodec_model(&plugin_encodec[0].sizes, 1);
    plugin_write(&list, folder, "picture", "hyper");
    f = fopen(plugin_path(folder, "text"), "wb");
    fputs("\"tessera.codec\":\"encodec\" is not all of a model", f);
    assert_int_equal(fclose(f), 0);
    f = fopen(plugin_path(folder, "empty"), "wb");
    assert_int_equal(fclose(f), 0);
    setenv("TESSERA_MODELS", folder, 1);
    setenv("HOME", folder, 1);
    setenv("XDG_DATA_HOME", folder, 1);
}

/** Removes a folder of files. */
static inline void plugin_remove(const char *folder)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    char path[400];

    while (d && (e = readdir(d))) {
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] != '.')
            remove(path);
    }
    if (d)
        closedir(d);
    rmdir(folder);
}

/** The n interleaved samples that the library by itself makes of x. */
static inline float *plugin_reference(const char *folder, const char *name,
                                      int channels, double kbits, const float *x,
                                      size_t n)
{
    tsr_context *ctx = sound_quiet(1);
    tsr_audio_settings settings;
    tsr_model *model;

    tsr_audio_settings_init(&settings);
    settings.channels = channels;
    settings.bitrate = kbits * 1000;
    settings.live = 1;
    settings.packet_frames = 1;
    assert_int_equal(tsr_model_open(&model, ctx, plugin_path(folder, name)),
                     TSR_OK);
    sound_stream stream = sound_encode(ctx, model, &settings, x, n, channels, 0,
                                       1);
    sound_samples out = sound_decode(ctx, model, &stream, 0, 0, NULL);
    assert_int_equal(out.n, n);
    sound_free_stream(&stream);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    return out.x;
}

/** The samples of the file that a plugin wrote; *n: of each channel. */
typedef struct plugin_heard {
    float *x;
    size_t n, channels;
    FILE *file;
} plugin_heard;

static inline tsr_error plugin_read(void *cookie, void *data, size_t size,
                                    size_t *got)
{
    *got = fread(data, 1, size, ((plugin_heard *)cookie)->file);
    return TSR_OK;
}

static inline tsr_error plugin_begin(void *cookie, int rate, int channels)
{
    (void)rate;
    ((plugin_heard *)cookie)->channels = (size_t)channels;
    return TSR_OK;
}

static inline tsr_error plugin_keep(void *cookie, const float *x, size_t n)
{
    plugin_heard *h = cookie;
    h->x = realloc(h->x, (h->n + n) * h->channels * sizeof *x);
    assert_non_null(h->x);
    memcpy(h->x + h->n * h->channels, x, n * h->channels * sizeof *x);
    h->n += n;
    return TSR_OK;
}

static inline plugin_heard plugin_decode(const char *path)
{
    plugin_heard h = { .file = fopen(path, "rb") };
    tsr_context *ctx = sound_quiet(1);
    const tsr_source source = { &h, plugin_read };
    const tsr_audio_sink sink = { &h, plugin_begin, plugin_keep };

    assert_non_null(h.file);
    assert_int_equal(tsr_audio_decode(ctx, NULL, NULL, &source, 0, UINT64_MAX,
                                      &sink), TSR_OK);
    fclose(h.file);
    tsr_context_close(&ctx);
    return h;
}
#endif

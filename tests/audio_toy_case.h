/* SPDX-License-Identifier: BSD-2-Clause */
/* What tests with toys have in common: a context, models, and what comes out. */
#ifndef TSR_TESTS_AUDIO_TOY_CASE_H
#define TSR_TESTS_AUDIO_TOY_CASE_H
#include <unistd.h>
#include "tests/audio_toy.h"
#include "tests/audio_case.h"
#include "tests/model_gen.h"

/** A model of a toy; with_tables: of 4 books, for static coding. */
static inline tsr_model *toy_model(tsr_context *ctx, const char *codec,
                                   bool with_tables)
{
    static const int one[] = { 3 }, dims[] = { 4, TOY_WORDS };
    static model_gen g;
    char metadata[128], path[64];
    tsr_model *model;

    g = (model_gen){ .rng = { strlen(codec) + with_tables }, .metadata = metadata };
    snprintf(metadata, sizeof metadata,
             "\"tessera.codec\":\"%s\",\"tessera.name\":\"toy %s\"", codec, codec);
    snprintf(path, sizeof path, "./toy_%s_%ld.safetensors", codec, (long)getpid());
    model_floats(&g, "nothing", 1, one, 0, 1);
    if (with_tables) {
        uint8_t *t = model_tensor(&g, "codes.static", "U8", 1, 2, dims);
        for (int i = 0; i < 4 * TOY_WORDS; i++)
            t[i] = (uint8_t)(255 - abs(i % TOY_WORDS - 128));
    }
    model_write(&g, path);
    assert_int_equal(tsr_model_open(&model, ctx, path), TSR_OK);
    remove(path);
    return model;
}

static tsr_context *quiet;
static tsr_model *model[TOYS], *tables;

static inline int setup(void **state)
{
    (void)state;
    quiet = sound_quiet(1);
    for (int i = 0; i < TOYS; i++)
        model[i] = toy_model(quiet, toys[i].id, false);
    tables = toy_model(quiet, toys[TOY_MONO].id, true);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < TOYS; i++)
        tsr_model_unref(&model[i]);
    tsr_model_unref(&tables);
    tsr_context_close(&quiet);
    return 0;
}

static inline tsr_audio_settings defaults(void)
{
    tsr_audio_settings s;
    tsr_audio_settings_init(&s);
    return s;
}

/* ---- what the codes of a toy stand for ---- */

static inline float quantised(float v)
{
    return toy_value(toy_code(v));
}

static inline float at(const float *x, size_t n, int channels, size_t t, int c)
{
    return t < n ? x[t * (size_t)channels + (size_t)c] : 0;
}

/* Sample t of what a decoder without losses gives for x. */
static inline float expected(const float *x, size_t n, int channels, size_t t, int c)
{
    const float now = quantised(0.5f * at(x, n, channels, t, c) +
                                0.5f * (t ? at(x, n, channels, t - 1, c) : 0));
    if (!t)
        return 0.5f * now;
    return 0.5f * now +
           0.5f * quantised(0.5f * at(x, n, channels, t - 1, c) +
                            0.5f * (t > 1 ? at(x, n, channels, t - 2, c) : 0));
}

static inline void as_expected(const sound_samples *got, const float *x, size_t n)
{
    assert_int_equal(got->n, n);
    for (size_t t = 0; t < n; t++)
        for (int c = 0; c < got->channels; c++)
            assert_float_equal(at(got->x, n, got->channels, t, c),
                               expected(x, n, got->channels, t, c), 1e-6f);
}

/* ---- settings in short ---- */

/** Packets of 25 ms: four fade to silence. */
enum { FRAMES = 50, SPAN = FRAMES * TOY_HOP };

typedef struct form {
    int toy, channels, books, frames, entropy, layers, live;
} form;

static inline tsr_audio_settings settings_of(const form *s)
{
    tsr_audio_settings out = defaults();
    out.channels = s->channels;
    out.books = s->books;
    out.packet_frames = s->frames;
    out.entropy = s->entropy;
    out.droppable = s->layers;
    out.live = s->live;
    return out;
}
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Nets for sound on a GPU, and files of sound in memory. */
#ifndef TSR_TESTS_CUDA_AUDIO_CASE_H
#define TSR_TESTS_CUDA_AUDIO_CASE_H
#include "tests/audio_case.h"
#include "tests/audio_model.h"
#include "tests/memory.h"
#include "tests/vector.h"

typedef struct net {
    const char *name, *codec;   /* codec NULL: models/NAME.safetensors */
    int form[8], rates[4];
    size_t n;                   /* samples to code */
    int frames;                 /* of packets */
} net;

static const net nets[] = {
    { "sound", NULL, { 24000, 1, 320, 1, 0, 0, 0, 0 }, { 0 }, 72001, 0 },
    { "encodec_24k_f4_d32", "encodec", { 24000, 1, 320, 1, 0, 0, 0, 0 }, { 0 },
      48123, 4 },
    { "encodec_48k_f4_d16", "encodec", { 48000, 2, 320, 0, 1, 0, 4800, 4752 },
      { 0 }, 20000, 15 },
    { "hificodec_b8_r1_16k320", "hificodec", { 16000, 1, 320, 0, 0, 1, 0, 0 },
      { 8, 5, 4, 2 }, 16000, 4 },
};
enum { NETS = sizeof nets / sizeof *nets };

static bool few;
static tsr_context *host;
static tsr_model *model[NETS];
static int books[NETS];

static inline size_t length_of(int i)
{
    return few ? nets[i].n / 12 : nets[i].n;
}

/* NULL: there is no such device. */
static inline tsr_context *on_device(int precision, int threads)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.device = "cuda";
    s.precision = precision;
    s.threads = threads;
    s.logger.log = check_log;
    return tsr_context_open(&ctx, &s) ? NULL : ctx;
}

static tsr_model *open_net(const net *k)
{
    static const uint64_t stages[] = { 4 };
    tsr_model *made;
    char path[64];

    if (!k->codec) {
        snprintf(path, sizeof path, "models/%s.safetensors", k->name);
        assert_int_equal(tsr_model_open(&made, host, check_path(path)), TSR_OK);
        return made;
    }
    check_tensors list = vector_weights(host, k->name, NULL);
    audio_form(&list, k->form);
    if (k->rates[0])
        audio_ints(&list, "tessera.hificodec.rates", 1, stages, k->rates);
    qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
    made = audio_model(host, &list, SIZE_MAX, k->codec,
                       "./cuda_audio.safetensors");
    check_tensors_free(&list);
    return made;
}

static inline void open_all(void)
{
    host = check_context("c", 1);
    for (int i = 0; i < NETS; i++) {
        tsr_audio_model_info info;
        model[i] = open_net(&nets[i]);
        assert_int_equal(tsr_audio_model_describe(host, model[i], &info),
                         TSR_OK);
        books[i] = info.books;
    }
}

static inline void close_all(void)
{
    for (int i = 0; i < NETS; i++)
        tsr_model_unref(&model[i]);
    tsr_context_close(&host);
}

static inline tsr_audio_settings settings_of(int i)
{
    tsr_audio_settings s;

    tsr_audio_settings_init(&s);
    s.books = books[i];
    s.packet_frames = nets[i].frames;
    s.search = 0;
    s.window = 0;
    return s;
}

/* ---- files ---- */

typedef struct given {
    const float *x;
    size_t n, at;
    int channels;
} given;

static inline tsr_error give(void *cookie, float *samples, size_t n, size_t *got)
{
    given *g = cookie;
    *got = n < g->n - g->at ? n : g->n - g->at;
    memcpy(samples, g->x + g->at * (size_t)g->channels,
           *got * (size_t)g->channels * sizeof *samples);
    g->at += *got;
    return TSR_OK;
}

static inline void encode_file(tsr_context *ctx, int i, const float *x, size_t n,
                        mem_file *out)
{
    const tsr_audio_settings s = settings_of(i);
    given g = { x, n, 0, nets[i].form[1] };
    const tsr_audio_source source = { &g, give, n };
    const tsr_sink sink = { out, mem_write };

    assert_int_equal(tsr_audio_encode(ctx, model[i], &s, &source, &sink), TSR_OK);
}

typedef struct taken {
    float *x;
    size_t n, room;
    int channels;
} taken;

static inline tsr_error take_begin(void *cookie, int rate, int channels)
{
    (void)rate;
    ((taken *)cookie)->channels = channels;
    return TSR_OK;
}

static inline tsr_error take_write(void *cookie, const float *samples, size_t n)
{
    taken *t = cookie;
    const size_t floats = n * (size_t)t->channels;
    if (t->n + floats > t->room)
        t->x = realloc(t->x, (t->room = 2 * (t->n + floats)) * sizeof *t->x);
    memcpy(t->x + t->n, samples, floats * sizeof *samples);
    t->n += floats;
    return TSR_OK;
}

static inline void decode_file(tsr_context *ctx, int i, mem_file *in, taken *out)
{
    const tsr_source source = { in, mem_read };
    const tsr_audio_sink sink = { out, take_begin, take_write };

    in->at = 0;
    out->n = 0;
    assert_int_equal(tsr_audio_decode(ctx, model[i], NULL, &source, 0, UINT64_MAX,
                                      &sink), TSR_OK);
}
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Speed of the audio codecs at their published sizes, random weights: make
 * tests/audio_codec_speed && tests/audio_codec_speed [encodec | hificodec
 * [SECONDS [plain]]].  One thread, CPU time, best of some passes, as multiples
 * of real time: nets and quantiser, without entropy coding. */
#include "config.h"
#include <limits.h>
#include <time.h>
#include "tests/audio_model.h"
#include "codecs/audio/flow.h"

enum { PASSES = 5, BOOKS = 4 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const encodec_sizes encodec = {
    .rate = 24000, .channels = 1, .filters = 32, .decoder_filters = 32,
    .ratio = { 8, 5, 4, 2 }, .ratios = 4, .residuals = 1, .lstms = 2,
    .dim = 128, .books = 32, .codewords = 1024, .causal = true, .folded = true,
};
static const hificodec_sizes hificodec = {
    .rate = 16000, .base = 32, .initial = 512, .up = { 8, 5, 4, 2 },
    .taps = { 16, 11, 8, 4 }, .ups = 4, .kernel = { 3, 7, 11 }, .kernels = 3,
    .steps = 3, .pairs = true, .dim = 256, .codewords = 1024,
};

/* Encodes and decodes `n` samples in pieces of `piece`; *seconds: [2]. */
static void pass(const tsri_audio_codec *codec, const void *self,
                 const float *x, size_t n, size_t piece,
                 const tsri_audio_options *options, double seconds[2])
{
    const tsri_audio_shape *shape = codec->shape(self);
    audio_codes codes = { .books = options->books };
    audio_sound sound = { NULL, 0 };
    void *enc, *dec;

    assert_int_equal(codec->enc_open(&enc, self, options), TSR_OK);
    assert_int_equal(codec->dec_open(&dec, self, options), TSR_OK);
    double start = now();
    for (size_t t = 0; t < n; t += piece) {
        const size_t m = n - t < piece ? n - t : piece;
        assert_int_equal(codec->enc_push(enc, x + t, m, t + m == n), TSR_OK);
        audio_take_codes(codec, enc, shape, 100, &codes);
    }
    seconds[0] = now() - start;
    start = now();
    const int frames = (int)(piece / (size_t)shape->hop);
    for (int t = 0; t < codes.frames; t += frames) {
        const int m = tsri_min(codes.frames - t, frames);
        assert_int_equal(codec->dec_push(dec, codes.codes + t * codes.books, m,
                                         codes.books, NULL,
                                         t + m == codes.frames), TSR_OK);
        audio_take_samples(codec, dec, 1, 4096, &sound);
    }
    seconds[1] = now() - start;
    assert_int_equal(sound.n, (size_t)codes.frames * (size_t)shape->hop);
    codec->enc_close(&enc);
    codec->dec_close(&dec);
    free(codes.codes);
    free(sound.x);
}

static void measure(const tsri_audio_codec *codec, const void *self, int seconds,
                    const char *name, size_t piece,
                    const tsri_audio_options *options)
{
    const tsri_audio_shape *shape = codec->shape(self);
    const size_t n = (size_t)(seconds * shape->rate);
    float *x = audio_signal(n, 1, 1);
    double best[2] = { 1e9, 1e9 };

    for (int i = 0; i < PASSES; i++) {
        double took[2];
        pass(codec, self, x, n, piece, options, took);
        for (int k = 0; k < 2; k++)
            best[k] = fmin(best[k], took[k]);
    }
    printf("%-10s %-12s encode %7.1f x  %6.1f GMAC/s   decode %7.1f x  %6.1f "
           "GMAC/s\n", codec->id, name, seconds / best[0],
           shape->macs_encode * seconds / best[0] * 1e-9, seconds / best[1],
           shape->macs_decode * seconds / best[1] * 1e-9);
    free(x);
}

int main(int argc, char **argv)
{
    const bool hifi = argc > 1 && !strcmp(argv[1], "hificodec");
    const tsri_audio_codec *codec = hifi ? &tsri_audio_codec_hificodec
                                         : &tsri_audio_codec_encodec;
    const int seconds = argc > 2 ? atoi(argv[2]) : hifi ? 2 : 10;
    char message[256] = "";
    tsr_context *ctx = audio_context(message, argc > 3 ? 0 : UINT_MAX, 1);
    check_tensors list = hifi ? hificodec_model(&hificodec, 1)
                              : encodec_model(&encodec, 1);
    tsr_model *model = audio_model(ctx, &list, SIZE_MAX, codec->id,
                                   "./audio_codec_speed.safetensors");
    void *self;

    check_tensors_free(&list);
    const double start = now();
    assert_int_equal(codec->open(&self, ctx, model), TSR_OK);
    printf("open %.3f s\n", now() - start);
    const tsri_audio_shape *s = codec->shape(self);
    const tsri_audio_options file = { .books = BOOKS, .lazy = true };
    const tsri_audio_options live = { .books = BOOKS, .zero_start = true };
    const tsri_audio_options window = { .books = BOOKS, .window = 1 };
    measure(codec, self, seconds, "file", (size_t)s->rate, &file);
    if (hifi)
        measure(codec, self, seconds, "window 1 s", (size_t)s->rate, &window);
    else
        measure(codec, self, seconds, "a frame", (size_t)s->hop, &live);
    codec->close(&self);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    return 0;
}

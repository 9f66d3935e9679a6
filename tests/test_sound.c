/* SPDX-License-Identifier: BSD-2-Clause */
/* The shipped audio model against PyTorch (training/audio/vectors.py). */
#include <limits.h>
#include <math.h>
#include <tessera/audio.h>
#include "tests/audio_model.h"
#include "tests/npy.h"

#define VECTORS "tests/vectors/sound/"
enum { BOOKS = 8 };

static char message[256];
static check_npy input, codes;

static tsr_model *open_model(tsr_context *ctx)
{
    tsr_model *model;

    assert_int_equal(tsr_model_open(&model, ctx,
                                    check_path("models/sound.safetensors")),
                     TSR_OK);
    return model;
}

static tsr_audio_encoder *open_encoder(tsr_context *ctx, tsr_model *model,
                                       int books)
{
    tsr_audio_encoder *encoder;
    tsr_audio_settings settings;

    tsr_audio_settings_init(&settings);
    settings.books = books;
    settings.search = 0;    /* PyTorch takes the nearest codeword, book by book */
    assert_int_equal(tsr_audio_encoder_open(&encoder, ctx, model, &settings),
                     TSR_OK);
    return encoder;
}

/* All codes of the sound; the vector has no choice that is close. */
static void check_codes(tsr_context *ctx, tsr_model *model)
{
    const size_t room = codes.count + BOOKS;
    tsr_audio_encoder *encoder = open_encoder(ctx, model, BOOKS);
    uint16_t *got = malloc(room * sizeof *got);
    size_t frames = 0, n;
    tsr_error error;

    assert_int_equal(tsr_audio_encoder_push(encoder, input.data, input.count),
                     TSR_OK);
    assert_int_equal(tsr_audio_encoder_finish(encoder), TSR_OK);
    while ((error = tsr_audio_encoder_pull_codes(encoder, got + frames * BOOKS,
                                                 room / BOOKS - frames, &n)) ==
           TSR_OK) {
        assert_int_not_equal(n, 0);
        frames += n;
    }
    assert_int_equal(error, TSR_E_EOF);
    assert_int_equal(frames, codes.shape[0]);
    assert_memory_equal(got, codes.data, codes.count * sizeof *got);
    free(got);
    tsr_audio_encoder_close(&encoder);
}

/* Samples from the first books of the stored codes. */
static void check_samples(tsr_context *ctx, tsr_model *model, int books)
{
    char name[64];
    snprintf(name, sizeof name, VECTORS "recon_%d.npy", books);
    check_npy want = check_npy_read(name);
    tsr_audio_encoder *encoder = open_encoder(ctx, model, books);
    tsr_audio_decoder *decoder;
    const uint8_t *head;
    size_t bytes, got = 0, n;
    const size_t frames = codes.shape[0];
    uint16_t *some = malloc(frames * (size_t)books * sizeof *some);
    float *y = malloc(want.count * sizeof *y);
    double worst = 0;

    for (size_t i = 0; i < frames * (size_t)books; i++)
        some[i] = ((uint16_t *)codes.data)[i / (size_t)books * BOOKS +
                                           i % (size_t)books];
    tsr_audio_encoder_extradata(encoder, &head, &bytes);
    assert_int_equal(tsr_audio_decoder_open(&decoder, ctx, model, head, bytes, 0),
                     TSR_OK);
    assert_int_equal(tsr_audio_decoder_push_codes(decoder, some, frames), TSR_OK);
    assert_int_equal(tsr_audio_decoder_finish(decoder), TSR_OK);
    while (got < want.count) {
        assert_int_equal(tsr_audio_decoder_pull(decoder, y + got,
                                                want.count - got, &n), TSR_OK);
        assert_int_not_equal(n, 0);
        got += n;
    }
    for (size_t i = 0; i < want.count; i++) {
        const double d = fabs((double)y[i] - (double)((float *)want.data)[i]);
        assert_true(d == d);
        worst = d > worst ? d : worst;
    }
    if (worst > 1e-5)
        fail_msg("%d books: samples differ by %g", books, worst);
    tsr_audio_decoder_close(&decoder);
    tsr_audio_encoder_close(&encoder);
    free(some);
    free(y);
    free(want.data);
}

static void check_variant(unsigned cpu)
{
    tsr_context *ctx = audio_context(message, cpu, 1);
    tsr_model *model = open_model(ctx);

    check_codes(ctx, model);
    for (int books = 2; books <= BOOKS; books *= 2)
        check_samples(ctx, model, books);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

static void test_plain(void **state)
{
    (void)state;
    check_variant(0);
}

static void test_fast(void **state)
{
    (void)state;
    check_variant(UINT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_fast),
    };
    input = check_npy_read(VECTORS "input.npy");
    codes = check_npy_read(VECTORS "codes.npy");
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(input.data);
    free(codes.data);
    return failed;
}

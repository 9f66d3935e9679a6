/* SPDX-License-Identifier: BSD-2-Clause */
/* X-Codec: its decoder against the published one, and what it refuses. */
#include <limits.h>
#include "tests/audio_model.h"
#include "tests/import_tensors.h"
#include "tests/vector.h"
#include "codecs/audio/flow.h"

static const tsri_audio_codec *const codec = &tsri_audio_codec_xcodec;
static const char vector[] = "xcodec", file[] = "./test_xcodec.safetensors";
static char message[256];

enum { BOOKS = 8, HOP = 320 };

/* Samples of the codes' first books, pushed by `step` frames. */
static float *decode(const void *self, const check_npy *all, int books,
                     int step, size_t *n)
{
    const tsri_audio_options options = { .books = books };
    const int frames = (int)all->shape[0];
    uint16_t codes[64 * BOOKS];
    void *dec;
    size_t got = 0;

    assert_true(frames <= 64 && all->shape[1] == BOOKS);
    for (int f = 0; f < frames; f++)
        for (int b = 0; b < books; b++)
            codes[f * books + b] =
                (uint16_t)((int32_t *)all->data)[f * BOOKS + b];
    float *x = malloc((size_t)frames * HOP * sizeof *x);
    assert_non_null(x);
    *n = 0;
    assert_int_equal(codec->dec_open(&dec, self, &options), TSR_OK);
    for (int f = 0; f < frames; f += step) {
        const int now = tsri_min(step, frames - f);
        assert_int_equal(codec->dec_push(dec, codes + f * books, now, books,
                                         NULL, f + now == frames), TSR_OK);
        assert_int_equal(codec->dec_take(dec, x + *n, (size_t)frames * HOP - *n,
                                         &got), TSR_OK);
        *n += got;
    }
    assert_int_equal(*n, (size_t)frames * HOP);
    codec->dec_close(&dec);
    return x;
}

static void check_variant(unsigned cpu)
{
    static const int books[] = { 8, 3 };
    vector_bench b = { .name = vector, .ctx = audio_context(message, cpu, 1) };
    check_tensors list = vector_weights(b.ctx, vector, NULL);
    check_npy codes = vector_array(vector, "codes");
    void *self;

    b.meta = vector_text(vector, "meta.json");
    b.model = import_tensors(b.ctx, &list, NULL, 0, file);
    assert_string_equal(tsr_model_codec(b.model), "xcodec");
    assert_int_equal(codec->open(&self, b.ctx, b.model), TSR_OK);
    const tsri_audio_shape *s = codec->shape(self);
    assert_int_equal(s->rate, 16000);
    assert_int_equal(s->hop, HOP);
    assert_int_equal(s->books, BOOKS);
    for (int i = 0; i < 2; i++) {
        char name[32];
        size_t n;
        snprintf(name, sizeof name, "recon_%d", books[i]);
        float *x = decode(self, &codes, books[i], 64, &n);
        vector_compare(&b, x, n, name);
        for (int step = 1; step < 9; step += 3) {
            float *y = decode(self, &codes, books[i], step, &n);
            assert_memory_equal(x, y, n * sizeof *x);
            free(y);
        }
        free(x);
    }
    assert_int_equal(b.compared, 2);
    codec->close(&self);
    free(codes.data);
    check_tensors_free(&list);
    vector_close(&b);
}

static void test_vector(void **state)
{
    (void)state;
    check_variant(0);
    check_variant(UINT_MAX);
}

/* Sound cannot be encoded, and that is said. */
static void test_no_encoder(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    check_tensors list = vector_weights(ctx, vector, NULL);
    tsr_model *model = import_tensors(ctx, &list, "xcodec", 0, file);
    const tsri_audio_options options = { .books = BOOKS };
    tsr_audio_encoder *encoder;
    void *self, *enc;

    (void)state;
    assert_int_equal(codec->open(&self, ctx, model), TSR_OK);
    assert_int_equal(codec->enc_open(&enc, self, &options),
                     TSR_E_UNSUPPORTED);
    assert_null(enc);
    assert_non_null(strstr(message, "no encoder"));
    codec->close(&self);
    assert_int_equal(tsr_audio_encoder_open(&encoder, ctx, model, NULL),
                     TSR_E_UNSUPPORTED);
    check_tensors_free(&list);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

/* Each tensor is needed, but for the last book: books are counted. */
static void test_missing(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    check_tensors list = vector_weights(ctx, vector, NULL);
    const int form[] = { 16000, 1, HOP, 0, 0, 1, 0, 0 };
    void *self;

    (void)state;
    audio_form(&list, form);
    qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
    for (size_t i = 0; i < list.count; i++) {
        const char *name = list.tensor[i].name;
        tsr_model *model = audio_model(ctx, &list, i, "xcodec", file);
        const tsr_error error = codec->open(&self, ctx, model);
        if (strcmp(name, "quantizer.vq.layers.7._codebook.embed"))
            assert_int_equal(error, TSR_E_SHAPE);
        else
            assert_int_equal(error, TSR_OK);
        codec->close(&self);
        tsr_model_unref(&model);
    }
    check_tensors_free(&list);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector), cmocka_unit_test(test_no_encoder),
        cmocka_unit_test(test_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

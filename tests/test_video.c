/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames through the whole library: what comes out is what a picture's file gives,
 * and packets and extradata may hold anything. */
#include "config.h" /* POSIX before the first header */
#include "tests/hyper_gen.h"
#include "tests/mcquic_model.h"
#include "tests/memory.h"
#include "tests/video_case.h"
#include "codecs/image/video.h"
#include "lib/crc32c.h"

static const char path[] = "test_video.safetensors";
static tsr_context *loud, *quiet;
static tsr_model *model;

/* ---- pictures and packets ---- */

/* Noise, so that what is compared is more than a few values. */
static tsr_image picture(check_rng *rng, int width, int height, int channels,
                         int bits)
{
    tsr_image im = { .width = width, .height = height, .channels = channels,
                     .bits = bits };
    assert_int_equal(tsr_image_alloc(loud, &im), TSR_OK);
    for (size_t i = 0; i < (size_t)height * im.stride; i++)
        ((uint8_t *)im.data)[i] = (uint8_t)check_u32(rng);
    return im;
}

static tsr_video_decoder *decoder_for(tsr_context *ctx, const tsr_video_encoder *e)
{
    const uint8_t *data;
    size_t bytes;
    tsr_video_decoder *d;

    tsr_video_encoder_extradata(e, &data, &bytes);
    assert_in_range(bytes, 60, TSR_VIDEO_EXTRADATA_MAX);
    assert_int_equal(tsr_video_decoder_open(&d, ctx, model, data, bytes), TSR_OK);
    return d;
}

static video_packet encode(tsr_video_encoder *e, const tsr_image *im, double quality)
{
    const uint8_t *data;
    size_t bytes;

    assert_int_equal(tsr_video_encoder_encode(e, im, quality, &data, &bytes),
                     TSR_OK);
    return video_copy(data, bytes);
}


/* The picture as a file's decoder gives it; freed by the caller. */
static tsr_image through_file(tsr_model *m, const tsr_image *im, double quality,
                              int alpha)
{
    tsr_image_settings s;
    mem_file file = { 0 };
    const tsr_sink sink = { &file, mem_write };
    const tsr_source source = { &file, mem_read };
    tsr_image out;

    tsr_image_settings_init(&s);
    s.quality = quality;
    s.lossless_alpha = alpha;
    assert_int_equal(tsr_image_encode(loud, m, &s, im, &sink), TSR_OK);
    assert_int_equal(tsr_image_decode(loud, m, NULL, &source, &out), TSR_OK);
    free(file.data);
    return out;
}

static void same(const tsr_image *a, const tsr_image *b)
{
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->channels, b->channels);
    assert_int_equal(a->bits, b->bits);
    for (int y = 0; y < a->height; y++)
        assert_memory_equal((uint8_t *)a->data + (size_t)y * a->stride,
                            (uint8_t *)b->data + (size_t)y * b->stride,
                            (size_t)a->width * (size_t)a->channels *
                                (size_t)a->bits / 8);
}

/* ---- round trips ---- */

static void one_shape(check_rng *rng, int width, int height, int channels, int bits)
{
    tsr_image im = picture(rng, width, height, channels, bits), out;
    tsr_image want = through_file(model, &im, 50, 1);
    tsr_video_encoder *e = video_encoder_for(loud, model, &im);
    tsr_video_decoder *d = decoder_for(loud, e);
    video_packet p = encode(e, &im, -1);

    assert_int_equal(tsr_video_decoder_decode(d, p.data, p.size, &out), TSR_OK);
    same(&out, &want);
    free(p.data);
    tsr_video_encoder_close(&e);
    assert_null(e);
    tsr_video_decoder_close(&d);
    assert_null(d);
    tsr_image_free(loud, &want);
    tsr_image_free(loud, &im);
}

static void test_shapes(void **state)
{
    static const int sizes[][2] = { { 1, 1 }, { 3, 5 }, { 16, 16 }, { 70, 33 } };
    check_rng rng = { 2 };
    (void)state;
    for (int k = 0; k < 4; k++)
        for (int channels = 1; channels <= 4; channels++)
            for (int bits = 8; bits <= 16; bits += 8)
                one_shape(&rng, sizes[k][0], sizes[k][1], channels, bits);
}

/* Frames of many qualities through the same nets, decoded in another order and
 * twice: none depends on another. */
static void test_frames(void **state)
{
    enum { N = 6 };
    static const double quality[N] = { -1, 0, 100, 50, 7, 93 };
    check_rng rng = { 3 };
    tsr_image im[N], want[N], out;
    video_packet p[N];
    tsr_video_encoder *e = NULL;
    (void)state;
    for (int i = 0; i < N; i++) {
        im[i] = picture(&rng, 40, 31, 3, 8);
        want[i] = through_file(model, &im[i], quality[i] < 0 ? 50 : quality[i], 1);
        e = e ? e : video_encoder_for(loud, model, &im[i]);
        p[i] = encode(e, &im[i], quality[i]);
    }
    assert_true(p[1].size < p[2].size);
    tsr_video_decoder *d = decoder_for(loud, e);
    for (int i = 2 * N - 1; i >= 0; i--) {
        const int k = 5 * i % N;
        assert_int_equal(tsr_video_decoder_decode(d, p[k].data, p[k].size, &out),
                         TSR_OK);
        same(&out, &want[k]);
    }
    for (int i = 0; i < N; i++) {
        tsr_image_free(loud, &im[i]);
        tsr_image_free(loud, &want[i]);
        free(p[i].data);
    }
    tsr_video_encoder_close(&e);
    tsr_video_decoder_close(&d);
}

static void test_describe(void **state)
{
    tsr_image im = { .width = 20, .height = 10, .channels = 4, .bits = 16 };
    tsr_video_settings s = video_settings_for(&im);
    tsr_video_encoder *e;
    tsr_video_info info;
    const uint8_t *data;
    size_t bytes;
    (void)state;
    assert_int_equal(s.info.primaries, 2);
    assert_int_equal(s.info.transfer, 2);
    assert_int_equal(s.info.matrix, 2);
    s.info.rate_num = 30000;
    s.info.rate_den = 1001;
    s.info.sar_num = 16;
    s.info.sar_den = 11;
    s.info.primaries = 9;
    s.info.transfer = 16;
    s.info.matrix = 10;
    s.info.full_range = 1;
    s.lossless_alpha = 0;
    assert_int_equal(tsr_video_encoder_open(&e, loud, model, &s), TSR_OK);
    tsr_video_encoder_extradata(e, &data, &bytes);
    assert_int_equal(tsr_video_describe(loud, data, bytes, &info), TSR_OK);
    assert_string_equal(info.codec, "hyper");
    assert_memory_equal(info.model_hash, tsr_model_hash(model), 32);
    assert_string_equal(info.model_name, tsr_model_name(model));
    assert_int_equal(info.width, 20);
    assert_int_equal(info.height, 10);
    assert_int_equal(info.channels, 3);
    assert_int_equal(info.bits, 16);
    assert_int_equal(info.rate_num, 30000);
    assert_int_equal(info.rate_den, 1001);
    assert_int_equal(info.sar_num, 16);
    assert_int_equal(info.sar_den, 11);
    assert_int_equal(info.primaries, 9);
    assert_int_equal(info.transfer, 16);
    assert_int_equal(info.matrix, 10);
    assert_int_equal(info.full_range, 1);
    tsr_video_encoder_close(&e);
}

static void test_no_alpha(void **state)
{
    check_rng rng = { 5 };
    (void)state;
    for (int channels = 2; channels <= 4; channels += 2) {
        tsr_image im = picture(&rng, 21, 17, channels, 8), out;
        tsr_image want = through_file(model, &im, 50, 0);
        tsr_video_settings s = video_settings_for(&im);
        tsr_video_encoder *e;
        s.lossless_alpha = 0;
        assert_int_equal(tsr_video_encoder_open(&e, loud, model, &s), TSR_OK);
        tsr_video_decoder *d = decoder_for(loud, e);
        video_packet p = encode(e, &im, -1);
        assert_int_equal(tsr_video_decoder_info(d)->channels, channels - 1);
        assert_int_equal(tsr_video_decoder_decode(d, p.data, p.size, &out), TSR_OK);
        same(&out, &want);
        free(p.data);
        tsr_video_encoder_close(&e);
        tsr_video_decoder_close(&d);
        tsr_image_free(loud, &want);
        tsr_image_free(loud, &im);
    }
}

/* The codec of three layers and no parameters; layers that are cut off. */
static void test_mcquic(void **state)
{
    static const mcquic_sizes sizes = { 4, 2, 3, { 20, 7, 3 } };
    static const char file[] = "test_video_mcquic.safetensors";
    check_tensors list = mcquic_model(&sizes, 7);
    check_rng rng = { 9 };
    tsr_image im = picture(&rng, 50, 41, 3, 8), out;
    const tsr_video_settings s = video_settings_for(&im);
    tsr_model *m;
    const uint8_t *data;
    size_t bytes;
    tsr_video_encoder *e;
    tsr_video_decoder *d;
    (void)state;
    check_tensors_write(&list, SIZE_MAX, "\"tessera.codec\":\"mcquic\"", file);
    check_tensors_free(&list);
    assert_int_equal(tsr_model_open(&m, loud, file), TSR_OK);
    remove(file);
    tsr_image want = through_file(m, &im, 50, 1);
    assert_int_equal(tsr_video_encoder_open(&e, loud, m, &s), TSR_OK);
    tsr_video_encoder_extradata(e, &data, &bytes);
    assert_int_equal(tsr_video_decoder_open(&d, loud, m, data, bytes), TSR_OK);
    video_packet p = encode(e, &im, -1);
    assert_int_equal(p.data[0], 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tsr_video_decoder_decode(d, p.data, p.size, &out), TSR_OK);
        same(&out, &want);
    }
    /* One unit: lengths of a byte each, no bands.  The last layer goes. */
    const size_t last = p.data[3];
    assert_true(p.data[1] < 128 && p.data[2] < 128 && last < 128 && last > 0);
    assert_int_equal(p.data[4], 0);
    p.data[3] = 0;
    p.size -= last;
    tsri_put32(p.data + p.size - 4, tsri_crc32c(0, p.data, p.size - 4));
    assert_int_equal(tsr_video_decoder_decode(d, p.data, p.size, &out), TSR_OK);
    assert_int_equal(out.width, 50);
    free(p.data);
    tsr_video_encoder_close(&e);
    tsr_video_decoder_close(&d);
    tsr_image_free(loud, &want);
    tsr_image_free(loud, &im);
    tsr_model_unref(&m);
}

/* The model that people have. */
static void test_photo(void **state)
{
    tsr_image im = { .width = 50, .height = 35, .channels = 3, .bits = 8 }, out;
    tsr_model *photo;
    const uint8_t *data;
    size_t bytes;
    tsr_video_encoder *e;
    tsr_video_decoder *d;
    (void)state;
    assert_int_equal(tsr_model_open(&photo, loud,
                                    check_path("models/photo.safetensors")), TSR_OK);
    assert_int_equal(tsr_image_alloc(loud, &im), TSR_OK);
    for (int y = 0; y < im.height; y++)
        for (int x = 0; x < 3 * im.width; x++)
            ((uint8_t *)im.data)[(size_t)y * im.stride + (size_t)x] =
                (uint8_t)(x + 3 * y + (x % 3) * 40);
    tsr_image want = through_file(photo, &im, 70, 1);
    const tsr_video_settings s = video_settings_for(&im);
    assert_int_equal(tsr_video_encoder_open(&e, loud, photo, &s), TSR_OK);
    tsr_video_encoder_extradata(e, &data, &bytes);
    assert_int_equal(tsr_video_decoder_open(&d, loud, photo, data, bytes), TSR_OK);
    for (int i = 0; i < 2; i++) {
        video_packet p = encode(e, &im, 70);
        assert_int_equal(tsr_video_decoder_decode(d, p.data, p.size, &out), TSR_OK);
        same(&out, &want);
        free(p.data);
    }
    tsr_video_encoder_close(&e);
    tsr_video_decoder_close(&d);
    tsr_image_free(loud, &want);
    tsr_image_free(loud, &im);
    tsr_model_unref(&photo);
}

static int set_up(void **state)
{
    (void)state;
    unsetenv("TESSERA_MODELS");
    hyper_gen(path, 41);
    loud = check_context("auto", 1);
    return tsr_context_open(&quiet, NULL) || tsr_model_open(&model, loud, path);
}

static int tear_down(void **state)
{
    (void)state;
    tsr_model_unref(&model);
    tsr_context_close(&loud);
    tsr_context_close(&quiet);
    return remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes), cmocka_unit_test(test_frames),
        cmocka_unit_test(test_describe), cmocka_unit_test(test_no_alpha),
        cmocka_unit_test(test_mcquic), cmocka_unit_test(test_photo),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

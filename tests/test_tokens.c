/* SPDX-License-Identifier: BSD-2-Clause */
/* Pictures, tokens and streams of the token codecs: every way from one to the
 * other gives the same. */
#include "tests/token_case.h"
#include <tessera/video.h>

static const int sizes[][2] = { { 1, 1 }, { 3, 5 }, { 8, 8 }, { 9, 17 },
                                { 61, 47 }, { 130, 70 } };
enum { SIZES = sizeof sizes / sizeof *sizes };

/* A model's own numbers. */
static void check_describe(tsr_context *ctx, tsr_model *model,
                           const token_sizes *s)
{
    tsr_tokens_model info;

    assert_int_equal(tsr_tokens_describe(ctx, model, &info), TSR_OK);
    assert_int_equal(info.factor, s->patch << (s->resolutions - 1));
    assert_int_equal(info.levels, s->levels);
    assert_int_equal(info.context, s->context);
    assert_int_equal(info.filling, 0);
    for (int i = 0; i < TSR_TOKENS_LEVELS; i++)
        assert_int_equal(info.codes[i], i < s->levels ? i ? s->clusters[i]
                                                          : s->codes : 0);
    assert_int_equal(tsr_tokens_level(&info, 0), s->levels - 1);
    assert_int_equal(tsr_tokens_level(&info, 100), 0);
    for (int q = 0; q < 100; q++)
        assert_int_equal(tsr_tokens_level(&info, q),
                         s->levels - 1 - (q ? (q * s->levels - 1) / 100 : 0));
}

static void test_describe(void **state)
{
    token_sizes plain = TOKEN_SIZES, full = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    (void)state;
    plain.levels = 1;
    plain.context = 0;
    for (int simvq = 0; simvq < 2; simvq++) {
        tsr_model *a = token_open(ctx, &plain, simvq);
        check_describe(ctx, a, &plain);
        tsr_model_unref(&a);
        a = token_open(ctx, &full, simvq);
        check_describe(ctx, a, &full);
        tsr_model_unref(&a);
    }
    tsr_context_close(&ctx);
}

/* From image to tokens to stream to tokens to image, against the direct way. */
static void round_trip(tsr_context *ctx, tsr_model *model,
                       const tsr_image *image, double quality, int interleave)
{
    const tsr_image_settings s = token_settings(quality, interleave, 0);
    tsr_image out = { .width = image->width, .height = image->height };
    mem_file direct = token_encode(ctx, model, &s, image), file = { 0 };
    tsr_image want = token_decode(ctx, model, &direct, TSR_OK);
    const tsr_sink sink = token_sink(&file);
    tsr_tokens first, second;
    int width, height;

    assert_int_equal(tsr_tokens_from_image(ctx, model, &s, image, &first),
                     TSR_OK);
    assert_int_equal(first.height, (image->height + 7) / 8);
    assert_int_equal(first.width, (image->width + 7) / 8);
    assert_int_equal(first.factor, 8);
    assert_int_equal(tsr_tokens_write(ctx, model, &s, &first, image->width,
                                      image->height, &sink), TSR_OK);
    token_same_file(&file, &direct);
    const tsr_source source = token_source(&file);
    assert_int_equal(tsr_tokens_read(ctx, model, &source, &second, &width,
                                     &height), TSR_OK);
    assert_true(width == image->width && height == image->height);
    assert_true(second.level == first.level && second.codes == first.codes &&
                second.factor == first.factor);
    assert_memory_equal(first.id, second.id, (size_t)first.height *
                        (size_t)first.width * sizeof *first.id);
    assert_int_equal(tsr_tokens_to_image(ctx, model, NULL, &second, &out),
                     TSR_OK);
    token_same(&out, &want);
    tsr_image_free(ctx, &out);
    tsr_image_free(ctx, &want);
    tsr_tokens_free(ctx, &first);
    tsr_tokens_free(ctx, &second);
    assert_null(second.id);
    free(direct.data);
    free(file.data);
}

static void check_round_trips(int simvq)
{
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 2, 0);
    tsr_model *model = token_open(ctx, &s, simvq);

    for (int i = 0; i < SIZES; i++) {
        tsr_image image = token_picture(sizes[i][0], sizes[i][1], 3, 8);
        for (int q = 0; q <= 100; q += 50)
            round_trip(ctx, model, &image, q, 1 << (i + q / 50) % 4);
        free(image.data);
    }
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

static void test_vqgan_round_trips(void **state)
{
    (void)state;
    check_round_trips(0);
}

static void test_simvq_round_trips(void **state)
{
    (void)state;
    check_round_trips(1);
}

/* A lower level from the stream of a higher one is the same stream, byte for
 * byte, as from the picture. */
static void test_transcode(void **state)
{
    static const int interleave[] = { 1, 2, 8 };
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    tsr_model *model = token_open(ctx, &s, 0);
    tsr_image image = token_picture(100, 75, 4, 8);
    const tsr_image_settings best = token_settings(100, 4, 0);
    mem_file fine = token_encode(ctx, model, &best, &image);
    size_t last = SIZE_MAX;
    (void)state;
    for (int q = 90; q >= 10; q -= 20) {
        for (int i = 0; i < 3; i++) {
            const tsr_image_settings set = token_settings(q, interleave[i], 0);
            mem_file want = token_encode(ctx, model, &set, &image), got = { 0 };
            const tsr_source source = token_source(&fine);
            const tsr_sink sink = token_sink(&got);
            assert_int_equal(tsr_image_transcode(ctx, model, &set, &source,
                                                 &sink), TSR_OK);
            token_same_file(&got, &want);
            if (!i) {
                assert_true(got.size < last);
                last = got.size;
            }
            free(want.data);
            free(got.data);
        }
    }
    free(fine.data);
    free(image.data);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

/* The level stays where no quality is asked for; alpha may go; then a small
 * picture is compact. */
static void test_transcode_form(void **state)
{
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    tsr_model *model = token_open(ctx, &s, 0);
    tsr_image image = token_picture(40, 33, 4, 8);
    tsr_image_settings set = token_settings(50, 2, 0);
    mem_file file = token_encode(ctx, model, &set, &image);
    mem_file same = { 0 }, compact = { 0 }, finer = { 0 };
    tsr_image_info info;
    (void)state;
    tsr_source source = token_source(&file);
    tsr_sink sink = token_sink(&same);
    assert_int_equal(tsr_image_transcode(ctx, model, NULL, &source, &sink), 0);
    source = token_source(&same);
    assert_int_equal(tsr_image_probe(ctx, &source, &info), TSR_OK);
    assert_int_equal(info.token_level, 2);
    assert_int_equal(info.token_interleave, 1);
    assert_int_equal(info.channels, 4);
    assert_int_equal(info.compact, 0);
    assert_true(info.quality < 0);
    tsr_image a = token_decode(ctx, model, &file, TSR_OK);
    tsr_image b = token_decode(ctx, model, &same, TSR_OK);
    token_same(&a, &b);
    for (int i = 0; i < 40 * 33; i++) /* alpha exactly as it was */
        assert_int_equal(((uint8_t *)a.data)[4 * i + 3],
                         ((uint8_t *)image.data)[i / 40 * (int)image.stride +
                                                 i % 40 * 4 + 3]);
    tsr_image_free(ctx, &a);
    tsr_image_free(ctx, &b);

    set.quality = -1;
    set.interleave = 1;
    set.lossless_alpha = 0;
    source = token_source(&file);
    sink = token_sink(&compact);
    assert_int_equal(tsr_image_transcode(ctx, model, &set, &source, &sink), 0);
    source = token_source(&compact);
    assert_int_equal(tsr_image_probe(ctx, &source, &info), TSR_OK);
    assert_int_equal(info.compact, 1);
    assert_int_equal(info.channels, 3);

    set.quality = 70;
    source = token_source(&file);
    sink = token_sink(&finer);
    assert_int_equal(tsr_image_transcode(ctx, model, &set, &source, &sink),
                     TSR_E_ARG);
    assert_int_equal(finer.size, 0);
    free(file.data);
    free(same.data);
    free(compact.data);
    free(image.data);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

/* Any geometry of samples comes back as it was. */
static void test_samples(void **state)
{
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    tsr_model *model = token_open(ctx, &s, 0);
    (void)state;
    for (int channels = 1; channels <= 4; channels++)
        for (int bits = 8; bits <= 16; bits += 8) {
            tsr_image image = token_picture(19, 21, channels, bits);
            mem_file file = token_encode(ctx, model, NULL, &image);
            tsr_image out = token_decode(ctx, model, &file, TSR_OK);
            assert_true(out.width == 19 && out.height == 21 &&
                        out.channels == channels && out.bits == bits);
            tsr_image_free(ctx, &out);
            free(file.data);
            free(image.data);
        }
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

/* 256 tokens cost at most what fixed-length codes do, and 16 bytes. */
static void test_small_stream(void **state)
{
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    tsr_image image = token_picture(128, 128, 3, 8);
    const tsr_image_settings best = token_settings(100, 1, 0);
    (void)state;
    s.levels = 1;
    s.context = 0;
    tsr_model *model = token_open(ctx, &s, 0);
    mem_file file = token_encode(ctx, model, &best, &image);
    assert_true((double)file.size <= 256 * log2(s.codes) / 8 + 16);
    free(file.data);
    free(image.data);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

/* Where there is a context it is taken when it makes the stream shorter: the
 * stream is never longer than without. */
static void test_context(void **state)
{
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    tsr_image image = token_picture(200, 160, 3, 8);
    check_tensors list = token_model(&s, 0, 5);
    const tsr_image_settings set = token_settings(0, 1, 0);
    size_t bytes[2];
    int used[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        /* Unfitted weights are of no use; the second time all are equal. */
        check_tensor *w = check_tensors_find(&list, "tessera.context.weight");
        if (i) {
            check_tensor *b = check_tensors_find(&list, "tessera.context.bias");
            memset(w->data, 0, w->bytes);
            memset(b->data, 0, b->bytes);
        }
        tsr_model *model = token_open_list(ctx, &list, SIZE_MAX, TOKEN_META);
        mem_file file = token_encode(ctx, model, &set, &image);
        tsr_image_info info;
        const tsr_source source = token_source(&file);
        assert_int_equal(tsr_image_probe(ctx, &source, &info), TSR_OK);
        bytes[i] = (size_t)info.token_bytes;
        used[i] = info.token_context;
        tsr_image out = token_decode(ctx, model, &file, TSR_OK);
        tsr_image_free(ctx, &out);
        free(file.data);
        tsr_model_unref(&model);
    }
    assert_int_equal(used[0], 0);
    assert_true(bytes[1] <= bytes[0]);
    assert_true(used[1] == (bytes[1] < bytes[0]));
    check_tensors_free(&list);
    free(image.data);
    tsr_context_close(&ctx);
}

/* Tokens and pixels do not depend on memory, threads or tiles. */
static void check_tiles(const char *backend)
{
    static const uint64_t memory[] = { 0, 150000, 2000000 };
    token_sizes s = TOKEN_SIZES;
    tsr_image image = token_picture(150, 131, 3, 8), whole = { 0 };
    const tsr_image_settings best = token_settings(100, 1, 0);
    mem_file first = { 0 };

    for (int i = 0; i < 3; i++) {
        tsr_context *ctx = case_context(backend, i == 1 ? 2 : 1, memory[i]);
        if (!ctx) {
            free(image.data);
            skip();
        }
        tsr_model *model = token_open(ctx, &s, 0);
        mem_file file = token_encode(ctx, model, &best, &image);
        tsr_image out = token_decode(ctx, model, &file, TSR_OK);
        if (i == 0) {
            first = file;
            whole = out;
            whole.data = malloc(out.stride * (size_t)out.height);
            assert_non_null(whole.data);
            memcpy(whole.data, out.data, out.stride * (size_t)out.height);
        } else {
            token_same_file(&file, &first);
            token_same(&out, &whole);
            free(file.data);
        }
        tsr_image_free(ctx, &out);
        tsr_model_unref(&model);
        tsr_context_close(&ctx);
    }
    free(first.data);
    free(whole.data);
    free(image.data);
}

static void test_tiles_plain(void **state)
{
    (void)state;
    check_tiles("c");
}

static void test_tiles_onednn(void **state)
{
    (void)state;
    check_tiles("onednn");
}

/* Tokens that are lost (-1) are filled in; the others' pixels far away do not
 * matter for that: the picture of whole tokens differs from it. */
static void test_lost_tokens(void **state)
{
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    tsr_model *model = token_open(ctx, &s, 0);
    tsr_image image = token_picture(64, 64, 3, 8), whole = { 0 }, holes = { 0 };
    tsr_tokens tokens;
    (void)state;
    assert_int_equal(tsr_tokens_from_image(ctx, model, NULL, &image, &tokens),
                     TSR_OK);
    assert_int_equal(tsr_tokens_to_image(ctx, model, NULL, &tokens, &whole), 0);
    assert_true(whole.width == 64 && whole.height == 64 &&
                whole.channels == 3 && whole.bits == 8);
    for (int i = 0; i < 64; i += 3)
        tokens.id[i] = -1;
    assert_int_equal(tsr_tokens_to_image(ctx, model, NULL, &tokens, &holes), 0);
    assert_memory_not_equal(whole.data, holes.data, whole.stride * 64);
    tsr_image_free(ctx, &whole);
    tsr_image_free(ctx, &holes);
    tsr_tokens_free(ctx, &tokens);
    free(image.data);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

/* A part of the grid's pixels, other samples. */
static void test_crop(void **state)
{
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    tsr_model *model = token_open(ctx, &s, 0);
    tsr_image image = token_picture(40, 24, 3, 8), whole = { 0 };
    tsr_image part = { .width = 13, .height = 10 };
    tsr_image grey = { .channels = 2, .bits = 16 };
    tsr_image large = { .width = 41 };
    tsr_tokens tokens;
    (void)state;
    assert_int_equal(tsr_tokens_from_image(ctx, model, NULL, &image, &tokens),
                     TSR_OK);
    assert_int_equal(tsr_tokens_to_image(ctx, model, NULL, &tokens, &whole), 0);
    assert_int_equal(tsr_tokens_to_image(ctx, model, NULL, &tokens, &part), 0);
    for (size_t y = 0; y < 10; y++)
        assert_memory_equal((uint8_t *)part.data + y * part.stride,
                            (uint8_t *)whole.data + y * whole.stride, 13 * 3);
    assert_int_equal(tsr_tokens_to_image(ctx, model, NULL, &tokens, &grey), 0);
    assert_true(grey.width == 40 && grey.height == 24);
    assert_int_equal(((uint16_t *)grey.data)[1], 65535);
    assert_int_equal(tsr_tokens_to_image(ctx, model, NULL, &tokens, &large),
                     TSR_E_ARG);
    assert_null(large.data);
    tsr_image_free(ctx, &whole);
    tsr_image_free(ctx, &part);
    tsr_image_free(ctx, &grey);
    tsr_tokens_free(ctx, &tokens);
    free(image.data);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

/* A frame of video is the picture of the same settings. */
static void test_video(void **state)
{
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    tsr_model *model = token_open(ctx, &s, 0);
    const tsr_image_settings set = token_settings(70, 1, 0);
    tsr_video_settings video;
    tsr_video_encoder *encoder;
    tsr_video_decoder *decoder;
    const uint8_t *extra, *packet;
    size_t extra_bytes, bytes;
    (void)state;
    tsr_video_settings_init(&video);
    video.info.width = 70;
    video.info.height = 50;
    video.info.channels = 3;
    video.info.bits = 8;
    assert_int_equal(tsr_video_encoder_open(&encoder, ctx, model, &video), 0);
    tsr_video_encoder_extradata(encoder, &extra, &extra_bytes);
    assert_int_equal(tsr_video_decoder_open(&decoder, ctx, model, extra,
                                            extra_bytes), TSR_OK);
    for (int i = 0; i < 3; i++) {
        tsr_image image = token_picture(70, 50, 3, 8), got;
        memset(image.data, 80 * i, image.stride * 20);
        mem_file file = token_encode(ctx, model, &set, &image);
        tsr_image want = token_decode(ctx, model, &file, TSR_OK);
        assert_int_equal(tsr_video_encoder_encode(encoder, &image, 70, &packet,
                                                  &bytes), TSR_OK);
        assert_int_equal(tsr_video_decoder_decode(decoder, packet, bytes, &got),
                         TSR_OK);
        token_same(&got, &want);
        tsr_image_free(ctx, &want);
        free(file.data);
        free(image.data);
    }
    tsr_video_decoder_close(&decoder);
    tsr_video_encoder_close(&encoder);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_vqgan_round_trips),
        cmocka_unit_test(test_simvq_round_trips),
        cmocka_unit_test(test_transcode),
        cmocka_unit_test(test_transcode_form),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_small_stream),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_tiles_plain),
        cmocka_unit_test(test_tiles_onednn),
        cmocka_unit_test(test_lost_tokens),
        cmocka_unit_test(test_crop),
        cmocka_unit_test(test_video),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"
/* Pictures through the whole library, with a tiny random model: the pixels mean
 * nothing, the bytes and the behaviour do. */
#include "tests/hyper_gen.h"
#include "tests/model_folder.h"
#include <tessera/image.h>
#include <tessera/model.h>
#include <tessera/stream.h>
#include "codecs/image/image.h"

static const char path[] = "test_image.safetensors";
static tsr_context *loud, *quiet;
static tsr_model *model;

typedef struct bytes {
    uint8_t *data;
    size_t size, room, at, step; /* step: most a read gives; 0: what is asked */
} bytes;

static tsr_error take(void *cookie, const void *data, size_t size)
{
    bytes *b = cookie;
    if (b->size + size > b->room) {
        b->room = 2 * (b->size + size);
        b->data = realloc(b->data, b->room);
    }
    memcpy(b->data + b->size, data, size);
    b->size += size;
    return TSR_OK;
}

static tsr_error give(void *cookie, void *data, size_t size, size_t *got)
{
    bytes *b = cookie;
    if (b->step && size > b->step)
        size = b->step;
    *got = b->size - b->at < size ? b->size - b->at : size;
    memcpy(data, b->data + b->at, *got);
    b->at += *got;
    return TSR_OK;
}

static tsr_image picture(check_rng *rng, int width, int height, int channels, int bits)
{
    tsr_image im = { .width = width, .height = height, .channels = channels,
                     .bits = bits };
    assert_int_equal(tsr_image_alloc(loud, &im), TSR_OK);
    for (size_t i = 0; i < (size_t)height * im.stride; i++)
        ((uint8_t *)im.data)[i] = (uint8_t)check_u32(rng);
    return im;
}

static bytes encode(tsr_context *ctx, const tsr_image *im, int container)
{
    tsr_image_settings s;
    bytes b = { 0 };
    const tsr_sink sink = { &b, take };
    tsr_image_settings_init(&s);
    s.container = container;
    assert_int_equal(tsr_image_encode(ctx, model, &s, im, &sink), TSR_OK);
    return b;
}

static tsr_error decode(tsr_context *ctx, bytes *b, tsr_image *out)
{
    const tsr_source source = { b, give };
    b->at = 0;
    return tsr_image_decode(ctx, model, NULL, &source, out);
}

static void same_alpha(const tsr_image *a, const tsr_image *b)
{
    const size_t step = (size_t)a->bits / 8, pixel = (size_t)a->channels * step;
    for (int y = 0; y < a->height; y++)
        for (int x = 0; x < a->width; x++) {
            const size_t at = (size_t)y * a->stride + ((size_t)x + 1) * pixel - step;
            assert_memory_equal((uint8_t *)a->data + at, (uint8_t *)b->data + at, step);
        }
}

static void test_shapes(void **state)
{
    static const int sizes[][2] = { { 1, 1 }, { 3, 5 }, { 16, 16 }, { 70, 33 } };
    check_rng rng = { 2 };
    (void)state;
    for (int k = 0; k < 4; k++)
        for (int channels = 1; channels <= 4; channels++)
            for (int bits = 8; bits <= 16; bits += 8)
                for (int container = 0; container < 2; container++) {
                    tsr_image im = picture(&rng, sizes[k][0], sizes[k][1], channels,
                                           bits), out;
                    bytes b = encode(loud, &im, container);
                    assert_int_equal(decode(loud, &b, &out), TSR_OK);
                    assert_int_equal(out.width, im.width);
                    assert_int_equal(out.height, im.height);
                    assert_int_equal(out.channels, channels);
                    assert_int_equal(out.bits, bits);
                    if (channels % 2 == 0)
                        same_alpha(&im, &out);
                    tsr_image_free(loud, &out);
                    tsr_image_free(loud, &im);
                    free(b.data);
                }
}

/* The compact head of a 256x256 picture, and the entropy coder's own bytes. */
static void test_compact(void **state)
{
    check_rng rng = { 3 };
    tsr_image im = picture(&rng, 256, 256, 3, 8);
    tsr_image_info info;
    bytes b = encode(loud, &im, 0);
    const tsr_source source = { &b, give };
    (void)state;
    assert_int_equal(tsr_image_probe(loud, &source, &info), TSR_OK);
    assert_int_equal(info.compact, 1);
    assert_int_equal(info.header_bytes, 2 + 1 + 4 + 2 + 2 + 1);
    assert_int_equal(info.file_bytes, b.size);
    assert_int_equal(info.token_bytes + info.header_bytes, b.size);
    assert_string_equal(info.codec, "hyper");
    assert_string_equal(info.layer_name[0], "tokens");
    assert_int_equal(info.damaged, 0);
    assert_true(fabs(info.quality - 50) < 1);
    tsr_image_free(loud, &im);
    free(b.data);
}

/* Threads, tiles and backends: the same bytes; plain and fast pixels alike. */
static void test_same(void **state)
{
    check_rng rng = { 4 };
    tsr_image im = picture(&rng, 150, 90, 3, 8), one, two;
    bytes a = encode(loud, &im, 0);
    tsr_context_settings s;
    tsr_context *small;
    (void)state;
    tsr_context_settings_init(&s);
    s.backend = tsr_context_backend(loud);
    s.threads = 3;
    s.max_memory = 1;
    assert_int_equal(tsr_context_open(&small, &s), TSR_OK);
    bytes b = encode(small, &im, 0);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    assert_int_equal(decode(loud, &a, &one), TSR_OK);
    assert_int_equal(decode(small, &a, &two), TSR_OK);
    assert_memory_equal(one.data, two.data, (size_t)one.height * one.stride);
    tsr_image_free(small, &two);
    tsr_context_close(&small);

    tsr_context *plain = check_context("c", 2);
    assert_int_equal(decode(plain, &a, &two), TSR_OK);
    for (size_t i = 0; i < (size_t)one.height * one.stride; i++)
        assert_in_range(((uint8_t *)one.data)[i] - ((uint8_t *)two.data)[i] + 1, 0, 2);
    tsr_image_free(plain, &two);
    tsr_context_close(&plain);
    tsr_image_free(loud, &one);
    tsr_image_free(loud, &im);
    free(a.data);
    free(b.data);
}

/* Every truncation is an error; a flipped bit is one too, or did not matter
 * (padding, index): then the picture is the same. */
static void damage(int channels, int container)
{
    check_rng rng = { 9 };
    tsr_image im = picture(&rng, 20, 18, channels, 8), good, out;
    bytes b = encode(loud, &im, container), cut;

    assert_int_equal(decode(loud, &b, &good), TSR_OK);
    for (cut = b, cut.size = 0; cut.size < b.size; cut.size++) {
        assert_true(decode(quiet, &cut, &out) != TSR_OK);
        tsr_image_free(quiet, &out);
    }
    for (size_t bit = 0; bit < 8 * b.size; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (!decode(quiet, &b, &out)) {
            assert_true(container && out.width == 20 && out.height == 18);
            assert_memory_equal(out.data, good.data, (size_t)out.height * out.stride);
        }
        tsr_image_free(quiet, &out);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    tsr_image_free(loud, &good);
    tsr_image_free(loud, &im);
    free(b.data);
}

static void test_damage(void **state)
{
    (void)state;
    damage(3, 0);
    damage(3, 1);
    damage(4, 1);
}

/* Two units; when the file is cut in the second, the first is still there. */
static void test_salvage(void **state)
{
    check_rng rng = { 10 };
    tsr_image im = picture(&rng, 2600, 40, 3, 8), whole, part;
    bytes b = encode(loud, &im, 0);
    (void)state;
    assert_int_equal(decode(loud, &b, &whole), TSR_OK);
    b.size -= 300;
    assert_true(decode(quiet, &b, &part) != TSR_OK);
    assert_non_null(part.data);
    assert_int_equal(part.width, 2600);
    for (int y = 0; y < 40; y++) /* far from the lost unit nothing has changed */
        assert_memory_equal((uint8_t *)whole.data + (size_t)y * whole.stride,
                            (uint8_t *)part.data + (size_t)y * part.stride, 3 * 1800);
    tsr_image_free(loud, &whole);
    tsr_image_free(quiet, &part);
    tsr_image_free(loud, &im);
    free(b.data);
}

/* The stream with DATA chunk i `times[i]` times, `extra` bytes after the payload
 * of each ALPH chunk. */
static bytes rewrite(bytes from, const int *times, size_t extra)
{
    bytes to = { 0 };
    const tsr_source source = { &from, give };
    const tsr_sink sink = { &to, take };
    uint8_t payload[4096] = { 0 };
    tsr_stream_reader *r;
    tsr_stream_writer *w;
    tsr_chunk c;

    from.at = 0;
    assert_int_equal(tsr_stream_reader_open(&r, loud, &source), TSR_OK);
    assert_int_equal(tsr_stream_writer_open(&w, loud, &sink, TSR_KIND_IMAGE), TSR_OK);
    while (!tsr_stream_reader_next(r, &c)) {
        const int data = c.type == TSR_FOURCC('D', 'A', 'T', 'A');
        const int alpha = c.type == TSR_FOURCC('A', 'L', 'P', 'H');
        if (c.type == TSR_FOURCC('I', 'N', 'D', 'X'))
            continue;
        if (alpha)
            memcpy(payload, c.data, c.bytes);
        for (int n = data ? *times++ : 1; n > 0; n--)
            assert_int_equal(tsr_stream_writer_chunk(
                w, c.type, 0, 0, alpha ? payload : c.data,
                c.bytes + (alpha ? extra : 0)), TSR_OK);
    }
    assert_int_equal(tsr_stream_writer_finish(w), TSR_OK);
    tsr_stream_writer_close(&w);
    tsr_stream_reader_close(&r);
    return to;
}

/* A unit that is there twice does no harm, and does not stand for another. */
static void test_twice(void **state)
{
    check_rng rng = { 15 };
    tsr_image im = picture(&rng, 2100, 20, 3, 8), good, out;
    bytes b = encode(loud, &im, 0), b2 = rewrite(b, (int[]){ 2, 1 }, 0),
          lost = rewrite(b, (int[]){ 2, 0 }, 0);
    (void)state;
    assert_int_equal(decode(loud, &b, &good), TSR_OK);
    assert_int_equal(decode(loud, &b2, &out), TSR_OK);
    assert_memory_equal(out.data, good.data, (size_t)out.height * out.stride);
    tsr_image_free(loud, &out);
    assert_int_equal(decode(quiet, &lost, &out), TSR_E_CORRUPT);
    assert_non_null(out.data);
    tsr_image_free(quiet, &out);
    tsr_image_free(loud, &good);
    tsr_image_free(loud, &im);
    free(b.data);
    free(b2.data);
    free(lost.data);
}

/* An alpha chunk is exactly a band. */
static void test_alpha_rest(void **state)
{
    check_rng rng = { 16 };
    tsr_image im = picture(&rng, 20, 20, 4, 8), out;
    bytes b = encode(loud, &im, 0), same = rewrite(b, (int[]){ 1 }, 0),
          more = rewrite(b, (int[]){ 1 }, 1);
    (void)state;
    assert_int_equal(decode(loud, &same, &out), TSR_OK);
    tsr_image_free(loud, &out);
    assert_int_equal(decode(quiet, &more, &out), TSR_E_CORRUPT);
    tsr_image_free(quiet, &out);
    tsr_image_free(loud, &im);
    free(b.data);
    free(same.data);
    free(more.data);
}

/* A source that gives one byte at a time. */
static void test_short_reads(void **state)
{
    check_rng rng = { 14 };
    tsr_image im = picture(&rng, 30, 30, 3, 8), out;
    (void)state;
    for (int container = 0; container < 2; container++) {
        bytes b = encode(loud, &im, container);
        b.step = 1;
        assert_int_equal(decode(loud, &b, &out), TSR_OK);
        tsr_image_free(loud, &out);
        free(b.data);
    }
    tsr_image_free(loud, &im);
}

static void test_wrong_model(void **state)
{
    static const char other[] = "test_image_other.safetensors";
    static const char folder[] = "test_image_models";
    check_rng rng = { 11 };
    tsr_image im = picture(&rng, 20, 20, 3, 8), out;
    bytes b = encode(loud, &im, 0);
    const tsr_source source = { &b, give };
    tsr_model *m;
    (void)state;
    hyper_gen(other, 22);
    assert_int_equal(tsr_model_open(&m, loud, other), TSR_OK);
    assert_int_equal(tsr_image_decode(quiet, m, NULL, &source, &out), TSR_E_MODEL);
    assert_null(out.data);
    b.at = 0;
    assert_int_equal(tsr_image_decode(quiet, NULL, NULL, &source, &out), TSR_E_MODEL);
    model_folder_open(folder, path);
    b.at = 0;
    assert_int_equal(tsr_image_decode(quiet, NULL, NULL, &source, &out), TSR_OK);
    model_folder_close(folder);
    tsr_image_free(quiet, &out);
    tsr_model_unref(&m);
    remove(other);
    tsr_image_free(loud, &im);
    free(b.data);
}

static void test_limits(void **state)
{
    check_rng rng = { 12 };
    tsr_image im = picture(&rng, 20, 20, 3, 8), out;
    bytes b = encode(loud, &im, 0);
    const tsr_source source = { &b, give };
    tsr_context_settings s;
    tsr_context *small;
    tsr_image bad = { .width = 5, .height = 0, .channels = 3, .bits = 8 };
    bytes none = { 0 };
    const tsr_sink sink = { &none, take };
    (void)state;
    tsr_context_settings_init(&s);
    s.max_pixels = 399;
    assert_int_equal(tsr_context_open(&small, &s), TSR_OK);
    assert_int_equal(tsr_image_decode(small, model, NULL, &source, &out), TSR_E_LIMIT);
    assert_int_equal(tsr_image_encode(small, model, NULL, &im, &sink), TSR_E_LIMIT);
    assert_int_equal(tsr_image_encode(small, model, NULL, &bad, &sink), TSR_E_ARG);
    assert_int_equal(none.size, 0);
    tsr_context_close(&small);
    tsr_image_free(loud, &im);
    free(b.data);
}

/* Sides that an int holds, but not the number of their units. */
static void test_area(void **state)
{
    const tsri_image_codec *codec = tsri_image_codec_by_id("hyper");
    const uint8_t params[1] = { 56 };
    void *self;
    int units;
    (void)state;
    assert_int_equal(codec->open(&self, loud, model), TSR_OK);
    assert_int_equal(codec->begin(self, 40, 30, params, 0, &units), TSR_OK);
    assert_int_equal(units, 1);
    codec->close(&self);
    assert_int_equal(codec->open(&self, quiet, model), TSR_OK);
    assert_int_equal(codec->begin(self, 1 << 27, 1 << 27, params, 0, &units),
                     TSR_E_LIMIT);
    codec->close(&self);
}

/* A model may have any name, a stream holds only what can be printed. */
static void test_name(void **state)
{
    static const char in[] = "m\x1b[2J\xc3\xa9~ \x7f", out[] = "m?[2J??~ ?";
    tsri_image_head head = { .hash_bytes = 32 };
    uint8_t payload[TSRI_IMAGE_HEAD_MAX];
    (void)state;
    memcpy(head.model_name, in, sizeof in);
    assert_int_equal(tsri_modl_put(head.hash, head.model_name, payload),
                     32 + sizeof in - 1);
    assert_memory_equal(payload + 32, out, sizeof out - 1);
    memcpy(payload + 32, in, sizeof in - 1);
    assert_int_equal(tsri_modl_get(loud, payload, 32 + sizeof in - 1,
                                   head.hash, head.model_name), TSR_OK);
    assert_string_equal(head.model_name, out);
}

static int stop(void *cookie, double done)
{
    assert_true(done >= 0 && done <= 1);
    return ++*(int *)cookie == 2;
}

static void test_cancel(void **state)
{
    check_rng rng = { 13 };
    tsr_image im = picture(&rng, 2100, 20, 3, 8);
    tsr_image_settings s;
    bytes b = { 0 };
    const tsr_sink sink = { &b, take };
    int calls = 0;
    (void)state;
    tsr_image_settings_init(&s);
    s.progress = (tsr_progress){ &calls, stop };
    assert_int_equal(tsr_image_encode(quiet, model, &s, &im, &sink), TSR_E_CANCELED);
    assert_int_equal(calls, 2);
    tsr_image_free(loud, &im);
    free(b.data);
}

static int set_up(void **state)
{
    (void)state;
    unsetenv("TESSERA_MODELS");
    hyper_gen(path, 21);
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
        cmocka_unit_test(test_shapes),   cmocka_unit_test(test_compact),
        cmocka_unit_test(test_same),     cmocka_unit_test(test_damage),
        cmocka_unit_test(test_salvage),  cmocka_unit_test(test_short_reads),
        cmocka_unit_test(test_twice),    cmocka_unit_test(test_alpha_rest),
        cmocka_unit_test(test_wrong_model),
        cmocka_unit_test(test_limits),   cmocka_unit_test(test_area),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_name),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

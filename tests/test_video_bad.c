/* SPDX-License-Identifier: BSD-2-Clause */
/* Video, every part of it damaged or missing, with a codec whose tokens can be
 * told by hand; and the golden packets. */
#include "config.h" /* POSIX before the first header */
#include <math.h>
#include <unistd.h>
#include "tests/golden.h"
#include "tests/image_toy.h"
#include "tests/memory.h"
#include "tests/video_case.h"
#include "tests/model_folder.h"
#include "tests/model_gen.h"
#include "tests/poor.h"
#include <tessera/model.h>
#include "lib/crc32c.h"

static const char path[] = "./test_video_bad.safetensors";
static tsr_context *quiet;
static tsr_model *model;

/* ---- pictures and packets ---- */

/* What the golden packets hold. */
static uint8_t colour(int x, int y, int c)
{
    return (uint8_t)(x * 13 + y * 29 + c * 71);
}
static uint8_t alpha(int x, int y)
{
    return (uint8_t)((x + y) * 3);
}

static tsr_image picture(tsr_context *ctx, int width, int height, int channels,
                         int bits)
{
    tsr_image im = { .width = width, .height = height, .channels = channels,
                     .bits = bits };
    assert_int_equal(tsr_image_alloc(ctx, &im), TSR_OK);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++) {
                const bool last = channels % 2 == 0 && c == channels - 1;
                const uint8_t v = last ? alpha(x, y) : colour(x, y, c);
                const size_t at = (size_t)(x * channels + c);
                uint8_t *row = (uint8_t *)im.data + (size_t)y * im.stride;
                const uint16_t wide = (uint16_t)(v * 257);
                if (bits == 8)
                    row[at] = v;
                else
                    memcpy(row + 2 * at, &wide, 2);
            }
    return im;
}

static video_packet encode(tsr_video_encoder *e, const tsr_image *im)
{
    const uint8_t *data;
    size_t bytes;

    assert_int_equal(tsr_video_encoder_encode(e, im, -1, &data, &bytes), TSR_OK);
    return video_copy(data, bytes);
}

static video_packet extradata_of(const tsr_video_encoder *e)
{
    const uint8_t *data;
    size_t bytes;

    tsr_video_encoder_extradata(e, &data, &bytes);
    return video_copy(data, bytes);
}

static tsr_video_decoder *decoder_for(video_packet extradata)
{
    tsr_video_decoder *d;

    assert_int_equal(tsr_video_decoder_open(&d, quiet, model, extradata.data,
                                            extradata.size), TSR_OK);
    return d;
}

static tsr_error decode(tsr_video_decoder *d, video_packet p, tsr_image *out)
{
    const tsr_error error = tsr_video_decoder_decode(d, p.data, p.size, out);

    assert_true(error == TSR_OK || error == TSR_E_CORRUPT);
    assert_true(error || out->data);
    return error;
}

static void seal(video_packet p)
{
    assert_true(p.size >= 4);
    tsri_put32(p.data + p.size - 4, tsri_crc32c(0, p.data, p.size - 4));
}

static bool same(const tsr_image *a, const tsr_image *b)
{
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->channels, b->channels);
    assert_int_equal(a->bits, b->bits);
    for (int y = 0; y < a->height; y++)
        if (memcmp((uint8_t *)a->data + (size_t)y * a->stride,
                   (uint8_t *)b->data + (size_t)y * b->stride,
                   (size_t)a->width * (size_t)a->channels * (size_t)a->bits / 8))
            return false;
    return true;
}

/* An encoder's packet of a picture, and a decoder for it. */
typedef struct trip {
    tsr_image im;
    tsr_video_encoder *e;
    tsr_video_decoder *d;
    video_packet extradata, p;
} trip;

static trip make_trip(int width, int height, int channels, int bits)
{
    trip t = { .im = picture(quiet, width, height, channels, bits) };

    t.e = video_encoder_for(quiet, model, &t.im);
    t.extradata = extradata_of(t.e);
    t.p = encode(t.e, &t.im);
    t.d = decoder_for(t.extradata);
    return t;
}

static void drop_trip(trip *t)
{
    tsr_video_encoder_close(&t->e);
    tsr_video_decoder_close(&t->d);
    tsr_image_free(quiet, &t->im);
    free(t->extradata.data);
    free(t->p.data);
}

/* ---- golden packets ---- */

static video_packet load(const char *name)
{
    size_t size;
    char *text = golden_file(check_path(name), &size);
    const video_packet p = video_copy(text, size);

    free(text);
    return p;
}

static void test_golden(void **state)
{
    trip t = make_trip(11, 9, 3, 8), with = make_trip(11, 9, 4, 8);
    video_packet p = load("tests/golden/frame.pkt"), q;
    tsr_image out;
    (void)state;
    assert_int_equal(t.p.size, p.size);
    assert_memory_equal(t.p.data, p.data, p.size);
    assert_int_equal(decode(t.d, p, &out), TSR_OK);
    assert_true(same(&out, &t.im));
    free(p.data);
    p = load("tests/golden/frame-cut.pkt");
    const uint8_t *data;
    size_t bytes;
    assert_int_equal(tsr_video_encoder_encode(t.e, &t.im, 49, &data, &bytes), TSR_OK);
    assert_int_equal(bytes, p.size);
    assert_memory_equal(data, p.data, p.size);
    assert_int_equal(decode(t.d, p, &out), TSR_OK);
    assert_int_equal(*(uint8_t *)out.data, (*(uint8_t *)t.im.data & 0xf0) | 8);
    free(p.data);
    p = load("tests/golden/frame-alpha.pkt");
    assert_int_equal(decode(with.d, p, &out), TSR_OK);
    assert_true(same(&out, &with.im));
    q = encode(with.e, &with.im); /* as zlib packs it, and with one band */
    assert_int_equal(decode(with.d, q, &out), TSR_OK);
    assert_true(same(&out, &with.im));
    free(q.data);
    free(p.data);
    drop_trip(&t);
    drop_trip(&with);
}

static void test_golden_bad(void **state)
{
    static const char *const name[] = {
        "frame--empty", "frame--three-bytes", "frame--wrong-check", "frame--cut",
        "frame--cut-and-sealed", "frame--cut-in-the-lengths",
        "frame--a-byte-too-many", "frame--parameters-too-long",
        "frame--parameters-over-the-end", "frame--length-spelled-long",
        "frame--length-over-the-end", "frame--bands-without-alpha",
        "frame-alpha--more-bands-than-lengths" };
    trip t = make_trip(11, 9, 3, 8), with = make_trip(11, 9, 4, 8);
    tsr_image out;
    (void)state;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        char file[100];
        snprintf(file, sizeof file, "tests/golden/bad/%s.pkt", name[i]);
        video_packet p = load(file);
        trip *to = strstr(name[i], "alpha--") ? &with : &t;
        assert_int_equal(decode(to->d, p, &out), TSR_E_CORRUPT);
        free(p.data);
        assert_int_equal(decode(to->d, to->p, &out), TSR_OK);
        assert_true(same(&out, &to->im));
    }
    drop_trip(&t);
    drop_trip(&with);
}

/* ---- damage ---- */

/* Every truncation and every flipped bit is found, and what can be told to be
 * sound is there; with the check made anew, nothing worse than other pixels. */
static void damage(int channels, int bits)
{
    trip t = make_trip(11, 9, channels, bits);
    tsr_image out;

    for (size_t size = 0; size < t.p.size; size++)
        for (int sealed = 0; sealed < 2; sealed++) {
            video_packet cut = video_copy(t.p.data, size);
            if (sealed && size >= 4)
                seal(cut);
            assert_int_equal(decode(t.d, cut, &out), TSR_E_CORRUPT);
            free(cut.data);
        }
    for (size_t bit = 0; bit < 8 * t.p.size; bit++) {
        video_packet flip = video_copy(t.p.data, t.p.size);
        flip.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(decode(t.d, flip, &out), TSR_E_CORRUPT);
        seal(flip);
        decode(t.d, flip, &out);
        free(flip.data);
    }
    assert_int_equal(decode(t.d, t.p, &out), TSR_OK);
    assert_true(same(&out, &t.im));
    drop_trip(&t);
}

static void test_damage(void **state)
{
    (void)state;
    damage(3, 8);
    damage(1, 16);
    damage(4, 8);
    damage(2, 16);
}

/* A unit that does not decode: its block is filled in, the others are there. */
static void test_units(void **state)
{
    trip t = make_trip(20, 20, 3, 8);
    /* Lengths: 4 of 193 bytes, 4 of 97, 1 of 49, twice each. */
    const size_t front = 3 + 8 * 2 + 8 + 2 + 1;
    tsr_image out;
    (void)state;
    for (int unit = 0; unit < 9; unit++) {
        size_t at = front;
        for (int i = 0; i < unit; i++)
            at += 2 * (3 * (size_t)(i % 3 < 2 ? 8 : 4) * (i / 3 < 2 ? 8 : 4) + 1);
        video_packet p = video_copy(t.p.data, t.p.size);
        p.data[at] ^= 1;
        assert_int_equal(decode(t.d, p, &out), TSR_E_CORRUPT);
        for (int y = 0; y < 20; y++)
            for (int x = 0; x < 20; x++)
                assert_int_equal(((uint8_t *)out.data)[(size_t)y * out.stride + (size_t)x * 3],
                                 y / 8 * 3 + x / 8 == unit ? IMAGE_TOY_MISSING
                                                           : colour(x, y, 0));
        free(p.data);
    }
    drop_trip(&t);
}

/* Damaged alpha is opaque and reported; the colours are there. */
static void test_alpha(void **state)
{
    trip t = make_trip(11, 9, 4, 8);
    video_packet p = video_copy(t.p.data, t.p.size);
    tsr_image out;
    (void)state;
    p.data[p.size - 6] ^= 1;
    seal(p);
    assert_int_equal(decode(t.d, p, &out), TSR_E_CORRUPT);
    for (int y = 0; y < 9; y++)
        for (int x = 0; x < 11; x++)
            for (int c = 0; c < 4; c++)
                assert_int_equal(((uint8_t *)out.data)[(size_t)y * out.stride + (size_t)(x * 4 + c)],
                                 c == 3 ? 255 : colour(x, y, c));
    free(p.data);
    drop_trip(&t);
}

/* Whatever extradata says, it is refused or says what a decoder can be. */
static void test_extradata(void **state)
{
    trip t = make_trip(11, 9, 3, 8);
    tsr_video_info info;
    tsr_video_decoder *d;
    (void)state;
    assert_int_equal(t.extradata.size, 60 + strlen("video toy"));
    for (size_t size = 0; size < 60; size++) {
        video_packet cut = video_copy(t.extradata.data, size);
        assert_int_equal(tsr_video_describe(quiet, cut.data, size, &info),
                         TSR_E_CORRUPT);
        assert_int_equal(tsr_video_decoder_open(&d, quiet, model, cut.data, size),
                         TSR_E_CORRUPT);
        assert_null(d);
        free(cut.data);
    }
    for (size_t bit = 0; bit < 8 * 28; bit++) {
        video_packet flip = video_copy(t.extradata.data, t.extradata.size);
        flip.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        const tsr_error said = tsr_video_describe(quiet, flip.data, flip.size, &info);
        const tsr_error open = tsr_video_decoder_open(&d, quiet, model, flip.data,
                                                      flip.size);
        assert_true(said == TSR_OK || said == TSR_E_CORRUPT);
        assert_true(!said || open == TSR_E_CORRUPT);
        if (bit < 8) /* another codec */
            assert_true(!said && !info.codec[0] && open == TSR_E_UNSUPPORTED);
        if (!open) {
            assert_true(info.width >= 1 && info.height >= 1 && info.channels <= 4);
            assert_int_equal(tsr_video_decoder_info(d)->width, info.width);
        }
        tsr_video_decoder_close(&d);
        free(flip.data);
    }
    video_packet longer = video_copy(t.extradata.data, t.extradata.size);
    longer.data = realloc(longer.data, 28 + 32 + 64);
    memset(longer.data + t.extradata.size, 'x', 28 + 32 + 64 - t.extradata.size);
    assert_int_equal(tsr_video_describe(quiet, longer.data, 28 + 32 + 63, &info),
                     TSR_OK);
    assert_int_equal(strlen(info.model_name), 63);
    assert_int_equal(tsr_video_describe(quiet, longer.data, 28 + 32 + 64, &info),
                     TSR_E_CORRUPT);
    free(longer.data);
    drop_trip(&t);
}

/* ---- what is refused ---- */

static tsr_error try_settings(tsr_context *ctx, const tsr_video_settings *s)
{
    tsr_video_encoder *e;
    const tsr_error error = tsr_video_encoder_open(&e, ctx, model, s);

    assert_true(!error == !!e);
    tsr_video_encoder_close(&e);
    return error;
}

static void test_settings(void **state)
{
    const tsr_image im = { .width = 11, .height = 9, .channels = 3, .bits = 8 };
    const tsr_video_settings good = video_settings_for(&im);
    tsr_video_settings s = good;
    (void)state;
    assert_int_equal(try_settings(quiet, &good), TSR_OK);
#define REFUSED(field, value) \
    s = good; \
    s.field = value; \
    assert_int_equal(try_settings(quiet, &s), TSR_E_ARG)
    REFUSED(quality, -1);
    REFUSED(quality, 100.5);
    REFUSED(quality, NAN);
    REFUSED(info.width, 0);
    REFUSED(info.height, -4);
    REFUSED(info.channels, 5);
    REFUSED(info.bits, 10);
    REFUSED(info.rate_num, 25);
    REFUSED(info.rate_den, 1);
    REFUSED(info.sar_num, 1);
    REFUSED(info.sar_den, 1);
    REFUSED(info.full_range, 2);
#undef REFUSED
    s = good; /* an older library's struct: what it lacks is as by default */
    s.size = offsetof(tsr_video_settings, quality);
    s.quality = -7;
    assert_int_equal(try_settings(quiet, &s), TSR_OK);
}

static void test_frames(void **state)
{
    trip t = make_trip(11, 9, 3, 8);
    const uint8_t *data;
    size_t bytes;
    (void)state;
    static const int other[][4] = { { 12, 9, 3, 8 }, { 11, 8, 3, 8 },
                                    { 11, 9, 4, 8 }, { 11, 9, 3, 16 } };
    for (int i = 0; i < 4; i++) {
        tsr_image im = picture(quiet, other[i][0], other[i][1], other[i][2],
                               other[i][3]);
        assert_int_equal(tsr_video_encoder_encode(t.e, &im, -1, &data, &bytes),
                         TSR_E_ARG);
        assert_true(!data && !bytes);
        tsr_image_free(quiet, &im);
    }
    tsr_image none = t.im;
    none.data = NULL;
    assert_int_equal(tsr_video_encoder_encode(t.e, &none, -1, &data, &bytes),
                     TSR_E_ARG);
    assert_int_equal(tsr_video_encoder_encode(t.e, &t.im, 101, &data, &bytes),
                     TSR_E_ARG);
    assert_int_equal(tsr_video_encoder_encode(t.e, &t.im, NAN, &data, &bytes),
                     TSR_E_ARG);
    video_packet p = encode(t.e, &t.im); /* and goes on */
    assert_int_equal(p.size, t.p.size);
    free(p.data);
    drop_trip(&t);
}

static void test_limits(void **state)
{
    trip t = make_trip(11, 9, 3, 8);
    const tsr_video_settings s = video_settings_for(&t.im);
    tsr_context_settings cs;
    tsr_context *small;
    tsr_video_decoder *d;
    (void)state;
    tsr_context_settings_init(&cs);
    cs.max_pixels = 98;
    assert_int_equal(tsr_context_open(&small, &cs), TSR_OK);
    assert_int_equal(try_settings(small, &s), TSR_E_LIMIT);
    assert_int_equal(tsr_video_decoder_open(&d, small, model, t.extradata.data,
                                            t.extradata.size), TSR_E_LIMIT);
    tsr_context_close(&small);
    drop_trip(&t);
}

static void write_model(const char *file, const char *metadata, uint64_t seed)
{
    static model_gen g;
    static const int one[] = { 3 };

    g = (model_gen){ .rng = { seed }, .metadata = metadata };
    model_floats(&g, "nothing", 1, one, 0, 1);
    model_write(&g, file);
}

static void test_models(void **state)
{
    static const char other[] = "./test_video_other.safetensors";
    static const char folder[] = "test_video_bad_models";
    trip t = make_trip(11, 9, 3, 8);
    const tsr_video_settings s = video_settings_for(&t.im);
    tsr_video_encoder *e;
    tsr_video_decoder *d;
    tsr_model *m;
    (void)state;
    write_model(other, "\"tessera.codec\":\"toy\"", 99);
    assert_int_equal(tsr_model_open(&m, quiet, other), TSR_OK);
    assert_int_equal(tsr_video_decoder_open(&d, quiet, m, t.extradata.data,
                                            t.extradata.size), TSR_E_MODEL);
    tsr_model_unref(&m);
    write_model(other, "\"tessera.codec\":\"mono\"", 99);
    assert_int_equal(tsr_model_open(&m, quiet, other), TSR_OK);
    assert_int_equal(tsr_video_encoder_open(&e, quiet, m, &s), TSR_E_MODEL);
    assert_null(e);
    /* The right hash, of a model of another codec. */
    memcpy(t.extradata.data + 28, tsr_model_hash(m), TSR_MODEL_HASH_BYTES);
    assert_int_equal(tsr_video_decoder_open(&d, quiet, m, t.extradata.data,
                                            t.extradata.size), TSR_E_MODEL);
    tsr_model_unref(&m);
    remove(other);
    /* By the hash, where models are looked for. */
    memcpy(t.extradata.data + 28, tsr_model_hash(model), TSR_MODEL_HASH_BYTES);
    assert_int_equal(tsr_video_decoder_open(&d, quiet, NULL, t.extradata.data,
                                            t.extradata.size), TSR_E_MODEL);
    model_folder_open(folder, path);
    assert_int_equal(tsr_video_decoder_open(&d, quiet, NULL, t.extradata.data,
                                            t.extradata.size), TSR_OK);
    tsr_video_decoder_close(&d);
    model_folder_close(folder);
    drop_trip(&t);
}

/* ---- out of memory ---- */

typedef struct job {
    tsr_context *ctx;
    tsr_model *model;
    tsr_image im;
    video_packet extradata, p;
} job;

static tsr_error encode_job(job *j)
{
    const tsr_video_settings s = video_settings_for(&j->im);
    tsr_video_encoder *e;
    const uint8_t *data = NULL;
    size_t bytes;
    tsr_error error = tsr_video_encoder_open(&e, j->ctx, j->model, &s);

    for (int i = 0; i < 2 && !error; i++)
        error = tsr_video_encoder_encode(e, &j->im, -1, &data, &bytes);
    assert_true(!error == !!data);
    tsr_video_encoder_close(&e);
    return error;
}

static tsr_error decode_job(job *j)
{
    tsr_video_decoder *d;
    tsr_image out = { .data = NULL };
    tsr_error error = tsr_video_decoder_open(&d, j->ctx, j->model,
                                             j->extradata.data, j->extradata.size);

    for (int i = 0; i < 2 && !error; i++)
        error = tsr_video_decoder_decode(d, j->p.data, j->p.size, &out);
    assert_true(!error == !!out.data);
    tsr_video_decoder_close(&d);
    return error;
}

/* Every allocation fails once. */
static void starve(job *j, tsr_error (*work)(job *))
{
    const int before = poor_held;
    int n = 0;

    for (tsr_error error = TSR_E_NOMEM; error; n++) {
        poor_left = n;
        error = work(j);
        assert_int_equal(poor_held, before);
        assert_true(!error || error == TSR_E_NOMEM);
        assert_in_range(n, 0, 1000);
    }
    assert_in_range(n, 10, 1000);
}

static void test_no_memory(void **state)
{
    trip t = make_trip(11, 9, 4, 16);
    job j = { .ctx = poor_context("c", 1), .extradata = t.extradata, .p = t.p };
    (void)state;
    assert_int_equal(tsr_model_open(&j.model, j.ctx, path), TSR_OK);
    j.im = picture(j.ctx, 11, 9, 4, 16);
    starve(&j, encode_job);
    starve(&j, decode_job);
    poor_left = POOR_MANY;
    tsr_image_free(j.ctx, &j.im);
    tsr_model_unref(&j.model);
    tsr_context_close(&j.ctx);
    assert_int_equal(poor_held, 0);
    drop_trip(&t);
}

static int set_up(void **state)
{
    (void)state;
    unsetenv("TESSERA_MODELS");
    write_model(path, "\"tessera.codec\":\"toy\",\"tessera.name\":\"video toy\"", 1);
    return tsr_context_open(&quiet, NULL) || tsr_model_open(&model, quiet, path);
}

static int tear_down(void **state)
{
    (void)state;
    tsr_model_unref(&model);
    tsr_context_close(&quiet);
    return remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_golden_bad),
        cmocka_unit_test(test_damage), cmocka_unit_test(test_units),
        cmocka_unit_test(test_alpha), cmocka_unit_test(test_extradata),
        cmocka_unit_test(test_settings), cmocka_unit_test(test_frames),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_models),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

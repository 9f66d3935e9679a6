/* SPDX-License-Identifier: BSD-2-Clause */
/* McQuic's files: a published-like one has the stored codes, comes back byte for
 * byte, and in any order of keys; broken ones are refused. */
#include <tessera/image.h>
#include <tessera/mcq.h>
#include "tests/check.h"
#include "tests/import_tensors.h"
#include "tests/npy.h"
#include "codecs/image/image.h"
#include "codecs/image/mcquic.h"

#define VECTOR "tests/vectors/mcquic_c12_m4_64x64/"

static tsr_context *ctx;
static tsr_model *model, *other;
static uint8_t stream[4096];
static size_t stream_size;

static tsr_model *import_model(const char *name)
{
    tsr_import_settings s;

    tsr_import_settings_init(&s);
    s.name = "qp_2_msssim";
    return import_with(ctx, check_path(name), &s, "./test_mcq.safetensors");
}

static int setup(void **state)
{
    tsr_context_settings s;
    (void)state;
    tsr_context_settings_init(&s);
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    model = import_model(VECTOR "weights.safetensors");
    other = import_model("tests/vectors/checkpoint/tiny.mcquic");
    FILE *f = fopen(check_path(VECTOR "stream.mcq"), "rb");
    assert_non_null(f);
    stream_size = fread(stream, 1, sizeof stream, f);
    fclose(f);
    return stream_size == 505 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    tsr_model_unref(&model);
    tsr_model_unref(&other);
    tsr_context_close(&ctx);
    return 0;
}

static tsr_error from_mcq(tsr_model *with, const uint8_t *data, size_t size,
                          mem_file *out)
{
    mem_file in = { .data = (uint8_t *)(uintptr_t)data, .size = size };
    const tsr_source source = { &in, mem_read };
    const tsr_sink sink = { out, mem_write };
    return tsr_mcq_read(ctx, with, &source, &sink);
}

static tsr_error to_mcq(mem_file *in, mem_file *out)
{
    const tsr_source source = { in, mem_read };
    const tsr_sink sink = { out, mem_write };
    in->at = 0;
    return tsr_mcq_write(ctx, model, &source, &sink);
}

static void test_codes(void **state)
{
    mem_file tess = { 0 }, back = { 0 };
    const tsr_source source = { &tess, mem_read };
    tsri_image_read r;
    (void)state;

    assert_int_equal(from_mcq(model, stream, stream_size, &tess), TSR_OK);
    assert_int_equal(tsri_image_read_open(&r, ctx, model, &source), TSR_OK);
    assert_int_equal(r.parts.damage, TSR_OK);
    assert_int_equal(r.head.width, 64);
    const tsri_mcquic *self = r.parts.self;
    for (int l = 0; l < 3; l++) {
        char name[128];
        snprintf(name, sizeof name, VECTOR "codes%d.npy", l);
        const check_npy codes = check_npy_read(name);
        const tsri_codes *c = &self->level[l].codes;
        assert_int_equal(codes.count, c->plane * (size_t)c->groups);
        assert_memory_equal(c->data, check_npy_as(&codes, "i4"),
                            codes.count * 4);
        free(codes.data);
    }
    tsri_image_read_close(&r);
    assert_int_equal(to_mcq(&tess, &back), TSR_OK);
    assert_int_equal(back.size, stream_size);
    assert_memory_equal(back.data, stream, stream_size);
    free(tess.data);
    free(back.data);
}

/* The two halves of the file the other way round. */
static void test_order(void **state)
{
    static const char contents[] = "\xa8" "contents";
    uint8_t turned[4096] = { 0x82 };
    size_t at = 1;
    mem_file a = { 0 }, b = { 0 };
    (void)state;

    while (memcmp(stream + at, contents, sizeof contents - 1))
        at++;
    memcpy(turned + 1, stream + at, stream_size - at);
    memcpy(turned + 1 + stream_size - at, stream + 1, at - 1);
    assert_int_equal(from_mcq(model, stream, stream_size, &a), TSR_OK);
    assert_int_equal(from_mcq(model, turned, stream_size, &b), TSR_OK);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    free(a.data);
    free(b.data);
}

/* A picture that we encode, there and back. */
static void test_picture(void **state)
{
    static uint8_t pixels[70 * 50 * 4];
    check_rng rng = { 3 };
    tsr_image image = { .width = 70, .height = 50, .channels = 3, .bits = 8,
                        .stride = 210, .data = pixels };
    mem_file tess = { 0 }, mcq = { 0 }, again = { 0 };
    const tsr_sink sink = { &tess, mem_write };
    (void)state;

    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(check_u32(&rng) >> 24);
    assert_int_equal(tsr_image_encode(ctx, model, NULL, &image, &sink), TSR_OK);
    assert_int_equal(to_mcq(&tess, &mcq), TSR_OK);
    assert_int_equal(from_mcq(model, mcq.data, mcq.size, &again), TSR_OK);
    assert_int_equal(again.size, tess.size);
    assert_memory_equal(again.data, tess.data, tess.size);
    image.channels = 4;
    image.stride = 280;
    tess.size = mcq.size = 0;
    assert_int_equal(tsr_image_encode(ctx, model, NULL, &image, &sink), TSR_OK);
    assert_int_equal(to_mcq(&tess, &mcq), TSR_E_UNSUPPORTED);
    assert_int_equal(mcq.size, 0);
    free(tess.data);
    free(mcq.data);
    free(again.data);
}

static void test_bad(void **state)
{
    static const uint8_t deep[] = { 0x81, 0xa1, 'z', 0x91, 0x91, 0x91, 0x91,
                                    0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91,
                                    0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0xc0 };
    static const uint8_t many[] = { 0x81, 0xa1, 'z', 0xdd, 0xff, 0xff, 0xff,
                                    0xff, 0xc0 };
    enum { CONTENTS = 0x88 };
    mem_file out = { 0 };
    int good = 0;
    (void)state;

    for (size_t size = 0; size < stream_size; size++)
        assert_int_equal(from_mcq(model, stream, size, &out),
                         size ? TSR_E_CORRUPT : TSR_E_FORMAT);
    assert_int_equal(from_mcq(model, deep, sizeof deep, &out), TSR_E_CORRUPT);
    assert_int_equal(from_mcq(model, many, sizeof many, &out), TSR_E_CORRUPT);
    assert_int_equal(from_mcq(other, stream, stream_size, &out), TSR_E_MODEL);
    assert_int_equal(from_mcq(model, (const uint8_t *)"PNG", 3, &out),
                     TSR_E_FORMAT);
    assert_int_equal(out.size, 0);
    /* Any bit: an error, or other codes, of which these are the bytes. */
    for (size_t bit = 0; bit < 8 * stream_size; bit++) {
        stream[bit / 8] ^= (uint8_t)(1 << bit % 8);
        mem_file tess = { 0 }, back = { 0 };
        const tsr_error error = from_mcq(model, stream, stream_size, &tess);
        if (!error && bit / 8 > CONTENTS) {
            good++;
            assert_int_equal(to_mcq(&tess, &back), TSR_OK);
            assert_int_equal(back.size, stream_size);
            assert_memory_equal(back.data, stream, stream_size);
        }
        stream[bit / 8] ^= (uint8_t)(1 << bit % 8);
        free(tess.data);
        free(back.data);
    }
    assert_true(good < 100); /* they have no checksum */
    free(out.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes), cmocka_unit_test(test_order),
        cmocka_unit_test(test_picture), cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

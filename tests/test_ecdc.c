/* SPDX-License-Identifier: BSD-2-Clause */
/* EnCodec's files: the published coder and container, byte for byte. */
#include <math.h>
#include "tests/npy.h"
#include "codecs/audio/ecdc.h"
#include "entropy/ecdc.h"
#include "entropy/packing.h"

#define ARITH "tests/vectors/encodec_arith/"
#define MONO "tests/vectors/encodec_24k_f4_d32/"
#define STEREO "tests/vectors/encodec_48k_f4_d16/"

static const tsri_ecdc_model mono = { 320, 1024, 0, 0, false };
static const tsri_ecdc_model stereo = { 320, 1024, 4800, 4752, true };

static check_npy read_npy(const char *type, const char *folder, const char *format,
                          int a, const char *b)
{
    char name[64], path[256];

    snprintf(name, sizeof name, format, a, b);
    snprintf(path, sizeof path, "%s%s", folder, name);
    check_npy n = check_npy_read(path);
    check_npy_as(&n, type);
    return n;
}

/* ---- the coder ---- */

static void test_tables(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        const char *folder = i < 4 ? ARITH : i == 4 ? MONO : STEREO;
        const char *format = i < 4 ? "case%d_%s.npy" : "L%d_lm_%s.npy";
        const int a = i < 4 ? i : i == 4 ? 6417 : 10000;
        check_npy p = read_npy("f4", folder, format, a, "probs"),
                  c = read_npy("i4", folder, format, a, "cdf");
        const size_t n = p.shape[p.rank - 1];
        uint32_t *cdf = malloc(n * sizeof *cdf);
        assert_int_equal(p.count, c.count);
        for (size_t at = 0; at < p.count; at += n) {
            assert_int_equal(tsri_ecdc_table((float *)p.data + at, (int)n, cdf),
                             TSR_OK);
            assert_memory_equal(cdf, (uint32_t *)c.data + at, 4 * n);
        }
        free(cdf);
        free(p.data);
        free(c.data);
    }
}

static void test_bad_tables(void **state)
{
    const float bad[][2] = { { NAN, 0 }, { 0, -1 }, { 0.7f, 0.7f },
                             { INFINITY, 0 }, { 1e30f, 0 } };
    uint32_t cdf[2];
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(tsri_ecdc_table(bad[i], 2, cdf), TSR_E_ARG);
}

static void check_stream(const uint32_t *cdf, const int32_t *symbols, size_t n,
                         int alphabet, const uint8_t *want, size_t size)
{
    uint8_t *out = malloc(size);
    tsri_ecdc_enc enc;
    tsri_ecdc_dec dec;
    size_t bytes;
    int s;

    tsri_ecdc_enc_open(&enc, out, size);
    tsri_ecdc_dec_open(&dec, want, size);
    for (size_t i = 0; i < n; i++) {
        const uint32_t *table = cdf + i * (size_t)alphabet;
        assert_int_equal(tsri_ecdc_put(&enc, table, symbols[i]), TSR_OK);
        assert_int_equal(tsri_ecdc_get(&dec, table, alphabet, &s), TSR_OK);
        assert_int_equal(s, symbols[i]);
    }
    assert_int_equal(tsri_ecdc_finish(&enc, &bytes), TSR_OK);
    assert_int_equal(bytes, size);
    assert_memory_equal(out, want, size);
    assert_int_equal(tsri_ecdc_used(&dec), size);
    tsri_ecdc_enc_open(&enc, out, size - 1); /* no room */
    for (size_t i = 0; i < n; i++)
        if (tsri_ecdc_put(&enc, cdf + i * (size_t)alphabet, symbols[i]))
            break;
    assert_int_equal(tsri_ecdc_finish(&enc, &bytes), TSR_E_LIMIT);
    free(out);
}

static void test_coder(void **state)
{
    char path[128];
    size_t size;
    (void)state;
    for (int i = 0; i < 4; i++) {
        check_npy c = read_npy("i4", ARITH, "case%d_%s.npy", i, "cdf"),
                  s = read_npy("i4", ARITH, "case%d_%s.npy", i, "symbols");
        snprintf(path, sizeof path, ARITH "case%d_payload.bin", i);
        uint8_t *want = check_file(path, &size);
        check_stream(c.data, s.data, s.count, (int)c.shape[1], want, size);
        free(c.data);
        free(s.data);
        free(want);
    }
}

/* Their bit packer is our packing. */
static void test_packer(void **state)
{
    static const int bits[5] = { 10, 10, 1, 7, 16 };
    tsr_context *ctx = check_context("c", 1);
    char path[128];
    (void)state;
    for (int i = 0; i < 5; i++) {
        check_npy v = read_npy("i4", ARITH, "pack%d_%s.npy", i, "values");
        size_t size, bytes;
        snprintf(path, sizeof path, ARITH "pack%d.bin", i);
        uint8_t *want = check_file(path, &size), *out = malloc(size);
        tsri_packing p;
        assert_int_equal(tsri_packing_fixed(&p, (size_t)1 << bits[i]), TSR_OK);
        assert_true(tsri_packing_size(&p, v.count, &bytes));
        assert_int_equal(bytes, size);
        assert_int_equal(tsri_pack32(&p, ctx, v.data, v.count, out), TSR_OK);
        assert_memory_equal(out, want, size);
        free(out);
        free(want);
        free(v.data);
    }
    tsr_context_close(&ctx);
}

/* Many symbols of random tables, also those whose sum is below 2^24. */
static void test_random_tables(void **state)
{
    enum { N = 2000, ALPHABET = 40 };
    check_rng r = { 8 };
    uint32_t cdf[ALPHABET];
    uint8_t *out = malloc(4 * N);
    int symbols[N], s;
    tsri_ecdc_enc enc;
    tsri_ecdc_dec dec;
    size_t size;
    (void)state;
    for (int round = 0; round < 20; round++) {
        uint32_t sum = 0;
        for (int i = 0; i < ALPHABET; i++)
            cdf[i] = sum += 2 + (round % 2 ? check_below(&r, 400000)
                                           : check_below(&r, 3) * (uint32_t)i);
        tsri_ecdc_enc_open(&enc, out, 4 * N);
        for (int i = 0; i < N; i++) {
            symbols[i] = (int)check_below(&r, ALPHABET);
            assert_int_equal(tsri_ecdc_put(&enc, cdf, symbols[i]), TSR_OK);
        }
        assert_int_equal(tsri_ecdc_finish(&enc, &size), TSR_OK);
        tsri_ecdc_dec_open(&dec, out, size);
        for (int i = 0; i < N; i++) {
            assert_int_equal(tsri_ecdc_get(&dec, cdf, ALPHABET, &s), TSR_OK);
            assert_int_equal(s, symbols[i]);
        }
        assert_int_equal(tsri_ecdc_used(&dec), size);
    }
    assert_int_equal(tsri_ecdc_get(&dec, cdf, ALPHABET, &s), TSR_E_TRUNCATED);
    free(out);
}

/* ---- the container ---- */

/* The codes of a segment of the vectors, transposed. */
static uint16_t *read_codes(const char *folder, const char *format, int a,
                            const char *b, int *books, int *frames)
{
    check_npy n = read_npy("i4", folder, format, a, b);
    const int32_t *from = n.data;
    uint16_t *to = malloc(n.count * sizeof *to);

    *books = (int)n.shape[n.rank - 2];
    *frames = (int)n.shape[n.rank - 1];
    for (int k = 0; k < *books; k++)
        for (int f = 0; f < *frames; f++)
            to[f * *books + k] = (uint16_t)*from++;
    free(n.data);
    return to;
}

/* The vector's integer tables, segment after segment. */
typedef struct tables {
    const uint32_t *cdf;
    size_t each;    /* of a frame */
} tables;

static tsr_error get_frame(void *cookie, int f, const uint16_t *codes,
                           const uint32_t **cdf)
{
    const tables *t = cookie;

    (void)codes;
    *cdf = t->cdf + (size_t)f * t->each;
    return TSR_OK;
}

typedef struct file {
    const char *folder, *stream;
    int length;
    const tsri_ecdc_model *model;
} file;

static void check_segment(tsr_context *ctx, const file *v, bool lm, int i,
                          tables *t, const uint8_t *data, size_t size,
                          size_t *used)
{
    char name[32];
    int books, frames;
    size_t wrote;
    float scale;

    snprintf(name, sizeof name, v->model->scaled ? "seg%d_codes.npy" : "codes.npy", i);
    uint16_t *want = read_codes(v->folder, "L%d_%s", v->length, name, &books, &frames);
    const size_t bytes = 2 * (size_t)books * (size_t)frames;
    uint16_t *codes = malloc(bytes);
    const tsri_ecdc_tables from = { t, get_frame };
    assert_int_equal(tsri_ecdc_frames(v->model, (uint64_t)v->length, (uint64_t)i),
                     frames);
    if (lm)
        assert_int_equal(tsri_ecdc_get_lm(v->model, books, frames, &from, data,
                                          size, &scale, codes, used), TSR_OK);
    else
        assert_int_equal(tsri_ecdc_get_raw(ctx, v->model, books, frames, data,
                                           size, &scale, codes, used), TSR_OK);
    assert_memory_equal(codes, want, bytes);
    if (v->model->scaled) {
        snprintf(name, sizeof name, "seg%d_scale.npy", i);
        check_npy s = read_npy("f4", v->folder, "L%d_%s", v->length, name);
        assert_memory_equal(&scale, s.data, 4);
        free(s.data);
    }
    uint8_t *out = malloc(*used);
    wrote = *used;
    if (lm)
        assert_int_equal(tsri_ecdc_put_lm(v->model, books, frames, &from, scale,
                                          want, out, *used, &wrote), TSR_OK);
    else
        assert_int_equal(tsri_ecdc_put_raw(ctx, v->model, books, frames, scale,
                                           want, out), TSR_OK);
    assert_int_equal(wrote, *used);
    assert_memory_equal(out, data, wrote);
    t->cdf += (size_t)frames * t->each;
    free(out);
    free(codes);
    free(want);
}

static void check_ecdc(tsr_context *ctx, const file *v)
{
    char path[128];
    tsri_ecdc_head head;
    size_t size, at, n, used;
    check_npy cdf = { .data = NULL };
    uint8_t again[TSRI_ECDC_HEAD_MAX];

    snprintf(path, sizeof path, "%sL%d_%s.ecdc", v->folder, v->length, v->stream);
    uint8_t *data = check_file(path, &size);
    assert_int_equal(tsri_ecdc_get_head(ctx, &head, data, size, &at), TSR_OK);
    assert_int_equal(head.samples, v->length);
    assert_int_equal(head.books, v->model->scaled ? 4 : 8);
    assert_int_equal(head.lm, v->stream[0] == 'l');
    assert_int_equal(tsri_ecdc_put_head(&head, again, &n), TSR_OK);
    assert_int_equal(n, at);
    assert_memory_equal(again, data, n);
    if (head.lm)
        cdf = read_npy("i4", v->folder, "L%d_lm_%s.npy", v->length, "cdf");
    tables t = { cdf.data, (size_t)(head.books * 1024) };
    const uint64_t segments = tsri_ecdc_segments(v->model, head.samples);
    for (uint64_t i = 0; i < segments; i++, at += used)
        check_segment(ctx, v, head.lm, (int)i, &t, data + at, size - at, &used);
    assert_int_equal(at, size);
    assert_int_equal(tsri_ecdc_frames(v->model, head.samples, segments), 0);
    free(cdf.data);
    free(data);
}

static void test_files(void **state)
{
    static const file files[] = {
        { MONO, "raw", 6417, &mono }, { MONO, "raw", 320, &mono },
        { MONO, "raw", 7, &mono }, { MONO, "raw", 3, &mono },
        { MONO, "lm", 6417, &mono }, { STEREO, "raw", 10000, &stereo },
        { STEREO, "raw", 4752, &stereo }, { STEREO, "lm", 10000, &stereo } };
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        check_ecdc(ctx, &files[i]);
    tsr_context_close(&ctx);
}

/* 48000 samples of the published 48 kHz model: 150 frames, then 2. */
static void test_geometry(void **state)
{
    const tsri_ecdc_model big = { 320, 1024, 48000, 47520, true };
    (void)state;
    assert_int_equal(tsri_ecdc_segments(&big, 48000), 2);
    assert_int_equal(tsri_ecdc_frames(&big, 48000, 0), 150);
    assert_int_equal(tsri_ecdc_frames(&big, 48000, 1), 2);
    assert_int_equal(tsri_ecdc_segments(&big, 1), 1);
    assert_int_equal(tsri_ecdc_segments(&mono, (uint64_t)1 << 48), 1);
    assert_int_equal(tsri_ecdc_frames(&mono, (uint64_t)1 << 48, 0), 0);
    assert_int_equal(tsri_ecdc_raw_bytes(&mono, 8, 75), 750);
    assert_int_equal(tsri_ecdc_raw_bytes(&big, 2, 3), 12);
}

/* ---- what is not sound ---- */

typedef struct bad_head {
    const char *json;
    tsr_error error;
} bad_head;

static void quiet(void *cookie, tsr_log_level level, const char *text)
{
    (void)cookie;
    (void)level;
    (void)text;
}

static tsr_context *quiet_context(void)
{
    tsr_context_settings set;
    tsr_context *ctx;

    tsr_context_settings_init(&set);
    set.logger.log = quiet;
    assert_int_equal(tsr_context_open(&ctx, &set), TSR_OK);
    return ctx;
}

static tsr_error get_head(tsr_context *ctx, const uint8_t *data, size_t size,
                          tsri_ecdc_head *head)
{
    uint8_t *copy = malloc(size ? size : 1);
    size_t used;

    memcpy(copy, data, size);
    const tsr_error error = tsri_ecdc_get_head(ctx, head, copy, size, &used);
    free(copy);
    return error;
}

static void test_bad_heads(void **state)
{
#define REST ", \"nc\": 8, \"lm\": true}"
    static const bad_head heads[] = {
        { "{\"m\": \"x\", \"al\": 1" REST, TSR_OK },
        { "{\"lm\":false,\"nc\":64,\"more\":[1,{}],\"al\":281474976710656,"
          "\"m\":\"x\"}", TSR_OK },
        { "{\"m\": \"x\", \"al\": 0" REST, TSR_E_CORRUPT },
        { "{\"m\": \"x\", \"al\": -5" REST, TSR_E_CORRUPT },
        { "{\"m\": \"x\", \"al\": 1.5" REST, TSR_E_CORRUPT },
        { "{\"m\": \"x\", \"al\": 281474976710657" REST, TSR_E_CORRUPT },
        { "{\"m\": \"x\", \"al\": 99999999999999999999999" REST, TSR_E_CORRUPT },
        { "{\"m\": \"x\", \"al\": 1, \"al\": 2" REST, TSR_E_CORRUPT },
        { "{\"m\": 7, \"al\": 1" REST, TSR_E_CORRUPT },
        { "{\"al\": 1" REST, TSR_E_CORRUPT },
        { "{\"m\": \"x\", \"al\": 1, \"nc\": 0, \"lm\": true}", TSR_E_CORRUPT },
        { "{\"m\": \"x\", \"al\": 1, \"nc\": 65, \"lm\": true}", TSR_E_CORRUPT },
        { "{\"m\": \"x\", \"al\": 1, \"nc\": 8, \"lm\": 1}", TSR_E_CORRUPT },
        { "{\"m\": \"x\", \"al\": 1, \"nc\": 8, \"lm\": \"true\"}", TSR_E_CORRUPT },
        { "{\"m\": \"x\", \"al\": 1, \"nc\": 8, \"lm\": true", TSR_E_CORRUPT },
        { "{\"m\": \"x\", \"al\": 1, \"nc\": 8, \"lm\": true} ", TSR_E_CORRUPT },
        { "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", TSR_E_CORRUPT },
        { "", TSR_E_CORRUPT } };
    tsr_context *ctx = quiet_context();
    uint8_t data[512] = "ECDC";
    tsri_ecdc_head head;
    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        const size_t n = strlen(heads[i].json);
        memcpy(data + 9, heads[i].json, n);
        data[8] = (uint8_t)n;
        assert_int_equal(get_head(ctx, data, 9 + n, &head), heads[i].error);
        for (size_t cut = 0; cut < 9 + n; cut++)
            assert_int_equal(get_head(ctx, data, cut, &head), TSR_E_TRUNCATED);
    }
    data[6] = 1;
    assert_int_equal(get_head(ctx, data, sizeof data, &head), TSR_E_CORRUPT);
    data[4] = 1;
    assert_int_equal(get_head(ctx, data, sizeof data, &head), TSR_E_VERSION);
    data[0] = 'e';
    assert_int_equal(get_head(ctx, data, sizeof data, &head), TSR_E_FORMAT);
    head.model[0] = '"';
    assert_int_equal(tsri_ecdc_put_head(&head, data, &(size_t){ 0 }), TSR_E_ARG);
    tsr_context_close(&ctx);
}

/* Cut segments, bad scales, and bytes that nobody wrote. */
static void test_bad_segments(void **state)
{
    static const char *const scales[] = { "\x7f\xc0\x00\x00", "\x7f\x80\x00\x00",
                                          "\xbf\x80\x00\x00", "\x00\x00\x00\x00" };
    tsr_context *ctx = quiet_context();
    check_npy cdf = read_npy("i4", STEREO, "L%d_lm_%s.npy", 10000, "cdf");
    tables t = { cdf.data, 4 * 1024 };
    const tsri_ecdc_tables from = { &t, get_frame };
    uint16_t codes[4 * 15];
    check_rng r = { 3 };
    float scale;
    size_t used;
    (void)state;
    for (size_t size = 0; size < 90; size++) {
        uint8_t *data = malloc(size ? size : 1);
        for (int i = 0; i < 200; i++) {
            for (size_t k = 0; k < size; k++)
                data[k] = (uint8_t)(k < 4 ? 0x3f : check_u32(&r));
            tsr_error error = tsri_ecdc_get_raw(ctx, &stereo, 4, 15, data, size,
                                                &scale, codes, &used);
            assert_int_equal(error, size < 79 ? TSR_E_TRUNCATED : TSR_OK);
            error = tsri_ecdc_get_lm(&stereo, 4, 15, &from, data, size, &scale,
                                     codes, &used);
            assert_true(error ? error == TSR_E_TRUNCATED || error == TSR_E_CORRUPT
                              : used <= size);
        }
        for (int i = 0; i < 4 && size >= 79; i++) {
            memcpy(data, scales[i], 4);
            assert_int_equal(tsri_ecdc_get_raw(ctx, &stereo, 4, 15, data, size,
                                               &scale, codes, &used),
                             TSR_E_CORRUPT);
        }
        free(data);
    }
    free(cdf.data);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_bad_tables),
        cmocka_unit_test(test_coder),
        cmocka_unit_test(test_packer),
        cmocka_unit_test(test_random_tables),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_geometry),
        cmocka_unit_test(test_bad_heads),
        cmocka_unit_test(test_bad_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

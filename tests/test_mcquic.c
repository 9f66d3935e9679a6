/* SPDX-License-Identifier: BSD-2-Clause */
/* McQuic against the published implementation: every stored intermediate, the
 * codes, the tables, the pictures. */
#include <limits.h>
#include <math.h>
#include <unistd.h>
#include <tessera/mcq.h>
#include "tests/import_tensors.h"
#include "tests/vector.h"
#include "codecs/image/image.h"
#include "codecs/image/mcquic.h"
#include "lib/core.h"

static const char *const vectors[] = { "mcquic_c12_m4_64x64",
                                       "mcquic_c32_m2_100x130" };
static const char *const backends[] = { "c", "onednn" };

/* One vector, one backend. */
typedef struct bench {
    const char *name;
    char *meta;                 /* text of meta.json */
    tsr_context *ctx;
    tsr_model *model;
    tsri_mcquic *self;
    int compared;               /* arrays */
} bench;

static check_npy array(const bench *b, const char *format, int number)
{
    char file[64];
    snprintf(file, sizeof file, format, number);
    return check_npy_read(vector_file(b->name, file));
}

/* The last three sides are channels (or groups), rows and columns. */
static tsri_fmap as_map(const check_npy *a)
{
    const size_t *s = a->shape + a->rank - 3;
    return (tsri_fmap){ a->data, (int)s[0], (int)s[1], (int)s[2], s[1] * s[2],
                        s[2] };
}

static bool is_stored(const bench *b, const char *format, int number)
{
    char name[64];
    snprintf(name, sizeof name, format, number);
    return vector_has(b->name, name);
}

/* Compares a map with a stored array, if it is stored. */
static void compare(bench *b, const tsri_fmap *map, const char *format,
                    int number)
{
    char name[64], file[80];
    double worst = 0;

    if (!is_stored(b, format, number))
        return;
    snprintf(name, sizeof name, format, number);
    snprintf(file, sizeof file, "%s.npy", name);
    check_npy want = check_npy_read(vector_file(b->name, file));
    const tsri_fmap ref = as_map(&want);
    assert_int_equal(map->channels, ref.channels);
    assert_int_equal(map->height, ref.height);
    assert_int_equal(map->width, ref.width);
    for (int c = 0; c < ref.channels; c++)
        for (int y = 0; y < ref.height; y++)
            for (int x = 0; x < ref.width; x++)
                worst = fmax(worst, fabs((double)map->data[(size_t)c * map->plane +
                                                  (size_t)y * map->row +
                                                  (size_t)x] -
                             (double)ref.data[(size_t)c * ref.plane +
                                      (size_t)y * ref.row + (size_t)x]));
    const double allowed = vector_tolerance(b->meta, name, &want);
    if (!(worst <= allowed))
        fail_msg("%s %s: off by %g, allowed %g", b->name, name, worst, allowed);
    b->compared++;
    free(want.data);
}

static tsri_fmap run_blocks(bench *b, tsri_mcquic_part part, int level,
                            int blocks, const tsri_fmap *in)
{
    tsri_fmap out, src = *in;
    tsri_net *net;
    int h, w;

    assert_int_equal(tsri_mcquic_net(&net, b->ctx, b->model, &b->self->shape,
                                     part, level, blocks), TSR_OK);
    tsri_net_out_size(net, in->height, in->width, &h, &w);
    assert_int_equal(tsri_map_new(b->ctx, tsri_net_out_channels(net), h, w,
                                  &out), TSR_OK);
    assert_int_equal(tsri_net_run(net, in->height, in->width,
                                  (tsri_rect){ 0, 0, h, w }, tsri_map_source,
                                  &src, &out), TSR_OK);
    tsri_net_free(&net);
    return out;
}

/* ---- models ---- */

static void fill_aliases(check_tensors *list)
{
    static const char *const users[] = {
        "_quantizer._encoders.%d._dequantizer._codebook",
        "_quantizer._decoders.%d._dequantizer._codebook",
    };
    char name[128];
    for (int level = 0; level < 3; level++) {
        snprintf(name, sizeof name,
                 "_quantizer._encoders.%d._quantizer._codebook", level);
        const check_tensor *book = check_tensors_find(list, name);
        for (int i = 0; i < 2; i++) {
            snprintf(name, sizeof name, users[i], level);
            check_tensor *alias = check_tensors_find(list, name);
            assert_int_equal(alias->bytes, book->bytes);
            memcpy(alias->data, book->data, book->bytes);
        }
    }
}

/* Makes the weights of a vector in the build tree, by weights_spec.json. */
static const char *generate(tsr_context *ctx, const char *vector)
{
    static char path[256];
    snprintf(path, sizeof path, "./test_%s.safetensors", vector);
    check_tensors list = vector_weights(ctx, vector, fill_aliases);
    check_tensors_write(&list, SIZE_MAX, NULL, path);
    check_tensors_free(&list);
    return path;
}

static bool bench_open(bench *b, const char *vector, const char *backend,
                       bool imported)
{
    tsr_context_settings s;
    *b = (bench){ .name = vector };

    tsr_context_settings_init(&s);
    s.backend = backend;
    s.logger.log = check_log;
    const tsr_error error = tsr_context_open(&b->ctx, &s);
    if (error == TSR_E_UNSUPPORTED)
        return false;
    assert_int_equal(error, TSR_OK);
    b->meta = vector_text(vector, "meta.json");
    const bool stored = access(check_path(vector_file(vector, "weights.safetensors")),
                               R_OK) == 0;
    const char *path = stored ? check_path(vector_file(vector,
                                                       "weights.safetensors"))
                              : generate(b->ctx, vector);
    if (imported)
        b->model = import_path(b->ctx, path, NULL, 0,
                               "./test_mcquic_i.safetensors");
    else
        assert_int_equal(tsr_model_open(&b->model, b->ctx, path), TSR_OK);
    if (!stored)
        assert_int_equal(remove(path), 0); /* it stays mapped */
    assert_int_equal(tsri_image_codec_mcquic.open((void **)&b->self, b->ctx,
                                                  b->model), TSR_OK);
    return true;
}

static void bench_close(bench *b)
{
    tsri_image_codec_mcquic.close((void **)&b->self);
    assert_null(b->self);
    tsr_model_unref(&b->model);
    tsr_context_close(&b->ctx);
    free(b->meta);
}

/* ---- what is compared ---- */

static void check_padding(bench *b)
{
    check_npy image = array(b, "image_u8_hwc.npy", 0);
    check_npy want = array(b, "padded.npy", 0);
    tsri_fmap ref = as_map(&want), map;
    const int h = (int)image.shape[0], w = (int)image.shape[1];
    const uint8_t *pixels = image.data;

    assert_int_equal(b->self->padded_height, ref.height);
    assert_int_equal(b->self->padded_width, ref.width);
    assert_int_equal(tsri_map_new(b->ctx, 3, ref.height, ref.width, &map), 0);
    for (int y = 0; y < ref.height; y++)
        for (int x = 0; x < ref.width; x++)
            for (int c = 0; c < 3; c++) {
                const int from_y = tsri_image_reflect(y - b->self->top, h);
                const int from_x = tsri_image_reflect(x - b->self->left, w);
                map.data[(size_t)c * map.plane + (size_t)y * map.row +
                         (size_t)x] =
                    ((float)pixels[(from_y * w + from_x) * 3 + c] / 255.0f -
                     0.5f) * 2;
            }
    compare(b, &map, "padded", 0);
    tsri_free(b->ctx, map.data);
    free(image.data);
    free(want.data);
}

static void check_blocks(bench *b, tsri_mcquic_part part, const tsri_fmap *in,
                         const char *format)
{
    for (int i = 0; i < 7; i++) {
        if (!is_stored(b, format, i))
            continue;
        tsri_fmap out = run_blocks(b, part, 0, i + 1, in);
        compare(b, &out, format, i);
        tsri_free(b->ctx, out.data);
    }
}

/* Stored codes; those that rounding may turn are left out. */
static void check_codes(bench *b, int level, const tsri_codes *codes)
{
    check_npy want = array(b, "codes%d.npy", level);
    check_npy margin = array(b, "codes%d_margin.npy", level);
    size_t unsafe = 0;

    assert_int_equal(want.count, (size_t)codes->groups * codes->plane);
    for (size_t i = 0; i < want.count; i++)
        if (((float *)margin.data)[i] < 1e-4f)
            unsafe++;
        else
            assert_int_equal(codes->data[i], ((int32_t *)want.data)[i]);
    assert_int_equal(unsafe, 0);
    b->compared++;
    free(want.data);
    free(margin.data);
}

static void subtract(const tsri_fmap *words, tsri_fmap *map)
{
    for (size_t i = 0; i < map->plane * (size_t)map->channels; i++)
        map->data[i] -= words->data[i];
}

/* One level of the quantiser from its stored input: z, head, codes, residual.
 */
static void check_quantiser(bench *b, int level)
{
    check_npy input = level ? array(b, "q%d_residual.npy", level - 1)
                            : array(b, "enc6.npy", 0);
    const tsri_fmap in = as_map(&input);
    tsri_mcquic_level *l = &b->self->level[level];

    tsri_fmap z = run_blocks(b, TSRI_MCQUIC_STAGE, level, INT_MAX, &in);
    compare(b, &z, "q%d_z", level);
    tsri_fmap head = run_blocks(b, TSRI_MCQUIC_QUANT_HEAD, level, INT_MAX, &z);
    compare(b, &head, "q%d_head", level);
    assert_int_equal(tsri_codebook_encode(l->book, b->ctx, &head, &l->codes),
                     TSR_OK);
    check_codes(b, level, &l->codes);
    if (tsri_mcquic_has(&b->self->shape, TSRI_MCQUIC_LATENT_HEAD, level)) {
        tsri_fmap rest = run_blocks(b, TSRI_MCQUIC_LATENT_HEAD, level, INT_MAX,
                                    &z);
        assert_int_equal(tsri_codebook_decode(l->book, b->ctx, &l->codes,
                                              &head), TSR_OK);
        subtract(&head, &rest);
        compare(b, &rest, "q%d_residual", level);
        tsri_free(b->ctx, rest.data);
    }
    tsri_free(b->ctx, head.data);
    tsri_free(b->ctx, z.data);
    free(input.data);
}

/* The decoder's side of the quantiser, from stored codes. */
static void check_dequantiser(bench *b, int level)
{
    check_npy stored = array(b, "codes%d.npy", level);
    const tsri_fmap s = as_map(&stored);
    const tsri_codes codes = { stored.data, s.channels, s.height, s.width,
                               s.plane, s.row };
    tsri_fmap words;

    assert_int_equal(tsri_map_new(b->ctx, b->self->shape.channels, s.height,
                                  s.width, &words), TSR_OK);
    assert_int_equal(tsri_codebook_decode(b->self->level[level].book, b->ctx,
                                          &codes, &words), TSR_OK);
    tsri_fmap t = run_blocks(b, TSRI_MCQUIC_DEQUANT_HEAD, level, INT_MAX,
                             &words);
    if (tsri_mcquic_has(&b->self->shape, TSRI_MCQUIC_SIDE_HEAD, level)) {
        check_npy coarser = array(b, "dq%d_out.npy", level + 1);
        const tsri_fmap in = as_map(&coarser);
        tsri_fmap side = run_blocks(b, TSRI_MCQUIC_SIDE_HEAD, level, INT_MAX,
                                    &in);
        for (size_t i = 0; i < t.plane * (size_t)t.channels; i++)
            t.data[i] += side.data[i];
        tsri_free(b->ctx, side.data);
        free(coarser.data);
    }
    tsri_fmap out = run_blocks(b, TSRI_MCQUIC_RESTORE_HEAD, level, INT_MAX, &t);
    compare(b, &out, "dq%d_out", level);
    tsri_free(b->ctx, out.data);
    tsri_free(b->ctx, t.data);
    tsri_free(b->ctx, words.data);
    free(stored.data);
}

static void check_tables(bench *b)
{
    for (int level = 0; level < b->self->shape.levels; level++) {
        check_npy want = array(b, "cdf%d.npy", level);
        assert_int_equal(want.count, (size_t)b->self->shape.m *
                         ((size_t)b->self->shape.k[level] + 1));
        assert_memory_equal(b->self->level[level].cdf, want.data,
                            want.count * sizeof(uint32_t));
        b->compared++;
        free(want.data);
    }
}

static tsr_error drop_unit(void *cookie, int unit, const tsri_span *layers,
                           int n)
{
    (void)layers;
    assert_int_equal(unit, 0);
    assert_int_equal(n, 3);
    ++*(int *)cookie;
    return TSR_OK;
}

/* The codec as it is used: picture to codes. */
static void check_encode(bench *b)
{
    check_npy pixels = array(b, "image_u8_hwc.npy", 0);
    const tsr_image image = { (int)pixels.shape[1], (int)pixels.shape[0], 3, 8,
                              pixels.shape[1] * 3, pixels.data };
    int units, seen = 0;

    assert_int_equal(tsri_image_codec_mcquic.begin(b->self, image.width,
                                                   image.height, NULL, 1,
                                                   &units), TSR_OK);
    assert_int_equal(units, 1);
    assert_int_equal(tsri_image_codec_mcquic.encode(b->self, &image, drop_unit,
                                                    &seen, NULL), TSR_OK);
    assert_int_equal(seen, 1);
    for (int level = 0; level < b->self->shape.levels; level++)
        check_codes(b, level, &b->self->level[level].codes);
    free(pixels.data);
}

static tsr_error place(void *cookie, tsri_rect r, const tsri_fmap *rgb)
{
    tsri_fmap to = tsri_map_view(cookie, r);
    tsri_map_copy(rgb, &to);
    return TSR_OK;
}

/* Floats within the tolerance; bytes within one, and nearly all equal. */
static void check_picture(bench *b, tsri_fmap *got)
{
    check_npy bytes = array(b, "restored_u8_chw.npy", 0);
    const uint8_t *want = bytes.data;
    size_t differ = 0;

    for (size_t i = 0; i < bytes.count; i++) {
        const int v = (int)fminf(fmaxf(got->data[i] * 255.999f, 0), 255);
        assert_in_range(v + 1 - want[i], 0, 2);
        differ += v != want[i];
        got->data[i] = got->data[i] * 2 - 1;
    }
    assert_true(differ * 1000 <= bytes.count);
    compare(b, got, "restored", 0);
    free(bytes.data);
}

/* The codec as it is used: stored codes to picture. */
static void check_decode(bench *b)
{
    tsri_fmap got;

    for (int level = 0; level < b->self->shape.levels; level++) {
        check_npy codes = array(b, "codes%d.npy", level);
        memcpy(b->self->level[level].codes.data, codes.data,
               codes.count * sizeof(int32_t));
        free(codes.data);
    }
    assert_int_equal(tsri_map_new(b->ctx, 3, b->self->height, b->self->width,
                                  &got), TSR_OK);
    for (size_t i = 0; i < got.plane * 3; i++)
        got.data[i] = NAN;
    assert_int_equal(tsri_image_codec_mcquic.pixels(b->self, place, &got, NULL),
                     TSR_OK);
    check_picture(b, &got);
    tsri_free(b->ctx, got.data);
}

static void check_vector(const char *vector, const char *backend, int arrays)
{
    bench b;
    if (!bench_open(&b, vector, backend, false))
        skip();
    check_tables(&b);
    check_encode(&b);
    check_padding(&b);
    check_npy padded = array(&b, "padded.npy", 0);
    const tsri_fmap in = as_map(&padded);
    check_blocks(&b, TSRI_MCQUIC_ENCODER, &in, "enc%d");
    free(padded.data);
    for (int level = 0; level < 3; level++)
        check_quantiser(&b, level);
    for (int level = 2; level >= 0; level--)
        check_dequantiser(&b, level);
    check_npy latent = array(&b, "dq0_out.npy", 0);
    const tsri_fmap from = as_map(&latent);
    check_blocks(&b, TSRI_MCQUIC_DECODER, &from, "dec%d");
    free(latent.data);
    check_decode(&b);
    assert_int_equal(b.compared, arrays);
    bench_close(&b);
}

/* The published program's own file of that picture: the same codes. */
static void check_mcq(bench *b)
{
    size_t size;
    uint8_t *data = check_file(vector_file(b->name, "stream.mcq"), &size);
    mem_file in = { .data = data, .size = size }, out = { 0 };
    const tsr_source source = { &in, mem_read }, tess = { &out, mem_read };
    const tsr_sink sink = { &out, mem_write };
    tsri_image_read r;

    assert_int_equal(tsr_mcq_read(b->ctx, b->model, &source, &sink), TSR_OK);
    assert_int_equal(tsri_image_read_open(&r, b->ctx, b->model, &tess), TSR_OK);
    assert_int_equal(r.parts.damage, TSR_OK);
    for (int l = 0; l < 3; l++) {
        const tsri_mcquic *self = r.parts.self;
        const tsri_codes *c = &self->level[l].codes;
        check_npy codes = array(b, "codes%d.npy", l);
        assert_int_equal(codes.count, c->plane * (size_t)c->groups);
        assert_memory_equal(c->data, check_npy_as(&codes, "i4"), codes.count * 4);
        free(codes.data);
    }
    tsri_image_read_close(&r);
    free(out.data);
    free(data);
}

/* Tables, codes, picture and file with the model that import makes. */
static void test_imported(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        bench b;
        assert_true(bench_open(&b, vectors[i], backends[0], true));
        assert_string_equal(tsr_model_codec(b.model), "mcquic");
        check_tables(&b);
        check_encode(&b);
        check_decode(&b);
        check_mcq(&b);
        bench_close(&b);
    }
}

static void test_c12_plain(void **state)
{
    (void)state;
    check_vector(vectors[0], backends[0], 36);
}

static void test_c32_plain(void **state)
{
    (void)state;
    check_vector(vectors[1], backends[0], 22);
}

static void test_c12_onednn(void **state)
{
    (void)state;
    check_vector(vectors[0], backends[1], 36);
}

static void test_c32_onednn(void **state)
{
    (void)state;
    check_vector(vectors[1], backends[1], 22);
}

static void test_reflect(void **state)
{
    static const int of3[] = { 0, 1, 2, 1 };
    (void)state;
    for (int i = -6; i <= 6; i++)
        assert_int_equal(tsri_image_reflect(i, 3), of3[(i + 8) % 4]);
    for (int i = -9; i < 9; i++) {
        assert_int_equal(tsri_image_reflect(i, 1), 0);
        assert_int_equal(tsri_image_reflect(i, 2), i & 1);
    }
    assert_int_equal(tsri_image_reflect(-14, 100), 14);
    assert_int_equal(tsri_image_reflect(113, 100), 85);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reflect),
        cmocka_unit_test(test_c12_plain),
        cmocka_unit_test(test_c32_plain),
        cmocka_unit_test(test_c12_onednn),
        cmocka_unit_test(test_c32_onednn),
        cmocka_unit_test(test_imported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

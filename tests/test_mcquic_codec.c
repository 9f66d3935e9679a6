/* SPDX-License-Identifier: BSD-2-Clause */
/* McQuic as a codec: units there and back at all sizes, tiles, damage, models
 * that are not what they should be. */
#include "tests/mcquic_model.h"
#include "tests/memory.h"
#include "codecs/image/mcquic.h"
#include "lib/core.h"

static const tsri_image_codec *const codec = &tsri_image_codec_mcquic;
static const char file[] = "./test_mcquic_codec.safetensors";
static const mcquic_sizes small = { 4, 2, 3, { 20, 7, 3 } };
enum { GIB = 1 << 30 };
static char message[1024];      /* the last of the library */

static void remember(void *cookie, tsr_log_level level, const char *text)
{
    (void)cookie;
    (void)level;
    snprintf(message, sizeof message, "%s", text);
}

static tsr_context *quiet_context(const char *backend, int threads,
                                  uint64_t max_memory)
{
    tsr_context_settings s;
    tsr_context *ctx = NULL;

    tsr_context_settings_init(&s);
    s.backend = backend;
    s.threads = threads;
    s.logger.log = remember;
    s.max_memory = max_memory;
    const tsr_error error = tsr_context_open(&ctx, &s);
    assert_true(error == TSR_OK || error == TSR_E_UNSUPPORTED);
    return ctx;
}

static tsr_error open_file(tsr_context *ctx, tsri_mcquic **self)
{
    tsr_model *model;
    void *out = NULL;

    assert_int_equal(tsr_model_open(&model, ctx, file), TSR_OK);
    const tsr_error error = codec->open(&out, ctx, model);
    assert_true(!out == !!error);
    tsr_model_unref(&model);    /* the codec holds its own reference */
    *self = out;
    return error;
}

static tsri_mcquic *open_sizes(tsr_context *ctx, const mcquic_sizes *sizes)
{
    check_tensors list = mcquic_model(sizes, 7);
    tsri_mcquic *self;

    check_tensors_write(&list, SIZE_MAX, NULL, file);
    check_tensors_free(&list);
    if (open_file(ctx, &self))
        fail_msg("%s", message);
    return self;
}

static void close_all(tsri_mcquic *self, tsr_context *ctx)
{
    void *cookie = self;
    codec->close(&cookie);
    assert_null(cookie);
    codec->close(&cookie);
    tsr_context_close(&ctx);
}

/* ---- pictures and streams ---- */

/* A smooth picture with some noise. */
static tsr_image picture(int width, int height)
{
    tsr_image image = { width, height, 3, 8, (size_t)width * 3 + 2, NULL };
    check_rng rng = { (uint64_t)width * 65536 + (uint64_t)height };
    uint8_t *p = malloc(image.stride * (size_t)height);

    assert_non_null(p);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                p[(size_t)y * image.stride + (size_t)(3 * x + c)] =
                    (uint8_t)(128 + 90 * sin(x * 0.05 * (c + 1) + y * 0.03) +
                              check_below(&rng, 30));
    image.data = p;
    return image;
}

enum { UNITS = 16, LAYER_BYTES = 1 << 16 };

/* What an encoder emitted. */
typedef struct stream {
    int units;
    uint8_t bytes[UNITS][3][LAYER_BYTES];
    tsri_span span[UNITS][3];
} stream;

static tsr_error collect(void *cookie, int unit, const tsri_span *layers, int n)
{
    stream *s = cookie;
    assert_int_equal(unit, s->units);
    assert_int_equal(n, codec->layers);
    assert_true(unit < UNITS);
    for (int i = 0; i < n; i++) {
        assert_true(layers[i].bytes <= LAYER_BYTES);
        memcpy(s->bytes[unit][i], layers[i].data, layers[i].bytes);
        s->span[unit][i] = (tsri_span){ s->bytes[unit][i], layers[i].bytes };
    }
    s->units++;
    return TSR_OK;
}

static stream *encode(tsri_mcquic *self, const tsr_image *image)
{
    stream *s = calloc(1, sizeof *s);
    int units;

    assert_non_null(s);
    assert_int_equal(codec->begin(self, image->width, image->height, NULL, 9,
                                  &units), TSR_OK);
    assert_int_equal(codec->encode(self, image, collect, s, NULL), TSR_OK);
    assert_int_equal(s->units, units);
    return s;
}

static size_t code_count(const tsri_mcquic *self, int level)
{
    return (size_t)self->shape.m * self->level[level].codes.plane;
}

/* All codes of the present picture, one level after the other. */
static int32_t *all_codes(const tsri_mcquic *self, size_t *n)
{
    int32_t *codes = NULL;
    *n = 0;
    for (int level = 0; level < self->shape.levels; level++) {
        const size_t count = code_count(self, level);
        codes = realloc(codes, (*n + count) * sizeof *codes);
        assert_non_null(codes);
        memcpy(codes + *n, self->level[level].codes.data,
               count * sizeof *codes);
        *n += count;
    }
    return codes;
}

static void assert_codes(const tsri_mcquic *self, const int32_t *want, size_t n)
{
    size_t count;
    int32_t *codes = all_codes(self, &count);
    assert_int_equal(count, n);
    assert_memory_equal(codes, want, n * sizeof *codes);
    free(codes);
}

/* A picture of some size must not be coded by one code all over. */
static void assert_diverse(const tsri_mcquic *self)
{
    const tsri_mcquic_level *l = &self->level[0];
    uint8_t seen[512] = { 0 };
    int distinct = 0;

    for (size_t i = 0; i < l->codes.plane; i++)
        if (!seen[l->codes.data[i]]) {
            seen[l->codes.data[i]] = 1;
            distinct++;
        }
    assert_true(l->codes.plane <= 64 || self->shape.k[0] < 4 || distinct > 2);
}

/* The picture, and how often each pixel was put. */
typedef struct canvas {
    int width, height;
    float *rgb;
    uint8_t *times;
} canvas;

static tsr_error paint(void *cookie, tsri_rect r, const tsri_fmap *rgb)
{
    const canvas *c = cookie;
    assert_true(r.y0 >= 0 && r.x0 >= 0 && r.y1 <= c->height && r.x1 <= c->width);
    assert_true(rgb->channels == 3 && rgb->height == r.y1 - r.y0 &&
                rgb->width == r.x1 - r.x0);
    for (int y = r.y0; y < r.y1; y++)
        for (int x = r.x0; x < r.x1; x++) {
            const size_t at = (size_t)y * (size_t)c->width + (size_t)x;
            c->times[at]++;
            for (size_t p = 0; p < 3; p++)
                c->rgb[at * 3 + p] =
                    rgb->data[p * rgb->plane + (size_t)(y - r.y0) * rgb->row +
                              (size_t)(x - r.x0)];
        }
    return TSR_OK;
}

static canvas decode_pixels(tsri_mcquic *self)
{
    canvas c = { self->width, self->height, NULL, NULL };
    const size_t n = (size_t)c.width * (size_t)c.height;
    c.rgb = malloc(n * 3 * sizeof *c.rgb);
    c.times = calloc(n, 1);
    assert_true(c.rgb && c.times);
    assert_int_equal(codec->pixels(self, paint, &c, NULL), TSR_OK);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(c.times[i], 1);
    return c;
}

static void canvas_free(canvas *c)
{
    free(c->rgb);
    free(c->times);
}

/* ---- round trips ---- */

static void round_trip(tsri_mcquic *self, int width, int height, int units)
{
    tsr_image image = picture(width, height);
    stream *s = encode(self, &image);
    size_t n;
    int got;

    assert_int_equal(s->units, units);
    int32_t *codes = all_codes(self, &n);
    assert_diverse(self);
    canvas first = decode_pixels(self);
    assert_int_equal(codec->begin(self, width, height, NULL, 9, &got), TSR_OK);
    assert_int_equal(got, units);
    for (int unit = units - 1; unit >= 0; unit--)
        assert_int_equal(codec->decode(self, unit, s->span[unit], 3), TSR_OK);
    assert_codes(self, codes, n);
    canvas second = decode_pixels(self);
    assert_memory_equal(first.rgb, second.rgb, sizeof *first.rgb * 3 *
                        (size_t)width * (size_t)height);
    canvas_free(&first);
    canvas_free(&second);
    free(codes);
    free(s);
    free(image.data);
}

static void test_round_trip(void **state)
{
    static const int sizes[][2] = { { 1, 1 }, { 3, 5 }, { 43, 44 }, { 100, 130 },
                                    { 129, 257 }, { 256, 128 } };
    tsr_context *ctx = quiet_context("c", 1, GIB);
    tsri_mcquic *self = open_sizes(ctx, &small);
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        round_trip(self, sizes[i][0], sizes[i][1], 1);
    round_trip(self, 1, 1025, 2);
    round_trip(self, 1030, 1100, 4);
    close_all(self, ctx);
}

/* Other numbers of levels, groups and codes; large alphabets; one code. */
static void test_shapes(void **state)
{
    static const mcquic_sizes sizes[] = {
        { 3, 3, 1, { 300 } }, { 4, 1, 2, { 5, 257 } },
        { 2, 2, 4, { 4, 1, 2, 260 } }, { 1, 1, 6, { 9, 8, 7, 6, 5, 4 } },
    };
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        tsr_context *ctx = quiet_context("c", 2, GIB);
        tsri_mcquic *self = open_sizes(ctx, &sizes[i]);
        assert_int_equal(self->shape.channels, sizes[i].channels);
        assert_int_equal(self->shape.levels, sizes[i].levels);
        round_trip(self, 33, 70, 1);
        close_all(self, ctx);
    }
}

/* ---- through the public functions ---- */

static void assert_bytes(const tsr_image *image, const canvas *want)
{
    assert_true(image->width == want->width && image->height == want->height);
    for (int y = 0; y < image->height; y++)
        for (int x = 0; x < image->width * 3; x++) {
            const float v = want->rgb[y * image->width * 3 + x] * 255.999f;
            assert_int_equal(((uint8_t *)image->data)[(size_t)y * image->stride +
                                                      (size_t)x],
                             (int)fminf(fmaxf(v, 0), 255));
        }
}

/* A stream of either form gives the pixels of the codec, truncated. */
static void test_public(void **state)
{
    tsr_context *ctx = quiet_context("c", 1, GIB);
    check_tensors list = mcquic_model(&small, 7);
    tsr_image image = picture(61, 47), out;
    tsri_mcquic *self;
    tsr_model *model;
    (void)state;
    check_tensors_write(&list, SIZE_MAX, "\"tessera.codec\":\"mcquic\"", file);
    check_tensors_free(&list);
    assert_int_equal(open_file(ctx, &self), TSR_OK);
    free(encode(self, &image));
    canvas want = decode_pixels(self);
    assert_int_equal(tsr_model_open(&model, ctx, file), TSR_OK);
    for (int container = 0; container < 2; container++) {
        mem_file kept = { 0 };
        const tsr_sink sink = { &kept, mem_write };
        const tsr_source source = { &kept, mem_read };
        tsr_image_settings settings;
        tsr_image_info info;
        tsr_image_settings_init(&settings);
        settings.container = container;
        assert_int_equal(tsr_image_encode(ctx, model, &settings, &image, &sink),
                         TSR_OK);
        assert_int_equal(tsr_image_decode(ctx, model, NULL, &source, &out),
                         TSR_OK);
        assert_bytes(&out, &want);
        tsr_image_free(ctx, &out);
        kept.at = 0;
        assert_int_equal(tsr_image_probe(ctx, &source, &info), TSR_OK);
        assert_string_equal(info.codec, "mcquic");
        assert_int_equal(info.compact, !container);
        assert_string_equal(info.layer_name[0], "level 2");
        assert_true(info.layer_bytes[2] > info.layer_bytes[1]);
        free(kept.data);
    }
    tsr_model_unref(&model);
    canvas_free(&want);
    free(image.data);
    close_all(self, ctx);
}

/* Codes and pixels must not depend on tiles or threads. */
static void check_tiles(const char *backend)
{
    static const uint64_t memory[] = { GIB, 30000, 1000000 };
    tsr_image image = picture(257, 300);
    int32_t *codes = NULL;
    canvas whole = { 0 };
    size_t n = 0;

    for (int i = 0; i < 3; i++) {
        tsr_context *ctx = quiet_context(backend, i == 1 ? 2 : 1, memory[i]);
        if (!ctx)
            break;
        tsri_mcquic *self = open_sizes(ctx, &small);
        free(encode(self, &image));
        canvas now = decode_pixels(self);
        if (i == 0) {
            codes = all_codes(self, &n);
            whole = now;
        } else {
            assert_codes(self, codes, n);
            assert_memory_equal(now.rgb, whole.rgb, 257 * 300 * 3 *
                                sizeof *now.rgb);
            canvas_free(&now);
        }
        close_all(self, ctx);
    }
    canvas_free(&whole);
    free(codes);
    free(image.data);
    if (!n)
        skip();
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

/* ---- layers left out, damage ---- */

static void begin(tsri_mcquic *self, int width, int height)
{
    int units;
    assert_int_equal(codec->begin(self, width, height, NULL, 9, &units), 0);
}

/* Level's codes are those of the encoder (or the most frequent ones). */
static void assert_level(const tsri_mcquic *self, int level,
                         const int32_t *want)
{
    const tsri_mcquic_level *l = &self->level[level];
    for (size_t i = 0; i < code_count(self, level); i++)
        assert_int_equal(l->codes.data[i],
                         want ? want[i] : l->common[i / l->codes.plane]);
}

static void test_layers(void **state)
{
    tsr_image image = picture(200, 140);
    tsr_context *ctx = quiet_context("c", 1, GIB);
    tsri_mcquic *self = open_sizes(ctx, &small);
    stream *s = encode(self, &image);
    const size_t n1 = code_count(self, 0), n2 = n1 + code_count(self, 1);
    size_t n;
    (void)state;
    int32_t *codes = all_codes(self, &n);
    for (int i = 0; i < 4; i++) {
        tsri_span some[3] = { { NULL, 0 } };
        memcpy(some, s->span[0], (size_t)i * sizeof *some);
        for (int short_form = 0; short_form < 2; short_form++) {
            begin(self, 200, 140);
            assert_int_equal(codec->decode(self, 0, some, short_form ? i : 3),
                             TSR_OK);
            assert_level(self, 2, i > 0 ? codes + n2 : NULL);
            assert_level(self, 1, i > 1 ? codes + n1 : NULL);
            assert_level(self, 0, i > 2 ? codes : NULL);
        }
        canvas c = decode_pixels(self);
        canvas_free(&c);
    }
    free(codes);
    free(s);
    free(image.data);
    close_all(self, ctx);
}

/* Decodes three layers; damage must be noticed and leave nothing. */
static void refuse(tsri_mcquic *self, const tsri_span *layers)
{
    assert_int_equal(codec->decode(self, 0, layers, 3), TSR_E_CORRUPT);
    for (int level = 0; level < 3; level++)
        assert_level(self, level, NULL);
}

static void damage_layer(tsri_mcquic *self, const stream *s, int layer)
{
    const size_t size = s->span[0][layer].bytes;
    uint8_t *copy = malloc(size + 1);
    tsri_span spans[3];
    check_rng rng = { 5 };

    assert_non_null(copy);
    memcpy(spans, s->span[0], sizeof spans);
    for (size_t cut = layer == 2 ? 1 : 0; cut < size; cut++) {
        spans[layer] = (tsri_span){ s->bytes[0][layer], cut };
        refuse(self, spans);
    }
    for (size_t i = 0; i < size * 8; i++) {
        memcpy(copy, s->bytes[0][layer], size);
        copy[i / 8] ^= (uint8_t)(1 << i % 8);
        spans[layer] = (tsri_span){ copy, size };
        refuse(self, spans);
    }
    memcpy(copy, s->bytes[0][layer], size);
    copy[size] = 0;
    spans[layer] = (tsri_span){ copy, size + 1 };
    refuse(self, spans);
    for (int round = 0; round < 300; round++) {
        for (size_t i = 0; i < size; i++)
            copy[i] = (uint8_t)check_u32(&rng);
        spans[layer] = (tsri_span){ copy, check_below(&rng, (uint32_t)size) + 1 };
        refuse(self, spans);
    }
    free(copy);
}

static void test_damage(void **state)
{
    tsr_image image = picture(120, 120);
    tsr_context *ctx = quiet_context("c", 1, GIB);
    tsri_mcquic *self = open_sizes(ctx, &small);
    stream *s = encode(self, &image);
    int units;
    (void)state;
    begin(self, 120, 120);
    for (int layer = 0; layer < 3; layer++)
        damage_layer(self, s, layer);
    tsri_span five[5] = { s->span[0][0], s->span[0][1], s->span[0][2] };
    five[4] = five[0];
    assert_int_equal(codec->decode(self, 0, five, 5), TSR_E_CORRUPT);
    assert_int_equal(codec->decode(self, 1, five, 3), TSR_E_ARG);
    assert_int_equal(codec->decode(self, -1, five, 3), TSR_E_ARG);
    /* Another header in front of the units. */
    assert_int_equal(codec->begin(self, 120, 120, NULL, 10, &units), TSR_OK);
    refuse(self, s->span[0]);
    begin(self, 120, 300);
    refuse(self, s->span[0]);
    begin(self, 120, 120);
    assert_int_equal(codec->decode(self, 0, s->span[0], 3), TSR_OK);
    free(s);
    free(image.data);
    close_all(self, ctx);
}

static tsr_error stop(void *cookie, int unit, const tsri_span *layers, int n)
{
    (void)unit;
    (void)layers;
    (void)n;
    return *(tsr_error *)cookie;
}

static int cancel(void *cookie, double done)
{
    assert_true(done >= 0 && done <= 1.0001);
    return --*(int *)cookie <= 0;
}

static void test_limits(void **state)
{
    tsr_image image = picture(20, 20);
    tsr_context *ctx = quiet_context("c", 1, GIB);
    tsri_mcquic *self = open_sizes(ctx, &small);
    tsr_error error = TSR_E_IO;
    canvas none = { 20, 20, NULL, NULL };
    int units;
    (void)state;
    assert_int_equal(codec->begin(self, 0, 1, NULL, 0, &units), TSR_E_ARG);
    assert_int_equal(codec->begin(self, INT32_MAX, INT32_MAX, NULL, 0, &units),
                     TSR_E_LIMIT);
    assert_int_equal(codec->begin(self, INT32_MAX, 1, NULL, 0, &units),
                     TSR_E_LIMIT);
    assert_int_equal(codec->begin(self, 1 << 30, 1, NULL, 0, &units),
                     TSR_E_LIMIT);
    begin(self, 20, 20);
    assert_int_equal(codec->encode(self, &image, stop, &error, NULL), error);
    for (int after = 1; after < 5; after++) {
        int left = after;
        const tsr_progress progress = { &left, cancel };
        assert_int_equal(codec->encode(self, &image, stop, &error, &progress),
                         TSR_E_CANCELED);
        left = after;
        assert_int_equal(codec->pixels(self, paint, &none, &progress),
                         TSR_E_CANCELED);
    }
    free(image.data);
    close_all(self, ctx);
}

/* ---- models ---- */

static void refuse_model(tsr_context *ctx, const char *name)
{
    tsri_mcquic *self;
    *message = 0;
    assert_int_equal(open_file(ctx, &self), TSR_E_SHAPE);
    if (!strstr(message, name))
        fail_msg("'%s' is not in '%s'", name, message);
}

/* Every tensor in turn is left out, has one row more, or is of integers. */
static void test_tensors(void **state)
{
    const mcquic_sizes tiny = { 2, 1, 2, { 3, 2 } };
    check_tensors list = mcquic_model(&tiny, 3);
    tsr_context *ctx = quiet_context("c", 1, GIB);
    (void)state;
    for (size_t i = 0; i < list.count; i++) {
        check_tensor *t = &list.tensor[i];
        /* Codebooks set the sizes: with a larger one others complain. */
        const bool book = strstr(t->name, "_codebook") != NULL;
        check_tensors_write(&list, i, NULL, file);
        refuse_model(ctx, t->name);
        strcpy(t->dtype, "I32");
        check_tensors_write(&list, SIZE_MAX, NULL, file);
        refuse_model(ctx, t->name);
        strcpy(t->dtype, "F32");
        const size_t bytes = t->bytes;
        t->bytes += bytes / t->dims[0];
        t->dims[0]++;
        t->data = realloc(t->data, t->bytes);
        assert_non_null(t->data);
        check_tensors_write(&list, SIZE_MAX, NULL, file);
        refuse_model(ctx, book ? "" : t->name);
        t->dims[0]--;
        t->bytes = bytes;
    }
    check_tensors_free(&list);
    tsr_context_close(&ctx);
}

static void test_sizes(void **state)
{
    static const char book[] = "_quantizer._encoders.0._quantizer._codebook";
    static const char alias[] = "_quantizer._decoders.0._dequantizer._codebook";
    static const uint64_t bad[][3] = {
        { 2, 0, 2 }, { 0, 20, 2 }, { 2, 20, 0 }, { 2, 70000, 2 },
        { 20000, 1, 1 }, { 200, 1, 100 }, { 4, 20, 2 }, { 1, 20, 4 },
    };
    check_tensors list = mcquic_model(&small, 3);
    tsr_context *ctx = quiet_context("c", 1, GIB);
    tsri_mcquic *self;
    (void)state;
    check_tensor *t = check_tensors_find(&list, book);
    const check_tensor good = *t;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(t->dims, bad[i], sizeof bad[i]);
        t->bytes = check_dims(3, t->dims) * 4;
        t->data = calloc(t->bytes + 1, 1);
        check_tensors_write(&list, SIZE_MAX, NULL, file);
        free(t->data);
        refuse_model(ctx, "");
    }
    *t = good;
    check_tensors_write(&list, SIZE_MAX, "\"mcquic.channel\":\"4\","
                        "\"mcquic.m\":\"2\",\"mcquic.k\":\"20,7,3\"", file);
    assert_int_equal(open_file(ctx, &self), TSR_OK);
    codec->close((void **)&self);
    static const char *const wrong[] = {
        "\"mcquic.channel\":\"5\"", "\"mcquic.m\":\"x\"",
        "\"mcquic.k\":\"20,7\"", "\"mcquic.k\":\"20,7,3,1\"",
        "\"mcquic.k\":\"\"", "\"mcquic.k\":\"20,6,3\"",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        check_tensors_write(&list, SIZE_MAX, wrong[i], file);
        refuse_model(ctx, "mcquic.");
    }
    float *other = check_tensors_add(&list, alias, "F32", 4, 3, good.dims);
    memcpy(other, good.data, good.bytes);
    check_tensors_write(&list, SIZE_MAX, NULL, file);
    assert_int_equal(open_file(ctx, &self), TSR_OK);
    codec->close((void **)&self);
    other[3] += 1;
    check_tensors_write(&list, SIZE_MAX, NULL, file);
    refuse_model(ctx, alias);
    check_tensors_free(&list);
    tsr_context_close(&ctx);
}

static void test_tables(void **state)
{
    static const char name[] = "tessera.cdf.1";
    check_tensors list = mcquic_model(&small, 3);
    tsr_context *ctx = quiet_context("c", 1, GIB);
    const uint64_t dims[] = { 2, 8 };
    tsri_mcquic *self;
    (void)state;
    uint32_t *cdf = check_tensors_add(&list, name, "U32", 4, 2, dims);
    for (uint32_t i = 0; i < 16; i++)
        cdf[i] = i % 8 < 7 ? i % 8 * 100 + (i > 10) : 65536;
    check_tensors_write(&list, SIZE_MAX, NULL, file);
    assert_int_equal(open_file(ctx, &self), TSR_OK);
    assert_memory_equal(self->level[1].cdf, cdf, 64);
    assert_int_equal(self->level[1].common[1], 6);
    codec->close((void **)&self);
    static const struct { int at; uint32_t value; } faults[] = {
        { 0, 1 }, { 3, 200 }, { 3, 100 }, { 15, 65535 }, { 7, UINT32_MAX },
        { 14, 65536 },
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const uint32_t was = cdf[faults[i].at];
        cdf[faults[i].at] = faults[i].value;
        check_tensors_write(&list, SIZE_MAX, NULL, file);
        refuse_model(ctx, name);
        cdf[faults[i].at] = was;
    }
    static const char ema[] = "_quantizer._entropyCoder._freqEMA.2";
    ((float *)check_tensors_find(&list, ema)->data)[2] = NAN;
    check_tensors_write(&list, SIZE_MAX, NULL, file);
    refuse_model(ctx, ema);
    check_tensors_free(&list);
    tsr_context_close(&ctx);
}

/* Half precision: the same as the rounded floats. */
static void test_half(void **state)
{
    check_tensors list = mcquic_model(&small, 3);
    tsr_context *ctx = quiet_context("c", 1, GIB);
    tsr_image image = picture(60, 50);
    stream *streams[2];
    (void)state;
    for (int half = 0; half < 2; half++) {
        tsri_mcquic *self;
        for (size_t i = 0; i < list.count; i++) {
            check_tensor *t = &list.tensor[i];
            if (!strstr(t->name, ".weight"))
                continue;
            for (size_t j = 0; j < check_dims(t->rank, t->dims); j++) {
                if (half) /* 0, or +-1 * 2^-3: the same in both */
                    tsri_put16((uint8_t *)t->data + 2 * j,
                               (uint16_t)(j % 3 ? j % 3 == 1 ? 0x3000 : 0xb000
                                                : 0));
                else
                    ((float *)t->data)[j] = j % 3 ? j % 3 == 1 ? 0.125f
                                                               : -0.125f : 0;
            }
            t->bytes /= half ? 2 : 1;
            strcpy(t->dtype, half ? "F16" : "F32");
        }
        check_tensors_write(&list, SIZE_MAX, NULL, file);
        assert_int_equal(open_file(ctx, &self), TSR_OK);
        streams[half] = encode(self, &image);
        codec->close((void **)&self);
    }
    assert_memory_equal(streams[0]->bytes, streams[1]->bytes,
                        sizeof streams[0]->bytes);
    free(streams[0]);
    free(streams[1]);
    free(image.data);
    check_tensors_free(&list);
    tsr_context_close(&ctx);
}

static int remove_file(void **state)
{
    (void)state;
    return remove(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_tiles_plain), cmocka_unit_test(test_tiles_onednn),
        cmocka_unit_test(test_layers), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_sizes), cmocka_unit_test(test_tables),
        cmocka_unit_test(test_half), cmocka_unit_test(test_public),
    };
    return cmocka_run_group_tests(tests, NULL, remove_file);
}

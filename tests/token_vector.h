/* SPDX-License-Identifier: BSD-2-Clause */
/* The token codecs against their published implementations: every stored
 * intermediate, the codes, the pictures. */
#ifndef TSR_TESTS_TOKEN_VECTOR_H
#define TSR_TESTS_TOKEN_VECTOR_H
#include <dirent.h>
#include "tests/import_tensors.h"
#include "tests/vector.h"
#include "codecs/image/token.h"

/** One vector, one backend. */
typedef struct token_bench {
    const char *name;
    const tsri_image_codec *codec;
    char *meta;                 /**< text of meta.json */
    tsr_context *ctx;
    tsr_model *model;
    tsri_token_codec *t;
    int compared;               /**< arrays */
} token_bench;

/** The model of a vector as its codec reads it: made by `finish`, if that is not
 *  NULL, or by import. */
static inline tsr_model *token_bench_model(tsr_context *ctx, const char *vector,
                                           bool imported,
                                           void (*finish)(check_tensors *))
{
    check_tensors list = vector_weights(ctx, vector, NULL);
    char path[128];
    tsr_model *model;

    snprintf(path, sizeof path, "./test_%s.safetensors", vector);
    if (finish)
        finish(&list);
    if (imported) {
        model = import_tensors(ctx, &list, NULL, 0, path);
    } else {
        check_tensors_write(&list, SIZE_MAX, NULL, path);
        assert_int_equal(tsr_model_open(&model, ctx, path), TSR_OK);
        assert_int_equal(remove(path), 0); /* it stays mapped */
    }
    check_tensors_free(&list);
    return model;
}

/** False: this build does not have the backend. */
static inline bool token_bench_open(token_bench *b,
                                    const tsri_image_codec *codec,
                                    const char *vector, const char *backend,
                                    bool imported,
                                    void (*finish)(check_tensors *))
{
    tsr_context_settings s;
    void *self;

    *b = (token_bench){ .name = vector, .codec = codec };
    tsr_context_settings_init(&s);
    s.backend = backend;
    s.logger.log = check_log;
    const tsr_error error = tsr_context_open(&b->ctx, &s);
    if (error == TSR_E_UNSUPPORTED)
        return false;
    assert_int_equal(error, TSR_OK);
    b->meta = vector_text(vector, "meta.json");
    b->model = token_bench_model(b->ctx, vector, imported, finish);
    assert_int_equal(codec->open(&self, b->ctx, b->model), TSR_OK);
    b->t = tsri_token_of(codec, self);
    return true;
}

static inline void token_bench_close(token_bench *b)
{
    void *self = b->t;
    b->codec->close(&self);
    assert_null(self);
    tsr_model_unref(&b->model);
    tsr_context_close(&b->ctx);
    free(b->meta);
}

static inline tsri_fmap token_map(const check_npy *a)
{
    const size_t *s = a->shape + a->rank - 3;
    return (tsri_fmap){ a->data, (int)s[0], (int)s[1], (int)s[2], s[1] * s[2],
                        s[2] };
}

/** Compares n floats with a stored array. */
static inline void token_compare(token_bench *b, const float *x, size_t n,
                                 const char *name)
{
    check_npy want = vector_array(b->name, "%s", name);
    const float *y = want.data;
    double worst = 0;

    assert_int_equal(want.count, n);
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)x[i] - (double)y[i]));
    const double allowed = vector_tolerance(b->meta, name, &want);
    if (!(worst <= allowed))
        fail_msg("%s %s: off by %g, allowed %g", b->name, name, worst, allowed);
    b->compared++;
    free(want.data);
}

static inline tsr_error token_map_source(void *cookie, tsri_rect r,
                                         tsri_fmap *dst)
{
    const tsri_fmap *map = cookie;
    for (int c = 0; c < dst->channels; c++)
        for (int y = 0; y < dst->height; y++)
            memcpy(dst->data + (size_t)c * dst->plane + (size_t)y * dst->row,
                   map->data + (size_t)c * map->plane +
                       (size_t)(r.y0 + y) * map->row + (size_t)r.x0,
                   (size_t)dst->width * sizeof *dst->data);
    return TSR_OK;
}

static inline tsr_error token_map_sink(void *cookie, tsri_rect r,
                                       const tsri_fmap *src)
{
    const tsri_fmap *map = cookie;
    for (int c = 0; c < src->channels; c++)
        for (int y = 0; y < src->height; y++)
            memcpy(map->data + (size_t)c * map->plane +
                       (size_t)(r.y0 + y) * map->row + (size_t)r.x0,
                   src->data + (size_t)c * src->plane +
                       (size_t)y * src->row,
                   (size_t)src->width * sizeof *src->data);
    return TSR_OK;
}

/** Runs a net over a whole map in tiles; free() the result's data. */
static inline tsri_fmap token_run(const tsri_net *net, const tsri_fmap *in,
                                  uint64_t budget)
{
    tsri_fmap src = *in, out = { .channels = tsri_net_out_channels(net) };

    tsri_net_out_size(net, in->height, in->width, &out.height, &out.width);
    out.row = (size_t)out.width;
    out.plane = out.row * (size_t)out.height;
    out.data = malloc(out.plane * (size_t)out.channels * sizeof *out.data);
    assert_non_null(out.data);
    assert_int_equal(tsri_net_run_tiled(net, in->height, in->width, budget, 1,
                                        token_map_source, &src, token_map_sink,
                                        &out), TSR_OK);
    return out;
}

/** The output of one module for the net's input; free() its data. */
static inline tsri_fmap token_until(token_bench *b, tsri_token_part part,
                                    const char *until, const tsri_fmap *in)
{
    tsri_net *net;

    assert_int_equal(tsri_token_net(&net, b->ctx, b->model, b->t->family,
                                    &b->t->shape, part, until), TSR_OK);
    tsri_fmap out = token_run(net, in, b->ctx->max_memory);
    tsri_net_free(&net);
    return out;
}

/** The picture as the encoder net takes it. */
static inline tsri_fmap token_input(token_bench *b)
{
    check_npy image = vector_array(b->name, "image_u8_hwc");
    tsri_fmap map = { NULL, 3, (int)image.shape[0], (int)image.shape[1],
                      image.count / 3, image.shape[1] };
    map.data = malloc(image.count * sizeof *map.data);
    assert_non_null(map.data);
    for (size_t i = 0; i < image.count; i++)
        map.data[i % 3 * map.plane + i / 3] =
            (float)((uint8_t *)image.data)[i] / 127.5f - 1;
    free(image.data);
    return map;
}

/** All stored activations of one part, each by a net that ends there. */
static inline void token_activations(token_bench *b, tsri_token_part part,
                                     const tsri_fmap *in, const char *prefix)
{
    DIR *dir = opendir(check_path(vector_file(b->name, "")));
    const struct dirent *entry;
    char name[160];

    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        const size_t n = strlen(entry->d_name);
        if (strncmp(entry->d_name, prefix, strlen(prefix)) || n < 8 ||
            n >= sizeof name)
            continue;
        memcpy(name, entry->d_name, n - 4);  /* without .npy */
        name[n - 4] = 0;
        tsri_fmap out = token_until(b, part, name + 4, in);
        token_compare(b, out.data, out.plane * (size_t)out.channels, name);
        free(out.data);
    }
    closedir(dir);
}

static inline void token_check_codes(token_bench *b, const int32_t *codes)
{
    check_npy want = vector_array(b->name, "indices");
    check_npy margin = vector_array(b->name, "indices_margin");
    const double unsafe = check_field(strstr(b->meta, "\"margins\""),
                                      "unsafe_below", -1);
    size_t skipped = 0;

    assert_int_equal(want.count, margin.count);
    for (size_t i = 0; i < want.count; i++)
        if ((double)((float *)margin.data)[i] < unsafe)
            skipped++;
        else
            assert_int_equal(codes[i], ((int32_t *)want.data)[i]);
    assert_true(skipped <= 1);
    b->compared++;
    free(want.data);
    free(margin.data);
}

static inline tsr_error token_drop(void *cookie, int unit,
                                   const tsri_span *layers, int n)
{
    (void)layers;
    assert_int_equal(unit, 0);
    assert_int_equal(n, 1);
    ++*(int *)cookie;
    return TSR_OK;
}

/** The codec as it is used: picture to codes. */
static inline void token_check_encode(token_bench *b)
{
    check_npy pixels = vector_array(b->name, "image_u8_hwc");
    const tsr_image image = { (int)pixels.shape[1], (int)pixels.shape[0], 3, 8,
                              pixels.shape[1] * 3, pixels.data };
    uint8_t params[1];
    int units, seen = 0;

    assert_int_equal(b->codec->analyse(b->t, &image, NULL), TSR_OK);
    assert_int_equal(b->codec->choose(b->t, image.width, image.height, 100, 1,
                                      params), TSR_OK);
    assert_int_equal(b->codec->begin(b->t, image.width, image.height, params, 1,
                                     &units), TSR_OK);
    assert_int_equal(units, 1);
    token_check_codes(b, b->t->grid.id);
    assert_int_equal(b->codec->encode(b->t, &image, token_drop, &seen, NULL),
                     TSR_OK);
    assert_int_equal(seen, 1);
    free(pixels.data);
}

static inline tsr_error token_place(void *cookie, tsri_rect r,
                                    const tsri_fmap *rgb)
{
    return token_map_sink(cookie, r, rgb);
}

/** The codec as it is used: stored codes to picture. */
static inline void token_check_decode(token_bench *b)
{
    check_npy codes = vector_array(b->name, "indices");
    check_npy bytes = vector_array(b->name, "recon_u8_hwc");
    const size_t n = bytes.count / 3;
    tsri_fmap got = { malloc(bytes.count * sizeof *got.data), 3,
                      (int)bytes.shape[0], (int)bytes.shape[1], n,
                      bytes.shape[1] };

    assert_non_null(got.data);
    assert_int_equal(tsri_token_size(b->t, got.width, got.height, 0), TSR_OK);
    assert_int_equal(codes.count, (size_t)b->t->grid.height *
                                      (size_t)b->t->grid.width);
    memcpy(b->t->grid.id, codes.data, codes.count * sizeof(int32_t));
    memset(b->t->grid.lost, 0, codes.count);
    assert_int_equal(b->codec->pixels(b->t, token_place, &got, NULL), TSR_OK);
    for (size_t i = 0; i < bytes.count; i++) {
        float *v = &got.data[i % 3 * n + i / 3];
        const int byte = (int)(fminf(fmaxf(*v, 0), 1) * 255 + 0.5f);
        assert_in_range(byte + 1 - ((uint8_t *)bytes.data)[i], 0, 2);
    }
    for (size_t i = 0; i < bytes.count; i++)
        got.data[i] = got.data[i] * 2 - 1;
    token_compare(b, got.data, bytes.count, "recon");
    free(got.data);
    free(bytes.data);
    free(codes.data);
}

/** Codewords of the stored codes, as planes; free() its data. */
static inline tsri_fmap token_quant(token_bench *b)
{
    check_npy codes = vector_array(b->name, "indices");
    const int dim = b->t->shape.dim;
    const size_t n = codes.count;
    tsri_fmap map = { malloc(n * (size_t)dim * sizeof *map.data), dim,
                      (int)codes.shape[codes.rank - 2],
                      (int)codes.shape[codes.rank - 1], n,
                      codes.shape[codes.rank - 1] };

    assert_non_null(map.data);
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < dim; c++)
            map.data[(size_t)c * n + i] =
                b->t->words[(size_t)((int32_t *)codes.data)[i] * (size_t)dim +
                            (size_t)c];
    free(codes.data);
    return map;
}

/** Output of a part must not depend on the budget. */
static inline void token_check_tiles(token_bench *b, tsri_token_part part,
                                     const tsri_fmap *in)
{
    tsri_net *net;

    assert_int_equal(tsri_token_net(&net, b->ctx, b->model, b->t->family,
                                    &b->t->shape, part, NULL), TSR_OK);
    tsri_fmap whole = token_run(net, in, b->ctx->max_memory);
    tsri_fmap tiled = token_run(net, in, 3000000);
    assert_memory_equal(whole.data, tiled.data, whole.plane *
                        (size_t)whole.channels * sizeof *whole.data);
    free(whole.data);
    free(tiled.data);
    tsri_net_free(&net);
}

/** All of it; arrays: how many are compared. */
static inline void token_check_vector(const tsri_image_codec *codec,
                                      const char *vector, const char *backend,
                                      void (*finish)(check_tensors *),
                                      int arrays)
{
    token_bench b;

    if (!token_bench_open(&b, codec, vector, backend, false, finish))
        skip();
    token_compare(&b, b.t->words, (size_t)b.t->codes * (size_t)b.t->shape.dim,
                  "projected_codebook");
    tsri_fmap in = token_input(&b);
    tsri_fmap latent = token_until(&b, TSRI_TOKEN_ENCODER, NULL, &in);
    token_compare(&b, latent.data, latent.plane * (size_t)latent.channels,
                  "latent");
    token_activations(&b, TSRI_TOKEN_ENCODER, &in, "act.encoder.");
    token_check_tiles(&b, TSRI_TOKEN_ENCODER, &in);
    token_check_encode(&b);
    tsri_fmap quant = token_quant(&b);
    token_compare(&b, quant.data, quant.plane * (size_t)quant.channels,
                  "quant");
    token_activations(&b, TSRI_TOKEN_DECODER, &quant, "act.decoder.");
    token_activations(&b, TSRI_TOKEN_DECODER, &quant, "act.post_quant_conv");
    token_check_tiles(&b, TSRI_TOKEN_DECODER, &quant);
    token_check_decode(&b);
    assert_int_equal(b.compared, arrays);
    free(in.data);
    free(latent.data);
    free(quant.data);
    token_bench_close(&b);
}

/** Codes and picture, with the model that import makes of the published tensors,
 *  those of training among them. */
static inline void token_check_imported(const tsri_image_codec *codec,
                                        const char *vector)
{
    token_bench b;

    assert_true(token_bench_open(&b, codec, vector, "c", true, NULL));
    assert_string_equal(tsr_model_codec(b.model), codec->id);
    token_check_encode(&b);
    token_check_decode(&b);
    token_bench_close(&b);
}
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* An image codec for tests, instead of the library's: a program that includes this
 * file links with this registry.  Units are blocks of 8x8 pixels; layer 0 holds
 * the high halves of their samples, layer 1 the low ones, if the quality is 50 or
 * more: what a picture's tokens are can be told by hand, and 8-bit pictures come
 * back as they were. */
#ifndef TSR_TESTS_IMAGE_TOY_H
#define TSR_TESTS_IMAGE_TOY_H
#include <string.h>
#include "codecs/image/image_codec.h"
#include "lib/crc32c.h"

enum {
    IMAGE_TOY_UNIT = 8, IMAGE_TOY_NUMBER = 61, IMAGE_TOY_MISSING = 0x80,
    IMAGE_TOY_MARK = 0x5a,  /* the second parameter: always this */
    IMAGE_TOY_LAYER = 3 * IMAGE_TOY_UNIT * IMAGE_TOY_UNIT + 1
};

typedef struct image_toy {
    tsr_context *ctx;
    int width, height, across, units, quality;
    uint8_t *sample;        /* [height][width][3] */
} image_toy;

static tsr_error image_toy_open(void **self, tsr_context *ctx, tsr_model *model)
{
    image_toy *t = tsri_calloc(ctx, 1, sizeof *t);

    (void)model;
    *self = t;
    if (!t)
        return TSR_E_NOMEM;
    t->ctx = ctx;
    return TSR_OK;
}

static void image_toy_close(void **self)
{
    image_toy *t = *self;
    tsri_free(t->ctx, t->sample);
    tsri_free(t->ctx, t);
    *self = NULL;
}

static tsr_error image_toy_choose(void *self, int width, int height,
                                  double quality, int interleave,
                                  uint8_t *params)
{
    (void)self;
    (void)width;
    (void)height;
    (void)interleave;
    params[0] = (uint8_t)quality;
    params[1] = IMAGE_TOY_MARK;
    return TSR_OK;
}

static tsr_error image_toy_begin(void *self, int width, int height,
                                 const uint8_t *params, uint32_t crc, int *units)
{
    image_toy *t = self;

    (void)crc;
    if (params[0] > 100 || params[1] != IMAGE_TOY_MARK)
        return TSR_E_CORRUPT;
    tsri_free(t->ctx, t->sample);
    t->sample = tsri_alloc(t->ctx, (size_t)width * (size_t)height, 3);
    if (!t->sample)
        return TSR_E_NOMEM;
    memset(t->sample, IMAGE_TOY_MISSING, (size_t)width * (size_t)height * 3);
    t->width = width;
    t->height = height;
    t->quality = params[0];
    t->across = tsri_ceil_div(width, IMAGE_TOY_UNIT);
    t->units = *units = t->across * tsri_ceil_div(height, IMAGE_TOY_UNIT);
    return TSR_OK;
}

static tsri_rect image_toy_rect(const image_toy *t, int unit)
{
    const int y = unit / t->across * IMAGE_TOY_UNIT;
    const int x = unit % t->across * IMAGE_TOY_UNIT;
    return (tsri_rect){ y, x, tsri_min(y + IMAGE_TOY_UNIT, t->height),
                        tsri_min(x + IMAGE_TOY_UNIT, t->width) };
}

/* Sample i of a rectangle. */
static uint8_t *image_toy_at(const image_toy *t, tsri_rect r, int i)
{
    const int width = r.x1 - r.x0, pixel = i / 3;
    const size_t y = (size_t)(r.y0 + pixel / width);
    const size_t x = (size_t)(r.x0 + pixel % width);
    return t->sample + 3 * (y * (size_t)t->width + x) + i % 3;
}

static int image_toy_samples(tsri_rect r)
{
    return 3 * (r.y1 - r.y0) * (r.x1 - r.x0);
}

/* The samples of a picture, 8 bits of each. */
static tsr_error image_toy_take(image_toy *t, const tsr_image *image)
{
    float *row = tsri_alloc(t->ctx, (size_t)t->width, 3 * sizeof *row);
    int *xs = tsri_alloc(t->ctx, (size_t)t->width, sizeof *xs);
    tsri_fmap map = { row, 3, 1, t->width, (size_t)t->width, (size_t)t->width };
    const bool good = row && xs;

    for (int x = 0; good && x < t->width; x++)
        xs[x] = x;
    for (int y = 0; good && y < t->height; y++) {
        tsri_image_gather(image, &y, xs, &map);
        for (int i = 0; i < 3 * t->width; i++)
            t->sample[3 * (size_t)y * (size_t)t->width + (size_t)i] =
                (uint8_t)(row[i % 3 * t->width + i / 3] * 255 + 0.5f);
    }
    tsri_free(t->ctx, row);
    tsri_free(t->ctx, xs);
    return good ? TSR_OK : TSR_E_NOMEM;
}

static tsr_error image_toy_encode(void *self, const tsr_image *image,
                                  tsri_image_emit emit, void *cookie,
                                  const tsr_progress *progress)
{
    image_toy *t = self;

    (void)progress;
    TSR_TRY(image_toy_take(t, image));
    for (int unit = 0; unit < t->units; unit++) {
        const tsri_rect r = image_toy_rect(t, unit);
        const int n = image_toy_samples(r);
        uint8_t high[IMAGE_TOY_LAYER], low[IMAGE_TOY_LAYER];
        for (int i = 0; i < n; i++) {
            high[i] = *image_toy_at(t, r, i) >> 4;
            low[i] = *image_toy_at(t, r, i) & 15;
        }
        high[n] = (uint8_t)tsri_crc32c(0, high, (size_t)n);
        low[n] = (uint8_t)tsri_crc32c(0, low, (size_t)n);
        const size_t bytes = (size_t)n + 1;
        const tsri_span layers[] = { { high, bytes },
                                     { low, t->quality < 50 ? 0 : bytes } };
        TSR_TRY(emit(cookie, unit, layers, 2));
    }
    return TSR_OK;
}

static bool image_toy_sound(const tsri_span *layer, int n)
{
    for (int i = 0; i < n && layer->bytes == (size_t)n + 1; i++)
        if (layer->data[i] > 15)
            return false;
    return layer->bytes == (size_t)n + 1 &&
           layer->data[n] == (uint8_t)tsri_crc32c(0, layer->data, (size_t)n);
}

static tsr_error image_toy_decode(void *self, int unit, const tsri_span *layers,
                                  int count)
{
    image_toy *t = self;
    const tsri_rect r = image_toy_rect(t, unit);
    const int n = image_toy_samples(r);

    if (count != 2 || !image_toy_sound(&layers[0], n) ||
        (layers[1].bytes && !image_toy_sound(&layers[1], n)))
        return TSR_E_CORRUPT;
    for (int i = 0; i < n; i++)
        *image_toy_at(t, r, i) = (uint8_t)(layers[0].data[i] << 4 |
                                           (layers[1].bytes ? layers[1].data[i] : 8));
    return TSR_OK;
}

static tsr_error image_toy_pixels(void *self, tsri_image_put put, void *cookie,
                                  const tsr_progress *progress)
{
    image_toy *t = self;
    float *row = tsri_alloc(t->ctx, (size_t)t->width, 3 * sizeof *row);
    tsri_fmap map = { row, 3, 1, t->width, (size_t)t->width, (size_t)t->width };
    tsr_error error = row ? TSR_OK : TSR_E_NOMEM;

    (void)progress;
    for (int y = 0; !error && y < t->height; y++) {
        for (int i = 0; i < 3 * t->width; i++)
            row[i % 3 * t->width + i / 3] =
                (float)t->sample[3 * (size_t)y * (size_t)t->width + (size_t)i] / 255;
        error = put(cookie, (tsri_rect){ y, 0, y + 1, t->width }, &map);
    }
    tsri_free(t->ctx, row);
    return error;
}

static double image_toy_quality(const uint8_t *params)
{
    return params[0];
}

static const tsri_image_codec image_toy_codec = {
    .id = "toy", .number = IMAGE_TOY_NUMBER, .variable_rate = true, .params = 2,
    .layers = 2, .layer_name = { "high", "low" }, .open = image_toy_open,
    .close = image_toy_close, .choose = image_toy_choose,
    .begin = image_toy_begin, .encode = image_toy_encode,
    .decode = image_toy_decode, .pixels = image_toy_pixels,
    .quality = image_toy_quality
};

const tsri_image_codec *tsri_image_codec_by_id(const char *id)
{
    return strcmp(id, image_toy_codec.id) ? NULL : &image_toy_codec;
}

const tsri_image_codec *tsri_image_codec_by_number(int number)
{
    return number == IMAGE_TOY_NUMBER ? &image_toy_codec : NULL;
}

const char *tsr_image_codec_at(int i)
{
    return i ? NULL : image_toy_codec.id;
}
#endif

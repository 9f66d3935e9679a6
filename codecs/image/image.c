/* SPDX-License-Identifier: BSD-2-Clause */
/* Pixels to and from the codecs, and the public functions of pictures. */
#include <string.h>
#include "codecs/image/image.h"
#include "lib/cuda/device.h"

void tsr_image_settings_init(tsr_image_settings *settings)
{
    *settings = (tsr_image_settings){ .size = sizeof *settings,
                                      .quality = 50,
                                      .interleave = 1,
                                      .lossless_alpha = 1 };
}

tsr_error tsri_image_codec_of(tsr_context *ctx, const tsr_model *model,
                              const tsri_image_codec **codec)
{
    *codec = tsri_image_codec_by_id(tsr_model_codec(model));
    return *codec ? TSR_OK
                  : tsri_fail(ctx, TSR_E_MODEL, "%s: not a model of an image "
                              "codec", tsr_model_path(model));
}

bool tsri_has_alpha(int channels)
{
    return channels == 2 || channels == 4;
}

int tsri_coded_channels(int channels, bool alpha)
{
    return alpha ? channels : channels < 3 ? 1 : 3;
}

tsr_error tsri_report(const tsr_progress *progress, double done)
{
    if (!progress || !progress->report)
        return TSR_OK;
    return progress->report(progress->cookie, done) ? TSR_E_CANCELED : TSR_OK;
}

tsr_error tsri_image_tile(void *cookie, tsri_rect r, const tsri_fmap *tile)
{
    const tsri_image_out *o = cookie;
    tsri_fmap part = *tile;

    r.y1 = tsri_min(r.y1, o->height);
    r.x1 = tsri_min(r.x1, o->width);
    part.height = r.y1 - r.y0;
    part.width = r.x1 - r.x0;
    if (part.height > 0 && part.width > 0)
        TSR_TRY(o->put(o->cookie, r, &part));
    return tsri_report(o->progress, (double)r.y1 / o->height);
}

tsr_error tsri_geometry_check(tsr_context *ctx, int width, int height,
                              int channels, int bits)
{
    if (width < 1 || height < 1 || channels < 1 || channels > 4 ||
        (bits != 8 && bits != 16))
        return tsri_fail(ctx, TSR_E_ARG, "impossible picture: %dx%d, %d channels"
                         " of %d bits", width, height, channels, bits);
    if ((uint64_t)width * (uint64_t)height > ctx->max_pixels)
        return tsri_fail(ctx, TSR_E_LIMIT, "%dx%d is over the limit of %llu pixels",
                         width, height, (unsigned long long)ctx->max_pixels);
    return TSR_OK;
}

static tsr_error check_geometry(tsr_context *ctx, const tsr_image *image)
{
    return tsri_geometry_check(ctx, image->width, image->height, image->channels,
                               image->bits);
}

tsr_error tsr_image_alloc(tsr_context *ctx, tsr_image *image)
{
    image->data = NULL;
    TSR_TRY(check_geometry(ctx, image));
    image->stride = (size_t)image->width * (size_t)image->channels *
                    (size_t)image->bits / 8;
    image->data = tsri_alloc(ctx, (size_t)image->height, image->stride);
    return image->data ? TSR_OK : tsri_nomem(ctx);
}

void tsr_image_free(tsr_context *ctx, tsr_image *image)
{
    tsri_free(ctx, image->data);
    image->data = NULL;
}

tsr_error tsri_image_check(tsr_context *ctx, const tsr_image *image)
{
    TSR_TRY(check_geometry(ctx, image));
    if (!image->data || image->stride < (size_t)image->width *
                            (size_t)image->channels * (size_t)image->bits / 8)
        return tsri_fail(ctx, TSR_E_ARG, "a picture without pixels");
    return TSR_OK;
}

static void gather8(const tsr_image *image, int y, const int *xs, int n, int c,
                    float *dst)
{
    const uint8_t *row = (const uint8_t *)image->data + (size_t)y * image->stride;
    for (int j = 0; j < n; j++)
        dst[j] = (float)row[(size_t)xs[j] * (size_t)image->channels + (size_t)c] /
                 255.0f;
}

static void gather16(const tsr_image *image, int y, const int *xs, int n, int c,
                     float *dst)
{
    const uint8_t *row = (const uint8_t *)image->data + (size_t)y * image->stride;
    uint16_t v;
    for (int j = 0; j < n; j++) {
        memcpy(&v, row + 2 * ((size_t)xs[j] * (size_t)image->channels + (size_t)c),
               sizeof v);
        dst[j] = (float)v / 65535.0f;
    }
}

void tsri_image_gather(const tsr_image *image, const int *ys, const int *xs,
                       tsri_fmap *dst)
{
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < dst->height; i++) {
            float *row = dst->data + (size_t)c * dst->plane + (size_t)i * dst->row;
            const int from = image->channels < 3 ? 0 : c;
            (image->bits == 8 ? gather8 : gather16)(image, ys[i], xs, dst->width,
                                                    from, row);
        }
}

int tsri_image_reflect(int i, int n)
{
    const int period = 2 * (n - 1);
    if (period == 0)
        return 0;
    i = i % period + (i < 0 ? period : 0);
    i %= period;
    return i < n ? i : period - i;
}

int *tsri_image_padding(tsr_context *ctx, int n, int padded, int before)
{
    int *index = tsri_alloc(ctx, (size_t)padded, sizeof *index);
    for (int i = 0; index && i < padded; i++)
        index[i] = tsri_image_reflect(i - before, n);
    return index;
}

/* v in [0, 1] to a sample; NaN gives 0. */
static unsigned quantise(float v, unsigned top, bool truncates)
{
    if (!(v > 0))
        return 0;
    if (v >= 1)
        return top;
    return (unsigned)(truncates ? v * ((float)top + 0.999f)
                                : v * (float)top + 0.5f);
}

static void store(const tsr_image *image, int y, int x, int c, unsigned v)
{
    uint8_t *row = (uint8_t *)image->data + (size_t)y * image->stride;
    const size_t at = (size_t)x * (size_t)image->channels + (size_t)c;
    const uint16_t wide = (uint16_t)v;
    if (image->bits == 8)
        row[at] = (uint8_t)v;
    else
        memcpy(row + 2 * at, &wide, sizeof wide);
}

/* Rec. 601 luma: what grey was before it was repeated, and the nearest grey
 * where the codec left a tint. */
static float luma(const float *r, const float *g, const float *b)
{
    return 0.299f * *r + 0.587f * *g + 0.114f * *b;
}

tsr_error tsri_canvas_put(void *cookie, tsri_rect r, const tsri_fmap *rgb)
{
    const tsri_canvas *canvas = cookie;
    const tsr_image *image = canvas->image;
    const unsigned top = image->bits == 8 ? 255 : 65535;
    const bool floor8 = canvas->truncates && image->bits == 8;

    for (int y = r.y0; y < r.y1; y++)
        for (int x = r.x0; x < r.x1; x++) {
            const float *p = rgb->data + (size_t)(y - r.y0) * rgb->row + (x - r.x0);
            if (image->channels < 3) {
                const float v = luma(p, p + rgb->plane, p + 2 * rgb->plane);
                store(image, y, x, 0, quantise(v, top, floor8));
                continue;
            }
            for (int c = 0; c < 3; c++)
                store(image, y, x, c,
                      quantise(p[(size_t)c * rgb->plane], top, floor8));
        }
    return TSR_OK;
}

tsr_error tsri_image_on_host(tsr_context *ctx)
{
    return ctx->gpu && tsri_cuda_has_pixels(ctx->gpu)
        ? tsri_fail(ctx, TSR_E_LIMIT, "the picture cannot be done in device"
                    " memory alone: it is damaged, or over max_memory in one"
                    " piece") : TSR_OK;
}

tsr_error tsri_image_show(tsr_context *ctx, const tsri_image_codec *codec,
                          void *self, const tsr_image *image,
                          const tsr_progress *progress)
{
    tsri_canvas canvas = { image, codec->truncates };
    bool done = false;

    if (ctx->gpu && codec->show)
        TSR_TRY(codec->show(self, image, &done));
    if (done)
        return tsri_report(progress, 1);
    TSR_TRY(tsri_image_on_host(ctx));
    return codec->pixels(self, tsri_canvas_put, &canvas, progress);
}

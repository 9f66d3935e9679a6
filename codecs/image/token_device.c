/* SPDX-License-Identifier: BSD-2-Clause */
/* The token codecs where their nets run on a device: pixels go in and ids come
 * out, or the other way round, and nothing else crosses the bus. */
#include "codecs/image/token.h"
#include "lib/cuda/device.h"

static tsr_error need_book(tsri_token_codec *t, int level)
{
    if (t->on_device[level].words)
        return TSR_OK;
    return tsri_device_book_open(&t->on_device[level], t->ctx,
                                 tsri_token_book_words(t->book, level), 1,
                                 tsri_token_book_size(t->book, level),
                                 t->shape.dim);
}

static size_t places(const tsri_token_codec *t)
{
    return (size_t)t->grid.height * (size_t)t->grid.width;
}

/* Codes of n pictures, one behind the other, in device memory; to be given back. */
static tsr_error send_codes(tsri_token_codec *t, int n, int32_t *const *ids,
                            int32_t **codes)
{
    tsri_cuda *gpu = t->ctx->gpu;
    const size_t bytes = places(t) * sizeof **ids;
    tsr_error error = tsri_cuda_take(gpu, codes, (size_t)n * bytes);

    for (int i = 0; !error && i < n; i++)
        error = tsri_cuda_send(gpu, *codes + (size_t)i * places(t), ids[i], bytes);
    if (error)
        tsri_cuda_give(gpu, *codes);
    return error;
}

static tsr_error show_maps(tsri_token_codec *t, const tsri_net *net, int level,
                           const tsri_dmap *z, int32_t *const *ids,
                           const tsr_image *const *images)
{
    tsri_pixels pixels[TSRI_IMAGE_GROUP];
    const tsri_net_io in = { .map = z }, out = { .pixels = pixels };
    int32_t *codes;

    for (int i = 0; i < z->items; i++)
        pixels[i] = tsri_image_pixels(t->ctx, images[i], 1, 0);
    TSR_TRY(send_codes(t, z->items, ids, &codes));
    tsr_error error = tsri_device_book_decode(&t->on_device[level], codes, NULL, z);
    if (!error)
        error = tsri_net_run_io(net, z->items, z->height, z->width, &in, &out);
    tsri_cuda_give(t->ctx->gpu, codes);
    return error;
}

tsr_error tsri_token_show(tsri_token_codec *t, int n, int level,
                          int32_t *const *ids, const tsr_image *const *images,
                          bool *done)
{
    const tsri_net *net = t->net[TSRI_TOKEN_DECODER];
    tsri_dmap z;

    *done = tsri_net_fits(net, n, t->grid.height, t->grid.width);
    if (!*done)
        return TSR_OK;
    TSR_TRY(need_book(t, level));
    TSR_TRY(tsri_dmap_new(net, n, t->shape.dim, t->grid.height, t->grid.width, &z));
    const tsr_error error = show_maps(t, net, level, &z, ids, images);
    tsri_dmap_free(net, &z);
    return error;
}

static tsr_error look_at(tsri_token_codec *t, const tsri_net *net,
                         const tsri_dmap *z, const tsr_image *const *images,
                         int32_t *const *ids)
{
    const int f = t->shape.factor, n = z->items;
    tsri_cuda *gpu = t->ctx->gpu;
    tsri_pixels pixels[TSRI_IMAGE_GROUP];
    const tsri_net_io in = { .pixels = pixels }, out = { .map = z };
    const size_t bytes = places(t) * sizeof **ids;
    int32_t *codes;

    for (int i = 0; i < n; i++) {
        pixels[i] = tsri_image_pixels(t->ctx, images[i], 2, -1);
        pixels[i].reflect = true;
    }
    TSR_TRY(tsri_cuda_take(gpu, &codes, (size_t)n * bytes));
    tsr_error error = tsri_net_run_io(net, n, t->grid.height * f, t->grid.width * f,
                                      &in, &out);
    if (!error)
        error = tsri_device_book_encode(&t->on_device[0], z, codes);
    for (int i = 0; !error && i < n; i++)
        error = tsri_cuda_download(gpu, ids[i], codes + (size_t)i * places(t), bytes);
    tsri_cuda_give(gpu, codes);
    return error ? error : tsri_cuda_sync(gpu);
}

tsr_error tsri_token_look(tsri_token_codec *t, int n, const tsr_image *const *images,
                          int32_t *const *ids, bool *done)
{
    const tsri_net *net = t->net[TSRI_TOKEN_ENCODER];
    const int f = t->shape.factor;
    tsri_dmap z;

    *done = tsri_net_fits(net, n, t->grid.height * f, t->grid.width * f);
    if (!*done)
        return TSR_OK;
    TSR_TRY(need_book(t, 0));
    TSR_TRY(tsri_dmap_new(net, n, t->shape.dim, t->grid.height, t->grid.width, &z));
    const tsr_error error = look_at(t, net, &z, images, ids);
    tsri_dmap_free(net, &z);
    return error;
}

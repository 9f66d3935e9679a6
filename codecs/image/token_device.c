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

static tsr_error show_map(tsri_token_codec *t, const tsri_net *net,
                          const tsri_dmap *z, const tsr_image *image)
{
    const tsri_token_grid *g = &t->grid;
    const tsri_pixels pixels = tsri_image_pixels(t->ctx, image, 1, 0);
    const tsri_net_io in = { .map = z }, out = { .pixels = &pixels };
    int32_t *codes;

    TSR_TRY(tsri_device_codes(t->ctx, g->id, places(t), &codes));
    tsr_error error = tsri_device_book_decode(&t->on_device[t->level], codes,
                                              NULL, z);
    if (!error)
        error = tsri_net_run_io(net, g->height, g->width, &in, &out);
    tsri_cuda_give(t->ctx->gpu, codes);
    return error;
}

tsr_error tsri_token_show(tsri_token_codec *t, const tsr_image *image, bool *done)
{
    const tsri_net *net = t->net[TSRI_TOKEN_DECODER];
    tsri_dmap z;

    *done = tsri_net_fits(net, t->grid.height, t->grid.width);
    if (!*done)
        return TSR_OK;
    TSR_TRY(need_book(t, t->level));
    TSR_TRY(tsri_dmap_new(net, t->shape.dim, t->grid.height, t->grid.width, &z));
    const tsr_error error = show_map(t, net, &z, image);
    tsri_dmap_free(net, &z);
    return error;
}

static tsr_error look_at(tsri_token_codec *t, const tsri_net *net,
                         const tsri_dmap *z, const tsr_image *image)
{
    const int f = t->shape.factor;
    tsri_cuda *gpu = t->ctx->gpu;
    tsri_pixels pixels = tsri_image_pixels(t->ctx, image, 2, -1);
    const tsri_net_io in = { .pixels = &pixels }, out = { .map = z };
    const size_t bytes = places(t) * sizeof *t->grid.id;
    int32_t *codes;

    pixels.reflect = true;
    TSR_TRY(tsri_cuda_take(gpu, &codes, bytes));
    tsr_error error = tsri_net_run_io(net, t->grid.height * f, t->grid.width * f,
                                      &in, &out);
    if (!error)
        error = tsri_device_book_encode(&t->on_device[0], z, codes);
    if (!error)
        error = tsri_cuda_download(gpu, t->grid.id, codes, bytes);
    tsri_cuda_give(gpu, codes);
    return error ? error : tsri_cuda_sync(gpu);
}

tsr_error tsri_token_look(tsri_token_codec *t, const tsr_image *image, bool *done)
{
    const tsri_net *net = t->net[TSRI_TOKEN_ENCODER];
    const int f = t->shape.factor;
    tsri_dmap z;

    *done = tsri_net_fits(net, t->grid.height * f, t->grid.width * f);
    if (!*done)
        return TSR_OK;
    TSR_TRY(need_book(t, 0));
    TSR_TRY(tsri_dmap_new(net, t->shape.dim, t->grid.height, t->grid.width, &z));
    const tsr_error error = look_at(t, net, &z, image);
    tsri_dmap_free(net, &z);
    return error;
}

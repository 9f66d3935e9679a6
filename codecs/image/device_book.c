/* SPDX-License-Identifier: BSD-2-Clause */
#include "codecs/image/cuda/maps.h"
#include "codecs/image/device_book.h"
#include "vq/cuda/nearest_cuda.h"

typedef tsri_device_book book;

tsr_error tsri_device_book_open(book *b, tsr_context *ctx, const float *words,
                                int groups, int k, int dim)
{
    const size_t bytes = (size_t)groups * (size_t)k * (size_t)dim * sizeof *words;

    *b = (book){ ctx, groups, k, dim, NULL, NULL };
    TSR_TRY(tsri_cuda_alloc(ctx->gpu, &b->words, bytes, 1));
    tsr_error error = tsri_cuda_upload(ctx->gpu, b->words, words, bytes);
    if (!error)
        error = tsri_cuda_sync(ctx->gpu); /* the caller's may go */
    if (error)
        tsri_device_book_close(b);
    return error;
}

void tsri_device_book_close(book *b)
{
    if (b->words)
        tsri_cuda_free(b->ctx->gpu, b->words);
    if (b->prepared)
        tsri_cuda_free(b->ctx->gpu, b->prepared);
    *b = (book){ .ctx = NULL };
}

/* Bytes of one group's, so that the next begins aligned. */
static size_t prepared_bytes(const book *b)
{
    return (tsri_nearest_cuda_book_size(b->k, b->dim) + 255) / 256 * 256;
}

static tsr_error prepare(book *b)
{
    tsri_cuda *gpu = b->ctx->gpu;
    const size_t each = prepared_bytes(b);

    if (b->prepared)
        return TSR_OK;
    TSR_TRY(tsri_cuda_alloc(gpu, &b->prepared, each, (size_t)b->groups));
    for (int g = 0; g < b->groups; g++) {
        const tsr_error error = tsri_nearest_cuda_prepare(
            gpu, b->prepared + (size_t)g * each,
            b->words + (size_t)g * (size_t)b->k * (size_t)b->dim, b->k, b->dim);
        if (error) {
            tsri_cuda_free(gpu, b->prepared);
            b->prepared = NULL;
            return error;
        }
    }
    return TSR_OK;
}

static tsr_error search(book *b, const float *x, size_t n, void *work,
                        int32_t *codes)
{
    const size_t each = prepared_bytes(b);

    for (int g = 0; g < b->groups; g++)
        TSR_TRY(tsri_nearest_cuda_search(
            b->ctx->gpu, codes + (size_t)g * n, b->prepared + (size_t)g * each,
            b->k, b->dim, x + (size_t)g * n * (size_t)b->dim, n, work,
            TSRI_NEAREST_AUTO));
    return TSR_OK;
}

tsr_error tsri_device_book_encode(book *b, const tsri_dmap *z, int32_t *codes)
{
    tsri_cuda *gpu = b->ctx->gpu;
    const size_t n = (size_t)z->items * (size_t)z->height * (size_t)z->width;
    float *split = NULL;
    void *work;

    TSR_TRY(prepare(b));
    TSR_TRY(tsri_cuda_take(gpu, &work,
                           tsri_nearest_cuda_work_size(n, b->k, b->dim)));
    tsr_error error = TSR_OK;
    if (b->groups > 1)
        error = tsri_cuda_take(gpu, &split, n * (size_t)z->channels *
                                                sizeof *split);
    if (!error && split)
        error = tsri_maps_split(gpu, split, z->data, n, b->groups, b->dim);
    if (!error)
        error = search(b, split ? split : z->data, n, work, codes);
    tsri_cuda_give(gpu, split);
    tsri_cuda_give(gpu, work);
    return error;
}

tsr_error tsri_device_book_decode(const book *b, const int32_t *codes,
                                  const tsri_dmap *from, const tsri_dmap *to)
{
    const tsri_maps_words w = { b->words, codes,
                                (size_t)to->items * (size_t)to->height *
                                    (size_t)to->width,
                                b->groups, b->k, b->dim };
    return tsri_maps_words_of(b->ctx->gpu, to->data, from ? from->data : NULL,
                              &w);
}

tsr_error tsri_device_codes(tsr_context *ctx, const int32_t *codes, size_t count,
                            int32_t **mem)
{
    TSR_TRY(tsri_cuda_take(ctx->gpu, mem, count * sizeof *codes));
    const tsr_error error = tsri_cuda_send(ctx->gpu, *mem, codes,
                                           count * sizeof *codes);
    if (error)
        tsri_cuda_give(ctx->gpu, *mem);
    return error;
}

tsri_pixels tsri_image_pixels(const tsr_context *ctx, const tsr_image *image,
                              float scale, float offset)
{
    return (tsri_pixels){
        .data = image->data, .on_device = tsri_cuda_has_pixels(ctx->gpu),
        .width = image->width, .height = image->height,
        .channels = image->channels, .bits = image->bits,
        .stride = image->stride, .scale = scale, .offset = offset };
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Batches of pictures: lanes and groups give what one picture after the other gives,
 * to the bit, for all contexts of a process have the same kernels. */
#include "config.h"
#include "tests/cuda_image.h"

enum { N = 19 };

typedef struct batch {
    tsr_context *ctx;
    tsr_model *model;
    tsr_image image[N], out[N];
    mem_file file[N];
    size_t differ;              /* streams and pictures that are others alone */
} batch;

/* Whether two streams are the same; says how far apart their tokens are if not. */
static bool same_stream(batch *b, mem_file *one, mem_file *other)
{
    if (one->size == other->size && !memcmp(one->data, other->data, one->size))
        return true;
    gpu_tokens x = gpu_read(b->ctx, b->model, one);
    gpu_tokens y = gpu_read(b->ctx, b->model, other);
    printf("# %zu of %zu tokens differ\n", cuda_image_different(&x, &y), x.n);
    free(x.id);
    free(y.id);
    return false;
}

/* Whether a stream still becomes this picture of a batch. */
static bool same_picture(batch *b, int i)
{
    const tsr_image *want = &b->out[i];
    tsr_image got = token_decode(b->ctx, b->model, &b->file[i], TSR_OK);
    const size_t row = (size_t)(got.width * got.channels * got.bits / 8);
    bool same = want->data && got.width == want->width && got.height == want->height;

    for (int y = 0; same && y < got.height; y++)
        same = !memcmp((uint8_t *)got.data + (size_t)y * got.stride,
                       (uint8_t *)want->data + (size_t)y * want->stride, row);
    tsr_image_free(b->ctx, &got);
    return same;
}

static void check_encoding(batch *b)
{
    tsr_sink sink[N];
    tsr_error error[N];

    for (int i = 0; i < N; i++) {
        b->file[i] = (mem_file){ .data = NULL };
        sink[i] = token_sink(&b->file[i]);
    }
    assert_int_equal(tsr_image_encode_batch(b->ctx, b->model, NULL, N, b->image, sink,
                                            error), TSR_OK);
    for (int i = 0; i < N; i++) {
        mem_file alone = token_encode(b->ctx, b->model, NULL, &b->image[i]);
        b->differ += !same_stream(b, &alone, &b->file[i]);
        free(alone.data);
    }
}

/* One of the streams is cut off. */
static void check_decoding(batch *b, int cut)
{
    tsr_source source[N];
    tsr_error error[N];

    for (int i = 0; i < N; i++)
        source[i] = token_source(&b->file[i]);
    b->file[cut].size /= 2;
    const tsr_error first = tsr_image_decode_batch(b->ctx, b->model, NULL, N, source,
                                                   b->out, error);
    b->differ += first == TSR_OK || first != error[cut];
    for (int i = 0; i < N; i++) {
        b->differ += i != cut && (error[i] || !same_picture(b, i));
        tsr_image_free(b->ctx, &b->out[i]);
        free(b->file[i].data);
    }
}

/* Rounds of batches, before single pictures and after them. */
static void check(const char *device, const char *name,
                  tsr_model *(*open)(tsr_context *, const char *), int precision,
                  int side, int rounds)
{
    batch b = { .ctx = cuda_image_context(device, precision, 3) };

    assert_non_null(b.ctx);
    b.model = open(b.ctx, name);
    for (int i = 0; i < N; i++)
        b.image[i] = token_picture(side - i % 6 / 5 * 14, side * 2 / 3 - i % 6 / 5 * 11,
                                   3, 8);
    for (int i = 0; i < rounds; i++) {
        check_encoding(&b);
        check_decoding(&b, i + 2);
    }
    for (int i = 0; i < N; i++)
        free(b.image[i].data);
    verdict(!b.differ, "%s %s, %d pixels wide, in %d batches: %zu differ", name,
            precision_name[precision], side, rounds, b.differ);
    tsr_model_unref(&b.model);
    tsr_context_close(&b.ctx);
}

void cuda_image_batches(const char *device, const char *model)
{
    check(device, model, gpu_model, TSR_PRECISION_AUTO, 66, 1);
    check(device, model, gpu_model, TSR_PRECISION_F16, 66, 1);
}

/* Networks of the widths that are published. */
static tsr_model *wide_model(tsr_context *ctx, const char *name)
{
    const mcquic_sizes mcquic = { TSRI_IMAGE_WIDE, 2, 3, { 64, 32, 16 } };
    token_sizes vqgan = TOKEN_SIZES;

    if (!strcmp(name, "wide vqgan")) {
        vqgan.channels[0] = vqgan.channels[1] = TSRI_IMAGE_WIDE;
        vqgan.channels[2] = 2 * TSRI_IMAGE_WIDE;
        return token_open(ctx, &vqgan, 0);
    }
    check_tensors list = mcquic_model(&mcquic, 3);
    tsr_model *model = token_open_list(ctx, &list, SIZE_MAX,
                                       "\"tessera.codec\":\"mcquic\"");
    check_tensors_free(&list);
    return model;
}

void cuda_image_wide(const char *device)
{
    static const char *const wide[] = { "wide mcquic", "wide vqgan" };
    static const int precisions[] = { TSR_PRECISION_AUTO, TSR_PRECISION_F16 };

    for (int p = 0; p < 2; p++) {
        for (int k = 0; k < 2; k++)
            check(device, wide[k], wide_model, precisions[p], 768, 2);
        check(device, "mosaic", gpu_model, precisions[p], 768, 2);
    }
    for (int k = 0; k < 2; k++)
        check(device, wide[k], wide_model, TSR_PRECISION_F16, 66, 2);
}

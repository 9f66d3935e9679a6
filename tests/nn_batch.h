/* SPDX-License-Identifier: BSD-2-Clause */
/* Several inputs of a net at once on a device beside each of them alone. */
#ifndef TSR_TESTS_NN_BATCH_H
#define TSR_TESTS_NN_BATCH_H
#include <string.h>
#include "lib/cuda/device.h"
#include "lib/nn/net_internal.h"
#include "tests/check.h"

enum { BATCH = 3 };

typedef struct batch_net {
    const tsri_net *net;
    int h, w;                       /* of the input */
    size_t in, out;                 /* floats of an item */
} batch_net;

static inline void batch_copy(const tsri_net *net, void *to, const void *from,
                              size_t n, bool up)
{
    tsri_cuda *gpu = net->ctx->gpu;

    if (!gpu) {
        memcpy(to, from, n * sizeof(float));
        return;
    }
    assert_int_equal(up ? tsri_cuda_upload(gpu, to, from, n * sizeof(float))
                        : tsri_cuda_download(gpu, to, from, n * sizeof(float)),
                     TSR_OK);
    assert_int_equal(tsri_cuda_sync(gpu), TSR_OK);
}

/* `items` inputs that lie behind each other, `runs` times: the first is queued, the
 * second recorded, later ones are played. */
static inline void batch_run(const batch_net *b, int items, int runs,
                             const float *from, float *to)
{
    tsri_dmap in, out;
    int h, w;

    tsri_net_out_size(b->net, b->h, b->w, &h, &w);
    assert_int_equal(tsri_dmap_new(b->net, items, tsri_net_in_channels(b->net), b->h,
                                   b->w, &in), TSR_OK);
    assert_int_equal(tsri_dmap_new(b->net, items, tsri_net_out_channels(b->net), h, w,
                                   &out), TSR_OK);
    batch_copy(b->net, in.data, from, (size_t)items * b->in, true);
    for (int i = 0; i < runs; i++)
        assert_int_equal(tsri_net_run_io(b->net, items, b->h, b->w,
                                         &(tsri_net_io){ .map = &in },
                                         &(tsri_net_io){ .map = &out }), TSR_OK);
    batch_copy(b->net, to, out.data, (size_t)items * b->out, false);
    tsri_dmap_free(b->net, &in);
    tsri_dmap_free(b->net, &out);
}

/* Numbers that are others in the batch than alone.  Which of both is first, and so
 * chooses kernels, is the seed's matter. */
static inline size_t batch_differs(const tsri_net *net, int h, int w, uint64_t seed)
{
    batch_net b = { .net = net, .h = h, .w = w };
    check_rng rng = { seed + 1 };
    size_t differ = 0, live[BATCH] = { 0 };
    int oh, ow;

    tsri_net_out_size(net, h, w, &oh, &ow);
    b.in = (size_t)h * (size_t)w * (size_t)tsri_net_in_channels(net);
    b.out = (size_t)oh * (size_t)ow * (size_t)tsri_net_out_channels(net);
    float *in = malloc(BATCH * b.in * sizeof *in);
    float *all = malloc(BATCH * b.out * sizeof *all);
    float *one = malloc(BATCH * b.out * sizeof *one);
    assert_true(in && all && one);
    for (size_t i = 0; i < BATCH * b.in; i++)
        in[i] = check_float(&rng);
    if (seed % 2)
        batch_run(&b, BATCH, 3, in, all);
    for (size_t i = 0; i < BATCH; i++)
        batch_run(&b, 1, 2, in + i * b.in, one + i * b.out);
    if (seed % 2 == 0)
        batch_run(&b, BATCH, 3, in, all);
    for (size_t i = 0; i < BATCH * b.out; i++) {
        differ += memcmp(&all[i], &one[i], sizeof *all) != 0;
        live[i / b.out] += all[i] < 0 || all[i] > 0;
    }
    for (int i = 0; i < BATCH; i++)
        assert_true(live[i] > 0);
    assert_memory_not_equal(all, all + b.out, b.out * sizeof *all);
    free(in);
    free(all);
    free(one);
    return differ;
}
#endif

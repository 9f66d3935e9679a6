/* SPDX-License-Identifier: BSD-2-Clause */
/* Kernels that round differently are chosen by measuring; all contexts of a process
 * must go by one choice, or the lanes of a batch would find different tokens. */
#include "tests/cuda_nn.h"
#include <pthread.h>
#include "lib/cuda/device.h"
#include "lib/nn/cuda/nn_cuda.h"
#include "tests/nn_nets.h"

enum { LANES = 4, RUNS = 4, HEIGHT = 128, WIDTH = 192 };

typedef struct lane {
    pthread_t thread;
    tsr_precision precision;
    float *out;             /* of the first run */
    size_t floats;
    int differ;             /* runs that gave other bits */
    int chosen;             /* shapes that it had to choose kernels for */
} lane;

static void fill_map(const tsri_net *net, const tsri_dmap *map)
{
    const size_t n = 3 * (size_t)map->height * (size_t)map->width;
    float *v = malloc(n * sizeof *v);
    check_rng rng = { 11 };

    assert_non_null(v);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)check_below(&rng, 2001) * 1e-3f - 1;
    assert_int_equal(tsri_cuda_upload(net->ctx->gpu, map->data, v, n * sizeof *v),
                     TSR_OK);
    assert_int_equal(tsri_cuda_sync(net->ctx->gpu), TSR_OK);
    free(v);
}

static float *run_once(const tsri_net *net, const tsri_dmap *in,
                       const tsri_dmap *out, size_t n)
{
    float *v = malloc(n * sizeof *v);

    assert_non_null(v);
    assert_int_equal(tsri_net_run_io(net, 1, HEIGHT, WIDTH,
                                     &(tsri_net_io){ .map = in },
                                     &(tsri_net_io){ .map = out }), TSR_OK);
    assert_int_equal(tsri_cuda_download(net->ctx->gpu, v, out->data,
                                        n * sizeof *v), TSR_OK);
    assert_int_equal(tsri_cuda_sync(net->ctx->gpu), TSR_OK);
    return v;
}

/* The first run is queued, the second recorded, later ones are played. */
static void run_lane(lane *l, const tsri_net *net)
{
    tsri_dmap in, out;
    int h, w;

    tsri_net_out_size(net, HEIGHT, WIDTH, &h, &w);
    l->floats = (size_t)tsri_net_out_channels(net) * (size_t)h * (size_t)w;
    assert_int_equal(tsri_dmap_new(net, 1, 3, HEIGHT, WIDTH, &in), TSR_OK);
    assert_int_equal(tsri_dmap_new(net, 1, tsri_net_out_channels(net), h, w, &out),
                     TSR_OK);
    fill_map(net, &in);
    l->out = run_once(net, &in, &out, l->floats);
    for (int i = 1; i < RUNS; i++) {
        float *again = run_once(net, &in, &out, l->floats);
        l->differ += memcmp(again, l->out, l->floats * sizeof *again) != 0;
        free(again);
    }
    tsri_dmap_free(net, &in);
    tsri_dmap_free(net, &out);
}

static void *work(void *cookie)
{
    lane *l = cookie;
    tsr_context *ctx = cuda_nn_context(l->precision);
    tsri_net *net;

    assert_int_equal(tsri_net_new(&net, ctx, 3), TSR_OK);
    tsri_net_precision(net, TSRI_NET_ENCODER);
    assert_int_equal(tsri_net_finish(net, hyper_enc(net)), TSR_OK);
    run_lane(l, net);
    l->chosen = tsri_nn_cuda_chosen(ctx);
    tsri_net_free(&net);
    tsr_context_close(&ctx);
    return NULL;
}

static void check_same(tsr_precision precision)
{
    lane l[LANES + 1];
    int chosen = 0, live = 0;

    for (int i = 0; i <= LANES; i++)
        l[i] = (lane){ .precision = precision };
    for (int i = 0; i < LANES; i++)
        assert_int_equal(pthread_create(&l[i].thread, NULL, work, &l[i]), 0);
    for (int i = 0; i < LANES; i++)
        assert_int_equal(pthread_join(l[i].thread, NULL), 0);
    work(&l[LANES]);        /* and one that comes later */
    for (int i = 0; i <= LANES; i++) {
        assert_int_equal(l[i].differ, 0);
        assert_memory_equal(l[i].out, l[0].out, l[0].floats * sizeof *l[0].out);
        chosen += i < LANES ? l[i].chosen : 0;
    }
    for (size_t i = 0; i < l[0].floats; i++)
        live += l[0].out[i] < 0 || l[0].out[i] > 0;
    assert_true(live > 0 && chosen > 0);
    assert_int_equal(l[LANES].chosen, 0);
    for (int i = 0; i <= LANES; i++)
        free(l[i].out);
}

void cuda_nn_test_same(void **state)
{
    (void)state;
    nets_weights();
    check_same(TSR_PRECISION_F16);
    check_same(TSR_PRECISION_BF16);
    check_same(TSR_PRECISION_F32);
}

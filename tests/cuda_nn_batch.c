/* SPDX-License-Identifier: BSD-2-Clause */
/* Nets like the picture codecs' on several inputs at once give the bits that each
 * input gives alone, in every precision, whichever ran first. */
#include "tests/cuda_nn.h"
#include "tests/nn_batch.h"
#include "tests/nn_nets.h"

typedef struct net_case {
    const char *name;
    int channels, height, width;
    int (*build)(tsri_net *);
} net_case;

/* McQuic's up-sampling block with factors that have a root. */
static float factors[128 * 128];

static int mcquic_block(tsri_net *net)
{
    int y = conv(net, tsri_net_act(net, 0, TSRI_ACT_SILU), 128, 512, 3, 1,
                 TSRI_PAD_REFLECT);
    y = tsri_net_gdn(net, tsri_net_shuffle(net, y, 2), factors, factors, true);
    y = conv(net, y, 128, 128, 3, 1, TSRI_PAD_REFLECT);
    const int x = conv(net, 0, 128, 512, 3, 1, TSRI_PAD_REFLECT);
    return tsri_net_add(net, tsri_net_shuffle(net, x, 2), y);
}

static const net_case cases[] = {
    { "hyper encoder", 3, 64, 96, hyper_enc },
    { "hyper decoder", 192, 5, 7, hyper_dec },
    { "McQuic", 128, 24, 16, mcquic_block },
    { "VQGAN decoder", 8, 6, 9, vqgan_dec },
};

/* As of pictures of 768 x 512 pixels, where other kernels are the fastest. */
static const net_case large[] = {
    { "hyper encoder, large", 3, 512, 768, hyper_enc },
    { "hyper decoder, large", 192, 32, 48, hyper_dec },
    { "McQuic, large", 128, 128, 192, mcquic_block },
    { "VQGAN decoder, large", 8, 32, 48, vqgan_dec },
};

static void check_case(const net_case *c, tsr_precision precision, const char *name,
                       uint64_t seed)
{
    tsr_context *ctx = cuda_nn_context(precision);
    tsri_net *net;

    assert_int_equal(tsri_net_new(&net, ctx, c->channels), TSR_OK);
    tsri_net_precision(net, TSRI_NET_ENCODER);
    assert_int_equal(tsri_net_finish(net, c->build(net)), TSR_OK);
    const size_t differ = batch_differs(net, c->height, c->width, seed);
    printf("# %s, %s: %zu numbers differ in a batch\n", c->name, name, differ);
    assert_int_equal(differ, 0);
    tsri_net_free(&net);
    tsr_context_close(&ctx);
}

static const tsr_precision form[] = { TSR_PRECISION_F32, TSR_PRECISION_F16,
                                      TSR_PRECISION_BF16 };
static const char *const name[] = { "f32", "f16", "bf16" };

static void set_factors(void)
{
    nets_weights();
    for (size_t i = 0; i < 128 * 128; i++)
        factors[i] = weights[i] < 0 ? -weights[i] : weights[i];
}

void cuda_nn_test_batch(void **state)
{
    (void)state;
    set_factors();
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 4; i++)
            check_case(&cases[i], form[k], name[k], (uint64_t)(i + k));
}

void cuda_nn_test_large_batch(void **state)
{
    (void)state;
    set_factors();
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 4; i++)
            check_case(&large[i], form[k], name[k], (uint64_t)(i + k));
}

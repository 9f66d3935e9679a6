/* SPDX-License-Identifier: BSD-2-Clause */
/* Nets shaped like the image codecs', with weights that mean nothing, to measure
 * the time that they take.  nets_weights() first. */
#ifndef TSR_TESTS_NN_NETS_H
#define TSR_TESTS_NN_NETS_H
#include <stddef.h>
#include "lib/nn/net.h"

static float weights[512 * 512 * 9];

static inline int conv(tsri_net *net, int x, int in, int out, int kernel, int stride,
                       tsri_pad pad)
{
    return tsri_net_conv(net, x, &(tsri_conv){ in, out, kernel, stride, pad,
                                               weights, weights,
                                               TSRI_BOTH });
}

static inline int rb(tsri_net *net, int x, int c)
{
    int y = conv(net, x, c, c, 3, 1, TSRI_PAD_ZERO);
    y = conv(net, tsri_net_act(net, y, TSRI_ACT_SILU), c, c, 3, 1,
             TSRI_PAD_ZERO);
    return tsri_net_add(net, x, y);
}

static inline int hyper_enc(tsri_net *net)
{
    int x = conv(net, tsri_net_unshuffle(net, 0, 4), 48, 96, 3, 1,
                 TSRI_PAD_ZERO);
    x = conv(net, rb(net, x, 96), 96, 160, 3, 2, TSRI_PAD_ZERO);
    x = conv(net, rb(net, rb(net, x, 160), 160), 160, 224, 3, 2, TSRI_PAD_ZERO);
    return conv(net, rb(net, x, 224), 224, 192, 3, 1, TSRI_PAD_ZERO);
}

static inline int hyper_dec(tsri_net *net)
{
    int x = rb(net, conv(net, 0, 192, 224, 3, 1, TSRI_PAD_ZERO), 224);
    x = tsri_net_shuffle(net, conv(net, x, 224, 640, 1, 1, TSRI_PAD_ZERO), 2);
    x = rb(net, rb(net, rb(net, x, 160), 160), 160);
    x = tsri_net_shuffle(net, conv(net, x, 160, 384, 1, 1, TSRI_PAD_ZERO), 2);
    x = conv(net, rb(net, rb(net, x, 96), 96), 96, 48, 3, 1, TSRI_PAD_ZERO);
    return tsri_net_shuffle(net, x, 4);
}

/* McQuic's up-sampling block, reflect padding, at half the picture's side. */
static inline int mcquic_up(tsri_net *net)
{
    int y = conv(net, tsri_net_act(net, 0, TSRI_ACT_SILU), 128, 512, 3, 1,
                 TSRI_PAD_REFLECT);
    y = tsri_net_gdn(net, tsri_net_shuffle(net, y, 2), weights + 1, weights + 1,
                     true);
    y = conv(net, y, 128, 128, 3, 1, TSRI_PAD_REFLECT);
    const int x = conv(net, 0, 128, 512, 3, 1, TSRI_PAD_REFLECT);
    return tsri_net_add(net, tsri_net_shuffle(net, x, 2), y);
}

static inline int body(tsri_net *net)
{
    return rb(net, rb(net, rb(net, rb(net, 0, 96), 96), 96), 96);
}

/* VQGAN-LC's decoder, f = 16: 512, 256, 256, 128, 128 channels. */
static inline int swish_conv(tsri_net *net, int x, int in, int out)
{
    x = tsri_net_norm(net, x, &(tsri_norm){ 32, 1e-6f, weights, weights });
    return conv(net, tsri_net_act(net, x, TSRI_ACT_SILU), in, out, 3, 1,
                TSRI_PAD_ZERO);
}

static inline int block(tsri_net *net, int x, int in, int out)
{
    const int y = swish_conv(net, swish_conv(net, x, in, out), out, out);
    return tsri_net_add(net, in == out ? x :
                        conv(net, x, in, out, 1, 1, TSRI_PAD_ZERO), y);
}

static inline int attend(tsri_net *net, int x, int c)
{
    const int n = tsri_net_norm(net, x, &(tsri_norm){ 32, 1e-6f, weights,
                                                      weights });
    const int q = conv(net, n, c, c, 1, 1, TSRI_PAD_ZERO);
    const int k = conv(net, n, c, c, 1, 1, TSRI_PAD_ZERO);
    const int v = conv(net, n, c, c, 1, 1, TSRI_PAD_ZERO);
    return tsri_net_add(net, x, conv(net, tsri_net_attention(net, q, k, v), c,
                                     c, 1, 1, TSRI_PAD_ZERO));
}

static inline int vqgan_dec(tsri_net *net)
{
    static const int channels[] = { 512, 256, 256, 128, 128 };
    int x = conv(net, conv(net, 0, 8, 256, 1, 1, TSRI_PAD_ZERO), 256, 512, 3, 1,
                 TSRI_PAD_ZERO);
    int c = 512;

    x = block(net, attend(net, block(net, x, c, c), c), c, c);
    for (int level = 0; level < 5; level++) {
        if (level)
            x = conv(net, tsri_net_upsample(net, x), c, c, 3, 1, TSRI_PAD_ZERO);
        for (int i = 0; i < 3; i++, c = channels[level]) {
            x = block(net, x, c, channels[level]);
            if (!level)
                x = attend(net, x, c);
        }
    }
    return swish_conv(net, x, c, 3);
}

static inline int blocks(tsri_net *net)
{
    return block(net, block(net, 0, 128, 128), 128, 128);
}

static inline int attention(tsri_net *net)
{
    return tsri_net_attention(net, 0, 0, 0);
}

static inline void nets_weights(void)
{
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        weights[i] = (float)((i * 2654435761u >> 16) % 2001) * 2e-5f - 0.02f;
}
#endif

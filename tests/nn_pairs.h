/* SPDX-License-Identifier: BSD-2-Clause */
/* Nets of tests/nn_pair.h with nodes that see whole planes: single nodes, alone
 * and fused with neighbours, and nets like those of VQGAN. */
#ifndef TSR_TESTS_NN_PAIRS_H
#define TSR_TESTS_NN_PAIRS_H
#include "tests/nn_pair.h"

/* What the single nodes are put into: alone, and fused with neighbours. */
static int small(pair *t, int kind)
{
    const int c = t->map[0].c;
    int x = 0;

    switch (kind) {
    case 0: return pair_upsample(t, 0);
    case 1: return pair_conv(t, pair_upsample(t, 0), 9, 3, 1, TSRI_BOTH);
    case 2:
        x = pair_act(t, pair_upsample(t, pair_conv(t, 0, 8, 1, 1, TSRI_BOTH)),
                     TSRI_ACT_SILU);
        return pair_conv(t, x, 5, 3, 2, TSRI_END);
    case 3:
        x = pair_upsample(t, 0);
        return pair_sum(t, pair_conv(t, x, c, 3, 1, TSRI_BOTH), x);
    case 4: return pair_sum(t, pair_upsample(t, 0), pair_upsample(t, 0));
    case 5: return pair_conv(t, 0, 7, 3, 2, TSRI_END);
    case 6: return pair_conv(t, 0, 16, 3, 1, TSRI_END);
    case 7: return pair_conv(t, 0, 16, 1, 2, TSRI_END);
    case 8:
        x = pair_act(t, 0, TSRI_ACT_RELU);      /* read twice */
        return pair_sum(t, pair_conv(t, x, c, 3, 1, TSRI_BOTH), x);
    case 9: return pair_norm(t, 0, c / 2);
    case 10: return pair_norm(t, pair_conv(t, 0, c, 3, 1, TSRI_BOTH), c);
    case 11:
        x = pair_act(t, pair_norm(t, pair_conv(t, 0, 24, 3, 1, TSRI_BOTH), 2),
                     TSRI_ACT_SILU);
        return pair_conv(t, x, 3, 3, 1, TSRI_BOTH);
    case 12: return pair_act(t, pair_norm(t, 0, 1), TSRI_ACT_RELU);
    case 13:
        x = pair_norm(t, pair_upsample(t, 0), 2);
        return pair_sum(t, x, pair_conv(t, x, c, 3, 1, TSRI_BOTH));
    case 14: return pair_sum(t, pair_norm(t, 0, 2), pair_norm(t, 0, 1));
    default:
        x = pair_norm(t, 0, 2);
        return pair_norm(t, pair_act(t, x, TSRI_ACT_SILU), c);
    }
}

static int attend(pair *t, int x, int kind, int c)
{
    if (kind == 0)
        return pair_attention(t, x, x, x);
    if (kind == 1)
        return pair_attention(t, pair_conv(t, x, c, 1, 1, TSRI_BOTH), x, x);
    const int n = pair_norm(t, x, 2);
    const int q = pair_conv(t, n, c, 1, 1, TSRI_BOTH);
    const int k = pair_conv(t, n, c, 1, 1, TSRI_BOTH);
    const int v = pair_conv(t, n, c, 1, 1, TSRI_BOTH);
    const int a = pair_attention(t, q, k, v);
    return pair_sum(t, x, pair_conv(t, a, c, 1, 1, TSRI_BOTH));
}

/* ---- a net like that of VQGAN ---- */

static int swish_conv(pair *t, int x, int out, int groups)
{
    x = pair_act(t, pair_norm(t, x, groups), TSRI_ACT_SILU);
    return pair_conv(t, x, out, 3, 1, TSRI_BOTH);
}

static int block(pair *t, int x, int out)
{
    int y = swish_conv(t, x, out, 4);
    y = swish_conv(t, y, out, 4);
    if (t->map[x].c != out)
        x = pair_conv(t, x, out, 1, 1, TSRI_BOTH);
    return pair_sum(t, x, y);
}

static int encoder(pair *t)
{
    int x = pair_conv(t, 0, 8, 3, 1, TSRI_BOTH);
    x = pair_conv(t, block(t, x, 8), 8, 3, 2, TSRI_END);
    x = pair_conv(t, block(t, block(t, x, 12), 12), 12, 3, 2, TSRI_END);
    x = attend(t, block(t, x, 16), 2, 16);
    return swish_conv(t, block(t, x, 16), 4, 4);
}

static int decoder(pair *t)
{
    int x = pair_conv(t, 0, 16, 3, 1, TSRI_BOTH);
    x = block(t, attend(t, block(t, x, 16), 2, 16), 16);
    x = attend(t, block(t, x, 16), 2, 16);
    x = pair_conv(t, pair_upsample(t, x), 16, 3, 1, TSRI_BOTH);
    x = pair_conv(t, pair_upsample(t, block(t, x, 12)), 12, 3, 1, TSRI_BOTH);
    return swish_conv(t, block(t, block(t, x, 8), 8), 3, 4);
}

static inline void vqgan_open(pair *t, tsr_context *ctx, int kind, int h, int w)
{
    pair_open(t, ctx, kind ? 4 : 3, h, w, (uint64_t)(100 * h + w), 0, 1);
    t->exact = kind & 2 ? 64 : 16384;
    pair_finish(t, kind ? decoder(t) : encoder(t));
}
#endif

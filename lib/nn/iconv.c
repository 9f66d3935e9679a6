/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "lib/nn/iconv.h"

enum { B = TSRI_ICONV_BLOCK };

static tsr_error check(tsr_context *ctx, int out, int shift, const int32_t *weight,
                       size_t each, const int32_t *bias)
{
    if (shift < 1 || shift > 30)
        return tsri_fail(ctx, TSR_E_CORRUPT, "integer layer: shift %d", shift);
    for (int o = 0; o < out; o++) {
        int64_t sum = bias[o] < 0 ? -(int64_t)bias[o] : bias[o];
        for (size_t i = 0; i < each; i++) {
            const int32_t w = weight[(size_t)o * each + i];
            if (w < INT16_MIN || w > INT16_MAX)
                return tsri_fail(ctx, TSR_E_CORRUPT, "integer layer: weight %d", w);
            sum += (int64_t)TSRI_ICONV_LIMIT * (w < 0 ? -w : w);
        }
        if (sum + ((int64_t)1 << (shift - 1)) > INT32_MAX)
            return tsri_fail(ctx, TSR_E_CORRUPT, "integer layer: may overflow");
    }
    return TSR_OK;
}

/* Where weight (o, tap, i) of the map's channels stands. */
static size_t packed_at(const tsri_iconv *l, int o, int tap, int i)
{
    const size_t taps = (size_t)l->taps * (size_t)l->taps;
    const size_t block = (size_t)(o / B) * taps + (size_t)tap;
    return ((block * (size_t)(l->in / 2) + (size_t)(i / 2)) * B + (size_t)(o % B)) * 2 +
           (size_t)(i % 2);
}

int tsri_iconv_weight(const tsri_iconv *l, int o, int tap, int i)
{
    return l->weight[packed_at(l, o, tap, i)];
}

static void pack(tsri_iconv *l, const int32_t *weight, int in_weights,
                 const int32_t *bias, const int *from)
{
    const int taps = l->taps * l->taps;
    for (int o = 0; o < l->out; o++) {
        l->bias[o] = bias[o] + (1 << (l->shift - 1));
        for (int tap = 0; tap < taps; tap++)
            for (int i = 0; i < l->in; i++)
                if (from[i] >= 0)
                    l->weight[packed_at(l, o, tap, i)] = (int16_t)
                        weight[((size_t)o * (size_t)in_weights + (size_t)from[i]) *
                                   (size_t)taps + (size_t)tap];
    }
}

tsr_error tsri_iconv_open(tsri_iconv *l, tsr_context *ctx, int in, int out, int taps,
                          int shift, const int32_t *weight, int in_weights,
                          const int32_t *bias, const int *from)
{
    const size_t each = (size_t)in_weights * (size_t)(taps * taps);

    *l = (tsri_iconv){ .in = in, .out = out, .padded = (out + B - 1) / B * B,
                       .taps = taps, .shift = shift };
    TSR_TRY(check(ctx, out, shift, weight, each, bias));
    l->weight = tsri_calloc(ctx, (size_t)l->padded * (size_t)(taps * taps),
                            (size_t)in * sizeof *l->weight);
    l->bias = tsri_calloc(ctx, (size_t)l->padded, sizeof *l->bias);
    if (!l->weight || !l->bias) {
        tsri_iconv_close(l, ctx);
        return tsri_nomem(ctx);
    }
    pack(l, weight, in_weights, bias, from);
    return TSR_OK;
}

void tsri_iconv_close(tsri_iconv *l, tsr_context *ctx)
{
    tsri_free(ctx, l->weight);
    tsri_free(ctx, l->bias);
    l->weight = NULL;
    l->bias = NULL;
}

/* One position, one block of output channels. */
static void plain_block(const tsri_iconv *l, int block, const int16_t *at,
                        size_t stride, size_t row, int32_t *out)
{
    const int16_t *w = l->weight + packed_at(l, block * B, 0, 0);
    int32_t sum[B];

    memcpy(sum, l->bias + block * B, sizeof sum);
    for (int y = 0; y < l->taps; y++)
        for (int x = 0; x < l->taps; x++) {
            const int16_t *a = at + (size_t)y * row + (size_t)x * stride;
            for (int i = 0; i < l->in; i += 2, w += 2 * B)
                for (int o = 0; o < B; o++)
                    sum[o] += w[2 * o] * a[i] + w[2 * o + 1] * a[i + 1];
        }
    for (int o = 0; o < B; o++)
        out[o] = sum[o] >> l->shift;
}

void tsri_iconv_plain(const tsri_iconv *l, const int16_t *const *at, int n,
                      size_t stride, size_t row, int32_t *out)
{
    for (int block = 0; block < l->padded / B; block++)
        for (int i = 0; i < n; i++)
            plain_block(l, block, at[i], stride, row,
                        out + (size_t)i * (size_t)l->padded + (size_t)block * B);
}

tsri_iconv_fn *tsri_iconv_pick(unsigned cpu)
{
    tsri_iconv_fn *avx2 = cpu & TSR_CPU_AVX2 ? tsri_iconv_avx2() : NULL;
    return avx2 ? avx2 : tsri_iconv_plain;
}

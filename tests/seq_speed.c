/* SPDX-License-Identifier: BSD-2-Clause */
/* Speed of the one-dimensional kernels on the layers of EnCodec and HiFi-Codec:
 * make tests/seq_speed && tests/seq_speed [passes [c]]. */
#include "config.h"
#include "tests/seq_shapes.h"

static double lstm(tsr_context *ctx, const tsri_seq_kernels *k, int passes, bool half)
{
    enum { H = 512, N = 8 };
    float *w = noise(4 * H * H, 0.06f), *gates = noise(4 * H * N, 1);
    float state[2 * H] = { 0 }, *y = noise(H * N, 1);
    double best = 1e30;
    tsri_lstm l;

    for (int i = 0; half && i < 4 * H * H; i++)
        w[i] = (float)(int)(w[i] * 8192) / 8192;
    if (tsri_lstm_open(&l, ctx, H, H, w, w, w, w))
        exit(1);
    for (int i = 0; i < passes; i++) {
        const double start = now();
        k->lstm(&l, gates, N, state, y, H);
        const double used = (now() - start) / N;
        best = used < best ? used : best;
    }
    tsri_lstm_close(&l, ctx);
    free(w); free(gates); free(y);
    return best;
}

static double curve(const tsri_seq_kernels *k, tsri_curve which, int passes)
{
    enum { N = 512, C = 32 };
    float *x = noise(N * C, 4), *y = noise(N * C, 1), *alpha = noise(C, 1);
    double best = 1e30;

    for (int i = 0; i < passes; i++) {
        const double start = now();
        k->curve(which, 0.1f, alpha, x, N, C, y);
        const double used = now() - start;
        best = used < best ? used : best;
    }
    free(x); free(y); free(alpha);
    return best / (N * C);
}

int main(int argc, char **argv)
{
    static const char *const curves[] = { "copy", "elu", "leaky", "snake", "tanh" };
    const int passes = argc > 1 ? atoi(argv[1]) : 100;
    const tsri_seq_kernels *k;
    tsr_context *ctx;

    if (tsr_context_open(&ctx, NULL))
        return 1;
    k = argc > 2 ? tsri_seq_kernels_plain() : tsri_seq_kernels_pick(ctx->cpu);
    printf("variant %s; GMAC/s\n", k->name);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const shape *s = &shapes[i];
        printf("%-20s %4d -> %-4d k%-2d s%d d%d n %-5d %7.1f\n", s->name, s->in, s->out,
               s->taps, s->stride, s->dilation, s->n, conv(ctx, k, s, passes));
    }
    printf("LSTM of 512: %.1f us a step, weights in halves %.1f us\n",
           lstm(ctx, k, passes, false) * 1e6, lstm(ctx, k, passes, true) * 1e6);
    for (int i = TSRI_CURVE_NONE; i <= TSRI_CURVE_TANH; i++)
        printf("%-6s %.3f ns a value\n", curves[i],
               curve(k, (tsri_curve)i, passes) * 1e9);
    tsr_context_close(&ctx);
    return 0;
}

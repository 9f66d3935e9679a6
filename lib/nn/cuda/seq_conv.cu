/* SPDX-License-Identifier: BSD-2-Clause */
/* Convolutions over time in floats. */
#include "lib/nn/cuda/seq_conv.cuh"

namespace {

/* A thread has TM x TN sums. */
template <int BM, int BN, int TM, int TN, int V, int AHEAD>
__global__ void __launch_bounds__(THREADS) conv_float(sqk_conv c)
{
    constexpr int BK = 16, PITCH = BM + 4;
    constexpr int ACROSS = BN / TN, B_STEP = THREADS * 4 / BN;
    constexpr int B_COUNT = (BK + B_STEP - 1) / B_STEP;
    constexpr int SPAN = BN + 4, FRONT = 2 * BK * PITCH, TILES = FRONT + 2 * BK * BN;
    __shared__ alignas(16) float memory[TILES > BM * SPAN ? TILES : BM * SPAN];
    float (*const a)[BK][PITCH] = reinterpret_cast<float (*)[BK][PITCH]>(memory);
    float (*const b)[BK][BN] = reinterpret_cast<float (*)[BK][BN]>(memory + FRONT);
    const int first = blockIdx.x * BM, column = blockIdx.y * BN;
    const int steps = (c.taps * c.in + BK - 1) / BK;
    const int wide = (c.out + SQK_CONV_OUT - 1) / SQK_CONV_OUT * SQK_CONV_OUT;
    const int b_row = threadIdx.x * 4 / BN, b_at = threadIdx.x * 4 % BN;
    const int down = threadIdx.x / ACROSS * TM, across = threadIdx.x % ACROSS * TN;
    const float *w = static_cast<const float *>(c.weight) + column + b_at;
    reader<float, BM, BK, V> r(c, first);
    pack<float, V> rows[AHEAD][r.COUNT];
    pack<float, 4> next[AHEAD][B_COUNT];
    float sum[TM][TN] = {};

    auto read = [&](int slot, int step) {
        r.read(c, rows[slot]);
#pragma unroll
        for (int i = 0; i < B_COUNT; i++)
            if (b_row + i * B_STEP < BK)
                next[slot][i] = *reinterpret_cast<const pack<float, 4> *>(
                    w + (size_t)(step * BK + b_row + i * B_STEP) * wide);
    };
    auto keep = [&](int half, int slot) {
        const int k = threadIdx.x % (BK / V) * V;
#pragma unroll
        for (int i = 0; i < r.COUNT; i++)
#pragma unroll
            for (int v = 0; v < V; v++)
                a[half][k + v][r.row + i * r.STEP] = rows[slot][i].v[v];
#pragma unroll
        for (int i = 0; i < B_COUNT; i++)
            if (b_row + i * B_STEP < BK)
                *reinterpret_cast<pack<float, 4> *>(
                    &b[half][b_row + i * B_STEP][b_at]) = next[slot][i];
    };
    auto multiply_half = [&](int half) {
#pragma unroll
        for (int k = 0; k < BK; k++) {
            float x[TM], y[TN];
#pragma unroll
            for (int i = 0; i < TM; i++)
                x[i] = a[half][k][down + i];
#pragma unroll
            for (int i = 0; i < TN; i++)
                y[i] = b[half][k][across + i];
#pragma unroll
            for (int i = 0; i < TM; i++)
#pragma unroll
                for (int j = 0; j < TN; j++)
                    sum[i][j] += x[i] * y[j];
        }
    };

    pipeline<AHEAD>(steps, read, keep, multiply_half);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < TM; i++)
#pragma unroll
        for (int j = 0; j < TN; j += 2)
            *reinterpret_cast<float2 *>(memory + (down + i) * SPAN + across + j) =
                make_float2(sum[i][j], sum[i][j + 1]);
    __syncthreads();
    put_tile<float, BM, BN, SPAN, 4>(c, first, column, memory);
}

template <int V> void run_float(const sqk_conv &c, cudaStream_t stream)
{
    if (c.out <= 16)
        conv_float<256, 16, 8, 2, V, 1><<<grid_of(c, 256, 16), THREADS, 0, stream>>>(c);
    else if (V == 4 && enough(c, 128, 64))
        conv_float<128, 64, 8, 4, 4, 1><<<grid_of(c, 128, 64), THREADS, 0, stream>>>(c);
    else if (tiles(c, 64, 32) >= MANY)
        conv_float<64, 32, 4, 2, V, 1><<<grid_of(c, 64, 32), THREADS, 0, stream>>>(c);
    else
        conv_float<64, 32, 4, 2, V, 4><<<grid_of(c, 64, 32), THREADS, 0, stream>>>(c);
}

/* Whether outputs cannot be written `together` at a time. */
bool is_loose(sqk_type type, const sqk_conv &c, int together)
{
    const uintptr_t at = reinterpret_cast<uintptr_t>(c.y) |
                         reinterpret_cast<uintptr_t>(c.add);
    return c.out % together || at % (together * (type == SQK_F32 ? 4 : 2));
}

}

cudaError_t sqk_conv_run(sqk_type type, const sqk_conv *conv, cudaStream_t stream)
{
    sqk_conv c = *conv;

    c.loose = is_loose(type, c, type == SQK_F32 ? 4 : 2);
    if (type != SQK_F32 && c.in % 8 == 0 && !is_loose(type, c, 8))
        return sqk_conv_half_run(type, &c, stream);
    if (type != SQK_F32)
        return sqk_conv_odd_run(type, &c, stream);
    if (c.in % 4 == 0)
        run_float<4>(c, stream);
    else
        run_float<1>(c, stream);
    return cudaGetLastError();
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Convolutions over time in 16 bits, on tensor cores, of any number of channels. */
#include "lib/nn/cuda/multiply.cuh"
#include "lib/nn/cuda/seq_conv.cuh"

namespace {

/* Eight warps, DOWN of them one below the other; a warp has WM x WN. */
template <typename T, int BM, int BN, int DOWN, int V, int AHEAD>
__global__ void __launch_bounds__(THREADS) conv_half(sqk_conv c)
{
    constexpr int WM = BM / DOWN, WN = BN / (8 / DOWN);
    constexpr int MS = WM / 16, NS = WN / 8;
    constexpr int B_STEP = THREADS * 8 / BK<T>, B_COUNT = (BN + B_STEP - 1) / B_STEP;
    __shared__ alignas(16) T a[2][BM][PITCH<T>];
    __shared__ alignas(16) T b[2][BN][PITCH<T>];
    const int first = blockIdx.x * BM, column = blockIdx.y * BN;
    const int depth = (c.taps * c.in + SQK_CONV_K - 1) / SQK_CONV_K * SQK_CONV_K;
    const int steps = depth / BK<T>;
    const int b_row = threadIdx.x / (BK<T> / 8), b_at = threadIdx.x % (BK<T> / 8) * 8;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int down = warp % DOWN * WM, across = warp / DOWN * WN;
    const T *w = static_cast<const T *>(c.weight) + (size_t)column * depth + b_at;
    reader<T, BM, BK<T>, V> r(c, first);
    pack<T, V> rows[AHEAD][r.COUNT];
    pack<T, 8> next[AHEAD][B_COUNT];
    float sum[MS][NS][4] = {};

    auto read = [&](int slot, int step) {
        r.read(c, rows[slot]);
#pragma unroll
        for (int i = 0; i < B_COUNT; i++)
            if (b_row + i * B_STEP < BN)
                next[slot][i] = *reinterpret_cast<const pack<T, 8> *>(
                    w + (size_t)(b_row + i * B_STEP) * depth + step * BK<T>);
    };
    auto keep = [&](int half, int slot) {
        const int k = threadIdx.x % (BK<T> / V) * V;
#pragma unroll
        for (int i = 0; i < r.COUNT; i++)
            *reinterpret_cast<pack<T, V> *>(&a[half][r.row + i * r.STEP][k]) =
                rows[slot][i];
#pragma unroll
        for (int i = 0; i < B_COUNT; i++)
            if (b_row + i * B_STEP < BN)
                *reinterpret_cast<pack<T, 8> *>(&b[half][b_row + i * B_STEP][b_at]) =
                    next[slot][i];
    };
    auto multiply_half = [&](int half) {
        multiply_step<MS, NS>(sum, a[half][down], b[half][across]);
    };

    pipeline<AHEAD>(steps, read, keep, multiply_half);
#pragma unroll
    for (int i = 0; i < MS; i++)
#pragma unroll
        for (int j = 0; j < NS; j++) {
            const int m = first + down + i * 16 + lane / 4;
            const int o = column + across + j * 8 + lane % 4 * 2;
            put<T, 2>(c, m, o, sum[i][j]);
            put<T, 2>(c, m + 8, o, sum[i][j] + 2);
        }
}

template <typename T> void run(const sqk_conv &c, cudaStream_t stream)
{
    if (c.in % 4)
        conv_half<T, 128, 32, 8, 1, 1><<<grid_of(c, 128, 32), THREADS, 0, stream>>>(c);
    else if (c.in % 8)
        conv_half<T, 128, 32, 8, 4, 1><<<grid_of(c, 128, 32), THREADS, 0, stream>>>(c);
    else if (c.out <= 16)
        conv_half<T, 128, 16, 8, 8, 1><<<grid_of(c, 128, 16), THREADS, 0, stream>>>(c);
    else
        conv_half<T, 64, 32, 4, 8, 4><<<grid_of(c, 64, 32), THREADS, 0, stream>>>(c);
}

}

cudaError_t sqk_conv_odd_run(sqk_type type, const sqk_conv *c, cudaStream_t stream)
{
    if (type == SQK_F16)
        run<__half>(*c, stream);
    else
        run<__nv_bfloat16>(*c, stream);
    return cudaGetLastError();
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Convolutions over time in 16 bits, on tensor cores, of channels that come and go
 * in pieces of 16 bytes.  These go from memory to shared memory by themselves, some
 * steps of k ahead. */
#include "lib/nn/cuda/multiply.cuh"
#include "lib/nn/cuda/seq_conv.cuh"

namespace {

/* Of a tile's rows and columns, the pieces that a thread fetches: always the same
 * ones of k. */
template <typename T, int BM, int BN, int TEAM> struct fetcher {
    static constexpr int STEP = TEAM * PIECE<T> / BK<T>;
    static constexpr int ROWS = BM / STEP, COLUMNS = (BN + STEP - 1) / STEP;
    int channel, tap, line, first, left;
    const T *weight;        /* of the thread's first column */
    int depth;

    __device__ fetcher(const sqk_conv &c, int first_row, int column)
    {
        const int k = threadIdx.x % (BK<T> / PIECE<T>) * PIECE<T>;
        const int wide = (c.out + SQK_CONV_OUT - 1) / SQK_CONV_OUT * SQK_CONV_OUT;
        line = threadIdx.x / (BK<T> / PIECE<T>);
        channel = k % c.in;
        tap = k / c.in;
        first = first_row + line;
        left = wide - column - line;
        depth = (c.taps * c.in + SQK_CONV_K - 1) / SQK_CONV_K * SQK_CONV_K;
        weight = static_cast<const T *>(c.weight) + (size_t)(column + line) * depth +
                 k;
    }

    /* The next step of k: to rows and, behind them, columns of PITCH numbers. */
    __device__ void fetch(const sqk_conv &c, T *to)
    {
        const T *x = static_cast<const T *>(c.x) + channel;
        T *at = to + line * PITCH<T> + threadIdx.x % (BK<T> / PIECE<T>) * PIECE<T>;
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const int m = first + i * STEP;
            int from = -1;
            if (tap < c.taps && m < c.rows)
                from = source(c, c.first + m * c.stride + tap * c.dilation);
            fetch_16(at + i * STEP * PITCH<T>, x + (size_t)max(from, 0) * c.in,
                     from >= 0);
        }
#pragma unroll
        for (int i = 0; i < COLUMNS; i++)
            if (BN % STEP == 0 || line + i * STEP < BN) {
                const bool real = i * STEP < left;
                fetch_16(at + (BM + i * STEP) * PITCH<T>,
                         weight + (real ? (size_t)i * STEP * depth : 0), real);
            }
        weight += BK<T>;
        channel += BK<T>;
        while (channel >= c.in) {
            channel -= c.in;
            tap++;
        }
    }
};

/* DOWN warps one below the other, ACROSS beside each other. */
template <typename T, int BM, int BN, int DOWN, int ACROSS, int STAGES>
__global__ void __launch_bounds__(32 * DOWN * ACROSS) conv_half(sqk_conv c)
{
    constexpr int WM = BM / DOWN, WN = BN / ACROSS, MS = WM / 16, NS = WN / 8;
    constexpr int STAGE = (BM + BN) * PITCH<T>;
    constexpr int SPAN = BN + 8;    /* no two rows of 4 sums share banks */
    static_assert(BM * SPAN * 4 <= STAGES * STAGE * 2, "sums do not fit");
    extern __shared__ __align__(16) unsigned char memory[];
    T *const tile = reinterpret_cast<T *>(memory);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int down = warp % DOWN * WM, across = warp / DOWN * WN;
    const int first = blockIdx.x * BM, column = blockIdx.y * BN;
    fetcher<T, BM, BN, 32 * DOWN * ACROSS> f(c, first, column);
    const int steps = f.depth / BK<T>;
    float sum[MS][NS][4] = {};

    for (int i = 0; i < STAGES - 1; i++) {
        if (i < steps)
            f.fetch(c, tile + i * STAGE);
        fetch_close();
    }
    for (int step = 0; step < steps; step++) {
        const int ahead = step + STAGES - 1;
        const T *a = tile + step % STAGES * STAGE;
        fetch_wait<STAGES - 2>();
        __syncthreads();
        if (ahead < steps)
            f.fetch(c, tile + ahead % STAGES * STAGE);
        fetch_close();
        multiply_step<MS, NS>(sum, a + down * PITCH<T>, a + (BM + across) * PITCH<T>);
    }
    float *const sums = reinterpret_cast<float *>(memory);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < MS; i++)
#pragma unroll
        for (int j = 0; j < NS; j++)
#pragma unroll
            for (int k = 0; k < 4; k += 2) {
                float *at = sums + (down + i * 16 + k * 4 + lane / 4) * SPAN + across +
                            j * 8 + lane % 4 * 2;
                *reinterpret_cast<float2 *>(at) =
                    make_float2(sum[i][j][k], sum[i][j][k + 1]);
            }
    __syncthreads();
    put_tile<T, BM, BN, SPAN, PIECE<T>>(c, first, column, sums);
}

template <typename T, int BM, int BN, int DOWN, int ACROSS, int STAGES>
cudaError_t run_tiles(const sqk_conv &c, cudaStream_t stream)
{
    const auto kernel = conv_half<T, BM, BN, DOWN, ACROSS, STAGES>;
    const int bytes = STAGES * (BM + BN) * PITCH<T> * (int)sizeof(T);
    const cudaError_t status = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);

    if (status)
        return status;
    kernel<<<grid_of(c, BM, BN), 32 * DOWN * ACROSS, bytes, stream>>>(c);
    return cudaGetLastError();
}

/* The largest tiles that are many enough. */
template <typename T> cudaError_t run(const sqk_conv &c, cudaStream_t stream)
{
    if (c.out <= 32 && enough(c, 256, 32))
        return c.out <= 16 ? run_tiles<T, 256, 16, 8, 1, 4>(c, stream) :
                             run_tiles<T, 256, 32, 8, 1, 3>(c, stream);
    if (c.out % 128 == 0 && enough(c, 128, 128))
        return run_tiles<T, 128, 128, 2, 4, 4>(c, stream);
    if (c.out > 32 && enough(c, 128, 64))
        return run_tiles<T, 128, 64, 4, 2, 4>(c, stream);
    if (c.out > 32 && enough(c, 64, 64))
        return run_tiles<T, 64, 64, 2, 2, 4>(c, stream);
    return c.out > 32 ? run_tiles<T, 32, 64, 2, 2, 6>(c, stream) :
                        run_tiles<T, 64, 32, 2, 2, 6>(c, stream);
}

}

cudaError_t sqk_conv_half_run(sqk_type type, const sqk_conv *c, cudaStream_t stream)
{
    return type == SQK_F16 ? run<__half>(*c, stream) :
           run<__nv_bfloat16>(*c, stream);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Convolutions of floats, for those that cuDNN only does well with tensor cores.
 *
 * A convolution is a product of matrices whose left one is never made: a row is the
 * place of an output, a column an output channel, and k runs over the taps and their
 * channels, as they lie in the weights.  A block makes BM x BN outputs from BK of k
 * at a time; the next ones are read while these are multiplied.  A sum's order
 * depends on the layer alone. */
#include <limits.h>
#include "lib/nn/cuda/steps.cuh"

namespace {

constexpr int BN = 32, BK = 16, TN = 4, TEAM = 128;     /* TEAM: threads */
constexpr int QUADS = BK / 4, ACROSS = BN / TN;

/* A thread reads four neighbouring channels of COUNT places. */
template <int BM> struct reader {
    static constexpr int STEP = TEAM / QUADS, COUNT = BM / STEP;
    float4 piece[COUNT];
    int y[COUNT], x[COUNT];         /* where the first tap is */
    int channel, dy, dx;

    __device__ reader(const nnk_conv &c, int first)
    {
        const int k = threadIdx.x % QUADS * 4, tap = k / c.in;
        channel = k % c.in;
        dy = tap / c.kernel;
        dx = tap % c.kernel;
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            const int m = first + static_cast<int>(threadIdx.x) / QUADS + i * STEP;
            const int row = m / c.cols;
            /* No tap of a row beyond the last is inside. */
            y[i] = row < c.rows ? row * c.stride - c.top : INT_MIN / 2;
            x[i] = (m - row * c.cols) * c.stride - c.left;
        }
    }

    __device__ void read(const nnk_conv &c)
    {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            const int at_y = y[i] + dy, at_x = x[i] + dx;
            piece[i] = make_float4(0, 0, 0, 0);
            if (dy < c.kernel && static_cast<unsigned>(at_y) < c.height &&
                static_cast<unsigned>(at_x) < c.width)
                piece[i] = *reinterpret_cast<const float4 *>(
                    static_cast<const float *>(c.x) + at_y * c.row +
                    static_cast<int64_t>(at_x) * c.in + channel);
        }
        channel += BK;
        while (channel >= c.in) {
            channel -= c.in;
            if (++dx == c.kernel) {
                dx = 0;
                dy++;
            }
        }
    }
};

/* Column `at` of four rows. */
template <int PITCH>
__device__ void scatter(float (*to)[PITCH], int at, const float4 &v)
{
    to[0][at] = v.x;
    to[1][at] = v.y;
    to[2][at] = v.z;
    to[3][at] = v.w;
}

/* Sums of neighbouring outputs o.. of place m. */
__device__ void put(const nnk_conv &c, int m, int o, const float *sum)
{
    const size_t place = static_cast<size_t>(m) * c.out + o;
    const float4 b = *reinterpret_cast<const float4 *>(c.bias + o);
    float4 a = make_float4(0, 0, 0, 0);

    if (c.add)
        a = *reinterpret_cast<const float4 *>(
            static_cast<const float *>(c.add) + place);
    *reinterpret_cast<float4 *>(static_cast<float *>(c.y) + place) = make_float4(
        pre_of<float>(c.act, sum[0] + b.x) + a.x,
        pre_of<float>(c.act, sum[1] + b.y) + a.y,
        pre_of<float>(c.act, sum[2] + b.z) + a.z,
        pre_of<float>(c.act, sum[3] + b.w) + a.w);
}

/* A thread makes TM x TN. */
template <int BM>
__global__ void __launch_bounds__(TEAM) convolve(nnk_conv c)
{
    constexpr int TM = BM * BN / TEAM / TN;
    __shared__ alignas(16) float a[2][BK][BM + 4], b[2][BK][BN + 4];
    const int depth = c.kernel * c.kernel * c.in, steps = (depth + BK - 1) / BK;
    const int first = blockIdx.x * BM, column = blockIdx.y * BN;
    const int quad = threadIdx.x % QUADS * 4, own = threadIdx.x / QUADS;
    const int down = threadIdx.x / ACROSS * TM, across = threadIdx.x % ACROSS * TN;
    const bool weighs = column + own < c.out;
    const float *weight = static_cast<const float *>(c.weight) +
                          static_cast<size_t>(column + own) * depth + quad;
    reader<BM> r(c, first);
    float4 next;
    float sum[TM][TN] = {};

    auto read = [&](int step) {
        r.read(c);
        next = make_float4(0, 0, 0, 0);
        if (weighs && step * BK + quad < depth)
            next = *reinterpret_cast<const float4 *>(weight + step * BK);
    };
    auto keep = [&](int half) {
#pragma unroll
        for (int i = 0; i < r.COUNT; i++)
            scatter(&a[half][quad], own + i * r.STEP, r.piece[i]);
        scatter(&b[half][quad], own, next);
    };

    read(0);
    keep(0);
    __syncthreads();
    for (int step = 0; step < steps; step++) {
        const int half = step % 2;
        if (step + 1 < steps)
            read(step + 1);
#pragma unroll
        for (int k = 0; k < BK; k++) {
            alignas(16) float left[TM], right[TN];
#pragma unroll
            for (int i = 0; i < TM; i += 4)
                *reinterpret_cast<float4 *>(&left[i]) =
                    *reinterpret_cast<const float4 *>(&a[half][k][down + i]);
            *reinterpret_cast<float4 *>(right) =
                *reinterpret_cast<const float4 *>(&b[half][k][across]);
#pragma unroll
            for (int i = 0; i < TM; i++)
#pragma unroll
                for (int j = 0; j < TN; j++)
                    sum[i][j] += left[i] * right[j];
        }
        if (step + 1 < steps)
            keep(1 - half);
        __syncthreads();
    }
    if (column + across >= c.out)
        return;
#pragma unroll
    for (int i = 0; i < TM; i++)
        if (first + down + i < c.rows * c.cols)
            put(c, first + down + i, column + across, sum[i]);
}

/* Blocks of larger tiles that leave no processor of a large device idle. */
constexpr int MANY = 264;

} // namespace

cudaError_t nnk_conv_run(const nnk_conv *c, cudaStream_t stream)
{
    const int places = c->rows * c->cols, wide = (c->out + BN - 1) / BN;

    if ((places + 127) / 128 * wide >= MANY)
        convolve<128><<<dim3((places + 127) / 128, wide), TEAM, 0, stream>>>(*c);
    else
        convolve<64><<<dim3((places + 63) / 64, wide), TEAM, 0, stream>>>(*c);
    return cudaGetLastError();
}

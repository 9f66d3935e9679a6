/* SPDX-License-Identifier: BSD-2-Clause */
/* Convolutions of floats by tensor cores, without what rounding to TF32 loses: a
 * float is the sum of two numbers of TF32 but for its last bits, and of the four
 * products of two such sums the three that matter are made.
 *
 * A convolution is a product of matrices whose left one is never made: a row is the
 * place of an output, a column an output channel, and k runs over the taps and their
 * channels, as they lie in the weights.  A block makes BM x BN outputs from BK of k
 * at a time; the next ones are read while these are multiplied.  A warp makes 32 rows
 * of all or half the columns.  Tensor cores cut off what does not fit a sum, so theirs
 * end with BK, and the sums of those are rounded.  A sum's order depends on the layer
 * alone. */
#include <limits.h>
#include "lib/nn/cuda/steps.cuh"

namespace {

constexpr int BN = 32, BK = 16, TEAM = 128, WARPS = TEAM / 32;  /* TEAM: threads */
constexpr int QUADS = BK / 4;
constexpr int PITCH = BK + 4;   /* a warp's eight rows of four lie in all banks */

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

/* ---- products ---- */

/* What a thread has of a product's 16 x 8, 8 x 8 and 16 x 8 numbers. */
struct split_a { uint32_t high[4], low[4]; };
struct split_b { uint32_t high[2], low[2]; };

__device__ uint32_t tf32(float v)
{
    uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(v));
    return bits;
}

__device__ void split(float v, uint32_t &high, uint32_t &low)
{
    high = tf32(v);
    low = tf32(v - __uint_as_float(high));
}

__device__ void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Rows from `a` and columns from `b` on, k of them from there, to d. */
template <int ROWS, int COLUMNS>
__device__ void multiply_all(float (&d)[ROWS][COLUMNS][4], const float (*a)[PITCH],
                             const float (*b)[PITCH])
{
    const int place = threadIdx.x % 32 / 4, at = threadIdx.x % 4;

#pragma unroll
    for (int k = at; k < at + BK; k += 8) {
        split_a left[ROWS];
        split_b right[COLUMNS];
#pragma unroll
        for (int i = 0; i < ROWS; i++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                split(a[16 * i + e % 2 * 8 + place][k + e / 2 * 4], left[i].high[e],
                      left[i].low[e]);
#pragma unroll
        for (int j = 0; j < COLUMNS; j++)
#pragma unroll
            for (int e = 0; e < 2; e++)
                split(b[8 * j + place][k + 4 * e], right[j].high[e], right[j].low[e]);
#pragma unroll
        for (int i = 0; i < ROWS; i++)
#pragma unroll
            for (int j = 0; j < COLUMNS; j++) {
                multiply(d[i][j], left[i].low, right[j].high);
                multiply(d[i][j], left[i].high, right[j].low);
                multiply(d[i][j], left[i].high, right[j].high);
            }
    }
}

/* ---- convolution ---- */

/* Sums of outputs o and o + 1 of place m. */
__device__ void put(const nnk_conv &c, int m, int o, float first, float second)
{
    if (m >= c.rows * c.cols || o >= c.out)
        return;
    const size_t place = static_cast<size_t>(m) * c.out + o;
    const float2 b = *reinterpret_cast<const float2 *>(c.bias + o);
    float2 a = make_float2(0, 0);

    if (c.add)
        a = *reinterpret_cast<const float2 *>(
            static_cast<const float *>(c.add) + place);
    *reinterpret_cast<float2 *>(static_cast<float *>(c.y) + place) = make_float2(
        pre_of<float>(c.act, first + b.x) + a.x,
        pre_of<float>(c.act, second + b.y) + a.y);
}

template <int BM>
__global__ void __launch_bounds__(TEAM) convolve(nnk_conv c)
{
    const size_t outputs = static_cast<size_t>(c.rows) * c.cols * c.out * blockIdx.z;

    c.x = static_cast<const float *>(c.x) + c.plane * blockIdx.z;
    c.y = static_cast<float *>(c.y) + outputs;
    if (c.add)
        c.add = static_cast<const float *>(c.add) + outputs;

    constexpr int DOWN = BM / 32, ROWS = 2, COLUMNS = BN / 8 * DOWN / WARPS;
    __shared__ alignas(16) float a[2][BM][PITCH], b[2][BN][PITCH];
    const int depth = c.kernel * c.kernel * c.in, steps = (depth + BK - 1) / BK;
    const int first = blockIdx.x * BM, column = blockIdx.y * BN;
    const int quad = threadIdx.x % QUADS * 4, own = threadIdx.x / QUADS;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int down = warp % DOWN * 32, across = warp / DOWN * COLUMNS * 8;
    const bool weighs = column + own < c.out;
    const float *weight = static_cast<const float *>(c.weight) +
                          static_cast<size_t>(column + own) * depth + quad;
    reader<BM> r(c, first);
    float4 next;
    float sum[ROWS][COLUMNS][4] = {};

    auto read = [&](int step) {
        r.read(c);
        next = make_float4(0, 0, 0, 0);
        if (weighs && step * BK + quad < depth)
            next = *reinterpret_cast<const float4 *>(weight + step * BK);
    };
    auto keep = [&](int half) {
#pragma unroll
        for (int i = 0; i < r.COUNT; i++)
            *reinterpret_cast<float4 *>(&a[half][own + i * r.STEP][quad]) = r.piece[i];
        *reinterpret_cast<float4 *>(&b[half][own][quad]) = next;
    };

    read(0);
    keep(0);
    __syncthreads();
    for (int step = 0; step < steps; step++) {
        const int half = step % 2;
        float part[ROWS][COLUMNS][4] = {};
        if (step + 1 < steps)
            read(step + 1);
        multiply_all(part, &a[half][down], &b[half][across]);
#pragma unroll
        for (int i = 0; i < ROWS; i++)
#pragma unroll
            for (int j = 0; j < COLUMNS; j++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    sum[i][j][e] += part[i][j][e];
        if (step + 1 < steps)
            keep(1 - half);
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS; j++)
#pragma unroll
            for (int e = 0; e < 4; e += 2)
                put(c, first + down + 16 * i + 4 * e + lane / 4,
                    column + across + 8 * j + lane % 4 * 2, sum[i][j][e],
                    sum[i][j][e + 1]);
}

/* Blocks of larger tiles that leave no processor of a large device idle. */
constexpr int MANY = 264;

} // namespace

cudaError_t nnk_conv_run(const nnk_conv *c, cudaStream_t stream)
{
    const int places = c->rows * c->cols, wide = (c->out + BN - 1) / BN;

    if (static_cast<int64_t>((places + 127) / 128) * wide * c->items >= MANY)
        convolve<128><<<dim3((places + 127) / 128, wide, c->items), TEAM, 0,
                        stream>>>(*c);
    else
        convolve<64><<<dim3((places + 63) / 64, wide, c->items), TEAM, 0,
                       stream>>>(*c);
    return cudaGetLastError();
}

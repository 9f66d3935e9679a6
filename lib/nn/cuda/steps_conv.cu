/* SPDX-License-Identifier: BSD-2-Clause */
/* Convolutions by tensor cores, with all that is done to their sums.
 *
 * A convolution is a product of matrices whose left one is never made: a row is the
 * place of an output, a column an output channel, and k runs over the taps and their
 * channels, as they lie in the weights.  A block makes BM x BN outputs.  64 bytes of
 * k of its rows and columns, a step, go from memory to shared memory by themselves,
 * some steps before they are multiplied.  A sum's order depends on the layer alone,
 * not on the tiles.
 *
 * A step reads 64 (BM + BN) bytes for BM x BN x 64 / sizeof(T) products: with 128 x
 * 128 a kilobyte for 16 (floats) or 32 thousand, about what the second cache can
 * give. */
#include <limits.h>
#include "lib/nn/cuda/multiply.cuh"
#include "lib/nn/cuda/steps.cuh"

namespace {

/* Of a tile's rows and columns, the pieces that a thread fetches: always the same
 * ones of a step. */
template <typename T, int BM, int BN, int TEAM> struct fetcher {
    static constexpr int PIECES = BK<T> / PIECE<T>, STEP = TEAM / PIECES;
    static constexpr int ROWS = BM / STEP, COLUMNS = (BN + STEP - 1) / STEP;
    int y[ROWS], x[ROWS];       /* where the first tap is */
    int channel, dy, dx;
    const T *weight;            /* of the thread's first column */
    int line, left, k, depth;   /* left: columns from the first one on */

    __device__ fetcher(const nnk_conv &c, int first, int column)
    {
        k = threadIdx.x % PIECES * PIECE<T>;
        line = threadIdx.x / PIECES;
        depth = c.kernel * c.kernel * c.in;
        channel = k % c.in;
        dy = k / c.in / c.kernel;
        dx = k / c.in % c.kernel;
        left = c.out - column - line;
        weight = static_cast<const T *>(c.weight) +
                 static_cast<size_t>(left > 0 ? column + line : 0) * depth;
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const int m = first + line + i * STEP, row = m / c.cols;
            /* No tap of a row beyond the last is inside. */
            y[i] = row < c.rows ? row * c.stride - c.top : INT_MIN / 2;
            x[i] = (m - row * c.cols) * c.stride - c.left;
        }
    }

    /* The next step of k: to rows and, behind them, columns of PITCH numbers. */
    __device__ void fetch(const nnk_conv &c, T *to)
    {
        const T *from = static_cast<const T *>(c.x);
        T *at = to + line * PITCH<T> + threadIdx.x % PIECES * PIECE<T>;
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const int at_y = y[i] + dy, at_x = x[i] + dx;
            const bool real = dy < c.kernel &&
                              static_cast<unsigned>(at_y) < c.height &&
                              static_cast<unsigned>(at_x) < c.width;
            fetch_16(at + i * STEP * PITCH<T>,
                     real ? from + at_y * c.row +
                            static_cast<int64_t>(at_x) * c.in + channel : from,
                     real);
        }
#pragma unroll
        for (int i = 0; i < COLUMNS; i++)
            if (BN % STEP == 0 || line + i * STEP < BN) {
                const bool real = k < depth && i * STEP < left;
                fetch_16(at + (BM + i * STEP) * PITCH<T>,
                         weight + (real ? static_cast<size_t>(i) * STEP * depth + k : 0),
                         real);
            }
        k += BK<T>;
        channel += BK<T>;
        while (channel >= c.in) {
            channel -= c.in;
            if (++dx == c.kernel) {
                dx = 0;
                dy++;
            }
        }
    }
};

/* ---- what becomes of sums ---- */

/* Four sums and what is added to them; T: of the layer, S: of its outputs. */
template <typename T, typename S>
__device__ void put(const nnk_conv &c, size_t place, int o, const float *sum)
{
    struct alignas(4 * sizeof(S)) four { S v[4]; } out, add;
    const float4 bias = *reinterpret_cast<const float4 *>(c.bias + o);
    const float b[4] = { bias.x, bias.y, bias.z, bias.w };

    if (c.add)
        add = *reinterpret_cast<const four *>(static_cast<const S *>(c.add) + place);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float v = pre_of<T>(c.act, sum[i] + b[i]);
        from_float(&out.v[i], c.add ? v + to_float(add.v[i]) : v);
    }
    *reinterpret_cast<four *>(static_cast<S *>(c.y) + place) = out;
}

/* A tile's sums, rows of SPAN in shared memory. */
template <typename T, int BM, int BN, int SPAN>
__device__ void put_tile(const nnk_conv &c, int first, int column, const float *sums)
{
    const int places = c.rows * c.cols;
#pragma unroll 4
    for (int i = threadIdx.x; i < BM * BN / 4; i += blockDim.x) {
        const int row = i / (BN / 4), at = i % (BN / 4) * 4;
        const int m = first + row, o = column + at;
        if (m >= places || o >= c.out)
            continue;
        const size_t place = static_cast<size_t>(m) * c.out + o;
        if (c.wide)
            put<T, float>(c, place, o, sums + row * SPAN + at);
        else
            put<T, T>(c, place, o, sums + row * SPAN + at);
    }
}

/* ---- the kernel ---- */

template <typename T> __device__ T *of_item(const void *p, size_t numbers)
{
    return const_cast<T *>(static_cast<const T *>(p)) + numbers * blockIdx.z;
}

/* DOWN warps one below the other, ACROSS beside each other; BLOCKS of a processor. */
template <typename T, int BM, int BN, int DOWN, int ACROSS, int STAGES, int BLOCKS>
__global__ void __launch_bounds__(32 * DOWN * ACROSS, BLOCKS) convolve(nnk_conv c)
{
    constexpr int WM = BM / DOWN, WN = BN / ACROSS, MS = WM / 16, NS = WN / 8;
    constexpr int STAGE = (BM + BN) * PITCH<T>;
    constexpr int SPAN = BN + 8;    /* no two rows of 4 sums share banks */
    static_assert(BM * SPAN * 4 <= STAGES * STAGE * sizeof(T), "sums do not fit");
    extern __shared__ __align__(16) unsigned char memory[];
    T *const tile = reinterpret_cast<T *>(memory);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int down = warp % DOWN * WM, across = warp / DOWN * WN;
    const int first = blockIdx.x * BM, column = blockIdx.y * BN;
    const size_t outputs = static_cast<size_t>(c.rows) * c.cols * c.out;

    c.x = of_item<T>(c.x, c.plane);
    c.y = c.wide ? static_cast<void *>(of_item<float>(c.y, outputs)) :
          of_item<T>(c.y, outputs);
    if (c.add)
        c.add = c.wide ? static_cast<void *>(of_item<float>(c.add, outputs)) :
                of_item<T>(c.add, outputs);
    fetcher<T, BM, BN, 32 * DOWN * ACROSS> f(c, first, column);
    const int steps = (f.depth + BK<T> - 1) / BK<T>;
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
    fetch_wait<0>();
    __syncthreads();
#pragma unroll
    for (int i = 0; i < MS; i++)
#pragma unroll
        for (int j = 0; j < NS; j++)
#pragma unroll
            for (int k = 0; k < 4; k += 2)
                *reinterpret_cast<float2 *>(
                    sums + (down + i * 16 + k * 4 + lane / 4) * SPAN + across + j * 8 +
                    lane % 4 * 2) = make_float2(sum[i][j][k], sum[i][j][k + 1]);
    __syncthreads();
    put_tile<T, BM, BN, SPAN>(c, first, column, sums);
}

/* ---- tiles ---- */

/* Blocks that leave no processor of a large device idle. */
constexpr int MANY = 132;

/* Whether so large tiles keep the device busy. */
bool enough(const nnk_conv &c, int bm, int bn)
{
    const int64_t places = static_cast<int64_t>(c.rows) * c.cols;
    return (places + bm - 1) / bm * ((c.out + bn - 1) / bn) * c.items >= MANY;
}

template <typename T, int BM, int BN, int DOWN, int ACROSS, int STAGES, int BLOCKS>
cudaError_t run_tiles(const nnk_conv &c, cudaStream_t stream)
{
    const auto kernel = convolve<T, BM, BN, DOWN, ACROSS, STAGES, BLOCKS>;
    const int bytes = STAGES * (BM + BN) * PITCH<T> * static_cast<int>(sizeof(T));
    const dim3 grid((c.rows * c.cols + BM - 1) / BM, (c.out + BN - 1) / BN, c.items);
    const cudaError_t status = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);

    if (status)
        return status;
    kernel<<<grid, 32 * DOWN * ACROSS, bytes, stream>>>(c);
    return cudaGetLastError();
}

/* Of floats a thread has more at hand: half as many blocks on a processor. */
template <typename T, int BLOCKS> cudaError_t run(const nnk_conv &c, cudaStream_t stream)
{
    constexpr bool wide = sizeof(T) == 4;   /* few rows and many columns a warp */

    if ((c.out - 1) % 128 >= 64 && enough(c, 128, 128))   /* else half would be idle */
        return run_tiles<T, 128, 128, wide ? 4 : 2, wide ? 2 : 4, 4, BLOCKS>(c, stream);
    if (c.out > 32 && enough(c, 128, 64))
        return run_tiles<T, 128, 64, 4, 1, 4, 2>(c, stream);
    if (c.out > 32 && enough(c, 64, 64))
        return run_tiles<T, 64, 64, 2, 2, 4, 2>(c, stream);
    if (c.out <= 32 && enough(c, 128, 32))
        return run_tiles<T, 128, 32, 4, 1, 4, 2>(c, stream);
    return run_tiles<T, 64, 32, 2, 2, 6, 2>(c, stream);
}

} // namespace

cudaError_t nnk_conv_run(nnk_type type, const nnk_conv *c, cudaStream_t stream)
{
    return type == NNK_F32 ? run<float, 1>(*c, stream) :
           type == NNK_F16 ? run<__half, 2>(*c, stream) :
           run<__nv_bfloat16, 2>(*c, stream);
}

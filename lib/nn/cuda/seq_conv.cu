/* SPDX-License-Identifier: BSD-2-Clause */
/* Convolutions over time as matrix products: rows are outputs in time, whose
 * inputs overlap in memory; k runs over taps, inside over channels; columns are
 * output channels.  A block of threads makes a tile of BM x BN.  It reads the
 * signal where it lies, pieces of V neighbouring channels at a time, and finds
 * padding by the number of a sample.  It reads AHEAD steps of k before it needs
 * them: a layer of many taps and few outputs in time has few blocks, which would
 * only wait for memory.  A sum's order depends on the layer alone. */
#include "lib/nn/cuda/seq_numbers.cuh"
#include "lib/nn/cuda/seq_ptx.cuh"

namespace {

constexpr int THREADS = 256;

/* Where sample i is: -1: it is zero. */
__device__ inline int source(const sqk_conv &c, int i)
{
    if ((unsigned)i < (unsigned)c.made)
        return i;
    const int from = i < 0 ? c.front ? -i : -1 : c.back ? 2 * c.top - i : -1;
    return from < c.made ? from : -1;
}

/* Of a tile's rows, the pieces that a thread reads: always the same ones of k, of
 * every (THREADS * V / BK)-th row. */
template <typename T, int BM, int BK, int V> struct reader {
    static constexpr int COLUMNS = BK / V, STEP = THREADS / COLUMNS;
    static constexpr int COUNT = BM / STEP;
    int channel, tap, row, first;

    __device__ reader(const sqk_conv &c, int first_row)
    {
        const int k = threadIdx.x % COLUMNS * V;
        row = threadIdx.x / COLUMNS;
        first = first_row;
        channel = k % c.in;
        tap = k / c.in;
    }

    /* The next step of k. */
    __device__ void read(const sqk_conv &c, pack<T, V> piece[COUNT])
    {
        const T *x = static_cast<const T *>(c.x);
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            const int m = first + row + i * STEP;
            int at = -1;
            if (tap < c.taps && m < c.rows)
                at = source(c, c.first + m * c.stride + tap * c.dilation);
            if (at >= 0)
                piece[i] = *reinterpret_cast<const pack<T, V> *>(
                    x + (size_t)at * c.in + channel);
            else
                for (int v = 0; v < V; v++)
                    from_float(&piece[i].v[v], 0);
        }
        channel += BK;
        while (channel >= c.in) {
            channel -= c.in;
            tap++;
        }
    }
};

/* All steps of k: read(slot, step) into registers, in order; keep(half, slot) in
 * a half of shared memory; use(half).  A slot is filled again as soon as it was
 * kept, AHEAD steps before it is used. */
template <int AHEAD, typename R, typename K, typename U>
__device__ inline void pipeline(int steps, R read, K keep, U use)
{
#pragma unroll
    for (int i = 0; i < AHEAD; i++)
        if (i < steps)
            read(i, i);
    keep(0, 0);
    __syncthreads();
    for (int first = 0; first < steps; first += AHEAD)
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const int step = first + i;
            if (step == steps)
                return;
            if (step + AHEAD < steps)
                read(i, step + AHEAD);
            use(step % 2);
            if (step + 1 < steps)
                keep(1 - step % 2, (i + 1) % AHEAD);
            __syncthreads();
        }
}

/* What becomes of sums of neighbouring outputs o.. of row m. */
template <typename T, int N>
__device__ inline void put(const sqk_conv &c, int m, int o, const float *sum)
{
    if (m >= c.rows)
        return;
    const size_t at = (size_t)m * c.out + o;
    float v[N];
    if (c.wide) {
        for (int i = 0; i < N; i++)
            if (o + i < c.out)
                static_cast<float *>(c.y)[at + i] = sum[i] + c.bias[o + i];
        return;
    }
    T *y = static_cast<T *>(c.y) + at;
    const T *add = static_cast<const T *>(c.add);
    if (c.loose) {
        for (int i = 0; i < N && o + i < c.out; i++) {
            const float s = sum[i] + c.bias[o + i] +
                            (add ? to_float(add[at + i]) : 0);
            from_float(y + i, curve_of(c.curve, s, o + i));
        }
        return;
    }
    if (o >= c.out)
        return;
#pragma unroll
    for (int i = 0; i < N; i++)
        v[i] = sum[i] + c.bias[o + i];
    if (add) {
        const pack<T, N> a = *reinterpret_cast<const pack<T, N> *>(add + at);
#pragma unroll
        for (int i = 0; i < N; i++)
            v[i] += to_float(a.v[i]);
    }
    pack<T, N> out;
#pragma unroll
    for (int i = 0; i < N; i++)
        from_float(&out.v[i], curve_of(c.curve, v[i], o + i));
    *reinterpret_cast<pack<T, N> *>(y) = out;
}

/* ---- floats ---- */

/* A thread has TM x TN sums. */
template <int BM, int BN, int TM, int TN, int V, int AHEAD>
__global__ void __launch_bounds__(THREADS) conv_float(sqk_conv c)
{
    constexpr int BK = 16, PITCH = BM + 4;
    constexpr int ACROSS = BN / TN, B_STEP = THREADS * 4 / BN;
    constexpr int B_COUNT = (BK + B_STEP - 1) / B_STEP;
    __shared__ alignas(16) float a[2][BK][PITCH];
    __shared__ alignas(16) float b[2][BK][BN];
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
#pragma unroll
    for (int i = 0; i < TM; i++)
        put<float, TN>(c, first + down + i, column + across, sum[i]);
}

/* ---- 16 bits, tensor cores ---- */

/* Eight warps, DOWN of them one below the other; a warp has WM x WN. */
template <typename T, int BM, int BN, int DOWN, int V, int AHEAD>
__global__ void __launch_bounds__(THREADS) conv_half(sqk_conv c)
{
    constexpr int BK = 32, PITCH = BK + 8;  /* no two rows of 8 share banks */
    constexpr int WM = BM / DOWN, WN = BN / (8 / DOWN);
    constexpr int MS = WM / 16, NS = WN / 8;
    constexpr int B_STEP = THREADS * 8 / BK, B_COUNT = (BN + B_STEP - 1) / B_STEP;
    __shared__ alignas(16) T a[2][BM][PITCH];
    __shared__ alignas(16) T b[2][BN][PITCH];
    const int first = blockIdx.x * BM, column = blockIdx.y * BN;
    const int depth = (c.taps * c.in + SQK_CONV_K - 1) / SQK_CONV_K * SQK_CONV_K;
    const int steps = depth / BK;
    const int b_row = threadIdx.x / (BK / 8), b_at = threadIdx.x % (BK / 8) * 8;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int down = warp % DOWN * WM, across = warp / DOWN * WN;
    const T *w = static_cast<const T *>(c.weight) + (size_t)column * depth + b_at;
    reader<T, BM, BK, V> r(c, first);
    pack<T, V> rows[AHEAD][r.COUNT];
    pack<T, 8> next[AHEAD][B_COUNT];
    float sum[MS][NS][4] = {};

    auto read = [&](int slot, int step) {
        r.read(c, rows[slot]);
#pragma unroll
        for (int i = 0; i < B_COUNT; i++)
            if (b_row + i * B_STEP < BN)
                next[slot][i] = *reinterpret_cast<const pack<T, 8> *>(
                    w + (size_t)(b_row + i * B_STEP) * depth + step * BK);
    };
    auto keep = [&](int half, int slot) {
        const int k = threadIdx.x % (BK / V) * V;
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
#pragma unroll
        for (int k = 0; k < BK; k += 16) {
            uint32_t x[MS][4], y[NS][2];
#pragma unroll
            for (int i = 0; i < MS; i++)
                load_matrices(x[i], &a[half][down + i * 16 + lane % 16]
                                      [k + lane / 16 * 8]);
#pragma unroll
            for (int j = 0; j < NS; j += 2) {
                uint32_t two[4];
                load_matrices(two, &b[half][across + j * 8 + lane / 16 * 8 + lane % 8]
                                     [k + lane / 8 % 2 * 8]);
                y[j][0] = two[0];
                y[j][1] = two[1];
                y[j + 1][0] = two[2];
                y[j + 1][1] = two[3];
            }
#pragma unroll
            for (int i = 0; i < MS; i++)
#pragma unroll
                for (int j = 0; j < NS; j++)
                    multiply(sum[i][j], x[i], y[j], T());
        }
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

/* ---- which ---- */

constexpr int FEW = 100;    /* tiles that leave a device's processors idle */
constexpr int MANY = 800;   /* small ones that hide each other's waiting */

int tiles(const sqk_conv &c, int bm, int bn)
{
    return (c.rows + bm - 1) / bm * ((c.out + bn - 1) / bn);
}

dim3 grid_of(const sqk_conv &c, int bm, int bn)
{
    return dim3((c.rows + bm - 1) / bm, (c.out + bn - 1) / bn);
}

template <int V> void run_float(const sqk_conv &c, cudaStream_t stream)
{
    if (c.out <= 16)
        conv_float<256, 16, 8, 2, V, 1><<<grid_of(c, 256, 16), THREADS, 0, stream>>>(c);
    else if (V == 4 && tiles(c, 128, 64) >= FEW)
        conv_float<128, 64, 8, 4, 4, 1><<<grid_of(c, 128, 64), THREADS, 0, stream>>>(c);
    else if (tiles(c, 64, 32) >= MANY)
        conv_float<64, 32, 4, 2, V, 1><<<grid_of(c, 64, 32), THREADS, 0, stream>>>(c);
    else
        conv_float<64, 32, 4, 2, V, 4><<<grid_of(c, 64, 32), THREADS, 0, stream>>>(c);
}

template <typename T> void run_half(const sqk_conv &c, cudaStream_t stream)
{
    if (c.in % 4)
        conv_half<T, 128, 32, 8, 1, 1><<<grid_of(c, 128, 32), THREADS, 0, stream>>>(c);
    else if (c.in % 8)
        conv_half<T, 128, 32, 8, 4, 1><<<grid_of(c, 128, 32), THREADS, 0, stream>>>(c);
    else if (c.out <= 16)
        conv_half<T, 128, 16, 8, 8, 1><<<grid_of(c, 128, 16), THREADS, 0, stream>>>(c);
    else if (c.out > 32 && tiles(c, 128, 64) >= FEW)
        conv_half<T, 128, 64, 4, 8, 1><<<grid_of(c, 128, 64), THREADS, 0, stream>>>(c);
    else if (tiles(c, 64, 32) >= MANY)
        conv_half<T, 64, 32, 4, 8, 1><<<grid_of(c, 64, 32), THREADS, 0, stream>>>(c);
    else
        conv_half<T, 64, 32, 4, 8, 4><<<grid_of(c, 64, 32), THREADS, 0, stream>>>(c);
}

/* Whether outputs cannot be written four (floats) or two at a time. */
bool is_loose(sqk_type type, const sqk_conv &c)
{
    const uintptr_t at = reinterpret_cast<uintptr_t>(c.y) |
                         reinterpret_cast<uintptr_t>(c.add);
    return type == SQK_F32 ? c.out % 4 || at % 16 : c.out % 2 || at % 4;
}

}

cudaError_t sqk_conv_run(sqk_type type, const sqk_conv *conv, cudaStream_t stream)
{
    sqk_conv c = *conv;

    c.loose = is_loose(type, c);
    if (type == SQK_F16)
        run_half<__half>(c, stream);
    else if (type == SQK_BF16)
        run_half<__nv_bfloat16>(c, stream);
    else if (c.in % 4 == 0)
        run_float<4>(c, stream);
    else
        run_float<1>(c, stream);
    return cudaGetLastError();
}

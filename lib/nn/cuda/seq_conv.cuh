/* SPDX-License-Identifier: BSD-2-Clause */
/* Convolutions over time as matrix products: rows are outputs in time, whose
 * inputs overlap in memory; k runs over taps, inside over channels; columns are
 * output channels.  A block of threads makes a tile of BM x BN.  It reads the
 * signal where it lies, pieces of V neighbouring channels at a time, and finds
 * padding by the number of a sample.  It reads some steps of k before it needs
 * them: a layer of many taps and few outputs in time has few blocks, which would
 * only wait for memory.  A sum's order depends on the layer alone. */
#ifndef TSR_LIB_NN_CUDA_SEQ_CONV_CUH
#define TSR_LIB_NN_CUDA_SEQ_CONV_CUH
#include "lib/nn/cuda/seq_numbers.cuh"

namespace {

constexpr int THREADS = 256;
constexpr int FEW = 100;    /* tiles that leave a device's processors idle */
constexpr int SHARING = 4;  /* convolutions of lanes that do run at the same time */
constexpr int MANY = 800;   /* small ones that hide each other's waiting */

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

/* A tile's sums, rows of SPAN in shared memory, to what they become, N at a time.
 * That is much code for some curves, which is there once so, and not for each of
 * a thread's sums. */
template <typename T, int BM, int BN, int SPAN, int N>
__device__ inline void put_tile(const sqk_conv &c, int first, int column,
                                const float *sum)
{
#pragma unroll 1
    for (int i = threadIdx.x; i < BM * BN / N; i += blockDim.x) {
        const int row = i / (BN / N), at = i % (BN / N) * N;
        float v[N];
#pragma unroll
        for (int k = 0; k < N; k += 4)
            *reinterpret_cast<pack<float, 4> *>(v + k) =
                *reinterpret_cast<const pack<float, 4> *>(sum + row * SPAN + at + k);
        put<T, N>(c, first + row, column + at, v);
    }
}

int tiles(const sqk_conv &c, int bm, int bn)
{
    return (c.rows + bm - 1) / bm * ((c.out + bn - 1) / bn);
}

/* Whether such tiles, which read less than smaller ones, keep the layer's share of
 * the device's processors busy. */
bool enough(const sqk_conv &c, int bm, int bn)
{
    return tiles(c, bm, bn) * (c.beside < SHARING ? c.beside : SHARING) >= FEW;
}

dim3 grid_of(const sqk_conv &c, int bm, int bn)
{
    return dim3((c.rows + bm - 1) / bm, (c.out + bn - 1) / bn);
}

}
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Layers over small planes but for their products of matrices. */
#include "lib/nn/cuda/plane_kernels.h"
#include "lib/nn/cuda/seq_numbers.cuh"

namespace {

constexpr int THREADS = 256;

unsigned blocks_of(size_t n)
{
    return (unsigned)((n + THREADS - 1) / THREADS);
}

/* ---- samples around positions ---- */

/* A thread moves N neighbouring channels of one of the nine samples. */
template <typename T, int N> __global__ void gather(plk_gather g)
{
    typedef pack<T, N> numbers;
    const int each = g.channels / N;
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x;
    const size_t all = (size_t)g.items * g.rows * g.columns * 9 * each;
    if (i >= all)
        return;
    const int c = (int)(i % each), tap = (int)(i / each % 9);
    const size_t position = i / each / 9;
    const int column = (int)(position % g.columns);
    const int row = (int)(position / g.columns % g.rows);
    const int item = (int)(position / g.columns / g.rows);
    const int y = row * g.stride + tap / 3 - 1, x = column * g.stride + tap % 3 - 1;
    numbers v;

    if (y < 0 || x < 0 || y >= g.height << g.twice || x >= g.width << g.twice)
        for (int k = 0; k < N; k++)
            from_float(&v.v[k], 0);
    else
        v = static_cast<const numbers *>(g.x)[
            (((size_t)item * g.height + (y >> g.twice)) * g.width +
             (x >> g.twice)) * each + c];
    static_cast<numbers *>(g.y)[i] = v;
}

template <typename T> void run_gather(const plk_gather &g, cudaStream_t stream)
{
    constexpr int N = 16 / sizeof(T);
    const size_t all = (size_t)g.items * g.rows * g.columns * 9 * g.channels;

    if (g.channels % N == 0)
        gather<T, N><<<blocks_of(all / N), THREADS, 0, stream>>>(g);
    else
        gather<T, 1><<<blocks_of(all), THREADS, 0, stream>>>(g);
}

/* ---- norms ---- */

constexpr int NORM_THREADS = 512;

/* The block's sum, for all of its threads. */
__device__ double block_sum(double v)
{
    __shared__ double part[NORM_THREADS / 32];

    for (int by = 16; by; by /= 2)
        v += __shfl_xor_sync(~0u, v, by);
    __syncthreads();
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = v;
    __syncthreads();
    v = 0;
    for (int i = 0; i < NORM_THREADS / 32; i++)
        v += part[i];
    return v;
}

/* A block for each group of each item. */
template <typename T>
__global__ void __launch_bounds__(NORM_THREADS) group_norm(plk_norm n)
{
    const int each = n.channels / n.groups, first = blockIdx.x * each;
    const size_t item = (size_t)blockIdx.y * n.positions * n.channels;
    const T *x = static_cast<const T *>(n.x) + item + first;
    T *y = static_cast<T *>(n.y) + item + first;
    const int all = n.positions * each;
    double sum = 0, squares = 0;

    auto value = [&](int i) {
        const int k = i % each;
        const float v = to_float(x[(size_t)(i / each) * n.channels + k]);
        return n.add ? v + n.add[first + k] : v;
    };
    for (int i = threadIdx.x; i < all; i += NORM_THREADS)
        sum += value(i);
    const float mean = (float)(block_sum(sum) / all);
    for (int i = threadIdx.x; i < all; i += NORM_THREADS) {
        const double d = (double)value(i) - mean;
        squares += d * d;
    }
    const float gain = (float)(1 / sqrt(block_sum(squares) / all + (double)n.eps));
    for (int i = threadIdx.x; i < all; i += NORM_THREADS) {
        const int k = i % each;
        float v = (value(i) - mean) * (gain * n.weight[first + k]) +
                  n.weight[n.channels + first + k];
        if (n.silu)
            v = v / (1 + expf(-v));
        from_float(y + (size_t)(i / each) * n.channels + k, v);
    }
}

__device__ float warp_sum(float v)
{
    for (int by = 16; by; by /= 2)
        v += __shfl_xor_sync(~0u, v, by);
    return v;
}

/* A warp for each row. */
template <typename T> __global__ void layer_norm(plk_layer_norm n)
{
    const int row = blockIdx.x * (THREADS / 32) + threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    if (row >= n.rows)
        return;
    const T *x = static_cast<const T *>(n.x) + (size_t)row * n.channels;
    T *y = static_cast<T *>(n.y) + (size_t)row * n.channels;
    float sum = 0, squares = 0;

    for (int c = lane; c < n.channels; c += 32)
        sum += to_float(x[c]);
    const float mean = warp_sum(sum) / n.channels;
    for (int c = lane; c < n.channels; c += 32) {
        const float d = to_float(x[c]) - mean;
        squares += d * d;
    }
    const float gain = 1 / sqrtf(warp_sum(squares) / n.channels + 1e-5f);
    for (int c = lane; c < n.channels; c += 32)
        from_float(y + c, (to_float(x[c]) - mean) * gain * n.weight[c] +
                          n.weight[n.channels + c]);
}

/* ---- attention ---- */

constexpr int HEAD = PLK_HEAD, SHARE = 4, QUERIES = 32, KEYS = 32;
constexpr int PITCH = HEAD + 4;     /* rows of neighbours begin in other banks */

/* SHARE threads have a query, every so-many-th key each: their sums are put
 * together at the end. */
template <typename T>
__global__ void __launch_bounds__(QUERIES * SHARE) attend(plk_attention a)
{
    __shared__ alignas(16) float key[KEYS][PITCH], value[KEYS][PITCH];
    const int part = threadIdx.x % SHARE;
    const int i = blockIdx.x * QUERIES + threadIdx.x / SHARE;
    const size_t queries = (size_t)blockIdx.z * a.n * a.channels + blockIdx.y * HEAD;
    const size_t keys = (size_t)blockIdx.z * a.m * a.channels + blockIdx.y * HEAD;
    const T *q = static_cast<const T *>(a.q) + queries +
                 (size_t)min(i, a.n - 1) * a.channels;
    const T *k = static_cast<const T *>(a.k) + keys;
    const T *v = static_cast<const T *>(a.v) + keys;
    float query[HEAD], out[HEAD] = {}, most = -INFINITY, sum = 0;

#pragma unroll
    for (int c = 0; c < HEAD; c++)
        query[c] = to_float(q[c]);
    for (int first = 0; first < a.m; first += KEYS) {
        __syncthreads();
        for (int at = threadIdx.x; at < KEYS * HEAD; at += QUERIES * SHARE) {
            const int j = at / HEAD, c = at % HEAD;
            const size_t from = (size_t)min(first + j, a.m - 1) * a.channels + c;
            key[j][c] = to_float(k[from]);
            value[j][c] = to_float(v[from]);
        }
        __syncthreads();
        for (int j = part; j < min(KEYS, a.m - first); j += SHARE) {
            float score = 0;
#pragma unroll
            for (int c = 0; c < HEAD; c++)
                score += query[c] * key[j][c];
            if (score > most) {
                const float less = __expf(most - score);
                sum *= less;
#pragma unroll
                for (int c = 0; c < HEAD; c++)
                    out[c] *= less;
                most = score;
            }
            const float weight = __expf(score - most);
            sum += weight;
#pragma unroll
            for (int c = 0; c < HEAD; c++)
                out[c] += weight * value[j][c];
        }
    }
    float top = most;
    for (int by = 1; by < SHARE; by *= 2)
        top = fmaxf(top, __shfl_xor_sync(~0u, top, by));
    const float less = __expf(most - top);  /* 0 of a thread without a key */
    sum *= less;
    for (int by = 1; by < SHARE; by *= 2)
        sum += __shfl_xor_sync(~0u, sum, by);
    T *y = static_cast<T *>(a.y) + queries + (size_t)i * a.channels;
#pragma unroll
    for (int c = 0; c < HEAD; c++) {
        float s = out[c] * less;
        for (int by = 1; by < SHARE; by *= 2)
            s += __shfl_xor_sync(~0u, s, by);
        if (part == c % SHARE && i < a.n)
            from_float(y + c, s / sum);
    }
}

/* ---- number by number ---- */

template <typename T> __global__ void gate(plk_gate g)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x;
    if (i >= (size_t)g.rows * g.channels)
        return;
    const size_t row = i / g.channels * 2 * g.channels;
    const T *x = static_cast<const T *>(g.x) + row + i % g.channels;
    const float b = to_float(x[g.channels]);

    from_float(static_cast<T *>(g.y) + i,
               to_float(x[0]) * 0.5f * b * (1 + erff(b * 0.70710678f)));
}

template <typename T, int N> __global__ void join(plk_join j)
{
    typedef pack<T, N> numbers;
    const int a = j.a_channels / N, b = j.b_channels / N;
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x;
    if (i >= (size_t)j.rows * (a + b))
        return;
    const size_t row = i / (a + b);
    const int c = (int)(i % (a + b));

    static_cast<numbers *>(j.y)[i] =
        c < a ? static_cast<const numbers *>(j.a)[row * a + c]
              : static_cast<const numbers *>(j.b)[row * b + c - a];
}

template <typename T> void run_join(const plk_join &j, cudaStream_t stream)
{
    constexpr int N = 16 / sizeof(T);
    const size_t all = (size_t)j.rows * (j.a_channels + j.b_channels);

    if (j.a_channels % N == 0 && j.b_channels % N == 0)
        join<T, N><<<blocks_of(all / N), THREADS, 0, stream>>>(j);
    else
        join<T, 1><<<blocks_of(all), THREADS, 0, stream>>>(j);
}

template <typename T> __global__ void mix(plk_mix m)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= m.n)
        return;
    const float v = m.v[i] + m.guidance * (m.v[m.n + i] - m.v[i]);
    const float x = m.by_x * m.x[i] + m.by_v * v + m.by_noise * m.noise[i];
    T *numbers = static_cast<T *>(m.numbers);

    m.x[i] = x;
    from_float(numbers + i, x);
    from_float(numbers + m.n + i, x);
}

}

/* f<T> of the type. */
#define OF_TYPE(f)                                                            \
    do {                                                                      \
        if (type == SQK_F16)                                                  \
            f(__half);                                                        \
        else if (type == SQK_BF16)                                            \
            f(__nv_bfloat16);                                                 \
        else                                                                  \
            f(float);                                                         \
    } while (0)

cudaError_t plk_gather_run(sqk_type type, const plk_gather *g, cudaStream_t stream)
{
#define RUN(T) run_gather<T>(*g, stream)
    OF_TYPE(RUN);
#undef RUN
    return cudaGetLastError();
}

cudaError_t plk_norm_run(sqk_type type, const plk_norm *n, cudaStream_t stream)
{
    const dim3 grid(n->groups, n->items);

#define RUN(T) group_norm<T><<<grid, NORM_THREADS, 0, stream>>>(*n)
    OF_TYPE(RUN);
#undef RUN
    return cudaGetLastError();
}

cudaError_t plk_layer_norm_run(sqk_type type, const plk_layer_norm *n,
                               cudaStream_t stream)
{
    const unsigned blocks = blocks_of((size_t)n->rows * 32);

#define RUN(T) layer_norm<T><<<blocks, THREADS, 0, stream>>>(*n)
    OF_TYPE(RUN);
#undef RUN
    return cudaGetLastError();
}

cudaError_t plk_attention_run(sqk_type type, const plk_attention *a,
                              cudaStream_t stream)
{
    const dim3 grid((a->n + QUERIES - 1) / QUERIES, a->channels / HEAD, a->items);

#define RUN(T) attend<T><<<grid, QUERIES * SHARE, 0, stream>>>(*a)
    OF_TYPE(RUN);
#undef RUN
    return cudaGetLastError();
}

cudaError_t plk_gate_run(sqk_type type, const plk_gate *g, cudaStream_t stream)
{
    const unsigned blocks = blocks_of((size_t)g->rows * g->channels);

#define RUN(T) gate<T><<<blocks, THREADS, 0, stream>>>(*g)
    OF_TYPE(RUN);
#undef RUN
    return cudaGetLastError();
}

cudaError_t plk_join_run(sqk_type type, const plk_join *j, cudaStream_t stream)
{
#define RUN(T) run_join<T>(*j, stream)
    OF_TYPE(RUN);
#undef RUN
    return cudaGetLastError();
}

cudaError_t plk_mix_run(sqk_type type, const plk_mix *m, cudaStream_t stream)
{
#define RUN(T) mix<T><<<blocks_of(m->n), THREADS, 0, stream>>>(*m)
    OF_TYPE(RUN);
#undef RUN
    return cudaGetLastError();
}

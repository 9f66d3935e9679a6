/* SPDX-License-Identifier: BSD-2-Clause */
/* Attention. */
#include "lib/nn/cuda/steps.cuh"

namespace {

template <typename T> __device__ float power(float x)
{
    return sizeof(T) == 4 ? expf(x) : __expf(x);
}

/* The greatest number and the sum of powers of a block's threads. */
__device__ void reduce(float *most, float *total)
{
    __shared__ float all[2][THREADS / 32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;

    for (int pass = 0; pass < 2; pass++) {
        const bool live = pass == 0 || lane < THREADS / 32;
        if (pass) {
            __syncthreads();
            *most = live ? all[0][lane] : -INFINITY;
            *total = live ? all[1][lane] : 0;
        }
        for (int step = 16; step > 0; step /= 2) {
            const float other = __shfl_xor_sync(0xffffffffu, *most, step);
            const float sum = __shfl_xor_sync(0xffffffffu, *total, step);
            const float now = fmaxf(*most, other);
            *total = (*most == now ? *total : *total * expf(*most - now)) +
                     (other == now ? sum : sum * expf(other - now));
            *most = now;
        }
        if (pass == 0 && lane == 0) {
            all[0][warp] = *most;
            all[1][warp] = *total;
        }
    }
}

/* A block has a query.  Four scores at a time. */
template <typename T>
__global__ void softmax(const float *scores, T *weights, int keys, int padded,
                        float scale)
{
    const size_t row = static_cast<size_t>(blockIdx.x) * padded;
    const float4 *s = reinterpret_cast<const float4 *>(scores + row);
    float most = -INFINITY, total = 0;

    for (int j = threadIdx.x; j < padded / 4; j += THREADS) {
        const float4 four = s[j];
        const float v[4] = { four.x, four.y, four.z, four.w };
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const float x = v[k] * scale;
            if (4 * j + k >= keys)
                break;
            if (x > most) {
                total *= power<T>(most - x);
                most = x;
            }
            total += power<T>(x - most);
        }
    }
    reduce(&most, &total);
    const float inverse = 1 / total;
    for (int j = threadIdx.x; j < padded / 4; j += THREADS) {
        const float4 four = s[j];
        const float v[4] = { four.x, four.y, four.z, four.w };
#pragma unroll
        for (int k = 0; k < 4; k++)
            from_float(&weights[row + 4 * j + k], 4 * j + k < keys
                       ? power<T>(v[k] * scale - most) * inverse : 0.0f);
    }
}

constexpr int TILE = 32;

/* to[c][j] = sample j of a part of m, zeros from rows * cols on. */
template <typename T>
__global__ void turn(nnk_map m, int y0, int x0, int rows, int cols, T *to,
                     int padded)
{
    __shared__ T tile[TILE][TILE + 2];
    const int first = blockIdx.x * TILE, channel = blockIdx.y * TILE;

    for (int i = threadIdx.y; i < TILE; i += blockDim.y) {
        const int j = first + i, c = channel + threadIdx.x;
        T v;
        from_float(&v, 0.0f);
        if (j < rows * cols && c < m.lanes)
            v = at<T>(m, y0 + j / cols, x0 + j % cols)[c];
        tile[i][threadIdx.x] = v;
    }
    __syncthreads();
    for (int i = threadIdx.y; i < TILE; i += blockDim.y) {
        const int c = channel + i, j = first + threadIdx.x;
        if (c < m.lanes && j < padded)
            to[static_cast<size_t>(c) * padded + j] = tile[threadIdx.x][i];
    }
}

/* ---- attention of any shape ---- */

constexpr int QUERIES = 8, KEYS = 16, MAX_OWN = 32;     /* channels / 32 */

struct window { int y0, x0, y1, x1; };

/* As see() in lib/nn/net_attention.c. */
__device__ void see(int at, int n, int *first, int *end)
{
    const int cell = 16, group = 32, seen = 8;
    const int middle = at / group * (group / cell) + group / cell / 2;
    const int cells = (n + cell - 1) / cell;
    const int low = max(min(middle - seen / 2, cells - seen), 0);
    *first = low * cell;
    *end = min((low + seen) * cell, n);
}

__device__ window window_of(const nnk_attention &a, int y, int x)
{
    window w = { 0, 0, a.q.rows, a.q.cols };
    if (a.windowed) {
        see(y, a.q.rows, &w.y0, &w.y1);
        see(x, a.q.cols, &w.x0, &w.x1);
    }
    return w;
}

/* A warp has a query, a block QUERIES of them, which lie in one square of a
 * windowed attention and so see the same keys: these go through shared memory
 * KEYS at a time.  Softmax is online. */
template <typename T, int OWN>
__global__ void attend(nnk_attention a, float scale)
{
    extern __shared__ float memory[];
    float *key = memory, *value = memory + KEYS * a.channels;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int per_row = (a.q.cols + QUERIES - 1) / QUERIES;
    const int y = blockIdx.x / per_row;
    const int x0 = blockIdx.x % per_row * QUERIES, x = x0 + warp;
    const bool live = x < a.q.cols;
    const window w = window_of(a, y, x0);
    const int cols = w.x1 - w.x0, keys = (w.y1 - w.y0) * cols;
    float q[OWN], sum[OWN], most = -INFINITY, total = 0;

#pragma unroll
    for (int i = 0; i < OWN; i++) {
        const int c = i * 32 + lane;
        sum[i] = 0;
        q[i] = live && c < a.channels ? scale * to_float(at<T>(a.q, y, x)[c])
                                      : 0;
    }
    for (int from = 0; from < keys; from += KEYS) {
        const int n = min(KEYS, keys - from);
        __syncthreads();
        for (int i = threadIdx.x; i < n * a.channels; i += blockDim.x) {
            const int j = from + i / a.channels, c = i % a.channels;
            const int ky = w.y0 + j / cols, kx = w.x0 + j % cols;
            key[i] = to_float(at<T>(a.k, ky, kx)[c]);
            value[i] = to_float(at<T>(a.v, ky, kx)[c]);
        }
        __syncthreads();
        for (int j = 0; j < n; j++) {
            float dot = 0;
#pragma unroll
            for (int i = 0; i < OWN; i++) {
                const int c = i * 32 + lane;
                if (c < a.channels)
                    dot += q[i] * key[j * a.channels + c];
            }
            for (int step = 16; step > 0; step /= 2)
                dot += __shfl_xor_sync(0xffffffffu, dot, step);
            const float now = fmaxf(most, dot);
            const float keep = expf(most - now), add = expf(dot - now);
            most = now;
            total = total * keep + add;
#pragma unroll
            for (int i = 0; i < OWN; i++) {
                const int c = i * 32 + lane;
                if (c < a.channels)
                    sum[i] = sum[i] * keep + add * value[j * a.channels + c];
            }
        }
    }
    if (!live)
        return;
    T *to = at<T>(a.dst, y, x);
#pragma unroll
    for (int i = 0; i < OWN; i++) {
        const int c = i * 32 + lane;
        if (c < a.channels)
            from_float(&to[c], sum[i] / total);
        else if (c < a.dst.lanes)
            from_float(&to[c], 0);
    }
}

/* ---- launching ---- */

template <typename T, int OWN>
cudaError_t run_attention(const nnk_attention &a, cudaStream_t stream)
{
    const size_t shared = sizeof(float) * 2 * KEYS * a.channels;
    const int blocks = a.q.rows * ((a.q.cols + QUERIES - 1) / QUERIES);
    const cudaError_t error = cudaFuncSetAttribute(
        attend<T, OWN>, cudaFuncAttributeMaxDynamicSharedMemorySize,
        static_cast<int>(shared));
    if (error != cudaSuccess)
        return error;
    attend<T, OWN><<<blocks, 32 * QUERIES, shared, stream>>>(
        a, 1 / sqrtf(static_cast<float>(a.channels)));
    return cudaGetLastError();
}

template <typename T>
cudaError_t pick_attention(const nnk_attention &a, cudaStream_t stream)
{
    return a.channels <= 128 ? run_attention<T, 4>(a, stream) :
           a.channels <= 512 ? run_attention<T, 16>(a, stream) :
                               run_attention<T, MAX_OWN>(a, stream);
}

} // namespace

template <typename T>
static void launch_softmax(const float *scores, void *weights, int queries,
                           int keys, int padded, float scale,
                           cudaStream_t stream)
{
    softmax<T><<<queries, THREADS, 0, stream>>>(
        scores, static_cast<T *>(weights), keys, padded, scale);
}

cudaError_t nnk_softmax_run(nnk_type type, const float *scores, void *weights,
                            int queries, int keys, int padded, float scale,
                            cudaStream_t stream)
{
    BY_TYPE(type, launch_softmax)(scores, weights, queries, keys, padded, scale,
                                  stream);
    return cudaGetLastError();
}

template <typename T>
static void launch_turn(nnk_map m, int y0, int x0, int rows, int cols, void *to,
                        int padded, cudaStream_t stream)
{
    const dim3 grid((padded + TILE - 1) / TILE, (m.lanes + TILE - 1) / TILE);
    turn<T><<<grid, dim3(TILE, 8), 0, stream>>>(m, y0, x0, rows, cols,
                                                static_cast<T *>(to), padded);
}

cudaError_t nnk_turn_run(nnk_type type, const nnk_map *map, int y0, int x0,
                         int rows, int cols, void *to, int padded,
                         cudaStream_t stream)
{
    BY_TYPE(type, launch_turn)(*map, y0, x0, rows, cols, to, padded, stream);
    return cudaGetLastError();
}

cudaError_t nnk_attention_run(nnk_type type, const nnk_attention *a,
                              cudaStream_t stream)
{
    return BY_TYPE(type, pick_attention)(*a, stream);
}

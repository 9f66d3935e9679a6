/* SPDX-License-Identifier: BSD-2-Clause */
/* Kernels of lib/nn/device.h.  A thread has eight neighbouring channels of one
 * sample at a time: 16 bytes of half precision, two of them of floats.  All are
 * bound by memory. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>
#include "lib/nn/cuda/steps_kernels.h"

namespace {

constexpr int LANE = 8, THREADS = 256;

struct eight { float v[LANE]; };

template <typename T> struct alignas(16) pack8 { T v[LANE]; };

__device__ float to_float(float x) { return x; }
__device__ float to_float(__half x) { return __half2float(x); }
__device__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ void from_float(float *to, float x) { *to = x; }
__device__ void from_float(__half *to, float x) { *to = __float2half_rn(x); }
__device__ void from_float(__nv_bfloat16 *to, float x)
{
    *to = __float2bfloat16_rn(x);
}

template <typename T> __device__ eight load8(const T *p)
{
    const pack8<T> in = *reinterpret_cast<const pack8<T> *>(p);
    eight out;
#pragma unroll
    for (int i = 0; i < LANE; i++)
        out.v[i] = to_float(in.v[i]);
    return out;
}

template <typename T> __device__ void store8(T *p, const eight &x)
{
    pack8<T> out;
#pragma unroll
    for (int i = 0; i < LANE; i++)
        from_float(&out.v[i], x.v[i]);
    *reinterpret_cast<pack8<T> *>(p) = out;
}

/* Exact to some half ulps in floats; to far less than an ulp of 16-bit numbers. */
template <typename T> __device__ float sigmoid(float x)
{
    return sizeof(T) == 4 ? 1.0f / (1.0f + expf(-x))
                          : __fdividef(1.0f, 1.0f + __expf(-x));
}

template <typename T> __device__ float pre_of(int pre, float x)
{
    return pre == 1 ? x * sigmoid<T>(x) : pre == 2 ? (x < 0 ? 0 : x) :
           pre == 3 ? x * x : x;
}

template <typename T>
__device__ T *at(const nnk_map &m, int y, int x)
{
    return static_cast<T *>(m.data) +
           (static_cast<size_t>(y - m.y0) * m.cols + (x - m.x0)) * m.lanes;
}

/* The rows of a block, of a grid of up to 65535 of them. */
#define EACH_ROW(i, rows) \
    for (int i = static_cast<int>(blockIdx.y); i < (rows); \
         i += static_cast<int>(gridDim.y))

/* Eight channels of a sample of a row: x, and c as `blocks` are counted. */
#define EACH_PLACE(j, row)                                                    \
    for (unsigned j = blockIdx.x * THREADS + threadIdx.x; j < (row);          \
         j += gridDim.x * THREADS)

/* Item i of rows x cols x lanes / 8. */
struct place { int y, x, c; };

__device__ place place_of(size_t i, int cols, int lanes)
{
    const int blocks = lanes / LANE;
    const size_t sample = i / blocks;
    return { static_cast<int>(sample / cols), static_cast<int>(sample % cols),
             static_cast<int>(i % blocks) * LANE };
}

#define EACH_ITEM(i, n)                                                      \
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; \
         i < (n); i += static_cast<size_t>(gridDim.x) * blockDim.x)

/* ---- in and out ---- */

template <typename T>
__global__ void enter(nnk_map m, const float *planes, int channels, size_t n)
{
    const size_t plane = static_cast<size_t>(m.rows) * m.cols;
    EACH_ITEM(i, n) {
        const size_t sample = i % plane;
        const int c = static_cast<int>(i / plane) * LANE;
        eight x;
#pragma unroll
        for (int k = 0; k < LANE; k++)
            x.v[k] = c + k < channels ? planes[(c + k) * plane + sample] : 0;
        store8(static_cast<T *>(m.data) + sample * m.lanes + c, x);
    }
}

template <typename T>
__global__ void leave(nnk_map m, float *planes, int channels, size_t n)
{
    const size_t plane = static_cast<size_t>(m.rows) * m.cols;
    EACH_ITEM(i, n) {
        const size_t sample = i % plane;
        const int c = static_cast<int>(i / plane) * LANE;
        const eight x = load8(static_cast<const T *>(m.data) +
                              sample * m.lanes + c);
#pragma unroll
        for (int k = 0; k < LANE; k++)
            if (c + k < channels)
                planes[(c + k) * plane + sample] = x.v[k];
    }
}

template <typename T>
__global__ void enter_map(nnk_map m, const float *samples, int channels, size_t n)
{
    EACH_ITEM(i, n) {
        const place p = place_of(i, m.cols, m.lanes);
        const float *from = samples + (static_cast<size_t>(p.y) * m.cols + p.x) *
                                          channels;
        eight x;
#pragma unroll
        for (int k = 0; k < LANE; k++)
            x.v[k] = p.c + k < channels ? from[p.c + k] : 0;
        store8(static_cast<T *>(m.data) + i * LANE, x);
    }
}

template <typename T>
__global__ void leave_map(nnk_map m, float *samples, int channels, size_t n)
{
    EACH_ITEM(i, n) {
        const place p = place_of(i, m.cols, m.lanes);
        float *to = samples + (static_cast<size_t>(p.y) * m.cols + p.x) * channels;
        const eight x = load8(static_cast<const T *>(m.data) + i * LANE);
#pragma unroll
        for (int k = 0; k < LANE; k++)
            if (p.c + k < channels)
                to[p.c + k] = x.v[k];
    }
}

/* The picture's index of position i of a plane; n samples. */
__device__ int inside(int i, int n, int reflect)
{
    if (!reflect)
        return min(max(i, 0), n - 1);
    const int period = 2 * (n - 1);
    if (period == 0)
        return 0;
    i %= period;
    i += i < 0 ? period : 0;
    return i < n ? i : period - i;
}

/* Every operation is rounded once, as on the host. */
template <typename T, typename P>
__global__ void enter_pixels(nnk_map m, nnk_pixels p, float top, size_t n)
{
    EACH_ITEM(i, n) {
        const int y = inside(static_cast<int>(i / m.cols) - p.top, p.height,
                             p.reflect);
        const int x = inside(static_cast<int>(i % m.cols) - p.left, p.width,
                             p.reflect);
        const P *pixel = reinterpret_cast<const P *>(
            static_cast<const char *>(p.data) + y * p.stride) +
            static_cast<size_t>(x) * p.channels;
        eight v = {};
        for (int c = 0; c < 3; c++)
            v.v[c] = __fadd_rn(__fmul_rn(__fdiv_rn(
                static_cast<float>(pixel[p.channels < 3 ? 0 : c]), top), p.scale),
                p.offset);
        store8(static_cast<T *>(m.data) + i * LANE, v);
    }
}

__device__ unsigned quantise(float v, float top, int truncates)
{
    if (!(v > 0))
        return 0;
    if (v >= 1)
        return static_cast<unsigned>(top);
    return static_cast<unsigned>(truncates
        ? __fmul_rn(v, __fadd_rn(top, 0.999f))
        : __fadd_rn(__fmul_rn(v, top), 0.5f));
}

template <typename T, typename P>
__global__ void leave_pixels(nnk_map m, nnk_pixels p, float top, size_t n)
{
    const int truncates = p.truncates && sizeof(P) == 1;

    EACH_ITEM(i, n) {
        const int y = static_cast<int>(i / p.width);
        const int x = static_cast<int>(i % p.width);
        P *pixel = reinterpret_cast<P *>(static_cast<char *>(p.data) +
                                         y * p.stride) +
                   static_cast<size_t>(x) * p.channels;
        eight v = load8(at<T>(m, y + p.top, x + p.left));
        for (int c = 0; c < 3; c++)
            v.v[c] = __fdiv_rn(__fsub_rn(v.v[c], p.offset), p.scale);
        if (p.channels < 3)
            pixel[0] = static_cast<P>(quantise(
                __fadd_rn(__fadd_rn(__fmul_rn(0.299f, v.v[0]),
                                    __fmul_rn(0.587f, v.v[1])),
                          __fmul_rn(0.114f, v.v[2])), top, truncates));
        else
            for (int c = 0; c < 3; c++)
                pixel[c] = static_cast<P>(quantise(v.v[c], top, truncates));
    }
}

/* ---- before a convolution ---- */

__device__ int source(int i, int n, int reflect)
{
    if (i >= 0 && i < n)
        return i;
    if (!reflect)
        return -1;
    return i < 0 ? min(-i, n - 1) : max(2 * n - 2 - i, 0);
}

template <typename T>
__device__ eight gathered(const nnk_gather &g, int y, int x, int c)
{
    const int r = g.unshuffle;
    eight v;

    if (r == 1) {
        const int half = g.upsample - 1;        /* 1 or 2 */
        v = load8(at<T>(g.src, y >> half, x >> half) + c);
    } else {
#pragma unroll
        for (int k = 0; k < LANE; k++) {
            const int from = (c + k) / (r * r), i = (c + k) % (r * r);
            v.v[k] = from >= g.channels ? 0 :
                     to_float(at<T>(g.src, y * r + i / r, x * r + i % r)[from]);
        }
    }
    if (g.norm) {
        const eight mean = load8(g.norm + c);
        const eight scale = load8(g.norm + g.src.lanes + c);
        const eight shift = load8(g.norm + 2 * g.src.lanes + c);
#pragma unroll
        for (int k = 0; k < LANE; k++)
            v.v[k] = (v.v[k] - mean.v[k]) * scale.v[k] + shift.v[k];
    }
#pragma unroll
    for (int k = 0; k < LANE; k++)
        v.v[k] = pre_of<T>(g.pre, v.v[k]);
    return v;
}

template <typename T, typename D>
__global__ void gather(nnk_gather g)
{
    const unsigned blocks = g.lanes / LANE, row = g.cols * blocks;

    EACH_ROW(i, g.rows) {
        const int y = source(g.y0 + i, g.height, g.reflect);
        D *to = static_cast<D *>(g.dst) + static_cast<size_t>(i) * row * LANE;
        EACH_PLACE(j, row) {
            const int column = static_cast<int>(j / blocks);
            const int c = static_cast<int>(j - column * blocks) * LANE;
            const int x = source(g.x0 + column, g.width, g.reflect);
            eight v = {};
            if (y >= 0 && x >= 0)
                v = gathered<T>(g, y, x, c);
            store8(to + static_cast<size_t>(j) * LANE, v);
        }
    }
}

/* ---- after it ---- */

template <typename T>
__device__ float combine(int post, float v, float a, float b)
{
    return post == 1 ? a + v : post == 2 ? a + b * sigmoid<T>(v) :
           post == 3 ? a / sqrtf(v) : post == 4 ? a * sqrtf(v) : v;
}

template <typename T, typename R>
__device__ eight block_of(const nnk_post &p, int y, int x, int c)
{
    const int r = p.shuffle;
    eight v;

    if (r == 1)
        return load8(at<R>(p.row, y, x) + c);
    const int spot = y % r * r + x % r;
    const R *row = at<R>(p.row, y / r, x / r);
    if (p.permuted)
        return load8(row + spot * p.channels + c);
#pragma unroll
    for (int k = 0; k < LANE; k++)
        v.v[k] = c + k < p.channels ? to_float(row[(c + k) * r * r + spot]) : 0;
    return v;
}

template <typename T, typename R>
__global__ void post(nnk_post p)
{
    const unsigned blocks = p.dst.lanes / LANE, row = p.dst.cols * blocks;

    EACH_ROW(i, p.dst.rows) {
        const int y = p.dst.y0 + i;
        T *to = static_cast<T *>(p.dst.data) + static_cast<size_t>(i) * row * LANE;
        EACH_PLACE(j, row) {
            const int column = static_cast<int>(j / blocks);
            const int c = static_cast<int>(j - column * blocks) * LANE;
            const int x = p.dst.x0 + column;
            eight v = block_of<T, R>(p, y, x, c), a = {}, b = {};
            if (p.arg[0].data)
                a = load8(at<T>(p.arg[0], y, x) + c);
            if (p.arg[1].data)
                b = load8(at<T>(p.arg[1], y, x) + c);
#pragma unroll
            for (int k = 0; k < LANE; k++)
                v.v[k] = combine<T>(p.post, v.v[k], a.v[k], b.v[k]);
            store8(to + static_cast<size_t>(j) * LANE, v);
        }
    }
}

template <typename T>
__global__ void add_bias(T *y, const float *bias, const T *add, int lanes,
                         int act, size_t n)
{
    EACH_ITEM(i, n) {
        const eight b = load8(bias + i * LANE % lanes);
        eight v = load8(y + i * LANE), a = {};
        if (add)
            a = load8(add + i * LANE);
#pragma unroll
        for (int k = 0; k < LANE; k++)
            v.v[k] = pre_of<T>(act, v.v[k] + b.v[k]) + a.v[k];
        store8(y + i * LANE, v);
    }
}

template <typename T>
__global__ void convert(T *to, const float *from, size_t n)
{
    EACH_ITEM(i, n)
        from_float(&to[i], from[i]);
}

/* ---- statistics ---- */

constexpr int MAX_CHUNKS = 1024, CHUNK = 256;   /* samples, at least */

int chunks_of(int rows, int cols)
{
    const size_t n = (static_cast<size_t>(rows) * cols + CHUNK - 1) / CHUNK;
    return n < MAX_CHUNKS ? static_cast<int>(n) : MAX_CHUNKS;
}

/* Of each channel of a chunk of samples: sum of x - x of the first sample, and of
 * its square.  blockIdx.y takes 8 THREADS channels. */
template <typename T>
__global__ void sum_chunk(nnk_map m, float *sums, size_t samples, size_t chunk)
{
    __shared__ float s[THREADS][2 * LANE + 1];
    const int blocks = m.lanes / LANE, wide = min(blocks, THREADS);
    const int column = threadIdx.x % wide, row = threadIdx.x / wide;
    const int rows = THREADS / wide;
    const int c = (blockIdx.y * THREADS + column) * LANE;
    const T *data = static_cast<const T *>(m.data);
    const size_t from = blockIdx.x * chunk, to = min(from + chunk, samples);
    float sum[LANE] = {}, squares[LANE] = {};

    if (row < rows && c < m.lanes) {
        const eight shift = load8(data + c);
        for (size_t i = from + row; i < to; i += rows) {
            const eight x = load8(data + i * m.lanes + c);
#pragma unroll
            for (int k = 0; k < LANE; k++) {
                const float d = x.v[k] - shift.v[k];
                sum[k] += d;
                squares[k] += d * d;
            }
        }
    }
    for (int k = 0; k < LANE; k++) {
        s[threadIdx.x][k] = sum[k];
        s[threadIdx.x][LANE + k] = squares[k];
    }
    __syncthreads();
    if (row > 0 || c >= m.lanes)
        return;
    for (int r = 1; r < rows; r++)
        for (int k = 0; k < LANE; k++) {
            sum[k] += s[r * wide + column][k];
            squares[k] += s[r * wide + column][LANE + k];
        }
    float *out = sums + (static_cast<size_t>(blockIdx.x) * m.lanes + c) * 2;
    for (int k = 0; k < LANE; k++) {
        out[2 * k] = sum[k];
        out[2 * k + 1] = squares[k];
    }
}

__device__ double block_sum(double x, double *shared)
{
    shared[threadIdx.x] = x;
    __syncthreads();
    for (int n = THREADS / 2; n > 0; n /= 2) {
        if (threadIdx.x < n)
            shared[threadIdx.x] += shared[threadIdx.x + n];
        __syncthreads();
    }
    const double all = shared[0];
    __syncthreads();
    return all;
}

/* One group a block. */
template <typename T>
__global__ void finish_norm(nnk_norm n, int chunks, double samples)
{
    __shared__ double shared[THREADS];
    const int size = n.channels / n.groups, first = blockIdx.x * size;
    const int items = size * chunks, lanes = n.src.lanes;
    const T *data = static_cast<const T *>(n.src.data);
    double mean = 0, var = 0;

    for (int i = threadIdx.x; i < items; i += THREADS)
        mean += n.sums[(static_cast<size_t>(i / size) * lanes + first +
                        i % size) * 2];
    for (int i = threadIdx.x; i < size; i += THREADS)
        mean += samples * to_float(data[first + i]);
    mean = block_sum(mean, shared) / (samples * size);
    for (int i = threadIdx.x; i < items; i += THREADS) {
        const float *s = n.sums + (static_cast<size_t>(i / size) * lanes +
                                   first + i % size) * 2;
        const double off = mean - to_float(data[first + i % size]);
        var += s[1] - 2 * off * s[0];
    }
    for (int i = threadIdx.x; i < size; i += THREADS) {
        const double off = mean - to_float(data[first + i]);
        var += samples * off * off;
    }
    var = block_sum(var, shared) / (samples * size);
    for (int i = threadIdx.x; i < size; i += THREADS) {
        const int c = first + i;
        const float near = static_cast<float>(mean);
        const float scale = static_cast<float>(
            n.weights[c] / sqrt(fmax(var, 0.0) + n.eps));
        n.out[c] = near;
        n.out[lanes + c] = scale;
        n.out[2 * lanes + c] = static_cast<float>(
            n.weights[lanes + c] + (near - mean) * scale);
    }
    if (blockIdx.x == 0 && threadIdx.x < lanes - n.channels)
        for (int k = 0; k < 3; k++)
            n.out[k * lanes + n.channels + threadIdx.x] = 0;
}

/* ---- attention ---- */

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

int blocks_for(size_t n)
{
    const size_t blocks = (n + THREADS - 1) / THREADS;
    return static_cast<int>(blocks < 132 * 32 ? (blocks ? blocks : 1)
                                              : 132 * 32);
}

/* Rows by their parts; some 32 blocks of them for each multiprocessor. */
dim3 grid_for(int rows, int cols, int lanes)
{
    const int row = (cols * (lanes / LANE) + THREADS - 1) / THREADS;
    const int high = rows < 65535 ? rows : 65535;
    return dim3(row < 64 ? row : 64, high);
}

size_t items_of(int rows, int cols, int lanes)
{
    return static_cast<size_t>(rows) * cols * (lanes / LANE);
}

template <typename T>
cudaError_t run_norm(const nnk_norm &n, cudaStream_t stream)
{
    const size_t samples = static_cast<size_t>(n.src.rows) * n.src.cols;
    const int chunks = chunks_of(n.src.rows, n.src.cols);
    const dim3 grid(chunks, (n.src.lanes / LANE + THREADS - 1) / THREADS);

    sum_chunk<T><<<grid, THREADS, 0, stream>>>(
        n.src, n.sums, samples, (samples + chunks - 1) / chunks);
    finish_norm<T><<<n.groups, THREADS, 0, stream>>>(
        n, chunks, static_cast<double>(samples));
    return cudaGetLastError();
}

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

#define BY_TYPE(type, call)                              \
    ((type) == NNK_F32 ? call<float>                     \
     : (type) == NNK_F16 ? call<__half> : call<__nv_bfloat16>)

template <typename T>
static void launch_enter(nnk_map m, const float *planes, int channels,
                         cudaStream_t stream)
{
    const size_t n = items_of(m.rows, m.cols, m.lanes);
    enter<T><<<blocks_for(n), THREADS, 0, stream>>>(m, planes, channels, n);
}

cudaError_t nnk_enter(nnk_type type, const nnk_map *map, const float *planes,
                      int channels, cudaStream_t stream)
{
    BY_TYPE(type, launch_enter)(*map, planes, channels, stream);
    return cudaGetLastError();
}

template <typename T>
static void launch_leave(nnk_map m, float *planes, int channels,
                         cudaStream_t stream)
{
    const size_t n = items_of(m.rows, m.cols, m.lanes);
    leave<T><<<blocks_for(n), THREADS, 0, stream>>>(m, planes, channels, n);
}

cudaError_t nnk_leave(nnk_type type, const nnk_map *map, float *planes,
                      int channels, cudaStream_t stream)
{
    BY_TYPE(type, launch_leave)(*map, planes, channels, stream);
    return cudaGetLastError();
}

template <typename T>
static void launch_enter_map(nnk_map m, const float *samples, int channels,
                             cudaStream_t stream)
{
    const size_t n = items_of(m.rows, m.cols, m.lanes);
    enter_map<T><<<blocks_for(n), THREADS, 0, stream>>>(m, samples, channels, n);
}

cudaError_t nnk_enter_map(nnk_type type, const nnk_map *map, const float *samples,
                          int channels, cudaStream_t stream)
{
    BY_TYPE(type, launch_enter_map)(*map, samples, channels, stream);
    return cudaGetLastError();
}

template <typename T>
static void launch_leave_map(nnk_map m, float *samples, int channels,
                             cudaStream_t stream)
{
    const size_t n = items_of(m.rows, m.cols, m.lanes);
    leave_map<T><<<blocks_for(n), THREADS, 0, stream>>>(m, samples, channels, n);
}

cudaError_t nnk_leave_map(nnk_type type, const nnk_map *map, float *samples,
                          int channels, cudaStream_t stream)
{
    BY_TYPE(type, launch_leave_map)(*map, samples, channels, stream);
    return cudaGetLastError();
}

template <typename T>
static void launch_enter_pixels(nnk_map m, nnk_pixels p, cudaStream_t stream)
{
    const size_t n = static_cast<size_t>(m.rows) * m.cols;
    if (p.wide)
        enter_pixels<T, uint16_t><<<blocks_for(n), THREADS, 0, stream>>>(
            m, p, 65535.0f, n);
    else
        enter_pixels<T, uint8_t><<<blocks_for(n), THREADS, 0, stream>>>(
            m, p, 255.0f, n);
}

cudaError_t nnk_enter_pixels(nnk_type type, const nnk_map *map,
                             const nnk_pixels *pixels, cudaStream_t stream)
{
    BY_TYPE(type, launch_enter_pixels)(*map, *pixels, stream);
    return cudaGetLastError();
}

template <typename T>
static void launch_leave_pixels(nnk_map m, nnk_pixels p, cudaStream_t stream)
{
    const size_t n = static_cast<size_t>(p.height) * p.width;
    if (p.wide)
        leave_pixels<T, uint16_t><<<blocks_for(n), THREADS, 0, stream>>>(
            m, p, 65535.0f, n);
    else
        leave_pixels<T, uint8_t><<<blocks_for(n), THREADS, 0, stream>>>(
            m, p, 255.0f, n);
}

cudaError_t nnk_leave_pixels(nnk_type type, const nnk_map *map,
                             const nnk_pixels *pixels, cudaStream_t stream)
{
    BY_TYPE(type, launch_leave_pixels)(*map, *pixels, stream);
    return cudaGetLastError();
}

template <typename T>
static void launch_gather(const nnk_gather &g, cudaStream_t stream)
{
    const dim3 grid = grid_for(g.rows, g.cols, g.lanes);
    if (g.wide)
        gather<T, float><<<grid, THREADS, 0, stream>>>(g);
    else
        gather<T, T><<<grid, THREADS, 0, stream>>>(g);
}

cudaError_t nnk_gather_run(nnk_type type, const nnk_gather *g,
                           cudaStream_t stream)
{
    BY_TYPE(type, launch_gather)(*g, stream);
    return cudaGetLastError();
}

template <typename T>
static void launch_post(const nnk_post &p, cudaStream_t stream)
{
    const dim3 grid = grid_for(p.dst.rows, p.dst.cols, p.dst.lanes);
    if (p.wide)
        post<T, float><<<grid, THREADS, 0, stream>>>(p);
    else
        post<T, T><<<grid, THREADS, 0, stream>>>(p);
}

cudaError_t nnk_post_run(nnk_type type, const nnk_post *p, cudaStream_t stream)
{
    BY_TYPE(type, launch_post)(*p, stream);
    return cudaGetLastError();
}

size_t nnk_norm_floats(int rows, int cols, int lanes)
{
    return 2 * static_cast<size_t>(chunks_of(rows, cols)) * lanes;
}

cudaError_t nnk_norm_run(nnk_type type, const nnk_norm *n, cudaStream_t stream)
{
    return BY_TYPE(type, run_norm)(*n, stream);
}

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

template <typename T>
static void launch_bias(void *y, const float *bias, const void *add,
                        size_t samples, int lanes, int act, cudaStream_t stream)
{
    const size_t n = samples * (lanes / LANE);
    add_bias<T><<<blocks_for(n), THREADS, 0, stream>>>(
        static_cast<T *>(y), bias, static_cast<const T *>(add), lanes, act, n);
}

cudaError_t nnk_bias_run(nnk_type type, void *y, const float *bias,
                         const void *add, size_t samples, int lanes, int act,
                         cudaStream_t stream)
{
    BY_TYPE(type, launch_bias)(y, bias, add, samples, lanes, act, stream);
    return cudaGetLastError();
}

template <typename T>
static void launch_convert(void *to, const float *from, size_t n,
                           cudaStream_t stream)
{
    convert<T><<<blocks_for(n), THREADS, 0, stream>>>(static_cast<T *>(to),
                                                      from, n);
}

cudaError_t nnk_convert_run(nnk_type type, void *to, const float *from,
                            size_t n, cudaStream_t stream)
{
    BY_TYPE(type, launch_convert)(to, from, n, stream);
    return cudaGetLastError();
}

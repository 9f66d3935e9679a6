/* SPDX-License-Identifier: BSD-2-Clause */
/* What is done to rows before a convolution and after it. */
#include "lib/nn/cuda/steps.cuh"

namespace {

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
    D *const dst = static_cast<D *>(g.dst) +
                   static_cast<size_t>(blockIdx.z) * g.rows * row * LANE;

    g.src = item_of<T>(g.src, blockIdx.z);
    if (g.norm)
        g.norm += static_cast<size_t>(3) * g.src.lanes * blockIdx.z;
    EACH_ROW(i, g.rows) {
        const int y = source(g.y0 + i, g.height, g.reflect);
        D *to = dst + static_cast<size_t>(i) * row * LANE;
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

    p.row = item_of<R>(p.row, blockIdx.z);
    p.dst = item_of<T>(p.dst, blockIdx.z);
    for (nnk_map &a : p.arg)
        if (a.data)
            a = item_of<T>(a, blockIdx.z);
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

__global__ void differ(const uint16_t *a, const uint16_t *b, size_t n, int *found)
{
    bool any = false;
    EACH_ITEM(i, n)
        any = any || a[i] != b[i];
    if (any)
        *found = 1;
}

} // namespace

template <typename T>
static void launch_gather(const nnk_gather &g, cudaStream_t stream)
{
    const dim3 grid = grid_for(g.rows, g.cols, g.lanes, g.src.items);
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
    const dim3 grid = grid_for(p.dst.rows, p.dst.cols, p.dst.lanes, p.dst.items);
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

cudaError_t nnk_differ_run(const void *a, const void *b, size_t n, int *found,
                           cudaStream_t stream)
{
    differ<<<blocks_for(n), THREADS, 0, stream>>>(
        static_cast<const uint16_t *>(a), static_cast<const uint16_t *>(b), n, found);
    return cudaGetLastError();
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Samples and pixels to maps, and back. */
#include "lib/nn/cuda/steps.cuh"

namespace {

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

/* Items are rows behind those of the first. */
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

} // namespace

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
    const size_t n = m.items * items_of(m.rows, m.cols, m.lanes);
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
    const size_t n = m.items * items_of(m.rows, m.cols, m.lanes);
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

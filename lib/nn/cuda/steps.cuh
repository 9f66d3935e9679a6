/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernels of lib/nn/device.h share.  A thread has eight neighbouring
 * channels of one sample at a time: 16 bytes of half precision, two of them of
 * floats.  All but convolutions are bound by memory. */
#ifndef TSR_LIB_NN_CUDA_STEPS_CUH
#define TSR_LIB_NN_CUDA_STEPS_CUH
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

/* Item i of a map. */
template <typename T> __device__ nnk_map item_of(nnk_map m, unsigned i)
{
    m.data = static_cast<T *>(m.data) +
             static_cast<size_t>(i) * m.rows * m.cols * m.lanes;
    return m;
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

/* ---- launching ---- */

inline int blocks_for(size_t n)
{
    const size_t blocks = (n + THREADS - 1) / THREADS;
    return static_cast<int>(blocks < 132 * 32 ? (blocks ? blocks : 1)
                                              : 132 * 32);
}

/* Rows by their parts; some 32 blocks of them for each multiprocessor.  A layer for
 * each item. */
inline dim3 grid_for(int rows, int cols, int lanes, int items)
{
    const int row = (cols * (lanes / LANE) + THREADS - 1) / THREADS;
    const int high = rows < 65535 ? rows : 65535;
    return dim3(row < 64 ? row : 64, high, items);
}

inline size_t items_of(int rows, int cols, int lanes)
{
    return static_cast<size_t>(rows) * cols * (lanes / LANE);
}

} // namespace

#define BY_TYPE(type, call)                              \
    ((type) == NNK_F32 ? call<float>                     \
     : (type) == NNK_F16 ? call<__half> : call<__nv_bfloat16>)
#endif

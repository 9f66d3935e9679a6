/* SPDX-License-Identifier: BSD-2-Clause */
/* Number formats and curves of one-dimensional nets. */
#ifndef TSR_LIB_NN_CUDA_SEQ_NUMBERS_CUH
#define TSR_LIB_NN_CUDA_SEQ_NUMBERS_CUH
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>
#include "lib/nn/cuda/seq_kernels.h"

namespace {

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__half x) { return __half2float(x); }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline void from_float(float *to, float x) { *to = x; }
/* What is beyond a half's range stays its largest: an infinity would spread. */
__device__ inline void from_float(__half *to, float x)
{
    *to = __float2half_rn(x > 65504.f ? 65504.f : x < -65504.f ? -65504.f : x);
}
__device__ inline void from_float(__nv_bfloat16 *to, float x)
{
    *to = __float2bfloat16_rn(x);
}

template <typename T, int N> struct alignas(N * sizeof(T)) pack { T v[N]; };

/* The phase is reduced in double: of many turns it keeps its digits. */
__device__ inline float snake(float x, float a)
{
    const double half_turns = (double)a * x * 0.31830988618379067154;
    const float s = sinpif((float)(half_turns - rint(half_turns)));
    return x + s * s / (a + 1e-9f);
}

/* i: number of a row. */
__device__ inline float curve_of(const sqk_curve &k, float x, int i)
{
    switch (k.curve) {
    case 1: return x >= 0 ? x : expm1f(x);
    case 2: return x >= 0 ? x : k.slope * x;
    case 3: return snake(x, k.alpha[i % k.period]);
    case 4: return tanhf(x);
    }
    return x;
}

}
#endif

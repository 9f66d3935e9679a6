/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernels that make units of published methods share. */
#ifndef TSR_CODECS_KV_CUDA_PUT_CUH
#define TSR_CODECS_KV_CUDA_PUT_CUH
#include "codecs/kv/cuda/method.cuh"

enum { THREADS = 256, WARPS = THREADS / WARP };
enum { PACKED = 0, SLICE = 4096 };  /* SLICE: values of a thread block, about */

/* 32 bits, opaque: of a 16-bit register that was just converted, ptxas of CUDA 13.0
 * stores not the low byte but the float as an integer. */
static __device__ inline uint32_t half_of(float v, bool &good)
{
    uint32_t half = __half_as_ushort(__float2half_rn(v));
    asm("" : "+r"(half));

    good &= (half & 0x7c00) != 0x7c00;
    return half;
}

static inline size_t count_units(const job *j)
{
    return (size_t)j->objects * j->groups * j->tiles;
}

static inline int most_tokens(const job *j)
{
    return j->tile < j->tokens ? j->tile : j->tokens;
}

static inline int most_channels(const job *j)
{
    return j->channels[0] > j->channels[1] ? j->channels[0] : j->channels[1];
}

/* Thread blocks of a unit; 0: they would be too many. */
static inline int count_parts(const job *j)
{
    const size_t values = (size_t)most_tokens(j) * most_channels(j);
    const size_t parts = (values + SLICE - 1) / SLICE;

    return count_units(j) * parts > INT32_MAX ? 0 : (int)parts;
}
#endif

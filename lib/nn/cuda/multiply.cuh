/* SPDX-License-Identifier: BSD-2-Clause */
/* A step of k of a product of matrices on tensor cores, by a warp, from shared
 * memory: rows of a by rows of b (columns of the product), of 64 bytes of k each and
 * 16 bytes that keep any eight of them in different banks.
 *
 * Floats are multiplied without what rounding to TF32 loses: a float is the sum of
 * two numbers of TF32 but for its last bits, and of the four products of two such
 * sums the three that matter are made.  Tensor cores cut off what does not fit a
 * sum, so theirs end with the step, and the sums of those are rounded; of their
 * inputs they read the bits of TF32 only. */
#ifndef TSR_LIB_NN_CUDA_MULTIPLY_CUH
#define TSR_LIB_NN_CUDA_MULTIPLY_CUH
#include "lib/nn/cuda/seq_ptx.cuh"

namespace {

template <typename T> constexpr int BK = 64 / sizeof(T);        /* k of a step */
template <typename T> constexpr int PIECE = 16 / sizeof(T);     /* of 16 bytes */
template <typename T> constexpr int PITCH = BK<T> + PIECE<T>;

/* ---- 16 bits ---- */

/* Adds to the sums of a warp's 16 MS rows and 8 NS columns, from its first on. */
template <int MS, int NS, typename T>
__device__ inline void multiply_step(float sum[MS][NS][4], const T *a, const T *b)
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < BK<T>; k += 16) {
        uint32_t x[MS][4], y[NS][2];
#pragma unroll
        for (int i = 0; i < MS; i++)
            load_matrices(x[i], a + (i * 16 + lane % 16) * PITCH<T> + k +
                                    lane / 16 * 8);
#pragma unroll
        for (int j = 0; j < NS; j += 2) {
            uint32_t two[4];
            load_matrices(two, b + (j * 8 + lane / 16 * 8 + lane % 8) * PITCH<T> + k +
                                   lane / 8 % 2 * 8);
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
}

/* ---- floats ---- */

/* What a thread has of a product's 16 x 8 and 8 x 8 numbers. */
template <int N> struct two_parts { uint32_t high[N], low[N]; };

/* The high part is rounded as by cvt.rna.tf32, in less time; of the low one, which is
 * exact, the product cuts off what is below 2^-23 of v.  A NaN whose high part comes to
 * be a number is one in the low part. */
__device__ inline void split(float v, uint32_t &high, uint32_t &low)
{
    high = (__float_as_uint(v) + 0x1000u) & 0xffffe000u;
    low = __float_as_uint(v - __uint_as_float(high));
}

__device__ inline void multiply_tf32(float d[4], const uint32_t a[4],
                                     const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <int MS, int NS>
__device__ inline void multiply_step(float sum[MS][NS][4], const float *a,
                                     const float *b)
{
    constexpr int PARTS = BK<float> / 8;
    const int from = threadIdx.x % 32 / 4 * PITCH<float> + threadIdx.x % 4;
    two_parts<4> left[PARTS][MS];

#pragma unroll
    for (int k = 0; k < PARTS; k++)
#pragma unroll
        for (int i = 0; i < MS; i++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                split(a[from + (16 * i + e % 2 * 8) * PITCH<float> + 8 * k + e / 2 * 4],
                      left[k][i].high[e], left[k][i].low[e]);
#pragma unroll
    for (int j = 0; j < NS; j++) {
        float part[MS][4] = {};
#pragma unroll
        for (int k = 0; k < PARTS; k++) {
            two_parts<2> right;
#pragma unroll
            for (int e = 0; e < 2; e++)
                split(b[from + 8 * j * PITCH<float> + 8 * k + 4 * e], right.high[e],
                      right.low[e]);
#pragma unroll
            for (int i = 0; i < MS; i++) {
                multiply_tf32(part[i], left[k][i].low, right.high);
                multiply_tf32(part[i], left[k][i].high, right.low);
                multiply_tf32(part[i], left[k][i].high, right.high);
            }
        }
#pragma unroll
        for (int i = 0; i < MS; i++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                sum[i][j][e] += part[i][e];
    }
}

}
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* A step of k of a convolution in 16 bits, on tensor cores. */
#ifndef TSR_LIB_NN_CUDA_SEQ_CONV_HALF_CUH
#define TSR_LIB_NN_CUDA_SEQ_CONV_HALF_CUH
#include "lib/nn/cuda/seq_conv.cuh"
#include "lib/nn/cuda/seq_ptx.cuh"

namespace {

constexpr int BK = 32, PIECE = 8;
constexpr int PITCH = BK + PIECE;   /* no two rows of 8 share banks */

/* Sums of a warp's WM x WN of a tile, over the k of one step: rows of a and
 * columns of b, of PITCH numbers each, from the warp's first on. */
template <typename T, int MS, int NS>
__device__ inline void multiply_step(float sum[MS][NS][4], const T *a, const T *b)
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < BK; k += 16) {
        uint32_t x[MS][4], y[NS][2];
#pragma unroll
        for (int i = 0; i < MS; i++)
            load_matrices(x[i], a + (i * 16 + lane % 16) * PITCH + k + lane / 16 * 8);
#pragma unroll
        for (int j = 0; j < NS; j += 2) {
            uint32_t two[4];
            load_matrices(two, b + (j * 8 + lane / 16 * 8 + lane % 8) * PITCH + k +
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

}
#endif

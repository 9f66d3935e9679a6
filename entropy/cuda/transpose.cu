/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/cuda/plan_kernels.h"

/* A square of 32 x 32 words, 128 bytes wide and 32 high on both sides. */
enum { SIDE = 128, THREADS = 256 };

/* to[c][r] = from[r][c], bytes, a square of SIDE through shared memory. */
static __global__ void transpose(uint8_t *to, const uint8_t *from, size_t rows,
                                 size_t columns)
{
    __shared__ uint8_t square[SIDE][SIDE + 4];
    const size_t r0 = (size_t)blockIdx.y * SIDE, c0 = (size_t)blockIdx.x * SIDE;

    for (unsigned i = threadIdx.x; i < SIDE * SIDE; i += THREADS)
        if (r0 + i / SIDE < rows && c0 + i % SIDE < columns)
            square[i / SIDE][i % SIDE] = from[(r0 + i / SIDE) * columns + c0 + i % SIDE];
    __syncthreads();
    for (unsigned i = threadIdx.x; i < SIDE * SIDE; i += THREADS)
        if (c0 + i / SIDE < columns && r0 + i % SIDE < rows)
            to[(c0 + i / SIDE) * rows + r0 + i % SIDE] = square[i % SIDE][i / SIDE];
}

extern "C" cudaError_t tsri_launch_transpose(uint8_t *to, const uint8_t *from,
                                             size_t rows, size_t columns,
                                             cudaStream_t stream)
{
    const dim3 grid((unsigned)((columns + SIDE - 1) / SIDE),
                    (unsigned)((rows + SIDE - 1) / SIDE));
    transpose<<<grid, THREADS, 0, stream>>>(to, from, rows, columns);
    return cudaGetLastError();
}

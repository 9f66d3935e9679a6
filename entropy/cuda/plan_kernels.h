/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernels of plans offer to C: launchers on device pointers, nothing
 * that waits. */
#ifndef TSR_ENTROPY_CUDA_PLAN_KERNELS_H
#define TSR_ENTROPY_CUDA_PLAN_KERNELS_H
#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

enum { TSRI_GPU_BAD = 1 << 6 };  /* of a limit: the table has no such symbol */

/** For encoders: for each of a table's symbols, as in bank_impl.h,
 *  x - x / f * f etc. become mul, limit, add; and its cost. */
typedef struct tsri_gpu_code {
    uint32_t mul[256];
    uint32_t limit[256];    /**< f << (32 - p) | inc << 5 | shift, or
                                 TSRI_GPU_BAD */
    uint32_t add[256];      /**< bias << 16 | cmpl */
    uint32_t cost[256];     /**< in 1/2048 bit */
} tsri_gpu_code;

/** tsri_plan_run */
typedef struct tsri_gpu_run {
    int table, first, count;
} tsri_gpu_run;

/** A plan in device memory; what is not said here is as in plan_impl.h. */
typedef struct tsri_gpu_plan {
    int bits, channels, groups, tile, lanes;
    const uint32_t *slot;       /**< tables << bits: f << 20 | slot - start << 8
                                     | symbol; NULL: bits > 12 */
    const uint16_t *start;      /**< of table t, from first[t] + t: the starts
                                     of its symbols and 2^p */
    const uint32_t *first;      /**< where a table's symbols begin, and the end */
    const tsri_gpu_code *code;  /**< of each table */
    const int32_t *channel;     /**< of each place */
    const uint8_t *offset;      /**< of each channel */
    const tsri_gpu_run *runs;
    const int32_t *first_run;
} tsri_gpu_plan;

/** A matrix, value of token t and channel c at data[c * pitch + t], and its
 *  blocks, which are ceil(tokens / tile) * groups. */
typedef struct tsri_gpu_matrix {
    uint8_t *data;
    size_t tokens, pitch;
    uint32_t crc;               /**< block b has the seed crc + b */
} tsri_gpu_matrix;

#ifdef __cplusplus
extern "C" {
#endif

/** A matrix of bytes, of any strides. */
typedef struct tsri_gpu_plane {
    uint8_t *data;
    ptrdiff_t channel_step, token_step;
} tsri_gpu_plane;

/** Copies a matrix; fast where neighbouring tokens are neighbours in one of
 *  both, and channels in the other: in `from` tokens where back is set. */
cudaError_t tsri_launch_transpose(const tsri_gpu_plane *to,
                                  const tsri_gpu_plane *from, size_t channels,
                                  size_t tokens, int back, cudaStream_t stream);

/** offset[i] = sum of size[0..i-1], i = 0..n. */
cudaError_t tsri_launch_offsets(uint64_t *offset, const uint32_t *size, size_t n,
                                cudaStream_t stream);

/** status[b] = TSR_OK or TSR_E_CORRUPT. */
cudaError_t tsri_launch_decode(const tsri_gpu_plan *plan, const uint8_t *data,
                               uint64_t size, const uint64_t *offset,
                               const tsri_gpu_matrix *out, int32_t *status,
                               cudaStream_t stream);

/** Block b in room of `slot` bytes from slots + b * slot, at its end; slot is a
 *  multiple of 16.  status[b] = TSR_OK or TSR_E_ARG, then size[b] = 0. */
cudaError_t tsri_launch_encode(const tsri_gpu_plan *plan,
                               const tsri_gpu_matrix *in, uint8_t *slots,
                               size_t slot, uint32_t *size, int32_t *status,
                               cudaStream_t stream);

/** Blocks from the ends of their slots to out + offset[b]; those that do not
 *  fit into `room` bytes get status[b] = TSR_E_LIMIT. */
cudaError_t tsri_launch_gather(uint8_t *out, uint64_t room,
                               const uint64_t *offset, const uint8_t *slots,
                               size_t slot, size_t blocks, int32_t *status,
                               cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Plans (entropy/plan.h) on a CUDA device: the same blocks, bit for bit.
 *
 * All pointers but those to the structures here are device memory.  Calls queue
 * work on the device's stream and return; nothing is allocated and nothing
 * waits.  What was wrong with a block is in its status, on the device. */
#ifndef TSR_ENTROPY_CUDA_PLAN_CUDA_H
#define TSR_ENTROPY_CUDA_PLAN_CUDA_H
#include "entropy/plan.h"
#include "lib/cuda/device.h"

/** Immutable after open. */
typedef struct tsri_plan_cuda tsri_plan_cuda;

/**
 * Makes a plan; waits for the device.
 *
 * gpu, plan  must outlive it.  Decoding is fast where the bank's precision is
 *            at most 12 bits
 *
 * Returns TSR_OK, an error of lib/cuda/device.h, TSR_E_UNSUPPORTED blocks of
 * more than 2^29 symbols, or TSR_E_NOMEM.
 * Device memory: 4 KiB a table, where the precision is at most 12 bits 4 bytes a
 * slot, 5 bytes a channel.
 */
tsr_error tsri_plan_cuda_open(tsri_plan_cuda **out, tsri_cuda *gpu,
                              const tsri_plan *plan);
void tsri_plan_cuda_close(tsri_plan_cuda **plan);

/** Bytes of scratch memory that the calls below need; 0: does not fit.  Encoding
 *  takes about twice the matrix.  A matrix that is not planar (token_step 1, a
 *  positive channel_step) takes another time the matrix. */
typedef enum tsri_plan_cuda_work {
    TSRI_PLAN_CUDA_DECODE, TSRI_PLAN_CUDA_ENCODE
} tsri_plan_cuda_work;
size_t tsri_plan_cuda_scratch(const tsri_plan_cuda *plan,
                              tsri_plan_cuda_work work, size_t tokens,
                              bool planar);

/** Coded blocks, tsri_plan_blocks() of them. */
typedef struct tsri_plan_cuda_stream {
    uint8_t *data;      /**< one after another */
    size_t size;        /**< encoder: room, at most tsri_plan_bound() is used;
                             decoder: their sum */
    uint32_t *sizes;    /**< bytes of each */
    int32_t *status;    /**< of each, out: a tsr_error */
} tsri_plan_cuda_stream;

/**
 * Codes a matrix.
 *
 * in       a matrix in device memory, read only
 * crc      as of tsri_plan_encode()
 * out      status: TSR_OK, TSR_E_ARG a value that its table does not have (size
 *          0), or TSR_E_LIMIT the block did not fit into out->size bytes
 * total    out: the sum of the sizes
 * scratch  of tsri_plan_cuda_scratch(), 256-byte aligned
 */
tsr_error tsri_plan_cuda_encode(const tsri_plan_cuda *plan,
                                const tsri_bytes2d *in, uint32_t crc,
                                const tsri_plan_cuda_stream *out,
                                uint64_t *total, void *scratch);

/**
 * The reverse.
 *
 * in     data and sizes may be anything; data, 4-byte aligned, must be readable
 *        up to the next multiple of 4 bytes.  status: TSR_OK or TSR_E_CORRUPT;
 *        all are corrupt where the sizes do not add up
 * out    a matrix in device memory; the values of corrupt blocks are undefined,
 *        all others are written
 */
tsr_error tsri_plan_cuda_decode(const tsri_plan_cuda *plan,
                                const tsri_plan_cuda_stream *in, uint32_t crc,
                                const tsri_bytes2d *out, void *scratch);

#endif

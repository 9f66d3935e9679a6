/* SPDX-License-Identifier: BSD-2-Clause */
/* Residual search on a CUDA device: the codes of tsr_rvq_encode() with beam 1,
 * bit for bit. */
#ifndef TSR_VQ_CUDA_RVQ_CUDA_H
#define TSR_VQ_CUDA_RVQ_CUDA_H
#include "lib/cuda/device.h"
#include "vq/rvq.h"

typedef struct tsri_rvq_cuda tsri_rvq_cuda;

/** q and gpu must outlive it; ctx: for its memory.  Returns as lib/cuda/device.h;
 *  NULL on failure.  Device memory: about ten bytes a number of the codebooks. */
tsr_error tsri_rvq_cuda_open(tsri_rvq_cuda **rvq, const tsr_rvq *q,
                             tsri_cuda *gpu);
void tsri_rvq_cuda_close(tsri_rvq_cuda **rvq);

/**
 * Searches vectors of the host, and waits.
 *
 * x      [n][groups * dim]
 * codes  out, [n][groups][stages]
 */
tsr_error tsri_rvq_cuda_encode(tsri_rvq_cuda *rvq, const float *x, size_t n,
                               int stages, int32_t *codes);
#endif

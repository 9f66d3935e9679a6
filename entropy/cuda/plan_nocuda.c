/* SPDX-License-Identifier: BSD-2-Clause */
/* A build without CUDA: no device ever opens, so nothing else is reached. */
#include "entropy/cuda/plan_cuda.h"

static const tsr_error none = TSR_E_UNSUPPORTED;

tsr_error tsri_plan_cuda_open(tsri_plan_cuda **out, tsri_cuda *gpu,
                              const tsri_plan *plan)
{
    (void)gpu, (void)plan;
    *out = NULL;
    return none;
}

void tsri_plan_cuda_close(tsri_plan_cuda **plan)
{
    (void)plan;
}

size_t tsri_plan_cuda_scratch(const tsri_plan_cuda *plan,
                              tsri_plan_cuda_work work, size_t tokens, bool planar)
{
    (void)plan, (void)work, (void)tokens, (void)planar;
    return 0;
}

tsr_error tsri_plan_cuda_encode(const tsri_plan_cuda *plan,
                                const tsri_bytes2d *in, uint32_t crc,
                                const tsri_plan_cuda_stream *out,
                                uint64_t *total, void *scratch)
{
    (void)plan, (void)in, (void)crc, (void)out, (void)total, (void)scratch;
    return none;
}

tsr_error tsri_plan_cuda_decode(const tsri_plan_cuda *plan,
                                const tsri_plan_cuda_stream *in, uint32_t crc,
                                const tsri_bytes2d *out, void *scratch)
{
    (void)plan, (void)in, (void)crc, (void)out, (void)scratch;
    return none;
}

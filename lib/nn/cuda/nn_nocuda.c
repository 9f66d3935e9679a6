/* SPDX-License-Identifier: BSD-2-Clause */
/* A build without CUDA. */
#include "lib/nn/cuda/nn_cuda.h"

const tsri_nn_backend *tsri_nn_cuda(const char *name)
{
    (void)name;
    return NULL;
}

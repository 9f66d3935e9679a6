/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/nn/backend.h"

const tsri_nn_backend *tsri_nn_onednn(void)
{
    static const tsri_nn_backend backend = { .name = "onednn" };
    return &backend;
}

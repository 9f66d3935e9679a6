/* SPDX-License-Identifier: BSD-2-Clause */
#include "codecs/kv/chain.h"

const tsri_kv_kernels *tsri_kv_kernels_avx2(void)
{
    return NULL;
}

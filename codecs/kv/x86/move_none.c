/* SPDX-License-Identifier: BSD-2-Clause */
#include "codecs/kv/move_impl.h"

const tsri_kv_moves *tsri_kv_moves_avx2(void)
{
    return NULL;
}

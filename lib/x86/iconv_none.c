/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/nn/iconv.h"

tsri_iconv_fn *tsri_iconv_avx2(void)
{
    return NULL;
}

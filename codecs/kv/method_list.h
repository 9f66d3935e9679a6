/* SPDX-License-Identifier: BSD-2-Clause */
/* The methods, one a file. */
#ifndef TSR_CODECS_KV_METHOD_LIST_H
#define TSR_CODECS_KV_METHOD_LIST_H
#include "codecs/kv/method_parts.h"

extern const tsri_kv_method tsri_kv_cachegen, tsri_kv_kivi, tsri_kv_kvquant,
    tsri_kv_gear, tsri_kv_zipcache, tsri_kv_mikv, tsri_kv_turboquant,
    tsri_kv_fp8, tsri_kv_lossless, tsri_kv_vq;
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#include "codecs/kv/method_list.h"

static const tsri_kv_method *const methods[] = {
    &tsri_kv_cachegen, &tsri_kv_kivi, &tsri_kv_kvquant, &tsri_kv_gear,
    &tsri_kv_zipcache, &tsri_kv_mikv, &tsri_kv_turboquant, &tsri_kv_fp8,
    &tsri_kv_lossless, &tsri_kv_vq
};

enum { METHODS = sizeof methods / sizeof *methods };

const tsri_kv_method *tsri_kv_method_number(int number)
{
    for (int i = 0; i < METHODS; i++)
        if (methods[i]->number == number)
            return methods[i];
    return NULL;
}

const tsri_kv_method *tsri_kv_method_name(const char *name)
{
    const size_t length = strcspn(name, ":");

    for (int i = 0; i < METHODS; i++)
        if (strlen(methods[i]->name) == length &&
            !memcmp(methods[i]->name, name, length))
            return methods[i];
    return NULL;
}

const tsri_kv_method *tsri_kv_method_index(int i)
{
    return i >= 0 && i < METHODS ? methods[i] : NULL;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "lib/modl.h"

/* The name of a model is printed: nothing that is not printable ASCII. */
static void copy_name(char *to, const char *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = from[i] < 0x20 || from[i] > 0x7e ? '?' : from[i];
}

size_t tsri_modl_put(const uint8_t hash[TSR_MODEL_HASH_BYTES], const char *name,
                     uint8_t *out)
{
    const size_t n = strlen(name);
    memcpy(out, hash, TSR_MODEL_HASH_BYTES);
    copy_name((char *)out + TSR_MODEL_HASH_BYTES, name, n);
    return TSR_MODEL_HASH_BYTES + n;
}

tsr_error tsri_modl_get(tsr_context *ctx, const uint8_t *data, size_t size,
                        uint8_t hash[TSR_MODEL_HASH_BYTES],
                        char name[TSRI_MODEL_NAME_SIZE])
{
    const size_t n = size - TSR_MODEL_HASH_BYTES;

    if (size < TSR_MODEL_HASH_BYTES || n >= TSRI_MODEL_NAME_SIZE)
        return tsri_fail(ctx, TSR_E_CORRUPT, "MODL has a wrong length");
    memcpy(hash, data, TSR_MODEL_HASH_BYTES);
    copy_name(name, (const char *)data + TSR_MODEL_HASH_BYTES, n);
    name[n] = 0;
    return TSR_OK;
}

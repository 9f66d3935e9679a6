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

tsr_error tsri_modl_find(tsr_context *ctx, tsr_model *given, const uint8_t *hash,
                         size_t bytes, const char *name, tsr_model **model)
{
    const char *space = name[0] ? " " : "";

    if (!given) {
        const tsr_error error = tsr_model_open_hash(model, ctx, hash, bytes);
        if (error)
            tsri_log(ctx, TSR_LOG_ERROR, "the stream needs model %s%s%02x%02x"
                     "%02x%02x", name, space, hash[0], hash[1], hash[2],
                     hash[3]);
        return error;
    }
    if (memcmp(tsr_model_hash(given), hash, bytes))
        return tsri_fail(ctx, TSR_E_MODEL, "the stream was made with model %s%s"
                         "%02x%02x%02x%02x, not with %s", name, space, hash[0],
                         hash[1], hash[2], hash[3], tsr_model_path(given));
    *model = tsr_model_ref(given);
    return TSR_OK;
}

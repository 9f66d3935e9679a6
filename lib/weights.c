/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "lib/bytes.h"
#include "lib/weights.h"

enum { NAME_MAX_BYTES = 256 };

static void spell_dims(char *out, size_t size, int rank, const uint64_t *dims)
{
    size_t used = 0;
    out[0] = 0;
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)(dims[i] == TSRI_ANY
                             ? snprintf(out + used, size - used, "%s*", i ? "x" : "")
                             : snprintf(out + used, size - used, "%s%llu",
                                        i ? "x" : "", (unsigned long long)dims[i]));
}

static bool same_dims(const tsr_tensor *t, int rank, const uint64_t *dims)
{
    if (t->rank != rank)
        return false;
    for (int i = 0; i < rank; i++)
        if (dims[i] == TSRI_ANY ? t->dims[i] == 0 : t->dims[i] != dims[i])
            return false;
    return true;
}

tsr_error tsri_want(tsr_context *ctx, const tsr_model *model,
                    const tsr_tensor **out, int rank, const uint64_t *dims,
                    const char *format, ...)
{
    char name[NAME_MAX_BYTES], wanted[64], found[64];
    va_list args;

    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    *out = tsr_model_tensor(model, name);
    if (!*out)
        return tsri_fail(ctx, TSR_E_SHAPE, "%s: no tensor '%s'",
                         tsr_model_path(model), name);
    if (same_dims(*out, rank, dims))
        return TSR_OK;
    spell_dims(wanted, sizeof wanted, rank, dims);
    spell_dims(found, sizeof found, (*out)->rank, (*out)->dims);
    return tsri_fail(ctx, TSR_E_SHAPE, "%s: tensor '%s' is %s, not %s",
                     tsr_model_path(model), name, found, wanted);
}

size_t tsri_tensor_count(const tsr_tensor *tensor)
{
    return tensor->bytes / tsr_dtype_bytes(tensor->dtype);
}

static float float_from(const uint8_t *p, tsr_dtype dtype)
{
    uint64_t bits;
    double wide;
    float value;

    switch (dtype) {
    case TSR_F32: return tsri_getf32(p);
    case TSR_F16: return tsri_half_to_float(tsri_get16(p));
    case TSR_BF16:
        bits = (uint64_t)tsri_get16(p) << 16;
        memcpy(&value, &(uint32_t){ (uint32_t)bits }, sizeof value);
        return value;
    default:
        bits = tsri_get64(p);
        memcpy(&wide, &bits, sizeof wide);
        return (float)wide;
    }
}

static bool int_from(const uint8_t *p, tsr_dtype dtype, int32_t *out)
{
    switch (dtype) {
    case TSR_I8: *out = (int8_t)*p; return true;
    case TSR_U8: *out = *p; return true;
    case TSR_I16: *out = (int16_t)tsri_get16(p); return true;
    case TSR_U16: *out = tsri_get16(p); return true;
    case TSR_I32: *out = (int32_t)tsri_get32(p); return true;
    case TSR_U32: *out = (int32_t)tsri_get32(p); return *out >= 0;
    default: return false;
    }
}

tsr_error tsri_tensor_floats(tsr_context *ctx, const tsr_tensor *tensor,
                             float **out)
{
    const size_t n = tsri_tensor_count(tensor);
    const size_t step = tsr_dtype_bytes(tensor->dtype);
    const uint8_t *p = tensor->data;

    *out = NULL;
    if (tensor->dtype > TSR_F64)
        return tsri_fail(ctx, TSR_E_SHAPE, "tensor '%s' is %s, not floats",
                         tensor->name, tsr_dtype_name(tensor->dtype));
    *out = tsri_alloc(ctx, n, sizeof **out);
    if (!*out)
        return tsri_nomem(ctx);
    if (tensor->dtype == TSR_F16) /* the usual type of models */
        for (size_t i = 0; i < n; i++)
            (*out)[i] = tsri_half_to_float(tsri_get16(p + 2 * i));
    else
        for (size_t i = 0; i < n; i++)
            (*out)[i] = float_from(p + i * step, tensor->dtype);
    return TSR_OK;
}

tsr_error tsri_tensor_ints(tsr_context *ctx, const tsr_tensor *tensor,
                           int32_t **out)
{
    const size_t n = tsri_tensor_count(tensor);
    const size_t step = tsr_dtype_bytes(tensor->dtype);
    const uint8_t *p = tensor->data;
    bool good = true;

    *out = tsri_alloc(ctx, n, sizeof **out);
    if (!*out)
        return tsri_nomem(ctx);
    for (size_t i = 0; i < n && good; i++)
        good = int_from(p + i * step, tensor->dtype, *out + i);
    if (good)
        return TSR_OK;
    tsri_free(ctx, *out);
    *out = NULL;
    return tsri_fail(ctx, TSR_E_SHAPE, "tensor '%s' is %s, not 32-bit integers",
                     tensor->name, tsr_dtype_name(tensor->dtype));
}

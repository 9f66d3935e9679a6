/* SPDX-License-Identifier: BSD-2-Clause */
/* How a codec asks a model for its tensors. */
#ifndef TSR_LIB_WEIGHTS_H
#define TSR_LIB_WEIGHTS_H
#include <string.h>
#include <tessera/model.h>
#include "lib/core.h"
#include "lib/sha256.h"

/** A side that may have any length. */
#define TSRI_ANY UINT64_MAX

/**
 * Finds tensor `name` (printf-style) and checks its rank and dims (a side of
 * TSRI_ANY is only checked to be >= 1).
 *
 * Returns TSR_OK; TSR_E_SHAPE, with the name in the message, when it is missing
 * or has another shape.
 */
__attribute__((format(printf, 6, 7)))
tsr_error tsri_want(tsr_context *ctx, const tsr_model *model,
                    const tsr_tensor **out, int rank, const uint64_t *dims,
                    const char *name, ...);

/** Elements of a tensor (checked at load: no overflow). */
size_t tsri_tensor_count(const tsr_tensor *tensor);

/**
 * Copies a floating-point tensor (F32, F16, BF16, F64) to floats.
 * out: taken from tsri_alloc(); the caller frees it.  TSR_E_SHAPE for integers.
 */
tsr_error tsri_tensor_floats(tsr_context *ctx, const tsr_tensor *tensor,
                             float **out);

/** Copies an integer tensor of type I8, U8, I16, U16, I32 or U32 to int32.
 *  TSR_E_SHAPE for other types or a value outside int32. */
tsr_error tsri_tensor_ints(tsr_context *ctx, const tsr_tensor *tensor,
                           int32_t **out);

/** Adds a tensor to the hash of a model (tsr_model_hash()), which takes them in
 *  order of their names. */
void tsri_tensor_hash(tsri_sha256 *hash, const tsr_tensor *tensor);

/** IEEE 754 half to float, exact.  Inline, and without branches that depend on
 *  the number: models have millions. */
static inline float tsri_half_to_float(uint16_t half)
{
    uint32_t bits = (uint32_t)(half & 0x7fff) << 13;
    const uint32_t exponent = bits & 0x0f800000;
    float value;

    bits += 112u << 23;
    bits += exponent == 0x0f800000 ? 112u << 23 : 0; /* not finite */
    bits += exponent ? 0 : 1u << 23; /* subnormal: 2^-14 too much */
    memcpy(&value, &bits, sizeof value);
    value -= exponent ? 0 : 0x1p-14f;
    memcpy(&bits, &value, sizeof bits);
    bits |= (uint32_t)(half & 0x8000) << 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}
#endif

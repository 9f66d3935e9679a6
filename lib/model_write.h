/* SPDX-License-Identifier: BSD-2-Clause */
/* Model files written. */
#ifndef TSR_LIB_MODEL_WRITE_H
#define TSR_LIB_MODEL_WRITE_H
#include <tessera/io.h>
#include <tessera/model.h>
#include "lib/core.h"

/** Key of metadata entry i of a model, and its value; NULL behind the last. */
const char *tsri_model_meta_at(const tsr_model *model, size_t i,
                               const char **value);

/**
 * Writes a safetensors file of `tensors`, names all different, with the metadata
 * of `model` and the right "tessera.sha256".  Data begin at a multiple of 64
 * bytes, and every tensor at one of its elements' size.
 *
 * tensors  borrowed; sorted by name by the call
 *
 * Returns TSR_OK; TSR_E_NOMEM; what the sink returns.
 */
tsr_error tsri_model_write(tsr_context *ctx, const tsr_model *model,
                           tsr_tensor *tensors, size_t n, const tsr_sink *sink);
#endif

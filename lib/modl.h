/* SPDX-License-Identifier: BSD-2-Clause */
/* The payload of MODL chunks: which model a stream needs (docs/format.md 5). */
#ifndef TSR_LIB_MODL_H
#define TSR_LIB_MODL_H
#include <tessera/model.h>
#include "lib/core.h"

enum { TSRI_MODEL_NAME_SIZE = 64 };     /**< with its 0 */

/** Writes hash and name, TSR_MODEL_HASH_BYTES + strlen(name) bytes, and returns
 *  their number.  What is not printable ASCII in the name becomes '?'. */
size_t tsri_modl_put(const uint8_t hash[TSR_MODEL_HASH_BYTES], const char *name,
                     uint8_t *out);
/** The reverse.  Returns TSR_OK; TSR_E_CORRUPT a wrong length. */
tsr_error tsri_modl_get(tsr_context *ctx, const uint8_t *data, size_t size,
                        uint8_t hash[TSR_MODEL_HASH_BYTES],
                        char name[TSRI_MODEL_NAME_SIZE]);

/**
 * The model of a stream.
 *
 * given  the caller's, which must be that model; NULL: it is looked for
 * bytes  how many of the hash the stream has
 * name   as the stream has it, may be ""
 * model  out: one reference
 *
 * Returns TSR_OK; TSR_E_MODEL; as tsr_model_open_hash().
 */
tsr_error tsri_modl_find(tsr_context *ctx, tsr_model *given, const uint8_t *hash,
                         size_t bytes, const char *name, tsr_model **model);
#endif

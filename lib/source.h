/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_LIB_SOURCE_H
#define TSR_LIB_SOURCE_H
#include <tessera/io.h>
#include "lib/core.h"

/** Reads a source to its end.  *data: out, also on failure; tsri_free() it.
 *  Returns TSR_OK; TSR_E_LIMIT over `most` bytes; what the source returned;
 *  TSR_E_NOMEM. */
tsr_error tsri_read_all(tsr_context *ctx, const tsr_source *source, size_t most,
                        uint8_t **data, size_t *size);
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_LIB_MODEL_PATH_H
#define TSR_LIB_MODEL_PATH_H
#include <tessera/model.h>
#include "lib/core.h"

/** Whether a model's name is meant as a path (see tsr_model_open()). */
bool tsri_model_is_path(const char *name);

/** Looks NAME.safetensors up in the folders.  *path: taken, tsri_free() it.
 *  TSR_E_MODEL when there is none. */
tsr_error tsri_model_find(tsr_context *ctx, const char *name, char **path);
#endif

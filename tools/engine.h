/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_ENGINE_H
#define TOOLS_ENGINE_H
#include <tessera/context.h>
#include <tessera/model.h>
#include "tools/args.h"

/** Opens a context as the options say.  Returns an exit status; has said what
 *  was wrong. */
int engine_open(tsr_context **ctx, const args *a);

/**
 * Opens the model to encode with: -model, else the first model of the codec
 * that -c:v names, else the model "photo".  Returns an exit status; has said
 * what was wrong.
 */
int engine_model(tsr_model **model, tsr_context *ctx, const args *a);

/** Opens a model that messages shall call `name`. */
int engine_open_model(tsr_model **model, tsr_context *ctx, const char *name);
#endif

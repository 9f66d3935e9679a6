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
 * Opens the model to encode pictures (TSR_KIND_IMAGE) or sound (TSR_KIND_AUDIO)
 * with: -model, else the first model of the codec that -c:v or -c:a names, else
 * the model "photo" or "sound".  Returns an exit status; has said what was
 * wrong.
 */
int engine_model(tsr_model **model, tsr_context *ctx, const args *a, int kind);

/** Whether the model that can be found as `name` is for pictures or for sound;
 *  -1: there is none, or it is for neither. */
int engine_kind(tsr_context *ctx, const char *name);

/** Opens a model that messages shall call `name`. */
int engine_open_model(tsr_model **model, tsr_context *ctx, const char *name);
#endif

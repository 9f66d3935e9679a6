/* SPDX-License-Identifier: BSD-2-Clause */
/* What the commands that code pictures have in common. */
#ifndef TOOLS_PICTURES_H
#define TOOLS_PICTURES_H
#include <tessera/tokens.h>
#include "tools/args.h"
#include "tools/input.h"

/** -interleave and -container. */
extern const opt pictures_options[];

/**
 * The settings that the options mean for a model; without -q the quality is
 * `quality`.  Returns an exit status; has said what was wrong.
 */
int pictures_settings(tsr_image_settings *s, tsr_context *ctx, const args *a,
                      tsr_model *model, double quality);

/** What the model's codes are; 0 if it is of a codec that has none. */
int pictures_tokens(tsr_context *ctx, tsr_model *model,
                    tsr_tokens_model *info);

/**
 * Looks at the head of the .tess picture in `in`, which then is at its start
 * again, and finds its model: -model, else by its hash; *model may hold that of
 * another file, which is kept or replaced.  Returns an exit status; has said
 * what was wrong.
 */
int pictures_probe(tsr_context *ctx, const args *a, input *in,
                   tsr_image_info *info, tsr_model **model);
#endif

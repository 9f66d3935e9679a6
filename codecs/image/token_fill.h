/* SPDX-License-Identifier: BSD-2-Clause */
/* Token grids with holes to code vectors: what stands between the stream and
 * the decoder net.  docs/codecs/vqgan.md, "Lost tokens". */
#ifndef TSR_CODECS_IMAGE_TOKEN_FILL_H
#define TSR_CODECS_IMAGE_TOKEN_FILL_H
#include "codecs/image/token_near.h"
#include "codecs/image/token_units.h"

typedef struct tsri_token_fill tsri_token_fill;

/**
 * Reads the net of a model, tensors `tessera.fill.*`; without them holes are
 * filled from their neighbours (token_near.h).
 *
 * fill  out; NULL on failure; close with tsri_token_fill_close()
 * book  of that model
 *
 * Returns TSR_OK; TSR_E_SHAPE, the message names the tensor; TSR_E_NOMEM.
 */
tsr_error tsri_token_fill_open(tsri_token_fill **fill, tsr_context *ctx,
                               const tsr_model *model,
                               const tsri_token_book *book);

/** NULL is allowed, at both levels. */
void tsri_token_fill_close(tsri_token_fill **fill, tsr_context *ctx);

/** Does the model have a net for it? */
bool tsri_token_fill_trained(const tsri_token_fill *fill);

/**
 * Writes the code vectors of a whole grid.
 *
 * book   that of open
 * level  of the grid's ids; those of known tokens are in range
 * z      out, as many planes as a codeword has numbers, of the grid's size
 *
 * Returns TSR_OK; TSR_E_NOMEM.  Uses the context's threads; the result does not
 * depend on them.  Memory beyond z: a third of z and 2 bytes a token, and for
 * the net some 2 MiB a thread.
 * Cost: that of tsri_near_fill(), and of the net, if there are holes, some
 * 2 * 10^9 multiply-adds for each 16 x 16 tokens that have holes.
 */
tsr_error tsri_token_fill_run(const tsri_token_fill *fill,
                              const tsri_token_book *book, int level,
                              const tsri_token_grid *grid, tsri_fmap *z);
#endif

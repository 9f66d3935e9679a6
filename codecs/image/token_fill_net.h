/* SPDX-License-Identifier: BSD-2-Clause */
/* The net that guesses lost tokens: a transformer over windows of the grid,
 * trained by training/fill.py.
 *
 * Source: Chang et al., "MaskGIT: masked generative image transformer", CVPR
 * 2022; what is lost is its mask. */
#ifndef TSR_CODECS_IMAGE_TOKEN_FILL_NET_H
#define TSR_CODECS_IMAGE_TOKEN_FILL_NET_H
#include <tessera/model.h>
#include "codecs/image/token_book.h"
#include "codecs/image/token_near.h"

typedef struct tsri_fill_net tsri_fill_net;

/**
 * Reads the tensors `tessera.fill.*`.
 *
 * net  out; NULL on failure and where the model has none (TSR_OK)
 *
 * Returns TSR_OK; TSR_E_SHAPE a tensor is missing, does not fit the others or
 * the book, or holds what is no number; TSR_E_NOMEM.  Memory: the weights as
 * floats.
 */
tsr_error tsri_fill_net_open(tsri_fill_net **net, tsr_context *ctx,
                             const tsr_model *model,
                             const tsri_token_book *book);

/** NULL is allowed, at both levels. */
void tsri_fill_net_close(tsri_fill_net **net, tsr_context *ctx);

/**
 * Replaces, in z, the vectors of all lost tokens that have a known one in their
 * window by the mean of the vectors that may stand there, by the net's
 * probabilities; the others keep what they have.
 *
 * Returns TSR_OK; TSR_E_NOMEM.  Uses the context's threads; the result does not
 * depend on them.
 */
tsr_error tsri_fill_net_run(const tsri_fill_net *net, tsr_context *ctx,
                            const tsri_token_book *book,
                            const tsri_near_grid *grid, tsri_fmap *z);
#endif

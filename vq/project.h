/* SPDX-License-Identifier: BSD-2-Clause */
/* Projected codebooks: codewords that are a linear function of a table, folded
 * into plain codewords when a model is loaded. */
#ifndef TSR_VQ_PROJECT_H
#define TSR_VQ_PROJECT_H
#include "lib/core.h"

/**
 * Computes out = table * weight^T + bias.
 *
 * table   k x e floats, weight: d x e floats (row = output channel), bias: d
 *         floats or NULL; all row-major, borrowed
 * k       1..TSR_VQ_MAX_CODEWORDS; d, e: 1..TSR_VQ_MAX_DIM
 * out     k x d floats, for tsri_codebook_new() or tsr_rvq_open()
 *
 * Sums run in double from the first element up, the bias last, and are rounded
 * once, so the codewords are the same everywhere.  Uses the context's threads.
 * Returns TSR_OK; TSR_E_ARG.  Cost: k * d * e multiply-adds.
 * Source: Zhu et al., "Scaling the Codebook Size of VQGAN to 100,000 with a
 *         Utilization Rate of 99%" (VQGAN-LC), NeurIPS 2024; Zhu et al.,
 *         "Addressing Representation Collapse in Vector Quantized Models with
 *         One Linear Layer" (SimVQ), arXiv 2411.02038.
 */
tsr_error tsri_project(tsr_context *ctx, const float *table,
                       const float *weight, const float *bias, int k, int e,
                       int d, float *out);
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* What published methods want to know of a model (docs/kv-format.md, section 6),
 * learnt from calibration caches. */
#ifndef TOOLS_KV_TABLES_H
#define TOOLS_KV_TABLES_H
#include "tools/kv/calibrate.h"
#include "tools/kv/store.h"
#include "tools/progress.h"

/**
 * Puts tables of a method into `out`, by k-means with a fixed seed:
 *     vq:dims=D,entries=N,stages=S    codebooks of D channels (default 8), N
 *                                     entries (256), S residual stages (1)
 *     kvquant:bits=B                  levels of the values of a layer's keys and
 *                                     of its values, B = 2..4 bits (3)
 * Returns an exit status; has said what was wrong.
 */
int tables_learn(const calibration *c, const char *method, store *out,
                 progress *p);
#endif

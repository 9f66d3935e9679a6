/* SPDX-License-Identifier: BSD-2-Clause */
/* A fixed set of worker threads that share out the indices of a loop. */
#ifndef TSR_LIB_POOL_H
#define TSR_LIB_POOL_H
#include "lib/core.h"

/** `threads` >= 1 counts the caller: threads - 1 workers are started. */
tsr_error tsri_pool_open(tsri_pool **pool, tsr_context *ctx, int threads);
void tsri_pool_close(tsri_pool **pool, tsr_context *ctx);

/** Threads that work at the same time, the caller included. */
int tsri_pool_threads(const tsri_pool *pool);

/**
 * Runs body(cookie, i, worker) for i = 0..n-1, each once, in any order, and
 * returns when all are done.  worker is 0..threads-1, for scratch memory; no
 * two calls with the same worker run at the same time.  The first error stops
 * the hand-out of further indices and is returned.  Not re-entrant: the body
 * must not call it with the same pool.
 */
tsr_error tsri_pool_for(tsri_pool *pool, int n,
                        tsr_error (*body)(void *cookie, int i, int worker),
                        void *cookie);
#endif

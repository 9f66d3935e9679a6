/* SPDX-License-Identifier: BSD-2-Clause */
/* Many independent pieces of work on one context: one after the other, or in
 * lanes.  A lane is a thread with a context of its own (on a device: with a
 * stream of its own), so that one lane's nets run while another's entropy coder
 * does.  Contexts of lanes, and codecs opened in them, are kept until the
 * caller's context closes. */
#ifndef TSR_CODECS_LANES_H
#define TSR_CODECS_LANES_H
#include "lib/core.h"

/** Does piece i with `ctx`, on any thread; no two calls with the same context at
 *  the same time.  progress: the piece's own; never NULL. */
typedef tsr_error (*tsri_lane_work)(void *cookie, tsr_context *ctx, size_t i,
                                    const tsr_progress *progress);

/** A lane's work with its context; 0 is the caller's lane, and a lane of the same
 *  number has the same context the next time. */
typedef void (*tsri_lane_run)(void *cookie, tsr_context *ctx, int lane);

enum { TSRI_LANES = 16 };       /**< at most */

/** Lanes that are worth while for `n` pieces on this context: 1 on the CPU, whose
 *  threads share one piece's work; on a device as many as it has threads. */
int tsri_lanes(const tsr_context *ctx, size_t n);
/** The same for pieces whose work threads hardly share: as many as there are
 *  threads on the CPU, too. */
int tsri_lanes_alone(const tsr_context *ctx, size_t n);

/** Calls `run` once in each lane, fewer where contexts for them cannot be had, and
 *  comes back when all are done. */
void tsri_lanes_all(tsr_context *ctx, int lanes, tsri_lane_run run, void *cookie);

/**
 * Does pieces 0..n-1, each once, in that order where lanes is 1.
 *
 * progress  called on the calling thread, with the part of all pieces; or NULL
 * errors    [n] out, what each returned, TSR_E_CANCELED for those that were not
 *           done; or NULL
 *
 * A piece that fails does not stop others.  Messages of other threads come when
 * all is done.  Fewer lanes are taken where contexts for them cannot be had.
 * Returns the error of the first piece, by number, that has one.
 */
tsr_error tsri_lanes_run(tsr_context *ctx, int lanes, size_t n,
                         tsri_lane_work work, void *cookie,
                         const tsr_progress *progress, tsr_error *errors);
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Many pieces of work of which a device does several at once: each is made ready by
 * itself, then those that are alike go together, then each is finished by itself.
 * Lanes (lanes.h) make ready and finish while others have the device. */
#ifndef TSR_CODECS_GROUPS_H
#define TSR_CODECS_GROUPS_H
#include "codecs/lanes.h"

enum {
    TSRI_GROUP = 4,             /**< pieces of a group, at most */
    TSRI_GROUP_LANES = 4        /**< lanes that do groups: the first ones */
};

typedef struct tsri_groups_work {
    /** Makes piece i ready.  *key (-1 before): 0..n-1, and pieces of one key are
     *  alike; -1: it is done with. */
    tsr_error (*before)(void *cookie, tsr_context *ctx, size_t i,
                        const tsr_progress *progress, int *key);
    /** Does n pieces of a key.  errors [n] are TSR_OK before. */
    void (*together)(void *cookie, tsr_context *ctx, const size_t *pieces, int n,
                     tsr_error *errors);
    /** Finishes piece i; NULL: there is nothing to do. */
    tsr_error (*after)(void *cookie, tsr_context *ctx, size_t i,
                       const tsr_progress *progress);
} tsri_groups_work;

/**
 * Does pieces 0..n-1.  Groups are of 4 and 2 pieces, since a device makes ready
 * for every number anew; pieces that are left alone go together with none, in any
 * lane.
 *
 * progress  called on the calling thread, with the part of all pieces; or NULL
 * errors    [n] out: what was the first of each; TSR_E_CANCELED for those that were
 *           not done; or NULL
 *
 * A piece that fails goes no further and stops no other.  Returns the error of the
 * first piece, by number, that has one; TSR_E_NOMEM.
 */
tsr_error tsri_groups_run(tsr_context *ctx, int lanes, size_t n,
                          const tsri_groups_work *work, void *cookie,
                          const tsr_progress *progress, tsr_error *errors);
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* One fetch of a job that pulls: what asking (pull_fetch.c) and taking what comes
 * (pull_take.c) share. */
#ifndef TSR_NET_PULL_FETCH_H
#define TSR_NET_PULL_FETCH_H
#include "net/pull.h"

/** A fetch under way; the body belongs to it until the piece has it, too. */
typedef struct tsri_fetch {
    tsri_lane *lane;
    tsr_kv_job *job;
    tsri_pull *pull;
    tsri_piece *piece;
    int chunk, near, id;
    tsr_error dead;         /**< the store is not to be asked, and why */
    double told;            /**< when the controller last heard of it */
    uint8_t small[TSR_KV_CHUNK_HEAD];
    tsr_store_entry entry;
    tsri_body *body;
    int fronted;            /**< the piece has the body */
    uint64_t at;            /**< the next byte that comes */
    uint64_t placed;        /**< bytes before it are */
    int unit;               /**< and units before it */
    int end_unit;           /**< that is wanted */
    uint64_t bytes;         /**< that came of the store */
    char fault[200];        /**< of what came; "" for none */
} tsri_fetch;

/** Notes what is wrong with what came, and returns TSR_E_CORRUPT. */
tsr_error tsri_fetch_bad(tsri_fetch *f, const char *fault);

static inline int tsri_body_units(const tsri_body *b)
{
    return b->head.levels * b->head.layers;
}

/** A sink's write() whose cookie is a fetch: bytes from f->at on.  Lock not held. */
tsr_error tsri_fetch_take(void *fetch, const void *data, size_t size);
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Jobs that pull: what their transfer threads (pull_fetch.c), their coding thread
 * (pull_decode.c) and the rest (pull.c) share. */
#ifndef TSR_NET_PULL_H
#define TSR_NET_PULL_H
#include <tessera/kv_control.h>
#include "net/stream.h"

enum { TSRI_PULL_LEVELS = 3 };

/** What has come of a chunk.  Units are numbered level * layers + layer, which is
 *  the order of the stored form.  Immutable but for have and the bytes. */
typedef struct tsri_body {
    int users;              /**< lock held */
    tsr_kv_chunk head;
    tsr_kv_info info;
    uint64_t *begin, *end;  /**< of each unit in the stored chunk */
    uint8_t *data;          /**< the stored chunk's front; while a fetch is under
                                 way all of it */
    uint8_t *object;        /**< units that were checked, in their places */
    uint8_t *have;          /**< 1: the unit is there.  Lock held */
    int near;               /**< it came from the cache */
} tsri_body;

typedef enum tsri_pull_fate {
    TSRI_PULL_OPEN, TSRI_PULL_REMAKE, TSRI_PULL_REMADE
} tsri_pull_fate;

typedef struct tsri_piece {
    uint8_t fate;
    uint8_t busy;           /**< a fetch is under way */
    uint8_t bad;            /**< times that it was not fit for use */
    uint8_t asked_near;     /**< the cache was looked at */
    uint8_t counted;        /**< its raw bytes are */
    uint8_t sized;          /**< the controller knows its size */
    uint8_t queued;         /**< bits of the queues that it is in */
    uint8_t whole;          /**< it has all levels that it can get */
    uint8_t arrived;        /**< the caller's arrival() took it */
    int waiting, id;        /**< fetches that the controller has not heard to be
                                 decoded, and the last one */
    double spent;           /**< decoding since */
    tsri_body *body;        /**< or NULL */
    uint8_t *levels;        /**< of each layer: decoded, and then counted in
                                 ready[]; NULL: none is */
} tsri_piece;

/** Chunks that wait for the coding thread, first come first. */
typedef struct tsri_queue {
    int *chunk;
    int first, count;
} tsri_queue;

typedef struct tsri_pull {
    tsr_kv_control *control;
    tsri_piece *piece;
    int chunks, ceiling;
    int *ready[TSRI_PULL_LEVELS];   /**< chunks of which that layer has as many
                                         levels */
    int told[TSRI_PULL_LEVELS];     /**< layers that the caller knows of */
    int most_levels;        /**< of the chunks seen */
    double until;           /**< when the controller wants to be asked again */
    int done;               /**< it has nothing more to do */
    int finished;           /**< nor have we */
    tsr_kv_step *step;      /**< fetches that wait for a thread */
    int steps, idle;        /**< and threads that wait */
    int remake, remake_id;  /**< chunk that the caller is to make, or -1 */
    int told_remake;        /**< it knows */
    tsr_error dead;         /**< why the store is not asked any more */
    int failures;           /**< requests in a row that it failed */
    int near_dead;
    tsri_queue queue[2];    /**< to become usable; to become finer */
    atomic_uint_least64_t bytes, expected;
    int known;              /**< chunks whose size is */
    int64_t origin;         /**< position of the first token, once one is known */
    uint64_t known_bytes;
} tsri_pull;

extern const tsri_job_kind tsri_pull_kind;

/** Asks the controller what to do next.  Lock held, as by all here. */
void tsri_pull_pump(tsr_kv_job *job);
void tsri_pull_enqueue(tsri_pull *pull, int chunk, int queue);
void tsri_body_release(tsri_body *body);
/** Forgets what has come of a chunk. */
void tsri_pull_drop(tsri_piece *piece);
/** Levels that a layer has, one after the other. */
int tsri_body_levels(const tsri_body *body, int layer);
/** A layer has so many levels decoded; all: it gets no more. */
void tsri_pull_raise(tsr_kv_job *job, int chunk, int layer, int levels, int all);

/** Runs one fetch and reports it; lock held at both ends. */
void tsri_pull_fetch(tsri_lane *lane, const tsr_kv_step *step);
/** The coding thread. */
void tsri_pull_code(tsri_lane *lane);
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_KV_STREAM_H
#define TSR_KV_STREAM_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/error.h>
#include <tessera/kv.h>
#include <tessera/kv_chunk.h>
#include <tessera/store.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Key/value caches to and from stores, in the background (libtessera-net).
 *
 * A job has threads of its own: some for transfers, one that encodes or decodes
 * (with the worker threads asked for), so that chunk i is decoded while i + 1 is
 * on its way.  Jobs are independent of each other; each function may be called
 * from any thread, but tsr_kv_job_close() last and once.
 *
 * Whatever does not fit (a chunk that is damaged, cut, of another name, profile
 * or shape) is fetched once more and then as if it were not there; of one whose
 * finer levels alone are damaged the others are used.  Nothing wrong is ever
 * delivered as good.  docs/kv-store.md, "Jobs", has the details.
 */
typedef struct tsr_kv_job tsr_kv_job;

/** Called on the job's threads, one at a time; must return soon. */
typedef struct tsr_kv_events {
    void *cookie;
    /** Layers first .. first + layers - 1 of all chunks are decoded with at
     *  least `levels` levels; in rising order of layers for each number of
     *  levels.  Before the job ends they may still become finer. */
    void (*layers)(void *cookie, int first, int layers, int levels);
    /** The caller is to compute the cache of these tokens itself, into the view,
     *  and then calls tsr_kv_job_recomputed(). */
    void (*recompute)(void *cookie, int chunk, size_t first_token,
                      size_t tokens);
    /** Bytes transferred, and expected in all (a guess until the end). */
    void (*progress)(void *cookie, uint64_t bytes, uint64_t expected);
} tsr_kv_events;

/** A chunk that has all levels it will get, as an object of <tessera/kv.h>. */
typedef struct tsr_kv_arrival {
    int chunk;
    size_t first_token, tokens; /**< in the context */
    const uint8_t *object;      /**< valid during the call; units of levels that
                                     were not fetched are zeros */
    size_t size;                /**< bytes of the object */
    int levels;                 /**< complete in all layers, >= 1 */
} tsr_kv_arrival;

/** Set with tsr_kv_stream_settings_init(); copied with all texts and arrays. */
typedef struct tsr_kv_stream_settings {
    size_t size;                /**< sizeof(tsr_kv_stream_settings); for growth,
                                     as store.size within */
    const char *url;            /**< of the store; required */
    tsr_store_settings store;
    const char *model;          /**< tsr_kv_prefix_begin(); required */
    tsr_model *profile;         /**< the model's profile, referenced; NULL: none.
                                     Part of the names */
    int chunk_tokens;           /**< 32..2^20, default 256 */
    int connections;            /**< transfers at a time, 1..64, default 4 */
    int threads;                /**< for coding, 0..256; 0 = all processors;
                                     default 1 */
    tsr_kv_events events;       /**< any may be NULL */

    int replace;                /**< push: 1 = send what is there already, too;
                                     default 0 */

    const char *policy;         /**< pull, this and what follows:
                                     tsr_kv_control_settings */
    double deadline;
    int floor, ceiling;
    const double *recompute;    /**< seconds of each chunk; used where
                                     events.recompute is set, too */
    const char *cache;          /**< URL of a second store, near: chunks are looked
                                     up there first, and put there when they came
                                     whole, so that an interrupted pull goes on
                                     where it was; NULL: none.  store.token is
                                     not shown to it, and nothing retried */
    /** Takes chunks instead of the view (which may be NULL then): for objects to
     *  be kept, or decoded on a device.  On the decoding thread, in any order of
     *  chunks.  An error makes the chunk one that is not there. */
    tsr_error (*arrival)(void *cookie, const tsr_kv_arrival *arrival);
    void *arrival_cookie;
} tsr_kv_stream_settings;

TSR_API void tsr_kv_stream_settings_init(tsr_kv_stream_settings *settings);

/**
 * Begins to encode and store a cache.
 *
 * codec  settings of the coder; its profile is settings->profile, token ids are
 *        not put into objects (who asks for a chunk knows them)
 * view   the cache in host memory, view->tokens tokens from position pos0 on; it
 *        must stay as it is until the job has ended.  A view with blocks needs a
 *        chunk_tokens that is a multiple of block_tokens
 * ids    its token ids, copied; the first token of the context is ids[0], and
 *        pos0 its position
 *
 * Returns TSR_OK; TSR_E_ARG; TSR_E_UNSUPPORTED; TSR_E_NOMEM; errors of
 * tsr_kv_open().
 */
TSR_API TSR_CHECKED tsr_error
tsr_kv_push_begin(tsr_kv_job **job, const tsr_kv_stream_settings *settings,
                  const tsr_kv_settings *codec, const tsr_kv_view *view,
                  const int32_t *ids, uint64_t pos0);

/**
 * Begins to fetch and decode the cache of n tokens.
 *
 * shape  what it must have; chunks of another one are not there
 * view   where it goes, room for n tokens; in host memory, and the job's until it
 *        has ended, but for chunks that the caller is told to recompute.  A view
 *        with blocks as for a push.  NULL with settings->arrival
 *
 * Returns TSR_OK; TSR_E_ARG; TSR_E_UNSUPPORTED no such store or policy;
 * TSR_E_NOMEM; TSR_E_IO a folder that cannot be made.
 */
TSR_API TSR_CHECKED tsr_error
tsr_kv_pull_begin(tsr_kv_job **job, const tsr_kv_stream_settings *settings,
                  const tsr_kv_shape *shape, const tsr_kv_view *view,
                  const int32_t *ids, size_t n);

/** The chunk of events.recompute is in the view now; also from that call. */
TSR_API void tsr_kv_job_recomputed(tsr_kv_job *job, int chunk);

/** Ends a job early, with TSR_E_CANCELED; returns at once. */
TSR_API void tsr_kv_job_cancel(tsr_kv_job *job);

/** What became of a job. */
typedef struct tsr_kv_job_result {
    tsr_error error;            /**< TSR_OK: everything is there.  TSR_E_MISSING:
                                     some chunks are not, or are not fit for use.
                                     Else what ended the job */
    char message[256];          /**< why, one line; with TSR_OK: why finer levels
                                     are missing, or "" */
    size_t tokens;              /**< from the first on, without a gap: stored, or
                                     usable in the view */
    int chunks;                 /**< of the context */
    int present;                /**< push: that were there already; pull: that
                                     came from the cache, and count no bytes */
    int recomputed, missing;
    int late;                   /**< 1: not usable by the deadline */
    int retried;                /**< requests made again */
    uint64_t bytes;             /**< of chunks, to or from the store */
    uint64_t raw_bytes;         /**< of the values of those chunks in 16 bits
                                     each */
    double seconds;             /**< from the beginning to the end */
    double usable;              /**< pull: until all layers had a base quality */
    double coding;              /**< spent encoding or decoding */
    double mean_levels;
} tsr_kv_job_result;

/** Waits for the end, `seconds` at most (negative: as long as it takes).
 *  Returns TSR_OK the job has ended, and how is in result; TSR_E_LIMIT not yet:
 *  of the result only bytes, chunks and missing (not there so far) are set. */
TSR_API TSR_CHECKED tsr_error tsr_kv_job_wait(tsr_kv_job *job, double seconds,
                                              tsr_kv_job_result *result);

/** Cancels what is not done, waits for the job's threads, frees it. */
TSR_API void tsr_kv_job_close(tsr_kv_job **job);

/** How many of n tokens, from the first on, are stored: whole chunks, and the
 *  last, shorter one if all n are there.  Of each chunk its head is looked at, no
 *  data.  settings->store.logger is not called.  Returns TSR_OK; TSR_E_ARG;
 *  errors of tsr_store_get(). */
TSR_API TSR_CHECKED tsr_error
tsr_kv_stored(const tsr_kv_stream_settings *settings, const int32_t *ids,
              size_t n, size_t *tokens);

#ifdef __cplusplus
}
#endif
#endif

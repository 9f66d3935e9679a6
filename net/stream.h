/* SPDX-License-Identifier: BSD-2-Clause */
/* What jobs that push and jobs that pull share: threads, the context cut into
 * chunks, and how it ended. */
#ifndef TSR_NET_STREAM_H
#define TSR_NET_STREAM_H
#include <pthread.h>
#include <stdatomic.h>
#include <tessera/kv_stream.h>

/** A thread of a job and what is its own. */
typedef struct tsri_lane {
    tsr_kv_job *job;
    tsr_store *store, *near;    /**< NULL: of the coding thread; no cache */
    tsr_context *context;
    char reason[200];           /**< the last message on this thread */
    int retried;                /**< requests of stores closed since */
    int fetching;               /**< pull: the chunk under way, or -1 */
    int finer;                  /**< pull: beyond the floor */
    atomic_int aborted;         /**< pull: that fetch is not wanted any more */
} tsri_lane;

/** Push or pull.  Both functions return when there is no more for them. */
typedef struct tsri_job_kind {
    void (*transfer)(tsri_lane *lane);
    void (*code)(tsri_lane *lane);
    /** Bytes and missing chunks by now. */
    void (*state)(tsr_kv_job *job, tsr_kv_job_result *result);
    void (*end)(tsr_kv_job *job);   /**< fills the result; all threads are done */
    void (*close)(tsr_kv_job *job);
} tsri_job_kind;

struct tsr_kv_job {
    const tsri_job_kind *kind;
    void *state;                    /**< the kind's */
    tsr_kv_stream_settings set;     /**< model, policy and recompute are valid
                                         in begin only */
    tsr_kv_shape shape;
    tsr_kv_view view;
    void **base;                    /**< of view, copied */
    int32_t *ids;
    size_t tokens, each;            /**< of the context; of a chunk */
    int chunks;
    uint8_t (*name)[TSR_KV_NAME_BYTES];
    double start;

    pthread_mutex_t lock;           /**< of all that follows */
    pthread_cond_t change;
    pthread_mutex_t emit;           /**< held during the caller's callbacks */
    pthread_t *thread;
    tsri_lane *lane;                /**< connections, then the coding thread */
    int threads, running, ended;
    atomic_int stop;                /**< 1: threads are to end */
    tsr_error error;                /**< that ended it, or OK */
    double told;                    /**< when progress was last told */
    tsr_kv_job_result result;
};

/** Seconds since the job began; of the clock of waiting. */
double tsri_job_now(const tsr_kv_job *job);

/** Makes what both kinds need; tsr_kv_job_close() in any case.  threads: not yet. */
tsr_error tsri_job_open(tsr_kv_job **job, const tsr_kv_stream_settings *settings,
                        const tsr_kv_shape *shape, const tsr_kv_view *view,
                        const int32_t *ids, size_t n);
tsr_error tsri_job_start(tsr_kv_job *job);

/** Opens the store of a transfer thread anew.  Lock held. */
tsr_error tsri_lane_reopen(tsri_lane *lane);

/** The job ends with this error, unless it has one already.  Lock held. */
void tsri_job_fail(tsr_kv_job *job, tsr_error error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/** Keeps the first reason why something is missing.  Lock held. */
void tsri_job_note(tsr_kv_job *job, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/** Waits for a change, or until that time of the job.  Lock held. */
void tsri_job_sleep(tsr_kv_job *job, double until);
/** Tells the caller how far it is, now and then. Lock not held. */
void tsri_job_progress(tsr_kv_job *job, uint64_t bytes, uint64_t expected,
                       int last);

/** Requests that stores made again. */
int tsri_job_retried(const tsr_kv_job *job);

static inline int tsri_job_stopped(const tsr_kv_job *job)
{
    return atomic_load_explicit(&job->stop, memory_order_relaxed);
}
static inline tsri_lane *tsri_job_coder(const tsr_kv_job *job)
{
    return &job->lane[job->set.connections];
}

/* ---- the context ---- */

int tsri_shape_good(const tsr_kv_shape *shape);
/** Takes the caller's settings, whatever their size; 0: they are not good. */
int tsri_settings_good(tsr_kv_stream_settings *own,
                       const tsr_kv_stream_settings *theirs);
/** Names of all chunks of n tokens; free(). */
tsr_error tsri_names(const tsr_kv_stream_settings *settings, const int32_t *ids,
                     size_t n, uint8_t (**names)[TSR_KV_NAME_BYTES]);
int tsri_chunk_count(size_t tokens, int each);

static inline size_t tsri_chunk_first(const tsr_kv_job *job, int chunk)
{
    return (size_t)chunk * job->each;
}
size_t tsri_chunk_tokens(const tsr_kv_job *job, int chunk);
/** The view of a chunk; base has room for all planes. */
tsr_kv_view tsri_chunk_view(const tsr_kv_job *job, int chunk, void **base);
/** Where token t of a plane is in a view. */
uint8_t *tsri_token_at(const tsr_kv_view *view, int plane, size_t t);
size_t tsri_element(tsr_kv_dtype dtype);
int tsri_planes(const tsr_kv_shape *shape);
/** Attempts a store made again (store.c). */
int tsri_store_retried(const tsr_store *store);
/** Bytes of the values of some tokens of a layer, in 16 bits each. */
uint64_t tsri_layer_bytes(const tsr_kv_shape *shape, size_t tokens);
tsr_error tsri_call(const tsr_kv *kv, size_t tokens, tsr_kv_call *call);

/** The head of a stored chunk, and whether it is that of a whole one of this name
 *  and size: TSR_OK; TSR_E_MISSING there is none that could be used; the errors
 *  of tsr_store_get(). */
tsr_error tsri_chunk_stored(tsr_store *store, tsr_context *context,
                            const uint8_t name[TSR_KV_NAME_BYTES],
                            size_t tokens);
#endif

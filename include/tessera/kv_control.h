/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_KV_CONTROL_H
#define TSR_KV_CONTROL_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * What to fetch next, so that a key/value cache is usable in time
 * (libtessera-net).  No input or output and no clock of its own: the caller says
 * what happened and when, so that a simulator and a network see the same
 * decisions.  <tessera/kv_stream.h> runs it for you.
 *
 * A cache is `chunks` chunks of `layers` layers with 1..3 nested levels.  The
 * policy "deadline":
 *
 * - While the base levels of all chunks, at the bandwidth seen on the last
 *   requests, come before the deadline, they are fetched first, in order of
 *   tokens (from the back where chunks can be recomputed); then finer levels: of
 *   the last chunk, then those that take most off the loss a byte, from the back,
 *   whole chunks or as many layers as there is time for.
 * - If they do not, with half as much time again to spare, and chunks can be
 *   recomputed from their text, the caller is told to recompute from the front
 *   while the rest is fetched from the back, as few chunks as it takes (both ends
 *   at once, as Cake does: Jin et al. 2024).  What is fetched is not recomputed,
 *   though it may be decoding that takes too long.
 * - Decoding of what came runs beside the transfer; the time that it has been
 *   seen to take is kept back at the end.
 *
 * Others, to compare with: "uniform" (all chunks in order with `ceiling` levels,
 * whatever it takes), "cachegen" (each chunk gets an equal share of the deadline
 * and the finest level that the bandwidth of the chunk before fits into it, else
 * it is recomputed: Liu et al. 2024, as their program does it), "remaining" (the
 * same with the finest level in which all chunks to come fit into the time left).
 */
typedef struct tsr_kv_control tsr_kv_control;

/** Set with tsr_kv_control_settings_init(). */
typedef struct tsr_kv_control_settings {
    size_t size;            /**< sizeof(tsr_kv_control_settings); for growth */
    const char *policy;     /**< default "deadline"; tsr_kv_policy_at() */
    int chunks;             /**< 1..2^20 */
    int layers;             /**< 1..1024 */
    int levels;             /**< 1..3 */
    double deadline;        /**< seconds from the start; 0 (default): none, all
                                 levels of everything */
    int floor;              /**< levels that everything gets even if the deadline
                                 is missed for it; default 1 */
    int ceiling;            /**< levels at most; 0 (default): all */
    const double *recompute;/**< seconds, of each chunk, that the caller takes
                                 for it, those before it being there; NULL
                                 (default): it cannot.  Copied */
    double bandwidth;       /**< bytes a second to begin with; 0 (default): the
                                 first request finds out */
    double loss[4];         /**< what is lost with 0..3 levels, in any unit (of
                                 0: without this chunk); default from
                                 bench/results/kv-quality */
} tsr_kv_control_settings;

TSR_API void tsr_kv_control_settings_init(tsr_kv_control_settings *settings);

/** Names of the policies; NULL outside. */
TSR_API const char *tsr_kv_policy_at(int i);

/** Returns TSR_OK; TSR_E_ARG; TSR_E_UNSUPPORTED no such policy; TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error
tsr_kv_control_open(tsr_kv_control **control,
                    const tsr_kv_control_settings *settings);
TSR_API void tsr_kv_control_close(tsr_kv_control **control);

typedef enum tsr_kv_action {
    TSR_KV_FETCH = 1,       /**< the levels first_level .. last_level of
                                 layers first_layer .. + layers - 1 of a chunk */
    TSR_KV_RECOMPUTE,       /**< the caller makes this chunk itself; it is told
                                 of one after the other */
    TSR_KV_WAIT,            /**< nothing before something under way has ended, or
                                 the time is `until` */
    TSR_KV_DONE             /**< and nothing else from then on,
                                 unless a failure is reported.  Fetches of finer
                                 levels may be under way still where the deadline
                                 has come: drop them */
} tsr_kv_action;

typedef struct tsr_kv_step {
    tsr_kv_action action;
    int id;                 /**< of a fetch or recompute, to report it by */
    int chunk;
    int first_level, last_level;
    int first_layer, layers;
    uint64_t bytes;         /**< of a fetch: known, or guessed from the chunks
                                 known; 0 before that */
    double until;           /**< of TSR_KV_WAIT: ask again then at the latest, even
                                 if nothing has ended.  Later than `now`;
                                 HUGE_VAL: no time matters */
} tsr_kv_step;

/** What to do at `now` (seconds since the start, never falling).  `room`: 1, a
 *  fetch can begin; 0, all connections are busy: the answer is any other.  What
 *  was given out counts as under way until it is reported; ask again for more
 *  requests at a time, and after every report.  A chunk has one request under way
 *  at most; one for several levels is
 *  for all layers, one for some layers for one level.  A chunk is to be recomputed
 *  when all before it are there: fetched with the floor's levels, or recomputed;
 *  if a fetch of it is under way (on a link that stalls), drop that one, reports
 *  of it are ignored.
 *  Cost: O(1) amortised, O(chunks) where some are missing. */
TSR_API tsr_kv_step tsr_kv_control_next(tsr_kv_control *control, double now,
                                        int room);

/** Bytes of each level of a chunk, known from its head; before that a guess is
 *  made from the chunks known.  Times are as `now`. */
TSR_API void tsr_kv_control_sizes(tsr_kv_control *control, int chunk,
                                  const uint64_t *level_bytes);

/** What a fetch under way has brought so far, all levels together.  Need not be
 *  called; who does, every 20..100 ms of a fetch, learns sooner that the link has
 *  become slow: ask again afterwards. */
TSR_API void tsr_kv_control_progress(tsr_kv_control *control, int id, double now,
                                     uint64_t bytes);

/** A fetch ended well: it ran from begin to end and brought `bytes`. */
TSR_API void tsr_kv_control_fetched(tsr_kv_control *control, int id,
                                    double begin, double end, uint64_t bytes);

/** A fetch failed.  missing: the chunk is not there, or is not fit for use, and
 *  is not asked for again: if it has the floor's levels it stays as it is, else it
 *  is recomputed, or lost.  Not missing: it is asked for again.  After
 *  tsr_kv_control_fetched(), instead of decoded(), it says that the chunk did not
 *  decode: then nothing of it counts as there, and a request of it that is under
 *  way is dropped. */
TSR_API void tsr_kv_control_failed(tsr_kv_control *control, int id, double now,
                                   int missing);

/** What a fetch brought was decoded, in this time.  Who never calls it has
 *  nothing kept back for decoding. */
TSR_API void tsr_kv_control_decoded(tsr_kv_control *control, int id,
                                    double seconds);

TSR_API void tsr_kv_control_recomputed(tsr_kv_control *control, int id,
                                       double now);

/** Where it stands. */
typedef struct tsr_kv_control_state {
    double bandwidth;       /**< bytes a second, as believed now; 0: not known */
    double expected_end;    /**< of what is decided on, seconds since the start */
    uint64_t bytes;         /**< fetched so far */
    int recomputed, lost;   /**< chunks */
    double mean_levels;     /**< over chunks (but recomputed ones) and layers */
} tsr_kv_control_state;

TSR_API void tsr_kv_control_state_get(const tsr_kv_control *control,
                                      tsr_kv_control_state *state);

/** Levels that layer `layer` of a chunk has by now: 0..levels, or -1 for a chunk
 *  that is recomputed or lost. */
TSR_API int tsr_kv_control_levels(const tsr_kv_control *control, int chunk,
                                  int layer);

#ifdef __cplusplus
}
#endif
#endif

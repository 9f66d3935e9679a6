/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_VQ_H
#define TSR_VQ_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/context.h>
#include <tessera/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Limits of a codebook and of one call. */
enum {
    TSR_VQ_MAX_CODEWORDS = 1 << 20,
    TSR_VQ_MAX_DIM = 4096,
    TSR_VQ_MAX_VECTORS = 1 << 30
};

/** Where k-means takes its first codewords from. */
typedef enum tsr_kmeans_start {
    TSR_KMEANS_PLUSPLUS = 0, /**< drawn one by one, with a probability in
                                  proportion to weight times squared distance
                                  from those already drawn */
    TSR_KMEANS_RANDOM = 1,   /**< k different vectors, uniformly; for a k for
                                  which k-means++ costs too much */
    TSR_KMEANS_GIVEN = 2     /**< what `codewords` holds */
} tsr_kmeans_start;

/** Set with tsr_kmeans_settings_init(). */
typedef struct tsr_kmeans_settings {
    size_t size;
    uint64_t seed;          /**< of the random choices; default 1 */
    tsr_kmeans_start start; /**< default TSR_KMEANS_PLUSPLUS */
    int iterations;         /**< updates of the codebook at most, 0..10^6;
                                 default 50 */
    double tolerance;       /**< stop when an update lowers the inertia by no
                                 more than this part of it, 0..1; default
                                 1e-4.  Mini-batches do not use it */
    int batch;              /**< 0 (default): Lloyd's algorithm, each update
                                 looks at all vectors; else mini-batches of
                                 this many, n at most */
    const float *weights;   /**< n weights, finite, >= 0, not all 0; or NULL
                                 (default) = all 1; borrowed for the call */
    tsr_progress progress;
} tsr_kmeans_settings;

TSR_API void tsr_kmeans_settings_init(tsr_kmeans_settings *settings);

typedef struct tsr_kmeans_result {
    double inertia;     /**< sum of weight times squared distance between each
                             vector and its codeword */
    int iterations;     /**< updates made */
    int converged;      /**< 1: the tolerance ended it */
    int repaired;       /**< empty codewords that were given a new place */
    int empty;          /**< codewords that no vector uses in the end */
} tsr_kmeans_result;

/**
 * Trains a codebook: k codewords with a small sum of squared distances from
 * the vectors.
 *
 * settings   NULL = the defaults
 * x          n x dim floats, row-major; borrowed
 * n          vectors, k..TSR_VQ_MAX_VECTORS
 * dim        1..TSR_VQ_MAX_DIM
 * k          codewords, 1..TSR_VQ_MAX_CODEWORDS
 * codewords  out, k x dim floats; in too with TSR_KMEANS_GIVEN; on failure
 *            undefined
 * codes      out, n indices of the nearest codewords, or NULL
 * result     out, or NULL
 *
 * Lloyd: each update replaces a codeword by the weighted mean of its vectors.
 * Inertia never rises: an update that rounding made worse is taken back.
 * Mini-batch: each update draws `batch` vectors with repetition and moves each
 * codeword to the mean of all the vectors it has been given so far, which is
 * Sculley's rate of 1 / count.
 *
 * A codeword without vectors takes the place of the vector with the largest
 * weighted error in the cluster with the largest error; several empty ones
 * share out the clusters in falling order of error, round and round.  Where
 * there is no error left (fewer different vectors than k) it stays.  With
 * mini-batches this is done once, at the end.
 *
 * The result depends on the arguments alone, not on threads, backend or
 * processor: sums are made per codeword, in the order of the vectors, in
 * double.  Nearest codewords are found as by tsr_codebook_nearest().
 *
 * Returns TSR_OK; TSR_E_ARG a number outside its limits, k > n, a value that
 * is not finite or over 1e15 in magnitude, bad weights; TSR_E_CANCELED;
 * TSR_E_NOMEM.
 * Cost: n * k * dim multiply-adds for k-means++ and as much an update (Lloyd),
 * batch * k * dim (mini-batch).  Memory: three codebooks and 12 n bytes; mini-
 * batches also batch * dim floats.
 * Source: Lloyd, IEEE Trans. Inf. Theory 28(2), 1982; Arthur & Vassilvitskii,
 *         "k-means++", SODA 2007; Sculley, "Web-scale k-means clustering",
 *         WWW 2010.
 */
TSR_API TSR_CHECKED tsr_error
tsr_kmeans(tsr_context *context, const tsr_kmeans_settings *settings,
           const float *x, size_t n, int dim, int k, float *codewords,
           int32_t *codes, tsr_kmeans_result *result);

/**
 * Finds the nearest codeword of every vector.
 *
 * codewords  k x dim floats, x: n x dim floats, both row-major and borrowed;
 *            limits as above, but n may be 0 and less than k
 * codes      out, n indices
 *
 * The score is |c|^2 - 2 c.x in float, summed from the first dimension up, so
 * the result is the same everywhere.  A tie goes to the lowest index; a vector
 * with a NaN gets code 0.
 * Returns TSR_OK; TSR_E_ARG; TSR_E_NOMEM.  Cost: n * k * dim multiply-adds.
 */
TSR_API TSR_CHECKED tsr_error
tsr_codebook_nearest(tsr_context *context, const float *codewords, int k,
                     int dim, const float *x, size_t n, int32_t *codes);

/** The reverse: x, n x dim floats, becomes the codewords of `codes`.  Returns
 *  TSR_OK; TSR_E_ARG a number outside its limits or a code outside 0..k-1. */
TSR_API TSR_CHECKED tsr_error
tsr_codebook_lookup(tsr_context *context, const float *codewords, int k,
                    int dim, const int32_t *codes, size_t n, float *x);

/**
 * Counts how often each codeword is used.
 *
 * counts  out, k numbers: counts[c] = how many of the n codes are c
 *
 * Returns TSR_OK; TSR_E_ARG a number outside its limits or a code outside
 * 0..k-1.
 */
TSR_API TSR_CHECKED tsr_error
tsr_codes_count(tsr_context *context, const int32_t *codes, size_t n, int k,
                uint64_t *counts);

typedef struct tsr_codes_stats {
    uint64_t total;     /**< codes counted */
    int used;           /**< codewords with a count */
    double utilisation; /**< used / k */
    double entropy;     /**< bits per code, 0..log2(k); 0 for no codes */
    double perplexity;  /**< 2^entropy: codewords of equal frequency that would
                             carry as much */
} tsr_codes_stats;

/** Describes a histogram of k counts, whose sum must be below 2^64.  Sums are
 *  made in double, from count 0 up. */
TSR_API void tsr_codes_describe(const uint64_t *counts, int k,
                                tsr_codes_stats *stats);

/**
 * Ranks codewords by falling frequency; of equals the lower index comes first.
 *
 * order  out, k indices: order[r] = the codeword of rank r, so a sorted
 *        codebook has codeword order[r] at r, and a code c becomes the r for
 *        which order[r] = c
 *
 * Returns TSR_OK; TSR_E_ARG k outside its limits; TSR_E_NOMEM (16 k bytes).
 */
TSR_API TSR_CHECKED tsr_error
tsr_codes_rank(tsr_context *context, const uint64_t *counts, int k,
               int32_t *order);

#ifdef __cplusplus
}
#endif
#endif

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
    TSR_VQ_MAX_VECTORS = 1 << 30,
    TSR_RVQ_MAX_STAGES = 64,
    TSR_RVQ_MAX_BEAM = 64,
    TSR_CODED_MAX_NEAREST = 1024
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

/** A codebook made ready for many searches. */
typedef struct tsr_codebook tsr_codebook;

/**
 * Makes a codebook ready.
 *
 * book       out; NULL on failure
 * context    must live until tsr_codebook_close(); its threads search
 * codewords  k x dim floats, copied
 *
 * Returns TSR_OK; TSR_E_ARG; TSR_E_NOMEM.  Memory: 2.5 times the codewords.
 */
TSR_API TSR_CHECKED tsr_error
tsr_codebook_open(tsr_codebook **book, tsr_context *context,
                  const float *codewords, int k, int dim);

/**
 * As tsr_codebook_nearest().
 *
 * distance  out, n squared distances to the codewords found, summed in double
 *           and rounded once; or NULL
 */
TSR_API TSR_CHECKED tsr_error
tsr_codebook_search(const tsr_codebook *book, const float *x, size_t n,
                    int32_t *codes, float *distance);

/** Frees it; NULL is allowed, at both levels. */
TSR_API void tsr_codebook_close(tsr_codebook **book);

/** The reverse: x, n x dim floats, becomes the codewords of `codes`.  Returns
 *  TSR_OK; TSR_E_ARG a number outside its limits or a code outside 0..k-1. */
TSR_API TSR_CHECKED tsr_error
tsr_codebook_lookup(tsr_context *context, const float *codewords, int k,
                    int dim, const int32_t *codes, size_t n, float *x);

/**
 * A residual quantiser, in groups: a vector of groups * dim numbers is split
 * into groups of dim, and each is quantised by `stages` codebooks of k
 * codewords, of which stage s takes what stages 0..s-1 have left.  One group is
 * RVQ, several are GRVQ, one stage is a product quantiser.
 */
typedef struct tsr_rvq tsr_rvq;

typedef struct tsr_rvq_shape {
    int groups;     /**< groups * dim: 1..TSR_VQ_MAX_DIM */
    int stages;     /**< 1..TSR_RVQ_MAX_STAGES */
    int k;          /**< codewords of each book, 1..TSR_VQ_MAX_CODEWORDS */
    int dim;        /**< of one group */
} tsr_rvq_shape;

/**
 * Makes a quantiser from its codewords.
 *
 * rvq        out; NULL on failure
 * context    must live until tsr_rvq_close(); its threads search
 * codewords  [groups][stages][k][dim] floats, copied
 *
 * Returns TSR_OK; TSR_E_ARG a number outside its limits; TSR_E_NOMEM.
 * Memory: 2.5 times the codewords.
 */
TSR_API TSR_CHECKED tsr_error
tsr_rvq_open(tsr_rvq **rvq, tsr_context *context, const tsr_rvq_shape *shape,
             const float *codewords);

/** Frees it; NULL is allowed, at both levels. */
TSR_API void tsr_rvq_close(tsr_rvq **rvq);

/**
 * Encodes vectors.
 *
 * x       n x (groups * dim) floats, row-major; borrowed
 * stages  stages to run, 1..the shape's; fewer give a shorter code
 * beam    1: greedy, each stage takes the codeword nearest to the residual;
 *         2..TSR_RVQ_MAX_BEAM: the best `beam` partial codes of each group are
 *         kept from stage to stage, and the best of the last stage is taken
 * codes   out, [n][groups][stages]
 * error   out, n squared distances left after the last stage, or NULL
 *
 * Residuals are floats, rounded after each stage.  The greedy search is that of
 * tsr_codebook_nearest(), ties and NaN included.  The beam search compares
 * distances in double; of equals the partial code that ranked higher wins, then
 * the lower index.  A vector with a NaN gets codes in range, no more is said of
 * them.  Codes do not depend on threads or processor.
 *
 * Returns TSR_OK; TSR_E_ARG a number outside its limits; TSR_E_NOMEM.
 * Cost: n * groups * stages * k * dim multiply-adds, times `beam` (and without
 *       the vector kernels) for a beam.
 * Source: Juang & Gray, "Multiple stage vector quantization for speech coding",
 *         ICASSP 1982; groups: Yang et al., "HiFi-Codec: Group-residual Vector
 *         quantization for High Fidelity Audio Codec", arXiv 2305.02765; beam:
 *         LeBlanc et al., "Efficient search and design procedures for robust
 *         multi-stage VQ of LPC parameters for 4 kb/s speech coding", IEEE
 *         Trans. Speech Audio Process. 1(4), 1993.
 */
TSR_API TSR_CHECKED tsr_error
tsr_rvq_encode(const tsr_rvq *rvq, const float *x, size_t n, int stages,
               int beam, int32_t *codes, double *error);

/**
 * The reverse: the sum of the codewords, stage 0 first, each sum rounded.
 *
 * codes   [n][groups][stages], stages as encoded; only the first `use` stages
 *         are added, 1..stages
 * x       out, n x (groups * dim) floats
 *
 * Returns TSR_OK; TSR_E_ARG a number outside its limits or a code outside
 * 0..k-1 (x is then undefined).
 */
TSR_API TSR_CHECKED tsr_error
tsr_rvq_decode(const tsr_rvq *rvq, const int32_t *codes, size_t n, int stages,
               int use, float *x);

/** Vectors that stay codes, and are searched and added up as codes. */
typedef struct tsr_coded tsr_coded;

/**
 * Takes a set of codes.
 *
 * coded   out; NULL on failure
 * rvq     must live until tsr_coded_close(); its codewords must be finite and
 *         at most 1e15 in magnitude
 * codes   [n][groups][stages] as from tsr_rvq_encode(), copied
 * n       1..TSR_VQ_MAX_VECTORS
 *
 * Returns TSR_OK; TSR_E_ARG a number outside its limits, a code outside
 * 0..k-1, bad codewords; TSR_E_NOMEM.  Memory: 1 byte a code for k to 256, 2 to
 * 65536, else 4; and 4 bytes a vector if there is more than one stage.
 */
TSR_API TSR_CHECKED tsr_error
tsr_coded_open(tsr_coded **coded, const tsr_rvq *rvq, const int32_t *codes,
               size_t n, int stages);

/** Frees it; NULL is allowed, at both levels. */
TSR_API void tsr_coded_close(tsr_coded **coded);

/**
 * Squared distances between one query and all coded vectors, through a table:
 * the query's products with all codewords, of which each vector adds up its
 * own (asymmetric distances).
 *
 * query     groups * dim floats, finite, at most 1e15 in magnitude
 * distance  out, n numbers: |query|^2 + |y|^2 - 2 query.y, 0 where rounding
 *           makes it negative
 *
 * Products of a codeword are summed in float from channel 0 up; a vector's
 * table entries in float in the order of its codes, then |y|^2, then |query|^2;
 * so the result is the same on every processor.  It differs from the distance
 * to the decoded vector by float rounding of numbers as large as |query|^2.
 * Returns TSR_OK; TSR_E_ARG; TSR_E_NOMEM.
 * Cost: k * stages * groups * dim multiply-adds, then n * groups * stages
 *       additions.
 * Source: Jegou, Douze & Schmid, "Product quantization for nearest neighbor
 *         search", IEEE TPAMI 33(1), 2011, section 3.
 */
TSR_API TSR_CHECKED tsr_error
tsr_coded_distances(const tsr_coded *coded, const float *query,
                    float *distance);

/**
 * The coded vectors nearest to each query, by the distances above.
 *
 * queries   count x (groups * dim) floats
 * nearest   how many for each, 1..TSR_CODED_MAX_NEAREST and n at most
 * items     out, [count][nearest] numbers of vectors, the nearest first; of
 *           equals the lower number
 * distance  out, [count][nearest], or NULL
 *
 * Two distances count as equal if they are before |query|^2 is added.
 * Returns TSR_OK; TSR_E_ARG; TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error
tsr_coded_nearest(const tsr_coded *coded, const float *queries, size_t count,
                  int nearest, int32_t *items, float *distance);

/**
 * The sum of coded vectors, without decoding them: codewords are counted, and
 * each that occurs is multiplied by its count once.  Divide by `count` for the
 * mean.
 *
 * items  numbers of `count` vectors, which may repeat; NULL = all n, and count
 *        is not used
 * sum    out, groups * dim numbers, summed in double, stage by stage from code
 *        0 up
 *
 * Returns TSR_OK; TSR_E_ARG a number outside 0..n-1; TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error
tsr_coded_sum(const tsr_coded *coded, const int32_t *items, size_t count,
              double *sum);

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

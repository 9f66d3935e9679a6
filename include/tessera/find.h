/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_FIND_H
#define TSR_FIND_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/context.h>
#include <tessera/error.h>
#include <tessera/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Where in a stream of codes something like an example occurs: a spoken word in
 * a recording, by the codes of book 0 alone.  Nothing is decoded to samples.
 *
 * The example is laid over every place of the stream, stretched as it fits best,
 * by dynamic programming (subsequence dynamic time warping).  Let e[0..m-1] be the
 * example's codes, t[0..] the stream's, w the codewords of book 0, and
 *
 *     c(i, j) = min(|w[e[i]] - w[t[j]]|^2 / d, 1)
 *
 * where d is the upper median, over all codes a, of |w[a] - mean of w|^2; c is 1
 * where t[j] is no code.  The cost of the best way that ends with code i of the
 * example at code j of the stream is the least of
 *
 *     D(i - 1, j - 1) + c(i, j)
 *     D(i - 2, j - 1) + c(i - 1, j) + c(i, j)            the stream is faster
 *     D(i - 1, j - 2) + (c(i, j - 1) + c(i, j)) / 2      the stream is slower
 *
 * where D(0, j) is c(0, j) and D(-1, j) is 0.  So each code of the example counts
 * once, and speech at half to twice the speed is found.  The *score* of a place is
 * 1 - D(m - 1, j) / m: 1 for the very same codes.
 *
 * Source: Mueller, "Information Retrieval for Music and Motion", Springer 2007,
 * chapter 4; for spoken words Zhang & Glass, "Unsupervised spoken keyword
 * spotting via segmental DTW on Gaussian posteriorgrams", ASRU 2009.
 */
typedef struct tsr_finder tsr_finder;

/** A place: codes first .. last of the stream. */
typedef struct tsr_found {
    uint64_t first, last;
    float score;
} tsr_found;

enum { TSR_FIND_MAX_EXAMPLE = 4096 /**< codes of an example */ };

/**
 * Opens a finder.
 *
 * model    of an audio codec whose codewords can be compared ("semantic", for which
 *          this is meant; "encodec"); may be closed afterwards
 * example  the codes of book 0, n of them, 2..TSR_FIND_MAX_EXAMPLE
 *
 * Returns TSR_OK; TSR_E_ARG a code that the book does not have, or n outside its
 * limits; TSR_E_UNSUPPORTED; TSR_E_MODEL; TSR_E_SHAPE; TSR_E_NOMEM.
 * Memory: n * (codewords + 12) floats.
 */
TSR_API TSR_CHECKED tsr_error
tsr_finder_open(tsr_finder **finder, tsr_context *context, tsr_model *model,
                const uint16_t *example, size_t n);
TSR_API void tsr_finder_close(tsr_finder **finder);

/** Forgets the stream: the next code is the first of another one. */
TSR_API void tsr_finder_reset(tsr_finder *finder);

/**
 * The next code of the stream (any number: one that the book does not have is
 * like none).  Returns 1 if a place is complete, which is then in *found: its score
 * is at least `threshold` and the best until a way began behind it; later places
 * begin behind it, too.  Cost: about 10 operations a code of the example.
 */
TSR_API int tsr_finder_push(tsr_finder *finder, uint16_t code, float threshold,
                            tsr_found *found);
/** The stream has ended: 1 if there is a last place, in *found. */
TSR_API int tsr_finder_finish(tsr_finder *finder, tsr_found *found);

#ifdef __cplusplus
}
#endif
#endif

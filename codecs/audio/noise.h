/* SPDX-License-Identifier: BSD-2-Clause */
/* Normal random numbers that are the same everywhere: each is a function of a
 * seed and of its place alone, in integers and in the four operations and square
 * roots of IEEE 754 doubles.
 *
 * Sources: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011
 *          (Philox 4x32-10); Wichura, "Algorithm AS 241: the percentage points of
 *          the normal distribution", Applied Statistics 37(3), 1988. */
#ifndef TSR_CODECS_AUDIO_NOISE_H
#define TSR_CODECS_AUDIO_NOISE_H
#include <stddef.h>
#include <stdint.h>

/** Four numbers of 32 bits: Philox 4x32-10 of a counter and a key. */
void tsri_philox(const uint32_t counter[4], const uint32_t key[2],
                 uint32_t out[4]);

/** x[i], i < n, standard normal: number i % 4 of the counter
 *  (i / 4, step, window mod 2^32, window / 2^32) and the key (seed, 0), v, as
 *  the quantile of (v + 1/2) / 2^32.  n < 2^34. */
void tsri_noise(uint32_t seed, uint64_t window, uint32_t step, size_t n,
                float *x);
#endif
